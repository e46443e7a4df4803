"""The Alerting section against real Prometheus and Alertmanager of two generations."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from collectors.monitoring_and_observability.alerting import Alerting, AlertingSettings
from collectors.systems.alertmanager.client import Alertmanager as AlertmanagerClient
from collectors.systems.alertmanager.client import AlertmanagerSettings
from collectors.systems.prometheus.client import Prometheus as PrometheusClient
from collectors.systems.prometheus.client import PrometheusSettings
from exporter.collector import Client
from exporter.positioned_yaml import load_yaml
from exporter.threads import Threads
from exporter.verdict import Result, Status
from tests.servers import faults
from tests.servers.alertmanager import Alertmanager
from tests.servers.exporters import Exposition
from tests.servers.faults import Address
from tests.servers.pages import Pages
from tests.servers.process import call, eventually, wait_until
from tests.servers.prometheus import NEW, OLD, Prometheus, scrape
from tests.support import Clients, Run, connected, looks, make_context, until, verify

Json = dict[str, Any]

PARENT = "critical_alerts_configured"
KINDS = tuple(name for name in Alerting.items() if name != PARENT)
CANARY = "canary-of-slack"
CLIENTS: tuple[type[Client[Any]], ...] = (PrometheusClient, AlertmanagerClient)

#: A scrape that takes longer than this makes its series vanish, which a busy machine must not do: this process serves the page.
PATIENT = {"scrape_interval": "5s", "scrape_timeout": "5s"}

METRICS = """\
http_requests_total{code="200"} 100
http_requests_total{code="500"} 1
http_request_duration_seconds_bucket{le="0.5"} 90
http_request_duration_seconds_bucket{le="20"} 100
http_request_duration_seconds_bucket{le="+Inf"} 100
pg_up 1
redis_up 1
jetstream_consumer_num_pending 3
node_filesystem_avail_bytes 50
node_filesystem_size_bytes 100
node_memory_MemAvailable_bytes 500000000
node_cpu_seconds_total{mode="idle"} 100
node_load1 0.5
"""


def rule(name: str, expr: str, severity: str = "critical", **more: Any) -> Json:
    return {"alert": name, "expr": expr, "labels": {"severity": severity}, **more}


RULES = {
    "service_down_alert": rule("ServiceDown", 'up == 0 or absent(up{job="app"})'),
    "high_error_rate_alert": rule("HighErrors", 'rate(http_requests_total{code=~"5.."}[1m]) > 1'),
    "high_latency_alert": rule(
        "HighLatency", "histogram_quantile(0.99, rate(http_request_duration_seconds_bucket[1m])) > 10"
    ),
    "database_connection_alert": rule("DatabaseDown", "pg_up == 0"),
    "cache_connection_alert": rule("CacheDown", "redis_up == 0"),
    "queue_depth_alert": rule("QueueDeep", "jetstream_consumer_num_pending > 1000"),
    "disk_space_alert": rule("DiskFull", "node_filesystem_avail_bytes / node_filesystem_size_bytes < 0.1"),
    "memory_usage_alert": rule("MemoryShort", "node_memory_MemAvailable_bytes < 1e8"),
    "cpu_usage_alert": rule("CpuBusy", "node_load1 > 100"),
}
ROUTES: Json = {
    "route": {"receiver": "nobody", "routes": [{"receiver": "chat", "matchers": ['severity="critical"']}]},
    "receivers": [
        {"name": "nobody"},
        {"name": "chat", "slack_configs": [{"api_url": f"http://127.0.0.1:1/{CANARY}", "channel": "alerts"}]},
        {"name": "hook", "webhook_configs": [{"url": "http://127.0.0.1:1/"}]},
    ],
}


class World:
    """A Prometheus that scrapes a page of metrics, and an Alertmanager."""

    def __init__(self, prometheus: Prometheus, alertmanager: Alertmanager, page: Exposition) -> None:
        self.prometheus = prometheus
        self.alertmanager = alertmanager
        self.page = page

    def rules(self, *rules: Json, extra: Json | None = None) -> None:
        """Load these rules and wait until each was evaluated."""
        self.prometheus.configure(
            scrapes=[scrape("app", self.page.port, **PATIENT)],
            rules=[{"name": "rules", "rules": list(rules)}],
            extra=extra,
        )
        wait_until(self._evaluated, "the rules to be evaluated")
        self.prometheus.wait_for("node_cpu_seconds_total")

    def _evaluated(self) -> bool:
        groups = call(f"{self.prometheus.url}/api/v1/rules")["data"]["groups"]
        return all(one["health"] != "unknown" for group in groups for one in group["rules"])

    async def results(
        self, *items: str, clients: Mapping[str, str | Json] | None = None, **options: Any
    ) -> dict[str, Result]:
        """What one run sees; `clients` gives other addresses than those of the real servers, or all of a client's options."""
        urls = {"prometheus": self.prometheus.url, "alertmanager": self.alertmanager.url} | dict(clients or {})
        return await look(urls, *items, **options)

    async def result(self, item: str, **options: Any) -> Result:
        """What one run sees of one item."""
        return (await self.results(item, **options))[item]


def run(urls: Mapping[str, str | Json], *items: str, **options: Any) -> Run:
    settings = {"services": ["app"], **options}
    return Run(Alerting, items, settings=settings, clients=clients_of(urls), secrets=[CANARY])


look = looks(run)


def clients_of(urls: Mapping[str, str | Json]) -> AbstractAsyncContextManager[Clients]:
    return connected({kind: urls[kind.name] for kind in CLIENTS if urls.get(kind.name)})


@pytest.fixture(scope="module", params=[OLD, NEW], ids=["old", "new"])
def scraping(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Prometheus, Exposition]]:
    folder = tmp_path_factory.mktemp("alerting")
    with Exposition(METRICS) as page, Prometheus(folder, release=request.param, scrapes=[]) as prometheus:
        prometheus.configure(scrapes=[scrape("app", page.port, **PATIENT)])
        prometheus.wait_for("node_cpu_seconds_total")
        yield request.param, prometheus, page


