"""The Monitoring Stack section against real Prometheus, Alertmanager (two generations), Loki and Jaeger; Grafana as documented."""

from __future__ import annotations

import asyncio
import json
import resource
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from pydantic import ValidationError

from collectors.monitoring_and_observability.monitoring_stack import MonitoringStack, MonitoringStackSettings
from collectors.systems.alertmanager.client import Alertmanager as AlertmanagerClient
from collectors.systems.grafana.client import Grafana as GrafanaClient
from collectors.systems.jaeger.client import Jaeger as JaegerClient
from collectors.systems.jaeger.model import MarkerTrace
from collectors.systems.loki.client import Loki as LokiClient
from collectors.systems.prometheus.client import Prometheus as PrometheusClient
from exporter.collector import Client, Context
from exporter.verdict import Result, Status
from tests.servers import faults
from tests.servers.alertmanager import Alertmanager
from tests.servers.exporters import Exposition
from tests.servers.faults import Address
from tests.servers.grafana import HEALTH, TOKEN, Grafana, dashboard, datasource_health
from tests.servers.jaeger import Jaeger
from tests.servers.loki import Loki
from tests.servers.pages import Pages
from tests.servers.process import call, eventually, free_port, wait_until
from tests.servers.prometheus import NEW, OLD, Prometheus, scrape
from tests.support import Clients, Run, connected, looks, make_context, until

Json = dict[str, Any]

PROMETHEUS = ("prometheus_collecting", "prometheus_targets_healthy")
ALERTMANAGER = ("alertmanager_routing", "alert_notifications_configured")
CANARY = "canary-of-slack"
WATCHDOG = {"alert": "Watchdog", "expr": "vector(1)", "labels": {"severity": "none"}}
KINDS: tuple[type[Client[Any]], ...] = (PrometheusClient, AlertmanagerClient, GrafanaClient, LokiClient, JaegerClient)


def routes(slack: str = f"http://127.0.0.1:1/{CANARY}", **more: Any) -> Json:
    """A configuration that tells of critical alerts by email, Slack and PagerDuty."""
    everything = {
        "name": "everybody",
        "email_configs": [{"to": "a@example.com", "from": "b@example.com", "smarthost": "127.0.0.1:1"}],
        "slack_configs": [{"api_url": slack, "channel": "alerts"}],
        "pagerduty_configs": [{"routing_key": CANARY, "url": "http://127.0.0.1:1/"}],
    }
    slow = {"group_wait": "1h", "group_interval": "1h", "group_by": ["alertname"]}
    route = {"receiver": "nobody", **slow, "routes": [{"receiver": "everybody", "matchers": ['severity="critical"']}]}
    return {"route": route, "receivers": [{"name": "nobody"}, everything], **more}


class World:
    """A Prometheus that scrapes itself and an Alertmanager, to which it sends an alert that fires always."""

    def __init__(self, prometheus: Prometheus, alertmanager: Alertmanager) -> None:
        self.prometheus = prometheus
        self.alertmanager = alertmanager
        self.urls = {"prometheus": prometheus.url, "alertmanager": alertmanager.url}

    def scrapes(self) -> list[Json]:
        patient = {"scrape_interval": "2s", "scrape_timeout": "2s"}  # as a busy machine may take more than 200 ms
        ports = {"prometheus": self.prometheus.port, "alertmanager": self.alertmanager.port}
        return [scrape(job, port, **patient) for job, port in ports.items()]

    def configure(self, *more: Json) -> None:
        """Scrape these too."""
        self.prometheus.configure(
            scrapes=[*self.scrapes(), *more],
            rules=[{"name": "watchdog", "rules": [WATCHDOG]}],
            alertmanagers=[self.alertmanager.port],
        )

    def wait(self) -> None:
        """Wait until both are scraped and the alert arrives: after a new configuration Prometheus discovers all anew."""
        wait_until(lambda: _targets(self.prometheus) == 2, "both targets", 60)
        wait_until(lambda: _alertmanagers(self.prometheus) == 1, "Alertmanager to be discovered", 60)
        wait_until(lambda: [held for held in self.alertmanager.alerts() if held["receivers"]], "Watchdog to arrive", 60)
        for metric in ("alertmanager_notifications_total", "prometheus_notifications_sent_total"):
            self.prometheus.wait_for(metric)

    async def results(self, *items: str, clients: Mapping[str, str] | None = None, **options: Any) -> dict[str, Result]:
        return await look(self.urls | dict(clients or {}), *items, **options)

    async def result(self, item: str, **options: Any) -> Result:
        return (await self.results(item, **options))[item]


def run(
    urls: Mapping[str, Any], *items: str, timeout: str = "20s", context: Context | None = None, **options: Any
) -> Run:
    """One run; `urls` are addresses of the clients, or all of their options."""
    clients = clients_of(urls, timeout=timeout)
    settings = {"warm_up": "0s", **options}
    return Run(MonitoringStack, items, settings=settings, clients=clients, context=context, secrets=[CANARY])


look = looks(run)


def clients_of(urls: Mapping[str, Any], **options: Any) -> AbstractAsyncContextManager[Clients]:
    return connected({kind: urls[kind.name] for kind in KINDS if urls.get(kind.name)}, **options)


@contextmanager
def running(folder: Path, release: str) -> Iterator[World]:
    """A world in which everything is as it should be."""
    (folder / "alertmanager").mkdir()
    flags = ["--rules.alert.resend-delay=3s"]  # an alert ends by itself after four of them
    with (
        Alertmanager(folder / "alertmanager", routes(), release=release) as alertmanager,
        Prometheus(folder, release=release, scrapes=[], flags=flags) as prometheus,
    ):
        world = World(prometheus, alertmanager)
        world.configure()
        world.wait()
        yield world


@pytest.fixture(scope="module", params=[OLD, NEW], ids=["old", "new"])
def started(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("stack"), request.param) as world:
        yield world


def _alertmanagers(prometheus: Prometheus) -> int:
    return len(call(f"{prometheus.url}/api/v1/alertmanagers")["data"]["activeAlertmanagers"])


def _targets(prometheus: Prometheus) -> int:
    active = call(f"{prometheus.url}/api/v1/targets?state=active")["data"]["activeTargets"]
    return sum(target["health"] == "up" for target in active)


@pytest.fixture
def world(started: World) -> World:
    """Everything is as it should be, whatever the test before has changed."""
    started.alertmanager.configure(routes())
    started.wait()
    return started


