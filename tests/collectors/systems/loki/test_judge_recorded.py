"""What the judges find in the lines that a real Loki gave in `test_recordings.py`."""

from __future__ import annotations

from datetime import timedelta

import pytest

from collectors.systems.loki.judge.lines import judge_levels, judge_structure
from collectors.systems.loki.model.levels import levels
from collectors.systems.loki.model.limits import LogLimits
from collectors.systems.loki.model.lines import structure
from exporter.verdict import Status
from tests.collectors.systems.loki.test_recordings import Answers
from tests.recordings import recorded, states

#: By state: the verdicts on structure and on levels.
EXPECTED: dict[str, list[tuple[Status, str]]] = {
    "plain_text_and_debug": [
        (
            Status.FAILED,
            "1 of 13 sampled lines of orders are structured, with timestamp, level and message (limit 95%); 12 are plain text.",
        ),
        (Status.FAILED, "12 of 13 lines of orders of the last 1h are of level debug or trace: 92.3% (limit 1.0%)."),
    ],
    "structured": [
        (Status.OK, "12 of 12 sampled lines of orders are structured, with timestamp, level and message."),
        (Status.OK, "0 of 12 lines of orders of the last 1h are of level debug or trace (limit 1.0%)."),
    ],
    "too_few_without_level": [
        (Status.UNKNOWN, "Only 1 line of orders could be sampled (wanted 10)."),
        (Status.UNKNOWN, "Only 0 of 1 lines of orders of the last 1h have a recognizable level (wanted 90%)."),
    ],
}


def test_every_recording_is_judged() -> None:
    assert states("loki") == sorted(EXPECTED)


@pytest.mark.parametrize("state", EXPECTED)
def test_a_state_is_judged_as_it_was(state: str) -> None:
    found, limits = recorded("loki", state, Answers), LogLimits()
    verdicts = [
        judge_structure("orders", structure(found.streams, limits), limits),
        judge_levels("orders", levels(found.counts), limits, timedelta(hours=1)),
    ]
    assert [(verdict.status, verdict.summary) for verdict in verdicts] == EXPECTED[state]
