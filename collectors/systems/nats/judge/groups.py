"""Whether groups of replicas have a leader and are whole: those of JetStream itself, of streams and of consumers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from collectors.systems.nats.judge.topology import leaves
from collectors.systems.nats.model import Group, Monitor, NatsLimits, Peer, Varz
from exporter.options import format_duration, format_seconds
from exporter.verdict import ProbeError, Reason, Result, failed, unknown, unobserved, warning
from exporter.words import counted

__all__ = ["group_problems", "meta_problems"]

_PAIR = 2


def meta_problems(monitors: Sequence[Monitor], size: int, limits: NatsLimits) -> Iterator[Result]:
    """Whether the servers with JetStream (`size` of them) agree on who leads it, and that leader has all of them.

    Followers do not know who keeps up. Leaves have a JetStream of their own. Over gateways one JetStream spans clusters of which
    not all need to be listed.
    """
    apart = leaves(monitors)
    aside = {monitor.where for group in apart for monitor in group}
    yield from _meta_problems(
        [monitor for monitor in monitors if monitor.where not in aside],
        size - sum(not monitor.core for group in apart for monitor in group),
        limits,
    )
    for group in apart:
        yield from _meta_problems(group, sum(not monitor.core for monitor in group), limits)


def _meta_problems(monitors: Sequence[Monitor], size: int, limits: NatsLimits) -> Iterator[Result]:
    groups: dict[str, Group | None] = {}
    for monitor in monitors:
        if isinstance(monitor.jsz, ProbeError):
            yield unobserved(monitor.jsz)
        elif not monitor.core:
            groups[monitor.name] = monitor.jsz.meta_cluster
    if size < 2 and not any(groups.values()):
        return
    leaders = {name: (group.leader if group else None) or "" for name, group in groups.items()}
    for name, leader in leaders.items():
        if not leader:
            yield failed(
                f"NATS server {name} knows no leader of JetStream, so no stream can be created or moved.",
                reason=Reason.DOWN,
            )
    named = {leader for leader in leaders.values() if leader}
    if len(named) > 1:
        yield failed(
            f"NATS servers name different leaders of JetStream: {', '.join(sorted(named))}.", reason=Reason.CONTRADICTED
        )
    spans = any(isinstance(monitor.varz, Varz) and monitor.varz.gateway.name for monitor in monitors)
    for name, group in groups.items():
        if group is not None and leaders[name] == name:
            known = group.cluster_size
            if known < size or (known > size and not spans):
                yield failed(
                    f"JetStream's group has {counted(known, 'server')} (wanted {size}).", reason=Reason.MISSING
                )
            yield from group_problems("JetStream's group", group, known or size, limits)
            yield from _electorate_problems(known)
    if named and not named & set(leaders) and not spans:
        yield unknown(
            f"{', '.join(sorted(named))} leads JetStream and could not be asked who keeps up.",
            reason=Reason.NOT_CONFIGURED,
        )


def _electorate_problems(size: int) -> Iterator[Result]:
    """Whether JetStream's group still has a majority without one of its servers."""
    if size == _PAIR:
        yield warning("JetStream's group has 2 servers and stops with the loss of one (wanted at least 3).")


def group_problems(what: str, group: Group, size: int, limits: NatsLimits) -> Iterator[Result]:
    """Whether a group of replicas, as its leader reports it, has that leader and `size` - 1 followers that keep up."""
    if not group.leader:
        yield failed(f"{what} has no leader, so nothing is written to it.", reason=Reason.DOWN)
        return
    replicas = group.replicas or ()
    has = counted(len(replicas) + 1, "replica")
    if _moves(replicas, size, limits):
        yield warning(f"{what} has {has} in its group (wanted {size}), as it is moved to other servers.")
        return
    if len(replicas) != size - 1:
        yield failed(f"{what} has {has} in its group (wanted {size}).", reason=Reason.MISSING)
    for replica in replicas:
        yield from _replica_problems(what, replica, limits)


def _moves(replicas: Sequence[Peer], size: int, limits: NatsLimits) -> bool:
    """Whether a group is whole and has more followers for now: new ones are filled while the old ones are still there."""
    if len(replicas) < size or any(peer.offline or peer.silence > limits.max_silence for peer in replicas):
        return False
    return sum(peer.current and peer.lag <= limits.max_lag for peer in replicas) >= size - 1


def _replica_problems(what: str, replica: Peer, limits: NatsLimits) -> Iterator[Result]:
    """Whether a follower keeps up."""
    if replica.offline:
        yield failed(f"{what} has its replica on {replica.name} offline.", reason=Reason.DOWN)
    elif replica.silence > limits.max_silence:
        silent, limit = format_seconds(replica.silence), format_duration(limits.max_silence)
        yield failed(
            f"{what} has heard nothing of its replica on {replica.name} for {silent} (limit {limit}).",
            reason=Reason.DOWN,
        )
    elif replica.lag > limits.max_lag:
        behind = counted(replica.lag, "operation")
        yield failed(
            f"{what} has its replica on {replica.name} {behind} behind (limit {limits.max_lag}).",
            reason=Reason.LIMIT,
        )
    elif not replica.current and not replica.lag:  # each message that it is behind at this moment makes it so
        yield failed(f"{what} has its replica on {replica.name} not current.", reason=Reason.DOWN)