@pytest.fixture
def world(scraping: tuple[str, Prometheus, Exposition], tmp_path: Path) -> Iterator[World]:
    """Everything is as it should be."""
    release, prometheus, page = scraping
    with Alertmanager(tmp_path, ROUTES, release=release) as alertmanager:
        ready = World(prometheus, alertmanager, page)
        ready.rules(*RULES.values())
        yield ready


@pytest.mark.verifies("alerting.critical_alerts_configured", "ok")
@pytest.mark.verifies("alerting.service_down_alert", "ok")
@pytest.mark.verifies("alerting.high_error_rate_alert", "ok")
@pytest.mark.verifies("alerting.high_latency_alert", "ok")
@pytest.mark.verifies("alerting.database_connection_alert", "ok")
@pytest.mark.verifies("alerting.cache_connection_alert", "ok")
@pytest.mark.verifies("alerting.queue_depth_alert", "ok")
@pytest.mark.verifies("alerting.disk_space_alert", "ok")
@pytest.mark.verifies("alerting.memory_usage_alert", "ok")
@pytest.mark.verifies("alerting.cpu_usage_alert", "ok")
async def test_all_kinds_are_seen(world: World, no_leftovers: None) -> None:
    seen = await world.results()
    assert {name: result.status for name, result in seen.items()} == dict.fromkeys([*KINDS, PARENT], Status.OK)
    assert seen["high_latency_alert"].summary == "HighLatency can fire and would notify of how long requests take."
    assert seen["high_latency_alert"].measurements == {"critical_rules": 1, "working_rules": 1}
    assert seen[PARENT].summary == "All 9 kinds of critical alerts are configured."


async def test_an_alert_that_fires_is_no_failure(world: World) -> None:
    world.page.text = METRICS.replace("pg_up 1", "pg_up 0")
    try:
        world.prometheus.wait_for('ALERTS{alertname="DatabaseDown", alertstate="firing"}')
        assert (await world.result("database_connection_alert")).status is Status.OK
    finally:
        world.page.text = METRICS
        world.prometheus.wait_for("pg_up == 1")


async def test_what_is_down_has_no_series_and_its_alerts_can_fire(world: World) -> None:
    """What is scraped gives nothing any more, so its series are stale at once."""
    world.page.text = "nothing_else 1\n"
    try:
        world.prometheus.wait_for("absent(http_requests_total) and absent(pg_up)")
        seen = await world.results()
        assert {name: result.status for name, result in seen.items()} == dict.fromkeys([*KINDS, PARENT], Status.OK)
    finally:
        world.page.text = METRICS
        world.prometheus.wait_for("pg_up == 1")


async def test_a_counter_is_one_by_what_its_target_says(world: World) -> None:
    world.page.text = f"{METRICS}# TYPE http_errors_total counter\nhttp_errors_total 3\nhttp_failures_total 3\n"
    world.prometheus.wait_for("http_failures_total")
    world.rules(rule("Many", "http_errors_total > 100"))
    result = await world.result("high_error_rate_alert")
    assert result.status is Status.WARNING
    assert "Alerting rule Many compares the counter http_errors_total itself, which only grows" in result.summary
    world.rules(rule("Many", "http_failures_total > 100"))
    assert (await world.result("high_error_rate_alert")).status is Status.OK
    world.page.text = METRICS


async def test_a_bucket_that_there_is_not(world: World) -> None:
    def slow(bound: str) -> Json:
        fast, every = (f'sum(rate(http_request_duration_seconds_bucket{{le="{le}"}}[1m]))' for le in (bound, "+Inf"))
        return rule("Slow", f"{fast} / {every} < 0.9")

    world.rules(slow("0.7"))
    result = await world.result("high_latency_alert")
    assert result.status is Status.FAILED
    assert "Alerting rule Slow can never fire" in result.summary
    world.rules(slow("0.5"))
    assert (await world.result("high_latency_alert")).status is Status.OK


@pytest.mark.verifies("alerting.critical_alerts_configured", "failed")
@pytest.mark.verifies("alerting.high_error_rate_alert", "failed")
@pytest.mark.verifies("alerting.high_latency_alert", "failed")
@pytest.mark.verifies("alerting.database_connection_alert", "failed")
@pytest.mark.verifies("alerting.cache_connection_alert", "failed")
@pytest.mark.verifies("alerting.queue_depth_alert", "failed")
@pytest.mark.verifies("alerting.disk_space_alert", "failed")
@pytest.mark.verifies("alerting.memory_usage_alert", "failed")
@pytest.mark.verifies("alerting.cpu_usage_alert", "failed")
@pytest.mark.verifies("alerting.service_down_alert", "failed")
async def test_rules_that_are_missing_or_not_critical(world: World) -> None:
    world.rules(rule("Mild", "pg_up == 0", "warning"), rule("Named", 'vector(1) unless on() up{job="redis_up"}'))
    seen = await world.results()
    assert {result.status for result in seen.values()} == {Status.FAILED}
    told = "No working alerting rule of severity critical watches connections to databases."
    assert seen["database_connection_alert"].summary.startswith(told)
    assert seen[PARENT].summary.startswith("9 of 9 kinds of critical alerts failed: service_down_alert, high_error")
    warned = await world.result("database_connection_alert", critical_severities=["critical", "warning"])
    assert "Alert Mild is routed to nobody" in warned.summary


async def test_a_service_that_vanishes_never_equals_0(world: World) -> None:
    """A trap: `up == 0` says nothing of a job that is not discovered any more."""
    world.rules(rule("Down", "up == 0"))
    result = await world.result("service_down_alert")
    assert result.status is Status.FAILED
    assert "watches services that are down (up is absent) of job app." in result.summary
    world.rules(rule("Down", "up == 0"), rule("Gone", 'absent(up{job="app"})'))
    assert (await world.result("service_down_alert")).status is Status.OK
    world.rules(rule("Both", 'absent(up{job="app"} == 1)'))
    assert (await world.result("service_down_alert")).status is Status.OK


