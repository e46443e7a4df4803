"""Tests of `config check`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.exporter.cli.conftest import Ended
from tests.exporter.samples import LINES

Run = Callable[..., Ended]


def test_config_check_says_what_is_verified(run: Run, evidence: Path) -> None:
    ended = run("config", "check", "--config.file", evidence)
    assert ended.code == 0
    assert ended.out.startswith(f"{evidence} is valid: ")
    assert ended.out.endswith(f"of {LINES} lines.\n")


def test_config_check_of_nothing(run: Run) -> None:
    assert run("config", "check").out.startswith("The default configuration is valid: ")


def test_lines_that_evidence_turns_red_are_named(run: Run, evidence: Path, tmp_path: Path) -> None:
    ended = run("config", "check", "--config.file", evidence)
    assert " lines that evidence verifies have no record, so each is failed or unknown until " in ended.err
    assert "documentation.architecture_diagrams_updated" in ended.err
    plain = tmp_path / "plain.yaml"
    plain.write_text("environment: staging\n")
    assert "have no record" not in run("config", "check", "--config.file", plain).err


def test_approvers_are_demanded_of_items_that_take_evidence(run: Run, evidence: Path) -> None:
    text = evidence.read_text()
    for item, error in (("support_trainde", "unknown item"), ("support_trained", "")):
        evidence.write_text(text.replace("training: {}", f"training: {{approvers: {{{item}: 2}}}}"))
        ended = run("config", "check", "--config.file", evidence)
        assert (ended.code, error in ended.err) == (3 if error else 0, True), ended.err
