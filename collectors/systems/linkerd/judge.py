"""Whether a mesh of Linkerd is configured so that its workloads let in callers with an identity alone, by its objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from collectors.shared.verdicts import verdict
from collectors.systems.linkerd.model import LinkerdMesh, LinkerdOptions, LinkerdPod, is_open
from exporter.verdict import Reason, Result, failed, ok, unknown, warning
from exporter.words import counted

__all__ = ["judge_linkerd"]

_COMPONENTS = ("identity", "destination", "proxy-injector")
Members = dict[str, list[LinkerdPod]]


def judge_linkerd(mesh: LinkerdMesh, options: LinkerdOptions) -> Result:
    """Whether every workload that should be in the mesh is, and whom its proxy lets in."""
    members: Members = {}
    for pod in mesh.pods:
        if pod.namespace not in mesh.namespaces or pod.namespace == options.control_plane_namespace or not pod.runs:
            continue
        if pod.workload not in options.exempt_workloads and _belongs(mesh, pod, options):
            members.setdefault(pod.workload, []).append(pod)
    proxied = sum(any(pod.proxy for pod in pods) for pods in members.values())
    admitted = "callers with an identity alone" if options.strict else "callers with an identity"
    unread = "" if _issuer_known(mesh, options) else ", and when the issuer expires is in a Secret"
    good = ok(
        f"{counted(proxied, 'workload')} of Linkerd's mesh with a proxy may be reached by {admitted}, as policies say; whether a "
        f"plaintext call is refused was not tried{unread}.",
        mesh_workloads=proxied,
    )
    return verdict(_problems(mesh, options, members), good)


def _belongs(mesh: LinkerdMesh, pod: LinkerdPod, options: LinkerdOptions) -> bool:
    return bool(options.namespaces) or mesh.is_annotated(pod.namespace) or pod.opts_in or pod.proxy is not None


def _problems(mesh: LinkerdMesh, options: LinkerdOptions, members: Members) -> Iterator[Result]:
    yield from _control_plane(mesh, options)
    if not members:
        yield unknown("The namespaces of Linkerd's mesh have no running pods, so nothing was checked.")
    for name, pods in sorted(members.items()):
        yield from _outside(mesh, name, pods)
    for name, pods in sorted(members.items()):
        yield from _broken(options, name, pods)
    if options.strict:
        for name, pods in sorted(members.items()):
            yield from _admitted(mesh, options, name, pods)
    yield from _identity(mesh, options)
    yield from _trusting(mesh, members)
    yield from _dangling(mesh)
    yield from _skewed(mesh, options, members)


def _control_plane(mesh: LinkerdMesh, options: LinkerdOptions) -> Iterator[Result]:
    for component in _COMPONENTS:
        pods = mesh.planes(options.control_plane_namespace, component)
        if not pods:
            yield failed(
                f"Linkerd's {component} has no pod in namespace {options.control_plane_namespace}.", reason=Reason.DOWN
            )
        elif not any(pod.is_ready for pod in pods):
            yield failed(f"No pod of Linkerd's {component} is ready.", reason=Reason.DOWN)


def _outside(mesh: LinkerdMesh, name: str, pods: Sequence[LinkerdPod]) -> Iterator[Result]:
    """Pods without a proxy, though they are of the mesh."""
    for pod in pods:
        if pod.proxy is not None:
            continue
        if pod.spec.host_network:
            why = "uses the host's network, where none is injected"
        elif pod.opts_out:
            why = "opts out of injection (linkerd.io/inject)"
        elif mesh.is_annotated(pod.namespace) or pod.opts_in:
            why = "was created before it was annotated, or while injection failed"
        else:
            why = "is in a namespace that is not annotated for injection"
        yield failed(f"Pod {pod.path} of {name} has no proxy of Linkerd: it {why}.", reason=Reason.MISSING)
        return


def _broken(options: LinkerdOptions, name: str, pods: Sequence[LinkerdPod]) -> Iterator[Result]:
    for pod in pods:
        if pod.proxy is None:
            continue
        if pod.proxy_waits:
            yield failed(f"The proxy of pod {pod.path} does not run ({pod.proxy_waits}).", reason=Reason.DOWN)
            return
        if pod.is_nobody:
            yield failed(
                f"The proxy of pod {pod.path} of {name} has no identity (disable-identity), so nothing is encrypted.",
                reason=Reason.MISCONFIGURED,
            )
            return
        if options.strict and pod.skipped:
            yield failed(
                f"Pod {pod.path} of {name} accepts plaintext past its proxy ({pod.skipped}).",
                reason=Reason.MISCONFIGURED,
            )
            return


def _admitted(mesh: LinkerdMesh, options: LinkerdOptions, name: str, pods: Sequence[LinkerdPod]) -> Iterator[Result]:
    """Ports whose policies let in callers without an identity."""
    cluster = mesh.default_policy(options.control_plane_namespace)
    for pod in (pod for pod in pods if pod.proxy is not None):
        default = pod.policy or cluster
        bare = [port for port in pod.ports if mesh.server(pod, port) is None]
        bare = [port for port in bare if str(port.container_port) not in pod.demanding]
        if bare or not pod.ports:
            where = f"port {bare[0].container_port}" if bare else "its ports"
            if default is None:
                yield unknown(
                    f"The default policy of {where} of {name} is not known: no policy controller of Linkerd shows it.",
                    reason=Reason.NOT_VERIFIED,
                )
                return
            if is_open(default):
                yield failed(
                    f"{name} lets in callers without an identity on {where}: no Server is about it, and the default policy is "
                    f"{default}.",
                    reason=Reason.MISCONFIGURED,
                )
                return
        for port in pod.ports:
            if (server := mesh.server(pod, port)) is None:
                continue
            openers = [one.path for one in mesh.authorizations if one.is_for(server) and one.is_open]
            openers += [one.path for one in mesh.policies if one.is_for(server) and one.is_open]
            if is_open(server.spec.access_policy):
                openers.append(f"{server.path} (accessPolicy {server.spec.access_policy})")
            if openers and str(port.container_port) not in pod.demanding:
                yield failed(
                    f"{name} lets in callers without an identity on port {port.container_port}, by {openers[0]}.",
                    reason=Reason.MISCONFIGURED,
                )
                return
    for policy in mesh.policies:
        if policy.namespace == pods[0].namespace and policy.spec.target_ref.kind.endswith("Route") and policy.is_open:
            yield warning(
                f"AuthorizationPolicy {policy.path} lets callers without an identity use {policy.spec.target_ref.kind} "
                f"{policy.spec.target_ref.name}."
            )


def _identity(mesh: LinkerdMesh, options: LinkerdOptions) -> Iterator[Result]:
    """When what vouches for identities expires."""
    place = options.control_plane_namespace
    expiries = mesh.trust.expiries() if mesh.trust else []
    if not expiries:
        yield unknown(
            f"No trust anchor can be read from a ConfigMap of namespace {place}, so its expiry was not checked."
        )
    elif max(expiries) <= mesh.now:
        yield failed(f"Linkerd's trust anchor expired on {max(expiries):%Y-%m-%d %H:%M} UTC.", reason=Reason.EXPIRED)
    elif min(expiries) < mesh.now + timedelta(days=options.min_trust_days):
        ends = min(expiries)
        expired = "expired" if ends <= mesh.now else "expires"
        yield warning(
            f"{'A' if len(expiries) > 1 else 'The'} trust anchor of Linkerd {expired} on {ends:%Y-%m-%d} "
            f"(wanted {counted(options.min_trust_days, 'day')} more): proxies have to be restarted to trust another one."
        )
    for issuer in mesh.issuers or ():
        if (issuer.namespace, issuer.spec.secret_name) != (place, _ISSUER):
            continue
        ends_at = issuer.status.not_after
        ready = next((one for one in issuer.status.conditions if one.type == "Ready"), None)
        if ends_at is not None and ends_at <= mesh.now:
            yield failed(
                f"The certificate of Linkerd's issuer expired on {ends_at:%Y-%m-%d %H:%M} UTC.", reason=Reason.EXPIRED
            )
        elif ready is None or ready.status != "True":
            yield failed(f"Certificate {issuer.path} of Linkerd's issuer is not Ready.", reason=Reason.DOWN)


_ISSUER = "linkerd-identity-issuer"


def _issuer_known(mesh: LinkerdMesh, options: LinkerdOptions) -> bool:
    place = options.control_plane_namespace
    return any((one.namespace, one.spec.secret_name) == (place, _ISSUER) for one in mesh.issuers or ())


def _trusting(mesh: LinkerdMesh, members: Members) -> Iterator[Result]:
    """Pods that were injected with other trust anchors than those of today."""
    if mesh.trust is None:
        return
    known = {
        mesh.trust.digest,
        *(pod.trust_root for pod in mesh.pods if pod.component == "identity" and pod.trust_root),
    }
    for name, pods in sorted(members.items()):
        other = next((pod for pod in pods if pod.proxy and pod.trust_root and pod.trust_root not in known), None)
        if other is not None:
            yield warning(f"Pod {other.path} of {name} was injected with other trust anchors than Linkerd has now.")


def _dangling(mesh: LinkerdMesh) -> Iterator[Result]:
    """Policies that Linkerd ignores, so that they let nobody in."""
    for policy in mesh.policies:
        if policy.namespace not in mesh.namespaces:
            continue
        for namespace, name in policy.identities:
            if (namespace, name) not in mesh.identities:
                yield warning(
                    f"AuthorizationPolicy {policy.path} is ignored: MeshTLSAuthentication {namespace}/{name} does not exist."
                )


def _skewed(mesh: LinkerdMesh, options: LinkerdOptions, members: Members) -> Iterator[Result]:
    """Proxies of another version than the control plane's own."""
    planes = mesh.planes(options.control_plane_namespace, "destination")
    wanted = {pod.proxy_version for pod in planes if pod.proxy_version}
    for name, pods in sorted(members.items()):
        other = next((pod for pod in pods if pod.proxy and pod.proxy_version and pod.proxy_version not in wanted), None)
        if wanted and other is not None:
            yield warning(f"The proxy of {name} is version {other.proxy_version}, and Linkerd is {min(wanted)}.")
