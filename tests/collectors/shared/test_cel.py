"""Conditions in CEL: what is stricter than CEL, what is said of one that is not met, and that nothing breaks on any answer."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from collectors.shared.cel import Facts, Language, json_of, never_vacuous

LANGUAGE = Language(json="dyn", text="string", latency="duration", names="list(string)", up="bool", at="timestamp")
CONDITION: TypeAdapter[str] = TypeAdapter(Annotated[str, LANGUAGE.condition])
NOW = datetime.now(UTC)
PAST = datetime(2020, 1, 1, tzinfo=UTC)  # test ids are the same in every process
ANSWER: dict[str, Any] = {
    "items": [{"x": 5}, {"x": 1}],
    "none": [],
    "state": None,
    "deep": {"list": [{"list": []}]},
    "n": 3,
    "error": "bad",
}
FACTS = Facts(json=ANSWER, text="ready", latency=timedelta(milliseconds=20), names=["a", "b"], up=True, at=PAST)


@pytest.mark.parametrize(
    ("condition", "why"),
    [
        ("json.n == 3", None),
        ("json.n == 3.0 && up", None),
        ("json.items.all(i, i.x > 0)", None),
        ("json.items.all(i, i.x > 1)", "json.items is a list of 2, it is not true of 1 of 2"),
        ("json.n == 4", "json.n is 3"),
        ('text == "ready" && json.n == 4', 'text is "ready", json.n is 3'),
        ('"c" in names', 'names is ["a", "b"]'),
        ("latency > duration('1s')", "latency is 20ms"),
        ("json.gone == 1", "it has no key gone"),
        ("json.error > 5", "types do not match in _>_(string, int64)"),
        ('age(at) < duration("1h")', "at is 2020-01-01 00:00:00 UTC"),
        # Nothing passes by what it does not have.
        ("json.none.all(i, i.x > 0)", "json.none is an empty list"),
        ("size(json.none) == 0 || json.none.all(i, i.x > 0)", None),
        ("json.deep.list.all(d, d.list.all(i, i.x > 0))", "json.deep.list is a list of 1, it is not true of 1 of 1"),
        ("json.items.filter(i, i.x > 9).all(i, i.x > 0)", "json.items is a list of 2"),
        ('json.state != "broken"', "json.state is null"),
        ('!(json.state in ["broken"])', "json.state is null"),
        ("json.state == null", None),
        ('json.state == null || json.state != "broken"', None),
        ("has(json.state)", "json.state is null or absent"),
        ("!has(json.state)", None),
        ('json.state == "x" || json.n == 3', None),
        # What looks like a variable is none.
        ('text == "json.n.all(x, y)"', 'text is "ready"'),
        ("json.items.exists(text, text.x == 9)", "json.items is a list of 2"),
    ],
)  # fmt: skip
def test_what_is_not_met_is_explained(condition: str, why: str | None) -> None:
    assert LANGUAGE.unmet(CONDITION.validate_python(condition), FACTS) == why


@pytest.mark.parametrize(
    ("moment", "why"),
    [
        (NOW - timedelta(minutes=5), None),
        (NOW + timedelta(seconds=20), None),  # of a clock that is a little fast
        (NOW + timedelta(hours=1), "lies in the future"),
        (NOW - timedelta(days=2), "json.at is"),
    ],
)
def test_an_age_is_of_the_past(moment: datetime, why: str | None) -> None:
    found = LANGUAGE.unmet('age(json.at) < duration("1h")', Facts(json={"at": moment.isoformat()}))
    assert found == why if why is None else why in str(found)


@pytest.mark.parametrize("text", ["yesterday", "2026-01-01", "2026-01-01T00:00:00", "", "\ud800"[:0]])
def test_what_is_no_time_has_no_age(text: str) -> None:
    found = LANGUAGE.unmet('age(json.at) < duration("1h")', Facts(json={"at": text}))
    assert found
    assert re.search("is no time|does not say in which time zone", found)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("json.n ==", "expected a condition in CEL: at character 10"),
        ("jsn.n == 1", "undeclared reference to 'jsn.n'"),
        ("\n\nnames == 1", "in its line 3, at character"),
        ("size(names)", "this one is of type int"),
        ("1 == 1", "names json, text, latency, names, up or at; this one is the same for every answer"),
        ("latency < 5", "found no matching overload"),
        ('latency < duration("21d")', '"21d" is no duration (its units are h, m, s and ms: 21 days are 504h)'),
        ('at > timestamp("today")', '"today" is no time'),
        ('text.matches("[")', '"[" is no regular expression'),
        ('text == "' + "x" * 5000 + '"', "at most 4000 characters"),
        ("up(", "expected a condition in CEL"),
    ],
)
def test_what_is_no_condition_is_refused(condition: str, expected: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(expected)):
        CONDITION.validate_python(condition)


@pytest.mark.parametrize(
    ("text", "strict"),
    [
        ("json.n == 3", "json.n == 3"),
        ("!a.all(x, x) && b", "! ( size ( a ) > 0 && a . all ( x , x ) ) && b"),
        ("q in (a).all(x, x)", "q in ( size ( ( a ) ) > 0 && ( a ) . all ( x , x ) )"),
        ("f(a)[0].b.all(x, x)", "( size ( f ( a ) [ 0 ] . b ) > 0 && f ( a ) [ 0 ] . b . all ( x , x ) )"),
        ("[1, 2].all(x, x < .5e-3)", "( size ( [ 1 , 2 ] ) > 0 && [ 1 , 2 ] . all ( x , x < .5e-3 ) )"),
        ("'a.all(' == r'\\' // all(", "'a.all(' == r'\\' // all("),
    ],
)
def test_all_is_false_of_an_empty_list(text: str, strict: str) -> None:
    assert never_vacuous(text) == strict


def test_secrets_may_be_kept_from_what_is_shown() -> None:
    assert LANGUAGE.unmet('text == "x" && up', FACTS, show_texts=False) == "text is a text of 5 characters, up is true"
    assert LANGUAGE.unmet('"x" in names', FACTS, show_texts=False) == "names is a list of 2"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcx"), inner, max_size=3),
    max_leaves=12,
)
PATHS = st.sampled_from(["json", "json.a", "json.a.b", "json.a[0]", "json.x", "json['c']", "names", "text"])
TESTS = st.sampled_from(
    ["{} == 1", '{} != "b"', "{} > 2", "size({}) > 0", "{}.all(i, i.x > 1)", "{}.exists(i, i == text)", "!({} in names)",
     "{}.filter(i, i > 1).all(j, j.all(k, k != null))", 'age({}) < duration("1h")', "has(json.a) && {} == json.b", "{}"]
)  # fmt: skip
CONDITIONS = st.lists(st.builds(str.format, TESTS, PATHS), min_size=1, max_size=3).map(" && ".join)


@given(condition=CONDITIONS, value=VALUES)
@settings(max_examples=300, deadline=None)
def test_any_condition_on_any_answer_is_met_or_explained(condition: str, value: Any) -> None:
    try:
        CONDITION.validate_python(condition)
    except ValidationError:
        return
    facts = Facts(json=value, names=["a"], text="a")
    why = LANGUAGE.unmet(condition, facts)
    assert why is None or why
    assert why is not None or LANGUAGE.value_of(condition, facts) is True


@given(text=st.text(max_size=60) | st.text(alphabet="ab.()[]{}'\"&|!=<> all,0json\\", max_size=60))
@settings(max_examples=400, deadline=None)
def test_any_text_is_a_condition_or_refused(text: str) -> None:
    """The text of a configuration: no surrogates."""
    try:
        assert CONDITION.validate_python(text) == text
    except ValidationError as error:
        (problem,) = error.errors()
        assert problem["msg"].startswith("Value error, expected a condition ")


@pytest.mark.parametrize("text", [b"", b"{", b'"\\ud800"', b"[" * 100_000, b"NaN", b"\xff"])
def test_what_is_no_json(text: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        json_of(text)


def test_numbers_beyond_64_bits_are_floats() -> None:
    assert json_of(b"[9223372036854775807, 9223372036854775808]") == [2**63 - 1, float(2**63)]
