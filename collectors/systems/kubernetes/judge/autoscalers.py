"""Whether autoscalers are there for the workloads that need them, work, and aim at something sensible."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from fractions import Fraction

from pydantic import Field

from collectors.shared.verdicts import verdict
from collectors.systems.kubernetes.judge.lengths import length_beside
from collectors.systems.kubernetes.judge.workloads import Reference, Workload, judge_workload, workload_key
from collectors.systems.kubernetes.model.base import Amounts
from collectors.systems.kubernetes.model.objects import (
    ContainerRecommendation,
    HorizontalPodAutoscaler,
    Metric,
    ResourceMetric,
    VerticalPodAutoscaler,
    condition,
)
from collectors.systems.kubernetes.model.pods import PodGroup, PodSpec, pods_in
from collectors.systems.kubernetes.model.quantities import format_amount, parse_quantity
from exporter.options import Duration, Options, format_duration
from exporter.verdict import ProbeError, Reason, Result, failed, ok, unknown, warning
from exporter.words import counted, listed

__all__ = [
    "HpaOptions",
    "VpaOptions",
    "conflicts",
    "judge_hpa_thresholds",
    "judge_hpas",
    "judge_vpa_bounds",
    "judge_vpas",
    "vpa_helpers",
]

_KINDS = ("cpu", "memory")


def _name(key: tuple[str, str, str]) -> str:
    return f"{key[1]} {key[0]}/{key[2]}"


class HpaOptions(Options):
    """What is required of HorizontalPodAutoscalers."""

    hpa_required: tuple[Reference, ...] = Field(
        (), description="Workloads that need one: `namespace/name` of a Deployment, or `namespace/Kind/name`."
    )
    hpa_min_replicas: int = Field(2, ge=1, description="Fewest replicas that an autoscaler may scale down to.")
    hpa_limited_for: Duration = Field(
        timedelta(minutes=15), gt=timedelta(0), description="How long an autoscaler may want more than its maximum."
    )
    hpa_range: tuple[int, int] = Field((40, 85), description="Lowest and highest target utilization, in percent.")


class VpaOptions(Options):
    """What is required of VerticalPodAutoscalers."""

    vpa_required: tuple[Reference, ...] = Field(
        (), description="Workloads that need one: `namespace/name` of a Deployment, or `namespace/Kind/name`."
    )
    vpa_allow_off: bool = Field(True, description="Whether recommendations alone (update mode Off) are enough.")
    vpa_recommender: Reference | None = Field(
        "kube-system/vpa-recommender",
        description="The recommender's workload; none where the provider runs it out of sight.",
    )


# --- Horizontal ---


def judge_hpas(hpas: Iterable[HorizontalPodAutoscaler], options: HpaOptions, now: datetime) -> Result:
    """Whether each workload that needs an autoscaler has one, and all that are given work. None at all is `failed`."""
    found = list(hpas)
    problems = list(_missing(found, options))
    if not found and not problems:
        problems.append(failed("There is no HorizontalPodAutoscaler (wanted at least 1).", reason=Reason.MISSING))
    for hpa in found:
        problems += _judge_hpa(hpa, options, now)
    return verdict(problems, ok(f"Every HorizontalPodAutoscaler ({len(found)}) scales.", autoscalers=len(found)))


def _missing(hpas: Sequence[HorizontalPodAutoscaler], options: HpaOptions) -> Iterator[Result]:
    number: dict[tuple[str, str, str], int] = {}
    for hpa in hpas:
        target = hpa.target
        number[target] = number.get(target, 0) + 1
    for reference in options.hpa_required:
        if not number.get(workload_key(reference)):
            yield failed(f"{_name(workload_key(reference))} has no HorizontalPodAutoscaler.", reason=Reason.MISSING)
    for target, count in number.items():
        if count > 1:
            yield failed(f"{_name(target)} is scaled by {count} HorizontalPodAutoscalers (wanted 1).")


def _judge_hpa(hpa: HorizontalPodAutoscaler, options: HpaOptions, now: datetime) -> Iterator[Result]:
    name, spec, status = f"HorizontalPodAutoscaler {hpa.path}", hpa.spec, hpa.status
    least = spec.min_replicas if spec.min_replicas is not None else 1
    at_zero = _is_at_zero_by_keda(hpa)
    if least < options.hpa_min_replicas and not at_zero:
        yield failed(f"{name} may leave {counted(least, 'replica')} (wanted at least {options.hpa_min_replicas}).")
    if spec.max_replicas <= least:
        yield failed(f"{name} cannot scale: its maximum is {spec.max_replicas} and its minimum {least}.")
    behavior = spec.behavior
    if behavior is not None and behavior.scale_up is not None and behavior.scale_up.select_policy == "Disabled":
        yield failed(f"{name} never scales up: selectPolicy of its behavior is Disabled.", reason=Reason.MISCONFIGURED)
    for kind in ("AbleToScale", "ScalingActive"):
        seen = condition(status.conditions, kind)
        if seen is None or seen.status not in ("True", "False"):
            yield unknown(f"{name} does not report whether it works ({kind} is {seen.status if seen else 'missing'}).")
        elif seen.reason == "ScalingDisabled" and at_zero:
            pass
        elif seen.reason == "ScalingDisabled":
            yield warning(f"{name} scales nothing, as its workload is scaled to zero.")
        elif seen.status == "False":
            yield failed(f"{name} does not scale: {seen.reason} ({_one_line(seen.message)}).")
    limited = condition(status.conditions, "ScalingLimited")
    if limited and limited.status == "True" and status.desired_replicas >= spec.max_replicas:
        since = limited.last_transition_time
        if since is not None and now - since > options.hpa_limited_for:
            yield warning(
                f"{name} wants more than its maximum of {counted(spec.max_replicas, 'replica')} since "
                f"{length_beside(now - since, options.hpa_limited_for)} "
                f"(limit {format_duration(options.hpa_limited_for)})."
            )


def _is_at_zero_by_keda(hpa: HorizontalPodAutoscaler) -> bool:
    """Whether a ScaledObject of KEDA, which made the autoscaler, keeps its workload at zero while there is no work."""
    active = condition(hpa.status.conditions, "ScalingActive")
    made = any(owner.controller and owner.kind == "ScaledObject" for owner in hpa.metadata.owner_references)
    return made and active is not None and active.reason == "ScalingDisabled"


def judge_hpa_thresholds(hpas: Iterable[HorizontalPodAutoscaler], options: HpaOptions) -> Result:
    """Whether each autoscaler has metrics, sees them, and aims at a utilization within the range. None at all is `failed`."""
    found = list(hpas)
    if not found:
        return failed("There is no HorizontalPodAutoscaler (wanted at least 1).", reason=Reason.MISSING)
    problems = [problem for hpa in found for problem in _judge_thresholds(hpa, options)]
    low, high = options.hpa_range
    summary = f"Every HorizontalPodAutoscaler ({len(found)}) sees its metrics, and aims at {low} to {high} % where it is of use."
    return verdict(problems, ok(summary, autoscalers=len(found)))


def _judge_thresholds(hpa: HorizontalPodAutoscaler, options: HpaOptions) -> Iterator[Result]:
    name, metrics = f"HorizontalPodAutoscaler {hpa.path}", hpa.spec.metrics or ()
    low, high = options.hpa_range
    if not metrics:
        yield failed(f"{name} has no metrics to scale by.")
    # What could not be measured is there too, without a type.
    seen = sum(bool(metric.type) for metric in hpa.status.current_metrics or ())
    if seen < len(metrics):
        active = condition(hpa.status.conditions, "ScalingActive")
        if active is not None and active.reason == "ScalingDisabled" and _is_at_zero_by_keda(hpa):
            pass
        elif active is not None and active.reason == "ScalingDisabled":
            yield warning(f"{name} measures nothing, as its workload is scaled to zero.")
        else:
            yield failed(f"{name} sees {seen} of its {counted(len(metrics), 'metric')}.")
    for metric in metrics:
        source = _source(metric)
        if source is not None and (aim := source.target.average_utilization) is not None and not low <= aim <= high:
            yield failed(f"{name} aims at {aim} % {source.name} (wanted {low} to {high} %).")


# --- Vertical ---


def judge_vpas(
    vpas: Iterable[VerticalPodAutoscaler],
    options: VpaOptions,
    *,
    recommender: Workload | None,
    helpers: Mapping[str, Workload | None] | None = None,
    hpas: Iterable[HorizontalPodAutoscaler] = (),
) -> Result:
    """Whether each workload that needs one has a VerticalPodAutoscaler, and all that are given recommend. None at all is `failed`.

    `recommender` is the workload that the options name, None when it was not found. Conflicts with horizontal autoscalers on
    the same metric, and the mode Auto, which is deprecated, are warnings. `helpers` are the workloads beside the recommender that
    apply what it recommends, by the names that `vpa_helpers` gives, None where one does not exist.
    """
    found = list(vpas)
    problems = []
    if options.vpa_recommender is not None:
        if recommender is None:
            name = _name(workload_key(options.vpa_recommender))
            problems.append(failed(f"{name}, which recommends, does not exist.", reason=Reason.MISSING))
        else:
            problems += judge_workload(recommender)
    targets = {vpa.target for vpa in found}
    problems += [
        failed(f"{_name(workload_key(reference))} has no VerticalPodAutoscaler.", reason=Reason.MISSING)
        for reference in options.vpa_required
        if workload_key(reference) not in targets
    ]
    if not found and not options.vpa_required:
        problems.append(failed("There is no VerticalPodAutoscaler (wanted at least 1).", reason=Reason.MISSING))
    for vpa in found:
        problems += _judge_vpa(vpa, options)
    problems += _helper_problems(found, helpers or {})
    problems += _shared_targets(found)
    problems += [warning(conflict) for conflict in conflicts(found, hpas)]
    return verdict(problems, ok(f"Every VerticalPodAutoscaler ({len(found)}) recommends.", autoscalers=len(found)))


_RECOMMENDER = "recommender"
_UPDATER, _ADMISSION = "updater", "admission-controller"


def vpa_helpers(recommender: Reference) -> tuple[Reference, ...]:
    """The updater and the admission controller of a recommender, by the names that every installation gives the three."""
    namespace, _, name = recommender.rpartition("/")
    before, found, after = name.rpartition(_RECOMMENDER)
    return tuple(f"{namespace}/{before}{helper}{after}" for helper in (_UPDATER, _ADMISSION)) if found else ()


def _helper_problems(vpas: Sequence[VerticalPodAutoscaler], helpers: Mapping[str, Workload | None]) -> Iterator[Result]:
    """What keeps recommendations from being applied: one helper has pods made again, the other sizes them then."""
    for reference, workload in helpers.items():
        idle = ("Off", "Initial") if _UPDATER in reference else ("Off",)
        waiting = [vpa.path for vpa in vpas if _mode(vpa) not in idle]
        if not waiting:
            continue
        applied = f"what {counted(len(waiting), 'VerticalPodAutoscaler')} ({listed(waiting, 3)}) should apply"
        if workload is None:
            yield warning(
                f"{_name(workload_key(reference))} does not exist, which applies {applied}, unless it has another name."
            )
        else:
            yield from judge_workload(workload)


def _shared_targets(vpas: Sequence[VerticalPodAutoscaler]) -> Iterator[Result]:
    number: dict[tuple[str, str, str], int] = {}
    for vpa in vpas:
        number[vpa.target] = number.get(vpa.target, 0) + 1
    for target, count in number.items():
        if count > 1:
            yield warning(
                f"{_name(target)} is sized by {count} VerticalPodAutoscalers (wanted 1): only one of them counts."
            )


def _mode(vpa: VerticalPodAutoscaler) -> str:
    """What is done with recommendations; empty where that is left to the version's default, which is never `Off`."""
    policy = vpa.spec.update_policy
    return (policy.update_mode if policy else None) or ""


