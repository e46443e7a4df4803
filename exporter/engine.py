"""A configuration at work: its clients, evidence, runner and state. `check` runs it once, the daemon runs it on a schedule."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from exporter import logs
from exporter.collector import Client, Context, Mode
from exporter.config import Loaded
from exporter.evidence.validity import Evidence
from exporter.executor import block_apart
from exporter.history import History
from exporter.plan import Job
from exporter.runner import Runner, contain, utc_now
from exporter.state import State
from exporter.threads import Threads

__all__ = ["Engine", "check", "read_evidence", "shared"]

log = logging.getLogger(__name__)

#: Longer than any check takes.
_ONCE = timedelta(days=365)


class Engine:
    """Verifies what a configuration asks for, one job at a time; the state tells what was seen.

    `history` is where the state outlives the process; in memory when it is None. Must be made in a running event loop.
    """

    def __init__(
        self, loaded: Loaded, *, history: History | None = None, now: Callable[[], datetime] = utc_now
    ) -> None:
        self._now = now
        self.loaded = loaded
        self.history = history or History(None, now=now)
        self.state = State(loaded.plan, now, self.history)
        self._threads = Threads()
        block_apart()
        contain()
        self._endless: dict[str, asyncio.Task[None]] = {}
        self._memories: dict[str, tuple[Job, dict[str, Any]]] = {}
        self._clients: dict[str, Client[Any]] = {}
        logs.hide(loaded.secrets)
        self._start(loaded, self._read(loaded))

    def _start(self, loaded: Loaded, evidence: Evidence) -> None:
        kept = {
            name: self._clients[name]
            for name, (_, settings) in loaded.clients.items()
            if name in self._clients and self._clients[name].settings == settings
        }
        self._clients = {
            name: kept.get(name) or kind(settings, self._threads) for name, (kind, settings) in loaded.clients.items()
        }
        self._runner = Runner(concurrency=loaded.config.concurrency, redact=logs.redact, endless=self._endless)
        self.evidence = evidence

    def _read(self, loaded: Loaded) -> Evidence:
        """The evidence as configured, read now."""
        return read_evidence(loaded, self._now)

    async def replace(self, loaded: Loaded) -> None:
        """Take over another configuration: clients and items that did not change keep their connections and their state.

        Runs under way end, but those that began with other settings than hold now change nothing.
        """
        before, evidence = self._clients, self.evidence
        logs.hide(loaded.secrets)
        same = _judged_by(loaded) == _judged_by(self.loaded)
        # In a thread: a folder of thousands of files, or one that does not answer, holds up nothing else.
        self._start(loaded, evidence if same else await asyncio.to_thread(self._read, loaded))
        self.loaded = loaded
        await self.state.replace_plan(loaded.plan)
        jobs = {job.id: job for job in loaded.plan.jobs}
        self._memories = {name: kept for name, kept in self._memories.items() if jobs.get(name) == kept[0]}
        gone = [client for name, client in before.items() if self._clients.get(name) is not client]
        await _all(*(client.close() for client in gone), *([] if same else [evidence.close()]))

    async def run(self, job: Job) -> None:
        """One run, whose observations become the state."""
        began = self.loaded
        observed = await self._runner.run(job, self._context(job))
        if job in self.loaded.plan.jobs and shared(began) == shared(self.loaded):
            await self.state.record(job.section, job.target, observed)

    def _context(self, job: Job) -> Context:
        _, memory = self._memories.setdefault(job.id, (job, {}))

        def recall(item: str) -> Mapping[str, float]:
            return self.state.measured(job.section, item, job.target)

        return Context(
            environment=self.loaded.plan.environment,
            release=self.loaded.plan.release,
            now=self._now,
            evidence=self.evidence,
            threads=self._threads,
            clients=self._clients,
            memory=memory,
            recall=recall if self.history.lasts else None,
            view=self.state.views,
        )

    async def close(self) -> None:
        """Let go of every connection, and write down what is left to write."""
        clients, self._clients = self._clients, {}
        await _all(self.history.close(), self.evidence.close(), *(client.close() for client in clients.values()))


async def _all(*closing: Awaitable[None]) -> None:
    """Wait until all is closed. What cannot be closed keeps nothing else open, and is logged."""
    for ended in await asyncio.gather(*closing, return_exceptions=True):
        if isinstance(ended, Exception):
            log.error("A connection could not be closed.", exc_info=ended)


def read_evidence(loaded: Loaded, now: Callable[[], datetime]) -> Evidence:
    """The evidence of a configuration, read now and judged by its rules; `now` gives the time."""
    options, plan = loaded.evidence, loaded.plan
    rules = (planned.declared.evidence for planned in plan.items if planned.declared)
    return Evidence(
        options.folder,
        now=now,
        environment=plan.environment,
        release=plan.release,
        expiring_within=plan.evidence_expiring_within,
        hosts=options.hosts,
        allowed_signers=options.allowed_signers,
        revoked_keys=options.revoked_keys,
        require_must_contain=options.require_must_contain,
        roles=(rule.signed_by_role for rule in rules if rule and rule.signed_by_role),
    )


def _judged_by(loaded: Loaded) -> tuple[object, ...]:
    """What evidence is judged by."""
    plan = loaded.plan
    return loaded.evidence, plan.environment, plan.release, plan.evidence_expiring_within


def shared(loaded: Loaded) -> tuple[object, ...]:
    """What every run uses besides its own settings: what it sees may change with any of these."""
    return loaded.clients, *_judged_by(loaded)


def _derives(job: Job) -> bool:
    """Whether one of the job's items is computed from others, so that it wants to run after them."""
    declared = job.collector.items()
    return any(declared[name].mode is Mode.DERIVED for name in job.items)


async def check(
    loaded: Loaded,
    *,
    sections: Iterable[str] = (),
    progress: Callable[[Job], None] = lambda job: None,
    now: Callable[[], datetime] = utc_now,
) -> State:
    """Run every job of a configuration once (those of `sections`, if any are named), and the derived ones after the others.

    Items that compare two looks get both, `Collector.second_look` apart. `progress` is called for each job that ended.
    """
    chosen = frozenset(sections)
    # There is one look: a result does not get old while others are waited for.
    items = tuple(replace(planned, stale_after=_ONCE) for planned in loaded.plan.items)
    engine = Engine(replace(loaded, plan=replace(loaded.plan, items=items)), now=now)

    async def run(job: Job) -> None:
        await engine.run(job)
        if job.collector.second_look is not None:
            await asyncio.sleep(job.collector.second_look.total_seconds())
            await engine.run(job)
        progress(job)

    jobs = [job for job in loaded.plan.jobs if not chosen or job.section in chosen]
    try:
        for derived in (False, True):
            await asyncio.gather(*(run(job) for job in jobs if _derives(job) is derived))
    finally:
        await engine.close()
    return engine.state
