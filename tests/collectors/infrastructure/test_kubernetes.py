"""The section Kubernetes Cluster on a real control plane, with the least role that it says it needs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from collectors.infrastructure.kubernetes import KubernetesCluster, KubernetesTarget
from collectors.systems.kubernetes.model.kinds import API_SERVICES, LIMIT_RANGES, NAMESPACES, PODS
from exporter.evidence.validity import Evidence
from exporter.runner import utc_now
from exporter.verdict import Result, Status
from tests.collectors.evidence import attested
from tests.collectors.systems.kubernetes.clusters import (
    Manifest,
    asking,
    autoscaler,
    behind,
    container,
    default_deny,
    ingress,
    ingress_class,
    limit_range,
    listing,
    manifest,
    many_pods,
    merged,
    metered,
    network_policy,
    pod,
    quota,
    recommend,
    service,
    vertical,
)
from tests.servers.faults import answering, refused
from tests.servers.kubernetes import (
    CRDS,
    VERSION,
    ControlPlane,
    definition,
    is_ready,
    node,
    pod_spec,
    workload,
)
from tests.servers.process import eventually
from tests.support import Run, looks, make_context, sees

ENFORCE = "pod-security.kubernetes.io/enforce"


def run(
    cluster: ControlPlane,
    *namespaces: str,
    items: Sequence[str] = (),
    kubeconfig: Path | None = None,
    client: Mapping[str, Any] | None = None,
    evidence: Evidence | None = None,
    now: Callable[[], datetime] = utc_now,
    **options: Any,
) -> Run:
    """One run of the items in these namespaces, with these options of the target and of the client."""
    target = {"name": "shop", "namespaces": namespaces, **options}
    clients = asking(cluster, kubeconfig, **(client or {}))
    context = make_context(evidence=evidence, now=now)
    return Run(KubernetesCluster, items, target=target, clients=clients, context=context)


def run_item(cluster: ControlPlane, item: str, *namespaces: str, **options: Any) -> Run:
    return run(cluster, *namespaces, items=[item], **options)


look, see = looks(run), sees(run_item)


def shop(cluster: ControlPlane, level: str | None = "restricted", **labels: str) -> str:
    """A namespace that enforces a level."""
    enforced = {ENFORCE: level} if level else {}
    return cluster.namespace("shop", **enforced, **labels)


def running(cluster: ControlPlane, namespace: str, *names: str, replicas: int = 1, **spec: Any) -> None:
    """Deployments of that name in a namespace, all ready."""
    workloads = [workload(namespace, name, replicas=replicas, spec=pod_spec(**spec)) for name in names]
    cluster.apply(*workloads)
    cluster.wait_ready(*workloads)


# What is judged


async def test_a_namespace_that_is_named_and_not_there(control_plane: ControlPlane) -> None:
    namespace = shop(control_plane)
    control_plane.apply(default_deny(namespace))
    result = await see(control_plane, "network_policies_configured", namespace, "shop-of-horrors")
    assert (result.status, result.summary) == (
        Status.FAILED,
        "Namespace shop-of-horrors, which `namespaces` of the section names, does not exist.",
    )


async def test_a_pattern_chooses_namespaces_and_an_exemption_is_shown(control_plane: ControlPlane) -> None:
    name = control_plane.namespace("pattern")
    control_plane.apply(default_deny(name))
    exempt = control_plane.namespace(f"{name}-legacy")
    running(control_plane, exempt, "web")
    result = await see(
        control_plane,
        "network_policies_configured",
        f"{name}*",
        exempt_namespaces={exempt: "Goes away with the old shop."},
    )
    assert result.status is Status.OK
    assert result.summary == (
        "Network policies cover ingress and egress of every pod (0) in 1 namespace and deny by default. "
        f"Exempt: {exempt} (Goes away with the old shop)."
    )


async def test_what_the_cluster_has_for_itself_is_judged_where_it_is_named(control_plane: ControlPlane) -> None:
    every = await see(control_plane, "pod_security_enforced")
    assert "kube-system" not in every.summary
    own = await see(control_plane, "pod_security_enforced", "kube-system")
    assert (
        own.summary == f"Namespace kube-system enforces no Pod Security level (no label {ENFORCE}) (wanted baseline)."
    )


async def test_a_namespace_that_the_client_leaves_out_was_not_seen(control_plane: ControlPlane) -> None:
    namespace = shop(control_plane)
    narrowed = {"namespaces": ("default",)}
    result = await see(control_plane, "pod_security_enforced", namespace, client=narrowed)
    assert (result.status, result.summary) == (
        Status.UNKNOWN,
        f"{namespace} is not among clients.kubernetes.namespaces, so it was not checked.",
    )


async def test_a_namespace_that_the_client_is_narrowed_to_and_that_is_not_there(control_plane: ControlPlane) -> None:
    narrowed = {"namespaces": (shop(control_plane), "shop-of-horrors")}
    result = await see(control_plane, "pod_security_enforced", client=narrowed)
    assert (result.status, result.summary) == (
        Status.FAILED,
        "Namespace shop-of-horrors, which clients.kubernetes.namespaces names, does not exist.",
    )


@pytest.mark.parametrize("item", ["pod_security_enforced", "nodes_ready", "version_supported", "control_plane_running"])
async def test_what_the_client_is_narrowed_to_is_shown(control_plane: ControlPlane, item: str) -> None:
    namespace = shop(control_plane)
    narrowed = {"selectors": {"pods": "app=web"}}
    result = await see(control_plane, item, namespace, client=narrowed)
    assert result.summary.endswith("Checked only: pods (app=web).")


async def test_a_namespace_that_is_being_deleted_is_told_where_it_is_named(control_plane: ControlPlane) -> None:
    leaving, name = shop(control_plane, None), {"name": "held", "finalizers": ["example.com/held"]}
    held = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {**name, "namespace": leaving}}
    control_plane.apply(held)
    control_plane.delete({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": leaving}})
    try:
        result = await see(control_plane, "pod_security_enforced", leaving, shop(control_plane))
    finally:
        patch = "application/merge-patch+json"
        control_plane.call("PATCH", control_plane.path(held), {"metadata": {"finalizers": None}}, content=patch)
    assert (result.status, result.summary) == (
        Status.FAILED,
        f"Namespace {leaving}, which `namespaces` of the section names, is being deleted.",
    )


async def test_a_cluster_without_a_namespace_to_judge_was_not_seen(control_plane: ControlPlane) -> None:
    result = await see(control_plane, "pod_security_enforced", exempt_namespaces={"*": "All of it is a test."})
    assert (result.status, result.summary) == (
        Status.UNKNOWN,
        "Every namespace of the cluster is exempt or the cluster's own, so nothing was checked.",
    )


@pytest.mark.parametrize("exempt", [{"shop": " "}, {"shop/web": ""}])
def test_an_exemption_has_a_reason(exempt: dict[str, str]) -> None:
    option = "exempt_namespaces" if "shop" in exempt else "exempt_workloads"
    with pytest.raises(ValueError, match="expected a reason why shop"):
        KubernetesTarget.model_validate({"name": "shop", option: exempt})


def test_an_exempt_workload_is_named_with_its_namespace() -> None:
    with pytest.raises(ValueError, match="expected namespace/name of a workload, not web"):
        KubernetesTarget.model_validate({"name": "shop", "exempt_workloads": {"web": "It is old."}})


@pytest.mark.parametrize(
    ("item", "told"),
    [
        ("network_policies_configured", "No network policy covers ingress of 10000 of 10000 pods in {namespace}:"),
        ("pod_security_enforced", "9996 more are similar."),
        ("quotas_and_limits_set", "leave out 10000 pods of 10000:"),
    ],
)
async def test_ten_thousand_offenders_are_counted_and_some_are_named(
    control_plane: ControlPlane, item: str, told: str
) -> None:
    namespace = shop(control_plane, None)
    guard(control_plane, namespace, scopes=["Terminating"])
    async with behind(control_plane, {"/api/v1/pods": (200, many_pods(namespace, 10_000))}) as kubeconfig:
        result = await see(control_plane, item, namespace, kubeconfig=kubeconfig)
    assert result.status is Status.FAILED
    assert told.format(namespace=namespace) in result.summary
    assert len(result.summary) < 1000


# Nodes


@pytest.mark.verifies("kubernetes.nodes_ready", "ok")
async def test_nodes_that_are_ready(control_plane: ControlPlane) -> None:
    result = await see(control_plane, "nodes_ready")
    assert (result.status, result.summary) == (
        Status.OK,
        "Every node (3) is Ready. The API server answers /readyz with 200.",
    )
    assert result.measurements == {"nodes": 3, "nodes_ready": 3, "nodes_cordoned": 0}


@contextmanager
def another_node(
    cluster: ControlPlane,
    age: timedelta,
    silence: timedelta = timedelta(0),
    /,
    *,
    version: str = VERSION,
    **conditions: str,
) -> Iterator[None]:
    """A fourth node, whose conditions have been so for some time; all is well but for those that are given.

    Its kubelet has not reported for the time of `silence`.
    """
    told = {"MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False", "Ready": "True", **conditions}
    added = node("node-3", kwok=False, version=version)
    since, heard = ((datetime.now(UTC) - ago).strftime("%Y-%m-%dT%H:%M:%SZ") for ago in (age, silence))
    cluster.apply(added)
    try:
        cluster.patch_status(
            added,
            conditions=[
                {"type": kind, "status": status, "reason": "ForTests", "lastTransitionTime": since}
                | {"lastHeartbeatTime": heard}
                for kind, status in told.items()
            ],
        )
        yield
    finally:
        cluster.delete(added)


@pytest.mark.verifies("kubernetes.nodes_ready", "failed")
@pytest.mark.parametrize("kind", ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable"])
async def test_a_node_in_trouble_for_long(control_plane: ControlPlane, kind: str) -> None:
    status = "False" if kind == "Ready" else "True"
    with another_node(control_plane, timedelta(minutes=14), **{kind: status}):
        result = await see(control_plane, "nodes_ready")
    assert result.status is Status.FAILED
    said = "is not Ready" if kind == "Ready" else f"has {kind}"
    assert result.summary == f"Node node-3 {said} since 14 minutes (grace 5m): ForTests."


async def test_a_node_that_nobody_marked_though_it_is_silent(control_plane: ControlPlane) -> None:
    """A trap: without a controller manager nodes stay Ready for ever."""
    with another_node(control_plane, timedelta(hours=1), timedelta(minutes=20)):
        result = await see(control_plane, "nodes_ready")
    assert result.status is Status.UNKNOWN
    assert re.match(
        r"The kubelet of node node-3 reported 20m(\d+s)? ago that it is Ready, and nothing since", result.summary
    )


async def test_a_node_that_has_just_started(control_plane: ControlPlane) -> None:
    """A trap: nodes that start or are drained are not ready for a while."""
    with another_node(control_plane, timedelta(minutes=1), Ready="False"):
        result = await see(control_plane, "nodes_ready")
    assert result.status is Status.WARNING
    assert "Node node-3 is not Ready since" in result.summary
    assert "(grace 5m)" in result.summary


async def test_a_node_that_is_closed_to_new_pods(control_plane: ControlPlane) -> None:
    named = "/api/v1/nodes/node-0"
    patch = "application/merge-patch+json"
    control_plane.call("PATCH", named, {"spec": {"unschedulable": True}}, content=patch)
    try:
        result = await see(control_plane, "nodes_ready")
        allowed = await see(control_plane, "nodes_ready", max_cordoned=1)
    finally:
        control_plane.call("PATCH", named, {"spec": {"unschedulable": None}}, content=patch)
    assert (result.status, result.summary) == (
        Status.WARNING,
        "1 node is cordoned (limit 0): node-0.",
    )
    assert allowed.status is Status.OK


@pytest.mark.verifies("kubernetes.nodes_ready", "unknown")
@pytest.mark.verifies("kubernetes.version_supported", "unknown")
@pytest.mark.parametrize("item", ["nodes_ready", "version_supported"])
async def test_nodes_that_may_not_be_listed(control_plane: ControlPlane, item: str) -> None:
    result = await see(control_plane, item, kubeconfig=control_plane.account())
    assert (result.status, result.summary) == (
        Status.UNKNOWN,
        "The exporter cannot list nodes: its account has no right to it.",
    )


# Versions


@pytest.mark.verifies("kubernetes.version_supported", "ok")
async def test_a_version_that_is_supported(control_plane: ControlPlane) -> None:
    result = await see(control_plane, "version_supported")
    assert (result.status, result.summary) == (
        Status.OK,
        f"The cluster runs {VERSION}, and its kubelets fit (at most 3 minors older).",
    )


@pytest.mark.verifies("kubernetes.version_supported", "failed")
async def test_a_version_that_is_too_old(control_plane: ControlPlane) -> None:
    result = await see(control_plane, "version_supported", min_version="1.38")
    assert (result.status, result.summary) == (
        Status.FAILED,
        f"The cluster runs {VERSION} (wanted at least 1.38).",
    )
    unsupported = await see(control_plane, "version_supported", supported_minor="1.38")
    assert unsupported.status is Status.WARNING


@pytest.mark.parametrize(("version", "said"), [("v1.33.9", "too old for"), ("v1.38.0", "newer than")])
async def test_a_kubelet_that_does_not_fit(control_plane: ControlPlane, version: str, said: str) -> None:
    with another_node(control_plane, timedelta(hours=1), version=version):
        result = await see(control_plane, "version_supported")
    assert result.status is Status.FAILED
    assert f"The kubelet {version} on 1 node (node-3) is {said} the API server" in result.summary


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (
            {"major": "1", "minor": "29+"},
            200,
            "answered in an unexpected format: Object missing required field `gitVersion`.",
        ),
        (b"<html>", 200, "answered in an unexpected format"),
        ({}, 503, "answered 503, so the version was not checked."),
        ({"gitVersion": "a new one"}, 200, "'a new one' is no version of Kubernetes, such as v1.29.3."),
    ],
)
async def test_a_version_that_is_not_told(control_plane: ControlPlane, body: object, status: int, told: str) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with behind(control_plane, {"/version": (status, content)}) as kubeconfig:
        result = await see(control_plane, "version_supported", kubeconfig=kubeconfig)
    assert result.status is Status.UNKNOWN
    assert told in result.summary


# Control plane


@pytest.mark.verifies("kubernetes.control_plane_running", "ok")
async def test_a_control_plane_that_works(control_plane: ControlPlane) -> None:
    result = await see(control_plane, "control_plane_running")
    assert result.status is Status.OK, result.summary
    assert result.summary.startswith(
        "The API server is ready and alive, kube-controller-manager and kube-scheduler renew their Leases, and every APIService ("
    )


@pytest.mark.verifies("kubernetes.control_plane_running", "failed")
async def test_a_scheduler_that_stopped(control_plane: ControlPlane) -> None:
    """A trap: nothing else tells, while no new pod finds a node."""
    control_plane.scheduler.pause()
    try:
        path = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-scheduler"
        renewed = datetime.fromisoformat(control_plane.get(path)["spec"]["renewTime"])
        await eventually(lambda: datetime.now(UTC) - renewed > timedelta(seconds=3), "its Lease to be old")
        result = await see(control_plane, "control_plane_running", lease_max_age="2s")
    finally:
        control_plane.scheduler.resume()
    assert result.status is Status.FAILED
    assert "Lease kube-system/kube-scheduler was renewed " in result.summary
    assert "so no kube-scheduler works." in result.summary


async def test_a_lease_that_is_not_there(control_plane: ControlPlane) -> None:
    result = await see(control_plane, "control_plane_running", control_plane_leases=["cloud-controller-manager"])
    assert (result.status, result.summary) == (
        Status.FAILED,
        "There is no Lease kube-system/cloud-controller-manager, which control_plane_leases names.",
    )


async def test_leases_that_a_provider_hides_are_declared(control_plane: ControlPlane) -> None:
    result = await see(control_plane, "control_plane_running", control_plane_leases=[])
    assert result.status is Status.OK
    assert result.summary.startswith("The API server is ready and alive and every APIService (")


async def test_an_api_service_that_is_not_available(control_plane: ControlPlane) -> None:
    spec = {"group": "metrics.example.com", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 100}
    behind = {"service": {"namespace": "kube-system", "name": "metrics-server"}}
    broken = manifest("apiregistration.k8s.io/v1", "APIService", "v1.metrics.example.com", spec=spec | behind)
    control_plane.apply(broken)
    try:
        control_plane.wait(control_plane.path(broken), lambda found: found["status"].get("conditions"), "its condition")
        result = await see(control_plane, "control_plane_running")
    finally:
        control_plane.delete(broken)
    assert result.status is Status.FAILED
    assert "APIService v1.metrics.example.com is not available: ServiceNotFound" in result.summary


async def test_an_api_server_that_is_not_ready_while_it_answers(control_plane: ControlPlane) -> None:
    """A trap: lists are answered from its cache when etcd is gone."""
    told = (
        b"[+]ping ok\n[-]etcd failed: reason withheld\n[-]etcd-readiness failed: reason withheld\nreadyz check failed\n"
    )
    async with behind(control_plane, {"/readyz": (500, told)}) as kubeconfig:
        plane = await see(control_plane, "control_plane_running", kubeconfig=kubeconfig)
        nodes = await see(control_plane, "nodes_ready", kubeconfig=kubeconfig)
    for result in (plane, nodes):
        assert result.status is Status.FAILED
        assert "The API server answers /readyz with 500 (wanted 200): etcd and etcd-readiness failed." in result.summary


async def test_a_pod_of_the_control_plane_that_is_not_ready(control_plane: ControlPlane) -> None:
    static = pod("kube-apiserver-node-0", "kube-system", component="kube-apiserver")
    static["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "of a file"}
    static["metadata"]["ownerReferences"] = [
        {"apiVersion": "v1", "kind": "Node", "name": "node-0", "controller": True}
        | {"uid": control_plane.get("/api/v1/nodes/node-0")["metadata"]["uid"]}
    ]
    static["spec"] |= {"nodeName": "node-0"}
    control_plane.apply(static)
    try:
        control_plane.wait(control_plane.path(static), is_ready, "the pod to run")
        control_plane.crash(control_plane.get(control_plane.path(static)), exit_code=1, reason="Error")
        result = await see(control_plane, "control_plane_running")
    finally:
        control_plane.delete(static)
    assert result.status is Status.FAILED
    assert "Pod kube-system/kube-apiserver-node-0 is not Ready" in result.summary


async def test_a_clock_that_is_off(control_plane: ControlPlane) -> None:
    result = await see(control_plane, "control_plane_running", now=lambda: utc_now() - timedelta(minutes=5, seconds=30))
    assert result.status is Status.WARNING
    assert re.search(r"The API server's clock is 5m(29|3\d)s ahead of ours \(limit 30s\)\.", result.summary)


@pytest.mark.verifies("kubernetes.control_plane_running", "unknown")
async def test_leases_that_may_not_be_read(control_plane: ControlPlane) -> None:
    result = await see(control_plane, "control_plane_running", kubeconfig=listing(control_plane, PODS, API_SERVICES))
    assert (result.status, result.summary) == (
        Status.UNKNOWN,
        "The exporter cannot get leases.coordination.k8s.io in kube-system: its account has no right to it.",
    )


# Network policies

DNS = {"to": [{"namespaceSelector": {}}], "ports": [{"protocol": "UDP", "port": 53}]}


@pytest.mark.verifies("kubernetes.network_policies_configured", "ok")
async def test_pods_that_a_default_deny_covers(control_plane: ControlPlane) -> None:
    """A trap: a default-deny has no rules at all, and a check that wants some in both directions calls it missing."""
    namespace = shop(control_plane)
    control_plane.apply(
        default_deny(namespace),
        network_policy(
            "web", namespace, podSelector={"matchLabels": {"app": "web"}}, egress=[DNS], policyTypes=["Egress"]
        ),
    )
    running(control_plane, namespace, "web", replicas=2)
    result = await see(control_plane, "network_policies_configured", namespace)
    assert (result.status, result.summary) == (
        Status.OK,
        "Network policies cover ingress and egress of every pod (2) in 1 namespace and deny by default.",
    )
    assert result.measurements == {"pods_judged": 2, "pods_uncovered": 0}


@pytest.mark.verifies("kubernetes.network_policies_configured", "failed")
async def test_pods_that_no_policy_covers(control_plane: ControlPlane) -> None:
    namespace = shop(control_plane)
    running(control_plane, namespace, "web", "api")
    only_web = network_policy("web", namespace, podSelector={"matchLabels": {"app": "web"}}, policyTypes=["Ingress"])
    control_plane.apply(only_web)
    result = await see(control_plane, "network_policies_configured", namespace)
    assert result.status is Status.FAILED
    assert f"Namespace {namespace} has no network policy that denies ingress and egress by default." in result.summary
    assert f"No network policy covers ingress of 1 of 2 pods in {namespace}: Deployment api." in result.summary
    assert f"covers egress of 2 of 2 pods in {namespace}: Deployment api and Deployment web." in result.summary


async def test_a_policy_that_allows_everything(control_plane: ControlPlane) -> None:
    namespace = shop(control_plane)
    open_door = network_policy("open", namespace, podSelector={}, ingress=[{}], policyTypes=["Ingress"])
    control_plane.apply(default_deny(namespace), open_door)
    result = await see(control_plane, "network_policies_configured", namespace)
    assert (result.status, result.summary) == (
        Status.FAILED,
        f"NetworkPolicy {namespace}/open allows all ingress.",
    )


async def test_pods_on_the_network_of_their_host_and_exempt_ones_do_not_count(control_plane: ControlPlane) -> None:
    namespace = shop(control_plane, level=None)
    running(control_plane, namespace, "agent", hostNetwork=True)
    running(control_plane, namespace, "old")
    running(control_plane, namespace, "web")
    web = {"matchLabels": {"app": "web"}}
    control_plane.apply(network_policy("web", namespace, podSelector=web, policyTypes=["Ingress", "Egress"]))
    result = await see(
        control_plane,
        "network_policies_configured",
        namespace,
        default_deny=False,
        exempt_workloads={f"{namespace}/old": "It talks to everyone."},
    )
    assert result.status is Status.OK
    assert result.summary.endswith(f"Exempt: {namespace}/old (It talks to everyone).")


async def test_policies_of_other_makers_are_not_understood(control_plane: ControlPlane) -> None:
    control_plane.define(definition("cilium.io", "CiliumNetworkPolicy", "ciliumnetworkpolicies", "v2"))
    namespace, other = shop(control_plane), shop(control_plane)
    cilium = {"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy", "spec": {}}
    control_plane.apply(
        default_deny(namespace), default_deny(other), {**cilium, "metadata": {"name": "web", "namespace": namespace}}
    )
    result = await see(control_plane, "network_policies_configured", namespace)
    assert result.status is Status.UNKNOWN
    assert "also depends on 1 ciliumnetworkpolicies.cilium.io, which are not judged" in result.summary
    elsewhere = await see(control_plane, "network_policies_configured", other)
    assert elsewhere.status is Status.OK


async def test_a_default_of_nothing_is_all_that_a_quota_demands(control_plane: ControlPlane) -> None:
    """A trap: the API server refuses pods without limits, and a LimitRange gives them limits of 0."""
    namespace = control_plane.namespace("zero")
    nothing = {"cpu": "0", "memory": "0"}
    control_plane.apply(quota(namespace), limit_range(namespace, default=nothing, defaultRequest=nothing))
    bare = pod("bare", namespace, pod_spec(containers=[{"name": "main", "image": "app"}]))
    path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"
    assert control_plane.call("POST", path, bare)["spec"]["containers"][0]["resources"]["limits"] == nothing
    result = await see(control_plane, "quotas_and_limits_set", namespace)
    assert result.status is Status.FAILED
    assert f"The LimitRange of namespace {namespace} gives containers no default cpu, default memory" in result.summary


async def test_default_denies_of_cilium_and_calico_are_read(control_plane: ControlPlane) -> None:
    namespace, other = shop(control_plane), shop(control_plane)
    running(control_plane, namespace, "web")
    kinds = [
        ("cilium.io", "CiliumNetworkPolicy", "ciliumnetworkpolicies", "v2"),
        ("projectcalico.org", "NetworkPolicy", "networkpolicies", "v3"),
    ]
    for group, kind, plural, version in kinds:
        control_plane.define(definition(group, kind, plural, version))
    ingress = manifest("cilium.io/v2", "CiliumNetworkPolicy", "deny", namespace, spec={"endpointSelector": {}})
    ingress["spec"]["ingress"] = [{}]
    egress = manifest("projectcalico.org/v3", "NetworkPolicy", "deny", namespace, spec={"types": ["Egress"]})
    control_plane.apply(ingress, egress)
    result = await see(control_plane, "network_policies_configured", namespace)
    assert (result.status, result.summary) == (
        Status.OK,
        "Network policies cover ingress and egress of every pod (1) in 1 namespace and deny by default.",
    )
    assert (await see(control_plane, "network_policies_configured", other)).status is Status.FAILED

    control_plane.delete(egress)
    result = await see(control_plane, "network_policies_configured", namespace)
    assert result.status is Status.FAILED
    assert f"Namespace {namespace} has no network policy that denies egress by default." in result.summary

    control_plane.apply(merged(ingress, {"spec": {"egress": [{"toEntities": ["all"]}]}}))
    result = await see(control_plane, "network_policies_configured", namespace)
    assert result.status is Status.UNKNOWN
    assert "also depends on 1 ciliumnetworkpolicies.cilium.io, which are not judged" in result.summary


async def test_default_denies_of_antrea_aws_and_administrators_are_read(control_plane: ControlPlane) -> None:
    namespace = shop(control_plane)
    running(control_plane, namespace, "web")
    here = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    antrea = manifest("crd.antrea.io/v1beta1", "ClusterNetworkPolicy", "deny", spec={"tier": "baseline", "priority": 1})
    antrea["spec"] |= {"appliedTo": [{"namespaceSelector": here}], "ingress": [{"action": "Drop"}]}
    aws = manifest("networking.k8s.aws/v1alpha1", "ApplicationNetworkPolicy", "deny", namespace)
    aws["spec"] = {"podSelector": {}, "policyTypes": ["Egress"]}
    baseline = manifest("policy.networking.k8s.io/v1alpha1", "BaselineAdminNetworkPolicy", "default")
    deny = {"action": "Deny", "from": [{"namespaces": {}}]}
    baseline["spec"] = {"subject": {"namespaces": here}, "ingress": [deny]}
    kinds = [
        definition("crd.antrea.io", "ClusterNetworkPolicy", "clusternetworkpolicies", "v1beta1", namespaced=False),
        definition("stats.antrea.io", "NetworkPolicyStats", "networkpolicystats", "v1alpha1"),
        definition("networking.k8s.aws", "ApplicationNetworkPolicy", "applicationnetworkpolicies", "v1alpha1"),
        definition(
            "policy.networking.k8s.io",
            "BaselineAdminNetworkPolicy",
            "baselineadminnetworkpolicies",
            "v1alpha1",
            namespaced=False,
        ),
    ]
    covering = "Network policies cover ingress and egress of every pod (1) in 1 namespace and deny by default."
    with control_plane.defining(*kinds):
        control_plane.apply(
            antrea, aws, manifest("stats.antrea.io/v1alpha1", "NetworkPolicyStats", "web", namespace), baseline
        )
        result = await see(control_plane, "network_policies_configured", namespace)
        assert (result.status, result.summary) == (Status.OK, covering)

        control_plane.delete(antrea)
        result = await see(control_plane, "network_policies_configured", namespace)
        assert (result.status, result.summary) == (
            Status.WARNING,
            f"Namespace {namespace} denies ingress by default, but not from outside the cluster.",
        )

        some = {"subject": {"namespaces": {}}, "ingress": [deny | {"from": [{"namespaces": here}]}]}
        control_plane.apply(baseline | {"spec": some})  # it closes something, and opens nothing
        result = await see(control_plane, "network_policies_configured", namespace)
        assert result.status is Status.UNKNOWN
        assert "also depends on 1 baselineadminnetworkpolicies.policy.networking.k8s.io" in result.summary
        control_plane.apply(default_deny(namespace))
        result = await see(control_plane, "network_policies_configured", namespace)
        assert (result.status, result.summary) == (Status.OK, covering)

        control_plane.apply(baseline | {"spec": some | {"ingress": [deny | {"action": "Allow"}]}})
        assert (await see(control_plane, "network_policies_configured", namespace)).status is Status.UNKNOWN


async def test_policies_of_a_version_that_is_not_known_are_not_called_absent(control_plane: ControlPlane) -> None:
    namespace = shop(control_plane)
    control_plane.apply(default_deny(namespace))
    clusterwide = "CiliumClusterwideNetworkPolicy", "ciliumclusterwidenetworkpolicies"
    with control_plane.defining(definition("cilium.io", *clusterwide, "v3", namespaced=False)):

        async def told() -> Result | None:
            seen = await see(control_plane, "network_policies_configured", namespace)
            return seen if seen.status is Status.UNKNOWN else None

        result = await eventually(told, "the version to be listed among those that are served")
    assert result is not None
    assert (
        result.summary
        == "The cluster serves ciliumclusterwidenetworkpolicies.cilium.io only as v3, and the exporter knows only v2."
    )


@pytest.mark.parametrize("behind_a_server", [True, False])
async def test_policies_of_calico_are_told_of_once(control_plane: ControlPlane, behind_a_server: bool) -> None:
    namespace = shop(control_plane)
    control_plane.apply(default_deny(namespace))
    groups = [("crd.projectcalico.org", "v1")] if behind_a_server else []
    groups.append(("projectcalico.org", "v3"))
    kind = "GlobalNetworkPolicy", "globalnetworkpolicies"
    opening = {"ingress": [{"action": "Allow"}]}
    with control_plane.defining(*(definition(group, *kind, version, namespaced=False) for group, version in groups)):
        control_plane.apply(*(manifest("/".join(found), kind[0], "open", spec=opening) for found in groups))
        result = await see(control_plane, "network_policies_configured", namespace)
    assert (result.status, result.summary) == (
        Status.UNKNOWN,
        f"What is open also depends on 1 globalnetworkpolicies.{groups[0][0]}, which are not judged.",
    )


@pytest.mark.verifies("kubernetes.network_policies_configured", "unknown")
async def test_network_policies_that_may_not_be_listed(control_plane: ControlPlane) -> None:
    result = await see(
        control_plane, "network_policies_configured", kubeconfig=listing(control_plane, NAMESPACES, PODS)
    )
    assert result.status is Status.UNKNOWN
    assert result.summary == (
        "The exporter cannot list networkpolicies.networking.k8s.io in all namespaces: its account has no right to it."
    )


# Pod security


@pytest.mark.verifies("kubernetes.pod_security_enforced", "ok")
async def test_a_namespace_that_enforces_and_pods_that_keep_it(control_plane: ControlPlane) -> None:
    namespace = shop(control_plane)
    running(control_plane, namespace, "web", replicas=2)
    result = await see(control_plane, "pod_security_enforced", namespace, psa_min_level="restricted")
    assert (result.status, result.summary) == (
        Status.OK,
        "Every namespace (1) enforces at least restricted, and every pod in them (2) keeps it.",
    )


@pytest.mark.verifies("kubernetes.pod_security_enforced", "failed")
@pytest.mark.parametrize("label", ["audit", "warn"])
async def test_labels_that_enforce_nothing(control_plane: ControlPlane, label: str) -> None:
    """A trap: audit and warn let every pod in."""
    namespace = shop(control_plane, None, **{f"pod-security.kubernetes.io/{label}": "restricted"})
    result = await see(control_plane, "pod_security_enforced", namespace)
    assert (result.status, result.summary) == (
        Status.FAILED,
        f"Namespace {namespace} enforces no Pod Security level (no label {ENFORCE}) (wanted baseline).",
    )


async def test_a_pod_from_before_the_label(control_plane: ControlPlane) -> None:
    """A trap: the label acts when a pod is made."""
    namespace = control_plane.namespace("shop")
    privileged = container(securityContext={"privileged": True, "allowPrivilegeEscalation": None})
    running(control_plane, namespace, "old", containers=[privileged])
    labelled = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": namespace, "labels": {ENFORCE: "baseline"}},
    }
    control_plane.apply(labelled)
    result = await see(control_plane, "pod_security_enforced", namespace)
    assert result.status is Status.FAILED
    assert f"Deployment {namespace}/old" in result.summary
    assert "privileged" in result.summary
    exempt = {f"{namespace}/old": "It is replaced in May."}
    accepted = await see(control_plane, "pod_security_enforced", namespace, exempt_workloads=exempt)
    assert accepted.status is Status.OK
    assert f"Exempt: {namespace}/old (It is replaced in May)." in accepted.summary


async def test_a_level_below_the_wanted_one(control_plane: ControlPlane) -> None:
    namespace = shop(control_plane, "privileged")
    result = await see(control_plane, "pod_security_enforced", namespace)
    assert result.summary == f"Namespace {namespace} enforces only privileged (wanted baseline)."


async def test_the_default_of_the_api_server_is_declared_with_a_record(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    """A trap: the API server's admission configuration cannot be seen through the API."""
    namespace = shop(control_plane, None)
    bare = await see(control_plane, "pod_security_enforced", namespace, psa_cluster_default="baseline")
    assert not bare.status.is_ok
    without = await see(
        control_plane,
        "pod_security_enforced",
        namespace,
        psa_cluster_default="baseline",
        evidence=Evidence(tmp_path, now=utc_now),
    )
    assert (without.status, without.summary) == (
        Status.FAILED,
        "There is no evidence for kubernetes.pod_security_enforced.",
    )
    evidence = attested(tmp_path, "kubernetes.pod_security_enforced")
    reviewed = await see(
        control_plane, "pod_security_enforced", namespace, psa_cluster_default="baseline", evidence=evidence
    )
    assert reviewed.status is Status.OK
    labelled = shop(control_plane, "baseline")
    unneeded = await see(control_plane, "pod_security_enforced", labelled, psa_cluster_default="baseline")
    assert unneeded.status is Status.OK


