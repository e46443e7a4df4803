"""Roles, links and lag: whether the nodes serve, and replicas follow."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta

from collectors.systems.redis.model import (
    Answers,
    Growth,
    Look,
    NodeAddress,
    RedisLimits,
    Unseen,
    each_once,
    followers,
    following,
    role,
    seen,
)
from exporter.options import format_duration
from exporter.verdict import Reason, Result, failed, unknown, warning
from exporter.words import counted, format_size, listed

__all__ = [
    "clustered_problems",
    "health_problems",
    "lag_problems",
    "leadership_problems",
    "link_problems",
    "sync_problems",
]

#: Replicas acknowledge every second; Redis itself does not count one that was silent for longer among the good ones.
_SILENCE = timedelta(seconds=10)
#: Full syncs of a replica within the window that are no loop: it was started, lost its master once, and was promoted.
_SYNCS = 3


def health_problems(node: Answers) -> Iterator[Result]:
    """Answers, has its data in memory, and takes writes: an error that it answers instead is what is wrong."""
    where = node.address
    if node.busy:
        yield failed(f"{where} is busy with a script and refuses every other command (BUSY).", reason=Reason.DOWN)
        return
    if node.loading or node.number("loading"):
        yield failed(f"{where} is still loading its data from disk.", reason=Reason.DOWN)
        return
    refusal = node.error("PING") or ""
    if refusal.startswith("MISCONF"):
        what = "it cannot write its append-only file" if "AOF" in refusal else "its last snapshot failed"
        yield failed(f"{where} refuses writes, as {what} (MISCONF).", reason=Reason.DOWN)
    elif "MASTERDOWN" in refusal or "Link with MASTER is down" in refusal:
        pass  # a replica without its master that serves no old data: its link is judged
    elif (pong := node.reply("PING", str)) != "PONG":
        yield failed(f"{where} answers PING with {pong[:40]!r}.", reason=Reason.MALFORMED)
    yield from _write_problems(node)


def _write_problems(node: Answers) -> Iterator[Result]:
    """Writes are not paused by an operator, nor by a FAILOVER or SHUTDOWN that waits. INFO counts the good replicas only where
    min-replicas-to-write is set: with fewer of them a master refuses writes.
    """
    if (state := node.info.get("master_failover_state", "no-failover")) != "no-failover":
        yield failed(
            f"{node.address} lets its clients wait while it hands over to a replica (FAILOVER, {state[:40]}): FAILOVER ABORT ends "
            "that.",
            reason=Reason.DOWN,
        )
    if "shutdown_in_milliseconds" in node.info:
        left = timedelta(seconds=max(0, node.number("shutdown_in_milliseconds") // 1000))
        yield failed(
            f"{node.address} is shutting down and lets its clients wait for {format_duration(left)} more before they can write, as "
            "its replicas have not caught up (SHUTDOWN ABORT ends that).",
            reason=Reason.DOWN,
        )
    if node.info.get("paused_reason") == "client_pause" and node.info.get("paused_actions") in ("write", "all"):
        left = timedelta(seconds=node.number("paused_timeout_milliseconds") // 1000)
        yield failed(
            f"{node.address} lets its clients wait for {format_duration(left)} more before they can write (CLIENT PAUSE).",
            reason=Reason.DOWN,
        )
    if "min_slaves_good_slaves" not in node.info or node.info.get("role") != "master":
        return
    good = node.number("min_slaves_good_slaves")
    least = 1 if good == 0 else int(node.setting("min-replicas-to-write") or 0)
    if good < least:
        yield failed(
            f"{node.address} refuses writes (NOREPLICAS): {counted(good, 'replica')} in sync, fewer than its "
            "min-replicas-to-write.",
            reason=Reason.LIMIT,
        )


def link_problems(
    node: Answers, limits: RedisLimits, since: dict[NodeAddress, datetime], now: datetime
) -> Iterator[Result]:
    """A replica has its master. Before a first sync it does not show since when not: `since` remembers when that was first seen."""
    if role(node).master or node.text("master_link_status") == "up":
        since.pop(node.address, None)
        return
    seconds = node.number("master_link_down_since_seconds")
    first_sync = seconds < 0
    down = now - since.setdefault(node.address, now) if first_sync else timedelta(seconds=seconds)
    lasting = f"since {format_duration(timedelta(seconds=int(down.total_seconds())))}"
    grace = f"(grace {format_duration(limits.replica_grace)})"
    if down > limits.replica_grace:
        yield failed(f"Replica {node.address} is without its master {lasting} {grace}.", reason=Reason.DOWN)
    elif first_sync:
        yield warning(f"Replica {node.address} is in its first sync {lasting} {grace}.")
    else:
        yield warning(f"Replica {node.address} is without its master {lasting} {grace}.")


def leadership_problems(nodes: Collection[Look], wanted_replicas: int) -> Iterator[Result]:
    """Exactly one node is master, has its replicas online (directly or along a chain), and they have its data, not another's."""
    once = each_once(nodes)
    if twice := [str(node.address) for node in nodes if node not in once]:
        yield unknown(
            f"{listed(twice)} and another node lead to the same Redis: name each node's own address.",
            reason=Reason.CONTRADICTED,
        )
        return
    roles = {node.address: (node, role(node)) for node in seen(nodes) if not node.error("ROLE")}
    masters = [(node, its) for node, its in roles.values() if its.master]
    if len(masters) > 1:
        names = " and ".join(str(node.address) for node, _ in masters)
        yield failed(f"{names} all are masters, where one was wanted: writes diverge.", reason=Reason.CONTRADICTED)
        return
    if not masters:
        if len(roles) == len(nodes):
            yield failed(f"None of the {len(nodes)} nodes is master, so nothing can be written.", reason=Reason.MISSING)
        return
    [(master, its)] = masters
    history = master.text("master_replid")
    linked = [node for node, other in roles.values() if not other.master and node.text("master_link_status") == "up"]
    online = its.replicas + sum(followers(node) for node in linked if node.text("master_replid") == history)
    if online < wanted_replicas:
        silent = [str(node.why).rstrip(".") for node in nodes if isinstance(node, Unseen)]
        because = f", and {listed(silent, most=3)}" if silent else ""
        yield failed(
            f"Master {master.address} has {counted(online, 'replica')} online (wanted {wanted_replicas}){because}.",
            reason=Reason.MISSING,
        )
    for node, other in roles.values():
        if not other.master and node.info.get("slave_read_only") == "0":
            yield warning(
                f"Replica {node.address} takes writes (replica-read-only is no), which its master never gets and the next sync "
                "discards."
            )
    for node in linked:
        if node.text("master_replid") != history:
            yield failed(
                f"Replica {node.address} follows another master than {master.address}.", reason=Reason.CONTRADICTED
            )


