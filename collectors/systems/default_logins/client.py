"""One try of a default login. Each is one request to let somebody in, never repeated here."""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from typing import Any

from pydantic import SecretStr

from collectors.systems.default_logins.model.options import DefaultLogin
from collectors.systems.default_logins.model.tries import Outcome
from collectors.systems.nats.client import connection as nats
from collectors.systems.neo4j.client import bolt as neo4j
from collectors.systems.neo4j.model import Entry
from collectors.systems.redis import client as redis
from collectors.systems.redis.model import NodeAddress
from exporter.http import Http, HttpSettings, Trust
from exporter.options import format_duration
from exporter.verdict import ProbeError, Reason
from exporter.words import one_line, os_reason

__all__ = ["is_there", "knock"]

_OF_EXAMPLES = "foobared"
"""The password in the example configuration of Redis."""


async def is_there(login: DefaultLogin) -> str:
    """Connect, send nothing and hang up; return the address that answered.

    Raises ProbeError where nobody listens: a try would show no more, and would count.
    """
    host, port = login.endpoint
    try:
        async with asyncio.timeout(login.timeout.total_seconds()):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        why = f"did not answer within {format_duration(login.timeout)}"
        raise ProbeError(f"{login.title} {why}.", Reason.TIMEOUT) from None
    except (OSError, UnicodeError) as error:
        why = os_reason(error) if isinstance(error, OSError) else "it is no valid host name"
        raise ProbeError(f"{login.title} cannot be reached: {why}.", Reason.UNREACHABLE) from None
    address = str(writer.get_extra_info("peername")[0])
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return address


async def knock(login: DefaultLogin) -> Outcome:
    """Whether the default login is let in. Raises ProbeError where the server does not say: another answer is no refusal."""
    match login.kind:
        case "grafana":
            return await _grafana(login)
        case "postgresql":
            return await _postgresql(login)
        case "redis":
            return await _redis(login)
        case "neo4j":
            return await _neo4j(login)
        case "nats":
            return await _nats(login)


async def _grafana(login: DefaultLogin) -> Outcome:
    """By basic authentication, which makes no session. That Grafana refuses it altogether, or has locked the user, is no answer."""
    settings = HttpSettings(
        url=login.address,
        username="admin",
        password=SecretStr("admin"),
        tls=login.tls or Trust(),
        timeout=login.timeout,
    )
    async with Http(settings) as http:
        reply = await http.get("/api/user", expect=None)
    document: Any = None
    with suppress(ProbeError):
        document = reply.json()
    found = document if isinstance(document, dict) else {}
    if reply.status == 200 and "login" in found:
        return Outcome.ACCEPTED
    message, kind = str(found.get("message", "")).lower(), str(found.get("messageId", ""))
    if reply.status == 401 and ("invalid username or password" in message or kind.startswith("password-auth.")):
        return Outcome.REFUSED
    raise ProbeError(
        f"{login.title} answered {reply.status} to a default login, not that the password is wrong: basic authentication may be "
        "off, or the user locked.",
        Reason.NOT_VERIFIED,
    )


async def _postgresql(login: DefaultLogin) -> Outcome:
    """By one connection to one address: libpq would come again without TLS (`prefer`), and psycopg to each address of the name."""
    import psycopg

    host, port = login.endpoint
    seconds = login.timeout.total_seconds()
    settings: dict[str, Any] = {
        "host": host,
        "hostaddr": await is_there(login),
        "port": port,
        **dict.fromkeys(("user", "password", "dbname"), "postgres"),
        "connect_timeout": math.ceil(seconds),
        "application_name": "checklist-exporter",
        "gssencmode": "disable",
        "options": "",
        **_trust(login.tls),
    }
    try:
        async with asyncio.timeout(seconds):
            connection = await psycopg.AsyncConnection.connect("", **settings)
    except (TimeoutError, psycopg.errors.ConnectionTimeout):
        raise ProbeError(
            f"{login.title} let nobody in within {format_duration(login.timeout)}.", Reason.TIMEOUT
        ) from None
    except (psycopg.Error, OSError) as error:
        text = str(error)
        if "password authentication failed" in text:
            return Outcome.REFUSED
        # Both are said to those alone who were let in.
        if 'database "postgres" does not exist' in text or 'permission denied for database "postgres"' in text:
            return Outcome.ACCEPTED
        last = one_line(text.strip().splitlines()[-1] if text.strip() else type(error).__name__)
        raise ProbeError(
            f"{login.title} did not say whether the password is wrong: {last}.", Reason.NOT_VERIFIED
        ) from None
    await connection.close()
    return Outcome.ACCEPTED


def _trust(tls: Trust | None) -> dict[str, str]:
    """TLS as libpq has it: with it or without, and never one after the other."""
    if tls is None:
        return {"sslmode": "disable"}
    files = {"sslrootcert": tls.ca_file, "sslcert": tls.cert_file, "sslkey": tls.key_file}
    given = {name: str(file) for name, file in files.items() if file is not None}
    return (
        {"sslmode": "require"} | given
        if tls.insecure_skip_verify
        else {"sslmode": "verify-full", "sslrootcert": "system"} | given
    )


async def _redis(login: DefaultLogin) -> Outcome:
    for password in (None, SecretStr(_OF_EXAMPLES)):
        entry = redis.Login(None, password, login.tls, login.timeout)
        try:
            answers = await redis.ask(NodeAddress(*login.endpoint), entry, ["DBSIZE"])
        except ProbeError as why:
            if why.reason is not Reason.DENIED:
                raise
            continue
        reply = answers.replies["DBSIZE"]
        if not isinstance(reply, Exception):
            return Outcome.ACCEPTED
        if not str(reply).startswith(
            ("NOAUTH", "NOPERM", "Authentication required", "this user has no permissions", "User ")
        ):
            raise ProbeError(f"{login.title} did not say whether it lets in: {one_line(reply)}.", Reason.NOT_VERIFIED)
    return Outcome.REFUSED


async def _neo4j(login: DefaultLogin) -> Outcome:
    entry = await neo4j.knock(login.address, neo4j.Login("neo4j", SecretStr("neo4j"), login.tls, login.timeout))
    if entry is Entry.LOCKED:
        raise ProbeError(f"{login.title} has locked the user neo4j for now.", Reason.NOT_VERIFIED)
    return Outcome.REFUSED if entry is Entry.REFUSED else Outcome.ACCEPTED  # also to one who has to change it first


async def _nats(login: DefaultLogin) -> Outcome:
    try:
        async with nats.connected(login.address, nats.Login(None, None, None, None, None, login.tls, login.timeout)):
            return Outcome.ACCEPTED
    except ProbeError as why:
        if why.reason is Reason.DENIED:
            return Outcome.REFUSED
        raise
