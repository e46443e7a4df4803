"""What a run of the NATS section costs, against nats-py and httpx asking the same, and whether 500 streams are judged in time."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import nats
import pytest
from nats.js.api import StreamConfig

from collectors.infrastructure.nats import Nats, NatsSettings, NatsTarget
from exporter.http import Trust
from exporter.verdict import Status
from tests.benchmarks.compared import compared
from tests.servers import nats as servers
from tests.servers.process import LOOPBACK, eventually
from tests.support import make_context, verify

pytestmark = pytest.mark.benchmark

Measured = Callable[[str, str, str], None]
ITEMS = ("pods_healthy", "jetstream_persistence_enabled", "message_replication_configured")
ASKED = ("$JS.API.INFO", "$JS.API.STREAM.LIST")
PAGES = ("healthz", "varz", "jsz", "routez")
STREAMS = 500


def target(*nodes: servers.Nats, min_replicas: int = 1) -> NatsTarget:
    where = [{"server": f"{LOOPBACK}:{node.port}", "monitoring": {"url": node.monitoring}} for node in nodes]
    options = {"name": "broker", "nodes": where, "store_volume": "/", "min_replicas": min_replicas}
    return NatsTarget.model_validate_json(json.dumps(options))


async def add_streams(node: servers.Nats, count: int, copies: int) -> None:
    client = await nats.connect(node.url)
    jetstream, places = client.jetstream(timeout=60), asyncio.Semaphore(8)

    async def add(number: int) -> None:
        async with places:
            config = StreamConfig(name=f"s{number}", subjects=[f"s{number}.>"], num_replicas=copies)
            await jetstream.add_stream(config)

    await asyncio.gather(*map(add, range(count)))
    await client.close()


async def test_a_healthy_run_costs_what_the_bare_clients_cost(nats_server: servers.Nats, measured: Measured) -> None:
    await add_streams(nats_server, 1, 1)
    configured = target(nats_server)
    section, context, no_tls = NatsSettings(targets=(configured,)), make_context(), Trust().context

    async def ours() -> None:
        seen = await verify(Nats, section, configured, items=ITEMS, context=context)
        assert {observed.result.status for observed in seen.values()} == {Status.OK}

    async def bare() -> None:
        client = await nats.connect(nats_server.url, allow_reconnect=False)
        await client.rtt()
        for subject in ASKED:
            assert json.loads((await client.request(subject, b"")).data)
        await client.close()
        async with httpx.AsyncClient(verify=no_tls, trust_env=False) as http:
            pages = (http.get(f"{nats_server.monitoring}/{page}") for page in PAGES)
            assert all(reply.json() for reply in await asyncio.gather(*pages))

    ratio, seconds = await compared(ours, bare)
    told = f"{ratio:.2f}x ({seconds * 1000:.2f} ms)"
    measured("NATS: CPU of a healthy run, to nats-py's and httpx's of the same", told, "<= 2x")
    assert ratio <= 2


@pytest.fixture
def crowded(tmp_path: Path) -> Iterator[list[servers.Nats]]:
    """Three servers with very many streams of three copies."""
    with servers.cluster(tmp_path) as nodes:
        asyncio.run(add_streams(nodes[0], STREAMS, 3))
        yield nodes


async def test_hundreds_of_streams_are_judged_within_one_deadline(
    crowded: list[servers.Nats], measured: Measured
) -> None:
    configured = target(*crowded, min_replicas=3)
    section, context = NatsSettings(targets=(configured,)), make_context()

    async def statuses() -> set[Status]:
        seen = await verify(Nats, section, configured, items=ITEMS, context=context)
        return {observed.result.status for observed in seen.values()}

    async def settled() -> bool:
        return await statuses() == {Status.OK}

    await eventually(settled, what="the streams have settled", deadline=60)
    before = sum(node.monitor("varz")["total_connections"] for node in crowded)
    started = time.monotonic()
    assert await statuses() == {Status.OK}
    seconds = time.monotonic() - started
    connections = sum(node.monitor("varz")["total_connections"] for node in crowded) - before
    told = f"{seconds * 1000:.0f} ms over {connections} connections"
    goal = f"<= {section.timeout.total_seconds():.0f} s, {len(crowded)}"
    measured(f"NATS: {STREAMS} streams of three copies on three servers", told, goal)
    assert seconds < section.timeout.total_seconds()
    assert connections <= len(crowded)
