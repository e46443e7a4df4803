"""Blocking calls: bounded, cancellable, never piling up."""

import asyncio
import threading

import pytest

from exporter.threads import Stuck, Threads
from tests.servers.process import eventually


async def test_the_result_and_the_exception_reach_the_caller() -> None:
    threads = Threads()
    assert await threads.run("a", lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await threads.run("a", lambda: 1 // 0)
    assert threads.busy == 0


async def test_calls_that_never_return_cost_their_owner_its_places_and_no_more() -> None:
    threads = Threads(places=2)
    release = threading.Event()
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(threads.run("stuck", release.wait), 0.05)
    with pytest.raises(Stuck, match=r"stuck was not checked: 2 earlier calls have not returned \(limit 2\)\."):
        await threads.run("stuck", release.wait)
    assert await threads.run("other", lambda: "works") == "works"
    release.set()
    await eventually(lambda: threads.busy == 0, what="the threads end")
    assert await threads.run("stuck", lambda: "again") == "again"


async def test_a_thread_that_cannot_be_had_costs_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    threads = Threads(places=1)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            await threads.run("a", lambda: 7)
    assert await threads.run("a", lambda: 7) == 7


def test_a_call_that_outlives_the_loop_disturbs_nobody() -> None:
    threads = Threads()
    release, done = threading.Event(), threading.Event()

    def call() -> None:
        release.wait(10)
        done.set()

    async def abandon() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(threads.run("a", call), 0.05)

    asyncio.run(abandon())
    release.set()
    assert done.wait(10)
