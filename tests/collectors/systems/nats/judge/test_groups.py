"""Whether groups of replicas are whole."""

from __future__ import annotations

from typing import Any

import pytest

from collectors.systems.nats import model
from collectors.systems.nats.judge.groups import group_problems, meta_problems
from exporter.verdict import Status
from tests.collectors.systems.nats.judge.monitors import led, monitor, summaries


def test_followers_are_not_believed() -> None:
    limits = model.NatsLimits()
    follower = {"name": "n2", "leader": "n1", "replicas": [{"name": "n1", "current": False, "active": 0}]}
    seen = [monitor("n1", meta=led("n1", 2, "n2")), monitor("n2", meta=follower)]
    (pair,) = meta_problems(seen, 2, limits)
    assert pair.summary == "JetStream's group has 2 servers and stops with the loss of one (wanted at least 3)."


@pytest.mark.parametrize(
    ("replica", "told"),
    [
        ({"offline": True}, "has its replica on n2 offline."),
        ({"active": 61_000_000_000}, "has heard nothing of its replica on n2 for 1m1s (limit 10s)."),
        ({"lag": 1001}, "has its replica on n2 1001 operations behind (limit 1000)."),
        ({"current": False}, "has its replica on n2 not current."),
    ],
)
def test_a_replica_that_does_not_keep_up_is_told(replica: dict[str, Any], told: str) -> None:
    cluster = {"leader": "n1", "replicas": [{"name": "n2", "current": True, "active": 1} | replica]}
    group = model.parsed("a group", cluster, model.Group)
    problems = group_problems("Stream orders", group, 2, model.NatsLimits())
    assert summaries(problems) == [f"Stream orders {told}"]


def test_groups_that_are_not_whole_are_told() -> None:
    limits = model.NatsLimits()

    def group(**cluster: Any) -> list[str]:
        return summaries(group_problems("Stream a", model.Group(**cluster), 3, limits))

    assert group()[0].startswith("Stream a has no leader")
    assert "has 1 replica in its group (wanted 3)" in group(leader="n1")[0]
    apart = [monitor(name, meta=led(name, 1)) for name in ("n1", "n2")]
    found = " ".join(summaries(meta_problems(apart, 2, limits)))
    assert "name different leaders of JetStream: n1, n2." in found
    assert "JetStream's group has 1 server (wanted 2)." in found


#: What a leader reported while `placement` was changed, in turn: the new copies are filled while the old ones are there.
MOVES = [
    [("n2", True, 0), ("n3", True, 0), ("n4", False, 0), ("n5", False, 0)],
    [("n2", True, 0), ("n3", True, 0), ("n4", False, 285), ("n5", False, 623)],
    [("n2", True, 0), ("n3", True, 0), ("n4", True, 0), ("n5", True, 0)],
]


@pytest.mark.parametrize("followers", MOVES)
def test_a_stream_that_is_moved_has_all_its_copies(followers: list[tuple[str, bool, int]]) -> None:
    def judged(**changes: Any) -> list[tuple[Status, str]]:
        peers = [{"name": name, "current": current, "lag": lag, "active": 1} for name, current, lag in followers]
        peers[-1] |= changes
        group = model.parsed("a group", {"leader": "n1", "replicas": peers}, model.Group)
        problems = group_problems("Stream a", group, 3, model.NatsLimits())
        return [(problem.status, problem.summary) for problem in problems]

    has = "Stream a has 5 replicas in its group (wanted 3)"
    assert judged() == [(Status.WARNING, f"{has}, as it is moved to other servers.")]
    # One that is gone votes all the same.
    assert judged(offline=True)[0] == (Status.FAILED, f"{has}.")
