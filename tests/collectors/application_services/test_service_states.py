"""Answers of services that look like something else than they are, one for each kind."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from exporter.verdict import Reason, Result, Status
from tests.collectors.application_services.services import see
from tests.servers.faults import answering
from tests.servers.pages import Pages

JSON: dict[str, Any] = {"Content_Type": "application/json"}
TEXT: dict[str, Any] = {"Content_Type": "text/plain; version=0.0.4"}
HEALTH, METRICS, DOCS, LIMITS = (
    "health_endpoint_responds",
    "metrics_endpoint_accessible",
    "documentation_accessible",
    "rate_limiting_active",
)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('{"status": "ok", "error": "canary: db timed out"}', "with status ok and reports error beside it"),
        ('{"status": "UP", "errors": ["canary"]}', "with status UP and reports errors beside it"),
        ('{"success": false, "status": "ok"}', "with status success: false"),
        ('{"status": "up", "ok": false}', "with status ok: false"),
        ('{"status": "ok", "ready": false}', "with status ready: false"),
        ('{"status": "ok", "error": "", "errors": [], "failures": null, "success": true, "maintenance": false}', ""),
        ('{"status": "ok", "error": {}, "details": {"db": {"status": "up"}}}', ""),
        ("\ufeff" + '{"status": "ok"}', ""),
    ],
)
async def test_reports_that_contradict_themselves(pages: Pages, body: str, told: str) -> None:
    pages.add("/health", body, **JSON)
    result = await see("api_service", HEALTH, pages.url)
    assert result.status is (Status.FAILED if told else Status.OK), result
    assert told in result.summary
    assert "canary" not in result.summary


@pytest.mark.parametrize(
    "header",
    [
        {"X_Varnish": "32770 3", "Age": "0"},
        {"Cache_Status": "Origin; fwd=miss, Edge; hit; ttl=30"},
        {"Warning": '110 - "Response is Stale"'},
        {"Server_Timing": "cdn-cache; desc=HIT, origin; dur=3"},
        {"X_FastCGI_Cache": "HIT"},
    ],
)
async def test_what_a_cache_answers_is_not_the_service(pages: Pages, header: dict[str, Any]) -> None:
    pages.add("/health", '{"status": "ok"}', **JSON, **header)
    pages.add("/metrics", "a_total 1\n", **TEXT, **header)
    pages.add("/limited", "{}", RateLimit_Remaining="9", **header)
    for item in (HEALTH, METRICS, LIMITS):
        result = await see("api_service", item, pages.url, ratelimit_path="/limited")
        assert (result.status, result.reason) == (Status.UNKNOWN, Reason.MISCONFIGURED), result


async def test_a_miss_of_a_cache_is_the_service(pages: Pages) -> None:
    missed: dict[str, Any] = {
        "X_Varnish": "32770",
        "Cache_Status": "Edge; fwd=uri-miss; stored",
        "Server_Timing": "cdn-cache; desc=MISS",
    }
    pages.add("/health", '{"status": "ok"}', **JSON, **missed)
    assert (await see("api_service", HEALTH, pages.url)).status is Status.OK


async def test_metrics_that_prometheus_refuses(pages: Pages) -> None:
    pages.add("/metrics", "# TYPE a_total counter\r\na_total 1\r\n", **TEXT)
    result = await see("api_service", METRICS, pages.url)
    assert (result.status, "ends its lines with CR and LF" in result.summary) == (Status.FAILED, True)


async def test_a_limit_that_is_counted_and_not_enforced(pages: Pages) -> None:
    pages.add("/limited", "{}", X_RateLimit_Remaining="-2")
    result = await see("api_service", LIMITS, pages.url, ratelimit_path="/limited")
    assert (result.status, result.reason) == (Status.FAILED, Reason.CONTRADICTED)
    assert "answered 200 with -2 requests left" in result.summary


_PAGE = '<div id="ui"></div><script src="/ui.js"></script><script>Swagger({url: "/openapi.json"})</script>'
_NONCE = base64.b64encode(b"nonce").decode()


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ("default-src 'none'", "loads scripts from its own host, which its own Content-Security-Policy forbids"),
        ("script-src 'self'", "starts by a script within the page, which its own Content-Security-Policy forbids"),
        ("script-src 'unsafe-inline'", "loads scripts from its own host"),
        ("script-src 'self' 'unsafe-inline'", ""),
        (f"default-src 'none'; script-src 'nonce-{_NONCE}'", ""),
        ("default-src 'none'; script-src 'nonce-another'", "loads scripts from its own host"),
        ("style-src 'none'", ""),
    ],
)
async def test_pages_that_their_own_policy_empties(pages: Pages, policy: str, told: str) -> None:
    noncing = _PAGE.replace("<script", f"<script nonce={_NONCE}") if "nonce-" in policy else _PAGE
    pages.add("/docs", noncing, Content_Security_Policy=policy)
    pages.add("/ui.js", "start()", Content_Type="text/javascript")
    pages.add("/openapi.json", '{"openapi": "3.0.0", "paths": {"/a": {"get": {}}}}', **JSON)
    result = await see("api_service", DOCS, pages.url)
    assert result.status is (Status.FAILED if told else Status.OK), result
    assert told in result.summary


async def test_a_specification_without_operations(pages: Pages) -> None:
    pages.add("/docs", _PAGE)
    pages.add("/ui.js", "start()", Content_Type="text/javascript")
    paths: Any
    for paths, status in (('{"/a": {}}', Status.FAILED), ("{}", Status.FAILED), ('{"/a": {"$ref": "b"}}', Status.OK)):
        pages.add("/openapi.json", f'{{"openapi": "3.0.0", "paths": {paths}}}', **JSON)
        assert (await see("api_service", DOCS, pages.url)).status is status, paths


@pytest.mark.parametrize(
    ("page", "more", "status", "words"),
    [
        ('url: "https://petstore.swagger.io/v2/swagger.json"', {}, Status.FAILED, "the sample of Swagger UI"),
        ('url: "${base}/openapi.json"', {}, Status.OK, ""),
        ('url: "https://api.example.com/openapi.json"', {}, Status.UNKNOWN, "which is on another host"),
        ('urls: [{"url": "/openapi.json"}, {"url": "/gone.json"}]', {}, Status.FAILED, "is served at /gone.json."),
        ('configUrl: "/options"', {"/options": '{"url": "/openapi.json"}'}, Status.OK, ""),
        ('configUrl: "/options"', {"/options": '{"urls": [{"url": "/gone.json"}]}'}, Status.FAILED, "/gone.json"),
        ('configUrl: "/options"', {}, Status.FAILED, "answered 404 and names no OpenAPI document"),
        ('url: "/api.yaml"', {"/api.yaml": "openapi: 3.0.0\npaths:\n  /a:\n    get: {}\n"}, Status.OK, ""),
        ('url: "/api.yaml"', {"/api.yaml": "openapi: 3.0.0\npaths: {}\n"}, Status.FAILED, "describes no operation"),
        ('url: "/api.yaml"', {"/api.yaml": "openapi: [\n"}, Status.FAILED, "with no OpenAPI document"),
    ],
)
async def test_documents_that_a_page_names(
    pages: Pages, page: str, more: dict[str, str], status: Status, words: str
) -> None:
    pages.add("/docs/", f"<div id=ui></div><script>Swagger({{{page}}})</script>")
    pages.redirect("/docs", "/docs/")
    pages.add("/openapi.json", '{"openapi": "3.0.0", "paths": {"/a": {"get": {}}}}', **JSON)
    for path, body in more.items():
        pages.add(path, body, **JSON)
    result = await see("api_service", DOCS, pages.url)
    assert (result.status, words in result.summary) == (status, True), result


async def test_a_document_that_a_script_names(pages: Pages) -> None:
    pages.add("/docs/", '<div id=ui></div><script src="./swagger-initializer.js"></script>')
    pages.redirect("/docs", "/docs/")
    pages.add("/docs/swagger-initializer.js", 'ui({url: "https://petstore.swagger.io/v2/swagger.json"})')
    pages.add("/openapi.json", '{"openapi": "3.0.0", "paths": {"/a": {"get": {}}}}', **JSON)
    result = await see("api_service", DOCS, pages.url)
    assert (result.status, result.reason) == (Status.FAILED, Reason.MISCONFIGURED)


async def test_a_slash_that_the_service_adds_is_followed_and_nothing_else(pages: Pages) -> None:
    pages.add("/health/", '{"status": "ok"}', **JSON)
    pages.add("/metrics/", "a_total 1\n", **TEXT)
    other = "http://127.0.0.2/health/"
    for to, followed in (("/health/", True), (f"{pages.url}/health/", True), (other, False), ("/login/", False)):
        pages.redirect("/health", to)
        result = await see("api_service", HEALTH, pages.url)
        assert result.status is (Status.OK if followed else Status.FAILED), to
    pages.redirect("/metrics", "/metrics/")
    assert (await see("api_service", METRICS, pages.url)).status is Status.OK


async def test_samples_that_prometheus_does_not_store(pages: Pages) -> None:
    for body, status, words in (
        ("a_total NaN\n", Status.FAILED, "has only samples that are no numbers or too old of a_total."),
        ("a_total 1 1577836800000\nb 1\n", Status.FAILED, "or too old of a_total."),
        ("a_total 1 1577836800000\n", Status.FAILED, "gives no samples, but those that Prometheus drops"),
        ('a_total{b="1"} 1\na_total{b="1"} 2\n', Status.WARNING, "gives the same series of a_total more than once"),
        ('a_total{b="1"} 1\na_total{b="2"} 2\n', Status.OK, ""),
        ('a_total{quantile="0.5"} NaN\na_total 2\n', Status.OK, ""),
    ):
        pages.add("/metrics", body, **TEXT)
        result = await see("api_service", METRICS, pages.url, required_metrics=["a_total"])
        assert (result.status, words in result.summary) == (status, True), result


async def test_replicas_that_disagree_behind_one_address(pages: Pages) -> None:
    memory: dict[str, Any] = {}

    async def asked(status: int) -> Result:
        pages.add("/health", '{"status": "ok"}', status, **JSON)
        return await see("backend_api", HEALTH, pages.url, memory=memory)

    for status in (503, 503, 200, 200, 503):  # down, started, and down again
        assert (await asked(status)).status is (Status.OK if status == 200 else Status.FAILED)
    assert (await asked(200)).status is Status.OK
    assert (await asked(503)).reason is Reason.DOWN
    wavering = await asked(200)
    assert (wavering.status, wavering.reason) == (Status.FAILED, Reason.CONTRADICTED)
    assert (
        "/health was healthy now, and not at 4 of the last 8 looks: it comes and goes, or replicas" in wavering.summary
    )
    for _ in range(7):
        last = await asked(200)
    assert last.status is Status.OK, last


async def test_replicas_that_disagree_on_a_dependency(pages: Pages) -> None:
    memory: dict[str, Any] = {}
    for word in ("up", "down", "up", "down"):
        pages.add("/health", f'{{"status": "ok", "info": {{"db": {{"status": "{word}"}}}}}}', **JSON)
        seen = await see("data_service", "database_connected", pages.url, database="db", memory=memory)
        assert seen.status is (Status.OK if word == "up" else Status.FAILED), seen
    pages.add("/health", '{"status": "ok", "info": {"db": {"status": "up"}}}', **JSON)
    seen = await see("data_service", "database_connected", pages.url, database="db", memory=memory)
    assert (seen.status, seen.reason) == (Status.FAILED, Reason.CONTRADICTED), seen
    assert "reports db as up now, and not at 2 of the last 5 looks" in seen.summary


async def test_a_dependency_that_any_path_reports() -> None:
    report = {"status": "ok", "info": {"db": {"status": "up"}}}
    async with answering(report, headers={"Content-Type": "application/json"}) as (url, _):
        seen = await see("data_service", "database_connected", url, database="db")
    assert (seen.status, seen.reason) == (Status.FAILED, Reason.CONTRADICTED), seen
    assert "every path is answered like this" in seen.summary
