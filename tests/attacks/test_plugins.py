"""Plug-ins that do what no collector should: their own lines are unknown, all others stay right, and the process ends when told."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.attacks.running import PLUGIN, Attacked, resident_bytes
from tests.attacks.test_files import STAYS
from tests.servers.process import popen, wait_until

HEAD = '''"""Hostile checks"""
import asyncio, logging, os, sys, time
from exporter.collector import Collector, NoTarget, SectionSettings, item
from exporter.verdict import CRITICAL, Result, Status, failed, ok


class Textless(Exception):
    def __str__(self):
        raise ZeroDivisionError


class Noted(Exception):
    @property
    def __notes__(self):
        raise SystemExit(7)


def interrupt():
    raise KeyboardInterrupt


class Hostile(Collector[SectionSettings, NoTarget]):
    """Hostile."""

'''
LINES = {
    "wrong_status": 'return Result("ok", "Fine.")',
    "exits": "raise SystemExit(3)",
    "interrupts": "raise KeyboardInterrupt",
    "exits_in_a_task": "await asyncio.create_task(self.leave())",
    "exits_in_a_group": """async with asyncio.TaskGroup() as group:
            group.create_task(self.leave())""",
    "exits_in_a_thread": "await self.blocking(sys.exit, 3)",
    "textless": "raise Textless",
    "long": "return ok('x' * 20_000_000)",
    "raises_long": "raise ValueError('y' * 20_000_000)",
    "naive": "import datetime; return ok('Fine.', valid_until=datetime.datetime(2030, 1, 1))",
    "text_measured": "return Result(Status.OK, 'Fine.', {'a': 'b'})",
    "noted": "raise Noted('x')",
    "caused_long": "raise ValueError('short') from ValueError('y' * 20_000_000)",
    "logs_long": "logging.getLogger('elsewhere').error('z' * 20_000_000); raise ValueError('logged')",
    "unread_evidence": """from exporter.evidence.records import Record
        return Result(Status.OK, "Fine.", evidence=(Record.model_construct(item=object(), file="x", line=1),))""",
    "cancels_itself": "asyncio.current_task().cancel(); await asyncio.sleep(0); return ok('Fine.')",
    "stops_the_loop": "asyncio.get_running_loop().stop(); raise ValueError('stopped')",
    "exits_in_a_callback": "asyncio.get_running_loop().call_soon(sys.exit, 3); raise ValueError('soon')",
    "interrupts_in_a_callback": "asyncio.get_running_loop().call_soon(interrupt); raise ValueError('soon')",
    "forks": """if os.fork() == 0:
            raise SystemExit(0)
        raise ValueError('forked')""",
    "good": "return ok('Observed.')",
}
LEAVE = """
    async def leave(self):
        raise SystemExit(3)

