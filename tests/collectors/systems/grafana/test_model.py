"""Which queries of a panel show that something is measured."""

from __future__ import annotations

import pytest

from collectors.systems.grafana.model import Panel, queries_of, sources_of, unfilled


@pytest.mark.parametrize(
    ("expression", "asked"),
    [
        ("sum(rate(errors_total[5m])) or vector(0)", "sum(rate(errors_total[5m])) "),
        ("(sum(rate(a[5m])) or on() vector(0)) / 5", "(sum(rate(a[5m])) ) / 5"),
        ("sum(a) or (vector(0))", "sum(a) "),
        ("a or b", "a or b"),
        ("a > vector(1)", "a > vector(1)"),
        ("histogram_quantile(0.9, a)", "histogram_quantile(0.9, a)"),
        ("time() - a", "time() - a"),
        ("vector(1)", None),
        ("absent(errors_total)", None),
        ("sum(absent_over_time(errors_total[5m])) * 1", None),
        ("vector(time())", None),
        ("(time())", None),
        ("1", None),
        ("", ""),
    ],
)
def test_what_returns_a_value_anyway_is_not_asked(expression: str, asked: str | None) -> None:
    """As Prometheus itself does for `vector(0)`, whatever it has."""
    panel = Panel(id=1, targets=[{"refId": "A", "expr": expression}])
    assert [query["expr"] for query in queries_of(panel, {})] == ([] if asked is None else [asked])


def test_variables_are_filled_however_they_are_written() -> None:
    written = "$job ${job} ${job:regex} [[job]] [[job:csv]] $jobs ${job.text} $__rate_interval label_replace($1)"
    (query,) = queries_of(Panel(targets=[{"refId": "A", "expr": written}]), {"job": "api"})
    assert query["expr"] == "api api api api api $jobs api $__rate_interval label_replace($1)"
    assert unfilled([query]) == {"jobs"}


def test_hidden_queries_are_asked_where_an_expression_needs_them() -> None:
    hidden = {"refId": "A", "expr": "a", "hide": True}
    ratio = {
        "refId": "B",
        "datasource": {"type": "__expr__", "uid": "__expr__"},
        "type": "math",
        "expression": "$A / 2",
    }
    assert [query["refId"] for query in queries_of(Panel(targets=[hidden, ratio]), {})] == ["A", "B"]
    assert queries_of(Panel(targets=[hidden]), {}) == []
    assert queries_of(Panel(targets=[hidden, {**ratio, "hide": True}]), {}) == []


def test_data_sources_that_a_dashboard_names() -> None:
    def source(uid: str, kind: str = "prometheus") -> dict[str, str]:
        return {"type": kind, "uid": uid}

    panels = [
        Panel(
            datasource=source("-- Mixed --", "datasource"),
            targets=[{"datasource": source("one")}, {"datasource": "by name"}],
        ),
        Panel(type="row", panels=[Panel(datasource=source("two"), targets=[{"refId": "A"}])]),
        Panel(datasource=source("${source}"), targets=[{"datasource": source("__expr__", "__expr__")}]),
        Panel(datasource=source("grafana", "grafana"), targets=[{}]),
        Panel(datasource=source("no-queries")),
        Panel(datasource=None, targets=[{}]),
    ]
    assert sources_of(panels) == {"one", "two"}
