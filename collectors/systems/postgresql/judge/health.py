"""Whether the instances are one healthy cluster that takes writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any

from collectors.shared.verdicts import verdict
from collectors.systems.postgresql.model.instance import Damage, Freeze, Instance, Prepared, names
from collectors.systems.postgresql.model.settings import Settings
from exporter.options import format_duration
from exporter.verdict import Reason, Result, failed, ok, unknown, warning
from exporter.words import counted, format_length

__all__ = [
    "GUARDS",
    "READ_ONLY",
    "guard_problems",
    "judge_instances",
    "judge_writes",
    "page_problems",
    "prepared_problems",
]

READ_ONLY = "default_transaction_read_only"
_ON = ("on", "true", "yes", "1")

#: What keeps data whole, by setting: the value that it has by default, and what it means where it has the other one.
GUARDS = {
    "fsync": ("on", "does not wait for its disk", "a power failure may damage all of its data"),
    "full_page_writes": (
        "on",
        "cannot repair pages that a crash left half written",
        "only some file systems prevent those",
    ),
    "autovacuum": ("on", "vacuums nothing by itself", "its tables grow until it refuses writes"),
    "track_counts": ("on", "vacuums nothing by itself", "its tables grow until it refuses writes"),
    "zero_damaged_pages": ("off", "replaces damaged pages by empty ones", "their rows are lost without an error"),
    "ignore_checksum_failure": ("off", "reads pages that failed their checksum", "damage spreads without an error"),
}

#: Ids after which PostgreSQL refuses to give out more, and from which on it warns; vacuum hurries (vacuum_failsafe_age) before.
_STOP, _WARN, _HURRY = 2**31 - 3_000_000, 2**31 - 40_000_000, 1_600_000_000


def judge_instances(instances: Sequence[Instance], unseen: int, max_latency: timedelta, how: str) -> Result:
    """Whether the instances that answered are one healthy cluster.

    `unseen` are those that did not answer, `how` says in a few words how much of them was checked.
    """
    measured: dict[str, Any] = {"latency_seconds": max(instance.latency for instance in instances)}
    primaries = [instance for instance in instances if not instance.identity.in_recovery]
    standbys = len(instances) - len(primaries)
    good = ok(
        f"{names(primaries)} is the primary, with {counted(standbys, 'standby', 'standbys')} answering too, within "
        f"{measured['latency_seconds'] * 1000:.0f} ms, {how}.",
        **measured,
    )
    return verdict(_instance_problems(instances, primaries, unseen, max_latency), good)


def _instance_problems(
    instances: Sequence[Instance], primaries: Sequence[Instance], unseen: int, max_latency: timedelta
) -> Iterator[Result]:
    clusters = {instance.identity.system_identifier for instance in instances}
    if len(clusters) > 1:
        yield failed(
            f"{names(instances)} are of {len(clusters)} different clusters (system identifiers).",
            reason=Reason.CONTRADICTED,
        )
        return
    if len({instance.identity.started for instance in primaries}) > 1:
        yield failed(
            f"Split brain: {names(primaries)} are all primaries of cluster {clusters.pop()}.",
            reason=Reason.CONTRADICTED,
        )
        return
    if same := _named_twice(instances):
        yield unknown(
            f"{names(same)} are one server, so the other instances may not have been checked: name each instance once."
        )
    for instance in sorted(instances, key=lambda instance: -instance.latency):
        if instance.latency > max_latency.total_seconds():
            yield failed(
                f"{instance.where} answers after {instance.latency * 1000:.0f} ms (limit {format_duration(max_latency)}).",
                reason=Reason.LIMIT,
            )
    if not primaries:
        if unseen or len(instances) == 1:
            yield unknown(f"{names(instances)} answered as standby; the primary was not found.")
        else:
            yield failed(f"There is no primary: {names(instances)} are all standbys.", reason=Reason.DOWN)


def _named_twice(instances: Sequence[Instance]) -> list[Instance]:
    """Those of one cluster that started in the same microsecond: one server, by several names."""
    starts = [instance.identity.started for instance in instances]
    return [instance for instance in instances if starts.count(instance.identity.started) > 1]


def page_problems(where: str, damages: Iterable[Damage]) -> Iterator[Result]:
    """Whether an instance has met pages that are damaged on disk; one that keeps no checksums cannot know."""
    for damage in damages:
        pages = counted(damage.pages, "page")
        yield failed(
            f"Data of {where} is damaged: {pages} of {damage.database} failed the checksum when read.",
            reason=Reason.INVALID,
        )


def guard_problems(where: str, settings: Settings) -> Iterator[Result]:
    """Whether an instance does what keeps its data whole. Without fsync nothing that it acknowledged is safe."""
    for name, (safe, does, so) in GUARDS.items():
        for setting in settings.everywhere(name):
            # A database or role has what was written for it: `on`, `true` and `1` are the same.
            if (setting.value.lower() in _ON) is not (safe == "on"):
                whose = f" for {setting.scope()}" if setting.database or setting.role else ""
                summary = f"{where} {does} ({name} is {setting.value}{whose}): {so}."
                yield failed(summary, reason=Reason.MISCONFIGURED) if name == "fsync" else warning(summary)


def judge_writes(where: str, freezes: Sequence[Freeze], settings: Settings, roles: Iterable[str]) -> Result:
    """Whether the primary takes writes: of the database asked, by these roles, or by any."""
    oldest = max((max(freeze.xid_age, freeze.mxid_age) for freeze in freezes), default=0)
    hidden = ""
    if READ_ONLY in settings.masked:
        hidden = f" (what the instance sets for {READ_ONLY} is hidden by what the exporter's own role sets)"
    good = ok(f"{where} takes writes{hidden}.", oldest_transaction_age=float(oldest))
    return verdict(_write_problems(where, freezes, settings, roles), good)


def _write_problems(
    where: str, freezes: Sequence[Freeze], settings: Settings, roles: Iterable[str]
) -> Iterator[Result]:
    for freeze in freezes:
        if freeze.xid_age >= _STOP:
            yield failed(
                f"{where} refuses writes that take a new transaction id: database {freeze.database} holds rows that are "
                f"{freeze.xid_age} transactions old (limit {_STOP}).",
                reason=Reason.LIMIT,
            )
        elif freeze.mxid_age >= _STOP:
            yield failed(
                f"{where} refuses to lock rows for several transactions: database {freeze.database} holds multixacts that are "
                f"{freeze.mxid_age} ids old (limit {_STOP}).",
                reason=Reason.LIMIT,
            )
    for role in (*roles,) or (None,):
        found = settings.effective(READ_ONLY, settings.database, role)
        if found is not None and found.value.lower() in _ON:
            yield failed(f"{where} refuses writes: {READ_ONLY} is on for {found.scope()}.", reason=Reason.MISCONFIGURED)
    for freeze in freezes:
        age = max(freeze.xid_age, freeze.mxid_age)
        if _HURRY <= age < _STOP:
            soon = "; PostgreSQL warns" if age >= _WARN else ""
            yield warning(
                f"Database {freeze.database} of {where} is {_STOP - age} transactions from refusing writes{soon}: vacuum it."
            )


def prepared_problems(where: str, prepared: Iterable[Prepared], limit: timedelta) -> Iterator[Result]:
    """Whether transactions are left prepared: nobody ends those whose owner is gone; they keep locks and hold up vacuum."""
    for one in prepared:
        if one.age > limit.total_seconds():
            age = format_length(timedelta(seconds=one.age))
            yield warning(
                f"Transaction {one.gid!r} in database {one.database} of {where} was prepared {age} ago by role {one.owner} "
                f"(limit {format_duration(limit)}) and keeps its locks: COMMIT or ROLLBACK PREPARED."
            )
