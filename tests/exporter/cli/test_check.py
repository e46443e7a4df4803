"""Tests of `check`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import jsonschema
import pytest

from exporter.cli.shared import ExitCode
from exporter.document import schema
from tests.exporter.cli.conftest import LINES, Ended, custom

Run = Callable[..., Ended]


def test_a_failed_line_ends_with_1_and_an_unknown_one_with_2(run: Run, tmp_path: Path) -> None:
    lines = (("Replica drilled", "warning", "failed"), ("Failover drilled", "critical", "unreadable"))
    config = custom(tmp_path, *lines)
    assert run("check", "--config.file", config, "--section", "drill").code == ExitCode.FAILED
    assert run("check", "--config.file", config, "--section", "drill", "--fail-on", "critical").code == ExitCode.UNKNOWN


@pytest.mark.parametrize(
    ("lines", "fail_on", "code"),
    [
        ((("A drilled", "critical", "passed"),), "info", ExitCode.OK),
        ((("A drilled", "critical", "passed"), ("B drilled", "info", "failed")), "info", ExitCode.FAILED),
        ((("A drilled", "critical", "passed"), ("B drilled", "info", "failed")), "warning", ExitCode.OK),
        ((("A drilled", "warning", "failed"),), "critical", ExitCode.OK),
        ((("A drilled", "warning", "failed"),), "warning", ExitCode.FAILED),
    ],
)
def test_fail_on_narrows_by_severity(
    run: Run, tmp_path: Path, lines: tuple[tuple[str, str, str], ...], fail_on: str, code: ExitCode
) -> None:
    config = custom(tmp_path, *lines)
    ended = run("check", "--config.file", config, "--section", "drill", "--fail-on", fail_on)
    assert ended.code == code
    assert "was checked." in ended.err


def test_json_is_as_the_schema_says_and_of_the_sections_asked_for(run: Run, tmp_path: Path) -> None:
    ended = run("check", "--config.file", custom(tmp_path, *LINES), "--section", "drill", "--format", "json")
    document = json.loads(ended.out)
    jsonschema.validate(document, schema())
    seen = {item["item"]: item["status"] for item in document["items"]}
    assert seen == {"replica_drilled": "ok", "restore_drilled": "failed"}


def test_junit_counts_what_failed(run: Run, tmp_path: Path) -> None:
    ended = run("check", "--config.file", custom(tmp_path, *LINES), "--section", "drill", "--format", "junit")
    root = ET.fromstring(ended.out)
    assert len(root.findall(".//testcase")) == 2
    assert len(root.findall(".//failure")) == 1


def test_when_piped_a_line_for_each_and_progress_beside(run: Run, tmp_path: Path) -> None:
    ended = run("check", "--config.file", custom(tmp_path, *LINES))
    assert ended.out.splitlines()[0].startswith("ok              critical  drill.replica_drilled: team@example.com")
    assert ended.out.splitlines()[-1] == "staging: 1 ok, 1 failed."
    assert sorted(ended.err.splitlines()) == [
        "drill.replica_drilled was checked.",
        "drill.restore_drilled was checked.",
    ]


def test_on_a_terminal_a_table_and_a_bar(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    config = custom(tmp_path, *LINES)
    ended = run("check", "--config.file", config)
    assert "✘ failed" in ended.out
    assert "\x1b[31m" in ended.out
    assert "Verifying" in ended.err
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in run("check", "--config.file", config).out  # colours; weight and dimming may stay


def test_nothing_configured_is_never_ok(run: Run) -> None:
    ended = run("check", "--format", "junit")
    assert ended.code in (ExitCode.FAILED, ExitCode.UNKNOWN)
    assert ET.fromstring(ended.out).get("tests") == "205"
