"""What a real API server answers in the states that `test_judge_recorded.py` judges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.collectors.systems.kubernetes.clusters import Manifest, cron_job
from tests.recordings import Record, record
from tests.servers.kubernetes import ControlPlane, pod_spec, workload

__all__ = ["record"]

Objects = list[dict[str, Any]]


@dataclass(frozen=True)
class Lists:
    """What is in one namespace, as the API server lists it."""

    pods: Objects
    stateful_sets: Objects
    cron_jobs: Objects


def lists(cluster: ControlPlane, namespace: str) -> Lists:
    """The objects of a namespace, without the notes of who changed which field, by which nothing is judged."""

    def listed(path: str) -> Objects:
        found: Objects = cluster.get(path)["items"]
        for one in found:
            one["metadata"].pop("managedFields", None)
        return found

    return Lists(
        listed(f"/api/v1/namespaces/{namespace}/pods"),
        listed(f"/apis/apps/v1/namespaces/{namespace}/statefulsets"),
        listed(f"/apis/batch/v1/namespaces/{namespace}/cronjobs"),
    )


def names(found: Lists, namespace: str) -> dict[str, str]:
    """The namespace, and the volumes that the API server adds to pods."""
    volumes = (volume["name"] for pod in found.pods for volume in pod["spec"].get("volumes", ()))
    return {namespace: "shop"} | {name: f"kube-api-access-{number}" for number, name in enumerate(volumes, 1)}


def stateful_set(namespace: str, cpu: str) -> Manifest:
    """One pod that asks for so much CPU."""
    spec = pod_spec()
    spec["containers"][0]["resources"] = {name: {"cpu": cpu, "memory": "16Mi"} for name in ("requests", "limits")}
    return workload(namespace, "cache", kind="StatefulSet", spec=spec)


def test_a_workload_that_is_ready_beside_a_backup_that_has_not_run(control_plane: ControlPlane, record: Record) -> None:
    namespace = control_plane.namespace("recorded")
    ready = stateful_set(namespace, "10m")
    control_plane.apply(ready, cron_job(namespace, "backup"))
    control_plane.wait_ready(ready)
    found = lists(control_plane, namespace)
    record("kubernetes", "ready_backup_due", found, names=names(found, namespace))


def test_a_workload_that_no_node_has_room_for_beside_a_backup_that_is_suspended(
    control_plane: ControlPlane, record: Record
) -> None:
    namespace = control_plane.namespace("recorded")
    control_plane.apply(stateful_set(namespace, "10k"), cron_job(namespace, "backup", suspend=True))
    control_plane.wait(f"/api/v1/namespaces/{namespace}/pods", _is_refused, "the scheduler to find no node")
    found = lists(control_plane, namespace)
    record("kubernetes", "unschedulable_backup_suspended", found, names=names(found, namespace))


def _is_refused(pods: Any) -> bool:
    return any(
        condition.get("reason") == "Unschedulable"
        for pod in pods["items"]
        for condition in pod["status"].get("conditions", ())
    )
