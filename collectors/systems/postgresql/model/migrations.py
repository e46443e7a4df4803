"""Which migrations a database has to have, and which it has."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from collectors.shared.dsn import Dsn
from exporter.options import Options

__all__ = ["Alembic", "Revisions"]

_NAME = r"^[A-Za-z_][\w$]*$"


class Alembic(Options):
    """A database that Alembic migrates."""

    dsn: Dsn = Field(
        description="Connection string or URI of the database; where it names several hosts, the primary among them is asked."
    )
    expected_heads: tuple[str, ...] = Field(
        min_length=1,
        description="Revisions that the running release expects, as `alembic heads` prints them; several where there are branches.",
    )
    schema_name: str = Field("public", pattern=_NAME, description="Schema of the table of versions.")
    table: str = Field("alembic_version", pattern=_NAME, description="Table of versions.")


@dataclass(frozen=True, slots=True)
class Revisions:
    """The revisions in the table of versions of the database `where`; None where there is no such table."""

    where: str
    applied: frozenset[str] | None
