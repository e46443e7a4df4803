"""What a Redis node's answers mean: parsed, and judged against limits. Nothing here asks anything.

Judges yield what is wrong, the worst first, and nothing when all is well. They raise ProbeError when an answer is missing or is
none of Redis's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import PurePosixPath

from collectors.shared.verdicts import collected
from collectors.systems.prometheus.model.answers import Sample
from collectors.systems.prometheus.model.volumes import is_temporary
from collectors.systems.redis.model import (
    SLOTS,
    Answers,
    CacheLimits,
    ClusterNode,
    Growth,
    Handshake,
    Look,
    NodeAddress,
    Persistence,
    RedisLimits,
    Unseen,
    Untrusted,
    Watch,
    by_id,
    children,
    cluster_nodes,
    counted_memory,
    databases,
    doors,
    each_once,
    followers,
    following,
    keys,
    never_saved,
    owners,
    partly_expiring,
    plain_port,
    quorum,
    role,
    save_points,
    seconds_since_save,
    seen,
    view,
    watch,
)
from exporter.options import format_duration
from exporter.verdict import ProbeError, Reason, Result, failed, unknown, unobserved, warning
from exporter.words import counted, format_size, listed

__all__ = [
    "address_problems",
    "agreement_problems",
    "cluster_problems",
    "connection_problems",
    "detection_problems",
    "door_problems",
    "electorate_problems",
    "health_problems",
    "hit_problems",
    "keep_alive_problems",
    "lag_problems",
    "leadership_problems",
    "link_problems",
    "member_problems",
    "memory_problems",
    "named_master_problems",
    "of_each",
    "ownership_problems",
    "peer_encryption_problems",
    "persistence_problems",
    "scraped_problems",
    "sentinel_problems",
    "successor_problems",
    "sync_problems",
    "timeout_problems",
    "ttl_problems",
]

#: A snapshot may be late by this much: Redis looks ten times a second, but waits 5 s after a failure, and forking takes time.
_SNAPSHOT_GRACE = timedelta(minutes=1)
#: Eviction frees what it can before the next command runs; only the buffers of a few clients come on top.
_SHORTEST_IDLE = 60  # seconds
_EVICTION_SLACK = 1.05
#: Replicas acknowledge every second; Redis itself does not count one that was silent for longer among the good ones.
_SILENCE = timedelta(seconds=10)
#: Full syncs of a replica within the window that are no loop: it was started, lost its master once, and was promoted.
_SYNCS = 3
#: How long one attempt at a failover may take: Sentinel tries again after twice as long.
_ATTEMPT = timedelta(minutes=30)


def of_each(looks: Iterable[Look], judge: Callable[[Answers], Iterable[Result]]) -> list[Result]:
    """What is wrong with any of the nodes; one that could not be asked, or did not answer what is judged, is `unknown`."""
    return [
        problem
        for node in looks
        for problem in ([unobserved(node.why)] if isinstance(node, Unseen) else collected(judge(node)))
    ]


# Roles and replication


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
    """Writes are not paused by an operator, nor by a FAILOVER that waits. INFO counts the good replicas only where
    min-replicas-to-write is set: with fewer of them a master refuses writes.
    """
    if (state := node.info.get("master_failover_state", "no-failover")) != "no-failover":
        yield failed(
            f"{node.address} lets its clients wait while it hands over to a replica (FAILOVER, {state[:40]}): FAILOVER ABORT ends "
            "that.",
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


# Persistence


def persistence_problems(node: Answers, limits: RedisLimits, now: datetime) -> Iterator[Result]:
    """Writes to disk what is wanted, where it lasts, and the last attempts went well."""
    where = node.address
    for child in children(node):
        if child.running > limits.max_child_time:
            yield failed(
                f"{where} has been writing {child.writes} for {format_duration(child.running)} "
                f"(limit {format_duration(limits.max_child_time)}): until that process ends nothing else is saved.",
                reason=Reason.LIMIT,
            )
    if limits.persistence is not Persistence.RDB:
        yield from _append_only_problems(node)
    if limits.persistence is not Persistence.AOF:
        yield from _snapshot_problems(node, limits, now)
    folder = node.setting("dir") or ""
    if not folder:  # getcwd() fails in a folder that was deleted
        yield failed(
            f"The data folder of {where} does not exist any more: what it writes is lost when it ends.",
            reason=Reason.MISSING,
        )
    elif limits.data_volume and not PurePosixPath(folder).is_relative_to(limits.data_volume):
        yield failed(
            f"{where} writes to {folder}, which is not on the volume {limits.data_volume}.",
            reason=Reason.MISCONFIGURED,
        )
    elif not limits.data_volume and is_temporary(folder):
        yield failed(
            f"{where} writes to {folder}, which does not outlive the machine or container.",
            reason=Reason.MISCONFIGURED,
        )


def _append_only_problems(node: Answers) -> Iterator[Result]:
    where = node.address
    if not node.number("aof_enabled"):
        yield failed(f"{where} writes no append-only file: appendonly is no.", reason=Reason.MISCONFIGURED)
    for name, what in (("aof_last_write_status", "write"), ("aof_last_bgrewrite_status", "rewrite")):
        if (status := node.text(name)) != "ok":
            yield failed(
                f"The last {what} of the append-only file on {where} went wrong ({name} is {status[:20]}).",
                reason=Reason.DOWN,
            )
    if node.info.get("aof_current_size") == "0" and node.info.get("aof_rewrite_in_progress") == "1":
        yield warning(
            f"{where} is writing its append-only file for the first time: until that is done a restart loses what is in no "
            "snapshot."
        )
    if node.setting("appendfsync") == "no":
        yield warning(
            f"{where} leaves it to the kernel when its append-only file reaches the disk: appendfsync is no "
            "(wanted everysec or always)."
        )


def _snapshot_problems(node: Answers, limits: RedisLimits, now: datetime) -> Iterator[Result]:
    where = node.address
    text = node.setting("save") or ""
    points = save_points(text)
    if not points:
        yield failed(f"{where} writes no snapshots: save is empty.", reason=Reason.MISCONFIGURED)
        return
    if (status := node.text("rdb_last_bgsave_status")) != "ok":
        yield failed(
            f"The last snapshot of {where} went wrong (rdb_last_bgsave_status is {status[:20]}).", reason=Reason.DOWN
        )
        return
    changes, since = node.number("rdb_changes_since_last_save"), seconds_since_save(node, now)
    age, most = format_duration(timedelta(seconds=max(0, int(since)))), limits.max_unsaved.total_seconds()
    # While one child writes, Redis starts no other: a snapshot that is due waits for the rewrite of the append-only file.
    if not children(node) and _overdue(points, changes, since):
        yield failed(
            f"{where} has {counted(changes, 'change')} in no snapshot since {age}, more than its save {text!r} allows.",
            reason=Reason.STALE,
        )
    elif min(after for after, _ in points) > most:
        least = format_duration(timedelta(seconds=min(after for after, _ in points)))
        yield warning(
            f"{where} may hold changes in no snapshot for {least}, as its save {text!r} allows "
            f"(limit {format_duration(limits.max_unsaved)})."
        )
    elif changes and since > most:
        yield warning(
            f"{where} has {counted(changes, 'change')} in no snapshot since {age}, which its save {text!r} allows "
            f"(limit {format_duration(limits.max_unsaved)})."
        )
    elif never_saved(node):  # Redis then reports the start as the last save, and the save as ok
        yield warning(
            f"{where} is set to write snapshots (save {text}), but has written none since its start {age} ago."
        )


def _overdue(points: Iterable[tuple[int, int]], changes: int, since: float) -> bool:
    """Whether a save point (after so many seconds if there are so many changes) should have been taken."""
    grace = _SNAPSHOT_GRACE.total_seconds()
    return any(changes >= least and since > after + grace for after, least in points)


# Memory


def memory_problems(node: Answers, grown: Mapping[NodeAddress, Growth | None], limits: RedisLimits) -> Iterator[Result]:
    """Has the wanted policy, a maxmemory without which no policy acts, a machine or container that has so much, and room: a
    cache that evicts may be full, anything else refuses writes then. It did not refuse any since it was first checked.
    """
    where = node.address
    policy, most, used = node.text("maxmemory_policy"), node.number("maxmemory"), counted_memory(node)
    if policy != limits.eviction_policy:
        yield failed(
            f"maxmemory-policy of {where} is {policy[:40]} (wanted {limits.eviction_policy}).",
            reason=Reason.MISCONFIGURED,
        )
    if most <= 0:
        yield failed(
            f"maxmemory of {where} is 0, so {policy[:40]} never evicts anything and memory grows without limit.",
            reason=Reason.MISCONFIGURED,
        )
        return
    there = limits.container_memory or node.number("total_system_memory")
    if most > there * limits.max_memory_share:
        yield failed(
            f"maxmemory of {where} is {format_size(most)} of the {format_size(there)} available "
            f"(limit {limits.max_memory_share:.0%}): it is killed before it evicts.",
            reason=Reason.LIMIT,
        )
    if (growth := grown.get(where)) and growth.starved:
        over = format_duration(timedelta(seconds=round(growth.seconds, 3)))
        sentence = (
            f"{where} refused {counted(growth.starved, 'command')} within {over}, as its maxmemory {format_size(most)}"
        )
        if policy.startswith("allkeys-"):  # which frees room for all but what is larger than it
            yield warning(f"{sentence} had no room even without other keys, or eviction did not keep up (OOM).")
        else:
            yield failed(f"{sentence} was used up (OOM).", reason=Reason.LIMIT)
    yield from _room_problems(node, policy, used, most, limits)


def unlike_problems(nodes: Iterable[Look]) -> Iterator[Result]:
    """Whether nodes that may take over from each other have room for the same data: until then a replica ignores its maxmemory."""
    limits = {node.address: node.number("maxmemory") for node in nodes if isinstance(node, Answers)}
    least, most = min(limits.values(), default=0), max(limits.values(), default=0)
    if 0 < least < most:
        smaller = listed(str(address) for address, limit in limits.items() if limit == least)
        yield warning(
            f"maxmemory of {smaller} is {format_size(least)}, and up to {format_size(most)} on other nodes: once it is a master, "
            "it evicts or refuses what they hold."
        )


def _room_problems(node: Answers, policy: str, used: int, most: int, limits: RedisLimits) -> Iterator[Result]:
    """Replicas ignore maxmemory, so only a master refuses writes when it is used up and nothing can be evicted."""
    where, master = node.address, node.info.get("role") != "slave"
    everything, expiring = keys(node)
    evictable = expiring if policy.startswith("volatile-") else everything
    share = f"{used / most:.0%} of its maxmemory {format_size(most)}"
    if "used_memory_startup" in node.info and node.number("used_memory_startup") >= most:
        yield failed(
            f"maxmemory of {where} is {format_size(most)}, less than Redis takes without any data: every write is refused. "
            "Is a unit missing?",
            reason=Reason.MISCONFIGURED,
        )
    elif not everything and used >= most * limits.memory_warn and master:
        yield failed(
            f"{where} uses {share} without holding a key, so that there is no room for any: writes are refused.",
            reason=Reason.LIMIT,
        )
    elif policy == "noeviction" or not evictable:
        because = "its policy is noeviction" if policy == "noeviction" else f"{policy} finds no key to evict"
        if used > most and master:
            yield failed(f"{where} uses {share} and refuses writes, as {because}.", reason=Reason.LIMIT)
        elif used >= most * limits.memory_warn:
            yield warning(f"{where} uses {share} (limit {limits.memory_warn:.0%}), and {because}.")
        elif everything and policy.startswith("volatile-"):
            yield warning(
                f"{where} has {counted(everything, 'key')}, none of which expires, so {policy} finds nothing to evict."
            )
    elif used > most * _EVICTION_SLACK and master:
        yield failed(
            f"{where} uses {share} though {policy} evicts: eviction does not keep up, and writes are refused.",
            reason=Reason.LIMIT,
        )


# Connections


def connection_problems(
    node: Answers, grown: Mapping[NodeAddress, Growth | None], limits: RedisLimits
) -> Iterator[Result]:
    """Turns nobody away, has room for more clients, and they come from pools: few new connections, no pool over its size."""
    where = node.address
    connected, most, blocked = (node.number(name) for name in ("connected_clients", "maxclients", "blocked_clients"))
    growth = grown.get(where)
    if growth is None:
        yield unknown(
            f"{where} was checked once since it or this exporter started; what it rejects takes two checks.",
            reason=Reason.PENDING,
        )
    else:
        over = format_duration(timedelta(seconds=round(growth.seconds, 3)))
        if growth.rejected:
            yield failed(
                f"{where} rejected {counted(growth.rejected, 'connection')} within {over}: its maxclients {most} is reached.",
                reason=Reason.LIMIT,
            )
        if growth.dropped:
            yield failed(
                f"{where} closed {counted(growth.dropped, 'connection')} within {over}, as their buffers grew too large "
                "(maxmemory-clients, client-output-buffer-limit, client-query-buffer-limit).",
                reason=Reason.LIMIT,
            )
        # What came within a fraction of a second is a burst, no rate.
        if (churn := growth.received / max(growth.seconds, 1.0)) > limits.max_churn:
            yield failed(
                f"{where} gets {churn:.1f} new connections a second (limit {limits.max_churn:g}): a client has no pool.",
                reason=Reason.LIMIT,
            )
    if limits.pools:
        yield from _pool_problems(node, limits.pools)
    if (wanted := sum(limits.pools.values())) > most:
        yield failed(
            f"The pools may hold {counted(wanted, 'connection')} to {where}, which accepts {counted(most, 'client')} (maxclients).",
            reason=Reason.LIMIT,
        )
    if connected > most * limits.clients_warn:
        yield warning(f"{where} has {connected} of {counted(most, 'client')} (limit {limits.clients_warn:.0%}).")
    if blocked > limits.max_blocked_clients:
        waiting = counted(blocked, "client")
        yield warning(f"{where} has {waiting} in blocking commands (limit {limits.max_blocked_clients}).")


def _pool_problems(node: Answers, pools: Mapping[str, int]) -> Iterator[Result]:
    held = Counter(
        word.removeprefix("name=")
        for client in node.reply("CLIENT LIST", str).splitlines()
        for word in client.split(" ")
        if word.startswith("name=")
    )
    for name, most in pools.items():
        if held[name] > most:
            yield failed(
                f"Client {name} holds {counted(held[name], 'connection')} to {node.address} (limit {most}).",
                reason=Reason.LIMIT,
            )


def keep_alive_problems(node: Answers) -> Iterator[Result]:
    """It asks idle clients whether they are still there, so that those that vanished do not hold their connections for ever.

    Nor does it close those that pools hold.
    """
    if node.setting("tcp-keepalive") == "0":
        yield failed(
            f"{node.address} never notices clients that vanished (tcp-keepalive 0).", reason=Reason.MISCONFIGURED
        )
    idle = node.setting("timeout") or ""
    if idle.isdigit() and 0 < int(idle) < _SHORTEST_IDLE:
        yield warning(
            f"{node.address} closes connections that are idle for {counted(int(idle), 'second')} (timeout): pools keep them longer."
        )


# Caching


def ttl_problems(node: Answers, limits: CacheLimits) -> Iterator[Result]:
    """Its keys expire. A sample of keys would say less, and be counted by Redis as lookups that found something."""
    judged = {number: counts for number, counts in databases(node).items() if number not in limits.lasting_databases}
    for number, (held, expiring) in sorted(judged.items()):
        if not held or (share := expiring / held) >= limits.min_ttl_ratio:
            continue
        seen = f"{share:.1%} of the {counted(held, 'key')} in database {number} of {node.address} expire"
        parts = partly_expiring(node, number)
        if (expiring + parts) / held >= limits.min_ttl_ratio:
            yield unknown(
                f"{seen}, and {counted(parts, 'other has', 'others have')} fields that do (wanted {limits.min_ttl_ratio:.0%}): "
                "whether all of their fields do is not shown."
            )
        else:
            yield failed(f"{seen} (wanted {limits.min_ttl_ratio:.0%}).", reason=Reason.LIMIT)
    if not any(held for held, _ in judged.values()):
        yield unknown(f"{node.address} holds no key in a database that caches, so nothing was judged.")


def hit_problems(
    nodes: Sequence[Answers], grown: Mapping[NodeAddress, tuple[float, ...]] | None, limits: CacheLimits
) -> Iterator[Result]:
    """Most lookups on all the nodes find their key: within the window where it had enough of them, else since the start."""
    totals = {
        node.address: (float(node.number("keyspace_hits")), float(node.number("keyspace_misses"))) for node in nodes
    }
    for counts in (grown, totals):
        if counts is None:
            continue
        hits, misses = (sum(values[place] for values in counts.values()) for place in (0, 1))
        if hits + misses >= limits.min_lookups:
            if (share := hits / (hits + misses)) < limits.min_cache_hits:
                yield failed(
                    f"{share:.1%} of {hits + misses:,.0f} lookups in {listed(str(node.address) for node in nodes)} found their key "
                    f"(wanted {limits.min_cache_hits:.0%}).",
                    reason=Reason.LIMIT,
                )
            else:
                yield from _nodes_that_find_little(counts, limits)
            return
    yield unknown(
        f"{listed(str(node.address) for node in nodes)} had fewer than {limits.min_lookups:,} lookups, too few to judge what the "
        "cache saves."
    )


def _nodes_that_find_little(counts: Mapping[NodeAddress, tuple[float, ...]], limits: CacheLimits) -> Iterator[Result]:
    """A warning for each node whose lookups the hits of others hide."""
    for address, (hits, misses, *_) in counts.items():
        looked_up = hits + misses
        if looked_up >= limits.min_lookups and (share := hits / looked_up) < limits.min_cache_hits:
            yield warning(
                f"{share:.1%} of {looked_up:,.0f} lookups in {address} alone found their key (wanted {limits.min_cache_hits:.0%})."
            )


# Metrics


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


# TLS

_PROTOCOLS = ("TLSv1.2", "TLSv1.3")


def door_problems(
    node: Look,
    answered: Mapping[NodeAddress, NodeAddress | ProbeError | None],
    usual: int | None,
    limits: RedisLimits,
    now: datetime,
) -> Iterator[Result]:
    """The certificate was accepted and is valid for long enough, the protocol is recent, and nothing answers in plaintext.

    `answered` has for each door where a plaintext PING was answered, None where it was refused.
    """
    plain = plain_port(node) if isinstance(node, Answers) else None
    opened = set()
    for door in sorted(doors(node, usual)):
        if isinstance(answer := answered[door], NodeAddress):
            opened.add(door.port)
            where = str(door) if answer == door else f"{door} ({answer})"
            yield failed(f"{where} still answers in plaintext.", reason=Reason.MISCONFIGURED)
    if isinstance(node, Answers):
        if plain and plain not in opened:
            yield failed(
                f"{node.address} also listens on port {plain} in plaintext, though that is not open from here "
                f"(port is {plain}, wanted 0).",
                reason=Reason.MISCONFIGURED,
            )
        if node.tls_version not in _PROTOCOLS:
            yield failed(
                f"{node.address} speaks {node.tls_version or 'no TLS'} (wanted TLS 1.2 or later).",
                reason=Reason.MISCONFIGURED,
            )
    elif isinstance(node.why, Untrusted):
        yield failed(str(node.why), reason=node.why.reason)
    else:
        yield unobserved(node.why)
    if plain != 0:  # a port that Redis says it does not listen on may be filtered
        for door in sorted(doors(node, usual)):
            if isinstance(answer := answered[door], ProbeError):
                yield unobserved(answer)
        shown = node.info.get("tcp_port") if isinstance(node, Answers) and plain is None and not opened else None
        if shown not in (None, str(node.address.port)):
            yield unknown(
                f"{node.address} shows port {shown} in INFO and not whether that is its TLS port: grant +config|get.",
                reason=Reason.DENIED,
            )
    yield from _expiry_problems(
        node.address, node.certificate_expiry if isinstance(node, Answers) else None, limits, now
    )


def address_problems(answers: Iterable[Handshake], limits: RedisLimits, now: datetime) -> Iterator[Result]:
    """Each address of a name has a certificate that is accepted for that name, and valid for long enough."""
    for answer in answers:
        if isinstance(answer.why, Untrusted):
            yield failed(str(answer.why), reason=answer.why.reason)
        elif answer.why is not None:
            yield unobserved(answer.why)
        elif answer.version not in _PROTOCOLS:
            yield failed(
                f"{answer.where} speaks {answer.version or 'no TLS'} (wanted TLS 1.2 or later).",
                reason=Reason.MISCONFIGURED,
            )
        else:
            yield from _expiry_problems(answer.where, answer.expiry, limits, now)


def _expiry_problems(where: object, expiry: datetime | None, limits: RedisLimits, now: datetime) -> Iterator[Result]:
    if expiry is not None and expiry - now <= limits.certificate_warn:
        left = format_duration(timedelta(seconds=max(0, int((expiry - now).total_seconds()))))
        yield warning(
            f"The certificate of {where} expires in {left} (limit {format_duration(limits.certificate_warn)})."
        )


def peer_encryption_problems(node: Answers, *, cluster: bool) -> Iterator[Result]:
    """What goes to replicas and over the cluster's bus is encrypted, which CONFIG alone shows; no outdated protocol is offered."""
    replicates = cluster or not (its := role(node)).master or its.replicas > 0
    wanted = {"tls-replication": replicates, "tls-cluster": cluster}
    for name in (name for name, want in wanted.items() if want):
        if node.setting(name) != "yes":
            yield failed(
                f"{name} of {node.address} is not yes: its data leaves it unencrypted.", reason=Reason.MISCONFIGURED
            )
    protocols = "" if node.error("CONFIG GET tls-protocols") else node.setting("tls-protocols") or ""
    if outdated := {"SSLv3", "TLSv1", "TLSv1.1"} & set(protocols.split()):
        yield failed(
            f"{node.address} also offers {', '.join(sorted(outdated))} (wanted TLS 1.2 or later).",
            reason=Reason.MISCONFIGURED,
        )


