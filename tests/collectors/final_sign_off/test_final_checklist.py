"""The final checklist: what is derived from all other lines, and what evidence says of the launch."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import pytest

from collectors.final_sign_off.final_checklist import FinalChecklist, FinalChecklistSettings
from exporter.plan import PlannedItem, Waiver
from exporter.state import State
from exporter.verdict import CRITICAL, INFO, Result, Status, failed, ok, unknown, warning
from tests.collectors.evidence import NOW, Folder, each, evidence_of
from tests.exporter.samples import catalogue, observe, planned, state
from tests.servers import faults
from tests.servers.pages import Pages
from tests.support import Clock, Run, make_context, sees, verify

ROLES = ("technical_lead", "security_lead", "operations_lead", "qa_lead", "product_owner", "executive_sponsor")

LAUNCH = "2026-10-14 10:00 to 2026-10-15 00:00"


evidence = evidence_of("final_checklist", pages=True)


def run(evidence: Folder, item: str, **settings: Any) -> Run:
    return Run(FinalChecklist, [item], settings=settings, context=make_context(**evidence.context))


seen = sees(run)


# Derived


async def derived(item: str, known: State) -> Result:
    found = await verify(
        FinalChecklist, FinalChecklistSettings(), items=(item,), view=lambda: tuple(known.views()), now=Clock(NOW)
    )
    return found[item].result


async def known(results: Mapping[str, Result], *items: PlannedItem) -> State:
    """A state of these lines, or of the six sign-offs, with these results."""
    clock = Clock(NOW)
    made = state(*(items or (planned("signatories", role) for role in ROLES)), clock=clock)
    await observe(made, clock, "signatories", results)
    return made


@pytest.mark.parametrize(
    "item",
    each(
        "final_checklist",
        ("all_items_completed", "all_stakeholders_signed_off"),
        *("ok", "warning", "failed", "unknown"),
    ),
)
async def test_lines_derived_from_others_are_as_bad_as_the_worst(item: str) -> None:
    fine = dict.fromkeys(ROLES, ok("Signed."))
    for results, status, summary in (
        (
            {},
            Status.UNKNOWN,
            f"6 of 6 lines are unknown: {', '.join(f'signatories.{role}' for role in ROLES[:5])} and 1 more.",
        ),
        (fine | {"qa_lead": unknown("?")}, Status.UNKNOWN, "1 of 6 lines is unknown: signatories.qa_lead."),
        (fine | {"qa_lead": failed("!")}, Status.FAILED, "1 of 6 lines failed: signatories.qa_lead."),
        (
            {"qa_lead": failed("!")},
            Status.FAILED,
            "1 of 6 lines failed: signatories.qa_lead. 5 more are unknown.",
        ),
        (fine | {"qa_lead": warning("soon")}, Status.OK, "All 6 lines pass."),
        (fine, Status.OK, "All 6 lines pass."),
    ):
        result = await derived(item, await known(results))
        assert (result.status, result.summary) == (status, summary)
    waiver = Waiver("She is away.", "platform", date(2026, 12, 31))
    items = [planned("signatories", role, waiver=waiver if role == "qa_lead" else None) for role in ROLES]
    result = await derived(item, await known(fine | {"qa_lead": failed("!")}, *items))
    assert (result.status, result.summary) == (
        Status.WARNING,
        "5 of 6 lines pass; waived: signatories.qa_lead.",
    )
    assert result.measurements == {"failed_items": 0, "unknown_items": 0, "waived_items": 1}


async def test_lines_that_do_not_apply_do_not_count() -> None:
    items = [
        planned("signatories", role, not_applicable="No sponsor." if "sponsor" in role else None) for role in ROLES
    ]
    made = await known({role: ok("Signed.") for role in ROLES if "sponsor" not in role}, *items)
    for item in ("all_items_completed", "all_stakeholders_signed_off"):
        assert (await derived(item, made)).summary == "All 5 lines pass."


async def test_nothing_to_look_at_is_no_proof() -> None:
    for made in (state(), state(planned("signatories", "qa_lead", not_applicable="Nobody signs."))):
        for item in ("all_items_completed", "all_stakeholders_signed_off"):
            result = await derived(item, made)
            assert (result.status, result.summary) == (
                Status.UNKNOWN,
                "The checklist has no such lines, so nothing was checked.",
            )


async def test_the_whole_checklist_completes_without_waiting_for_itself() -> None:
    clock = Clock(NOW)
    lines = catalogue()
    made = state(*lines, clock=clock)
    for section in {line.section for line in lines} - {"final_checklist"}:
        await observe(made, clock, section, {line.item: ok("Seen.") for line in lines if line.section == section})
    rest = [line.item for line in lines if line.section == "final_checklist"]
    await observe(made, clock, "final_checklist", {item: ok("Seen.") for item in rest if not item.startswith("all_s")})
    await observe(made, clock, "final_checklist", {"all_items_completed": unknown("Not yet.")})
    result = await derived("all_items_completed", made)
    assert (result.status, result.summary) == (Status.OK, "All 203 lines pass.")
    clock.advance(hours=1)
    assert (await derived("all_items_completed", made)).status is Status.UNKNOWN


# Evidence


@pytest.mark.verifies("final_checklist.launch_window_confirmed", "ok")
@pytest.mark.verifies("final_checklist.launch_window_confirmed", "failed")
@pytest.mark.verifies("final_checklist.launch_window_confirmed", "unknown")
async def test_a_launch_window_is_free_of_freezes(evidence: Folder) -> None:
    item = "launch_window_confirmed"
    assert (await seen(evidence, item)).summary == "There is no evidence for final_checklist.launch_window_confirmed."
    evidence.record(item)
    result = await seen(evidence, item)
    assert (result.status, result.summary) == (
        Status.FAILED,
        "Evidence for final_checklist.launch_window_confirmed names no window.",
    )
    evidence.record(item, window={"start": "2026-10-14T12:00:00+02:00", "end": "2026-10-14"})
    result = await seen(evidence, item)
    assert result.status is Status.OK
    assert result.summary.endswith(f"The launch window is {LAUNCH} UTC.")
    assert result.measurements == {"seconds_until_window": 22 * 3600}
    freeze = {"start": date(2026, 10, 14), "end": date(2026, 10, 20), "reason": "Autumn sale."}
    result = await seen(evidence, item, freezes=(freeze,))
    assert (result.status, result.summary) == (
        Status.FAILED,
        f"The launch window {LAUNCH} UTC is in a freeze from 2026-10-14 to 2026-10-20: Autumn sale.",
    )
    before = freeze | {"start": date(2026, 10, 1), "end": date(2026, 10, 13)}
    assert (await seen(evidence, item, freezes=(before, freeze | {"start": date(2026, 10, 15)}))).status is Status.OK
    evidence.clock.advance(days=60)
    result = await seen(evidence, item)
    assert result.status is Status.OK
    assert result.summary.endswith(f"The launch window was {LAUNCH} UTC.")
    evidence.record(item, window={"start": "2026-12-14T12:00:00Z", "end": "2026-12-14T12:00:30Z"})
    short = await seen(evidence, item)
    assert (short.status, short.summary.endswith("is shorter than a minute.")) == (Status.FAILED, True)
    evidence.tear(item)
    assert (await seen(evidence, item)).status is Status.UNKNOWN


def test_a_freeze_ends_after_it_begins() -> None:
    with pytest.raises(ValueError, match="expected an end after the start"):
        FinalChecklistSettings.model_validate_json(
            '{"freezes": [{"start": "2026-10-02", "end": "2026-10-01", "reason": "Sale."}]}'
        )


@pytest.mark.verifies("final_checklist.communication_plan_ready", "ok")
@pytest.mark.verifies("final_checklist.communication_plan_ready", "failed")
@pytest.mark.verifies("final_checklist.communication_plan_ready", "unknown")
async def test_a_communication_plan_has_what_it_takes_and_answers(evidence: Folder, pages: Pages) -> None:
    item = "communication_plan_ready"
    complete = {"channels": 3, "contacts": 5, "templates": 4}
    link = pages.add("/plan")
    assert (await seen(evidence, item)).status is Status.FAILED
    evidence.record(item, links=[link], measured=complete)
    result = await seen(evidence, item)
    assert result.status is Status.OK
    assert result.summary.endswith(f"{link} answers. The communication plan has channels, contacts and templates.")
    for missing in complete:
        evidence.record(item, links=[link], measured=complete | {missing: 0})
        result = await seen(evidence, item)
        assert (result.status, result.summary) == (
            Status.FAILED,
            f"The communication plan has no {missing} (at least one of each wanted).",
        )
    evidence.record(item, links=[], measured=complete)
    assert (await seen(evidence, item)).status is Status.FAILED
    evidence.record(item, links=[link], measured=complete, on="2026-07-01")
    assert "expired 14 days ago (2026-09-28)." in (await seen(evidence, item)).summary
    evidence.record(item, links=[link], measured=complete)
    pages.add("/plan", status=403)
    assert (await seen(evidence, item)).status is Status.UNKNOWN


async def test_a_status_page_must_answer(evidence: Folder, pages: Pages, no_leftovers: None) -> None:
    item = "communication_plan_ready"
    evidence.record(item, links=[pages.add("/plan")], measured={"channels": 1, "contacts": 1, "templates": 1})
    status = {"url": pages.add("/status")}
    result = await seen(evidence, item, status_page=status)
    assert result.status is Status.OK
    assert f"The status page {status['url']} answers." in result.summary
    pages.add("/status", status=502)
    result = await seen(evidence, item, status_page=status)
    assert result.status is Status.UNKNOWN
    assert "/status answered 502" in result.summary
    async with faults.refused() as (name, port):
        result = await seen(evidence, item, status_page={"url": f"http://{name}:{port}"})
        assert result.status is Status.UNKNOWN
    await evidence.close()


@pytest.mark.parametrize(
    ("start", "end", "summary"),
    [
        ("2019-05-01", "2019-05-02", "was over when it was confirmed on 2026-10-01."),
        ("2026-09-29", "2026-09-30", "was over when it was confirmed on 2026-10-01."),
        ("2026-10-14", "2036-10-14", "days long (at most 30 days)."),
        ("2062-01-01", "2062-01-02", "days (at most 365 days)."),
    ],
)
async def test_a_window_that_nobody_can_agree_on_fails(evidence: Folder, start: str, end: str, summary: str) -> None:
    evidence.record("launch_window_confirmed", window={"start": start, "end": end})
    result = await seen(evidence, "launch_window_confirmed")
    assert (result.status, summary in result.summary) == (Status.FAILED, True), result.summary


async def test_the_lines_that_matter_most_are_named_first() -> None:
    items = [planned("a", f"l{number}", severity=severity) for number, severity in enumerate([INFO] * 5 + [CRITICAL])]
    result = await derived("all_items_completed", state(*items))
    assert result.summary == "6 of 6 lines are unknown: a.l5, a.l0, a.l1, a.l2, a.l3 and 1 more."
