"""Data stores that objects of a real control plane open to the outside of the cluster, or do not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from collectors.network_and_security import network_security
from collectors.network_and_security.network_security import NetworkSecurity
from collectors.systems.exposure.model import store_in, unlimited
from collectors.systems.kubernetes.model.objects import Service
from collectors.systems.kubernetes.model.whole_pods import Container
from exporter.verdict import ProbeError, Reason, Result, Status
from tests.collectors.systems.kubernetes.clusters import Manifest, asking, container, manifest, merged
from tests.servers.kubernetes import ControlPlane, control_plane, pod_spec, workload
from tests.support import Run, sees

__all__ = ["control_plane"]

ITEM = "firewall_rules_configured"
CLOUD = "service.beta.kubernetes.io/"


def run(cluster: ControlPlane, *namespaces: str, kubeconfig: Path | None = None, **options: Any) -> Run:
    settings = {"stores": {"namespaces": namespaces, **options}}
    return Run(NetworkSecurity, [ITEM], settings=settings, clients=asking(cluster, kubeconfig))


see = sees(run)


def store(image: str = "docker.io/bitnami/postgresql:17", **changes: Any) -> Manifest:
    return container(**{"image": image, "ports": [{"containerPort": 5432, "name": "store"}], **changes})


def service(namespace: str, name: str = "db", target: int | str = 5432, port: int = 5432, **spec: Any) -> Manifest:
    annotations = spec.pop("annotations", {})
    ports = [{"port": port, "targetPort": target}]
    made = manifest("v1", "Service", name, namespace, spec={"selector": {"app": name}, "ports": ports} | spec)
    return merged(made, {"metadata": {"annotations": annotations}})


class Stores:
    """A namespace with one data store, whose Service is changed from state to state."""

    def __init__(self, cluster: ControlPlane) -> None:
        self.cluster = cluster
        self.namespace = cluster.namespace("stores")
        self.run("db", pod_spec(containers=[store()]))

    def run(self, name: str, spec: Manifest) -> None:
        made = workload(self.namespace, name, spec=spec)
        self.cluster.apply(made)
        self.cluster.wait_ready(made)

    async def with_service(self, *ingress: Mapping[str, str], **spec: Any) -> Result:
        made = service(self.namespace, **spec)
        self.cluster.apply(made)
        if ingress:
            self.cluster.patch_status(made, loadBalancer={"ingress": list(ingress)})
        try:
            return await see(self.cluster, self.namespace)
        finally:
            self.cluster.delete(made)


@pytest.fixture(scope="module")
def stores(control_plane: ControlPlane) -> Stores:
    return Stores(control_plane)


PUBLIC, PRIVATE = {"ip": "203.0.113.7"}, {"ip": "10.1.2.3"}
BALANCED = {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False}
NARROW = {"loadBalancerSourceRanges": ["198.51.100.0/24"]}
HALVES = {"loadBalancerSourceRanges": ["0.0.0.0/1", "128.0.0.0/1"]}


@pytest.mark.verifies("network_security.firewall_rules_configured", "ok")
@pytest.mark.verifies("network_security.firewall_rules_configured", "failed")
async def test_services_of_stores_by_where_they_lead_and_who_may_connect(stores: Stores) -> None:
    internal = {f"{CLOUD}aws-load-balancer-scheme": "internal"}
    own_groups = {f"{CLOUD}aws-load-balancer-security-groups": "sg-1"}
    states: list[tuple[tuple[Mapping[str, str], ...], dict[str, Any], Status, str]] = [
        ((), {}, Status.OK, "1 Service of data stores is not opened to the outside"),
        ((PUBLIC,), BALANCED, Status.FAILED, "opens port 5432 (postgresql) at 203.0.113.7 to every address."),
        ((PUBLIC,), {**BALANCED, "port": 443}, Status.FAILED, "opens port 443 (postgresql)"),
        ((PUBLIC,), {**BALANCED, "port": 443, "target": "store"}, Status.FAILED, "opens port 443 (postgresql)"),
        ((PUBLIC,), {**BALANCED, "port": 9187, "target": 9187}, Status.FAILED, "opens port 9187 (postgresql)"),
        ((PRIVATE,), BALANCED, Status.OK, ""),
        ((PRIVATE, PUBLIC), BALANCED, Status.FAILED, "at 203.0.113.7 to every address."),
        ((PUBLIC,), {**BALANCED, **NARROW}, Status.OK, ""),
        ((PUBLIC,), {**BALANCED, **HALVES}, Status.FAILED, "to 0.0.0.0/0."),
        ((PUBLIC,), {**BALANCED, "annotations": {f"{CLOUD}load-balancer-source-ranges": "10.0.0.0/8"}}, Status.OK, ""),
        ((PUBLIC,), {**BALANCED, "annotations": internal}, Status.FAILED, "although an annotation asks for an internal one."),
        ((PUBLIC,), {**BALANCED, **NARROW, "annotations": own_groups}, Status.UNKNOWN, "its own security groups let in"),
        ((), BALANCED, Status.FAILED, "as soon as its load balancer has an address"),
        ((), {**BALANCED, "annotations": internal}, Status.OK, ""),
        ((), {**BALANCED, **NARROW}, Status.OK, ""),
        ((), {"type": "NodePort"}, Status.FAILED, "(NodePort) opens node port "),
        ((PRIVATE,), {"type": "LoadBalancer"}, Status.WARNING, "neither loadBalancerSourceRanges nor an internal load balancer"),
        ((PUBLIC,), {"type": "LoadBalancer", **NARROW}, Status.WARNING, "on every node as well, leading to postgresql"),
        ((), {"externalIPs": ["203.0.113.9"]}, Status.FAILED, "opens port 5432 (postgresql) at the externalIPs 203.0.113.9."),
        ((), {"externalIPs": ["10.0.0.9"]}, Status.WARNING, "at the externalIPs 10.0.0.9 of the internal network."),
        ((), {"selector": None, "externalIPs": ["2001:db8::9"]}, Status.FAILED, "at the externalIPs 2001:db8::9."),
        ((PUBLIC,), {**BALANCED, "externalTrafficPolicy": "Local"}, Status.FAILED, "to every address."),
    ]  # fmt: skip
    for ingress, spec, status, words in states:
        result = await stores.with_service(*ingress, **spec)
        assert (result.status, words in result.summary) == (status, True), (spec, result)


async def test_names_of_load_balancers_are_resolved(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        if host == "gone.example":
            raise ProbeError("The name gone.example cannot be resolved.", Reason.UNREACHABLE)
        return ["10.0.0.7"] if host.startswith("internal-") else ["2001:db8::7", "10.0.0.7"]

    monkeypatch.setattr(network_security, "resolve", resolve)
    for name, status, words in (
        ("internal-db.elb.example", Status.OK, ""),
        ("db.elb.example", Status.FAILED, "at 2001:db8::7 to every address."),
        ("gone.example", Status.UNKNOWN, "gone.example cannot be resolved"),
    ):
        result = await stores.with_service({"hostname": name}, **BALANCED)
        assert (result.status, words in result.summary) == (status, True), result


async def test_endpoints_that_somebody_wrote(stores: Stores) -> None:
    """A Service of another namespace, without a selector, that leads to the pod of the store by its address."""
    place = stores.cluster.namespace("edge")
    pod = next(iter(stores.cluster.pods(stores.namespace, "app=db")))
    made = service(place, "front", "any", 443, selector=None, **BALANCED)
    made["spec"]["ports"] = [{"name": "any", "port": 443}]

    def written(address: str, number: int) -> Manifest:
        about = {"kubernetes.io/service-name": "front", "endpointslice.kubernetes.io/managed-by": "somebody"}
        made = manifest("discovery.k8s.io/v1", "EndpointSlice", "front", place)
        ends = {
            "endpoints": [{"addresses": [address]}],
            "ports": [{"name": "any", "port": number}],
            "addressType": "IPv4",
        }
        return merged(made, {"metadata": {"labels": about}, **ends})

    stores.cluster.apply(made)
    stores.cluster.patch_status(made, loadBalancer={"ingress": [PUBLIC]})
    try:
        for address, number, status in (
            (pod["status"]["podIP"], 5432, Status.FAILED),
            (pod["status"]["podIP"], 9187, Status.FAILED),  # a container need not declare where it listens
            ("192.0.2.9", 8080, Status.OK),
        ):
            ends = written(address, number)
            stores.cluster.apply(service(stores.namespace), ends)
            try:
                result = await see(stores.cluster, stores.namespace)
            finally:
                stores.cluster.delete(ends, service(stores.namespace))
            words = f"Service {place}/front (LoadBalancer) opens port 443 (postgresql) at 203.0.113.7 to every address."
            assert (result.status, words == result.summary) == (status, status is Status.FAILED), (address, result)
    finally:
        stores.cluster.delete(made)


async def test_what_is_beside_a_store_may_be_open(stores: Stores) -> None:
    beside = container("metrics", image="prometheuscommunity/postgres-exporter:v0.16", ports=[{"containerPort": 9187}])
    stores.run("db", pod_spec(containers=[store(), beside]))
    opened = {**BALANCED, "port": 9187, "target": 9187}
    assert (await stores.with_service(PUBLIC, **opened)).status is Status.OK
    result = await stores.with_service(PUBLIC, **BALANCED)
    assert result.status is Status.FAILED
    stores.run("db", pod_spec(containers=[store()]))


async def test_pods_that_take_a_port_of_their_node(control_plane: ControlPlane) -> None:
    for name, spec, status, words in (
        ("host", {"containers": [store()], "hostNetwork": True}, Status.FAILED, "uses the host's network"),
        ("taken", {"containers": [store(ports=[{"containerPort": 5432, "hostPort": 15432}])]}, Status.FAILED, "host port 15432"),
        ("unnamed", {"containers": [store("example/ledger:1", ports=[{"containerPort": 6379, "hostPort": 6379}])]},
         Status.FAILED, "(port 6379) opens host port 6379 on its node."),
        ("local", {"containers": [store(ports=[{"containerPort": 5432, "hostPort": 5432, "hostIP": "127.0.0.1"}])]}, Status.OK, ""),
        ("native", {"initContainers": [store(name="s", ports=[{"containerPort": 1, "hostPort": 25432}], restartPolicy="Always")]},
         Status.FAILED, "host port 25432"),
    ):  # fmt: skip
        place = control_plane.namespace("pods")
        made = workload(place, name, spec=pod_spec(**spec))
        control_plane.apply(made)
        control_plane.wait_ready(made)
        result = await see(control_plane, place)
        assert (result.status, words in result.summary) == (status, True), (name, result)
        exempt = await see(control_plane, place, exempt_workloads={f"{place}/{name}": "A bastion."})
        assert exempt.status is Status.UNKNOWN, exempt  # nothing is left


@pytest.mark.verifies("network_security.firewall_rules_configured", "unknown")
async def test_without_stores_or_rights_nothing_was_seen(control_plane: ControlPlane) -> None:
    place = control_plane.namespace("empty")
    result = await see(control_plane, place)
    assert (result.status, "No Service or pod of a data store" in result.summary) == (Status.UNKNOWN, True)
    blind = control_plane.account(
        [{"apiGroups": [""], "resources": ["namespaces", "pods"], "verbs": ["list", "watch"]}]
    )
    result = await see(control_plane, place, kubeconfig=blind)
    assert (result.status, "services" in result.summary) == (Status.UNKNOWN, True), result


@pytest.mark.parametrize(
    ("image", "store"),
    [
        ("docker.io/library/postgres:17@sha256:0", "postgres"),
        ("registry.example:5000/bitnami/redis-cluster:8", "redis-cluster"),
        ("ghcr.io/cloudnative-pg/postgresql:17", "postgresql"),
        ("nats:2.12-alpine", "nats"),
        ("mcr.microsoft.com/mssql/server:2022-latest", "mssql-server"),
        ("docker.io/edoburu/pgbouncer", "pgbouncer"),
        ("example/shop/server:1", ""),
        ("oliver006/redis_exporter:v1", ""),
        ("mongo-express:1", ""),
        ("opensearchproject/opensearch-dashboards:3", ""),
        ("example/signature-service:1", ""),
        ("postgres.example/shop/web:1", ""),
    ],
)
def test_stores_are_known_by_their_images(image: str, store: str) -> None:
    assert store_in(Container(image=image)) == store


def test_ranges_that_no_cloud_understands_limit_nobody() -> None:
    made = {"spec": {"type": "LoadBalancer", "loadBalancerSourceRanges": ["anywhere"]}}
    assert unlimited(msgspec.convert(made, Service)) == "every address"
