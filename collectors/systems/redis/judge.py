"""What a Redis node's answers mean: parsed, and judged against limits. Nothing here asks anything.

Judges yield what is wrong, and nothing when all is well. They raise ProbeError when an answer is missing or is none of Redis's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import PurePosixPath

from collectors.shared.verdicts import collected
from collectors.systems.prometheus.model.volumes import is_temporary
from collectors.systems.redis.model import (
    _DOWN,
    SLOTS,
    Address,
    Answers,
    Growth,
    Look,
    Persistence,
    RedisLimits,
    Unseen,
    Untrusted,
    Watch,
    _seconds_since_save,
    cluster_nodes,
    doors,
    each_once,
    never_saved,
    plain_port,
    role,
    seen,
    watch,
)
from exporter.options import format_duration
from exporter.verdict import ProbeError, Result, failed, unknown, unobserved, warning
from exporter.words import counted, format_size, listed

#: A snapshot may be late by this much: Redis looks ten times a second, but waits 5 s after a failure, and forking takes time.
_SNAPSHOT_GRACE = timedelta(minutes=1)


def of_each(looks: Iterable[Look], judge: Callable[[Answers], Iterable[Result]]) -> list[Result]:
    """What is wrong with any of the nodes; one that could not be asked, or did not answer what is judged, is `unknown`."""
    return [
        problem
        for node in looks
        for problem in ([unobserved(node.why)] if isinstance(node, Unseen) else collected(judge(node)))
    ]


# Roles and replication


def alive(node: Answers) -> Iterator[Result]:
    """Answers, and has its data in memory."""
    if node.number("loading"):
        yield failed(f"{node.address} is still loading its data from disk.")
    if (pong := node.reply("PING", str)) != "PONG":
        yield failed(f"{node.address} answers PING with {pong[:40]!r}.")


def linked(node: Answers, limits: RedisLimits, since: dict[Address, datetime], now: datetime) -> Iterator[Result]:
    """A replica has its master. Before a first sync it cannot tell since when not: `since` remembers when that was first seen."""
    if role(node).master or node.text("master_link_status") == "up":
        since.pop(node.address, None)
        return
    seconds = node.number("master_link_down_since_seconds")
    first_sync = seconds < 0
    down = now - since.setdefault(node.address, now) if first_sync else timedelta(seconds=seconds)
    told = f"since {format_duration(timedelta(seconds=int(down.total_seconds())))}"
    grace = f"(grace {format_duration(limits.replica_grace)})"
    if down > limits.replica_grace:
        yield failed(f"Replica {node.address} is without its master {told} {grace}.")
    elif first_sync:
        yield warning(f"Replica {node.address} is in its first sync {told} {grace}.")
    else:
        yield warning(f"Replica {node.address} is without its master {told} {grace}.")


def led(nodes: Collection[Look], wanted_replicas: int) -> Iterator[Result]:
    """Exactly one node is master, has its replicas online, and they have its data, not another's."""
    once = each_once(nodes)
    if twice := [str(node.address) for node in nodes if node not in once]:
        yield unknown(f"{listed(twice)} and another node lead to the same Redis: name each node's own address.")
        return
    roles = {node.address: (node, role(node)) for node in seen(nodes) if not node.error("ROLE")}
    masters = [(node, its) for node, its in roles.values() if its.master]
    if len(masters) > 1:
        names = " and ".join(str(node.address) for node, _ in masters)
        yield failed(f"{names} all are masters, where one was wanted: writes diverge.")
        return
    if not masters:
        if len(roles) == len(nodes):
            yield failed(f"None of the {len(nodes)} nodes is master, so nothing can be written.")
        return
    [(master, its)] = masters
    if its.replicas < wanted_replicas:
        online = counted(its.replicas, "replica")
        silent = [str(node.why).rstrip(".") for node in nodes if isinstance(node, Unseen)]
        because = f", and {listed(silent, most=3)}" if silent else ""
        yield failed(f"Master {master.address} has {online} online (wanted {wanted_replicas}){because}.")
    history = master.text("master_replid")
    for node, other in roles.values():
        if not other.master and node.text("master_link_status") == "up" and node.text("master_replid") != history:
            yield failed(f"Replica {node.address} follows another master than {master.address}.")


# Persistence


def persisted(node: Answers, limits: RedisLimits, now: datetime) -> Iterator[Result]:
    """Writes to disk what is wanted, where it lasts, and the last attempts went well."""
    where = node.address
    if limits.persistence is not Persistence.RDB:
        if not node.number("aof_enabled"):
            yield failed(f"{where} writes no append-only file: appendonly is no.")
        for name, what in (("aof_last_write_status", "write"), ("aof_last_bgrewrite_status", "rewrite")):
            if (status := node.text(name)) != "ok":
                yield failed(
                    f"The last {what} of the append-only file on {where} went wrong ({name} is {status[:20]})."
                )
    if limits.persistence is not Persistence.AOF:
        yield from _snapshots(node, now)
    folder = node.setting("dir") or ""
    if limits.data_volume and not PurePosixPath(folder).is_relative_to(limits.data_volume):
        yield failed(f"{where} writes to {folder}, which is not on the volume {limits.data_volume}.")
    elif not limits.data_volume and is_temporary(folder):
        yield failed(f"{where} writes to {folder}, which does not outlive the machine or container.")


