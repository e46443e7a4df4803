"""Nodes, versions and the control plane: object in, sentence out."""

from datetime import date, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from collectors.systems.kubernetes.judge.cluster import (
    ControlPlaneOptions,
    NodeOptions,
    VersionOptions,
    is_dns,
    judge_api_services,
    judge_clock,
    judge_critical,
    judge_health,
    judge_leases,
    judge_nodes,
    judge_static_pods,
    judge_version,
    parse_version,
)
from collectors.systems.kubernetes.model.objects import (
    ApiService,
    DaemonSet,
    Deployment,
    EndpointSlice,
    Lease,
    Node,
    Service,
)
from exporter.verdict import ProbeError, Result, Status
from tests.collectors.systems.kubernetes.objects import NOW, ago, decoded, pod

FINE = {"Ready": "True", "MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False"}


def node(
    name: str = "node-1",
    minutes: float = 60,
    reason: str = "",
    cordoned: bool = False,
    heard: float | None = None,
    **states: str | None,
) -> Node:
    report = {"lastHeartbeatTime": ago(minutes=heard)} if heard is not None else {}
    conditions = [
        {"type": kind, "status": state, "reason": reason, "lastTransitionTime": ago(minutes=minutes)} | report
        for kind, state in (FINE | states).items()
        if state
    ]
    return decoded(
        Node,
        name,
        metadata={"creationTimestamp": ago(minutes=minutes)},
        spec={"unschedulable": cordoned},
        status={"conditions": conditions, "nodeInfo": {"kubeletVersion": "v1.37.2"}},
    )


def judge(*nodes: Node, **options: Any) -> Result:
    return judge_nodes(nodes, NodeOptions(**options), NOW)


def test_all_nodes_are_ready() -> None:
    result = judge(node(), node("node-2", NetworkUnavailable="False"))
    assert (result.status, result.summary) == (Status.OK, "Every node (2) is Ready.")
    assert result.measurements == {"nodes": 2, "nodes_ready": 2, "nodes_cordoned": 0}


@pytest.mark.parametrize(
    ("found", "status", "sentence"),
    [
        (
            node(minutes=14, reason="KubeletNotReady", Ready="False"),
            Status.FAILED,
            "Node node-1 is not Ready since 14 minutes (grace 5m): KubeletNotReady.",
        ),
        (
            node(minutes=6, reason="NodeStatusUnknown", Ready="Unknown", MemoryPressure="Unknown"),
            Status.FAILED,
            "Node node-1 is not Ready since 6 minutes (grace 5m): NodeStatusUnknown.",
        ),
        (
            node(minutes=4, reason="KubeletNotReady", Ready="False"),
            Status.WARNING,
            "Node node-1 is not Ready since 4 minutes (grace 5m): KubeletNotReady.",
        ),
        (
            node(minutes=-60, reason="KubeletNotReady", Ready="False"),
            Status.FAILED,
            "Node node-1 is not Ready since 0 seconds (grace 5m): KubeletNotReady.",
        ),
        (
            node(minutes=7, Ready=None),
            Status.FAILED,
            "Node node-1 is not Ready since 7 minutes (grace 5m): it has not reported yet.",
        ),
        (decoded(Node, "node-1"), Status.FAILED, "Node node-1 is not Ready: it has not reported yet."),
        (node(DiskPressure="True"), Status.FAILED, "Node node-1 has DiskPressure since 1 hour (grace 5m)."),
        (node(NetworkUnavailable="True"), Status.FAILED, "Node node-1 has NetworkUnavailable since 1 hour (grace 5m)."),
        (
            node(PIDPressure="Unknown"),
            Status.FAILED,
            "Node node-1 does not know whether it has PIDPressure since 1 hour (grace 5m).",
        ),
        (node(MemoryPressure=None), Status.UNKNOWN, "Node node-1 does not report whether it has MemoryPressure."),
        (node(heard=14), Status.OK, "Every node (1) is Ready."),
        (
            node(heard=20, DiskPressure="True"),
            Status.UNKNOWN,
            "The kubelet of node node-1 reported 20m ago that it is Ready, and nothing since (limit 15m).",
        ),
        (
            node(heard=20, minutes=14, Ready="Unknown", reason="NodeStatusUnknown"),
            Status.FAILED,
            "Node node-1 is not Ready since 14 minutes (grace 5m): NodeStatusUnknown.",
        ),
        (node(cordoned=True), Status.WARNING, "1 node is cordoned (limit 0): node-1."),
    ],
)
def test_a_node_in_trouble(found: Node, status: Status, sentence: str) -> None:
    result = judge(found)
    assert (result.status, result.summary) == (status, sentence)


