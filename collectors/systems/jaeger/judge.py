"""Whether traces arrive in Jaeger."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from exporter.options import format_duration
from exporter.verdict import Reason, Result, failed, ok

__all__ = ["judge_marker", "trace_problems"]


def trace_problems(service: str, window: timedelta, *, known: bool, recent: bool) -> Iterator[Result]:
    """Whether Jaeger has traces of a service at all (`known`: it may be days ago), and of the last time (`recent`)."""
    if not known:
        yield failed(f"Jaeger has no traces of {service}.", reason=Reason.MISSING)
    elif not recent:
        yield failed(f"Jaeger has no trace of {service} from the last {format_duration(window)}.", reason=Reason.STALE)


def judge_marker(seconds: float | None, wait: timedelta) -> Result:
    """Whether a marker trace that the collector took was found, after so many seconds (None: not within `wait`)."""
    if seconds is None:
        return failed(
            f"The collector took a marker trace, but Jaeger did not have it within {format_duration(wait)}.",
            reason=Reason.DOWN,
        )
    return ok("A marker trace went from the collector to Jaeger.", marker_seconds=seconds)
