"""Transactions in a PostgreSQL database that stores state: short, bounded in time, the same whatever the role's settings are."""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

from exporter.words import one_line

if TYPE_CHECKING:
    import psycopg

__all__ = ["Session", "Transaction", "Unusable", "parse_dsn", "place_of"]

#: Seconds that one statement, or one batch of rows, may take; the server ends it first where it still can.
PATIENCE_SECONDS = 5.0
_BATCH = 500
_LIBPQ = re.compile(r"connection to server (?:at|on socket) .*? failed: ([^\n]+)")
#: Settings of the role, the database or a pooler that would change what statements mean; for the transaction alone.
_SETTINGS = (
    "select set_config('statement_timeout', '4s', true), set_config('lock_timeout', '3s', true), "
    "set_config('datestyle', 'ISO, YMD', true), set_config('timezone', 'UTC', true), "
    "set_config('standard_conforming_strings', 'on', true)"
)


class Unusable(Exception):
    """The database cannot be used for now; the text says why, as the end of a sentence. `code` is the server's SQLSTATE."""

    def __init__(self, why: str, code: str | None = None) -> None:
        super().__init__(why)
        self.code = code


def parse_dsn(dsn: str) -> dict[str, str]:
    """The parameters of a connection string or URI. Raises ValueError, which repeats nothing of it, where libpq would refuse it."""
    import psycopg

    try:
        parsed = psycopg.conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        raise ValueError("expected a PostgreSQL connection string such as postgresql://user@host/database") from None
    given = {name: str(value) for name, value in parsed.items() if value is not None}
    # What libpq takes for the host or the database is then the rest of a password.
    if "@" in given.get("host", "") or "@" in given.get("dbname", ""):
        raise ValueError("expected @, / and : in a password to be percent-encoded (%40, %2F, %3A)")
    return given


def place_of(parameters: dict[str, str]) -> str:
    """Where a database is, for a sentence: `db-0:5432/checklist`, `[::1]:5432/checklist`, `db-0,db-1:5432/checklist`."""
    if "service" in parameters:
        return f"service {parameters['service']}"
    host = parameters.get("host") or parameters.get("hostaddr") or "the local socket"
    host = f"[{host}]" if ":" in host else host
    return f"{host}:{parameters.get('port') or '5432'}/{parameters.get('dbname') or parameters.get('user', '')}"


class Transaction:
    """Statements of one transaction, each bounded in time."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def run(self, statement: Any, values: Any = None) -> list[tuple[Any, ...]]:
        """The rows of a statement; none where it gives none. Raises Unusable."""
        with _bounded(self._connection):
            cursor = self._connection.execute(statement, values)
            return cursor.fetchall() if cursor.description is not None else []

    def run_each(self, statement: Any, rows: Iterable[Sequence[object]]) -> None:
        """Run a statement for each row of values. Raises Unusable."""
        left = iter(rows)
        while batch := list(islice(left, _BATCH)):
            with _bounded(self._connection), self._connection.cursor() as cursor:
                cursor.executemany(statement, batch)


class Session:
    """One connection, made when it is needed, and made again after every error. Any thread may use it; they take turns."""

    def __init__(self, parameters: dict[str, str], *, begin: str) -> None:
        self.parameters = parameters
        self._begin = begin
        self._turn = threading.Lock()
        self._connection: psycopg.Connection[Any] | None = None

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A transaction: all or nothing. Raises Unusable when the server cannot be reached, refuses, or does not answer in time."""
        with self._turn:
            try:
                if self._connection is None:
                    self._connection = _connected(self.parameters)
                statements = Transaction(self._connection)
                statements.run(self._begin)
                statements.run(_SETTINGS)
                yield statements
                statements.run("commit")
            except BaseException:  # which rolls back, whatever state it is in
                self._drop()
                raise

    def _drop(self) -> None:
        if self._connection is not None:
            with suppress(Exception):
                self._connection.close()
            self._connection = None

    def close(self) -> None:
        """Let go of the connection, waiting for the transaction under way."""
        with self._turn:
            self._drop()


def _connected(parameters: dict[str, str]) -> psycopg.Connection[Any]:
    import psycopg

    settings: dict[str, Any] = {
        "tcp_user_timeout": int(PATIENCE_SECONDS * 1000),
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "options": "",
        **parameters,
        "application_name": "checklist-exporter",
        "connect_timeout": int(PATIENCE_SECONDS),
        "client_encoding": "UTF8",
    }
    try:
        connection = psycopg.connect("", **settings, autocommit=True)
    except (psycopg.Error, OSError, UnicodeError) as error:
        raise _unusable(error) from None
    connection.prepare_threshold = None  # prepared statements do not survive a pooler
    return connection


@contextmanager
def _bounded(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Cut the connection where the server does not answer: below libpq, which would wait for ever."""
    import psycopg

    guard, cut = threading.Lock(), threading.Event()
    done = False

    def end() -> None:
        with guard:
            if not done:
                cut.set()
                with socket.socket(fileno=os.dup(connection.fileno())) as held, suppress(OSError):
                    held.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(PATIENCE_SECONDS, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (psycopg.Error, OSError, UnicodeError) as error:
        if cut.is_set():
            raise Unusable(f"it did not answer within {PATIENCE_SECONDS:g} s") from None
        raise _unusable(error) from None
    finally:
        with guard:
            done = True
        timer.cancel()


def _unusable(error: Exception) -> Unusable:
    """Why, in the server's or libpq's words, without the addresses that libpq puts before it."""
    diagnosed = getattr(getattr(error, "diag", None), "message_primary", None)
    said = diagnosed or (found[-1] if (found := _LIBPQ.findall(str(error))) else str(error))
    return Unusable(one_line(said) or "it closed the connection", getattr(error, "sqlstate", None))
