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
    definition("traefik.io", "TraefikService", "traefikservices", "v1alpha1"),
    definition("traefik.io", "MiddlewareTCP", "middlewaretcps", "v1alpha1"),
    definition("traefik.containo.us", "IngressRoute", "ingressroutes", "v1alpha1"),
    definition("traefik.containo.us", "Middleware", "middlewares", "v1alpha1"),
    definition("networking.istio.io", "VirtualService", "virtualservices", "v1beta1"),
    definition("networking.istio.io", "Gateway", "gateways", "v1beta1"),
    definition("configuration.konghq.com", "TCPIngress", "tcpingresses", "v1beta1"),
    definition("k8s.nginx.org", "TransportServer", "transportservers", "v1"),
    definition("projectcontour.io", "HTTPProxy", "httpproxies", "v1"),
    definition("route.openshift.io", "Route", "routes", "v1"),
    definition("getambassador.io", "TCPMapping", "tcpmappings", "v3alpha1"),
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


FORWARD = '{"type":"forward","forwardConfig":{"targetGroups":[{"serviceName":"vectors","servicePort":"80"}]}}'
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
        ("web", 80, {f"{ALB}actions.to": FORWARD}, PUBLIC, FAILED, leads),
        (
            "web",
            80,
            {f"{NGINX}configuration-snippet": "location /v { proxy_pass http://vectors:80/; }"},
            PUBLIC,
            FAILED,
            leads,
        ),
        ("web", 80, {f"{NGINX}server-snippet": "proxy_pass http://web.elsewhere.svc:80;"}, PUBLIC, OK, ""),
        ("vectors", 80, {"of": "azure", "appgw.ingress.kubernetes.io/use-private-ip": "true"}, None, OK, ""),
        ("alias", 80, {}, PUBLIC, FAILED, leads.replace("vectors (", "alias (")),
        ("second", 80, {}, PUBLIC, FAILED, leads.replace("vectors (", "second (")),
        ("vectors", 80, {"of": "alb", f"{ALB}scheme": "internet-facing"}, None, FAILED, "from outside of the cluster"),
        # annotations that another controller reads, or that switch a login off
        ("vectors", 80, {"haproxy.org/allow-list": "198.51.100.0/24"}, PUBLIC, FAILED, leads),
        ("vectors", 80, {"of": "haproxy", "haproxy.org/allow-list": "198.51.100.0/24"}, PUBLIC, OK, ""),
        ("vectors", 80, {"of": "public", "haproxy.org/allow-list": "198.51.100.0/24"}, PUBLIC, OK, ""),
        ("vectors", 80, {"of": "haproxy-internal", f"{NGINX}auth-url": "https://login.example"}, PUBLIC, FAILED, leads),
        ("vectors", 80, {f"{NGINX}auth-tls-secret": "a/b"}, PUBLIC, WARNING, "behind a login."),
        (
            "vectors",
            80,
            {f"{NGINX}auth-tls-secret": "a/b", f"{NGINX}auth-tls-verify-client": "off"},
            PUBLIC,
            FAILED,
            leads,
        ),
        (
            "vectors",
            80,
            {f"{NGINX}auth-tls-secret": "a/b", f"{NGINX}auth-tls-verify-client": "optional"},
            PUBLIC,
            FAILED,
            leads,
        ),
        ("vectors", 80, {f"{NGINX}auth-url": ""}, PUBLIC, FAILED, leads),
        (
            "vectors",
            80,
            {"of": "alb", f"{ALB}scheme": "internet-facing", f"{ALB}auth-type": "none"},
            PUBLIC,
            FAILED,
            leads,
        ),
        (
            "vectors",
            80,
            {"of": "alb", f"{ALB}scheme": "internet-facing", f"{ALB}auth-type": "oidc"},
            PUBLIC,
            WARNING,
            "a login",
        ),
        (
            "vectors",
            80,
            {f"{NGINX}satisfy": "any", f"{NGINX}auth-type": "basic", f"{NGINX}whitelist-source-range": "10.0.0.0/8"},
            PUBLIC,
            WARNING,
            "behind a login.",
        ),
        (
            "vectors",
            80,
            {f"{NGINX}satisfy": "any", f"{NGINX}auth-type": "basic", f"{NGINX}whitelist-source-range": "0.0.0.0/0"},
            PUBLIC,
            FAILED,
            leads,
        ),
        ("web", 80, {f"{NGINX}default-backend": "vectors"}, PUBLIC, FAILED, leads),
        ("web", 80, {f"{NGINX}mirror-target": "http://vectors:80$request_uri"}, PUBLIC, FAILED, leads),
        ("web", 80, {f"{NGINX}mirror-target": "http://web:80/"}, PUBLIC, OK, ""),
    ]
    for name, end in (("alias", f"vectors.{shop}.svc.cluster.local"), ("second", "alias")):
        other = manifest("v1", "Service", name, shop, spec={"type": "ExternalName", "externalName": end})
        cluster.apply(other)
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

    def within_the_mesh(made: Manifest) -> Manifest:
        made["spec"]["parentRefs"] = [{"group": "", "kind": "Service", "name": "web"}]
        return made

    def accepted(status: str) -> list[dict[str, Any]]:
        conditions = [{"type": "Accepted", "status": "True"}, {"type": "ResolvedRefs", "status": "False"}]
        if status != "Partly":
            conditions = [{"type": "Accepted", "status": status}]
        return [{"parentRef": parent, "conditions": conditions, "controllerName": "a/b"}]

    def copied(made: Manifest) -> Manifest:
        copy = {"backendRef": {"name": "vectors", "port": 80}}
        made["spec"]["rules"][0]["filters"] = [{"type": "RequestMirror", "requestMirror": copy}]
        return made

    for made, address, parents, status, words in (
        (route("HTTPRoute", "v1", "web"), PUBLIC, "True", OK, ""),
        (route("HTTPRoute", "v1", "vectors"), PUBLIC, "True", FAILED, f"HTTPRoute {shop}/in leads from 203.0.113.7 to"),
        (route("TCPRoute", "v1alpha2", "vectors"), PUBLIC, "True", FAILED, f"TCPRoute {shop}/in leads from 203.0.113.7 to"),
        (route("TCPRoute", "v1alpha2", "vectors"), PUBLIC, "", FAILED, f"TCPRoute {shop}/in leads from 203.0.113.7 to"),
        (route("TCPRoute", "v1alpha2", "vectors"), PUBLIC, "False", OK, ""),
        (route("TCPRoute", "v1alpha2", "vectors", weight=0), PUBLIC, "True", OK, ""),
        (route("TCPRoute", "v1alpha2", "vectors"), PRIVATE, "True", OK, ""),
        (within_the_mesh(route("HTTPRoute", "v1", "vectors")), PUBLIC, "", OK, ""),
        (copied(route("HTTPRoute", "v1", "web")), PUBLIC, "True", FAILED, f"HTTPRoute {shop}/in leads from 203.0.113.7 to"),
        # a route of which one reference is wrong leads where the others say
        (route("HTTPRoute", "v1", "vectors"), PUBLIC, "Partly", FAILED, f"HTTPRoute {shop}/in leads from 203.0.113.7 to"),
        (route("HTTPRoute", "v1", "vectors", namespace="elsewhere"), PUBLIC, "Partly", OK, ""),
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
                    "apiGroups": [
                        "networking.k8s.io",
                        "discovery.k8s.io",
                        *{one["spec"]["group"] for one in DEFINITIONS},
                    ],
                    "resources": ["*"],
                    "verbs": ["list", "watch"],
                },
            ]
            result = await see(cluster, shop, kubeconfig=cluster.account(rules))
            assert (result.status, "configmaps" in result.summary) == (UNKNOWN, True), result
    finally:
        cluster.delete(ingressing, table, front)


