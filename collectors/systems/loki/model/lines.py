"""Log lines: streams of them, and whether they are structured.

Lines go in and numbers come out: nothing that is returned holds a line, or a part of one.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from collectors.systems.loki.model.levels import KNOWN_LEVELS
from collectors.systems.loki.model.limits import LogLimits

__all__ = ["Stream", "Structure", "read_fields", "structure", "unwrapped"]


class Stream(msgspec.Struct, frozen=True):
    """Log lines of one stream, with its labels. Each entry is nanoseconds since 1970, as text, and the line."""

    labels: dict[str, str] = msgspec.field(name="stream")
    entries: list[tuple[str, str]] = msgspec.field(name="values")

    def __repr__(self) -> str:
        """Without the lines."""
        return f"Stream(labels={self.labels!r}, {len(self.entries)} lines)"


#: Docker, the kubelet (CRI) and promtail's `pack` stage wrap a line in one of their own, which says nothing of the line itself.
_CRI = re.compile(r"\d{4}-\d\d-\d\dT\S+ (?:stdout|stderr) [FP] ")
_WRAPPED = ("log", "_entry")
_LOGFMT = re.compile(r'\s*([^\s="]+)(?:=("(?:[^"\\]|\\.)*"|[^\s"]*))?(?=\s|$)')
_TRACE = re.compile(r"\s+\S|Traceback \(most recent call last\)|Caused by: |goroutine \d+ \[|\.{3} \d+ more")
_TRACE_END = re.compile(r"[\w.$]+(?:Error|Exception)\b")


@dataclass(slots=True)
class Structure:
    """How many lines there were and how many are structured; what the others lack, by what it is. A stack trace is one line."""

    lines: int = 0
    structured: int = 0
    lacking: Counter[str] = field(default_factory=Counter)


def structure(streams: Iterable[Stream], names: LogLimits) -> Structure:
    """Look at lines as they were written: in their order, out of their envelopes."""
    found = Structure()
    for stream in streams:
        plain = in_trace = False  # of the line before
        for _, line in sorted(stream.entries, key=lambda entry: int(entry[0])):
            text = unwrapped(line)
            if not text.strip():
                continue
            fields = read_fields(text)
            traced = fields is None and bool(_TRACE.match(text) or (in_trace and _TRACE_END.match(text)))
            goes_on = plain and traced
            plain, in_trace = fields is None, traced
            if goes_on:
                continue
            found.lines += 1
            if lack := _lack(fields, stream.labels, names):
                found.lacking[lack] += 1
            else:
                found.structured += 1
    return found


def unwrapped(line: str) -> str:
    """A line as it was written, out of the envelopes of what passed it on."""
    for _ in range(3):
        if cri := _CRI.match(line):
            line = line[cri.end() :]
            continue
        document = _json(line)
        inner = (
            next((document[name] for name in _WRAPPED if isinstance(document.get(name), str)), None)
            if document
            else None
        )
        if not isinstance(inner, str):
            break
        line = inner
    return line


def _json(line: str) -> dict[str, Any] | None:
    if not line.lstrip().startswith("{"):
        return None
    try:
        document = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def read_fields(line: str) -> Mapping[str, Any] | None:
    """The fields of a line; None when it is plain text."""
    if (document := _json(line)) is not None:
        return document
    fields, end = {}, 0
    while match := _LOGFMT.match(line, end):
        if match[2] is not None:
            fields[match[1]] = match[2].strip('"')
        end = match.end()
    return fields if fields and not line[end:].strip() else None


#: What an access log says instead of a message: which path was asked for, and with what status it was answered.
_PATHS = (
    "request",
    "path",
    "uri",
    "request_uri",
    "url",
    "requestPath",
    "request_path",
    "request.uri",
    "http.url",
    "url.path",
    "requestURI",
)
_STATUSES = (
    "status", "status_code", "response_code", "statusCode", "response.status", "DownstreamStatus", "OriginStatus",
    "http.status_code", "http.response.status_code", "response_status", "responseStatus.code",
)  # fmt: skip


def _lack(fields: Mapping[str, Any] | None, labels: Mapping[str, str], names: LogLimits) -> str:
    """What a line lacks to be structured, as the end of a sentence; empty when it lacks nothing."""
    if fields is None:
        return "are plain text"
    has = functools.partial(_has, fields, {name.lower(): value for name, value in fields.items()})
    message, level = any(map(has, names.message_fields)), any(map(has, names.level_fields))
    if any(map(has, _PATHS)) and any(map(has, _STATUSES)):
        message = level = True
    if message and (
        has("@t") or (has("ts") and has("v"))
    ):  # Serilog leaves out the level Information, klog has its verbosity
        level = True
    if not level and str(fields.get("status")).lower() in KNOWN_LEVELS:  # Datadog
        level = True
    if not message and not level:
        return "are plain text"
    if not message:
        return "lack a message"
    if not level and not any(labels.get(name) for name in names.level_fields):
        return "lack a level"
    return "" if any(map(has, names.timestamp_fields)) else "lack a timestamp"


def _has(fields: Mapping[str, Any], lowered: Mapping[str, Any], name: str) -> bool:
    value: Any = fields.get(name)
    if value is None:
        value = lowered.get(name.lower())
    if value is None and "." in name:
        value = fields
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
    return value not in (None, "", [], {}) and not (isinstance(value, str) and not value.strip())