def _judge_vpa(vpa: VerticalPodAutoscaler, options: VpaOptions) -> Iterator[Result]:
    name, conditions, mode = f"VerticalPodAutoscaler {vpa.path}", vpa.status.conditions, _mode(vpa)
    for kind, means in (
        ("NoPodsMatched", "matches no pods"),
        ("ConfigUnsupported", "has a configuration that is not supported"),
    ):
        seen = condition(conditions, kind)
        if seen is not None and seen.status == "True":
            yield failed(f"{name} {means}{f' ({_one_line(seen.message)})' if seen.message else ''}.")
    provided = condition(conditions, "RecommendationProvided")
    if provided is None or provided.status not in ("True", "False"):
        yield unknown(f"{name} does not report whether it recommends anything.")
    elif provided.status == "False":
        yield failed(f"{name} recommends nothing{f': {provided.reason}' if provided.reason else ''}.")
    if mode == "Off" and not options.vpa_allow_off:
        yield failed(f"{name} only recommends (update mode Off).")
    if mode == "Auto":
        yield warning(
            f"{name} has update mode Auto, which is deprecated: Recreate or InPlaceOrRecreate says what is done."
        )


def conflicts(vpas: Iterable[VerticalPodAutoscaler], hpas: Iterable[HorizontalPodAutoscaler]) -> Iterator[str]:
    """Workloads that are scaled both ways by the same metric, so that each autoscaler moves what the other goes by."""
    scaled: dict[tuple[str, str, str], set[str]] = {}
    for hpa in hpas:
        used = {source.name for metric in hpa.spec.metrics or () if (source := _source(metric))}
        scaled.setdefault(hpa.target, set()).update(used)
    for vpa in vpas:
        target = vpa.target
        if _mode(vpa) != "Off" and (both := sorted(_controlled(vpa) & scaled.get(target, set()))):
            same = " and ".join(both)
            yield f"{_name(target)} is scaled by VerticalPodAutoscaler {vpa.name} and horizontally by the same {same}."


