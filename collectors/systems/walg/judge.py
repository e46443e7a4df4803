"""Whether WAL-G's storage holds a recent backup of this very cluster, with all the WAL since."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from collectors.shared.copies import age_problems, retention_problems, size_problems
from collectors.systems.walg.model import Backup, Verified, WalG, own_backups
from exporter.verdict import Reason, Result, failed, unknown
from exporter.words import counted

__all__ = ["backup_problems", "kept_problems", "wal_problems"]


def backup_problems(store: str, backups: Sequence[Backup], cluster: str, walg: WalG, now: datetime) -> Iterator[Result]:
    """Why the newest backup is none that the cluster with this system identifier could be restored from."""
    own = own_backups(backups, cluster)
    if not own:
        yield _none(store, backups)
        return
    newest = own[0]
    name = f"WAL-G's newest backup of {store}, {newest.backup_name},"
    yield from age_problems(name, newest.finish_time, walg.max_age, now)
    if newest.system_identifier is None:
        yield unknown(f"{name} does not show of which cluster it is.", reason=Reason.MISSING)
    yield from _chain_problems(own, newest, name)
    full = next((one for one in own if one.base_segment is None), None)
    if full is not None and full is not newest:
        which = f"WAL-G's newest full backup of {store}, {full.backup_name},"
        yield from age_problems(which, full.finish_time, walg.full_max_age, now)
    if newest.base_segment is None:
        sizes = [one.uncompressed_size for one in own if one.base_segment is None and one.uncompressed_size]
        if newest.uncompressed_size:
            yield from size_problems(name, newest.uncompressed_size, sizes[1:])


def _none(store: str, backups: Sequence[Backup]) -> Result:
    others = f": it has {counted(len(backups), 'backup')} of other clusters" if backups else ""
    return failed(f"WAL-G's storage has no backup of {store}{others}.", reason=Reason.MISSING)


def _chain_problems(own: Sequence[Backup], newest: Backup, name: str) -> Iterator[Result]:
    """A delta needs the backup before it, and that perhaps another."""
    by_segment = {one.first_segment: one for one in own}
    for _ in own:
        if newest.base_segment is None:
            return
        if (before := by_segment.get(newest.base_segment)) is None:
            yield failed(f"{name} needs an earlier backup, which is gone.", reason=Reason.MISSING)
            return
        newest = before


def wal_problems(store: str, verified: Verified, backup: str) -> Iterator[Result]:
    """What is wrong with the WAL since a backup."""
    lost = [one for one in verified.integrity.details or () if one.status == "MISSING_LOST"]
    if lost:
        one = lost[0]
        yield failed(
            f"WAL-G's storage lacks {counted(sum(each.segments_count for each in lost), 'WAL segment')} of {store} since backup "
            f"{backup}, from {one.start_segment} on: nothing later can be restored.",
            reason=Reason.MISSING,
        )
    elif verified.integrity.status not in ("OK", "WARNING"):
        yield failed(f"WAL-G's check of the WAL of {store} ended with {verified.integrity.status}.", reason=Reason.DOWN)
    elif not any(one.status == "FOUND" for one in verified.integrity.details or ()):
        yield unknown(f"WAL-G's check of the WAL of {store} found no segment at all.", reason=Reason.MISSING)
    if verified.timeline.status == "FAILURE":
        details = verified.timeline.details
        yield failed(
            f"WAL-G's storage has WAL of timeline {details.highest_storage_timeline_id}, but {store} is on "
            f"{details.current_timeline_id}: another cluster stores into it.",
            reason=Reason.CONTRADICTED,
        )
    elif verified.timeline.status != "OK":
        yield unknown(f"Which timeline of {store} WAL-G's storage has was not found out.", reason=Reason.MISSING)


def kept_problems(
    store: str, own: Sequence[Backup], walg: WalG, retention: timedelta, least: int, now: datetime
) -> Iterator[Result]:
    """Whether backups of a cluster go back far enough, and are at least so many full ones."""
    if not own:
        yield _none(store, ())
        return
    fulls = sum(one.base_segment is None for one in own)
    if fulls < least:
        yield failed(
            f"WAL-G's storage has {counted(fulls, 'full backup')} of {store} (at least {least} wanted).",
            reason=Reason.LIMIT,
        )
    yield from retention_problems(
        f"The oldest backup of {store} in WAL-G's storage",
        f"WAL-G's storage has no backup of {store}",
        [one.finish_time for one in own],
        retention,
        walg.max_age,
        now,
    )
