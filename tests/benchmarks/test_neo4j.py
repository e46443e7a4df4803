"""What a run of the Neo4j section costs, against the driver and httpx asking the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
import neo4j
import pytest
from neo4j.exceptions import Neo4jError

from collectors.infrastructure.neo4j import Neo4j, Neo4jSettings, Neo4jTarget
from exporter.http import Trust
from exporter.verdict import Status
from tests.benchmarks.compared import compared
from tests.servers.neo4j import PASSWORD
from tests.servers.neo4j import Neo4j as Server
from tests.support import make_context, verify

pytestmark = pytest.mark.benchmark

Measured = Callable[[str, str, str], None]
ITEMS = ("pods_healthy", "authentication_enabled")
#: What a run asks, and on which database.
ASKED: tuple[tuple[str, str | None], ...] = (
    ("CALL dbms.components()", "system"),
    ("RETURN 1", None),
    ("SHOW DATABASES YIELD *", "system"),
    ("SHOW SETTINGS 'dbms.security.auth_enabled', 'server.http.enabled' YIELD name, value", "system"),
    ("SHOW USERS YIELD user, passwordChangeRequired WHERE user = 'neo4j'", "system"),
)


async def test_a_healthy_run_costs_what_the_bare_clients_cost(neo4j_server: Server, measured: Measured) -> None:
    options: dict[str, Any] = {
        "name": "graph",
        "username": "neo4j",
        "password": PASSWORD,
        "server_timeout": "15s",
        "max_latency": "15s",
    }
    options |= {"servers": [{"bolt": neo4j_server.address, "http": neo4j_server.url}]}
    configured = Neo4jTarget.model_validate_json(json.dumps(options))
    section, context = Neo4jSettings(targets=(configured,)), make_context(recall=lambda _: {})
    no_tls = Trust().context

    async def ours() -> None:
        seen = await verify(Neo4j, section, configured, items=ITEMS, context=context)
        assert {observed.result.status for observed in seen.values()} == {Status.OK}

    async def ask(scheme: str, auth: tuple[str, str] | None, *asked: tuple[str, str | None]) -> None:
        async with neo4j.AsyncGraphDatabase.driver(f"{scheme}://{neo4j_server.address}", auth=auth) as driver:
            for statement, database in asked:
                async with driver.session(database=database) as session:
                    assert [record.data() async for record in await session.run(statement)]

    async def nobody() -> None:
        with suppress(Neo4jError):
            await ask("bolt", None, ("RETURN 1", None))

    async def bare() -> None:
        await ask("bolt", ("neo4j", PASSWORD), *ASKED)
        async with httpx.AsyncClient(base_url=neo4j_server.url, verify=no_tls, trust_env=False) as http:
            await asyncio.gather(ask("neo4j", ("neo4j", PASSWORD), ("RETURN 1", None)), nobody(), http.get("/"))
            await http.post("/db/system/query/v2", json={"statement": "SHOW DATABASES"})

    ratio, seconds = await compared(ours, bare, runs=30)
    told = f"{ratio:.2f}x ({seconds * 1000:.2f} ms)"
    measured("Neo4j: CPU of a healthy run, to its driver's and httpx's of the same", told, "<= 2x")
    assert ratio <= 2