@pytest.mark.verifies("kubernetes.pod_security_enforced", "unknown")
async def test_pods_that_may_not_be_listed(control_plane: ControlPlane) -> None:
    result = await see(control_plane, "pod_security_enforced", kubeconfig=listing(control_plane, NAMESPACES))
    assert (result.status, result.summary) == (
        Status.UNKNOWN,
        "The exporter cannot list pods in all namespaces: its account has no right to it.",
    )


# Quotas and limits


@pytest.mark.verifies("kubernetes.quotas_and_limits_set", "ok")
async def test_a_namespace_with_quota_and_defaults(control_plane: ControlPlane) -> None:
    namespace = shop(control_plane)
    guard(control_plane, namespace)
    running(control_plane, namespace, "web")
    result = await see(control_plane, "quotas_and_limits_set", namespace)
    assert (result.status, result.summary) == (
        Status.OK,
        "Every namespace (1) has quotas for CPU and memory of all its pods, and defaults for both.",
    )
    assert 0 < result.measurements["quota_used_ratio"] < 0.1


def guard(cluster: ControlPlane, namespace: str, **spec: Any) -> None:
    """A quota, which has been counted, and defaults."""
    wanted = quota(namespace, **spec)
    cluster.apply(wanted, limit_range(namespace))
    cluster.wait(cluster.path(wanted), lambda found: found.get("status", {}).get("used"), "the quota to be counted")


