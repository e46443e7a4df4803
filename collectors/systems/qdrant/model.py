"""What a Qdrant peer answers, what its answers mean, and the limits that are put on them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec
from pydantic import Field

from exporter.options import Duration, Options
from exporter.verdict import ProbeError, Reason

__all__ = [
    "Cluster",
    "Collection",
    "Config",
    "Graph",
    "Held",
    "Info",
    "Optimizer",
    "Params",
    "Peer",
    "PeerAddress",
    "QdrantLimits",
    "Queue",
    "Raft",
    "Resharding",
    "SendFailure",
    "Shard",
    "Shards",
    "Since",
    "Sized",
    "Snapshot",
    "Strict",
    "T",
    "Unreadable",
    "Warned",
    "seen",
]

T = TypeVar("T")
_TAKEN_BY = re.compile(r"-(\d{6,})-\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d\.snapshot$")


class _Struct(msgspec.Struct, frozen=True, gc=False):
    """Part of a reply: only the fields that are judged are decoded."""


class SendFailure(_Struct, frozen=True):
    """That a peer could not send to another; it is kept until sending succeeds."""

    count: int
    latest_error_timestamp: datetime


class PeerAddress(_Struct, frozen=True):
    """Where a peer is found by its peers."""

    uri: str


class Raft(_Struct, frozen=True):
    """A peer's part in the consensus; `leader` is None or 0 while it knows none, `commit` the last entry of the log that it knows
    to be agreed on, `pending_operations` how many of those it has not applied yet.
    """

    leader: int | None = None
    commit: int | None = None
    term: int | None = None
    pending_operations: int = 0
    is_voter: bool = True


class Cluster(_Struct, frozen=True):
    """What a peer says of its cluster. `status` is `disabled` for a server alone, and the rest is empty then."""

    status: str
    peer_id: int = 0
    peers: dict[str, PeerAddress] = {}
    raft_info: Raft = Raft()
    consensus_thread_status: dict[str, Any] = {}
    message_send_failures: dict[str, SendFailure] = {}

    @property
    def last_update(self) -> datetime | None:
        """When the consensus thread last reported, by the peer's own clock; None where that is not shown."""
        try:
            update = msgspec.convert(self.consensus_thread_status.get("last_update"), datetime)
        except msgspec.ValidationError:
            return None
        return update.replace(tzinfo=update.tzinfo or UTC)

    @property
    def alone(self) -> bool:
        """Whether this is a server without cluster mode."""
        return self.status == "disabled"


class Params(_Struct, frozen=True):
    """How a collection is spread."""

    replication_factor: int = 1
    shard_number: int | None = None
    sharding_method: str | None = None

    @property
    def shards(self) -> frozenset[int]:
        """The shards that there have to be; none are known where clients make them by key (`sharding_method: custom`)."""
        return frozenset(range(self.shard_number or 0) if self.sharding_method in (None, "auto") else ())


class Optimizer(_Struct, frozen=True):
    """What makes optimizers work: with an `indexing_threshold` or `max_optimization_threads` of 0 they build no index.

    `indexing_threshold` is in kB: a segment that is smaller is not indexed.
    """

    indexing_threshold: int | None = None
    max_optimization_threads: int | str | None = None


class Graph(_Struct, frozen=True):
    """What index is built: none of all vectors with an `m` of 0; one for each value of a payload with a `payload_m`."""

    m: int | None = None
    payload_m: int | None = None


class Strict(_Struct, frozen=True):
    """What a collection's strict mode allows, once it is enabled."""

    enabled: bool | None = None
    max_points_count: int | None = None
    max_collection_vector_size_bytes: int | None = None
    max_collection_payload_size_bytes: int | None = None


