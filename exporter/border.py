"""The border between plug-ins and the engine: what a collector hands over is checked here, once, and trusted from then on.

Collectors come from anyone. Whatever one of them returns or raises must not harm another line, so nothing of theirs is used before
it was checked: not the type of a status, the size of a text, nor even that an exception has one.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Coroutine, Generator, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from exporter.evidence.records import Record
from exporter.verdict import Reason, Result, Status
from exporter.words import counted

__all__ = [
    "MAX_SENTENCE",
    "MAX_TEXT",
    "Contained",
    "Unacceptable",
    "accepted",
    "cause",
    "end_if_forked",
    "is_ours",
    "one_sentence",
    "text_of",
]

#: Characters of a sentence that are shown.
MAX_SENTENCE = 1000
#: Characters of a text that are checked; a longer one is a mistake of whoever made it.
MAX_TEXT = 65_536
MAX_MEASUREMENTS = 100
MAX_NAME = 100
MAX_RECORDS = 1000
#: Characters of all records of a result, as JSON.
MAX_EVIDENCE = 1 << 20
#: Exceptions in a group, and groups in each other, that are looked through for a cause.
_MAX_DEPTH = 20

_VERDICTS = frozenset((Status.OK, Status.WARNING, Status.FAILED, Status.UNKNOWN))


class Unacceptable(Exception):
    """What a collector returned is no verdict; the text says what is wrong with it, as the end of a sentence."""


class Ended(Exception):
    """A collector tried to end the process."""


def accepted(result: object, redact: Callable[[str], str]) -> Result:
    """The result as a plain Result: one bounded line without secrets, finite measurements, times in UTC's range.

    Measurements that are NaN or infinite were not taken, and are left out. Raises Unacceptable for all else that is wrong.
    """
    if type(result) is not Result:
        raise Unacceptable(f"returned {type(result).__name__[:MAX_NAME]}, not a Result")
    status: object = result.status
    if not isinstance(status, Status) or status not in _VERDICTS:
        allowed = ", ".join(sorted(_VERDICTS))
        raise Unacceptable(f"returned a Result whose status is not one of {allowed}")
    if result.reason is not None and not isinstance(result.reason, Reason):
        raise Unacceptable("returned a Result whose reason is not a Reason")
    return Result(
        result.status,
        _summary(result.summary, redact),
        _measurements(result.measurements, redact),
        _moment(result.valid_until),
        _evidence(result.evidence),
        None if result.status.is_ok else result.reason,
    )


def _summary(summary: object, redact: Callable[[str], str]) -> str:
    if not isinstance(summary, str):
        raise Unacceptable(f"returned a Result whose summary is {type(summary).__name__[:MAX_NAME]}, not text")
    if len(summary) > MAX_TEXT:
        raise Unacceptable(f"returned a sentence of {counted(len(summary), 'character')} (limit {MAX_TEXT})")
    text = one_sentence(redact(str(summary)))
    if not text:
        raise Unacceptable("returned a Result without a sentence")
    return text


def _measurements(measurements: object, redact: Callable[[str], str]) -> dict[str, float]:
    if not isinstance(measurements, Mapping):
        raise Unacceptable("returned measurements that are not a mapping")
    if len(measurements) > MAX_MEASUREMENTS:
        raise Unacceptable(f"returned {len(measurements)} measurements (limit {MAX_MEASUREMENTS})")
    found = {}
    for name, value in measurements.items():
        if not isinstance(name, str) or not name.isidentifier() or len(name) > MAX_NAME:
            raise Unacceptable("returned a measurement whose name is not an identifier")
        if redact(str(name)) != name:
            raise Unacceptable("returned a measurement whose name is a secret")
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = None
        if number is None or isinstance(value, str | bytes):
            raise Unacceptable(f"returned a measurement {name} that is not a number")
        if math.isfinite(number):
            found[str(name)] = number
    return found


def _moment(moment: object) -> datetime | None:
    if moment is None:
        return None
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise Unacceptable("returned a valid_until that is not a time with its zone")
    try:
        moment = moment.astimezone(UTC)
        moment.timestamp()
    except (OverflowError, ValueError, OSError):
        raise Unacceptable("returned a valid_until that is out of range") from None
    return moment


def _evidence(evidence: object) -> tuple[Record, ...]:
    if not isinstance(evidence, tuple) or not all(isinstance(record, Record) for record in evidence):
        raise Unacceptable("returned evidence that is not a tuple of records")
    if len(evidence) > MAX_RECORDS:
        raise Unacceptable(f"returned {len(evidence)} evidence records (limit {MAX_RECORDS})")
    try:
        size = sum(len(record.model_dump_json(warnings="error")) for record in evidence)
    except ValueError:
        raise Unacceptable("returned evidence that was not made by reading a record") from None
    if size > MAX_EVIDENCE:
        raise Unacceptable(f"returned evidence of {counted(size, 'character')} (limit {MAX_EVIDENCE})")
    return evidence


def one_sentence(text: str, limit: int = MAX_SENTENCE) -> str:
    """One line of at most `limit` characters, all of which UTF-8 has and none of which a terminal obeys."""
    text = text.encode("utf-8", "backslashreplace").decode()
    text = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def text_of(error: BaseException) -> str | None:
    """What an exception says; None where it cannot even say that, or says more than anybody would read."""
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001  # an exception's __str__ is a plug-in's code as well
        return None
    return text if len(text) <= MAX_TEXT else None


def cause(error: BaseException) -> BaseException:
    """The first exception of a group, and of the groups in it: the others follow from it or say the same."""
    for _ in range(_MAX_DEPTH):
        if not isinstance(error, BaseExceptionGroup) or not error.exceptions:
            break
        error = error.exceptions[0]
    return error


class Contained(Coroutine[Any, Any, Any]):
    """A coroutine from which SystemExit and KeyboardInterrupt come as Ended: asyncio lets them end the event loop otherwise.

    As a task factory it covers every task of a loop, those that plug-ins start themselves included.
    """

    __slots__ = ("_inner",)

    def __init__(self, inner: Coroutine[Any, Any, Any]) -> None:
        self._inner = inner

    def send(self, value: Any) -> Any:
        """One step of the coroutine. Raises Ended for what would end the process."""
        try:
            return self._inner.send(value)
        except (SystemExit, KeyboardInterrupt) as error:
            raise _ended(error) from None

    def throw(self, kind: Any, value: BaseException | object = None, trace: TracebackType | None = None, /) -> Any:
        """One step of the coroutine, which begins with an exception. Raises Ended for what would end the process."""
        try:
            return self._inner.throw(kind) if value is None else self._inner.throw(kind, value, trace)
        except (SystemExit, KeyboardInterrupt) as error:
            raise _ended(error) from None

    def close(self) -> None:
        """End the coroutine."""
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._inner.__await__()

    def __getattr__(self, name: str) -> Any:  # cr_frame and its like, by which asyncio shows where a task stands
        return getattr(self._inner, name)


_process = os.getpid()


def is_ours() -> None:
    """This process is the exporter: what a plug-in raises to end it does not. In one that a plug-in forks it does."""
    global _process  # one process is the exporter
    _process = os.getpid()


def end_if_forked(error: BaseException) -> None:
    """End a process that a plug-in forked and means to end: otherwise it would go on as a second exporter."""
    if os.getpid() != _process and isinstance(error, SystemExit | KeyboardInterrupt):
        os._exit(error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 0)


def _ended(error: BaseException) -> Ended:
    end_if_forked(error)
    return Ended(f"it raised {type(error).__name__} to end the process")
