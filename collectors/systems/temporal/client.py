"""Asks a Temporal server over its HTTP API, by GET only: no workflow is started, no task is taken."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypeVar
from urllib.parse import quote

from collectors.shared.clocks import server_time
from collectors.shared.decoding import decode
from collectors.systems.temporal.model import Closed, Described, Kind, Limits, Listed, Numbered, Schedule, Seen
from exporter.http import Http, HttpSettings

__all__ = ["Temporal", "look"]

_MOST_OTHERS = 20
_PAGE = 200
#: Set by the server on workflows whose tasks fail or time out again and again, since version 1.30.
_PROBLEMS = 'TemporalReportedProblems IN ("category=WorkflowTaskFailed", "category=WorkflowTaskTimedOut")'

T = TypeVar("T")


class Temporal(HttpSettings, Limits):
    """A Temporal server, by the URL of its HTTP API (port 7243 of the frontend), and the task queues to check."""


async def look(options: Temporal, now: datetime) -> Seen:
    """The namespace as it is. Raises ProbeError when the server does not answer, or not to this account."""
    async with Http(options, connections=1) as http:
        return await _Asking(http, options).look(now)


class _Asking:
    def __init__(self, http: Http, limits: Limits) -> None:
        self._http = http
        self._limits = limits
        self._base = f"/api/v1/namespaces/{quote(limits.namespace, safe='')}"

    async def look(self, now: datetime) -> Seen:
        limits, where = self._limits, f"namespace {self._limits.namespace} on {self._http.settings.url}"
        reply = await self._http.get(self._base, expect=(200, 404))
        if reply.status == 404:
            reply.json()  # a proxy that knows no such path answers 404 too
            return Seen(where, now, exists=False)
        now = server_time(reply, now)
        since = (now - limits.window).astimezone(UTC).isoformat()
        counts = [
            await self._count(f'ExecutionStatus = "{status}" AND CloseTime > "{since}"')
            for status in ("Completed", "ContinuedAsNew", "Failed", "TimedOut")
        ]
        return Seen(
            where,
            now,
            queues={
                (queue.name, kind): await self._described(queue.name, kind)
                for queue in limits.task_queues
                for kind in queue.kinds
            },
            others=await self._others(),
            schedules={name: await self._schedule(name) for name in limits.schedules},
            stuck=await self._stuck(),
            overdue=await self._overdue(now),
            closed=Closed(counts[0] + counts[1], counts[2], counts[3]),
        )

    async def _described(self, name: str, kind: Kind) -> Described:
        asked = {"taskQueueType": kind.parameter, "reportStats": "true"}
        return await self._get(f"/task-queues/{quote(name, safe='')}", Described, asked)

    async def _others(self) -> list[tuple[str, str, Described]]:
        """Task queues of running workflows that are not configured, each with a workflow that is running on it."""
        names = " AND ".join(f'TaskQueue != "{_quoted(queue.name)}"' for queue in self._limits.task_queues)
        asked = {"query": f'ExecutionStatus = "Running" AND {names}', "pageSize": str(_PAGE)}
        found = await self._get("/workflows", Listed, asked)
        first = {workflow.task_queue: workflow.execution.workflow_id for workflow in reversed(found.executions)}
        return [
            (name, workflow, await self._described(name, Kind.WORKFLOW))
            for name, workflow in list(first.items())[:_MOST_OTHERS]
            if name
        ]

    async def _schedule(self, name: str) -> Schedule | None:
        reply = await self._http.get(f"{self._base}/schedules/{quote(name, safe='')}", expect=(200, 404))
        return decode(reply, Schedule) if reply.status == 200 else None

    async def _stuck(self) -> int | None:
        asked = {"query": f'ExecutionStatus = "Running" AND {_PROBLEMS}'}
        reply = await self._http.get(f"{self._base}/workflow-count", params=asked, expect=(200, 400))
        return int(decode(reply, Numbered).count) if reply.status == 200 else None

    async def _overdue(self, now: datetime) -> int:
        if (longest := self._limits.max_run_time) is None:
            return 0
        since = (now - longest).astimezone(UTC).isoformat()
        return await self._count(f'ExecutionStatus = "Running" AND StartTime < "{since}"')

    async def _count(self, query: str) -> int:
        return int((await self._get("/workflow-count", Numbered, {"query": query})).count)

    async def _get(self, path: str, kind: type[T], params: dict[str, str]) -> T:
        return decode(await self._http.get(f"{self._base}{path}", params=params), kind)


def _quoted(name: str) -> str:
    return name.replace("\\", "\\\\").replace('"', '\\"')
