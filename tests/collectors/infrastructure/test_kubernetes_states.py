"""States of a real cluster that look right and are not, or the other way round: one test for each kind of mistake."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
from tests.collectors.systems.kubernetes.clusters import Manifest, ingress, ingress_class, manifest, merged, service
from tests.servers.kubernetes import CRDS, ControlPlane, workload

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
    for pod in control_plane.pods(entry.namespace, "app=web"):
        control_plane.crash(pod)

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


async def test_a_load_balancer_leads_traffic_in_without_any_class(control_plane: ControlPlane) -> None:
    namespace = shop(control_plane)
    door = merged(service("web", namespace), {"spec": {"type": "LoadBalancer"}})
    running(control_plane, namespace, "web")
    control_plane.apply(door)
    endpoints(control_plane, namespace)
    options: dict[str, Any] = {"ingress_controllers": [f"{namespace}/web"]}
    young = await see(control_plane, "ingress_operational", namespace, **options)
    assert young.status is Status.WARNING
    assert f"Service {namespace}/web of type LoadBalancer has no address" in young.summary
    control_plane.patch_status(door, loadBalancer={"ingress": [{"ip": "192.0.2.81"}]})
    result = await see(control_plane, "ingress_operational", namespace, **options)
    assert result.status is Status.OK
    assert "and 1 Service of type LoadBalancer are served" in result.summary