async def test_each_service_has_to_be_watched(world: World) -> None:
    gone = [rule("Gone", f'absent(up{{job="{job}"}})') for job in ("app", "db")]
    world.rules(rule("Down", "up == 0"), *gone)
    assert (await world.result("service_down_alert", services=["app", "db"])).status is Status.OK
    result = await world.result("service_down_alert", services=["app", "web"])
    assert result.status is Status.FAILED
    assert "(up is absent) of job web." in result.summary


async def test_absent_is_silent_while_one_of_several_services_is_there(world: World) -> None:
    """A trap: `app` is there, `db` has never been, and the rule that names both is inactive."""
    world.rules(rule("Down", "up == 0"), rule("Gone", 'absent(up{job=~"app|db"})'))
    (told,) = call(f"{world.prometheus.url}/api/v1/rules")["data"]["groups"]
    assert [one["state"] for one in told["rules"] if one["name"] == "Gone"] == ["inactive"]
    result = await world.result("service_down_alert", services=["app", "db"])
    assert result.status is Status.FAILED
    assert "(up is absent) of job app and db." in result.summary
    other = await world.result("service_down_alert", services=["db"])
    assert (other.status, "(up is absent) of job db." in other.summary) == (Status.FAILED, True)
    assert (await world.result("service_down_alert", services=["app"])).status is Status.OK


async def test_a_misspelt_metric_is_noticed(world: World) -> None:
    """A trap: the rule stays `inactive` and its health `ok` for ever."""
    world.rules(rule("DatabaseDown", "pg_up_total == 0"))
    result = await world.result("database_connection_alert")
    assert result.status is Status.FAILED
    assert "Alerting rule DatabaseDown can never fire: there are no series of pg_up_total." in result.summary
    world.rules(rule("DatabaseDown", "pgg_up == 0 or pg_up == 0"))
    half = await world.result("database_connection_alert")
    assert half.status is Status.WARNING
    assert "A part of alerting rule DatabaseDown can never be true: there are no series of pgg_up." in half.summary
    excused = await world.result("database_connection_alert", may_be_missing=["pgg_up"])
    assert excused.status is Status.OK


async def test_a_label_filter_that_selects_nothing_now_is_no_failure(world: World) -> None:
    world.page.text = f'{METRICS}http_shop_requests_total{{code="200",path="/pay"}} 1\n'
    world.prometheus.wait_for('http_shop_requests_total{path="/pay"}')
    try:
        world.rules(rule("HighErrors", 'rate(http_shop_requests_total{code=~"5..", path="/never"}[1m]) > 1'))
        assert (await world.result("high_error_rate_alert")).status is Status.OK
    finally:
        world.page.text = METRICS


@pytest.mark.parametrize(
    ("expr", "item", "told"),
    [
        (
            'rate(http_requests_total{code="5xx"}[1m]) > 1',
            "high_error_rate_alert",
            "http_requests_total has values such as 200 in the label code, of which code=5xx selects none",
        ),
        (
            'node_filesystem_avail_bytes{mountpoint="/"} < 10',
            "disk_space_alert",
            "no series of node_filesystem_avail_bytes has the label mountpoint",
        ),
        ('pg_up{instance="db:9187"} == 0', "database_connection_alert", "no series of pg_up has instance=db:9187"),
        (
            "histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket[1m]))) * 1000 > 20000",
            "high_latency_alert",
            "its left side is between 0 and 20000, which is never > 20000",
        ),
        (
            'rate(http_requests_total{code="500"}[1m]) / rate(http_requests_total[1m]) > 0.05',
            "high_error_rate_alert",
            "each of its series is divided by itself",
        ),
        (
            'rate(http_requests_total{code="500"}[1m]) > 1e9',
            "high_error_rate_alert",
            "its left side is between 0 and 1e+07, which is never > 1e+09",
        ),
        ("pg_up < 1 and pg_up > 0.5", "database_connection_alert", "its conditions exclude each other"),
        ("pg_up == 0 unless on (job) pg_up == 0", "database_connection_alert", "its conditions exclude each other"),
        (
            "pg_up == 0 unless on (instance) up",
            "database_connection_alert",
            "pg_up == 0 unless on (instance) up selects nothing even without its comparison",
        ),
        ("count(pg_up == 1) > 0", "database_connection_alert", "pg_up == 1 is true of what is up"),
        ("pg_up == 0 and up == 0 and pg_up == 1", "database_connection_alert", "its conditions exclude each other"),
        (
            "node_filesystem_avail_bytes < node_filesystem_size_bytes",
            "disk_space_alert",
            "node_filesystem_avail_bytes is a part of node_filesystem_size_bytes, and so always less",
        ),
        ("node_load1 > 0", "cpu_usage_alert", "node_load1 is above 0 as long as anything runs"),
        ("redis_up == 0 or redis_up == 1", "cache_connection_alert", "its part redis_up == 1 is true of what is up"),
        (
            "histogram_quantile(0, rate(http_request_duration_seconds_bucket[1m])) > 0.1",
            "high_latency_alert",
            "asks for the quantile 0, which is that of the fastest",
        ),
        (
            "node_memory_MemAvailable_bytes < 0",
            "memory_usage_alert",
            "its left side is never below 0, which is never < 0",
        ),
    ],
)
async def test_what_no_series_that_there_are_can_meet(world: World, expr: str, item: str, told: str) -> None:
    """A trap: each is inactive with health `ok`, or fires with every single error, whatever its bound is."""
    world.rules(rule("Never", expr))
    (group,) = call(f"{world.prometheus.url}/api/v1/rules")["data"]["groups"]
    assert [one["health"] for one in group["rules"]] == ["ok"]
    result = await world.result(item)
    assert result.status is Status.FAILED
    assert told in result.summary


