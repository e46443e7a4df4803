"""Whether namespaces are kept from using up a cluster: quotas that count their pods, and defaults for those that say nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pydantic import Field

from collectors.shared.verdicts import collected, verdict
from collectors.systems.kubernetes.judge.resources import LEAST_MEMORY, CpuLimitPolicy
from collectors.systems.kubernetes.model.objects import LimitRange, Namespace, ResourceQuota, ScopeRequirement
from collectors.systems.kubernetes.model.pods import PodGroup, pods_in
from collectors.systems.kubernetes.model.quantities import format_amount, parse_quantity
from exporter.options import Options
from exporter.verdict import ProbeError, Reason, Result, failed, ok, unknown, warning
from exporter.words import counted, listed

__all__ = ["QuotaOptions", "counts", "judge_quotas"]

_CPU = ("cpu", "requests.cpu", "limits.cpu")
_MEMORY = ("memory", "requests.memory", "limits.memory")


class QuotaOptions(Options):
    """What is required of quotas and limit ranges."""

    quota_warn: float = Field(0.9, gt=0, le=1, description="Share of a quota (0 to 1) from which its use is a warning.")
    cpu_limit_policy: CpuLimitPolicy = Field(
        CpuLimitPolicy.REQUIRED,
        description="required, or advisory where CPU limits are left out on purpose: then none has to be a default.",
    )


def counts(quota: ResourceQuota, pods: PodGroup | None) -> bool:
    """Whether a quota counts pods that are the same; None stands for one without anything special.

    Such a pod has no deadline and no priority class, and is not of QoS class BestEffort. Raises ProbeError for a scope that is not
    known.
    """
    scopes = [ScopeRequirement(scope, "Exists") for scope in quota.spec.scopes or ()]
    if quota.spec.scope_selector:
        scopes += quota.spec.scope_selector.match_expressions or ()
    return all(_is_in(scope, pods, quota) for scope in scopes)


def _is_in(scope: ScopeRequirement, pods: PodGroup | None, quota: ResourceQuota) -> bool:
    best_effort = pods is not None and pods.state.qos_class == "BestEffort"
    ends = pods is not None and pods.spec.active_deadline_seconds is not None
    match scope.scope_name:
        case "Terminating":
            return ends
        case "NotTerminating":
            return not ends
        case "BestEffort":
            return best_effort
        case "NotBestEffort":
            return not best_effort
        case "PriorityClass":
            return _has_priority(scope, pods.spec.priority_class if pods else "")
        case "CrossNamespacePodAffinity":
            return False  # it counts pods that few namespaces have
    raise ProbeError(f"Which pods ResourceQuota {quota.path} counts by its scope {scope.scope_name} is not known.")


def _has_priority(scope: ScopeRequirement, priority: str) -> bool:
    values = scope.values or ()
    return {
        "In": bool(priority) and priority in values,
        "NotIn": priority not in values,
        "Exists": bool(priority),
        "DoesNotExist": not priority,
    }.get(scope.operator, False)


def judge_quotas(
    namespaces: Iterable[Namespace],
    quotas: Iterable[ResourceQuota],
    limit_ranges: Iterable[LimitRange],
    pods: Iterable[PodGroup],
    options: QuotaOptions,
) -> Result:
    """Whether every namespace given has quotas that count CPU and memory of all its pods, and defaults for both.

    A quota with scopes counts only some pods. Nearly used up is a warning. Raises ProbeError without any namespace.
    """
    if not (names := [namespace.name for namespace in namespaces]):
        raise ProbeError("Every namespace is exempt, so nothing was checked.", Reason.NOT_CONFIGURED)
    its_quotas: dict[str, list[ResourceQuota]] = {name: [] for name in names}
    its_ranges: dict[str, list[LimitRange]] = {name: [] for name in names}
    its_pods: dict[str, list[PodGroup]] = {name: [] for name in names}
    for quota in quotas:
        its_quotas.get(quota.namespace, []).append(quota)
    for limit_range in limit_ranges:
        its_ranges.get(limit_range.namespace, []).append(limit_range)
    for found in pods:
        if not found.state.has_ended:
            its_pods.get(found.namespace, []).append(found)
    problems: list[Result] = []
    used = 0.0
    for name in names:
        problems += collected(_coverage_problems(name, its_quotas[name], its_pods[name]))
        problems += _default_problems(name, its_ranges[name], its_quotas[name], options)
        problems += _too_large_defaults(its_ranges[name], its_quotas[name])
        for quota in its_quotas[name]:
            shares = _shares(quota)
            used = max([used, *shares.values()])
            problems += collected(_use_problems(quota, shares, options))
    summary = f"Every namespace ({len(names)}) has quotas for CPU and memory of all its pods, and defaults for both."
    return verdict(problems, ok(summary, quota_used_ratio=used))


def _coverage_problems(name: str, quotas: Sequence[ResourceQuota], pods: Sequence[PodGroup]) -> Iterator[Result]:
    for resource, keys in (("CPU", _CPU), ("memory", _MEMORY)):
        of_resource = [quota for quota in quotas if any(key in quota.spec.hard for key in keys)]
        if not of_resource:
            yield failed(f"Namespace {name} has no ResourceQuota for {resource}.", reason=Reason.MISSING)
            continue
        if any(not quota.spec.scopes and not quota.spec.scope_selector for quota in of_resource):
            continue
        free = [found for found in pods if not any(counts(quota, found) for quota in of_resource)]
        if free:
            workloads = dict.fromkeys("{} {}".format(*found.workload) for found in free)
            yield failed(
                f"The scopes of the quotas for {resource} in {name} leave out {counted(pods_in(free), 'pod')} of "
                f"{pods_in(pods)}: {listed(workloads, 3)}."
            )
        elif not any(counts(quota, None) for quota in of_resource):
            scoped = listed((quota.name for quota in of_resource), 3)
            yield failed(
                f"The quotas for {resource} in {name} ({scoped}) count only pods of their scopes, not any pod."
            )


def _demanded(quotas: Iterable[ResourceQuota]) -> set[str]:
    """The defaults that nobody needs: where a quota counts all pods, the API server refuses one that lacks what it counts."""
    hard = {
        key for quota in quotas if not quota.spec.scopes and not quota.spec.scope_selector for key in quota.spec.hard
    }
    return {
        f"{default} {resource}"
        for default, side in (("default", "limits"), ("defaultRequest", "requests"))
        for resource in ("cpu", "memory")
        if f"{side}.{resource}" in hard or (side == "requests" and (resource in hard or f"limits.{resource}" in hard))
    }


def _default_problems(
    name: str, ranges: Sequence[LimitRange], quotas: Sequence[ResourceQuota], options: QuotaOptions
) -> Iterator[Result]:
    """Defaults that containers need and do not get. A container without a request gets its limit as one."""
    needless = _demanded(quotas)
    if options.cpu_limit_policy is CpuLimitPolicy.ADVISORY:
        needless.add("default cpu")
    items = [item for limit_range in ranges for item in limit_range.spec.limits or () if item.type == "Container"]
    # A default of 0 is none, and yet all that a quota demands.
    needless -= {
        f"default {name}" for item in items for name, amount in item.default.items() if not parse_quantity(amount)
    }
    needless -= {
        f"defaultRequest {name}"
        for item in items
        for name, amount in item.default_request.items()
        if not parse_quantity(amount)
    }
    missing = [
        f"{key} {resource}"
        for key, given in (
            ("default", [item.default for item in items]),
            ("defaultRequest", [item.default_request for item in items]),
        )
        for resource in ("cpu", "memory")
        if f"{key} {resource}" not in needless
        and not any(parse_quantity(amounts.get(resource, 0)) > 0 for amounts in given)  # a limit of 0 is none
    ]
    if missing and not ranges:
        yield failed(
            f"Namespace {name} has no LimitRange, so containers that set nothing get no {listed(missing)}.",
            reason=Reason.MISSING,
        )
    elif missing:
        yield failed(
            f"The LimitRange of namespace {name} gives containers no {listed(missing)}.", reason=Reason.MISSING
        )


def _too_large_defaults(ranges: Sequence[LimitRange], quotas: Sequence[ResourceQuota]) -> Iterator[Result]:
    """Defaults above what a quota of all pods allows: then no container can be made that sets nothing itself."""
    for limit_range in ranges:
        for item in limit_range.spec.limits or ():
            given = {f"limits.{name}": amount for name, amount in item.default.items()}
            given |= {f"requests.{name}": amount for name, amount in item.default_request.items()}
            given |= item.default_request
            for quota in quotas if item.type == "Container" else ():
                if quota.spec.scopes or quota.spec.scope_selector:
                    continue
                for resource, amount in given.items():
                    hard = quota.spec.hard.get(resource)
                    if hard is not None and 0 < parse_quantity(hard) < parse_quantity(amount):
                        yield warning(
                            f"LimitRange {limit_range.path} gives a container {amount} of {resource} by default, more than "
                            f"ResourceQuota {quota.path} allows in all ({hard})."
                        )


_FEW = 10
"""Of fewer objects than these all may be in use for good: 2 of 2 load balancers are no sign that more will be needed."""
_COUNTS = frozenset({"pods", "services", "secrets", "configmaps", "persistentvolumeclaims", "replicationcontrollers"})


def _is_count(resource: str) -> bool:
    """Whether a quota counts objects (`services.loadbalancers`, `count/jobs.batch`), not an amount."""
    return (
        resource.startswith(("count/", "services."))
        or resource.rpartition("/")[2] in _COUNTS
        or (resource.endswith("/persistentvolumeclaims"))
    )


def _shares(quota: ResourceQuota) -> dict[str, float]:
    """How much of each resource is used (0 to 1, or more), where there is anything to use."""
    shares = {}
    for resource, hard in quota.status.hard.items():
        if (most := parse_quantity(hard)) > 0 and resource in quota.status.used:
            shares[resource] = float(parse_quantity(quota.status.used[resource]) / most)
    return shares


def _use_problems(quota: ResourceQuota, shares: dict[str, float], options: QuotaOptions) -> Iterator[Result]:
    if uncounted := [resource for resource in quota.spec.hard if resource not in quota.status.used]:
        yield unknown(f"The use of ResourceQuota {quota.path} has not been counted: {listed(uncounted, 3)}.")
    for resource, hard in quota.status.hard.items():
        least = LEAST_MEMORY if resource in _MEMORY else 0
        if resource in (*_CPU, *_MEMORY) and (parse_quantity(hard) == 0 or parse_quantity(hard) < least):
            much = "no" if parse_quantity(hard) == 0 else f"only {hard} of"
            yield warning(
                f"ResourceQuota {quota.path} allows {much} {resource}{' at all' if much == 'no' else ''}, so no pod that needs it "
                "can be made."
            )
    of_all = not quota.spec.scopes and not quota.spec.scope_selector  # with a scope, 0 forbids pods of one sort
    if of_all and any(parse_quantity(quota.status.hard.get(resource, 1)) == 0 for resource in ("pods", "count/pods")):
        yield warning(f"ResourceQuota {quota.path} allows no pods at all, so none can be made.")
    for resource, share in shares.items():
        few = _is_count(resource) and parse_quantity(quota.status.hard[resource]) < _FEW
        if share >= options.quota_warn and not (few and share <= 1):
            used, hard = (
                format_amount(resource, parse_quantity(amounts[resource]))
                for amounts in (quota.status.used, quota.status.hard)
            )
            yield warning(
                f"ResourceQuota {quota.path} is used to {share:.0%}: {used} of {hard} {resource} (limit {options.quota_warn:.0%})."
            )
