"""What is known of every item now, and since when. The only mutable thing; everything else reads it.

A run's results are recorded; whether they still hold (staleness, expiry, waivers) is decided when they are read.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice, takewhile
from textwrap import shorten
from typing import Protocol

from exporter.causes import Graph, Key, Standing
from exporter.collector import Mode
from exporter.fingerprint import applies
from exporter.maintenance import Period, next_change, under_way
from exporter.plan import Plan, PlannedItem, Waiver
from exporter.verdict import Reason, Result, Status

__all__ = ["Archive", "CauseView", "ItemView", "Observation", "Remembered", "State", "TargetView", "Transition"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Observation:
    """What one run saw of one item on one target. `duration` is in seconds; `error` says that it raised instead of judging.

    A line that is only not configured raises, too, and is no error. `fingerprint` shows what it was made with: the job's settings,
    the shared clients that it used, and evidence.
    """

    result: Result
    at: datetime
    duration: float = 0.0
    error: bool = False
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Transition:
    """An item's status changed: from which, to which, when and why (the sentence)."""

    section: str
    item: str
    from_status: Status | None
    to_status: Status
    at: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Remembered:
    """What an archive kept of one item from before a restart."""

    status: Status
    since: datetime
    last_ok: datetime | None
    observations: Mapping[str, Observation]


class Archive(Protocol):
    """Where transitions and last observations outlive the process. `exporter.history.History` is the real one."""

    incomplete: bool
    """Set by the archive when it lost what it had: it is then given everything that is known."""

    def load(self) -> Mapping[tuple[str, str], Remembered]:
        """Everything kept, by (section, item)."""

    def keep(self, transitions: Sequence[Transition], kept: Mapping[tuple[str, str], Remembered]) -> None:
        """Have these written soon, of each item what its run saw. Returns at once, and reports trouble itself."""


@dataclass(frozen=True, slots=True)
class TargetView:
    """One item on one target, as of the time of reading."""

    target: str
    status: Status
    summary: str
    measurements: Mapping[str, float]
    last_run: datetime | None
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class CauseView:
    """A line because of which another one does not pass, and its status."""

    section: str
    item: str
    status: Status

    @property
    def id(self) -> str:
        """`section.item`."""
        return f"{self.section}.{self.item}"


@dataclass(frozen=True, slots=True)
class ItemView:
    """One item, as of the time of reading. `last_run` is the oldest among its targets; durations are seconds.

    `reason` says why the line does not pass, also where a waiver accepts that. `announced` is the summary with which it ceased
    to pass, the same as long as status and reason are. `maintenance` is under way. `causes` are the lines because of which it
    does not pass and whose notifications name it, `effects` those of which it is such a cause.
    """

    planned: PlannedItem
    status: Status
    summary: str
    targets: tuple[TargetView, ...]
    measurements: Mapping[str, float]
    since: datetime
    last_run: datetime | None
    last_ok: datetime | None
    valid_until: datetime | None
    evidence: tuple[object, ...]
    duration: float | None
    runs: int
    errors: int
    reason: Reason | None = None
    announced: str | None = None
    maintenance: Period | None = None
    causes: tuple[CauseView, ...] = ()
    effects: tuple[Key, ...] = ()

    @property
    def waiver(self) -> Waiver | None:
        """The waiver that accepts the item's present status, if one does."""
        return self.planned.waiver if self.status is Status.WAIVED else None


@dataclass(frozen=True, slots=True)
class _Held:
    """What an observation of a target is still worth, until when time alone changes that."""

    view: TargetView
    result: Result
    until: datetime | None


#: Characters of a summary that notifications carry.
MAX_ANNOUNCED = 240
_WORST_FIRST = (Status.FAILED, Status.UNKNOWN, Status.WARNING, Status.OK)
#: Items that left the checklist and are remembered, for they may come back.
_REMEMBERED_LIMIT = 10_000
#: Seconds by which the clock may go back before what was observed counts as observed earlier too.
_CLOCK_STEP = timedelta(seconds=1)
#: Seconds by which the clock of another exporter may be ahead of ours before what it observed counts for nothing.
_SKEW = timedelta(seconds=30)


