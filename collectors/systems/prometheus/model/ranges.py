"""Between which values the samples of an expression can be, whatever is measured: by this a comparison may be certain."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from collectors.systems.prometheus.model.promql import Selection, selections_of

__all__ = [
    "ANYTHING",
    "Range",
    "bare",
    "divides_itself",
    "is_part",
    "kind_of",
    "longest_of",
    "nodes_of",
    "number_of",
    "parts_of",
    "range_of",
    "times_of_whole",
]


@dataclass(frozen=True, slots=True)
class Range:
    """From `low` to `high`, both of them possible.

    Of `whole` ones only whole numbers are. `together` means that even the sum of several such values is within.
    """

    low: float
    high: float
    whole: bool = False
    together: bool = False

    def within(self, other: Range) -> Range:
        """What is in both; where nothing is, `low` is above `high`."""
        low, high, whole = max(self.low, other.low), min(self.high, other.high), self.whole or other.whole
        return Range(_whole(math.ceil, low), _whole(math.floor, high), whole) if whole else Range(low, high)

    def beyond(self, operation: str, bound: float) -> Range:
        """What a comparison with a number by `>`, `<` or `!=` lets through. Between two whole numbers there is none."""
        if not self.whole or math.isinf(bound):
            return self.within(Range(bound if operation == ">" else -math.inf, bound if operation == "<" else math.inf))
        if operation == ">":
            return self.within(Range(math.floor(bound) + 1, math.inf))
        if operation == "<":
            return self.within(Range(-math.inf, math.ceil(bound) - 1))
        if operation == "!=":
            return Range(self.low + (self.low == bound), self.high - (self.high == bound), whole=True)
        return self

    @property
    def is_empty(self) -> bool:
        """Whether no value is in it."""
        return self.low > self.high


_LEAST = math.ulp(0.0)  # above 0: what answers takes some time
ANYTHING = Range(-math.inf, math.inf)
_NOT_NEGATIVE = Range(0, math.inf)
_COUNT = Range(0, math.inf, whole=True)
_SHARE = Range(0, 1)
_SWITCHED = Range(0, 1, whole=True)
_ONE = Range(1, 1, whole=True)
_OF_LIMIT = 10  # times a limit: most are kept, a few may be exceeded somewhat

#: What is 0 or 1 by convention.
_SWITCH = re.compile(
    r"up|probe_success|(?:pg|redis|mysql|mongodb|memcached|rabbitmq|haproxy|nginx|nats|consul|vault|kafka|elasticsearch\w*)_up|ALERTS"
    r"|kube_pod_status_(?:ready|phase)|kube_node_(?:status_condition|spec_unschedulable)"
    r"|kube_pod_container_status_(?:ready|running|waiting|(?:last_)?terminated)(?:_reason)?"
)
_SIZES = re.compile(r".*(?:_bytes|_total|_bucket|_count)|scrape_samples_\w+")
_LONGEST = 3600.0  # seconds for one request
_LOOKBACK = 300.0  # seconds after which Prometheus takes a sample for none
#: What no product has more of, by what is measured; an alert that waits for more was not meant so.
_MOST: tuple[tuple[re.Pattern[str], Range], ...] = (
    (
        re.compile(
            r"pg_stat_activity_count|\w+_connected_clients|(?!.*_total)(?:.*_)?connections(?:_(?:active|busy|used|open))?"
        ),
        Range(0, 1e7, together=True),
    ),
    (re.compile(r".*_bytes"), Range(0, 1e17, together=True)),
    (
        re.compile(r"(?!.*(?:_total|second|time))(?:.*_)?(?:pending|lag|depth|backlog|messages_ready)"),
        Range(0, 1e12, together=True),
    ),
    (re.compile(r"node_load\d+"), Range(0, 1e6, together=True)),
    (re.compile(r"probe_http_status_code"), Range(0, 999, whole=True)),
    (re.compile(r"(?:scrape|probe)_duration_seconds"), Range(0, _LONGEST)),
)
_REQUEST = r"(?:.*_)?(?:http|https|grpc|rpc|rq|requests?|responses?|handled|calls|api)(?:_.*)?"
_REQUESTS = re.compile(
    rf"(?!.*(?:bytes|_sum$|seconds_total)){_REQUEST}|(?:.*_)?(?:errors?|failures?|exceptions?)(?:_.*)?_total"
)
_MOST_REQUESTS = 1e7  # a second
_CPU = re.compile(r"(?:container_cpu_usage|process_cpu)_seconds_total")
_MOST_CPUS = 1e6
_TIMES = tuple(
    (re.compile(rf"{_REQUEST.replace('(?:_.*)?', '')}_(?:.*_)?{unit}(?:_(?:bucket|sum|total|max))?"), most)
    for unit, most in (("seconds", _LONGEST), ("(?:milliseconds|millis|ms)", 1000 * _LONGEST))
)
#: What is no duration of one request, or of a share of them.
_PARTIAL = re.compile(r".*_(?:sum|count|bucket|total)")
#: Parts of a whole that are named otherwise than it, and how many times it they can be.
_PARTS: tuple[tuple[re.Pattern[str], str, float], ...] = (
    (re.compile(r"(.*_)throttled_periods_total"), r"periods_total", 1),
    (re.compile(r"(.*_)handled_total"), r"started_total", 1),
    (re.compile(r"(.*_)(?:request_)?(?:errors|failures|failed|failed_requests)_total"), r"requests_total", 2),
)
_CALLS: Mapping[str, Range] = {
    "rate": _NOT_NEGATIVE,
    "irate": _NOT_NEGATIVE,
    "increase": _NOT_NEGATIVE,
    "resets": _COUNT,
    "changes": _COUNT,
    "time": _NOT_NEGATIVE,
    "timestamp": _NOT_NEGATIVE,
    "exp": _NOT_NEGATIVE,
    "stddev_over_time": _NOT_NEGATIVE,
    "stdvar_over_time": _NOT_NEGATIVE,
    "histogram_fraction": _SHARE,
    "absent": _ONE,
    "absent_over_time": _ONE,
    "present_over_time": _ONE,
    "count_over_time": Range(1, math.inf, whole=True),
    "sgn": Range(-1, 1, whole=True),
    "hour": Range(0, 23, whole=True),
    "minute": Range(0, 59, whole=True),
    "day_of_week": Range(0, 6, whole=True),
    "day_of_month": Range(1, 31, whole=True),
    "day_of_year": Range(1, 366, whole=True),
    "days_in_month": Range(28, 31, whole=True),
    "month": Range(1, 12, whole=True),
}
#: Functions of which the result is one of the values that they are given, or between them.
_AMONG = frozenset(
    {"avg_over_time", "min_over_time", "max_over_time", "last_over_time", "first_over_time", "sort", "sort_desc", "label_replace"}
    | {"label_join", "vector", "scalar", "sort_by_label", "sort_by_label_desc"}
)  # fmt: skip
_AGGREGATED_AMONG = frozenset({"avg", "min", "max", "topk", "bottomk", "limitk", "limit_ratio"})
_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
_WHOLE_AMONG = _AMONG - {"avg_over_time"}
#: What is free or used of a size, and the size.
_PART = re.compile(r"(\w+?_)(?:avail|available|free|used|MemAvailable|MemFree)_bytes")
_SIZE = re.compile(r"(\w+?_)(?:size|capacity|total|MemTotal)_bytes")
#: What is used, and how much of it may be.
_LIMIT = re.compile(
    r"(?:.*_)?(?:limits?|quota|capacity|max|max_?(?:clients|connections|fds|bytes|size|open_connections|pool_size))(?:_(?:bytes|total))?"
)


def kind_of(node: Any) -> str:
    """The name of a node's class in the syntax tree."""
    return type(node).__name__


