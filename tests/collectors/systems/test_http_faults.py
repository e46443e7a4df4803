"""Clients of HTTP APIs against whatever may answer in a server's place: told in time, in bounded memory, leaving nothing."""

from __future__ import annotations

import asyncio
import json
import ssl
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from collectors.systems.grafana.client import Grafana
from collectors.systems.jaeger.client import Jaeger
from collectors.systems.jaeger.model import MarkerTrace
from collectors.systems.loki.client import Loki
from collectors.systems.prometheus.client import Prometheus
from exporter.collector import Client
from exporter.threads import Threads
from exporter.verdict import ProbeError
from tests.servers import faults
from tests.servers.certificates import Issued, authority
from tests.servers.faults import Address, answering

Ask = Callable[[Any], Awaitable[object]]
NOW = datetime(2026, 1, 2, tzinfo=UTC)

CALLS: dict[str, tuple[type[Client[Any]], Ask]] = {
    "prometheus-query": (Prometheus, lambda client: client.query("up")),
    "prometheus-targets": (Prometheus, lambda client: client.targets()),
    "loki-ready": (Loki, lambda client: client.not_ready()),
    "loki-query": (Loki, lambda client: client.query('count_over_time({app="a"}[5m])')),
    "loki-query-range": (Loki, lambda client: client.query_range('{app="a"}', NOW, NOW)),
    "loki-labels": (Loki, lambda client: client.labels()),
    "loki-label-values": (Loki, lambda client: client.label_values("app")),
    "loki-version": (Loki, lambda client: client.version()),
    "loki-config": (Loki, lambda client: client.config()),
    "loki-runtime-config": (Loki, lambda client: client.runtime_config()),
    "jaeger-services": (Jaeger, lambda client: client.services()),
    "jaeger-trace": (Jaeger, lambda client: client.has_trace("a" * 32)),
    "jaeger-recent": (Jaeger, lambda client: client.has_recent("api", timedelta(hours=1))),
    "jaeger-send": (Jaeger, lambda client: client.send(MarkerTrace())),
    "grafana-health": (Grafana, lambda client: client.health()),
    "grafana-dashboards": (Grafana, lambda client: client.dashboards()),
    "grafana-datasource": (Grafana, lambda client: client.datasource_problem("metrics")),
}


@asynccontextmanager
async def connected(kind: type[Client[Any]], url: str, **options: Any) -> AsyncIterator[Any]:
    """A client of this kind that has twenty seconds."""
    settings = {"url": url, "timeout": "20s"} | options
    if kind is Jaeger:
        settings["otlp"] = settings.copy()
    client = kind(kind.Settings.model_validate_json(json.dumps(settings)), Threads())
    try:
        yield client
    finally:
        await client.close()


FAULTS: dict[str, Callable[[], AbstractAsyncContextManager[Address]]] = {
    "refused": faults.refused,
    "unroutable": faults.unroutable,
    "mute": faults.mute,
    "hanging up": faults.hanging_up,
    "garbage": faults.garbage,
    "half a reply": lambda: faults.half_reply(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"),
    "endless": lambda: faults.endless(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n["),
    "slow": lambda: faults.endless(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"{", every=0.02),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_faulty_server_is_told_in_time_and_leaves_nothing(fault: str, call: str, no_leftovers: None) -> None:
    kind, ask = CALLS[call]
    async with FAULTS[fault]() as (host, port):
        started = asyncio.get_running_loop().time()
        async with connected(kind, f"http://{host}:{port}", timeout="200ms", max_bytes=100_000) as client:
            with pytest.raises(ProbeError, match=f"{host}:{port}"):
                await ask(client)
        assert asyncio.get_running_loop().time() - started < 15


ANSWERS: dict[str, tuple[object, int, str]] = {
    "login page": (b"<html>log in</html>", 200, "with an HTML page"),
    "truncated JSON": (b'{"status": "success", "data"', 200, "expected."),
    "no JSON object": (b"7", 200, "answered 200"),
    "unauthorized": ({}, 401, "answered 401: the credentials were not accepted."),
    "forbidden": ({}, 403, "answered 403: the credentials have no right to it."),
    "throttled": ({}, 429, "answered 429: too many requests."),
    "bad gateway": (b"<html>502</html>", 502, "answered 502 with an error"),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("answer", ANSWERS)
async def test_what_is_no_answer_is_told(answer: str, call: str) -> None:
    body, status, told = ANSWERS[answer]
    kind, ask = CALLS[call]
    if call == "loki-ready" and answer in ("truncated JSON", "no JSON object"):
        return  # any text is an answer to that: the status says it
    async with answering(body, status) as (url, _), connected(kind, url) as client:
        with pytest.raises(ProbeError) as raised:
            await ask(client)
    assert told in str(raised.value)
    assert str(raised.value).endswith(".")


@pytest.mark.parametrize("call", CALLS)
async def test_a_redirect_to_another_host_is_not_followed(call: str) -> None:
    kind, ask = CALLS[call]
    async with answering({}) as (elsewhere, requests):
        location = {"Location": elsewhere.replace("127.0.0.1", "localhost")}
        async with answering({}, 302, location) as (url, _), connected(kind, url, bearer_token="canary") as client:
            with pytest.raises(ProbeError, match="was redirected to another host"):
                await ask(client)
    assert not requests


@pytest.mark.parametrize("call", CALLS)
async def test_a_hundred_megabytes_are_not_read(call: str, no_leftovers: None) -> None:
    kind, ask = CALLS[call]
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n"
    async with (
        faults.endless(head, b" " * 65_536) as (host, port),
        connected(kind, f"http://{host}:{port}", timeout="20s", max_bytes="1MiB") as client,
    ):
        tracemalloc.start()
        try:
            with pytest.raises(ProbeError, match="answered more than 1048576 bytes"):
                await ask(client)
            assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("call", CALLS)
async def test_path_prefix_tenant_and_credentials_are_sent(call: str) -> None:
    kind, ask = CALLS[call]
    options = {"headers": {"X-Scope-OrgID": "tenant-1"}}
    async with answering({}) as (url, requests):
        for credentials in ({"username": "reader", "password": "canary"}, {"bearer_token": "canary"}):
            async with connected(kind, f"{url}/prefix", **options, **credentials) as client:
                with suppress(ProbeError):  # {} is an answer to some
                    await ask(client)
    basic, bearer = requests[0].lower(), requests[-1].lower()
    assert basic.split()[1].startswith(b"/prefix/")
    assert b"x-scope-orgid: tenant-1" in basic
    assert b"authorization: basic" in basic
    assert b"authorization: bearer canary" in bearer


@pytest.mark.parametrize("call", CALLS)
async def test_certificates_are_verified(call: str, tmp_path: Path) -> None:
    kind, ask = CALLS[call]
    certificate, key = authority().issue("127.0.0.1").write(tmp_path, "server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    ca, other_ca = tmp_path / "ca.pem", tmp_path / "other.pem"
    ca.write_bytes(authority().pem)
    other_ca.write_bytes(Issued.root("Another Root").pem)
    async with answering({}, tls=context) as (url, requests):
        async with connected(kind, url, tls={"ca_file": str(other_ca)}) as client:
            with pytest.raises(ProbeError, match="the certificate was not accepted"):
                await ask(client)
        assert not requests
        async with connected(kind, url, tls={"ca_file": str(ca)}) as client:
            with suppress(ProbeError):  # {} is an answer to some
                await ask(client)
        assert requests
