"""Requests and limits of running pods: object in, sentence out."""

from typing import Any

import pytest

from collectors.systems.kubernetes.judge.resources import (
    CpuLimitPolicy,
    ResourceOptions,
    judge_cpu_limits,
    judge_memory_limits,
    judge_requests,
    running,
)
from collectors.systems.kubernetes.model.objects import Node
from collectors.systems.kubernetes.model.pods import PodGroup
from exporter.verdict import ProbeError, Status
from tests.collectors.systems.kubernetes.objects import NOW, ago, decoded, pod, pods

FULL = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "128Mi"}}


def container(name: str = "main", resources: Any = None, **more: Any) -> dict[str, Any]:
    return {"name": name, "resources": FULL if resources is None else resources, **more}


def with_containers(*containers: dict[str, Any], path: str = "shop/api", **spec: Any) -> PodGroup:
    return pod(path, spec={"containers": list(containers)} | spec)


def without(part: str, resource: str) -> dict[str, Any]:
    return {key: {k: v for k, v in amounts.items() if (key, k) != (part, resource)} for key, amounts in FULL.items()}


GOOD = with_containers(container())
REQUIRED = ResourceOptions()
ADVISORY = ResourceOptions(cpu_limit_policy=CpuLimitPolicy.ADVISORY)


def test_all_is_well() -> None:
    assert judge_cpu_limits([GOOD], REQUIRED).summary == "Every container (1) has a CPU limit."
    assert judge_memory_limits([GOOD, GOOD], NOW).summary == "Every container (2) has a memory limit."
    result = judge_requests([GOOD], [], REQUIRED)
    assert (result.status, result.summary) == (Status.OK, "Every container (1) requests CPU and memory.")
    assert result.measurements == {"containers_judged": 1, "containers_lacking": 0}


def test_a_container_without_a_cpu_limit() -> None:
    bare = with_containers(container(), container("proxy", without("limits", "cpu")))
    result = judge_cpu_limits([GOOD, bare], REQUIRED)
    assert (result.status, result.summary) == (
        Status.FAILED,
        "1 of 3 containers has no CPU limit: proxy of Pod shop/api.",
    )
    assert result.measurements == {"containers_judged": 3, "containers_lacking": 1}
    assert judge_cpu_limits([bare], ADVISORY).status is Status.WARNING
    assert judge_cpu_limits([GOOD], ADVISORY).status is Status.OK
    assert judge_memory_limits([bare], NOW).status is Status.OK


@pytest.mark.parametrize("nothing", ["0", "0Mi"])
def test_an_amount_of_nothing_is_none(nothing: str) -> None:
    empty = {"cpu": nothing, "memory": nothing}
    bare = with_containers(container(resources={"requests": empty, "limits": empty}))
    assert judge_cpu_limits([bare], REQUIRED).summary == "1 of 1 container has no CPU limit: main of Pod shop/api."
    assert judge_memory_limits([bare], NOW).summary == "1 of 1 container has no memory limit: main of Pod shop/api."
    assert "has no memory request" in judge_requests([bare], [], REQUIRED).summary
    of_pod = with_containers(container(resources={}), resources={"limits": empty})
    assert judge_memory_limits([of_pod], NOW).status is Status.FAILED


def test_replicas_are_told_by_their_workload() -> None:
    found = pods("shop/db-0", "shop/db-1", owner="StatefulSet/db", metadata={"generateName": "db-"})
    result = judge_cpu_limits([GOOD, *found], REQUIRED)
    assert result.summary == "2 of 3 containers have no CPU limit: main of StatefulSet shop/db."
    assert result.measurements == {"containers_judged": 3, "containers_lacking": 2}


@pytest.mark.parametrize(
    ("spec", "status"),
    [
        ({"initContainers": [container("migrate", {})]}, Status.FAILED),
        ({"initContainers": [container("proxy", {}, restartPolicy="Always")]}, Status.FAILED),
        ({"initContainers": [container("proxy", restartPolicy="Always")]}, Status.OK),
        ({"ephemeralContainers": [{"name": "debug"}]}, Status.OK),
        # What the pod has as a whole, its containers share.
        ({"containers": [container(resources={})], "resources": FULL}, Status.OK),
        ({"containers": [container(resources={})], "resources": {"limits": {"cpu": "1"}}}, Status.FAILED),
        ({"containers": [container(resources={})], "resources": {}}, Status.FAILED),
    ],
)
def test_which_containers_need_a_memory_limit(spec: dict[str, Any], status: Status) -> None:
    assert judge_memory_limits([with_containers(container(), **spec)], NOW).status is status


