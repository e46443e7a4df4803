"""What a Redis node or a Sentinel answers, what its answers mean, and the limits that are put on them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from pydantic import Field

from collectors.shared.host_port import split_host_port
from exporter.options import Duration, Options, Size
from exporter.verdict import ProbeError, Reason
from exporter.words import one_line

__all__ = [
    "FILES",
    "SLOTS",
    "Answers",
    "CacheLimits",
    "Child",
    "ClusterNode",
    "Follower",
    "Growth",
    "Handshake",
    "Look",
    "NodeAddress",
    "Persistence",
    "RedisLimits",
    "Role",
    "Standby",
    "Traffic",
    "Unseen",
    "Untrusted",
    "Watch",
    "buried",
    "by_id",
    "children",
    "clients_used",
    "cluster_nodes",
    "connections",
    "counted_memory",
    "databases",
    "doors",
    "each_once",
    "followers",
    "following",
    "given_up",
    "grow",
    "grow_all",
    "highest",
    "keys",
    "known_gone",
    "lag",
    "memory_used",
    "never_saved",
    "owners",
    "partly_expiring",
    "plain_port",
    "quorum",
    "remembered",
    "role",
    "roommates",
    "save_points",
    "seconds_since_save",
    "seen",
    "traffic",
    "view",
    "watch",
]

#: Commands whose rights are granted by subcommand (`+config|get`).
_CONTAINERS = ("CLIENT", "CLUSTER", "CONFIG", "SENTINEL")


class NodeAddress(NamedTuple):
    """Where a server listens: at one IP address, `ip`, of a name that has several."""

    host: str
    port: int
    ip: str = ""

    @classmethod
    def parse(cls, text: str) -> NodeAddress:
        """`cache-1:6379`, `10.0.0.7:6379`, `[::1]:6379`. Raises ValueError for anything else."""
        return cls(*split_host_port(text))

    def __str__(self) -> str:
        where = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        return f"{where} ({self.ip})" if self.ip else where


class Untrusted(ProbeError):
    """The server's certificate was not accepted: another authority, another name, out of date."""


class Unwatched(ProbeError):
    """A Sentinel answers, and does not watch the master: it has no voice when that dies."""


@dataclass(frozen=True, slots=True)
class Unseen:
    """A server that could not be asked, and why."""

    address: NodeAddress
    why: ProbeError


