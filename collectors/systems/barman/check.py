"""Asks a primary and barman about the same cluster, and judges the answers."""

from __future__ import annotations

from collections.abc import MutableMapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import SecretStr

from collectors.shared.verdicts import verdict
from collectors.systems.barman.client import read_backups, read_server, read_wal, verify
from collectors.systems.barman.judge import backup_problems, kept_problems, verification_problems, wal_problems
from collectors.systems.barman.model import Barman, Found, Shown
from collectors.systems.postgresql.check.backups import ask_position
from collectors.systems.postgresql.judge.recovery_point import judge_lag, judge_recovery_point
from collectors.systems.postgresql.model.instance import Archiver
from collectors.systems.postgresql.model.recovery_point import WalState
from exporter.verdict import ProbeError, Reason, Result, ok, unknown, unobserved, worst
from exporter.words import counted, format_length, format_size

__all__ = ["see_backups", "see_recovery_point", "see_retained"]

_ANY_AGE = timedelta(days=36500)


async def see_backups(
    store: str,
    dsn: SecretStr,
    barman: Barman,
    query_timeout: timedelta,
    now: datetime,
    memory: MutableMapping[str, Any],
) -> Result:
    """Whether the newest backup is recent and sound, and could be restored up to a moment ago. `memory` keeps what was verified.

    Raises ProbeError when the primary or barman cannot be asked.
    """
    cluster, archiver, wal = await ask_position(dsn, query_timeout)
    found = await read_server(barman, archiver, wal.position)
    good = ok("")
    if found.newest is not None and (ended := found.done[0].ended):
        age = now - ended
        good = ok(
            f"The newest backup of barman's server {barman.server}, {found.newest.backup_id}, is {format_length(age)} old and has "
            f"{format_size(found.newest.size or 0)}.",
            backup_age_seconds=max(0.0, age.total_seconds()),
        )
    held = verdict(backup_problems(found, barman, cluster, archiver.segment_size, now), good)
    return worst(
        held,
        _has_wal(found, archiver, wal, store, barman),
        await _verified(store, barman, found, archiver.segment_size, cluster, now, memory),
    )


def _has_wal(found: Found, archiver: Archiver, wal: WalState, store: str, barman: Barman) -> Result:
    if found.newest is None:
        return _without(store)
    return judge_lag(wal, archiver, found.segments, found.newest, barman.max_lag, barman.max_missing, store)


def _without(store: str) -> Result:
    return unknown(f"Without a backup, whether barman has the WAL of {store} was not checked.", reason=Reason.MISSING)


async def _verified(
    store: str,
    barman: Barman,
    found: Found,
    segment_size: int,
    cluster: str,
    now: datetime,
    memory: MutableMapping[str, Any],
) -> Result:
    if found.newest is None:
        return unknown(f"Without a backup, no file of {store} was verified.", reason=Reason.MISSING)
    known: dict[str, tuple[str, datetime]] = memory.setdefault("barman verifications", {})
    backup, at = known.get(store, ("", None))
    held = {one.backup_id for one in found.done}
    if at is None or backup not in held or not timedelta(0) <= now - at < barman.verify_every:
        known.pop(store, None)
        backup, at = found.newest.backup_id, now
        try:
            problems = await _verify(barman, found.newest, found, segment_size, cluster)
        except ProbeError as error:
            return unobserved(error)
        if problems:
            return verdict(problems, ok(""))
        known[store] = backup, at
    chain = f", of {counted(len(found.parents), 'backup')} that it needs" if found.parents else ""
    return ok(f"The files of backup {backup}{chain} and some of their WAL were verified {format_length(now - at)} ago.")


async def _verify(barman: Barman, newest: Shown, found: Found, segment_size: int, cluster: str) -> list[Result]:
    """What reading the newest backup, those that it needs, and a part of their WAL finds. Raises ProbeError."""
    problems: list[Result] = []
    for backup in (newest, *found.parents):
        problems += verification_problems(await verify(barman, backup), barman, backup.backup_id)
    flaws = await read_wal(barman, found, segment_size, cluster)
    return [*problems, *wal_problems(flaws, barman)]


async def see_recovery_point(
    store: str, dsn: SecretStr, barman: Barman, at_most: timedelta, query_timeout: timedelta, now: datetime
) -> Result:
    """Whether all that was committed longer ago than `at_most` could be restored. Raises ProbeError when nobody can be asked."""
    cluster, archiver, wal = await ask_position(dsn, query_timeout)
    found = await read_server(barman, archiver, wal.position)
    aged = barman.model_copy(update={"max_age": _ANY_AGE, "full_max_age": _ANY_AGE})
    held = verdict(backup_problems(found, aged, cluster, archiver.segment_size, now), ok(""))
    if archiver.archive_mode == "off":
        streamed = unknown(f"barman streams the WAL of {store}: how old what it lacks is, is not shown.")
        return worst(streamed, held)
    if found.newest is None:
        return worst(_without(store), held)
    return worst(judge_recovery_point(wal, archiver, found.segments, found.newest, at_most, store), held)


async def see_retained(barman: Barman, retention: timedelta, least: int, now: datetime) -> Result:
    """Whether backups go back far enough. Raises ProbeError when barman cannot be asked."""
    done = Found({}, await read_backups(barman), None, frozenset()).done
    age = max((now - one.ended for one in done if one.ended), default=timedelta())
    good = ok(
        f"barman's server {barman.server} has {counted(len(done), 'backup')}, the oldest of {format_length(age)} ago.",
        oldest_backup_age_seconds=age.total_seconds(),
    )
    return verdict(kept_problems(done, barman, retention, least, now), good)
