"""What is known of every item now, and since when. The only mutable thing; everything else reads it.

A run's results are recorded; whether they still hold (staleness, expiry, waivers) is decided when they are read.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Protocol

from exporter.plan import Plan, PlannedItem, Waiver
from exporter.verdict import Result, Status, worst

__all__ = ["Archive", "ItemView", "Observation", "Remembered", "State", "TargetView", "Transition"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Observation:
    """What one run saw of one item on one target. `duration` is in seconds; `error` says that it raised instead of judging."""

    result: Result
    at: datetime
    duration: float = 0.0
    error: bool = False


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

    def load(self) -> Mapping[tuple[str, str], Remembered]:
        """Everything kept, by (section, item)."""

    async def write(self, transitions: Sequence[Transition], seen: Iterable[tuple[str, str, Remembered]]) -> None:
        """Keep these, on disk when it returns. Reports trouble itself and never raises for it."""


@dataclass(frozen=True, slots=True)
class TargetView:
    """One item on one target, as of the time of reading."""

    target: str
    status: Status
    summary: str
    measurements: Mapping[str, float]
    last_run: datetime | None


@dataclass(frozen=True, slots=True)
class ItemView:
    """One item, as of the time of reading. `last_run` is the oldest among its targets; durations are seconds."""

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

    @property
    def waiver(self) -> Waiver | None:
        """The waiver that accepts the item's present status, if one does."""
        return self.planned.waiver if self.status is Status.WAIVED else None


@dataclass(slots=True)
class _Entry:
    planned: PlannedItem
    since: datetime
    status: Status | None = None
    last_ok: datetime | None = None
    observations: dict[str, Observation] = field(default_factory=dict)
    runs: int = 0
    errors: int = 0


@dataclass(frozen=True, slots=True)
class _Judged:
    status: Status
    summary: str
    targets: tuple[TargetView, ...]
    result: Result | None
    changes_at: datetime | None


def _age(age: timedelta) -> str:
    seconds = max(0, int(age.total_seconds()))
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            count = seconds // size
            return f"{count} {unit}{'s' if count != 1 else ''}"
    return f"{seconds} seconds"


