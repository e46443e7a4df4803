"""Tasks whose asker may be gone when they fail."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["started"]

T = TypeVar("T")


def started(coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Run it as a task. What it raises counts as handled: who asked may be cancelled in the very moment in which it fails,
    and the event loop would report that nobody did.
    """
    task = asyncio.create_task(coroutine)
    task.add_done_callback(_retrieve)
    return task


def _retrieve(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()
