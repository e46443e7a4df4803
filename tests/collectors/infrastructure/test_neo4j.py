"""The Neo4j section against a real Neo4j 5.26 Community: authentication on and off, plain and TLS."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import lzma
import os
import random
import re
import resource
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import neo4j
import pytest
from neo4j.exceptions import ClientError, DatabaseError, TransientError
from pydantic import SecretStr, ValidationError

from collectors.infrastructure import neo4j as section
from collectors.infrastructure.neo4j import Neo4j as Neo4jSection
from collectors.infrastructure.neo4j import Neo4jTarget, Neo4jVolume
from collectors.systems.default_logins.client import knock as knock_by_default
from collectors.systems.default_logins.model.options import DefaultLogin
from collectors.systems.default_logins.model.tries import Outcome
from collectors.systems.neo4j import judge
from collectors.systems.neo4j.client import bolt
from collectors.systems.neo4j.client import server as asked
from collectors.systems.neo4j.client.bolt import Login, connected, knock
from collectors.systems.neo4j.model import Artefact, Doors, Entry, Knock, Look, Neo4jLimits, Tried, dated
from collectors.systems.prometheus.client import Prometheus as PrometheusClient
from collectors.systems.prometheus.client import PrometheusSettings
from exporter import http
from exporter.collector import Context
from exporter.evidence.validity import Evidence
from exporter.threads import Threads
from exporter.verdict import ProbeError, Reason, Result, Status
from tests.collectors.evidence import attested
from tests.servers import faults
from tests.servers.certificates import Issued
from tests.servers.exporters import Exposition, blackbox_exporter
from tests.servers.faults import Address, Proxy
from tests.servers.neo4j import PASSWORD, Neo4j
from tests.servers.process import LOOPBACK, eventually, free_port, wait_until
from tests.servers.prometheus import Prometheus, scrape
from tests.support import Run, looks, make_context, sees, until

pytestmark = [
    pytest.mark.xdist_group("neo4j"),  # one worker starts the servers
    pytest.mark.usefixtures("no_noise"),
]

HEALTH, AUTHENTICATION, SPACE, METRICS, BACKUP = tuple(Neo4jSection.items())
LIVE = (HEALTH, AUTHENTICATION)
CANARY = "canary-77e1"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
AUTHORITY = Issued.root()


def target(server: Neo4j | None = None, **options: Any) -> Neo4jTarget:
    own = {"bolt": server.address, "http": server.url} if server else {}
    patient = {"server_timeout": "15s", "max_latency": "15s"}  # the machine may be busy
    options = {"name": "graph", "servers": [own], "username": "checklist", "password": CANARY} | patient | options
    return Neo4jTarget.model_validate_json(json.dumps(options))


def lasting(known: Mapping[str, float] | None = None, **options: Any) -> Context:
    """A context of an exporter that has a state file, and knows these measurements from before its start."""
    return make_context(recall=lambda _: known or {}, **options)


def run(configured: Neo4jTarget, *items: str, context: Context | None = None) -> Run:
    secrets = [CANARY, PASSWORD]
    return Run(Neo4jSection, items, target=configured, context=context or lasting(), secrets=secrets)


def run_item(item: str, server: Neo4j | None = None, *, context: Context | None = None, **options: Any) -> Run:
    return run(target(server, **options), item, context=context)


look, see = looks(run), sees(run_item)


@pytest.fixture(scope="module")
def prepared(neo4j_server: Neo4j) -> Neo4j:
    """A server with authentication and the user that the section shows how to make."""
    create = Neo4jSection.rights.strip().splitlines()[-1].strip()
    neo4j_server.run(create.replace("'PASSWORD'", f"'{CANARY}'").rstrip(";"))
    return neo4j_server


def let_in(server: Neo4j) -> bool:
    """Whether the user neo4j is let in; the server then forgets the wrong passwords that were given before."""
    return bool(server.run("SHOW CURRENT USER"))


@pytest.fixture
def server(prepared: Neo4j) -> Neo4j:
    """The server, with the wrong passwords of earlier tests forgotten."""
    wait_until(lambda: let_in(prepared), "the user neo4j to be let in")
    return prepared


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neo4j]:
    """A server without authentication, with TLS."""
    settings = {"dbms.security.auth_enabled": "false"}
    folder = tmp_path_factory.mktemp("open")
    with Neo4j(folder / "neo4j", tls=AUTHORITY.issue(LOOPBACK), settings=settings) as server:
        yield server


@pytest.fixture
def ca(tmp_path: Path) -> str:
    return str(AUTHORITY.write(tmp_path, "ca")[0])


# -- health


@pytest.mark.verifies("neo4j.pods_healthy", "ok")
async def test_a_healthy_server_is_ok(server: Neo4j, no_leftovers: None) -> None:
    result = await see(HEALTH, server)
    assert (result.status, result.summary) == (
        Status.OK,
        "The Neo4j server answers and 2 databases are online, protocol check only; pods not checked.",
    )
    assert result.measurements["latency_seconds"] > 0


@pytest.mark.verifies("neo4j.pods_healthy", "failed")
async def test_a_database_that_did_not_start_is_told_though_the_port_is_open(tmp_path: Path) -> None:
    with Neo4j(tmp_path / "neo4j", settings={"dbms.security.auth_enabled": "false"}) as server:
        server.kill()
        (server.directory / "data/databases/neo4j/neostore").write_bytes(b"broken")
        server.start()  # it listens, and its HTTP answers 200
        result = await until(lambda: see(HEALTH, server, username=None, password=None), Status.FAILED)
    assert f"Database neo4j is offline on {server.address} (wanted online, requested online): " in result.summary


async def test_a_route_to_nowhere_is_told() -> None:
    # A server alone routes clients back to the address that they asked, so only a cluster could do so live.
    looked = _look(routed=ProbeError("Neo4j n2:7687 cannot be used: the connection was refused."))
    told = "Clients that ask n1:7687 for a route (neo4j://) do not reach a writer."
    problems = list(judge.server_problems(looked, Neo4jLimits()))
    assert [problem.summary for problem in problems] == [f"{told} {looked.routed}"]


async def test_a_slow_server_is_told(server: Neo4j) -> None:
    result = await see(HEALTH, server, max_latency="0.001ms")
    assert (result.status, " s for RETURN 1 (limit 1e-06 s)." in result.summary) == (Status.FAILED, True)
    slow = _look(latency=1.5)
    assert [problem.summary for problem in judge.server_problems(slow, Neo4jLimits())] == [
        "Neo4j n1:7687 took 1.5 s for RETURN 1 (limit 1 s)."
    ]


async def test_several_servers_are_looked_at_one_by_one(server: Neo4j) -> None:
    twice = [{"bolt": server.address, "http": server.url}] * 2
    assert (await see(HEALTH, servers=twice)).summary.startswith(
        "All 2 Neo4j servers answer and 2 databases are online"
    )
    async with faults.refused() as (host, port):
        result = await see(HEALTH, servers=[*twice, {"bolt": f"{host}:{port}"}])
    assert (result.status, result.summary) == (
        Status.UNKNOWN,
        f"Neo4j {host}:{port} cannot be used: the connection was refused.",
    )


async def test_http_that_is_not_answered_or_by_something_else_is_unknown(server: Neo4j) -> None:
    async with faults.refused() as (host, port):
        result = await see(HEALTH, servers=[{"bolt": server.address, "http": f"http://{host}:{port}"}])
    assert result.status is Status.UNKNOWN
    with Exposition('{"title": "something else"}') as page:
        other = await see(HEALTH, servers=[{"bolt": server.address, "http": f"http://{LOOPBACK}:{page.port}"}])
    assert (other.status, "is answered by something that is no Neo4j." in other.summary) == (Status.UNKNOWN, True)


def _look(**told: Any) -> Look:
    row = {"name": "neo4j", "type": "standard", "address": "n1:7687", "writer": True}
    row |= {"currentStatus": "online", "requestedStatus": "online"}
    found: dict[str, Any] = {
        "address": "n1:7687",
        "edition": "enterprise",
        "latency": 0.01,
        "routed": 0.01,
        "databases": [row],
        "servers": [{"name": "n1", "address": "n1:7687", "state": "Enabled", "health": "Available"}],
        "settings": {},
        "user": {"user": "neo4j", "passwordChangeRequired": False},
        "http": None,
    }
    return Look(**found | told)


def _row(**told: Any) -> dict[str, Any]:
    looked = _look().databases
    assert not isinstance(looked, ProbeError)
    return dict(looked[0]) | told


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, []),
        (
            {"databases": [_row(currentStatus="offline", statusMessage="Store is broken.")]},
            ["Database neo4j is offline on n1:7687 (wanted online, requested online): Store is broken."],
        ),
        (
            {"databases": [_row(currentStatus="offline", requestedStatus="offline")]},
            ["Database neo4j is offline on n1:7687 (wanted online, requested offline)."],
        ),
        ({"databases": [_row(writer=False)]}, ["Database neo4j has 0 writers (wanted one)."]),
        (
            {"databases": [_row(), _row(address="n2:7687"), _row(address="n3:7687", writer=False)]},
            ["Database neo4j has 2 writers (wanted one)."],
        ),
        ({"databases": [_row(type="composite", access="read-only", role=None, writer=False)]}, []),
        (
            {"databases": [_row(type="composite", access="read-only", currentStatus="offline", writer=False)]},
            ["Database neo4j is offline on n1:7687 (wanted online, requested online)."],
        ),
        (
            {
                "databases": [
                    _row(requestedPrimariesCount=3, currentPrimariesCount=2, currentSecondariesCount=0),
                    _row(requestedPrimariesCount=3, currentPrimariesCount=2, address="n2:7687", writer=False),
                ]
            },
            ["Database neo4j has 2 of 3 primaries."],
        ),
        (
            {"databases": [_row(requestedPrimariesCount=1, currentPrimariesCount=1, requestedSecondariesCount=None)]},
            [],
        ),
        (
            {"databases": [_row(requestedSecondariesCount=2, currentSecondariesCount=1)]},
            ["Database neo4j has 1 of 2 secondaries."],
        ),
        (
            {"servers": [{"address": "n2:7687", "state": "Enabled", "health": "Unavailable"}]},
            ["Server n2:7687 of the cluster is Enabled and Unavailable (wanted Enabled and Available)."],
        ),
        ({"databases": ProbeError("No."), "servers": ProbeError("Nor this.")}, ["No.", "Nor this."]),
        ({"databases": []}, ["Neo4j n1:7687 shows this user no database (privilege ACCESS ON DATABASE *)."]),
    ],
)
def test_databases_and_servers_of_a_cluster(told: dict[str, Any], expected: list[str]) -> None:
    # Enterprise cannot be had: these are the columns that its documentation names.
    assert [problem.summary for problem in judge.database_problems(_look(**told), Neo4jLimits())] == expected


# -- authentication


@pytest.mark.verifies("neo4j.authentication_enabled", "ok")
async def test_a_closed_server_is_ok(server: Neo4j) -> None:
    now = datetime.now(UTC)
    result = await see(AUTHENTICATION, server, context=lasting(now=lambda: now))
    assert (result.status, result.summary) == (
        Status.OK,
        f"Without credentials Bolt and HTTP refuse, and the default password is refused (last tried on {now:%Y-%m-%d}).",
    )


@pytest.mark.verifies("neo4j.authentication_enabled", "failed")
async def test_an_open_server_is_told(open_server: Neo4j, ca: str) -> None:
    result = await see(AUTHENTICATION, open_server, tls={"ca_file": ca})
    assert result.status is Status.FAILED
    where = f"Neo4j {open_server.address}"
    assert f"{where} runs statements of anybody: Bolt without credentials is accepted." in result.summary
    assert f"{where} runs statements of anybody: HTTP without credentials is answered" in result.summary
    assert f"{where} has dbms.security.auth_enabled set to false." in result.summary
    anonymous = await see(HEALTH, open_server, tls={"ca_file": ca}, username=None, password=None)
    assert anonymous.status is Status.OK


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("CHANGE REQUIRED", "still has the default password of the user neo4j, which the first login must change."),
        ("CHANGE NOT REQUIRED", "lets in the user neo4j with the password neo4j."),
    ],
)
async def test_the_default_password_is_told(server: Neo4j, change: str, told: str) -> None:
    as_checklist = {"user": "checklist", "password": CANARY}
    server.run(f"ALTER USER neo4j SET PASSWORD 'neo4j' {change}", **as_checklist)
    try:
        context = lasting()
        for _ in range(2):  # it is no wrong password, so it is tried again until it is changed
            result = await see(AUTHENTICATION, server, context=context)
            assert (result.status, result.summary) == (Status.FAILED, f"Neo4j {server.address} {told}")
    finally:
        server.run(f"ALTER USER neo4j SET PASSWORD '{PASSWORD}' CHANGE NOT REQUIRED", **as_checklist)
    assert (await see(AUTHENTICATION, server, context=context)).status is Status.OK


async def test_a_user_whose_password_must_be_changed_sees_nothing(server: Neo4j, no_leftovers: None) -> None:
    server.run(f"CREATE OR REPLACE USER fresh SET PASSWORD '{CANARY}' CHANGE REQUIRED")
    try:
        result = await see(HEALTH, server, username="fresh")
        other = await see(AUTHENTICATION, server)
    finally:
        server.run("DROP USER fresh")
    assert other.summary.endswith(" Passwords of 1 other user were not tried (fresh).")
    assert (result.status, result.summary) == (
        Status.UNKNOWN,
        f"Neo4j {server.address} lets this user do nothing before its password is changed.",
    )


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The users whose credentials were tried."""
    tried: list[str | None] = []

    async def counted(address: str, login: Login) -> Entry:
        tried.append(login.username)
        return await knock(address, login)

    monkeypatch.setattr(bolt, "knock", counted)
    return tried


