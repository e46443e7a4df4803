"""Trivy's JSON. It names its database's date only where a server scanned, and a severity filter leaves no trace in it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from collectors.systems.reports.model.report import Finding, Kind, Level, Report, malformed, moment

__all__ = ["VULNERABILITIES", "read_trivy"]

VULNERABILITIES = "vulnerabilities"
_CLASSES = {
    "os-pkgs": VULNERABILITIES,
    "lang-pkgs": VULNERABILITIES,
    "secret": "secrets",
    "config": "misconfigurations",
    "license": "licenses",
    "license-file": "licenses",
}


class _Struct(msgspec.Struct, rename="pascal"):
    pass


class _Vulnerability(_Struct):
    vulnerability_id: str = msgspec.field(name="VulnerabilityID")
    pkg_name: str = ""
    installed_version: str = ""
    severity: str = ""


class _Check(_Struct):
    id: str = msgspec.field(name="ID", default="")
    severity: str = ""
    status: str = ""


class _Secret(_Struct):
    rule_id: str = msgspec.field(name="RuleID", default="")
    severity: str = ""


class _Modified(_Struct):
    finding: _Vulnerability | None = None


class _Result(_Struct):
    target: str = ""
    class_: str = msgspec.field(name="Class", default="")
    vulnerabilities: list[_Vulnerability] | None = None
    misconfigurations: list[_Check] | None = None
    secrets: list[_Secret] | None = None
    modified: list[msgspec.Raw] | None = msgspec.field(name="ExperimentalModifiedFindings", default=None)


class _Config(msgspec.Struct):
    labels: dict[str, str] | None = msgspec.field(name="Labels", default=None)


class _ImageConfig(msgspec.Struct):
    config: _Config | None = None


class _System(_Struct):
    family: str = ""
    name: str = ""
    unsupported: bool = msgspec.field(name="EOSL", default=False)


class _Metadata(_Struct):
    system: _System | None = msgspec.field(name="OS", default=None)
    image_id: str = msgspec.field(name="ImageID", default="")
    repo_tags: list[str] | None = None
    repo_digests: list[str] | None = None
    commit: str = ""
    image_config: _ImageConfig | None = None


class _Database(_Struct):
    updated_at: str = ""


class _Server(_Struct):
    database: _Database | None = msgspec.field(name="VulnerabilityDB", default=None)


class _Program(_Struct):
    version: str = ""
    server: _Server | None = None


class _Report(_Struct):
    created_at: str = ""
    artifact_name: str = ""
    artifact_type: str = ""
    metadata: _Metadata | None = None
    results: list[_Result] | None = None
    trivy: _Program | None = None


def read_trivy(content: bytes) -> Report:
    """What was scanned, by class and place, and what was found. Raises ProbeError."""
    try:
        read = msgspec.json.decode(content, type=_Report)
        results = read.results or []
        accepted = tuple(finding for result in results for finding in _accepted(result))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise malformed("Trivy", "it does not have the fields of Trivy's JSON") from None
    metadata = read.metadata or _Metadata()
    server = read.trivy.server if read.trivy else None
    labels = (metadata.image_config and metadata.image_config.config and metadata.image_config.config.labels) or {}
    digests = {digest.rpartition("@")[2] for digest in metadata.repo_digests or ()} | {metadata.image_id}
    return Report(
        "Trivy",
        Kind.SCAN,
        tool=f"Trivy {read.trivy.version}" if read.trivy and read.trivy.version else "",
        finished=moment(read.created_at),
        # An SBOM is a file, and what it lists may be of any image.
        target=None if read.artifact_type in ("cyclonedx", "spdx") else read.artifact_name or None,
        digests=frozenset(filter(None, digests)),
        revision=metadata.commit or labels.get("org.opencontainers.image.revision"),
        database=moment(server.database.updated_at) if server and server.database else None,
        scope=frozenset(_CLASSES.get(result.class_, result.class_) for result in results if result.class_),
        examined=len(results),
        places=frozenset(map(_place, results)),
        findings=tuple(finding for result in results for finding in _findings(result)),
        accepted=accepted,
        problems=tuple(_problems(metadata, results)),
    )


def _problems(metadata: _Metadata, results: list[_Result]) -> Iterator[str]:
    """For a distribution whose support has ended no advisories are published any more, and `--pkg-types library` leaves it out."""
    if (system := metadata.system) is None:
        return
    if system.unsupported:
        yield f"{system.family} {system.name} is out of support, so its packages have no advisories"
    classes = {result.class_ for result in results}
    if "lang-pkgs" in classes and "os-pkgs" not in classes:
        yield f"the packages of {system.family} {system.name} were not scanned"


def _place(result: _Result) -> str:
    """An image's system packages are one place, whatever tag the image had when it was scanned."""
    return result.class_ if result.class_ == "os-pkgs" else f"{result.class_}:{result.target}"


def _findings(result: _Result) -> list[Finding]:
    place = _place(result)
    found = [_vulnerability(entry, place) for entry in result.vulnerabilities or ()]
    found += [
        Finding(check.id, Level.named(check.severity), result.target, place)
        for check in result.misconfigurations or ()
        if check.status != "PASS"
    ]
    found += [
        Finding(secret.rule_id, Level.named(secret.severity), result.target, place) for secret in result.secrets or ()
    ]
    return found


def _vulnerability(entry: _Vulnerability, place: str) -> Finding:
    level = Level.named(entry.severity)
    return Finding(entry.vulnerability_id, level, entry.pkg_name, place, version=entry.installed_version)


def _accepted(result: _Result) -> list[Finding]:
    found = []
    for raw in result.modified or ():
        try:
            entry = msgspec.json.decode(raw, type=_Modified).finding
        except msgspec.ValidationError:
            entry = None  # something else than a vulnerability is accepted
        found.append(
            _vulnerability(entry, _place(result)) if entry else Finding("unnamed", Level.UNRATED, "", _place(result))
        )
    return found
