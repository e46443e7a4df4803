"""Tests of what every command has in common."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exporter import logs
from exporter.cli import config as config_command
from exporter.cli import main
from exporter.cli.shared import ExitCode
from tests.exporter.cli.conftest import Ended

Run = Callable[..., Ended]


def test_without_a_command_it_shows_its_help(run: Run) -> None:
    ended = run()
    assert ended.code == ExitCode.CONFIGURATION
    assert "healthcheck" in ended.out
    assert ended.err == ""


@pytest.mark.parametrize("arguments", [("--help",), ("check", "-h"), ("config", "--help"), ("demo", "break", "--help")])
def test_help_is_no_error(run: Run, arguments: tuple[str, ...]) -> None:
    ended = run(*arguments)
    assert ended.code == 0
    assert "Usage: checklist-exporter" in ended.out


def test_version(run: Run) -> None:
    assert run("--version").out.startswith("checklist-exporter, version 0.")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("lisst",), "No such command 'lisst'. Did you mean 'list'?"),
        (("check", "--fail-on", "fatal"), "critical"),
        (("check", "--sektion", "redis"), "--sektion"),
        (("--config.fil=x",), "--config.fil"),
        (("check", "--section", "postgres"), "There is no section 'postgres'; did you mean 'postgresql'?"),
        (("check", "--section", "zzz"), "There is no section 'zzz'."),
    ],
)
def test_a_wrong_command_line_is_not_taken_for_an_unknown_line(run: Run, arguments: tuple[str, ...], said: str) -> None:
    ended = run(*arguments)
    assert ended.code == ExitCode.CONFIGURATION
    assert said in ended.err
    assert ended.out == ""


def test_flags_alone_mean_serve(run: Run, evidence: Path) -> None:
    ended = run(f"--config.file={evidence}", "--config.check")
    assert ended.code == 0
    assert "is valid" in ended.out


def test_every_configuration_error_is_told_with_its_place(run: Run, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("environment: production\nevidenc: ./evidence\nsections:\n  training:\n    every: soon\n")
    for command in (("config", "check"), ("check",), ("report",), ("serve",), ("attest", "training.support_trained")):
        ended = run(*command, "--config.file", config)
        assert ended.code == ExitCode.CONFIGURATION
        assert f"{config}:2:1: evidenc: " in ended.err
        assert f"{config}:5:5: sections.training.every: " in ended.err


def test_a_line_number_is_no_emoji(run: Run, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("#\n" * 99 + "bogus: 1\n")
    assert run("config", "check", "--config.file", config).err == f"{config}:100:1: bogus: unknown key\n"


PROGRAM = Path(sys.executable).with_name("checklist-exporter")


@pytest.mark.parametrize(
    "arguments", [("list",), ("list", "--format=json"), ("check",), ("report", "--format=html"), ("--version",)]
)
def test_what_nobody_reads_is_not_taken_for_a_failed_line(arguments: tuple[str, ...]) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        ended = subprocess.run(
            [PROGRAM, *arguments], stdout=closed, stderr=subprocess.PIPE, text=True, check=False, timeout=120
        )
    assert ended.returncode == ExitCode.UNREAD
    assert "Error" not in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("arguments", [("list", "--format=json"), ("check", "--format=markdown")])
def test_documents_are_utf_8_whatever_the_locale(arguments: tuple[str, ...]) -> None:
    environ = {**os.environ, "PYTHONIOENCODING": "ascii"}
    ended = subprocess.run([PROGRAM, *arguments], capture_output=True, env=environ, check=False, timeout=120)
    assert "≥" in ended.stdout.decode()
    assert b"Traceback" not in ended.stderr


def test_an_error_of_its_own_is_not_taken_for_a_failed_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> object:
        raise RuntimeError("no route to hunter2-hunter2")

    logs.hide(["hunter2-hunter2"])
    monkeypatch.setattr(config_command, "load", broken)
    ended = run("config", "check")
    assert ended.code == ExitCode.INTERNAL
    assert "RuntimeError: no route to <secret>" in ended.err
    assert "hunter2" not in ended.err


def test_interrupted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(config_command, "load", interrupted)
    assert run("config", "check").code == ExitCode.INTERRUPTED


def test_end_of_input_while_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(_: object) -> object:
        raise EOFError

    monkeypatch.setattr(config_command, "load", ended)
    assert main(["config", "check"]) == ExitCode.INTERRUPTED


def test_help_and_list_import_no_client_library() -> None:
    heavy = {"psycopg", "redis", "nats", "neo4j", "kubernetes", "qdrant_client", "uvicorn", "starlette"}
    program = (
        "import sys; from exporter.cli import main; main(['list', '--format', 'json']); main(['--help']);"
        "sys.stderr.write(' '.join(sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert not heavy & set(ended.stderr.split())


def started(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PROGRAM, *arguments], stderr=subprocess.PIPE, text=True, check=False, timeout=120, **more)


def test_a_full_disk_costs_the_output_but_not_the_verdict() -> None:
    with Path("/dev/full").open("wb") as full:
        ended = started("check", "--format", "json", stdout=full)
    assert ended.returncode in (ExitCode.FAILED, ExitCode.UNKNOWN)
    assert "The output cannot be written: No space left on device. The verdict: " in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_full_disk_is_never_a_success() -> None:
    with Path("/dev/full").open("wb") as full:
        ended = started("list", "--format", "json", stdout=full)
    assert ended.returncode == ExitCode.INTERNAL
    assert ended.stderr == "The output cannot be written: No space left on device.\n"


@pytest.mark.parametrize("command", ["check", "--version"])
def test_closed_streams_leave_the_exit_code(command: str) -> None:
    codes = [
        subprocess.run(
            ["sh", "-c", f"exec {PROGRAM} {command} {closed}"], capture_output=True, check=False, timeout=120
        )
        for closed in ("", ">&-", ">&- 2>&-")
    ]
    assert len({ended.returncode for ended in codes}) == 1
    assert codes[0].returncode != ExitCode.INTERNAL
    assert b"Traceback" not in codes[1].stderr


@pytest.mark.parametrize("arguments", [("list", "--section", "postgresql"), ("--version",)])
def test_a_terminal_of_no_width_shows_all_the_same(arguments: tuple[str, ...]) -> None:
    ended = started(*arguments, stdout=subprocess.PIPE, env={**os.environ, "COLUMNS": "0"})
    assert ended.returncode == 0
    assert len(ended.stdout) > 20


def test_text_is_shown_whatever_the_terminal_encodes() -> None:
    ended = started("list", stdout=subprocess.PIPE, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert ended.returncode == 0
    assert "\\u2265" in ended.stdout
    assert "Traceback" not in ended.stderr
