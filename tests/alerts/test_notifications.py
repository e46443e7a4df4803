"""What Slack, PagerDuty and a mailbox receive, as docs/notifications.md shows it: by the rules and the configuration that ship."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.alerts.receivers import Received, configuration, receiving
from tests.alerts.scenarios import URL, Alert, Scenario, exporter, line, play, series, steps
from tests.recordings import Record, record  # noqa: F401  # whose option --record writes the page
from tests.servers.alertmanager import Alertmanager
from tests.servers.process import call, wait_until
from tests.servers.prometheus import NEW, OLD

Json = dict[str, Any]

PAGE = Path(__file__).parents[2] / "docs" / "notifications.md"
HEAD = """# Notifications as they arrive

What Alertmanager 0.25 with the shipped [configuration](../alerts/alertmanager.yaml) and [template](../alerts/checklist.tmpl)
sends for a critical line that regresses and passes again, written by `make recordings`. Version 0.33 sends the same, but for
`firing` and `resolved` to PagerDuty, which are lists of alerts there. [Alerts](alerts.md) explains who gets which of them.
"""
SECTION, ITEM = "postgresql", "replication_operational"
NAMES = {"section": SECTION, "item": ITEM}
TITLE = "Primary-replica replication is operational"
SEEN = "Standby db-1 is 312 MB behind its primary db-0 (limit 64 MB)."
BEGAN, ENDED = datetime(2026, 11, 25, 20, 24, tzinfo=UTC), datetime(2026, 11, 25, 20, 41, tzinfo=UTC)

ALERT = Alert(
    {**NAMES, "title": TITLE, "team": "storage", "severity": "critical", "item_severity": "critical", "mode": "probe"},
    f"“{TITLE}” (postgresql/replication_operational) is failed (limit) on orders; last OK 1970-01-01 00:10:00 +0000 UTC. "
    f"{SEEN} replication_lag_bytes is 312M.",
    f"{URL}/items/postgresql/replication_operational",
)
REGRESSION = Scenario(
    [
        exporter(60),
        line(("ok", 10), ("failed", 50), section=SECTION, item=ITEM, title=TITLE),
        series("checklist_item_target_ok", steps((1, 10), (0, 50)), **NAMES, target="orders"),
        series("checklist_item_measurement", steps((312e6, 60)), **NAMES, measurement="replication_lag_bytes"),
        series("checklist_item_reason", "_x9 1+0x50", **NAMES, reason="limit"),
        series("checklist_item_summary", "_x9 1+0x50", **NAMES, summary=SEEN),
    ],
    "ChecklistItemRegressed",
    {30: [ALERT]},
)


@contextmanager
def notified(release: str, folder: Path) -> Iterator[tuple[Received, str]]:
    """What arrived when the alert has fired and is over, and Alertmanager's own address."""
    expected = REGRESSION.expected(ALERT)
    texts = {
        name: text.replace("1970-01-01 00:10:00", "2026-11-25 20:14:00")
        for name, text in expected["exp_annotations"].items()
    }
    alert: Json = {"labels": {"alertname": REGRESSION.alert, "environment": "production", **expected["exp_labels"]}}
    alert |= {
        "annotations": texts,
        "generatorURL": "https://prometheus.example.com/graph",
        "startsAt": BEGAN.isoformat(),
    }
    with receiving() as received:
        shipped = configuration(folder, received, group_wait="0s", group_interval="1s")
        with Alertmanager(folder, shipped, release=release) as server:
            for times, ends in enumerate((datetime.now(UTC) + timedelta(minutes=5), ENDED), 1):
                call(f"{server.url}/api/v2/alerts", [{**alert, "endsAt": ends.isoformat()}])
                wait_until(partial(arrived, received, times), f"notification {times}", 60)
            yield received, server.url


def arrived(received: Received, times: int) -> bool:
    """Whether each receiver has so many notifications."""
    return {len(received.at("/slack")), len(received.at("/v2/enqueue")), len(received.mails)} == {times}


def page(received: Received, alertmanager: str) -> str:
    """The page. Alertmanager's own address is the only thing in it that differs from run to run."""
    blocks = {}
    for number, what in enumerate(("a line fails", "the line passes again")):
        blocks[f"Slack: {what}"] = ("json", shown(received.at("/slack")[number]))
        blocks[f"PagerDuty: {what}"] = ("json", shown(received.at("/v2/enqueue")[number]))
        blocks[f"Mail: {what}"] = ("text", letter(received.mails[number]))
    text = "".join(f"\n## {title}\n\n```{kind}\n{block}\n```\n" for title, (kind, block) in blocks.items())
    return HEAD + re.sub(
        rf"http://[^/\s\"]+:{alertmanager.rpartition(':')[2]}\b", "https://alertmanager.example.com", text
    )


def shown(document: Json) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False)


def letter(message: EmailMessage) -> str:
    """The headers that a reader sees, and the text."""
    body = message.get_body(("plain",))
    assert body
    headers = [f"{name}: {' '.join(str(message[name]).split())}" for name in ("From", "To", "Subject")]
    return "\n".join([*headers, "", *body.get_content().strip().splitlines()])


def told(received: Received) -> list[object]:
    """What a reader of each notification sees, which is the same in every version."""
    slack = [[one.get(name) for name in ("title", "title_link", "text", "fallback", "color")] for one in received.slack]
    paged = [(one["event_action"], one["payload"]["summary"], one["client_url"]) for one in received.at("/v2/enqueue")]
    texts = [str(one["payload"]["custom_details"]["text"]).strip() for one in received.at("/v2/enqueue")]
    return [slack, paged, texts, [letter(mail) for mail in received.mails]]


@pytest.mark.parametrize("release", [OLD, NEW])
def test_prometheus_says_of_the_regression_what_is_notified(release: str, tmp_path: Path) -> None:
    play(REGRESSION, release, tmp_path)


def test_the_page_shows_what_arrives_whichever_version_sends_it(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    record: Record,  # noqa: F811
) -> None:
    with notified(OLD, tmp_path_factory.mktemp("old")) as (received, alertmanager):
        text, old = page(received, alertmanager), told(received)
    if request.config.getoption("--record"):
        PAGE.write_text(text)
    assert text.splitlines() == PAGE.read_text().splitlines(), "run `make recordings`"
    with notified(NEW, tmp_path_factory.mktemp("new")) as (received, _):
        assert told(received) == old
