"""The metrics section on two generations of Prometheus, which scrape an instrumented service, real exporters, and traps."""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from collectors.monitoring_and_observability.metrics_collection import MetricsCollection, MetricsCollectionSettings
from collectors.systems.prometheus.check.series import Counted, look_at
from collectors.systems.prometheus.client import Prometheus as Client
from collectors.systems.prometheus.client import PrometheusSettings
from collectors.systems.prometheus.model.series import SeriesLimits, Source
from exporter.threads import Threads
from exporter.verdict import Result, Status
from tests.servers.exporters import Exposition, postgres_exporter, redis_exporter
from tests.servers.faults import Address, answering, half_reply, hanging_up, mute
from tests.servers.postgresql import Postgres, postgresql_15
from tests.servers.process import LOOPBACK, scratch, unprivileged
from tests.servers.prometheus import NEW, OLD, Prometheus, scrape
from tests.servers.redis import Node
from tests.servers.web import Handler, Site
from tests.support import Run, connected, make_context, sees, until

pytestmark = pytest.mark.xdist_group("metrics_collection")  # all that is scraped is started once

IDLE = 'http_requests_total{code="200"} 5\nhttp_requests_total{code="404"} 1\nleads_total 3\nleads_open 7\n'
#: As FastAPI's usual instrumentation groups them.
GROUPED = 'http_requests_total{handler="/",status="2xx"} %d\n'
QUEUE = (
    'jetstream_consumer_num_pending{stream="ORDERS"} 0\njetstream_consumer_delivered_consumer_seq{stream="ORDERS"} %d\n'
)


