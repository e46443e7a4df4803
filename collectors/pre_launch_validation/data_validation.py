"""Data Validation"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

from pydantic import Field

from collectors.shared.dsn import Dsn
from collectors.shared.verdicts import verdict, worst_of
from collectors.systems.aws.client import Aws
from collectors.systems.postgresql.client import validation
from collectors.systems.postgresql.client.instances import Instances
from collectors.systems.postgresql.client.session import Session
from collectors.systems.postgresql.client.tuning import read_indexes
from collectors.systems.postgresql.judge.indexes import invalid_indexes
from collectors.systems.postgresql.judge.validation import (
    judge_checksums,
    judge_collations,
    judge_copy,
    judge_history,
    judge_invariant,
    judge_loose,
    judge_orphans,
    judge_sequences,
)
from collectors.systems.postgresql.model.instance import Corrupted, Inaccessible
from collectors.systems.postgresql.model.validation import Copy, History, Invariant
from collectors.systems.reports.check import DataReport, data_verdict
from exporter.collector import Collector, Mode, SectionSettings, Target, fetched, item
from exporter.evidence.rules import EvidenceRule
from exporter.options import Duration
from exporter.verdict import CRITICAL, WARNING, ProbeError, Reason, Result, failed, ok, unknown, unobserved, worst

_MONITOR = "a role that is a member of pg_monitor"
_S3 = "with reports in S3: clients.aws, with s3:GetObject"


class DataValidationTarget(Target):
    """One PostgreSQL database of the product."""

    dsn: Dsn = Field(
        description="Connection string or URI to the application's database. Name every instance in it: each has its own disk."
    )
    query_timeout: Duration = Field(
        timedelta(seconds=20),
        ge=timedelta(milliseconds=1),
        description="How long connecting, and each query, may take.",
    )
    copies: tuple[Copy, ...] = Field(
        (), description="Data that was migrated into the database, and where it came from."
    )
    foreign_keys: tuple[str, ...] = Field(
        (), description="Names of foreign keys for which every row is checked: a valid constraint does not prove that."
    )
    invariants: tuple[Invariant, ...] = Field((), description="Queries that count what must not be there.")
    amcheck: tuple[str, ...] = Field(
        (),
        description="B-tree indexes, with their schema, that amcheck reads whole and compares with the rows of their tables: "
        "`public.orders_pkey`. All parts of a partitioned one are read.",
    )
    amcheck_every: Duration = Field(
        timedelta(days=1),
        gt=timedelta(0),
        description="How often amcheck reads them; results are remembered in between.",
    )
    history: tuple[History, ...] = Field((), description="Old data that must still be there.")
    reports: tuple[DataReport, ...] = Field(
        (), description="Reports of dbt, Great Expectations or Soda that must show that the data is sound."
    )
    migration_reports: tuple[DataReport, ...] = Field(
        (),
        description="Such reports that must show that the migration is complete; `max_age` counts from their run, too.",
    )


async def _answered(part: Awaitable[Result]) -> Result:
    """The verdict of a part, which fails where the server answers that data is damaged."""
    try:
        return await part
    except Corrupted as error:
        return failed(str(error), reason=error.reason)


class DataValidationSettings(SectionSettings):
    """PostgreSQL databases whose data is checked."""

    every: Duration = Field(timedelta(minutes=15), gt=timedelta(0), description="How often the section is verified.")
    timeout: Duration = Field(
        timedelta(seconds=60), gt=timedelta(0), description="How long one item may take before it is `unknown`."
    )
    targets: tuple[DataValidationTarget, ...] = Field(min_length=1, description="The databases.")


class DataValidation(Collector[DataValidationSettings, DataValidationTarget]):
    """Reads what PostgreSQL knows of its data's soundness, and counts by queries of the user's own."""

    Settings = DataValidationSettings
    Target = DataValidationTarget
    rights = """\
