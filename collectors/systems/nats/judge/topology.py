"""How servers belong together: clusters, and those that are linked to them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from collectors.systems.nats.model import Jsz, Monitor, Varz

__all__ = ["by_cluster", "leaves", "linked", "own_jetstreams"]


def by_cluster(monitors: Iterable[Monitor]) -> list[list[Monitor]]:
    """The servers of each cluster, leaves last and the largest first. A server without a cluster is one of its own."""
    found: dict[str, list[Monitor]] = defaultdict(list)
    for monitor in monitors:
        if isinstance(monitor.varz, Varz):
            found[monitor.varz.cluster.name or monitor.varz.server_id].append(monitor)
    return sorted(found.values(), key=lambda cluster: (all(monitor.is_leaf for monitor in cluster), -len(cluster)))


def linked(monitors: Sequence[Monitor]) -> list[list[Monitor]]:
    """The servers that are linked to others by gateways or as leaves, by cluster, without the first one."""
    return [cluster for cluster in by_cluster(monitors)[1:] if all(monitor.is_linked for monitor in cluster)]


def leaves(monitors: Sequence[Monitor]) -> list[list[Monitor]]:
    """The servers that are linked to others as leaves, by cluster, without the first one."""
    return [cluster for cluster in linked(monitors) if all(monitor.is_leaf for monitor in cluster)]


def own_jetstreams(monitors: Sequence[Monitor]) -> list[list[Monitor]]:
    """The servers with a JetStream that is not the main one's: leaves beside a cluster, by cluster."""
    having = [
        [m for m in cluster if isinstance(m.jsz, Jsz) and m.jsz.enabled and not m.core] for cluster in leaves(monitors)
    ]
    return [cluster for cluster in having if cluster]
