"""What Qdrant's peers answer about themselves, each other and their collections, judged. Nothing here asks anything.

Judges yield what is wrong, and nothing when all is well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from collectors.shared.copies import size_problems
from collectors.shared.verdicts import collected
from collectors.systems.prometheus.model.volumes import Space, Volume
from collectors.systems.qdrant.model import (
    Cluster,
    Collection,
    Held,
    Info,
    Peer,
    QdrantLimits,
    Queue,
    Shard,
    Since,
    Sized,
    Snapshot,
    Strict,
    Unreadable,
    seen,
)
from exporter.options import format_duration, format_seconds
from exporter.verdict import ProbeError, Reason, Result, failed, ok, unknown, warning
from exporter.words import counted, format_size, listed, one_line

__all__ = [
    "collection_problems",
    "copy_fits",
    "full_problems",
    "membership_problems",
    "missing_problems",
    "peer_problems",
    "settling_problems",
    "snapshot_age",
    "snapshot_problems",
    "stall_problems",
    "unwatched_problems",
]


_PAIR = 2
_SKEW = timedelta(minutes=5)
#: States of copies that nothing has to be done to.
_SETTLED = ("Active", "Listener", "ReshardingScaleDown")
#: States in which a copy answers searches: the last two are those of resharding and of a copy that takes no writes yet.
_READABLE = ("Active", "ReshardingScaleDown", "ActiveRead")
#: How far the numbers of points in copies of one shard may be apart, which are estimates while a peer optimizes.
_ALIKE = 0.1
#: So many points are searched one by one in no time; without an index more are not.
_FEW = 10_000
#: Bytes of a tar archive that holds nothing, and the least that its writers make of it.
_EMPTY_ARCHIVE = 1024
#: Share of the points that a collection takes from which to warn.
_NEARLY_FULL = 0.9
#: Updates that wait to be applied while a peer is merely busy.
_BUSY = 1_000
#: How long the consensus thread may report nothing, which it does each second.
_STALLED, _REPORT = timedelta(minutes=5), "last report "


# -- peers


def peer_problems(peer: Peer, limits: QdrantLimits, now: datetime) -> Iterator[Result]:
    """What is wrong with one peer, by what it says of itself and of those that it cannot reach."""
    url = peer.url
    if not peer.ready:
        yield failed(f"{url} is not ready: /readyz answers 503, as some shards are not ready.", reason=Reason.DOWN)
    if peer.anonymous == 200 and not limits.anonymous_access:
        yield failed(
            f"{url} answers a request without an API key: whoever reaches it can read and delete collections.",
            reason=Reason.MISCONFIGURED,
        )
    elif peer.anonymous not in (200, 401, 403):
        yield unknown(
            f"{url} answers {peer.anonymous} to a request without an API key (wanted 401).", reason=Reason.MALFORMED
        )
    yield from collected(_consensus(url, peer.cluster, limits, now))
    yield from collected(_gauges(peer, limits.metrics_prefix))


def _gauges(peer: Peer, prefix: str) -> Iterator[Result]:
    if peer.gauge(f"{prefix}app_status_recovery_mode"):
        yield failed(f"{peer.url} runs in recovery mode: collections are listed, but not loaded.", reason=Reason.DOWN)
    # It counts those that are being filled, or only listen, as well.
    lists = [collection.shards for collection in peer.collections.values()]
    settling = sum(shards.unsettled for shards in lists if not isinstance(shards, ProbeError))
    if (dead := peer.gauge(f"{prefix}collection_dead_replicas")) > settling:
        copies = counted(int(dead), "copy", "copies")
        yield failed(
            f"{peer.url} counts {copies} of shards that {'is' if dead == 1 else 'are'} not active (collection_dead_replicas).",
            reason=Reason.DOWN,
        )
    for resource in peer.exceeded(prefix):
        yield failed(
            f"{peer.url} refuses writes, as it uses more {resource} than its quota allows (quota_exceeded).",
            reason=Reason.LIMIT,
        )


def _consensus(url: str, answer: Cluster | ProbeError, limits: QdrantLimits, now: datetime) -> Iterator[Result]:
    """A peer that has lost all the others still calls itself leader, working and ready; that it cannot send is what shows it."""
    cluster = seen(answer)
    if cluster.alone:
        return
    if (state := cluster.consensus_thread_status.get("consensus_thread_status")) != "working":
        why = cluster.consensus_thread_status.get("err")
        yield failed(
            f"{url} takes no part in the consensus: its thread is {state}{f' ({why})' if why else ''}.",
            reason=Reason.DOWN,
        )
    if not cluster.raft_info.leader:
        yield failed(f"{url} knows no leader, so collections cannot be changed.", reason=Reason.DOWN)
    elif cluster.peers and str(cluster.raft_info.leader) not in cluster.peers:
        yield failed(
            f"{url} follows leader {cluster.raft_info.leader}, which is not in its cluster.", reason=Reason.CONTRADICTED
        )
    shared = [uri for uri, count in Counter(peer.uri for peer in cluster.peers.values()).items() if uri and count > 1]
    if shared:
        yield failed(
            f"{url} knows several of its peers by one address, {shared[0]}: it reaches one of them.",
            reason=Reason.MISCONFIGURED,
        )
    if not cluster.raft_info.is_voter:
        yield failed(
            f"{url} may not vote in the consensus (is_voter is false): when another peer fails it cannot replace its vote.",
            reason=Reason.DOWN,
        )
    if (pending := cluster.raft_info.pending_operations) > limits.max_raft_lag:
        yield failed(
            f"{url} has {counted(pending, 'operation')} of the consensus that it has not applied (limit {limits.max_raft_lag}).",
            reason=Reason.LIMIT,
        )
    clock = cluster.last_update or now  # what the peer dates is compared with its own clock
    for uri, failure in cluster.message_send_failures.items():
        if (age := clock - failure.latest_error_timestamp) <= limits.failure_window:
            many = counted(failure.count, "failure")
            yield failed(
                f"{url} cannot reach its peer {uri} ({many}, the last {format_seconds(age)} ago).",
                reason=Reason.UNREACHABLE,
            )


def membership_problems(peers: Sequence[Peer], nodes: int, limits: QdrantLimits) -> Iterator[Result]:
    """Whether the peers that answered belong to one cluster of `nodes` peers that follows one leader, and keep up with it."""
    yield from unwatched_problems(peers, nodes)
    leaders = set()
    for peer in peers:
        if isinstance(peer.cluster, ProbeError):
            continue  # reported by the judge of the peer itself
        if peer.cluster.alone and nodes > 1:
            yield failed(
                f"{peer.url} runs without cluster mode (wanted a cluster of {nodes} peers).",
                reason=Reason.MISCONFIGURED,
            )
        elif not peer.cluster.alone and (known := len(peer.cluster.peers)) < nodes:
            yield failed(
                f"{peer.url} knows {counted(known, 'peer')} of its cluster (wanted {nodes}).", reason=Reason.MISSING
            )
        leaders.add(peer.cluster.raft_info.leader)
    if len(named := sorted(leader for leader in leaders if leader)) > 1:
        yield failed(f"The peers follow different leaders: {', '.join(map(str, named))}.", reason=Reason.CONTRADICTED)
    if any(isinstance(peer.cluster, Cluster) and len(peer.cluster.peers) == _PAIR for peer in peers):
        yield warning(
            "The cluster has 2 peers, and without one of them no collection or shard can be changed (wanted at least 3)."
        )
    yield from _lag_problems(peers, limits)
    versions = {peer.url: version for peer in peers if (version := peer.version(limits.metrics_prefix))}
    if len(set(versions.values())) > 1:
        which = listed(f"{url} {version}" for url, version in versions.items())
        yield warning(f"The peers run different releases: {which}.")


def _lag_problems(peers: Sequence[Peer], limits: QdrantLimits) -> Iterator[Result]:
    """A peer that is far behind in the log knows nothing of collections and copies that were changed since, and says it works."""
    commits = {
        peer.url: peer.cluster.raft_info.commit
        for peer in peers
        if isinstance(peer.cluster, Cluster) and not peer.cluster.alone and peer.cluster.raft_info.commit is not None
    }
    furthest = max(commits.values(), default=0)
    for url, commit in commits.items():
        if (behind := furthest - commit) > limits.max_raft_lag:
            yield failed(
                f"{url} is {counted(behind, 'entry', 'entries')} behind in the log of the consensus "
                f"(limit {limits.max_raft_lag}).",
                reason=Reason.LIMIT,
            )


def stall_problems(peers: Sequence[Peer], since: Since, now: datetime) -> Iterator[Result]:
    """Whether peers are left behind: in an older term, or with a consensus thread that reports no more.

    `since` is kept from run to run: clocks of peers differ, so what each reports is compared with what it reported before.
    """
    members = [
        (peer.url, peer.cluster) for peer in peers if isinstance(peer.cluster, Cluster) and not peer.cluster.alone
    ]
    newest = max((cluster.raft_info.term or 0 for _, cluster in members), default=0)
    reports = {(url, f"{_REPORT}{cluster.last_update}"): url for url, cluster in members if cluster.last_update}
    for key in [key for key in since if key[1].startswith(_REPORT) and key not in reports]:
        del since[key]
    for url, cluster in members:
        if cluster.raft_info.term is not None and (term := cluster.raft_info.term) < newest:
            yield failed(
                f"{url} is in term {term} of the consensus, while others are in term {newest}.",
                reason=Reason.CONTRADICTED,
            )
    for key, url in reports.items():
        if (lasted := now - since.setdefault(key, now)) > _STALLED:
            yield failed(
                f"The consensus thread of {url} has reported nothing for {format_seconds(lasted)} (limit "
                f"{format_duration(_STALLED)}).",
                reason=Reason.STALE,
            )


def unwatched_problems(peers: Sequence[Peer], nodes: int) -> Iterator[Result]:
    """The peers that were not checked, since `nodes` has fewer of them, or one of them twice."""
    names = _names(peers)
    for peer in peers:
        if isinstance(peer.cluster, ProbeError) or peer.cluster.alone:
            continue
        if (known := len(peer.cluster.peers)) > nodes:
            yield unknown(
                f"The cluster has {known} peers, of which only the {nodes} in option nodes are checked.",
                reason=Reason.NOT_CONFIGURED,
            )
        if (other := names[peer.cluster.peer_id]) != peer.url:
            yield unknown(
                f"{other} and {peer.url} are the same peer: name each peer's own address, not a service's.",
                reason=Reason.CONTRADICTED,
            )


def _names(peers: Sequence[Peer]) -> dict[int, str]:
    """The address of each peer that answered, by its number."""
    names: dict[int, str] = {}
    for peer in peers:
        if isinstance(peer.cluster, Cluster) and not peer.cluster.alone:
            names.setdefault(peer.cluster.peer_id, peer.url)
    return names


# -- collections


def missing_problems(peers: Sequence[Peer], limits: QdrantLimits) -> Iterator[Result]:
    """The collections that must exist and do not, on any of the peers."""
    for peer in peers:
        for name in limits.collections:
            if peer.aliases.get(name, name) not in peer.collections:
                yield failed(f"Collection {name} does not exist on {peer.url}.", reason=Reason.MISSING)


def collection_problems(peers: Sequence[Peer]) -> Iterator[Result]:
    """What is wrong with collections at once: unreadable, red, with an optimizer that failed, with copies lost or dead, or not
    known to all peers of the cluster.
    """
    names = _names(peers)
    everywhere = [peer for peer in peers if peer.url in names.values()]
    for name in sorted({name for peer in everywhere for name in peer.collections}):
        lacking = [peer.url for peer in everywhere if name not in peer.collections]
        if lacking:
            yield failed(
                f"Collection {name} is not known to {listed(lacking)}, while other peers of the cluster have it.",
                reason=Reason.CONTRADICTED,
            )
    for peer in peers:
        for name, collection in peer.collections.items():
            yield from collected(_status(f"Collection {name}", peer.url, collection))
            yield from collected(_copies(name, peer, collection, names))


def _status(what: str, url: str, collection: Collection) -> Iterator[Result]:
    info = collection.info
    if isinstance(info, ProbeError):
        raise info
    if isinstance(info, Unreadable):
        yield failed(f"{what} cannot be read on {url}: {info.error}.", reason=Reason.DOWN)
        return
    if info.status not in ("green", "yellow", "grey"):
        yield failed(f"{what} is {info.status} on {url} (wanted green).", reason=Reason.DOWN)
    if info.optimizer_status != "ok":
        error = info.optimizer_status
        detail = str(error.get("error", error) if isinstance(error, dict) else error).rstrip(".")
        name = what.removeprefix("Collection ")
        yield failed(f"The optimizer of collection {name} failed on {url}: {detail}.", reason=Reason.DOWN)
    setting, points = info.config.switched_off, info.points_count or 0
    if setting is not None and points > _FEW and not info.indexed_vectors_count:
        yield warning(
            f"{what} has {points} points on {url} and no index of them: {setting}, so each search reads all vectors."
        )
    if (most := info.config.max_points) is not None and points >= _NEARLY_FULL * most:
        has = f"{points} of at most {counted(most, 'point')} (strict mode, max_points_count)"
        if points >= most:
            yield failed(f"{what} is full on {url} and refuses points: it has {has}.", reason=Reason.LIMIT)
        else:
            yield warning(f"{what} is nearly full on {url}: it has {has}.")
    for warned in info.warnings or ():
        yield warning(f"Qdrant warns of {what[0].lower()}{what[1:]} on {url}: {one_line(warned.message).rstrip('.')}.")


def _copies(name: str, peer: Peer, collection: Collection, names: Mapping[int, str]) -> Iterator[Result]:
    copies: dict[int, int] = {}
    members = peer.cluster.peers if isinstance(peer.cluster, Cluster) else {}
    for shard, where in _shards(peer, collection, names):
        copies[shard.shard_id] = copies.get(shard.shard_id, 0) + 1
        if shard.peer_id and members and str(shard.peer_id) not in members:
            yield failed(
                f"{peer.url} lists a copy of shard {shard.shard_id} of collection {name} on peer {shard.peer_id}, which is not in "
                "its cluster.",
                reason=Reason.CONTRADICTED,
            )
        if shard.state == "Dead":
            yield failed(
                f"Shard {shard.shard_id} of collection {name} is Dead on {where} (wanted Active).", reason=Reason.DOWN
            )
    unfinished = seen(collection.shards).unfinished
    for shard_id, states in sorted(_states(peer, collection, names).items()):
        if shard_id not in unfinished and not any(state in _READABLE for state in states):
            yield failed(
                f"Shard {shard_id} of collection {name} has no Active copy, as {peer.url} lists them ({listed(states)}): searches "
                "of it fail.",
                reason=Reason.DOWN,
            )
    if isinstance(collection.info, Info) and (
        lost := sorted(collection.info.config.params.shards - copies.keys() - unfinished)
    ):
        shards = f"Shard {lost[0]}" if len(lost) == 1 else f"Shards {listed(map(str, lost))}"
        yield failed(
            f"{shards} of collection {name} {'is' if len(lost) == 1 else 'are'} on no peer, as {peer.url} lists them.",
            reason=Reason.MISSING,
        )
    if isinstance(collection.info, Info) and isinstance(peer.cluster, Cluster) and not peer.cluster.alone:
        wanted = collection.info.config.params.replication_factor
        for shard_id, count in sorted(copies.items()):
            if count < wanted and shard_id not in unfinished:
                has = counted(count, "copy", "copies")
                yield failed(
                    f"Shard {shard_id} of collection {name} has {has} (wanted {wanted}).", reason=Reason.MISSING
                )


def _states(peer: Peer, collection: Collection, names: Mapping[int, str]) -> dict[int, list[str]]:
    """The states of each shard's copies."""
    states: dict[int, list[str]] = {}
    for shard, _ in _shards(peer, collection, names):
        states.setdefault(shard.shard_id, []).append(shard.state)
    return states


