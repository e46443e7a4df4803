"""Reads which migrations a database has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from collectors.shared.dsn import parse_dsn
from collectors.systems.postgresql.client.connection import Connection
from collectors.systems.postgresql.model.migrations import Applied, Migrations, Tool
from exporter.verdict import ProbeError, Reason

__all__ = ["Found", "read_migrations"]

#: The rows of each tool's table in the order in which they were written: name, state, what orders them, age in seconds.
_QUERIES: Mapping[Tool, str] = {
    Tool.ALEMBIC: "SELECT version_num AS name, 'applied' AS state, '' AS position, 0.0::float8 AS seconds FROM {table}",
    Tool.PRISMA: """
        SELECT migration_name AS name, '' AS position, extract(epoch FROM now() - started_at)::float8 AS seconds,
               CASE WHEN rolled_back_at IS NOT NULL THEN 'rolled back' WHEN finished_at IS NOT NULL THEN 'applied'
                    WHEN logs <> '' THEN 'failed' ELSE 'running' END AS state
        FROM {table} ORDER BY started_at, finished_at NULLS LAST""",
    Tool.TYPEORM: """
        SELECT name, 'applied' AS state, "timestamp"::text AS position, 0.0::float8 AS seconds FROM {table} ORDER BY id""",
    Tool.KNEX: "SELECT name, 'applied' AS state, '' AS position, 0.0::float8 AS seconds FROM {table} ORDER BY id",
    Tool.DJANGO: """
        SELECT app || '.' || name AS name, 'applied' AS state, '' AS position, 0.0::float8 AS seconds
        FROM {table} ORDER BY id""",
    Tool.FLYWAY: """
        SELECT coalesce(version, description) AS name, '' AS position, 0.0::float8 AS seconds,
               CASE WHEN NOT success THEN 'failed' WHEN type LIKE 'UNDO%%' OR type = 'DELETE' THEN 'rolled back'
                    ELSE 'applied' END AS state
        FROM {table} WHERE type <> 'SCHEMA' ORDER BY installed_rank""",
    Tool.LIQUIBASE: """
        SELECT author || ':' || id AS name, orderexecuted::text AS position, 0.0::float8 AS seconds,
               CASE exectype WHEN 'FAILED' THEN 'failed' WHEN 'RERAN' THEN 'again' ELSE 'applied' END AS state
        FROM {table} ORDER BY orderexecuted, dateexecuted""",
}
#: Who holds the lock, and for how many seconds at least: Liquibase writes the local time of whoever took it.
_LOCKS: Mapping[Tool, str] = {
    Tool.KNEX: "SELECT 'the lock' AS holder, 0.0::float8 AS seconds FROM {table} WHERE is_locked <> 0",
    Tool.LIQUIBASE: """
        SELECT concat_ws(' ', lockedby, lockgranted) AS holder,
               coalesce(extract(epoch FROM localtimestamp - lockgranted)::float8 - 14 * 3600, 0.0) AS seconds
        FROM {table} WHERE locked""",
}


@dataclass(frozen=True, slots=True)
class _State:
    recovering: bool
    present: bool
    lockable: bool


@dataclass(frozen=True, slots=True)
class _Lock:
    holder: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Found:
    """What a database has: the rows of the tool's table (None without one), who holds its lock, and since when at least."""

    where: str
    rows: list[Applied] | None
    holder: str | None = None
    seconds: float = 0.0


async def read_migrations(migrations: Migrations, timeout: timedelta) -> Found:
    """The migrations that the primary has. Raises ProbeError when no primary answers, or a table may not be read."""
    missing: list[ProbeError] = []
    for parameters in parse_dsn(migrations.dsn):
        try:
            connection = await Connection.open(parameters, timeout)
        except ProbeError as why:
            missing.append(why)
            continue
        try:
            found = await _read(connection, migrations)
        finally:
            await connection.close()
        if found is not None:
            return found
        missing.append(
            ProbeError(
                f"PostgreSQL at {connection.where} is a standby, so its migrations were not checked.",
                Reason.MISCONFIGURED,
            )
        )
    raise missing[0]


async def _read(connection: Connection, migrations: Migrations) -> Found | None:
    """The migrations; None on a standby, which may be behind."""
    schema, table, lock = migrations.schema_name, migrations.table_name, migrations.lock_table
    state = await connection.one(
        _State,
        """SELECT pg_is_in_recovery() AS recovering,
                  coalesce(bool_or(relname = %s), false) AS present, coalesce(bool_or(relname = %s), false) AS lockable
           FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
           WHERE nspname = %s AND relkind IN ('r', 'p', 'v', 'f')""",
        [table, lock or table, schema],
    )
    if state.recovering:
        return None
    where = f"PostgreSQL at {connection.where}"
    if not state.present:
        return Found(where, None)
    rows = await connection.ask(Applied, _QUERIES[migrations.tool].format(table=f'"{schema}"."{table}"'))
    locks = []
    if lock is not None and state.lockable:
        locks = await connection.ask(_Lock, _LOCKS[migrations.tool].format(table=f'"{schema}"."{lock}"'))
    return Found(where, rows, *((locks[0].holder, locks[0].seconds) if locks else ()))
