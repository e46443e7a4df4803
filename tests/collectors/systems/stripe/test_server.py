"""The server of ours answers as the official document says."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.servers.specs import validate_reply
from tests.servers.stripe import StripeServer, endpoint


def test_it_answers_as_the_document_says(stripe_server: StripeServer) -> None:
    server = stripe_server
    server.endpoints = [endpoint("https://shop.example.com/stripe", "charge.refunded")]
    server.undelivered = [("charge.refunded", datetime(2026, 10, 1, tzinfo=UTC))]
    bounds = {"created[gte]": ["0"], "created[lte]": ["9999999999"]}
    events = server.events({"delivery_success": ["false"], "types[0]": ["charge.refunded"], **bounds})
    assert events["data"]
    validate_reply("stripe", "/v1/account", server.the_account())
    validate_reply("stripe", "/v1/balance", server.balance(live=True))
    validate_reply("stripe", "/v1/webhook_endpoints", server.webhook_endpoints({}))
    validate_reply("stripe", "/v1/events", events)
