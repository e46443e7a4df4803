"""What backups of any tool have in common: the newest is recent and as large as those before, and they go back far enough."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from statistics import median

from exporter.options import format_duration
from exporter.verdict import Reason, Result, failed, unknown, warning
from exporter.words import counted, format_length, format_size

__all__ = ["CLOCKS", "age_problems", "repeated_problems", "retention_problems", "size_problems"]

CLOCKS = timedelta(minutes=5)
"""How far clocks of two hosts may differ before a date counts as one of the future."""
_SHRUNK, _EMPTIED = 0.5, 0.01
_BEFORE = 5


def age_problems(newest: str, written: datetime, max_age: timedelta, now: datetime) -> Iterator[Result]:
    """Whether the newest backup is recent. `newest` names it, as the subject of a sentence."""
    age = now - written
    if age > max_age:
        yield failed(f"{newest} is {format_length(age)} old (limit {format_duration(max_age)}).", reason=Reason.LIMIT)
    if -age > CLOCKS:
        yield unknown(f"{newest} is dated {format_length(-age)} in the future.", reason=Reason.CONTRADICTED)


def size_problems(newest: str, size: int, before: Sequence[int]) -> Iterator[Result]:
    """Whether it is about as large as those before it, the latest first; sizes are in bytes."""
    usual = median(before[:_BEFORE]) if before else 0
    sentence = f"{newest} has {format_size(size)}, those before it {format_size(usual)}."
    if size < _EMPTIED * usual:
        yield failed(sentence, reason=Reason.INVALID)
    elif size < _SHRUNK * usual:
        yield warning(sentence)


def repeated_problems(newest: str, contents: Sequence[str], written: Sequence[datetime]) -> Iterator[Result]:
    """Whether it holds something new: what a dump that fails leaves behind is backed up again and again.

    `contents` distinguish what the newest backup and those before it contain, the latest first; an empty one is not known.
    """
    same = [bool(content) and content == contents[0] for content in contents]
    if (times := [*same, False].index(False)) > 1:
        yield warning(
            f"{newest} has the same content as {counted(times - 1, 'backup')} before it, since {written[times - 1]:%F}: one old "
            "file may be stored again and again."
        )


def retention_problems(
    oldest: str, without: str, written: Sequence[datetime], retention: timedelta, max_age: timedelta, now: datetime
) -> Iterator[Result]:
    """Whether backups, at least one, go back as far as they have to, without a gap: one old file is no retention.

    `oldest` names the oldest of them, as the subject of a sentence; `without` says that the store has none, such as `orders has no
    snapshot`. A gap is one of more than half the retention, and a warning if it is of more than two of `max_age`.
    """
    dates = sorted(written)
    if (age := now - dates[0]) < retention:
        yield failed(
            f"{oldest} is {format_length(age)} old (retention {format_duration(retention)}).", reason=Reason.LIMIT
        )
        return
    since = [max(now - retention, moment) for moment in dates]
    length, end = max((later - earlier, later) for earlier, later in zip(since, [*since[1:], now], strict=True))
    gap = f"{without} from the {format_length(length)} before {end:%F %H:%M} UTC"
    if length > retention / 2:
        yield failed(f"{gap} (retention {format_duration(retention)}).", reason=Reason.MISSING)
    elif length > 2 * max_age:
        yield warning(f"{gap}.")
