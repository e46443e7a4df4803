"""Whether nodes are ready, versions are supported and fit each other, and the control plane works."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, Field

from collectors.shared.verdicts import collected, verdict
from collectors.systems.kubernetes.judge.lengths import exactly, length_beside
from collectors.systems.kubernetes.judge.workloads import Workload, unready
from collectors.systems.kubernetes.model.objects import (
    ApiService,
    Condition,
    DaemonSet,
    EndpointSlice,
    Lease,
    Node,
    Service,
    condition,
)
from collectors.systems.kubernetes.model.pods import PodGroup
from collectors.systems.kubernetes.model.releases import AS_OF, END_OF_SUPPORT, is_outdated, oldest_supported
from exporter.options import Duration, Options, format_duration
from exporter.verdict import ProbeError, Reason, Result, failed, ok, unknown, warning
from exporter.words import counted, listed

__all__ = [
    "ControlPlaneOptions",
    "NodeOptions",
    "VersionOptions",
    "is_dns",
    "judge_api_services",
    "judge_clock",
    "judge_critical",
    "judge_health",
    "judge_leases",
    "judge_nodes",
    "judge_static_pods",
    "judge_version",
    "lease_path",
    "parse_version",
]

_GIT_VERSION = re.compile(r"v?(\d+)\.(\d+)(?:\D.*)?")
#: Conditions that every kubelet reports, and that are trouble while they are True.
_OF_KUBELETS = ("MemoryPressure", "DiskPressure", "PIDPressure")
#: Endings of conditions that are trouble while they are False; all others (of node-problem-detector, of clouds) are when True.
_GOOD = (
    *("Ready", "Healthy", "Available", "Ok", "OK", "EtcdIsVoter"),  # the last one is of k3s and RKE2
    *("Online", "Running", "Connected", "Synced", "Initialized", "Joined", "Registered", "Schedulable"),
)
_DENIAL = re.compile(r"(Not|Un)$")
"""What turns such an ending into its opposite: KernelNotReady."""
_CLOSING = {
    "node.cloudprovider.kubernetes.io/uninitialized": "has not been initialized by its cloud provider",
    "node.cloudprovider.kubernetes.io/shutdown": "is shut down, as its cloud provider reports",
    "node.kubernetes.io/out-of-service": "is marked out of service",
}
"""Taints that keep pods off a node that may be Ready all the same."""
_STARTING = re.compile(
    r"(?!node\.kubernetes\.io/).*(not-?ready|uninitialized|unregistered|starting|startup)"
    r"|((startup|ignore)-taint\.cluster-autoscaler\.kubernetes\.io|readiness\.k8s\.io)/.*",
    re.IGNORECASE,
)
"""Taints that agents on a node (of its network, its storage, its autoscaler) take away once they work there."""
_LEAVING = ("karpenter.sh/disrupted", "karpenter.sh/disruption", "ToBeDeletedByClusterAutoscaler")
"""Taints of autoscalers on nodes that they are about to remove."""
_EXCLUDING = ("NoSchedule", "NoExecute")
#: Maintenance that is to come, and settings that a later version will not know: no trouble yet.
_ANNOUNCED = re.compile(r"Deprecated\w*|\w*Scheduled")
#: Pods without which a cluster does not work have one of these classes: DNS, kube-proxy, the network's agents.
_CRITICAL = frozenset({"system-cluster-critical", "system-node-critical"})
_DNS_PORT = 53
_API_SERVICE_GRACE = timedelta(minutes=1)
_NO_SERVICE = ("ServiceNotFound", "ServicePortError")
"""Reasons for which an APIService is not available that do not pass by themselves."""
_COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
_MAX_SKEW_NOW, _MAX_SKEW_BEFORE_1_28 = 3, 2  # https://kubernetes.io/releases/version-skew-policy/


def parse_version(text: str) -> tuple[int, int]:
    """Major and minor of a version such as `v1.29.3-gke.1` or `1.25`. Raises ProbeError for anything else.

    It is to be taken from gitVersion: providers write `minor` as `29+`.
    """
    if found := _GIT_VERSION.fullmatch(text):
        return int(found[1]), int(found[2])
    raise ProbeError(f"{text[:40]!r} is no version of Kubernetes, such as v1.29.3.")


def _version(text: str) -> str:
    if not re.fullmatch(r"\d+\.\d+", text):
        raise ValueError('expected a minor version such as "1.29"')
    return text


MinorVersion = Annotated[str, AfterValidator(_version)]
"""A minor version: `"1.29"`."""


class NodeOptions(Options):
    """What is required of nodes."""

    node_grace: Duration = Field(
        timedelta(minutes=5), description="How long a node may have a problem, as starting and draining nodes do."
    )
    node_max_silence: Duration = Field(
        timedelta(minutes=15),
        gt=timedelta(0),
        description="Maximum age of a kubelet's last report; kubelets report every 5 minutes when nothing changes.",
    )
    max_cordoned: int = Field(0, ge=0, description="Nodes that may be cordoned before it is a warning.")
    ignored_node_conditions: dict[str, str] = Field(
        default_factory=dict, description="Type of a node's condition to the reason why it does not matter."
    )


class VersionOptions(Options):
    """Which versions are wanted."""

    min_version: MinorVersion = Field("1.25", description="Minimum minor version of the cluster.")
    supported_minor: MinorVersion | None = Field(
        None,
        description="Oldest minor version that still gets patches, such as that of a provider's extended support; an older one is "
        "a warning. By default the one that kubernetes.io supports on the day, as known to this version of the exporter.",
    )


class ControlPlaneOptions(Options):
    """What is required of the control plane."""

    control_plane_leases: tuple[str, ...] = Field(
        ("kube-controller-manager", "kube-scheduler"),
        description="Leases that have to be renewed: by name in kube-system, or as namespace/name; none where the provider hides "
        "them or leader election is off.",
    )
    lease_max_age: Duration = Field(
        timedelta(seconds=60), gt=timedelta(0), description="Maximum age of a Lease's last renewal."
    )
    max_clock_skew: Duration = Field(
        timedelta(seconds=30),
        gt=timedelta(0),
        description="Maximum difference between the API server's clock and the exporter's.",
    )


def judge_nodes(nodes: Iterable[Node], options: NodeOptions, now: datetime) -> Result:
    """Whether every node is Ready and none is in trouble for longer than the grace. No node at all is `failed`."""
    found = sorted(nodes, key=lambda node: node.name)
    problems = [problem for node in found for problem in _judge_node(node, options, now)]
    cordoned = [node.name for node in found if node.spec.unschedulable]
    if len(cordoned) > options.max_cordoned:
        verb = "is" if len(cordoned) == 1 else "are"
        all_are = len(cordoned) == len(found) > 1  # then no new pod can be placed
        sentence = (
            f"{counted(len(cordoned), 'node')} {verb} cordoned (limit {options.max_cordoned}): {listed(cordoned)}."
        )
        problems.append(failed(sentence, reason=Reason.DOWN) if all_are else warning(sentence))
    closed = [node.name for node in found if _is_closed(node)]
    if len(closed) == len(found) > max(1, len(cordoned)):
        sentence = f"No node of {len(found)} takes new pods: each is cordoned, being removed or not set up ({listed(closed, 3)})."
        problems.append(failed(sentence, reason=Reason.DOWN))
    if not found:
        problems.append(failed("The cluster has no node.", reason=Reason.MISSING))
    ready = sum(_is_ready(node) for node in found)
    good = ok(f"Every node ({len(found)}) is Ready.", nodes=len(found), nodes_ready=ready, nodes_cordoned=len(cordoned))
    return verdict(problems, good)


def _is_ready(node: Node) -> bool:
    ready = condition(node.status.conditions, "Ready")
    return ready is not None and ready.status == "True"


def _excluding(node: Node) -> Iterator[str]:
    """The keys of the taints that keep pods off a node."""
    return (taint.key for taint in node.spec.taints or () if taint.effect in _EXCLUDING)


def _is_closed(node: Node) -> bool:
    """Whether a node takes no new pod of any workload: not by a taint that some of them tolerate."""
    return (
        node.spec.unschedulable
        or node.metadata.deletion_timestamp is not None
        or any(key in (*_CLOSING, *_LEAVING) or _STARTING.fullmatch(key) for key in _excluding(node))
    )


def _judge_node(node: Node, options: NodeOptions, now: datetime) -> Iterator[Result]:
    ready = condition(node.status.conditions, "Ready")
    if ready is None or ready.status != "True":
        since = (ready.last_transition_time if ready else None) or node.metadata.creation_timestamp
        reason = (ready.reason if ready else "") or "it has not reported yet"
        yield _for_long(f"Node {node.name} is not Ready", since, reason, options, now)
        return  # what else it said is as old
    # Who marks silent nodes, the controller manager, may itself be gone.
    if (heard := ready.last_heartbeat_time) is not None and now - heard > options.node_max_silence:
        limit = format_duration(options.node_max_silence)
        yield unknown(
            f"The kubelet of node {node.name} reported {exactly(now - heard)} ago that it is Ready, and nothing since "
            f"(limit {limit}).",
            reason=Reason.STALE,
        )
        return
    if heard is not None and heard - now > options.node_max_silence:
        yield unknown(
            f"The kubelet of node {node.name} reported {exactly(heard - now)} in the future that it is Ready, so whether it still "
            "reports was not checked.",
            reason=Reason.STALE,
        )
    for taint in node.spec.taints or ():
        if closed := _CLOSING.get(taint.key):
            made = node.metadata.creation_timestamp
            yield _for_long(f"Node {node.name} {closed}", made, f"taint {taint.key}", options, now)
    for key in _excluding(node):
        made = node.metadata.creation_timestamp
        if _STARTING.fullmatch(key) and key not in _CLOSING and (made is None or now - made > options.node_grace):
            yield warning(f"Node {node.name} takes no pods yet: taint {key}.")
    if (leaving := node.metadata.deletion_timestamp) is not None and now - leaving > options.node_grace:
        grace = f"(grace {format_duration(options.node_grace)})"
        ago = length_beside(now - leaving, options.node_grace)
        yield warning(f"Node {node.name} is being deleted since {ago} {grace}: a finalizer keeps it.")
    yield from _condition_problems(node, options, now)


def _condition_problems(node: Node, options: NodeOptions, now: datetime) -> Iterator[Result]:
    """What is wrong by the conditions of a node that is Ready."""
    for kind in _OF_KUBELETS:
        if condition(node.status.conditions, kind) is None and not node.is_virtual:
            yield unknown(f"Node {node.name} does not report whether it has {kind}.")
    for seen in node.status.conditions or ():
        if seen.type == "Ready" or seen.type in options.ignored_node_conditions:
            continue
        since = seen.last_transition_time
        if _is_good(seen.type):
            if seen.status == "False":
                yield _for_long(f"Node {node.name} is not {seen.type}", since, seen.reason, options, now)
        elif seen.status == "True" and _ANNOUNCED.fullmatch(seen.type):
            yield warning(f"Node {node.name} has {seen.type}{f': {seen.reason}' if seen.reason else ''}.")
        elif seen.status == "True":
            yield _for_long(f"Node {node.name} has {seen.type}", since, seen.reason, options, now)
        elif seen.status != "False" and seen.type in (*_OF_KUBELETS, "NetworkUnavailable"):
            what = f"Node {node.name} does not know whether it has {seen.type}"
            yield _for_long(what, since, seen.reason, options, now)


def _is_good(kind: str) -> bool:
    """Whether a condition is trouble while it is False, as Ready is; KernelNotReady is none of those."""
    ending = next((ending for ending in _GOOD if kind.endswith(ending)), None)
    return ending is not None and not _DENIAL.search(kind.removesuffix(ending))


def _for_long(what: str, since: datetime | None, reason: str, options: NodeOptions, now: datetime) -> Result:
    because = f": {reason}" if reason else ""
    if since is None:
        return failed(f"{what}{because}.", reason=Reason.DOWN)
    grace = f"(grace {format_duration(options.node_grace)})"
    # A moment in the future is no sign that it has just begun.
    bad = failed if abs(now - since) > options.node_grace else warning
    return bad(f"{what} since {length_beside(now - since, options.node_grace)} {grace}{because}.")


def judge_version(git_version: str, nodes: Iterable[Node], options: VersionOptions, today: date) -> Result:
    """Whether the API server's version is wanted and supported on that day, and no kubelet is newer or too old for it.

    Raises ProbeError when the API server's version is not understood.
    """
    version = parse_version(git_version)
    problems = []
    declared = options.supported_minor
    oldest = parse_version(declared) if declared else oldest_supported(today)
    if version < parse_version(options.min_version):
        problems.append(
            failed(f"The cluster runs {git_version} (wanted at least {options.min_version}).", reason=Reason.LIMIT)
        )
    elif version < oldest:
        ended = None if declared else END_OF_SUPPORT.get(version)
        since = f" since {ended}" if ended else ""
        problems.append(
            warning(
                f"The cluster runs {git_version}, which has had no patches{since} (oldest supported: {'.'.join(map(str, oldest))})."
            )
        )
    elif declared is None and is_outdated(today):
        problems.append(
            warning(
                f"The exporter's list of Kubernetes releases is of {AS_OF}, so whether {git_version} still gets patches is not "
                "known: install a newer exporter, or set supported_minor."
            )
        )
    most = _MAX_SKEW_NOW if version >= (1, 28) else _MAX_SKEW_BEFORE_1_28
    of_version: dict[str, list[str]] = {}
    for node in nodes:
        if node.is_virtual:
            continue  # its version is that of the provider's service
        of_version.setdefault(node.status.node_info.kubelet_version, []).append(node.name)
    if not of_version:
        problems.append(unknown("The cluster has no node with a kubelet, so no kubelet's version was checked."))
    for kubelet, names in of_version.items():
        problems += collected(_judge_kubelet(kubelet, names, version, git_version, most))
    return verdict(problems, ok(f"The cluster runs {git_version}, and its kubelets fit (at most {most} minors older)."))


def _judge_kubelet(
    kubelet: str, names: list[str], version: tuple[int, int], git_version: str, most: int
) -> Iterator[Result]:
    on = f"{counted(len(names), 'node')} ({listed(names, 3)})"
    if not kubelet:
        yield unknown(f"The kubelet's version is not reported by {on}.")
        return
    major, minor = parse_version(kubelet)
    if (major, minor) > version:
        yield failed(
            f"The kubelet {kubelet} on {on} is newer than the API server ({git_version}).", reason=Reason.MISCONFIGURED
        )
    elif major != version[0] or version[1] - minor > most:
        yield failed(
            f"The kubelet {kubelet} on {on} is too old for the API server {git_version} (limit {most} minors).",
            reason=Reason.LIMIT,
        )


def judge_health(path: str, status: int, text: str) -> Result:
    """What the API server answers to `/readyz` or `/livez`. The text is for people: only its failed checks are read."""
    if status == 200:
        return ok(f"The API server answers {path} with 200.")
    bad = re.findall(r"^\[-\](\S+)", text, re.MULTILINE)
    checks = f": {listed(bad)} failed" if bad else ""
    return failed(f"The API server answers {path} with {status} (wanted 200){checks}.", reason=Reason.DOWN)


def judge_leases(leases: Mapping[str, Lease | None], options: ControlPlaneOptions, now: datetime) -> list[Result]:
    """Whether each part of the control plane renews its Lease (None: there is none). `now` is the API server's clock."""
    problems = []
    limit = format_duration(options.lease_max_age)
    for name in options.control_plane_leases:
        lease, (namespace, part) = leases.get(name), lease_path(name)
        path = f"{namespace}/{part}"
        if lease is None and "control_plane_leases" in options.model_fields_set:
            problems.append(
                failed(f"There is no Lease {path}, which control_plane_leases names.", reason=Reason.MISSING)
            )
        elif lease is None:
            problems.append(
                unknown(
                    f"There is no Lease {path}: {part} has not started, runs without leader election, or keeps it elsewhere (see "
                    "control_plane_leases).",
                    reason=Reason.MISSING,
                )
            )
        elif lease.spec.renew_time is None:
            problems.append(unknown(f"Lease {path} does not report when it was renewed."))
        elif not lease.spec.holder_identity:
            problems.append(failed(f"Lease {path} is held by nobody, so no {part} works.", reason=Reason.DOWN))
        elif (age := now - lease.spec.renew_time) > options.lease_max_age:
            ago = exactly(age)
            problems.append(
                failed(f"Lease {path} was renewed {ago} ago (limit {limit}), so no {part} works.", reason=Reason.DOWN)
            )
        elif -age > options.lease_max_age:
            problems.append(unknown(f"Lease {path} was renewed {exactly(-age)} in the future."))
    return problems


