"""Pods as a snapshot keeps them: nothing that a verdict needs is lost, and replicas share what they have in common."""

import gc
import sys
import weakref
from typing import Any

import msgspec
import pytest

from collectors.systems.kubernetes.model.pods import Os, Pod, PodCompactor, PodGroup, PodItem, pod_groups, pods_in


def replica(name: str, **changes: Any) -> dict[str, Any]:
    """A healthy replica of the Deployment orders-api, as the API gives it."""
    pod: dict[str, Any] = {
        "metadata": {
            "name": f"orders-api-7c9d8f6b5-{name}",
            "generateName": "orders-api-7c9d8f6b5-",
            "namespace": "orders",
            "uid": f"uid-{name}",
            "labels": {"app": "orders-api", "pod-template-hash": "7c9d8f6b5"},
            "annotations": {"cni.example.com/ip": f"10.0.0.{name}"},
            "creationTimestamp": "2026-11-25T10:00:00Z",
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "orders-api-7c9d8f6b5", "controller": True}
            ],
        },
        "spec": {
            "nodeName": "node-1",
            "containers": [
                {
                    "name": "api",
                    "image": "registry.example.com/orders:1",
                    "ports": [{"containerPort": 8080}],
                    "resources": {"requests": {"cpu": "50m", "memory": "64Mi", "example.com/gpu": "1"}},
                    "securityContext": {"capabilities": {"drop": ["ALL"]}},
                    "livenessProbe": {"httpGet": {"path": "/", "port": 8080}},
                }
            ],
            "volumes": [
                {"name": f"kube-api-access-{name}", "projected": {"sources": []}},
                {"name": "config", "configMap": {"name": "orders"}, "hostPath": None},
            ],
        },
        "status": {
            "phase": "Running",
            "qosClass": "Burstable",
            "conditions": [
                {"type": kind, "status": "True", "lastTransitionTime": f"2026-11-25T10:00:0{len(name) % 10}Z"}
                for kind in ("PodScheduled", "Ready")
            ],
            "containerStatuses": [
                {"name": "api", "ready": True, "restartCount": 0, "state": {"running": {}}, "lastState": {}}
            ],
        },
    }
    for part, change in changes.items():
        pod[part] |= change
    return pod


def compacted(*pods: dict[str, Any]) -> list[Pod]:
    page = msgspec.json.decode(msgspec.json.encode(pods), type=list[PodItem])
    return list(PodCompactor()(page))


def test_replicas_share_all_but_their_names() -> None:
    first, second = compacted(replica("aaaaa"), replica("bbbbbbb"))
    assert first.name == "orders-api-7c9d8f6b5-aaaaa"
    assert second.path == "orders/orders-api-7c9d8f6b5-bbbbbbb"
    assert first.template is second.template
    assert first.state is second.state
    assert first.node is second.node
    assert first.state.ready
    assert first.spec.volume_sources == ("projected", "configMap")
    assert first.workload == ("Deployment", "orders-api")


def test_a_further_replica_costs_little() -> None:
    (few,) = pod_groups(compacted(*(replica(f"{number:05}") for number in range(100))))
    (many,) = pod_groups(compacted(*(replica(f"{number:05}") for number in range(200))))

    def size(found: PodGroup) -> int:
        return sys.getsizeof(found) + sys.getsizeof(found.suffixes) + sys.getsizeof(found.nodes)

    assert (len(few), len(many)) == (100, 200)
    assert size(many) - size(few) <= 100 * 16


def test_pods_that_are_alike_are_kept_together_whatever_their_order() -> None:
    broken = {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}
    others = {"generateName": "other-", "labels": {"app": "other"}}
    wire = [
        replica("aaaaa"),
        replica("b", metadata={"name": "other-b"} | others),
        replica("ccccc", spec={"nodeName": "node-2"}),
        replica("ddddd", status=broken),
        replica("eeeee", status=broken),
        replica("f", metadata={"name": "other-f"} | others),
        replica("g", metadata={"name": "bare-g", "ownerReferences": []}),
        replica("h", metadata={"name": "bare-h", "ownerReferences": []}),
    ]
    pods = compacted(*wire)
    found = pod_groups(pods)
    assert [len(alike) for alike in found] == [2, 2, 1, 1, 1, 1]
    assert pods_in(found) == len(wire)
    assert sorted((pod for alike in found for pod in alike), key=lambda pod: pod.path) == sorted(
        pods, key=lambda pod: pod.path
    )
    for alike in found:
        for pod in alike:
            assert (pod.labels, pod.workload) == (alike.labels, alike.workload)
            assert (pod.namespace, pod.spec, pod.owner) == (alike.namespace, alike.spec, alike.owner)
    assert {alike.workload for alike in found if alike.owner is None} == {("Pod", "bare-g"), ("Pod", "bare-h")}


