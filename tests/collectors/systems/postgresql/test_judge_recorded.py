"""What the judges find in the answers that real instances gave in `test_recordings.py`."""

from __future__ import annotations

from datetime import timedelta

import pytest

from collectors.systems.postgresql.judge.connections import judge_connections
from collectors.systems.postgresql.judge.health import judge_instances, judge_writes
from collectors.systems.postgresql.judge.replication import judge_senders
from collectors.systems.postgresql.model.instance import Written
from collectors.systems.postgresql.model.options import ClusterLimits
from exporter.verdict import Result, Status
from tests.collectors.systems.postgresql.test_recordings import Answers
from tests.recordings import recorded, states

PRIMARY, STANDBY = "127.0.0.1:5432/orders", "127.0.0.1:5433/orders"

#: By state: the verdicts on the instances, and on writes, connections and standbys where there is a primary.
EXPECTED = {
    "pair_healthy": {
        "instances": (
            Status.OK,
            f"{PRIMARY} is the primary, with 1 standby answering too, within 10 ms, by protocol.",
        ),
        "writes": (Status.OK, f"{PRIMARY} takes writes."),
        "connections": (Status.OK, f"{PRIMARY} uses 1 of 100 connections."),
        "standbys": (Status.OK, "1 standby streams, at most 0 B behind."),
    },
    "read_only_role_database_full": {
        "instances": (
            Status.OK,
            f"{PRIMARY} is the primary, with 0 standbys answering too, within 10 ms, by protocol.",
        ),
        "writes": (Status.FAILED, f"{PRIMARY} refuses writes: default_transaction_read_only is on for role recorded."),
        "connections": (
            Status.FAILED,
            f"Database orders of {PRIMARY} has 1 of 1 connection in use (its CONNECTION LIMIT).",
        ),
        "standbys": (Status.OK, "1 standby streams, at most 0 B behind."),
    },
    "standby_alone": {
        "instances": (Status.UNKNOWN, f"{STANDBY} answered as standby; the primary was not found."),
    },
}


def test_every_recording_is_judged() -> None:
    assert states("postgresql") == sorted(EXPECTED)


@pytest.mark.parametrize("state", EXPECTED)
def test_a_state_is_judged_as_it_was(state: str) -> None:
    found = judged(recorded("postgresql", state, list[Answers]))
    assert {name: (result.status, result.summary) for name, result in found.items()} == EXPECTED[state]


def judged(answers: list[Answers]) -> dict[str, Result]:
    """What the judges find with the limits that apply by default, where role `recorded` writes."""
    limits = ClusterLimits()
    instances = [answer.instance for answer in answers]
    found = {"instances": judge_instances(instances, 0, timedelta(seconds=1), "by protocol")}
    for answer in answers:
        if answer.wal is None:
            continue
        where = answer.instance.where
        found["writes"] = judge_writes(where, answer.freezes, answer.settings, ["recorded"])
        found["connections"] = judge_connections(where, answer.connections, answer.connection_limits, limits)
        found["standbys"] = judge_senders(answer.senders, answer.wal, Written(), {}, limits)
    return found
