"""Metrics Collection"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Self

from pydantic import Field, model_validator

from collectors.shared.marker import Marker
from collectors.shared.marker_sending import request
from collectors.shared.verdicts import verdict
from collectors.systems.prometheus.check.series import Counted, Looks, look_at
from collectors.systems.prometheus.client import Prometheus
from collectors.systems.prometheus.judge.series import judge_series
from collectors.systems.prometheus.model.series import Names, SeriesFacts, SeriesLimits, Source
from exporter.collector import Collector, NoTarget, SectionSettings, item
from exporter.http import HttpSettings
from exporter.options import Duration
from exporter.verdict import INFO, WARNING, ProbeError, Reason, Result, Status, unobserved

_POLL_SECONDS = 1.0
_HTTP = (
    "http_requests_total|http_request_duration_seconds_count|http_server_request_duration_seconds_count"
    "|http_server_requests_seconds_count|http_request_duration_seconds|http_server_request_duration_seconds"
    "|http.server.request.duration"
)
_QUERIES = (
    "pg_stat_statements_calls_total|pg_stat_statements_calls|db_client_operation_duration_seconds_count"
    "|db_query_duration_seconds_count|db_client_operation_duration_seconds|db_query_duration_seconds|db.client.operation.duration"
)


class HttpService(Source):
    """A service that answers HTTP requests."""

    counters: tuple[Names, ...] = Field((_HTTP,), description="Counters or histograms of requests, with their status.")
    marker: HttpSettings | None = Field(
        None,
        description="Address of the service that answers and counts a GET: one is sent while its counters do not grow, "
        "and must be counted within `marker_wait`. None is sent without it.",
    )


class DatabaseMetrics(Source):
    """A database, or a service that queries one."""

    counters: tuple[Names, ...] = Field((_QUERIES,), description="Counters or histograms of queries.")
    health: Names | None = Field(
        "pg_up", description="Metric that is 1 while the exporter reaches the database; checked where it exists."
    )


class CacheMetrics(Source):
    """A cache, or a service that uses one."""

    counters: tuple[Names, ...] = Field(
        ("redis_keyspace_hits_total", "redis_keyspace_misses_total"),
        description="Counters of hits and of misses; one of the two must grow.",
    )
    health: Names | None = Field(
        "redis_up", description="Metric that is 1 while the exporter reaches the cache; checked where it exists."
    )


class Queue(Source):
    """A queue and its consumers."""

    gauges: tuple[Names, ...] = Field(
        ("jetstream_consumer_num_pending|rabbitmq_queue_messages",), description="How much waits in the queue."
    )
    counters: tuple[Names, ...] = Field(
        ("jetstream_consumer_delivered_consumer_seq|rabbitmq_queue_messages_acked_total",),
        description="Counters of what was processed.",
    )


class BusinessMetrics(Source):
    """Metrics of what the product does: leads, orders, AI calls."""


class MetricsCollectionSettings(SectionSettings, SeriesLimits):
    """Options of the section."""

    timeout: Duration = Field(
        timedelta(minutes=2), gt=timedelta(0), description="How long one item may take before it is `unknown`."
    )
    marker_wait: Duration = Field(
        timedelta(seconds=90),
        gt=timedelta(0),
        description="How long Prometheus may take to count a marker.",
    )
    services: tuple[HttpService, ...] = Field((), description="Services whose requests are counted.")
    databases: tuple[DatabaseMetrics, ...] = Field((), description="Databases whose queries are counted.")
    caches: tuple[CacheMetrics, ...] = Field((), description="Caches whose hits and misses are counted.")
    queues: tuple[Queue, ...] = Field((), description="Queues whose depth and processing are measured.")
    business_metrics: tuple[BusinessMetrics, ...] = Field((), description="What the product does.")

    @model_validator(mode="after")
    def _in_time(self) -> Self:
        if self.marker_wait >= self.timeout:
            raise ValueError("expected `marker_wait` to be less than `timeout`")
        return self


class MetricsCollection(Collector[MetricsCollectionSettings, NoTarget]):
    """Asks Prometheus for the series of each source: whether they are there, fresh, and growing while there is traffic."""

    Settings = MetricsCollectionSettings
    rights = """\
Reading from Prometheus, or what speaks its HTTP API:
  GET /api/v1/query
