"""PgBouncer, asked on its admin console: the pools that clients meet before they meet PostgreSQL."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from pydantic import SecretStr

from collectors.shared.dsn import Parameters, parse_dsn
from collectors.systems.postgresql.client.connection import Connection
from collectors.systems.postgresql.client.instances import addresses_of, leads_nowhere
from collectors.systems.postgresql.model.pgbouncer import Demand, Endpoint, Pooler
from exporter.verdict import ProbeError

__all__ = ["KNOCK", "read_poolers", "read_waits"]

#: A database that nobody configures: whether PgBouncer would open a pool for it shows whether it would for any (`*`).
KNOCK = "checklist_exporter_probe"

_CONSOLE = "pgbouncer"


async def read_poolers(dsn: SecretStr, timeout: timedelta, *, knock: bool = True) -> list[Pooler]:
    """Every PgBouncer that the connection string names, each once, at each address of a name. Its user must be in `stats_users`.

    With `knock`, a connection to a database that nobody configures is tried, as `*` is listed nowhere before it is used. Raises
    ProbeError when one of them cannot be asked.
    """
    async with AsyncExitStack() as resources:
        consoles = await _consoles(dsn, timeout, resources)
        poolers = await asyncio.gather(*(_read(console, timeout, knock) for console in consoles))
    return list(poolers)


async def read_waits(dsn: SecretStr, timeout: timedelta) -> dict[str, float]:
    """How many seconds clients waited for a connection on average in the last period of statistics, by PgBouncer and database.

    Raises ProbeError when one of the PgBouncers cannot be asked.
    """
    waits: dict[str, float] = {}
    async with AsyncExitStack() as resources:
        for console in await _consoles(dsn, timeout, resources):
            for row in await console.connection.ask(dict, "SHOW STATS"):
                if row["database"] != _CONSOLE:
                    waits[f"database {row['database']} of PgBouncer at {console.connection.where}"] = (
                        int(row["avg_wait_time"]) / 1e6
                    )
    return waits


@dataclass(frozen=True, slots=True, eq=False)
class _Console:
    """The admin console of one PgBouncer: at an `address` of `host` where it has several, and which others it may be as well."""

    connection: Connection
    host: Parameters
    address: str | None = None
    perhaps: tuple[str, ...] = ()


async def _consoles(dsn: SecretStr, timeout: timedelta, resources: AsyncExitStack) -> list[_Console]:
    """The console of each PgBouncer that the connection string names, at each address of a name. Raises ProbeError."""
    found = await asyncio.gather(*(_named(host, timeout, resources) for host in parse_dsn(dsn)), return_exceptions=True)
    for error in found:
        if isinstance(error, BaseException):
            raise error
    return await _distinct([console for named in found if isinstance(named, list) for console in named])


async def _named(host: Parameters, timeout: timedelta, resources: AsyncExitStack) -> list[_Console]:
    async def one(address: str | None) -> _Console:
        connection = await Connection.open({**host, "dbname": _CONSOLE}, timeout, console=True, address=address)
        resources.push_async_callback(connection.close)
        return _Console(connection, host, address)

    addresses = await addresses_of(host)
    if len(addresses) < 2:
        return [await one(None)]
    found = await asyncio.gather(*map(one, addresses), return_exceptions=True)
    consoles = [console for console in found if isinstance(console, _Console)]
    for address, error in zip(addresses, found, strict=True):
        if isinstance(error, BaseException) and not (consoles and leads_nowhere(address, str(error))):
            raise error
    return consoles


async def _distinct(consoles: Sequence[_Console]) -> list[_Console]:
    """Each PgBouncer once. It has no name, but lists who is connected to it: one that lists another's connection is the same.

    One that does not list even its own, as connections are translated on their way, may be any other at the addresses of its name:
    that one says so.
    """
    if len(consoles) < 2:
        return list(consoles)
    listed = dict(zip(consoles, await asyncio.gather(*map(_clients, consoles)), strict=True))
    ports = {console: port for console in consoles if listed[console][port := console.connection.local_port]}
    found: list[_Console] = []
    for console in ports:
        others = (other for other in found if listed[other][ports[console]] > (ports[other] == ports[console]))
        if next(others, None) is None:
            found.append(console)
    for console in consoles:
        if console not in ports:
            at = next((at for at, other in enumerate(found) if other.host is console.host), None)
            if at is None:
                found.append(console)
            else:
                found[at] = replace(found[at], perhaps=(*found[at].perhaps, console.connection.where))
    return found


async def _clients(console: _Console) -> Counter[int | None]:
    """The ports that clients of its console come from."""
    rows = await console.connection.ask(dict, "SHOW CLIENTS")
    return Counter(int(row["port"]) for row in rows if row["database"] == _CONSOLE)


async def _read(console: _Console, timeout: timedelta, knock: bool) -> Pooler:
    connection = console.connection
    pools = [pool for pool in await connection.ask(dict, "SHOW POOLS") if pool["database"] != _CONSOLE]
    databases = await _databases(connection)
    listed = {name: row for name, row in databases.items() if name != KNOCK}
    if not listed:  # a `*` in its configuration is not listed before somebody used it
        raise ProbeError(
            f"PgBouncer at {connection.where} lists no database, so what its pools may reach was not checked."
        )
    knocked = databases.get(KNOCK)
    if knock and knocked is None:
        knocked = await _knock(console, timeout)
    settings = {str(row["key"]): str(row["value"]) for row in await connection.ask(dict, "SHOW CONFIG")}
    lists = {str(row["list"]): row["items"] for row in await connection.ask(dict, "SHOW LISTS")}
    queries = {
        row["database"]: int(row.get("total_query_count") or 0) for row in await connection.ask(dict, "SHOW STATS")
    }
    pools = [pool for pool in pools if pool["database"] != KNOCK]
    stopped = sorted(name for name, row in listed.items() if row.get("paused") or row.get("disabled"))
    unserved = [pool for pool in pools if pool["database"] not in stopped and not _sum(pool, "sv_")]
    users: defaultdict[str, set[str]] = defaultdict(set)
    for pool in pools:
        users[str(pool["database"])].add(str(pool["user"]))
    most_by_user = int(settings.get("max_user_connections") or 0)
    addresses = await _resolve(str(row["host"] or "") for row in listed.values())
    return Pooler(
        connection.where,
        tuple(_demand(name, row, users[name], most_by_user, addresses) for name, row in sorted(listed.items())),
        sum(int(pool["cl_waiting"]) for pool in pools),
        max((int(pool["maxwait"]) + int(pool["maxwait_us"]) / 1e6 for pool in pools), default=0.0),
        clients=int(lists.get("used_clients") or 0),
        most_clients=int(settings["max_client_conn"]) if "max_client_conn" in settings else None,
        further=_further(knocked, listed),
        stopped=tuple(stopped),
        unserved={_called(pool): waiting for pool in unserved if (waiting := int(pool["cl_waiting"]))},
        unused=tuple(
            _called(pool) for pool in unserved if not _sum(pool, "cl_") and queries.get(pool["database"]) == 0
        ),
        perhaps=console.perhaps,
        shared_port=settings.get("so_reuseport", "0") not in ("0", "off", "no", "false"),
    )


def _sum(pool: Mapping[str, Any], prefix: str) -> int:
    return sum(int(value or 0) for name, value in pool.items() if name.startswith(prefix))


def _called(pool: Mapping[str, Any]) -> str:
    return f"database {pool['database']} as role {pool['user']}"


async def _databases(connection: Connection) -> dict[str, dict[str, Any]]:
    return {str(row["name"]): row for row in await connection.ask(dict, "SHOW DATABASES") if row["name"] != _CONSOLE}


async def _knock(console: _Console, timeout: timedelta) -> dict[str, Any] | None:
    """What the console lists of the database that nobody configures while it is tried; None where it is refused at once.

    PgBouncer lists what `*` stands for only while somebody uses it; whether the server lets anybody in does not matter.
    """
    trying = asyncio.create_task(_try(console, timeout))
    try:
        while True:
            tried = trying.done()
            if listed := (await _databases(console.connection)).get(KNOCK):
                return listed
            if tried:
                return None
            await asyncio.sleep(0.02)
    finally:
        trying.cancel()
        await asyncio.gather(trying, return_exceptions=True)


async def _try(console: _Console, timeout: timedelta) -> None:
    with suppress(ProbeError):
        connection = await Connection.open({**console.host, "dbname": KNOCK}, timeout, address=console.address)
        await connection.close()


def _most(row: Mapping[str, Any], users: int, most_by_user: int = 0) -> int:
    """How many connections a database's pools may reach."""
    # `reserve_pool` is named `reserve_pool_size` from 1.24 on. A database that nobody used yet will have a pool too.
    each = int(row["pool_size"]) + int(row.get("reserve_pool_size", row.get("reserve_pool", 0)) or 0)
    if most_by_user:
        each = min(each, most_by_user)
    limit = int(row["max_connections"] or 0)
    return min(each * max(1, users), limit) if limit else each * max(1, users)


