"""Asks Stripe, and knocks at the product's webhooks. What servers write into errors is never shown: it may quote the key."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import msgspec
from msgspec.structs import replace
from pydantic import Field, SecretStr

from collectors.shared.attempts import attempt_all
from collectors.shared.decoding import UnixTime, decode
from collectors.systems.stripe.model import (
    Account,
    Balance,
    Endpoint,
    KeyAnswer,
    Knock,
    NeededWebhook,
    ProductKey,
    Refusal,
    Undelivered,
    WebhookLimits,
    kind_of,
    refusal_of,
)
from exporter.http import Http, HttpSettings, Trust
from exporter.reply import Reply
from exporter.verdict import ProbeError, Reason

__all__ = [
    "StripeApi",
    "Webhook",
    "account",
    "ask_with",
    "ask_with_a_wrong_key",
    "endpoints",
    "knock",
    "livemode",
    "undelivered",
]

T = TypeVar("T")

_PAGES = 10
_EVENT_TYPES = 20  # at most, that Stripe filters by
_WRONG = "sk_live_checklistexporterthisisnokey"
_ABSENT = "-checklist-exporter-no-such-path"


class StripeApi(HttpSettings):
    """Stripe's API; `bearer_token` is the exporter's key, which may only read. Basic authentication is not used."""

    url: str = Field("https://api.stripe.com", description="Base URL.")
    account: str | None = Field(
        None, pattern=r"^acct_[A-Za-z0-9]{1,100}$", description="Identifier of the account that the key must belong to."
    )


class Webhook(NeededWebhook):
    """A webhook that the product serves, and how to reach it."""

    tls: Trust = Field(Trust(), description="TLS: trusted authorities, where they are not the system's.")


class _Endpoints(msgspec.Struct):
    data: list[Endpoint]
    has_more: bool


class _Event(msgspec.Struct):
    id: str
    type: str
    created: UnixTime


class _Events(msgspec.Struct):
    data: list[_Event]
    has_more: bool


async def account(api: StripeApi) -> Account:
    """The account that the key belongs to. Raises ProbeError where it cannot be read."""
    async with _http(api) as http:
        return decode(await _read(http, "/v1/account"), Account)


async def livemode(api: StripeApi) -> bool:
    """Whether the key is one of live mode, as Stripe says. Raises ProbeError where it does not."""
    async with _http(api) as http:
        return decode(await _read(http, "/v1/balance"), Balance).livemode


async def ask_with(api: StripeApi, keys: Sequence[ProductKey]) -> list[KeyAnswer | ProbeError]:
    """What Stripe answers to each key, or why that is not known: it must not hide what it answers to the others."""
    return list(await attempt_all(_ask_with(api, key) for key in keys))


async def ask_with_a_wrong_key(api: StripeApi) -> KeyAnswer:
    """What Stripe answers to a key that is none. Raises ProbeError when it does not answer."""
    return await _ask_with(api, ProductKey(name="a wrong key", key=SecretStr(_WRONG)))


async def _ask_with(api: StripeApi, key: ProductKey) -> KeyAnswer:
    kind = kind_of(key.key.get_secret_value())
    async with _http(api.model_copy(update={"bearer_token": key.key})) as http:
        reply = await http.get("/v1/balance", expect=None)
        if reply.status != 200:
            return KeyAnswer(key.name, kind, reply.where, reply.status, refusal_of(reply))
        owner = await http.get("/v1/account", expect=None)
    belongs = decode(owner, Account).id if owner.status == 200 else None
    return KeyAnswer(key.name, kind, reply.where, 200, live=decode(reply, Balance).livemode, account=belongs)


async def endpoints(api: StripeApi) -> list[Endpoint]:
    """All webhook endpoints of the account. Raises ProbeError where they cannot be read whole.

    One without a version of the API has that of the account, which Stripe answers with.
    """
    found: list[Endpoint] = []
    async with _http(api) as http:
        for _ in range(_PAGES):
            after = {"starting_after": found[-1].id} if found else {}
            reply = await _read(http, "/v1/webhook_endpoints", {"limit": "100"} | after)
            page = decode(reply, _Endpoints)
            _advance(reply, [one.id for one in page.data], [one.id for one in found], more=page.has_more)
            version = reply.headers.get("stripe-version")
            found += (replace(one, api_version=one.api_version or version) for one in page.data)
            if not page.has_more:
                return found
    raise ProbeError(f"{reply.where} has more than {_PAGES} pages, which were not all read.", Reason.LIMIT)


async def undelivered(api: StripeApi, types: Sequence[str], limits: WebhookLimits, now: datetime) -> list[Undelivered]:
    """Events of these types that should have been delivered by now and were not, of each type the newest hundreds.

    Raises ProbeError where they cannot be read.
    """
    found: dict[str, list[datetime]] = {}
    since, until = now - max(limits.delivery_window, limits.delivered_within), now - limits.delivered_within
    async with _http(api) as http:
        for first in range(0, len(types), _EVENT_TYPES):
            query = {
                "limit": "100",
                "delivery_success": "false",
                "created[gte]": str(int(since.timestamp())),
                "created[lte]": str(int(until.timestamp())),
            } | {f"types[{number}]": name for number, name in enumerate(types[first : first + _EVENT_TYPES])}
            for event in decode(await _read(http, "/v1/events", query), _Events).data:
                found.setdefault(event.type, []).append(datetime.fromtimestamp(event.created, UTC))
    return [Undelivered(name, tuple(created)) for name, created in found.items()]


async def knock(webhook: Webhook, version: str | None, timeout: timedelta, now: datetime) -> list[Knock]:
    """What a webhook answers to events that Stripe did not sign, and to one that is signed as by Stripe if the secret is known.

    `version` is the version of the API that its events have: Stripe's own libraries refuse events of another. Where it answers
    401 or 403 to everything, a path beside it that does not exist is tried, too. Raises ProbeError when it does not answer.
    """
    unsigned, event = dict[str, str](), _event(version, now)

    def _signature(at: datetime, secret: SecretStr) -> dict[str, str]:
        stamp = int(at.timestamp())
        signed = hmac.new(secret.get_secret_value().encode(), b"%d." % stamp + event, hashlib.sha256).hexdigest()
        return {"Stripe-Signature": f"t={stamp},v1={signed}"}

    tried = [
        ("an unsigned event", unsigned, False),
        ("an event with a wrong signature", _signature(now, SecretStr("whsec_checklistexporterwrong")), False),
        ("an event signed with an empty secret", _signature(now, SecretStr("")), False),
    ]
    if webhook.signing_secret is not None:
        old = now - timedelta(hours=1)
        tried += [
            ("an event signed an hour ago", _signature(old, webhook.signing_secret), False),
            ("a signed event", _signature(now, webhook.signing_secret), True),
        ]
    found = []
    async with Http(HttpSettings(url=webhook.url, tls=webhook.tls, timeout=timeout)) as http:
        for what, headers, signed in tried:
            reply = await _posted(http, event, headers)
            found.append(Knock(reply.where, what, reply.status, signed, reply.body, version))
    if {one.status for one in found} in ({401}, {403}):
        beside = webhook.url.rstrip("/") + _ABSENT
        async with Http(HttpSettings(url=beside, tls=webhook.tls, timeout=timeout)) as http:
            reply = await _posted(http, event, unsigned)
        found.append(Knock(reply.where, "an event to a path that does not exist", reply.status, absent=True))
    return found


async def _posted(http: Http, event: bytes, headers: Mapping[str, str]) -> Reply:
    kind = {"Content-Type": "application/json; charset=utf-8"}
    return await http.request("POST", headers={**kind, **headers}, content=event, expect=None)


def _event(version: str | None, now: datetime) -> bytes:
    """An event of a type that no product knows, with all that Stripe's libraries demand of one.

    It has line breaks, as Stripe sends events: what verifies the signature of parsed and rewritten JSON has to refuse it.
    """
    event = {
        "id": "evt_checklist_exporter",
        "object": "event",
        "api_version": version,
        "created": int(now.timestamp()),
        "data": {"object": {"id": "checklist_exporter", "object": "checklist_exporter.probe"}},
        "livemode": True,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": "checklist_exporter.probe",
    }
    return msgspec.json.format(msgspec.json.encode(event), indent=2)


async def _read(http: Http, path: str, query: Mapping[str, str] | None = None) -> Reply:
    reply = await http.get(path, params=query, expect=None)
    if reply.status == 200:
        return reply
    where = f"{reply.where} answered {reply.status}"
    match refusal_of(reply):
        case Refusal.KEY | Refusal.EXPIRED:
            raise ProbeError(f"{where}: the key was rejected.", Reason.DENIED)
        case Refusal.RIGHT:
            raise ProbeError(f"{where}: the key may not read this.", Reason.DENIED)
        case Refusal.RATE:
            raise ProbeError(f"{where}: too many requests.", Reason.REFUSED)
    raise ProbeError(f"{where} (expected 200).", Reason.MALFORMED)


def _advance(reply: Reply, page: Sequence[str], before: Sequence[str], *, more: bool) -> None:
    """Raises ProbeError where a page repeats one before it, or is empty and said not to be the last."""
    if (more and not page) or not set(page).isdisjoint(before):
        raise ProbeError(f"{reply.where} broke off before its last page.", Reason.MALFORMED)


def _http(api: StripeApi) -> Http:
    # Basic authentication would replace the key that is judged by another.
    return Http(api.model_copy(update={"username": None, "password": None}))
