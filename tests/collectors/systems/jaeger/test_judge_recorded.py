"""What is found in the replies that a real Jaeger gave in `test_recordings.py`: by the client and the judge together."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import pytest

from collectors.shared.verdicts import verdict
from collectors.systems.jaeger.client import Jaeger, JaegerSettings
from collectors.systems.jaeger.judge import trace_problems
from exporter.threads import Threads
from exporter.verdict import ProbeError, Result, Status, ok, unobserved
from tests.collectors.systems.jaeger.test_recordings import Replies
from tests.recordings import recorded, states
from tests.servers.faults import serving

#: By state: the verdict on the traces of a service.
EXPECTED = {
    "asked_at_another_path": (
        Status.UNKNOWN,
        "GET http://jaeger:16686/api/services answered 200 with an HTML page, where JSON was expected.",
    ),
    "no_trace_yet": (Status.FAILED, "Jaeger has no traces of orders."),
    "traces_arrive": (Status.OK, "Jaeger has traces of orders."),
}


def test_every_recording_is_judged() -> None:
    assert states("jaeger") == sorted(EXPECTED)


@pytest.mark.parametrize("state", EXPECTED)
async def test_a_state_is_judged_as_it_was(state: str) -> None:
    async with replaying(recorded("jaeger", state, Replies)) as url:
        found = await judged(url)
    assert (found.status, found.summary.replace(url, "http://jaeger:16686")) == EXPECTED[state]


async def test_a_service_that_jaeger_does_not_know_has_no_traces() -> None:
    async with replaying(recorded("jaeger", "traces_arrive", Replies)) as url:
        found = await judged(url, "payments")
    assert (found.status, found.summary) == (Status.FAILED, "Jaeger has no traces of payments.")


async def judged(url: str, service: str = "orders") -> Result:
    """The verdict on a service's traces."""
    client, window = Jaeger(JaegerSettings.model_validate({"url": url}), Threads()), timedelta(hours=1)
    try:
        services = await client.services()
        recent = service in services and await client.has_recent(service, window)
    except ProbeError as error:
        return unobserved(error)
    finally:
        await client.close()
    return verdict(trace_problems(service, window, services, recent=recent), ok(f"Jaeger has traces of {service}."))


@asynccontextmanager
async def replaying(replies: Replies) -> AsyncIterator[str]:
    """A server that gives the recorded reply to each path."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                reply = replies[head.split()[1].decode().partition("?")[0]]
                body = (reply.body if isinstance(reply.body, str) else json.dumps(reply.body)).encode()
                writer.write(f"HTTP/1.1 {reply.status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
                await writer.drain()

    async with serving(answer) as (host, port):
        yield f"http://{host}:{port}"