@pytest.mark.verifies("monitoring_stack.prometheus_collecting", "ok")
@pytest.mark.verifies("monitoring_stack.prometheus_targets_healthy", "ok")
@pytest.mark.verifies("monitoring_stack.alertmanager_routing", "ok")
@pytest.mark.verifies("monitoring_stack.alert_notifications_configured", "ok")
async def test_all_is_well(world: World, no_leftovers: None) -> None:
    # A busy machine may lose a scrape or a sent alert: what counts is that all is well once it has caught its breath.
    options: Json = {"expected_jobs": ["prometheus", "alertmanager"], "window": "10s"}
    told: dict[str, str] = {}
    for name in (*PROMETHEUS, *ALERTMANAGER):
        results: list[Result] = []

        async def well(name: str = name, results: list[Result] = results) -> bool:
            results.append(await world.result(name, **options))
            return results[-1].status is Status.OK

        try:
            await eventually(well, f"{name} to be well", 60)
        except TimeoutError:
            pytest.fail(f"{name} is not well: {results[-1].summary}")
        told[name] = results[-1].summary
    assert told["prometheus_collecting"] == "Prometheus scrapes 2 targets of 2 scrape configurations."
    assert told["prometheus_targets_healthy"] == "All 2 targets are up."
    assert "sends alerts to 1 Alertmanager without errors" in told["alertmanager_routing"]
    assert f"Alertmanager {world.alertmanager.url} routes Watchdog." in told["alertmanager_routing"]
    assert "Critical alerts reach email, slack, pagerduty." in told["alert_notifications_configured"]


# Prometheus


@pytest.mark.verifies("monitoring_stack.prometheus_collecting", "unknown")
@pytest.mark.verifies("monitoring_stack.prometheus_targets_healthy", "unknown")
@pytest.mark.parametrize("release", [OLD, NEW])
async def test_a_prometheus_that_just_started_is_not_called_healthy(tmp_path: Path, release: str) -> None:
    """A trap: its list of targets is empty for some seconds after it is ready, as if there were none that could be down."""
    with Prometheus(tmp_path, release=release, scrapes=[]) as prometheus:
        assert call(f"{prometheus.url}/api/v1/targets")["data"]["activeTargets"] == []
        seen = await look({"prometheus": prometheus.url}, *PROMETHEUS, warm_up="1m")
        assert {result.status for result in seen.values()} == {Status.UNKNOWN}
        assert seen["prometheus_collecting"].summary.startswith(
            "Prometheus has no targets yet: it started or was configured"
        )
        assert seen["prometheus_targets_healthy"].summary == "Prometheus has no targets yet."


async def test_no_targets_at_all(tmp_path: Path) -> None:
    with Prometheus(tmp_path, scrapes=[]) as prometheus:
        seen = await look({"prometheus": prometheus.url}, *PROMETHEUS)
        assert {result.status for result in seen.values()} == {Status.FAILED}
        assert {result.summary for result in seen.values()} == {"Prometheus has no targets."}


@pytest.mark.verifies("monitoring_stack.prometheus_collecting", "failed")
async def test_a_discovery_that_finds_nothing_vanishes_from_the_targets(world: World) -> None:
    """A trap: its scrape configuration is missing among the targets, and only there."""
    world.configure({"job_name": "shop", "static_configs": []})
    try:
        wait_until(
            lambda: "shop" in str(call(f"{world.prometheus.url}/api/v1/scrape_pools")), "the scrape configuration"
        )
        result = await world.result("prometheus_collecting")
        assert result.status is Status.FAILED
        assert "Scrape configuration shop has no target: its discovery found nothing." in result.summary
        early = await world.result("prometheus_collecting", warm_up="1h")
        assert early.status is Status.UNKNOWN
        excused = await world.result("prometheus_collecting", empty_pools=["shop"], expected_jobs=["prometheus"])
        assert excused.status is Status.OK
    finally:
        world.configure()


async def test_a_job_that_is_expected_and_missing(world: World) -> None:
    result = await world.result("prometheus_collecting", expected_jobs=["prometheus", "payments"])
    assert (result.status, result.summary) == (Status.FAILED, "Prometheus has no target of job payments.")


async def test_a_configuration_that_was_refused(tmp_path: Path) -> None:
    with Prometheus(tmp_path) as prometheus:
        wait_until(lambda: _targets(prometheus) == 1, "the target")
        with suppress(HTTPError):
            prometheus.configure(scrapes=[{"nonsense": True}])
        result = (await look({"prometheus": prometheus.url}, "prometheus_collecting"))["prometheus_collecting"]
        assert result.status is Status.FAILED
        assert "Prometheus refused its last configuration and runs with an older one" in result.summary


@pytest.mark.verifies("monitoring_stack.prometheus_targets_healthy", "failed")
async def test_a_target_that_is_down(world: World) -> None:
    port = free_port()
    world.configure(scrape("shop", port, params={"token": [CANARY]}))
    try:

        async def down() -> bool:
            result = await world.result("prometheus_targets_healthy")
            told = f"Target 127.0.0.1:{port} of job shop is down: "
            return result.status is Status.FAILED and told in result.summary and "refused" in result.summary

        await eventually(down, "the target to be down")
        for ignored in ("shop", f"127.0.0.1:{port}"):
            assert (await world.result("prometheus_targets_healthy", ignore_targets=[ignored])).status is Status.OK
    finally:
        world.configure()


@pytest.mark.parametrize(
    ("healths", "status", "told"),
    [
        (["up", "unknown"], Status.WARNING, "Target a:1 of job a is not scraped yet."),
        (["unknown", "unknown"], Status.UNKNOWN, "None of the 2 targets is up: they were not scraped yet"),
        (["up", "down"], Status.OK, "1 of 2 targets are up, the others may be down."),
        (["down", "down"], Status.UNKNOWN, "None of the 2 targets is up: "),
    ],
)
async def test_targets_of_which_none_was_seen_up(pages: Pages, healths: list[str], status: Status, told: str) -> None:
    """A trap: where nothing is red, nothing need be green."""
    active = [
        {
            "labels": {"job": "a", "instance": f"a:{port}"},
            "scrapePool": "a",
            "scrapeUrl": f"http://a:{port}/",
            "health": health,
        }
        for port, health in enumerate(healths)
    ]
    pages.add("/api/v1/targets?state=active", _success({"activeTargets": active}))
    name = "prometheus_targets_healthy"
    ignored = ["a"] if "down" in healths else []
    result = (await look({"prometheus": pages.url}, name, ignore_targets=ignored))[name]
    assert result.status is status
    assert told in result.summary


class Querying(dict[str, Any]):
    """Pages that are the same for every query."""

    def get(self, path: str, default: Any = None) -> Any:
        return super().get(path.partition("?")[0] if path.startswith("/api/v1/query") else path, default)


