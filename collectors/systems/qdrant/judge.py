"""What Qdrant's peers say of themselves, of each other and of their collections: pure judgements."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from collectors.shared.verdicts import collected
from collectors.systems.prometheus.model.volumes import Space, Volume
from collectors.systems.qdrant.model import (
    Cluster,
    Collection,
    Info,
    Peer,
    QdrantLimits,
    Shard,
    Since,
    Snapshot,
    Unreadable,
    seen,
)
from exporter.options import format_duration
from exporter.verdict import ProbeError, Result, failed, ok, unknown, warning
from exporter.words import format_size

__all__ = ["collections", "copy_fits", "members", "missing", "peer", "saved", "settled", "snapshot_age", "unwatched"]


_SKEW = timedelta(minutes=5)
_WHOLE = ("Active", "Listener")


# -- peers


def peer(peer: Peer, limits: QdrantLimits, now: datetime) -> Iterator[Result]:
    """What is wrong with one peer, by what it says of itself and of those that it cannot reach."""
    url = peer.url
    if not peer.ready:
        yield failed(f"{url} is not ready: /readyz answers 503, as some shards are not ready.")
    if peer.anonymous == 200 and not limits.anonymous_access:
        yield failed(f"{url} answers a request without an API key: whoever reaches it can read and delete collections.")
    elif peer.anonymous not in (200, 401, 403):
        yield unknown(f"{url} answers {peer.anonymous} to a request without an API key (wanted 401).")
    yield from collected(_consensus(url, peer.cluster, limits, now))
    yield from collected(_gauges(peer, limits.metrics_prefix))


def _gauges(peer: Peer, prefix: str) -> Iterator[Result]:
    if peer.gauge(f"{prefix}app_status_recovery_mode"):
        yield failed(f"{peer.url} runs in recovery mode: collections are listed, but not loaded.")
    if dead := peer.gauge(f"{prefix}collection_dead_replicas"):
        yield failed(f"{peer.url} counts {dead:g} copies of shards that are not active (collection_dead_replicas).")


def _consensus(url: str, told: Cluster | ProbeError, limits: QdrantLimits, now: datetime) -> Iterator[Result]:
    """A peer that has lost all the others still calls itself leader, working and ready; that it cannot send is what tells."""
    cluster = seen(told)
    if cluster.alone:
        return
    if (state := cluster.consensus_thread_status.get("consensus_thread_status")) != "working":
        why = cluster.consensus_thread_status.get("err")
        yield failed(f"{url} takes no part in the consensus: its thread is {state}{f' ({why})' if why else ''}.")
    if not cluster.raft_info.leader:
        yield failed(f"{url} knows no leader, so collections cannot be changed.")
    for uri, failure in cluster.message_send_failures.items():
        if (age := now - failure.latest_error_timestamp) <= limits.failure_window:
            yield failed(f"{url} cannot reach its peer {uri} ({failure.count} failures, the last {_age(age)} ago).")


def members(peers: Sequence[Peer], nodes: int) -> Iterator[Result]:
    """Whether the peers that answered belong to one cluster of `nodes` peers that follows one leader."""
    yield from unwatched(peers, nodes)
    leaders = set()
    for peer in peers:
        if isinstance(peer.cluster, ProbeError):
            continue  # told by the judge of the peer itself
        if peer.cluster.alone and nodes > 1:
            yield failed(f"{peer.url} runs without cluster mode (wanted a cluster of {nodes} peers).")
        elif not peer.cluster.alone and (known := len(peer.cluster.peers)) < nodes:
            yield failed(f"{peer.url} knows {known} peers of its cluster (wanted {nodes}).")
        leaders.add(peer.cluster.raft_info.leader)
    if len(named := sorted(leader for leader in leaders if leader)) > 1:
        yield failed(f"The peers follow different leaders: {', '.join(map(str, named))}.")


def unwatched(peers: Sequence[Peer], nodes: int) -> Iterator[Result]:
    """The peers that nobody looked at, since `nodes` has fewer of them, or one of them twice."""
    names = _names(peers)
    for peer in peers:
        if isinstance(peer.cluster, ProbeError) or peer.cluster.alone:
            continue
        if (known := len(peer.cluster.peers)) > nodes:
            yield unknown(f"The cluster has {known} peers, of which only the {nodes} in option nodes are looked at.")
        if (other := names[peer.cluster.peer_id]) != peer.url:
            yield unknown(f"{other} and {peer.url} are the same peer: name each peer's own address, not a service's.")


def _names(peers: Sequence[Peer]) -> dict[int, str]:
    """The address of each peer that answered, by its number."""
    names: dict[int, str] = {}
    for peer in peers:
        if isinstance(peer.cluster, Cluster) and not peer.cluster.alone:
            names.setdefault(peer.cluster.peer_id, peer.url)
    return names


# -- collections


def missing(peers: Sequence[Peer], limits: QdrantLimits) -> Iterator[Result]:
    """The collections that shall exist and do not, on any of the peers."""
    for peer in peers:
        for name in limits.collections:
            if name not in peer.collections:
                yield failed(f"Collection {name} does not exist on {peer.url}.")


def collections(peers: Sequence[Peer]) -> Iterator[Result]:
    """What is wrong with collections at once: unreadable, red, with an optimizer that failed, or with copies lost or dead."""
    names = _names(peers)
    for peer in peers:
        for name, collection in peer.collections.items():
            yield from collected(_status(f"Collection {name}", peer.url, collection))
            yield from collected(_copies(name, peer, collection, names))


def _status(what: str, url: str, collection: Collection) -> Iterator[Result]:
    info = collection.info
    if isinstance(info, ProbeError):
        raise info
    if isinstance(info, Unreadable):
        yield failed(f"{what} cannot be read on {url}: {info.error}.")
        return
    if info.status not in ("green", "yellow", "grey"):
        yield failed(f"{what} is {info.status} on {url} (wanted green).")
    if info.optimizer_status != "ok":
        error = info.optimizer_status
        told = str(error.get("error", error) if isinstance(error, dict) else error).rstrip(".")
        yield failed(f"The optimizer of collection {what.removeprefix('Collection ')} failed on {url}: {told}.")


def _copies(name: str, peer: Peer, collection: Collection, names: Mapping[int, str]) -> Iterator[Result]:
    copies: dict[int, int] = {}
    for shard, where in _shards(peer, collection, names):
        copies[shard.shard_id] = copies.get(shard.shard_id, 0) + 1
        if shard.state == "Dead":
            yield failed(f"Shard {shard.shard_id} of collection {name} is Dead on {where} (wanted Active).")
    if isinstance(collection.info, Info) and isinstance(peer.cluster, Cluster) and not peer.cluster.alone:
        wanted = collection.info.config.params.replication_factor
        for shard_id, count in sorted(copies.items()):
            if count < wanted:
                yield failed(f"Shard {shard_id} of collection {name} has {count} copies (wanted {wanted}).")


def _shards(peer: Peer, collection: Collection, names: Mapping[int, str]) -> Iterator[tuple[Shard, str]]:
    """Every copy of the collection's shards that the peer knows of, and where that is."""
    shards = seen(collection.shards)
    for shard in shards.local_shards:
        yield shard, peer.url
    for shard in shards.remote_shards:
        yield shard, names.get(shard.peer_id, f"peer {shard.peer_id}")


