"""One of several exporters: it shows what the leader recorded, and verifies where it is the leader itself."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from exporter.election import Election
from exporter.engine import Engine
from exporter.health import Health
from exporter.sessions import Unusable
from exporter.shared_database import SharedDatabase
from exporter.storage import Deposed
from exporter.threads import Stuck, Threads

__all__ = ["Replica"]

log = logging.getLogger(__name__)

#: Seconds between two looks at what the leader recorded.
READ_EVERY = 1.0
#: Seconds that one look, or taking over, may wait for the database.
PATIENCE_SECONDS = 6.0
#: Seconds in which what is left is written after the Lease was lost: others begin later.
_LAST_WRITES = 1.0


class Replica:
    """Follows or leads, as the election says. `start` begins to verify, `stop` ends it and waits for the runs under way."""

    def __init__(
        self,
        election: Election,
        database: SharedDatabase,
        engine: Engine,
        health: Health,
        start: Callable[[], Awaitable[None]],
        stop: Callable[[], Awaitable[None]],
    ) -> None:
        self._election = election
        self._database = database
        self._engine = engine
        self._health = health
        self._start = start
        self._stop = stop
        self._threads = Threads(places=2)
        self._reading = asyncio.Lock()
        self._revision = -1  # up to which the results were read
        self.trouble: str | None = None
        """Why the leader's results could not be read when that was last tried, as a full sentence."""
        engine.state.leads = health.leader = False
        health.lease_holds = lambda: election.leads

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as parts:
            parts.create_task(self._election.run(self._lead, self._follow), name="election")
            parts.create_task(self._keep_reading(), name="replica")

    async def release(self) -> None:
        """Let another one lead."""
        await self._election.release()

    def reread(self) -> None:
        """Read everything again: another configuration may take other results for its own."""
        self._revision = -1

    async def _keep_reading(self) -> None:
        while True:
            if not self._engine.state.leads:
                await self._read()
            self._health.leader_name, self._health.election_error = self._election.holder, self._election.error
            await asyncio.sleep(READ_EVERY)

    async def _read(self) -> None:
        """Take in what the leader recorded since the last time."""
        async with self._reading:
            known = self._revision
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    revision, found = await self._threads.run("state", lambda: self._database.since(known))
            except (Unusable, ValueError, OverflowError, TimeoutError, Stuck) as error:
                why = str(error).rstrip(".") or "it did not answer in time"
                self.trouble = f"{self._database.title} cannot be read: {why}."
                return
            if not self._engine.state.leads:
                await self._engine.state.follow(found, whole=known < 0 or revision < known)
                if known == self._revision:  # else everything is to be read again
                    self._revision = revision
            self._health.read_at = time.monotonic()
            self.trouble = None

    async def _lead(self) -> None:
        """Take over: first what keeps the former leader from writing, then what it wrote last."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._threads.run("state", self._database.claim)
        except (Unusable, Deposed, TimeoutError, Stuck) as error:
            why = str(error).rstrip(".") or "it did not answer in time"
            log.warning("%s cannot be taken over yet: %s. It is with the next write.", self._database.title, why)
        else:
            await self._read()
        self._engine.lead()
        self._health.leader = True
        self.trouble = None
        await self._start()

    async def _follow(self) -> None:
        """Stop verifying and exporting, and show what the next leader records."""
        self._health.leader = False
        await self._stop()
        self._engine.state.leads = False
        await self._engine.history.flush(_LAST_WRITES)
        self._database.resign()
        self._revision = -1