def _shards(peer: Peer, collection: Collection, names: Mapping[int, str]) -> Iterator[tuple[Shard, str]]:
    """Every copy of the collection's shards that the peer knows of, and where that is."""
    shards = seen(collection.shards)
    for shard in shards.local_shards:
        yield shard, peer.url
    for shard in shards.remote_shards:
        yield shard, names.get(shard.peer_id, f"peer {shard.peer_id}")


class _Pending(NamedTuple):
    """What is not as it should be and may become so by itself: for `grace` it is no more than `early` says, if anything."""

    what: str
    grace: timedelta
    late: Callable[[str], Result]
    early: str = ""
    limit: str = ""


def settling_problems(peers: Sequence[Peer], limits: QdrantLimits, since: Since, now: datetime) -> Iterator[Result]:
    """What takes too long: optimizing, transfers and the recovery of copies. `since` is kept from run to run."""
    pending, read = _pending(peers, limits)
    for key in [key for key in since if key[0] in read and key not in pending]:
        del since[key]
    for key, (what, grace, late, early, limit) in pending.items():
        if (lasted := now - since.setdefault(key, now)) > grace:
            yield late(f"{what} for {format_seconds(lasted)} (limit {limit or format_duration(grace)}).")
        elif early:
            yield warning(f"{what}: {early}.")


