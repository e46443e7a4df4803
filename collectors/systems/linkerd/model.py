"""What Linkerd's objects mean: which pods belong to the mesh, and whom their proxies let in."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from cryptography import x509
from pydantic import Field

from collectors.systems.kubernetes.model.base import Condition, Struct
from collectors.systems.kubernetes.model.kind import Kind
from collectors.systems.kubernetes.model.objects import Selector
from collectors.systems.kubernetes.model.scope import Scope
from collectors.systems.kubernetes.model.selectors import matches
from collectors.systems.kubernetes.model.whole_pods import Container, ContainerPort, Object, Pod

__all__ = [
    "AUTHORIZATION_POLICIES",
    "ISSUER_CERTIFICATES",
    "LINKERD_NAMESPACES",
    "LINKERD_PODS",
    "MESH_TLS_AUTHENTICATIONS",
    "SERVERS",
    "SERVER_AUTHORIZATIONS",
    "TRUST_ROOTS",
    "TRUST_ROOTS_NAME",
    "AuthorizationPolicy",
    "IssuerCertificate",
    "LinkerdMesh",
    "LinkerdOptions",
    "LinkerdPod",
    "Server",
    "ServerAuthorization",
    "TrustRoots",
    "is_open",
]

_INJECT = "linkerd.io/inject"
_CONFIG = "config.linkerd.io/"
_PROXY = "linkerd-proxy"
_INJECTED = ("enabled", "ingress")
_GROUP = "policy.linkerd.io"
_POLICIES = {
    "all-unauthenticated": True,
    "cluster-unauthenticated": True,
    "audit": True,
    "all-authenticated": False,
    "cluster-authenticated": False,
    "deny": False,
}
"""Which default policies let in whoever has no identity. `audit` lets everybody in, and writes it down."""
_DEFAULT = "--default-policy="
TRUST_ROOTS_NAME = "linkerd-identity-trust-roots"


class LinkerdOptions(Scope):
    """The mesh of Linkerd, and which namespaces belong to it: those that are annotated for it, if `namespaces` names none."""

    control_plane_namespace: str = Field(
        "linkerd", min_length=1, description="The namespace of Linkerd's control plane."
    )
    strict: bool = Field(True, description="Whether every port has to refuse callers without an identity.")
    min_trust_days: int = Field(
        30,
        ge=0,
        description="For how many days the trust anchors, which nothing renews by itself, have to be valid at least.",
    )


class _ArgContainer(Container, frozen=True):
    args: tuple[str, ...] = ()


class _Spec(Struct, frozen=True):
    containers: tuple[_ArgContainer, ...] = ()
    init_containers: tuple[Container, ...] = ()
    host_network: bool = False
    node_name: str = ""


class LinkerdPod(Pod, frozen=True):
    """A pod, as far as a mesh of Linkerd is concerned."""

    spec: _Spec = _Spec()  # type: ignore[assignment]  # with the arguments of containers

    @property
    def proxy(self) -> Container | None:
        """Its sidecar: a container, or an init container that keeps running."""
        return next((found for found in self.lasting if found.name == _PROXY), None)

    @property
    def proxy_waits(self) -> str:
        """Why its proxy does not run though it was tried; empty where it runs or begins."""
        return self.waits(_PROXY)

    @property
    def opts_out(self) -> bool:
        """Whether it says itself that it wants no proxy."""
        return self.metadata.annotations.get(_INJECT) == "disabled"

    @property
    def opts_in(self) -> bool:
        """Whether it says itself that it wants one."""
        return self.metadata.annotations.get(_INJECT) in _INJECTED

    @property
    def skipped(self) -> str:
        """Which annotation lets incoming traffic past its proxy, by port or by sender, and its value; empty where none does."""
        for key in ("skip-inbound-ports", "skip-subnets"):
            if value := self.metadata.annotations.get(f"{_CONFIG}{key}", "").strip():
                return f"{key}: {value}"
        return ""

    @property
    def is_nobody(self) -> bool:
        """Whether its proxy has no identity, as older versions of Linkerd could be asked for, so that nothing is encrypted."""
        return self.metadata.annotations.get(f"{_CONFIG}disable-identity", "") == "true"

    @property
    def demanding(self) -> frozenset[str]:
        """The ports on which its proxy wants an identity, whatever policies say."""
        written = self.metadata.annotations.get(f"{_CONFIG}proxy-require-identity-inbound-ports", "")
        return frozenset(part.strip() for part in written.split(",") if part.strip())

    @property
    def policy(self) -> str:
        """The default policy of its ports that it asks for; empty for the cluster's. Linkerd ignores what it does not know."""
        found = self.metadata.annotations.get(f"{_CONFIG}default-inbound-policy", "")
        return found if found in _POLICIES else ""

    @property
    def ports(self) -> list[ContainerPort]:
        """The ports that its containers declare, without those of the proxy itself."""
        return [port for one in self.lasting if one.name != _PROXY for port in one.ports or ()]

    @property
    def component(self) -> str:
        """Which part of Linkerd's control plane it is."""
        return self.metadata.labels.get("linkerd.io/control-plane-component", "")

    @property
    def proxy_version(self) -> str:
        """The version of its proxy, as injection wrote it down."""
        return self.metadata.annotations.get("linkerd.io/proxy-version", "")

    @property
    def trust_root(self) -> str:
        """The digest of the trust anchors with which it was injected."""
        return self.metadata.annotations.get("linkerd.io/trust-root-sha256", "")