def _demand(
    name: str, row: Mapping[str, Any], users: set[str], most_by_user: int, addresses: Mapping[str, frozenset[str]]
) -> Demand:
    hosts = str(row["host"] or "").split(",")
    endpoints = tuple(Endpoint(host, int(row["port"] or 5432), addresses.get(host, frozenset())) for host in hosts)
    roles = {str(row["force_user"])} if row.get("force_user") else users
    return Demand(
        name,
        str(row["database"]),
        endpoints,
        _most(row, len(users), most_by_user),
        dict.fromkeys(roles, _most(row, 1, most_by_user)),
    )


def _further(knocked: Mapping[str, Any] | None, listed: Mapping[str, Mapping[str, Any]]) -> int | None:
    """The size of the pool that `*` would open, unless what is listed looks as if it came from `*`."""
    if knocked is None:
        return None
    alike = ("host", "port", "pool_size", "max_connections", "pool_mode")
    for name, row in listed.items():
        if row["database"] == name and all(row.get(key) == knocked.get(key) for key in alike):
            return None
    return _most(knocked, 1)


async def _resolve(hosts: Iterable[str]) -> dict[str, frozenset[str]]:
    """The addresses of these hosts (lists of them are taken apart); of none that this machine's resolver does not know."""
    names = sorted({name for host in hosts for name in host.split(",") if name and not name.startswith("/")})
    found = await asyncio.gather(*map(_addresses, names))
    return dict(zip(names, found, strict=True))


async def _addresses(name: str) -> frozenset[str]:
    with suppress(OSError, UnicodeError, TimeoutError):
        async with asyncio.timeout(1):
            found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
            return frozenset(str(address[0]) for *_, address in found)
    return frozenset()