"""
CONFIG = "sections:\n  {section}: {{every: {every}, timeout: {timeout}}}\nstate: {{file: history.db}}\n"


def _source(lines: dict[str, str]) -> str:
    parts = [
        f'    @item("Line {name}", severity=CRITICAL)\n    async def {name}(self) -> Result:\n        """Line."""\n'
        f"        {body}\n"
        for name, body in lines.items()
    ]
    return HEAD + LEAVE + "\n".join(parts)


def _attacked(folder: Path, lines: dict[str, str], every: str = "1s", timeout: str = "500ms") -> Attacked:
    own = "".join(f"- [ ] Line {name}\n" for name in lines)
    (folder / "checklist.md").write_text(f"# Launch\n\n## Hostile checks\n\n{own}")
    configuration = CONFIG.format(section=PLUGIN, every=every, timeout=timeout) + "checklist: checklist.md\n"
    return Attacked(folder, configuration, plugin=_source(lines))


def test_hostile_results_and_exceptions_harm_nothing_else(tmp_path: Path) -> None:
    with _attacked(tmp_path, LINES) as exporter:
        for name in LINES:
            wanted = "ok" if name == "good" else "unknown"
            wait_until(
                lambda name=name: exporter.item(PLUGIN, name)["last_run"] is not None,  # type: ignore[misc]
                what=f"{name} runs",
            )
            assert exporter.item(PLUGIN, name)["status"] == wanted, name
        wait_until(lambda: exporter.ok(PLUGIN, "good") == 1, what="the good line is shown")
        assert exporter.ok(PLUGIN, "wrong_status") == 0
        assert "checklist_item_ok" in exporter.get("/metrics")
        assert len(exporter.get("/api/v1/items")) < 100_000
        assert resident_bytes(exporter.pid) < 250e6
        assert max(map(len, exporter.logged().splitlines())) < 200_000
        wait_until(  # a busy machine may need longer for a run than it has
            lambda: exporter.item(PLUGIN, "cancels_itself")["summary"].endswith(
                "could not be checked: it was cancelled."
            ),
            what="the cancelled check is shown as such",
        )
        wait_until(
            lambda: all(child.status() == psutil.STATUS_ZOMBIE for child in psutil.Process(exporter.pid).children()),
            what="what was forked has ended",
        )
        assert exporter.reload() == 200


def test_a_plug_in_that_cancels_every_task_cancels_none_of_the_exporters(tmp_path: Path) -> None:
    body = "[task.cancel() for task in asyncio.all_tasks()]; await asyncio.sleep(0); return ok('Fine.')"
    with _attacked(tmp_path, {"cancels": body}, every="500ms") as exporter:
        runs = f'checklist_item_runs_total{{item="cancels",section="{PLUGIN}"}}'
        wait_until(lambda: (exporter.metric(runs) or 0) > 2, what="it runs again and again")
        found = exporter.item(PLUGIN, "cancels")
        assert (found["status"], found["reason"]) == ("unknown", "unobserved")
        assert exporter.reload() == 200
        assert "exporter.runner" in exporter.logged()
        assert exporter.get("/-/healthy")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(
            "\n        while True:\n            try:\n                await asyncio.sleep(60)\n"
            "            except asyncio.CancelledError:\n                pass",
            id="ignores cancellation",
        ),
        pytest.param("time.sleep(60)", id="blocks the loop"),
        pytest.param("\n        while True:\n            pass", id="computes for ever"),
        pytest.param("await self.blocking(time.sleep, 60); return ok('x')", id="hangs in a thread"),
    ],
)
def test_sigterm_ends_within_five_seconds_whatever_runs(tmp_path: Path, body: str) -> None:
    begun = f"open({str(tmp_path / 'begun')!r}, 'w').close(); "
    with _attacked(tmp_path, {"endless": begun + body}) as exporter:
        wait_until((tmp_path / "begun").exists, what="the line runs")
        time.sleep(0.3)
        process = psutil.Process(exporter.pid)
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=15) in (0, None)
        assert time.monotonic() - started < 5.5  # five seconds, and some to notice it
        assert exporter._process is not None
        assert exporter._process.wait(1) == 0


def test_code_that_holds_the_interpreter_lock_does_not_outlive_sigterm(tmp_path: Path) -> None:
    body = f"""
        import ctypes
        open({str(tmp_path / "begun")!r}, "w").close()
        try:
            await asyncio.sleep(60)
        finally:
            while True:
                ctypes.PyDLL(None).sleep(60)"""
    with _attacked(tmp_path, {"greedy": body}, timeout="60s") as exporter:
        wait_until((tmp_path / "begun").exists, what="the line runs")
        started = time.monotonic()
        os.kill(exporter.pid, signal.SIGTERM)
        assert exporter._process is not None
        assert exporter._process.wait(15) == -signal.SIGALRM, "no thread of Python could end it"
        assert time.monotonic() - started < 5.5


def test_sigterm_ends_an_exporter_that_is_still_starting(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    slow = f'import time\nopen({str(begun)!r}, "w").close()\ntime.sleep(60)\n'
    exporter = Attacked(tmp_path, CONFIG.format(section=PLUGIN, every="1s", timeout="1s"), plugin=slow)
    with popen(exporter.argv, env=exporter._env, stderr=subprocess.DEVNULL) as process:
        wait_until(begun.exists, what="it loads")
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        # By a handler: the kernel withholds from a container's first process what it does not handle.
        assert process.wait(15) == 128 + signal.SIGTERM
        assert time.monotonic() - started < 2


def test_sigterm_ends_within_five_seconds_while_thousands_of_targets_are_loaded(tmp_path: Path) -> None:
    targets = "".join(f"\n      - {{name: t{number}}}" for number in range(5000))
    (tmp_path / "checklist.md").write_text("# Launch\n\n## Staying checks\n\n- [ ] It stays\n")
    more = f"checklist: checklist.md\nconcurrency: 100\nstate: {{file: history.db}}\nsections:\n  {PLUGIN}:\n"
    with Attacked(tmp_path, f"{more}    every: 30s\n    targets:{targets}\n", plugin=STAYS) as exporter:
        wait_until(lambda: "checklist_item_ok" in exporter.get("/metrics"), what="it is shown", deadline=120)
        for _ in range(3):
            os.kill(exporter.pid, signal.SIGHUP)
        time.sleep(1)  # in the midst of it
        started = time.monotonic()
        os.kill(exporter.pid, signal.SIGTERM)
        assert exporter._process is not None
        assert exporter._process.wait(15) == 0
        assert time.monotonic() - started < 5.5


def test_a_run_that_ignores_cancellation_leaves_one_task_however_often_it_is_due(tmp_path: Path) -> None:
    counted = tmp_path / "counted"
    body = f"""
        with open({str(counted)!r}, "a") as file:
            file.write("x")
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                pass"""
    with _attacked(tmp_path, {"endless": body, "good": "return ok('Observed.')"}, every="500ms") as exporter:
        wait_until(
            lambda: "its earlier run was cancelled and has not stopped" in exporter.item(PLUGIN, "endless")["summary"],
            what="the run is known not to end",
            deadline=60,
        )
        runs = exporter.metric(f'checklist_item_runs_total{{item="endless",section="{PLUGIN}"}}') or 0
        wait_until(
            lambda: (
                (exporter.metric(f'checklist_item_runs_total{{item="endless",section="{PLUGIN}"}}') or 0) > runs + 2
            ),
            what="it is due again",
        )
        assert counted.read_text() == "x"