def clustered_problems(node: Answers) -> Iterator[Result]:
    """A node outside of a cluster is in none: one of a cluster refuses the keys of all slots that it does not serve."""
    if node.info.get("cluster_enabled") == "1":
        yield unknown(
            f"{node.address} is a node of a cluster (cluster-enabled is yes), which refuses every key whose slot it does not "
            "serve: set `mode: cluster`, so that slots are checked.",
            reason=Reason.NOT_CONFIGURED,
        )


def lag_problems(node: Answers, limits: RedisLimits) -> Iterator[Result]:
    """Its replicas that are online keep up: what they lack is lost when one of them is promoted."""
    for follower in following(node):
        if follower.behind > limits.max_lag_bytes:
            yield failed(
                f"Replica {follower.address} lacks {format_size(follower.behind)} of what {node.address} wrote (limit "
                f"{format_size(limits.max_lag_bytes)}).",
                reason=Reason.LIMIT,
            )
        if follower.silent > _SILENCE:
            yield failed(
                f"Replica {follower.address} has acknowledged nothing to {node.address} for "
                f"{format_duration(follower.silent)} (limit {format_duration(_SILENCE)}).",
                reason=Reason.STALE,
            )


def sync_problems(node: Answers, grown: Mapping[NodeAddress, Growth | None]) -> Iterator[Result]:
    """Its replicas do not start over again and again: one that loses the link before it has caught up never follows."""
    if (growth := grown.get(node.address)) is None or growth.synced <= _SYNCS:
        return
    replicas = max(1, node.number("connected_slaves"))
    if growth.synced > _SYNCS * replicas:
        yield failed(
            f"{node.address} sent its whole data set to {'its replicas' if replicas > 1 else 'a replica'} "
            f"{counted(growth.synced, 'time')} within {format_duration(timedelta(seconds=round(growth.seconds)))}: the link "
            "breaks before they have caught up (client-output-buffer-limit replica, repl-backlog-size, repl-timeout).",
            reason=Reason.DOWN,
        )
