"""Whether each server is healthy, and clients can use it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from collectors.systems.nats.model import Monitor, NatsLimits, Varz
from exporter.options import format_duration, format_seconds
from exporter.verdict import ProbeError, Reason, Result, failed, unknown, unobserved, warning
from exporter.words import counted

__all__ = [
    "callout_problems",
    "certificate_problems",
    "client_problems",
    "detection_problems",
    "health_problems",
    "slow_problems",
]

#: Share of a server's connections in use from which to warn.
_NEARLY_ALL = 0.9
#: How long a client that is gone may count as one that is there; by default it is six minutes.
_NOTICED = timedelta(hours=1)


def health_problems(monitor: Monitor) -> Iterator[Result]:
    """Whether a server calls itself healthy, and which of its documents could not be read."""
    if isinstance(monitor.ill, ProbeError):
        yield unobserved(monitor.ill)
    elif monitor.ill is not None:
        yield failed(f"NATS server {monitor.name} is not healthy: {monitor.ill}.", reason=Reason.DOWN)
    for document in (monitor.varz, monitor.routez):
        if isinstance(document, ProbeError):
            yield unobserved(document)


def client_problems(monitor: Monitor) -> Iterator[Result]:
    """Whether a server has room for another client: one at its limit closes new connections."""
    varz = monitor.varz
    if not isinstance(varz, Varz) or not varz.max_connections:
        return
    used = f"{varz.connections} of {counted(varz.max_connections, 'connection')} in use"
    if varz.connections >= varz.max_connections:
        yield failed(f"NATS server {monitor.name} refuses further clients: {used}.", reason=Reason.LIMIT)
    elif varz.connections >= _NEARLY_ALL * varz.max_connections:
        yield warning(f"NATS server {monitor.name} will soon refuse clients: {used}.")


def callout_problems(why: ProbeError | None) -> Iterator[Result]:
    """Whether a server lets in a client that its authentication callout has to accept; `why` is what it says against that.

    Those who are let in without a callout notice nothing when nobody answers it.
    """
    if why is None:
        return
    if why.reason is Reason.DENIED:
        yield failed(
            f"The client of `callout`, which the authentication callout has to let in, is refused: does its service answer? {why}",
            reason=Reason.DOWN,
        )
    else:
        yield unobserved(why)


def certificate_problems(monitor: Monitor, limits: NatsLimits) -> Iterator[Result]:
    """Whether the certificates that a server shows are valid for a while, by its own clock."""
    varz = monitor.varz
    if not isinstance(varz, Varz):
        return
    now = varz.now or datetime.now(UTC)
    for door, expiry in sorted(varz.expiries.items(), key=lambda pair: pair[1]):
        what = f"The certificate that NATS server {monitor.name} shows to its {door}"
        if expiry <= now:
            yield failed(f"{what} expired {format_seconds(now - expiry)} ago.", reason=Reason.EXPIRED)
        elif expiry - now <= limits.certificate_warn:
            yield warning(
                f"{what} expires in {format_seconds(expiry - now)} (limit {format_duration(limits.certificate_warn)})."
            )


def slow_problems(monitor: Monitor, before: tuple[str, int] | None) -> Iterator[Result]:
    """Whether consumers were cut off because they were too slow, since the look `before` (the server's start, their number)."""
    if not isinstance(monitor.varz, Varz):
        return
    count = monitor.varz.slow_consumers
    if before is not None and before[0] == monitor.varz.start:
        if (new := count - before[1]) > 0:
            cut = counted(new, "slow consumer")
            yield failed(
                f"NATS server {monitor.name} cut off {cut} since the last check (wanted none).", reason=Reason.LIMIT
            )
    elif count:
        yield unknown(
            f"NATS server {monitor.name} cut off {counted(count, 'slow consumer')} since it started; "
            "the next check shows whether there are new ones.",
            reason=Reason.PENDING,
        )


def detection_problems(monitor: Monitor) -> Iterator[Result]:
    """Whether a server notices soon that a client is gone without a word: until then it sends messages to nobody."""
    varz = monitor.varz
    if isinstance(varz, Varz) and (
        (late := timedelta(microseconds=varz.ping_interval / 1000) * (varz.ping_max + 1)) > _NOTICED
    ):
        yield warning(
            f"NATS server {monitor.name} may notice only after {format_duration(late)} that a client is gone "
            f"(ping_interval, ping_max; wanted within {format_duration(_NOTICED)})."
        )
