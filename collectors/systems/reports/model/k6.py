"""k6's summaries in three shapes: that of `handleSummary`, that of `--summary-export`, in which a threshold is true when it is
broken, and the machine-readable one of k6 1.5 and later, which has no thresholds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec

from collectors.systems.reports.model.report import Kind, Load, Report, decoded, malformed, moment
from exporter.words import counted

__all__ = ["read_k6", "read_k6_summary"]

_FEW = 0.01
"""Which share of the iterations k6 may drop, as some are while it adds virtual users."""
_DURATION = "http_req_duration"
_SUCCESSES = "http_req_duration{expected_response:true}"
_PERCENTILE = re.compile(r"p\((\d{2}(?:\.\d{1,6})?)\)")
_KNOWN_VERSION = re.compile(r"1\.")

Metrics = Mapping[str, Mapping[str, Any]]


class _State(msgspec.Struct):
    duration: float = msgspec.field(name="testRunDurationMs", default=0)


class _Summary(msgspec.Struct):
    metrics: dict[str, dict[str, Any]]
    state: _State | None = None


class _Metric(msgspec.Struct):
    name: str
    values: dict[str, Any] = {}


class _Checks(msgspec.Struct):
    metrics: list[_Metric] | None = None


class _Results(msgspec.Struct):
    metrics: list[_Metric]
    checks: _Checks | None = None


class _Config(msgspec.Struct):
    duration: float = 0


class _Metadata(msgspec.Struct):
    version: str = msgspec.field(name="k6Version", default="")
    generated: str = msgspec.field(name="generatedAt", default="")


class _MachineReadable(msgspec.Struct):
    version: str
    metadata: _Metadata
    config: _Config
    results: _Results


def read_k6(content: bytes) -> Report:
    """Counts, the percentile of the successes where the file has it, and broken thresholds. It has no times and no target.

    Raises ProbeError for another format.
    """
    read = decoded(content, _Summary, "k6", "summary")
    seconds = read.state.duration / 1000 if read.state else _seconds(read.metrics)
    return _report(read.metrics, seconds, broken=_broken(read.metrics))


def read_k6_summary(content: bytes) -> Report:
    """The same from the machine-readable summary, with when it was written. What became of the thresholds is not in it.

    Raises ProbeError for another format.
    """
    read = decoded(content, _MachineReadable, "k6", "machine-readable summary")
    if not _KNOWN_VERSION.match(read.version):
        raise malformed("k6", "its schema has another version than 1")
    checks = read.results.checks.metrics if read.results.checks else None
    metrics = {metric.name: metric.values for metric in (*read.results.metrics, *(checks or ()))}
    tool = f"k6 {read.metadata.version}".strip()
    return _report(metrics, read.config.duration, tool=tool, finished=read.metadata.generated)


def _report(
    metrics: Metrics, seconds: float, *, broken: tuple[str, ...] | None = None, tool: str = "", finished: str = ""
) -> Report:
    requests = round(_value(metrics, "http_reqs", "count") or 0)
    rate = _value(metrics, "http_req_failed", "rate", "value")
    if requests < 0 or (rate is not None and not 0 <= rate <= 1):
        raise malformed("k6", "its numbers of requests and failures are impossible")
    errors = round(requests * (rate or 0))
    checked = _checked(metrics)
    if checked is not None:  # a login page answers 200, too
        errors = max(errors, round(requests * (1 - checked)))
    problems = []
    if rate is None and checked is None and requests:
        problems.append("it did not count failed requests (http_req_failed)")
    dropped = round(_value(metrics, "dropped_iterations", "count") or 0)
    done = round(_value(metrics, "iterations", "count") or 0)
    if dropped > _FEW * (dropped + done):
        problems.append(f"{counted(dropped, 'iteration')} could not be started, so there was less load than wanted")
    p95 = _percentile(metrics, _SUCCESSES)
    if p95 is None:
        p95 = _value(metrics, _DURATION, "max") if errors else _percentile(metrics, _DURATION)
    return Report(
        "k6",
        Kind.LOAD,
        tool=tool,
        finished=moment(finished),
        examined=requests,
        problems=tuple(problems),
        load=Load(
            requests,
            errors,
            duration=timedelta(seconds=seconds) if 0 < seconds < 1e9 else None,
            p95=None if p95 is None or errors == requests else p95 / 1000,
            broken=broken,
        ),
    )


def _seconds(metrics: Metrics) -> float:
    """How long the run was, by a number and its rate per second; 0 where neither is there. `--summary-export` has no duration."""
    for name in ("http_reqs", "iterations"):
        count, rate = _value(metrics, name, "count"), _value(metrics, name, "rate")
        if count and rate:
            return count / rate
    return 0


def _checked(metrics: Metrics) -> float | None:
    """The share of the checks that passed, None where the script made none: the machine-readable summary then has a share of 0."""
    for name in ("checks", "checks_succeeded"):
        share = _value(metrics, name, "rate", "value")
        if share is not None and 0 <= share <= 1 and _value(metrics, name, "total") != 0:
            return share
    return None


def _percentile(metrics: Metrics, metric: str) -> float | None:
    """The 95th percentile, else the next higher one that `summaryTrendStats` asked for."""
    names = _values(metrics, metric)
    shares = sorted((float(found[1]), name) for name in names if (found := _PERCENTILE.fullmatch(name)))
    return next((_value(metrics, metric, name) for share, name in shares if share >= 95), None)


def _values(metrics: Metrics, metric: str) -> Mapping[str, Any]:
    found = metrics.get(metric, {})
    values = found.get("values")
    return values if isinstance(values, dict) else found


def _value(metrics: Metrics, metric: str, *names: str) -> float | None:
    values = _values(metrics, metric)
    for name in names:
        value = values.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    return None


def _broken(metrics: Metrics) -> tuple[str, ...] | None:
    """The thresholds that are broken; None where there are none at all."""
    seen, broken = False, []
    for name, metric in metrics.items():
        thresholds = metric.get("thresholds")
        for condition, outcome in thresholds.items() if isinstance(thresholds, dict) else ():
            seen = True
            ok = outcome.get("ok") is True if isinstance(outcome, dict) else outcome is False
            if not ok:
                broken.append(f"{name}: {condition}")
    return tuple(broken) if seen else None
