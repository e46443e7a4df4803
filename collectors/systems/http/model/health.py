"""What a health endpoint says: the shapes that frameworks give it, read into one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from enum import IntEnum
from typing import Any

from pydantic import Field

from collectors.shared.expressions import Regex
from collectors.systems.http.model.paths import Path
from exporter.options import Options

__all__ = ["Health", "HealthOptions", "State", "has_zone", "read_health", "read_lines", "says_nothing", "state_of"]

_GOOD = frozenset(
    {
        "ok",
        "up",
        "healthy",
        "health",
        "pass",
        "passed",
        "passing",
        "alive",
        "ready",
        "connected",
        "green",
        "true",
        "available",
        "serving",
        "success",
        "online",
        "running",
        "operational",
        "reachable",
        "working",
        "pong",
    }
)
_DEGRADED = frozenset(["degraded", "warn", "warning", "yellow"])
_LEAVING = frozenset(["shutting_down", "shuttingdown", "draining", "stopping"])
_BAD = frozenset(
    {
        "down",
        "error",
        "errored",
        "fail",
        "failed",
        "failing",
        "unhealthy",
        "red",
        "false",
        "disconnected",
        "unavailable",
        "unreachable",
        "critical",
        "unknown",
        "timeout",
        "out_of_service",
        "offline",
        "closed",
        "dead",
        "failure",
        "not_ok",
        "nok",
        "ko",
        "broken",
        "refused",
        "stopped",
        "starting",
        "initializing",
        "maintenance",
        "crashed",
        "not_connected",
        "not_ready",
        "connecting",
        "reconnecting",
        "lost",
    }
)
#: What a text says that a store is reported with where it does not work; other texts are names, versions and messages.
_ERROR_TEXT = re.compile(
    r"(?<!no )(?<!0 )(?:\b(?:fatal|refused|denied|timed out|timeout|unreachable|too many|failed|reset by peer|no route)|error|"
    r"exception)\b",
    re.IGNORECASE,
)
#: How Node.js and others name errors of connections: `ECONNREFUSED 10.0.0.7:5432`.
_ERROR_NAME = re.compile(r"(?:connect )?E(?:CONN|HOST|NOTFOUND|TIMEDOUT|PIPE|AI_)[A-Z]*\b")
_KNOWN = _GOOD | _DEGRADED | _LEAVING | _BAD
_PARTS = (
    "details",
    "components",
    "checks",
    "entries",
    "dependencies",
    "services",
    "results",
    "info",
    "error",
    "checkresults",
)
_STATUS = ("status", "state", "health", "healthy", "ok", "up", "alive", "ready")
_OUTCOMES = ("result", "outcome", "message", "msg")
_CONNECTION = ("connected", "available", "reachable", "operational", "success", "passed")
_NAMES = ("name", "checker", "check", "component", "service")
_NO, _YES = ("no", "false", "0"), ("yes", "true", "1")
_FLAGS = ("healthy", "ok", "up", "alive", "ready", "success")
_ERRORS = ("error", "errors", "failures", "failed", "failing", "unhealthy", "down")
_CODES = ("code", "statuscode", "httpstatus", "httpcode", "status")
_PART_CODES = tuple(code for code in _CODES if code != "code")  # of a country, a currency
_ENVELOPES = ("data", "payload", "body", "response", "result", "health", "report")
_AWAY = ("maintenance", "maintenancemode", "draining", "shuttingdown", "stopping", "terminating", "degraded")
#: What a report that is one boolean for each dependency calls them; other booleans may be switches.
_STORES = frozenset(
    {
        *("db", "database", "sql", "postgres", "postgresql", "mysql", "mariadb", "mongo", "mongodb", "cassandra"),
        *("cache", "redis", "valkey", "memcached", "queue", "broker", "rabbitmq", "amqp", "kafka", "nats", "mqtt"),
        *(
            "elasticsearch",
            "opensearch",
            "search",
            "storage",
            "s3",
            "minio",
            "neo4j",
            "qdrant",
            "vault",
            "ldap",
            "smtp",
        ),
    }
)
_ENDINGS = ("ok", "up", "healthy", "alive", "ready", "connected", "reachable", "available")
_TIMES = (
    "timestamp",
    "time",
    "now",
    "checkedat",
    "finishedat",
    "lastcheck",
    "lastchecked",
    "lastcheckedat",
    "generatedat",
    "asof",
)
_CHECK_LINE = re.compile(r"(?m)^\[([+-])\](\S+)")
_SECONDS, _MILLISECONDS = (1e9, 1e10), (1e12, 1e13)
#: The zone in which a time of day is reached last.
_LATEST = timezone(timedelta(hours=-12))
_DEEPEST = 16


class HealthOptions(Options):
    """Where a service reports its health, and what it has to report."""

    health_path: Path = Field("/health", description="Path of the health endpoint.")
    health_body: Regex | None = Field(
        None,
        description="Regular expression that the whole body of a healthy answer matches, for endpoints that answer no JSON with "
        "a status, such as `Healthy`, or `^$` for 204 without a body.",
    )
    required_deps: tuple[str, ...] = Field(
        (), description="Dependencies that the health endpoint has to report as up, by the names it gives them."
    )
    optional_deps: tuple[str, ...] = Field(
        (), description="Dependencies that may be down while the service counts as healthy."
    )


class State(IntEnum):
    """How well something is, the best first."""

    UP = 0
    DEGRADED = 1
    LEAVING = 2
    DOWN = 3


@dataclass(frozen=True, slots=True)
class Health:
    """A health report: the word for the whole and its meaning (None where it has none), and the word for each dependency."""

    word: str
    state: State | None
    parts: Mapping[str, str]
    flags: Mapping[str, bool] = field(default_factory=dict)
    """What is true or false beside the status: a dependency where somebody names it as one."""
    errors: str = ""
    """The name under which errors are reported, whatever the status says; their text is left out."""
    times: Mapping[str, datetime] = field(default_factory=dict)
    """When the report, or a part of it, says that it was made; those without a zone are as late as they can be."""
    within: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """The parts that a part consists of, such as the replicas of a database."""

    def part(self, name: str) -> str | None:
        """The word for a dependency, whatever the case of its name, the worst of several and of what it consists of.

        None where it is not reported.
        """
        wanted = name.casefold()
        own = self.parts_of(name)
        words = [word for part, word in self.parts.items() if part in own]
        words += ["up" if up else "down" for flag, up in self.flags.items() if wanted in _names(flag)]
        return max(words, key=state_of, default=None)

    def parts_of(self, name: str) -> frozenset[str]:
        """The parts of the report that are about a dependency."""
        wanted = name.casefold()
        inner = {own for part, owns in self.within.items() if wanted in _names(part) for own in owns}
        return frozenset(part for part in self.parts if part in inner or wanted in _names(part))


def _names(own: str) -> tuple[str, str]:
    """What a part may be called by: `postgres:responseTime` is a part of postgres."""
    folded = own.casefold()
    return folded, folded.partition(":")[0]


def state_of(word: str) -> State:
    """What a word for a state means; one that is not known is no good sign."""
    plain = _plain(word)
    if plain in _GOOD:
        return State.UP
    if plain in _DEGRADED:
        return State.DEGRADED
    return State.LEAVING if plain in _LEAVING else State.DOWN


def has_zone(moment: datetime) -> bool:
    """Whether a time of a report was written with its zone."""
    return moment.tzinfo is not _LATEST


def says_nothing(word: str) -> bool:
    """Whether a word is neither good nor bad: `UNKNOWN`, as Spring Boot has it of what was not initialized, or one like `idle`."""
    plain = _plain(word)
    return plain == "unknown" or (plain not in _KNOWN and ":" not in plain)


def _plain(word: str) -> str:
    return word.strip().casefold().replace("-", "_").replace(" ", "_")


def read_health(document: Any) -> Health | None:
    """The report in a JSON document: Terminus, Spring Boot, ASP.NET, MicroProfile, `application/health+json`, or one of one's own.

    None where it is no JSON object, no list of them, no boolean and no plain word.
    """
    if isinstance(document, bool):
        document = "up" if document else "down"
    if isinstance(document, str):
        return Health(document, state_of(document), {})
    if isinstance(document, list) and any(isinstance(entry, dict) for entry in document):
        document = {"checks": document}
        parts = _worst(_parts(document["checks"], depth=0))
        word = max(parts.values(), key=state_of, default=None)
        state = None if word is None else state_of(word)
        return Health(word or "", state, parts, times=_times(document), within=_within(document))
    if not isinstance(document, dict):
        return None
    outer, *inner = (_whole(one) for one in _enveloped(document))
    # What is in an envelope may be anything that has a status: it refutes, and proves nothing by itself unless it has parts.
    words = [] if outer is None else [outer]
    reports = any(_key(name) in _PARTS for one in list(_enveloped(document))[1:] for name in one)
    words += [word for word in inner if word is not None and (words or reports or state_of(word) is not State.UP)]
    parts = _worst(part for one in _enveloped(document) for part in _parts_of(one))
    flags = {name: value for one in _enveloped(document) for name, value in one.items() if isinstance(value, bool)}
    word = max(words, key=state_of, default=None)
    if word is None and parts and set(parts) & set(_worst(_parts_of(document))):
        word = "ok"  # a report of its parts alone is as good as they are, which is judged one by one
    errors = next((name for one in _enveloped(document) for name, value in one.items() if _are_errors(name, value)), "")
    state = None if word is None else state_of(word)
    return Health(word or "", state, parts, flags, errors, _times(document), _within(document))


def read_lines(text: str) -> Health | None:
    """The report in plain text that has a line for each check, as those of Kubernetes' own servers; None where it has none."""
    if not (found := _CHECK_LINE.findall(text)):
        return None
    parts = _worst((name, "up" if sign == "+" else "down") for sign, name in found)
    word = max(parts.values(), key=state_of)
    return Health(word, state_of(word), parts)


