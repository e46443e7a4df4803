"""Whether pods are given the time to shut down, and whether they use it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from collectors.systems.kubernetes.judge.workloads import Workload
from collectors.systems.kubernetes.model.pods import Container, ContainerStatus, Pod, PodGroup, Terminated
from collectors.systems.kubernetes.model.shutdown import ShutdownLimits
from exporter.options import format_duration
from exporter.verdict import Reason, Result, failed, unknown
from exporter.words import format_length, listed

__all__ = ["shutdown_problems"]

_DEFAULT_GRACE = 30
_KILLED = 137
_SLACK = timedelta(seconds=2)  # the kubelet writes whole seconds


def shutdown_problems(
    pods: Sequence[PodGroup],
    workloads: Iterable[Workload],
    departed: Sequence[PodGroup],
    limits: ShutdownLimits,
    now: datetime,
) -> Iterator[Result]:
    """What keeps pods, and those that their workloads will make, from ending well; and containers that were killed lately, also of
    pods that are gone (`departed`).
    """
    replaced = _replaced_revisions(pods, departed)
    for pod in (pod for group in (*pods, *departed) for pod in group):
        if _revision(pod) not in replaced:
            yield from _kill_problems(pod, limits, now)
    for workload in workloads:
        spec = workload.spec.template.spec
        path = f"{workload.kind} {workload.namespace}/{workload.name}"
        yield from _spec_problems(path, spec.termination_grace_period_seconds, spec.containers, limits)
    for group in pods:
        kind, name = group.workload
        if group.state.is_live:
            path = f"A pod of {kind} {group.namespace}/{name}" if kind != "Pod" else f"Pod {group.namespace}/{name}"
            yield from _spec_problems(path, group.spec.termination_grace_period_seconds, group.spec.containers, limits)


def _revision(pod: Pod) -> str:
    """What the pods of one revision of a workload have in common; empty for pods that have no such label."""
    return pod.labels.get("pod-template-hash") or pod.labels.get("controller-revision-hash") or ""


def _replaced_revisions(pods: Sequence[PodGroup], departed: Sequence[PodGroup]) -> frozenset[str]:
    """Revisions of which no pod is left, where a pod of one that is there was seen to end by itself.

    A rollout that repairs the shutdown kills pods for the last time: those that it replaces.
    """
    left = {_revision(pod) for group in pods for pod in group}
    gone = [pod for group in departed for pod in group]
    well = {_revision(pod) for pod in gone if not any(_was_killed(end) for _, end in _ends(pod))}
    return frozenset({_revision(pod) for pod in gone} - left - {""}) if well & left - {""} else frozenset()


def _ends(pod: Pod) -> Iterator[tuple[ContainerStatus, Terminated]]:
    """How containers ended, now or before they were started again."""
    for status in pod.state.containers:
        for state in (status.state, status.last_state):
            if state.terminated is not None:
                yield status, state.terminated


def _spec_problems(
    path: str, given: int | None, containers: Sequence[Container], limits: ShutdownLimits
) -> Iterator[Result]:
    grace = _DEFAULT_GRACE if given is None else given
    if grace < limits.min_grace_period.total_seconds():
        yield failed(
            f"{path} has {grace} s to shut down (terminationGracePeriodSeconds), less than "
            f"{format_duration(limits.min_grace_period)}.",
            reason=Reason.LIMIT,
        )
    for container in containers:
        hook = container.lifecycle.pre_stop if container.lifecycle else None
        if hook and hook.sleep and hook.sleep.seconds >= grace:
            yield failed(
                f"{path} spends all its {grace} s to shut down in the preStop hook of container {container.name}, which sleeps "
                f"{hook.sleep.seconds} s.",
                reason=Reason.MISCONFIGURED,
            )
    # A sidecar's probe says nothing of the service: each container that serves a port needs one of its own.
    serving = [one for one in containers if one.ports]
    without = [one.name for one in serving or containers if one.readiness_probe is None]
    if without and (serving or len(without) == len(containers)):
        yield failed(
            f"{path} has no readiness probe of {listed(without)}, so a rollout stops old pods before new ones can answer.",
            reason=Reason.MISSING,
        )


def _kill_problems(pod: Pod, limits: ShutdownLimits, now: datetime) -> Iterator[Result]:
    if pod.state.reason == "Evicted":  # without any grace, where a node runs out of something
        return
    for status, ended in _ends(pod):
        if _was_killed(ended) and (at := ended.finished_at) and now - at <= limits.kill_window:
            yield _killed(pod, status, ended, at, now)


def _was_killed(ended: Terminated) -> bool:
    return ended.exit_code == _KILLED and ended.reason != "OOMKilled"


def _killed(pod: Pod, status: ContainerStatus, ended: Terminated, at: datetime, now: datetime) -> Result:
    if (deleted := pod.state.deleted) is not None and ended is status.state.terminated:
        # The kubelet's last report leaves no grace, and sets `deleted` back to when the pod was asked to stop.
        given = pod.template.spec.termination_grace_period_seconds
        left = 0 if pod.state.grace else _DEFAULT_GRACE if given is None else given
        if at >= deleted + timedelta(seconds=left) - _SLACK:
            ago = format_length(max(now - at, timedelta(0)))
            return failed(
                f"Container {status.name} of pod {pod.path} was killed {ago} ago at the end of its grace period (exit code 137): "
                "it did not stop when it was asked to.",
            )
    return unknown(
        f"Container {status.name} of pod {pod.path} was killed {format_length(now - at)} ago (exit code 137, not OOMKilled): "
        "whether it was asked to stop before, and did not, is not visible.",
        reason=Reason.CONTRADICTED,
    )