def _compact() -> Callable[[Iterable[LinkerdPod]], Iterable[LinkerdPod]]:
    """Of arguments, only the default policy is kept."""
    return lambda page: map(_kept, page)


def _kept(pod: LinkerdPod) -> LinkerdPod:
    containers = tuple(
        msgspec.structs.replace(one, args=tuple(word for word in one.args if word.startswith(_DEFAULT)))
        for one in pod.spec.containers
    )
    return msgspec.structs.replace(pod, spec=msgspec.structs.replace(pod.spec, containers=containers))


class _ServerSpec(Struct, frozen=True):
    port: int | str = 0
    pod_selector: Selector | None = None
    access_policy: str = "deny"


class Server(Object, frozen=True):
    """A port of pods that policies are about."""

    spec: _ServerSpec = _ServerSpec()

    def covers(self, pod: LinkerdPod, port: ContainerPort) -> bool:
        """Whether it is about this port of this pod."""
        if pod.namespace != self.namespace or self.spec.pod_selector is None:
            return False
        named = self.spec.port in (port.container_port, str(port.container_port)) or self.spec.port == port.name != ""
        return named and matches(self.spec.pod_selector, pod.metadata.labels)


class _ServerRef(Struct, frozen=True):
    name: str = ""
    selector: Selector | None = None


class _MeshTls(Struct, frozen=True):
    unauthenticated_tls: bool = msgspec.field(default=False, name="unauthenticatedTLS")


class _Client(Struct, frozen=True):
    unauthenticated: bool = False
    mesh_tls: _MeshTls | None = msgspec.field(default=None, name="meshTLS")


class _ServerAuthorizationSpec(Struct, frozen=True):
    server: _ServerRef = _ServerRef()
    client: _Client = _Client()


class ServerAuthorization(Object, frozen=True):
    """Whom Servers let in, in Linkerd's older form."""

    spec: _ServerAuthorizationSpec = _ServerAuthorizationSpec()

    def is_for(self, server: Server) -> bool:
        """Whether it is about this Server."""
        ref = self.spec.server
        if server.namespace != self.namespace:
            return False
        return ref.name == server.metadata.name if ref.name else matches(ref.selector, server.metadata.labels)

    @property
    def is_open(self) -> bool:
        """Whether it lets in callers without an identity."""
        client = self.spec.client
        return client.unauthenticated or (client.mesh_tls is not None and client.mesh_tls.unauthenticated_tls)


class _Ref(Struct, frozen=True):
    kind: str = ""
    name: str = ""
    namespace: str = ""


class _PolicySpec(Struct, frozen=True):
    target_ref: _Ref = _Ref()
    required_authentication_refs: tuple[_Ref, ...] = ()


class AuthorizationPolicy(Object, frozen=True):
    """Whom a Server, a route or all Servers of a namespace let in."""

    spec: _PolicySpec = _PolicySpec()

    def is_for(self, server: Server) -> bool:
        """Whether it is about this Server."""
        target = self.spec.target_ref
        if server.namespace != self.namespace:
            return False
        return target.kind == "Namespace" or (target.kind, target.name) == ("Server", server.metadata.name)

    @property
    def is_open(self) -> bool:
        """Whether it lets in callers without an identity: only networks, or nothing at all, is demanded of them."""
        return not any(
            ref.kind in ("MeshTLSAuthentication", "ServiceAccount") for ref in self.spec.required_authentication_refs
        )

    @property
    def identities(self) -> Iterator[tuple[str, str]]:
        """The MeshTLSAuthentications that it refers to, by namespace and name."""
        for ref in self.spec.required_authentication_refs:
            if ref.kind == "MeshTLSAuthentication":
                yield ref.namespace or self.namespace, ref.name