async def test_the_default_password_is_tried_once_a_day_and_locks_nobody(
    server: Neo4j, tries: list[str | None]
) -> None:
    moment = datetime.now(UTC)
    context = lasting(now=lambda: moment)
    for days, tried in ((0, 1), (0, 1), (0.9, 1), (1.1, 2), (1.2, 2), (2.3, 2), (9, 2)):
        moment = datetime.now(UTC) + timedelta(days=days)
        result = await see(AUTHENTICATION, server, context=context)
        assert result.status is Status.OK
        # The server counts wrong passwords up over days, and three lock the user: the third is never given.
        assert tries.count("neo4j") == tried
    assert result.summary.endswith(f"refused (last tried on {datetime.now(UTC) + timedelta(days=1.1):%Y-%m-%d}).")
    assert let_in(server)


async def test_the_server_really_counts_wrong_passwords_until_the_user_is_let_in(server: Neo4j) -> None:
    wrong = Login("neo4j", SecretStr("wrong"), None, timedelta(seconds=15))
    while await knock(server.address, wrong) is not Entry.LOCKED:
        pass
    while await knock(server.address, wrong) is Entry.LOCKED:
        pass  # until the time is over for which the user is locked, and one more was looked at
    assert await knock(server.address, wrong) is Entry.LOCKED, "what was given before still counts"
    wait_until(lambda: let_in(server), "the user neo4j to be let in")
    for _ in range(2):
        assert await knock(server.address, wrong) is Entry.REFUSED
        assert let_in(server)


