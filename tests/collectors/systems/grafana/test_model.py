"""Which queries of a panel show that something is measured."""

from __future__ import annotations

import pytest

from collectors.systems.grafana.model import Panel, queries_of


@pytest.mark.parametrize(
    ("expression", "asked"),
    [
        ("sum(rate(errors_total[5m])) or vector(0)", "sum(rate(errors_total[5m])) "),
        ("(sum(rate(a[5m])) or on() vector(0)) / 5", "(sum(rate(a[5m])) ) / 5"),
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
