"""What a Redis node or a Sentinel answers, what its answers mean, and the limits that are put on them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from pydantic import Field

from exporter.options import Duration, Options, Size
from exporter.verdict import ProbeError

__all__ = [
    "SLOTS",
    "Address",
    "Answers",
    "ClusterNode",
    "Growth",
    "Look",
    "Persistence",
    "RedisLimits",
    "Role",
    "Traffic",
    "Unseen",
    "Untrusted",
    "Watch",
    "buried",
    "clients_used",
    "cluster_nodes",
    "doors",
    "each_once",
    "given_up",
    "grow",
    "highest",
    "lag",
    "memory_used",
    "never_saved",
    "plain_port",
    "role",
    "seen",
    "traffic",
    "view",
    "watch",
]

#: Commands whose rights are granted by subcommand (`+config|get`).
_CONTAINERS = ("CLIENT", "CLUSTER", "CONFIG", "SENTINEL")


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """`cache-1:6379`, `10.0.0.7:6379`, `[::1]:6379`. Raises ValueError for anything else."""
        host, colon, port = text.rpartition(":")
        if not (host and colon and port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
            raise ValueError("expected host:port, such as cache-1:6379")
        return cls(host.removeprefix("[").removesuffix("]"), int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Untrusted(ProbeError):
    """The server's certificate was not accepted: another authority, another name, out of date."""


@dataclass(frozen=True, slots=True)
class Unseen:
    """A server that could not be asked, and why."""

    address: Address
    why: ProbeError


