"""Commands: off unless allowed, without a shell, ended with all they started, and judged by what they say."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from exporter.verdict import Reason, Result, Status
from tests.collectors.systems.custom.lines import line, seen
from tests.servers.process import eventually

OK, FAILED, UNKNOWN = Status.OK, Status.FAILED, Status.UNKNOWN


async def run(*command: str, commands: bool = True, **options: Any) -> Result:
    return await seen(command={"command": command, "timeout": "30s", **options}, commands=commands)


async def shell(script: str, **options: Any) -> Result:
    return await run("/bin/sh", "-c", script, **options)


async def test_nothing_is_run_unless_it_is_allowed(tmp_path: Path) -> None:
    result = await run("touch", str(tmp_path / "ran"), commands=False)
    assert (result.status, result.reason) == (UNKNOWN, Reason.NOT_CONFIGURED)
    assert "start the exporter with --enable-commands" in result.summary
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("script", "conditions", "status", "words"),
    [
        ("true", [], OK, "status is 0"),
        ("echo sorry >&2; exit 3", [], FAILED, "reports an error: it ended with status 3 (sorry)"),
        ("exit 3", ["status in [0, 3]"], OK, "status is 3"),
        ("kill -9 $$", [], FAILED, "it ended with status -9"),
        ("echo '{\"lag\": 3}'", ["json.lag < 5"], OK, "json.lag is 3"),
        ("echo '{\"lag\": 30}'", ["json.lag < 5"], FAILED, "json.lag is 30"),
        ("echo '{\"lag\": 3'", ["json.lag < 5"], FAILED, "its output is not JSON"),
        ("exit 1", ["status == 0 || json.lag < 5"], FAILED, "its output is not JSON"),
        ("echo nothing", ['text == "nothing\\n"', 'errors == ""'], OK, "as wanted"),
        ("echo bad >&2", ['errors == ""'], FAILED, 'errors is "bad\\n"'),
        ("exit 1", ['text == ""'], FAILED, "it ended with status 1"),
    ],
)
async def test_how_it_ends_and_what_it_prints_decides(
    script: str, conditions: list[str], status: Status, words: str
) -> None:
    result = await shell(script, conditions=conditions)
    assert (result.status, words in result.summary) == (status, True), result.summary


async def test_arguments_are_no_script() -> None:
    result = await run("echo", "$(id); rm -rf *", "`id`", conditions=['text == "$(id); rm -rf * `id`\\n"'])
    assert result.status is OK, result.summary


async def test_its_environment_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", "a-canary-of-ours")
    canary = "a-canary-that-nobody-may-see"
    result = await run(
        "env", env={"TOKEN": canary}, conditions=['text.contains("TOKEN=")', '!text.contains("DATABASE_PASSWORD")']
    )
    assert result.status is OK, result.summary
    lines = await run("env", conditions=['text == "PATH=/usr/local/bin:/usr/bin:/bin\\nHOME=/\\nLANG=C.UTF-8\\n"'])
    assert lines.status is OK, lines.summary
    assert (await shell("pwd; read x || echo no input", conditions=['text == "/\\nno input\\n"'])).status is OK
    assert canary not in repr(line(command={"command": ["env"], "env": {"TOKEN": canary}}))


async def gone(pid_file: Path) -> bool:
    try:
        os.kill(int(pid_file.read_text()), 0)
    except (ProcessLookupError, FileNotFoundError, ValueError):
        return True
    return "Z" in Path(f"/proc/{pid_file.read_text().strip()}/status").read_text().split("State:")[1][:4]


@pytest.mark.parametrize(
    "script",
    [
        "echo $$ > {pid}; sleep 600",
        "trap '' TERM INT HUP; echo $$ > {pid}; while :; do sleep 1; done",
        "sh -c 'echo $$ > {pid}; sleep 600'; true",
        "(echo $$ > {pid}; trap '' TERM; sleep 600) & exec sleep 600",
        "sleep 600 & echo $! > {pid}; exit 0",  # its child holds the output: nobody knows what it will still print
    ],
    ids=["hangs", "ignores SIGTERM", "hangs in a child", "forks and hangs", "ends before its child"],
)
async def test_what_does_not_end_is_ended_with_all_it_started(tmp_path: Path, script: str) -> None:
    pid = tmp_path / "pid"
    result = await shell(script.format(pid=pid), timeout="1500ms")
    assert (result.status, result.reason) == (UNKNOWN, Reason.TIMEOUT), result.summary
    assert result.summary == "/bin/sh did not end within 1s500ms."
    await eventually(lambda: gone(pid), "its processes to be gone")


async def test_what_it_leaves_behind_is_ended(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    result = await shell(f"sleep 600 >/dev/null 2>&1 & echo $! > {pid}; echo done", conditions=['text == "done\\n"'])
    assert result.status is OK, result.summary
    await eventually(lambda: gone(pid), "what it left behind to be gone")


async def test_a_flood_is_not_kept() -> None:
    finite = await shell("head -c 3000000 /dev/zero", conditions=['!text.contains("error")'])
    endless = await run("yes", timeout="1s", conditions=['!text.contains("error")'])
    assert (finite.status, finite.reason) == (UNKNOWN, Reason.LIMIT)
    assert (endless.status, endless.reason) == (UNKNOWN, Reason.TIMEOUT)


async def test_a_program_that_cannot_be_run_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("echo")
    for program in ("no-such-program", str(tmp_path / "script"), str(tmp_path)):
        result = await run(program)
        assert (result.status, "cannot be run" in result.summary) == (UNKNOWN, True), result.summary


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"command": []}, "at least 1 item"),
        ({"command": "ls -l"}, "valid"),
        ({"command": ["ls", "a\0b"]}, "expected a text without a null character"),
        ({"command": ["ls"], "env": {"A=B": "c"}}, "match pattern"),
        ({"command": ["ls"], "conditions": ["code == 0"]}, "undeclared reference to 'code'"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(expected)):
        line(command=options)
