"""Causes: when one line is why another does not pass, and that nobody is left without a notification."""

from __future__ import annotations

import graphlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.causes import Cause, Graph, Key, Standing, cycle
from exporter.checklist import Checklist
from exporter.collector import Mode
from exporter.document import document, item_document
from exporter.maintenance import Maintenance, Once
from exporter.metrics import item_families
from exporter.observations import Observation, Remembered, Transition
from exporter.plan import PlannedItem
from exporter.report import Format, Report, render
from exporter.state import State
from exporter.verdict import Reason, Result, Severity, Status, failed, ok, unknown
from tests.exporter.samples import WAIVER, observe, plan, planned, state
from tests.exporter.web.site import running
from tests.exporter.web.test_site import words
from tests.support import Clock

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
REDIS, CLUSTER, SMOKE = ("redis", "pods_healthy"), ("kubernetes", "nodes_ready"), ("smoke_tests", "cache_read_write")
DOWN = failed("Down.", reason=Reason.DOWN)
GONE = unknown("No connection.", reason=Reason.UNREACHABLE)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def line(key: Key, *causes: Cause, **changes: Any) -> PlannedItem:
    return planned(*key, causes=causes, **changes)


def because(of: State, key: Key = SMOKE) -> list[tuple[str, str]]:
    """The causes of a line with their statuses."""
    view = of.view(*key)
    assert view is not None
    return [(cause.id, cause.status.value) for cause in view.causes]


async def record(of: State, clock: Clock, key: Key, result: Result, target: str = "") -> None:
    await observe(of, clock, key[0], {key[1]: result}, target)


async def failing(clock: Clock, *lines: PlannedItem, seen: Mapping[Key, Result] | None = None) -> State:
    """These lines, OK a minute ago and not now."""
    found = state(*lines, clock=clock)
    for one in lines:
        await record(found, clock, (one.section, one.item), ok("Fine."))
    clock.advance(minutes=1)
    for one in lines:
        key = (one.section, one.item)
        await record(found, clock, key, (seen or {}).get(key, DOWN))
    return found


async def test_a_line_names_its_cause_everywhere_while_it_is_one(clock: Clock) -> None:
    found = await failing(clock, line(REDIS), line(SMOKE, Cause(*REDIS)))
    view = found.view(*SMOKE)
    assert view is not None
    assert view.status is Status.FAILED, "its own truth"
    assert item_document(view)["causes"] == [{"section": "redis", "item": "pods_healthy", "status": "failed"}]
    samples = [one for family in item_families([view]) for one in family.samples if one.name == "checklist_item_cause"]
    labels = {"cause_section": "redis", "cause_item": "pods_healthy"}
    assert [(one.labels, one.value) for one in samples] == [({"section": SMOKE[0], "item": SMOKE[1], **labels}, 1)]
    cause = found.view(*REDIS)
    assert cause is not None
    assert (cause.causes, cause.effects) == ((), (SMOKE,))

    version = found.version
    await record(found, clock, REDIS, ok("Fine."))
    assert because(found) == []
    changed = {view.planned.id for view in found.changed(version)}
    assert changed == {"redis.pods_healthy", "smoke_tests.cache_read_write"}, "or the metric would stay"
    assert found.view(*REDIS).effects == ()  # type: ignore[union-attr]


async def test_pages_and_reports_name_it(clock: Clock) -> None:
    found = await failing(clock, line(REDIS), line(SMOKE, Cause(*REDIS)))
    told = "because redis.pods_healthy is failed"
    async with running(found, clock) as site:
        page = words((await site.get(f"/items/{'/'.join(SMOKE)}")).text)
        assert f"It does not pass {told}: the notification of that line names it." in page
        assert "Depends on redis.pods_healthy" in page
        cause = words((await site.get(f"/items/{'/'.join(REDIS)}")).text)
        assert "Because of it, smoke_tests.cache_read_write does not pass either." in cause
        for path in ("/", "/launch"):
            assert told in words((await site.get(path)).text)
    views = list(found.views())
    report = Report(document(views, found.plan, clock()), Checklist.parse("# L\n## A\n- [ ] B\n", "l.md"))
    for form in (Format.JUNIT, Format.MARKDOWN, Format.SARIF, Format.HTML):
        assert "Down. Because redis.pods_healthy is failed." in render(report, form), form
    old = {**report.document, "items": [{**one} for one in report.items]}
    for one in old["items"]:
        del one["causes"]
    assert "Because" not in render(replace(report, document=old), Format.MARKDOWN), "of an exporter of before"


