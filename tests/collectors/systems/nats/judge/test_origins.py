"""Whether mirrors deliver what their origins have."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from collectors.systems.nats import model
from collectors.systems.nats.judge.origins import origin_problems, recreated_problems
from tests.collectors.systems.nats.judge.monitors import summaries


def stream(name: str, created: str, first: str, **config: Any) -> model.StreamInfo:
    """A stream of 20 messages."""
    state = {"messages": 20, "first_seq": 1, "last_seq": 20, "first_ts": f"2026-11-30T{first}:00Z"}
    found = {"created": f"2026-11-30T{created}:00Z", "config": {"name": name} | config, "state": state}
    return model.parsed(name, found, model.StreamInfo)


@pytest.mark.parametrize(
    ("origin", "lacks"),
    [
        (stream("origin", "12:00", "12:01"), True),
        (stream("origin", "10:02", "10:01"), False),  # by another clock
        (stream("origin", "12:00", "10:01", mirror={"name": "first"}), False),
        (stream("origin", "12:00", "10:01", sources=[{"name": "first"}]), False),
        (stream("origin", "12:00", "12:01", first_seq=21), False),
    ],
)
def test_a_mirror_with_messages_from_before_its_origin(origin: model.StreamInfo, lacks: bool) -> None:
    copy = stream("copy", "10:00", "10:01", mirror={"name": "origin"})
    found = recreated_problems(copy, {"origin": origin, "copy": copy}, timedelta(0), model.NatsLimits())
    wanted = "Stream copy has messages from before its mirror origin was created again, and lacks those that the new one had first."
    assert summaries(found) == ([wanted] if lacks else [])


@pytest.mark.parametrize(
    ("mirror", "told"),
    [
        ({"active": 1_000_000, "lag": 1000}, []),
        ({"active": 1_000_000, "lag": 1001}, ["Stream copy is 1001 messages behind its mirror origin (limit 1000)."]),
        ({"active": 61_000_000_000}, ["Stream copy gets nothing from its mirror origin, silent for 1m1s (limit 10s)."]),
        ({"active": -1}, ["Stream copy gets nothing from its mirror origin, which was never reached."]),
    ],
)
def test_a_mirror_that_lags_or_is_silent(mirror: dict[str, Any], told: list[str]) -> None:
    found = {"config": {"name": "copy", "mirror": {"name": "origin"}}, "mirror": {"name": "origin"} | mirror}
    copy = model.parsed("copy", found, model.StreamInfo)
    assert summaries(origin_problems(copy, model.NatsLimits())) == told
