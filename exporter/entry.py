"""One item: what was observed of it on each target, and for how long that holds."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from textwrap import shorten

from exporter.causes import Key, Standing
from exporter.collector import Mode
from exporter.maintenance import next_change, under_way
from exporter.observations import Observation, Remembered
from exporter.plan import PlannedItem, Waiver
from exporter.verdict import Reason, Result, Status
from exporter.views import CauseView, ItemView, TargetView

__all__ = ["CLOCK_STEP", "MAX_ANNOUNCED", "Entry"]

#: Characters of a summary that notifications carry.
MAX_ANNOUNCED = 240
_WORST_FIRST = (Status.FAILED, Status.UNKNOWN, Status.WARNING, Status.OK)
#: Seconds by which the clock may go back before what was observed counts as observed earlier too.
CLOCK_STEP = timedelta(seconds=1)
#: Seconds by which the clock of another exporter may be ahead of ours before what it observed counts for nothing.
_SKEW = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class _Held:
    """What an observation of a target is still worth, until when time alone changes that."""

    view: TargetView
    result: Result
    until: datetime | None


class Entry:
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
            if seen.at <= now + CLOCK_STEP
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
