"""PostgreSQL by psycopg: one read-only connection to one instance, for one run.

What server, database, role and environment set for sessions is not what is asked for here: every transaction begins by setting
all that changes an answer, in the same round trip and for itself alone, so that a pooler's other clients notice nothing.
"""

from __future__ import annotations

import asyncio
import functools
import math
import os
import re
import socket
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from collectors.shared.dsn import Parameters
from collectors.shared.tasks import started
from collectors.systems.postgresql.model.instance import Corrupted, Inaccessible, NotServing
from exporter.options import format_duration
from exporter.trace import traced
from exporter.verdict import ProbeError, Reason
from exporter.words import counted, one_line

if TYPE_CHECKING:
    import psycopg

__all__ = ["APPLICATION_NAME", "Connection"]

APPLICATION_NAME = "checklist-exporter"

T = TypeVar("T")

#: What every transaction begins with. Another setting of any of these would change an answer, or how it is written.
_SESSION = (
    "SET LOCAL client_encoding = 'UTF8'",
    "SET LOCAL search_path = pg_catalog",
    "SET LOCAL DateStyle = 'ISO, YMD'",
    "SET LOCAL IntervalStyle = 'postgres'",
    "SET LOCAL TimeZone = 'UTC'",
    "SET LOCAL standard_conforming_strings = on",
    "SET LOCAL quote_all_identifiers = off",
    "SET LOCAL row_security = off",  # rows that would be hidden become an error
    "SET LOCAL jit = off",
)