def _source(metric: Metric) -> ResourceMetric | None:
    return metric.resource or metric.container_resource


def _controlled(vpa: VerticalPodAutoscaler) -> set[str]:
    """The resources of some container that a VerticalPodAutoscaler changes."""
    policies = (vpa.spec.resource_policy.container_policies if vpa.spec.resource_policy else None) or ()
    default = [policy for policy in policies if policy.container_name == "*"]
    # Containers without a policy of their own have the default one, and without that all is controlled.
    controlled: set[str] = set() if default else set(_KINDS)
    for policy in policies:
        if policy.mode != "Off":
            controlled.update(_KINDS if policy.controlled_resources is None else policy.controlled_resources)
    return controlled


def judge_vpa_bounds(vpas: Iterable[VerticalPodAutoscaler], pods: Iterable[PodGroup]) -> Result:
    """Whether the requests of running containers are within the bounds that are recommended for them. Outside is a warning.

    Raises ProbeError when there is no recommendation to compare with; one of low confidence is `unknown`.
    """
    found = list(vpas)
    if not found:
        raise ProbeError(
            "There is no VerticalPodAutoscaler, so there are no recommendations to compare requests with.",
            Reason.MISSING,
        )
    of_workload: dict[tuple[str, str, str], list[PodGroup]] = {}
    for alike in pods:
        if alike.state.is_live:
            for workload in dict.fromkeys(alike.workloads):
                of_workload.setdefault((alike.namespace, *workload), []).append(alike)
    problems: list[Result] = []
    compared = 0
    for vpa in found:
        recommended = (vpa.status.recommendation.container_recommendations if vpa.status.recommendation else None) or ()
        low = condition(vpa.status.conditions, "LowConfidence")
        if low is not None and low.status == "True":
            problems.append(
                unknown(f"VerticalPodAutoscaler {vpa.path} has seen too little to be relied on (LowConfidence).")
            )
            continue
        if not recommended:
            problems.append(unknown(f"VerticalPodAutoscaler {vpa.path} recommends nothing."))
            continue
        target = vpa.target
        by_name = {bound.container_name: bound for bound in recommended if bound.lower_bound or bound.upper_bound}
        its_pods = of_workload.get(target, [])
        if not its_pods:
            problems.append(
                unknown(f"{_name(target)}, which VerticalPodAutoscaler {vpa.path} sizes, has no pod and no template.")
            )
        elif not any(container.name in by_name for alike in its_pods for container in alike.spec.sized_containers):
            problems.append(
                unknown(f"VerticalPodAutoscaler {vpa.path} recommends nothing for the containers that run.")
            )
        compared += pods_in(its_pods)
        outside = dict.fromkeys(problem for alike in its_pods for problem in _outside(alike.spec, by_name))
        problems += [warning(f"{problem} of {_name(target)}.") for problem in outside]
    return verdict(
        problems, ok(f"Requests of {counted(compared, 'pod')} are within what is recommended.", pods_judged=compared)
    )


