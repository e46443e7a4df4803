"""Whether the statements, transactions and tables of an instance show a workload that somebody has tuned."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

from collectors.shared.growth import Growth
from collectors.shared.verdicts import verdict
from collectors.systems.postgresql.model.settings import Settings
from collectors.systems.postgresql.model.tuning import (
    Activity,
    LongTransaction,
    Statement,
    StatementCounts,
    StatementKey,
    Table,
    TuningLimits,
)
from exporter.options import format_duration
from exporter.verdict import Reason, Result, failed, ok, unknown, warning
from exporter.words import counted, format_length

__all__ = ["VACUUMING", "judge_cache_use", "judge_statements_speed", "judge_tables", "judge_transactions"]

#: Without one of them autovacuum does not run; without the last nothing is counted either.
VACUUMING = ("autovacuum", "track_counts")
#: Fewer block reads say nothing of a ratio.
_MIN_BLOCKS = 100_000
#: Fewer dead row versions are not worth a word.
_MIN_DEAD = 10_000
#: A table so large that it was never analysed is planned blindly.
_MIN_ANALYSED = 10 * 10**6
#: More dead row versions than this share: most of what is read is dead.
_MOSTLY_DEAD = 0.5


def judge_statements_speed(
    counts: StatementCounts, growth: Growth[StatementKey] | None, limits: TuningLimits
) -> Result:
    """Whether no statement that is often run is slow on average.

    What was executed within the window counts where that was often enough, so that a statement that was made faster passes
    before statistics are reset; else all that was counted since they were.
    """
    slowest = max((_mean(statement, growth, limits) or 0.0 for statement in counts.statements), default=0.0)
    good = ok(
        f"No statement that was run {limits.min_calls} times or more takes longer than "
        f"{format_duration(limits.slow_mean)} on average on {counts.where}.",
        slowest_mean_seconds=slowest,
    )
    return verdict(_statement_problems(counts, growth, limits), good)


def _mean(statement: Statement, growth: Growth[StatementKey] | None, limits: TuningLimits) -> float | None:
    """The mean seconds of a statement that is often run; None for others."""
    if growth is not None:
        calls, seconds = growth.by_key.get(statement.key, (0.0, 0.0))
        if calls >= limits.min_calls:
            return seconds / calls
    return statement.seconds / statement.calls if statement.calls >= limits.min_calls else None


def _statement_problems(
    counts: StatementCounts, growth: Growth[StatementKey] | None, limits: TuningLimits
) -> Iterator[Result]:
    slow_mean = limits.slow_mean.total_seconds()
    for statement in sorted(counts.statements, key=lambda statement: -statement.seconds):
        mean = _mean(statement, growth, limits)
        if mean is not None and mean > slow_mean:
            yield failed(
                f"Statement {statement.id or 'without a query id'} of role {statement.role} in database {statement.database} took "
                f"{mean * 1000:,.0f} ms on average on {counts.where} ({counted(statement.calls, 'call')} in all; limit "
                f"{format_duration(limits.slow_mean)}).",
                reason=Reason.LIMIT,
            )
    yield from _rare_problems(counts, growth, limits)
    age = counts.reset_age
    if age is not None and age < limits.min_observation.total_seconds():
        yield unknown(
            f"pg_stat_statements of {counts.where} has counted for {_length(age)} only "
            f"(wanted {format_duration(limits.min_observation)}), so slow statements may be missing."
        )
    if not any(statement.calls for statement in counts.statements):
        yield unknown(f"pg_stat_statements of {counts.where} has counted no statement of an application.")
    if counts.lost:
        yield warning(
            f"pg_stat_statements of {counts.where} dropped its least used entries {counted(counts.lost, 'time')}: "
            "raise pg_stat_statements.max."
        )


def _rare_problems(
    counts: StatementCounts, growth: Growth[StatementKey] | None, limits: TuningLimits
) -> Iterator[Result]:
    """Slow statements that are each run rarely, and often together: one query that is written in many shapes has as many ids."""
    if growth is None:
        return
    together: defaultdict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for statement in counts.statements:
        calls, seconds = growth.by_key.get(statement.key, (0.0, 0.0))
        if 0 < calls < limits.min_calls and seconds > calls * limits.slow_mean.total_seconds():
            together[statement.role, statement.database].append((calls, seconds))
    for (role, database), slow in sorted(together.items()):
        calls, seconds = (sum(values) for values in zip(*slow, strict=True))
        if calls >= limits.min_calls:
            yield failed(
                f"{counted(len(slow), 'statement')} of role {role} in database {database}, each of them run rarely, took "
                f"{seconds / calls * 1000:,.0f} ms on average on {counts.where} ({calls:.0f} calls within "
                f"{_length(growth.seconds)}; limit {format_duration(limits.slow_mean)}).",
                reason=Reason.LIMIT,
            )


def judge_transactions(where: str, transactions: Sequence[LongTransaction], limits: TuningLimits) -> Result:
    """Whether no transaction has been open for too long: it keeps dead rows, and its locks."""
    problems = (
        unknown(
            f"{transaction.what.capitalize()} of role {transaction.role} in database {transaction.database} on {where} hides since "
            "when its transaction is open (track_activities is off).",
            reason=Reason.MISCONFIGURED,
        )
        if transaction.age is None
        else failed(
            f"{transaction.what.capitalize()} of role {transaction.role} in database {transaction.database} on {where} has been "
            f"{'open' if transaction.state == 'active' else transaction.state} for {_length(transaction.age)} "
            f"(limit {format_duration(limits.max_transaction_age)}).",
            reason=Reason.LIMIT,
        )
        for transaction in transactions
    )
    return verdict(
        problems, ok(f"No transaction on {where} is older than {format_duration(limits.max_transaction_age)}.")
    )


def judge_cache_use(where: str, total: Activity, growth: Growth[str] | None, limits: TuningLimits) -> Result:
    """Whether shared_buffers answers most block reads. The operating system caches too, so this is a warning at most."""
    hits, reads = (growth.by_key[where] if growth else (total.hits, total.reads))[:2]
    if hits + reads < _MIN_BLOCKS:
        return ok(f"{where} has read too few blocks to say how well they are cached.")
    ratio = hits / (hits + reads)
    seen = f"{ratio:.1%} of the block reads on {where} were answered from shared_buffers"
    if ratio < limits.min_hit_ratio:
        return warning(f"{seen} (wanted {limits.min_hit_ratio:.0%}).", cache_hit_ratio=ratio)
    return ok(f"{seen}.", cache_hit_ratio=ratio)


def judge_tables(where: str, tables: Sequence[Table], settings: Settings, limits: TuningLimits) -> Result:
    """Whether autovacuum, by these settings, runs, and keeps up with the tables of one database."""
    shares = [share for table in tables if (share := _dead_share(table)) is not None]
    good = ok(
        f"Autovacuum keeps up with the {counted(len(tables), 'table')} of {where}.",
        dead_rows_ratio=max(shares, default=0.0),
    )
    return verdict(_table_problems(where, tables, settings, limits), good)


def _dead_share(table: Table) -> float | None:
    if table.dead < _MIN_DEAD:
        return None
    return table.dead / (max(table.rows, 0) + table.dead)


def _table_problems(where: str, tables: Sequence[Table], settings: Settings, limits: TuningLimits) -> Iterator[Result]:
    for name in VACUUMING:
        if settings.value(name) == "off":
            yield failed(f"{name} is off on {where}, so autovacuum does not run.", reason=Reason.MISCONFIGURED)
    dead: Mapping[str, float] = {table.name: share for table in tables if (share := _dead_share(table)) is not None}
    ordered = sorted(tables, key=lambda table: -dead.get(table.name, 0.0))
    for table in ordered:
        if (share := dead.get(table.name, 0.0)) > _MOSTLY_DEAD:
            yield failed(
                f"{share:.0%} of the rows of {table.name} on {where} are dead ({table.dead:,} of them; limit {_MOSTLY_DEAD:.0%}).",
                reason=Reason.LIMIT,
            )
    for table in ordered:
        if table.rows < 0 and table.size >= _MIN_ANALYSED:
            yield failed(
                f"Table {table.name} on {where} was never analysed, so its queries are planned blindly.",
                reason=Reason.MISSING,
            )
        if not table.autovacuum and table.size >= _MIN_ANALYSED:
            yield warning(f"Autovacuum is switched off for table {table.name} on {where}.")
    for table in ordered:
        if limits.max_dead_ratio < (share := dead.get(table.name, 0.0)) <= _MOSTLY_DEAD:
            yield warning(
                f"{share:.0%} of the rows of {table.name} on {where} are dead (limit {limits.max_dead_ratio:.0%})."
            )


def _length(seconds: float) -> str:
    return format_length(timedelta(seconds=max(0.0, seconds)))