# Who could take over


def _unfit(replica: Answers, master: Answers | None, limits: RedisLimits, *, cluster: bool) -> str | None:
    """Why a replica could not take over, by its own answers; None where it could.

    A master that has just started is given the time in which its replicas come back.
    """
    where = replica.address
    if replica.number("loading"):
        return f"{where} is loading its data"
    if replica.info.get("role") == "master":
        return f"{where} answers as a master"
    if not cluster and replica.number("slave_priority") == 0:
        return f"the replica-priority of {where} is 0"
    if cluster and replica.setting("cluster-replica-no-failover") == "yes":
        return f"cluster-replica-no-failover of {where} is yes"
    if replica.info.get("master_link_status", "up") != "up":
        fresh = master is not None and master.number("uptime_in_seconds") <= limits.replica_grace.total_seconds()
        if not fresh or replica.number("master_link_down_since_seconds") < 0:
            return f"the link of {where} to its master is down"
    return None


# Sentinel


def sentinel_problems(
    sentinel: Answers, name: str, limits: RedisLimits, wanted_replicas: int, nodes: Sequence[Look] = ()
) -> Iterator[Result]:
    """A Sentinel reaches enough others to decide and to act, takes the master for well, and has a replica that it may promote.

    CKQUORUM counts the Sentinels that it reaches; those that it knows of may long be gone.
    """
    where, known = sentinel.address, watch(sentinel, name)
    able, said, usable = quorum(sentinel, name)
    many = counted(known.sentinels, "Sentinel")
    if not able:
        yield failed(f"Sentinel {where} says {said}: {name} would not fail over.", reason=Reason.LIMIT)
    elif usable < limits.min_sentinels:
        yield failed(
            f"Sentinel {where} reaches {usable} of {many} (wanted {limits.min_sentinels}).", reason=Reason.LIMIT
        )
    if known.down:
        yield failed(f"Sentinel {where} holds the master {known.master} for down.", reason=Reason.DOWN)
    answered = {node.address: node for node in seen(nodes)}
    unfit = [
        why for why in (_passed_over(watched, answered, known, limits) for watched in known.replicas) if why is not None
    ]
    up = len(known.replicas) - len(unfit)
    if up < wanted_replicas:
        because = f": {listed(reasons, most=3)}" if (reasons := [why for why in unfit if why]) else ""
        yield failed(
            f"Sentinel {where} sees {counted(up, 'replica')} that could take over (wanted {wanted_replicas}){because}.",
            reason=Reason.MISSING,
        )
    if able and usable < known.sentinels:
        yield warning(
            f"Sentinel {where} reaches {usable} of {many}: start the others, or let SENTINEL RESET {name} forget them."
        )
    if able and usable - 1 < known.needed:
        yield warning(
            f"Sentinel {where} needs {known.needed} of {many} for a failover (quorum {known.quorum}) and reaches {usable}: "
            "without one more of them nothing fails over."
        )