async def test_targets_are_fetched_once_for_all_items(pages: Pages) -> None:
    target = {
        "labels": {"job": "a", "instance": "a:1"}, "scrapePool": "a", "scrapeUrl": "http://a:1/metrics", "health": "up",
        "lastScrape": datetime.now(UTC).isoformat(), "scrapeInterval": "15s",
    }  # fmt: skip
    pages.pages = Querying(pages.pages)
    pages.add("/api/v1/targets?state=active", _success({"activeTargets": [target]}))
    pages.add("/api/v1/scrape_pools", _success({"scrapePools": ["a"]}))
    runtime = {"startTime": "2026-01-01T00:00:00Z", "reloadConfigSuccess": True}
    pages.add("/api/v1/status/runtimeinfo", _success(runtime))
    now = datetime.now(UTC).timestamp()
    names = ("scrape_samples_scraped", "scrape_samples_post_metric_relabeling")
    vector = [{"metric": {"__name__": name, "job": "a", "instance": "a:1"}, "value": [now, str(now)]} for name in names]
    pages.add("/api/v1/query", _success({"resultType": "vector", "result": vector}))
    seen = await look({"prometheus": pages.url}, *PROMETHEUS, expected_jobs=["a"])
    assert {result.status for result in seen.values()} == {Status.OK}
    asked = [path for path in sorted(pages.seen) if not path.startswith("/api/v1/query")]
    assert asked == ["/api/v1/scrape_pools", "/api/v1/status/runtimeinfo", "/api/v1/targets?state=active"]
    assert len(pages.seen) == 6
    del pages.pages["/api/v1/scrape_pools"]  # as Mimir, Thanos and VictoriaMetrics
    seen = await look({"prometheus": pages.url}, *PROMETHEUS)
    assert seen["prometheus_collecting"].status is Status.UNKNOWN
    assert "has no such API" in seen["prometheus_collecting"].summary
    assert seen["prometheus_targets_healthy"].status is Status.OK


async def test_without_expected_jobs_nobody_can_say_that_they_are_all(world: World) -> None:
    """A trap: a Prometheus that scrapes only itself misses nothing that it knows of."""
    result = await world.result("prometheus_collecting")
    assert result.status is Status.UNKNOWN
    assert "whether these are all services was not checked, as option expected_jobs is empty." in result.summary


YESTERDAY = f"shop_orders_total 1 {int((datetime.now(UTC) - timedelta(days=1)).timestamp() * 1000)}\n"


@pytest.mark.parametrize(
    ("page", "relabelling", "told"),
    [
        ("", [], "of job shop answers with a page without samples."),
        ("# HELP shop_orders_total Orders.\n", [], "of job shop answers with a page without samples."),
        (
            "shop_orders_total 1\n",
            [{"action": "drop", "source_labels": ["__name__"], "regex": ".*"}],
            "of job shop gives 1 sample, of which metric_relabel_configs leave none.",
        ),
        (YESTERDAY, [], "Prometheus has none that is fresh: their timestamps are of long ago"),
    ],
    ids=["empty", "comments", "dropped", "yesterday"],
)
@pytest.mark.parametrize("release", [OLD, NEW])
async def test_a_target_that_is_up_and_gives_nothing(
    tmp_path: Path, release: str, page: str, relabelling: list[Json], told: str
) -> None:
    """A trap: `up` is 1 all the same."""
    with Exposition(page) as shop, Prometheus(tmp_path, release=release, scrapes=[]) as prometheus:
        job = scrape("shop", shop.port, scrape_interval="1s", metric_relabel_configs=relabelling)
        prometheus.configure(scrapes=[job])
        prometheus.wait_for('up{job="shop"} == 1')
        urls = {"prometheus": prometheus.url}

        async def seen(expected: Status) -> bool:
            result = (await look(urls, "prometheus_collecting", expected_jobs=["shop"]))["prometheus_collecting"]
            return result.status is expected and (expected is Status.OK or told in result.summary)

        await eventually(lambda: seen(Status.FAILED), "the target to be seen without samples")
        assert prometheus.query('up{job="shop"} == 1')
        shop.text = "shop_orders_total 1\n"
        if not relabelling:
            await eventually(lambda: seen(Status.OK), "the samples to be seen")


@pytest.mark.parametrize("release", [OLD, NEW])
async def test_a_prometheus_that_can_store_nothing_more(tmp_path: Path, release: str) -> None:
    """A trap: with a full disk every target is up, and its last scrape is fresh."""
    with Prometheus(tmp_path, release=release) as prometheus:
        prometheus.wait_for("up == 1")
        urls = {"prometheus": prometheus.url}

        async def seen(expected: Status, told: str) -> bool:
            result = (await look(urls, "prometheus_collecting", expected_jobs=["prometheus"]))["prometheus_collecting"]
            return result.status is expected and told in result.summary

        await eventually(lambda: seen(Status.OK, ""), "the samples to be seen")
        resource.prlimit(prometheus.pid, resource.RLIMIT_FSIZE, (1, 1))
        await eventually(lambda: seen(Status.FAILED, "has stored none of its samples"), "the full disk to be seen", 60)
        (target,) = call(f"{prometheus.url}/api/v1/targets?state=active")["data"]["activeTargets"]
        assert target["health"] == "up"


async def test_paths_of_one_address_are_several_targets(tmp_path: Path) -> None:
    """A trap: as with kubelets, only a further label tells those targets apart."""
    with (
        Exposition("a 1\n") as full,
        Exposition("") as empty,
        Prometheus(tmp_path, release=NEW, scrapes=[]) as prometheus,
    ):
        same = [{"target_label": "job", "replacement": "kubelet"}, {"target_label": "instance", "replacement": "node"}]
        jobs = [("a", empty), ("b", full)], [("a", full), ("b", empty)]
        for order in jobs:
            prometheus.configure(
                scrapes=[
                    scrape(
                        name,
                        page.port,
                        scrape_interval="2s",
                        relabel_configs=[*same, {"target_label": "metrics_path", "replacement": f"/{name}"}],
                    )
                    for name, page in order
                ]
            )
            await until(
                lambda: _collecting(prometheus, expected_jobs=["kubelet"]),
                Status.FAILED,
                "Target node of job kubelet answers with a page without samples.",
            )


async def _collecting(prometheus: Prometheus, context: Context | None = None, **options: Any) -> Result:
    name = "prometheus_collecting"
    return (await look({"prometheus": prometheus.url}, name, context=context, **options))[name]


