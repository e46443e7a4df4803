"""What a metrics endpoint gives, read as Prometheus reads it."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from pydantic import Field

from collectors.systems.http.model.paths import Path
from exporter.options import Duration, Options
from exporter.reply import Reply
from exporter.verdict import ProbeError, Reason

__all__ = ["Exposition", "MetricsOptions", "Movement", "read_exposition"]


#: Seconds that a sample's own time stamp may lie back, or ahead, for Prometheus to store it.
_LATE, _EARLY = 3600, 600


class MetricsOptions(Options):
    """Where a service gives its metrics, and which it has to give."""

    metrics_path: Path = Field("/metrics", description="Path of the metrics endpoint.")
    required_metrics: tuple[str, ...] = Field(
        (),
        description="Metrics that must have samples, such as http_requests_total; default metrics have none of requests.",
    )
    moving_metrics: tuple[str, ...] = Field(
        (), description="Counters that must have increased within `moving_within`, while the service has traffic."
    )
    moving_within: Duration = Field(
        timedelta(minutes=15), gt=timedelta(0), description="How long ago `moving_metrics` may have increased last."
    )


@dataclass(frozen=True, slots=True)
class Exposition:
    """The sums of all samples of each name (of a family or a sample), how many there are, and when the process started.

    Samples that Prometheus would not store are not among them.
    """

    sums: Mapping[str, float]
    samples: int
    started: float | None
    duplicates: Collection[str] = ()
    """Names of series that occur twice: Prometheus takes the first and drops the others."""
    empty: Collection[str] = ()
    """Names whose samples are no numbers, or so old by their own time stamps that Prometheus drops them."""


@dataclass(frozen=True, slots=True)
class Movement:
    """What is remembered of a counter of one process: its value, since when it is observed, and when it was seen to increase."""

    value: float
    since: datetime
    increased: datetime | None = None

    def seen(self, value: float, now: datetime) -> Movement:
        """This, after another look; a counter that fell was reset, which proves nothing."""
        return Movement(value, self.since, now if value > self.value else self.increased)


def read_exposition(reply: Reply) -> Exposition:
    """The metrics of a reply. Raises ProbeError (malformed) when Prometheus could not read them."""
    openmetrics = "openmetrics" in reply.headers.get("content-type", "")
    if reply.kind == "an HTML page":
        raise ProbeError(
            f"{reply.where} answered {reply.status} with an HTML page instead of metrics.", Reason.MALFORMED
        )
    sums: dict[str, float] = {}
    samples, started = 0, None
    series: set[int] = set()
    duplicates: set[str] = set()
    empty: set[str] = set()
    now = time.time()
    if b"\r\n" in reply.body:  # the client library would take them, and Prometheus does not
        raise ProbeError(f"{reply.where} ends its lines with CR and LF, which Prometheus refuses.", Reason.MALFORMED)
    try:
        for family in (parse_openmetrics if openmetrics else parse_text)(reply.body.decode()):
            for sample in family.samples:
                if sample.timestamp is not None and not -_LATE < float(sample.timestamp) - now < _EARLY:
                    empty.add(sample.name)
                    continue
                samples += 1
                one = hash((sample.name, *sorted(sample.labels.items())))
                if one in series:
                    duplicates.add(sample.name)
                    continue
                series.add(one)
                if math.isnan(sample.value):
                    empty.add(sample.name)
                    continue
                sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
                if sample.name in (f"{family.name}_total", f"{family.name}_count"):
                    sums[family.name] = sums.get(family.name, 0.0) + sample.value
                if sample.name == "process_start_time_seconds":
                    started = sample.value
    except (ValueError, KeyError, IndexError) as error:
        detail = "is no UTF-8" if isinstance(error, UnicodeDecodeError) else "cannot be parsed"
        raise ProbeError(
            f"{reply.where} answered {reply.status} with {len(reply.body)} bytes that {detail} as metrics.",
            Reason.MALFORMED,
        ) from None
    return Exposition(sums, samples, started, duplicates, empty - sums.keys())