class Shop(Site):
    """A small instrumented service: it counts and times the requests that it answers, and the orders that come of them."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        requests = Counter("http_requests", "Requests.", ["method", "code"], registry=registry)
        seconds = Histogram("http_request_duration_seconds", "Time.", ["code"], registry=registry, buckets=(0.1, 1))
        self.orders = Counter("orders", "Orders.", registry=registry)
        self.stock = Gauge("stock_items", "What is left.", registry=registry)
        shop = self

        class Page(Handler):  # of HTTP/1.0: a connection that is kept would be one more that a test leaves behind
            def do_GET(self) -> None:
                body = b"ordered"
                if self.path == "/metrics":
                    body = generate_latest(registry)
                else:
                    shop.orders.inc()
                    requests.labels("GET", "200").inc()
                    seconds.labels("200").observe(0.05)
                self.reply(200, body, {"Content-Type": "text/plain; version=0.0.4"})

        super().__init__(Page)

    def order(self) -> None:
        urllib.request.urlopen(f"http://{LOOPBACK}:{self.port}/order", timeout=5).close()


@contextmanager
def always(do: Any) -> Iterator[None]:
    """Do something five times a second; on a busy machine one may fail or be late."""
    end = threading.Event()

    def work() -> None:
        number = 0
        while not end.wait(0.2):
            number += 1
            with suppress(OSError, psycopg.Error, redis.RedisError):
                do(number)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


@dataclass(frozen=True)
class Scene:
    """A Prometheus that scrapes a shop that is in use, one that is idle, real exporters, and pages that a test may change."""

    release: str
    prometheus: Prometheus
    idle: Exposition
    quiet: Shop
    page: Exposition
    other_page: Exposition
    postgres_counter: str


@pytest.fixture(scope="module", params=[OLD, NEW], ids=["prometheus-2", "prometheus-3"])
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    release: str = request.param
    folder = tmp_path_factory.mktemp("scene")
    with ExitStack() as stack:
        shop, quiet = Shop(), Shop()
        stack.enter_context(shop)
        stack.enter_context(quiet)
        quiet.order()
        stack.enter_context(always(lambda _: shop.order()))
        grouped, queue, page, other_page = (
            stack.enter_context(Exposition(text)) for text in (GROUPED % 1, QUEUE % 1, "", "")
        )
        stack.enter_context(always(lambda number: setattr(grouped, "text", GROUPED % number)))
        stack.enter_context(always(lambda number: setattr(queue, "text", QUEUE % number)))
        idle = stack.enter_context(Exposition(IDLE))

        cache = stack.enter_context(Node(folder, "--save", ""))
        client = stack.enter_context(cache.client())
        stack.enter_context(always(lambda number: client.get(f"key-{number}")))
        redis_metrics = stack.enter_context(redis_exporter(folder, f"redis://{LOOPBACK}:{cache.port}", release=release))
        data = stack.enter_context(scratch("postgresql", unprivileged()))
        postgres = stack.enter_context(Postgres(postgresql_15(), data, "metrics").initialize())
        postgres.query("CREATE EXTENSION pg_stat_statements")
        stack.enter_context(always(lambda _: postgres.query("SELECT 1")))
        dsn = f"postgresql://postgres@{LOOPBACK}:{postgres.port}/postgres?sslmode=disable"
        collect = ("--collector.stat_statements",) if release == NEW else ()
        postgres_metrics = stack.enter_context(postgres_exporter(folder, dsn, *collect, release=release))

        nhcb = {"convert_classic_histograms_to_nhcb": True} if release == NEW else {}
        prometheus = stack.enter_context(
            Prometheus(
                folder,
                release=release,
                scrapes=[
                    scrape("shop", shop.port),
                    scrape(
                        "native", shop.port, metric_relabel_configs=[_only("http_request_duration_seconds")], **nhcb
                    ),
                    scrape("grouped", grouped.port),
                    scrape("idle", idle.port),
                    scrape("quiet", quiet.port),
                    scrape("queue", queue.port),
                    scrape("pages", page.port, other_page.port),
                    scrape("redis", redis_metrics.port),
                    scrape("postgres", postgres_metrics.port),
                ],
                # A scrape that takes longer than the interval makes its series vanish, which a busy machine must not do.
                extra={"global": {"scrape_interval": "3s"}},
                flags=["--enable-feature=native-histograms"] if release == NEW else [],
            )
        )
        counter = "pg_stat_database_xact_commit" if release == OLD else "pg_stat_statements_calls_total"
        for moving in (
            "http_requests_total{job='shop'}",
            "http_requests_total{job='grouped'}",
            "jetstream_consumer_delivered_consumer_seq",
            "redis_keyspace_misses_total",
            counter,
        ):
            prometheus.wait_for(f"sum(increase({moving}[15m])) > 0", 60)
        prometheus.wait_for("count(http_requests_total{job='idle'}) == 2")
        yield Scene(release, prometheus, idle, quiet, page, other_page, counter)


def _only(name: str) -> dict[str, Any]:
    return {"source_labels": ["__name__"], "regex": f"{name}.*|up", "action": "keep"}


def run(url: str, item: str, *, memory: dict[str, Any] | None = None, patience: str = "20s", **options: Any) -> Run:
    clients = connected({Client: {"url": url, "timeout": patience, "max_age": "15s"}})
    settings = {"marker_wait": "40s", **options}
    return Run(MetricsCollection, [item], settings=settings, clients=clients, context=make_context(memory=memory))


look = sees(run)


def source(job: str, **options: Any) -> dict[str, Any]:
    return {"name": job, "selector": f'{{job="{job}"}}', **options}


# -- http_metrics


@pytest.mark.verifies("metrics_collection.http_metrics", "ok")
async def test_a_service_that_counts_its_requests_is_ok(scene: Scene, no_leftovers: None) -> None:
    result = await look(scene.prometheus.url, "http_metrics", services=[source("shop"), source("grouped")])
    assert result.status is Status.OK
    assert re.match(r"Prometheus has them. shop: http_requests_total is \d+ s old and grew by ", result.summary)
    assert 0 <= result.measurements["sample_age_seconds"] < 60


async def test_a_classic_histogram_counts_requests(scene: Scene) -> None:
    service = source("shop", counters=["http_request_duration_seconds_count"])
    result = await look(scene.prometheus.url, "http_metrics", services=[service])
    assert (result.status, result.summary.count("grew by")) == (Status.OK, 1)


async def test_a_native_histogram_counts_requests(scene: Scene) -> None:
    """Prometheus 3 makes a native histogram of the service's classic one; 2.42 cannot, so it is the classic one there."""
    wanted = "http_request_duration_seconds" + ("_count" if scene.release == OLD else "")
    grown = f"sum(increase({wanted}{{job='native'}}[15m]))"
    scene.prometheus.wait_for(f"{grown if scene.release == OLD else f'histogram_count({grown})'} > 0", 60)
    result = await look(scene.prometheus.url, "http_metrics", services=[source("native")])
    assert result.status is Status.OK
    assert re.search(rf"native: {wanted} is \d+ s old and grew by", result.summary)


