"""Signals at the worst moments: none is lost, none ends what should go on, and many cost little."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from pathlib import Path

from tests.attacks.running import PLUGIN, Attacked
from tests.attacks.test_files import STAYS
from tests.servers.process import popen, wait_until

WAITS = """import pathlib, time
folder = pathlib.Path({folder!r})
(folder / "begun").touch()
while not (folder / "go").exists():
    time.sleep(0.05)
"""


def _configuration(targets: str) -> str:
    section = f"{PLUGIN}: {{every: 2s, targets: [{targets}]}}"
    return f"checklist: checklist.md\nstate: {{file: history.db}}\nsections: {{{section}}}\n"


def _attacked(folder: Path, plugin: str = STAYS) -> Attacked:
    (folder / "checklist.md").write_text("# Launch\n\n## Staying checks\n\n- [ ] It stays\n")
    return Attacked(folder, _configuration("{name: a}"), plugin=plugin)


def test_sighup_ends_no_exporter_that_is_starting(tmp_path: Path) -> None:
    head, body = STAYS.split("import os, pathlib\n")
    exporter = _attacked(tmp_path, f"{head}{WAITS.format(folder=str(tmp_path))}{body}")
    with popen(exporter.argv, env=exporter._env, cwd=tmp_path, stderr=subprocess.PIPE) as process:
        wait_until((tmp_path / "begun").exists, what="it reads its configuration", deadline=60)
        exporter.config.write_text(_configuration("{name: a}, {name: b}"))
        for _ in range(20):
            process.send_signal(signal.SIGHUP)
            time.sleep(0.01)
        (tmp_path / "go").touch()
        wait_until(lambda: "ready" in exporter.get("/-/ready"), what="it is ready", deadline=60)
        wait_until(
            lambda: len(exporter.item(PLUGIN, "stays")["targets"]) == 2, what="it has read it again", deadline=60
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0


def test_many_sighups_are_few_reloads(tmp_path: Path) -> None:
    with _attacked(tmp_path) as exporter:
        wait_until(lambda: exporter.ok(PLUGIN, "stays") == 1, what="it verifies", deadline=60)
        for _ in range(300):
            os.kill(exporter.pid, signal.SIGHUP)
            time.sleep(0.002)
        exporter.config.write_text(_configuration("{name: a}, {name: last}"))
        os.kill(exporter.pid, signal.SIGHUP)
        wait_until(lambda: len(exporter.item(PLUGIN, "stays")["targets"]) == 2, what="the last one counts", deadline=60)
        assert exporter.ok(PLUGIN, "stays") == 1
        assert exporter.logged().count("The configuration was reloaded.") < 150


def test_sigterm_ends_an_exporter_that_waits_for_the_history_of_another(tmp_path: Path) -> None:
    exporter = _attacked(tmp_path)
    with (tmp_path / "history.db.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with popen(exporter.argv, env=exporter._env, cwd=tmp_path, stderr=subprocess.PIPE) as process:
            assert process.stderr is not None
            while b"Listening:" not in (line := process.stderr.readline()):
                assert line, "it ended"
            started = time.monotonic()
            process.send_signal(signal.SIGTERM)
            # By a handler: the kernel withholds from a container's first process what it does not handle.
            assert process.wait(15) == 128 + signal.SIGTERM
            assert time.monotonic() - started < 5


def test_what_is_stopped_and_continued_verifies_again(tmp_path: Path) -> None:
    with _attacked(tmp_path) as exporter:
        wait_until(lambda: exporter.ok(PLUGIN, "stays") == 1, what="it verifies", deadline=60)
        runs = f'checklist_item_runs_total{{item="stays",section="{PLUGIN}"}}'
        os.kill(exporter.pid, signal.SIGSTOP)
        time.sleep(7)  # longer than `stale_after`
        before = time.time()
        os.kill(exporter.pid, signal.SIGCONT)
        seen = exporter.item(PLUGIN, "stays")
        assert seen["status"] == "unknown" or seen["last_run"] > time.strftime(
            "%Y-%m-%dT%H:%M:%S", time.gmtime(before - 1)
        )
        known = exporter.metric(runs) or 0
        wait_until(lambda: (exporter.metric(runs) or 0) > known and exporter.ok(PLUGIN, "stays") == 1, what="it runs")
        assert exporter.get("/-/healthy")
