"""Whether traces arrive in Jaeger."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import timedelta

from exporter.options import format_duration
from exporter.verdict import Reason, Result, failed, unknown, warning
from exporter.words import listed

__all__ = ["lost_marker", "trace_problems", "untraced"]


def trace_problems(service: str, window: timedelta, services: Collection[str], *, recent: bool) -> Iterator[Result]:
    """Whether Jaeger has traces of a service at all (of `services`, it may be days ago), and of the last time (`recent`)."""
    if service not in services:
        near = [name for name in services if name.strip().casefold() == service.strip().casefold()]
        but = f", but of {listed(sorted(map(repr, near)))}" if near else ""
        yield failed(f"Jaeger has no traces of {service}{but}.", reason=Reason.MISSING)
    elif not recent:
        yield failed(f"Jaeger has no trace of {service} from the last {format_duration(window)}.", reason=Reason.STALE)


def lost_marker(wait: timedelta, arrived: Collection[str]) -> Result:
    """The verdict on a marker trace that the collector took and that was not found within `wait`.

    Where traces of services `arrived` in that time, the collector works: it keeps what it samples.
    """
    lost = f"The collector took a marker trace, but Jaeger did not have it within {format_duration(wait)}"
    if arrived:
        return warning(f"{lost}, while it got traces of {listed(arrived)}: the collector may sample.")
    return failed(f"{lost}.", reason=Reason.DOWN)


def untraced() -> Result:
    """The verdict where a marker trace arrived in a Jaeger that has no traces of any service."""
    return unknown(
        "A marker trace went from the collector to Jaeger, which has no traces of any other service, and option trace_services is "
        "empty.",
        reason=Reason.NOT_CONFIGURED,
    )
