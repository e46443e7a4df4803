"""What Kubernetes reports of a server that runs in it: whether its pods are healthy, and its CronJobs succeed on schedule.

A section that asks a server over its own protocol adds this to its verdict where the configuration says which pods they are.
"""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime
from typing import Any

from pydantic import Field

from collectors.shared.verdicts import verdict, worst_of
from collectors.systems.kubernetes.client.cluster import Kubernetes, Snapshot
from collectors.systems.kubernetes.judge.scope import with_selectors
from collectors.systems.kubernetes.judge.shutdown import shutdown_problems
from collectors.systems.kubernetes.judge.workloads import (
    SCHEDULE_FACTOR,
    PodLimits,
    PodSelection,
    Workload,
    judge_pods,
    judge_schedule,
    pods_of,
    workloads_of,
)
from collectors.systems.kubernetes.model.kinds import (
    CRON_JOBS,
    DAEMON_SETS,
    DEPLOYMENTS,
    JOBS,
    PODS,
    REPLICA_SETS,
    STATEFUL_SETS,
)
from collectors.systems.kubernetes.model.pods import PodGroup
from collectors.systems.kubernetes.model.rbac import may_list
from collectors.systems.kubernetes.model.shutdown import ShutdownLimits
from exporter.collector import Collector, Options
from exporter.options import format_duration
from exporter.verdict import ProbeError, Reason, Result, failed, ok

__all__ = [
    "CRON_JOB_RIGHTS",
    "POD_RIGHTS",
    "CronJobOptions",
    "PodOptions",
    "Pods",
    "Schedule",
    "how_seen",
    "looked_at",
    "see_cron_job",
    "with_cron_job",
    "with_pods",
]

POD_RIGHTS = (
    "with `pods`: clients.kubernetes",
    may_list(PODS, DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS, REPLICA_SETS, option="pods"),
)
"""What an item needs that looks at pods where the option `pods` is set."""
CRON_JOB_RIGHTS = ("with `cronjob`: clients.kubernetes", may_list(CRON_JOBS, JOBS, option="cronjob"))
"""What an item needs that looks at a CronJob where the option `cronjob` is set."""


class Pods(PodSelection, PodLimits):
    """The pods of a system, and how often they may restart and still count as healthy."""


class PodOptions(Options):
    """For targets that may run in Kubernetes."""

    pods: Pods | None = Field(
        None,
        description="The pods it runs as, such as `{namespace: shop, selector: app=cache}`; without it pods are not checked.",
    )


class Schedule(Options):
    """A CronJob that must run."""

    namespace: str = Field(description="Namespace of the CronJob.")
    name: str = Field(description="Name of the CronJob.")
    factor: float = Field(
        SCHEDULE_FACTOR, ge=1, description="How many periods of its schedule ago the last success may be."
    )


class CronJobOptions(Options):
    """For targets whose backups a CronJob may take."""

    cronjob: Schedule | None = Field(
        None,
        description="The CronJob that takes the backups, such as `{namespace: shop, name: backup}`; without it no schedule is "
        "checked.",
    )


def how_seen(pods: Pods | None) -> str:
    """How much of something is seen when its protocol is spoken, for the sentence that says it is well."""
    return "by protocol" if pods else "protocol check only; pods not checked"


async def with_pods(collector: Collector[Any, Any], pods: Pods | None, seen: Awaitable[Result]) -> Result:
    """The verdict `seen`, and that on the pods where it is said which they are: they show why a server does not answer."""
    return await (seen if pods is None else worst_of(seen, see_pods(collector, pods)))


async def with_cron_job(collector: Collector[Any, Any], schedule: Schedule | None, seen: Awaitable[Result]) -> Result:
    """The verdict `seen`, and that on a CronJob where it is said which it is."""
    return await (seen if schedule is None else worst_of(seen, see_cron_job(collector, schedule)))


