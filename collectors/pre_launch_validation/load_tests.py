"""Load Tests"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from pydantic import Field

from collectors.shared.verdicts import verdict, worst_of
from collectors.systems.prometheus.client import Prometheus
from collectors.systems.reports.check import report_of, summarised
from collectors.systems.reports.judge.load import (
    LoadLimits,
    comparison_problems,
    is_same_run,
    load_figures,
    load_problems,
    scaling_problems,
)
from collectors.systems.reports.judge.sla import Objective, objective_problems
from collectors.systems.reports.judge.tests import age_problems
from collectors.systems.reports.model.report import Kind, Report
from exporter.collector import Collector, EvidenceSettings, Mode, NoTarget, evidence_item, item
from exporter.evidence.records import Record
from exporter.evidence.rules import EvidenceRule
from exporter.verdict import CRITICAL, WARNING, Reason, Result, failed, ok, unknown, warning
from exporter.words import counted

_RUN = EvidenceRule(valid_for=timedelta(days=90), artifact=True, reads=summarised(Kind.LOAD))
_BASELINE = EvidenceRule(valid_for=timedelta(days=180), artifact=True, reads=summarised(Kind.LOAD))
_NEEDS = ("evidence", "the report of a load test as artifact")
_READ = "is read: enough requests (`min_requests`) in enough time (`min_duration`), few errors (`max_error_ratio`), fast enough"


class LoadTestsSettings(EvidenceSettings, LoadLimits):
    """Options of the section."""

    max_regression: float = Field(
        1.2, ge=1, description="How many times the baseline's 95th percentile the latest run may have."
    )
    scale_factor: float = Field(
        2.0, gt=1, description="How many times the baseline's request rate the run that verifies scalability must have."
    )
    objectives: tuple[Objective, ...] = Field(
        (), description="What the SLA promises, as queries to Prometheus over the period that it is measured in."
    )


class LoadTests(Collector[LoadTestsSettings, NoTarget]):
    """Does it bear the load that is expected, and is that known from a test?"""

    Settings = LoadTestsSettings
    rights = (
        "Evidence records whose artifacts are reports of load tests; with `objectives`, Prometheus's API, to query."
    )

    @evidence_item(
        "Load tests have been executed",
        _RUN,
        how=f"which {_READ} (`max_p95`); percentiles are those of the successful requests",
        severity=WARNING,
        needs=_NEEDS,
    )
    async def load_tests_executed(self, record: Record) -> Result:
        """A system that was never under load meets it for the first time at the launch.

        To fix it, run the load test against the environment that the record names, and attest its report.
        """
        report = await report_of(record, self.context.evidence, Kind.LOAD)
        return self._judged(report, self._age("load_tests_executed", _RUN))

    @evidence_item(
        "Performance baselines are established",
        _BASELINE,
        how="which is compared with the run of `load_tests_executed`: the same scenario at no less load, and a 95th percentile of "
        "at most `max_regression` times the baseline's",
        severity=WARNING,
        needs=_NEEDS,
    )
    async def baselines_established(self, record: Record) -> Result:
        """Without a baseline nobody notices that each release is a little slower.

        To fix it, attest the report of the run that later ones are compared with, under the same names of requests or `scenario`.
        """
        baseline = await report_of(record, self.context.evidence, Kind.LOAD)
        judged = self._judged(baseline, self._age("baselines_established", _BASELINE))
        if not judged.status.is_ok:
            return judged
        attested = await self.attested("load_tests_executed")
        if not attested.status.is_ok:
            return unknown(f"There is no run to compare with the baseline: {attested.summary}", reason=Reason.MISSING)
        run = attested.evidence[0]
        latest = await report_of(run, self.context.evidence, Kind.LOAD)
        same_file = run.artifact and record.artifact and run.artifact.sha256 == record.artifact.sha256
        if same_file or is_same_run(latest, baseline):
            return warning(f"{judged.summary} The latest run is the baseline itself, so nothing was compared.")
        good = ok(f"{judged.summary} The latest run is no slower than {self.settings.max_regression:g} times that.")
        valid = self._judged(latest, self._age("load_tests_executed", _RUN))
        compared = comparison_problems(latest, baseline, self.settings.max_regression)
        return verdict([*compared, *_not_comparable("latest run", valid)], good)

    @evidence_item(
        "Bottlenecks are identified and resolved",
        EvidenceRule(valid_for=timedelta(days=90), links=1, measured=("identified", "open")),
        how="of which `open` must be 0, and `identified` at least 1: without load no bottleneck is found",
        severity=WARNING,
        needs=("evidence", "evidence.hosts for the page it links"),
    )
    async def bottlenecks_resolved(self, record: Record) -> Result:
        """What limits the system under load is known before users find it, and is fixed.

        To fix it, list the bottlenecks that the load test showed with what was done about each, and link the list.
        """
        return bottlenecks(record)

    @evidence_item(
        "Scalability is verified",
        _RUN,
        how=f"which {_READ}, at `scale_factor` times the rate of the run of `baselines_established`, over the same scenario",
        severity=WARNING,
        needs=_NEEDS,
    )
    async def scalability_verified(self, record: Record) -> Result:
        """More load than today's must be borne by more replicas, not by slower answers.

        To fix it, run the scenario of the baseline at a multiple of its load, and attest that report.
        """
        run = await report_of(record, self.context.evidence, Kind.LOAD)
        judged = self._judged(run, self._age("scalability_verified", _RUN))
        if not judged.status.is_ok:
            return judged
        attested = await self.attested("baselines_established")
        if not attested.status.is_ok:
            return unknown(f"There is no baseline to compare with: {attested.summary}", reason=Reason.MISSING)
        baseline = await report_of(attested.evidence[0], self.context.evidence, Kind.LOAD)
        valid = self._judged(baseline, self._age("baselines_established", _BASELINE))
        compared = scaling_problems(run, baseline, self.settings.scale_factor)
        return verdict([*compared, *_not_comparable("baseline", valid)], judged)

    @item(
        "System meets SLA requirements",
        severity=CRITICAL,
        mode=Mode.PROBE_AND_EVIDENCE,
        needs=(*_NEEDS, "with `objectives`: clients.prometheus"),
        evidence=_RUN,
    )
    async def sla_met(self) -> Result:
        """What was promised to customers has to be held, and to be measured where it is held.

        Verified by a record that is at most 90 days old, whose artifact is the report of a load test that is good enough
        (`min_requests`, `min_duration`, `max_error_ratio`, `max_p95`), and, where `objectives` are configured, in Prometheus: every
        series that their queries return must be within the limits, over enough requests. Where the two disagree, the worse counts.

        To fix it, find out which objective is missed and why; before the launch, attest the report of the load test.
        """
        if not self.settings.objectives:
            return await self._sla_by_evidence()
        return await worst_of(
            self._sla_by_evidence(), *(self._objective(objective) for objective in self.settings.objectives)
        )

    async def _sla_by_evidence(self) -> Result:
        attested = await self.attested("sla_met")
        if not attested.status.is_ok:
            return attested
        report = await report_of(attested.evidence[0], self.context.evidence, Kind.LOAD)
        judged = self._judged(report, self._age("sla_met", _RUN))
        return await worst_of(_given(attested), _given(judged))

    async def _objective(self, objective: Objective) -> Result:
        prometheus = self.client(Prometheus)
        values = [sample.value for sample in await prometheus.query(objective.query)]
        requests = None
        if objective.requests is not None:
            requests = [sample.value for sample in await prometheus.query(objective.requests)]
        good = ok(f"Objective {objective.name} is met.")
        return verdict(objective_problems(objective, values, requests), good)

    def _age(self, name: str, rule: EvidenceRule) -> timedelta:
        return self.settings.valid_for.get(name, rule.valid_for)

    def _judged(self, report: Report, longest: timedelta) -> Result:
        return judged(report, self.settings, self.context.now(), longest)


async def _given(result: Result) -> Result:
    return result


def _not_comparable(name: str, result: Result) -> Iterator[Result]:
    """A run that proves nothing by itself is nothing to compare with."""
    if not result.status.is_ok:
        yield unknown(f"The {name} proves nothing: {result.summary}", reason=result.reason or Reason.CONTRADICTED)


def judged(report: Report, limits: LoadLimits, now: datetime, longest: timedelta) -> Result:
    """The verdict on one run."""
    assert report.load is not None
    requests = counted(report.load.requests, "request")
    said = f"The load test of {report.target} made {requests}, {report.load.error_ratio:.2%} of which failed."
    good = replace(ok(said), measurements=load_figures(report))
    return verdict([*age_problems(report, now, longest), *load_problems(report, limits)], good)


def bottlenecks(record: Record) -> Result:
    """Whether bottlenecks were investigated and none is left."""
    identified, left = record.measured["identified"], record.measured["open"]
    if left > 0 or left < 0:
        return failed(f"Of {identified:g} identified bottlenecks {left:g} are open (0 wanted).", open_bottlenecks=left)
    if identified < 1:
        return unknown("No bottleneck was identified (at least 1 wanted).", reason=Reason.MISSING)
    return ok(f"All {identified:g} identified bottlenecks are resolved.", open_bottlenecks=0)
