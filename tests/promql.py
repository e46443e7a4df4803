"""What expressions select, and what there is to select from."""

from __future__ import annotations

from collections.abc import Iterator

import promql_parser
from prometheus_client import CollectorRegistry

from exporter.health import Health
from exporter.metrics import ChecklistCollector, HealthCollector
from exporter.plan import Plan

_SUFFIXES = {"counter": "_total", "info": "_info"}


def exported() -> set[str]:
    """The names of the series that the exporter tells of the checklist and of itself."""
    registry = CollectorRegistry()
    registry.register(ChecklistCollector(lambda: (Plan("", None, (), ()), ())))
    registry.register(HealthCollector(Health("1")))
    return {family.name + _SUFFIXES.get(family.type, "") for family in registry.collect()}


def selectors(promql: str) -> Iterator[promql_parser.VectorSelector]:
    """Every selector of an expression. Raises ValueError for what is no PromQL."""
    found: list[promql_parser.VectorSelector] = []

    def visit(expression: promql_parser.Expr) -> None:
        if isinstance(expression, promql_parser.VectorSelector):
            found.append(expression)

    promql_parser.walk(promql_parser.parse(promql), visit)
    return iter(found)


def selected(promql: str) -> set[str | None]:
    """The names of the metrics that an expression selects; None where it selects by other labels alone."""
    return {selector.name for selector in selectors(promql)}


__all__ = ["exported", "selected", "selectors"]
