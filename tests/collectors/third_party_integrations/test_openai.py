"""OpenAI and APIs like it: keys, models, limits and costs, on a server that answers as the official document says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from pydantic import ValidationError

from collectors.systems.prometheus.client import Prometheus, PrometheusSettings
from collectors.third_party_integrations.openai import Openai, OpenaiSettings
from exporter.threads import Threads
from exporter.verdict import Status
from tests.collectors.evidence import Folder, evidence_of
from tests.collectors.pre_launch_validation.reports import attached, junit_of
from tests.servers.openai import ADMIN_KEY, KEY, OpenAIServer, cost, error
from tests.servers.pages import Pages
from tests.servers.process import LOOPBACK, free_port
from tests.servers.prometheus import Prometheus as PrometheusServer
from tests.support import Run, make_context, sees

OK, WARNING, FAILED, UNKNOWN = Status.OK, Status.WARNING, Status.FAILED, Status.UNKNOWN


evidence = evidence_of("openai")


@pytest.fixture
def server(openai_server: OpenAIServer) -> OpenAIServer:
    """One model, 13 days of costs, and what watches them: every line passes."""
    openai_server.models = {"gpt-5": None}
    openai_server.rate_limits = {"gpt-5": (500, 30_000)}
    openai_server.month = datetime(2026, 10, 1, tzinfo=UTC)
    openai_server.days = [[cost(10.0)] for _ in range(13)]
    openai_server.alerts = [(15_000, ["finance@example.com"])]
    return openai_server


def run(evidence: Folder, item: str, server: OpenAIServer | str, /, **settings: Any) -> Run:
    clients = settings.pop("clients", None)
    url = server if isinstance(server, str) else server.url
    api = {"url": url, "bearer_token": KEY, "models": [{"name": "gpt-5"}], **settings.pop("api", {})}
    admin = {"url": url, "bearer_token": ADMIN_KEY, "project": "proj_shop", "budget": {"monthly": 200.0}}
    if organization := settings.pop("organization", {}):
        settings["organization"] = admin | organization
    context = make_context(clients=clients, **evidence.context)
    secrets = [KEY, ADMIN_KEY, "finance@"]
    return Run(Openai, [item], settings={"api": api, **settings}, context=context, secrets=secrets)


seen = sees(run)


ADMIN: dict[str, Any] = {"organization": {"project": "proj_shop"}}

# The key


@pytest.mark.verifies("openai.api_key_configured", "ok")
async def test_a_key_that_is_accepted_where_a_wrong_one_is_not(evidence: Folder, server: OpenAIServer) -> None:
    result = await seen(evidence, "api_key_configured", server)
    assert (result.status, "No completion was requested" in result.summary) == (OK, True)
    server.lists_only = True  # as servers do that only list their models
    assert (await seen(evidence, "api_key_configured", server)).status is OK
    result = await seen(evidence, "api_key_configured", server, api={"completion": True})
    assert (result.status, "No completion" in result.summary) == (OK, False)


@pytest.mark.verifies("openai.api_key_configured", "failed")
@pytest.mark.verifies("openai.api_key_configured", "unknown")
@pytest.mark.parametrize(
    ("path", "status", "document", "verdict", "summary"),
    [
        ("/models/gpt-5", 401, error("invalid_api_key", f"Incorrect API key provided: {KEY}"), FAILED, "rejected"),
        ("/models/gpt-5", 401, error(None, "Unauthorized"), FAILED, "the key was rejected"),
        ("/models/gpt-5", 401, {"error": {"code": "401", "details": "No."}}, FAILED, "the key was rejected"),
        ("/models/gpt-5", 401, {"error": {"message": {"detail": []}, "details": [7]}}, FAILED, "the key was rejected"),
        ("/models/gpt-5", 401, error("account_deactivated"), FAILED, "deactivated"),
        ("/models/gpt-5", 429, error("insufficient_quota"), FAILED, "quota is used up"),
        ("/models/gpt-5", 402, error(None, "Insufficient Balance"), FAILED, "quota is used up"),
        ("/models/gpt-5", 403, error("model_not_found"), FAILED, "may not use it"),
        ("/models/gpt-5", 401, error(None, "Missing scopes: api.model.read"), UNKNOWN, "may not read models"),
        ("/models/gpt-5", 401, error("ip_not_authorized"), UNKNOWN, "this address or country"),
        ("/models/gpt-5", 401, b"<html>Sign in</html>", UNKNOWN, "no error of this API"),
        ("/models/gpt-5", 403, b"", UNKNOWN, "no error of this API"),
        ("/models/gpt-5", 429, error("rate_limit_exceeded"), UNKNOWN, "too many requests"),
        ("/models/gpt-5", 503, error(None, "overloaded"), UNKNOWN, "answered 503, so gpt-5 was not checked"),
        ("/models/gpt-5", 200, b"<html>Sign in</html>", UNKNOWN, "HTML page"),
        ("/models/gpt-5", 200, {"id": "another"}, UNKNOWN, "described another model"),
        ("/models", 404, error(None, "Invalid URL"), UNKNOWN, "/models answered 404"),
    ],
)
async def test_refusals_are_told_apart(
    evidence: Folder, server: OpenAIServer, path: str, status: int, document: Any, verdict: Status, summary: str
) -> None:
    server.lists_only = True
    server.forced[path] = (status, document)
    result = await seen(evidence, "api_key_configured", server)
    assert (result.status, summary in result.summary) == (verdict, True), result.summary


async def test_an_answer_that_is_none_hides_no_missing_model(evidence: Folder, server: OpenAIServer) -> None:
    server.models["odd"] = None
    server.forced["/models/odd"] = (200, b"<html>Sign in</html>")
    api = {"models": [{"name": "odd"}, {"name": "gpt-9"}]}
    result = await seen(evidence, "api_key_configured", server, api=api)
    assert (result.status, "gpt-9 does not exist" in result.summary) == (FAILED, True), result.summary


async def test_what_answers_to_any_key_proves_nothing(evidence: Folder, server: OpenAIServer) -> None:
    server.any_key = True
    result = await seen(evidence, "api_key_configured", server)
    assert (result.status, "accepts any key" in result.summary) == (UNKNOWN, True)
    result = await seen(evidence, "api_key_configured", server, api={"models": [{"name": "gpt-9"}]})
    assert result.status is FAILED


@pytest.mark.parametrize("header", ["", "api-key"])
async def test_what_wants_a_key_and_accepts_any_proves_nothing(
    evidence: Folder, server: OpenAIServer, header: str
) -> None:
    server.any_key, server.key_header, server.demanded = True, header, "X-Tenant"
    key = (
        {"bearer_token": None, "headers": {"api-key": KEY, "X-Tenant": "shop"}}
        if header
        else {"headers": {"X-Tenant": "shop"}}
    )
    result = await seen(evidence, "api_key_configured", server, api=key)
    assert (result.status, "accepts any key" in result.summary) == (UNKNOWN, True), result.summary
    server.any_key = False
    assert (await seen(evidence, "api_key_configured", server, api=key)).status is OK


async def test_nothing_is_known_without_an_answer_or_a_key(evidence: Folder, server: OpenAIServer) -> None:
    assert (await seen(evidence, "api_key_configured", f"http://{LOOPBACK}:{free_port()}")).status is UNKNOWN
    result = await seen(evidence, "api_key_configured", server, api={"bearer_token": None})
    assert result.summary == "Option api.bearer_token is not set, so no key was checked."


@pytest.mark.parametrize(
    ("shutdown", "status"),
    [
        ("2026-10-12T00:00:00Z", FAILED),
        ("2026-10-12", FAILED),
        ("2026-10-13", WARNING),
        ("2026-12-12", WARNING),
        ("2026-12-13", OK),
    ],
)
async def test_models_shut_down(evidence: Folder, server: OpenAIServer, shutdown: str, status: Status) -> None:
    server.models["gpt-5"] = shutdown
    result = await seen(evidence, "api_key_configured", server)
    assert (result.status, shutdown[:10] in result.summary) == (status, status is not OK)


async def test_a_shutdown_that_is_no_date_is_unknown(evidence: Folder, server: OpenAIServer) -> None:
    server.models["gpt-5"] = "soon"
    result = await seen(evidence, "api_key_configured", server)
    assert (result.status, "a shutdown date that is none" in result.summary) == (UNKNOWN, True)


@pytest.mark.parametrize("name", ["meta-llama/Llama-3", "ft:gpt-4o:shop::abc"])
async def test_names_of_models_are_sent_as_they_are(evidence: Folder, server: OpenAIServer, name: str) -> None:
    server.models = {name: None}
    assert (await seen(evidence, "api_key_configured", server, api={"models": [{"name": name}]})).status is OK


@pytest.mark.parametrize(
    ("status", "document", "verdict"),
    [
        (401, error(None, "Missing scopes: model.request"), FAILED),
        (429, error("insufficient_quota", kind="insufficient_quota"), WARNING),
        (429, error("rate_limit_exceeded", kind="tokens"), WARNING),
        (500, error(None), UNKNOWN),
        (200, {"error": {"message": "no provider"}}, UNKNOWN),
        (200, {"choices": []}, UNKNOWN),
        (200, {"choices": [{}]}, UNKNOWN),
        (200, {"error": {"code": 502, "message": "Provider returned error"}, "choices": []}, UNKNOWN),
        (200, {"choices": [{"error": {"code": 502}, "message": {"content": ""}}]}, UNKNOWN),
    ],
)
async def test_a_completion_shows_what_reading_does_not(
    evidence: Folder, server: OpenAIServer, status: int, document: Any, verdict: Status
) -> None:
    server.forced["/chat/completions"] = (status, document)
    assert (await seen(evidence, "api_key_configured", server)).status is OK
    assert (await seen(evidence, "api_key_configured", server, api={"completion": True})).status is verdict


GOOGLE = [
    {
        "error": {
            "code": 400,
            "message": "API key not valid. Please pass a valid API key.",
            "status": "INVALID_ARGUMENT",
            "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}],
        }
    }
]
XAI = {"code": "Client specified an invalid argument", "error": "Incorrect API key provided: sk***ey."}


@pytest.mark.parametrize("refusal", [GOOGLE, XAI])
async def test_some_refuse_a_wrong_key_as_a_bad_request(evidence: Folder, server: OpenAIServer, refusal: Any) -> None:
    server.wrong_key = (400, refusal)
    assert (await seen(evidence, "api_key_configured", server)).status is OK
    result = await seen(evidence, "api_key_configured", server, api={"bearer_token": "another-key"})
    assert (result.status, "the key was rejected" in result.summary) == (FAILED, True), result.summary
    others: list[Any] = [error(None, "Bad request"), [], {"error": {"message": {"detail": []}}}]
    for other in others:
        server.wrong_key = (400, other)
        result = await seen(evidence, "api_key_configured", server)
        assert (result.status, "answered 400 to a wrong key" in result.summary) == (UNKNOWN, True), result.summary


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"active": False}, FAILED, "is not active"),
        ({"active": True}, OK, ""),
        ({"expiration_date": "2026-10-12"}, FAILED, "was shut down on 2026-10-12"),
        ({"expiration_date": "2026-11-01"}, WARNING, "will shut down in 19 days"),
        ({"deprecation": "2026-10-12T12:00:00Z"}, WARNING, "has been deprecated since 2026-10-12"),
        ({"deprecation": "2026-11-30T12:00:00Z"}, WARNING, "will be deprecated on 2026-11-30"),
        ({"deprecation": None, "expiration_date": None}, OK, ""),
        ({"deprecation": {"planned": True}, "expiration_date": False, "active": "yes"}, OK, ""),
        ({"id": "models/gpt-5"}, OK, ""),
    ],
)
async def test_other_providers_say_otherwise_that_a_model_ends(
    evidence: Folder, server: OpenAIServer, fields: dict[str, Any], status: Status, words: str
) -> None:
    server.fields = fields
    for server.lists_only in (False, True):
        result = await seen(evidence, "api_key_configured", server)
        assert (result.status, words in result.summary) == (status, True), result.summary


async def test_a_completion_of_what_knows_older_fields_alone(evidence: Folder, server: OpenAIServer) -> None:
    for server.unknown_fields in (400, 422):
        assert (await seen(evidence, "api_key_configured", server, api={"completion": True})).status is OK
    server.forced["/chat/completions"] = (400, error("model_decommissioned"))
    result = await seen(evidence, "api_key_configured", server, api={"completion": True})
    assert (result.status, "gpt-5 does not exist" in result.summary) == (FAILED, True), result.summary


# Limits


def wanted(requests: int, tokens: int = 1, **api: Any) -> dict[str, Any]:
    model = {"name": "gpt-5", "min_requests_per_minute": requests, "min_tokens_per_minute": tokens}
    return {"api": {"models": [model], **api}}


@pytest.mark.verifies("openai.quota_limits_verified", "ok")
@pytest.mark.verifies("openai.quota_limits_verified", "failed")
@pytest.mark.verifies("openai.quota_limits_verified", "unknown")
async def test_limits_of_the_project(evidence: Folder, server: OpenAIServer) -> None:
    item = "quota_limits_verified"
    server.rate_limits, server.page = {"ada": (1, 1), **server.rate_limits}, 1  # on the second page
    assert (await seen(evidence, item, server, **wanted(500, 30_000), **ADMIN)).status is OK
    result = await seen(evidence, item, server, **wanted(501, 30_001), **ADMIN)
    assert "limited to 500 requests a minute (at least 501 wanted)" in result.summary
    assert "limited to 30000 tokens" in result.summary
    server.spend_limit = (15_000, "enforcing")
    assert (await seen(evidence, item, server, **wanted(1), **ADMIN)).status is FAILED
    server.spend_limit = (15_000, None)
    assert (await seen(evidence, item, server, **wanted(1), **ADMIN)).status is OK
    del server.rate_limits["gpt-5"]
    assert (await seen(evidence, item, server, **wanted(1), **ADMIN)).status is UNKNOWN
    assert (await seen(evidence, item, server, **wanted(1))).status is UNKNOWN
    assert (await seen(evidence, item, server, **ADMIN)).status is UNKNOWN
    denied = {"organization": {"bearer_token": "sk-other"}}
    assert "may not read this" in (await seen(evidence, item, server, **wanted(1), **denied)).summary


async def test_limits_that_a_completion_names(evidence: Folder, server: OpenAIServer) -> None:
    item, settings = "quota_limits_verified", wanted(100, 1000, completion=True)
    assert (await seen(evidence, item, server, **settings)).status is UNKNOWN  # no header
    for name, value in (("requests", "100"), ("tokens", "1000")):
        server.headers |= {f"x-ratelimit-limit-{name}": value, f"x-ratelimit-remaining-{name}": value}
    assert (await seen(evidence, item, server, **settings)).status is OK
    server.headers["x-ratelimit-remaining-tokens"] = "99"
    assert (await seen(evidence, item, server, **settings)).status is WARNING
    server.forced["/chat/completions"] = (429, error("rate_limit_exceeded"))
    assert (await seen(evidence, item, server, **settings)).status is WARNING
    server.forced["/chat/completions"] = (429, error("insufficient_quota"))
    result = await seen(evidence, item, server, **settings)
    assert (result.status, "quota is used up" in result.summary) == (FAILED, True)


async def test_the_lower_of_two_limits_counts(evidence: Folder, server: OpenAIServer) -> None:
    item, both = "quota_limits_verified", {**wanted(400, 1000, completion=True), **ADMIN}
    server.headers = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-limit-tokens": "30000",
    }  # the project is promised 500
    result = await seen(evidence, item, server, **both)
    assert (result.status, "limited to 60 requests a minute" in result.summary) == (FAILED, True), result.summary
    server.headers["x-ratelimit-limit-requests"] = "10000"
    assert (await seen(evidence, item, server, **both)).status is OK
    assert (await seen(evidence, item, server, **{**wanted(501, 1000, completion=True), **ADMIN})).status is FAILED


@pytest.mark.parametrize(
    ("limit", "left", "reset", "status", "summary"),
    [
        ("14400", "14399", "6s", UNKNOWN, "only one of 14400 a day"),  # as Groq documents its header
        ("14400", "14370", "2m59.56s", UNKNOWN, "only one of 14400 a day"),
        ("200", "199", "7m12s", FAILED, "limited to 200 requests a day, which last 1 minute at 120 a minute"),
        ("1000", "0", "23h59m59.5s", FAILED, "requests a day"),
        ("10000", "9999", "6ms", OK, ""),
        ("60000", "59000", "1s", OK, ""),
        ("500", "0", "1m0s", WARNING, "0 remain"),
        ("500", "499", "nonsense", OK, ""),
        ("500", "499", "30", OK, ""),  # a number of what is not said
    ],
)
async def test_a_limit_of_a_day_is_none_of_a_minute(
    evidence: Folder, server: OpenAIServer, limit: str, left: str, reset: str, status: Status, summary: str
) -> None:
    names = ("limit-requests", "remaining-requests", "reset-requests")
    server.headers = {f"x-ratelimit-{name}": value for name, value in zip(names, (limit, left, reset), strict=True)}
    model = {"name": "gpt-5", "min_requests_per_minute": 120}
    result = await seen(evidence, "quota_limits_verified", server, api={"models": [model], "completion": True})
    assert (result.status, summary in result.summary) == (status, True), result.summary


async def test_what_is_allowed_in_a_day_has_to_last(evidence: Folder, server: OpenAIServer) -> None:
    item = "quota_limits_verified"
    for daily, status in ((500 * 1440, OK), (500 * 1440 - 1, WARNING), (500 * 60, WARNING), (500 * 60 - 1, FAILED)):
        server.daily = {"gpt-5": daily}
        result = await seen(evidence, item, server, **wanted(500), **ADMIN)
        assert (result.status, "a day" in result.summary) == (status, status is not OK), result.summary


async def test_errors_in_words_of_their_own_hide_no_missing_model(evidence: Folder, server: OpenAIServer) -> None:
    api = {"models": [{"name": "gpt-9"}], "completion": True}
    server.forced["/chat/completions"] = (404, {"object": "error", "message": "The model does not exist.", "code": 404})
    result = await seen(evidence, "api_key_configured", server, api=api)
    assert (result.status, "gpt-9 does not exist" in result.summary) == (FAILED, True), result.summary
    server.forced["/chat/completions"] = (404, error("DeploymentNotFound"))
    assert (await seen(evidence, "api_key_configured", server, api={"completion": True})).status is FAILED


async def test_an_embedding_or_a_response_may_be_an_error(evidence: Folder, server: OpenAIServer) -> None:
    for endpoint, document, status in (
        ("embeddings", {"data": [{"embedding": [0.5], "index": 0}]}, OK),
        ("embeddings", {"data": []}, UNKNOWN),
        ("embeddings", {"data": [{"embedding": []}]}, UNKNOWN),
        ("responses", {"status": "incomplete", "error": None, "output": [{"type": "reasoning"}]}, OK),
        ("responses", {"status": "failed", "error": {"code": "server_error"}, "output": []}, UNKNOWN),
        ("responses", {"status": "completed", "error": None, "output": []}, UNKNOWN),
    ):
        server.forced[f"/{endpoint}"] = (200, document)
        api = {"models": [{"name": "gpt-5", "endpoint": endpoint}], "completion": True}
        result = await seen(evidence, "api_key_configured", server, api=api)
        assert result.status is status, (endpoint, document, result.summary)


# The product's own limit


@pytest.mark.verifies("openai.rate_limiting_configured", "ok")
@pytest.mark.verifies("openai.rate_limiting_configured", "failed")
@pytest.mark.verifies("openai.rate_limiting_configured", "unknown")
async def test_a_recorded_limiter_is_held_against_the_account(evidence: Folder, server: OpenAIServer) -> None:
    item = "rate_limiting_configured"
    assert (await seen(evidence, item, server, **ADMIN)).status is FAILED  # no record
    evidence.record(item, measured={"requests_per_minute": 500})
    assert (await seen(evidence, item, server, **ADMIN)).status is OK
    assert (await seen(evidence, item, server)).status is UNKNOWN
    evidence.record(item, measured={"requests_per_minute": 501})
    result = await seen(evidence, item, server, **ADMIN)
    assert (result.status, "the account allows 500" in result.summary) == (FAILED, True)
    evidence.record(item, measured={"requests_per_minute": 0})
    assert (await seen(evidence, item, server, **ADMIN)).status is FAILED
    evidence.record(item, measured={"requests_per_minute": 100})
    server.rate_limits = {"another": (1000, 1000)}
    assert (await seen(evidence, item, server, **ADMIN)).status is UNKNOWN


async def test_a_limiter_that_prometheus_knows(
    evidence: Folder, server: OpenAIServer, prometheus: PrometheusServer
) -> None:
    client = Prometheus(PrometheusSettings(url=prometheus.url), Threads())
    try:
        for query, status in {
            "vector(500)": OK,
            "vector(501)": FAILED,
            "vector(1) / 0": FAILED,
            "limiter_of_nobody": UNKNOWN,
        }.items():
            settings = ADMIN | {"limiter_query": query, "clients": {"prometheus": client}}
            assert (await seen(evidence, "rate_limiting_configured", server, **settings)).status is status
    finally:
        await client.close()


# Tests of errors


junit = partial(junit_of, "openai")
CASES = ("refused_401", "waits_on_429", "retries_500", "gives_up_after_timeout")
SPELT_ALIKE = ("lists_1500_models", "order_40199", "retry_4290_ms", "gives_up_after_timeout")


@pytest.mark.verifies("openai.error_handling_tested", "ok")
@pytest.mark.verifies("openai.error_handling_tested", "failed")
@pytest.mark.verifies("openai.error_handling_tested", "unknown")
@pytest.mark.parametrize(
    ("report", "status"),
    [
        (junit(*CASES), OK),
        (junit(*SPELT_ALIKE), UNKNOWN),
        (junit(*CASES, failed="retries_500"), FAILED),
        (junit(*CASES, at="2026-05-12T10:00:00Z"), FAILED),
        (junit(*CASES[1:]), UNKNOWN),
        (junit(), UNKNOWN),
        (junit(*CASES)[:-40], UNKNOWN),
    ],
)
async def test_every_error_has_a_test(evidence: Folder, server: OpenAIServer, report: bytes, status: Status) -> None:
    attached(evidence, "error_handling_tested", report, release="1.4.2")
    result = await seen(evidence, "error_handling_tested", server)
    assert result.status is status, result.summary


# Costs


@pytest.mark.verifies("openai.cost_monitoring_enabled", "ok")
async def test_costs_are_added_up_over_all_pages(evidence: Folder, server: OpenAIServer) -> None:
    server.page = 5
    result = await seen(evidence, "cost_monitoring_enabled", server, **ADMIN)
    assert (result.status, "130.00 of 200.00 USD" in result.summary) == (OK, True), result.summary
    server.alerts, server.spend_limit = [], (20_000, "inactive")
    server.days[3] = [cost("10.0"), {"object": "organization.usage.completions.result", "input_tokens": 9}]
    result = await seen(evidence, "cost_monitoring_enabled", server, **ADMIN)
    assert (result.status, "130.00" in result.summary) == (OK, True)


def _changed(**values: Any) -> Callable[[OpenAIServer], None]:
    def change(server: OpenAIServer) -> None:
        for name, value in values.items():
            setattr(server, name, value)

    return change


@pytest.mark.verifies("openai.cost_monitoring_enabled", "failed")
@pytest.mark.verifies("openai.cost_monitoring_enabled", "unknown")
@pytest.mark.parametrize(
    ("change", "status", "summary"),
    [
        (_changed(days=[[cost(20.0)]] * 13), FAILED, "260.00 USD so far (budget 200.00 USD)"),
        (_changed(days=[[cost(13.0)]] * 13), WARNING, "169.00 USD"),
        (_changed(days=[[]] * 13), WARNING, "another organization"),
        (_changed(alerts=[(20_001, ["a@example.com"])]), FAILED, "No spend alert with recipients"),
        (_changed(alerts=[(200, [])]), FAILED, "No spend alert with recipients"),
        (_changed(alerts=[(200, [" "])]), FAILED, "No spend alert with recipients"),
        (_changed(alerts=[], spend_limit=(20_001, "inactive")), FAILED, "no spend limit"),
        (_changed(days=[[cost(10.0)]] * 7), UNKNOWN, "only until 2026-10-08"),
        (_changed(days=[[cost(10.0)]] * 12 + [[cost(1.0, "eur")]]), UNKNOWN, "other than usd"),
        (_changed(days=[[cost("a lot")]] * 13), UNKNOWN, "no number"),
        (_changed(days=[[{"object": "organization.costs.result"}]] * 13), UNKNOWN, "without its amount"),
        (_changed(forced={"/organization/costs": (429, error("rate_limit_exceeded"))}), UNKNOWN, "429"),
        (_changed(forced={"/organization/costs": (403, error(None))}), UNKNOWN, "may not read"),
        (_changed(forced={"/organization/spend_alerts": (404, error(None))}), UNKNOWN, "404"),
        (
            _changed(forced={"/organization/costs": (200, {"data": [], "has_more": True, "next_page": None})}),
            UNKNOWN,
            "broke off",
        ),
    ],
)
async def test_costs_beyond_or_unwatched(
    evidence: Folder, server: OpenAIServer, change: Callable[[OpenAIServer], None], status: Status, summary: str
) -> None:
    change(server)
    result = await seen(evidence, "cost_monitoring_enabled", server, **ADMIN)
    assert (result.status, summary in result.summary) == (status, True), result.summary


async def test_a_month_that_lacks_days_is_unknown(evidence: Folder, server: OpenAIServer) -> None:
    assert server.month
    page = server.costs({"limit": ["31"]})
    page["data"] = page["data"][:4] + page["data"][7:]
    server.forced = {"/organization/costs": (200, page)}
    result = await seen(evidence, "cost_monitoring_enabled", server, **ADMIN)
    assert (result.status, "has 10 of 13 days" in result.summary) == (UNKNOWN, True), result.summary


async def test_costs_without_an_admin_key_are_recorded(evidence: Folder, server: OpenAIServer, pages: Pages) -> None:
    evidence.hosts = [pages.url]
    assert (await seen(evidence, "cost_monitoring_enabled", server)).status is FAILED
    evidence.record("cost_monitoring_enabled", links=[{"url": pages.add("/costs", "<h1>Costs</h1>")}])
    assert (await seen(evidence, "cost_monitoring_enabled", server)).status is OK
    assert (await seen(evidence, "cost_monitoring_enabled", server, organization={"budget": None})).summary.startswith(
        "Option organization.budget is not set"
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"error_cases": ["("]},
        {"error_cases": []},
        {"api": {"models": []}},
        {"api": {"models": [{"name": "a b"}]}},
        {"api": {"models": [{"name": "a", "min_requests_per_minute": 0}]}},
        {"organization": {"budget": {"monthly": 0}}},
        {"organization": {"budget": {"monthly": 1, "currency": "USD"}}},
        {"organization": {"project": "../x"}},
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        OpenaiSettings.model_validate(settings)
