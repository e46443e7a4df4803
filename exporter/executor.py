"""How names are resolved: the system's resolver blocks, for a minute where its servers do not answer, and nobody waits for it."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

__all__ = ["resolve_apart"]


def resolve_apart() -> None:
    """Have the running event loop, and every library that resolves names by it, ask in threads of `Resolver`."""
    asyncio.get_running_loop().set_default_executor(Resolver())


class Resolver(ThreadPoolExecutor):
    """The executor of an event loop, in which a question for a name that hangs holds up nothing: no other, nor the process's end.

    Each question has a daemon thread of its own, and whoever asks the same meanwhile shares its answer: they do not pile up.
    All other calls run as in any executor.
    """

    def __init__(self) -> None:
        super().__init__()
        self._asked: dict[tuple[Any, ...], Future[Any]] = {}
        self._lock = threading.Lock()

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Begin a call, or join the same question for a name."""
        if call is not socket.getaddrinfo:
            return super().submit(call, *args, **kwargs)
        with self._lock:
            if (asked := self._asked.get(args)) is not None:
                return asked
            question = Future[Any]()
            question.set_running_or_notify_cancel()  # who no longer waits does not cancel it for the others
            threading.Thread(target=self._ask, args=(question, args), name="checklist-name", daemon=True).start()
            self._asked[args] = question
            return question

    def _ask(self, question: Future[Any], args: tuple[Any, ...]) -> None:
        found, error = None, None
        try:
            found = socket.getaddrinfo(*args)
        except Exception as raised:  # noqa: BLE001  # handed to those who asked as it is
            error = raised
        with self._lock:
            del self._asked[args]
        if error is None:
            question.set_result(found)
        else:
            question.set_exception(error)
