"""Whether a report of checks on data proves that the data is sound."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

from pydantic import Field, field_validator

from collectors.systems.reports.model.report import Checks, Report
from exporter.options import Duration, Options
from exporter.verdict import Reason, Result, failed, unknown, warning
from exporter.words import counted, listed

__all__ = ["DataLimits", "data_problems"]


class DataLimits(Options):
    """What a report of checks on data must be about, and how much of it."""

    name: str = Field(min_length=1, max_length=100, description="What the report is called in verdicts.")
    target: str = Field(
        min_length=1,
        description="What must have been checked, as the report names it: dbt's --target, or the data source.",
    )
    max_age: Duration = Field(timedelta(hours=26), gt=timedelta(0), description="Maximum age of the run.")
    min_checks: int = Field(1, ge=1, description="Minimum number of checks that passed.")
    checks: tuple[str, ...] = Field(
        (),
        description="Regular expressions, each of which must be found in the name of a check that passed. With them, a run of some "
        "of the checks (dbt's --select) is enough.",
    )

    @field_validator("checks")
    @classmethod
    def _expressions(cls, checks: tuple[str, ...]) -> tuple[str, ...]:
        for expression in checks:
            try:
                re.compile(expression)
            except re.error:
                raise ValueError(f"expected regular expressions, found {expression!r}") from None
        return checks


def data_problems(report: Report, limits: DataLimits) -> Iterator[Result]:
    """What speaks against the report: checks that failed, another target, a part of the checks only, nothing examined."""
    checks = report.checks
    assert checks is not None
    what = f"The {report.format} report {limits.name}"
    if checks.failed:
        yield failed(f"{what} has {_named(checks.failed, 'failed check')}.", reason=Reason.UNMET)
    yield from _doubts(what, report, limits)
    yield from _gaps(what, checks, limits)
    if checks.warned:
        yield warning(f"{what} has {_named(checks.warned, 'warning')}.")
    if checks.loose:
        yield warning(f"{what} has checks that passed with exceptions: {listed(checks.loose)}.")
    if checks.blank:
        yield warning(f"{what} has checks that found only NULL: {listed(checks.blank)}.")
    if checks.disabled:
        yield warning(f"{what} is of a project with {_named(checks.disabled, 'disabled check')}.")


def _doubts(what: str, report: Report, limits: DataLimits) -> Iterator[Result]:
    """Whether it is about the right thing at a known time, and whole."""
    if not report.target:
        yield unknown(f"{what} does not state its target (expected {limits.target}).", reason=Reason.MISSING)
    elif report.target != limits.target:
        yield unknown(f"{what} is about {report.target} (expected {limits.target}).", reason=Reason.CONTRADICTED)
    if report.finished is None:
        yield unknown(f"{what} does not state when it ran.", reason=Reason.MISSING)
    for problem in report.problems:
        yield unknown(f"{what} proves nothing: {problem}.", reason=Reason.INVALID)


def _gaps(what: str, checks: Checks, limits: DataLimits) -> Iterator[Result]:
    """Which checks were not made. Those that were asked for by name are enough where there are such names."""
    if checks.errors:
        yield unknown(f"{what} has {_named(checks.errors, 'check')} that could not be evaluated.", reason=Reason.ERROR)
    if checks.skipped and not limits.checks:
        yield unknown(f"{what} has {_named(checks.skipped, 'check')} that did not run.", reason=Reason.MISSING)
    if checks.selection and not limits.checks:
        yield unknown(f"{what} is about a part of the checks ({checks.selection}).", reason=Reason.MISSING)
    if (passed := len(checks.passed)) < limits.min_checks:
        yield unknown(
            f"{what} has {counted(passed, 'passed check')} (at least {limits.min_checks} wanted).",
            reason=Reason.MISSING,
        )
    for expression in limits.checks:
        if not any(re.search(expression, name) for name in checks.passed):
            yield unknown(f"{what} has no passed check whose name contains {expression}.", reason=Reason.MISSING)


def _named(names: tuple[str, ...], what: str) -> str:
    """How many there are, and their names: `2 failed checks (unique_id and not_null_id)`."""
    return f"{counted(len(names), what)} ({listed(names)})"
