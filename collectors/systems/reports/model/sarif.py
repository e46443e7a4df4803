"""SARIF 2.1.0 as scanners write it. Few name a time or a target, and `error` is no severity: it may be high or critical."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime

import msgspec

from collectors.systems.reports.model.report import Finding, Kind, Level, Report, malformed, moment
from exporter.words import listed

__all__ = ["read_sarif"]


class _Struct(msgspec.Struct, rename="camel"):
    pass


class _Text(_Struct):
    text: str = ""


class _Properties(_Struct):
    tags: list[str] = []
    severity: str | float | int | None = msgspec.field(name="security-severity", default=None)
    db_last_modified: str | None = msgspec.field(name="db_last_modified", default=None)


class _Default(_Struct):
    level: str = "warning"


class _Rule(_Struct):
    id: str = ""
    properties: _Properties | None = None
    default_configuration: _Default | None = None


class _Driver(_Struct):
    name: str = ""
    version: str | None = None
    semantic_version: str | None = None
    rules: list[_Rule] | None = None
    properties: _Properties | None = None


class _Tool(_Struct):
    driver: _Driver = msgspec.field(default_factory=_Driver)


class _Uri(_Struct):
    uri: str = ""


class _Physical(_Struct):
    artifact_location: _Uri | None = None


class _Location(_Struct):
    physical_location: _Physical | None = None


class _Suppression(_Struct):
    status: str = "accepted"


class _Result(_Struct):
    rule_id: str | None = None
    rule_index: int = -1
    rule: _Rule | None = None
    level: str | None = None
    kind: str = "fail"
    baseline_state: str | None = None
    suppressions: list[_Suppression] | None = None
    locations: list[_Location] | None = None


class _Notification(_Struct):
    level: str = "warning"


class _Invocation(_Struct):
    execution_successful: bool = True
    start_time_utc: str | None = None
    end_time_utc: str | None = None
    tool_execution_notifications: list[_Notification] | None = None


class _Run(_Struct):
    tool: _Tool
    results: list[_Result] | None = None
    invocations: list[_Invocation] | None = None
    artifacts: list[msgspec.Raw] | None = None


class _Log(_Struct):
    runs: list[_Run]


_UNRATING = (
    "gitleaks",
    "govulncheck",
)  # a leaked key has no level, and a level of govulncheck is how far the code reaches
_SCOPES = {
    "trivy": "vulnerabilities",
    "grype": "vulnerabilities",
    "govulncheck": "vulnerabilities",
    "gitleaks": "secrets",
}


def read_sarif(content: bytes) -> Report:
    """The findings of all runs. Raises ProbeError for another format, and where a run has no results because it did not finish."""
    try:
        log = msgspec.json.decode(content, type=_Log)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise malformed("SARIF", "it does not have the fields of SARIF 2.1.0") from None
    problems: list[str] = []
    found: list[tuple[Finding, bool]] = []
    times: list[tuple[datetime | None, datetime | None]] = []
    for run in log.runs:
        found += _findings(run)
        problems += _problems(run)
        times += [(moment(each.start_time_utc), moment(each.end_time_utc)) for each in run.invocations or ()]
    drivers = [run.tool.driver for run in log.runs]
    names = dict.fromkeys(
        f"{driver.name} {driver.semantic_version or driver.version or ''}".strip() for driver in drivers
    )
    databases = [moment(driver.properties.db_last_modified) for driver in drivers if driver.properties]
    artifacts = [len(run.artifacts) for run in log.runs if run.artifacts is not None]
    return Report(
        "SARIF",
        Kind.SCAN,
        tool=listed(names) if names else "",
        started=min((start for start, _ in times if start), default=None),
        finished=max((end for _, end in times if end), default=None),
        database=min(filter(None, databases), default=None),
        scope=frozenset(_SCOPES.get(driver.name.lower(), "code") for driver in drivers),
        examined=sum(artifacts) if artifacts else None,
        places=frozenset(f"{driver.name}" for driver in drivers),
        findings=tuple(finding for finding, accepted in found if not accepted),
        accepted=tuple(finding for finding, accepted in found if accepted),
        problems=tuple(problems),
    )


def _problems(run: _Run) -> Iterator[str]:
    name = run.tool.driver.name or "a tool"
    if run.results is None:
        yield f"a run of {name} has no results"
    for invocation in run.invocations or ():
        if not invocation.execution_successful:
            yield f"a run of {name} was not successful"
        if any(note.level == "error" for note in invocation.tool_execution_notifications or ()):
            yield f"{name} reports errors of its own"


def _findings(run: _Run) -> Iterator[tuple[Finding, bool]]:
    """Each finding, and whether it is suppressed. What passed, what does not apply and what is gone is none."""
    rules = run.tool.driver.rules or []
    by_id = {rule.id: rule for rule in rules}
    for result in run.results or ():
        if result.kind not in ("fail", "open", "review") or result.baseline_state == "absent":
            continue
        rule = _rule(result, rules, by_id)
        name = result.rule_id or rule.id or "unnamed"
        # Where it is belongs to it, as the package does elsewhere: a rule broken in two files is two findings.
        where = [location.physical_location for location in result.locations or ()]
        place = next((each.artifact_location.uri for each in where if each and each.artifact_location), "")
        # All suppressions must be accepted: one that is under review or rejected leaves the finding open.
        suppressions = result.suppressions or []
        accepted = bool(suppressions) and all(each.status == "accepted" for each in suppressions)
        level = Level.UNRATED if run.tool.driver.name.lower() in _UNRATING else _level(result, rule)
        yield Finding(name, level, place, run.tool.driver.name), accepted


def _rule(result: _Result, rules: list[_Rule], by_id: Mapping[str, _Rule]) -> _Rule:
    if 0 <= result.rule_index < len(rules):
        return rules[result.rule_index]
    return by_id.get(result.rule_id or "") or result.rule or _Rule()


def _level(result: _Result, rule: _Rule) -> Level:
    """The severity that tags name, else the score; a level alone only tells what is at most medium."""
    properties = rule.properties or _Properties()
    for tag in properties.tags:
        if tag.isupper() and (level := Level.named(tag)) is not Level.UNRATED:
            return level
    if (score := _score(properties.severity)) is not None:
        return next((level for least, level in _BANDS if score >= least), Level.LOW)
    named = result.level or (rule.default_configuration or _Default()).level
    return {"warning": Level.MEDIUM, "note": Level.LOW, "none": Level.LOW}.get(named, Level.UNRATED)


_BANDS = ((9.0, Level.CRITICAL), (7.0, Level.HIGH), (4.0, Level.MEDIUM))
_NUMBER = re.compile(r"\d{1,2}(\.\d+)?")


def _score(text: str | float | int | None) -> float | None:
    if text is None or not _NUMBER.fullmatch(str(text).strip()):
        return None
    return float(text)
