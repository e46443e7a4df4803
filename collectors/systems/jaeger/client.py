"""Jaeger: which services it has traces of, one trace by its id, and a marker trace sent by OTLP.

Version 3 of the query API is asked first. Where it does not exist (before 1.35, or switched off), the older one is; newer servers
have only version 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
from pydantic import Field

from collectors.shared.decoding import decode
from collectors.shared.single_flight import Shared
from collectors.systems.jaeger.model import MarkerTrace
from exporter.collector import Client
from exporter.http import Http, HttpSettings
from exporter.options import Duration
from exporter.reply import Reply
from exporter.threads import Threads
from exporter.verdict import ProbeError, Reason
from exporter.words import one_line

__all__ = ["Jaeger", "JaegerSettings"]


class JaegerSettings(HttpSettings):
    """How to reach Jaeger's query API. A path prefix belongs to `url`, a tenant (x-tenant) to `headers`."""

    otlp: HttpSettings | None = Field(
        None,
        description="OTLP/HTTP address to which marker traces are sent, without `/v1/traces`, such as "
        "http://collector:4318. None are sent without it.",
    )
    max_age: Duration = Field(
        timedelta(seconds=15), description="How long the list of services is shared before it is requested again."
    )


class _Services3(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    services: list[str] = []  # left out while there is none, so nothing else may stand in its place


class _Services1(msgspec.Struct, frozen=True):
    data: list[str] | None  # null while there is none


class _Spans(msgspec.Struct, frozen=True, rename="camel"):
    resource_spans: list[msgspec.Raw] = []


class _Trace3(msgspec.Struct, frozen=True):
    result: _Spans


class _Trace1(msgspec.Struct, frozen=True):
    data: list[msgspec.Raw] | None


class _Rejected(msgspec.Struct, frozen=True, rename="camel"):
    rejected_spans: str | int = 0
    error_message: str = ""


class _Sent(msgspec.Struct, frozen=True, rename="camel"):
    partial_success: _Rejected | None = None


@dataclass(frozen=True, slots=True)
class _Services:
    version: int
    names: tuple[str, ...]


class Jaeger(Client[JaegerSettings]):
    """Asks Jaeger. Everything raises ProbeError when there is no complete answer in either version of its API."""

    name = "jaeger"
    Settings = JaegerSettings

    def __init__(self, settings: JaegerSettings, threads: Threads) -> None:
        super().__init__(settings, threads)
        self._http = Http(settings)
        self._otlp = Http(settings.otlp) if settings.otlp else None
        self._services = Shared(self._fetch_services, settings.max_age)

    @property
    def sends(self) -> bool:
        """Whether the configuration allows marker traces."""
        return self._otlp is not None

    async def services(self) -> tuple[str, ...]:
        """The services that it has traces of, at most `max_age` old. With some storages a service stays listed for days."""
        return (await self._services.get()).names

    async def has_recent(self, service: str, within: timedelta) -> bool:
        """Whether there is a trace of this service that began in this time."""
        now = datetime.now(UTC)
        if (await self._services.get()).version == 3:
            start, end = _rfc3339(now - within), _rfc3339(now + timedelta(minutes=1))
            params = {
                "query.service_name": service,
                "query.start_time_min": start,
                "query.start_time_max": end,
                "query.num_traces": "1",
            }
            # The names that 1.x knows, and the same in the spelling that is to replace them.
            params |= {
                "query.serviceName": service,
                "query.startTimeMin": start,
                "query.startTimeMax": end,
                "query.searchDepth": "1",
            }
            return _found(await self._http.get("/api/v3/traces", params=params, expect=(200, 404)), _Trace3)
        params = {
            "service": service,
            "start": str(int((now - within).timestamp() * 1_000_000)),
            "end": str(int((now + timedelta(minutes=1)).timestamp() * 1_000_000)),
            "limit": "1",
        }
        return _found(await self._http.get("/api/traces", params=params, expect=(200, 404)), _Trace1)

    async def has_trace(self, trace_id: str) -> bool:
        """Whether it has a trace of this id (32 hexadecimal digits)."""
        if (await self._services.get()).version == 3:
            return _found(await self._http.get(f"/api/v3/traces/{trace_id}", expect=(200, 404)), _Trace3)
        return _found(await self._http.get(f"/api/traces/{trace_id}", expect=(200, 404)), _Trace1)

    async def send(self, marker: MarkerTrace) -> None:
        """Send a marker trace. Raises ProbeError where the configuration does not allow it, or the collector did not take it."""
        if self._otlp is None:
            raise ProbeError(
                "clients.jaeger.otlp is not configured, so no marker trace was sent.", Reason.NOT_CONFIGURED
            )
        reply = await self._otlp.request("POST", "/v1/traces", json=marker.otlp())
        refused = decode(reply, _Sent).partial_success
        if refused and str(refused.rejected_spans) != "0":
            raise ProbeError(
                f"{reply.where} rejected the marker trace: {one_line(refused.error_message) or 'no reason given'}.",
                Reason.REFUSED,
            )

    async def _fetch_services(self) -> _Services:
        reply = await self._http.get("/api/v3/services", expect=(200, 404))
        # An older Jaeger answers paths that it does not know with 404, or with its page for browsers.
        if reply.status == 200 and reply.body.lstrip()[:1] != b"<":
            return _Services(3, tuple(decode(reply, _Services3).services))
        older = await self._http.get("/api/services")
        return _Services(1, tuple(decode(older, _Services1).data or ()))

    async def close(self) -> None:
        """Stop what is being fetched and close the connections."""
        await self._services.close()
        await self._http.close()
        if self._otlp is not None:
            await self._otlp.close()


def _found(reply: Reply, kind: type[_Trace3] | type[_Trace1]) -> bool:
    if reply.status == 404:
        reply.json()  # a proxy's 404 is no answer
        return False
    answer = decode(reply, kind)
    return bool(answer.result.resource_spans if isinstance(answer, _Trace3) else answer.data)


def _rfc3339(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
