"""What a NATS server answers, what its answers mean, and the limits that are put on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec
from pydantic import Field

from exporter.options import Duration, Options
from exporter.verdict import ProbeError, Reason

__all__ = [
    "Account",
    "Consumer",
    "Consumers",
    "Copies",
    "Gatewayz",
    "Group",
    "Jsz",
    "Leafz",
    "Monitor",
    "NatsLimits",
    "Origin",
    "Peer",
    "Routez",
    "Store",
    "StreamInfo",
    "Varz",
    "overlap",
    "parsed",
]

T = TypeVar("T")


class NatsLimits(Options):
    """Limits of the section."""

    min_replicas: int = Field(
        3, ge=1, le=5, description="Copies that every stream and every durable consumer shall have."
    )
    max_lag: int = Field(
        1000,
        ge=0,
        description="Operations by which a replica may be behind its leader, and messages by which a mirror or source may be.",
    )
    max_silence: Duration = Field(
        timedelta(seconds=10),
        gt=timedelta(0),
        description="How long a replica, a mirror or a source may be silent, and a consumer that waits for its clients deliver "
        "nothing; a replica that died is called current for as long.",
    )
    max_usage: float = Field(0.8, gt=0, le=1, description="Share of the storage that may be used (0 to 1).")
    certificate_warn: Duration = Field(
        timedelta(days=14), description="Time before a certificate's expiry from which to warn."
    )
    store_volume: str | None = Field(
        None, description="Folder where the persistent volume is mounted; store_dir shall be below it."
    )
    single_copy: dict[str, str] = Field(
        default_factory=dict,
        description="Streams (`STREAM`, with their consumers) and consumers (`STREAM/CONSUMER`) that may have fewer copies, each "
        "with the reason.",
    )
    in_memory: dict[str, str] = Field(
        default_factory=dict,
        description="Streams (`STREAM`, with their consumers) and consumers (`STREAM/CONSUMER`) that may be kept in memory, each "
        "with the reason.",
    )


class Document(msgspec.Struct, frozen=True):
    """A part of a reply. Fields that a server adds are ignored; null and absence mean the default where there is one."""


class Listener(Document, frozen=True, kw_only=True):
    """Something that a server offers with a certificate of its own."""

    tls_cert_not_after: datetime | None = None


class Named(Listener, frozen=True):
    """Something that is known by its name, such as a cluster; empty where there is none."""

    name: str = ""


class Gateways(Listener, frozen=True):
    """A server's own name as a gateway, and those that it shall connect to."""

    name: str = ""
    gateways: tuple[Named, ...] | None = ()


class Remote(Document, frozen=True):
    """A server that this one shall connect to as a leaf."""

    disabled: bool = False
    urls: tuple[str, ...] | None = ()


class Leaf(Listener, frozen=True):
    """What a server connects to as a leaf."""

    remotes: tuple[Remote, ...] | None = ()


class Varz(Listener, frozen=True):
    """Of /varz: who the server is, its clients (`max_connections` 0 is not shown), and the consumers too slow since `start`.

    `max_payload` (bytes) is 0 where it is not shown; `now` is the server's own clock. It closes the connection to a client that
    has left more than `ping_max` of its PINGs unanswered, one each `ping_interval` (nanoseconds).
    """

    server_id: str
    slow_consumers: int
    server_name: str = ""
    start: str = ""
    uptime: str = ""
    cluster: Named = Named()
    gateway: Gateways = Gateways()
    leaf: Leaf = Leaf()
    websocket: Listener = Listener()
    mqtt: Listener = Listener()
    leafnodes: int = 0
    connections: int = 0
    max_connections: int = 0
    max_payload: int = 0
    ping_interval: int = 0
    ping_max: int = 0
    version: str = ""
    tags: tuple[str, ...] | None = ()
    now: datetime | None = None

    @property
    def fresh(self) -> bool:
        """Whether it started so recently that it counts its uptime in seconds alone, and its identifier is new to everybody."""
        return not self.uptime or (self.uptime[-1:] == "s" and not set(self.uptime) & set("ydhm"))

    @property
    def gateways(self) -> frozenset[str]:
        """The other clusters that the server shall be connected to by gateways."""
        return frozenset(other.name for other in self.gateway.gateways or ()) - {self.gateway.name}

    @property
    def uplinks(self) -> int:
        """Connections as a leaf that the server shall have."""
        return sum(not remote.disabled for remote in self.leaf.remotes or ())

    @property
    def expiries(self) -> dict[str, datetime]:
        """When the certificates expire that the server shows to clients, to its cluster, at its gateway and to leaves."""
        doors = {
            "clients": self,
            "routes": self.cluster,
            "gateways": self.gateway,
            "leaf connections": self.leaf,
            "WebSocket clients": self.websocket,
            "MQTT clients": self.mqtt,
        }
        return {name: door.tls_cert_not_after for name, door in doors.items() if door.tls_cert_not_after is not None}


