"""What pairs of canary pods show together."""

from __future__ import annotations

import pytest

from collectors.systems.blackbox.judge import pair_problems
from collectors.systems.blackbox.model import CanaryPods, Knock, Outcome, Tried
from exporter.verdict import Status

PAIR = CanaryPods(allowed="http://allowed.api:9115", denied="http://denied.guest:9115")
STORE, OTHER = "redis.data:6379", "api.shop:8080"
OPEN, DROPPED = Outcome.OPEN, Outcome.DROPPED


def allowed(*outcomes: Outcome) -> list[Tried]:
    return [Tried((Knock(STORE, one),), ()) for one in outcomes]


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ((OPEN,), []),
        ((OPEN, OPEN, OPEN), []),
        ((OPEN, DROPPED, OPEN), [Status.WARNING]),
        ((DROPPED, DROPPED), [Status.UNKNOWN]),
    ],
)
def test_pods_that_may_connect_and_disagree(outcomes: tuple[Outcome, ...], expected: list[Status]) -> None:
    denied = [("http://10.0.0.7:9115", Tried((Knock(OTHER, OPEN),), (Knock(STORE, DROPPED),)))]
    found = list(pair_problems(PAIR, allowed(*outcomes), denied))
    assert [one.status for one in found] == expected, found