async def test_metrics_that_another_prometheus_collects(tmp_path: Path) -> None:
    """By federation, whose series keep their jobs, and by remote write, where there are no targets at all."""
    folders = [tmp_path / name for name in ("source", "federating", "receiving")]
    for folder in folders:
        folder.mkdir()
    slow = {"global": {"scrape_interval": "2s"}}
    with (
        ExitStack() as scraped,
        Prometheus(folders[2], release=NEW, scrapes=[], flags=["--web.enable-remote-write-receiver"]) as receiving,
        Prometheus(
            folders[0],
            release=NEW,
            scrapes=[scrape("api", scraped.enter_context(Exposition("shop_total 1\n")).port)],
            extra={**slow, "remote_write": [{"url": f"{receiving.url}/api/v1/write"}]},
        ) as source,
        Prometheus(
            folders[1],
            release=NEW,
            scrapes=[
                scrape(
                    "federate",
                    source.port,
                    metrics_path="/federate",
                    honor_labels=True,
                    params={"match[]": ['{job="api"}']},
                )
            ],
            extra=slow,
        ) as federating,
    ):
        for one in (receiving, federating):
            await asyncio.to_thread(one.wait_for, 'shop_total{job="api"} and on (job) up == 1', 60)
        assert not federating.query('{job="federate", __name__!~"up|scrape_.*"}')
        await until(
            lambda: _collecting(federating, expected_jobs=["federate", "api"]),
            Status.OK,
            "and has the metrics of api from",
        )
        await until(
            lambda: _collecting(receiving, expected_jobs=["api"]),
            Status.OK,
            "has the metrics of api from other servers",
        )
        missing = await _collecting(receiving, expected_jobs=["api", "web"])
        assert (missing.status, missing.summary) == (Status.FAILED, "Prometheus has no target of job web.")
        healthy = "prometheus_targets_healthy"
        urls = {"prometheus": receiving.url}
        assert (await look(urls, healthy))[
            healthy
        ].summary == "1 target of other servers, which send their series here, is up."
        scraped.close()

        async def down() -> bool:
            told = [
                (await _collecting(receiving, expected_jobs=["api"])).summary,
                (await look(urls, healthy))[healthy].summary,
            ]
            return "another server scrapes it, and all its targets are down." in told[0] and told[1].endswith(
                "scrapes, is down."
            )

        await eventually(down, "the target of the other server to be down", 60)


@pytest.mark.parametrize("ahead", [120, -120])
async def test_the_age_of_scrapes_is_by_the_clock_of_prometheus(world: World, ahead: int) -> None:
    """A trap: the exporter's own clock may be minutes off."""

    def shifted() -> Context:
        return make_context(now=lambda: datetime.now(UTC) + timedelta(seconds=ahead))

    await until(
        lambda: _collecting(world.prometheus, shifted(), expected_jobs=["prometheus", "alertmanager"]), Status.OK
    )


def _success(data: Any) -> str:
    return json.dumps({"status": "success", "data": data})


# Alertmanager


@pytest.mark.verifies("monitoring_stack.alertmanager_routing", "failed")
@pytest.mark.parametrize("release", [OLD, NEW])
async def test_a_killed_alertmanager_stays_in_prometheus_list(tmp_path: Path, release: str) -> None:
    """A trap: only the counter of errors tells."""
    with running(tmp_path, release) as world:

        async def told(status: Status, sentence: str) -> bool:
            result = await world.result("alertmanager_routing")
            return result.status is status and sentence in result.summary

        await eventually(lambda: told(Status.OK, "without errors"), "the routing to be seen")
        world.alertmanager.kill()
        await eventually(lambda: told(Status.FAILED, "Prometheus failed to send "), "the errors to be counted")
        assert _alertmanagers(world.prometheus) == 1


async def test_alerts_that_a_new_configuration_drops_are_a_warning(tmp_path: Path) -> None:
    """An older Prometheus knows no Alertmanager for some seconds whenever it is configured; what it drops comes again."""
    with running(tmp_path, OLD) as world:
        world.configure()
        world.wait()

        async def told(status: Status, warm_up: str) -> bool:
            result = await world.result("alertmanager_routing", warm_up=warm_up)
            return result.status is status and "Prometheus dropped " in result.summary

        await eventually(lambda: told(Status.WARNING, "1m"), "what was dropped to be excused")
        await eventually(lambda: told(Status.FAILED, "0s"), "what was dropped to count after the time for it")


async def test_a_watchdog_that_does_not_arrive_or_is_silenced(world: World) -> None:
    missing = await world.result("alertmanager_routing", watchdog="DeadMan")
    assert missing.status is Status.FAILED
    assert "has no alert DeadMan, which has to fire all the time." in missing.summary
    silence = world.alertmanager.silence(alertname="Watchdog")

    async def silenced() -> bool:
        result = await world.result("alertmanager_routing")
        return result.status is Status.FAILED and "Watchdog is suppressed on Alertmanager" in result.summary

    await eventually(silenced, "the silence to hold")
    world.alertmanager.unsilence(silence)


async def test_a_configuration_that_alertmanager_refused(world: World) -> None:
    """A trap: it goes on with the older one, which its API shows, and does not start with the new one any more."""
    good = world.alertmanager.configuration.read_text()
    with suppress(HTTPError):
        world.alertmanager.configure({"route": {"receiver": "nobody at all"}, "receivers": []})
    refused = (
        f"Alertmanager 127.0.0.1:{world.alertmanager.port} refused its last configuration and runs with an older one"
    )
    await until(lambda: world.result("alertmanager_routing"), Status.FAILED, refused)
    world.alertmanager.configure(json.loads(good))
    world.prometheus.wait_for("alertmanager_config_last_reload_successful == 1")


@pytest.mark.parametrize("release", [OLD, NEW])
async def test_alerts_that_arrive_may_be_those_of_another_prometheus(tmp_path: Path, release: str) -> None:
    """A trap: relabelling drops all that this one sends, without an error, and the alert that always fires comes from elsewhere."""
    drop = [{"source_labels": ["alertname"], "regex": ".*", "action": "drop"}]
    with running(tmp_path, release) as world:
        manager = {"static_configs": [{"targets": [f"127.0.0.1:{world.alertmanager.port}"]}]}
        alerting = {"alerting": {"alertmanagers": [manager], "alert_relabel_configs": drop}}

        def configure(*rules: Json) -> None:
            world.prometheus.configure(
                scrapes=world.scrapes(), rules=[{"name": "rules", "rules": [*rules]}], extra=alerting
            )

        async def seen() -> Result:
            world.alertmanager.send({"alertname": "Watchdog"})
            return await world.result("alertmanager_routing", window="9s")

        configure(WATCHDOG)
        dropped = "sent no alert in the last 9s, though Watchdog fires: alert_relabel_configs may drop it."
        await until(seen, Status.FAILED, dropped)
        configure()
        await until(seen, Status.WARNING, "as none fires in it: what arrives comes from another server.")