@pytest.mark.parametrize(
    ("part", "hours", "status"),
    [("lastState", 23, Status.WARNING), ("state", 1, Status.WARNING), ("lastState", 25, Status.OK)],
)
def test_a_container_that_was_killed_for_memory(part: str, hours: float, status: Status) -> None:
    ended = {"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": ago(hours=hours)}}
    state = {"containerStatuses": [{"name": "main", "ready": True, "restartCount": 1, part: ended}]}
    result = judge_memory_limits([pod("shop/api", spec={"containers": [container()]}, status=state)], NOW)
    assert result.status is status
    if status is Status.WARNING:
        length = f"{hours:g} hour{'s' if hours > 1 else ''}"
        assert result.summary == f"Container main of shop/api was OOMKilled {length} ago."
    assert result.measurements == {"containers_judged": 1, "containers_lacking": 0}


def test_another_end_is_no_want_of_memory() -> None:
    ended = {"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": ago(hours=1)}}
    state = {"containerStatuses": [{"name": "main", "ready": True, "restartCount": 1, "lastState": ended}]}
    found = pod("shop/api", spec={"containers": [container()]}, status=state)
    assert judge_memory_limits([found], NOW).status is Status.OK


@pytest.mark.parametrize("resource", ["cpu", "memory"])
def test_a_container_without_a_request(resource: str) -> None:
    result = judge_requests([with_containers(container(resources=without("requests", resource)))], [], REQUIRED)
    what = "CPU" if resource == "cpu" else resource
    assert (result.status, result.summary) == (
        Status.FAILED,
        f"1 of 1 container has no {what} request: main of Pod shop/api.",
    )


def test_pods_that_are_evicted_first() -> None:
    found = pods("shop/a", "shop/b", spec={"containers": [container()]}, status={"qosClass": "BestEffort"})
    assert (
        judge_requests(found, [], REQUIRED).summary
        == "2 pods of QoS class BestEffort are evicted first: Pod shop/a and Pod shop/b."
    )


def test_a_request_above_its_limit() -> None:
    odd = {"requests": {"cpu": "1100m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1024Mi"}}
    found = pods(
        "shop/a-1", "shop/a-2", spec={"containers": [container(resources=odd)]}, metadata={"generateName": "shop/a-"}
    )
    result = judge_requests(found[:1] * 2, [], REQUIRED)
    assert (result.status, result.summary) == (
        Status.FAILED,
        "Container main of Pod shop/a-1 requests 1100m of cpu, more than its limit 1.",
    )


def node(cpu: str | None = "1", memory: str | None = "1Gi") -> Node:
    return decoded(Node, "node-1", status={"allocatable": {"cpu": cpu, "memory": memory}})


def placed(requests: dict[str, str], limits: dict[str, str], **spec: Any) -> PodGroup:
    resources = {"requests": requests, "limits": limits}
    return with_containers(container(resources=resources), nodeName="node-1", **spec)


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (
            [placed({"cpu": "500m", "memory": "512Mi"}, {"memory": "1Gi"})] * 2,
            "may take 2 times its memory (limit 1.5).",
        ),
        ([placed({"cpu": "500m", "memory": "512Mi"}, {"memory": "768Mi"})] * 2, None),
        ([placed({"cpu": "600m", "memory": "1Mi"}, {})] * 2, "request 1.2 of 1 cpu."),
        ([placed({"cpu": "1m", "memory": "600Mi"}, {})] * 2, "request 1.26 GB of 1.07 GB memory."),
        # An init container that ends before the main ones start adds nothing to them.
        (
            [
                placed(
                    {"cpu": "600m", "memory": "1Mi"},
                    {},
                    initContainers=[container("migrate", {"requests": {"cpu": "700m", "memory": "1Mi"}})],
                )
            ],
            None,
        ),
        # A sidecar keeps running beside them, and beside the init containers that follow it.
        (
            [
                placed(
                    {"cpu": "600m", "memory": "1Mi"},
                    {},
                    initContainers=[
                        container("proxy", {"requests": {"cpu": "500m", "memory": "1Mi"}}, restartPolicy="Always")
                    ],
                )
            ],
            "request 1.1 of 1 cpu.",
        ),
        (
            [placed({"cpu": "2", "memory": "1Mi"}, {}, resources={"requests": {"cpu": "1", "memory": "1Mi"}})],
            None,
        ),
    ],
)
def test_a_node_that_promises_more_than_it_has(found: list[PodGroup], sentence: str | None) -> None:
    result = judge_requests(found, [node()], REQUIRED)
    assert result.status is (Status.WARNING if sentence else Status.OK), result.summary
    if sentence:
        assert result.summary == f"Pods on node node-1 {sentence}"


