"""A small Stripe: account, balance, webhook endpoints and events as a test says, shaped as its OpenAPI document describes.

Beside it, over TLS, the product's webhook, which verifies signatures or does not.
"""

import hashlib
import hmac
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from tests.servers.certificates import authority
from tests.servers.process import LOOPBACK
from tests.servers.web import JSON, Handler, served

KEY = "rk_live_canary4f19d07b"
PRODUCT_KEY = "rk_live_canary77ab21"
TEST_KEY = "sk_test_canary0c1d2e"
SIGNING_SECRET = "whsec_canary5a6b7c"
Query = dict[str, list[str]]


def error(code: str | None = None, kind: str = "invalid_request_error", message: str = "No.") -> dict[str, Any]:
    """Return an error as the API words it."""
    return {"error": {"type": kind, "message": message} | ({"code": code} if code else {})}


@dataclass
class StripeServer:
    """What it answers. `keys` are those that it knows, and whether each is of live mode. `version` is the account's of the API.

    `forced` gives a path's answer, `answers` that of a key and a path.
    """

    url: str
    keys: dict[str, bool] = field(default_factory=lambda: {KEY: True, PRODUCT_KEY: True, TEST_KEY: False})
    any_key: bool = False
    denied: set[tuple[str, str]] = field(default_factory=set)
    account: dict[str, Any] = field(default_factory=dict)
    requirements: dict[str, Any] = field(default_factory=dict)
    endpoints: list[dict[str, Any]] = field(default_factory=list)
    undelivered: list[tuple[str, datetime]] = field(default_factory=list)
    page: int = 100
    version: str = "2024-06-20"
    forced: dict[str, tuple[int, Any]] = field(default_factory=dict)
    answers: dict[tuple[str, str], tuple[int, Any]] = field(default_factory=dict)
    asked: list[tuple[str, str, Query]] = field(default_factory=list)

    def answer(self, method: str, path: str, query: Query, key: str) -> tuple[int, Any]:
        """Return status and document."""
        self.asked.append((method, path, query))
        if key not in self.keys and not self.any_key:
            return 401, error(message=f"Invalid API Key provided: {key}")
        if (key, path) in self.denied:
            return 403, error(
                message=f"The provided key '{key}' does not have the required permissions for this endpoint."
            )
        if (key, path) in self.answers:
            return self.answers[(key, path)]
        if path in self.forced:
            return self.forced[path]
        match path:
            case "/v1/account":
                return 200, self.the_account()
            case "/v1/balance":
                return 200, self.balance(live=self.keys.get(key, True))
            case "/v1/webhook_endpoints":
                return 200, self.webhook_endpoints(query)
            case "/v1/events":
                return 200, self.events(query)
        return 404, error(message=f"Unrecognized request URL ({method}: {path}).")

    def the_account(self) -> dict[str, Any]:
        """Return the account."""
        return {
            "id": "acct_1Shop",
            "object": "account",
            "charges_enabled": True,
            "payouts_enabled": True,
            "details_submitted": True,
            "capabilities": {"card_payments": "active", "transfers": "inactive"},
            "requirements": {
                "alternatives": [],
                "current_deadline": None,
                "currently_due": [],
                "disabled_reason": None,
                "errors": [],
                "eventually_due": [],
                "past_due": [],
                "pending_verification": [],
            }
            | self.requirements,
        } | self.account

    @staticmethod
    def balance(*, live: bool) -> dict[str, Any]:
        """Return the balance."""
        amount = {"amount": 4242, "currency": "usd", "source_types": {"card": 4242}}
        return {"object": "balance", "available": [amount], "pending": [amount], "livemode": live}

    def webhook_endpoints(self, query: Query) -> dict[str, Any]:
        """Return a page of the webhook endpoints."""
        return self._paged(self.endpoints, query, "/v1/webhook_endpoints")

    def events(self, query: Query) -> dict[str, Any]:
        """Return a page of the events that were not delivered to all endpoints."""
        since, until = (int(query[f"created[{bound}]"][0]) for bound in ("gte", "lte"))
        types = {value for name, values in query.items() if name.startswith("types[") for value in values}
        assert query["delivery_success"] == ["false"]
        found = [
            {
                "id": f"evt_{number}",
                "object": "event",
                "api_version": "2024-06-20",
                "created": int(created.timestamp()),
                "data": {"object": {}},
                "livemode": True,
                "pending_webhooks": 1,
                "request": {"id": None, "idempotency_key": None},
                "type": kind,
            }
            for number, (kind, created) in enumerate(self.undelivered)
            if kind in types and since <= created.timestamp() <= until
        ]
        return self._paged(found, query, "/v1/events")

    def _paged(self, found: list[dict[str, Any]], query: Query, path: str) -> dict[str, Any]:
        after = query.get("starting_after", [""])[0]
        first = next((number for number, one in enumerate(found, 1) if one["id"] == after), 0)
        most = min(int(query.get("limit", ["10"])[0]), self.page)
        more = first + most < len(found)
        return {"object": "list", "url": path, "has_more": more, "data": found[first : first + most]}