def test_what_no_pod_has_any_more_is_let_go() -> None:
    compactor = PodCompactor()

    def kept(*pods: dict[str, Any]) -> list[Pod]:
        return list(compactor(msgspec.json.decode(msgspec.json.encode(pods), type=list[PodItem])))

    stays = kept(replica("aaaaa"))
    broken = {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}
    goes = kept(replica("bbbbb", status=broken, spec={"hostNetwork": True}))
    template, spec = weakref.ref(goes[0].template), weakref.ref(goes[0].spec)
    del goes
    assert kept(replica("ccccc"))[0].template is stays[0].template
    gc.collect()
    assert (template(), spec()) == (None, None)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"spec": {"hostPID": True}}, "host_pid"),
        ({"spec": {"os": {"name": "windows"}}}, "os"),
        ({"spec": {"containers": [{"name": "api"}]}}, "containers"),
        ({"spec": {"initContainers": [{"name": "api"}]}}, "init_containers"),
        ({"spec": {"ephemeralContainers": [{"name": "api"}]}}, "ephemeral_containers"),
        ({"spec": {"volumes": [{"name": "host", "hostPath": {}}]}}, "volume_sources"),
        ({"spec": {"resources": {"limits": {"cpu": "1"}}}}, "resources"),
        ({"spec": {"securityContext": {"runAsNonRoot": True}}}, "security_context"),
        ({"metadata": {"namespace": "other"}}, "namespace"),
        ({"metadata": {"generateName": "orders-"}}, "prefix"),
        ({"metadata": {"labels": {"app": "other"}}}, "labels"),
        ({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}}, "mirror"),
        ({"metadata": {"ownerReferences": []}}, "owner"),
    ],
)
def test_a_pod_that_differs_in_one_thing_from_the_one_before_is_not_taken_for_its_replica(
    changes: dict[str, Any], field: str
) -> None:
    first, second, third = compacted(replica("aaaaa"), replica("bbbbb", **changes), replica("ccccc"))
    assert first.template is third.template
    assert second.template is not first.template
    (alone,) = compacted(replica("bbbbb", **changes))

    def value(pod: Pod) -> object:
        return getattr(pod.spec if hasattr(pod.spec, field) else pod.template, field)

    assert value(second) == value(alone) != value(first)


def test_what_is_no_pod_is_named() -> None:
    with pytest.raises(msgspec.ValidationError, match="of pod orders/orders-api-7c9d8f6b5-bbbbb"):
        compacted(replica("aaaaa"), replica("bbbbb", spec={"containers": [{"name": 1}]}))


def test_what_is_kept_does_not_keep_the_page() -> None:
    page = bytearray(msgspec.json.encode([replica("aaaaa"), replica("bbbbb"), replica("c", spec={"hostPID": True})]))
    references = sys.getrefcount(page)
    compactor = PodCompactor()
    pods = list(compactor(msgspec.json.decode(page, type=list[PodItem])))
    assert len(pods) == 3
    assert sys.getrefcount(page) == references


def test_labels_of_a_stateful_set_are_exact_though_shared() -> None:
    pods = [
        {
            "metadata": {
                "name": f"redis-{number}",
                "generateName": "redis-",
                "namespace": "cache",
                "labels": {
                    "app": "redis",
                    "apps.kubernetes.io/pod-index": str(number),
                    "statefulset.kubernetes.io/pod-name": f"redis-{number}",
                },
                "ownerReferences": [{"kind": "StatefulSet", "name": "redis", "controller": True}],
            }
        }
        for number in range(3)
    ]
    found = compacted(*pods)
    assert len({id(pod.template) for pod in found}) == 1
    for pod, alone, wire in zip(found, pod_groups(found), pods, strict=True):
        assert dict(pod.labels) == dict(alone.labels) == wire["metadata"]["labels"]
        assert pod.workload == ("StatefulSet", "redis")


