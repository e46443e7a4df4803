"""Whether the instances are one healthy cluster."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from collectors.systems.postgresql.model.instance import (
    Instance,
    names,
)
from exporter.options import format_duration
from exporter.verdict import Result, failed, ok, unknown


def judge_instances(instances: Sequence[Instance], unseen: int, max_latency: timedelta, how: str) -> Result:
    """Whether the instances that answered are one healthy cluster.

    `unseen` are those that did not answer, `how` says in a few words how much of them is seen.
    """
    measured: dict[str, Any] = {"latency_seconds": max(instance.latency for instance in instances)}
    primaries = [instance for instance in instances if not instance.identity.in_recovery]
    clusters = {instance.identity.system_identifier for instance in instances}
    if len(clusters) > 1:
        return failed(f"{names(instances)} are of {len(clusters)} different clusters (system identifiers).", **measured)
    if len({instance.identity.started for instance in primaries}) > 1:
        return failed(f"Split brain: {names(primaries)} are all primaries of cluster {clusters.pop()}.", **measured)
    if same := _named_twice(instances):
        return unknown(
            f"{names(same)} are one server, so the other instances may not have been seen: name each instance once.",
            **measured,
        )
    for instance in instances:
        if instance.latency > max_latency.total_seconds():
            return failed(
                f"{instance.where} answers after {instance.latency * 1000:.0f} ms (limit {format_duration(max_latency)}).",
                **measured,
            )
    if not primaries:
        if unseen or len(instances) == 1:
            return unknown(f"{names(instances)} answered as standby; the primary was not seen.", **measured)
        return failed(f"There is no primary: {names(instances)} are all standbys.", **measured)
    standbys = len(instances) - 1
    return ok(
        f"{primaries[0].where} is the primary, with {standbys} standby{'s' if standbys != 1 else ''} answering too, within "
        f"{measured['latency_seconds'] * 1000:.0f} ms, {how}.",
        **measured,
    )


def _named_twice(instances: Sequence[Instance]) -> list[Instance]:
    """Those of one cluster that started in the same microsecond: one server, by several names."""
    starts = [instance.identity.started for instance in instances]
    return [instance for instance in instances if starts.count(instance.identity.started) > 1]
