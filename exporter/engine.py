"""A configuration at work: its clients, evidence, runner and state. `check` runs it once, the daemon runs it on a schedule."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, cast

from exporter import logs
from exporter.collector import Client, Context, Mode
from exporter.config import Loaded
from exporter.evidence.validity import Evidence
from exporter.executor import block_apart
from exporter.fingerprint import observed_with
from exporter.history import History
from exporter.observations import Observation
from exporter.plan import EVIDENCE, Job, Plan
from exporter.runner import CLOSING_SECONDS, RUN_FACTOR, Runner, contain, utc_now
from exporter.state import State
from exporter.threads import Threads
from exporter.trace import Traces
from exporter.turns import unhurried

__all__ = ["Engine", "check", "read_evidence", "shared"]

log = logging.getLogger(__name__)

#: Longer than any check takes.
_ONCE = timedelta(days=365)


#: A reload waits at most this long for the first look at targets that are new.
FIRST_LOOKS = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class _Setup:
    """A configuration and what it runs with. A run uses one of these from its beginning to its end."""

    loaded: Loaded
    clients: Mapping[str, Client[Any]]
    evidence: Evidence
    runner: Runner
    jobs: Mapping[str, Job]
    memories: dict[str, dict[str, Any]] = field(default_factory=dict)


class _NotedEvidence:
    """The evidence, noting in `used` that a run asked for it."""

    def __init__(self, evidence: Evidence, used: set[str]) -> None:
        self._evidence = evidence
        self._used = used

    def __getattr__(self, name: str) -> Any:
        self._used.add(EVIDENCE)
        return getattr(self._evidence, name)


class _Noted(Mapping[str, Client[Any]]):
    """The shared clients, noting in `used` which of them a run asked for, also in vain."""

    def __init__(self, clients: Mapping[str, Client[Any]], used: set[str]) -> None:
        self._clients = clients
        self._used = used

    def __getitem__(self, name: str) -> Client[Any]:
        self._used.add(name)
        return self._clients[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._clients)

    def __len__(self) -> int:
        return len(self._clients)


class Engine:
    """Verifies what a configuration asks for, one job at a time; the state shows what was seen.

    `history` is where the state outlives the process; in memory when it is None. `commands` allows to run those that the
    configuration has, and `traces` keeps what runs ask. Must be made in a running event loop.
    """

    def __init__(
        self,
        loaded: Loaded,
        *,
        history: History | None = None,
        now: Callable[[], datetime] = utc_now,
        commands: bool = False,
        traces: Traces | None = None,
    ) -> None:
        self._now = now
        self._commands = commands
        self._traces = traces
        self.history = history or History(None, now=now)
        self._threads = Threads()
        block_apart()
        contain()
        self._endless: dict[str, asyncio.Task[None]] = {}
        self._used: dict[str, set[str]] = {}  # the clients (and evidence) that each job asked for, by its id
        logs.hide(loaded.secrets)
        self.state = State(loaded.plan, now, self.history)
        self._setup = self._set_up(loaded, _by_id(loaded.plan), self._read(loaded), {})

    @property
    def loaded(self) -> Loaded:
        """The configuration in force."""
        return self._setup.loaded

    @property
    def evidence(self) -> Evidence:
        """The evidence in force."""
        return self._setup.evidence

    def _set_up(
        self, loaded: Loaded, jobs: Mapping[str, Job], evidence: Evidence, before: Mapping[str, Client[Any]]
    ) -> _Setup:
        """What a configuration runs with; clients of `before` whose settings are the same keep their connections."""
        clients = {}
        for name, (kind, settings) in loaded.clients.items():
            known = before.get(name)
            clients[name] = known if known and known.settings == settings else kind(settings, self._threads)
        runner = Runner(concurrency=loaded.config.concurrency, redact=logs.redact, endless=self._endless)
        return _Setup(loaded, clients, evidence, runner, jobs)

    def _read(self, loaded: Loaded) -> Evidence:
        """The evidence as configured, read now."""
        return read_evidence(loaded, self._now)

    async def replace(self, loaded: Loaded) -> Mapping[str, datetime]:
        """Take over another configuration: clients and items that did not change keep their connections and their state.

        Targets that are new, or configured in another way, or seen through a client that is, are checked first, so that no line
        that passes is called unknown only because the configuration was written; returns when, by job. Runs under way end, but
        those that began with other settings than hold now change nothing. Cancelled before it is in force, it changes nothing.
        """
        before = self._setup
        asking = self._asking(_changed_sources(before.loaded, loaded))

        def prepare() -> tuple[Loaded, Evidence, dict[str, Job], list[Job]]:
            logs.hide(loaded.secrets)
            same = _judged_by(loaded) == _judged_by(before.loaded)
            evidence = before.evidence if same else self._read(loaded)
            plan = loaded.plan.after(before.loaded.plan)
            jobs = _by_id(plan)
            changed = _changed(jobs, before.jobs, asking) if self.state.leads else []
            return replace(loaded, plan=plan), evidence, jobs, changed

        # In a thread: thousands of targets, or a folder that does not answer, hold up nothing else.
        loaded, evidence, jobs, changed = await asyncio.to_thread(prepare)
        setup = self._set_up(loaded, jobs, evidence, before.clients)
        try:
            looks, looked = await self._first_looks(before, setup, changed, asking)
        except BaseException:
            await _all(*_closing(setup, before))
            raise
        kept = {name: memory for name, memory in before.memories.items() if setup.jobs.get(name) is before.jobs[name]}
        setup.memories.update(kept | setup.memories)
        self._used = {name: used for name, used in self._used.items() if name in setup.jobs}
        if self._traces:
            self._traces.only(setup.jobs)
        self._setup = setup
        await self.state.replace_plan(loaded.plan, looks)
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSING_SECONDS):
                await _all(*_closing(before, setup))
        return looked

    async def _first_looks(
        self, before: _Setup, setup: _Setup, changed: Sequence[Job], asking: Callable[[Job], bool]
    ) -> tuple[list[tuple[str, str, Mapping[str, Observation | None]]], dict[str, datetime]]:
        """What is seen of the targets that are not those of before, for lines that pass now, and when each job was run."""
        looking: dict[str, asyncio.Task[dict[str, Observation]]] = {}
        try:
            async for job in unhurried(changed):
                if any(self.state.passes(job.section, name) for name in job.items):
                    looking[job.id] = asyncio.create_task(self._look(setup, job), name=f"first look {job.id}")
            if looking:
                longest = max(setup.jobs[name].settings.timeout for name in looking)
                await asyncio.wait(looking.values(), timeout=min(RUN_FACTOR * longest, FIRST_LOOKS).total_seconds())
        finally:
            for task in looking.values():
                task.cancel()
        looks: list[tuple[str, str, Mapping[str, Observation | None]]] = []
        done = {name: task for name, task in looking.items() if task.done() and not task.cancelled()}
        async for job in unhurried(changed):
            if job.id in done:
                looks.append((job.section, job.target, done[job.id].result()))
            elif (known := before.jobs.get(job.id)) is not None and (
                known.target_settings != job.target_settings
                or (job.id in looking and (known.fingerprint != job.fingerprint or asking(job)))
            ):
                looks.append((job.section, job.target, dict.fromkeys(job.items)))
        now = self._now()
        return looks, dict.fromkeys(done, now)

    def _asking(self, sources: Collection[str]) -> Callable[[Job], bool]:
        """Whether a job's results may rest on one of these: it asked for one, or has not run since the start."""
        used = dict(self._used)  # as it is before the first looks ask

        def asking(job: Job) -> bool:
            return bool(sources) and (job.id not in used or not used[job.id].isdisjoint(sources))

        return asking

    def lead(self) -> None:
        """Verify from now on, where another exporter did so far."""
        self._setup.memories.clear()  # of a time before, in which the other one ran
        self.state.lead()

    async def run(self, job: Job) -> None:
        """One run, whose observations become the state. What is derived waits for what goes stale while nothing ran."""
        setup = self._setup
        waits = _derives(job) and self.state.resumes()
        observed = await self._look(setup, job)
        if waits:
            declared = job.collector.items()
            observed = {name: seen for name, seen in observed.items() if declared[name].mode is not Mode.DERIVED}
        now = self._setup
        if now.jobs.get(job.id) == job and (setup is now or shared(setup.loaded) == shared(now.loaded)):
            await self.state.record(job.section, job.target, observed)

    async def _look(self, setup: _Setup, job: Job) -> dict[str, Observation]:
        def recall(item: str) -> Mapping[str, float]:
            return self.state.measured(job.section, item, job.target)

        used: set[str] = set()
        context = Context(
            environment=setup.loaded.plan.environment,
            release=setup.loaded.plan.release,
            now=self._now,
            evidence=cast("Any", _NotedEvidence(setup.evidence, used)),
            threads=self._threads,
            clients=_Noted(setup.clients, used),
            memory=setup.memories.setdefault(job.id, {}),
            recall=recall if self.history.lasts else None,
            view=self.state.views,
            may_run_commands=self._commands,
        )
        with self._traces.of_run(job.id, self._now()) if self._traces else nullcontext():
            observed = await setup.runner.run(job, context)
        self._used.setdefault(job.id, set()).update(used)
        fingerprint = observed_with(job.fingerprint, used, setup.loaded.plan.sources)
        return {name: replace(seen, fingerprint=fingerprint) for name, seen in observed.items()}

    async def close(self) -> None:
        """Let go of every connection, and write down what is left to write."""
        setup, self._setup = self._setup, replace(self._setup, clients={})
        await _all(self.history.close(), setup.evidence.close(), *(client.close() for client in setup.clients.values()))


