"""A mesh of Linkerd by its objects, on a real control plane.

With LINKERD_CRDS, a file of Linkerd's own CustomResourceDefinitions, the API server checks objects by these; else by small ones.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from collectors.network_and_security.network_security import NetworkSecurity
from exporter.verdict import Result, Status
from tests.collectors.systems.kubernetes.clusters import Manifest, asking, container, manifest
from tests.servers.certificates import Issued
from tests.servers.kubernetes import ControlPlane, control_plane, definition, is_ready, pod_spec, workload
from tests.support import Run

__all__ = ["control_plane"]

ITEM = "service_mesh_configured"
GROUP = "policy.linkerd.io"
KINDS = {
    "Server": ("servers", "v1beta3"),
    "ServerAuthorization": ("serverauthorizations", "v1beta1"),
    "AuthorizationPolicy": ("authorizationpolicies", "v1alpha1"),
    "MeshTLSAuthentication": ("meshtlsauthentications", "v1alpha1"),
    "NetworkAuthentication": ("networkauthentications", "v1alpha1"),
}
CERTIFICATES = definition("cert-manager.io", "Certificate", "certificates", "v1")
INJECT = "linkerd.io/inject"
CONFIG = "config.linkerd.io/"
COMPONENT = "linkerd.io/control-plane-component"


def definitions() -> list[Manifest]:
    """Linkerd's own where there are some."""
    if file := os.environ.get("LINKERD_CRDS"):
        found = [one for one in yaml.safe_load_all(Path(file).read_text()) if one]
        return [one for one in found if one["spec"]["group"] == GROUP and one["spec"]["names"]["kind"] in KINDS]
    return [definition(GROUP, kind, plural, version) for kind, (plural, version) in KINDS.items()]


def policy(kind: str, name: str, namespace: str, **spec: Any) -> Manifest:
    return manifest(f"{GROUP}/{KINDS[kind][1]}", kind, name, namespace, spec=spec)


def meshed(*, native: bool = False, **more: Any) -> Manifest:
    sidecar = container("linkerd-proxy", image="cr.l5d.io/linkerd/proxy:edge-25.10.1", ports=[{"containerPort": 4143}])
    main = container(ports=[{"containerPort": 8080, "name": "http"}])
    if native:
        return pod_spec(containers=[main], initContainers=[sidecar | {"restartPolicy": "Always"}], **more)
    return pod_spec(containers=[main, sidecar], **more)


def anchors(days: float) -> str:
    return Issued.root(name="root.linkerd.cluster.local", days=days, age=30).pem.decode()


class Linkerd:
    """A mesh with a control plane whose default policy is all-authenticated, and one meshed workload."""

    def __init__(self, cluster: ControlPlane) -> None:
        self.cluster = cluster
        self.place = cluster.namespace("linkerd")
        self.shop = cluster.namespace("shop")
        self.annotate(self.shop, enabled="enabled")
        self.planes = {
            "identity": [],
            "destination": ["--cluster-domain=cluster.local", "--default-policy=all-authenticated"],
            "proxy-injector": [],
        }
        for name, args in self.planes.items():
            made = workload(self.place, name, spec=pod_spec(containers=[container("policy", args=args)]))
            made["spec"]["template"]["metadata"]["labels"][COMPONENT] = name
            made["spec"]["template"]["metadata"]["annotations"] = {"linkerd.io/proxy-version": "edge-25.10.1"}
            cluster.apply(made)
            cluster.wait_ready(made)
        self.trust(400)
        self.run("web", meshed())

    def annotate(self, namespace: str, *, enabled: str | None) -> None:
        about = {"metadata": {"annotations": {INJECT: enabled}}}
        self.cluster.call("PATCH", f"/api/v1/namespaces/{namespace}", about, content="application/merge-patch+json")

    def trust(self, *days: float) -> str:
        bundle = "".join(map(anchors, days))
        name = "linkerd-identity-trust-roots"
        self.cluster.apply({**manifest("v1", "ConfigMap", name, self.place), "data": {"ca-bundle.crt": bundle}})
        return hashlib.sha256(bundle.encode()).hexdigest()

    def run(self, name: str, spec: Manifest, namespace: str = "", **annotations: str) -> Manifest:
        made = workload(namespace or self.shop, name, spec=spec)
        made["spec"]["template"]["metadata"]["annotations"] = annotations
        self.cluster.apply(made)
        self.cluster.wait_ready(made)
        return made

    async def result(self, *namespaces: str, kubeconfig: Path | None = None, **options: Any) -> Result:
        mesh = {"control_plane_namespace": self.place, "namespaces": namespaces or (self.shop,)} | options
        run = Run(NetworkSecurity, [ITEM], settings={"linkerd": mesh}, clients=asking(self.cluster, kubeconfig))
        return (await run.results())[ITEM]

    async def is_(self, status: Status, words: str = "", *namespaces: str, **options: Any) -> None:
        result = await self.result(*namespaces, **options)
        assert (result.status, words in result.summary) == (status, True), result


