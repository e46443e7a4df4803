"""What an instance answers about itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from exporter.verdict import ProbeError, Reason

__all__ = [
    "Archiver",
    "AwaitedSlot",
    "ConnectionLimit",
    "Connections",
    "Corrupted",
    "Damage",
    "Door",
    "Exported",
    "Figures",
    "Freeze",
    "Identity",
    "Instance",
    "NotServing",
    "Prepared",
    "Receiver",
    "Sender",
    "SenderSlots",
    "Slot",
    "Standby",
    "Wal",
    "Written",
    "heard",
    "names",
]


class NotServing(ProbeError):
    """The instance answered that it takes no connections, or no more: a fact about it, where others only could not be observed."""

    @property
    def exhausted(self) -> bool:
        """Whether all its connections are in use."""
        return self.reason is Reason.LIMIT


class Corrupted(ProbeError):
    """The instance answered that data or an index is damaged, or its file gone."""


class Inaccessible(ProbeError):
    """The instance answered that it cannot reach the foreign server that keeps the data."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What an instance says it is. `may_monitor` is false for members of pg_monitor that do not inherit its rights."""

    in_recovery: bool
    system_identifier: str
    started: datetime
    may_monitor: bool


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance that answered.

    `where` is its host, port and database, `role` the role that it was asked as, `latency` what its first answer took, in seconds,
    connecting included. `endpoints` are the names and addresses, with ports, under which it was reached.
    """

    where: str
    role: str
    identity: Identity
    latency: float
    endpoints: frozenset[tuple[str, int]] = frozenset()


@dataclass(frozen=True, slots=True)
class Freeze:
    """How many transactions ago the oldest row of a database was frozen: transaction ids, and multixact ids."""

    database: str
    xid_age: int
    mxid_age: int


@dataclass(frozen=True, slots=True)
class Damage:
    """How many pages of a database failed their checksum when they were read, since its statistics were reset."""

    database: str
    pages: int


@dataclass(frozen=True, slots=True)
class Wal:
    """Where a primary writes. Positions are bytes of WAL, ages seconds by the primary's own clock.

    What lies before `checkpoint_position` was written more than `checkpoint_age` ago.
    """

    position: int
    timeline: int
    checkpoint_position: int
    checkpoint_age: float
    synchronous_standby_names: str
    synchronous_commit: str

    @property
    def synchronous_standbys(self) -> int:
        """How many standbys every commit waits for."""
        if not self.synchronous_standby_names.strip():
            return 0
        match = re.match(r"\s*(?:(?:FIRST|ANY)\s+)?(\d+)\s*\(", self.synchronous_standby_names, re.IGNORECASE)
        return int(match[1]) if match else 1

    @property
    def waits_for_replay(self) -> bool:
        """Whether every commit waits until synchronous standbys have replayed it."""
        return self.synchronous_commit == "remote_apply"


@dataclass(frozen=True, slots=True)
class Sender:
    """One row of pg_stat_replication, of a primary or a relay.

    `follows` is true for physical standbys alone: not for pg_basebackup, pg_receivewal (which replay nothing) and logical
    subscribers. Lags are seconds by the sender's own clock, None where nothing was measured lately. `process` is what sends,
    `replied` when its last reply was sent, by the standby's own clock: it shows whether another one came since. `silence` is for
    how many seconds no other one came, by the exporter's clock. `logical` is true for subscribers that use a slot.
    """

    name: str
    address: str | None
    state: str | None
    sync_state: str | None
    follows: bool
    flushed: int | None
    replayed: int | None
    flush_lag: float | None
    replay_lag: float | None
    slot: str | None
    process: int = 0
    replied: float | None = None
    silence: float = 0.0
    logical: bool = False


def heard(senders: Iterable[Sender], memory: dict[int, tuple[float | None, float]], now: float) -> list[Sender]:
    """The senders with the silence of each. `memory` has what was seen of them in earlier runs, and is brought up to date."""
    before = dict(memory)
    memory.clear()
    found = []
    for sender in senders:
        replied, since = before.get(sender.process, (None, now))
        memory[sender.process] = (sender.replied, since if replied == sender.replied else now)
        found.append(replace(sender, silence=now - memory[sender.process][1]))
    return found


@dataclass(frozen=True, slots=True)
class SenderSlots:
    """How many processes send WAL, to standbys, subscribers and backups, and how many may (max_wal_senders)."""

    used: int
    most: int


@dataclass(frozen=True, slots=True)
class Slot:
    """One replication slot. `retained_bytes` is None while it keeps no WAL at all, `unconfirmed_bytes` for a physical one.

    A logical slot with `failover` is to be there after a failover, too; on a standby a `synced` one is its copy. `invalidation` is
    why the slot is lost, from PostgreSQL 17 on.
    """

    slot_name: str
    active: bool
    wal_status: str | None
    retained_bytes: float | None
    unconfirmed_bytes: float | None = None
    failover: bool = False
    synced: bool = False
    invalidation: str | None = None


@dataclass(frozen=True, slots=True)
class AwaitedSlot:
    """A physical slot whose standby has to have what a logical subscriber gets, and whether it exists and is in use."""

    name: str
    present: bool
    active: bool


@dataclass(frozen=True, slots=True)
class Receiver:
    """How a standby receives and replays. `status` is None without a WAL receiver.

    `name` and `slot` are those under which its sender knows it; `silence` is how many seconds ago, by the standby's own clock, it
    last heard of that; `delay` how many seconds late it replays by configuration.
    """

    status: str | None
    timeline: int | None
    received: int | None
    replayed: int | None
    paused: bool
    name: str | None
    slot: str | None
    sender: str | None
    address: str | None
    silence: float | None
    delay: float

    @property
    def flushed(self) -> int:
        """Up to where it has WAL, from its sender or from an archive."""
        return max(self.received or 0, self.replayed or 0)

    def is_served_by(self, sender: Sender) -> bool:
        """Whether a row of pg_stat_replication is this standby's."""
        if self.slot and sender.slot:
            return self.slot == sender.slot
        known = sender.address is None or self.address is None or sender.address == self.address
        return self.name == sender.name and known


