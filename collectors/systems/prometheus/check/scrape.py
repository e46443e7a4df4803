"""Whether the metrics of a server really arrive in Prometheus."""

from __future__ import annotations

import math

from collectors.systems.prometheus.client import Prometheus
from collectors.systems.prometheus.model.answers import (
    Sample,
)
from collectors.systems.prometheus.model.promql import selector
from collectors.systems.prometheus.model.scrape import Scrape
from exporter.options import format_duration
from exporter.verdict import Reason, Result, failed, ok

__all__ = ["judge_scrape"]


async def judge_scrape(prometheus: Prometheus, scrape: Scrape, instances: int = 1) -> Result:
    """Whether every exporter is scraped, reaches its server, and gives fresh figures of it.

    `instances` is how many exporters are expected unless the configuration says so. Raises ProbeError when Prometheus cannot be
    asked.
    """
    wanted = scrape.instances or instances
    labels = {"job": scrape.job} | scrape.labels
    up = selector("up", labels)
    scraped = _by_instance(await prometheus.query(up))
    if down := sorted(instance for instance, sample in scraped.items() if sample.value != 1):
        return failed(
            f"Prometheus cannot scrape {_names(down)}: {up} is not 1.",
            reason=Reason.DOWN,
            scraped_instances=len(scraped) - len(down),
        )
    if len(scraped) != wanted:
        return failed(
            f"Prometheus scrapes {len(scraped)} exporters that match {up} (wanted {wanted}).",
            reason=Reason.LIMIT,
            scraped_instances=len(scraped),
        )
    healthy = _by_instance(await prometheus.query(selector(scrape.health, labels)))
    if ill := sorted(instance for instance in scraped if instance not in healthy or healthy[instance].value != 1):
        return failed(
            f"Prometheus scrapes {_names(ill)}, which cannot reach the server: {scrape.health} is not 1.",
            reason=Reason.DOWN,
            scraped_instances=len(scraped),
        )
    # timestamp() gives when a sample was taken; the query's own timestamp is only when it was asked for.
    taken = _by_instance(await prometheus.query(f"timestamp({selector(scrape.series, labels)})"), newest=True)
    ages = {name: seen.timestamp - seen.value for name, seen in taken.items() if name in scraped}
    limit = scrape.stale_after.total_seconds()
    if late := sorted(instance for instance in scraped if not ages.get(instance, math.inf) <= limit):
        return failed(
            f"Prometheus has no {scrape.series} of {_names(late)} from the last {format_duration(scrape.stale_after)}.",
            reason=Reason.STALE,
            scraped_instances=len(scraped),
        )
    return ok(
        f"Prometheus scrapes {_names(sorted(scraped))}, {scrape.health} is 1 and {scrape.series} is "
        f"{max(ages.values()):.0f} s old.",
        scraped_instances=len(scraped),
        sample_age_seconds=max(ages.values()),
    )


def _by_instance(samples: list[Sample], *, newest: bool = False) -> dict[str, Sample]:
    """One sample of each exporter: the lowest (no number is lower than any), or the highest of timestamps."""
    ordered = sorted(
        samples, key=lambda sample: -math.inf if math.isnan(sample.value) else sample.value, reverse=not newest
    )
    return {sample.labels.get("instance", ""): sample for sample in ordered}


def _names(instances: list[str]) -> str:
    more = f" and {len(instances) - 5} more" if len(instances) > 5 else ""
    return ", ".join(instances[:5]) + more