def _pending(peers: Sequence[Peer], limits: QdrantLimits) -> tuple[dict[tuple[str, str], _Pending], set[str]]:
    """What is not settled, by collection and kind; and the collections of which all was observed."""
    names, pending, unread = _names(peers), dict[tuple[str, str], _Pending](), set()
    optimizing, recovery = limits.optimizing_grace, limits.recovery_grace
    too_long = partial(failed, reason=Reason.LIMIT)
    for peer in peers:
        for name, collection in peer.collections.items():
            what = f"Collection {name}"
            if isinstance(collection.info, Info):
                pending |= {(name, key): found for key, found in _updating(what, peer.url, collection.info, limits)}
            if isinstance(collection.shards, ProbeError) or not isinstance(collection.info, Info):
                unread.add(name)
                continue
            for change in collection.shards.resharding_operations or ():
                doing = f"shard {change.shard_id} is {'removed' if change.direction == 'down' else 'added'}"
                pending[name, "resharding"] = _Pending(f"{what} is being resharded", optimizing, warning, early=doing)
            changing = collection.shards.unfinished
            for transfer in collection.shards.shard_transfers:
                source, to = (names.get(peer_id, f"peer {peer_id}") for peer_id in (transfer.source, transfer.to))
                pending[name, f"transfer {transfer.shard_id} {source} {to}"] = _Pending(
                    f"Shard {transfer.shard_id} of collection {name} is being transferred from {source} to {to}",
                    recovery,
                    warning,
                )
            for shard, where in _shards(peer, collection, names):
                if shard.state not in (*_SETTLED, "Dead") and shard.shard_id not in changing:
                    pending[name, f"{shard.shard_id} {where}"] = _Pending(
                        f"Shard {shard.shard_id} of collection {name} is {shard.state} on {where}",
                        recovery,
                        too_long,
                        early="it is being recovered",
                    )
    for (name, shard_id), held in _points(peers).items():
        most, least = max(held.values()), min(held.values())
        if most - least > _ALIKE * most:  # they differ for moments while points are written
            apart = listed(url for url, points in held.items() if points in (most, least))
            pending[name, f"points of {shard_id}"] = _Pending(
                f"Copies of shard {shard_id} of collection {name} on {apart} have held {least} to {most} points",
                recovery,
                partial(failed, reason=Reason.CONTRADICTED),
                limit=f"{_ALIKE:.0%} apart",
            )
    return pending, {name for peer in peers for name in peer.collections} - unread


