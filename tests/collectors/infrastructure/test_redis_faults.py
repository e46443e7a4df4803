"""Servers that do what a Redis should not, and what a run leaves behind: nothing."""

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.infrastructure.redis import Redis, RedisSettings, RedisTarget
from exporter.verdict import Result, Status
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
from tests.servers.process import LOOPBACK, eventually, free_port
from tests.servers.redis import PASSWORD, Guarded, Node, Start
from tests.support import Run, looks, make_context, verify

pytestmark = pytest.mark.usefixtures("no_noise")

ALL = tuple(Redis.items())
#: What an unreachable node leaves unknown, whatever else is configured (nothing fails over in mode standalone: that is seen).
LOOKED = {"pods_healthy", "persistence_configured", "eviction_policy_set", "connection_pool_optimized", "tls_enabled"}
DEADLINE = 10.0
PATIENT = "15s"

Fault = Callable[[], AbstractAsyncContextManager[Address]]


def run(*nodes: str, **options: Any) -> Run:
    """A run that gives each node 300 ms, which is for those that stay silent: others may be slow on a busy machine."""
    target = {"name": "cache", "nodes": nodes, "node_timeout": "300ms", "max_detection": "10m", **options}
    return Run(Redis, target=target, secrets=[PASSWORD])


look = looks(run)