@pytest.mark.verifies("metrics_collection.http_metrics", "failed")
async def test_a_service_without_metrics_is_told(scene: Scene) -> None:
    services = [source("shop"), source("queue"), source("nobody", counters=["requests_total"])]
    result = await look(scene.prometheus.url, "http_metrics", services=services)
    assert result.status is Status.FAILED
    assert "Prometheus has no series http_requests_total|http_request_duration_seconds_count|" in result.summary
    assert 'Prometheus has no series requests_total of nobody ({job="nobody"}).' in result.summary


async def test_counters_that_stand_still_prove_nothing(scene: Scene) -> None:
    result = await look(scene.prometheus.url, "http_metrics", services=[source("idle")])
    assert result.status is Status.UNKNOWN
    assert result.summary == (
        "http_requests_total of idle did not grow within 15m; whether there was anything to count was not seen, as option traffic "
        "is not set."
    )


async def test_counters_that_stand_still_while_there_is_traffic_are_told(scene: Scene) -> None:
    traffic = 'sum(rate(http_requests_total{job="shop"}[5m]))'
    result = await look(scene.prometheus.url, "http_metrics", services=[source("idle", traffic=traffic)])
    assert result.status is Status.FAILED
    assert result.summary == f"http_requests_total of idle did not grow within 15m, while {traffic} shows traffic."


async def test_counters_may_stand_still_without_traffic(scene: Scene) -> None:
    result = await look(scene.prometheus.url, "http_metrics", services=[source("idle", traffic="vector(0)")])
    assert result.status is Status.OK
    assert "there was no traffic within 15m" in result.summary


@pytest.mark.parametrize(
    ("traffic", "told"), [("no_such_series", "Option traffic of idle gives nothing"), ("sum(", "parse error")]
)
async def test_traffic_that_cannot_be_seen_is_unknown(scene: Scene, traffic: str, told: str) -> None:
    result = await look(scene.prometheus.url, "http_metrics", services=[source("idle", traffic=traffic)])
    assert result.status is Status.UNKNOWN
    assert told in result.summary


async def test_a_marker_is_counted_by_a_quiet_service(scene: Scene, no_leftovers: None) -> None:
    marker = {"url": f"http://{LOOPBACK}:{scene.quiet.port}/order"}
    result = await look(scene.prometheus.url, "http_metrics", services=[source("quiet", marker=marker)])
    assert result.status is Status.OK
    assert re.search(r"quiet: http_requests_total is \d+ s old and grew by \d+ within 15m", result.summary)


async def test_a_service_that_does_not_count_a_marker_is_told(scene: Scene) -> None:
    service = source("idle", marker={"url": f"http://{LOOPBACK}:{scene.idle.port}"})
    result = await look(scene.prometheus.url, "http_metrics", services=[service], marker_wait="3s")
    assert result.status is Status.FAILED
    assert result.summary == (
        "http_requests_total of idle did not grow within 15m, nor by a marker request that was answered."
    )


async def test_a_marker_that_does_not_reach_the_service_proves_nothing(scene: Scene) -> None:
    async with answering(b"bad gateway", 502) as (url, requests):
        service = source("idle", marker={"url": url})
        result = await look(scene.prometheus.url, "http_metrics", services=[service])
    assert result.status is Status.UNKNOWN
    assert "answered 502, as a proxy does that does not reach the service" in result.summary
    assert re.match(rb"GET /\?marker=checklist-marker-[0-9a-f]{24} ", requests[0])
    assert b"fake-" not in requests[0]


