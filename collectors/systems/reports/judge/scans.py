"""Whether scans covered everything, and whether what they found is dealt with."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic import Field

from collectors.systems.reports.model.report import Finding, Level, Report, canonical, repository
from collectors.systems.reports.model.vex import Acceptance, Statement, accepts, excludes
from exporter.options import Duration, Options
from exporter.verdict import Reason, Result, failed, unknown, warning
from exporter.words import counted, format_length, listed

__all__ = [
    "Decisions",
    "ScanLimits",
    "coverage_problems",
    "finding_problems",
    "open_findings",
    "scan_problems",
    "scanned_digests",
    "supersedes",
    "suppression_problems",
    "tagged_targets",
]


class ScanLimits(Options):
    """What must be scanned, and how recent the scanner's database must be."""

    scan_targets: tuple[str, ...] = Field(
        (),
        description="What must have been scanned for vulnerabilities: names of images, folders or modules, as reports name "
        "them. An image with a tag or digest must be that very one. By default what the records are about.",
    )
    max_database_age: Duration = Field(
        timedelta(days=7), gt=timedelta(0), description="Maximum age of the scanner's database at the time of the scan."
    )
    max_high: int = Field(0, ge=0, description="Maximum number of open findings of severity high.")


@dataclass(frozen=True, slots=True)
class Decisions:
    """What was decided about findings."""

    accepted: tuple[Acceptance, ...]
    vex: tuple[Statement, ...]
    now: datetime


def supersedes(later: Report, earlier: Report) -> bool:
    """Whether a scan stands for an earlier one of the same target: it is later and of everything that that was of."""
    return (
        later is not earlier
        and repository(canonical(later.target or "")) == repository(canonical(earlier.target or ""))
        and later.scope >= earlier.scope
        and bool(later.finished and earlier.finished and later.finished > earlier.finished)
    )


def scan_problems(report: Report, limits: ScanLimits) -> Iterator[Result]:
    """What speaks against one scan: errors, nothing examined, filters, an old database."""
    scan = f"The {report.format} scan of {report.target}"
    if report.filters:
        yield failed(f"{scan} was limited by {report.filters} (no filters wanted).", reason=Reason.INVALID)
    for problem in report.problems:
        yield unknown(f"{scan} is not complete: {problem}.", reason=Reason.MALFORMED)
    if report.examined == 0 or not report.scope:
        yield unknown(f"{scan} examined nothing.", reason=Reason.MISSING)
    if report.database and report.finished:
        age = report.finished - report.database
        if age > limits.max_database_age:
            yield failed(
                f"{scan} used a database that was {format_length(age)} old (at most "
                f"{format_length(limits.max_database_age)}).",
                reason=Reason.EXPIRED,
            )
        elif age < -timedelta(hours=24):
            yield unknown(f"{scan} is older than its database: one of the dates is wrong.", reason=Reason.CONTRADICTED)


def tagged_targets(limits: ScanLimits) -> set[str]:
    """The images of `scan_targets` that are named with a tag or digest, each by its digest where it has one."""
    found = {target for target in limits.scan_targets if repository(target) != target}
    return {target.partition("@")[2] or target for target in found}


def coverage_problems(reports: Iterable[Report], limits: ScanLimits) -> Iterator[Result]:
    """What must have been scanned for vulnerabilities and was not; a scan for secrets alone is no such scan."""
    scanned = [
        report
        for report in reports
        if report.target and "vulnerabilities" in report.scope and report.examined != 0 and not report.problems
    ]
    if missing := [target for target in limits.scan_targets if not any(_is_of(target, report) for report in scanned)]:
        yield failed(f"There is no valid vulnerability scan of {listed(missing)}.", reason=Reason.MISSING)
    if not scanned:
        yield unknown("There is no valid report of a vulnerability scan.", reason=Reason.MISSING)


def scanned_digests(reports: Iterable[Report]) -> set[str]:
    """The digests of the images that were scanned for vulnerabilities, where the reports have them or were asked for one."""
    found: set[str] = set()
    for report in reports:
        if "vulnerabilities" in report.scope and report.examined != 0:
            found |= {*report.digests, (report.target or "").rpartition("@")[2]}
    return {digest for digest in found if digest.startswith("sha256:")}


