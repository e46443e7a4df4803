"""Whether nodes are ready, versions are supported and fit each other, and the control plane works."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, Field

from collectors.shared.verdicts import collected, verdict
from collectors.systems.kubernetes.judge.workloads import unready
from collectors.systems.kubernetes.model.objects import ApiService, Condition, Lease, Node, condition
from collectors.systems.kubernetes.model.pods import PodGroup
from exporter.options import Duration, Options, format_duration
from exporter.verdict import ProbeError, Result, failed, ok, unknown, warning
from exporter.words import counted, format_length, listed

__all__ = [
    "ControlPlaneOptions",
    "NodeOptions",
    "VersionOptions",
    "judge_api_services",
    "judge_clock",
    "judge_health",
    "judge_leases",
    "judge_nodes",
    "judge_static_pods",
    "judge_version",
    "parse_version",
]

_GIT_VERSION = re.compile(r"v?(\d+)\.(\d+)(?:\D.*)?")
#: Conditions that tell of trouble while they are True. A node whose network something else sets up need not have the last one.
_TROUBLES = {"MemoryPressure": True, "DiskPressure": True, "PIDPressure": True, "NetworkUnavailable": False}
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
    """What is wanted of nodes."""

    node_grace: Duration = Field(
        timedelta(minutes=5), description="How long a node may be in trouble, as nodes that start or are drained are."
    )
    node_max_silence: Duration = Field(
        timedelta(minutes=15),
        gt=timedelta(0),
        description="How long ago a kubelet may have reported; they do so every 5 minutes where nothing changes.",
    )
    max_cordoned: int = Field(0, ge=0, description="Nodes that may be closed to new pods before it is told.")


class VersionOptions(Options):
    """Which versions are wanted."""

    min_version: MinorVersion = Field("1.25", description="Least minor version of the cluster.")
    supported_minor: MinorVersion = Field(
        "1.35", description="Oldest minor version that still gets patches (as of November 2026); an older one is told."
    )


class ControlPlaneOptions(Options):
    """What is wanted of the control plane."""

    control_plane_leases: tuple[str, ...] = Field(
        ("kube-controller-manager", "kube-scheduler"),
        description="Leases in kube-system that have to be renewed; none where the provider hides them.",
    )
    lease_max_age: Duration = Field(
        timedelta(seconds=60), gt=timedelta(0), description="How long ago a Lease may have been renewed."
    )
    max_clock_skew: Duration = Field(
        timedelta(seconds=30), gt=timedelta(0), description="How far the API server's clock may be off ours."
    )


def judge_nodes(nodes: Iterable[Node], options: NodeOptions, now: datetime) -> Result:
    """Whether every node is Ready and none is in trouble for longer than the grace. No node at all is `failed`."""
    found = sorted(nodes, key=lambda node: node.name)
    problems = [problem for node in found for problem in _judge_node(node, options, now)]
    cordoned = [node.name for node in found if node.spec.unschedulable]
    if len(cordoned) > options.max_cordoned:
        verb = "is" if len(cordoned) == 1 else "are"
        problems.append(
            warning(
                f"{counted(len(cordoned), 'node')} {verb} closed to new pods (limit {options.max_cordoned}): {listed(cordoned)}."
            )
        )
    if not found:
        problems.append(failed("The cluster has no node."))
    ready = sum(_is_ready(node) for node in found)
    good = ok(f"Every node ({len(found)}) is Ready.", nodes=len(found), nodes_ready=ready, nodes_cordoned=len(cordoned))
    return verdict(problems, good)


def _is_ready(node: Node) -> bool:
    ready = condition(node.status.conditions, "Ready")
    return ready is not None and ready.status == "True"


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
            f"The kubelet of node {node.name} said {format_length(now - heard)} ago that it is Ready, and nothing since "
            f"(limit {limit})."
        )
        return
    for kind, always_told in _TROUBLES.items():
        seen = condition(node.status.conditions, kind)
        if seen is None:
            if always_told:
                yield unknown(f"Node {node.name} does not tell whether it has {kind}.")
        elif seen.status != "False":
            means = "has" if seen.status == "True" else "does not know whether it has"
            yield _for_long(f"Node {node.name} {means} {kind}", seen.last_transition_time, seen.reason, options, now)


def _for_long(what: str, since: datetime | None, reason: str, options: NodeOptions, now: datetime) -> Result:
    because = f": {reason}" if reason else ""
    if since is None:
        return failed(f"{what}{because}.")
    grace = f"(grace {format_duration(options.node_grace)})"
    # A moment in the future is no sign that it has just begun.
    bad = failed if abs(now - since) > options.node_grace else warning
    return bad(f"{what} since {format_length(now - since)} {grace}{because}.")


def judge_version(git_version: str, nodes: Iterable[Node], options: VersionOptions) -> Result:
    """Whether the API server's version is wanted and supported, and no kubelet is newer or too old for it.

    Raises ProbeError when the API server's version is not understood.
    """
    version = parse_version(git_version)
    problems = []
    if version < parse_version(options.min_version):
        problems.append(failed(f"The cluster runs {git_version} (wanted at least {options.min_version})."))
    elif version < parse_version(options.supported_minor):
        problems.append(
            warning(
                f"The cluster runs {git_version}, which gets no more patches (oldest that does is {options.supported_minor})."
            )
        )
    most = _MAX_SKEW_NOW if version >= (1, 28) else _MAX_SKEW_BEFORE_1_28
    of_version: dict[str, list[str]] = {}
    for node in nodes:
        of_version.setdefault(node.status.node_info.kubelet_version, []).append(node.name)
    if not of_version:
        problems.append(unknown("The cluster has no node, so no kubelet's version was seen."))
    for kubelet, names in of_version.items():
        problems += collected(_judge_kubelet(kubelet, names, version, git_version, most))
    return verdict(problems, ok(f"The cluster runs {git_version}, and its kubelets fit (at most {most} minors older)."))


def _judge_kubelet(
    kubelet: str, names: list[str], version: tuple[int, int], git_version: str, most: int
) -> Iterator[Result]:
    on = f"{counted(len(names), 'node')} ({listed(names, 3)})"
    if not kubelet:
        yield unknown(f"The kubelet's version is not told by {on}.")
        return
    major, minor = parse_version(kubelet)
    if (major, minor) > version:
        yield failed(f"The kubelet {kubelet} on {on} is newer than the API server ({git_version}).")
    elif major != version[0] or version[1] - minor > most:
        yield failed(
            f"The kubelet {kubelet} on {on} is too old for the API server {git_version} (limit {most} minors)."
        )


def judge_health(path: str, status: int, text: str) -> Result:
    """What the API server answers to `/readyz` or `/livez`. The text is for people: only what is told of failed checks is taken."""
    if status == 200:
        return ok(f"The API server answers {path} with 200.")
    bad = re.findall(r"^\[-\](\S+)", text, re.MULTILINE)
    checks = f": {listed(bad)} failed" if bad else ""
    return failed(f"The API server answers {path} with {status} (wanted 200){checks}.")


def judge_leases(leases: Mapping[str, Lease | None], options: ControlPlaneOptions, now: datetime) -> list[Result]:
    """Whether each part of the control plane renews its Lease (None: there is none). `now` is the API server's clock."""
    problems = []
    limit = format_duration(options.lease_max_age)
    for name in options.control_plane_leases:
        lease = leases.get(name)
        if lease is None:
            problems.append(failed(f"There is no Lease kube-system/{name}, so no {name} has started."))
        elif lease.spec.renew_time is None:
            problems.append(unknown(f"Lease kube-system/{name} does not tell when it was renewed."))
        elif not lease.spec.holder_identity:
            problems.append(failed(f"Lease kube-system/{name} is held by nobody, so no {name} works."))
        elif (age := now - lease.spec.renew_time) > options.lease_max_age:
            problems.append(
                failed(
                    f"Lease kube-system/{name} was renewed {format_length(age)} ago (limit {limit}), so no {name} works."
                )
            )
        elif -age > options.lease_max_age:
            problems.append(unknown(f"Lease kube-system/{name} was renewed {format_length(-age)} in the future."))
    return problems


