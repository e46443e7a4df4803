"""When an expression can be true: its alternatives, and each without its comparisons, as what a server may be asked for.

`a / on(x) b > 5` is true of nothing today. That `a / on(x) b > bool 5` gives nothing either means that it never will be.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from collectors.systems.prometheus.model.promql import Selection, parse, selections_of
from exporter.options import format_duration

__all__ = ["alternatives", "always_fires", "clock_of", "never_true", "possible"]

Filters = Callable[[str], bool]

_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
_OF_TWO_SAMPLES = frozenset({"rate", "irate", "increase", "delta", "idelta", "deriv", "predict_linear"})
_ABSENT = frozenset({"absent", "absent_over_time"})
_OF_THE_CLOCK = frozenset(
    {"hour", "minute", "day_of_week", "day_of_month", "day_of_year", "days_in_month", "month", "year"}
)
#: What is free or used of a size, and the size.
_PART = re.compile(r"(\w+?_)(?:avail|available|free|used|MemAvailable|MemFree)_bytes")
_SIZE = re.compile(r"(\w+?_)(?:size|capacity|total|MemTotal)_bytes")
_QUOTED_OR_BRACE = re.compile(r"\"(?:[^\"\\\\]|\\\\.)*\"|'(?:[^'\\\\]|\\\\.)*'|`[^`]*`|[{}]")


@functools.lru_cache(maxsize=20_000)
def alternatives(expr: str) -> tuple[tuple[str, tuple[Selection, ...]], ...]:
    """The expressions of which any one is enough for this one (the sides of `or`), and what each selects.

    Raises ProbeError when it is not understood.
    """
    return tuple((node.prettify(), selections_of(node, expr)) for node in _alternatives(parse(expr)))


def _alternatives(node: Any) -> Iterator[Any]:
    kind = type(node).__name__
    if kind == "ParenExpr":
        yield from _alternatives(node.expr)
    elif kind == "BinaryExpr" and str(node.op) == "or":
        yield from _alternatives(node.lhs)
        yield from _alternatives(node.rhs)
    else:
        yield node


def always_fires(expr: str) -> str:
    """Why an expression is true whatever is measured, as the end of a sentence; empty where it may be false.

    It compares with `bool`, and so gives 0 where it is false; or a share of a whole with more than it can be; or a quantile
    above 1.
    """
    return next(filter(None, (_always(_bare(node)) for node in _alternatives(parse(expr)))), "")


def _always(node: Any) -> str:
    operation = _comparison(node)
    if not operation:
        return ""
    if _returns_bool(node):
        return "its comparison has the modifier bool, which filters nothing"
    left, bound = _bare(node.lhs), _number(node.rhs)
    quantile = _number(left.args[0]) if _type(left) == "Call" and left.func.name == "histogram_quantile" else None
    if quantile is not None and quantile > 1 and operation in (">", ">="):
        return f"the quantile {quantile:g} is above 1, which gives infinity"
    most = _most(left)
    if most is None or bound is None:
        return ""
    below = (operation == "<" and bound > most) or (operation == "<=" and bound >= most)
    above = (operation == ">" and bound < 0) or (operation == ">=" and bound <= 0)
    return f"its left side is a share of a whole, which is always {operation} {bound:g}" if below or above else ""


def clock_of(expr: str) -> str:
    """The function of the time of day, week or year that an expression asks for; empty where there is none."""
    calls = (node.func.name for node in _nodes(parse(expr)) if _type(node) == "Call")
    return next((name for name in calls if name in _OF_THE_CLOCK), "")


def never_true(expr: str) -> str:
    """Why no series whatever can make an expression true, as the end of a sentence; empty where one could.

    A share of a whole is never more than 1 (5 was meant as percent), count() of nothing is nothing, not 0, and a quantile needs
    buckets.
    """
    return _never(parse(expr))


def _never(node: Any) -> str:
    node = _bare(node)
    if _type(node) == "BinaryExpr" and str(node.op) in ("and", "unless"):
        return _never(node.lhs) or (_never(node.rhs) if str(node.op) == "and" else "")
    if any(map(_lacks_buckets, _nodes(node))):
        return "histogram_quantile() gets no buckets, as the label le is aggregated away"
    operation = _comparison(node)
    if not operation or (bound := _number(node.rhs)) is None:
        return ""
    left = _bare(node.lhs)
    most = _most(left)
    if most is not None and ((operation == ">" and bound >= most) or (operation == ">=" and bound > most)):
        return f"its left side is a share of a whole, which is never {operation} {bound:g}"
    counts = _type(left) == "AggregateExpr" and str(left.op) == "count"
    too_few = {"<": bound <= 1, "<=": bound < 1, "==": bound < 1}
    if counts and too_few.get(operation):
        return f"count() of nothing is nothing, and so never {operation} {bound:g}"
    return ""


def _lacks_buckets(node: Any) -> bool:
    """Whether a quantile is asked of classic buckets whose bounds an aggregation took away. Native ones have no such label."""
    if _type(node) != "Call" or node.func.name != "histogram_quantile":
        return False
    inner = _bare(node.args[1])
    if _type(inner) != "AggregateExpr" or not all(
        (found.metric or "").endswith("_bucket") for found in selections_of(inner, "")
    ):
        return False
    labels = [] if inner.modifier is None else list(inner.modifier.labels)
    keeps = inner.modifier is None or str(inner.modifier.type).endswith("By")
    return ("le" in labels) is not keeps


def _comparison(node: Any) -> str:
    """The operator of a comparison; empty for anything else."""
    return str(node.op) if _type(node) == "BinaryExpr" and str(node.op) in _COMPARISONS else ""


def _most(node: Any) -> float | None:
    """The most that a share of a whole can be: 1, or 100 where it is in percent; None for what is no share."""
    node = _bare(node)
    if _type(node) != "BinaryExpr":
        return None
    operation, left, right = str(node.op), _number(node.lhs), _number(node.rhs)
    if operation == "*" and (left is not None or right is not None):
        factor, most = (left, _most(node.rhs)) if left is not None else (right, _most(node.lhs))
        return most * factor if most is not None and factor is not None and factor > 0 else None
    if operation == "-" and left is not None:  # what is left of the whole
        return left if _most(node.rhs) == left else None
    if operation != "/":
        return None
    factor, part = 1.0, _bare(node.lhs)
    if _type(part) == "BinaryExpr" and str(part.op) == "*":  # 100 * a / b
        number, other = (part.lhs, part.rhs) if _number(part.lhs) is not None else (part.rhs, part.lhs)
        if (given := _number(number)) is not None:
            factor, part = given, other
    return factor if factor > 0 and _is_share(part, node.rhs) else None


def _is_share(part: Any, whole: Any) -> bool:
    """Whether these are the sum of some series of a metric and of all of them, or the free or used part of a size and that."""
    if any(_type(node) == "BinaryExpr" for side in (part, whole) for node in _nodes(side)):
        return False  # such as sum(100 * a) / sum(a)
    some, every = selections_of(part, ""), selections_of(whole, "")
    if len(some) != 1 or len(every) != 1 or some[0].metric is None or every[0].metric is None:
        return False
    (some_of,), (all_of,) = some, every
    if some_of.functions != all_of.functions or not set(all_of.conditions) <= set(some_of.conditions):
        return False
    if some_of.metric == all_of.metric:
        return "sum" in some_of.functions
    parts, sizes = _PART.fullmatch(some_of.metric or ""), _SIZE.fullmatch(all_of.metric or "")
    return bool(parts and sizes and parts[1] == sizes[1])


def _number(node: Any) -> float | None:
    node = _bare(node)
    return float(node.val) if _type(node) == "NumberLiteral" else None


def _type(node: Any) -> str:
    return type(node).__name__


def _nodes(node: Any) -> Iterator[Any]:
    """An expression and all its parts."""
    yield node
    for name in ("lhs", "rhs", "expr", "param"):
        if (part := getattr(node, name, None)) is not None:
            yield from _nodes(part)
    for part in getattr(node, "args", None) or ():
        yield from _nodes(part)


def _bare(node: Any) -> Any:
    while type(node).__name__ == "ParenExpr":
        node = node.expr
    return node


def _returns_bool(node: Any) -> bool:
    return node.modifier is not None and node.modifier.return_bool


@dataclass(frozen=True, slots=True)
class _How:
    """Which label filters stay, by their label, and how old a series may be."""

    filters: Filters
    within: timedelta


def possible(expr: str, filters: Filters = lambda _label: True, within: timedelta = timedelta()) -> str:
    """An expression whose result is empty only where this one can never be true of any series that there are now.

    Comparisons are made to filter nothing, what is missing is taken to be missing, and what would take away takes nothing away.
    Of label filters those stay for which `filters` says so, by their label. With `within`, a duration, series that ended less
    long ago count too. Raises ProbeError when it is not understood.
    """
    return _possible(parse(expr), _How(filters, within))


def _possible(node: Any, how: _How) -> str:
    kind = type(node).__name__
    if kind in ("VectorSelector", "MatrixSelector"):
        return _filtered(node, how)
    if kind == "BinaryExpr":
        return _joined(node, how)
    if kind == "Call":
        if node.func.name in _ABSENT:
            return _missing(node.args[0])
        if node.func.name in _OF_TWO_SAMPLES:  # which there may not be yet, after a start
            return f"last_over_time({_possible(node.args[0], how)})"
        return f"{node.func.name}({', '.join(_possible(argument, how) for argument in node.args)})"
    if kind == "AggregateExpr":
        parameter = f"{_possible(node.param, how)}, " if node.param is not None else ""
        return f"{node.op}{_grouping(node)}({parameter}{_possible(node.expr, how)})"
    if kind == "ParenExpr":
        return f"({_possible(node.expr, how)})"
    if kind == "UnaryExpr":
        return f"-({_possible(node.expr, how)})"
    if kind == "SubqueryExpr":
        suffix = node.prettify()[len(node.expr.prettify()) :]
        return f"({_possible(node.expr, how)}){suffix}"
    return str(node.prettify())


def _grouping(node: Any) -> str:
    if node.modifier is None:
        return " "
    word = "by" if str(node.modifier.type).endswith("By") else "without"
    return f" {word} ({', '.join(map(_label, node.modifier.labels))}) "


def _joined(node: Any, how: _How) -> str:
    operation = str(node.op)
    if operation in _COMPARISONS and not selections_of(node, ""):
        return str(node.prettify())  # of constants: as true today as it ever is
    left = _possible(node.lhs, how)
    if operation == "unless":
        if selections_of(node.rhs, ""):
            return left
        return f"({left}) unless{_matching(node, compares=False)} ({node.rhs.prettify()})"
    right = _possible(node.rhs, how)
    return f"({left}) {operation}{_matching(node, compares=operation in _COMPARISONS)} ({right})"


def _matching(node: Any, *, compares: bool) -> str:
    """What stands between an operator and its right side."""
    parts = ["bool"] if compares else []
    modifier = node.modifier
    if modifier is not None:
        if modifier.matching is not None:
            word = "on" if str(modifier.matching.type).endswith("Include") else "ignoring"
            parts.append(f"{word} ({', '.join(map(_label, modifier.matching.labels))})")
        many = {"ManyToOne": "group_left", "OneToMany": "group_right"}.get(str(modifier.card).rpartition(".")[2])
        if many:
            parts.append(f"{many} ({', '.join(map(_label, modifier.group_labels or ()))})")
    return "".join(f" {part}" for part in parts)


def _label(name: str) -> str:
    return name if re.fullmatch(r"[a-zA-Z_]\w*", name) else json.dumps(name, ensure_ascii=False)


def _missing(node: Any) -> str:
    """What absent() gives where there is nothing: one sample, with the labels that the selector demands."""
    while type(node).__name__ in ("ParenExpr", "MatrixSelector", "SubqueryExpr"):
        node = node.vector_selector if type(node).__name__ == "MatrixSelector" else node.expr
    given = "vector(1)"
    if type(node).__name__ == "VectorSelector":
        for matcher in node.matchers.matchers:
            if str(matcher.op) == "MatchOp.Equal" and matcher.name != "__name__":
                value = json.dumps(matcher.value.replace("$", "$$"), ensure_ascii=False)
                given = f'label_replace({given}, {json.dumps(matcher.name)}, {value}, "", "")'
    return given


def _filtered(node: Any, how: _How) -> str:
    is_range = _type(node) == "MatrixSelector"
    selected = node.vector_selector if is_range else node
    name = selected.name or ""
    given = selected.matchers.or_matchers or [selected.matchers.matchers]
    kept = [[one for one in matchers if one.name == "__name__" or how.filters(one.name)] for matchers in given]
    selector, when = _in_parts(str(node.prettify()), name)
    if kept != [list(matchers) for matchers in given]:
        if all(kept):
            selector = f"{name}{{{' or '.join(','.join(map(_matcher, matchers)) for matchers in kept)}}}"
        elif name:  # a selector must select by something
            selector = name
    if not how.within:
        return selector + when
    length = f"[{format_duration(how.within)}]"
    if not is_range:
        return f"last_over_time({selector}{length}{when})"
    return selector + (when if node.range >= how.within else length + when.partition("]")[2])


_SIGNS = {"MatchOp.Equal": "=", "MatchOp.NotEqual": "!=", "MatchOp.Re": "=~", "MatchOp.NotRe": "!~"}


def _matcher(matcher: Any) -> str:
    return f"{_label(matcher.name)}{_SIGNS[str(matcher.op)]}{json.dumps(matcher.value, ensure_ascii=False)}"


def _in_parts(text: str, name: str) -> tuple[str, str]:
    """A selector, and its range, offset and time."""
    if text.startswith(name) and not text.removeprefix(name).startswith("{"):
        return name, text.removeprefix(name)
    for found in _QUOTED_OR_BRACE.finditer(text):
        if found[0] == "}":
            return text[: found.end()], text[found.end() :]
    return text, ""