class Config(_Struct, frozen=True):
    """A collection's configuration."""

    params: Params = Params()
    optimizer_config: Optimizer = Optimizer()
    hnsw_config: Graph = Graph()
    strict_mode_config: Strict | None = None

    @property
    def max_points(self) -> int | None:
        """How many points the collection takes, if that is limited: updates of a full one are refused."""
        strict = self.strict_mode_config
        return strict.max_points_count if strict is not None and strict.enabled else None

    @property
    def switched_off(self) -> str | None:
        """The setting that keeps vectors from being indexed, and its value."""
        settings = {
            "indexing_threshold": self.optimizer_config.indexing_threshold,
            "max_optimization_threads": self.optimizer_config.max_optimization_threads,
            "hnsw_config.m": None if self.hnsw_config.payload_m else self.hnsw_config.m,
        }
        if (self.optimizer_config.indexing_threshold or 0) >= _NEVER:
            return f"indexing_threshold is {self.optimizer_config.indexing_threshold} kB"
        return next((f"{name} is 0" for name, value in settings.items() if value == 0), None)


#: A threshold that no segment reaches in practice: a gigabyte, by default it is ten megabytes.
_NEVER = 1_000_000


class Queue(_Struct, frozen=True):
    """How many updates were accepted and are not applied yet, and how many points no search finds until they are indexed."""

    length: int = 0
    deferred_points: int | None = None


class Warned(_Struct, frozen=True):
    """What Qdrant itself holds against the configuration of a collection."""

    message: str = ""


class Info(_Struct, frozen=True):
    """A collection as its peer sees it: `status` is green, yellow, grey or red; `optimizer_status` is `ok` or an error."""

    status: str
    optimizer_status: str | dict[str, Any] = "ok"
    config: Config = Config()
    points_count: int | None = None
    indexed_vectors_count: int | None = None
    update_queue: Queue | None = None
    warnings: list[Warned] | None = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why a peer cannot answer about a collection, in its own words."""

    error: str


#: States that Qdrant itself counts as active.
_ACTIVE = frozenset({"Active", "ReshardingScaleDown"})


class Shard(_Struct, frozen=True):
    """One copy of a shard. `peer_id` is 0 for the copies of the peer that was asked, which alone show their `points_count`."""

    shard_id: int
    state: str
    peer_id: int = 0
    points_count: int | None = None


class Sized(_Struct, frozen=True):
    """What a copy of a shard takes."""

    vectors_size_bytes: int
    payloads_size_bytes: int


@dataclass(frozen=True, slots=True)
class Held:
    """What a peer holds of a collection, by shard, and how much the collection may hold."""

    shards: Mapping[int, Sized]
    strict: Strict | None = None

    @property
    def size(self) -> int:
        """Bytes of vectors and payloads."""
        return sum(sized.vectors_size_bytes + sized.payloads_size_bytes for sized in self.shards.values())


class Transfer(msgspec.Struct, frozen=True, gc=False, rename={"source": "from"}):
    """That a shard is copied or moved from one peer to another."""

    shard_id: int
    source: int
    to: int


class Resharding(_Struct, frozen=True):
    """That the number of a collection's shards is changed: `shard_id` is the one that is added (`up`) or removed (`down`)."""

    shard_id: int
    direction: str = ""


class Shards(_Struct, frozen=True):
    """Where the copies of a collection's shards are, as one peer knows it."""

    peer_id: int
    local_shards: list[Shard]
    remote_shards: list[Shard] = []
    shard_transfers: list[Transfer] = []
    resharding_operations: list[Resharding] | None = None

    @property
    def unfinished(self) -> frozenset[int]:
        """The shards that resharding adds or removes; searches do not need them."""
        return frozenset(operation.shard_id for operation in self.resharding_operations or ())

    @property
    def unsettled(self) -> int:
        """How many shards have copies that are not active and none that is dead: Qdrant counts these as dead as well."""
        states: dict[int, set[str]] = {}
        for shard in (*self.local_shards, *self.remote_shards):
            states.setdefault(shard.shard_id, set()).add(shard.state)
        return sum("Dead" not in found and not found <= _ACTIVE for found in states.values())


class Snapshot(_Struct, frozen=True):
    """One snapshot, of the shards of one peer alone. `creation_time` has no zone and is UTC."""

    name: str
    size: int
    creation_time: datetime | None = None
    checksum: str | None = None

    @property
    def made(self) -> datetime | None:
        """When it was made; None where that is not shown."""
        return self.creation_time and self.creation_time.replace(tzinfo=self.creation_time.tzinfo or UTC)

    def is_of(self, peer: int) -> bool:
        """Whether it may be of this peer's shards: its name has the peer that took it, and all peers may list one folder."""
        found = _TAKEN_BY.search(self.name)
        return not peer or found is None or found[1] == str(peer)


