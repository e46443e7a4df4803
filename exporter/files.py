"""Reading files that people name in a configuration: bounded in size and in time, regular files only.

A path may lead to a named pipe that nobody writes, to a device without an end, or to a network disk that does not answer. None of
these may hold up more than the one who asked.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

__all__ = ["READ_SECONDS", "TooLarge", "answered", "read_file"]

#: Seconds in which a file has to be read.
READ_SECONDS = 5.0

_reading: dict[str, tuple[threading.Thread, float]] = {}  # by path: who reads it, since when
_guard = threading.Lock()


class TooLarge(ValueError):
    """A file has more bytes than whoever reads it takes. The text says how many it takes."""


def read_file(path: Path, limit: int, *, seconds: float = READ_SECONDS) -> bytes:
    """The content of a regular file of at most `limit` bytes, which is waited for at most `seconds`.

    Raises TooLarge, and OSError, whose `strerror` says why: also for what is no regular file, and for a disk that does not answer.
    A file whose reading hangs is not asked for again until it answers, so that threads do not pile up. Blocks: it is for threads.
    """
    outcome: list[bytes | BaseException] = []

    def work() -> None:
        try:
            outcome.append(_read(path, limit))
        except BaseException as error:  # noqa: BLE001  # handed to the caller as it is
            outcome.append(error)
        finally:
            with _guard:
                _reading.pop(str(path), None)

    reader = threading.Thread(target=work, name="checklist-file", daemon=True)
    with _guard:
        if (known := _reading.get(str(path))) is None:
            _reading[str(path)] = reader, time.monotonic()
            reader.start()
    if known is not None:  # another one reads it right now, or it hangs
        other, since = known
        other.join(max(0.0, seconds - (time.monotonic() - since)))
        if other.is_alive():
            raise _hangs(path, seconds)
        return read_file(path, limit, seconds=seconds)
    reader.join(seconds)
    if not outcome:
        raise _hangs(path, seconds)
    (result,) = outcome
    if isinstance(result, BaseException):
        raise result
    return result


def answered(call: Callable[[], T], path: Path, seconds: float) -> T:
    """What `call` returns, which looks at `path` and at files that it names, and is waited for at most `seconds`.

    Raises what `call` raises, and OSError for a disk that does not answer. Blocks; the thread of a call that hangs is left behind.
    """
    outcome: list[T] = []
    raised: list[BaseException] = []

    def work() -> None:
        try:
            outcome.append(call())
        except BaseException as error:  # noqa: BLE001  # handed to the caller as it is
            raised.append(error)

    thread = threading.Thread(target=work, name="checklist-files", daemon=True)
    thread.start()
    thread.join(seconds)
    for error in raised:
        raise error
    if not outcome:
        raise _hangs(path, seconds)
    return outcome[0]


def _hangs(path: Path, seconds: float) -> OSError:
    return OSError(errno.ETIMEDOUT, f"its disk does not answer within {seconds:g} s", str(path))


def _read(path: Path, limit: int) -> bytes:
    file = os.open(
        path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    )  # opening a pipe would wait for a writer
    with os.fdopen(file, "rb") as opened:
        kind = os.fstat(file).st_mode
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(kind):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        content = opened.read(limit + 1)
    if len(content) > limit:
        raise TooLarge(f"expected at most {limit} bytes, found more")
    return content