@pytest.mark.verifies("kubernetes.quotas_and_limits_set", "failed")
async def test_a_namespace_without_quota(control_plane: ControlPlane) -> None:
    namespace = shop(control_plane)
    result = await see(control_plane, "quotas_and_limits_set", namespace)
    assert result.status is Status.FAILED
    for told in ("has no ResourceQuota for CPU.", "has no ResourceQuota for memory.", "has no LimitRange"):
        assert f"Namespace {namespace} {told}" in result.summary


async def test_a_quota_whose_scope_leaves_pods_out(control_plane: ControlPlane) -> None:
    """A trap: it is there, and counts nothing that runs here."""
    namespace = shop(control_plane)
    guard(control_plane, namespace, scopes=["Terminating"])
    running(control_plane, namespace, "web", replicas=2)
    result = await see(control_plane, "quotas_and_limits_set", namespace)
    assert result.status is Status.FAILED
    assert f"The scopes of the quotas for CPU in {namespace} leave out 2 pods of 2: Deployment web." in result.summary


async def test_a_quota_that_is_nearly_used_up(control_plane: ControlPlane) -> None:
    namespace = shop(control_plane)
    guard(control_plane, namespace, hard={"requests.cpu": "21m"})
    running(control_plane, namespace, "web", replicas=2)
    path = control_plane.path(quota(namespace))
    control_plane.wait(path, lambda found: found["status"]["used"]["requests.cpu"] == "20m", "the pods to be counted")
    result = await see(control_plane, "quotas_and_limits_set", namespace)
    assert result.status is Status.WARNING
    assert f"ResourceQuota {namespace}/compute is used to 95%" in result.summary


