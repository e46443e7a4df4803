"""Whether servers are connected to each other."""

from __future__ import annotations

from collectors.systems.nats.judge.clusters import peer_problems
from exporter.verdict import Status
from tests.collectors.systems.nats.judge.monitors import monitor


def test_more_servers_than_are_configured_are_told() -> None:
    (problem,) = peer_problems([monitor("a", routes=("b", "b", "c"))], 2)
    assert (problem.status, problem.summary) == (
        Status.FAILED,
        "NATS server a sees 2 of the other servers (wanted 1).",
    )
    assert list(peer_problems([monitor("a", routes=("b", "b", "c"))], 3)) == []