-- Once per cluster, as a superuser (the role of section postgresql does); then set the password: \\password checklist_exporter
CREATE ROLE checklist_exporter LOGIN CONNECTION LIMIT 5;
GRANT pg_monitor TO checklist_exporter;
-- Sequences, foreign_keys, invariants, copies and history read rows: SELECT on the tables and sequences that they name, or
GRANT pg_read_all_data TO checklist_exporter;
-- With amcheck, in the database that the connection string names:
CREATE EXTENSION IF NOT EXISTS amcheck;
GRANT EXECUTE ON FUNCTION bt_index_check(regclass, boolean) TO checklist_exporter;
-- From PostgreSQL 17 on, for duplicates in unique indexes:
-- GRANT EXECUTE ON FUNCTION bt_index_check(regclass, boolean, boolean) TO checklist_exporter;
"""

    @fetched
    async def instances(self) -> Instances:
        """Every instance that the connection string names."""
        return await Instances.open(self.target.dsn, self.target.query_timeout, self.resources)

    async def primary(self) -> Session:
        """The primary. Raises ProbeError when none was observed, or more than one."""
        return (await self.instances()).primary()

    @item(
        "Data migration is complete",
        severity=CRITICAL,
        needs=(_MONITOR, "option copies, and SELECT on what it counts, or option migration_reports", _S3),
    )
    async def data_migration_complete(self) -> Result:
        """Rows that were left behind are found by a customer, months after the old system was switched off.

        Each of `copies` is counted at its source and here, in read-only transactions: the numbers agree within `tolerance`, the
        source has any, and the rows are here, not in a foreign table; keys that only the source has are a warning. Rows that row
        level security would hide are an error, never fewer. No constraint is NOT VALID and no trigger or rule is switched off, as
        migrations leave them that load with checks disabled. Each of `migration_reports` (dbt, Great Expectations, Soda) is
        recent, about its `target`, complete and without failures.

        How to fix it: copy what is missing; `ALTER TABLE … VALIDATE CONSTRAINT`, `ALTER TABLE … ENABLE TRIGGER ALL`. Once the
        source is gone, or if nothing was migrated, declare this not applicable and say so.
        """
        if not self.target.copies and not self.target.migration_reports:
            raise ProbeError(
                f"Target {self.target.name} has no option copies, so no source was compared.",
                Reason.NOT_CONFIGURED,
            )
        parts = (
            *map(self._copied, self.target.copies),
            *map(self._reported, self.target.migration_reports),
            self._nothing_loose(),
        )
        return await worst_of(*map(_answered, parts))

    async def _reported(self, report: DataReport) -> Result:
        return await data_verdict(report, lambda: self.client(Aws), self.context.now())

    async def _copied(self, copy: Copy) -> Result:
        opened = await Instances.open(copy.source, self.target.query_timeout, self.resources)
        origin = min(opened.answering, key=lambda session: session.instance.identity.in_recovery, default=None)
        # A standby of the source may lag: it answers alone only where nothing else is named.
        if origin is None or (origin.instance.identity.in_recovery and opened.unseen):
            return unobserved(opened.unseen[0])
        primary = await self.primary()
        target_query = copy.target_query or copy.source_query
        if await self._same_database(origin, primary) and (
            target_query == copy.source_query
            or await validation.read_plan(origin, copy.source_query)
            == await validation.read_plan(primary, target_query)
        ):
            return unknown(
                f"{copy.name}: the source is {primary.instance.where} itself, asked the same query, so nothing was compared.",
                reason=Reason.MISCONFIGURED,
            )
        source, target = await asyncio.gather(
            validation.read_counted(origin, copy.source_query), validation.read_counted(primary, target_query)
        )
        return judge_copy(primary.instance.where, copy, source, target)

    @staticmethod
    async def _same_database(one: Session, other: Session) -> bool:
        """Whether both are the same database, be it on a standby."""
        identifiers = {session.instance.identity.system_identifier for session in (one, other)}
        return len(identifiers) == 1 and None not in identifiers and await one.database() == await other.database()

    async def _nothing_loose(self) -> Result:
        primary = await self.primary()
        loose, roles = await validation.read_loose(primary), await validation.read_replica_roles(primary)
        return judge_loose(primary.instance.where, loose, roles)

    @item(
        "Data integrity is verified",
        severity=CRITICAL,
        needs=(_MONITOR, "SELECT on sequences and their tables", "with amcheck: EXECUTE on bt_index_check", _S3),
    )
    async def data_integrity_verified(self) -> Result:
        """Damaged data is served, backed up and replicated until somebody looks.

        Every instance writes checksums and none has failed. On the primary: every index is valid; no constraint is NOT VALID and no
        trigger switched off; text is sorted by the library that the indexes were built with; the next number of each sequence is
        free; the rows of `foreign_keys` find what they reference, which a valid constraint does not prove after a restore; each of
        `invariants` counts 0; amcheck finds the indexes of `amcheck` sound. Each of `reports` (dbt, Great Expectations, Soda) is
        recent, about its `target`, complete and without failures. What the role may not read is unknown.

        How to fix it: restore damaged pages from a backup or a standby, REINDEX, setval; delete or repair what an invariant counts.
        """
        parts = (
            self._each_instance(self._checksums),
            self._indexes_valid(),
            self._nothing_loose(),
            self._of_primary(self._collations),
            self._of_primary(self._sequences),
            self._of_primary(self._orphans),
            *map(self._invariant, self.target.invariants),
            *map(self._reported, self.target.reports),
            *([self._amcheck()] if self.target.amcheck else []),
        )
        return await worst_of(*map(_answered, parts))

    async def _each_instance(self, judge: Callable[[Session], Awaitable[Result]]) -> Result:
        instances = await self.instances()
        judged = await worst_of(*map(judge, instances.seen()))
        return worst(judged, *map(unobserved, instances.unseen))

    async def _of_primary(self, judge: Callable[[Session], Awaitable[Result]]) -> Result:
        return await judge(await self.primary())

    @staticmethod
    async def _checksums(session: Session) -> Result:
        return judge_checksums(session.instance.where, await validation.read_checksums(session))

    async def _indexes_valid(self) -> Result:
        primary = await self.primary()
        where = primary.instance.where
        return verdict(invalid_indexes(where, await read_indexes(primary)), ok(f"All indexes on {where} are valid."))

    @staticmethod
    async def _collations(primary: Session) -> Result:
        return judge_collations(primary.instance.where, await validation.read_collations(primary))

    @staticmethod
    async def _sequences(primary: Session) -> Result:
        return judge_sequences(primary.instance.where, await validation.read_sequences(primary))

    async def _orphans(self, primary: Session) -> Result:
        if not (keys := self.target.foreign_keys):
            return ok("No rows were held against their foreign keys (option foreign_keys).")
        return judge_orphans(primary.instance.where, await validation.read_orphans(primary, keys))

    async def _invariant(self, invariant: Invariant) -> Result:
        primary = await self.primary()
        value = await validation.read_number(primary, invariant.query)
        return judge_invariant(primary.instance.where, invariant, value)

    async def _amcheck(self) -> Result:
        """The verdict of amcheck on each index, read again once it is older than `amcheck_every`."""
        known: dict[str, tuple[float, Result]] = self.context.memory.setdefault("amcheck", {})
        now = time.monotonic()
        for index in self.target.amcheck:
            since, result = known.get(index, (0.0, None))
            if result is None or not result.status.is_ok or now - since >= self.target.amcheck_every.total_seconds():
                known[index] = now, await worst_of(_answered(self._index_sound(index)))
        return worst(*(known[index][1] for index in self.target.amcheck))

    async def _index_sound(self, index: str) -> Result:
        primary = await self.primary()
        await validation.check_index(primary, index)
        return ok(f"amcheck found no damage in {index}.")

    @item(
        "Historical data is accessible",
        severity=WARNING,
        needs=(_MONITOR, "option history, and SELECT on what it reads"),
    )
    async def historical_data_accessible(self) -> Result:
        """Old orders are asked for by auditors and customers, long after a migration or a clean-up job lost them.

        Each query of `history` returns the oldest moment of some data on the primary: it is at least `min_age` ago by the server's
        own clock, and there are `min_rows` rows where that is given. No rows at all fail the line.

        How to fix it: restore or migrate what is missing; a retention job that deletes too much is the usual cause.
        """
        if not self.target.history:
            raise ProbeError(
                f"Target {self.target.name} has no option history, so no old data was read.", Reason.NOT_CONFIGURED
            )
        return await worst_of(*map(_answered, map(self._goes_back, self.target.history)))

    async def _goes_back(self, history: History) -> Result:
        primary = await self.primary()
        try:
            oldest = await validation.read_oldest(primary, history)
        except Inaccessible as error:
            return failed(str(error), reason=error.reason)
        return judge_history(primary.instance.where, history, oldest)

    @item(
        "Rollback procedures are tested",
        severity=WARNING,
        mode=Mode.PROBE_AND_EVIDENCE,
        needs=("a record of a rollback",),
        evidence=EvidenceRule(valid_for=timedelta(days=90), measured=("duration_seconds",)),
    )
    async def rollback_tested(self) -> Result:
        """A schema change that cannot be undone turns a bad release into a restore from backup.

        A record of a rollback that was really done, at most 90 days old, says how long it took (`measured: duration_seconds`). No
        constraint on the primary is NOT VALID and no trigger or rule is switched off, as rollbacks leave them that broke off
        half-way.

        How to fix it: roll a copy of production back and forward again, count rows before and after, and record it with
        `checklist-exporter attest data_validation.rollback_tested`.
        """
        return await worst_of(self._rolled_back(), _answered(self._nothing_loose()))

    async def _rolled_back(self) -> Result:
        attested = await self.attested("rollback_tested")
        seconds = attested.evidence[0].measured["duration_seconds"] if attested.status.is_ok else 1
        if seconds <= 0:
            return failed(f"The recorded rollback took {seconds:g} s (more than 0 s wanted).", reason=Reason.INVALID)
        return attested