def _updating(what: str, url: str, info: Info, limits: QdrantLimits) -> Iterator[tuple[str, _Pending]]:
    """What a peer has still to do for a collection, by kind."""
    if info.status in ("yellow", "grey"):
        yield "status", _Pending(f"{what} is {info.status}, being optimized,", limits.optimizing_grace, warning)
    queue = info.update_queue or Queue()
    if queue.length > _BUSY:
        waits = f"{what} on {url} has {queue.length} updates that were accepted and are not applied"
        yield f"updates on {url}", _Pending(waits, limits.recovery_grace, warning)
    if queue.deferred_points:
        hidden = f"{what} on {url} has {counted(queue.deferred_points, 'point')} that no search finds, as they are not indexed,"
        yield f"deferred on {url}", _Pending(hidden, limits.optimizing_grace, warning)


def _points(peers: Sequence[Peer]) -> dict[tuple[str, int], dict[str, int]]:
    """How many points the Active copies of each shard hold, by peer."""
    held: dict[tuple[str, int], dict[str, int]] = {}
    for peer in peers:
        for name, collection in peer.collections.items():
            shards = () if isinstance(collection.shards, ProbeError) else collection.shards.local_shards
            for shard in shards:
                if shard.state == "Active" and shard.points_count is not None:
                    held.setdefault((name, shard.shard_id), {})[peer.url] = shard.points_count
    return held