def bare(node: Any) -> Any:
    """A node without the brackets around it."""
    while kind_of(node) == "ParenExpr":
        node = node.expr
    return node


def number_of(node: Any) -> float | None:
    """The value of a number, of either sign; None for anything else."""
    node = bare(node)
    if kind_of(node) == "UnaryExpr":
        inner = number_of(node.expr)
        return None if inner is None else -inner
    return float(node.val) if kind_of(node) == "NumberLiteral" else None


def range_of(node: Any, tops: Mapping[str, float] = MappingProxyType({})) -> Range:
    """Between which values every sample of an expression is. NaN, which no comparison but `!=` is true of, is left out.

    `tops` gives the highest finite bound of the buckets of histograms, by metric: no quantile is above it.
    """
    node = bare(node)
    kind = kind_of(node)
    if (number := number_of(node)) is not None:
        return (
            ANYTHING
            if math.isnan(number)
            else Range(number, number, whole=math.isfinite(number) and number == math.floor(number))
        )
    if kind == "UnaryExpr":
        inner = range_of(node.expr, tops)
        return Range(-inner.high, -inner.low, inner.whole)
    if kind == "SubqueryExpr":
        return range_of(node.expr, tops)
    if kind == "MatrixSelector":
        return range_of(node.vector_selector, tops)
    if kind == "VectorSelector":
        return _measured(node.name or "")
    if kind == "Call":
        return _call(node, tops)
    if kind == "AggregateExpr":
        return _aggregate(node, tops)
    return _binary(node, tops) if kind == "BinaryExpr" else ANYTHING