async def see_pods(collector: Collector[Any, Any], pods: Pods) -> Result:
    """Whether the pods and the workloads that they belong to are healthy. No pod at all is `failed`.

    Raises ProbeError when Kubernetes cannot be asked, or the client does not look at their namespace.
    """
    chosen, workloads, taken, _ = await _chosen(collector, pods)
    judged = judge_pods(str(pods), chosen, workloads, pods, taken)
    return with_selectors(judged, collector.client(Kubernetes).settings.selectors)


async def see_shutdown(collector: Collector[Any, Any], pods: Pods, limits: ShutdownLimits) -> Result:
    """Whether the pods are given the time to shut down, and none was killed lately. No pod at all is `failed`.

    Raises ProbeError when Kubernetes cannot be asked, or the client does not look at their namespace.
    """
    chosen, workloads, taken, departed = await _chosen(collector, pods)
    if not chosen:
        judged = failed(f"No pods of {pods} exist, so nothing shows how they shut down.", reason=Reason.MISSING)
    else:
        containers = [one for group in chosen for one in group.spec.containers]
        hooks = any(one.lifecycle and one.lifecycle.pre_stop for one in containers)
        good = ok(
            f"Pods of {pods} have at least {format_duration(limits.min_grace_period)} to shut down, a readiness probe and "
            f"{'a' if hooks else 'no'} preStop hook, and none was seen killed within {format_duration(limits.kill_window)}."
        )
        judged = verdict(shutdown_problems(chosen, workloads, departed, limits, taken), good)
    return with_selectors(judged, collector.client(Kubernetes).settings.selectors)


async def _chosen(
    collector: Collector[Any, Any], pods: Pods
) -> tuple[list[PodGroup], list[Workload], datetime, list[PodGroup]]:
    """The pods that are meant, their workloads, the moment, and those of the pods that were deleted while they were watched."""
    client = collector.client(Kubernetes)
    snapshot = await client.list(PODS)
    looked_at(snapshot, pods.namespace)
    chosen = pods_of(pods, snapshot.items)
    workloads: list[Workload] = [
        *(await client.list(DEPLOYMENTS)).items,
        *(await client.list(STATEFUL_SETS)).items,
        *(await client.list(DAEMON_SETS)).items,
    ]
    # There are many of them, one for each past revision of a Deployment: listed where some pod has no other owner.
    if any(pod.workload[0] == "ReplicaSet" for pod in chosen):
        workloads += (await client.list(REPLICA_SETS)).items
    return chosen, workloads_of(pods, workloads, chosen), snapshot.taken, pods_of(pods, snapshot.departed)


async def see_cron_job(
    collector: Collector[Any, Any], schedule: Schedule, purpose: str = "takes the backups"
) -> Result:
    """Whether a CronJob, which has this purpose, runs and succeeds as it is scheduled. One that is not there is `failed`.

    Raises ProbeError when Kubernetes cannot be asked, or the client does not look at its namespace.
    """
    client = collector.client(Kubernetes)
    snapshot = await client.list(CRON_JOBS)
    looked_at(snapshot, schedule.namespace)
    path = f"{schedule.namespace}/{schedule.name}"
    found = next((cron_job for cron_job in snapshot.items if cron_job.path == path), None)
    if found is None:
        return failed(f"CronJob {path}, which {purpose}, does not exist.", reason=Reason.MISSING)
    jobs = await client.list(JOBS)
    return judge_schedule(found, jobs.items, jobs.taken, schedule.factor)


def looked_at(snapshot: Snapshot[Any], namespace: str) -> None:
    """Raise ProbeError when the client leaves the namespace out: that nothing was seen there then means nothing."""
    if snapshot.namespaces and namespace not in snapshot.namespaces:
        raise ProbeError(
            f"Namespace {namespace} is not among clients.kubernetes.namespaces, so it was not checked.",
            Reason.NOT_CONFIGURED,
        )
