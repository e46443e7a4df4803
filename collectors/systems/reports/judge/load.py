"""Whether a load test proves that a system bears the load."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import timedelta

from pydantic import Field

from collectors.shared.urls import plain_url
from collectors.systems.reports.model.report import Load, Report
from exporter.options import Duration, Options
from exporter.verdict import Reason, Result, failed, unknown
from exporter.words import counted, format_length, listed

__all__ = ["LoadLimits", "comparison_problems", "is_same_run", "load_figures", "load_problems", "scaling_problems"]

_RESOLUTION = 0.005
"""Tools round to milliseconds, so that a regression of less, in seconds, is none."""
_SAME_LOAD = 0.8
"""A run with less than this share of the baseline's request rate is faster because it was idler."""


class LoadLimits(Options):
    """What a load test must have done, and how well."""

    load_targets: tuple[str, ...] = Field(
        (),
        description="Addresses that a load test must have been run against, such as https://shop.example.com; any by default.",
    )
    min_requests: int = Field(1000, ge=1, description="Minimum number of requests of a load test.")
    min_duration: Duration = Field(
        timedelta(minutes=10), gt=timedelta(0), description="Minimum duration of a load test."
    )
    max_error_ratio: float = Field(0.01, ge=0, le=1, description="Maximum share of failed requests (0 to 1).")
    max_p95: Duration = Field(
        timedelta(seconds=1), gt=timedelta(0), description="Maximum 95th percentile of the successful requests."
    )


def load_figures(report: Report) -> dict[str, float]:
    """The measurements of a load test."""
    load = _load(report)
    figures = {"load_requests": float(load.requests), "load_error_ratio": load.error_ratio}
    if load.p95 is not None:
        figures["load_p95_seconds"] = load.p95
    return figures


def load_problems(report: Report, limits: LoadLimits) -> Iterator[Result]:
    """What speaks against a load test: the errors before the percentile, as refused requests are fast."""
    load, test = _load(report), f"The load test of {report.target}"
    if report.exit_code:
        yield failed(f"{test} by {report.format} ended with exit code {report.exit_code} (0 wanted).")
    if load.broken:
        yield failed(f"{test} broke the thresholds {listed(load.broken)}.", reason=Reason.LIMIT)
    if load.requests and load.error_ratio > limits.max_error_ratio:
        yield failed(
            f"{test} had {counted(load.errors, 'error')} in {counted(load.requests, 'request')} "
            f"({load.error_ratio:.2%}, at most {limits.max_error_ratio:.2%}).",
            reason=Reason.LIMIT,
        )
    elif load.failing:
        yield failed(f"{test} had no successful answer to {listed(load.failing)}.", reason=Reason.UNMET)
    if (
        load.error_ratio <= limits.max_error_ratio
        and load.p95 is not None
        and load.p95 > limits.max_p95.total_seconds()
    ):
        yield failed(
            f"{test} had a 95th percentile of {_milliseconds(load.p95)} "
            f"(at most {_milliseconds(limits.max_p95.total_seconds())}).",
            reason=Reason.LIMIT,
        )
    others = [
        site for site in sorted(report.places) or [report.target or ""] if not _is_one_of(site, limits.load_targets)
    ]
    if limits.load_targets and others:
        yield unknown(
            f"{test} requested {listed(others)}, which is not among {listed(limits.load_targets)} (`load_targets`).",
            reason=Reason.CONTRADICTED,
        )
    for problem in report.problems:
        yield unknown(f"{test} is not complete: {problem}.", reason=Reason.INVALID)
    if load.requests < limits.min_requests:
        yield unknown(
            f"{test} made {counted(load.requests, 'request')} (at least {limits.min_requests} wanted).",
            reason=Reason.MISSING,
        )
    if load.duration is None or load.duration < limits.min_duration:
        lasted = "did not say how long it lasted" if load.duration is None else f"lasted {format_length(load.duration)}"
        yield unknown(f"{test} {lasted} (at least {format_length(limits.min_duration)} wanted).", reason=Reason.MISSING)
    if load.requests and (load.p95 is None or load.p95 < 0) and load.errors < load.requests:
        yield unknown(f"{test} has no percentile of its successful requests.", reason=Reason.MISSING)


