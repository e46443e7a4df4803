"""Logging to standard error, as logfmt or JSON, with every known secret removed, also from what Python itself would print."""

from __future__ import annotations

import base64
import html
import json
import logging
import re
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO, cast
from urllib.parse import quote, quote_plus

from ahocorasick_rs import BytesAhoCorasick

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

__all__ = ["MIN_SECRET", "LogFormat", "LogLevel", "configure", "hide", "redact", "redact_streams"]

#: Characters from which a secret is hidden: a shorter one occurs in any sentence, and to hide it would make all unreadable.
MIN_SECRET = 4
#: How many records a place in a library's code may log in this many seconds; the others are counted.
REPEATS = 10
REPEATS_SECONDS = 60.0

#: Characters of a message, or of a traceback, that are logged.
MAX_TEXT = 65_536

_OURS = ("exporter", "collectors")
_BARE = re.compile(r"[^\s\"=\\\x00-\x1f\x7f]+")
_BASE64_FROM = 8  # of a shorter secret, base64 has too few characters that depend on nothing else


class LogLevel(StrEnum):
    """How much is logged, by the names that every exporter has."""

    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"


class LogFormat(StrEnum):
    """How a record is written."""

    LOGFMT = "logfmt"
    JSON = "json"


def configure(level: LogLevel = LogLevel.INFO, log_format: LogFormat = LogFormat.LOGFMT) -> None:
    """Log to standard error from now on: our own records from `level`, those of libraries from warning.

    Uncaught exceptions, of threads and finalizers too, are logged as well, instead of being printed by Python as they are.
    """
    handler = _Handler(sys.stderr)
    handler.setFormatter(_Formatter(log_format))
    handler.addFilter(_Repeats())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    threshold = logging.getLevelNamesMapping()[level.upper()]
    root.setLevel(max(threshold, logging.WARNING))
    for name in _OURS:
        logging.getLogger(name).setLevel(threshold)
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread
    sys.unraisablehook = _unraisable


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger("exporter").critical("Uncaught %s.", kind.__name__, exc_info=(kind, error, trace))


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is SystemExit:
        return
    error = args.exc_value or args.exc_type()
    name = args.thread.name if args.thread else "a thread that is gone"
    logging.getLogger("exporter").error(
        "Uncaught %s in %s.", args.exc_type.__name__, name, exc_info=(args.exc_type, error, args.exc_traceback)
    )


def _unraisable(args: UnraisableHookArgs) -> None:
    error = args.exc_value or args.exc_type()
    logging.getLogger("exporter").error(
        "%s in %s.",
        args.err_msg or "Exception ignored",
        getattr(args.object, "__qualname__", type(args.object).__name__),
        exc_info=(args.exc_type, error, args.exc_traceback),
    )


class _Redactor:
    """Finds all hidden texts in one pass, however many there are."""

    def __init__(self) -> None:
        self.known: set[str] = set()
        """The secrets whose forms were added."""
        self._hidden: set[bytes] = set()
        self._automaton: BytesAhoCorasick | None = None
        self._adding = threading.Lock()

    def add(self, forms: Iterable[str]) -> None:
        with self._adding:  # who adds what another thread is adding may only go on once that is found
            known = len(self._hidden)
            self._hidden.update(map(_encoded, forms))
            if len(self._hidden) > known:
                self._automaton = BytesAhoCorasick(self._hidden)

    def redact(self, text: str) -> str:
        if self._automaton is None:
            return text
        encoded = _encoded(text)
        found = self._automaton.find_matches_as_indexes(encoded, overlapping=True)
        if not found:
            return text
        shown: list[bytes] = []
        at = 0
        for start, end in _joined((start, end) for _, start, end in found):
            shown += (encoded[at:start], b"<secret>")
            at = end
        return b"".join((*shown, encoded[at:])).decode("utf-8", "surrogatepass")


