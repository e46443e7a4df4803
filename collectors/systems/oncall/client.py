"""Asks who is on call. Nothing that names a person is in any error."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

import msgspec
from pydantic import Field, field_validator

from collectors.shared.decoding import decode
from collectors.systems.oncall.model import OnCallLimits, Roster, Shift, people_at
from exporter.http import Http, HttpSettings
from exporter.options import Secret
from exporter.verdict import ProbeError, Reason

__all__ = ["JsonRoster", "OnCallOptions", "Opsgenie", "PagerDuty", "read_rosters"]

_PAGE = 100
_PAGES = 20
_STEP, _STEPS = timedelta(hours=6), 8


_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def _identifier(values: tuple[str, ...]) -> tuple[str, ...]:
    if any(not _ID.fullmatch(value) for value in values):
        raise ValueError("expected identifiers, of letters, digits, - and _")
    return values


class PagerDuty(HttpSettings):
    """PagerDuty's REST API, with a read-only key."""

    url: str = Field("https://api.pagerduty.com", description="Base URL; the EU's is https://api.eu.pagerduty.com.")
    token: Secret = Field(description="Read-only REST API key.")
    escalation_policies: tuple[str, ...] = Field(min_length=1, description="Identifiers of the escalation policies.")

    _policies = field_validator("escalation_policies")(_identifier)


class Opsgenie(HttpSettings):
    """Opsgenie's REST API, with a read-only key."""

    url: str = Field("https://api.opsgenie.com", description="Base URL; the EU's is https://api.eu.opsgenie.com.")
    token: Secret = Field(description="Read-only API key.")
    schedules: tuple[str, ...] = Field(
        min_length=1, description="Identifiers of the schedules, in the order in which an alert escalates."
    )

    _schedules = field_validator("schedules")(_identifier)


class JsonRoster(HttpSettings):
    """Any API that answers GET with JSON that says who is on call."""

    levels: tuple[str, ...] = Field(
        min_length=1,
        description="JSON pointers (RFC 6901), such as `/primary/person`, one for each level in the order of escalation: a "
        "text, an object, or a list of them.",
    )

    @field_validator("levels")
    @classmethod
    def _pointers(cls, levels: tuple[str, ...]) -> tuple[str, ...]:
        if any(level and not level.startswith("/") for level in levels):
            raise ValueError("expected JSON pointers such as /primary/person")
        return levels


class OnCallOptions(OnCallLimits):
    """Where it is asked who is on call."""

    pagerduty: PagerDuty | None = Field(None, description="PagerDuty's escalation policies.")
    opsgenie: Opsgenie | None = Field(None, description="Opsgenie's schedules.")
    json_api: JsonRoster | None = Field(None, description="Any other API that answers in JSON.")


class _Service(msgspec.Struct):
    status: str | None = None


class _Policy(msgspec.Struct):
    escalation_rules: list[dict[str, Any]]
    services: list[_Service] | None = None


class _PolicyReply(msgspec.Struct):
    escalation_policy: _Policy


class _User(msgspec.Struct):
    id: str
    contact_methods: list[dict[str, Any]] | None = None
    deleted_at: str | None = None


class _OnCall(msgspec.Struct):
    user: _User
    escalation_level: int
    start: datetime | None = None
    end: datetime | None = None


class _OnCalls(msgspec.Struct):
    oncalls: list[_OnCall]
    more: bool = False


class _Parent(msgspec.Struct):
    enabled: bool = True


class _Schedule(msgspec.Struct):
    recipients: list[str] = msgspec.field(name="onCallRecipients")
    parent: _Parent = msgspec.field(name="_parent", default_factory=_Parent)


class _ScheduleReply(msgspec.Struct):
    data: _Schedule


