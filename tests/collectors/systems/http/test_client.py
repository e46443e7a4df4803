"""The client on a real NestJS application, and on servers that hang or are not there."""

import asyncio
import json
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from collectors.systems.http.client import ServiceClient, Throttled, Unanswered, Unreachable, new_trace_id
from exporter.http import HttpSettings
from tests.servers.applications.programs import nest
from tests.servers.process import LOOPBACK, free_port, wait_until

NOW = datetime(2026, 5, 4, tzinfo=UTC)


def client(url: str, memory: dict[str, Any], timeout: str = "20s") -> ServiceClient:
    settings = HttpSettings.model_validate_json(json.dumps({"url": url, "timeout": timeout}))
    return ServiceClient(settings, memory, new_trace_id(), asyncio.Lock())


async def test_a_throttled_service_is_left_alone_as_long_as_it_asks_for(tmp_path: Path) -> None:
    memory: dict[str, Any] = {}
    with nest(tmp_path, THROTTLE="on", LIMIT="1") as api:
        asked = client(api.url, memory)
        answer = await asked.get("/health", NOW)
        assert answer.reply.status == 200
        with pytest.raises(Throttled, match="answered 429"):
            await asked.get("/health", NOW)
        await asked.close()
        later = client(api.url, memory)
        with pytest.raises(Throttled, match="left alone until"):
            await later.get("/health", NOW + timedelta(seconds=30))
        with pytest.raises(Throttled, match="answered 429"):
            await later.get("/health", NOW + timedelta(seconds=61))
        await later.close()

        def logged() -> list[dict[str, Any]]:
            """The three requests, once all are there: each is logged after it was answered."""
            lines = [json.loads(line) for line in api.log.read_text().splitlines() if line.startswith("{")]
            return lines if sum(line["path"] == "/health" for line in lines) > 2 else []

        lines = [line for line in wait_until(logged, "three requests to be logged") if line["path"] == "/health"]
    seen = [line["traceparent"].split("-")[1] for line in lines]
    assert seen == [asked.trace_id, asked.trace_id, later.trace_id]
    assert {line["user_agent"] for line in lines} == {"checklist-exporter"}


async def test_silence_is_told_from_absence() -> None:
    with socket.create_server((LOOPBACK, 0)) as mute:
        silent = client(f"http://{LOOPBACK}:{mute.getsockname()[1]}", {}, "500ms")
        with pytest.raises(Unanswered, match="did not answer within 500ms"):
            await silent.get("/health", NOW)
        await silent.close()
    absent = client(f"http://{LOOPBACK}:{free_port()}", {})
    with pytest.raises(Unreachable, match="the connection was refused"):
        await absent.get("/health", NOW)
    await absent.close()


async def test_requests_wait_for_their_turn(tmp_path: Path) -> None:
    with nest(tmp_path, SLOW_MS="300") as api:
        asked = client(api.url, {})
        loop = asyncio.get_running_loop()
        started = loop.time()
        await asyncio.gather(*(asked.get("/slow", NOW) for _ in range(3)))
        assert loop.time() - started >= 0.9
        await asked.close()
