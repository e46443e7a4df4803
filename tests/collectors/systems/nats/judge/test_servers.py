"""Whether each server is healthy."""

from __future__ import annotations

from collectors.systems.nats.judge.servers import slow_problems
from exporter.verdict import Result, Status
from tests.collectors.systems.nats.judge.monitors import monitor


def test_slow_consumers_count_from_the_last_check() -> None:
    grown = monitor("n1", start="today", slow_consumers=3)

    def slow(before: tuple[str, int] | None) -> list[Result]:
        return list(slow_problems(grown, before))

    assert [problem.status for problem in slow(None)] == [Status.UNKNOWN]
    assert slow(("today", 1))[0].summary.endswith("cut off 2 slow consumers since the last check (wanted none).")
    assert slow(("today", 3)) == []
    assert [problem.status for problem in slow(("before a restart", 9))] == [Status.UNKNOWN]
