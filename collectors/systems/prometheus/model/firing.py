"""When an expression can be true: its alternatives, and each without its comparisons, as what a server may be asked for.

`a / on(x) b > 5` is true of nothing today. That `a / on(x) b > bool 5` gives nothing either means that it never will be.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from collectors.systems.prometheus.model.promql import Selection, parse, past_of, selections_of, vanishing
from collectors.systems.prometheus.model.ranges import (
    Range,
    bare,
    divides_itself,
    is_part,
    kind_of,
    longest_of,
    nodes_of,
    number_of,
    parts_of,
    range_of,
    times_of_whole,
)
from exporter.options import format_duration
from exporter.words import format_size

__all__ = [
    "alternatives",
    "always_fires",
    "bounds_out_of_reach",
    "clock_of",
    "equals_of",
    "label_name",
    "late_by",
    "low_quantile_of",
    "never_true",
    "passing_after",
    "possible",
    "shortest_rate",
]

Filters = Callable[[str], bool]

_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
_OF_TWO_SAMPLES = frozenset({"rate", "irate", "increase", "delta", "idelta", "deriv", "predict_linear"})
_ABSENT = frozenset({"absent", "absent_over_time"})
_OF_THE_CLOCK = frozenset(
    {"hour", "minute", "day_of_week", "day_of_month", "day_of_year", "days_in_month", "month", "year"}
)
_MEDIAN = 0.5
_SWITCHED = Range(0, 1, whole=True)
_TINY = 1e-300
_USED = re.compile(
    r"(?:.*_)?(?:working_set|resident_memory|memory_rss|memory_usage|memory_used|MemTotal)_bytes|node_load\d+"
    r"|(?:node_cpu|process_cpu|container_cpu_usage)_seconds_total"
    r"|\w+_connected_clients|pg_stat_activity_count|\w+_(?:numbackends|threads_connected)"
)
#: What has a value whether that is up or down.
_LASTING = re.compile(r"up|probe_success|[a-z]+_up")
_LEFT = re.compile(r".*(?:avail|available|free|MemAvailable|MemFree)_bytes")
_LEAST_LEFT, _LEAST_SHARE = 2**20, 0.001
_LONG = 120.0  # seconds that no client waits
_OFFSET = re.compile(r" offset -?\w+")
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

    It compares with `bool`, and so gives 0 where it is false; or it is true of every value that there can be, by itself or with its
    alternatives; or it is true of what works; or each series is divided by itself.
    """
    parts = [bare(node) for node in _alternatives(parse(expr))]
    alone = (_always(part) or (_beside(part, parts) if len(parts) > 1 else "") for part in parts)
    return next(filter(None, (*alone, _together(parts))), "")


def _beside(part: Any, parts: Sequence[Any]) -> str:
    """Why one of several alternatives is true of what is well."""
    if all(_is_constant(other) for other in parts):
        return ""
    text = part.prettify()
    if _is_constant(part) and not _comparison(part):
        return f"its part {text} always gives a value"
    compared = {bare(other.lhs).prettify() for other in parts if _comparison(other)}
    if kind_of(part) == "VectorSelector" and text in compared:
        return f"its part {text} compares nothing"
    if _comparison(part) and _is_up(part):
        return f"its part {text} is true of what is up"
    return ""


def _together(parts: Sequence[Any]) -> str:
    """Why one of several alternatives is always true, which compare the same with numbers."""
    of_same: dict[str, list[Any]] = {}
    for part in parts:
        if _comparison(part) and not _returns_bool(part) and number_of(part.rhs) is not None:
            of_same.setdefault(bare(part.lhs).prettify(), []).append(part)
    for text, compared in of_same.items():
        limits, bounds = range_of(compared[0].lhs), sorted({number_of(part.rhs) or 0.0 for part in compared})
        middles = [(one + other) / 2 for one, other in itertools.pairwise(bounds)]
        between = [value for middle in middles for value in (middle, math.floor(middle))]
        tried = {*bounds, *between, bounds[0] - 1, bounds[-1] + 1, limits.low, limits.high}
        values = [value for value in tried if limits.low <= value <= limits.high and not (limits.whole and value % 1)]
        if len(compared) > 1 and all(
            any(_certain(_comparison(part), Range(value, value), range_of(part.rhs)) for part in compared)
            for value in values
        ):
            return f"one of its parts is true of every value of {text}"
    return ""


