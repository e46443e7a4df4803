"""What Stripe's answers mean: refusals, keys by their prefixes, accounts, webhook endpoints and undelivered events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec
from pydantic import Field, field_validator

from collectors.shared.decoding import UNDECODABLE, UnixTime
from collectors.shared.urls import plain_url
from exporter.options import Duration, Options, Secret
from exporter.reply import Reply

__all__ = [
    "Account",
    "AccountLimits",
    "Balance",
    "Endpoint",
    "KeyAnswer",
    "KeyKind",
    "Knock",
    "NeededWebhook",
    "ProductKey",
    "Refusal",
    "RejectedAnswer",
    "Requirements",
    "Undelivered",
    "WebhookLimits",
    "kind_of",
    "refusal_of",
]


class ProductKey(Options):
    """A key that the product uses."""

    name: str = Field(min_length=1, description="Name used in verdicts.")
    key: Secret = Field(description="The key.")


class NeededWebhook(Options):
    """A webhook that the product serves."""

    url: str = Field(
        pattern=r"^https?://[^/?#@\s]+(/[^?#\s]*)?$", description="Its address, as Stripe has it, without a query."
    )
    events: tuple[str, ...] = Field(
        min_length=1, description="Types of events that the product needs, such as payment_intent.succeeded."
    )
    connect: bool = Field(False, description="Whether it receives the events of connected accounts instead of its own.")
    signing_secret: Secret | None = Field(
        None,
        description="Its signing secret (`whsec_…`): with `allow_intrusive`, an event signed with it has to be accepted.",
    )

    @field_validator("events")
    @classmethod
    def _types(cls, events: tuple[str, ...]) -> tuple[str, ...]:
        if "*" in events:
            raise ValueError("expected types of events, such as payment_intent.succeeded, not *")
        return events


class AccountLimits(Options):
    """What is expected of the account."""

    deadline_warning: Duration = Field(
        timedelta(days=30), gt=timedelta(0), description="How long before a deadline of Stripe's the line is a warning."
    )


class WebhookLimits(Options):
    """What is expected of webhooks."""

    delivered_within: Duration = Field(
        timedelta(hours=1), gt=timedelta(0), description="How long the delivery of an event may take."
    )
    delivery_window: Duration = Field(
        timedelta(days=1), gt=timedelta(0), description="How old the events are, at most, whose delivery is checked."
    )


class KeyKind(StrEnum):
    """What a key is, by its prefix."""

    UNRESTRICTED = "unrestricted"
    RESTRICTED = "restricted"
    PUBLISHABLE = "publishable"
    TEST = "test"
    OTHER = "other"


_PREFIXES: Mapping[str, KeyKind] = {
    "sk_live_": KeyKind.UNRESTRICTED,
    "rk_live_": KeyKind.RESTRICTED,
    "sk_test_": KeyKind.TEST,
    "rk_test_": KeyKind.TEST,
    "pk_": KeyKind.PUBLISHABLE,
}


def kind_of(key: str) -> KeyKind:
    """What a key is, by its prefix."""
    return next((kind for prefix, kind in _PREFIXES.items() if key.startswith(prefix)), KeyKind.OTHER)


class Refusal(StrEnum):
    """Why a request was refused."""

    KEY = "key"
    EXPIRED = "expired"
    RIGHT = "right"
    RATE = "rate"
    OTHER = "other"


_STATUSES = {401: Refusal.KEY, 403: Refusal.RIGHT, 429: Refusal.RATE}


class _Error(msgspec.Struct):
    type: str
    code: str | None = None


class _ErrorReply(msgspec.Struct):
    error: _Error


def refusal_of(reply: Reply) -> Refusal:
    """Why a reply is not the one that was asked for. OTHER where it is no error of Stripe's, but of something in between."""
    try:
        error = msgspec.json.decode(reply.body, type=_ErrorReply).error
    except UNDECODABLE:
        return Refusal.OTHER
    if error.code == "api_key_expired":
        return Refusal.EXPIRED
    return _STATUSES.get(reply.status, Refusal.OTHER)


@dataclass(frozen=True, slots=True)
class KeyAnswer:
    """What was answered to a key: None as `refusal` is success, `live` whether in live mode, None where that was not shown.

    `account` is the account that it belongs to, None where it may not read that.
    """

    name: str
    kind: KeyKind
    where: str
    status: int
    refusal: Refusal | None = None
    live: bool | None = None
    account: str | None = None


class Balance(msgspec.Struct, frozen=True):
    """Of the balance nothing but the mode is read: amounts are nobody's business here."""

    livemode: bool


class RejectedAnswer(msgspec.Struct, frozen=True):
    """A requirement whose answer Stripe did not accept, such as an unreadable document."""

    requirement: str


class Requirements(msgspec.Struct, frozen=True):
    """What Stripe wants to know of the account: names of requirements, and until when (Unix time)."""

    disabled_reason: str | None = None
    past_due: list[str] | None = None
    currently_due: list[str] | None = None
    current_deadline: UnixTime | None = None
    errors: list[RejectedAnswer] | None = None


class Account(msgspec.Struct, frozen=True):
    """An account; None where the answer does not have it, as it is where the key may not read it."""

    id: str
    charges_enabled: bool | None = None
    payouts_enabled: bool | None = None
    details_submitted: bool | None = None
    capabilities: dict[str, str] | None = None
    requirements: Requirements | None = None
    future_requirements: Requirements | None = None


class Endpoint(msgspec.Struct, frozen=True):
    """A webhook endpoint; `application` is set where it receives events of connected accounts.

    Its events are of `api_version`, None where that is not known.
    """

    id: str
    url: str
    status: str
    livemode: bool
    enabled_events: list[str]
    created: UnixTime = 0
    application: str | None = None
    api_version: str | None = None

    @property
    def address(self) -> str:
        """Its URL as it is compared."""
        return plain_url(self.url)


@dataclass(frozen=True, slots=True)
class Undelivered:
    """When the events of a type were created that were not delivered to all endpoints."""

    type: str
    created: tuple[datetime, ...]


@dataclass(frozen=True, slots=True)
class Knock:
    """What a webhook answered to an event that is unsigned, signed wrongly, or (`signed`) rightly.

    `body` is compared, and never shown. The event had this `version` of the API, None where none is known. One that is `absent`
    was sent beside the webhook, where nothing should be.
    """

    where: str
    what: str
    status: int
    signed: bool = False
    body: bytes = b""
    version: str | None = None
    absent: bool = False
