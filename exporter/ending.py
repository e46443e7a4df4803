"""The end of the process: within five seconds of SIGTERM, whatever still runs.

What was asked to end may not end: a task that ignores its cancellation, code that blocks the event loop, a disk that does not
answer. A thread that waits for none of these ends the process then, and the system's alarm ends it should that thread not get its
turn.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

from exporter.runner import Guarded

__all__ = ["call_off", "end_in_time", "leave", "until_done"]

T = TypeVar("T")

log = logging.getLogger(__name__)

#: After this long the process ends whatever still runs.
END_SECONDS = 4.2
#: After this long the system ends it: code in C that holds the interpreter lock lets no thread of Python do so.
ALARM_SECONDS = 4.8

_in_time: threading.Event | None = None  # set when what was to end has ended


def until_done(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, in an event loop that nothing else ends: no plug-in that stops the loop or exits in a callback.

    Raises what `work` raises, and KeyboardInterrupt until it handles SIGINT itself.
    """
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        task: asyncio.Task[T] = Guarded(work, loop=loop)
        while True:
            try:
                return loop.run_until_complete(task)
            except (SystemExit, KeyboardInterrupt, RuntimeError) as error:
                asked = signal.getsignal(signal.SIGINT) is signal.default_int_handler
                if task.done() or loop.is_closed() or (asked and isinstance(error, KeyboardInterrupt)):
                    raise
                log.exception("A plug-in tried to end the process: it goes on.")


def end_in_time() -> None:
    """Begin to count. For the handler of a signal, in the main thread; a second signal changes nothing."""
    global _in_time  # a process ends once
    if _in_time is not None:
        return
    _in_time = threading.Event()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, ALARM_SECONDS)
    threading.Thread(target=_end, args=(_in_time,), name="end", daemon=True).start()


def _end(in_time: threading.Event) -> None:
    if in_time.wait(END_SECONDS):
        return
    why = "A task did not stop after it was cancelled: the process exits without it."
    # In a thread again: what blocks the loop may hold the lock of the log.
    telling = threading.Thread(target=log.warning, args=(why,), daemon=True)
    telling.start()
    telling.join(0.2)
    signal.setitimer(signal.ITIMER_REAL, 0)
    os._exit(0)


def call_off() -> None:
    """Everything has ended in time: what called this may go on."""
    global _in_time
    if _in_time is not None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        _in_time.set()
        _in_time = None


def leave(code: int) -> NoReturn:
    """End the process without taking the interpreter apart: that takes seconds after a very large configuration.

    Neither does this wait for threads that hang. What was logged and printed is written first.
    """
    writing = threading.Thread(target=_write_out, daemon=True)  # whoever reads it may have stopped to
    writing.start()
    writing.join(0.5)
    os._exit(code)


def _write_out() -> None:
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
