"""What Locust writes: `--json`, a list with an entry per request, and `--csv`, whose `_stats.csv` has a row for each.

Neither names its target nor how it ended; the CSV has no times either.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from urllib.parse import SplitResult, urlsplit

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
from exporter.words import listed

__all__ = ["CSV_LINE", "read_locust", "read_locust_csv"]

CSV_LINE = "Type,Name,Request Count,Failure Count,"
"""How `_stats.csv` begins."""
_MOST_ROWS = 10_000
_FEW = 0.01
"""Which share of the requests may have no time."""
_PERCENTILE = re.compile(r"(\d+(?:\.\d+)?)%")


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
    sites = _sites(entry.name for entry in entries)
    p95 = weighted_percentile(times.items(), 0.95, slower_than=min(errors, sum(times.values())))
    timeless = sum(entry.num_none_requests for entry in entries)
    if sum(times.values()) + timeless < requests or timeless > _FEW * requests:
        p95 = None  # some of the times are missing, which may be the slow ones
    return Report(
        "Locust",
        Kind.LOAD,
        started=started,
        finished=ended,
        target=_target(sites),
        examined=requests,
        places=sites,
        load=Load(
            requests,
            errors,
            duration=_duration(started, ended, len(minutes)),
            p95=None if p95 is None else p95 / 1000,
            scenario=frozenset(map(_name, entries)),
            failing=tuple(_name(entry) for entry in entries if ENOUGH <= entry.num_requests == entry.num_failures),
        ),
    )


def read_locust_csv(content: bytes) -> Report:
    """Counts, and the percentile that bounds the 95th of the successes: failures are among the times.

    Raises ProbeError, also for a file without its last row, which sums up the others.
    """
    try:
        reader = csv.DictReader(io.TextIOWrapper(io.BytesIO(content), "utf-8", newline=""), strict=True)
        rows = list(itertools.islice(reader, _MOST_ROWS + 1))
        if len(rows) > _MOST_ROWS:
            raise malformed("Locust", f"it has more than {_MOST_ROWS} rows")
        totals = [row for row in rows if not row["Type"] and row["Name"] in ("Aggregated", "Total")]
        if len(totals) != 1 or rows[-1] is not totals[0]:
            raise malformed("Locust", "it does not end with the row Aggregated")
        counts = {f"{row['Type']} {row['Name']}": _counted(row) for row in rows[:-1]}
        requests, errors = _counted(totals[0])
        p95 = _bound(totals[0], errors / requests) if requests > errors else None
    except (csv.Error, UnicodeDecodeError, ValueError, TypeError, KeyError):
        raise malformed("Locust", "it does not have the fields of Locust's --csv") from None
    if (sum(count for count, _ in counts.values()), sum(failed for _, failed in counts.values())) != (requests, errors):
        raise malformed("Locust", "its rows do not add up to the last one")
    sites = _sites(row["Name"] for row in rows)
    return Report(
        "Locust",
        Kind.LOAD,
        target=_target(sites),
        examined=requests,
        places=sites,
        load=Load(
            requests,
            errors,
            p95=p95,
            scenario=frozenset(counts),
            failing=tuple(name for name, (count, failed) in counts.items() if ENOUGH <= count == failed),
        ),
    )


def _counted(row: dict[str, str]) -> tuple[int, int]:
    requests, errors = int(row["Request Count"]), int(row["Failure Count"])
    if not 0 <= errors <= requests:
        raise malformed("Locust", "its numbers of requests and failures contradict each other")
    return requests, errors


def _bound(row: dict[str, str], failed: float) -> float | None:
    """The lowest percentile, in seconds, that is no lower than the 95th of the successes if the failures were the fastest."""
    shares = sorted(
        (float(found[1]) / 100, column) for column in row if column and (found := _PERCENTILE.fullmatch(column))
    )
    column = next((column for share, column in shares if share >= failed + 0.95 * (1 - failed) - 1e-9), None)
    if column is None or not row[column]:
        return None
    milliseconds = float(row[column])
    if not (math.isfinite(milliseconds) and milliseconds >= 0):
        raise malformed("Locust", "its response times are impossible")
    return milliseconds / 1000


def _sites(names: Iterable[str]) -> frozenset[str]:
    """Where requests whose names are whole addresses went; none where names are paths, as they are by default."""
    parts = filter(lambda each: each.scheme and each.netloc, map(_parts, names))
    return frozenset(f"{each.scheme}://{each.netloc.rpartition('@')[2]}" for each in parts)


def _target(sites: Collection[str]) -> str | None:
    return listed(sorted(sites)) if sites else None


def _parts(name: str) -> SplitResult:
    try:
        return urlsplit(name)
    except ValueError:  # brackets that are no IPv6 address
        return urlsplit("")


def _duration(started: datetime | None, ended: datetime | None, minutes: int) -> timedelta | None:
    """How long there was load: a pause between two waves is none. `minutes` had requests; 0 where the file counts none."""
    if started is None or ended is None or ended < started:
        return None
    return min(ended - started, timedelta(minutes=minutes)) if minutes else ended - started


def _name(entry: _Entry) -> str:
    return f"{entry.method or ''} {entry.name}".strip()