@pytest.mark.verifies("kubernetes.quotas_and_limits_set", "unknown")
async def test_quotas_that_may_not_be_listed(control_plane: ControlPlane) -> None:
    result = await see(
        control_plane, "quotas_and_limits_set", kubeconfig=listing(control_plane, NAMESPACES, PODS, LIMIT_RANGES)
    )
    assert (result.status, result.summary) == (
        Status.UNKNOWN,
        "The exporter cannot list resourcequotas in all namespaces: its account has no right to it.",
    )


# Autoscalers


def scaled(cluster: ControlPlane, namespace: str, cpu: str = "7m", **spec: Any) -> Manifest:
    """A running Deployment `web` with a HorizontalPodAutoscaler that sees its use of CPU."""
    cluster.define(*CRDS["metrics"])
    running(cluster, namespace, "web", replicas=2)
    metered(cluster, namespace, cpu=cpu, memory="8Mi")
    hpa = autoscaler("web", namespace, **spec)
    cluster.apply(hpa)
    judged(cluster, hpa, "ScalingActive")
    return hpa


def judged(cluster: ControlPlane, hpa: Manifest, condition: str) -> None:
    """Wait until an autoscaler's controller has set a condition."""

    def is_set(found: Manifest) -> bool:
        return any(one["type"] == condition for one in found.get("status", {}).get("conditions", ()))

    cluster.wait(cluster.path(hpa), is_set, f"{condition} of the autoscaler")