def _passed_over(
    replica: NodeAddress, answered: Mapping[NodeAddress, Answers], known: Watch, limits: RedisLimits
) -> str | None:
    """Why a Sentinel would not promote a replica: empty where it takes it for down, None where it would promote it."""
    standby, node = known.replicas[replica], answered.get(replica)
    if standby.down:
        return ""
    if standby.priority == 0:
        return f"the replica-priority of {replica} is 0"
    if node is not None:
        return _unfit(node, answered.get(known.master), limits, cluster=False)
    return None if standby.linked else f"the link of {replica} to its master is down"


def electorate_problems(
    sentinels: Collection[Look], watches: Collection[Watch], limits: RedisLimits
) -> Iterator[Result]:
    """As many Sentinels were asked as there have to be, each under one address, and enough of them act: in TILT they only watch."""
    answered = seen(each_once(sentinels))
    found = len({sentinel.text("run_id") for sentinel in answered})
    tilted = [str(sentinel.address) for sentinel in answered if sentinel.info.get("sentinel_tilt", "0") == "1"]
    needed = max((watch.needed for watch in watches), default=0)
    if tilted:
        left = found - len(tilted)
        verb = "is" if len(tilted) == 1 else "are"
        sentence = (
            f"{len(tilted)} of {counted(found, 'Sentinel')} ({listed(tilted, most=3)}) {verb} in TILT and would start no "
            f"failover, which needs {needed}."
        )
        yield failed(sentence, reason=Reason.DOWN) if left < needed else warning(sentence)
    if found < limits.min_sentinels and all(isinstance(sentinel, Answers) for sentinel in sentinels):
        yield unknown(
            f"`sentinels` leads to {found} distinct {'Sentinel' if found == 1 else 'Sentinels'} "
            f"(wanted {limits.min_sentinels}): name each.",
            reason=Reason.NOT_CONFIGURED,
        )