def test_some_nodes_may_be_closed() -> None:
    closed = [node(f"node-{n}", cordoned=True) for n in range(3)]
    assert judge(*closed, max_cordoned=3).status is Status.OK
    result = judge(*closed, max_cordoned=2)
    assert result.summary == "3 nodes are cordoned (limit 2): node-0, node-1 and node-2."
    assert result.measurements["nodes_cordoned"] == 3


def test_no_node_is_no_success() -> None:
    assert judge().summary == "The cluster has no node."
    assert judge().status is Status.FAILED


def test_of_thousands_of_nodes_a_few_are_told() -> None:
    result = judge(*(node(f"node-{n}", Ready="False", reason="Gone") for n in range(5000)))
    assert result.summary.endswith("4995 more are similar.")
    assert result.measurements["nodes_ready"] == 0


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("v1.29.3-gke.1", (1, 29)),
        ("v1.37.2", (1, 37)),
        ("1.25", (1, 25)),
        ("v1.31.0+k3s1", (1, 31)),
        ("v1.30.0-eks-036c24b", (1, 30)),
    ],
)
def test_versions_are_read(text: str, version: tuple[int, int]) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize("text", ["", "v1", "latest", "v-master"])
def test_what_is_no_version_is_not_guessed(text: str) -> None:
    with pytest.raises(ProbeError, match="is no version of Kubernetes"):
        parse_version(text)
    with pytest.raises(ProbeError):
        judge_version(text, [], VersionOptions(), NOW.date())


def kubelets(*versions: str) -> list[Node]:
    return [
        decoded(Node, f"node-{n}", status={"nodeInfo": {"kubeletVersion": version}})
        for n, version in enumerate(versions)
    ]


@pytest.mark.parametrize(
    ("server", "versions", "status", "sentence"),
    [
        (
            "v1.37.2",
            ["v1.37.2", "v1.34.9"],
            Status.OK,
            "The cluster runs v1.37.2, and its kubelets fit (at most 3 minors older).",
        ),
        ("v1.24.17-eks-1", ["v1.24.1"], Status.FAILED, "The cluster runs v1.24.17-eks-1 (wanted at least 1.25)."),
        (
            "v1.34.3",
            ["v1.34.3"],
            Status.WARNING,
            "The cluster runs v1.34.3, which has had no patches since 2026-10-27 (oldest supported: 1.35).",
        ),
        (
            "v1.37.2",
            ["v1.33.0", "v1.33.0"],
            Status.FAILED,
            "The kubelet v1.33.0 on 2 nodes (node-0 and node-1) is too old for the API server v1.37.2 (limit 3 minors).",
        ),
        (
            "v1.36.2",
            ["v1.37.0"],
            Status.FAILED,
            "The kubelet v1.37.0 on 1 node (node-0) is newer than the API server (v1.36.2).",
        ),
        ("v1.37.0", [], Status.UNKNOWN, "The cluster has no node with a kubelet, so no kubelet's version was checked."),
        ("v1.37.0", [""], Status.UNKNOWN, "The kubelet's version is not reported by 1 node (node-0)."),
        ("v1.37.0", ["devel"], Status.UNKNOWN, "'devel' is no version of Kubernetes, such as v1.29.3."),
        (
            "v1.27.1",
            ["v1.24.1"],
            Status.FAILED,
            "The kubelet v1.24.1 on 1 node (node-0) is too old for the API server v1.27.1 (limit 2 minors).",
        ),
    ],
)
def test_versions(server: str, versions: list[str], status: Status, sentence: str) -> None:
    result = judge_version(server, kubelets(*versions), VersionOptions(), NOW.date())
    assert (result.status, result.summary) == (status, sentence)


def test_a_version_that_is_none_is_refused() -> None:
    assert judge_version("v1.36.0", [], VersionOptions(min_version="1.37"), NOW.date()).status is Status.FAILED
    with pytest.raises(ValidationError, match="expected a minor version"):
        VersionOptions(min_version="1.25.3")


