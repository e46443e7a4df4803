"""The server side of the scrape benchmarks, a process of its own: `python -m tests.benchmarks.scraped ours|peer LINES`.

Prints its port. Each line on standard input is a command that it answers with a line: `cpu` with the seconds of CPU used so
far, `change` (of every value) with those that the change itself took, `hang` once probes of every kind hang.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta

from prometheus_client import CollectorRegistry, start_http_server

from exporter.collector import Collector, NoTarget, SectionSettings, item
from exporter.exposition import Exposition
from exporter.health import Health
from exporter.metrics import ChecklistCollector
from exporter.observations import Observation
from exporter.plan import Job
from exporter.runner import Runner, utc_now
from exporter.state import State
from exporter.verdict import CRITICAL, Result, ok
from exporter.web import bind, create_app, serve
from tests.exporter.samples import Transitions, plan, planned
from tests.support import make_context


class Hanging(Collector[SectionSettings, NoTarget]):
    """Probes that never come back: half of them wait, half of them hold a thread."""

    @item("Waits", severity=CRITICAL)
    async def waits(self) -> Result:
        """Waits for an answer that does not come."""
        await asyncio.Event().wait()
        return ok("Never.")

    @item("Blocks", severity=CRITICAL)
    async def blocks(self) -> Result:
        """Holds a thread."""
        await self.blocking(time.sleep, 3600)
        return ok("Never.")


class Checklist:
    """A state of so many lines."""

    def __init__(self, lines: int) -> None:
        items = [planned(item=f"line_{number}", stale_after=timedelta(days=1)) for number in range(lines)]
        self._names = [one.item for one in items]
        self.state = State(plan(*items), utc_now)
        self._round = 0

    async def change(self) -> None:
        """Another measurement, duration and time for every item, as runs of 20 items each bring them."""
        self._round += 1
        result = ok("Seen.", free_bytes=float(self._round))
        for start in range(0, len(self._names), 20):
            seen = Observation(result, utc_now(), self._round / 1000)
            await self.state.record("postgresql", "", dict.fromkeys(self._names[start : start + 20], seen))


class Ours:
    """The exporter's whole way of a scrape: exposition, guard, application, uvicorn."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._background: list[asyncio.Task[object]] = []

    async def start(self) -> int:
        """Serve; returns the port."""
        health = Health("1.0.0", ready=True, last_tick=utc_now())
        exposition = Exposition(self._state, health)

        async def reload() -> None:
            return None

        app = create_app(self._state, exposition, health, history=Transitions(), reload=reload, now=utc_now)
        sockets = bind(["127.0.0.1:0"])
        port: int = sockets[0].getsockname()[1]
        self._background = [asyncio.create_task(serve(app, sockets)), asyncio.create_task(exposition.run())]
        while exposition.trouble():
            await asyncio.sleep(0.01)
        return port

    async def hang(self) -> None:
        """Keep 200 runs going that never see anything."""
        runner, context = Runner(concurrency=200), make_context()
        settings = SectionSettings(timeout=timedelta(seconds=5))
        job = Job("hanging", "", Hanging, settings, None, ("waits", "blocks"))

        async def forever() -> None:
            while True:
                await runner.run(job, context)

        self._background += [asyncio.create_task(forever()) for _ in range(200)]
        await asyncio.sleep(1)


class Peer:
    """The same collector behind the server that prometheus-client brings."""

    def __init__(self, state: State) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(ChecklistCollector(lambda: (state.plan, state.views())))

    async def start(self) -> int:
        """Serve; returns the port."""
        server, _ = start_http_server(0, "127.0.0.1", self._registry)
        return int(server.server_port)

    async def hang(self) -> None:
        """Not asked of it."""
        raise AssertionError("Nothing runs it.")


def _commands() -> Iterator[str]:
    return (line.strip() for line in sys.stdin)


async def _main(kind: str, lines: int) -> None:
    checklist = Checklist(lines)
    await checklist.change()
    served = Ours(checklist.state) if kind == "ours" else Peer(checklist.state)
    _say(await served.start())
    commands = iter(_commands())
    while command := await asyncio.to_thread(next, commands, ""):
        if command == "change":
            before = time.thread_time()
            await checklist.change()
            _say(time.thread_time() - before)
        elif command == "hang":
            await served.hang()
            _say(threading.active_count())
        else:
            _say(time.process_time())


def _say(value: object) -> None:
    sys.stdout.write(f"{value}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    with asyncio.Runner() as loop:
        loop.run(_main(sys.argv[1], int(sys.argv[2])))
