"""Logging to standard error, as logfmt or JSON, with every known secret taken out."""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from urllib.parse import quote, quote_plus

__all__ = ["LogFormat", "LogLevel", "configure", "hide", "redact"]

_OURS = ("exporter", "collectors")
_BARE = re.compile(r"[^\s\"=\\\x00-\x1f\x7f]+")
_hidden: set[str] = set()


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
    """Log to standard error from now on: our own records from `level`, those of libraries from warning."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(log_format))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    threshold = logging.getLevelNamesMapping()[level.upper()]
    root.setLevel(max(threshold, logging.WARNING))
    for name in _OURS:
        logging.getLogger(name).setLevel(threshold)
    logging.captureWarnings(True)


def hide(secrets: Iterable[str]) -> None:
    """Take these out of everything logged from now on, plain, percent-encoded, and as Python and JSON quote them.

    What was hidden once stays hidden.
    """
    for secret in secrets:
        encoded = (quote(secret), quote(secret, safe=""), quote_plus(secret))
        quoted = (repr(secret)[1:-1], json.dumps(secret)[1:-1])
        _hidden.update(form for form in (secret, *encoded, *quoted) if form)


def redact(text: str) -> str:
    """`text` without the secrets that were hidden."""
    for secret in sorted(_hidden, key=len, reverse=True):
        text = text.replace(secret, "<secret>")
    return text


class _Formatter(logging.Formatter):
    def __init__(self, log_format: LogFormat) -> None:
        super().__init__()
        self._write = _logfmt if log_format is LogFormat.LOGFMT else json.dumps

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": "warn" if record.levelno == logging.WARNING else record.levelname.lower(),
            "logger": record.name,
            "msg": redact(record.getMessage()),
        }
        if record.exc_info:
            fields["error"] = redact("".join(traceback.format_exception(*record.exc_info)).rstrip())
        return self._write(fields)


def _logfmt(fields: Mapping[str, str]) -> str:
    return " ".join(
        f"{key}={value if _BARE.fullmatch(value) else json.dumps(value, ensure_ascii=False)}"
        for key, value in fields.items()
    )
