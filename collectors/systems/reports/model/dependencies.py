"""Audits of a project's dependencies: pip-audit, npm audit, govulncheck. None names its target; npm alone rates its findings."""

from __future__ import annotations

import json
from dataclasses import replace

import msgspec

from collectors.systems.reports.model.report import Finding, Kind, Level, Report, malformed, moment
from exporter.words import counted

__all__ = ["read_govulncheck", "read_npm_audit", "read_pip_audit"]

_SCOPE = frozenset({"vulnerabilities"})


class _PipVulnerability(msgspec.Struct):
    id: str
    aliases: list[str] = []


class _PipDependency(msgspec.Struct):
    name: str
    version: str | None = None
    skip_reason: str | None = None
    vulns: list[_PipVulnerability] | None = None


class _PipAudit(msgspec.Struct):
    dependencies: list[_PipDependency]


def read_pip_audit(content: bytes) -> Report:
    """Dependencies that were skipped were not audited, though the tool then exits with 0. Severities are not in it.

    Raises ProbeError for another format.
    """
    try:
        read = msgspec.json.decode(content, type=_PipAudit)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise malformed("pip-audit", "it does not have the fields of pip-audit's JSON") from None
    audited = [each for each in read.dependencies if each.vulns is not None and not each.skip_reason]
    skipped = len(read.dependencies) - len(audited)
    return Report(
        "pip-audit",
        Kind.SCAN,
        scope=_SCOPE,
        examined=len(audited),
        places=frozenset({"pip"}),
        findings=tuple(
            Finding(found.id, Level.UNRATED, each.name, "pip", frozenset(found.aliases), each.version or "")
            for each in audited
            for found in each.vulns or ()
        ),
        problems=(f"{counted(skipped, 'dependency', 'dependencies')} skipped",) if skipped else (),
    )


class _NpmVia(msgspec.Struct):
    severity: str = ""
    url: str = ""
    source: int | str = ""


class _NpmVulnerability(msgspec.Struct):
    name: str = ""
    severity: str = ""
    via: list[_NpmVia | str] = []


class _NpmDependencies(msgspec.Struct):
    total: int = 0


class _NpmCounts(msgspec.Struct):
    total: int = 0


class _NpmMetadata(msgspec.Struct):
    vulnerabilities: _NpmCounts | None = None
    dependencies: _NpmDependencies | None = None


class _NpmAudit(msgspec.Struct):
    vulnerabilities: dict[str, _NpmVulnerability] | None = None
    metadata: _NpmMetadata | None = None
    message: str = ""


def read_npm_audit(content: bytes) -> Report:
    """A registry that refuses leaves a document without vulnerabilities, which is not a clean one.

    Raises ProbeError for another format.
    """
    try:
        read = msgspec.json.decode(content, type=_NpmAudit)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise malformed("npm audit", "it does not have the fields of npm audit's JSON") from None
    if read.vulnerabilities is None:
        raise malformed("npm audit", "it has no vulnerabilities, as the registry did not answer the audit")
    findings = [
        Finding(via.url.rpartition("/")[2] or str(via.source), Level.named(via.severity or each.severity), name, "npm")
        for name, each in read.vulnerabilities.items()
        for via in each.via
        if isinstance(via, _NpmVia)
    ]
    dependencies = read.metadata.dependencies if read.metadata else None
    counts = read.metadata.vulnerabilities if read.metadata else None
    listed, total = len(read.vulnerabilities), counts.total if counts else 0
    cut = (
        f"its summary counts {counted(total, 'vulnerable package')}, its list has {listed}" if total > listed else None
    )
    return Report(
        "npm audit",
        Kind.SCAN,
        scope=_SCOPE,
        examined=dependencies.total if dependencies else None,
        places=frozenset({"npm"}),
        problems=(cut,) if cut else (),
        findings=tuple(findings),
    )


class _GoConfig(msgspec.Struct):
    scanner_version: str = ""
    db_last_modified: str = ""
    scan_level: str = ""


class _GoFrame(msgspec.Struct):
    module: str = ""
    version: str = ""


class _GoProgress(msgspec.Struct):
    message: str = ""


class _GoFinding(msgspec.Struct):
    osv: str
    trace: list[_GoFrame] = []


class _GoModule(msgspec.Struct):
    path: str = ""


class _GoSbom(msgspec.Struct):
    modules: list[_GoModule] | None = None


class _GoOsv(msgspec.Struct):
    id: str
    aliases: list[str] | None = None


class _GoMessage(msgspec.Struct):
    config: _GoConfig | None = None
    progress: _GoProgress | None = None
    sbom: _GoSbom | None = msgspec.field(name="SBOM", default=None)
    finding: _GoFinding | None = None
    osv: _GoOsv | None = None


def read_govulncheck(content: bytes) -> Report:
    """A stream of objects. An empty database gives a clean report, and only its date, where it has one, shows.

    A stream that ends before the code was checked has no finding either. Raises ProbeError for another format.
    """
    config, modules, progress = _GoConfig(), 0, ""
    findings: set[Finding] = set()
    aliases: dict[str, frozenset[str]] = {}
    try:
        text, at, decoder = content.decode(), 0, json.JSONDecoder()
        while at < len(text):
            value, end = decoder.raw_decode(text, at)
            message = msgspec.convert(value, _GoMessage)
            config = message.config or config
            progress = message.progress.message if message.progress else progress
            modules += len(message.sbom.modules or ()) if message.sbom else 0
            if message.osv:
                aliases[message.osv.id] = frozenset(message.osv.aliases or ())
            if found := message.finding:
                module = found.trace[0] if found.trace else _GoFrame()
                findings.add(Finding(found.osv, Level.UNRATED, module.module, "go", version=module.version))
            at = end
            while at < len(text) and text[at].isspace():
                at += 1
    except (ValueError, msgspec.MsgspecError, RecursionError):
        raise malformed("govulncheck", "it is not a stream of govulncheck's messages") from None
    return Report(
        "govulncheck",
        Kind.SCAN,
        tool=f"govulncheck {config.scanner_version}".strip() if config.scanner_version else "",
        database=moment(config.db_last_modified),
        scope=_SCOPE,
        examined=modules,
        places=frozenset({"go"}),
        findings=tuple(
            replace(found, aliases=aliases.get(found.advisory, frozenset()))
            for found in sorted(findings, key=lambda each: (each.advisory, each.package))
        ),
        filters="" if config.scan_level == "symbol" else None,
        problems=("it ended before the code was checked",) if not progress or progress.startswith("Fetching") else (),
    )
