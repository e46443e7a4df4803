"""Looks at the migrations of a database, and for how long their lock has been held."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from collectors.shared.verdicts import verdict
from collectors.systems.postgresql.client.migrations import Found, read_migrations
from collectors.systems.postgresql.judge.migrations import migration_problems
from collectors.systems.postgresql.model.migrations import History, Migrations
from exporter.collector import Collector
from exporter.verdict import Result, ok
from exporter.words import listed

__all__ = ["see_migrations"]


async def see_migrations(
    collector: Collector[Any, Any], migrations: Migrations, heads: Collection[str], timeout: timedelta
) -> Result:
    """Whether the database has these migrations, and none that failed. Raises ProbeError when it cannot be read."""
    found = await read_migrations(migrations, timeout)
    rows = None if found.rows is None else list({row.name: row for row in found.rows}.values())
    history = History(found.where, rows, _held(collector, found))
    good = ok(f"{found.where} is at {listed(sorted(heads))}, as the release expects.")
    return verdict(migration_problems(history, migrations, heads), good)


def _held(collector: Collector[Any, Any], found: Found) -> timedelta | None:
    """For how long the lock has been held, as far as this is known: since it was first observed, which `memory` keeps."""
    memory, now = collector.context.memory, collector.context.now()
    if found.holder is None:
        memory.pop("migrations lock", None)
        return None
    known: tuple[str, datetime] = memory.setdefault("migrations lock", (found.holder, now))
    if known[0] != found.holder or now < known[1]:
        known = memory["migrations lock"] = (found.holder, now)
    return max(now - known[1], timedelta(seconds=found.seconds))
