"""Servers that do what a NATS should not, and what a run leaves behind: nothing."""

from __future__ import annotations

import asyncio
import logging
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.infrastructure.nats import Nats as NatsSection
from collectors.systems.nats.client.connection import Login, connected
from exporter.collector import Context
from exporter.verdict import ProbeError, Result, Status
from tests.servers import faults
from tests.servers.faults import Address, Proxy, serving
from tests.servers.nats import Nats
from tests.servers.process import LOOPBACK, eventually
from tests.support import Run, looks, make_context

HEALTH, STORE, REPLICATION = "pods_healthy", "jetstream_persistence_enabled", "message_replication_configured"
LOOKED = (HEALTH, STORE, REPLICATION)
CANARY = "canary-41d2"
DEADLINE = 10.0

pytestmark = pytest.mark.usefixtures("no_noise")

Fault = Callable[[], AbstractAsyncContextManager[Address]]


def run(
    server: str,
    monitoring: str,
    *items: str,
    context: Context | None = None,
    patience: str = "300ms",
    **options: Any,
) -> Run:
    """A run that gives each request 300 ms, and the monitoring endpoint its `patience`.

    That is for those that stay silent: others may be slow on a busy machine.
    """
    node = {"server": server, "monitoring": {"url": monitoring, "timeout": patience}}
    target = {"name": "broker", "nodes": [node], "node_timeout": "300ms", "store_volume": "/", "min_replicas": 1}
    return Run(NatsSection, items or LOOKED, target=target | options, context=context, secrets=[CANARY])


look = looks(run)


INFO = b'INFO {"server_id":"a","version":"2.10.0","max_payload":1048576,"headers":true}\r\n'
READY = INFO + b"PONG\r\n"


@asynccontextmanager
async def telling(first: bytes, more: bytes = b"", *, every: float = 0.0) -> AsyncIterator[Address]:
    """A server that speaks first, as NATS does, and then goes on, or is silent."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        while more:
            writer.write(more)
            await writer.drain()
            await asyncio.sleep(every)
        while await reader.read(65_536):
            pass

    async with serving(talk) as address:
        yield address


@asynccontextmanager
async def greeting(then: bytes, more: bytes = b"") -> AsyncIterator[Address]:
    """A server that lets a client in, and answers its first request with `then` and, for ever, `more`."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(INFO)
        with suppress(asyncio.IncompleteReadError):  # the client has gone
            await reader.readuntil(b"PING\r\n")
            writer.write(b"PONG\r\n")
            await reader.readuntil(b"$JS.API.INFO")
        writer.write(then)
        while more:
            writer.write(more)
            await writer.drain()
            await asyncio.sleep(0)
        while await reader.read(65_536):
            pass

    async with serving(talk) as address:
        yield address


