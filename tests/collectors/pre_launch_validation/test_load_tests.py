"""Load tests: what a run did and how well, in which scenario, and what was promised."""

from __future__ import annotations

from typing import Any

import pytest

from collectors.pre_launch_validation.load_tests import LoadTests
from collectors.systems.prometheus.client import Prometheus, PrometheusSettings
from collectors.systems.reports.judge.sla import Objective, objective_problems
from exporter.threads import Threads
from exporter.verdict import Reason, Status
from tests.collectors.evidence import NOW, Folder, evidence_of
from tests.collectors.pre_launch_validation.reports import attached
from tests.servers.pages import Pages
from tests.servers.prometheus import Prometheus as Server
from tests.support import Run, make_context, sees

TARGET = "https://shop.example.com"
END = NOW.timestamp() - 86400


def locust(
    requests: int = 6000, errors: int = 0, *, p95: int = 200, seconds: float = 1200, name: str = "/", end: float = END
) -> list[dict[str, Any]]:
    """What Locust writes of a run."""
    return [
        {
            "name": name,
            "method": "GET",
            "start_time": end - seconds,
            "last_request_timestamp": end,
            "num_requests": requests,
            "num_failures": errors,
            "response_times": {"10": requests // 2, str(p95): requests - requests // 2},
        }
    ]


evidence = evidence_of("load_tests", pages=True)


def run(evidence: Folder, item: str, **settings: Any) -> Run:
    clients = settings.pop("clients", None)
    context = make_context(clients=clients, **evidence.context)
    return Run(LoadTests, [item], settings=settings, context=context)


seen = sees(run)


SAID = {"target": TARGET}


@pytest.mark.verifies("load_tests.load_tests_executed", "ok")
@pytest.mark.verifies("load_tests.load_tests_executed", "failed")
@pytest.mark.verifies("load_tests.load_tests_executed", "unknown")
async def test_a_load_test_did_enough_and_did_it_well(evidence: Folder) -> None:
    item = "load_tests_executed"
    assert (await seen(evidence, item)).reason is Reason.MISSING
    attached(evidence, item, locust(), report=SAID)
    result = await seen(evidence, item, load_targets=[TARGET])
    assert result.status is Status.OK
    assert result.summary.endswith(f"The load test of {TARGET} made 6000 requests, 0.00% of which failed.")
    assert result.measurements == {"load_requests": 6000, "load_error_ratio": 0, "load_p95_seconds": 0.2}
    for report, status, words in (
        (locust(errors=6000, p95=1), Status.FAILED, "had 6000 errors in 6000 requests (100.00%, at most 1.00%)."),
        (locust(p95=2300), Status.FAILED, "95th percentile of 2.3 s (at most 1 s)."),
        (locust(12), Status.UNKNOWN, "made 12 requests (at least 1000 wanted)."),
        (locust(seconds=20), Status.UNKNOWN, "lasted 20 seconds (at least 10 minutes wanted)."),
        (locust(end=NOW.timestamp() - 200 * 86400), Status.FAILED, "is 200 days old (at most 90 days)."),
        (locust(end=NOW.timestamp() + 5 * 86400), Status.FAILED, "which is in the future."),
        ([], Status.UNKNOWN, "neither the Locust report nor the record gives report.finished"),
        (b"", Status.FAILED, "is empty."),
        (b"<html>Sign in</html>", Status.UNKNOWN, "has none of the formats"),
        ({"SchemaVersion": 2, "ArtifactName": "app"}, Status.UNKNOWN, "expected one of a load test"),
    ):
        attached(evidence, item, report, report=SAID)
        result = await seen(evidence, item)
        assert (result.status, words in result.summary) == (status, True), result.summary


@pytest.mark.parametrize(
    "name", ["locust-passed.json", "vegeta-passed.json", "autocannon-passed.json", "jmeter-passed.jtl.csv"]
)
async def test_real_reports_of_too_small_runs_are_unknown(evidence: Folder, name: str) -> None:
    evidence.clock.advance(days=50)
    said = {"scenario": "home"} | ({} if name.startswith(("auto", "jm")) else SAID)
    attached(evidence, "load_tests_executed", name, report=said, on="2026-11-30")
    result = await seen(evidence, "load_tests_executed")
    assert result.status is Status.UNKNOWN
    assert "(at least 1000 wanted)" in result.summary
    small = {"min_requests": 5, "min_duration": "500ms"}
    assert (await seen(evidence, "load_tests_executed", **small)).status is Status.OK


@pytest.mark.parametrize(
    "name",
    ["locust-target-down.json", "vegeta-target-down.json", "autocannon-target-down.json", "jmeter-target-down.jtl.csv"],
)
async def test_a_target_that_was_down_is_fast_and_fails(evidence: Folder, name: str) -> None:
    evidence.clock.advance(days=50)
    said = {"scenario": "home"} | ({} if name.startswith(("auto", "jm")) else SAID)
    attached(evidence, "load_tests_executed", name, report=said, on="2026-11-30")
    result = await seen(evidence, "load_tests_executed", min_requests=1, min_duration="1ms")
    assert (result.status, "(100.00%, at most 1.00%)" in result.summary) == (Status.FAILED, True)


async def test_what_gatling_prints_takes_times_from_the_record(evidence: Folder) -> None:
    said = SAID | {"started": "2026-10-12T10:00:00Z", "finished": "2026-10-12T10:20:00Z", "scenario": "home"}
    attached(evidence, "load_tests_executed", "gatling-target-down.txt", report=said)
    result = await seen(evidence, "load_tests_executed", min_requests=5)
    assert (result.status, "broke the thresholds Global: percentage" in result.summary) == (Status.FAILED, True)
    attached(evidence, "load_tests_executed", "gatling-passed.txt", report=said)
    assert (await seen(evidence, "load_tests_executed", min_requests=5)).status is Status.OK
    assert (await seen(evidence, "load_tests_executed")).status is Status.UNKNOWN


async def test_another_target_and_an_exit_code_count(evidence: Folder) -> None:
    item = "load_tests_executed"
    attached(evidence, item, locust(), report={"target": "http://localhost:8080"})
    result = await seen(evidence, item, load_targets=[TARGET])
    assert (result.status, result.reason) == (Status.UNKNOWN, Reason.CONTRADICTED)
    attached(evidence, item, locust(), report={"target": "https://Shop.example.com:443/"})
    assert (await seen(evidence, item, load_targets=[TARGET])).status is Status.OK
    attached(evidence, item, locust(), report={"target": f"{TARGET}.evil.example"})
    assert (await seen(evidence, item, load_targets=[TARGET])).status is Status.UNKNOWN
    attached(evidence, item, locust(), report=SAID | {"exit_code": 1})
    assert (await seen(evidence, item)).status is Status.FAILED
    attached(evidence, item, locust())
    assert "report.target" in (await seen(evidence, item)).summary


@pytest.mark.verifies("load_tests.baselines_established", "ok")
@pytest.mark.verifies("load_tests.baselines_established", "failed")
@pytest.mark.verifies("load_tests.baselines_established", "unknown")
async def test_only_like_is_compared_with_like(evidence: Folder) -> None:
    item = "baselines_established"
    attached(evidence, item, locust(p95=200), report=SAID)
    assert "There is no run to compare with" in (await seen(evidence, item)).summary
    for run, status, words in (
        (locust(p95=230), Status.OK, "no slower than 1.2 times that."),
        (
            locust(p95=260),
            Status.FAILED,
            "had a 95th percentile of 260 ms, its baseline of 200 ms (at most 1.2 times that).",
        ),
        (locust(p95=20, name="/health"), Status.UNKNOWN, "requested GET /health, its baseline GET /, so"),
        (locust(2000, p95=20), Status.UNKNOWN, "made 1.67 requests/s, its baseline 5, so they were not compared."),
        (locust(12), Status.UNKNOWN, "made 0.01 requests/s"),
    ):
        attached(evidence, "load_tests_executed", run, report=SAID)
        result = await seen(evidence, item)
        assert (result.status, words in result.summary) == (status, True), result.summary
    attached(evidence, "load_tests_executed", locust(p95=200), report=SAID)
    assert (await seen(evidence, item)).status is Status.WARNING
    attached(evidence, item, locust(errors=6000), report=SAID)
    assert (await seen(evidence, item)).status is Status.FAILED


@pytest.mark.verifies("load_tests.scalability_verified", "ok")
@pytest.mark.verifies("load_tests.scalability_verified", "failed")
@pytest.mark.verifies("load_tests.scalability_verified", "unknown")
async def test_scalability_takes_a_multiple_of_the_load(evidence: Folder) -> None:
    item = "scalability_verified"
    attached(evidence, item, locust(12000), report=SAID)
    assert (await seen(evidence, item)).status is Status.UNKNOWN
    attached(evidence, "baselines_established", locust(6000), report=SAID)
    assert (await seen(evidence, item)).status is Status.OK
    for run, status in (
        (locust(9000), Status.FAILED),
        (locust(12000, p95=3000), Status.FAILED),
        (locust(12000, errors=1000), Status.FAILED),
        (locust(12000, name="/health"), Status.UNKNOWN),
    ):
        attached(evidence, item, run, report=SAID)
        assert (await seen(evidence, item)).status is status


@pytest.mark.verifies("load_tests.bottlenecks_resolved", "ok")
@pytest.mark.verifies("load_tests.bottlenecks_resolved", "failed")
@pytest.mark.verifies("load_tests.bottlenecks_resolved", "unknown")
async def test_no_bottleneck_is_left_open(evidence: Folder, pages: Pages) -> None:
    item, links = "bottlenecks_resolved", [pages.add("/bottlenecks")]
    for measured, status in (
        ({"identified": 3, "open": 0}, Status.OK),
        ({"identified": 3, "open": 1}, Status.FAILED),
        ({"identified": 0, "open": 0}, Status.UNKNOWN),
        ({"identified": 3, "open": -1}, Status.FAILED),
        ({"identified": 3}, Status.FAILED),
    ):
        evidence.record(item, links=links, measured=measured)
        assert (await seen(evidence, item)).status is status


@pytest.mark.verifies("load_tests.sla_met", "ok")
@pytest.mark.verifies("load_tests.sla_met", "failed")
@pytest.mark.verifies("load_tests.sla_met", "unknown")
async def test_the_sla_is_held_in_a_load_test_and_where_it_is_measured(evidence: Folder, prometheus: Server) -> None:
    attached(evidence, "sla_met", locust(), report=SAID)
    assert (await seen(evidence, "sla_met")).status is Status.OK
    objective = {"name": "availability", "at_least": 0.999}
    result = await seen(evidence, "sla_met", objectives=[objective | {"query": "up"}])
    assert (result.status, result.reason) == (Status.UNKNOWN, Reason.NOT_CONFIGURED)
    client = Prometheus(PrometheusSettings(url=prometheus.url), Threads())
    for query, status in (
        ("vector(0.9995)", Status.OK),
        ("up", Status.OK),
        ("vector(0.99)", Status.FAILED),
        ("vector(0) / 0", Status.UNKNOWN),
        ("no_such_series", Status.UNKNOWN),
        ("vector(99.95)", Status.UNKNOWN),
        ("up[5m]", Status.UNKNOWN),
    ):
        options = {"objectives": [objective | {"query": query}], "clients": {"prometheus": client}}
        result = await seen(evidence, "sla_met", **options)
        assert result.status is status, result.summary
    few = objective | {"query": "up", "requests": "vector(12)"}
    assert (await seen(evidence, "sla_met", objectives=[few], clients={"prometheus": client})).status is Status.UNKNOWN
    await client.close()
    attached(evidence, "sla_met", locust(p95=5000), report=SAID)
    assert (await seen(evidence, "sla_met")).status is Status.FAILED


def test_an_objective_takes_enough_requests_and_a_ratio() -> None:
    objective = Objective(name="availability", query="a", at_least=0.999, requests="b")
    for values, requests, statuses in (
        ([0.9995, 1.0], [2000.0], []),
        ([0.9995], [12.0], [Status.UNKNOWN]),
        ([0.9995], [], [Status.UNKNOWN]),
        ([99.95], [2000.0], [Status.UNKNOWN]),
        ([float("nan"), 0.5], [2000.0], [Status.FAILED, Status.UNKNOWN]),
    ):
        assert [problem.status for problem in objective_problems(objective, values, requests)] == statuses
    with pytest.raises(ValueError, match="expected at_least or at_most"):
        Objective(name="a", query="b")


async def test_a_pause_between_two_waves_is_no_load(evidence: Folder) -> None:
    report = locust()
    report[0]["num_reqs_per_sec"] = {str(int(END) - 1200): 5999, str(int(END)): 1}
    attached(evidence, "load_tests_executed", report, report=SAID)
    result = await seen(evidence, "load_tests_executed")
    assert (result.status, "lasted 2 minutes (at least 10 minutes wanted)" in result.summary) == (Status.UNKNOWN, True)
    report[0]["num_reqs_per_sec"] = {str(int(END) - 60 * minute): 300 for minute in range(21)}
    attached(evidence, "load_tests_executed", report, report=SAID)
    assert (await seen(evidence, "load_tests_executed")).status is Status.OK


async def test_requests_of_another_system_are_none_of_the_target(evidence: Folder) -> None:
    item = "load_tests_executed"
    elsewhere = locust(name=f"{TARGET}/orders") + locust(name="http://localhost:8089/orders")
    for report, status in ((locust(name=f"{TARGET}/orders"), Status.OK), (elsewhere, Status.UNKNOWN)):
        attached(evidence, item, report, report=SAID)
        result = await seen(evidence, item, load_targets=[TARGET])
        assert result.status is status, result.summary
    assert "is about http://localhost:8089 and https://shop.example.com" in result.summary


async def test_days_are_no_duration(evidence: Folder) -> None:
    said = SAID | {"started": "2026-10-11", "finished": "2026-10-12", "scenario": "home"}
    attached(evidence, "load_tests_executed", "gatling-passed.txt", report=said)
    result = await seen(evidence, "load_tests_executed", min_requests=5)
    assert (result.status, "did not say how long it lasted" in result.summary) == (Status.UNKNOWN, True)


async def test_one_request_that_always_failed_outweighs_the_others(evidence: Folder) -> None:
    run = [*locust(9980, name="/"), *locust(20, 20, name="/pay")]
    attached(evidence, "load_tests_executed", run, report=SAID)
    result = await seen(evidence, "load_tests_executed")
    assert (result.status, "had no successful answer to GET /pay." in result.summary) == (Status.FAILED, True)


async def test_what_is_compared_is_of_one_system_later_and_proves_something(evidence: Folder) -> None:
    compared, scaled = "baselines_established", "scalability_verified"
    attached(evidence, compared, locust(), report=SAID)
    for run, target, words in (
        (locust(p95=20), "http://localhost:8080", "was run against http://localhost:8080, its baseline against"),
        (locust(p95=20, end=END - 86400), TARGET, "is older than its baseline."),
        (locust(errors=600), TARGET, "The latest run proves nothing: "),
    ):
        attached(evidence, "load_tests_executed", run, report={"target": target})
        result = await seen(evidence, compared)
        assert (result.status, words in result.summary) == (Status.UNKNOWN, True), result.summary
    for baseline, target, words in (
        (locust(), "http://localhost:8080", "its baseline against http://localhost:8080"),
        (locust(12), TARGET, "The baseline proves nothing: "),
    ):
        attached(evidence, compared, baseline, report={"target": target})
        attached(evidence, scaled, locust(12000), report=SAID)
        result = await seen(evidence, scaled)
        assert (result.status, words in result.summary) == (Status.UNKNOWN, True), result.summary


async def test_a_file_is_not_compared_with_itself_under_another_record(evidence: Folder) -> None:
    said = SAID | {"started": "2026-10-12T10:00:00Z", "scenario": "home"}
    limits = {"min_requests": 5}
    for item, minute in (("baselines_established", 20), ("load_tests_executed", 19)):
        attached(evidence, item, "gatling-passed.txt", report=said | {"finished": f"2026-10-12T10:{minute}:00Z"})
    assert (await seen(evidence, "baselines_established", **limits)).status is Status.WARNING


async def test_a_run_over_several_of_the_wanted_targets_is_one_of_them(evidence: Folder) -> None:
    both = locust(name=f"{TARGET}/orders") + locust(name="https://login.example.com/token")
    attached(evidence, "load_tests_executed", both)
    assert (await seen(evidence, "load_tests_executed")).status is Status.OK
    wanted = [TARGET, "https://login.example.com"]
    assert (await seen(evidence, "load_tests_executed", load_targets=wanted)).status is Status.OK
    result = await seen(evidence, "load_tests_executed", load_targets=[TARGET])
    assert (result.status, "requested https://login.example.com, which" in result.summary) == (Status.UNKNOWN, True)


async def test_a_difference_below_what_tools_resolve_is_none(evidence: Folder) -> None:
    attached(evidence, "baselines_established", locust(p95=11, end=END - 86400), report=SAID)
    for p95, status in ((14, Status.OK), (30, Status.FAILED)):
        attached(evidence, "load_tests_executed", locust(p95=p95), report=SAID)
        result = await seen(evidence, "baselines_established")
        assert result.status is status, result.summary


async def test_another_file_of_the_same_run_is_no_baseline(evidence: Folder) -> None:
    attached(evidence, "load_tests_executed", locust(), report=SAID)
    attached(evidence, "baselines_established", locust(p95=210), report=SAID)
    result = await seen(evidence, "baselines_established")
    assert (result.status, "is the baseline itself" in result.summary) == (Status.WARNING, True)
