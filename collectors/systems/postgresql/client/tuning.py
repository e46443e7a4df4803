"""What an instance is asked about its statements, tables and indexes. All of it raises ProbeError when not answered in time."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from collectors.systems.postgresql.client.session import Session
from collectors.systems.postgresql.model.tuning import (
    Activity,
    ForeignKey,
    Index,
    LongTransaction,
    Statement,
    StatementCounts,
    Table,
    TableScans,
)
from exporter.verdict import ProbeError, Reason

__all__ = [
    "read_activity",
    "read_foreign_keys",
    "read_indexes",
    "read_long_transactions",
    "read_scans",
    "read_statements",
    "read_statistics_age",
    "read_tables",
]

#: The first word of a statement, without comments and parentheses, of those that read and write rows: COPY, VACUUM and the like
#: are those of backups and maintenance.
_VERB = (
    r"""upper(substring(regexp_replace(query, '^(\s|--[^\n]*\n|/\*([^*]|\*[^/])*\*+/|\()+', '') FROM '^[A-Za-z]+'))"""
)
_VERBS = (
    "SELECT",
    "WITH",
    "INSERT",
    "UPDATE",
    "DELETE",
    "MERGE",
    "VALUES",
    "TABLE",
    "FETCH",
    "EXECUTE",
    "PREPARE",
    "DECLARE",
    "CALL",
    "DO",
)


@dataclass(frozen=True, slots=True)
class _Extension:
    schema: str
    version: str
    informs: bool


@dataclass(frozen=True, slots=True)
class _Info:
    lost: int
    reset_age: float | None


@dataclass(frozen=True, slots=True)
class _Age:
    reset: float | None
    up: float


async def read_statements(session: Session, leave_out: Collection[str]) -> StatementCounts | None:
    """The statements that read and write rows, of all roles but those left out; None where the extension is not installed.

    Raises ProbeError for a release of the extension that does not show since when it counts.
    """
    found = await session.ask(
        _Extension,
        """SELECT quote_ident(nspname) AS schema, extversion AS version,
                  to_regprocedure(quote_ident(nspname) || '.pg_stat_statements_info()') IS NOT NULL AS informs
           FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
           WHERE extname = 'pg_stat_statements'""",
    )
    if not found:
        return None
    if not found[0].informs:
        raise ProbeError(
            f"The extension pg_stat_statements in the database of {session.instance.where} is of version {found[0].version}, which "
            "does not show since when it counts (ALTER EXTENSION pg_stat_statements UPDATE).",
            Reason.MISCONFIGURED,
        )
    schema = found[0].schema
    (info,) = await session.ask(
        _Info,
        f"""SELECT dealloc::int8 AS lost, extract(epoch FROM clock_timestamp() - stats_reset)::float8 AS reset_age
            FROM {schema}.pg_stat_statements_info()""",  # noqa: S608  # quoted by the server
    )
    statements = await session.ask(
        Statement,
        f"""SELECT coalesce(s.queryid::text, '') AS id, coalesce(d.datname::text, 'a dropped one') AS database,
                   coalesce(r.rolname::text, 'a dropped one') AS role,
                   sum(s.calls)::int8 AS calls,
                   (sum(s.total_exec_time + s.total_plan_time) / 1000)::float8 AS seconds
            FROM {schema}.pg_stat_statements(true) s
                 LEFT JOIN pg_database d ON d.oid = s.dbid LEFT JOIN pg_roles r ON r.oid = s.userid
            WHERE {_VERB} = ANY(%s) AND r.rolname IS DISTINCT FROM session_user AND NOT coalesce(r.rolname = ANY(%s), false)
            GROUP BY 1, 2, 3""",  # noqa: S608  # quoted by the server
        [list(_VERBS), list(leave_out)],
    )
    return StatementCounts(session.instance.where, info.reset_age, info.lost, tuple(statements))


async def read_long_transactions(
    session: Session, older_than: float, roles: Collection[str], applications: Collection[str]
) -> list[LongTransaction]:
    """Clients' transactions that are older than so many seconds, and prepared ones; the oldest first, hidden ones last."""
    return await session.ask(
        LongTransaction,
        """SELECT 'process ' || pid AS what, coalesce(usename::text, '') AS role, coalesce(datname::text, '') AS database,
                  coalesce(state, 'unknown') AS state, extract(epoch FROM clock_timestamp() - begun)::float8 AS age
           FROM (SELECT *, -- One that failed has no start any more, and blocks its connection until it is rolled back.
                        coalesce(xact_start, CASE state WHEN 'idle in transaction (aborted)' THEN state_change END) AS begun
                 FROM pg_stat_activity) AS sessions
           WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
                 AND (clock_timestamp() - begun > make_interval(secs => %s) OR state = 'disabled')
                 AND NOT coalesce(usename = ANY(%s), false) AND NOT application_name = ANY(%s)
           UNION ALL
           SELECT 'prepared transaction ' || gid, owner::text, database::text, 'prepared',
                  extract(epoch FROM clock_timestamp() - prepared)::float8
           FROM pg_prepared_xacts WHERE clock_timestamp() - prepared > make_interval(secs => %s)
           ORDER BY age DESC NULLS LAST""",
        [older_than, list(roles), list(applications), older_than],
    )