def test_what_the_api_server_says_of_itself() -> None:
    assert judge_health("/livez", 200, "ok").status is Status.OK
    text = "[+]ping ok\n[-]etcd failed: reason withheld\n[-]poststarthook/rbac failed\nreadyz check failed"
    result = judge_health("/readyz", 500, text)
    assert (result.status, result.summary) == (
        Status.FAILED,
        "The API server answers /readyz with 500 (wanted 200): etcd and poststarthook/rbac failed.",
    )
    assert judge_health("/livez", 503, "").summary == "The API server answers /livez with 503 (wanted 200)."


def lease(name: str = "kube-scheduler", holder: str | None = "host_1", **length: float) -> dict[str, Lease | None]:
    spec = {"holderIdentity": holder} | ({"renewTime": ago(**length)} if length else {})
    return {name: decoded(Lease, f"kube-system/{name}", spec=spec)}


NO_LEASE = (
    "There is no Lease kube-system/kube-scheduler: kube-scheduler has not started, runs without leader election, or keeps it "
    "elsewhere (see control_plane_leases)."
)
ONE = ControlPlaneOptions.model_construct(set(), control_plane_leases=("kube-scheduler",))  # as by default


@pytest.mark.parametrize(
    ("leases", "status", "sentence"),
    [
        ({}, Status.UNKNOWN, NO_LEASE),
        (
            {"kube-scheduler": None},
            Status.UNKNOWN,
            NO_LEASE,
        ),
        (lease(), Status.UNKNOWN, "Lease kube-system/kube-scheduler does not report when it was renewed."),
        (
            lease(seconds=90),
            Status.FAILED,
            "Lease kube-system/kube-scheduler was renewed 1m30s ago (limit 1m), so no kube-scheduler works.",
        ),
        (
            lease(holder="", seconds=2),
            Status.FAILED,
            "Lease kube-system/kube-scheduler is held by nobody, so no kube-scheduler works.",
        ),
        (lease(minutes=-5), Status.UNKNOWN, "Lease kube-system/kube-scheduler was renewed 5m in the future."),
    ],
)
def test_a_lease_that_nobody_renews(leases: dict[str, Lease | None], status: Status, sentence: str) -> None:
    (result,) = judge_leases(leases, ONE, NOW)
    assert (result.status, result.summary) == (status, sentence)


def test_leases_that_are_renewed() -> None:
    both = lease(seconds=2) | lease("kube-controller-manager", seconds=-1)
    assert judge_leases(both, ControlPlaneOptions(), NOW) == []
    assert judge_leases({}, ControlPlaneOptions(control_plane_leases=()), NOW) == []


def api_service(status: str | None, message: str = "") -> ApiService:
    seen = {"type": "Available", "status": status, "reason": "MissingEndpoints", "message": message}
    return decoded(ApiService, "v1beta1.metrics.k8s.io", status={"conditions": [seen] if status else None})


@pytest.mark.parametrize(
    ("found", "status", "sentence"),
    [
        (
            api_service("False", "endpoints for service/metrics-server have no addresses."),
            Status.FAILED,
            "is not available: MissingEndpoints (endpoints for service/metrics-server have no addresses).",
        ),
        (api_service("False"), Status.FAILED, "is not available: MissingEndpoints."),
        (api_service("Unknown"), Status.UNKNOWN, "does not report whether it is available."),
        (api_service(None), Status.UNKNOWN, "does not report whether it is available."),
    ],
)
def test_a_part_of_the_api_that_is_away(found: ApiService, status: Status, sentence: str) -> None:
    (result,) = judge_api_services([api_service("True"), found], NOW)
    assert (result.status, result.summary) == (status, f"APIService v1beta1.metrics.k8s.io {sentence}")


def test_an_api_without_any_part_was_not_seen() -> None:
    (result,) = judge_api_services([], NOW)
    assert result.status is Status.UNKNOWN


def test_the_control_planes_own_pods() -> None:
    down = {"conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": ago(minutes=9)}]}
    mirror = {"annotations": {"kubernetes.io/config.mirror": "x"}}
    etcd = {"labels": {"component": "etcd"}, "metadata": mirror}
    found = [
        pod("kube-system/etcd-1", status=down, **etcd),
        pod("kube-system/etcd-2", **etcd),
        pod("kube-system/other", status=down, labels={"component": "other"}, metadata=mirror),
        pod("kube-system/fake", status=down, labels={"component": "etcd"}),
        pod("shop/etcd", status=down, **etcd),
    ]
    (result,) = judge_static_pods(found, NOW)
    assert result.status is Status.FAILED
    assert result.summary.startswith("Pod kube-system/etcd-1 is not Ready since 9 minutes: ")


