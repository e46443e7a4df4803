"""What an instance is asked, in SQL: one method a question."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from collectors.systems.postgresql.client.connection import Connection, Parameters
from collectors.systems.postgresql.model.instance import (
    Archiver,
    Connections,
    Identity,
    Instance,
    Logging,
    Receiver,
    Sender,
    Setting,
    Slot,
    libraries,
)

__all__ = ["Session"]

_LOGGING = [
    "log_min_duration_statement",
    "log_min_messages",
    *(f"auto_explain.{name}" for name in ("log_min_duration", "log_level", "sample_rate")),
]


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
class _Count:
    count: int


class Session:
    """One instance that answered, for one run. Every method raises ProbeError when the question is not answered in time."""

    def __init__(self, connection: Connection, instance: Instance) -> None:
        self._connection = connection
        self.instance = instance

    @classmethod
    async def open(cls, parameters: Parameters, timeout: timedelta) -> Self:
        """Connect to one instance and ask what it is, each within `timeout`. Raises ProbeError when it does not answer."""
        connection = await Connection.open(parameters, timeout)
        try:
            started = time.perf_counter()
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
        return cls(connection, Instance(connection.where, connection.user, identity, time.perf_counter() - started))

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()

    async def senders(self) -> list[Sender]:
        """Who receives WAL from it."""
        return await self._connection.ask(
            Sender,
            """SELECT coalesce(nullif(r.application_name, ''), r.client_addr::text, 'a standby') AS name,
                      r.state,
                      r.replay_lsn IS NOT NULL AND coalesce(s.slot_type, 'physical') = 'physical' AS follows,
                      pg_wal_lsn_diff(pg_current_wal_lsn(), r.replay_lsn)::float8 AS lag_bytes
               FROM pg_stat_replication r LEFT JOIN pg_replication_slots s ON s.active_pid = r.pid""",
        )

    async def slots(self) -> list[Slot]:
        """Its replication slots."""
        return await self._connection.ask(
            Slot,
            """SELECT slot_name::text, active, wal_status,
                      coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::float8 AS retained_bytes
               FROM pg_replication_slots WHERE NOT temporary""",
        )

    async def receiver(self) -> Receiver:
        """How it, a standby, receives and replays WAL."""
        return await self._connection.one(
            Receiver,
            """SELECT (SELECT status FROM pg_stat_wal_receiver) AS status,
                      pg_last_wal_receive_lsn() <= pg_last_wal_replay_lsn() AS caught_up,
                      pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::float8 AS behind_bytes,
                      extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8 AS behind_seconds,
                      pg_is_wal_replay_paused() AS paused""",
        )

    async def archiver(self) -> Archiver:
        """How it archives its WAL."""
        return await self._connection.one(
            Archiver,
            """SELECT current_setting('archive_mode') AS archive_mode,
                      current_setting('archive_command') AS archive_command,
                      coalesce(current_setting('archive_library', true), '') AS archive_library,
                      last_archived_wal, last_archived_time, last_failed_wal, last_failed_time,
                      (SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready') AS ready
               FROM pg_stat_archiver""",
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

    async def tablespaces(self) -> list[str]:
        """The names of the tablespaces that lie outside of the data directory."""
        rows = await self._connection.ask(
            _Name, "SELECT spcname::text AS name FROM pg_tablespace WHERE pg_tablespace_location(oid) <> ''"
        )
        return sorted(row.name for row in rows)

    async def preloaded(self) -> set[str]:
        """The libraries that every session has."""
        row = await self._connection.one(
            _Name,
            """SELECT concat_ws(',', current_setting('shared_preload_libraries'),
                                     current_setting('session_preload_libraries')) AS name""",
        )
        return libraries(row.name)

    async def logging(self, roles: Iterable[str]) -> Logging:
        """What slow query logging goes by: what applies here, and what databases and roles set instead.

        Only the settings of `roles` count, or those of every role when there are none.
        """
        base = await self._connection.ask(
            _Base,
            """SELECT name, setting, source, current_database()::text AS database
               FROM pg_settings WHERE name = ANY(%s)""",
            [_LOGGING],
        )
        overrides = await self._connection.ask(
            Setting,
            """SELECT split_part(entry, '=', 1) AS name, substr(entry, strpos(entry, '=') + 1) AS value,
                      d.datname::text AS database, r.rolname::text AS role
               FROM pg_db_role_setting s CROSS JOIN unnest(s.setconfig) AS entry
               LEFT JOIN pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_roles r ON r.oid = s.setrole
               WHERE split_part(entry, '=', 1) = ANY(%s)""",
            [_LOGGING],
        )
        counting = set(roles)
        return Logging(
            (
                *(
                    Setting(row.name, row.setting, row.database if row.source == "database" else None, None)
                    for row in base
                ),
                *(setting for setting in overrides if not counting or setting.role is None or setting.role in counting),
            ),
            auto_explain="auto_explain" in await self.preloaded(),
            masked=any(row.source in ("user", "database user", "client", "session") for row in base),
        )

    async def setting(self, name: str) -> str:
        """The value of a setting in the database asked."""
        return (await self._connection.one(_Name, "SELECT current_setting(%s) AS name", [name])).name

    async def statements(self) -> int | None:
        """How many statements pg_stat_statements has counted; None where the extension is not installed."""
        schemas = await self._connection.ask(
            _Name,
            """SELECT quote_ident(nspname) AS name FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
               WHERE extname = 'pg_stat_statements'""",
        )
        if not schemas:
            return None
        counted = await self._connection.one(
            _Count,
            f"SELECT count(*) FROM {schemas[0].name}.pg_stat_statements(false)",  # noqa: S608  # quoted by the server
        )
        return counted.count
