"""Levels of log lines: by their labels, and by expressions in LogQL where labels do not give them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from collectors.systems.prometheus.model.answers import (
    Sample,
)

__all__ = ["DEBUG_FIELD", "DEBUG_WORD", "KNOWN_LEVELS", "LEVEL_FIELD", "LEVEL_WORD", "Levels", "levels", "unlevelled"]

_NAMES = r'(?:\b(?:level|lvl|severity|level_?name|log_?level|log\.level|severity_?text)|@l)\\?"?\s*[:=]\s*\\?"?'
_DEBUG = "trace|debug|trc|dbg|dbug|verbose|silly|fine|finer|finest"
_OTHER = "info|information|informational|inf|notice|warn|warning|wrn|error|err|eror|crit|critical|fatal|panic|alert|emerg|emergency"
#: For LogQL (RE2, and no backquote). Numbers are those of pino and bunyan: 10 trace, 20 debug, 30 info and up.
DEBUG_FIELD = rf"(?i){_NAMES}(?:{_DEBUG}|10|20)\b"
LEVEL_FIELD = rf"(?i){_NAMES}(?:{_DEBUG}|{_OTHER}|[1-6]0)\b"
#: For lines without such a field: a word in capitals or in brackets.
DEBUG_WORD = r"\b(?:TRACE|DEBUG)\b|[\[<(](?i:trace|debug)[\]>)]"
LEVEL_WORD = (
    r"\b(?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL)\b"
    r"|[\[<(](?i:trace|debug|info|notice|warn|warning|error|crit|critical|fatal)[\]>)]|^[IWEF]\d{4} "
    #: JSON access logs have a status instead, and Serilog leaves out the level Information.
    r"|\"(?:status|status_code|response_code|statusCode|DownstreamStatus)\\?\"\s*:\s*\\?\"?[1-5]\d\d\b|^\{\"@t\":"
)
_DEBUG_LEVELS = frozenset(_DEBUG.split("|"))
KNOWN_LEVELS = _DEBUG_LEVELS | frozenset(_OTHER.split("|"))


@dataclass(frozen=True, slots=True)
class Levels:
    """Numbers of lines: all, those whose level is known, and of these the ones of level debug or trace."""

    lines: float
    levelled: float
    debug: float


def _level(sample: Sample) -> str:
    """The level by labels; empty when they do not report it. `detected_level` is Loki's own guess, and may be `unknown`."""
    labelled = (sample.labels.get(name, "").lower() for name in ("detected_level", "level"))
    return next((level for level in labelled if level in KNOWN_LEVELS), "")


def levels(counts: Iterable[Sample]) -> Levels:
    """Add up counts of lines by the labels `detected_level` and `level`."""
    lines = levelled = debug = 0.0
    for sample in counts:
        lines += sample.value
        level = _level(sample)
        levelled += sample.value if level else 0
        debug += sample.value if level in _DEBUG_LEVELS else 0
    return Levels(lines, levelled, debug)


def unlevelled(counts: Iterable[Sample]) -> float:
    """How many lines have no level by their labels."""
    return sum(sample.value for sample in counts if not _level(sample))