async def test_a_cause_that_can_no_longer_be_checked_is_shown_as_that(clock: Clock) -> None:
    found = await failing(clock, line(REDIS), line(SMOKE, Cause(*REDIS)))
    await record(found, clock, REDIS, GONE)
    assert because(found) == [("redis.pods_healthy", "unknown")]


async def test_of_a_chain_the_root_counts(clock: Clock) -> None:
    lines = line(CLUSTER), line(REDIS, Cause(*CLUSTER)), line(SMOKE, Cause(*REDIS))
    found = await failing(clock, *lines)
    assert because(found) == because(found, REDIS) == [("kubernetes.nodes_ready", "failed")]
    await record(found, clock, CLUSTER, ok("Fine."))
    assert because(found) == [("redis.pods_healthy", "failed")]
    await record(found, clock, REDIS, ok("Fine."))
    assert because(found) == []


UNDER_WAY = Maintenance(Once(NOON - timedelta(days=1), NOON + timedelta(days=1)), "Moves.", "storage")


@pytest.mark.parametrize(
    ("changes", "seen", "named"),
    [
        ({}, DOWN, True),
        ({}, GONE, True),
        ({"waiver": WAIVER}, DOWN, False),
        ({"maintenance": (UNDER_WAY,)}, DOWN, False),
        ({"severity": Severity.WARNING}, DOWN, False),
        ({"mode": Mode.DERIVED}, DOWN, False),
        ({}, ok("Fine."), False),
        *(
            ({}, unknown("Not so.", reason=reason), False)
            for reason in (Reason.DENIED, Reason.NOT_CONFIGURED, Reason.ERROR, Reason.PENDING)
        ),
        ({}, failed("The record expired.", reason=Reason.EXPIRED), False),
    ],
)
async def test_only_a_line_that_people_are_notified_of_is_a_cause(
    clock: Clock, changes: dict[str, Any], seen: Result, named: bool
) -> None:
    found = await failing(clock, line(REDIS, **changes), line(SMOKE, Cause(*REDIS)), seen={REDIS: seen})
    assert bool(because(found)) is named


async def test_past_a_waived_line_the_root_is_found(clock: Clock) -> None:
    lines = line(CLUSTER), line(REDIS, Cause(*CLUSTER), waiver=WAIVER), line(SMOKE, Cause(*REDIS))
    assert because(await failing(clock, *lines)) == [("kubernetes.nodes_ready", "failed")]


async def test_a_root_of_less_weight_leaves_the_line_between(clock: Clock) -> None:
    lines = line(CLUSTER, severity=Severity.WARNING), line(REDIS, Cause(*CLUSTER)), line(SMOKE, Cause(*REDIS))
    found = await failing(clock, *lines)
    assert (because(found, REDIS), because(found)) == ([], [("redis.pods_healthy", "failed")])


async def test_a_line_that_can_never_be_checked_is_no_cause_and_one_that_always_failed_is_none_of_a_regression(
    clock: Clock,
) -> None:
    found = state(line(REDIS), line(SMOKE, Cause(*REDIS)), clock=clock)
    await record(found, clock, REDIS, GONE)
    await record(found, clock, SMOKE, DOWN)
    assert because(found) == []
    await record(found, clock, REDIS, DOWN)
    assert because(found) == [("redis.pods_healthy", "failed")], "neither was ever OK: a backlog with one cause"
    await record(found, clock, SMOKE, ok("Fine."))
    await record(found, clock, SMOKE, DOWN)
    assert because(found) == [], "it passed while the other one failed"


@pytest.mark.parametrize(("apart", "named"), [(5, True), (7, False)])
@pytest.mark.parametrize("first", [REDIS, SMOKE])
async def test_what_failed_at_another_time_has_another_reason(
    clock: Clock, first: Key, apart: int, named: bool
) -> None:
    """The slack is three minutes for each of both."""
    found = state(line(REDIS), line(SMOKE, Cause(*REDIS)), clock=clock)
    for key in (REDIS, SMOKE):
        await record(found, clock, key, ok("Fine."))
    await record(found, clock, first, DOWN)
    clock.advance(minutes=apart)
    (second,) = {REDIS, SMOKE} - {first}
    await record(found, clock, second, ok("Fine."))
    await record(found, clock, second, DOWN)
    await record(found, clock, first, DOWN)
    assert bool(because(found)) is named


