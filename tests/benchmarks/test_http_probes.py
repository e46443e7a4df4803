"""What a probe by HTTP costs, against blackbox_exporter's of the same address."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from exporter.http import Http, HttpSettings
from tests.benchmarks.compared import cpu
from tests.servers import exporters
from tests.servers.applications.programs import nest

pytestmark = pytest.mark.benchmark

Measured = Callable[[str, str, str], None]
PROBES, ROUNDS = 200, 5


async def test_a_request_costs_at_most_half_of_what_blackbox_exporter_takes(tmp_path: Path, measured: Measured) -> None:
    """Each asks a real application for its health, in turns; what the application takes is in neither number."""
    modules = {"http": {"prober": "http", "http": {"preferred_ip_protocol": "ip4"}}}
    with nest(tmp_path) as api, exporters.blackbox_exporter(tmp_path, modules, release="sid") as blackbox:
        theirs = psutil.Process(blackbox.pid)
        probe = f"/probe?module=http&target={api.url}/health"

        async def ours() -> None:
            assert (await kept.get("/health")).status == 200

        async def alone() -> None:
            async with Http(HttpSettings(url=api.url), connections=1) as once:
                assert (await once.get("/health")).status == 200

        async def probes() -> float:
            """Seconds of blackbox_exporter's CPU that one probe takes, on average."""
            before = sum(theirs.cpu_times()[:2])
            for _ in range(PROBES):
                assert "\nprobe_success 1" in (await asking.get(probe)).text
            return (sum(theirs.cpu_times()[:2]) - before) / PROBES

        async with Http(HttpSettings(url=api.url)) as kept, Http(HttpSettings(url=blackbox.url)) as asking:
            await cpu(ours, PROBES), await cpu(alone, PROBES), await probes()
            rounds = [(await cpu(ours, PROBES), await cpu(alone, PROBES), await probes()) for _ in range(ROUNDS)]
    request, first = (statistics.median(one[place] / one[2] for one in rounds) for place in (0, 1))
    milliseconds = statistics.median(one[0] for one in rounds) * 1000
    measured(
        "HTTP: CPU of a request, to blackbox_exporter's probe of it",
        f"{request:.2f}x ({milliseconds:.2f} ms)",
        "<= 0.5x",
    )
    measured("HTTP: CPU of a request that connects, to the same", f"{first:.2f}x", "<= 1.2x")
    assert request <= 0.5
    assert first <= 1.2
