"""What the judges find in the lists that a real API server gave in `test_recordings.py`."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from collectors.systems.kubernetes.judge.workloads import (
    PodLimits,
    PodSelection,
    judge_pods,
    judge_schedule,
    pods_of,
    workloads_of,
)
from collectors.systems.kubernetes.model.objects import CronJob, StatefulSet
from exporter.verdict import Status
from tests.collectors.systems.kubernetes.objects import compacted
from tests.collectors.systems.kubernetes.test_recordings import Lists
from tests.recordings import recorded, states
from tests.recordings.volatile import NOW

#: By state: the verdicts on the pods, and on the CronJob.
EXPECTED: dict[str, list[tuple[Status, str]]] = {
    "ready_backup_due": [
        (Status.OK, "The pod of app=cache in shop is Ready."),
        (
            Status.UNKNOWN,
            "CronJob shop/backup has not succeeded yet; it was made 1 hour ago (limit 1d12h, schedule 0 3 * * *).",
        ),
    ],
    "unschedulable_backup_suspended": [
        (
            Status.FAILED,
            (
                "StatefulSet shop/cache has 0 of 1 replica ready. Pod shop/cache-0 is not Ready since 1 hour: Unschedulable "
                "(0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available: 3 Preemption is not helpful "
                "for scheduling)."
            ),
        ),
        (Status.FAILED, "CronJob shop/backup is suspended (schedule 0 3 * * *)."),
    ],
}


def test_every_recording_is_judged() -> None:
    assert states("kubernetes") == sorted(EXPECTED)


@pytest.mark.parametrize("state", EXPECTED)
def test_a_state_is_judged_as_it_was(state: str) -> None:
    lists, now = recorded("kubernetes", state, Lists), datetime.fromtimestamp(NOW, UTC)
    [stateful_set] = [msgspec.convert(one, StatefulSet) for one in lists.stateful_sets]
    [cron_job] = [msgspec.convert(one, CronJob) for one in lists.cron_jobs]
    selection = PodSelection(namespace="shop", selector="app=cache")
    pods = pods_of(selection, compacted(*lists.pods))
    workloads = workloads_of(selection, [stateful_set], pods)
    verdicts = [judge_pods(str(selection), pods, workloads, PodLimits(), now), judge_schedule(cron_job, (), now)]
    assert [(verdict.status, verdict.summary) for verdict in verdicts] == EXPECTED[state]