async def test_the_user_itself_may_try_every_day(server: Neo4j, tries: list[str | None]) -> None:
    moment = datetime.now(UTC)
    context = lasting(now=lambda: moment)
    for days in range(5):  # its own login, just before, makes the server forget the day before
        moment = datetime.now(UTC) + timedelta(days=1.1 * days)
        result = await see(AUTHENTICATION, server, username="neo4j", password=PASSWORD, context=context)
        assert result.status is Status.OK
    assert tries.count("neo4j") == 5


async def test_restarts_of_the_exporter_do_not_add_tries(server: Neo4j, tries: list[str | None]) -> None:
    known: Mapping[str, float] = {}
    for days, tried in ((0, 1), (0.1, 1), (0.2, 1), (1.3, 2), (1.4, 2), (5, 2)):
        then = (datetime.now(UTC) + timedelta(days=days)).timestamp(), UTC
        result = await see(AUTHENTICATION, server, context=lasting(known, now=partial(datetime.fromtimestamp, *then)))
        assert (result.status, tries.count("neo4j")) == (Status.OK, tried)
        known = result.measurements
    assert known["default_password_wrong_tries"] == 2
    assert let_in(server)


async def test_what_nobody_can_remember_is_not_tried(
    server: Neo4j, tries: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):  # as `check` does, each time as a process of its own
        result = await see(AUTHENTICATION, server, context=make_context())
        assert result.status is Status.UNKNOWN
        assert "without state.file nobody remembers that" in result.summary
    strict = SETTINGS | {"dbms.security.auth_minimum_password_length": "8"}

    async def of(_: Any) -> dict[str, str]:
        return strict

    monkeypatch.setattr(asked, "_settings", of)
    result = await see(AUTHENTICATION, server, context=make_context())
    assert (result.status, result.summary) == (
        Status.OK,
        "Without credentials Bolt and HTTP refuse, and by the server's own word the default password was changed.",
    )
    assert "neo4j" not in tries


async def test_after_a_restart_of_the_server_an_earlier_refusal_counts_no_more(tries: list[str | None]) -> None:
    before = Tried(Entry.REFUSED, NOW, 2, NOW - timedelta(days=9))
    same = _look(databases=[_row(name="system", lastStartTime=NOW - timedelta(days=9))], settings=SETTINGS)
    again = _look(databases=[_row(name="system", lastStartTime=NOW + timedelta(hours=1))], settings=SETTINGS)
    assert (judge.holds(same, before), judge.wrong_passwords(same, before, "checklist")) == (True, 2)
    assert (judge.holds(again, before), judge.wrong_passwords(again, before, "checklist")) == (False, 0)
    soon, later = NOW + timedelta(hours=2), NOW + timedelta(hours=25)
    assert "tried at most once a day" in (judge.unwise(again, before, 0, soon, remembers=True) or "")
    assert judge.unwise(again, before, 0, later, remembers=True) is None
    # It was emptied: the password must be changed again, so that it may well be the default one.
    emptied = _look(databases=again.databases, settings=SETTINGS, user={"passwordChangeRequired": True})
    assert judge.unwise(emptied, before, 0, soon, remembers=True) is None
    assert judge.unwise(emptied, None, 0, soon, remembers=False) is None
    # What is known from before a restart of the exporter does not hold for a server that says so.
    recalled = Tried(Entry.REFUSED, NOW, 1)
    assert judge.holds(same, recalled)
    assert not judge.holds(again, recalled)
    assert not judge.holds(_look(settings=SETTINGS, user={"passwordChangeRequired": True}), recalled)
    assert judge.holds(_look(databases=ProbeError("No databases were seen.")), before)


@pytest.mark.parametrize(
    ("told", "needless"),
    [
        ({}, True),
        ({"user": None}, True),
        ({"user": None, "settings": {}}, True),
        ({"user": {"passwordChangeRequired": True}}, False),
        ({"user": ProbeError("No right.")}, False),
        ({"settings": ProbeError("No right.")}, False),
        ({"settings": {}}, False),
        ({"settings": {"dbms.security.auth_minimum_password_length": "5"}}, False),
    ],
)
def test_the_servers_own_word_on_the_default_password(told: dict[str, Any], needless: bool) -> None:
    settings = {"dbms.security.auth_minimum_password_length": "8"}
    assert judge.needless(_look(**{"settings": settings} | told)) is needless


async def test_a_locked_user_is_unknown_and_left_alone(server: Neo4j, tries: list[str | None]) -> None:
    wrong = Login("neo4j", SecretStr("wrong"), None, timedelta(seconds=15))
    moment = datetime.now(UTC)
    context = lasting(now=lambda: moment)

    async def locked() -> bool:
        """Whether the exporter found the user locked; on a busy machine the five seconds may be over before."""
        while await knock(server.address, wrong) is not Entry.LOCKED:
            pass
        context.memory.clear()
        result = await see(AUTHENTICATION, server, context=context)
        return result.summary == (
            f"Neo4j {server.address} has locked the user neo4j for now, so the default password was not tried."
        )

    await eventually(locked, what="the user is found locked")
    tries.clear()
    for days in (0.0, 3.0):  # any further wrong password would lock it again
        moment = datetime.now(UTC) + timedelta(days=days)
        result = await see(AUTHENTICATION, server, context=context)
        assert result.status is Status.UNKNOWN
        assert result.summary.startswith(
            f"Neo4j {server.address} locks a user after 3 wrong passwords, of which 3 were "
        )
    assert "neo4j" not in tries


async def test_as_a_default_login_of_another_section_it_is_refused(server: Neo4j) -> None:
    login = DefaultLogin(kind="neo4j", address=server.address, timeout=timedelta(seconds=30))
    assert await knock_by_default(login) is Outcome.REFUSED


async def test_a_locked_user_of_ours_is_told(server: Neo4j) -> None:
    wrong = Login("neo4j", SecretStr("wrong"), None, timedelta(seconds=15))

    async def told() -> bool:
        while await knock(server.address, wrong) is not Entry.LOCKED:
            pass
        result = await see(HEALTH, server, username="neo4j", password=PASSWORD)
        return result.status is Status.UNKNOWN and "has locked this user for some seconds" in result.summary

    await eventually(told, what="the lock is told")


async def test_http_that_nobody_knocks_at_is_told(server: Neo4j) -> None:
    result = await see(AUTHENTICATION, servers=[{"bolt": server.address}])
    assert (result.status, result.summary) == (
        Status.UNKNOWN,
        f"Neo4j {server.address} serves HTTP, but its address is not configured, so nobody knocked there.",
    )


SETTINGS = {"dbms.security.auth_enabled": "true", "dbms.security.auth_max_failed_attempts": "3"}


@pytest.mark.parametrize(
    ("found", "status", "told"),
    [
        (Doors(ProbeError("No Bolt."), [Knock("/db/neo4j/tx/commit", 401)], None), Status.UNKNOWN, "No Bolt."),
        (Doors(Entry.REFUSED, ProbeError("No HTTP."), Tried(Entry.REFUSED)), Status.UNKNOWN, "No HTTP."),
        (
            Doors(Entry.REFUSED, [Knock("/db/neo4j/tx/commit", 401)], ProbeError("Not tried.")),
            Status.UNKNOWN,
            "Not tried.",
        ),
        (
            Doors(Entry.LOCKED, [Knock("/db/neo4j/tx/commit", 401)], None),
            Status.UNKNOWN,
            "did not say whether it takes Bolt without credentials",
        ),
        (
            Doors(Entry.REFUSED, [Knock("/db/neo4j/tx/commit", 404)], Tried(Entry.REFUSED)),
            Status.UNKNOWN,
            "answers 404 to HTTP without credentials at /db/neo4j/tx/commit (wanted 401).",
        ),
        (
            Doors(Entry.REFUSED, [Knock("/db/neo4j/tx/commit", 400)], Tried(Entry.REFUSED)),
            Status.FAILED,
            "HTTP without credentials is answered 400 at /db/neo4j/tx/commit.",
        ),
    ],
)
def test_doors(found: Doors, status: Status, told: str) -> None:
    problems = list(judge.door_problems("n1:7687", SETTINGS, found))
    assert [problem.status for problem in problems] == [status]
    assert told in problems[0].summary


