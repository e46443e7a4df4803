"""Whether someone answers at every level, now and in the days to come. No sentence names a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from collectors.shared.verdicts import verdict
from collectors.systems.oncall.model import OnCallLimits, Roster
from exporter.verdict import Reason, Result, failed, ok, warning
from exporter.words import counted

__all__ = ["judge_rosters"]


def judge_rosters(rosters: Sequence[Roster], limits: OnCallLimits) -> Result:
    """Whether each roster has enough levels, every one of them staffed by people who can be reached."""
    people = {shift.person for roster in rosters for shift in roster.shifts if shift.covers(roster.since)}
    levels = sum(roster.levels for roster in rosters)
    good = ok(
        f"{counted(levels, 'escalation level has', 'escalation levels have')} someone on call "
        f"({counted(len(people), 'person', 'people')} in total).",
        on_call_people=len(people),
        escalation_levels=levels,
    )
    return verdict((problem for roster in rosters for problem in _problems(roster, limits)), good)


def _problems(roster: Roster, limits: OnCallLimits) -> Iterator[Result]:
    current = [shift for shift in roster.shifts if shift.covers(roster.since)]
    if roster.services is not None and set(roster.services) <= {"disabled"}:
        by = "disabled services alone" if roster.services else "no service"
        yield failed(f"{roster.name} is used by {by}, so it notifies nobody.", reason=Reason.MISCONFIGURED)
    for level in range(1, roster.levels + 1):
        here = [shift for shift in current if shift.level == level]
        if not here:
            yield failed(f"{roster.name} has nobody on call at level {level}.", reason=Reason.MISSING)
        elif all(shift.reachable is False for shift in here):
            yield failed(
                f"{roster.name} has nobody at level {level} who can be reached otherwise than by email.",
                reason=Reason.MISCONFIGURED,
            )
    if roster.levels < limits.min_levels:
        has = counted(roster.levels, "level")
        yield failed(f"{roster.name} has {has} (at least {limits.min_levels} wanted).", reason=Reason.LIMIT)
    people = len({shift.person for shift in current})
    if current and people < limits.min_people:
        yield failed(
            f"{roster.name} has {counted(people, 'different person', 'different people')} on call at all levels "
            f"(at least {limits.min_people} wanted).",
            reason=Reason.LIMIT,
        )
    yield from _later_problems(roster, limits)
    if roster.services and "maintenance" in roster.services and set(roster.services) <= {"maintenance", "disabled"}:
        yield warning(f"Every service that uses {roster.name} is in maintenance, so it notifies nobody at this moment.")


def _later_problems(roster: Roster, limits: OnCallLimits) -> Iterator[Result]:
    """What will be missing before `until`, and is not now: the moments that matter are those at which a shift begins or ends."""
    turns = {turn for shift in roster.shifts for turn in (shift.start, shift.end) if turn is not None}
    moments = sorted(turn for turn in turns if roster.since < turn < roster.until)
    covering = {turn: [shift for shift in roster.shifts if shift.covers(turn)] for turn in moments}
    now = {shift.level for shift in roster.shifts if shift.covers(roster.since)}
    for level in sorted(now & set(range(1, roster.levels + 1))):
        here = {turn: [shift for shift in shifts if shift.level == level] for turn, shifts in covering.items()}
        gaps = [
            turn
            for before, turn in zip([None, *moments], moments, strict=False)
            if not here[turn] and (before is None or here[before])
        ]
        if len(gaps) > 1:  # one may be a shift that is still to be filled; several are a rotation without its nights
            yield failed(
                f"{roster.name} has nobody on call at level {level} {len(gaps)} times until {roster.until:%F %H:%M} UTC, "
                f"first from {gaps[0]:%F %H:%M} UTC on.",
                reason=Reason.MISSING,
            )
        elif gaps:
            yield warning(f"{roster.name} will have nobody on call at level {level} from {gaps[0]:%F %H:%M} UTC.")
        elif gap := next(
            (turn for turn, shifts in here.items() if all(shift.reachable is False for shift in shifts)), None
        ):
            yield warning(
                f"{roster.name} will have nobody at level {level} who can be reached otherwise than by email from "
                f"{gap:%F %H:%M} UTC."
            )
    people = {turn: len({shift.person for shift in shifts}) for turn, shifts in covering.items()}
    if few := next((turn for turn, count in people.items() if 0 < count < limits.min_people), None):
        yield warning(
            f"{roster.name} will have {counted(people[few], 'different person', 'different people')} on call at all "
            f"levels from {few:%F %H:%M} UTC (at least {limits.min_people} wanted)."
        )
