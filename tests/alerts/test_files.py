"""The files that ship are whole: rules that both generations of Prometheus take, runbooks, the PrometheusRule."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerts import PROMETHEUS_RULE, RULES, main, prometheus_rule, rules
from tests.alerts.scenarios import declared
from tests.promql import exported, selected
from tests.servers.prometheus import NEW, OLD, promtool

RUNBOOKS = Path(__file__).parents[2] / "docs" / "runbooks"
RULE_LIST: list[dict[str, Any]] = [rule for group in rules()["groups"] for rule in group["rules"]]
ALERTS = [rule for rule in RULE_LIST if "alert" in rule]
RECORDS = [rule for rule in RULE_LIST if "record" in rule]


def names(rule: dict[str, Any]) -> str:
    return str(rule.get("alert", rule.get("record")))


@pytest.mark.parametrize("release", [OLD, NEW])
def test_promtool_finds_nothing_to_say(release: str) -> None:
    command: list[str | Path] = [promtool(release), "check", "rules", "--lint=all", "--lint-fatal", RULES]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {len(RULE_LIST)} rules found" in done.stdout
    assert "lint error" not in (done.stdout + done.stderr)


@pytest.mark.parametrize("rule", ALERTS, ids=names)
def test_every_alert_says_what_is_needed_at_night(rule: dict[str, Any]) -> None:
    texts = rule["annotations"]
    assert re.fullmatch(r"Checklist([A-Z][a-z]+)+", rule["alert"])
    assert rule["labels"]["severity"] in ("critical", "warning", "info", "{{ $labels.item_severity }}")
    waits = {"s": 1, "m": 60, "h": 3600, "d": 86400}[rule["for"][-1]] * int(rule["for"][:-1])
    notifies = rule["alert"] not in (
        "ChecklistDeadMansSwitch",
        "ChecklistItemMaintenance",
        "ChecklistSectionMaintenance",
        "ChecklistSectionCaused",
    )
    assert waits >= 600 or not notifies, "or a restart of Prometheus begins anew"
    assert "{{" not in texts["summary"], "the same for all, since notifications are grouped by it"
    assert texts["summary"].endswith(".")
    assert texts["description"].strip()
    assert ("resolved" in texts) == (rule["alert"] != "ChecklistDeadMansSwitch"), "what a notification of its end says"
    assert texts["runbook_url"] == f"https://runbooks.example.com/checklist-exporter/{rule['alert']}.md"
    assert ("page" in texts) == (rule in rules()["groups"][-1]["rules"]), "what is about lines links to them"


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    assert {page.stem for page in RUNBOOKS.glob("*.md")} == declared().keys()


@pytest.mark.parametrize("page", sorted(RUNBOOKS.glob("*.md")), ids=lambda page: page.stem)
def test_a_runbook_says_what_it_means_how_to_investigate_and_how_to_fix_it(page: Path) -> None:
    text = page.read_text()
    assert re.findall(r"^#+ (.*)$", text, re.MULTILINE) == [
        page.stem,
        "What it means",
        "How to investigate",
        "How to fix it",
    ]
    assert all(len(part.split()) >= 12 for part in text.split("\n## ")[1:])
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert (page.parent / link).exists()


@pytest.mark.parametrize("rule", RECORDS, ids=names)
def test_records_are_named_by_level_metric_and_operation(rule: dict[str, Any]) -> None:
    assert re.fullmatch(r"(instance|job|section|section_item):checklist_[a-z_]+:[a-z0-9_]+", rule["record"])
    assert " by (" not in rule["expr"], "what a target carries besides is kept"


@pytest.mark.parametrize("rule", RULE_LIST, ids=names)
def test_rules_use_what_the_exporter_exports(rule: dict[str, Any]) -> None:
    known = {*exported(), *(record["record"] for record in RECORDS), "up", "ALERTS"}
    assert selected(rule["expr"]) <= known
    for template in rule.get("annotations", {}).values():
        assert set(re.findall(r"\b(?:instance:|job:|section:|section_item:)?checklist_\w+(?::\w+)?", template)) <= known


def test_the_prometheus_rule_is_made_of_the_rules() -> None:
    assert PROMETHEUS_RULE.read_text() == prometheus_rule(rules()), "run `make docs`"
    resource = yaml.safe_load(PROMETHEUS_RULE.read_text())
    assert (resource["apiVersion"], resource["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    assert resource["spec"] == rules()


def test_writing_it_again_changes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("alerts.PROMETHEUS_RULE", tmp_path / "rule.yaml")
    main()
    assert (tmp_path / "rule.yaml").read_text() == PROMETHEUS_RULE.read_text()
