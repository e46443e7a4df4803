"""Whether a test report proves that something was tested and works."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from collectors.systems.reports.model.report import Report
from exporter.verdict import Reason, Result, failed, unknown
from exporter.words import counted, format_length, listed

__all__ = ["age_problems", "case_problems"]

_ZONES = timedelta(hours=14)  # a time without a zone may be that far ahead


def case_problems(report: Report, wanted: Iterable[str] = (), *, min_tests: int = 1) -> Iterator[Result]:
    """What speaks against the report: failures, too few tests that passed, wanted tests that did not run, an incomplete file.

    `wanted` are regular expressions; each must be found in the name of a test that passed, without that of its class: the class
    PaymentTests would make a test of a payment of each of its tests.
    """
    tests = report.tests
    assert tests is not None
    if tests.failures:
        names = listed(tests.failed)
        yield failed(f"The {report.format} report has {counted(tests.failures, 'failed test')}: {names}.")
    for problem in report.problems:
        yield unknown(f"The {report.format} report is not complete: {problem}.", reason=Reason.MALFORMED)
    if (passed := len(tests.passed)) < min_tests:
        skipped = f" and {tests.skipped} skipped" if tests.skipped else ""
        yield unknown(
            f"The {report.format} report has {counted(passed, 'passed test')}{skipped} (at least {min_tests} wanted).",
            reason=Reason.MISSING,
        )
    for expression in wanted:
        if not any(re.search(expression, name) for name in tests.names):
            yield unknown(
                f"The {report.format} report has no passed test whose name contains {expression}.",
                reason=Reason.MISSING,
            )


def age_problems(report: Report, now: datetime, longest: timedelta) -> Iterator[Result]:
    """Whether the run ended in the future or too long ago: the record may be newer than the run that it is about."""
    if report.finished is None:
        return
    if report.finished > now + _ZONES:
        yield failed(
            f"The {report.format} report ended on {report.finished:%Y-%m-%d}, which is in the future.",
            reason=Reason.INVALID,
        )
    elif now - report.finished > longest:
        yield failed(
            f"The {report.format} report is {format_length(now - report.finished)} old "
            f"(at most {format_length(longest)}).",
            reason=Reason.EXPIRED,
        )
