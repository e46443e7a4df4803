"""A program that is asked something is bounded in time and output, and leaves nothing behind."""

import asyncio
import os
import time
from datetime import timedelta
from pathlib import Path

import pytest

from collectors.shared.processes import output_of
from exporter.verdict import ProbeError
from tests.servers.process import eventually

SHORT = timedelta(milliseconds=300)


async def run(script: str, timeout: timedelta = timedelta(seconds=10), max_bytes: int = 2**20) -> bytes:
    return await output_of(["/bin/sh", "-c", script], timeout=timeout, max_bytes=max_bytes)


async def test_the_output_of_a_program_that_ends_well(no_leftovers: None) -> None:
    assert await run("echo out; echo err >&2") == b"out\n"
    assert await run("head -c 300000 /dev/zero >&2; head -c 300000 /dev/zero") == bytes(300_000)
    assert await run("cat") == b""  # its input is empty


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo first >&2; echo the reason. >&2; exit 3", "/bin/sh ended with status 3: the reason."),
        ("exit 4", "/bin/sh ended with status 4: it gave no reason."),
        ("kill -9 $$", "/bin/sh ended with status -9: it gave no reason."),
        ("head -c 2000000 /dev/zero", "/bin/sh wrote more than 1048576 bytes (limit 1048576), which was not read."),
        (r"printf '\377\n' >&2; exit 1", "/bin/sh ended with status 1: �."),
    ],
)
async def test_a_program_that_does_not_end_well(script: str, told: str, no_leftovers: None) -> None:
    with pytest.raises(ProbeError) as raised:
        await run(script)
    assert str(raised.value) == told


@pytest.mark.parametrize(
    "script", ["sleep 60", "yes", "sleep 60 & wait", "trap '' TERM; sleep 60", "sleep 60 & exec sleep 60"]
)
async def test_a_program_that_does_not_end(script: str, no_leftovers: None) -> None:
    started = time.monotonic()
    with pytest.raises(ProbeError, match="/bin/sh did not end within 300ms"):
        await run(script, SHORT)
    assert time.monotonic() - started < 30


async def test_a_grandchild_that_holds_the_output_is_not_waited_for(tmp_path: Path, no_leftovers: None) -> None:
    pid = tmp_path / "pid"
    with pytest.raises(ProbeError, match="did not end within 3s"):
        await run(
            f"setsid sh -c 'echo $$ >{pid}; exec sleep 60' & until [ -s {pid} ]; do sleep 0.01; done",
            timedelta(seconds=3),
        )
    os.kill(int(pid.read_text()), 9)  # it left the session, so nobody else does


async def test_a_run_that_is_cancelled_ends_the_program(tmp_path: Path, no_leftovers: None) -> None:
    pid = tmp_path / "pid"
    asking = asyncio.create_task(run(f"echo $$ >{pid}; exec sleep 60"))
    await eventually(lambda: pid.exists() and pid.read_text(), "the program to run")
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert not Path("/proc", pid.read_text().strip()).exists()


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["/nonexistent"], "/nonexistent cannot be run: No such file or directory."),
        (["/etc/passwd"], "/etc/passwd cannot be run: Permission denied."),
        (["/bin/echo", "a\0b"], "/bin/echo cannot be run: embedded null byte."),
    ],
)
async def test_a_program_that_cannot_be_run(argv: list[str], told: str) -> None:
    with pytest.raises(ProbeError) as raised:
        await output_of(argv, timeout=SHORT)
    assert str(raised.value) == told