@pytest.mark.parametrize(
    ("seconds", "sentence"),
    [
        (29, None),
        (-29, None),
        (90, "The API server's clock is 1m30s ahead of ours (limit 30s)."),
        (-90, "The API server's clock is 1m30s behind ours (limit 30s)."),
    ],
)
def test_clocks(seconds: float, sentence: str | None) -> None:
    found = judge_clock(NOW + timedelta(seconds=seconds), NOW, ControlPlaneOptions())
    assert [result.summary for result in found] == ([sentence] if sentence else [])


def test_a_lease_in_another_namespace() -> None:
    elsewhere = ControlPlaneOptions(control_plane_leases=("leases/kube-scheduler",))
    (result,) = judge_leases({"leases/kube-scheduler": lease(seconds=61)["kube-scheduler"]}, elsewhere, NOW)
    assert result.summary == "Lease leases/kube-scheduler was renewed 1m1s ago (limit 1m), so no kube-scheduler works."


@pytest.mark.parametrize(
    ("states", "status", "sentence"),
    [
        ({"KernelDeadlock": "True"}, Status.FAILED, "Node node-1 has KernelDeadlock since 1 hour (grace 5m)."),
        ({"ReadonlyFilesystem": "True"}, Status.FAILED, "Node node-1 has ReadonlyFilesystem since 1 hour (grace 5m)."),
        ({"ReadonlyFilesystem": "False", "KernelDeadlock": "Unknown"}, Status.OK, ""),
        ({"ContainerRuntimeReady": "True", "EtcdIsVoter": "True"}, Status.OK, ""),
        ({"StorageReady": "False"}, Status.FAILED, "Node node-1 is not StorageReady since 1 hour (grace 5m)."),
        ({"VMEventScheduled": "True"}, Status.WARNING, "Node node-1 has VMEventScheduled."),
    ],
)
def test_conditions_that_others_than_kubelets_set(states: dict[str, Any], status: Status, sentence: str) -> None:
    result = judge(node(**states))
    assert result.status is status, result.summary
    if sentence:
        assert result.summary == sentence
        assert judge(node(**states), ignored_node_conditions=dict.fromkeys(states, "Is known.")).status is Status.OK


def test_a_virtual_kubelet_has_versions_and_conditions_of_its_own() -> None:
    for metadata, spec in (
        ({"labels": {"type": "virtual-kubelet"}}, {}),
        ({}, {"taints": [{"key": "virtual-kubelet.io/provider", "effect": "NoSchedule"}]}),
    ):
        status = {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"kubeletVersion": "v1.19.10-vk"}}
        virtual = decoded(Node, "virtual", metadata=metadata, spec=spec, status=status)
        assert judge(virtual).status is Status.OK
        assert (
            judge_version("v1.37.2", [virtual, *kubelets("v1.37.2")], VersionOptions(), NOW.date()).status is Status.OK
        )


def test_an_api_service_that_is_seconds_old_has_a_grace() -> None:
    young = decoded(ApiService, "v1.example.com", metadata={"creationTimestamp": ago(seconds=5)})
    (result,) = judge_api_services([young], NOW)
    assert result.status is Status.WARNING
    without = {"conditions": [{"type": "Available", "status": "False", "reason": "ServiceNotFound"}]}
    lost = decoded(ApiService, "v1.example.com", metadata={"creationTimestamp": ago(seconds=5)}, status=without)
    (result,) = judge_api_services([lost], NOW)
    assert result.status is Status.FAILED


def test_a_table_of_releases_does_not_age_in_silence() -> None:
    nodes = kubelets("v1.40.0")
    assert judge_version("v1.40.0", nodes, VersionOptions(), date(2027, 6, 1)).status is Status.OK
    aged = judge_version("v1.40.0", nodes, VersionOptions(), date(2028, 6, 1))
    assert (aged.status, "install a newer exporter" in aged.summary) == (Status.WARNING, True)
    old = judge_version("v1.37.2", kubelets("v1.37.2"), VersionOptions(), date(2028, 6, 1))
    assert (
        old.summary == "The cluster runs v1.37.2, which has had no patches since 2027-10-28 (oldest supported: 1.38)."
    )
    declared = VersionOptions(supported_minor="1.36")
    assert judge_version("v1.37.2", kubelets("v1.37.2"), declared, date(2028, 6, 1)).status is Status.OK


