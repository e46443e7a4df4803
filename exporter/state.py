"""What is known of every item now, and since when. The only mutable thing; everything else reads it.

A run's results are recorded; whether they still hold (staleness, expiry, waivers) is decided when they are read.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import takewhile

from exporter.causes import Graph, Key, Standing
from exporter.collector import Mode
from exporter.entry import CLOCK_STEP, Entry
from exporter.fingerprint import applies
from exporter.observations import Archive, Observation, Remembered, Transition
from exporter.plan import Plan
from exporter.verdict import Status
from exporter.views import CauseView, ItemView

__all__ = ["State"]

log = logging.getLogger(__name__)

#: Items that left the checklist and are remembered, for they may come back.
_REMEMBERED_LIMIT = 10_000


class State:
    """Items and their observations. Used from the event loop alone.

    `version` rises with every change; `wait` returns when it did, or when time alone changes what is true. What is recorded is
    readable at once; the archive writes it when it can.
    """

    def __init__(self, plan: Plan, now: Callable[[], datetime], archive: Archive | None = None) -> None:
        self._clock = now
        self._started = self._latest = now()
        self._archive = archive
        self._entries: dict[Key, Entry] = {}
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
        if now < self._latest - CLOCK_STEP:
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
        entries: dict[Key, Entry] = {}
        changed: dict[Key, None] = {}
        self._prints = None
        for planned in plan.items:
            key = (planned.section, planned.item)
            if (entry := self._entries.get(key)) is None:
                if (known := self._remembered.pop(key, None)) is not None:
                    known = self._of_this_plan(known, key, plan)
                entry = Entry(planned, now, known)
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

    def _wake(self, key: Key, entry: Entry, now: datetime) -> None:
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

    def _patience(self, entry: Entry) -> datetime:
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

    def _attribute(self, key: Key, entry: Entry, causes: tuple[CauseView, ...]) -> None:
        """Note the causes of a line, there and here."""
        for gone in entry.causes:
            if (cause := self._entries.get((gone.section, gone.item))) is not None:
                cause.effects.pop(key, None)
        for new in causes:
            self._entries[new.section, new.item].effects[key] = None
        entry.causes = causes

    def _is_news(self, entry: Entry, status: Status, now: datetime) -> bool:
        """Whether a change of status is a transition: not what only starting brings, before the first looks are in."""
        if entry.runs == 0 and entry.observations and now < self._patience(entry):
            return False
        if entry.status is not None:
            return True
        return bool(entry.held) and (entry.observed or status is Status.FAILED)

    def _view(self, entry: Entry, now: datetime) -> ItemView:
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


def _remembered(entry: Entry) -> Remembered:
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
