"""Asks Prometheus how much of what is attempted succeeds."""

from __future__ import annotations

import math

from collectors.shared.verdicts import verdict
from collectors.systems.prometheus.client import Prometheus
from collectors.systems.prometheus.judge.outcomes import outcome_problems
from collectors.systems.prometheus.model.outcomes import Growth, Outcomes
from exporter.options import format_duration
from exporter.verdict import Result, ok
from exporter.words import counted

__all__ = ["see_outcomes"]


async def see_outcomes(prometheus: Prometheus, options: Outcomes, what: str) -> Result:
    """Whether attempts (`what` is one, in words) are made and succeed. Raises ProbeError when Prometheus does not report it."""
    seconds = round(options.window.total_seconds())
    # Where Prometheus itself is younger than the window, series only seem to begin within it.
    known = bool(await prometheus.query(f"count(up offset {seconds}s)"))
    attempts = await _growth(prometheus, options.attempts, seconds, known=known)
    succeeded = await _growth(prometheus, options.succeeded, seconds, known=known)
    good = ok(
        f"{succeeded.added:.0f} of {counted(round(attempts.added), what)} within {format_duration(options.window)} succeeded.",
        attempts=attempts.added,
        failure_ratio=max(0.0, 1 - succeeded.added / attempts.added) if attempts.added else 0.0,
    )
    return verdict(outcome_problems(attempts, succeeded, options, what), good)


async def _growth(prometheus: Prometheus, counters: tuple[str, ...], seconds: int, *, known: bool) -> Growth:
    present, grown, added = False, 0.0, 0.0
    for counter in counters:
        present |= bool(await prometheus.query(f"count({counter})"))
        increase, before = f"increase({counter}[{seconds}s])", f"{counter} offset {seconds}s"
        growth = await _sum(prometheus, f"sum({increase})")
        grown += growth
        if not known:
            added += growth
            continue
        # `increase` does not see what a counter had when it was first scraped, such as the first failure of its kind.
        added += await _sum(prometheus, f"sum({increase} and {before})")
        added += await _sum(prometheus, f"sum(max_over_time({counter}[{seconds}s]) unless {before})")
    return Growth(present, grown, added)


async def _sum(prometheus: Prometheus, expression: str) -> float:
    return math.fsum(sample.value for sample in await prometheus.query(expression) if math.isfinite(sample.value))