# -- snapshots


def snapshot_problems(peers: Sequence[Peer], limits: QdrantLimits, now: datetime) -> Iterator[Result]:
    """The collections whose shards on a peer are in no usable, recent snapshot: one holds the shards of its own peer alone."""
    single = _of_shards(peers)
    for peer in peers:
        for name, collection in peer.collections.items():
            if name not in limits.without_snapshots:
                yield from collected(_saved(name, peer, collection, single.get(name, {}), limits, now))


#: Snapshots of single shards, by shard and the peer that lists them.
_OfShards = Mapping[int, Mapping[str, Sequence[Snapshot]]]


def _of_shards(peers: Iterable[Peer]) -> dict[str, _OfShards]:
    """Those of each collection: one of any copy of a shard holds what is in all of them."""
    found: dict[str, dict[int, dict[str, Sequence[Snapshot]]]] = {}
    for peer in peers:
        for name, collection in peer.collections.items():
            for shard, snapshots in collection.of_shards.items():
                if not isinstance(snapshots, ProbeError) and snapshots:
                    found.setdefault(name, {}).setdefault(shard, {})[peer.url] = snapshots
    return dict(found)


def _saved(
    name: str, peer: Peer, collection: Collection, single: _OfShards, limits: QdrantLimits, now: datetime
) -> Iterator[Result]:
    """Snapshots of each shard count as well, and one of the whole storage; but a cluster's peer cannot be restored from that."""
    if not (held := {shard.shard_id for shard in seen(collection.shards).local_shards}):
        return
    own = peer.cluster.peer_id if isinstance(peer.cluster, Cluster) else 0
    listed_here = seen(collection.snapshots)
    taken = [snapshot for snapshot in listed_here if snapshot.is_of(own)]
    problems = list(_snapshots(f"collection {name}", peer.url, taken, limits, now))
    if listed_here and not taken:
        problems = [
            failed(
                f"{peer.url} lists {counted(len(listed_here), 'snapshot')} of collection {name}, all of other peers: its own "
                "shards are in none.",
                reason=Reason.MISSING,
            )
        ]
    if problems and any(single.get(shard) for shard in held):
        of_each = [problem for shard in sorted(held) for problem in _of_shard(name, shard, peer, single, limits, now)]
        problems = problems if taken and of_each else of_each
    if not problems:
        return
    whole = seen(peer.storage)
    for shard, snapshots in collection.of_shards.items():
        if isinstance(snapshots, ProbeError) and shard not in single:
            raise snapshots
    if not whole or any(_snapshots("the whole storage", peer.url, whole, limits, now)):
        yield from problems
    elif not (isinstance(peer.cluster, Cluster) and peer.cluster.alone):
        yield warning(
            f"Collection {name} on {peer.url} is saved by a snapshot of the whole storage alone, from which Qdrant restores no "
            "peer of a cluster: take one of the collection."
        )


