"""Words for what the exporter tells over time, and for what must be told of it: made into the files of `promtool test rules`."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from alerts import RULES, rules
from tests.servers.prometheus import promtool

Series = Mapping[str, str]

JOB = "checklist-exporter"
URL = "https://checklist.example.com"
DAY = 24 * 60
STATUSES = ("ok", "warning", "failed", "unknown", "waived", "not_applicable")


def steps(*values: tuple[float, int]) -> str:
    """A series: each value for so many minutes."""
    return " ".join(f"{value:g}+0x{minutes - 1}" for value, minutes in values)


def target(instance: str = "checklist:9876", **labels: str) -> dict[str, str]:
    """The labels that a scrape adds."""
    return {"job": JOB, "instance": instance, **labels}


POD_0 = target("10.0.0.1:9876", namespace="sre", pod="checklist-0", container="exporter", endpoint="http", service="c")
POD_1 = target("10.0.0.2:9876", namespace="sre", pod="checklist-1", container="exporter", endpoint="http", service="c")


def series(metric: str, values: str, where: Mapping[str, str] | None = None, /, **labels: str) -> dict[str, str]:
    """One series with the labels of its target."""
    all_labels = {**(where or target()), **labels}
    return {f"{metric}{{{','.join(f'{name}={json.dumps(all_labels[name])}' for name in sorted(all_labels))}}}": values}


def without(told: Series, *gaps: tuple[int, int]) -> dict[str, str]:
    """The same series with gaps, from one minute until another, as scrapes that fail leave them."""
    return {name: " ".join(_with_gaps(_minutes(values), gaps)) for name, values in told.items()}


def _minutes(values: str) -> Iterator[str]:
    """The value of each minute of a series as `steps` writes it."""
    for token in values.split():
        value, _, more = token.partition("+0x")
        yield from [value] * (int(more or 0) + 1)


def _with_gaps(values: Iterator[str], gaps: Sequence[tuple[int, int]]) -> Iterator[str]:
    starts = {start for start, _ in gaps}
    missing = {minute for start, end in gaps for minute in range(start, end)}
    for minute, value in enumerate(values):
        yield "stale" if minute in starts else "_" if minute in missing else value


def exporter(minutes: int, where: Mapping[str, str] | None = None) -> dict[str, str]:
    """What an exporter tells of itself while all is well."""
    return {
        **series("up", steps((1, minutes)), where),
        **series("checklist_items_configured", steps((1, minutes)), where),
        **series("checklist_exporter_web_info", steps((1, minutes)), where, external_url=URL),
    }


def line(
    *statuses: tuple[str, int],
    item: str = "pods_healthy",
    section: str = "redis",
    where: Mapping[str, str] | None = None,
    forgets: bool = False,
    **info: str,
) -> dict[str, str]:
    """A line that has each status for so many minutes; one that `forgets` does not know any more when it was true."""
    names = {"section": section, "item": item}
    told = {"title": "Pods are healthy", "group": "infrastructure", "item_severity": "critical", "mode": "probe"}
    told |= {"team": "storage", "runbook_url": ""} | info
    minutes = sum(length for _, length in statuses)
    found = series("checklist_item_info", steps((1, minutes)), where, **names, **told)
    ok = [(float(status in ("ok", "warning")), length) for status, length in statuses]
    found |= series("checklist_item_ok", steps(*ok), where, **names)
    last_ok, seen, passed = [], 0.0, 0
    for true, length in ok:
        passed += length
        seen = float(passed * 60) if true else 0.0 if forgets else seen
        last_ok.append((seen, length))
    found |= series("checklist_item_last_ok_timestamp_seconds", steps(*last_ok), where, **names)
    for status in STATUSES:
        values = [(float(status == each), length) for each, length in statuses]
        found |= series("checklist_item_status", steps(*values), where, status=status, **names)
    return found


@dataclass(frozen=True)
class Alert:
    """An alert that fires at a minute: its labels without its name and its job, and its texts that are not the same always."""

    labels: Mapping[str, str]
    description: str
    page: str | None = None


@dataclass(frozen=True)
class Scenario:
    """What is told over time, and the alerts of one name that fire at each of some minutes.

    Rules are evaluated every `pace` minutes: long stories are told in larger steps.
    """

    told: Sequence[Series]
    alert: str
    at: Mapping[int, Sequence[Alert]]
    pace: int = 1

    def document(self) -> dict[str, Any]:
        """One test of `promtool test rules`."""
        told = {name: values for part in self.told for name, values in part.items()}
        return {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in told.items()],
            "alert_rule_test": [
                {"eval_time": f"{minute}m", "alertname": self.alert, "exp_alerts": [self.expected(a) for a in alerts]}
                for minute, alerts in self.at.items()
            ],
        }

    def expected(self, alert: Alert) -> dict[str, Any]:
        """The labels and annotations with which it fires."""
        texts = _of(self.alert, alert.labels)["annotations"]
        same = {name: texts[name] for name in ("summary", "runbook_url")}
        if "resolved" in texts:
            same["resolved"] = re.sub(
                r"{{ \$labels\.(\w+) }}", lambda name: alert.labels.get(name[1], ""), texts["resolved"]
            )
        expected = {**same, "description": alert.description, **({} if alert.page is None else {"page": alert.page})}
        job = {} if "job" in alert.labels else {"job": JOB}
        labels = {name: value for name, value in {**job, **alert.labels}.items() if value}
        return {"exp_labels": labels, "exp_annotations": expected}


@cache
def shipped() -> tuple[list[str], dict[str, dict[str, Any]]]:
    """The groups in order, and the alerts by name; of those with several rules the last."""
    groups = rules()["groups"]
    alerts = {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}
    return [group["name"] for group in groups], alerts


def _of(alert: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """The rule of an alert; where there are several, the one with this severity."""
    found = [rule for group in rules()["groups"] for rule in group["rules"] if rule.get("alert") == alert]
    same = [rule for rule in found if rule["labels"]["severity"] == labels.get("severity")]
    chosen: dict[str, Any] = (same or found)[-1]
    return chosen


def declared() -> dict[str, dict[str, Any]]:
    """The alerts by name."""
    return shipped()[1]


def play(scenario: Scenario, release: str, folder: Path) -> None:
    """Have promtool test a scenario; what differs fails the test."""
    file = folder / "test.yaml"
    document = {
        "rule_files": [str(RULES)],
        "evaluation_interval": f"{scenario.pace}m",
        "group_eval_order": shipped()[0],
        "tests": [scenario.document()],
    }
    file.write_text(json.dumps(document))
    done = subprocess.run(
        [promtool(release), "test", "rules", file], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
