"""Ends work for clients that have left."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Message, Receive

__all__ = ["Gone", "Watched"]

T = TypeVar("T")


class Gone(Exception):
    """The client closed its connection before the answer was ready."""


class Watched:
    """The `receive` of a request, which work can be made to depend on. What is read meanwhile is given to who asks later."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._read: list[Message] = []

    async def __call__(self) -> Message:
        """The next message of the request."""
        return self._read.pop(0) if self._read else await self._receive()

    async def unless_gone(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, which is cancelled when the client leaves. Raises Gone then, else what `work` raises."""
        working = asyncio.ensure_future(work)
        leaving = asyncio.ensure_future(self._gone())
        try:
            await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise Gone
            return working.result()
        finally:
            working.cancel()
            leaving.cancel()

    async def _gone(self) -> None:
        """Return when the client has left. A body is not read for that: it may be endless."""
        while not (self._read and self._read[-1].get("more_body")):
            message = await self._receive()
            self._read.append(message)
            if message["type"] == "http.disconnect":
                return
        await asyncio.get_running_loop().create_future()
