"""Requests and limits of pods that run, and of those that there would be.

LimitRanges and autoscalers change them when pods are made, so templates count only where there is no pod, with those defaults.
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
from collectors.systems.kubernetes.model.base import Condition
from collectors.systems.kubernetes.model.objects import Node, condition
from collectors.systems.kubernetes.model.pods import Container, Pod, PodGroup, PodSpec, PodTemplate, Resources, pods_in
from collectors.systems.kubernetes.model.quantities import format_amount, parse_quantity
from exporter.options import Options
from exporter.verdict import ProbeError, Reason, Result, Status, failed, ok, warning
from exporter.words import counted, format_length, listed

__all__ = [
    "LEAST_MEMORY",
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
LEAST_MEMORY = Fraction(2**20)
"""Below this there might as well be none: nothing starts in less than 1 MiB of memory, and `128m` is an eighth of a byte."""
_LEAST = {_CPU: Fraction(1, _NANO), _MEMORY: LEAST_MEMORY}

Read: TypeAlias = Callable[[Resources], str | None]
_CPU_REQUEST: Read = attrgetter("requests.cpu")
_MEMORY_REQUEST: Read = attrgetter("requests.memory")
_CPU_LIMIT: Read = attrgetter("limits.cpu")
_MEMORY_LIMIT: Read = attrgetter("limits.memory")


class CpuLimitPolicy(StrEnum):
    """Whether containers without a CPU limit fail, or are a warning: many leave it out on purpose, as it throttles."""

    REQUIRED = "required"
    ADVISORY = "advisory"


class ResourceOptions(Options):
    """What is required of requests and limits."""

    cpu_limit_policy: CpuLimitPolicy = Field(
        CpuLimitPolicy.REQUIRED, description="required, or advisory where CPU limits are left out on purpose."
    )
    count_job_pods: bool = Field(True, description="Whether pods of Jobs need requests and limits too.")
    max_memory_overcommit: float = Field(
        1.5,
        gt=0,
        description="Memory limits of a node's pods, as a multiple of what the node has, from which they are a warning.",
    )


def running(
    pods: Iterable[PodGroup], options: ResourceOptions, exempt: Callable[[PodGroup], bool] = lambda pods: False
) -> list[PodGroup]:
    """The pods that count: those that have not ended, are not being deleted, and are not exempt."""
    return [
        found
        for found in pods
        if found.state.is_live
        and (options.count_job_pods or found.owner is None or found.owner.kind not in ("Job", "CronJob"))
        and not exempt(found)
    ]


def _amounts(spec: PodSpec, container: Container, read: Read) -> list[str]:
    """What a container has of its own, and what it shares of its pod."""
    shared = read(spec.resources) if spec.resources is not None else None
    return [amount for amount in (read(container.resources), shared) if amount is not None]


def _lacking(pods: Sequence[PodGroup], resource: str, read: Read) -> tuple[int, Counter[str]]:
    """How many containers there are, and how many of each workload's container lack an amount. One that is next to 0 is none."""
    total, lacking = 0, Counter[str]()
    for found, number in _alike(pods):
        containers = found.spec.sized_containers
        total += number * len(containers)
        for container in containers:
            amounts = _amounts(found.spec, container, read)
            if not any(parse_quantity(amount) >= _LEAST[resource] for amount in amounts):
                hint = next((f" ({amount} is less than 1 MiB)" for amount in amounts if parse_quantity(amount)), "")
                lacking[f"{container.name} of {_workload(found)}{hint}"] += number
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


def _judge_all_have(
    pods: Sequence[PodGroup], resource: str, what: str, read: Read, status: Status = Status.FAILED
) -> Result:
    total, lacking = _lacking(pods, resource, read)
    number = lacking.total()
    if not total:
        raise ProbeError(f"No pod runs that counts, so no {what} was checked.")
    if not number:
        return ok(f"Every container ({total}) has a {what}.", containers_judged=total, containers_lacking=0)
    has_no, names = "has no" if number == 1 else "have no", listed(sorted(lacking), 10)
    summary = f"{number} of {counted(total, 'container')} {has_no} {what}: {names}."
    measured = {"containers_judged": float(total), "containers_lacking": float(number)}
    return Result(status, summary, measured, reason=Reason.MISSING if status is Status.FAILED else None)


def _resize(group: PodGroup) -> Condition | None:
    """What keeps pods from having the requests and limits that they state; None when nothing does."""
    resizes = [condition(group.state.conditions, kind) for kind in ("PodResizePending", "PodResizeInProgress")]
    return next((found for found in resizes if found is not None and found.status == "True"), None)