def _measured(name: str) -> Range:
    """Between which values what is called so is."""
    if _SWITCH.fullmatch(name):
        return _SWITCHED
    if not _PARTIAL.fullmatch(name) and math.isfinite(longest := _longest([name])):
        return Range(0, longest)
    most = (limits for pattern, limits in _MOST if pattern.fullmatch(name))
    return next(most, _NOT_NEGATIVE if _SIZES.fullmatch(name) else ANYTHING)


def _growth(name: str, argument: Any) -> Range:
    """How much a counter can grow: in a second, or over the time that is checked."""
    selected = selections_of(argument, "")
    if len(selected) == 1 and _CPU.fullmatch(selected[0].metric or "") and name != "increase":
        return Range(0, _MOST_CPUS, together=True)
    if len(selected) != 1 or not _REQUESTS.fullmatch(selected[0].metric or ""):
        return _NOT_NEGATIVE
    length = getattr(bare(argument), "range", None)
    if name != "increase":
        return Range(0, _MOST_REQUESTS, together=True)
    return Range(0, _MOST_REQUESTS * length.total_seconds(), together=True) if length else _NOT_NEGATIVE


def _longest(metrics: Iterable[str]) -> float:
    """The longest that requests take, in the unit of their durations; infinite for what is measured otherwise."""
    found = [next((most for pattern, most in _TIMES if pattern.fullmatch(name)), math.inf) for name in metrics]
    return max(found, default=math.inf)


def longest_of(node: Any) -> float | None:
    """How much one second of a request's duration is in an expression of such (1000 for milliseconds); None for all else."""
    selected = selections_of(node, "")
    longest = _longest(found.metric or "" for found in selected if not found.under)
    high = range_of(node).high
    return high / _LONGEST if selected and math.isfinite(longest) and math.isfinite(high) else None


def _call(node: Any, tops: Mapping[str, float]) -> Range:
    name, given = node.func.name, list(node.args)
    if name in ("rate", "irate") and _selects(given[0], "node_cpu_seconds_total"):
        return _SHARE  # seconds of one CPU in one mode, by second
    if name in ("rate", "irate", "increase"):
        return _growth(name, given[0])
    if name == "histogram_quantile":
        return _quantile(number_of(given[0]), given[1], tops)
    if name in _CALLS:
        return _CALLS[name]
    if name in _AMONG:
        inner = range_of(given[0], tops)
        return inner if name in _WHOLE_AMONG else replace(inner, whole=False)
    if name == "quantile_over_time":
        return replace(range_of(given[1], tops), whole=False) if _is_share_of_one(given[0]) else ANYTHING
    if name == "sum_over_time":
        inner = range_of(given[0], tops)
        return Range(inner.low, math.inf, inner.whole) if inner.low >= 0 else ANYTHING
    if name == "abs":
        inner = range_of(given[0], tops)
        return inner if inner.low >= 0 else Range(0, max(-inner.low, inner.high), inner.whole)
    if name in ("ceil", "floor", "round"):
        inner = range_of(given[0], tops) if len(given) == 1 else ANYTHING
        return Range(_whole(math.floor, inner.low), _whole(math.ceil, inner.high), len(given) == 1)
    bounds = [number_of(one) for one in given[1:]]
    if name in ("clamp", "clamp_min", "clamp_max") and None not in bounds:
        low = bounds[0] if name != "clamp_max" else -math.inf
        high = bounds[-1] if name != "clamp_min" else math.inf
        inner = range_of(given[0], tops)
        return Range(min(max(inner.low, low or 0), high or 0), max(min(inner.high, high or 0), low or 0))
    return ANYTHING