@pytest.fixture(scope="module")
def linkerd(control_plane: ControlPlane) -> Iterator[Linkerd]:
    with control_plane.defining(*definitions(), CERTIFICATES):
        yield Linkerd(control_plane)


@pytest.mark.verifies("network_security.service_mesh_configured", "ok")
@pytest.mark.verifies("network_security.service_mesh_configured", "failed")
async def test_whom_policies_let_in(linkerd: Linkerd) -> None:
    cluster, shop = linkerd.cluster, linkerd.shop
    result = await linkerd.result()
    told = "whether a plaintext call is refused was not tried, and when the issuer expires is in a Secret."
    assert (result.status, told in result.summary) == (Status.OK, True), result
    labels = {"podSelector": {"matchLabels": {"app": "web"}}}
    server = policy("Server", "web", shop, port="http", **labels)
    on_server = {"targetRef": {"group": GROUP, "kind": "Server", "name": "web"}}
    on_namespace = {"targetRef": {"kind": "Namespace", "name": shop}}
    mesh = {"group": GROUP, "kind": "MeshTLSAuthentication", "name": "all"}
    account = {"kind": "ServiceAccount", "name": "api"}
    network = {"group": GROUP, "kind": "NetworkAuthentication", "name": "cluster"}
    identities = policy("MeshTLSAuthentication", "all", shop, identities=["*"])
    cluster.apply(server, identities)
    opened = f"{shop}/web lets in callers without an identity on port 8080, by {shop}/"
    states: list[tuple[Manifest, Status, str]] = [
        (policy("AuthorizationPolicy", "a", shop, **on_server, requiredAuthenticationRefs=[mesh]), Status.OK, ""),
        (policy("AuthorizationPolicy", "a", shop, **on_server, requiredAuthenticationRefs=[mesh, network]), Status.OK, ""),
        (policy("AuthorizationPolicy", "a", shop, **on_server, requiredAuthenticationRefs=[account]), Status.OK, ""),
        (policy("AuthorizationPolicy", "a", shop, **on_server, requiredAuthenticationRefs=[network]), Status.FAILED, opened),
        (policy("AuthorizationPolicy", "a", shop, **on_server, requiredAuthenticationRefs=[]), Status.FAILED, opened),
        (policy("AuthorizationPolicy", "a", shop, **on_namespace, requiredAuthenticationRefs=[network]), Status.FAILED, opened),
        (policy("AuthorizationPolicy", "a", shop, **on_server, requiredAuthenticationRefs=[mesh | {"name": "gone"}]),
         Status.WARNING, f"is ignored: MeshTLSAuthentication {shop}/gone does not exist."),
        (policy("AuthorizationPolicy", "a", shop, targetRef={"group": GROUP, "kind": "HTTPRoute", "name": "r"},
                requiredAuthenticationRefs=[network]), Status.WARNING, "lets callers without an identity use HTTPRoute r."),
        (policy("ServerAuthorization", "s", shop, server={"name": "web"}, client={"meshTLS": {"identities": ["*"]}}),
         Status.OK, ""),
        (policy("ServerAuthorization", "s", shop, server={"name": "web"}, client={"unauthenticated": True}), Status.FAILED, opened),
        (policy("ServerAuthorization", "s", shop, server={"selector": {"matchLabels": {}}},
                client={"meshTLS": {"unauthenticatedTLS": True}}), Status.FAILED, opened),
        (policy("ServerAuthorization", "s", shop, server={"name": "other"}, client={"unauthenticated": True}), Status.OK, ""),
        (policy("Server", "web", shop, port=8080, accessPolicy="audit", **labels), Status.FAILED, "(accessPolicy audit)"),
        (policy("Server", "web", shop, port=8080, accessPolicy="all-authenticated", **labels), Status.OK, ""),
    ]  # fmt: skip
    for made, status, words in states:
        cluster.apply(made)
        await linkerd.is_(status, words)
        if made["kind"] != "Server":
            cluster.delete(made)
    open_server = policy("Server", "web", shop, port=8080, accessPolicy="all-unauthenticated", **labels)
    cluster.apply(open_server)
    await linkerd.is_(Status.OK, "callers with an identity", strict=False)
    cluster.delete(open_server, identities)


