"""Whether a database has the migrations that the running release expects."""

from __future__ import annotations

from collections.abc import Iterator

from collectors.systems.postgresql.model.migrations import Alembic, Revisions
from exporter.verdict import Reason, Result, failed
from exporter.words import listed

__all__ = ["migration_problems"]


def migration_problems(found: Revisions, alembic: Alembic) -> Iterator[Result]:
    """What is missing in the database, and what it has besides: one that is ahead may be as wrong as one that is behind."""
    table = f"{alembic.schema_name}.{alembic.table}"
    wanted = listed(sorted(alembic.expected_heads))
    if found.applied is None:
        yield failed(
            f"{found.where} has no table {table}, so no migration was applied (wanted {wanted}).", reason=Reason.MISSING
        )
    elif not found.applied:
        yield failed(
            f"{found.where} has no revision in {table}: all were downgraded (wanted {wanted}).", reason=Reason.MISSING
        )
    elif found.applied != set(alembic.expected_heads):
        missing, more = set(alembic.expected_heads) - found.applied, found.applied - set(alembic.expected_heads)
        parts = [f"lacks {listed(sorted(missing))}"] if missing else []
        parts += (
            [f"is at {listed(sorted(more))} instead" if missing else f"is also at {listed(sorted(more))}"]
            if more
            else []
        )
        yield failed(
            f"{found.where} {' and '.join(parts)} (wanted {wanted}): it is behind or ahead of the running release.",
            reason=Reason.CONTRADICTED,
        )