@dataclass(frozen=True, slots=True)
class Handshake:
    """How one address of a name greets a TLS client: with which protocol, and a certificate that expires when; or why not."""

    where: str
    version: str | None = None
    expiry: datetime | None = None
    why: ProbeError | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """What one server answered in one look, by command; an error reply is kept as the exception that redis-py makes of it."""

    address: NodeAddress
    tls_version: str | None
    replies: Mapping[str, object]
    certificate_expiry: datetime | None = None
    info: Mapping[str, str] = field(init=False, default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if isinstance(text := self.replies.get("INFO"), str):
            pairs = (line.partition(":") for line in text.splitlines() if not line.startswith("#"))
            object.__setattr__(self, "info", {name: value for name, colon, value in pairs if colon})

    @property
    def loading(self) -> bool:
        """Whether a command was refused as the data is still being loaded."""
        from redis.exceptions import BusyLoadingError

        return any(isinstance(reply, BusyLoadingError) for reply in self.replies.values())

    @property
    def busy(self) -> bool:
        """Whether a command was refused as a script runs, which refuses everything but its end."""
        return any(isinstance(reply, Exception) and str(reply).startswith("BUSY ") for reply in self.replies.values())

    def error(self, command: str) -> str | None:
        """The error that a command was answered with, if it was."""
        reply = self.replies[command]
        return str(reply) if isinstance(reply, Exception) else None

    def reply(self, command: str, kind: type | tuple[type, ...]) -> Any:
        """The reply to a command. Raises ProbeError when it is an error (naming the missing right) or no `kind`."""
        from redis.exceptions import BusyLoadingError, NoPermissionError

        reply = self.replies[command]
        words = command.split()
        name = " ".join(words[: 2 if words[0] in _CONTAINERS else 1])
        if isinstance(reply, NoPermissionError):
            right = name.lower().replace(" ", "|")
            raise ProbeError(
                f"{self.address} does not let this user run {name}: the right +{right} is missing.", Reason.DENIED
            )
        if isinstance(reply, BusyLoadingError):
            raise ProbeError(f"{self.address} is loading its data and does not answer {name} yet.", Reason.REFUSED)
        if isinstance(reply, Exception):
            raise ProbeError(f"{self.address} refuses {name}: {one_line(reply)}.", Reason.REFUSED)
        if not isinstance(reply, kind):
            raise ProbeError(f"{self.address} answered {name} with something else than Redis does.", Reason.MALFORMED)
        return reply

    def text(self, name: str) -> str:
        """A field of INFO. Raises ProbeError when INFO may not be asked or has no such field."""
        self.reply("INFO", str)
        if name not in self.info:
            raise ProbeError(f"{self.address} does not show {name} in INFO.")
        return self.info[name]

    def number(self, name: str) -> int:
        """A field of INFO that is a whole number. Raises ProbeError as `text` does, and when it is none."""
        value = self.text(name)
        try:
            return int(value)
        except ValueError:
            raise ProbeError(
                f"{self.address} shows {name} as {value[:40]!r}, where a number was expected.", Reason.MALFORMED
            ) from None

    def setting(self, name: str) -> str | None:
        """A setting by CONFIG GET; None when this server has no such setting. Raises ProbeError when it may not be asked."""
        reply = self.reply(f"CONFIG GET {name}", list)
        return next((str(value) for key, value in zip(reply[::2], reply[1::2], strict=False) if key == name), None)


SLOTS = 16384


Look = Answers | Unseen


class CacheLimits(Options):
    """What is wanted of a Redis that caches."""

    min_ttl_ratio: float = Field(0.9, ge=0, le=1, description="Share of the keys of a database that must expire.")
    min_cache_hits: float = Field(0.8, ge=0, le=1, description="Share of lookups that must find their key.")
    min_lookups: int = Field(1000, ge=1, description="Lookups that a share is computed of; fewer show nothing.")
    lasting_databases: tuple[int, ...] = Field(
        (), description="Numbers of databases whose keys are meant to stay: queues, sessions without end."
    )


class Persistence(StrEnum):
    """What Redis shall write to disk."""

    BOTH = "aof+rdb"
    AOF = "aof"
    RDB = "rdb"


class RedisLimits(Options):
    """What is wanted of a Redis, for all targets or for one."""

    replica_grace: Duration = Field(
        timedelta(minutes=1), description="How long a replica may be without its master, as in its first sync."
    )
    persistence: Persistence = Field(Persistence.BOTH, description="What is written to disk: aof+rdb, aof or rdb.")
    data_volume: str | None = Field(
        None, pattern="^/", description="Folder where the persistent volume is mounted; Redis must write below it."
    )
    max_child_time: Duration = Field(
        timedelta(hours=1),
        gt=timedelta(0),
        description="How long writing a snapshot or rewriting the append-only file may take.",
    )
    max_unsaved: Duration = Field(
        timedelta(days=1), gt=timedelta(0), description="How long changes may be in no snapshot before it is a warning."
    )
    certificate_warn: Duration = Field(
        timedelta(days=14), description="Time before a certificate's expiry from which to warn."
    )
    eviction_policy: str = Field("allkeys-lru", description="The maxmemory-policy wanted.")
    memory_warn: float = Field(0.9, gt=0, le=1, description="Share of maxmemory in use from which to warn.")
    max_memory_share: float = Field(
        0.75,
        gt=0,
        le=1,
        description="Largest share that maxmemory may have of the container's (else machine's) memory.",
    )
    container_memory: Size | None = Field(
        None, gt=0, description="Memory limit of the container; by default what the machine has, as Redis shows it."
    )
    clients_warn: float = Field(0.8, gt=0, le=1, description="Share of maxclients in use from which to warn.")
    max_blocked_clients: int = Field(0, ge=0, description="Clients that may wait in blocking commands, as workers do.")
    max_churn: float = Field(5, gt=0, description="New connections per second that are no sign of a missing pool.")
    window: Duration = Field(
        timedelta(hours=1), gt=timedelta(0), description="Time over which rejected and new connections are counted."
    )
    pools: dict[str, int] = Field(
        default_factory=dict,
        description="Client name (CLIENT SETNAME) to the most connections it may hold on a node: pool size × instances.",
    )
    max_lag_bytes: Size = Field(
        64 * 2**20, gt=0, description="How much of what its master wrote a replica that is online may lack."
    )
    max_detection: Duration = Field(
        timedelta(minutes=2),
        gt=timedelta(0),
        description="How long a master may be gone before it is taken for down (down-after-milliseconds, cluster-node-timeout).",
    )
    min_sentinels: int = Field(3, ge=1, description="How many Sentinels must watch the master.")


def seen(looks: Iterable[Look]) -> list[Answers]:
    """The nodes that answered."""
    return [node for node in looks if isinstance(node, Answers)]


def each_once(looks: Iterable[Look]) -> tuple[Look, ...]:
    """The nodes without those that are an earlier one under another address, such as its name or a service's."""
    found: dict[str, Look] = {}
    for node in looks:
        identity = node.info.get("run_id") if isinstance(node, Answers) else None
        found.setdefault(identity or str(node.address), node)
    return tuple(found.values())


def highest(nodes: Iterable[Look], measure: Callable[[Answers], float]) -> float:
    """The highest measure of any node that shows it; NaN (which is no measurement) when none does."""
    found = []
    for node in seen(nodes):
        try:
            found.append(measure(node))
        except ProbeError:
            continue  # reported by of_each
    return max(found, default=float("nan"))


@dataclass(frozen=True, slots=True)
class Role:
    """What a node answers to ROLE: master, with how many replicas online, or replica."""

    master: bool
    replicas: int = 0


def role(node: Answers) -> Role:
    """The node's role. Raises ProbeError when ROLE may not be asked or is answered as by no Redis."""
    match node.reply("ROLE", list):
        case ["master", int(), list() as replicas]:
            return Role(master=True, replicas=len(replicas))
        case ["slave", str(), int(), str(), int()]:
            return Role(master=False)
    raise ProbeError(f"{node.address} answered ROLE with something else than a Redis node does.", Reason.MALFORMED)


def _followers(node: Answers) -> list[Mapping[str, str]]:
    """The replicas that are connected to a node and in sync, as its INFO describes them."""
    described = (
        dict(pair.partition("=")[::2] for pair in value.split(","))
        for name, value in node.info.items()
        if name.startswith("slave") and name[5:].isdecimal()
    )
    return [fields for fields in described if fields.get("state") == "online"]


def followers(node: Answers) -> int:
    """How many replicas are connected to a node and in sync: those of a replica are the next link of a chain."""
    return len(_followers(node))


@dataclass(frozen=True, slots=True)
class Follower:
    """A replica that is online, as its master shows it: how many bytes it lacks, and how long ago it last acknowledged any."""

    address: str
    behind: int
    silent: timedelta


def following(node: Answers) -> list[Follower]:
    """The online replicas of a node that acknowledge what they receive, the slowest first."""
    found = []
    for fields in _followers(node):
        offset, silent = fields.get("offset", ""), fields.get("lag", "")
        if offset.isdecimal():
            behind = node.number("master_repl_offset") - int(offset)
            host, port = fields.get("ip", ""), fields.get("port", "")
            where = str(NodeAddress(host, int(port))) if host and port.isdecimal() else "without an address"
            found.append(Follower(where, behind, timedelta(seconds=int(silent) if silent.isdecimal() else 0)))
    return sorted(found, key=lambda follower: -follower.behind)


def lag(node: Answers) -> float:
    """How many bytes the slowest online replica of a node is behind; 0 without one."""
    return float(max((follower.behind for follower in following(node)), default=0))


@dataclass(frozen=True, slots=True)
class Child:
    """What a child process of a node writes at the moment, and for how long."""

    writes: str
    running: timedelta


def children(node: Answers) -> list[Child]:
    """The snapshot or rewrite under way: Redis has one at a time, and everything else that has to be written waits for it."""
    kinds = (
        ("a snapshot", "rdb_bgsave_in_progress", "rdb_current_bgsave_time_sec"),
        ("a new append-only file", "aof_rewrite_in_progress", "aof_current_rewrite_time_sec"),
    )
    return [
        Child(writes, timedelta(seconds=max(0, node.number(seconds) if seconds in node.info else 0)))
        for writes, running, seconds in kinds
        if running in node.info and node.number(running)
    ]


#: What shows the names of a node's files; 7.0 and later have the third.
FILES = tuple(f"CONFIG GET {name}" for name in ("dbfilename", "appendfilename", "appenddirname"))


def roommates(nodes: Iterable[Look]) -> list[tuple[Answers, ...]]:
    """The groups of nodes that keep their data in one folder of one machine, as far as they show that.

    Containers and machines behind one address have each a folder of that name: there another port is published than the one
    that Redis listens on, or the processes have the same number.
    """
    groups: dict[tuple[str, str], dict[str, Answers]] = {}
    for node in seen(nodes):
        own, listens = node.info.get("process_id", ""), node.info.get("tcp_port")
        with suppress(ProbeError):  # which whoever judges the folder reports
            if own and listens == str(node.address.port) and (folder := node.setting("dir")):
                groups.setdefault((node.address.ip or node.address.host, folder), {}).setdefault(own, node)
    return [tuple(group.values()) for group in groups.values() if len(group) > 1]


def save_points(text: str) -> list[tuple[int, int]]:
    """`3600 1 300 100` as pairs: after so many seconds, if there are so many changes."""
    numbers = [int(word) for word in text.split() if word.isdecimal()]
    return list(zip(numbers[::2], numbers[1::2], strict=False))


def never_saved(node: Answers) -> bool:
    """Whether no snapshot was written since the start: the last save then is the start. (6.2 does not count saves.)"""
    if "rdb_saves" in node.info:  # it counts the one that is under way, too
        first = node.info.get("rdb_bgsave_in_progress") == "1" and node.info.get("rdb_last_bgsave_time_sec") == "-1"
        return node.number("rdb_saves") <= first
    started = node.number("server_time_usec") // 10**6 - node.number("uptime_in_seconds")
    return node.number("rdb_last_bgsave_time_sec") < 0 and abs(node.number("rdb_last_save_time") - started) <= 2


def seconds_since_save(node: Answers, now: datetime) -> float:
    """By the server's own clock where it shows it (6.2 and later)."""
    clock = node.number("server_time_usec") / 10**6 if "server_time_usec" in node.info else now.timestamp()
    return clock - node.number("rdb_last_save_time")


def memory_used(node: Answers) -> float:
    """Share of maxmemory in use. Raises ProbeError without a maxmemory."""
    if (most := node.number("maxmemory")) <= 0:
        raise ProbeError(f"{node.address} has no maxmemory.")
    return counted_memory(node) / most


def counted_memory(node: Answers) -> int:
    """The bytes that Redis compares with maxmemory: without the buffers of replicas and of the append-only file."""
    uncounted = node.number("mem_not_counted_for_evict") if "mem_not_counted_for_evict" in node.info else 0
    return node.number("used_memory") - uncounted


def databases(node: Answers) -> dict[int, tuple[int, int]]:
    """How many keys each database of a node has, and how many of them expire; databases without keys are left out."""
    found = {}
    for name, value in node.info.items():
        if name.startswith("db") and name[2:].isdecimal():
            fields = dict(pair.partition("=")[::2] for pair in value.split(","))
            keys, expiring = (fields.get(field, "") for field in ("keys", "expires"))
            if keys.isdecimal() and expiring.isdecimal():
                found[int(name[2:])] = int(keys), int(expiring)
    return found


def partly_expiring(node: Answers, database: int) -> int:
    """How many keys of a database have fields that expire (Redis 7.4, Valkey 9), which do not count as expiring themselves."""
    fields = dict(pair.partition("=")[::2] for pair in node.info.get(f"db{database}", "").split(","))
    counts = (fields.get(name, "") for name in ("subexpiry", "keys_with_volatile_items"))
    return sum(int(count) for count in counts if count.isdecimal())


def keys(node: Answers) -> tuple[int, int]:
    """How many keys a node has, and how many of them expire."""
    described = databases(node).values()
    return sum(keys for keys, _ in described), sum(expiring for _, expiring in described)


@dataclass(frozen=True, slots=True)
class Traffic:
    """A node's counters at one moment. They start over when the server does, with another `run_id`.

    Of connections: those that it turned away, took, and closed as their buffers grew too large. Of replicas: how many times one
    was sent the whole data set. Of commands: those that it refused as its memory was used up.
    """

    at: datetime
    run_id: str
    rejected: int
    received: int
    dropped: int = 0
    synced: int = 0
    starved: int = 0


@dataclass(frozen=True, slots=True)
class Growth:
    """How much a node's counters (see `Traffic`) grew between two runs, so many seconds apart."""

    seconds: float
    rejected: int
    received: int
    dropped: int = 0
    synced: int = 0
    starved: int = 0


def traffic(node: Answers, now: datetime) -> Traffic:
    """The node's counters now."""
    rejected, received = node.number("rejected_connections"), node.number("total_connections_received")
    dropped = sum(node.number(name) for name in _DROPPED if name in node.info)
    return Traffic(
        now,
        node.text("run_id"),
        rejected,
        received,
        dropped,
        node.number("sync_full") if "sync_full" in node.info else 0,
        _errors(node, "OOM"),
    )


def _errors(node: Answers, code: str) -> int:
    """How many commands were answered with an error; 6.2 and later count them, once there was one."""
    _, _, count = node.info.get(f"errorstat_{code}", "").partition("=")
    return int(count) if count.isdecimal() else 0


#: What counts clients that were disconnected for the memory that they took: since 7.0, 7.2 and 7.2.
_DROPPED = ("evicted_clients", "client_query_buffer_limit_disconnections", "client_output_buffer_limit_disconnections")


def grow(history: deque[Traffic], now: Traffic, window: timedelta) -> Growth | None:
    """Add a look to a node's history and compare it with the oldest one in the window; None while there is only this one.

    What another start of the server counted, or CONFIG RESETSTAT reset, or the clock moved behind, is forgotten.
    """
    if history and not _continues(history[-1], now):
        history.clear()
    history.append(now)
    while len(history) > 2 and now.at - history[0].at > window:
        history.popleft()
    if len(history) == 1:
        return None
    base = history[0]
    return Growth(
        (now.at - base.at).total_seconds(),
        now.rejected - base.rejected,
        now.received - base.received,
        now.dropped - base.dropped,
        now.synced - base.synced,
        now.starved - base.starved,
    )


def grow_all(
    histories: dict[NodeAddress, deque[Traffic]], nodes: Iterable[Look], at: datetime, window: timedelta
) -> dict[NodeAddress, Growth | None]:
    """How the counters of each node grew, by `grow`; histories of nodes that are gone are dropped.

    A node that does not show its counters is left out: whoever judges it needs the same answers, and reports that.
    """
    nodes = tuple(nodes)
    for gone in histories.keys() - {node.address for node in nodes}:
        del histories[gone]
    grown: dict[NodeAddress, Growth | None] = {}
    for node in seen(nodes):
        with suppress(ProbeError):
            now = traffic(node, at)
            grown[node.address] = grow(histories.setdefault(node.address, deque()), now, window)
    return grown


def _continues(before: Traffic, now: Traffic) -> bool:
    same = before.run_id == now.run_id and before.at < now.at
    return same and all(
        was <= now_is
        for was, now_is in (
            (before.rejected, now.rejected),
            (before.received, now.received),
            (before.dropped, now.dropped),
            (before.synced, now.synced),
            (before.starved, now.starved),
        )
    )


def connections(node: Answers) -> tuple[int, int]:
    """How many connections count against maxclients, and how many of those are replicas and the cluster's own links."""
    peers = sum(node.number(name) for name in ("connected_slaves", "cluster_connections") if name in node.info)
    return node.number("connected_clients") + peers, peers


def clients_used(node: Answers) -> float:
    """Share of maxclients in use."""
    return connections(node)[0] / max(1, node.number("maxclients"))


def doors(node: Look, usual: int | None) -> set[NodeAddress]:
    """Every port of a node or Sentinel that might answer in plaintext: the one that is asked, the usual one, and those that it
    shows itself.
    """
    ports = {node.address.port, usual}
    if isinstance(node, Answers):
        shown = node.info.get("tcp_port", "")
        ports |= {plain_port(node), int(shown) if shown.isdecimal() else None}
    return {NodeAddress(node.address.host, port) for port in ports if port and port < 2**16}


def plain_port(node: Answers) -> int | None:
    """The port on which Redis listens without TLS; 0 when there is none, None when that is not shown.

    CONFIG shows it, and so do the listeners in INFO since 7.2. Older ones show in INFO this port or, when there is none, the TLS
    port.
    """
    shown: str | None = None
    if "CONFIG GET port" in node.replies and not node.error("CONFIG GET port"):
        with suppress(ProbeError):
            shown = node.setting("port")
    if shown is None and (listeners := [value for name, value in node.info.items() if name.startswith("listener")]):
        fields = [dict(pair.partition("=")[::2] for pair in value.split(",")) for value in listeners]
        shown = next((listener.get("port", "") for listener in fields if listener.get("name") == "tcp"), "0")
    return int(shown) if shown is not None and shown.isdecimal() and int(shown) < 2**16 else None


@dataclass(frozen=True, slots=True)
class Standby:
    """What a Sentinel knows of a replica: its flags, its priority (0: never to be promoted), and whether its link is up."""

    flags: frozenset[str]
    priority: int
    linked: bool

    @property
    def down(self) -> bool:
        """Whether the Sentinel takes it for down."""
        return bool(self.flags & _DOWN)


@dataclass(frozen=True, slots=True)
class Watch:
    """What one Sentinel knows of the master: its address and flags, how many Sentinels watch it, how many of them have to agree
    that it is down (0 where that is not shown), its replicas, and for how long one attempt at a failover may take.
    """

    sentinel: NodeAddress
    master: NodeAddress
    flags: frozenset[str]
    sentinels: int
    quorum: int
    replicas: Mapping[NodeAddress, Standby]
    down_after: timedelta
    failover_timeout: timedelta = timedelta(0)

    @property
    def needed(self) -> int:
        """How many Sentinels a failover takes: the quorum, and the majority of all that are known."""
        return max(self.quorum, self.sentinels // 2 + 1)

    @property
    def down(self) -> bool:
        """Whether the Sentinel takes the master for down."""
        return bool(self.flags & _DOWN)


_DOWN = frozenset({"s_down", "o_down", "disconnected", "master_down"})


def watch(sentinel: Look, name: str) -> Watch:
    """Read what a Sentinel knows. Raises ProbeError when it could not be asked or watches no such master."""
    if isinstance(sentinel, Unseen):
        raise sentinel.why
    masters = [_fields(sentinel, entry) for entry in sentinel.reply("SENTINEL MASTERS", list)]
    master = next((fields for fields in masters if fields.get("name") == name), None)
    if master is None:
        raise Unwatched(f"Sentinel {sentinel.address} watches no master named {name}.", Reason.MISSING)
    others, quorum = master.get("num-other-sentinels", ""), master.get("quorum", "0")
    patience, attempt = master.get("down-after-milliseconds", "0"), master.get("failover-timeout", "0")
    if not all(number.isdecimal() for number in (others, quorum, patience, attempt)):
        raise _no_sentinel(sentinel)
    replicas = [_fields(sentinel, entry) for entry in sentinel.reply(f"SENTINEL REPLICAS {name}", list)]
    return Watch(
        sentinel.address,
        _listens(sentinel, master),
        _flags(master),
        int(others) + 1,
        int(quorum),
        {
            _listens(sentinel, replica): Standby(
                _flags(replica),
                int(priority) if (priority := replica.get("slave-priority", "")).isdecimal() else 100,
                replica.get("master-link-status", "ok") == "ok",
            )
            for replica in replicas
        },
        timedelta(milliseconds=int(patience)),
        timedelta(milliseconds=int(attempt)),
    )


def _no_sentinel(sentinel: Answers) -> ProbeError:
    return ProbeError(
        f"Sentinel {sentinel.address} answered with something else than a Sentinel does.", Reason.MALFORMED
    )


def quorum(sentinel: Answers, name: str) -> tuple[bool, str, int]:
    """What a Sentinel answers to CKQUORUM: whether it could fail over, its words, and how many Sentinels it reaches (-1 where it
    does not say so). Raises ProbeError when it may not be asked or answers something else.
    """
    command = f"SENTINEL CKQUORUM {name}"
    said = sentinel.error(command) or ""
    if not said.startswith("NOQUORUM"):
        said = sentinel.reply(command, str)
    match said.split():
        case ["NOQUORUM", usable, *_]:
            return False, said.strip().rstrip("."), int(usable) if usable.isdecimal() else -1
        case ["OK", usable, *_] if usable.isdecimal():
            return True, said.strip().rstrip("."), int(usable)
    raise ProbeError(
        f"Sentinel {sentinel.address} answered CKQUORUM with something else than a Sentinel does.", Reason.MALFORMED
    )


def known_gone(sentinels: Iterable[Look], name: str) -> int:
    """How many Sentinels all those that answered know of and do not reach: what is silent for us is gone for them, too."""
    gone = []
    for sentinel in seen(sentinels):
        try:
            _, _, usable = quorum(sentinel, name)
            gone.append(watch(sentinel, name).sentinels - usable if usable >= 0 else 0)
        except ProbeError:
            gone.append(0)
    return min(gone, default=0)


def _fields(sentinel: Answers, entry: object) -> dict[str, str]:
    """`[name, value, name, value, …]` as a dict."""
    if not isinstance(entry, list) or not all(isinstance(word, str) for word in entry):
        raise _no_sentinel(sentinel)
    return dict(zip(entry[::2], entry[1::2], strict=False))


def _listens(sentinel: Answers, fields: Mapping[str, str]) -> NodeAddress:
    try:
        return NodeAddress.parse(f"{fields.get('ip', '')}:{fields.get('port', '')}")
    except ValueError:
        raise ProbeError(f"Sentinel {sentinel.address} names a node without an address.", Reason.MALFORMED) from None


def _flags(fields: Mapping[str, str]) -> frozenset[str]:
    return frozenset(fields.get("flags", "").split(","))


def given_up(watches: Iterable[Watch]) -> dict[NodeAddress, NodeAddress]:
    """The replicas that a Sentinel takes for down, each with one that does."""
    return {
        replica: watch.sentinel
        for watch in watches
        for replica, standby in watch.replicas.items()
        if standby.flags & {"s_down", "disconnected"}
    }


def remembered(
    nodes: Iterable[Look], watches: Collection[Watch], configured: Collection[str], wanted: int
) -> set[NodeAddress]:
    """The addresses of replicas that Sentinels alone remember: down for all of them and for us, not configured, and not missed,
    as the master has as many replicas as wanted without them. Sentinels forget nobody until SENTINEL RESET.
    """
    nodes = tuple(nodes)
    masters = [its for node in seen(nodes) if not node.error("ROLE") and (its := role(node)).master]
    if len(masters) != 1 or masters[0].replicas < wanted:
        return set()
    return {
        node.address
        for node in nodes
        if isinstance(node, Unseen) and str(node.address) not in configured
        if (known := [watch.replicas[node.address] for watch in watches if node.address in watch.replicas])
        and all(standby.down for standby in known)
    }


@dataclass(frozen=True, slots=True)
class ClusterNode:
    """One node as another sees it: a line of CLUSTER NODES. `ranges` are the slots that it serves, `moving` those of its own
    that are migrating or importing, `master` whose replica it is.
    """

    id: str
    address: NodeAddress | None
    flags: frozenset[str]
    master: str
    connected: bool
    ranges: tuple[tuple[int, int], ...]
    moving: tuple[str, ...] = ()

    @property
    def slots(self) -> int:
        """How many slots it serves."""
        return sum(last - first + 1 for first, last in self.ranges)

    @property
    def joined(self) -> bool:
        """Whether it is a member: the handshake is over."""
        return "handshake" not in self.flags

    @property
    def dead(self) -> bool:
        """Whether it is taken for dead, suspected of it, or not connected."""
        return bool(self.flags & {"fail", "fail?", "noaddr"}) or not self.connected


def cluster_nodes(node: Answers) -> tuple[ClusterNode, ...]:
    """All nodes of the cluster as this one sees them. Raises ProbeError when CLUSTER NODES may not be asked or cannot be read."""
    lines = node.reply("CLUSTER NODES", str).splitlines()
    try:
        found = tuple(_cluster_node(line.split(), node.address) for line in lines)
    except ValueError:
        found = ()
    if not any("myself" in other.flags for other in found):
        raise ProbeError(
            f"{node.address} answered CLUSTER NODES with something else than Redis does.", Reason.MALFORMED
        )
    return found


def _cluster_node(words: list[str], asked: NodeAddress) -> ClusterNode:
    identity, where, flags, master, _ping, _pong, _epoch, link, *slots = words
    address, _, names = where.partition(",")
    host, _, port = address.partition("@")[0].rpartition(":")
    host = names.partition(",")[0] or host  # the announced host name, which a certificate can be for
    own = "myself" in flags.split(",")
    ranges = (slot.partition("-")[::2] for slot in slots if not slot.startswith("["))
    return ClusterNode(
        identity,
        asked if own else NodeAddress(host, int(port)) if host and 0 < int(port) < 2**16 else None,
        frozenset(flags.split(",")),
        "" if master == "-" else master,
        link == "connected" or own,
        tuple((int(first), int(last or first)) for first, last in ranges),
        tuple(slot[1:].partition("-")[0] for slot in slots if slot.startswith("[")),
    )


def view(node: Look) -> tuple[ClusterNode, ...]:
    """As `cluster_nodes`, with nothing for a node that does not show it."""
    try:
        return cluster_nodes(node) if isinstance(node, Answers) else ()
    except ProbeError:
        return ()


def buried(nodes: Iterable[Look]) -> dict[NodeAddress, NodeAddress]:
    """The cluster's nodes that one of them takes for dead, each with one that does."""
    return {
        other.address: node.address
        for node in nodes
        for other in view(node)
        if "fail" in other.flags and other.address is not None
    }


def by_id(nodes: Iterable[Look]) -> dict[str, Answers]:
    """The nodes of a cluster that answered, by the identity under which the others know them."""
    return {other.id: node for node in seen(nodes) for other in view(node) if "myself" in other.flags}


def owners(node: Look) -> dict[tuple[int, int], str]:
    """Who serves which slots, as a node of a cluster sees it: ranges of slots with the identity of their master."""
    return {slots: other.id for other in view(node) for slots in other.ranges}