@pytest.mark.verifies("kubernetes.hpa_configured", "ok")
async def test_an_autoscaler_that_scales(control_plane: ControlPlane) -> None:
    namespace = shop(control_plane)
    scaled(control_plane, namespace)
    result = await see(control_plane, "hpa_configured", namespace, hpa_required=[f"{namespace}/web"])
    assert (result.status, result.summary) == (Status.OK, "Every HorizontalPodAutoscaler (1) scales.")


@pytest.mark.verifies("kubernetes.hpa_configured", "failed")
async def test_workloads_without_the_autoscaler_that_they_need(control_plane: ControlPlane) -> None:
    namespace = shop(control_plane)
    result = await see(control_plane, "hpa_configured", namespace, hpa_required=[f"{namespace}/web"])
    assert result.status is Status.FAILED
    assert result.summary == f"Deployment {namespace}/web has no HorizontalPodAutoscaler."
    none = await see(control_plane, "hpa_configured", namespace)
    assert none.summary == "There is no HorizontalPodAutoscaler (wanted at least 1)."


async def test_an_autoscaler_that_is_required_elsewhere(control_plane: ControlPlane) -> None:
    """Options of the section hold for all its targets: one that another target's workload needs is looked for there."""
    there, here = shop(control_plane), shop(control_plane)
    for namespace in (there, here):
        scaled(control_plane, namespace)
    required = [f"{there}/web", f"{here}/web"]
    result = await see(control_plane, "hpa_configured", here, hpa_required=required)
    assert (result.status, result.measurements) == (Status.OK, {"autoscalers": 2})
    narrowed = {"namespaces": (here,)}
    unseen = await see(control_plane, "hpa_configured", here, client=narrowed, hpa_required=required)
    assert (unseen.status, unseen.summary) == (
        Status.UNKNOWN,
        f"{there} is not among clients.kubernetes.namespaces, so what scales {there}/web was not checked.",
    )