class Route(Document, frozen=True):
    """One connection to another server of the cluster."""

    remote_id: str
    remote_name: str = ""


class Routez(Document, frozen=True):
    """Of /routez: the connections to other servers of the cluster; several to each where they are pooled."""

    server_id: str
    routes: tuple[Route, ...] | None = ()

    @property
    def others(self) -> Mapping[str, str]:
        """The servers at the other ends: their names by their ids."""
        return {route.remote_id: route.remote_name for route in self.routes or ()}


class Gatewayz(Document, frozen=True):
    """Of /gatewayz: the connections to other clusters, by their names."""

    server_id: str
    outbound_gateways: dict[str, Any] | None = None
    inbound_gateways: dict[str, Any] | None = None


class LeafConnection(Document, frozen=True):
    """A connection to another server as a leaf, whichever of the two opened it; 2.9 does not show which (`is_spoke` None)."""

    port: int = 0
    is_spoke: bool | None = None


class Leafz(Document, frozen=True):
    """Of /leafz: the connections of leaves to this server, and its own ones as a leaf."""

    server_id: str
    leafs: tuple[LeafConnection, ...] | None = ()

    def uplinks(self, leaf: Leaf) -> int:
        """How many connections there are that the server opened itself: as a leaf, or to a port that it is configured for."""
        ports = {url.rpartition(":")[2] for remote in leaf.remotes or () for url in remote.urls or ()}
        return sum(found.is_spoke is True or str(found.port) in ports for found in self.leafs or ())


class Peer(Document, frozen=True):
    """A replica, as another one of its group knows it. `active` is the time since it was heard of, in nanoseconds."""

    name: str = ""
    current: bool = False
    offline: bool = False
    active: int = 0
    lag: int = 0

    @property
    def silence(self) -> timedelta:
        """How long ago it was heard of."""
        return timedelta(microseconds=self.active / 1000)


class Group(Document, frozen=True):
    """A group of replicas: of JetStream itself (`cluster_size` servers), of a stream or of a consumer."""

    leader: str | None = ""
    replicas: tuple[Peer, ...] | None = ()
    cluster_size: int = 0


class Store(Document, frozen=True):
    """Where a server keeps streams, how many bytes in files and in memory, and how often (ns) it has the disk write them."""

    store_dir: str = ""
    max_storage: int = 0
    max_memory: int = 0
    sync_interval: int = 0
    sync_always: bool = False
    unique_tag: str = ""


class ServerLimits(Document, frozen=True):
    """What a server allows all of its accounts together; 0 is no limit."""

    max_ha_assets: int = 0


class Jsz(Document, frozen=True):
    """Of /jsz: JetStream on this server; `storage` and `memory` are the bytes that it uses in files and in memory.

    `reserved_storage` are those that streams with `max_bytes` may use; `accounts` is how many have JetStream; `ha_assets` is how
    many groups of replicas the server is in, JetStream's own included.
    """

    server_id: str
    disabled: bool = False
    config: Store | None = None
    storage: int = 0
    memory: int = 0
    reserved_storage: int = 0
    accounts: int = 0
    ha_assets: int = 0
    limits: ServerLimits = ServerLimits()
    meta_cluster: Group | None = None

    @property
    def enabled(self) -> bool:
        """Whether the server has JetStream."""
        return not self.disabled and self.config is not None and self.config != Store()


