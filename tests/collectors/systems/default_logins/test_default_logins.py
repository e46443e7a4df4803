"""Default logins on real servers, and how often each of them is tried."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from collectors.environment_and_secrets.configuration_verification import ConfigurationVerificationSettings
from collectors.systems.default_logins import check
from collectors.systems.default_logins.check import judge_logins
from collectors.systems.default_logins.client import knock
from collectors.systems.default_logins.model.options import DefaultLogin, demand_distinct
from collectors.systems.default_logins.model.tries import Outcome
from exporter.verdict import ProbeError, Reason, Result, Status
from tests.servers.grafana import Grafana, Reply, replay_grafana
from tests.servers.nats import Nats
from tests.servers.postgresql import Postgres, postgresql_15
from tests.servers.process import LOOPBACK, free_port, scratch, wait_until
from tests.servers.redis import Node
from tests.support import Clock

BOSS = "host all boss 127.0.0.1/32 trust\n"
SCRAM = "host all all 127.0.0.1/32 scram-sha-256\n"
USER = "/api/user"
WRONG: Reply = (
    401,
    {"message": "Invalid username or password", "messageId": "password-auth.failed", "statusCode": 401},
)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with scratch("default-logins") as folder:
        folder.chmod(0o777)
        instance = Postgres(postgresql_15(), folder, "logins").initialize(listen_addresses="127.0.0.1, 127.0.0.2")
        instance._write("pg_hba.conf", BOSS + SCRAM.replace("scram-sha-256", "trust"))
        with instance:
            instance.script("CREATE ROLE boss SUPERUSER LOGIN; ALTER ROLE postgres PASSWORD 'another-7d1f'")
            letting_in(instance, SCRAM)
            yield instance


def letting_in(instance: Postgres, rules: str) -> None:
    """Have these rules decide who is let in."""
    instance._write("pg_hba.conf", BOSS + rules)
    before = as_boss(instance, "SELECT pg_conf_load_time()")
    as_boss(instance, "SELECT pg_reload_conf()")
    wait_until(lambda: as_boss(instance, "SELECT pg_conf_load_time()") > before, "the rules to be read")


def as_boss(instance: Postgres, statement: str) -> Any:
    with instance.connect(user="boss") as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchone() if cursor.description else None


def password(instance: Postgres, value: str) -> None:
    as_boss(instance, f"ALTER ROLE postgres PASSWORD '{value}'")


def tried(instance: Postgres) -> int:
    """How many wrong passwords the server itself has counted."""
    return instance.log.read_text(errors="replace").count('password authentication failed for user "postgres"')


def login(kind: str, address: str, **options: Any) -> DefaultLogin:
    return DefaultLogin.model_validate({"kind": kind, "address": address, **options}, strict=False)


class Exporter:
    """An exporter over its restarts: what it measured last is what its state file keeps."""

    def __init__(self, *logins: DefaultLogin) -> None:
        self.logins = logins
        self.clock = Clock()
        self.measured: dict[str, float] | None = {}
        self.memory: dict[str, Any] = {}

    def restart(self) -> None:
        self.memory = {}

    async def run(self) -> list[Result]:
        problems, measured = await judge_logins(self.logins, self.memory, self.measured, self.clock())
        if self.measured is not None:
            self.measured = measured
        self.clock.advance(minutes=5)
        return problems

    async def settled(self) -> list[Result]:
        """Past the day of waiting, the run that records the try, and the one that makes it."""
        await self.run()
        self.clock.advance(days=1)
        await self.run()
        return await self.run()


async def test_a_login_that_may_lock_is_never_tried_twice_a_day(postgres: Postgres) -> None:
    exporter, before = Exporter(login("postgresql", f"{LOOPBACK}:{postgres.port}")), tried(postgres)
    (first,) = await exporter.run()
    assert (first.status, "was last tried is not known" in first.summary) == (Status.UNKNOWN, True)
    for _ in range(3):  # a crash loop
        exporter.restart()
        await exporter.run()
    assert tried(postgres) == before
    exporter.clock.advance(days=1)
    await exporter.run()  # which only records it
    assert tried(postgres) == before
    assert await exporter.run() == []
    assert tried(postgres) == before + 1
    for restarted in (False, True, False):
        if restarted:
            exporter.restart()
        assert await exporter.run() == []  # refused, as is remembered
    exporter.restart()
    exporter.measured = {}  # what was observed with another configuration is forgotten
    (again,) = await exporter.run()
    assert (again.status, again.reason) == (Status.UNKNOWN, Reason.PENDING)
    exporter.clock.advance(hours=23)
    await exporter.run()
    assert tried(postgres) == before + 1
    exporter.clock.advance(hours=1)
    await exporter.run()
    exporter.restart()  # it died of the try, for all that is known
    exporter.clock.advance(hours=23)
    (unclear,) = await exporter.run()
    assert (unclear.status, "What became of the default login" in unclear.summary) == (Status.UNKNOWN, True), unclear
    assert tried(postgres) == before + 1


async def test_without_a_state_file_nothing_is_tried(postgres: Postgres) -> None:
    before = tried(postgres)
    exporter = Exporter(login("postgresql", f"{LOOPBACK}:{postgres.port}"))
    exporter.measured = None
    for _ in range(3):
        (problem,) = await exporter.run()
        exporter.clock.advance(days=2)
    assert (problem.status, "without state.file nobody remembers" in problem.summary) == (Status.UNKNOWN, True)
    assert tried(postgres) == before


async def test_postgresql_says_whether_the_password_is_wrong(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"{LOOPBACK}:{postgres.port}"
    password(postgres, "postgres")
    try:
        (problem,) = await Exporter(login("postgresql", address)).settled()
    finally:
        password(postgres, "another-7d1f")
    assert (problem.status, f"PostgreSQL {address} let in role postgres" in problem.summary) == (Status.FAILED, True)
    before = tried(postgres)
    assert await knock(login("postgresql", address)) is Outcome.REFUSED
    assert tried(postgres) == before + 1  # and not once more in plaintext, as libpq does by itself
    names = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *rest, **more: [
            found
            for one in ("127.0.0.1", "127.0.0.2")
            for found in names(one if host == "db.example" else host, *rest, **more)
        ],
    )
    before = tried(postgres)
    assert await knock(login("postgresql", f"db.example:{postgres.port}")) is Outcome.REFUSED
    assert tried(postgres) == before + 1  # and not at each of its addresses, as psycopg does by itself
    for rules, words in (
        (SCRAM.replace("host ", "hostssl "), "no encryption"),
        ("", "no pg_hba.conf entry"),
    ):
        letting_in(postgres, rules)
        with pytest.raises(ProbeError, match=words):
            await knock(login("postgresql", address))
    letting_in(postgres, SCRAM.replace("scram-sha-256", "trust"))
    assert await knock(login("postgresql", address)) is Outcome.ACCEPTED
    letting_in(postgres, SCRAM)


async def test_redis_with_and_without_a_password(tmp_path: Path) -> None:
    with Node(tmp_path) as node:
        entry = login("redis", node.address)
        (first,) = await Exporter(entry).run()
        assert first.reason is Reason.PENDING  # nothing can lock it: no day to wait for
        exporter = Exporter(entry)
        await exporter.run()
        (problem,) = await exporter.run()
        assert (problem.status, "let in clients without a password" in problem.summary) == (Status.FAILED, True)
        node.command("ACL", "SETUSER", "default", "nopass", "-@all", "+ping", "+hello")
        assert await knock(entry) is Outcome.REFUSED
    for password, outcome in (("foobared", Outcome.ACCEPTED), ("canary-91", Outcome.REFUSED)):
        with Node(tmp_path, "--requirepass", password, password=password) as guarded:
            assert await knock(login("redis", guarded.address)) is outcome
    exporter = Exporter(entry)
    (problem,) = await exporter.run()
    assert (problem.status, problem.reason) == (Status.UNKNOWN, Reason.UNREACHABLE)
    assert exporter.measured == {}  # nobody was there, so no try is spent


async def test_nats_with_and_without_credentials(tmp_path: Path) -> None:
    user = {"user": "a", "password": "b"}
    for authorization, outcome in ((None, Outcome.ACCEPTED), (user, Outcome.REFUSED)):
        with Nats(tmp_path, name=f"n-{outcome.value}", authorization=authorization) as server:
            assert await knock(login("nats", f"{LOOPBACK}:{server.port}")) is outcome


class Guarded(Grafana):
    """A Grafana that knows one user by basic authentication, and answers another one as documented."""

    def reply(self, method: str, target: str, authorization: str) -> Reply:
        return self.replies[target]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ((200, {"id": 1, "login": "admin", "isGrafanaAdmin": True}), Outcome.ACCEPTED),
        (WRONG, Outcome.REFUSED),
        ((401, {"message": "Invalid username or password"}), Outcome.REFUSED),
        ((401, {"message": "Unauthorized", "messageId": "session.token.rotate"}), None),
        ((401, {"message": "Unauthorized", "messageId": "auth.basic.disabled"}), None),
        ((200, ["a login page"]), None),
        ((302, {}), None),
        ((403, {"message": "Access denied"}), None),
    ],
)
async def test_grafana_says_that_the_password_is_wrong(reply: Reply, expected: Outcome | None) -> None:
    with Guarded({USER: reply}) as grafana:
        entry = login("grafana", grafana.url)
        if expected is None:
            with pytest.raises(ProbeError, match="not that the password is wrong"):
                await knock(entry)
        else:
            assert await knock(entry) is expected


async def test_what_is_not_understood_is_not_repeated_before_a_day() -> None:
    with replay_grafana({}) as grafana:
        exporter = Exporter(login("grafana", grafana.url))
        (problem,) = await exporter.settled()
        assert (problem.status, "at most once a day" in problem.summary) == (Status.UNKNOWN, True)
        asked = list(grafana.refused)
        await exporter.run()
        assert (grafana.refused, len(asked)) == (asked, 1)
        grafana.refused.clear()


def test_a_login_is_configured_once() -> None:
    one, other = login("grafana", "https://Grafana.example/"), login("grafana", "https://grafana.example:443")
    assert one.key == other.key
    with pytest.raises(ValueError, match="once in default_logins"):
        demand_distinct([one, other])
    entry = {"kind": "redis", "address": "cache:6379"}
    targets = [{"name": name, "default_logins": [entry]} for name in ("a", "b")]
    with pytest.raises(ValidationError, match="once in default_logins"):
        ConfigurationVerificationSettings.model_validate({"targets": targets}, strict=False)
    for kind, address in (("redis", "cache"), ("grafana", "grafana:3000"), ("mysql", "a:1")):
        with pytest.raises(ValidationError):
            login(kind, address)


async def test_a_future_try_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that was ahead does not keep the login untried for years."""

    async def refused(_: DefaultLogin) -> Outcome:
        return Outcome.REFUSED

    monkeypatch.setattr(check, "knock", refused)
    monkeypatch.setattr(check, "is_there", refused)
    entry = login("nats", f"{LOOPBACK}:{free_port()}")
    exporter = Exporter(entry)
    exporter.measured = {
        f"{entry.key}_try_timestamp_seconds": exporter.clock().timestamp() + 9e7,
        f"{entry.key}_accepted": 0.0,
    }
    assert await exporter.run() == []
    exporter.clock.advance(days=1)
    await exporter.run()
    assert await exporter.run() == []
    assert exporter.measured[f"{entry.key}_try_timestamp_seconds"] < exporter.clock().timestamp()