def detection_problems(watches: Collection[Watch], name: str, limits: RedisLimits) -> Iterator[Result]:
    """A master that is gone is soon held for down, by as many Sentinels as have to agree."""
    if not watches:
        return
    quorum = min(max(watch.quorum for watch in watches), len(watches))
    after = sorted(watch.down_after for watch in watches)[max(quorum, 1) - 1]
    if after > limits.max_detection:
        yield failed(
            f"{name} would have to be gone for {format_duration(after)} before {counted(quorum, 'Sentinel')} "
            f"{'takes' if quorum == 1 else 'take'} it for down (down-after-milliseconds, limit "
            f"{format_duration(limits.max_detection)}).",
            reason=Reason.MISCONFIGURED,
        )
    attempt = max(watch.failover_timeout for watch in watches)
    if attempt > _ATTEMPT:
        yield warning(
            f"A failover of {name} that did not succeed is tried again only after {format_duration(2 * attempt)} "
            f"(failover-timeout is {format_duration(attempt)}, limit {format_duration(_ATTEMPT)})."
        )


def timeout_problems(node: Answers, limits: RedisLimits) -> Iterator[Result]:
    """A node of a cluster soon notices that another one is gone, which CONFIG alone shows."""
    value = node.setting("cluster-node-timeout") or ""
    after = timedelta(milliseconds=int(value) if value.isdecimal() else 0)
    if after > limits.max_detection:
        yield failed(
            f"{node.address} takes a node for down only after {format_duration(after)} (cluster-node-timeout, limit "
            f"{format_duration(limits.max_detection)}).",
            reason=Reason.MISCONFIGURED,
        )