"""

    async def _judge(self, option: str, sources: Sequence[Source], *, responses: bool = False) -> Result:
        """The verdict on all sources of one kind. Raises ProbeError when none is configured."""
        if not sources:
            raise ProbeError(f"Option {option} is empty, so no metrics were looked for.", Reason.NOT_CONFIGURED)
        self.client(Prometheus)
        looks: Looks = self.context.memory.setdefault(option, {})

        async def one(source: Source) -> Result:
            try:
                kept = looks.setdefault(f"{source.name} {source.selector} {', '.join(source.counters)}", deque())
                seen = await self._look(source, kept, responses=responses)
                return judge_series(source, seen, self.settings, responses=responses)
            except ProbeError as why:
                return unobserved(why)

        results = await asyncio.gather(*map(one, sources))
        ages = [age for result in results if (age := result.measurements.get("sample_age_seconds")) is not None]
        measured = {"sample_age_seconds": max(ages)} if ages else {}
        some = " ".join(result.summary for result in results[:3])
        more = f" So do {len(results) - 3} more." if len(results) > 3 else ""
        good = Result(Status.OK, f"Prometheus has them. {some}{more}", measured)
        return verdict([result for result in results if result.status is not Status.OK], good)

    async def _look(self, source: Source, looks: deque[Counted], *, responses: bool) -> SeriesFacts:
        """What Prometheus has of a source; where its counters stand still and there is a way, after a marker was sent to it."""
        look = partial(look_at, self.client(Prometheus), source, self.settings, looks, responses=responses)
        seen = await look(self.context.now())
        if seen.growth != 0 or not isinstance(source, HttpService) or source.marker is None:
            return seen
        await request(Marker(), source.marker)
        end = time.monotonic() + self.settings.marker_wait.total_seconds()
        while not seen.growth and time.monotonic() < end:
            await asyncio.sleep(_POLL_SECONDS)
            seen = await look(self.context.now())
        seen.marked = True
        return seen

    @item("HTTP request/response metrics", severity=WARNING, needs=("clients.prometheus", "option services"))
    async def http_metrics(self) -> Result:
        """Without request counters nothing shows how much fails, how slow it is, or that no requests arrive.

        Of each of `services`, a counter or histogram of requests (classic or native) is in Prometheus, its newest sample is
        not older than `max_sample_age`, it has a status in one of `status_labels` (503, or 5xx where the library groups
        them), and it grew within `window`. In quiet times `traffic` shows whether it had to, or `marker` sends a request:
        without them a counter that does not grow is `unknown`.

        To fix it, add the instrumentation of the framework, and see Prometheus's targets page for what is not scraped.
        """
        return await self._judge("services", self.settings.services, responses=True)

    @item("Database query metrics", severity=WARNING, needs=("clients.prometheus", "option databases"))
    async def database_query_metrics(self) -> Result:
        """When everything becomes slow, the first question is whether the database is: only metrics of its queries answer it.

        Of each of `databases`, a counter or histogram of queries, from pg_stat_statements or the application, is in
        Prometheus, fresh, and grew within `window`; `pg_up` is 1 where there is one, as an exporter is scraped well that
        reaches no database.

        To fix it, start postgres_exporter with --collector.stat_statements and create the extension pg_stat_statements.
        """
        return await self._judge("databases", self.settings.databases)

    @item("Cache hit/miss metrics", severity=WARNING, needs=("clients.prometheus", "option caches"))
    async def cache_metrics(self) -> Result:
        """A cache that stopped hitting does no harm by itself: the database behind it breaks, and the cause stays hidden.

        Of each of `caches`, counters of both hits and misses are in Prometheus and fresh, and one of them grew within
        `window`; `redis_up` is 1 where there is one, as an exporter is scraped well that reaches no Redis.

        To fix it, start redis_exporter beside the cache, or count hits and misses in the application and name the counters.
        """
        return await self._judge("caches", self.settings.caches)

    @item("Queue depth and processing metrics", severity=WARNING, needs=("clients.prometheus", "option queues"))
    async def queue_metrics(self) -> Result:
        """A queue that grows, or that nobody takes from any more, shows only in its depth and in what is processed.

        Of each of `queues`, the depth and a counter of what was processed are in Prometheus, fresh, and the counter grew
        within `window`. A queue that is empty and unused needs `traffic`, which shows that nothing had to be processed.

        To fix it, start the queue's exporter (for NATS: with -jsz=all), or name the metrics of the application.
        """
        return await self._judge("queues", self.settings.queues)

    @item(
        "Custom business metrics (leads, AI calls, etc.)",
        severity=INFO,
        needs=("clients.prometheus", "option business_metrics"),
    )
    async def business_metrics(self) -> Result:
        """All servers may be healthy while no lead comes in: only business metrics show whether the product does its job.

        Each of `business_metrics` is in Prometheus and fresh. Its counters grew within `window`, unless `traffic` shows that
        nothing had to be counted; gauges need only be there, and be numbers.

        To fix it, count in the code where the thing happens, once it has happened, and name the metric in the configuration.
        """
        return await self._judge("business_metrics", self.settings.business_metrics)
