"""What log lines are: structured or not, verbose, free of secrets; and how long they are kept. Pure judgements.

Lines go in and numbers come out: nothing that is returned holds a line, or a part of one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec
from pydantic import Field, field_validator

from collectors.systems.loki.client import Stream
from collectors.systems.prometheus.client import Sample
from exporter.options import Duration, Options, format_duration, parse_duration
from exporter.verdict import ProbeError, Result, failed, ok, unknown

__all__ = [
    "DEBUG_FIELD",
    "DEBUG_WORD",
    "LEVEL_FIELD",
    "LEVEL_WORD",
    "Levels",
    "Structure",
    "Thresholds",
    "judge_levels",
    "judge_retention",
    "judge_structure",
    "levels",
    "literally",
    "overrides_file",
    "secrets_in",
    "structure",
    "unlevelled",
    "without_secrets",
]


class Thresholds(Options):
    """Limits of the section."""

    max_debug_ratio: float = Field(0.01, ge=0, le=1, description="Share of lines that may be of level debug or trace.")
    min_levelled_ratio: float = Field(
        0.9,
        ge=0,
        le=1,
        description="Share of lines whose level must be recognisable, for the share of debug lines to count.",
    )
    min_structured_ratio: float = Field(
        0.95, ge=0, le=1, description="Share of sampled lines that must be JSON or logfmt with all three fields."
    )
    min_sampled: int = Field(10, ge=1, description="Fewest sampled lines of a service by which it is judged.")
    timestamp_fields: tuple[str, ...] = Field(
        ("timestamp", "time", "ts", "@timestamp", "t", "datetime", "date", "asctime", "eventTime"),
        description="Names of the field that holds the time of a line.",
    )
    level_fields: tuple[str, ...] = Field(
        (
            "level",
            "lvl",
            "severity",
            "log.level",
            "levelname",
            "loglevel",
            "log_level",
            "severity_text",
            "severityText",
        ),
        description="Names of the field that holds the level of a line; a label of the stream counts too.",
    )
    message_fields: tuple[str, ...] = Field(
        ("message", "msg", "event", "body", "short_message"), description="Names of the field that holds the message."
    )
    secret_patterns: dict[str, str] = Field(
        default_factory=dict,
        description="Further regular expressions that no line may match, each by the name of what it finds.",
    )
    min_retention: Duration = Field(timedelta(days=14), description="Shortest time that logs may be kept.")
    max_retention: Duration = Field(timedelta(days=365), description="Longest time that logs may be kept.")

    @field_validator("secret_patterns")
    @classmethod
    def _compile(cls, patterns: dict[str, str]) -> dict[str, str]:
        for name, pattern in patterns.items():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"expected a regular expression for {name}: {error}") from None
        return patterns


# -- structure

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


def structure(streams: Iterable[Stream], names: Thresholds) -> Structure:
    """Look at lines as they were written: in their order, out of their envelopes."""
    found = Structure()
    for stream in streams:
        plain = in_trace = False  # of the line before
        for _, line in sorted(stream.entries, key=lambda entry: int(entry[0])):
            text = _unwrapped(line)
            if not text.strip():
                continue
            fields = _fields(text)
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


def _unwrapped(line: str) -> str:
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


def _fields(line: str) -> Mapping[str, Any] | None:
    """The fields of a line; None when it is plain text."""
    if (document := _json(line)) is not None:
        return document
    fields, end = {}, 0
    while match := _LOGFMT.match(line, end):
        if match[2] is not None:
            fields[match[1]] = match[2].strip('"')
        end = match.end()
    return fields if fields and not line[end:].strip() else None


def _lack(fields: Mapping[str, Any] | None, labels: Mapping[str, str], names: Thresholds) -> str:
    """What a line lacks to be structured, as the end of a sentence; empty when it lacks nothing."""
    if fields is None or not any(_has(fields, name) for name in (*names.message_fields, *names.level_fields)):
        return "are plain text"
    if not any(_has(fields, name) for name in names.message_fields):
        return "lack a message"
    if not any(_has(fields, name) or labels.get(name) for name in names.level_fields):
        return "lack a level"
    if not any(_has(fields, name) for name in names.timestamp_fields):
        return "lack a timestamp"
    return ""


def _has(fields: Mapping[str, Any], name: str) -> bool:
    value: Any = fields.get(name)
    if value is None and "." in name:
        value = fields
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
    return value not in (None, "", [], {})


def judge_structure(service: str, seen: Structure, limits: Thresholds) -> Result:
    """Whether enough of a service's lines are structured."""
    if seen.lines < limits.min_sampled:
        return unknown(
            f"Only {seen.lines} lines of {service} were there to be sampled (wanted {limits.min_sampled}), which prove nothing."
        )
    share = seen.structured / seen.lines
    told = f"{seen.structured} of {seen.lines} sampled lines of {service} are structured, with timestamp, level and message"
    if share < limits.min_structured_ratio:
        others = ", ".join(f"{count} {lack}" for lack, count in seen.lacking.most_common())
        return failed(f"{told} (limit {limits.min_structured_ratio:.0%}); {others}.", structured_ratio=share)
    return ok(f"{told}.", structured_ratio=share)


