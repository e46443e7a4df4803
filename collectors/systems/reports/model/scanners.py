"""Scanners with a JSON of their own: Grype, Bandit, ZAP, nuclei, kube-bench."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from collectors.shared.decoding import UNDECODABLE
from collectors.systems.reports.model.report import Finding, Kind, Level, Report, decoded, malformed, moment
from exporter.words import counted

__all__ = ["read_bandit", "read_grype", "read_kube_bench", "read_nuclei", "read_zap"]


class _GrypeVulnerability(msgspec.Struct):
    id: str
    severity: str = ""


class _GrypePackage(msgspec.Struct):
    name: str = ""
    version: str = ""
    type: str = ""


class _GrypeMatch(msgspec.Struct):
    vulnerability: _GrypeVulnerability
    artifact: _GrypePackage
    related: list[_GrypeVulnerability] | None = msgspec.field(name="relatedVulnerabilities", default=None)
    rules: list[Any] | None = msgspec.field(name="appliedIgnoreRules", default=None)


class _GrypeTarget(msgspec.Struct):
    user_input: str = msgspec.field(name="userInput", default="")
    image_id: str = msgspec.field(name="imageID", default="")
    manifest_digest: str = msgspec.field(name="manifestDigest", default="")
    repo_digests: list[str] | None = msgspec.field(name="repoDigests", default=None)


class _GrypeSource(msgspec.Struct):
    target: _GrypeTarget | str = ""
    type: str = ""


class _GrypeDatabase(msgspec.Struct):
    built: str = ""
    status: Any = None


class _GrypeAlert(msgspec.Struct):
    type: str = ""
    message: str = ""


class _GrypeAlerts(msgspec.Struct):
    alerts: list[_GrypeAlert] | None = None


class _GrypeDescriptor(msgspec.Struct):
    name: str = ""
    version: str = ""
    timestamp: str = ""
    db: _GrypeDatabase | None = None
    configuration: dict[str, Any] | None = None


class _Grype(msgspec.Struct):
    matches: list[_GrypeMatch]
    descriptor: _GrypeDescriptor
    source: _GrypeSource | None = None
    ignored: list[_GrypeMatch] | None = msgspec.field(name="ignoredMatches", default=None)
    alerts: list[_GrypeAlerts] | None = msgspec.field(name="alertsByPackage", default=None)


def read_grype(content: bytes) -> Report:
    """Target, times and database are in it; what it leaves out (`only-fixed`, ignore rules) is in its configuration. How many
    packages it found is not: without findings an empty folder has the same report.

    Raises ProbeError for another format.
    """
    read = decoded(content, _Grype, "Grype")
    source = read.source.target if read.source else ""
    if read.source and read.source.type == "sbom-file":
        source = ""  # what it lists may be of any image
    target = source if isinstance(source, _GrypeTarget) else _GrypeTarget(user_input=source)
    digests = {digest.rpartition("@")[2] for digest in target.repo_digests or ()}
    database = read.descriptor.db
    built = ""
    ended = {alert.message for each in read.alerts or () for alert in each.alerts or () if alert.type == "distro-eol"}
    problems = [f"it has no advisories any more ({message[:200]})" for message in sorted(ended)[:10]]
    if database:
        status = database.status if isinstance(database.status, dict) else {}
        built = database.built or str(status.get("built") or "")
        if status.get("valid") is False or status.get("error"):
            problems.append("its database was not valid")
    configuration = read.descriptor.configuration
    filters = None
    if configuration is not None:
        set_ = [
            name
            for name in ("only-fixed", "only-notfixed", "ignore-wontfix", "ignore", "exclude")
            if configuration.get(name)
        ]
        ignored = configuration.get("ignore")
        if isinstance(ignored, list) and all(_built_in(rule) or _is_vex(rule) for rule in ignored):
            set_ = [name for name in set_ if name != "ignore"]
        if configuration.get("distro"):
            problems.append(f"it took {str(configuration['distro'])[:100]} for the distribution, without looking")
        alerts = configuration.get("alerts")
        if isinstance(alerts, dict) and alerts.get("enable-eol-distro-warnings") is False:
            problems.append("its alerts of distributions without support are off")
        filters = ", ".join(set_)
    return Report(
        "Grype",
        Kind.SCAN,
        tool=f"{read.descriptor.name} {read.descriptor.version}".strip(),
        finished=moment(read.descriptor.timestamp),
        target=target.user_input or None,
        digests=frozenset(filter(None, digests | {target.image_id, target.manifest_digest})),
        database=moment(built),
        filters=filters,
        scope=frozenset({"vulnerabilities"}),
        places=frozenset({"packages"}),
        findings=tuple(map(_grype, read.matches)),
        accepted=tuple(
            _grype(match) for match in read.ignored or () if not (match.rules and all(map(_built_in, match.rules)))
        ),
        problems=tuple(problems),
    )


def _built_in(rule: Any) -> bool:
    """Whether a rule is one of Grype's own: packages of kernel headers hold none of the kernel's code."""
    package = rule.get("package") if isinstance(rule, dict) else None
    return (
        isinstance(package, dict)
        and not rule.get("vulnerability")
        and rule.get("match-type") == "exact-indirect-match"
        and str(package.get("upstream-name")).startswith(("linux", "kernel"))
    )


def _is_vex(rule: Any) -> bool:
    """Whether a rule comes from a VEX document: what it sets aside is in the report, and is open until it is decided on here."""
    return isinstance(rule, dict) and bool(rule.get("vex-status"))


def _grype(match: _GrypeMatch) -> Finding:
    aliases = frozenset(related.id for related in match.related or ())
    level = Level.named(match.vulnerability.severity)
    return Finding(match.vulnerability.id, level, match.artifact.name, "packages", aliases, match.artifact.version)


class _BanditResult(msgspec.Struct):
    test_id: str
    issue_severity: str = ""
    filename: str = ""


class _BanditError(msgspec.Struct):
    reason: str = ""


class _Bandit(msgspec.Struct):
    generated_at: str
    metrics: dict[str, dict[str, float]]  # older versions write 3.0
    results: list[_BanditResult]
    errors: list[_BanditError] = []


def read_bandit(content: bytes) -> Report:
    """Its totals still count what a severity or confidence filter left out of the results.

    Raises ProbeError for another format.
    """
    read = decoded(content, _Bandit, "Bandit")
    totals = read.metrics.get("_totals", {})
    found = sum(int(count) for name, count in totals.items() if name.startswith("SEVERITY."))
    skipped = int(totals.get("skipped_tests", 0))
    problems = [f"{counted(len(read.errors), 'file')} could not be read"] if read.errors else []
    if skipped:
        problems.append(f"{counted(skipped, 'test')} skipped by comments")
    return Report(
        "Bandit",
        Kind.SCAN,
        finished=moment(read.generated_at),
        filters=None if found == len(read.results) else "a severity or confidence level",
        scope=frozenset({"code"}),
        examined=int(totals.get("loc", 0)),
        places=frozenset(name for name in read.metrics if name != "_totals"),
        findings=tuple(
            Finding(each.test_id, Level.named(each.issue_severity), each.filename, each.filename)
            for each in read.results
        ),
        accepted=tuple(Finding("nosec", Level.UNRATED) for _ in range(min(100, max(0, int(totals.get("nosec", 0)))))),
        problems=tuple(problems),
    )


class _ZapAlert(msgspec.Struct):
    reference: str = msgspec.field(name="alertRef", default="")
    plugin: str = msgspec.field(name="pluginid", default="")
    risk: str = msgspec.field(name="riskcode", default="")
    confidence: str = ""


class _ZapSite(msgspec.Struct):
    name: str = msgspec.field(name="@name", default="")
    alerts: list[_ZapAlert] | None = None


class _ZapInsight(msgspec.Struct):
    level: str = ""
    reason: str = ""
    site: str = ""
    key: str = ""
    description: str = ""
    statistic: str | float = ""


class _Zap(msgspec.Struct):
    site: list[_ZapSite]
    insights: list[_ZapInsight] | None = None
    version: str = msgspec.field(name="@version", default="")
    created: str = ""


_ZAP_RISKS = {"3": Level.HIGH, "2": Level.MEDIUM, "1": Level.LOW, "0": Level.LOW}


def read_zap(content: bytes) -> Report:
    """ZAP knows no critical, High is its highest; an alert of confidence 0 was marked as a false positive.

    Raises ProbeError for another format.
    """
    read = decoded(content, _Zap, "ZAP", "traditional JSON report")
    found = [
        (
            alert,
            Finding(alert.reference or alert.plugin, _ZAP_RISKS.get(alert.risk, Level.UNRATED), site.name, site.name),
        )
        for site in read.site
        for alert in site.alerts or ()
    ]
    return Report(
        "ZAP",
        Kind.SCAN,
        tool=f"ZAP {read.version}".strip() if read.version else "",
        finished=moment(read.created),
        target=", ".join(site.name for site in read.site[:20]) or None,
        scope=frozenset({"web"}),
        examined=len(read.site),
        places=frozenset(site.name for site in read.site),
        findings=tuple(finding for alert, finding in found if alert.confidence != "0"),
        accepted=tuple(finding for alert, finding in found if alert.confidence == "0"),
        problems=tuple(sorted({problem for each in read.insights or () for problem in _zap_problems(each)}))[:20],
    )


def _zap_problems(insight: _ZapInsight) -> Iterator[str]:
    """What ZAP 2.17 noticed about its own scan: of the levels Medium and High it says that the scan was likely not effective."""
    worthless = insight.reason == "Exceeded High" and insight.key == "insight.code.5xx"
    if insight.level in ("Medium", "High") or worthless:
        where = f" of {insight.site[:200]}" if insight.site else ""
        yield f"{insight.key[:100]}{where} is {str(insight.statistic)[:20]} ({insight.description[:100]})"


class _NucleiInfo(msgspec.Struct):
    severity: str = ""


class _NucleiResult(msgspec.Struct):
    template: str = msgspec.field(name="template-id")
    info: _NucleiInfo = msgspec.field(default_factory=_NucleiInfo)
    host: str = ""
    timestamp: str = ""
    matched: bool = msgspec.field(name="matcher-status", default=True)


def read_nuclei(content: bytes) -> Report:
    """A line per finding, or one list: a clean run leaves an empty file, which nothing can be read from.

    With `-matcher-status` there are lines of what did not match, too.

    Raises ProbeError for another format.
    """
    try:
        if content.lstrip().startswith(b"["):
            read = msgspec.json.decode(content, type=list[_NucleiResult])
        else:
            read = [msgspec.json.decode(line, type=_NucleiResult) for line in content.splitlines() if line.strip()]
    except UNDECODABLE:
        raise malformed("nuclei", "it does not have the fields of nuclei's JSON") from None
    hosts = sorted({each.host for each in read})
    return Report(
        "nuclei",
        Kind.SCAN,
        finished=max(filter(None, (moment(each.timestamp) for each in read)), default=None),
        target=", ".join(hosts[:20]) or None,
        scope=frozenset({"web"}),
        places=frozenset(hosts),
        findings=tuple(
            Finding(each.template, Level.named(each.info.severity), each.host, each.host)
            for each in read
            if each.matched
        ),
    )


class _BenchResult(msgspec.Struct):
    number: str = msgspec.field(name="test_number", default="")
    status: str = ""
    reason: str = ""


class _BenchGroup(msgspec.Struct):
    results: list[_BenchResult] | None = None


class _BenchControl(msgspec.Struct):
    version: str = ""
    node_type: str = ""
    tests: list[_BenchGroup] | None = None


class _BenchTotals(msgspec.Struct):
    failed: int = msgspec.field(name="total_fail", default=0)


class _Bench(msgspec.Struct):
    controls: list[_BenchControl] = msgspec.field(name="Controls")
    totals: _BenchTotals | None = msgspec.field(name="Totals", default=None)


def read_kube_bench(content: bytes) -> Report:
    """A control that failed counts as high; one to be checked by hand (WARN) was not checked. Time and version are not in it.

    Raises ProbeError for another format.
    """
    read = decoded(content, _Bench, "kube-bench")
    results = [
        (control, result)
        for control in read.controls
        for group in control.tests or ()
        for result in group.results or ()
    ]
    failures = sum(result.status == "FAIL" for _, result in results)
    problems = []
    if read.totals and read.totals.failed > failures:
        problems.append(f"it counts {counted(read.totals.failed, 'failed control')} and has {failures}")
    if broken := [result.number for _, result in results if result.reason.startswith("failed to run")]:
        problems.append(f"{counted(len(broken), 'control')} could not be checked, as {broken[0][:20]}")
    return Report(
        "kube-bench",
        Kind.SCAN,
        scope=frozenset({"configuration"}),
        examined=sum(result.status in ("PASS", "FAIL") for _, result in results),
        places=frozenset(control.node_type for control in read.controls),
        problems=tuple(problems),
        findings=tuple(
            Finding(result.number, Level.HIGH, control.node_type, control.node_type)
            for control, result in results
            if result.status == "FAIL"
        ),
    )