class _Entry:
    """One item: what was observed of it, and what that counts for. News of one target costs the same however many there are."""

    __slots__ = (
        "_counts",
        "_due",
        "announced",
        "causes",
        "effects",
        "errors",
        "held",
        "last_ok",
        "observations",
        "planned",
        "runs",
        "since",
        "standing",
        "status",
        "wakes_at",
    )

    def __init__(self, planned: PlannedItem, now: datetime, known: Remembered | None = None) -> None:
        self.planned = planned
        self.status = known.status if known else None
        # A clock that is behind now, or was ahead then, costs no knowledge of when that was: it was before now.
        self.since = min(known.since, now) if known else now
        self.last_ok = min(known.last_ok, now) if known and known.last_ok else None
        # What was observed later than now was observed by a clock that was wrong.
        self.observations: dict[str, Observation] = {
            target: seen
            for target, seen in (known.observations if known else {}).items()
            if seen.at <= now + _CLOCK_STEP
        }
        self.runs = self.errors = 0
        self.wakes_at: datetime | None = None  # when the state is going to look at it again
        self.announced: tuple[Status, Reason | None, str] | None = None
        self.standing: Standing | None = None  # as when causes were last looked for
        self.causes: tuple[CauseView, ...] = ()
        self.effects: dict[Key, None] = {}
        self.held: dict[str, _Held] = {}
        self._counts: dict[Status, int] = {}
        self._due: list[tuple[datetime, str]] = []
        self._hold_all(now)

    def take_over(self, planned: PlannedItem, now: datetime) -> None:
        """The item is planned in another way. Costs what that changes: of thousands of targets, few are new at a time."""
        again = planned.stale_after != self.planned.stale_after
        self.planned = planned
        wanted = dict.fromkeys(planned.targets)
        for gone in self.held.keys() - wanted.keys():
            self.observations.pop(gone, None)
            self._counts[self.held.pop(gone).result.status] -= 1
        if again:
            self._hold_all(now)
            return
        for new in wanted.keys() - self.held.keys():
            self._hold(new, now)
        self.held = {target: self.held[target] for target in wanted}

    def _hold_all(self, now: datetime) -> None:
        """Look at everything again."""
        wanted = dict.fromkeys(self.planned.targets)
        self.observations = {target: seen for target, seen in self.observations.items() if target in wanted}
        self._counts = dict.fromkeys(_WORST_FIRST, 0)
        self._due, self.held = [], {}
        for target in wanted:
            self._hold(target, now)

    def see(self, target: str, observation: Observation, now: datetime) -> None:
        """Take in what a run saw."""
        self.observations[target] = observation
        self.runs += 1
        self.errors += observation.error
        self._hold(target, now)

    def follow(self, known: Remembered, now: datetime, *, whole: bool) -> None:
        """Take in what another exporter recorded: all that is known of the item, or news of some targets."""
        self.status, self.since = known.status, min(known.since, now)
        self.last_ok = min(known.last_ok, now) if known.last_ok else self.last_ok
        self.runs = self.errors = 0
        if whole:
            self.observations = {}
        for target, seen in known.observations.items():
            if target in self.held and (seen.at <= now + _SKEW or not whole):
                # Its clock is ahead. What is new was observed just now, whatever it says.
                self.observations[target] = replace(seen, at=min(seen.at, now))
        if whole:
            self._hold_all(now)
            return
        for target in known.observations:
            if target in self.held:
                self._hold(target, now)

    def lead(self, now: datetime) -> None:
        """Begin where another exporter ended."""
        self.advance(now)
        self.runs = self.errors = 0
        self.wakes_at = None
        if (status := self.status_at(now)) is self.status:
            self.announce(status, now)

    def forget(self, target: str, now: datetime) -> None:
        """Let go of what was observed of a target, which is another one now."""
        self.observations.pop(target, None)
        self._hold(target, now)

    def shift(self, by: timedelta, now: datetime) -> None:
        """The clock was set by so much: everything was observed that much earlier or later."""
        self.observations = {target: replace(seen, at=seen.at + by) for target, seen in self.observations.items()}
        self.since = min(self.since, now)
        self.last_ok = min(self.last_ok, now) if self.last_ok else None
        self._hold_all(now)

    def advance(self, now: datetime) -> None:
        """Let go of what time has ended."""
        while (until := self.next_change) is not None and until <= now:
            self._hold(heapq.heappop(self._due)[1], now)

    @property
    def next_change(self) -> datetime | None:
        """When time alone changes what an observation counts for."""
        while self._due and ((held := self.held.get(self._due[0][1])) is None or held.until != self._due[0][0]):
            heapq.heappop(self._due)  # of an observation that another one followed
        return self._due[0][0] if self._due else None

    def _hold(self, target: str, now: datetime) -> None:
        seen = self.observations.get(target)
        result, until = _holds(self.planned, seen, now)
        reason = None if result.status.is_ok else result.reason
        view = TargetView(target, result.status, result.summary, result.measurements, seen.at if seen else None, reason)
        if (before := self.held.get(target)) is not None:
            self._counts[before.result.status] -= 1
        self._counts[result.status] += 1
        self.held[target] = _Held(view, result, until)
        if until is not None:
            heapq.heappush(self._due, (until, target))
            if len(self._due) > 64 + 4 * len(self.held):
                self._due = [(held.until, name) for name, held in self.held.items() if held.until is not None]
                heapq.heapify(self._due)

    # -- the item as a whole; `advance` comes first

    @property
    def bare_status(self) -> Status:
        """The worst of its targets; what is declared about it aside."""
        if self.planned.declared is None or not self.held:
            return Status.UNKNOWN
        return next(status for status in _WORST_FIRST if self._counts[status])

    def status_at(self, now: datetime) -> Status:
        """The status, with waivers."""
        if self.planned.not_applicable:
            return Status.NOT_APPLICABLE
        status = self.bare_status
        return Status.WAIVED if not status.is_ok and self.waiver_at(now) else status

    def waiver_at(self, now: datetime) -> Waiver | None:
        """The waiver that is in force."""
        waiver = self.planned.waiver
        return waiver if waiver is not None and now < waiver.ends_at else None

    def changes_at(self, now: datetime) -> datetime | None:
        """When time alone next changes its status, or whether it is under maintenance."""
        if self.planned.not_applicable:
            return None
        waiver = self.waiver_at(now)
        changes = (self.next_change, waiver.ends_at if waiver else None, next_change(self.planned.maintenance, now))
        return min((change for change in changes if change is not None), default=None)

    @property
    def observed(self) -> bool:
        """Whether all of its targets were checked."""
        return len(self.observations) == len(self.held)

    def telling(self, status: Status) -> Iterator[_Held]:
        """The targets that have a status, in their order."""
        return (held for held in self.held.values() if held.result.status is status)

    def summary_at(self, now: datetime) -> str:
        """The sentence."""
        planned = self.planned
        if planned.not_applicable:
            return planned.not_applicable
        summary = self._bare_summary()
        waiver = self.waiver_at(now)
        if waiver is not None and not self.bare_status.is_ok:
            return f"Waived until {waiver.until} by {waiver.owner}: {waiver.reason} ({summary})"
        return summary

    def _bare_summary(self) -> str:
        """One text for several targets: those that have the worst status, at most five by name."""
        if (why := self.planned.unverified) is not None:
            return why
        status = self.bare_status
        views = [held.view for held in islice(self.telling(status), 5)]
        excuses = f" {self.planned.excuses}" if self.planned.excused else ""
        if len(self.held) == 1:
            return f"{views[0].summary}{excuses}"
        text = " ".join(f"{view.target}: {view.summary}" for view in views)
        more = self._counts[status] - len(views)
        return f"{text}{f' And {more} more.' if more else ''}{excuses}"

    def reason(self) -> Reason | None:
        """Why it does not pass; None where it does, or does not apply."""
        if self.planned.not_applicable:
            return None
        if self.planned.declared is None:
            return Reason.NOT_VERIFIED
        if not self.held:
            return Reason.NOT_CONFIGURED
        return next(self.telling(self.bare_status)).view.reason

    def announce(self, status: Status, now: datetime) -> None:
        """Remember the sentence with which a line that was OK came to its status and reason: later ones differ in figures."""
        if self.last_ok is None or status not in (Status.FAILED, Status.UNKNOWN):
            self.announced = None
        elif self.announced is None or self.announced[:2] != (status, self.reason()):
            self.announced = status, self.reason(), shorten(self.summary_at(now), MAX_ANNOUNCED, placeholder=" …")

    def standing_at(self, now: datetime, *, by_target: bool) -> Standing | None:
        """How it stands among causes; None where it passes, or nothing verifies it. `by_target` gives its failing targets too."""
        planned = self.planned
        if not self.held or planned.not_applicable or (status := self.bare_status).is_ok:
            return None
        alerts = not self.waiver_at(now) and planned.mode is not Mode.DERIVED
        return Standing(
            status,
            self.reason(),
            planned.severity,
            self.last_ok,
            planned.stale_after,
            alerts and under_way(planned.maintenance, now) is None,
            frozenset(name for name, held in self.held.items() if not held.result.status.is_ok)
            if by_target
            else frozenset(),
        )

    def view_at(self, now: datetime, started: datetime) -> ItemView:
        """Everything that is known of it."""
        status = self.status_at(now)
        applicable = not self.planned.not_applicable and self.planned.declared is not None
        held = self.held.values() if applicable else ()
        first = next(self.telling(self.bare_status), None) if applicable else None
        ends = [one.result.valid_until for one in held if one.result.valid_until is not None]
        return ItemView(
            planned=self.planned,
            status=status,
            summary=self.summary_at(now),
            targets=tuple(one.view for one in held),
            measurements=first.result.measurements if first else {},
            since=self.since if status is self.status or self.runs else started,
            last_run=min((seen.at for seen in self.observations.values()), default=None),
            last_ok=self.last_ok,
            valid_until=min(ends, default=None),
            evidence=tuple(dict.fromkeys(record for one in held for record in one.result.evidence)),
            duration=max((seen.duration for seen in self.observations.values()), default=None),
            runs=self.runs,
            errors=self.errors,
            reason=self.reason(),
            announced=self.announced[2] if self.announced else None,
            maintenance=None if self.planned.not_applicable else under_way(self.planned.maintenance, now),
            causes=self.causes if status in (Status.FAILED, Status.UNKNOWN) else (),
            effects=tuple(self.effects),
        )


