"""Documentation"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

from pydantic import Field

from collectors.shared.verdicts import verdict, worst_of
from collectors.systems.prometheus.client import Prometheus
from collectors.systems.prometheus.model.answers import Rule
from exporter.collector import Collector, EvidenceSettings, Mode, NoTarget, evidence_item, fetched, item
from exporter.evidence.records import ADDRESS, Link, Record
from exporter.evidence.rules import EvidenceRule
from exporter.verdict import INFO, WARNING, Reason, Result, failed, ok, unknown
from exporter.words import counted, listed

_LINKED = EvidenceRule(valid_for=timedelta(days=180), links=1)
_NEEDS = ("evidence", "evidence.hosts for the pages it links")
_linked = functools.partial(evidence_item, rule=_LINKED, needs=_NEEDS)


class DocumentationSettings(EvidenceSettings):
    """Options of the section."""

    critical_severities: tuple[str, ...] = Field(
        ("critical",), min_length=1, description="Values of the `severity` label that mark alerting rules as critical."
    )
    runbooks_must_contain: str | None = Field(
        None,
        min_length=1,
        description="Text that the runbook of each critical rule must have; `{alert}` stands for the rule's name.",
    )
    min_escalation_levels: int = Field(2, ge=1, description="Minimum number of levels of the escalation path.")
    min_articles: int = Field(5, ge=1, description="Minimum number of articles in the knowledge base.")


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

    @_linked("Architecture diagrams are updated", severity=INFO)
    async def architecture_diagrams_updated(self, record: Record) -> None:
        """Who is called at night reasons with the picture of the system; an old picture misleads worse than none.

        Review the diagrams against what runs, and link them.
        """

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
        answers and is not a login page. In addition, a record that is at most 180 days old confirms that operations which no
        alert starts (a failover, a restore) have runbooks too.

        To fix it, add `runbook_url` to the rules named, or write the missing pages; list their address under
        `evidence.hosts`, with credentials if it takes some. Then attest it.
        """
        return await worst_of(self._runbooks(), self.attested("runbooks_created"))

    async def _runbooks(self) -> Result:
        rules = await self.critical_rules()
        wanted = self.settings.runbooks_must_contain
        links = [
            Link(url=url, must_contain=wanted and wanted.replace("{alert}", rule.name))
            for rule in rules
            if ADDRESS.match(url := _runbook(rule)) and "{{" not in url
        ]
        return runbooks(rules, self.settings.critical_severities, await self.context.evidence.links(links))

    @_linked("On-call procedures are documented", severity=WARNING)
    async def on_call_documented(self, record: Record) -> None:
        """Who is on call, how they are reached and what they may do must not be asked about during an incident.

        Review the procedures, and link them.
        """

    @_linked(
        "Escalation paths are defined",
        rule=replace(_LINKED, measured=("levels",)),
        how="with `min_escalation_levels` or more `levels`",
        severity=WARNING,
    )
    async def escalation_paths_defined(self, record: Record) -> Result:
        """When the first person does not answer or cannot help, the next one must be known.

        Define a second level, link the escalation policy and record `measured: {levels: 2}`.
        """
        return escalation(record, self.settings.min_escalation_levels)

    @_linked("Knowledge base articles are created", how="to `min_articles` different articles or more", severity=INFO)
    async def knowledge_base_created(self, record: Record) -> Result:
        """What was learnt once should not be learnt again by everyone.

        Write the articles, and record their addresses as `links`.
        """
        return articles(record, self.settings.min_articles)


def _runbook(rule: Rule) -> str:
    return rule.annotations.get("runbook_url", "").strip()


def runbooks(rules: Iterable[Rule], severities: Iterable[str], pages: Iterable[Result]) -> Result:
    """Whether every critical rule has a runbook, given how the pages answered."""
    rules = list(rules)
    if not rules:
        return unknown(
            f"Prometheus has no alerting rule of severity {' or '.join(severities)}, so no runbook was checked."
        )
    good = ok(f"All {len(rules)} critical alerting rules link runbooks that answer.")
    if len(rules) == 1:
        good = ok("The one critical alerting rule links a runbook that answers.")
    return verdict(_runbook_problems(rules, pages), good)


def _runbook_problems(rules: Sequence[Rule], pages: Iterable[Result]) -> Iterator[Result]:
    without = [rule.name for rule in rules if not _runbook(rule)]
    templates = [rule.name for rule in rules if "{{" in _runbook(rule)]
    odd = [rule.name for rule in rules if (url := _runbook(rule)) and "{{" not in url and not ADDRESS.match(url)]
    if without:
        yield failed(f"{_named(without)} no runbook_url (critical rules: {len(rules)}).", reason=Reason.MISSING)
    if odd:
        yield failed(f"{_named(odd)} a runbook_url that is no address.", reason=Reason.MISCONFIGURED)
    if templates:
        yield unknown(f"{_named(templates)} a template as runbook_url, which was not opened.")
    yield from (page for page in pages if not page.status.is_ok)


def _named(rules: Iterable[str]) -> str:
    """`Alerting rules A, B, C and 4 more have`."""
    names = list(dict.fromkeys(rules))  # one name may have several rules
    return f"Alerting rule {names[0]} has" if len(names) == 1 else f"Alerting rules {listed(names)} have"


def escalation(record: Record, wanted: int) -> Result:
    """Whether the escalation path has enough levels."""
    levels = record.measured["levels"]
    has = f"The escalation path has {levels:g} {'level' if levels == 1 else 'levels'}"
    if levels % 1:
        return failed(f"{has}, which is no number of levels.", reason=Reason.INVALID)
    if levels < wanted:
        return failed(f"{has} (at least {wanted} wanted).", reason=Reason.LIMIT, escalation_levels=levels)
    return ok(f"{has}.", escalation_levels=levels)


def articles(record: Record, wanted: int) -> Result:
    """Whether the record links enough different articles."""
    found = len({link.page for link in record.links})
    linked = f"The record links {counted(found, 'article')}"
    if found < wanted:
        return failed(f"{linked} (at least {wanted} wanted).", reason=Reason.LIMIT, articles=found)
    return ok(f"{linked}.", articles=found)