def lease_path(name: str) -> tuple[str, str]:
    """Namespace and name of a Lease of `control_plane_leases`."""
    namespace, _, own = name.rpartition("/")
    return namespace or "kube-system", own


def judge_api_services(services: Iterable[ApiService], now: datetime) -> list[Result]:
    """The groups of the API that are not available, or do not report it. Every API server has some; one that is new has a grace."""
    problems = []
    if not (found := list(services)):
        problems.append(unknown("There is no APIService, so whether all of the API is available is not known."))
    for service in found:
        available = condition(service.status.conditions, "Available")
        made = service.metadata.creation_timestamp
        is_new = made is not None and now - made < _API_SERVICE_GRACE
        if is_new and (available is None or (available.status != "True" and available.reason not in _NO_SERVICE)):
            problems.append(warning(f"APIService {service.name} is new and not available yet."))
        elif available is None or available.status not in ("True", "False"):
            problems.append(unknown(f"APIService {service.name} does not report whether it is available."))
        elif available.status == "False":
            problems.append(
                failed(f"APIService {service.name} is not available: {_why(available)}.", reason=Reason.DOWN)
            )
    return problems


def _why(seen: Condition) -> str:
    message = " ".join(seen.message.split()).rstrip(".")[:200]
    return f"{seen.reason} ({message})" if message else seen.reason