def _holds(planned: PlannedItem, seen: Observation | None, now: datetime) -> tuple[Result, datetime | None]:
    """What an observation is still worth now, and when that changes."""
    if seen is None:
        summary = "Not verified yet since the exporter started."
        return Result(Status.UNKNOWN, summary, reason=Reason.PENDING), None
    stale_at = seen.at + planned.stale_after
    result = seen.result
    if now >= stale_at:
        age, limit = _age(now - seen.at), _age(planned.stale_after)
        summary = f"Last verified {age} ago (limit {limit}), when it was {result.status}: {result.summary}"
        return Result(Status.UNKNOWN, summary, {}, result.valid_until, result.evidence, Reason.STALE), None
    if result.valid_until is not None and now >= result.valid_until:
        if result.status.is_ok:
            summary = f"Expired on {result.valid_until:%Y-%m-%d %H:%M} UTC: {result.summary}"
            result = replace(result, status=Status.FAILED, summary=summary, reason=Reason.EXPIRED)
        return result, stale_at
    return result, min(stale_at, result.valid_until) if result.valid_until else stale_at


def _age(age: timedelta) -> str:
    seconds = max(0, int(age.total_seconds()))
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            count = seconds // size
            return f"{count} {unit}{'s' if count != 1 else ''}"
    return f"{seconds} seconds"


