"""Work on the event loop that grows with the checklist, done in slices: scrapes and runs have their turn in between."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

T = TypeVar("T")

__all__ = ["in_turns", "unhurried"]

#: Seconds after which others have their turn.
SLICE = 0.005


async def unhurried(found: Iterable[T]) -> AsyncIterator[T]:
    """What an iterator gives, one by one. What is done for each, and by the iterator itself, fills a slice before others follow."""
    since = time.monotonic()
    for one in found:
        yield one
        if time.monotonic() - since > SLICE:
            await asyncio.sleep(0)
            since = time.monotonic()


async def in_turns(found: Iterable[T]) -> list[T]:
    """All that an iterator gives which does its work as it is asked, such as a generator."""
    return [one async for one in unhurried(found)]