async def test_a_controller_that_takes_the_port_of_its_node(cluster: ControlPlane, shop: str) -> None:
    place = cluster.namespace("ingress")
    table = {**manifest("v1", "ConfigMap", "tcp", place), "data": {"5432": f"{shop}/vectors:80"}}
    for taken, status in ((5432, FAILED), (8443, WARNING)):
        made = container(
            image="registry.k8s.io/ingress-nginx/controller:v1",
            args=["--tcp-services-configmap=$(POD_NAMESPACE)/tcp"],
            ports=[{"containerPort": taken, "hostPort": 15432}],
        )
        ingressing = workload(place, f"controller-{taken}", spec=pod_spec(containers=[made]))
        cluster.apply(ingressing, table)
        cluster.wait_ready(ingressing)
        try:
            result = await see(cluster, shop)
        finally:
            cluster.delete(ingressing, table)
            cluster.wait(
                f"/api/v1/namespaces/{place}/pods", lambda found: not found["items"], "no pod of the controller"
            )
        assert result.status is status, result


async def test_routes_of_traefik(cluster: ControlPlane, shop: str) -> None:
    place = cluster.namespace("traefik")
    proxy = controller(place, "docker.io/library/traefik:v3.5")
    front = service(place, "controller", {"port": 443}, type="LoadBalancer")
    routes = [{"match": "HostSNI(`*`)", "services": [{"name": "vectors", "port": 80}]}]
    made = manifest("traefik.io/v1alpha1", "IngressRouteTCP", "in", shop, spec={"routes": routes})
    cluster.apply(proxy, front, made)
    cluster.wait_ready(proxy)
    try:
        offices = {"loadBalancerSourceRanges": ["198.51.100.0/24"]}
        halves = {"loadBalancerSourceRanges": ["0.0.0.0/1", "128.0.0.0/1"]}
        for address, limits, status in (
            (PUBLIC, {}, FAILED),
            (PRIVATE, {}, OK),
            (PUBLIC, halves, FAILED),
            (PUBLIC, offices, OK),
        ):
            cluster.apply(service(place, "controller", {"port": 443}, type="LoadBalancer", **limits))
            cluster.patch_status(front, loadBalancer={"ingress": [address]})
            result = await see(cluster, shop)
            words = f"IngressRouteTCP {shop}/in leads from 203.0.113.7 to port 80 of Service {shop}/vectors (qdrant)."
            assert (result.status, words == result.summary) == (status, status is FAILED), result
    finally:
        cluster.delete(proxy, front, made)


