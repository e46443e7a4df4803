"""A small PagerDuty and Opsgenie, with the replies that their OpenAPI documents describe: who is on call is what a test says."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from tests.servers.web import Handler, served

TOKEN = "canary-token-81c2"


@dataclass
class Person:
    """A user of PagerDuty at one level, from `start` to `end`."""

    level: int
    name: str
    start: datetime | None = None
    end: datetime | None = None
    methods: tuple[str, ...] = ("phone", "push_notification", "email")


@dataclass
class OnCallServer:
    """Who is on call: `people` of the one policy of PagerDuty (with `levels` levels), `schedules` of Opsgenie.

    `services` are the states of those that use the policy.
    """

    url: str
    levels: int = 2
    services: tuple[str, ...] = ("active",)
    people: list[Person] = field(default_factory=list)
    schedules: dict[str, list[str]] = field(default_factory=dict)
    disabled: set[str] = field(default_factory=set)
    nights: dict[str, set[int]] = field(default_factory=dict)
    """Hours (UTC) of each day at which nobody is on call by a schedule of Opsgenie."""
    page: int = 100
    queries: list[dict[str, list[str]]] = field(default_factory=list)

    def answer(self, path: str, query: dict[str, list[str]], authorization: str) -> tuple[int, Any]:
        """Return status and document."""
        vendor = "GenieKey " if path.startswith("/v2/") else "Token token="
        if authorization != vendor + TOKEN:
            return 401, {"error": {"message": "Unauthorized", "code": 2006}}
        self.queries.append(query)
        if path == "/oncalls":
            return 200, self.oncalls(query)
        if path == "/escalation_policies/PT20YPA":
            return 200, self.policy(query)
        if path.startswith("/v2/schedules/") and (name := path.split("/")[3]) in self.schedules:
            return 200, self.schedule(name, query)
        return 404, {"error": {"message": "Not Found", "code": 2100}}

    def policy(self, query: Mapping[str, list[str]] = MappingProxyType({})) -> dict[str, Any]:
        """Return the escalation policy, with its services or references to them."""
        target = {"id": "PI7DH85", "type": "schedule_reference", "summary": "Rotation"}
        rule = {"id": "PGHDV41", "escalation_delay_in_minutes": 30, "targets": [target]}
        named = {"id": "PT20YPA", "type": "escalation_policy", "name": "Orders", "summary": "Orders"}
        full = query.get("include[]") == ["services"]
        services = [
            {
                "id": f"PIJ90N{number}",
                **({"type": "service", "status": state} if full else {"type": "service_reference"}),
            }
            for number, state in enumerate(self.services)
        ]
        return {"escalation_policy": {**named, "escalation_rules": [rule] * self.levels, "services": services}}

    def oncalls(self, query: dict[str, list[str]]) -> dict[str, Any]:
        """Return one page of shifts."""
        full = query.get("include[]") == ["users"]
        offset = int(query.get("offset", ["0"])[0])
        shown = self.people[offset : offset + self.page]
        return {
            "oncalls": [self._shift(person, full) for person in shown],
            "limit": self.page,
            "offset": offset,
            "more": offset + self.page < len(self.people),
            "total": None,
        }

    @staticmethod
    def _shift(person: Person, full: bool) -> dict[str, Any]:
        user: dict[str, Any] = {
            "id": f"P{person.name}",
            "type": "user" if full else "user_reference",
            "summary": person.name,
        }
        if full:
            user |= {"name": person.name, "email": f"{person.name}@example.com"}
            user["contact_methods"] = [
                {"id": "PTDVERC", "type": f"{way}_contact_method_reference"} for way in person.methods
            ]
        return {
            "user": user,
            "schedule": {"id": "PI7DH85", "type": "schedule_reference", "summary": "Rotation"},
            "escalation_policy": {"id": "PT20YPA", "type": "escalation_policy_reference", "summary": "Orders"},
            "escalation_level": person.level,
            "start": person.start and person.start.isoformat(),
            "end": person.end and person.end.isoformat(),
        }

    def schedule(self, name: str, query: Mapping[str, list[str]] = MappingProxyType({})) -> dict[str, Any]:
        """Return who is on call by a schedule of Opsgenie, now or at the date that is asked for."""
        at = datetime.fromisoformat(query["date"][0]) if "date" in query else None
        people = [] if at and at.hour in self.nights.get(name, ()) else self.schedules[name]
        parent = {"id": name, "name": name, "enabled": name not in self.disabled}
        return {
            "data": {"_parent": parent, "onCallRecipients": people},
            "took": 0.05,
            "requestId": "43a29c5c",
        }


@pytest.fixture
def oncall_server() -> Iterator[OnCallServer]:
    """A service at which nobody is on call."""

    class Asked(Handler):
        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            status, document = state.answer(asked.path, parse_qs(asked.query), self.headers.get("Authorization", ""))
            self.reply(status, msgspec.json.encode(document))

    with served(Asked) as url:
        state = OnCallServer(url)
        yield state
