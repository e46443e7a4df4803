"""What a record of a drill has to agree with: when it took place, and how long it lasted, where it says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta

from exporter.evidence.records import Record, end_of, start_of
from exporter.options import format_duration
from exporter.verdict import Reason, Result, failed
from exporter.words import format_length

__all__ = ["LEAST_SECONDS", "drill_problems"]

LEAST_SECONDS = 1
"""Nothing is restored or recovered faster: a smaller number is of another unit, such as hours."""
_DAY = timedelta(days=1)


def drill_problems(record: Record, longest: timedelta, took: Mapping[str, float]) -> Iterator[Result]:
    """Why a drill with a `window` is not the one that was recorded, or too long ago: a record is younger than its drill.

    `took` are the seconds of what happened in it, by what that was, such as `the recovery`.
    """
    if record.window is None:
        return
    over = end_of(record.window.end)
    if start_of(record.window.end) > end_of(record.on) + _DAY:  # a day begins and ends at other times elsewhere
        yield failed(
            f"The exercise was over on {over:%F}, after it was recorded on {start_of(record.on):%F}.",
            reason=Reason.CONTRADICTED,
        )
    if (age := start_of(record.on) - over) > longest:
        yield failed(
            f"The exercise was over {format_length(age)} before it was recorded (limit {format_duration(longest)}).",
            reason=Reason.STALE,
        )
    lasted = (over - start_of(record.window.start)).total_seconds()
    for what, seconds in took.items():
        if seconds > lasted:
            yield failed(
                f"The record says that {what} took {seconds:g} s, in an exercise of {lasted:g} s.",
                reason=Reason.CONTRADICTED,
            )
