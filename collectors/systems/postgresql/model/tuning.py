"""What an instance reports on its statements, transactions, tables and indexes, and the limits that are put on them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from pydantic import Field

from exporter.options import Duration, Options, Size

__all__ = [
    "Activity",
    "ForeignKey",
    "Index",
    "LongTransaction",
    "Statement",
    "StatementCounts",
    "Table",
    "TableScans",
    "TuningLimits",
]

StatementKey = tuple[str, str, str]


class TuningLimits(Options):
    """Limits for queries, tables and indexes."""

    query_timeout: Duration = Field(
        timedelta(seconds=5), ge=timedelta(milliseconds=1), description="How long connecting, and each query, may take."
    )
    slow_mean: Duration = Field(
        timedelta(milliseconds=200), gt=timedelta(0), description="Maximum mean time of a statement that is often run."
    )
    min_calls: int = Field(100, ge=1, description="Calls from which a statement counts as often run.")
    window: Duration = Field(
        timedelta(hours=1),
        gt=timedelta(0),
        description="Period over which counters are compared while the exporter runs.",
    )
    min_observation: Duration = Field(
        timedelta(hours=24), description="How long statistics must have been kept before their silence counts."
    )
    min_hit_ratio: float = Field(
        0.95, ge=0, le=1, description="Share of block reads that shared_buffers should answer."
    )
    max_transaction_age: Duration = Field(
        timedelta(minutes=15), gt=timedelta(0), description="Maximum age of an open transaction."
    )
    max_dead_ratio: float = Field(
        0.2, gt=0, lt=1, description="Share of dead row versions in a table that is a warning."
    )
    maintenance_roles: tuple[str, ...] = Field(
        (), description="Roles of backups, reports and maintenance: their statements and transactions do not count."
    )
    maintenance_applications: tuple[str, ...] = Field(
        ("pg_dump", "pg_dumpall", "pg_restore", "vacuumdb", "reindexdb", "pg_repack"),
        description="application_name of programs whose transactions do not count.",
    )
    unused_index_min_size: Size = Field(
        100 * 10**6, description="Size from which an index that is never used is a warning."
    )
    min_rows: int = Field(
        100_000, ge=0, description="Rows from which whole scans of a table, and its foreign keys, count."
    )
    max_scans_per_hour: float = Field(60, gt=0, description="How often an hour a large table may be read whole.")
    required_indexes: tuple[str, ...] = Field(
        (), description="Indexes that must exist and be valid, with their schema: `public.orders_customer_id_idx`."
    )


@dataclass(frozen=True, slots=True)
class Statement:
    """One row of pg_stat_statements: how often a statement was executed, and how many seconds that took in all,
    with its planning where pg_stat_statements.track_planning is on.

    The text of a statement may hold personal data, so it is not read: `id` is its queryid.
    """

    id: str
    database: str
    role: str
    calls: int
    seconds: float

    @property
    def key(self) -> StatementKey:
        """What tells it from others."""
        return self.id, self.database, self.role


@dataclass(frozen=True, slots=True)
class StatementCounts:
    """pg_stat_statements of one instance. `reset_age` is in seconds; `lost` how often it dropped the least used entries."""

    where: str
    reset_age: float | None
    lost: int
    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class LongTransaction:
    """An open transaction: whose, and its age in seconds. `state` is `prepared` for two-phase transactions.

    `age` is None for a session with track_activities off, which shows none.
    """

    what: str
    role: str
    database: str
    state: str
    age: float | None


@dataclass(frozen=True, slots=True)
class Activity:
    """Counters of all databases of one instance: blocks found in shared_buffers and read, sessions begun, transactions ended."""

    hits: int
    reads: int
    sessions: int | None
    transactions: int


@dataclass(frozen=True, slots=True)
class Table:
    """One table. `rows` is -1 where it was never analysed or vacuumed."""

    name: str
    rows: float
    dead: int
    size: int
    autovacuum: bool


@dataclass(frozen=True, slots=True)
class TableScans:
    """How often a table was read whole on one instance, and how many rows these scans read."""

    name: str
    rows: float
    scans: int
    read: int


@dataclass(frozen=True, slots=True)
class Index:
    """One index. `key` is equal for indexes that hold the same; `root` names the partitioned index it is a part of, or itself.

    `enforces` is how it is unique: where it is equal, two indexes enforce the same. `bound` is true for those that a constraint
    or the replica identity stands on, `building` while it is being built or dropped.
    """

    id: int
    root: int
    name: str
    root_name: str
    table: str
    valid: bool
    unique: bool
    bound: bool
    building: bool
    partition: bool
    size: int
    key: str
    enforces: str
    scans: int


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A foreign key whose columns no index begins with: each deleted row of `references` reads `table` whole."""

    name: str
    table: str
    references: str
    rows: float
    deleted: int
