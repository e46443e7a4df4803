"""Whether a Schedule of Velero is followed, and its Backups hold what they have to, as far as objects show it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from statistics import median

from collectors.shared.copies import age_problems, retention_problems, size_problems
from collectors.systems.kubernetes.judge.workloads import period_of
from collectors.systems.velero.model import Backup, Backups, BackupSpec, Schedule, Velero
from exporter.options import format_duration
from exporter.verdict import Reason, Result, failed, unknown, warning
from exporter.words import counted, format_length, listed

__all__ = ["backup_problems", "retained_problems", "volumes_of"]

_UNFINISHED = frozenset(
    {
        "",
        "New",
        "Queued",
        "ReadyToStart",
        "InProgress",
        "WaitingForPluginOperations",
        "Finalizing",
        "Deleting",
    }
)
_VALIDATED = timedelta(minutes=30)


def volumes_of(found: Backups, backup: Backup) -> int:
    """How many volumes' data a Backup holds, by snapshots or as files."""
    copied = [one for one in found.volumes if one.backup == backup.name and one.status.phase == "Completed"]
    return backup.completed + len(copied)


def backup_problems(found: Backups, velero: Velero) -> Iterator[Result]:
    """Why the newest Backup of a Schedule is none that its namespaces could be restored from."""
    if found.schedule is None:
        yield failed(f"Velero has no Schedule {velero}.", reason=Reason.MISSING)
        return
    yield from _schedule_problems(found, found.schedule, velero)
    yield from _attempt_problems(found, velero)
    usable = found.usable
    if not usable:
        others = f", and {found.others} that this cluster did not make" if found.others else ""
        yield failed(
            f"Velero's Schedule {velero} has no complete Backup that has not expired{others}.", reason=Reason.MISSING
        )
        return
    newest = usable[0]
    assert newest.begun is not None
    name = f"Velero's newest complete Backup of {velero}, {newest.name},"
    yield from age_problems(name, newest.begun, velero.max_age, found.now)
    yield from _content_problems(found, newest, velero, name)
    yield from _location_problems(found, newest)
    if newest.items is not None:
        usual = median([one.items for one in usable[1:6] if one.items is not None] or [0])
        if newest.items < usual / 2:
            yield warning(f"{name} has {counted(newest.items, 'item')}, those before it {usual:.0f}.")
    yield from _shrunk(found, usable, name)


def _shrunk(found: Backups, usable: Sequence[Backup], name: str) -> Iterator[Result]:
    """Volumes of which much less was copied than before: their total hides a small one that was emptied."""
    copied = [found.sizes(one) for one in usable]
    for volume, size in sorted(copied[0].items()):
        before = [sizes[volume] for sizes in copied[1:] if volume in sizes]
        if before and not size and any(before):
            yield failed(f"{name} holds 0 bytes of volume {volume}, those before it did not.", reason=Reason.INVALID)
        else:
            yield from size_problems(f"Volume {volume} in Velero's newest Backup {usable[0].name}", size, before)


def _schedule_problems(found: Backups, schedule: Schedule, velero: Velero) -> Iterator[Result]:
    if schedule.spec.paused:
        yield failed(f"Velero's Schedule {velero} is paused.", reason=Reason.MISCONFIGURED)
    yield from _template_problems(found, schedule.spec.template, velero)
    with suppress(ValueError):  # Velero rejects what it does not understand itself
        if (period := period_of(schedule.spec.schedule, found.now)) > velero.max_age:
            yield warning(
                f"Velero's Schedule {velero} makes a Backup each {format_duration(period)} only (limit "
                f"{format_duration(velero.max_age)})."
            )
    if schedule.status.phase == "FailedValidation":
        yield failed(f"Velero rejects Schedule {velero} (FailedValidation).", reason=Reason.MISCONFIGURED)
    elif schedule.status.phase != "Enabled":
        phase = schedule.status.phase or "without a phase"
        yield unknown(f"Velero's Schedule {velero} is {phase}: Velero may not be running.", reason=Reason.DOWN)


def _template_problems(found: Backups, template: BackupSpec, velero: Velero) -> Iterator[Result]:
    """What the next Backup will lack, however complete the newest is."""
    name = f"Velero's Schedule {velero}"
    if left_out := [namespace for namespace in velero.covers if not template.covers(namespace)]:
        yield failed(f"{name} does not include namespace {listed(left_out)}.", reason=Reason.MISCONFIGURED)
    if found.location(template.storage_location) is None:
        where = template.storage_location or "by default"
        yield failed(
            f"{name} stores in BackupStorageLocation {where}, which does not exist.", reason=Reason.MISCONFIGURED
        )
    snapshots = template.snapshot_volumes is not False or template.default_volumes_to_fs_backup
    by_annotation = any(found.sizes(one) for one in found.usable[:1])
    if velero.volumes and (template.leaves_out_volumes or not (snapshots or by_annotation)):
        how = f"excluded: {listed(template.left_out)}" if template.leaves_out_volumes else "snapshotVolumes is false"
        yield failed(f"{name} takes no data of volumes ({how}).", reason=Reason.MISCONFIGURED)
    yield from _filter_problems(template, name)


