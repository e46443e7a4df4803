"""Asks Prometheus for what a source of metrics gives."""

from __future__ import annotations

import asyncio
import math
import re
from collections import deque
from collections.abc import Collection, Iterable, Mapping, MutableMapping, Sequence
from datetime import datetime, timedelta

from collectors.systems.prometheus.client import NativeHistogram, Prometheus
from collectors.systems.prometheus.model.answers import (
    Sample,
)
from collectors.systems.prometheus.model.firing import label_name
from collectors.systems.prometheus.model.promql import parse
from collectors.systems.prometheus.model.ranges import nodes_of
from collectors.systems.prometheus.model.series import SeriesFacts, SeriesLimits, Source
from exporter.verdict import ProbeError, Reason

__all__ = ["Counted", "Looks", "look_at"]

_MOST_LOOKS = 60
_LATEST = timedelta(minutes=2)
"""How long a request may take to be seen in both counters, which are scraped at different moments."""
_MOST_MOMENTS = 10
_FALLING = 0.25
"""Share of its samples from which a counter falls too often for restarts."""
#: Requests of the page of metrics, by the labels that frameworks give the path.
_SCRAPES = ", ".join(
    f'{label}!~"(/.*)?/metrics/?|/actuator/prometheus"'
    for label in ("handler", "path", "route", "uri", "endpoint", "http_route", "url_path")
)
Counted = tuple[datetime, Mapping[tuple[str, str], float]]
Looks = MutableMapping[str, deque[Counted]]
"""The sums of a source's counters at earlier looks, by counter and instance. `increase` does not see a series begin; two looks do.

Of a long window only some are kept.
"""


async def look_at(
    prometheus: Prometheus,
    source: Source,
    limits: SeriesLimits,
    looks: deque[Counted],
    now: datetime,
    *,
    responses: bool = False,
) -> SeriesFacts:
    """Ask Prometheus for what a source gives; with `responses`, its counters count requests, which each instance gets.

    Raises ProbeError when Prometheus does not report it, or has scraped nothing at all yet.
    """
    wanted = (*source.counters, *source.gauges)
    found, statuses = await _names(prometheus, source, limits, wanted)
    if len(found) < len(wanted):
        if not await prometheus.query("count(up)"):
            raise ProbeError(
                "Prometheus has no series up: it has scraped nothing yet, or keeps it elsewhere.", Reason.MISSING
            )
        return SeriesFacts(found)
    counters = {found[names]: _select(source, found[names]) for names in source.counters}
    ages = {name: await _age(prometheus, _select(source, name)) for name in found.values()}
    gauges = [found[names] for names in source.gauges]
    # A number equals itself, NaN does not.
    numbers = {name: await _sum(prometheus, "count({0} == {0})", _select(source, name)) for name in gauges}
    strange = {name: await _sum(prometheus, "count({0} != {0})", _select(source, name)) for name in gauges}
    seen = SeriesFacts(found, statuses, ages, numbers, {name: count for name, count in strange.items() if count})
    seen.healthy = await _healthy(prometheus, source)
    if counters:
        window = _window(limits)
        seen.fallen = await _fallen(prometheus, counters, window)
        asked = [_where(source, f"__name__={_quoted(name)}, {_SCRAPES}") for name in counters] if responses else None
        seen.growth = await _growth(prometheus, asked or [*counters.values()], limits, looks, now)
        if responses:
            seen.without = await _without(prometheus, source, counters.values(), window)
            if not seen.growth:
                seen.scraped = any(
                    [await _sum(prometheus, f"sum(increase({{0}}[{window}]))", one) for one in counters.values()]
                )
        if not seen.growth and source.traffic is not None:
            seen.traffic, seen.beginning = await _traffic(prometheus, source, limits, now)
    return seen


def _window(limits: SeriesLimits) -> str:
    return f"{max(1, round(limits.window.total_seconds()))}s"


async def _fallen(prometheus: Prometheus, counters: Mapping[str, str], window: str) -> dict[str, float]:
    """How often counters fell that fall with many of their samples."""
    fallen = {}
    for name, selected in counters.items():
        often = f"resets({selected}[{window}]) > {_FALLING} * count_over_time({selected}[{window}]) > 2"
        if times := await prometheus.query(f"max({often})"):
            fallen[name] = times[0].value
    return fallen