class Connection:
    """A connection that reads, answers or raises ProbeError on time, and lets go of its socket whatever happens.

    `where` names it in sentences: host, port, database, and never a credential.
    """

    #: How every transaction begins.
    begin: ClassVar[tuple[str, ...]] = (
        "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY",
        "SET LOCAL client_min_messages = error",
    )

    def __init__(
        self, where: str, parameters: Parameters, user: str, timeout: timedelta, console: bool, connection: Any
    ) -> None:
        self.where = where
        self.user = user
        self._password = parameters.get("password", "")
        self._timeout = timeout
        self._console = console
        self._parameters = parameters
        self._given_up = False
        self._connection: psycopg.AsyncConnection[Any] = connection
        self._turn = asyncio.Lock()

    @property
    def endpoints(self) -> frozenset[tuple[str, int]]:
        """The name and the address, with the port, that it is connected to."""
        info = self._connection.info
        return frozenset((host, info.port) for host in (info.host, info.hostaddr) if host)

    @property
    def local_port(self) -> int | None:
        """The port that it comes from, by which the server lists it; None through a local socket."""
        with socket.socket(fileno=os.dup(self._connection.fileno())) as held:
            name = held.getsockname()
        return int(name[1]) if isinstance(name, tuple) else None

    @classmethod
    @traced(
        lambda cls, parameters, *_, **__: f"a connection to PostgreSQL at {_where(parameters)}", lambda _: "connected"
    )
    async def open(
        cls, parameters: Parameters, timeout: timedelta, *, console: bool = False, address: str | None = None
    ) -> Self:
        """Connect, within `timeout`, to this `address` of the host where it has several.

        `console` is for PgBouncer's admin console, which knows no transactions.

        Raises ProbeError when the server does not let the exporter in, and NotServing when it lets nobody in.
        """
        import psycopg

        where = _where(parameters)
        if address is not None:
            parameters, where = {**parameters, "hostaddr": address}, f"{where} ({address})"
        password = parameters.get("password", "")
        settings: dict[str, Any] = {
            **parameters,
            "application_name": APPLICATION_NAME,
            "connect_timeout": math.ceil(timeout.total_seconds()),
            # Named, so that no variable of the environment decides instead.
            "client_encoding": "UTF8",
            "options": parameters.get("options", ""),
            "target_session_attrs": "any",
        }
        if psycopg.pq.version() >= 160_000:
            settings["load_balance_hosts"] = "disable"
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                connection = await psycopg.AsyncConnection.connect("", **settings, autocommit=True)
        except (TimeoutError, psycopg.errors.ConnectionTimeout):
            raise ProbeError(
                f"PostgreSQL at {where} let nobody in within {format_duration(timeout)}.", Reason.TIMEOUT
            ) from None
        except (psycopg.Error, OSError, UnicodeError) as error:
            raise _refusal(where, _reason(error, password)) from None
        connection.prepare_threshold = None  # prepared statements do not survive a pooler
        for name in ("text", "name", "varchar", "bpchar", '"char"'):
            connection.adapters.register_loader(name, _text_loader())
        return cls(where, parameters, connection.info.user, timeout, console, connection)

    @traced(
        lambda self, kind, sql, *_: f"PostgreSQL at {self.where}: {one_line(sql)}",
        lambda rows: counted(len(rows), "row"),
    )
    async def ask(self, kind: type[T], sql: str, parameters: Sequence[Any] | None = None) -> list[T]:
        """The rows of one query, each made into a `kind` by its column names.

        It runs in a read-only transaction of its own, one at a time, within the timeout; raises ProbeError otherwise: Corrupted
        where the server finds damaged data, Inaccessible where a foreign server keeps it and cannot be reached.
        """
        async with self._turn:
            query = started(self._query(kind, sql, parameters))
            try:
                done, _ = await asyncio.wait({query}, timeout=self._timeout.total_seconds() + 1)
            finally:
                if not query.done():
                    # Cancelled, psycopg would first ask the server for permission, and wait for a mute one.
                    self._hang_up()
                    await asyncio.wait({query})
            if not done:
                raise self._late()
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
                if not self._console:
                    await self._begin()
                    connection = self._connection
                # A cursor takes the session's settings as it finds them when it is made.
                async with connection.cursor(row_factory=psycopg.rows.class_row(kind)) as cursor:
                    await cursor.execute(sql.encode(), parameters)
                    rows = await cursor.fetchall()
                await self._finish()
                return rows
            finally:
                if not self._connection.closed:
                    await self._connection.rollback()
        except psycopg.Error as error:
            raise self._meaning(error) from None

    async def _finish(self) -> None:
        """End a transaction whose query was answered; what it does not commit is rolled back."""

    def _meaning(self, error: psycopg.Error) -> ProbeError:
        """What it means that a query was not answered."""
        from psycopg import errors

        if isinstance(error, errors.QueryCanceled | errors.LockNotAvailable):
            return self._late()
        reason = _reason(error, self._password)
        if isinstance(error, errors.DataCorrupted | errors.IndexCorrupted):
            return Corrupted(f"PostgreSQL at {self.where} found damaged data: {reason}.", Reason.DOWN)
        if isinstance(error, errors.UndefinedFile | errors.IoError):
            return Corrupted(f"PostgreSQL at {self.where} lacks a file or cannot read it: {reason}.", Reason.DOWN)
        if isinstance(error, errors.SqlclientUnableToEstablishSqlconnection | errors.FdwUnableToEstablishConnection):
            return Inaccessible(f"PostgreSQL at {self.where} cannot read foreign data: {reason}.", Reason.UNREACHABLE)
        if isinstance(error, errors.InsufficientPrivilege):
            return ProbeError(f"Role {self.user} lacks a right on PostgreSQL at {self.where}: {reason}.", Reason.DENIED)
        return ProbeError(f"PostgreSQL at {self.where} refused a query: {reason}.", Reason.ERROR)

    async def _begin(self) -> None:
        """Begin a transaction that sets all it needs itself; on a new connection where the server ended the idle one."""
        import psycopg

        try:
            await self._connection.execute(self._beginning(self._connection.info.server_version))
        except psycopg.OperationalError:
            if self._given_up or not self._connection.closed:
                raise
            again = await Connection.open(self._parameters, self._timeout)
            self._connection = again._connection
            await self._connection.execute(self._beginning(self._connection.info.server_version))

    def _beginning(self, version: int) -> bytes:
        limit = round(self._timeout.total_seconds() * 1000)
        timeouts = {"statement_timeout": limit, "lock_timeout": limit, "idle_in_transaction_session_timeout": limit}
        if version >= 170_000:
            timeouts["transaction_timeout"] = 0
        return "; ".join(
            [*self.begin, *_SESSION, *(f"SET LOCAL {name} = {value}" for name, value in timeouts.items())]
        ).encode()

    def _late(self) -> ProbeError:
        limit = format_duration(self._timeout)
        return ProbeError(f"PostgreSQL at {self.where} did not answer within {limit}.", Reason.TIMEOUT)

    def _hang_up(self) -> None:
        """Shut the socket down under the query: whatever waits for it sees the end of the connection at once."""
        self._given_up = True
        if not self._connection.closed:
            with socket.socket(fileno=os.dup(self._connection.fileno())) as held, suppress(OSError):
                held.shutdown(socket.SHUT_RDWR)

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()


