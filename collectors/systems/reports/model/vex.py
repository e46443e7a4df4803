"""What was decided about findings: acceptances in the configuration, and OpenVEX documents."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import unquote

import msgspec
from pydantic import AfterValidator, Field

from collectors.systems.reports.model.report import Finding, Report, malformed, moment, repository
from exporter.evidence.people import names_nobody
from exporter.evidence.records import Moment, end_of
from exporter.options import Options

__all__ = ["Acceptance", "Statement", "accepts", "excludes", "read_openvex"]


def _somebody(name: str) -> str:
    if not name.strip() or names_nobody(name):
        raise ValueError(f"expected who answers for it, found {name!r}, which names nobody")
    return name


class Acceptance(Options):
    """A finding that is accepted for a time by someone who answers for it."""

    advisory: str = Field(
        min_length=3, max_length=100, description="Name of the advisory or rule, such as CVE-2026-1234."
    )
    package: str | None = Field(None, min_length=1, description="Package or file that it is in; any by default.")
    owner: Annotated[str, AfterValidator(_somebody)] = Field(description="Who accepts it.")
    reason: str = Field(min_length=1, description="Why it is accepted.")
    until: Moment = Field(description="Last day of the acceptance.")


class Statement(msgspec.Struct, frozen=True):
    """What a VEX document states about one product: the advisory's names, and package URLs of the parts that it is about.

    `settles` is whether the advisory does not apply or is fixed; a later statement about the same outweighs an earlier one.
    """

    names: frozenset[str]
    subjects: frozenset[str]
    product: str
    settles: bool
    at: datetime


class _Vulnerability(msgspec.Struct):
    name: str
    aliases: list[str] | None = None


class _Component(msgspec.Struct):
    id: str = msgspec.field(name="@id", default="")


class _Product(msgspec.Struct):
    id: str = msgspec.field(name="@id", default="")
    subcomponents: list[_Component] | None = None


class _Statement(msgspec.Struct):
    vulnerability: _Vulnerability
    status: str
    products: list[_Product] | None = None
    justification: str = ""
    impact_statement: str = ""
    timestamp: str = ""


class _Document(msgspec.Struct):
    context: str = msgspec.field(name="@context")
    statements: list[_Statement]
    author: str = ""
    timestamp: str = ""


def read_openvex(content: bytes) -> tuple[Statement, ...]:
    """What the document states about which package of which product: `fixed`, and `not_affected` with a reason, settle it.

    Raises ProbeError.
    """
    try:
        read: Any = msgspec.json.decode(content, type=_Document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise malformed("OpenVEX", "it does not have the fields of an OpenVEX document") from None
    if "openvex" not in read.context:
        raise malformed("OpenVEX", "its @context is another one")
    return tuple(
        Statement(
            frozenset({each.vulnerability.name, *(each.vulnerability.aliases or ())}),
            frozenset(part.id for part in product.subcomponents or () if part.id),
            product.id,
            each.status == "fixed"
            or (each.status == "not_affected" and bool(each.justification or each.impact_statement)),
            moment(each.timestamp) or moment(read.timestamp) or datetime.min.replace(tzinfo=UTC),
        )
        for each in read.statements
        for product in each.products or ()
    )


def accepts(acceptances: Iterable[Acceptance], finding: Finding, now: datetime) -> Iterator[tuple[Acceptance, bool]]:
    """The acceptances of a finding, each with whether it still counts."""
    for each in acceptances:
        if each.advisory in finding.names and each.package in (None, finding.package):
            yield each, now < end_of(each.until)


def excludes(statements: Iterable[Statement], finding: Finding, report: Report) -> bool:
    """Whether the latest statement about this advisory, in this package of this product, or in this product, settles it."""
    about = [each for each in statements if each.names & finding.names and _is_about(each, finding, report)]
    return bool(about) and max(reversed(about), key=lambda each: each.at).settles


def _is_about(statement: Statement, finding: Finding, report: Report) -> bool:
    return _is_product(statement.product, report) and (
        not statement.subjects or any(_is_package(subject, finding) for subject in statement.subjects)
    )


_UNNAMED = ("", "Unknown Product")
"""What govulncheck writes for the product, which is then any."""


def _is_product(product: str, report: Report) -> bool:
    """Whether a product is what was scanned: its target or digest, or a package URL of that name and version."""
    target = report.target or ""
    if product in {target, repository(target), *report.digests, *_UNNAMED}:
        return True
    name, version = _parts(product)
    if not product.startswith("pkg:") or name.rpartition("/")[2] != repository(target).rpartition("/")[2]:
        return False
    return version in ("", *report.digests) or target.endswith((f":{version}", f"@{version}"))


def _is_package(purl: str, finding: Finding) -> bool:
    """Whether a package URL names the finding's package, and its version where both have one."""
    name, version = _parts(purl)
    return name == finding.package and (
        not version or not finding.version or _plain(version) == _plain(finding.version)
    )


def _plain(version: str) -> str:
    """A version without Go's `v` and without an epoch, which a package URL has elsewhere."""
    return re.sub(r"^(\d+:|v)", "", version)


def _parts(purl: str) -> tuple[str, str]:
    """Name and version in a package URL: `pkg:golang/golang.org%2Fx%2Ftext@v0.3.5` → `golang.org/x/text` and `v0.3.5`."""
    path = purl.removeprefix("pkg:").partition("?")[0].partition("#")[0]
    named, at, version = path.rpartition("@")
    kind, _, name = (named if at else path).partition("/")
    decoded = unquote(name)
    return decoded if kind in ("golang", "npm") else decoded.rpartition("/")[2], unquote(version) if at else ""