def judge_static_pods(pods: Iterable[PodGroup], now: datetime) -> list[Result]:
    """The control plane's own pods that are not Ready, where kubelets run them and show them."""
    return [
        failed(unready(pod, now), reason=Reason.DOWN)
        for found in pods
        if found.template.mirror
        and found.namespace == "kube-system"
        and found.labels.get("component") in _COMPONENTS
        and not found.state.ready
        for pod in found
    ]


def is_dns(service: Service) -> bool:
    """Whether a Service is the cluster's DNS, by the label that CoreDNS and its kind have kept from kube-dns."""
    return service.namespace == "kube-system" and service.metadata.labels.get("k8s-app") == "kube-dns"


def _serves_dns(workload: Workload) -> bool:
    """Whether the pods of a workload are those that the Service of the cluster's DNS selects."""
    return workload.namespace == "kube-system" and workload.spec.template.metadata.labels.get("k8s-app") == "kube-dns"


def judge_critical(
    workloads: Sequence[Workload], dns: Sequence[Service] | None, slices: Iterable[EndpointSlice]
) -> Iterator[Result]:
    """What a cluster does not work without: DNS without a ready endpoint, and critical workloads that are not ready.

    `dns` are the Services of the cluster's DNS, None where some Services may not have been read. A workload with some of its pods
    is a warning; a DaemonSet on fewer than half of its nodes has failed.
    """
    servers = [f"{one.kind} {one.path}" for one in workloads if one.wanted and _serves_dns(one)]
    if servers and dns is not None and not dns:
        verb = "runs" if len(servers) == 1 else "run"
        yield failed(
            f"{listed(servers)} {verb} the cluster's DNS, and no Service of kube-system has the label k8s-app=kube-dns.",
            reason=Reason.MISSING,
        )
    yield from _dns_problems(dns or (), slices)
    partly = []
    for workload in workloads:
        if workload.spec.template.spec.priority_class_name not in _CRITICAL or not workload.wanted:
            continue
        name, wanted = f"{workload.kind} {workload.path}", workload.wanted
        if not workload.ready:
            yield failed(
                f"{name} has 0 of {counted(wanted, 'pod')} ready, and the cluster needs it.", reason=Reason.DOWN
            )
        elif isinstance(workload, DaemonSet) and workload.ready * 2 < wanted:
            yield failed(
                f"{name} is ready on {workload.ready} of {counted(wanted, 'node')}, and the others need it.",
                reason=Reason.DOWN,
            )
        elif workload.ready < wanted:
            partly.append(warning(f"{name} has {workload.ready} of {counted(wanted, 'pod')} ready."))
    yield from partly


