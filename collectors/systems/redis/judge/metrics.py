"""What an exporter shows of the nodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta

from collectors.systems.prometheus.model.answers import Sample
from collectors.systems.redis.model import (
    Look,
    each_once,
    seen,
)
from exporter.verdict import Reason, Result, failed, unknown

__all__ = ["scraped_problems"]


def scraped_problems(
    nodes: Iterable[Look], samples: Iterable[Sample], metric: str, wanted: int, stale_after: timedelta
) -> Iterator[Result]:
    """Each node is the one that an exporter reports, matched by `run_id`: two exporters on one node are one. `samples` are those
    of the metric that names the node; `wanted` is how many nodes have to be found.
    """
    found = {run for sample in samples if (run := sample.labels.get("run_id"))}
    if not found:
        yield unknown(
            f"Prometheus has no {metric} with a run_id, so which node each exporter scrapes was not checked.",
            reason=Reason.MISSING,
        )
        return
    answered = seen(each_once(nodes))
    missing = [node for node in answered if node.text("run_id") not in found]
    if len(answered) - len(missing) >= wanted:
        return
    for node in missing:
        if node.number("uptime_in_seconds") <= stale_after.total_seconds():
            yield unknown(
                f"{node.address} has just started and is in no {metric} yet, as its run_id is new.",
                reason=Reason.PENDING,
            )
        else:
            yield failed(
                f"No exporter scrapes {node.address}: its run_id is in no {metric} of Prometheus.",
                reason=Reason.MISSING,
            )