async def test_alertmanagers_that_do_not_know_of_each_other(world: World, tmp_path: Path) -> None:
    """A trap: each is ready and has the alert; a person is notified by each, and silences hold on one."""
    folders = [tmp_path / name for name in ("alone", "one", "other", "apart")]
    for folder in folders:
        folder.mkdir()
    with (
        Alertmanager(folders[0]) as alone,
        Alertmanager(folders[1], joins=[]) as one,
        Alertmanager(folders[2], release=NEW, joins=[one]) as other,
        Alertmanager(folders[3], release=NEW, joins=[]) as apart,
    ):
        for manager in (alone, one, other, apart):
            manager.send({"alertname": "Watchdog"})

        async def seen(*members: Alertmanager) -> Result:
            (first, *peers) = members
            clients = {"alertmanager": {"url": first.url, "peers": [peer.url for peer in peers]}}
            return await world.result("alertmanager_routing", clients=clients, min_alertmanagers=1, window="9s")

        await until(lambda: seen(one, other), Status.OK, "")
        await until(lambda: seen(alone), Status.OK, "")
        await until(
            lambda: seen(one, alone), Status.WARNING, f"Alertmanager {alone.url} is in no cluster: it notifies by"
        )
        split = f"Alertmanager {apart.url} does not see 2 of the 3 members of its cluster"
        await until(lambda: seen(apart, one, other), Status.WARNING, split)


async def test_too_few_alertmanagers(world: World) -> None:
    few = await world.result("alertmanager_routing", min_alertmanagers=2)
    assert few.status is Status.FAILED
    assert "Prometheus sends alerts to 1 Alertmanager (wanted 2)." in few.summary
    await until(partial(world.result, "alertmanager_routing", min_alertmanagers=2, warm_up="1h"), Status.UNKNOWN)


@pytest.mark.verifies("monitoring_stack.alertmanager_routing", "unknown")
@pytest.mark.verifies("monitoring_stack.alert_notifications_configured", "unknown")
async def test_without_figures_of_prometheus_and_alertmanager_nothing_is_known(tmp_path: Path) -> None:
    (tmp_path / "alertmanager").mkdir()
    with (
        Alertmanager(tmp_path / "alertmanager", routes()) as alertmanager,
        Prometheus(tmp_path, scrapes=[]) as prometheus,
    ):
        world = World(prometheus, alertmanager)
        alertmanager.send({"alertname": "Watchdog"})
        prometheus.configure(scrapes=[], alertmanagers=[alertmanager.port])
        wait_until(
            lambda: call(f"{prometheus.url}/api/v1/alertmanagers")["data"]["activeAlertmanagers"], "the discovery"
        )
        seen = await world.results(*ALERTMANAGER)
        assert {result.status for result in seen.values()} == {Status.UNKNOWN}
        assert seen["alertmanager_routing"].summary.endswith("it does not scrape itself.")
        assert seen["alert_notifications_configured"].summary.endswith("it does not scrape Alertmanager.")


@pytest.mark.parametrize(
    ("item", "window"), [("alertmanager_routing", "window"), ("alert_notifications_configured", "notification_window")]
)
async def test_one_sample_shows_no_errors(world: World, item: str, window: str) -> None:
    """A trap: between two scrapes no counter grows, that of the errors neither."""

    async def seen() -> bool:
        result = await world.result(item, **{window: "1s"})
        return (
            result.status is Status.UNKNOWN
            and "from the last 1s, so what failed in that time was not" in result.summary
        )

    await eventually(seen, "less than two samples")


@pytest.mark.verifies("monitoring_stack.alert_notifications_configured", "failed")
async def test_critical_alerts_that_reach_nobody(world: World) -> None:
    unrouted = routes()
    del unrouted["route"]["routes"]
    world.alertmanager.configure(unrouted)
    result = await world.result("alert_notifications_configured")
    assert result.status is Status.FAILED
    assert result.summary == (
        "An alert with severity=critical goes to receiver nobody, which does not notify through email and pagerduty and slack."
    )
    partly = await world.result("alert_notifications_configured", required_integrations=["webhook", "slack"])
    assert partly.summary.endswith("which does not notify through slack and webhook.")


async def test_critical_alerts_that_are_hidden(world: World) -> None:
    """A trap: the routes are right, and none of these alerts would ever be notified."""
    item = "alert_notifications_configured"
    watchdog = {"source_matchers": ['alertname="AlwaysOn"'], "target_matchers": ['severity="critical"']}
    world.alertmanager.configure(routes(inhibit_rules=[watchdog]))
    world.alertmanager.send({"alertname": "AlwaysOn"}, started=timedelta(days=2))
    await until(
        lambda: world.result(item), Status.FAILED, "Alert with severity=critical would be inhibited by AlwaysOn"
    )
    world.alertmanager.configure(routes())
    silence = world.alertmanager.silence(minutes=365 * 24 * 60 + 60, severity="critical")
    await until(lambda: world.result(item), Status.FAILED, "Alert with severity=critical is silenced for 365 days")
    world.alertmanager.unsilence(silence)
    slow = routes()
    slow["route"]["routes"][0]["group_wait"] = "1d"
    world.alertmanager.configure(slow)
    held = "An alert with severity=critical is held for 1d before email is notified"
    await until(lambda: world.result(item), Status.FAILED, held)


async def test_labels_that_prometheus_adds_decide_where_alerts_go(world: World) -> None:
    """A trap: a silence, or a route, by the cluster that only Prometheus's configuration names."""
    item = "alert_notifications_configured"
    added: Json = {"global": {"external_labels": {"cluster": "eu", "replica": "a"}}}
    relabelled: Json = {"alerting": {"alert_relabel_configs": [{"regex": "replica", "action": "labeldrop"}]}}
    world.prometheus.configure(scrapes=world.scrapes(), extra=added | relabelled)
    try:
        silence = world.alertmanager.silence(minutes=365 * 24 * 60 + 60, cluster="eu")
        hidden = "Alert with severity=critical, cluster=eu is silenced for 365 days"
        await until(lambda: world.result(item), Status.FAILED, hidden)
        world.alertmanager.unsilence(silence)
        by_cluster = routes()
        by_cluster["route"]["routes"][0]["matchers"] = ['cluster="eu"', 'replica=""']
        world.alertmanager.configure(by_cluster)
        await until(lambda: world.result(item), Status.OK, "Critical alerts reach email, slack, pagerduty.")
    finally:
        world.configure()


