"""The Prometheus client against real servers of two generations, and against whatever else may answer in their place."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from collectors.shared.single_flight import Shared
from collectors.systems.prometheus.client import Prometheus, PrometheusSettings
from collectors.systems.prometheus.model.promql import selector
from exporter.threads import Threads
from exporter.verdict import ProbeError
from tests.servers.faults import answering
from tests.servers.prometheus import Prometheus as Server


def client_of(url: str, **options: Any) -> Prometheus:
    settings = PrometheusSettings.model_validate_json(json.dumps({"url": url, "timeout": "20s"} | options))
    return Prometheus(settings, Threads())


@asynccontextmanager
async def asking(url: str, **options: Any) -> AsyncIterator[Prometheus]:
    client = client_of(url, **options)
    try:
        yield client
    finally:
        await client.close()


async def test_real_servers_are_understood(any_prometheus: Server, no_leftovers: None) -> None:
    async with asking(any_prometheus.url) as client:
        (up,) = await client.query('up{job="prometheus"}')
        assert (up.value, up.labels["job"]) == (1, "prometheus")
        assert abs(up.timestamp - datetime.now(UTC).timestamp()) < 60
        assert [sample.value for sample in await client.query("1 + 1")] == [2]
        assert await client.query("up == 7") == []
        assert math.isnan((await client.query("vector(0) / 0"))[0].value)
        assert (await client.query("vector(1) / 0"))[0].value == math.inf
        assert await client.query("up", at=datetime.now(UTC) - timedelta(days=30)) == []
        assert await client.rules() == []
        (target,) = await client.targets()
        assert (target.health, target.scrape_pool) == ("up", "prometheus")
        assert (await client.metadata())["prometheus_build_info"][0].type == "gauge"


async def test_what_prometheus_says_of_itself(any_prometheus: Server) -> None:
    async with asking(any_prometheus.url) as client:
        assert await client.scrape_pools() == ["prometheus"]
        assert await client.alertmanagers() == []
        info = await client.runtime_info()
        assert info.reload_config_success
        assert info.start_time < datetime.now(UTC)
        assert (await client.build_info()).version.startswith(("2.42.", "3."))
        assert "scrape_configs:" in await client.configuration()


@pytest.mark.parametrize(
    ("expr", "told"), [("up{", "parse error"), ("up[5m]", "evaluates to a matrix"), ("'a'", "evaluates to a string")]
)
async def test_an_expression_that_gives_no_vector_is_told(prometheus: Server, expr: str, told: str) -> None:
    async with asking(prometheus.url) as client:
        with pytest.raises(ProbeError, match=told):
            await client.query(expr)


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (b"<html>log in</html>", 200, "with an HTML page, where JSON was expected"),
        (b'{"status": "success", "data"', 200, "that do not parse, where JSON was expected"),
        ({"status": "success"}, 200, "answered 200 without data."),
        ({"status": "success", "data": {"resultType": "vector"}}, 200, "unexpected format"),
        ({"status": "success", "data": {"resultType": "vector", "result": 7}}, 200, "has an unexpected format"),
        ({"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}}]}}, 200, "native histogram"),
        (
            {"status": "error", "errorType": "timeout", "error": "query timed out"},
            503,
            "answered 503: query timed out.",
        ),
        ({"status": "error", "errorType": "execution", "error": ""}, 422, "answered 422: execution."),
        (
            {"status": "success", "data": {"resultType": "vector", "result": []}, "warnings": ["store b is down"]},
            200,
            "gave a partial answer: store b is down.",
        ),
        (
            {
                "status": "success",
                "data": {"resultType": "vector", "result": []},
                "warnings": [
                    "PromQL info: metric might not be a counter",
                    "PromQL warning: a mix of histograms and floats",
                ],
            },
            200,
            "gave a partial answer: PromQL warning: a mix of histograms and floats.",
        ),
        (
            {"status": "success", "isPartial": True, "data": {"resultType": "vector", "result": []}},
            200,
            "gave a partial answer: it is marked as partial.",
        ),
        ({"status": "success"}, 401, "the credentials were not accepted"),
        ({"status": "success"}, 403, "the credentials have no right to it"),
        ({"status": "success"}, 429, "too many requests"),
        (b"404 page not found", 404, "this server has no such API, or the address lacks a path prefix."),
        (b"bad gateway", 502, "answered 502 with an error"),
    ],
)
async def test_what_is_no_whole_answer_is_told(body: object, status: int, told: str) -> None:
    async with answering(body, status) as (url, _), asking(url) as client:
        with pytest.raises(ProbeError) as raised:
            await client.query("up")
    assert told in str(raised.value)
    assert str(raised.value).endswith(".")


@pytest.mark.parametrize("told", ["infos", "warnings"])
async def test_hints_about_the_expression_change_nothing(told: str) -> None:
    """A trap: before 2.54 they are among the warnings, for every counter whose name does not end in `_total`."""
    body = {
        "status": "success",
        "data": {"resultType": "vector", "result": []},
        told: ['PromQL info: metric might not be a counter, name does not end in _total: "calls" (1:5)'],
        "isPartial": False,
    }
    async with answering(body) as (url, _), asking(url) as client:
        assert await client.query("rate(up[5m])") == []


async def test_path_prefix_tenant_and_credentials_are_sent() -> None:
    body = {"status": "success", "data": {"resultType": "vector", "result": []}}
    async with answering(body) as (url, requests):
        options = {"headers": {"X-Scope-OrgID": "tenant-1"}, "username": "reader", "password": "canary"}
        async with asking(f"{url}/prometheus", **options) as client:
            await client.query("up")
    assert requests[0].startswith(b"GET /prometheus/api/v1/query?query=up HTTP/1.1")
    assert b"x-scope-orgid: tenant-1" in requests[0].lower()
    assert b"authorization: basic" in requests[0].lower()


async def test_what_many_sections_need_is_fetched_once() -> None:
    body = {"status": "success", "data": {"activeTargets": []}}
    async with answering(body) as (url, requests), asking(url, max_age="30s") as client:
        await asyncio.gather(*(client.targets() for _ in range(50)))
        assert await client.targets() == []
        assert len(requests) == 1
    async with answering(body) as (url, requests), asking(url, max_age="0s") as client:
        await client.targets()
        await client.targets()
        assert len(requests) == 2


async def test_an_asker_that_gives_up_takes_nothing_from_the_others(no_leftovers: None) -> None:
    release = asyncio.Event()
    asked = 0

    async def ask() -> int:
        nonlocal asked
        asked += 1
        await release.wait()
        return asked

    shared = Shared(ask, timedelta(minutes=1))
    impatient, patient = asyncio.create_task(shared.get()), asyncio.create_task(shared.get())
    await asyncio.sleep(0)
    impatient.cancel()
    release.set()
    assert await patient == 1
    assert await shared.get() == 1
    await shared.close()
    assert await shared.get() == 2
    await shared.close()


async def test_a_failure_is_not_kept() -> None:
    answers: Iterator[int | Exception] = iter([ZeroDivisionError(), 7])

    async def ask() -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    shared = Shared(ask, timedelta(minutes=1))
    with pytest.raises(ZeroDivisionError):
        await shared.get()
    assert await shared.get() == 7
    await shared.close()


@pytest.mark.parametrize("value", ['a"b', "a\\b", "a\nb", "ü", ""])
async def test_label_values_are_escaped(prometheus: Server, value: str) -> None:
    async with asking(prometheus.url) as client:
        assert await client.query(f"{selector('up', {'job': value})} == 7") == []


def test_a_label_has_a_name() -> None:
    with pytest.raises(ValueError, match="is not a label name"):
        selector("up", {"a-b": "c"})