async def test_middlewares_and_weights_of_traefik(cluster: ControlPlane, shop: str) -> None:
    """Without pods of Traefik nobody knows its addresses, so that every route leads from outside."""

    def routed(group: str, kind: str, **rule: Any) -> Manifest:
        spec = {"routes": [{"match": "HostSNI(`*`)", **rule}]}
        return manifest(f"{group}/v1alpha1", kind, "in", shop, spec=spec)

    def beside(kind: str, name: str, group: str = "traefik.io", **spec: Any) -> Manifest:
        return manifest(f"{group}/v1alpha1", kind, name, shop, spec=spec)

    old, vectors = "traefik.containo.us", [{"name": "vectors", "port": 80}]
    weighed = [{"name": "split", "kind": "TraefikService"}]
    passed: dict[str, Any] = {"services": vectors, "middlewares": [{"name": "gate"}]}
    few, all_of_them = {"sourceRange": ["198.51.100.0/24"]}, {"sourceRange": ["0.0.0.0/0"]}
    states: tuple[tuple[Manifest, list[Manifest], Status], ...] = (
        (routed(old, "IngressRoute", services=vectors), [], FAILED),
        (routed(old, "IngressRoute", **passed), [beside("Middleware", "gate", old, basicAuth={"secret": "a"})], WARNING),
        (routed(old, "IngressRoute", **passed), [beside("Middleware", "gate", old, compress={})], FAILED),
        (routed("traefik.io", "IngressRouteTCP", **passed), [beside("MiddlewareTCP", "gate", ipAllowList=few)], OK),
        (routed("traefik.io", "IngressRouteTCP", **passed), [beside("MiddlewareTCP", "gate", ipAllowList=all_of_them)], FAILED),
        (routed("traefik.io", "IngressRouteTCP", services=weighed),
         [beside("TraefikService", "split", weighted={"services": [*vectors, {"name": "web", "port": 80}]})], FAILED),
        (routed("traefik.io", "IngressRouteTCP", services=weighed),
         [beside("TraefikService", "split", mirroring={"name": "web", "port": 80, "mirrors": vectors})], FAILED),
        (routed("traefik.io", "IngressRouteTCP", services=weighed),
         [beside("TraefikService", "split", weighted={"services": [{"name": "web", "port": 80}]})], OK),
    )  # fmt: skip
    for made, others, status in states:
        cluster.apply(made, *others)
        try:
            result = await see(cluster, shop)
        finally:
            cluster.delete(made, *others)
        assert result.status is status, (made["spec"], others, result)