def _filter_problems(spec: BackupSpec, name: str) -> Iterator[Result]:
    if spec.filters:
        yield warning(f"{name} leaves out objects that do not match its {listed(spec.filters)}.")
    if spec.left_out:
        yield warning(f"{name} leaves out {listed(spec.left_out)}.")
    if spec.resource_policy:
        yield warning(f"{name} leaves out the volumes that its resourcePolicy skips.")


def _attempt_problems(found: Backups, velero: Velero) -> Iterator[Result]:
    """What the last attempt came to: that of yesterday does not excuse it."""
    ended = [one for one in found.made if one.status.phase not in _UNFINISHED]
    last = max(ended, key=lambda one: one.begun or one.metadata.creation_timestamp or found.now, default=None)
    if last is not None and last.status.phase != "Completed":
        errors = f" with {counted(last.status.errors, 'error')}" if last.status.errors else ""
        yield failed(f"The last Backup of {velero}, {last.name}, is {last.status.phase}{errors}.", reason=Reason.DOWN)


def _content_problems(found: Backups, newest: Backup, velero: Velero, name: str) -> Iterator[Result]:
    if left_out := [namespace for namespace in velero.covers if not newest.spec.covers(namespace)]:
        yield failed(f"{name} does not include namespace {listed(left_out)}.", reason=Reason.MISCONFIGURED)
    if newest.status.errors:
        yield failed(f"{name} is Completed with {counted(newest.status.errors, 'error')}.", reason=Reason.CONTRADICTED)
    if newest.status.hook_status is not None and (hooks := newest.status.hook_status.hooks_failed):
        yield failed(f"{counted(hooks, 'hook')} of {name[:-1]} failed.", reason=Reason.DOWN)
    if newest.items == 0:
        yield failed(f"{name} holds nothing.", reason=Reason.INVALID)
    elif newest.items is None:
        yield unknown(f"How many objects {name} holds was not recorded.")
    if velero.volumes:
        yield from _volume_problems(found, newest, name)
    yield from _filter_problems(newest.spec, name)
    if newest.status.warnings:
        yield warning(f"{name} has {counted(newest.status.warnings, 'warning')}.")


def _volume_problems(found: Backups, newest: Backup, name: str) -> Iterator[Result]:
    copied = [one for one in found.volumes if one.backup == newest.name]
    lacking = newest.attempted - newest.completed + sum(one.status.phase != "Completed" for one in copied)
    if lacking:
        yield failed(
            f"{name} lacks {counted(lacking, 'volume')} of {newest.attempted + len(copied)}.", reason=Reason.MISSING
        )
    elif not volumes_of(found, newest):
        yield failed(f"{name} holds the data of no volume.", reason=Reason.MISSING)
    elif not newest.completed and not sum(one.size for one in copied):
        yield failed(f"{name} holds {counted(len(copied), 'volume')} with 0 bytes.", reason=Reason.INVALID)
    elif (held := volumes_of(found, newest)) < len(claims := found.claimed(newest)):
        yield warning(
            f"{name} holds the data of {counted(held, 'volume')}, but its namespaces have {counted(len(claims), 'claim')} "
            f"({listed(claims, 3)}), none of which is excluded by label."
        )


def _location_problems(found: Backups, newest: Backup) -> Iterator[Result]:
    location = found.location(newest.spec.storage_location)
    if location is None:
        wanted = newest.spec.storage_location or "by default"
        yield failed(
            f"Velero has no BackupStorageLocation {wanted}: nothing in it can be restored.", reason=Reason.MISSING
        )
        return
    name, status = f"BackupStorageLocation {location.metadata.name}", location.status
    if status.phase == "Unavailable":
        yield failed(f"Velero cannot reach {name}: nothing in it can be restored.", reason=Reason.DOWN)
    elif status.phase != "Available":
        yield unknown(f"Velero has not validated {name}.", reason=Reason.DOWN)
    elif status.last_validation_time is not None and found.now - status.last_validation_time > _VALIDATED:
        age = format_length(found.now - status.last_validation_time)
        yield unknown(f"Velero last validated {name} {age} ago: it may not be running.", reason=Reason.STALE)
    if location.spec.access_mode == "ReadOnly":
        yield failed(f"{name} is read-only: Velero can store no Backup in it.", reason=Reason.MISCONFIGURED)


def retained_problems(found: Backups, velero: Velero, retention: timedelta) -> Iterator[Result]:
    """Whether the Backups of a Schedule go back far enough, and will."""
    if found.schedule is None:
        yield failed(f"Velero has no Schedule {velero}.", reason=Reason.MISSING)
        return
    usable = found.usable
    if not usable:
        yield failed(
            f"Velero's Schedule {velero} has no complete Backup, so nothing is retained.", reason=Reason.MISSING
        )
        return
    ttl = found.schedule.ttl
    if ttl is None:
        yield unknown(f"The ttl of Velero's Schedule {velero} was not understood.", reason=Reason.MALFORMED)
    elif ttl < retention:
        yield failed(
            f"Velero's Schedule {velero} deletes its Backups after {format_duration(ttl)} (retention "
            f"{format_duration(retention)}).",
            reason=Reason.CONTRADICTED,
        )
    dates = [one.begun for one in usable if one.begun is not None]
    yield from retention_problems(
        f"The oldest Backup of Velero's Schedule {velero}",
        f"Velero's Schedule {velero} has no Backup",
        dates,
        retention,
        velero.max_age,
        found.now,
    )
