"""How servers belong together: clusters, and those that are linked to them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from collectors.systems.nats.model import Jsz, Monitor, Varz

__all__ = ["by_cluster", "leaves", "linked", "own_jetstreams", "zones_of"]

#: The names of tags that operators give zones, where `unique_tag` names none.
_ZONES = {"az", "zone", "rack"}


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


def zones_of(monitors: Sequence[Monitor]) -> dict[str, str]:
    """The tag by which each server names its zone; none unless they are in several."""
    found: dict[str, str] = {}
    for monitor in monitors:
        unique = monitor.jsz.config.unique_tag if isinstance(monitor.jsz, Jsz) and monitor.jsz.config else ""
        keys = {unique.rstrip(":")} if unique else _ZONES
        tags = (monitor.varz.tags or ()) if isinstance(monitor.varz, Varz) else ()
        if zone := next((tag for tag in tags if tag.partition(":")[0] in keys), None):
            found[monitor.name] = zone
    return found if len(set(found.values())) > 1 else {}


def own_jetstreams(monitors: Sequence[Monitor]) -> list[list[Monitor]]:
    """The servers with a JetStream that is not the main one's: leaves beside a cluster, by cluster."""
    having = [
        [m for m in cluster if isinstance(m.jsz, Jsz) and m.jsz.enabled and not m.core] for cluster in leaves(monitors)
    ]
    return [cluster for cluster in having if cluster]