@dataclass(frozen=True, slots=True)
class Monitor:
    """What the monitoring endpoint at `where` answers, each document for itself; ProbeError where it does not.

    `ill` is why /healthz is not 200 (None when it is), `gatewayz` is None where the server has no gateway, `leafz` where it
    connects to nobody as a leaf. `core` says that the server has no JetStream by declaration.
    """

    where: str
    varz: Varz | ProbeError
    jsz: Jsz | ProbeError
    routez: Routez | ProbeError
    gatewayz: Gatewayz | ProbeError | None = None
    ill: str | ProbeError | None = None
    core: bool = False
    leafz: Leafz | ProbeError | None = None

    @property
    def name(self) -> str:
        """The server's name, or where it was asked when it does not say."""
        return (self.varz.server_name or self.varz.server_id) if isinstance(self.varz, Varz) else self.where

    @property
    def is_linked(self) -> bool:
        """Whether it belongs to others by a gateway or as a leaf."""
        return isinstance(self.varz, Varz) and bool(self.varz.gateway.name or self.varz.uplinks)

    @property
    def is_leaf(self) -> bool:
        """Whether it belongs to others as a leaf alone."""
        return isinstance(self.varz, Varz) and bool(self.varz.uplinks) and not self.varz.gateway.name

    @property
    def server_ids(self) -> frozenset[str]:
        """The servers that have answered: one, unless the address leads to several."""
        documents = (self.varz, self.jsz, self.routez)
        return frozenset(document.server_id for document in documents if not isinstance(document, ProbeError))

    @property
    def members(self) -> frozenset[str]:
        """The names of the servers that are in JetStream's own group, as far as this one knows them."""
        if isinstance(self.jsz, ProbeError) or self.jsz.meta_cluster is None:
            return frozenset()
        meta = self.jsz.meta_cluster
        return frozenset({self.name, meta.leader or "", *(peer.name for peer in meta.replicas or ())}) - {""}


class Filtered(Document, frozen=True):
    """A stream that another one takes messages from: those of `filter_subject`, or all. `external` is one of another account."""

    name: str
    filter_subject: str = ""
    external: Any = None
    subject_transforms: Any = None


class Copies(Document, frozen=True):
    """The part of a stream's configuration that is judged. Limits are -1, and `max_age` (nanoseconds) 0, where there is none."""

    name: str
    subjects: tuple[str, ...] | None = ()
    mirror: Filtered | None = None
    sources: tuple[Filtered, ...] | None = ()
    subject_transform: Any = None
    storage: str = "file"
    num_replicas: int = 1
    discard: str = "old"
    max_bytes: int = -1
    max_msgs: int = -1
    persist_mode: str = ""
    no_ack: bool = False
    sealed: bool = False
    retention: str = "limits"
    max_consumers: int = -1
    max_msgs_per_subject: int = -1
    max_msg_size: int = -1
    max_age: int = 0
    allow_msg_ttl: bool = False
    first_seq: int = 0
    discard_new_per_subject: bool = False


class State(Document, frozen=True):
    """What a stream holds."""

    messages: int = 0
    bytes: int = 0
    first_seq: int = 0
    first_ts: datetime | None = None
    last_seq: int = 0
    consumer_count: int = 0
    num_subjects: int = 0


class Failure(Document, frozen=True):
    """What JetStream says against something."""

    description: str = ""


class Origin(Document, frozen=True):
    """A stream that is mirrored or a source: messages behind it, and nanoseconds since it was heard of (-1: never).

    `seq` is the last message taken from a source; 2.9 does not show it (0).
    """

    name: str
    active: int = -1
    lag: int = 0
    seq: int = 0
    error: Failure | None = None

    @property
    def silence(self) -> timedelta | None:
        """How long ago it was heard of; None where it never was."""
        return timedelta(microseconds=self.active / 1000) if self.active >= 0 else None


class StreamInfo(Document, frozen=True):
    """A stream, as its leader reports it. Without `cluster` its server is alone."""

    config: Copies
    created: datetime | None = None
    state: State = State()
    cluster: Group | None = None
    mirror: Origin | None = None
    sources: tuple[Origin, ...] | None = ()

    @property
    def name(self) -> str:
        """The stream's name."""
        return self.config.name

    @property
    def origins(self) -> Iterator[tuple[str, Origin]]:
        """The streams that its messages come from, each with what it is to it."""
        if self.mirror is not None:
            yield "mirror", self.mirror
        for origin in self.sources or ():
            yield "source", origin

    def never_has(self, subject: str) -> bool:
        """Whether none of its messages can have the subject, as far as its own subjects show."""
        config = self.config
        if config.mirror or config.sources or config.subject_transform or not config.subjects:
            return False
        return not any(overlap(subject, own) for own in config.subjects)


