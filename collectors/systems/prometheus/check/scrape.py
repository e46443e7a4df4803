"""Whether the metrics of a server really arrive in Prometheus."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta

from collectors.shared.verdicts import verdict
from collectors.systems.prometheus.client import Prometheus
from collectors.systems.prometheus.judge.scrape import frozen_problems, scrape_problems
from collectors.systems.prometheus.model.answers import (
    Sample,
)
from collectors.systems.prometheus.model.promql import selector
from collectors.systems.prometheus.model.scrape import Scrape, Scraped
from exporter.verdict import Result, ok
from exporter.words import listed

__all__ = ["judge_movement", "judge_scrape"]

_SHORTEST = 5
"""Seconds within which figures of a server that works change, as its uptime does."""

_FEW = 2
"""Scrapes that show nothing: the last two may be of the same moment, and all that a rare scrape gives."""


async def judge_scrape(prometheus: Prometheus, scrape: Scrape, instances: int = 1) -> Result:
    """Whether every exporter is scraped, reaches its server, and gives fresh figures of it.

    `instances` is how many exporters are expected unless the configuration says so. Raises ProbeError when Prometheus cannot be
    asked.
    """
    seen = await _look(prometheus, scrape)
    count = len(seen.up)
    ok_ages = [age for name, age in seen.ages.items() if name in seen.up]
    healthy = f"{scrape.health} is 1 and " if scrape.health is not None else ""
    good = ok(
        f"Prometheus scrapes {listed(sorted(seen.up)) if seen.up else 'nothing'}, {healthy}{scrape.series} is "
        f"{max(ok_ages, default=0):.0f} s old.",
        scraped_instances=count,
        sample_age_seconds=max(ok_ages, default=0),
    )
    result = verdict(scrape_problems(scrape, seen, scrape.instances or instances), good)
    return result if result is good else replace(result, measurements={"scraped_instances": _scraped(seen)})


async def judge_movement(prometheus: Prometheus, scrape: Scrape, metric: str) -> Result:
    """Whether what the exporters report is of now, by a metric that grows with each scrape; one that is not there shows nothing.

    Raises ProbeError when Prometheus cannot be asked.
    """
    period = max(_SHORTEST, round(scrape.stale_after.total_seconds()) // 2)
    figures = selector(metric, scrape.selected)
    changes = await prometheus.query(
        f"max by (instance) (changes({figures}[{2 * period}s]) and count_over_time({figures}[{2 * period}s]) > {_FEW} "
        f"and {figures} and {figures} offset {period}s)"
    )
    known = "The figures change" if changes else f"Whether {metric} changes is not known yet"
    return verdict(frozen_problems(metric, changes, timedelta(seconds=period)), ok(f"{known}."))


def _scraped(seen: Scraped) -> int:
    return sum(sample.value == 1 for sample in seen.up.values())


async def _look(prometheus: Prometheus, scrape: Scrape) -> Scraped:
    labels = scrape.selected
    up = _by_instance(await prometheus.query(selector("up", labels)))
    healthy = {}
    if scrape.health is not None:
        healthy = _by_instance(await prometheus.query(selector(scrape.health, labels)))
    # timestamp() gives when a sample was taken; the query's own timestamp is only when it was asked for.
    taken = _by_instance(await prometheus.query(f"timestamp({selector(scrape.series, labels)})"), newest=True)
    ages = {name: sample.timestamp - sample.value for name, sample in taken.items() if name in up}
    return Scraped(up, healthy, ages)


def _by_instance(samples: list[Sample], *, newest: bool = False) -> dict[str, Sample]:
    """One sample of each exporter: the lowest (no number is lower than any), or the highest of timestamps."""
    ordered = sorted(
        samples, key=lambda sample: -math.inf if math.isnan(sample.value) else sample.value, reverse=not newest
    )
    return {sample.labels.get("instance", ""): sample for sample in ordered}
