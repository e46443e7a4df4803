"""What an instance is asked, in SQL: one method a question."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self, TypeVar

from collectors.shared.dsn import Parameters
from collectors.systems.postgresql.client.connection import Connection
from collectors.systems.postgresql.model.instance import (
    Archiver,
    AwaitedSlot,
    ConnectionLimit,
    Connections,
    Damage,
    Door,
    Figures,
    Freeze,
    Identity,
    Instance,
    Prepared,
    Receiver,
    Sender,
    SenderSlots,
    Slot,
    Wal,
)
from collectors.systems.postgresql.model.options import Pool
from collectors.systems.postgresql.model.recovery_point import SegmentStatus, WalState
from collectors.systems.postgresql.model.settings import Setting, Settings

__all__ = ["Session"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Base:
    name: str
    setting: str
    source: str
    database: str


@dataclass(frozen=True, slots=True)
class _Name:
    name: str


@dataclass(frozen=True, slots=True)
class _Written:
    position: int
    archive_timeout: float


@dataclass(frozen=True, slots=True)
class _Count:
    count: int


@dataclass(frozen=True, slots=True)
class _Commits:
    name: str
    count: int


@dataclass(frozen=True, slots=True)
class _Ages:
    name: str
    ages: list[float]


@dataclass(frozen=True, slots=True)
class _Figures:
    port: int
    reset_at: float | None
    reset_age: float | None


class Session:
    """One instance that answered, for one run. Every method raises ProbeError when the question is not answered in time."""

    def __init__(self, connection: Connection, instance: Instance) -> None:
        self._connection = connection
        self.instance = instance

    @classmethod
    async def open(cls, parameters: Parameters, timeout: timedelta, address: str | None = None) -> Self:
        """Connect to one instance (at one `address` of several) and ask what it is, each within `timeout`.

        Raises ProbeError when it does not answer.
        """
        started = time.perf_counter()  # a client waits for its connection too
        connection = await Connection.open(parameters, timeout, address=address)
        try:
            identity = await connection.one(
                Identity,
                """SELECT pg_is_in_recovery() AS in_recovery,
                          (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
                          pg_postmaster_start_time() AS started,
                          pg_has_role(current_user, 'pg_monitor', 'USAGE') AS may_monitor""",
            )
        except BaseException:
            await connection.close()
            raise
        latency = time.perf_counter() - started
        return cls(connection, Instance(connection.where, connection.user, identity, latency, connection.endpoints))

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()

    async def ask(self, kind: type[T], sql: str, parameters: Sequence[Any] | None = None) -> list[T]:
        """The rows of one query, each made into a `kind` by its column names, in a read-only transaction."""
        return await self._connection.ask(kind, sql, parameters)

    async def wal(self) -> Wal:
        """Where it, a primary, writes."""
        return await self._connection.one(
            Wal,
            """SELECT (pg_current_wal_lsn() - '0/0')::int8 AS position,
                      ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int AS timeline,
                      (redo_lsn - '0/0')::int8 AS checkpoint_position,
                      extract(epoch FROM clock_timestamp() - checkpoint_time)::float8 AS checkpoint_age,
                      current_setting('synchronous_standby_names') AS synchronous_standby_names,
                      current_setting('synchronous_commit') AS synchronous_commit
               FROM pg_control_checkpoint()""",
        )

    async def senders(self) -> list[Sender]:
        """Who receives WAL from it."""
        return await self._connection.ask(
            Sender,
            """SELECT coalesce(nullif(r.application_name, ''), r.client_addr::text, 'a standby') AS name,
                      host(r.client_addr) AS address, r.state, r.sync_state,
                      r.replay_lsn IS NOT NULL AND coalesce(s.slot_type, 'physical') = 'physical' AS follows,
                      (r.flush_lsn - '0/0')::int8 AS flushed, (r.replay_lsn - '0/0')::int8 AS replayed,
                      extract(epoch FROM r.flush_lag)::float8 AS flush_lag,
                      extract(epoch FROM r.replay_lag)::float8 AS replay_lag, s.slot_name::text AS slot,
                      r.pid AS process, extract(epoch FROM r.reply_time)::float8 AS replied,
                      coalesce(s.slot_type = 'logical', false) AS logical
               FROM pg_stat_replication r LEFT JOIN pg_replication_slots s ON s.active_pid = r.pid ORDER BY 1, r.pid""",
        )

    async def slots(self) -> list[Slot]:
        """Its replication slots; a standby may have slots of its own. Releases before 17 know no failover slots."""
        return await self._connection.ask(
            Slot,
            """SELECT slot_name::text, active, wal_status,
                      pg_wal_lsn_diff(wal.position, restart_lsn)::float8 AS retained_bytes,
                      pg_wal_lsn_diff(wal.position, confirmed_flush_lsn)::float8 AS unconfirmed_bytes,
                      coalesce((to_jsonb(s) ->> 'failover')::bool, false) AS failover,
                      coalesce((to_jsonb(s) ->> 'synced')::bool, false) AS synced,
                      to_jsonb(s) ->> 'invalidation_reason' AS invalidation
               FROM pg_replication_slots s,
                    (SELECT CASE WHEN pg_is_in_recovery() THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
                                 ELSE pg_current_wal_lsn() END AS position) AS wal
               WHERE NOT temporary ORDER BY slot_name""",
        )

    async def sender_slots(self) -> SenderSlots:
        """How many processes it has that send WAL, and how many it may have."""
        return await self._connection.one(
            SenderSlots,
            """SELECT count(*) AS used, current_setting('max_wal_senders')::int AS most
               FROM pg_stat_activity WHERE backend_type = 'walsender'""",
        )

    async def waiting_commits(self) -> set[str]:
        """Names for the commits that wait for synchronous standbys at this moment: the same commit has the same name."""
        rows = await self._connection.ask(
            _Name,
            """SELECT pid::text || ' ' || coalesce(backend_xid::text, '') || ' ' || query_start::text AS name
               FROM pg_stat_activity WHERE wait_event = 'SyncRep'""",
        )
        return {row.name for row in rows}

    async def receiver(self) -> Receiver:
        """How it, a standby, receives and replays WAL."""
        return await self._connection.one(
            Receiver,
            """SELECT w.status, w.received_tli AS timeline,
                      (pg_last_wal_receive_lsn() - '0/0')::int8 AS received,
                      (pg_last_wal_replay_lsn() - '0/0')::int8 AS replayed,
                      pg_is_wal_replay_paused() AS paused,
                      translate(coalesce(substring(w.conninfo FROM '(?:^| )application_name=([^ ]+)'),
                                         substring(w.conninfo FROM 'fallback_application_name=([^ ]+)')), chr(39), '') AS name,
                      w.slot_name::text AS slot, w.sender_host || ':' || w.sender_port AS sender,
                      host(inet_server_addr()) AS address,
                      extract(epoch FROM clock_timestamp() - w.last_msg_receipt_time)::float8 AS silence,
                      (SELECT setting::float8 / 1000 FROM pg_settings WHERE name = 'recovery_min_apply_delay') AS delay
               FROM (SELECT) AS one LEFT JOIN pg_stat_wal_receiver w ON true""",
        )

    async def damages(self) -> list[Damage]:
        """Its databases with pages that failed their checksum, the worst first; none where it keeps no checksums."""
        return await self._connection.ask(
            Damage,
            """SELECT coalesce(datname::text, 'shared catalogs') AS database, checksum_failures AS pages
               FROM pg_stat_database WHERE checksum_failures > 0 ORDER BY checksum_failures DESC""",
        )

    async def freezes(self) -> list[Freeze]:
        """How far its databases are from refusing writes for want of transaction ids, the oldest first."""
        return await self._connection.ask(
            Freeze,
            """SELECT datname::text AS database, age(datfrozenxid) AS xid_age, mxid_age(datminmxid) AS mxid_age
               FROM pg_database ORDER BY greatest(age(datfrozenxid), mxid_age(datminmxid)) DESC""",
        )

    async def archiver(self) -> Archiver:
        """How it archives its WAL."""
        return await self._connection.one(
            Archiver,
            """SELECT current_setting('archive_mode') AS archive_mode,
                      current_setting('archive_command') AS archive_command,
                      coalesce(current_setting('archive_library', true), '') AS archive_library,
                      last_archived_wal, last_archived_time, last_failed_wal, last_failed_time,
                      waiting.ready, waiting.oldest AS oldest_ready,
                      extract(epoch FROM clock_timestamp() - waiting.since)::float8 AS oldest_ready_age,
                      ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int AS timeline,
                      (SELECT setting::int8 FROM pg_settings WHERE name = 'wal_segment_size') AS segment_size
               FROM pg_stat_archiver,
                    (SELECT count(*) AS ready, min(modification) AS since,
                            (array_agg(replace(name, '.ready', '') ORDER BY modification))[1] AS oldest
                     FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready') AS waiting""",
        )

    async def wal_state(self) -> WalState:
        """Up to where it, a primary, has written, and which segments it has finished that are not recycled yet."""
        # Position first: what is finished later than it was read is not needed to recover it.
        written = await self._connection.one(
            _Written,
            """SELECT (pg_current_wal_lsn() - '0/0')::int8 AS position,
                      (SELECT setting::float8 FROM pg_settings WHERE name = 'archive_timeout') AS archive_timeout""",
        )
        # PostgreSQL makes the file when the segment is finished and renames it when it is archived, which keeps its time.
        finished = await self._connection.ask(
            SegmentStatus,
            """SELECT substr(name, 1, 24) AS name, name LIKE '%%.ready' AS waits,
                      extract(epoch FROM clock_timestamp() - modification)::float8 AS age
               FROM pg_ls_archive_statusdir() WHERE name ~ '^[0-9A-F]{24}[.](ready|done)$'""",
            [],
        )
        return WalState(written.position, written.archive_timeout, tuple(finished))

    async def pending(self, names: Collection[str]) -> list[str]:
        """Those of these settings that its next start changes: its configuration files have another value than is in effect."""
        rows = await self._connection.ask(
            _Name,
            "SELECT name FROM pg_settings WHERE pending_restart AND name = ANY(%s) ORDER BY name",
            [list(names)],
        )
        return [row.name for row in rows]

    async def awaited_slots(self) -> list[AwaitedSlot]:
        """The slots that logical subscribers with failover slots wait for (synchronized_standby_slots, since 17)."""
        return await self._connection.ask(
            AwaitedSlot,
            """SELECT btrim(name, ' "') AS name, s.slot_name IS NOT NULL AS present, coalesce(s.active, false) AS active
               FROM unnest(string_to_array(nullif(current_setting('synchronized_standby_slots', true), ''), ',')) AS name
               LEFT JOIN pg_replication_slots s ON s.slot_name = btrim(name, ' "') AND s.slot_type = 'physical'
               WHERE EXISTS (SELECT FROM pg_replication_slots l
                             WHERE l.slot_type = 'logical' AND (to_jsonb(l) ->> 'failover')::bool)
               ORDER BY 1""",
        )

    async def connections(self) -> Connections:
        """How many connections it takes and has."""
        return await self._connection.one(
            Connections,
            """SELECT current_setting('max_connections')::int AS max_connections,
                      current_setting('superuser_reserved_connections')::int
                      + coalesce(current_setting('reserved_connections', true), '0')::int AS reserved,
                      (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS used""",
        )

    async def connection_limits(self) -> list[ConnectionLimit]:
        """What databases and roles, but for the exporter's own, are limited to."""
        return await self._connection.ask(
            ConnectionLimit,
            """WITH used AS (SELECT datid, usesysid FROM pg_stat_activity WHERE backend_type = 'client backend')
               SELECT 'database' AS kind, datname::text AS name, datconnlimit AS most,
                      (SELECT count(*) FROM used WHERE datid = d.oid)::int AS used
               FROM pg_database d WHERE datconnlimit >= 0 AND datallowconn
               UNION ALL
               SELECT 'role', rolname::text, rolconnlimit, (SELECT count(*) FROM used WHERE usesysid = r.oid)::int
               FROM pg_roles r WHERE rolconnlimit >= 0 AND rolcanlogin AND NOT rolsuper AND rolname <> session_user""",
        )

    async def doors(self, pools: Collection[Pool]) -> list[Door]:
        """Whether the databases and roles that these pools name exist, and whether they let anyone in."""
        databases = {pool.database for pool in pools if pool.database is not None}
        roles = {pool.role for pool in pools if pool.role is not None}
        if not databases | roles:
            return []
        return await self._connection.ask(
            Door,
            """SELECT 'database' AS kind, n AS name, d.oid IS NOT NULL AS known,
                      coalesce(d.datallowconn AND d.datconnlimit <> -2, true) AS opens, false AS expired
               FROM unnest(%s::text[]) n LEFT JOIN pg_database d ON d.datname = n
               UNION ALL
               SELECT 'role', n, r.oid IS NOT NULL, coalesce(r.rolcanlogin, true),
                      coalesce(r.rolvaliduntil < clock_timestamp(), false)
               FROM unnest(%s::text[]) n LEFT JOIN pg_roles r ON r.rolname = n""",
            [sorted(databases), sorted(roles)],
        )

    async def figures(self) -> Figures:
        """What it counts itself."""
        row = await self._connection.one(
            _Figures,
            """SELECT current_setting('port')::int AS port, extract(epoch FROM stats_reset)::float8 AS reset_at,
                      extract(epoch FROM clock_timestamp() - stats_reset)::float8 AS reset_age FROM pg_stat_bgwriter""",
        )
        commits = await self._connection.ask(
            _Commits,
            "SELECT datname::text AS name, xact_commit AS count FROM pg_stat_database WHERE datname IS NOT NULL",
        )
        sessions = await self._connection.ask(
            _Ages,
            """SELECT datname::text AS name,
                      array_agg(extract(epoch FROM clock_timestamp() - backend_start)::float8) AS ages
               FROM pg_stat_activity
               WHERE backend_type = 'client backend' AND datname IS NOT NULL
                     AND state IN ('active', 'idle', 'idle in transaction', 'idle in transaction (aborted)') GROUP BY 1""",
        )
        return Figures(
            row.port,
            row.reset_at,
            row.reset_age,
            {commit.name: commit.count for commit in commits},
            {session.name: session.ages for session in sessions},
        )

    async def prepared(self) -> list[Prepared]:
        """Its prepared transactions, the oldest first."""
        return await self._connection.ask(
            Prepared,
            """SELECT gid, database::text, owner::text, extract(epoch FROM clock_timestamp() - prepared)::float8 AS age
               FROM pg_prepared_xacts ORDER BY prepared""",
        )

    async def database(self) -> str:
        """The database that it was asked in."""
        return (await self._connection.one(_Name, "SELECT current_database()::text AS name")).name

    async def tablespaces(self) -> list[str]:
        """The names of the tablespaces that lie outside of the data directory."""
        rows = await self._connection.ask(
            _Name, "SELECT spcname::text AS name FROM pg_tablespace WHERE pg_tablespace_location(oid) <> ''"
        )
        return sorted(row.name for row in rows)

    async def settings(self, names: Collection[str]) -> Settings:
        """These settings: what applies here, and what databases and roles set instead."""
        base = await self._connection.ask(
            _Base,
            """SELECT name, setting, source, current_database()::text AS database
               FROM pg_settings WHERE name = ANY(%s)""",
            [list(names)],
        )
        overrides = await self._connection.ask(
            Setting,
            """SELECT split_part(entry, '=', 1) AS name, substr(entry, strpos(entry, '=') + 1) AS value,
                      d.datname::text AS database, r.rolname::text AS role
               FROM pg_db_role_setting s CROSS JOIN unnest(s.setconfig) AS entry
               LEFT JOIN pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_roles r ON r.oid = s.setrole
               WHERE split_part(entry, '=', 1) = ANY(%s) AND r.rolcanlogin IS NOT FALSE AND d.datallowconn IS NOT FALSE
                     AND r.rolname IS DISTINCT FROM session_user""",
            [list(names)],
        )
        own = {row.name for row in base if row.source in ("user", "database user", "client", "session")}
        elsewhere = {row.name for row in base if row.source in ("database", "global")}
        return Settings(
            base[0].database if base else "",
            {row.name: row.setting for row in base if row.name not in own | elsewhere},
            tuple(overrides),
            hidden=frozenset(row.name for row in base if row.source == "database"),
            masked=frozenset(own),
        )

    async def schema_of(self, extension: str) -> str | None:
        """The schema that an extension is in, quoted where it has to be; None where it is not installed."""
        schemas = await self._connection.ask(
            _Name,
            """SELECT quote_ident(nspname) AS name FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
               WHERE extname = %s""",
            [extension],
        )
        return schemas[0].name if schemas else None

    async def statements(self) -> int | None:
        """How many statements pg_stat_statements has counted; None where the extension is not installed."""
        if (schema := await self.schema_of("pg_stat_statements")) is None:
            return None
        counted = await self._connection.one(
            _Count,
            f"SELECT count(*) FROM {schema}.pg_stat_statements(false)",  # noqa: S608  # quoted by the server
        )
        return counted.count