async def test_rules_that_come_late_or_only_by_chance(world: World) -> None:
    high = 'sum(rate(http_requests_total{code=~"5.."}[1m]))'
    world.page.text = f"# TYPE http_request_duration_seconds histogram\n{METRICS}"
    try:
        for expr, told in (
            (f"min_over_time(({high})[2h:1s]) > 1", "fires 2h late, as it looks that far back (limit 1h)"),
            (f"{high} == 1", "fires only when a rate is exactly 1: compare with > or <"),
        ):
            world.rules(rule("Late", expr))
            result = await world.result("high_error_rate_alert", longest_wait="1h")
            assert result.status is Status.WARNING, result.summary
            assert f"Alerting rule Late {told}." in result.summary
        world.rules(rule("Since", "histogram_quantile(0.99, sum by (le) (http_request_duration_seconds_bucket)) > 1"))

        async def since() -> Result:
            return await world.result("high_latency_alert")

        await until(
            since, Status.WARNING, "compares http_request_duration_seconds_bucket since the start of its process"
        )
    finally:
        world.page.text = METRICS


async def test_other_ways_to_notice_what_is_down(world: World) -> None:
    """Prometheus itself shows that both are true of what is down."""
    with Exposition("x 1\n") as leaving:
        world.prometheus.configure(scrapes=[scrape("leaving", leaving.port, **PATIENT)])
        world.prometheus.wait_for('up{job="leaving"} == 1')
    world.prometheus.wait_for('(max_over_time(up{job="leaving"}[1h]) == 1) unless up{job="leaving"} == 1', 60)
    world.prometheus.wait_for('scrape_samples_scraped{job="leaving"} == 0', 60)
    world.rules(
        rule("Gone", '(up{job="app"} offset 1s == 1) unless up{job="app"} == 1'),
        rule("Empty", "scrape_samples_scraped == 0"),
    )
    assert (await world.result("service_down_alert")).status is Status.OK
    world.rules(rule("Empty", "scrape_samples_scraped == 0"))
    result = await world.result("service_down_alert")
    assert result.status is Status.FAILED
    assert "services that are down (up is absent) of job app" in result.summary
    world.rules(rule("Gone", '(up{job="app"} offset 5m == 1) unless up{job="app"} == 1', **{"for": "10m"}))
    result = await world.result("service_down_alert")
    assert result.status is Status.FAILED
    assert "Alerting rule Gone can never fire: what was there 5m ago" in result.summary


async def test_a_number_where_nothing_is_asks_for_what_vanished(world: World) -> None:
    world.rules(rule("Down", '(sum(up{job="app"}) or vector(0)) < 1'))
    assert (await world.result("service_down_alert")).status is Status.OK
    world.rules(rule("Down", 'sum(up{job="app"}) or vector(0) < 1'))
    assert (await world.result("service_down_alert")).status is Status.FAILED


async def test_a_job_that_has_no_such_series_is_noticed(world: World) -> None:
    """A trap: the metric is there, but of another job than the rule asks for, as in rules that came from elsewhere."""
    world.rules(rule("DatabaseDown", 'pg_up{job="postgres-exporter"} == 0'))
    result = await world.result("database_connection_alert")
    assert result.status is Status.FAILED
    told = 'Alerting rule DatabaseDown can never fire: there are no series of pg_up{job="postgres-exporter"}.'
    assert told in result.summary
    world.rules(rule("DatabaseDown", 'pg_up{job=~"postgres-exporter|app"} == 0 unless on() maintenance == 1'))
    assert (await world.result("database_connection_alert")).status is Status.OK


async def test_names_that_are_patterns_are_looked_for(world: World) -> None:
    world.rules(rule("Any", 'pg_up == 0 or {__name__=~"pg_.*"} > 7'))
    assert (await world.result("database_connection_alert")).status is Status.OK
    world.rules(rule("Any", 'pg_up == 0 or {__name__=~"pgg_.*"} > 7'))
    result = await world.result("database_connection_alert")
    assert 'there are no series of {__name__=~"pgg_.*"}.' in result.summary


async def test_recording_rules_are_followed(world: World) -> None:
    recorded = {"record": "instance:busy:avg", "expr": "avg(rate(node_cpu_seconds_total[1m]))"}
    world.rules(recorded, rule("Busy", "instance:busy:avg > 100"))

    async def recorded_series() -> bool:
        return (await world.result("cpu_usage_alert")).status is Status.OK

    await eventually(recorded_series, "the recorded series")


async def test_a_rule_beside_one_that_works_is_told_as_a_warning(world: World) -> None:
    world.rules(RULES["cache_connection_alert"], rule("CacheFull", "redis_rejected_connections > 0"))
    result = await world.result("cache_connection_alert")
    assert result.status is Status.WARNING
    assert result.summary == (
        "CacheDown would notify of connections to caches. "
        "Alerting rule CacheFull can never fire: there are no series of redis_rejected_connections."
    )


async def test_a_rule_that_cannot_be_evaluated(world: World) -> None:
    world.rules(rule("DatabaseDown", "pg_up == on(code) http_requests_total or pg_up * on() http_requests_total"))
    wait_until(lambda: "err" in json.dumps(call(f"{world.prometheus.url}/api/v1/rules")), "the rule to fail")
    result = await world.result("database_connection_alert")
    assert result.status is Status.FAILED
    assert "Alerting rule DatabaseDown cannot be evaluated: " in result.summary


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ({"severity": "critical", "team": "{{ $labels.team }}"}, "can fire"),
        ({"severity": "page"}, "No working alerting rule of severity critical"),
    ],
)
async def test_labels_of_rules(world: World, labels: Json, told: str) -> None:
    world.rules({"alert": "DatabaseDown", "expr": "pg_up == 0", "labels": labels})
    assert told in (await world.result("database_connection_alert")).summary