@dataclass(frozen=True, slots=True)
class Standby:
    """One listed standby, how it receives, and the row of pg_stat_replication that a listed instance has of it."""

    instance: Instance
    receiver: Receiver
    source: Sender | None = None

    @property
    def where(self) -> str:
        """Its host, port and database."""
        return self.instance.where


@dataclass(frozen=True, slots=True)
class Written:
    """What the primary had written at some moments: ages in seconds, with positions."""

    points: tuple[tuple[float, int], ...] = ()

    def behind(self, position: int | None) -> float:
        """For how many seconds at the least WAL has existed that comes after this position; 0 when that is not known."""
        return max((age for age, written in self.points if position is not None and written > position), default=0.0)


@dataclass(frozen=True, slots=True)
class Archiver:
    """pg_stat_archiver, the settings it goes by, how many segments wait for it, and for how many seconds the oldest has.

    `timeline` is the one that the primary writes, `segment_size` the bytes of a segment.
    """

    archive_mode: str
    archive_command: str
    archive_library: str
    last_archived_wal: str | None
    last_archived_time: datetime | None
    last_failed_wal: str | None
    last_failed_time: datetime | None
    ready: int
    oldest_ready: str | None
    oldest_ready_age: float | None
    timeline: int
    segment_size: int


@dataclass(frozen=True, slots=True)
class ConnectionLimit:
    """A CONNECTION LIMIT of a database or a role (`kind`), and how many connections it has."""

    kind: str
    name: str
    most: int
    used: int


@dataclass(frozen=True, slots=True)
class Door:
    """A database or role (`kind`) that pools use: whether there is one, whether it lets anyone in, and whether only without its
    password, which has expired.
    """

    kind: str
    name: str
    known: bool
    opens: bool
    expired: bool


@dataclass(frozen=True, slots=True)
class Figures:
    """What an instance itself counts, to be held against what an exporter reports of it.

    `reset_at` is when the background writer's statistics were reset, in Unix seconds, `reset_age` how many seconds ago that was;
    both by the instance's own clock. `commits` are transactions by database, `sessions` how many seconds ago each of its sessions
    began.
    """

    port: int
    reset_at: float | None
    reset_age: float | None
    commits: Mapping[str, int]
    sessions: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Exported:
    """What Prometheus has of one exporter, by its `instance` label; None where it has no such series.

    `sessions` are how many it saw of each database, so many seconds ago (`sessions_age`). It is `blind` when it does not see what
    standbys do; `failing` are its collectors that fail.
    """

    exporter: str
    port: float | None
    reset_at: float | None
    commits: Mapping[str, float]
    sessions: Mapping[str, float] = field(default_factory=dict)
    sessions_age: float = 0.0
    blind: bool = False
    failing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A prepared transaction, and how many seconds ago it was prepared."""

    gid: str
    database: str
    owner: str
    age: float


@dataclass(frozen=True, slots=True)
class Connections:
    """How many connections an instance takes, keeps back, and has."""

    max_connections: int
    reserved: int
    used: int

    @property
    def available(self) -> int:
        """Those that an application can get."""
        return self.max_connections - self.reserved


def names(instances: Iterable[Instance]) -> str:
    """Where the instances are, for a sentence."""
    return ", ".join(instance.where for instance in instances)
