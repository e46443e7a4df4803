"""Soda Core 3: the JSON that `soda scan --scan-results-file` writes."""

from __future__ import annotations

from typing import Any

import msgspec

from collectors.systems.reports.model.report import Checks, Kind, Report, decoded, moment
from exporter.words import listed

__all__ = ["read_soda"]


class _Check(msgspec.Struct):
    name: str = ""
    table: str | None = None
    source: str | None = msgspec.field(name="dataSource", default=None)
    outcome: str | None = None

    @property
    def title(self) -> str:
        """Its table and what it checks."""
        return f"{self.table}: {self.name}" if self.table else self.name


class _Metric(msgspec.Struct):
    identity: str = ""
    name: str = msgspec.field(name="metricName", default="")
    value: Any = None


class _Soda(msgspec.Struct, rename="camel"):
    checks: list[_Check]
    has_errors: bool
    has_failures: bool = False
    default_data_source: str | None = None
    scan_start_timestamp: str | None = None
    scan_end_timestamp: str | None = None
    metrics: list[_Metric] = []


def read_soda(content: bytes) -> Report:
    """A check that could not be evaluated is missing from it, and only `hasErrors` shows that. Its target is the data source.

    Raises ProbeError for another format.
    """
    read = decoded(content, _Soda, "Soda", "scan results")

    def titled(*outcomes: str | None) -> tuple[str, ...]:
        return tuple(check.title for check in read.checks if check.outcome in outcomes)

    failed = titled("fail")
    sources = sorted({check.source for check in read.checks if check.source})
    problems = []
    if read.has_errors:
        problems.append("it had errors, and checks that could not be evaluated are missing from it")
    if read.has_failures and not failed:
        problems.append("it says that checks failed, and has none that did")
    empty = [metric.identity for metric in read.metrics if metric.name == "row_count" and metric.value == 0]
    if empty:
        problems.append(
            f"{listed([_scope(identity, read.default_data_source or '') for identity in empty])} had no rows"
        )
    return Report(
        "Soda",
        Kind.DATA,
        tool="Soda Core",
        started=moment(read.scan_start_timestamp),
        finished=moment(read.scan_end_timestamp),
        target=", ".join(sources) or read.default_data_source,
        problems=tuple(problems),
        checks=Checks(
            passed=titled("pass", "warn"),
            failed=failed,
            warned=titled("warn"),
            errors=tuple(check.title for check in read.checks if check.outcome not in ("pass", "warn", "fail")),
        ),
    )


def _scope(identity: str, source: str) -> str:
    """The table, and the filter if there is one, that a metric is of: `metric-Soda Core CLI-prod-orders-row_count`."""
    return identity.rpartition(f"-{source}-")[2].removesuffix("-row_count") or identity