def _always(node: Any) -> str:
    operation = _comparison(node)
    if not operation:
        return ""
    if _returns_bool(node):
        return "its comparison has the modifier bool, which filters nothing"
    if why := _counts_what_is_up(node):
        return why
    if any(map(_comes_and_goes, _replaceable(node.lhs))) or any(map(_comes_and_goes, _replaceable(node.rhs))):
        return ""
    if any(map(divides_itself, nodes_of(node))):
        return (
            "each of its series is divided by itself, as both sides keep the labels that tell them apart, which gives 1"
        )
    if operation in ("==", ">=", "<=") and _joins_by_all(node) and _same(node.lhs, node.rhs):
        return f"both of its sides are the same, which is always {operation} itself"
    if why := _part_and_whole(node, operation):
        return why
    if operation == ">" and number_of(node.rhs) == 0 and _USED.fullmatch(_only_metric(node.lhs)):
        return f"{node.lhs.prettify()} is above 0 as long as anything runs"
    left, right = range_of(node.lhs), range_of(node.rhs)
    if selections_of(node, "") and _certain(operation, left, right):
        limits = "above 0" if 0 < left.low < _TINY and operation in (">", ">=", "!=") else _within(left)
        return f"its left side is {limits}, which is always {operation} {_shown(right)}"
    return ""


def _only_metric(node: Any) -> str:
    """The metric of an expression that selects one and computes nothing of it with others; empty for all else."""
    selected = selections_of(node, "")
    if len(selected) != 1 or any(kind_of(one) == "BinaryExpr" for one in nodes_of(node)):
        return ""
    return selected[0].metric or ""


def _part_and_whole(node: Any, operation: str) -> str:
    """Why a comparison of a part with its whole, as of free bytes with all bytes, is true of what works."""
    less = {
        "<": (node.lhs, node.rhs),
        "<=": (node.lhs, node.rhs),
        ">": (node.rhs, node.lhs),
        ">=": (node.rhs, node.lhs),
    }
    if operation in less and is_part(*less[operation]):
        part, whole = (one.prettify() for one in less[operation])
        return f"{part} is a part of {whole}, and so always less"
    return ""


def _counts_what_is_up(node: Any) -> str:
    """Why a comparison is true while anything is up: it counts what is up, and wants some."""
    left = bare(node.lhs)
    if kind_of(left) != "AggregateExpr" or str(left.op) not in ("count", "group"):
        return ""
    counted = bare(left.expr)
    if not _comparison(counted) or _returns_bool(counted) or not _is_up(counted):
        return ""
    certain = _certain(_comparison(node), range_of(left), range_of(node.rhs))
    return f"{counted.prettify()} is true of what is up" if certain else ""


def _is_up(comparison: Any) -> bool:
    """Whether a comparison of what is 0 or 1 with a number is true of 1 alone."""
    operation, bound = _comparison(comparison), number_of(comparison.rhs)
    if bound is None or kind_of(bare(comparison.lhs)) != "VectorSelector" or range_of(comparison.lhs) != _SWITCHED:
        return False
    if not _LASTING.fullmatch(bare(comparison.lhs).name or ""):
        return False
    of_one, of_zero = (_certain(operation, Range(value, value), Range(bound, bound)) for value in (1, 0))
    return of_one and not of_zero


def _replaceable(node: Any) -> Iterator[Any]:
    """An expression and all its parts, without those in whose place a number stands where they are gone."""
    node = bare(node)
    if kind_of(node) == "BinaryExpr" and str(node.op) == "or" and any(map(_is_constant, (node.lhs, node.rhs))):
        return
    yield node
    for part in parts_of(node):
        yield from _replaceable(part)


def _same(left: Any, right: Any) -> bool:
    return bool(bare(left).prettify() == bare(right).prettify())


def _is_there(node: Any) -> bool:
    """Whether an expression selects what is there whether it is up or down."""
    node = bare(node)
    selector = node.vector_selector if kind_of(node) == "MatrixSelector" else node
    return kind_of(selector) == "VectorSelector" and bool(_LASTING.fullmatch(selector.name or ""))


