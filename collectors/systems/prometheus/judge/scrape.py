"""Whether the metrics of a server really arrive in Prometheus."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta

from collectors.systems.prometheus.model.answers import Sample
from collectors.systems.prometheus.model.promql import selector
from collectors.systems.prometheus.model.scrape import Scrape, Scraped
from exporter.options import format_duration
from exporter.verdict import Reason, Result, failed
from exporter.words import listed

__all__ = ["frozen_problems", "scrape_problems"]


def scrape_problems(scrape: Scrape, seen: Scraped, wanted: int) -> Iterator[Result]:
    """What keeps the figures of a server's exporters, of which there shall be so many, from arriving; each hides the next."""
    up = selector("up", scrape.selected)
    if down := _not_one(seen.up, seen.up):
        yield failed(f"Prometheus cannot scrape {listed(down)}: {up} is not 1.", reason=Reason.DOWN)
    elif len(seen.up) != wanted:
        summary = f"Prometheus scrapes {len(seen.up)} exporters that match {up} (wanted {wanted})."
        yield failed(summary, reason=Reason.LIMIT)
    elif scrape.health is not None and (ill := _not_one(seen.up, seen.healthy)):
        summary = f"Prometheus scrapes {listed(ill)}, which cannot reach the server: {scrape.health} is not 1."
        yield failed(summary, reason=Reason.DOWN)
    else:
        limit = scrape.stale_after.total_seconds()
        if late := sorted(one for one in seen.up if not seen.ages.get(one, math.inf) <= limit):
            summary = f"Prometheus has no {scrape.series} of {listed(late)} from the last {format_duration(scrape.stale_after)}."
            yield failed(summary, reason=Reason.STALE)


def frozen_problems(metric: str, changes: Iterable[Sample], period: timedelta) -> Iterator[Result]:
    """Whether figures that grow with each scrape do: an exporter, or a cache before it, may go on giving the last ones.

    `changes` are how often the metric changed, by instance, of those that had it for a `period` or longer.
    """
    if frozen := sorted(sample.labels.get("instance", "") for sample in changes if not sample.value):
        yield failed(
            f"What {listed(frozen)} {'report' if len(frozen) > 1 else 'reports'} has not changed for at least "
            f"{format_duration(period)} ({metric}): the figures are old ones.",
            reason=Reason.STALE,
        )


def _not_one(instances: Mapping[str, Sample], samples: Mapping[str, Sample]) -> list[str]:
    return sorted(one for one in instances if one not in samples or samples[one].value != 1)