class State:
    """Items and their observations. Used from the event loop alone.

    `version` rises with every change; `wait` returns when it did, or when time alone changes what is true. What is recorded is
    readable at once; the archive writes it when it can.
    """

    def __init__(self, plan: Plan, now: Callable[[], datetime], archive: Archive | None = None) -> None:
        self._clock = now
        self._started = self._latest = now()
        self._archive = archive
        self._entries: dict[Key, _Entry] = {}
        self._deadlines: list[tuple[datetime, Key]] = []
        self._changed = asyncio.Event()
        self.version = 0
        self.leads = True
        """Whether this exporter verifies. Where another one does, `follow` gives its results, and nothing else changes any."""
        self._prints: dict[tuple[str, str, str], str] | None = None
        self._touched: dict[Key, int] = {}  # the version of each entry's last change, oldest first
        self._remembered = dict(archive.load()) if archive else {}
        self.plan = plan
        self._graph = Graph({})
        self._adopt(plan, self._started)
        self._explain(self._graph, self._started)

    def _now(self) -> datetime:
        """The time. Where the clock was set back, what was observed keeps its age, not its time."""
        now = self._clock()
        if now < self._latest - _CLOCK_STEP:
            step = now - self._latest
            self._started += step
            for entry in self._entries.values():
                entry.shift(step, now)
            self._deadlines.clear()
            for key, entry in self._entries.items():
                entry.wakes_at = None
                self._wake(key, entry, now)
            self._touch(list(self._entries))
            self._latest = now
        self._latest = max(self._latest, now)
        return now

    def _adopt(self, plan: Plan, now: datetime) -> list[Key]:
        """Have the items of a plan; returns those that are new, or planned in another way."""
        entries: dict[Key, _Entry] = {}
        changed: dict[Key, None] = {}
        self._prints = None
        for planned in plan.items:
            key = (planned.section, planned.item)
            if (entry := self._entries.get(key)) is None:
                if (known := self._remembered.pop(key, None)) is not None:
                    known = self._of_this_plan(known, key, plan)
                entry = _Entry(planned, now, known)
                changed[key] = None
            elif entry.planned is not planned and entry.planned != planned:
                entry.take_over(planned, now)
                entry.standing = None  # it may depend on other lines now
                if entry.causes and not planned.causes:
                    self._attribute(key, entry, ())
                changed[key] = None
            entries[key] = entry
        for key, gone in self._entries.items():
            if key not in entries and gone.causes:
                self._attribute(key, gone, ())
            if key not in entries and gone.status is not None:  # a mistake in the checklist may bring it back
                self._remembered[key] = Remembered(gone.status, gone.since, gone.last_ok, gone.observations)
        while len(self._remembered) > _REMEMBERED_LIMIT + len(entries):
            del self._remembered[next(iter(self._remembered))]
        self._entries = entries
        self.plan = plan
        self._relate(changed, now)
        self._deadlines.clear()
        for key, entry in entries.items():
            entry.wakes_at = None
            self._wake(key, entry, now)
        self._touched = {key: version for key, version in self._touched.items() if key in entries}
        self._touch(changed)
        return list(changed)

    def _relate(self, changed: Collection[Key], now: datetime) -> None:
        """Know what depends on what by the present plan, and how lines stand that have to do with it now; `changed` ones follow."""
        plan, before = self.plan, self._graph
        graph = Graph({(planned.section, planned.item): planned.causes for planned in plan.items if planned.causes})
        apart = graph.by_target != before.by_target
        for key in graph:
            if (apart or key not in before) and (entry := self._entries.get(key)):
                entry.standing = None if key in changed else entry.standing_at(now, by_target=key in graph.by_target)
        self._graph = graph

    def _of_this_plan(self, known: Remembered, key: Key, plan: Plan) -> Remembered:
        if self._prints is None:
            self._prints = _fingerprints(plan)
        return _of_these_settings(known, key, self._prints, plan.sources)

    def _wake(self, key: Key, entry: _Entry, now: datetime) -> None:
        """See to it that an entry is checked again when time alone changes it."""
        due = entry.changes_at(now)
        if entry.runs == 0 and entry.observations:
            # Known from before a restart: its first run may come before its age counts as a change.
            due = min(due or self._patience(entry), self._patience(entry))
            if due <= now:
                due = entry.changes_at(now)
        if due is not None and (entry.wakes_at is None or due < entry.wakes_at):
            entry.wakes_at = due
            heapq.heappush(self._deadlines, (due, key))

    def _patience(self, entry: _Entry) -> datetime:
        return self._started + entry.planned.stale_after

    def _touch(self, keys: Iterable[Key]) -> None:
        self.version += 1
        for key in keys:
            self._touched.pop(key, None)
            self._touched[key] = self.version
        self._changed.set()

    async def replace_plan(
        self, plan: Plan, looks: Iterable[tuple[str, str, Mapping[str, Observation | None]]] = ()
    ) -> None:
        """Take over a new configuration: items that stay keep what is known of them, the others vanish at once.

        `looks` are what was observed for it already, as (section, target, by item), None where what was known of a target says
        nothing of what it is now.
        """
        now = self._now()
        changed = self._adopt(plan, now)
        fresh: dict[Key, list[str]] = {}
        looked: list[Key] = []
        for section, target, seen in looks:
            for name, observation in seen.items():
                entry = self._entries.get((section, name))
                if entry is None or target not in entry.held:
                    continue
                looked.append((section, name))
                if observation is None:
                    entry.forget(target, now)
                else:
                    entry.see(target, observation, now)
                    fresh.setdefault((section, name), []).append(target)
        self._settle(list(dict.fromkeys((*changed, *looked))), fresh, now)

    async def follow(self, known: Mapping[Key, Remembered], *, whole: bool = False) -> None:
        """Take in what the exporter that leads recorded: everything (`whole`), or what is new. No transition is noted here."""
        now = self._now()
        self._started = now
        changed = []
        for key, one in known.items():
            if (entry := self._entries.get(key)) is None:
                before = self._remembered.get(key)
                merged = {**(before.observations if before and not whole else {}), **one.observations}
                self._remembered[key] = replace(one, observations=merged)
                continue
            entry.follow(self._of_this_plan(one, key, self.plan), now, whole=whole)
            self._wake(key, entry, now)
            changed.append(key)
        if changed:
            self._touch(dict.fromkeys((*changed, *self._explain(changed, now))))

    def lead(self) -> None:
        """Verify from now on. What is known stays known, as after a restart, until each line's first run."""
        now = self._now()
        self.leads = True
        self._started = now
        self._deadlines.clear()
        for key, entry in self._entries.items():
            entry.lead(now)
            self._wake(key, entry, now)
        self._explain(self._graph, now)
        self._touch(list(self._entries))

    async def record(self, section: str, target: str, observed: Mapping[str, Observation]) -> None:
        """Take in what a run saw, item by item; nothing of a run that ended after another exporter was elected."""
        if not self.leads:
            return
        now = self._now()
        fresh: dict[Key, list[str]] = {}
        for name, observation in observed.items():
            entry = self._entries.get((section, name))
            if entry is None or target not in entry.held:
                continue  # the configuration changed while the run was under way
            entry.see(target, observation, now)
            fresh[section, name] = [target]
        self._settle(list(fresh), fresh, now)

    async def tick(self) -> None:
        """Note the transitions that time alone brought: results that went stale, evidence and waivers that ended."""
        now = self._now()
        if self._archive is not None and self._archive.incomplete and self.leads:
            self._archive.incomplete = False
            self._archive.keep(
                (), {key: _remembered(entry) for key, entry in self._entries.items() if entry.observations}
            )
        due: dict[Key, None] = {}
        while self._deadlines and self._deadlines[0][0] <= now:
            moment, key = heapq.heappop(self._deadlines)
            if (entry := self._entries.get(key)) is not None and entry.wakes_at == moment:
                entry.wakes_at = None
                due[key] = None
        if due:
            self._settle(list(due), {}, now)

    def _settle(self, keys: Sequence[Key], fresh: Mapping[Key, Sequence[str]], now: datetime) -> None:
        """Note what changed of these entries, in whose targets `fresh` there is news; hand it to the archive."""
        if not self.leads:
            for key in keys:
                self._entries[key].advance(now)
                self._wake(key, self._entries[key], now)
            self._touch(dict.fromkeys((*keys, *self._explain(keys, now))))
            return
        transitions: list[Transition] = []
        kept: dict[Key, Remembered] = {}
        for key in keys:
            entry = self._entries[key]
            entry.advance(now)
            status = entry.status_at(now)
            if status.is_ok and key in fresh:
                entry.last_ok = now
            entry.announce(status, now)
            changed = status is not entry.status and self._is_news(entry, status, now)
            if changed:
                transitions.append(Transition(*key, entry.status, status, now, entry.summary_at(now)))
                entry.status, entry.since = status, now
            if (changed and entry.observations) or key in fresh:
                news = {target: entry.observations[target] for target in fresh.get(key, ())}
                kept[key] = Remembered(entry.status or status, entry.since, entry.last_ok, news)
            self._wake(key, entry, now)
        if self._archive and (transitions or kept):
            self._archive.keep(transitions, kept)
        for transition in transitions:
            _log(transition)
        self._touch(dict.fromkeys((*keys, *self._explain(keys, now))))

    def _explain(self, keys: Iterable[Key], now: datetime) -> list[Key]:
        """Find the causes of these lines and of all that depend on them; returns the lines whose causes are others now."""
        graph, entries = self._graph, self._entries
        moved: list[Key] = []
        for key in keys:
            if key not in graph or (entry := entries.get(key)) is None:
                continue
            standing = entry.standing_at(now, by_target=key in graph.by_target)
            if standing != entry.standing:
                entry.standing = standing
                moved.append(key)
        if not moved:
            return []

        def stands(key: Key) -> Standing | None:
            found = entries.get(key)
            return found.standing if found else None

        changed: list[Key] = []
        rooted: dict[Key, bool] = {}
        views: dict[Key, CauseView] = {}
        for key in graph.affected(moved, stands):
            if (entry := entries.get(key)) is None:
                continue
            causes: list[CauseView] = []
            for root in graph.roots(key, stands, rooted):
                if root not in views and (found := stands(root)):
                    views[root] = CauseView(*root, found.status)
                causes.append(views[root])
            if entry.causes != (attributed := tuple(causes)):
                self._attribute(key, entry, attributed)
                changed.append(key)
        return changed

    def _attribute(self, key: Key, entry: _Entry, causes: tuple[CauseView, ...]) -> None:
        """Note the causes of a line, there and here."""
        for gone in entry.causes:
            if (cause := self._entries.get((gone.section, gone.item))) is not None:
                cause.effects.pop(key, None)
        for new in causes:
            self._entries[new.section, new.item].effects[key] = None
        entry.causes = causes

    def _is_news(self, entry: _Entry, status: Status, now: datetime) -> bool:
        """Whether a change of status is a transition: not what only starting brings, before the first looks are in."""
        if entry.runs == 0 and entry.observations and now < self._patience(entry):
            return False
        if entry.status is not None:
            return True
        return bool(entry.held) and (entry.observed or status is Status.FAILED)

    def _view(self, entry: _Entry, now: datetime) -> ItemView:
        entry.advance(now)
        return entry.view_at(now, self._started)

    def views(self) -> Iterator[ItemView]:
        """Every item as of now, in the checklist's order."""
        now = self._now()
        return (self._view(entry, now) for entry in list(self._entries.values()))

    def view(self, section: str, item: str) -> ItemView | None:
        """One item as of now; None when the checklist has no such item."""
        now = self._now()
        entry = self._entries.get((section, item))
        return self._view(entry, now) if entry else None

    def resumes(self) -> bool:
        """Whether a line is unknown only since the exporter was away or has other settings, and may have its first run in time.

        What is derived from such lines would be another verdict than before, though none of them has changed.
        """
        now = self._now()
        return any(
            entry.runs == 0
            and entry.status is not None
            and entry.planned.targets
            and entry.planned.mode is not Mode.DERIVED
            and now < self._patience(entry)
            and (
                not entry.observations
                or any(now >= seen.at + entry.planned.stale_after for seen in entry.observations.values())
            )
            for entry in self._entries.values()
        )

    def measured(self, section: str, item: str, target: str) -> Mapping[str, float]:
        """What was last measured of an item on a target, however long ago; nothing where it never was."""
        entry = self._entries.get((section, item))
        seen = entry.observations.get(target) if entry else None
        return seen.result.measurements if seen else {}

    def passes(self, section: str, item: str) -> bool:
        """Whether the line passes now. Costs the same however many targets it has."""
        now = self._now()
        if (entry := self._entries.get((section, item))) is None:
            return False
        entry.advance(now)
        return entry.status_at(now).is_ok

    def changed(self, known: int) -> Iterator[ItemView]:
        """The items that changed since `version` was `known`, as of now. Costs what has changed, not what exists."""
        now = self._now()
        recent = takewhile(lambda key: self._touched[key] > known, reversed(self._touched))
        return (self._view(entry, now) for entry in [self._entries[key] for key in recent])

    @property
    def next_deadline(self) -> datetime | None:
        """When time alone next changes what is true."""
        return self._deadlines[0][0] if self._deadlines else None

    async def wait(self, known: int) -> int:
        """Wait until `version` is no longer `known`; returns the new one."""
        while self.version == known:
            self._changed.clear()
            await self._changed.wait()
        return self.version


def _fingerprints(plan: Plan) -> dict[tuple[str, str, str], str]:
    """By section, item and target, what the settings are that each is verified with."""
    return {(job.section, name, job.target): job.fingerprint for job in plan.jobs for name in job.items}


def _of_these_settings(
    known: Remembered, key: Key, prints: Mapping[tuple[str, str, str], str], sources: Mapping[str, str]
) -> Remembered:
    """What was known, without what was observed with other settings: another address, another limit, another client."""
    kept = {
        target: seen
        for target, seen in known.observations.items()
        if not seen.fingerprint  # rows of older versions have none
        or applies(seen.fingerprint, prints.get((*key, target), ""), sources)
    }
    return replace(known, observations=kept)


def _remembered(entry: _Entry) -> Remembered:
    status = entry.status or entry.bare_status
    return Remembered(status, entry.since, entry.last_ok, dict(entry.observations))


def _log(transition: Transition) -> None:
    level = logging.INFO if transition.to_status.is_ok else logging.WARNING
    log.log(
        level,
        "%s.%s is %s (was %s): %s",
        transition.section,
        transition.item,
        transition.to_status,
        transition.from_status or "never verified",
        transition.why,
    )
