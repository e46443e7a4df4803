"""What Istio's objects mean: which pods belong to the mesh, and which TLS their proxies accept."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
from pydantic import Field

from collectors.systems.kubernetes.model.base import Struct
from collectors.systems.kubernetes.model.kind import Kind
from collectors.systems.kubernetes.model.scope import Scope
from collectors.systems.kubernetes.model.whole_pods import Container, Object, Pod

__all__ = [
    "DESTINATION_RULES",
    "MESH_PODS",
    "PEER_AUTHENTICATIONS",
    "DestinationRule",
    "Mesh",
    "MeshOptions",
    "MeshPod",
    "Mode",
    "PeerAuthentication",
    "Version",
    "effective_mode",
    "version_of",
    "versions",
]

PERMISSIVE, UNSET = "PERMISSIVE", "UNSET"
_PROXY = "istio-proxy"
_TRAFFIC = "traffic.sidecar.istio.io/"
_TAG = re.compile(r":v?(\d+)\.(\d+)[^/]*$")


class MeshOptions(Scope):
    """The mesh of Istio, and which namespaces belong to it: those that are labelled for it, if `namespaces` names none."""

    root_namespace: str = Field(
        "istio-system", min_length=1, description="Istio's root namespace, whose policies apply to the entire mesh."
    )
    strict: bool = Field(True, description="Whether every port has to refuse plaintext (STRICT).")
    max_minor_skew: int = Field(
        1, ge=0, description="How many minor versions a proxy may be older than the control plane."
    )


class Version(NamedTuple):
    """Major and minor version."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


class MeshPod(Pod, frozen=True):
    """A pod, as far as a mesh of Istio is concerned."""

    @property
    def proxy(self) -> Container | None:
        """Its sidecar: a container, or an init container that keeps running. `auto` is an image that injection replaces."""
        for found in self.lasting:
            if found.name == _PROXY and found.image != "auto":
                return found
        return None

    @property
    def revision(self) -> str | None:
        """The control plane that it belongs to; None where it does not say."""
        return self.metadata.annotations.get("istio.io/rev") or self.metadata.labels.get("istio.io/rev")

    @property
    def proxy_waits(self) -> str:
        """Why its proxy does not run though it was tried: the reason, such as CrashLoopBackOff; empty where it runs or begins."""
        return self.waits(_PROXY)

    @property
    def bypasses(self) -> str:
        """Which annotation lets incoming traffic past its proxy, and its value; empty where none does."""
        about = self.metadata.annotations
        if about.get("sidecar.istio.io/interceptionMode", "").upper() == "NONE":
            return "sidecar.istio.io/interceptionMode: NONE"
        if interfaces := about.get(f"{_TRAFFIC}excludeInterfaces", "").strip():
            return f"{_TRAFFIC}excludeInterfaces: {interfaces}"
        for key in (f"{_TRAFFIC}excludeInboundPorts", f"{_TRAFFIC}includeInboundPorts"):
            value = about.get(key, "*" if "include" in key else "").strip()
            if value not in ("", "*") or ("include" in key and not value):
                return f"{key}: {value or 'none'}"
        return ""

    @property
    def is_reached_around(self) -> bool:
        """Whether an annotation keeps incoming traffic of an ambient pod from ztunnel."""
        return self.metadata.annotations.get("ambient.istio.io/bypass-inbound-capture", "").lower() == "true"

    @property
    def leaves(self) -> str:
        """Which annotation lets outgoing traffic past its proxy, and its value; empty where none does."""
        about = self.metadata.annotations
        for key in (f"{_TRAFFIC}excludeOutboundIPRanges", f"{_TRAFFIC}excludeOutboundPorts"):
            if value := about.get(key, "").strip():
                return f"{key}: {value}"
        value = about.get(f"{_TRAFFIC}includeOutboundIPRanges", "*").strip()
        return "" if value == "*" else f"{_TRAFFIC}includeOutboundIPRanges: {value or 'none'}"

    @property
    def opts_out(self) -> bool:
        """Whether it says itself that it wants no sidecar: by label, or by annotation as in the past."""
        key = "sidecar.istio.io/inject"
        return "false" in (self.metadata.labels.get(key), self.metadata.annotations.get(key))


class _Selector(Struct, frozen=True):
    match_labels: dict[str, str] = msgspec.field(default_factory=dict)


class _Mtls(Struct, frozen=True):
    mode: str = UNSET


class _PeerSpec(Struct, frozen=True):
    selector: _Selector | None = None
    mtls: _Mtls | None = None
    port_level_mtls: dict[str, _Mtls] = msgspec.field(default_factory=dict)


class PeerAuthentication(Object, frozen=True):
    """Which TLS proxies accept: of the mesh, of a namespace, or of the pods that it selects."""

    spec: _PeerSpec = _PeerSpec()

    @property
    def mode(self) -> str:
        """`UNSET` inherits."""
        return self.spec.mtls.mode if self.spec.mtls else UNSET

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels of the pods that it selects; none for all."""
        return self.spec.selector.match_labels if self.spec.selector else {}


class DestinationRule(Object, frozen=True):
    """How callers connect to a host."""

    spec: dict[str, Any] = msgspec.field(default_factory=dict)

    @property
    def host(self) -> str:
        """The host, as it is written."""
        return str(self.spec.get("host", ""))

    def is_seen_from(self, namespaces: Collection[str]) -> bool:
        """Whether callers in one of these namespaces follow it: `exportTo` may keep it to its own one, to others, or to none."""
        shown = self.spec.get("exportTo") or ["*"]
        return "*" in shown or any(
            place in namespaces for place in (self.namespace if one == "." else one for one in shown)
        )

    @property
    def unmeshed(self) -> Iterator[tuple[str, str]]:
        """Where callers leave the mesh's own TLS, and by which mode: `""` for all of the host, else which port or subset."""
        yield from _unmeshed(self.spec.get("trafficPolicy"), "")
        for subset in self.spec.get("subsets") or ():
            yield from _unmeshed(subset.get("trafficPolicy"), f"subset {subset.get('name', '')}")


