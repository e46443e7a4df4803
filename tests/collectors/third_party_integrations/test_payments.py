"""Stripe: the account, keys, webhooks and what watches payments, on a server that answers as the official document says."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import ValidationError

from collectors.systems.prometheus.client import Prometheus, PrometheusSettings
from collectors.third_party_integrations.payments import Payments, PaymentsSettings
from exporter.runner import utc_now
from exporter.threads import Threads
from exporter.verdict import Status
from tests.collectors.evidence import NOW, Folder, evidence_of
from tests.collectors.pre_launch_validation.reports import attached, junit_of
from tests.servers.pages import Pages
from tests.servers.process import LOOPBACK, free_port
from tests.servers.prometheus import Prometheus as PrometheusServer
from tests.servers.prometheus import scrape
from tests.servers.stripe import KEY, PRODUCT_KEY, SIGNING_SECRET, TEST_KEY, StripeServer, Webhook, endpoint, error
from tests.support import Run, make_context, sees

OK, WARNING, FAILED, UNKNOWN = Status.OK, Status.WARNING, Status.FAILED, Status.UNKNOWN
URL = "https://shop.example.com/stripe"
EVENTS = ("payment_intent.succeeded", "charge.refunded")


evidence = evidence_of("payments")


def run(evidence: Folder, item: str, server: StripeServer | str, /, **settings: Any) -> Run:
    clients = settings.pop("clients", None)
    url = server if isinstance(server, str) else server.url
    api = {"url": url, "bearer_token": KEY, **settings.pop("api", {})}
    context = make_context(clients=clients, **evidence.context)
    secrets = [KEY, PRODUCT_KEY, TEST_KEY, SIGNING_SECRET]
    return Run(Payments, [item], settings={"api": api, **settings}, context=context, secrets=secrets)


seen = sees(run)


# The account


@pytest.mark.verifies("payments.gateway_configured", "ok")
async def test_an_account_that_may_charge(evidence: Folder, stripe_server: StripeServer) -> None:
    settings: dict[str, Any] = {"api": {"account": "acct_1Shop"}, "capabilities": ["card_payments"]}
    result = await seen(evidence, "gateway_configured", stripe_server, **settings)
    assert (result.status, result.summary) == (
        OK,
        "Account acct_1Shop may make charges and receive payouts, in live mode.",
    )
    basic = {"username": TEST_KEY, "password": "x"}  # as curl sends keys: it must not replace the one that is judged
    assert (await seen(evidence, "gateway_configured", stripe_server, api=basic)).status is OK


DUE = int((NOW + timedelta(days=10)).timestamp())
FAR = int((NOW + timedelta(days=90)).timestamp())


@pytest.mark.verifies("payments.gateway_configured", "failed")
@pytest.mark.verifies("payments.gateway_configured", "unknown")
@pytest.mark.parametrize(
    ("account", "requirements", "status", "summary"),
    [
        ({"charges_enabled": False}, {}, FAILED, "may not make charges"),
        ({"payouts_enabled": False}, {}, FAILED, "may not receive payouts"),
        ({"details_submitted": False}, {}, FAILED, "never submitted"),
        ({"id": "acct_1Other"}, {}, FAILED, "expected acct_1Shop"),
        ({"capabilities": {"card_payments": "pending"}}, {}, FAILED, "card_payments pending (expected active)"),
        ({"capabilities": {}}, {}, FAILED, "card_payments not at all"),
        ({"capabilities": None}, {}, UNKNOWN, "capabilities of account"),
        ({}, {"disabled_reason": "rejected.fraud"}, FAILED, "disabled by Stripe: rejected.fraud"),
        ({}, {"past_due": ["external_account"]}, FAILED, "past due: external_account"),
        ({}, {"currently_due": ["tos_acceptance.date"], "current_deadline": DUE}, WARNING, "by 2026-10-23"),
        ({}, {"currently_due": ["tos_acceptance.date"], "current_deadline": FAR}, OK, "in live mode"),
        ({}, {"currently_due": ["tos_acceptance.date"], "current_deadline": 1}, FAILED, "until 1970-01-01"),
        ({}, {"currently_due": ["tos_acceptance.date"], "current_deadline": 10**15}, UNKNOWN, "unexpected format"),
        ({}, {"currently_due": ["tos_acceptance.date"]}, WARNING, "requires of account"),
        ({}, {"errors": [{"requirement": "document", "code": "expired"}]}, WARNING, "did not accept what"),
        ({"future_requirements": {"currently_due": ["tax_id"], "current_deadline": DUE}}, {}, WARNING, "will require"),
        ({"future_requirements": {"currently_due": ["tax_id"], "current_deadline": FAR}}, {}, OK, "in live mode"),
        ({"future_requirements": None}, {}, OK, "in live mode"),
        ({"charges_enabled": None}, {}, UNKNOWN, "is not in Stripe's answer"),
        ({"requirements": None}, {}, UNKNOWN, "is not in Stripe's answer"),
    ],
)
async def test_an_account_that_may_not_or_not_for_long(
    evidence: Folder,
    stripe_server: StripeServer,
    account: dict[str, Any],
    requirements: dict[str, Any],
    status: Status,
    summary: str,
) -> None:
    stripe_server.account, stripe_server.requirements = account, requirements
    settings: dict[str, Any] = {"api": {"account": "acct_1Shop"}, "capabilities": ["card_payments"]}
    result = await seen(evidence, "gateway_configured", stripe_server, **settings)
    assert (result.status, summary in result.summary) == (status, True), result.summary


async def test_an_account_without_an_answer_or_in_test_mode(evidence: Folder, stripe_server: StripeServer) -> None:
    item, server = "gateway_configured", stripe_server
    result = await seen(evidence, item, server, api={"bearer_token": TEST_KEY})
    assert (result.status, "test mode" in result.summary) == (FAILED, True)
    server.denied = {(KEY, "/v1/balance")}
    assert (await seen(evidence, item, server)).status is UNKNOWN  # the mode is not known
    server.account = {"charges_enabled": False}
    assert (await seen(evidence, item, server)).status is FAILED  # and does not hide this
    server.denied = {(KEY, "/v1/account")}
    assert "may not read this" in (await seen(evidence, item, server)).summary
    assert (await seen(evidence, item, f"http://{LOOPBACK}:{free_port()}")).status is UNKNOWN
    result = await seen(evidence, item, server, api={"bearer_token": None})
    assert result.summary == "Option api.bearer_token is not set, so Stripe was not asked."


# Keys


@pytest.mark.verifies("payments.api_keys_valid", "ok")
async def test_keys_of_live_mode(evidence: Folder, stripe_server: StripeServer) -> None:
    result = await seen(evidence, "api_keys_valid", stripe_server)
    assert (result.status, result.summary) == (OK, "1 key of live mode is accepted, a wrong one is not.")
    keys = [{"name": "shop", "key": PRODUCT_KEY}]
    assert (await seen(evidence, "api_keys_valid", stripe_server, keys=keys)).status is OK
    stripe_server.denied = {(PRODUCT_KEY, "/v1/balance")}  # restricted, and known to Stripe
    assert (await seen(evidence, "api_keys_valid", stripe_server, keys=keys)).status is OK


@pytest.mark.verifies("payments.api_keys_valid", "failed")
@pytest.mark.verifies("payments.api_keys_valid", "unknown")
@pytest.mark.parametrize(
    ("key", "live", "answer", "verdict", "summary"),
    [
        ("sk_live_canary", True, None, WARNING, "may do everything"),
        ("xk_canary", True, None, WARNING, "no known prefix"),
        ("xk_canary", False, None, FAILED, "one of test mode"),
        ("sk_live_canary", False, None, FAILED, "one of test mode"),
        ("rk_test_canary", True, None, FAILED, "one of test mode"),
        ("pk_live_canary", True, None, FAILED, "publishable"),
        ("rk_live_unknown", None, None, FAILED, "key shop was rejected"),
        ("rk_live_canary", True, (401, error("api_key_expired")), FAILED, "has expired"),
        ("sk_live_canary", True, (403, error()), UNKNOWN, "may not read the balance"),
        ("rk_live_canary", True, (403, b"<html>Blocked</html>"), UNKNOWN, "no refusal of Stripe's"),
        ("rk_live_canary", True, (401, b""), UNKNOWN, "no refusal of Stripe's"),
        ("rk_live_canary", True, (429, error("rate_limit")), UNKNOWN, "too many requests"),
        ("rk_live_canary", True, (500, error(kind="api_error")), UNKNOWN, "answered 500"),
        ("rk_live_canary", True, (200, b"<html>Sign in</html>"), UNKNOWN, "HTML page"),
        ("rk_live_canary", True, (200, {"object": "balance"}), UNKNOWN, "unexpected format"),
    ],
)
async def test_keys_that_do_not_work(
    evidence: Folder,
    stripe_server: StripeServer,
    key: str,
    live: bool | None,
    answer: tuple[int, Any] | None,
    verdict: Status,
    summary: str,
) -> None:
    if live is not None:
        stripe_server.keys[key] = live
    if answer is not None:
        stripe_server.forced["/v1/balance"] = answer
    result = await seen(evidence, "api_keys_valid", stripe_server, keys=[{"name": "shop", "key": key}])
    assert (result.status, summary in result.summary, key in result.summary) == (verdict, True, False), result.summary


async def test_a_key_of_another_account(evidence: Folder, stripe_server: StripeServer) -> None:
    settings: dict[str, Any] = {"api": {"account": "acct_1Other"}, "keys": [{"name": "shop", "key": PRODUCT_KEY}]}
    result = await seen(evidence, "api_keys_valid", stripe_server, **settings)
    assert (result.status, result.summary) == (FAILED, "Key shop belongs to account acct_1Shop, expected acct_1Other.")
    stripe_server.denied = {(PRODUCT_KEY, "/v1/account")}
    assert (await seen(evidence, "api_keys_valid", stripe_server, **settings)).status is OK


async def test_an_answer_that_is_none_hides_no_rejected_key(evidence: Folder, stripe_server: StripeServer) -> None:
    stripe_server.keys["rk_live_odd"] = True
    stripe_server.answers[("rk_live_odd", "/v1/balance")] = (200, b"<html>Sign in</html>")
    keys = [{"name": "odd", "key": "rk_live_odd"}, {"name": "gone", "key": "rk_live_gone"}]
    result = await seen(evidence, "api_keys_valid", stripe_server, keys=keys)
    assert (result.status, "key gone was rejected" in result.summary) == (FAILED, True), result.summary
    assert (await seen(evidence, "api_keys_valid", stripe_server, keys=keys[:1])).status is UNKNOWN


async def test_a_key_with_a_line_break_is_not_shown(evidence: Folder, stripe_server: StripeServer) -> None:
    for key in (f"{PRODUCT_KEY}\n", f"{PRODUCT_KEY}\rx"):
        result = await seen(evidence, "api_keys_valid", stripe_server, keys=[{"name": "shop", "key": key}])
        assert (result.status, "characters that HTTP does not allow" in result.summary) == (UNKNOWN, True)
    result = await seen(evidence, "api_keys_valid", stripe_server, keys=[{"name": "shop", "key": "rk_live_schlüssel"}])
    assert (result.status, "key shop was rejected" in result.summary) == (FAILED, True)


async def test_what_answers_to_any_key_proves_nothing(evidence: Folder, stripe_server: StripeServer) -> None:
    stripe_server.any_key = True
    result = await seen(evidence, "api_keys_valid", stripe_server)
    assert (result.status, "accepts any key" in result.summary) == (UNKNOWN, True)
    result = await seen(evidence, "api_keys_valid", stripe_server, keys=[{"name": "shop", "key": TEST_KEY}])
    assert result.status is FAILED
    assert (await seen(evidence, "api_keys_valid", f"http://{LOOPBACK}:{free_port()}")).status is UNKNOWN


# Webhooks


def wanted(url: str = URL, **values: Any) -> dict[str, Any]:
    return {"webhooks": [{"url": url, "events": list(EVENTS), **values}]}


@pytest.mark.verifies("payments.webhooks_configured", "ok")
async def test_a_webhook_that_is_enabled(evidence: Folder, stripe_server: StripeServer) -> None:
    item, server = "webhooks_configured", stripe_server
    others = [endpoint(f"https://other.example.com/{number}", "payout.paid") for number in range(5)]
    server.endpoints, server.page = [*others, endpoint(URL, *EVENTS)], 2  # on the third page
    result = await seen(evidence, item, server, **wanted())
    assert (result.status, "allow_intrusive is not set" in result.summary) == (OK, True), result.summary
    server.endpoints = [endpoint(URL, EVENTS[0]), endpoint(URL, *EVENTS, status="disabled"), endpoint(URL, EVENTS[1])]
    assert (await seen(evidence, item, server, **wanted())).status is OK  # each has its own events
    server.endpoints.append(endpoint(URL, *EVENTS))
    assert "registered 3 times" in (await seen(evidence, item, server, **wanted())).summary
    server.endpoints = [endpoint(URL, *EVENTS, application="ca_1")]
    result = await seen(evidence, item, server, **wanted(connect=True))
    assert (result.status, f"connected accounts reach {URL} was not read" in result.summary) == (OK, True)
    for spelling in ("https://Shop.Example.com/stripe", "https://shop.example.com:443/stripe", f"{URL}?from=stripe"):
        server.endpoints = [endpoint(spelling, *EVENTS)]
        assert (await seen(evidence, item, server, **wanted())).status is OK, spelling


@pytest.mark.verifies("payments.webhooks_configured", "failed")
@pytest.mark.verifies("payments.webhooks_configured", "unknown")
@pytest.mark.parametrize(
    ("endpoints", "status", "summary"),
    [
        ([], FAILED, "no webhook endpoint https://shop.example.com/stripe"),
        ([endpoint(f"{URL}/", *EVENTS)], FAILED, "no webhook endpoint"),
        ([endpoint(URL, *EVENTS, status="disabled")], FAILED, "is disabled at Stripe"),
        ([endpoint(URL, *EVENTS, livemode=False)], FAILED, "test mode"),
        ([endpoint(URL, *EVENTS, application="ca_1")], FAILED, "events of the account itself"),
        ([endpoint(URL, EVENTS[0])], FAILED, "does not receive charge.refunded"),
        ([endpoint(URL, EVENTS[0]), endpoint(URL, EVENTS[1], status="disabled")], FAILED, "charge.refunded"),
        ([endpoint(URL, "*")], UNKNOWN, "selected by name"),
    ],
)
async def test_a_webhook_that_stripe_does_not_call(
    evidence: Folder, stripe_server: StripeServer, endpoints: list[dict[str, Any]], status: Status, summary: str
) -> None:
    stripe_server.endpoints = endpoints
    result = await seen(evidence, "webhooks_configured", stripe_server, **wanted())
    assert (result.status, summary in result.summary) == (status, True), result.summary


async def test_webhooks_that_cannot_be_read(evidence: Folder, stripe_server: StripeServer) -> None:
    item, server = "webhooks_configured", stripe_server
    server.endpoints = [endpoint(URL, *EVENTS)]
    assert (await seen(evidence, item, server)).summary == "Option webhooks is not set, so none was looked for."
    server.forced["/v1/webhook_endpoints"] = (200, {"data": server.endpoints, "has_more": True})
    assert "broke off" in (await seen(evidence, item, server, **wanted())).summary
    server.forced["/v1/webhook_endpoints"] = (200, {"data": [], "has_more": True})
    assert "broke off" in (await seen(evidence, item, server, **wanted())).summary
    del server.forced["/v1/webhook_endpoints"]
    for path in ("/v1/events", "/v1/webhook_endpoints"):
        server.denied = {(KEY, path)}
        result = await seen(evidence, item, server, **wanted())
        assert (result.status, "may not read this" in result.summary) == (UNKNOWN, True)
    server.denied = set()
    server.endpoints = [endpoint("http://shop.example.com/stripe", *EVENTS)]
    result = await seen(evidence, item, server, **wanted("http://shop.example.com/stripe"))
    assert (result.status, "not encrypted" in result.summary) == (FAILED, True)


async def test_events_that_do_not_arrive(evidence: Folder, stripe_server: StripeServer) -> None:
    item, server = "webhooks_configured", stripe_server
    server.endpoints = [endpoint(URL, *EVENTS)]
    server.undelivered = [
        (EVENTS[0], NOW - timedelta(minutes=5)),  # still on its way
        (EVENTS[1], NOW - timedelta(days=3)),  # long ago
        ("payout.paid", NOW - timedelta(hours=3)),  # of others
    ]
    assert (await seen(evidence, item, server, **wanted())).status is OK
    server.undelivered += [(EVENTS[0], NOW - timedelta(hours=hours)) for hours in (2, 3)]
    result = await seen(evidence, item, server, **wanted())
    assert (result.status, result.summary) == (
        FAILED,
        "2 events payment_intent.succeeded since 2026-10-13 09:00 UTC were not delivered.",
    )
    for no_other in ({"livemode": False}, {"status": "disabled"}, {"application": "ca_1"}):
        server.endpoints = [endpoint(URL, *EVENTS), endpoint("https://other.example.com", "*", **no_other)]
        assert (await seen(evidence, item, server, **wanted())).status is FAILED, no_other
    server.endpoints = [endpoint(URL, *EVENTS, created=int((NOW - timedelta(hours=1)).timestamp()))]
    assert (await seen(evidence, item, server, **wanted())).status is OK  # the events are older than the endpoint
    server.endpoints = [endpoint(URL, *EVENTS), endpoint("https://other.example.com", "*")]
    result = await seen(evidence, item, server, **wanted())
    assert (result.status, "to all endpoints" in result.summary) == (WARNING, True)


async def test_only_what_stripe_signed_is_accepted(
    evidence: Folder, stripe_server: StripeServer, webhook: Webhook
) -> None:
    item, server = "webhooks_configured", stripe_server
    server.endpoints = [endpoint(webhook.url, *EVENTS)]
    trusted: dict[str, Any] = {"tls": {"ca_file": webhook.ca_file}}
    signing = trusted | {"signing_secret": SIGNING_SECRET}
    evidence.clock.at = utc_now()
    assert (await seen(evidence, item, server, **wanted(webhook.url, **signing))).status is OK
    assert webhook.asked == []  # nothing is sent without allow_intrusive
    allowed = {"allow_intrusive": True}
    result = await seen(evidence, item, server, **wanted(webhook.url, **signing), **allowed)
    assert (result.status, "refuses events that Stripe did not sign" in result.summary) == (OK, True), result.summary
    result = await seen(evidence, item, server, **wanted(webhook.url, **trusted), **allowed)
    assert (result.status, "signing_secret is not set" in result.summary) == (WARNING, True)
    untrusted = wanted(webhook.url)
    assert "certificate was not accepted" in (await seen(evidence, item, server, **untrusted, **allowed)).summary
    for always, status, summary in (
        (200, FAILED, "answered 200 to an unsigned event, expected a refusal"),
        (403, FAILED, "answered 403 to a signed event"),
        (404, FAILED, "no webhook is served there"),
        (302, FAILED, "no webhook is served there"),
        (429, UNKNOWN, "too many requests"),
        (502, UNKNOWN, "was not observed"),
    ):
        webhook.always = always
        result = await seen(evidence, item, server, **wanted(webhook.url, **signing), **allowed)
        assert (result.status, summary in result.summary) == (status, True), result.summary
    webhook.always, webhook.max_age = None, 1e9
    result = await seen(evidence, item, server, **wanted(webhook.url, **signing), **allowed)
    assert (result.status, "signed an hour ago" in result.summary) == (FAILED, True)
    webhook.max_age, webhook.secrets = 300.0, (SIGNING_SECRET, "")
    result = await seen(evidence, item, server, **wanted(webhook.url, **signing), **allowed)
    assert (result.status, "signed with an empty secret" in result.summary) == (FAILED, True)
    webhook.secrets, webhook.unexpected = (SIGNING_SECRET,), b"Unexpected event type"
    result = await seen(evidence, item, server, **wanted(webhook.url, **signing), **allowed)
    assert (result.status, "types of events that it does not expect" in result.summary) == (UNKNOWN, True)
    webhook.unexpected, webhook.rewrites = b"", True
    result = await seen(evidence, item, server, **wanted(webhook.url, **signing), **allowed)
    assert (result.status, "answered 400 to a signed event" in result.summary) == (FAILED, True)


async def test_events_are_of_the_version_that_stripe_sends(
    evidence: Folder, stripe_server: StripeServer, webhook: Webhook
) -> None:
    """Stripe's libraries for Go and .NET refuse an event of another version of the API as they refuse a wrong signature."""
    settings = {"tls": {"ca_file": webhook.ca_file}, "signing_secret": SIGNING_SECRET}
    asked = partial(seen, evidence, "webhooks_configured", stripe_server, allow_intrusive=True)
    evidence.clock.at = utc_now()
    stripe_server.version, webhook.version = "2023-10-16", "2024-09-30.acacia"
    stripe_server.endpoints = [endpoint(webhook.url, *EVENTS, api_version=webhook.version)]
    result = await asked(**wanted(webhook.url, **settings))
    assert (result.status, "refuses events" in result.summary) == (OK, True), result.summary
    others = [
        endpoint(webhook.url, *EVENTS, api_version="2019-02-19", created=1500000000),  # of the library before
        endpoint(webhook.url, *EVENTS, api_version="2018-02-28", status="disabled"),
        endpoint(webhook.url, *EVENTS, api_version="2018-02-28", application="ca_1"),
    ]
    stripe_server.endpoints = [*others, *stripe_server.endpoints]
    result = await asked(**wanted(webhook.url, **settings))
    assert (result.status, "is registered 2 times" in result.summary) == (WARNING, True), result.summary
    stripe_server.endpoints = [endpoint(webhook.url, *EVENTS)]  # it receives those of the account's version
    result = await asked(**wanted(webhook.url, **settings))
    assert (result.status, "answered 400 to a signed event" in result.summary) == (FAILED, True), result.summary
    webhook.version = stripe_server.version
    assert (await asked(**wanted(webhook.url, **settings))).status is OK
    stripe_server.version = ""
    result = await asked(**wanted(webhook.url, **settings))
    assert (result.status, "version of Stripe's API" in result.summary) == (UNKNOWN, True), result.summary
    stripe_server.denied = {(KEY, "/v1/webhook_endpoints")}
    assert (await asked(**wanted(webhook.url, **settings))).status is UNKNOWN
    webhook.version, webhook.always = "", 200  # that endpoints may not be read hides nothing
    result = await asked(**wanted(webhook.url, **settings))
    assert (result.status, "answered 200 to an unsigned event" in result.summary) == (FAILED, True), result.summary