def agreement_problems(watches: Iterable[Watch], name: str) -> Iterator[Result]:
    """All Sentinels name the same master."""
    if len(masters := sorted({watch.master for watch in watches})) > 1:
        yield failed(
            f"The Sentinels disagree on the master of {name}: {' and '.join(map(str, masters))}.",
            reason=Reason.CONTRADICTED,
        )


def named_master_problems(node: Answers) -> Iterator[Result]:
    """The node that the Sentinels name as the master is one."""
    if not role(node).master:
        yield failed(
            f"The Sentinels name {node.address} as the master, but it answers ROLE as a replica.",
            reason=Reason.CONTRADICTED,
        )


# Cluster


def cluster_problems(node: Answers, wanted_replicas: int) -> Iterator[Result]:
    """As this node sees it, every slot is served, every master that serves some has replicas, and enough masters could vote.

    cluster_state alone says ok with slots failed where cluster-require-full-coverage is no.
    Raises ProbeError for a reply that is not of Redis.
    """
    lines = (line.partition(":") for line in node.reply("CLUSTER INFO", str).splitlines())
    fields = {name: value for name, _, value in lines}
    state, served, lost = (fields.get(name, "") for name in ("cluster_state", "cluster_slots_ok", "cluster_slots_fail"))
    if not state or not served.isdecimal() or not lost.isdecimal():
        raise ProbeError(f"{node.address} answered CLUSTER INFO with something else than Redis does.", Reason.MALFORMED)
    if state != "ok":
        yield failed(f"cluster_state is {state[:20]} on {node.address}.", reason=Reason.DOWN)
    if int(served) != SLOTS or int(lost):
        yield failed(
            f"{node.address} sees {served} of {SLOTS} slots served and {lost} failed, with cluster_state {state[:20]}.",
            reason=Reason.DOWN,
        )
    nodes = cluster_nodes(node)
    replicas = Counter(other.master for other in nodes if other.master and not other.dead)
    for master in (other for other in nodes if other.slots and replicas[other.id] < wanted_replicas):
        has = counted(replicas[master.id], "replica")
        yield failed(
            f"Master {master.address} of the cluster has {has} (wanted {wanted_replicas}).", reason=Reason.MISSING
        )
    yield from _vote_problems(nodes, wanted_replicas)
    for other in nodes:
        if not other.joined:
            yield failed(
                f"{node.address} has not completed its handshake with {other.address or 'a node without an address'}, which "
                "is no member of the cluster.",
                reason=Reason.DOWN,
            )
    if moving := [slot for other in nodes for slot in other.moving]:
        yield warning(
            f"{node.address} has {counted(len(moving), 'slot')} that {'is' if len(moving) == 1 else 'are'} migrating or "
            f"importing ({listed(moving)}): finish that, or CLUSTER SETSLOT … STABLE."
        )


