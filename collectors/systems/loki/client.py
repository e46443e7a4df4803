"""Loki and what speaks its HTTP API: metric queries over logs, the lines themselves, labels, configuration.

Log lines may hold anything, so they are never shown: not in a sentence, a log record or the `repr` of what holds them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import msgspec

from collectors.shared.decoding import decode
from collectors.systems.loki.model.lines import Stream
from collectors.systems.prometheus.model.answers import (
    Sample,
)
from exporter.collector import Client
from exporter.http import Http, HttpSettings
from exporter.positioned_yaml import YamlError, load_yaml
from exporter.reply import Reply
from exporter.threads import Threads
from exporter.verdict import ProbeError, Reason
from exporter.words import one_line

__all__ = ["Loki", "LokiSettings"]

T = TypeVar("T")
_CONNECTIONS = 4


class LokiSettings(HttpSettings):
    """How to reach Loki, or the gateway in front of it. A path prefix belongs to `url`, a tenant (X-Scope-OrgID) to `headers`."""


class _Answer(msgspec.Struct, Generic[T], frozen=True):
    """The envelope of a reply. `data` is left out where there is nothing."""

    status: str
    data: T | None = None
    warnings: list[str] = []


class _Query(msgspec.Struct, frozen=True, rename="camel"):
    result_type: str
    result: msgspec.Raw


class _Series(msgspec.Struct, frozen=True, gc=False):
    metric: dict[str, str]
    value: tuple[float, str]


class _Build(msgspec.Struct, frozen=True):
    version: str


class Loki(Client[LokiSettings]):
    """Asks Loki. Everything raises ProbeError when there is no complete answer: an error, a partial one, another format."""

    name = "loki"
    Settings = LokiSettings

    def __init__(self, settings: LokiSettings, threads: Threads) -> None:
        super().__init__(settings, threads)
        self._http = Http(settings, connections=_CONNECTIONS)
        # A request's deadline must not be spent on waiting for a connection while many services are asked about at once.
        self._places = asyncio.Semaphore(_CONNECTIONS)

    async def not_ready(self) -> str | None:
        """Why Loki is not ready, in its own words; None when it is.

        Many gateways do not pass `/ready` on: that raises ProbeError.
        """
        reply = await self._get("/ready", expect=(200, 503))
        if reply.body.lstrip()[:1] == b"<":
            raise ProbeError(
                f"{reply.where} answered {reply.status} with an HTML page, where Loki reports whether it is ready.",
                Reason.MALFORMED,
            )
        return None if reply.status == 200 else one_line(reply.text)

    async def query(self, logql: str, at: datetime | None = None) -> list[Sample]:
        """The instant vector that a metric query evaluates to, now or `at` a moment; empty when no line matched.

        Raises ProbeError when the query fails, or evaluates to something else.
        """
        params = {"query": logql} | ({"time": _nanoseconds(at)} if at else {})
        answer = await self._ask("/loki/api/v1/query", _Query, params)
        if answer is None or answer.result_type != "vector":
            kind = "nothing" if answer is None else f"a result of type {answer.result_type}"
            raise ProbeError(f"{logql} evaluates to {kind}, where an instant vector was wanted.", Reason.MISCONFIGURED)
        try:
            series = msgspec.json.decode(answer.result, type=list[_Series])
            return [Sample(one.metric, float(one.value[1]), one.value[0]) for one in series]
        except ValueError as error:  # msgspec.ValidationError is one
            raise ProbeError(f"Loki's answer to {logql} has an unexpected format: {error}.", Reason.MALFORMED) from None

    async def query_range(self, logql: str, start: datetime, end: datetime, *, limit: int = 100) -> list[Stream]:
        """The last `limit` lines between two moments that a log query selects, newest first within each stream.

        Raises ProbeError when the query fails, or selects no lines but a metric.
        """
        params = {"query": logql, "start": _nanoseconds(start), "end": _nanoseconds(end), "limit": str(limit)}
        answer = await self._ask("/loki/api/v1/query_range", _Query, params | {"direction": "backward"})
        if answer is None or answer.result_type != "streams":
            kind = "nothing" if answer is None else f"a result of type {answer.result_type}"
            raise ProbeError(f"{logql} evaluates to {kind}, where log lines were wanted.", Reason.MISCONFIGURED)
        try:
            return msgspec.json.decode(answer.result, type=list[Stream])
        except ValueError:  # its text might hold a line
            raise ProbeError(f"Loki's answer to {logql} has an unexpected format.", Reason.MALFORMED) from None

    async def labels(self) -> list[str]:
        """The names of all labels of the last hours."""
        return await self._ask("/loki/api/v1/labels", list[str]) or []

    async def label_values(self, label: str) -> list[str]:
        """The values that a label had in the last hours."""
        return await self._ask(f"/loki/api/v1/label/{quote(label, safe='')}/values", list[str]) or []

    async def version(self) -> str | None:
        """The version; None when it does not report it, as before 2.0."""
        reply = await self._get("/loki/api/v1/status/buildinfo", expect=(200, 404))
        return None if reply.status == 404 else decode(reply, _Build).version

    async def config(self) -> Mapping[str, Any] | None:
        """The running configuration; None when Loki does not show it (before 2.0, and behind most gateways)."""
        return await self._yaml("/config")

    async def runtime_config(self) -> Mapping[str, Any] | None:
        """What is set for single tenants while Loki runs, under `overrides`; None when Loki does not show it."""
        return await self._yaml("/runtime_config")

    async def _yaml(self, path: str) -> Mapping[str, Any] | None:
        reply = await self._get(path, expect=(200, 404))
        if reply.status == 404:
            return None
        found = await self.threads.run(self.name, lambda: _mapping(reply.body))
        if found is None:
            raise ProbeError(
                f"{reply.where} answered {reply.status} with {reply.kind}, where Loki's configuration was expected.",
                Reason.MALFORMED,
            )
        return found

    async def _ask(self, path: str, data: type[T], params: Mapping[str, str] | None = None) -> T | None:
        reply = await self._get(path, params, expect=(200, 400, 422, 500, 503, 504))
        if reply.status != 200:
            detail = "an error" if reply.body.lstrip()[:1] in (b"<", b"") else one_line(reply.text)
            raise ProbeError(f"{reply.where} answered {reply.status}: {detail}.", Reason.REFUSED)
        answer = decode(reply, _Answer[data])  # type: ignore[valid-type]
        if answer.status != "success":
            raise ProbeError(f"{reply.where} answered with status {one_line(answer.status)}.", Reason.REFUSED)
        if answer.warnings:
            raise ProbeError(
                f"{reply.where} gave a partial answer: {one_line(answer.warnings[0])}.", Reason.UNREACHABLE
            )
        return answer.data

    async def _get(
        self, path: str, params: Mapping[str, str] | None = None, *, expect: Collection[int] = (200,)
    ) -> Reply:
        async with self._places:
            return await self._http.get(path, params=params, expect=expect)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()


def _nanoseconds(moment: datetime) -> str:
    return str(int(moment.timestamp() * 1_000_000) * 1000)


def _mapping(body: bytes) -> Mapping[str, Any] | None:
    try:
        found = load_yaml(body, "configuration").plain()
    except YamlError:  # its text might quote a secret
        return None
    return found if isinstance(found, dict) else None
