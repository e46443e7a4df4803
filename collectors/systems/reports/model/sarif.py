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


class _Component(_Struct):
    index: int = -1


class _Rule(_Struct):
    id: str = ""
    index: int = -1
    tool_component: _Component | None = None
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
    extensions: list[_Driver] | None = None


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
    tool_configuration_notifications: list[_Notification] | None = None
    process_start_failure_message: str | None = None
    exit_signal_name: str | None = None


class _External(_Struct):
    results: list[msgspec.Raw] | None = None


class _Run(_Struct):
    tool: _Tool
    results: list[_Result] | None = None
    invocations: list[_Invocation] | None = None
    artifacts: list[msgspec.Raw] | None = None
    external_property_file_references: _External | None = None


class _Log(_Struct):
    runs: list[_Run]


_UNRATING = (
    "gitleaks",
    "govulncheck",
)  # a leaked key has no level, and a level of govulncheck is how far the code reaches
_SCOPES = {
    "grype": "vulnerabilities",
    "govulncheck": "vulnerabilities",
    "osv-scanner": "vulnerabilities",
    "dependency-check": "vulnerabilities",
    "snyk open source": "vulnerabilities",
    "snyk container": "vulnerabilities",
    "docker scout": "vulnerabilities",
    "gitleaks": "secrets",
    "trufflehog": "secrets",
}


_TAGS = {"vulnerability": "vulnerabilities", "secret": "secrets", "misconfiguration": "misconfigurations"}


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
        scope=frozenset(scope for driver in drivers for scope in _scope(driver)),
        examined=sum(artifacts) if artifacts else None,
        places=frozenset(f"{driver.name}" for driver in drivers),
        findings=tuple(finding for finding, accepted in found if not accepted),
        accepted=tuple(finding for finding, accepted in found if accepted),
        problems=tuple(problems),
    )


def _scope(driver: _Driver) -> set[str]:
    """What was looked for. Trivy looks for what its options say, and its SARIF shows that in what it found alone."""
    name = driver.name.lower()
    if name != "trivy":
        return {_SCOPES.get(name, "code")}
    tags = {tag for rule in driver.rules or () for tag in (rule.properties or _Properties()).tags}
    return {scope for tag, scope in _TAGS.items() if tag in tags}


def _problems(run: _Run) -> Iterator[str]:
    name = run.tool.driver.name or "a tool"
    if name.lower() == "trivy" and not _scope(run.tool.driver):
        yield "Trivy's SARIF without findings does not say what was looked for, its JSON does"
    if run.results is None:
        yield f"a run of {name} has no results"
    if run.external_property_file_references and run.external_property_file_references.results:
        yield f"results of {name} are in another file"
    for invocation in run.invocations or ():
        if not invocation.execution_successful:
            yield f"a run of {name} was not successful"
        if invocation.process_start_failure_message or invocation.exit_signal_name:
            yield f"a run of {name} was not started, or was ended by a signal"
        notes = (*(invocation.tool_execution_notifications or ()), *(invocation.tool_configuration_notifications or ()))
        if any(note.level == "error" for note in notes):
            yield f"{name} reports errors of its own"


def _findings(run: _Run) -> Iterator[tuple[Finding, bool]]:
    """Each finding, and whether it is suppressed. What passed, what does not apply and what is gone is none."""
    parts = (run.tool.driver, *(run.tool.extensions or ()))
    by_id = {rule.id: rule for part in reversed(parts) for rule in part.rules or ()}
    for result in run.results or ():
        if result.kind not in ("fail", "open", "review") or result.baseline_state == "absent":
            continue
        rule = _rule(result, run.tool, by_id)
        name = result.rule_id or (rule and rule.id) or "unnamed"
        # Where it is belongs to it, as the package does elsewhere: a rule broken in two files is two findings.
        where = [location.physical_location for location in result.locations or ()]
        place = next((each.artifact_location.uri for each in where if each and each.artifact_location), "")
        # All suppressions must be accepted: one that is under review or rejected leaves the finding open.
        suppressions = result.suppressions or []
        accepted = bool(suppressions) and all(each.status == "accepted" for each in suppressions)
        scanner = run.tool.driver.name.lower()
        level = (
            Level.UNRATED if scanner in _UNRATING else _level(result, rule, _SCOPES.get(scanner) == "vulnerabilities")
        )
        yield Finding(name, level, place, run.tool.driver.name), accepted


def _rule(result: _Result, tool: _Tool, by_id: Mapping[str, _Rule]) -> _Rule | None:
    """The rule of a result, which may be one of an extension, as CodeQL's are; None where the file does not describe it."""
    named = result.rule or _Rule()
    at = named.tool_component.index if named.tool_component else -1
    extensions = tool.extensions or []
    rules = (extensions[at] if 0 <= at < len(extensions) else tool.driver).rules or []
    index, name = max(result.rule_index, named.index), result.rule_id or named.id
    if 0 <= index < len(rules) and (not name or f"{name}/".startswith(f"{rules[index].id}/")):
        return rules[index]
    return by_id.get(name)


def _level(result: _Result, rule: _Rule | None, is_advisory: bool) -> Level:
    """The severity that tags name, else the score; a level alone only shows what is at most medium, and of an advisory nothing:
    osv-scanner calls every one a warning.
    """
    if rule is None and result.level is None:
        return Level.UNRATED
    rule = rule or _Rule()
    properties = rule.properties or _Properties()
    for tag in properties.tags:
        if tag.isupper() and (level := Level.named(tag)) is not Level.UNRATED:
            return level
    if (score := _score(properties.severity)) is not None:
        return next((level for least, level in _BANDS if score >= least), Level.LOW)
    if is_advisory:
        return Level.UNRATED
    named = result.level or (rule.default_configuration or _Default()).level
    return {"warning": Level.MEDIUM, "note": Level.LOW, "none": Level.LOW}.get(named, Level.UNRATED)


_BANDS = ((9.0, Level.CRITICAL), (7.0, Level.HIGH), (4.0, Level.MEDIUM))
_NUMBER = re.compile(r"\d{1,2}(\.\d+)?")


def _score(text: str | float | int | None) -> float | None:
    if text is None or not _NUMBER.fullmatch(str(text).strip()):
        return None
    return float(text)
