"""What expressions select; that Prometheus takes each of them, the section's tests show."""

from __future__ import annotations

import pytest

from collectors.systems.prometheus.model.promql import LabelMatcher, Selection, selections
from exporter.verdict import ProbeError


@pytest.mark.parametrize(
    ("expr", "metrics"),
    [
        ("up == 0", ["up"]),
        ("# up\nvector(1)", []),
        ('absent(up{job="pg_up"})', ["up"]),
        ("sum by (job) (rate(a[5m])) / on() group_left sum(b) > bool 0.5", ["a", "b"]),
        ("max_over_time((a - b)[1h:5m])", ["a", "b"]),
        ("topk(scalar(n), -a offset 5m)", ["n", "a"]),
        ('{__name__="a.b"} or {"c d"}', ["a.b", "c d"]),
        ('{__name__=~"a|b"}', [None]),
        ("a unless on(x) ALERTS", ["a", "ALERTS"]),
        ("count_values('up', a)", ["a"]),
        ("predict_linear(a[1h] @ end(), 3600) < 0", ["a"]),
    ],
)
def test_names(expr: str, metrics: list[str | None]) -> None:
    assert [selection.metric for selection in selections(expr)] == metrics


def test_what_surrounds_a_selection_is_told() -> None:
    down, gone = selections('up == 0 or absent(sum(up{job!~"a.*"}))')
    assert down == Selection("up", (), (), compared=True)
    assert not down.absent
    assert gone == Selection("up", (LabelMatcher("job", "!~", "a.*"),), ("sum", "absent"), compared=False)
    assert gone.absent
    (quantile,) = selections("histogram_quantile(0.9, sum(rate(a[5m])))")
    assert quantile.functions == ("rate", "sum", "histogram_quantile")


def test_what_a_selection_allows() -> None:
    (selection,) = selections('a{code=~"5..|x.y", code!="503", method!~"G.*", path="/"}')
    assert selection.allows("code", "500")
    assert selection.allows("code", "x\ny")
    assert not selection.allows("code", "503")
    assert not selection.allows("method", "GET")
    assert selection.allows("method", "")
    assert selection.allows("other", "anything")
    assert not selection.allows("path", "")


def test_what_only_takes_away_is_told() -> None:
    first, second, third = selections("a == 1 unless on() (b or sum(c))")
    assert [first.excluding, second.excluding, third.excluding] == [False, True, True]
    (gone,) = selections("vector(1) unless on() up == 1")
    assert gone == Selection("up", (), ("absent",), compared=True)


@pytest.mark.parametrize("expr", ['a{b=~"(.{900}){900}"}', "up{", "rate(up[$__rate_interval])", "", "sum(", "up =~ 1"])
def test_what_is_not_understood_is_told(expr: str) -> None:
    with pytest.raises(ProbeError, match="was not understood: "):
        selections(expr)


def test_deep_nesting_is_understood_or_told() -> None:
    deep = "(" * 5000 + "up" + ")" * 5000
    try:
        assert [selection.metric for selection in selections(deep)] == ["up"]
    except ProbeError as why:
        assert "was not understood" in str(why)  # noqa: PT017 - either is right


def test_alternatives_are_selections_of_their_own() -> None:
    assert [selection.conditions[0].value for selection in selections('a{b="c" or b="d"}')] == ["c", "d"]
