"""An answer that several sections need: asked once at a time, and shared while it is fresh."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, Generic, TypeVar

__all__ = ["Shared"]

T = TypeVar("T")


class Shared(Generic[T]):
    """The answer to `ask`, at most `max_age` old. Who asks while it is being fetched waits for that fetch.

    The fetch runs in a task of its own: an asker that runs out of time does not cancel it for the others. What it raises, all who
    wait for it get; the next asker tries again.
    """

    def __init__(self, ask: Callable[[], Coroutine[Any, Any, T]], max_age: timedelta) -> None:
        self._ask = ask
        self._max_age = max_age.total_seconds()
        self._task: asyncio.Task[T] | None = None
        self._fetched_at = 0.0

    async def get(self) -> T:
        """The answer. Raises what `ask` raises."""
        if self._task is None or (self._task.done() and not self._fresh(self._task)):
            self._task = asyncio.create_task(self._fetch())
            self._task.add_done_callback(_retrieve)
        return await asyncio.shield(self._task)

    def _fresh(self, task: asyncio.Task[T]) -> bool:
        failed = task.cancelled() or task.exception() is not None
        return not failed and asyncio.get_running_loop().time() - self._fetched_at < self._max_age

    async def _fetch(self) -> T:
        # Counted from the question: what changes while it is being answered may be missing from the answer.
        self._fetched_at = asyncio.get_running_loop().time()
        return await self._ask()

    async def close(self) -> None:
        """Forget the answer, and stop fetching it."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Look at the exception, so that asyncio does not complain when everyone who asked has left."""
    if not task.cancelled():
        task.exception()