def _comes_and_goes(node: Any) -> bool:
    """Whether a part of an expression may have no series, which is what it is about."""
    kind = kind_of(node)
    if kind == "Call" and node.func.name in ("present_over_time", "count_over_time"):
        return not _is_there(node.args[0])
    if kind == "Call":
        return node.func.name in _ABSENT
    if kind == "AggregateExpr":
        return str(node.op) in ("count", "group") and not _is_there(node.expr)
    if kind == "VectorSelector":
        return node.name in ("ALERTS", "ALERTS_FOR_STATE")
    return kind == "BinaryExpr" and str(node.op) in (*_COMPARISONS, "and", "unless") and not _returns_bool(node)


def _certain(operation: str, left: Range, right: Range) -> bool:
    """Whether every value of the left side compares so with every one of the right."""
    return {
        ">": left.low > right.high,
        ">=": left.low >= right.high,
        "<": left.high < right.low,
        "<=": left.high <= right.low,
        "!=": left.within(right).is_empty,
        "==": left.low == left.high == right.low == right.high,
    }.get(operation, False)


def _shown(limits: Range) -> str:
    return f"{limits.low:g}" if limits.low == limits.high else "the right side"


def _within(limits: Range, operation: str = "") -> str:
    """Where the values are, in words; for a comparison with little, what is little."""
    limits = replace(limits, low=0.0) if 0 < limits.low < _TINY else limits
    if limits.low == limits.high:
        return f"always {limits.low:g}"
    if math.isinf(limits.high) or (limits.together and operation in ("<", "<=")):
        return f"never below {limits.low:g}"
    return f"never above {limits.high:g}" if math.isinf(limits.low) else f"between {limits.low:g} and {limits.high:g}"


def clock_of(expr: str) -> str:
    """The function of the time of day, week or year that an expression asks for; empty where there is none."""
    calls = (node.func.name for node in nodes_of(parse(expr)) if kind_of(node) == "Call")
    return next((name for name in calls if name in _OF_THE_CLOCK), "")


def late_by(expr: str) -> timedelta:
    """How long what an expression asks for has to last before it can be true, by what it looks at; nothing where it may be new.

    A minimum over a time is only high after that time, a mean after some of it, and what is taken from the past was so then.
    """
    return max(_late(parse(expr)), default=timedelta())


def _late(node: Any) -> Iterator[timedelta]:
    yield from _lateness(node)
    # What is gone is so at once, however long ago it is looked for.
    for part in [node.rhs] if vanishing(node) else parts_of(node):
        yield from _late(part)


def _lateness(node: Any) -> Iterator[timedelta]:
    operation = _comparison(node)
    if not operation:
        return
    selectors = [one for one in nodes_of(node) if kind_of(one) == "VectorSelector"]
    offsets = [selector.offset if isinstance(selector.offset, timedelta) else timedelta() for selector in selectors]
    yield min(offsets, default=timedelta())
    waiting = {"avg_over_time", "min_over_time" if operation in (">", ">=") else "max_over_time"}
    for call in nodes_of(node.lhs):
        if (
            kind_of(call) == "Call"
            and call.func.name in waiting
            and isinstance(length := _range(call.args[0]), timedelta)
        ):
            yield length


def shortest_rate(expr: str) -> timedelta | None:
    """The shortest time over which an expression takes a rate or the like of scraped series; None where it takes none."""
    lengths = (
        _range(call.args[0])
        for call in nodes_of(parse(expr))
        if kind_of(call) == "Call"
        and call.func.name in _OF_TWO_SAMPLES
        and kind_of(bare(call.args[0])) == "MatrixSelector"
    )
    return min((length for length in lengths if isinstance(length, timedelta)), default=None)


def _range(node: Any) -> Any:
    return getattr(bare(node), "range", None)