_OF_ITS_OWN = ("DISABLE", "SIMPLE", "MUTUAL")


def _unmeshed(policy: Mapping[str, Any] | None, part: str) -> Iterator[tuple[str, str]]:
    if not policy:
        return
    if (mode := (policy.get("tls") or {}).get("mode")) in _OF_ITS_OWN:
        yield part, mode
    for port in policy.get("portLevelSettings") or ():
        if (mode := (port.get("tls") or {}).get("mode")) in _OF_ITS_OWN:
            number = f"port {(port.get('port') or {}).get('number', '')}"
            yield (f"{number} of {part}" if part else number), mode


MESH_PODS: Kind[MeshPod] = Kind("pods", MeshPod)
PEER_AUTHENTICATIONS: tuple[Kind[PeerAuthentication], ...] = tuple(
    Kind("peerauthentications", PeerAuthentication, "security.istio.io", version) for version in ("v1", "v1beta1")
)
DESTINATION_RULES: tuple[Kind[DestinationRule], ...] = tuple(
    Kind("destinationrules", DestinationRule, "networking.istio.io", version)
    for version in ("v1", "v1beta1", "v1alpha3")
)


class Mode(NamedTuple):
    """What a pod's proxy accepts: on all ports, and on those that differ."""

    mode: str
    ports: Mapping[str, str]


def effective_mode(pod: MeshPod, policies: Sequence[PeerAuthentication], root: str) -> Mode:
    """The mode that applies to a pod, as Istio composes it: root namespace, then namespace, then selector; the oldest of each.

    `UNSET` inherits, and none at all is `PERMISSIVE`. A policy with a selector in the root namespace applies to nothing.
    """
    oldest = sorted(policies, key=lambda policy: policy.age_order)
    mesh = next((one for one in oldest if one.namespace == root and not one.labels), None)
    namespace = next(
        (one for one in oldest if one.namespace == pod.namespace and one.namespace != root and not one.labels), None
    )
    own = next(
        (
            one
            for one in oldest
            if one.namespace == pod.namespace
            and one.namespace != root
            and one.labels
            and one.labels.items() <= pod.metadata.labels.items()
        ),
        None,
    )
    mode = PERMISSIVE
    for policy in (mesh, namespace, own):
        if policy is not None and policy.mode != UNSET:
            mode = policy.mode
    ports = own.spec.port_level_mtls if own else {}
    return Mode(mode, {port: found.mode for port, found in ports.items() if found.mode not in (UNSET, mode)})


def version_of(container: Container | None) -> Version | None:
    """The version that the tag of an image says; None where it has a digest, or a name, alone."""
    found = _TAG.search(container.image.partition("@")[0]) if container else None
    return Version(int(found[1]), int(found[2])) if found else None


@dataclass(frozen=True, slots=True)
class Mesh:
    """The labels of each namespace that is judged, and objects of the entire cluster."""

    namespaces: Mapping[str, Mapping[str, str]]
    pods: Sequence[MeshPod]
    policies: Sequence[PeerAuthentication]
    rules: Sequence[DestinationRule]

    @staticmethod
    def is_control_plane(pod: MeshPod) -> bool:
        """Whether it is a pod of istiod."""
        return pod.metadata.labels.get("app") == "istiod" and pod.runs

    def control_planes(self) -> list[MeshPod]:
        """The pods of istiod that are ready."""
        return [pod for pod in self.pods if self.is_control_plane(pod) and pod.is_ready]

    def has_revision(self, pod: MeshPod) -> bool:
        """Whether a ready control plane is of the revision that injected a pod; true where one of them does not say its own."""
        own = pod.metadata.annotations.get("istio.io/rev")
        revisions = [plane.metadata.labels.get("istio.io/rev") for plane in self.control_planes()]
        return own is None or None in revisions or own in revisions or not revisions

    def covered_nodes(self) -> set[str]:
        """The nodes on which ztunnel is ready."""
        return {pod.spec.node_name for pod in self.pods if pod.metadata.labels.get("app") == "ztunnel" and pod.is_ready}

    def is_ambient(self, pod: MeshPod) -> bool:
        """Whether its traffic is to go through ztunnel: its own label outweighs that of its namespace."""
        key = "istio.io/dataplane-mode"
        return pod.metadata.labels.get(key, self.namespaces[pod.namespace].get(key)) == "ambient"

    def is_injected(self, pod: MeshPod) -> bool:
        """Whether it is to have a sidecar: by the namespace's labels, of which istio-injection counts first, else by its own."""
        labels, own = self.namespaces[pod.namespace], pod.metadata.labels
        if "istio-injection" in labels:
            return labels["istio-injection"] == "enabled"
        return "istio.io/rev" in labels or own.get("sidecar.istio.io/inject") == "true" or "istio.io/rev" in own

    def is_labelled(self, namespace: str) -> bool:
        """Whether the namespace is labelled for the mesh, by sidecars or ambient."""
        labels = self.namespaces[namespace]
        if labels.get("istio.io/dataplane-mode") == "ambient" or labels.get("istio-injection") == "enabled":
            return True
        return "istio-injection" not in labels and "istio.io/rev" in labels


def versions(pods: Iterable[MeshPod]) -> set[Version]:
    """The versions of control planes, where their images say them."""
    found = (version_of(next(iter(pod.spec.containers), None)) for pod in pods)
    return {version for version in found if version is not None}
