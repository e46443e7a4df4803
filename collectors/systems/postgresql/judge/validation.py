"""Whether the data of a database is whole, sound and old enough."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from decimal import Decimal

from collectors.shared.verdicts import verdict
from collectors.systems.postgresql.model.validation import (
    Checksums,
    Collation,
    Copy,
    Counted,
    History,
    Invariant,
    Loose,
    Oldest,
    Orphans,
)
from collectors.systems.postgresql.model.validation import Sequence as Numbering
from exporter.verdict import Reason, Result, failed, ok, unknown, warning
from exporter.words import counted, format_length

__all__ = [
    "judge_checksums",
    "judge_collations",
    "judge_copy",
    "judge_history",
    "judge_invariant",
    "judge_loose",
    "judge_orphans",
    "judge_sequences",
]


_NEARLY = 0.9
"""Which share of its numbers a sequence has given when it is time to widen the column."""


def judge_copy(where: str, copy: Copy, origin: Counted, counted: Counted) -> Result:
    """Whether as much is there as was copied, with the keys that it had."""
    source, target = origin.value, counted.value
    if counted.foreign is not None:
        return unknown(
            f"{copy.name}: {where} counts the rows of the foreign table {counted.foreign}, which are on another server.",
            reason=Reason.MISCONFIGURED,
        )
    if abs(source - target) > copy.tolerance or (source and not target):
        return failed(
            f"{copy.name}: the source has {source:,}, {where} has {target:,} (they may differ by {copy.tolerance}).",
            reason=Reason.CONTRADICTED,
        )
    if not source:
        return unknown(f"{copy.name}: the source has none, so nothing shows that it was copied.", reason=Reason.MISSING)
    same = "as the source does" if source == target else f"the source {source:,}"
    if origin.keys and counted.tables and not counted.keys:
        return warning(
            f"{copy.name}: {where} has {target:,}, {same}, but without a primary or unique key, which the source has: a restore "
            "that breaks off after the rows leaves that."
        )
    return ok(f"{copy.name}: {where} has {target:,}, {same}.")


def judge_loose(where: str, loose: Sequence[Loose], replica_roles: Sequence[str] = ()) -> Result:
    """Whether every constraint was checked against all rows, and none is switched off, as restores do for speed.

    `replica_roles` is for whom all of them are.
    """

    def problems() -> Iterator[Result]:
        for role in replica_roles:
            yield failed(
                f"session_replication_role is replica on {where} for {role}: neither triggers nor foreign keys apply.",
                reason=Reason.MISCONFIGURED,
            )
        yield from (_half_way(where, rule) for rule in loose)

    return verdict(problems(), ok(f"All constraints and triggers on {where} apply to all rows."))


def _half_way(where: str, left: Loose) -> Result:
    match left.kind:
        case "constraint" | "domain constraint":
            of = "domain" if left.kind == "domain constraint" else "table"
            said = (
                f"Constraint {left.name} of {of} {left.table} on {where} is NOT VALID: older rows were never checked."
            )
        case "unenforced":
            said = f"Constraint {left.name} of table {left.table} on {where} is NOT ENFORCED: no row was ever checked."
        case "partition":
            said = (
                f"Partition {left.name} of table {left.table} on {where} is half detached: queries of the table do not see its "
                "rows (DETACH PARTITION … FINALIZE, or attach it again)."
            )
        case "replica trigger" | "replica rule":
            what = left.kind.removeprefix("replica ").capitalize()
            return warning(
                f"{what} {left.name} of table {left.table} on {where} acts on replicated rows alone (ENABLE REPLICA)."
            )
        case "view":
            said = f"Materialized view {left.table} on {where} was never populated, so whoever reads it gets an error (REFRESH)."
        case "copy":
            said = f"Table {left.table} on {where} is not completely copied by subscription {left.name}."
        case "subscription":
            return warning(f"Subscription {left.name} on {where} is disabled: nothing more arrives from its publisher.")
        case "idle subscription":
            return warning(
                f"Subscription {left.name} on {where} is enabled and receives nothing at this moment: its worker does not run or "
                "cannot connect."
            )
        case "unlogged sequence":
            return warning(
                f"Sequence {left.table} on {where} is UNLOGGED: after a crash it begins again, with numbers that are taken "
                "(SET LOGGED)."
            )
        case "unlogged":
            return warning(
                f"Table {left.table} on {where} is UNLOGGED: a crash empties it, and no standby has its rows (SET LOGGED)."
            )
        case _:
            said = (
                f"{left.kind[0].upper()}{left.kind[1:]} {left.name} of table {left.table} on {where} is switched off."
            )
    return failed(said, reason=Reason.MISCONFIGURED)


def judge_checksums(where: str, checksums: Checksums) -> Result:
    """Whether pages that the disk changed would be noticed, and none was."""
    if not checksums.enabled:
        return failed(
            f"{where} writes no data checksums, so damaged pages are not noticed (pg_checksums --enable).",
            reason=Reason.MISCONFIGURED,
        )
    if checksums.ignored:
        return failed(
            f"Damaged pages on {where} are served and not reported ({checksums.ignored}).", reason=Reason.MISCONFIGURED
        )
    if checksums.failures is None:
        return unknown(f"{where} does not show whether checksums failed.", reason=Reason.DENIED)
    if checksums.failures:
        return failed(
            f"{counted(checksums.failures, 'page')} on {where} did not match {'its' if checksums.failures == 1 else 'their'} "
            f"checksum (in {checksums.databases}).",
            reason=Reason.DOWN,
        )
    return ok(f"Checksums on {where} are on and never failed.", checksum_failures=0.0)


def judge_collations(where: str, collations: Sequence[Collation]) -> Result:
    """Whether text is sorted by the version that the indexes were built with."""
    problems = (
        failed(
            f"{collation.what.capitalize()} on {where} was sorted by version {collation.recorded} and is sorted by "
            f"{collation.actual} now: its indexes may miss rows until they are rebuilt (REINDEX, then REFRESH VERSION).",
            reason=Reason.CONTRADICTED,
        )
        for collation in collations
    )
    return verdict(problems, ok(f"Text on {where} is sorted as its indexes are."))


def judge_sequences(where: str, sequences: Sequence[Numbering]) -> Result:
    """Whether the next number of each sequence is free."""

    def problems() -> Iterator[Result]:
        for sequence in sequences:
            if sequence.next is None:
                continue
            if sequence.next > sequence.most:
                yield failed(
                    f"Sequence {sequence.name} on {where} has no number left for {sequence.column}, which takes {sequence.most} at "
                    "most: inserts fail.",
                    reason=Reason.LIMIT,
                )
            elif sequence.highest is not None and sequence.highest >= sequence.next:
                yield failed(
                    f"Sequence {sequence.name} on {where} will give {sequence.next}, but {sequence.column} goes up to "
                    f"{sequence.highest}: inserts will fail or collide (setval).",
                    reason=Reason.CONTRADICTED,
                )
        for sequence in sequences:
            if sequence.next is not None and sequence.most * _NEARLY <= sequence.next <= sequence.most:
                yield warning(
                    f"Sequence {sequence.name} on {where} is at {sequence.next}; {sequence.column} takes {sequence.most} at most."
                )
        if hidden := [sequence for sequence in sequences if sequence.next is None]:
            yield unknown(
                f"{counted(len(hidden), 'sequence')} on {where} or their columns may not be read ({hidden[0].name}): grant "
                "pg_read_all_data, or SELECT on both.",
                reason=Reason.DENIED,
            )

    return verdict(
        problems(), ok(f"{counted(len(sequences), 'sequence')} on {where} checked: none is behind its column.")
    )


def judge_orphans(where: str, orphans: Sequence[Orphans]) -> Result:
    """Whether every row finds what it references; a validated constraint does not prove that."""
    problems = (
        failed(
            f"{counted(key.rows, 'row')} of {key.table} on {where} reference{'s' if key.rows == 1 else ''} nothing in "
            f"{key.references} (foreign key {key.key}).",
            reason=Reason.CONTRADICTED,
        )
        for key in sorted(orphans, key=lambda key: -key.rows)
        if key.rows
    )
    return verdict(problems, ok(f"No row on {where} references what is not there."))


def judge_invariant(where: str, invariant: Invariant, value: Decimal) -> Result:
    """Whether nothing breaks a rule of the user's own."""
    if value:
        return failed(f"{where} has {value:,} {invariant.name} (wanted none).", reason=Reason.UNMET)
    return ok(f"{where} has no {invariant.name}.")