def judge_api_services(services: Iterable[ApiService]) -> list[Result]:
    """The groups of the API that are not available, or of which it is not told. Every API server has some."""
    problems = []
    if not (found := list(services)):
        problems.append(unknown("No APIService was seen, so whether all of the API is available is not known."))
    for service in found:
        available = condition(service.status.conditions, "Available")
        if available is None or available.status not in ("True", "False"):
            problems.append(unknown(f"APIService {service.name} does not tell whether it is available."))
        elif available.status == "False":
            problems.append(failed(f"APIService {service.name} is not available: {_why(available)}."))
    return problems


def _why(seen: Condition) -> str:
    message = " ".join(seen.message.split()).rstrip(".")[:200]
    return f"{seen.reason} ({message})" if message else seen.reason


def judge_static_pods(pods: Iterable[PodGroup], now: datetime) -> list[Result]:
    """The control plane's own pods that are not Ready, where kubelets run them and show them."""
    return [
        failed(unready(pod, now))
        for found in pods
        if found.template.mirror
        and found.namespace == "kube-system"
        and found.labels.get("component") in _COMPONENTS
        and not found.state.ready
        for pod in found
    ]


def judge_clock(theirs: datetime, ours: datetime, options: ControlPlaneOptions) -> list[Result]:
    """Whether the API server's clock is off ours: certificates, tokens and leases go by it."""
    off = abs(theirs - ours)
    if off <= options.max_clock_skew:
        return []
    side = "ahead of" if theirs > ours else "behind"
    limit = format_duration(options.max_clock_skew)
    return [warning(f"The API server's clock is {format_length(off)} {side} ours (limit {limit}).")]
