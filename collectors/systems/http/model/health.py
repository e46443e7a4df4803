"""What a health endpoint says: the shapes that frameworks give it, read into one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from pydantic import Field

from collectors.shared.expressions import Regex
from collectors.systems.http.model.paths import Path
from exporter.options import Options

__all__ = ["Health", "HealthOptions", "State", "read_health", "says_nothing", "state_of"]

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
    }
)
_PARTS = ("details", "components", "checks", "entries", "dependencies", "services", "results", "info", "error")
_STATUS = ("status", "state", "health", "healthy", "ok", "up", "alive", "ready")
_CONNECTION = ("connected", "available", "reachable")
_FLAGS = ("healthy", "ok", "up", "alive", "ready", "success")
_ERRORS = ("error", "errors", "failures")
_DEEPEST = 4


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

    def part(self, name: str) -> str | None:
        """The word for a dependency, whatever the case of its name, the worst of several; None where it is not reported."""
        wanted = name.casefold()
        words = [word for own, word in self.parts.items() if wanted in _names(own)]
        words += ["up" if up else "down" for own, up in self.flags.items() if wanted in _names(own)]
        return max(words, key=state_of, default=None)


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


def says_nothing(word: str) -> bool:
    """Whether a word says that a state is not known, as Spring Boot has it of what was not initialized: neither good nor bad."""
    return _plain(word) == "unknown"


def _plain(word: str) -> str:
    return word.strip().casefold().replace("-", "_").replace(" ", "_")


def read_health(document: Any) -> Health | None:
    """The report in a JSON document: Terminus, Spring Boot, ASP.NET, MicroProfile, `application/health+json`, or one of one's own.

    None where it is no JSON object and no plain word.
    """
    if isinstance(document, str):
        return Health(document, state_of(document), {})
    if not isinstance(document, dict):
        return None
    word = _word(document)
    parts: dict[str, str] = {}
    found = [part for key in _PARTS for part in _parts(document.get(key), depth=0)]
    found += [part for name, value in document.items() if _is_part(name, value) for part in _one(name, value, depth=0)]
    for name, state in found:
        # A name that is reported twice is as bad as the worse of the two.
        if name not in parts or state_of(state) > state_of(parts[name]):
            parts[name] = state
    flags = {name: value for name, value in document.items() if isinstance(value, bool)}
    if refuted := next((name for name, value in flags.items() if name.casefold() in _FLAGS and not value), None):
        word = f"{refuted}: false"
    errors = next((name for name, value in document.items() if name.casefold() in _ERRORS and _is_told(value)), "")
    return Health(word or "", None if word is None else state_of(word), parts, flags, errors)


def _is_told(errors: Any) -> bool:
    """Whether there are errors; those of Terminus are parts, by name."""
    return bool(errors.strip()) if isinstance(errors, str) else isinstance(errors, list) and bool(errors)


def _is_part(name: str, value: Any) -> bool:
    """Whether something beside the status is the state of a dependency; flags are not (`"maintenance": false`)."""
    return name.casefold() not in (*_STATUS, *_PARTS) and isinstance(value, str | dict)


def _part_word(entry: Mapping[str, Any]) -> str | None:
    """The word for a part: some have no status and say whether they are connected."""
    flags = (entry[key] for key in _CONNECTION if isinstance(entry.get(key), bool))
    connected = next(flags, None)
    return _word(entry) or (None if connected is None else "up" if connected else "down")


def _word(document: Mapping[str, Any]) -> str | None:
    for key in _STATUS:
        value = next((value for name, value in document.items() if name.casefold() == key), None)
        if isinstance(value, str):
            return value
        if isinstance(value, bool):
            return "up" if value else "down"
    return None


def _parts(found: Any, depth: int) -> Iterator[tuple[str, str]]:
    """Each dependency in a part of a report, with the word for it."""
    if depth > _DEEPEST:
        return
    if isinstance(found, list):
        for number, entry in enumerate(found, 1):
            if isinstance(entry, dict):
                yield from _one(str(entry.get("name") or f"check {number}"), entry, depth)
    elif isinstance(found, dict):
        for name, entry in found.items():
            yield from _one(name, entry, depth)


def _one(name: str, entry: Any, depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(entry, bool):
        yield name, "up" if entry else "down"
    elif isinstance(entry, str):
        # Not every text is a state: versions and messages stand beside them.
        if _plain(entry.partition(":")[0]) in _GOOD | _DEGRADED | _LEAVING | _BAD:
            yield name, entry
    elif isinstance(entry, dict):
        if (word := _part_word(entry)) is not None:
            yield name, word
        for key in _PARTS:
            yield from _parts(entry.get(key), depth + 1)
    elif isinstance(entry, list):
        words = [word for one in entry if isinstance(one, dict) and (word := _part_word(one)) is not None]
        if words:
            yield name, max(words, key=state_of)
