"""Locust's `--json`: a list with an entry per request, which names neither its target nor how it ended."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import msgspec

from collectors.systems.reports.model.report import (
    ENOUGH,
    Kind,
    Load,
    Report,
    malformed,
    moment_of,
    weighted_percentile,
)

__all__ = ["read_locust"]


class _Entry(msgspec.Struct):
    name: str
    method: str | None = None
    start_time: float | None = None
    last_request_timestamp: float | None = None
    num_requests: int = 0
    num_failures: int = 0
    num_none_requests: int = 0
    response_times: dict[str, int] = {}
    num_reqs_per_sec: dict[str, int] = {}


def read_locust(content: bytes) -> Report:
    """Counts and percentiles over all entries. Failures are among the response times, so the fastest ones are left out.

    Raises ProbeError.
    """
    try:
        entries = msgspec.json.decode(content, type=list[_Entry])
        times: dict[float, int] = {}
        minutes = {int(second) // 60 for entry in entries for second, count in entry.num_reqs_per_sec.items() if count}
        for entry in entries:
            for value, count in entry.response_times.items():
                milliseconds = float(value)
                if not (math.isfinite(milliseconds) and milliseconds >= 0 and count >= 0):
                    raise malformed("Locust", "its response times are impossible")
                times[milliseconds] = times.get(milliseconds, 0) + count
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise malformed("Locust", "it does not have the fields of Locust's --json") from None
    if any(entry.num_requests < 0 or not 0 <= entry.num_failures <= entry.num_requests for entry in entries):
        raise malformed("Locust", "its numbers of requests and failures contradict each other")
    requests = sum(entry.num_requests for entry in entries)
    errors = sum(entry.num_failures for entry in entries)
    started = moment_of(min((entry.start_time for entry in entries if entry.start_time), default=None))
    ended = moment_of(max((entry.last_request_timestamp or 0 for entry in entries), default=None))
    p95 = weighted_percentile(times.items(), 0.95, slower_than=min(errors, sum(times.values())))
    if sum(times.values()) + sum(entry.num_none_requests for entry in entries) < requests:
        p95 = None  # some of the times are missing, which may be the slow ones
    return Report(
        "Locust",
        Kind.LOAD,
        started=started,
        finished=ended,
        examined=requests,
        load=Load(
            requests,
            errors,
            duration=_duration(started, ended, len(minutes)),
            p95=None if p95 is None else p95 / 1000,
            scenario=frozenset(map(_name, entries)),
            failing=tuple(_name(entry) for entry in entries if ENOUGH <= entry.num_requests == entry.num_failures),
        ),
    )


def _duration(started: datetime | None, ended: datetime | None, minutes: int) -> timedelta | None:
    """How long there was load: a pause between two waves is none. `minutes` had requests; 0 where the file counts none."""
    if started is None or ended is None or ended < started:
        return None
    return min(ended - started, timedelta(minutes=minutes)) if minutes else ended - started


def _name(entry: _Entry) -> str:
    return f"{entry.method or ''} {entry.name}".strip()
