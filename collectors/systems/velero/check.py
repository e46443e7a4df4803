"""Asks Kubernetes for Velero's objects, and judges them."""

from __future__ import annotations

from datetime import timedelta

from collectors.shared.verdicts import verdict
from collectors.systems.kubernetes.check.pods import looked_at
from collectors.systems.kubernetes.client.cluster import Kubernetes, NotServed
from collectors.systems.kubernetes.model.kinds import PERSISTENT_VOLUME_CLAIMS
from collectors.systems.kubernetes.model.rbac import may_list
from collectors.systems.velero.judge import backup_problems, retained_problems, volumes_of
from collectors.systems.velero.model import BACKUPS, LOCATIONS, SCHEDULES, VOLUMES, Backups, Velero
from exporter.verdict import Reason, Result, failed, ok
from exporter.words import counted, format_length

__all__ = ["VELERO_RIGHTS", "see_backups", "see_retained"]

VELERO_RIGHTS = (
    "with `velero`: clients.kubernetes",
    may_list(SCHEDULES, BACKUPS, VOLUMES, LOCATIONS, PERSISTENT_VOLUME_CLAIMS, option="velero"),
)
"""What an item needs that asks for Velero's objects."""


async def see_backups(client: Kubernetes, velero: Velero) -> Result:
    """Whether a Schedule is followed, and its newest Backup complete. Raises ProbeError when the objects cannot be read."""
    if (found := await _read(client, velero)) is None:
        return _not_installed(velero)
    good = ok("")
    if usable := found.usable:
        age, volumes = found.now - (usable[0].begun or found.now), volumes_of(found, usable[0])
        good = ok(
            f"Velero's newest Backup of {velero} is {format_length(age)} old and complete, with {usable[0].items or 0} items and "
            f"{counted(volumes, 'volume')}.",
            backup_age_seconds=max(0.0, age.total_seconds()),
        )
    return verdict(backup_problems(found, velero), good)


async def see_retained(client: Kubernetes, velero: Velero, retention: timedelta) -> Result:
    """Whether the Backups of a Schedule go back far enough. Raises ProbeError when the objects cannot be read."""
    if (found := await _read(client, velero)) is None:
        return _not_installed(velero)
    dates = [one.begun for one in found.usable if one.begun is not None]
    age = found.now - min(dates, default=found.now)
    good = ok(
        f"Velero's Schedule {velero} has {counted(len(dates), 'Backup')}, the oldest of {format_length(age)} ago.",
        oldest_backup_age_seconds=age.total_seconds(),
    )
    return verdict(retained_problems(found, velero, retention), good)


async def _read(client: Kubernetes, velero: Velero) -> Backups | None:
    """What there is of the Schedule by the API server's clock; None where Velero is not installed."""
    try:
        schedules = await client.list(SCHEDULES)
        backups = await client.list(BACKUPS)
        volumes = await client.list(VOLUMES)
        locations = await client.list(LOCATIONS)
    except NotServed:
        return None
    looked_at(schedules, velero.namespace)
    claims = await client.list(PERSISTENT_VOLUME_CLAIMS)
    ours = [
        one for one in backups.items if one.metadata.namespace == velero.namespace and one.schedule == velero.schedule
    ]
    schedule = next(
        (
            one
            for one in schedules.items
            if (one.metadata.namespace, one.metadata.name) == (velero.namespace, velero.schedule)
        ),
        None,
    )
    made = [one for one in ours if not one.is_found]
    return Backups(
        backups.taken,
        schedule,
        made,
        len(ours) - len(made),
        [one for one in volumes.items if one.metadata.namespace == velero.namespace],
        [one for one in locations.items if one.metadata.namespace == velero.namespace],
        [one for one in claims.items if one.metadata.namespace in velero.covers],
    )


def _not_installed(velero: Velero) -> Result:
    return failed(f"The cluster serves no Schedules of Velero, so {velero} backs up nothing.", reason=Reason.MISSING)