async def test_an_alert_map_names_what_is_not_recognised(world: World) -> None:
    world.rules(rule("Odd", "jetstream_consumer_num_pending > 7"))
    assert (await world.result("memory_usage_alert", alert_map={"memory_usage_alert": ["Odd"]})).status is Status.OK
    mapped = await world.result("queue_depth_alert", alert_map={"queue_depth_alert": ["Other"]})
    assert mapped.status is Status.FAILED
    down = await world.result("service_down_alert", alert_map={"service_down_alert": ["Odd"]}, services=["app"])
    assert down.status is Status.OK
    with pytest.raises(ValidationError, match="alert_map names disk, expected items of this section"):
        AlertingSettings(alert_map={"disk": ("Odd",)})


# Delivery


async def test_an_alert_that_reaches_nobody(world: World) -> None:
    world.alertmanager.configure(ROUTES | {"route": {"receiver": "nobody"}})
    result = await world.result("disk_space_alert")
    assert result.status is Status.FAILED
    assert "Alert DiskFull is routed to nobody, which is not notified by email or pagerduty or slack." in result.summary
    world.alertmanager.configure(ROUTES | {"route": {"receiver": "hook"}})
    assert (await world.result("disk_space_alert")).status is Status.FAILED
    assert (await world.result("disk_space_alert", integrations=["webhook"])).status is Status.OK


async def test_where_an_alert_goes_may_depend_on_labels_that_are_not_known(world: World) -> None:
    route = {"receiver": "chat", "routes": [{"receiver": "nobody", "matchers": ['namespace=~"dev-.*"']}]}
    world.alertmanager.configure(ROUTES | {"route": route})
    world.rules(rule("HighErrors", 'rate(http_requests_total{code="503"}[1m]) > 1'))  # which there are none of yet
    result = await world.result("high_error_rate_alert")
    assert result.status is Status.UNKNOWN
    assert (
        "Alert HighErrors may be routed to nobody, which is not notified by email or pagerduty or slack, "
        in result.summary
    )
    assert (await world.result("high_error_rate_alert", alert_labels={"namespace": "shop"})).status is Status.OK
    assert (await world.result("high_error_rate_alert", alert_labels={"namespace": "dev-1"})).status is Status.FAILED


async def test_where_an_alert_goes_is_known_by_the_series_that_there_are(world: World) -> None:
    def routed(*matchers: str) -> Json:
        return ROUTES | {"route": {"receiver": "chat", "routes": [{"receiver": "nobody", "matchers": list(matchers)}]}}

    for matcher, status in (
        ('job="batch"', Status.OK),
        ('job="app"', Status.FAILED),
        ('namespace!="shop"', Status.FAILED),  # it has none
        ('namespace="dev"', Status.OK),
    ):
        world.alertmanager.configure(routed(matcher))
        result = await world.result("database_connection_alert")
        assert result.status is status, (matcher, result.summary)
    world.alertmanager.configure(routed('code="500"'))
    world.rules(
        rule("Errors", 'rate(http_requests_total{code!="404"}[1m]) > 1 and on () vector(1)'), RULES["disk_space_alert"]
    )
    result = await world.result("high_error_rate_alert", alert_map={"high_error_rate_alert": ["Errors"]})
    assert result.status is Status.WARNING
    assert "Alert Errors is routed to nobody, " in result.summary
    assert "So it is for code=500 alone." in result.summary


async def test_an_alert_that_lacks_the_labels_in_which_it_has_to_be_equal_is_inhibited(world: World) -> None:
    """A trap: a label that neither alert has counts as equal."""
    watchdog = {"alertname": "Watchdog", "severity": "none"}
    world.alertmanager.configure(
        ROUTES
        | {
            "inhibit_rules": [
                {
                    "source_matchers": ['severity="none"'],
                    "target_matchers": ['severity="critical"'],
                    "equal": ["namespace"],
                }
            ]
        }
    )
    world.alertmanager.send(watchdog, started=timedelta(days=2))

    async def seen() -> Result:
        return await world.result("database_connection_alert")

    await until(seen, Status.FAILED, "would be inhibited by Watchdog")
    world.alertmanager.configure(
        ROUTES
        | {
            "inhibit_rules": [
                {
                    "source_matchers": ['severity="none"'],
                    "target_matchers": ['severity="critical"'],
                    "equal": ["instance"],
                }
            ]
        }
    )
    await until(seen, Status.OK)


async def test_labels_that_prometheus_adds_are_known(world: World) -> None:
    route = {"receiver": "chat", "routes": [{"receiver": "nobody", "matchers": ['cluster="lab"']}]}
    world.alertmanager.configure(ROUTES | {"route": route})
    world.rules(*RULES.values(), extra=_global(cluster="eu"))
    assert (await world.result("disk_space_alert")).status is Status.OK
    world.rules(*RULES.values(), extra=_global(cluster="lab"))
    assert (await world.result("disk_space_alert")).status is Status.FAILED
    assert (await world.result("disk_space_alert", external_labels={"cluster": "eu"})).status is Status.OK


def _global(**labels: str) -> Json:
    times = {"scrape_interval": "200ms", "evaluation_interval": "200ms"}
    return {"global": {**times, "external_labels": labels}}


@pytest.mark.parametrize(
    ("relabelling", "status", "told"),
    [
        ({"action": "labeldrop", "regex": "replica"}, Status.OK, "can fire"),
        (
            {"action": "drop", "source_labels": ["severity"], "regex": "crit.*"},
            Status.FAILED,
            "is dropped by Prometheus's",
        ),
        ({"action": "keep", "source_labels": ["severity"], "regex": "critical"}, Status.OK, "can fire"),
        ({"action": "drop", "source_labels": ["node"], "regex": "x"}, Status.UNKNOWN, "may drop alerts by node"),
        (
            {"target_label": "severity", "replacement": "low"},
            Status.FAILED,
            "Of other severities there are DiskFull (low)",
        ),
        (
            {"target_label": "severity", "source_labels": ["team"]},
            Status.UNKNOWN,
            "Whether alert DiskFull is critical is not known",
        ),
        ({"target_label": "severity", "source_labels": ["alertname"], "regex": "X"}, Status.OK, "can fire"),
        ({"action": "labelmap", "regex": "a(.*)"}, Status.UNKNOWN, "changes the labels of alerts by labelmap"),
    ],
)
async def test_relabelled_alerts(world: World, relabelling: Json, status: Status, told: str) -> None:
    world.rules(*RULES.values(), extra={"alerting": {"alert_relabel_configs": [relabelling]}})
    result = await world.result("disk_space_alert")
    assert result.status is status
    assert told in result.summary