def equals_of(expr: str) -> str:
    """The number that a rate is compared with for equality, as text; empty where none is, or it is one that may last, such as 0."""
    for node in nodes_of(parse(expr)):
        if _comparison(node) != "==" or not (number := number_of(node.rhs)):
            continue
        limits = range_of(node.lhs)
        rates = (one for one in nodes_of(node.lhs) if kind_of(one) == "Call" and one.func.name in _OF_TWO_SAMPLES)
        if number not in (limits.low, limits.high) and any(rates):
            return f"{number:g}"
    return ""


def bounds_out_of_reach(expr: str) -> Iterator[str]:
    """Bounds that are met too late, each as what has to happen first: nothing is left to name, or no client waits any more."""
    for node in nodes_of(parse(expr)):
        operation, bound = _comparison(node), number_of(getattr(node, "rhs", None))
        if not operation or not bound:
            continue
        selected = selections_of(node.lhs, "")
        limits = range_of(node.lhs)
        if (
            operation in ("<", "<=")
            and len(selected) == 1
            and not selected[0].under
            and _LEFT.fullmatch(selected[0].metric or "")
        ):
            if kind_of(bare(node.lhs)) != "BinaryExpr" and 0 < bound < _LEAST_LEFT:
                yield f"less than {format_size(round(bound))} is left"
        elif operation in ("<", "<=") and any(map(_LEFT.fullmatch, (found.metric or "" for found in selected))):
            if limits.low == 0 and math.isfinite(limits.high) and 0 < bound < _LEAST_SHARE * limits.high:
                yield f"less than {100 * bound / limits.high:.2g} % is left"
        elif operation in (">", ">=") and (longest := longest_of(node.lhs)) and bound > _LONG * longest:
            yield f"requests take longer than {format_duration(timedelta(seconds=bound / longest))}"


def never_true(expr: str, tops: Mapping[str, float] = MappingProxyType({})) -> str:
    """Why no series whatever can make an expression true, as the end of a sentence; empty where one could.

    What it compares can have no such value (a share of a whole is never more than 1: 5 was meant as percent), its conditions
    exclude each other, count() of nothing is nothing, not 0, and a quantile needs buckets. `tops` gives the highest finite bound of
    the buckets of histograms, by metric: no quantile is above it.
    """
    return _never(parse(expr), tops)


def _never(node: Any, tops: Mapping[str, float]) -> str:
    node = bare(node)
    if kind_of(node) == "BinaryExpr" and str(node.op) in ("and", "unless"):
        joined = str(node.op) == "and"
        return _never(node.lhs, tops) or (_never(node.rhs, tops) if joined else "") or _contradiction(node, tops)
    if any(map(_lacks_buckets, nodes_of(node))):
        return "histogram_quantile() gets no buckets, as the label le is aggregated away"
    if any(map(_lacks_the_last, nodes_of(node))):
        return 'histogram_quantile() gets no bucket le="+Inf", without which it gives no number'
    operation = _comparison(node)
    if not operation:
        return ""
    bound = number_of(node.rhs)
    if bound is not None and math.isnan(bound):
        return "" if operation == "!=" else "nothing compares with NaN"
    left, right = range_of(node.lhs, tops), range_of(node.rhs, tops)
    counts = kind_of(bare(node.lhs)) == "AggregateExpr" and str(bare(node.lhs).op) == "count"
    if left.is_empty:
        return _never(node.lhs, tops) or "the bounds of its left side exclude each other"
    if operation in (">", "<", "!=") and _joins_by_all(node) and _same(node.lhs, node.rhs):
        return f"both of its sides are the same, which is never {operation} itself"
    if (
        operation in (">", ">=")
        and (times := times_of_whole(node)) is not None
        and (times > 1 or (times, operation) == (1, ">"))
    ):
        return f"its left side is a part of what it is compared with {times:g} times"
    if not _is_constant(node) and not _returns_bool(node) and _excluded(operation, left, right):
        if counts and bound is not None:
            return f"count() of nothing is nothing, and so never {operation} {bound:g}"
        return f"its left side is {_within(left, operation)}, which is never {operation} {_shown(right)}"
    return "" if _comparison(bare(node.lhs)) == "" else _never(node.lhs, tops)


def _joins_by_all(node: Any) -> bool:
    """Whether both sides of an operator are joined by all their labels, and what it compares with is a filter."""
    return node.modifier is None or (node.modifier.matching is None and not node.modifier.return_bool)


