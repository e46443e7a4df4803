"""PromQL as a condition: what has to be asked so that the answers say whether it is true of every series, or alerts on none.

An instant query returns too little to judge by: a filter drops the series of which it is false, and nothing is returned both by
an alert that is quiet and by one whose series do not exist. So an expression is taken apart by the parser, at its outermost
operators, and its parts are asked for on their own.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from collectors.systems.prometheus.model.promql import selections
from exporter.verdict import ProbeError

__all__ = ["Alert", "Comparison", "Truth", "alert", "truth"]

_COMPARISONS = ("==", "!=", "<=", ">=", "<", ">")
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_COUNTS = "count"
_LONGEST, _DEEPEST = 10_000, 250  # characters, and brackets and signs
_ABSENT = ("absent", "absent_over_time")
_BLANKED = re.compile(r"""#[^\n]*|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`""")
_COMMENT = re.compile(r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)|#[^\n]*""")
_BRACKETS = re.compile(r"\([^()\[\]{}]*\)|\[[^()\[\]{}]*\]|\{[^()\[\]{}]*\}")
_OPERATOR = re.compile(r"==|!=|<=|>=|<|>|\b(?:and|or|unless)\b", re.IGNORECASE)
_ARITHMETIC = re.compile(r"[-+*/%^]|\batan2\b", re.IGNORECASE)
_SINCE = re.compile(r"\btime\s*\(\s*\)\s*-")
_ENDS = re.compile(r"[-+*/%^<>=!,)\]]|\b(?:and|or|unless|atan2|bool)\b|$", re.IGNORECASE)
_CHOOSING = ("topk", "bottomk", "limitk", "limit_ratio")
_PARTIAL = ("/", "-", "+", "%")  # by `*` people join what describes a series, and choose by that
_BOOL = re.compile(r"\s*\bbool\b", re.IGNORECASE)
_MATCHING = re.compile(
    r"\s*(?:(?:on|ignoring)\s*\([^()]*\)\s*(?:group_(?:left|right)\b\s*(?:\([^()]*\))?)?)?", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison that every series has to satisfy.

    `subject` is the side whose series are judged, `other` the one that they are compared with, `operator` stands between them in
    this order. `bound` is the value of `other` where it is a number. `as_bool` returns 1 or 0 for each series that has something
    to be compared with. `counts` says that the subject is the number of what it selects, so that nothing selected is 0. `ages`
    return the times since timestamps that it compares, `alone` the series that drop out since only one operand has them.
    """

    text: str
    subject: str
    operator: str
    other: str
    bound: float | None
    as_bool: str
    counts: bool = False
    ages: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Truth:
    """A condition that has to be true of every series. It can be judged if each query of `present` returns something."""

    text: str
    comparisons: tuple[Comparison, ...]
    present: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Alert:
    """A condition written as an alert: it is quiet while it returns nothing.

    It could have returned something if each query of `present` (its selectors) and of `joined` (its comparisons, true or not)
    returns something, and none of `sides` (what it compares) is not a number, nor one of `ages` (times since timestamps) negative.
    """

    text: str
    present: tuple[str, ...]
    joined: tuple[str, ...]
    sides: tuple[str, ...]
    ages: tuple[str, ...] = ()


@functools.lru_cache(maxsize=10_000)
def truth(text: str) -> Truth:
    """Read a condition that has to be true of every series its left side returns. Raises ValueError where it cannot be one."""
    plain, node = _parsed(text)
    parts = tuple(_comparisons(plain, node))
    required = tuple(dict.fromkeys(query for part in parts for query in _required(part[1])))
    if not required:
        raise ValueError(f"{_short(text)} selects no series that have to exist: an empty Prometheus would satisfy it")
    return Truth(text.strip(), tuple(part[0] for part in parts), required)


@functools.lru_cache(maxsize=10_000)
def alert(text: str) -> Alert:
    """Read a condition that returns nothing while all is well. Raises ValueError where it cannot be one."""
    plain, node = _parsed(text)
    if not _filters(node):
        raise ValueError(
            f"{_short(text)} returns something whenever its series exist, expected a comparison without bool, such as up == 0"
        )
    required = tuple(dict.fromkeys(_selected(node, absent=True)))
    required = required or tuple(dict.fromkeys(_selected(node, absent=True, inside=True)))
    if not required:
        raise ValueError(f"{_short(text)} selects no series: it would never alert, or always")
    joined = tuple(dict.fromkeys(_population(plain, node)))
    sides = dict(_sides(plain, node))
    _can_be_true(node)
    return Alert(text.strip(), required, joined, tuple(sides), tuple(dict.fromkeys(_ages(plain, node))))


# Parsing


def _parsed(text: str) -> tuple[str, Any]:
    """An expression without its comments, and what the parser makes of it, without brackets around it all."""
    import promql_parser

    plain = _COMMENT.sub(lambda match: match[1] or " ", text).strip()
    if not plain:
        raise ValueError("found no expression, expected a condition such as up == 1")
    if len(plain) > _LONGEST or sum(map(plain.count, "([{+-")) > _DEEPEST:  # parsers recurse
        raise ValueError(
            f"{_short(text)} is longer or deeper nested than anybody could read: record a part of it by a rule"
        )
    try:
        selections(plain)  # which also reads the regular expressions
        node = promql_parser.parse(plain)
    except ProbeError as error:
        raise ValueError(str(error).rstrip(".")) from None
    if _type(node) not in ("Vector", "Scalar"):
        raise ValueError(f"{_short(text)} evaluates to a {_type(node).lower()}, expected an instant vector")
    for selector in _selectors(node):
        if str(selector.at).startswith("@ ") and "()" not in str(selector.at):
            raise ValueError(f"{selector} reads one moment for ever, expected a selector without @")
    return _unwrapped(plain, node)


def _unwrapped(text: str, node: Any) -> tuple[str, Any]:
    while _kind(node) == "ParenExpr":
        text, node = text.strip()[1:-1].strip(), node.expr
    return text, node


def _kind(node: Any) -> str:
    return type(node).__name__


def _type(node: Any) -> str:
    """`Scalar`, `Vector`, `Matrix` or `String`."""
    match _kind(node):
        case "NumberLiteral":
            return "Scalar"
        case "StringLiteral":
            return "String"
        case "MatrixSelector" | "SubqueryExpr":
            return "Matrix"
        case "Call":
            return str(node.func.return_type).rpartition(".")[2]
        case "ParenExpr" | "UnaryExpr":
            return _type(node.expr)
        case "BinaryExpr":
            return "Scalar" if _type(node.lhs) == _type(node.rhs) == "Scalar" else "Vector"
    return "Vector"


def _operator(node: Any) -> str:
    return str(node.op).lower() if _kind(node) == "BinaryExpr" else ""


def _is_filter(node: Any) -> bool:
    """Whether it is a comparison that drops what it is false of."""
    return _operator(node) in _COMPARISONS and not (node.modifier is not None and node.modifier.return_bool)


def _children(node: Any) -> list[Any]:
    match _kind(node):
        case "BinaryExpr":
            return [node.lhs, node.rhs]
        case "Call":
            return list(node.args)
        case "AggregateExpr":
            return [node.expr] if node.param is None else [node.param, node.expr]
        case "ParenExpr" | "UnaryExpr" | "SubqueryExpr":
            return [node.expr]
        case "MatrixSelector":
            return [node.vector_selector]
    return []


def _selectors(node: Any) -> Iterator[Any]:
    if _kind(node) == "VectorSelector":
        yield node
    for child in _children(node):
        yield from _selectors(child)


def _split(text: str, node: Any) -> tuple[str, str, str, str, str]:
    """The left side of a binary expression, its operator, `bool`, its matching, and its right side, as they are written.

    The parser keeps no positions, so every operator outside of brackets is tried, and the parser asked whether it is the one.
    """
    import promql_parser

    operators = _ARITHMETIC if _operator(node) in _ARITHMETIC_OPERATORS else _OPERATOR
    for match in operators.finditer(_outside(text)):
        if match[0].lower() != _operator(node):
            continue
        left, rest = text[: match.start()], text[match.end() :]
        given = _BOOL.match(rest)
        rest = rest[given.end() :] if given else rest
        matching = _MATCHING.match(rest)
        matched = matching[0] if matching else ""
        right = rest[len(matched) :]
        try:
            sides = promql_parser.parse(left), promql_parser.parse(right)
        except ValueError:
            continue
        if (str(sides[0]), str(sides[1])) == (str(node.lhs), str(node.rhs)):
            return left.strip(), match[0], " bool" if given else "", matched.strip(), right.strip()
    raise ValueError(f"{_short(text)} could not be taken apart at its {_operator(node)}: put its sides in brackets")


_ARITHMETIC_OPERATORS = ("+", "-", "*", "/", "%", "^", "atan2")


def _outside(text: str) -> str:
    """The text with strings and everything in brackets blanked, of the same length."""

    def blank(match: re.Match[str]) -> str:
        return " " * len(match[0])

    text, before = _BLANKED.sub(blank, text), ""
    while text != before:
        text, before = _BRACKETS.sub(blank, text), text
    return text


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 120 else f"{line[:117]}..."


# What has to be true of every series


def _comparisons(text: str, node: Any) -> Iterator[tuple[Comparison, Any]]:
    """The comparisons that `and` joins, each with its node."""
    text, node = _unwrapped(text, node)
    match _operator(node):
        case "and":
            left, _, _, _, right = _split(text, node)
            yield from _comparisons(left, node.lhs)
            yield from _comparisons(right, node.rhs)
        case "or" | "unless" as operator:
            raise ValueError(
                f"{_short(text)} leaves open which series have to satisfy it: choose them on the left of a comparison, as in "
                f"(a {operator} b) > 0, or write two lines"
            )
        case operator if operator in _COMPARISONS:
            yield _comparison(text, node), node
        case _:
            _keeps_all(text, node)
            as_bool = f"({text}) != bool 0"
            yield Comparison(text, text, "!=", "0", 0.0, as_bool, _counts(node)), node


def _comparison(text: str, node: Any) -> Comparison:
    left, operator, _, matching, right = parts = _split(text, node)
    as_bool = _as_bool(parts)
    mirrored = "group_right" in matching.lower() or (
        _type(node.lhs) == "Scalar" and not (_type(node.rhs) == "Scalar" and any(_selectors(node.lhs)))
    )
    subject, judged, other, against = (
        (right, node.rhs, left, node.lhs) if mirrored else (left, node.lhs, right, node.rhs)
    )
    _keeps_all(subject, judged)
    bound = _number(against)
    if bound is not None and math.isnan(bound):
        raise ValueError(f"{_short(text)} compares with NaN, which nothing equals")
    operator = _MIRRORED.get(operator, operator) if mirrored else operator
    ages = (
        () if bound is not None and bound < 0 else tuple(dict.fromkeys(_ages(text, node)))
    )  # below 0 it is a time to come
    alone = tuple(dict.fromkeys(_alone(subject, judged)))
    return Comparison(text, subject, operator, other, bound, as_bool, _counts(judged), ages, alone)


def _as_bool(parts: tuple[str, str, str, str, str]) -> str:
    """A comparison that returns 1 or 0 instead of what it is true of."""
    left, operator, _, matching, right = parts
    return " ".join(filter(None, (left, operator, "bool", matching, right)))


def _number(node: Any) -> float | None:
    match _kind(node):
        case "NumberLiteral":
            return float(node.val)
        case "ParenExpr":
            return _number(node.expr)
        case "UnaryExpr" if (value := _number(node.expr)) is not None:
            return -value if str(node).startswith("-") else value
    return None


def _counts(node: Any) -> bool:
    """Whether it is a count in all: what it counts may be nothing."""
    while _kind(node) == "ParenExpr":
        node = node.expr
    return _kind(node) == "AggregateExpr" and str(node.op) == _COUNTS and node.modifier is None


def _ages(text: str, node: Any) -> Iterator[str]:
    """The times since timestamps that an expression compares, wherever they are: `time() - x`, and `x > time() - 3600`."""
    for before in _befores(node):
        if any(_selectors(before.rhs)) and (age := _cut(text, before)):
            yield age
    yield from _implied_ages(text, node)


def _implied_ages(text: str, node: Any) -> Iterator[str]:
    text, node = _unwrapped(text, node)
    operator = _operator(node)
    if operator in ("and", "or", "unless"):
        left, _, _, _, right = _split(text, node)
        yield from _implied_ages(left, node.lhs)
        yield from _implied_ages(right, node.rhs)
    elif operator in _COMPARISONS:
        left, _, _, _, right = _split(text, node)
        for since, other, stamps in ((node.lhs, node.rhs, right), (node.rhs, node.lhs, left)):
            while _kind(since) == "ParenExpr":
                since = since.expr
            past = _operator(since) == "-" and str(since.lhs) == "time()" and not any(_selectors(since.rhs))
            if past and any(_selectors(other)) and "time()" not in str(other):
                yield f"time() - ({stamps})"


def _befores(node: Any) -> Iterator[Any]:
    """The differences `time() - …` in an expression."""
    if _operator(node) == "-" and str(node.lhs) == "time()":
        yield node
    for child in _children(node):
        yield from _befores(child)


def _cut(text: str, node: Any) -> str | None:
    """A difference `time() - …` as it is written somewhere in a text."""
    import promql_parser

    for start in _SINCE.finditer(text):
        for end in _ENDS.finditer(text, start.end()):
            try:
                found = promql_parser.parse(text[start.start() : end.start()])
            except ValueError:
                continue
            if str(found) == str(node):
                return text[start.start() : end.start()].strip()
    return None


def _alone(text: str, node: Any) -> Iterator[str]:
    """Queries that return the series of which a calculation has but one operand, so that they drop out and are never judged."""
    text, node = _unwrapped(text, node)
    if _kind(node) == "Call" or _operator(node) not in _ARITHMETIC_OPERATORS:
        return
    left, operator, _, matching, right = _split(text, node)
    yield from _alone(left, node.lhs)
    yield from _alone(right, node.rhs)
    if operator in _PARTIAL and _type(node.lhs) == _type(node.rhs) == "Vector":
        many, one = (right, left) if "group_right" in matching.lower() else (left, right)
        yield " ".join(filter(None, (f"({many}) unless", _GROUPED.sub("", matching).strip(), f"({one})")))


_GROUPED = re.compile(r"\bgroup_(?:left|right)\b.*", re.IGNORECASE | re.DOTALL)


def _keeps_all(text: str, node: Any) -> None:
    """Refuse a side that drops the very series of which something is false, so that they would never be judged."""
    match _kind(node):
        case "BinaryExpr" if _is_filter(node):
            raise ValueError(
                f"{_short(text)} drops the series that do not satisfy it, so they would never be judged: "
                "write a line for each comparison"
            )
        case "BinaryExpr":
            _keeps_all(text, node.lhs)
            if _operator(node) not in ("and", "unless"):
                _keeps_all(text, node.rhs)
        case "AggregateExpr" if str(node.op) in _CHOOSING:
            raise ValueError(
                f"{_short(text)} drops series by {node.op}, so they would never be judged: compare max(), min() or all of them"
            )
        case "ParenExpr" | "UnaryExpr":
            _keeps_all(text, node.expr)
        case "Call" if node.func.name not in (*_ABSENT, "scalar"):
            for argument in node.args:
                _keeps_all(text, argument)


def _required(node: Any) -> Iterator[str]:
    """Queries that return something where the series exist that an expression is about.

    Of two alternatives (`a or b`) one is enough. What has a constant to fall back on (`a or vector(0)`) may be missing, unless
    there is nothing else; what is looked for where it is missing, or only takes away, does not count.
    """
    found, fallen_back = list(_needed(node, constant=False)), list(_needed(node, constant=True))
    yield from found or fallen_back


def _needed(node: Any, *, constant: bool) -> Iterator[str]:
    match _kind(node):
        case "VectorSelector":
            yield _existing(node)
        case "BinaryExpr" if _operator(node) == "or":
            sides = [list(_needed(side, constant=constant)) for side in (node.lhs, node.rhs)]
            if sides[0] and sides[1]:
                yield " or ".join(dict.fromkeys((*sides[0], *sides[1])))
            elif constant or any(_selectors(node.rhs)):
                yield from (*sides[0], *sides[1])
        case "BinaryExpr" if _operator(node) == "unless":
            yield from _needed(node.lhs, constant=constant)
        case "Call" if node.func.name in _ABSENT:
            return
        case _:
            for child in _children(node):
                yield from _needed(child, constant=constant)


def _existing(selector: Any, over: timedelta | None = None) -> str:
    """A query that returns one number where a selector has series now, or had some `over` a range up to now."""
    matchers = selector.matchers
    alternatives = matchers.or_matchers or [matchers.matchers]
    texts = [
        ", ".join(
            f"{_label(one.name)}{_OPERATORS[str(one.op)]}{json.dumps(one.value, ensure_ascii=False)}" for one in group
        )
        for group in alternatives
    ]
    offset = f" {found[0]}" if (found := _OFFSET.search(str(selector))) else ""
    inside = " or ".join(texts)
    text = f"{selector.name or ''}{f'{{{inside}}}' if inside else ''}"
    if over is None:
        return f"count({text}{offset})"
    return f"count(present_over_time({text}[{round(over.total_seconds() * 1000)}ms]{offset}))"


_OPERATORS = {"MatchOp.Equal": "=", "MatchOp.NotEqual": "!=", "MatchOp.Re": "=~", "MatchOp.NotRe": "!~"}
_OFFSET = re.compile(r"offset -?[0-9a-z]+(?=(?: @ \S+)?$)")
_PLAIN_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def _label(name: str) -> str:
    return name if _PLAIN_LABEL.fullmatch(name) else json.dumps(name, ensure_ascii=False)


# What alerts


def _filters(node: Any) -> bool:
    """Whether it can return nothing although its series exist."""
    if _is_filter(node) or _operator(node) in ("and", "unless"):
        return True
    if _kind(node) == "Call" and node.func.name in _ABSENT:
        return True
    if _operator(node) == "or":
        return _filters(node.lhs) and _filters(node.rhs)
    return any(_filters(child) for child in _children(node))


def _can_be_true(node: Any) -> None:
    """Refuse a comparison that no number satisfies."""
    if _operator(node) in _COMPARISONS:
        operator, bound = _operator(node), _number(node.rhs)
        if bound is None and (bound := _number(node.lhs)) is not None:
            operator = _MIRRORED.get(operator, operator)
        if bound is not None and (
            (math.isnan(bound) and operator != "!=")
            or (bound == math.inf and operator == ">")
            or (bound == -math.inf and operator == "<")
        ):
            raise ValueError(f"{_short(str(node))} is true of no number, so it would never alert")
    for child in _children(node):
        _can_be_true(child)


def _selected(node: Any, *, absent: bool, inside: bool = False) -> Iterator[str]:
    """Queries that return something where the series exist that an alert needs: all but what only takes away.

    `absent` says whether series that are looked for where they are missing count: `absent(up)` is quiet because there are some,
    but on a side of `and` it is only a condition more. `inside` takes also those.
    """
    match _kind(node):
        case "VectorSelector":
            yield _existing(node)
        case "BinaryExpr" if _operator(node) == "unless":
            yield from _selected(node.lhs, absent=absent, inside=inside)
        case "BinaryExpr" if _operator(node) == "and":
            yield from _selected(node.lhs, absent=False, inside=inside)
            yield from _selected(node.rhs, absent=False, inside=inside)
        case "BinaryExpr" if _operator(node) == "or" and not any(_selectors(node.rhs)):
            if inside:
                yield from _selected(node.lhs, absent=absent, inside=inside)
        case "Call" if node.func.name in _ABSENT and not (absent or inside):
            return
        case "Call" if node.func.name == "absent_over_time" and _kind(node.args[0]) == "MatrixSelector":
            yield _existing(node.args[0].vector_selector, node.args[0].range)
        case _:
            for child in _children(node):
                yield from _selected(child, absent=absent, inside=inside)


def _population(text: str, node: Any) -> Iterator[str]:
    """Queries that return what an alert chooses from, whether it alerts or not: its comparisons with `bool`, joined as it joins.

    Nothing where that cannot be asked, as a side filters by itself.
    """
    text, node = _unwrapped(text, node)
    match _operator(node):
        case "and":
            left, operator, _, matching, right = _split(text, node)
            sides = list(_population(left, node.lhs)), list(_population(right, node.rhs))
            if sides[0] and sides[1]:
                yield from (f"({one}) {operator} {matching} ({other})" for one in sides[0] for other in sides[1])
            else:
                yield from (*sides[0], *sides[1])
        case "unless":
            yield from _population(_split(text, node)[0], node.lhs)
        case "or":
            left, _, _, _, right = _split(text, node)
            yield from _population(left, node.lhs)
            yield from _population(right, node.rhs)
        case operator if operator in _COMPARISONS:
            if not (_may_be_empty(node.lhs) or _may_be_empty(node.rhs)):
                yield _as_bool(_split(text, node))
        case _:
            if not _may_be_empty(node):
                yield text


def _may_be_empty(node: Any) -> bool:
    """Whether a side of a comparison may return nothing though its series exist."""
    return _filters(node) or any(_may_be_empty(child) for child in _children(node))


def _sides(text: str, node: Any) -> Iterator[tuple[str, Any]]:
    """What an alert compares, but for numbers, each with its node."""
    text, node = _unwrapped(text, node)
    operator = _operator(node)
    if operator in ("and", "or"):
        left, _, _, _, right = _split(text, node)
        yield from _sides(left, node.lhs)
        yield from _sides(right, node.rhs)
    elif operator == "unless":
        yield from _sides(_split(text, node)[0], node.lhs)
    elif operator in _COMPARISONS:
        left, _, _, _, right = _split(text, node)
        if _number(node.lhs) is None:
            yield left, node.lhs
        if _number(node.rhs) is None:
            yield right, node.rhs
