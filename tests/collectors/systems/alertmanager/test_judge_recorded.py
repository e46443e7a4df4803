"""What the judges say of the answers that a real Alertmanager gave in `test_recordings.py`."""

from datetime import UTC, datetime, timedelta

import pytest

from collectors.systems.alertmanager.judge.delivery import watchdog_problems
from exporter.verdict import Status
from tests.collectors.systems.alertmanager.test_recordings import Facts
from tests.recordings import recorded, states
from tests.recordings.volatile import NOW

#: By state: what is wrong with the alert that always fires.
EXPECTED: dict[str, list[str]] = {
    "healthy": [],
    "watchdog_missing": ["Alertmanager http://a:9093 has no alert Watchdog, which has to fire all the time."],
    "watchdog_silenced": [
        "Watchdog is suppressed on Alertmanager http://a:9093: it does not show that alerts are routed."
    ],
}


def test_every_recording_is_judged() -> None:
    assert states("alertmanager") == sorted(EXPECTED)


@pytest.mark.parametrize("state", EXPECTED)
def test_a_state_is_judged_as_it_was(state: str) -> None:
    facts = recorded("alertmanager", state, Facts)
    now = datetime.fromtimestamp(NOW, UTC)
    problems = [*watchdog_problems("http://a:9093", ["Watchdog"], facts.alerts, timedelta(minutes=5), now)]
    assert [problem.summary for problem in problems] == EXPECTED[state]
    assert {problem.status for problem in problems} <= {Status.FAILED}


def test_an_alert_that_came_long_ago_is_stale() -> None:
    facts = recorded("alertmanager", "healthy", Facts)
    later = datetime.fromtimestamp(NOW, UTC) + timedelta(hours=1)
    [problem] = watchdog_problems("http://a:9093", ["Watchdog"], facts.alerts, timedelta(minutes=5), later)
    assert problem.summary == "Alertmanager http://a:9093 got Watchdog last 1h30s ago (limit 5m)."
