"""Programs under test: started on free ports, waited for, and always ended."""

import asyncio
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, overload

import psutil

from exporter.demo.ports import LOOPBACK as LOOPBACK
from exporter.demo.ports import free_port as free_port

DEADLINE = 60.0
"""Seconds until a state that comes about by itself is given up; tests of a busy machine wait for others' processes as well."""

# The second read returns when the tests' process is gone. Asked first: Patroni's PostgreSQL is in a group of its own.
_WATCHER = 'read group; read end; kill -s TERM -- "-$group"; sleep 5; kill -s KILL -- "-$group" 2>/dev/null'
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.02, 0.15  # at first, and after some time: who asks often keeps what it waits for from getting there

T = TypeVar("T")


def listening(port: int) -> bool:
    """Say whether something accepts connections on this loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0


def answers(url: str) -> bool:
    """Say whether GET of this URL is answered with a status below 400."""
    with suppress(OSError), urllib.request.urlopen(url, timeout=2):  # URLError and HTTPError are OSErrors
        return True
    return False


def call(url: str, body: object = None) -> Any:
    """GET this URL, or POST ``body`` to it as JSON, and return the JSON document (or None) that is answered.

    Raises OSError (HTTPError for a status of 400 and above).
    """
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.loads(reply.read() or b"null")


def wait_until(condition: Callable[[], T], what: str, deadline: float = DEADLINE) -> T:
    """Return what ``condition`` gives as soon as that is true; whatever it raises before counts as not yet.

    Raises TimeoutError, naming ``what`` and caused by the last exception, after ``deadline`` seconds.
    """
    end, pauses = time.monotonic() + deadline, _pauses()
    while True:
        try:
            value, error = condition(), None
            if value:
                return value
        except Exception as raised:  # noqa: BLE001 - a server that is not ready fails in the ways of its client library
            error = raised
        if time.monotonic() > end:
            raise TimeoutError(f"After {deadline:g} s still waiting for {what}.") from error
        time.sleep(next(pauses))


def _pauses() -> Iterator[float]:
    """The seconds between one look and the next."""
    pause, longest = _POLL_SECONDS
    while True:
        yield pause
        pause = min(pause * 1.2, longest)


@overload
async def eventually(condition: Callable[[], Awaitable[T]], what: str, deadline: float = DEADLINE) -> T: ...
@overload
async def eventually(condition: Callable[[], T], what: str, deadline: float = DEADLINE) -> T: ...
async def eventually(condition: Callable[[], T | Awaitable[T]], what: str, deadline: float = DEADLINE) -> T:
    """Do as ``wait_until``, without holding the event loop; ``condition`` may be a coroutine function."""
    end, pauses = time.monotonic() + deadline, _pauses()
    while True:
        try:
            value, error = condition(), None
            if isinstance(value, Awaitable):
                value = await value
            if value:
                return value
        except Exception as raised:  # noqa: BLE001 - as above
            error = raised
        if time.monotonic() > end:
            raise TimeoutError(f"After {deadline:g} s still waiting for {what}.") from error
        await asyncio.sleep(next(pauses))


def unprivileged() -> str | None:
    """Return the user for servers that refuse to run as root; None where the tests are not root themselves."""
    return "nobody" if os.geteuid() == 0 else None


@contextmanager
def scratch(name: str, user: str | None = None) -> Iterator[Path]:
    """Give a folder that goes away, owned by ``user`` where that is given (pytest's own folders are closed to others)."""
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    try:
        folder.chmod(0o755)
        if user is not None:
            shutil.chown(folder, user)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def popen(argv: Sequence[str | Path], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """A program that is killed at the end: `Popen` itself would wait for it, also where what was wanted of it did not come about.

    `options` are those of `subprocess.Popen`.
    """
    with subprocess.Popen(argv, **options) as process:
        try:
            yield process
        finally:
            process.kill()


class Server:
    """A program in a process group of its own; its output goes to ``log``.

    ``ready`` is asked until it is true. ``env`` adds to this process's environment. ``user`` drops root's rights for a server
    that refuses to run as root. Leaving the context stops the server; the death of the tests' process, however violent, kills it.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        directory: Path,
        ready: Callable[[], object],
        env: Mapping[str, str] | None = None,
        deadline: float = DEADLINE,
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self.argv = [str(word) for word in argv]
        self.directory = directory
        self.log = directory / f"{name}.log"
        self._ready = ready
        self._env = {**os.environ, **(env or {})}
        self._deadline = deadline
        self._user = user
        self._stop_signal = stop_signal
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The program's process id."""
        if self._process is None:
            raise RuntimeError(f"{self.name} is not running.")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the program is there (a stopped one is)."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the program, again if need be, and wait until it is ready; raises RuntimeError with the end of its log."""
        if self.running:
            raise RuntimeError(f"{self.name} is running already.")
        # A watcher, since PR_SET_PDEATHSIG fires at the end of the *thread* that started the server, and spares its children.
        self._watcher = subprocess.Popen(["/bin/sh", "-c", _WATCHER], stdin=subprocess.PIPE, start_new_session=True)
        user = pwd.getpwnam(self._user) if self._user and os.geteuid() == 0 else None
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.argv,
                cwd=self.directory,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
                user=user.pw_uid if user else None,
                group=user.pw_gid if user else None,
                extra_groups=() if user else None,
            )
        assert self._watcher.stdin is not None
        self._watcher.stdin.write(b"%d\n" % self._process.pid)
        self._watcher.stdin.flush()
        try:
            wait_until(lambda: not self.running or self._ready(), f"{self.name} to be ready", self._deadline)
            if not self.running:
                raise RuntimeError(f"{self.name} ended at once with status {self._process.returncode}.")
        except BaseException as error:
            self.kill()
            if isinstance(error, Exception):
                raise RuntimeError(f"{self.name} did not start: {error}\n{self.tail()}") from error
            raise

    def stop(self) -> None:
        """Ask the program to end and wait for it; what has not ended after 10 s is killed. Harmless when it is not running."""
        if self._process is not None and self.running:
            children = self._family()[1:]
            self.resume()
            self._process.send_signal(self._stop_signal)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)
                psutil.wait_procs(children, timeout=1)
        self.kill()

    def kill(self) -> None:
        """Kill the program and all that it started."""
        if self._process is not None:
            children = self._family()[1:]
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            for child in children:
                with suppress(psutil.NoSuchProcess):
                    child.kill()
            self._process.wait()
            psutil.wait_procs(children, timeout=_STOP_SECONDS)
            self._process = None
        if self._watcher is not None:
            self._watcher.kill()
            self._watcher.communicate()
            self._watcher = None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program, such as SIGHUP to reload."""
        os.kill(self.pid, number)

    def pause(self) -> None:
        """Freeze the program and its children: connections are accepted by the kernel and never answered."""
        family = self._family()
        for process in family:
            process.suspend()
        stopped = (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
        wait_until(lambda: all(process.status() in stopped for process in family), f"{self.name} to be frozen", 5)

    def resume(self) -> None:
        """Let a frozen program go on."""
        for process in self._family():
            with suppress(psutil.NoSuchProcess):  # it ended meanwhile
                process.resume()

    def tail(self, lines: int = 30) -> str:
        """Return the end of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _family(self) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            program = psutil.Process(self.pid)
            return [program, *program.children(recursive=True)]
        return []
