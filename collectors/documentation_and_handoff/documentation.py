"""Documentation"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from pydantic import Field

from collectors.shared.verdicts import worst_of
from collectors.systems.prometheus.client import Prometheus
from collectors.systems.prometheus.model.answers import Rule
from exporter.collector import Collector, Mode, NoTarget, SectionSettings, fetched, item
from exporter.evidence.records import ADDRESS, Link
from exporter.evidence.validity import EvidenceRule, Record
from exporter.options import Duration
from exporter.verdict import INFO, WARNING, Result, failed, ok, unknown, worst

_LINKED = EvidenceRule(valid_for=timedelta(days=180), links=1)
_NEEDS = ("evidence", "evidence.hosts for the pages it links")


class DocumentationSettings(SectionSettings):
    """Options of the section. Pages are opened at every run, so it runs rarely."""

    every: Duration = Field(timedelta(minutes=15), gt=timedelta(0), description="How often the section is verified.")
    timeout: Duration = Field(
        timedelta(seconds=60), gt=timedelta(0), description="How long one item may take before it is `unknown`."
    )
    critical_severities: tuple[str, ...] = Field(
        ("critical",), min_length=1, description="Values of the `severity` label that mark alerting rules as critical."
    )
    min_escalation_levels: int = Field(2, ge=1, description="Levels that the escalation path must have at least.")
    min_articles: int = Field(5, ge=1, description="Articles that the knowledge base must have at least.")


class Documentation(Collector[DocumentationSettings, NoTarget]):
    """Is what people need in the night written down, current, and can it be opened?"""

    Settings = DocumentationSettings
    rights = "Evidence records whose links are below evidence.hosts; Prometheus's API, for the rules, to read."

    @fetched
    async def critical_rules(self) -> list[Rule]:
        """The alerting rules whose severity is critical."""
        groups = await self.client(Prometheus).rules()
        severities = self.settings.critical_severities
        return [
            rule
            for group in groups
            for rule in group.rules
            if rule.type == "alerting" and rule.labels.get("severity") in severities
        ]

    @item("Architecture diagrams are updated", severity=INFO, mode=Mode.EVIDENCE, needs=_NEEDS, evidence=_LINKED)
    async def architecture_diagrams_updated(self) -> Result:
        """Who is called at night reasons with the picture of the system; an old picture misleads worse than none.

        Verified by a record that is at most 180 days old and links the diagrams; every link must answer with its page.

        Review the diagrams against what runs, and attest it:
        `checklist-exporter attest documentation.architecture_diagrams_updated`.
        """
        return await self.attested("architecture_diagrams_updated")

    @item(
        "Runbooks are created for all critical operations",
        severity=WARNING,
        mode=Mode.PROBE_AND_EVIDENCE,
        needs=("clients.prometheus", *_NEEDS),
        evidence=EvidenceRule(valid_for=timedelta(days=180)),
    )
    async def runbooks_created(self) -> Result:
        """A page without a runbook is a page that one person can handle.

        Verified in Prometheus itself: every critical alerting rule has the annotation `runbook_url`, and each of those pages
        answers and is no login page. Besides, a record that is at most 180 days old says that operations which no alert starts (a
        failover, a restore) have their runbooks too.

        Add `runbook_url` to the rules named, or write the pages that do not exist; list their address under `evidence.hosts`, with
        credentials if it takes some. Then attest it.
        """
        return await worst_of(self._runbooks(), self.attested("runbooks_created"))

    async def _runbooks(self) -> Result:
        rules = await self.critical_rules()
        links = (Link(url=url) for url in dict.fromkeys(map(_runbook, rules)) if ADDRESS.match(url) and "{{" not in url)
        return runbooks(rules, self.settings.critical_severities, await self.context.evidence.links(links))

    @item("On-call procedures are documented", severity=WARNING, mode=Mode.EVIDENCE, needs=_NEEDS, evidence=_LINKED)
    async def on_call_documented(self) -> Result:
        """Who is on call, how they are reached and what they may do must not be asked about during an incident.

        Verified by a record that is at most 180 days old and links the procedures; every link must answer with its page.

        Review the procedures, and attest it: `checklist-exporter attest documentation.on_call_documented`.
        """
        return await self.attested("on_call_documented")

    @item(
        "Escalation paths are defined",
        severity=WARNING,
        mode=Mode.EVIDENCE,
        needs=_NEEDS,
        evidence=replace(_LINKED, measured=("levels",)),
    )
    async def escalation_paths_defined(self) -> Result:
        """When the first person does not answer or cannot help, the next one must be known.

        Verified by a record that is at most 180 days old, links the escalation policy and measures its `levels`: at least
        `min_escalation_levels`.

        Define a second level, and attest it with `measured: {levels: 2}`.
        """
        attested = await self.attested("escalation_paths_defined")
        if not attested.status.is_ok:
            return attested
        return worst(attested, escalation(attested.evidence[0], self.settings.min_escalation_levels))

    @item("Knowledge base articles are created", severity=INFO, mode=Mode.EVIDENCE, needs=_NEEDS, evidence=_LINKED)
    async def knowledge_base_created(self) -> Result:
        """What was learnt once should not be learnt again by everyone.

        Verified by a record that is at most 180 days old and links at least `min_articles` different articles, each of which must
        answer.

        Write the articles, and attest it with their addresses as `links`.
        """
        attested = await self.attested("knowledge_base_created")
        if not attested.status.is_ok:
            return attested
        return worst(attested, articles(attested.evidence[0], self.settings.min_articles))


def _runbook(rule: Rule) -> str:
    return rule.annotations.get("runbook_url", "").strip()


def runbooks(rules: Iterable[Rule], severities: Iterable[str], pages: Iterable[Result]) -> Result:
    """Whether every critical rule has a runbook, given how the pages answered."""
    rules = list(rules)
    if not rules:
        return unknown(
            f"Prometheus has no alerting rule of severity {' or '.join(severities)}, so no runbook was seen."
        )
    without = [rule.name for rule in rules if not _runbook(rule)]
    templates = [rule.name for rule in rules if "{{" in _runbook(rule)]
    odd = [rule.name for rule in rules if (url := _runbook(rule)) and "{{" not in url and not ADDRESS.match(url)]
    results = [page for page in pages if not page.status.is_ok]
    if without:
        results.append(failed(f"{_named(without)} no runbook_url (critical rules: {len(rules)})."))
    if odd:
        results.append(failed(f"{_named(odd)} a runbook_url that is no address."))
    if templates:
        results.append(unknown(f"{_named(templates)} a template as runbook_url, which was not opened."))
    return worst(*results) if results else ok(f"All {len(rules)} critical alerting rules link runbooks that answer.")


def _named(rules: Iterable[str]) -> str:
    """`A, B, C and 4 more have`."""
    names = list(dict.fromkeys(rules))  # one name may have several rules
    if len(names) == 1:
        return f"Alerting rule {names[0]} has"
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"Alerting rules {', '.join(names[:5])}{more} have"


def escalation(record: Record, wanted: int) -> Result:
    """Whether the escalation path has enough levels."""
    levels = record.measured["levels"]
    if levels < wanted:
        return failed(
            f"The escalation path has {levels:g} levels (at least {wanted} wanted).", escalation_levels=levels
        )
    return ok(f"The escalation path has {levels:g} levels.", escalation_levels=levels)


def articles(record: Record, wanted: int) -> Result:
    """Whether the record links enough different articles."""
    found = len({link.page for link in record.links})
    if found < wanted:
        return failed(f"The record links {found} articles (at least {wanted} wanted).", articles=found)
    return ok(f"{found} articles are linked.", articles=found)
