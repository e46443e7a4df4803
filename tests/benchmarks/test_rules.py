"""What the rules cost Prometheus: the evaluation of each group over ten thousand series, beside a bare count() of the same."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from alerts import rules
from exporter.metrics import ChecklistCollector
from exporter.observations import Observation
from exporter.runner import utc_now
from exporter.state import State
from exporter.verdict import failed, ok, unknown
from tests.exporter.samples import plan, planned
from tests.servers.checklist import JOB
from tests.servers.exporters import Exposition
from tests.servers.process import call, wait_until
from tests.servers.prometheus import NEW, OLD, Prometheus, scrape

pytestmark = pytest.mark.benchmark

Measured = Callable[[str, str, str], None]

SERIES = 10_000
LINES = 640
SECTIONS = 34
EVALUATIONS = 15
GOAL_SECONDS = 0.1
BARE = {
    "name": "bare",
    "interval": "1s",
    "rules": [{"record": "bare:count", "expr": 'count({__name__=~"checklist_.+"})'}],
}


async def exposition() -> str:
    """What an exporter of so many lines serves; a fifth of them regressed, half of those cannot be seen any more."""
    items = [
        planned(section=f"section_{number % SECTIONS}", item=f"line_{number}", stale_after=timedelta(days=1))
        for number in range(LINES)
    ]
    found = State(plan(*items), utc_now)
    ends = utc_now() + timedelta(days=10)
    verdicts = [
        failed("Not so.", free_bytes=1.0),
        unknown("Gone."),
        *[ok("Seen.", valid_until=ends, free_bytes=1.0)] * 8,
    ]
    for one in items:
        await found.record(one.section, "", {one.item: Observation(ok("Seen."), utc_now())})
    for number, one in enumerate(items):
        await found.record(one.section, "", {one.item: Observation(verdicts[number % len(verdicts)], utc_now())})
    registry = CollectorRegistry()
    registry.register(ChecklistCollector(lambda: (found.plan, found.views())))
    return generate_latest(registry).decode()


@pytest.fixture(params=[OLD, NEW], ids=["prometheus-2", "prometheus-3"])
async def prometheus(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Prometheus]:  # type: ignore[misc]
    groups = [{**group, "interval": "1s"} for group in rules()["groups"]]
    with (
        Exposition(await exposition()) as exporter,
        Prometheus(
            tmp_path,
            release=request.param,
            scrapes=[scrape(JOB, exporter.port, scrape_interval="5s")],
            rules=[*groups, BARE],
        ) as server,
    ):
        server.wait_for(f"bare:count >= {SERIES}", 60)
        server.wait_for("count(section_item:checklist_item_last_ok_timestamp_seconds:unseen) > 0", 60)
        yield server


def evaluations(prometheus: Prometheus) -> dict[str, list[float]]:
    """Seconds of each group's evaluations, in the order of evaluation."""
    taken: dict[str, dict[str, float]] = {}

    def enough() -> bool:
        for group in call(f"{prometheus.url}/api/v1/rules")["data"]["groups"]:
            taken.setdefault(group["name"], {})[group["lastEvaluation"]] = group["evaluationTime"]
        return min(map(len, taken.values())) >= EVALUATIONS

    wait_until(enough, "every group to be evaluated", 120)
    return {name: list(seconds.values()) for name, seconds in taken.items()}


def test_evaluation_of_every_group(prometheus: Prometheus, request: pytest.FixtureRequest, measured: Measured) -> None:
    series = int(prometheus.query("bare:count")[0]["value"][1])
    medians = {name: statistics.median(seconds) for name, seconds in evaluations(prometheus).items()}
    bare = medians.pop("bare")
    records = {group["name"] for group in rules()["groups"] if any("record" in rule for rule in group["rules"])}
    for name, seconds in medians.items():
        measured(
            f"rule group {name} over {series} series, {request.node.callspec.id}, median of {EVALUATIONS}",
            f"{seconds * 1000:.1f} ms, {seconds / bare:.1f} times a bare count() ({bare * 1000:.1f} ms)",
            f"<= {GOAL_SECONDS * 1000:.0f} ms" if name in records else "",
        )
    assert max(medians[name] for name in records) <= GOAL_SECONDS