async def test_an_expected_job_of_which_every_target_is_down(world: World) -> None:
    world.configure(scrape("shop", free_port()))
    try:
        expected = ["prometheus", "alertmanager", "shop"]
        told = "Prometheus collects nothing from job shop: its target is down."
        await until(lambda: world.result("prometheus_collecting", expected_jobs=expected), Status.FAILED, told)
    finally:
        world.configure()


async def test_a_route_that_is_muted_at_all_times(world: World) -> None:
    muted = routes(time_intervals=[{"name": "always", "time_intervals": [{}]}])
    muted["route"]["routes"][0]["mute_time_intervals"] = ["always"]
    world.alertmanager.configure(muted)
    result = await world.result("alert_notifications_configured")
    assert result.status is Status.FAILED
    assert "receiver everybody (muted at all times by time intervals), which does not notify through" in result.summary


@pytest.mark.parametrize("release", [OLD, NEW])
async def test_notifications_that_are_retried_are_noticed(tmp_path: Path, release: str) -> None:
    """A trap: while Alertmanager retries, alertmanager_notifications_failed_total stays 0; the requests fail."""
    with running(tmp_path, release) as world:
        at_once = routes()
        at_once["route"] |= {"group_wait": "1ms", "group_interval": "1h"}
        world.alertmanager.configure(at_once)
        world.alertmanager.alert(alertname="Shop", severity="critical")

        async def noticed() -> bool:
            result = await world.result("alert_notifications_configured", required_integrations=["slack"])
            return (
                result.status is Status.FAILED
                and " requests to slack failed in the last 1h (limit 1%)." in result.summary
            )

        await eventually(noticed, "the failing requests")
        lost = world.prometheus.query('alertmanager_notifications_failed_total{integration="slack"} > 0')
        assert lost == []


async def test_notifications_that_arrive(tmp_path: Path) -> None:
    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        await writer.drain()

    (tmp_path / "alertmanager").mkdir()
    async with faults.serving(take) as (host, port):
        at_once = routes(f"http://{host}:{port}/")
        at_once["route"] |= {"group_wait": "1ms", "group_interval": "1s"}
        with (
            Alertmanager(tmp_path / "alertmanager", at_once) as manager,
            Prometheus(tmp_path, scrapes=[]) as prometheus,
        ):
            prometheus.configure(scrapes=[scrape("alertmanager", manager.port)])
            await asyncio.to_thread(prometheus.wait_for, "alertmanager_notifications_total")
            await asyncio.to_thread(manager.alert, alertname="Shop", severity="critical")
            urls = {"prometheus": prometheus.url, "alertmanager": manager.url}

            async def arrived() -> bool:
                seen = await look(urls, "alert_notifications_configured", required_integrations=["slack"])
                result = seen["alert_notifications_configured"]
                return result.status is Status.OK and result.measurements["notifications"] > 0

            await eventually(arrived, "the notification")


# Faults

