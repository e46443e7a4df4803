"""Which format a file has, by its content: names of files prove nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec

from collectors.systems.reports.model.autocannon import read_autocannon
from collectors.systems.reports.model.dbt import read_dbt
from collectors.systems.reports.model.dependencies import read_govulncheck, read_npm_audit, read_pip_audit
from collectors.systems.reports.model.gatling import FIRST_LINE, read_gatling
from collectors.systems.reports.model.great_expectations import read_great_expectations
from collectors.systems.reports.model.jmeter import COLUMNS, read_jmeter
from collectors.systems.reports.model.junit import read_junit
from collectors.systems.reports.model.k6 import read_k6, read_k6_summary
from collectors.systems.reports.model.locust import CSV_LINE, read_locust, read_locust_csv
from collectors.systems.reports.model.report import Report
from collectors.systems.reports.model.sarif import read_sarif
from collectors.systems.reports.model.scanners import (
    read_bandit,
    read_grype,
    read_kube_bench,
    read_nuclei,
    read_zap,
)
from collectors.systems.reports.model.soda import read_soda
from collectors.systems.reports.model.trivy import read_trivy
from collectors.systems.reports.model.vegeta import read_vegeta
from exporter.verdict import ProbeError, Reason
from exporter.words import listed

__all__ = ["FORMATS", "Format", "Shape", "read_report"]


@dataclass(frozen=True, slots=True)
class Shape:
    """What a look at a file shows: the keys of its outermost JSON object, or those at the beginning of a list or a stream.

    For XML its root, for text its first line.
    """

    keys: frozenset[str] = frozenset()
    is_list: bool = False
    is_empty_list: bool = False
    root: str = ""
    first_line: str = ""


@dataclass(frozen=True, slots=True)
class Format:
    """A format that is read. `documented`: its shape is known from its documentation alone, no real file was read."""

    name: str
    fits: Callable[[Shape], bool]
    read: Callable[[bytes], Report]
    documented: bool = False


def _has(*keys: str) -> Callable[[Shape], bool]:
    return lambda shape: not shape.is_list and shape.keys.issuperset(keys)


FORMATS: tuple[Format, ...] = (
    Format("JUnit", lambda shape: shape.root in ("testsuites", "testsuite"), read_junit),
    Format(
        "Locust",
        lambda shape: shape.is_empty_list or (shape.is_list and {"num_requests", "response_times"} <= shape.keys),
        read_locust,
    ),
    Format("Locust's CSV", lambda shape: shape.first_line.startswith(CSV_LINE), read_locust_csv),
    Format("vegeta", _has("latencies", "status_codes", "success"), read_vegeta),
    Format("autocannon", _has("url", "latency", "statusCodeStats"), read_autocannon),
    Format("JMeter", lambda shape: set(shape.first_line.split(",")) >= COLUMNS, read_jmeter),
    Format("Gatling", lambda shape: FIRST_LINE in shape.first_line, read_gatling),
    Format("k6", _has("metrics", "root_group"), read_k6, documented=True),
    Format(
        "k6's machine-readable summary",
        _has("version", "metadata", "config", "results"),
        read_k6_summary,
        documented=True,
    ),
    Format("Trivy", _has("SchemaVersion", "ArtifactName"), read_trivy),
    Format("Grype", _has("matches", "descriptor"), read_grype),
    Format("SARIF", _has("runs", "version"), read_sarif),
    Format("govulncheck", _has("config", "protocol_version"), read_govulncheck),
    Format("pip-audit", _has("dependencies", "fixes"), read_pip_audit),
    Format(
        "npm audit",
        lambda shape: _has("auditReportVersion")(shape) or _has("statusCode", "method", "uri")(shape),
        read_npm_audit,
    ),
    Format("Bandit", _has("generated_at", "metrics", "results"), read_bandit),
    Format("ZAP", _has("@programName", "site"), read_zap, documented=True),
    Format("dbt", _has("metadata", "results", "args"), read_dbt),
    Format("Great Expectations", _has("success", "results", "statistics", "meta"), read_great_expectations),
    Format("Soda", _has("checks", "hasErrors", "scanStartTimestamp"), read_soda),
    Format("nuclei", lambda shape: {"template-id", "info"} <= shape.keys, read_nuclei, documented=True),
    Format("kube-bench", _has("Controls"), read_kube_bench, documented=True),
)


def read_report(content: bytes) -> Report:
    """The report that a file holds.

    Raises ProbeError when it is empty (what many tools leave when they fail), has no format that is known, or cannot be read.
    """
    content = _plain(content)
    if not content.strip():
        raise ProbeError("The report is empty: the tool did not finish.", Reason.MALFORMED)
    shape = _shape(content)
    for known in FORMATS:
        if known.fits(shape):
            return _named(known.read(content))
    names = listed((known.name for known in FORMATS), most=40)
    raise ProbeError(f"The report has none of the formats that are read ({names}).", Reason.MALFORMED)


def _plain(content: bytes) -> bytes:
    """The file as UTF-8 without a byte order mark; PowerShell's `>` writes UTF-16."""
    if content.startswith(b"\x1f\x8b"):
        raise ProbeError("The report is compressed: the file in it is wanted.", Reason.MALFORMED)
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return _DECLARATION.sub(b"", content.decode("utf-16").encode())
        except UnicodeError:
            raise ProbeError("The report is not the UTF-16 that its first bytes announce.", Reason.MALFORMED) from None
    return content.removeprefix(b"\xef\xbb\xbf")


