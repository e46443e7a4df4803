"""What an instance is asked about the soundness of its data. All of it raises ProbeError when not answered in time."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal

from collectors.systems.postgresql.client.session import Session
from collectors.systems.postgresql.model.validation import (
    Checksums,
    Collation,
    Counted,
    History,
    Loose,
    Oldest,
    Orphans,
    Sequence,
)
from exporter.verdict import ProbeError, Reason

__all__ = [
    "check_index",
    "read_checksums",
    "read_collations",
    "read_counted",
    "read_loose",
    "read_number",
    "read_oldest",
    "read_orphans",
    "read_plan",
    "read_replica_roles",
    "read_sequences",
]


@dataclass(frozen=True, slots=True)
class _Number:
    value: Decimal | None


@dataclass(frozen=True, slots=True)
class _Counted:
    value: Decimal | None
    foreign: str | None
    tables: int
    keys: int


@dataclass(frozen=True, slots=True)
class _Text:
    text: str


@dataclass(frozen=True, slots=True)
class _Allowed:
    allowed: bool


class _Line(dict[str, str]):
    """A line of EXPLAIN, by the name of its column, which is no identifier."""


@dataclass(frozen=True, slots=True)
class _Numbered:
    name: str
    column: str
    readable: bool
    most: int
    query: str


@dataclass(frozen=True, slots=True)
class _Given:
    name: str
    column: str
    next: Decimal
    highest: Decimal | None


async def read_checksums(session: Session) -> Checksums:
    """Whether it writes checksums, and how many pages did not match theirs."""
    (checksums,) = await session.ask(
        Checksums,
        """SELECT current_setting('data_checksums') = 'on' AS enabled,
                  (SELECT string_agg(DISTINCT name || coalesce(' for role ' || role, '')
                                     || coalesce(' in database ' || database, ''), ', ')
                   FROM (SELECT name, setting, NULL AS role, NULL AS database FROM pg_settings WHERE source <> 'database'
                         UNION ALL
                         SELECT split_part(entry, '=', 1), split_part(entry, '=', 2), r.rolname, d.datname
                         FROM pg_db_role_setting s CROSS JOIN unnest(s.setconfig) AS entry
                              LEFT JOIN pg_roles r ON r.oid = s.setrole
                              LEFT JOIN pg_database d ON d.oid = s.setdatabase) AS settings
                   WHERE CASE WHEN name IN ('zero_damaged_pages', 'ignore_checksum_failure') THEN setting::bool END) AS ignored,
                  sum(checksum_failures)::int8 AS failures,
                  string_agg(coalesce(datname::text, 'shared tables'), ', ' ORDER BY datname)
                  FILTER (WHERE checksum_failures > 0) AS databases
           FROM pg_stat_database""",
    )
    return checksums


async def read_collations(session: Session) -> list[Collation]:
    """Databases and used collations whose recorded version is not the one that sorts now; those without a version are left out."""
    return await session.ask(
        Collation,
        """SELECT 'database ' || datname AS what, recorded, actual
           FROM (SELECT d.datname::text, to_jsonb(d) ->> 'datcollversion' AS recorded,
                        CASE WHEN to_jsonb(d) ? 'datcollversion' THEN pg_database_collation_actual_version(d.oid) END AS actual
                 FROM pg_database d WHERE d.datallowconn) AS databases
           WHERE recorded IS DISTINCT FROM actual AND recorded IS NOT NULL AND actual IS NOT NULL
           UNION ALL
           SELECT 'collation ' || collname, collversion, pg_collation_actual_version(oid)
           FROM pg_collation c
           WHERE collversion IS DISTINCT FROM pg_collation_actual_version(oid) AND collversion IS NOT NULL
                 AND EXISTS (SELECT FROM pg_attribute a JOIN pg_class t ON t.oid = a.attrelid
                             WHERE a.attcollation = c.oid AND a.attnum > 0 AND t.relnamespace <> 'pg_catalog'::regnamespace)
           ORDER BY 1""",
    )


async def read_loose(session: Session) -> list[Loose]:
    """What loads and restores leave half-way: rules that do not apply, views without rows, tables that are still being copied."""
    return await session.ask(
        Loose,
        # What another session keeps in a temporary table is none of the data.
        """SELECT CASE WHEN (to_jsonb(k) ->> 'conenforced')::bool IS FALSE THEN 'unenforced' ELSE 'constraint' END AS kind,
                  conname::text AS name, conrelid::regclass::text AS table
           FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
           WHERE NOT convalidated AND contype IN ('f', 'c', 'n') AND c.relpersistence <> 't'
           UNION ALL
           SELECT CASE WHEN t.tgconstraint <> 0 THEN 'the trigger of constraint' ELSE 'trigger' END,
                  coalesce(k.conname, t.tgname)::text, t.tgrelid::regclass::text
           FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid LEFT JOIN pg_constraint k ON k.oid = t.tgconstraint
           WHERE (t.tgenabled = 'D' OR t.tgenabled = 'R' AND t.tgisinternal) AND c.relpersistence <> 't'
           UNION ALL
           SELECT 'rule', rulename::text, ev_class::regclass::text FROM pg_rewrite WHERE ev_enabled = 'D'
           UNION ALL
           SELECT 'replica rule', rulename::text, ev_class::regclass::text FROM pg_rewrite
           WHERE ev_enabled = 'R' AND NOT EXISTS (SELECT subname FROM pg_subscription)
           UNION ALL
           -- A subscriber has what fires for replication alone on purpose.
           SELECT 'replica trigger', tgname::text, tgrelid::regclass::text FROM pg_trigger
           WHERE tgenabled = 'R' AND NOT tgisinternal AND NOT EXISTS (SELECT subname FROM pg_subscription)
           UNION ALL
           SELECT 'partition', i.inhrelid::regclass::text, i.inhparent::regclass::text
           FROM pg_inherits i WHERE (to_jsonb(i) ->> 'inhdetachpending')::bool
           UNION ALL
           SELECT 'domain constraint', conname::text, contypid::regtype::text
           FROM pg_constraint WHERE NOT convalidated AND contypid <> 0
           UNION ALL
           SELECT 'view', relname::text, oid::regclass::text FROM pg_class WHERE relkind = 'm' AND NOT relispopulated
           UNION ALL
           SELECT 'unlogged', relname::text, oid::regclass::text
           FROM pg_class WHERE relkind = 'r' AND relpersistence = 'u' AND pg_relation_size(oid) > 0
           UNION ALL
           SELECT 'unlogged sequence', q.relname::text, q.oid::regclass::text FROM pg_class q
           WHERE q.relkind = 'S' AND q.relpersistence = 'u' AND NOT EXISTS (
               SELECT FROM pg_depend d JOIN pg_class t ON t.oid = d.refobjid
               WHERE d.classid = 'pg_class'::regclass AND d.objid = q.oid AND d.refclassid = 'pg_class'::regclass
                     AND t.relpersistence = 'u')
           UNION ALL
           SELECT 'copy', s.subname::text, r.srrelid::regclass::text
           FROM pg_subscription s JOIN pg_subscription_rel r ON r.srsubid = s.oid
           WHERE s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND r.srsubstate IN ('i', 'd', 'f')
           UNION ALL
           SELECT 'subscription', subname::text, '' FROM pg_subscription
           WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND NOT subenabled
           UNION ALL
           SELECT 'idle subscription', s.subname::text, '' FROM pg_subscription s
           WHERE s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND s.subenabled
                 AND NOT EXISTS (SELECT FROM pg_stat_subscription a
                                 WHERE a.subid = s.oid AND a.relid IS NULL AND a.received_lsn IS NOT NULL)
           ORDER BY 1, 3, 2""",
    )


#: The sequences that number columns upwards: those of their defaults and identities, and those that columns without either own.
_NUMBERED = r"""
    WITH defaults AS (
        SELECT q.oid AS seqrelid, f.adrelid AS attrelid, f.adnum AS attnum
        FROM pg_depend d JOIN pg_attrdef f ON f.oid = d.objid JOIN pg_class q ON q.oid = d.refobjid AND q.relkind = 'S'
        WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass
              -- What is computed from the number, such as a shard's identifiers, is not held against it.
              AND pg_get_expr(f.adbin, f.adrelid) ~ '^\(*nextval\(''([^'']|'''')+''::regclass\)\)*(::[^-+*/|&<>#%]+)?$')
    SELECT DISTINCT s.seqrelid, s.seqincrement, s.seqmax, a.attrelid, a.attnum, a.attname,
           coalesce(nullif(y.typbasetype, 0), y.oid) AS type,
           greatest(a.atttypmod, y.typtypmod) AS typmod,
           format('%s.%I', a.attrelid::regclass, a.attname) AS "column"
    FROM pg_sequence s
         JOIN (SELECT d.objid AS seqrelid, d.refobjid AS attrelid, d.refobjsubid AS attnum
               FROM pg_depend d JOIN pg_attribute o ON o.attrelid = d.refobjid AND o.attnum = d.refobjsubid
               WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
                     AND (d.deptype = 'i' OR d.deptype = 'a' AND o.attidentity = '' AND NOT o.atthasdef)
               UNION SELECT seqrelid, attrelid, attnum FROM defaults) AS tied USING (seqrelid)
         JOIN pg_attribute a USING (attrelid, attnum) JOIN pg_class c ON c.oid = a.attrelid
         JOIN pg_type y ON y.oid = a.atttypid
    WHERE s.seqincrement > 0 AND NOT s.seqcycle AND c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
          AND coalesce(nullif(y.typbasetype, 0), y.oid)
              IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype)"""
#: How many columns one query reads: each locks a table and its indexes, and the server has one lock table for everybody.
_COLUMNS_AT_ONCE = 50


async def read_replica_roles(session: Session) -> list[str]:
    """For whom neither triggers nor foreign keys apply, as session_replication_role says: 'everybody', 'role etl'.

    Raises ProbeError where the exporter's own role hides it.
    """
    name = "session_replication_role"
    settings = await session.settings([name])
    if name in settings.masked:
        raise ProbeError(f"The exporter's own role or connection sets {name}, which hides what others get: RESET it.")
    found = [
        setting.scope()
        for setting in settings.overrides
        if setting.value == "replica" and setting.database in (None, settings.database)
    ]
    return (["everybody"] if settings.instance.get(name) == "replica" else []) + found


async def read_sequences(session: Session) -> list[Sequence]:
    """The sequences that number columns upwards: the next number, and the highest that the column already has of those it may give.

    Both come from one query, as rows are inserted meanwhile.
    """
    sequences = await session.ask(
        _Numbered,
        f"""SELECT seqrelid::regclass::text AS name, "column",
                   has_sequence_privilege(seqrelid, 'SELECT') AND has_column_privilege(attrelid, attnum, 'SELECT') AS readable,
                   least(seqmax, CASE WHEN type = 'int2'::regtype THEN 32767 WHEN type = 'int4'::regtype THEN 2147483647
                                      -- numeric(precision, scale), as numbers of other systems become
                                      WHEN type = 'numeric'::regtype AND typmod >= 4
                                      THEN 10::numeric ^ ((((typmod - 4) >> 16) & 65535)
                                                          - ((((typmod - 4) & 2047) # 1024) - 1024)) - 1 END)::int8 AS most,
                   format('SELECT %L AS name, %L AS "column", '
                          's.last_value + CASE WHEN s.is_called THEN %s::numeric ELSE 0 END AS next, '
                          '(SELECT max(c.%I)::numeric FROM %s c%s) AS highest FROM %s s',
                          seqrelid::regclass::text, "column", seqincrement, attname, attrelid::regclass,
                          -- With an increment of two the numbers in between are another server's.
                          CASE WHEN seqincrement > 1
                               THEN format(' WHERE (c.%I::numeric - s.last_value) %% %s = 0', attname, seqincrement) END,
                          seqrelid::regclass) AS query
            FROM ({_NUMBERED}) AS numbered ORDER BY 1, 2""",  # noqa: S608  # a constant
    )
    readable = [sequence for sequence in sequences if sequence.readable]
    given: dict[tuple[str, str], _Given] = {}
    for first in range(0, len(readable), _COLUMNS_AT_ONCE):
        queries = " UNION ALL ".join(sequence.query for sequence in readable[first : first + _COLUMNS_AT_ONCE])
        given |= {(row.name, row.column): row for row in await session.ask(_Given, queries)}
    return [
        Sequence(
            sequence.name,
            sequence.column,
            sequence.most,
            int(found.next) if (found := given.get((sequence.name, sequence.column))) else None,
            int(found.highest) if found and found.highest is not None else None,
        )
        for sequence in sequences
    ]


async def read_orphans(session: Session, keys: Collection[str]) -> list[Orphans]:
    """How many rows each of these foreign keys leaves without what they reference. Raises ProbeError for a name that is none."""
    # A key is about a table itself and not its children by INHERITS; with MATCH FULL either all columns are NULL or none is.
    queries = await session.ask(
        _Text,
        """SELECT format('SELECT %%L AS key, %%L AS "table", %%L AS "references", count(*) AS rows FROM %%s c '
                         'WHERE NOT (%%s) AND NOT EXISTS (SELECT FROM %%s p WHERE %%s)',
                         k.conname, t.oid::regclass::text, f.oid::regclass::text,
                         CASE t.relkind WHEN 'r' THEN 'ONLY ' ELSE '' END || t.oid::regclass,
                         string_agg(format('c.%%I IS NULL', a.attname),
                                    CASE k.confmatchtype WHEN 'f' THEN ' AND ' ELSE ' OR ' END),
                         CASE f.relkind WHEN 'r' THEN 'ONLY ' ELSE '' END || f.oid::regclass,
                         string_agg(format('p.%%I OPERATOR(%%I.%%s) c.%%I', b.attname, n.nspname, o.oprname, a.attname),
                                    ' AND ')) AS text
           FROM pg_constraint k JOIN pg_class t ON t.oid = k.conrelid JOIN pg_class f ON f.oid = k.confrelid
                CROSS JOIN LATERAL unnest(k.conkey, k.confkey, k.conpfeqop) AS pair(own, other, equal)
                JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = pair.own
                JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = pair.other
                JOIN pg_operator o ON o.oid = pair.equal JOIN pg_namespace n ON n.oid = o.oprnamespace
           WHERE k.contype = 'f' AND NOT coalesce((to_jsonb(k) ->> 'conperiod')::bool, false)
                 AND k.conname = ANY(%s) AND k.conparentid = 0
           GROUP BY k.oid, k.conname, k.confmatchtype, t.oid, t.relkind, f.oid, f.relkind""",
        [list(keys)],
    )
    found = [orphans for query in queries for orphans in await session.ask(Orphans, query.text)]
    if missing := sorted(set(keys) - {orphans.key for orphans in found}):
        raise ProbeError(
            f"{session.instance.where} has no foreign key {missing[0]} (of single values), so its rows were not checked.",
            Reason.MISSING,
        )
    return found


async def read_number(session: Session, query: str) -> Decimal:
    """The one value of a query of the user's own. Raises ProbeError when it is not one number."""
    # As a subquery it returns one column and one row, or is an error. It may end in a comment.
    (row,) = await session.ask(_Number, f"SELECT ({query}\n)::numeric AS value")  # the configuration's own
    return _finite(row.value, session)


async def read_counted(session: Session, query: str) -> Counted:
    """The one value of a query of the user's own, and what it was read from. Raises ProbeError when it is not one number."""
    # What a statement reads it has locked before it begins.
    (row,) = await session.ask(
        _Counted,
        f"""SELECT ({query}
)::numeric AS value, read.foreign, read.tables, read.keys
            FROM (SELECT min(c.oid::regclass::text) FILTER (WHERE c.relkind = 'f') AS foreign,
                         count(*) FILTER (WHERE c.relkind IN ('r', 'p')) AS tables,
                         count(*) FILTER (WHERE EXISTS (SELECT FROM pg_constraint k
                                                        WHERE k.conrelid = c.oid AND k.contype IN ('p', 'u'))) AS keys
                  FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
                  WHERE l.pid = pg_backend_pid() AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                        AND c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)) AS read""",  # noqa: S608
    )
    return Counted(_finite(row.value, session), row.foreign, row.tables, row.keys)


async def read_plan(session: Session, query: str) -> list[str]:
    """How the server would answer a query of the user's own, line by line: equal for two spellings of one question.

    Raises ProbeError where it would not.
    """
    # The configuration's own query; its identifier is another one for each spelling.
    lines = await session.ask(_Line, f"EXPLAIN (COSTS OFF, VERBOSE) SELECT ({query}\n)::numeric AS value")
    return [text for line in lines if not (text := line["QUERY PLAN"]).startswith("Query Identifier")]


def _finite(value: Decimal | None, session: Session) -> Decimal:
    if value is None:
        raise ProbeError(
            f"A configured query returned no value on {session.instance.where} (wanted one number).", Reason.MALFORMED
        )
    if not value.is_finite():
        raise ProbeError(
            f"A configured query returned {value} on {session.instance.where} (wanted a number).",
            Reason.MALFORMED,
        )
    return value


async def read_oldest(session: Session, history: History) -> Oldest:
    """How old the oldest of some data is, by the server's own clock. Raises ProbeError when the query does not return one row."""
    columns = "oldest, rows" if history.min_rows is not None else "oldest"
    rows = await session.ask(
        Oldest,
        f"""SELECT CASE WHEN isfinite(q.oldest::timestamptz)
                        THEN extract(epoch FROM clock_timestamp() - q.oldest::timestamptz)::float8 END AS age,
                   coalesce(NOT isfinite(q.oldest::timestamptz), false) AS infinite,
                   coalesce(isfinite(q.oldest::timestamptz) AND EXISTS (
                       SELECT FROM unnest('{{0001-01-01, 1601-01-01, 1753-01-01, 1899-12-30, 1900-01-01, 1904-01-01, 1970-01-01}}'
                                          ::timestamptz[]) AS p(placeholder)
                       WHERE q.oldest::timestamptz BETWEEN p.placeholder - interval '15h' AND p.placeholder + interval '15h'
                             OR q.oldest::timestamptz < '1800-01-01'),  -- a year of two digits, or before Christ
                       false) AS placeholder,
                   {"q.rows::int8" if history.min_rows is not None else "NULL::int8"} AS rows
            FROM ({history.query}
) AS q({columns}) LIMIT 2""",  # noqa: S608
    )
    if len(rows) != 1:
        raise ProbeError(
            f"The query for {history.name} returned {'several rows' if rows else 'no row'} on {session.instance.where} "
            "(wanted one).",
            Reason.MALFORMED,
        )
    return rows[0]


async def check_index(session: Session, index: str) -> None:
    """Have amcheck read a B-tree index whole, and look each row of its table up in it; of a partitioned one, each of its parts.

    From PostgreSQL 17 on, a role that may is also shown whether a unique index has duplicates. Raises Corrupted when it is damaged,
    lacks a row or has duplicates, and ProbeError without amcheck.
    """
    if (schema := await session.schema_of("amcheck")) is None:
        raise ProbeError(
            f"The extension amcheck is not installed in the database of {session.instance.where}, so no index was read.",
            Reason.MISSING,
        )
    (unique,) = await session.ask(
        _Allowed,
        """SELECT coalesce(has_function_privilege(to_regprocedure(%s)::oid, 'EXECUTE'), false) AS allowed""",
        [f"{schema}.bt_index_check(regclass, boolean, boolean)"],
    )
    check = f"{schema}.bt_index_check(relid, true{', true' if unique.allowed else ''})"  # quoted by the server
    parts = await session.ask(
        _Text,
        f"""SELECT {check}::text AS text
            FROM (SELECT relid::regclass FROM pg_partition_tree(%s::regclass) WHERE isleaf
                  UNION SELECT oid::regclass FROM pg_class WHERE oid = %s::regclass AND relkind <> 'I') AS parts""",  # noqa: S608
        [index, index],
    )
    if not parts:
        raise ProbeError(f"Index {index} on {session.instance.where} has no partitions, so nothing was read.")