def test_closed_doors_are_no_problem() -> None:
    assert (
        list(
            judge.door_problems(
                "n1:7687", SETTINGS, Doors(Entry.REFUSED, [Knock("/db/neo4j/tx/commit", 401)], Tried(Entry.REFUSED))
            )
        )
        == []
    )
    assert list(judge.door_problems("n1:7687", SETTINGS, Doors(Entry.REFUSED, None, Tried(Entry.REFUSED)))) == []


@pytest.mark.parametrize(
    ("settings", "wrong", "why"),
    [
        (SETTINGS, 0, None),
        (SETTINGS, 1, None),
        (SETTINGS, 2, "locks a user after 3 wrong passwords, of which 2 were given, so the default one was not tried."),
        ({"dbms.security.auth_max_failed_attempts": "0"}, 9, None),
        ({"dbms.security.auth_max_failed_attempts": "1"}, 0, "locks a user after 1 wrong password, so"),
        ({}, 0, "does not show dbms.security.auth_max_failed_attempts (privilege SHOW SETTING)"),
        (ProbeError("The server is silent."), 0, "The server is silent."),
    ],
)
def test_the_default_password_is_not_tried_where_that_might_lock(settings: Any, wrong: int, why: str | None) -> None:
    told = judge.unwise(_look(settings=settings), None, wrong, NOW, remembers=True)
    assert told == why if why is None else why in (told or "")


async def test_where_one_wrong_password_locks_none_is_given(server: Neo4j, monkeypatch: pytest.MonkeyPatch) -> None:
    async def strict(_: Any) -> dict[str, str]:
        return SETTINGS | {"dbms.security.auth_max_failed_attempts": "1"}

    monkeypatch.setattr(asked, "_settings", strict)
    result = await see(AUTHENTICATION, server)
    assert result.status is Status.UNKNOWN
    assert "locks a user after 1 wrong password, so the default one was not tried." in result.summary


# -- what cannot be seen

