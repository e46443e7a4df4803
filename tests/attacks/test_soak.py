"""Days of operation in minutes: configurations that change, reloads and servers that flap leave nothing behind."""

from __future__ import annotations

import re
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import psutil
import pytest

from tests.attacks.running import PLUGIN, Attacked, resident_bytes
from tests.servers.process import wait_until

KNOCKING = '''"""Knocking checks"""
import asyncio
from exporter.collector import Collector, SectionSettings, Target, item
from exporter.verdict import CRITICAL, ProbeError, Reason, Result, ok


class Place(Target):
    port: int


class Settings(SectionSettings):
    targets: tuple[Place, ...]


class Knocking(Collector[Settings, Place]):
    """Knocking."""

    Settings = Settings
    Target = Place

    @item("It opens", severity=CRITICAL)
    async def opens(self) -> Result:
        """A server accepts a connection."""
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.target.port)
        except OSError:
            raise ProbeError("The server refuses connections.", Reason.UNREACHABLE) from None
        writer.close()
        await writer.wait_closed()
        return ok("The server accepts connections.")

    @item("It counts", severity=CRITICAL)
    async def counts(self) -> Result:
        """The tasks of the exporter."""
        return ok("Counted.", tasks=len(asyncio.all_tasks()))
'''


class Door:
    """A port that accepts connections, or refuses them while it is shut."""

    def __init__(self, port: int = 0) -> None:
        self._listening: socket.socket | None = None
        self.port = port
        self.open()

    def open(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", self.port), backlog=64)
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    @staticmethod
    def _accept(listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                listening.accept()[0].close()

    def shut(self) -> None:
        if self._listening is not None:
            self._listening.shutdown(socket.SHUT_RDWR)  # wakes who accepts
            self._listening.close()
            self._listening = None

    def flap(self) -> None:
        """Open it where it is shut, shut it where it is open."""
        if self._listening is None:
            self.open()
        else:
            self.shut()


TASKS = re.compile(
    r'^checklist_item_measurement\{item="counts",measurement="tasks",section="\w+"\} (\S+)$', re.MULTILINE
)


@dataclass(frozen=True)
class Taken:
    """What the exporter takes at a moment."""

    memory: int
    descriptors: int
    threads: int
    tasks: float


def taken(exporter: Attacked, text: str) -> Taken:
    process = psutil.Process(exporter.pid)
    tasks = [float(found) for found in TASKS.findall(text)]
    return Taken(resident_bytes(exporter.pid), process.num_fds(), process.num_threads(), max(tasks, default=0))


def configurations(steady: int, flapping: int) -> Iterator[str]:
    """Texts that differ in targets, intervals, waivers and lines of their own, over and over; one cannot be used."""
    for number in cycle(range(6)):
        places = [f"{{name: steady, port: {steady}}}"]
        places += [f"{{name: flapping{index}, port: {flapping}}}" for index in range(1 + number % 3)]
        own = "".join(
            f"  - {{section: Own, line: Line {index}, evidence: {{valid_for: 1d}}}}\n" for index in range(number)
        )
        yield (
            f"checklist: checklist.md\nevidence: ./evidence\nstate: {{file: history.db}}\nsections:\n  {PLUGIN}:\n"
            f"    every: {1 + number % 2}s\n    targets: [{', '.join(places)}]\n"
            + (f"custom:\n{own}" if own else "")
            + ("waivers: [{}]\n" if number == 5 else "")
        )


@pytest.mark.parametrize("seconds", [pytest.param(20, id="20s"), pytest.param(600, id="10m", marks=pytest.mark.soak)])
def test_nothing_piles_up(tmp_path: Path, seconds: float) -> None:
    (tmp_path / "evidence").mkdir()
    (tmp_path / "checklist.md").write_text(
        "# Launch\n\n## Knocking checks\n\n- [ ] It opens\n- [ ] It counts\n\n## Own\n\n"
        + "".join(f"- [ ] Line {index}\n" for index in range(6))
    )
    seen: list[Taken] = []
    reloads = refused = 0
    with ExitStack() as stack:
        steady, flapping = Door(), Door()
        stack.callback(steady.shut)
        stack.callback(flapping.shut)
        texts = configurations(steady.port, flapping.port)
        exporter = stack.enter_context(Attacked(tmp_path, next(texts), plugin=KNOCKING))
        wait_until(lambda: TASKS.search(exporter.get("/metrics")), what="it verifies", deadline=60)
        end = time.monotonic() + seconds
        while time.monotonic() < end or len(seen) < 12:
            flapping.flap()
            exporter.config.write_text(next(texts))
            refused += exporter.reload() != 200
            reloads += 1
            exporter.get("/")
            exporter.get("/metrics?name[]=checklist_item_ok")
            seen.append(taken(exporter, exporter.get("/metrics")))
            time.sleep(0.3)
        flapped = exporter.logged().count(f"{PLUGIN}.opens is ")
        history = sum(file.stat().st_size for file in tmp_path.glob("history.db*"))
        assert exporter.get("/-/healthy")
    third = len(seen) // 3
    early, late = seen[third : 2 * third], seen[2 * third :]

    def grown(name: str) -> float:
        middle = [statistics.median(getattr(one, name) for one in part) for part in (early, late)]
        return float(middle[1] - middle[0])

    told = f"{reloads} reloads, {refused} refused: {early[0]} … {late[-1]}, history of {history} bytes"
    print(told)  # noqa: T201  # the figures of a day, for whoever waits for it
    assert flapped > 2, told
    assert 0 < refused < reloads / 2, told
    assert grown("memory") < 8e6, told
    assert grown("descriptors") <= 4, told
    assert grown("threads") <= 4, told
    assert grown("tasks") <= 4, told
    assert history < 8e6, told  # of which its log takes 4 MB
    assert "Traceback" not in exporter.logged()
