"""State: what is known now, decided when it is read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from exporter.collector import Mode
from exporter.observations import Observation, Remembered, Transition
from exporter.plan import Plan, PlannedItem, Waiver
from exporter.state import State
from exporter.verdict import CRITICAL, Reason, Result, Status, failed, ok, unknown
from exporter.views import ItemView
from tests.exporter.test_runner import Sample
from tests.support import Clock

START = datetime(2026, 11, 24, 12, tzinfo=UTC)
DECLARED = Sample.items()["one"]


class Memory:
    """An archive in memory."""

    def __init__(self) -> None:
        self.transitions: list[Transition] = []
        self.items: dict[tuple[str, str], Remembered] = {}
        self.incomplete = False

    def load(self) -> Mapping[tuple[str, str], Remembered]:
        return self.items

    def keep(self, transitions: Sequence[Transition], kept: Mapping[tuple[str, str], Remembered]) -> None:
        self.transitions += transitions
        for key, new in kept.items():
            old = self.items[key].observations if key in self.items else {}
            self.items[key] = replace(new, observations={**old, **new.observations})


def planned(item: str = "one", **changes: object) -> PlannedItem:
    base = PlannedItem(
        "section", item, "Line", "Section", "group", CRITICAL, Mode.PROBE, DECLARED, "Sample.one", targets=("a",)
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def plan_of(*items: PlannedItem) -> Plan:
    return Plan("test", None, items, ())


def make_state(*items: PlannedItem) -> tuple[State, Clock, Memory]:
    clock, memory = Clock(START), Memory()
    return State(plan_of(*items), clock, memory), clock, memory


async def observe_one(state: State, clock: Clock, result: Result, *, item: str = "one", target: str = "a") -> None:
    await state.record("section", target, {item: Observation(result, clock())})


def view(state: State, item: str = "one") -> ItemView:
    found = state.view("section", item)
    assert found is not None
    return found


async def test_nothing_is_ok_before_it_was_seen() -> None:
    state, clock, _ = make_state(planned())
    assert (view(state).status, view(state).summary) == (
        Status.UNKNOWN,
        "Not verified yet since the exporter started.",
    )
    await observe_one(state, clock, ok("Seen."))
    assert (view(state).status, view(state).last_ok, view(state).runs) == (Status.OK, START, 1)


async def test_a_line_nobody_verifies_and_a_section_not_configured_are_unknown() -> None:
    state, _, _ = make_state(planned("none", declared=None, targets=()), planned("off", targets=()))
    assert view(state, "none").summary.startswith(
        "No collector verifies this line yet. Add a custom entry for it, declare"
    )
    assert view(state, "off").summary == (
        "Section section is not configured, so nothing was checked. Add sections.section, or declare it not_applicable."
    )
    assert {seen.status for seen in state.views()} == {Status.UNKNOWN}


async def test_not_applicable_is_declared_with_its_reason() -> None:
    state, _, _ = make_state(planned(not_applicable="We store no graph."))
    assert (view(state).status, view(state).summary) == (Status.NOT_APPLICABLE, "We store no graph.")


async def test_a_result_that_got_old_is_unknown_without_anybody_writing_it() -> None:
    state, clock, memory = make_state(planned(stale_after=timedelta(minutes=3)))
    await observe_one(state, clock, ok("Seen."))
    clock.advance(minutes=2, seconds=59)
    assert view(state).status is Status.OK
    clock.advance(seconds=1)
    assert view(state).status is Status.UNKNOWN
    assert view(state).summary == "Last verified 3 minutes ago (limit 3 minutes), when it was ok: Seen."
    await state.tick()
    assert [(t.from_status, t.to_status) for t in memory.transitions] == [
        (None, Status.OK),
        (Status.OK, Status.UNKNOWN),
    ]
    assert view(state).last_ok == START


async def test_evidence_expires_when_it_is_read() -> None:
    state, clock, memory = make_state(planned(stale_after=timedelta(days=30)))
    await observe_one(state, clock, ok("Attested.", valid_until=START + timedelta(hours=1)))
    assert state.next_deadline == START + timedelta(hours=1)
    clock.advance(hours=1)
    assert (view(state).status, view(state).summary) == (
        Status.FAILED,
        "Expired on 2026-11-24 13:00 UTC: Attested.",
    )
    await state.tick()
    assert memory.transitions[-1].to_status is Status.FAILED


async def test_an_expired_failure_keeps_its_own_sentence() -> None:
    state, clock, _ = make_state(planned(stale_after=timedelta(days=30)))
    await observe_one(state, clock, failed("Broken.", valid_until=START))
    clock.advance(hours=1)
    assert view(state).summary == "Broken."


async def test_a_waiver_accepts_what_is_not_ok_until_it_ends() -> None:
    waiver = Waiver("Sized by hand.", "platform", date(2026, 11, 24))
    state, clock, memory = make_state(planned(waiver=waiver, stale_after=timedelta(days=30)))
    await observe_one(state, clock, failed("Nothing there."))
    assert (view(state).status, view(state).waiver) == (Status.WAIVED, waiver)
    assert view(state).summary == "Waived until 2026-11-24 by platform: Sized by hand. (Nothing there.)"
    assert view(state).targets[0].status is Status.FAILED
    clock.at = datetime(2026, 11, 25, tzinfo=UTC)
    assert (view(state).status, view(state).waiver) == (Status.FAILED, None)
    await state.tick()
    assert [t.to_status for t in memory.transitions] == [Status.WAIVED, Status.FAILED]


async def test_a_waiver_does_not_hide_that_all_is_well() -> None:
    state, clock, _ = make_state(planned(waiver=Waiver("R", "o", date(2027, 1, 1))))
    await observe_one(state, clock, ok("Seen."))
    assert view(state).status is Status.OK


async def test_the_worst_target_counts_and_is_named() -> None:
    state, clock, memory = make_state(planned(targets=("a", "b", "c")))
    await observe_one(state, clock, ok("Fine.", lag_bytes=1), target="a")
    assert view(state).status is Status.UNKNOWN
    assert memory.transitions == []
    await observe_one(state, clock, failed("Broken.", lag_bytes=9), target="b")
    assert memory.transitions[-1].to_status is Status.FAILED
    await observe_one(state, clock, unknown("Unseen."), target="c")
    assert (view(state).status, view(state).summary) == (Status.FAILED, "b: Broken.")
    assert view(state).measurements == {"lag_bytes": 9}
    assert [target.status for target in view(state).targets] == [Status.OK, Status.FAILED, Status.UNKNOWN]


async def test_many_targets_are_told_in_a_short_sentence() -> None:
    names = tuple(f"t{number}" for number in range(8))
    state, clock, _ = make_state(planned(targets=names))
    for name in names:
        await observe_one(state, clock, failed("Broken."), target=name)
    assert view(state).summary.endswith("t4: Broken. And 3 more.")


async def test_only_changes_are_transitions_and_since_tells_the_last() -> None:
    state, clock, memory = make_state(planned())
    for result in (ok("A."), ok("B."), failed("C."), failed("D."), ok("E.")):
        clock.advance(seconds=10)
        await observe_one(state, clock, result)
    assert [(t.to_status, t.why) for t in memory.transitions] == [
        (Status.OK, "A."),
        (Status.FAILED, "C."),
        (Status.OK, "E."),
    ]
    assert view(state).since == clock()


async def test_a_restart_keeps_what_was_known_and_does_not_flap() -> None:
    state, clock, memory = make_state(planned())
    await observe_one(state, clock, ok("Seen.", size_bytes=5))
    clock.advance(minutes=1)
    again = State(plan_of(planned()), clock, memory)
    assert (view(again).status, view(again).since, view(again).last_ok) == (Status.OK, START, START)
    assert view(again).measurements == {"size_bytes": 5}
    clock.advance(minutes=9)
    late = State(plan_of(planned()), clock, memory)
    assert view(late).status is Status.UNKNOWN
    clock.advance(seconds=30)
    await late.tick()
    await observe_one(late, clock, ok("Seen again."))
    assert len(memory.transitions) == 1
    assert (view(late).status, view(late).since) == (Status.OK, START)


async def test_after_a_restart_that_brings_no_run_the_silence_is_a_transition() -> None:
    state, clock, memory = make_state(planned())
    await observe_one(state, clock, ok("Seen."))
    clock.advance(minutes=10)
    again = State(plan_of(planned()), clock, memory)
    clock.advance(minutes=3)
    await again.tick()
    assert [t.to_status for t in memory.transitions] == [Status.OK, Status.UNKNOWN]


async def test_what_is_derived_waits_for_lines_that_went_stale_while_nothing_ran() -> None:
    """An hour without the exporter must not make "all lines pass" unknown, and then ok again, within its first minutes."""
    derived = planned("all", mode=Mode.DERIVED)
    state, clock, memory = make_state(planned(), derived, planned("off", targets=()))
    assert not state.resumes(), "nothing was known before"
    await observe_one(state, clock, ok("Seen."))
    await observe_one(state, clock, ok("All."), item="all")
    assert not State(plan_of(planned(), derived), clock, memory).resumes(), "what was known still counts"
    clock.advance(minutes=10)
    again = State(plan_of(planned(), derived), clock, memory)
    assert again.resumes()
    assert not State(plan_of(planned(targets=()), derived), clock, memory).resumes(), "it will not be run"
    await observe_one(again, clock, ok("Seen again."))
    assert not again.resumes()
    late = State(plan_of(planned(), derived), clock, memory)
    clock.advance(minutes=3)
    assert not late.resumes(), "nothing ran in time"


async def test_a_new_plan_keeps_what_stays_and_drops_the_rest_at_once() -> None:
    state, clock, memory = make_state(planned(), planned("two"))
    await observe_one(state, clock, ok("Seen."))
    await observe_one(state, clock, ok("Seen."), item="two")
    await state.replace_plan(plan_of(planned(), planned("three")))
    assert [seen.planned.item for seen in state.views()] == ["one", "three"]
    assert state.view("section", "two") is None
    assert view(state).status is Status.OK
    assert len(memory.transitions) == 2
    await state.replace_plan(plan_of(planned(targets=())))
    assert (memory.transitions[-1].item, memory.transitions[-1].to_status) == ("one", Status.UNKNOWN)


async def test_an_item_that_comes_back_is_known() -> None:
    state, clock, memory = make_state(planned())
    await observe_one(state, clock, ok("Seen."))
    await state.replace_plan(plan_of(planned("other")))
    clock.advance(minutes=10)
    await state.replace_plan(plan_of(planned()))
    assert (view(state).status, view(state).last_ok, view(state).runs) == (Status.UNKNOWN, START, 0)
    await observe_one(state, clock, ok("Seen again."))
    assert view(state).status is Status.OK
    assert [t.to_status for t in memory.transitions] == [Status.OK, Status.UNKNOWN, Status.OK]


async def test_a_result_for_what_is_no_longer_planned_is_dropped() -> None:
    state, clock, _ = make_state(planned())
    await observe_one(state, clock, ok("Seen."), target="gone")
    await observe_one(state, clock, ok("Seen."), item="gone")
    assert view(state).status is Status.UNKNOWN


async def test_errors_and_runs_are_counted() -> None:
    state, clock, _ = make_state(planned())
    await state.record("section", "a", {"one": Observation(unknown("Unseen."), clock(), 0.5, error=True)})
    await observe_one(state, clock, ok("Seen."))
    assert (view(state).runs, view(state).errors, view(state).duration) == (2, 1, 0.0)


async def test_readers_wait_for_changes() -> None:
    state, clock, _ = make_state(planned())
    known = state.version
    waiting = asyncio.create_task(state.wait(known))
    await asyncio.sleep(0)
    assert not waiting.done()
    await observe_one(state, clock, ok("Seen."))
    assert await asyncio.wait_for(waiting, 5) == state.version > known


async def test_many_runs_do_not_pile_up_deadlines() -> None:
    state, clock, _ = make_state(planned())
    for _ in range(1000):
        clock.advance(seconds=1)
        await observe_one(state, clock, ok("Seen."))
    assert len(state._deadlines) < 100


async def test_only_what_was_observed_is_handed_to_the_archive() -> None:
    names = tuple(f"t{number}" for number in range(100))
    clock = Clock()
    handed: list[int] = []

    class Counting(Memory):
        def keep(self, transitions: Sequence[Transition], kept: Mapping[tuple[str, str], Remembered]) -> None:
            handed.extend(len(known.observations) for known in kept.values())
            super().keep(transitions, kept)

    memory = Counting()
    state = State(plan_of(planned(targets=names)), clock, memory)
    for name in names:
        await observe_one(state, clock, ok("Seen."), target=name)
    assert handed == [1] * 100
    memory.incomplete = True
    await state.tick()
    assert (handed[-1], memory.incomplete) == (100, False)


async def test_a_clock_that_is_set_back_makes_nothing_younger() -> None:
    state, clock, memory = make_state(planned(stale_after=timedelta(minutes=3)), planned("two"))
    await observe_one(state, clock, ok("Seen."))
    clock.advance(minutes=2)
    await observe_one(state, clock, ok("Seen."), item="two")
    clock.advance(days=-1)
    assert view(state).status is Status.OK
    assert view(state).last_run == clock() - timedelta(minutes=2)
    clock.advance(minutes=1)
    assert view(state).status is Status.UNKNOWN
    await state.tick()
    assert [t.to_status for t in memory.transitions] == [Status.OK, Status.OK, Status.UNKNOWN]
    assert view(state, "two").status is Status.OK


async def test_a_clock_that_is_behind_at_a_restart_makes_nothing_younger_and_forgets_no_success() -> None:
    state, clock, memory = make_state(planned())
    await observe_one(state, clock, ok("Seen."))
    clock.advance(days=-3650)
    restarted = State(plan_of(planned()), clock, memory)
    view = restarted.view("section", "one")
    assert view is not None
    assert (view.status, view.reason) == (Status.UNKNOWN, Reason.PENDING)
    assert (view.last_ok, view.since <= clock()) == (clock(), True)


async def test_targets_that_come_and_go_keep_what_is_known_of_the_others() -> None:
    state, clock, _ = make_state(planned(targets=("a", "b")))
    await observe_one(state, clock, ok("Seen."), target="a")
    await observe_one(state, clock, failed("Broken."), target="b")
    await state.replace_plan(plan_of(planned(targets=("c", "a"))))
    view = state.view("section", "one")
    assert view is not None
    assert [(target.target, target.status) for target in view.targets] == [("c", Status.UNKNOWN), ("a", Status.OK)]
    assert (view.status, state.passes("section", "one")) == (Status.UNKNOWN, False)
    await state.replace_plan(plan_of(planned(targets=("a",))))
    assert state.passes("section", "one")
    clock.advance(hours=1)
    assert not state.passes("section", "one"), "it got old meanwhile"


async def test_why_a_line_does_not_pass() -> None:
    waiver = Waiver("R", "o", date(2027, 1, 1))
    state, clock, _ = make_state(
        planned("none", declared=None, targets=()),
        planned("off", targets=()),
        planned("away", not_applicable="We store no graph."),
        planned(stale_after=timedelta(minutes=3)),
        planned("waived", waiver=waiver),
        planned("expiring", stale_after=timedelta(days=9)),
    )
    assert [view(state, name).reason for name in ("none", "off", "away", "one")] == [
        Reason.NOT_VERIFIED,
        Reason.NOT_CONFIGURED,
        None,
        Reason.PENDING,
    ]
    await observe_one(state, clock, failed("Too much.", reason=Reason.LIMIT))
    assert (view(state).reason, view(state).targets[0].reason) == (Reason.LIMIT, Reason.LIMIT)
    await observe_one(state, clock, ok("Fine."))
    assert view(state).reason is None
    clock.advance(minutes=3)
    assert view(state).reason is Reason.STALE
    await observe_one(state, clock, failed("Nothing there.", reason=Reason.MISSING), item="waived")
    assert (view(state, "waived").status, view(state, "waived").reason) == (Status.WAIVED, Reason.MISSING)
    await observe_one(state, clock, ok("Attested.", valid_until=clock()), item="expiring")
    assert view(state, "expiring").reason is Reason.EXPIRED


async def test_what_was_looked_at_before_a_plan_is_in_force_counts_with_it() -> None:
    state, clock, memory = make_state(planned(targets=("a",)))
    await observe_one(state, clock, ok("Seen."))
    seen = Observation(ok("Seen too."), clock())
    await state.replace_plan(plan_of(planned(targets=("a", "b"))), [("section", "b", {"one": seen})])
    assert view(state).status is Status.OK
    assert len(memory.transitions) == 1
    await state.replace_plan(plan_of(planned(targets=("a", "b"))), [("section", "b", {"one": None})])
    assert (view(state).status, view(state).reason) == (Status.UNKNOWN, Reason.PENDING)
    assert memory.transitions[-1].to_status is Status.UNKNOWN


@pytest.mark.parametrize(
    ("age", "text"),
    [(timedelta(seconds=200), "3 minutes"), (timedelta(hours=1), "1 hour"), (timedelta(days=3), "3 days")],
)
async def test_ages_are_told_in_words(age: timedelta, text: str) -> None:
    state, clock, _ = make_state(planned(stale_after=timedelta(seconds=5)))
    await observe_one(state, clock, ok("Seen."))
    clock.at += age
    assert view(state).summary == f"Last verified {text} ago (limit 5 seconds), when it was ok: Seen."


async def test_what_is_announced_is_the_sentence_with_which_the_line_ceased_to_pass() -> None:
    state, clock, _ = make_state(planned(stale_after=timedelta(days=30)))
    await observe_one(state, clock, failed("Never OK."))
    assert view(state).announced is None, "a backlog notifies nobody line by line"
    for result, told in (
        (ok("Fine."), None),
        (failed("70 MB behind (limit 64 MB).", reason=Reason.LIMIT), "70 MB behind (limit 64 MB)."),
        (failed("71 MB behind (limit 64 MB).", reason=Reason.LIMIT), "70 MB behind (limit 64 MB)."),
        (failed("It refuses.", reason=Reason.REFUSED), "It refuses."),
        (unknown("Nothing answers. " + 50 * "Or so. "), "Nothing answers. " + 31 * "Or so. " + "Or …"),
        (ok("Fine."), None),
    ):
        await observe_one(state, clock, result)
        assert view(state).announced == told


async def test_it_is_announced_again_after_a_restart_and_not_of_a_waived_line() -> None:
    state, clock, memory = make_state(planned(stale_after=timedelta(days=30)))
    await observe_one(state, clock, ok("Fine."))
    await observe_one(state, clock, failed("70 MB behind."))
    again = State(plan_of(planned(stale_after=timedelta(days=30))), clock, memory)
    await again.tick()
    await observe_one(again, clock, failed("71 MB behind."))
    assert view(again).announced == "71 MB behind."
    waived = State(plan_of(planned(waiver=Waiver("R", "o", date(2027, 1, 1)))), clock, memory)
    await observe_one(waived, clock, failed("72 MB behind."))
    assert view(waived).announced is None
