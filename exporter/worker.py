"""A thread for work that may take a while, with a bounded queue: what nobody waits for any more is not done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

__all__ = ["Busy", "Worker"]


class Busy(Exception):
    """Too much waits to be done; its text is a full sentence."""


class Worker:
    """One thread, for which at most `places` calls wait."""

    def __init__(self, name: str, places: int = 64) -> None:
        self._name = name
        self._places = places
        self._waiting = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def run(self, call: Callable[[], T]) -> T:
        """The result of `call`, which is not called when this is cancelled before its turn.

        Raises Busy when too many wait, else what `call` raises.
        """
        if self._waiting >= self._places:
            raise Busy(f"The exporter is busy with other requests ({self._name}); try again.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, call)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Let go of the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)
