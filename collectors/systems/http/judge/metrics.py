"""Whether a metrics endpoint gives what Prometheus can read, and what was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from collectors.systems.http.model.caches import cached_by
from collectors.systems.http.model.metrics import Exposition, MetricsOptions, Movement
from exporter.reply import Reply
from exporter.verdict import Reason, Result, failed, unknown, warning
from exporter.words import format_length, listed

__all__ = ["exposition_problems", "metrics_status_problems", "movement_problems"]

_TYPES = ("text/plain", "application/openmetrics-text")


def metrics_status_problems(reply: Reply) -> Iterator[Result]:
    """What the status of the answer says, where it is not 200."""
    if reply.status in (401, 403, 407):
        yield unknown(
            f"{reply.where} answered {reply.status}: the exporter's credentials were not accepted.",
            reason=Reason.DENIED,
        )
    elif reply.status in (404, 410):
        yield failed(f"{reply.where} answered {reply.status}: there is no metrics endpoint.", reason=Reason.MISSING)
    elif reply.status != 200:
        yield failed(f"{reply.where} answered {reply.status} (expected 200).", reason=Reason.DOWN)


def exposition_problems(reply: Reply, exposition: Exposition, options: MetricsOptions) -> Iterator[Result]:
    """What is missing in the metrics of a reply."""
    if not exposition.samples:
        old = ", but those that Prometheus drops for their own time stamps" if exposition.empty else ""
        yield failed(f"{reply.where} gives no samples{old}.", reason=Reason.MISSING)
    elif missing := [
        name for name in (*options.required_metrics, *options.moving_metrics) if name not in exposition.sums
    ]:
        blank = [name for name in missing if name in exposition.empty]
        yield failed(
            f"{reply.where} has {'only samples that are no numbers or too old' if blank else 'no samples'} of "
            f"{listed(blank or missing)}.",
            reason=Reason.MISSING,
        )
    if cache := cached_by(reply):
        yield unknown(
            f"{reply.where} was answered by a cache ({cache}), so the service was not observed.",
            reason=Reason.MISCONFIGURED,
        )
    if exposition.duplicates:
        yield warning(
            f"{reply.where} gives the same series of {listed(sorted(exposition.duplicates))} more than once; Prometheus stores one."
        )
    kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _TYPES:
        yield warning(f"{reply.where} answers with content type {kind or 'none'}, which Prometheus 3 does not scrape.")


def movement_problems(
    where: str, seen: Mapping[str, Movement], options: MetricsOptions, now: datetime
) -> Iterator[Result]:
    """Which counters stand still."""
    window = options.moving_within
    for name, movement in seen.items():
        if movement.increased is not None and now - movement.increased <= window:
            continue
        observed = now - movement.since
        if observed > window:
            yield failed(
                f"{where} has {name} at {movement.value:g}, which has not increased for {format_length(window)}.",
                reason=Reason.LIMIT,
            )
        else:
            yield unknown(
                f"{where} has {name}, which has not increased since it was first observed {format_length(observed)} ago "
                f"(window {format_length(window)}).",
                reason=Reason.PENDING,
            )
