"""The dashboards that ship: in step with their source, and as dashboard-linter demands of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import promql_parser
import pytest

import dashboards
from tests.dashboards.panels import NAMES, dashboard, filled, panels, variables
from tests.promql import exported, selectors

Json = dict[str, Any]

PANELS = [pytest.param(name, panel, id=f"{name}-{panel['title']}") for name in NAMES for panel in panels(name)]
QUERIES = [
    pytest.param(target["expr"], id=f"{name}-{panel['title']}-{target['refId']}")
    for name in NAMES
    for panel in panels(name)
    for target in panel["targets"]
]
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
#: What Prometheus tells of each scrape, and prometheus-client of each process.
OTHERS = {"up", "scrape_duration_seconds", "process_cpu_seconds_total", "process_resident_memory_bytes"}
OTHERS |= {"process_open_fds", "process_max_fds"}
VALUES = {"__rate_interval": "1m", "job": "a", "instance": "b", "section": "redis"}
UNITS = {"none", "percentunit", "s", "bytes", "ops", "dateTimeFromNow"}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_committed_is_made_of_its_source(name: str) -> None:
    assert (dashboards.FOLDER / f"{name}.json").read_text() == dashboards.dashboards()[f"{name}.json"], (
        "run `make docs`"
    )


def test_writing_them_again_changes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    committed = {path.name: path.read_text() for path in dashboards.FOLDER.glob("*.json")}
    monkeypatch.setattr(dashboards, "FOLDER", tmp_path)
    dashboards.main()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == committed


@pytest.mark.parametrize("name", NAMES)
def test_a_dashboard_is_generated_stable_and_found(name: str) -> None:
    found = dashboard(name)
    assert found["editable"] is False
    assert found["uid"] == f"checklist-{name}"
    assert found["title"] == f"Checklist / {name.capitalize()}"
    assert "checklist-exporter" in found["tags"]
    assert found["description"].endswith(".")
    assert "id" not in found, "which would be another dashboard's in somebody's Grafana"
    assert found["schemaVersion"] >= 36


@pytest.mark.parametrize("name", NAMES)
def test_links_keep_time_and_variables(name: str) -> None:
    others, checklist = dashboard(name)["links"]
    assert (others["type"], others["tags"]) == ("dashboards", ["checklist-exporter"])
    assert others["keepTime"] is others["includeVars"] is True
    assert checklist["url"] == "$url/"


@pytest.mark.parametrize("name", NAMES)
def test_alerts_are_shown_as_annotations(name: str) -> None:
    (annotation,) = [one for one in dashboard(name)["annotations"]["list"] if one["name"] == "Alerts"]
    assert annotation["datasource"] == SOURCE
    assert annotation["enable"] is True
    (selector,) = selectors(filled(annotation["expr"], VALUES))
    assert selector.name == "ALERTS"


@pytest.mark.parametrize("name", NAMES)
def test_template_datasource_rule(name: str) -> None:
    (source,) = [found for found in variables(name).values() if found["type"] == "datasource"]
    assert (source["name"], source["label"], source["query"]) == ("datasource", "Data source", "prometheus")


@pytest.mark.parametrize("which", ["job", "instance"])
@pytest.mark.parametrize("name", NAMES)
def test_template_job_rule_and_template_instance_rule(name: str, which: str) -> None:
    found = variables(name)[which]
    assert (found["type"], found["label"], found["datasource"]) == ("query", which.capitalize(), SOURCE)
    assert found["multi"] is found["includeAll"] is True
    assert found["allValue"] == ".+"


@pytest.mark.parametrize("name", NAMES)
def test_template_label_promql_rule_and_template_on_time_change_reload_rule(name: str) -> None:
    for found in variables(name).values():
        if found["type"] == "query":
            assert found["refresh"] == 2
            asked = re.fullmatch(r"label_values\((.+), \w+\)", found["query"])
            assert asked
            (selector,) = selectors(filled(asked[1], VALUES))
            assert selector.name in exported()


@pytest.mark.parametrize(("name", "panel"), PANELS)
def test_panel_rules(name: str, panel: Json) -> None:
    assert panel["datasource"] == SOURCE
    assert all(target["datasource"] == SOURCE for target in panel["targets"])
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["targets"]
    units = {panel["fieldConfig"]["defaults"]["unit"]}
    for override in panel["fieldConfig"]["overrides"]:
        units |= {found["value"] for found in override["properties"] if found["id"] == "unit"}
    assert units <= UNITS


@pytest.mark.parametrize("name", NAMES)
def test_panels_fill_their_rows_without_overlap(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels(name):
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    rows = sorted({panel["gridPos"]["y"] for panel in panels(name)})
    assert rows[0] == 0
    assert all(sum((x, y) in taken for x in range(24)) == 24 for y, _ in pairwise(rows))


def test_titles_are_unique() -> None:
    for name in NAMES:
        titles = [panel["title"] for panel in panels(name)]
        assert len(titles) == len(set(titles))


@pytest.mark.parametrize("query", QUERIES)
def test_target_rules(query: str) -> None:
    chosen = list(selectors(filled(query, VALUES)))
    assert chosen
    for selector in chosen:
        matchers = {(matcher.name, str(matcher.op), matcher.value) for matcher in selector.matchers.matchers}
        assert {("job", "MatchOp.Re", "a"), ("instance", "MatchOp.Re", "b")} <= matchers
    for function in ("rate(", "irate(", "increase("):
        assert query.count(function) <= query.count("[$__rate_interval]")
    assert not list(bare_counters(filled(query, VALUES)))


def bare_counters(query: str) -> Iterator[str]:
    """The counters of a query that no rate() or increase() makes of use: what target-counter-agg-rule demands."""
    ranged = re.findall(r"(?:rate|increase)\((\w+_total)\{", query)
    counters = [selector.name for selector in selectors(query) if selector.name and selector.name.endswith("_total")]
    return (name for name in counters if counters.count(name) > ranged.count(name))


def test_a_bare_counter_is_noticed() -> None:
    assert list(bare_counters('sum(a_total{b="c"}) / sum(rate(a_total{b="c"}[5m]))')) == ["a_total"] * 2
    assert not list(bare_counters('sum(rate(a_total{b="c"}[5m])) / sum(d)'))


@pytest.mark.parametrize("query", QUERIES)
def test_queries_are_about_what_is_exported(query: str) -> None:
    assert {selector.name for selector in selectors(filled(query, VALUES))} <= exported() | OTHERS


def test_a_query_over_an_unknown_name_is_noticed() -> None:
    assert not {selector.name for selector in selectors("sum(checklist_item_okay)")} <= exported() | OTHERS


@pytest.mark.parametrize("query", QUERIES)
def test_binary_operators_say_on_what_they_match(query: str) -> None:
    def visit(expression: promql_parser.Expr) -> None:
        if isinstance(expression, promql_parser.BinaryExpr) and str(expression.op) in ("and", "unless"):
            sides = f"{expression.lhs} {expression.rhs}"
            assert expression.modifier is not None or "by (job, section, item)" in sides

    promql_parser.walk(promql_parser.parse(filled(query, VALUES)), visit)