class State:
    """Items and their observations. Used from the event loop alone.

    `version` rises with every change; `wait` returns when it did, or when time alone changes what is true.
    """

    def __init__(self, plan: Plan, now: Callable[[], datetime], archive: Archive | None = None) -> None:
        self._now = now
        self._started = now()
        self._archive = archive
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._deadlines: list[tuple[datetime, tuple[str, str]]] = []
        self._lock = asyncio.Lock()
        self._changed = asyncio.Event()
        self.version = 0
        self._touched: dict[tuple[str, str], int] = {}  # the version of each entry's last change, oldest first
        self._remembered = dict(archive.load()) if archive else {}
        self.plan = plan
        self._adopt(plan)

    def _adopt(self, plan: Plan) -> None:
        now = self._now()
        entries = {}
        for planned in plan.items:
            key = (planned.section, planned.item)
            known = self._entries.get(key)
            if known is None:
                known = _Entry(planned, since=now)
                if remembered := self._remembered.pop(key, None):
                    known.status, known.since = remembered.status, remembered.since
                    known.last_ok = remembered.last_ok
                    known.observations = dict(remembered.observations)
            known.planned = planned
            known.observations = {t: seen for t, seen in known.observations.items() if t in planned.targets}
            entries[key] = known
        for key, gone in self._entries.items():
            if key not in entries and gone.status is not None:  # a mistake in the checklist may bring it back
                self._remembered[key] = Remembered(gone.status, gone.since, gone.last_ok, gone.observations)
        self._entries = entries
        self.plan = plan
        self._reset_deadlines(now)
        self._touched.clear()
        self._touch(entries)

    def _reset_deadlines(self, now: datetime) -> None:
        self._deadlines = [
            (due, key) for key, entry in self._entries.items() if (due := self._due(entry, self._judge(entry, now)))
        ]
        heapq.heapify(self._deadlines)

    def _due(self, entry: _Entry, judged: _Judged) -> datetime | None:
        """When to look at an entry again though no run brings news."""
        if entry.runs == 0 and entry.observations:
            # Known from before a restart: its first run may come before its age counts as a change.
            return min(judged.changes_at or self._patience(entry), self._patience(entry))
        return judged.changes_at

    def _patience(self, entry: _Entry) -> datetime:
        return self._started + entry.planned.stale_after

    def _touch(self, keys: Iterable[tuple[str, str]]) -> None:
        self.version += 1
        for key in keys:
            self._touched.pop(key, None)
            self._touched[key] = self.version
        self._changed.set()

    async def replace_plan(self, plan: Plan) -> None:
        """Take over a new configuration: items that stay keep what is known of them, the others vanish at once."""
        async with self._lock:
            self._adopt(plan)
            await self._settle(list(self._entries))

    async def record(self, section: str, target: str, observed: Mapping[str, Observation]) -> None:
        """Take in what a run saw, item by item. Transitions are on disk before anyone can read them."""
        async with self._lock:
            changed = []
            for name, observation in observed.items():
                entry = self._entries.get((section, name))
                if entry is None or target not in entry.planned.targets:
                    continue  # the configuration changed while the run was under way
                changed.append(((section, name), target, observation))
            await self._settle([key for key, _, _ in changed], {(key, where): seen for key, where, seen in changed})

    async def tick(self) -> None:
        """Note the transitions that time alone brought: results that went stale, evidence and waivers that ended."""
        now = self._now()
        if not self._deadlines or self._deadlines[0][0] > now:
            return
        async with self._lock:
            due = set()
            while self._deadlines and self._deadlines[0][0] <= now:
                due.add(heapq.heappop(self._deadlines)[1])
            await self._settle([key for key in due if key in self._entries])

    async def _settle(
        self,
        keys: list[tuple[str, str]],
        observed: Mapping[tuple[tuple[str, str], str], Observation] | None = None,
    ) -> None:
        """Archive, then apply. Only the entries of `keys` are looked at."""
        now = self._now()
        observed = observed or {}
        fresh: dict[tuple[str, str], dict[str, Observation]] = {}
        for (key, target), observation in observed.items():
            fresh.setdefault(key, {})[target] = observation
        transitions: list[Transition] = []
        settled: list[tuple[tuple[str, str], _Entry, _Judged]] = []
        for key in keys:
            entry = self._entries[key]
            new = replace(entry, observations=entry.observations | fresh.get(key, {}))
            new.runs += len(fresh.get(key, ()))
            new.errors += sum(seen.error for seen in fresh.get(key, {}).values())
            judged = self._judge(new, now)
            if judged.status.is_ok and key in fresh:
                new.last_ok = now
            if judged.status is not new.status and self._is_news(new, judged, now):
                transitions.append(Transition(*key, new.status, judged.status, now, judged.summary))
                new.status, new.since = judged.status, now
            settled.append((key, new, judged))
        if self._archive:
            seen = [
                (*key, Remembered(new.status or judged.status, new.since, new.last_ok, new.observations))
                for key, new, judged in settled
                if new.observations
            ]
            await self._archive.write(transitions, seen)
        for key, new, judged in settled:
            self._entries[key] = new
            if (due := self._due(new, judged)) is not None and due > now:
                heapq.heappush(self._deadlines, (due, key))
        for transition in transitions:
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
        if len(self._deadlines) > 64 + 4 * len(self._entries):
            self._reset_deadlines(now)
        self._touch(keys)

    def _is_news(self, entry: _Entry, judged: _Judged, now: datetime) -> bool:
        """Whether a change of status is a transition: not what only starting brings, before the first looks are in."""
        if entry.runs == 0 and entry.observations and now < self._patience(entry):
            return False
        if not entry.planned.targets:
            return entry.status is not None
        looked_at = all(target in entry.observations for target in entry.planned.targets)
        return looked_at or judged.status is Status.FAILED

    def _judge(self, entry: _Entry, now: datetime) -> _Judged:
        planned = entry.planned
        if planned.not_applicable:
            return _Judged(Status.NOT_APPLICABLE, planned.not_applicable, (), None, None)
        if planned.declared is None:
            result = Result(Status.UNKNOWN, "No collector verifies this line yet.")
            return self._waived(planned, now, result, (), [])
        if not planned.targets:
            result = Result(Status.UNKNOWN, f"Section {planned.section} is not configured, so nothing was looked at.")
            return self._waived(planned, now, result, (), [])
        changes: list[datetime] = []
        views: list[TargetView] = []
        results: list[Result] = []
        for target in planned.targets:
            seen = entry.observations.get(target)
            result, change = self._holds(planned, seen, now)
            if change is not None:
                changes.append(change)
            results.append(result)
            views.append(
                TargetView(target, result.status, result.summary, result.measurements, seen.at if seen else None)
            )
        combined = worst(*results)
        if len(results) > 1:
            combined = replace(combined, summary=_summary(views, combined.status))
        first = next(result for result in results if result.status is combined.status)
        combined = replace(combined, measurements=first.measurements)
        return self._waived(planned, now, combined, tuple(views), changes)

    @staticmethod
    def _waived(
        planned: PlannedItem, now: datetime, result: Result, views: tuple[TargetView, ...], changes: list[datetime]
    ) -> _Judged:
        status, summary = result.status, result.summary
        if planned.waiver and now < planned.waiver.ends_at:
            changes.append(planned.waiver.ends_at)
            if not status.is_ok:
                summary = f"Waived until {planned.waiver.until} by {planned.waiver.owner}: {planned.waiver.reason} ({summary})"
                status = Status.WAIVED
        return _Judged(status, summary, views, result, min(changes, default=None))

    @staticmethod
    def _holds(planned: PlannedItem, seen: Observation | None, now: datetime) -> tuple[Result, datetime | None]:
        """What an observation is still worth now, and when that changes."""
        if seen is None:
            return Result(Status.UNKNOWN, "Not verified yet since the exporter started."), None
        stale_at = seen.at + planned.stale_after
        result = seen.result
        if now >= stale_at:
            age, limit = _age(now - seen.at), _age(planned.stale_after)
            summary = f"Last verified {age} ago (limit {limit}), when it was {result.status}: {result.summary}"
            return replace(result, status=Status.UNKNOWN, summary=summary, measurements={}), None
        if result.valid_until is not None and now >= result.valid_until:
            if result.status.is_ok:
                summary = f"Expired on {result.valid_until:%Y-%m-%d %H:%M} UTC: {result.summary}"
                result = replace(result, status=Status.FAILED, summary=summary)
            return result, stale_at
        return result, min(stale_at, result.valid_until) if result.valid_until else stale_at

    def _view(self, entry: _Entry, now: datetime) -> ItemView:
        judged = self._judge(entry, now)
        seen = [entry.observations.get(target) for target in entry.planned.targets]
        last_runs = [observation.at for observation in seen if observation]
        durations = [observation.duration for observation in seen if observation]
        return ItemView(
            planned=entry.planned,
            status=judged.status,
            summary=judged.summary,
            targets=judged.targets,
            measurements=judged.result.measurements if judged.result else {},
            since=entry.since if judged.status is entry.status or entry.runs else self._started,
            last_run=min(last_runs, default=None),
            last_ok=entry.last_ok,
            valid_until=judged.result.valid_until if judged.result else None,
            evidence=judged.result.evidence if judged.result else (),
            duration=max(durations, default=None),
            runs=entry.runs,
            errors=entry.errors,
        )

    def views(self) -> Iterator[ItemView]:
        """Every item as of now, in the checklist's order."""
        now = self._now()
        return (self._view(entry, now) for entry in self._entries.values())

    def view(self, section: str, item: str) -> ItemView | None:
        """One item as of now; None when the checklist has no such item."""
        entry = self._entries.get((section, item))
        return self._view(entry, self._now()) if entry else None

    def measured(self, section: str, item: str, target: str) -> Mapping[str, float]:
        """What was last measured of an item on a target, however long ago; nothing where it never was."""
        entry = self._entries.get((section, item))
        seen = entry.observations.get(target) if entry else None
        return seen.result.measurements if seen else {}

    def changed(self, known: int) -> list[ItemView]:
        """The items that changed since `version` was `known`, as of now. Costs what has changed, not what exists."""
        now = self._now()
        recent = takewhile(lambda key: self._touched[key] > known, reversed(self._touched))
        return [self._view(self._entries[key], now) for key in recent]

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


def _summary(views: Sequence[TargetView], status: Status) -> str:
    """One text for several targets: those that have the worst status, at most five by name."""
    telling = [view for view in views if view.status is status]
    text = " ".join(f"{view.target}: {view.summary}" for view in telling[:5])
    return text if len(telling) <= 5 else f"{text} And {len(telling) - 5} more."