def _quantile(quantile: float | None, buckets: Any, tops: Mapping[str, float]) -> Range:
    if quantile is not None and quantile > 1:
        return Range(math.inf, math.inf)
    selected = {found.metric or "" for found in selections_of(buckets, "")}
    if quantile == 0 and selected and all(metric.endswith("_bucket") for metric in selected):
        return Range(-math.inf, 0)  # where the lowest bucket begins
    known = [tops[metric] for metric in selected if metric in tops]
    longest = _longest(selected)
    # Nothing takes no time, or less.
    low = -math.inf if math.isinf(longest) else _LEAST if quantile is not None and quantile > 0 else 0.0
    return Range(low, min(max(known), longest) if selected and len(known) == len(selected) else longest)


def _whole(rounded: Callable[[float], int], value: float) -> float:
    return value if math.isinf(value) else float(rounded(value))


def _is_share_of_one(node: Any) -> bool:
    number = number_of(node)
    return number is not None and 0 <= number <= 1


def _selects(node: Any, metric: str) -> bool:
    return [found.metric for found in selections_of(node, "")] == [metric]


def _aggregate(node: Any, tops: Mapping[str, float]) -> Range:
    name, inner = str(node.op), range_of(node.expr, tops)
    if name in _AGGREGATED_AMONG or (name == "quantile" and _is_share_of_one(node.param)):
        return inner if name not in ("avg", "quantile") else replace(inner, whole=False)
    if name == "sum":
        high = inner.high if inner.high <= 0 or inner.together else math.inf
        return Range(inner.low if inner.low >= 0 else -math.inf, high, inner.whole, inner.together)
    if name == "count":
        return Range(1, math.inf, whole=True)
    if name == "group":
        return _ONE
    if name == "stddev" and math.isfinite(inner.high - inner.low):
        return Range(0, (inner.high - inner.low) / 2)
    return _NOT_NEGATIVE if name in ("stddev", "stdvar") else ANYTHING


def _binary(node: Any, tops: Mapping[str, float]) -> Range:
    operation = str(node.op)
    if operation in _COMPARISONS:
        return _compared(node, tops)
    if operation in ("and", "unless"):
        return range_of(node.lhs, tops)
    left, right = range_of(node.lhs, tops), range_of(node.rhs, tops)
    whole = left.whole and right.whole
    if operation == "or":
        return Range(min(left.low, right.low), max(left.high, right.high), whole)
    if operation == "+":
        return Range(left.low + right.low, left.high + right.high, whole)
    if operation == "-" and is_part(node.rhs, node.lhs):
        return replace(_NOT_NEGATIVE, whole=whole)
    if operation == "-" and _is_age_of_samples(node):
        return Range(0, _LOOKBACK)
    if operation == "-":
        return Range(left.low - right.high, left.high - right.low, whole)
    if operation == "*":
        return _product(left, right)
    if operation == "/":
        return _quotient(node, left, right)
    if operation == "%" and (modulus := number_of(node.rhs)) and modulus > 0 and left.low >= 0:
        return Range(0, modulus - 1, whole=True) if left.whole and modulus % 1 == 0 else Range(0, modulus)
    return ANYTHING


def _is_age_of_samples(difference: Any) -> bool:
    """Whether the age of the last samples is computed, by which series vanish when they are old."""
    clock, last = bare(difference.lhs), bare(difference.rhs)
    if not (kind_of(clock) == kind_of(last) == "Call" and (clock.func.name, last.func.name) == ("time", "timestamp")):
        return False
    selector = bare(last.args[0])
    return kind_of(selector) == "VectorSelector" and not selector.offset and not selector.at


def _compared(node: Any, tops: Mapping[str, float]) -> Range:
    """What a comparison lets through, or 0 and 1."""
    if node.modifier is not None and node.modifier.return_bool:
        return _SWITCHED
    left, right, operation = range_of(node.lhs, tops), range_of(node.rhs, tops), str(node.op)
    if operation in (">", "<", "!=") and right.low == right.high:
        return left.beyond(operation, right.low)
    if operation in (">", ">="):
        return left.within(Range(right.low, math.inf))
    if operation in ("<", "<="):
        return left.within(Range(-math.inf, right.high))
    return left.within(right) if operation == "==" else left


