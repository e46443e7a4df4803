"""Conditions on labels and the regular expressions in them; that they mean what Alertmanager means, the routes' corpus shows."""

from __future__ import annotations

import pytest

from collectors.shared.re2 import anchored
from collectors.systems.alertmanager.model.matchers import Matcher, parse_matchers


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ('severity="critical"', [("severity", "=", "critical")]),
        ("severity=critical", [("severity", "=", "critical")]),
        ('{a = "b", c!~"d|e", }', [("a", "=", "b"), ("c", "!~", "d|e")]),
        ("", []),
        ("{}", []),
        ('a="b,c"', [("a", "=", "b,c")]),
        (r'a="say \"hi\", \\ \n \w"', [("a", "=", 'say "hi", \\ \n \\w')]),
        ("a=b\\", [("a", "=", "b\\")]),
        (r"a=\"b\"", [("a", "=", '"b"')]),
        ('"my label"="x"', [("my label", "=", "x")]),
        (r'{"é\t\u00e9\U0001F600\x41\101"=~"x.*"}', [("é\té😀AA", "=~", "x.*")]),
        ("naïve=x, b!=y,", [("naïve", "=", "x"), ("b", "!=", "y")]),
    ],
)
def test_notations(text: str, read: list[tuple[str, str, str]]) -> None:
    assert [(matcher.name, matcher.operator, matcher.value) for matcher in parse_matchers(text)] == read


@pytest.mark.parametrize(
    "text",
    [
        "severity",
        "=x",
        'a="b',
        'a="b" c',
        'a=b"c',
        'a="b"c"',
        '"a b"=',
        '{"a b"="c"',
        '""="x"',
        '"a b"="c" "d"="e"',
        "'a b'=c",
        r'"a\q b"="c"',
        r'"a\ud800 b"="c"',
        r'"a\xff b"="c"',
        'a=~"("',
        'a="b",,c="d"',
    ],
)
def test_what_is_no_matcher_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - several sentences
        parse_matchers(text)


def test_a_missing_label_is_empty() -> None:
    assert Matcher.of("team", "=", "").matches({})
    assert Matcher.of("team", "!=", "db").matches({})
    assert Matcher.of("team", "=~", "|x").matches({})
    assert not Matcher.of("team", "=~", ".+").matches({})
    assert str(Matcher.of("team", "!~", "db")) == 'team!~"db"'


@pytest.mark.parametrize(
    ("pattern", "matches", "fails"),
    [
        ("a|bc", ["a", "bc"], ["abc", "a\n", "xa"]),
        (r"\d+", ["12"], ["٣"]),
        (r"\w", ["a", "_"], ["é"]),
        (r"[\d\s]+", ["1 2\t"], ["\v", "a"]),
        (r"\S\D\W", ["ab-"], ["1 1"]),
        (r"a.b", ["a-b"], ["a\nb"]),
        (r"a{2}{", ["aa{"], ["aa"]),
        (r"a{,2}", ["a{,2}"], ["aa"]),
        (r"[^]a]", ["b"], ["]", "a"]),
        (r"[a&&b]", ["&", "a"], ["&&"]),
        (r"[[]", ["["], ["x"]),
        (r"[a-]", ["-"], ["b"]),
        (r"[*--]", ["-", "+"], ["."]),
        (r"[\x41-\x{43}\104]", ["B", "D"], ["E"]),
        (r"\Q.*\E.", [".*x"], ["xx"]),
        (r"x\by|x\B1", ["x1"], ["xy"]),
        (r"\<a\>", ["<a>"], ["a"]),
        (r"(?i)é", ["É"], ["e"]),
        (r"\p{Greek}\PN", ["αa"], ["aa", "α1"]),
    ],
)
def test_patterns_mean_what_re2_means(pattern: str, matches: list[str], fails: list[str]) -> None:
    test = anchored(pattern)
    assert [text for text in matches if not test(text)] == []
    assert [text for text in fails if test(text)] == []


@pytest.mark.parametrize(
    "pattern", ["(", "[a", "a\\", r"(?=a)", r"(a)\1", r"\Qa", r"\8", "[", "[a-", "x**(", r"\p{Klingon}"]
)
def test_what_re2_refuses_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="is no regular expression of RE2"):
        anchored(pattern)


def test_a_dot_matches_a_line_feed_where_it_shall() -> None:
    assert anchored("a.b", dot_all=True)("a\nb")


def test_no_pattern_takes_for_ever() -> None:
    assert not anchored("(a+)+b")("a" * 100_000)