async def read_rosters(options: OnCallOptions, now: datetime) -> list[Roster]:
    """Every roster that is configured. Raises ProbeError when one cannot be read whole."""
    rosters: list[Roster] = []
    if options.pagerduty is not None:
        rosters += await _pagerduty(options.pagerduty, now, now + options.look_ahead)
    if options.opsgenie is not None:
        rosters.append(await _opsgenie(options.opsgenie, now))
    if options.json_api is not None:
        rosters.append(await _json(options.json_api, now))
    return rosters


async def _pagerduty(settings: PagerDuty, now: datetime, until: datetime) -> list[Roster]:
    headers = {
        "Authorization": f"Token token={settings.token.get_secret_value()}",
        "Accept": "application/vnd.pagerduty+json;version=2",
        "Content-Type": "application/json",  # which its document requires of every request
    }
    rosters = []
    async with Http(settings) as http:
        for policy in settings.escalation_policies:
            reply = await http.get(f"/escalation_policies/{policy}", params={"include[]": "services"}, headers=headers)
            found = decode(reply, _PolicyReply).escalation_policy
            levels = len(found.escalation_rules)
            shifts: list[Shift] = []
            offset = 0
            for _ in range(_PAGES):
                query = {
                    "escalation_policy_ids[]": policy,
                    "include[]": "users",
                    "since": now.isoformat(timespec="seconds"),
                    "until": until.isoformat(timespec="seconds"),
                    "time_zone": "UTC",
                    "limit": str(_PAGE),
                    "offset": str(offset),
                }
                reply = await http.get("/oncalls", params=query, headers=headers)
                part = decode(reply, _OnCalls)
                shifts += (_shift(found) for found in part.oncalls if not found.user.deleted_at)
                if not part.more:
                    break
                offset += len(part.oncalls)  # a page may be shorter than what was asked for
            else:
                raise ProbeError(
                    f"{reply.where} lists more than {_PAGE * _PAGES} shifts, which were not all read.", Reason.LIMIT
                )
            rosters.append(
                Roster(
                    f"PagerDuty escalation policy {policy}",
                    levels,
                    tuple(shifts),
                    now,
                    until,
                    services=None if found.services is None else tuple(one.status or "" for one in found.services),
                )
            )
    return rosters


def _shift(found: _OnCall) -> Shift:
    for moment in (found.start, found.end):
        if moment is not None and moment.tzinfo is None:
            raise ProbeError("PagerDuty answered with a time without its zone.", Reason.MALFORMED)
    methods = found.user.contact_methods
    reachable = None if methods is None else any("email" not in str(method.get("type", "")) for method in methods)
    return Shift(found.escalation_level, found.user.id, found.start, found.end, reachable)


async def _opsgenie(settings: Opsgenie, now: datetime) -> Roster:
    """Who is on call now and, as Opsgenie answers for one moment alone, at some of the two nights to come."""
    shifts: list[Shift] = []
    headers = {"Authorization": f"GenieKey {settings.token.get_secret_value()}"}
    moments = [now + number * _STEP for number in range(_STEPS)]
    async with Http(settings) as http:
        for level, schedule in enumerate(settings.schedules, 1):
            for moment in moments:
                when = {} if moment == now else {"date": moment.isoformat(timespec="seconds")}
                path = f"/v2/schedules/{schedule}/on-calls"
                reply = await http.get(path, params={"flat": "true", **when}, headers=headers)
                found = decode(reply, _ScheduleReply).data
                if found.parent.enabled:
                    shifts += (
                        Shift(level, person.casefold(), moment, moment + _STEP)
                        for person in found.recipients
                        if person.strip()
                    )
    return Roster("The Opsgenie escalation", len(settings.schedules), tuple(shifts), now, moments[-1] + _STEP)


async def _json(settings: JsonRoster, now: datetime) -> Roster:
    async with Http(settings) as http:
        reply = await http.get()
    document = reply.json()
    shifts = tuple(
        Shift(level, person)
        for level, pointer in enumerate(settings.levels, 1)
        for person in people_at(document, pointer, reply.where)
    )
    return Roster(f"The roster of {settings.url}", len(settings.levels), shifts, now, now)
