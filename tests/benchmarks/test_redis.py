"""What a run of the Redis section costs, against redis-py asking the same, and whether fifty nodes are judged in time."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from redis.asyncio import Redis as BareClient

from collectors.infrastructure.redis import Redis, RedisSettings, RedisTarget
from exporter.verdict import Status
from tests.benchmarks.compared import compared
from tests.servers.faults import serving
from tests.servers.redis import Node
from tests.support import make_context, verify

pytestmark = pytest.mark.benchmark

Measured = Callable[[str, str, str], None]
ASKED = ("INFO", "ROLE", "CONFIG GET save", "CONFIG GET dir", "PING")
ITEMS = ("pods_healthy", "persistence_configured", "eviction_policy_set", "connection_pool_optimized")
SLOTS = 16384


async def test_a_healthy_run_costs_what_the_bare_client_costs(any_redis: Node, measured: Measured) -> None:
    target = RedisTarget(name="cache", nodes=(any_redis.address,), data_volume="/tmp", max_churn=10**6)
    section, context = RedisSettings(targets=(target,)), make_context()

    async def ours() -> None:
        seen = await verify(Redis, section, target, items=ITEMS, context=context)
        assert Status.FAILED not in {observation.result.status for observation in seen.values()}

    async def bare() -> None:
        async with BareClient(host="127.0.0.1", port=any_redis.port, decode_responses=True) as client:
            pipeline = client.pipeline(transaction=False)
            for command in ASKED:
                pipeline.execute_command(*command.split())
            assert len(await pipeline.execute()) == len(ASKED)

    ratio, seconds = await compared(ours, bare)
    measured(
        "Redis: CPU of a healthy run, to redis-py's of the same", f"{ratio:.2f}x ({seconds * 1000:.2f} ms)", "<= 2x"
    )
    assert ratio <= 2


class Simulated:
    """Nodes of a cluster, half of them replicas, that answer as Redis does; the last ``silent`` of them not at all."""

    def __init__(self, size: int, silent: int) -> None:
        self.size = size
        self.silent = silent
        self.ports: list[int] = []
        self.connected = self.most = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for number in range(self.size):
                self.ports.append((await stack.enter_async_context(serving(self._node(number))))[1])
            yield

    def _node(self, number: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connected += 1
            self.most = max(self.most, self.connected)
            try:
                asked = await reader.read(65_536)
                if number < self.size - self.silent:
                    for command in _commands(asked):
                        writer.write(self._reply(number, command))
                    await writer.drain()
                while await reader.read(65_536):
                    pass
            finally:
                self.connected -= 1

        return answer

    def _reply(self, number: int, command: str) -> bytes:
        master = number < self.size // 2
        match command:
            case "INFO":
                return _bulk(INFO + (f"role:{'master' if master else 'slave'}\r\nmaster_link_status:up\r\n"))
            case "ROLE" if master:
                return b"*3\r\n" + _bulk("master") + b":1\r\n*0\r\n"
            case "ROLE":
                return b"*5\r\n" + _bulk("slave") + _bulk("127.0.0.1") + b":1\r\n" + _bulk("connected") + b":1\r\n"
            case "CLUSTER INFO":
                return _bulk(f"cluster_state:ok\r\ncluster_slots_ok:{SLOTS}\r\ncluster_slots_fail:0\r\n")
            case "CLUSTER NODES":
                return _bulk("".join(self._line(other, myself=other == number) for other in range(self.size)))
            case "PING":
                return b"+PONG\r\n"
        name = command.removeprefix("CONFIG GET ")
        return b"*2\r\n" + _bulk(name) + _bulk({"save": "3600 1", "dir": "/data"}[name])

    def _line(self, number: int, *, myself: bool) -> str:
        masters = self.size // 2
        flags = "master" if number < masters else "slave"
        slots = f" {number * SLOTS // masters}-{(number + 1) * SLOTS // masters - 1}" if number < masters else ""
        of = "-" if number < masters else f"{number - masters:040x}"
        flags = f"myself,{flags}" if myself else flags
        return f"{number:040x} 127.0.0.1:{self.ports[number]}@1 {flags} {of} 0 0 1 connected{slots}\n"


INFO = "".join(
    f"{name}:{value}\r\n"
    for name, value in {
        "run_id": "a", "loading": 0, "aof_enabled": 1, "aof_last_write_status": "ok", "aof_last_bgrewrite_status": "ok",
        "rdb_last_bgsave_status": "ok", "rdb_changes_since_last_save": 0, "rdb_last_save_time": 1, "rdb_saves": 1,
        "rdb_bgsave_in_progress": 0, "maxmemory": 10**9, "maxmemory_policy": "allkeys-lru", "used_memory": 10**8,
        "total_system_memory": 10**10, "connected_clients": 5, "maxclients": 10_000, "blocked_clients": 0,
        "rejected_connections": 0, "total_connections_received": 9, "master_replid": "a", "master_repl_offset": 1,
    }.items()
)  # fmt: skip


def _bulk(text: str) -> bytes:
    return f"${len(text.encode())}\r\n{text}\r\n".encode()


def _commands(asked: bytes) -> list[str]:
    """The commands of a pipeline: arrays of bulk strings."""
    words, commands = iter(asked.decode().split("\r\n")), []
    for head in words:
        if head.startswith("*"):
            commands.append(" ".join([(next(words), next(words))[1] for _ in range(int(head[1:]))]))
    return commands


@pytest.mark.parametrize("silent", [0, 10])
async def test_fifty_nodes_are_judged_within_one_deadline(silent: int, measured: Measured) -> None:
    simulated = Simulated(50, silent)
    async with simulated.serving():
        options = {"name": "cache", "mode": "cluster", "nodes": [f"127.0.0.1:{simulated.ports[0]}"]}
        target = RedisTarget.model_validate_json(json.dumps(options))
        section, context = RedisSettings(targets=(target,)), make_context()
        await verify(Redis, section, target, items=ITEMS, context=context)
        before = time.monotonic()
        seen = await verify(Redis, section, target, context=context, items=(*ITEMS, "sentinel_or_cluster_operational"))
        seconds = time.monotonic() - before
    statuses = {observation.result.status for observation in seen.values()}
    assert statuses == ({Status.UNKNOWN} if silent else {Status.OK})
    assert all("was not checked within" not in observation.result.summary for observation in seen.values())
    told = f"{seconds * 1000:.0f} ms over at most {simulated.most} connections"
    goal = f"<= {section.timeout.total_seconds():.0f} s, {target.max_connections}"
    measured(f"Redis: a cluster of 50 simulated nodes, {silent} of them mute", told, goal)
    assert seconds < section.timeout.total_seconds()
    assert simulated.most <= target.max_connections