async def test_where_no_server_is_about_a_port_the_default_decides(linkerd: Linkerd) -> None:
    default, place = f"{CONFIG}default-inbound-policy", linkerd.cluster.namespace("other")
    for about, status, words in (
        ({}, Status.OK, ""),
        ({default: "all-unauthenticated"}, Status.FAILED, "the default policy is all-unauthenticated."),
        ({default: "audit"}, Status.FAILED, "the default policy is audit."),
        ({default: "cluster-authenticated"}, Status.OK, ""),
        ({default: "none-at-all"}, Status.OK, ""),  # Linkerd ignores it: the cluster's counts
        ({default: "all-unauthenticated", f"{CONFIG}proxy-require-identity-inbound-ports": "9090,8080"}, Status.OK, ""),
        ({f"{CONFIG}skip-inbound-ports": "8080"}, Status.FAILED, "past its proxy (skip-inbound-ports: 8080)"),
        ({f"{CONFIG}skip-subnets": "10.0.0.0/8"}, Status.FAILED, "past its proxy (skip-subnets: 10.0.0.0/8)"),
        ({f"{CONFIG}disable-identity": "true"}, Status.FAILED, "has no identity (disable-identity)"),
        ({f"{CONFIG}skip-outbound-ports": "5432"}, Status.OK, ""),
    ):
        made = linkerd.run("web", meshed(), place, **about)
        await linkerd.is_(status, words, place)
        linkerd.cluster.delete(made)
        linkerd.cluster.wait(
            f"/api/v1/namespaces/{place}/pods", lambda found: not found["items"], "its pods to be gone"
        )


async def test_pods_without_a_proxy_of_linkerd(linkerd: Linkerd) -> None:
    for name, spec, about, status, words in (
        ("older", pod_spec(), {}, Status.FAILED, "was created before it was annotated"),
        ("host", pod_spec(hostNetwork=True), {}, Status.FAILED, "uses the host's network"),
        ("out", pod_spec(), {INJECT: "disabled"}, Status.FAILED, "opts out of injection"),
        ("native", meshed(native=True), {}, Status.OK, ""),
    ):
        place = linkerd.cluster.namespace("pods")
        linkerd.annotate(place, enabled="enabled")
        linkerd.run(name, spec, place, **about)
        await linkerd.is_(status, words, place)
        await linkerd.is_(Status.UNKNOWN, "", place, exempt_workloads={f"{place}/{name}": "Speaks its own TLS."})
    place = linkerd.cluster.namespace("pods")
    linkerd.run("plain", pod_spec(), place)
    await linkerd.is_(Status.FAILED, "is in a namespace that is not annotated", place)


