"""Calls that block: one that hangs holds up nobody else, names do not pile up, and nothing is waited for at the end."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from exporter.executor import block_apart
from tests.servers.process import eventually

ANSWER = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))]


class System:
    """The system's resolver: names below `hang.example.com` are answered on `release`, those below `no.example.com` never exist."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.release = threading.Event()

    def __call__(self, host: str, *_: Any) -> list[Any]:
        self.asked.append(host)
        if host.endswith("hang.example.com"):
            self.release.wait(60)
        if host.endswith("no.example.com"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return ANSWER


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    made = System()
    monkeypatch.setattr(socket, "getaddrinfo", made)
    yield made
    made.release.set()


async def resolve(host: str) -> list[Any]:
    return await asyncio.get_running_loop().getaddrinfo(host, 80)


async def test_names_that_hang_hold_up_no_other_and_are_asked_once(system: System, no_leftovers: None) -> None:
    block_apart()
    hosts = [f"{number}.hang.example.com" for number in range(50)]
    waiting = [asyncio.create_task(resolve(host)) for host in hosts for _ in range(20)]
    await eventually(lambda: len(system.asked) == 50, "every name to be asked for")
    assert await resolve("shop.example.com") == ANSWER
    assert await asyncio.to_thread(lambda: 7) == 7
    assert sorted(system.asked[:50]) == sorted(hosts)
    assert sum(thread.name == "checklist-call" for thread in threading.enumerate()) == 50
    waiting[0].cancel()
    system.release.set()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1:] == [ANSWER] * 999
    assert await resolve(hosts[0]) == ANSWER
    assert system.asked.count(hosts[0]) == 2, "an answer is not kept"


async def test_a_name_that_does_not_exist_is_told_to_all_who_asked(system: System, no_leftovers: None) -> None:
    block_apart()
    for _ in range(2):
        answers = await asyncio.gather(*(resolve("no.example.com") for _ in range(3)), return_exceptions=True)
        assert all(isinstance(answer, socket.gaierror) for answer in answers)


async def test_what_a_call_raises_reaches_its_caller(monkeypatch: pytest.MonkeyPatch, no_leftovers: None) -> None:
    block_apart()
    with pytest.raises(ZeroDivisionError):
        await asyncio.to_thread(lambda: 1 // 0)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        for call in (asyncio.to_thread(int), resolve("127.0.0.1"), resolve("127.0.0.1")):
            with pytest.raises(RuntimeError, match="can't start new thread"):
                await call
    assert await resolve("127.0.0.1")


@pytest.mark.parametrize("call", ["loop.getaddrinfo('a.example.com', 80)", "asyncio.to_thread(time.sleep, 600)"])
def test_a_call_that_hangs_is_not_waited_for_at_the_end(call: str) -> None:
    program = """
import asyncio, socket, time

from exporter.executor import block_apart

socket.getaddrinfo = lambda *_: time.sleep(600)

async def main():
    block_apart()
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(0.1):
            await CALL
    except TimeoutError:
        print("not waited for")

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program.replace("CALL", call)], capture_output=True, text=True, timeout=120, check=True
    )
    assert (done.stdout, done.stderr) == ("not waited for\n", "")
