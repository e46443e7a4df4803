"""Looks at the workers of a service, twice where tasks wait: whether they are taken shows only then."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

from collectors.shared.verdicts import verdict
from collectors.systems.workers.client import Workers, read_workers
from collectors.systems.workers.judge import worker_problems
from collectors.systems.workers.model import Heads, Seen, waits
from exporter.collector import Collector
from exporter.verdict import Result, ok
from exporter.words import counted, listed

__all__ = ["see_workers"]

_BETWEEN_LOOKS = 2.0


async def see_workers(collector: Collector[Any, Any], workers: Workers, timeout: timedelta) -> Result:
    """Whether workers take the tasks of all their queues. Raises ProbeError when Redis cannot be read."""
    heads: Heads = collector.context.memory.setdefault("task heads", {})
    seen = await _look(collector, workers, timeout, heads)
    if any(queue.waits == timedelta(0) for queue in seen.queues):
        await asyncio.sleep(_BETWEEN_LOOKS)
        seen = await _look(collector, workers, timeout, heads)
    waiting = sum(queue.waiting for queue in seen.queues)
    names = listed(queue.name for queue in seen.queues)
    good = ok(
        f"Workers of {workers.framework.value} on {seen.where} take tasks from {names}; {counted(waiting, 'task')} "
        f"{'waits' if waiting == 1 else 'wait'}.",
        waiting_tasks=waiting,
    )
    return verdict(worker_problems(seen, workers), good)


async def _look(collector: Collector[Any, Any], workers: Workers, timeout: timedelta, heads: Heads) -> Seen:
    seen = await read_workers(workers, timeout)
    return replace(seen, queues=waits(seen.queues, heads, collector.context.now()))