async def test_a_slow_section_is_a_cause_all_the_same(clock: Clock) -> None:
    slow = line(REDIS, every=15 * MINUTE, stale_after=45 * MINUTE)
    found = state(slow, line(SMOKE, Cause(*REDIS)), clock=clock)
    for key in (REDIS, SMOKE):
        await record(found, clock, key, ok("Fine."))
    clock.advance(minutes=14)
    await record(found, clock, SMOKE, ok("Fine."))
    await record(found, clock, SMOKE, DOWN)
    assert because(found) == [], "nobody knows yet"
    clock.advance(minutes=1)
    await record(found, clock, REDIS, DOWN)
    assert because(found) == [("redis.pods_healthy", "failed")]


async def test_what_was_answered_is_not_explained_by_a_server_that_does_not_answer(clock: Clock) -> None:
    reading = Cause(*CLUSTER, unseen=True)
    found = await failing(clock, line(CLUSTER), line(SMOKE, reading), seen={CLUSTER: GONE})
    assert because(found) == []
    await record(found, clock, SMOKE, GONE)
    assert because(found) == [("kubernetes.nodes_ready", "unknown")]
    denied = unknown("No right.", reason=Reason.DENIED)
    await record(found, clock, SMOKE, denied)
    assert because(found) == [], "the API server answered"
    await record(found, clock, CLUSTER, denied)
    assert because(found) == [("kubernetes.nodes_ready", "unknown")], "the account is gone for both"


async def test_a_dependent_under_maintenance_keeps_its_cause_when_that_ends(clock: Clock) -> None:
    """Else its alert would fire underneath, and go on."""
    until = Maintenance(Once(clock() - MINUTE, clock() + HOUR), "Moves.", "shop")
    found = await failing(clock, line(REDIS), line(SMOKE, Cause(*REDIS), maintenance=(until,)))
    assert because(found) == [("redis.pods_healthy", "failed")]
    clock.advance(hours=1)
    for key in (REDIS, SMOKE):
        await record(found, clock, key, DOWN)
    assert because(found) == [("redis.pods_healthy", "failed")]


async def test_targets_are_explained_by_their_own_store(clock: Clock) -> None:
    of = Cause(*REDIS, targets=(("shop", "cache"), ("blog", "sessions")))
    found = state(line(REDIS, targets=("cache", "sessions")), line(SMOKE, of, targets=("shop", "blog")), clock=clock)
    for key, targets in ((REDIS, ("cache", "sessions")), (SMOKE, ("shop", "blog"))):
        for target in targets:
            await record(found, clock, key, ok("Fine."), target)
    clock.advance(minutes=1)
    await record(found, clock, REDIS, DOWN, "sessions")
    await record(found, clock, SMOKE, DOWN, "shop")
    assert because(found) == [], "its own store answers"
    await record(found, clock, REDIS, DOWN, "cache")
    assert because(found) == [("redis.pods_healthy", "failed")]
    await record(found, clock, SMOKE, DOWN, "blog")
    assert because(found) == [("redis.pods_healthy", "failed")]
    await record(found, clock, REDIS, ok("Fine."), "sessions")
    assert because(found) == [], "one of its targets has another reason"


async def test_several_causes_are_one_a_section_the_most_severe_first(clock: Clock) -> None:
    minor, other = ("redis", "metrics_collected"), ("nats", "pods_healthy")
    lines = [
        line(minor, severity=Severity.WARNING),
        line(other, severity=Severity.WARNING),
        line(REDIS),
        line(SMOKE, Cause(*minor), Cause(*other), Cause(*REDIS), severity=Severity.WARNING),
    ]
    found = await failing(clock, *lines)
    assert because(found) == [("redis.pods_healthy", "failed"), ("nats.pods_healthy", "failed")]


async def test_a_reload_takes_a_cause_away_and_brings_another(clock: Clock) -> None:
    found = await failing(clock, line(REDIS), line(CLUSTER), line(SMOKE, Cause(*REDIS)))
    await found.replace_plan(plan(line(CLUSTER), line(SMOKE)))
    assert because(found) == []
    await found.replace_plan(plan(line(CLUSTER), line(SMOKE, Cause(*CLUSTER))))
    assert because(found) == [("kubernetes.nodes_ready", "failed")]
    assert found.view(*CLUSTER).effects == (SMOKE,)  # type: ignore[union-attr]
    await found.replace_plan(plan(line(CLUSTER)))
    assert found.view(*CLUSTER).effects == ()  # type: ignore[union-attr]


async def test_time_alone_brings_and_takes_a_cause(clock: Clock) -> None:
    until = Maintenance(Once(clock() - MINUTE, clock() + 2 * MINUTE), "Moves.", "storage")
    found = await failing(clock, line(REDIS, maintenance=(until,)), line(SMOKE, Cause(*REDIS)))
    assert because(found) == []
    clock.advance(minutes=1)
    version = found.version
    await found.tick()
    assert because(found) == [("redis.pods_healthy", "failed")], "the maintenance ended"
    assert SMOKE in {(view.planned.section, view.planned.item) for view in found.changed(version)}


