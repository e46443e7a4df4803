"""Requests and limits of pods that run.

LimitRanges and autoscalers change them when pods are made, so the templates of workloads are not looked at.
"""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from fractions import Fraction
from operator import attrgetter
from typing import TypeAlias

from pydantic import Field

from collectors.shared.verdicts import verdict
from collectors.systems.kubernetes.model.objects import Node
from collectors.systems.kubernetes.model.pods import Container, Pod, PodGroup, PodSpec, PodTemplate, Resources, pods_in
from collectors.systems.kubernetes.model.quantities import format_amount, parse_quantity
from exporter.options import Options
from exporter.verdict import ProbeError, Result, failed, ok, warning
from exporter.words import counted, format_length, listed

__all__ = [
    "CpuLimitPolicy",
    "ResourceOptions",
    "judge_cpu_limits",
    "judge_memory_limits",
    "judge_requests",
    "running",
]

OOM_WINDOW = timedelta(hours=24)
_CPU, _MEMORY = "cpu", "memory"
_NANO = 10**9
"""Amounts are added up in whole billionths, as the API has nothing finer."""

Read: TypeAlias = Callable[[Resources], str | None]
_CPU_REQUEST: Read = attrgetter("requests.cpu")
_MEMORY_REQUEST: Read = attrgetter("requests.memory")
_CPU_LIMIT: Read = attrgetter("limits.cpu")
_MEMORY_LIMIT: Read = attrgetter("limits.memory")


class CpuLimitPolicy(StrEnum):
    """Whether containers without a CPU limit are wrong, or only told of: many leave it out on purpose, as it throttles."""

    REQUIRED = "required"
    ADVISORY = "advisory"


class ResourceOptions(Options):
    """What is wanted of requests and limits."""

    cpu_limit_policy: CpuLimitPolicy = Field(
        CpuLimitPolicy.REQUIRED, description="required, or advisory where CPU limits are left out on purpose."
    )
    count_job_pods: bool = Field(True, description="Whether pods of Jobs need requests and limits too.")
    max_memory_overcommit: float = Field(
        1.5,
        gt=0,
        description="Memory limits of a node's pods, as a multiple of what the node has, from which it is told.",
    )


def running(
    pods: Iterable[PodGroup], options: ResourceOptions, exempt: Callable[[PodGroup], bool] = lambda pods: False
) -> list[PodGroup]:
    """The pods that count: those that have not ended, are not being deleted, and are not exempt."""
    return [
        found
        for found in pods
        if found.state.is_live
        and (options.count_job_pods or found.owner is None or found.owner.kind != "Job")
        and not exempt(found)
    ]


def _has(spec: PodSpec, container: Container, read: Read) -> bool:
    """Whether a container has an amount of its own, or shares one of its pod. A limit of 0 is none, as is a request of 0."""
    shared = read(spec.resources) if spec.resources is not None else None
    return any(amount is not None and parse_quantity(amount) > 0 for amount in (read(container.resources), shared))


def _lacking(pods: Sequence[PodGroup], read: Read) -> tuple[int, Counter[str]]:
    """How many containers there are, and how many of each workload's container lack an amount."""
    total, lacking = 0, Counter[str]()
    for found, number in _alike(pods):
        containers = found.spec.sized_containers
        total += number * len(containers)
        for container in containers:
            if not _has(found.spec, container, read):
                lacking[f"{container.name} of {_workload(found)}"] += number
    return total, lacking


def _alike(pods: Sequence[PodGroup]) -> Iterator[tuple[PodGroup, int]]:
    """Some pods of each workload and template, with how many there are. A pod that belongs to no workload is one by itself."""
    number = Counter[PodTemplate]()
    some: dict[PodTemplate, PodGroup] = {}
    for found in pods:
        if found.owner is None:
            yield found, len(found)
        else:
            number[found.template] += len(found)
            some[found.template] = found
    for template, found in some.items():
        yield found, number[template]


def _workload(pods: PodGroup) -> str:
    kind, name = pods.workload
    return f"{kind} {pods.namespace}/{name}"


def _judge_all_have(pods: Sequence[PodGroup], what: str, read: Read, bad: Callable[..., Result] = failed) -> Result:
    total, lacking = _lacking(pods, read)
    number = lacking.total()
    if not total:
        raise ProbeError(f"No pod runs that counts, so nothing was seen of any {what}.")
    if not number:
        return ok(f"Every container ({total}) has a {what}.", containers_judged=total, containers_lacking=0)
    return bad(
        f"{number} of {counted(total, 'container')} {'has' if number == 1 else 'have'} no {what}: {listed(sorted(lacking), 10)}.",
        containers_judged=total,
        containers_lacking=number,
    )


def judge_cpu_limits(pods: Sequence[PodGroup], options: ResourceOptions) -> Result:
    """Whether every container has a CPU limit, or its pod has one; a warning where that is advisory.

    `pods` are those that count, here and below; ProbeError is raised when there is none, as nothing was seen then.
    """
    bad = failed if options.cpu_limit_policy is CpuLimitPolicy.REQUIRED else warning
    return _judge_all_have(pods, "CPU limit", _CPU_LIMIT, bad)


