"""Which of several exporters leads: the one that holds a Lease, by the rules of client-go.

No time that another machine wrote is believed. A Lease counts as held until its holder has not changed it for as long as it says,
by our own clock since we saw it change; the leader itself stops earlier, counted from before its last successful request. So
however wrong clocks are, one has stopped before another begins.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, model_validator

from exporter.lease import Changed, Lease, Record, Unavailable
from exporter.options import Duration, Options, Said
from exporter.threads import Stuck, Threads

__all__ = ["Election", "ElectionOptions", "elapsed"]

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Retries are up to this share later than configured, so that candidates do not fall into step.
_JITTER = 0.2
#: Seconds that a release may take when the exporter ends.
_RELEASE_SECONDS = 0.7
#: Places for requests that an API server does not answer.
_PLACES = 4


class ElectionOptions(Options):
    """How several exporters agree on the one that verifies: by a Lease of Kubernetes. Needs `state.dsn`."""

    name: Said = Field("checklist-exporter", description="Name of the Lease; one for each group of replicas.")
    namespace: Said | None = Field(
        None, description="Namespace of the Lease; that of the pod by default, or of the kubeconfig's context."
    )
    lease_duration: Duration = Field(
        timedelta(seconds=12), ge=timedelta(seconds=1), description="How long after the leader's last sign others wait."
    )
    renew_deadline: Duration = Field(
        timedelta(seconds=8),
        gt=timedelta(0),
        description="How long the leader may fail to renew the Lease before it stops verifying.",
    )
    retry_period: Duration = Field(
        timedelta(seconds=2),
        gt=timedelta(0),
        description="How often the Lease is renewed, and asked for by the others.",
    )
    kubeconfig: Path | None = Field(
        None,
        description="Kubeconfig file. Without it and `context`, the pod's service account, else the default kubeconfig.",
    )
    context: str | None = Field(None, description="Context of the kubeconfig; its current one by default.")

    @model_validator(mode="after")
    def _in_order(self) -> ElectionOptions:
        if self.lease_duration % timedelta(seconds=1):
            raise ValueError("found a lease_duration that is not whole seconds")
        if not self.lease_duration > self.renew_deadline > self.retry_period * (1 + _JITTER):
            raise ValueError("expected lease_duration > renew_deadline > 1.2 × retry_period")
        return self


def elapsed() -> float:
    """Seconds that nobody sets, and that go on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Election:
    """One candidate. `holder` is who leads, as far as is known."""

    def __init__(self, options: ElectionOptions, *, identity: str = "", clock: Callable[[], float] = elapsed) -> None:
        self.identity = identity or f"{socket.gethostname()}_{uuid.uuid4()}"
        self.holder = ""
        self.error: str | None = None
        """Why the Lease could not be read or written when that was last tried, as a full sentence."""
        self._duration = options.lease_duration.total_seconds()
        self._deadline = options.renew_deadline.total_seconds()
        self._retry = options.retry_period.total_seconds()
        timeout = max(1.0, self._deadline / 2)
        self._lease = Lease(options.name, options.namespace, options.kubeconfig, options.context, timeout)
        self._clock = clock
        self._threads = Threads(places=_PLACES)
        self._observed: Mapping[str, Any] | None = None
        self._observed_at = 0.0
        self._held_for = 0.0
        self._mine: Record | None = None
        self._until: float | None = None

    @property
    def leads(self) -> bool:
        """Whether the Lease is ours, and was renewed within the deadline."""
        return self._until is not None and self._clock() < self._until

    async def run(self, lead: Callable[[], Awaitable[None]], follow: Callable[[], Awaitable[None]]) -> None:
        """Stand for election until cancelled. `lead` is called once elected, and cancelled where that ends; then `follow` is.

        Raises what `lead` raises.
        """
        while True:
            while not await self._attempt():
                await self._pause()
            log.info("Elected: this exporter (%s) leads.", self.identity)
            leading = asyncio.ensure_future(lead())
            try:
                await self._hold(leading)
            finally:
                self._until = None
                if not leading.done():
                    leading.cancel()
                    await asyncio.wait({leading})
            log.warning("No longer the leader: %s", self.error or f"{self.holder or 'nobody'} holds the Lease.")
            await follow()

    async def _pause(self) -> None:
        await asyncio.sleep(self._retry * (1 + _JITTER * random.random()))  # noqa: S311  # no secret

    async def _hold(self, leading: asyncio.Future[None]) -> None:
        """Renew the Lease for as long as that succeeds in time."""
        while self._until is not None and (left := self._until - self._clock()) > 0:
            await asyncio.sleep(min(self._retry, left))
            if leading.done():
                leading.result()
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._until - self._clock())):
                    if not await self._attempt() and self._held_by_another():
                        return

    def _held_by_another(self) -> bool:
        return self.holder not in ("", self.identity)

    async def _attempt(self) -> bool:
        """Take the Lease where it is free, or renew it; returns whether it is ours now."""
        try:
            return await self._take()
        except (Unavailable, Stuck) as error:
            message = str(error)
            if message != self.error:
                log.warning("%s", message)
            self.error = message
            return False

    async def _take(self) -> bool:
        for _ in range(2):  # where it changed in between, it is read again
            began = self._clock()
            known = self._mine
            if known is None:
                known = await self._ask(self._lease.get)
                self._observe(known)
                # One that was deleted is still its holder's, who will make it again.
                if self._observed_validly() and self._held_by_another():
                    return False
            try:
                mine = await self._ask(partial(self._write, known))
            except Changed:
                self._mine = None
                continue
            except BaseException:
                self._mine = None  # it may have been written all the same
                raise
            self._mine = mine
            self._observe(mine)
            self._until = began + self._deadline
            return True
        return False

    def _write(self, known: Record | None) -> Record:
        seconds = int(self._duration)
        if known is None:
            return self._lease.create(self.identity, seconds)
        return self._lease.replace(known, self.identity, seconds)

    async def _ask(self, call: Callable[[], T]) -> T:
        found = await self._threads.run("lease", call)
        self.error = None
        return found

    def _observe(self, found: Record | None) -> None:
        """Note when the Lease changed, by our clock."""
        if found is not None and found.spec != self._observed:
            self._observed, self._observed_at = found.spec, self._clock()
            self.holder, self._held_for = found.holder, found.seconds or self._duration

    def _observed_validly(self) -> bool:
        return bool(self.holder) and self._clock() < self._observed_at + self._held_for

    async def release(self) -> None:
        """Let another one lead at once: nobody has to wait until the Lease is over."""
        self._until = None
        with suppress(Unavailable, Changed, Stuck, TimeoutError):
            async with asyncio.timeout(_RELEASE_SECONDS):
                mine = self._mine or await self._ask(self._lease.get)
                if mine is not None and mine.holder == self.identity:
                    await self._ask(partial(self._lease.replace, mine, "", 1))
                    log.info("The Lease was released.")
        self._mine = None
