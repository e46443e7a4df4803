"""Asks PostgreSQL, Redis and NATS which connections they have of a service."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

import msgspec
from pydantic import AfterValidator, Field

from collectors.shared.decoding import decode
from collectors.shared.dsn import Dsn, parse_dsn
from collectors.systems.connections.model import Connected, Whose, idle_clients
from collectors.systems.postgresql.client.connection import Connection
from collectors.systems.redis.client import Login
from collectors.systems.redis.client import ask as ask_redis
from collectors.systems.redis.model import NodeAddress
from exporter.http import Http, HttpSettings, Trust
from exporter.options import Secret
from exporter.verdict import ProbeError

__all__ = ["CacheClients", "DatabaseClients", "QueueClients", "ask_cache", "ask_database", "ask_queue"]

_PAGE, _PAGES = 1024, 16


def _address(text: str) -> str:
    NodeAddress.parse(text)
    return text


class DatabaseClients(Whose):
    """A PostgreSQL that lists its connections."""

    dsn: Dsn = Field(description="Connection string or URI; where it names several hosts, each of them is asked.")


class CacheClients(Whose):
    """A Redis that lists its clients."""

    redis: Annotated[str, AfterValidator(_address)] = Field(description="host:port of the Redis.")
    username: str | None = Field(None, description="ACL user; Redis's default user when there is only a password.")
    password: Secret | None = Field(None, description="Password of the user.")
    tls: Trust | None = Field(None, description="Speak TLS with it: whom to trust, and who we are.")


class QueueClients(Whose):
    """A NATS whose monitoring endpoint lists its connections."""

    monitoring: HttpSettings = Field(description="The monitoring endpoint of one server, such as http://nats:8222.")


@dataclass(frozen=True, slots=True)
class _Counts:
    active: int
    total: int


async def ask_database(clients: DatabaseClients, timeout: timedelta) -> Connected:
    """The connections that the hosts of the connection string have together. Raises ProbeError when none of them answers."""
    seen: list[tuple[str, _Counts]] = []
    missing: list[ProbeError] = []
    for parameters in parse_dsn(clients.dsn):
        try:
            connection = await Connection.open(parameters, timeout)
        except ProbeError as why:
            missing.append(why)
            continue
        try:
            counts = await connection.one(
                _Counts,
                """SELECT count(*) AS total,
                          count(*) FILTER (WHERE state_change > now() - make_interval(secs => %s)) AS active
                   FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name = %s
                     AND datname = current_database() AND pid <> pg_backend_pid()""",
                [clients.active_within.total_seconds(), clients.client_name],
            )
        except ProbeError as why:
            missing.append(why)
        else:
            seen.append((connection.where, counts))
        finally:
            await connection.close()
    if not seen:
        raise missing[0]
    where, _ = max(seen, key=lambda one: one[1].active)
    active = sum(counts.active for _, counts in seen)
    return Connected(f"PostgreSQL at {where}", active, sum(counts.total for _, counts in seen) - active)


async def ask_cache(clients: CacheClients, timeout: timedelta) -> Connected:
    """The connections that a Redis has. Raises ProbeError when it cannot be asked."""
    address = NodeAddress.parse(clients.redis)
    login = Login(clients.username, clients.password, clients.tls, timeout)
    listing: str = (await ask_redis(address, login, ("CLIENT LIST",))).reply("CLIENT LIST", str)
    idle = idle_clients(listing, clients.client_name)
    active = sum(silence <= clients.active_within for silence in idle)
    return Connected(f"Redis at {address}", active, len(idle) - active)


class _Client(msgspec.Struct, frozen=True):
    name: str = ""


class _Connections(msgspec.Struct, frozen=True):
    total: int
    connections: list[_Client] = []


async def ask_queue(clients: QueueClients) -> Connected:
    """The connections that a NATS server has, which pings its clients, so that dead ones do not stay.

    Raises ProbeError when its monitoring endpoint cannot be asked.
    """
    found, offset = 0, 0
    async with Http(clients.monitoring, connections=1) as http:
        for _ in range(_PAGES):
            reply = await http.get("/connz", params={"limit": str(_PAGE), "offset": str(offset)})
            page = decode(reply, _Connections)
            found += sum(client.name == clients.client_name for client in page.connections)
            offset += _PAGE
            if offset >= page.total or not page.connections:
                break
    return Connected(f"NATS at {clients.monitoring.url}", found)