def settled(peers: Sequence[Peer], limits: QdrantLimits, since: Since, now: datetime) -> Iterator[Result]:
    """What takes too long: optimizing, and the recovery of copies. `since` is kept from look to look."""
    waiting, read = _waiting(peers)
    for key in [key for key in since if key[0] in read and key not in waiting]:
        del since[key]
    for key, told in waiting.items():
        lasted = now - since.setdefault(key, now)
        recovering = key[1] != "status"
        grace = limits.recovery_grace if recovering else limits.optimizing_grace
        late = f"{told} for {_age(lasted)} (limit {format_duration(grace)})."
        if lasted <= grace and recovering:
            yield warning(f"{told}: it is being recovered.")
        elif lasted > grace:
            yield failed(late) if recovering else warning(late)


def _waiting(peers: Sequence[Peer]) -> tuple[dict[tuple[str, str], str], set[str]]:
    """What is not as it should be and may become so by itself, told in words; and the collections of which all was seen."""
    names, waiting, unread = _names(peers), {}, set()
    for peer in peers:
        for name, collection in peer.collections.items():
            if isinstance(collection.info, Info) and collection.info.status in ("yellow", "grey"):
                waiting[name, "status"] = f"Collection {name} is {collection.info.status}, being optimized,"
            if isinstance(collection.shards, ProbeError) or not isinstance(collection.info, Info):
                unread.add(name)
                continue
            for shard, where in _shards(peer, collection, names):
                if shard.state not in (*_WHOLE, "Dead"):
                    what = f"Shard {shard.shard_id} of collection {name}"
                    waiting[name, f"{shard.shard_id} {where}"] = f"{what} is {shard.state} on {where}"
    return waiting, {name for peer in peers for name in peer.collections} - unread


