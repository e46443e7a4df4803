"""Reports that evidence records name as their artifact, read with what the file lacks taken from the record, and those that options
name."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime

from pydantic import Field

from collectors.shared.verdicts import verdict
from collectors.systems.aws.client import Aws
from collectors.systems.reports.client import ReportFile, read_content
from collectors.systems.reports.judge.data import DataLimits, data_problems
from collectors.systems.reports.judge.tests import age_problems
from collectors.systems.reports.model.dbt import with_manifest
from collectors.systems.reports.model.registry import read_report
from collectors.systems.reports.model.report import Kind, Report, completed
from exporter.collector import EvidenceView
from exporter.evidence.errors import Refuted
from exporter.evidence.records import Record
from exporter.evidence.rules import ReportReader, ReportSummary
from exporter.verdict import ProbeError, Reason, Result, ok
from exporter.words import counted

__all__ = ["DataReport", "data_verdict", "report_of", "summarised"]

_KINDS = {Kind.TESTS: "test", Kind.LOAD: "load test", Kind.SCAN: "security scan", Kind.DATA: "check of data"}
_READ: OrderedDict[str, Report] = OrderedDict()
_MOST_READ = 16


def summarised(kind: Kind) -> ReportReader:
    """A reader of what `attest` writes of a report into its record. It raises ProbeError for a report of another kind."""

    def read(content: bytes) -> ReportSummary:
        report = read_report(content)
        if report.kind is not kind:
            raise ProbeError(f"It is a {report.format} report, expected one of a {_KINDS[kind]}.", Reason.INVALID)
        return ReportSummary(report.format, report.finished, report.measured, report.lacks)

    return read


class DataReport(ReportFile, DataLimits):
    """A report of checks on data: dbt's run_results.json, a validation result of Great Expectations, scan results of Soda."""

    manifest: bool = Field(
        False,
        description="Whether dbt's manifest.json lies beside the report: then every test of the project must have a result.",
    )


async def data_verdict(wanted: DataReport, aws: Callable[[], Aws], now: datetime) -> Result:
    """Whether the report that an option names proves that the data is sound. Raises ProbeError where it was not read."""
    report = await asyncio.to_thread(read_report, await read_content(wanted, aws))
    if report.kind is not Kind.DATA or report.checks is None:
        raise ProbeError(
            f"Report {wanted.name} is one of {report.format}, expected one of dbt, Great Expectations or Soda.",
            Reason.INVALID,
        )
    if wanted.manifest:
        manifest = await read_content(wanted.beside("manifest.json"), aws)
        report = await asyncio.to_thread(with_manifest, report, manifest)
    passed = len(report.checks.passed) if report.checks else 0
    good = ok(f"The {report.format} report {wanted.name} has {counted(passed, 'passed check')} of {report.target}.")
    return verdict([*age_problems(report, now, wanted.max_age), *data_problems(report, wanted)], good)


async def report_of(record: Record, evidence: EvidenceView, kind: Kind) -> Report:
    """The report that the record's artifact is, with what it lacks taken from the record.

    Raises ProbeError where it cannot be read, is of another kind, contradicts the record, or neither says what is needed.
    """
    if record.artifact is None:
        raise ProbeError(f"{record.file} names no artifact, so no report was read.", Reason.MISSING)
    if (report := _READ.get(record.artifact.sha256)) is None:
        try:
            content = await evidence.artifact(record)
        except Refuted as refuted:
            raise ProbeError(f"{record.file}: {refuted}", refuted.reason) from None
        report = await asyncio.to_thread(read_report, content)
        _READ[record.artifact.sha256] = report
        while len(_READ) > _MOST_READ:
            _READ.popitem(last=False)
    if report.kind is not kind:
        raise ProbeError(
            f"{record.file}: the artifact is a {report.format} report, expected one of a {_KINDS[kind]}.",
            Reason.INVALID,
        )
    report = completed(report, record)
    if missing := report.lacks:
        names = ", ".join(f"report.{name}" for name in missing)
        raise ProbeError(
            f"{record.file}: neither the {report.format} report nor the record gives {names}.", Reason.MISSING
        )
    return report