def endpoint(url: str, *events: str, **values: Any) -> dict[str, Any]:
    """Return a webhook endpoint."""
    return {
        "id": f"we_{hashlib.sha256(repr((url, events, values)).encode()).hexdigest()[:12]}",
        "object": "webhook_endpoint",
        "api_version": None,
        "application": None,
        "created": 1680064000,
        "description": None,
        "enabled_events": list(events),
        "livemode": True,
        "metadata": {},
        "status": "enabled",
        "url": url,
    } | values


@dataclass
class Webhook:
    """The product's webhook: it verifies signatures as Stripe documents them, unless a status is forced.

    With `rewrites` it verifies that of the JSON which it has parsed and written again. With `unexpected` it refuses types of
    events that it does not know, with this text; with `version`, as Stripe's libraries do, events of another version of the API.
    What is before it answers `everywhere` to everything.
    """

    url: str
    ca_file: Path
    always: int | None = None
    refusal: int = 400
    max_age: float = 300.0
    secrets: tuple[str, ...] = (SIGNING_SECRET,)
    rewrites: bool = False
    unexpected: bytes = b""
    version: str = ""
    everywhere: int | None = None
    asked: list[str] = field(default_factory=list)

    def answer(self, method: str, path: str, signature: str, body: bytes) -> tuple[int, bytes]:
        """Return status and text."""
        if self.everywhere is not None:
            return self.everywhere, b"Forbidden"
        if path != "/stripe":
            return 404, b"Not found"
        status = self.verified(method, signature, body)
        return (400, self.unexpected) if status == 200 and self.unexpected else (status, b"{}")

    def verified(self, method: str, signature: str, body: bytes) -> int:
        """Return the status that the signature deserves."""
        self.asked.append(method)
        if self.always is not None:
            return self.always
        parts = dict(part.split("=", 1) for part in signature.split(",") if "=" in part)
        stamp = parts.get("t", "0")
        signed = f"{stamp}.".encode() + (msgspec.json.encode(msgspec.json.decode(body)) if self.rewrites else body)
        right = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in self.secrets]
        genuine = parts.get("v1", "") in right
        if self.version and msgspec.json.decode(body).get("api_version") != self.version:
            return self.refusal
        return 200 if genuine and abs(time.time() - int(stamp)) <= self.max_age else self.refusal


@pytest.fixture
def stripe_server() -> Iterator[StripeServer]:
    """An account with which nothing is wrong, without webhook endpoints."""

    class Asked(Handler):
        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            key = self.headers.get("Authorization", "").removeprefix("Bearer ")
            status, document = state.answer(self.command, asked.path, parse_qs(asked.query), key)
            body = document if isinstance(document, bytes) else msgspec.json.encode(document)
            self.reply(status, body, {**JSON, **({"Stripe-Version": state.version} if state.version else {})})

    with served(Asked) as url:
        state = StripeServer(url)
        yield state


@pytest.fixture
def webhook(tmp_path: Path) -> Iterator[Webhook]:
    """A webhook over TLS that verifies signatures."""

    class Asked(Handler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            self.reply(*state.answer(self.command, self.path, self.headers.get("Stripe-Signature", ""), body))

    certificate, key = authority().issue(LOOPBACK).write(tmp_path, "webhook")
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(authority().pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with served(Asked, context) as url:
        state = Webhook(f"{url}/stripe", ca_file)
        yield state
