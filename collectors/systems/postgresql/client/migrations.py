"""Reads which migrations a database has."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from collectors.shared.dsn import parse_dsn
from collectors.systems.postgresql.client.connection import Connection
from collectors.systems.postgresql.model.migrations import Alembic, Revisions
from exporter.verdict import ProbeError, Reason

__all__ = ["read_revisions"]


@dataclass(frozen=True, slots=True)
class _State:
    recovering: bool
    present: bool


@dataclass(frozen=True, slots=True)
class _Version:
    version_num: str


async def read_revisions(alembic: Alembic, timeout: timedelta) -> Revisions:
    """The revisions that the primary has. Raises ProbeError when no primary answers, or the table may not be read."""
    missing: list[ProbeError] = []
    for parameters in parse_dsn(alembic.dsn):
        try:
            connection = await Connection.open(parameters, timeout)
        except ProbeError as why:
            missing.append(why)
            continue
        try:
            found = await _read(connection, alembic)
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


async def _read(connection: Connection, alembic: Alembic) -> Revisions | None:
    """The revisions; None on a standby, which may be behind."""
    state = await connection.one(
        _State,
        """SELECT pg_is_in_recovery() AS recovering,
                  EXISTS (SELECT FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
                          WHERE nspname = %s AND relname = %s) AS present""",
        [alembic.schema_name, alembic.table],
    )
    if state.recovering:
        return None
    if not state.present:
        return Revisions(connection.where, None)
    rows = await connection.ask(_Version, f'SELECT version_num FROM "{alembic.schema_name}"."{alembic.table}"')  # noqa: S608
    return Revisions(connection.where, frozenset(row.version_num for row in rows))
