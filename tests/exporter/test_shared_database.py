"""The history in PostgreSQL: who may write, what is read by others, and what a database does that is gone or not ours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from exporter.history import History
from exporter.sessions import Unusable, parse_dsn, place_of
from exporter.shared_database import SCHEMA, SharedDatabase
from exporter.storage import Deposed
from exporter.verdict import Status
from tests.exporter.test_storage import KEY, NOW, QUOTED, own_database, remembered, transition, written
from tests.servers.faults import Proxy
from tests.servers.postgresql import PASSWORD, Postgres
from tests.servers.process import LOOPBACK, eventually


def database(dsn: str, holder: str = "a", may_lead: Callable[[], bool] | None = None) -> SharedDatabase:
    return SharedDatabase(dsn, now=lambda: NOW, holder=holder, may_lead=may_lead)


def query(dsn: str, statement: str) -> list[Any]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


async def stored(dsn: str) -> Any:
    """What an exporter that starts would know."""
    one = database(dsn, may_lead=lambda: False)
    found = await asyncio.to_thread(one.load)
    one.close()
    return found


async def asked(call: Callable[..., Any], *args: Any) -> Any:
    return await asyncio.to_thread(call, *args)


async def test_what_a_deposed_exporter_still_writes_is_refused(instance: Postgres) -> None:
    dsn = own_database(instance)
    leading = {"a": True, "b": False}
    first = database(dsn, "a", lambda: leading["a"])
    second = database(dsn, "b", lambda: leading["b"])
    await asked(first.claim)
    await asked(first.save, [], {KEY: remembered("By a.")}, [])
    leading.update(a=False, b=True)  # elected; the first does not know
    await asked(second.claim)
    await asked(second.save, [], {KEY: remembered("By b.")}, [])
    with pytest.raises(Deposed, match=r"another exporter \(b\) has written it since"):
        await asked(first.save, [transition()], {KEY: remembered("Too late.")}, [])
    with pytest.raises(Deposed, match="not the leader"):
        await asked(first.claim)
    assert await asked(second.load) == {KEY: remembered("By b.")}
    assert await asked(second.newest, None, None, 10) == ([], [])
    first.close()
    second.close()


async def test_the_elected_one_takes_back_what_another_claimed_late(instance: Postgres) -> None:
    dsn = own_database(instance)
    leader, late = database(dsn, "a", lambda: True), database(dsn, "b", lambda: True)
    await asked(leader.claim)
    await asked(late.claim)
    await asked(leader.save, [], {KEY: remembered()}, [])
    assert leader.fresh  # what the other one wrote in between is written over
    assert query(dsn, "select holder, term from checklist_writer") == [("a", 3)]
    leader.close()
    late.close()


async def test_of_two_without_an_election_the_last_one_to_start_writes(instance: Postgres) -> None:
    dsn = own_database(instance)
    first = History(database(dsn, "a"), now=lambda: NOW)
    first.load()
    second = History(database(dsn, "b"), now=lambda: NOW)
    second.load()
    await eventually(lambda: "another exporter (b) has written it" in str(first.trouble), "the first to report it")
    first.keep([transition()], {KEY: remembered()})
    await written(first)
    second.keep([transition("b")], {KEY: remembered("By b.")})
    await written(second)
    assert await second.transitions() == [transition("b")]
    assert (await stored(dsn), second.trouble) == ({KEY: remembered("By b.")}, None)
    await first.close()
    await second.close()


async def test_a_follower_reads_what_is_new_and_nothing_else(instance: Postgres) -> None:
    dsn = own_database(instance)
    leader, follower = database(dsn, "a", lambda: True), database(dsn, "b", lambda: False)
    assert await asked(follower.load) == {}  # before any exporter has written
    await asked(leader.save, [], {KEY: remembered(), ("section", "b"): remembered()}, [])
    revision, found = await asked(follower.since, -1)
    assert set(found) == {KEY, ("section", "b")}
    assert await asked(follower.since, revision) == (revision, {})
    await asked(leader.save, [], {KEY: remembered("New.", target="other")}, [])
    assert await asked(follower.since, revision) == (revision + 1, {KEY: remembered("New.", target="other")})
    assert set((await asked(follower.since, revision + 7))[1]) == set(found)  # of another database, everything is new
    assert set((await asked(follower.load))[KEY].observations) == {"orders", "other"}
    leader.close()
    follower.close()


@pytest.mark.parametrize("how", ["cut", "pause"])
async def test_a_database_that_is_gone_for_a_while_costs_no_history(
    instance: Postgres, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr("exporter.sessions.PATIENCE_SECONDS", 1.0)
    dsn = own_database(instance)
    async with Proxy(LOOPBACK, instance.port) as proxy:
        through = psycopg.conninfo.make_conninfo(dsn, port=proxy.address[1])
        history = History(database(through), now=lambda: NOW)
        await asked(history.load)
        history.keep([transition()], {KEY: remembered()})
        await written(history)
        getattr(proxy, how)()
        history.keep([transition("b")], {KEY: remembered("Later.")})
        await eventually(lambda: "cannot be written" in str(history.trouble), "the trouble to be reported")
        assert PASSWORD not in str(history.trouble)
        assert await history.transitions() == [transition("b")]
        proxy.resume()
        await written(history)
        await eventually(lambda: history.trouble is None, "it to be used again")
        assert await history.transitions() == [transition("b"), transition()]
        await history.close()
    assert query(dsn, "select term from checklist_writer") == [(1,)]  # a lost connection is no change of leader


async def test_a_database_that_is_gone_at_the_start_is_written_when_it_is_there(instance: Postgres) -> None:
    dsn = own_database(instance)
    before = database(dsn)
    await asked(before.save, [], {KEY: remembered()}, [])
    before.close()
    async with Proxy(LOOPBACK, instance.port) as proxy:
        proxy.cut()
        history = History(database(psycopg.conninfo.make_conninfo(dsn, port=proxy.address[1])), now=lambda: NOW)
        assert await asked(history.load) == {}
        assert "cannot be read" in str(history.trouble)
        new = remembered("New.")
        history.keep([], {KEY: type(new)(Status.FAILED, NOW, None, new.observations)})
        proxy.resume()
        await written(history)
        await history.close()
    found = (await stored(dsn))[KEY]
    assert (found.status, found.last_ok, found.observations) == (Status.FAILED, NOW, new.observations)


async def test_tables_that_were_dropped_are_made_and_filled_again(instance: Postgres) -> None:
    dsn = own_database(instance)
    leader, follower = database(dsn, "a", lambda: True), database(dsn, "b", lambda: False)
    await asked(leader.save, [], {KEY: remembered()}, [])
    revision, _ = await asked(follower.since, -1)
    query(dsn, "drop table checklist_writer, checklist_items, checklist_observations, checklist_transitions")
    with pytest.raises(Unusable, match="its tables are gone"):
        await asked(follower.since, revision)
    with pytest.raises(Unusable, match='relation "checklist_writer" does not exist'):
        await asked(leader.save, [], {KEY: remembered()}, [])
    leader.fresh = False
    await asked(leader.save, [], {KEY: remembered()}, [])
    assert leader.fresh  # it asks for everything
    assert await stored(dsn) == {KEY: remembered()}
    leader.close()
    follower.close()


async def test_a_role_without_the_right_to_make_tables_needs_them_made(instance: Postgres) -> None:
    dsn = own_database(instance)
    name = parse_dsn(dsn)["user"]
    instance.query(f"CREATE ROLE {name}_app LOGIN PASSWORD {QUOTED}")
    least = psycopg.conninfo.make_conninfo(dsn, user=f"{name}_app")
    with pytest.raises(Unusable, match="permission denied for schema public; make its tables, with the rights to them"):
        await asked(database(least).claim)
    query(dsn, SCHEMA)
    tables = "checklist_writer, checklist_transitions, checklist_items, checklist_observations"
    query(dsn, f"GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO {name}_app")
    written_by = database(least)
    await asked(written_by.save, [transition()], {KEY: remembered()}, [])
    assert await asked(written_by.load) == {KEY: remembered()}
    written_by.close()


async def test_a_database_of_a_newer_version_is_not_written(instance: Postgres) -> None:
    dsn = own_database(instance)
    before = database(dsn)
    await asked(before.save, [], {KEY: remembered()}, [])
    query(dsn, "update checklist_writer set format = 99")
    for call in (before.claim, before.load, lambda: before.save([], {KEY: remembered("New.")}, [])):
        with pytest.raises(Unusable, match=r"written by a newer version \(format 99, known 1\)"):
            await asked(call)
    before.close()


@pytest.mark.parametrize(
    "damage",
    [
        "checklist_items set status = 'perfect'",
        "checklist_items set since = 'infinity'",
        "checklist_observations set at = '9999-12-31'",
        "checklist_observations set measurements = '{\"a\": NaN}'",
        "checklist_observations set reason = 'because'",
    ],
)
async def test_a_row_that_makes_no_sense_hides_no_other(instance: Postgres, damage: str) -> None:
    dsn = own_database(instance)
    noticed: list[str] = []
    one = database(dsn)
    one.notice = noticed.append
    await asked(one.save, [transition()], {KEY: remembered(), ("section", "b"): remembered()}, [])
    query(dsn, f"update {damage} where item = 'a'")
    found = await asked(one.load)
    assert found["section", "b"] == remembered()
    assert KEY not in found or not found[KEY].observations
    assert [sentence.startswith("1 row of State database") for sentence in noticed] == [True]
    await asked(one.load)
    assert len(noticed) == 1
    one.close()


@pytest.mark.parametrize(
    "setting",
    [
        "datestyle = 'SQL, DMY'",
        "timezone = 'Asia/Kathmandu'",
        "default_transaction_isolation = 'serializable'",
        "default_transaction_read_only = on",
        "lock_timeout = '1ms'",
    ],
)
async def test_settings_of_the_role_change_nothing(instance: Postgres, setting: str) -> None:
    dsn = own_database(instance)
    instance.query(f"ALTER ROLE {parse_dsn(dsn)['user']} SET {setting}")
    one = database(dsn)
    await asked(one.save, [transition()], {KEY: remembered()}, [])
    assert await asked(one.load) == {KEY: remembered()}
    assert await asked(one.newest, None, None, 1) == ([transition()], [])
    one.close()


async def test_a_new_password_is_used_from_the_next_connection_on(instance: Postgres) -> None:
    dsn = own_database(instance)
    one = database(dsn)
    await asked(one.save, [], {KEY: remembered()}, [])
    instance.query(f"ALTER ROLE {parse_dsn(dsn)['user']} PASSWORD 'rotated'")
    one.close()
    with pytest.raises(Unusable, match="password authentication failed"):
        await asked(one.load)
    assert one.use(psycopg.conninfo.make_conninfo(dsn, password="rotated"))
    assert await asked(one.load) == {KEY: remembered()}
    assert not one.use(psycopg.conninfo.make_conninfo(dsn, dbname="other"))
    one.close()


async def test_a_write_whose_answer_was_lost_is_written_once(instance: Postgres) -> None:
    one = database(own_database(instance))
    for _ in range(2):
        await asked(one.save, [transition(), transition(at=NOW + timedelta(seconds=1))], {}, [])
    assert len((await asked(one.newest, None, None, 10))[0]) == 2
    one.close()


def test_the_documentation_has_the_tables_as_they_are() -> None:
    text = (Path(__file__).parents[2] / "docs" / "high-availability.md").read_text(encoding="utf-8")
    assert SCHEMA in text


@pytest.mark.parametrize(
    ("dsn", "place"),
    [
        ("postgresql://sre:secret@db/checklist", "db:5432/checklist"),
        ("postgresql://sre:secret@[::1]:6432/checklist", "[::1]:6432/checklist"),
        ("host=a,b port=5432 dbname=checklist user=sre password=secret", "a,b:5432/checklist"),
        ("service=checklist", "service checklist"),
        ("user=sre", "the local socket:5432/sre"),
    ],
)
def test_where_a_database_is(dsn: str, place: str) -> None:
    assert place_of(parse_dsn(dsn)) == place


@pytest.mark.parametrize("dsn", ["postgresql://sre:p@ss@db/checklist", "nonsense secret", "host=a nothing=secret"])
def test_a_connection_string_that_is_none_is_not_repeated(dsn: str) -> None:
    with pytest.raises(ValueError, match="expected") as raised:
        parse_dsn(dsn)
    assert "secret" not in str(raised.value)
    assert "ss@" not in str(raised.value)