async def test_identities_expire(linkerd: Linkerd) -> None:
    for bundle, status, words in (
        ((-1,), Status.FAILED, "Linkerd's trust anchor expired on "),
        ((10,), Status.WARNING, "The trust anchor of Linkerd expires on "),
        ((-1, 400), Status.WARNING, "A trust anchor of Linkerd expired on "),
        ((400,), Status.OK, ""),
    ):
        linkerd.trust(*bundle)
        await linkerd.is_(status, words)
    issuer = manifest(
        "cert-manager.io/v1", "Certificate", "issuer", linkerd.place, spec={"secretName": "linkerd-identity-issuer"}
    )
    linkerd.cluster.apply(issuer)
    for ready, days, status, words in (
        ("True", 1, Status.OK, "was not tried."),
        ("False", 1, Status.FAILED, "of Linkerd's issuer is not Ready."),
        ("True", -1, Status.FAILED, "The certificate of Linkerd's issuer expired on "),
    ):
        ends = (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
        linkerd.cluster.patch_status(issuer, notAfter=ends, conditions=[{"type": "Ready", "status": ready}])
        await linkerd.is_(status, words)
    linkerd.cluster.delete(issuer)
    place = linkerd.cluster.namespace("trusting")
    digest = linkerd.trust(400)
    for root, status in ((digest, Status.OK), ("0" * 64, Status.WARNING)):
        made = linkerd.run("web", meshed(), place, **{"linkerd.io/trust-root-sha256": root})
        await linkerd.is_(status, "other trust anchors" if status is Status.WARNING else "", place)
        linkerd.cluster.delete(made)
        linkerd.cluster.wait(
            f"/api/v1/namespaces/{place}/pods", lambda found: not found["items"], "its pods to be gone"
        )
    linkerd.run("web", meshed(), place, **{"linkerd.io/proxy-version": "edge-25.1.1"})
    await linkerd.is_(Status.WARNING, "is version edge-25.1.1, and Linkerd is edge-25.10.1.", place)


@pytest.mark.verifies("network_security.service_mesh_configured", "unknown")
async def test_what_objects_do_not_show(linkerd: Linkerd, control_plane: ControlPlane) -> None:
    await linkerd.is_(Status.UNKNOWN, "have no running pods", control_plane.namespace("empty"))
    rules = [{"apiGroups": ["", GROUP], "resources": ["namespaces", "pods", "servers"], "verbs": ["list", "watch"]}]
    blind = control_plane.account(rules)
    await linkerd.is_(Status.UNKNOWN, "configmaps", kubeconfig=blind)
    (plane,) = control_plane.pods(linkerd.place, f"{COMPONENT}=proxy-injector")
    await linkerd.is_(Status.FAILED, "Linkerd's identity has no pod", control_plane_namespace="default")
    control_plane.crash(plane)
    await linkerd.is_(Status.FAILED, "No pod of Linkerd's proxy-injector is ready.")
    control_plane.delete({"apiVersion": "v1", "kind": "Pod", **plane})
    control_plane.wait(
        f"/api/v1/namespaces/{linkerd.place}/pods",
        lambda found: len(found["items"]) == len(linkerd.planes) and all(map(is_ready, found["items"])),
        "the control plane to be ready again",
    )


async def test_without_linkerd_the_mesh_is_missing(control_plane: ControlPlane) -> None:
    settings = {"linkerd": {"namespaces": [control_plane.namespace("shop")]}}
    run = Run(NetworkSecurity, [ITEM], settings=settings, clients=asking(control_plane))
    result = (await run.results())[ITEM]
    told = "Linkerd is not installed" in result.summary or "Linkerd's identity has no pod" in result.summary
    assert (result.status, told) == (Status.FAILED, True), result  # another test may have defined its kinds
