"""The history's file under attack: locked, deleted, foreign, shared, and a process that is killed at any moment."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.attacks.running import PLUGIN, Attacked
from tests.servers.process import wait_until

FLAPPING = '''"""Flapping checks"""
import time
from exporter.collector import Collector, NoTarget, SectionSettings, item
from exporter.verdict import CRITICAL, Result, failed, ok


class Flapping(Collector[SectionSettings, NoTarget]):
    """Flapping."""

    @item("It flaps", severity=CRITICAL)
    async def flaps(self) -> Result:
        """It changes with every look."""
        now = time.time()
        return ok(f"Looked at {now}.", now_seconds=now) if int(now * 4) % 2 else failed(f"Looked at {now}.")

    @item("It stays", severity=CRITICAL)
    async def stays(self) -> Result:
        """It is always true."""
        return ok("As ever.")
'''
OK = "checklist_exporter_history_ok"


def _attacked(folder: Path, name: str = "exporter", **options: str) -> Attacked:
    (folder / "checklist.md").write_text("# Launch\n\n## Flapping checks\n\n- [ ] It flaps\n- [ ] It stays\n")
    section = f"{PLUGIN}: {{every: 200ms, stale_after: 1m}}"
    configuration = f"checklist: checklist.md\nstate: {{file: history.db}}\nsections: {{{section}}}\n"
    return Attacked(folder, configuration, plugin=FLAPPING, name=name, **options)  # type: ignore[arg-type]


def _verifying(exporter: Attacked) -> bool:
    """Whether a line is looked at now, and is true."""
    found = exporter.item(PLUGIN, "stays")
    return found["status"] == "ok" and exporter.ok(PLUGIN, "stays") == 1


def test_a_locked_history_stops_neither_verification_nor_metrics(tmp_path: Path) -> None:
    with _attacked(tmp_path) as exporter:
        wait_until(lambda: _verifying(exporter), what="it verifies")
        with closing(sqlite3.connect(tmp_path / "history.db", isolation_level=None)) as other:
            other.execute("begin immediate")
            wait_until(lambda: exporter.metric(OK) == 0, what="the lock is told")
            runs = 'checklist_item_runs_total{item="stays",section="hostile_checks"}'
            before, until = exporter.metric(runs) or 0, time.monotonic() + 12
            while time.monotonic() < until:
                assert _verifying(exporter)
                assert "Everything" in exporter.get("/-/healthy") or exporter.get("/-/healthy")
                time.sleep(0.5)
            assert (exporter.metric(runs) or 0) > before + 20
            other.execute("rollback")
        wait_until(lambda: exporter.metric(OK) == 1, what="it is written again")


def test_a_deleted_history_is_told_and_written_anew(tmp_path: Path) -> None:
    with _attacked(tmp_path) as exporter:
        wait_until(lambda: _verifying(exporter), what="it verifies")
        for file in tmp_path.glob("history.db*"):
            file.unlink()
        wait_until(lambda: exporter.metric(OK) == 0, what="it is told")
        assert "was deleted or replaced" in exporter.logged()
        time.sleep(2.5)
        exporter.kill()
        exporter.start()
        assert exporter.item(PLUGIN, "stays")["status"] == "ok"


def test_a_foreign_database_is_not_written(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "history.db")) as database:
        database.execute("create table users (name)")
        database.commit()
    content = (tmp_path / "history.db").read_bytes()
    with _attacked(tmp_path) as exporter:
        wait_until(lambda: exporter.metric(OK) == 0 and _verifying(exporter), what="it verifies and tells")
        assert "a database of another program" in exporter.logged()
    assert (tmp_path / "history.db").read_bytes() == content


@pytest.mark.parametrize("value", ["'2026-01-01T00:00:00'", "x'00ff'", "'9999-12-31T23:59:59.999999+00:00'"])
def test_a_row_that_makes_no_sense_costs_that_row(tmp_path: Path, value: str) -> None:
    with _attacked(tmp_path) as exporter:
        wait_until(lambda: _verifying(exporter), what="it verifies")
        exporter.stop()
        with closing(sqlite3.connect(tmp_path / "history.db", isolation_level=None)) as database:
            database.execute(f"update observations set at = {value} where item = 'flaps'")
            database.execute(f"update transitions set at = {value} where id = 1")
        exporter.start()
        assert exporter.item(PLUGIN, "stays")["last_ok"] is not None
        wait_until(lambda: exporter.metric(OK) == 0 and _verifying(exporter), what="it verifies and tells")
        assert exporter.get("/api/v1/transitions").count('"section"') >= 1


def test_a_second_exporter_is_told_to_stop(tmp_path: Path) -> None:
    with _attacked(tmp_path) as exporter:
        wait_until(lambda: _verifying(exporter), what="it verifies")
        second = _attacked(tmp_path, name="second")
        done = subprocess.run(
            second.argv, cwd=tmp_path, env=second._env, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 3
        assert f"process {exporter.pid}" in done.stderr
        assert "state.file" in done.stderr
        assert _verifying(exporter)


def _killed_and_compared(exporter: Attacked, after: float) -> None:
    """Kill the exporter some time after its start; what it had shown for more than a second is known to the next one."""
    time.sleep(after)
    shown = exporter.get("/api/v1/transitions?limit=1000")
    last_ok = exporter.metric('checklist_item_last_ok_timestamp_seconds{item="stays",section="hostile_checks"}') or 0
    time.sleep(1 + random.random() / 2)
    exporter.kill()
    exporter.start()
    again = exporter.get("/api/v1/transitions?limit=1000")
    moments = [part.split('"')[0] for part in shown.split('"at":"')[1:]] or [
        part.split('"')[0] for part in shown.split('"at": "')[1:]
    ]
    assert all(moment in again for moment in moments[:500])
    found = exporter.metric('checklist_item_last_ok_timestamp_seconds{item="stays",section="hostile_checks"}') or 0
    assert found >= last_ok - 0.001


def test_sigkill_loses_nothing_that_was_shown_for_a_second(tmp_path: Path) -> None:
    with _attacked(tmp_path) as exporter:
        wait_until(lambda: _verifying(exporter), what="it verifies")
        for after in (0.1, 0.7, 1.9):
            _killed_and_compared(exporter, after)


@pytest.mark.soak
def test_fifty_sigkills_lose_nothing(tmp_path: Path) -> None:
    with _attacked(tmp_path) as exporter:
        wait_until(lambda: _verifying(exporter), what="it verifies")
        for _ in range(50):
            _killed_and_compared(exporter, random.uniform(0, 3))
        assert exporter.metric(OK) == 1


def test_sigterm_writes_what_is_left(tmp_path: Path) -> None:
    with _attacked(tmp_path) as exporter:
        wait_until(lambda: _verifying(exporter), what="it verifies")
        shown = exporter.get("/api/v1/transitions?limit=1000")
        exporter.stop()
        exporter.start()
        newest = shown.split('"at"')[1][:40].split('"')[1]
        assert newest in exporter.get("/api/v1/transitions?limit=1000")


def test_a_history_that_is_cut_off_is_set_aside_and_written_anew(tmp_path: Path) -> None:
    with _attacked(tmp_path) as exporter:
        wait_until(lambda: _verifying(exporter), what="it verifies")
        time.sleep(1.5)  # what was shown for a second is on disk
        os.truncate(tmp_path / "history.db", 0)
        wait_until(lambda: exporter.metric(OK) == 0, what="it is told")
        assert "was cut off" in exporter.logged()
        time.sleep(2.5)
        exporter.kill()
        exporter.start()
        assert exporter.item(PLUGIN, "stays")["status"] == "ok"
    assert list(tmp_path.glob("history.db.corrupt-*"))


def test_a_lock_that_leads_elsewhere_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "history.db.lock").symlink_to("precious")
    with _attacked(tmp_path) as exporter:
        wait_until(lambda: exporter.metric(OK) == 0 and _verifying(exporter), what="it verifies and tells")
        assert "is not a regular file" in exporter.get("/-/healthy")
    assert (tmp_path / "precious").read_text() == "precious"


def test_a_full_disk_stops_neither_verification_nor_metrics(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=9m", "tmpfs", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        with _attacked(disk) as exporter:
            wait_until(lambda: _verifying(exporter), what="it verifies")
            filling = os.open(disk / "filling", os.O_CREAT | os.O_WRONLY)
            with suppress(OSError):
                while True:
                    os.write(filling, bytes(4096))
            os.close(filling)
            wait_until(lambda: exporter.metric(OK) == 0, what="the full disk is told", deadline=60)
            assert _verifying(exporter)
            assert "full" in exporter.get("/-/healthy")
            (disk / "filling").unlink()
            wait_until(lambda: exporter.metric(OK) == 1, what="it is written again", deadline=60)
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)
