"""States that take a server minutes to come to."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from collectors.systems.temporal.judge import namespace_problems
from collectors.systems.temporal.model import (
    Closed,
    Described,
    Kind,
    Limits,
    Poller,
    Schedule,
    Seen,
    Stats,
    TaskQueue,
    age,
)
from exporter.verdict import ProbeError, Status

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
LIMITS = Limits(task_queues=(TaskQueue(name="orders"),))
WHERE = "namespace default on http://temporal"


def queue(silence: float = 1, count: str = "0", waited: str = "0s") -> Described:
    poller = Poller(NOW - timedelta(seconds=silence))
    return Described((poller,), Stats(approximate_backlog_count=count, approximate_backlog_age=waited))


def summaries(seen: Seen) -> list[tuple[Status, str]]:
    return [(problem.status, problem.summary) for problem in namespace_problems(seen, LIMITS)]


GOOD = Seen(WHERE, NOW, queues={("orders", Kind.WORKFLOW): queue()}, stuck=0, closed=Closed(10, 0, 0))


def test_what_is_well() -> None:
    assert summaries(GOOD) == []
    assert summaries(replace(GOOD, queues={("orders", Kind.WORKFLOW): queue(70)})) == []  # one poll lasts a minute
    assert summaries(replace(GOOD, queues={("orders", Kind.WORKFLOW): queue(1, "3", "20s")})) == []
    assert summaries(replace(GOOD, stuck=None)) == []  # servers before 1.30 do not say


@pytest.mark.parametrize(
    ("described", "status", "words"),
    [
        (queue(240), Status.FAILED, "No worker has polled task queue orders"),
        (queue(240, "2", "3s"), Status.FAILED, "for workflow tasks for 4 minutes (limit 3m), and 2 tasks wait."),
        (queue(1, "2", "3601.5s"), Status.FAILED, "The first of 2 workflow tasks on task queue orders"),
        (queue(-3600), Status.UNKNOWN, "lies 1 hour in the future"),
        (Described((Poller(NOW),)), Status.UNKNOWN, "The server does not say how many workflow tasks wait"),
    ],
)
def test_pollers_and_backlogs(described: Described, status: Status, words: str) -> None:
    ((found, summary),) = summaries(replace(GOOD, queues={("orders", Kind.WORKFLOW): described}))
    assert (found, words in summary) == (status, True), summary


def test_a_schedule_that_its_server_does_not_start() -> None:
    schedule = Schedule(info=Schedule().info.__class__(future_action_times=(NOW - timedelta(hours=1),)))
    ((status, summary),) = summaries(replace(GOOD, schedules={"nightly": schedule}))
    assert (status, "should have started a workflow 1 hour ago" in summary) == (Status.FAILED, True)


def test_lengths_of_time() -> None:
    assert age("12.5s") == timedelta(seconds=12.5)
    with pytest.raises(ProbeError):
        age("a while")