FAULTS: dict[str, tuple[Fault, str]] = {
    "refused": (faults.refused, "the connection was refused."),
    "unroutable": (faults.unroutable, "did not answer within 300ms."),
    "mute": (faults.mute, "did not answer within 300ms."),
    "hanging up": (faults.hanging_up, "cannot be used: "),
    "half a line": (lambda: telling(b'INFO {"server_id":'), "did not answer within 300ms."),
    "half a connection": (lambda: telling(INFO), "did not answer within 300ms."),
    "garbage": (faults.garbage, "cannot be used: "),
    "HTTP": (lambda: telling(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "cannot be used: "),
    "no object": (lambda: telling(b"INFO []\r\n"), "cannot be used: its reply does not follow the protocol."),
    "endless line": (lambda: telling(b"INFO {", b"x" * 65_536), "cannot be used: "),
    "endless after the first line": (lambda: telling(INFO, b"x" * 65_536), "cannot be used: "),
    "one byte at a time": (lambda: telling(b"INFO ", b"x", every=0.02), "did not answer within 300ms."),
}
LATER: dict[str, tuple[bytes, bytes, str]] = {
    "mute once connected": (b"", b"", "did not answer $JS.API.INFO within 300ms."),
    "garbage once connected": (b"\x00\xff\r\n" * 9, b"", "ended the connection before it had answered."),
    "endless once connected": (b"", b"x" * 65_536, "answered more than 33554432 bytes, which were not read."),
    "endless message": (
        b"MSG _INBOX_checklist.a 1 99999999999\r\n",
        b"x" * 65_536,
        "answered more than 33554432 bytes, which were not read.",
    ),
}


def patience(told: str) -> str:
    """How long to wait for a server of which this is told."""
    return "300ms" if "within 300ms" in told else "15s"


@pytest.mark.verifies("nats.pods_healthy", "unknown")
@pytest.mark.verifies("nats.jetstream_persistence_enabled", "unknown")
@pytest.mark.verifies("nats.message_replication_configured", "unknown")
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_faulty_server_is_unknown_in_time(
    fault: str, no_leftovers: None, caplog: pytest.LogCaptureFixture
) -> None:
    serve, told = FAULTS[fault]
    async with serve() as (host, port):
        started = time.monotonic()
        login: dict[str, Any] = {"username": "app", "password": CANARY}
        seen = await look(f"{host}:{port}", f"http://{host}:{port}", **login, node_timeout=patience(told))
        assert time.monotonic() - started < DEADLINE
    assert {result.status for result in seen.values()} == {Status.UNKNOWN}
    assert f"NATS {host}:{port} " in seen[HEALTH].summary
    assert told in seen[HEALTH].summary
    assert not caplog.records


@pytest.mark.parametrize("fault", LATER)
async def test_a_server_that_fails_once_it_let_us_in_is_unknown_in_time(
    fault: str, nats_server: Nats, no_leftovers: None, caplog: pytest.LogCaptureFixture
) -> None:
    then, more, told = LATER[fault]
    async with greeting(then, more) as (host, port):
        started = time.monotonic()
        where = f"{host}:{port}", nats_server.monitoring
        seen = await look(*where, REPLICATION, patience="15s", node_timeout=patience(told))
        assert time.monotonic() - started < DEADLINE
    assert (seen[REPLICATION].status, seen[REPLICATION].summary) == (Status.UNKNOWN, f"NATS {host}:{port} {told}")
    assert not caplog.records


async def test_a_server_that_falls_silent_is_told(nats_server: Nats, no_leftovers: None) -> None:
    async with greeting(b"") as (host, port):
        seen = await look(f"{host}:{port}", nats_server.monitoring, HEALTH, patience="15s")
    assert seen[HEALTH].status is Status.UNKNOWN
    assert f"NATS {host}:{port} did not answer PING within 300ms." in seen[HEALTH].summary


async def test_an_endless_message_takes_no_endless_memory() -> None:
    login = Login(None, None, None, None, None, None, timedelta(seconds=30))
    async with greeting(b"MSG _INBOX_checklist.a 1 99999999999\r\n", b"x" * 65_536) as (host, port):
        tracemalloc.start()
        async with connected(f"{host}:{port}", login) as connection:
            with pytest.raises(ProbeError, match="answered more than 33554432 bytes, which were not read"):
                await connection.request("$JS.API.INFO")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 160 * 2**20


@pytest.mark.parametrize("fault", ["refused", "mute", "hanging up", "garbage"])
async def test_a_faulty_monitoring_endpoint_is_unknown_in_time(
    fault: str, nats_server: Nats, no_leftovers: None, caplog: pytest.LogCaptureFixture
) -> None:
    async with FAULTS[fault][0]() as (host, port):
        seen = await look(f"{LOOPBACK}:{nats_server.port}", f"http://{host}:{port}", HEALTH, STORE)
    assert {result.status for result in seen.values()} == {Status.UNKNOWN}
    assert f"GET http://{host}:{port}/" in seen[HEALTH].summary
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_no_credentials_are_sent_in_plain_text_where_tls_is_wanted(
    nats_server: Nats, no_leftovers: None, caplog: pytest.LogCaptureFixture
) -> None:
    sent = bytearray()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(READY)
        while data := await reader.read(65_536):
            sent.extend(data)

    async with serving(listen) as (host, port):
        login: dict[str, Any] = {"tls": {}, "username": "app", "password": CANARY, "node_timeout": "15s"}
        seen = await look(f"{host}:{port}", nats_server.monitoring, HEALTH, patience="15s", **login)
    assert (seen[HEALTH].status, seen[HEALTH].summary) == (
        Status.UNKNOWN,
        f"NATS {host}:{port} cannot be used: it offers no TLS, so no credentials were sent.",
    )
    assert sent == b""
    where = f"{LOOPBACK}:{nats_server.port}"
    plain = await look(where, nats_server.monitoring, HEALTH, patience="15s", tls={}, node_timeout="15s")
    assert (plain[HEALTH].status, "it offers no TLS" in plain[HEALTH].summary) == (Status.UNKNOWN, True)


async def test_a_server_killed_in_mid_run_is_told_at_once(
    nats_server: Nats, no_leftovers: None, caplog: pytest.LogCaptureFixture
) -> None:
    async with Proxy(LOOPBACK, nats_server.port) as proxy:
        where = f"{LOOPBACK}:{proxy.address[1]}"
        login = Login(None, None, None, None, None, None, timedelta(seconds=30))
        async with connected(where, login) as connection:
            proxy.pause()
            asking = asyncio.create_task(connection.request("$JS.API.INFO"))
            await asyncio.sleep(0)
            proxy.cut()
            with pytest.raises(ProbeError, match=f"NATS {where} ended the connection before it had answered"):
                await asking
            with pytest.raises(ProbeError, match=f"NATS {where} did not answer PING"):
                await connection.ping()
    assert not caplog.records


async def test_a_run_that_is_cancelled_leaves_nothing(no_leftovers: None, caplog: pytest.LogCaptureFixture) -> None:
    async with faults.mute() as (host, port), greeting(b"") as later:
        for number in range(50):
            where = later if number % 2 else (host, port)
            address = f"{where[0]}:{where[1]}"
            run = asyncio.create_task(look(address, f"http://{host}:{port}", node_timeout="30s"))
            await asyncio.sleep(0.005)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
    assert not caplog.records


async def test_a_server_that_flaps_leaves_nothing(
    nats_server: Nats, no_leftovers: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    context, seen = make_context(), set()
    async with Proxy(LOOPBACK, nats_server.port) as proxy:
        where = f"{LOOPBACK}:{proxy.address[1]}"
        for number in range(1000):
            proxy.cut() if number % 2 else proxy.resume()
            result = await look(
                where, nats_server.monitoring, HEALTH, patience="15s", context=context, node_timeout="15s"
            )
            assert number % 2 or result[HEALTH].status is Status.OK, result[HEALTH].summary
            seen.add((number % 2, result[HEALTH].status))
        assert proxy.accepted == 1000  # nothing is tried again
    assert seen == {(0, Status.OK), (1, Status.UNKNOWN)}
    assert not [record for record in caplog.records if record.name.startswith("nats")]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    await eventually(lambda: nats_server.monitor("connz")["num_connections"] == 0, what="the server knows no client")


async def test_nats_py_logs_nothing_whatever_happens(nats_server: Nats, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    login: dict[str, Any] = {"username": "app", "password": CANARY}
    await look(f"{LOOPBACK}:{nats_server.port}", nats_server.monitoring, **login)
    broken: tuple[Fault, ...] = (faults.garbage, faults.hanging_up, lambda: greeting(b"MSG \xff\xff\r\n-ERR 'x'\r\n"))
    for serve in broken:
        async with serve() as (host, port):
            await look(f"{host}:{port}", nats_server.monitoring, **login)
    assert CANARY not in caplog.text
    assert not [record for record in caplog.records if record.name.startswith("nats")]


@settings(max_examples=60)
@given(
    st.binary(max_size=100)
    | st.lists(
        st.sampled_from(
            [
                b"INFO {}\r\n",
                b"INFO ",
                b"PONG\r\n",
                b"PING\r\n",
                b"+OK\r\n",
                b"-ERR 'x'\r\n",
                b"MSG a 1 2\r\n",
                b"{",
                b"[]",
            ]
        ),
        max_size=9,
    ).map(b"".join)
)
def test_whatever_a_server_says_is_unknown(said: bytes) -> None:
    async def run() -> dict[str, Result]:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(said)
            writer.write_eof()
            await reader.read(65_536)

        async with serving(talk) as (host, port), faults.refused() as (none, closed):
            return await look(f"{host}:{port}", f"http://{none}:{closed}")

    assert {result.status for result in asyncio.run(run()).values()} == {Status.UNKNOWN}