class TrustRoots(Object, frozen=True):
    """The certificates of the authorities that proxies trust."""

    data: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def bundle(self) -> str:
        """The certificates, as PEM."""
        return self.data.get("ca-bundle.crt", "")

    @property
    def digest(self) -> str:
        """As pods are annotated with it."""
        return hashlib.sha256(self.bundle.encode()).hexdigest()

    def expiries(self) -> list[datetime]:
        """When each of them expires; none where that cannot be read."""
        try:
            return [one.not_valid_after_utc for one in x509.load_pem_x509_certificates(self.bundle.encode())]
        except ValueError:
            return []


class _IssuerSpec(Struct, frozen=True):
    secret_name: str = ""


class _IssuerStatus(Struct, frozen=True):
    not_after: datetime | None = None
    conditions: tuple[Condition, ...] = ()


class IssuerCertificate(Object, frozen=True):
    """A certificate of cert-manager, which may be that of Linkerd's issuer."""

    spec: _IssuerSpec = _IssuerSpec()
    status: _IssuerStatus = _IssuerStatus()


LINKERD_PODS: Kind[LinkerdPod] = Kind("pods", LinkerdPod, compact=_compact)
LINKERD_NAMESPACES: Kind[Object] = Kind("namespaces", Object, namespaced=False)
SERVERS: tuple[Kind[Server], ...] = tuple(
    Kind("servers", Server, _GROUP, version) for version in ("v1beta3", "v1beta2", "v1beta1")
)
SERVER_AUTHORIZATIONS: Kind[ServerAuthorization] = Kind("serverauthorizations", ServerAuthorization, _GROUP, "v1beta1")
AUTHORIZATION_POLICIES: Kind[AuthorizationPolicy] = Kind(
    "authorizationpolicies", AuthorizationPolicy, _GROUP, "v1alpha1"
)
MESH_TLS_AUTHENTICATIONS: Kind[Object] = Kind("meshtlsauthentications", Object, _GROUP, "v1alpha1")
TRUST_ROOTS: Kind[TrustRoots] = Kind("configmaps", TrustRoots)
ISSUER_CERTIFICATES: Kind[IssuerCertificate] = Kind("certificates", IssuerCertificate, "cert-manager.io")


def is_open(policy: str) -> bool:
    """Whether a default policy, or that of a Server, lets in callers without an identity."""
    return _POLICIES.get(policy, False)


@dataclass(frozen=True, slots=True)
class LinkerdMesh:
    """The annotations of each namespace that is judged, and objects of the entire cluster."""

    namespaces: Mapping[str, Mapping[str, str]]
    pods: Sequence[LinkerdPod]
    servers: Sequence[Server]
    authorizations: Sequence[ServerAuthorization]
    policies: Sequence[AuthorizationPolicy]
    identities: frozenset[tuple[str, str]]
    trust: TrustRoots | None
    issuers: Sequence[IssuerCertificate] | None
    now: datetime

    def planes(self, namespace: str, component: str) -> list[LinkerdPod]:
        """The running pods of a part of the control plane."""
        return [pod for pod in self.pods if pod.namespace == namespace and pod.component == component and pod.runs]

    def default_policy(self, namespace: str) -> str | None:
        """The default policy of the cluster, as its policy controller was started; None where that is not shown."""
        found: list[Any] = [
            word.removeprefix(_DEFAULT)
            for pod in self.planes(namespace, "destination")
            for container in pod.spec.containers
            for word in container.args
        ]
        return found[0] if found else None

    def is_annotated(self, namespace: str) -> bool:
        """Whether the namespace is annotated for injection."""
        return self.namespaces[namespace].get(_INJECT) in _INJECTED

    def server(self, pod: LinkerdPod, port: ContainerPort) -> Server | None:
        """The Server that decides about a port of a pod: the oldest of those that are about it."""
        found = [one for one in self.servers if one.covers(pod, port)]
        return min(found, key=lambda one: one.age_order, default=None)
