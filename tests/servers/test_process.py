"""Programs under test are waited for, ended and never left behind."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.servers.process import Server, answers, eventually, free_port, listening, scratch, unprivileged, wait_until

HTTP = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1"]


def http_server(directory: Path) -> Server:
    port = free_port()
    return Server("http", [*HTTP, str(port)], directory=directory, ready=lambda: answers(f"http://127.0.0.1:{port}/"))


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_a_port_is_given_once() -> None:
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50
    assert not any(map(listening, ports))


def test_a_port_is_not_given_to_another_process() -> None:
    port = free_port()
    code = f"from exporter.demo.ports import _reserve; print(_reserve({port}))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_a_second_port_comes_at_the_distance_asked_for() -> None:
    assert free_port(also=10_000) < 22_768


def test_a_server_is_ready_restarts_and_stops(tmp_path: Path) -> None:
    with http_server(tmp_path) as server:
        first = server.pid
        with pytest.raises(RuntimeError, match="running already"):
            server.start()
        server.kill()
        assert not server.running
        server.start()
        assert server.pid != first
        last = server.pid
    assert not psutil.pid_exists(last)
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.pid


def test_a_server_that_ends_is_told_with_its_log(tmp_path: Path) -> None:
    server = Server("sad", ["/bin/sh", "-c", "echo no such thing >&2; exit 3"], directory=tmp_path, ready=lambda: False)
    with pytest.raises(RuntimeError, match=r"(?s)sad did not start: sad ended at once with status 3.*no such thing"):
        server.start()
    assert not server.running


def test_a_server_that_never_gets_ready_is_ended(tmp_path: Path) -> None:
    server = Server("slow", ["/bin/sleep", "60"], directory=tmp_path, ready=lambda: False, deadline=0.1)
    with pytest.raises(RuntimeError, match=r"slow did not start: After 0.1 s still waiting for slow to be ready"):
        server.start()
    assert not server.running


def test_a_server_that_ignores_the_end_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.servers.process._STOP_SECONDS", 0.2)
    pids = tmp_path / "pids"
    script = "trap '' TERM; setsid sleep 60 & echo $! >pids; while :; do sleep 1; done"
    with Server("deaf", ["/bin/sh", "-c", script], directory=tmp_path, ready=lambda: pids.read_text()):
        child = psutil.Process(int(pids.read_text()))
    assert gone(child)


async def test_a_paused_server_answers_when_it_is_resumed(tmp_path: Path) -> None:
    with http_server(tmp_path) as server:
        server.pause()
        assert psutil.Process(server.pid).status() == psutil.STATUS_STOPPED
        server.resume()
        await eventually(lambda: psutil.Process(server.pid).status() != psutil.STATUS_STOPPED, "the server to go on", 5)


def test_a_paused_server_stops(tmp_path: Path) -> None:
    with http_server(tmp_path) as server:
        server.pause()


def test_the_violent_death_of_the_tests_ends_their_servers(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys, time; from tests.servers.process import Server\n"
        f"s = Server('s', ['/bin/sleep', '60'], directory=pathlib.Path({str(tmp_path)!r}), ready=lambda: True)\n"
        "s.start(); print(s.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as tests:
        assert tests.stdout is not None
        pid = int(tests.stdout.readline())
        server = psutil.Process(pid)
        tests.kill()
    wait_until(lambda: gone(server), "the server to be gone", 5)


def test_a_server_runs_as_another_user() -> None:
    user = unprivileged()
    expected = 65534 if user else os.geteuid()
    with scratch("other", user) as folder:
        command = ["/bin/sh", "-c", "id -u >uid; exec sleep 60"]
        with Server("other", command, directory=folder, ready=(folder / "uid").exists, user=user) as server:
            assert psutil.Process(server.pid).uids().real == expected
            assert (folder / "uid").stat().st_uid == expected
    assert not folder.exists()


def test_a_signal_reaches_the_server(tmp_path: Path) -> None:
    command = ["/bin/sh", "-c", "trap 'echo heard >>news' USR1; : >ready; while :; do sleep 0.05; done"]
    with Server("s", command, directory=tmp_path, ready=(tmp_path / "ready").exists) as server:
        server.signal(signal.SIGUSR1)
        wait_until((tmp_path / "news").exists, "the signal to be heard", 5)


def test_waiting_names_what_and_why() -> None:
    with pytest.raises(TimeoutError, match="still waiting for godot") as raised:
        wait_until(lambda: 1 / 0, "godot", 0.01)
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


async def test_waiting_takes_coroutines_and_does_not_hold_the_loop() -> None:
    event = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, event.set)

    async def arrived() -> bool:
        return event.is_set()

    assert await eventually(arrived, "the event", 5)
    with pytest.raises(TimeoutError, match="still waiting for godot"):
        await eventually(lambda: False, "godot", 0.01)
