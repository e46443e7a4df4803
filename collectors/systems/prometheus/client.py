"""Prometheus and what speaks its HTTP API (Thanos, Mimir, VictoriaMetrics): queries, rules, targets, metadata."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Generic, TypeVar

import msgspec
from pydantic import Field

from collectors.shared.decoding import decode
from collectors.shared.single_flight import Shared
from collectors.systems.prometheus.model.answers import (
    BuildInfo,
    Metadata,
    RuleGroup,
    RuntimeInfo,
    Sample,
    ScrapeTarget,
)
from exporter.collector import Client
from exporter.http import Http, HttpSettings
from exporter.options import Duration
from exporter.threads import Threads
from exporter.verdict import ProbeError, Reason
from exporter.words import one_line

__all__ = ["ManyToMany", "NativeHistogram", "Prometheus", "PrometheusSettings"]

T = TypeVar("T")
_MANY = re.compile("many-to-many|must be unique|duplicate series|same labelset")
_REASONS = {400: Reason.MISCONFIGURED, 422: Reason.MISCONFIGURED, 503: Reason.TIMEOUT}
_HINT = "PromQL info:"  # how versions 2.48 to 2.53, and what is built on them, begin what newer ones show under `infos`


class PrometheusSettings(HttpSettings):
    """How to reach Prometheus. A path prefix belongs to `url`, a tenant (X-Scope-OrgID) to `headers`."""

    max_age: Duration = Field(
        timedelta(seconds=15),
        description="How long rules, targets and metadata are shared before they are requested again.",
    )


class _Struct(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """Part of a reply: only the fields that sections judge are decoded."""


class _Url(_Struct, frozen=True):
    url: str


class _Alertmanagers(_Struct, frozen=True):
    active: list[_Url] = msgspec.field(name="activeAlertmanagers")


class _Pools(_Struct, frozen=True):
    scrape_pools: list[str]


class _Yaml(_Struct, frozen=True):
    yaml: str


class _Answer(_Struct, Generic[T], frozen=True):
    """The envelope of every reply. `infos` are hints about the expression and change nothing.

    An answer in which a store is missing has `warnings`, or is marked as `is_partial` (by VictoriaMetrics's cluster).
    """

    status: str
    data: T | msgspec.UnsetType = msgspec.UNSET
    error: str = ""
    error_type: str = ""
    warnings: list[str] = []
    is_partial: bool = False

    @property
    def lacking(self) -> str | None:
        """What the server says of what is missing; None when the answer is whole."""
        warnings = (warning for warning in self.warnings if not warning.startswith(_HINT))
        return next(warnings, "it is marked as partial" if self.is_partial else None)


class _Query(_Struct, frozen=True):
    result_type: str
    result: msgspec.Raw


class _Series(msgspec.Struct, frozen=True, gc=False):
    metric: dict[str, str]
    value: tuple[float, str] | None = None


class _Groups(_Struct, frozen=True):
    groups: list[RuleGroup]


class _Targets(_Struct, frozen=True):
    active_targets: list[ScrapeTarget]


class ManyToMany(ProbeError):
    """An expression joins series of which several on both sides have the same labels."""


class NativeHistogram(ProbeError):
    """An expression evaluates to native histograms, where numbers were wanted: `histogram_count(…)` makes numbers of them."""


class Prometheus(Client[PrometheusSettings]):
    """Asks Prometheus. Everything raises ProbeError when there is no complete answer: an error, a partial one, another format."""

    name = "prometheus"
    Settings = PrometheusSettings

    def __init__(self, settings: PrometheusSettings, threads: Threads) -> None:
        super().__init__(settings, threads)
        self._http = Http(settings)
        self._rules = Shared(self._fetch_rules, settings.max_age)
        self._targets = Shared(self._fetch_targets, settings.max_age)
        self._metadata = Shared(self._fetch_metadata, settings.max_age)
        self._configuration = Shared(self._fetch_configuration, settings.max_age)

    async def query(self, expr: str, at: datetime | None = None) -> list[Sample]:
        """The instant vector (a scalar is one sample without labels) that `expr` evaluates to, now or `at` a moment.

        An empty list means that nothing matched. A sample seen here may be as old as Prometheus looks back (five minutes);
        use `timestamp(...)` in the expression where that matters. Raises ProbeError for any other kind of value.
        """
        params = {"query": expr} | ({"time": f"{at.timestamp():.3f}"} if at else {})
        answer = await self.ask("/api/v1/query", _Query, params)
        try:
            if answer.result_type == "scalar":
                at_second, value = msgspec.json.decode(answer.result, type=tuple[float, str])
                return [Sample({}, float(value), at_second)]
            if answer.result_type == "vector":
                found = msgspec.json.decode(answer.result, type=list[_Series])
                return [_sample(series, expr) for series in found]
        except ValueError as error:  # msgspec.ValidationError is one
            raise ProbeError(
                f"Prometheus's answer to {expr} has an unexpected format: {error}.", Reason.MALFORMED
            ) from None
        raise ProbeError(
            f"{expr} evaluates to a {answer.result_type}, where an instant vector was wanted.", Reason.MISCONFIGURED
        )

    async def rules(self) -> list[RuleGroup]:
        """All rule groups, at most `max_age` old."""
        return await self._rules.get()

    async def targets(self) -> list[ScrapeTarget]:
        """All active scrape targets, at most `max_age` old. Empty for some seconds after Prometheus started."""
        return await self._targets.get()

    async def metadata(self) -> dict[str, list[Metadata]]:
        """Type, help and unit of every metric that is being scraped, at most `max_age` old."""
        return await self._metadata.get()

    async def configuration(self) -> str:
        """Its configuration as YAML with the secrets masked, at most `max_age` old."""
        return await self._configuration.get()

    async def alertmanagers(self) -> list[str]:
        """The addresses to which alerts are sent: those that were discovered, dead ones too."""
        return [manager.url for manager in (await self.ask("/api/v1/alertmanagers", _Alertmanagers)).active]

    async def scrape_pools(self) -> list[str]:
        """The names of all scrape configurations, also of those in which nothing was discovered."""
        return (await self.ask("/api/v1/scrape_pools", _Pools)).scrape_pools

    async def runtime_info(self) -> RuntimeInfo:
        """When it started, and whether its configuration could be loaded."""
        return await self.ask("/api/v1/status/runtimeinfo", RuntimeInfo)

    async def build_info(self) -> BuildInfo:
        """What answers, and its version."""
        return await self.ask("/api/v1/status/buildinfo", BuildInfo)

    async def ask(self, path: str, answer: type[T], params: Mapping[str, str] | None = None) -> T:
        """The `data` of the reply to GET `path`, decoded into `answer`.

        Raises ProbeError when there is none, or only a part of it.
        """
        # A reply that is not 200 explains itself in the body: bad expression, timed out, too many samples.
        reply = await self._http.get(path, params=params, expect=(200, 400, 404, 422, 503))
        if reply.status == 404:
            raise ProbeError(
                f"{reply.where} answered 404: this server has no such API, or the address lacks a path prefix.",
                Reason.MISCONFIGURED,
            )
        decoded = decode(reply, _Answer[answer])  # type: ignore[valid-type]
        if decoded.status != "success":
            detail = one_line(decoded.error or decoded.error_type)
            kind = ManyToMany if _MANY.search(detail) else ProbeError
            raise kind(f"{reply.where} answered {reply.status}: {detail}.", _REASONS.get(reply.status, Reason.REFUSED))
        if decoded.lacking is not None:
            raise ProbeError(f"{reply.where} gave a partial answer: {one_line(decoded.lacking)}.", Reason.UNREACHABLE)
        if decoded.data is msgspec.UNSET:
            raise ProbeError(f"{reply.where} answered {reply.status} without data.", Reason.MALFORMED)
        return decoded.data

    async def _fetch_rules(self) -> list[RuleGroup]:
        return (await self.ask("/api/v1/rules", _Groups)).groups

    async def _fetch_targets(self) -> list[ScrapeTarget]:
        return (await self.ask("/api/v1/targets", _Targets, {"state": "active"})).active_targets

    async def _fetch_metadata(self) -> dict[str, list[Metadata]]:
        return await self.ask("/api/v1/metadata", dict[str, list[Metadata]])

    async def _fetch_configuration(self) -> str:
        return (await self.ask("/api/v1/status/config", _Yaml)).yaml

    async def close(self) -> None:
        """Stop what is being fetched and close the connections."""
        for shared in (self._rules, self._targets, self._metadata, self._configuration):
            await shared.close()
        await self._http.close()


def _sample(series: _Series, expr: str) -> Sample:
    if series.value is None:
        raise NativeHistogram(f"{expr} evaluates to a native histogram, where a number was wanted.")
    return Sample(series.metric, float(series.value[1]), series.value[0])
