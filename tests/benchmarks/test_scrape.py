"""What a scrape costs, against prometheus-client's own server in the same run, and what a large state costs."""

from __future__ import annotations

import asyncio
import http.client
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta

import pytest

from exporter.exposition import Exposition
from exporter.health import Health
from exporter.observations import Observation
from exporter.state import State
from exporter.verdict import ok
from tests.exporter.samples import plan, planned
from tests.support import Clock

pytestmark = pytest.mark.benchmark

SERIES_PER_LINE = 16
ROUNDS = 5
PROMETHEUS = {
    "Accept": "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
    "Accept-Encoding": "gzip",
}
PLAIN = {"Accept": "text/plain;version=0.0.4", "Accept-Encoding": "identity"}

Measured = Callable[[str, str, str], None]


class Scraped:
    """A server in a process of its own, scraped as Prometheus does: over one connection, for as long as it is kept."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.port = int(self._line())
        self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def ask(self, command: str) -> float:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return float(self._line())

    def scrape(self, headers: dict[str, str]) -> bytes:
        self._connection.request("GET", "/metrics", headers=headers)
        answer = self._connection.getresponse()
        assert answer.status == 200
        return answer.read()

    def close(self) -> None:
        self._connection.close()

    def cost(self, headers: dict[str, str], *, times: int, change: bool = False) -> float:
        """Seconds of CPU that the server spends on one scrape, everything that it does besides included.

        With `change`, every value changes before each scrape; what only the changing itself costs is left out.
        """
        changing = 0.0
        before = self.ask("cpu")
        for _ in range(times):
            if change:
                changing += self.ask("change")
            self.scrape(headers)
        return (self.ask("cpu") - before - changing) / times


@contextmanager
def scraped(kind: str, series: int) -> Iterator[Scraped]:
    command = [sys.executable, "-m", "tests.benchmarks.scraped", kind, str(-(-series // SERIES_PER_LINE))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            with closing(Scraped(process)) as server:
                yield server
        finally:
            process.kill()


@contextmanager
def both(series: int) -> Iterator[tuple[Scraped, Scraped]]:
    with ExitStack() as started:
        ours, peer = (started.enter_context(scraped(kind, series)) for kind in ("ours", "peer"))
        for server in (ours, peer):
            body = server.scrape(PLAIN)
            assert sum(line.startswith(b"checklist_item_") for line in body.splitlines()) >= series
            server.scrape(PROMETHEUS)
        yield ours, peer


def ratio(costs: list[tuple[float, float]]) -> tuple[float, float, float]:
    """Medians of ours and of the peer, and how many times ours goes into the peer's."""
    ours, peer = (statistics.median(cost) for cost in zip(*costs, strict=True))
    return ours, peer, peer / ours


@pytest.mark.parametrize(
    ("form", "headers", "series", "times", "goal"),
    [
        ("as Prometheus asks", PROMETHEUS, 1_500, 1_000, 100),
        ("as Prometheus asks", PROMETHEUS, 15_000, 300, 300),
        ("uncompressed text", PLAIN, 1_500, 1_000, 100),
        ("uncompressed text", PLAIN, 15_000, 300, None),  # 1.6 MB: copying them into the socket is most of it
    ],
)
def test_unchanged_state(
    form: str, headers: dict[str, str], series: int, times: int, goal: int | None, measured: Measured
) -> None:
    with both(series) as (ours, peer):
        costs = [(ours.cost(headers, times=times), peer.cost(headers, times=10)) for _ in range(ROUNDS)]
    mine, theirs, times_cheaper = ratio(costs)
    measured(
        f"CPU of a scrape, {series:,} series, {form}: {mine * 1e3:.3f} ms, prometheus-client {theirs * 1e3:.1f} ms",
        f"{times_cheaper:.0f}x",
        f">= {goal}x" if goal else "",
    )
    assert times_cheaper >= (goal or 0)


def test_every_value_changed(measured: Measured) -> None:
    with both(1_500) as (ours, peer):
        costs = [
            (ours.cost(PROMETHEUS, times=300, change=True), peer.cost(PROMETHEUS, times=10, change=True))
            for _ in range(ROUNDS)
        ]
    mine, theirs, times_cheaper = ratio(costs)
    measured(
        f"the same, every value changed before each scrape, rendering included: {mine * 1e3:.3f} ms, "
        f"prometheus-client {theirs * 1e3:.1f} ms",
        f"{times_cheaper:.0f}x",
        ">= 20x",
    )
    assert times_cheaper >= 20


def test_hanging_probes_slow_no_scrape(measured: Measured) -> None:
    with scraped("ours", 1_500) as ours:
        ours.scrape(PLAIN)
        quiet = [_p99(ours.port) for _ in range(ROUNDS)]
        ours.ask("hang")
        hanging = [_p99(ours.port) for _ in range(ROUNDS)]
    times_slower = statistics.median(hanging) / statistics.median(quiet)
    measured(
        f"p99 of 1,000 scrapes at once: {statistics.median(quiet) * 1e3:.0f} ms quiet, "
        f"{statistics.median(hanging) * 1e3:.0f} ms while 200 runs hang",
        f"{times_slower:.1f}x",
        "<= 5x",
    )
    assert times_slower <= 5


def _p99(port: int) -> float:
    """Seconds in which 99 of 100 answers are there, of 1,000 scrapes that begin at once."""

    async def scrape() -> float:
        started = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200 ")
        writer.close()
        return time.perf_counter() - started

    async def scrapes() -> list[float]:
        return sorted(await asyncio.gather(*(scrape() for _ in range(1000))))

    return asyncio.run(scrapes())[989]


async def test_large_state_costs_what_changes(measured: Measured) -> None:
    small, large = await _news(100), await _news(10_000)
    for what, of_small, of_large in zip(("recording", "reading what changed"), small, large, strict=True):
        measured(
            f"{what} after a run of 5 items, 10,000 items in state: {of_large * 1e6:.0f} µs, with 100 {of_small * 1e6:.0f} µs",
            f"{of_large / of_small:.1f}x",
            "<= 3x",
        )
        assert of_large <= 3 * of_small


async def _news(items: int) -> tuple[float, float]:
    """Median seconds of CPU to record a run of 5 items, and to read what it changed."""
    clock = Clock()
    state = State(plan(*(planned(item=f"line_{n}", stale_after=timedelta(days=1)) for n in range(items))), clock)
    exposition = Exposition(state, Health("1"))
    recording, reading = [], []
    for number in range(400):
        names = [f"line_{(number * 5 + one) % items}" for one in range(5)]
        known = state.version
        clock.advance(seconds=1)
        begin = time.thread_time()
        await state.record("postgresql", "", dict.fromkeys(names, Observation(ok("Seen."), clock())))
        middle = time.thread_time()
        assert len(list(state.changed(known))) == 5
        end = time.thread_time()
        recording.append(middle - begin)
        reading.append(end - middle)
    exposition.close()
    return statistics.median(recording), statistics.median(reading)
