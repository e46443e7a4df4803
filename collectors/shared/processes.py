"""A program that is asked something: no shell, bounded time, bounded output, nothing left behind."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import NamedTuple

from exporter.options import format_duration
from exporter.verdict import ProbeError, Reason
from exporter.words import one_line

__all__ = ["Ended", "ended", "output_of"]

_CHUNK = 65_536


class Ended(NamedTuple):
    """How a program ended: its exit code, what it wrote to its output, and what it complained about."""

    code: int
    output: bytes
    complaint: bytes


async def output_of(argv: Sequence[str], *, timeout: timedelta, max_bytes: int = 16 * 2**20) -> bytes:
    """What the program writes to its output, when it ends well within `timeout`. Raises ProbeError otherwise."""
    code, output, complaint = await ended(argv, timeout=timeout, max_bytes=max_bytes)
    if code != 0:
        lines = complaint.decode("utf-8", "replace").split("\n")
        reason = next((line.strip() for line in reversed(lines) if line.strip()), "it gave no reason")
        raise ProbeError(f"{argv[0]} ended with status {code}: {one_line(reason)}.", Reason.ERROR)
    return output


async def ended(
    argv: Sequence[str],
    *,
    timeout: timedelta,
    max_bytes: int = 16 * 2**20,
    environment: Mapping[str, str] | None = None,
    folder: str | None = None,
) -> Ended:
    """How the program ends, with its exit code whatever that is. Raises ProbeError when it does not end within `timeout`.

    It runs in a session of its own, which is killed as a whole when it has ended, time is up or the asker is gone; in our
    environment and folder, or in those that are given.
    """
    name = argv[0]
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            env=environment,
            cwd=folder,
        )
    except (OSError, ValueError) as error:
        raise ProbeError(
            f"{name} cannot be run: {getattr(error, 'strerror', None) or error}.", Reason.MISSING
        ) from None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            output, complaint = await asyncio.gather(_read(process.stdout, max_bytes), _read(process.stderr, max_bytes))
            code = await process.wait()
    except TimeoutError:
        raise ProbeError(f"{name} did not end within {format_duration(timeout)}.", Reason.TIMEOUT) from None
    finally:
        with suppress(ProcessLookupError, PermissionError):  # what it started may go on without it
            os.killpg(process.pid, signal.SIGKILL)
        # Closes the pipes, which a grandchild that left the session may hold: wait() would wait for it.
        process._transport.close()  # type: ignore[attr-defined]
        await process.wait()
    if len(output) > max_bytes:
        raise ProbeError(
            f"{name} wrote more than {max_bytes} bytes (limit {max_bytes}), which was not read.", Reason.LIMIT
        )
    return Ended(code, output, complaint)


async def _read(stream: asyncio.StreamReader, limit: int) -> bytes:
    """The stream to its end; what is past the limit is read, as its writer waits for that, and dropped."""
    kept = bytearray()
    while chunk := await stream.read(_CHUNK):
        if len(kept) <= limit:
            kept += chunk
    return bytes(kept)