def _vote_problems(nodes: Collection[ClusterNode], wanted_replicas: int) -> Iterator[Result]:
    """Masters with slots vote on a promotion, and the majority of all of them has to be there after one has died."""
    voters = [node for node in nodes if node.slots]
    needed, able = len(voters) // 2 + 1, sum(not node.dead for node in voters)
    if wanted_replicas and voters and able - 1 < needed:
        yield failed(
            f"The cluster has {counted(able, 'master')} that {'votes' if able == 1 else 'vote'} of {len(voters)}: when one dies, "
            f"the others are fewer than the {needed} that have to agree before a replica is promoted.",
            reason=Reason.LIMIT,
        )


def ownership_problems(nodes: Collection[Look]) -> Iterator[Result]:
    """All nodes name the same master for each slot: a client is sent from one to the other otherwise."""
    views = [(node, slots) for node in seen(nodes) if (slots := owners(node))]
    named = {other.id: str(other.address) for node, _ in views for other in view(node) if other.address}
    if not views or all(slots == views[0][1] for _, slots in views):
        return
    [(first, whole), *others] = [(node, _by_slot(slots)) for node, slots in views]
    for node, owned in others:
        if differing := [slot for slot in range(SLOTS) if whole[slot] != owned[slot]]:
            slot = differing[0]
            yield failed(
                f"{first.address} and {node.address} disagree on who serves {counted(len(differing), 'slot')}: slot {slot} is "
                f"{_owner(named, whole[slot])} for the one, {_owner(named, owned[slot])} for the other.",
                reason=Reason.CONTRADICTED,
            )


