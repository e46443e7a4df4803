"""One record for every format: what a tool did, when, on what and how much of it, and what it found."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import TypeVar

import msgspec

from collectors.shared.decoding import UNDECODABLE
from collectors.systems.registry.model import read_reference
from exporter.evidence.records import Record, start_of
from exporter.verdict import ProbeError, Reason

__all__ = [
    "ENOUGH",
    "Checks",
    "Finding",
    "Kind",
    "Level",
    "Load",
    "Report",
    "Tests",
    "canonical",
    "completed",
    "decoded",
    "malformed",
    "moment",
    "moment_of",
    "repository",
    "weighted_percentile",
]

T = TypeVar("T")


ENOUGH = 10
"""How many requests of one name, all failed, show that it does not work; addresses with identifiers in them are names, too."""


class Kind(StrEnum):
    """What a report is about."""

    TESTS = "tests"
    LOAD = "load"
    SCAN = "scan"
    DATA = "data"


class Level(StrEnum):
    """How severe a finding is. UNRATED where the tool does not say: it may be critical."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    UNRATED = "unrated"

    @classmethod
    def named(cls, name: str) -> Level:
        """The level that a tool calls so; `moderate` is medium, `info` and `negligible` are low, anything else is unrated."""
        return _LEVELS.get(name.strip().lower(), cls.UNRATED)


