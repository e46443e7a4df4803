"""JMeter's JTL as CSV: a row per sample. Which columns there are is configurable."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections import defaultdict, deque
from datetime import timedelta
from urllib.parse import urlsplit

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

__all__ = ["COLUMNS", "read_jmeter"]

COLUMNS = frozenset({"timeStamp", "elapsed", "label", "success"})
_MOST_LABELS = 10_000
_MOST_RECENT = 64
_SUM = re.compile(r"Number of samples in transaction : (\d{1,9})")


def read_jmeter(content: bytes) -> Report:
    """Counts and percentiles of the samples. The sums that transaction controllers write are left out, unless the file lacks the
    samples in them, as it does with "Generate parent sample".

    JMeter appends to a file that exists: the time between two runs is no part of the duration.
    Raises ProbeError for another format.
    """
    times: dict[float, int] = {}
    labels: dict[str, int] = {}  # how many of its samples failed, -1 once one succeeded
    minutes: set[int] = set()
    hosts: set[str] = set()
    recent: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_MOST_RECENT))  # when samples began, by thread
    everyone: deque[float] = deque(maxlen=_MOST_RECENT)
    requests = errors = 0
    ends: dict[str, float] = {}  # of the last transaction of a thread whose samples were not before it
    first, last = float("inf"), 0.0
    try:
        rows = csv.DictReader(io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", newline=""))
        if not set(rows.fieldnames or ()) >= COLUMNS:
            raise malformed("JMeter", f"its header lacks {listed(sorted(COLUMNS - set(rows.fieldnames or ())))}")
        for row in itertools.islice(rows, 5_000_000):
            began, elapsed = float(row["timeStamp"]), float(row["elapsed"])
            if not (1e11 < began < 1e14 and 0 <= elapsed < 1e12):
                raise malformed("JMeter", "its times are impossible")
            thread = row.get("threadName") or ""
            if len(recent) >= _MOST_LABELS and thread not in recent:
                thread = ""
            own = recent[thread]
            if (sum_of := _SUM.match(row.get("responseMessage") or "")) is None:
                own.append(began)
                everyone.append(began)
                if thread and began < ends.get(thread, 0):
                    raise malformed(
                        "JMeter", "its rows are sorted by their beginnings, transactions before their samples"
                    )
            # Samples that run in parallel have threads of their own.
            elif sum(began <= each for each in own or everyone) >= min(int(sum_of[1]), _MOST_RECENT):
                continue
            else:
                ends[thread] = began + elapsed
            minutes |= {int(began // 60_000), int((began + elapsed) // 60_000)}
            requests += 1
            first, last = min(first, began), max(last, began + elapsed)
            label, succeeded = str(row["label"])[:200], row["success"].lower() == "true"
            failures = labels.get(label, 0)
            labels[label] = -1 if succeeded or failures < 0 else failures + 1
            if (host := urlsplit(row.get("URL") or "").netloc) and len(hosts) < _MOST_LABELS:
                hosts.add(f"{urlsplit(row['URL']).scheme}://{host.rpartition('@')[2]}")
            if succeeded:
                times[elapsed] = times.get(elapsed, 0) + 1
            else:
                errors += 1
            if len(labels) > _MOST_LABELS:
                raise malformed("JMeter", f"it has more than {_MOST_LABELS} labels")
    except (csv.Error, ValueError, TypeError, KeyError):
        raise malformed("JMeter", "a row is not one of a JTL file") from None
    p95 = weighted_percentile(times.items(), 0.95)
    started, finished = moment_of(first / 1000), moment_of(last / 1000)
    return Report(
        "JMeter",
        Kind.LOAD,
        started=started,
        finished=finished,
        target=listed(sorted(hosts)) if hosts else None,
        examined=requests,
        places=frozenset(hosts),
        load=Load(
            requests,
            errors,
            duration=timedelta(milliseconds=min(last - first, len(minutes) * 60_000)) if started and finished else None,
            p95=None if p95 is None else p95 / 1000,
            scenario=frozenset(labels),
            failing=tuple(label for label, failures in labels.items() if failures >= ENOUGH),
        ),
    )
