from __future__ import annotations

import json
import math
from datetime import timedelta, timezone

import jsonschema
import pytest

from exporter.document import document, schema, transition_document
from exporter.observations import Transition
from exporter.verdict import Result, Status, failed, ok
from tests.exporter.samples import WAIVER, catalogue, mixed, observe, planned, state
from tests.support import NOON, Clock


@pytest.fixture
def validator() -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(schema())
    return jsonschema.Draft202012Validator(schema(), format_checker=jsonschema.FormatChecker())


async def test_whole_checklist_matches_its_schema(validator: jsonschema.Draft202012Validator) -> None:
    clock = Clock()
    found = await mixed(clock)
    made = json.loads(json.dumps(document(found.views(), found.plan, clock()), allow_nan=False))
    validator.validate(made)
    assert (made["environment"], made["release"], made["generated_at"]) == (
        "production",
        "2026.3.1",
        "2026-03-02T12:00:00Z",
    )
    assert [(one["section"], one["item"]) for one in made["items"]] == [(p.section, p.item) for p in catalogue()]
    assert {one["status"] for one in made["items"]} == {status.value for status in Status}


async def test_never_verified_item_has_nulls(validator: jsonschema.Draft202012Validator) -> None:
    clock = Clock()
    found = state(planned(declared=None, mode=None, targets=()), clock=clock)
    made = document(found.views(), found.plan, clock())
    validator.validate(made)
    one = made["items"][0]
    assert (one["mode"], one["last_run"], one["last_ok"], one["valid_until"], one["waiver"]) == (None,) * 5
    assert (one["status"], one["targets"], one["evidence"]) == ("unknown", [], [])


async def test_targets_waiver_and_validity_are_told() -> None:
    clock = Clock()
    one = planned(targets=("orders", "users"), waiver=WAIVER)
    found = state(one, clock=clock)
    until = NOON.astimezone(timezone(timedelta(hours=2))) + timedelta(days=3)
    await observe(found, clock, one.section, {one.item: ok("Fine.", free_bytes=5.0, valid_until=until)}, "orders")
    await observe(found, clock, one.section, {one.item: failed("Not fine.", free_bytes=1.0)}, "users")
    made = document(found.views(), found.plan, clock())["items"][0]
    assert made["targets"] == [
        {"target": "orders", "status": "ok", "reason": None, "summary": "Fine.", "measurements": {"free_bytes": 5.0}},
        {
            "target": "users",
            "status": "failed",
            "reason": "unmet",
            "summary": "Not fine.",
            "measurements": {"free_bytes": 1.0},
        },
    ]
    assert made["waiver"] == {"reason": "Sized by hand until Q2.", "owner": "platform", "until": "2026-06-30"}
    assert made["status"] == "waived"


async def test_what_json_cannot_hold_is_left_out() -> None:
    clock = Clock()
    one = planned()
    found = state(one, clock=clock)
    measured = {"lag_bytes": math.nan, "age_seconds": math.inf, "free_bytes": 1.0}
    await observe(found, clock, one.section, {one.item: Result(Status.OK, "Seen.", measured)})
    assert document(found.views(), found.plan, clock())["items"][0]["measurements"] == {"free_bytes": 1.0}


def test_transition_tells_from_to_when_and_why() -> None:
    made = transition_document(Transition("redis", "persistence", None, Status.FAILED, NOON, "AOF is off."))
    assert made == {
        "section": "redis",
        "item": "persistence",
        "from": None,
        "to": "failed",
        "at": "2026-03-02T12:00:00Z",
        "why": "AOF is off.",
    }
    again = transition_document(Transition("redis", "persistence", Status.FAILED, Status.OK, NOON, "AOF is on."))
    assert (again["from"], again["to"]) == ("failed", "ok")
