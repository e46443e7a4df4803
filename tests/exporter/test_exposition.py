from __future__ import annotations

import asyncio
import gzip
import threading
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter import exposition as module
from exporter import metrics
from exporter.exposition import OPENMETRICS, TEXT, Exposition, accepts_gzip, negotiate
from exporter.health import Health
from exporter.metrics import ChecklistCollector
from exporter.state import State
from exporter.verdict import failed, ok
from tests.exporter.samples import mixed, observe, plan, planned, state
from tests.servers.process import eventually
from tests.support import Clock

ACCEPT_OPENMETRICS = b"application/openmetrics-text"
PROMETHEUS_3 = (
    b"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
    b"text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
PROMETHEUS_2 = (
    b"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    b"text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
BROWSER = b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


def parse_openmetrics(text: str) -> list[Metric]:
    return list(openmetrics_parser.text_string_to_metric_families(text))  # type: ignore[no-untyped-call]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def found(clock: Clock) -> State:
    return await mixed(clock)


@pytest.fixture
async def exposition(found: State) -> AsyncIterator[Exposition]:
    made = Exposition(found, Health("1.0.0"))
    yield made
    made.close()


def checklist_text(body: bytes) -> str:
    """The part that tells of the checklist."""
    return body.decode().partition("# HELP checklist_scheduler_last_tick_timestamp_seconds")[0]


async def body(exposition: Exposition, accept: bytes = b"", accept_encoding: bytes = b"") -> bytes:
    await exposition.refresh()
    return (await exposition.scrape(accept, accept_encoding)).body


async def item_ok(exposition: Exposition, item: str = "slow_query_logging_enabled") -> float | None:
    for family in parse_text((await body(exposition)).decode()):
        for sample in family.samples:
            if sample.name == "checklist_item_ok" and sample.labels["item"] == item:
                return sample.value
    return None


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (b"", TEXT),
        (PROMETHEUS_3, OPENMETRICS),
        (PROMETHEUS_2, OPENMETRICS),
        (BROWSER, TEXT),
        (b"*/*", TEXT),
        (b"application/*", OPENMETRICS),
        (b"application/json", TEXT),
        (b"text/plain;q=0.1, application/openmetrics-text;q=0.9", OPENMETRICS),
        (b"text/plain;q=0.9, application/openmetrics-text;q=0.1", TEXT),
        (b"application/openmetrics-text;q=0, */*", TEXT),
        (b"application/openmetrics-text;version=0.0.1", TEXT),
        (b"application/openmetrics-text; version=1.0.0 ; q=0.001", OPENMETRICS),
        (b"application/openmetrics-text;q=high", TEXT),
        (b"text/plain;q=0,application/openmetrics-text;q=1.000", OPENMETRICS),
        (b"APPLICATION/OPENMETRICS-TEXT", OPENMETRICS),
        (b"application/openmetrics-text;q=0.5,application/*;q=0.9,text/plain;q=0.6", TEXT),
        (b",;,q=1", TEXT),
    ],
)
def test_format_is_the_one_that_is_preferred(accept: bytes, form: module.Format) -> None:
    assert negotiate(accept) is form


@pytest.mark.parametrize(
    ("accept_encoding", "taken"),
    [
        (b"", False),
        (b"gzip", True),
        (b"deflate, gzip;q=1.0, *;q=0.5", True),
        (b"gzip;q=0", False),
        (b"gzip;q=0.000, *", False),
        (b"*", True),
        (b"x-gzip", True),
        (b"identity", False),
        (b"br, zstd", False),
        (b"GZIP", True),
    ],
)
def test_gzip_is_sent_to_those_that_take_it(accept_encoding: bytes, taken: bool) -> None:
    assert accepts_gzip(accept_encoding) is taken


@given(st.binary(max_size=80))
def test_no_header_breaks_the_negotiation(header: bytes) -> None:
    assert negotiate(header) in (TEXT, OPENMETRICS)
    assert accepts_gzip(header) in (True, False)


async def test_text_is_what_prometheus_client_renders_of_the_whole(exposition: Exposition, found: State) -> None:
    made = CollectorRegistry()
    made.register(ChecklistCollector(lambda: (found.plan, found.views())))
    whole = TEXT.generate(made).decode()
    kept = checklist_text(await body(exposition))
    assert sorted(kept.splitlines()) == sorted(whole.splitlines())
    assert [f.name for f in parse_text(kept)][2:] == [f.name for f in parse_text(whole)][:-2]


