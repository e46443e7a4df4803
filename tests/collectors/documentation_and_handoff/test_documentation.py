"""Documentation: pages that answer, and runbooks that a real Prometheus's rules link."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from collectors.documentation_and_handoff.documentation import Documentation, runbooks
from collectors.systems.prometheus import client
from collectors.systems.prometheus.model.answers import Rule
from exporter.threads import Threads
from exporter.verdict import Status
from tests.collectors.evidence import Folder, each, evidence_of
from tests.servers.pages import Pages
from tests.servers.process import LOOPBACK, eventually
from tests.servers.prometheus import NEW, OLD, Prometheus
from tests.support import Run, make_context, sees

LINKED = ("architecture_diagrams_updated", "on_call_documented", "escalation_paths_defined", "knowledge_base_created")


evidence = evidence_of("documentation", pages=True)


def attest(evidence: Folder, pages: Pages, item: str, **values: Any) -> None:
    links = [pages.add(f"/page-{number}") for number in range(5)]
    evidence.record(item, **{"links": links, "measured": {"levels": 2}} | values)


def run(evidence: Folder, item: str, prometheus: client.Prometheus | None = None, **settings: Any) -> Run:
    clients = {"prometheus": prometheus} if prometheus else {}
    context = make_context(clients=clients, **evidence.context)
    return Run(Documentation, [item], settings=settings, context=context)


seen = sees(run)


@pytest.mark.parametrize("item", each("documentation", LINKED, "ok", "failed", "unknown"))
async def test_pages_that_answer_and_those_that_are_gone_and_those_that_are_not_seen(
    evidence: Folder, pages: Pages, item: str
) -> None:
    result = await seen(evidence, item)
    assert (result.status, result.summary) == (Status.FAILED, f"There is no evidence for documentation.{item}.")
    attest(evidence, pages, item)
    result = await seen(evidence, item)
    assert result.status is Status.OK
    assert "Its 5 links answer." in result.summary
    pages.add("/page-3", '<input type="password">')
    result = await seen(evidence, item)
    assert result.status is Status.UNKNOWN
    assert f"{pages.url}/page-3 answers with a login page, so the document was not checked." in result.summary
    del pages.pages["/page-3"]
    result = await seen(evidence, item)
    assert result.status is Status.FAILED
    assert f"{pages.url}/page-3 does not exist (404)." in result.summary


@pytest.mark.parametrize("item", LINKED)
async def test_documents_without_a_link_or_looked_at_too_long_ago_fail(
    evidence: Folder, pages: Pages, item: str
) -> None:
    attest(evidence, pages, item, links=[])
    assert "has 0 links (at least 1 wanted)." in (await seen(evidence, item)).summary
    attest(evidence, pages, item, on="2026-04-01")
    assert "expired 15 days ago (2026-09-27)." in (await seen(evidence, item)).summary
    assert pages.seen == []
    attest(evidence, pages, item, on="2026-04-25")
    result = await seen(evidence, item)
    assert (result.status, "expires in" in result.summary) == (Status.WARNING, True)


@pytest.mark.parametrize(
    ("measured", "summary"),
    [
        ({"levels": 2.5}, "The escalation path has 2.5 levels, which is no number of levels."),
        ({"levels": 1}, "The escalation path has 1 level (at least 2 wanted)."),
        ({}, "Evidence for documentation.escalation_paths_defined does not measure levels."),
    ],
)
async def test_an_escalation_path_takes_two_levels(
    evidence: Folder, pages: Pages, measured: dict[str, float], summary: str
) -> None:
    attest(evidence, pages, "escalation_paths_defined", measured=measured)
    result = await seen(evidence, "escalation_paths_defined")
    assert result.status is Status.FAILED
    assert summary in result.summary
    assert (await seen(evidence, "escalation_paths_defined", min_escalation_levels=1)).status.is_ok == (
        measured == {"levels": 1}
    )


async def test_a_knowledge_base_takes_several_different_articles(evidence: Folder, pages: Pages) -> None:
    attest(evidence, pages, "knowledge_base_created", links=[pages.add("/page-0") + f"#{part}" for part in range(5)])
    result = await seen(evidence, "knowledge_base_created")
    assert (result.status, result.summary) == (Status.FAILED, "The record links 1 article (at least 5 wanted).")
    assert (await seen(evidence, "knowledge_base_created", min_articles=1)).status is Status.OK


# Runbooks


@pytest.fixture(scope="module", params=[OLD, NEW], ids=["prometheus-2", "prometheus-3"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with Prometheus(tmp_path_factory.mktemp("runbooks"), release=request.param) as started:
        yield started


@pytest.fixture
async def prometheus(server: Prometheus) -> AsyncIterator[client.Prometheus]:
    made = client.Prometheus(client.PrometheusSettings(url=server.url), Threads())
    yield made
    await made.close()


def rule(name: str, runbook: str | None = None, severity: str = "critical") -> dict[str, Any]:
    annotations = {"runbook_url": runbook} if runbook is not None else {}
    return {"alert": name, "expr": "vector(0) > 1", "labels": {"severity": severity}, "annotations": annotations}


async def load(server: Prometheus, prometheus: client.Prometheus, *rules: dict[str, Any]) -> None:
    server.configure(rules=[{"name": "tests", "rules": list(rules)}] if rules else [])
    wanted = {entry.get("alert") or entry["record"] for entry in rules}

    async def loaded() -> bool:
        await prometheus.close()
        groups = await client.Prometheus.rules(prometheus)
        return {known.name for group in groups for known in group.rules} == wanted

    await eventually(loaded, "the rules to be loaded")


@pytest.mark.verifies("documentation.runbooks_created", "ok")
@pytest.mark.verifies("documentation.runbooks_created", "failed")
@pytest.mark.verifies("documentation.runbooks_created", "unknown")
async def test_runbooks_of_a_real_prometheus_are_opened(
    evidence: Folder, pages: Pages, server: Prometheus, prometheus: client.Prometheus
) -> None:
    await load(
        server,
        prometheus,
        rule("Down", pages.add("/runbooks/down") + "#restart"),
        rule("DownToo", f"{pages.url}/runbooks/down"),
        rule("Slow", severity="warning"),
        {"record": "one", "expr": "vector(1)", "labels": {"severity": "critical"}},
    )
    result = await seen(evidence, "runbooks_created", prometheus)
    assert (result.status, result.summary) == (
        Status.FAILED,
        "There is no evidence for documentation.runbooks_created.",
    )
    evidence.record("runbooks_created")
    result = await seen(evidence, "runbooks_created", prometheus)
    assert result.status is Status.OK
    assert "All 2 critical alerting rules link runbooks that answer." in result.summary
    assert "team@example.com attested documentation.runbooks_created" in result.summary
    assert pages.seen == ["/runbooks/down"] * 2

    del pages.pages["/runbooks/down"]
    result = await seen(evidence, "runbooks_created", prometheus)
    assert (result.status, result.summary) == (Status.FAILED, f"{pages.url}/runbooks/down does not exist (404).")

    pages.redirect("/runbooks/down", "/login")
    result = await seen(evidence, "runbooks_created", prometheus)
    assert result.status is Status.UNKNOWN
    assert "redirects to a login page" in result.summary

    result = await seen(evidence, "runbooks_created", prometheus, critical_severities=("critical", "warning"))
    assert result.status is Status.FAILED
    assert result.summary == "Alerting rule Slow has no runbook_url (critical rules: 3)."


async def test_rules_without_a_runbook_are_named(
    evidence: Folder, pages: Pages, server: Prometheus, prometheus: client.Prometheus
) -> None:
    evidence.record("runbooks_created")
    await load(server, prometheus, *(rule(f"Rule{number}") for number in range(7)), rule("Blank", " "))
    result = await seen(evidence, "runbooks_created", prometheus)
    assert (result.status, result.summary) == (
        Status.FAILED,
        "Alerting rules Rule0, Rule1, Rule2, Rule3, Rule4 and 3 more have no runbook_url (critical rules: 8).",
    )
    await load(server, prometheus, rule("Odd", "wiki/Odd"))
    result = await seen(evidence, "runbooks_created", prometheus)
    assert (result.status, result.summary) == (Status.FAILED, "Alerting rule Odd has a runbook_url that is no address.")
    await load(server, prometheus, rule("Template", "https://wiki.example.com/{{ $labels.job }}"))
    result = await seen(evidence, "runbooks_created", prometheus)
    assert result.status is Status.UNKNOWN
    assert "Alerting rule Template has a template as runbook_url, which was not opened." in result.summary


async def test_a_prometheus_without_critical_rules_is_no_proof(
    evidence: Folder, server: Prometheus, prometheus: client.Prometheus
) -> None:
    evidence.record("runbooks_created")
    await load(server, prometheus)
    result = await seen(evidence, "runbooks_created", prometheus, critical_severities=("critical", "page"))
    assert (result.status, result.summary) == (
        Status.UNKNOWN,
        "Prometheus has no alerting rule of severity critical or page, so no runbook was checked.",
    )


async def test_without_prometheus_runbooks_are_unknown_and_denied_ones_fail(evidence: Folder) -> None:
    evidence.record("runbooks_created")
    result = await seen(evidence, "runbooks_created")
    assert result.status is Status.UNKNOWN
    assert "clients.prometheus is not configured" in result.summary
    evidence.record("runbooks_created", result="failed", note="None for restores.")
    result = await seen(evidence, "runbooks_created")
    assert (result.status, result.summary) == (
        Status.FAILED,
        "Evidence for documentation.runbooks_created reports failed: None for restores.",
    )


async def test_a_prometheus_that_does_not_answer_leaves_runbooks_unknown(evidence: Folder, no_leftovers: None) -> None:
    evidence.record("runbooks_created")
    unreachable = client.Prometheus(client.PrometheusSettings(url=f"http://{LOOPBACK}:1"), Threads())
    result = await seen(evidence, "runbooks_created", unreachable)
    assert result.status is Status.UNKNOWN
    assert "the connection was refused" in result.summary
    await unreachable.close()


def test_templates_and_missing_runbooks_are_both_said() -> None:
    rules = [
        Rule("alerting", "A", "x", annotations={"runbook_url": "https://x/{{ $value }}"}),
        Rule("alerting", "B", "x"),
    ]
    result = runbooks(rules, ("critical",), [])
    assert (result.status, result.summary) == (
        Status.FAILED,
        "Alerting rule B has no runbook_url (critical rules: 2).",
    )
