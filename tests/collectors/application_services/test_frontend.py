"""The frontend section on a real Next.js application, whole and spoilt."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from exporter.evidence.validity import Evidence
from exporter.verdict import Reason, Status
from tests.collectors.application_services.services import run
from tests.collectors.evidence import Folder
from tests.servers import faults
from tests.servers.applications.programs import next_server
from tests.servers.process import free_port
from tests.support import Run, sees, until

ASSETS, API, AUTH, SPEED = (
    "static_assets_served",
    "api_integration_working",
    "authentication_flow_tested",
    "performance_optimization_configured",
)


def run_frontend(item: str, url: str, evidence: Evidence | None = None, **options: Any) -> Run:
    return run("frontend", item, url, evidence=evidence, release="1.4.2" if evidence else None, **options)


see = sees(run_frontend)


@pytest.mark.verifies("frontend.static_assets_served", "ok")
@pytest.mark.verifies("frontend.static_assets_served", "failed")
@pytest.mark.verifies("frontend.static_assets_served", "unknown")
async def test_assets_of_a_real_build(tmp_path: Path) -> None:
    with next_server(tmp_path, copy=True) as web:
        good = await see(ASSETS, web.url, pages=["/", "/login"])
        assert good.status is Status.OK, good.summary
        assert good.measurements["assets"] >= 4
        chunks = web.directory / "standalone/.next/static/chunks"
        assert list(chunks.glob("*.js"))
        for chunk in chunks.glob("*.js"):
            chunk.unlink()
        web.stop()
        web.start()
        broken = await see(ASSETS, web.url)
        assert (broken.status, broken.reason) == (Status.FAILED, Reason.MISSING)
        assert "/_next/static/chunks/" in broken.summary
        assert "which the page needs, answered 404." in broken.summary
    gone = await see(ASSETS, web.url)
    assert (gone.status, gone.reason) == (Status.UNKNOWN, Reason.UNREACHABLE)


async def test_a_server_that_answers_any_path_with_its_page() -> None:
    async with faults.answering(b"<!doctype html><script src=/main.js></script>") as (url, _):
        result = await see(ASSETS, url)
    assert result.status is Status.FAILED
    assert "/main.js, which the page needs, answered 200 with an HTML page." in result.summary
    assert "which cannot exist, answered 200 with an HTML page: missing assets go unnoticed." in result.summary


@pytest.mark.verifies("frontend.api_integration_working", "ok")
@pytest.mark.verifies("frontend.api_integration_working", "failed")
@pytest.mark.verifies("frontend.api_integration_working", "unknown")
async def test_the_way_to_a_backend(tmp_path: Path) -> None:
    async with faults.answering({"status": "ok"}) as (backend, _):
        with next_server(tmp_path, API_URL=backend) as web:
            good = await see(API, web.url, api_path="/api/hello")
            assert good.status is Status.OK, good.summary
            unset = await see(API, web.url)
            assert (unset.status, unset.reason) == (Status.UNKNOWN, Reason.NOT_CONFIGURED)
            page = await see(API, web.url, api_path="/login")
            assert page.summary == f"GET {web.url}/login answered 200 with an HTML page, where JSON was wanted."
            # A rewrite whose backend is not there.
            rewrite = await see(API, web.url, api_path="/bff/health")
            assert (rewrite.status, "answered 500" in rewrite.summary) == (Status.FAILED, True)
    with next_server(tmp_path, API_URL=f"http://127.0.0.1:{free_port()}") as web:
        broken = await see(API, web.url, api_path="/api/hello")
        assert broken.summary == f"GET {web.url}/api/hello answered 502 with an error."
    gone = await see(API, web.url, api_path="/api/hello")
    assert gone.status is Status.UNKNOWN


@pytest.mark.parametrize(
    "document",
    [
        {"errors": [{"message": "no"}]},
        {"success": False},
        {"status": "error"},
        {"title": "Bad Gateway", "status": 502},
        None,
    ],
)
async def test_an_api_that_hides_its_errors(document: object) -> None:
    async with faults.answering(document) as (url, _):
        assert (await see(API, url, api_path="/graphql")).status is Status.FAILED


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        (b"<html>text 1</html>", {"Age": "10", "Cache-Control": "private"}, Status.UNKNOWN),
        (b"<html><script>push('text')</script></html>", {"Cache-Control": "no-store"}, Status.FAILED),
        (b"<html>text</html>", {"Cache-Control": "public, max-age=600"}, Status.UNKNOWN),
    ],
)
async def test_pages_that_only_look_rendered_for_a_request(
    body: bytes, headers: dict[str, str], expected: Status
) -> None:
    async with faults.answering(body, headers=headers) as (url, _):
        assert (await see(SPEED, url, ssr_pages={"/cart": "text"})).status is expected


async def test_an_api_that_is_cached() -> None:
    async with faults.answering({"data": 1}, headers={"Age": "30"}) as (url, _):
        assert (await see(API, url, api_path="/api")).status is Status.UNKNOWN


@asynccontextmanager
async def recorded(path: Path) -> AsyncIterator[Evidence]:
    folder = Folder(path, "frontend")
    folder.record(AUTH, on="2026-10-01")
    evidence: Evidence = folder.context["evidence"]
    try:
        yield evidence
    finally:
        await evidence.close()


@pytest.mark.verifies("frontend.authentication_flow_tested", "ok")
@pytest.mark.verifies("frontend.authentication_flow_tested", "failed")
@pytest.mark.verifies("frontend.authentication_flow_tested", "unknown")
async def test_protected_pages(tmp_path: Path) -> None:
    guarded: dict[str, Any] = {"protected_paths": ["/dashboard"]}
    records = tmp_path / "records"
    records.mkdir()
    async with recorded(records) as evidence:
        with next_server(tmp_path) as web:
            good = await see(AUTH, web.url, evidence, **guarded)
            assert good.status is Status.OK, good.summary
            forged = await see(AUTH, web.url, evidence, **guarded, session_cookie="session")
            assert forged.summary == f"GET {web.url}/dashboard answered 200 with a forged session cookie."
            assert forged.status is Status.FAILED
            assert (await see(AUTH, web.url, **guarded)).status is Status.UNKNOWN  # no records are configured
            assert (await see(AUTH, web.url, evidence)).status is Status.UNKNOWN
        with next_server(tmp_path, AUTH="off") as web:
            shown = await see(AUTH, web.url, evidence, **guarded)
            assert shown.summary.startswith(f"GET {web.url}/dashboard answered 200 without a session. ")
            assert "answered 200 without a session, as data (RSC)." in shown.summary


@pytest.mark.verifies("frontend.performance_optimization_configured", "ok")
@pytest.mark.verifies("frontend.performance_optimization_configured", "failed")
@pytest.mark.verifies("frontend.performance_optimization_configured", "unknown")
async def test_how_pages_are_rendered(tmp_path: Path) -> None:
    with next_server(tmp_path) as web:
        memory: dict[str, Any] = {}
        rendered: dict[str, Any] = {
            "ssr_pages": {"/ssr": r"rendered-for-request \d+"},
            "isr_pages": {"/isr": r"rendered-at \d+"},
        }
        assert (await see(SPEED, web.url, memory=memory, **rendered)).reason is Reason.PENDING
        await until(lambda: see(SPEED, web.url, memory=memory, **rendered), Status.OK)  # once the text has changed
        client = await see(SPEED, web.url, ssr_pages={"/client": "world"})
        assert (client.status, "was rendered before it was asked for" in client.summary) == (Status.FAILED, True)
        static = await see(SPEED, web.url, isr_pages={"/": "static"})
        assert static.summary == f"GET {web.url}/ is never rendered again (s-maxage=31536000)."
        dynamic = await see(SPEED, web.url, isr_pages={"/ssr": "rendered"})
        assert dynamic.status is Status.FAILED
        assert (await see(SPEED, web.url)).status is Status.UNKNOWN
    async with faults.answering(b"<!doctype html><p>rendered-at 1</p>") as (url, _):
        stripped = await see(SPEED, url, isr_pages={"/isr": "rendered-at"})
    assert (stripped.status, "may have removed" in stripped.summary) == (Status.UNKNOWN, True)
