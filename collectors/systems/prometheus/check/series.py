"""Asks Prometheus for what a source of metrics gives."""

from __future__ import annotations

import asyncio
import math
import re
from collections import deque
from collections.abc import Mapping, MutableMapping, Sequence
from datetime import datetime

from collectors.systems.prometheus.client import NativeHistogram, Prometheus
from collectors.systems.prometheus.model.answers import (
    Sample,
)
from collectors.systems.prometheus.model.series import SeriesFacts, SeriesLimits, Source
from exporter.verdict import ProbeError, Reason

__all__ = ["Counted", "Looks", "look_at"]

_MOST_LOOKS = 60
Counted = tuple[datetime, Mapping[str, float]]
Looks = MutableMapping[str, deque[Counted]]
"""The sums of a source's counters at earlier looks, by instance. `increase` does not see a series begin; two looks do.

Of a long window only some are kept.
"""


async def look_at(
    prometheus: Prometheus, source: Source, limits: SeriesLimits, looks: deque[Counted], now: datetime
) -> SeriesFacts:
    """Ask Prometheus for what a source gives. Raises ProbeError when it does not report it, or has scraped nothing at all yet."""
    wanted = (*source.counters, *source.gauges)
    found, statuses = await _names(prometheus, source, limits, wanted)
    if len(found) < len(wanted):
        if not await prometheus.query("count(up)"):
            raise ProbeError(
                "Prometheus has no series up: it has scraped nothing yet, or keeps it elsewhere.", Reason.MISSING
            )
        return SeriesFacts(found)
    counters = [_select(source, found[names]) for names in source.counters]
    ages = {name: await _age(prometheus, _select(source, name)) for name in found.values()}
    gauges = [found[names] for names in source.gauges]
    # A number equals itself, NaN does not.
    numbers = {name: await _sum(prometheus, "count({0} == {0})", _select(source, name)) for name in gauges}
    seen = SeriesFacts(found, statuses, ages, numbers)
    seen.healthy = await _healthy(prometheus, source)
    if counters:
        seen.growth = await _growth(prometheus, counters, limits, looks, now)
        if not seen.growth and source.traffic is not None:
            seen.traffic = await _traffic(prometheus, source)
    return seen


async def _names(
    prometheus: Prometheus, source: Source, limits: SeriesLimits, wanted: Sequence[str]
) -> tuple[dict[str, str], frozenset[str]]:
    """Which of the wanted metrics exist, and the values of their labels for the status of a response."""
    every = "|".join(re.escape(name) for names in wanted for name in names.split("|"))
    labels = ", ".join(("__name__", *limits.status_labels))
    series = await prometheus.query(f"count by ({labels}) ({_where(source, f'__name__=~{_quoted(every)}')})")
    names = {sample.labels.get("__name__", "") for sample in series}
    found = {
        alternatives: next(name for name in alternatives.split("|") if name in names)
        for alternatives in wanted
        if names & set(alternatives.split("|"))
    }
    chosen = [sample.labels for sample in series if sample.labels.get("__name__") in found.values()]
    return found, frozenset(value for labels in chosen for name, value in labels.items() if name != "__name__")


async def _age(prometheus: Prometheus, selected: str) -> float:
    """The age of the newest sample, in seconds; infinite without one."""
    newest = await prometheus.query(f"max(timestamp({selected}))")
    return min((sample.timestamp - sample.value for sample in newest), default=math.inf)


async def _healthy(prometheus: Prometheus, source: Source) -> bool | None:
    if source.health is None:
        return None
    names = "|".join(map(re.escape, source.health.split("|")))
    lowest = await prometheus.query(f"min({_where(source, f'__name__=~{_quoted(names)}')})")
    return all(sample.value == 1 for sample in lowest) if lowest else None


async def _growth(
    prometheus: Prometheus, counters: Sequence[str], limits: SeriesLimits, looks: deque[Counted], now: datetime
) -> float:
    """By how much the counters grew within the window, all together."""
    window = f"[{max(1, round(limits.window.total_seconds()))}s]"
    grown = await asyncio.gather(
        *(_sum(prometheus, f"sum(increase({{0}}{window}))", selected) for selected in counters)
    )
    sums: dict[str, float] = {}
    for selected in counters:
        for sample in await _numbers(prometheus, "sum by (instance) ({0})", selected):
            if (instance := sample.labels.get("instance")) and not math.isnan(sample.value):
                sums[instance] = sums.get(instance, 0.0) + sample.value
    while looks and now - looks[0][0] > limits.window:
        looks.popleft()
    # An instance that was not there before may have counted long ago: what it has proves nothing.
    since = max(
        (value - earlier[instance] for _, earlier in looks for instance, value in sums.items() if instance in earlier),
        default=0.0,
    )
    if not looks or now - looks[-1][0] >= limits.window / _MOST_LOOKS:
        looks.append((now, sums))
    return max(math.fsum(grown), since, 0.0)


async def _traffic(prometheus: Prometheus, source: Source) -> bool:
    assert source.traffic is not None
    samples = await prometheus.query(source.traffic)
    if not samples:
        raise ProbeError(
            f"Option traffic of {source.name} gives nothing, so whether there was traffic was not seen.", Reason.MISSING
        )
    return any(sample.value > 0 for sample in samples)


async def _sum(prometheus: Prometheus, expression: str, selected: str) -> float:
    """The sum of what an expression gives; numbers that are none count for nothing."""
    samples = await _numbers(prometheus, expression, selected)
    return math.fsum(sample.value for sample in samples if not math.isnan(sample.value))


async def _numbers(prometheus: Prometheus, expression: str, selected: str) -> list[Sample]:
    """What an expression over a selector gives; of native histograms, their counts."""
    try:
        return await prometheus.query(expression.format(selected))
    except NativeHistogram:
        return await prometheus.query(f"histogram_count({expression.format(selected)})")


def _select(source: Source, name: str) -> str:
    return _where(source, f"__name__={_quoted(name)}")


def _where(source: Source, matcher: str) -> str:
    return source.selector.replace("{", f"{{{matcher}, ", 1)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\") + '"'
