"""Reports that evidence records name as their artifact: read, with what the file lacks taken from the record."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from collectors.systems.reports.model.registry import read_report
from collectors.systems.reports.model.report import Kind, Report, completed
from exporter.collector import EvidenceView
from exporter.evidence.errors import Refuted
from exporter.evidence.records import Record
from exporter.evidence.rules import ReportSummary
from exporter.verdict import ProbeError, Reason

__all__ = ["report_of", "summarised"]

_KINDS = {Kind.TESTS: "test", Kind.LOAD: "load test", Kind.SCAN: "security scan"}
_READ: OrderedDict[str, Report] = OrderedDict()
_MOST_READ = 16


def summarised(content: bytes) -> ReportSummary:
    """What `attest` writes of a report into its record. Raises ProbeError where it cannot be read."""
    report = read_report(content)
    return ReportSummary(report.format, report.finished, report.measured, report.lacks)


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
