"""Transitions and last observations in a file or a database, so that a restart loses nothing that was shown for a second.

Verification hands over and goes on; one writer, in a thread of its own, stores what piled up since its last turn. A disk
that is slow, full, locked or gone costs history, never a verdict; so does a database.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast

from exporter.observations import Observation, Remembered, Transition
from exporter.storage import Deposed, InUse, Storage
from exporter.threads import Stuck, Threads
from exporter.words import os_reason

__all__ = ["History"]

log = logging.getLogger(__name__)

#: Seconds between two looks at whether the storage is still there, and between two tries to write.
CHECK_SECONDS = 1.0
#: A disk or a database that does not answer for this long is trouble.
PATIENCE_SECONDS = 5.0
#: Seconds that an exporter which just ended may take to let go of the storage.
LOCK_SECONDS = 8.0
#: Transitions kept in memory while the disk refuses them; about a day of an unstable environment.
PENDING_LIMIT = 10_000
#: For this long it is shown that something was set aside or lost, so that no scrape interval misses it.
NOTICE_SECONDS = 900.0


class History:
    """An archive for State, in a storage (in memory when there is none).

    What could not be written is kept, bounded, and written as soon as it can be; `trouble` says why as a full sentence, and what
    was lately set aside. Transitions older than `keep` are not shown. Used from the event loop's thread.
    """

    def __init__(
        self, database: Storage | None, *, keep: timedelta = timedelta(days=90), now: Callable[[], datetime]
    ) -> None:
        self._now = now
        self._keep = keep
        self._database = database
        self._title = database.title if database else ""
        if database is not None:
            database.notice = self._note
        self._threads = Threads(places=1)
        self._memory: deque[Transition] = deque(maxlen=PENDING_LIMIT)
        self._work = threading.Condition()
        # Guarded by `_work`, as is all that the writer shares:
        self._transitions: list[Transition] = []
        self._kept: dict[tuple[str, str], Remembered] = {}
        self._bad: list[Any] = []
        self._writing_since: float | None = None
        self._in_hand: tuple[list[Transition], dict[tuple[str, str], Remembered]] = ([], {})
        self._closing = False
        self._writer: threading.Thread | None = None
        self._loaded = threading.Event()
        self._found: Mapping[tuple[str, str], Remembered] = {}
        self._refused: InUse | None = None
        self._sound = False  # whether the file was open, and ours, at the last turn
        self._error: str | None = None
        self._noted: tuple[str, float] | None = None
        self.incomplete = False

    @property
    def lasts(self) -> bool:
        """Whether it outlives the process."""
        return self._database is not None

    # -- trouble

    @property
    def trouble(self) -> str | None:
        """What keeps history from being kept, or was lately set aside; None while all is well."""
        if self._error is not None:
            return self._error
        if self._writer is not None and not self._writer.is_alive() and not self._closing:
            return f"{self._title} is no longer written: its writer stopped, see the log."
        since = self._writing_since
        if since is not None and time.monotonic() - since > PATIENCE_SECONDS:
            return f"{self._title} cannot be written: it has not answered for {PATIENCE_SECONDS:g} s."
        if self._noted is not None and time.monotonic() - self._noted[1] < NOTICE_SECONDS:
            return self._noted[0]
        return None

    def _note(self, sentence: str) -> None:
        log.error("%s", sentence)
        self._noted = (sentence, time.monotonic())

    def _report(self, doing: str, error: Exception) -> None:
        reason = os_reason(error) if isinstance(error, OSError) and error.errno else str(error).rstrip(".")
        reason = reason or "it did not answer in time"
        message = f"{self._title} cannot be {doing}: {reason}."
        if message != self._error:
            log.error("%s Verification continues, history is recorded in memory.", message)
        self._error = message

    def _recovered(self) -> None:
        if self._error is not None:
            log.info("%s can be used again.", self._title)
        self._error = None

    # -- reading

    def load(self) -> Mapping[tuple[str, str], Remembered]:
        """What was known of every item when it was last written; nothing when it cannot be read in time.

        Raises InUse when another exporter writes it.
        """
        if self._database is None:
            return {}
        self._start()
        if not self._loaded.wait(PATIENCE_SECONDS + LOCK_SECONDS):
            self._report("read", TimeoutError())
        if self._refused is not None:
            raise self._refused
        return self._found

    async def transitions(
        self, *, section: str | None = None, item: str | None = None, limit: int = 100
    ) -> list[Transition]:
        """The newest transitions, newest first, of all items or those of one section or item."""
        with self._work:
            waiting = [*self._memory, *self._in_hand[0], *self._transitions]
        oldest = self._now() - self._keep
        pending = [
            transition
            for transition in reversed(waiting)
            if section in (None, transition.section) and item in (None, transition.item) and transition.at >= oldest
        ]
        database = self._database
        if database is None or not self._sound:
            return pending[:limit]
        found: list[Transition] = []
        troubles: tuple[type[Exception], ...] = (*database.troubles, TimeoutError, Stuck)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                found, bad = await self._threads.run("history", lambda: database.newest(section, item, limit))
        except troubles as error:
            self._report("read", error)
        else:
            if bad:
                with self._work:
                    self._bad += bad
        known = set(pending)  # the writer may have come between
        return (pending + [transition for transition in found if transition not in known])[:limit]

    # -- handing over

    def keep(self, transitions: Sequence[Transition], kept: Mapping[tuple[str, str], Remembered]) -> None:
        """Have these written soon. Returns at once, whatever the storage does."""
        if self._database is None:
            self._memory.extend(transitions)
            return
        with self._work:
            self._transitions += transitions
            del self._transitions[:-PENDING_LIMIT]
            for key, new in kept.items():
                self._kept[key] = _merged(self._kept.get(key), new)
            self._work.notify_all()
        self._start()

    async def flush(self, seconds: float = PATIENCE_SECONDS) -> bool:
        """Wait until all that was handed over is stored; returns whether it is, within so many seconds."""
        end = time.monotonic() + seconds
        while self._pending():
            if time.monotonic() > end:
                return False
            await asyncio.sleep(0.01)
        return True

    async def close(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Write what is left, and let go of the storage; one that does not answer is left to the end of the process."""
        with self._work:
            self._closing = True
            self._work.notify_all()
        if self._writer is not None:
            # Not in a thread of the pool: one that waits for a disk that hangs would hold up the end.
            end = time.monotonic() + seconds
            while self._writer.is_alive() and time.monotonic() < end:  # noqa: ASYNC110  # a thread sets no asyncio.Event
                await asyncio.sleep(0.01)

    # -- the writer

    def _start(self) -> None:
        with self._work:
            if self._writer is None and not self._closing:
                self._writer = threading.Thread(target=self._write, name="history", daemon=True)
                self._writer.start()

    def _pending(self) -> bool:
        with self._work:
            return bool(self._transitions or self._kept or self._bad or self._in_hand[0] or self._in_hand[1])

    def _write(self) -> None:
        """What the writer does all its life."""
        assert self._database is not None
        self._load(self._database)
        while self._refused is None:
            with self._work:
                self._work.wait_for(lambda: self._closing or self._transitions or self._kept, CHECK_SECONDS)
                closing = self._closing
                self._in_hand = (self._transitions, self._kept)
                self._transitions, self._kept = [], {}
                bad, self._bad = self._bad, []
                self._writing_since = time.monotonic()
            good = self._turn(self._database, bad)
            if closing:
                break
            with self._work:
                self._work.wait_for(lambda: self._closing, self._database.pace if good else CHECK_SECONDS)
        self._database.close()

    def _load(self, database: Storage) -> None:
        try:
            database.open(LOCK_SECONDS)
            self._found = database.load()
            self._sound = True
        except InUse as error:
            self._refused = error
        except database.troubles as error:
            database.failed(error)
            self._report("read", error)
        self._loaded.set()

    def _turn(self, database: Storage, bad: Iterable[Any]) -> bool:
        """Write what is in hand, or look whether it could be written when there is nothing; returns whether it went well."""
        transitions, kept = self._in_hand
        try:
            if transitions or kept or bad:
                database.save(transitions, kept, bad)
            else:
                database.check()
        except Deposed as error:
            transitions, kept, good = [], {}, False
            self._report("written", error)
        except database.troubles as error:
            database.failed(error)
            self._report("written", error)
            good = False
        else:
            self._recovered()
            good = self._sound = True
        with self._work:
            if not good:
                self._transitions[:0] = transitions
                del self._transitions[:-PENDING_LIMIT]
                for key, old in kept.items():
                    self._kept[key] = _merged(old, self._kept[key]) if key in self._kept else old
            self._in_hand = ([], {})
            self._writing_since = None
            if database.fresh and good:
                database.fresh, self.incomplete = False, True
        return good


def _merged(old: Remembered | None, new: Remembered) -> Remembered:
    """What is known after something new was, target by target. Costs what is new."""
    if old is None:
        return replace(new, observations=dict(new.observations))
    observations = cast("dict[str, Observation]", old.observations)
    observations.update(new.observations)
    return replace(new, observations=observations)
