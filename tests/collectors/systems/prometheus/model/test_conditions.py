"""Conditions in PromQL: how they are taken apart, and which are refused since nothing could be concluded from them."""

from __future__ import annotations

import re
from contextlib import suppress

import promql_parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.systems.prometheus.model.conditions import alert, truth


@pytest.mark.parametrize(
    ("text", "subject", "operator", "other"),
    [
        ("time() - x < 3600", "time() - x", "<", "3600"),
        ("3600 > time() - x", "time() - x", "<", "3600"),
        ("(((x == 1)))", "x", "==", "1"),
        ("x", "x", "!=", "0"),
        ('x{a=~"b|c", d!="<"} != 0', 'x{a=~"b|c", d!="<"}', "!=", "0"),
        ("x # == 1\n == 2 # == 3", "x", "==", "2"),
        ('label_replace(x, "a", "<", "b", ")") > 1', 'label_replace(x, "a", "<", "b", ")")', ">", "1"),
        ("x[5m:1m] < 5", None, "", ""),
        ("max_over_time(x[5m:]) < 5", "max_over_time(x[5m:])", "<", "5"),
        ("a <bool on (x) group_left (y) b", "a", "<", "b"),
        ("a <= on (x) group_right b", "b", ">=", "a"),
        ("errors:or_bool < 5", "errors:or_bool", "<", "5"),
        ("scalar(x) > bool 3", "scalar(x)", ">", "3"),
    ],
)
def test_a_condition_is_taken_apart(text: str, subject: str | None, operator: str, other: str) -> None:
    if subject is None:
        with pytest.raises(ValueError, match=r"not understood|evaluates to"):
            truth(text)
        return
    [comparison] = truth(text).comparisons
    assert (comparison.subject, comparison.operator, comparison.other) == (subject, operator, other)
    promql_parser.parse(comparison.as_bool)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sum((", "not understood"),
        ("", "found no expression"),
        ("# comment", "found no expression"),
        ("(" * 400_000, "deeper nested than anybody could read"),
        ("(" * 240 + "up" + ")" * 240 + "== 1 == 1", "drops the series"),
        ("-" * 300 + "up", "deeper nested than anybody could read"),
        ('x{a=~"("} == 1', "not understood"),
        ("x[5m]", "evaluates to a matrix"),
        ('"text"', "evaluates to a string"),
        ("1", "selects no series that have to exist"),
        ("vector(1) == 1", "selects no series that have to exist"),
        ("absent(up)", "selects no series that have to exist"),
        ("absent(up) == 1", "selects no series that have to exist"),
        ("1 < x < 5", "1 < x drops the series"),
        ("abs(x > 1) < 5", "abs(x > 1) drops the series"),
        ("x > 1 or y > 1", "leaves open which series"),
        ("x > 1 unless y", "leaves open which series"),
        ("x == NaN", "compares with NaN"),
        ("x @ 1700000000 == 1", "reads one moment for ever"),
    ],
)
def test_what_cannot_be_true_of_every_series_is_refused(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=re.escape(expected)):
        truth(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sum((", "not understood"),
        ("up", "returns something whenever its series exist"),
        ("up == bool 0", "returns something whenever its series exist"),
        ("up == 0 or vector(0)", "returns something whenever its series exist"),
        ("vector(1) > 2", "selects no series"),
        ("up[5m]", "evaluates to a matrix"),
    ],
)
def test_what_cannot_alert_is_refused(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=re.escape(expected)):
        alert(text)


def test_every_selector_of_an_alert_has_to_exist_but_those_that_only_take_away() -> None:
    assert alert('rate(x{a="b"}[5m]) > 0 or y > 1').present == ('count(x{a="b"})', "count(y)")
    assert alert("x > 0 unless on () y").present == ("count(x)",)
    assert alert("x > 0 and on () absent(y)").present == ("count(x)",)
    assert alert("(sum(x) or vector(0)) / sum(y) > 1").present == ("count(y)",)
    assert alert(r'x{a="\"q\\"} offset 5m > 0').present == (r'count(x{a="\"q\\"} offset 5m)',)
    assert alert('{"a.b", c="d"} > 0').present == ('count({__name__="a.b", c="d"})',)


@given(st.text(alphabet="xy<>=!, (){}[]\"'`#\\\norandbool5unles"))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (truth, alert):
        with suppress(ValueError):
            read(text)


@given(st.recursive(
    st.sampled_from(["x", "y{a='b'}", "1", "vector(1)", "time()", "rate(x[5m])", "absent(y)"]),
    lambda inner: st.builds(
        "({}) {} ({})".format, inner,
        st.sampled_from(["==", ">", "< bool", "and", "or", "unless on()", "+", "!= on(a) group_left()"]), inner,
    ), max_leaves=5,
))  # fmt: skip
def test_what_is_asked_can_be_parsed(text: str) -> None:
    with suppress(ValueError):
        demanded = truth(text)
        for comparison in demanded.comparisons:
            for query in (comparison.subject, comparison.other, comparison.as_bool):
                promql_parser.parse(query)
        for query in demanded.present:
            promql_parser.parse(query)
    with suppress(ValueError):
        wanted = alert(text)
        for query in (*wanted.present, *wanted.joined, *wanted.sides):
            promql_parser.parse(query)
