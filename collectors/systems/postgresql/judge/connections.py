"""Whether every pool finds connections when all are full."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from collectors.systems.postgresql.model.instance import (
    Connections,
)
from collectors.systems.postgresql.model.options import ClusterLimits, Pool
from collectors.systems.postgresql.model.pgbouncer import Pooler
from exporter.verdict import Result, failed, ok, warning


def judge_connections(where: str, connections: Connections, limits: ClusterLimits) -> Result:
    """Whether max_connections is as wanted and enough are free."""
    measured: dict[str, Any] = {
        "connections_used": float(connections.used),
        "connections_max": float(connections.max_connections),
    }
    wanted = limits.max_connections
    least, most = wanted if isinstance(wanted, tuple) else (wanted, wanted)
    if not least <= connections.max_connections <= most:
        text = f"{least}" if least == most else f"{least} to {most}"
        return failed(f"max_connections of {where} is {connections.max_connections} (wanted {text}).", **measured)
    seen = f"{where} uses {connections.used} of {connections.max_connections} connections"
    if connections.used >= connections.available:
        return failed(f"{seen}, so applications get no more.", **measured)
    if connections.used > limits.connections_warning_ratio * connections.max_connections:
        return warning(f"{seen} (limit {limits.connections_warning_ratio:.0%}).", **measured)
    return ok(f"{seen}.", **measured)


def judge_pools(pools: Sequence[Pool], poolers: Sequence[Pooler], connections: Connections) -> Result:
    """Whether all pools may be full at once, and nobody waits in PgBouncer."""
    total = sum(pool.size * pool.replicas for pool in pools) + sum(pooler.server_connections for pooler in poolers)
    measured: dict[str, Any] = {"pool_connections": float(total)}
    if total > connections.available:
        return failed(
            f"The pools may reach {total} connections, but PostgreSQL has {connections.available} for them (max_connections "
            f"{connections.max_connections}, {connections.reserved} kept back).",
            **measured,
        )
    for pooler in poolers:
        if pooler.longest_wait >= 1:
            return failed(
                f"A client of PgBouncer at {pooler.where} has waited {pooler.longest_wait:.1f} s for a connection "
                f"(limit 1 s).",
                **measured,
            )
    if waiting := sum(pooler.clients_waiting for pooler in poolers):
        return warning(f"{waiting} clients wait in PgBouncer for a connection.", **measured)
    return ok(f"The pools may reach {total} of {connections.available} connections.", **measured)
