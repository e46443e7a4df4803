"""What it costs to judge the targets and the rules of a large Prometheus, against only reading them."""

from __future__ import annotations

import gc
import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from collectors.monitoring_and_observability.alerting import Alerting, AlertingSettings
from collectors.monitoring_and_observability.monitoring_stack import MonitoringStack, MonitoringStackSettings
from collectors.systems.alertmanager.client import Alertmanager, AlertmanagerSettings
from collectors.systems.prometheus.client import Prometheus, PrometheusSettings
from collectors.systems.prometheus.model.promql import selections
from exporter.collector import Client
from exporter.http import Http, HttpSettings
from exporter.threads import Threads
from exporter.verdict import Status
from tests.collectors.monitoring_and_observability.test_alerting import ROUTES, RULES
from tests.servers.process import LOOPBACK, free_port, listening, wait_until
from tests.support import make_context, verify

pytestmark = pytest.mark.benchmark

Measured = Callable[[str, str, str], None]
#: All that the two sections ask in a run; `query` once for the series, the rest once each.
ASKED = (
    "/api/v1/targets", "/api/v1/rules", "/api/v1/query", "/api/v1/scrape_pools", "/api/v1/status/runtimeinfo",
    "/api/v1/status/config", "/api/v2/status", "/api/v2/alerts", "/api/v2/silences",
)  # fmt: skip
TARGETS, RULE_COUNT, POOLS, ROUNDS = 5000, 2000, 50, 9
#: Rules as large installations have them: half of them record, a tenth of the others is critical.
FAILED = 'sum by (namespace, job) (rate(http_requests_total{{code=~"5..", job="job-{job}"}}[5m]))'
EXPRESSIONS = (
    FAILED
    + ' / ignoring(code) group_left sum by (namespace, job) (rate(http_requests_total{{job="job-{job}"}}[5m])) > 0.05',
    'histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket{{job="job-{job}"}}[5m]))) > 1',
    '(1 - avg(rate(node_cpu_seconds_total{{mode="idle", instance=~"node-{0}.*"}}[5m]))) * 100 > 90',
    'node_memory_MemAvailable_bytes{{instance="node-{0}"}} / node_filesystem_size_bytes{{instance="node-{0}"}} < 0.1',
    'max_over_time(jetstream_consumer_num_pending{{stream="stream-{0}"}}[10m]) > 1000 and on() up{{job="job-{job}"}} == 1',
)


def targets() -> dict[str, Any]:
    now = datetime.now(UTC) + timedelta(minutes=5)
    active = [
        {
            "discoveredLabels": {f"__meta_kubernetes_pod_label_{index}": f"value-{index}" for index in range(12)},
            "labels": {"job": f"job-{number % POOLS}", "instance": f"10.0.{number // 250}.{number % 250}:8080"},
            "scrapePool": f"job-{number % POOLS}",
            "scrapeUrl": f"http://10.0.{number // 250}.{number % 250}:8080/metrics",
            "lastError": "",
            "lastScrape": now.isoformat(),
            "lastScrapeDuration": 0.01,
            "health": "up",
            "scrapeInterval": "30s",
            "scrapeTimeout": "10s",
        }
        for number in range(TARGETS)
    ]  # fmt: skip
    return {"activeTargets": active, "droppedTargets": []}


