"""Whether a database has the migrations that the running release expects."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from collectors.systems.postgresql.model.migrations import Applied, History, Migrations, State, Tool, is_named, place_of
from exporter.options import format_duration
from exporter.verdict import Reason, Result, failed, unknown
from exporter.words import format_length, listed

__all__ = ["migration_problems"]


def migration_problems(found: History, migrations: Migrations, heads: Collection[str]) -> Iterator[Result]:
    """What failed, what is missing, and what there is besides: a database that is ahead may be as wrong as one that is behind."""
    table = f"{migrations.schema_name}.{migrations.table_name}"
    wanted = listed(sorted(heads))
    if found.applied is None:
        yield failed(
            f"{found.where} has no table {table}, so no migration was applied (wanted {wanted}).", reason=Reason.MISSING
        )
        return
    yield from _unfinished(found, migrations, found.applied)
    done = [row for row in found.applied if row.state in (State.APPLIED, State.AGAIN)]
    if not found.applied:
        undone = "has no revision" if migrations.tool is Tool.ALEMBIC else "has no migration"
        yield failed(
            f"{found.where} {undone} in {table}: none was applied, or all were reverted (wanted {wanted}).",
            reason=Reason.MISSING,
        )
        return
    missing = [head for head in sorted(heads) if not any(is_named(migrations.tool, head, row.name) for row in done)]
    more = _besides(migrations.tool, done, heads, missing)
    if missing or more:
        parts = [f"lacks {listed(missing)}"] if missing else []
        parts += [f"is at {listed(more)} instead" if missing else f"is also at {listed(more)}"] if more else []
        yield failed(
            f"{found.where} {' and '.join(parts)} (wanted {wanted}): it is behind or ahead of the running release.",
            reason=Reason.CONTRADICTED,
        )


def _unfinished(found: History, migrations: Migrations, rows: Sequence[Applied]) -> Iterator[Result]:
    limit = format_duration(migrations.max_running)
    for row in rows:
        if row.state == State.FAILED:
            yield failed(f"The migration {row.name} failed on {found.where}.", reason=Reason.DOWN)
        elif row.state == State.RUNNING and row.seconds > migrations.max_running.total_seconds():
            yield failed(
                f"The migration {row.name} on {found.where} was begun more than {limit} ago and has not ended.",
                reason=Reason.LIMIT,
            )
        elif row.state == State.RUNNING:
            yield unknown(f"The migration {row.name} is running on {found.where}.", reason=Reason.PENDING)
    if found.held is None:
        return
    lock = f"The lock in {migrations.schema_name}.{migrations.lock_table} on {found.where}"
    if found.held > migrations.max_running:
        yield failed(
            f"{lock} has been held for at least {format_length(found.held)} (limit {limit}): the next migration waits for it, or "
            "fails.",
            reason=Reason.LIMIT,
        )
    else:
        yield unknown(f"{lock} is held: a migration is running, or was killed.", reason=Reason.PENDING)


def _besides(tool: Tool, done: Sequence[Applied], heads: Collection[str], missing: Sequence[str]) -> list[str]:
    """What the database is at instead of what is missing, or besides what is expected."""
    others = [row for row in done if not any(is_named(tool, head, row.name) for head in heads)]
    if tool is Tool.ALEMBIC:
        return sorted(row.name for row in others)
    expected = [place_of(tool, row) for row in done if row not in others]
    groups = {head.partition(".")[0] if tool is Tool.DJANGO else "" for head in heads}
    found = []
    for group in sorted(groups):
        known = [place for name, place in expected if name == group]
        rest = [row for row in others if place_of(tool, row)[0] == group and row.state != State.AGAIN]
        ahead = [row for row in rest if known and place_of(tool, row)[1] > max(known)]
        if known and ahead:
            found += [row.name for row in ahead]
        elif missing and not known and rest:
            found.append(max(rest, key=lambda row: place_of(tool, row)[1]).name)
    return found