async def test_a_series_that_begins_between_two_looks_has_grown(scene: Scene) -> None:
    """`increase` sees nothing in a series that begins at one and stays there, as the first error of a month does."""
    memory: dict[str, Any] = {}
    service = source("pages", selector='{job="pages", service="newborn"}')
    scene.page.text = 'http_requests_total{service="newborn",code="200"} 5\n'
    scene.prometheus.wait_for('http_requests_total{service="newborn"}')
    first = await look(scene.prometheus.url, "http_metrics", services=[service], memory=memory)
    assert first.status is Status.UNKNOWN
    scene.page.text += 'http_requests_total{service="newborn",code="503"} 1\n'
    scene.prometheus.wait_for('http_requests_total{service="newborn",code="503"}')
    second = await look(scene.prometheus.url, "http_metrics", services=[service], memory=memory)
    assert second.status is Status.OK
    assert "grew by 1 within 15m" in second.summary


async def test_an_instance_that_comes_back_has_not_grown(scene: Scene) -> None:
    memory: dict[str, Any] = {}
    service = source("pages", selector='{job="pages", service="back"}')
    scene.page.text = 'http_requests_total{service="back",code="200"} 5\n'
    scene.prometheus.wait_for('http_requests_total{service="back"}')
    await look(scene.prometheus.url, "http_metrics", services=[service], memory=memory)
    scene.other_page.text = 'http_requests_total{service="back",code="200"} 1000\n'
    scene.prometheus.wait_for('http_requests_total{service="back"} == 1000')
    result = await look(scene.prometheus.url, "http_metrics", services=[service], memory=memory)
    assert result.status is Status.UNKNOWN


async def test_looks_older_than_the_window_are_forgotten(scene: Scene) -> None:
    memory: dict[str, Any] = {}
    for _ in range(2):
        await look(scene.prometheus.url, "http_metrics", services=[source("idle")], memory=memory, window="1ms")
    (looks,) = memory["services"].values()
    assert len(looks) == 1


async def test_of_a_long_window_few_looks_are_kept() -> None:
    answer = {
        "resultType": "vector",
        "result": [{"metric": {"__name__": "a_total", "instance": "a:1"}, "value": [0, "5"]}],
    }
    limits, looks = SeriesLimits(window=timedelta(days=1)), deque[Counted]()
    start = datetime(2026, 11, 26, tzinfo=UTC)
    async with answering({"status": "success", "data": answer}) as (url, _):
        client = Client(PrometheusSettings(url=url), Threads())
        for minute in range(0, 26 * 60, 10):
            now = start + timedelta(minutes=minute)
            seen = await look_at(
                client, Source(name="a", selector='{job="a"}', counters=("a_total",)), limits, looks, now
            )
        await client.close()
    assert seen.found == {"a_total": "a_total"}
    assert 40 < len(looks) <= 61
    assert now - looks[0][0] <= limits.window
    assert now - looks[-1][0] < limits.window / 50


async def test_samples_that_are_old_are_told(scene: Scene) -> None:
    """An exporter that gives its own timestamps may serve the same samples for ever."""
    taken = int((time.time() - 120) * 1000)
    scene.page.text = f'http_requests_total{{service="old",code="200"}} 5 {taken}\n'
    scene.prometheus.wait_for('http_requests_total{service="old"}')
    service = source("pages", selector='{service="old"}')
    result = await look(scene.prometheus.url, "http_metrics", services=[service], max_sample_age="1m")
    assert result.status is Status.FAILED
    assert re.search(r'http_requests_total of pages \({service="old"}\) is \d{3} s old \(limit 1m\)', result.summary)


async def test_requests_without_a_status_are_told(scene: Scene) -> None:
    scene.page.text = 'http_requests_total{service="plain",status="success"} 5\n'
    scene.prometheus.wait_for('http_requests_total{service="plain"}')
    service = source("pages", selector='{service="plain"}', traffic="vector(0)")
    result = await look(scene.prometheus.url, "http_metrics", services=[service])
    assert result.status is Status.FAILED
    assert "has no status in any of its labels (code, status, status_code," in result.summary


