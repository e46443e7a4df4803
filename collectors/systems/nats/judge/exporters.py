"""Whether exporters report these servers, as they are now."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from collectors.systems.nats.model import Monitor, Varz
from collectors.systems.prometheus.model.answers import Sample
from collectors.systems.prometheus.model.scrape import Scrape
from exporter.options import format_duration
from exporter.verdict import Reason, Result, failed, unknown
from exporter.words import listed

__all__ = ["exporter_problems", "frozen_problems"]

_SERVER_ID = re.compile(r"N[A-Z2-7]{55}")


def frozen_problems(
    scrape: Scrape, asked: str, counts: Iterable[Sample], changes: Iterable[Sample]
) -> Iterator[Result]:
    """Whether exporters ask their servers: prometheus-nats-exporter goes on giving the last figures of one that is gone.

    `asked` is the metric that counts its requests, `counts` how often that was scraped of late, and `changes` how often it changed.
    """
    often = {frozenset(sample.labels.items()): sample.value for sample in counts}
    if not often:
        yield unknown(
            f"Prometheus has no {asked}, so whether the exporters reach their servers was not checked.",
            reason=Reason.MISSING,
        )
    elif min(often.values()) < 2:  # one scrape shows no change
        yield unknown(f"{asked} was scraped once; the next scrapes show whether it changes.", reason=Reason.PENDING)
    for sample in changes:
        if not sample.value and often.get(frozenset(sample.labels.items()), 0) > 1:
            yield failed(
                f"Exporter {sample.labels.get('instance', '')} has not reached NATS server "
                f"{sample.labels.get('server_id', '')[:40]} for {format_duration(scrape.stale_after)}: its figures do not change.",
                reason=Reason.STALE,
            )


def exporter_problems(reported: Iterable[str], monitors: Sequence[Monitor]) -> Iterator[Result]:
    """Whether the servers that exporters report (by their label server_id: identifier, name or address) are these.

    An address shows nothing when it is the exporter's own view, as localhost is; then which server it is was not checked.
    """
    known = {name for monitor in monitors for name in _names(monitor)}
    found = {label.rstrip("/") for label in reported}
    if any(isinstance(monitor.varz, Varz) and monitor.varz.fresh for monitor in monitors):
        return  # what has just started has a new identifier
    for label in sorted(found - known):
        if _SERVER_ID.fullmatch(label):
            yield failed(
                f"An exporter reports NATS server {label[:12]}…, which is none of {listed(m.name for m in monitors)}.",
                reason=Reason.CONTRADICTED,
            )
    if found and all(label in known or _SERVER_ID.fullmatch(label) for label in found):
        for monitor in monitors:
            if not found & _names(monitor):
                yield failed(
                    f"No exporter reports NATS server {monitor.name}: several report the same server, or another one.",
                    reason=Reason.MISSING,
                )


def _names(monitor: Monitor) -> set[str]:
    """What an exporter may call a server."""
    name = {monitor.varz.server_name} if isinstance(monitor.varz, Varz) else set()
    return {*monitor.server_ids, *name, monitor.where.rstrip("/")} - {""}