@functools.cache
def _text_loader() -> Any:
    """Reads text as UTF-8, whatever the database calls it: in an SQL_ASCII database psycopg would give bytes."""
    import psycopg

    class Utf8Loader(psycopg.adapt.Loader):
        def load(self, data: Any) -> str:
            return bytes(data).decode("utf-8", "replace")

    return Utf8Loader


def _where(parameters: Parameters) -> str:
    """Where an instance is, for a sentence: `db-0:5432/orders`, `[::1]:5432/orders`."""
    if "service" in parameters:
        return f"service {parameters['service']}"
    host = parameters.get("host") or parameters.get("hostaddr") or "the local socket"
    if ":" in host:
        host = f"[{host}]"
    return f"{host}:{parameters.get('port') or '5432'}/{parameters.get('dbname') or parameters.get('user', '')}"


#: Why a connection was not made, in the words of servers and libpq: a refusal at that moment has no SQLSTATE that libpq gives on.
_OWN_LIMIT = re.compile(r"too many connections for role")
_EXHAUSTED = re.compile(
    r"too many clients already|remaining connection slots are reserved|too many connections for database"
    r"|no more connections allowed"
)
_NOT_ACCEPTING = re.compile(
    r"the database system is (starting up|shutting down|in recovery mode|not (yet )?accepting)|not currently accepting connections"
)
_DENIED = re.compile(
    r"authentication failed|no pg_hba\.conf entry|does not exist|no password supplied|not allowed|permission denied"
)
_UNREACHABLE = re.compile(
    r"Connection refused|could not translate host name|could not receive|No route|unreachable|No such file"
    r"|closed the connection|getaddrinfo|Name or service|name resolution"
)


def _refusal(where: str, reason: str) -> ProbeError:
    """What it means that a connection was not made: a fact about the server, or a lack of sight."""
    if _OWN_LIMIT.search(reason):
        return ProbeError(
            f"PostgreSQL at {where} refuses the exporter alone: {reason}; raise the role's CONNECTION LIMIT.",
            Reason.REFUSED,
        )
    if _EXHAUSTED.search(reason):
        return NotServing(f"PostgreSQL at {where} takes no more connections: {reason}.", Reason.LIMIT)
    if _NOT_ACCEPTING.search(reason):
        return NotServing(f"PostgreSQL at {where} takes no connections: {reason}.", Reason.DOWN)
    kinds = ((_DENIED, Reason.DENIED), (_UNREACHABLE, Reason.UNREACHABLE))
    why = next((kind for pattern, kind in kinds if pattern.search(reason)), Reason.REFUSED)
    return ProbeError(f"PostgreSQL at {where} cannot be reached: {reason}.", why)


_LIBPQ = re.compile(r"connection to server (?:at|on socket) .*? failed: ([^\n]+)")


def _reason(error: BaseException, password: str) -> str:
    """Why, in the server's or libpq's words: their first line, without the addresses libpq puts before it, nor the password."""
    import psycopg

    said = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    text = said or (found[-1] if (found := _LIBPQ.findall(str(error))) else str(error))
    if password:
        text = text.replace(password, "…")
    return (text.strip().splitlines() or [type(error).__name__])[0].strip().rstrip(".")