def _joined(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The spans in order, those that overlap as one: what remains of one secret must not show the end of another."""
    first, *others = sorted(spans)
    start, end = first
    for begin, stop in others:
        if begin >= end:
            yield start, end
            start = begin
        end = max(end, stop)
    yield start, end


def _encoded(text: str) -> bytes:
    """UTF-8, also of half characters, which a server's answer may hold."""
    return text.encode("utf-8", "surrogatepass")


_redactor = _Redactor()


def hide(secrets: Iterable[str]) -> None:
    """Remove these from everything logged or shown from now on, in every form in which messages quote them.

    Those of fewer than `MIN_SECRET` characters are not hidden. What was hidden once stays hidden, and costs nothing again.
    """
    new = set(secrets) - _redactor.known
    _redactor.add(form for secret in new for form in _forms(secret) if len(form) >= MIN_SECRET)
    _redactor.known |= new  # only now: who finds it known goes on


def _forms(secret: str) -> Iterator[str]:
    """A secret as it is, percent-encoded, quoted by Python, JSON and HTML, and in the base64 of a text that holds it."""
    if len(secret) < MIN_SECRET:
        return
    yield secret
    yield from (repr(secret)[1:-1], json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1])
    yield html.escape(secret)
    raw = _encoded(secret)
    for encoded in (quote(raw), quote(raw, safe=""), quote_plus(raw)):
        yield encoded
        yield re.sub("%..", lambda match: match[0].lower(), encoded)
    if len(raw) >= _BASE64_FROM:
        for before in range(3):
            # The first and the last character may hold bits of what stands around the secret.
            whole = base64.b64encode(bytes(before) + raw).decode().rstrip("=")
            inner = whole[(0, 2, 3)[before] : len(whole) - (1 if (before + len(raw)) % 3 else 0)]
            yield inner
            yield inner.translate(_URL_SAFE)


_URL_SAFE = str.maketrans("+/", "-_")


def redact(text: str) -> str:
    """`text` without the secrets that were hidden."""
    return _redactor.redact(text)


class _Redacted:
    """Standard output or error without the secrets in what a library or a plug-in prints there."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text; returns its length."""
        self._stream.write(redact(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write texts one after the other."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def redact_streams() -> None:
    """Remove secrets from now on from all that is printed, too. For a process that does nothing else than to serve."""
    sys.stdout = cast("TextIO", _Redacted(sys.stdout))
    sys.stderr = cast("TextIO", _Redacted(sys.stderr))


class _Handler(logging.StreamHandler):  # type: ignore[type-arg]  # it is generic for type checkers only
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        """Report a record that cannot be written, without its arguments, which logging itself would print."""
        try:
            sys.stderr.write(f'level=error logger=exporter.logs msg="A record of {record.name} could not be logged."\n')
        except (OSError, ValueError, AttributeError):
            return  # standard error itself is gone


class _Repeats(logging.Filter):
    """Bounds what a place in a library logs over and over, such as a failing accept() under a flood."""

    def __init__(self) -> None:
        super().__init__()
        self._since = time.monotonic()
        self._seen: dict[tuple[str, int], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be written."""
        if record.name.partition(".")[0] in _OURS:
            return True
        now = time.monotonic()
        if now - self._since >= REPEATS_SECONDS:
            self._since, self._seen = now, {}
        place = (record.pathname, record.lineno)
        seen = self._seen[place] = self._seen.get(place, 0) + 1
        if seen == REPEATS:
            record.msg = f"{record.getMessage()} (Similar messages are left out for the next {REPEATS_SECONDS:.0f} s.)"
            record.args = ()
        return seen <= REPEATS


class _Formatter(logging.Formatter):
    def __init__(self, log_format: LogFormat) -> None:
        super().__init__()
        self._write = _logfmt if log_format is LogFormat.LOGFMT else json.dumps

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": "warn" if record.levelno == logging.WARNING else record.levelname.lower(),
            "logger": redact(record.name),
            "msg": _shown(record.getMessage()),
        }
        if record.exc_info:
            fields["error"] = _shown(_traceback(*record.exc_info))
        return self._write(fields)


def _traceback(kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> str:
    try:
        return "".join(traceback.format_exception(kind, error, trace)).rstrip()
    except BaseException:  # noqa: BLE001  # texts and notes of an exception are a plug-in's code as well
        where = "".join(traceback.format_tb(trace))
        return f"{where}{kind.__name__ if kind else 'exception'}, whose text cannot be shown"


def _shown(text: str) -> str:
    """A text without secrets, shortened where nobody reads all of it: well behind the end of what is shown, so that none is cut."""
    shown = redact(text[: 4 * MAX_TEXT])
    return shown if len(shown) <= MAX_TEXT else f"{shown[:MAX_TEXT]}… ({len(text)} characters)"


def _logfmt(fields: Mapping[str, str]) -> str:
    return " ".join(
        f"{key}={value if _BARE.fullmatch(value) else json.dumps(value, ensure_ascii=False)}"
        for key, value in fields.items()
    )
