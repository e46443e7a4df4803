"""Lines of a user's own: verified by a PromQL expression, by evidence, or both, without code."""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Self

from pydantic import Field, model_validator

from collectors.systems.prometheus.client import Prometheus
from collectors.systems.prometheus.model.answers import Sample
from exporter.collector import Collector, Item, Mode, NoTarget, Options, SectionSettings
from exporter.evidence.validity import EvidenceRule
from exporter.options import Duration
from exporter.verdict import Result, Severity, failed, ok, unknown, worst

__all__ = ["Condition", "Custom", "CustomEvidence", "CustomLine", "judge"]

_SHOWN = 3  # series named in a sentence


class CustomEvidence(Options):
    """What evidence a line takes."""

    valid_for: Duration = Field(gt=timedelta(0), description="How long a record holds at most.")
    signed_by_role: str | None = Field(None, description="Role that must have signed the record.")
    bound_to_release: bool = Field(False, description="Whether a record holds for the running release alone.")


class CustomLine(Options):
    """A line of your own."""

    section: str = Field(pattern=r"\S", description="Heading or name of its section; a new one when there is none.")
    line: str = Field(pattern=r"\S", description="The line, as in the checklist if it is there.")
    item: str | None = Field(
        None, pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$", description="The `item` label; made from the line by default."
    )
    severity: Severity | None = Field(
        None, description="How much it matters that the line is true; `warning` by default."
    )
    promql: str | None = Field(
        None,
        pattern=r"\S",
        description="Expression that is true when the line is, as of an alert: a comparison that returns samples, or values "
        "other than 0. Takes `clients.prometheus`.",
    )
    evidence: CustomEvidence | None = Field(None, description="Evidence that the line takes, with or without `promql`.")
    every: Duration | None = Field(
        None, gt=timedelta(0), description="How often it is verified; as its section by default."
    )
    team: str | None = Field(None, description="Team that owns it; as its section by default.")
    runbook_url: str | None = Field(None, description="Page that says what to do; as its section by default.")

    @model_validator(mode="after")
    def _verifiable(self) -> Self:
        if self.promql is None and self.evidence is None:
            raise ValueError("expected promql or evidence, or both: without them nothing verifies the line")
        return self

    @property
    def mode(self) -> Mode:
        """How the line is verified."""
        if self.evidence is None:
            return Mode.PROBE
        return Mode.EVIDENCE if self.promql is None else Mode.PROBE_AND_EVIDENCE


@dataclass(frozen=True, slots=True)
class Condition:
    """How an expression tells true from false.

    A comparison filters: it returns the samples for which it is true, whatever their value (`errors < 5` returns 0 when all is
    well). `compared` is then its left side, which tells false from missing. Of any other expression the values count.
    """

    filters: bool
    compared: str | None = None

    @classmethod
    def of(cls, promql: str) -> Condition:
        """Read it off the operators outside of brackets: `or` may add a sample of its own, `bool` gives 0 and 1."""
        outside = _outside(promql)
        comparisons = list(_COMPARISON.finditer(outside))
        words = set(_WORD.findall(outside))
        if not comparisons or words & {"or", "bool"}:
            return cls(filters=False)
        alone = len(comparisons) == 1 and not words & {"and", "unless"}
        return cls(filters=True, compared=promql[: comparisons[0].start()].strip() if alone else None)


_COMPARISON = re.compile(r"==|!=|<=|>=|<|>")
_WORD = re.compile(r"\b[a-z]+\b")
_QUOTED = re.compile(r"""#[^\n]*|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`""")
_BRACKETS = re.compile(r"\([^()\[\]{}]*\)|\[[^()\[\]{}]*\]|\{[^()\[\]{}]*\}")


def _outside(promql: str) -> str:
    """The expression with strings, comments and everything in brackets blanked, in lower case and of the same length."""

    def blank(match: re.Match[str]) -> str:
        return " " * len(match[0])

    text, before = _QUOTED.sub(blank, promql), ""
    while text != before:
        text, before = _BRACKETS.sub(blank, text), text
    return text.lower()


def judge(promql: str, samples: list[Sample]) -> Result | None:
    """The verdict of an expression's samples; None when there are none, which may mean false or missing."""
    if not samples:
        return None
    if undefined := [sample for sample in samples if math.isnan(sample.value)]:
        return unknown(f"{promql} is not a number for {_series(undefined)}.")
    false = [] if Condition.of(promql).filters else [sample for sample in samples if sample.value == 0]
    if false:
        return failed(f"{promql} is 0, so false, for {_series(false)}.", series=len(samples), false_series=len(false))
    return ok(f"{promql} holds for {_series(samples)}.", series=len(samples))


def _series(samples: list[Sample]) -> str:
    """The samples' series by name, at most a few."""
    names = [_name(sample) for sample in samples[:_SHOWN]]
    more = f" and {len(samples) - _SHOWN} more series" if len(samples) > _SHOWN else ""
    return ", ".join(names) + more


def _name(sample: Sample) -> str:
    labels = ", ".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()) if name != "__name__")
    value = "" if math.isnan(sample.value) else f" (value {sample.value:g})"
    return f"{sample.labels.get('__name__', '')}{{{labels}}}{value}"


class Custom(Collector[SectionSettings, NoTarget]):
    """Verifies one line of the configuration. Each line has a subclass, made by `verifying`."""

    Line: ClassVar[type[CustomLine]] = CustomLine
    options: ClassVar[CustomLine]
    name: ClassVar[str]
    declared: ClassVar[Item]

    @classmethod
    @functools.lru_cache(
        maxsize=10_000
    )  # an unchanged line keeps its class, and so its job, when the configuration is read again
    def verifying(cls, options: CustomLine, section: str, item: str, severity: Severity) -> type[Custom]:
        """The collector for one line, whose labels are `section` and `item`."""
        evidence = options.evidence
        declared = Item(
            name=item,
            line=options.line,
            severity=severity,
            mode=options.mode,
            description=f"Verified by {options.promql}" if options.promql else "",
            needs=("clients.prometheus",) if options.promql else (),
            evidence=EvidenceRule(**dict(evidence)) if evidence else None,
            verify=cls.verify,
        )
        return type(
            "Custom", (cls,), {"__module__": __name__, "name": section, "options": options, "declared": declared}
        )

    @classmethod
    def section(cls) -> str:
        """The section of the line."""
        return cls.name

    @classmethod
    def items(cls) -> dict[str, Item]:
        """The line's item alone."""
        return {cls.declared.name: cls.declared}

    async def verify(self) -> Result:
        """The worse of what the expression and the evidence say, where the line takes both."""
        results = [await self._observed(self.options.promql)] if self.options.promql else []
        if self.options.evidence:
            results.append(await self.attested(self.declared.name))
        return worst(*results)

    async def _observed(self, promql: str) -> Result:
        prometheus = self.client(Prometheus)
        if (result := judge(promql, await prometheus.query(promql))) is not None:
            return result
        compared = Condition.of(promql).compared
        if compared is None:
            return failed(f"{promql} returned nothing: it is false, or there is no such series.")
        samples = await prometheus.query(compared)
        if not samples:
            return unknown(f"{compared} returned nothing: there is no such series.")
        return failed(f"{promql} does not hold for {_series(samples)}.", series=0)