def _product(left: Range, right: Range) -> Range:
    corners = [
        0.0 if 0 in (one, other) else one * other for one in (left.low, left.high) for other in (right.low, right.high)
    ]
    return Range(min(corners), max(corners), left.whole and right.whole)


def _quotient(node: Any, left: Range, right: Range) -> Range:
    if divides_itself(node):
        return _ONE
    if (number := number_of(node.rhs)) is not None:
        return _product(left, Range(1 / number, 1 / number)) if number else ANYTHING
    factor, part = _factored(node.lhs)
    if factor is not None and (most := _most_of(part, node.rhs)) is not None:
        return _product(Range(0, most), Range(factor, factor))
    return _NOT_NEGATIVE if left.low >= 0 and right.low >= 0 else ANYTHING


def _most_of(part: Any, whole: Any) -> float | None:
    """How many times something one can be at most: once where it is a part of it, a few times where that is a limit.

    A mean is one of durations, at most as many times the number of requests as they take. None where nothing is known.
    """
    if is_part(part, whole):
        return 1
    found = _one_of_each(part, whole)
    if found is None or any(kind_of(node) == "BinaryExpr" for side in (part, whole) for node in nodes_of(side)):
        return None
    some, every = (one.metric or "" for one in found)
    if (some, every) == ("node_cpu_seconds_total",) * 2 and _per_second(part) and _sum_by_count(part, whole):
        return 1  # seconds of all CPUs, by their number
    alike = found[0].functions == found[1].functions and set(found[1].conditions) <= set(found[0].conditions)
    for pattern, named, most in _PARTS:
        if alike and (so := pattern.fullmatch(some)) and every == f"{so[1]}{named}":
            return most
    if some.removesuffix("_sum") == every.removesuffix("_count") != every:
        longest = _longest([some.removesuffix("_sum")])
        return longest if math.isfinite(longest) else None
    related = some.partition("_")[0] == every.partition("_")[0] or {some[:5], every[:5]} <= {"kube_", "conta"}
    return _OF_LIMIT if related and _LIMIT.fullmatch(every) and not _LIMIT.fullmatch(some) else None


def _per_second(node: Any) -> bool:
    return any(kind_of(one) == "Call" and one.func.name in ("rate", "irate") for one in nodes_of(node))


def _sum_by_count(part: Any, whole: Any) -> bool:
    """Whether one is a sum and the other a count, by the same labels."""
    sides = bare(part), bare(whole)
    if any(kind_of(side) != "AggregateExpr" for side in sides) or [str(side.op) for side in sides] != ["sum", "count"]:
        return False
    part_by, whole_by = (
        None if side.modifier is None else (str(side.modifier.type), sorted(side.modifier.labels)) for side in sides
    )
    return part_by == whole_by


def _factored(node: Any) -> tuple[float | None, Any]:
    """The number that something is multiplied with, and that."""
    node = bare(node)
    if kind_of(node) == "BinaryExpr" and str(node.op) == "*":
        for number, other in ((node.lhs, node.rhs), (node.rhs, node.lhs)):
            if (factor := number_of(number)) is not None:
                return factor, bare(other)
    return 1.0, node


def is_part(part: Any, whole: Any) -> bool:
    """Whether one is a part of the other: the sum of some series of a metric and of all, the free part of a size and that.

    What is left of the whole without such a part is one, too.
    """
    part = bare(part)
    if kind_of(part) == "BinaryExpr" and str(part.op) == "-" and _text(part.lhs) == _text(whole):
        part = part.rhs
    if _counts_some(part, bare(whole)) or _sums_what_is_up(part, bare(whole)):
        return True
    if any(kind_of(node) == "BinaryExpr" for side in (part, whole) for node in nodes_of(side)):
        return False  # such as sum(100 * a) / sum(a)
    found = _one_of_each(part, whole)
    if found is None:
        return False
    some, every = found
    if some.functions != every.functions or not set(every.conditions) <= set(some.conditions):
        return False
    if some.metric == every.metric:
        return "sum" in some.functions
    parts, sizes = _PART.fullmatch(some.metric or ""), _SIZE.fullmatch(every.metric or "")
    return bool(parts and sizes and parts[1] == sizes[1])


