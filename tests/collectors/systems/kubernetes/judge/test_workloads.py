"""Pods, workloads and CronJobs: object in, sentence out."""

from datetime import timedelta
from typing import Any

import pytest

from collectors.systems.kubernetes.judge.workloads import (
    PodLimits,
    PodSelection,
    Workload,
    judge_pods,
    judge_schedule,
    pods_of,
    workloads_of,
)
from collectors.systems.kubernetes.model.objects import CronJob, DaemonSet, Deployment, Job, ReplicaSet, StatefulSet
from collectors.systems.kubernetes.model.pods import PodGroup
from exporter.verdict import ProbeError, Result, Status
from tests.collectors.systems.kubernetes.objects import NOW, ago, decoded, pod, pods


def not_ready(reason: str = "ContainersNotReady", **length: float) -> dict[str, Any]:
    condition = {"type": "Ready", "status": "False", "reason": reason}
    return condition | ({"lastTransitionTime": ago(**length)} if length else {})


def container(waiting: str = "", *, ready: bool = False, restarts: int = 0, **last: Any) -> dict[str, Any]:
    state = {"waiting": {"reason": waiting}} if waiting else {"running": {"startedAt": ago(hours=30)}}
    return {
        "name": "redis",
        "ready": ready,
        "restartCount": restarts,
        "state": state,
        "lastState": {"terminated": last} if last else {},
    }


def stateful_set(wanted: int = 3, ready: int = 3, seen: int = 1) -> StatefulSet:
    return decoded(
        StatefulSet,
        "cache/redis",
        generation=1,
        spec={"replicas": wanted, "template": {"metadata": {"labels": {"app": "redis"}}}},
        status={"observedGeneration": seen, "readyReplicas": ready},
    )


def judge(found: list[PodGroup], *workloads: Workload, **limits: Any) -> Result:
    return judge_pods("app=redis in cache", found, workloads, PodLimits(**limits), NOW)


THREE = ("cache/redis-0", "cache/redis-1", "cache/redis-2")


def test_all_is_well() -> None:
    result = judge(pods(*THREE, owner="StatefulSet/redis"), stateful_set())
    assert (result.status, result.summary) == (Status.OK, "All 3 pods of app=redis in cache are Ready.")
    assert result.measurements == {"pods_ready": 3}


def test_one_pod_is_told_of_as_one() -> None:
    assert judge(pods("cache/redis-0")).summary == "The pod of app=redis in cache is Ready."


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (
            {
                "conditions": [not_ready(minutes=14)],
                "containerStatuses": [container("CrashLoopBackOff", restarts=9, exitCode=137, reason="OOMKilled")],
            },
            "Pod cache/redis-2 is not Ready since 14 minutes: CrashLoopBackOff (last exit 137, OOMKilled).",
        ),
        (
            {"conditions": [not_ready(hours=3)], "containerStatuses": [container("ImagePullBackOff")]},
            "Pod cache/redis-2 is not Ready since 3 hours: ImagePullBackOff.",
        ),
        (
            {
                "conditions": [not_ready(seconds=30)],
                "containerStatuses": [container("PodInitializing")],
                "initContainerStatuses": [container("CreateContainerConfigError")],
            },
            "Pod cache/redis-2 is not Ready since 30 seconds: CreateContainerConfigError.",
        ),
        (
            {
                "phase": "Pending",
                "conditions": [
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": "0/3 nodes are available: 3 Insufficient memory.",
                    }
                ],
            },
            "Pod cache/redis-2 is not Ready since 1 hour: Unschedulable (0/3 nodes are available: 3 Insufficient memory).",
        ),
        (
            {
                "conditions": [not_ready(minutes=1)],
                "containerStatuses": [
                    {"name": "redis", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}, "ready": False}
                ],
            },
            "Pod cache/redis-2 is not Ready since 1 minute: container redis ended (last exit 1).",
        ),
        (
            {"conditions": [not_ready(minutes=1)], "containerStatuses": [container()]},
            "Pod cache/redis-2 is not Ready since 1 minute: ContainersNotReady.",
        ),
        (
            {"conditions": [not_ready(minutes=2)], "containerStatuses": [container("ContainerCreating")]},
            "Pod cache/redis-2 is not Ready since 2 minutes: ContainerCreating.",
        ),
        (
            {"phase": "Failed", "reason": "Evicted", "conditions": []},
            "Pod cache/redis-2 is not Ready since 1 hour: Evicted.",
        ),
        (
            {"phase": "Unknown", "conditions": []},
            "Pod cache/redis-2 is not Ready since 1 hour: its phase is Unknown.",
        ),
    ],
)
def test_why_a_pod_is_not_ready(status: dict[str, Any], sentence: str) -> None:
    result = judge([*pods(*THREE[:2]), pod(THREE[2], status=status)])
    assert (result.status, result.summary) == (Status.FAILED, sentence)


