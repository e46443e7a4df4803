"""Whether round trips came back as they were sent, in time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from collectors.systems.canary.model import CacheTrip, QueueTrip, Refusal, RowTrip, Unwritten
from exporter.options import format_duration
from exporter.verdict import ProbeError, Reason, Result, failed, unknown, unobserved

__all__ = ["cache_problems", "queue_problems", "row_problems", "unwritten"]

#: What Redis answers while it does not take writes, and why.
_REFUSES = {
    "READONLY": ("is a replica, which takes no writes", Reason.DOWN),
    "OOM": ("has reached maxmemory and evicts nothing that would make room (OOM)", Reason.LIMIT),
    "MISCONF": ("cannot save its data and takes no writes (MISCONF)", Reason.DOWN),
    "NOREPLICAS": ("has fewer replicas than min-replicas-to-write and takes no writes (NOREPLICAS)", Reason.DOWN),
    "CLUSTERDOWN": ("is a node of a cluster that is down (CLUSTERDOWN)", Reason.DOWN),
    "MASTERDOWN": ("is a replica without its master (MASTERDOWN)", Reason.DOWN),
    "LOADING": ("is still loading its data (LOADING)", Reason.DOWN),
    "BUSY": ("is held up by a script (BUSY)", Reason.DOWN),
}


def unwritten(why: ProbeError) -> Result:
    """What it means that a round trip could not be made: `failed` where the server was observed not to do it."""
    return failed(str(why), reason=why.reason) if isinstance(why, Unwritten) else unobserved(why)


def _slow(what: str, seconds: float, limit: timedelta) -> Iterator[Result]:
    if seconds > limit.total_seconds():
        yield failed(
            f"{what} took {seconds:.3g} s to write and read back (option `max_latency`: {format_duration(limit)}).",
            reason=Reason.LIMIT,
        )


def row_problems(
    trips: Sequence[RowTrip | ProbeError], nonce: str, max_latency: timedelta, max_lag: timedelta
) -> Iterator[Result]:
    """What is wrong with the rows of a primary and its standbys."""
    found = [trip for trip in trips if isinstance(trip, RowTrip)]
    refused = [trip for trip in trips if isinstance(trip, ProbeError)]
    primaries = [trip for trip in found if not trip.standby]
    for trip in primaries:
        if trip.read != nonce:
            yield failed(
                f"PostgreSQL at {trip.where} does not give back the row that it has just committed.",
                reason=Reason.CONTRADICTED,
            )
        for text in trip.warnings:
            yield failed(f"PostgreSQL at {trip.where} committed a row with a warning: {text}.", reason=Reason.DOWN)
        yield from _slow(f"A row of PostgreSQL at {trip.where}", trip.seconds, max_latency)
    for trip in found:
        if trip.standby and not primaries:
            if not refused:
                yield failed(
                    f"PostgreSQL at {trip.where} is a standby, which takes no writes, and no primary is configured beside it.",
                    reason=Reason.DOWN,
                )
        elif trip.standby and trip.read != nonce:
            yield failed(
                f"The standby at {trip.where} does not have a row {format_duration(max_lag)} after it was committed "
                "(option `max_lag`).",
                reason=Reason.LIMIT,
            )
    yield from sorted(map(unwritten, refused), key=lambda result: result.status.value)  # failed, then unknown


def cache_problems(trips: Sequence[CacheTrip | ProbeError], nonce: str, max_latency: timedelta) -> Iterator[Result]:
    """What is wrong with the keys on one or several masters."""
    unseen = []
    for trip in trips:
        if isinstance(trip, Unwritten):
            yield unwritten(trip)
        elif isinstance(trip, ProbeError):
            unseen.append(unobserved(trip))
        elif isinstance(trip.written, Refusal):
            if refusal := _REFUSES.get(trip.written.code):
                yield failed(f"{trip.where} {refusal[0]}.", reason=refusal[1])
            else:
                unseen.append(_not_done(trip, "SET", trip.written))
        elif isinstance(trip.read, Refusal):
            unseen.append(_not_done(trip, "GET", trip.read))
        elif trip.written != "OK" or trip.read != nonce:
            yield failed(f"{trip.where} does not give back the key that it has just set.", reason=Reason.CONTRADICTED)
        elif isinstance(trip.left, int) and trip.left < 0:
            yield failed(f"{trip.where} keeps a key for ever that was set with a lifetime.", reason=Reason.CONTRADICTED)
        else:
            yield from _slow(f"A key of {trip.where}", trip.seconds, max_latency)
    yield from unseen


def _not_done(trip: CacheTrip, command: str, why: Refusal) -> Result:
    denied = why.code == "NOPERM"
    lacks = "the user lacks the right" if denied else f"the server answered {why.code}"
    return unknown(
        f"{command} of a key of one's own was not possible on {trip.where}: {lacks}.",
        reason=Reason.DENIED if denied else Reason.ERROR,
    )


def queue_problems(trip: QueueTrip, nonce: str, max_latency: timedelta) -> Iterator[Result]:
    """What is wrong with a message that was published and delivered."""
    if trip.delivered != nonce:
        yield failed(
            f"NATS {trip.where} delivers another message than the one that it has just stored.",
            reason=Reason.CONTRADICTED,
        )
    yield from _slow(f"A message of NATS {trip.where}", trip.seconds, max_latency)