def _dns_problems(services: Iterable[Service], slices: Iterable[EndpointSlice]) -> Iterator[Result]:
    ready: dict[str, set[str]] = {}
    for one in slices:
        if one.ready:
            ready.setdefault(f"{one.namespace}/{one.service}", set()).update(one.ports)
    for service in services:
        served = ready.get(service.path)
        if served is None:
            yield failed(f"Service {service.path}, the cluster's DNS, has no ready endpoint.", reason=Reason.DOWN)
            continue
        ports = service.spec.ports or ()
        if ports and all(port.port != _DNS_PORT for port in ports):
            has = listed(str(port.port) for port in ports)
            yield failed(
                f"Service {service.path}, the cluster's DNS, has no port {_DNS_PORT} (its ports: {has}).",
                reason=Reason.MISCONFIGURED,
            )
        for port in ports:
            if port.port == _DNS_PORT and port.name not in served:
                at = f" (targetPort {port.target_port})" if port.target_port is not None else ""
                yield failed(
                    f"Port {port.name or port.port} of Service {service.path}, the cluster's DNS, is one that none of its ready "
                    f"pods has{at}.",
                    reason=Reason.MISCONFIGURED,
                )


def judge_clock(theirs: datetime, ours: datetime, options: ControlPlaneOptions) -> list[Result]:
    """Whether the API server's clock is off ours: certificates, tokens and leases go by it."""
    off = abs(theirs - ours)
    if off <= options.max_clock_skew:
        return []
    side = "ahead of" if theirs > ours else "behind"
    limit = format_duration(options.max_clock_skew)
    return [warning(f"The API server's clock is {exactly(off)} {side} ours (limit {limit}).")]
