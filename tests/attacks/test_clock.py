"""Clocks that are set, by libfaketime: the loop goes on, nothing is repeated a million times, nothing becomes younger."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.attacks.running import PLUGIN, Attacked, cpu_seconds, resident_bytes
from tests.attacks.test_history import FLAPPING
from tests.servers.packages import debian
from tests.servers.process import wait_until

RUNS = f'checklist_item_runs_total{{item="stays",section="{PLUGIN}"}}'


class Shift:
    """What the exporter takes for the difference to the machine's clock."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set("+0")

    def set(self, offset: str) -> None:
        self._file.write_text(offset)


@pytest.fixture
def faked(tmp_path: Path) -> Iterator[tuple[Attacked, Shift]]:
    (library,) = (debian("libfaketime") / "usr/lib").rglob("libfaketime.so.1")
    clock = Shift(tmp_path / "clock")
    env = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(tmp_path / "clock"),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "TZ": "Europe/Berlin",
    }
    (tmp_path / "checklist.md").write_text("# Launch\n\n## Flapping checks\n\n- [ ] It flaps\n- [ ] It stays\n")
    section = f"{PLUGIN}: {{every: 2s, stale_after: 20s}}"
    configuration = f"checklist: checklist.md\nstate: {{file: history.db}}\nsections: {{{section}}}\n"
    with Attacked(tmp_path, configuration, plugin=FLAPPING, env=env) as exporter:
        wait_until(lambda: exporter.item(PLUGIN, "stays")["status"] == "ok", what="it verifies")
        yield exporter, clock


@pytest.mark.parametrize("offset", ["+2h", "+365d", "-2h", "-365d"])
def test_a_step_of_the_clock_costs_neither_time_nor_memory(faked: tuple[Attacked, Shift], offset: str) -> None:
    exporter, clock = faked
    memory, cpu, runs = resident_bytes(exporter.pid), cpu_seconds(exporter.pid), exporter.metric(RUNS) or 0
    clock.set(offset)
    wait_until(lambda: "The clock was set" in exporter.logged(), what="the step is noticed")
    started = time.monotonic()
    exporter.get("/-/healthy", timeout=3)
    assert time.monotonic() - started < 3
    wait_until(lambda: (exporter.metric(RUNS) or 0) >= runs + 3, what="it runs by the new clock")
    wait_until(lambda: exporter.item(PLUGIN, "stays")["status"] == "ok", what="the line passes by the new clock")
    assert resident_bytes(exporter.pid) - memory < 50e6
    assert cpu_seconds(exporter.pid) - cpu < 20
    assert (exporter.metric(RUNS) or 0) < runs + 30
    process = psutil.Process(exporter.pid)
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    exporter._process.wait(15)  # type: ignore[union-attr]
    assert time.monotonic() - started < 5.5  # five seconds, and some to notice it