def _is_of(wanted: str, report: Report) -> bool:
    """Whether a scan is of this target: of the very image where a tag or digest is wanted."""
    wanted, target, digest = canonical(wanted), canonical(report.target or ""), wanted.partition("@")[2]
    if wanted == target or digest in report.digests:
        return True
    return wanted == repository(wanted) == repository(target)


def open_findings(reports: Sequence[Report], at_once: Collection[str] = ()) -> list[tuple[Finding, Report]]:
    """The findings that no later scan checked again, each advisory once per package and target.

    A scan settles only the places that it checked, and none where it was limited, incomplete or examined nothing, or by an older
    database than what was found. A scan of one image of a repository settles what was found in another, as releases follow one
    another; those with a digest or name with a tag in `at_once`, which are in use beside one another, stand for themselves.
    """
    found: dict[tuple[str, str, str, str], tuple[Finding, Report]] = {}
    settled: dict[tuple[str, str], datetime] = {}  # and the newest database that a later scan had
    oldest, latest = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    for report in sorted(reports, key=lambda each: each.finished or oldest, reverse=True):
        target = _subject(report, at_once)
        for finding in (*report.findings, *(each for each in report.accepted if each.level is not Level.UNRATED)):
            since = settled.get((target, finding.place))
            if since is None or since < (report.database or oldest):
                key = (target, min(name for name in _names(finding)), finding.package, finding.version.lstrip("v"))
                found.setdefault(key, (finding, report))
        if not (report.filters or report.problems or report.examined == 0):
            for place in report.places:
                settled[target, place] = max(settled.get((target, place), oldest), report.database or latest)
    return list(found.values())


def _subject(report: Report, at_once: Collection[str]) -> str:
    """What a scan stands for: an image that is in use beside others of its repository, else all of the repository."""
    target = canonical(report.target or "")
    digests = {*report.digests, target.partition("@")[2]}
    own = sorted(each for each in at_once if each in digests) or [each for each in at_once if canonical(each) == target]
    return f"{repository(target)} {own[0]}" if own else repository(target)


def _names(finding: Finding) -> Iterable[str]:
    """Names by which one advisory is the same in two scanners: its CVE where it has one."""
    return [name for name in finding.names if name.startswith("CVE-")] or [finding.advisory]


def finding_problems(
    found: Iterable[tuple[Finding, Report]], decisions: Decisions, limits: ScanLimits
) -> Iterator[Result]:
    """Critical findings, more high ones than allowed, and those whose severity nobody states, unless they are decided upon."""
    left: dict[Level, list[str]] = {level: [] for level in Level}
    expired: list[str] = []
    made = [
        each for each in decisions.vex if each.at <= decisions.now or not each.settles
    ]  # the future settles nothing
    for finding, report in found:
        if excludes(made, finding, report):
            continue
        acceptances = list(accepts(decisions.accepted, finding, decisions.now))
        if any(counts for _, counts in acceptances):
            continue
        expired += [f"{finding.advisory} ({each.owner})" for each, _ in acceptances]
        left[finding.level].append(f"{finding.advisory} in {finding.package or report.target}")
    more = f" Acceptances that expired: {listed(expired)}." if expired else ""
    if critical := left[Level.CRITICAL]:
        yield failed(f"{_counted(critical, 'critical')} open: {listed(critical)}.{more}", reason=Reason.LIMIT)
    if len(high := left[Level.HIGH]) > limits.max_high:
        yield failed(
            f"{_counted(high, 'high')} open: {listed(high)} (at most {limits.max_high}).{more}", reason=Reason.LIMIT
        )
    if unrated := left[Level.UNRATED]:
        yield unknown(
            f"{_counted(unrated, 'unrated')} open and may be critical: {listed(unrated)}.{more}", reason=Reason.UNMET
        )


def _counted(findings: Sequence[str], level: str) -> str:
    return f"{counted(len(findings), f'{level} finding')} {'is' if len(findings) == 1 else 'are'}"


def suppression_problems(reports: Iterable[Report]) -> Iterator[Result]:
    """Findings that comments in code or a scanner's own file suppress, without an owner or an end."""
    if suppressed := sum(finding.level is Level.UNRATED for report in reports for finding in report.accepted):
        yield warning(f"{counted(suppressed, 'finding')} suppressed in the code, without owner and end.")
