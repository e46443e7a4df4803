"""k6's summaries, in the two shapes that have thresholds; in that of `--summary-export` a threshold is true when it is broken."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec

from collectors.systems.reports.model.report import Kind, Load, Report, malformed
from exporter.words import counted

__all__ = ["read_k6"]

_FEW = 0.01
"""Which share of the iterations k6 may drop, as some are while it adds virtual users."""
_DURATION = "http_req_duration"
_SUCCESSES = "http_req_duration{expected_response:true}"


class _State(msgspec.Struct):
    duration: float = msgspec.field(name="testRunDurationMs", default=0)


class _Summary(msgspec.Struct):
    metrics: dict[str, dict[str, Any]]
    state: _State | None = None


def read_k6(content: bytes) -> Report:
    """Counts, the percentile of the successes where the file has it, and broken thresholds. It has no times and no target.

    Raises ProbeError for another format.
    """
    try:
        read = msgspec.json.decode(content, type=_Summary)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise malformed("k6", "it does not have the fields of a summary of k6") from None
    requests = round(_value(read.metrics, "http_reqs", "count") or 0)
    rate = _value(read.metrics, "http_req_failed", "rate", "value")
    if requests < 0 or (rate is not None and not 0 <= rate <= 1):
        raise malformed("k6", "its numbers of requests and failures are impossible")
    errors = requests if rate is None else round(requests * rate)
    checked = _value(read.metrics, "checks", "rate", "value")  # the share that passed: a login page answers 200, too
    if checked is not None and 0 <= checked <= 1:
        errors = max(errors, round(requests * (1 - checked)))
    p95 = _value(read.metrics, _SUCCESSES, "p(95)")
    if p95 is None:
        p95 = _value(read.metrics, _DURATION, "max" if errors else "p(95)")
    seconds = read.state.duration / 1000 if read.state and 0 < read.state.duration < 1e12 else 0
    dropped = round(_value(read.metrics, "dropped_iterations", "count") or 0)
    done = round(_value(read.metrics, "iterations", "count") or 0)
    problems = []
    if dropped > _FEW * (dropped + done):
        problems.append(f"{counted(dropped, 'iteration')} could not be started, so there was less load than wanted")
    return Report(
        "k6",
        Kind.LOAD,
        examined=requests,
        problems=tuple(problems),
        load=Load(
            requests,
            errors,
            duration=timedelta(seconds=seconds) if seconds else None,
            p95=None if p95 is None or errors == requests else p95 / 1000,
            broken=_broken(read.metrics),
        ),
    )


def _value(metrics: Mapping[str, Mapping[str, Any]], metric: str, *names: str) -> float | None:
    found = metrics.get(metric, {})
    values = found.get("values") if isinstance(found.get("values"), dict) else found
    assert values is not None
    for name in names:
        value = values.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    return None


def _broken(metrics: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...] | None:
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
