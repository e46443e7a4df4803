"""Lines of one's own on the command line: commands only where they are allowed, every condition shown, no secret ever."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.exporter.cli.conftest import Ended

CANARY = "canary-7f3a\"\\'é"
OWN = """
custom:
  - section: Shop
    line: The token is right
    command: {command: [/bin/sh, -c, 'printf %s "$TOKEN"; printf %s "$TOKEN" >&2; exit $CODE'], env: {TOKEN: "${TOKEN}", CODE: "${CODE}"}, conditions: ['text == "right"']}
  - section: Shop
    line: Exports are there
    file: {paths: [a.txt, b.txt], conditions: [size > 0]}
"""  # noqa: E501


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOKEN", CANARY)
    monkeypatch.setenv("CODE", "0000")
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b.txt").touch()
    file = tmp_path / "config.yaml"
    file.write_text(OWN)
    return file


def test_commands_run_only_where_they_are_allowed(run: Callable[..., Ended], config: Path) -> None:
    off = run("check", "--section", "shop", "--format", "json", "--config.file", config)
    on = run("check", "--section", "shop", "--format", "json", "--enable-commands", "--config.file", config)
    report = run("report", "--section", "shop", "--enable-commands", "--config.file", config)
    assert "was not run: start the exporter with --enable-commands to allow commands." in off.out
    assert 'does not meet `text == \\"right\\"`' in on.out
    assert "does not meet" in report.out
    assert not any(CANARY in ended.out + ended.err for ended in (off, on, report))


def test_an_observed_value_that_is_a_secret_is_not_shown(
    run: Callable[..., Ended], config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program prints the token that it was given, to both of its outputs."""
    for code in ("0000", "0007"):
        monkeypatch.setenv("CODE", code)
        ended = run("explain", "shop.the_token_is_right", "--enable-commands", "--config.file", config)
        assert "failed (unmet): `/bin/sh`" in ended.out, ended.out
        assert "***" in ended.out
        assert "canary-7f3a" not in ended.out + ended.err, ended.out


def test_each_file_is_a_target(run: Callable[..., Ended], config: Path) -> None:
    ended = run("explain", "shop.exports_are_there", "--config.file", config)
    assert ended.code == 1
    assert "1. the file " in ended.out
    assert f"ok: {config.parent}/a.txt is as wanted (1 condition): size is 1, exists is true." in ended.out
    assert f"failed (unmet): {config.parent}/b.txt does not meet `size > 0`: size is 0." in ended.out
    assert "file: {'conditions': ['size > 0']" in ended.out


def test_lists_name_what_a_line_needs(run: Callable[..., Ended], config: Path) -> None:
    listed = run("list", "--section", "shop", "--config.file", config)
    checked = run("config", "check", "-v", "--config.file", config)
    assert "needs `--enable-commands`" in " ".join(listed.out.split())
    assert "shop.exports_are_there" in checked.out
    assert CANARY not in listed.out + checked.out


def test_many_targets_of_one_section_are_looked_at_at_once(run: Callable[..., Ended], tmp_path: Path) -> None:
    paths = [f"file-{number}" for number in range(20)]
    for path in paths:
        (tmp_path / path).write_text("good")
    file = tmp_path / "config.yaml"
    lines = [
        {"section": "Many", "line": f"Line {n}", "file": {"paths": paths, "conditions": ['text == "good"']}}
        for n in "ab"
    ]
    lines.append({"section": "Many", "line": "Ports", "tcp": {"addresses": [f"127.0.0.1:{n}" for n in range(1, 21)]}})
    file.write_text(json.dumps({"custom": lines}))
    ended = run("check", "--section", "many", "--format", "json", "--config.file", file)
    found = {item["item"]: item["status"] for item in json.loads(ended.out)["items"]}
    assert found == {"line_a": "ok", "line_b": "ok", "ports": "failed"}, ended.out
    assert "have not returned" not in ended.out
