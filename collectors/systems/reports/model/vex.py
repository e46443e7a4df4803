"""What was decided about findings: acceptances in the configuration, and OpenVEX documents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any
from urllib.parse import unquote

import msgspec
from pydantic import Field

from collectors.systems.reports.model.report import Finding, Report, malformed
from exporter.evidence.records import Moment, end_of
from exporter.options import Options

__all__ = ["Acceptance", "Statement", "accepts", "excludes", "read_openvex"]


class Acceptance(Options):
    """A finding that is accepted for a time by someone who answers for it."""

    advisory: str = Field(
        min_length=3, max_length=100, description="Name of the advisory or rule, such as CVE-2026-1234."
    )
    package: str | None = Field(None, min_length=1, description="Package or file that it is in; any by default.")
    owner: str = Field(min_length=1, description="Who accepts it.")
    reason: str = Field(min_length=1, description="Why it is accepted.")
    until: Moment = Field(description="Last day of the acceptance.")


class Statement(msgspec.Struct, frozen=True):
    """One statement of a VEX document: the advisory's names, and package URLs and names of products that it is about."""

    names: frozenset[str]
    subjects: frozenset[str]
    products: frozenset[str]


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


class _Document(msgspec.Struct):
    context: str = msgspec.field(name="@context")
    statements: list[_Statement]
    author: str = ""


def read_openvex(content: bytes) -> tuple[Statement, ...]:
    """What the document says is not affected, with a reason, or fixed, about which package or product. Raises ProbeError."""
    try:
        read: Any = msgspec.json.decode(content, type=_Document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise malformed("OpenVEX", "it does not have the fields of an OpenVEX document") from None
    if "openvex" not in read.context:
        raise malformed("OpenVEX", "its @context is another one")
    return tuple(
        Statement(
            frozenset({each.vulnerability.name, *(each.vulnerability.aliases or ())}),
            frozenset(part.id for product in each.products or () for part in product.subcomponents or () if part.id),
            frozenset(product.id for product in each.products or () if product.id),
        )
        for each in read.statements
        if each.status == "fixed" or (each.status == "not_affected" and (each.justification or each.impact_statement))
    )


def accepts(acceptances: Iterable[Acceptance], finding: Finding, now: datetime) -> Iterator[tuple[Acceptance, bool]]:
    """The acceptances of a finding, each with whether it still counts."""
    for each in acceptances:
        if each.advisory in finding.names and each.package in (None, finding.package):
            yield each, now < end_of(each.until)


def excludes(statements: Iterable[Statement], finding: Finding, report: Report) -> bool:
    """Whether a statement is about this advisory in this package, or else in this very product."""
    for each in statements:
        if not each.names & finding.names:
            continue
        if any(_package(subject) == finding.package for subject in each.subjects):
            return True
        if not each.subjects and each.products & {report.target or "", *report.digests}:
            return True
    return False


def _package(purl: str) -> str:
    """The name of the package in a package URL: `pkg:golang/golang.org%2Fx%2Ftext@v0.3.5` → `golang.org/x/text`."""
    path = purl.removeprefix("pkg:").partition("?")[0].partition("#")[0].rpartition("@")[0] or purl
    kind, _, name = path.removeprefix("pkg:").partition("/")
    decoded = unquote(name)
    return decoded if kind in ("golang", "npm") else decoded.rpartition("/")[2]
