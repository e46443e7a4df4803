"""Stripe's own mock: our requests and what is judged have Stripe's shapes; single fields make the state of an account."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from collectors.third_party_integrations.payments import Payments
from exporter.http import Http, HttpSettings
from exporter.verdict import Status
from tests.collectors.evidence import Folder, evidence_of
from tests.servers.overriding import Overridden, overriding
from tests.servers.stripe_mock import StripeMock
from tests.support import Run, make_context, sees

OK, FAILED, UNKNOWN = Status.OK, Status.FAILED, Status.UNKNOWN
KEY, SPARE = "rk_live_canary4f19d07b", "rk_live_canary77ab21"
URL = "https://shop.example.com/stripe"
LIVE: dict[str, dict[str, Any]] = {
    "/v1/account": {
        "charges_enabled": True,
        "payouts_enabled": True,
        "details_submitted": True,
        "requirements": {"past_due": [], "currently_due": [], "disabled_reason": None},
    },
    "/v1/balance": {"livemode": True},
}

evidence = evidence_of("payments")


@pytest.fixture
def stripe(stripe_mock: StripeMock) -> Iterator[Overridden]:
    with overriding(stripe_mock.url, {KEY: "rk_test_123", SPARE: "rk_test_456"}) as server:
        server.fields = {path: dict(fields) for path, fields in LIVE.items()}
        yield server


def run(evidence: Folder, item: str, server: Overridden, **settings: Any) -> Run:
    api = {"url": server.url, "bearer_token": KEY, **settings.pop("api", {})}
    context = make_context(**evidence.context)
    return Run(Payments, [item], settings={"api": api, **settings}, context=context, secrets=[KEY, SPARE])


seen = sees(run)


async def test_an_account(evidence: Folder, stripe: Overridden) -> None:
    assert (await seen(evidence, "gateway_configured", stripe)).status is OK
    stripe.fields = {}
    result = await seen(evidence, "gateway_configured", stripe)  # as the mock has it: test mode, nothing submitted
    assert (result.status, "test mode" in result.summary) == (FAILED, True), result.summary
    for field, value, summary in (
        ("requirements", {"past_due": ["external_account"]}, "past due: external_account"),
        ("charges_enabled", False, "may not make charges"),
        ("requirements", {"disabled_reason": "rejected.fraud"}, "rejected.fraud"),
    ):
        stripe.fields = {**LIVE, "/v1/account": {**LIVE["/v1/account"], field: value}}
        result = await seen(evidence, "gateway_configured", stripe)
        assert (result.status, summary in result.summary) == (FAILED, True), result.summary
    assert stripe.refused == []


async def test_keys(evidence: Folder, stripe: Overridden) -> None:
    keys = [{"name": "shop", "key": SPARE}]
    assert (await seen(evidence, "api_keys_valid", stripe, keys=keys)).status is OK
    del stripe.keys[SPARE]  # revoked: handed on as it is, and refused by the mock itself
    result = await seen(evidence, "api_keys_valid", stripe, keys=keys)
    assert (result.status, "key shop was rejected" in result.summary) == (FAILED, True), result.summary


async def test_webhooks(evidence: Folder, stripe: Overridden) -> None:
    settings = {"webhooks": [{"url": URL, "events": ["charge.succeeded"]}]}
    result = await seen(evidence, "webhooks_configured", stripe, **settings)
    assert (result.status, "no webhook endpoint" in result.summary) == (FAILED, True), result.summary
    async with Http(HttpSettings.model_validate({"url": stripe.url, "bearer_token": KEY})) as http:
        endpoints = (await http.get("/v1/webhook_endpoints")).json()["data"]
        refused = await http.get("/v1/events", params={"nonsense": "1"}, expect=None)
    assert refused.status == 400  # which the mock does not do with ours
    stripe.asked.clear()
    ours = {**endpoints[0], "url": URL, "livemode": True, "created": 0}
    stripe.fields["/v1/webhook_endpoints"] = {"data": [ours]}
    stripe.fields["/v1/events"] = {"data": []}
    assert (await seen(evidence, "webhooks_configured", stripe, **settings)).status is OK
    late = {"id": "evt_1", "type": "charge.succeeded", "created": int(time.time()) - 7200}
    stripe.fields["/v1/events"] = {"data": [late]}
    result = await seen(evidence, "webhooks_configured", stripe, **settings)
    assert (result.status, "not delivered" in result.summary) == (FAILED, True), result.summary
    stripe.fields["/v1/webhook_endpoints"] = {"data": [{**ours, "enabled_events": ["charge.failed"]}]}
    assert (await seen(evidence, "webhooks_configured", stripe, **settings)).status is FAILED
    assert stripe.refused == []