def test_a_pod_of_which_no_time_is_known() -> None:
    found = pod("cache/redis-2", status={"conditions": []}, metadata={"creationTimestamp": None})
    assert judge([found]).summary == "Pod cache/redis-2 is not Ready: its phase is Running."


def test_a_pod_that_is_ready_for_a_moment_between_crashes_is_noticed() -> None:
    status = {
        "containerStatuses": [
            container(ready=True, restarts=7, exitCode=137, reason="OOMKilled", finishedAt=ago(minutes=3))
        ]
    }
    result = judge([pod("cache/redis-2", status=status)])
    assert result.status is Status.FAILED
    assert result.summary == (
        "Container redis of cache/redis-2 was restarted 7 times, last 3 minutes ago (last exit 137, OOMKilled) "
        "(limit 3 within 1h)."
    )


@pytest.mark.parametrize(
    ("status", "seen"),
    [
        (container(ready=True, restarts=3, exitCode=1, finishedAt=ago(minutes=3)), Status.OK),
        (container(ready=True, restarts=99, exitCode=1, finishedAt=ago(minutes=61)), Status.OK),
        (container(ready=True, restarts=99, exitCode=1, finishedAt=ago(minutes=59)), Status.FAILED),
        # The end has been forgotten by the kubelet; it runs since 30 hours.
        (container(ready=True, restarts=99), Status.OK),
        (container(ready=True, restarts=99) | {"state": {}}, Status.UNKNOWN),
    ],
)
def test_only_restarts_within_the_window_count(status: dict[str, Any], seen: Status) -> None:
    result = judge([pod("cache/redis-2", status={"containerStatuses": [status]})])
    assert result.status is seen, result.summary


def test_a_sidecar_that_keeps_restarting_is_noticed() -> None:
    sidecar = container(ready=True, restarts=5, exitCode=2, finishedAt=ago(minutes=1))
    assert judge([pod("cache/redis-2", status={"initContainerStatuses": [sidecar]})]).status is Status.FAILED


@pytest.mark.parametrize(
    ("workload", "status", "sentence"),
    [
        (stateful_set(3, 2), Status.FAILED, "StatefulSet cache/redis has 2 of 3 replicas ready."),
        (stateful_set(0, 0), Status.FAILED, "StatefulSet cache/redis is scaled to 0 replicas (wanted at least 1)."),
        (
            stateful_set(3, 3, seen=0),
            Status.UNKNOWN,
            "StatefulSet cache/redis was changed and its controller has not seen that yet (generation 1, seen 0).",
        ),
        (
            decoded(Deployment, "cache/redis"),
            Status.UNKNOWN,
            "Deployment cache/redis does not report how many replicas it should have.",
        ),
        (
            decoded(DaemonSet, "cache/redis", status={"desiredNumberScheduled": 5, "numberReady": 4}),
            Status.FAILED,
            "DaemonSet cache/redis has 4 of 5 replicas ready.",
        ),
    ],
)
def test_a_workload_that_lacks_replicas(workload: Workload, status: Status, sentence: str) -> None:
    result = judge(pods(*THREE, owner="StatefulSet/redis"), workload)
    assert (result.status, result.summary) == (status, sentence)


def rollout(ready: int, **condition: str) -> Deployment:
    return decoded(
        Deployment, "cache/redis", spec={"replicas": 3}, status={"readyReplicas": ready, "conditions": [condition]}
    )


def test_a_rollout_that_is_stuck_is_noticed_while_the_old_replicas_serve() -> None:
    stuck = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "It timed out."}
    result = judge(pods(*THREE), rollout(3, **stuck))
    assert (result.status, result.summary) == (
        Status.FAILED,
        (
            "Deployment cache/redis has all of its replicas ready, but they could not be replaced by its present form: "
            "ProgressDeadlineExceeded (It timed out)."
        ),
    )
    assert judge(pods(*THREE), rollout(3, **stuck | {"status": "True"})).status is Status.OK
    refused = {
        "type": "ReplicaFailure",
        "status": "True",
        "reason": "FailedCreate",
        "message": "exceeded quota: compute",
    }
    result = judge(pods(*THREE), rollout(2, **refused))
    assert result.summary == (
        "Deployment cache/redis has 2 of 3 replicas ready: FailedCreate (exceeded quota: compute)."
    )


