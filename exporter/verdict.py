"""Verdicts: what is known of a line, how much it matters, and why a line does not pass. Knows nothing of who asks or runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from exporter.evidence.records import Record

__all__ = [
    "CRITICAL",
    "INFO",
    "WARNING",
    "ProbeError",
    "Reason",
    "Result",
    "Severity",
    "Status",
    "failed",
    "ok",
    "unknown",
    "unobserved",
    "warning",
    "worst",
]


class Severity(StrEnum):
    """How much it matters that a line is true."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"

    def at_least(self, other: Severity) -> bool:
        """Whether this is as severe as `other`, or more."""
        return list(Severity).index(self) <= list(Severity).index(other)


CRITICAL, WARNING, INFO = Severity.CRITICAL, Severity.WARNING, Severity.INFO


class Reason(StrEnum):
    """Why a line does not pass: the closed list behind `checklist_item_reason`, notifications and the troubleshooting page."""

    # What was observed and is not as it should be.
    UNMET = "unmet"
    MISSING = "missing"
    DOWN = "down"
    LIMIT = "limit"
    MISCONFIGURED = "misconfigured"
    EXPIRED = "expired"
    CONTRADICTED = "contradicted"
    INVALID = "invalid"
    # What could not be observed.
    UNOBSERVED = "unobserved"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    DENIED = "denied"
    TIMEOUT = "timeout"
    MALFORMED = "malformed"
    NOT_CONFIGURED = "not_configured"
    NOT_VERIFIED = "not_verified"
    PENDING = "pending"
    STALE = "stale"
    ERROR = "error"

    @property
    def description(self) -> str:
        """What the reason means, in one sentence."""
        return _REASONS[self][0]

    @property
    def remedy(self) -> str:
        """What to do about it, in one sentence."""
        return _REASONS[self][1]


_REASONS: Mapping[Reason, tuple[str, str]] = {
    Reason.UNMET: ("It was checked and is not as the line requires.", "Fix what the sentence names."),
    Reason.MISSING: ("Something that the line requires does not exist.", "Create what the sentence names."),
    Reason.DOWN: ("Something exists but does not work.", "Repair or restart what the sentence names."),
    Reason.LIMIT: (
        "A measured value is beyond its limit.",
        "Bring the value back, or change the limit named by the section's option.",
    ),
    Reason.MISCONFIGURED: (
        "A setting differs from what the line requires.",
        "Change the setting that the sentence names.",
    ),
    Reason.EXPIRED: ("A certificate, a record or something else with an expiry date has expired.", "Renew it."),
    Reason.CONTRADICTED: (
        "Two observations contradict each other.",
        "Find out which one is right: a record and the live system, or two members of one system, disagree.",
    ),
    Reason.INVALID: (
        "A record was read but cannot be accepted.",
        "Write it again with `checklist-exporter attest`, which names what is wrong.",
    ),
    Reason.UNOBSERVED: ("It could not be checked.", "Read the sentence: it names the cause."),
    Reason.UNREACHABLE: (
        "No connection could be made.",
        "Check address, DNS, network policies and firewalls between the exporter and the server.",
    ),
    Reason.REFUSED: (
        "The server answered and rejected the exporter.",
        "Check its limits (connections, rate), its TLS settings and any proxy in front of it.",
    ),
    Reason.DENIED: (
        "The account is wrong or lacks a right.",
        "Grant the right that the sentence names; `checklist-exporter list --section NAME` prints the minimal rights.",
    ),
    Reason.TIMEOUT: (
        "There was no answer in time.",
        "Find out why the server is slow, or raise the section's `timeout`.",
    ),
    Reason.MALFORMED: (
        "The response could not be understood.",
        "Check that the address belongs to the expected kind of server, without a login page or proxy in between.",
    ),
    Reason.NOT_CONFIGURED: (
        "An option, a client or a target is not configured.",
        "Add the option that the sentence names, or declare the line `not_applicable`.",
    ),
    Reason.NOT_VERIFIED: (
        "Nothing verifies this line.",
        "Bind it to an item, add a `custom` entry or evidence, or declare it `not_applicable`.",
    ),
    Reason.PENDING: ("It has not been checked yet.", "Wait for the first run."),
    Reason.STALE: (
        "The last result is older than `stale_after`.",
        "Check the exporter's log and ChecklistSchedulerStalled: runs do not finish.",
    ),
    Reason.ERROR: (
        "The collector raised an unexpected error.",
        "See the exporter's log for the traceback and report it as a bug.",
    ),
}