async def _without(prometheus: Prometheus, source: Source, counters: Collection[str], window: str) -> tuple[str, ...]:
    """The instances that were up all the time and give none of the counters."""
    up = f"up{source.selector}"
    lasting = f"{up} == 1 and {up} offset {window} == 1 and min_over_time({up}[{window}]) == 1"
    lacking = " ".join(f"unless on (job, instance) {selected}" for selected in counters)
    # Of jobs that have the counter: a selector may be of a namespace in which others are no services.
    of_jobs = " or ".join(f"({lasting} and on (job) {selected})" for selected in counters)
    found = await prometheus.query(f"({of_jobs}) {lacking}")
    return tuple(sorted({sample.labels.get("instance", "") for sample in found}))


async def _names(
    prometheus: Prometheus, source: Source, limits: SeriesLimits, wanted: Sequence[str]
) -> tuple[dict[str, str], frozenset[tuple[str, str]]]:
    """Which of the wanted metrics exist, and the values of their labels for the status of a response."""
    every = "|".join(re.escape(name) for names in wanted for name in names.split("|"))
    selected = _where(source, f"__name__=~{_quoted(every)}")
    # Only newer servers take names with dots, and have them.
    plain = [label for label in limits.status_labels if label_name(label) == label]
    dotted = [label_name(label) for label in limits.status_labels if label not in plain]
    series = await prometheus.query(f"count by ({', '.join(('__name__', *plain))}) ({selected})")
    if dotted and any("." in sample.labels.get("__name__", "") for sample in series):
        series += await prometheus.query(f"count by ({', '.join(('__name__', *dotted))}) ({selected})")
    names = {sample.labels.get("__name__", "") for sample in series}
    found = {
        alternatives: next(name for name in alternatives.split("|") if name in names)
        for alternatives in wanted
        if names & set(alternatives.split("|"))
    }
    chosen = [sample.labels for sample in series if sample.labels.get("__name__") in found.values()]
    return found, frozenset(pair for labels in chosen for pair in labels.items() if pair[0] != "__name__")


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
    window = _window(limits)
    grown = await asyncio.gather(
        *(_sum(prometheus, f"sum(increase({{0}}[{window}]))", selected) for selected in counters)
    )
    sums: dict[tuple[str, str], float] = {}
    for selected in counters:
        for sample in await _numbers(prometheus, "sum by (instance) ({0})", selected):
            if (instance := sample.labels.get("instance")) and not math.isnan(sample.value):
                sums[selected, instance] = sample.value
    while looks and now - looks[0][0] > limits.window:
        looks.popleft()
    # An instance that was not there before may have counted long ago: what it has proves nothing.
    since = max(
        (value - earlier[key] for _, earlier in looks for key, value in sums.items() if key in earlier), default=0.0
    )
    if not looks or now - looks[-1][0] >= limits.window / _MOST_LOOKS:
        looks.append((now, sums))
    return max(math.fsum(grown), since, 0.0)


async def _traffic(prometheus: Prometheus, source: Source, limits: SeriesLimits, now: datetime) -> tuple[bool, bool]:
    """Whether there was traffic within the window, and whether that was only seen just now."""
    assert source.traffic is not None
    late = min(_LATEST, limits.window / 5)
    now_seen, seen_before = [await prometheus.query(source.traffic, at) for at in (None, now - late)]
    if not _flows(now_seen) and not any(sample.value <= 0 for sample in now_seen):
        raise ProbeError(
            f"Option traffic of {source.name} gives {'no number' if now_seen else 'nothing'}, so whether there was traffic was not "
            "seen.",
            Reason.MISSING,
        )
    if _flows(now_seen) and (_flows(seen_before) or not seen_before):
        return True, False
    # At each of these moments the expression is about a time within the window, and together about all of it.
    back = _looks_back(source.traffic, limits)
    span = limits.window - late - back
    parts = min(_MOST_MOMENTS, math.ceil(span / back)) if span > timedelta(0) else -1
    for part in range(parts + 1):
        if _flows(await prometheus.query(source.traffic, now - late - span * part / parts)):
            return True, False
    return _flows(now_seen), True


def _flows(samples: Iterable[Sample]) -> bool:
    return any(sample.value > 0 for sample in samples)


def _looks_back(expr: str, limits: SeriesLimits) -> timedelta:
    """Over how long an expression looks at most; five minutes, as far as Prometheus looks, where it takes no range."""
    try:
        nodes = [*nodes_of(parse(expr))]
    except ProbeError:  # newer than what is parsed here
        return limits.window
    lengths = (getattr(node, "range", None) for node in nodes)
    return max((length for length in lengths if isinstance(length, timedelta)), default=timedelta(minutes=5))


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
