"""Disaster recovery: records of drills and exercises, and who is on call."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from collectors.backup_and_recovery.disaster_recovery import DisasterRecovery, DisasterRecoverySettings
from exporter.verdict import Result, Status
from tests.collectors.evidence import NOW, Folder, each, evidence_of
from tests.servers import faults
from tests.servers.oncall import TOKEN, OnCallServer, Person
from tests.servers.pages import Pages
from tests.servers.process import LOOPBACK, free_port
from tests.support import Run, make_context, sees

WINDOW = {"start": "2026-09-30T08:00:00Z", "end": "2026-09-30T12:00:00Z"}


evidence = evidence_of("disaster_recovery", pages=True)


def run(evidence: Folder, item: str, **settings: Any) -> Run:
    return Run(DisasterRecovery, [item], settings=settings, context=make_context(**evidence.context))


seen = sees(run)


@pytest.mark.parametrize(
    "item",
    each("disaster_recovery", ("failover_documented", "failover_tested", "recovery_tested"), "failed", "unknown"),
)
async def test_no_record_fails_and_half_of_one_is_unknown(evidence: Folder, pages: Pages, item: str) -> None:
    assert (await seen(evidence, item)).summary == f"There is no evidence for disaster_recovery.{item}."
    evidence.record(item)
    evidence.tear(item)
    assert (await seen(evidence, item)).status is Status.UNKNOWN


@pytest.mark.verifies("disaster_recovery.failover_documented", "ok")
async def test_procedures_have_to_open(evidence: Folder, pages: Pages) -> None:
    url = pages.add("/failover", "<h1>How to fail over</h1>")
    evidence.record("failover_documented", links=[{"url": url, "must_contain": "How to fail over"}])
    assert (await seen(evidence, "failover_documented")).status is Status.OK
    pages.add("/failover", "<h1>How to take a backup</h1><p>Each night at one.</p>")
    assert (await seen(evidence, "failover_documented")).status is Status.FAILED
    pages.add("/failover", '<form><input type="password"></form>')
    assert (await seen(evidence, "failover_documented")).status is Status.UNKNOWN


@pytest.mark.verifies("disaster_recovery.failover_tested", "ok")
async def test_every_component_has_to_have_failed_over(evidence: Folder) -> None:
    evidence.record("failover_tested", measured={"postgresql_seconds": 31})
    assert (await seen(evidence, "failover_tested")).status is Status.OK
    result = await seen(evidence, "failover_tested", failover_components=("postgresql", "redis"))
    assert (result.status, "no failover of redis" in result.summary) == (Status.FAILED, True)
    evidence.record("failover_tested", measured={"postgresql_seconds": 31, "redis_seconds": -1})
    assert "redis_seconds is -1, which cannot be" in (await seen(evidence, "failover_tested")).summary
    evidence.record("failover_tested", measured={"postgresql_seconds": 0})
    assert (await seen(evidence, "failover_tested")).status is Status.FAILED
    evidence.record("failover_tested")
    assert "measures no failover of any component" in (await seen(evidence, "failover_tested")).summary
    evidence.record("failover_tested", measured={"postgresql_seconds": 31}, on="2026-06-01")
    assert (await seen(evidence, "failover_tested")).status is Status.FAILED


@pytest.mark.verifies("disaster_recovery.recovery_tested", "ok")
async def test_a_recovery_fits_into_its_exercise(evidence: Folder) -> None:
    evidence.record("recovery_tested", window=WINDOW, measured={"recovery_seconds": 5400})
    assert (await seen(evidence, "recovery_tested")).status is Status.OK
    evidence.record("recovery_tested", window=WINDOW, measured={"recovery_seconds": 15_000})
    result = await seen(evidence, "recovery_tested")
    assert (result.status, "took 15000 s, in an exercise of 14400 s" in result.summary) == (Status.FAILED, True)
    for window, words in (
        ({"start": "2026-12-30", "end": "2026-12-30"}, "was over on 2026-12-31, after it was recorded on 2026-10-01"),
        ({"start": "2025-09-30", "end": "2025-09-30"}, "was over 365 days before it was recorded (limit 180d)"),
    ):
        evidence.record("recovery_tested", window=window, measured={"recovery_seconds": 5400})
        result = await seen(evidence, "recovery_tested")
        assert (result.status, words in result.summary) == (Status.FAILED, True), result.summary
    evidence.record("recovery_tested", window=WINDOW, measured={"recovery_seconds": 0})
    assert (await seen(evidence, "recovery_tested")).status is Status.FAILED


async def test_a_path_that_nothing_uses_notifies_nobody(evidence: Folder, oncall_server: OnCallServer) -> None:
    oncall_server.people = [Person(1, "ada"), Person(2, "grace")]
    oncall_server.services = ()
    result = await contacts(evidence, pagerduty(oncall_server))
    assert (result.status, "is used by no service" in result.summary) == (Status.FAILED, True), result.summary
    for services, status, words in (
        (("disabled", "disabled"), Status.FAILED, "is used by disabled services alone"),
        (("maintenance", "disabled"), Status.WARNING, "is in maintenance, so it notifies nobody at this moment"),
        (("maintenance", "critical"), Status.OK, ""),
    ):
        oncall_server.services = services
        evidence.record("emergency_contacts_current")
        result = await contacts(evidence, pagerduty(oncall_server))
        assert (result.status, words in result.summary) == (status, True), result.summary


@pytest.mark.verifies("disaster_recovery.rto_met", "ok")
@pytest.mark.verifies("disaster_recovery.rto_met", "failed")
@pytest.mark.verifies("disaster_recovery.rto_met", "unknown")
async def test_each_objective_is_held_against_a_measured_recovery(evidence: Folder) -> None:
    objectives = {"recovery_times": [{"service": "orders", "at_most": "1h"}, {"service": "search", "at_most": "4h"}]}
    evidence.record("rto_met", measured={"orders_seconds": 3599, "search_seconds": 7200})
    assert (await seen(evidence, "rto_met")).status is Status.UNKNOWN
    result = await seen(evidence, "rto_met", **objectives)
    assert (result.status, result.measurements["orders_recovery_seconds"]) == (Status.OK, 3599)
    evidence.record("rto_met", measured={"orders_seconds": 3601, "search_seconds": 7200})
    result = await seen(evidence, "rto_met", **objectives)
    assert (result.status, "orders took 3601 s (objective 1h)" in result.summary) == (Status.FAILED, True)
    evidence.record("rto_met", measured={"orders_seconds": 1200})
    assert (
        "does not measure the recovery of search (search_seconds)"
        in (await seen(evidence, "rto_met", **objectives)).summary
    )
    evidence.record("rto_met", measured={"orders_seconds": 0, "search_seconds": 1})
    assert "took 0 s, which cannot be" in (await seen(evidence, "rto_met", **objectives)).summary
    evidence.record("rto_met", measured={"orders_seconds": 0.75, "search_seconds": 2})  # hours
    assert "took 0.75 s, which cannot be" in (await seen(evidence, "rto_met", **objectives)).summary
    evidence.record("rto_met", measured={"orders_seconds": 1, "search_seconds": 1}, on="2026-01-01")
    assert (await seen(evidence, "rto_met", **objectives)).status is Status.FAILED


@pytest.mark.parametrize(
    ("item", "measured", "settings"),
    [
        ("rto_met", "orders_seconds", {"recovery_times": [{"service": "orders", "at_most": "8h"}]}),
        ("rpo_met", "orders_seconds", {"recovery_points": [{"store": "orders", "at_most": "8h"}]}),
        ("failover_tested", "postgresql_seconds", {}),
    ],
)
async def test_a_record_is_younger_than_its_drill(
    evidence: Folder, item: str, measured: str, settings: dict[str, Any]
) -> None:
    for window, seconds, words in (
        (WINDOW, 300, ""),
        ({"start": "2026-12-30", "end": "2026-12-30"}, 300, "after it was recorded"),
        ({"start": "2024-09-30", "end": "2024-09-30"}, 300, "before it was recorded"),
        (WINDOW, 15_000, "took 15000 s, in an exercise of 14400 s"),
    ):
        evidence.record(item, window=window, measured={measured: seconds})
        result = await seen(evidence, item, **settings)
        lost = item == "rpo_met" and seconds == 15_000  # what was lost may be of longer than the drill
        assert result.status is (Status.OK if not words or lost else Status.FAILED), result.summary
        assert lost or words in result.summary


# Who is on call


def pagerduty(server: OnCallServer, token: str = TOKEN, **limits: Any) -> dict[str, Any]:
    return {"on_call": {"pagerduty": {"url": server.url, "token": token, "escalation_policies": ["PT20YPA"]}, **limits}}


async def contacts(evidence: Folder, settings: dict[str, Any]) -> Result:
    evidence.record("emergency_contacts_current")
    result = await seen(evidence, "emergency_contacts_current", **settings)
    for secret in ("ada", "grace", TOKEN):
        assert secret not in result.summary
    return result


ALWAYS = [Person(1, "ada"), Person(2, "grace")]


@pytest.mark.verifies("disaster_recovery.emergency_contacts_current", "ok")
async def test_every_level_has_someone(evidence: Folder, oncall_server: OnCallServer) -> None:
    oncall_server.people = ALWAYS
    result = await contacts(evidence, pagerduty(oncall_server))
    assert result.status is Status.OK
    assert result.measurements["on_call_people"] == 2
    assert (await seen(evidence, "emergency_contacts_current")).status is Status.OK  # by evidence alone


@pytest.mark.verifies("disaster_recovery.emergency_contacts_current", "failed")
@pytest.mark.parametrize(
    ("people", "summary"),
    [
        ([Person(1, "ada")], "nobody on call at level 2"),
        ([Person(1, "ada"), Person(2, "ada")], "1 different person on call at all levels (at least 2 wanted)"),
        (
            [Person(1, "ada"), Person(2, "grace", methods=("email",))],
            "nobody at level 2 who can be reached otherwise than by email",
        ),
        (
            [Person(1, "ada"), Person(2, "grace", methods=())],
            "nobody at level 2 who can be reached otherwise than by email",
        ),
        ([Person(1, "ada"), Person(2, "grace", NOW + timedelta(hours=1), None)], "nobody on call at level 2"),
        ([Person(1, "ada"), Person(2, "grace", None, NOW - timedelta(hours=1))], "nobody on call at level 2"),
    ],
)
async def test_a_level_that_nobody_answers_fails(
    evidence: Folder, oncall_server: OnCallServer, people: list[Person], summary: str
) -> None:
    oncall_server.people = people
    result = await contacts(evidence, pagerduty(oncall_server))
    assert (result.status, summary in result.summary) == (Status.FAILED, True), result.summary


async def test_a_path_without_a_second_level_fails(evidence: Folder, oncall_server: OnCallServer) -> None:
    oncall_server.levels, oncall_server.people = 1, [Person(1, "ada"), Person(1, "grace")]
    result = await contacts(evidence, pagerduty(oncall_server))
    assert (result.status, "has 1 level (at least 2 wanted)" in result.summary) == (Status.FAILED, True)


async def test_shifts_that_follow_each_other_leave_no_gap(evidence: Folder, oncall_server: OnCallServer) -> None:
    change = NOW + timedelta(days=1)
    oncall_server.page = 2  # all pages are read
    oncall_server.people = [
        Person(1, "ada", NOW, change),
        Person(2, "grace"),
        Person(1, "edith", change, NOW + timedelta(days=9)),
    ]
    assert (await contacts(evidence, pagerduty(oncall_server))).status is Status.OK
    assert oncall_server.queries[-1]["until"] == ["2026-10-20T12:00:00+00:00"]
    oncall_server.people[2].start = change + timedelta(minutes=1)
    result = await contacts(evidence, pagerduty(oncall_server))
    assert result.status is Status.WARNING
    assert "will have nobody on call at level 1 from 2026-10-14 12:00 UTC" in result.summary
    assert (await contacts(evidence, pagerduty(oncall_server, look_ahead="12h"))).status is Status.OK


async def test_a_rotation_that_is_empty_at_night_fails(evidence: Folder, oncall_server: OnCallServer) -> None:
    days = [NOW + timedelta(days=day) for day in range(8)]
    oncall_server.people = [
        Person(2, "grace"),
        *(Person(1, "ada", day - timedelta(hours=4), day + timedelta(hours=6)) for day in days),
    ]
    result = await contacts(evidence, pagerduty(oncall_server))
    assert (result.status, "nobody on call at level 1 7 times until 2026-10-20" in result.summary) == (
        Status.FAILED,
        True,
    ), result.summary
    oncall_server.people = oncall_server.people[:2]
    assert (await contacts(evidence, pagerduty(oncall_server))).status is Status.WARNING  # one is still to be filled


@pytest.mark.verifies("disaster_recovery.emergency_contacts_current", "unknown")
async def test_who_cannot_be_asked_is_unknown(evidence: Folder, oncall_server: OnCallServer) -> None:
    oncall_server.people = ALWAYS
    result = await contacts(evidence, pagerduty(oncall_server, token="another"))
    assert (result.status, "answered 401" in result.summary) == (Status.UNKNOWN, True)
    settings = pagerduty(oncall_server)
    settings["on_call"]["pagerduty"]["escalation_policies"] = ["PABSENT"]
    assert (await contacts(evidence, settings)).status is Status.UNKNOWN
    settings["on_call"]["pagerduty"]["url"] = f"http://{LOOPBACK}:{free_port()}"
    assert (await contacts(evidence, settings)).status is Status.UNKNOWN
    assert (await contacts(evidence, {"on_call": {}})).status is Status.UNKNOWN
    async with faults.answering(b"<p>Please log in.") as (url, _):
        settings["on_call"]["pagerduty"]["url"] = url
        assert (await contacts(evidence, settings)).status is Status.UNKNOWN


async def test_a_list_that_nobody_reviewed_fails_whoever_is_on_call(
    evidence: Folder, oncall_server: OnCallServer
) -> None:
    oncall_server.people = ALWAYS
    result = await seen(evidence, "emergency_contacts_current", **pagerduty(oncall_server))
    assert (result.status, "There is no evidence" in result.summary) == (Status.FAILED, True)


async def test_schedules_of_opsgenie_are_levels(evidence: Folder, oncall_server: OnCallServer) -> None:
    oncall_server.schedules = {"primary": ["ada@example.com"], "secondary": ["grace@example.com"]}
    settings = {
        "on_call": {"opsgenie": {"url": oncall_server.url, "token": TOKEN, "schedules": ["primary", "secondary"]}}
    }
    assert (await contacts(evidence, settings)).status is Status.OK
    oncall_server.nights = {"primary": {0}}  # it is noon
    result = await contacts(evidence, settings)
    assert (result.status, "nobody on call at level 1 2 times until" in result.summary) == (Status.FAILED, True), result
    oncall_server.nights = {}
    oncall_server.disabled = {"secondary"}
    result = await contacts(evidence, settings)
    assert (result.status, "nobody on call at level 2" in result.summary) == (Status.FAILED, True)
    oncall_server.disabled, oncall_server.schedules["secondary"] = set(), ["ada@example.com"]
    assert "1 different person" in (await contacts(evidence, settings)).summary
    del oncall_server.schedules["secondary"]
    assert (await contacts(evidence, settings)).status is Status.UNKNOWN


async def test_any_json_says_who_is_on_call(evidence: Folder) -> None:
    async with faults.answering(
        {"now": {"first": {"name": "ada"}, "second": ["grace"], "third": [], "vacant": "No one"}}
    ) as (url, _):
        settings: dict[str, Any] = {"on_call": {"json_api": {"url": url, "levels": ["/now/first", "/now/second"]}}}
        assert (await contacts(evidence, settings)).status is Status.OK
        settings["on_call"]["json_api"]["levels"] = ["/now/first", "/now/third"]
        assert "nobody on call at level 2" in (await contacts(evidence, settings)).summary
        settings["on_call"]["json_api"]["levels"] = ["/now/first", "/now/vacant"]
        assert "nobody on call at level 2" in (await contacts(evidence, settings)).summary
        settings["on_call"]["json_api"]["levels"] = ["/now/first", "/now/fourth"]
        assert (await contacts(evidence, settings)).status is Status.UNKNOWN


@pytest.mark.parametrize(
    "named",
    ["--", "???", "0", "x", "TBD (hiring)", "none yet", "to be defined", {"user": {"name": ""}}, [{"user": ["tba"]}]],
)
async def test_more_ways_to_name_nobody(evidence: Folder, named: object) -> None:
    async with faults.answering({"first": {"name": None, "id": 5}, "second": named}) as (url, _):
        result = await contacts(evidence, {"on_call": {"json_api": {"url": url, "levels": ["/first", "/second"]}}})
    assert (result.status, "nobody on call at level 2" in result.summary) == (Status.FAILED, True), result.summary


@pytest.mark.parametrize(
    "settings",
    [
        {"on_call": {"pagerduty": {"token": TOKEN, "escalation_policies": ["a/../b"]}}},
        {"on_call": {"pagerduty": {"token": TOKEN, "escalation_policies": []}}},
        {"on_call": {"opsgenie": {"token": TOKEN, "schedules": ["a b"]}}},
        {"on_call": {"json_api": {"url": "https://example.com", "levels": ["first"]}}},
        {"recovery_times": [{"service": "Or ders", "at_most": "1h"}]},
        {"recovery_times": [{"service": "orders", "at_most": "0s"}]},
    ],
)
def test_options_that_cannot_be_meant_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error") as refused:
        DisasterRecoverySettings.model_validate(settings, strict=False)
    assert TOKEN not in str(refused.value)
