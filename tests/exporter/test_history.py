"""History: what outlives the process, and what a bad disk does."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from exporter.database import APPLICATION_ID, Database, Lock
from exporter.history import History
from exporter.observations import Observation, Remembered, Transition
from exporter.storage import InUse
from exporter.verdict import Reason, Result, Status
from tests.servers.process import eventually, wait_until

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
KEY = ("section", "a")


def transition(item: str = "a", at: datetime = NOW, why: str = "Seen.") -> Transition:
    return Transition("section", item, Status.OK, Status.FAILED, at, why)


def remembered(summary: str = "Seen.", at: datetime = NOW, target: str = "orders") -> Remembered:
    result = Result(Status.UNKNOWN, summary, {"free_bytes": 1.5}, at + timedelta(days=1), reason=Reason.DENIED)
    return Remembered(Status.OK, at, at, {target: Observation(result, at, 0.25, error=True)})


def make(path: Path | None, now: Callable[[], datetime] = lambda: NOW) -> History:
    return History(Database(path, now=now) if path else None, now=now)


async def written(history: History) -> None:
    await eventually(lambda: not history._pending(), what="all is written")


def altered(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        for statement in statements:
            database.execute(statement)


async def test_what_was_written_is_read_back_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "history.db"
    history = make(path)
    assert history.load() == {}
    history.keep([transition(), transition("b")], {KEY: remembered()})
    await history.close()
    again = make(path)
    assert again.load() == {KEY: remembered()}
    assert again.load()[KEY].observations["orders"].result.reason is Reason.DENIED
    assert await again.transitions() == [transition("b"), transition()]
    assert await again.transitions(section="section", item="a") == [transition()]
    assert await again.transitions(section="other") == []
    assert await again.transitions(limit=1) == [transition("b")]
    assert again.trouble is None
    await again.close()


async def test_a_target_has_a_row_that_only_news_of_it_writes(tmp_path: Path) -> None:
    history = make(tmp_path / "history.db")
    history.keep([], {KEY: remembered(target="a")})
    await written(history)
    history.keep([], {KEY: remembered("Later.", target="b")})
    await history.close()
    again = make(tmp_path / "history.db")
    assert {name: seen.result.summary for name, seen in again.load()[KEY].observations.items()} == {
        "a": "Seen.",
        "b": "Later.",
    }
    await again.close()


async def test_handing_over_takes_no_time_and_is_written_within_a_second(tmp_path: Path) -> None:
    history = make(tmp_path / "history.db")
    history.load()
    started = time.perf_counter()
    for number in range(1000):
        history.keep([transition(f"i{number}")], {("section", f"i{number}"): remembered()})
    assert time.perf_counter() - started < 10  # 1,000 writes to a disk take longer
    assert len(await history.transitions(limit=10_000)) == 1000
    assert await history.flush(10)
    await history.close()


async def test_a_backup_by_sqlite_has_everything_while_the_exporter_runs(tmp_path: Path) -> None:
    history = make(tmp_path / "history.db")
    history.load()
    history.keep([transition()], {KEY: remembered()})
    assert await history.flush(10)
    copied = tmp_path / "copy.db"
    with closing(sqlite3.connect(tmp_path / "history.db")) as source, closing(sqlite3.connect(copied)) as backup:
        source.backup(backup)
    await history.close()

    restored = make(copied)
    assert restored.load() == {KEY: remembered()}
    assert await restored.transitions() == [transition()]
    await restored.close()


async def test_without_a_file_history_lives_in_memory() -> None:
    history = make(None)
    assert history.load() == {}
    history.keep([transition()], {})
    assert (await history.transitions(), history.trouble, history.lasts) == ([transition()], None, False)
    await history.close()


async def test_old_transitions_and_items_are_forgotten(tmp_path: Path) -> None:
    history = make(tmp_path / "history.db")
    old = NOW - timedelta(days=91)
    history.keep([transition("old", old), transition()], {("section", "old"): remembered(at=old)})
    await written(history)
    assert await history.transitions() == [transition()]
    await history.close()
    again = make(tmp_path / "history.db")
    assert again.load() == {}
    await again.close()


@pytest.mark.parametrize("content", [b"this is no database" * 100, b"\0" * 8192, b"SQLite format 3\0" + b"\xff" * 9000])
async def test_a_damaged_file_is_set_aside_and_said(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "history.db"
    path.write_bytes(content)
    history = make(path)
    assert history.load() == {}
    history.keep([transition()], {})
    await written(history)
    assert await history.transitions() == [transition()]
    assert "was set aside as history.db.corrupt-20261124T120000" in str(history.trouble)
    await history.close()
    aside = list(tmp_path.glob("history.db.corrupt-*"))
    assert [file.read_bytes() for file in aside] == [content]
    assert "was set aside as history.db.corrupt-20261124T120000" in caplog.text


async def test_what_is_later_than_a_clock_that_is_behind_is_not_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    history = make(path)
    history.keep([], {KEY: remembered()})
    await history.close()
    history = make(path, lambda: datetime(1980, 1, 1, tzinfo=UTC))
    assert history.load()[KEY] == remembered()
    assert history.trouble is None
    await history.close()


@pytest.mark.parametrize(
    "damage",
    [
        "items set status = 'perfect'",
        "items set since = '2026-01-01T00:00:00'",
        "items set since = x'00ff'",
        "items set last_ok = '9999-12-31T23:59:59+00:00'",
        "observations set at = 'then'",
        "observations set at = '2026-01-01T00:00:00'",
        "observations set at = '9999-12-31T23:59:59+00:00'",
        "observations set valid_until = '2026-01-01'",
        "observations set measurements = '{'",
        "observations set measurements = '[1]'",
        "observations set measurements = '{\"a\": NaN}'",
        "observations set summary = x'ff'",
        "observations set duration = 'long'",
        "observations set reason = 'because'",
        "observations set status = 'waived'",
        "observations set target = x'ff'",
    ],
)
async def test_a_row_that_makes_no_sense_is_set_aside_alone(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "history.db"
    history = make(path)
    history.keep([transition()], {KEY: remembered(), ("section", "b"): remembered()})
    await history.close()
    altered(path, f"update {damage} where item = 'a'")
    history = make(path)
    found = history.load()
    assert found["section", "b"] == remembered()
    assert KEY not in found or not found[KEY].observations
    assert "1 row of history file" in str(history.trouble)
    assert await history.transitions() == [transition()]
    await history.close()
    with closing(sqlite3.connect(path)) as database:
        assert len(database.execute("select * from set_aside").fetchall()) == 1
    again = make(path)
    again.load()
    assert again.trouble is None
    await again.close()


@pytest.mark.parametrize("value", ["'then'", "'2026-01-01T00:00:00'", "x'00ff'"])
async def test_a_transition_that_makes_no_sense_hides_no_other(tmp_path: Path, value: str) -> None:
    path = tmp_path / "history.db"
    history = make(path)
    history.keep([transition("a"), transition("b"), transition("c")], {})
    await written(history)
    altered(path, f"update transitions set at = {value} where item = 'b'")
    assert await history.transitions() == [transition("c"), transition("a")]
    history.keep([transition("d")], {})
    await written(history)
    await eventually(lambda: "transitions 2" in str(history.trouble), what="it is set aside")
    assert await history.transitions() == [transition("d"), transition("c"), transition("a")]
    await history.close()


async def test_damage_found_while_writing_is_set_aside_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    history = make(path)
    history.load()
    history.keep([transition("early")], {})
    await written(history)
    connection = history._database._connection  # type: ignore[union-attr]
    assert connection is not None
    connection.execute("pragma wal_checkpoint(truncate)")
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 20_000)
    connection.execute("pragma shrink_memory")
    history.keep([transition()], {KEY: remembered()})
    await written(history)
    assert transition() in await history.transitions()
    assert history.incomplete
    await history.close()
    assert list(tmp_path.glob("history.db.corrupt-*"))


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (("pragma application_id = 7", "create table a (b)"), "it belongs to another program (application id 0x7)"),
        (("create table users (name)",), "it is a database of another program"),
        (("pragma user_version = 4", "create table users (name)"), "it was written by a newer version (format 4"),
        (("pragma user_version = 1", "create table users (name)"), "it is a database of another program"),
        (("pragma user_version = 99",), "it was written by a newer version (format 99, known 3)"),
    ],
)
async def test_a_file_that_is_not_ours_is_left_alone(tmp_path: Path, made: tuple[str, ...], why: str) -> None:
    path = tmp_path / "history.db"
    altered(path, *made)
    content = path.read_bytes()
    history = make(path)
    assert history.load() == {}
    assert why in str(history.trouble)
    history.keep([transition()], {KEY: remembered()})
    await asyncio.sleep(0.3)
    assert why in str(history.trouble)
    assert await history.transitions() == [transition()]
    await history.close()
    assert path.read_bytes() == content
    assert {file.name for file in tmp_path.iterdir()} <= {"history.db", "history.db.lock"}


@pytest.mark.parametrize("make_it", [Path.mkdir, os.mkfifo])
async def test_what_is_no_file_is_trouble_and_no_end(tmp_path: Path, make_it: Callable[[Path], None]) -> None:
    path = tmp_path / "history.db"
    make_it(path)
    history = make(path)
    assert history.load() == {}
    history.keep([transition()], {})
    assert await history.transitions() == [transition()]
    assert "it is not a regular file" in str(history.trouble)
    await history.close()


async def test_a_file_of_the_first_format_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    history = make(path)
    history.keep([transition()], {KEY: remembered()})
    await history.close()
    altered(
        path,
        "alter table observations drop column fingerprint",
        "alter table observations drop column reason",
        "drop table set_aside",
        "pragma application_id = 0",
        "pragma user_version = 1",
    )
    history = make(path)
    found = history.load()[KEY].observations["orders"].result
    assert (found.summary, found.reason) == ("Seen.", Reason.UNOBSERVED)
    assert history.trouble is None
    await history.close()
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("pragma application_id").fetchone() == (APPLICATION_ID,)


async def test_a_locked_file_is_trouble_that_ends_and_holds_up_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    path = tmp_path / "history.db"
    history = make(path)
    history.load()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("begin immediate")
    started = time.perf_counter()
    history.keep([transition()], {KEY: remembered()})
    assert await history.transitions() == [transition()]
    assert time.perf_counter() - started < 0.5
    await eventually(lambda: "database is locked" in str(history.trouble), what="the lock is told")
    history.keep([transition("b")], {KEY: remembered("Later.")})
    other.execute("rollback")
    other.close()
    await eventually(lambda: history.trouble is None, what="it is written again")
    assert "can be used again" in caplog.text
    assert await history.transitions() == [transition("b"), transition()]
    await history.close()
    again = make(path)
    assert again.load() == {KEY: remembered("Later.")}
    await again.close()


async def test_a_file_that_was_locked_at_the_start_keeps_when_a_line_was_last_ok(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    history = make(path)
    history.keep([], {KEY: remembered()})
    await history.close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("pragma locking_mode = exclusive")
    other.execute("begin exclusive")
    history = make(path)
    assert history.load() == {}
    history.keep([], {KEY: Remembered(Status.FAILED, NOW, None, {})})
    other.execute("rollback")
    other.close()
    await eventually(lambda: not history._pending(), what="it is written")
    await history.close()
    again = make(path)
    assert (again.load()[KEY].status, again.load()[KEY].last_ok) == (Status.FAILED, NOW)
    await again.close()


async def test_a_deleted_file_is_told_and_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    history = make(path)
    history.load()
    history.keep([transition()], {KEY: remembered()})
    await written(history)
    for file in tmp_path.glob("history.db*"):
        file.unlink()
    await eventually(lambda: "was deleted or replaced" in str(history.trouble), what="it is noticed")
    await eventually(lambda: history.incomplete, what="the archive asks for everything")
    history.keep([transition("b")], {KEY: remembered("Again.")})
    await written(history)
    assert await history.transitions() == [transition("b")]
    await history.close()
    again = make(path)
    assert again.load() == {KEY: remembered("Again.")}
    await again.close()


async def test_a_file_that_another_program_put_there_meanwhile_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    history = make(path)
    history.load()
    altered(tmp_path / "other.db", "create table users (name)")
    (tmp_path / "other.db").rename(path)
    await eventually(lambda: "a database of another program" in str(history.trouble), what="it is noticed")
    history.keep([transition()], {})
    assert await history.transitions() == [transition()]
    await history.close()
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("select name from sqlite_master").fetchall() == [("users",)]


async def test_a_second_exporter_is_refused_with_the_first_ones_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter.history.LOCK_SECONDS", 0.2)
    path = tmp_path / "history.db"
    history = make(path)
    history.load()
    second = make(path)
    with pytest.raises(InUse, match=f"in use by another exporter .*process {os.getpid()}"):
        second.load()
    await second.close()
    await history.close()
    third = make(path)
    assert third.load() == {}
    await third.close()


async def test_a_lock_that_was_deleted_is_taken_again_or_lost(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    history = make(path)
    history.load()
    lock = tmp_path / "history.db.lock"
    lock.unlink()
    await eventually(lock.exists, what="the lock is taken again")
    lock.unlink()
    other = Lock(path)
    other.take()
    await eventually(lambda: "in use by another exporter" in str(history.trouble), what="the loss is told")
    other.release()
    await eventually(lambda: history.trouble is None, what="it is taken again")
    await history.close()


async def test_a_folder_that_cannot_be_written_is_trouble_not_an_end(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    history = make(tmp_path / "file" / "history.db")
    assert history.load() == {}
    history.keep([transition()], {})
    assert history.trouble is not None
    assert await history.transitions() == [transition()]
    await history.close()


async def test_a_full_disk_is_trouble_that_ends(tmp_path: Path) -> None:
    history = make(tmp_path / "history.db")
    history.load()
    connection = history._database._connection  # type: ignore[union-attr]
    assert connection is not None
    pages = connection.execute("pragma page_count").fetchone()[0]
    connection.execute(f"pragma max_page_count = {pages}")
    history.keep([transition(f"i{number}", why="x" * 900) for number in range(100)], {})
    await eventually(lambda: "full" in str(history.trouble), what="the full disk is told")
    connection.execute("pragma max_page_count = 100000")
    await written(history)
    assert len(await history.transitions()) == 100
    assert not history.trouble
    await history.close()


async def test_a_disk_that_hangs_holds_up_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporter.history.PATIENCE_SECONDS", 0.2)
    history = make(tmp_path / "history.db")
    history.load()
    database = history._database
    assert database is not None
    release, entered, save = threading.Event(), threading.Event(), database.save

    def hang(*what: Any) -> None:
        entered.set()
        release.wait(30)
        save(*what)

    monkeypatch.setattr(database, "save", hang)
    history.keep([transition()], {KEY: remembered()})
    await eventually(entered.is_set, what="the disk is asked")
    await eventually(lambda: "has not answered" in str(history.trouble), what="it is told")
    history.keep([transition("b")], {})
    assert await history.transitions() == [transition("b"), transition()]
    await asyncio.wait_for(history.close(0.2), 5)
    release.set()
    writer = history._writer
    assert writer is not None
    await eventually(lambda: not writer.is_alive(), what="the disk answers")


async def test_what_cannot_be_written_is_kept_within_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporter.history.PENDING_LIMIT", 10)
    (tmp_path / "file").write_text("in the way")
    history = make(tmp_path / "file" / "history.db")
    history.load()
    for number in range(30):
        history.keep([transition(f"i{number}")], {KEY: remembered(f"{number}", target=f"t{number % 3}")})
    found = await history.transitions()
    assert [kept.item for kept in found][:10] == [f"i{number}" for number in range(29, 19, -1)]
    assert len(found) <= 20  # those in the writer's hand besides
    await history.close()


async def test_a_writer_that_ended_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("threading.excepthook", lambda _: None)
    history = make(tmp_path / "history.db")
    history.load()
    assert history._database is not None

    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(history._database, "save", broken)
    history.keep([transition()], {})
    await eventually(lambda: "its writer stopped" in str(history.trouble), what="it is told")
    await history.close()


WRITER = """
import asyncio, sys, time
from datetime import UTC, datetime
from pathlib import Path
from tests.exporter.test_history import make, transition

async def main():
    history = make(Path(sys.argv[1]), lambda: datetime.now(UTC))
    history.load()
    for number in range(100_000):
        history.keep([transition(f"i{number}", datetime.now(UTC))], {})
        print(number, time.time(), flush=True)
        await asyncio.sleep(0.002)

asyncio.run(main())
"""


async def test_sigkill_loses_nothing_that_was_shown_for_a_second(tmp_path: Path) -> None:
    path, shown = tmp_path / "history.db", tmp_path / "shown"
    with shown.open("w") as output:
        process = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=output)
        try:
            wait_until(lambda: len(shown.read_text().splitlines()) > 200, what="200 transitions are shown")
            time.sleep(3)
        finally:
            process.kill()
            process.wait()
    killed = time.time()
    lines = [line.split() for line in shown.read_text().rpartition("\n")[0].splitlines()]
    old = {f"i{number}" for number, at in lines if float(at) < killed - 2}  # a second, and one for a busy machine
    history = make(path, lambda: datetime.now(UTC))
    history.load()
    kept = {kept.item for kept in await history.transitions(limit=1_000_000)}
    assert old
    assert old <= kept
    await history.close()