def member_problems(nodes: Collection[Look]) -> Iterator[Result]:
    """All nodes know the same members: one that was forgotten by some, or met by some alone, takes no part in what they decide."""
    known = {node.address: {other.id for other in view(node) if other.joined} for node in seen(nodes)}
    named = {other.id: other for node in seen(nodes) for other in view(node) if other.joined and not other.dead}
    for identity, other in named.items():
        if lacking := [str(address) for address, members in known.items() if members and identity not in members]:
            yield warning(
                f"{listed(lacking, most=3)} {'does' if len(lacking) == 1 else 'do'} not know {other.address}, which "
                "other nodes take for a member of the cluster."
            )


def _by_slot(slots: Mapping[tuple[int, int], str]) -> list[str]:
    found = [""] * SLOTS
    for (first, last), owner in slots.items():
        found[max(first, 0) : last + 1] = [owner] * (min(last, SLOTS - 1) - max(first, 0) + 1)
    return found[:SLOTS]


def _owner(named: Mapping[str, str], identity: str) -> str:
    return f"that of {named.get(identity, identity[:40])}" if identity else "nobody's"


def successor_problems(nodes: Collection[Look], limits: RedisLimits, wanted_replicas: int) -> Iterator[Result]:
    """Each master of the cluster has as many replicas as wanted that could be promoted, by their own answers."""
    answered = by_id(nodes)
    members = {other.id: other for node in seen(nodes) for other in view(node) if other.joined}
    for master in (other for other in members.values() if other.slots):
        replicas = [other for other in members.values() if other.master == master.id and not other.dead]
        reasons = [
            _unfit(node, answered.get(master.id), limits, cluster=True)
            for other in replicas
            if (node := answered.get(other.id)) is not None
        ]
        unfit = [why for why in reasons if why is not None]
        if len(replicas) - len(unfit) < wanted_replicas <= len(replicas):
            could = counted(len(replicas) - len(unfit), "replica")
            yield failed(
                f"Master {master.address} of the cluster has {could} that could take over (wanted {wanted_replicas}): "
                f"{listed(unfit, most=3)}.",
                reason=Reason.MISSING,
            )