_DECLARATION = re.compile(rb"^\s*<\?xml[^>]*\?>")
_NAMELESS = re.compile(r"(?:dir:)?[./]+")


def _named(report: Report) -> Report:
    """The report without credentials in its addresses, and without a target such as `.`, which any folder may be."""
    target = _public(report.target) if report.target and not _NAMELESS.fullmatch(report.target) else None
    findings = tuple(replace(found, package=_public(found.package)) for found in report.findings)
    load = report.load and replace(report.load, scenario=frozenset(map(_public, report.load.scenario)))
    return replace(report, target=target, findings=findings, load=load)


def _public(address: str) -> str:
    """An address without user and password, and without the values in its query."""
    return _VALUE.sub(r"\1…", _USER.sub("", address))


_USER = re.compile(r"(?<=://)[^/\s@]*@")
_VALUE = re.compile(r"([?&][^=&\s]{1,80}=)[^&\s#]+")
_ROOT = re.compile(rb"\s*(?:<\?xml[^>]*\?>\s*)?(?:<!--.*?-->\s*)*<(?:[\w.-]+:)?([\w.-]+)", re.DOTALL)
_HEAD = 64 * 1024


def _shape(content: bytes) -> Shape:
    head = content[:_HEAD].lstrip()
    if head.startswith(b"<"):
        found = _ROOT.match(head)
        return Shape(root=found[1].decode("ascii", "replace") if found else "")
    if head.startswith((b"{", b"[")):
        return _json_shape(content, head)
    return Shape(first_line=head.partition(b"\n")[0].decode("utf-8", "replace").strip())


def _json_shape(content: bytes, head: bytes) -> Shape:
    if content.count(b"{") > _MOST_OBJECTS or content.count(b",") > _MOST_VALUES:
        raise ProbeError(f"The report has more than {_MOST_OBJECTS} objects or {_MOST_VALUES} values.", Reason.LIMIT)
    first_line = head.partition(b"\n")[0].decode("utf-8", "replace").strip()
    keys = frozenset(key.decode() for key in _KEY.findall(head))
    if head.startswith(b"["):
        return Shape(keys, is_list=True, is_empty_list=not head[1:].strip().removeprefix(b"]").strip())
    try:
        return Shape(frozenset(msgspec.json.decode(content, type=dict[str, msgspec.Raw])))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Shape(keys, first_line=first_line)  # several objects, one after the other, or a file that was cut off


_MOST_OBJECTS = 1_000_000
_MOST_VALUES = 6_000_000
_KEY = re.compile(rb'"([\w$@.-]{1,80})"\s*:')