async def test_an_autoscaler_that_cannot_measure(control_plane: ControlPlane) -> None:
    """A trap: the object is there, and its workload has no CPU request."""
    control_plane.define(*CRDS["metrics"])
    namespace = shop(control_plane)
    running(control_plane, namespace, "web", replicas=2, containers=[container() | {"resources": {}}])
    metered(control_plane, namespace, cpu="7m")
    hpa = autoscaler("web", namespace)
    control_plane.apply(hpa)
    judged(control_plane, hpa, "ScalingActive")
    result = await see(control_plane, "hpa_configured", namespace)
    assert result.status is Status.FAILED
    assert f"HorizontalPodAutoscaler {namespace}/web does not scale: FailedGetResourceMetric" in result.summary
    exempt = {f"{namespace}/web": "It is scaled by hand."}
    other = await see(control_plane, "hpa_configured", namespace, exempt_workloads=exempt)
    assert "There is no HorizontalPodAutoscaler" in other.summary


async def test_an_autoscaler_of_a_workload_that_is_scaled_to_zero(control_plane: ControlPlane) -> None:
    """A trap: ScalingActive is False, and nothing is broken."""
    namespace = shop(control_plane)
    control_plane.apply(workload(namespace, "web", replicas=0))
    hpa = autoscaler("web", namespace)
    control_plane.apply(hpa)
    judged(control_plane, hpa, "ScalingActive")
    result = await see(control_plane, "hpa_configured", namespace)
    assert (result.status, result.summary) == (
        Status.WARNING,
        f"HorizontalPodAutoscaler {namespace}/web scales nothing, as its workload is scaled to zero.",
    )


async def test_an_autoscaler_between_limits_that_leave_nothing_to_scale(control_plane: ControlPlane) -> None:
    namespace = shop(control_plane)
    scaled(control_plane, namespace, minReplicas=2, maxReplicas=2)
    result = await see(control_plane, "hpa_configured", namespace)
    assert result.status is Status.FAILED
    assert "cannot scale: its maximum is 2 and its minimum 2" in result.summary


@pytest.mark.verifies("kubernetes.hpa_configured", "unknown")
async def test_autoscalers_that_may_not_be_listed(control_plane: ControlPlane) -> None:
    result = await see(control_plane, "hpa_configured", kubeconfig=listing(control_plane, NAMESPACES))
    assert (result.status, result.summary) == (
        Status.UNKNOWN,
        "The exporter cannot list horizontalpodautoscalers.autoscaling in all namespaces: its account has no right to it.",
    )


@pytest.mark.verifies("kubernetes.vpa_configured", "ok")
async def test_an_autoscaler_that_recommends(control_plane: ControlPlane) -> None:
    control_plane.define(*CRDS["vpa"])
    namespace = shop(control_plane)
    running(control_plane, namespace, "web", "vpa-recommender")
    vpa = vertical("web", namespace)
    control_plane.apply(vpa)
    recommend(control_plane, vpa)
    options: dict[str, Any] = {"vpa_required": [f"{namespace}/web"], "vpa_recommender": f"{namespace}/vpa-recommender"}
    result = await see(control_plane, "vpa_configured", namespace, **options)
    assert (result.status, result.summary) == (Status.OK, "Every VerticalPodAutoscaler (1) recommends.")