@pytest.mark.parametrize(
    ("intervals", "status", "told"),
    [
        ([{}], Status.FAILED, "Alert DiskFull is routed to chat, but time intervals mute that route at all times."),
        ([{"years": [str(datetime.now(UTC).year)]}], Status.WARNING, "would not be notified now: time intervals mute"),
        ([{"years": ["1990"]}], Status.OK, "can fire"),
    ],
)
async def test_muted_routes(world: World, intervals: Sequence[Json], status: Status, told: str) -> None:
    muted = {"receiver": "chat", "mute_time_intervals": ["quiet"]}
    configuration = {"route": {"receiver": "chat", "routes": [muted]}}
    named = [{"name": "quiet", "time_intervals": list(intervals)}]
    world.alertmanager.configure({**ROUTES, **configuration, "time_intervals": named})
    result = await world.result("disk_space_alert")
    assert result.status is status
    assert told in result.summary


async def test_a_silence_for_ever_is_told_from_planned_work(world: World) -> None:
    world.alertmanager.silence(minutes=60, alertname="DiskFull")
    assert (await world.result("disk_space_alert")).status is Status.OK
    world.alertmanager.silence(minutes=60 * 24 * 90, alertname="DiskFull", instance="db-1")
    assert (await world.result("disk_space_alert")).status is Status.OK
    silence = world.alertmanager.silence(minutes=60 * 24 * 90 + 5, severity="critical", alertname="DiskFull")
    result = await world.result("disk_space_alert")
    assert result.status is Status.FAILED
    told = f"Alert DiskFull is silenced for 90 days by silence {silence}, which ends in 90 days (limit 7d)."
    assert told in result.summary
    assert (await world.result("cpu_usage_alert")).status is Status.OK


async def test_a_silence_that_is_extended_again_and_again_is_one_for_ever(world: World) -> None:
    """A trap: it ends soon, as it did yesterday."""
    silence = world.alertmanager.silence(minutes=30, alertname="DiskFull")
    assert (await world.result("disk_space_alert", longest_silence="1h")).status is Status.OK
    assert world.alertmanager.extend(silence, minutes=90) == silence
    result = await world.result("disk_space_alert", longest_silence="1h")
    assert result.status is Status.FAILED
    assert (
        f"Alert DiskFull is silenced for 1 hour by silence {silence}, which ends in 1 hour (limit 1h)."
        in result.summary
    )


async def test_an_alert_that_fires_always_may_inhibit_others_for_ever(world: World) -> None:
    inhibits = {"source_matchers": ['alertname="Watchdog"'], "target_matchers": ['severity="critical"']}
    world.alertmanager.configure({**ROUTES, "inhibit_rules": [inhibits]})
    assert (await world.result("disk_space_alert")).status is Status.OK
    world.alertmanager.send({"alertname": "Watchdog"}, started=timedelta(hours=2))
    wait_until(world.alertmanager.alerts, "the alert")
    assert (await world.result("disk_space_alert")).status is Status.OK  # two hours are no ever
    result = await world.result("disk_space_alert", longest_inhibition="1h")
    assert result.status is Status.FAILED
    assert "Alert DiskFull would be inhibited by Watchdog, which fires for longer than 1h." in result.summary


async def test_an_alert_is_seen_to_be_inhibited(world: World) -> None:
    """A trap: labels that are missing on both sides count as equal."""
    inhibits = {
        "source_matchers": ['alertname="Root"'], "target_matchers": ['alertname="DiskFull"'], "equal": ["cluster"]
    }  # fmt: skip
    world.alertmanager.configure({**ROUTES, "inhibit_rules": [inhibits]})
    world.alertmanager.send({"alertname": "Root"}, started=timedelta(days=3))
    world.alertmanager.send({"alertname": "DiskFull", "severity": "critical"}, started=timedelta(days=2))

    async def inhibited() -> bool:
        result = await world.result("disk_space_alert")
        return "and is inhibited by Root (limit 1d)." in result.summary and result.status is Status.FAILED

    await eventually(inhibited, "the alert to be inhibited")


# What cannot be seen


@pytest.mark.verifies("alerting.critical_alerts_configured", "unknown")
@pytest.mark.verifies("alerting.service_down_alert", "unknown")
@pytest.mark.verifies("alerting.high_error_rate_alert", "unknown")
@pytest.mark.verifies("alerting.high_latency_alert", "unknown")
@pytest.mark.verifies("alerting.database_connection_alert", "unknown")
@pytest.mark.verifies("alerting.cache_connection_alert", "unknown")
@pytest.mark.verifies("alerting.queue_depth_alert", "unknown")
@pytest.mark.verifies("alerting.disk_space_alert", "unknown")
@pytest.mark.verifies("alerting.memory_usage_alert", "unknown")
@pytest.mark.verifies("alerting.cpu_usage_alert", "unknown")
@pytest.mark.parametrize("missing", ["prometheus", "alertmanager"])
async def test_without_a_client_nothing_is_seen(world: World, missing: str) -> None:
    seen = await world.results(clients={missing: ""})
    assert {result.status for result in seen.values()} == {Status.UNKNOWN}
    assert f"clients.{missing} is not configured" in seen["disk_space_alert"].summary
    assert seen[PARENT].summary.startswith("9 of 9 kinds of critical alerts were not checked: ")


