"""Sources of metrics, the limits of what they give, and what Prometheus has of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from collectors.shared.selectors import SELECTOR
from exporter.options import Duration, Options

__all__ = ["Names", "SeriesFacts", "SeriesLimits", "Source"]

Names = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z_:][\w:.]*(\|[a-zA-Z_:][\w:.]*)*$")]
"""Names of one metric, the preferred one first: `http_requests_total|http_request_duration_seconds_count`."""


class Source(Options):
    """Something that gives metrics. Of names that are separated by `|` the first counts that exists."""

    name: str = Field(min_length=1, description="Name used in verdicts.")
    selector: str = Field(pattern=SELECTOR, description='Labels of its series, such as {job="api"}.')
    counters: tuple[Names, ...] = Field(
        (), description="Counters and histograms that must be there, and of which one at least must grow."
    )
    gauges: tuple[Names, ...] = Field((), description="Metrics that must be there.")
    health: Names | None = Field(
        None,
        description="Metric that is 1 while the exporter reaches the system that it reports on; checked where it "
        "exists.",
    )
    traffic: str | None = Field(
        None,
        pattern=r"\S",
        description="PromQL whose value is above 0 while there is something to count, for quiet times: without it "
        "counters that do not grow are `unknown`.",
    )

    @model_validator(mode="after")
    def _named(self) -> Self:
        if not self.counters and not self.gauges:
            raise ValueError("expected `counters` or `gauges`")
        return self


class SeriesLimits(Options):
    """SeriesLimits of the section."""

    window: Duration = Field(
        timedelta(minutes=15), gt=timedelta(0), description="Time in which counters must have grown."
    )
    max_sample_age: Duration = Field(
        timedelta(minutes=5), gt=timedelta(0), description="Age from which a sample is too old."
    )
    status_labels: tuple[str, ...] = Field(
        (
            "code",
            "status",
            "status_code",
            "http_status_code",
            "http_response_status_code",
            "http.response.status_code",
            "status_class",
            "response_code",
            "grpc_code",
            "rpc_grpc_status_code",
        ),
        description="Labels that may hold the status of a response, such as 200, 2xx or, of gRPC, NotFound.",
    )


@dataclass(slots=True)
class SeriesFacts:
    """What Prometheus has of a source. `found` has the name of each wanted metric that exists, by what was wanted.

    `statuses` are labels of responses with their values. `ages` are those of the newest samples, in seconds. `numbers` says how
    many series of a gauge are numbers, `no_numbers` how many are not. `growth` is that of all counters within the window, None
    without any; requests of the page of metrics itself do not count.
    """

    found: Mapping[str, str]
    statuses: frozenset[tuple[str, str]] = frozenset()
    ages: Mapping[str, float] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    no_numbers: Mapping[str, float] = field(default_factory=dict)
    healthy: bool | None = None
    growth: float | None = None
    scraped: bool = False
    """Whether what grew were requests of the page of metrics alone."""
    fallen: Mapping[str, float] = field(default_factory=dict)
    """How often a counter fell within the window, of those that fall all the time."""
    without: tuple[str, ...] = ()
    """Instances that were up for the whole window and give no counter."""
    traffic: bool | None = None
    beginning: bool = False
    """Whether traffic was only seen just now, so that it need not have been counted yet."""
    marked: bool = False
    """Whether a marker was sent, which had to be counted."""