def judge_memory_limits(pods: Sequence[PodGroup], now: datetime) -> Result:
    """Whether every container has a memory limit, or its pod has one; being killed at it within a day is a warning."""
    result = _judge_all_have(pods, "memory limit", _MEMORY_LIMIT)
    problems = [] if result.status.is_ok else [result]
    remarkable = [pod for found in pods if found.state.containers for pod in found]
    return verdict([*problems, *(warning(told) for pod in remarkable for told in _killed(pod, now))], result)


def _killed(pod: Pod, now: datetime) -> Iterator[str]:
    for status in pod.state.containers:
        for ended in (status.state.terminated, status.last_state.terminated):
            if ended and ended.reason == "OOMKilled" and ended.finished_at and now - ended.finished_at <= OOM_WINDOW:
                ago = format_length(now - ended.finished_at)
                yield f"Container {status.name} of {pod.path} was killed {ago} ago for want of memory (OOMKilled)."


def judge_requests(
    pods: Sequence[PodGroup],
    nodes: Iterable[Node],
    options: ResourceOptions,
    everywhere: Iterable[PodGroup] | None = None,
) -> Result:
    """Whether every container requests CPU and memory, none more than its limit, and no pod is the first to be evicted.

    What the pods of a node request, or may take, beyond what it has is a warning. `everywhere` are all pods that there are: those
    that do not count share the nodes.
    """
    parts = [
        _judge_all_have(pods, "CPU request", _CPU_REQUEST),
        _judge_all_have(pods, "memory request", _MEMORY_REQUEST),
    ]
    problems = [part for part in parts if not part.status.is_ok]
    problems += _best_effort(pods)
    problems += [failed(told) for told in _above_limit(pods)]
    present = [found for found in (pods if everywhere is None else everywhere) if not found.state.has_ended]
    problems += [warning(told) for told in _overcommitted(present, nodes, options)]
    total = parts[0].measurements["containers_judged"]
    good = ok(
        f"Every container ({total:g}) requests CPU and memory.",
        containers_judged=total,
        containers_lacking=max(part.measurements["containers_lacking"] for part in parts),
    )
    return verdict(problems, good)


def _best_effort(pods: Sequence[PodGroup]) -> Iterator[Result]:
    found = [alike for alike in pods if alike.state.qos_class == "BestEffort"]
    if number := pods_in(found):
        workloads = dict.fromkeys(map(_workload, found))
        yield failed(
            f"{counted(number, 'pod')} of QoS class BestEffort {'is' if number == 1 else 'are'} evicted first: "
            f"{listed(workloads, 5)}."
        )


def _above_limit(pods: Sequence[PodGroup]) -> Iterator[str]:
    """Requests above limits: an API server takes none, but what was stored before may be."""
    for found, _ in _alike(pods):
        for container in found.spec.sized_containers:
            requests, limits = container.resources.requests, container.resources.limits
            for resource, request, limit in (
                (_CPU, requests.cpu, limits.cpu),
                (_MEMORY, requests.memory, limits.memory),
            ):
                if request is not None and limit is not None and parse_quantity(request) > parse_quantity(limit):
                    yield (
                        f"Container {container.name} of {_workload(found)} requests {request} of {resource}, more than its "
                        f"limit {limit}."
                    )


def _overcommitted(pods: Sequence[PodGroup], nodes: Iterable[Node], options: ResourceOptions) -> Iterator[str]:
    amounts = {
        template: [int(_NANO * _of_pod(template.spec, read)) for read in (_CPU_REQUEST, _MEMORY_REQUEST, _MEMORY_LIMIT)]
        for template in {found.template for found in pods}
    }
    total: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for found in pods:
        requested_cpu, requested_memory, memory_limit = amounts[found.template]
        for name in found.nodes:
            of_node = total[name]
            of_node[0] += requested_cpu
            of_node[1] += requested_memory
            of_node[2] += memory_limit
    for node in nodes:
        cpu, memory, may = total.get(node.name, (0, 0, 0))
        allocatable = node.status.allocatable
        for resource, wanted, quantity in ((_CPU, cpu, allocatable.cpu), (_MEMORY, memory, allocatable.memory)):
            if quantity is not None and wanted > (has := _nano(quantity)):
                told = " of ".join(format_amount(resource, Fraction(amount, _NANO)) for amount in (wanted, has))
                yield f"Pods on node {node.name} request {told} {resource}."
        has = _nano(allocatable.memory or "0")
        if has and may > has * options.max_memory_overcommit:
            share = f"{may / has:.3g} times its memory (limit {options.max_memory_overcommit:g})"
            yield f"Pods on node {node.name} may take {share}."


@functools.lru_cache(maxsize=4096)
def _nano(quantity: str) -> int:
    return int(_NANO * parse_quantity(quantity))


def _of_pod(spec: PodSpec, read: Read) -> Fraction:
    """What a pod as a whole has of an amount: its own, or what its containers have that run together."""
    if spec.resources is not None and (own := read(spec.resources)) is not None:
        return parse_quantity(own)
    sidecars, most = Fraction(), Fraction()
    for container in spec.init_containers:
        amount = parse_quantity(read(container.resources) or "0")
        if container.is_sidecar:
            sidecars += amount
            most = max(most, sidecars)
        else:
            most = max(most, sidecars + amount)
    return max(
        most, sidecars + sum((parse_quantity(read(main.resources) or "0") for main in spec.containers), Fraction())
    )