def _said(found: Condition) -> str:
    return f": {' '.join(found.message.split()).rstrip('.')[:200]}" if found.message else ""


def _infeasible_problems(pods: Iterable[PodGroup]) -> Iterator[Result]:
    """Pods whose new requests and limits their node can never give them: what runs has others than it states."""
    for group in pods:
        if (found := _resize(group)) is None or found.reason != "Infeasible":
            continue
        for pod in group:
            yield failed(
                f"The resize of pod {pod.path} is Infeasible, so its containers do not have the requests and limits that it "
                f"states{_said(found)}."
            )


def _unfinished_problems(pods: Iterable[PodGroup], resource: str, what: str, read: Read) -> Iterator[Result]:
    """Containers that run without an amount until the resize is done that gives them one."""
    for group in pods:
        if (found := _resize(group)) is not None and found.reason != "Infeasible":
            for pod in group:
                yield from _not_yet(pod, resource, what, read, _said(found))


def _not_yet(pod: Pod, resource: str, what: str, read: Read, message: str) -> Iterator[Result]:
    if pod.spec.resources is not None and read(pod.spec.resources) is not None:
        return  # the pod has it for all of them
    stated = {container.name: _amounts(pod.spec, container, read) for container in pod.spec.sized_containers}
    for status in pod.state.containers:
        wanted = any(parse_quantity(amount) >= _LEAST[resource] for amount in stated.get(status.name, ()))
        if wanted and status.resources is not None and read(status.resources) is None:
            yield failed(
                f"Container {status.name} of pod {pod.path} has no {what} until the resize is done that gives it one{message}.",
                reason=Reason.MISSING,
            )


def judge_cpu_limits(pods: Sequence[PodGroup], options: ResourceOptions) -> Result:
    """Whether every container has a CPU limit, or its pod has one; a warning where that is advisory.

    `pods` are those that count, here and below; ProbeError is raised when there is none, as nothing was seen then.
    """
    status = Status.FAILED if options.cpu_limit_policy is CpuLimitPolicy.REQUIRED else Status.WARNING
    result = _judge_all_have(pods, _CPU, "CPU limit", _CPU_LIMIT, status)
    problems = [] if result.status is Status.OK else [result]
    problems += _infeasible_problems(pods)
    if status is Status.FAILED:
        problems += _unfinished_problems(pods, _CPU, "CPU limit", _CPU_LIMIT)
    return verdict(problems, result)


def judge_memory_limits(pods: Sequence[PodGroup], now: datetime) -> Result:
    """Whether every container has a memory limit, or its pod has one; being killed at it within a day is a warning."""
    result = _judge_all_have(pods, _MEMORY, "memory limit", _MEMORY_LIMIT)
    problems = [] if result.status.is_ok else [result]
    remarkable = [pod for found in pods if found.state.containers for pod in found]
    killed = (problem for pod in remarkable for problem in _killed_problems(pod, now))
    problems += [*_infeasible_problems(pods), *_unfinished_problems(pods, _MEMORY, "memory limit", _MEMORY_LIMIT)]
    return verdict([*problems, *killed], result)


def _killed_problems(pod: Pod, now: datetime) -> Iterator[Result]:
    for status in pod.state.containers:
        for ended in (status.state.terminated, status.last_state.terminated):
            if ended and ended.reason == "OOMKilled" and ended.finished_at and now - ended.finished_at <= OOM_WINDOW:
                ago = format_length(now - ended.finished_at)
                yield warning(f"Container {status.name} of {pod.path} was OOMKilled {ago} ago.")


def judge_requests(
    pods: Sequence[PodGroup],
    nodes: Iterable[Node],
    options: ResourceOptions,
    everywhere: Iterable[PodGroup] | None = None,
) -> Result:
    """Whether every container requests CPU and memory, none more than its limit, and no pod is the first to be evicted.

    A request of a pod without a node beyond what any node has is a warning, as is what the pods of a node request, or may take,
    beyond what it has. `everywhere` are all pods that there are: those that do not count share the nodes.
    """
    parts = [
        _judge_all_have(pods, _CPU, "CPU request", _CPU_REQUEST),
        _judge_all_have(pods, _MEMORY, "memory request", _MEMORY_REQUEST),
    ]
    problems = [part for part in parts if not part.status.is_ok]
    problems += _best_effort_problems(pods)
    problems += _infeasible_problems(pods)
    problems += _unfinished_problems(pods, _CPU, "CPU request", _CPU_REQUEST)
    problems += _unfinished_problems(pods, _MEMORY, "memory request", _MEMORY_REQUEST)
    problems += _above_limit_problems(pods)
    present = [found for found in (pods if everywhere is None else everywhere) if not found.state.has_ended]
    nodes = list(nodes)
    problems += _unplaceable_problems(pods, nodes)
    problems += _overcommit_problems(present, nodes, options)
    total = parts[0].measurements["containers_judged"]
    good = ok(
        f"Every container ({total:g}) requests CPU and memory.",
        containers_judged=total,
        containers_lacking=max(part.measurements["containers_lacking"] for part in parts),
    )
    return verdict(problems, good)