def _of_shard(
    name: str, shard: int, peer: Peer, single: _OfShards, limits: QdrantLimits, now: datetime
) -> Sequence[Result]:
    """What is wrong with the snapshots of a shard that this peer has, unless those of another copy are in order."""
    what = f"shard {shard} of collection {name}"
    by_peer = {
        url: list(_snapshots(what, url, snapshots, limits, now)) for url, snapshots in single.get(shard, {}).items()
    }
    if any(not problems for problems in by_peer.values()):
        return []
    return by_peer.get(peer.url) or list(_snapshots(what, peer.url, (), limits, now))


def _snapshots(
    of: str, url: str, snapshots: Sequence[Snapshot], limits: QdrantLimits, now: datetime
) -> Iterator[Result]:
    """What is wrong with the newest of these snapshots."""
    if not snapshots:
        yield failed(
            f"{of[0].upper()}{of[1:]} has no snapshot on {url}, which holds shards of it.", reason=Reason.MISSING
        )
        return
    if (newest := _newest(snapshots)) is None:
        yield unknown(f"No snapshot of {of} on {url} shows when it was made.", reason=Reason.MALFORMED)
        return
    snapshot, made = newest
    what, age = f"The newest snapshot of {of} on {url}", now - made
    if age > limits.max_snapshot_age:
        yield failed(
            f"{what} is {format_seconds(age)} old (limit {format_duration(limits.max_snapshot_age)}).",
            reason=Reason.STALE,
        )
    if snapshot.size <= 0:
        yield failed(f"{what} is empty.", reason=Reason.INVALID)
    elif snapshot.size < _EMPTY_ARCHIVE:
        yield failed(
            f"{what} has {format_size(snapshot.size)}, less than an archive without files.", reason=Reason.INVALID
        )
    before = [one.size for one, _ in sorted(_dated(snapshots), key=lambda dated: dated[1], reverse=True)[1:]]
    yield from size_problems(what, snapshot.size, before)
    if not snapshot.checksum:
        yield failed(f"{what} has no checksum, so nobody can check whether it is complete.", reason=Reason.INVALID)
    if age < -_SKEW:
        yield unknown(f"{what} is dated {made:%Y-%m-%d %H:%M} UTC, which is in the future.", reason=Reason.CONTRADICTED)