@pytest.mark.verifies("kubernetes.vpa_configured", "failed")
async def test_a_recommender_and_recommendations_that_are_not_there(control_plane: ControlPlane) -> None:
    control_plane.define(*CRDS["vpa"])
    namespace = shop(control_plane)
    vpa = vertical("web", namespace)
    control_plane.apply(vpa)
    recommend(control_plane, vpa, RecommendationProvided="False", NoPodsMatched="True")
    required: dict[str, Any] = {"vpa_required": [f"{namespace}/api"]}
    result = await see(control_plane, "vpa_configured", namespace, **required)
    assert result.status is Status.FAILED
    assert "Deployment kube-system/vpa-recommender, which recommends, does not exist." in result.summary
    assert f"Deployment {namespace}/api has no VerticalPodAutoscaler." in result.summary
    assert f"VerticalPodAutoscaler {namespace}/web matches no pods." in result.summary
    off = await see(control_plane, "vpa_configured", namespace, vpa_recommender=None, vpa_allow_off=False)
    assert f"VerticalPodAutoscaler {namespace}/web only recommends (update mode Off)." in off.summary


async def test_a_cluster_that_knows_no_vertical_autoscalers(control_plane: ControlPlane) -> None:
    namespace = shop(control_plane)
    missing = {"/apis/autoscaling.k8s.io/v1/verticalpodautoscalers": (404, b"404 page not found")}
    async with behind(control_plane, missing) as kubeconfig:
        result = await see(control_plane, "vpa_configured", namespace, kubeconfig=kubeconfig)
    assert (result.status, result.summary) == (
        Status.FAILED,
        "The cluster serves no VerticalPodAutoscalers: their CustomResourceDefinition is not installed.",
    )


async def test_one_metric_that_scales_in_both_ways(control_plane: ControlPlane) -> None:
    control_plane.define(*CRDS["vpa"])
    namespace = shop(control_plane)
    vpa = vertical("web", namespace, updatePolicy={"updateMode": "Recreate"})
    control_plane.apply(vpa, autoscaler("web", namespace))
    recommend(control_plane, vpa)
    result = await see(control_plane, "vpa_configured", namespace, vpa_recommender=None)
    assert (result.status, result.summary) == (
        Status.WARNING,
        f"Deployment {namespace}/web is scaled by VerticalPodAutoscaler web and horizontally by the same cpu.",
    )


async def test_a_recommender_where_the_client_does_not_look(control_plane: ControlPlane) -> None:
    control_plane.define(*CRDS["vpa"])
    namespace = shop(control_plane)
    result = await see(control_plane, "vpa_configured", namespace, client={"namespaces": (namespace,)})
    assert result.status is Status.UNKNOWN
    assert "kube-system is not among clients.kubernetes.namespaces" in result.summary


@pytest.mark.verifies("kubernetes.vpa_configured", "unknown")
async def test_vertical_autoscalers_that_may_not_be_listed(control_plane: ControlPlane) -> None:
    result = await see(control_plane, "vpa_configured", kubeconfig=listing(control_plane, NAMESPACES))
    assert result.status is Status.UNKNOWN
    assert "cannot list verticalpodautoscalers.autoscaling.k8s.io in all namespaces" in result.summary


# Ingress

CONTROLLER = "example.com/ingress"


@dataclass(frozen=True)
class Entry:
    """A namespace with a controller, its class, and an Ingress that leads to the running Deployment `web`."""

    namespace: str
    ingress: Manifest

    @property
    def options(self) -> dict[str, Any]:
        """The options of a target that say what the controller is."""
        return {"ingress_controllers": [f"{self.namespace}/controller"]}


@pytest.fixture
def entry(control_plane: ControlPlane) -> Iterator[Entry]:
    """All that is needed for traffic to come in, and working."""
    namespace = shop(control_plane)
    name = f"class-{namespace}"
    class_ = ingress_class(name, CONTROLLER)
    route = ingress("web", namespace, name)
    control_plane.apply(class_, service("web", namespace), route)
    running(control_plane, namespace, "controller", "web")
    address(control_plane, route)
    endpoints(control_plane, namespace)
    yield Entry(namespace, route)
    control_plane.delete(class_)


def address(cluster: ControlPlane, route: Manifest) -> None:
    """Give an Ingress the status that its controller gives it."""
    cluster.patch_status(route, loadBalancer={"ingress": [{"ip": "192.0.2.80"}]})


def endpoints(cluster: ControlPlane, namespace: str, ready: int = 1) -> None:
    """Wait until so many endpoints of the Service `web` are ready."""

    def counted(slices: Mapping[str, Any]) -> bool:
        found = [one for item in slices["items"] for one in item.get("endpoints") or ()]
        return sum(bool(one["conditions"]["ready"]) for one in found) == ready

    cluster.wait(
        f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices", counted, f"{ready} ready endpoints"
    )


@pytest.mark.verifies("kubernetes.ingress_operational", "ok")
async def test_an_ingress_that_leads_somewhere(control_plane: ControlPlane, entry: Entry) -> None:
    result = await see(control_plane, "ingress_operational", entry.namespace, **entry.options)
    assert (result.status, result.summary) == (
        Status.OK,
        "1 Ingress, 0 Gateways and 0 routes are served and lead to ready endpoints. No request was sent through it.",
    )


async def test_a_request_through_the_ingress(control_plane: ControlPlane, entry: Entry) -> None:
    async def seen(status: int) -> Result:
        async with answering({}, status) as (url, _):
            options = {**entry.options, "ingress_requests": [{"url": url}]}
            return await see(control_plane, "ingress_operational", entry.namespace, **options)

    good, missing, bad = await seen(200), await seen(404), await seen(502)
    assert good.status is missing.status is Status.OK
    assert "Through it, http://127.0.0.1:" in good.summary
    assert bad.status is Status.FAILED
    assert bad.summary.endswith(" answered 502 (limit 499).")
    async with refused() as (host, port):
        options = {**entry.options, "ingress_requests": [{"url": f"http://{host}:{port}"}]}
        silent = await see(control_plane, "ingress_operational", entry.namespace, **options)
    assert silent.status is Status.UNKNOWN
    assert "the connection was refused" in silent.summary


@pytest.mark.verifies("kubernetes.ingress_operational", "failed")
async def test_an_ingress_whose_service_has_no_endpoint(control_plane: ControlPlane, entry: Entry) -> None:
    """A trap: class, address and service are all there."""
    control_plane.apply(workload(entry.namespace, "web", replicas=0))
    endpoints(control_plane, entry.namespace, ready=0)
    result = await see(control_plane, "ingress_operational", entry.namespace, **entry.options)
    assert (result.status, result.summary) == (
        Status.FAILED,
        f"Ingress {entry.namespace}/web leads to Service {entry.namespace}/web, which has no ready endpoint.",
    )


