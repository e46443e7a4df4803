"""What log lines show of one request: its method, path, status and duration. Lines go in, and no part of them comes out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from collectors.systems.loki.model.lines import Stream, read_fields, unwrapped

__all__ = ["Asked", "RequestPart", "parts_shown"]


class RequestPart(StrEnum):
    """What a line may show of a request."""

    METHOD = "method"
    PATH = "path"
    STATUS = "status"
    DURATION = "duration"


@dataclass(frozen=True, slots=True)
class Asked:
    """A GET that was sent: the path without its query, and the status that it was answered with."""

    path: str
    status: int


_SEPARATORS = re.compile(r"[^a-z]")
_STATUSES = ("status", "statuscode", "responsecode", "httpcode")
_PATHS = ("path", "url", "uri", "route", "target", "request")
_DURATIONS = ("duration", "latency", "elapsed", "took", "responsetime", "requesttime", "processtime", "timetaken")
_DURATION_UNITS = ("ms", "millis", "seconds")
_WITH_UNIT = re.compile(r"(?<![\w.])\d+(?:\.\d+)?\s?(?:ns|[uµμ]s|ms|s|secs?|seconds?|milliseconds?)\b", re.IGNORECASE)
#: Seconds as nginx writes them; no part of an address, a version, a date or an epoch.
_SECONDS = re.compile(r"(?<![\w.:/-])\d{1,4}\.\d{3,}(?![\w.:/-])")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_PAIR = re.compile(r'(?<!\S)[\w.@-]+=(?:"(?:[^"\\]|\\.)*"|\S*)')
_AFTER_STATUS = re.compile(r'HTTP/[\d.]+" \d{3} (.*)')
_QUOTED = re.compile(r'"[^"]*"')
_LENGTH = re.compile(r"\+?(\d+(?:\.\d+)?(?:e[+-]?\d+)?)\s?[a-zµμ]{0,12}", re.IGNORECASE)
_EPOCH, _LONGEST = 1e9, 1e12


def parts_shown(streams: Iterable[Stream], asked: Asked) -> frozenset[RequestPart]:
    """Which parts of a request its lines show: one for the request and another for the answer is as good as one for both."""
    shown: set[RequestPart] = set()
    for stream in streams:
        shown.update(_named(stream.labels, asked, exact=True))
        for _, line in stream.entries:
            text = _COLOURS.sub("", unwrapped(line))
            if not text.lstrip().startswith("{"):  # words may stand beside the pairs of logfmt
                shown.update(_written(_PAIR.sub("", text), asked))
            flat = dict(_flat(read_fields(text) or {}))
            shown.update(_named(flat, asked))
            for value in flat.values():
                if isinstance(value, str) and " " in value.strip():
                    shown.update(_written(_COLOURS.sub("", value), asked))
    return frozenset(shown)


def _flat(fields: Mapping[str, object], depth: int = 0) -> Iterator[tuple[str, object]]:
    """Names, joined by dots, and values."""
    for name, value in fields.items():
        if isinstance(value, Mapping):
            if depth < 5:
                yield from ((f"{name}.{inner}", kept) for inner, kept in _flat(value, depth + 1))
        else:
            yield name, value


def _named(fields: Mapping[str, object], asked: Asked, *, exact: bool = False) -> Iterator[RequestPart]:
    """What fields show by their names; with `exact` a path only if it is the one asked for."""
    for name, value in fields.items():
        plain = _SEPARATORS.sub("", name.lower())
        text = value if isinstance(value, str) else "" if isinstance(value, bool) else str(value)
        if plain.endswith("method") and text.upper() == "GET":
            yield RequestPart.METHOD
        elif plain.endswith(_STATUSES) and text.split(" ")[0] == str(asked.status):
            yield RequestPart.STATUS
        elif plain.endswith(_PATHS) and (
            _has_path(text, asked.path) or (not exact and text.startswith(("/", "http://", "https://")))
        ):
            yield RequestPart.PATH
        elif (plain in _DURATION_UNITS or any(word in plain for word in _DURATIONS)) and _is_length(plain, text):
            yield RequestPart.DURATION


def _is_length(name: str, text: str) -> bool:
    """Whether a value is a length of time, in whatever unit, and no date."""
    found = _LENGTH.fullmatch(text.strip())
    return found is not None and float(found[1]) < (_EPOCH if name.endswith("time") else _LONGEST)


def _written(text: str, asked: Asked) -> Iterator[RequestPart]:
    """What a sentence or a line of an access log shows."""
    if re.search(r"(?<![A-Za-z])GET(?![A-Za-z])", text):
        yield RequestPart.METHOD
    if _has_path(text, asked.path):
        yield RequestPart.PATH
    if re.search(rf"(?<![\w.:/-]){asked.status}(?![\w.:/-])", text):
        yield RequestPart.STATUS
    if _WITH_UNIT.search(text) or _SECONDS.search(text) or _has_more_than_size(text):
        yield RequestPart.DURATION


def _has_more_than_size(text: str) -> bool:
    """Whether an access log has a number beside the size after the status: `%D` of Apache, milliseconds of Envoy."""
    found = _AFTER_STATUS.search(text)
    return found is not None and sum(word.isdigit() for word in _QUOTED.sub("", found[1]).split()) >= 2


def _has_path(text: str, path: str) -> bool:
    return re.search(rf"{re.escape(path)}(?![\w%./-])", text) is not None