def test_pods_that_do_not_count_share_the_nodes() -> None:
    judged = placed({"cpu": "500m", "memory": "512Mi"}, {"memory": "1Gi"})
    there = {"containers": [container()], "nodeName": "node-1", "resources": {"limits": {"memory": "1Gi"}}}
    system = pod("kube-system/agent", spec=there)
    ended = pod("jobs/done", spec=there, status={"phase": "Succeeded"})
    assert judge_requests([judged], [node()], REQUIRED, [judged]).status is Status.OK
    result = judge_requests([judged], [node()], REQUIRED, [judged, system, ended])
    assert result.summary == "Pods on node node-1 may take 2 times its memory (limit 1.5)."


def test_a_node_that_does_not_tell_what_it_has_is_not_reckoned_with() -> None:
    assert judge_requests([placed({"cpu": "9", "memory": "9Gi"}, {})], [node(None, None)], REQUIRED).status is Status.OK


def test_which_pods_count() -> None:
    found = [
        pod("shop/runs"),
        pod("shop/done", status={"phase": "Succeeded"}),
        pod("shop/evicted", status={"phase": "Failed"}),
        pod("shop/going", metadata={"deletionTimestamp": ago(minutes=1)}),
        pod("shop/load", owner="Job/load"),
        pod("shop/set", owner="StatefulSet/set"),
        pod("shop/exempt"),
    ]

    def names(alike: list[PodGroup]) -> list[str]:
        return [one.name for found in alike for one in found]

    counts = running(found, ResourceOptions(count_job_pods=False), lambda alike: alike.workload == ("Pod", "exempt"))
    assert names(counts) == ["runs", "set"]
    assert names(running(found, REQUIRED)) == ["runs", "load", "set", "exempt"]


def test_no_pod_is_no_success() -> None:
    with pytest.raises(ProbeError, match=r"No pod runs that counts, so no CPU limit was checked\."):
        judge_cpu_limits([], REQUIRED)
    with pytest.raises(ProbeError):
        judge_requests([], [], REQUIRED)


def test_of_thousands_ten_are_told() -> None:
    result = judge_cpu_limits(pods(*(f"shop/pod-{n}" for n in range(5000))), REQUIRED)
    assert result.summary.startswith("5000 of 5000 containers have no CPU limit: main of Pod shop/pod-0, ")
    assert result.summary.endswith(" and 4990 more.")


def test_a_resize_that_is_infeasible_fails() -> None:
    pending = {
        "type": "PodResizePending",
        "status": "True",
        "reason": "Infeasible",
        "message": "Node didn't have enough capacity.",
    }
    resources = {"requests": {"cpu": "900", "memory": "1Gi"}, "limits": {"cpu": "900", "memory": "1Gi"}}
    spec = {"containers": [{"name": "main", "resources": resources}]}
    ready = {"type": "Ready", "status": "True"}
    for reason, status in (("Infeasible", Status.FAILED), ("Deferred", Status.OK)):
        found = [
            pod("shop/api", spec=spec, status={"phase": "Running", "conditions": [ready, pending | {"reason": reason}]})
        ]
        results = judge_cpu_limits(found, ResourceOptions()), judge_memory_limits(found, NOW)
        for result in (*results, judge_requests(found, [], ResourceOptions())):
            assert result.status is status, result.summary
            if status is Status.FAILED:
                assert "The resize of pod shop/api is Infeasible" in result.summary


