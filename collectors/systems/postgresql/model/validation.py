"""What an instance reports on the soundness of its data, and what a database may be configured to be held against."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, Field

from collectors.shared.dsn import Dsn
from exporter.options import Duration, Options

__all__ = [
    "Checksums",
    "Collation",
    "Copy",
    "Counted",
    "History",
    "Invariant",
    "Loose",
    "Oldest",
    "Orphans",
    "Query",
    "Sequence",
]

_READS = re.compile(r"\s*(select|with|table|values)\b", re.IGNORECASE)


def _query(text: str) -> str:
    sql = text.strip().removesuffix(";").rstrip()
    if not _READS.match(sql):
        raise ValueError("expected one SQL query that begins with SELECT, WITH, TABLE or VALUES")
    return sql


Query = Annotated[str, AfterValidator(_query)]
"""A query of the user's own. It runs in a read-only transaction with search_path pg_catalog: tables are named with their schema."""


class Copy(Options):
    """Data that was copied from a source into the database."""

    name: str = Field(min_length=1, description="What was copied, for sentences.")
    source: Dsn = Field(description="Connection string or URI of the PostgreSQL that it was copied from.")
    source_query: Query = Field(description="Query whose one value is compared: `SELECT count(*) FROM public.orders`.")
    target_query: Query | None = Field(None, description="The same for the database; `source_query` if not given.")
    tolerance: int = Field(0, ge=0, description="By how much the two numbers may differ.")


class Invariant(Options):
    """Something that is true of sound data."""

    name: str = Field(min_length=1, description="What would be wrong, for sentences: `orders without a customer`.")
    query: Query = Field(
        description="Query whose one value must be 0: `SELECT count(*) FROM public.orders WHERE total < 0`."
    )


class History(Options):
    """Old data that must still be there."""

    name: str = Field(min_length=1, description="Which data, for sentences.")
    query: Query = Field(
        description="Query of one row: the oldest moment, and with `min_rows` how many rows there are: "
        "`SELECT min(created_at), count(*) FROM public.orders`."
    )
    min_age: Duration = Field(timedelta(days=365), description="How old the oldest must be at the least.")
    min_rows: int | None = Field(None, ge=1, description="How many rows there must be at the least.")


@dataclass(frozen=True, slots=True)
class Counted:
    """What a query counted, and from what: a foreign table (None for none), so many tables, so many of them with a unique key."""

    value: Decimal
    foreign: str | None = None
    tables: int = 0
    keys: int = 0


@dataclass(frozen=True, slots=True)
class Checksums:
    """Whether an instance writes checksums, and in which databases they did not match. Failures are None without checksums.

    `ignored` names the settings that are on and have damaged pages served, None for none.
    """

    enabled: bool
    ignored: str | None
    failures: int | None
    databases: str | None


@dataclass(frozen=True, slots=True)
class Collation:
    """A database or a collation whose order was made by another version of the library than sorts now."""

    what: str
    recorded: str
    actual: str


@dataclass(frozen=True, slots=True)
class Loose:
    """What a load or a restore left half-way, by its `kind`.

    `constraint` and `domain constraint` are NOT VALID, `unenforced` is NOT ENFORCED; `trigger`, `the trigger of constraint` and
    `rule` are switched off, a `replica trigger` and a `replica rule` act on replicated rows alone; a `view` is not populated, a
    `partition` half detached, a `copy` is a table that subscription `name` has not copied completely; `subscription` is disabled,
    `idle subscription` receives nothing; `unlogged` is a table that a crash empties, `unlogged sequence` one that it sets back.
    """

    kind: str
    name: str
    table: str


@dataclass(frozen=True, slots=True)
class Sequence:
    """A sequence that numbers a column, which takes numbers up to `most`.

    `next` is what it gives next, None where the role may not read it or the column; `highest` the column's highest number of those
    that it may give, None where there is none.
    """

    name: str
    column: str
    most: int
    next: int | None
    highest: int | None


@dataclass(frozen=True, slots=True)
class Orphans:
    """How many rows reference something that is not there, by a foreign key."""

    key: str
    table: str
    references: str
    rows: int


@dataclass(frozen=True, slots=True)
class Oldest:
    """How many seconds old the oldest row is, by the server's own clock, and how many there are where that was asked.

    `infinite` is true where its moment is PostgreSQL's infinity or -infinity, which has no age, `placeholder` where it is one that
    an empty value becomes in some system, such as 1970-01-01.
    """

    age: float | None
    infinite: bool
    placeholder: bool
    rows: int | None