@dataclass(frozen=True, slots=True)
class Answers:
    """What one server answered in one look, by command; an error reply is kept as the exception that redis-py makes of it."""

    address: Address
    tls_version: str | None
    replies: Mapping[str, object]
    info: Mapping[str, str] = field(init=False, default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if isinstance(text := self.replies.get("INFO"), str):
            pairs = (line.partition(":") for line in text.splitlines() if not line.startswith("#"))
            object.__setattr__(self, "info", {name: value for name, colon, value in pairs if colon})

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
            raise ProbeError(f"{self.address} does not let this user run {name}: the right +{right} is missing.")
        if isinstance(reply, BusyLoadingError):
            raise ProbeError(f"{self.address} is loading its data and does not answer {name} yet.")
        if isinstance(reply, Exception):
            raise ProbeError(f"{self.address} refuses {name}: {str(reply).strip().rstrip('.')}.")
        if not isinstance(reply, kind):
            raise ProbeError(f"{self.address} answered {name} with something else than Redis does.")
        return reply

    def text(self, name: str) -> str:
        """A field of INFO. Raises ProbeError when INFO may not be asked or has no such field."""
        self.reply("INFO", str)
        if name not in self.info:
            raise ProbeError(f"{self.address} does not tell {name} in INFO.")
        return self.info[name]

    def number(self, name: str) -> int:
        """A field of INFO that is a whole number. Raises ProbeError as `text` does, and when it is none."""
        value = self.text(name)
        try:
            return int(value)
        except ValueError:
            raise ProbeError(f"{self.address} tells {name} as {value[:40]!r}, where a number was expected.") from None

    def setting(self, name: str) -> str | None:
        """A setting by CONFIG GET; None when this server has no such setting. Raises ProbeError when it may not be asked."""
        reply = self.reply(f"CONFIG GET {name}", list)
        return next((str(value) for key, value in zip(reply[::2], reply[1::2], strict=False) if key == name), None)


SLOTS = 16384


Look = Answers | Unseen


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
        None, pattern="^/", description="Folder where the persistent volume is mounted; Redis must write beneath it."
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
        None, gt=0, description="Memory limit of the container; by default what the machine has, as Redis tells it."
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
    min_sentinels: int = Field(3, ge=1, description="How many Sentinels shall watch the master.")


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
    """The highest measure of any node that tells it; NaN (which is no measurement) when none does."""
    found = []
    for node in seen(nodes):
        try:
            found.append(measure(node))
        except ProbeError:
            continue  # of_each has told it
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
    raise ProbeError(f"{node.address} answered ROLE with something else than a Redis node does.")


def lag(node: Answers) -> float:
    """How many bytes the slowest online replica of a master is behind; 0 for a replica."""
    behind = 0
    for name, value in node.info.items():
        fields = dict(pair.partition("=")[::2] for pair in value.split(","))
        if name.startswith("slave") and fields.get("state") == "online" and fields.get("offset", "").isdigit():
            behind = max(behind, node.number("master_repl_offset") - int(fields["offset"]))
    return float(behind)


def never_saved(node: Answers) -> bool:
    """Whether no snapshot was written since the start: the last save then is the start. (6.2 does not count saves.)"""
    if "rdb_saves" in node.info:
        return node.number("rdb_saves") == 0
    started = node.number("server_time_usec") // 10**6 - node.number("uptime_in_seconds")
    return node.number("rdb_last_bgsave_time_sec") < 0 and abs(node.number("rdb_last_save_time") - started) <= 2


def _seconds_since_save(node: Answers, now: datetime) -> float:
    """By the server's own clock where it tells it (6.2 and later)."""
    clock = node.number("server_time_usec") / 10**6 if "server_time_usec" in node.info else now.timestamp()
    return clock - node.number("rdb_last_save_time")


def memory_used(node: Answers) -> float:
    """Share of maxmemory in use."""
    if (most := node.number("maxmemory")) <= 0:
        raise ProbeError(f"{node.address} has no maxmemory.")
    return node.number("used_memory") / most


@dataclass(frozen=True, slots=True)
class Traffic:
    """A node's connection counters at one moment. They start over when the server does, with another `run_id`."""

    at: datetime
    run_id: str
    rejected: int
    received: int


@dataclass(frozen=True, slots=True)
class Growth:
    """How much a node's connection counters grew between two looks, so many seconds apart."""

    seconds: float
    rejected: int
    received: int


def traffic(node: Answers, now: datetime) -> Traffic:
    """The node's connection counters now."""
    rejected, received = node.number("rejected_connections"), node.number("total_connections_received")
    return Traffic(now, node.text("run_id"), rejected, received)


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
    return Growth((now.at - base.at).total_seconds(), now.rejected - base.rejected, now.received - base.received)


def _continues(before: Traffic, now: Traffic) -> bool:
    same = before.run_id == now.run_id and before.at < now.at
    return same and before.rejected <= now.rejected and before.received <= now.received


def clients_used(node: Answers) -> float:
    """Share of maxclients in use."""
    return node.number("connected_clients") / max(1, node.number("maxclients"))


def doors(node: Look, plaintext_port: int) -> set[Address]:
    """Every port of a node that might answer in plaintext: the one that is asked, the usual one, and the one that it tells."""
    ports = {node.address.port, plaintext_port}
    if isinstance(node, Answers):
        ports |= {plain_port(node) or plaintext_port}
    return {Address(node.address.host, port) for port in ports}


def plain_port(node: Answers) -> int | None:
    """The port that Redis listens on without TLS; 0 when there is none, None when it does not tell.

    Where CONFIG is forbidden, INFO tells that port or, when there is none, the TLS port.
    """
    try:
        told = node.setting("port") or ""
    except ProbeError:
        told = node.info.get("tcp_port", "")
    return int(told) if told.isdecimal() and int(told) < 2**16 else None


@dataclass(frozen=True, slots=True)
class Watch:
    """What one Sentinel knows of the master: its address and flags, how many Sentinels watch it, its replicas and theirs."""

    sentinel: Address
    master: Address
    flags: frozenset[str]
    sentinels: int
    replicas: Mapping[Address, frozenset[str]]


_DOWN = frozenset({"s_down", "o_down", "disconnected", "master_down"})


def watch(sentinel: Look, name: str) -> Watch:
    """Read what a Sentinel knows. Raises ProbeError when it could not be asked or watches no such master."""
    if isinstance(sentinel, Unseen):
        raise sentinel.why
    masters = [_fields(sentinel, entry) for entry in sentinel.reply("SENTINEL MASTERS", list)]
    master = next((fields for fields in masters if fields.get("name") == name), None)
    if master is None:
        raise ProbeError(f"Sentinel {sentinel.address} watches no master named {name}.")
    if not (others := master.get("num-other-sentinels", "")).isdecimal():
        raise ProbeError(f"Sentinel {sentinel.address} answered with something else than a Sentinel does.")
    replicas = [_fields(sentinel, entry) for entry in sentinel.reply(f"SENTINEL REPLICAS {name}", list)]
    return Watch(
        sentinel.address,
        _listens(sentinel, master),
        _flags(master),
        int(others) + 1,
        {_listens(sentinel, replica): _flags(replica) for replica in replicas},
    )


def _fields(sentinel: Answers, entry: object) -> dict[str, str]:
    """`[name, value, name, value, …]` as a dict."""
    if not isinstance(entry, list) or not all(isinstance(word, str) for word in entry):
        raise ProbeError(f"Sentinel {sentinel.address} answered with something else than a Sentinel does.")
    return dict(zip(entry[::2], entry[1::2], strict=False))


def _listens(sentinel: Answers, fields: Mapping[str, str]) -> Address:
    try:
        return Address.parse(f"{fields.get('ip', '')}:{fields.get('port', '')}")
    except ValueError:
        raise ProbeError(f"Sentinel {sentinel.address} names a node without an address.") from None


def _flags(fields: Mapping[str, str]) -> frozenset[str]:
    return frozenset(fields.get("flags", "").split(","))


def given_up(watches: Iterable[Watch]) -> dict[Address, Address]:
    """The replicas that a Sentinel holds for down, each with one that does."""
    return {
        replica: watch.sentinel
        for watch in watches
        for replica, flags in watch.replicas.items()
        if flags & {"s_down", "disconnected"}
    }


@dataclass(frozen=True, slots=True)
class ClusterNode:
    """One node as another sees it: a line of CLUSTER NODES. `slots` is how many it serves, `master` whose replica it is."""

    id: str
    address: Address | None
    flags: frozenset[str]
    master: str
    connected: bool
    slots: int

    @property
    def dead(self) -> bool:
        """Whether it is held for dead, suspected of it, or not connected."""
        return bool(self.flags & {"fail", "fail?", "noaddr"}) or not self.connected


def cluster_nodes(node: Answers) -> tuple[ClusterNode, ...]:
    """All nodes of the cluster as this one sees them. Raises ProbeError when CLUSTER NODES may not be asked or cannot be read."""
    lines = node.reply("CLUSTER NODES", str).splitlines()
    try:
        found = tuple(_cluster_node(line.split(), node.address) for line in lines)
    except ValueError:
        found = ()
    if not any("myself" in other.flags for other in found):
        raise ProbeError(f"{node.address} answered CLUSTER NODES with something else than Redis does.")
    return found


def _cluster_node(words: list[str], asked: Address) -> ClusterNode:
    identity, where, flags, master, _ping, _pong, _epoch, link, *slots = words
    address, _, names = where.partition(",")
    host, _, port = address.partition("@")[0].rpartition(":")
    host = names.partition(",")[0] or host  # the announced host name, which a certificate can be for
    own = "myself" in flags.split(",")
    ranges = (slot.partition("-")[::2] for slot in slots if not slot.startswith("["))
    return ClusterNode(
        identity,
        asked if own else Address(host, int(port)) if host and 0 < int(port) < 2**16 else None,
        frozenset(flags.split(",")),
        "" if master == "-" else master,
        link == "connected" or own,
        sum(int(last or first) - int(first) + 1 for first, last in ranges),
    )


def view(node: Look) -> tuple[ClusterNode, ...]:
    """As `cluster_nodes`, with nothing for a node that does not tell."""
    try:
        return cluster_nodes(node) if isinstance(node, Answers) else ()
    except ProbeError:
        return ()


def buried(nodes: Iterable[Look]) -> dict[Address, Address]:
    """The cluster's nodes that one of them holds for dead, each with one that does."""
    return {
        other.address: node.address
        for node in nodes
        for other in view(node)
        if "fail" in other.flags and other.address is not None
    }
