"""Tests of `bind`, and of what `config check -v` and `list` show of a checklist of one's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.exporter.cli.conftest import Ended

Run = Callable[..., Ended]

OWN = """\
# Launch
- [ ] **Slow query logging** is enabled.
- [ ] Coffee is hot
- [] broken
## Ops
- [x] On-call rotation is defined
"""
CONFIG = """\
checklist: own.md
clients: {prometheus: {url: http://127.0.0.1:9}}
custom: [{section: Launch, line: Coffee is hot., alert_when: coffee_celsius < 60}]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "own.md").write_text(OWN)
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG)
    return file


def test_config_check_shows_every_line_the_unbound_ones_first(run: Run, config: Path) -> None:
    ended = run("config", "check", "-v", "--config.file", config)
    own = config.with_name("own.md")
    lines = ended.out.splitlines()
    assert lines[:2] == [
        "1 line is bound to no item:",
        f"{own}:6: On-call rotation is defined → ops.on_call_rotation_is_defined → not verified",
    ]
    assert "<!-- item: documentation.on_call_documented -->" in ended.out
    bound = (
        f"{own}:2: Slow query logging is enabled. → postgresql.slow_query_logging_enabled → not verified → missing: "
    )
    told = f"{bound}Section postgresql is not configured, so nothing was checked."
    assert any(line.startswith(told) for line in lines)
    assert f"{own}:3: Coffee is hot → launch.coffee_is_hot → probed every 1m" in lines
    assert f"{own}:4:1: '[] broken' is not a line" in ended.err
    assert ended.code == 0


def test_config_check_counts_what_is_bound_to_nothing(run: Run, config: Path) -> None:
    assert "1 line bound to no item; -v shows them" in run("config", "check", "--config.file", config).out


def test_list_shows_the_lines_of_the_configured_checklist(run: Run, config: Path) -> None:
    rows = json.loads(run("list", "-f", "json", "--config.file", config).out)
    assert [f"{row['section']}.{row['item']}" for row in rows] == [
        "postgresql.slow_query_logging_enabled",
        "launch.coffee_is_hot",
        "ops.on_call_rotation_is_defined",
    ]
    [lost] = json.loads(run("list", "-f", "json", "--unbound", "--config.file", config).out)
    assert (lost["number"], lost["verified_by"]) == (6, None)
    assert "documentation.on_call_documented" in lost["proposals"]
    assert "<!-- item: documentation.on_call_documented -->" in run("list", "--unbound", "--config.file", config).out


def test_bind_writes_what_is_accepted_and_nothing_else(run: Run, config: Path) -> None:
    own = config.with_name("own.md")
    ended = run("bind", own, "--config.file", config)
    assert ended.code == 0
    assert "--accept 6=documentation.on_call_documented" in ended.out
    assert own.read_text() == OWN
    ended = run("bind", own, "--accept", "6=documentation.on_call_documented", "--config.file", config)
    assert ended.out.endswith("bound 1 line.\n")
    assert own.read_text() == OWN.replace("is defined", "is defined <!-- item: documentation.on_call_documented -->")
    assert run("list", "--unbound", "--config.file", config).out == ""


@pytest.mark.parametrize(
    ("accepted", "told"),
    [
        ("6", "expected the number of a line and an item"),
        ("7=documentation.on_call_documented", "expected the number of a line and an item"),
        ("6=documentation.on_call", "unknown item 'documentation.on_call'; did you mean"),
        ("6=postgresql.slow_query_logging_enabled", "which line 2 stands for already"),
    ],
)
def test_bind_refuses_what_would_break_the_checklist(run: Run, config: Path, accepted: str, told: str) -> None:
    ended = run("bind", config.with_name("own.md"), "--accept", accepted)
    assert (ended.code, told in ended.err) == (3, True), ended.err
    assert config.with_name("own.md").read_text() == OWN