async def test_openmetrics_is_what_prometheus_client_renders_of_the_whole(exposition: Exposition, found: State) -> None:
    made = CollectorRegistry()
    made.register(ChecklistCollector(lambda: (found.plan, found.views())))
    kept = checklist_text(await body(exposition, ACCEPT_OPENMETRICS))
    assert sorted([*kept.splitlines(), "# EOF"]) == sorted(OPENMETRICS.generate(made).decode().splitlines())


async def test_openmetrics_parses_and_ends_once(exposition: Exposition) -> None:
    text = (await body(exposition, ACCEPT_OPENMETRICS)).decode()
    families = {family.name: family for family in parse_openmetrics(text)}
    assert text.count("# EOF") == 1
    assert families["checklist_item_runs"].type == "counter"
    assert families["checklist_item"].type == "info"
    assert "process_cpu_seconds" in families
    assert not any(name.endswith("_created") for name in families)


async def test_headers_name_type_length_and_encoding(exposition: Exposition) -> None:
    await exposition.refresh()
    plain, zipped = await exposition.scrape(), await exposition.scrape(ACCEPT_OPENMETRICS, b"gzip")
    assert dict(plain.headers) == {
        b"content-type": b"text/plain; version=0.0.4; charset=utf-8",
        b"content-length": str(len(plain.body)).encode(),
        b"vary": b"Accept, Accept-Encoding",
    }
    assert dict(zipped.headers)[b"content-type"] == b"application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert dict(zipped.headers)[b"content-encoding"] == b"gzip"
    assert dict(zipped.headers)[b"content-length"] == str(len(zipped.body)).encode()


async def test_gzip_holds_the_same_in_one_member(exposition: Exposition) -> None:
    plain, zipped = await body(exposition), await body(exposition, accept_encoding=b"gzip")
    assert len(zipped) < len(plain) / 5
    stream = zlib.decompressobj(wbits=31)  # stops at the end of the first member
    assert checklist_text(stream.decompress(zipped)) == checklist_text(plain)
    assert stream.eof
    assert not stream.unused_data
    gzip.decompress(zipped)


async def test_gzip_follows_changes(clock: Clock) -> None:
    one = planned()
    found = state(one, clock=clock)
    exposition = Exposition(found, Health("1"))
    before = await body(exposition, accept_encoding=b"gzip")
    await observe(found, clock, one.section, {one.item: ok("Seen.")})
    after = await body(exposition, accept_encoding=b"gzip")
    assert b"checklist_item_ok{" in gzip.decompress(before)
    assert checklist_text(gzip.decompress(after)) == checklist_text(await body(exposition))
    assert checklist_text(gzip.decompress(before)) != checklist_text(gzip.decompress(after))
    exposition.close()


