"""The servers of ours answer as the official documents say, and any JSON is read as its pointers say."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from collectors.systems.oncall.model import people_at
from exporter.verdict import ProbeError
from tests.servers.oncall import OnCallServer, Person
from tests.servers.specs import validate_reply


def test_pagerduty_answers_as_its_document_says(oncall_server: OnCallServer) -> None:
    day = datetime(2026, 10, 13, tzinfo=UTC)
    oncall_server.people = [Person(1, "ada", day, day.replace(day=14)), Person(2, "grace", day, day.replace(day=20))]
    validate_reply("pagerduty", "/oncalls", oncall_server.oncalls({}))
    validate_reply("pagerduty", "/escalation_policies/{id}", oncall_server.policy())


def test_opsgenie_answers_as_its_document_says(oncall_server: OnCallServer) -> None:
    oncall_server.schedules["primary"] = ["ada@example.com"]
    validate_reply("opsgenie", "/v2/schedules/{identifier}/on-calls", oncall_server.schedule("primary"))


@pytest.mark.parametrize(
    ("document", "people"),
    [
        ({"who": "Ada "}, {"ada"}),
        ({"who": ["Ada", "ada", "Grace"]}, {"ada", "grace"}),
        ({"who": {"id": 7}}, {"{'id': 7}"}),
        ({"who": ""}, set()),
        ({"who": None}, set()),
        ({"who": []}, set()),
        ({"who": [{}, " "]}, set()),
        ({"who": {"id": None, "name": ""}}, set()),
        ({"who": ["TBD", "Nobody", "N/A"]}, set()),
        ({"who": ["<none>", "[Unassigned]", "(empty)", "undefined", "NaN"]}, set()),
        ({"who": ["N/A (holiday)", "not yet assigned", "No-one on call", "placeholder"]}, set()),
        ({"who": ["Nan Undset", "(Ada)", "Noonan"]}, {"nan undset", "(ada)", "noonan"}),
    ],
)
def test_who_stands_at_a_pointer(document: Any, people: set[str]) -> None:
    assert people_at(document, "/who", "GET /") == people


@pytest.mark.parametrize("document", [{}, [], {"who": 7}, {"who": [None]}, {"who": False}, {"a~b": "Ada"}])
def test_what_names_nobody_is_not_understood(document: Any) -> None:
    with pytest.raises(ProbeError):
        people_at(document, "/who", "GET /")


def test_pointers_are_escaped_as_the_rfc_says() -> None:
    assert people_at({"a/b": [{"c~d": "Ada"}]}, "/a~1b/0/c~0d", "GET /") == {"ada"}