def test_a_label_that_happens_to_be_the_suffix_stays_exact() -> None:
    wanted = [{"shard": "0"}, {"shard": "0"}]
    pods = compacted(
        *(
            {"metadata": {"name": f"redis-{n}", "generateName": "redis-", "labels": labels}}
            for n, labels in enumerate(wanted)
        )
    )
    assert [dict(pod.labels) for pod in pods] == wanted


def test_a_pod_of_which_nothing_is_told_looks_unhealthy() -> None:
    (pod,) = compacted({"metadata": {"name": "odd", "newField": 1}, "newPart": {"a": []}})
    assert (pod.state.phase, pod.state.ready) == ("Unknown", False)
    assert pod.workload == ("Pod", "odd")
    assert (pod.owner, pod.namespace, pod.path) == (None, "", "/odd")


def test_what_is_not_as_it_should_be_is_kept() -> None:
    status = replica("ccccc")["status"] | {
        "conditions": [
            {"type": "Ready", "status": "False", "reason": "ContainersNotReady"},
            {"type": "PodScheduled", "status": "True"},
        ],
        "containerStatuses": [
            {
                "name": "api",
                "ready": False,
                "restartCount": 7,
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {
                    "terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-11-25T11:00:00Z"}
                },
            }
        ],
        "initContainerStatuses": [
            {"name": "migrate", "ready": True, "restartCount": 1, "state": {"terminated": {"exitCode": 0}}}
        ],
    }
    pod, healthy = compacted(replica("ccccc", status=status), replica("ddddd"))
    assert pod.template is healthy.template
    assert [found.type for found in pod.state.conditions] == ["Ready"]
    assert [found.name for found in pod.state.containers] == ["migrate", "api"]
    assert pod.state.created is not None


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"hostPID": True}, "host_pid", True),
        ({"hostIPC": True}, "host_ipc", True),
        ({"hostNetwork": True}, "host_network", True),
        ({"hostUsers": False}, "host_users", False),
        ({"os": {"name": "windows"}}, "os", Os("windows")),
        ({"priorityClassName": "high"}, "priority_class", "high"),
        ({"activeDeadlineSeconds": 60}, "active_deadline_seconds", 60),
        ({"volumes": [{"name": "odd"}]}, "volume_sources", ("",)),
    ],
)
def test_fields_that_are_spelled_unlike_others(changes: dict[str, Any], field: str, value: object) -> None:
    (pod,) = compacted(replica("eeeee", spec=changes))
    assert getattr(pod.spec, field) == value


def test_only_annotations_that_verdicts_need_are_kept() -> None:
    key = "container.apparmor.security.beta.kubernetes.io/api"
    metadata = {"annotations": {key: "unconfined", "kubernetes.io/config.mirror": "x", "other": "y"}}
    (pod,) = compacted(replica("fffff", metadata=metadata))
    assert pod.template.app_armor == ((key, "unconfined"),)
    assert pod.template.mirror


def test_what_ended_well_has_nothing_to_tell() -> None:
    status = {
        "phase": "Succeeded",
        "conditions": [{"type": "Ready", "status": "False", "reason": "PodCompleted"}],
        "containerStatuses": [
            {"name": "api", "ready": False, "restartCount": 0, "state": {"terminated": {"exitCode": 0}}}
        ],
    }
    (pod,) = compacted(replica("ggggg", status=status))
    assert (pod.state.phase, pod.state.conditions, pod.state.containers) == ("Succeeded", (), ())


def test_hosts_of_probes_and_hooks_are_seen() -> None:
    hook = {"httpGet": {"host": "169.254.169.254", "port": 80}}
    container = {
        "name": "api",
        "lifecycle": {"preStop": hook},
        "startupProbe": {"tcpSocket": {"host": "db", "port": 1}},
    }
    (pod,) = compacted(replica("hhhhh", spec={"containers": [container]}))
    assert pod.spec.all_containers[0].hosts == ("db", "169.254.169.254")
