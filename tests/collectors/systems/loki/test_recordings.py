"""What a real Loki answers in the states that `test_judge_recorded.py` judges."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from collectors.systems.loki.client import Loki, LokiSettings
from collectors.systems.loki.model.lines import Stream
from collectors.systems.prometheus.model.answers import Sample
from exporter.threads import Threads
from tests.recordings import Record, record
from tests.servers.loki import Loki as Server

__all__ = ["record"]

NUMBERED = range(12)


@dataclass(frozen=True)
class Answers:
    """The newest lines of one service, and how many lines it has of each level."""

    streams: list[Stream]
    counts: list[Sample]


async def answers(server: Server, service: str) -> Answers:
    """What the client reads of a service."""
    client = Loki(LokiSettings.model_validate({"url": server.url, "timeout": timedelta(seconds=20)}), Threads())
    now = datetime.now(UTC)
    selector = f'{{app="{service}"}}'
    try:
        streams = await client.query_range(selector, now - timedelta(hours=1), now + timedelta(minutes=1))
        counts = await client.query(f"sum by (detected_level, level) (count_over_time({selector}[1h]))")
    finally:
        await client.close()
    by_level = sorted(counts, key=lambda sample: sorted(sample.labels.items()))
    return Answers(sorted(streams, key=lambda stream: sorted(stream.labels.items())), by_level)


#: By state: the lines of a service, by the label `level` of their stream.
PUSHED = {
    "structured": {
        "info": [json.dumps({"ts": "2027-01-31T11:59:00Z", "msg": f"order {number} paid"}) for number in NUMBERED],
    },
    "plain_text_and_debug": {
        "debug": [f"order {number} came to the till" for number in NUMBERED],
        "info": ['ts=2027-01-31T11:59:00Z level=info msg="order paid"'],
    },
    "too_few_without_level": {"": ["order 1 paid"]},
}


@pytest.mark.parametrize("state", PUSHED)
async def test_the_lines_of_a_service(loki: Server, state: str, record: Record) -> None:
    service = f"recorded-{state}"
    for level, lines in PUSHED[state].items():
        push(loki, service, level, lines)
    record("loki", state, await answers(loki, service), names={service: "orders"})


def push(server: Server, service: str, level: str, lines: Sequence[str]) -> None:
    """Push the lines of one stream."""
    server.push({"app": service} | ({"level": level} if level else {}), *lines)
