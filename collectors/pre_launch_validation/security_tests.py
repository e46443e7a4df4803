"""Security Tests"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from pydantic import Field

from collectors.shared.verdicts import verdict, worst_of
from collectors.systems.kubernetes.client.cluster import Kubernetes
from collectors.systems.kubernetes.judge.images import RunningImage, image_problems, images_of
from collectors.systems.kubernetes.judge.workloads import PodSelection
from collectors.systems.kubernetes.model.images import RUNNING
from collectors.systems.kubernetes.model.rbac import may_list
from collectors.systems.reports.check import report_of, summarised
from collectors.systems.reports.judge.scans import (
    Decisions,
    ScanLimits,
    coverage_problems,
    finding_problems,
    open_findings,
    scan_problems,
    scanned_digests,
    supersedes,
    suppression_problems,
    tagged_targets,
)
from collectors.systems.reports.judge.tests import age_problems
from collectors.systems.reports.model.report import Kind, Report
from collectors.systems.reports.model.vex import Acceptance, Statement, read_openvex
from exporter.collector import Collector, EvidenceSettings, Mode, NoTarget, evidence_item, fetched, item
from exporter.evidence.records import Record
from exporter.evidence.rules import EvidenceRule
from exporter.files import TooLarge, read_file
from exporter.verdict import CRITICAL, WARNING, ProbeError, Reason, Result, Status, failed, ok, unobserved, worst
from exporter.words import counted, listed

_SCAN = EvidenceRule(valid_for=timedelta(days=7), artifact=True, reads=summarised(Kind.SCAN))
_NEEDS = ("evidence", "the report of a scanner as artifact, one record for each target")
_MAX_VEX = 4 * 2**20


class SecurityTestsSettings(EvidenceSettings, ScanLimits):
    """Options of the section."""

    accepted: tuple[Acceptance, ...] = Field((), description="Findings that are accepted, by whom and until when.")
    vex: tuple[Path, ...] = Field((), description="OpenVEX documents that state which findings do not apply.")
    running: tuple[PodSelection, ...] = Field(
        (),
        description="Pods whose images must be the very ones that were scanned, by their digests: "
        "`{namespace: shop, selector: app=web}`.",
    )


class SecurityTests(Collector[SecurityTestsSettings, NoTarget]):
    """Was it scanned and attacked, and is what was found dealt with?"""

    Settings = SecurityTestsSettings
    rights = "Evidence records whose artifacts are reports of scanners; the OpenVEX documents in `vex`; to list pods (`running`)."

    @fetched
    async def scans(self) -> list[tuple[Result, Report | Result]]:
        """Each record of a scan: the verdict on the record, and its report or why it was not read."""
        results = [
            result
            for name in ("vulnerability_scans_completed", "critical_vulnerabilities_remediated")
            for result in await self.attested_each(name)
            if result.evidence or name == "vulnerability_scans_completed" or result.reason is not Reason.MISSING
        ]
        return [(result, await self._report(result)) for result in results]

    async def _report(self, result: Result) -> Report | Result:
        """The report of a record, or why there is none; one that has expired still shows what was found then."""
        if not result.evidence:
            return result
        try:
            return await report_of(result.evidence[0], self.context.evidence, Kind.SCAN)
        except ProbeError as error:
            return unobserved(error) if result.status.is_ok else result

    @item(
        "Vulnerability scans are completed",
        severity=CRITICAL,
        mode=Mode.EVIDENCE,
        needs=(*_NEEDS, "with `running`: clients.kubernetes", may_list(RUNNING, option="running")),
        evidence=_SCAN,
    )
    async def vulnerability_scans_completed(self) -> Result:
        """What was never scanned is full of old vulnerabilities, and so is what was scanned last year.

        Verified by records that are at most 7 days old, one for each target, whose artifacts are reports of scanners. Each is read:
        it must have examined something, with no filter, by a database that is at most `max_database_age` old, and be complete. One
        at least must be of a vulnerability scan, and one for each of `scan_targets`. Every image that the pods in `running` have
        pulled must be one that was scanned, by its digest.

        Record it: `checklist-exporter attest security_tests.vulnerability_scans_completed --artifact report.json`.
        """
        reports, problems = await self._valid()
        targets = sorted({report.target or "" for report in reports})
        good = ok(f"{counted(len(reports), 'scan')} of {counted(len(targets), 'target')} completed.")
        scanned = verdict(sorted([*problems, *coverage_problems(reports, self.settings)], key=_badness), good)
        if not self.settings.running:
            return await self._dated(scanned)
        return worst(await self._dated(scanned), await worst_of(self._running(scanned_digests(reports))))

    async def _running(self, scanned: Collection[str]) -> Result:
        """Whether each image that runs is one that was scanned."""
        found = await self.images()
        problems = [problem for each, images in found for problem in image_problems(each, images, scanned)]
        number = len({image.digest for _, images in found for image in images})
        return verdict(
            problems,
            ok(
                f"{counted(number, 'image')} that {'runs' if number == 1 else 'run'} {'was' if number == 1 else 'were'} scanned."
            ),
        )

    @fetched
    async def images(self) -> list[tuple[PodSelection, dict[RunningImage, list[str]]]]:
        """The images that the pods in `running` run. Raises ProbeError where not all pods could be read."""
        client = self.client(Kubernetes)
        pods = await client.list(RUNNING)
        if "pods" in client.settings.selectors:
            raise ProbeError(
                "clients.kubernetes.selectors limits pods, so running images were not compared.", Reason.NOT_CONFIGURED
            )
        unread = [
            each.namespace
            for each in self.settings.running
            if pods.namespaces and each.namespace not in pods.namespaces
        ]
        if unread:
            raise ProbeError(f"{listed(unread)} is not in clients.kubernetes.namespaces.", Reason.NOT_CONFIGURED)
        return [(each, images_of(each, pods.items)) for each in self.settings.running]

    @evidence_item(
        "Penetration testing is completed",
        EvidenceRule(valid_for=timedelta(days=365), artifact=True, measured=("open_critical", "open_high")),
        how="both of which must be 0; the note names who tested, and `report.target` what",
        severity=WARNING,
    )
    async def penetration_testing_completed(self, record: Record) -> Result:
        """People find what scanners cannot: broken authorization, and flaws in the logic of the application.

        To fix it, have what goes live tested by people who did not build it, fix what they find, and attest their report.
        """
        return penetration_test(record)

    @item(
        "All critical vulnerabilities are remediated",
        severity=CRITICAL,
        mode=Mode.EVIDENCE,
        needs=(
            *_NEEDS,
            "with `vex`: the OpenVEX documents",
            "with `running`: clients.kubernetes",
            may_list(RUNNING, option="running"),
        ),
        evidence=_SCAN,
    )
    async def critical_vulnerabilities_remediated(self) -> Result:
        """A known critical vulnerability is found by those who scan the internet within days.

        Verified in the reports of the records for "Vulnerability scans are completed" and for this line: none may have an open
        critical finding, at most `max_high` may be high, and none may be without a severity. A finding is open until a later
        complete scan of the same place no longer has it (of the same image, where several of one repository are named in
        `scan_targets` or run), an OpenVEX document in `vex` states that it does not apply, or `accepted`
        accepts it with an owner until a date that has not passed.

        To fix it, update the packages that it names and attest the new scan.
        """
        reports, problems = await self._valid()
        everything = [report for _, report in await self.scans() if isinstance(report, Report)]
        decisions = Decisions(self.settings.accepted, await self._vex(), self.context.now())
        found = [
            *problems,
            *coverage_problems(reports, self.settings),
            *finding_problems(open_findings(everything, await self._at_once()), decisions, self.settings),
            *suppression_problems(reports),
        ]
        good = ok(f"No critical finding is open in {counted(len(reports), 'report')}.")
        return await self._dated(verdict(sorted(found, key=_badness), good))

    @evidence_item(
        "Security sign-off is obtained",
        EvidenceRule(valid_for=timedelta(days=30), signed_by_role="security_lead", bound_to_release=True),
        how="with a valid OpenSSH signature by a key that allowed_signers lists both for the signer and for security_lead",
        severity=CRITICAL,
        needs=("evidence", "evidence.allowed_signers", "release"),
    )
    async def security_sign_off_obtained(self, record: Record) -> None:
        """Someone who answers for security has reviewed the entire release, and what was accepted.

        To fix it, have the security lead review the reports and sign.
        """

    async def _valid(self) -> tuple[list[Report], list[Result]]:
        """The reports that count, and what is wrong with any scan that no later good one of the same target stands for."""
        judged = [(report, list(self._wrong_with(result, report))) for result, report in await self.scans()]
        good = [report for report, problems in judged if isinstance(report, Report) and not problems]
        left = [
            (report, problems)
            for report, problems in judged
            if isinstance(report, Result) or not any(supersedes(other, report) for other in good)
        ]
        return good, [problem for _, problems in left for problem in problems]

    def _wrong_with(self, result: Result, report: Report | Result) -> Iterator[Result]:
        if not result.status.is_ok:
            yield result
        elif isinstance(report, Result):
            yield report
        else:
            yield from age_problems(report, self.context.now(), self._longest())
            yield from scan_problems(report, self.settings)

    async def _at_once(self) -> set[str]:
        """The images that are in use beside one another: those that are named by their tags or digests, and those that run."""
        running = await self.images() if self.settings.running else []
        return tagged_targets(self.settings) | {
            image.digest for _, images in running for image in images if image.digest
        }

    def _longest(self) -> timedelta:
        return self.settings.valid_for.get("vulnerability_scans_completed", _SCAN.valid_for)

    async def _dated(self, result: Result) -> Result:
        """The verdict with the records that it rests on, and until when they are valid."""
        held = [found for found, report in await self.scans() if found.status.is_ok and isinstance(report, Report)]
        until = min((found.valid_until for found in held if found.valid_until), default=None)
        return replace(result, valid_until=until, evidence=tuple(record for found in held for record in found.evidence))

    async def _vex(self) -> tuple[Statement, ...]:
        return tuple([each for path in self.settings.vex for each in await self.blocking(_openvex, path)])


_ORDER = {Status.FAILED: 0, Status.UNKNOWN: 1, Status.WARNING: 2, Status.OK: 3}


def _badness(result: Result) -> int:
    return _ORDER.get(result.status, 3)


def _openvex(path: Path) -> tuple[Statement, ...]:
    """Read in a thread. Raises ProbeError."""
    try:
        return read_openvex(read_file(path, _MAX_VEX))
    except TooLarge:
        raise ProbeError(f"OpenVEX document {path} has more than {_MAX_VEX} bytes.", Reason.LIMIT) from None
    except OSError as error:
        raise ProbeError(f"OpenVEX document {path} cannot be read: {error.strerror}.", Reason.MISSING) from None


def penetration_test(record: Record) -> Result:
    """Whether nothing that the testers found is left open, and the record says who tested what."""
    critical, high = record.measured["open_critical"], record.measured["open_high"]
    if critical or high:
        return failed(
            f"The penetration test has {critical:g} open critical and {high:g} open high findings (0 wanted).",
            reason=Reason.LIMIT,
        )
    if not record.note or record.report is None or record.report.target is None:
        return failed(
            "The record of the penetration test does not say who tested (note) what (report.target).",
            reason=Reason.INVALID,
        )
    return ok(f"The penetration test of {record.report.target} left no critical or high finding open.")
