"""Tests of `list`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from exporter.catalogue import Catalogue
from exporter.cli.list import ListFormat
from exporter.cli.shared import ExitCode
from tests.exporter.cli.conftest import LINES, Ended, custom

Run = Callable[..., Ended]


def test_list_has_every_line_of_the_checklist(run: Run) -> None:
    ended = run("list", "--format", "json")
    rows = json.loads(ended.out)
    assert ended.code == 0
    assert len(rows) == len(Catalogue.load().checklist.lines) == 205
    assert list(rows[0]) == ["section", "item", "line", "group", "severity", "mode", "verified_by", "needs"]


def test_list_tells_what_verifies_a_line_and_what_that_needs(run: Run) -> None:
    rows = {f"{row['section']}.{row['item']}": row for row in json.loads(run("list", "-f", "json").out)}
    row = rows["postgresql.replication_operational"]
    assert row["verified_by"].endswith("PostgreSQL.replication_operational")
    assert row["line"] == "Primary-replica replication is operational"
    assert row["severity"] == "critical"
    assert row["mode"] == "probe"
    assert "pg_monitor" in " ".join(row["needs"])


def test_list_of_a_section_shows_the_rights_to_give(run: Run) -> None:
    ended = run("list", "--section", "postgresql", "--section", "training")
    lines = ended.out.splitlines()
    assert [line.partition(".")[0] for line in lines[:12]] == ["postgresql"] * 8 + ["training"] * 4
    assert "GRANT pg_monitor TO checklist_exporter;" in lines
    assert "Rights for section training:" in lines


def test_list_of_everything_shows_no_rights(run: Run) -> None:
    assert "GRANT" not in run("list").out


def test_list_on_a_terminal_is_a_table(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    out = run("list", "--section", "postgresql").out
    assert "\x1b[" in out
    assert "postgresql.slow_query_logging_enabled" in out


def test_list_without_colour(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in run("list", "--section", "postgresql").out  # no colours; weight and dimming may stay


def test_list_format_is_one_of_two() -> None:
    assert [form.value for form in ListFormat] == ["table", "json"]


CLUSTER = """\
clients:
  kubernetes: {namespaces: [shop]}
sections:
  redis:
    targets:
      - {name: plain, nodes: ["127.0.0.1:6379"], data_volume: /data}
      - {name: cache, nodes: ["127.0.0.1:6379"], data_volume: /data, pods: {namespace: shop, selector: app=cache}}
"""


def test_the_roles_that_a_configuration_needs_are_printed(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "checklist.yaml"
    file.write_text(CLUSTER)
    (role,) = yaml.safe_load_all(run("list", "--rbac", "--config.file", str(file)).out)
    assert (role["kind"], role["metadata"]["namespace"]) == ("Role", "shop")
    assert [(rule["resources"], rule["verbs"]) for rule in role["rules"]] == [
        (["pods"], ["list", "watch"]),
        (["daemonsets", "deployments", "replicasets", "statefulsets"], ["list", "watch"]),
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (CLUSTER.replace(", pods: {namespace: shop, selector: app=cache}", ""), "requires rights in the cluster"),
        ("sections: {}", "clients.kubernetes is not configured"),
    ],
)
def test_there_may_be_no_roles_to_print(run: Run, tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "checklist.yaml"
    file.write_text(text)
    ended = run("list", "--rbac", "--config.file", str(file))
    assert (ended.code, ended.out) == (3, "")
    assert told in ended.err


def test_what_is_missing_is_grouped_by_its_reason(run: Run, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("environment: test\nsections:\n  training: {}\n")
    ended = run("list", "--missing", "--section", "training", "--section", "redis", "--config.file", config)
    assert ended.code == ExitCode.OK
    reasons = [line.partition(":")[0] for line in ended.out.splitlines() if not line.startswith(" ")]
    assert reasons == ["not_configured"]
    assert "  Section redis is not configured, so nothing was checked." in ended.out
    assert "    7 lines: redis.pods_healthy, " in ended.out
    assert "    Add: evidence: ./evidence\n" in ended.out


def test_what_is_missing_names_the_keys_to_add(run: Run, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("environment: test\n")
    chosen = [f"--section={name}" for name in ("openai", "disaster_recovery", "documentation")]
    ended = run("list", "--missing", *chosen, "--config.file", config)
    added = [line.strip() for line in ended.out.splitlines() if "Add: " in line and "not_applicable" not in line]
    assert {"Add: sections.openai.api", "Add: sections.disaster_recovery.recovery_times"} <= set(added)
    assert "Add: clients.prometheus, evidence: ./evidence" in added


def test_nothing_is_missing(run: Run, tmp_path: Path) -> None:
    ended = run("list", "--missing", "--section", "drill", "--config.file", custom(tmp_path, *LINES))
    assert (ended.code, ended.out) == (ExitCode.OK, "No line is unknown.\n")
