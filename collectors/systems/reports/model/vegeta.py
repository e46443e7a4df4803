"""vegeta's `report -type json`: durations in nanoseconds, no target, no verdict."""

from __future__ import annotations

import re
from datetime import timedelta

import msgspec

from collectors.systems.reports.model.report import Kind, Load, Report, malformed, moment

__all__ = ["read_vegeta"]


class _Latencies(msgspec.Struct):
    p95: float | None = msgspec.field(name="95th", default=None)
    p99: float | None = msgspec.field(name="99th", default=None)


class _Report(msgspec.Struct):
    latencies: _Latencies
    requests: int
    success: float
    status_codes: dict[str, int]
    duration: float = 0
    earliest: str = ""
    end: str = ""


def read_vegeta(content: bytes) -> Report:
    """Counts by status. Failures are among the latencies: with any, the p99 of all bounds the p95 of the others from above.

    Raises ProbeError for another format.
    """
    try:
        read = msgspec.json.decode(content, type=_Report)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise malformed("vegeta", "it does not have the fields of `vegeta report -type json`") from None
    if not 0 <= read.success <= 1 or read.requests < 0 or not 0 <= read.duration < 1e18:
        raise malformed("vegeta", "its numbers of requests and successes are impossible")
    answered = sum(count for code, count in read.status_codes.items() if re.fullmatch("[23]..", code))
    errors = max(round(read.requests * (1 - read.success)), min(read.requests, read.requests - answered))
    bound = read.latencies.p99 if errors else read.latencies.p95
    knows = errors <= 0.8 * read.requests
    return Report(
        "vegeta",
        Kind.LOAD,
        started=moment(read.earliest),
        finished=moment(read.end),
        examined=read.requests,
        load=Load(
            read.requests,
            errors,
            duration=timedelta(microseconds=read.duration / 1000),
            p95=bound / 1e9 if bound is not None and knows and read.requests else None,
        ),
    )
