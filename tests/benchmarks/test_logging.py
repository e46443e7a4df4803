"""What a run of the logging section costs, against only asking the same and reading the replies."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from collectors.monitoring_and_observability.logging import LoggedService, Logging, LoggingSettings
from collectors.systems.loki.client import Loki, LokiSettings
from collectors.systems.loki.model.limits import LogLimits
from collectors.systems.loki.model.lines import structure
from collectors.systems.loki.model.secrets import secrets_in
from exporter.http import Http
from exporter.threads import Threads
from exporter.verdict import Status
from tests.servers.loki import Loki as Server
from tests.support import make_context, verify

pytestmark = pytest.mark.benchmark

Measured = Callable[[str, str, str], None]
SERVICES, LINES = 20, 100
LINE = '{"time":"2026-01-02T03:04:05Z","level":"info","msg":"GET /orders/%d 200","user":"%s"}'
ITEMS = ("services_logging_to_loki", "log_levels_appropriate", "structured_logging_enabled")
ROUNDS, RUNS = 5, 10


async def cpu(run: Callable[[], Awaitable[object]]) -> float:
    """Seconds of CPU of one run."""
    before = time.process_time()
    for _ in range(RUNS):
        await run()
    return (time.process_time() - before) / RUNS


async def test_twenty_services_cost_little_more_than_their_replies(loki: Server, measured: Measured) -> None:
    services = tuple(LoggedService(name=f"bench-{n}", selector=f'{{app="bench-{n}"}}') for n in range(SERVICES))
    for service in services:
        lines = [LINE % (number, "x" * 300) for number in range(LINES)]
        loki.push({"app": service.name, "level": "info"}, *lines)
    settings = LokiSettings(url=loki.url, timeout=timedelta(seconds=20))
    client, http, section = Loki(settings, Threads()), Http(settings), LoggingSettings(services=services)
    context = make_context(clients={"loki": client})

    async def ours() -> None:
        seen = await verify(Logging, section, items=ITEMS, context=context)
        assert {observation.result.status for observation in seen.values()} == {Status.OK}

    async def ask(path: str, query: str, **params: str) -> None:
        await http.get(f"/loki/api/v1/{path}", params={"query": query, **params})

    async def bare() -> None:
        start = str(time.time_ns() - 3600 * 10**9)
        for service in services:
            selector = service.selector
            await asyncio.gather(
                ask("query", f"sum(count_over_time({selector} [900s]))"),
                ask("query", f"sum by (detected_level, level) (count_over_time({selector} [3600s]))"),
                ask("query_range", selector, start=start, limit=str(LINES), direction="backward"),
            )

    for warm in (ours, bare):
        await cpu(warm)
    rounds = [(await cpu(ours), await cpu(bare)) for _ in range(ROUNDS)]
    ratio = statistics.median(one / other for one, other in rounds)
    seconds = statistics.median(one for one, _ in rounds)
    told = f"{ratio:.2f}x ({seconds * 1000:.0f} ms)"
    measured(f"Logging: CPU of a run over {SERVICES} services, to reading the replies", told, "<= 2x")

    now = datetime.now(UTC)
    sample = await client.query_range('{app="bench-0"}', now - timedelta(hours=1), now, limit=LINES)
    before = time.process_time()
    for _ in range(RUNS):
        assert structure(sample, LogLimits()).structured == LINES
        assert not secrets_in(sample, {})
    scanned = (time.process_time() - before) / RUNS
    measured(f"Logging: judging and scanning {LINES} lines of 400 bytes", f"{scanned * 1000:.1f} ms", "<= 20 ms")
    await client.close()
    await http.close()
    assert ratio <= 2