@dataclass(frozen=True, slots=True)
class Collection:
    """What a peer answers about one collection; ProbeError where it does not.

    `of_shards` are the snapshots of single shards that the peer holds, by shard; none where the collection itself has a recent one.
    """

    info: Info | Unreadable | ProbeError
    shards: Shards | ProbeError
    snapshots: list[Snapshot] | ProbeError
    of_shards: Mapping[int, list[Snapshot] | ProbeError] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Peer:
    """What one peer answers; ProbeError where it does not. `anonymous` is the status of its reply to a request without a key,
    `storage` are its snapshots of all collections at once, `aliases` other names of collections. `certificate_expiry` is None
    without TLS, or where that is not verified.
    """

    url: str
    ready: bool
    anonymous: int
    cluster: Cluster | ProbeError
    metrics: str | ProbeError
    collections: Mapping[str, Collection]
    storage: list[Snapshot] | ProbeError
    aliases: Mapping[str, str] = field(default_factory=dict)
    certificate_expiry: datetime | ProbeError | None = None

    def version(self, prefix: str) -> str | None:
        """The release that it runs, as its metrics show it."""
        text = "" if isinstance(self.metrics, ProbeError) else self.metrics
        found = re.search(rf'^{re.escape(prefix)}app_info{{[^}}]*version="([^"]+)"', text, re.MULTILINE)
        return found[1] if found else None

    def exceeded(self, prefix: str) -> list[str]:
        """Of what the peer uses more than its quota, so that it refuses writes."""
        text = "" if isinstance(self.metrics, ProbeError) else self.metrics
        name = re.escape(f"{prefix}quota_exceeded")
        return re.findall(rf'^{name}{{[^}}]*resource="([^"]+)"[^}}]*}} 1(?:\.0)?$', text, re.MULTILINE)

    def gauge(self, name: str) -> float:
        """The value of a metric without labels; raises ProbeError without one."""
        if (found := re.search(rf"^{re.escape(name)} (\S+)$", seen(self.metrics), re.MULTILINE)) is None:
            raise ProbeError(
                f"{self.url}/metrics has no {name}: where metrics are renamed, set metrics_prefix.", Reason.MISSING
            )
        try:
            return float(found[1])
        except ValueError:
            raise ProbeError(
                f"{self.url}/metrics has {name} with a value that is no number.", Reason.MALFORMED
            ) from None


def seen(answer: T | ProbeError) -> T:
    """What was answered. Raises the ProbeError that says why there is no answer."""
    if isinstance(answer, ProbeError):
        raise answer
    return answer


Since = dict[tuple[str, str], datetime]
"""Since when something of a collection has not been as it should: (collection, what) to the first run that observed it."""


class QdrantLimits(Options):
    """Limits of the section."""

    collections: tuple[str, ...] = Field((), description="Collections that must exist.")
    anonymous_access: str = Field("", description="Why requests without a key may be answered; a failure by default.")
    metrics_prefix: str = Field("", description="Prefix of the metrics' names, where the server sets metrics_prefix.")
    failure_window: Duration = Field(
        timedelta(minutes=1), gt=timedelta(0), description="How long a failure to reach another peer counts."
    )
    certificate_warn: Duration = Field(
        timedelta(days=14), description="Time before a certificate's expiry from which to warn."
    )
    max_raft_lag: int = Field(
        10,
        ge=0,
        description="Entries of the consensus log that a peer may be behind the furthest one, or has not applied yet.",
    )
    optimizing_grace: Duration = Field(
        timedelta(hours=1),
        description="How long a collection may be yellow or grey, counted from the first run that observed it.",
    )
    recovery_grace: Duration = Field(
        timedelta(minutes=10),
        description="How long a copy of a shard may be recovering, counted from the first run that observed it.",
    )
    max_snapshot_age: Duration = Field(
        timedelta(hours=26), gt=timedelta(0), description="How old the newest snapshot of a collection may be."
    )
    without_snapshots: dict[str, str] = Field(
        default_factory=dict, description="Collections that need no snapshots, each with the reason."
    )