def test_pods_that_have_ended_or_are_being_deleted_do_not_count() -> None:
    gone = [
        pod("cache/job", status={"phase": "Succeeded", "conditions": [not_ready()]}),
        pod("cache/old", status={"conditions": [not_ready()]}, metadata={"deletionTimestamp": ago(minutes=1)}),
        pod("cache/evicted", owner="StatefulSet/redis", status={"phase": "Failed", "conditions": []}),
    ]
    assert judge([*gone, *pods("cache/redis-0")], stateful_set(1, 1)).status is Status.OK
    result = judge(gone[:2])
    assert (result.status, result.summary) == (
        Status.FAILED,
        "No pod is there that app=redis in cache selects (wanted at least 1).",
    )


def test_no_pod_at_all_is_no_success() -> None:
    assert judge([]).status is Status.FAILED
    assert judge([], stateful_set(2, 0)).summary == "StatefulSet cache/redis has 0 of 2 replicas ready."


def test_the_pod_of_a_job_need_not_be_ready_but_must_start() -> None:
    starting = pod("cache/load-x", owner="Job/load", status={"phase": "Pending", "conditions": [not_ready()]})
    assert judge([starting, *pods("cache/redis-0")]).status is Status.OK
    stuck = pod("cache/load-x", owner="Job/load", status={"containerStatuses": [container("ErrImagePull")]})
    assert judge([stuck, *pods("cache/redis-0")]).status is Status.FAILED


def test_ten_thousand_broken_pods_are_told_in_a_few_sentences() -> None:
    result = judge(pods(*(f"cache/redis-{n}" for n in range(10_000)), status={"conditions": [not_ready(minutes=1)]}))
    assert result.summary.endswith("9995 more are similar.")
    assert len(result.summary) < 500


def test_pods_and_workloads_are_selected() -> None:
    selection = PodSelection(namespace="cache", selector="app=redis")
    found = [
        *pods(*THREE, labels={"app": "redis"}, owner="StatefulSet/redis"),
        pod("cache/other", labels={"app": "x"}),
        pod("other/redis-0", labels={"app": "redis"}),
    ]
    selected = pods_of(selection, found)
    assert [one.path for alike in selected for one in alike] == list(THREE)
    # Selected by its template, though none of its pods are there.
    assert workloads_of(selection, [stateful_set()]) == [stateful_set()]
    other = decoded(StatefulSet, "cache/redis", spec={"replicas": 3})
    assert workloads_of(selection, [other]) == []
    assert workloads_of(selection, [other], selected) == [other]
    owned = decoded(
        ReplicaSet,
        "cache/redis-1",
        metadata={"ownerReferences": [{"kind": "Deployment", "name": "redis", "controller": True}]},
        spec={"replicas": 0, "template": {"metadata": {"labels": {"app": "redis"}}}},
    )
    assert workloads_of(selection, [owned]) == []
    assert (str(selection), str(PodSelection(namespace="cache"))) == ("app=redis in cache", "cache")


def test_a_selector_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a label selector"):
        PodSelection(namespace="cache", selector="app in")


def cron_job(schedule: str = "0 2 * * *", success: str | None = None, **spec: Any) -> CronJob:
    return decoded(
        CronJob,
        "backup/orders",
        metadata={"creationTimestamp": ago(days=100)},
        spec={"schedule": schedule, **spec},
        status={"lastSuccessfulTime": success} if success else {},
    )


def job(name: str, outcome: str = "", *, owner: str = "orders", **length: float) -> Job:
    return decoded(
        Job,
        f"backup/{name}",
        metadata={"ownerReferences": [{"kind": "CronJob", "name": owner, "controller": True}]},
        status={
            "startTime": ago(**length),
            "conditions": [{"type": outcome, "status": "True", "reason": "BackoffLimitExceeded"}] if outcome else None,
        },
    )


