"""What a run of the Qdrant section costs, against httpx asking the same: no client library is used (see its documentation)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import httpx
import pytest

from collectors.infrastructure.qdrant import Qdrant, QdrantSettings, QdrantTarget
from exporter.http import Trust
from exporter.verdict import Status
from tests.benchmarks.compared import compared
from tests.servers.qdrant import READER, replay
from tests.support import make_context, verify

pytestmark = pytest.mark.benchmark

Measured = Callable[[str, str, str], None]


async def test_a_healthy_run_costs_what_bare_httpx_costs(measured: Measured) -> None:
    with replay("cluster_healthy") as qdrant:
        nodes = [{"url": peer.url} for peer in qdrant.peers]
        options = {"name": "vectors", "nodes": nodes, "api_key": READER}
        configured = QdrantTarget.model_validate_json(json.dumps(options))
        section, no_tls = QdrantSettings(targets=(configured,)), Trust().context
        context = make_context(now=lambda: qdrant.now)

        async def ours() -> None:
            seen = await verify(
                Qdrant, section, configured, items=("pods_healthy", "collection_backups_enabled"), context=context
            )
            assert {observed.result.status for observed in seen.values()} == {Status.OK}

        async def bare() -> None:
            await asyncio.gather(*(ask(peer.url) for peer in qdrant.peers))

        async def ask(url: str) -> None:
            """What a run asks a peer."""
            key, places = {"api-key": READER}, asyncio.Semaphore(4)
            async with httpx.AsyncClient(base_url=url, verify=no_tls, trust_env=False) as http:

                async def get(path: str, headers: dict[str, str] = key) -> httpx.Response:
                    async with places:
                        return await http.get(path, headers=headers)

                await get("/readyz")
                names = [one["name"] for one in (await get("/collections")).json()["result"]["collections"]]
                of = [f"/collections/{name}{part}" for name in names for part in ("", "/cluster", "/snapshots")]
                _, metrics, *told = await asyncio.gather(
                    get("/collections", {}), get("/metrics"), get("/cluster"), *map(get, of)
                )
                assert metrics.text
                assert all(reply.json() for reply in told)

        ratio, seconds = await compared(ours, bare, runs=20)
    told = f"{ratio:.2f}x ({seconds * 1000:.2f} ms)"
    measured("Qdrant: CPU of a healthy run on three peers, to httpx's of the same", told, "<= 2x")
    assert ratio <= 2