# -- snapshots


def saved(peer: Peer, limits: QdrantLimits, now: datetime) -> Iterator[Result]:
    """The collections whose shards on this peer are in no usable, recent snapshot: one holds the shards of its own peer alone."""
    for name, collection in peer.collections.items():
        if name not in limits.without_snapshots:
            yield from collected(_saved(name, peer.url, collection, limits, now))


def _saved(name: str, url: str, collection: Collection, limits: QdrantLimits, now: datetime) -> Iterator[Result]:
    if not seen(collection.shards).local_shards:
        return
    if not seen(collection.snapshots):
        yield failed(f"Collection {name} has no snapshot on {url}, which holds shards of it.")
        return
    if (newest := _newest(collection)) is None:
        yield unknown(f"No snapshot of collection {name} on {url} tells when it was made.")
        return
    snapshot, made = newest
    what, age = f"The newest snapshot of collection {name} on {url}", now - made
    if age > limits.max_snapshot_age:
        yield failed(f"{what} is {_age(age)} old (limit {format_duration(limits.max_snapshot_age)}).")
    if age < -_SKEW:
        yield unknown(f"{what} is dated {made:%Y-%m-%d %H:%M} UTC, which is in the future.")
    if snapshot.size <= 0:
        yield failed(f"{what} is empty.")
    if not snapshot.checksum:
        yield failed(f"{what} has no checksum, so nobody can tell whether it is whole.")


def _newest(collection: Collection) -> tuple[Snapshot, datetime] | None:
    dated = [
        # The server writes UTC without saying so.
        (snapshot, snapshot.creation_time.replace(tzinfo=snapshot.creation_time.tzinfo or UTC))
        for snapshot in seen(collection.snapshots)
        if snapshot.creation_time is not None
    ]
    return max(dated, key=lambda snapshot: snapshot[1], default=None)


def snapshot_age(peers: Sequence[Peer], limits: QdrantLimits, now: datetime) -> float:
    """Seconds since the oldest of the newest snapshots was made; NaN (which is no measurement) without any."""
    ages = [
        (now - newest[1]).total_seconds()
        for peer in peers
        for name, collection in peer.collections.items()
        if name not in limits.without_snapshots and not isinstance(collection.snapshots, ProbeError)
        if (newest := _newest(collection)) is not None
    ]
    return max(ages, default=float("nan"))


# -- space


def copy_fits(volume: Volume, space: Space, sizes: Mapping[str, int]) -> Result:
    """Whether the volume has room for another copy of the largest collection: optimizing and snapshots write one."""
    name, size = max(sizes.items(), key=lambda entry: entry[1], default=("", 0))
    if space.free < size:
        return failed(
            f"Volume {volume.name} has {format_size(space.free)} free, but collection {name} takes {format_size(size)}: "
            "optimizing it or taking its snapshot needs as much."
        )
    return ok(f"A copy of the largest collection ({format_size(size)}) fits.", largest_collection_bytes=size)


def _age(age: timedelta) -> str:
    """An age for a sentence, in whole seconds."""
    return format_duration(timedelta(seconds=max(0, round(age.total_seconds()))))
