"""What PromQL expressions select: parsed, as a name in a comment, a label or an annotation selects nothing."""

from __future__ import annotations

import functools
import json
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from collectors.shared.re2 import anchored
from exporter.verdict import ProbeError

__all__ = ["LabelMatcher", "Selection", "selections", "selector"]

_ABSENT = frozenset({"absent", "absent_over_time"})
_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge
}  # fmt: skip
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
#: Summaries that are small where something is down.
_SUMMARIES = frozenset(
    {
        "sum",
        "min",
        "max",
        "avg",
        "count",
        "sum_over_time",
        "min_over_time",
        "max_over_time",
        "avg_over_time",
        "last_over_time",
    }
)
_OPERATORS = {"MatchOp.Equal": "=", "MatchOp.NotEqual": "!=", "MatchOp.Re": "=~", "MatchOp.NotRe": "!~"}


@dataclass(frozen=True, slots=True)
class LabelMatcher:
    """One label matcher; `operator` is `=`, `!=`, `=~` or `!~`."""

    name: str
    operator: str
    value: str

    def allows(self, value: str) -> bool:
        """Whether a series whose label has this value is selected. Raises ValueError for what is no regular expression."""
        if self.operator in ("=~", "!~"):
            return anchored(self.value, dot_all=True)(value) is (self.operator == "=~")
        return (value == self.value) is (self.operator == "=")


@dataclass(frozen=True, slots=True)
class Selection:
    """One vector selector. `metric` is None where the name is a pattern, or not given (then it is among `conditions`).

    `functions` are the functions and aggregations around it, innermost first; `compared` tells that it is on a side of a
    comparison (but not of one that is false of 0, as `up == 1` is), `absent` that it is looked for where it is missing,
    `excluding` that it only takes away (the right of `unless`).
    """

    metric: str | None
    conditions: tuple[LabelMatcher, ...]
    functions: tuple[str, ...] = ()
    compared: bool = False
    excluding: bool = False

    @property
    def absent(self) -> bool:
        """Whether the expression asks if there is no such series."""
        return not _ABSENT.isdisjoint(self.functions)

    def allows(self, label: str, value: str) -> bool:
        """Whether series with this value of the label may be selected."""
        return all(condition.allows(value) for condition in self.conditions if condition.name == label)

    def within(self, outer: Selection) -> Selection:
        """This selection as a part of the recording rule whose series `outer` selects."""
        return Selection(
            self.metric,
            self.conditions + tuple(condition for condition in outer.conditions if condition.name != "__name__"),
            self.functions + outer.functions,
            self.compared or outer.compared,
            self.excluding or outer.excluding,
        )


@functools.lru_cache(maxsize=20_000)
def selections(expr: str) -> tuple[Selection, ...]:
    """What an expression selects, in the order of its text. Raises ProbeError when it is not understood.

    The parser knows the language of Prometheus 2.45 and some of what came later.
    """
    import promql_parser

    try:
        return tuple(_walk(promql_parser.parse(expr), (), compared=False))
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise ProbeError(f"The expression {expr} was not understood: {reason}.") from None


def _walk(node: Any, functions: tuple[str, ...], *, compared: bool) -> Iterator[Selection]:
    kind = type(node).__name__
    if kind == "VectorSelector":
        yield from _selected(node, functions, compared=compared)
    elif kind == "MatrixSelector":
        yield from _walk(node.vector_selector, functions, compared=compared)
    elif kind == "BinaryExpr":
        compared = compared or (
            str(node.op) in _COMPARISONS and (not _ABSENT.isdisjoint(functions) or not _false_of_zero(node))
        )
        left = list(_walk(node.lhs, functions, compared=compared))
        yield from left
        if str(node.op) != "unless":
            yield from _walk(node.rhs, functions, compared=compared)
        elif left:
            for selection in _walk(node.rhs, functions, compared=compared):
                yield replace(selection, excluding=True)
        else:  # `vector(1) unless up`, which is what absent() is
            yield from _walk(node.rhs, ("absent", *functions), compared=compared)
    elif kind == "Call":
        for argument in node.args:
            yield from _walk(argument, (node.func.name, *functions), compared=compared)
    elif kind == "AggregateExpr":
        if node.param is not None:
            yield from _walk(node.param, functions, compared=compared)
        yield from _walk(node.expr, (str(node.op), *functions), compared=compared)
    elif kind in ("UnaryExpr", "ParenExpr", "SubqueryExpr"):
        yield from _walk(node.expr, functions, compared=compared)


def _false_of_zero(comparison: Any) -> bool:
    """Whether a comparison of series with a number does not hold while they are 0."""
    sign, series, number = str(comparison.op), comparison.lhs, comparison.rhs
    if type(series).__name__ == "NumberLiteral":
        sign, series, number = _MIRRORED.get(sign, sign), number, series
    return type(number).__name__ == "NumberLiteral" and _summary(series) and not _COMPARISONS[sign](0, number.val)


def _summary(node: Any) -> bool:
    """Whether an expression is a selector, or a summary of one, and not calculated with."""
    kind = type(node).__name__
    if kind == "Call":
        return node.func.name in _SUMMARIES and _summary(node.args[-1])
    if kind == "AggregateExpr":
        return str(node.op) in _SUMMARIES and _summary(node.expr)
    if kind in ("ParenExpr", "SubqueryExpr"):
        return _summary(node.expr)
    return kind in ("VectorSelector", "MatrixSelector")


def _selected(node: Any, functions: tuple[str, ...], *, compared: bool) -> Iterator[Selection]:
    """The selections of a selector: one for each alternative, where matchers are joined with `or`."""
    for matchers in node.matchers.or_matchers or [node.matchers.matchers]:
        metric = node.name
        conditions = []
        for matcher in matchers:
            condition = LabelMatcher(matcher.name, _OPERATORS[str(matcher.op)], matcher.value)
            condition.allows("")  # what is no regular expression is told here
            if condition.name == "__name__" and condition.operator == "=":
                metric = condition.value
            else:
                conditions.append(condition)
        yield Selection(metric, tuple(conditions), functions, compared)


_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def selector(metric: str, matchers: Mapping[str, str]) -> str:
    """`metric{label="value", …}` with the values escaped; raises ValueError for what is no label name."""
    for label in matchers:
        if not _LABEL.fullmatch(label):
            raise ValueError(f"{label!r} is not a label name")
    pairs = ", ".join(f"{label}={json.dumps(value, ensure_ascii=False)}" for label, value in matchers.items())
    return f"{metric}{{{pairs}}}"