def _outside(spec: PodSpec, recommended: Mapping[str, ContainerRecommendation]) -> Iterator[str]:
    for container in spec.sized_containers:
        if (recommendation := recommended.get(container.name)) is None:
            continue
        shared = spec.resources.requests if spec.resources else Amounts()
        for resource, request in (
            ("cpu", container.resources.requests.cpu),
            ("memory", container.resources.requests.memory),
        ):
            bounds = recommendation.lower_bound.get(resource), recommendation.upper_bound.get(resource)
            of_pod = shared.cpu if resource == "cpu" else shared.memory
            if bounds == (None, None) or (request is None and of_pod is not None):
                continue  # nothing is recommended of it, or the pod requests it for all its containers
            low = parse_quantity(bounds[0]) if bounds[0] is not None else Fraction()
            high = parse_quantity(bounds[1]) if bounds[1] is not None else None
            if request is None:
                yield f"No {resource} is requested for container {container.name}"
            elif parse_quantity(request) < low or (high is not None and parse_quantity(request) > high):
                wanted = f"at least {format_amount(resource, low)}"
                if high is not None:
                    wanted = f"{format_amount(resource, low)} to {format_amount(resource, high)}"
                seen = format_amount(resource, parse_quantity(request))
                yield f"{seen} {resource} is requested (recommended {wanted}) for container {container.name}"


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")[:200]
