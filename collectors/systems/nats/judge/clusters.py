"""Whether the servers of clusters are connected to each other as they should be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from collectors.systems.nats.judge.topology import by_cluster, linked
from collectors.systems.nats.model import Leafz, Monitor, Routez, Varz
from exporter.verdict import ProbeError, Reason, Result, failed, unknown, unobserved, warning
from exporter.words import counted, format_size, listed

__all__ = [
    "distinct_problems",
    "link_problems",
    "payload_problems",
    "peer_problems",
    "release_problems",
    "same_problems",
]

#: Bytes of a message that every server should take: fewer were meant to be KiB or MiB.
_SMALL = 1000


def peer_problems(
    monitors: Sequence[Monitor], size: int, silent: Sequence[str] = (), *, silent_core: int = 0
) -> Iterator[Result]:
    """Whether each of `size` servers has routes to all others of its cluster.

    `silent` are the sentences that say why some could not be asked, `silent_core` how many of those have no JetStream, by
    declaration.
    Servers that are not listed count as too many, but for those beside a cluster with JetStream that have none themselves.
    Connections are pooled, so the servers at their other ends are counted.
    """
    apart = linked(monitors)
    aside = {monitor.where for group in apart for monitor in group}
    main = [monitor for monitor in monitors if monitor.where not in aside]
    groups = [(main, size - len(aside)), *((group, len(group)) for group in apart)]
    lacking: dict[tuple[int, int], list[str]] = defaultdict(list)
    for group, wanted in groups:
        ids = frozenset[str]().union(*(monitor.server_ids for monitor in group))
        members = frozenset[str]().union(*(monitor.members for monitor in group))
        for monitor in group:
            if isinstance(monitor.routez, Routez):
                seen = _seen_by(monitor.routez, ids, members, silent_core)
                if seen != wanted - 1:
                    lacking[seen, wanted - 1].append(monitor.name)
    because = f", and {' '.join(silent).rstrip('.')}" if silent else ""
    for (count, wanted), names in sorted(lacking.items()):
        who = f"{', '.join(names[:-1])} and {names[-1]} see" if len(names) > 1 else f"{names[0]} sees"
        only = "only " if 0 < count < wanted else ""
        noun = f"NATS server{'s' if len(names) > 1 else ''}"
        yield failed(
            f"{noun} {who} {only}{count or 'none'} of the other servers (wanted {wanted}){because}.", reason=Reason.DOWN
        )


def _seen_by(routez: Routez, ids: frozenset[str], members: frozenset[str], silent_core: int) -> int:
    """How many of the listed servers one has routes to. Those that did not answer are known by nothing but being others."""
    strangers = {other: name for other, name in routez.others.items() if other not in ids}
    core = sum(bool(name) and name not in members for name in strangers.values()) if members else 0
    return len(routez.others) - core + min(core, silent_core)


def link_problems(monitors: Iterable[Monitor]) -> Iterator[Result]:
    """Whether the servers have the gateways and the connections as a leaf that they are configured to have."""
    for monitor in monitors:
        if not isinstance(monitor.varz, Varz):
            continue
        if isinstance(monitor.gatewayz, ProbeError):
            yield unobserved(monitor.gatewayz)
        elif monitor.gatewayz is not None and (
            # A cluster that nobody configured connects by itself, and is to be connected to in turn.
            lacking := sorted(
                (monitor.varz.gateways | set(monitor.gatewayz.inbound_gateways or ()))
                - set(monitor.gatewayz.outbound_gateways or ())
            )
        ):
            yield failed(
                f"NATS server {monitor.name} has no gateway to {listed(lacking)} (wanted one to each cluster).",
                reason=Reason.DOWN,
            )
        if isinstance(monitor.leafz, ProbeError):
            yield unobserved(monitor.leafz)
        elif isinstance(monitor.leafz, Leafz) and (
            (own := monitor.leafz.uplinks(monitor.varz.leaf)) < monitor.varz.uplinks
        ):
            others = monitor.varz.leafnodes - own
            beside = f" beside {others} of other servers to it" if others > 0 else ""
            yield failed(
                f"NATS server {monitor.name} has {counted(own, 'leaf connection')}{beside} (wanted {monitor.varz.uplinks}).",
                reason=Reason.DOWN,
            )


def distinct_problems(monitors: Sequence[Monitor]) -> Iterator[Result]:
    """Whether each monitoring endpoint is that of another server; those that nobody asked may be in any state."""
    found: dict[frozenset[str], list[str]] = defaultdict(list)
    for monitor in monitors:
        found[monitor.server_ids].append(monitor.name)
    for names in found.values():
        if len(names) > 1:
            yield unknown(
                f"{len(names)} monitoring endpoints lead to the same NATS server {names[0]}: name each server's own address.",
                reason=Reason.CONTRADICTED,
            )


def same_problems(server: str, server_id: str, monitor: Monitor) -> Iterator[Result]:
    """Whether the server that let a client in at `server` is the one whose monitoring endpoint was asked."""
    if server_id not in monitor.server_ids:
        yield unknown(
            f"{server} and {monitor.where} lead to different NATS servers: name each server's own address.",
            reason=Reason.CONTRADICTED,
        )


def payload_problems(monitors: Iterable[Monitor]) -> Iterator[Result]:
    """Whether a message that one server of a cluster takes is taken by the others as well, and is of a size that anybody sends."""
    for cluster in by_cluster(monitors):
        sizes = {monitor.name: monitor.varz.max_payload for monitor in cluster if isinstance(monitor.varz, Varz)}
        known = {name: size for name, size in sizes.items() if size}
        if len(set(known.values())) > 1:
            which = ", ".join(
                f"{name} {format_size(size)}" for name, size in sorted(known.items(), key=lambda pair: pair[1])
            )
            yield warning(f"NATS servers of one cluster take messages of different sizes (max_payload): {which}.")
        for name, size in known.items():
            if size < _SMALL:
                yield warning(
                    f"NATS server {name} takes no message of more than {counted(size, 'byte')} (max_payload, wanted at least "
                    f"{format_size(_SMALL)})."
                )


def release_problems(monitors: Iterable[Monitor]) -> Iterator[Result]:
    """Whether the servers of a cluster run one release, as an upgrade may have stopped half way."""
    for cluster in by_cluster(monitors):
        releases = {m.name: m.varz.version for m in cluster if isinstance(m.varz, Varz) and m.varz.version}
        if len(set(releases.values())) > 1:
            which = listed(f"{name} {release}" for name, release in releases.items())
            yield warning(f"NATS servers of one cluster run different releases: {which}.")
