"""Tests of `attest`."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from exporter.cli.shared import ExitCode
from tests.exporter.cli.conftest import Ended

Run = Callable[..., Ended]
WINDOW = "final_checklist.launch_window_confirmed"
LINE = "training.support_trained"
TRAINED = (
    *("--result", "passed", "--by", "lead@example.com", "--artifact", "roster.txt", "--link", "https://example.com/t"),
    *("--measured", "trained=2", "--measured", "total=2"),
)
GIVEN = ("--result", "passed", "--by", "lead@example.com", "--role", "product_owner")


def test_a_record_is_written_once_and_holds(run: Run, evidence: Path) -> None:
    command = ("attest", WINDOW, "--config.file", evidence, *GIVEN, "--window", "2026-10-01/2026-10-02")
    ended = run(*command, "--note", "Agreed with all teams.", "--file", "window.yaml")
    assert ended.code == ExitCode.OK, ended.err
    assert ended.out.startswith("Wrote ")
    record = yaml.safe_load((evidence.parent / "evidence" / "window.yaml").read_text())
    assert (record["item"], record["environment"], record["note"]) == (WINDOW, "staging", "Agreed with all teams.")
    again = run(*command, "--file", "window.yaml")
    assert again.code == ExitCode.CONFIGURATION
    assert yaml.safe_load((evidence.parent / "evidence" / "window.yaml").read_text()) == record


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("training.nobody_trained",), "The checklist has no item 'training.nobody_trained'"),
        (("redis.tls_enabled", *GIVEN), "redis.tls_enabled takes no evidence."),
        ((WINDOW, *GIVEN, "--window", "tomorrow"), "--window takes START/END"),
        ((WINDOW, *GIVEN, "--measured", "rows=many"), "--measured takes NAME=NUMBER"),
    ],
)
def test_what_cannot_be_attested_is_told(run: Run, evidence: Path, arguments: tuple[str, ...], told: str) -> None:
    ended = run("attest", *arguments, "--config.file", evidence)
    assert ended.code == ExitCode.CONFIGURATION
    assert told in ended.err
    assert list((evidence.parent / "evidence").iterdir()) == []


def test_what_is_missing_is_named_where_nobody_can_be_asked(run: Run, evidence: Path) -> None:
    ended = run("attest", WINDOW, "--config.file", evidence, "--by", "lead@example.com")
    assert ended.code == ExitCode.CONFIGURATION
    assert "result" in ended.err


def test_without_a_folder_nothing_is_written(run: Run, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("environment: staging\n")
    ended = run("attest", WINDOW, "--config.file", config, *GIVEN)
    assert (ended.code, "names no evidence folder" in ended.err) == (ExitCode.CONFIGURATION, True)


@pytest.fixture
def roster(evidence: Path) -> Path:
    """The document that a record about training needs."""
    roster = evidence.parent / "evidence" / "roster.txt"
    roster.write_text("one@example.com\ntwo@example.com\n")
    return roster


def test_what_is_missing_is_asked_for_on_a_terminal(
    run: Run, evidence: Path, roster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(
        "sys.stdin", Terminal(f"passed\nlead@example.com\n{roster.name}\n2\n2\nhttps://example.com/t\n")
    )
    ended = run("attest", LINE, "--config.file", evidence, "--on", "2026-11-01")
    assert ended.code == 0, ended.err
    assert "result (passed or failed)" in ended.err
    assert yaml.safe_load((roster.parent / f"{LINE}.2026-11-01.yaml").read_text())["by"] == "lead@example.com"


def test_the_configured_validity_counts(run: Run, evidence: Path, roster: Path) -> None:
    evidence.write_text(evidence.read_text().replace("training: {}", "training: {valid_for: {support_trained: 30d}}"))
    ended = run("attest", LINE, "--config.file", evidence, *TRAINED, "--on", "2026-01-01")
    assert ended.code == 0, ended.err
    assert f"Evidence for {LINE} expired" in ended.out
    assert "(2026-01-30)" in ended.out
