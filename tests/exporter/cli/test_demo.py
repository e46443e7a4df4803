"""Tests of `demo`, `demo break` and `demo fix`: what they say, and that nothing outlives them however they end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from exporter.cli import main
from exporter.cli.shared import ExitCode
from exporter.demo import launcher
from exporter.demo.launcher import DemoError, servers
from tests.exporter.cli.conftest import Ended
from tests.servers.process import answers, free_port, popen, scratch, wait_until

Run = Callable[..., Ended]
PROGRAM = Path(sys.executable).with_name("checklist-exporter")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where a demo may be; servers of another user than root must reach it."""
    with scratch("demo") as parent:
        yield parent / "demo"


def page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as reply:
        return str(reply.read().decode())


def test_what_is_said_while_it_runs(until_done: Run, folder: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    url, flags = f"http://{address}", ("--directory", str(folder))
    codes = []

    def act() -> None:
        codes.append(main(["demo", "break", "standby", *flags]))
        wait_until(lambda: "0 standbys stream from the primary" in page(url), "the page to tell it in one sentence")
        codes.append(main(["demo", "fix", "standby", *flags]))
        codes.extend(main(["demo", *command, *flags]) for command in (("mend", "standby"), ("break",), ()))

    running = ("demo", *flags, "--web.listen-address", address)
    ended = until_done(*running, ready=lambda: answers(f"{url}/-/ready"), act=act)
    assert ended.code == 0
    assert codes == [0, 0, ExitCode.CONFIGURATION, ExitCode.CONFIGURATION, ExitCode.CONFIGURATION]
    assert f"The checklist: {url}/" in ended.out
    assert f" --directory {folder}   # The standby is stopped" in ended.out
    assert "standby is fixed." in ended.out
    assert "Starting Evidence records and signatures." in ended.err
    assert "standby is not broken." in ended.err
    assert "There is no '' to break; choose one of certificate, chain, " in ended.err
    assert f"A demo is running in {folder} already; choose another with --directory." in ended.err
    assert not folder.exists()


def test_an_address_that_is_taken_is_told_before_anything_is_started(run: Run, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = run("demo", "--directory", folder, "--web.listen-address", address)
    assert ended.code == ExitCode.CONFIGURATION
    assert "Starting" not in ended.err
    assert ended.err.startswith(f"{address} cannot be listened on: ")
    assert ended.err.endswith("Choose another address with --web.listen-address.\n")
    assert not folder.exists()


def test_nothing_to_break(run: Run, folder: Path) -> None:
    ended = run("demo", "break", "standby", "--directory", folder)
    assert ended.code == ExitCode.CONFIGURATION
    assert ended.err == f"No demo is running in {folder}; start it with `checklist-exporter demo`.\n"


def test_somebody_elses_files_are_never_removed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("The only copy.")
    ended = run("demo", "--directory", tmp_path)
    assert ended.code == ExitCode.CONFIGURATION
    assert ended.err.startswith(f"{tmp_path} is not empty and was not created by a demo")
    assert (tmp_path / "thesis.txt").read_text() == "The only copy."


@pytest.mark.parametrize("kind", ["file", "link", "missing parent"])
def test_a_folder_that_is_none(run: Run, tmp_path: Path, kind: str) -> None:
    place = tmp_path / "place"
    if kind == "file":
        place.touch()
    elif kind == "link":
        place.symlink_to(tmp_path)
    else:
        place = place / "below"
    ended = run("demo", "--directory", place)
    assert ended.code == ExitCode.CONFIGURATION
    assert ended.err.startswith(f"{place} cannot be used: ")


def test_killed_with_its_supervisor_it_leaves_no_process_and_the_next_one_tidies_up(folder: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    exporter = subprocess.Popen(
        [PROGRAM, "demo", "--directory", folder, "--web.listen-address", address],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: answers(f"http://{address}/-/healthy"), "the demo to answer", deadline=90)
        processes = psutil.Process(exporter.pid).children(recursive=True)
        (supervisor,) = (process for process in processes if "exporter.demo.supervisor" in process.cmdline())
        assert len(processes) > 8  # the supervisor, and PostgreSQL's own children
        for pid in (exporter.pid, supervisor.pid):
            os.kill(pid, signal.SIGKILL)
        exporter.wait()
        assert psutil.wait_procs(processes, timeout=15)[1] == []
    finally:
        exporter.kill()
        exporter.wait()
    assert folder.exists()
    with servers(folder, f"127.0.0.1:{free_port()}", lambda name: None) as running:
        assert running.config_file.exists()
    assert not folder.exists()


def test_interrupted_while_starting_it_leaves_nothing(folder: Path) -> None:
    command: list[str | Path] = [PROGRAM, "demo", "--directory", folder]
    command += [f"--web.listen-address=127.0.0.1:{free_port()}"]
    with popen(command, stderr=subprocess.PIPE, text=True) as exporter:
        assert exporter.stderr is not None
        assert "PostgreSQL" in exporter.stderr.readline()
        processes = psutil.Process(exporter.pid).children(recursive=True)
        exporter.send_signal(signal.SIGINT)
        assert exporter.wait(60) == ExitCode.INTERRUPTED
    assert psutil.wait_procs(processes, timeout=15)[1] == []
    assert not folder.exists()


def test_a_supervisor_that_does_not_end_is_killed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = json.dumps({"ready": {"config": {}, "faults": {}, "prometheus": {"url": "", "trouble": ""}}})
    deaf = folder.with_name("deaf")
    deaf.write_text(f"#!/bin/sh\necho '{ready}'\nexec sleep 1000\n")
    deaf.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(deaf))
    monkeypatch.setattr(launcher, "_STOP_SECONDS", 0.1)
    others = set(psutil.Process().children())
    with servers(folder, "127.0.0.1:9", lambda name: None):
        (supervisor,) = set(psutil.Process().children()) - others
    assert not supervisor.is_running()


def test_servers_that_cannot_start_end_it_with_the_reason(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    with (
        pytest.raises(DemoError, match="exited before they were ready"),
        servers(folder, f"127.0.0.1:{free_port()}", lambda name: None),
    ):
        pass
