"""Whether metrics arrive, judged on real Prometheus servers that scrape what a test writes."""

import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from collectors.systems.prometheus.check.scrape import judge_scrape
from collectors.systems.prometheus.client import Prometheus as PrometheusClient
from collectors.systems.prometheus.client import PrometheusSettings
from collectors.systems.prometheus.model.scrape import Scrape
from exporter.threads import Threads
from exporter.verdict import Result, Status
from tests.servers.exporters import Exposition
from tests.servers.process import free_port
from tests.servers.prometheus import NEW, OLD, Prometheus, scrape
from tests.support import until

GOOD = 'db_up 1\ndb_commits_total{database="a"} 5\ndb_commits_total{database="b"} 6\n'


def wanted(**options: Any) -> Scrape:
    given = {"job": "db", "health": "db_up", "series": "db_commits_total", **options}
    return Scrape.model_validate_json(json.dumps(given))


@pytest.fixture(scope="module")
def pages() -> Iterator[tuple[Exposition, Exposition]]:
    with Exposition(GOOD) as one, Exposition(GOOD) as other:
        yield one, other


@pytest.fixture(scope="module", params=[OLD, NEW], ids=["prometheus-2", "prometheus-3"])
def server(
    request: pytest.FixtureRequest, pages: tuple[Exposition, Exposition], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """Prometheus with two exporters of job `db` and one, that is down, of job `gone`."""
    patience = {"scrape_interval": "1s", "scrape_timeout": "1s"}  # as a busy machine may take more than 200 ms
    scrapes = [scrape("db", *(page.port for page in pages), **patience), scrape("gone", free_port())]
    flags = ["--query.lookback-delta=1h"]
    with Prometheus(tmp_path_factory.mktemp("scrape"), release=request.param, scrapes=scrapes, flags=flags) as started:
        started.wait_for("count(db_commits_total) == 4 and on() up{job='gone'} == 0")
        yield started


@pytest.fixture
async def client(server: Prometheus) -> AsyncIterator[PrometheusClient]:
    asked = PrometheusClient(PrometheusSettings(url=server.url), Threads())
    yield asked
    await asked.close()


async def becomes(client: PrometheusClient, words: str, scrape: Scrape, instances: int = 2) -> Result:
    return await until(lambda: judge_scrape(client, scrape, instances), words=words)


async def test_metrics_that_arrive(client: PrometheusClient, pages: tuple[Exposition, Exposition]) -> None:
    result = await becomes(client, "db_up is 1", wanted())
    assert result.status is Status.OK
    assert all(f"127.0.0.1:{page.port}" in result.summary for page in pages)
    assert result.measurements["scraped_instances"] == 2
    assert 0 <= result.measurements["sample_age_seconds"] < 60


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (GOOD.replace("db_up 1", "db_up 0"), "which cannot reach the server: db_up is not 1."),
        (GOOD.replace("db_up 1", "db_up NaN"), "which cannot reach the server: db_up is not 1."),
        (GOOD.replace("db_up 1\n", ""), "which cannot reach the server: db_up is not 1."),
        (
            GOOD.replace("db_up 1", 'db_up{server="a"} 1\ndb_up{server="b"} 0'),
            "cannot reach the server: db_up is not 1.",
        ),
        ("db_up 1\n", "Prometheus has no db_commits_total of 127.0.0.1:"),
        ("this is no metric", "Prometheus cannot scrape 127.0.0.1:"),
    ],
)
async def test_metrics_of_one_that_do_not_arrive(
    client: PrometheusClient, pages: tuple[Exposition, Exposition], text: str, told: str
) -> None:
    pages[1].text = text
    try:
        result = await becomes(client, told, wanted())
    finally:
        pages[1].text = GOOD
    assert result.status is Status.FAILED
    assert f"127.0.0.1:{pages[1].port}" in result.summary
    assert f"127.0.0.1:{pages[0].port}" not in result.summary
    await becomes(client, "db_up is 1", wanted())


async def test_samples_that_are_old(client: PrometheusClient, pages: tuple[Exposition, Exposition]) -> None:
    """An exporter that stamps its samples itself keeps giving them after its server has gone."""
    stamp = round((time.time() - 600) * 1000)
    pages[1].text = f"db_up 1\nold_total 1 {stamp}\n"
    pages[0].text = "db_up 1\nold_total 1\n"
    try:
        result = await becomes(
            client, f"no old_total of 127.0.0.1:{pages[1].port} from the last 5m", wanted(series="old_total")
        )
        assert result.status is Status.FAILED
        assert (
            await becomes(client, "old_total is ", wanted(series="old_total", stale_after="1h"))
        ).status is Status.OK
    finally:
        pages[0].text = pages[1].text = GOOD
    await becomes(client, "db_up is 1", wanted())


@pytest.mark.parametrize(
    ("options", "instances", "told"),
    [
        ({"job": "gone"}, 1, 'up{job="gone"} is not 1.'),
        ({"job": "absent"}, 1, 'scrapes 0 exporters that match up{job="absent"} (wanted 1).'),
        ({}, 3, "(wanted 3)"),
        ({"instances": 1}, 2, "(wanted 1)"),
        ({"labels": {"cluster": "b"}}, 2, 'scrapes 0 exporters that match up{job="db", cluster="b"}'),
    ],
)
async def test_the_number_of_exporters(
    client: PrometheusClient, options: dict[str, Any], instances: int, told: str
) -> None:
    result = await judge_scrape(client, wanted(**options), instances)
    assert (result.status, told in result.summary) == (Status.FAILED, True), result


@pytest.mark.parametrize(
    "options", [{"health": "a b"}, {"labels": {"a-b": "c"}}, {"instances": 0}, {"stale_after": "0s"}]
)
def test_what_is_no_metric_or_label_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        wanted(**options)
