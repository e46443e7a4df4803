"""Whether pods and the workloads that they belong to are as they shall be, and whether CronJobs run as they are scheduled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Annotated, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field

from collectors.shared.verdicts import collected, verdict
from collectors.systems.kubernetes.model.objects import (
    CronJob,
    DaemonSet,
    Deployment,
    Job,
    ReplicaSet,
    StatefulSet,
    condition,
)
from collectors.systems.kubernetes.model.pods import ContainerStatus, Pod, PodGroup, pods_in
from collectors.systems.kubernetes.model.selectors import matches, parse_selector
from exporter.options import Duration, Options, format_duration, parse_duration
from exporter.verdict import ProbeError, Reason, Result, failed, ok, unknown
from exporter.words import counted, format_length

__all__ = [
    "PodLimits",
    "PodSelection",
    "Reference",
    "Workload",
    "judge_pods",
    "judge_schedule",
    "judge_workload",
    "period_of",
    "pods_of",
    "unready",
    "workload_key",
    "workloads_of",
]

Workload: TypeAlias = Deployment | StatefulSet | DaemonSet | ReplicaSet

#: Reasons for which a container waits that do not go away by themselves.
_STUCK = frozenset(
    {
        "CrashLoopBackOff",
        "ImagePullBackOff",
        "ErrImagePull",
        "InvalidImageName",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
_NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_EVERY = "@every "
SCHEDULE_FACTOR = 1.5
_SKEW = timedelta(minutes=5)


def _selector(text: str) -> str:
    parse_selector(text)
    return text


def _reference(text: str) -> str:
    if len(text.split("/")) not in (2, 3) or not all(text.split("/")):
        raise ValueError("expected namespace/name of a Deployment, or namespace/Kind/name")
    return text


Reference = Annotated[str, AfterValidator(_reference)]
"""A workload: `namespace/name` of a Deployment, or `namespace/Kind/name`."""


def workload_key(reference: str) -> tuple[str, str, str]:
    """Namespace, kind and name of the workload that is meant."""
    parts = reference.split("/")
    return (parts[0], "Deployment", parts[1]) if len(parts) == 2 else (parts[0], parts[1], parts[2])


class PodSelection(Options):
    """Which pods are meant."""

    namespace: str = Field(description="Namespace of the pods.")
    selector: Annotated[str, AfterValidator(_selector)] = Field(
        "", description="Label selector as kubectl takes it, such as `app=redis,tier!=cache`; all pods by default."
    )

    def __str__(self) -> str:
        """The selection as sentences name it."""
        return f"{self.selector} in {self.namespace}" if self.selector else self.namespace


class PodLimits(Options):
    """What a pod may do and still counts as healthy."""

    max_restarts: int = Field(
        3, ge=0, description="Restarts that a container may have had, when one was within the window."
    )
    restart_window: Duration = Field(
        timedelta(hours=1), gt=timedelta(0), description="How long ago the last restart of a container still counts."
    )


def pods_of(selection: PodSelection, pods: Iterable[PodGroup]) -> list[PodGroup]:
    """The pods that are meant."""
    selector = parse_selector(selection.selector)
    return [found for found in pods if found.namespace == selection.namespace and matches(selector, found.labels)]


def workloads_of(
    selection: PodSelection, workloads: Iterable[Workload], pods: Iterable[PodGroup] = ()
) -> list[Workload]:
    """The workloads whose pods are meant, whether they have any or not, and those that own one of the `pods` given.

    A ReplicaSet that belongs to a Deployment is left out, as the Deployment is judged.
    """
    selector = parse_selector(selection.selector)
    owners = {found.workload for found in pods}
    return [
        workload
        for workload in workloads
        if workload.namespace == selection.namespace
        and not any(owner.controller for owner in workload.metadata.owner_references if owner.kind == "Deployment")
        and (matches(selector, workload.spec.template.metadata.labels) or (workload.kind, workload.name) in owners)
    ]


def judge_pods(
    what: str, pods: Sequence[PodGroup], workloads: Sequence[Workload], limits: PodLimits, now: datetime
) -> Result:
    """Whether all pods are Ready and do not keep restarting, and every workload has all its replicas.

    `what` names the selection, `now` is the API server's clock. Pods that have ended well or are being deleted do not count, nor do
    those that ended badly (evicted ones) when their workload, which replaces them, is judged. No pod at all is `failed`.
    """
    judged = {(workload.kind, workload.name) for workload in workloads}
    living = [
        found
        for found in pods
        if found.state.phase != "Succeeded"
        and found.state.deleted is None
        and not (found.state.phase == "Failed" and (found.workload in judged or found.workload[0] == "Job"))
    ]
    problems = [problem for workload in workloads for problem in judge_workload(workload)]
    problems += [problem for found in living for pod in found for problem in collected(_judge_pod(pod, limits, now))]
    if not living and not problems:
        problems.append(failed(f"No pod is there that {what} selects (wanted at least 1).", reason=Reason.MISSING))
    number, ready = pods_in(living), pods_in(found for found in living if found.state.ready)
    many = f"All {number} pods" if number != 1 else "The pod"
    return verdict(problems, ok(f"{many} of {what} {'are' if number != 1 else 'is'} Ready.", pods_ready=ready))


def judge_workload(workload: Workload) -> Iterator[Result]:
    """What keeps a workload from having all its replicas ready; nothing when it has."""
    name = f"{workload.kind} {workload.path}"
    wanted, ready = workload.wanted, workload.ready
    if workload.observed_generation < workload.metadata.generation:
        yield unknown(
            f"{name} was changed and its controller has not seen that yet (generation {workload.metadata.generation}, "
            f"seen {workload.observed_generation})."
        )
    elif wanted is None:
        yield unknown(f"{name} does not report how many replicas it should have.")
    elif wanted <= 0:
        yield failed(f"{name} is scaled to {wanted} replicas (wanted at least 1).", reason=Reason.DOWN)
    elif ready < wanted:
        yield failed(
            f"{name} has {ready} of {counted(wanted, 'replica')} ready{_why_not(workload, 'ReplicaFailure', 'True')}.",
            reason=Reason.DOWN,
        )
    elif why := _why_not(
        workload, "Progressing", "False"
    ):  # the old ones serve, and no new one could be made or became ready
        yield failed(
            f"{name} has all of its replicas ready, but they could not be replaced by its present form{why}.",
            reason=Reason.DOWN,
        )


def _why_not(workload: Workload, kind: str, status: str) -> str:
    """What a condition says that is not as it shall be, as the end of a sentence; nothing when it is, or is not known."""
    seen = None if isinstance(workload, DaemonSet) else condition(workload.status.conditions, kind)
    if seen is None or seen.status != status:
        return ""
    message = " ".join(seen.message.split()).rstrip(".")[:200]
    return f": {seen.reason}{f' ({message})' if message else ''}"


def _judge_pod(pod: Pod, limits: PodLimits, now: datetime) -> Iterator[Result]:
    stuck = [
        status for status in pod.state.containers if status.state.waiting and status.state.waiting.reason in _STUCK
    ]
    if stuck or (not pod.state.ready and pod.workload[0] != "Job"):
        yield failed(unready(pod, now), reason=Reason.DOWN)
        return
    for status in pod.state.containers:
        if status.restart_count <= limits.max_restarts:
            continue
        restarted = _restarted(status)
        often = f"Container {status.name} of {pod.path} was restarted {status.restart_count} times"
        window = format_duration(limits.restart_window)
        if restarted is None:
            yield unknown(f"{often}, and it is not known whether within {window} (limit {limits.max_restarts}).")
        elif now - restarted <= limits.restart_window:
            ago = format_length(now - restarted)
            yield failed(
                f"{often}, last {ago} ago{_ending(status)} (limit {limits.max_restarts} within {window}).",
                reason=Reason.LIMIT,
            )


def _restarted(status: ContainerStatus) -> datetime | None:
    """When a container last ended; when it was started again, where its end has been forgotten."""
    if (ended := status.last_state.terminated) and ended.finished_at:
        return ended.finished_at
    return status.state.running.started_at if status.state.running else None


def unready(pod: Pod, now: datetime) -> str:
    """Why a pod is not Ready: `Pod cache/redis-2 is not Ready since 14 minutes: CrashLoopBackOff (last exit 137, OOMKilled).`"""
    state = pod.state
    ready = condition(state.conditions, "Ready")
    since = (ready.last_transition_time if ready else None) or state.created
    length = f" since {format_length(now - since)}" if since else ""
    return f"Pod {pod.path} is not Ready{length}: {_reason(pod)}."


def _reason(pod: Pod) -> str:
    state = pod.state
    for status in sorted(state.containers, key=lambda status: not _is_stuck(status)):
        if status.state.waiting and status.state.waiting.reason not in ("", "PodInitializing", "ContainerCreating"):
            return f"{status.state.waiting.reason}{_ending(status)}"
        if (ended := status.state.terminated) and (ended.exit_code or ended.reason not in ("", "Completed")):
            return f"container {status.name} ended{_ending(status)}"
    scheduled = condition(state.conditions, "PodScheduled")
    if scheduled:
        message = " ".join(scheduled.message.split()).rstrip(".")[:200]
        return f"{scheduled.reason or 'not scheduled'}{f' ({message})' if message else ''}"
    waiting = next((status.state.waiting.reason for status in state.containers if status.state.waiting), "")
    ready = condition(state.conditions, "Ready")
    return waiting or state.reason or (ready.reason if ready else "") or f"its phase is {state.phase}"


def _is_stuck(status: ContainerStatus) -> bool:
    return status.state.waiting is not None and status.state.waiting.reason in _STUCK


def _ending(status: ContainerStatus) -> str:
    """How a container last ended, in brackets; nothing when that is not known."""
    ended = status.state.terminated or status.last_state.terminated
    if ended is None:
        return ""
    parts = [f"last exit {ended.exit_code}"] if ended.exit_code is not None else []
    if ended.reason not in ("", "Error", "Completed"):
        parts.append(ended.reason)
    return f" ({', '.join(parts)})" if parts else ""


def judge_schedule(cron_job: CronJob, jobs: Iterable[Job], now: datetime, factor: float = SCHEDULE_FACTOR) -> Result:
    """Whether a CronJob runs and succeeds as it is scheduled; `jobs` are those of its namespace, `now` the API server's clock.

    The last success may be `factor` times the period of the schedule old. A schedule without one period (working days) has the
    longer one of the gaps before and after the last time it was due. Success of a Job proves nothing about what it was to make.
    """
    name, schedule = f"CronJob {cron_job.path}", cron_job.spec.schedule
    if cron_job.spec.suspend:
        return failed(f"{name} is suspended (schedule {schedule}).", reason=Reason.MISCONFIGURED)
    limit = factor * _period(cron_job, now)
    ended = [job for job in jobs if _is_of(job, cron_job) and _outcome(job)]
    last = max(ended, key=_begin, default=None)
    succeeded = cron_job.status.last_successful_time
    # The Job that succeeded since may have been deleted already.
    if last is not None and _outcome(last) == "Failed" and (succeeded is None or _begin(last) > succeeded):
        found = condition(last.status.conditions, "Failed")
        reason = f": {found.reason}" if found and found.reason else ""
        return failed(f"The last Job of {name}, {last.name}, has failed{reason} (schedule {schedule}).")
    at_most = f"(limit {format_duration(limit)}, schedule {schedule})"
    if succeeded is None:
        created = cron_job.metadata.creation_timestamp
        if created is not None and now - created <= limit:
            return unknown(f"{name} has not succeeded yet; it was made {format_length(now - created)} ago {at_most}.")
        return failed(f"{name} has never succeeded {at_most}.")
    age = now - succeeded
    if -age > _SKEW:
        return unknown(f"{name} last succeeded {format_length(-age)} in the future, so clocks differ {at_most}.")
    seconds = max(0.0, age.total_seconds())
    if age > limit:
        return failed(f"{name} last succeeded {format_length(age)} ago {at_most}.", success_age_seconds=seconds)
    return ok(f"{name} last succeeded {format_length(age)} ago {at_most}.", success_age_seconds=seconds)


def _is_of(job: Job, cron_job: CronJob) -> bool:
    return job.namespace == cron_job.namespace and any(
        owner.controller and (owner.kind, owner.name) == ("CronJob", cron_job.name)
        for owner in job.metadata.owner_references
    )


def _outcome(job: Job) -> str:
    """`Complete` or `Failed`; empty while a Job runs."""
    return next(
        (
            found.type
            for found in job.status.conditions or ()
            if found.status == "True" and found.type in ("Complete", "Failed")
        ),
        "",
    )


def _begin(job: Job) -> datetime:
    return job.status.start_time or job.metadata.creation_timestamp or datetime.min.replace(tzinfo=ZoneInfo("UTC"))


def _period(cron_job: CronJob, now: datetime) -> timedelta:
    """How far apart the runs of a CronJob are about now; raises ProbeError for a schedule that is not understood."""
    zone = cron_job.spec.time_zone or "UTC"
    try:
        return period_of(cron_job.spec.schedule, now, zone)
    except ValueError:
        raise ProbeError(
            f"The schedule {cron_job.spec.schedule} ({zone}) of CronJob {cron_job.path} is not understood."
        ) from None


def period_of(written: str, now: datetime, zone: str = "UTC") -> timedelta:
    """How far apart the runs of a schedule are about now, as CronJobs and others write it; raises ValueError for anything else."""
    schedule = written.strip()
    if schedule.startswith(("TZ=", "CRON_TZ=")):
        prefix, _, schedule = schedule.partition(" ")
        zone = prefix.partition("=")[2]
    try:
        if schedule.startswith(_EVERY):
            return parse_duration(schedule.removeprefix(_EVERY).strip())
        expression = _NICKNAMES.get(schedule, schedule).replace("?", "*")
        here = now.astimezone(ZoneInfo(zone))
        before = CronSim(expression, here, reverse=True)
        due, earlier = next(before), next(before)
        later = next(CronSim(expression, due))
    except (CronSimError, StopIteration, ZoneInfoNotFoundError, OSError):  # OSError: a part of the world
        raise ValueError(f"{written!r} is no schedule") from None
    return max(due - earlier, later - due)