def _closing(gone: _Setup, staying: _Setup) -> list[Awaitable[None]]:
    """What one setup has and the other does not, being closed."""
    closing: list[Awaitable[None]] = [
        client.close() for name, client in gone.clients.items() if staying.clients.get(name) is not client
    ]
    return closing if gone.evidence is staying.evidence else [*closing, gone.evidence.close()]


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
        s3=options.s3,
        allowed_signers=options.allowed_signers,
        revoked_keys=options.revoked_keys,
        require_must_contain=options.require_must_contain,
        roles=(rule.signed_by_role for rule in rules if rule and rule.signed_by_role),
    )


def _by_id(plan: Plan) -> dict[str, Job]:
    return {job.id: job for job in plan.jobs}


def _changed(jobs: Mapping[str, Job], before: Mapping[str, Job], asking: Callable[[Job], bool]) -> list[Job]:
    """The jobs that are other ones than before, or may see something else by a client that is; no derived ones."""
    return [job for name, job in jobs.items() if (before.get(name) is not job or asking(job)) and not _derives(job)]


def _changed_sources(before: Loaded, after: Loaded) -> frozenset[str]:
    """The names of the shared clients that are new, gone, or configured in another way; evidence, if it is judged otherwise."""
    names = before.clients.keys() | after.clients.keys()
    changed = {name for name in names if before.clients.get(name) != after.clients.get(name)}
    return frozenset(changed if _judged_by(before) == _judged_by(after) else {*changed, EVIDENCE})


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
    commands: bool = False,
) -> State:
    """Run every job of a configuration once (those of `sections`, if any are named), and the derived ones after the others.

    Items that compare two looks get both, `Collector.second_look` apart. `progress` is called for each job that ended. `commands`
    allows to run those that the configuration has.
    """
    chosen = frozenset(sections)
    # There is one look: a result does not get old while others are waited for.
    items = tuple(replace(planned, stale_after=_ONCE) for planned in loaded.plan.items)
    engine = Engine(replace(loaded, plan=replace(loaded.plan, items=items)), now=now, commands=commands)

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
