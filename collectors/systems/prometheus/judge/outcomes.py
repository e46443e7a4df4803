"""Whether what is attempted succeeds."""

from __future__ import annotations

from collections.abc import Iterator

from collectors.systems.prometheus.model.outcomes import Growth, Outcomes
from exporter.options import format_duration
from exporter.verdict import Reason, Result, failed, unknown
from exporter.words import counted, listed

__all__ = ["outcome_problems"]

_LEAST = 0.5  # of one attempt: `increase` extrapolates
_EXTRAPOLATED = 1.1


def outcome_problems(attempts: Growth, succeeded: Growth, options: Outcomes, what: str) -> Iterator[Result]:
    """Nothing attempted, nothing that succeeded, or too much that failed; `what` is one attempt, in words."""
    window = format_duration(options.window)
    if not attempts.present:
        yield unknown(f"Prometheus has no series of {listed(options.attempts)} now.", reason=Reason.MISSING)
        return
    if attempts.added < _LEAST:
        yield unknown(f"No {what} was counted within {window}, so none was observed.", reason=Reason.NOT_VERIFIED)
        return
    if succeeded.added < _LEAST:
        yield failed(f"None of {counted(round(attempts.added), what)} within {window} succeeded.", reason=Reason.DOWN)
        return
    if succeeded.added > attempts.added * _EXTRAPOLATED + 1:
        yield unknown(
            f"{listed(options.succeeded)} grew by {succeeded.added:.0f} within {window}, and {listed(options.attempts)} by "
            f"{attempts.added:.0f} only: these do not count all attempts.",
            reason=Reason.MISCONFIGURED,
        )
        return
    ratio = 1 - succeeded.added / attempts.added
    if ratio > options.max_failure_ratio:
        yield failed(
            f"{ratio:.1%} of {counted(round(attempts.added), what)} within {window} did not succeed "
            f"(limit {options.max_failure_ratio:.1%}).",
            reason=Reason.LIMIT,
        )
    if succeeded.grown < _LEAST:
        yield unknown(
            f"{listed(options.succeeded)} began within {window} and did not grow since, so whether a {what} succeeded was not "
            "observed.",
            reason=Reason.PENDING,
        )
