"""What every storage of the history does: the same tests for a file and for a database."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from exporter.database import Database
from exporter.history import History
from exporter.observations import Observation, Remembered, Transition
from exporter.shared_database import SharedDatabase
from exporter.state import State
from exporter.storage import Storage
from exporter.verdict import Reason, Result, Status, ok
from tests.exporter.samples import observe, plan, planned
from tests.servers.postgresql import PASSWORD, Postgres
from tests.servers.process import eventually
from tests.support import Clock

NOW = datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=UTC)
KEY = ("section", "a")
QUOTED = "'" + PASSWORD.replace("'", "''") + "'"

Opened = Callable[[], History]


def transition(item: str = "a", at: datetime = NOW, why: str = "Seen.") -> Transition:
    return Transition("section", item, Status.OK, Status.FAILED, at, why)


def remembered(summary: str = "Seen.", at: datetime = NOW, target: str = "orders") -> Remembered:
    result = Result(Status.UNKNOWN, summary, {"free_bytes": 1.5}, at + timedelta(days=1), reason=Reason.DENIED)
    return Remembered(Status.OK, at, at, {target: Observation(result, at, 0.25, error=True, fingerprint="f a=b")})


def own_database(server: Postgres) -> str:
    """A connection string to a new, empty database whose owner is no superuser."""
    name = f"checklist_{secrets.token_hex(4)}"
    server.query(f"CREATE ROLE {name} LOGIN PASSWORD {QUOTED}")
    server.query(f"CREATE DATABASE {name} OWNER {name}")
    return server.dsn(dbname=name, user=name)


@pytest.fixture(params=["file", "database"])
async def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Opened]:
    """Opens the same storage whenever it is called, as an exporter that starts does; all are closed at the end."""
    histories: list[History] = []
    dsn = own_database(request.getfixturevalue("instance")) if request.param == "database" else ""

    def make() -> History:
        storage: Storage = (
            SharedDatabase(dsn, now=lambda: NOW) if dsn else Database(tmp_path / "history.db", now=lambda: NOW)
        )
        histories.append(History(storage, now=lambda: NOW))
        return histories[-1]

    yield make
    for history in histories:
        await history.close()


async def written(history: History) -> None:
    await eventually(lambda: not history._pending(), what="all is written")


async def test_what_was_written_is_read_back_whole(opened: Opened) -> None:
    history = opened()
    assert history.load() == {}
    history.keep([transition(), transition("b")], {KEY: remembered(), ("section", "b"): remembered("Of b.")})
    await history.close()
    again = opened()
    assert again.load() == {KEY: remembered(), ("section", "b"): remembered("Of b.")}
    assert await again.transitions() == [transition("b"), transition()]
    assert await again.transitions(section="section", item="a") == [transition()]
    assert await again.transitions(section="other") == []
    assert await again.transitions(limit=1) == [transition("b")]
    assert (again.trouble, again.lasts, again.incomplete) == (None, True, False)


async def test_news_of_a_target_leaves_the_others(opened: Opened) -> None:
    history = opened()
    history.load()
    history.keep([], {KEY: remembered(target="a")})
    await written(history)
    history.keep([], {KEY: replace(remembered("Later.", target="b"), status=Status.FAILED, last_ok=None)})
    await history.close()
    found = opened().load()[KEY]
    assert {name: seen.result.summary for name, seen in found.observations.items()} == {"a": "Seen.", "b": "Later."}
    assert (found.status, found.last_ok) == (Status.FAILED, NOW)  # it stays known when it was last ok


async def test_old_transitions_and_items_are_forgotten(opened: Opened) -> None:
    history = opened()
    history.load()
    old = NOW - timedelta(days=91)
    history.keep([transition("old", old), transition()], {("section", "old"): remembered(at=old)})
    await history.close()
    again = opened()
    assert again.load() == {}
    assert await again.transitions() == [transition()]


@pytest.mark.parametrize("text", ["a\0b", "'; drop table checklist_items; --", "日本 %s {x}"])
async def test_every_text_can_be_written(opened: Opened, text: str) -> None:
    history = opened()
    history.load()
    history.keep([transition(why=text)], {KEY: remembered(text)})
    await history.close()
    (summary,) = [seen.result.summary for seen in opened().load()[KEY].observations.values()]
    assert summary.replace("\N{REPLACEMENT CHARACTER}", "\0") == text


async def test_a_state_goes_on_where_another_one_ended(opened: Opened) -> None:
    clock = Clock(NOW)
    history = opened()
    state = State(plan(planned()), clock, history)
    await observe(state, clock, "postgresql", {"slow_query_logging_enabled": ok("Seen.")})
    clock.advance(seconds=30)
    await observe(state, clock, "postgresql", {"slow_query_logging_enabled": ok("Seen again.")})
    (before,) = state.views()
    await history.close()
    clock.advance(seconds=15)
    second = opened()
    after = State(plan(planned()), clock, second)
    (view,) = after.views()
    assert (view.status, view.since, view.last_ok, view.summary) == (
        before.status,
        before.since,
        before.last_ok,
        "Seen again.",
    )
    await observe(after, clock, "postgresql", {"slow_query_logging_enabled": ok("Seen by another.")})
    assert [(one.from_status, one.to_status) for one in await second.transitions()] == [(None, Status.OK)]
