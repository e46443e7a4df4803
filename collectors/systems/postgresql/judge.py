"""What is right and wrong about a PostgreSQL cluster: pure judgements of what its instances and their surroundings tell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import Field

from collectors.systems.postgresql.client.connection import Connection
from collectors.systems.postgresql.client.patroni import PatroniCluster
from collectors.systems.postgresql.client.pgbackrest import Stanza
from collectors.systems.postgresql.client.pgbouncer import Pooler
from exporter.options import Duration, Options, Size, format_duration
from exporter.verdict import ProbeError, Result, failed, ok, unknown, warning
from exporter.words import format_size


class Pool(Options):
    """One application's pool of connections."""

    name: str = Field(min_length=1, description="Whose pool it is.")
    size: int = Field(ge=1, description="Connections that one replica opens at most, overflow included.")
    replicas: int = Field(1, ge=1, description="Replicas at the most, such as the autoscaler's maximum.")


class Thresholds(Options):
    """Limits, for the section or for one target."""

    query_timeout: Duration = Field(
        timedelta(seconds=3), ge=timedelta(milliseconds=1), description="How long connecting, and each query, may take."
    )
    max_latency: Duration = Field(timedelta(seconds=1), description="How long the first answer may take.")
    expected_replicas: int = Field(1, ge=1, description="How many standbys stream from the primary at the least.")
    max_lag_bytes: Size = Field(64 * 2**20, description="How far a standby may be behind, in WAL.")
    max_lag: Duration = Field(timedelta(seconds=30), description="How far a standby may be behind, in time.")
    backup_max_age: Duration = Field(timedelta(hours=26), description="Age of the newest complete backup at the most.")
    max_ready: int = Field(10, ge=0, description="WAL segments that may wait to be archived.")
    max_connections: Annotated[int, Field(ge=1)] | tuple[int, int] = Field(
        100, description="What max_connections shall be: a number, or the least and the most: [100, 500]."
    )
    connections_warning_ratio: float = Field(
        0.8, gt=0, le=1, description="Share of max_connections in use from which it is a warning."
    )
    slow_query: Duration = Field(
        timedelta(seconds=1), description="Queries that take this long have to be logged; faster ones may be."
    )


