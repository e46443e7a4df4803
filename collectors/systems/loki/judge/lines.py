"""Whether log lines are structured and quiet enough."""

from __future__ import annotations

from datetime import timedelta

from collectors.systems.loki.model.levels import Levels
from collectors.systems.loki.model.limits import LogLimits
from collectors.systems.loki.model.lines import Structure
from exporter.options import format_duration
from exporter.verdict import Reason, Result, failed, ok, unknown
from exporter.words import counted

__all__ = ["judge_levels", "judge_structure"]


def judge_structure(service: str, seen: Structure, limits: LogLimits) -> Result:
    """Whether enough of a service's lines are structured."""
    if seen.lines < limits.min_sampled:
        return unknown(
            f"Only {counted(seen.lines, 'line')} of {service} could be sampled (wanted {limits.min_sampled}).",
            reason=Reason.LIMIT,
        )
    share = seen.structured / seen.lines
    counts = f"{seen.structured} of {seen.lines} sampled lines of {service} are structured, with timestamp, level and message"
    if share < limits.min_structured_ratio:
        others = ", ".join(f"{count} {lack}" for lack, count in seen.lacking.most_common())
        return failed(
            f"{counts} (limit {limits.min_structured_ratio:.0%}); {others}.",
            reason=Reason.LIMIT,
            structured_ratio=share,
        )
    return ok(f"{counts}.", structured_ratio=share)


def judge_levels(service: str, seen: Levels, limits: LogLimits, window: timedelta) -> Result:
    """Whether few enough lines of a service are of level debug or trace."""
    within = f"of the last {format_duration(window)}"
    if not seen.lines:
        return unknown(
            f"Loki has no line of {service} {within}, so their levels were not checked.", reason=Reason.MISSING
        )
    share = seen.debug / seen.lines
    counts = f"{seen.debug:.0f} of {seen.lines:.0f} lines of {service} {within} are of level debug or trace"
    if share > limits.max_debug_ratio:
        return failed(
            f"{counts}: {share:.1%} (limit {limits.max_debug_ratio:.1%}).", reason=Reason.LIMIT, debug_ratio=share
        )
    if seen.levelled < limits.min_levelled_ratio * seen.lines:
        return unknown(
            f"Only {seen.levelled:.0f} of {seen.lines:.0f} lines of {service} {within} have a recognizable level "
            f"(wanted {limits.min_levelled_ratio:.0%}).",
            reason=Reason.LIMIT,
            debug_ratio=share,
        )
    return ok(f"{counts} (limit {limits.max_debug_ratio:.1%}).", debug_ratio=share)
