"""What the demo is made of: services that are started, broken, fixed and stopped. They live in the supervisor process."""

from __future__ import annotations

import asyncio
import ctypes
import os
import pwd
import shutil
import signal
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

__all__ = ["Fault", "Place", "Process", "Service", "ServiceError", "write_private"]

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class ServiceError(Exception):
    """A service of the demo cannot run here; its text is the full sentence a user reads."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to break a service. `effect` is the sentence that says what was done and which line notices."""

    name: str
    effect: str
    inflict: Callable[[], Awaitable[None]]
    fix: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Place:
    """The demo's folder, and who the servers run as: servers such as PostgreSQL refuse root, so root hands them to another user."""

    directory: Path

    @property
    def user(self) -> pwd.struct_passwd | None:
        """The user that servers are started as; None when the demo is not run by root.

        Raises ServiceError when root has no such user.
        """
        if os.geteuid() != 0:
            return None
        for name in ("postgres", "nobody"):
            try:
                return pwd.getpwnam(name)
            except KeyError:
                continue
        raise ServiceError("Neither user postgres nor nobody exists, and PostgreSQL does not run as root.")

    def folder(self, name: str) -> Path:
        """A fresh folder of the servers' own below the demo's."""
        folder = self.directory / name
        folder.mkdir(mode=0o700)
        if user := self.user:
            os.chown(folder, user.pw_uid, user.pw_gid)
        return folder

    def readable(self, *folders: Path) -> Path:
        """The parent of `folders`, or of copies of them below the demo's folder when the servers' user cannot get at them."""
        if self.user is None or all(_world_readable(folder.resolve()) for folder in folders):
            return folders[0].parent
        for folder in folders:
            copy = shutil.copytree(folder, self.directory / folder.name, symlinks=True)
            for path in (copy, *copy.rglob("*")):
                if not path.is_symlink():
                    mode = path.stat().st_mode
                    path.chmod(mode | (mode & 0o500) >> 3 | (mode & 0o500) >> 6)
        return self.directory

    def give(self, path: Path, text: str) -> Path:
        """Write a file that only the servers' user may read."""
        write_private(path, text)
        if user := self.user:
            os.chown(path, user.pw_uid, user.pw_gid)
        return path


def _world_readable(folder: Path) -> bool:
    return all(parent.stat().st_mode & 0o005 == 0o005 for parent in (folder, *folder.parents))


class Service(ABC):
    """One part of the demo. `name` is what the progress says while it starts."""

    name: ClassVar[str]

    def __init__(self, place: Place) -> None:
        self.place = place

    @abstractmethod
    async def start(self) -> None:
        """Ready to be verified when it returns. Raises ServiceError."""

    @abstractmethod
    async def stop(self) -> None:
        """Nothing is left running when it returns; also after a start that failed half way."""

    @abstractmethod
    def config(self) -> Mapping[str, Any]:
        """The `clients` and `sections` (and other keys) of config.yaml by which it is verified."""

    def faults(self) -> Sequence[Fault]:
        """The ways to break it."""
        return ()


class Process:
    """A server that dies with the supervisor, even when that is killed: the kernel sends it `quit` then."""

    def __init__(
        self, place: Place, argv: Sequence[str | Path], log: Path, quit_signal: signal.Signals = signal.SIGTERM
    ) -> None:
        self._place = place
        self._argv = [str(argument) for argument in argv]
        self._log = log
        self._quit = quit_signal
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, its output appended to the log."""
        user, parent = self._place.user, os.getpid()

        def die_with_parent() -> (
            None
        ):  # pragma: no cover  # in the child, after the change of user, which would clear the setting
            _libc.prctl(_PR_SET_PDEATHSIG, int(self._quit))
            if os.getppid() != parent:
                os._exit(1)

        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._log.parent,
                preexec_fn=die_with_parent,
                user=user.pw_uid if user else None,
                group=user.pw_gid if user else None,
                extra_groups=[] if user else None,
            )

    async def run(self, deadline: float = 60.0) -> None:
        """Start it and wait for its end. Raises ServiceError unless that is a success within `deadline` seconds."""
        await self.start()
        assert self._process is not None
        program = Path(self._argv[0]).name
        try:
            code = await asyncio.wait_for(self._process.wait(), deadline)
        except TimeoutError:
            raise ServiceError(f"{program} did not end within {deadline:.0f} s.") from None
        finally:
            await self.stop()
        if code != 0:
            raise ServiceError(f"{program} ended with {code}: {self.last_words()}")

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.returncode is None

    def last_words(self) -> str:
        """The last line of its log."""
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it printed nothing."

    async def stop(self, how: signal.Signals | None = None, deadline: float = 5.0) -> None:
        """Ask it to end (by `how`, else its quit signal), and kill it after `deadline` seconds."""
        if self._process is None or self._process.returncode is not None:
            return
        self._process.send_signal(how or self._quit)
        try:
            await asyncio.wait_for(self._process.wait(), deadline)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


def write_private(path: Path, text: str) -> Path:
    """Write a file that nobody else may read."""
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    return path
