"""Servers that do what a PostgreSQL should not, and what a run leaves behind: nothing."""

import asyncio
import json
import logging
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import ValidationError

from collectors.infrastructure.postgresql import PostgreSQL, PostgreSQLSettings, PostgreSQLTarget
from collectors.shared.dsn import parse_dsn
from exporter.verdict import Status
from tests.servers.certificates import authority
from tests.servers.faults import (
    Address,
    Proxy,
    endless,
    garbage,
    half_reply,
    hanging_up,
    mute,
    refused,
    serving,
    unroutable,
)
from tests.servers.postgresql import (
    MONITOR,
    PASSWORD,
    Cluster,
    Postgres,
    create_monitor,
    postgresql_15,
    run_unprivileged,
)
from tests.servers.process import LOOPBACK, eventually, scratch, unprivileged
from tests.support import Run, looks, make_context, verify

ALL = tuple(PostgreSQL.items())
DEADLINE = 30.0

Fault = Callable[[], AbstractAsyncContextManager[Address]]


def dsn(address: Address, **more: str) -> str:
    host, port = address
    given: dict[str, str | int] = {
        "host": host,
        "port": port,
        "dbname": "orders",
        "user": MONITOR,
        "password": PASSWORD,
        **more,
    }
    return psycopg.conninfo.make_conninfo("", **given)


