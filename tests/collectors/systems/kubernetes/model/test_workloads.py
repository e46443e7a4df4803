"""Whose pods are whose, and which pods there would be."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from collectors.systems.kubernetes.model.objects import (
    CronJob,
    DaemonSet,
    Deployment,
    Job,
    LimitRange,
    ReplicaSet,
    ReplicationController,
)
from collectors.systems.kubernetes.model.scope import Scope
from collectors.systems.kubernetes.model.workloads import planned_pods, with_owners
from tests.collectors.systems.kubernetes.objects import compacted, decoded, pod, wire_pod

CONTAINER = {"name": "main"}


def owned(kind: str, name: str) -> dict[str, Any]:
    return {"ownerReferences": [{"kind": kind, "name": name, "controller": True}]}


def template(**container: Any) -> dict[str, Any]:
    return {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [CONTAINER | container]}}


def test_a_pod_belongs_to_its_topmost_owner() -> None:
    job = decoded(Job, "shop/nightly-29933290", metadata=owned("CronJob", "nightly"))
    rollout = decoded(ReplicaSet, "shop/web-5d4f", metadata=owned("Rollout", "web"))
    pods = compacted(
        wire_pod("shop/nightly-29933290-x", owner="Job/nightly-29933290"),
        wire_pod("shop/web-5d4f-x", owner="ReplicaSet/web-5d4f"),
    )
    found = with_owners(pods, [job, rollout])
    assert [one.workload for one in found] == [("CronJob", "nightly"), ("Rollout", "web")]
    assert found[0].workloads == (("Job", "nightly-29933290"), ("CronJob", "nightly"))
    for name in ("nightly", "nightly-29933290"):
        assert Scope(exempt_workloads={f"shop/{name}": "Is tried out."}).exempts(found[0])
    assert not Scope(exempt_workloads={"shop/nightly": "Is tried out."}).exempts(found[1])


def test_owners_in_a_circle_end() -> None:
    circle = [decoded(Job, f"shop/{one}", metadata=owned("Job", other)) for one, other in (("a", "b"), ("b", "a"))]
    (found,) = with_owners([pod("shop/x", owner="Job/a")], circle)
    assert found.workload[0] == "Job"


@pytest.mark.parametrize(
    ("workload", "is_planned"),
    [
        (decoded(Deployment, "shop/a", spec={"replicas": 0, "template": template()}), True),
        (decoded(CronJob, "shop/a", spec={"jobTemplate": {"spec": {"template": template()}}}), True),
        (decoded(Job, "shop/a", spec={"suspend": True, "template": template()}), True),
        (decoded(Job, "shop/a", spec={"template": template()}, metadata=owned("CronJob", "c")), False),
        (decoded(ReplicaSet, "shop/a", spec={"replicas": 0, "template": template()}), True),
        (decoded(ReplicaSet, "shop/a", spec={"template": template()}, metadata=owned("Deployment", "d")), False),
        (decoded(ReplicationController, "shop/a", spec={"replicas": 0, "template": template()}), True),
        (
            decoded(
                ReplicationController,
                "shop/a",
                spec={"replicas": 0, "template": template()},
                metadata=owned("DeploymentConfig", "d"),
            ),
            False,
        ),
        (
            decoded(
                Job,
                "shop/a",
                spec={"template": template()},
                status={"conditions": [{"type": "Complete", "status": "True"}]},
            ),
            False,
        ),
    ],
)
def test_which_pods_there_would_be(workload: Any, is_planned: bool) -> None:
    found = planned_pods([workload], [], [])
    assert [one.workload for one in found] == ([(workload.kind, "a")] if is_planned else [])
    assert all(one.state.is_live and dict(one.labels) == {"app": "a"} for one in found)
    assert planned_pods([workload], [pod("shop/a-1", owner=f"{workload.kind}/a")], []) == []


@pytest.mark.parametrize(
    ("workload", "updated", "is_planned"),
    [
        (decoded(Deployment, "shop/a", generation=2, spec={"replicas": 1, "template": template()}), 0, True),
        (decoded(Deployment, "shop/a", generation=2, spec={"replicas": 1, "template": template()}), 1, False),
        (decoded(DaemonSet, "shop/a", generation=2, spec={"template": template()}), 0, True),
        (decoded(DaemonSet, "shop/a", generation=2, spec={"template": template()}), 1, False),
    ],
)
def test_a_template_that_no_pod_has_yet(workload: Any, updated: int, is_planned: bool) -> None:
    """A Deployment that is paused, a DaemonSet that waits until its pods are deleted."""
    counts: dict[str, Any] = {"observed_generation": 2}
    if isinstance(workload, DaemonSet):
        counts |= {"number_ready": 1, "updated_number_scheduled": updated}
    else:
        counts |= {"ready_replicas": 1, "updated_replicas": updated}
    seen = replace(workload, status=replace(workload.status, **counts))
    live = [pod("shop/a-1", owner=f"{workload.kind}/a")]
    assert bool(planned_pods([seen], live, [])) is is_planned
    unseen = replace(seen, status=replace(seen.status, observed_generation=1))
    assert planned_pods([unseen], live, []) == []


def test_limit_ranges_act_on_pods_that_there_would_be() -> None:
    defaults = {"type": "Container", "default": {"cpu": "1", "memory": "1Gi"}, "defaultRequest": {"cpu": "100m"}}
    ranges = [decoded(LimitRange, "shop/defaults", spec={"limits": [defaults]})]
    bare = decoded(Deployment, "shop/a", spec={"replicas": 0, "template": template()})
    (sized,), (unsized,) = planned_pods([bare], [], ranges), planned_pods([bare], [], [])
    (container,) = sized.spec.containers
    assert (container.resources.limits.cpu, container.resources.limits.memory) == ("1", "1Gi")
    assert (container.resources.requests.cpu, container.resources.requests.memory) == ("100m", "1Gi")
    assert (sized.state.qos_class, unsized.state.qos_class) == ("", "BestEffort")
    own = {"limits": {"cpu": "2"}}
    (limited,) = planned_pods([decoded(Deployment, "shop/a", spec={"template": template(resources=own)})], [], ranges)
    assert limited.spec.containers[0].resources.requests.cpu == "2"
