"""What the figures of Prometheus and Alertmanager mean; the section's tests take them from real servers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from collectors.systems.alertmanager.judge.delivery import failing_notifications, watchdog_problems
from collectors.systems.alertmanager.judge.routing import unnotified
from collectors.systems.alertmanager.model.alerts import HeldAlert, HeldStatus, ReceiverName
from collectors.systems.alertmanager.model.routes import parse_configuration
from collectors.systems.prometheus.judge.monitoring import collecting, dead, drop_problems, reloaded, unhealthy
from collectors.systems.prometheus.model.answers import RuntimeInfo, Sample, ScrapeTarget
from exporter.verdict import Status

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def target(job: str = "api", health: str = "up", ago: float = 10, **more: Any) -> ScrapeTarget:
    labels = {"job": job, "instance": f"{job}:1"}
    fields: dict[str, Any] = {"scrape_interval": "15s", "last_scrape": NOW - timedelta(seconds=ago)} | more
    return ScrapeTarget(labels, job, f"http://{job}:1/metrics", health, **fields)


def told(results: Any) -> list[tuple[Status, str]]:
    return [(result.status, result.summary) for result in results]


def test_reloading() -> None:
    assert told(reloaded(RuntimeInfo(NOW, reload_config_success=True))) == []
    assert told(reloaded(RuntimeInfo(NOW, reload_config_success=False, last_config_time=NOW))) == [
        (
            Status.FAILED,
            "Prometheus refused its last configuration and runs with an older one since 2026-11-25 12:00 UTC.",
        )
    ]


def test_what_is_missing_among_targets() -> None:
    seen = list(collecting([target(), target("db")], ["api", "db", "web"], ["api", "pay"], NOW, settled=True))
    assert told(seen) == [
        (Status.FAILED, "Prometheus has no target of job pay."),
        (Status.FAILED, "Scrape configuration web has no target: its discovery found nothing."),
    ]
    assert {one.status for one in collecting([], ["web"], ["pay"], NOW, settled=False)} == {Status.UNKNOWN}


@pytest.mark.parametrize(
    ("given", "late"),
    [
        (target(ago=44), False),
        (target(ago=46), True),
        (target(ago=4, scrape_interval="1s"), False),  # a busy machine is late by seconds
        (target(ago=200, scrape_interval=""), True),
        (target(ago=100, scrape_interval=""), False),
        (target(ago=1e9, health="unknown"), False),
        (target(last_scrape=None), False),
    ],
)
def test_targets_that_are_scraped_no_more(given: ScrapeTarget, late: bool) -> None:
    seen = list(collecting([given], [], [], NOW, settled=True))
    assert bool(seen) is late
    assert not late or "Target api:1 of job api was last scraped" in seen[0].summary


def test_targets_that_are_down_or_not_scraped_yet() -> None:
    down = target("db", "down", last_error='Get "http://db:1/metrics?token=abc": dial tcp: connection refused')
    memory = {"http://gone:1/metrics": NOW}
    seen = list(unhealthy([target(), down, target("new", "unknown")], [], memory, NOW))
    assert told(seen) == [
        (Status.FAILED, 'Target db:1 of job db is down: Get "http://db:1/metrics?…": dial tcp: connection refused.'),
        (Status.WARNING, "Target new:1 of job new is not scraped yet."),
    ]
    assert memory == {"http://new:1/metrics": NOW}
    later = list(unhealthy([target("new", "unknown")], [], memory, NOW + timedelta(seconds=16)))
    assert told(later) == [(Status.FAILED, "Target new:1 of job new is not scraped (every 15s wanted).")]
    assert list(unhealthy([down], ["db"], memory, NOW)) == []
    assert told(unhealthy([target("db", "down")], [], {}, NOW)) == [
        (Status.FAILED, "Target db:1 of job db is down: no reason given.")
    ]


def test_alerts_that_are_not_sent() -> None:
    assert list(dead([Sample({}, 0, 0)], HOUR)) == []
    assert told(dead([Sample({"alertmanager": "http://a/api/v2/alerts"}, 2.6, 0)], HOUR)) == [
        (Status.FAILED, "Prometheus failed to send 3 alerts to http://a/api/v2/alerts in the last 1h.")
    ]


def test_alerts_that_nobody_took() -> None:
    assert not [*drop_problems(0, HOUR, configured_anew=False)]
    seen = [problem for anew in (False, True) for problem in drop_problems(0.4, HOUR, configured_anew=anew)]
    assert told(seen) == [
        (
            Status.FAILED,
            "Prometheus dropped 1 alert in the last 1h: its queue was full, or no Alertmanager took them.",
        ),
        (
            Status.WARNING,
            "Prometheus dropped 1 alert in the last 1h, while it loaded a new configuration: they come late.",
        ),
    ]


def held(state: str = "active", ago: float = 60, *receivers: str) -> HeldAlert:
    updated = NOW - timedelta(seconds=ago)
    return HeldAlert(
        {"alertname": "W"}, "f", updated, updated, NOW, HeldStatus(state), [ReceiverName(name) for name in receivers]
    )


@pytest.mark.parametrize(
    ("alerts", "status", "sentence"),
    [
        ([held("active", 60, "a")], None, ""),
        ([held("active", 600, "a"), held("active", 60, "a")], None, ""),
        ([], Status.FAILED, "Alertmanager http://a has no alert W, which has to fire all the time."),
        ([held("active", 400, "a")], Status.FAILED, "Alertmanager http://a got W last 6m40s ago (limit 5m)."),
        ([held("unprocessed")], Status.UNKNOWN, "Alertmanager http://a has not yet routed W."),
        ([held("suppressed", 60, "a")], Status.FAILED, "W is suppressed on Alertmanager http://a: it does not show"),
        ([held()], Status.FAILED, "Alertmanager http://a routes W to no receiver."),
    ],
)
def test_the_alert_that_always_fires(alerts: list[HeldAlert], status: Status | None, sentence: str) -> None:
    problems = [*watchdog_problems("http://a", ("W",), alerts, timedelta(minutes=5), NOW)]
    assert [problem.status for problem in problems] == ([status] if status else [])
    assert all(sentence in problem.summary for problem in problems)


def test_who_is_told() -> None:
    text = """
    route:
      receiver: mail
      routes:
      - {receiver: chat, matchers: ['severity="critical"'], continue: true}
      - {receiver: pager, matchers: ['severity="critical"'], mute_time_intervals: [always]}
    receivers:
    - {name: mail, email_configs: [{to: a}]}
    - {name: chat, slack_configs: [{channel: a}]}
    - {name: pager, pagerduty_configs: [{routing_key: a}]}
    time_intervals: [{name: always, time_intervals: [{}]}]
    """
    configuration = parse_configuration(text)
    critical, muted = {"severity": "critical"}, "chat, pager (some muted at all times)"
    assert list(unnotified(configuration, critical, ["slack"], NOW)) == []
    assert told(unnotified(configuration, critical, ["slack", "pagerduty"], NOW)) == [
        (
            Status.FAILED,
            f"An alert with severity=critical goes to receiver {muted}, which does not notify through pagerduty.",
        )
    ]
    ((status, sentence),) = told(unnotified(configuration, {"severity": "low"}, ["slack"], NOW))
    assert status is Status.FAILED
    assert sentence.startswith("An alert with severity=low goes to receiver mail, which does not notify through slack.")
    assert sentence.endswith(" It notifies through email: name those in required_integrations that count.")


def sample(integration: str, value: float) -> Sample:
    return Sample({"integration": integration}, value, 0)


@pytest.mark.parametrize(
    ("total", "lost", "sentence"),
    [
        (100, 1, ""),
        (100, 2, "2 of 100 notifications to slack failed in the last 1h (limit 1%)."),
        (0, 0, ""),
        (0, 0.3, "1 of 1 notifications to slack failed in the last 1h (limit 1%)."),
        (0, 3, "3 of 3 notifications to slack failed in the last 1h (limit 1%)."),
    ],
)
def test_notifications_that_fail(total: float, lost: float, sentence: str) -> None:
    figures = ([sample("slack", total), sample("webhook", 1)], [sample("slack", lost), sample("webhook", 1)])
    seen = told(failing_notifications(*figures, ["slack"], 0.01, "notifications", HOUR))
    assert seen == ([(Status.FAILED, sentence)] if sentence else [])


def test_either_name_of_the_alert_that_always_fires_is_enough() -> None:
    ours = msgspec.structs.replace(held("active", 60, "a"), labels={"alertname": "ChecklistDeadMansSwitch"})
    names = ("Watchdog", "ChecklistDeadMansSwitch")
    assert not [*watchdog_problems("http://a", names, [ours], timedelta(minutes=5), NOW)]
    [missing] = watchdog_problems("http://a", names, [], timedelta(minutes=5), NOW)
    assert "has no alert Watchdog or ChecklistDeadMansSwitch" in missing.summary