FAULTS: dict[str, tuple[Fault, str]] = {
    "refused": (refused, "refuses the connection."),
    "unroutable": (unroutable, "did not answer within 300ms."),
    "mute": (mute, "did not answer within 300ms."),
    "hanging up": (hanging_up, "ended the connection before it had answered"),
    "half a reply": (lambda: half_reply(b"$5000\r\n# Server\r\nredis_version:7"), "did not answer within 300ms."),
    "garbage": (garbage, "ended the connection before it had answered."),
    "HTTP": (lambda: half_reply(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "answered with something else than Redis does."),
    "a length that is none": (lambda: half_reply(b"$many\r\n"), "answered with something else than Redis does."),
    "endless string": (lambda: endless(b"$999999999999\r\n"), "answered more than 8388608 bytes, which was not read."),
    "endless list": (lambda: endless(b"*999999999999\r\n", b":1\r\n" * 16_384), "did not answer within 300ms."),
    "endless line": (lambda: endless(b"+"), "answered with something else than Redis does."),
    "endless nesting": (lambda: endless(b"", b"*1\r\n" * 4096), "answered with something else than Redis does."),
    "one byte at a time": (lambda: endless(b"$5000\r\n", b"x", every=0.02), "did not answer within 300ms."),
}


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_faulty_node_is_unknown_in_time(
    fault: str, tls: bool, no_leftovers: None, caplog: pytest.LogCaptureFixture
) -> None:
    serve, told = FAULTS[fault]
    options: dict[str, Any] = {"tls": {}, "plaintext_port": free_port()} if tls else {}
    options["node_timeout"] = "300ms" if "within 300ms" in told else PATIENT
    async with serve() as (host, port):
        started = time.monotonic()
        seen = await look(f"{host}:{port}", password=PASSWORD, **options)
        assert time.monotonic() - started < DEADLINE
    looked = LOOKED if tls else LOOKED - {"tls_enabled"}
    if fault in ("a length that is none", "endless line"):
        looked = LOOKED - {"tls_enabled"}  # what begins like an answer to a plaintext PING is taken for one
    assert {seen[name].status for name in looked} == {Status.UNKNOWN}
    assert seen["pods_healthy"].summary.startswith(("127.0.0.1:", "The TLS handshake with 127.0.0.1:"))
    if not tls:
        assert told in seen["pods_healthy"].summary
    assert not caplog.records


@pytest.mark.parametrize("mode", ["sentinel", "cluster", "replication"])
@pytest.mark.parametrize("fault", ["refused", "mute", "garbage", "endless string"])
async def test_a_faulty_node_of_many_is_unknown_in_time(mode: str, fault: str, no_leftovers: None) -> None:
    serve, told = FAULTS[fault]
    async with serve() as (host, port):
        where = {"sentinels": [f"{host}:{port}"]} if mode == "sentinel" else {}
        patience = "300ms" if "within 300ms" in told else PATIENT
        seen = await look(*([] if where else [f"{host}:{port}"]), mode=mode, node_timeout=patience, **where)
    assert {result.status for name, result in seen.items() if name in LOOKED} == {Status.UNKNOWN}
    assert told in seen["pods_healthy"].summary


async def test_a_faulty_node_does_not_hide_the_others(any_redis: Node, start_redis: Start) -> None:
    other = start_redis("--maxmemory-policy", "noeviction")
    async with mute() as (host, port):
        seen = await look(any_redis.address, f"{host}:{port}", mode="replication", node_timeout="2s")
        assert seen["eviction_policy_set"].status is Status.UNKNOWN
        assert seen["eviction_policy_set"].summary == f"127.0.0.1:{port} did not answer within 2s."
        seen = await look(other.address, f"{host}:{port}", mode="replication", node_timeout="2s")
        assert seen["eviction_policy_set"].status is Status.FAILED


async def test_a_silent_sentinel_does_not_hide_the_master(redis_guarded: Guarded, no_leftovers: None) -> None:
    async with mute() as (host, port):
        sentinels = [f"{host}:{port}", *redis_guarded.addresses]
        seen = await look(mode="sentinel", sentinels=sentinels, node_timeout="2s")
    assert seen["sentinel_or_cluster_operational"].status is Status.UNKNOWN
    assert seen["sentinel_or_cluster_operational"].summary == f"127.0.0.1:{port} did not answer within 2s."
    assert seen["eviction_policy_set"].status is Status.OK


@pytest.mark.parametrize("error", [socket.gaierror(socket.EAI_NONAME, "Name or service not known"), None])
async def test_a_name_that_is_none(
    monkeypatch: pytest.MonkeyPatch, error: socket.gaierror | None, no_leftovers: None
) -> None:
    host = "x" * 64 + ".example.com"  # longer than a label can be, so that nobody is asked
    if error:

        async def fail(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", fail)
    seen = await look(f"{host}:6379", tls={})
    assert {seen[name].status for name in LOOKED} == {Status.UNKNOWN}
    assert f"The name {host} cannot be resolved: " in seen["pods_healthy"].summary


@pytest.mark.parametrize("file", ["ca_file", "cert_file"])
async def test_tls_files_that_cannot_be_read(any_redis: Node, file: str) -> None:
    seen = await look(any_redis.address, tls={file: "/nonexistent.pem"}, plaintext_port=free_port())
    assert seen["pods_healthy"].status is Status.UNKNOWN
    assert "TLS file /nonexistent.pem cannot be read" in seen["pods_healthy"].summary


async def test_a_server_killed_in_mid_run(
    any_redis: Node, no_leftovers: None, caplog: pytest.LogCaptureFixture
) -> None:
    async with Proxy(LOOPBACK, any_redis.port) as proxy:
        proxy.pause()
        host, port = proxy.address
        run = asyncio.create_task(look(f"{host}:{port}", node_timeout=PATIENT))
        while not proxy.open:
            await asyncio.sleep(0.01)
        proxy.cut()
        seen = await run
    assert {seen[name].status for name in LOOKED - {"tls_enabled"}} == {Status.UNKNOWN}
    assert f"127.0.0.1:{port} ended the connection before it had answered." in seen["pods_healthy"].summary
    assert not caplog.records


async def test_a_run_that_is_cancelled_leaves_nothing(no_leftovers: None, caplog: pytest.LogCaptureFixture) -> None:
    async with mute() as (host, port):
        for _ in range(50):
            run = asyncio.create_task(look(f"{host}:{port}", node_timeout="30s", tls={}))
            await asyncio.sleep(0.005)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
    assert not caplog.records


async def test_a_server_that_flaps_leaves_nothing(
    any_redis: Node, no_leftovers: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    context = make_context()
    seen = set()
    async with Proxy(LOOPBACK, any_redis.port) as proxy:
        host, port = proxy.address
        patience = timedelta(seconds=15)
        target = RedisTarget(name="cache", nodes=(f"{host}:{port}",), data_volume="/tmp", node_timeout=patience)
        section = RedisSettings(targets=(target,), timeout=2 * patience)
        for number in range(1000):
            proxy.cut() if number % 2 else proxy.resume()
            observed = await verify(Redis, section, target, items=("pods_healthy",), context=context)
            seen.add((number % 2, observed["pods_healthy"].result.status))
        assert proxy.accepted == 1000  # nothing is tried again
    assert seen == {(0, Status.OK), (1, Status.UNKNOWN)}
    assert not [record for record in caplog.records if record.name != "asyncio"]


async def test_redis_py_logs_nothing_whatever_happens(start_redis: Start, caplog: pytest.LogCaptureFixture) -> None:
    node = start_redis("--requirepass", PASSWORD, password=PASSWORD)
    caplog.set_level(logging.DEBUG)
    for password in (PASSWORD, f"{PASSWORD}-wrong"):
        await look(node.address, password=password)
    for serve in (garbage, hanging_up, mute):
        async with serve() as (host, port):
            await look(f"{host}:{port}", password=PASSWORD)
    assert PASSWORD not in caplog.text
    assert not [record for record in caplog.records if record.name.startswith("redis")]


async def test_hundreds_of_healthy_runs_leave_no_connection(any_redis: Node, no_leftovers: None) -> None:
    for _ in range(300):
        await look(any_redis.address, node_timeout=PATIENT)
    await eventually(lambda: any_redis.info("connected_clients") == 1, "all clients to be gone")


async def test_no_more_nodes_are_asked_at_once_than_wanted(no_leftovers: None) -> None:
    async with AsyncExitStack() as stack:
        connected, most = 0, 0

        async def count(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            nonlocal connected, most
            connected += 1
            most = max(most, connected)
            while await reader.read(65_536):
                pass
            connected -= 1

        addresses = [await stack.enter_async_context(serving(count)) for _ in range(12)]
        nodes = [f"{host}:{port}" for host, port in addresses]
        await look(*nodes, mode="replication", node_timeout="50ms", max_connections=4)
        assert most == 4


@settings(max_examples=60)
@given(
    st.binary(max_size=200)
    | st.lists(
        st.sampled_from(
            [b"*1\r\n", b"*2\r\n", b"$4\r\n", b"PONG\r\n", b"+OK\r\n", b":7\r\n", b"-ERR\r\n", b"*-1\r\n", b"$-1\r\n"]
        ),
        max_size=60,
    ).map(b"".join)
)
def test_whatever_a_server_answers_is_unknown(reply: bytes) -> None:
    async def run() -> dict[str, Result]:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(65_536)
            writer.write(reply)
            writer.write_eof()
            await reader.read(65_536)

        async with serving(answer) as (host, port):
            return await look(f"{host}:{port}", mode="cluster")

    seen = asyncio.run(run())
    assert {seen[name].status for name in LOOKED - {"tls_enabled"}} == {Status.UNKNOWN}
    assert not any("could not be checked" in result.summary for result in seen.values())
