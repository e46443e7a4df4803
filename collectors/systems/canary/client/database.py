"""A row of one's own in PostgreSQL: committed, then read back by another transaction, on the standbys as well."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from collectors.shared.attempts import attempt
from collectors.shared.dsn import Parameters, parse_dsn
from collectors.systems.canary.client.options import DatabaseOptions
from collectors.systems.canary.model import RowTrip, Unwritten
from collectors.systems.postgresql.client.connection import Connection
from exporter.options import format_duration
from exporter.verdict import ProbeError, Reason
from exporter.words import one_line

if TYPE_CHECKING:
    import psycopg

__all__ = ["row_trips"]

_POLL = 0.1
_KINDS = {"v": "a view", "m": "a materialized view", "f": "a foreign table"}
_WRITE = """WITH old AS (DELETE FROM checklist.canary WHERE written < now() - interval '1 hour' AND name <> %s)
INSERT INTO checklist.canary AS c (name, nonce, written) VALUES (%s, %s, now())
ON CONFLICT (name) DO UPDATE SET nonce = excluded.nonce, written = excluded.written RETURNING c.nonce"""
_READ = "SELECT nonce FROM checklist.canary WHERE name = %s"
_TABLE = """SELECT c.relkind::text AS kind, c.relpersistence::text AS persistence, s.setting AS commits, s.source
FROM pg_class c, pg_settings s WHERE c.oid = to_regclass('checklist.canary') AND s.name = 'synchronous_commit'"""
_OF_THE_SERVER = frozenset({"default", "configuration file", "command line", "environment variable"})


@dataclass(frozen=True, slots=True)
class _Row:
    nonce: str


@dataclass(frozen=True, slots=True)
class _Role:
    standby: bool


@dataclass(frozen=True, slots=True)
class _Table:
    """What kind of table it is, and whether COMMIT waits as the applications' do."""

    kind: str
    persistence: str
    commits: str
    source: str


class _Writing(Connection):
    """A connection whose transactions are committed, and of the kind that applications get by default.

    READ WRITE is not asked for: it would override a `default_transaction_read_only` that stops the applications.
    """

    # A COMMIT whose wait for a synchronous standby is cut short succeeds, with a warning.
    begin: ClassVar[tuple[str, ...]] = (
        "BEGIN ISOLATION LEVEL READ COMMITTED",
        "SET LOCAL client_min_messages = warning",
    )

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.warnings: list[str] = []
        self._connection.add_notice_handler(lambda notice: self.warnings.append(one_line(notice.message_primary or "")))

    async def _finish(self) -> None:
        await self._connection.commit()

    def _meaning(self, error: psycopg.Error) -> ProbeError:
        from psycopg import errors

        detail = one_line(error.diag.message_primary or "")
        if isinstance(error, errors.ReadOnlySqlTransaction):
            return Unwritten(f"PostgreSQL at {self.where} takes no writes: {detail}.", Reason.DOWN)
        if isinstance(error, errors.UndefinedTable | errors.InvalidSchemaName | errors.UndefinedColumn):
            return ProbeError(
                f"PostgreSQL at {self.where} has no table checklist.canary as this line needs it: {detail}.",
                Reason.NOT_CONFIGURED,
            )
        # Class 53: no disk, no memory; class 58: the system fails below PostgreSQL.
        if (error.sqlstate or "")[:2] in ("53", "58"):
            return Unwritten(f"PostgreSQL at {self.where} could not write: {detail}.", Reason.DOWN)
        return super()._meaning(error)


async def row_trips(options: DatabaseOptions, name: str, nonce: str) -> list[RowTrip | ProbeError]:
    """Write `nonce` as the row `name` on every instance that is no standby, then read it on all.

    One result for each instance, the primaries first.
    """
    hosts = parse_dsn(options.dsn)
    opened = await asyncio.gather(*(_opened(host, options) for host in hosts))
    connections = [one for one in opened if not isinstance(one, ProbeError)]
    try:
        primaries = [connection for connection, standby in connections if not standby]
        found: list[RowTrip | ProbeError] = [
            await attempt(_written(one, name, nonce, options.timeout)) for one in primaries
        ]
        written = any(isinstance(trip, RowTrip) for trip in found)
        for connection, standby in connections:
            if standby and written:
                found.append(await attempt(_replicated(connection, options, name, nonce)))
            elif standby and not primaries:
                found.append(RowTrip(connection.where, True, None, 0.0))
        return [*found, *(one for one in opened if isinstance(one, ProbeError))]
    finally:
        for connection, _ in connections:
            await connection.close()


async def _opened(host: Parameters, options: DatabaseOptions) -> tuple[_Writing, bool] | ProbeError:
    connection: _Writing | None = None
    try:
        connection = await _Writing.open(host, options.timeout)
        return connection, (await connection.one(_Role, "SELECT pg_is_in_recovery() AS standby")).standby
    except ProbeError as why:
        if connection is not None:
            await connection.close()
        # Applications are refused just as the exporter is.
        return Unwritten(str(why), why.reason) if why.reason is Reason.LIMIT else why


async def _like_the_applications(connection: _Writing) -> None:
    """Raise ProbeError where writing to the table is no proof that the applications can write to theirs."""
    where = f"checklist.canary of PostgreSQL at {connection.where}"
    for table in await connection.ask(_Table, _TABLE):
        if table.kind not in ("r", "p") or table.persistence != "p":
            raise ProbeError(
                f"{where} is no ordinary table, but {_KINDS.get(table.kind, 'unlogged')}: writing to it would prove nothing.",
                Reason.MISCONFIGURED,
            )
        if table.commits in ("off", "local") and table.source not in _OF_THE_SERVER:
            raise ProbeError(
                f"synchronous_commit is {table.commits} for the role or database of the canary alone on PostgreSQL at "
                f"{connection.where}: its commits would not wait as others do.",
                Reason.MISCONFIGURED,
            )


async def _written(connection: _Writing, name: str, nonce: str, timeout: timedelta) -> RowTrip:
    await _like_the_applications(connection)
    started = time.perf_counter()
    connection.warnings.clear()
    try:
        await connection.ask(_Row, _WRITE, (name, name, nonce))
    except ProbeError as why:
        if why.reason is not Reason.TIMEOUT:
            raise
        # It had answered before: a lock, a full queue or a standby that commits wait for is in the way of every client.
        raise Unwritten(
            f"PostgreSQL at {connection.where} answers, but did not commit a row within {format_duration(timeout)}.",
            Reason.TIMEOUT,
        ) from None
    warnings = tuple(connection.warnings)
    rows = await connection.ask(_Row, _READ, (name,))
    seconds = time.perf_counter() - started
    return RowTrip(connection.where, False, rows[0].nonce if rows else None, seconds, warnings)


async def _replicated(connection: _Writing, options: DatabaseOptions, name: str, nonce: str) -> RowTrip:
    started = time.perf_counter()
    while True:
        rows = await connection.ask(_Row, _READ, (name,))
        read, seconds = rows[0].nonce if rows else None, time.perf_counter() - started
        if read == nonce or seconds > options.max_lag.total_seconds():
            return RowTrip(connection.where, True, read, seconds)
        await asyncio.sleep(_POLL)