class ConsumerConfig(Document, frozen=True):
    """The part of a consumer's configuration that is judged. `num_replicas` 0 is as many as the stream has.

    One that pushes has a `deliver_subject`. What is not acknowledged within `ack_wait` (nanoseconds) is delivered again. With
    `max_ack_pending` messages that nobody has acknowledged it delivers no more.
    """

    durable_name: str = ""
    num_replicas: int = 0
    mem_storage: bool = False
    deliver_subject: str = ""
    max_ack_pending: int = 0
    ack_wait: int = 0
    filter_subject: str = ""
    filter_subjects: tuple[str, ...] | None = ()

    @property
    def filters(self) -> tuple[str, ...]:
        """The subjects that it takes of its stream; none where it takes all."""
        return (self.filter_subject,) if self.filter_subject else self.filter_subjects or ()


class Delivered(Document, frozen=True):
    """How far into its stream a consumer has delivered, and when it last did."""

    stream_seq: int = 0
    last_active: datetime | None = None


class Consumer(Document, frozen=True):
    """A consumer, as its leader reports it at `ts`, by its own clock (2.9 does not show it): messages that wait to be delivered
    (`num_pending`), and to be acknowledged; `push_bound` when somebody receives what it pushes; nanoseconds until a pause ends.
    """

    stream_name: str
    name: str
    config: ConsumerConfig = ConsumerConfig()
    cluster: Group | None = None
    delivered: Delivered = Delivered()
    ack_floor: Delivered = Delivered()
    num_ack_pending: int = 0
    num_pending: int = 0
    push_bound: bool = False
    paused: bool = False
    pause_remaining: int = 0
    ts: datetime | None = None

    @property
    def waits(self) -> bool:
        """Whether it delivers nothing until its clients acknowledge what they got."""
        return 0 < self.config.max_ack_pending <= self.num_ack_pending and self.num_pending > 0

    @property
    def idle(self) -> timedelta:
        """How long ago it last delivered, by its leader's clock alone; zero where that is not known."""
        last = self.delivered.last_active
        return self.ts - last if self.ts is not None and last is not None else timedelta(0)

    @property
    def exempt_by(self) -> frozenset[str]:
        """The names under which a declaration exempts it."""
        return frozenset({self.stream_name, f"{self.stream_name}/{self.name}"})


def overlap(one: str, other: str) -> bool:
    """Whether some subject matches both patterns, as NATS reads `*` and a last `>`."""
    left, right = one.split("."), other.split(".")
    for a, b in zip(left, right, strict=False):
        if ">" in (a, b):
            return True
        if a != b and "*" not in (a, b):
            return False
    return len(left) == len(right)


@dataclass(frozen=True, slots=True)
class Account:
    """What JetStream's API reports to an account. `missing` are streams whose leader did not answer.

    `number` is that of the server that was asked, in the order of the configuration. `refused` is what JetStream says instead of
    answering, and `unavailable` whether it has no leader for now. `offline` are streams that no server serves, with the reason.
    """

    number: int
    info: Mapping[str, Any]
    streams: tuple[StreamInfo, ...]
    missing: tuple[str, ...]
    refused: str | None = None
    unavailable: bool = False
    offline: Mapping[str, str] = field(default_factory=dict)

    @property
    def stream_names(self) -> tuple[str, ...]:
        """Its streams, those that are not shown included."""
        return (*(stream.name for stream in self.streams), *self.missing, *self.offline)


@dataclass(frozen=True, slots=True)
class Consumers:
    """The consumers by the streams that have some, as their leaders report them.

    `missing` are stream and name of those that are not shown: the reason where one is offline, None where its leader is silent.
    """

    known: Mapping[str, tuple[Consumer, ...]] = field(default_factory=dict)
    missing: Mapping[tuple[str, str], str | None] = field(default_factory=dict)

    def of(self, streams: Iterable[StreamInfo]) -> Iterator[tuple[StreamInfo, Consumer]]:
        """Each consumer of these streams, after its stream."""
        for stream in streams:
            for consumer in self.known.get(stream.name, ()):
                yield stream, consumer


def parsed(where: str, document: object, kind: type[T]) -> T:
    """The document in this shape; `where` names what was asked. Raises ProbeError when it has another one."""
    if not isinstance(document, dict):
        raise ProbeError(f"{where} was answered in an unexpected format: expected an object.", Reason.MALFORMED)
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise ProbeError(
            f"{where} was answered in an unexpected format: {str(error).rstrip('.')}.", Reason.MALFORMED
        ) from None
