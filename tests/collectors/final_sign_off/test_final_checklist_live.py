"""The lines of the final checklist that look at trackers, the cluster, Grafana and rosters."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from collectors.final_sign_off.final_checklist import FinalChecklist, FinalChecklistSettings
from collectors.systems.grafana.client import Grafana, GrafanaSettings
from collectors.systems.kubernetes.model.images import PULLED
from collectors.systems.kubernetes.model.revisions import REVISED, REVISIONS
from exporter.threads import Threads
from exporter.verdict import Reason, Result, Status
from tests.collectors.evidence import NOW, Folder, evidence_of
from tests.collectors.systems.kubernetes.clusters import asking, listing
from tests.servers import grafana as shown
from tests.servers.kubernetes import ControlPlane, node, pod_spec, workload
from tests.servers.oncall import TOKEN as ROSTER_TOKEN
from tests.servers.oncall import OnCallServer, Person
from tests.servers.pages import Pages
from tests.servers.registry import ImageRegistry
from tests.servers.trackers import LABEL, TOKEN, Issue, Trackers
from tests.support import Clients, Run, make_context, sees

evidence = evidence_of("final_checklist", pages=True)


def run(evidence: Folder, item: str, clients: Clients | None = None, **settings: Any) -> Run:
    context = make_context(clients=clients, **evidence.context)
    return Run(FinalChecklist, [item], settings=settings, context=context)


seen = sees(run)


# Issues

ISSUES = "all_issues_resolved"


def tracker(kind: str, trackers: Trackers, **changes: Any) -> dict[str, Any]:
    options: dict[str, dict[str, Any]] = {
        "github": {"repositories": ["shop/web"], "bearer_token": TOKEN},
        "gitlab": {"projects": ["shop/web"], "headers": {"PRIVATE-TOKEN": TOKEN}},
        "jira": {"project": "SHOP", "bearer_token": TOKEN},
    }
    return {kind: {"url": trackers.url} | options[kind] | changes}


@pytest.mark.verifies("final_checklist.all_issues_resolved", "ok")
@pytest.mark.verifies("final_checklist.all_issues_resolved", "failed")
@pytest.mark.verifies("final_checklist.all_issues_resolved", "unknown")
@pytest.mark.parametrize("kind", ["github", "gitlab", "jira"])
async def test_no_blocking_issue_is_open(evidence: Folder, trackers: Trackers, kind: str) -> None:
    issues = tracker(kind, trackers)
    trackers.issues = [Issue(1, open=False)]
    if kind != "jira":  # a search by JQL is what the server makes of it
        trackers.issues.append(Issue(2, labels=("bug",)))
    result = await seen(evidence, ISSUES, issues=issues)
    assert (result.status, result.summary.startswith("No blocking issue of ")) == (Status.OK, True), result.summary
    trackers.issues += [Issue(number) for number in range(10, 140)]
    result = await seen(evidence, ISSUES, issues=issues)
    assert (result.status, "130 issues of" in result.summary, "and 1 more" in result.summary) == (
        Status.FAILED,
        True,
        True,
    )
    trackers.status = 503
    assert (await seen(evidence, ISSUES, issues=issues)).status is Status.UNKNOWN


async def test_pull_requests_are_no_issues(evidence: Folder, trackers: Trackers) -> None:
    trackers.issues = [Issue(1, pull_request=True)]
    assert (await seen(evidence, ISSUES, issues=tracker("github", trackers))).status is Status.OK


async def test_an_issue_behind_a_page_of_pull_requests_is_open(evidence: Folder, trackers: Trackers) -> None:
    trackers.issues = [*(Issue(number, pull_request=True) for number in range(100)), Issue(700)]
    result = await seen(evidence, ISSUES, issues=tracker("github", trackers))
    assert (result.status, "1 issue of GitHub repository shop/web is open: #700." in result.summary) == (
        Status.FAILED,
        True,
    )


async def test_an_issue_that_was_given_up_is_not_fixed(evidence: Folder, trackers: Trackers) -> None:
    trackers.issues = [Issue(1, open=False, reason="completed"), Issue(2, open=False, reason="not_planned")]
    trackers.issues.append(Issue(3, open=False, reason="not_planned", pull_request=True))
    result = await seen(evidence, ISSUES, issues=tracker("github", trackers))
    assert (
        result.status,
        "1 issue of GitHub repository shop/web was closed as not planned: #2." in result.summary,
    ) == (
        Status.WARNING,
        True,
    )


@pytest.mark.parametrize(
    ("kind", "reason", "words"),
    [
        ("github", "duplicate", "shop/web was closed as a duplicate: #2."),
        ("gitlab", "moved", "shop/web was closed as moved: #2."),
        ("gitlab", "duplicate", "shop/web was closed as a duplicate: #2."),
        ("jira", "Won't Do", "SHOP was closed as Won't Do: SHOP-2."),
        ("jira", "Cannot Reproduce", "SHOP was closed as Cannot Reproduce: SHOP-2."),
        ("jira", "Won\N{RIGHT SINGLE QUOTATION MARK}t Do", "SHOP-2."),
        ("jira", "Deferred", "SHOP was closed as Deferred: SHOP-2."),
    ],
)
async def test_an_issue_that_goes_on_elsewhere_is_not_fixed(
    evidence: Folder, trackers: Trackers, kind: str, reason: str, words: str
) -> None:
    trackers.issues = [Issue(1, open=False), Issue(2, open=False, reason=reason)]
    result = await seen(evidence, ISSUES, issues=tracker(kind, trackers))
    assert (result.status, words in result.summary) == (Status.WARNING, True), result.summary


@pytest.mark.parametrize("kind", ["github", "gitlab"])
async def test_a_label_that_does_not_exist_proves_nothing(evidence: Folder, trackers: Trackers, kind: str) -> None:
    trackers.labels = {"launch_blocker"}
    result = await seen(evidence, ISSUES, issues=tracker(kind, trackers))
    assert (result.status, result.reason) == (Status.UNKNOWN, Reason.MISSING)
    assert f"has no label {LABEL}" in result.summary


@pytest.mark.parametrize("kind", ["github", "gitlab", "jira"])
async def test_nobody_and_another_project_see_no_issues(evidence: Folder, trackers: Trackers, kind: str) -> None:
    trackers.issues = [Issue(1)]
    for changes in (
        {"bearer_token": "wrong", "headers": {}},
        {"project": "OTHER"} if kind == "jira" else {"url": f"{trackers.url}/x"},
    ):
        result = await seen(evidence, ISSUES, issues=tracker(kind, trackers, **changes))
        assert result.status is Status.UNKNOWN
        assert TOKEN not in result.summary


async def test_jql_stays_within_the_project(evidence: Folder, trackers: Trackers) -> None:
    await seen(evidence, ISSUES, issues=tracker("jira", trackers, jql="labels = a OR labels = b"))
    assert trackers.asked[:1] == ['project = "SHOP" AND statusCategory != Done AND (labels = a OR labels = b)']
    with pytest.raises(ValueError, match="key of a project"):
        FinalChecklistSettings.model_validate({"issues": tracker("jira", trackers, project='SHOP" OR 1')})


async def test_any_json_has_a_number_or_a_list(evidence: Folder, pages: Pages) -> None:
    for body, status in (
        ({"total": 0}, Status.OK),
        ({"total": 3}, Status.FAILED),
        ({"total": []}, Status.OK),
        ({"total": [1, 2]}, Status.FAILED),
        ({"total": None}, Status.UNKNOWN),
        ({"total": True}, Status.UNKNOWN),
        ({"error": "no"}, Status.UNKNOWN),
        ({"total": 0, "incomplete_results": True}, Status.UNKNOWN),  # of GitHub's search, which ran out of time
        ({"total": 0, "incomplete_results": False}, Status.OK),
        ({"total": [], "isLast": False}, Status.UNKNOWN),
        ({"total": [], "has_more": True}, Status.UNKNOWN),
    ):
        url = pages.add("/issues", json.dumps(body))
        result = await seen(evidence, ISSUES, issues={"json_api": {"url": url, "open_issues": "/total"}})
        assert result.status is status


async def test_one_page_of_several_is_not_all(evidence: Folder, pages: Pages) -> None:
    url = pages.add("/paged", "[]", Link='<https://tracker.example.com/?page=2>; rel="next"')
    result = await seen(evidence, ISSUES, issues={"json_api": {"url": url, "open_issues": ""}})
    assert (result.status, "one page of several" in result.summary) == (Status.UNKNOWN, True)


async def test_without_a_tracker_a_record_of_the_week_counts(evidence: Folder, pages: Pages) -> None:
    assert (await seen(evidence, ISSUES)).reason is Reason.MISSING
    links = [pages.add("/issues")]
    for measured, on, status in (
        ({"open_issues": 0}, "2026-10-10", Status.OK),
        ({"open_issues": 2}, "2026-10-10", Status.FAILED),
        ({"open_issues": 0}, "2026-10-01", Status.FAILED),
        ({}, "2026-10-10", Status.FAILED),
    ):
        evidence.record(ISSUES, links=links, measured=measured, on=on)
        result = await seen(evidence, ISSUES)
        assert result.status is status or (status is Status.OK and result.status is Status.WARNING), result.summary


# Rollback

ROLLBACK = "rollback_plan_ready"


def release(namespace: str, image: str, **spec: Any) -> dict[str, Any]:
    made = pod_spec()
    made["containers"][0]["image"] = image
    deployment = workload(namespace, "web", spec=made)
    deployment["spec"] |= spec
    return deployment


@pytest.mark.verifies("final_checklist.rollback_plan_ready", "ok")
@pytest.mark.verifies("final_checklist.rollback_plan_ready", "failed")
@pytest.mark.verifies("final_checklist.rollback_plan_ready", "unknown")
async def test_there_is_an_earlier_release_to_go_back_to(
    evidence: Folder, pages: Pages, control_plane: ControlPlane
) -> None:
    namespace = control_plane.namespace("shop")
    options: dict[str, Any] = {"rollback_deployments": [f"{namespace}/web"]}
    evidence.record(ROLLBACK, links=[pages.add("/plan")], measured={"drill_minutes": 12})

    async def rolled(status: Status, words: str = "") -> None:
        async with asking(control_plane) as clients:
            result = await seen(evidence, ROLLBACK, clients, **options)
        assert (result.status, words in result.summary) == (status, True), result.summary

    assert (await seen(evidence, ROLLBACK)).status is Status.OK
    assert (await seen(evidence, ROLLBACK, **options)).reason is Reason.NOT_CONFIGURED
    await rolled(Status.FAILED, f"There is no Deployment {namespace}/web.")

    def apply(image: str, **spec: Any) -> None:
        deployment = release(namespace, image, **spec)
        control_plane.apply(deployment)
        control_plane.wait_ready(deployment)

    apply("registry.example.com/app:1")
    await rolled(Status.FAILED, "has no earlier ReplicaSet to roll back to.")
    again = release(namespace, "registry.example.com/app:1")
    again["spec"]["template"]["metadata"]["annotations"] = {"restartedAt": "now"}
    control_plane.apply(again)
    control_plane.wait_ready(again)
    await rolled(Status.FAILED, "has no earlier ReplicaSet with other images to roll back to.")
    apply("registry.example.com/app:2")
    await rolled(Status.OK)
    of_helm = release(namespace, "registry.example.com/app:2")
    of_helm["metadata"]["annotations"] = {"meta.helm.sh/release-name": "shop"}
    control_plane.apply(of_helm)
    await rolled(Status.OK, "Helm's own history of shop is in Secrets, which are not read")
    for limits in ({"namespaces": ("default",)}, {"selectors": {"deployments": "app=other"}}):
        async with asking(control_plane, **limits) as clients:
            assert (await seen(evidence, ROLLBACK, clients, **options)).status is Status.UNKNOWN
    async with asking(control_plane, listing(control_plane, REVISED, REVISIONS)) as clients:
        assert (await seen(evidence, ROLLBACK, clients, **options)).status is Status.OK
    async with asking(control_plane, listing(control_plane, REVISED)) as clients:
        assert (await seen(evidence, ROLLBACK, clients, **options)).reason is Reason.DENIED
    evidence.record(ROLLBACK, links=[pages.add("/plan")], measured={"drill_minutes": 0})
    await rolled(Status.FAILED, "The rollback drill took 0 minutes")
    evidence.record(ROLLBACK, links=[pages.add("/plan")], measured={"drill_minutes": 12})
    apply("registry.example.com/app:3", revisionHistoryLimit=0)
    await rolled(Status.FAILED, "has revisionHistoryLimit 0")


async def test_the_same_images_in_another_order_are_no_earlier_release(
    evidence: Folder, pages: Pages, control_plane: ControlPlane
) -> None:
    namespace = control_plane.namespace("shop")
    evidence.record(ROLLBACK, links=[pages.add("/plan")], measured={"drill_minutes": 12})
    deployment = release(namespace, "registry.example.com/app:1")
    containers = deployment["spec"]["template"]["spec"]["containers"]
    containers.append(containers[0] | {"name": "proxy", "image": "registry.example.com/proxy:1"})
    control_plane.apply(deployment)
    control_plane.wait_ready(deployment)
    containers.reverse()
    control_plane.apply(deployment)
    control_plane.wait_ready(deployment)
    async with asking(control_plane) as clients:
        result = await seen(evidence, ROLLBACK, clients, rollback_deployments=[f"{namespace}/web"])
    assert (result.status, "no earlier ReplicaSet with other images to roll back to." in result.summary) == (
        Status.FAILED,
        True,
    ), result.summary


async def test_the_images_of_the_earlier_release_can_be_pulled(
    evidence: Folder, pages: Pages, control_plane: ControlPlane, registry: ImageRegistry
) -> None:
    namespace = control_plane.namespace("shop")
    options: dict[str, Any] = {
        "rollback_deployments": [f"{namespace}/web"],
        "registries": [registry.settings],
        "rollback_platforms": ["linux/amd64"],
    }
    evidence.record(ROLLBACK, links=[pages.add("/plan")], measured={"drill_minutes": 12})
    first, second = (registry.push("rollback/web", tag, content=tag) for tag in ("1", "2"))
    for digest in (first, second):
        deployment = release(namespace, f"{registry.host}/rollback/web@{digest}")
        control_plane.apply(deployment)
        control_plane.wait_ready(deployment)

    async def rolled(status: Status, words: str = "", kubeconfig: Path | None = None, **changes: Any) -> None:
        async with asking(control_plane, kubeconfig) as clients:
            result = await seen(evidence, ROLLBACK, clients, **options | changes)
        assert (result.status, words in result.summary) == (status, True), result.summary

    await rolled(Status.OK)
    await rolled(Status.FAILED, "not for windows/amd64 as nodes are", rollback_platforms=["windows/amd64"])
    limited = listing(control_plane, REVISED, REVISIONS)  # whoever names the platforms needs no right to list nodes
    await rolled(Status.OK, kubeconfig=limited)
    await rolled(Status.UNKNOWN, "nodes", kubeconfig=limited, rollback_platforms=[])
    await rolled(Status.OK, kubeconfig=listing(control_plane, REVISED, REVISIONS, PULLED))
    registry.delete("rollback/web", second)
    await rolled(Status.OK)
    registry.delete("rollback/web", first)
    await rolled(
        Status.FAILED, f"has no image {registry.host}/rollback/web@{first}, to which Deployment {namespace}/web"
    )
    await rolled(
        Status.UNKNOWN, "which `registries` does not name", registries=[registry.settings | {"host": "docker.io"}]
    )


async def test_a_tag_is_held_against_what_the_nodes_pulled(
    evidence: Folder, pages: Pages, control_plane: ControlPlane, registry: ImageRegistry
) -> None:
    namespace = control_plane.namespace("shop")
    options: dict[str, Any] = {"rollback_deployments": [f"{namespace}/web"], "registries": [registry.settings]}
    evidence.record(ROLLBACK, links=[pages.add("/plan")], measured={"drill_minutes": 12})
    image = f"{registry.host}/rollback/tagged"
    digest = registry.push("rollback/tagged", "1")
    for tag in ("1", "2"):
        control_plane.apply(release(namespace, f"{image}:{tag}"))
        control_plane.wait_ready(release(namespace, f"{image}:{tag}"))
    puller = node(f"puller-{namespace}", kwok=False)  # whose status nobody else writes

    async def rolled() -> Result:
        async with asking(control_plane) as clients:
            return await seen(evidence, ROLLBACK, clients, **options)

    control_plane.apply(puller)
    try:
        control_plane.patch_status(puller, nodeInfo=puller["status"]["nodeInfo"])
        result = await rolled()
        assert (result.status, "no node remembers its digest" in result.summary) == (Status.WARNING, True), (
            result.summary
        )
        control_plane.patch_status(puller, images=[{"names": [f"{image}@{digest}", f"{image}:1"], "sizeBytes": 1}])
        assert (await rolled()).status is Status.OK
        registry.push("rollback/tagged", "1", content="another build")
        result = await rolled()
        assert (result.status, "was moved" in result.summary) == (Status.FAILED, True), result.summary
    finally:
        control_plane.delete(puller)


def test_each_registry_is_named_once() -> None:
    twice = [{"url": "https://registry-1.docker.io", "host": "docker.io"}, {"url": "https://docker.io"}]
    with pytest.raises(ValueError, match=r"expected each host once, found docker\.io twice"):
        FinalChecklistSettings.model_validate_json(json.dumps({"registries": twice}))


# Dashboards

DASHBOARDS = "monitoring_dashboards_active"
PANELS = [
    {"id": 1, "type": "row", "panels": [{"id": 2, "title": "Errors", "targets": [{"refId": "A", "expr": "a{job=\"$job\"}"}]}]},
    {"id": 3, "title": "Text", "type": "text"},
]  # fmt: skip


LIBRARY = [{"id": 1, "type": "row", "panels": [{"id": 5, "libraryPanel": {"uid": "a1", "name": "Errors"}}]}]


def frames(*values: float | None) -> dict[str, Any]:
    schema = {"fields": [{"name": "Time", "type": "time"}, {"name": "Value", "type": "number"}]}
    return {"status": 200, "frames": [{"schema": schema, "data": {"values": [[1] * len(values), list(values)]}}]}


@pytest.mark.verifies("final_checklist.monitoring_dashboards_active", "ok")
@pytest.mark.verifies("final_checklist.monitoring_dashboards_active", "failed")
@pytest.mark.verifies("final_checklist.monitoring_dashboards_active", "unknown")
async def test_a_dashboard_shows_data(evidence: Folder, grafana: shown.Grafana) -> None:
    clients = {
        "grafana": Grafana(GrafanaSettings.model_validate({"url": grafana.url, "bearer_token": shown.TOKEN}), Threads())
    }
    options: dict[str, Any] = {"dashboards": [{"uid": "readiness", "variables": {"job": "shop"}}]}
    path = "/api/dashboards/uid/readiness"
    assert (await seen(evidence, DASHBOARDS, clients)).reason is Reason.NOT_CONFIGURED
    assert (await seen(evidence, DASHBOARDS, **options)).reason is Reason.NOT_CONFIGURED
    for dashboard, answer, status, words in (
        ((200, PANELS), (200, frames(None, 3.0)), Status.OK, "1 dashboard shows data of the last hour."),
        ((200, PANELS), (200, frames(0.0)), Status.OK, ""),
        ((200, PANELS), (200, frames(None)), Status.FAILED, "has data of the last hour."),
        ((200, PANELS), (200, frames()), Status.FAILED, ""),
        ((200, PANELS), (200, {"status": 200, "frames": []}), Status.FAILED, ""),
        ((200, PANELS), (400, {"status": 400, "error": "no such host"}), Status.FAILED, "has data: no such host."),
        ((200, []), (200, frames(1.0)), Status.FAILED, "has no panel with a query."),
        ((404, []), (200, frames(1.0)), Status.FAILED, "has no dashboard readiness"),
        ((503, []), (200, frames(1.0)), Status.UNKNOWN, ""),
        ((200, LIBRARY), (200, frames(1.0)), Status.UNKNOWN, "has its queries in library panels"),
        ((200, [*LIBRARY, *PANELS]), (200, frames(1.0)), Status.OK, ""),
    ):
        code, panels = dashboard
        grafana.replies[path] = (code, {"dashboard": {"panels": panels}})
        grafana.replies[shown.QUERY] = (answer[0], {"results": {"A": answer[1]}})
        result = await seen(evidence, DASHBOARDS, clients, **options)
        assert (result.status, words in result.summary) == (status, True), result.summary
    grafana.replies[path] = (200, {"dashboard": {"panels": PANELS}})
    grafana.replies[shown.QUERY] = (200, {"results": {"A": frames()}})
    result = await seen(evidence, DASHBOARDS, clients, dashboards=[{"uid": "readiness"}])
    assert (result.status, "without a value in `variables`: job." in result.summary) == (Status.UNKNOWN, True)
    invented = {"id": 1, "targets": [{"refId": "A"}], "datasource": {"type": "testdata", "uid": "x"}}
    grafana.replies[path] = (200, {"dashboard": {"panels": [invented]}})
    grafana.replies[shown.QUERY] = (200, {"results": {"A": frames(1.0)}})
    assert not (await seen(evidence, DASHBOARDS, clients, **options)).status.is_ok
    await clients["grafana"].close()


def over_time(*values: tuple[timedelta, float | None], kind: str = "timeseries-multi") -> dict[str, Any]:
    """What Prometheus returned for a query: values by how old they are, the newest last."""
    fields = [{"name": "Time", "type": "time"}, {"name": "Value", "type": "number"}]
    times = [(NOW - age).timestamp() * 1000 for age, _ in values]
    data = {"values": [times, [value for _, value in values]]}
    return {"status": 200, "frames": [{"schema": {"meta": {"type": kind}, "fields": fields}, "data": data}]}


OLD_VALUE, FRESH = (timedelta(minutes=50), 3.0), (timedelta(minutes=2), 0.0)


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (over_time(OLD_VALUE, FRESH), Status.OK, "1 dashboard shows data of the last hour."),
        (over_time(OLD_VALUE), Status.WARNING, "is 50 minutes old (at most 15 minutes wanted)."),
        (over_time(OLD_VALUE, (timedelta(minutes=1), None)), Status.WARNING, "is 50 minutes old"),
        (over_time(OLD_VALUE, kind="table"), Status.OK, ""),
    ],
)
async def test_a_dashboard_whose_data_ended_is_not_active(
    evidence: Folder, grafana: shown.Grafana, answer: dict[str, Any], status: Status, words: str
) -> None:
    settings = GrafanaSettings.model_validate({"url": grafana.url, "bearer_token": shown.TOKEN})
    clients = {"grafana": Grafana(settings, Threads())}
    grafana.replies |= {
        "/api/dashboards/uid/readiness": (200, {"dashboard": {"panels": PANELS}}),
        shown.QUERY: (200, {"results": {"A": answer}}),
    }
    options = {"dashboards": [{"uid": "readiness", "variables": {"job": "shop"}}]}
    result = await seen(evidence, DASHBOARDS, clients, **options)
    assert (result.status, words in result.summary) == (status, True), result.summary
    await clients["grafana"].close()


def v2(**query: Any) -> dict[str, Any]:
    """A dashboard of schema v2 with one panel."""
    queries = [{"kind": "PanelQuery", "spec": {"refId": "A", "hidden": False, **query}}]
    data = {"kind": "QueryGroup", "spec": {"queries": queries, "queryOptions": {}, "transformations": []}}
    return {"elements": {"panel-1": {"kind": "Panel", "spec": {"id": 1, "title": "Errors", "data": data}}}}


EXPR = {"expr": 'a{job="$job"}'}
NEW = {"kind": "DataQuery", "group": "prometheus", "version": "v0", "datasource": {"name": "metrics"}, "spec": EXPR}
OLD = {"kind": "prometheus", "spec": EXPR}
LIBRARIES = {"elements": {"panel-2": {"kind": "LibraryPanel", "spec": {"id": 2, "libraryPanel": {"uid": "a1"}}}}}


@pytest.mark.parametrize(
    ("version", "spec", "answer", "status", "words"),
    [
        ("v2", v2(query=NEW), frames(3.0), Status.OK, "1 dashboard shows data of the last hour."),
        ("v2beta1", v2(query=NEW), frames(None), Status.FAILED, "has data of the last hour."),
        ("v2alpha1", v2(query=OLD, datasource={"uid": "metrics"}), frames(3.0), Status.OK, ""),
        ("v2", v2(query=NEW, hidden=True), frames(3.0), Status.UNKNOWN, "None of the 0 panels"),
        ("v2", v2(query=NEW | {"spec": {"expr": "vector(1)"}}), frames(3.0), Status.UNKNOWN, "None of the 0 panels"),
        (
            "v2",
            v2(query=NEW | {"group": "grafana-testdata-datasource"}),
            frames(3.0),
            Status.UNKNOWN,
            "None of the 0 panels",
        ),
        ("v2", LIBRARIES, frames(3.0), Status.UNKNOWN, "has its queries in library panels"),
        ("v2", {"elements": {}}, frames(3.0), Status.FAILED, "has no panel with a query."),
        ("v2", {"elements": {"panel-1": "broken"}}, frames(3.0), Status.FAILED, "has no panel with a query."),
        ("v3", v2(query=NEW), frames(3.0), Status.UNKNOWN, "without saying where the dashboard is."),
    ],
)
async def test_a_dashboard_of_schema_v2_is_read_where_grafana_has_it(
    evidence: Folder,
    grafana: shown.Grafana,
    version: str,
    spec: dict[str, Any],
    answer: Any,
    status: Status,
    words: str,
) -> None:
    settings = GrafanaSettings.model_validate({"url": grafana.url, "bearer_token": shown.TOKEN})
    clients = {"grafana": Grafana(settings, Threads())}
    place = f"/apis/dashboard.grafana.app/{version}/namespaces/default/dashboards/readiness"
    grafana.replies |= {
        "/api/dashboards/uid/readiness": (
            406,
            {"message": f"dashboard api version not supported, use {place} instead"},
        ),
        place: (200, {"apiVersion": f"dashboard.grafana.app/{version}", "kind": "Dashboard", "spec": spec}),
        shown.QUERY: (200, {"results": {"A": answer}}),
    }
    options = {"dashboards": [{"uid": "readiness", "variables": {"job": "shop"}}]}
    result = await seen(evidence, DASHBOARDS, clients, **options)
    assert (result.status, words in result.summary) == (status, True), result.summary
    await clients["grafana"].close()


# On call

ON_CALL = "on_call_team_notified"
START, END = NOW + timedelta(days=2), NOW + timedelta(days=2, hours=8)


def roster(server: OnCallServer) -> dict[str, Any]:
    return {"pagerduty": {"url": server.url, "token": ROSTER_TOKEN, "escalation_policies": ["PT20YPA"]}}


def on_duty(*shifts: tuple[int, str, datetime, datetime]) -> list[Person]:
    return [Person(level, name, start, end) for level, name, start, end in shifts]


@pytest.mark.verifies("final_checklist.on_call_team_notified", "ok")
@pytest.mark.verifies("final_checklist.on_call_team_notified", "failed")
@pytest.mark.verifies("final_checklist.on_call_team_notified", "unknown")
async def test_someone_is_on_call_throughout_the_launch(
    evidence: Folder, pages: Pages, oncall_server: OnCallServer
) -> None:
    assert (await seen(evidence, ON_CALL)).reason is Reason.MISSING
    evidence.record(ON_CALL, links=[pages.add("/message")], on="2026-10-13")
    assert (await seen(evidence, ON_CALL)).status.is_ok
    options = {"on_call": roster(oncall_server)}
    assert "There is no launch window" in (await seen(evidence, ON_CALL, **options)).summary
    evidence.record(
        "launch_window_confirmed", window={"start": START.isoformat(), "end": END.isoformat()}, on="2026-10-12"
    )
    evidence.record(ON_CALL, links=[pages.add("/message")], on="2026-10-11")
    result = await seen(evidence, ON_CALL)
    assert (result.status, "before the launch window was confirmed on 2026-10-12" in result.summary) == (
        Status.WARNING,
        True,
    )
    evidence.record(ON_CALL, links=[pages.add("/message")], on="2026-10-13")
    half = START + timedelta(hours=4)
    before, after = START - timedelta(days=1), END + timedelta(days=1)
    for people, status in (
        (on_duty((1, "a", before, after), (2, "b", before, after)), (Status.OK, Status.WARNING)),
        (on_duty((1, "a", before, half), (1, "c", half, after), (2, "b", before, after)), (Status.OK, Status.WARNING)),
        (on_duty((1, "a", before, half), (2, "b", before, after)), (Status.FAILED,)),
        (on_duty((1, "a", NOW - timedelta(days=1), before), (2, "b", before, after)), (Status.FAILED,)),
        ([], (Status.FAILED,)),
    ):
        oncall_server.people = people
        result = await seen(evidence, ON_CALL, **options)
        assert result.status in status, result.summary
    wrong = {"on_call": {"pagerduty": options["on_call"]["pagerduty"] | {"token": "wrong-canary"}}}
    result = await seen(evidence, ON_CALL, **wrong)
    assert result.status is Status.UNKNOWN
    assert "wrong-canary" not in result.summary


async def test_a_condition_that_no_issue_ever_met_may_be_misspelled(evidence: Folder, trackers: Trackers) -> None:
    result = await seen(evidence, ISSUES, issues=tracker("jira", trackers))
    assert (result.status, "ever met the condition" in result.summary) == (Status.WARNING, True)


async def test_the_second_night_needs_people_who_can_be_reached(
    evidence: Folder, pages: Pages, oncall_server: OnCallServer
) -> None:
    evidence.record(ON_CALL, links=[pages.add("/message")], on="2026-10-13")
    window = {"start": START.isoformat(), "end": END.isoformat()}
    evidence.record("launch_window_confirmed", window=window, on="2026-10-12")
    half, before, after = START + timedelta(hours=4), START - timedelta(days=1), END + timedelta(days=1)
    email = Person(1, "c", half, after, methods=("email",))
    first, second = Person(1, "a", before, half), Person(2, "b", before, after)
    for later, words in (
        (email, "nobody at level 1 who can be reached otherwise than by email from"),
        (Person(1, "b", half, after), "will have 1 different person on call at all levels from"),
    ):
        oncall_server.people = [first, later, second]
        result = await seen(evidence, ON_CALL, on_call=roster(oncall_server))
        assert (result.status, words in result.summary) == (Status.FAILED, True), result.summary
