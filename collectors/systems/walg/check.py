"""Asks a primary and WAL-G about the same cluster, and judges the answers."""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import SecretStr

from collectors.shared.verdicts import verdict
from collectors.systems.postgresql.check.backups import ask_position
from collectors.systems.postgresql.judge.recovery_point import judge_lag, judge_recovery_point
from collectors.systems.postgresql.model.instance import Archiver
from collectors.systems.postgresql.model.recovery_point import WalState
from collectors.systems.walg.client import read_backups, verify
from collectors.systems.walg.judge import backup_problems, kept_problems, wal_problems
from collectors.systems.walg.model import Backup, Verified, WalG, own_backups
from exporter.verdict import Result, ok, worst
from exporter.words import counted, format_length, format_size

__all__ = ["see_backups", "see_recovery_point", "see_retained"]

_ANY_AGE = timedelta(days=36500)


async def see_backups(store: str, dsn: SecretStr, walg: WalG, query_timeout: timedelta, now: datetime) -> Result:
    """Whether the newest backup is recent, and could be restored up to a moment ago.

    Raises ProbeError when the primary or WAL-G cannot be asked.
    """
    cluster, archiver, wal = await ask_position(dsn, query_timeout)
    held, newest, verified = await _held(store, walg, cluster, archiver, wal, now)
    if newest is None or verified is None:
        return held
    segments = verified.segments(archiver.segment_size)
    return worst(held, judge_lag(wal, archiver, segments, newest, walg.max_lag, walg.max_missing, store))


async def see_recovery_point(
    store: str, dsn: SecretStr, walg: WalG, at_most: timedelta, query_timeout: timedelta, now: datetime
) -> Result:
    """Whether all that was committed longer ago than `at_most` could be restored. Raises ProbeError when nobody can be asked."""
    cluster, archiver, wal = await ask_position(dsn, query_timeout)
    aged = walg.model_copy(update={"max_age": _ANY_AGE, "full_max_age": _ANY_AGE})
    held, newest, verified = await _held(store, aged, cluster, archiver, wal, now)
    if newest is None or verified is None:
        return held
    segments = verified.segments(archiver.segment_size)
    return worst(held, judge_recovery_point(wal, archiver, segments, newest, at_most, store))


async def _held(
    store: str, walg: WalG, cluster: str, archiver: Archiver, wal: WalState, now: datetime
) -> tuple[Result, Backup | None, Verified | None]:
    """What the storage holds: the verdict on it, the newest backup, and what was verified of the WAL since."""
    backups = await read_backups(walg)
    own = own_backups(backups, cluster)
    if not own:
        return verdict(backup_problems(store, backups, cluster, walg, now), ok("")), None, None
    age = now - own[0].finish_time
    good = ok(
        f"WAL-G's newest backup of {store}, {own[0].backup_name}, is {format_length(age)} old and has "
        f"{format_size(own[0].compressed_size)}.",
        backup_age_seconds=max(0.0, age.total_seconds()),
    )
    held = verdict(backup_problems(store, backups, cluster, walg, now), good)
    verified = await verify(walg, own[0].backup_name, archiver.timeline, wal.position)
    return worst(held, verdict(wal_problems(store, verified, own[0].backup_name), ok(""))), own[0], verified


async def see_retained(
    store: str, dsn: SecretStr, walg: WalG, retention: timedelta, least: int, query_timeout: timedelta, now: datetime
) -> Result:
    """Whether backups of this cluster go back far enough. Raises ProbeError when the primary or WAL-G cannot be asked."""
    cluster, _, _ = await ask_position(dsn, query_timeout)
    own = own_backups(await read_backups(walg), cluster)
    age = now - own[-1].finish_time if own else timedelta()
    good = ok(
        f"WAL-G's storage has {counted(len(own), 'backup')} of {store}, the oldest of {format_length(age)} ago.",
        oldest_backup_age_seconds=age.total_seconds(),
    )
    return verdict(kept_problems(store, own, walg, retention, least, now), good)
