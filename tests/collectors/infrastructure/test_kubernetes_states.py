"""States of a real cluster that look right and are not, or the other way round: one test for each kind of mistake."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.error import HTTPError

import pytest

from exporter.verdict import Result, Status
from tests.collectors.infrastructure.test_kubernetes import (
    CONTROLLER,
    Entry,
    address,
    endpoints,
    entry,
    running,
    see,
    shop,
)
from tests.collectors.systems.kubernetes.clusters import (
    Manifest,
    container,
    cron_job,
    default_deny,
    ingress,
    ingress_class,
    limit_range,
    manifest,
    merged,
    network_policy,
    pod,
    quota,
    recommend,
    service,
    vertical,
)
from tests.servers.kubernetes import CRDS, ControlPlane, definition, node, pod_spec, workload
from tests.servers.process import eventually

__all__ = ["entry"]


# Ingress: ports and readiness


async def operational(cluster: ControlPlane, entry: Entry, **options: Any) -> Result:
    return await see(cluster, "ingress_operational", entry.namespace, **entry.options | options)


def slices(cluster: ControlPlane, namespace: str) -> list[Manifest]:
    found: list[Manifest] = cluster.get(f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices")["items"]
    return found


async def test_a_port_that_the_service_lacks(control_plane: ControlPlane, entry: Entry) -> None:
    backend = {"service": {"name": "web", "port": {"number": 8443}}}
    lost = ingress("admin", entry.namespace, f"class-{entry.namespace}", defaultBackend=backend)
    control_plane.apply(service("admin", entry.namespace), workload(entry.namespace, "admin"), lost)
    control_plane.wait_ready(workload(entry.namespace, "admin"))
    address(control_plane, lost)
    result = await operational(control_plane, entry)
    assert result.status is Status.FAILED
    assert (
        f"Ingress {entry.namespace}/admin leads to port 8443 of Service {entry.namespace}/web, which lacks it "
        "(its ports: 80)."
    ) in result.summary


async def test_a_target_port_that_no_pod_has(control_plane: ControlPlane, entry: Entry) -> None:
    named = service("web", entry.namespace)
    named["spec"]["ports"][0]["targetPort"] = "no-such-port"
    control_plane.apply(named)

    def without_ports(found: Mapping[str, Any]) -> bool:
        return all(not one["ports"] for one in found["items"])

    path = f"/apis/discovery.k8s.io/v1/namespaces/{entry.namespace}/endpointslices"
    control_plane.wait(path, without_ports, "endpoints to lose their port")
    assert slices(control_plane, entry.namespace)[0]["endpoints"][0]["conditions"]["ready"] is True
    result = await operational(control_plane, entry)
    assert (result.status, result.summary) == (
        Status.FAILED,
        (
            f"Ingress {entry.namespace}/web leads to port 80 of Service {entry.namespace}/web, which none of its ready pods has "
            "(targetPort no-such-port)."
        ),
    )


async def test_addresses_of_pods_that_are_not_ready_are_published(control_plane: ControlPlane, entry: Entry) -> None:
    control_plane.apply(merged(service("web", entry.namespace), {"spec": {"publishNotReadyAddresses": True}}))
    for running_pod in control_plane.pods(entry.namespace, "app=web"):
        control_plane.crash(running_pod)

    def unready_and_published(found: Mapping[str, Any]) -> bool:
        conditions = [one["conditions"] for item in found["items"] for one in item.get("endpoints") or ()]
        return bool(conditions) and all(one["ready"] and not one["serving"] for one in conditions)

    path = f"/apis/discovery.k8s.io/v1/namespaces/{entry.namespace}/endpointslices"
    control_plane.wait(path, unready_and_published, "endpoints to be published")
    result = await operational(control_plane, entry)
    assert (result.status, result.summary) == (
        Status.FAILED,
        f"Ingress {entry.namespace}/web leads to Service {entry.namespace}/web, which has no ready endpoint.",
    )


async def test_routes_of_other_protocols_lead_to_missing_services(control_plane: ControlPlane, entry: Entry) -> None:
    rules = [{"backendRefs": [{"name": "gone", "port": 9000}]}]
    parents = [{"group": "", "kind": "Service", "name": "web"}]
    group = "gateway.networking.k8s.io"
    with control_plane.defining(*CRDS["routes"]):
        for version, kind in (("v1", "GRPCRoute"), ("v1alpha2", "TLSRoute")):
            route = manifest(
                f"{group}/{version}", kind, "api", entry.namespace, spec={"parentRefs": parents, "rules": rules}
            )
            control_plane.apply(route)
        result = await operational(control_plane, entry)
    assert result.status is Status.FAILED
    for kind in ("GRPCRoute", "TLSRoute"):
        assert (
            f"{kind} {entry.namespace}/api leads to Service {entry.namespace}/gone, which does not exist."
        ) in result.summary


async def test_a_class_that_nobody_serves_with_an_address_of_former_times(
    control_plane: ControlPlane, entry: Entry
) -> None:
    name = f"old-{entry.namespace}"
    old, stale = ingress_class(name, "example.com/gone"), ingress("old", entry.namespace, name)
    stale["spec"]["rules"] = None
    stale = merged(stale, {"spec": {"defaultBackend": {"service": {"name": "web", "port": {"name": "http"}}}}})
    control_plane.apply(old, stale)
    try:
        address(control_plane, stale)
        result = await operational(control_plane, entry)
        declared = await operational(control_plane, entry, external_ingress_classes={name: "The provider's."})
    finally:
        control_plane.delete(old)
    assert result.status is Status.UNKNOWN
    assert f"Nothing shows which workload serves IngressClass {name} (controller example.com/gone)" in result.summary
    assert declared.status is Status.OK
    assert CONTROLLER != "example.com/gone"


async def test_a_gateway_of_a_controller_that_is_gone(control_plane: ControlPlane, entry: Entry) -> None:
    """Its conditions are those that it stated before it was removed."""
    namespace, api = entry.namespace, "gateway.networking.k8s.io/v1"
    name = f"gone-{namespace}"
    class_ = manifest(api, "GatewayClass", name, spec={"controllerName": "other.example/gone"})
    door = manifest(api, "Gateway", "door", namespace, spec={"gatewayClassName": name})

    def stated(*kinds: str) -> list[dict[str, Any]]:
        return [{"type": kind, "status": "True", "reason": "Was", "observedGeneration": 1} for kind in kinds]

    with control_plane.defining(*CRDS["gateway"]):
        control_plane.apply(class_, door)
        control_plane.patch_status(class_, conditions=stated("Accepted"))
        control_plane.patch_status(door, conditions=stated("Accepted", "Programmed"))
        result = await operational(control_plane, entry)
        named = await operational(control_plane, entry, ingress_class_controllers={name: f"{namespace}/gone"})
    assert (result.status, named.status) == (Status.UNKNOWN, Status.FAILED)
    assert f"Nothing shows which workload serves GatewayClass {name} (controller other.example/gone)" in result.summary
    assert f"The ingress controller {namespace}/gone does not exist." in named.summary


async def test_a_load_balancer_leads_traffic_in_without_any_class(control_plane: ControlPlane) -> None:
    # Other files' tests, with which it shares the cluster, leave classes there, with which this is another case.
    for classes in ("networking.k8s.io/v1/ingressclasses", "gateway.networking.k8s.io/v1/gatewayclasses"):
        with suppress(HTTPError):  # a kind that is not defined
            control_plane.call("DELETE", f"/apis/{classes}")
    namespace = shop(control_plane)
    door = merged(service("web", namespace), {"spec": {"type": "LoadBalancer"}})
    running(control_plane, namespace, "web")
    control_plane.apply(door)
    endpoints(control_plane, namespace)
    options: dict[str, Any] = {"ingress_controllers": [f"{namespace}/web"]}
    said = f"Service {namespace}/web of type LoadBalancer has no address"

    async def waits() -> bool:
        young = await see(control_plane, "ingress_operational", namespace, **options)
        assert (young.status, said in young.summary) == (Status.WARNING, True), young
        return True

    await eventually(waits, "the Service to be seen")
    control_plane.patch_status(door, loadBalancer={"ingress": [{"ip": "192.0.2.81"}]})
    result = await see(control_plane, "ingress_operational", namespace, **options)
    assert result.status is Status.OK
    assert "and 1 Service of type LoadBalancer are served" in result.summary


# Network policies: what they select, and what makes pods tomorrow


async def policies(cluster: ControlPlane, namespace: str, **options: Any) -> Result:
    return await see(cluster, "network_policies_configured", namespace, **options)


@pytest.mark.parametrize(
    "ingress_rule",
    [
        {"from": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.169.254/32"]}}]},
        {
            "from": [
                {
                    "namespaceSelector": {
                        "matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "Exists"}]
                    }
                }
            ]
        },
        {"from": [{"namespaceSelector": {"matchExpressions": [{"key": "no-such-label", "operator": "DoesNotExist"}]}}]},
        {"ports": [{"port": 1, "endPort": 32767}, {"port": 32768, "endPort": 65535}]},
    ],
)
async def test_a_policy_that_opens_everything_in_other_words(
    control_plane: ControlPlane, ingress_rule: Manifest
) -> None:
    namespace = shop(control_plane)
    running(control_plane, namespace, "web")
    opening = network_policy("open", namespace, podSelector={}, policyTypes=["Ingress"], ingress=[ingress_rule])
    control_plane.apply(default_deny(namespace), opening)
    result = await policies(control_plane, namespace)
    assert result.status is Status.FAILED
    assert f"NetworkPolicy {namespace}/open allows all " in result.summary


async def test_a_policy_of_a_cron_job_between_runs_is_no_warning(control_plane: ControlPlane) -> None:
    namespace = shop(control_plane)
    running(control_plane, namespace, "web")
    nightly = merged(
        cron_job(namespace, "nightly"),
        {"spec": {"jobTemplate": {"spec": {"template": {"metadata": {"labels": {"app": "nightly"}}}}}}},
    )
    selecting = network_policy("nightly", namespace, podSelector={"matchLabels": {"app": "nightly"}})
    control_plane.apply(default_deny(namespace), selecting)
    before = await policies(control_plane, namespace)
    assert (before.status, before.summary) == (
        Status.WARNING,
        f"1 NetworkPolicy in {namespace} selects no pod: {namespace}/nightly.",
    )
    control_plane.apply(nightly)
    assert (await policies(control_plane, namespace)).status is Status.OK


async def test_network_policies_of_a_maker_that_nobody_knows(control_plane: ControlPlane) -> None:
    namespace = shop(control_plane)
    running(control_plane, namespace, "web")
    control_plane.apply(default_deny(namespace))
    made = definition("crd.antrea.io", "ClusterNetworkPolicy", "clusternetworkpolicies", "v1beta1", namespaced=False)
    with control_plane.defining(made):
        control_plane.apply(manifest("crd.antrea.io/v1beta1", "ClusterNetworkPolicy", "deny", spec={"priority": 1}))
        result = await policies(control_plane, namespace)
        accepted = await policies(control_plane, namespace, other_policies_accepted="They only deny more.")
    assert (result.status, accepted.status) == (Status.UNKNOWN, Status.OK)
    assert "also depends on 1 clusternetworkpolicies.crd.antrea.io" in result.summary


async def test_two_policies_that_open_everything_together(control_plane: ControlPlane) -> None:
    namespace = shop(control_plane)
    running(control_plane, namespace, "web")
    halves = [
        network_policy(
            name,
            namespace,
            podSelector={"matchLabels": {"app": "web"}},
            policyTypes=["Ingress"],
            ingress=[{"from": [{"ipBlock": {"cidr": cidr}}]}],
        )
        for name, cidr in (("one", "0.0.0.0/1"), ("other", "128.0.0.0/1"))
    ]
    control_plane.apply(default_deny(namespace), *halves)
    result = await policies(control_plane, namespace)
    assert (result.status, result.summary) == (
        Status.FAILED,
        f"NetworkPolicies {namespace}/one and {namespace}/other select the same pods and together allow all ingress.",
    )


# Owners, and pods that there would be


async def test_a_paused_deployment_has_a_template_that_no_pod_has_yet(control_plane: ControlPlane) -> None:
    namespace = shop(control_plane, level=None)
    running(control_plane, namespace, "web")
    changed = workload(namespace, "web", spec=pod_spec(hostNetwork=True))
    control_plane.apply(merged(changed, {"spec": {"paused": True}}))
    path = control_plane.path(changed)
    control_plane.wait(path, lambda found: found["status"]["observedGeneration"] > 1, "the pause to be observed")
    assert "updatedReplicas" not in control_plane.get(path)["status"]
    assert not any(one["spec"].get("hostNetwork") for one in control_plane.pods(namespace))
    result = await see(control_plane, "pod_security_enforced", namespace, psa_enforced_by={namespace: "Kyverno."})
    assert result.status is Status.FAILED
    assert result.summary.startswith(f"Deployment {namespace}/web violates baseline: the pod has hostNetwork")


def job_of(cluster: ControlPlane, namespace: str, made_by: str, name: str, spec: Manifest) -> Manifest:
    """A running Job as a CronJob makes it."""
    uid = cluster.get(f"/apis/batch/v1/namespaces/{namespace}/cronjobs/{made_by}")["metadata"]["uid"]
    owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": made_by, "uid": uid, "controller": True}
    return manifest(
        "batch/v1",
        "Job",
        name,
        namespace,
        metadata={"ownerReferences": [owner]},
        spec={"template": {"spec": spec}, "backoffLimit": 0},
    )


async def test_the_pods_of_a_job_are_those_of_its_cron_job(control_plane: ControlPlane) -> None:
    namespace = shop(control_plane, level=None)
    bare = pod_spec(
        containers=[container(securityContext={"privileged": True, "allowPrivilegeEscalation": None})],
        restartPolicy="Never",
    )
    control_plane.apply(
        merged(cron_job(namespace, "nightly"), {"spec": {"jobTemplate": {"spec": {"template": {"spec": bare}}}}})
    )
    between = await see(control_plane, "pod_security_enforced", namespace)
    assert between.summary.startswith(f"CronJob {namespace}/nightly violates baseline: container main is privileged.")
    control_plane.apply(job_of(control_plane, namespace, "nightly", "nightly-29933290", bare))
    control_plane.wait(f"/api/v1/namespaces/{namespace}/pods", lambda found: bool(found["items"]), "a pod of the Job")
    during = await see(control_plane, "pod_security_enforced", namespace)
    assert during.summary == between.summary
    options: dict[str, Any] = {
        "exempt_workloads": {f"{namespace}/nightly": "Is tried out."},
        "psa_enforced_by": {namespace: "Kyverno."},
    }
    exempt = await see(control_plane, "pod_security_enforced", namespace, **options)
    assert exempt.status is Status.OK


# Nodes and the control plane


async def test_a_condition_of_node_problem_detector(control_plane: ControlPlane) -> None:
    sick = node("sick", kwok=False)
    control_plane.apply(sick)
    now = (datetime.now(UTC) - timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    fine = {"Ready": "True", "MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False"}
    conditions = [
        {"type": kind, "status": status, "reason": "DockerHung", "lastTransitionTime": now, "lastHeartbeatTime": now}
        for kind, status in {**fine, "KernelDeadlock": "True"}.items()
    ]
    control_plane.patch_status(sick, conditions=conditions)
    try:
        result = await see(control_plane, "nodes_ready", node_grace="0s")
        ignored = await see(
            control_plane, "nodes_ready", node_grace="0s", ignored_node_conditions={"KernelDeadlock": "Is wrong here."}
        )
    finally:
        control_plane.delete(sick)
    assert (result.status, ignored.status) == (Status.FAILED, Status.OK)
    assert "Node sick has KernelDeadlock since " in result.summary


async def test_dns_without_an_endpoint(control_plane: ControlPlane) -> None:
    dns = merged(
        service("kube-dns", "kube-system", 53),
        {"metadata": {"labels": {"k8s-app": "kube-dns"}}, "spec": {"selector": {"k8s-app": "kube-dns"}}},
    )
    control_plane.apply(dns)
    try:
        result = await see(control_plane, "control_plane_running")
    finally:
        control_plane.delete(dns)
    assert result.status is Status.FAILED
    assert result.summary.startswith("Service kube-system/kube-dns, the cluster's DNS, has no ready endpoint.")


async def test_dns_on_a_port_that_no_pod_has(control_plane: ControlPlane) -> None:
    dns = merged(
        service("kube-dns", "kube-system"),
        {"metadata": {"labels": {"k8s-app": "kube-dns"}}, "spec": {"selector": {"app": "coredns"}}},
    )
    dns["spec"]["ports"] = [{"name": "dns", "port": 53, "protocol": "UDP", "targetPort": "no-such-port"}]
    serving = workload("kube-system", "coredns")
    control_plane.apply(dns, serving)
    try:
        control_plane.wait_ready(serving)

        def ready_without_port(found: Mapping[str, Any]) -> bool:
            mine = [one for one in found["items"] if one["metadata"]["name"].startswith("kube-dns")]
            return any(one.get("endpoints") for one in mine) and not any(one.get("ports") for one in mine)

        path = "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices"
        control_plane.wait(path, ready_without_port, "endpoints without a port")
        result = await see(control_plane, "control_plane_running")
    finally:
        control_plane.delete(dns, serving)
    assert result.status is Status.FAILED
    assert result.summary.startswith(
        "Port dns of Service kube-system/kube-dns, the cluster's DNS, is one that none of its ready pods has"
    )


async def test_no_node_takes_a_new_pod(control_plane: ControlPlane) -> None:
    namespace, names = (
        shop(control_plane),
        [one["metadata"]["name"] for one in control_plane.get("/api/v1/nodes")["items"]],
    )
    stuck = workload(namespace, "stuck")

    def cordon(closed: bool | None) -> None:
        for name in names:
            patch = {"spec": {"unschedulable": closed}}
            control_plane.call("PATCH", f"/api/v1/nodes/{name}", patch, content="application/merge-patch+json")

    def unplaced(found: Mapping[str, Any]) -> bool:
        return any(
            one.get("reason") == "Unschedulable"
            for item in found["items"]
            for one in item["status"].get("conditions", ())
        )

    try:
        cordon(True)
        control_plane.apply(stuck)
        control_plane.wait(f"/api/v1/namespaces/{namespace}/pods", unplaced, "a pod that cannot be placed")
        result = await see(control_plane, "nodes_ready")
    finally:
        cordon(None)
    assert result.status is Status.FAILED
    assert "nodes are cordoned (limit 0)" in result.summary


async def test_a_level_pinned_to_an_old_version(control_plane: ControlPlane) -> None:
    pinned = {"pod-security.kubernetes.io/enforce-version": "v1.0"}
    namespace = control_plane.namespace("shop", **{"pod-security.kubernetes.io/enforce": "restricted"}, **pinned)
    weak = pod("weak", namespace, pod_spec())
    del weak["spec"]["containers"][0]["securityContext"]["capabilities"]
    control_plane.apply(weak)  # which restricted has refused since 1.22
    result = await see(control_plane, "pod_security_enforced", namespace)
    assert result.status is Status.FAILED
    assert f"Namespace {namespace} enforces restricted as of v1.0" in result.summary


async def test_leases_that_are_kept_elsewhere_prove_nothing(control_plane: ControlPlane) -> None:
    lease = manifest("coordination.k8s.io/v1", "Lease", "kube-scheduler", "kube-system")
    control_plane.scheduler.kill()
    try:
        control_plane.delete(lease)  # as where it runs with --leader-elect=false
        result = await see(control_plane, "control_plane_running")
        named = await see(control_plane, "control_plane_running", control_plane_leases=["leases/kube-scheduler"])
    finally:
        control_plane.restore()
    assert (result.status, named.status) == (Status.UNKNOWN, Status.FAILED)
    assert (
        "There is no Lease kube-system/kube-scheduler: kube-scheduler has not started, runs without" in result.summary
    )
    assert named.summary == "There is no Lease leases/kube-scheduler, which control_plane_leases names."


async def test_dns_whose_service_was_deleted(control_plane: ControlPlane) -> None:
    serving = workload("kube-system", "coredns-alone")
    for labels in (serving["spec"]["selector"]["matchLabels"], serving["spec"]["template"]["metadata"]["labels"]):
        labels["k8s-app"] = "kube-dns"
    control_plane.apply(serving)
    try:
        control_plane.wait_ready(serving)
        result = await see(control_plane, "control_plane_running")
    finally:
        control_plane.delete(serving)
    assert result.status is Status.FAILED
    assert (
        "Deployment kube-system/coredns-alone runs the cluster's DNS, and no Service of kube-system" in result.summary
    )


async def test_a_webhook_that_nobody_answers(control_plane: ControlPlane) -> None:
    namespace = control_plane.namespace("hooked")
    webhook = {
        "name": "validate.example.com",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "timeoutSeconds": 1,
        "clientConfig": {"service": {"namespace": namespace, "name": "policies"}},
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
    }
    kind = "ValidatingWebhookConfiguration"
    configuration = manifest("admissionregistration.k8s.io/v1", kind, namespace, webhooks=[webhook])
    control_plane.apply(configuration)

    def refused() -> bool:
        try:
            control_plane.call("POST", f"/api/v1/namespaces/{namespace}/pods", pod("web", namespace), dryRun="All")
        except HTTPError as error:
            return "failed calling webhook" in str(error)
        return False

    try:
        await eventually(refused, "the API server to ask the webhook", 60)
        result = await see(control_plane, "control_plane_running")
    finally:
        control_plane.delete(configuration)
    assert result.status is Status.WARNING, result.summary
    assert (
        f"Service {namespace}/policies does not exist, and without the answer of its webhook validate.example.com"
        in result.summary
    )


async def test_every_node_is_closed_by_a_taint_of_its_own(control_plane: ControlPlane) -> None:
    namespace = shop(control_plane)
    names = [one["metadata"]["name"] for one in control_plane.get("/api/v1/nodes")["items"]]
    keys = ("karpenter.sh/disrupted", "node.cilium.io/agent-not-ready", "ToBeDeletedByClusterAutoscaler")
    stuck = workload(namespace, "stuck")

    def taint(*found: str | None) -> None:
        for name, key in zip(names, found, strict=True):
            patch = {"spec": {"taints": [{"key": key, "effect": "NoSchedule"}] if key else None}}
            control_plane.call("PATCH", f"/api/v1/nodes/{name}", patch, content="application/merge-patch+json")

    def unplaced(found: Mapping[str, Any]) -> bool:
        return "Unschedulable" in str([one["status"].get("conditions") for one in found["items"]])

    try:
        taint(*(keys[number % 3] for number in range(len(names))))
        control_plane.apply(stuck)
        control_plane.wait(f"/api/v1/namespaces/{namespace}/pods", unplaced, "a pod that cannot be placed")
        result = await see(control_plane, "nodes_ready")
    finally:
        taint(*(None for _ in names))
    assert result.status is Status.FAILED
    assert f"No node of {len(names)} takes new pods: each is cordoned, being removed or not set up" in result.summary


async def test_a_node_that_a_finalizer_keeps(control_plane: ControlPlane) -> None:
    held = merged(node("node-held", kwok=False), {"metadata": {"finalizers": ["example.com/drained"]}})
    control_plane.apply(held)
    fine = {"Ready": "True", "MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False"}
    control_plane.patch_status(held, conditions=[{"type": kind, "status": state} for kind, state in fine.items()])
    control_plane.delete(held)
    try:

        async def judged() -> Result | None:
            found = await see(control_plane, "nodes_ready", node_grace="1s")
            return found if "node-held is being deleted" in found.summary else None

        result = await eventually(judged, "the grace to be over", 60)
    finally:
        patch = {"metadata": {"finalizers": None}}
        control_plane.call("PATCH", control_plane.path(held), patch, content="application/merge-patch+json")
    assert result is not None
    assert result.status is Status.WARNING
    assert result.summary.endswith("(grace 1s): a finalizer keeps it.")


async def test_what_recommends_runs_and_what_applies_does_not(control_plane: ControlPlane) -> None:
    control_plane.define(*CRDS["vpa"])
    namespace = shop(control_plane)
    running(control_plane, namespace, "web", "vpa-recommender", "vpa-updater")
    vpa = vertical("web", namespace, updatePolicy={"updateMode": "Recreate"})
    control_plane.apply(
        vpa, workload(namespace, "vpa-admission-controller", spec=pod_spec(nodeSelector={"pool": "none"}))
    )
    recommend(control_plane, vpa)
    path = control_plane.path(workload(namespace, "vpa-admission-controller"))
    control_plane.wait(path, lambda found: found["status"].get("unavailableReplicas") == 1, "its pod to be missed")
    result = await see(control_plane, "vpa_configured", namespace, vpa_recommender=f"{namespace}/vpa-recommender")
    assert result.status is Status.FAILED
    assert f"Deployment {namespace}/vpa-admission-controller has 0 of 1 replica ready" in result.summary


async def test_a_default_that_the_quota_refuses(control_plane: ControlPlane) -> None:
    namespace = shop(control_plane)
    huge = limit_range(namespace, default={"cpu": "64"})
    control_plane.apply(quota(namespace), huge)
    control_plane.wait(control_plane.path(quota(namespace)), lambda found: found["status"].get("used"), "its use")
    plain = pod("plain", namespace, pod_spec(containers=[container(resources=None)]))

    def refused() -> bool:
        try:
            control_plane.call("POST", f"/api/v1/namespaces/{namespace}/pods", plain, dryRun="All")
        except HTTPError as error:
            return "exceeded quota" in str(error)
        return False

    await eventually(refused, "the API server to know both", 60)
    result = await see(control_plane, "quotas_and_limits_set", namespace)
    assert result.status is Status.WARNING
    assert (
        f"gives a container 64 of limits.cpu by default, more than ResourceQuota {namespace}/compute" in result.summary
    )
