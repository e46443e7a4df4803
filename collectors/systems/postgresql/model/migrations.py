"""Which migrations a database has to have, and which it has, by the tables of the tools that apply them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from pydantic import Field

from collectors.shared.dsn import Dsn
from exporter.options import Duration, Options

__all__ = ["Applied", "History", "Migrations", "Place", "State", "Tool", "is_named", "place_of", "read_heads"]

_NAME = r"^[A-Za-z_][\w$]*$"


class Tool(StrEnum):
    """What applies migrations and keeps a table of them."""

    ALEMBIC = "alembic"
    PRISMA = "prisma"
    TYPEORM = "typeorm"
    KNEX = "knex"
    DJANGO = "django"
    FLYWAY = "flyway"
    LIQUIBASE = "liquibase"


_TABLES: Mapping[Tool, str] = {
    Tool.ALEMBIC: "alembic_version",
    Tool.PRISMA: "_prisma_migrations",
    Tool.TYPEORM: "migrations",
    Tool.KNEX: "knex_migrations",
    Tool.DJANGO: "django_migrations",
    Tool.FLYWAY: "flyway_schema_history",
    Tool.LIQUIBASE: "databasechangelog",
}
_LOCKS: Mapping[Tool, str] = {Tool.KNEX: "_lock", Tool.LIQUIBASE: "lock"}


class Migrations(Options):
    """A database that a tool migrates."""

    dsn: Dsn = Field(
        description="Connection string or URI of the database; where it names several hosts, the primary among them is asked."
    )
    tool: Tool = Field(Tool.ALEMBIC, description="What applies the migrations.")
    expected_heads: tuple[str, ...] = Field(
        (),
        description="Newest migrations of the running release: revisions (alembic), names (prisma, typeorm, knex), `app.name` of "
        "each app (django), a version (flyway), an id or `author:id` (liquibase). Several where there are branches.",
    )
    schema_name: str = Field("public", pattern=_NAME, description="Schema of the tool's table.")
    table: str | None = Field(None, pattern=_NAME, description="The tool's table, where it is not its default.")
    max_running: Duration = Field(
        timedelta(minutes=15), gt=timedelta(0), description="How long a migration may run, or hold the tool's lock."
    )

    @property
    def table_name(self) -> str:
        """The table of applied migrations."""
        return self.table or _TABLES[self.tool]

    @property
    def lock_table(self) -> str | None:
        """The table of the tool's lock; None where it keeps none."""
        return self.table_name + _LOCKS[self.tool] if self.tool in _LOCKS else None


class State(StrEnum):
    """What became of a migration."""

    APPLIED = "applied"
    AGAIN = "again"  # one that Liquibase runs at every update, so that it says nothing of the order
    RUNNING = "running"
    FAILED = "failed"
    ROLLED_BACK = "rolled back"


@dataclass(frozen=True, slots=True)
class Applied:
    """A row of the tool's table. `position` is what orders it, in the tool's own terms; `seconds` its age, where it runs."""

    name: str
    state: str
    position: str
    seconds: float


@dataclass(frozen=True, slots=True)
class History:
    """The migrations of the database `where`, the last row of each; None without a table. `held` is how long its lock was."""

    where: str
    applied: Sequence[Applied] | None
    held: timedelta | None = None


Place = tuple[str, tuple[int | str, ...]]
"""Where a migration is in the order of its tool, within its group: an app of Django, "" for the others."""


def is_named(tool: Tool, head: str, name: str) -> bool:
    """Whether a migration is the one that is expected under this name."""
    if tool is Tool.FLYWAY and (version := _version(head)):
        return version == _version(name)
    return name == head or (tool is Tool.LIQUIBASE and name.partition(":")[2] == head)


def place_of(tool: Tool, row: Applied) -> Place:
    """Where an applied migration is in the order of its tool."""
    match tool:
        case Tool.FLYWAY:
            return "", _version(row.name)
        case Tool.TYPEORM | Tool.LIQUIBASE:
            return "", (int(row.position) if row.position.isdigit() else -1,)
        case Tool.DJANGO:
            app, _, name = row.name.partition(".")
            return app, (_number(name),)
    return "", (_number(row.name), row.name)


def _number(name: str) -> int:
    """The number, or the time, that a name begins with; -1 where it begins with none."""
    found = re.match(r"\d+", name)
    return int(found[0]) if found else -1


def _version(text: str) -> tuple[int, ...]:
    """Flyway's order: 1.10 is after 1.9, and 1.0 is 1. Repeatable migrations have no version, and come before all."""
    if not re.fullmatch(r"\d+(?:[._]\d+)*", text):
        return ()
    numbers = [int(part) for part in re.split(r"[._]", text)]
    while len(numbers) > 1 and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


def read_heads(lines: Collection[str]) -> tuple[str, ...]:
    """The migrations that lines name, one each, as `alembic heads` prints them too; what follows a # is left out."""
    names = (line.partition("#")[0].strip().removesuffix(" (head)").strip() for line in lines)
    return tuple(name for name in names if name)