def _is_constant(node: Any) -> bool:
    """Whether a part of an expression neither selects anything nor asks for the time."""
    asks = _OF_THE_CLOCK | {"time"}
    return not selections_of(node, "") and not any(
        kind_of(one) == "Call" and one.func.name in asks for one in nodes_of(node)
    )


def _excluded(operation: str, left: Range, right: Range) -> bool:
    """Whether no value of the left side compares so with any of the right."""
    return {
        ">": left.high <= right.low,
        ">=": left.high < right.low,
        "<": left.low >= right.high,
        "<=": left.low > right.high,
        "!=": left.low == left.high == right.low == right.high,
        "==": left.within(right).is_empty,
    }.get(operation, False)


def _contradiction(node: Any, tops: Mapping[str, float]) -> str:
    """Why `x > 5 and x < 1`, or `x > 5 unless x > 1`, is never true; empty where it may be."""
    left, right = bare(node.lhs), bare(node.rhs)
    joined = str(node.op) == "and"
    if joined and not _joins_by_all(node):
        return ""  # one series may be joined with another; what `unless` takes away is among them itself, whatever the labels
    while kind_of(left) == "BinaryExpr" and str(left.op) in ("and", "unless"):
        alike = joined and str(left.op) == "and" and _joins_by_all(left)
        if alike and (why := _excluding(bare(left.rhs), right, tops, joined=True)):
            return why
        left = bare(left.lhs)
    return _excluding(left, right, tops, joined=joined)


def _excluding(left: Any, right: Any, tops: Mapping[str, float], *, joined: bool) -> str:
    """Why two conditions on one thing exclude each other, or the second takes away all that the first lets through."""
    subject = bare(left.lhs) if _comparison(left) and not _returns_bool(left) else left
    other = bare(right.lhs) if _comparison(right) and not _returns_bool(right) else right
    if subject.prettify() != other.prettify():
        return ""
    kept = range_of(left, tops)
    if other is right:
        excluded = not joined
    elif joined:
        bound = number_of(right.rhs)
        left_over = kept if bound is None else kept.beyond(str(right.op), bound)
        excluded = left_over.is_empty or _excluded(str(right.op), kept, range_of(right.rhs, tops))
    else:
        excluded = _certain(str(right.op), kept, range_of(right.rhs, tops))
    return "its conditions exclude each other" if excluded else ""


def _lacks_buckets(node: Any) -> bool:
    """Whether a quantile is asked of classic buckets whose bounds an aggregation took away. Native ones have no such label."""
    if kind_of(node) != "Call" or node.func.name != "histogram_quantile":
        return False
    inner = bare(node.args[1])
    if kind_of(inner) != "AggregateExpr" or not all(
        (found.metric or "").endswith("_bucket") for found in selections_of(inner, "")
    ):
        return False
    labels = [] if inner.modifier is None else list(inner.modifier.labels)
    keeps = inner.modifier is None or str(inner.modifier.type).endswith("By")
    return ("le" in labels) is not keeps


def _lacks_the_last(node: Any) -> bool:
    """Whether a quantile is asked of classic buckets without that of all."""
    return (
        kind_of(node) == "Call"
        and node.func.name == "histogram_quantile"
        and any(
            (found.metric or "").endswith("_bucket") and not found.allows("le", "+Inf")
            for found in selections_of(node.args[1], "")
        )
    )


def low_quantile_of(expr: str) -> str:
    """The quantile below the median of which an expression wants much, as text: it is about the fast ones. Empty for any other."""
    for node in nodes_of(parse(expr)):
        if _comparison(node) not in (">", ">="):
            continue
        for one in nodes_of(node.lhs):
            quantile = (
                number_of(one.args[0]) if kind_of(one) == "Call" and one.func.name == "histogram_quantile" else None
            )
            if quantile is not None and quantile < _MEDIAN:
                return f"{quantile:g}"
        for found in selections_of(node.lhs, ""):
            for condition in found.conditions:
                if condition.name == "quantile" and re.fullmatch(r"0(?:\.[0-4]\d*)?", condition.value):
                    return condition.value
    return ""


