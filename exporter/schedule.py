"""When runs happen: one APScheduler job per section and target, staggered and jittered, and a watchdog over all of it."""

from __future__ import annotations

import asyncio
import logging
import random
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from exporter.health import Health
from exporter.plan import Job
from exporter.runner import CLOSING_SECONDS, RUN_FACTOR
from exporter.turns import unhurried

__all__ = ["Schedule"]

log = logging.getLogger(__name__)

#: First runs are spread over this long at most, so that a restart asks nothing of everyone at once.
STAGGER = timedelta(seconds=30)
#: Runs drift by up to this share of their interval, so that sections do not fall into step.
JITTER = 0.05
TICK_SECONDS = 1.0
#: The event loop standing still for this long is logged with the place where it stands.
STALL_SECONDS = 10.0
#: A run this much over its own deadline is stuck: even cancelling it did not end it.
GRACE = timedelta(seconds=CLOSING_SECONDS + 5)
#: Seconds by which the wall clock and the monotonic one may differ within a tick before the clock counts as set.
CLOCK_STEP = 2.0


class FromNow(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """The next run is due one interval from now, give or take the jitter, whatever was missed before.

    APScheduler's own interval lists every run that was missed while the clock jumped or the machine slept.
    """

    def __init__(self, every: timedelta) -> None:
        self._every = every

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """When to run next. `previous_fire_time` does not matter."""
        return now + self._every * (1 + random.uniform(-JITTER, JITTER))  # noqa: S311  # no secret


class Schedule:
    """Runs jobs on time with `run`, and calls `tick` every second, until stopped.

    A job never overlaps with itself; a late run is made as soon as it can be, once. `health` gets the time of
    the last tick, how far behind it was, and the jobs whose run is stuck.
    """

    def __init__(
        self,
        run: Callable[[Job], Awaitable[None]],
        tick: Callable[[], Awaitable[None]],
        *,
        health: Health,
        now: Callable[[], datetime],
    ) -> None:
        self._run = run
        self._tick = tick
        self._health = health
        self._now = now
        self._scheduler = AsyncIOScheduler(
            timezone="UTC",
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        self._jobs: dict[str, Job] = {}
        self._running: dict[str, tuple[Job, float, asyncio.Task[Any] | None]] = {}  # since when, on the monotonic clock
        self._again: set[str] = set()  # jobs under way for which something changed since they began
        self.ticking: asyncio.Task[None] | None = None
        """Runs until `stop`; ends before that only by what `tick` raised."""
        self._beat = time.monotonic()
        self._stopped = threading.Event()
        # Its warning that a job still runs comes every interval; the watchdog says it once and better.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)

    def start(self) -> None:
        """Begin; must be called in the running event loop."""
        self._scheduler.start()
        self.ticking = asyncio.create_task(self._keep_ticking(), name="tick")
        threading.Thread(target=self._watch, args=(threading.get_ident(),), name="watchdog", daemon=True).start()

    async def replace(self, jobs: tuple[Job, ...], last_runs: Mapping[str, datetime], *, afresh: bool = False) -> None:
        """Take over new jobs: those that did not change keep their schedule, unless what all look at changed (`afresh`).

        `last_runs` (by job id) spares a job that ran shortly before a restart from running again at once.
        """
        if not self._scheduler.running:
            return  # it was stopped
        wanted = {job.id: job for job in jobs}
        self._scheduler.pause()  # it would look for what is due after each change
        try:
            async for known, job in unhurried(list(self._jobs.items())):
                new = wanted.get(known)
                if afresh or (new is not job and new != job):
                    with suppress(LookupError):
                        self._scheduler.remove_job(known)
                    del self._jobs[known]
            fresh = [job for name, job in wanted.items() if name not in self._jobs]
            async for index, job in unhurried(enumerate(fresh)):
                self._add(job, (index + 0.5) / len(fresh), last_runs.get(job.id))
        finally:
            if self._scheduler.running:  # it may have been stopped meanwhile
                self._scheduler.resume()
        self._run_again(fresh)

    async def clear(self) -> None:
        """Run nothing: forget every job, and cancel the runs under way."""
        logger = logging.getLogger("apscheduler")
        logger.setLevel(logging.CRITICAL)  # it would log every cancelled run as an error
        for job in self._jobs:
            with suppress(LookupError):
                self._scheduler.remove_job(job)
        self._jobs.clear()
        self._again.clear()
        tasks = [task for _, _, task in self._running.values() if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)
        logger.setLevel(logging.ERROR)

    def _add(self, job: Job, place: float, last_run: datetime | None) -> None:
        every = job.settings.every
        first = self._now() + place * min(every, STAGGER)
        if last_run is not None:
            first = max(first, min(last_run, self._now()) + every)
        self._jobs[job.id] = job
        self._scheduler.add_job(
            self._run_once,
            FromNow(every),
            args=(job,),
            id=job.id,
            next_run_time=first,
        )

    def hurry(self, jobs: Iterable[Job]) -> None:
        """Run these jobs now, because what they look at changed; their later runs follow from there."""
        known = [job for job in jobs if job.id in self._jobs]
        for job in known:
            self._scheduler.modify_job(job.id, next_run_time=self._now())
        self._run_again(known)

    def _run_again(self, jobs: Iterable[Job]) -> None:
        """Let those that are under way run once more: they may have looked before the change, and never overlap."""
        self._again |= {job.id for job in jobs} & self._running.keys()

    async def _run_once(self, job: Job) -> None:
        due: Job | None = job
        try:
            while due is not None:
                self._again.discard(job.id)
                self._running[job.id] = (due, time.monotonic(), asyncio.current_task())
                await self._run(due)
                due = self._jobs.get(job.id) if job.id in self._again else None
        finally:
            del self._running[job.id]

    # -- watchdog

    async def _keep_ticking(self) -> None:
        due = time.monotonic() + TICK_SECONDS
        while True:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            before, beat = self._health.last_tick, time.monotonic()
            elapsed, self._beat = beat - self._beat, beat
            self._health.lag = beat - due
            now = self._now()
            self._health.last_tick, self._health.beat = now, beat
            if before is not None and abs((now - before).total_seconds() - elapsed) > CLOCK_STEP:
                await self._realign(before + timedelta(seconds=elapsed), now)
            self._health.stuck_runs = self._stuck()
            await self._tick()
            due = beat + TICK_SECONDS

    async def _realign(self, expected: datetime, now: datetime) -> None:
        """After the clock was set, or the machine slept: no job waits for a time that is far away or went by unnoticed.

        What is overdue is spread as at a start, so that a jump asks nothing of everyone at once.
        """
        step = (now - expected).total_seconds()
        log.warning(
            "The clock was set %s by %.0f s: runs are scheduled from the present time.",
            "forward" if step > 0 else "back",
            abs(step),
        )
        async for index, job in unhurried(enumerate(list(self._jobs.values()))):
            planned = self._scheduler.get_job(job.id)
            if planned is None:
                continue
            every = job.settings.every
            if planned.next_run_time < now:
                place = (index + 0.5) / len(self._jobs)
                self._scheduler.modify_job(job.id, next_run_time=now + place * min(every, STAGGER))
            elif planned.next_run_time - now > (1 + JITTER) * every:
                self._scheduler.modify_job(job.id, next_run_time=now + every)
        self._scheduler.wakeup()  # its timer does not run while the machine sleeps

    def _stuck(self) -> tuple[str, ...]:
        now = time.monotonic()
        stuck = tuple(
            name
            for name, (job, since, _) in self._running.items()
            if now - since > (RUN_FACTOR * job.settings.timeout + GRACE).total_seconds()
        )
        for name in set(stuck) - set(self._health.stuck_runs):
            log.error("The run of %s does not finish: it is stuck past its deadline.", name)
        return stuck

    def _watch(self, loop_thread: int) -> None:
        """In a thread of its own: log, once per stall, where the event loop stands still."""
        reported = 0.0
        while not self._stopped.wait(STALL_SECONDS / 4):
            beat = self._beat
            stalled = time.monotonic() - beat
            if stalled > STALL_SECONDS and reported != beat:
                reported = beat
                frame: Any = sys._current_frames().get(loop_thread)
                where = "".join(traceback.format_stack(frame, limit=8)) if frame else "unknown"
                log.error("The event loop has stood still for %.0f s, in:\n%s", stalled, where)

    async def stop(self) -> None:
        """Start no more runs and end the watchdog; runs under way are cancelled."""
        self._stopped.set()
        logging.getLogger("apscheduler").setLevel(logging.CRITICAL)  # it would log every cancelled run as an error
        tasks = [task for _, _, task in self._running.values() if task is not None]
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        if self.ticking is not None:
            self.ticking.cancel()
            tasks.append(self.ticking)
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)
