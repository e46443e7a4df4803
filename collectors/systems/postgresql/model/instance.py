"""What an instance answers about itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

__all__ = [
    "Archiver",
    "Connections",
    "Identity",
    "Instance",
    "Logging",
    "Receiver",
    "Sender",
    "Setting",
    "Slot",
    "libraries",
    "names",
]


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

    `where` is its host, port and database, `role` the role that it was asked as, `latency` what its first answer took, in seconds.
    """

    where: str
    role: str
    identity: Identity
    latency: float


@dataclass(frozen=True, slots=True)
class Sender:
    """One row of pg_stat_replication. `follows` is true for physical standbys alone: not for pg_basebackup,
    pg_receivewal (which replay nothing) and logical subscribers."""

    name: str
    state: str
    follows: bool
    lag_bytes: float | None


@dataclass(frozen=True, slots=True)
class Slot:
    """One replication slot."""

    slot_name: str
    active: bool
    wal_status: str | None
    retained_bytes: float


@dataclass(frozen=True, slots=True)
class Receiver:
    """How a standby receives and replays. `status` is None without a WAL receiver."""

    status: str | None
    caught_up: bool | None
    behind_bytes: float | None
    behind_seconds: float | None
    paused: bool


@dataclass(frozen=True, slots=True)
class Archiver:
    """pg_stat_archiver, the settings it goes by, and how many segments wait for it."""

    archive_mode: str
    archive_command: str
    archive_library: str
    last_archived_wal: str | None
    last_archived_time: datetime | None
    last_failed_wal: str | None
    last_failed_time: datetime | None
    ready: int


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


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting, where it applies: to a database, a role, both, or (without either) to the whole instance."""

    name: str
    value: str
    database: str | None
    role: str | None

    @property
    def scope(self) -> str:
        """Where it applies, in words."""
        parts = [f"role {self.role}" if self.role else "", f"database {self.database}" if self.database else ""]
        return " in ".join(part for part in parts if part) or "the instance"


@dataclass(frozen=True, slots=True)
class Logging:
    """The settings that slow query logging goes by. `masked` when the exporter's own role overrides one of them."""

    settings: tuple[Setting, ...]
    auto_explain: bool
    masked: bool


def names(instances: Iterable[Instance]) -> str:
    """Where the instances are, for a sentence."""
    return ", ".join(instance.where for instance in instances)


def libraries(setting: str) -> set[str]:
    """The names in a list of libraries, without their folders and quotes."""
    return {entry.strip(' "').rpartition("/")[2] for entry in setting.split(",")}