@pytest.mark.parametrize(
    ("schedule", "hours", "status"),
    [
        ("0 2 * * *", 10, Status.OK),
        ("0 2 * * *", 35, Status.OK),
        ("0 2 * * *", 37, Status.FAILED),
        ("*/15 * * * *", 0.3, Status.OK),
        ("*/15 * * * *", 0.4, Status.FAILED),
        ("@hourly", 1.4, Status.OK),
        ("@hourly", 1.6, Status.FAILED),
        ("@every 2h", 2.9, Status.OK),
        ("@every 2h", 3.1, Status.FAILED),
        ("@weekly", 24 * 10, Status.OK),
        ("0 2 ? * *", 37, Status.FAILED),
        ("TZ=Asia/Tokyo 0 2 * * *", 35, Status.OK),
        ("CRON_TZ=Asia/Tokyo 0 2 * * *", 37, Status.FAILED),
    ],
)
def test_success_may_be_one_and_a_half_periods_old(schedule: str, hours: float, status: Status) -> None:
    result = judge_schedule(cron_job(schedule, ago(hours=hours)), [], NOW)
    assert result.status is status, result.summary
    assert result.measurements == {"success_age_seconds": pytest.approx(hours * 3600)}


def test_working_days_have_a_weekend() -> None:
    monday = NOW - timedelta(days=2)  # NOW is a Wednesday
    friday = cron_job("0 18 * * 1-5", ago(days=4, hours=18))
    assert judge_schedule(friday, [], monday).status is Status.OK
    assert judge_schedule(friday, [], NOW).status is Status.FAILED


def test_the_time_zone_decides_when_a_run_is_due() -> None:
    # Due at 11:30 in New York on Mondays alone, 16:30 UTC: 40 hours and more before NOW.
    weekly = cron_job("30 11 * * 1", ago(days=8), timeZone="America/New_York")
    assert judge_schedule(weekly, [], NOW).status is Status.OK


@pytest.mark.parametrize(
    ("schedule", "zone"),
    [("every day", None), ("0 2 * * *", "Mars/Olympus"), ("0 2 * * *", "Europe"), ("@every x", None)],
)
def test_a_schedule_that_is_not_understood_is_not_guessed(schedule: str, zone: str | None) -> None:
    with pytest.raises(ProbeError, match=r"of CronJob backup/orders is not understood"):
        judge_schedule(cron_job(schedule, ago(hours=1), timeZone=zone), [], NOW)


def test_a_success_in_the_future_proves_nothing() -> None:
    result = judge_schedule(cron_job(success=ago(days=-3)), [], NOW)
    assert (result.status, result.summary) == (
        Status.UNKNOWN,
        "CronJob backup/orders last succeeded 3 days in the future, so clocks differ (limit 1d12h, schedule 0 2 * * *).",
    )
    assert judge_schedule(cron_job(success=ago(minutes=-1)), [], NOW).status is Status.OK


def test_a_suspended_cron_job_runs_no_more() -> None:
    result = judge_schedule(cron_job(success=ago(hours=1), suspend=True), [], NOW)
    assert (result.status, result.summary) == (
        Status.FAILED,
        "CronJob backup/orders is suspended (schedule 0 2 * * *).",
    )


def test_the_last_job_has_failed() -> None:
    jobs = [
        job("orders-3", hours=1),  # runs still
        job("orders-2", "Failed", hours=10),
        job("orders-1", "Complete", hours=34),
        job("users-9", "Failed", owner="users", hours=2),
    ]
    result = judge_schedule(cron_job(success=ago(hours=34)), jobs, NOW)
    assert (result.status, result.summary) == (
        Status.FAILED,
        "The last Job of CronJob backup/orders, orders-2, has failed: BackoffLimitExceeded (schedule 0 2 * * *).",
    )
    assert judge_schedule(cron_job(success=ago(hours=10)), jobs[2:], NOW).status is Status.OK
    # One has succeeded since and is deleted already, as successfulJobsHistoryLimit may say.
    assert judge_schedule(cron_job(success=ago(hours=9)), jobs, NOW).status is Status.OK


def test_what_never_succeeded_is_unknown_only_while_it_is_new() -> None:
    assert judge_schedule(cron_job(), [], NOW).status is Status.FAILED
    new = decoded(CronJob, "backup/new", metadata={"creationTimestamp": ago(hours=30)}, spec={"schedule": "0 2 * * *"})
    result = judge_schedule(new, [], NOW)
    assert (result.status, result.summary) == (
        Status.UNKNOWN,
        "CronJob backup/new has not succeeded yet; it was made 1 day ago (limit 1d12h, schedule 0 2 * * *).",
    )
