"""The page in a browser, on a phone and on a desk: usable by everybody, what matters for the launch first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.browser import chromium, violations
from tests.servers.checklist import Checklist
from tests.servers.process import free_port, wait_until

PHONE, DESK = {"width": 320, "height": 568}, {"width": 1280, "height": 800}
#: Every line of every section, and a line with all that can be known of one.
PAGES = ("/?status=failed,unknown,waived,ok#lines", "/launch", "/items/training/operations_trained")


@pytest.fixture(scope="module")
def checklist(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checklist]:
    """An exporter whose Redis is down, with a record that expires soon, a waiver, and most sections not configured."""
    node = f"127.0.0.1:{free_port()}"
    configuration = {
        "sections": {
            "redis": {"every": "5s", "team": "storage", "targets": [{"name": "cache", "nodes": [node]}]},
            "neo4j": {"not_applicable": "The product stores no graph."},
        },
        "waivers": [
            {"item": "kubernetes.vpa_configured", "reason": "Sized.", "owner": "platform", "until": "2999-12-31"}
        ],
    }
    with Checklist(tmp_path_factory.mktemp("checklist"), configuration) as exporter:
        exporter.attest("training.operations_trained", valid_until="2999-12-31")
        wait_until(lambda: exporter.item("redis", "pods_healthy")["reason"] == "unreachable", "Redis to be missed", 60)
        yield exporter


@pytest.mark.parametrize(("screen", "scheme"), [(PHONE, "light"), (DESK, "dark")], ids=["phone", "desk"])
async def test_everybody_can_use_the_page(checklist: Checklist, screen: dict[str, int], scheme: str) -> None:
    async with chromium() as browser:
        page = await browser.new_page(viewport=screen, color_scheme=scheme)
        for path in PAGES:
            await page.goto(f"{checklist.url}{path}")
            assert not await violations(page), path
            width = await page.evaluate("document.documentElement.scrollWidth")
            assert width <= screen["width"], f"{path} scrolls sideways"


async def test_the_launch_comes_first_and_what_is_not_configured_is_folded(checklist: Checklist) -> None:
    async with chromium() as browser:
        page = await browser.new_page(viewport=PHONE)
        await page.goto(checklist.url)
        launch = await page.locator(".launch").bounding_box()
        score = await page.locator("h1").bounding_box()
        sentence = await page.locator(".launch").inner_text()
        assert re.fullmatch(r"✕ Not ready to launch\s+\d+ critical lines do not pass", sentence)
        assert 0 < launch["y"] < score["y"] < score["y"] + score["height"] < PHONE["height"]

        assert await page.locator("details#redis table").is_visible()
        assert not await page.locator("details#kubernetes table").is_visible()
        await page.locator("details#kubernetes summary").click()
        assert await page.locator("details#kubernetes table").is_visible()


async def test_the_keyboard_alone_filters_and_the_address_keeps_it(checklist: Checklist) -> None:
    async with chromium() as browser:
        page = await browser.new_page(viewport=DESK)
        await page.goto(checklist.url)
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.textContent") == "Skip to the checklist"
        for _ in range(400):
            await page.keyboard.press("Tab")
            if await page.evaluate("document.activeElement.name") == "q":
                break
        await page.keyboard.type("backup")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/?*q=backup*#lines")
        await page.wait_for_load_state()
        lines = await page.locator("#lines tbody tr").count()
        assert 0 < lines < 30
        other = await browser.new_page(viewport=DESK)
        await other.goto(page.url)
        assert await other.locator("#lines tbody tr").count() == lines
        assert await other.locator("input[name=q]").input_value() == "backup"


async def test_a_link_to_a_section_leads_to_it_and_paper_has_no_controls(checklist: Checklist) -> None:
    async with chromium() as browser:
        page = await browser.new_page(viewport=DESK)
        await page.goto(f"{checklist.url}/#redis")
        box = await page.locator("details#redis").bounding_box()
        assert 0 <= box["y"] < DESK["height"]
        await page.emulate_media(media="print")
        assert not await page.locator("form.filter").is_visible()
        assert await page.locator("details#redis table").is_visible()


async def test_the_browser_finds_what_is_too_small_to_touch(tmp_path: Path) -> None:
    file = tmp_path / "small.html"
    file.write_text(
        "<!doctype html><html lang=en><title>Small</title><main><h1>Small</h1><p>"
        "<button style='width:9px;height:9px;padding:0' aria-label=One></button>"
        "<button style='width:9px;height:9px;padding:0' aria-label=Two></button></main>"
    )
    async with chromium() as browser:
        page = await browser.new_page(viewport=PHONE)
        await page.goto(file.as_uri())
        assert [found.partition(":")[0] for found in await violations(page)] == ["target-size"]
