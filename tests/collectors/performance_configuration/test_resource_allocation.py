"""The section Resource Allocation on a real control plane."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from collectors.performance_configuration.resource_allocation import (
    ResourceAllocation,
    ResourceSettings,
    ResourceTarget,
)
from exporter.collector import Result, Status
from tests.collectors.clusters import asking, container, limit_range, pod
from tests.servers.kubernetes import ControlPlane, is_ready, pod_spec, workload
from tests.support import make_context, verify

LIMITS = {"cpu": "200m", "memory": "64Mi"}
REQUESTS = {"cpu": "10m", "memory": "16Mi"}


async def see(
    cluster: ControlPlane,
    item: str,
    *namespaces: str,
    kubeconfig: Path | None = None,
    client: Mapping[str, Any] | None = None,
    **options: Any,
) -> Result:
    """What one run sees of an item in these namespaces, with these options of the target."""
    described = {"name": "shop", "namespaces": list(namespaces), **options}
    target = ResourceTarget.model_validate_json(json.dumps(described))
    async with asking(cluster, kubeconfig, **(client or {})) as clients:
        context = make_context(clients=clients)
        settings = ResourceSettings(targets=(target,))
        seen = await verify(ResourceAllocation, settings, target, items=(item,), context=context)
    assert "could not be seen:" not in seen[item].result.summary
    return seen[item].result


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
    assert other.summary == "No pod runs in the namespaces of shop, so nothing was seen."


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
    rules = [{"apiGroups": [""], "resources": ["namespaces", "nodes"], "verbs": ["list"]}]
    result = await see(control_plane, item, kubeconfig=control_plane.account(rules))
    assert (result.status, result.summary) == (
        Status.UNKNOWN,
        "The exporter cannot list pods in all namespaces: its account has no right to it.",
    )


async def test_a_namespace_without_pods_shows_nothing(control_plane: ControlPlane) -> None:
    namespace = control_plane.namespace("shop")
    result = await see(control_plane, "memory_limits_set", namespace)
    assert (result.status, result.summary) == (
        Status.UNKNOWN,
        "No pod runs in the namespaces of shop, so nothing was seen.",
    )


async def test_a_namespace_that_is_not_there(control_plane: ControlPlane) -> None:
    namespace = shop(control_plane)
    result = await see(control_plane, "cpu_limits_set", namespace, "shop-of-horrors")
    assert (result.status, result.summary) == (
        Status.FAILED,
        "There is no namespace shop-of-horrors, where applications were to run.",
    )


async def test_a_thousand_offenders_are_counted_and_ten_are_named(control_plane: ControlPlane) -> None:
    namespace = control_plane.namespace("shop")
    pods = [pod(f"bare-{number:02}", namespace, pod_spec(containers=[having()])) for number in range(40)]
    control_plane.apply(*pods)
    result = await see(control_plane, "memory_limits_set", namespace)
    assert result.status is Status.FAILED
    assert result.summary.startswith("40 of 40 containers have no memory limit: main of Pod ")
    assert result.summary.endswith(" and 30 more.")


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
    assert "for want of memory (OOMKilled)" in result.summary


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
    namespace = shop(control_plane, having(requests=REQUESTS, limits={"cpu": "1", "memory": "500Gi"}))
    wait = control_plane.pods(namespace)
    assert all(map(is_ready, wait))
    result = await see(control_plane, "resource_requests_configured", namespace)
    assert result.status is Status.WARNING
    assert "times its memory (limit 1.5)" in result.summary


@pytest.mark.verifies("resource_allocation.resource_requests_configured", "unknown")
async def test_nodes_that_may_not_be_listed(control_plane: ControlPlane) -> None:
    namespace = shop(control_plane)
    rules = [{"apiGroups": [""], "resources": ["namespaces", "pods"], "verbs": ["list"]}]
    account = control_plane.account(rules)
    result = await see(control_plane, "resource_requests_configured", namespace, kubeconfig=account)
    assert (result.status, result.summary) == (
        Status.UNKNOWN,
        "The exporter cannot list nodes: its account has no right to it.",
    )
    other = await see(control_plane, "cpu_limits_set", namespace, kubeconfig=account)
    assert other.status is Status.OK  # it needs no nodes