FAULTS: dict[str, Callable[[], AbstractAsyncContextManager[Address]]] = {
    "refused": faults.refused,
    "mute": faults.mute,
    "hanging up": faults.hanging_up,
    "garbage": faults.garbage,
    "half a reply": lambda: faults.half_reply(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"),
    "100 MB": lambda: faults.endless(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n["),
    "slow": lambda: faults.endless(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n[", b" ", every=0.05),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("server", ["prometheus", "alertmanager"])
async def test_faulty_servers_are_unknown_in_time(world: World, server: str, fault: str, no_leftovers: None) -> None:
    async with FAULTS[fault]() as (host, port):
        started = asyncio.get_running_loop().time()
        # Fast faults keep this process from serving the page that Prometheus scrapes.
        missing = [line.partition("{")[0].split()[0] for line in METRICS.splitlines()]
        faulty = {"url": f"http://{host}:{port}", "timeout": "500ms"}  # the other one is real, and may be busy
        seen = await world.results(clients={server: faulty}, may_be_missing=missing)
        assert asyncio.get_running_loop().time() - started < 20
    assert {result.status for result in seen.values()} == {Status.UNKNOWN}
    assert f"{host}:{port}" in seen["disk_space_alert"].summary


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (401, "", "the credentials were not accepted"),
        (403, "", "the credentials have no right to it"),
        (429, "", "too many requests"),
        (502, "<h1>Bad gateway</h1>", "answered 502"),
        (404, "", "answered 404"),
        (200, "<html>log in</html>", "HTML page, where JSON was expected"),
        (200, '{"status": "success", "data": {"gro', "where JSON was expected"),
    ],
)
@pytest.mark.parametrize("server", ["prometheus", "alertmanager"])
async def test_what_is_no_whole_answer_is_unknown(
    world: World, pages: Pages, server: str, status: int, body: str, told: str
) -> None:
    for path in ("/api/v1/rules", "/api/v2/status"):
        pages.add(path, body, status)
    result = await world.result("disk_space_alert", clients={server: pages.url})
    assert result.status is Status.UNKNOWN
    assert told in result.summary


async def test_a_partial_answer_and_another_host_are_unknown(world: World, pages: Pages) -> None:
    answer = {"status": "success", "data": {"groups": []}, "warnings": ["one store was not reached"]}
    pages.add("/api/v1/rules", json.dumps(answer))
    result = await world.result("disk_space_alert", clients={"prometheus": pages.url})
    assert (result.status, "one store was not reached" in result.summary) == (Status.UNKNOWN, True)
    pages.redirect("/api/v1/rules", "http://127.0.0.2:1/api/v1/rules")
    result = await world.result("disk_space_alert", clients={"prometheus": pages.url})
    assert (result.status, "redirected to another host" in result.summary) == (Status.UNKNOWN, True)


async def test_a_server_that_tells_no_configuration_needs_the_labels(world: World, pages: Pages) -> None:
    """As Mimir, Thanos and VictoriaMetrics, which answer the rest of the API."""
    pages.add("/api/v1/rules", json.dumps(call(f"{world.prometheus.url}/api/v1/rules")))
    metrics = ["node_filesystem_avail_bytes", "node_filesystem_size_bytes"]
    vector = [{"metric": {"__name__": metric}, "value": [0, "1"]} for metric in metrics]
    answer = {"status": "success", "data": {"resultType": "vector", "result": vector}}

    class Querying(dict[str, Any]):
        def get(self, path: str, default: Any = None) -> Any:
            return super().get(path.partition("?")[0], default)

    pages.pages = Querying(pages.pages)
    pages.add("/api/v1/query", json.dumps(answer))
    result = await world.result("disk_space_alert", clients={"prometheus": pages.url})
    assert result.status is Status.UNKNOWN
    assert "has no such API" in result.summary
    assert "Give the labels that are added to alerts as external_labels." in result.summary
    given = await world.result("disk_space_alert", clients={"prometheus": pages.url}, external_labels={})
    assert given.status is Status.OK
    assert sum(path.startswith("/api/v1/rules") for path in pages.seen) == 2


@pytest.mark.parametrize("groups", [[], [{"name": "empty", "file": "a", "rules": []}]])
async def test_no_rules_are_believed_of_a_prometheus_alone(world: World, pages: Pages, groups: list[Json]) -> None:
    """A trap: what keeps series for others (Thanos, VictoriaMetrics) answers that there are no rules, wherever they are."""
    pages.add("/api/v1/rules", json.dumps({"status": "success", "data": {"groups": groups}}))
    pages.add(
        "/api/v1/status/runtimeinfo", json.dumps({"status": "success", "data": {"startTime": "2026-01-01T00:00:00Z"}})
    )
    result = await world.result("disk_space_alert", clients={"prometheus": pages.url})
    assert result.status is Status.UNKNOWN
    assert f"{pages.url} has no rules, as with servers that only store series" in result.summary
    runtime = {"startTime": "2026-01-01T00:00:00Z", "reloadConfigSuccess": True}
    pages.add("/api/v1/status/runtimeinfo", json.dumps({"status": "success", "data": runtime}))
    result = await world.result("disk_space_alert", clients={"prometheus": pages.url})
    assert (result.status, result.summary) == (
        Status.FAILED,
        "No working alerting rule of severity critical watches free disk space.",
    )


async def test_members_that_disagree_are_unknown(world: World, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with Alertmanager(tmp_path / "other") as other:
        settings = AlertmanagerSettings(url=world.alertmanager.url, peers=(other.url,))
        client = AlertmanagerClient(settings, Threads())
        prometheus = PrometheusClient(PrometheusSettings(url=world.prometheus.url), Threads())
        context = make_context(clients={"alertmanager": client, "prometheus": prometheus})
        seen = await verify(Alerting, AlertingSettings(), items=("disk_space_alert",), context=context)
        await client.close()
        await prometheus.close()
    result = seen["disk_space_alert"].result
    assert (result.status, "have different configurations" in result.summary) == (Status.UNKNOWN, True)


async def test_the_parent_leaves_out_what_does_not_apply(world: World) -> None:
    world.rules(*(rule for name, rule in RULES.items() if name != "queue_depth_alert"))
    assert (await world.result(PARENT)).status is Status.FAILED
    without = await world.result(PARENT, not_applicable={"queue_depth_alert": "There are no queues."})
    assert without.status is Status.OK
    assert without.summary == "All 8 kinds of critical alerts are configured."
    nothing = await world.result(PARENT, not_applicable=dict.fromkeys(KINDS, "Not here."))
    assert nothing.status is Status.UNKNOWN


@pytest.mark.parametrize(
    ("expr", "item", "told"),
    [
        # Each is inactive with health `ok`, for ever.
        (
            "pg_up == 0 unless on () vector(1)",
            "database_connection_alert",
            "selects nothing even without its comparison",
        ),
        (
            "pg_up == 0 and on () vector(0) > 1",
            "database_connection_alert",
            "selects nothing even without its comparison",
        ),
        ("count(pg_up == 1) < 1", "database_connection_alert", "count() of nothing is nothing"),
        (
            'sum(rate(http_requests_total{code=~"5.."}[1m])) / sum(rate(http_requests_total[1m])) > 5',
            "high_error_rate_alert",
            "share",
        ),
        ("pg_up * on (code) http_requests_total > 1000", "database_connection_alert", "its sides never join"),
        (
            'pg_up{cluster="eu"} == 0',
            "database_connection_alert",
            "its sides never join, or its labels are those of other",
        ),
        (
            "sum(pg_up) by (nothing) > 9 and on (nothing, job) redis_up == 0",
            "cache_connection_alert",
            "its sides never",
        ),
    ],
)
async def test_rules_that_can_never_be_true(world: World, expr: str, item: str, told: str) -> None:
    world.rules(rule("Never", expr), extra=_global(cluster="eu"))
    (group,) = call(f"{world.prometheus.url}/api/v1/rules")["data"]["groups"]
    assert [(one["state"], one["health"]) for one in group["rules"]] == [("inactive", "ok")]
    result = await world.result(item)
    assert result.status is Status.FAILED
    assert told in result.summary


async def test_rules_that_can_fire_though_parts_of_them_have_no_series(world: World) -> None:
    filtered = {"record": "job:pg_up:gone", "expr": "pg_up == 0"}
    world.rules(filtered, rule("Recorded", "job:pg_up:gone or absent(pg_up) unless on (job) job:pg_up:gone"))
    assert (await world.result("database_connection_alert")).status is Status.OK
    world.rules(rule("Down", 'up == 0 or probe_success == 0 or absent(up{job="app"})'))
    result = await world.result("service_down_alert")
    assert result.status is Status.WARNING
    assert "A part of alerting rule Down can never be true: there are no series of probe_success." in result.summary


async def test_the_rules_of_this_product_can_fire(world: World) -> None:
    """Who loads alerts/ and nothing else is not told that ChecklistExporterDown cannot fire."""
    text = (
        Path("alerts/checklist.rules.yaml").read_text(encoding="utf-8").replace('job="checklist-exporter"', 'job="app"')
    )
    document: Any = load_yaml(text, "rules").plain()
    names = {"ChecklistExporterDown", "job:checklist_items_configured:gone", "job:checklist_items_configured:max"}
    own = [one for group in document["groups"] for one in group["rules"]]
    shipped = [one for one in own if one.get("alert", one.get("record")) in names]
    assert len(shipped) == len(names)
    world.page.text = f"{METRICS}checklist_items_configured 205\nchecklist_exporter_leader 1\n"
    try:
        world.rules(*shipped, rule("Down", 'up == 0 or absent(up{job="app"})'))
        world.prometheus.wait_for("checklist_items_configured")
        result = await world.result("service_down_alert")
    finally:
        world.page.text = METRICS
    assert result.status is Status.OK, result.summary


async def test_whose_services_they_are_has_to_be_named(world: World) -> None:
    unnamed = await world.result("high_error_rate_alert", services=[])
    assert unnamed.status is Status.WARNING
    assert "Whether they are the product's was not checked, as option services is empty." in unnamed.summary
    other = await world.result("high_error_rate_alert", services=["web"])
    assert other.status is Status.FAILED
    some = await world.result("high_error_rate_alert", services=["app", "web"])
    assert some.status is Status.WARNING
    assert "Nothing like it watches web." in some.summary


async def test_a_severity_that_only_the_alert_has_is_unknown(world: World) -> None:
    world.rules(rule("Templated", "pg_up == 0", "{{ $labels.tier }}"))
    result = await world.result("database_connection_alert")
    assert result.status is Status.UNKNOWN
    assert "Whether alert Templated is critical is not known" in result.summary
    relabelled = {
        "target_label": "severity",
        "source_labels": ["alertname"],
        "regex": "Raised",
        "replacement": "critical",
    }
    world.rules(rule("Raised", "pg_up == 0", "page"), extra={"alerting": {"alert_relabel_configs": [relabelled]}})
    assert (await world.result("database_connection_alert")).status is Status.OK


async def test_other_severities_and_integrations_are_named(world: World) -> None:
    world.rules(rule("DatabaseDown", "pg_up == 0", "page"))
    result = await world.result("database_connection_alert")
    assert "Of other severities there are DatabaseDown (page): name those in critical_severities" in result.summary
    world.rules(*RULES.values())
    world.alertmanager.configure(ROUTES | {"route": {"receiver": "hook"}})
    result = await world.result("disk_space_alert")
    assert "It notifies by webhook: add that to option integrations if it counts." in result.summary


async def test_a_route_of_office_hours_is_a_warning_at_all_times(world: World) -> None:
    busy = {"receiver": "chat", "active_time_intervals": ["office"]}
    # Active today, and muted on two other days of the week.
    days = [(datetime.now(UTC) + timedelta(days=ahead)).strftime("%A").lower() for ahead in (0, 1, 2, 3, 6)]
    named = [{"name": "office", "time_intervals": [{"weekdays": days}]}]
    world.alertmanager.configure({**ROUTES, "route": {"receiver": "chat", "routes": [busy]}, "time_intervals": named})
    result = await world.result("disk_space_alert")
    assert result.status is Status.WARNING
    assert "time intervals mute its route for 48 of the 168 hours of the coming week." in result.summary