async def test_a_status_of_another_metric_does_not_count(scene: Scene) -> None:
    scene.page.text = (
        'http_requests_total{service="two"} 5\nhttp_request_duration_seconds_count{service="two",code="200"} 5\n'
    )
    scene.prometheus.wait_for('http_requests_total{service="two"}')
    service = source("pages", selector='{service="two"}', traffic="vector(0)")
    result = await look(scene.prometheus.url, "http_metrics", services=[service])
    assert result.status is Status.FAILED


@dataclass
class Told:
    """What a page gives each time it is scraped: counters that grow, or fall as those of several processes do."""

    scrapes: int = 0

    def __call__(self) -> str:
        self.scrapes += 1
        growing = self.scrapes
        return (
            f'http_requests_total{{service="self",code="200",handler="/metrics"}} {growing}\n'
            'http_requests_total{service="self",code="200",handler="/orders"} 7\n'
            f'http_requests_total{{service="workers",code="200"}} {(5, 1000)[growing % 2]}\n'
            f'grpc_server_handled_total{{service="grpc",grpc_code="NotFound"}} {growing}\n'
            f'istio_requests_total{{service="mesh",response_code="503"}} {growing}\n'
            f'rq_total{{service="envoy",response_code_class="2"}} {growing}\n'
            f'jobs_total{{service="jobs"}} {growing}\njobs_waiting{{service="jobs",queue="a"}} 3\n'
            'jobs_waiting{service="jobs",queue="b"} NaN\n'
        )