class Status(StrEnum):
    """What is known of a line. Only OK and WARNING count as true."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    UNKNOWN = "unknown"
    WAIVED = "waived"
    NOT_APPLICABLE = "not_applicable"

    @property
    def is_ok(self) -> bool:
        """Whether the line counts as true: `checklist_item_ok` is 1."""
        return self in (Status.OK, Status.WARNING)


@dataclass(frozen=True, slots=True)
class Result:
    """The verdict of one item: a status and one full sentence that says what was seen.

    `measurements` are plain numbers in base units, named with their unit (`free_bytes`). `valid_until` is the moment
    from which the result is no longer valid (evidence expires); `evidence` are the records it rests on. `reason` says why the
    line does not pass; None where it passes.
    """

    status: Status
    summary: str
    measurements: Mapping[str, float] = field(default_factory=dict)
    valid_until: datetime | None = None
    evidence: tuple[Record, ...] = ()
    reason: Reason | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.reason is None and (reason := _GENERAL.get(self.status)):
            object.__setattr__(self, "reason", reason)


_GENERAL = {Status.FAILED: Reason.UNMET, Status.UNKNOWN: Reason.UNOBSERVED}


def ok(summary: str, *, valid_until: datetime | None = None, **measurements: float) -> Result:
    """Seen to be true."""
    return Result(Status.OK, summary, measurements, valid_until)


def warning(summary: str, *, valid_until: datetime | None = None, **measurements: float) -> Result:
    """Seen to be true, but close to its limit."""
    return Result(Status.WARNING, summary, measurements, valid_until)


def failed(
    summary: str, *, reason: Reason = Reason.UNMET, valid_until: datetime | None = None, **measurements: float
) -> Result:
    """Seen to be false."""
    return Result(Status.FAILED, summary, measurements, valid_until, reason=reason)


def unknown(summary: str, *, reason: Reason = Reason.UNOBSERVED, **measurements: float) -> Result:
    """Could not be seen."""
    return Result(Status.UNKNOWN, summary, measurements, reason=reason)


# Worst first: what was seen to be false outweighs what could not be seen.
_BADNESS = (Status.FAILED, Status.UNKNOWN, Status.WARNING, Status.OK)


def worst(*results: Result) -> Result:
    """Several verdicts on one line as one: the worst status, with the sentences that have it (all, when all are ok).

    Measurements of all are kept (a later one wins), the earliest `valid_until` holds. Raises ValueError without results.
    """
    if not results:
        raise ValueError("worst() needs at least one result.")
    status = next(status for status in _BADNESS if any(result.status is status for result in results))
    summaries = dict.fromkeys(result.summary for result in results if result.status is status)
    return Result(
        status,
        " ".join(summaries),
        {name: value for result in results for name, value in result.measurements.items()},
        min((result.valid_until for result in results if result.valid_until), default=None),
        tuple(dict.fromkeys(record for result in results for record in result.evidence)),
        next(result.reason for result in results if result.status is status),
    )


class ProbeError(Exception):
    """Something could not be observed; its text is the full sentence a user reads. The item becomes `unknown`, for this reason."""

    def __init__(self, summary: str = "", reason: Reason = Reason.UNOBSERVED) -> None:
        super().__init__(summary)
        self.reason = reason


def unobserved(error: ProbeError, **measurements: float) -> Result:
    """`unknown`, with the sentence and the reason of the error that was in the way."""
    return Result(Status.UNKNOWN, str(error), measurements, reason=error.reason)
