"""The collector for one line of a user's own."""

from __future__ import annotations

import functools
from typing import ClassVar

from collectors.custom.line import CustomLine
from collectors.systems.custom.check import see
from collectors.systems.http.check.endpoints import see_endpoints
from collectors.systems.prometheus.check.conditions import ask_all, see_condition
from collectors.systems.prometheus.client import Prometheus
from collectors.systems.prometheus.judge.conditions import alerts
from collectors.systems.prometheus.model.conditions import alert
from exporter.collector import Collector, Item, SectionSettings, Target
from exporter.evidence.rules import EvidenceRule
from exporter.verdict import Result, Severity, worst
from exporter.words import listed

__all__ = ["Custom"]


class Custom(Collector[SectionSettings, Target | None]):
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
            needs=options.needs,
            evidence=EvidenceRule(**dict(evidence)) if evidence else None,
            verify=cls.verify,
        )
        return type(
            "Custom",
            (cls,),
            {"__module__": __name__.rpartition(".")[0], "name": section, "options": options, "declared": declared},
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
        results = [await self._observed()] if self.options.observes else []
        if self.options.evidence:
            results.append(await self.attested(self.declared.name))
        return worst(*results)

    async def _observed(self) -> Result:
        if self.options.http:
            context = self.context
            return await see_endpoints(self.options.http, context.memory, context.now(), allow_intrusive=False)
        if self.options.probe:
            return await see(self, self.options.probe, self.target)
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
    if options.probe:
        conditions = [f"`{condition}`" for condition in options.probe.conditions]
        return f"Passes while {options.probe.subject}{f' and {listed(conditions)}' if conditions else ''}."
    return f"Passes while `{options.condition}` is true of every series." if options.condition else ""
