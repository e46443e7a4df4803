"""History: what outlives the process, and what a bad disk does."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from exporter.history import History
from exporter.state import Observation, Remembered, Transition
from exporter.verdict import Result, Status
from tests.servers.process import eventually, wait_until

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def transition(item: str = "a", at: datetime = NOW, why: str = "Seen.") -> Transition:
    return Transition("section", item, Status.OK, Status.FAILED, at, why)


def remembered(summary: str = "Seen.", at: datetime = NOW) -> Remembered:
    result = Result(Status.OK, summary, {"free_bytes": 1.5}, at + timedelta(days=1))
    return Remembered(Status.OK, at, at, {"orders": Observation(result, at, 0.25, error=True)})


def make(path: Path | None) -> History:
    return History(path, keep=timedelta(days=90), now=lambda: NOW)


async def test_what_was_written_is_read_back_whole(tmp_path: Path) -> None:
    history = make(tmp_path / "deep" / "history.db")
    assert history.load() == {}
    await history.write([transition(), transition("b")], [("section", "a", remembered())])
    await history.close()
    again = make(tmp_path / "deep" / "history.db")
    assert again.load() == {("section", "a"): remembered()}
    assert await again.transitions() == [transition("b"), transition()]
    assert await again.transitions(section="section", item="a") == [transition()]
    assert await again.transitions(section="other") == []
    assert await again.transitions(limit=1) == [transition("b")]
    await again.close()


async def test_without_a_file_history_lives_in_memory() -> None:
    history = make(None)
    await history.write([transition()], [])
    await history.write([], [])
    assert (await history.transitions(), history.trouble) == ([transition()], None)
    await history.close()


async def test_old_transitions_and_items_are_forgotten(tmp_path: Path) -> None:
    history = make(tmp_path / "history.db")
    old = NOW - timedelta(days=91)
    await history.write([transition("old", old), transition()], [("section", "old", remembered(at=old))])
    assert await history.transitions() == [transition()]
    await history.write([transition("old", old)], [])
    assert len(await history.transitions()) == 2  # pruned once an hour, not with every write
    await history.close()
    assert make(tmp_path / "history.db").load() == {}


@pytest.mark.parametrize("content", [b"this is no database" * 100, b"\0" * 8192, b"SQLite format 3\0" + b"\xff" * 9000])
async def test_a_damaged_file_is_set_aside_and_said(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "history.db"
    path.write_bytes(content)
    history = make(path)
    assert history.load() == {}
    await history.write([transition()], [])
    assert await history.transitions() == [transition()]
    await history.close()
    aside = list(tmp_path.glob("history.db.corrupt-*"))
    assert [file.read_bytes() for file in aside] == [content]
    assert "was set aside as history.db.corrupt-20261124T120000" in caplog.text


@pytest.mark.parametrize(
    "damage",
    ["items set status = 'perfect'", "observations set at = 'then'", "observations set measurements = '{'"],
)
async def test_a_sound_database_with_senseless_content_is_set_aside(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "history.db"
    history = make(path)
    await history.write([transition()], [("section", "a", remembered())])
    await history.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute(f"update {damage}")
    history = make(path)
    assert history.load() == {}
    await history.write([transition("b")], [])
    assert await history.transitions() == [transition("b")]
    await history.close()
    assert "was set aside as history.db.corrupt-20261124T120000" in caplog.text


async def test_a_transition_that_makes_no_sense_is_trouble_and_no_end(tmp_path: Path) -> None:
    history = make(tmp_path / "history.db")
    await history.write([transition()], [])
    assert history._database is not None
    history._database.execute("update transitions set at = 'then'")
    assert await history.transitions() == []
    assert history.trouble is not None
    assert "cannot be read" in history.trouble
    await history.close()


async def test_what_a_slow_disk_wrote_late_is_not_written_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = make(tmp_path / "history.db")
    history.load()
    release = threading.Event()
    save = history._save

    def slow(*what: Any) -> None:
        save(*what)
        release.wait(30)

    with monkeypatch.context() as patch:
        patch.setattr("exporter.history._PATIENCE_SECONDS", 0.1)
        patch.setattr(history, "_save", slow)
        await history.write([transition()], [("section", "a", remembered())])
        assert history.trouble is not None
        release.set()
    await eventually(lambda: not history._threads.busy, what="the disk answers")
    await history.write([transition("b")], [])
    assert await history.transitions() == [transition("b"), transition()]
    await history.close()
    assert make(tmp_path / "history.db").load() == {("section", "a"): remembered()}


async def test_a_disk_that_hangs_does_not_hold_up_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = make(tmp_path / "history.db")
    history.load()
    release, entered = threading.Event(), threading.Event()
    assert history._database is not None

    def hang() -> int:  # called by SQLite, which holds on to the connection meanwhile, as it does in a write
        entered.set()
        return int(not release.wait(30))

    history._database.create_function("hang", 0, hang)
    monkeypatch.setattr("exporter.history._PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(history, "_save", lambda *_: history._connect().execute("select hang()").fetchone())
    await history.write([transition()], [])
    await eventually(entered.is_set, what="the disk is asked")
    await asyncio.wait_for(history.close(), 10)
    assert not release.is_set()
    release.set()
    await eventually(lambda: not history._threads.busy, what="the disk answers")
    history._close()


async def test_damage_found_while_writing_is_set_aside_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    history = make(path)
    history.load()
    assert history._database is not None
    history._database.execute("pragma wal_checkpoint(truncate)")
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 20_000)
    history._database.execute("pragma shrink_memory")
    await history.write([transition()], [("section", "a", remembered())])
    assert history.trouble is not None
    await history.write([], [])
    assert history.trouble is None
    assert await history.transitions() == [transition()]
    await history.close()
    assert list(tmp_path.glob("history.db.corrupt-*"))


async def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    with sqlite3.connect(path) as database:
        database.execute("pragma user_version = 99")
    database.close()
    history = make(path)
    assert history.load() == {}
    assert history.trouble is not None
    assert "was written by a newer version (format 99, known 1)" in history.trouble
    await history.write([transition()], [])
    assert "was written by a newer version" in history.trouble
    await history.close()
    assert [file.name for file in tmp_path.iterdir()] == ["history.db"]


async def test_a_locked_file_is_trouble_that_ends(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    path = tmp_path / "history.db"
    history = make(path)
    history.load()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("begin exclusive")
    await history.write([transition()], [("section", "a", remembered())])
    assert history.trouble is not None
    assert "database is locked" in history.trouble
    assert transition() in await history.transitions()
    other.execute("rollback")
    other.close()
    await history.write([transition("b")], [])
    assert history.trouble is None
    assert "can be used again" in caplog.text
    assert await history.transitions() == [transition("b"), transition()]
    await history.close()
    assert make(path).load() == {("section", "a"): remembered()}


async def test_a_file_that_is_read_only_is_trouble_that_ends(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    history = make(path)
    await history.write([transition()], [])
    await history.close()
    history = make(path)
    history._database = sqlite3.connect(  # as SQLite opens a file that it must not write, which root always may
        f"file:{path}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
    )
    await history.write([transition("b")], [("section", "a", remembered())])
    assert history.trouble is not None
    assert "readonly" in history.trouble
    assert await history.transitions() == [transition("b"), transition()]
    await history.write([], [])
    assert history.trouble is None
    await history.close()
    assert make(path).load() == {("section", "a"): remembered()}


async def test_a_folder_that_cannot_be_written_is_trouble_not_an_end(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    history = make(tmp_path / "file" / "history.db")
    assert history.load() == {}
    await history.write([transition()], [])
    assert history.trouble is not None
    assert await history.transitions() == [transition()]
    await history.close()


async def test_a_full_disk_is_trouble_that_ends(tmp_path: Path) -> None:
    history = make(tmp_path / "history.db")
    history.load()
    assert history._database is not None
    pages = history._database.execute("pragma page_count").fetchone()[0]
    history._database.execute(f"pragma max_page_count = {pages}")
    big = [transition(why="x" * 900) for _ in range(100)]
    await history.write(big, [])
    assert history.trouble is not None
    assert "full" in history.trouble
    history._database.execute("pragma max_page_count = 100000")
    await history.write([], [])
    assert len(await history.transitions()) == 100
    assert not history.trouble
    await history.close()


async def test_a_disk_that_hangs_does_not_hold_up_verification(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporter.history._PATIENCE_SECONDS", 0.1)
    history = make(tmp_path / "history.db")
    history.load()
    release = threading.Event()
    monkeypatch.setattr(history, "_save", lambda *_: release.wait(30))
    await history.write([transition()], [])
    assert history.trouble is not None
    await history.write([transition("b")], [])
    assert "have not returned" in history.trouble
    assert await history.transitions() == [transition("b"), transition()]
    release.set()
    monkeypatch.undo()
    await _until_saved(history)
    await history.close()


async def _until_saved(history: History) -> None:
    async with asyncio.timeout(10):
        while history.trouble is not None:
            await history.write([], [])
            await asyncio.sleep(0.01)


async def test_what_cannot_be_written_is_kept_within_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporter.history._PENDING_LIMIT", 10)
    (tmp_path / "file").write_text("in the way")
    history = make(tmp_path / "file" / "history.db")
    for number in range(30):
        await history.write([transition(f"i{number}")], [])
    assert [kept.item for kept in await history.transitions()] == [f"i{number}" for number in range(29, 19, -1)]


WRITER = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from exporter.history import History
from tests.exporter.test_history import transition

async def main():
    history = History(Path(sys.argv[1]), now=lambda: datetime.now(UTC))
    history.load()
    for number in range(100_000):
        await history.write([transition(f"i{number}", datetime.now(UTC))], [])
        print(number, flush=True)

asyncio.run(main())
"""


async def test_sigkill_loses_no_transition_that_was_shown(tmp_path: Path) -> None:
    path, shown = tmp_path / "history.db", tmp_path / "shown"
    with shown.open("w") as output:
        process = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=output, env={**os.environ})
        try:
            wait_until(lambda: len(shown.read_text().splitlines()) > 200, what="200 transitions are shown")
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    last = int(shown.read_text().rpartition("\n")[0].splitlines()[-1])
    history = History(path, now=lambda: datetime.now(UTC))
    kept = {kept.item for kept in await history.transitions(limit=1_000_000)}
    assert {f"i{number}" for number in range(last + 1)} <= kept
    await history.close()
