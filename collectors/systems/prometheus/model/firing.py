"""When an expression can be true: its alternatives, and each without its comparisons, as what a server may be asked for.

`a / on(x) b > 5` is true of nothing today. That `a / on(x) b > bool 5` gives nothing either means that it never will be.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from collectors.systems.prometheus.model.promql import Selection, parse, selections_of

__all__ = ["alternatives", "always_fires", "never_true", "possible"]

Filters = Callable[[str], bool]

_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
_OF_TWO_SAMPLES = frozenset({"rate", "irate", "increase", "delta", "idelta", "deriv", "predict_linear"})
_ABSENT = frozenset({"absent", "absent_over_time"})
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


def always_fires(expr: str) -> bool:
    """Whether an expression is true of everything that it selects: it compares with `bool`, and so gives 0 where it is false."""
    node = _bare(parse(expr))
    return type(node).__name__ == "BinaryExpr" and str(node.op) in _COMPARISONS and _returns_bool(node)


def never_true(expr: str) -> str:
    """Why no series whatever can make an expression true, as the end of a sentence; empty where one could.

    A share of a whole is never more than 1 (5 was meant as percent), and count() of nothing is nothing, not 0.
    """
    node = _bare(parse(expr))
    if type(node).__name__ != "BinaryExpr" or str(node.op) not in _COMPARISONS:
        return ""
    operation, left, right = str(node.op), _bare(node.lhs), _bare(node.rhs)
    if type(right).__name__ != "NumberLiteral":
        return ""
    if _is_share(left) and ((operation == ">" and right.val >= 1) or (operation == ">=" and right.val > 1)):
        return f"its left side is a share of a whole, which is never {operation} {right.val:g}"
    counts = type(left).__name__ == "AggregateExpr" and str(left.op) == "count"
    too_few = {"<": right.val <= 1, "<=": right.val < 1, "==": right.val < 1}
    if counts and too_few.get(operation):
        return f"count() of nothing is nothing, and so never {operation} {right.val:g}"
    return ""


def _is_share(node: Any) -> bool:
    """Whether an expression is the sum of some series of a metric by the sum of all of them."""
    if type(node).__name__ != "BinaryExpr" or str(node.op) != "/":
        return False
    some, whole = selections_of(node.lhs, ""), selections_of(node.rhs, "")
    if len(some) != 1 or len(whole) != 1 or some[0].metric is None:
        return False
    (part,), (all_of,) = some, whole
    same = part.metric == all_of.metric and part.functions == all_of.functions and "sum" in part.functions
    return same and set(all_of.conditions) <= set(part.conditions)


def _bare(node: Any) -> Any:
    while type(node).__name__ == "ParenExpr":
        node = node.expr
    return node


def _returns_bool(node: Any) -> bool:
    return node.modifier is not None and node.modifier.return_bool


def possible(expr: str, filters: Filters = lambda _label: True) -> str:
    """An expression whose result is empty only where this one can never be true of any series that there are now.

    Comparisons are made to filter nothing, what is missing is taken to be missing, and what would take away takes nothing away.
    Of label filters those stay for which `filters` says so, by their label. Raises ProbeError when it is not understood.
    """
    return _possible(parse(expr), filters)


def _possible(node: Any, filters: Filters) -> str:
    kind = type(node).__name__
    if kind in ("VectorSelector", "MatrixSelector"):
        return _filtered(node, filters)
    if kind == "BinaryExpr":
        return _joined(node, filters)
    if kind == "Call":
        if node.func.name in _ABSENT:
            return _missing(node.args[0])
        if node.func.name in _OF_TWO_SAMPLES:  # which there may not be yet, after a start
            return f"last_over_time({_possible(node.args[0], filters)})"
        return f"{node.func.name}({', '.join(_possible(argument, filters) for argument in node.args)})"
    if kind == "AggregateExpr":
        parameter = f"{_possible(node.param, filters)}, " if node.param is not None else ""
        return f"{node.op}{_grouping(node)}({parameter}{_possible(node.expr, filters)})"
    if kind == "ParenExpr":
        return f"({_possible(node.expr, filters)})"
    if kind == "UnaryExpr":
        return f"-({_possible(node.expr, filters)})"
    if kind == "SubqueryExpr":
        suffix = node.prettify()[len(node.expr.prettify()) :]
        return f"({_possible(node.expr, filters)}){suffix}"
    return str(node.prettify())


def _grouping(node: Any) -> str:
    if node.modifier is None:
        return " "
    word = "by" if str(node.modifier.type).endswith("By") else "without"
    return f" {word} ({', '.join(map(_label, node.modifier.labels))}) "


def _joined(node: Any, filters: Filters) -> str:
    operation = str(node.op)
    if operation in _COMPARISONS and not selections_of(node, ""):
        return str(node.prettify())  # of constants: as true today as it ever is
    left = _possible(node.lhs, filters)
    if operation == "unless":
        if selections_of(node.rhs, ""):
            return left
        return f"({left}) unless{_matching(node, compares=False)} ({node.rhs.prettify()})"
    right = _possible(node.rhs, filters)
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


def _filtered(node: Any, filters: Filters) -> str:
    selected = node.vector_selector if type(node).__name__ == "MatrixSelector" else node
    text = str(node.prettify())
    metric = selected.name
    given = selected.matchers.or_matchers or [selected.matchers.matchers]
    kept = [[one for one in matchers if one.name == "__name__" or filters(one.name)] for matchers in given]
    if kept == [list(matchers) for matchers in given]:
        return text
    if not all(kept):
        return f"{metric}{_after_braces(text)}" if metric else text  # a selector must select by something
    inner = " or ".join(",".join(map(_matcher, matchers)) for matchers in kept)
    return f"{metric or ''}{{{inner}}}{_after_braces(text)}"


_SIGNS = {"MatchOp.Equal": "=", "MatchOp.NotEqual": "!=", "MatchOp.Re": "=~", "MatchOp.NotRe": "!~"}


def _matcher(matcher: Any) -> str:
    return f"{_label(matcher.name)}{_SIGNS[str(matcher.op)]}{json.dumps(matcher.value, ensure_ascii=False)}"


def _after_braces(selector: str) -> str:
    """The range, offset and time of a selector that has matchers."""
    for found in _QUOTED_OR_BRACE.finditer(selector):
        if found[0] == "}":
            return selector[found.end() :]
    return ""
