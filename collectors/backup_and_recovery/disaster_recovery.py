"""Disaster Recovery"""

from __future__ import annotations

from collections.abc import Awaitable, Iterator, Sequence
from datetime import timedelta
from typing import Any, Self

from pydantic import Field, model_validator

from collectors.shared.drills import LEAST_SECONDS, drill_problems
from collectors.shared.dsn import Dsn
from collectors.shared.verdicts import verdict, worst_of
from collectors.systems.aws.client import Aws, AwsError
from collectors.systems.backups.client import read_objects, read_rds
from collectors.systems.backups.judge import judge_objects, judge_rds
from collectors.systems.backups.model import Objects, Rds
from collectors.systems.barman.check import see_recovery_point as see_barman_point
from collectors.systems.barman.model import Barman
from collectors.systems.oncall.client import OnCallOptions, read_rosters
from collectors.systems.oncall.judge import judge_rosters
from collectors.systems.postgresql.check.backups import see_recovery_point
from collectors.systems.postgresql.model.options import ClusterLimits
from collectors.systems.postgresql.model.pgbackrest import PgBackRest
from collectors.systems.walg.check import see_recovery_point as see_walg_point
from collectors.systems.walg.model import WalG
from exporter.collector import Collector, EvidenceSettings, Mode, NoTarget, Options, evidence_item, item
from exporter.evidence.records import Record
from exporter.evidence.rules import EvidenceRule
from exporter.options import Duration, format_duration
from exporter.verdict import CRITICAL, WARNING, ProbeError, Reason, Result, failed, ok, worst
from exporter.words import listed

_NAME = r"^[a-z][a-z0-9_]{0,62}$"
_EXERCISES, _FAILOVERS = timedelta(days=180), timedelta(days=90)


class RecoveryTime(Options):
    """How long the recovery of one service may take."""

    service: str = Field(pattern=_NAME, description="Name of the service: small letters, digits and _.")
    at_most: Duration = Field(gt=timedelta(0), description="The objective: how long its recovery may take.")


class RecoveryPoint(Options):
    """How much one store may lose, and where its last recoverable moment is asked for; a record says it if nowhere."""

    store: str = Field(pattern=_NAME, description="Name of the store: small letters, digits and _.")
    at_most: Duration = Field(gt=timedelta(0), description="The objective: of how long the writes may be lost.")
    dsn: Dsn | None = Field(
        None,
        description="With `pgbackrest`, `barman` or `walg`: connection string to the cluster, as in section postgresql.",
    )
    pgbackrest: PgBackRest | None = Field(None, description="How to run pgBackRest, where that archives its WAL.")
    barman: Barman | None = Field(None, description="How to run barman, where that has its WAL.")
    walg: WalG | None = Field(None, description="How to run WAL-G, where that archives its WAL.")
    rds: Rds | None = Field(None, description="The RDS instance; `at_most` takes the place of its `max_lag`.")
    objects: Objects | None = Field(
        None, description="Its backups as objects in a bucket; `at_most` takes the place of their `max_age`."
    )

    @model_validator(mode="after")
    def _asked_in_one_place(self) -> Self:
        tools = [self.pgbackrest, self.barman, self.walg]
        if (self.dsn is None) is any(tool is not None for tool in tools):
            raise ValueError(
                "expected dsn and one of pgbackrest, barman and walg together: whose WAL it is, and where it is archived"
            )
        if sum(place is not None for place in (*tools, self.rds, self.objects)) > 1:
            raise ValueError(
                "expected one of pgbackrest, barman, walg, rds and objects: from which the store would be recovered"
            )
        return self

    @property
    def is_recorded(self) -> bool:
        """Whether nothing can be asked, so that a record has to measure it."""
        return self.dsn is None and self.rds is None and self.objects is None


class DisasterRecoverySettings(EvidenceSettings):
    """Options of the section."""

    recovery_times: tuple[RecoveryTime, ...] = Field((), description="The recovery time objective of each service.")
    recovery_points: tuple[RecoveryPoint, ...] = Field((), description="The recovery point objective of each store.")
    failover_components: tuple[str, ...] = Field(
        (),
        description="The components whose failover has to be tested, such as postgresql; their names as in the record.",
    )
    on_call: OnCallOptions | None = Field(
        None, description="Where it is asked who is on call; evidence alone if not given."
    )


