"""Whether accounts have room."""

from __future__ import annotations

from typing import Any

import pytest

from collectors.systems.nats import model
from collectors.systems.nats.judge.accounts import account_problems
from tests.collectors.systems.nats.judge.monitors import summaries


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (
            {
                "tiers": {
                    "R1": {"storage": 1, "limits": {"max_storage": 100}},
                    "R3": {"storage": 90, "limits": {"max_storage": 100}},
                }
            },
            ["NATS R3 uses 90 B of 100 B storage (limit 80%)."],
        ),
        (
            {"memory": 90, "limits": {"max_memory": 100, "max_storage": -1}},
            ["NATS account uses 90 B of 100 B memory (limit 80%)."],
        ),
        (
            {"limits": {"max_storage": 0, "max_memory": 0}},
            ["NATS account may store nothing in files: max_storage is 0 B."],
        ),
        ({}, []),
    ],
)
def test_tiers_of_an_account_are_judged_one_by_one(info: dict[str, Any], expected: list[str]) -> None:
    problems = account_problems(model.Account(0, info, (), ()), model.NatsLimits())
    assert summaries(problems) == expected