def passing_after(expr: str) -> timedelta | None:
    """How long an expression can be true at most that asks for what was there a while ago and is not now; None for all else."""
    found = [went for node in map(bare, _alternatives(parse(expr))) if (went := _went(node)) is not None]
    return max(found, default=None) if len(found) == len(list(_alternatives(parse(expr)))) else None


def _went(node: Any) -> timedelta | None:
    if kind_of(node) != "BinaryExpr" or str(node.op) != "unless" or not vanishing(node):
        return None
    return past_of(node.lhs)


def _comparison(node: Any) -> str:
    """The operator of a comparison; empty for anything else."""
    return str(node.op) if kind_of(node) == "BinaryExpr" and str(node.op) in _COMPARISONS else ""


def _returns_bool(node: Any) -> bool:
    return bool(node.modifier is not None and node.modifier.return_bool)


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
        if (
            subquery := next((bare(one) for one in node.args if kind_of(bare(one)) == "SubqueryExpr"), None)
        ) is not None:
            return f"({_possible(subquery.expr, how)})"  # none of its steps may have come yet, after a start
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
    return f" {word} ({', '.join(map(label_name, node.modifier.labels))}) "


def _joined(node: Any, how: _How) -> str:
    operation = str(node.op)
    if operation in _COMPARISONS and _is_constant(node):
        return str(node.prettify())  # as true today as it ever is
    left = _possible(node.lhs, how)
    if operation == "unless":
        if selections_of(node.rhs, "") and not _is_lasting(node.rhs):
            return left
        return f"({left}) unless{_matching(node, compares=False)} ({node.rhs.prettify()})"
    right = _possible(node.rhs, how)
    return f"({left}) {operation}{_matching(node, compares=operation in _COMPARISONS)} ({right})"


def _is_lasting(node: Any) -> bool:
    """Whether an expression always gives something where its series are: `up` itself, or a comparison that is always true."""
    node = bare(node)
    if any(map(_comes_and_goes, nodes_of(node))) and not _comparison(node):
        return False
    if kind_of(node) == "VectorSelector":
        return range_of(node) == _SWITCHED and node.name not in ("ALERTS", "ALERTS_FOR_STATE")
    return (
        bool(_comparison(node))
        and not any(map(_comes_and_goes, nodes_of(node.lhs)))
        and _certain(_comparison(node), range_of(node.lhs), range_of(node.rhs))
    )


def _matching(node: Any, *, compares: bool) -> str:
    """What stands between an operator and its right side."""
    parts = ["bool"] if compares else []
    modifier = node.modifier
    if modifier is not None:
        if modifier.matching is not None:
            word = "on" if str(modifier.matching.type).endswith("Include") else "ignoring"
            parts.append(f"{word} ({', '.join(map(label_name, modifier.matching.labels))})")
        many = {"ManyToOne": "group_left", "OneToMany": "group_right"}.get(str(modifier.card).rpartition(".")[2])
        if many:
            parts.append(f"{many} ({', '.join(map(label_name, modifier.group_labels or ()))})")
    return "".join(f" {part}" for part in parts)


def label_name(name: str) -> str:
    """The name of a label as an expression has it: quoted where it has characters that only the newest servers take."""
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
    is_range = kind_of(node) == "MatrixSelector"
    selected = node.vector_selector if is_range else node
    name = selected.name or ""
    given = selected.matchers.or_matchers or [selected.matchers.matchers]
    kept = [[one for one in matchers if one.name == "__name__" or how.filters(one.name)] for matchers in given]
    selector, when = _in_parts(str(node.prettify()), name)
    when = _OFFSET.sub("", when)  # what has begun since then will have been there
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
    return f"{label_name(matcher.name)}{_SIGNS[str(matcher.op)]}{json.dumps(matcher.value, ensure_ascii=False)}"


def _in_parts(text: str, name: str) -> tuple[str, str]:
    """A selector, and its range, offset and time."""
    if text.startswith(name) and not text.removeprefix(name).startswith("{"):
        return name, text.removeprefix(name)
    for found in _QUOTED_OR_BRACE.finditer(text):
        if found[0] == "}":
            return text[: found.end()], text[found.end() :]
    return text, ""