class DisasterRecovery(Collector[DisasterRecoverySettings, NoTarget]):
    """Is recovery rehearsed, as fast and as complete as promised, and is there someone to do it?"""

    Settings = DisasterRecoverySettings
    rights = (
        "Evidence records, and evidence.hosts for the pages that they link. With `on_call.pagerduty` or `on_call.opsgenie`, a "
        "read-only API key. For `recovery_points`, those of section backups: pg_monitor and pgBackRest's repository to read, "
        "s3:ListBucket, rds:DescribeDBInstances, rds:DescribeDBClusters (Aurora)."
    )

    @item(
        "Recovery Time Objective (RTO) is defined and met",
        severity=CRITICAL,
        mode=Mode.PROBE_AND_EVIDENCE,
        needs=("evidence", "recovery_times"),
        evidence=EvidenceRule(valid_for=timedelta(days=180)),
    )
    async def rto_met(self) -> Result:
        """An objective that was never measured is a wish.

        `recovery_times` defines the objective of each service. A record of a drill, at most 180 days old, has to measure how long
        the recovery of every one of them took, as `SERVICE_seconds`; none may exceed its objective.

        To fix it: rehearse the recovery, measure from the decision to the first successful request, and record it:
        `checklist-exporter attest disaster_recovery.rto_met`. Where it took too long, restore smaller parts, faster disks, or agree
        on another objective.
        """
        if not self.settings.recovery_times:
            raise ProbeError("Option recovery_times is not set, so no objective is known.", Reason.NOT_CONFIGURED)
        attested = await self.attested("rto_met")
        if not attested.status.is_ok:
            return attested
        return worst(attested, self._recovery_times(attested.evidence[0]))

    def _recovery_times(self, record: Record) -> Result:
        measured: dict[str, Any] = {
            f"{objective.service}_recovery_seconds": record.measured[key]
            for objective in self.settings.recovery_times
            if (key := f"{objective.service}_seconds") in record.measured
        }
        good = ok("Every service was recovered within its objective.", **measured)
        return verdict(self._recovery_time_problems(record), good)

    def _longest(self, item: str, usual: timedelta) -> timedelta:
        """How long ago the drill of a record may have been."""
        return self.settings.valid_for.get(item, usual)

    def _recovery_time_problems(self, record: Record) -> Iterator[Result]:
        took = {
            f"the recovery of {objective.service}": record.measured[key]
            for objective in self.settings.recovery_times
            if (key := f"{objective.service}_seconds") in record.measured
        }
        yield from drill_problems(record, self._longest("rto_met", _EXERCISES), took)
        for objective in self.settings.recovery_times:
            key = f"{objective.service}_seconds"
            seconds = record.measured.get(key)
            if seconds is None:
                yield failed(
                    f"The record does not measure the recovery of {objective.service} ({key}).", reason=Reason.MISSING
                )
            elif seconds < LEAST_SECONDS:
                yield failed(
                    f"The record says that the recovery of {objective.service} took {seconds:g} s, which cannot be.",
                    reason=Reason.INVALID,
                )
            elif seconds > objective.at_most.total_seconds():
                yield failed(
                    f"The recovery of {objective.service} took {seconds:g} s (objective {format_duration(objective.at_most)}).",
                    reason=Reason.LIMIT,
                )

    @item(
        "Recovery Point Objective (RPO) is defined and met",
        severity=CRITICAL,
        mode=Mode.PROBE_AND_EVIDENCE,
        needs=(
            "recovery_points",
            "with `pgbackrest`, `barman` or `walg`: the program, and the rights of section postgresql",
            "with `objects` or `rds`: clients.aws",
            "evidence for stores with none of these",
        ),
        evidence=EvidenceRule(valid_for=timedelta(days=180)),
    )
    async def rpo_met(self) -> Result:
        """A nightly backup loses a day. Whether that is acceptable is decided before the disaster, and observed from then on.

        `recovery_points` defines the objective of each store. With `pgbackrest`, `barman` or `walg`, the position up to which the
        repository has all WAL since the newest backup is compared with the one where the primary writes: a database that is
        idle loses nothing, whenever its last segment was archived, and of what is not in the repository the age is taken from the
        primary's own files and `archive_timeout`. RDS reports up to when it can restore; of `objects`, the age of the newest
        backup counts. For every other store, a record that is at most 180 days old has to measure what was lost in a drill,
        as `STORE_seconds`. Replicas do not count: they repeat every DROP TABLE.

        To fix it: set archive_timeout below the objective, repair archive_command, or take backups more often. To record a
        drill: `checklist-exporter attest disaster_recovery.rpo_met`.
        """
        if not self.settings.recovery_points:
            raise ProbeError("Option recovery_points is not set, so no objective is known.", Reason.NOT_CONFIGURED)
        parts: list[Awaitable[Result]] = [
            self._recovery_point(point) for point in self.settings.recovery_points if not point.is_recorded
        ]
        if recorded := [point for point in self.settings.recovery_points if point.is_recorded]:
            parts.append(self._recorded_points(recorded))
        return await worst_of(*parts)

    async def _recovery_point(self, point: RecoveryPoint) -> Result:
        now = self.context.now()
        timeout = ClusterLimits().query_timeout
        if point.barman is not None and point.dsn is not None:
            return await see_barman_point(point.store, point.dsn, point.barman, point.at_most, timeout, now)
        if point.walg is not None and point.dsn is not None:
            return await see_walg_point(point.store, point.dsn, point.walg, point.at_most, timeout, now)
        if point.pgbackrest is not None:
            assert point.dsn is not None
            return await see_recovery_point(
                point.dsn, point.pgbackrest, ClusterLimits(), point.at_most, point.store, now
            )
        try:
            if point.rds is not None:
                rds = point.rds.model_copy(update={"max_lag": point.at_most})
                return judge_rds(await read_rds(self.client(Aws), rds), rds, now)
            assert point.objects is not None
            objects = point.objects.model_copy(update={"max_age": point.at_most})
            return judge_objects(await read_objects(self.client(Aws), objects), objects, now)
        except AwsError as error:
            if error.code in ("DBInstanceNotFound", "NoSuchBucket"):
                return failed(
                    f"What {point.store} would be recovered from does not exist ({error.code}).", reason=Reason.MISSING
                )
            raise

    async def _recorded_points(self, points: Sequence[RecoveryPoint]) -> Result:
        attested = await self.attested("rpo_met")
        if not attested.status.is_ok:
            return attested
        record = attested.evidence[0]
        measured: dict[str, Any] = {
            f"{point.store}_data_at_risk_seconds": record.measured[key]
            for point in points
            if (key := f"{point.store}_seconds") in record.measured
        }
        problems = [*drill_problems(record, self._longest("rpo_met", _EXERCISES), {}), *_lost(record, points)]
        return worst(attested, verdict(problems, ok("Every drill lost no more than allowed.", **measured)))

    @item(
        "Failover procedures are documented",
        severity=WARNING,
        mode=Mode.PROBE_AND_EVIDENCE,
        needs=("evidence", "evidence.hosts for the pages it links"),
        evidence=EvidenceRule(valid_for=timedelta(days=180), links=1),
    )
    async def failover_documented(self) -> Result:
        """At three in the morning nobody invents a failover; they follow a page, if there is one and it can be opened.

        Verified by a record that is at most 180 days old and links the procedures: each page has to answer with its document, not
        with a login page, and to have the text that the link demands.

        To fix it: write the procedure for each component that can fail over, review it, and record the review with its links:
        `checklist-exporter attest disaster_recovery.failover_documented`.
        """
        return await self.attested("failover_documented")

    @evidence_item(
        "Failover tests are conducted",
        EvidenceRule(valid_for=_FAILOVERS),
        how="which measures how long the failover of each of `failover_components` took, as `COMPONENT_seconds`",
        severity=WARNING,
    )
    async def failover_tested(self, record: Record) -> Result:
        """A standby that never took over may be unable to: a wrong password or a full disk shows on the day it is needed.

        Let every component fail over on purpose, and measure how long its clients were refused.
        """
        drill = drill_problems(record, self._longest("failover_tested", _FAILOVERS), _failed_over(record))
        return verdict(drill, failovers(record, self.settings.failover_components))

    @evidence_item(
        "Recovery procedures are tested",
        EvidenceRule(valid_for=_EXERCISES, measured=("recovery_seconds",), window=True),
        how="as long as the exercise lasted or shorter",
        severity=WARNING,
    )
    async def recovery_tested(self, record: Record) -> Result:
        """Backups that can be restored are not yet a service that works again: names, keys, order and people are needed too.

        Rebuild the service from nothing but its backups and its documentation, by people who did not write them.
        """
        return exercise(record, self._longest("recovery_tested", _EXERCISES))

    @item(
        "Emergency contact list is up to date",
        severity=WARNING,
        mode=Mode.PROBE_AND_EVIDENCE,
        needs=("evidence", "with `on_call`: a read-only API key"),
        evidence=EvidenceRule(valid_for=timedelta(days=90)),
    )
    async def emergency_contacts_current(self) -> Result:
        """The list is needed when everything else is down, and people change numbers, teams and employers.

        A record that is at most 90 days old confirms that the list was reviewed. With `on_call`, PagerDuty, Opsgenie or any API
        that answers in JSON is asked as well: every level of the escalation has to have someone on call, at least `min_people`
        different ones in total; in PagerDuty also someone who can be reached otherwise than by email, and no gap within
        `look_ahead`. Names never leave the exporter.

        To fix it: staff the level that is named, call every number once, and record the review:
        `checklist-exporter attest disaster_recovery.emergency_contacts_current`.
        """
        attested = self.attested("emergency_contacts_current")
        if self.settings.on_call is None:
            return await attested
        return await worst_of(self._on_call(self.settings.on_call), attested)

    async def _on_call(self, options: OnCallOptions) -> Result:
        rosters = await read_rosters(options, self.context.now())
        if not rosters:
            raise ProbeError(
                "Option on_call names no service, so it was not asked who is on call.", Reason.NOT_CONFIGURED
            )
        return judge_rosters(rosters, options)