def critical(name: str, ready: int, priority: str = "system-cluster-critical") -> Deployment:
    template = {"spec": {"priorityClassName": priority}}
    spec = {"replicas": 2, "template": template}
    return decoded(Deployment, f"kube-system/{name}", spec=spec, status={"readyReplicas": ready})


def test_what_a_cluster_does_not_work_without() -> None:
    dns = decoded(Service, "kube-system/kube-dns", labels={"k8s-app": "kube-dns"})
    assert is_dns(dns)
    assert [one.summary for one in judge_critical([], [dns], [EndpointSlice("kube-system", "kube-dns", 0)])] == [
        "Service kube-system/kube-dns, the cluster's DNS, has no ready endpoint."
    ]
    assert list(judge_critical([], [dns], [EndpointSlice("kube-system", "kube-dns", 1)])) == []
    workloads = [critical("one", 1), critical("coredns", 0), critical("plain", 0, ""), critical("well", 2)]
    assert [(one.status, one.summary) for one in judge_critical(workloads, [], [])] == [
        (Status.FAILED, "Deployment kube-system/coredns has 0 of 2 pods ready, and the cluster needs it."),
        (Status.WARNING, "Deployment kube-system/one has 1 of 2 pods ready."),
    ]


def of_node(*names: str) -> DaemonSet:
    """A critical DaemonSet, ready on as many of 3 nodes as names are given."""
    return decoded(
        DaemonSet,
        "kube-system/cni",
        spec={"template": {"spec": {"priorityClassName": "system-node-critical"}}},
        status={"desiredNumberScheduled": 3, "numberReady": len(names)},
    )


def test_the_network_of_most_nodes_is_down() -> None:
    (problem,) = judge_critical([of_node("a")], [], [])
    assert (problem.status, problem.summary) == (
        Status.FAILED,
        "DaemonSet kube-system/cni is ready on 1 of 3 nodes, and the others need it.",
    )
    assert [one.status for one in judge_critical([of_node("a", "b")], [], [])] == [Status.WARNING]


def test_dns_on_a_port_that_no_pod_has() -> None:
    ports = [{"name": "dns", "port": 53, "targetPort": "no-such"}, {"name": "metrics", "port": 9153}]
    dns = decoded(Service, "kube-system/kube-dns", labels={"k8s-app": "kube-dns"}, spec={"ports": ports})
    (problem,) = judge_critical([], [dns], [EndpointSlice("kube-system", "kube-dns", 2, ("metrics",))])
    assert (problem.status, problem.summary) == (
        Status.FAILED,
        "Port dns of Service kube-system/kube-dns, the cluster's DNS, is one that none of its ready pods has (targetPort no-such).",
    )
    assert list(judge_critical([], [dns], [EndpointSlice("kube-system", "kube-dns", 2, ("dns",))])) == []


def test_where_every_node_is_cordoned_no_pod_can_be_placed() -> None:
    assert judge(*(node(f"node-{n}", cordoned=True) for n in range(3))).status is Status.FAILED
    assert judge(node("node-0"), node("node-1", cordoned=True)).status is Status.WARNING


@pytest.mark.parametrize(
    ("kind", "state", "status"),
    [
        ("DeprecatedAuthsFieldInContainerdConfiguration", "True", Status.WARNING),
        ("KernelNotReady", "True", Status.FAILED),
        ("KernelNotReady", "False", Status.OK),
        ("KernelReady", "False", Status.FAILED),
        ("LinstorSatelliteOnline", "True", Status.OK),
        ("LinstorSatelliteOnline", "False", Status.FAILED),
    ],
)
def test_conditions_are_read_as_they_are_meant(kind: str, state: str, status: Status) -> None:
    fine = {"Ready": "True", "MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False"}
    found = [
        {"type": one, "status": value, "lastTransitionTime": ago(hours=1)}
        for one, value in {**fine, kind: state}.items()
    ]
    assert judge(decoded(Node, "node-1", status={"conditions": found})).status is status


@pytest.mark.parametrize(
    ("taint", "sentence"),
    [
        (
            "node.cloudprovider.kubernetes.io/uninitialized",
            "Node node-1 has not been initialized by its cloud provider",
        ),
        ("node.kubernetes.io/out-of-service", "Node node-1 is marked out of service"),
    ],
)
def test_a_ready_node_on_which_no_pod_may_run(taint: str, sentence: str) -> None:
    fine = {"Ready": "True", "MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False"}
    status = {"conditions": [{"type": one, "status": value} for one, value in fine.items()]}
    made = {"creationTimestamp": ago(hours=1)}
    result = judge(decoded(Node, "node-1", metadata=made, spec={"taints": [{"key": taint}]}, status=status))
    assert result.status is Status.FAILED
    assert result.summary.startswith(sentence)


