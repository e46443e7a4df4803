"""What the judges say of the answers that a real Prometheus gave in `test_recordings.py`."""

from datetime import UTC, datetime

import pytest

from collectors.systems.prometheus.judge import monitoring
from exporter.verdict import Result, Status
from tests.collectors.systems.prometheus.facts import Facts
from tests.recordings import recorded, states
from tests.recordings.volatile import NOW

#: By state: what the judges find.
EXPECTED = {
    "healthy": [],
    "target_down_job_empty_reload_refused": [
        "Prometheus refused its last configuration and runs with an older one since 2027-01-31 11:00 UTC.",
        "Prometheus collects nothing from job orders: its target is down.",
        "Prometheus has no target of job payments.",
        "Scrape configuration payments has no target: its discovery found nothing.",
        (
            'Target 127.0.0.1:8080 of job orders is down: Get "http://127.0.0.1:8080/metrics": '
            "dial tcp 127.0.0.1:8080: connect: connection refused."
        ),
    ],
}


def test_every_recording_is_judged() -> None:
    assert states("prometheus") == sorted(EXPECTED)


@pytest.mark.parametrize("state", EXPECTED)
def test_a_state_is_judged_as_it_was(state: str) -> None:
    found = problems(recorded("prometheus", state, Facts))
    assert {problem.status for problem in found} <= {Status.FAILED}
    assert [problem.summary for problem in found] == EXPECTED[state]


def test_what_is_missing_is_unknown_while_discovery_has_not_settled() -> None:
    facts = recorded("prometheus", "target_down_job_empty_reload_refused", Facts)
    found = problems(facts, settled=False)
    assert [problem.status for problem in found[2:4]] == [Status.UNKNOWN, Status.UNKNOWN]


@pytest.mark.parametrize("state", EXPECTED)
def test_the_alert_that_always_fires_and_where_it_is_sent(state: str) -> None:
    facts = recorded("prometheus", state, Facts)
    [[watchdog]] = [group.rules for group in facts.rules]
    assert (watchdog.name, watchdog.state, watchdog.health) == ("Watchdog", "firing", "ok")
    assert facts.alertmanagers == ["http://127.0.0.1:9093/api/v2/alerts"]


def problems(facts: Facts, *, settled: bool = True) -> list[Result]:
    """What is wrong with the configuration and the targets."""
    now = datetime.fromtimestamp(NOW, UTC)
    return [
        *monitoring.reloaded(facts.runtime),
        *monitoring.collecting(facts.targets, facts.pools, facts.pools, now, settled=settled),
        *monitoring.unhealthy(facts.targets, (), {}, now),
    ]