# -- levels

_NAMES = r'\b(?:level|lvl|severity|level_?name|log_?level|log\.level|severity_?text)\\?"?\s*[:=]\s*\\?"?'
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
)
_DEBUG_LEVELS = frozenset(_DEBUG.split("|"))
_KNOWN_LEVELS = _DEBUG_LEVELS | frozenset(_OTHER.split("|"))


@dataclass(frozen=True, slots=True)
class Levels:
    """Numbers of lines: all, those whose level is known, and of these the ones of level debug or trace."""

    lines: float
    levelled: float
    debug: float


def _level(sample: Sample) -> str:
    """The level by labels; empty when they do not tell. `detected_level` is Loki's own guess, and may be `unknown`."""
    told = (sample.labels.get(name, "").lower() for name in ("detected_level", "level"))
    return next((level for level in told if level in _KNOWN_LEVELS), "")


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


def judge_levels(service: str, seen: Levels, limits: Thresholds, window: timedelta) -> Result:
    """Whether few enough lines of a service are of level debug or trace."""
    within = f"of the last {format_duration(window)}"
    if not seen.lines:
        return unknown(f"Loki has no line of {service} {within}, so their levels were not seen.")
    share = seen.debug / seen.lines
    told = f"{seen.debug:.0f} of {seen.lines:.0f} lines of {service} {within} are of level debug or trace"
    if share > limits.max_debug_ratio:
        return failed(f"{told}: {share:.1%} (limit {limits.max_debug_ratio:.1%}).", debug_ratio=share)
    if seen.levelled < limits.min_levelled_ratio * seen.lines:
        return unknown(
            f"Only {seen.levelled:.0f} of {seen.lines:.0f} lines of {service} {within} tell their level "
            f"(wanted {limits.min_levelled_ratio:.0%}).",
            debug_ratio=share,
        )
    return ok(f"{told} (limit {limits.max_debug_ratio:.1%}).", debug_ratio=share)


# -- secrets


def literally(text: str) -> str:
    """A regular expression for this text (letters, digits, hyphens) that does not match itself.

    Loki and the proxies before it log the queries that they are asked: a query with the text in it would find itself.
    """
    middle = len(text) // 2
    return f"{text[:middle]}[{text[middle]}]{text[middle + 1 :]}"


def without_secrets(told: str, secrets: Iterable[str]) -> str:
    """What a server said; something else where it repeats what it was asked, with one of these secrets or a part of one in it."""
    if any(part in told for secret in secrets for part in (secret[:8], secret[-8:])):
        return "What was answered instead has the marker's secrets in it, and is not shown."
    return told


_REDACTED = re.compile(
    r"(?i)[*x•#.\-_]+|.*(?:redacted|masked|hidden|filtered|removed|omitted|\*{3}|%2a%2a|xxxx).*|<.*>|null|none|nil|undefined|true|false|empty"
    r"|\$\{.*|%[sv]|required|invalid|incorrect|missing|expired"
)
_SECRETS: Mapping[str, re.Pattern[str]] = {
    "a password": re.compile(
        r"(?i)\b(?:\w{0,20}_)?(?:password|passwd|pwd|secret|api_?key|access_?key|token)\\?[\"']?\s?[:=]\s?\\?[\"']?"
        r"(?P<value>[^\s\"'&,;{}\[\]\\]{4,})"
    ),
    "a bearer token": re.compile(r"(?i)\bbearer\s(?P<value>[a-z0-9._~+/=*-]{8,})"),
    "basic credentials": re.compile(
        r"(?i)\bauthorization\\?[\"']?\s?[:=]\s?\\?[\"']?basic\s(?P<value>[a-z0-9+/*]{8,})"
    ),
    "a JSON web token": re.compile(r"\beyJ[\w-]{8,4000}\.eyJ[\w-]{8,4000}\.[\w-]{16,}"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----"),
    "an AWS access key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "an address with a password": re.compile(
        r"\b[a-z][a-z0-9+.-]{0,20}://[^\s/:@\"']{0,100}:(?P<value>[^\s/@\"']{3,200})@"
    ),
}
_CARD = re.compile(r"(?<![\w.-])(?:4\d{3}|5[1-5]\d\d|2[2-7]\d\d|6011)([ -]?)\d{4}\1\d{4}\1\d{4}(?![\w.-])")
_AMEX = re.compile(r"(?<![\w.-])3[47]\d\d([ -]?)\d{6}\1\d{5}(?![\w.-])")


def secrets_in(streams: Iterable[Stream], further: Mapping[str, str]) -> Counter[str]:
    """How many lines hold what looks like a secret, by what it looks like."""
    patterns = {**_SECRETS, **{name: re.compile(pattern) for name, pattern in further.items()}}
    found: Counter[str] = Counter()
    for stream in streams:
        for _, line in stream.entries:
            found.update(name for name, pattern in patterns.items() if _shown(pattern, line))
            found.update(
                ["a payment card"]
                if any(map(_card, _CARD.finditer(line))) or any(map(_card, _AMEX.finditer(line)))
                else []
            )
    return found


