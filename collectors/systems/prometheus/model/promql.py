"""What PromQL expressions select: parsed, as a name in a comment, a label or an annotation selects nothing."""

from __future__ import annotations

import functools
import json
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from collectors.shared.re2 import anchored
from exporter.verdict import ProbeError, Reason

__all__ = ["LabelMatcher", "Selection", "parse", "past_of", "selections", "selections_of", "selector", "vanishing"]

_ABSENT = frozenset({"absent", "absent_over_time"})
VANISHED = "vanished"
"""What stands among the functions of a selection that is taken away from what it gave a while ago."""
#: What of the past is there still while a series is gone.
_OVER_TIME = frozenset(
    {
        "present_over_time",
        "count_over_time",
        "last_over_time",
        "max_over_time",
        "min_over_time",
        "avg_over_time",
        "sum_over_time",
    }
)
_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge
}  # fmt: skip
#: Whether a comparison wants much (1) or little (-1) of its left side.
_BOUNDS = {">": 1, ">=": 1, "<": -1, "<=": -1, "==": 0, "!=": 0}
#: Functions of which it is not known whether they grow with what they are given.
_UNSIGNED = frozenset(
    ["abs", "absent", "absent_over_time", "changes", "resets", "histogram_fraction", "scalar", "sgn", "stddev_over_time"]
)  # fmt: skip
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

    `functions` are the functions and aggregations around it, innermost first; `compared` shows that it is on a side of a
    comparison (but not of one that is false of 0, as `up == 1` is), `absent` that it is looked for where it is missing,
    `excluding` that it only takes away (the right of `unless`).
    `sign` is -1 where the expression shrinks as the value grows (`1 - x`, `a / x`), 0 where that is not known. `bound` is 1 where
    the nearest comparison wants much, -1 where it wants little, 0 for a difference, None where nothing is compared. `over` names
    what it is divided by, `under` what it divides.
    """

    metric: str | None
    conditions: tuple[LabelMatcher, ...]
    functions: tuple[str, ...] = ()
    compared: bool = False
    excluding: bool = False
    sign: int = field(default=1, compare=False)
    bound: int | None = field(default=None, compare=False)
    over: tuple[str, ...] = field(default=(), compare=False)
    under: tuple[str, ...] = field(default=(), compare=False)

    @property
    def absent(self) -> bool:
        """Whether the expression asks if there is no such series."""
        return self.vanished or not _ABSENT.isdisjoint(self.functions)

    @property
    def vanished(self) -> bool:
        """Whether it asks so of each series that there was (`up offset 5m unless up`)."""
        return VANISHED in self.functions

    @property
    def fires_when_high(self) -> bool:
        """Whether a high value may be what the comparison is about."""
        return self.bound is not None and self.sign * self.bound >= 0

    @property
    def fires_when_low(self) -> bool:
        """Whether a low value may be what the comparison is about."""
        return self.bound is not None and self.sign * self.bound <= 0

    def allows(self, label: str, value: str) -> bool:
        """Whether series with this value of the label may be selected."""
        return all(condition.allows(value) for condition in self.conditions if condition.name == label)

    def within(self, outer: Selection) -> Selection:
        """This selection as a part of the recording rule whose series `outer` selects."""
        inner_bound = self.bound is not None
        return Selection(
            self.metric,
            self.conditions + tuple(condition for condition in outer.conditions if condition.name != "__name__"),
            self.functions + outer.functions,
            self.compared or outer.compared,
            self.excluding or outer.excluding,
            self.sign if inner_bound else self.sign * outer.sign,
            self.bound if inner_bound else outer.bound,
            self.over or outer.over,
            self.under or outer.under,
        )


def parse(expr: str) -> Any:
    """The syntax tree of an expression. Raises ProbeError when it is not understood.

    The parser knows the language of Prometheus 2.45 and some of what came later.
    """
    import promql_parser

    try:
        return promql_parser.parse(expr)
    except (ValueError, RecursionError) as error:
        raise _not_understood(expr, error) from None


def _not_understood(expr: str, error: Exception) -> ProbeError:
    reason = " ".join(str(error).split())[:200].rstrip(".")
    return ProbeError(f"The expression {expr} was not understood: {reason}.", Reason.MALFORMED)


@functools.lru_cache(maxsize=20_000)
def selections(expr: str) -> tuple[Selection, ...]:
    """What an expression selects, in the order of its text. Raises ProbeError when it is not understood."""
    return selections_of(parse(expr), expr)


def selections_of(node: Any, expr: str) -> tuple[Selection, ...]:
    """What a part of an expression selects. Raises ProbeError when it is not understood."""
    try:
        return tuple(_walk(node, _Around()))
    except (ValueError, RecursionError) as error:
        raise _not_understood(expr, error) from None


@dataclass(frozen=True, slots=True)
class _Around:
    """What surrounds a node of the tree: see Selection."""

    functions: tuple[str, ...] = ()
    compared: bool = False
    sign: int = 1
    bound: int | None = None


def _walk(node: Any, around: _Around) -> Iterator[Selection]:
    kind = type(node).__name__
    if kind == "VectorSelector":
        yield from _selected(node, around)
    elif kind == "MatrixSelector":
        yield from _walk(node.vector_selector, around)
    elif kind == "BinaryExpr":
        yield from _joined(node, around)
    elif kind == "Call":
        name = node.func.name
        sign = 0 if name in _UNSIGNED else around.sign
        for argument in node.args:
            yield from _walk(argument, replace(around, functions=(name, *around.functions), sign=sign))
    elif kind == "AggregateExpr":
        if node.param is not None:
            yield from _walk(node.param, around)
        yield from _walk(node.expr, replace(around, functions=(str(node.op), *around.functions)))
    elif kind == "UnaryExpr":
        yield from _walk(node.expr, replace(around, sign=-around.sign))
    elif kind in ("ParenExpr", "SubqueryExpr"):
        yield from _walk(node.expr, around)


def _joined(node: Any, around: _Around) -> Iterator[Selection]:
    """The selections on both sides of an operator."""
    operation = str(node.op)
    left_around = right_around = around
    if operation in _COMPARISONS:
        compared = around.compared or not _ABSENT.isdisjoint(around.functions) or not _false_of_zero(node)
        bound = _BOUNDS[operation]
        left_around = replace(around, compared=compared, sign=1, bound=bound)
        right_around = replace(around, compared=compared, sign=1, bound=-bound)
    elif operation in ("-", "/"):
        right_around = replace(around, sign=-around.sign)
    left = list(_walk(node.lhs, left_around))
    if operation in _COMPARISONS and _has_default(node.lhs):  # (sum(up) or vector(0)) < 1 asks for what is missing, too
        left += [replace(found, functions=("absent", *found.functions)) for found in left]
    if operation == "unless":
        yield from left
        if vanishing(node):
            for selection in _walk(node.rhs, right_around):
                yield replace(selection, functions=(*selection.functions, VANISHED))
                if selection.bound is not None:  # of what is there as well, if it is not as it was
                    yield replace(selection, compared=True, sign=-selection.sign)
        elif left:
            for selection in _walk(node.rhs, replace(around, bound=None)):
                yield replace(selection, excluding=True)
        else:  # `vector(1) unless up`, which is what absent() is
            yield from _walk(node.rhs, replace(around, functions=("absent", *around.functions)))
        return
    right = list(_walk(node.rhs, right_around))
    if operation == "/":
        over, under = _names(right), _names(left)
        left = [replace(selection, over=selection.over or over) for selection in left]
        right = [replace(selection, under=selection.under or under) for selection in right]
    yield from left
    yield from right


def vanishing(node: Any) -> bool:
    """Whether an operator takes what is there now (or is now so) away from what was there a while ago, series by series."""
    if type(node).__name__ != "BinaryExpr" or str(node.op) != "unless" or not past_of(node.lhs) or past_of(node.rhs):
        return False
    if node.modifier is not None and node.modifier.matching is not None and not list(node.modifier.matching.labels):
        return False
    if _asks_for_bad(node.rhs):
        return False
    before, now = ({found.metric for found in _walk(side, _Around())} for side in (node.lhs, node.rhs))
    return len(now) == 1 and before == now and _apart(node.rhs)


def past_of(node: Any) -> timedelta:
    """How long ago the first of what an expression selects may have ended; nothing where any of it is of now."""
    kind = type(node).__name__
    if kind == "VectorSelector":
        return node.offset if isinstance(node.offset, timedelta) else timedelta()
    if kind == "MatrixSelector":
        return past_of(node.vector_selector)
    if kind == "Call" and node.func.name in _OVER_TIME:
        looked = node.args[-1]
        length = getattr(looked, "range", None)
        return (length if isinstance(length, timedelta) else timedelta()) + past_of(looked)
    if kind == "BinaryExpr":
        return min(past_of(node.lhs), past_of(node.rhs)) if _selects_any(node.rhs) else past_of(node.lhs)
    inner = (
        [node.expr]
        if kind in ("AggregateExpr", "ParenExpr", "UnaryExpr", "SubqueryExpr")
        else list(getattr(node, "args", None) or ())
    )
    return min(map(past_of, inner), default=timedelta())


def _selects_any(node: Any) -> bool:
    return any(True for _ in _walk(node, _Around()))


def _asks_for_bad(node: Any) -> bool:
    """Whether it is a comparison that is true of 0: of what is down."""
    while type(node).__name__ == "ParenExpr":
        node = node.expr
    return type(node).__name__ == "BinaryExpr" and str(node.op) in _COMPARISONS and not _false_of_zero(node)


def _apart(node: Any) -> bool:
    """Whether an expression still tells jobs apart."""
    kind = type(node).__name__
    if kind == "AggregateExpr":
        if node.modifier is None:
            return False
        named, by = set(node.modifier.labels), str(node.modifier.type).endswith("By")
        return ("job" in named or "instance" in named) is by and _apart(node.expr)
    if kind == "BinaryExpr":
        return _apart(node.lhs)
    if kind == "Call":
        return all(map(_apart, node.args))
    return _apart(node.expr) if kind in ("ParenExpr", "SubqueryExpr") else True


def _has_default(node: Any) -> bool:
    """Whether an expression has a number where it selects nothing."""
    while type(node).__name__ == "ParenExpr":
        node = node.expr
    if type(node).__name__ != "BinaryExpr" or str(node.op) != "or":
        return False
    return not any(True for _ in _walk(node.rhs, _Around()))


def _names(selected: Iterable[Selection]) -> tuple[str, ...]:
    return tuple(selection.metric for selection in selected if selection.metric)


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


def _selected(node: Any, around: _Around) -> Iterator[Selection]:
    """The selections of a selector: one for each alternative, where matchers are joined with `or`."""
    for matchers in node.matchers.or_matchers or [node.matchers.matchers]:
        metric = node.name
        conditions = []
        for matcher in matchers:
            condition = LabelMatcher(matcher.name, _OPERATORS[str(matcher.op)], matcher.value)
            condition.allows("")  # what is no regular expression is refused here
            if condition.name == "__name__" and condition.operator == "=":
                metric = condition.value
            else:
                conditions.append(condition)
        yield Selection(
            metric, tuple(conditions), around.functions, around.compared, sign=around.sign, bound=around.bound
        )


_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def selector(metric: str, matchers: Mapping[str, str]) -> str:
    """`metric{label="value", …}` with the values escaped; raises ValueError for what is no label name."""
    for label in matchers:
        if not _LABEL.fullmatch(label):
            raise ValueError(f"{label!r} is not a label name")
    pairs = ", ".join(f"{label}={json.dumps(value, ensure_ascii=False)}" for label, value in matchers.items())
    return f"{metric}{{{pairs}}}"
