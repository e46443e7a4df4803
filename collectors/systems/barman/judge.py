"""Whether barman holds a recent backup of this very cluster, with all the WAL that it needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from collectors.shared.copies import age_problems, retention_problems, size_problems
from collectors.systems.barman.model import Barman, Found, Listed, Verified
from collectors.systems.postgresql.model.segments import segment_name, segment_number
from exporter.verdict import Reason, Result, failed, unknown
from exporter.words import counted, listed

__all__ = ["backup_problems", "kept_problems", "verification_problems", "wal_problems"]


def backup_problems(found: Found, barman: Barman, cluster: str, segment_size: int, now: datetime) -> Iterator[Result]:
    """Why the cluster with this system identifier could not be restored from its newest backup."""
    name = f"barman's server {barman.server}"
    if found.inactive:
        yield failed(
            f"{name[0].upper()}{name[1:]} is inactive or disabled: it is neither backed up nor is its WAL archived.",
            reason=Reason.MISCONFIGURED,
        )
    if wrong := sorted(check for check, its in found.checks.items() if its.status != "OK"):
        yield failed(f"barman's checks of server {barman.server} fail: {listed(wrong)}.", reason=Reason.DOWN)
    last = max(found.backups, key=lambda one: one.backup_id, default=None)
    if last is not None and last.status == "FAILED":
        yield failed(f"The last backup of {name}, {last.backup_id}, is FAILED.", reason=Reason.DOWN)
    if not found.done or found.newest is None:
        held = f": it has {counted(len(found.backups), 'other')}" if found.backups else ""
        yield failed(f"{name} has no complete backup{held}.", reason=Reason.MISSING)
        return
    newest, ended = found.newest, found.done[0].ended
    assert ended is not None
    which = f"The newest backup of {name}, {newest.backup_id},"
    yield from age_problems(which, ended, barman.max_age, now)
    if found.lost is not None:
        held = next((one.status for one in found.backups if one.backup_id == found.lost), "")
        state = f"is {held}" if held and held != "DONE" else "is gone"
        yield failed(f"{which} needs backup {found.lost}, which {state}. It cannot be restored.", reason=Reason.MISSING)
    full = next((one for one in found.done if one.is_full), None)
    if full is not None and full.ended is not None and full.backup_id != newest.backup_id:
        yield from age_problems(
            f"The newest full backup of {name}, {full.backup_id},", full.ended, barman.full_max_age, now
        )
    fulls = [one for one in found.done if one.is_full and one.size_bytes]  # increments are smaller rightly
    if fulls and fulls[0].size_bytes:
        sizes = [one.size_bytes or 0 for one in fulls[1:]]
        yield from size_problems(f"Backup {fulls[0].backup_id} of {name}", fulls[0].size_bytes, sizes)
    if newest.system_id is None:
        yield unknown(f"{which} does not show of which cluster it is (older releases of barman do not).")
    elif newest.system_id != cluster:
        yield failed(f"{which} is of cluster {newest.system_id}, not of {cluster}.", reason=Reason.CONTRADICTED)
    yield from _wal_problems(found, which, segment_size)


def _wal_problems(found: Found, which: str, size: int) -> Iterator[Result]:
    newest = found.newest
    assert newest is not None
    if newest.first_segment is None or newest.last_segment is None:
        yield unknown(f"{which} does not name the WAL that it needs.", reason=Reason.MISSING)
        return
    start, stop = (segment_number(name, size) for name in (newest.first_segment, newest.last_segment))
    held = {segment_number(name, size) for name in found.segments}
    timeline = int(newest.first_segment[:8], 16)
    if lacking := [number for number in range(start, stop + 1) if number not in held]:
        names = listed((segment_name(number, timeline, size) for number in lacking), 3)
        yield failed(f"{which} needs WAL that is gone: {names}. It cannot be restored.", reason=Reason.MISSING)
        return
    known = newest.wal_information.last_available
    if known and int(known[:8], 16) == timeline and segment_number(known, size) > max(held):
        first = segment_name(max(held) + 1, timeline, size)
        yield failed(
            f"{which} can be restored up to {first} only: that WAL is gone, though barman lists WAL up to {known}.",
            reason=Reason.MISSING,
        )


def verification_problems(found: Verified, barman: Barman, backup: str) -> Iterator[Result]:
    """What the verification of all files found."""
    name = f"backup {backup} of barman's server {barman.server}"
    if found is Verified.DAMAGED:
        yield failed(f"Files of {name} are damaged or gone (barman verify-backup).", reason=Reason.INVALID)
    elif found is Verified.NO_MANIFEST:
        yield unknown(f"The files of {name} were not verified: it has no manifest (barman generate-manifest).")
    elif found is Verified.NOT_RUN:
        yield unknown(f"The files of {name} were not verified: barman could not do it.", reason=Reason.ERROR)


def wal_problems(flaws: Mapping[str, str], barman: Barman) -> Iterator[Result]:
    """What reading WAL files found, by their name: without one of them nothing later can be restored."""
    for name, flaw in sorted(flaws.items()):
        yield failed(
            f"WAL file {name} of barman's server {barman.server} {flaw}: nothing after it can be restored.",
            reason=Reason.INVALID,
        )


def kept_problems(
    backups: Sequence[Listed], barman: Barman, retention: timedelta, least: int, now: datetime
) -> Iterator[Result]:
    """Whether complete backups, which barman does not consider obsolete, go back far enough, with at least so many full ones."""
    name = f"barman's server {barman.server}"
    dates = [one.ended for one in backups if one.ended is not None]
    if not dates:
        yield failed(f"{name} has no complete backup, so nothing is retained.", reason=Reason.MISSING)
        return
    if (fulls := sum(one.is_full for one in backups if one.ended is not None)) < least:
        yield failed(f"{name} has {counted(fulls, 'full backup')} (at least {least} wanted).", reason=Reason.LIMIT)
    yield from retention_problems(
        f"The oldest backup of {name}", f"{name} has no backup", dates, retention, barman.max_age, now
    )