@pytest.fixture(scope="module", params=[OLD, NEW], ids=["prometheus-2", "prometheus-3"])
def odd(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that scrapes a page with traps, of two targets the second of which is older, and labels with dots (new ones)."""
    told = Told()
    with ExitStack() as stack:
        page = stack.enter_context(Exposition(told))
        bare = stack.enter_context(Exposition("go_info 1\n"))
        dots = stack.enter_context(
            Exposition(lambda: f'{{"http.requests","http.response.status_code"="200"}} {told.scrapes}\n')
        )
        jobs = [scrape("odd", page.port, bare.port), *([scrape("dots", dots.port)] if request.param == NEW else [])]
        server = stack.enter_context(
            Prometheus(
                tmp_path_factory.mktemp("odd"),
                release=request.param,
                scrapes=jobs,
                extra={"global": {"scrape_interval": "1s"}},
            )
        )
        server.wait_for('resets(http_requests_total{service="workers"}[15m]) > 5', 60)
        yield server


def trap(service: str, *counters: str, **options: Any) -> dict[str, Any]:
    more = {"counters": counters} if counters else {}
    return source(service, selector=f'{{job="odd", service="{service}"}}', **more, **options)


async def test_requests_of_the_page_of_metrics_are_no_traffic(odd: Prometheus) -> None:
    """A trap: the counter grows by being scraped."""
    result = await look(odd.url, "http_metrics", services=[trap("self", traffic="vector(1)")])
    assert result.status is Status.FAILED
    assert (
        "did not grow within 15m but by requests of its page of metrics, while vector(1) shows traffic"
        in result.summary
    )


async def test_counters_of_several_processes_in_turn_are_none(odd: Prometheus) -> None:
    """A trap: each fall looks like a restart, after which everything was counted anew."""
    assert odd.query('increase(http_requests_total{service="workers"}[15m]) > 1000')
    result = await look(odd.url, "http_metrics", services=[trap("workers")])
    assert result.status is Status.FAILED
    assert re.search(r"http_requests_total of workers .* fell \d+ times within 15m, as no counter does", result.summary)


@pytest.mark.parametrize(
    ("service", "labels"),
    [
        (trap("grpc", "grpc_server_handled_total"), []),
        (trap("mesh", "istio_requests_total"), []),
        (trap("envoy", "rq_total"), ["response_code_class"]),
    ],
)
async def test_statuses_that_are_written_another_way(
    odd: Prometheus, service: dict[str, Any], labels: list[str]
) -> None:
    options: dict[str, Any] = {"status_labels": labels} if labels else {}
    result = await look(odd.url, "http_metrics", services=[service], **options)
    assert result.status is Status.OK


async def test_a_status_whose_label_has_dots(odd: Prometheus) -> None:
    """As OpenTelemetry names it, where Prometheus is set up to keep that."""
    if not odd.query('{job="dots"}'):
        pytest.skip("an older Prometheus has no such names")
    every: list[dict[str, Any]] = [{}, {"status_labels": ["http.response.status_code"]}]
    for options in every:
        result = await look(odd.url, "http_metrics", services=[source("dots", counters=["http.requests"])], **options)
        assert result.status is Status.OK, result.summary


async def test_traffic_of_a_while_ago_had_to_be_counted(odd: Prometheus) -> None:
    """A trap: there is no traffic now, but there was within the window."""
    ended = f"vector(time() < bool {time.time() - 60:.0f})"
    still = source("still", selector='{job="odd", service="self", handler="/orders"}', traffic=ended)
    assert [sample["value"][1] for sample in odd.query(ended)] == ["0"]
    result = await look(odd.url, "http_metrics", services=[still])
    assert result.status is Status.FAILED
    quiet = await look(odd.url, "http_metrics", services=[{**still, "traffic": "vector(time() < bool 5)"}])
    assert (quiet.status, "there was no traffic within 15m" in quiet.summary) == (Status.OK, True)


async def test_traffic_that_began_just_now_need_not_be_counted_yet(odd: Prometheus) -> None:
    began = f"vector(time() >= bool {time.time() - 1:.0f})"
    still = source("still", selector='{job="odd", service="self", handler="/orders"}', traffic=began)
    result = await look(odd.url, "http_metrics", services=[still])
    assert (result.status, "that may not have been scraped yet" in result.summary) == (Status.UNKNOWN, True)


async def test_traffic_that_is_no_number_is_unknown(odd: Prometheus) -> None:
    still = source("still", selector='{job="odd", service="self", handler="/orders"}', traffic="vector(0) / 0")
    result = await look(odd.url, "http_metrics", services=[still])
    assert (result.status, "gives no number" in result.summary) == (Status.UNKNOWN, True)


async def test_an_instance_that_counts_nothing_is_a_warning(odd: Prometheus) -> None:
    """A trap: of two replicas one runs a version without the metric, and the sums grow."""
    service = source("odd", counters=["istio_requests_total"])

    async def seen() -> Result:
        return await look(odd.url, "http_metrics", services=[service], window="5s")

    result = await until(seen, Status.WARNING)
    assert re.search(r"127.0.0.1:\d+ of odd .* gives no istio_requests_total, though others do", result.summary)


async def test_a_depth_of_which_a_part_is_no_number_is_a_warning(odd: Prometheus) -> None:
    queue = trap("jobs", "jobs_total", gauges=["jobs_waiting"])
    result = await look(odd.url, "queue_metrics", queues=[queue])
    assert (result.status, "jobs_waiting of jobs" in result.summary) == (Status.WARNING, True)


async def test_sources_of_one_name_are_told_apart(odd: Prometheus) -> None:
    """A trap: what one of them counted is no growth of the other."""
    memory: dict[str, Any] = {}
    sources = [
        source("shop", selector='{job="odd", handler="/orders"}', counters=["http_requests_total"]),
        source("shop", selector='{job="odd"}', counters=["go_info"]),
    ]
    for order in (sources, sources[::-1], sources):
        result = await look(odd.url, "business_metrics", business_metrics=order, memory=memory)
        assert result.status is Status.UNKNOWN
    assert len(memory["business_metrics"]) == 2


@pytest.mark.verifies("metrics_collection.http_metrics", "unknown")
@pytest.mark.verifies("metrics_collection.database_query_metrics", "unknown")
@pytest.mark.verifies("metrics_collection.cache_metrics", "unknown")
@pytest.mark.verifies("metrics_collection.queue_metrics", "unknown")
@pytest.mark.verifies("metrics_collection.business_metrics", "unknown")
async def test_without_an_answer_of_prometheus_nothing_is_known(no_leftovers: None) -> None:
    options: dict[str, dict[str, Any]] = {
        "http_metrics": {"services": [source("a")]},
        "database_query_metrics": {"databases": [source("a")]},
        "cache_metrics": {"caches": [source("a")]},
        "queue_metrics": {"queues": [source("a")]},
        "business_metrics": {"business_metrics": [source("a", gauges=["leads"])]},
    }
    for item, option in options.items():
        async with answering(b"<html>log in</html>") as (url, _):
            result = await look(url, item, **option)
            assert result.status is Status.UNKNOWN
            assert "with an HTML page, where JSON was expected" in result.summary
            (name,) = option
            assert (await look(url, item)).summary == f"Option {name} is empty, so no metrics were looked for."


@pytest.mark.parametrize("fault", [mute, hanging_up, partial(half_reply, b"HTTP/1.1 200 OK\r\n")])
async def test_a_faulty_prometheus_is_unknown_in_time(
    fault: Callable[[], AbstractAsyncContextManager[Address]], no_leftovers: None, caplog: pytest.LogCaptureFixture
) -> None:
    async with fault() as (host, port):
        services = [source(f"s{number}") for number in range(20)]
        result = await look(f"http://{host}:{port}", "http_metrics", patience="100ms", services=services)
    assert result.status is Status.UNKNOWN
    assert result.summary.startswith(f"GET http://{host}:{port}/api/v1/query ")
    assert not caplog.records


async def test_a_prometheus_that_has_scraped_nothing_proves_nothing(tmp_path: Path) -> None:
    with Prometheus(tmp_path, scrapes=[]) as server:
        result = await look(server.url, "http_metrics", services=[source("shop")])
    assert result.status is Status.UNKNOWN
    assert result.summary == "Prometheus has no series up: it has scraped nothing yet, or keeps it elsewhere."


# -- database_query_metrics


@pytest.mark.verifies("metrics_collection.database_query_metrics", "ok")
async def test_queries_that_an_exporter_counts_are_ok(scene: Scene) -> None:
    """The exporter of Debian 12 cannot read pg_stat_statements by itself, so transactions are named there."""
    options = {"counters": [scene.postgres_counter]} if scene.release == OLD else {}
    result = await look(scene.prometheus.url, "database_query_metrics", databases=[source("postgres", **options)])
    assert result.status is Status.OK
    assert re.search(rf"postgres: {scene.postgres_counter} is \d+ s old and grew by", result.summary)


@pytest.mark.verifies("metrics_collection.database_query_metrics", "failed")
async def test_an_exporter_that_counts_no_queries_is_told(scene: Scene) -> None:
    databases = [source("postgres", counters=["pg_stat_nothing_total"])]
    result = await look(scene.prometheus.url, "database_query_metrics", databases=databases)
    assert result.status is Status.FAILED


async def test_an_exporter_that_reaches_no_database_is_told(scene: Scene) -> None:
    scene.page.text = 'pg_up{service="cut"} 0\npg_stat_statements_calls_total{service="cut"} 5\n'
    scene.prometheus.wait_for('pg_stat_statements_calls_total{service="cut"}')
    databases = [source("pages", selector='{service="cut"}')]
    result = await look(scene.prometheus.url, "database_query_metrics", databases=databases)
    assert result.status is Status.FAILED
    assert result.summary.startswith('pg_up of pages ({service="cut"}) is not 1')


# -- cache_metrics


@pytest.mark.verifies("metrics_collection.cache_metrics", "ok")
async def test_hits_and_misses_that_an_exporter_counts_are_ok(scene: Scene) -> None:
    result = await look(scene.prometheus.url, "cache_metrics", caches=[source("redis")])
    assert result.status is Status.OK
    told = r"redis: redis_keyspace_hits_total, redis_keyspace_misses_total is \d+ s old and grew by"
    assert re.search(told, result.summary)


@pytest.mark.verifies("metrics_collection.cache_metrics", "failed")
async def test_hits_without_misses_are_told(scene: Scene) -> None:
    cache = source("redis", counters=["redis_keyspace_hits_total", "cache_misses_total"])
    result = await look(scene.prometheus.url, "cache_metrics", caches=[cache])
    assert result.status is Status.FAILED
    assert result.summary == 'Prometheus has no series cache_misses_total of redis ({job="redis"}).'


async def test_an_exporter_whose_redis_is_gone_is_told(tmp_path: Path, no_leftovers: None) -> None:
    """It is scraped well, and `up` is 1."""
    with ExitStack() as stack:
        cache = stack.enter_context(Node(tmp_path))
        exporter = stack.enter_context(redis_exporter(tmp_path, f"redis://{LOOPBACK}:{cache.port}"))
        server = stack.enter_context(Prometheus(tmp_path, scrapes=[scrape("redis", exporter.port)]))
        server.wait_for("redis_up == 1")
        cache.kill()
        server.wait_for("redis_up == 0 and on (job) up == 1")
        server.wait_for("absent(redis_keyspace_hits_total)")
        result = await look(server.url, "cache_metrics", caches=[source("redis")])
    assert result.status is Status.FAILED


# -- queue_metrics


@pytest.mark.verifies("metrics_collection.queue_metrics", "ok")
async def test_a_queue_whose_depth_and_processing_are_seen_is_ok(scene: Scene) -> None:
    result = await look(scene.prometheus.url, "queue_metrics", queues=[source("queue")])
    assert result.status is Status.OK
    assert "jetstream_consumer_delivered_consumer_seq, jetstream_consumer_num_pending" in result.summary


@pytest.mark.verifies("metrics_collection.queue_metrics", "failed")
async def test_a_depth_that_is_no_number_is_told(scene: Scene) -> None:
    scene.page.text = 'depth{service="nan"} NaN\nprocessed_total{service="nan"} 5\n'
    scene.prometheus.wait_for('processed_total{service="nan"}')
    queue = source("pages", selector='{service="nan"}', gauges=["depth"], counters=["processed_total"])
    result = await look(scene.prometheus.url, "queue_metrics", queues=[queue])
    assert result.status is Status.FAILED
    assert result.summary == 'depth of pages ({service="nan"}) is no number.'


async def test_a_counter_that_is_no_number_has_not_grown(scene: Scene) -> None:
    scene.page.text = 'depth{service="nan2"} 0\nprocessed_total{service="nan2"} NaN\n'
    scene.prometheus.wait_for('processed_total{service="nan2"}')
    queue = source("pages", selector='{service="nan2"}', gauges=["depth"], counters=["processed_total"])
    result = await look(scene.prometheus.url, "queue_metrics", queues=[queue])
    assert result.status is Status.UNKNOWN


# -- business_metrics


@pytest.mark.verifies("metrics_collection.business_metrics", "ok")
async def test_what_the_product_does_is_seen(scene: Scene) -> None:
    metrics = [source("shop", counters=["orders_total"]), source("idle", gauges=["leads_open"])]
    result = await look(scene.prometheus.url, "business_metrics", business_metrics=metrics)
    assert result.status is Status.OK
    assert re.search(r"orders_total is \d+ s old and grew by .* idle: leads_open is \d+ s old\.", result.summary)


@pytest.mark.verifies("metrics_collection.business_metrics", "failed")
async def test_what_nobody_counts_is_told(scene: Scene) -> None:
    metrics = [
        source("shop", counters=["orders_total"], gauges=["leads_open"]),
        source("idle", counters=["ai_calls_total"]),
    ]
    result = await look(scene.prometheus.url, "business_metrics", business_metrics=metrics)
    assert result.status is Status.FAILED
    assert 'Prometheus has no series leads_open of shop ({job="shop"}).' in result.summary
    assert 'Prometheus has no series ai_calls_total of idle ({job="idle"}).' in result.summary


async def test_many_sources_are_told_in_few_words(scene: Scene) -> None:
    metrics = [source("idle", name=f"part {number}", gauges=["leads_open"]) for number in range(9)]
    result = await look(scene.prometheus.url, "business_metrics", business_metrics=metrics)
    assert result.status is Status.OK
    assert result.summary.endswith("So do 6 more.")


# -- options


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"services": [{"name": "a", "selector": "up"}]}, "should match pattern"),
        ({"services": [source("a", counters=["a b"])]}, "should match pattern"),
        ({"business_metrics": [source("a")]}, "expected `counters` or `gauges`"),
        ({"services": [source("a", counters=[])]}, "expected `counters` or `gauges`"),
        ({"marker_wait": "2m"}, "expected `marker_wait` to be less than `timeout`"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        MetricsCollectionSettings.model_validate_json(json.dumps(options))
