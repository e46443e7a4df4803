"""The section Resource Allocation on a real control plane."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from collectors.performance_configuration.resource_allocation import (
    ResourceAllocation,
)
from collectors.systems.kubernetes.model.kinds import (
    CRON_JOBS,
    DAEMON_SETS,
    DEPLOYMENTS,
    JOBS,
    LIMIT_RANGES,
    NAMESPACES,
    NODES,
    PODS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    STATEFUL_SETS,
)
from exporter.evidence.validity import Evidence
from exporter.runner import utc_now
from exporter.verdict import Status
from tests.collectors.evidence import attested
from tests.collectors.systems.kubernetes.clusters import (
    asking,
    autoscaler,
    behind,
    container,
    limit_range,
    listing,
    manifest,
    many_pods,
    metered,
    recommend,
    vertical,
)
from tests.servers.kubernetes import CRDS, ControlPlane, pod_spec, workload
from tests.servers.process import eventually
from tests.support import Run, make_context, sees

LIMITS = {"cpu": "200m", "memory": "64Mi"}
REQUESTS = {"cpu": "10m", "memory": "16Mi"}


def run_item(
    cluster: ControlPlane,
    item: str,
    *namespaces: str,
    kubeconfig: Path | None = None,
    evidence: Evidence | None = None,
    **options: Any,
) -> Run:
    """One run of an item in these namespaces, with these options of the target."""
    target = {"name": "shop", "namespaces": namespaces, **options}
    context = make_context(evidence=evidence)
    return Run(ResourceAllocation, [item], target=target, clients=asking(cluster, kubeconfig), context=context)


see = sees(run_item)


def shop(cluster: ControlPlane, *containers: Mapping[str, Any], **spec: Any) -> str:
    """A namespace with one running Deployment of these containers (one that has everything, if none are given)."""
    namespace = cluster.namespace("shop")
    run(cluster, namespace, *containers, **spec)
    return namespace


def run(cluster: ControlPlane, namespace: str, *containers: Mapping[str, Any], **spec: Any) -> None:
    """A Deployment of these containers, running."""
    web = workload(namespace, "web", spec=pod_spec(containers=list(containers or [container()]), **spec))
    cluster.apply(web)
    cluster.wait_ready(web)


def having(**resources: Any) -> Mapping[str, Any]:
    """A container with these resources alone."""
    return container() | {"resources": resources}


# CPU limits


@pytest.mark.verifies("resource_allocation.cpu_limits_set", "ok")
async def test_all_have_a_cpu_limit(control_plane: ControlPlane) -> None:
    namespace = shop(control_plane)
    result = await see(control_plane, "cpu_limits_set", namespace)
    assert (result.status, result.summary) == (Status.OK, "Every container (1) has a CPU limit.")
    assert result.measurements == {"containers_judged": 1, "containers_lacking": 0}


@pytest.mark.verifies("resource_allocation.cpu_limits_set", "failed")
async def test_a_container_without_a_cpu_limit(control_plane: ControlPlane) -> None:
    namespace = shop(control_plane, container(), container("helper") | {"resources": {"limits": {"memory": "64Mi"}}})
    result = await see(control_plane, "cpu_limits_set", namespace)
    assert (result.status, result.summary) == (
        Status.FAILED,
        f"1 of 2 containers has no CPU limit: helper of Deployment {namespace}/web.",
    )
    advisory = await see(control_plane, "cpu_limits_set", namespace, cpu_limit_policy="advisory")
    assert advisory.status is Status.WARNING
    exempt = {f"{namespace}/web": "It is measured without a limit."}
    other = await see(control_plane, "cpu_limits_set", namespace, exempt_workloads=exempt)
    assert other.status is Status.UNKNOWN
    assert other.summary == "No pod runs in the namespaces of shop, so nothing was checked."


async def test_an_amount_of_nothing_is_none(control_plane: ControlPlane) -> None:
    """A trap: the API server takes a limit of 0, by which nothing is limited, and calls the pod BestEffort all the same."""
    nothing = {"cpu": "0", "memory": "0"}
    namespace = shop(control_plane, having(requests=nothing, limits=nothing))
    for item, lacking in (("cpu_limits_set", "CPU limit"), ("memory_limits_set", "memory limit")):
        result = await see(control_plane, item, namespace)
        assert (result.status, result.summary) == (
            Status.FAILED,
            f"1 of 1 container has no {lacking}: main of Deployment {namespace}/web.",
        )
    requests = await see(control_plane, "resource_requests_configured", namespace)
    assert "has no CPU request" in requests.summary
    assert "1 pod of QoS class BestEffort is evicted first" in requests.summary


async def test_what_has_no_pod_now_and_what_is_next_to_nothing(control_plane: ControlPlane) -> None:
    """A ReplicaSet of its own and a ReplicationController at zero, and memory of half a byte."""
    tiny = {"cpu": "10m", "memory": "512m"}
    namespace = shop(control_plane, having(requests=tiny, limits=tiny))
    spec = pod_spec(containers=[having(requests=REQUESTS)])
    control_plane.apply(workload(namespace, "old", kind="ReplicaSet", replicas=0, spec=spec))
    oldest = {
        "replicas": 0,
        "selector": {"app": "rc"},
        "template": {"metadata": {"labels": {"app": "rc"}}, "spec": spec},
    }
    control_plane.apply(manifest("v1", "ReplicationController", "oldest", namespace, spec=oldest))
    result = await see(control_plane, "memory_limits_set", namespace)
    assert result.status is Status.FAILED
    assert result.summary.startswith("3 of 3 containers have no memory limit: ")
    for told in (
        f"main of Deployment {namespace}/web (512m is less than 1 MiB)",
        f"main of ReplicaSet {namespace}/old",
        f"main of ReplicationController {namespace}/oldest",
    ):
        assert told in result.summary


async def test_limits_that_a_limit_range_adds_are_seen(control_plane: ControlPlane) -> None:
    """A trap: the template has none, so a check of templates is wrong."""
    namespace = control_plane.namespace("shop")
    control_plane.apply(limit_range(namespace))
    run(control_plane, namespace, having())
    for item in ("cpu_limits_set", "memory_limits_set", "resource_requests_configured"):
        result = await see(control_plane, item, namespace)
        assert result.status is Status.OK, result.summary


@pytest.mark.parametrize(("restart", "kind"), [("Always", "sidecar"), (None, "init")])
async def test_init_containers_and_sidecars_count(control_plane: ControlPlane, restart: str | None, kind: str) -> None:
    """A trap: sidecars are init containers, and run as long as the pod does."""
    first = container(kind) | {"resources": {}} | ({"restartPolicy": restart} if restart else {})
    namespace = control_plane.namespace("shop")
    web = workload(namespace, "web", spec=pod_spec(initContainers=[first]))
    control_plane.apply(web)
    control_plane.wait(f"/api/v1/namespaces/{namespace}/pods", lambda found: len(found["items"]) == 1, "its pod")
    result = await see(control_plane, "cpu_limits_set", namespace)
    assert (result.status, result.summary) == (
        Status.FAILED,
        f"1 of 2 containers has no CPU limit: {kind} of Deployment {namespace}/web.",
    )


async def test_resources_of_the_whole_pod_are_enough(control_plane: ControlPlane) -> None:
    """A trap: since 1.32 a pod may have requests and limits that its containers share."""
    namespace = shop(control_plane, having(), resources={"requests": REQUESTS, "limits": LIMITS})
    for item in ("cpu_limits_set", "memory_limits_set", "resource_requests_configured"):
        result = await see(control_plane, item, namespace)
        assert result.status is Status.OK, result.summary


async def test_pods_that_have_ended_do_not_count(control_plane: ControlPlane) -> None:
    namespace = shop(control_plane)
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "once", "namespace": namespace},
        "spec": {"template": {"spec": pod_spec(containers=[having()], restartPolicy="Never")}},
    }
    control_plane.apply(job)
    control_plane.wait(control_plane.path(job), lambda found: found["status"].get("succeeded"), "the Job to be done")
    result = await see(control_plane, "cpu_limits_set", namespace)
    assert result.status is Status.OK


@pytest.mark.verifies("resource_allocation.cpu_limits_set", "unknown")
@pytest.mark.verifies("resource_allocation.memory_limits_set", "unknown")
@pytest.mark.parametrize("item", ["cpu_limits_set", "memory_limits_set", "resource_requests_configured"])
async def test_pods_that_may_not_be_listed(control_plane: ControlPlane, item: str) -> None:
    result = await see(control_plane, item, kubeconfig=listing(control_plane, NAMESPACES, NODES))
    assert (result.status, result.summary) == (
        Status.UNKNOWN,
        "The exporter cannot list pods in all namespaces: its account has no right to it.",
    )


async def test_a_namespace_without_pods_shows_nothing(control_plane: ControlPlane) -> None:
    namespace = control_plane.namespace("shop")
    result = await see(control_plane, "memory_limits_set", namespace)
    assert (result.status, result.summary) == (
        Status.UNKNOWN,
        "No pod runs in the namespaces of shop, so nothing was checked.",
    )


async def test_a_namespace_that_is_not_there(control_plane: ControlPlane) -> None:
    namespace = shop(control_plane)
    result = await see(control_plane, "cpu_limits_set", namespace, "shop-of-horrors")
    assert (result.status, result.summary) == (
        Status.FAILED,
        "Namespace shop-of-horrors, which `namespaces` of the section names, does not exist.",
    )


@pytest.mark.parametrize(
    ("item", "told"),
    [
        ("cpu_limits_set", "10000 of 10000 containers have no CPU limit: main of Pod "),
        ("memory_limits_set", "10000 of 10000 containers have no memory limit: main of Pod "),
        ("resource_requests_configured", "10000 pods of QoS class BestEffort are evicted first: Pod "),
    ],
)
async def test_ten_thousand_offenders_are_counted_and_some_are_named(
    control_plane: ControlPlane, item: str, told: str
) -> None:
    namespace = control_plane.namespace("shop")
    async with behind(control_plane, {"/api/v1/pods": (200, many_pods(namespace, 10_000))}) as kubeconfig:
        result = await see(control_plane, item, namespace, kubeconfig=kubeconfig)
    assert result.status is Status.FAILED
    assert told in result.summary
    assert " and 999" in result.summary  # so many more
    assert result.measurements["containers_lacking"] == 10_000


# Memory limits


@pytest.mark.verifies("resource_allocation.memory_limits_set", "ok")
async def test_all_have_a_memory_limit(control_plane: ControlPlane) -> None:
    namespace = shop(control_plane)
    result = await see(control_plane, "memory_limits_set", namespace)
    assert (result.status, result.summary) == (Status.OK, "Every container (1) has a memory limit.")


@pytest.mark.verifies("resource_allocation.memory_limits_set", "failed")
async def test_a_container_without_a_memory_limit(control_plane: ControlPlane) -> None:
    namespace = shop(control_plane, having(requests=REQUESTS, limits={"cpu": "1"}))
    result = await see(control_plane, "memory_limits_set", namespace)
    assert (result.status, result.summary) == (
        Status.FAILED,
        f"1 of 1 container has no memory limit: main of Deployment {namespace}/web.",
    )


async def test_a_container_that_was_killed_for_want_of_memory(control_plane: ControlPlane) -> None:
    namespace = shop(control_plane)
    control_plane.crash(control_plane.pods(namespace)[0])
    result = await see(control_plane, "memory_limits_set", namespace)
    assert result.status is Status.WARNING
    assert f"Container main of {control_plane.pods(namespace)[0]['metadata']['namespace']}/web-" in result.summary
    assert "was OOMKilled" in result.summary


# Requests


@pytest.mark.verifies("resource_allocation.resource_requests_configured", "ok")
async def test_all_request_cpu_and_memory(control_plane: ControlPlane) -> None:
    namespace = shop(control_plane)
    result = await see(control_plane, "resource_requests_configured", namespace)
    assert (result.status, result.summary) == (Status.OK, "Every container (1) requests CPU and memory.")


@pytest.mark.verifies("resource_allocation.resource_requests_configured", "failed")
async def test_a_pod_without_requests_is_evicted_first(control_plane: ControlPlane) -> None:
    namespace = shop(control_plane, having())
    result = await see(control_plane, "resource_requests_configured", namespace)
    assert result.status is Status.FAILED
    for told in ("has no CPU request", "has no memory request", "of QoS class BestEffort is evicted first"):
        assert told in result.summary


async def test_a_node_whose_pods_may_take_more_memory_than_it_has(control_plane: ControlPlane) -> None:
    """A trap: they need not be among the pods that are judged."""
    greedy = shop(control_plane, having(requests=REQUESTS, limits={"cpu": "1", "memory": "500Gi"}))
    other = shop(control_plane)
    try:
        for namespace in (greedy, other):
            result = await see(control_plane, "resource_requests_configured", namespace)
            assert result.status is Status.WARNING
            assert "times its memory (limit 1.5)" in result.summary
    finally:  # the nodes are those of all tests
        control_plane.delete(workload(greedy, "web"))
        await eventually(lambda: not control_plane.pods(greedy), "its pods to be gone")


@pytest.mark.verifies("resource_allocation.resource_requests_configured", "unknown")
async def test_nodes_that_may_not_be_listed(control_plane: ControlPlane) -> None:
    namespace = shop(control_plane)
    workloads = (DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS, REPLICA_SETS, REPLICATION_CONTROLLERS, JOBS, CRON_JOBS)
    account = listing(control_plane, NAMESPACES, PODS, *workloads, LIMIT_RANGES)
    result = await see(control_plane, "resource_requests_configured", namespace, kubeconfig=account)
    assert (result.status, result.summary) == (
        Status.UNKNOWN,
        "The exporter cannot list nodes: its account has no right to it.",
    )
    other = await see(control_plane, "cpu_limits_set", namespace, kubeconfig=account)
    assert other.status is Status.OK  # it needs no nodes


# Thresholds of autoscalers


def scaled(cluster: ControlPlane, aim: int = 70, *, seen: bool = True) -> str:
    """A namespace with a Deployment and a HorizontalPodAutoscaler that aims at this utilization of CPU."""
    cluster.define(*CRDS["metrics"])
    namespace = shop(cluster)
    if seen:
        metered(cluster, namespace, cpu="7m")
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": aim}}
    hpa = autoscaler("web", namespace, metrics=[{"type": "Resource", "resource": cpu}])
    cluster.apply(hpa)
    cluster.wait(
        cluster.path(hpa),
        lambda found: any(one["type"] == "ScalingActive" for one in found.get("status", {}).get("conditions", ())),
        "the autoscaler to be judged",
    )
    return namespace


@pytest.mark.verifies("resource_allocation.hpa_thresholds_configured", "ok")
async def test_an_autoscaler_that_aims_at_something_sensible(control_plane: ControlPlane) -> None:
    result = await see(control_plane, "hpa_thresholds_configured", scaled(control_plane))
    assert (result.status, result.summary) == (
        Status.OK,
        "Every HorizontalPodAutoscaler (1) sees its metrics, and aims at 40 to 85 % where it is of use.",
    )


@pytest.mark.verifies("resource_allocation.hpa_thresholds_configured", "failed")
async def test_an_autoscaler_that_aims_too_high(control_plane: ControlPlane) -> None:
    namespace = scaled(control_plane, aim=95)
    result = await see(control_plane, "hpa_thresholds_configured", namespace)
    assert (result.status, result.summary) == (
        Status.FAILED,
        f"HorizontalPodAutoscaler {namespace}/web aims at 95 % cpu (wanted 40 to 85 %).",
    )
    wider = await see(control_plane, "hpa_thresholds_configured", namespace, hpa_range=[40, 95])
    assert wider.status is Status.OK


async def test_an_autoscaler_that_sees_no_metrics(control_plane: ControlPlane) -> None:
    """A trap: its threshold is fine, and nothing is ever compared with it."""
    namespace = scaled(control_plane, seen=False)
    result = await see(control_plane, "hpa_thresholds_configured", namespace)
    assert result.status is Status.FAILED
    assert f"HorizontalPodAutoscaler {namespace}/web sees 0 of its 1 metric." in result.summary
    assert "does not scale: FailedGetResourceMetric" in result.summary


@pytest.mark.verifies("resource_allocation.hpa_thresholds_configured", "unknown")
async def test_autoscalers_that_may_not_be_listed(control_plane: ControlPlane) -> None:
    result = await see(control_plane, "hpa_thresholds_configured", kubeconfig=listing(control_plane, NAMESPACES, PODS))
    assert result.status is Status.UNKNOWN
    assert "cannot list horizontalpodautoscalers.autoscaling in all namespaces" in result.summary


# Recommendations


def sized(cluster: ControlPlane, **recommended: str) -> str:
    """A namespace with a Deployment and what a VerticalPodAutoscaler recommends for it."""
    cluster.define(*CRDS["vpa"])
    namespace = shop(cluster)
    vpa = vertical("web", namespace)
    cluster.apply(vpa)
    recommend(cluster, vpa, **recommended)
    return namespace


@pytest.mark.verifies("resource_allocation.vpa_recommendations_reviewed", "ok")
async def test_requests_within_what_is_recommended(control_plane: ControlPlane) -> None:
    result = await see(control_plane, "vpa_recommendations_reviewed", sized(control_plane))
    assert (result.status, result.summary) == (Status.OK, "Requests of 1 pod are within what is recommended.")


@pytest.mark.verifies("resource_allocation.vpa_recommendations_reviewed", "failed")
@pytest.mark.verifies("resource_allocation.vpa_recommendations_reviewed", "warning")
async def test_requests_outside_are_a_warning_once_somebody_looked(control_plane: ControlPlane, tmp_path: Path) -> None:
    namespace = sized(control_plane, low="100m", high="1")
    item = "vpa_recommendations_reviewed"
    told = f"10m cpu is requested (recommended 100m to 1) for container main of Deployment {namespace}/web."
    nobody = await see(control_plane, item, namespace, evidence=Evidence(tmp_path, now=utc_now))
    assert (nobody.status, nobody.summary) == (
        Status.FAILED,
        f"{told} There is no evidence for resource_allocation.vpa_recommendations_reviewed.",
    )
    reviewed = attested(tmp_path, "resource_allocation.vpa_recommendations_reviewed")
    somebody = await see(control_plane, item, namespace, evidence=reviewed)
    assert somebody.status is Status.WARNING
    assert somebody.summary.startswith(told)
    assert somebody.valid_until is not None


async def test_a_recommendation_of_low_confidence_says_nothing(control_plane: ControlPlane) -> None:
    namespace = sized(control_plane, LowConfidence="True")
    result = await see(control_plane, "vpa_recommendations_reviewed", namespace)
    assert result.status is Status.UNKNOWN
    assert "has seen too little to be relied on" in result.summary


@pytest.mark.verifies("resource_allocation.vpa_recommendations_reviewed", "unknown")
async def test_without_recommendations_there_is_nothing_to_compare(control_plane: ControlPlane) -> None:
    control_plane.define(*CRDS["vpa"])
    result = await see(control_plane, "vpa_recommendations_reviewed", shop(control_plane))
    assert result.status is Status.UNKNOWN
    assert "There is no VerticalPodAutoscaler" in result.summary


async def test_a_limit_that_a_resize_has_not_brought_yet(control_plane: ControlPlane) -> None:
    """The pod states the limit from the moment on at which it is asked for, and its container has none."""
    namespace = shop(control_plane, container(resources={"limits": {"cpu": None}}))
    (found,) = control_plane.pods(namespace)
    about = {"apiVersion": "v1", "kind": "Pod", **found}
    has = found["spec"]["containers"][0]["resources"]
    (status,) = found["status"]["containerStatuses"]
    control_plane.patch_status(about, containerStatuses=[status | {"resources": has}])
    wanted = {"spec": {"containers": [{"name": "main", "resources": {"limits": {"cpu": "50m"}}}]}}
    content = "application/strategic-merge-patch+json"
    control_plane.call("PATCH", f"{control_plane.path(about)}/resize", wanted, content=content)
    waits = {"type": "PodResizePending", "status": "True", "reason": "Deferred", "message": "Node is full."}
    control_plane.patch_status(about, conditions=[*found["status"]["conditions"], waits])
    (resized,) = control_plane.pods(namespace)
    assert resized["spec"]["containers"][0]["resources"]["limits"]["cpu"] == "50m"
    result = await see(control_plane, "cpu_limits_set", namespace)
    assert result.status is Status.FAILED, result.summary
    assert result.summary.endswith("has no CPU limit until the resize is done that gives it one: Node is full.")
    assert (await see(control_plane, "memory_limits_set", namespace)).status is Status.OK
