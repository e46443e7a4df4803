"""What a real Jaeger answers in the states that `test_judge_recorded.py` judges."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx

from collectors.systems.jaeger.client import Jaeger, JaegerSettings
from collectors.systems.jaeger.model import MarkerTrace
from exporter.threads import Threads
from tests.recordings import Record, record
from tests.servers.jaeger import Jaeger as Server
from tests.servers.process import eventually

__all__ = ["record"]


@dataclass(frozen=True)
class Reply:
    """One HTTP reply; `body` is a document, or the first line where it is a page."""

    status: int
    body: Any


Replies = dict[str, Reply]
"""The replies of one Jaeger, by path."""


def replies(url: str, service: str) -> Replies:
    """What the two requests get that a verdict on a service takes: the names of all services, and its last trace."""
    now = datetime.now(UTC)
    query = {
        "query.service_name": service,
        "query.start_time_min": f"{now - timedelta(hours=1):%Y-%m-%dT%H:%M:%S.%fZ}",
        "query.start_time_max": f"{now + timedelta(minutes=1):%Y-%m-%dT%H:%M:%S.%fZ}",
        "query.num_traces": "1",
    }
    paths = {"/api/v3/services": "", "/api/services": "", "/api/v3/traces": f"?{urlencode(query)}"}
    return {path: reply(httpx.get(f"{url}{path}{more}", timeout=20)) for path, more in paths.items()}


def reply(response: httpx.Response) -> Reply:
    """A reply as it is recorded."""
    document = response.text.startswith("{")  # whatever its Content-Type
    return Reply(response.status_code, response.json() if document else response.text.partition("\n")[0])


async def test_a_jaeger_with_and_without_traces_and_one_below_a_path(tmp_path: Path, record: Record) -> None:
    with Server(tmp_path, base_path="/jaeger") as server:
        record("jaeger", "no_trace_yet", replies(server.url, "orders"))
        settings = {"url": server.url, "otlp": {"url": server.otlp}, "max_age": "0s"}
        client = Jaeger(JaegerSettings.model_validate(settings, strict=False), Threads())
        marker = MarkerTrace(service="orders")
        try:
            await client.send(marker)
            await eventually(lambda: client.has_trace(marker.trace_id), "the trace")
        finally:
            await client.close()
        record("jaeger", "traces_arrive", replies(server.url, "orders"))
        record("jaeger", "asked_at_another_path", replies(server.url.removesuffix("/jaeger"), "orders"))
