"""The evidence folder: which files are read and when, and the files that records name."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, cast

from exporter.evidence.errors import Refuted
from exporter.evidence.records import Record, RecordFile, Unreadable, read_records, record_files
from exporter.positioned_yaml import YamlError, read_bounded
from exporter.verdict import ProbeError, Reason

__all__ = ["MAX_ARTIFACT", "Known", "Store", "read_artifact"]

T = TypeVar("T")

log = logging.getLogger(__name__)

MAX_ARTIFACT = 100 * 2**20


@dataclass(frozen=True)
class Known:
    """What was read from a folder at one time: its files by name, each with the stamp by which a change is noticed."""

    trouble: str | None
    reason: Reason
    files: Mapping[str, tuple[object, RecordFile]]

    @cached_property
    def records(self) -> Mapping[str, Sequence[Record]]:
        """The records by the item that they are about."""
        found: dict[str, list[Record]] = {}
        for _, file in self.files.values():
            for record in file.records:
                found.setdefault(record.item, []).append(record)
        return found

    @cached_property
    def unreadable(self) -> tuple[Unreadable, ...]:
        """What could not be read."""
        return tuple(unreadable for _, file in self.files.values() for unreadable in file.unreadable)

    @cached_property
    def roles(self) -> frozenset[str]:
        """Every role that a record names."""
        return frozenset(record.role for records in self.records.values() for record in records if record.role)

    @property
    def problems(self) -> tuple[str, ...]:
        """What could not be read, or why nothing could, in words."""
        return (self.trouble,) if self.trouble else tuple(unreadable.problem for unreadable in self.unreadable)

    def content(self, record: Record) -> bytes:
        """The bytes of the file that a record was read from, as they were then."""
        return self.files[record.file][1].content


class Store:
    """The records in a folder of YAML files. `known` is what was last read; it is replaced as a whole and never changed."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.known = Known("No evidence folder is configured.", Reason.NOT_CONFIGURED, {})
        self._calls: dict[tuple[Any, ...], asyncio.Task[Any]] = {}
        self._reading_since: float | None = None

    async def close(self) -> None:
        """Wait for no file any more."""
        calls = list(self._calls.values())
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    def refresh(self) -> bool:
        """Read files that came, changed or went since the last time; returns whether any did. Unchanged ones cost one stat.

        May be called in a thread, one at a time: what is being judged meanwhile is judged by what was known before.
        """
        if self.folder is None:
            return False
        before = self.known
        self._reading_since = time.monotonic()
        try:
            known = Known(None, Reason.UNOBSERVED, self._read(self.folder))
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            reason = _reason(error) if isinstance(error, OSError) else Reason.LIMIT
            known = Known(f"Evidence folder {self.folder} cannot be read: {why}.", reason, before.files)
        finally:
            self._reading_since = None
        if (known.trouble, known.files) == (before.trouble, before.files):
            return False
        self.known = known
        for problem in known.problems:
            if problem not in before.problems:
                log.warning("Evidence cannot be read: %s", problem)
        return True

    @property
    def waiting(self) -> float:
        """For how many seconds the folder is being read by now; 0 when it is not."""
        since = self._reading_since
        return time.monotonic() - since if since is not None else 0.0

    def _read(self, folder: Path) -> dict[str, tuple[object, RecordFile]]:
        files = {}
        for path in record_files(folder):
            name = str(path.relative_to(folder))
            stamp = _stamp(path)
            known = self.known.files.get(name)
            files[name] = known if known and stamp and known[0] == stamp else (stamp, read_records(path, name))
        return files

    async def beside(self, file: str, path: str) -> tuple[Path, bool]:
        """A file that the record in `file` names, relative to it, and whether it exists.

        Raises Refuted for one outside the evidence folder, ProbeError for one that cannot be followed.
        """
        return await self._apart(self._beside, file, path)

    async def artifact(self, file: str, path: str) -> bytes:
        """The bytes of an artefact that the record in `file` names.

        Raises Refuted when there is none or it is outside the folder, ProbeError when it cannot be read.
        """
        return await self._apart(self._artifact, file, path)

    async def _apart(self, call: Callable[..., T], *args: Any) -> T:
        """Use files in a thread. Where the file system hangs, whoever wants the same waits for the same call."""
        key = (call, *args)
        if (task := self._calls.get(key)) is None:

            def done(task: asyncio.Task[T]) -> None:
                del self._calls[key]
                task.cancelled() or task.exception()  # seen, also where nobody waits any more

            task = self._calls[key] = asyncio.create_task(asyncio.to_thread(call, *args))
            task.add_done_callback(done)
        try:
            return cast("T", await asyncio.shield(task))
        except asyncio.CancelledError:
            if task.cancelled() and not cast("asyncio.Task[Any]", asyncio.current_task()).cancelling():
                raise ProbeError("The evidence was closed while it was read.") from None
            raise

    def _beside(self, file: str, path: str) -> tuple[Path, bool]:
        assert self.folder is not None
        found = (self.folder / file).parent / path
        try:
            inside, exists = found.resolve().is_relative_to(self.folder.resolve()), _exists(found)
        except (OSError, RuntimeError):  # a loop of symbolic links, a folder that may not be looked into
            raise ProbeError(f"{path} cannot be followed.") from None
        if not inside:
            raise Refuted(f"{path} is outside the evidence folder.", Reason.INVALID)
        return found, exists

    def _artifact(self, file: str, path: str) -> bytes:
        found, _ = self._beside(file, path)
        return read_artifact(found, path)


def read_artifact(path: Path, name: str) -> bytes:
    """The bytes of a file that is called `name`. Raises Refuted when there is none, ProbeError when they cannot be read."""
    if path.exists() and not path.is_file():
        raise Refuted(f"{name} is not a regular file.", Reason.INVALID)
    try:
        return read_bounded(path, MAX_ARTIFACT)
    except FileNotFoundError:
        raise Refuted(f"{name} does not exist.", Reason.MISSING) from None
    except OSError as error:
        raise ProbeError(f"{name} cannot be read: {error.strerror}.", _reason(error)) from None
    except YamlError as error:
        raise ProbeError(f"{name}: {error.problem}.", Reason.LIMIT) from None


def _exists(path: Path) -> bool:
    """Whether there is such a file. Raises OSError where that cannot be known, for a loop of links too on every Python."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _reason(error: OSError) -> Reason:
    return Reason.DENIED if isinstance(error, PermissionError) else Reason.UNOBSERVED


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None  # gone meanwhile: reading it says so
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
