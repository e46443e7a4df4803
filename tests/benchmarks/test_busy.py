"""Scrapes of 10,000 targets while the configuration is reloaded and pages are read, against rendering them once."""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from exporter.metrics import ChecklistCollector
from exporter.observations import Observation
from exporter.state import State
from exporter.verdict import ok
from tests.attacks.running import PLUGIN, Attacked
from tests.exporter.samples import plan, planned
from tests.servers.process import wait_until
from tests.support import Clock

pytestmark = pytest.mark.benchmark

LINES = 5
TARGETS = 10_000
SECONDS = 30.0

CHECKS = '''"""Big checks"""
import asyncio
import random
from exporter.collector import Collector, SectionSettings, Target, item
from exporter.verdict import CRITICAL, Result, failed, ok


class Settings(SectionSettings):
    targets: tuple[Target, ...]


class Big(Collector[Settings, Target]):
    """Big."""

    Settings = Settings
    Target = Target

    async def see(self) -> Result:
        await asyncio.sleep(0.001)
        return failed("Broken.") if random.random() < 0.001 else ok("As ever.", size_bytes=random.random())
'''
CHECK = '''
    @item("Line {0}", severity=CRITICAL)
    async def line_{0}(self) -> Result:
        """A line."""
        return await self.see()
'''


def configured(generation: int) -> str:
    """A configuration of all targets, one of which is another one in each generation."""
    names = [*range(TARGETS - 1), f"generation-{generation}"]
    targets = "\n".join(f"      - name: target-{name}" for name in names)
    common = "checklist: checklist.md\nconcurrency: 100\nstate: {file: history.db}\n"
    return f"{common}sections:\n  {PLUGIN}:\n    targets:\n{targets}\n"


@contextmanager
def disturbed(exporter: Attacked) -> Iterator[None]:
    """Have somebody reload a changed configuration, read a page and ask for one metric, over and over."""
    done = threading.Event()

    def disturb() -> None:
        generation = 0
        while not done.is_set():
            generation += 1
            exporter.config.write_text(configured(generation))
            for path, method in (("/-/reload", "POST"), ("/", "GET"), ("/metrics?name[]=checklist_item_ok", "GET")):
                with suppress(OSError):
                    exporter.get(path, method, timeout=60)
                done.wait(1)

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def scraped(exporter: Attacked, seconds: float) -> list[float]:
    """How long each scrape took, as Prometheus asks for it, in seconds, the shortest first."""
    taken = []
    scrape = urllib.request.Request(f"http://127.0.0.1:{exporter.port}/metrics", headers={"Accept-Encoding": "gzip"})
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begin = time.perf_counter()
        with urllib.request.urlopen(scrape, timeout=60) as answer:
            answer.read()
        taken.append(time.perf_counter() - begin)
        time.sleep(0.05)
    return sorted(taken)


async def rendered() -> float:
    """Seconds in which prometheus-client renders as many targets now, which a scrape would wait for if it were asked then."""
    names = tuple(f"target-{number}" for number in range(TARGETS))
    state = State(plan(*(planned(item=f"line_{number}", targets=names) for number in range(LINES))), clock := Clock())
    for name in names:
        seen = Observation(ok("Seen.", free_bytes=1.0), clock())
        await state.record("postgresql", name, {f"line_{number}": seen for number in range(LINES)})
    registry = CollectorRegistry()
    registry.register(ChecklistCollector(lambda: (state.plan, state.views())))
    begin = time.perf_counter()
    assert generate_latest(registry).count(b"checklist_item_target_ok{") == LINES * TARGETS
    return time.perf_counter() - begin


async def test_scrapes_go_on_while_thousands_of_targets_are_reloaded(
    tmp_path: Path, measured: Callable[[str, str, str], None]
) -> None:
    alone = await rendered()
    lines = "".join(f"- [ ] Line {number}\n" for number in range(LINES))
    (tmp_path / "checklist.md").write_text(f"# Launch\n\n## Big checks\n\n{lines}")
    checks = CHECKS + "".join(CHECK.format(number) for number in range(LINES))
    with Attacked(tmp_path, configured(0), plugin=checks) as exporter:
        wait_until(lambda: "checklist_item_ok" in exporter.get("/metrics", timeout=60), what="it renders", deadline=120)
        quiet = scraped(exporter, SECONDS)
        with disturbed(exporter):
            busy = scraped(exporter, SECONDS)
    p99 = busy[int(len(busy) * 0.99)]
    measured(
        f"p99 of scrapes of {TARGETS:,} targets: {quiet[int(len(quiet) * 0.99)] * 1e3:.0f} ms quiet, "
        f"{p99 * 1e3:.0f} ms while it is reloaded and read; prometheus-client renders them in {alone * 1e3:.0f} ms",
        f"{p99 / alone:.2f}x",
        "<= 0.4x",
    )
    assert p99 <= 0.4 * alone
