"""The Jaeger client against a real 1.76, which has both versions of the API, and against servers that have but one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from collectors.systems.jaeger.client import Jaeger, JaegerSettings
from collectors.systems.jaeger.model import MarkerTrace
from exporter.threads import Threads
from exporter.verdict import ProbeError
from tests.servers import faults
from tests.servers.faults import answering
from tests.servers.jaeger import Jaeger as Server
from tests.servers.process import eventually

HOUR = timedelta(hours=1)
UNKNOWN = "0123456789abcdef0123456789abcdef"


@asynccontextmanager
async def asking(url: str, **options: Any) -> AsyncIterator[Jaeger]:
    settings = JaegerSettings.model_validate_json(json.dumps({"url": url, "timeout": "20s"} | options))
    client = Jaeger(settings, Threads())
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def only_version_1(server: Server) -> AsyncIterator[str]:
    """The real server behind a proxy that answers version 3 of the API with the page for browsers, as older servers do."""
    async with faults.without_path(server.url, "/api/v3/", b"<html>Jaeger UI</html>") as url:
        yield url


async def is_stored(client: Jaeger, marker: MarkerTrace) -> None:
    assert client.sends
    assert not await client.has_trace(marker.trace_id)
    assert not await client.has_recent(marker.service, HOUR)
    await client.send(marker)
    await eventually(lambda: client.has_trace(marker.trace_id), "the trace")
    assert await client.has_recent(marker.service, HOUR)
    assert marker.service in await client.services()
    assert not await client.has_trace(UNKNOWN)
    assert not await client.has_recent("nobody", HOUR)


async def test_a_marker_trace_is_sent_and_found(jaeger: Server, no_leftovers: None) -> None:
    async with asking(jaeger.url, otlp={"url": jaeger.otlp}, max_age="0s") as client:
        await is_stored(client, MarkerTrace(service="marked"))


async def test_a_server_that_has_only_version_1_is_understood(jaeger: Server, no_leftovers: None) -> None:
    async with only_version_1(jaeger) as url, asking(url, otlp={"url": jaeger.otlp}, max_age="0s") as client:
        await is_stored(client, MarkerTrace(service="marked-1"))


async def test_a_server_below_a_path_is_understood(tmp_path: Path) -> None:
    with Server(tmp_path, base_path="/jaeger") as server:
        async with asking(server.url, otlp={"url": server.otlp}, max_age="0s") as client:
            assert await client.services() == ()
            await is_stored(client, MarkerTrace())


async def test_nothing_is_sent_where_that_is_not_allowed(jaeger: Server) -> None:
    async with asking(jaeger.url) as client:
        assert not client.sends
        with pytest.raises(ProbeError, match="otlp is not configured, so no marker trace was sent"):
            await client.send(MarkerTrace())


async def test_a_trace_that_the_real_collector_cannot_read_is_told(jaeger: Server) -> None:
    async with asking(jaeger.url, otlp={"url": jaeger.otlp}) as client:
        with pytest.raises(ProbeError, match="/v1/traces answered 400"):
            await client.send(MarkerTrace(trace_id="no hexadecimal"))


@pytest.mark.parametrize(
    ("rejected", "told"),
    [
        ({"rejectedSpans": "1", "errorMessage": "too\nold."}, "rejected the marker trace: too old."),
        ({"rejectedSpans": 1}, "rejected the marker trace: no reason given."),
    ],
)
async def test_a_trace_that_is_rejected_is_told(rejected: object, told: str) -> None:
    async with answering({"partialSuccess": rejected}) as (url, requests), asking(url, otlp={"url": url}) as client:
        with pytest.raises(ProbeError, match=told):
            await client.send(MarkerTrace())
    assert requests[0].startswith(b"POST /v1/traces ")


async def test_a_trace_that_is_taken_with_a_remark_is_sent() -> None:
    body = {"partialSuccess": {"errorMessage": "please batch"}}
    async with answering(body) as (url, _), asking(url, otlp={"url": url}) as client:
        await client.send(MarkerTrace())


async def test_a_404_of_a_proxy_is_no_answer(jaeger: Server) -> None:
    async with faults.without_path(jaeger.url, "/api/v3/traces", b"no such route", 404) as url, asking(url) as client:
        with pytest.raises(ProbeError, match=r"answered 404 with .* where JSON was expected"):
            await client.has_trace(UNKNOWN)


async def test_an_error_is_not_taken_for_an_empty_list() -> None:
    async with answering({"error": {"httpCode": 500}}) as (url, _), asking(url) as client:
        with pytest.raises(ProbeError, match="in an unexpected format: Object contains unknown field `error`"):
            await client.services()


async def test_a_server_with_neither_api_is_told() -> None:
    async with answering(b"<html>", 404) as (url, _), asking(url) as client:
        with pytest.raises(ProbeError, match="/api/services answered 404"):
            await client.services()
