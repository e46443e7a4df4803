"""Maintenance windows: when they are under way, in every time zone, and what shows it."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.document import item_document
from exporter.maintenance import Maintenance, Once, Period, Weekly, next_change, under_way
from exporter.metrics import item_families
from exporter.verdict import Status, failed
from tests.exporter.samples import observe, planned, state
from tests.exporter.web.site import running
from tests.exporter.web.test_site import words
from tests.support import Clock

BERLIN = ZoneInfo("Europe/Berlin")
HOUR = timedelta(hours=1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def of(when: Once | Weekly, reason: str = "Nodes are patched.") -> Maintenance:
    return Maintenance(when, reason, "platform")


def weekly(*weekdays: int, at: time = time(22), length: timedelta = 4 * HOUR, zone: str = "UTC") -> Maintenance:
    return of(Weekly(frozenset(weekdays), at, length, ZoneInfo(zone)))


def ends(maintenance: Maintenance, now: str) -> datetime | None:
    found = under_way([maintenance], utc(now))
    return found.end if found else None


def test_one_is_under_way_from_its_start_until_its_end() -> None:
    once = of(Once(datetime(2027, 1, 30, 22, tzinfo=BERLIN), datetime(2027, 1, 31, 2, tzinfo=BERLIN)))
    end = utc("2027-01-31T01:00")
    assert [ends(once, f"2027-01-{moment}") for moment in ("30T20:59", "30T21:00", "31T00:59", "31T01:00")] == [
        None,
        end,
        end,
        None,
    ]
    assert next_change([once], utc("2027-01-01T00:00")) == utc("2027-01-30T21:00")
    assert next_change([once], utc("2027-01-30T21:00")) == end
    assert next_change([once], end) is None


def test_one_that_recurs_goes_over_midnight_on_its_days_alone() -> None:
    saturday = weekly(5)  # 2026-12-05 is one
    assert ends(saturday, "2026-12-05T21:59") is None
    assert ends(saturday, "2026-12-05T22:00") == ends(saturday, "2026-12-06T01:59") == utc("2026-12-06T02:00")
    assert ends(saturday, "2026-12-06T22:30") is None
    assert next_change([saturday], utc("2026-12-06T02:00")) == utc("2026-12-12T22:00")


@pytest.mark.parametrize(
    ("at", "day", "start", "end"),
    [
        (time(2, 30), "2027-03-28", "2027-03-28T01:30", "2027-03-28T05:30"),  # the clocks skip 02:00 to 03:00
        (time(22), "2027-03-27", "2027-03-27T21:00", "2027-03-28T01:00"),  # four hours, whatever clocks show
        (time(2, 30), "2027-10-31", "2027-10-31T00:30", "2027-10-31T04:30"),  # 02:30 comes twice
        (time(23), "2027-07-01", "2027-07-01T21:00", "2027-07-02T01:00"),
    ],
)
def test_clocks_that_change_are_followed(at: time, day: str, start: str, end: str) -> None:
    daily = weekly(*range(7), at=at, zone="Europe/Berlin")
    begins = utc(start)
    assert under_way([daily], begins) == Period(daily, utc(end))
    assert under_way([daily], begins - timedelta(seconds=1)) is None, day


def test_far_from_greenwich_the_day_is_theirs() -> None:
    monday = weekly(0, at=time(1), length=HOUR, zone="Pacific/Kiritimati")  # UTC+14
    assert ends(monday, "2026-11-29T11:30") == utc("2026-11-29T12:00")
    assert ends(monday, "2026-11-30T11:30") is None


def test_of_several_that_which_ends_last_counts() -> None:
    long, short = weekly(5, length=7 * 24 * HOUR), weekly(0, length=HOUR)
    assert under_way([short, long], utc("2026-12-07T22:30")) == Period(long, utc("2026-12-12T22:00"))
    assert under_way([], utc("2026-12-07T22:30")) is None


@given(
    st.frozensets(st.integers(0, 6), min_size=1),
    st.times(),
    st.timedeltas(timedelta(seconds=1), timedelta(days=7)),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    st.integers(0, 20 * 365 * 86400),
)
def test_nothing_changes_before_the_next_change(
    weekdays: frozenset[int], at: time, length: timedelta, zone: str, seconds: int
) -> None:
    planned = [weekly(*weekdays, at=at, length=length, zone=zone)]
    now = utc("2020-01-01") + timedelta(seconds=seconds)
    change = next_change(planned, now)
    assert change is not None
    assert now < change <= now + timedelta(days=8)
    assert under_way(planned, now) == under_way(planned, change - timedelta(microseconds=1))
    if (period := under_way(planned, now)) is not None:
        assert change <= period.end


async def test_a_line_under_maintenance_is_verified_and_told_as_it_is(clock: Clock) -> None:
    start, end = clock() + HOUR, clock() + 2 * HOUR
    one = planned(maintenance=(of(Once(start, end)),))
    found = state(one, clock=clock)
    await observe(found, clock, one.section, {one.item: failed("Not so.")})
    seen = []
    for _ in range(3):
        (view,) = found.views()
        samples = {sample.name: sample.value for family in item_families([view]) for sample in family.samples}
        seen.append((view.status, samples.get("checklist_item_maintenance_end_timestamp_seconds")))
        assert samples["checklist_item_ok"] == 0
        version = found.version
        clock.advance(hours=1)
        await found.tick()
        if view.maintenance or start == clock():
            assert found.version > version, "or the metrics would stay as they were"
        await observe(found, clock, one.section, {one.item: failed("Not so.")})
    assert seen == [(Status.FAILED, None), (Status.FAILED, end.timestamp()), (Status.FAILED, None)]


async def test_page_and_document_say_until_when(clock: Clock) -> None:
    one = planned(maintenance=(of(Once(clock() - HOUR, clock() + HOUR)),))
    found = state(one, clock=clock)
    await observe(found, clock, one.section, {one.item: failed("Not so.")})
    (view,) = found.views()
    until = f"{clock() + HOUR:%Y-%m-%dT%H:%M:%SZ}"
    told = {"reason": "Nodes are patched.", "owner": "platform", "until": until}
    assert item_document(view)["maintenance"] == told
    async with running(found, clock) as site:
        page = words((await site.get(f"/items/{one.section}/{one.item}")).text)
        assert "Maintenance Nodes are patched. platform, under maintenance until" in page
        assert words((await site.get("/")).text).count("under maintenance until") == 1


async def test_what_does_not_apply_is_under_no_maintenance(clock: Clock) -> None:
    one = planned(maintenance=(of(Once(clock(), clock() + HOUR)),), not_applicable="No such store.")
    (view,) = state(one, clock=clock).views()
    assert view.maintenance is None