def _snapshots(node: Answers, now: datetime) -> Iterator[Result]:
    where = node.address
    points = node.setting("save") or ""
    if not points:
        yield failed(f"{where} writes no snapshots: save is empty.")
        return
    if (status := node.text("rdb_last_bgsave_status")) != "ok":
        yield failed(f"The last snapshot of {where} went wrong (rdb_last_bgsave_status is {status[:20]}).")
        return
    changes, since = node.number("rdb_changes_since_last_save"), _seconds_since_save(node, now)
    told = format_duration(timedelta(seconds=max(0, int(since))))
    if not node.number("rdb_bgsave_in_progress") and _overdue(points, changes, since):
        yield failed(
            f"{where} has {changes} changes in no snapshot since {told}, more than its save {points!r} allows."
        )
    elif never_saved(node):  # Redis then reports the start as the last save, and the save as ok
        yield warning(
            f"{where} is set to write snapshots (save {points}), but has written none since its start {told} ago."
        )


def _overdue(points: str, changes: int, since: float) -> bool:
    """Whether a save point (`3600 1 300 100`: after so many seconds if there are so many changes) should have been taken."""
    numbers = [int(word) for word in points.split() if word.isdigit()]
    grace = _SNAPSHOT_GRACE.total_seconds()
    return any(
        changes >= least and since > after + grace for after, least in zip(numbers[::2], numbers[1::2], strict=False)
    )


# Memory


def evicting(node: Answers, limits: RedisLimits) -> Iterator[Result]:
    """Has the wanted policy, a maxmemory without which no policy acts, and a machine or container that has so much."""
    where = node.address
    policy, most, used = node.text("maxmemory_policy"), node.number("maxmemory"), node.number("used_memory")
    if policy != limits.eviction_policy:
        yield failed(f"maxmemory-policy of {where} is {policy[:40]} (wanted {limits.eviction_policy}).")
    if most <= 0:
        yield failed(
            f"maxmemory of {where} is 0, so {policy[:40]} never evicts anything and memory grows without limit."
        )
        return
    there = limits.container_memory or node.number("total_system_memory")
    if most > there * limits.max_memory_share:
        yield failed(
            f"maxmemory of {where} is {format_size(most)} of the {format_size(there)} that there are "
            f"(limit {limits.max_memory_share:.0%}): it is killed before it evicts."
        )
    if used >= most * limits.memory_warn:
        yield warning(
            f"{where} uses {used / most:.0%} of its maxmemory {format_size(most)} (limit {limits.memory_warn:.0%})."
        )


# Connections


def pooled(node: Answers, grown: Mapping[Address, Growth | None], limits: RedisLimits) -> Iterator[Result]:
    """Turns nobody away, has room for more clients, and they come from pools: few new connections, no pool over its size."""
    where = node.address
    connected, most, blocked = (node.number(name) for name in ("connected_clients", "maxclients", "blocked_clients"))
    growth = grown.get(where)
    if growth is None:
        yield unknown(f"{where} was looked at once since it or this exporter started; what it rejects takes two looks.")
    else:
        over = format_duration(timedelta(seconds=round(growth.seconds, 3)))
        if growth.rejected:
            yield failed(
                f"{where} rejected {growth.rejected} connections within {over}: its maxclients {most} is reached."
            )
        # What came within a fraction of a second is a burst, no rate.
        if (churn := growth.received / max(growth.seconds, 1.0)) > limits.max_churn:
            yield failed(
                f"{where} gets {churn:.1f} new connections a second (limit {limits.max_churn:g}): a client has no pool."
            )
    if connected > most * limits.clients_warn:
        yield warning(f"{where} has {connected} of {most} clients (limit {limits.clients_warn:.0%}).")
    if blocked > limits.max_blocked_clients:
        waiting = counted(blocked, "client")
        yield warning(f"{where} has {waiting} in blocking commands (limit {limits.max_blocked_clients}).")
    if limits.pools:
        yield from _pools(node, limits.pools)


def _pools(node: Answers, pools: Mapping[str, int]) -> Iterator[Result]:
    held = Counter(
        word.removeprefix("name=")
        for client in node.reply("CLIENT LIST", str).splitlines()
        for word in client.split(" ")
        if word.startswith("name=")
    )
    for name, most in pools.items():
        if held[name] > most:
            yield failed(f"Client {name} holds {held[name]} connections to {node.address} (limit {most}).")


# TLS


def encrypted(node: Look, answered: Mapping[Address, bool | ProbeError], plaintext_port: int) -> Iterator[Result]:
    """The certificate was accepted, the protocol is recent, and nothing answers in plaintext."""
    closed = isinstance(node, Answers) and not node.error("CONFIG GET port") and plain_port(node) == 0
    for door in sorted(doors(node, plaintext_port)):
        if (answer := answered[door]) is True:
            yield failed(f"{door} still answers in plaintext.")
        elif (
            isinstance(answer, ProbeError) and not closed
        ):  # a port that Redis says it does not listen on may be filtered
            yield unobserved(answer)
    if isinstance(node, Unseen):
        yield (failed if isinstance(node.why, Untrusted) else unknown)(str(node.why))
    elif node.tls_version not in ("TLSv1.2", "TLSv1.3"):
        yield failed(f"{node.address} speaks {node.tls_version or 'no TLS'} (wanted TLS 1.2 or later).")


