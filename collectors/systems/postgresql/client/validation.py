"""What an instance is asked about the soundness of its data. All of it raises ProbeError when not answered in time."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from collectors.systems.postgresql.client.session import Session
from collectors.systems.postgresql.model.validation import (
    Checksums,
    Collation,
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
    "read_loose",
    "read_number",
    "read_oldest",
    "read_orphans",
    "read_sequences",
]


@dataclass(frozen=True, slots=True)
class _Number:
    value: float | None


@dataclass(frozen=True, slots=True)
class _Text:
    text: str


@dataclass(frozen=True, slots=True)
class _Highest:
    name: str
    value: int | None


async def read_checksums(session: Session) -> Checksums:
    """Whether it writes checksums, and how many pages did not match theirs."""
    (checksums,) = await session.ask(
        Checksums,
        """SELECT current_setting('data_checksums') = 'on' AS enabled, sum(checksum_failures)::int8 AS failures,
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
    """Constraints that were never checked against the rows there are, and triggers that are switched off."""
    return await session.ask(
        Loose,
        """SELECT 'constraint' AS kind, conname::text AS name, conrelid::regclass::text AS table
           FROM pg_constraint WHERE NOT convalidated AND contype IN ('f', 'c', 'n') AND conrelid <> 0
           UNION ALL
           SELECT CASE WHEN t.tgconstraint <> 0 THEN 'the trigger of constraint' ELSE 'trigger' END,
                  coalesce(k.conname, t.tgname)::text, t.tgrelid::regclass::text
           FROM pg_trigger t LEFT JOIN pg_constraint k ON k.oid = t.tgconstraint WHERE t.tgenabled = 'D'
           ORDER BY 1, 3, 2""",
    )


async def read_sequences(session: Session) -> list[Sequence]:
    """The sequences that number columns upwards, each with the column's highest value."""
    sequences = await session.ask(
        Sequence,
        """SELECT s.seqrelid::regclass::text AS name, format('%s.%I', d.refobjid::regclass, a.attname) AS column,
                  CASE WHEN has_sequence_privilege(s.seqrelid, 'SELECT, USAGE') THEN pg_sequence_last_value(s.seqrelid) END AS last,
                  s.seqstart AS start,
                  has_sequence_privilege(s.seqrelid, 'SELECT, USAGE')
                  AND has_column_privilege(d.refobjid, a.attnum, 'SELECT') AS readable
           FROM pg_sequence s
                JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = s.seqrelid AND d.deptype IN ('a', 'i')
                     AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
                JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
           WHERE s.seqincrement > 0 AND NOT s.seqcycle ORDER BY 1""",
    )
    if not (readable := [sequence.name for sequence in sequences if sequence.readable]):
        return sequences
    query = await session.ask(
        _Text,
        """SELECT string_agg(format('SELECT %%L AS name, max(%%I)::int8 AS value FROM %%s', s.seqrelid::regclass::text, a.attname,
                                    d.refobjid::regclass), ' UNION ALL ') AS text
           FROM pg_sequence s
                JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = s.seqrelid AND d.deptype IN ('a', 'i')
                     AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
                JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
           WHERE s.seqrelid::regclass::text = ANY(%s)""",
        [readable],
    )
    highest = {row.name: row.value for row in await session.ask(_Highest, query[0].text)}
    return [replace(sequence, highest=highest.get(sequence.name)) for sequence in sequences]


async def read_orphans(session: Session, keys: Collection[str]) -> list[Orphans]:
    """How many rows each of these foreign keys leaves without what they reference. Raises ProbeError for a name that is none."""
    queries = await session.ask(
        _Text,
        """SELECT format('SELECT %%L AS key, %%L AS "table", %%L AS "references", count(*) AS rows FROM %%s c WHERE %%s '
                         'AND NOT EXISTS (SELECT FROM %%s p WHERE %%s)',
                         k.conname, k.conrelid::regclass::text, k.confrelid::regclass::text, k.conrelid::regclass,
                         string_agg(format('c.%%I IS NOT NULL', a.attname), ' AND '), k.confrelid::regclass,
                         string_agg(format('p.%%I = c.%%I', b.attname, a.attname), ' AND ')) AS text
           FROM pg_constraint k
                CROSS JOIN LATERAL unnest(k.conkey, k.confkey) AS pair(own, other)
                JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = pair.own
                JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = pair.other
           WHERE k.contype = 'f' AND k.conname = ANY(%s) AND k.conparentid = 0 GROUP BY k.oid""",
        [list(keys)],
    )
    found = [orphans for query in queries for orphans in await session.ask(Orphans, query.text)]
    if missing := sorted(set(keys) - {orphans.key for orphans in found}):
        raise ProbeError(
            f"{session.instance.where} has no foreign key {missing[0]}, so its rows were not checked.", Reason.MISSING
        )
    return found


async def read_number(session: Session, query: str) -> float:
    """The one value of a query of the user's own. Raises ProbeError when it is not one number."""
    rows = await session.ask(_Number, f"SELECT q.value::float8 AS value FROM ({query}) AS q(value) LIMIT 2")  # noqa: S608
    if len(rows) != 1 or rows[0].value is None:
        raise ProbeError(
            f"A configured query returned {len(rows) if len(rows) != 1 else 'no'} value on {session.instance.where} "
            "(wanted one number).",
            Reason.MALFORMED,
        )
    return rows[0].value


async def read_oldest(session: Session, history: History) -> Oldest:
    """How old the oldest of some data is, by the server's own clock. Raises ProbeError when the query does not return one row."""
    columns = "oldest, rows" if history.min_rows is not None else "oldest"
    rows = await session.ask(
        Oldest,
        f"""SELECT extract(epoch FROM clock_timestamp() - q.oldest::timestamptz)::float8 AS age,
                   {"q.rows::int8" if history.min_rows is not None else "NULL::int8"} AS rows
            FROM ({history.query}) AS q({columns}) LIMIT 2""",  # noqa: S608
    )
    if len(rows) != 1:
        raise ProbeError(
            f"The query for {history.name} returned {'several rows' if rows else 'no row'} on {session.instance.where} "
            "(wanted one).",
            Reason.MALFORMED,
        )
    return rows[0]


async def check_index(session: Session, index: str) -> None:
    """Have amcheck read a B-tree index whole. Raises Corrupted when it is damaged."""
    schemas = await session.ask(
        _Text,
        """SELECT quote_ident(nspname) AS text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
           WHERE extname = 'amcheck'""",
    )
    if not schemas:
        raise ProbeError(
            f"The extension amcheck is not installed in the database of {session.instance.where}, so no index was read.",
            Reason.MISSING,
        )
    sql = f"SELECT {schemas[0].text}.bt_index_check(%s::regclass, false)::text AS text"  # quoted by the server
    await session.ask(_Text, sql, [index])