def _counts_some(part: Any, whole: Any) -> bool:
    """Whether one counts those of the other that meet a condition: `count by (job) (up == 0)` and `count by (job) (up)`."""
    if not all(kind_of(side) == "AggregateExpr" and str(side.op) == "count" for side in (part, whole)):
        return False
    counted = bare(part.expr)
    if kind_of(counted) != "BinaryExpr" or str(counted.op) not in _COMPARISONS or counted.modifier is not None:
        return False
    grouped = [
        _text(side).partition("(")[0] if side.modifier is None else sorted(side.modifier.labels)
        for side in (part, whole)
    ]
    kinds = [None if side.modifier is None else str(side.modifier.type) for side in (part, whole)]
    return grouped[0] == grouped[1] and kinds[0] == kinds[1] and _text(counted.lhs) == _text(whole.expr)


def _sums_what_is_up(part: Any, whole: Any) -> bool:
    """Whether one is the sum of what is 0 or 1, and the other how many of these there are."""
    return _sum_by_count(part, whole) and range_of(part.expr) == _SWITCHED and _text(part.expr) == _text(whole.expr)


def times_of_whole(comparison: Any) -> float | None:
    """With how many times the most that a part of a whole, or a use of a limit, can be it is compared; None for all else."""
    factor, whole = _factored(comparison.rhs)
    if factor is None or number_of(whole) is not None or (most := _most_of(comparison.lhs, whole)) is None:
        return None
    return factor / most


def divides_itself(node: Any) -> bool:
    """Whether each series of a quotient is divided by itself, which gives 1.

    So it is where both sides are some and all of a metric, and keep the labels that tell these apart: they are joined by them.
    """
    node = bare(node)
    if (
        kind_of(node) != "BinaryExpr"
        or str(node.op) != "/"
        or (node.modifier is not None and node.modifier.matching is not None)
    ):
        return False
    (factor, part), (other, whole) = _factored(node.lhs), _factored(node.rhs)
    if (
        factor != 1
        or other != 1
        or any(kind_of(inner) == "BinaryExpr" for side in (part, whole) for inner in nodes_of(side))
    ):
        return False
    found = _one_of_each(part, whole)
    if found is None:
        return False
    some, every = found
    if (
        some.metric != every.metric
        or some.functions != every.functions
        or not set(every.conditions) < set(some.conditions)
    ):
        return False
    apart = {condition.name for condition in set(some.conditions) - set(every.conditions)}
    return _keeps(part, apart) and _keeps(whole, apart)


def _keeps(node: Any, labels: set[str]) -> bool:
    """Whether an expression's series still have these labels."""
    node = bare(node)
    if kind_of(node) in ("VectorSelector", "MatrixSelector"):
        return True
    if kind_of(node) == "Call":
        return len(node.args) == 1 and node.func.name not in ("absent", "scalar") and _keeps(node.args[0], labels)
    if kind_of(node) != "AggregateExpr" or node.modifier is None:
        return False
    named, by = set(node.modifier.labels), str(node.modifier.type).endswith("By")
    return (labels <= named if by else labels.isdisjoint(named)) and _keeps(node.expr, labels)


def _one_of_each(part: Any, whole: Any) -> tuple[Selection, Selection] | None:
    """What the two sides select, where each selects one metric by its name."""
    some, every = selections_of(part, ""), selections_of(whole, "")
    if len(some) != 1 or len(every) != 1 or some[0].metric is None or every[0].metric is None:
        return None
    return some[0], every[0]


def _text(node: Any) -> str:
    return str(bare(node).prettify())


def parts_of(node: Any) -> list[Any]:
    """The parts of which an expression is made."""
    parts = [part for name in ("lhs", "rhs", "expr", "param") if (part := getattr(node, name, None)) is not None]
    return [*parts, *(getattr(node, "args", None) or ())]


def nodes_of(node: Any) -> list[Any]:
    """An expression and all its parts."""
    return [node, *(inner for part in parts_of(node) for inner in nodes_of(part))]
