"""Tests of `config check`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.exporter.cli.conftest import Ended

Run = Callable[..., Ended]


def test_config_check_says_what_is_verified(run: Run, evidence: Path) -> None:
    ended = run("config", "check", "--config.file", evidence)
    assert ended.code == 0
    assert ended.out.startswith(f"{evidence} is valid: ")
    assert ended.out.endswith("of 205 lines.\n")


def test_config_check_of_nothing(run: Run) -> None:
    assert run("config", "check").out.startswith("The default configuration is valid: ")