_LEVELS: Mapping[str, Level] = {
    "critical": Level.CRITICAL,
    "high": Level.HIGH,
    "medium": Level.MEDIUM,
    "moderate": Level.MEDIUM,
    "low": Level.LOW,
    "negligible": Level.LOW,
    "info": Level.LOW,
    "informational": Level.LOW,
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding of a scan. `place` is the part of the target that it is in; `aliases` are other names of the advisory.

    `version` is that of the package, empty where the file does not say it.
    """

    advisory: str
    level: Level
    package: str = ""
    place: str = ""
    aliases: frozenset[str] = frozenset()
    version: str = ""

    @property
    def names(self) -> frozenset[str]:
        """Every name of the advisory."""
        return self.aliases | {self.advisory}


@dataclass(frozen=True, slots=True)
class Tests:
    """Test cases by outcome: names of those that passed, with their class and (`names`) without; of the others at most a few, and
    how many there are.
    """

    passed: frozenset[str]
    names: frozenset[str] = frozenset()
    failed: tuple[str, ...] = ()
    failures: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Checks:
    """Checks of data by outcome, by their names. Those in `warned` passed, or are not meant to block, and are named besides.

    `errors` could not be evaluated, `skipped` did not run, `disabled` are switched off in the project. `loose` passed although some
    rows do not satisfy them, `blank` although they found no value at all. `selection` says which part of the checks was asked for,
    empty where all were. `ran` are the identifiers of those with an outcome, where the format has any.
    """

    passed: tuple[str, ...]
    failed: tuple[str, ...] = ()
    warned: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    disabled: tuple[str, ...] = ()
    loose: tuple[str, ...] = ()
    blank: tuple[str, ...] = ()
    selection: str = ""
    ran: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Load:
    """Figures of a load test. `p95` is of the successful answers, in seconds, or a bound above it; None where the file has neither.

    `scenario` are the names of what was requested; empty where the file has none. `broken` are the thresholds that the tool itself
    found broken, None where the file has no verdict. `failing` are the names of requests none of which succeeded in ten or more
    attempts.
    """

    requests: int
    errors: int
    duration: timedelta | None = None
    p95: float | None = None
    scenario: frozenset[str] = frozenset()
    broken: tuple[str, ...] | None = None
    failing: tuple[str, ...] = ()

    @property
    def error_ratio(self) -> float:
        """The share of requests that failed, 0 to 1; 1 without any request."""
        return self.errors / self.requests if self.requests else 1.0

    @property
    def rate(self) -> float | None:
        """Requests a second, None where the duration is unknown."""
        seconds = self.duration.total_seconds() if self.duration else 0.0
        return self.requests / seconds if seconds > 0 else None


@dataclass(frozen=True, slots=True)
class Report:
    """What one file says. None and empty where the file does not say it: then the evidence record has to.

    `examined` is how many things were checked, `places` which parts of the target, or the sites that a load test requested;
    `filters` is what limited the scan, empty when the file proves that nothing did. `problems` are what the tool itself reports
    as not done.
    """

    format: str
    kind: Kind
    tool: str = ""
    started: datetime | None = None
    finished: datetime | None = None
    target: str | None = None
    digests: frozenset[str] = frozenset()
    revision: str | None = None
    database: datetime | None = None
    filters: str | None = None
    scope: frozenset[str] = frozenset()
    examined: int | None = None
    places: frozenset[str] = frozenset()
    findings: tuple[Finding, ...] = ()
    accepted: tuple[Finding, ...] = ()
    problems: tuple[str, ...] = ()
    tests: Tests | None = None
    load: Load | None = None
    checks: Checks | None = None
    exit_code: int | None = None

    @property
    def lacks(self) -> tuple[str, ...]:
        """Keys of `report` in the evidence record that must be given, as the file does not say them."""
        missing: list[str] = []
        if self.finished is None:
            missing.append("finished")
        if self.kind is not Kind.TESTS and not self.target:
            missing.append("target")
        if self.kind is Kind.LOAD and self.load:
            if self.load.duration is None and self.started is None:
                missing.append("started")
            if not self.load.scenario:
                missing.append("scenario")
            if self.load.broken is None and self.exit_code is None and self.format == "k6":
                missing.append("exit_code")
        if self.kind is Kind.SCAN:
            if not self.tool:
                missing.append("tool")
            if self.database is None and self.scope == {"vulnerabilities"}:
                missing.append("database")
            if self.filters is None:
                missing.append("filters")
            if self.examined is None and not self.findings and not self.accepted:
                missing.append("examined")  # a scan of nothing is as clean
        return tuple(missing)

    @property
    def measured(self) -> dict[str, float]:
        """The report's numbers, named with their unit."""
        numbers: dict[str, float] = {}
        if self.tests:
            numbers |= {
                "passed_tests": len(self.tests.passed),
                "failed_tests": self.tests.failures,
                "skipped_tests": self.tests.skipped,
            }
        if self.load:
            numbers |= {"requests": self.load.requests, "error_ratio": round(self.load.error_ratio, 6)}
            if self.load.p95 is not None:
                numbers["p95_seconds"] = round(self.load.p95, 6)
            if self.load.duration is not None:
                numbers["duration_seconds"] = round(self.load.duration.total_seconds(), 3)
        if self.checks:
            numbers |= {
                "passed_checks": len(self.checks.passed),
                "failed_checks": len(self.checks.failed),
                "skipped_checks": len(self.checks.skipped) + len(self.checks.errors),
            }
        if self.kind is Kind.SCAN:
            numbers |= {f"{level}_findings": self.count(level) for level in Level}
            numbers["accepted_findings"] = len(self.accepted)
        return numbers

    def count(self, level: Level) -> int:
        """How many different findings have this level: one advisory in one package counts once."""
        return len({(finding.advisory, finding.package) for finding in self.findings if finding.level is level})


def repository(target: str) -> str:
    """A target without the tag or digest that an image has."""
    name = target.partition("@")[0]
    head, slash, tail = name.rpartition("/")
    return f"{head}{slash}{tail.partition(':')[0]}" if "://" not in target else target


def canonical(target: str) -> str:
    """A target by which two spellings of one image are equal: `nginx:1` is `docker.io/library/nginx:1`."""
    name = repository(target)
    try:
        image = read_reference(name)
    except ProbeError:
        return target
    return f"{image.host}/{image.repository}{target[len(name) :]}"


def completed(report: Report, record: Record) -> Report:
    """The report, with what the file does not say taken from the evidence record. What the file says stands, but a limit of the
    scan that the record admits counts, too. Days without a time of day give no duration.

    Raises ProbeError where they contradict each other.
    """
    said = record.report
    if said is None:
        return report
    targets = {report.target, *report.digests, *_sites(report)} if report.target else set()
    if said.target and targets and said.target.rstrip("/") not in {target.rstrip("/") for target in targets if target}:
        raise ProbeError(
            f"The {report.format} report is about {report.target}, the evidence record says {said.target}.",
            Reason.CONTRADICTED,
        )
    if said.exit_code is not None and report.exit_code is not None and said.exit_code != report.exit_code:
        raise ProbeError(
            f"The {report.format} report has the exit code {report.exit_code}, the evidence record says "
            f"{said.exit_code}.",
            Reason.CONTRADICTED,
        )
    if report.revision and record.release and _are_other_commits(report.revision, record.release):
        raise ProbeError(
            f"The {report.format} report is about commit {report.revision}, the evidence record about {record.release}.",
            Reason.CONTRADICTED,
        )
    limited = said.filters
    if limited is not None and limited.strip().lower() in ("none", "no", "-"):
        limited = ""
    filled = replace(
        report,
        tool=report.tool or said.tool or "",
        started=report.started or (start_of(said.started) if said.started else None),
        finished=report.finished or (start_of(said.finished) if said.finished else None),
        target=report.target or said.target,
        database=report.database or (start_of(said.database) if said.database else None),
        filters=report.filters if limited is None else report.filters or limited,
        exit_code=said.exit_code if report.exit_code is None else report.exit_code,
        examined=said.examined if report.examined is None else report.examined,
    )
    if (load := filled.load) is None:
        return filled
    by_day = _is_day(said.started, report.started) or _is_day(said.finished, report.finished)
    if load.duration is None and filled.started and filled.finished and filled.finished > filled.started and not by_day:
        load = replace(load, duration=filled.finished - filled.started)
    if not load.scenario and said.scenario:
        load = replace(load, scenario=frozenset({said.scenario}))
    return replace(filled, load=load)


def _sites(report: Report) -> frozenset[str]:
    """The sites that a scan was of, any of which the record may name; a load test of two systems is a test of neither."""
    return report.places if report.kind is Kind.SCAN and report.scope == {"web"} else frozenset()


def _are_other_commits(one: str, other: str) -> bool:
    """Whether both are hashes of commits, of which one may be shortened, and differ; names of releases are no hashes."""
    if not (_COMMIT.fullmatch(one) and _COMMIT.fullmatch(other)):
        return False
    return not (one.startswith(other) or other.startswith(one))


_COMMIT = re.compile(r"(?=.*\d)(?=.*[a-f])[0-9a-f]{7,64}")


def _is_day(said: date | datetime | None, read: datetime | None) -> bool:
    return read is None and said is not None and not isinstance(said, datetime)


def decoded(content: bytes, kind: type[T], format: str, name: str = "JSON") -> T:  # noqa: A002 - what it is
    """A file of this format as what its JSON (by `name`) is. Raises ProbeError for another format."""
    try:
        return msgspec.json.decode(content, type=kind)
    except UNDECODABLE:
        raise malformed(format, f"it does not have the fields of {format}'s {name}") from None


def malformed(format: str, why: str) -> ProbeError:  # noqa: A002 - what it is
    """The error for a file that cannot be read as this format; `why` is a clause without a full stop."""
    return ProbeError(f"The file looks like a {format} report but cannot be read: {why}.", Reason.MALFORMED)


_FRACTION = re.compile(r"(\.\d{6})\d+")
_NEVER = 1970


def moment(text: str | None) -> datetime | None:
    """A time as tools write it, in UTC; without a zone it is taken for UTC. None for none, and for year 1, which means none."""
    if not text or len(text) > 64:
        return None
    try:
        found = datetime.fromisoformat(_FRACTION.sub(r"\1", text.strip()))
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return found if found.year > _NEVER else None


def moment_of(seconds: float | None) -> datetime | None:
    """A time in seconds since 1970; None for none and for what is no time."""
    if seconds is None or not math.isfinite(seconds) or not 0 < seconds < 1e11:
        return None
    return datetime.fromtimestamp(seconds, UTC)


def weighted_percentile(counts: Iterable[tuple[float, int]], ratio: float, slower_than: int = 0) -> float | None:
    """The value below which this share of the things lies, by counts per value; None without any.

    With `slower_than`, so many of the things are known not to count, but not which: they are taken for the lowest, so that the
    value is not too low.
    """
    ordered = sorted((value, count) for value, count in counts if count > 0)
    total = sum(count for _, count in ordered)
    rank = slower_than + math.ceil(ratio * (total - slower_than))
    if total - slower_than <= 0:
        return None
    seen = 0
    for value, count in ordered:
        seen += count
        if seen >= rank:
            return value
    return ordered[-1][0]