def rules() -> dict[str, Any]:
    times = {
        "lastEvaluation": (datetime.now(UTC) + timedelta(minutes=5)).isoformat(),
        "evaluationTime": 0.001,
        "health": "ok",
    }
    found = [
        {
            "type": "alerting",
            "name": rule["alert"],
            "query": rule["expr"],
            "labels": rule["labels"],
            "state": "inactive",
        }
        | times
        for rule in RULES.values()
    ]
    for number in range(RULE_COUNT - len(found)):
        query = EXPRESSIONS[number % len(EXPRESSIONS)].format(number, job=number % POOLS)
        if number % 2:
            found.append({"type": "recording", "name": f"job:recorded_{number}:rate5m", "query": query} | times)
            continue
        severity = "critical" if number % 22 == 0 else "warning"
        annotations = {"summary": f"Rule {number} is true.", "runbook_url": f"https://runbooks.example.com/{number}"}
        more = {
            "duration": 300,
            "labels": {"severity": severity},
            "annotations": annotations,
            "alerts": [],
            "state": "inactive",
        }
        found.append({"type": "alerting", "name": f"Alert{number}", "query": query} | more | times)
    groups = [
        {"name": f"group-{start}", "file": "/rules.yaml", "interval": 30, "rules": found[start : start + 20]}
        for start in range(0, len(found), 20)
    ]
    return {"groups": groups}


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a server that answers from files, whatever the query is, and its log of requests."""
    folder = tmp_path_factory.mktemp("replayed")
    metrics = ["http_requests_total", "http_request_duration_seconds_bucket", "node_cpu_seconds_total", "pg_up", "redis_up", "up",
               "node_memory_MemAvailable_bytes", "node_filesystem_size_bytes", "node_filesystem_avail_bytes",
               "jetstream_consumer_num_pending"]  # fmt: skip
    vector = [
        {"metric": {"__name__": metric, "job": f"job-{number}"}, "value": [0, "1"]}
        for metric in metrics
        for number in range(POOLS)
    ]
    runtime = {
        "startTime": "2026-01-01T00:00:00Z",
        "reloadConfigSuccess": True,
        "lastConfigTime": "2026-01-01T00:00:00Z",
    }
    answers = {
        "api/v1/targets": targets(),
        "api/v1/rules": rules(),
        "api/v1/query": {"resultType": "vector", "result": vector},
        "api/v1/scrape_pools": {"scrapePools": [f"job-{number}" for number in range(POOLS)]},
        "api/v1/status/runtimeinfo": runtime,
        "api/v1/status/config": {"yaml": "global:\n  external_labels: {cluster: eu}\n"},
    }
    documents: dict[str, object] = {path: {"status": "success", "data": data} for path, data in answers.items()}
    documents |= {
        "api/v2/status": {"config": {"original": json.dumps(ROUTES)}},
        "api/v2/alerts": [],
        "api/v2/silences": [],
    }
    for path, document in documents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(json.dumps(document))
    port, log = free_port(), folder / "log"
    argv = [
        sys.executable,
        "-m",
        "http.server",
        "--protocol",
        "HTTP/1.1",
        "--bind",
        LOOPBACK,
        "--directory",
        str(folder),
        str(port),
    ]
    with log.open("w") as file, subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=file) as server:
        wait_until(lambda: listening(port), "the replaying server")
        yield f"http://{LOOPBACK}:{port}", log
        server.terminate()


async def cpu(run: Callable[[], Awaitable[object]]) -> float:
    before = time.process_time()
    await run()
    return time.process_time() - before


async def test_a_large_prometheus_is_judged_at_the_cost_of_reading_it(
    replayed: tuple[str, Path], measured: Measured
) -> None:
    url, log = replayed
    stack = ("prometheus_collecting", "prometheus_targets_healthy")

    http = Http(HttpSettings(url=url))
    clients: dict[str, Client[Any]] = {
        "prometheus": Prometheus(PrometheusSettings(url=url, max_age=timedelta(0)), Threads()),
        "alertmanager": Alertmanager(AlertmanagerSettings(url=url, max_age=timedelta(0)), Threads()),
    }

    async def judged() -> None:
        context = make_context(clients=clients)
        seen = await verify(MonitoringStack, MonitoringStackSettings(), items=stack, context=context)
        seen |= await verify(Alerting, AlertingSettings(), context=context)
        assert {name: one.result.status for name, one in seen.items()} == dict.fromkeys(seen, Status.OK)

    async def read() -> None:
        for path in ASKED:
            await http.get(path)

    await read()
    selections.cache_clear()
    gc.collect()
    gc.freeze()  # what pytest holds is not the exporter's to look through
    first = await cpu(judged)
    rounds = [(await cpu(judged), await cpu(read)) for _ in range(ROUNDS)]
    await http.close()
    for client in clients.values():
        await client.close()
    gc.unfreeze()
    ratio = statistics.median(ours / bare for ours, bare in rounds)
    seconds = statistics.median(ours for ours, _ in rounds)
    what = f"Alerting and Monitoring Stack: {TARGETS} targets and {RULE_COUNT} rules"
    measured(f"{what}: CPU of a run, to only reading the same answers", f"{ratio:.1f}x", "<= 3x")
    measured(f"{what}: CPU of a run (the first one)", f"{seconds * 1000:.0f} ms ({first * 1000:.0f} ms)", "<= 150 ms")
    asked = Counter(line.split('"')[1].split()[1].partition("?")[0] for line in log.read_text().splitlines())
    fetches = 2 * ROUNDS + 2  # each once a run, and once when they are only read
    assert asked == dict.fromkeys(ASKED, fetches)
    assert seconds <= 0.15
    assert ratio <= 3
