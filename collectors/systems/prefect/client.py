"""Asks a Prefect server's API by filters, which change nothing; no flow is run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from collectors.shared.clocks import server_time
from collectors.shared.decoding import decode
from collectors.systems.prefect.model import Ended, Limits, Pool, Queue, Run, Seen, Worker
from exporter.http import Http, HttpSettings
from exporter.reply import Reply

__all__ = ["Prefect", "look"]

Filter = dict[str, Any]


class Prefect(HttpSettings, Limits):
    """A Prefect server, by the URL of its API (`https://prefect.example.com/api`), and the work pools to check."""


async def look(options: Prefect, now: datetime) -> list[Seen]:
    """Each work pool as it is. Raises ProbeError when the server does not answer, or not to this account."""
    async with Http(options, connections=1) as http:
        return [await _Asking(http, options, name).look(now) for name in options.work_pools]


class _Asking:
    """The questions on one pool."""

    def __init__(self, http: Http, limits: Limits, name: str) -> None:
        self._http = http
        self._limits = limits
        self._name = name
        self._path = f"/work_pools/{quote(name, safe='')}"

    async def look(self, now: datetime) -> Seen:
        where, limits = self._http.settings.url, self._limits
        reply = await self._http.get(self._path, expect=(200, 404))
        if reply.status == 404:
            reply.json()  # a proxy that knows no such path answers 404 too
            return Seen(where, self._name, now, None)
        now = server_time(reply, now)
        late = {**_typed("SCHEDULED"), "next_scheduled_start_time": {"before_": _text(now - limits.late_after)}}
        # A run that waits for a slot is put off again and again, so that only the time at which it was expected shows for how long.
        slots = {
            "state": {"name": {"any_": ["AwaitingConcurrencySlot"]}},
            "expected_start_time": {"before_": _text(now - limits.late_after)},
        }
        overdue = {**_typed("PENDING"), "expected_start_time": {"before_": _text(now - limits.late_after)}}
        running = {**_typed("RUNNING"), "start_time": {"before_": _text(now - limits.max_run_time)}}
        return Seen(
            where,
            self._name,
            now,
            decode(reply, Pool),
            decode(await self._post(f"{self._path}/workers/filter", {}), list[Worker]),
            decode(await self._post(f"{self._path}/queues/filter", {}), list[Queue]),
            _joined(await self._runs(late), await self._runs(slots)),
            _taken(await self._listed(overdue), now - limits.late_after),
            await self._runs(running),
            Ended(*[await self._count(self._ended(kind, now)) for kind in ("COMPLETED", "FAILED", "CRASHED")]),
        )

    def _ended(self, kind: str, now: datetime) -> Filter:
        return {**_typed(kind), "end_time": {"after_": _text(now - self._limits.window)}}

    async def _runs(self, runs: Filter) -> tuple[Run | None, int]:
        """The run that was expected first, and how many there are."""
        first = await self._listed(runs, limit=1)
        return (first[0], await self._count(runs)) if first else (None, 0)

    async def _listed(self, runs: Filter, limit: int = 200) -> list[Run]:
        asked = {**self._of_pool(runs), "sort": "EXPECTED_START_TIME_ASC", "limit": limit}
        return decode(await self._post("/flow_runs/filter", asked), list[Run])

    async def _count(self, runs: Filter) -> int:
        return decode(await self._post("/flow_runs/count", self._of_pool(runs)), int)

    def _of_pool(self, runs: Filter) -> Filter:
        return {"flow_runs": runs, "work_pools": {"name": {"any_": [self._name]}}}

    async def _post(self, path: str, body: Filter) -> Reply:
        return await self._http.request("POST", path, json=body)


def _typed(kind: str) -> Filter:
    return {"state": {"type": {"any_": [kind]}}}


def _joined(*found: tuple[Run | None, int]) -> tuple[Run | None, int]:
    return next((run for run, _ in found if run), None), sum(count for _, count in found)


def _taken(pending: list[Run], before: datetime) -> tuple[Run | None, int]:
    """Those that were taken before a moment, the first of them first."""
    old = sorted((run for run in pending if run.state.timestamp < before), key=lambda run: run.state.timestamp)
    return (old[0], len(old)) if old else (None, 0)


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()
