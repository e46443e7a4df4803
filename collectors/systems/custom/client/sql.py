"""Asks a database for one row, as the sections on PostgreSQL ask theirs: read-only, with settings that change no answer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import SecretStr

from collectors.shared.cel import Facts, json_of
from collectors.shared.dsn import Parameters, parse_dsn
from collectors.systems.custom.model.probe import Observed, Refuted, Seen
from collectors.systems.custom.model.sql import Role, Sql
from collectors.systems.postgresql.client.connection import Connection
from collectors.systems.postgresql.model.instance import Corrupted
from exporter.verdict import ProbeError, Reason

__all__ = ["look"]

_NO_TABLE = re.compile(r'relation "[^".]+" does not exist')
_MOST_MEASURED = 20


@dataclass(frozen=True, slots=True)
class _Instance:
    replica: bool


@dataclass(frozen=True, slots=True)
class _Row:
    row: str


async def look(probe: Sql, dsn: SecretStr) -> list[Seen]:
    """What each instance of a DSN answers that has the role that is asked for."""
    seen = await asyncio.gather(*(_seen(probe, parameters) for parameters in parse_dsn(dsn)))
    asked = [one for one in seen if one is not None]
    if probe.role is Role.ANY:
        return asked
    if any(isinstance(one, Observed) for one in asked):
        # Those that do not answer may have any role: another one has it and does.
        return [one for one in asked if isinstance(one, Observed)] if probe.role is Role.PRIMARY else asked
    return asked or [Refuted(f"None of the hosts of the DSN is a {probe.role}.", Reason.MISSING)]


async def _seen(probe: Sql, parameters: Parameters) -> Seen | None:
    """What one instance answers; None where it has another role than what is asked for."""
    try:
        connection = await Connection.open(parameters, probe.timeout)
        try:
            instance = await connection.one(_Instance, "SELECT pg_is_in_recovery() AS replica")
            if probe.role is not Role.ANY and instance.replica is (probe.role is Role.PRIMARY):
                return None
            return await _observed(probe, connection, instance)
        finally:
            await connection.close()
    except Corrupted as error:
        return Refuted(str(error), error.reason)
    except ProbeError as error:
        return error


async def _observed(probe: Sql, connection: Connection, instance: _Instance) -> Observed:
    # `a.*` is the row, where `a` may be a column of it.
    # With a parameter the server takes one statement only: nothing can end the read-only transaction.
    query = f"SELECT to_jsonb(a.*)::text AS row FROM (\n{probe.query.replace('%', '%%')}\n) AS a LIMIT %s"  # noqa: S608  # the configuration's own
    loop = asyncio.get_running_loop()
    started = loop.time()
    try:
        found = await connection.ask(_Row, query, [2])
    except ProbeError as error:
        if _NO_TABLE.search(str(error)):
            hint = "write it with its schema, such as public.orders, if it exists"
            raise ProbeError(f"{str(error).rstrip('.')}: {hint}.", error.reason) from None
        raise
    latency = timedelta(seconds=loop.time() - started)
    facts = Facts(rows=len(found), replica=instance.replica, latency=latency)
    absent = {"row": "the query returned no row" if not found else "the query returned more than one row"}
    measurements = {"seconds": latency.total_seconds()}
    if len(found) == 1:
        facts["row"] = json_of(found[0].row.encode())
        measurements |= _numbers(facts["row"])
    role = "standby" if instance.replica else "primary"
    notes = {"rows": "it returned none" if not found else "it returned more"}
    return Observed(
        f"The query on the {role} {connection.where}", facts, absent, notes=notes, measurements=measurements
    )


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """The columns that are numbers, for measurements: of the first ones."""
    numbers = {
        name: float(value)
        for name, value in row.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and name.isidentifier()
    }
    return dict(list(numbers.items())[:_MOST_MEASURED])
