"""Whether a mesh of Istio is configured so that its workloads accept encrypted traffic alone, by its objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from collectors.shared.verdicts import verdict
from collectors.systems.istio.model import (
    Mesh,
    MeshOptions,
    MeshPod,
    effective_mode,
    version_of,
    versions,
)
from exporter.verdict import Reason, Result, failed, ok, unknown, warning
from exporter.words import counted

__all__ = ["judge_mesh"]


def judge_mesh(mesh: Mesh, options: MeshOptions) -> Result:
    """Whether every workload that should be in the mesh is, and what its proxy accepts."""
    judged = _by_workload(mesh, options)
    members = {name: pods for name, pods in judged.items() if any(_belongs(mesh, pod, options) for pod in pods)}
    proxied = sum(any(pod.proxy or mesh.is_ambient(pod) for pod in pods) for pods in members.values())
    accepted = "mutual TLS alone" if options.strict else "mutual TLS"
    good = ok(
        f"{counted(proxied, 'workload')} of the mesh with a proxy may be reached by {accepted}, as policies say; "
        "whether a plaintext call is refused was not tried.",
        mesh_workloads=proxied,
    )
    return verdict(_problems(mesh, options, members), good)


def _belongs(mesh: Mesh, pod: MeshPod, options: MeshOptions) -> bool:
    if options.namespaces or mesh.is_labelled(pod.namespace):
        return True
    return mesh.is_ambient(pod) or mesh.is_injected(pod) or pod.proxy is not None


def _by_workload(mesh: Mesh, options: MeshOptions) -> dict[str, list[MeshPod]]:
    """The running pods of the namespaces that are judged, by their workloads; not those of Istio itself."""
    found: dict[str, list[MeshPod]] = {}
    for pod in mesh.pods:
        if pod.namespace not in mesh.namespaces or pod.namespace == options.root_namespace or not pod.runs:
            continue
        if pod.workload not in options.exempt_workloads:
            found.setdefault(pod.workload, []).append(pod)
    return found


def _problems(mesh: Mesh, options: MeshOptions, members: dict[str, list[MeshPod]]) -> Iterator[Result]:
    planes = mesh.control_planes()
    if not planes and any(map(mesh.is_control_plane, mesh.pods)):
        yield failed("No pod of istiod is ready, so proxies get neither certificates nor policies.", reason=Reason.DOWN)
    elif not planes:
        yield unknown("The cluster has no pod of istiod: whether a control plane outside of it works was not checked.")
    if not options.namespaces and not any(map(mesh.is_labelled, mesh.namespaces)) and not members:
        yield failed("No namespace is labelled for the mesh, so no pod belongs to it.", reason=Reason.MISCONFIGURED)
    elif not members:
        yield unknown("The namespaces of the mesh have no running pods, so nothing was checked.")
    covered = mesh.covered_nodes()
    for name, pods in sorted(members.items()):
        yield from _outside(mesh, name, pods, covered)
    for name, pods in sorted(members.items()):
        yield from _broken(mesh, options, name, pods)
    for name, pods in sorted(members.items()):
        inside = [pod for pod in pods if pod.proxy is not None or mesh.is_ambient(pod)]
        yield from _accepted(mesh, options, name, inside)
    yield from _plaintext_callers(mesh, options)
    for name, pods in sorted(members.items()):
        leaving = next((pod for pod in pods if pod.proxy is not None and pod.leaves), None)
        if leaving is not None:
            yield warning(
                f"Calls of pod {leaving.path} of {name} leave in plaintext past its proxy ({leaving.leaves})."
            )
    for name, pods in sorted(members.items()):
        yield from _skewed(options, name, pods, planes)


def _outside(mesh: Mesh, name: str, pods: Sequence[MeshPod], covered: set[str]) -> Iterator[Result]:
    """Pods whose traffic does not go through a proxy, though they are of the mesh."""
    for pod in pods:
        if pod.proxy is not None:
            continue
        if mesh.is_ambient(pod):
            why = _not_captured(pod, covered)
        elif pod.spec.host_network:
            why = "uses the host's network, where none is injected"
        elif pod.opts_out:
            why = "opts out of injection (sidecar.istio.io/inject)"
        elif mesh.is_injected(pod):
            why = "was created before its namespace was labelled, or while injection failed"
        elif mesh.is_labelled(pod.namespace):
            why = "opts out of ambient (istio.io/dataplane-mode)"
        else:
            why = "is in a namespace that is not labelled for the mesh"
        if why:
            yield failed(f"Pod {pod.path} of {name} has no proxy: it {why}.", reason=Reason.MISSING)
            return


def _not_captured(pod: MeshPod, covered: set[str]) -> str:
    if pod.spec.host_network:
        return "uses the host's network, which ztunnel does not capture"
    if pod.metadata.annotations.get("ambient.istio.io/redirection") != "enabled":
        return "is ambient, but istio-cni has not redirected its traffic to ztunnel"
    if pod.spec.node_name not in covered:
        return f"is ambient, but no ztunnel is ready on its node {pod.spec.node_name}"
    return ""


def _broken(mesh: Mesh, options: MeshOptions, name: str, pods: Sequence[MeshPod]) -> Iterator[Result]:
    """Proxies that do not run, that traffic does not go through, or that nobody gives certificates to any more."""
    for pod in pods:
        if options.strict and mesh.is_ambient(pod) and pod.is_reached_around:
            yield failed(
                f"Pod {pod.path} of {name} accepts plaintext past ztunnel (ambient.istio.io/bypass-inbound-capture).",
                reason=Reason.MISCONFIGURED,
            )
            return
        if pod.proxy is None:
            continue
        if pod.proxy_waits:
            yield failed(f"The proxy of pod {pod.path} does not run ({pod.proxy_waits}).", reason=Reason.DOWN)
            return
        if pod.spec.host_network:
            yield failed(
                f"The proxy of pod {pod.path} redirects nothing: the pod uses the host's network.",
                reason=Reason.MISSING,
            )
            return
        if options.strict and pod.bypasses:
            yield failed(
                f"Pod {pod.path} of {name} accepts plaintext past its proxy ({pod.bypasses}).",
                reason=Reason.MISCONFIGURED,
            )
            return
        if not mesh.has_revision(pod):
            yield failed(
                f"The proxy of pod {pod.path} belongs to revision {pod.revision}, of which no istiod is ready.",
                reason=Reason.DOWN,
            )
            return


def _accepted(mesh: Mesh, options: MeshOptions, name: str, pods: Sequence[MeshPod]) -> Iterator[Result]:
    """What proxies accept besides mutual TLS."""
    allowed = {"STRICT"} if options.strict else {"STRICT", "PERMISSIVE"}
    for pod in pods:
        found = effective_mode(pod, mesh.policies, options.root_namespace)
        open_ports = {port: mode for port, mode in found.ports.items() if mode not in allowed}
        if found.mode not in allowed:
            yield failed(
                f"{name} accepts plaintext: its effective PeerAuthentication is {found.mode}.",
                reason=Reason.MISCONFIGURED,
            )
            return
        if open_ports:
            port, mode = min(open_ports.items())
            yield failed(
                f"{name} accepts plaintext on port {port}: its portLevelMtls is {mode}.", reason=Reason.MISCONFIGURED
            )
            return


def _plaintext_callers(mesh: Mesh, options: MeshOptions) -> Iterator[Result]:
    for rule in mesh.rules:
        target = _target(mesh, rule.host, rule.namespace)
        if target is None or target in options.exempt_workloads or not rule.is_seen_from(mesh.namespaces):
            continue
        for part, mode in rule.unmeshed:
            where = f"{part} of {rule.host}" if part else rule.host
            what = "turns TLS off for calls" if mode == "DISABLE" else "lets calls leave the mesh's own TLS"
            yield failed(f"DestinationRule {rule.path} {what} to {where} (mode {mode}).", reason=Reason.MISCONFIGURED)


def _target(mesh: Mesh, host: str, namespace: str) -> str | None:
    """`namespace/service` of a host in a namespace that is judged, or the pattern that covers some; None for all others."""
    if host.startswith("*"):
        suffix = host.removeprefix("*")
        names = (f".{one}.svc.cluster.local" for one in mesh.namespaces)
        return host if any(name.endswith(suffix) or suffix.endswith(name) for name in names) else None
    service, _, rest = host.partition(".")
    place, _, domain = rest.partition(".")
    if not rest:
        place = namespace
    elif domain and domain != "svc" and not domain.startswith("svc."):
        return None
    return f"{place}/{service}" if place in mesh.namespaces else None


def _skewed(options: MeshOptions, name: str, pods: Sequence[MeshPod], planes: Sequence[MeshPod]) -> Iterator[Result]:
    """Proxies whose version fits that of no control plane that they may belong to."""
    for pod in pods:
        version = version_of(pod.proxy)
        own = [plane for plane in planes if pod.revision and plane.metadata.labels.get("istio.io/rev") == pod.revision]
        served = versions(own or planes)
        if version is None or not served:
            continue
        if not any(
            plane.major == version.major and 0 <= plane.minor - version.minor <= options.max_minor_skew
            for plane in served
        ):
            newest = max(served)
            kind = "newer than" if version > newest else "too old for"
            yield failed(
                f"The proxy of {name} is version {version}, {kind} istiod {newest} "
                f"(at most {counted(options.max_minor_skew, 'minor version')} older).",
                reason=Reason.LIMIT,
            )
            return
