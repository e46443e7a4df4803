"""The Alertmanager configuration that ships: whom it tells what, and what it keeps quiet about, on both generations."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerts import ALERTMANAGER
from tests.alerts.receivers import configuration, receiving
from tests.alerts.scenarios import declared
from tests.servers.alertmanager import Alertmanager, amtool
from tests.servers.process import wait_until
from tests.servers.prometheus import NEW, OLD

RELEASES = pytest.mark.parametrize("release", [OLD, NEW])
Labels = dict[str, str]


def run(release: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([amtool(release), *arguments], capture_output=True, text=True, check=False, timeout=60)


@RELEASES
def test_amtool_takes_the_configuration(release: str) -> None:
    done = run(release, "check-config", ALERTMANAGER)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " - 1 templates" in done.stdout


@RELEASES
@pytest.mark.parametrize(
    ("alert", "severity", "receivers"),
    [
        ("ChecklistDeadMansSwitch", "info", ["dead-mans-switch"]),
        ("ChecklistExporterDown", "critical", ["pagerduty", "email", "slack"]),
        ("ChecklistItemRegressed", "critical", ["pagerduty", "email", "slack"]),
        ("ChecklistItemRegressed", "warning", ["email", "slack"]),
        ("ChecklistItemRegressed", "info", ["nobody"]),
        ("ChecklistItemsNeverOk", "info", ["nobody"]),
        ("ChecklistEvidenceExpiring", "warning", ["email", "slack"]),
        ("SomebodyElses", "none", ["slack"]),
    ],
)
def test_who_is_told(release: str, alert: str, severity: str, receivers: list[str]) -> None:
    labels = (f"alertname={alert}", f"severity={severity}", "section=redis")
    done = run(
        release,
        "config",
        "routes",
        "test",
        f"--config.file={ALERTMANAGER}",
        f"--verify.receivers={','.join(receivers)}",
        *labels,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_severity_has_its_route() -> None:
    severities = {rule["labels"]["severity"] for rule in declared().values()}
    assert severities == {"critical", "warning", "info", "{{ $labels.item_severity }}"}


def test_no_secret_is_in_the_configuration() -> None:
    text = ALERTMANAGER.read_text()
    for key in ("smtp_auth_password", "slack_api_url", "routing_key", "credentials"):
        assert f"{key}:" not in text
        assert f"{key}_file: /etc/alertmanager/secrets/" in text


def test_receivers_say_when_it_is_over() -> None:
    shipped: dict[str, Any] = yaml.safe_load(ALERTMANAGER.read_text())
    told = {receiver["name"]: receiver for receiver in shipped["receivers"]}
    assert told["email"]["email_configs"][0]["send_resolved"] is True
    assert told["slack"]["slack_configs"][0]["send_resolved"] is True
    assert "send_resolved" not in told["pagerduty"]["pagerduty_configs"][0], "which is true by default"


@pytest.fixture(scope="module", params=[OLD, NEW])
def quiet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alertmanager]:
    """One that has not told anybody before the tests are over."""
    folder = tmp_path_factory.mktemp("alertmanager")
    with receiving() as received:
        shipped = configuration(folder, received, group_wait="1h")
        with Alertmanager(folder, shipped, release=request.param) as server:
            yield server


def alert(name: str, severity: str, **labels: str) -> Labels:
    return {"alertname": name, "severity": severity, **labels}


DOWN = alert("ChecklistExporterDown", "critical")
SWITCH = alert("ChecklistDeadMansSwitch", "info")
STALLED = alert("ChecklistSchedulerStalled", "critical")
UNSEEN = alert("ChecklistSectionUnseen", "critical", section="redis")
PAGED = alert("ChecklistItemRegressed", "critical", section="redis", item="pods_healthy")
TICKET = alert("ChecklistEvidenceExpired", "warning", section="redis", item="pods_healthy")


UNDER_WAY = alert("ChecklistItemMaintenance", "info", section="redis", item="pods_healthy")
SECTION_UNDER_WAY = alert("ChecklistSectionMaintenance", "info", section="redis")
CAUSED = alert("ChecklistSectionCaused", "info", section="redis")


@pytest.mark.parametrize(
    ("cause", "other", "quieted"),
    [
        (UNDER_WAY, PAGED, True),
        (UNDER_WAY, TICKET, True),
        (UNDER_WAY, PAGED | {"item": "another"}, False),
        (UNDER_WAY, PAGED | {"section": "nats"}, False),
        (UNDER_WAY, UNSEEN, False),
        (UNDER_WAY | {"cluster": "eu"}, PAGED | {"cluster": "us"}, False),
        (SECTION_UNDER_WAY, UNSEEN, True),
        (SECTION_UNDER_WAY, alert("ChecklistCollectorErrors", "warning", section="redis"), True),
        (SECTION_UNDER_WAY, alert("ChecklistSectionBelowObjective", "warning", section="nats"), False),
        (SECTION_UNDER_WAY, PAGED, False),
        (SECTION_UNDER_WAY, alert("ChecklistConfigReloadFailed", "warning"), False),
        (CAUSED, alert("ChecklistSectionBelowObjective", "warning", section="redis"), True),
        (CAUSED, alert("ChecklistCollectorErrors", "warning", section="redis"), True),
        (CAUSED, alert("ChecklistItemsNotEvaluated", "warning", section="nats"), False),
        (CAUSED, PAGED, False),
        (CAUSED, UNSEEN, False),
        (
            CAUSED | {"cluster": "eu"},
            alert("ChecklistCollectorErrors", "warning", section="redis", cluster="us"),
            False,
        ),
        (DOWN, PAGED, True),
        (DOWN, STALLED, True),
        (DOWN, SWITCH, False),
        (DOWN, alert("NodeDown", "critical"), False),
        (DOWN, PAGED | {"namespace": "other"}, False),
        # Two Prometheus servers with one Alertmanager: the outage of one exporter says nothing of the other.
        (DOWN | {"cluster": "eu"}, PAGED | {"cluster": "eu"}, True),
        (DOWN | {"cluster": "eu"}, PAGED | {"cluster": "us"}, False),
        (DOWN | {"environment": "staging"}, PAGED | {"environment": "production"}, False),
        (STALLED | {"cluster": "eu"}, PAGED | {"cluster": "us"}, False),
        (
            UNSEEN | {"cluster": "eu"},
            alert("ChecklistCollectorErrors", "warning", section="redis", cluster="us"),
            False,
        ),
        (PAGED | {"cluster": "eu"}, TICKET | {"cluster": "us"}, False),
        (STALLED, PAGED, True),
        (STALLED, alert("ChecklistItemsNotEvaluated", "warning", section="redis"), True),
        (STALLED, TICKET, False),
        (UNSEEN, alert("ChecklistCollectorErrors", "warning", section="redis"), True),
        (UNSEEN, alert("ChecklistCollectorErrors", "warning", section="nats"), False),
        (UNSEEN, alert("ChecklistCollectorErrors", "warning"), False),
        (UNSEEN, PAGED, False),
        (PAGED, TICKET, True),
        (PAGED, TICKET | {"item": "another"}, False),
        (PAGED, alert("ChecklistSectionBelowObjective", "warning", section="redis"), True),
        (PAGED, alert("ChecklistSectionBelowObjective", "warning", section="nats"), False),
        (UNSEEN, alert("ChecklistSectionBelowObjective", "warning", section="redis"), True),
        (STALLED | {"severity": "warning"}, PAGED, False),
        (STALLED | {"severity": "warning"}, UNSEEN, False),
        # Neither has section nor item: equal, were it not for the matchers that demand them.
        (DOWN | {"alertname": "Other"}, alert("ChecklistConfigReloadFailed", "warning"), False),
    ],
)
def test_what_is_kept_quiet(quiet: Alertmanager, cause: Labels, other: Labels, quieted: bool, request: Any) -> None:
    job = str(abs(hash(request.node.name)))  # each test has an exporter of its own
    quiet.alert(**cause, job=job)
    quiet.alert(**other, job=job)

    def held() -> dict[str, str]:
        return {a["labels"]["alertname"]: a["status"]["state"] for a in quiet.alerts() if a["labels"]["job"] == job}

    def marked() -> bool:
        found = held()
        return len(found) == 2 and "unprocessed" not in found.values()

    wait_until(marked, "both alerts to be taken in")
    if quieted:
        wait_until(lambda: held()[other["alertname"]] == "suppressed", "the other to be quiet")
    assert held() == {cause["alertname"]: "active", other["alertname"]: "suppressed" if quieted else "active"}
