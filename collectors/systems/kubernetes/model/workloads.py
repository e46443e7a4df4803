"""Whose pods are whose, and which pods there would be: those of CronJobs between runs, and of what is scaled to zero."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

import msgspec

from collectors.systems.kubernetes.model.base import Amounts
from collectors.systems.kubernetes.model.objects import (
    CronJob,
    DaemonSet,
    DaemonSetStatus,
    Deployment,
    Job,
    LimitRange,
    ReplicaSet,
    ReplicationController,
    StatefulSet,
    condition,
)
from collectors.systems.kubernetes.model.pods import (
    Container,
    PodGroup,
    PodSpec,
    PodState,
    PodTemplate,
    Resources,
    TemplateItem,
    nearest_owner,
)
from collectors.systems.kubernetes.model.quantities import parse_quantity

__all__ = ["PLANNED", "Templated", "has_finished", "planned_pods", "template_of", "with_owners"]

Templated: TypeAlias = Deployment | StatefulSet | DaemonSet | ReplicaSet | ReplicationController | Job | CronJob

PLANNED = "Planned"
"""The phase of pods that do not exist yet."""
_MOST_OWNERS = 8


def template_of(workload: Templated) -> TemplateItem:
    """What a workload makes its pods of."""
    return workload.spec.job_template.spec.template if isinstance(workload, CronJob) else workload.spec.template


def has_finished(job: Job) -> bool:
    """Whether a Job is done, well or badly, and makes no more pods."""
    return any(
        found is not None and found.status == "True"
        for found in (condition(job.status.conditions, kind) for kind in ("Complete", "Failed"))
    )


def with_owners(pods: Iterable[PodGroup], workloads: Iterable[Templated]) -> list[PodGroup]:
    """The pods, each with all that own it: a Job of a CronJob, a ReplicaSet of a Rollout, a StatefulSet of an operator's object."""
    owner_of: dict[tuple[str, str, str], tuple[str, str]] = {}
    for workload in workloads:
        for owner in workload.metadata.owner_references:
            if owner.controller:
                owner_of[workload.namespace, workload.kind, workload.name] = owner.kind, owner.name
    known: dict[PodTemplate, PodTemplate] = {}
    found = []
    for group in pods:
        template = group.template
        if (owned := known.get(template)) is None:
            owners = tuple(_owners(template, owner_of))
            owned = known[template] = msgspec.structs.replace(template, owners=owners) if owners else template
        found.append(group if owned is template else msgspec.structs.replace(group, template=owned))
    return found


def _owners(
    template: PodTemplate, owner_of: Mapping[tuple[str, str, str], tuple[str, str]]
) -> Iterator[tuple[str, str]]:
    owner = nearest_owner(template)
    for _ in range(_MOST_OWNERS):  # owners in a circle are nothing that a controller makes
        if owner is None or (owner := owner_of.get((template.namespace, *owner))) is None:
            return
        yield owner


def planned_pods(
    workloads: Iterable[Templated], live: Iterable[PodGroup], limit_ranges: Iterable[LimitRange]
) -> list[PodGroup]:
    """The pods that workloads without a live one of their template would have: one of each, with the defaults of LimitRanges.

    `live` are all pods, with their owners. A Job that has finished makes no more; one of a CronJob counts as that, and a ReplicaSet
    of a Deployment or a Rollout (a ReplicationController of a DeploymentConfig) as that.
    """
    having = {(group.namespace, *owner) for group in live if group.state.is_live for owner in group.workloads}
    defaults = _defaults(limit_ranges)
    found = []
    for workload in workloads:
        if workload.metadata.deletion_timestamp or (
            (workload.namespace, workload.kind, workload.name) in having and not _waits(workload)
        ):
            continue
        owner = next((one for one in workload.metadata.owner_references if one.controller), None)
        if isinstance(workload, Job) and (has_finished(workload) or (owner and owner.kind == "CronJob")):
            continue
        if isinstance(workload, ReplicaSet | ReplicationController) and owner:
            continue
        template = template_of(workload).template(workload.namespace, workload.kind, workload.name)
        limits, requests = defaults.get(workload.namespace, _NO_DEFAULTS)
        spec = _with_defaults(template.spec, limits, requests)
        owners = ((owner.kind, owner.name),) if owner else ()
        state = PodState(PLANNED, qos_class="BestEffort" if _is_best_effort(spec) else "")
        found.append(PodGroup(msgspec.structs.replace(template, spec=spec, owners=owners), state, "planned", ("",)))
    return found


def _waits(workload: Templated) -> bool:
    """Whether none of its pods are of its present template: it is paused, or waits until pods are deleted (OnDelete)."""
    if (
        isinstance(workload, Job | CronJob | ReplicaSet | ReplicationController)
        or workload.observed_generation < workload.metadata.generation
    ):
        return False
    status = workload.status
    updated = status.updated_number_scheduled if isinstance(status, DaemonSetStatus) else status.updated_replicas
    return workload.ready > 0 and updated == 0


_NO_DEFAULTS = Amounts(), Amounts()


def _defaults(limit_ranges: Iterable[LimitRange]) -> dict[str, tuple[Amounts, Amounts]]:
    """The limits and requests that containers of each namespace get that have none of their own."""
    found: dict[str, tuple[Amounts, Amounts]] = {}
    for limit_range in limit_ranges:
        for item in limit_range.spec.limits or ():
            if item.type != "Container":
                continue
            limits, requests = found.get(limit_range.namespace, _NO_DEFAULTS)
            own_limits = Amounts(*(_text(item.default.get(name)) for name in ("cpu", "memory")))
            own_requests = Amounts(*(_text(item.default_request.get(name)) for name in ("cpu", "memory")))
            found[limit_range.namespace] = _filled(limits, own_limits), _filled(requests, own_requests)
    return found


def _text(quantity: str | float | None) -> str | None:
    return None if quantity is None else str(quantity)


def _filled(amounts: Amounts, defaults: Amounts) -> Amounts:
    return Amounts(
        amounts.cpu if amounts.cpu is not None else defaults.cpu,
        amounts.memory if amounts.memory is not None else defaults.memory,
    )


def _with_defaults(spec: PodSpec, limits: Amounts, requests: Amounts) -> PodSpec:
    """The spec as the API server would store it: LimitRanges first, then requests that are not set are those of limits."""

    def sized(container: Container) -> Container:
        own = container.resources
        limited = _filled(own.limits, limits)
        requested = _filled(_filled(own.requests, own.limits), _filled(requests, limited))
        return msgspec.structs.replace(container, resources=Resources(requested, limited))

    return msgspec.structs.replace(
        spec, containers=tuple(map(sized, spec.containers)), init_containers=tuple(map(sized, spec.init_containers))
    )


def _is_best_effort(spec: PodSpec) -> bool:
    shared = (spec.resources.requests, spec.resources.limits) if spec.resources else ()
    amounts = [
        *shared,
        *(side for one in spec.sized_containers for side in (one.resources.requests, one.resources.limits)),
    ]
    return not any(
        amount is not None and parse_quantity(amount) > 0 for one in amounts for amount in (one.cpu, one.memory)
    )