def _lost(record: Record, points: Sequence[RecoveryPoint]) -> Iterator[Result]:
    for point in points:
        key = f"{point.store}_seconds"
        seconds = record.measured.get(key)
        if seconds is None:
            yield failed(f"The record does not measure what {point.store} lost ({key}).", reason=Reason.MISSING)
        elif seconds < 0:
            yield failed(
                f"The record says that {point.store} lost {seconds:g} s, which cannot be.", reason=Reason.INVALID
            )
        elif seconds > point.at_most.total_seconds():
            yield failed(
                f"{point.store} lost the writes of {seconds:g} s (objective {format_duration(point.at_most)}).",
                reason=Reason.LIMIT,
            )


def failovers(record: Record, components: tuple[str, ...]) -> Result:
    """Whether the record measures a failover of each component; of any at all where none is named."""
    measured = {name for name in record.measured if name.endswith("_seconds")}
    missing = [component for component in components if f"{component}_seconds" not in measured]
    impossible = sorted(name for name in measured if record.measured[name] <= 0)
    if missing or not measured:
        of = listed(missing) if missing else "any component"
        return failed(f"The record measures no failover of {of} (COMPONENT_seconds).", reason=Reason.MISSING)
    if impossible:
        seconds = record.measured[impossible[0]]
        return failed(f"The record says {impossible[0]} is {seconds:g}, which cannot be.", reason=Reason.INVALID)
    values: dict[str, Any] = {name: record.measured[name] for name in measured}
    tested = listed(sorted(name.removesuffix("_seconds") for name in measured))
    return ok(f"The failover of {tested} was tested.", **values)


def _failed_over(record: Record) -> dict[str, float]:
    """How long each failover took, by its name in a sentence."""
    return {
        f"the failover of {name.removesuffix('_seconds')}": seconds
        for name, seconds in record.measured.items()
        if name.endswith("_seconds")
    }


def exercise(record: Record, longest: timedelta) -> Result:
    """Whether the measured recovery fits into the exercise, and that was over and recent when it was recorded."""
    seconds = record.measured["recovery_seconds"]
    if seconds < LEAST_SECONDS:
        return failed(f"The record says that the recovery took {seconds:g} s, which cannot be.", reason=Reason.INVALID)
    good = ok(f"The service was recovered within {seconds:g} s.", recovery_seconds=seconds)
    return verdict(drill_problems(record, longest, {"the recovery": seconds}), good)
