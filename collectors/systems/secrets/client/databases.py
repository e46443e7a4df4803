"""Who is connected to a PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass

from collectors.shared.dsn import parse_dsn
from collectors.systems.postgresql.client.connection import Connection
from collectors.systems.secrets.model.databases import Client
from collectors.systems.secrets.model.endpoints import DatabaseLogin
from exporter.verdict import ProbeError, Reason

__all__ = ["connected"]


@dataclass(frozen=True, slots=True)
class _Right:
    allowed: bool


async def connected(database: DatabaseLogin) -> list[Client]:
    """The roles that are connected, and from where, but for the exporter's own. Raises ProbeError when that is not shown."""
    found: list[Client] = []
    for host in parse_dsn(database.dsn):
        connection = await Connection.open(host, database.timeout)
        try:
            right = await connection.one(
                _Right, "SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS allowed"
            )
            if not right.allowed:
                raise ProbeError(
                    f"Role {connection.user} of database {database.name} lacks pg_monitor, so it is not shown who is connected.",
                    Reason.DENIED,
                )
            found += await connection.ask(
                Client,
                """SELECT DISTINCT a.usename::text AS role, coalesce(host(a.client_addr), '') AS address,
                          (SELECT coalesce(min(p.rolname::text) FILTER (WHERE p.oid = r.oid), min(p.rolname::text), '')
                             FROM pg_roles p
                            WHERE (p.rolsuper OR p.rolname IN ('pg_execute_server_program', 'pg_write_server_files',
                                                               'pg_read_server_files'))
                              AND CASE WHEN r.rolsuper THEN p.oid = r.oid ELSE pg_has_role(r.oid, p.oid, 'MEMBER') END) AS power,
                          (SELECT coalesce(string_agg(DISTINCT attribute, ' ' ORDER BY attribute), '')
                             FROM pg_roles p, unnest(ARRAY[CASE WHEN p.rolcreaterole THEN 'CREATEROLE' END,
                                                           CASE WHEN p.rolbypassrls THEN 'BYPASSRLS' END,
                                                           CASE WHEN p.rolreplication THEN 'REPLICATION' END]) AS attribute
                            WHERE attribute IS NOT NULL AND pg_has_role(r.oid, p.oid, 'MEMBER') AND NOT r.rolsuper) AS attributes
                   FROM pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid
                   WHERE a.backend_type = 'client backend' AND a.pid <> pg_backend_pid()""",
            )
        finally:
            await connection.close()
    return found
