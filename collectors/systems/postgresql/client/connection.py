"""PostgreSQL by psycopg: one read-only connection to one instance, for one run."""

from __future__ import annotations

import asyncio
import math
import os
import re
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pydantic import SecretStr

from exporter.options import format_duration
from exporter.verdict import ProbeError

if TYPE_CHECKING:
    import psycopg

__all__ = ["APPLICATION_NAME", "Connection", "Parameters", "parse_dsn"]

APPLICATION_NAME = "checklist-exporter"

T = TypeVar("T")
Parameters = Mapping[str, str]


def parse_dsn(dsn: SecretStr) -> list[Parameters]:
    """The connection parameters of every host that a connection string or URI names, in its order.

    Raises ValueError, which repeats nothing of it, when libpq would not understand it.
    """
    import psycopg

    try:
        parsed = psycopg.conninfo.conninfo_to_dict(dsn.get_secret_value())
    except psycopg.ProgrammingError:
        raise ValueError("expected a PostgreSQL connection string such as postgresql://user@host/database") from None
    given = {name: str(value) for name, value in parsed.items() if value is not None}
    # Each instance is asked by itself, so libpq shall not choose among them.
    for choice in ("target_session_attrs", "load_balance_hosts"):
        given.pop(choice, None)
    lists = {name: given[name].split(",") for name in ("host", "hostaddr", "port") if name in given}
    hosts = lists.get("host") or lists.get("hostaddr") or [""]
    # What libpq takes for the host, the port and the database is then the rest of a password.
    if any("@" in host for host in hosts) or "@" in _path(dsn.get_secret_value()):
        raise ValueError("expected @, / and : in a password to be percent-encoded (%40, %2F, %3A)")
    if any(len(values) not in (1, len(hosts)) for values in lists.values()):
        raise ValueError("expected as many ports and addresses as hosts")
    return [given | {name: values[i % len(values)] for name, values in lists.items()} for i in range(len(hosts))]


def _path(dsn: str) -> str:
    """What follows the hosts in a URI, up to its parameters; empty for a connection string of another form."""
    scheme, _, rest = dsn.strip().partition("://")
    return rest.partition("?")[0].partition("/")[2] if scheme in ("postgresql", "postgres") else ""


class Connection:
    """A connection that reads, answers or raises ProbeError on time, and lets go of its socket whatever happens.

    `where` names it in sentences: host, port, database, and never a credential.
    """

    def __init__(self, where: str, user: str, password: str, timeout: timedelta, connection: Any) -> None:
        self.where = where
        self.user = user
        self._password = password
        self._timeout = timeout
        self._connection: psycopg.AsyncConnection[Any] = connection
        self._turn = asyncio.Lock()

    @classmethod
    async def open(cls, parameters: Parameters, timeout: timedelta, *, console: bool = False) -> Self:
        """Connect, within `timeout`. `console` is for PgBouncer's admin console, which knows no transactions."""
        import psycopg

        where = _where(parameters)
        password = parameters.get("password", "")
        settings: dict[str, Any] = {
            **parameters,
            "application_name": APPLICATION_NAME,
            "connect_timeout": math.ceil(timeout.total_seconds()),
        }
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                connection = await psycopg.AsyncConnection.connect("", **settings, autocommit=console)
        except (TimeoutError, psycopg.errors.ConnectionTimeout):
            raise ProbeError(f"PostgreSQL at {where} let nobody in within {format_duration(timeout)}.") from None
        except (psycopg.Error, OSError, UnicodeError) as error:
            raise ProbeError(f"PostgreSQL at {where} cannot be reached: {_reason(error, password)}.") from None
        opened = cls(where, connection.info.user, password, timeout, connection)
        if not console:
            await connection.set_read_only(True)
        connection.prepare_threshold = None  # prepared statements do not survive a pooler
        return opened

    async def ask(self, kind: type[T], sql: str, parameters: Sequence[Any] | None = None) -> list[T]:
        """The rows of one query, each made into a `kind` by its column names.

        It runs in a read-only transaction of its own, one at a time, within the timeout; raises ProbeError otherwise.
        """
        async with self._turn:
            query = asyncio.create_task(self._query(kind, sql, parameters))
            try:
                done, _ = await asyncio.wait({query}, timeout=self._timeout.total_seconds() + 1)
            finally:
                if not query.done():
                    # Cancelled, psycopg would first ask the server for permission, and wait for a mute one.
                    self._hang_up()
                    await asyncio.wait({query})
                    query.exception()
            if not done:
                raise ProbeError(f"PostgreSQL at {self.where} did not answer within {format_duration(self._timeout)}.")
            return query.result()

    async def one(self, kind: type[T], sql: str, parameters: Sequence[Any] | None = None) -> T:
        """The only row of a query."""
        (row,) = await self.ask(kind, sql, parameters)
        return row

    async def _query(self, kind: type[T], sql: str, parameters: Sequence[Any] | None) -> list[T]:
        import psycopg

        connection = self._connection
        try:
            try:
                async with connection.cursor(row_factory=psycopg.rows.class_row(kind)) as cursor:
                    if not connection.autocommit:
                        limit = round(self._timeout.total_seconds() * 1000)
                        await cursor.execute(f"SET LOCAL statement_timeout = {limit}".encode())
                    await cursor.execute(sql.encode(), parameters)
                    return await cursor.fetchall()
            finally:
                if not connection.closed:
                    await connection.rollback()
        except psycopg.errors.QueryCanceled:
            raise ProbeError(
                f"PostgreSQL at {self.where} did not answer within {format_duration(self._timeout)}."
            ) from None
        except psycopg.errors.InsufficientPrivilege as error:
            reason = _reason(error, self._password)
            raise ProbeError(f"Role {self.user} lacks a right on PostgreSQL at {self.where}: {reason}.") from None
        except psycopg.Error as error:
            reason = _reason(error, self._password)
            raise ProbeError(f"PostgreSQL at {self.where} did not answer a question: {reason}.") from None

    def _hang_up(self) -> None:
        """Shut the socket down under the query: whatever waits for it sees the end of the connection at once."""
        if not self._connection.closed:
            with socket.socket(fileno=os.dup(self._connection.fileno())) as held, suppress(OSError):
                held.shutdown(socket.SHUT_RDWR)

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()


def _where(parameters: Parameters) -> str:
    host = parameters.get("host") or parameters.get("hostaddr") or "the local socket"
    return f"{host}:{parameters.get('port') or '5432'}/{parameters.get('dbname') or parameters.get('user', '')}"


_LIBPQ = re.compile(r"connection to server (?:at|on socket) .*? failed: ([^\n]+)")


def _reason(error: BaseException, password: str) -> str:
    """Why, in the server's or libpq's words: their first line, without the addresses libpq puts before it, nor the password."""
    import psycopg

    said = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    text = said or (found[-1] if (found := _LIBPQ.findall(str(error))) else str(error))
    if password:
        text = text.replace(password, "…")
    return (text.strip().splitlines() or [type(error).__name__])[0].strip().rstrip(".")