def encrypts_peers(node: Answers, *, cluster: bool) -> Iterator[Result]:
    """What goes to replicas and over the cluster's bus is encrypted, which CONFIG alone tells; no outdated protocol is offered."""
    replicates = cluster or not (its := role(node)).master or its.replicas > 0
    wanted = {"tls-replication": replicates, "tls-cluster": cluster}
    for name in (name for name, want in wanted.items() if want):
        if node.setting(name) != "yes":
            yield failed(f"{name} of {node.address} is not yes: its data leaves it unencrypted.")
    protocols = "" if node.error("CONFIG GET tls-protocols") else node.setting("tls-protocols") or ""
    if outdated := {"SSLv3", "TLSv1", "TLSv1.1"} & set(protocols.split()):
        yield failed(f"{node.address} also offers {', '.join(sorted(outdated))} (wanted TLS 1.2 or later).")


# Sentinel


def guards(sentinel: Answers, name: str, limits: RedisLimits, wanted_replicas: int) -> Iterator[Result]:
    """A Sentinel reaches enough others to decide and to act, holds the master for well, and has a replica to promote.

    CKQUORUM counts the Sentinels that it reaches; those that it knows of may long be gone.
    """
    where, known = sentinel.address, watch(sentinel, name)
    asked = f"SENTINEL CKQUORUM {name}"
    quorum = sentinel.error(asked) or ""
    if not quorum.startswith("NOQUORUM"):
        quorum = sentinel.reply(asked, str)
    match quorum.split():
        case ["NOQUORUM", *_]:
            yield failed(f"Sentinel {where} says {quorum.strip().rstrip('.')}: {name} would not fail over.")
        case ["OK", usable, *_] if usable.isdecimal():
            if int(usable) < limits.min_sentinels:
                yield failed(
                    f"Sentinel {where} reaches {usable} of {counted(known.sentinels, 'Sentinel')} (wanted {limits.min_sentinels})."
                )
        case _:
            raise ProbeError(f"Sentinel {where} answered CKQUORUM with something else than a Sentinel does.")
    if known.flags & _DOWN:
        yield failed(f"Sentinel {where} holds the master {known.master} for down.")
    up = sum(1 for flags in known.replicas.values() if not flags & _DOWN)
    if up < wanted_replicas:
        could = counted(up, "replica")
        yield failed(f"Sentinel {where} sees {could} that could take over (wanted {wanted_replicas}).")


def distinct(sentinels: Collection[Look], limits: RedisLimits) -> Iterator[Result]:
    """As many Sentinels were asked as there shall be, each under one address."""
    answered = seen(sentinels)
    found = len({sentinel.text("run_id") for sentinel in answered})
    if found < limits.min_sentinels and len(answered) == len(sentinels):
        yield unknown(f"`sentinels` leads to {found} distinct Sentinels (wanted {limits.min_sentinels}): name each.")


def agree(watches: Iterable[Watch], name: str) -> Iterator[Result]:
    """All Sentinels name the same master."""
    if len(masters := sorted({watch.master for watch in watches})) > 1:
        yield failed(f"The Sentinels disagree on the master of {name}: {' and '.join(map(str, masters))}.")


def leads(node: Answers) -> Iterator[Result]:
    """The node that the Sentinels name as the master is one."""
    if not role(node).master:
        yield failed(f"The Sentinels name {node.address} as the master, but it answers ROLE as a replica.")


# Cluster


def whole(node: Answers, wanted_replicas: int) -> Iterator[Result]:
    """As this node sees it, every slot is served and every master that serves some has replicas.

    cluster_state alone says ok with slots failed where cluster-require-full-coverage is no.
    """
    lines = (line.partition(":") for line in node.reply("CLUSTER INFO", str).splitlines())
    told = {name: value for name, _, value in lines}
    state, served, lost = (told.get(name, "") for name in ("cluster_state", "cluster_slots_ok", "cluster_slots_fail"))
    if not state or not served.isdecimal() or not lost.isdecimal():
        raise ProbeError(f"{node.address} answered CLUSTER INFO with something else than Redis does.")
    if state != "ok":
        yield failed(f"cluster_state is {state[:20]} on {node.address}.")
    if int(served) != SLOTS or int(lost):
        yield failed(
            f"{node.address} sees {served} of {SLOTS} slots served and {lost} failed, with cluster_state {state[:20]}."
        )
    view = cluster_nodes(node)
    replicas = Counter(other.master for other in view if other.master and not other.dead)
    for master in (other for other in view if other.slots and replicas[other.id] < wanted_replicas):
        has = counted(replicas[master.id], "replica")
        yield failed(f"Master {master.address} of the cluster has {has} (wanted {wanted_replicas}).")