async def read_activity(session: Session) -> Activity:
    """What all its databases have counted."""
    (activity,) = await session.ask(
        Activity,
        """SELECT coalesce(sum(blks_hit), 0)::int8 AS hits, coalesce(sum(blks_read), 0)::int8 AS reads,
                  sum((to_jsonb(d) ->> 'sessions')::int8)::int8 AS sessions,
                  coalesce(sum(xact_commit + xact_rollback), 0)::int8 AS transactions
           FROM pg_stat_database d WHERE datname IS NOT NULL""",
    )
    return activity


async def read_statistics_age(session: Session) -> tuple[float | None, float]:
    """How many seconds ago the statistics of the database were reset, None where nobody did, and for how long at least they count.

    A crash, an upgrade and a new standby begin with empty ones, without a reset: for sure they count since the server started.
    """
    (age,) = await session.ask(
        _Age,
        """SELECT extract(epoch FROM clock_timestamp() - stats_reset)::float8 AS reset,
                  extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float8 AS up
           FROM pg_stat_database WHERE datname = current_database()""",
    )
    return age.reset, age.up if age.reset is None else age.reset


async def read_tables(session: Session) -> list[Table]:
    """The tables of the database, with their dead row versions."""
    return await session.ask(
        Table,
        """SELECT format('%I.%I', s.schemaname, s.relname) AS name, c.reltuples::float8 AS rows, s.n_dead_tup AS dead,
                  pg_relation_size(c.oid) AS size,
                  NOT coalesce(array_to_string(c.reloptions, ',') ~* 'autovacuum_enabled=(f|of|n|0)', false) AS autovacuum
           FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid WHERE c.relpersistence <> 't'""",
    )


async def read_scans(session: Session) -> list[TableScans]:
    """How often each table of the database was read whole."""
    return await session.ask(
        TableScans,
        """SELECT format('%I.%I', s.schemaname, s.relname) AS name,
                  greatest(c.reltuples, s.n_live_tup)::float8 AS rows, s.seq_scan AS scans, s.seq_tup_read AS read
           FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid WHERE c.relpersistence <> 't'""",
    )


async def read_indexes(session: Session) -> list[Index]:
    """The indexes of the database's own tables, those of partitions included."""
    return await session.ask(
        Index,
        """SELECT i.indexrelid::int8 AS id, coalesce(pg_partition_root(i.indexrelid)::oid, i.indexrelid)::int8 AS root,
                  format('%I.%I', n.nspname, c.relname) AS name,
                  coalesce(pg_partition_root(i.indexrelid), i.indexrelid::regclass)::text AS root_name,
                  i.indrelid::regclass::text AS table,
                  i.indisvalid AND i.indisready AND i.indislive AS valid, i.indisunique AS unique,
                  i.indisreplident OR EXISTS (SELECT FROM pg_constraint k
                                              WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x')) AS bound,
                  EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid)
                  OR EXISTS (SELECT FROM pg_locks l  -- REINDEX and DROP INDEX CONCURRENTLY hold it while they wait for others
                             WHERE l.relation = i.indexrelid AND l.mode = 'ShareUpdateExclusiveLock' AND l.granted
                                   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())) AS building,
                  c.relispartition AS partition, pg_relation_size(i.indexrelid) AS size,
                  concat_ws(' ', i.indrelid, c.relam, i.indnkeyatts, i.indkey, i.indclass, i.indcollation, i.indoption,
                            pg_get_expr(i.indexprs, i.indrelid), pg_get_expr(i.indpred, i.indrelid)) AS key,
                  concat_ws(' ', i.indisunique, i.indimmediate, to_jsonb(i) ->> 'indnullsnotdistinct') AS enforces,
                  coalesce(s.idx_scan, 0) AS scans
           FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
                LEFT JOIN pg_stat_user_indexes s ON s.indexrelid = i.indexrelid
           WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(temp|toast_temp)'
                 AND (n.nspname <> 'pg_toast' OR NOT i.indisvalid)""",
    )


async def read_foreign_keys(session: Session) -> list[ForeignKey]:
    """Foreign keys whose columns no valid index begins with, and how many rows were deleted from what they reference."""
    return await session.ask(
        ForeignKey,
        """SELECT k.conname::text AS name, k.conrelid::regclass::text AS table, k.confrelid::regclass::text AS references,
                  greatest(c.reltuples, 0)::float8 AS rows, coalesce(s.n_tup_del, 0) AS deleted
           FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
                LEFT JOIN pg_stat_user_tables s ON s.relid = k.confrelid
           WHERE k.contype = 'f' AND NOT EXISTS (
               SELECT FROM pg_index i WHERE i.indrelid = k.conrelid AND i.indisvalid
                   -- A key that is NULL references nothing, so an index of the others is enough.
                   AND (i.indpred IS NULL OR pg_get_expr(i.indpred, i.indrelid) IN (
                       SELECT format('(%I IS NOT NULL)', a.attname) FROM pg_attribute a
                       WHERE a.attrelid = k.conrelid AND a.attnum = ANY(k.conkey)))
                   AND (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey)""",
    )
