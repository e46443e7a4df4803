"""Lines of a user's own: what an expression's samples mean, asked of real servers of two generations."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from collectors.custom import Condition, Custom, CustomLine, judge
from collectors.systems.prometheus.client import Prometheus, PrometheusSettings
from collectors.systems.prometheus.model.answers import Sample
from exporter.collector import Mode, SectionSettings
from exporter.threads import Threads
from exporter.verdict import Result, Severity, Status
from tests.collectors.evidence import Folder, folder
from tests.servers import faults
from tests.servers.prometheus import Prometheus as Server
from tests.support import verify

UP = 'up{job="prometheus"}'


def custom(**options: Any) -> type[Custom]:
    line = CustomLine.model_validate_json(json.dumps({"section": "Search", "line": "Index is fresh", **options}))
    return Custom.verifying(line, "search", "index_is_fresh", Severity.CRITICAL)


async def asked(url: str, promql: str) -> Result:
    settings = PrometheusSettings.model_validate_json(json.dumps({"url": url, "timeout": "2s"}))
    client = Prometheus(settings, Threads())
    try:
        found = await verify(custom(promql=promql), SectionSettings(), clients={"prometheus": client})
        return found["index_is_fresh"].result
    finally:
        await client.close()


@pytest.mark.parametrize(
    ("promql", "status", "summary"),
    [
        (UP, Status.OK, f"{UP} holds for up{{instance="),
        (f"{UP} == 1", Status.OK, f"{UP} == 1 holds for up{{instance="),
        (f"{UP} - 1 < 5", Status.OK, "(value 0)"),
        (f"{UP} - 1 < bool 5", Status.OK, "(value 1)"),
        (f"({UP} - 1) < 5 and {UP}", Status.OK, "(value 0)"),
        ("vector(1) < bool 0", Status.FAILED, "vector(1) < bool 0 is 0, so false, for {} (value 0)."),
        (f"{UP} - 1", Status.FAILED, "is 0, so false, for {instance="),
        (f"{UP} > 5 or vector(0)", Status.FAILED, "is 0, so false, for {} (value 0)."),
        (f"{UP} > 5", Status.FAILED, f"{UP} > 5 does not hold for up{{instance="),
        (f"{UP} > 5 and {UP}", Status.FAILED, "returned nothing: it is false, or there is no such series."),
        ("absent(up)", Status.FAILED, "absent(up) returned nothing: it is false, or there is no such series."),
        ("no_such_metric < 5", Status.UNKNOWN, "no_such_metric returned nothing: there is no such series."),
        ("vector(0) / 0", Status.UNKNOWN, "vector(0) / 0 is not a number for {}."),
        ("up{", Status.UNKNOWN, "parse error"),
    ],
)
async def test_what_an_expression_means(
    any_prometheus: Server, no_leftovers: None, promql: str, status: Status, summary: str
) -> None:
    result = await asked(any_prometheus.url, promql)
    assert (result.status, summary in result.summary) == (status, True), result.summary


async def test_a_server_that_cannot_be_asked_is_unknown(no_leftovers: None) -> None:
    async with faults.mute() as (host, port):
        result = await asked(f"http://{host}:{port}", "up")
    assert result.status is Status.UNKNOWN
    found = await verify(custom(promql="up"), SectionSettings())
    result = found["index_is_fresh"].result
    assert result == Result(Status.UNKNOWN, "clients.prometheus is not configured, so nothing was asked of it.")


def sample(value: float, **labels: str) -> Sample:
    return Sample(labels, value, 0.0)


def test_every_series_counts_and_a_few_are_named() -> None:
    many = [sample(number % 2, pod=str(number)) for number in range(10)]
    assert judge("x", many) == Result(
        Status.FAILED,
        'x is 0, so false, for {pod="0"} (value 0), {pod="2"} (value 0), {pod="4"} (value 0) and 2 more series.',
        {"series": 10, "false_series": 5},
    )
    assert judge("x < 1", many).status is Status.OK  # type: ignore[union-attr]
    assert judge("x < 1", [*many, sample(math.nan)]) == Result(Status.UNKNOWN, "x < 1 is not a number for {}.")
    assert judge("x", []) is None


@pytest.mark.parametrize(
    ("promql", "filters", "compared"),
    [
        ("time() - x < 3600", True, "time() - x"),
        ("x == 1", True, "x"),
        ("sum by (a) (x) >= on (a) y", True, "sum by (a) (x)"),
        ('x{a=~"b|c", d!="<"} != 0', True, 'x{a=~"b|c", d!="<"}'),
        ("x > 1 and y < 2", True, None),
        ("x > 1 unless y", True, None),
        ("1 < x < 5", True, None),
        ("x <bool 5", False, None),
        ("x < BOOL 5", False, None),
        ("x < 5 or vector(0)", False, None),
        ("x < 5 OR y", False, None),
        ("(x < 5)", False, None),
        ("sum(x > 5)", False, None),
        ("x # < 5\n", False, None),
        ('label_replace(x, "a", "<", "b", ")")', False, None),
        ("x{a='\"', b=`>`}", False, None),
        ("x[5m:1m] < 5", True, "x[5m:1m]"),
        ("errors:or_bool < 5", True, "errors:or_bool"),
    ],
)
def test_what_an_expression_is(promql: str, filters: bool, compared: str | None) -> None:
    assert Condition.of(promql) == Condition(filters, compared)


@given(st.text(alphabet="x<>=! (){}[]\"'`#\\\norandbool5"))
def test_any_expression_is_read(promql: str) -> None:
    condition = Condition.of(promql)
    assert condition.compared is None or promql.startswith(condition.compared) or condition.compared in promql


@pytest.fixture
async def evidence(tmp_path: Path) -> AsyncIterator[Folder]:
    async for made in folder("search", tmp_path):
        yield made


async def test_a_line_by_evidence(evidence: Folder, no_leftovers: None) -> None:
    collector = custom(evidence={"valid_for": "30d"})
    found = await verify(collector, SectionSettings(), **evidence.context)
    result = found["index_is_fresh"].result
    assert (result.status, result.summary) == (Status.FAILED, "There is no evidence for search.index_is_fresh.")
    evidence.record("index_is_fresh")
    found = await verify(collector, SectionSettings(), **evidence.context)
    assert found["index_is_fresh"].result.status is Status.OK


async def test_a_line_by_both_is_as_good_as_the_worse(evidence: Folder, prometheus: Server) -> None:
    collector = custom(evidence={"valid_for": "30d"}, promql=f"{UP} > 5")
    evidence.record("index_is_fresh")
    settings = PrometheusSettings(url=prometheus.url)
    client = Prometheus(settings, Threads())
    found = await verify(collector, SectionSettings(), clients={"prometheus": client}, **evidence.context)
    await client.close()
    assert found["index_is_fresh"].result.status is Status.FAILED


def test_a_line_is_an_item_like_any_other() -> None:
    collector = custom(promql="up", evidence={"valid_for": "30d", "bound_to_release": True})
    assert collector.section() == "search"
    [item] = collector.items().values()
    assert (item.name, item.line, item.severity) == ("index_is_fresh", "Index is fresh", Severity.CRITICAL)
    assert (item.mode, item.needs) == (Mode.PROBE_AND_EVIDENCE, ("clients.prometheus",))
    assert item.evidence
    assert item.evidence.bound_to_release
    assert custom(promql="up") is custom(promql="up"), "an unchanged line keeps its class, and so its job"
    assert custom(promql="up") is not custom(promql="down")
    assert (custom(evidence={"valid_for": "1d"}).items()["index_is_fresh"].needs) == ()


@pytest.mark.parametrize("name", ["open", "items", "section", "verify"])
def test_an_item_may_have_the_name_of_a_method(name: str) -> None:
    line = CustomLine(section="Doors", line=name.title(), promql="up")
    collector = Custom.verifying(line, "doors", name, Severity.INFO)
    assert list(collector.items()) == [name]
    assert collector.section() == "doors"


def test_a_line_that_nothing_would_verify_is_refused() -> None:
    with pytest.raises(ValidationError, match="expected promql or evidence"):
        CustomLine(section="A", line="B")