async def test_hosts_without_a_port_are_named_with_the_usual_one(
    monkeypatch: pytest.MonkeyPatch, no_leftovers: None
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", fail)
    seen = await look("postgresql://u@db-0,db-1/orders", "pods_healthy")
    for host in ("db-0", "db-1"):
        assert f"PostgreSQL at {host}:5432/orders cannot be reached: " in seen["pods_healthy"].summary


def run(connection_string: str, *items: str, **options: object) -> Run:
    """A run that gives each question a second, however late it is answered within that."""
    target = {"name": "orders", "dsn": connection_string, "query_timeout": "1s", "max_latency": "20s", **options}
    return Run(PostgreSQL, items or ALL, target=target, secrets=[PASSWORD])


look = looks(run)


def message(kind: bytes, body: bytes) -> bytes:
    """One message of PostgreSQL's protocol."""
    return kind + struct.pack("!I", len(body) + 4) + body


WELCOME = message(b"R", struct.pack("!I", 0)) + message(b"Z", b"I")
ROWS = message(b"D", struct.pack("!HI", 1, 65_000) + b"x" * 65_000)


@asynccontextmanager
async def endless_rows() -> AsyncIterator[Address]:
    """Let everybody in, and answer the first question with rows for ever."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65_536)
        writer.write(WELCOME)
        await reader.read(65_536)
        writer.write(message(b"T", struct.pack("!H", 1) + b"c\0" + struct.pack("!IHIhiH", 0, 0, 25, -1, -1, 0)))
        while True:
            writer.write(ROWS)
            await writer.drain()

    async with serving(talk) as address:
        yield address


FAULTS: dict[str, tuple[Fault, str]] = {
    "refused": (refused, "cannot be reached: Connection refused."),
    "unroutable": (unroutable, "let nobody in within 1s."),
    "mute": (mute, "let nobody in within 1s."),
    "hanging up": (hanging_up, "cannot be reached: server closed the connection unexpectedly."),
    "half a reply": (lambda: half_reply(WELCOME[:7]), "let nobody in within 1s."),
    "in, and then mute": (lambda: half_reply(WELCOME), "did not answer within 1s."),
    "garbage": (garbage, "cannot be reached: "),
    "HTTP": (lambda: half_reply(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "cannot be reached: "),
    "endless letters": (lambda: endless(b""), "cannot be reached: "),
    "endless notices": (
        lambda: endless(WELCOME[:9], message(b"N", b"SNOTICE\0Mon\0\0") * 500),
        "let nobody in within 1s.",
    ),
    "endless rows": (endless_rows, "did not answer within 1s."),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_faulty_server_is_unknown_in_time(
    fault: str, no_leftovers: None, caplog: pytest.LogCaptureFixture
) -> None:
    serve, told = FAULTS[fault]
    async with serve() as address:
        started = time.monotonic()
        seen = await look(
            dsn(address, sslmode="disable"),
            volumes=[{"path": "/", "min_free": "1MB", "min_free_ratio": 0.001}],
            pools=[{"name": "api", "size": 1}],
        )
        assert time.monotonic() - started < DEADLINE
    assert {result.status for result in seen.values()} == {Status.UNKNOWN}
    assert seen["pods_healthy"].summary.startswith(f"PostgreSQL at {LOOPBACK}:{address[1]}/orders ")
    assert told in seen["pods_healthy"].summary
    assert not caplog.records


@pytest.mark.parametrize("fault", ["mute", "garbage", "hanging up"])
async def test_a_faulty_server_when_tls_is_wanted(fault: str, no_leftovers: None) -> None:
    serve, _ = FAULTS[fault]
    async with serve() as address:
        seen = await look(dsn(address, sslmode="require"), "pods_healthy")
    assert seen["pods_healthy"].status is Status.UNKNOWN


@pytest.mark.parametrize("fault", ["refused", "mute", "garbage"])
async def test_a_faulty_pooler_or_patroni_is_unknown_in_time(pair: Cluster, fault: str, no_leftovers: None) -> None:
    serve, told = FAULTS[fault]
    async with serve() as (host, port):
        options = {
            "pgbouncer": dsn((host, port), dbname="pgbouncer"),
            "patroni": {"url": f"http://{host}:{port}", "timeout": "1s"},
        }
        started = time.monotonic()
        seen = await look(pair.dsn, "connection_pool_sized", "failover_tested", **options)
        assert time.monotonic() - started < DEADLINE
    assert {result.status for result in seen.values()} == {Status.UNKNOWN}
    assert told in seen["connection_pool_sized"].summary


async def test_a_wrong_password(pair: Cluster, no_leftovers: None) -> None:
    seen = await look(dsn((LOOPBACK, pair.primary.port), password=f"not {PASSWORD}"))
    assert {result.status for result in seen.values()} == {Status.UNKNOWN}
    assert f'password authentication failed for user "{MONITOR}"' in seen["pods_healthy"].summary


@pytest.mark.parametrize(("key", "value", "told"), [("dbname", "absent", "database"), ("user", "nobody", "nobody")])
async def test_a_database_or_role_that_is_not_there(pair: Cluster, key: str, value: str, told: str) -> None:
    seen = await look(dsn((LOOPBACK, pair.primary.port), **{key: value}), "pods_healthy")
    assert seen["pods_healthy"].status is Status.UNKNOWN
    assert told in seen["pods_healthy"].summary


@pytest.mark.parametrize("error", [socket.gaierror(socket.EAI_NONAME, "Name or service not known"), None])
async def test_a_name_that_is_none(
    monkeypatch: pytest.MonkeyPatch, error: socket.gaierror | None, no_leftovers: None
) -> None:
    host = "x" * 64 + ".example.com"  # longer than a label can be, so that nobody is asked
    if error:

        async def fail(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", fail)
    seen = await look(dsn((host, 5432)), "pods_healthy")
    assert seen["pods_healthy"].status is Status.UNKNOWN
    assert seen["pods_healthy"].summary.startswith(f"PostgreSQL at {host}:5432/orders cannot be reached: ")


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Postgres, Path]]:
    """A PostgreSQL that speaks TLS as db.example.com, and the file of the authority to trust."""
    trusted = tmp_path_factory.mktemp("trust") / "ca.pem"
    trusted.write_bytes(authority().pem)
    with scratch("postgresql", unprivileged()) as directory:
        certificate, key = authority().issue("db.example.com").write(directory, "server")
        for path in (certificate, key):
            path.chmod(0o644)
        instance = Postgres(postgresql_15(), directory, "secured").initialize(ssl="on")
        for path, name in ((certificate, "server.crt"), (key, "server.key")):
            run_unprivileged("install", "-m", "600", path, instance.data / name)
        with instance:
            create_monitor(instance)
            yield instance, trusted


async def test_the_name_in_the_certificate_counts(secured: tuple[Postgres, Path], no_leftovers: None) -> None:
    instance, trusted = secured
    tls = {"sslmode": "verify-full", "sslrootcert": str(trusted)}
    right = dsn(("db.example.com", instance.port), hostaddr=LOOPBACK, **tls)
    assert (await look(right, "pods_healthy", query_timeout="20s"))["pods_healthy"].status is Status.OK
    wrong = dsn(("other.example.com", instance.port), hostaddr=LOOPBACK, **tls)
    seen = (await look(wrong, "pods_healthy"))["pods_healthy"]
    assert seen.status is Status.UNKNOWN
    assert 'server certificate for "db.example.com" does not match host name "other.example.com"' in seen.summary
    strange = dsn(
        ("db.example.com", instance.port), hostaddr=LOOPBACK, sslmode="verify-full", sslrootcert="/nonexistent"
    )
    seen = (await look(strange, "pods_healthy"))["pods_healthy"]
    assert (seen.status, "/nonexistent" in seen.summary) == (Status.UNKNOWN, True)


async def test_plain_text_is_refused_where_tls_is_required(pair: Cluster) -> None:
    with pair.primary.setting(ssl="off"):
        seen = await look(dsn((LOOPBACK, pair.primary.port), sslmode="require"), "pods_healthy")
    assert seen["pods_healthy"].status is Status.UNKNOWN
    assert "SSL" in seen["pods_healthy"].summary


# In mid-run


@pytest.mark.parametrize("end", ["cut", "pause"])
async def test_a_server_that_goes_in_mid_run(
    pair: Cluster, end: str, no_leftovers: None, caplog: pytest.LogCaptureFixture
) -> None:
    """At every moment: after each number of questions that were answered."""
    items = ("pods_healthy", "replication_operational", "slow_query_logging_enabled")

    async def seen(moment: int, timeout: str = "3s") -> set[Status]:
        async with Interrupted(LOOPBACK, pair.primary.port, moment, end) as proxy:
            started = time.monotonic()
            results = (await look(dsn(proxy.address, sslmode="disable"), *items, query_timeout=timeout)).values()
            assert time.monotonic() - started < DEADLINE
        for result in results:
            if result.status is not Status.OK:
                assert result.summary.startswith(f"PostgreSQL at {LOOPBACK}:{proxy.address[1]}/orders "), result
        return {result.status for result in results}

    many, few = (f"ALTER ROLE {MONITOR} CONNECTION LIMIT {limit}" for limit in (50, 5))
    with pair.primary.statements(many, few):  # else most runs are refused
        statuses = await asyncio.gather(*map(seen, range(0, 240, 10)))
    assert statuses[0] == {Status.UNKNOWN}
    assert set().union(*statuses) <= {Status.OK, Status.UNKNOWN}
    assert await seen(1000, "20s") == {Status.OK}, "nothing was cut"
    assert not caplog.records


class Interrupted(Proxy):
    """A proxy that cuts or pauses after so many packets of the server."""

    def __init__(self, host: str, port: int, after: int, end: str) -> None:
        super().__init__(host, port)
        self._left = after
        self._end = end

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            self._left -= 1
            if self._left < 0:
                self.cut() if self._end == "cut" else self.pause()
            await self._flowing.wait()
            writer.write(data)
            await writer.drain()


async def test_a_server_that_freezes_is_told_in_time(pair: Cluster, no_leftovers: None) -> None:
    pair.primary.pause()
    try:
        started = time.monotonic()
        seen = await look(pair.dsn, "pods_healthy")
        assert time.monotonic() - started < DEADLINE
    finally:
        pair.primary.resume()
    assert seen["pods_healthy"].status is Status.UNKNOWN
    assert f":{pair.primary.port}/orders let nobody in within 1s." in seen["pods_healthy"].summary


async def test_a_locked_catalogue_is_waited_for_no_longer_than_allowed(pair: Cluster, no_leftovers: None) -> None:
    """The statement's own timeout ends it on the server as well."""
    with pair.primary.connect() as holder, holder.transaction():
        holder.execute("LOCK TABLE pg_catalog.pg_db_role_setting IN ACCESS EXCLUSIVE MODE")
        # New sessions read that catalogue too, so this one is let in before.
        started = time.monotonic()
        seen = await look(pair.primary.dsn(), "slow_query_logging_enabled")
        assert time.monotonic() - started < DEADLINE
    assert seen["slow_query_logging_enabled"].status is Status.UNKNOWN
    assert "within 1s" in seen["slow_query_logging_enabled"].summary


async def test_a_run_that_is_cancelled_leaves_nothing(
    pair: Cluster, no_leftovers: None, caplog: pytest.LogCaptureFixture
) -> None:
    async with mute() as silent, Proxy(LOOPBACK, pair.primary.port) as proxy:
        for number in range(60):
            proxy.resume()
            if number % 3 == 0:
                proxy.pause()
            address = silent if number % 3 == 1 else proxy.address
            run = asyncio.create_task(look(dsn(address), query_timeout="30s"))
            await asyncio.sleep(0.002 * (number % 10))
            started = time.monotonic()
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            assert time.monotonic() - started < 15, "which is less than a query may take"
    assert not caplog.records
    await eventually(lambda: sessions(pair) == 0, "the server to see every connection closed")


def sessions(pair: Cluster) -> int:
    ((count,),) = pair.primary.query(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'checklist-exporter'"
    )
    return int(count)


async def test_hundreds_of_runs_leave_nothing(
    pair: Cluster, no_leftovers: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    context = make_context()
    seen = set()
    async with Proxy(LOOPBACK, pair.primary.port) as proxy:
        given = {"name": "orders", "dsn": dsn(proxy.address), "query_timeout": "20s", "max_latency": "20s"}
        target = PostgreSQLTarget.model_validate_json(json.dumps(given))
        settings = PostgreSQLSettings(targets=(target,), timeout=timedelta(seconds=60))
        for number in range(400):
            proxy.cut() if number % 2 else proxy.resume()
            observed = await verify(PostgreSQL, settings, target, items=("pods_healthy",), context=context)
            seen.add((number % 2, observed["pods_healthy"].result.status))
    assert seen == {(0, Status.OK), (1, Status.UNKNOWN)}
    assert not [record for record in caplog.records if record.name != "asyncio"]
    await eventually(lambda: sessions(pair) == 0, "the server to see every connection closed")


async def test_one_connection_per_instance_and_run(pair: Cluster) -> None:
    async with Proxy(LOOPBACK, pair.primary.port) as proxy:
        await look(
            dsn(proxy.address),
            pools=[{"name": "api", "size": 1}],
            volumes=[{"path": "/", "min_free": "1MB", "min_free_ratio": 0.001}],
        )
        assert proxy.accepted == 1


# What configuration says


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (f"postgres//user:{PASSWORD}", "expected a PostgreSQL connection string"),
        (f"postgresql://user:{PASSWORD}@db", "expected a PostgreSQL connection string"),
        ("postgresql://user:secret@word@db/orders", "percent-encoded"),
        ("postgresql://user:pass/secret@db/orders", "percent-encoded"),
        ("postgresql://user:/secret@db:5432/orders?sslmode=require", "percent-encoded"),
        ("postgres://user:secret@a/b@db/orders", "percent-encoded"),
        ("host=a,b,c port=1,2", "as many ports and addresses as hosts"),
    ],
)
def test_a_connection_string_that_is_none_is_not_repeated(given: str, told: str) -> None:
    with pytest.raises(ValidationError) as raised:
        PostgreSQLTarget.model_validate_json(json.dumps({"name": "orders", "dsn": given}))
    assert told in str(raised.value)
    assert "secret" not in str(raised.value)
    assert PASSWORD not in str(raised.value)


def test_secrets_do_not_print() -> None:
    given: dict[str, Any] = {"name": "orders", "dsn": dsn((LOOPBACK, 1)), "pgbouncer": dsn((LOOPBACK, 2))}
    target = PostgreSQLTarget.model_validate_json(json.dumps(given))
    assert "canary" not in f"{target} {target!r} {target.model_dump_json()}"


@pytest.mark.parametrize(
    "given",
    ["postgresql://a%40b:c%2Fd@db/or%40ders?application_name=x@y", "host=db user=a@b dbname=or@ders password=c/d"],
)
def test_signs_that_are_encoded_or_need_not_be_are_understood(given: str) -> None:
    target = PostgreSQLTarget.model_validate_json(json.dumps({"name": "orders", "dsn": given}))
    (parameters,) = parse_dsn(target.dsn)
    assert [parameters[key] for key in ("host", "user", "dbname", "password")] == ["db", "a@b", "or@ders", "c/d"]
