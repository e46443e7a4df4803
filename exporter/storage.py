"""What the history needs of the place where it is stored, and the rows in which observations are stored.

`exporter.database.Database` is a file of one exporter, `exporter.shared_database.SharedDatabase` is for several.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from exporter.observations import Observation, Remembered, Transition
from exporter.verdict import Reason, Result, Status

__all__ = ["BAD", "Deposed", "InUse", "Key", "Storage", "moment_of", "observation_of", "row_of", "text_of"]

Key = tuple[str, str]
"""Section and item."""

#: What reading a value raises that makes no sense.
BAD = (ValueError, TypeError, OverflowError, AttributeError, RecursionError)
_VERDICTS = (Status.OK, Status.WARNING, Status.FAILED, Status.UNKNOWN)


class InUse(Exception):
    """Another exporter writes to it. The text says which."""


class Deposed(Exception):
    """Another exporter has taken over: nothing that this one still has may be written."""


class Storage(Protocol):
    """Where history is stored. Every call may block, and is made by one thread at a time; `newest` may be made by any other."""

    title: str
    """What it is, as a sentence about it begins."""
    troubles: tuple[type[Exception], ...]
    """What its methods raise where it cannot be used for now."""
    pace: float
    """Seconds between two writes."""
    fresh: bool
    """Whether it was made again since `load` or `save` last asked: what was in it before has to be written again."""
    notice: Callable[[str], None]
    """Called with a full sentence for each thing that somebody should know of."""

    def open(self, patience: float) -> None:
        """Keep other exporters from it; raises InUse with the holder after `patience` seconds."""

    def load(self) -> dict[Key, Remembered]:
        """What was known of every item when it was last written."""

    def newest(self, section: str | None, item: str | None, limit: int) -> tuple[list[Transition], list[Any]]:
        """The newest transitions, newest first, and what identifies those that make no sense."""

    def save(self, transitions: Sequence[Transition], kept: Mapping[Key, Remembered], bad: Iterable[Any]) -> None:
        """Write these in one go; `bad` are transitions that make no sense. Raises Deposed where another exporter writes."""

    def check(self) -> None:
        """Raise one of `troubles` where it can no longer be written."""

    def failed(self, error: Exception) -> None:
        """After an error: have it opened again where that may outlive the error's cause."""

    def close(self) -> None:
        """Let go of it."""


def text_of(value: object) -> str:
    """A text that was stored; raises TypeError for anything else, and for one that is too long to be ours."""
    if not isinstance(value, str) or len(value) > 10_000:
        raise TypeError(value)
    return value


def moment_of(stored: object, latest: datetime | None) -> datetime:
    """A time that was stored, in UTC; raises ValueError for one without zone, or later than `latest`."""
    moment = stored if isinstance(stored, datetime) else datetime.fromisoformat(text_of(stored))
    if moment.tzinfo is None:
        raise ValueError(stored)
    moment = moment.astimezone(UTC)
    if latest is not None and moment > latest:
        raise ValueError(stored)
    return moment


def observation_of(row: Sequence[Any], latest: datetime) -> Observation:
    """The observation in a row as `row_of` makes it; raises one of BAD, such as ValueError, where it makes no sense."""
    status, summary, measurements, valid_until, at, duration, error, reason, fingerprint = row
    numbers = {text_of(name): float(value) for name, value in json.loads(measurements).items()}
    if not all(map(math.isfinite, [*numbers.values(), float(duration)])):
        raise ValueError(numbers)
    verdict = Status(status)
    if verdict not in _VERDICTS:
        raise ValueError(status)
    result = Result(
        verdict,
        text_of(summary),
        numbers,
        moment_of(valid_until, None) if valid_until else None,
        reason=Reason(reason) if reason else None,
    )
    return Observation(result, moment_of(at, latest), float(duration), bool(error), text_of(fingerprint or ""))


def row_of(seen: Observation) -> tuple[Any, ...]:
    """An observation as a row: status, summary, measurements, valid_until, at, duration, error, reason, fingerprint."""
    result = seen.result
    return (
        result.status.value,
        result.summary,
        json.dumps(dict(result.measurements)),
        result.valid_until,
        seen.at,
        seen.duration,
        seen.error,
        result.reason.value if result.reason else None,
        seen.fingerprint,
    )
