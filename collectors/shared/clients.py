"""What clients share: an answer that many sections need, asked once at a time and kept; replies of a known shape; lean imports."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Generic, TypeVar

import msgspec

from exporter.reply import Reply
from exporter.verdict import ProbeError

__all__ = ["SELECTOR", "Shared", "decode", "without"]

T = TypeVar("T")

_MATCHER = r'\s*[a-zA-Z_][a-zA-Z0-9_]*\s*(?:=|!=|=~|!~)\s*(?:"(?:[^"\\]|\\.)*"|`[^`]*`)\s*'
SELECTOR = rf"^\{{{_MATCHER}(?:,{_MATCHER})*\}}$"
"""A selector by labels alone, as Prometheus and Loki write it: `{namespace="shop", app=~"api|web"}`."""


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


def decode(reply: Reply, kind: type[T]) -> T:
    """The body as JSON of this shape. Raises ProbeError when it is something else: a login page, half a reply, another format."""
    try:
        return msgspec.json.decode(reply.body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        reply.json()  # tells an HTML page or half a reply from JSON of another shape
        raise ProbeError(f"{reply.where} answered {reply.status} in an unexpected format: {error}.") from None


@contextmanager
def without(*modules: str) -> Iterator[None]:
    """Hide modules from a library that is imported inside, and would import them too if it could: they only cost memory."""
    hidden = [name for name in modules if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None is what makes an import fail
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