def test_a_kubelet_that_reported_in_the_future_is_not_believed() -> None:
    fine = {"Ready": "True", "MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False"}
    found = [{"type": one, "status": value, "lastHeartbeatTime": ago(hours=-24)} for one, value in fine.items()]
    result = judge(decoded(Node, "node-1", status={"conditions": found}))
    assert result.status is Status.UNKNOWN
    assert "The kubelet of node node-1 reported 1d in the future that it is Ready" in result.summary


def tainted(name: str, *keys: str, effect: str = "NoSchedule", hours: float = 1, **metadata: Any) -> Node:
    fine = {"Ready": "True", "MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False"}
    return decoded(
        Node,
        name,
        metadata={"creationTimestamp": ago(hours=hours)} | metadata,
        spec={"taints": [{"key": key, "effect": effect} for key in keys]},
        status={"conditions": [{"type": one, "status": value} for one, value in fine.items()]},
    )


@pytest.mark.parametrize(
    "key",
    [
        "node.cilium.io/agent-not-ready",
        "ebs.csi.aws.com/agent-not-ready",
        "karpenter.sh/unregistered",
        "startup-taint.cluster-autoscaler.kubernetes.io/gpu",
        "readiness.k8s.io/network",
    ],
)
def test_a_ready_node_whose_agents_have_not_started(key: str) -> None:
    result = judge(node("node-0"), tainted("node-1", key))
    assert (result.status, result.summary) == (Status.WARNING, f"Node node-1 takes no pods yet: taint {key}.")
    assert judge(node("node-0"), tainted("node-1", key, hours=0.01)).status is Status.OK, "it starts"
    assert judge(node("node-0"), tainted("node-1", key, effect="PreferNoSchedule")).status is Status.OK


def test_a_taint_that_some_pods_tolerate_closes_no_node() -> None:
    keys = "dedicated", "node-role.kubernetes.io/control-plane"
    assert judge(*(tainted(f"node-{number}", *keys) for number in range(3))).status is Status.OK


def test_a_node_that_is_never_gone() -> None:
    leaving = tainted("node-1", deletionTimestamp=ago(hours=3))
    result = judge(node("node-0"), leaving)
    assert (result.status, result.summary) == (
        Status.WARNING,
        "Node node-1 is being deleted since 3 hours (grace 5m): a finalizer keeps it.",
    )


def test_where_every_node_is_closed_in_its_own_way_no_pod_can_be_placed() -> None:
    nodes = [
        node("node-0", cordoned=True),
        tainted("node-1", "karpenter.sh/disrupted"),
        tainted("node-2", "ToBeDeletedByClusterAutoscaler"),
        tainted("node-3", deletionTimestamp=ago(minutes=1)),
    ]
    result = judge(*nodes)
    assert result.status is Status.FAILED
    assert result.summary.startswith(
        "No node of 4 takes new pods: each is cordoned, being removed or not set up (node-0, "
    )
    assert judge(*nodes, node("node-4")).status is Status.WARNING


def test_dns_that_no_service_leads_to() -> None:
    template = {"metadata": {"labels": {"k8s-app": "kube-dns"}}}
    coredns = decoded(Deployment, "kube-system/coredns", spec={"replicas": 2, "template": template})
    (problem,) = judge_critical([coredns], [], [])
    assert (problem.status, problem.summary) == (
        Status.FAILED,
        "Deployment kube-system/coredns runs the cluster's DNS, and no Service of kube-system has the label k8s-app=kube-dns.",
    )
    assert list(judge_critical([coredns], None, [])) == [], "Services may have been left out"


def test_dns_on_another_port() -> None:
    spec = {"ports": [{"name": "metrics", "port": 9153}]}
    dns = decoded(Service, "kube-system/kube-dns", labels={"k8s-app": "kube-dns"}, spec=spec)
    (problem,) = judge_critical([], [dns], [EndpointSlice("kube-system", "kube-dns", 2, ("metrics",))])
    assert problem.summary == "Service kube-system/kube-dns, the cluster's DNS, has no port 53 (its ports: 9153)."
