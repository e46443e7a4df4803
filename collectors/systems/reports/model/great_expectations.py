"""Great Expectations: the JSON of a validation result, as its validation store keeps it."""

from __future__ import annotations

from typing import Any

import msgspec

from collectors.systems.reports.model.report import Checks, Kind, Report, decoded, moment
from exporter.words import counted

__all__ = ["read_great_expectations"]


class _Expectation(msgspec.Struct):
    type: str = ""
    older_type: str = msgspec.field(name="expectation_type", default="")
    kwargs: dict[str, Any] = {}
    severity: str | None = None


class _Outcome(msgspec.Struct):
    success: bool | None = None
    expectation: _Expectation = msgspec.field(name="expectation_config", default_factory=_Expectation)
    result: dict[str, Any] | None = None
    exception: dict[str, Any] | None = msgspec.field(name="exception_info", default=None)

    @property
    def name(self) -> str:
        """The kind of expectation and the columns that it is about."""
        kind = self.expectation.type or self.expectation.older_type
        columns = [str(value) for name, value in self.expectation.kwargs.items() if name.startswith("column") and value]
        return f"{kind} ({', '.join(columns)})" if columns else kind

    @property
    def raised(self) -> bool:
        """Whether it could not be evaluated: the entry is one exception, or has one for each metric."""
        found = self.exception or {}
        entries = [found, *(value for value in found.values() if isinstance(value, dict))]
        return self.success is None or any(entry.get("raised_exception") for entry in entries)

    @property
    def is_blocking(self) -> bool:
        """Whether its failure is more than a warning; every failure is, before severities came."""
        return (self.expectation.severity or "critical").lower() == "critical"

    def number(self, name: str) -> float | None:
        """A number of the result; None where the result format leaves it out."""
        value = (self.result or {}).get(name)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None

    @property
    def looked_at_rows(self) -> bool:
        """Whether it shows that there were rows: a count above zero, or any value that was observed."""
        count = self.number("element_count")
        observed = (self.result or {}).get("observed_value")
        return bool(count) if count is not None else observed not in (None, 0, [], {})


class _Statistics(msgspec.Struct):
    evaluated: int = msgspec.field(name="evaluated_expectations", default=0)


class _Run(msgspec.Struct):
    run_time: str = ""


class _Batch(msgspec.Struct):
    datasource: str = msgspec.field(name="datasource_name", default="")


class _Meta(msgspec.Struct):
    version: str = msgspec.field(name="great_expectations_version", default="")
    batch: _Batch | None = msgspec.field(name="active_batch_definition", default=None)
    run: _Run | None = msgspec.field(name="run_id", default=None)
    validated: str | None = msgspec.field(name="validation_time", default=None)


class _Validation(msgspec.Struct):
    success: bool
    results: list[_Outcome]
    statistics: _Statistics
    meta: _Meta


def read_great_expectations(content: bytes) -> Report:
    """Its target is the data source. That there were rows is seen from counts and observed values, where the result format has any.

    Raises ProbeError for another format.
    """
    read = decoded(content, _Validation, "Great Expectations", "validation result")
    evaluated = [each for each in read.results if not each.raised]
    failures = [each for each in evaluated if not each.success]
    problems = []
    if read.statistics.evaluated != len(read.results):
        problems.append(f"it has {counted(len(read.results), 'result')} of {read.statistics.evaluated}")
    if not read.success and len(evaluated) == len(read.results) and not failures:
        problems.append("it says that it failed, and no result of it did")
    if evaluated and not any(each.looked_at_rows for each in read.results):
        problems.append("no result shows that there were rows (an empty table, or the result format BOOLEAN_ONLY)")
    meta = read.meta
    return Report(
        "Great Expectations",
        Kind.DATA,
        tool=f"Great Expectations {meta.version}".strip(),
        finished=moment(meta.validated or (meta.run.run_time if meta.run else "")),
        target=meta.batch.datasource if meta.batch else None,
        problems=tuple(problems),
        checks=Checks(
            passed=tuple(each.name for each in evaluated if each.success),
            failed=tuple(each.name for each in failures if each.is_blocking),
            warned=tuple(each.name for each in failures if not each.is_blocking),
            errors=tuple(each.name for each in read.results if each.raised),
            loose=tuple(each.name for each in evaluated if each.success and each.number("unexpected_count")),
            blank=tuple(each.name for each in evaluated if each.success and _only_nulls(each)),
        ),
    )


def _only_nulls(outcome: _Outcome) -> bool:
    count, missing = outcome.number("element_count"), outcome.number("missing_count")
    return count is not None and missing is not None and count == missing > 0