def is_same_run(one: Report, other: Report) -> bool:
    """Whether two files are about one run, as the JSON and the CSV of a tool are: their percentiles may be rounded otherwise."""
    this, that = _load(one), _load(other)
    if (one.target, this.requests, this.errors) != (other.target, that.requests, that.errors):
        return False
    at_once = one.finished and other.finished and abs(one.finished - other.finished) < timedelta(minutes=1)
    return bool(at_once) and math.isclose(this.p95 or 0, that.p95 or 0, rel_tol=0.05)


def comparison_problems(latest: Report, baseline: Report, most: float) -> Iterator[Result]:
    """Whether the latest run is slower than its baseline by more than a factor; only a run of the same scenario can be compared."""
    now, then = _load(latest), _load(baseline)
    if other := list(_unlike(latest, baseline)):
        yield from other
        return
    if latest.finished and baseline.finished and latest.finished < baseline.finished:
        yield unknown("The latest load test is older than its baseline.", reason=Reason.CONTRADICTED)
        return
    if now.scenario != then.scenario:
        yield unknown(
            f"The latest load test requested {listed(sorted(now.scenario))}, its baseline "
            f"{listed(sorted(then.scenario))}, so they were not compared.",
            reason=Reason.CONTRADICTED,
        )
        return
    if now.p95 is None or then.p95 is None or now.rate is None or then.rate is None:
        yield unknown("The latest load test or its baseline has no percentile or no rate.", reason=Reason.MISSING)
        return
    if now.p95 > max(then.p95 * most, then.p95 + _RESOLUTION):
        yield failed(
            f"The latest load test had a 95th percentile of {_milliseconds(now.p95)}, its baseline of "
            f"{_milliseconds(then.p95)} (at most {most:g} times that).",
            reason=Reason.LIMIT,
        )
    if now.rate < then.rate * _SAME_LOAD:
        yield unknown(
            f"The latest load test made {now.rate:.3g} requests/s, its baseline {then.rate:.3g}, so they were not compared.",
            reason=Reason.CONTRADICTED,
        )


def scaling_problems(run: Report, baseline: Report, factor: float) -> Iterator[Result]:
    """Whether a run bore so many times the rate of the baseline, over the same scenario."""
    more, base = _load(run), _load(baseline)
    if other := list(_unlike(run, baseline)):
        yield from other
    elif more.scenario != base.scenario:
        yield unknown(
            f"The run requested {listed(sorted(more.scenario))}, the baseline {listed(sorted(base.scenario))}, "
            "so they were not compared.",
            reason=Reason.CONTRADICTED,
        )
    elif more.rate is None or base.rate is None:
        yield unknown("The run or its baseline has no rate.", reason=Reason.MISSING)
    elif more.rate < base.rate * factor:
        yield failed(
            f"The run made {more.rate:.3g} requests/s, the baseline {base.rate:.3g} (at least {factor:g} times that wanted).",
            reason=Reason.LIMIT,
        )


def _unlike(run: Report, baseline: Report) -> Iterator[Result]:
    """Numbers of two systems are not compared."""
    if (run.target or "").rstrip("/") != (baseline.target or "").rstrip("/"):
        yield unknown(
            f"The load test was run against {run.target}, its baseline against {baseline.target}, so they were not compared.",
            reason=Reason.CONTRADICTED,
        )


def _load(report: Report) -> Load:
    assert report.load is not None
    return report.load


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def _is_one_of(target: str, wanted: Sequence[str]) -> bool:
    """Whether it is one of these addresses or below it."""

    def folder(address: str) -> str:
        return plain_url(address if "://" in address else f"//{address}").rstrip("/") + "/"

    return any(folder(target).startswith(folder(each)) for each in wanted)