@dataclass(frozen=True, slots=True)
class Identity:
    """What an instance says it is. `may_monitor` is false for members of pg_monitor that do not inherit its rights."""

    in_recovery: bool
    system_identifier: str
    started: datetime
    may_monitor: bool


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance that answered. `latency` is what its first answer took, in seconds."""

    connection: Connection
    identity: Identity
    latency: float

    @property
    def where(self) -> str:
        """Its host, port and database."""
        return self.connection.where


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


def judge_instances(instances: Sequence[Instance], unseen: int, max_latency: timedelta, how: str) -> Result:
    """Whether the instances that answered are one healthy cluster.

    `unseen` are those that did not answer, `how` says in a few words how much of them is seen.
    """
    measured: dict[str, Any] = {"latency_seconds": max(instance.latency for instance in instances)}
    primaries = [instance for instance in instances if not instance.identity.in_recovery]
    clusters = {instance.identity.system_identifier for instance in instances}
    if len(clusters) > 1:
        return failed(f"{names(instances)} are of {len(clusters)} different clusters (system identifiers).", **measured)
    if len({instance.identity.started for instance in primaries}) > 1:
        return failed(f"Split brain: {names(primaries)} are all primaries of cluster {clusters.pop()}.", **measured)
    if same := _named_twice(instances):
        return unknown(
            f"{names(same)} are one server, so the other instances may not have been seen: name each instance once.",
            **measured,
        )
    for instance in instances:
        if instance.latency > max_latency.total_seconds():
            return failed(
                f"{instance.where} answers after {instance.latency * 1000:.0f} ms (limit {format_duration(max_latency)}).",
                **measured,
            )
    if not primaries:
        if unseen or len(instances) == 1:
            return unknown(f"{names(instances)} answered as standby; the primary was not seen.", **measured)
        return failed(f"There is no primary: {names(instances)} are all standbys.", **measured)
    standbys = len(instances) - 1
    return ok(
        f"{primaries[0].where} is the primary, with {standbys} standby{'s' if standbys != 1 else ''} answering too, within "
        f"{measured['latency_seconds'] * 1000:.0f} ms, {how}.",
        **measured,
    )


def _named_twice(instances: Sequence[Instance]) -> list[Instance]:
    """Those of one cluster that started in the same microsecond: one server, by several names."""
    starts = [instance.identity.started for instance in instances]
    return [instance for instance in instances if starts.count(instance.identity.started) > 1]


def judge_senders(senders: Sequence[Sender], slots: Sequence[Slot], limits: Thresholds) -> Result:
    """Whether enough standbys stream from the primary, closely, and no slot is left alone."""
    standbys = [sender for sender in senders if sender.follows and sender.state == "streaming"]
    lag = max((sender.lag_bytes or 0.0 for sender in standbys), default=None)
    measured: dict[str, Any] = {"streaming_replicas": float(len(standbys))} | (
        {} if lag is None else {"replication_lag_bytes": lag}
    )
    if len(standbys) < limits.expected_replicas:
        others = ", ".join(f"{sender.name} ({sender.state})" for sender in senders if sender not in standbys)
        return failed(
            f"{len(standbys)} standbys stream from the primary (wanted {limits.expected_replicas})"
            f"{f'; also connected: {others}' if others else ''}.",
            **measured,
        )
    for sender in standbys:
        if (sender.lag_bytes or 0.0) > limits.max_lag_bytes:
            return failed(
                f"Standby {sender.name} is {format_size(sender.lag_bytes or 0.0)} behind "
                f"(limit {format_size(limits.max_lag_bytes)}).",
                **measured,
            )
    for slot in slots:
        if not slot.active:
            kept = format_size(slot.retained_bytes)
            return failed(f"Replication slot {slot.slot_name} is not active and keeps {kept} of WAL.", **measured)
        if slot.wal_status not in ("reserved", "extended"):
            return failed(
                f"Replication slot {slot.slot_name} has lost WAL: wal_status is {slot.wal_status}.", **measured
            )
    return ok(f"{len(standbys)} standbys stream, at most {format_size(lag or 0.0)} behind.", **measured)


def judge_receiver(where: str, receiver: Receiver, limits: Thresholds) -> Result:
    """Whether a standby streams and replays closely."""
    if receiver.status != "streaming":
        return failed(f"Standby {where} does not stream: its WAL receiver is {receiver.status or 'not running'}.")
    if receiver.paused:
        return failed(f"Standby {where} does not replay: replay is paused.")
    # An idle primary sends nothing to replay: the time since the last transaction is then no lag.
    seconds = 0.0 if receiver.caught_up else receiver.behind_seconds
    if seconds is None or receiver.behind_bytes is None:
        return unknown(f"Standby {where} has replayed no transaction yet, so how far it is behind was not seen.")
    measured: dict[str, Any] = {"replication_lag_seconds": seconds, "replay_lag_bytes": receiver.behind_bytes}
    if seconds > limits.max_lag.total_seconds():
        return failed(
            f"Standby {where} is {seconds:.0f} s behind (limit {format_duration(limits.max_lag)}).", **measured
        )
    return ok(f"Standby {where} streams and is {seconds:.1f} s behind.", **measured)


def judge_backup(stanza: Stanza, cluster: str, now: datetime, max_age: timedelta) -> Result:
    """Whether the stanza holds a recent, complete backup without bad pages of the cluster with this system identifier."""
    if stanza.status.code != 0:
        return failed(f"pgBackRest stanza {stanza.name} is not well: {stanza.status.message}.")
    ours = [backup for backup in stanza.backup if cluster in stanza.system_ids(backup.database)]
    if not ours:
        held = f"{len(stanza.backup)} backups of other clusters" if stanza.backup else "no backup"
        return failed(f"pgBackRest stanza {stanza.name} holds {held} and none of cluster {cluster}.")
    newest = max(ours, key=lambda backup: backup.stopped)
    age = now - newest.stopped
    measured: dict[str, Any] = {"backup_age_seconds": age.total_seconds()}
    if newest.error:
        return failed(f"Backup {newest.label} holds pages with wrong checksums.", **measured)
    seen = f"Backup {newest.label} was complete {age.total_seconds() / 3600:.1f} h ago"
    if age > max_age:
        return failed(f"{seen} (limit {format_duration(max_age)}).", **measured)
    return ok(f"{seen}.", **measured)


#: Programs that report success and store nothing.
_IDLE_PROGRAMS = {":", "true", "exit", "echo", "printf", "test", "["}


def _stores(command: str) -> bool:
    """Whether an archive_command could store a segment: one of its parts hands it to a program that does something."""
    without_redirections = re.sub(r"\d*>+(&\d|\s*\S+)", "", command)
    return any(_stores_alone(part) for part in re.split(r"&&|\|\||[;|]", without_redirections))


def _stores_alone(command: str) -> bool:
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    program = words[0].rpartition("/")[2] if words else ""
    return program not in _IDLE_PROGRAMS and words[-1:] != ["/dev/null"] and re.search(r"%[pf]", command) is not None


def judge_archiver(archiver: Archiver, max_ready: int) -> Result:
    """Whether PostgreSQL archives its WAL, by what it says itself."""
    measured: dict[str, Any] = {"wal_segments_waiting": float(archiver.ready)}
    if archiver.archive_mode == "off":
        return failed("WAL archiving is off (archive_mode).", **measured)
    if not archiver.archive_library and not _stores(archiver.archive_command):
        return failed(f"archive_command stores nothing: {archiver.archive_command!r}.", **measured)
    if archiver.ready > max_ready:
        return failed(f"{archiver.ready} WAL segments wait to be archived (limit {max_ready}).", **measured)
    if archiver.last_failed_time and (
        archiver.last_archived_time is None or archiver.last_failed_time >= archiver.last_archived_time
    ):
        return failed(
            f"Archiving of {archiver.last_failed_wal} failed at {archiver.last_failed_time:%F %T %Z}.", **measured
        )
    if archiver.last_archived_time is None:
        return unknown("No WAL segment was archived since the statistics were reset.", **measured)
    return ok(f"WAL is archived, {archiver.ready} segments wait.", **measured)


def judge_archive(stanza: Stanza, cluster: str, archiver: Archiver) -> Result:
    """Whether the repository holds what PostgreSQL believes to be archived. `stanza` has to be newer than `archiver`."""
    held = max(
        (archive.max or "" for archive in stanza.archive if cluster in stanza.system_ids(archive.database)), default=""
    )
    if not held:
        return failed(f"pgBackRest stanza {stanza.name} holds no WAL of cluster {cluster}.")
    # A backup label file is named after its segment; a timeline's history file is no segment, and sorts before any.
    segment = (archiver.last_archived_wal or "")[:24]
    if held < segment and not segment.endswith(".history"):
        return failed(f"PostgreSQL believes WAL segment {segment} to be archived, but the repository ends at {held}.")
    return ok(f"The repository holds WAL up to {held}.")


def judge_connections(where: str, connections: Connections, limits: Thresholds) -> Result:
    """Whether max_connections is as wanted and enough are free."""
    measured: dict[str, Any] = {
        "connections_used": float(connections.used),
        "connections_max": float(connections.max_connections),
    }
    wanted = limits.max_connections
    least, most = wanted if isinstance(wanted, tuple) else (wanted, wanted)
    if not least <= connections.max_connections <= most:
        text = f"{least}" if least == most else f"{least} to {most}"
        return failed(f"max_connections of {where} is {connections.max_connections} (wanted {text}).", **measured)
    seen = f"{where} uses {connections.used} of {connections.max_connections} connections"
    if connections.used >= connections.available:
        return failed(f"{seen}, so applications get no more.", **measured)
    if connections.used > limits.connections_warning_ratio * connections.max_connections:
        return warning(f"{seen} (limit {limits.connections_warning_ratio:.0%}).", **measured)
    return ok(f"{seen}.", **measured)


def judge_pools(pools: Sequence[Pool], poolers: Sequence[Pooler], connections: Connections) -> Result:
    """Whether all pools may be full at once, and nobody waits in PgBouncer."""
    total = sum(pool.size * pool.replicas for pool in pools) + sum(pooler.server_connections for pooler in poolers)
    measured: dict[str, Any] = {"pool_connections": float(total)}
    if total > connections.available:
        return failed(
            f"The pools may reach {total} connections, but PostgreSQL has {connections.available} for them (max_connections "
            f"{connections.max_connections}, {connections.reserved} kept back).",
            **measured,
        )
    for pooler in poolers:
        if pooler.longest_wait >= 1:
            return failed(
                f"A client of PgBouncer at {pooler.where} has waited {pooler.longest_wait:.1f} s for a connection "
                f"(limit 1 s).",
                **measured,
            )
    if waiting := sum(pooler.clients_waiting for pooler in poolers):
        return warning(f"{waiting} clients wait in PgBouncer for a connection.", **measured)
    return ok(f"The pools may reach {total} of {connections.available} connections.", **measured)


_MILLISECONDS = {"": 1, "us": 0.001, "ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}


def _milliseconds(value: str) -> float:
    """A duration as PostgreSQL writes it in settings (`500`, `1s`, `-1`), in milliseconds. Raises ProbeError for anything else."""
    match = re.fullmatch(r"\s*(-?\d+(?:\.\d+)?)\s*([a-z]*)\s*", value)
    if not match or match[2] not in _MILLISECONDS:
        raise ProbeError(f"The value {value!r} of a logging setting was not understood.")
    return float(match[1]) * _MILLISECONDS[match[2]]


def judge_logging(logging: Logging, slow_query: timedelta) -> Result:
    """Whether slow queries are logged in every database and for every role. Raises ProbeError when a value is not understood."""
    if logging.masked:
        raise ProbeError(
            "The exporter's own role or connection sets slow query logging, which hides what others get: RESET it."
        )
    for setting in logging.settings:
        if setting.name == "log_min_messages" and setting.value.lower() in ("fatal", "panic"):
            return failed(f"log_min_messages is {setting.value} for {setting.scope}: slow queries are not logged.")
    verdict = _judge_duration(logging.settings, "log_min_duration_statement", slow_query)
    if not verdict.status.is_ok and logging.auto_explain:
        explained = _judge_duration(logging.settings, "auto_explain.log_min_duration", slow_query)
        return explained if explained.status.is_ok and _explains_all(logging.settings) else verdict
    return verdict


def _explains_all(settings: Iterable[Setting]) -> bool:
    """Whether auto_explain logs every statement that is slow, not a sample, and at a level that reaches the log."""
    whole = {"auto_explain.log_level": r"log|warning", "auto_explain.sample_rate": r"1(\.0*)?"}
    return all(
        re.fullmatch(whole[setting.name], setting.value.lower()) for setting in settings if setting.name in whole
    )


def _judge_duration(settings: Iterable[Setting], name: str, slow_query: timedelta) -> Result:
    """Whether this setting logs slow queries everywhere."""
    limit = slow_query.total_seconds() * 1000
    values = [(setting, _milliseconds(setting.value)) for setting in settings if setting.name == name]
    if not values:
        raise ProbeError(f"PostgreSQL does not tell {name}.")
    for setting, value in values:
        if value < 0:
            return failed(f"{name} is {setting.value} for {setting.scope}: slow queries are not logged.")
        if value > limit:
            return failed(f"{name} is {value:g} ms for {setting.scope} (limit {limit:g} ms).")
    for setting, value in values:
        if value == 0:
            return warning(f"{name} is 0 for {setting.scope}: every statement is logged.")
    # Where the database asked sets it, what the instance gives other databases cannot be seen.
    databases = {setting.database for setting, _ in values if not setting.role}
    where = "" if None in databases else f" in database {', '.join(sorted(filter(None, databases)))}"
    return ok(f"Queries slower than {max(value for _, value in values):g} ms are logged{where} ({name}).")


def judge_patroni(cluster: PatroniCluster, system_identifier: str, max_lag: int) -> Result:
    """Whether Patroni would fail this cluster over by itself."""
    leaders = [member for member in cluster.members if member.leads]
    candidates = [member for member in cluster.members if member.could_lead(max_lag, synchronous=cluster.synchronous)]
    measured: dict[str, Any] = {"failover_candidates": float(len(candidates))}
    if cluster.system_identifier != system_identifier:
        return failed(
            f"Patroni speaks of cluster {cluster.system_identifier or 'without an identifier'}, not of {system_identifier}.",
            **measured,
        )
    if cluster.pause:
        return failed("Patroni is paused: nobody takes over when the leader is lost.", **measured)
    if len(leaders) != 1:
        return failed(f"Patroni shows {len(leaders)} running leaders (wanted 1).", **measured)
    if not candidates:
        needed = "synchronous standby" if cluster.synchronous else "standby"
        return failed(f"Patroni shows no {needed} that could take over.", **measured)
    return ok(
        f"Patroni shows leader {leaders[0].name} and {len(candidates)} standbys that could take over.", **measured
    )


def libraries(setting: str) -> set[str]:
    """The names in a list of libraries, without their folders and quotes."""
    return {entry.strip(' "').rpartition("/")[2] for entry in setting.split(",")}
