"""Where the metrics of a server's exporters are found in Prometheus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from pydantic import Field, model_validator

from collectors.systems.prometheus.model.answers import Sample
from collectors.systems.prometheus.model.promql import selector
from exporter.options import Duration, Options

__all__ = ["METRIC", "Scrape", "Scraped"]

METRIC = r"^[a-zA-Z_:][a-zA-Z0-9_:]*$"


class Scrape(Options):
    """Where a server's metrics are found in Prometheus. Sections give the names that their usual exporter has."""

    job: str = Field(description="Job that scrapes the exporter.")
    health: str | None = Field(
        pattern=METRIC,
        description="Metric that is 1 while the exporter reaches its server; `up` says nothing of that.",
    )
    series: str = Field(pattern=METRIC, description="Metric that only a working server gives; it has to be fresh.")
    labels: dict[str, str] = Field(default_factory=dict, description="Further labels that select the exporters.")
    instances: int | None = Field(None, ge=1, description="How many exporters there are; one per instance by default.")
    stale_after: Duration = Field(
        timedelta(minutes=5), gt=timedelta(0), description="Age from which a sample is too old."
    )

    @model_validator(mode="after")
    def _labels(self) -> Self:
        selector("", self.labels)
        return self

    @property
    def selected(self) -> dict[str, str]:
        """The labels by which the exporters are selected."""
        return {"job": self.job} | self.labels


@dataclass(frozen=True, slots=True)
class Scraped:
    """What Prometheus has of a server's exporters, by instance: `up`, the health metric, the age of the newest sample (s)."""

    up: Mapping[str, Sample]
    healthy: Mapping[str, Sample]
    ages: Mapping[str, float]
