"""A small Twilio: an account, numbers, messages and calls as a test says, shaped as its OpenAPI document describes."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from tests.servers.web import Handler, served

ACCOUNT = f"AC{'0123456789abcdef' * 2}"
KEY, SECRET = f"SK{'0' * 32}", "canary-of-twilio-90c1"
_DATE = "Mon, 12 Oct 2026 10:00:00 +0000"


def error(code: int, status: int = 401) -> tuple[int, dict[str, Any]]:
    """Return an error as the API words it."""
    more = f"https://www.twilio.com/docs/errors/{code}"
    return status, {"code": code, "message": f"No: {SECRET}", "more_info": more, "status": status}


@dataclass
class TwilioServer:
    """What it answers. `forced` gives a resource's status and document; `asked` are the requests in their order.

    `messages` are of a direction, a status and, if known, a number that sent them.
    """

    url: str
    status: str = "active"
    type: str = "Full"
    balance: str = "120.50"
    numbers: dict[str, dict[str, Any]] = field(default_factory=dict)
    messages: Sequence[tuple[str, ...]] = field(default_factory=list)
    calls: list[dict[str, str]] = field(default_factory=list)
    forced: dict[str, tuple[int, Any]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, list[str]]]] = field(default_factory=list)

    def answer(self, path: str, query: dict[str, list[str]], key: str) -> tuple[int, Any]:
        """Return status and document."""
        resource = path.removeprefix("/2010-04-01/Accounts/").removesuffix(".json").rpartition("/")[2]
        self.asked.append((resource, query))
        if key != f"{KEY}:{SECRET}":
            return error(20003)
        if resource in self.forced:
            return self.forced[resource]
        if resource == ACCOUNT:
            return 200, self.account()
        if ACCOUNT in path and (listed := getattr(self, f"list_{resource.lower()}", None)):
            return 200, listed(query)
        return error(20404, 404)

    def account(self) -> dict[str, Any]:
        """Return the account."""
        return {
            "sid": ACCOUNT,
            "owner_account_sid": ACCOUNT,
            "auth_token": SECRET,
            "friendly_name": "Shop",
            "status": self.status,
            "type": self.type,
            "date_created": _DATE,
            "date_updated": _DATE,
            "uri": f"/2010-04-01/Accounts/{ACCOUNT}.json",
        }

    def list_balance(self, _query: dict[str, list[str]]) -> dict[str, Any]:
        """Return the balance."""
        return {"account_sid": ACCOUNT, "balance": self.balance, "currency": "USD"}

    def list_incomingphonenumbers(self, query: dict[str, list[str]]) -> dict[str, Any]:
        """Return the numbers that contain what was asked for, as Twilio does."""
        part = query.get("PhoneNumber", [""])[0]
        found = [
            {"account_sid": ACCOUNT, "phone_number": number, "status": "in-use", **values}
            for number, values in self.numbers.items()
            if part in number
        ]
        return self._page("incoming_phone_numbers", found)

    def list_messages(self, _query: dict[str, list[str]]) -> dict[str, Any]:
        """Return the messages."""
        found = [
            {
                "account_sid": ACCOUNT,
                "direction": direction,
                "status": status,
                "from": sender[0] if sender else None,
                "to": "+4915000000001",
                "body": "Hello",
            }
            for direction, status, *sender in self.messages
        ]
        return self._page("messages", found)

    def list_calls(self, query: dict[str, list[str]]) -> dict[str, Any]:
        """Return the calls from or to a number, of a status."""
        wanted = {name.lower(): query[name][0] for name in ("From", "To", "Status") if name in query}
        found = [call for call in self.calls if all(call.get(name) == value for name, value in wanted.items())]
        return self._page("calls", found)

    @staticmethod
    def _page(name: str, found: list[Any]) -> dict[str, Any]:
        return {name: found, "page": 0, "page_size": 50, "start": 0, "end": len(found), "next_page_uri": None}


def number(*, sms: bool = True, voice: bool = True, **values: Any) -> dict[str, Any]:
    """Return what a number is capable of, and who answers it."""
    capabilities = {"sms": sms, "mms": sms, "voice": voice, "fax": False}
    return {"capabilities": capabilities, "voice_url": "https://shop.example.com/calls", **values}


@pytest.fixture
def twilio_server() -> Iterator[TwilioServer]:
    """An account without numbers."""

    class Asked(Handler):
        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            key = base64.b64decode(self.headers.get("Authorization", "").removeprefix("Basic ")).decode()
            status, document = state.answer(asked.path, parse_qs(asked.query), key)
            self.reply(status, document if isinstance(document, bytes) else msgspec.json.encode(document))

    with served(Asked) as url:
        state = TwilioServer(url)
        yield state