@pytest.mark.parametrize("secret", [SIGNING_SECRET, None])
async def test_what_lets_stripe_alone_in_shows_no_signature(
    evidence: Folder, stripe_server: StripeServer, webhook: Webhook, secret: str | None
) -> None:
    """Firewalls allow the addresses of Stripe's webhooks: the exporter is refused at every path."""
    stripe_server.endpoints = [endpoint(webhook.url, *EVENTS)]
    settings = {"tls": {"ca_file": webhook.ca_file}, "signing_secret": secret}
    evidence.clock.at = utc_now()
    webhook.everywhere = 403
    asked = wanted(webhook.url, **settings)
    result = await seen(evidence, "webhooks_configured", stripe_server, **asked, allow_intrusive=True)
    assert (result.status, "something before the webhook" in result.summary) == (UNKNOWN, True), result.summary


# Tests of flows


junit = partial(junit_of, "flows")
CASES = ("order is paid", "card is declined", "order is refunded", "webhook marks order")


@pytest.mark.verifies("payments.payment_flows_tested", "ok")
@pytest.mark.verifies("payments.payment_flows_tested", "failed")
@pytest.mark.verifies("payments.payment_flows_tested", "unknown")
@pytest.mark.parametrize(
    ("report", "status"),
    [
        (junit(*CASES), OK),
        (junit(*CASES, failed="card is declined"), FAILED),
        (junit(*CASES, at="2026-08-12T10:00:00Z"), FAILED),
        (junit(*CASES[1:]), UNKNOWN),
        (junit("payload is valid", *CASES[1:]), UNKNOWN),
        (junit(*CASES[1:]).replace(b'classname="flows"', b'classname="payments"'), UNKNOWN),
        (junit(), UNKNOWN),
        (junit(*CASES)[:-40], UNKNOWN),
    ],
)
async def test_every_flow_has_a_test(
    evidence: Folder, stripe_server: StripeServer, report: bytes, status: Status
) -> None:
    attached(evidence, "payment_flows_tested", report, release="1.4.2")
    result = await seen(evidence, "payment_flows_tested", stripe_server)
    assert result.status is status, result.summary
    attached(evidence, "payment_flows_tested", report, release="1.4.1")
    assert (await seen(evidence, "payment_flows_tested", stripe_server)).status is FAILED


