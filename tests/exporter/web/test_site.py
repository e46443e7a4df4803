from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import httpx
import jsonschema
import pytest
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families

from exporter.document import document, schema
from exporter.evidence.records import Link, Record
from exporter.health import Health
from exporter.observations import Observation, Transition
from exporter.verdict import Reason, Result, Severity, Status, failed, ok, unknown
from exporter.web import Options
from exporter.web.access import SECURITY_HEADERS
from exporter.web.pages import LINES
from tests.exporter.samples import WAIVER, Transitions, catalogue, declared, mixed, observe, planned, state
from tests.exporter.web.site import Site, running
from tests.support import NOON, Clock

EVIL = """<script>alert("x")</script>'"><img src=x onerror=alert(1)>&amp;\u202e"""
PAGES = ("/", "/items/postgresql/slow_query_logging_enabled", "/launch")
ROUTES = (
    *PAGES,
    "/metrics",
    "/api/v1/items",
    "/api/v1/items/postgresql/slow_query_logging_enabled",
    "/api/v1/transitions",
    "/badge.svg",
    "/static/style.css",
    "/static/icon.svg",
    "/-/healthy",
    "/-/ready",
    "/nowhere",
)


class Page(HTMLParser):
    """What a browser would make of a page: tags with attributes, and text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def links(self) -> list[str]:
        return [
            found for _, attributes in self.tags for key in ("href", "src", "action") if (found := attributes.get(key))
        ]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def site(clock: Clock) -> AsyncIterator[Site]:
    async with running(await mixed(clock), clock) as found:
        yield found


# Every route


@pytest.mark.parametrize("path", ROUTES)
async def test_every_answer_has_the_security_headers(site: Site, path: str) -> None:
    answer = await site.get(path)
    assert answer.status_code == (404 if path == "/nowhere" else 200)
    for name, value in SECURITY_HEADERS.items():
        assert answer.headers.get_list(name) == [value]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert "server" not in answer.headers


@pytest.mark.parametrize("path", [path for path in ROUTES if path != "/nowhere"])
async def test_head_has_the_headers_of_get_and_no_body(site: Site, path: str) -> None:
    async with site.client() as client:
        head, got = await client.head(path), await client.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == got.headers["content-type"]
    assert got.content


@pytest.mark.parametrize("path", [path for path in ROUTES if path != "/nowhere"])
async def test_other_methods_are_refused(site: Site, path: str) -> None:
    async with site.client() as client:
        answer = await client.post(path)
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/metrics/",
        "/items/postgresql/none",
        "/items/x",
        "/static/other.css",
        "/static/../app.py",
        "/static/%2e%2e%2fapp.py",
    ],
)
async def test_what_is_not_there_is_not_found(site: Site, path: str) -> None:
    assert (await site.get(path)).status_code == 404


async def test_errors_come_in_the_language_that_was_asked(site: Site) -> None:
    page = await site.get("/items/postgresql/none", accept="text/html")
    assert "The checklist has no item postgresql.none." in Page(page.text).text
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    data = await site.get("/api/v1/items/postgresql/none", accept="text/html")
    assert data.json() == {"error": "The checklist has no item postgresql.none."}
    plain = await site.get("/items/postgresql/none")
    assert plain.text == "The checklist has no item postgresql.none.\n"


async def test_what_breaks_is_told_without_its_reason(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    async def broken(**_: Any) -> list[Transition]:
        raise RuntimeError("canary-secret")

    site.history.transitions = broken  # type: ignore[method-assign]
    answer = await site.get("/api/v1/transitions")
    assert answer.status_code == 500
    assert answer.json() == {"error": "Internal error; see the exporter's log."}
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "canary-secret" in caplog.text


# Scrapes


async def test_scrape_is_text_by_default(site: Site) -> None:
    answer = await site.get("/metrics", accept_encoding="identity")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = {family.name for family in text_string_to_metric_families(answer.text)}
    assert {"checklist_item_ok", "process_cpu_seconds", "python_info", "checklist_exporter_build_info"} <= families


async def test_scrape_is_openmetrics_and_gzip_when_asked(site: Site) -> None:
    async with site.client() as client:
        request = client.build_request(
            "GET",
            "/metrics",
            headers={"accept": "application/openmetrics-text;version=1.0.0", "accept-encoding": "gzip"},
        )
        answer = await client.send(request, stream=True)
        raw = b"".join([part async for part in answer.aiter_raw()])
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["content-length"] == str(len(raw))
    text = gzip.decompress(raw).decode()
    assert len(list(openmetrics_parser.text_string_to_metric_families(text))) > 20  # type: ignore[no-untyped-call]


async def test_accept_may_be_given_in_several_headers(site: Site) -> None:
    headers = [("accept", "text/plain;q=0.5"), ("accept", "application/openmetrics-text"), ("accept-encoding", "br")]
    async with site.client() as client:
        answer = await client.get("/metrics", headers=[*headers, ("accept-encoding", "gzip")])
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.headers["content-encoding"] == "gzip"


async def test_scrape_of_named_metrics(site: Site) -> None:
    answer = await site.get("/metrics?name[]=checklist_items_configured&name%5B%5D=checklist_exporter_leader")
    assert {family.name for family in text_string_to_metric_families(answer.text)} == {
        "checklist_items_configured",
        "checklist_exporter_leader",
    }
    assert "checklist_item_ok" in (await site.get("/metrics?other=name")).text


async def test_scrape_before_anything_is_rendered_is_refused(clock: Clock) -> None:
    health = Health("1")
    async with running(state(planned()), clock, health=health) as site:
        assert (await site.get("/-/ready")).status_code == 503
        health.ready = True
        assert (await site.get("/-/ready")).text == "checklist-exporter is ready.\n"


# Health


async def test_health_tells_a_stalled_scheduler(site: Site, clock: Clock) -> None:
    site.health.last_tick = clock() - timedelta(seconds=29)
    assert (await site.get("/-/healthy")).status_code == 200
    clock.advance(seconds=2)
    answer = await site.get("/-/healthy")
    assert (answer.status_code, answer.text) == (503, "The scheduler last ticked 31 s ago (limit 30 s).\n")
    assert "The scheduler last ticked 31 s ago" in Page((await site.get("/")).text).text


async def test_health_tells_what_a_restart_does_not_mend(site: Site) -> None:
    site.health.stuck_runs = ("redis/orders",)
    site.health.reload_successful = False
    site.health.history_error = "The history cannot be written: disk full."
    answer = await site.get("/-/healthy")
    assert (answer.status_code, answer.text.splitlines()) == (
        200,
        [
            "checklist-exporter is healthy.",
            "Runs go on past their deadline: redis/orders.",
            "The configuration was changed and cannot be used; the last good one is in force.",
            "The history cannot be written: disk full.",
        ],
    )


async def test_reload_only_when_enabled(site: Site, clock: Clock) -> None:
    async with site.client() as client:
        assert (await client.post("/-/reload")).status_code == 404
    async with (
        running(site.state, clock, options=Options(enable_lifecycle=True)) as enabled,
        enabled.client() as client,
    ):
        assert (await client.get("/-/reload")).status_code == 405
        assert (await client.post("/-/reload")).text == "The configuration was reloaded.\n"
        enabled.reloaded = "config.yaml:3:1: sectons: unknown key."
        answer = await client.put("/-/reload")
        assert (answer.status_code, answer.text) == (500, "config.yaml:3:1: sectons: unknown key.\n")
        assert enabled.reloads == 2


# Pages


async def test_first_page_shows_every_line_and_the_score(site: Site) -> None:
    page = Page((await site.get("/")).text)
    for one in catalogue():
        assert " ".join(one.line.split()) in " ".join(page.text.split())
        assert f"/items/{one.section}/{one.item}" in page.links
    scored = [view.status.is_ok for view in site.state.views() if view.status is not Status.NOT_APPLICABLE]
    assert f"{sum(scored)}/{len(scored)} lines passing" in " ".join(page.text.split())
    assert "production" in page.text
    assert "2026.3.1" in page.text


async def test_first_page_needs_no_script_and_no_inline_style(site: Site) -> None:
    for path in PAGES:
        page = Page((await site.get(path)).text)
        assert "script" not in {tag for tag, _ in page.tags}
        assert "style" not in {tag for tag, _ in page.tags}
        for _, attributes in page.tags:
            assert not {name for name in attributes if name == "style" or name.startswith("on")}


async def test_what_was_true_and_is_not_now_comes_first(clock: Clock) -> None:
    one, other, backlog = (
        planned(),
        planned(item="storage_sufficient", severity=Severity.WARNING),
        planned(item="never_true"),
    )
    found = state(other, one, backlog, clock=clock)
    await observe(
        found, clock, one.section, {one.item: ok("Seen."), other.item: ok("Seen."), backlog.item: failed("Never so.")}
    )
    clock.advance(seconds=30)
    async with running(found, clock) as site:
        assert "Nothing has regressed." in (await site.get("/")).text
        await observe(found, clock, one.section, {one.item: failed("Now 3."), other.item: unknown("Gone.")})
        clock.advance(minutes=2)
        text = " ".join(Page((await site.get("/")).text).text.split())
    regressed = text[text.index("Regressions") : text.index("Status any")]
    assert regressed.index("Now 3.") < regressed.index("Gone.")
    assert "failed for 2 min" in regressed
    assert "Never so." not in regressed


async def test_while_nothing_was_seen_it_says_what_to_do(clock: Clock) -> None:
    one, other = planned(), planned(item="storage_sufficient")
    found = state(one, other, clock=clock)
    async with running(found, clock) as site:
        text = words((await site.get("/")).text)
        assert (
            "Nothing has been checked yet. To begin, configure a section in the file given with --config.file;" in text
        )
        assert "Nothing has regressed." not in text
        await observe(found, clock, one.section, {one.item: failed("Not so.")})
        assert "Nothing has regressed." in words((await site.get("/")).text)


async def test_many_regressions_are_counted(clock: Clock) -> None:
    items = catalogue()[:12]
    found = state(*items, clock=clock)
    for verdict in (ok("Seen."), failed("Not so.")):
        for one in items:
            await observe(found, clock, one.section, {one.item: verdict})
    async with running(found, clock) as site:
        text = words((await site.get("/")).text)
    told = text[text.index("Regressions") : text.index("Status any")]
    first, more = told.split("And 4 more")
    assert [first.count("failed for"), more.count("failed for")] == [8, 4]


def words(page: str) -> str:
    """The text of a page, in one line."""
    return " ".join(Page(page).text.split())


async def test_whether_to_launch_is_said_first(clock: Clock) -> None:
    one, other, minor = planned(), planned(item="storage_sufficient"), planned(item="minor", severity=Severity.WARNING)
    accepted = planned(item="accepted", waiver=WAIVER)
    found = state(one, other, minor, accepted, clock=clock)
    async with running(found, clock) as site:
        assert "Not ready to launch 2 critical lines do not pass" in words((await site.get("/")).text)
        verdicts = {accepted.item: failed("Not so."), minor.item: failed("Not so."), one.item: ok("Seen.")}
        await observe(found, clock, one.section, verdicts)
        assert "Not ready to launch 1 critical line does not pass" in words((await site.get("/")).text)
        await observe(found, clock, one.section, {other.item: ok("Seen.")})
        assert "Ready to launch every critical line passes or is waived" in words((await site.get("/")).text)


async def test_without_a_critical_line_nothing_is_ready(clock: Clock) -> None:
    minor = planned(item="minor", severity=Severity.WARNING)
    apart = planned(item="apart", not_applicable="There is none.")
    async with running(state(minor, apart, clock=clock), clock) as site:
        text = words((await site.get("/")).text)
    assert "Launch readiness unknown no applicable line is critical" in text
    assert "Ready to launch" not in text


async def test_the_launch_page_shows_what_blocks_whose_it_is_and_what_expires(clock: Clock) -> None:
    late, early, never = (
        planned(item="late", line="Late", team="storage"),
        planned(item="early", line="Early", team="storage"),
        planned(item="never", line="Never", team=""),
    )
    accepted = planned(item="accepted", line="Accepted", waiver=WAIVER)
    attested = planned(item="attested", line="Attested", team="people")
    apart = planned(item="apart", line="Apart", not_applicable="There is none.")
    minor = planned(item="minor", line="Minor", severity=Severity.WARNING)
    found = state(late, early, never, accepted, attested, apart, minor, clock=clock)
    expiry = clock() + timedelta(days=3)
    async with running(found, clock) as site:
        verdicts = {early.item: failed("Broken early."), accepted.item: failed("Not so."), minor.item: failed("Minor.")}
        await observe(found, clock, early.section, verdicts | {attested.item: ok("Attested.", valid_until=expiry)})
        clock.advance(minutes=2)
        await observe(found, clock, late.section, {late.item: failed("Broken late.")})
        text = words((await site.get("/launch")).text)
        assert "Not ready to launch 3 of 5 critical lines do not pass. storage: 2, No team: 1." in text
        parts = re.split("What blocks|Accepted by a waiver|Passes until|Declared not applicable", text)
        assert [parts[1].index(line) for line in ("Early", "Late", "Never")] == sorted(
            parts[1].index(line) for line in ("Early", "Late", "Never")
        ), "what failed first stands first, what is unknown last"
        assert f"storage {clock():%Y-%m-%d}" in parts[1]
        assert WAIVER.reason in parts[2]
        assert f"{WAIVER.owner} {WAIVER.until}" in parts[2]
        assert f"{expiry:%Y-%m-%d} 2 d left Attested" in parts[3]
        assert "Apart" in parts[4]
        assert "There is none." in parts[4]
        assert "Minor" not in text

        verdicts = {one.item: ok("Seen.") for one in (late, early, never)}
        await observe(found, clock, early.section, verdicts)
        text = words((await site.get("/launch")).text)
        assert "Ready to launch All critical lines (5) pass or are waived." in text
        assert f"The first evidence to expire is valid until {expiry:%Y-%m-%d}" in text


async def test_a_long_checklist_comes_in_pages_and_keeps_the_filter(clock: Clock) -> None:
    lines = [
        planned(
            f"section_{number // 1000}", f"item_{number}", heading=f"Section {number // 1000}", line=f"Line {number}"
        )
        for number in range(5000)
    ]
    found = state(*lines, clock=clock)
    await observe(found, clock, "section_0", {line.item: failed("Not so.") for line in lines[:700]})

    def shown(page: Page) -> list[str]:
        return [link for link in page.links[page.links.index("/#lines") :] if link.startswith("/items/")]

    async with running(found, clock) as site:
        whole = (await site.get("/")).text
        assert len(whole) < 500_000, "5,000 lines on one page were 3 MB"
        assert len(shown(Page(whole))) == LINES
        assert "Lines 1–500 of 5000" in words(whole)
        assert "/?section=section_4#section_4" in Page(whole).links
        last = Page((await site.get("/?page=10")).text)
        assert shown(last)[-1] == "/items/section_4/item_4999"
        assert shown(last) == shown(Page((await site.get("/?page=99")).text)), "past the end is the end"
        assert shown(Page((await site.get("/?page=-1")).text)) == shown(Page(whole))
        every = [link for page in range(1, 11) for link in shown(Page((await site.get(f"/?page={page}")).text))]
        assert every == [f"/items/{line.section}/{line.item}" for line in lines]

        filtered = Page((await site.get("/?status=failed&q=Not")).text)
        assert "/?status=failed&q=Not&page=2#lines" in filtered.links
        assert len(shown(Page((await site.get("/?status=failed&q=Not&page=2")).text))) == 200
        assert "/?section=section_0#section_0" in Page((await site.get("/items/section_0/item_3")).text).links


async def test_what_ends_is_told_before_it_does(clock: Clock) -> None:
    items = [planned(item=f"line_{number}", line=f"Line {number}") for number in range(8)]
    days = (20, 13, 5, -1, 3, 4, 2)
    waiver = replace(WAIVER, until=(clock() + timedelta(days=9)).date())
    items[7] = replace(items[7], waiver=waiver)
    found = state(*items, clock=clock)
    verdicts = {
        one.item: ok("Attested.", valid_until=clock() + timedelta(days=left))
        for one, left in zip(items, days, strict=False)
    }
    await observe(found, clock, items[0].section, {**verdicts, items[7].item: failed("Not so.")})
    async with running(found, clock) as site:
        text = words((await site.get("/")).text)
    told = text[text.index("Expired, or expiring soon") : text.index("Status any")]
    assert told.startswith(
        "Expired, or expiring soon Line 3 evidence expired 1 d ago Line 6 evidence expires in 2 d Line 4 evidence expires in 3 d "
        "Line 5 evidence expires in 4 d Line 2 evidence expires in 5 d And 2 more Line 7 waiver expires in "
    )
    async with running(state(items[7], clock=clock), clock) as site:
        assert re.search(r"Line 7 waiver expires in \d+ d", words((await site.get("/")).text))


async def test_nothing_that_ends_is_nothing_said(site: Site) -> None:
    assert "expiring soon" not in (await site.get("/")).text


@pytest.mark.parametrize(
    ("query", "takes"),
    [
        ("status=failed", lambda view: view.status is Status.FAILED),
        ("status=failed,unknown", lambda view: view.status in (Status.FAILED, Status.UNKNOWN)),
        ("status=failed&status=waived", lambda view: view.status in (Status.FAILED, Status.WAIVED)),
        ("severity=info", lambda view: view.planned.severity is Severity.INFO),
        ("section=redis&section=neo4j", lambda view: view.planned.section in ("redis", "neo4j")),
        ("team=search", lambda view: view.planned.team == "search"),
        ("q=BACKUP", lambda view: "backup" in (view.planned.line + view.planned.id + view.planned.heading).casefold()),
        ("q=redis.&status=", lambda view: view.planned.section == "redis"),
        ("team=nobody", lambda view: False),
    ],
)
async def test_filters_choose_the_same_in_page_and_data(clock: Clock, query: str, takes: Any) -> None:
    items = [replace(one, team="search" if one.section == "qdrant" else "") for one in catalogue()]
    async with running(await mixed(clock, items), clock) as site:
        page = Page((await site.get(f"/?{query}")).text)
        data = (await site.get(f"/api/v1/items?{query}")).json()
        wanted = {f"/items/{v.planned.section}/{v.planned.item}" for v in site.state.views() if takes(v)}
    after_filter = page.links[page.links.index("/#lines") :]
    assert {link for link in after_filter if link.startswith("/items/")} == wanted
    assert {f"/items/{one['section']}/{one['item']}" for one in data["items"]} == wanted


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("status=failed,FAILED", "status takes ok, warning, failed, unknown, waived, not_applicable, not FAILED."),
        ("severity=<b>", "severity takes critical, warning, info, not <b>."),
    ],
)
async def test_data_of_a_status_that_there_is_not_is_refused(site: Site, query: str, told: str) -> None:
    answer = await site.get(f"/api/v1/items?{query}")
    assert (answer.status_code, answer.json()) == (400, {"error": told})


async def test_calm_sections_are_folded(clock: Clock) -> None:
    calm, restless = planned(), planned("redis", "persistence_configured", heading="Redis")
    found = state(calm, restless, clock=clock)
    await observe(found, clock, calm.section, {calm.item: ok("Seen.")})
    async with running(found, clock) as site:
        folded = {a["id"]: "open" in a for tag, a in Page((await site.get("/")).text).tags if tag == "details"}
        assert folded == {"postgresql": False, "redis": True}
        filtered = {a["id"]: "open" in a for tag, a in Page((await site.get("/?q=e")).text).tags if tag == "details"}
        assert filtered == {"postgresql": True, "redis": True}


async def test_page_refreshes_only_when_asked(site: Site) -> None:
    def refreshing(page: Page) -> list[str | None]:
        return [attributes.get("content") for tag, attributes in page.tags if attributes.get("http-equiv") == "refresh"]

    assert refreshing(Page((await site.get("/")).text)) == []
    assert "/?refresh=30" in Page((await site.get("/")).text).links
    filtered = "/?q=a+%26+b&status=failed%2Cunknown"
    assert f"{filtered}&refresh=30" in Page((await site.get(filtered)).text).links
    assert filtered in Page((await site.get(f"{filtered}&refresh=30")).text).links
    assert refreshing(Page((await site.get("/?refresh=5;url=https://example.com")).text)) == ["30"]


async def test_item_page_tells_all_that_is_known(clock: Clock) -> None:
    one = planned(
        targets=("orders", "users"),
        waiver=WAIVER,
        runbook_url="https://runbooks.example.com/postgresql",
        declared=declared(
            "slow_query_logging_enabled", "x", "Why it\n    matters.\n\n    How to mend it.", ["role pg_monitor"]
        ),
    )
    found = state(one, clock=clock)
    record = Record(
        item=one.id,
        result="passed",
        by="qa@example.com",
        on=NOON.date(),
        links=(Link(url="https://wiki.example.com/drill"),),
        measured={"duration_seconds": 12.5},
        file="drill.yaml",
        line=1,
    )
    verdict = Result(Status.OK, "100 of 200 are used.", {"used_ratio": 0.5}, NOON + timedelta(days=9), (record,))
    await observe(found, clock, one.section, {one.item: verdict}, "orders")
    await observe(found, clock, one.section, {one.item: failed("200 of 200 are used.", used_ratio=1.0)}, "users")
    history = Transitions([Transition(one.section, one.item, None, Status.FAILED, NOON, "It broke."),
                           Transition(one.section, "other", None, Status.FAILED, NOON, "Not this one.")])  # fmt: skip
    clock.advance(minutes=1)
    async with running(found, clock, history=history) as site:
        page = Page((await site.get(f"/items/{one.section}/{one.item}")).text)
    text = " ".join(page.text.split())
    for told in (
        one.line,
        "Waived until 2026-06-30 by platform: Sized by hand until Q2.",
        "100 of 200 are used.",
        "200 of 200 are used.",
        "used_ratio",
        "Why it matters. How to mend it.",
        "role pg_monitor",
        "It broke.",
        'checklist_item_ok{section="postgresql",item="slow_query_logging_enabled"}',
        "qa@example.com",
        "Duration seconds: 12.5",
    ):
        assert told in text
    assert "Not this one." not in text
    assert {"https://runbooks.example.com/postgresql", "https://wiki.example.com/drill"} <= set(page.links)


async def test_item_page_of_a_line_that_nothing_verifies(clock: Clock) -> None:
    async with running(state(planned(declared=None, mode=None, targets=())), clock) as site:
        text = " ".join(Page((await site.get(PAGES[1])).text).text.split())
    assert "Nothing verifies this line. Bind it to an item" in text
    assert "nothing yet" in text


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "http://[", "//example.com", "data:text/html,x", "see the wiki"]
)
async def test_only_web_addresses_become_links(clock: Clock, url: str) -> None:
    async with running(state(planned(runbook_url=url)), clock) as site:
        page = Page((await site.get(PAGES[1])).text)
    assert url in page.text
    assert url not in page.links


async def test_item_page_says_when_a_waiver_is_over(clock: Clock) -> None:
    found = state(planned(waiver=WAIVER), clock=clock)
    clock.at = datetime(2026, 7, 1, tzinfo=UTC)
    async with running(found, clock) as site:
        assert "until 2026-06-30 (expired)" in (await site.get(PAGES[1])).text


async def test_badge_shows_the_score(site: Site) -> None:
    answer = await site.get("/badge.svg")
    assert answer.headers["content-type"] == "image/svg+xml"
    picture = ElementTree.fromstring(answer.text)
    score = [view.status.is_ok for view in site.state.views() if view.status is not Status.NOT_APPLICABLE]
    assert picture.attrib["aria-label"] == f"checklist: {sum(score)}/{len(score)}"
    assert "#b42318" in answer.text


async def test_badge_is_green_when_all_is_true(clock: Clock) -> None:
    one = planned()
    found = state(one, clock=clock)
    await observe(found, clock, one.section, {one.item: ok("Seen.")})
    async with running(found, clock) as site:
        assert "#1a7f37" in (await site.get("/badge.svg")).text


async def test_an_empty_checklist_is_a_page_too(clock: Clock) -> None:
    async with running(state(clock=clock), clock) as site:
        text = (await site.get("/")).text
        assert "No line matches." in text
        assert "to launch" not in text
        assert (await site.get("/badge.svg")).status_code == 200
        assert b"checklist_items_configured 0.0\n" in (await site.get("/metrics")).content


# Data


async def test_items_are_the_document_of_the_state(site: Site, clock: Clock) -> None:
    answer = await site.get("/api/v1/items")
    assert answer.headers["content-type"] == "application/json"
    jsonschema.validate(answer.json(), schema())
    assert answer.json() == json.loads(json.dumps(document(site.state.views(), site.state.plan, clock())))
    one = (await site.get("/api/v1/items/redis/persistence_configured")).json()
    assert one in answer.json()["items"]


async def test_transitions_are_newest_first_and_limited(site: Site) -> None:
    site.history.kept = [
        Transition("redis", name, None, Status.FAILED, NOON + timedelta(seconds=second), "It broke.")
        for second, name in enumerate(("a", "b", "c"))
    ]

    async def names(query: str) -> list[str]:
        return [one["item"] for one in (await site.get(f"/api/v1/transitions{query}")).json()["transitions"]]

    assert await names("") == ["c", "b", "a"]
    assert await names("?limit=1") == ["c"]
    assert await names("?section=redis&item=b") == ["b"]
    assert await names("?section=neo4j") == []


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "x", "", "１", "1e3", "99999999999999999999"])
async def test_transitions_refuse_a_senseless_limit(site: Site, limit: str) -> None:
    answer = await site.get(f"/api/v1/transitions?limit={limit}")
    assert (answer.status_code, answer.json()) == (400, {"error": "limit must be a number from 1 to 1000."})


# Where it is found


@pytest.mark.parametrize(
    ("options", "prefix", "base"),
    [
        (Options(external_url="https://ops.example.com/checklist/"), "/checklist", "/checklist"),
        (Options(external_url="https://ops.example.com/checklist", route_prefix="/"), "", "/checklist"),
        (Options(route_prefix="a/b"), "/a/b", "/a/b"),
        (Options(external_url="https://ops.example.com", telemetry_path="/probe"), "", ""),
    ],
)
async def test_links_and_routes_have_their_prefix(clock: Clock, options: Options, prefix: str, base: str) -> None:
    async with running(await mixed(clock), clock, options=options) as site:
        for path in ("/", "/items/redis/persistence_configured"):
            links = [link for link in Page((await site.get(f"{prefix}{path}")).text).links if not link.startswith("#")]
            assert links
            assert all(link.startswith(f"{base}/") for link in links)
            for link in dict.fromkeys(link.partition("#")[0] for link in links):
                assert (await site.get(prefix + link.removeprefix(base))).status_code == 200
        assert (await site.get(f"{prefix}/-/healthy")).status_code == 200
        assert (await site.get(f"{prefix}{options.telemetry_path}")).status_code == 200
        if prefix:
            redirect = await site.get("/")
            assert (redirect.status_code, redirect.headers["location"]) == (307, f"{base}/")
            assert (await site.get("/metrics")).status_code == 404


# Hostile text


@pytest.fixture
async def hostile(clock: Clock) -> AsyncIterator[Site]:
    one = planned(
        line=EVIL,
        heading=EVIL,
        group=EVIL,
        team=EVIL,
        targets=(EVIL,),
        runbook_url="javascript:alert(1)",
        declared=declared("slow_query_logging_enabled", EVIL, EVIL, [EVIL]),
        waiver=replace(WAIVER, reason=EVIL, owner=EVIL),
    )
    found = state(one, clock=clock)
    await observe(found, clock, one.section, {one.item: ok("Seen.")}, EVIL)
    await observe(found, clock, one.section, {one.item: Result(Status.FAILED, EVIL, {EVIL: 1.0})}, EVIL)
    history = Transitions([Transition(one.section, one.item, Status.OK, Status.FAILED, NOON, EVIL)])
    async with running(found, clock, history=history) as site:
        yield site


@pytest.mark.parametrize("path", [*PAGES, "/?status=failed", "/?q=script", "/badge.svg"])
async def test_no_text_becomes_markup(hostile: Site, path: str) -> None:
    answer = await hostile.get(path)
    assert answer.status_code == 200
    tags = {tag for tag, _ in Page(answer.text).tags}
    assert not {"script", "img"} & tags
    assert not any(link.startswith("javascript:") for link in Page(answer.text).links)


async def test_no_query_becomes_markup(site: Site) -> None:
    query = httpx.QueryParams(dict.fromkeys(("q", "status", "severity", "team", "refresh", EVIL), EVIL))
    page = Page((await site.get(f"/?{query}")).text)
    assert not {"script", "img"} & {tag for tag, _ in page.tags}
    assert EVIL in {attributes.get("value") for _, attributes in page.tags}
    missing = await site.get(f"/items/x/{httpx.QueryParams({'y': EVIL})}", accept="text/html")
    assert not {"script", "img"} & {tag for tag, _ in Page(missing.text).tags}


async def test_half_characters_break_nothing(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL", "exporter.state")  # pytest's own reports could not hold them
    one = planned()
    found = state(one, clock=clock)
    await observe(found, clock, one.section, {one.item: failed("Answered \udcff\ud800.")})
    async with running(found, clock) as site:
        for path in (*PAGES, "/api/v1/items", "/metrics"):
            assert (await site.get(path)).status_code == 200


async def test_unescaped_text_is_shown_as_it_is(hostile: Site) -> None:
    assert " ".join(EVIL.split()) in " ".join(Page((await hostile.get(PAGES[1])).text).text.split())


# Hostile requests


@pytest.mark.parametrize("begin", [b"GET /", b"GET / HTTP/1.1\r\nX-A: ", b"GET / HTTP/1.1\r\n" + b"X-A: a\r\n" * 100])
async def test_an_endless_head_is_not_read(site: Site, begin: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(begin)
    with suppress(ConnectionError):
        for _ in range(1000):
            writer.write(b"X-A: aaaaaaaa\r\n" * 1000 if begin.endswith(b"\n") else b"a" * 16_000)
            await writer.drain()
    assert writer.transport.is_closing()
    with suppress(ConnectionError):
        assert (await reader.read()).startswith(b"HTTP/1.1 400 Bad Request")
    writer.close()
    assert (await site.get("/-/healthy")).status_code == 200


@pytest.mark.parametrize("begin", [b"", b"GET / HTTP/1.1\r\nX-A: "])
async def test_a_head_that_never_ends_is_not_waited_for(
    site: Site, begin: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter.web.server.HEAD_SECONDS", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(begin)
    with suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 30) == b""
    writer.close()


async def test_a_connection_that_is_kept_may_rest_longer_than_a_head_takes(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    for _ in range(3):
        writer.write(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"healthy.\n")
        monkeypatch.setattr("exporter.web.server.HEAD_SECONDS", 0.2)
        await asyncio.sleep(0.5)
    assert not reader.at_eof()
    writer.close()


# At its end


async def test_ending_is_quick_and_leaves_nothing(clock: Clock, no_leftovers: None) -> None:
    loop = asyncio.get_running_loop()
    async with running(await mixed(clock), clock) as site:
        async with site.client() as client:
            for path in ROUTES:
                await client.get(path)
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)  # a scraper that keeps its connection
        writer.write(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"healthy.\n")
        started = loop.time()
    assert loop.time() - started < 5
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def test_item_page_shows_code_as_code_and_nothing_else_as_markup(clock: Clock) -> None:
    text = "Set `save <n>` and read redis_rdb_*, not *that*.\n\n    <b>Mend it.</b>"
    one = planned(declared=declared("slow_query_logging_enabled", "x", text, ["`+config|get`"]))
    async with running(state(one, clock=clock), clock) as site:
        page = (await site.get(f"/items/{one.section}/{one.item}")).text
    assert "<p>Set <code>save &lt;n&gt;</code> and read redis_rdb_*, not *that*.</p>" in page
    assert "<p>&lt;b&gt;Mend it.&lt;/b&gt;</p>" in page
    assert "<li><code>+config|get</code></li>" in page


async def test_the_page_of_a_line_shows_why_it_does_not_pass_and_what_to_do(clock: Clock) -> None:
    found = state(planned("redis", "one"), planned("redis", "two"), clock=clock)
    refused = failed("Too many clients.", reason=Reason.REFUSED)
    seen = {"one": Observation(refused, clock()), "two": Observation(ok("Fine."), clock())}
    await found.record("redis", "", seen)
    async with running(found, clock) as site:
        page = words((await site.get("/items/redis/one")).text)
        assert f"refused {Reason.REFUSED.description} {Reason.REFUSED.remedy}" in page
        assert "reason" not in (await site.get("/items/redis/two")).text
        assert json.loads((await site.get("/api/v1/items/redis/one")).text)["reason"] == "refused"


STORES = [("redis", "Data stores"), ("postgresql", "Data stores"), ("edge", "Edge"), ("redis", "More")]


async def test_a_heading_with_lines_of_several_sections_is_shown_once(clock: Clock) -> None:
    lines = [planned(section, f"item_{number}", heading=heading) for number, (section, heading) in enumerate(STORES)]
    async with running(state(*lines, clock=clock), clock) as site:
        text = (await site.get("/")).text
        assert re.findall(r"<h3>(.*?)</h3>", text) == ["Data stores", "Edge", "More"]
        ids = re.findall(r'id="(redis[\w-]*|postgresql|edge)"', text)
        assert ids == ["redis", "postgresql", "edge", "redis-2"], "each section can be linked to, once"


async def test_sections_that_nothing_verifies_are_folded(clock: Clock) -> None:
    found = state(planned("redis", targets=()), planned("nats"), planned("training", "one"), clock=clock)
    without = unknown("No evidence folder is configured.", reason=Reason.NOT_CONFIGURED)
    await found.record("training", "", {"one": Observation(without, clock())})
    async with running(found, clock) as site:
        text = (await site.get("/")).text
        assert re.search(r'<details class="section" id="redis">', text)
        assert re.search(r'<details class="section" id="training">', text)
        assert re.search(r'<details class="section" id="nats" open>', text)
        assert re.search(r'id="redis" open>', (await site.get("/?status=unknown")).text)
        assert text.index('class="launch') < text.index('id="score"'), "the launch decision stands first"
