"""How much would be lost if a primary, its disks and its standbys were gone now, by positions in the WAL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from collectors.shared.verdicts import verdict
from collectors.systems.postgresql.model.instance import Archiver
from collectors.systems.postgresql.model.recovery_point import Base, WalState
from collectors.systems.postgresql.model.segments import segment_number
from exporter.options import format_duration
from exporter.verdict import Reason, Result, failed, ok, unknown, warning
from exporter.words import format_length, format_size

__all__ = ["judge_lag", "judge_recovery_point"]


def judge_recovery_point(
    wal: WalState, archiver: Archiver, segments: frozenset[str], backup: Base, at_most: timedelta, store: str
) -> Result:
    """Whether what is committed and not yet in the repository is younger than `at_most`.

    `segments` have to be listed after `wal` was asked: then WAL that is in neither was not there at that moment.
    """
    if archiver.archive_mode == "off":
        return failed(
            f"WAL archiving of {store} is off (archive_mode): all since backup {backup.label} would be lost.",
            reason=Reason.MISCONFIGURED,
        )
    last = _last_recoverable(segments, backup, archiver)
    if last is None:
        return unknown(
            f"The repository holds no WAL of timeline {archiver.timeline} of {store} after backup {backup.label} yet, "
            "so its recovery point is not known.",
            reason=Reason.PENDING,
        )
    lost = max(0, wal.position - (last + 1) * archiver.segment_size)
    least, most = _age(wal, archiver, last) if lost else (0.0, 0.0)
    measured: dict[str, Any] = {} if most is None else {f"{store}_data_at_risk_seconds": most}
    good = ok(
        f"All WAL of {store} is in the repository."
        if not lost
        else f"WAL of {store} that is not in the repository is at most {_length(most)} old.",
        **measured,
    )
    return verdict(_problems(wal, lost, least, most, at_most, store), good)


def judge_lag(
    wal: WalState, archiver: Archiver, segments: frozenset[str], backup: Base, at_most: timedelta, most: int, store: str
) -> Result:
    """Whether the repository has the WAL that was finished longer ago than `at_most`, and lacks no more than `most` bytes of all.

    Unlike its recovery point this does not ask for how long the unfinished segment has been written.
    """
    last = _last_recoverable(segments, backup, archiver)
    if last is None:
        return unknown(
            f"The repository holds no WAL of timeline {archiver.timeline} of {store} after backup {backup.label} yet.",
            reason=Reason.PENDING,
        )
    lacking = max(0, wal.position - (last + 1) * archiver.segment_size)
    waiting, _ = _age(wal, archiver, last) if lacking else (0.0, None)
    if waiting > at_most.total_seconds():
        return failed(
            f"The repository lacks WAL of {store} that was finished {_length(waiting)} ago (limit {format_duration(at_most)}).",
            reason=Reason.LIMIT,
        )
    if lacking > most:
        return failed(
            f"The repository lacks {format_size(lacking)} of the WAL of {store} (limit {format_size(most)}).",
            reason=Reason.LIMIT,
        )
    return ok(f"The repository has the WAL of {store} that was finished.")


def _last_recoverable(segments: frozenset[str], backup: Base, archiver: Archiver) -> int | None:
    """The last segment of the primary's timeline up to which nothing is missing since the backup; None where there is none.

    Another timeline's segment of the same number is no replacement: it may have been written after they parted.
    """
    if not backup.first_segment:
        return None
    held: dict[int, set[int]] = {}
    for name in segments:
        held.setdefault(segment_number(name, archiver.segment_size), set()).add(int(name[:8], 16))
    number, last = segment_number(backup.first_segment, archiver.segment_size), None
    while timelines := held.get(number):
        if archiver.timeline in timelines:
            last = number
        number += 1
    return last


def _age(wal: WalState, archiver: Archiver, last: int) -> tuple[float, float | None]:
    """How old the oldest WAL after the last recoverable segment is, in seconds: at least, and at most (None: not known).

    It was written after that segment was finished. Where archive_timeout is set, none is older than that when its own segment is
    finished: PostgreSQL switches to the next, unless all that was written is of no importance.
    """
    finished = {
        segment_number(found.name, archiver.segment_size): found
        for found in wal.finished
        if int(found.name[:8], 16) == archiver.timeline
    }
    waiting = max((0.0, *(found.age for number, found in finished.items() if number > last)))
    # A negative age means that the clock was set back since: it bounds nothing.
    bounds = [finished[last].age] if last in finished and finished[last].age >= 0 else []
    if wal.archive_timeout > 0:
        bounds.append(waiting + wal.archive_timeout)
    return waiting, min(bounds, default=None)


def _problems(
    wal: WalState, lost: int, least: float, most: float | None, at_most: timedelta, store: str
) -> Iterator[Result]:
    limit, objective = at_most.total_seconds(), f"(objective {format_duration(at_most)})"
    timeout = f"archive_timeout is {format_duration(timedelta(seconds=wal.archive_timeout))}"
    if least > limit:
        yield failed(
            f"The recovery point of {store} is {_length(least)} old or older: WAL from then is not in the repository {objective}.",
            reason=Reason.LIMIT,
        )
    elif most is None or most > limit:
        age = f"up to {_length(most)}" if most is not None else "longer than can be measured"
        yield unknown(
            f"{format_size(lost)} of WAL of {store} are not in the repository, and may have been written {age} ago {objective}; "
            f"{timeout}.",
            reason=Reason.LIMIT,
        )
    elif wal.archive_timeout <= 0 or wal.archive_timeout > limit:
        yield warning(f"{store} meets its objective as long as it writes a lot: {timeout} {objective}.")


def _length(seconds: float | None) -> str:
    return format_length(timedelta(seconds=seconds or 0))