def _newest(snapshots: Sequence[Snapshot]) -> tuple[Snapshot, datetime] | None:
    return max(_dated(snapshots), key=lambda snapshot: snapshot[1], default=None)


def _dated(snapshots: Sequence[Snapshot]) -> list[tuple[Snapshot, datetime]]:
    return [(snapshot, snapshot.made) for snapshot in snapshots if snapshot.made is not None]


def snapshot_age(peers: Sequence[Peer], limits: QdrantLimits, now: datetime) -> float:
    """Seconds since the oldest of the newest snapshots was made; NaN (which is no measurement) without any."""
    ages = []
    single = _of_shards(peers)
    for peer in peers:
        whole = [] if isinstance(peer.storage, ProbeError) else peer.storage
        for name, collection in peer.collections.items():
            if name in limits.without_snapshots or isinstance(collection.snapshots, ProbeError):
                continue
            own = peer.cluster.peer_id if isinstance(peer.cluster, Cluster) else 0
            taken = [snapshot for snapshot in collection.snapshots if snapshot.is_of(own)]
            found = [newest[1]] if (newest := _newest([*taken, *whole])) is not None else []
            shards = [
                _newest([one for snapshots in single.get(name, {}).get(shard, {}).values() for one in snapshots])
                for shard in collection.of_shards
            ]
            if shards and all(shards):
                found.append(min(newest[1] for newest in shards if newest is not None))
            if found:
                ages.append((now - max(found)).total_seconds())
    return max(ages, default=float("nan"))


# -- space


def full_problems(peers: Iterable[Mapping[str, Held]]) -> Iterator[Result]:
    """Whether collections have room in what their strict mode allows; `peers` is what each of them holds."""
    shards: dict[str, dict[int, Sized]] = {}
    limits: dict[str, Strict] = {}
    for peer in peers:
        for name, held in peer.items():
            shards.setdefault(name, {}).update(held.shards)
            if held.strict is not None and held.strict.enabled:
                limits[name] = held.strict
    for name, strict in sorted(limits.items()):
        known = shards[name].values()
        for what, used, most in (
            ("vectors", sum(sized.vectors_size_bytes for sized in known), strict.max_collection_vector_size_bytes),
            ("payloads", sum(sized.payloads_size_bytes for sized in known), strict.max_collection_payload_size_bytes),
        ):
            if most is not None and used >= _NEARLY_FULL * most:
                has = f"its {what} take {format_size(used)} of at most {format_size(most)} (strict mode)"
                if used >= most:
                    yield failed(f"Collection {name} is full and refuses points: {has}.", reason=Reason.LIMIT)
                else:
                    yield warning(f"Collection {name} is nearly full: {has}.")


def copy_fits(volume: Volume, space: Space, sizes: Mapping[str, int]) -> Result:
    """Whether the volume has room for another copy of the largest collection: optimizing and snapshots write one."""
    name, size = max(sizes.items(), key=lambda entry: entry[1], default=("", 0))
    if space.free < size:
        return failed(
            f"Volume {volume.name} has {format_size(space.free)} free, but collection {name} takes {format_size(size)}: "
            "optimizing it or taking its snapshot needs as much.",
            reason=Reason.LIMIT,
        )
    return ok(f"A copy of the largest collection ({format_size(size)}) fits.", largest_collection_bytes=size)