BOLT = b"\x00\x00\x04\x05"  # the answer to the handshake: 5.4
FAULTS: list[tuple[str, Callable[[], AbstractAsyncContextManager[Address]], str]] = [
    ("refused", faults.refused, "the connection was refused"),
    ("unroutable", faults.unroutable, "no connection was made in time"),
    ("mute", faults.mute, "did not answer within 400ms"),
    ("hanging up", faults.hanging_up, "the server closed the connection"),
    ("half a handshake", lambda: faults.half_reply(b"\x00\x00"), "does not speak Bolt"),
    ("half a reply", lambda: faults.half_reply(BOLT + b"\x00\x10\xb1"), "did not answer within 400ms"),
    ("another protocol", lambda: faults.half_reply(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "does not speak Bolt"),
    ("garbage", faults.garbage, "does not speak Bolt"),
    (
        "garbage after the handshake",
        lambda: faults.half_reply(BOLT + b"\x00\x02\xb1\x70\x00\x00"),
        "does not follow Bolt",
    ),
    ("endless", lambda: faults.endless(b""), "does not speak Bolt"),
    (
        "endless after the handshake",
        lambda: faults.endless(BOLT, b"\xff\xff" + b"x" * 65_535),
        "more than 16777216 bytes",
    ),
]


@pytest.mark.verifies("neo4j.pods_healthy", "unknown")
@pytest.mark.verifies("neo4j.authentication_enabled", "unknown")
@pytest.mark.parametrize(("fault", "told"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS])
async def test_a_faulty_server_is_unknown_in_one_sentence(
    fault: Callable[[], AbstractAsyncContextManager[Address]],
    told: str,
    caplog: pytest.LogCaptureFixture,
    no_leftovers: None,
) -> None:
    async with fault() as (host, port):
        timeout = "400ms" if "400ms" in told or "in time" in told else "15s"  # the machine may be busy
        started = asyncio.get_running_loop().time()
        seen = await look(target(servers=[{"bolt": f"{host}:{port}"}], server_timeout=timeout), *LIVE)
        assert asyncio.get_running_loop().time() - started < 8
    assert {result.status for result in seen.values()} == {Status.UNKNOWN}
    assert seen[HEALTH].summary.startswith(f"Neo4j {host}:{port} ")
    assert told in seen[HEALTH].summary
    assert CANARY not in caplog.text
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_an_endless_reply_takes_no_endless_memory() -> None:
    login = Login("neo4j", SecretStr(CANARY), None, timedelta(seconds=30))
    async with faults.endless(BOLT, b"\xff\xff" + b"x" * 65_535) as (host, port):
        tracemalloc.start()
        async with connected(f"{host}:{port}", login) as connection:
            with pytest.raises(ProbeError, match="more than 16777216 bytes, which were not read"):
                await connection.rows("RETURN 1")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 80 * 2**20


async def test_whatever_a_server_says_is_told_or_refused() -> None:
    """Messages that begin as Bolt's do and go on as they like: the driver raises what it likes, and users read a sentence."""
    markers = bytes.fromhex("b1 70 7f 71 a0 a1 81 61 90 91 c0 b0 b4 4e ff 00")
    login = Login("neo4j", SecretStr(CANARY), None, timedelta(milliseconds=150))

    async def one(seed: int) -> None:
        dice = random.Random(seed)
        message = bytes((0xB1, dice.choice((0x70, 0x7F, 0x71, 0x7E)))) + bytes(
            dice.choices(markers, k=dice.randint(0, 9))
        )
        reply = BOLT + len(message).to_bytes(2, "big") + message + b"\x00\x00"
        async with faults.half_reply(reply) as (host, port):
            with pytest.raises(ProbeError, match=f"Neo4j {host}:{port} "):
                await knock(f"{host}:{port}", login)
            async with connected(f"{host}:{port}", login) as connection:
                with pytest.raises(ProbeError, match=f"Neo4j {host}:{port} "):
                    await connection.rows("RETURN 1")

    for start in range(0, 200, 20):
        await asyncio.gather(*map(one, range(start, start + 20)))


async def test_a_wrong_password_and_no_credentials_are_unknown(server: Neo4j, no_leftovers: None) -> None:
    # The user checklist, as wrong passwords of neo4j would lock it for the other tests.
    wrong = await see(HEALTH, server, password=f"{CANARY}-wrong")
    assert (wrong.status, wrong.summary) == (
        Status.UNKNOWN,
        f"Neo4j {server.address} did not accept the credentials.",
    )
    assert (await see(HEALTH, server)).status is Status.OK
    assert (await see(HEALTH, server, username=None, password=None)).status is Status.UNKNOWN
    assert (await see(AUTHENTICATION, server, username=None, password=None)).status is Status.UNKNOWN


async def test_a_statement_that_is_refused_is_told(server: Neo4j, no_leftovers: None) -> None:
    login = Login("checklist", SecretStr(CANARY), None, timedelta(seconds=5))
    async with connected(server.address, login) as connection:
        with pytest.raises(
            ProbeError, match=r"refused the statement: Unsupported administration command: SHOW SERVERS\.$"
        ):
            await connection.rows("SHOW SERVERS", "system")


async def test_long_statements_and_moments_survive_the_journey(server: Neo4j) -> None:
    login = Login("checklist", SecretStr(CANARY), None, timedelta(seconds=15))
    async with connected(server.address, login) as connection:
        for length in (255, 256, 40_000, 65_535, 70_000):
            text = "x" * length
            (row,) = await connection.rows(f"RETURN '{text}' AS text, datetime('2024-02-29T12:00:00Z') AS moment")
            assert row == {"text": text, "moment": datetime(2024, 2, 29, 12, tzinfo=UTC)}


async def test_a_server_killed_in_the_middle_of_a_run_is_unknown(server: Neo4j, no_leftovers: None) -> None:
    async with Proxy(LOOPBACK, server.port) as proxy:
        through = [{"bolt": f"{LOOPBACK}:{proxy.address[1]}", "http": server.url}]
        proxy.pause()
        looking = asyncio.create_task(look(target(servers=through, routing=False), *LIVE))
        await eventually(lambda: proxy.open, what="the run is under way")
        proxy.cut()
        assert {result.status for result in (await looking).values()} == {Status.UNKNOWN}
        proxy.resume()
        seen = await look(target(servers=through, routing=False), *LIVE)
        assert {result.status for result in seen.values()} == {Status.OK}


async def test_a_run_that_is_cancelled_leaves_nothing_behind(no_leftovers: None) -> None:
    async with faults.mute() as mute, faults.unroutable() as unroutable, faults.half_reply(BOLT) as greeting:
        for number in range(60):  # cut off at every moment of connecting
            host, port = (mute, unroutable, greeting)[number % 3]
            looking = asyncio.create_task(look(target(servers=[{"bolt": f"{host}:{port}"}]), *LIVE))
            await asyncio.sleep(0.0005 * (number % 20))
            looking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await looking


async def test_hundreds_of_runs_leave_nothing_behind(server: Neo4j, no_leftovers: None) -> None:
    context = lasting()  # one, so that the default password is tried once
    for _ in range(100):
        await look(target(server), *LIVE, context=context)
    async with faults.mute() as silent, faults.refused() as closed, faults.hanging_up() as flapping:
        for host, port in [silent, closed, flapping] * 60:
            await look(target(servers=[{"bolt": f"{host}:{port}"}], server_timeout="20ms"), *LIVE)


async def test_a_server_that_flaps_leaves_nothing(
    server: Neo4j, no_leftovers: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    seen = set()
    async with Proxy(LOOPBACK, server.port) as proxy:
        configured = target(servers=[{"bolt": f"{LOOPBACK}:{proxy.address[1]}"}], routing=False)
        for number in range(400):
            proxy.cut() if number % 2 else proxy.resume()
            seen.add((number % 2, (await look(configured, HEALTH))[HEALTH].status))
        # What answers gets a second connection, for its indexes; what is cut is not tried again.
        assert proxy.accepted == 200 * 2 + 200
    assert seen == {(0, Status.OK), (1, Status.UNKNOWN)}
    assert not [record for record in caplog.records if record.name != "asyncio"]


async def test_the_driver_logs_nothing_whatever_happens(server: Neo4j, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    context = lasting()
    assert (await see(AUTHENTICATION, server, context=context)).status is Status.OK
    assert (await see(HEALTH, server, password=f"{CANARY}-wrong")).status is Status.UNKNOWN
    async with faults.half_reply(BOLT + b"\x00\x02\xb1\x70\x00\x00") as (host, port), faults.mute() as silent:
        for where in (f"{host}:{port}", f"{silent[0]}:{silent[1]}"):
            await look(target(servers=[{"bolt": where}], server_timeout="300ms"), *LIVE)
    assert CANARY not in caplog.text
    assert not [record for record in caplog.records if record.name.startswith("neo4j")]


async def test_the_systems_authorities_are_trusted_where_none_is_given(
    open_server: Neo4j, ca: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", ca)  # what OpenSSL takes for the system's
    http._tls_context.cache_clear()
    try:
        assert (await see(HEALTH, open_server, tls={})).status is Status.OK
    finally:
        http._tls_context.cache_clear()


async def test_tls_is_verified(open_server: Neo4j, ca: str, tmp_path: Path, no_leftovers: None) -> None:
    async def seen(**options: Any) -> Result:
        return await see(HEALTH, open_server, **options)

    await until(lambda: seen(tls={"ca_file": ca}), Status.OK, "answers")  # one that has just started is slow
    soon = await until(lambda: seen(tls={"ca_file": ca}, certificate_warn="1000d"), Status.WARNING, "expires in")
    for where in (open_server.address, open_server.url):
        assert f"The certificate of Neo4j {where} expires in " in soon.summary
    distrusted = await seen(tls={})
    assert (distrusted.status, "the certificate was not accepted" in distrusted.summary) == (Status.UNKNOWN, True)
    assert (await seen(tls={"insecure_skip_verify": True})).status is Status.OK
    assert (await seen()).status is Status.UNKNOWN
    named = await see(HEALTH, servers=[{"bolt": f"localhost:{open_server.port}"}], routing=False, tls={"ca_file": ca})
    assert (named.status, "Hostname mismatch" in named.summary) == (Status.UNKNOWN, True)
    missing = await seen(tls={"ca_file": str(tmp_path / "none.pem")})
    assert (missing.status, "cannot be read" in missing.summary) == (Status.UNKNOWN, True)


async def test_no_tls_where_it_is_wanted_is_unknown(server: Neo4j, ca: str, no_leftovers: None) -> None:
    result = await see(HEALTH, server, tls={"ca_file": ca})
    assert result.status is Status.UNKNOWN


def test_another_name_in_the_certificate_cannot_be_asked_for() -> None:
    with pytest.raises(ValidationError, match=r"expected no tls\.server_name"):
        target(servers=[{"bolt": "neo4j-0:7687"}], tls={"server_name": "neo4j.example.com"})
    with pytest.raises(ValidationError, match="expected host:port"):
        target(servers=[{"bolt": "neo4j-0"}])


# -- space


@pytest.mark.verifies("neo4j.storage_sufficient", "ok")
@pytest.mark.verifies("neo4j.storage_sufficient", "failed")
@pytest.mark.verifies("neo4j.storage_sufficient", "unknown")
async def test_space_is_judged_on_every_volume(tmp_path: Path) -> None:
    data = {"path": str(tmp_path), "min_free": 1, "min_free_ratio": 0}

    async def space(*volumes: dict[str, Any]) -> Result:
        return await see(SPACE, servers=[{"bolt": "n1:7687", "volumes": [*volumes]}])

    good = await space(data, data | {"name": "transactions"})
    assert good.status is Status.OK
    assert {"free_bytes", "transactions_free_bytes"} <= set(good.measurements)
    full = await space(data, data | {"name": "transactions", "min_free_ratio": 1})
    assert (full.status, full.summary.startswith("n1:7687: Volume transactions has ")) == (Status.FAILED, True)
    assert (await space()).summary == "n1:7687: option volumes is not set, so no free space was seen."
    assert (await space(data | {"path": str(tmp_path / "none")})).status is Status.UNKNOWN
    defaults = Neo4jVolume(path=tmp_path)
    assert (defaults.min_free, defaults.min_free_ratio) == (20 * 2**30, 0.2)


# -- indexes


@contextmanager
def lock_held(server: Neo4j, *statements: str) -> Iterator[None]:
    """A transaction that has changed a node and stays open, while these statements wait for it; they are done at the end."""
    server.run("MERGE (n:Counter {id: 1})", database="neo4j")
    with ExitStack() as stack:
        driver = stack.enter_context(neo4j.GraphDatabase.driver(f"bolt://{server.address}", auth=("neo4j", PASSWORD)))
        threads = stack.enter_context(ThreadPoolExecutor(len(statements)))
        holder = stack.enter_context(driver.session(database="neo4j")).begin_transaction()
        with holder:
            holder.run("MATCH (n:Counter) SET n.value = 1").consume()
            waiting = [threads.submit(server.run, statement, database="neo4j") for statement in statements]
            yield
            holder.rollback()
        for one in waiting:
            one.result(60)


def blocked(server: Neo4j) -> list[dict[str, Any]]:
    """The transactions that have waited for two seconds, as the server shows them."""
    rows = server.run(
        "SHOW TRANSACTIONS YIELD transactionId, status, resourceInformation WHERE status STARTS WITH 'Blocked by'"
    )
    return [row for row in rows if row["resourceInformation"]["waitTimeMillis"] >= 2000]


def test_the_wait_for_the_present_lock_counts() -> None:
    """A long import that is often held up for a moment waits for minutes in all; rows of a real server."""
    row: dict[str, Any] = {"waitTime": timedelta(seconds=6), "elapsedTime": timedelta(seconds=7), "username": "app"}
    row |= {"transactionId": "neo4j-transaction-17", "status": "Blocked by: [neo4j-transaction-16]"}
    resource = {"waitTimeMillis": 1512, "lockMode": "EXCLUSIVE", "transactionId": 17, "resourceType": "NODE"}
    looked = _look(transactions=[row | {"resourceInformation": resource}])
    assert list(judge.lock_problems(looked, Neo4jLimits(max_lock_wait=timedelta(seconds=5)))) == []
    (problem,) = judge.lock_problems(looked, Neo4jLimits(max_lock_wait=timedelta(seconds=1)))
    assert problem.summary == (
        "Transaction neo4j-transaction-17 on n1:7687 has waited 2s for a lock of neo4j-transaction-16 (limit 1s): what it writes "
        "hangs."
    )


async def test_writes_that_a_lock_holds_up(server: Neo4j) -> None:
    write, schema = "MATCH (n:Counter) SET n.value = 2", "CREATE INDEX held_up FOR (n:Counter) ON (n.value)"
    with lock_held(server, write, schema):
        wait_until(lambda: len(blocked(server)) == 2, "both to wait")
        result = await see(HEALTH, server, max_lock_wait="1s")
        patient = await see(HEALTH, server, max_lock_wait="1h")
    assert (result.status, result.reason) == (Status.FAILED, Reason.LIMIT)
    assert re.match(
        rf"Transaction neo4j-transaction-\d+ on {server.address} has waited \S+ for a lock of neo4j-transaction-\d+ "
        r"\(of user neo4j, open for \S+\) \(limit 1s\): what it writes hangs\. Transaction neo4j-transaction-\d+ on ",
        result.summary,
    ), result.summary
    assert "Counter" not in result.summary  # nor anything else of a statement
    assert patient.status is Status.OK
    server.run("DROP INDEX held_up", "MATCH (n:Counter) DELETE n", database="neo4j")
    assert (await see(HEALTH, server, max_lock_wait="1s")).status is Status.OK


async def test_an_index_that_failed_is_used_by_no_query(server: Neo4j) -> None:
    """A range index takes no value of more than 8 kB."""
    named = "SHOW INDEXES YIELD name, state WHERE name = 'too_long'"
    server.run(
        "UNWIND range(1, 3) AS i CREATE (:Long {text: reduce(s = '', j IN range(1, 4000) | s + 'abcdef')})",
        database="neo4j",
    )
    try:
        server.run("CREATE RANGE INDEX too_long FOR (n:Long) ON (n.text)", database="neo4j")
        await eventually(lambda: server.run(named, database="neo4j")[0]["state"] == "FAILED", "the index to fail", 60)
        result = await see(HEALTH, server)
    finally:
        server.run("DROP INDEX too_long IF EXISTS", "MATCH (n:Long) DELETE n", database="neo4j")
    assert (result.status, result.reason) == (Status.FAILED, Reason.DOWN)
    assert result.summary == (
        f"Index too_long of database neo4j is FAILED on {server.address}: no query uses it, until it is dropped and created again."
    )
    assert (await see(HEALTH, server)).status is Status.OK


@pytest.mark.parametrize(
    ("row", "status", "told"),
    [
        ({"state": "POPULATING", "populationPercent": 12.4}, Status.WARNING, "is POPULATING on n1:7687, 12% done"),
        ({"state": "POPULATING", "owningConstraint": "unique"}, Status.FAILED, "so constraint unique refuses writes"),
        ({"state": "FAILED", "owningConstraint": "unique"}, Status.FAILED, "constraint unique refuses writes, until"),
    ],
)
def test_indexes_that_are_not_online(row: dict[str, Any], status: Status, told: str) -> None:
    [problem] = judge.index_problems([_look(indexes={"orders": [{"name": "by_id", **row}]})])
    assert (problem.status, told in problem.summary) == (status, True), problem


def test_indexes_that_one_server_does_not_show() -> None:
    denied = ProbeError("Neo4j n1:7687 has no right for it.", Reason.DENIED)
    shown = _look(indexes={"orders": [{"name": "by_id", "state": "ONLINE"}]})
    hidden = _look(indexes={"orders": denied})
    assert not list(judge.index_problems([hidden, shown]))
    assert [problem.status for problem in judge.index_problems([hidden])] == [Status.UNKNOWN]


# -- metrics


async def collected(configured: Neo4jTarget, prometheus: PrometheusClient) -> Result:
    return (await look(configured, METRICS, context=make_context(clients={"prometheus": prometheus})))[METRICS]


@pytest.mark.verifies("neo4j.metrics_collected", "ok")
@pytest.mark.verifies("neo4j.metrics_collected", "failed")
@pytest.mark.verifies("neo4j.metrics_collected", "unknown")
async def test_metrics_are_collected(server: Neo4j, tmp_path: Path) -> None:
    # Enterprise cannot be had: its documented series comes from a page of the test, and nobody tells its edition.
    enterprise = target(servers=[{"bolt": f"{LOOPBACK}:{free_port()}"}], server_timeout="1s")
    by_probe = {"job": "probe", "health": "probe_success", "series": "probe_duration_seconds"}
    probed = target(server, neo4j_metrics="jmx", scrape=by_probe)
    page = Exposition("neo4j_dbms_bolt_connections_running 3\n")
    with page, blackbox_exporter(tmp_path, {"http": {"prober": "http"}}) as exporter:

        def probe(port: int) -> dict[str, Any]:
            params = {"module": ["http"], "target": [f"http://{LOOPBACK}:{port}"]}
            # blackbox_exporter takes half a second off the time that Prometheus leaves it.
            patience = {"scrape_interval": "1s", "scrape_timeout": "1s"}
            return scrape("probe", exporter.port, metrics_path="/probe", params=params, **patience)

        folder = tmp_path / "prometheus"
        folder.mkdir()
        with Prometheus(folder, scrapes=[scrape("neo4j", page.port), probe(server.http_port)]) as scraping:
            prometheus = PrometheusClient(PrometheusSettings(url=scraping.url), Threads())
            try:

                async def becomes(configured: Neo4jTarget, status: Status, words: str) -> None:
                    await until(lambda: collected(configured, prometheus), status, words)

                await becomes(enterprise, Status.OK, "up is 1")
                await becomes(probed, Status.OK, "probe_success is 1")
                # Whatever is scraped there: Community has no endpoint.
                await becomes(target(server), Status.FAILED, "are impossible on Community (it is Enterprise only)")
                two = target(servers=[{"bolt": f"{LOOPBACK}:{free_port()}"}] * 2, server_timeout="1s")
                await becomes(two, Status.FAILED, "Prometheus scrapes 1 exporters")
                page.text = "up_to_date 1\n"
                # The exporter is up while the server cannot be reached, and the endpoint tells nothing of a server.
                scraping.configure(scrapes=[scrape("neo4j", page.port), probe(free_port())])
                await becomes(probed, Status.FAILED, "probe_success is not 1")
                await becomes(enterprise, Status.FAILED, "Prometheus has no neo4j_dbms_bolt_connections_running")
                scraping.configure(scrapes=[scrape("neo4j", free_port())])
                await becomes(enterprise, Status.FAILED, "Prometheus cannot scrape")
            finally:
                await prometheus.close()
            gone = PrometheusClient(PrometheusSettings(url=scraping.url, timeout=timedelta(seconds=1)), Threads())
            scraping.kill()
            assert (await collected(probed, gone)).status is Status.UNKNOWN
            await gone.close()


# -- backups


_BEGINS = {".gz": b"\x1f\x8b"}


def dump(folder: Path, name: str, *, hours_ago: float = 1, size: int = 9) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((_BEGINS.get(path.suffix, b"DZV1") + b"x" * size)[:size])
    moment = datetime.now(UTC).timestamp() - hours_ago * 3600
    os.utime(path, (moment, moment))


@pytest.mark.verifies("neo4j.backup_tested", "ok")
@pytest.mark.verifies("neo4j.backup_tested", "failed")
@pytest.mark.verifies("neo4j.backup_tested", "unknown")
async def test_dumps_are_looked_at_and_restores_attested(server: Neo4j, tmp_path: Path) -> None:
    folder = tmp_path / "dumps"
    dump(folder, "neo4j.dump")
    restored = make_context(evidence=attested(tmp_path / "evidence", f"neo4j.{BACKUP}"))

    async def seen(context: Context = restored, **options: Any) -> Result:
        return await see(BACKUP, server, context=context, **{"backup_folder": str(folder)} | options)

    half = await seen()
    assert (half.status, half.summary) == (Status.FAILED, "Database system has no dump or backup in the folder.")
    assert (await seen(without_backup={"system": "There is one user."})).status is Status.OK
    day = datetime.now(UTC) - timedelta(hours=2)
    dump(folder, f"{day:%Y-%m-%d}/system-{day:%Y-%m-%dT%H-%M-%S}.backup.gz")
    good = await seen()
    assert good.status is Status.OK
    assert good.summary.startswith(
        "All databases have a recent dump or backup. Community can only dump a database that is stopped."
    )
    (tmp_path / "nothing").mkdir()
    untested = make_context(
        evidence=Evidence(tmp_path / "nothing", environment="production", now=lambda: datetime.now(UTC))
    )
    assert (await seen(context=untested)).summary == "There is no evidence for neo4j.backup_tested."
    expired = make_context(evidence=attested(tmp_path / "expired", f"neo4j.{BACKUP}", days_ago=100))
    assert "expired" in (await seen(context=expired)).summary
    dump(folder, "neo4j.dump", hours_ago=30)
    old = await seen()
    assert (old.status, old.summary) == (
        Status.FAILED,
        "The newest backup of database neo4j is 1d6h old (limit 1d2h): neo4j.dump.",
    )
    assert (
        await seen(backup_folder=None)
    ).summary == "Option backup_folder is not set, so no dump or backup was checked."
    missing = await seen(backup_folder=str(tmp_path / "none"))
    assert (missing.status, missing.summary) == (
        Status.UNKNOWN,
        f"Backup folder {tmp_path / 'none'} cannot be listed: No such file or directory.",
    )
    unseen = await seen(servers=[{"bolt": f"{LOOPBACK}:{free_port()}"}])
    assert unseen.status is Status.UNKNOWN


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("orders.dump", True),
        ("orders-2026-11-24T02-00-00.backup", True),
        ("orders-2026-11-24.dump.zst.age", True),
        ("orders-eu.dump", False),
        ("orders-eu-2026-11-24T02-00-00.backup", False),
        ("orders.dump.tmp", False),
        ("my-orders.dump", False),
        ("orders.txt", False),
    ],
)
def test_files_are_known_by_their_names(name: str, counts: bool) -> None:
    looked = _look(databases=[_row(name="orders")])
    problems = list(judge.saved_problems([looked], [Artefact(name, NOW, 1)], Neo4jLimits(), NOW))
    assert bool(problems) is not counts


def test_artefacts_that_are_none_are_told() -> None:
    looked = _look(databases=[_row(name="orders"), _row(name="view", type="composite")])
    limits = Neo4jLimits()
    empty = list(judge.saved_problems([looked], [Artefact("orders.dump", NOW, 0)], limits, NOW))
    assert [problem.summary for problem in empty] == ["The newest backup of database orders is empty: orders.dump."]
    late = [Artefact("orders.dump", NOW + timedelta(hours=1), 1)]
    assert [problem.status for problem in judge.saved_problems([looked], late, limits, NOW)] == [Status.UNKNOWN]
    unseen = _look(databases=ProbeError("No databases were seen."))
    assert [problem.summary for problem in judge.saved_problems([unseen], [], limits, NOW)] == [
        "No databases were seen."
    ]
    assert [problem.status for problem in judge.saved_problems([_look(databases=[])], [], limits, NOW)] == [
        Status.UNKNOWN
    ]


@pytest.mark.parametrize(
    ("name", "content", "whole"),
    [
        ("orders.dump", b"DZV1\x28\xb5\x2f\xfd", True),  # of neo4j-admin 5.26
        ("orders.dump", b"DGV1\x1f\x8b", True),
        ("orders.dump", bytes(5000), False),
        ("orders.dump", b"<html>504 Gateway Timeout", False),
        ("orders.dump", b"Error: database is in use", False),
        ("orders.dump.gz", b"\x1f\x8b\x08", True),
        ("orders.dump.gz", b"DZV1\x28\xb5", False),
        ("orders.dump.gz", gzip.compress(b"DZV1" + bytes(5000), mtime=0), True),
        ("orders.dump.gz", gzip.compress(b"", mtime=0), False),
        ("orders.dump.gz", gzip.compress(b"Error: database is in use", mtime=0), False),
        ("orders.dump.xz", lzma.compress(b"DZV1" + bytes(5000)), True),
        ("orders.dump.xz", lzma.compress(bytes(5000)), False),
        ("orders-2026-11-24T02-00-00.backup.gz", gzip.compress(b"", mtime=0), False),
        ("orders.dump.zst.age", b"age-encryption.org/v1", True),
        ("orders.dump.gpg", b"\x85\x02\x0c\x03", True),
        ("orders-2026-11-24T02-00-00.backup", b"whatever Enterprise writes", True),
        ("orders-2026-11-24T02-00-00.backup", bytes(5000), False),
    ],
)
def test_files_begin_as_their_names_promise(tmp_path: Path, name: str, content: bytes, whole: bool) -> None:
    (tmp_path / name).write_bytes(content)
    moment = NOW.timestamp()
    os.utime(tmp_path / name, (moment, moment))
    looked = _look(databases=[_row(name="orders")])
    problems = list(judge.saved_problems([looked], section._files(tmp_path), Neo4jLimits(), NOW))
    assert [problem.summary for problem in problems] == (
        [] if whole else [f"The newest backup of database orders is none, by its first bytes: {name}."]
    )


def test_a_dump_that_shrank_is_told() -> None:
    looked = _look(databases=[_row(name="orders")])
    kept = [Artefact(f"orders-2026-11-{day}.dump", NOW - timedelta(days=24 - day), 100_000) for day in (21, 22, 23)]
    for size, status, words in (
        (90_000, [], ""),
        (40_000, [Status.WARNING], "The newest backup of database orders has 40 kB, those before it 100 kB."),
        (8, [Status.FAILED], "has 8 B, those before it 100 kB."),
    ):
        problems = list(judge.saved_problems([looked], [*kept, Artefact("orders.dump", NOW, size)], Neo4jLimits(), NOW))
        assert [problem.status for problem in problems] == status
        assert words in " ".join(problem.summary for problem in problems)


def test_sizes_are_compared_among_what_is_alike() -> None:
    """A differential backup of Enterprise has the name of a full one, and what is compressed is smaller than what is not."""
    looked = _look(databases=[_row(name="orders")])
    for newest, before in (
        ("orders-2026-11-24T02-00-00.backup", "orders-2026-11-23T02-00-00.backup"),
        ("orders-2026-11-24T02-00-00.backup.age", "orders-2026-11-23T02-00-00.backup.age"),
        ("orders-2026-11-24.dump.gz", "orders-2026-11-23.dump"),
    ):
        kept = [Artefact(newest, NOW, 600), Artefact(before, NOW - timedelta(days=1), 10**9)]
        assert list(judge.saved_problems([looked], kept, Neo4jLimits(), NOW)) == []
    kept = [Artefact("orders-2026-11-24.dump.gz", NOW, 600)]
    kept += [Artefact("orders-2026-11-23.dump.gz", NOW - timedelta(days=1), 10**9)]
    assert [problem.status for problem in judge.saved_problems([looked], kept, Neo4jLimits(), NOW)] == [Status.FAILED]


def test_a_folder_of_very_many_files_is_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(section, "_MAX_FILES", 2)
    for number in range(3):
        dump(tmp_path, f"{number}.dump")
    with pytest.raises(ProbeError, match="more than 2 files"):
        section._files(tmp_path)


@pytest.mark.parametrize(
    ("path", "taken"),
    [
        ("orders-2026-11-22T02-00-00.backup", datetime(2026, 11, 22, 2, tzinfo=UTC)),
        ("20261122T020000Z/orders.dump", datetime(2026, 11, 22, 2, tzinfo=UTC)),
        ("2026-11-22/orders.dump.gz", datetime(2026, 11, 23, tzinfo=UTC)),
        ("2026/11/22/orders.dump.gz", datetime(2026, 11, 23, tzinfo=UTC)),
        ("orders-2026-11-29.dump", NOW),  # in the future: the file was written before
        ("orders-1234567890.dump", NOW),
        ("orders.dump", NOW),
    ],
)
def test_a_copy_is_younger_than_its_backup(path: str, taken: datetime) -> None:
    assert dated(path, NOW) == taken


async def test_an_old_backup_that_was_copied_is_old(server: Neo4j, tmp_path: Path) -> None:
    folder = tmp_path / "dumps"
    dump(folder, "system.dump")
    then = datetime.now(UTC) - timedelta(days=3)
    dump(folder, f"neo4j-{then:%Y-%m-%dT%H-%M-%S}.backup")
    result = await see(BACKUP, server, backup_folder=str(folder))
    assert result.status is Status.FAILED
    assert result.summary.startswith("The newest backup of database neo4j is 3d")
    assert result.reason is Reason.LIMIT


async def test_open_paths_and_databases_that_take_no_writes_or_no_more_transactions_are_reported(
    tmp_path: Path,
) -> None:
    settings = {
        "dbms.security.http_auth_allowlist": "/,/browser.*,/db/neo4j/.*",
        "db.transaction.concurrent.maximum": _MOST,
    }
    with Neo4j(tmp_path / "neo4j", settings=settings) as server:
        server.change_password()
        server.run(
            Neo4jSection.rights.strip().splitlines()[-1].strip().replace("'PASSWORD'", f"'{CANARY}'").rstrip(";"),
            "CREATE USER admin SET PASSWORD 'admin' CHANGE NOT REQUIRED",
        )
        async with asyncio.timeout(60):
            async with httpx.AsyncClient() as anybody:
                body = {"statements": [{"statement": "RETURN 1"}]}
                reply = await anybody.post(f"{server.url}/db/neo4j/tx/commit", json=body)
        assert (reply.status_code, reply.json()["errors"]) == (200, []), "it runs statements of anybody"
        result = await see(AUTHENTICATION, server)
        assert (result.status, result.reason) == (Status.FAILED, Reason.MISCONFIGURED)
        where = f"Neo4j {server.address}"
        assert (
            f"{where} runs statements of anybody: HTTP without credentials is answered 200 at /db/neo4j/tx/commit."
            in result.summary
        )
        assert f"{where} lets in the user admin with the password admin." in result.summary
        assert "dbms.security.http_auth_allowlist has /db/neo4j/.*." in result.summary
        unasked = await see(AUTHENTICATION, servers=[{"bolt": server.address}])
        assert unasked.status is Status.FAILED, "the setting says it where nobody knocked"
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (1000, 1000))  # as on a disk that is full
        with pytest.raises(DatabaseError):
            server.run("UNWIND range(1, 5000) AS number CREATE ({number: number})", database="neo4j")
        with pytest.raises(DatabaseError, match="needs to be restarted"):
            server.run("RETURN 1", database="neo4j")
        broken = await see(HEALTH, server)
        assert (broken.status, broken.reason) == (Status.FAILED, Reason.DOWN)
        assert f"{where} refuses statements of anybody: The database has encountered a critical error" in broken.summary
        server.kill()
        with (server.directory / "neo4j.conf").open("a") as configuration:
            configuration.write("server.databases.read_only=neo4j\n")
        server.start()
        with pytest.raises(ClientError, match="read-only"):
            server.run("CREATE (n)", database="neo4j")
        result = await see(HEALTH, server)
        assert (result.status, result.summary) == (
            Status.FAILED,
            f"Database neo4j takes no writes on {server.address}: its access is read-only (wanted read-write).",
        )
        archive: dict[str, Any] = {"read_only": {"neo4j": "It is an archive."}}
        assert (await see(HEALTH, server, **archive)).status is Status.OK
        with ExitStack() as stack:
            driver = stack.enter_context(
                neo4j.GraphDatabase.driver(f"bolt://{server.address}", auth=("neo4j", PASSWORD))
            )
            for _ in range(_MOST):
                session = stack.enter_context(driver.session(database="neo4j"))
                stack.enter_context(session.begin_transaction()).run("RETURN 1").consume()
            with pytest.raises(TransientError, match="limit of concurrently executed transactions"):
                server.run("RETURN 1", database="neo4j")
            full = await see(HEALTH, server, **archive)
        assert (full.status, full.reason) == (Status.FAILED, Reason.LIMIT)
        assert f"{where} refuses statements of anybody: Unable to start new transaction since limit of" in full.summary


#: Transactions of a server that takes few: with fewer it does not start.
_MOST = 12


@pytest.mark.parametrize(
    ("allowlist", "statuses"),
    [
        ("/,/browser.*", []),
        ("/,/browser.*,/db/neo4j/.*", [Status.FAILED]),
        (".*", [Status.FAILED]),
        ("/db/.+/tx/commit", [Status.FAILED]),
        ("/db/NEO4J/tx/commit", [Status.FAILED]),  # the database is found by its name in any case
        ("/db/System/tx.*", [Status.FAILED]),
        ("/db/other/.*", [Status.WARNING]),
        ("/(", [Status.UNKNOWN]),
    ],
)
def test_the_setting_that_opens_paths(allowlist: str, statuses: list[Status]) -> None:
    settings = SETTINGS | {"dbms.security.http_auth_allowlist": allowlist}
    closed = Doors(Entry.REFUSED, None, Tried(Entry.REFUSED))
    assert [problem.status for problem in judge.door_problems("n1:7687", settings, closed)] == statuses
    off = {"server.http.enabled": "false", "server.https.enabled": "false"}
    assert list(judge.door_problems("n1:7687", settings | off, closed)) == []


@pytest.mark.parametrize(
    ("status", "code", "entry"),
    [
        (401, "Neo.ClientError.Security.Unauthorized", Entry.REFUSED),
        (400, "Neo.ClientError.Security.Unauthorized", Entry.REFUSED),  # the path is open, its statements are not
        (404, "Neo.TransientError.General.DatabaseUnavailable", Entry.ACCEPTED),
        (403, "Neo.ClientError.Security.Forbidden", Entry.REFUSED),
        (200, "", Entry.ACCEPTED),
        (404, "Neo.ClientError.Request.Invalid", Entry.REFUSED),  # this API is switched off
        (404, "", None),
        (502, "", None),
    ],
)
def test_what_an_answer_without_credentials_says(status: int, code: str, entry: Entry | None) -> None:
    assert Knock("/db/neo4j/tx/commit", status, code).entry is entry