def _best_effort_problems(pods: Sequence[PodGroup]) -> Iterator[Result]:
    found = [alike for alike in pods if alike.state.qos_class == "BestEffort"]
    if number := pods_in(found):
        workloads = dict.fromkeys(map(_workload, found))
        yield failed(
            f"{counted(number, 'pod')} of QoS class BestEffort {'is' if number == 1 else 'are'} evicted first: "
            f"{listed(workloads, 5)}.",
            reason=Reason.MISSING,
        )


def _above_limit_problems(pods: Sequence[PodGroup]) -> Iterator[Result]:
    """Requests above limits: an API server takes none, but what was stored before may be."""
    for found, _ in _alike(pods):
        for container in found.spec.sized_containers:
            requests, limits = container.resources.requests, container.resources.limits
            for resource, request, limit in (
                (_CPU, requests.cpu, limits.cpu),
                (_MEMORY, requests.memory, limits.memory),
            ):
                if request is not None and limit is not None and parse_quantity(request) > parse_quantity(limit):
                    yield failed(
                        f"Container {container.name} of {_workload(found)} requests {request} of {resource}, more than its "
                        f"limit {limit}.",
                        reason=Reason.MISCONFIGURED,
                    )


def _unplaceable_problems(pods: Sequence[PodGroup], nodes: Sequence[Node]) -> Iterator[Result]:
    """Requests that no node can fulfil, even an empty one: perhaps one will be added that can."""
    having = [
        (parse_quantity(node.status.allocatable.cpu), parse_quantity(node.status.allocatable.memory))
        for node in nodes
        if node.status.allocatable.cpu is not None and node.status.allocatable.memory is not None
    ]
    reported: set[str] = set()
    for found in pods:
        if not having or all(found.nodes):
            continue
        cpu, memory = _of_pod(found.spec, _CPU_REQUEST), _of_pod(found.spec, _MEMORY_REQUEST)
        if any(cpu <= has_cpu and memory <= has_memory for has_cpu, has_memory in having):
            continue
        if (workload := _workload(found)) in reported:
            continue
        reported.add(workload)
        most_cpu, most_memory = (max(amounts) for amounts in zip(*having, strict=True))
        above = [
            f"{format_amount(resource, wanted)} {resource} for one pod, more than any node has ({format_amount(resource, most)})"
            for resource, wanted, most in ((_CPU, cpu, most_cpu), (_MEMORY, memory, most_memory))
            if wanted > most
        ]
        both = f"{format_amount(_CPU, cpu)} CPU and {format_amount(_MEMORY, memory)} memory for one pod, and no node has both"
        yield from (warning(f"{workload} requests {what}.") for what in above or [both])


def _overcommit_problems(pods: Sequence[PodGroup], nodes: Iterable[Node], options: ResourceOptions) -> Iterator[Result]:
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
                amount = " of ".join(format_amount(resource, Fraction(one, _NANO)) for one in (wanted, has))
                yield warning(f"Pods on node {node.name} request {amount} {resource}.")
        has = _nano(allocatable.memory or "0")
        if has and may > has * options.max_memory_overcommit:
            share = f"{may / has:.3g} times its memory (limit {options.max_memory_overcommit:g})"
            yield warning(f"Pods on node {node.name} may take {share}.")


@functools.lru_cache(maxsize=4096)
def _nano(quantity: str) -> int:
    return int(_NANO * parse_quantity(quantity))


def _of_pod(spec: PodSpec, read: Read) -> Fraction:
    """What a pod as a whole has of an amount, its runtime included: its own, or what its containers have that run together."""
    return _of_containers(spec, read) + parse_quantity(read(Resources(spec.overhead, spec.overhead)) or "0")


def _of_containers(spec: PodSpec, read: Read) -> Fraction:
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
