"""Whether somebody would take over."""

from __future__ import annotations

from typing import Any

from collectors.systems.postgresql.model.patroni import PatroniCluster
from exporter.verdict import Result, failed, ok


def judge_patroni(cluster: PatroniCluster, system_identifier: str, max_lag: int) -> Result:
    """Whether Patroni would fail this cluster over by itself."""
    leaders = [member for member in cluster.members if member.leads]
    candidates = [member for member in cluster.members if member.could_lead(max_lag, synchronous=cluster.synchronous)]
    measured: dict[str, Any] = {"failover_candidates": float(len(candidates))}
    if cluster.system_identifier != system_identifier:
        return failed(
            f"Patroni speaks of cluster {cluster.system_identifier or 'without an identifier'}, not of {system_identifier}.",
            **measured,
        )
    if cluster.pause:
        return failed("Patroni is paused: nobody takes over when the leader is lost.", **measured)
    if len(leaders) != 1:
        return failed(f"Patroni shows {len(leaders)} running leaders (wanted 1).", **measured)
    if not candidates:
        needed = "synchronous standby" if cluster.synchronous else "standby"
        return failed(f"Patroni shows no {needed} that could take over.", **measured)
    return ok(
        f"Patroni shows leader {leaders[0].name} and {len(candidates)} standbys that could take over.", **measured
    )
