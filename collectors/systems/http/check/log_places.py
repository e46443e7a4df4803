"""Where a request is looked for: the logs of a service in Loki, or in Kubernetes itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from collectors.systems.kubernetes.check.logs import Container, PodLogs
from collectors.systems.loki.client import Loki
from collectors.systems.loki.model.lines import Stream
from collectors.systems.loki.model.secrets import literally
from exporter.verdict import ProbeError, Reason

__all__ = ["LogPlace", "LokiPlace", "Others", "PodPlace"]

_SKEW = timedelta(minutes=5)
_MARGIN = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Others:
    """How many lines followed a request, how many of them name its path, and whether it is known that there are `earlier` ones."""

    lines: int
    alike: int
    earlier: bool = False


class LogPlace(Protocol):
    """Where lines are looked for. Everything raises ProbeError where the logs cannot be read."""

    @property
    def keeper(self) -> str:
        """Who has the logs."""

    @property
    def logs(self) -> str:
        """Which logs, as sentences name them."""

    @property
    def poll_seconds(self) -> float:
        """How long to wait before looking again."""

    async def begin(self) -> Sequence[Container]:
        """Who may write the line of a request that is sent now, where that is known."""

    async def traced(self, trace_id: str, sent: datetime, now: datetime) -> list[Stream]:
        """The lines that name a trace, of a request that was sent then."""

    async def others(self, path: str | None, passed: timedelta, began: Sequence[Container]) -> Others:
        """The lines of the time that has passed since the request; with a path, how many name it."""


@dataclass(slots=True)
class LokiPlace:
    """Logs that a pipeline brings to Loki: what is not there may be on its way."""

    loki: Loki
    logs: str
    keeper: str = "Loki"
    poll_seconds: float = 1.0

    async def begin(self) -> Sequence[Container]:
        """Not known."""
        return ()

    async def traced(self, trace_id: str, sent: datetime, now: datetime) -> list[Stream]:
        """Not asked for as it is written in logs: Loki logs the queries that it is asked."""
        start, rest = trace_id[:8], trace_id[8:]
        selection = f"{self.logs} |~ `(?i){start}-?{literally(rest)}`"
        found = await self.loki.query_range(selection, sent - _SKEW, now + _SKEW)
        return [one for one in found if one.entries]

    async def others(self, path: str | None, passed: timedelta, began: Sequence[Container]) -> Others:
        """Counted by Loki."""
        since = f"[{int(passed.total_seconds()) + 1}s]"
        lines = await self._count(f"count_over_time({self.logs} {since})")
        alike = 0
        if path is not None:
            alike = await self._count(f"count_over_time({self.logs} |= {_quoted(path)} {since})")
        return Others(lines, alike)

    async def _count(self, expression: str) -> int:
        return int(sum(sample.value for sample in await self.loki.query(f"sum({expression})")))


@dataclass(slots=True)
class PodPlace:
    """The logs of all pods themselves: what is not there was not written."""

    source: PodLogs
    keeper: str = "Kubernetes"
    poll_seconds: float = 3.0
    _lines: list[str] = field(default_factory=list)
    _lives: Sequence[Container] = ()

    @property
    def logs(self) -> str:
        """As sentences name them."""
        return str(self.source)

    async def begin(self) -> Sequence[Container]:
        """Every container, once the log of one shows that logs can be read at all."""
        lives = await self.source.containers()
        await self.source.lines([next(life for life in lives if life.started)], _MARGIN)
        return lives

    async def traced(self, trace_id: str, sent: datetime, now: datetime) -> list[Stream]:
        """AWS X-Ray writes a hyphen after the eighth digit."""
        written = re.compile(f"{trace_id[:8]}-?{trace_id[8:]}", re.IGNORECASE)
        self._lives = await self.source.containers()
        self._lines = await self.source.lines(self._lives, max(now - sent, timedelta(0)) + _MARGIN)
        found = [("0", line) for line in self._lines if written.search(line)]
        return [Stream({}, found)] if found else []

    async def others(self, path: str | None, passed: timedelta, began: Sequence[Container]) -> Others:
        """Counted in what was read last. Raises ProbeError where the pods are no longer those of the start."""
        if set(self._lives) != set(began):
            raise ProbeError(
                f"Pods of {self.source.pods} were replaced or restarted while the request was looked for, so their logs were not "
                "all read.",
                Reason.PENDING,
            )
        alike = sum(path in line for line in self._lines) if path is not None else 0
        earlier = bool(self._lines) or await self.source.wrote_before(self._lives)
        return Others(len(self._lines), alike, earlier)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