async def test_an_ingress_without_class_address_or_service(control_plane: ControlPlane, entry: Entry) -> None:
    lost = ingress("lost", entry.namespace, "no-such-class")
    control_plane.apply(lost)
    young = await see(control_plane, "ingress_operational", entry.namespace, **entry.options)
    assert f"Ingress {entry.namespace}/lost names IngressClass no-such-class, which does not exist." in young.summary
    options = {**entry.options, "ingress_grace": "0s"}
    await a_second_after(lost, control_plane)
    result = await see(control_plane, "ingress_operational", entry.namespace, **options)
    assert f"Ingress {entry.namespace}/lost has no address, so no controller serves it." in result.summary
    assert f"leads to Service {entry.namespace}/lost, which does not exist." in result.summary


async def test_a_controller_on_ports_of_the_host_gives_no_address(control_plane: ControlPlane, entry: Entry) -> None:
    control_plane.patch_status(entry.ingress, loadBalancer=None)
    options = {**entry.options, "ingress_grace": "0s"}
    await a_second_after(entry.ingress, control_plane)
    wanted = await see(control_plane, "ingress_operational", entry.namespace, **options)
    assert wanted.status is Status.FAILED
    declared = await see(
        control_plane, "ingress_operational", entry.namespace, ingress_addresses=False, **entry.options
    )
    assert declared.status is Status.OK


async def a_second_after(made: Manifest, cluster: ControlPlane) -> None:
    """Wait until an object is a second old, as the API server counts in whole seconds."""
    at = datetime.fromisoformat(cluster.get(cluster.path(made))["metadata"]["creationTimestamp"])
    await eventually(lambda: datetime.now(UTC) - at >= timedelta(seconds=2), "a second to pass")


async def test_a_controller_that_does_not_run(control_plane: ControlPlane, entry: Entry) -> None:
    control_plane.apply(workload(entry.namespace, "controller", replicas=0))
    control_plane.wait(
        control_plane.path(workload(entry.namespace, "controller")),
        lambda found: found["status"].get("observedGeneration") == 2,
        "it to be scaled",
    )
    named = [f"{entry.namespace}/controller", f"{entry.namespace}/DaemonSet/other"]
    result = await see(control_plane, "ingress_operational", entry.namespace, ingress_controllers=named)
    assert result.status is Status.FAILED
    assert f"Deployment {entry.namespace}/controller is scaled to 0 replicas" in result.summary
    assert f"The ingress controller {entry.namespace}/DaemonSet/other does not exist." in result.summary


async def test_a_controller_without_any_ingress_is_a_warning(control_plane: ControlPlane, entry: Entry) -> None:
    """The same controller, class and address: only of a namespace in which no Ingress is."""
    empty = control_plane.namespace("empty")
    result = await see(control_plane, "ingress_operational", empty, **entry.options)
    assert result.status is Status.WARNING
    assert "No Ingress and no route leads traffic in" in result.summary


@pytest.mark.verifies("kubernetes.ingress_operational", "unknown")
async def test_a_controller_that_nobody_names_was_not_seen(control_plane: ControlPlane, entry: Entry) -> None:
    result = await see(control_plane, "ingress_operational", entry.namespace)
    assert (result.status, result.summary) == (
        Status.UNKNOWN,
        "The option ingress_controllers names no workload, so whether a controller runs was not checked.",
    )


async def test_a_controller_of_a_kind_that_is_not_known(control_plane: ControlPlane, entry: Entry) -> None:
    named = [f"{entry.namespace}/Rollout/controller"]
    result = await see(control_plane, "ingress_operational", entry.namespace, ingress_controllers=named)
    assert result.status is Status.UNKNOWN
    assert "is a Rollout, of which it is not known when it works" in result.summary


async def test_the_retired_ingress_nginx_is_a_warning(control_plane: ControlPlane, entry: Entry) -> None:
    retired = ingress_class("nginx", "k8s.io/ingress-nginx")
    control_plane.apply(retired)
    try:
        result = await see(control_plane, "ingress_operational", entry.namespace, **entry.options)
    finally:
        control_plane.delete(retired)
    assert (result.status, result.summary) == (
        Status.WARNING,
        (
            "IngressClass nginx belongs to k8s.io/ingress-nginx, which gets no more fixes since March 2026. "
            "No request was sent through it."
        ),
    )


def stated(**conditions: str) -> list[Manifest]:
    """Conditions of the Gateway API, as its controller states them about the first form of an object."""
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    common = {"observedGeneration": 1, "lastTransitionTime": at, "reason": "ForTests", "message": ""}
    return [{"type": kind, "status": status, **common} for kind, status in conditions.items()]


def gateway(cluster: ControlPlane, entry: Entry, programmed: str = "True", resolved: str = "True") -> None:
    """A Gateway and an HTTPRoute to the Service `web`, as a controller took them."""
    cluster.define(*CRDS["gateway"])
    api, namespace = "gateway.networking.k8s.io/v1", entry.namespace
    class_ = manifest(api, "GatewayClass", f"class-{namespace}", spec={"controllerName": CONTROLLER})
    door = manifest(api, "Gateway", "door", namespace, spec={"gatewayClassName": f"class-{namespace}"})
    rules = [{"backendRefs": [{"name": "web", "port": 80}]}]
    route = manifest(api, "HTTPRoute", "web", namespace, spec={"parentRefs": [{"name": "door"}], "rules": rules})
    cluster.apply(class_, door, route)
    cluster.patch_status(class_, conditions=stated(Accepted="True"))
    cluster.patch_status(door, conditions=stated(Accepted="True", Programmed=programmed))
    taken = stated(Accepted="True", ResolvedRefs=resolved)
    cluster.patch_status(
        route, parents=[{"parentRef": {"name": "door"}, "controllerName": CONTROLLER, "conditions": taken}]
    )


async def test_a_gateway_and_its_routes(control_plane: ControlPlane, entry: Entry) -> None:
    gateway(control_plane, entry)
    result = await see(control_plane, "ingress_operational", entry.namespace, **entry.options)
    assert result.status is Status.OK
    assert result.summary.startswith("1 Ingress, 1 Gateway and 1 route are served")


async def test_a_gateway_that_is_not_programmed(control_plane: ControlPlane, entry: Entry) -> None:
    gateway(control_plane, entry, programmed="False", resolved="False")
    result = await see(control_plane, "ingress_operational", entry.namespace, **entry.options)
    assert result.status is Status.FAILED
    assert f"Gateway {entry.namespace}/door is not Programmed: ForTests." in result.summary
    assert f"HTTPRoute {entry.namespace}/web on {entry.namespace}/door is not ResolvedRefs: ForTests." in result.summary


async def test_a_gateway_that_was_changed_since(control_plane: ControlPlane, entry: Entry) -> None:
    gateway(control_plane, entry)
    api = "gateway.networking.k8s.io/v1"
    changed = manifest(api, "Gateway", "door", entry.namespace, spec={"gatewayClassName": f"class-{entry.namespace}"})
    control_plane.apply(merged(changed, {"spec": {"listeners": []}}))
    result = await see(control_plane, "ingress_operational", entry.namespace, **entry.options)
    assert result.status is Status.UNKNOWN
    assert "was changed, and its controller has not reported since whether it is Accepted" in result.summary


async def test_ingresses_that_may_not_be_listed(control_plane: ControlPlane) -> None:
    result = await see(control_plane, "ingress_operational", kubeconfig=listing(control_plane, NAMESPACES))
    assert (result.status, result.summary) == (
        Status.UNKNOWN,
        "The exporter cannot list ingresses.networking.k8s.io in all namespaces: its account has no right to it.",
    )
