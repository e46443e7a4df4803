"""Blocking calls in threads that cannot pile up: a call that never returns costs its owner one place, not a thread a minute."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

__all__ = ["Stuck", "Threads"]


class Stuck(Exception):
    """All of an owner's threads are still busy with earlier calls."""


class Threads:
    """Daemon threads, at most `places` at a time for each owner (a section). Abandoned calls keep their place until they return."""

    def __init__(self, places: int = 4) -> None:
        self.places = places
        self._busy: Counter[str] = Counter()

    @property
    def busy(self) -> int:
        """How many threads are running."""
        return self._busy.total()

    async def run(self, owner: str, call: Callable[[], T]) -> T:
        """The result of `call`, run in a thread of its own. Raises Stuck when the owner has no place left, else what `call` raises.

        Cancelling stops the waiting, not the call; the thread is a daemon, so that a stuck one never holds up the process's end.
        """
        if self._busy[owner] >= self.places:
            raise Stuck(
                f"{owner} was not checked: {self._busy[owner]} earlier calls have not returned (limit {self.places})."
            )
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._busy[owner] += 1
        context = contextvars.copy_context()  # who traces the asker's steps traces the call's as well

        def settle(result: T | None, error: BaseException | None) -> None:
            self._busy[owner] -= 1
            if future.cancelled():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]

        def work() -> None:
            result: Any = None
            error: BaseException | None = None
            try:
                result = context.run(call)
            except BaseException as raised:  # noqa: BLE001  # handed to the caller as it is
                error = raised
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(settle, result, error)

        try:
            threading.Thread(target=work, name=f"checklist-{owner}", daemon=True).start()
        except RuntimeError:  # the system has no thread left: that must not cost the place for ever
            self._busy[owner] -= 1
            raise
        return await future