class Kept:
    """An archive in memory."""

    def __init__(self) -> None:
        self.incomplete = False
        self.kept: dict[Key, Remembered] = {}

    def load(self) -> Mapping[Key, Remembered]:
        return self.kept

    def keep(self, transitions: Sequence[Transition], kept: Mapping[Key, Remembered]) -> None:
        for key, new in kept.items():
            before = self.kept[key].observations if key in self.kept else {}
            self.kept[key] = replace(new, observations={**before, **new.observations})


async def test_a_restart_knows_the_cause_at_once(clock: Clock) -> None:
    archive = Kept()
    lines = plan(line(REDIS), line(SMOKE, Cause(*REDIS)))
    before = State(lines, clock, archive)
    for result in (ok("Fine."), DOWN):
        for key in (REDIS, SMOKE):
            await record(before, clock, key, result)
        clock.advance(minutes=1)
    assert because(before) == because(State(lines, clock, archive)) == [("redis.pods_healthy", "failed")]


STATUSES = st.sampled_from([ok("Fine."), DOWN, GONE, unknown("Denied.", reason=Reason.DENIED)])
KEYS = [("a", "one"), ("a", "two"), ("b", "one"), ("c", "one"), ("d", "one")]


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.booleans()), max_size=8),
    st.lists(st.sampled_from(list(Severity)), min_size=5, max_size=5),
    st.lists(st.tuples(st.integers(0, 4), STATUSES, st.integers(0, 3)), max_size=25),
)
async def test_what_changes_leads_to_the_same_as_looking_at_everything(
    edges: list[tuple[int, int, bool]], severities: list[Severity], events: list[tuple[int, Result, int]]
) -> None:
    clock, archive = Clock(), Kept()
    causes = {
        place: [Cause(*KEYS[to], unseen=unseen) for of, to, unseen in edges if of == place > to] for place in range(5)
    }
    lines = plan(
        *(
            line(key, *dict.fromkeys(causes[place]), severity=severities[place], stale_after=timedelta(days=1))
            for place, key in enumerate(KEYS)
        )
    )
    running = State(lines, clock, archive)
    for place, result, minutes in events:
        section, item = KEYS[place]
        await running.record(section, "", {item: Observation(result, clock())})
        clock.advance(minutes=minutes)
    afresh = State(lines, clock, archive)
    for key in KEYS:
        assert because(running, key) == because(afresh, key)
        for cause, _ in because(running, key):
            root = running.view(*cause.split("."))
            assert root is not None
            assert not root.causes, "which would leave both without a notification"
            assert root.status in (Status.FAILED, Status.UNKNOWN)
            assert root.planned.severity.at_least(severities[KEYS.index(key)])


@given(
    st.dictionaries(st.integers(0, 5), st.lists(st.integers(0, 5), max_size=3), max_size=6),
    st.lists(st.booleans(), min_size=6, max_size=6),
    st.lists(st.booleans(), min_size=6, max_size=6),
)
def test_everybody_is_notified_by_themselves_or_by_a_root(
    edges: dict[int, list[int]], alerting: list[bool], fails: list[bool]
) -> None:
    keys = [(f"section_{number}", "line") for number in range(6)]
    standings = {
        key: Standing(Status.FAILED, Reason.DOWN, Severity.CRITICAL, NOON, MINUTE, alerts)
        for key, alerts, failing in zip(keys, alerting, fails, strict=True)
        if failing
    }
    graph = Graph({keys[of]: [Cause(*keys[to]) for to in found if to < of] for of, found in edges.items()})
    for key in standings:
        for root in graph.roots(key, standings.get):
            assert standings[root].alerts
            assert graph.roots(root, standings.get) == ()


@given(st.dictionaries(st.integers(0, 6), st.lists(st.integers(0, 6), max_size=3), max_size=7))
def test_a_circle_is_found_where_there_is_one(edges: dict[int, list[int]]) -> None:
    causes = {(str(of), "line"): [(str(to), "line") for to in found] for of, found in edges.items()}
    found = cycle(causes)
    try:
        graphlib.TopologicalSorter(causes).prepare()
    except graphlib.CycleError:
        assert found
        assert all(then in causes[key] for key, then in zip(found, [*found[1:], found[0]], strict=True))
    else:
        assert found == []
