"""The exporter's side of the demo: starts the supervisor, hands over its configuration, passes on what shall be broken."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import yaml

from exporter.demo.service import write_private

__all__ = ["DemoError", "Servers", "ask", "default_directory", "servers"]

_MARK = "servers.log"
_STOP_SECONDS = 15.0


class DemoError(Exception):
    """The demo cannot do what was asked; its text is the full sentence a user reads."""


@dataclass(frozen=True, slots=True)
class Servers:
    """What runs: the configuration that verifies it, and the names of the ways to break it, each with its effect.

    `prometheus` is the address of the one that evaluates the rules, empty when there is none; `trouble` says why one that is
    installed did not start.
    """

    config_file: Path
    faults: Mapping[str, str]
    prometheus: str = ""
    trouble: str = ""


def default_directory() -> Path:
    """One folder per user, so that `demo break` finds the demo that runs."""
    return Path(tempfile.gettempdir()) / f"checklist-exporter-demo-{os.geteuid()}"


@contextmanager
def servers(directory: Path, exporter: str, on_step: Callable[[str], None]) -> Iterator[Servers]:
    """The demo's servers, in `directory`, which is made and removed. Raises DemoError.

    `exporter` is the address that the exporter will listen on. `on_step` gets what starts.
    """
    lock = _claim(directory)
    try:
        _check(exporter)
    except DemoError:
        directory.rmdir()
        os.close(lock)
        raise
    log = (directory / _MARK).open("w+b")  # kept open, since the supervisor removes the folder at its end
    try:
        supervisor = subprocess.Popen(  # noqa: S603  # this program itself
            [sys.executable, "-m", "exporter.demo.supervisor", str(directory), exporter],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # Ctrl-C is the exporter's to hear; the servers end after it
            pass_fds=(lock,),  # the folder stays claimed until the last of both has ended
        )
    finally:
        os.close(lock)
    assert supervisor.stdin is not None
    assert supervisor.stdout is not None
    with log, supervisor.stdout:
        try:
            ready = _wait_until_ready(supervisor.stdout, log, on_step)
            yield Servers(_write_config(directory, ready["config"]), ready["faults"], **_prometheus(ready))
        finally:
            supervisor.stdin.close()
            try:
                supervisor.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:  # its servers die with it, and the next demo tidies up
                supervisor.kill()
                supervisor.wait()


def ask(directory: Path, verb: str, name: str) -> str:
    """Have the running demo `break` or `fix` something; the sentence that says what it did. Raises DemoError."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        try:
            connection.connect(str(directory / "control.sock"))
            connection.sendall(f"{verb} {name}\n".encode())
            reply = json.loads(connection.makefile("rb").readline())
        except (OSError, ValueError):
            raise DemoError(f"No demo is running in {directory}; start it with `checklist-exporter demo`.") from None
    if not reply["ok"]:
        raise DemoError(reply["text"])
    return str(reply["text"])


def _prometheus(ready: Mapping[str, Any]) -> dict[str, str]:
    return {"prometheus": ready["prometheus"]["url"], "trouble": ready["prometheus"]["trouble"]}


def _check(address: str) -> None:
    """Raise DemoError if the exporter could not listen there: half a minute before it would try."""
    from exporter.web.server import ListenError, bind

    try:
        for opened in bind([address]):
            opened.close()
    except ListenError as error:
        raise DemoError(f"{error} Choose another address with --web.listen-address.") from None


def _claim(directory: Path) -> int:
    """Make or take over the folder, empty, and lock it; the descriptor that holds the lock."""
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise DemoError(f"{directory} cannot be used: {error.strerror}.") from None
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise DemoError(f"{directory} belongs to another user; choose another with --directory.")
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _empty(directory)
        if os.geteuid() == 0:
            os.fchmod(descriptor, 0o711)  # the servers run as another user, below it
    except BlockingIOError:
        os.close(descriptor)
        raise DemoError(f"A demo is running in {directory} already; choose another with --directory.") from None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _empty(directory: Path) -> None:
    """Remove what a demo left that was killed together with its supervisor; nobody else's files."""
    leftovers = list(directory.iterdir())
    if leftovers and not (directory / _MARK).is_file():
        raise DemoError(f"{directory} is not empty and was not created by a demo; choose another with --directory.")
    for leftover in leftovers:
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()


def _wait_until_ready(messages: IO[bytes], log: IO[bytes], on_step: Callable[[str], None]) -> dict[str, Any]:
    for line in messages:
        message = json.loads(line)
        if "ready" in message:
            return dict(message["ready"])
        if "error" in message:
            raise DemoError(message["error"])
        on_step(message["starting"])
    log.seek(0)
    raise DemoError(f"The demo's servers exited before they were ready. {log.read().decode(errors='replace')}".strip())


def _write_config(directory: Path, config: Mapping[str, Any]) -> Path:
    ordered = {name: config[name] for name in sorted(config, key="sections".__eq__)}  # what is general comes first
    text = yaml.safe_dump(ordered, sort_keys=False, allow_unicode=True, width=120)
    return write_private(directory / "config.yaml", text)