FAULTS: dict[str, Callable[[], AbstractAsyncContextManager[Address]]] = {
    "refused": faults.refused,
    "mute": faults.mute,
    "hanging up": faults.hanging_up,
    "garbage": faults.garbage,
    "half a reply": lambda: faults.half_reply(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"),
    "100 MB": lambda: faults.endless(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n["),
    "slow": lambda: faults.endless(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n[", b" ", every=0.05),
}
#: What needs only the one server, with options that let each item ask.
ASKING: Json = {"loki_selectors": ['{app="a"}'], "trace_services": ["a"], "dashboards": ["a"], "datasources": ["b"]}
ALL = tuple(MonitoringStack.items())


@pytest.mark.parametrize("fault", FAULTS)
async def test_faulty_servers_are_unknown_in_time(fault: str, no_leftovers: None) -> None:
    async with FAULTS[fault]() as (host, port):
        url = f"http://{host}:{port}"
        urls = {kind.name: url for kind in KINDS} | {"jaeger": {"url": url, "otlp": {"url": url, "timeout": "500ms"}}}
        started = asyncio.get_running_loop().time()
        seen = await look(urls, timeout="500ms", **ASKING)
        assert asyncio.get_running_loop().time() - started < 25
    assert {name: result.status for name, result in seen.items()} == dict.fromkeys(ALL, Status.UNKNOWN)
    assert all(f"{host}:{port}" in result.summary for result in seen.values())


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (401, "", "the credentials were not accepted"),
        (403, "", "the credentials have no right to it"),
        (429, "", "too many requests"),
        (502, "<h1>Bad gateway</h1>", "answered 502"),
        (200, "<html>log in</html>", "HTML page"),
        (200, '{"status": "succ', "where JSON was expected"),
        (302, "", "redirected to another host"),
    ],
)
async def test_what_is_no_whole_answer_is_unknown(pages: Pages, status: int, body: str, told: str) -> None:
    class Everything(dict[str, Any]):
        def get(self, path: str, default: Any = None) -> Any:
            return status, {"Content-Type": "text/plain", "Location": "http://127.0.0.2:1/"}, body.encode()

    pages.pages = Everything()
    seen = await look({kind.name: pages.url for kind in KINDS}, **ASKING, loki_ready=False)
    assert {name: result.status for name, result in seen.items()} == dict.fromkeys(ALL, Status.UNKNOWN)
    assert all(told in result.summary for result in seen.values())


async def test_without_clients_nothing_is_seen() -> None:
    seen = await look({}, **ASKING)
    assert {name: result.status for name, result in seen.items()} == dict.fromkeys(ALL, Status.UNKNOWN)
    assert all("is not configured, so it was not queried" in result.summary for result in seen.values())


def test_a_marker_has_to_fit_into_the_deadline() -> None:
    with pytest.raises(ValidationError, match="expected `marker_wait` to be shorter than `timeout`"):
        MonitoringStackSettings(marker_wait=timedelta(minutes=1))


# Grafana, as documented


@pytest.mark.verifies("monitoring_stack.grafana_dashboards_configured", "ok")
async def test_dashboards_are_there(grafana: Grafana, no_leftovers: None) -> None:
    result = await _grafana(grafana, dashboards=["readiness"], datasources=["metrics", "logs"])
    assert result.status is Status.OK
    assert "Grafana has 2 dashboards, all that are wanted among them." in result.summary
    assert (await _grafana(grafana)).status is Status.OK


@pytest.mark.verifies("monitoring_stack.grafana_dashboards_configured", "failed")
async def test_dashboards_that_are_missing(grafana: Grafana) -> None:
    grafana.replies |= {dashboard(uid): (404, {"message": "Dashboard not found"}) for uid in ("section", "exporter")}
    result = await _grafana(grafana, dashboards=["readiness", "section", "exporter"])
    assert (result.status, result.summary) == (
        Status.FAILED,
        "Grafana has no dashboard section, exporter (it shows 2).",
    )
    grafana.replies[dashboard("Readiness")] = (404, {"message": "Dashboard not found"})
    titled = [{"uid": "readiness", "title": "Readiness", "type": "dash-db"}]
    grafana.replies["/api/search"] = (200, titled)
    assert (await _grafana(grafana, dashboards=["Readiness"])).summary == (
        "Grafana has no dashboard Readiness (it shows 1): Readiness is the title of the one with the uid readiness."
    )
    grafana.replies["/api/search"] = (200, [])
    assert (await _grafana(grafana)).summary == "Grafana shows no dashboards."
    grafana.replies[HEALTH] = (503, {"database": "failing"})
    assert (await _grafana(grafana)).summary == "Grafana's own database is failing."


@pytest.mark.verifies("monitoring_stack.grafana_dashboards_configured", "unknown")
async def test_data_sources(grafana: Grafana) -> None:
    grafana.replies[datasource_health("metrics")] = (400, {"status": "ERROR", "message": "connection refused"})
    broken = await _grafana(grafana, datasources=["metrics", "logs"])
    assert (broken.status, broken.summary) == (
        Status.FAILED, "Grafana's data source metrics does not work: connection refused.",
    )  # fmt: skip
    grafana.replies[datasource_health("metrics")] = (404, {"message": "plugin has no health check"})
    assert (await _grafana(grafana, datasources=["metrics"])).status is Status.UNKNOWN
    refused = await _grafana(grafana, token="wrong")
    assert (refused.status, "answered 401" in refused.summary) == (Status.UNKNOWN, True)


async def test_a_dashboard_is_more_than_its_name(grafana: Grafana) -> None:
    async def seen(uid: str = "readiness") -> tuple[Status, str]:
        result = await _grafana(grafana, dashboards=[uid])
        return result.status, result.summary

    grafana.replies[datasource_health("metrics")] = (500, {"message": "Unable to load datasource metadata"})
    status, told = await seen()
    assert (status, told.partition(": ")[0]) == (
        Status.FAILED, "Grafana's dashboard readiness shows data source metrics, which does not work",
    )  # fmt: skip
    assert told.endswith(": Unable to load datasource metadata (there is none with this uid).")
    grafana.replies[datasource_health("metrics")] = (404, {"message": "Plugin not found"})
    assert (await seen())[0] is Status.OK  # it exists, and its plugin has no check
    grafana.replies[datasource_health("metrics")] = (403, {"message": "You'll need additional permissions"})
    assert (await seen())[0] is Status.UNKNOWN
    grafana.replies[dashboard("readiness")] = (200, {"dashboard": {"panels": []}})
    assert await seen() == (Status.FAILED, "Grafana's dashboard readiness is empty.")
    text = {"id": 1, "type": "text", "title": "Runbooks", "options": {"content": "See below."}}
    grafana.replies[dashboard("readiness")] = (200, {"dashboard": {"panels": [text]}})
    assert (await seen())[0] is Status.OK
    row = {"id": 2, "type": "row", "title": "Everything", "collapsed": False, "panels": []}
    grafana.replies[dashboard("readiness")] = (200, {"dashboard": {"panels": [row]}})
    assert await seen() == (Status.FAILED, "Grafana's dashboard readiness is empty.")
    library = {"id": 3, "libraryPanel": {"uid": "rate", "name": "Rate"}}
    grafana.replies[dashboard("readiness")] = (200, {"dashboard": {"panels": [row, library]}})
    assert await seen() == (
        Status.WARNING,
        "Grafana's dashboard readiness has panels of the library, whose data sources were not checked.",
    )
    imported = {
        "id": 1,
        "datasource": {"type": "prometheus", "uid": "${DS_PROMETHEUS}"},
        "targets": [{"refId": "A", "expr": "up"}],
    }
    grafana.replies[dashboard("readiness")] = (200, {"dashboard": {"rows": [{"title": "All", "panels": [imported]}]}})
    assert await seen() == (
        Status.FAILED,
        "Grafana's dashboard readiness takes its data source from DS_PROMETHEUS, which is none of its variables.",
    )
    variables = {"list": [{"name": "DS_PROMETHEUS", "type": "datasource"}]}
    grafana.replies[dashboard("readiness")] = (200, {"dashboard": {"panels": [imported], "templating": variables}})
    assert (await seen())[0] is Status.OK
    grafana.replies[dashboard("secret")] = (403, {"message": "You'll need additional permissions"})
    assert (await seen("secret"))[0] is Status.UNKNOWN
    grafana.replies[dashboard("new")] = (200, {"dashboard": {"panels": [text]}})  # not in the list yet
    assert await seen("new") == (Status.OK, "Grafana has 3 dashboards, all that are wanted among them.")


async def _grafana(server: Grafana, token: str = TOKEN, **options: Any) -> Result:
    name = "grafana_dashboards_configured"
    return (await look({"grafana": {"url": server.url, "bearer_token": token}}, name, **options))[name]


# Loki


@pytest.mark.verifies("monitoring_stack.loki_aggregating", "ok")
@pytest.mark.verifies("monitoring_stack.loki_aggregating", "failed")
@pytest.mark.verifies("monitoring_stack.loki_aggregating", "unknown")
async def test_lines_arrive_in_loki(loki: Loki, no_leftovers: None) -> None:
    loki.push({"app": "stack"}, "one", "two")
    loki.push({"app": "stack-old"}, "one", ago=600)
    urls = {"loki": loki.url}

    async def arrived() -> bool:
        return (await _loki(urls, '{app="stack"}')).status is Status.OK

    await eventually(arrived, "the lines")
    result = await _loki(urls, '{app="stack"}')
    assert result.summary == 'Loki is ready. Loki has 2 lines of {app="stack"} from the last 5m.'
    silent = await _loki(urls, '{app="stack"}', '{app="stack-old"}')
    assert (silent.status, silent.summary) == (
        Status.FAILED, 'Loki has no lines of {app="stack-old"} from the last 5m.',
    )  # fmt: skip
    nothing = await _loki(urls)
    assert (nothing.status, "Option loki_selectors is empty" in nothing.summary) == (Status.UNKNOWN, True)
    odd = await _loki(urls, "{app=}")
    assert odd.status is Status.UNKNOWN


async def test_a_loki_that_is_not_ready(pages: Pages) -> None:
    class Answers(dict[str, Any]):
        def get(self, path: str, default: Any = None) -> Any:
            return super().get(path.partition("?")[0], default)

    pages.pages = Answers()
    pages.add("/ready", "Ingester not ready: waiting for 15s", 503)
    vector = {"resultType": "vector", "result": [{"metric": {}, "value": [0, "7"]}]}
    pages.add("/loki/api/v1/query", _success(vector))
    result = await _loki({"loki": pages.url}, '{app="a"}')
    assert (result.status, result.summary) == (Status.FAILED, "Loki is not ready: Ingester not ready: waiting for 15s.")
    assert (await _loki({"loki": pages.url}, '{app="a"}', loki_ready=False)).status is Status.OK
    for since in ("startup", "being ready"):  # as 1.6 has it, and newer ones
        pages.pages = Answers()
        pages.add("/ready", f"Ingester not ready: waiting for 15s after {since}\n", 503)
        pages.add("/loki/api/v1/query", _success(vector))
        starting = await _loki({"loki": pages.url}, '{app="a"}')
        assert starting.status is Status.UNKNOWN
        assert starting.summary.startswith("Loki has just started: Ingester not ready: waiting for 15s after ")


async def _loki(urls: Mapping[str, str], *selectors: str, **options: Any) -> Result:
    return (await look(urls, "loki_aggregating", loki_selectors=selectors, **options))["loki_aggregating"]


# Jaeger


@pytest.mark.verifies("monitoring_stack.jaeger_collecting", "ok")
@pytest.mark.verifies("monitoring_stack.jaeger_collecting", "unknown")
async def test_traces_arrive_in_jaeger(jaeger: Jaeger, no_leftovers: None) -> None:
    urls = {"jaeger": {"url": jaeger.url, "otlp": {"url": jaeger.otlp}}}
    async with clients_of(urls) as clients:
        client = clients["jaeger"]
        assert isinstance(client, JaegerClient)
        await client.send(MarkerTrace(service="stack-shop"))

    async def seen() -> bool:
        result = await _jaeger({"jaeger": jaeger.url}, trace_services=["stack-shop"])
        return result.status is Status.OK and result.summary == "Jaeger has traces of stack-shop from the last 15m."

    await eventually(seen, "the trace")
    marked = await _jaeger(urls)
    assert (marked.status, marked.summary) == (Status.OK, "A marker trace went from the collector to Jaeger.")
    misspelt = await _jaeger({"jaeger": jaeger.url}, trace_services=["Stack-Shop"])
    assert misspelt.summary == "Jaeger has no traces of Stack-Shop, but of 'stack-shop'."
    nothing = await _jaeger({"jaeger": jaeger.url})
    assert (nothing.status, "Neither trace_services nor" in nothing.summary) == (Status.UNKNOWN, True)


@pytest.mark.verifies("monitoring_stack.jaeger_collecting", "failed")
async def test_traces_that_are_missing(jaeger: Jaeger) -> None:
    result = await _jaeger({"jaeger": jaeger.url}, trace_services=["stack-never"])
    assert (result.status, result.summary) == (Status.FAILED, "Jaeger has no traces of stack-never.")
    async with clients_of({"jaeger": {"url": jaeger.url, "otlp": {"url": jaeger.otlp}}}) as clients:
        client = clients["jaeger"]
        assert isinstance(client, JaegerClient)
        await client.send(MarkerTrace(service="stack-once"))

    async def aged() -> bool:
        late = await _jaeger({"jaeger": jaeger.url}, trace_services=["stack-once"], trace_window="500ms")
        return late.summary == "Jaeger has no trace of stack-once from the last 500ms."

    await eventually(aged, "the trace to be no longer recent")


async def test_a_marker_that_is_lost_on_its_way(jaeger: Jaeger) -> None:
    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        await writer.drain()

    async with faults.serving(swallow) as (host, port):
        urls = {"jaeger": {"url": jaeger.url, "otlp": {"url": f"http://{host}:{port}"}}}
        result = await _jaeger(urls, marker_wait="1s")
    assert result.status is Status.FAILED
    assert result.summary == "The collector took a marker trace, but Jaeger did not have it within 1s."


async def test_a_jaeger_that_has_markers_alone_collects_from_nobody(tmp_path: Path) -> None:
    with Jaeger(tmp_path) as server:
        urls = {"jaeger": {"url": server.url, "otlp": {"url": server.otlp}}}
        for _ in range(2):  # the second finds the first
            alone = await _jaeger(urls)
            assert (alone.status, "has no traces of any other service" in alone.summary) == (Status.UNKNOWN, True)


async def test_a_collector_that_samples_is_not_broken(tmp_path: Path) -> None:
    """A trap: it keeps traces with errors, so no marker arrives, and all is well."""
    errors = {"name": "errors", "type": "status_code", "status_code": {"status_codes": ["ERROR"]}}
    sampling = {"tail_sampling": {"decision_wait": "200ms", "policies": [errors]}}
    with Jaeger(tmp_path, processors=sampling) as server:
        urls = {"jaeger": {"url": server.url, "otlp": {"url": server.otlp}}}
        idle = await _jaeger(urls, marker_wait="2s")
        assert (idle.status, idle.summary.endswith("did not have it within 2s.")) == (Status.FAILED, True)
        ended = asyncio.Event()

        async def work() -> None:
            while not ended.is_set():
                trace = MarkerTrace(service="shop").otlp()
                trace["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["status"] = {"code": 2}
                await asyncio.to_thread(_post, f"{server.otlp}/v1/traces", trace)
                await asyncio.sleep(0.2)

        working = asyncio.create_task(work())
        try:
            busy = await until(
                lambda: _jaeger(urls, marker_wait="3s", trace_services=["shop"]),
                Status.WARNING,
                "the collector may sample",
            )
        finally:
            ended.set()
            await working
    assert "while it got traces of shop" in busy.summary


def _post(url: str, document: Json) -> None:
    urlopen(Request(url, json.dumps(document).encode(), {"Content-Type": "application/json"}), timeout=10).close()


async def test_a_trace_that_is_too_large_to_read_was_not_seen(jaeger: Jaeger) -> None:
    urls = {"jaeger": {"url": jaeger.url, "otlp": {"url": jaeger.otlp}}}
    async with clients_of(urls) as clients:
        client = clients["jaeger"]
        assert isinstance(client, JaegerClient)
        await client.send(MarkerTrace(service="stack-large", operation="x" * 5000))
    small = {"jaeger": {"url": jaeger.url, "max_bytes": 4096}}
    await until(lambda: _jaeger(small, trace_services=["stack-large"]), Status.UNKNOWN, "answered more than 4096 bytes")


async def _jaeger(urls: Mapping[str, Any], **options: Any) -> Result:
    return (await look(urls, "jaeger_collecting", **options))["jaeger_collecting"]