@pytest.mark.parametrize("memory", ["512m", "64", "1000k"])
def test_memory_in_which_nothing_starts_is_none(memory: str) -> None:
    tiny = with_containers(container(resources={part: {"cpu": "1", "memory": memory} for part in FULL}))
    result = judge_memory_limits([tiny], NOW)
    assert (result.status, result.summary) == (
        Status.FAILED,
        f"1 of 1 container has no memory limit: main of Pod shop/api ({memory} is less than 1 MiB).",
    )
    assert "1 of 1 container has no memory request" in judge_requests([tiny], [], REQUIRED).summary
    enough = with_containers(container(resources={part: {"cpu": "1", "memory": "1Mi"} for part in FULL}))
    assert judge_memory_limits([enough], NOW).status is Status.OK


def test_a_request_that_no_node_can_fulfil() -> None:
    small = decoded(Node, "small", status={"allocatable": {"cpu": "2", "memory": "4Gi"}})
    large = decoded(Node, "large", status={"allocatable": {"cpu": "8", "memory": "2Gi"}})
    sized = {part: {"cpu": "9", "memory": "3Gi"} for part in FULL}
    waiting = pod("shop/api", node="", spec={"containers": [container(resources=sized)]})
    result = judge_requests([waiting, waiting], [small, large], REQUIRED)
    assert (result.status, result.summary) == (
        Status.WARNING,
        "Pod shop/api requests 9 cpu for one pod, more than any node has (8).",
    )
    assert judge_requests([waiting], [], REQUIRED).status is Status.OK


def test_a_limit_that_a_container_gets_by_a_resize_which_waits() -> None:
    resources = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
    spec = {"containers": [{"name": "main", "resources": resources}]}
    has = {"name": "main", "ready": True, "resources": resources | {"limits": {"memory": "1Gi"}}}
    for kind, reason in (("PodResizePending", "Deferred"), ("PodResizeInProgress", "Error")):
        waits = {"type": kind, "status": "True", "reason": reason, "message": "Node is full."}
        status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}, waits]}
        found = [pod("shop/api", spec=spec, status=status | {"containerStatuses": [has]})]
        result = judge_cpu_limits(found, REQUIRED)
        assert (result.status, result.summary) == (
            Status.FAILED,
            "Container main of pod shop/api has no CPU limit until the resize is done that gives it one: Node is full.",
        )
        assert judge_cpu_limits(found, ADVISORY).status.is_ok
        assert judge_memory_limits(found, NOW).status is Status.OK
        assert judge_requests(found, [], REQUIRED).status is Status.OK


def test_a_request_that_no_node_can_fulfil_as_a_whole() -> None:
    nodes = [
        decoded(Node, "cores", status={"allocatable": {"cpu": "64", "memory": "16Gi"}}),
        decoded(Node, "memory", status={"allocatable": {"cpu": "8", "memory": "256Gi"}}),
    ]
    sized = {part: {"cpu": "32", "memory": "64Gi"} for part in FULL}
    waiting = pod("shop/api", node="", spec={"containers": [container(resources=sized)]})
    result = judge_requests([waiting], nodes, REQUIRED)
    assert (result.status, result.summary) == (
        Status.WARNING,
        "Pod shop/api requests 32 CPU and 68.7 GB memory for one pod, and no node has both.",
    )


def test_what_the_runtime_of_a_pod_takes_counts() -> None:
    large = decoded(Node, "large", status={"allocatable": {"cpu": "8", "memory": "16Gi"}})
    sized = {part: {"cpu": "7", "memory": "1Gi"} for part in FULL}
    spec = {"containers": [container(resources=sized)]}
    assert judge_requests([pod("shop/api", node="", spec=spec)], [large], REQUIRED).status is Status.OK
    kata = pod("shop/api", node="", spec=spec | {"overhead": {"cpu": "1500m", "memory": "160Mi"}})
    assert (
        "requests 8.5 cpu for one pod, more than any node has (8)." in judge_requests([kata], [large], REQUIRED).summary
    )
