"""What a run of a section costs, against a client library's own calls of the same."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable

Run = Callable[[], Awaitable[object]]


async def cpu(run: Run, runs: int) -> float:
    """Seconds of CPU of one run, on average: this thread's, as some servers of the tests have others of this process."""
    before = time.thread_time()
    for _ in range(runs):
        await run()
    return (time.thread_time() - before) / runs


async def compared(ours: Run, bare: Run, *, runs: int = 100, rounds: int = 7) -> tuple[float, float]:
    """How many times the CPU of `bare` a run of `ours` takes, and the seconds of it: medians of rounds in turns."""
    for warm in (ours, bare):
        await cpu(warm, runs)
    pairs = [(await cpu(ours, runs), await cpu(bare, runs)) for _ in range(rounds)]
    return statistics.median(one / other for one, other in pairs), statistics.median(one for one, _ in pairs)