def judge_history(where: str, history: History, oldest: Oldest) -> Result:
    """Whether old data can be read, and is as old and as much as wanted."""
    if oldest.infinite:
        return unknown(
            f"The oldest of {history.name} on {where} is dated infinity, which has no age.", reason=Reason.MALFORMED
        )
    if oldest.placeholder:
        return unknown(
            f"The oldest of {history.name} on {where} is dated as an empty value is in some system (such as 1970-01-01): leave "
            "such rows out of the query.",
            reason=Reason.MALFORMED,
        )
    if oldest.age is None:
        return failed(f"{history.name} on {where} has no rows at all.", reason=Reason.MISSING)
    if oldest.age < 0:
        return unknown(
            f"The oldest of {history.name} on {where} is dated in the future, so its age is not known.",
            reason=Reason.CONTRADICTED,
        )
    age, wanted = timedelta(seconds=oldest.age), history.min_age
    if age < wanted:
        return failed(
            f"The oldest of {history.name} on {where} is {format_length(age)} old (wanted {format_length(wanted)}).",
            reason=Reason.LIMIT,
        )
    if history.min_rows is not None and oldest.rows is None:
        return unknown(
            f"The query for {history.name} on {where} returned no number of rows (wanted {history.min_rows:,}).",
            reason=Reason.MALFORMED,
        )
    if history.min_rows is not None and oldest.rows is not None and oldest.rows < history.min_rows:
        return failed(
            f"{history.name} on {where} has {counted(oldest.rows, 'row')} (wanted {history.min_rows:,}).",
            reason=Reason.LIMIT,
        )
    return ok(f"{history.name} on {where} goes back {format_length(age)}.", oldest_age_seconds=oldest.age)
