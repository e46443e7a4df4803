"""The Loki client against a real 1.6.1, and against what newer ones answer by their documentation."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from collectors.systems.loki.client import Loki, LokiSettings
from collectors.systems.loki.model.lines import Stream
from exporter.threads import Threads
from exporter.verdict import ProbeError
from tests.servers.faults import answering
from tests.servers.loki import Loki as Server


@asynccontextmanager
async def asking(url: str, **options: Any) -> AsyncIterator[Loki]:
    settings = LokiSettings.model_validate_json(json.dumps({"url": url, "timeout": "20s"} | options))
    client = Loki(settings, Threads())
    try:
        yield client
    finally:
        await client.close()


async def test_a_real_loki_is_understood(loki: Server, no_leftovers: None) -> None:
    loki.push({"app": "understood", "level": "info"}, "one", "two", "three")
    now = datetime.now(UTC)
    async with asking(loki.url) as client:
        assert await client.not_ready() is None
        (sample,) = await client.query('sum by (level) (count_over_time({app="understood"}[5m]))')
        assert (sample.labels, sample.value) == ({"level": "info"}, 3)
        assert abs(sample.timestamp - now.timestamp()) < 60
        expression = 'sum(count_over_time({app="understood"}[5m]))'
        assert await client.query(expression, at=now - timedelta(days=1)) == []
        (stream,) = await client.query_range(
            '{app="understood"}', now - timedelta(hours=1), now + timedelta(minutes=1), limit=2
        )
        assert stream.labels == {"app": "understood", "level": "info"}
        assert [line for _, line in stream.entries] == ["three", "two"]
        assert await client.query_range('{app="nobody"}', now - timedelta(hours=1), now) == []
        assert "app" in await client.labels()
        assert "understood" in await client.label_values("app")
        assert await client.label_values("nope") == []
        assert await client.version() is None
        assert await client.config() is None
        assert await client.runtime_config() is None


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("sum(", "answered 400: parse error"),
        ('sum(count_over_time({app="a"} | json [5m]))', "answered 400: parse error"),  # newer ones know it
        ('{app="understood"}', "evaluates to a result of type streams, where an instant vector was wanted."),
    ],
)
async def test_an_expression_that_gives_no_vector_is_told(loki: Server, expression: str, told: str) -> None:
    async with asking(loki.url) as client:
        with pytest.raises(ProbeError, match=told):
            await client.query(expression)


async def test_an_expression_that_gives_no_lines_is_told(loki: Server) -> None:
    now = datetime.now(UTC)
    async with asking(loki.url) as client:
        with pytest.raises(ProbeError, match="evaluates to a result of type matrix, where log lines were wanted"):
            await client.query_range('count_over_time({app="a"}[5m])', now - timedelta(minutes=5), now)


async def test_tenants_see_their_own_lines(tmp_path: Path) -> None:
    with Server(tmp_path, tenants=True) as server:
        server.push({"app": "a"}, "line", tenant="one")
        expression = 'sum(count_over_time({app="a"}[5m]))'
        async with asking(server.url, headers={"X-Scope-OrgID": "one"}) as client:
            assert [sample.value for sample in await client.query(expression)] == [1]
        async with asking(server.url, headers={"X-Scope-OrgID": "two"}) as client:
            assert await client.query(expression) == []
        async with asking(server.url) as client:
            with pytest.raises(ProbeError, match="answered 401"):
                await client.query(expression)


async def test_a_loki_that_is_not_ready_says_why() -> None:
    async with (
        answering(b"Ingester not ready: waiting for 15s after being ready\n", 503) as (url, _),
        asking(url) as client,
    ):
        assert await client.not_ready() == "Ingester not ready: waiting for 15s after being ready"


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({"status": "success"}, 200, "evaluates to nothing"),
        ({"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}}]}}, 200, "unexpected format"),
        (
            {"status": "success", "data": {"resultType": "vector", "result": []}, "warnings": ["a\nb."]},
            200,
            "answer: a b.",
        ),
        ({"status": "error"}, 200, "answered with status error."),
        (b"context deadline exceeded\n", 504, "answered 504: context deadline exceeded."),
        (b"<html>", 500, "answered 500: an error."),
    ],
)
async def test_what_is_no_whole_answer_is_told(body: object, status: int, told: str) -> None:
    async with answering(body, status) as (url, _), asking(url) as client:
        with pytest.raises(ProbeError, match=told):
            await client.query('count_over_time({app="a"}[5m])')


@pytest.mark.parametrize(
    "result", [[{"stream": {}, "values": [["1", "canary", 7, 8]]}], [{"stream": "canary"}], "canary"]
)
async def test_lines_of_an_unexpected_format_are_not_shown(result: object) -> None:
    body = {"status": "success", "data": {"resultType": "streams", "result": result}}
    now = datetime.now(UTC)
    async with answering(body) as (url, _), asking(url) as client:
        with pytest.raises(ProbeError, match="has an unexpected format") as raised:
            await client.query_range('{app="a"}', now, now)
    assert "canary" not in str(raised.value)
    assert raised.value.__suppress_context__


def test_lines_do_not_print() -> None:
    assert repr(Stream({"app": "a"}, [("1", "canary")])) == "Stream(labels={'app': 'a'}, 1 lines)"


async def test_what_newer_ones_tell_of_themselves() -> None:
    async with answering({"version": "3.5.0", "revision": "x"}) as (url, _), asking(url) as client:
        assert await client.version() == "3.5.0"
    page = b"target: all\nauth_enabled: true\nlimits_config:\n  retention_period: 31d\n"
    async with answering(page) as (url, _), asking(url) as client:
        assert await client.config() == {
            "target": "all",
            "auth_enabled": True,
            "limits_config": {"retention_period": "31d"},
        }


@pytest.mark.parametrize("page", [b"", b"- a\n- b\n", b"a: [\n", b"404"])
async def test_what_is_no_configuration_is_told(page: bytes) -> None:
    async with answering(page) as (url, _), asking(url) as client:
        with pytest.raises(ProbeError, match="where Loki's configuration was expected"):
            await client.config()
