"""Slices of work: others have their turn in between, and nothing is left out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from exporter.turns import in_turns, unhurried


def slow(count: int) -> Iterator[int]:
    for number in range(count):
        time.sleep(0.01)
        yield number


async def test_others_have_their_turn() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    assert await in_turns(slow(20)) == list(range(20))
    task.cancel()
    assert turns >= 19


async def test_what_is_done_with_each_counts_as_well() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    async for _ in unhurried(range(10)):
        time.sleep(0.01)
    task.cancel()
    assert turns >= 9