async def test_virtual_services_of_istio(cluster: ControlPlane, shop: str) -> None:
    place, istio = cluster.namespace("istio"), "networking.istio.io/v1beta1"
    router = container("istio-proxy", image="docker.io/istio/proxyv2:1.27.1", args=["proxy", "router"])
    proxy = workload(place, "controller", spec=pod_spec(containers=[router]))
    front = service(place, "controller", {"port": 443}, type="LoadBalancer")
    gateway = manifest(istio, "Gateway", "edge", place, spec={"selector": {"app": "controller"}, "servers": []})
    cluster.apply(proxy, front, gateway)
    cluster.wait_ready(proxy)

    def virtual(name: str, route: dict[str, Any], protocol: str = "http", gateways: Any = None) -> Manifest:
        hung = {"gateways": [f"{place}/edge"]} if gateways is None else {"gateways": gateways}
        return manifest(istio, "VirtualService", name, shop, spec={**hung, "hosts": ["*"], protocol: [route]})

    def to(*hosts: str, **more: Any) -> dict[str, Any]:
        return {"route": [{"destination": {"host": host, "port": {"number": 80}}, **more} for host in hosts]}

    whole = f"vectors.{shop}.svc.cluster.local"
    delegated = {"delegate": {"name": "there"}}
    states: tuple[tuple[list[Manifest], dict[str, str], Status], ...] = (
        ([virtual("in", to("web"))], PUBLIC, OK),
        ([virtual("in", to("vectors"))], PUBLIC, FAILED),
        ([virtual("in", to(whole))], PUBLIC, FAILED),
        ([virtual("in", to("vectors"), "tcp")], PUBLIC, FAILED),
        ([virtual("in", to("vectors"), "tls")], PUBLIC, FAILED),
        ([virtual("in", to("vectors"))], PRIVATE, OK),
        ([virtual("in", to("vectors"), gateways=[])], PUBLIC, OK),
        ([virtual("in", to("vectors"), gateways=["mesh"])], PUBLIC, OK),
        ([virtual("in", to("vectors"), gateways=["gone"])], PUBLIC, OK),
        ([virtual("in", to("vectors", weight=0))], PUBLIC, FAILED),
        ([virtual("in", to("vectors", "web", weight=0))], PUBLIC, OK),
        ([virtual("in", to("web") | {"mirror": {"host": "vectors", "port": {"number": 80}}})], PUBLIC, FAILED),
        (
            [virtual("in", to("web") | {"mirrors": [{"destination": {"host": whole, "port": {"number": 80}}}]})],
            PUBLIC,
            FAILED,
        ),
        ([virtual("in", to("web") | {"mirror": {"host": "web"}})], PUBLIC, OK),
        ([virtual("in", delegated), virtual("there", to("vectors"), gateways=[])], PUBLIC, FAILED),
    )
    try:
        for made, address, status in states:
            cluster.patch_status(front, loadBalancer={"ingress": [address]})
            cluster.apply(*made)
            try:
                result = await see(cluster, shop)
            finally:
                cluster.delete(*made)
            words = f"VirtualService {shop}/in leads from 203.0.113.7 to port 80 of Service {shop}/vectors (qdrant)."
            assert (result.status, words == result.summary) == (status, status is FAILED), (made, address, result)
    finally:
        cluster.delete(proxy, front, gateway)


async def test_routes_of_other_controllers(cluster: ControlPlane, shop: str) -> None:
    balanced = {"loadBalancer": {"ingress": [PUBLIC]}}
    states: tuple[tuple[str, str, Any, dict[str, Any], Status], ...] = (
        ("configuration.konghq.com/v1beta1", "TCPIngress", {"rules": [{"backend": {"serviceName": "vectors", "servicePort": 80}}]},
         balanced, FAILED),
        ("configuration.konghq.com/v1beta1", "TCPIngress", {"rules": [{"backend": {"serviceName": "web", "servicePort": 80}}]},
         balanced, OK),
        ("k8s.nginx.org/v1", "TransportServer", {"upstreams": [{"name": "a", "service": "vectors", "port": 80}]},
         {"externalEndpoints": [{**PUBLIC, "ports": "[5432]"}]}, FAILED),
        ("k8s.nginx.org/v1", "TransportServer", {"upstreams": [{"name": "a", "service": "vectors", "port": 80}]},
         {"externalEndpoints": [PRIVATE]}, OK),
        ("projectcontour.io/v1", "HTTPProxy", {"tcpproxy": {"services": [{"name": "vectors", "port": 80}]}}, balanced, FAILED),
        ("projectcontour.io/v1", "HTTPProxy", {"routes": [{"services": [{"name": "web", "port": 80}]}]}, balanced, OK),
        ("projectcontour.io/v1", "HTTPProxy", {"tcpproxy": {"services": [{"name": "vectors", "port": 80}]}},
         balanced | {"currentStatus": "orphaned"}, OK),
        ("route.openshift.io/v1", "Route", {"to": {"name": "web"}, "alternateBackends": [{"name": "vectors", "weight": 1}]},
         {}, FAILED),
        ("route.openshift.io/v1", "Route", {"to": {"name": "web"}, "alternateBackends": [{"name": "vectors", "weight": 0}]},
         {}, OK),
        ("getambassador.io/v3alpha1", "TCPMapping", {"port": 5432, "service": f"vectors.{shop}:80"}, {}, FAILED),
        ("getambassador.io/v3alpha1", "TCPMapping", {"port": 5432, "service": "vectors:9"}, {}, OK),
    )  # fmt: skip
    for version, kind, spec, state, status in states:
        made = manifest(version, kind, "in", shop, spec=spec)
        cluster.apply(made)
        if state:
            cluster.patch_status(made, **state)
        try:
            result = await see(cluster, shop)
        finally:
            cluster.delete(made)
        assert (result.status, kind in result.summary) == (status, status is FAILED), (kind, spec, result)
