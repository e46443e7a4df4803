from __future__ import annotations

import math
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from exporter.health import Health
from exporter.metrics import ChecklistCollector, HealthCollector
from exporter.observations import Observation
from exporter.plan import Plan
from exporter.state import State
from exporter.verdict import Result, Status, failed, ok, unknown
from exporter.views import ItemView
from tests.exporter.samples import WAIVER, catalogue, mixed, observe, planned, state
from tests.servers.prometheus import promtool
from tests.support import NOON, Clock

Samples = dict[tuple[str, ...], float]


def registry(found: State, health: Health | None = None) -> CollectorRegistry:
    made = CollectorRegistry()
    made.register(ChecklistCollector(lambda: (found.plan, found.views())))
    if health:
        made.register(HealthCollector(health))
    return made


def samples(found: State, name: str) -> Samples:
    """The samples of a metric: their label values, in the order of the labels' names, without section and item."""
    text = generate_latest(registry(found)).decode()
    return {
        tuple(value for label, value in sorted(sample.labels.items()) if label not in ("section", "item")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    }


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize(
    ("result", "value"),
    [
        (ok("Seen."), 1.0),
        (Result(Status.WARNING, "Close."), 1.0),
        (failed("Not so."), 0.0),
        (unknown("Not seen."), 0.0),
    ],
)
async def test_ok_is_one_only_for_what_was_seen_to_be_true(clock: Clock, result: Result, value: float) -> None:
    one = planned()
    found = state(one, clock=clock)
    await observe(found, clock, one.section, {one.item: result})
    assert samples(found, "checklist_item_ok") == {(): value}
    statuses = samples(found, "checklist_item_status")
    assert statuses == {(status.value,): float(status is result.status) for status in Status}


async def test_item_that_never_ran_has_its_series_at_zero() -> None:
    found = state(planned())
    assert samples(found, "checklist_item_ok") == {(): 0.0}
    assert samples(found, "checklist_item_last_run_timestamp_seconds") == {(): 0.0}
    assert samples(found, "checklist_item_last_ok_timestamp_seconds") == {(): 0.0}
    assert samples(found, "checklist_item_run_duration_seconds") == {}
    assert samples(found, "checklist_item_runs_total") == {(): 0.0}


async def test_line_without_collector_is_visible_but_never_late() -> None:
    found = state(planned(declared=None, mode=None, targets=()))
    assert samples(found, "checklist_item_ok") == {(): 0.0}
    assert samples(found, "checklist_item_status")["unknown",] == 1.0
    assert samples(found, "checklist_item_last_run_timestamp_seconds") == {}
    assert samples(found, "checklist_item_interval_seconds") == {}


async def test_waived_item_is_not_ok(clock: Clock) -> None:
    one = planned(waiver=WAIVER)
    found = state(one, clock=clock)
    await observe(found, clock, one.section, {one.item: failed("Not so.")})
    assert samples(found, "checklist_item_ok") == {(): 0.0}
    assert samples(found, "checklist_item_status")["waived",] == 1.0
    assert samples(found, "checklist_item_waiver_expiry_timestamp_seconds") == {(): WAIVER.ends_at.timestamp()}


async def test_waiver_of_a_true_line_still_shows_its_end(clock: Clock) -> None:
    one = planned(waiver=WAIVER)
    found = state(one, clock=clock)
    await observe(found, clock, one.section, {one.item: ok("Seen.")})
    assert samples(found, "checklist_item_ok") == {(): 1.0}
    assert samples(found, "checklist_item_waiver_expiry_timestamp_seconds") == {(): WAIVER.ends_at.timestamp()}


async def test_not_applicable_item_has_a_status_and_nothing_to_alert_on() -> None:
    found = state(planned(not_applicable="The product has none."))
    assert samples(found, "checklist_item_status")["not_applicable",] == 1.0
    assert samples(found, "checklist_item_info") != {}
    for silent in ("ok", "target_ok", "last_run_timestamp_seconds", "last_ok_timestamp_seconds", "interval_seconds"):
        assert samples(found, f"checklist_item_{silent}") == {}


async def test_each_target_has_its_own_truth(clock: Clock) -> None:
    one = planned(targets=("orders", "users"))
    found = state(one, clock=clock)
    await observe(found, clock, one.section, {one.item: ok("Seen.", free_bytes=9.0)}, "orders")
    await observe(found, clock, one.section, {one.item: failed("Not so.", free_bytes=1.0)}, "users")
    assert samples(found, "checklist_item_target_ok") == {("orders",): 1.0, ("users",): 0.0}
    assert samples(found, "checklist_item_measurement") == {("free_bytes",): 1.0}
    assert samples(found, "checklist_item_runs_total") == {(): 2.0}


async def test_times_durations_and_counts(clock: Clock) -> None:
    one = planned()
    found = state(one, clock=clock)
    clock.advance(seconds=10)
    until = NOON + timedelta(days=3)
    await found.record(one.section, "", {one.item: Observation(ok("Seen.", valid_until=until), clock(), 0.25)})
    clock.advance(seconds=10)
    await found.record(one.section, "", {one.item: Observation(unknown("Broke."), clock(), 0.5, error=True)})
    at = {
        name: samples(found, f"checklist_item_{name}_timestamp_seconds")
        for name in ("last_run", "last_ok", "status_since")
    }
    assert at["last_run"] == {(): clock().timestamp()}
    assert at["last_ok"] == {(): clock().timestamp() - 10}
    assert at["status_since"] == {(): clock().timestamp()}
    assert samples(found, "checklist_item_run_duration_seconds") == {(): 0.5}
    assert samples(found, "checklist_item_interval_seconds") == {(): 60.0}
    assert samples(found, "checklist_item_runs_total") == {(): 2.0}
    assert samples(found, "checklist_item_run_errors_total") == {(): 1.0}


async def test_evidence_shows_when_it_ends(clock: Clock) -> None:
    one = planned()
    found = state(one, clock=clock)
    await observe(found, clock, one.section, {one.item: ok("Seen.", valid_until=NOON + timedelta(days=3))})
    expiry = (NOON + timedelta(days=3)).timestamp()
    assert samples(found, "checklist_item_evidence_expiry_timestamp_seconds") == {(): expiry}


async def test_what_was_not_measured_has_no_series(clock: Clock) -> None:
    one = planned()
    found = state(one, clock=clock)
    measured = {"lag_bytes": math.nan, "age_seconds": math.inf, "free_bytes": 1.0}
    await observe(found, clock, one.section, {one.item: Result(Status.OK, "Seen.", measured)})
    assert samples(found, "checklist_item_measurement") == {("free_bytes",): 1.0}
    assert " nan\n" not in generate_latest(registry(found)).decode().lower()


async def test_labels_and_help_survive_hostile_text(clock: Clock) -> None:
    line = 'Quote " backslash \\ newline \n <script>alert(1)</script>'
    found = state(planned(line=line, team="a\nb", targets=('t"\n\\',)), clock=clock)
    info = next(iter(samples(found, "checklist_item_info")))
    assert line in info
    assert samples(found, "checklist_item_target_ok") == {('t"\n\\',): 0.0}


async def test_objectives_and_number_of_lines(clock: Clock) -> None:
    found = state(*catalogue(), clock=clock, objectives={"postgresql": 1.0, "redis": 0.9})
    assert samples(found, "checklist_items_configured") == {(): 205.0}
    text = generate_latest(registry(found)).decode()
    assert 'checklist_section_objective_ratio{section="redis"} 0.9\n' in text


async def test_every_configured_line_has_its_series(clock: Clock) -> None:
    found = await mixed(clock)
    text = generate_latest(registry(found)).decode()
    families = {family.name: family.samples for family in text_string_to_metric_families(text)}
    every = {(one.section, one.item) for one in catalogue()}
    for name in ("status", "info", "status_since_timestamp_seconds"):
        seen = {(sample.labels["section"], sample.labels["item"]) for sample in families[f"checklist_item_{name}"]}
        assert seen == every
    assert len(families["checklist_item_ok"]) == 204  # one does not apply


def test_registering_and_describing_reads_no_state() -> None:
    def read() -> tuple[Plan, Iterator[ItemView]]:
        raise AssertionError("the state was read")

    collector = ChecklistCollector(read)
    CollectorRegistry().register(collector)
    names = [family.name for family in collector.describe()]
    assert "checklist_item_ok" in names
    assert not any(family.samples for family in collector.describe() if family.name != "checklist_items_configured")


async def test_describe_tells_exactly_what_collect_gives(clock: Clock) -> None:
    found = await mixed(clock)
    collector = ChecklistCollector(lambda: (found.plan, found.views()))
    shape = [(family.name, family.type, family.documentation) for family in collector.describe()]
    assert shape == [(family.name, family.type, family.documentation) for family in collector.collect()]


async def test_health_is_what_the_daemon_filled_in() -> None:
    health = Health(
        "1.2.3",
        revision="abc",
        last_tick=NOON,
        lag=0.5,
        stuck_runs=("redis/orders",),
        reload_successful=False,
        reload_success_at=NOON,
        history_error="The disk is full.",
        external_url="https://checklist.example.com",
    )
    made = CollectorRegistry()
    made.register(HealthCollector(health))
    text = generate_latest(made).decode()
    found = {sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples}
    assert found == {
        "checklist_scheduler_last_tick_timestamp_seconds": NOON.timestamp(),
        "checklist_scheduler_lag_seconds": 0.5,
        "checklist_scheduler_stuck_runs": 1.0,
        "checklist_exporter_leader": 1.0,
        "checklist_exporter_history_ok": 0.0,
        "checklist_exporter_config_last_reload_successful": 0.0,
        "checklist_exporter_config_last_reload_success_timestamp_seconds": NOON.timestamp(),
        "checklist_exporter_build_info": 1.0,
        "checklist_exporter_web_info": 1.0,
    }
    assert 'revision="abc"' in text
    assert 'version="1.2.3"' in text
    assert 'checklist_exporter_web_info{external_url="https://checklist.example.com"} 1.0' in text


def test_what_has_not_happened_yet_has_no_sample() -> None:
    made = CollectorRegistry()
    made.register(HealthCollector(Health("1")))
    assert made.get_sample_value("checklist_scheduler_last_tick_timestamp_seconds") is None


async def test_labels_that_targets_carry_are_not_used(clock: Clock) -> None:
    carried = {
        "type",
        "owner",
        "service",
        "env",
        "environment",
        "stage",
        "region",
        "zone",
        "cluster",
        "datacenter",
        "severity",
    }
    found = await mixed(clock)
    for family in registry(found, Health("1")).collect():
        for sample in family.samples:
            assert not carried & sample.labels.keys()


async def test_promtool_finds_nothing_to_say(clock: Clock) -> None:
    found = await mixed(clock, [replace(one, targets=("orders", "users")) for one in catalogue()])
    checked = subprocess.run(
        [promtool(), "check", "metrics"],
        input=generate_latest(registry(found, Health("1", last_tick=NOON, reload_success_at=NOON))),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
