"""Lengths of time beside a limit."""

from datetime import timedelta

import pytest

from collectors.systems.kubernetes.judge.lengths import length_beside


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (3, "3 seconds"),
        (59.2, "59 seconds"),
        (60.4, "1m1s"),
        (65, "1m5s"),
        (119, "1m59s"),
        (120, "2 minutes"),
        (90000, "1 day"),
    ],
)
def test_a_length_never_reads_as_the_limit_that_it_exceeds(seconds: float, text: str) -> None:
    assert length_beside(timedelta(seconds=seconds), timedelta(minutes=1)) == text