# What watches payments

PAYMENTS = {
    "attempts": ['payments_total{job="shop"}'],
    "succeeded": ['payments_total{job="shop",outcome="paid"}'],
    "window": "1h",
}
SHARE = 'sum(rate(payments_total{outcome!="paid"}[1m])) / sum(rate(payments_total[1m])) > 0.1'


def alerting(**alerts: str) -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = [{"alert": name, "expr": expr} for name, expr in alerts.items()]
    recorded = {"record": "payments:failed", "expr": 'sum(rate(payments_total{outcome!="paid"}[1m]))'}
    slow = {"alert": "Slow", "expr": SHARE, "for": "2h"}
    return [{"name": "payments", "rules": [recorded, slow, *rules]}]


@pytest.mark.verifies("payments.transaction_monitoring_active", "ok")
@pytest.mark.verifies("payments.transaction_monitoring_active", "failed")
@pytest.mark.verifies("payments.transaction_monitoring_active", "unknown")
async def test_alerts_on_payments_that_fail(
    evidence: Folder, stripe_server: StripeServer, pages: Pages, tmp_path: Path
) -> None:
    item, port = "transaction_monitoring_active", urlsplit(pages.url).port
    assert port
    text = 'payments_total{outcome="paid"} 9\npayments_total{outcome="declined"} 1\nother_total 1\n'
    pages.add("/metrics", text, Content_Type="text/plain; version=0.0.4")
    rules = alerting(
        Share=SHARE,
        Firing='payments_total{outcome="declined"} > 0',
        Recorded="payments:failed > 1",
        Other="rate(other_total[1m]) > 1",
        Misspelt="rate(payments_totl[1m]) / rate(payments_total[1m]) > 1",
        Vanished="absent(payments_total)",
        Staging='rate(payments_total{job="staging"}[1m]) > 1',
        Percent=SHARE.replace("0.1", "bool 0.1"),
        Constant=f"{SHARE} and vector(0) > 1",
        Taken=f"{SHARE} unless vector(1)",
        Single='rate(payments_total{outcome!="paid"}[100ms]) > 0',
        Coming='rate(payments_total{outcome="refused"}[1m]) > 0',
    )
    (tmp_path / "prometheus").mkdir()
    with PrometheusServer(tmp_path / "prometheus", scrapes=[scrape("shop", port)], rules=rules) as server:
        server.wait_for('payments_total{outcome="declined"}')
        server.wait_for("payments:failed")
        client = Prometheus(
            PrometheusSettings(url=server.url, timeout=timedelta(seconds=20), max_age=timedelta(0)), Threads()
        )
        clients = {"clients": {"prometheus": client}, "payments": PAYMENTS}
        try:
            for alert, status, summary in (
                ("Share", OK, "watches payments that fail"),
                ("Firing", OK, "watches payments that fail"),
                ("Recorded", OK, "watches payments that fail"),
                ("Other", FAILED, "compares none of payments_total"),
                ("Staging", FAILED, "compares none of"),
                ("Vanished", FAILED, "compares none of payments_total"),
                ("Misspelt", FAILED, "there are no series of payments_totl"),
                ("Percent", FAILED, "fires whatever is measured"),
                ("Constant", FAILED, "can never fire"),
                ("Taken", FAILED, "can never fire"),
                ("Single", FAILED, "it takes two samples"),
                ("Coming", OK, "watches payments that fail"),  # an outcome that has not been yet
                ("Slow", FAILED, "waits 2h"),
                ("Nobody", FAILED, "no alerting rule Nobody"),
            ):
                result = await seen(evidence, item, stripe_server, failure_alerts=[alert], **clients)
                assert (result.status, summary in result.summary) == (status, True), (alert, result.summary)
            unseen = clients | {"payments": PAYMENTS | {"attempts": ["payments_total", "refunds_total"]}}
            result = await seen(evidence, item, stripe_server, failure_alerts=["Share"], **unseen)
            assert (result.status, "no series of refunds_total" in result.summary) == (UNKNOWN, True)
            assert (await seen(evidence, item, stripe_server, **clients)).status is UNKNOWN
            assert (await seen(evidence, item, stripe_server, failure_alerts=["Share"])).status is UNKNOWN

            # The same counters against the record of the tests.
            attached(evidence, "payment_flows_tested", junit(*CASES), release="1.4.2")
            flows = "payment_flows_tested"
            result = await seen(evidence, flows, stripe_server, **clients)
            assert (result.status, "No live payment speaks against it" in result.summary) == (OK, True), result.summary
            text = text.replace(" 1\n", " 500\n", 1)
            pages.add("/metrics", text, Content_Type="text/plain; version=0.0.4")
            server.wait_for('payments_total{outcome="declined"} > 400')
            server.wait_for('increase(payments_total{outcome="declined"}[1h]) > 100')
            result = await seen(evidence, flows, stripe_server, **clients)
            assert (result.status, "within 1h succeeded" in result.summary) == (FAILED, True), result.summary
        finally:
            await client.close()


@pytest.mark.parametrize(
    "settings",
    [
        {"flow_cases": ["("]},
        {"flow_cases": []},
        {"api": {"account": "../x"}},
        {"keys": [{"name": "", "key": "a"}]},
        {"keys": [{"name": "a", "key": ""}]},
        {"webhooks": [{"url": URL, "events": []}]},
        {"webhooks": [{"url": URL, "events": ["*"]}]},
        {"webhooks": [{"url": "shop.example.com", "events": ["a"]}]},
        {"webhooks": [{"url": "https://user:password@shop.example.com/", "events": ["a"]}]},
        {"delivered_within": timedelta(0)},
        {"payments": {"attempts": ["a"], "succeeded": ["a"]}},
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PaymentsSettings.model_validate(settings, strict=False)
