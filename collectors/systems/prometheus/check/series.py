"""Whether the metrics of something really arrive in Prometheus: present, fresh, and counting while there is something to count."""

from __future__ import annotations

import asyncio
import math
import re
from collections import deque
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from collectors.shared.clients import SELECTOR
from collectors.systems.prometheus.client import NativeHistogram, Prometheus, Sample
from exporter.options import Duration, Options, format_duration
from exporter.verdict import ProbeError, Result, failed, ok, unknown

__all__ = ["Counted", "Limits", "Looks", "Seen", "Source", "judge_series", "look_at"]

Names = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z_:][\w:.]*(\|[a-zA-Z_:][\w:.]*)*$")]
"""Names of one metric, the preferred one first: `http_requests_total|http_request_duration_seconds_count`."""


class Source(Options):
    """Something that gives metrics. Of names that are separated by `|` the first counts that exists."""

    name: str = Field(min_length=1, description="What sentences call it.")
    selector: str = Field(pattern=SELECTOR, description='Labels of its series, such as {job="api"}.')
    counters: tuple[Names, ...] = Field(
        (), description="Counters and histograms that must be there, and of which one at least must grow."
    )
    gauges: tuple[Names, ...] = Field((), description="Metrics that must be there.")
    health: Names | None = Field(
        None, description="Metric that is 1 while the exporter reaches what it tells of; judged where it exists."
    )
    traffic: str | None = Field(
        None,
        pattern=r"\S",
        description="PromQL whose value is above 0 while there is something to count, for quiet times: "
        "without it counters that stand still are `unknown`.",
    )

    @model_validator(mode="after")
    def _named(self) -> Self:
        if not self.counters and not self.gauges:
            raise ValueError("expected `counters` or `gauges`")
        return self


class Limits(Options):
    """Limits of the section."""

    window: Duration = Field(
        timedelta(minutes=15), gt=timedelta(0), description="Time in which counters must have grown."
    )
    max_sample_age: Duration = Field(
        timedelta(minutes=5), gt=timedelta(0), description="Age from which a sample is too old."
    )
    status_labels: tuple[str, ...] = Field(
        ("code", "status", "status_code", "http_status_code", "http_response_status_code", "status_class"),
        description="Labels that may hold the status of an HTTP response, such as 200 or 2xx.",
    )


@dataclass(slots=True)
class Seen:
    """What Prometheus has of a source. `found` has the name of each wanted metric that exists, by what was wanted.

    `ages` are those of the newest samples, in seconds. `growth` is that of all counters within the window, None without any.
    """

    found: Mapping[str, str]
    statuses: frozenset[str] = frozenset()
    ages: Mapping[str, float] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    healthy: bool | None = None
    growth: float | None = None
    traffic: bool | None = None
    marked: bool = False
    """Whether a marker was sent, which had to be counted."""


_MOST_LOOKS = 60

Counted = tuple[datetime, Mapping[str, float]]
Looks = MutableMapping[str, deque[Counted]]
"""The sums of a source's counters at earlier looks, by instance. `increase` does not see a series begin; two looks do.

Of a long window only some are kept.
"""


async def look_at(prometheus: Prometheus, source: Source, limits: Limits, looks: deque[Counted], now: datetime) -> Seen:
    """Ask Prometheus for what a source gives. Raises ProbeError when it does not tell, or has scraped nothing at all yet."""
    wanted = (*source.counters, *source.gauges)
    found, statuses = await _names(prometheus, source, limits, wanted)
    if len(found) < len(wanted):
        if not await prometheus.query("count(up)"):
            raise ProbeError("Prometheus has no series up: it has scraped nothing yet, or keeps it elsewhere.")
        return Seen(found)
    counters = [_select(source, found[names]) for names in source.counters]
    ages = {name: await _age(prometheus, _select(source, name)) for name in found.values()}
    gauges = [found[names] for names in source.gauges]
    # A number equals itself, NaN does not.
    numbers = {name: await _sum(prometheus, "count({0} == {0})", _select(source, name)) for name in gauges}
    seen = Seen(found, statuses, ages, numbers)
    seen.healthy = await _healthy(prometheus, source)
    if counters:
        seen.growth = await _growth(prometheus, counters, limits, looks, now)
        if not seen.growth and source.traffic is not None:
            seen.traffic = await _traffic(prometheus, source)
    return seen


async def _names(
    prometheus: Prometheus, source: Source, limits: Limits, wanted: Sequence[str]
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
    prometheus: Prometheus, counters: Sequence[str], limits: Limits, looks: deque[Counted], now: datetime
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
        raise ProbeError(f"Option traffic of {source.name} gives nothing, so whether there was traffic was not seen.")
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


_STATUS = re.compile(r"[1-5](?:\d\d|xx|XX)")


def judge_series(source: Source, seen: Seen, limits: Limits, *, responses: bool = False) -> Result:
    """Whether what was seen of a source is all there, fresh and counting; with `responses`, whether a status can be told."""
    where = f"{source.name} ({source.selector})"
    if lacking := [names for names in (*source.counters, *source.gauges) if names not in seen.found]:
        return failed(f"Prometheus has no series {' and '.join(lacking)} of {where}.")
    oldest = max(seen.ages, key=seen.ages.__getitem__)
    age, limit = seen.ages[oldest], limits.max_sample_age
    if not age <= limit.total_seconds():
        return failed(f"The newest sample of {oldest} of {where} is {age:.0f} s old (limit {format_duration(limit)}).")
    if seen.healthy is False:
        return failed(f"{source.health} of {where} is not 1: the exporter does not reach what it tells of.")
    if empty := [name for name, count in seen.numbers.items() if not count]:
        return failed(f"{' and '.join(empty)} of {where} is no number.")
    if responses and not any(map(_STATUS.fullmatch, seen.statuses)):
        labels = ", ".join(limits.status_labels)
        return failed(
            f"{oldest} of {where} has no status in any of its labels ({labels}): errors cannot be told by it."
        )
    return _counting(source, seen, limits)


def _counting(source: Source, seen: Seen, limits: Limits) -> Result:
    told, window, age = ", ".join(seen.found.values()), format_duration(limits.window), max(seen.ages.values())
    if seen.growth is None:
        return ok(f"{source.name}: {told} is {age:.0f} s old.", sample_age_seconds=age)
    if seen.growth > 0:
        grown = f"grew by {seen.growth:.0f} within {window}"
        return ok(f"{source.name}: {told} is {age:.0f} s old and {grown}.", sample_age_seconds=age)
    still = f"{told} of {source.name} did not grow within {window}"
    if seen.marked:
        return failed(f"{still}, nor by a marker request that was answered.", sample_age_seconds=age)
    if seen.traffic is None:
        return unknown(
            f"{still}; whether there was anything to count was not seen, as option traffic is not set.",
            sample_age_seconds=age,
        )
    if seen.traffic:
        return failed(f"{still}, while {source.traffic} tells of traffic.", sample_age_seconds=age)
    return ok(
        f"{source.name}: {told} is {age:.0f} s old; there was no traffic within {window}.", sample_age_seconds=age
    )