async def test_nothing_is_rendered_again_while_nothing_changed(
    exposition: Exposition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PACE", 3600.0)
    await exposition.refresh()
    first = await exposition.scrape()
    await exposition.refresh()
    assert (await exposition.scrape()).body is first.body


async def test_news_of_one_item_renders_one_item(
    clock: Clock, found: State, exposition: Exposition, monkeypatch: pytest.MonkeyPatch
) -> None:
    await body(exposition)
    rendered: list[int] = []
    families = metrics.item_families

    def counted(views: Any) -> Any:
        rendered.append(len(views))
        return families(views)

    monkeypatch.setattr(module, "item_families", counted)
    one = found.plan.items[0]
    await observe(found, clock, one.section, {one.item: failed("Not so.")})
    assert await item_ok(exposition, one.item) == 0.0
    assert rendered == [1]


async def test_news_of_one_target_renders_one_target(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    names = tuple(f't{number} "quoted"' for number in range(100))
    one = planned(targets=names)
    found = state(one, clock=clock)
    exposition = Exposition(found, Health("1"))
    for name in names:
        await observe(found, clock, one.section, {one.item: ok("So.")}, name)
    await body(exposition)
    rendered: list[int] = []
    families = metrics.item_families

    def counted(views: Any) -> Any:
        rendered.append(sum(len(view.targets) for view in views))
        return families(views)

    monkeypatch.setattr(module, "item_families", counted)
    await observe(found, clock, one.section, {one.item: failed("Not so.")}, names[7])
    text = checklist_text(await body(exposition))
    made = CollectorRegistry()
    made.register(ChecklistCollector(lambda: (found.plan, found.views())))
    assert sorted(text.splitlines()) == sorted(TEXT.generate(made).decode().splitlines())
    assert rendered[0] == 1
    await found.replace_plan(plan(replace(one, targets=names[:50])))
    text = checklist_text(await body(exposition))
    assert text.count("checklist_item_target_ok{") == 50
    exposition.close()


async def test_time_alone_changes_what_is_sent(clock: Clock) -> None:
    one = planned()
    found = state(one, clock=clock)
    exposition = Exposition(found, Health("1"))
    await observe(found, clock, one.section, {one.item: ok("Seen.")})
    assert await item_ok(exposition) == 1.0
    clock.advance(minutes=4)
    assert await item_ok(exposition) == 0.0
    exposition.close()


async def test_items_that_left_the_configuration_vanish_at_once(clock: Clock) -> None:
    stays, goes = planned(), planned(item="storage_sufficient")
    found = state(stays, goes, clock=clock)
    exposition = Exposition(found, Health("1"))
    assert await item_ok(exposition, goes.item) == 0.0
    await found.replace_plan(plan(stays))
    assert await item_ok(exposition, goes.item) is None
    assert await item_ok(exposition, stays.item) == 0.0
    await found.replace_plan(plan())
    assert await item_ok(exposition, stays.item) is None
    exposition.close()


async def test_a_format_asked_for_late_knows_everything(clock: Clock, found: State, exposition: Exposition) -> None:
    await body(exposition)
    one = found.plan.items[0]
    await observe(found, clock, one.section, {one.item: failed("Not so.")})
    late = (await exposition.scrape(ACCEPT_OPENMETRICS)).body
    assert checklist_text(late) == checklist_text(await body(exposition, ACCEPT_OPENMETRICS))


async def test_scrapes_at_once_share_one_rendering(exposition: Exposition, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACE", 3600.0)
    await exposition.refresh()
    answers = await asyncio.gather(*(exposition.scrape() for _ in range(50)))
    assert len({id(answer.body) for answer in answers}) == 1


async def test_own_metrics_are_never_old(found: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACE", 3600.0)
    health = Health("1", lag=1.0)
    exposition = Exposition(found, health)
    assert b"checklist_scheduler_lag_seconds 1.0\n" in await body(exposition)
    health.lag = 2.0
    assert b"checklist_scheduler_lag_seconds 1.0\n" in await body(exposition)
    monkeypatch.setattr(module, "PACE", 0.0)
    assert b"checklist_scheduler_lag_seconds 2.0\n" in await body(exposition)
    exposition.close()


async def test_select_sends_the_named_metrics_alone(exposition: Exposition) -> None:
    scrape = await exposition.select(["checklist_item_ok", "checklist_exporter_build_info", "process_open_fds"])
    names = {family.name for family in parse_text(scrape.body.decode())}
    assert names == {"checklist_item_ok", "checklist_exporter_build_info", "process_open_fds"}
    open_metrics = await exposition.select(["checklist_item_runs_total"], ACCEPT_OPENMETRICS)
    assert [f.name for f in parse_openmetrics(open_metrics.body.decode())] == ["checklist_item_runs"]
    assert (await exposition.select(["nothing_such"])).body == b""


# The background task


@pytest.fixture
async def running(found: State, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Exposition, Health]]:
    monkeypatch.setattr(module, "PACE", 0.02)
    health = Health("1.0.0")
    made = Exposition(found, health, stale=1.0)
    task = asyncio.create_task(made.run())
    await eventually(lambda: made.trouble() is None, "the first rendering")
    yield made, health
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_changes_are_rendered_in_the_background(
    clock: Clock, found: State, running: tuple[Exposition, Health]
) -> None:
    exposition, _ = running
    one = found.plan.items[0]
    await exposition.scrape()

    async def value() -> bool:
        line = f'checklist_item_ok{{item="{one.item}",section="{one.section}"}} 0.0'
        return line.encode() in (await exposition.scrape()).body

    assert not await value()
    await observe(found, clock, one.section, {one.item: failed("Not so.")})
    await eventually(value, "the change in a scrape")
    clock.advance(minutes=4)
    await eventually(_all_zero(exposition), "everything stale in a scrape")


def _all_zero(exposition: Exposition) -> Callable[[], Any]:
    async def looked() -> bool:
        families = parse_text((await exposition.scrape()).body.decode())
        return all(s.value == 0 for family in families for s in family.samples if s.name == "checklist_item_ok")

    return looked


async def test_before_the_first_rendering_nothing_is_claimed(exposition: Exposition) -> None:
    scrape = await exposition.scrape()
    assert (scrape.status, scrape.body) == (503, b"The metrics are not rendered yet.\n")


async def test_a_rendering_that_failed_is_told_and_tried_again(
    clock: Clock,
    found: State,
    running: tuple[Exposition, Health],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    exposition, health = running
    await exposition.scrape()
    with monkeypatch.context() as broken:
        broken.setattr(module, "item_families", lambda views: 1 / 0)
        one = found.plan.items[0]
        await observe(found, clock, one.section, {one.item: failed("Not so.")})
        await eventually(lambda: health.render_error is not None, "the failure to be told")
        await eventually(lambda: exposition.trouble() is not None, "the bytes to be too old")
        scrape = await exposition.scrape()
        assert scrape.status == 503
        assert b"could not be rendered (ZeroDivisionError, see the log)" in scrape.body
        assert health.troubles(clock()) == [health.render_error]
    await eventually(lambda: exposition.trouble() is None, "the next rendering")
    await eventually(lambda: health.render_error is None, "the health to follow")
    assert "could not be rendered" in caplog.text


async def test_a_rendering_that_hangs_makes_scrapes_fail(
    clock: Clock, found: State, running: tuple[Exposition, Health], monkeypatch: pytest.MonkeyPatch
) -> None:
    exposition, _ = running
    await exposition.scrape()
    release = threading.Event()
    with monkeypatch.context() as hanging:
        hanging.setattr(module, "item_families", lambda views: release.wait(30))
        one = found.plan.items[0]
        await observe(found, clock, one.section, {one.item: failed("Not so.")})
        await eventually(lambda: exposition.trouble() is not None, "the bytes to be too old")
        scrape = await exposition.scrape()
        assert scrape.status == 503
        assert b"(limit 1 s). Rendering makes no progress.\n" in scrape.body
    release.set()


async def test_when_the_task_ended_scrapes_fail(found: State) -> None:
    exposition = Exposition(found, Health("1"))
    await exposition.refresh()
    assert (await exposition.scrape()).status == 200
    assert exposition._current_at is not None
    exposition._current_at -= module.STALE + 1
    assert (await exposition.scrape()).status == 503
    exposition.close()


async def test_ending_leaves_nothing_behind(found: State, no_leftovers: None) -> None:
    exposition = Exposition(found, Health("1"))
    task = asyncio.create_task(exposition.run())
    await eventually(lambda: exposition.trouble() is None, "the first rendering")
    await exposition.scrape()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# What the state tells to those who follow it


async def test_state_tells_only_what_changed(clock: Clock, found: State) -> None:
    first, second, third = found.plan.items[:3]
    known = found.version
    assert list(found.changed(known)) == []
    for one in (first, second, first):
        await observe(found, clock, one.section, {one.item: ok("Seen.")})
    assert [view.planned for view in found.changed(known)] == [first, second]
    assert [view.planned for view in found.changed(found.version - 1)] == [first]
    clock.advance(minutes=4)
    await found.tick()
    changed = {view.planned.item for view in found.changed(found.version - 1)}
    assert {first.item, second.item, third.item} <= changed


async def test_a_new_plan_renders_what_it_changes_in_its_own_order(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = (planned(item=f"line_{number}") for number in range(3))
    found = state(first, second, clock=clock)
    exposition = Exposition(found, Health("1"))
    await body(exposition)
    rendered: list[str] = []
    families = metrics.item_families

    def noted(views: Any) -> Any:
        rendered.extend(view.planned.item for view in views)
        return families(views)

    monkeypatch.setattr(module, "item_families", noted)
    for items, wanted in (
        ((first, replace(second)), []),
        ((third, replace(first, team="search"), second), ["line_2", "line_0"]),
        ((second, third), []),
    ):
        rendered.clear()
        await found.replace_plan(plan(*items))
        text = checklist_text(await body(exposition))
        made = CollectorRegistry()
        made.register(ChecklistCollector(lambda: (found.plan, found.views())))
        assert sorted(text.splitlines()) == sorted(TEXT.generate(made).decode().splitlines())
        shown = [line for line in text.splitlines() if line.startswith("checklist_item_ok{")]
        assert [f'item="{item.item}"' in line for item, line in zip(items, shown, strict=True)] == [True] * len(items)
        assert sorted(rendered) == sorted(wanted)
    exposition.close()


async def test_after_a_new_plan_everything_changed(clock: Clock, found: State) -> None:
    known = found.version
    one = replace(found.plan.items[0], team="search")
    await found.replace_plan(plan(one))
    assert [view.planned for view in found.changed(known)] == [one]
