"""Data stores that Ingresses, routes and ingress controllers of a real control plane open to the outside of the cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from collectors.network_and_security import network_security
from collectors.network_and_security.network_security import NetworkSecurity
from exporter.verdict import ProbeError, Reason, Status
from tests.collectors.systems.kubernetes.clusters import Manifest, asking, container, manifest
from tests.servers.kubernetes import ControlPlane, control_plane, definition, pod_spec, workload
from tests.support import Run, sees

__all__ = ["control_plane"]

GATEWAY = "gateway.networking.k8s.io"
DEFINITIONS = (
    definition(GATEWAY, "Gateway", "gateways", "v1"),
    definition(GATEWAY, "HTTPRoute", "httproutes", "v1"),
    definition(GATEWAY, "TCPRoute", "tcproutes", "v1alpha2"),
    definition("traefik.io", "IngressRouteTCP", "ingressroutetcps", "v1alpha1"),
)
PUBLIC, PRIVATE = {"ip": "203.0.113.7"}, {"ip": "10.1.2.3"}
OK, WARNING, FAILED, UNKNOWN = Status.OK, Status.WARNING, Status.FAILED, Status.UNKNOWN


def run(cluster: ControlPlane, namespace: str, kubeconfig: Path | None = None) -> Run:
    settings = {"stores": {"namespaces": [namespace]}}
    return Run(NetworkSecurity, ["firewall_rules_configured"], settings=settings, clients=asking(cluster, kubeconfig))


see = sees(run)


def service(namespace: str, name: str, *ports: Mapping[str, Any], **spec: Any) -> Manifest:
    return manifest("v1", "Service", name, namespace, spec={"selector": {"app": name}, "ports": list(ports)} | spec)


@pytest.fixture(scope="module")
def cluster(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    with control_plane.defining(*DEFINITIONS):
        yield control_plane


@pytest.fixture(scope="module")
def shop(cluster: ControlPlane) -> str:
    """A namespace with a data store that speaks HTTP, and with a shop beside it."""
    namespace = cluster.namespace("shop")
    for name, image, port in (("vectors", "qdrant/qdrant:v1", 6333), ("web", "example/web:1", 8080)):
        made = workload(
            namespace, name, spec=pod_spec(containers=[container(image=image, ports=[{"containerPort": port}])])
        )
        cluster.apply(made, service(namespace, name, {"name": "http", "port": 80, "targetPort": port}))
        cluster.wait_ready(made)
    return namespace


def ingress(namespace: str, name: str, backend: str, port: int | str = 80, **annotations: str) -> Manifest:
    number = {"number": port} if isinstance(port, int) else {"name": port}
    path = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": backend, "port": number}}}
    spec = {
        "ingressClassName": annotations.pop("of", "nginx"),
        "rules": [{"host": "a.example", "http": {"paths": [path]}}],
    }
    return manifest(
        "networking.k8s.io/v1", "Ingress", name, namespace, spec=spec, metadata={"annotations": annotations}
    )


NGINX, ALB = "nginx.ingress.kubernetes.io/", "alb.ingress.kubernetes.io/"


async def test_ingresses_to_stores(cluster: ControlPlane, shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        if host == "gone.example":
            raise ProbeError("The name gone.example cannot be resolved.", Reason.UNREACHABLE)
        return ["10.0.0.7"] if host.startswith("internal-") else ["203.0.113.8"]

    monkeypatch.setattr(network_security, "resolve", resolve)
    leads = f"Ingress {shop}/in leads from 203.0.113.7 to port 80 of Service {shop}/vectors (qdrant)."
    states: list[tuple[str, int | str, dict[str, str], dict[str, str] | None, Status, str]] = [
        ("web", 80, {}, PUBLIC, OK, ""),
        ("vectors", 80, {}, PUBLIC, FAILED, leads),
        ("vectors", "http", {}, PUBLIC, FAILED, leads),
        ("vectors", 80, {}, PRIVATE, OK, ""),
        ("vectors", 80, {}, None, FAILED, "leads from outside of the cluster to port 80"),
        ("vectors", 80, {}, {"hostname": "lb.example"}, FAILED, "leads from 203.0.113.8 to"),
        ("vectors", 80, {}, {"hostname": "internal-lb.example"}, OK, ""),
        ("vectors", 80, {}, {"hostname": "gone.example"}, UNKNOWN, "gone.example cannot be resolved"),
        ("vectors", 80, {f"{NGINX}whitelist-source-range": "198.51.100.0/24"}, PUBLIC, OK, ""),
        ("vectors", 80, {f"{NGINX}whitelist-source-range": "0.0.0.0/1, 128.0.0.0/1"}, PUBLIC, FAILED, leads),
        ("vectors", 80, {f"{NGINX}auth-url": "https://login.example"}, PUBLIC, WARNING, "behind a login."),
        ("vectors", 80, {"of": "alb"}, None, OK, ""),
        ("vectors", 80, {"of": "alb", f"{ALB}scheme": "internet-facing"}, None, FAILED, "from outside of the cluster"),
    ]
    for backend, port, about, address, status, words in states:
        made = ingress(shop, "in", backend, port, **about)
        cluster.apply(made)
        if address is not None:
            cluster.patch_status(made, loadBalancer={"ingress": [address]})
        try:
            result = await see(cluster, shop)
        finally:
            cluster.delete(made)
        assert (result.status, words in result.summary) == (status, True), (backend, about, address, result)


async def test_routes_to_stores(cluster: ControlPlane, shop: str) -> None:
    place = cluster.namespace("edge")
    gateway = manifest(f"{GATEWAY}/v1", "Gateway", "edge", place, spec={"gatewayClassName": "any", "listeners": []})
    cluster.apply(gateway)
    parent = {"name": "edge", "namespace": place}

    def route(kind: str, version: str, backend: str, **more: Any) -> Manifest:
        rules = [{"backendRefs": [{"name": backend, "port": 80, **more}]}]
        return manifest(f"{GATEWAY}/{version}", kind, "in", shop, spec={"parentRefs": [parent], "rules": rules})

    def accepted(status: str) -> list[dict[str, Any]]:
        return [{"parentRef": parent, "conditions": [{"type": "Accepted", "status": status}], "controllerName": "a/b"}]

    for made, address, parents, status, words in (
        (route("HTTPRoute", "v1", "web"), PUBLIC, "True", OK, ""),
        (route("HTTPRoute", "v1", "vectors"), PUBLIC, "True", FAILED, f"HTTPRoute {shop}/in leads from 203.0.113.7 to"),
        (route("TCPRoute", "v1alpha2", "vectors"), PUBLIC, "True", FAILED, f"TCPRoute {shop}/in leads from 203.0.113.7 to"),
        (route("TCPRoute", "v1alpha2", "vectors"), PUBLIC, "", FAILED, f"TCPRoute {shop}/in leads from 203.0.113.7 to"),
        (route("TCPRoute", "v1alpha2", "vectors"), PUBLIC, "False", OK, ""),
        (route("TCPRoute", "v1alpha2", "vectors", weight=0), PUBLIC, "True", OK, ""),
        (route("TCPRoute", "v1alpha2", "vectors"), PRIVATE, "True", OK, ""),
    ):  # fmt: skip
        cluster.patch_status(gateway, addresses=[{"value": address["ip"]}])
        cluster.apply(made)
        if parents:
            cluster.patch_status(made, parents=accepted(parents))
        try:
            result = await see(cluster, shop)
        finally:
            cluster.delete(made)
        assert (result.status, words in result.summary) == (status, True), (made["kind"], address, parents, result)


def controller(namespace: str, image: str, *args: str, **spec: Any) -> Manifest:
    made = container(image=image, args=list(args), ports=[{"containerPort": 443}])
    return workload(namespace, "controller", spec=pod_spec(containers=[made], **spec))


@pytest.mark.parametrize(
    ("port", "own", "address", "status", "words"),
    [
        (5432, {"targetPort": 5432}, PUBLIC, FAILED, "(LoadBalancer) opens port 5432"),
        (5432, {"targetPort": 5432}, PRIVATE, OK, ""),
        (443, {"targetPort": 443}, PUBLIC, WARNING, "no Service has that port"),
    ],
)
async def test_ports_of_ingress_controllers(
    cluster: ControlPlane,
    shop: str,
    port: int,
    own: dict[str, Any],
    address: dict[str, str],
    status: Status,
    words: str,
) -> None:
    place = cluster.namespace("ingress")
    ingressing = controller(
        place, "registry.k8s.io/ingress-nginx/controller:v1", "--tcp-services-configmap=$(POD_NAMESPACE)/tcp"
    )
    table = {
        **manifest("v1", "ConfigMap", "tcp", place),
        "data": {"5432": f"{shop}/vectors:80", "8080": f"{shop}/web:80"},
    }
    balanced = {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False}
    front = service(place, "controller", {"name": "one", "port": port, **own}, **balanced)
    cluster.apply(ingressing, table, front)
    cluster.wait_ready(ingressing)
    cluster.patch_status(front, loadBalancer={"ingress": [address]})
    try:
        result = await see(cluster, shop)
        assert (result.status, words in result.summary) == (status, True), result
        if status is FAILED:
            assert f"{shop}/vectors by ConfigMap {place}/tcp" in result.summary
            rules = [
                {"apiGroups": [""], "resources": ["namespaces", "pods", "services"], "verbs": ["list", "watch"]},
                {
                    "apiGroups": ["networking.k8s.io", GATEWAY, "traefik.io"],
                    "resources": ["*"],
                    "verbs": ["list", "watch"],
                },
            ]
            result = await see(cluster, shop, kubeconfig=cluster.account(rules))
            assert (result.status, "configmaps" in result.summary) == (UNKNOWN, True), result
    finally:
        cluster.delete(ingressing, table, front)


async def test_routes_of_traefik(cluster: ControlPlane, shop: str) -> None:
    place = cluster.namespace("traefik")
    proxy = controller(place, "docker.io/library/traefik:v3.5")
    front = service(place, "controller", {"port": 443}, type="LoadBalancer")
    routes = [{"match": "HostSNI(`*`)", "services": [{"name": "vectors", "port": 80}]}]
    made = manifest("traefik.io/v1alpha1", "IngressRouteTCP", "in", shop, spec={"routes": routes})
    cluster.apply(proxy, front, made)
    cluster.wait_ready(proxy)
    try:
        for address, status in ((PUBLIC, FAILED), (PRIVATE, OK)):
            cluster.patch_status(front, loadBalancer={"ingress": [address]})
            result = await see(cluster, shop)
            words = f"IngressRouteTCP {shop}/in leads from 203.0.113.7 to port 80 of Service {shop}/vectors (qdrant)."
            assert (result.status, words == result.summary) == (status, status is FAILED), result
    finally:
        cluster.delete(proxy, front, made)
