"""What the event loop does in threads: resolving names, reading files. Where the system hangs in it, nobody waits for it."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

__all__ = ["block_apart"]


def block_apart() -> None:
    """Have the running event loop, and every library that resolves names by it, make calls that block in an `Executor`."""
    asyncio.get_running_loop().set_default_executor(Executor())


class Executor(ThreadPoolExecutor):
    """The executor of an event loop, in which a call that hangs holds up nothing: no other call, nor the process's end.

    Each call has a daemon thread of its own. Whoever asks for a name that is being asked for already shares the answer, so that
    questions to a resolver that hangs do not pile up; makers of other calls wait for one before they make the next.
    """

    def __init__(self) -> None:
        super().__init__()
        self._asked: dict[tuple[Any, ...], Future[Any]] = {}

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Begin a call, or join the same question for a name. Called in the loop's thread alone."""
        if call is not socket.getaddrinfo:
            return _begin(Future(), partial(call, *args, **kwargs))
        if (asked := self._asked.get(args)) is None:
            asked = self._asked[args] = Future()
            asked.add_done_callback(lambda _: self._asked.pop(args))
            _begin(asked, partial(call, *args))
        return asked


def _begin(future: Future[Any], call: Callable[[], Any]) -> Future[Any]:
    def work() -> None:
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001  # handed to those who wait as it is
            future.set_exception(error)
        else:
            future.set_result(result)

    future.set_running_or_notify_cancel()  # who no longer waits does not cancel it for the others
    try:
        threading.Thread(target=work, name="checklist-call", daemon=True).start()
    except RuntimeError as error:  # the system has no thread left
        future.set_exception(error)
    return future
