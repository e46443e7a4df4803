"""A mesh of Istio by its objects, on a real control plane."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from collectors.network_and_security.network_security import NetworkSecurity, NetworkSecuritySettings
from collectors.systems.istio.model import MeshPod, PeerAuthentication, effective_mode
from exporter.verdict import Result, Status
from tests.collectors.systems.kubernetes.clusters import Manifest, asking, container, manifest, merged
from tests.servers.kubernetes import ControlPlane, control_plane, definition, pod_spec, workload
from tests.support import Run, make_context, verify

__all__ = ["control_plane"]

ITEM = "service_mesh_configured"
PEERS = definition("security.istio.io", "PeerAuthentication", "peerauthentications", "v1")
RULES = definition("networking.istio.io", "DestinationRule", "destinationrules", "v1")
INJECTED = {"istio-injection": "enabled"}
AMBIENT = {"istio.io/dataplane-mode": "ambient"}


def proxy(version: str = "1.26.2", **changes: Any) -> Manifest:
    return container("istio-proxy", image=f"docker.io/istio/proxyv2:{version}", **changes)


def meshed(**more: Any) -> Manifest:
    return pod_spec(containers=[container(), proxy()], **more)


def peer(namespace: str, name: str, mode: str | None = None, **spec: Any) -> Manifest:
    mtls = {"mtls": {"mode": mode}} if mode else {}
    return manifest("security.istio.io/v1", "PeerAuthentication", name, namespace, spec=mtls | spec)


def rule(namespace: str, name: str, host: str, **policy: Any) -> Manifest:
    spec = {"host": host, "trafficPolicy": policy}
    return manifest("networking.istio.io/v1", "DestinationRule", name, namespace, spec=spec)


MERGE = "application/merge-patch+json"
OFF = {"tls": {"mode": "DISABLE"}}


class Mesh:
    """A mesh with a root namespace of its own, STRICT, with one injected workload."""

    def __init__(self, cluster: ControlPlane) -> None:
        self.cluster = cluster
        self.root = cluster.namespace("istio-system")
        self.shop = cluster.namespace("shop", **INJECTED)
        self.istiod = merged(
            workload(
                self.root, "istiod", spec=pod_spec(containers=[container("discovery", image="istio/pilot:1.26.2")])
            ),
            {},
        )
        self.strict = peer(self.root, "default", "STRICT")
        cluster.apply(self.istiod, self.strict)
        cluster.wait_ready(self.istiod)
        self.run("web", meshed())

    def run(self, name: str, spec: Manifest, namespace: str | None = None, **annotations: str) -> Manifest:
        made = workload(namespace or self.shop, name, spec=spec)
        if annotations:
            made["spec"]["template"]["metadata"]["annotations"] = annotations
        self.cluster.apply(made)
        self.cluster.wait_ready(made)
        return made

    async def result(self, *namespaces: str, kubeconfig: Path | None = None, **options: Any) -> Result:
        mesh = {"root_namespace": self.root, "namespaces": namespaces or (self.shop,)} | options
        run = Run(NetworkSecurity, [ITEM], settings={"mesh": mesh}, clients=asking(self.cluster, kubeconfig))
        return (await run.results())[ITEM]

    async def fails(self, words: str, *namespaces: str, **options: Any) -> None:
        result = await self.result(*namespaces, **options)
        assert (result.status, words in result.summary) == (Status.FAILED, True), result


@pytest.fixture(scope="module")
def mesh(control_plane: ControlPlane) -> Iterator[Mesh]:
    with control_plane.defining(PEERS, RULES):
        yield Mesh(control_plane)


@pytest.mark.verifies("network_security.service_mesh_configured", "ok")
@pytest.mark.verifies("network_security.service_mesh_configured", "failed")
async def test_policies_are_composed_as_istio_does(mesh: Mesh) -> None:
    cluster, shop = mesh.cluster, mesh.shop
    result = await mesh.result()
    assert (result.status, "whether a plaintext call is refused was not tried" in result.summary) == (
        Status.OK,
        True,
    ), result
    inherits = peer(shop, "default", "UNSET")
    opened = peer(shop, "web", selector={"matchLabels": {"app": "web"}}, portLevelMtls={"8080": {"mode": "PERMISSIVE"}})
    others = peer(shop, "others", "DISABLE", selector={"matchLabels": {"app": "other"}})
    rooted = peer(mesh.root, "web", "DISABLE", selector={"matchLabels": {"app": "web"}})
    cluster.apply(inherits, others, rooted)
    assert (await mesh.result()).status is Status.OK
    cluster.apply(opened)
    await mesh.fails(f"{shop}/web accepts plaintext on port 8080: its portLevelMtls is PERMISSIVE.")
    assert (await mesh.result(strict=False)).status is Status.OK
    assert (await mesh.result(exempt_workloads={f"{shop}/web": "Old."})).status is Status.UNKNOWN  # nothing is left
    cluster.delete(opened, inherits)
    wide = peer(shop, "default", "PERMISSIVE")
    cluster.apply(wide)
    await mesh.fails(f"{shop}/web accepts plaintext: its effective PeerAuthentication is PERMISSIVE.")
    cluster.delete(wide, mesh.strict)
    await mesh.fails("its effective PeerAuthentication is PERMISSIVE")  # none at all
    cluster.apply(mesh.strict)
    cluster.delete(others, rooted)


async def test_pods_without_a_proxy(mesh: Mesh) -> None:
    cluster = mesh.cluster
    native = pod_spec(initContainers=[proxy(restartPolicy="Always")])
    for name, spec, words in (
        ("older", pod_spec(), "was created before its namespace was labelled"),
        ("host", pod_spec(hostNetwork=True), "uses the host's network"),
        ("ended", pod_spec(initContainers=[proxy()]), "has no proxy"),
        ("auto", pod_spec(containers=[container(), container("istio-proxy", image="auto")]), "has no proxy"),
        ("native", native, None),
    ):
        made = mesh.run(name, spec)
        if words is None:
            assert (await mesh.result()).status is Status.OK
        else:
            await mesh.fails(words)
        exempt = await mesh.result(exempt_workloads={f"{mesh.shop}/{name}": "Speaks its own TLS."})
        assert (exempt.status, "Speaks its own TLS" in exempt.summary) == (Status.OK, True)
        cluster.delete(made)
        cluster.wait(
            f"/api/v1/namespaces/{mesh.shop}/pods",
            lambda found, app=name: all(pod["metadata"]["labels"]["app"] != app for pod in found["items"]),
            f"{name} to be gone",
        )
    plain = cluster.namespace("plain", **{"istio-injection": "disabled", "istio.io/rev": "1-26"})
    mesh.run("web", pod_spec(), plain)
    await mesh.fails("is in a namespace that is not labelled for the mesh", plain)


async def test_a_proxy_that_traffic_goes_past_protects_nothing(mesh: Mesh) -> None:
    cluster = mesh.cluster
    for name, annotation, value in (
        ("excluded", "traffic.sidecar.istio.io/excludeInboundPorts", "8080"),
        ("included", "traffic.sidecar.istio.io/includeInboundPorts", "80"),
        ("nothing", "traffic.sidecar.istio.io/includeInboundPorts", ""),
        ("none", "sidecar.istio.io/interceptionMode", "NONE"),
        ("interface", "traffic.sidecar.istio.io/excludeInterfaces", "eth0"),
    ):
        place = cluster.namespace("other", **INJECTED)
        mesh.run(name, meshed(), place, **{annotation: value})
        await mesh.fails(f"of {place}/{name} accepts plaintext past its proxy ({annotation}: {value or 'none'})", place)
        assert (await mesh.result(place, strict=False)).status is Status.OK
    place = cluster.namespace("other", **INJECTED)
    mesh.run("all", meshed(), place, **{"traffic.sidecar.istio.io/includeInboundPorts": "*"})
    assert (await mesh.result(place)).status is Status.OK
    for key, value in (
        ("excludeOutboundPorts", "5432"),
        ("excludeOutboundIPRanges", "10.0.0.0/8"),
        ("includeOutboundIPRanges", ""),
    ):
        place = cluster.namespace("other", **INJECTED)
        mesh.run("calls", meshed(), place, **{f"traffic.sidecar.istio.io/{key}": value})
        result = await mesh.result(place)
        assert (
            result.status,
            f"leave in plaintext past its proxy (traffic.sidecar.istio.io/{key}" in result.summary,
        ) == (
            Status.WARNING,
            True,
        ), result
    place = cluster.namespace("other", **INJECTED)
    mesh.run("host", meshed(hostNetwork=True), place)
    await mesh.fails("redirects nothing: the pod uses the host's network", place)


async def test_a_proxy_that_does_not_run_or_belongs_to_nobody(mesh: Mesh) -> None:
    cluster, place = mesh.cluster, mesh.cluster.namespace("other", **INJECTED)
    mesh.run("web", meshed(), place)
    (found,) = cluster.pods(place)
    waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
    common = {"image": "x", "imageID": "", "ready": False, "restartCount": 9}
    statuses = [
        {"name": "main", **common, "state": {"running": {}}},
        {"name": "istio-proxy", **common, "state": waiting},
    ]
    cluster.patch_status({"apiVersion": "v1", "kind": "Pod", **found}, containerStatuses=statuses)
    await mesh.fails("does not run (CrashLoopBackOff)", place)
    place = cluster.namespace("other", **{"istio.io/rev": "1-25"})
    mesh.run("web", meshed(), place, **{"istio.io/rev": "1-25"})
    assert (await mesh.result(place)).status is Status.OK  # istiod does not say of which revision it is
    (plane,) = cluster.pods(mesh.root, "app=istiod")
    for revision, status in (("1-25", Status.OK), ("1-26", Status.FAILED)):
        labels = {"metadata": {"labels": {"istio.io/rev": revision}}}
        cluster.call("PATCH", cluster.path({"apiVersion": "v1", "kind": "Pod", **plane}), labels, content=MERGE)
        result = await mesh.result(place)
        assert (result.status, "belongs to revision 1-25" in result.summary) == (status, status is Status.FAILED), (
            result
        )
    bare = {"metadata": {"labels": {"istio.io/rev": None}}}
    cluster.call("PATCH", cluster.path({"apiVersion": "v1", "kind": "Pod", **plane}), bare, content=MERGE)


async def test_ambient_pods_are_captured_on_their_node(mesh: Mesh) -> None:
    ambient = mesh.cluster.namespace("ambient", **AMBIENT)
    made = mesh.run("web", pod_spec(), ambient)
    await mesh.fails("istio-cni has not redirected its traffic", ambient)
    mesh.cluster.delete(made)
    mesh.run("api", pod_spec(), ambient, **{"ambient.istio.io/redirection": "enabled"})
    gone = f"/api/v1/namespaces/{ambient}/pods"
    mesh.cluster.wait(gone, lambda found: len(found["items"]) == 1, "the first pod to be gone")
    await mesh.fails("no ztunnel is ready on its node", ambient)
    labels = {"app": "ztunnel"}
    template = {"metadata": {"labels": labels}, "spec": pod_spec()}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    tunnels = manifest("apps/v1", "DaemonSet", "ztunnel", mesh.root, spec=spec)
    mesh.cluster.apply(tunnels)
    mesh.cluster.wait(
        mesh.cluster.path(tunnels), lambda found: found["status"].get("numberReady", 0) >= 3, "ztunnel on every node"
    )
    assert (await mesh.result(ambient)).status is Status.OK
    around = {"ambient.istio.io/redirection": "enabled", "ambient.istio.io/bypass-inbound-capture": "true"}
    mesh.run("around", pod_spec(), ambient, **around)
    await mesh.fails(f"of {ambient}/around accepts plaintext past ztunnel", ambient)
    mesh.cluster.delete(tunnels)


async def test_rules_that_turn_tls_off(mesh: Mesh) -> None:
    shop = mesh.shop
    for host, policy, part in (
        ("web", OFF, "web"),
        (f"web.{shop}", OFF, f"web.{shop}"),
        (f"web.{shop}.svc.cluster.local", {"portLevelSettings": [{"port": {"number": 80}, **OFF}]}, "port 80 of web"),
        ("*.local", OFF, "*.local"),
        (f"*.{shop}.svc.cluster.local", OFF, "*."),
    ):
        made = rule(shop, "plain", host, **policy)
        mesh.cluster.apply(made)
        await mesh.fails(f"DestinationRule {shop}/plain turns TLS off for calls to {part}")
        mesh.cluster.delete(made)
    for host, policy in (
        ("web", {"tls": {"mode": "ISTIO_MUTUAL"}}),
        ("db.example.com", OFF),
        ("*.example.com", OFF),
        ("web.elsewhere", OFF),
    ):
        made = rule(shop, "other", host, **policy)
        mesh.cluster.apply(made)
        assert (await mesh.result()).status is Status.OK, host
        mesh.cluster.delete(made)
    elsewhere = mesh.cluster.namespace("plain")
    host = f"web.{shop}.svc.cluster.local"
    simple = {"trafficPolicy": {"tls": {"mode": "SIMPLE"}}}
    for namespace, spec, status, words in (
        (shop, simple, Status.FAILED, f"lets calls leave the mesh's own TLS to {host} (mode SIMPLE)."),
        (elsewhere, {"trafficPolicy": OFF}, Status.FAILED, "(mode DISABLE)"),
        (elsewhere, {"trafficPolicy": OFF, "exportTo": ["."]}, Status.OK, ""),  # no caller of the mesh follows it
        (elsewhere, {"trafficPolicy": OFF, "exportTo": ["~"]}, Status.OK, ""),
        (elsewhere, {"trafficPolicy": OFF, "exportTo": [shop]}, Status.FAILED, "(mode DISABLE)"),
        (shop, {"trafficPolicy": OFF, "exportTo": ["."]}, Status.FAILED, "(mode DISABLE)"),
    ):
        made = manifest("networking.istio.io/v1", "DestinationRule", "shown", namespace, spec={"host": host, **spec})
        mesh.cluster.apply(made)
        result = await mesh.result()
        assert (result.status, words in result.summary) == (status, True), (spec, result)
        mesh.cluster.delete(made)
    subset = {"host": "web", "subsets": [{"name": "v1", "trafficPolicy": OFF}]}
    made = manifest("networking.istio.io/v1", "DestinationRule", "subset", shop, spec=subset)
    mesh.cluster.apply(made)
    await mesh.fails("calls to subset v1 of web (mode DISABLE)")
    mesh.cluster.delete(made)


@pytest.mark.verifies("network_security.service_mesh_configured", "unknown")
async def test_versions_and_what_is_not_there(mesh: Mesh, control_plane: ControlPlane) -> None:
    other = control_plane.namespace("other", **INJECTED)
    result = await mesh.result(other)
    assert (result.status, "have no running pods" in result.summary) == (Status.UNKNOWN, True), result
    made = mesh.run("web", pod_spec(containers=[container(), proxy("1.24.0")]), other)
    await mesh.fails("is version 1.24, too old for istiod 1.26 (at most 1 minor version older)", other)
    assert (await mesh.result(other, max_minor_skew=2)).status is Status.OK
    mesh.cluster.delete(made)
    mesh.run("api", pod_spec(containers=[container(), proxy("1.27.0-distroless@sha256:" + "a" * 64)]), other)
    await mesh.fails("is version 1.27, newer than istiod 1.26", other)
    reader = control_plane.account()
    assert (await mesh.result(kubeconfig=reader)).status is Status.UNKNOWN
    await mesh.fails("does not exist", mesh.shop, "shop-of-horrors")
    down = merged(mesh.istiod, {"spec": {"replicas": 0}})
    mesh.cluster.apply(down)
    mesh.cluster.wait(f"/api/v1/namespaces/{mesh.root}/pods", lambda found: not found["items"], "istiod to be gone")
    result = await mesh.result()
    assert (result.status, "The cluster has no pod of istiod" in result.summary) == (Status.UNKNOWN, True), result
    mesh.cluster.apply(mesh.istiod)
    mesh.cluster.wait_ready(mesh.istiod)
    (crashing,) = mesh.cluster.pods(mesh.root, "app=istiod")
    mesh.cluster.crash(crashing)
    await mesh.fails("No pod of istiod is ready")
    mesh.cluster.delete({"apiVersion": "v1", "kind": "Pod", **crashing})
    mesh.cluster.wait(
        f"/api/v1/namespaces/{mesh.root}/pods",
        lambda found: all(pod["metadata"]["name"] != crashing["metadata"]["name"] for pod in found["items"]),
        "the crashing pod to be gone",
    )
    mesh.cluster.wait_ready(mesh.istiod)
    found = await verify(NetworkSecurity, NetworkSecuritySettings(), items=(ITEM,), context=make_context(clients={}))
    assert found[ITEM].result.status is Status.UNKNOWN


async def test_without_names_all_that_are_labelled_belong(mesh: Mesh) -> None:
    others = dict.fromkeys(("other-*", "ambient-*", "plain-*", "quiet-*"), "Of other tests.")
    assert (await mesh.result(namespaces=(), exempt_namespaces=others)).status is Status.OK
    await mesh.fails("No namespace is labelled", namespaces=(), exempt_namespaces={**others, f"{mesh.shop}": "All."})
    quiet = mesh.cluster.namespace("quiet", **AMBIENT)
    made = workload(quiet, "web", spec=pod_spec())
    made["spec"]["template"]["metadata"]["labels"]["istio.io/dataplane-mode"] = "none"
    mesh.cluster.apply(made)
    mesh.cluster.wait_ready(made)
    del others["quiet-*"]
    await mesh.fails("opts out of ambient", namespaces=(), exempt_namespaces=others)


def test_the_oldest_of_two_policies_applies() -> None:
    def policy(name: str, mode: str, hour: int) -> PeerAuthentication:
        import msgspec

        metadata = {"name": name, "namespace": "shop", "creationTimestamp": f"2026-10-01T{hour:02}:00:00Z"}
        return msgspec.convert(
            {"metadata": metadata, "spec": {"mtls": {"mode": mode}}}, PeerAuthentication, strict=False
        )

    pod = MeshPod(metadata=type(MeshPod().metadata)(name="web", namespace="shop"))
    policies = [policy("b", "STRICT", 2), policy("a", "PERMISSIVE", 1)]
    assert effective_mode(pod, policies, "istio-system").mode == "PERMISSIVE"
    assert effective_mode(pod, policies[:1], "istio-system").mode == "STRICT"
    assert effective_mode(pod, [], "istio-system").mode == "PERMISSIVE"


@pytest.mark.parametrize(
    "mesh_options", [{"root_namespace": ""}, {"max_minor_skew": -1}, {"exempt_workloads": {"a/b": ""}}]
)
def test_options_that_cannot_be_meant_are_refused(mesh_options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        NetworkSecuritySettings.model_validate({"mesh": mesh_options})
