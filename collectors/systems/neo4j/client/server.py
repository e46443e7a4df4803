"""Asks a server for all that is judged of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from collectors.shared.attempts import attempt, attempt_all
from collectors.shared.certificate_expiry import certificate_expiry
from collectors.shared.host_port import split_host_port
from collectors.systems.neo4j import model
from collectors.systems.neo4j.client.bolt import Connection, Login, connected
from collectors.systems.neo4j.client.http import version
from collectors.systems.neo4j.model import Look
from exporter.http import Http, Trust
from exporter.verdict import ProbeError

__all__ = ["ask_server"]

_Rows = list[dict[str, Any]]

_INDEXES = "SHOW INDEXES YIELD name, state, populationPercent, owningConstraint"
#: Without the statements themselves, which may hold anything.
_TRANSACTIONS = "SHOW TRANSACTIONS YIELD transactionId, username, status, elapsedTime, resourceInformation"
_SETTINGS = (
    "dbms.security.auth_enabled",
    "dbms.security.auth_max_failed_attempts",
    "dbms.security.auth_minimum_password_length",
    "dbms.security.http_auth_allowlist",
    "server.http.enabled",
    "server.https.enabled",
)


async def ask_server(bolt: str, http: Http | None, login: Login, *, routing: bool) -> Look:
    """What the server at `bolt`, and at `http` where it has that, reports to a user; with `routing` also by way of its routes.

    Raises ProbeError when it does not let the user in.
    """
    async with connected(bolt, login) as connection:
        components = await connection.rows("CALL dbms.components()", "system")
        edition = str(next((row.get("edition") for row in components), "unknown"))
        latency = await attempt(_timed(connection))
        databases = await attempt(connection.rows("SHOW DATABASES YIELD *", "system"))
        servers = await attempt(connection.rows("SHOW SERVERS YIELD *", "system")) if edition == "enterprise" else ()
        settings = await attempt(_settings(connection))
        users = await attempt(_users(connection))
    known = Look(bolt, edition, latency, None, databases, servers, settings, None, None)
    routed, answers, (transactions, indexes) = await asyncio.gather(
        _routed(bolt, login, routing), _version(http), _work(bolt, login, known.populated)
    )
    user, others = (users, {}) if isinstance(users, ProbeError) else (users.get(model.DEFAULT_USER), users)
    return replace(
        known,
        routed=routed,
        user=user,
        http=answers,
        others=tuple(sorted(others.keys() - {model.DEFAULT_USER})),
        indexes=indexes,
        certificates=await _certificates(bolt, http, login),
        transactions=transactions,
    )


async def _certificates(bolt: str, http: Http | None, login: Login) -> dict[str, datetime | ProbeError | None]:
    """When the certificates of Bolt and HTTPS expire."""
    doors = [(bolt, *split_host_port(bolt))] if login.tls is not None else []
    if http is not None and (url := urlsplit(http.settings.url)).scheme == "https" and url.hostname is not None:
        doors.append((http.settings.url, url.hostname, url.port or 443))
    trust = login.tls or Trust()
    found = await attempt_all(certificate_expiry(host, port, trust, login.timeout) for _, host, port in doors)
    return {where: expiry for (where, _, _), expiry in zip(doors, found, strict=True)}


async def _timed(connection: Connection) -> float:
    started = time.perf_counter()
    await connection.rows("RETURN 1")
    return time.perf_counter() - started


async def _settings(connection: Connection) -> dict[str, str]:
    names = ", ".join(f"'{name}'" for name in _SETTINGS)
    rows = await connection.rows(f"SHOW SETTINGS {names} YIELD name, value", "system")
    return {row["name"]: row["value"] for row in rows}


async def _users(connection: Connection) -> dict[str, dict[str, Any]]:
    rows = await connection.rows("SHOW USERS YIELD user, passwordChangeRequired", "system")
    return {row["user"]: row for row in rows}


async def _routed(bolt: str, login: Login, routing: bool) -> float | ProbeError | None:
    """How long a statement takes by way of the server's routing table."""
    if not routing:
        return None
    async with connected(bolt, login, routed=True) as connection:
        return await attempt(_timed(connection))


async def _work(
    bolt: str, login: Login, databases: Iterable[str]
) -> tuple[_Rows | ProbeError, dict[str, _Rows | ProbeError]]:
    """The open transactions, and the indexes of each database, over a connection of their own.

    A server that has just started takes long for them.
    """
    async with connected(bolt, login) as connection:
        transactions = await attempt(connection.rows(_TRANSACTIONS, "system"))
        return transactions, {name: await attempt(connection.rows(_INDEXES, name)) for name in databases}


async def _version(http: Http | None) -> str | ProbeError | None:
    return None if http is None else await attempt(version(http))
