"""PgBouncer, asked on its admin console: the pools that clients meet before they meet PostgreSQL."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

from pydantic import SecretStr

from collectors.systems.postgresql.client.connection import Connection, Parameters, parse_dsn
from collectors.systems.postgresql.model.pgbouncer import Pooler
from exporter.verdict import ProbeError

__all__ = ["read_poolers"]


async def read_poolers(dsn: SecretStr, timeout: timedelta) -> list[Pooler]:
    """Every PgBouncer that the connection string names. Its user must be in `stats_users`.

    Raises ProbeError when one of them cannot be asked.
    """
    found = await asyncio.gather(*(_read(host, timeout) for host in parse_dsn(dsn)), return_exceptions=True)
    for error in found:
        if isinstance(error, BaseException):
            raise error
    return [pooler for pooler in found if isinstance(pooler, Pooler)]


async def _read(host: Parameters, timeout: timedelta) -> Pooler:
    connection = await Connection.open({"dbname": "pgbouncer", **host}, timeout, console=True)
    try:
        pools = [pool for pool in await connection.ask(dict, "SHOW POOLS") if pool["database"] != "pgbouncer"]
        databases = {
            row["name"]: row for row in await connection.ask(dict, "SHOW DATABASES") if row["name"] != "pgbouncer"
        }
    finally:
        await connection.close()
    if not databases:  # a `*` in its configuration is not listed before somebody used it
        raise ProbeError(
            f"PgBouncer at {connection.where} lists no database, so what its pools may reach was not seen."
        )
    users = Counter(pool["database"] for pool in pools)
    connections = 0
    for name, database in databases.items():
        # `reserve_pool` is named `reserve_pool_size` from 1.24 on. A database that nobody used yet will have a pool too.
        reserve = database.get("reserve_pool_size", database.get("reserve_pool", 0))
        most = (int(database["pool_size"]) + int(reserve or 0)) * max(1, users[name])
        limit = int(database["max_connections"] or 0)
        connections += min(most, limit) if limit else most
    return Pooler(
        connection.where,
        connections,
        sum(int(pool["cl_waiting"]) for pool in pools),
        max((int(pool["maxwait"]) + int(pool["maxwait_us"]) / 1e6 for pool in pools), default=0.0),
    )
