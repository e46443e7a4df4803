"""Reads a file, and sees whether it is being written."""

from __future__ import annotations

import codecs
import os
import stat
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from collectors.shared.cel import Facts, json_of
from collectors.systems.custom.model.file import Files
from collectors.systems.custom.model.probe import Observed, Refuted, Seen
from exporter.files import TooLarge, answered, read_file
from exporter.trace import step
from exporter.verdict import ProbeError, Reason
from exporter.words import counted, os_reason

__all__ = ["look"]

_QUIET = 1.0  # seconds
_SKEW = 60.0


def look(probe: Files, name: str) -> list[Seen]:
    """What is seen of one file. Blocks, for no longer than its timeout and a little more."""
    path = Path(name)
    try:
        with step(f"the file {path}") as taken:
            seen = _observed(probe, path, probe.timeout.total_seconds())
            taken.answered = counted(seen.facts["size"], "byte") if "size" in seen.facts else "it does not exist"
    except FileNotFoundError:
        return [_missing(path)]
    except IsADirectoryError:
        return [Refuted(f"{path} is a directory, expected a regular file.", Reason.MISCONFIGURED)]
    except TooLarge:
        return [ProbeError(f"{path} has more than {probe.max_bytes} bytes, which were not read.", Reason.LIMIT)]
    except PermissionError:
        return [ProbeError(f"The exporter may not read {path}.", Reason.DENIED)]
    except OSError as error:
        return [ProbeError(f"{path} cannot be read: {os_reason(error)}.", Reason.UNOBSERVED)]
    except ProbeError as error:
        return [error]
    return [seen]


def _observed(probe: Files, path: Path, seconds: float) -> Observed:
    before = _status(path, seconds)
    content = None
    if probe.reads:
        before, content = _settled(path, before, probe.max_bytes, seconds)
    age = time.time() - before.st_mtime
    facts = Facts(exists=True, size=before.st_size)
    unseen = {}
    measurements = {"size_bytes": float(before.st_size)}
    if age < -_SKEW:
        unseen["age"] = ProbeError(
            f"{path} was last written in the future, so its age is not known.", Reason.CONTRADICTED
        )
    else:
        facts["age"] = timedelta(seconds=max(0.0, age))
        measurements["age_seconds"] = max(0.0, age)
    if content is not None:
        facts["text"] = content.decode("utf-8", "replace")
        with suppress(ValueError, RecursionError):
            facts["json"] = json_of(content.removeprefix(codecs.BOM_UTF8))
    absent = {"json": "the file is empty" if not before.st_size else "its content is not JSON"}
    return Observed(str(path), facts, absent, unseen, measurements=measurements)


def _status(path: Path, seconds: float) -> os.stat_result:
    found = answered(path.stat, path, seconds)
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError
    if not stat.S_ISREG(found.st_mode):
        raise ProbeError(f"{path} is not a regular file.", Reason.MISCONFIGURED)
    return found


def _settled(path: Path, status: os.stat_result, limit: int, seconds: float) -> tuple[os.stat_result, bytes]:
    """The whole content of a file that nobody is writing: one that was just written is checked again after a while.

    Another file under the same name was put there whole.
    """
    deadline = time.monotonic() + seconds
    settled = time.time() - status.st_mtime >= _QUIET
    while True:
        content = read_file(path, limit, seconds=seconds)
        after = _status(path, seconds)
        if settled and _stamp(after) == _stamp(status):
            return after, content
        if time.monotonic() > deadline:
            raise ProbeError(f"{path} is being written, so its content was not judged.", Reason.UNOBSERVED)
        time.sleep(_QUIET)
        before, status = after, _status(path, seconds)
        settled = _stamp(status) == _stamp(before) or status.st_ino != before.st_ino


def _missing(path: Path) -> Seen:
    """A file that does not exist: a fact only where its folder can be looked into."""
    why = ""
    try:
        folder = os.stat(path.parent)  # noqa: PTH116  # as the file itself
        if not stat.S_ISDIR(folder.st_mode):
            why = "is not a folder"
        elif not os.access(path.parent, os.X_OK):
            why = "may not be looked into by the exporter"
    except OSError as error:
        why = f"cannot be looked into: {os_reason(error)}"
    if why:
        return ProbeError(f"{path} was not checked: {path.parent} {why}.", Reason.UNOBSERVED)
    nowhere = (
        "it is a symbolic link to a file that does not exist"
        if path.is_symlink()
        else f"{path.parent} has no such file"
    )
    gone = dict.fromkeys(("age", "size", "text", "json"), "it does not exist")
    return Observed(str(path), Facts(exists=False), gone, notes={"exists": nowhere})


def _stamp(found: os.stat_result) -> tuple[int, ...]:
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev
