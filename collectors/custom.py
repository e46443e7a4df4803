"""Lines of a user's own: verified by a PromQL expression or requests, by evidence, or both, without code."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, Field, model_validator

from collectors.systems.http.check.endpoints import see_endpoints
from collectors.systems.http.model.apis import Endpoints
from collectors.systems.http.model.endpoints import Endpoint
from collectors.systems.prometheus.check.conditions import Condition, ask_all, see_condition
from collectors.systems.prometheus.client import Prometheus
from collectors.systems.prometheus.judge.conditions import alerts
from collectors.systems.prometheus.model.conditions import alert
from exporter.collector import Collector, Item, Mode, NoTarget, Options, SectionSettings
from exporter.evidence.rules import EvidenceRule
from exporter.options import Duration
from exporter.verdict import Result, Severity, worst

__all__ = ["Custom", "CustomEvidence", "CustomLine"]


def _readable(text: str) -> str:
    alert(text)
    return text


Alert = Annotated[str, AfterValidator(_readable)]


def _asking(endpoints: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
    for endpoint in endpoints:
        if not endpoint.is_safe:
            raise ValueError(
                f"found {endpoint.method}, expected GET, HEAD or OPTIONS: a line of your own changes nothing"
            )
    return endpoints


class Requests(Endpoints):
    """Requests to an HTTP service, and what must be true of their answers."""

    endpoints: Annotated[tuple[Endpoint, ...], AfterValidator(_asking)] = Field(
        min_length=1, description="What to request (GET, HEAD or OPTIONS), and the conditions on each answer."
    )

    def __hash__(self) -> int:  # headers are a mapping, which has no hash
        return hash((self.url, self.endpoints))


class CustomEvidence(Options):
    """Evidence that a line requires."""

    valid_for: Duration = Field(gt=timedelta(0), description="Longest validity of a record.")
    signed_by_role: str | None = Field(None, description="Role that must have signed the record.")
    bound_to_release: bool = Field(False, description="Whether a record is valid only for the running release.")
    approvers: int = Field(
        1, ge=1, le=10, description="How many different people must each have signed a record of their own."
    )


class CustomLine(Options):
    """Your own line; docs/custom.md has ten to copy."""

    section: str = Field(pattern=r"\S", description="Heading or name of its section; a new section if none has it.")
    line: str = Field(pattern=r"\S", description="The line, as in the checklist if it is there.")
    item: str | None = Field(
        None, pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$", description="The `item` label; made from the line by default."
    )
    severity: Severity | None = Field(None, description="How much the line matters; `warning` by default.")
    true_when: Condition | None = Field(
        None,
        description="PromQL condition that every series of its left side must satisfy, such as `up == 1`. Requires "
        "`clients.prometheus`.",
    )
    alert_when: Alert | None = Field(
        None,
        description="Expression of an alerting rule: the line passes while it returns nothing and the series that it "
        "selects exist. Requires `clients.prometheus`.",
    )
    promql: Condition | None = Field(None, description="Former name of `true_when`.", deprecated=True)
    http: Requests | None = Field(
        None, description="Requests whose answers must meet conditions on status, headers, body or latency, in CEL."
    )
    min_series: int | None = Field(
        None, ge=1, description="Minimum number of series that `true_when` or `alert_when` must select; 1 by default."
    )
    evidence: CustomEvidence | None = Field(
        None, description="Evidence that the line requires, with or without a condition."
    )
    every: Duration | None = Field(
        None, gt=timedelta(0), description="How often it is verified; as often as its section by default."
    )
    team: str | None = Field(None, description="Team that owns it; the section's team by default.")
    runbook_url: str | None = Field(None, description="Runbook of the line; the section's by default.")

    @model_validator(mode="after")
    def _verifiable(self) -> Self:
        conditions = [*self.requires, *(["http"] if self.http else [])]
        if not conditions and self.evidence is None:
            raise ValueError(
                "expected true_when, alert_when, http or evidence: without one of them nothing verifies the line"
            )
        if len(conditions) > 1:
            raise ValueError(f"found {' and '.join(conditions)}, expected one of them: write a line for each")
        if self.min_series is not None and not self.requires:
            raise ValueError("found min_series without a condition, expected true_when or alert_when")
        return self

    @property
    def requires(self) -> Mapping[str, str]:
        """The client that each of its options requires, by option."""
        return {name: "prometheus" for name in ("true_when", "alert_when", "promql") if self._given(name)}

    def _given(self, name: str) -> str | None:
        given: str | None = self.__dict__[name]  # not by attribute: pydantic warns of what is deprecated
        return given

    @property
    def former(self) -> Mapping[str, str]:
        """Options under a former name that are given, and what each is called now."""
        return {"promql": "true_when"} if self._given("promql") else {}

    @property
    def condition(self) -> str | None:
        """The PromQL condition that verifies the line, if one does."""
        return next((self._given(name) for name in self.requires), None)

    @property
    def probes(self) -> bool:
        """Whether something is observed, and not only attested."""
        return self.http is not None or self.condition is not None

    @property
    def mode(self) -> Mode:
        """How the line is verified."""
        if self.evidence is None:
            return Mode.PROBE
        return Mode.PROBE_AND_EVIDENCE if self.probes else Mode.EVIDENCE


class Custom(Collector[SectionSettings, NoTarget]):
    """Verifies one line of the configuration. Each line has a subclass, made by `verifying`."""

    Line: ClassVar[type[CustomLine]] = CustomLine
    options: ClassVar[CustomLine]
    name: ClassVar[str]
    declared: ClassVar[Item]

    @classmethod
    @functools.lru_cache(
        maxsize=50_000
    )  # an unchanged line keeps its class, and so its job, when the configuration is read again
    def verifying(cls, options: CustomLine, section: str, item: str, severity: Severity) -> type[Custom]:
        """The collector for one line, whose labels are `section` and `item`."""
        evidence = options.evidence
        declared = Item(
            name=item,
            line=options.line,
            severity=severity,
            mode=options.mode,
            description=_described(options),
            needs=tuple(f"clients.{client}" for client in options.requires.values()),
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
        """The worse of what is observed and what the evidence says, where the line takes both."""
        results = [await self._observed()] if self.options.probes else []
        if self.options.evidence:
            results.append(await self.attested(self.declared.name))
        return worst(*results)

    async def _observed(self) -> Result:
        if self.options.http:
            context = self.context
            return await see_endpoints(self.options.http, context.memory, context.now(), allow_intrusive=False)
        least = self.options.min_series or 1
        if self.options.alert_when:
            condition = alert(self.options.alert_when)
            if found := await self.client(Prometheus).query(condition.text):
                return alerts(condition, found, {}, least)
            asked = await ask_all(
                self.client(Prometheus), (*condition.present, *condition.sides, *condition.ages, *condition.joined)
            )
            return alerts(condition, found, asked, least)
        return await see_condition(self.client(Prometheus), self.options.condition or "", least)


def _described(options: CustomLine) -> str:
    """How a line is verified, as its page shows it."""
    if options.alert_when:
        return f"Passes while `{options.alert_when}` returns nothing and the series that it selects exist."
    if options.http:
        asked = ", ".join(f"`{endpoint.method} {endpoint.path}`" for endpoint in options.http.endpoints)
        return f"Passes while the answers of {options.http.url} to {asked} meet their conditions."
    return f"Passes while `{options.condition}` is true of every series." if options.condition else ""
