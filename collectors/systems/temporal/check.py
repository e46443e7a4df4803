"""Looks at a namespace of Temporal."""

from __future__ import annotations

from datetime import datetime

from collectors.shared.verdicts import verdict
from collectors.systems.temporal.client import Temporal, look
from collectors.systems.temporal.judge import namespace_problems
from exporter.verdict import Result, ok
from exporter.words import counted, listed

__all__ = ["see_temporal"]


async def see_temporal(options: Temporal, now: datetime) -> Result:
    """Whether workers take the tasks of the namespace's workflows. Raises ProbeError when Temporal cannot be asked."""
    seen = await look(options, now)
    names = listed(f"task queue {queue.name}" for queue in options.task_queues)
    backlog = sum(queue.backlog for queue in (seen.queues or {}).values())
    good = ok(
        f"Workers poll {names} in {seen.where}: {counted(seen.closed.completed, 'workflow')} completed, none stuck.",
        completed_workflows=seen.closed.completed,
        waiting_tasks=backlog,
    )
    return verdict(namespace_problems(seen, options), good)
