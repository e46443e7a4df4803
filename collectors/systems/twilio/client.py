"""Asks Twilio for an account, its numbers and the outcomes of its messages, by GET alone. Bodies and recipients are not decoded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta

import msgspec
from pydantic import Field

from collectors.shared.decoding import UNDECODABLE, decode
from collectors.systems.twilio.model import (
    Account,
    Balance,
    Number,
    Outcomes,
    PhoneNumber,
    Refusal,
    TwilioLimits,
    outcomes_of,
)
from exporter.http import Http, HttpSettings
from exporter.reply import Reply
from exporter.verdict import ProbeError, Reason

__all__ = ["TwilioApi", "TwilioSettings"]

_URL = "https://api.twilio.com"
_PAGE = 1000


class TwilioSettings(HttpSettings, TwilioLimits):
    """Twilio's API. `username` is the SID of an API key or of the account, `password` the key's secret or the auth token."""

    url: str = Field(_URL, description="Base URL.")
    account: str = Field(pattern=r"^AC[0-9a-f]{32}$", description="SID of the account.")
    sms_numbers: tuple[PhoneNumber, ...] = Field((), description="Numbers from which the product sends messages.")
    voice_numbers: tuple[PhoneNumber, ...] = Field((), description="Numbers of the product's calls.")


class _Error(msgspec.Struct):
    code: int = 0


class _Account(msgspec.Struct):
    sid: str
    status: str
    type: str


class _Balance(msgspec.Struct):
    balance: str
    currency: str


class _Capabilities(msgspec.Struct):
    sms: bool
    voice: bool


class _Number(msgspec.Struct):
    phone_number: str
    capabilities: _Capabilities
    voice_url: str | None = None
    voice_application_sid: str | None = None
    trunk_sid: str | None = None


class _Numbers(msgspec.Struct):
    incoming_phone_numbers: list[_Number]


class _Message(msgspec.Struct):
    direction: str
    status: str
    sender: str | None = msgspec.field(name="from", default=None)


class _Messages(msgspec.Struct):
    messages: list[_Message]


class _Call(msgspec.Struct):
    status: str
    duration: str | None = None


class _Calls(msgspec.Struct):
    calls: list[_Call]


class TwilioApi:
    """Asks on the connections of one run. Everything raises ProbeError when Twilio does not answer, or with something else."""

    def __init__(self, settings: TwilioSettings) -> None:
        self._settings = settings
        self._http = Http(settings)
        self.close = self._http.close

    async def account(self) -> Account | Refusal:
        """The account, which only its auth token and main keys may read.

        Raises ProbeError when another one is described.
        """
        reply = await self._get(f"/2010-04-01/Accounts/{self._settings.account}.json")
        if reply.status != 200:
            return _refusal(reply)
        found = decode(reply, _Account)
        if found.sid != self._settings.account:
            raise ProbeError(f"{reply.where} described another account.", Reason.CONTRADICTED)
        return Account(found.status, found.type)

    async def balance(self) -> Balance:
        """What is left of a prepaid account. Raises ProbeError when it cannot be read."""
        reply = await self._read("Balance")
        found = decode(reply, _Balance)
        try:
            amount = float(found.balance)
        except ValueError:
            amount = math.nan
        if not math.isfinite(amount):
            raise ProbeError(f"{reply.where} has a balance that is no number.", Reason.MALFORMED)
        return Balance(amount, found.currency)

    async def number(self, number: str) -> Number | None:
        """A number of the account; None where it has no such number."""
        reply = await self._read("IncomingPhoneNumbers", {"PhoneNumber": number, "PageSize": "50"})
        for one in decode(reply, _Numbers).incoming_phone_numbers:  # those that contain it
            if one.phone_number == number:
                handled = bool(one.voice_application_sid or one.trunk_sid)
                capable = one.capabilities
                return Number(number, capable.sms, capable.voice, one.voice_url or "", handled)
        return None

    async def outcomes(self, now: datetime) -> Outcomes | Refusal:
        """The outcomes of the messages sent since yesterday began (UTC), of the newest thousand; also shows that the key works."""
        since = f"{now - timedelta(days=1):%Y-%m-%d}"
        reply = await self._get(self._path("Messages"), {"DateSent>": since, "PageSize": str(_PAGE)})
        if reply.status != 200:
            return _refusal(reply)
        messages = decode(reply, _Messages).messages
        return outcomes_of((one.sender, one.status) for one in messages if one.direction.startswith("outbound"))

    async def talked(self, number: str, since: datetime) -> bool:
        """Whether a call from or to the number was answered and completed since then."""
        for end in ("From", "To"):
            query = {end: number, "Status": "completed", "StartTime>": f"{since:%Y-%m-%d}", "PageSize": "50"}
            calls = decode(await self._read("Calls", query), _Calls).calls
            if any(one.status == "completed" and (one.duration or "0") not in ("", "0") for one in calls):
                return True
        return False

    def _path(self, what: str) -> str:
        return f"/2010-04-01/Accounts/{self._settings.account}/{what}.json"

    async def _get(self, path: str, query: Mapping[str, str] | None = None) -> Reply:
        return await self._http.get(path, params=dict(query or {}), expect=None)

    async def _read(self, what: str, query: Mapping[str, str] | None = None) -> Reply:
        reply = await self._get(self._path(what), query)
        if reply.status == 200:
            return reply
        if reply.status in (401, 403):
            raise ProbeError(
                f"{reply.where} answered {reply.status}: the key was rejected, or may not read this.", Reason.DENIED
            )
        raise ProbeError(
            f"{reply.where} answered {reply.status} (expected 200).",
            Reason.REFUSED if reply.status == 429 else Reason.MALFORMED,
        )


def _refusal(reply: Reply) -> Refusal:
    code = 0
    with suppress(*UNDECODABLE):  # an error of something in between
        code = msgspec.json.decode(reply.body, type=_Error).code
    return Refusal(reply.where, reply.status, code)
