"""autocannon's `--json`. It has no p95: the next one above it, p97.5, is taken."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from collectors.systems.reports.model.report import Kind, Load, Report, decoded, malformed, moment

__all__ = ["read_autocannon"]


class _Latency(msgspec.Struct):
    p97_5: float | None = None
    total: int = msgspec.field(name="totalCount", default=0)


class _Requests(msgspec.Struct):
    total: int = 0


class _Report(msgspec.Struct):
    url: str
    duration: float
    latency: _Latency
    requests: _Requests
    errors: int = 0
    timeouts: int = 0
    mismatches: int = 0
    successes: int = msgspec.field(name="2xx", default=0)
    start: str = ""
    finish: str = ""


def read_autocannon(content: bytes) -> Report:
    """Whatever is no 2xx is an error, as are time-outs and refused connections, which its total leaves out.

    Raises ProbeError for another format.
    """
    read = decoded(content, _Report, "autocannon", "--json")
    if min(read.requests.total, read.errors, read.successes, read.mismatches) < 0 or not 0 <= read.duration < 1e8:
        raise malformed("autocannon", "its numbers are impossible")
    requests = max(read.requests.total, read.successes) + read.errors  # `errors` counts the time-outs too
    errors = min(requests, requests - read.successes + read.mismatches)
    bound = read.latency.p97_5
    return Report(
        "autocannon",
        Kind.LOAD,
        started=moment(read.start),
        finished=moment(read.finish),
        target=read.url or None,
        examined=requests,
        load=Load(
            requests,
            errors,
            duration=timedelta(seconds=read.duration),
            p95=bound / 1000 if bound is not None and read.latency.total and 2 * errors <= requests else None,
            scenario=frozenset({read.url} if read.url else ()),
        ),
    )