def _enveloped(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A report, and the one that it is the envelope of (`{"statusCode": 200, "data": {"status": "ok"}}`)."""
    yield document
    for key, value in document.items():
        if _key(key) in _ENVELOPES and isinstance(value, dict):
            yield value


def _whole(document: Mapping[str, Any]) -> str | None:
    """The word for the whole, the worst of what stands for it; None where nothing does."""
    word = _part_word(document)
    words = [] if word is None else [word]
    for name, value in document.items():
        key = _key(name)
        if isinstance(value, bool):
            if key in _FLAGS and not value:
                words.append(f"{name}: false")
            if key in _AWAY and value:
                words.append("degraded" if key == "degraded" else f"{name}: true")
        elif isinstance(value, int) and key in _CODES and 100 <= value <= 599:
            if value >= 400:
                words.append(f"{name}: {value}")
            elif key == "status":
                words.append("ok")
    # Of words that are as bad, the one that is no status says more.
    return max(reversed(words), key=state_of, default=None)


def _parts_of(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in document.items():
        key = _key(name)
        if key in _PARTS:
            yield from _parts(value, depth=0)
        elif isinstance(value, bool):
            if not value and _is_store(key):
                yield name, "down"
        elif key in _ENVELOPES and isinstance(value, list):
            yield from ((own, word) for own, word in _parts(value, depth=0) if _plain(word) in _KNOWN)
        elif isinstance(value, str) and key.startswith("last"):
            continue  # an error that once was
        elif key not in (*_STATUS, *_ENVELOPES, *_OUTCOMES) and isinstance(value, str | dict):
            yield from _one(name, value, depth=0)


def _worst(found: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The parts by name; one that is reported twice is as bad as the worse of the two."""
    parts: dict[str, str] = {}
    for name, state in found:
        if name not in parts or state_of(state) > state_of(parts[name]):
            parts[name] = state
    return parts


def _is_store(key: str) -> bool:
    """Whether a boolean of this name is true of a dependency that works: `database`, `redisConnected`, `db_ok`."""
    return key in _STORES or any(key.endswith(ending) and key.removesuffix(ending) in _STORES for ending in _ENDINGS)


def _are_errors(name: str, value: Any) -> bool:
    """Whether there are errors under this name; those that are parts, as Terminus has them by name, are judged as such."""
    key = _key(name)
    if key not in _ERRORS:
        return False
    if isinstance(value, str):
        return bool(value.strip()) and key in ("error", "errors", "failures")
    if isinstance(value, dict):
        return any(not isinstance(entry, dict) or _part_word(entry) is None for entry in value.values())
    return isinstance(value, list) and bool(value)


def _key(name: str) -> str:
    """A name without its case and separators: isHealthy, is_healthy and healthy are one."""
    plain = name.casefold().replace("_", "").replace("-", "")
    return plain.removeprefix("is") if plain.removeprefix("is") in (*_STATUS, *_AWAY, *_CONNECTION) else plain


def _times(document: Mapping[str, Any]) -> dict[str, datetime]:
    """When a report and its parts say that they were made, by the names of the parts; "" for the whole."""
    found: dict[str, datetime] = {}

    def walk(at: str, value: Any, depth: int) -> None:
        if depth > _DEEPEST:
            return
        if isinstance(value, list):
            for number, entry in enumerate(value, 1):
                named = entry.get("name") if isinstance(entry, dict) else None
                walk(str(named) if named else at or f"check {number}", entry, depth + 1)
        elif isinstance(value, dict):
            for name, entry in value.items():
                if isinstance(entry, dict | list):
                    walk(at if _key(name) in (*_PARTS, *_ENVELOPES) else name, entry, depth + 1)
                elif _key(name) in _TIMES and (moment := _moment(entry)) is not None:
                    found[at] = min(moment, found.get(at, moment))

    walk("", document, 0)
    return found


def _within(document: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    """The names of parts that consist of others, with the names of those."""
    found: dict[str, frozenset[str]] = {}

    def walk(value: Any, depth: int) -> None:
        entries: Iterable[tuple[str, Any]] = ()
        if isinstance(value, list):
            entries = ((_named(entry), entry) for entry in value if isinstance(entry, dict))
        elif isinstance(value, dict):
            entries = value.items()
        for name, entry in entries if depth <= _DEEPEST else ():
            if isinstance(entry, dict) and any(isinstance(one, dict | list) for one in entry.values()):
                if name and _key(name) not in (*_PARTS, *_ENVELOPES):
                    found[name] = frozenset(own for own, _ in _one(name, entry, depth) if own != name)
                walk(entry, depth + 1)
            elif isinstance(entry, list):
                walk(entry, depth + 1)

    walk(document, 0)
    return {name: owns for name, owns in found.items() if owns}


def _moment(value: Any) -> datetime | None:
    """A point in time: ISO 8601, or seconds or milliseconds since 1970; without a zone it may be that of any."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = value / 1000 if _MILLISECONDS[0] <= value < _MILLISECONDS[1] else value
        return datetime.fromtimestamp(seconds, UTC) if _SECONDS[0] <= seconds < _SECONDS[1] else None
    if not isinstance(value, str) or len(value) < len("2026-01-01T00:00"):
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=_LATEST)


def _part_word(entry: Mapping[str, Any]) -> str | None:
    """The word for a part: some have no status and say whether they are connected, or what came out."""
    if (word := _word(entry)) is not None:
        return word
    for name, value in entry.items():
        is_amount = _key(name) == "available" and not isinstance(value, bool | str)  # of connections in a pool
        if _key(name) in _CONNECTION and not is_amount and str(value).casefold() in (*_NO, *_YES):
            return "down" if str(value).casefold() in _NO else "up"
        if _key(name) in _OUTCOMES and isinstance(value, str) and _plain(value) in _KNOWN:
            return value
        if _key(name) in ("error", "exception") and isinstance(value, str) and value.strip():
            return "error"
    codes = [value for name, value in entry.items() if _key(name) in _PART_CODES and isinstance(value, int)]
    codes = [code for code in codes if 100 <= code <= 599]
    return ("up" if max(codes) < 400 else "down") if codes else None


def _word(document: Mapping[str, Any]) -> str | None:
    for key in _STATUS:
        value = next((value for name, value in document.items() if _key(name) == key), None)
        if isinstance(value, str):
            return value
        if isinstance(value, bool) or (key == "up" and value in (0, 1)):
            return "up" if value else "down"
    return None


def _parts(found: Any, depth: int) -> Iterator[tuple[str, str]]:
    """Each dependency in a part of a report, with the word for it."""
    if depth > _DEEPEST:
        return
    if isinstance(found, list):
        for number, entry in enumerate(found, 1):
            if isinstance(entry, dict):
                yield from _one(_named(entry) or f"check {number}", entry, depth)
    elif isinstance(found, dict):
        for name, entry in found.items():
            # What a part says of itself: `"exists": false` is no other part, and a circuit breaker that is closed works.
            if (
                depth
                and isinstance(entry, bool)
                and not (_is_store(_key(name)) or _key(name) in (*_FLAGS, *_CONNECTION))
            ):
                continue
            if depth and isinstance(entry, str) and _key(name) == "state" and _plain(entry) == "closed":
                continue
            yield from _one(name, entry, depth)


def _named(entry: Mapping[str, Any]) -> str:
    """What a part in a list calls itself; empty where it has no name."""
    return next((value for key in _NAMES if isinstance(value := entry.get(key), str) and value), "")


def _text_word(name: str, text: str) -> str | None:
    """The word for a part that is reported by a text; None for versions, names and messages, which are no states."""
    if _plain(text.partition(":")[0]) in _KNOWN:
        return text
    before = text.partition("(")[0].strip()
    if _plain(before) in _KNOWN:
        return before
    return "error" if _ERROR_NAME.match(text) or (_is_store(_key(name)) and _ERROR_TEXT.search(text)) else None


def _one(name: str, entry: Any, depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(entry, bool):
        yield name, "up" if entry else "down"
    elif isinstance(entry, str):
        if (word := _text_word(name, entry)) is not None:
            yield name, word
    elif isinstance(entry, dict):
        if (word := _part_word(entry)) is not None:
            yield name, word
        for key, value in entry.items():
            if _key(key) in _PARTS:
                yield from _parts(value, depth + 1)
            elif isinstance(value, dict) and _key(key) not in _STATUS:
                # A part within a part may also be its settings: only words that are known count.
                yield from ((own, word) for own, word in _one(key, value, depth + 1) if _plain(word) in _KNOWN)
    elif isinstance(entry, list):
        words = [word for one in entry if isinstance(one, dict) and (word := _part_word(one)) is not None]
        if words:
            yield name, max(words, key=state_of)