def _shown(pattern: re.Pattern[str], line: str) -> bool:
    """Whether a line has a match that is not what redaction leaves."""
    whole = "value" not in pattern.groupindex
    return any(whole or not _REDACTED.fullmatch(match["value"]) for match in pattern.finditer(line))


def _card(match: re.Match[str]) -> bool:
    """Whether a number has the check digit of a payment card."""
    digits = [int(digit) for digit in match[0] if digit.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[::-2]) + sum(doubled)) % 10 == 0


# -- retention

_DELETING_STORES = ("tsdb", "boltdb-shipper")
_YEARS = re.compile(r"^(\d+)y")


def overrides_file(config: Mapping[str, Any]) -> str:
    """The file from which Loki takes what is set for single tenants, retention among it; empty without one.

    The table manager deletes the logs of all tenants alike.
    """
    if _section(config, "compactor").get("retention_enabled") is not True:
        return ""
    return str(
        _section(config, "runtime_config").get("file")
        or _section(config, "limits_config").get("per_tenant_override_config")
        or ""
    )


def judge_retention(
    config: Mapping[str, Any], overrides: Mapping[str, Any], limits: Thresholds, source: str
) -> list[Result]:
    """What is wrong with how long logs are kept; one ok when nothing is.

    `overrides` is the runtime configuration, `source` says where the configuration was read. Raises ProbeError when one of them
    holds something else than Loki's does.
    """
    own = _duration(_section(config, "limits_config").get("retention_period"), "limits_config.retention_period")
    if _section(config, "compactor").get("retention_enabled") is True:
        who, period = "Loki's compactor", own
        store = _store(config)
        if store and store not in _DELETING_STORES:
            return [failed(f"The compactor deletes nothing from an index of the type {store} ({source}).")]
    elif (tables := _section(config, "table_manager")).get("retention_deletes_enabled") is True:
        who, period = (
            "Loki's table manager",
            _duration(tables.get("retention_period"), "table_manager.retention_period"),
        )
    else:
        ignored = f": limits_config.retention_period ({format_duration(own)}) is ignored" if own else ""
        return [failed(f"Loki deletes no logs, as compactor.retention_enabled is not true{ignored} ({source}).")]
    problems = [*_outside(f"{who} keeps logs", period, limits, source)]
    problems += _streams(_section(config, "limits_config"), "limits_config.retention_stream", limits, source)
    tenants = _section(overrides, "overrides")
    for tenant in tenants:
        granted = _section(tenants, tenant)
        if "retention_period" in granted:
            its_period = _duration(granted["retention_period"], f"retention_period of tenant {tenant}")
            problems += _outside(f"The override for tenant {tenant} keeps logs", its_period, limits, source)
        problems += _streams(granted, f"retention_stream of tenant {tenant}", limits, source)
    wanted = f"{format_duration(limits.min_retention)} to {format_duration(limits.max_retention)}"
    good = ok(
        f"{who} deletes logs after {format_duration(period)} (wanted {wanted}; {source}).",
        retention_seconds=period.total_seconds(),
    )
    return problems or [good]


def _outside(what: str, period: timedelta, limits: Thresholds, source: str) -> Iterator[Result]:
    if not period:
        yield failed(f"{what} for ever, as its period is 0 ({source}).")
    elif period < limits.min_retention:
        yield failed(
            f"{what} for {format_duration(period)} (wanted {format_duration(limits.min_retention)} at least; {source})."
        )
    elif period > limits.max_retention:
        yield failed(f"{what} for {format_duration(period)} (limit {format_duration(limits.max_retention)}; {source}).")


def _streams(own: Mapping[str, Any], name: str, limits: Thresholds, source: str) -> Iterator[Result]:
    """What is wrong with streams that are kept for a time of their own."""
    for entry in own.get("retention_stream") or ():
        if not isinstance(entry, dict):
            raise ProbeError(f"{name} of Loki's configuration is no list of streams.")
        period = _duration(entry.get("period"), f"{name}.period")
        yield from _outside(f"{name} keeps {entry.get('selector', '')}", period, limits, source)


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = config.get(name) or {}
    if not isinstance(found, dict):
        raise ProbeError(f"{name} of Loki's configuration is no group of settings.")
    return found


def _store(config: Mapping[str, Any]) -> str:
    """The index of the newest schema; empty where it is not told."""
    schemas = _section(config, "schema_config").get("configs") or [{}]
    newest = max(schemas, key=lambda schema: str(schema.get("from", "")))
    return str(newest.get("store") or "")


def _duration(value: object, name: str) -> timedelta:
    """A duration as Loki writes it: `31d`, `744h0m0s`, `1y`, `0s`; nothing is 0."""
    text = "0s" if value in (None, 0, "0", "") else str(value)
    years = _YEARS.match(text)
    rest = text[years.end() :] if years else text
    try:
        return timedelta(days=365 * int(years[1]) if years else 0) + (parse_duration(rest) if rest else timedelta(0))
    except ValueError:
        raise ProbeError(f"{name} of Loki's configuration is no duration.") from None
