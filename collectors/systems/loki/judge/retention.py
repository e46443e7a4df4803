"""Whether logs are kept for as long as they should be, and no longer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from collectors.shared.verdicts import verdict
from collectors.systems.loki.model.limits import LogLimits
from collectors.systems.loki.model.retention import Retention
from exporter.options import format_duration
from exporter.verdict import Reason, Result, failed, ok

__all__ = ["judge_retention"]


def judge_retention(retention: Retention, limits: LogLimits, source: str) -> Result:
    """Whether logs are deleted, neither too early nor too late; `source` says where the configuration was read."""
    wanted = f"{format_duration(limits.min_retention)} to {format_duration(limits.max_retention)}"
    measured: dict[str, Any] = {"retention_seconds": retention.period.total_seconds()} if retention.deleter else {}
    good = ok(
        f"{retention.deleter} deletes logs after {format_duration(retention.period)} (wanted {wanted}; {source}).",
        **measured,
    )
    return verdict(_retention_problems(retention, limits, source), good)


def _retention_problems(retention: Retention, limits: LogLimits, source: str) -> Iterator[Result]:
    if not retention.deleter:
        ignored = ""
        if retention.period:
            ignored = f": limits_config.retention_period ({format_duration(retention.period)}) is ignored"
        yield failed(
            f"Loki deletes no logs, as compactor.retention_enabled is not true{ignored} ({source}).",
            reason=Reason.MISCONFIGURED,
        )
        return
    if retention.undeletable:
        yield failed(
            f"The compactor deletes nothing from an index of the type {retention.undeletable} ({source}).",
            reason=Reason.MISCONFIGURED,
        )
        return
    yield from _length_problems(f"{retention.deleter} keeps logs", retention.period, limits, source)
    for kept in retention.exceptions:
        yield from _length_problems(kept.what, kept.length, limits, source)


def _length_problems(what: str, length: timedelta, limits: LogLimits, source: str) -> Iterator[Result]:
    if not length:
        yield failed(f"{what} for ever, as its period is 0 ({source}).", reason=Reason.MISCONFIGURED)
    elif length < limits.min_retention:
        yield failed(
            f"{what} for {format_duration(length)} (wanted {format_duration(limits.min_retention)} at least; {source}).",
            reason=Reason.LIMIT,
        )
    elif length > limits.max_retention:
        yield failed(
            f"{what} for {format_duration(length)} (limit {format_duration(limits.max_retention)}; {source}).",
            reason=Reason.LIMIT,
        )
