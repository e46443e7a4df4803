"""Rights are worded for people, and become the least roles that grant them."""

from __future__ import annotations

from collectors.systems.kubernetes.client.cluster import Kubernetes, KubernetesSettings
from collectors.systems.kubernetes.model.kinds import DEPLOYMENTS, LEASES, NODES, PODS
from collectors.systems.kubernetes.model.rbac import may_ask, may_get, may_list, may_read_logs, roles


def test_rights_are_worded() -> None:
    assert may_list(PODS, DEPLOYMENTS) == "list pods, deployments.apps"
    assert may_list(PODS, option="pods") == "with `pods`: list pods"
    lease = may_get(LEASES, "kube-scheduler", "kube-controller-manager", namespace="kube-system")
    assert lease == "get leases.coordination.k8s.io kube-scheduler and kube-controller-manager in kube-system"
    assert may_ask("/livez", "/readyz") == "get /livez, /readyz"
    assert may_read_logs(PODS, "log") == "with `log`: get pods/log"


def test_a_role_grants_what_is_needed_and_nothing_else() -> None:
    rights = (may_list(PODS, NODES), may_list(DEPLOYMENTS), may_list(PODS), may_ask("/readyz"))
    (role,) = roles(rights, (), watch=False)
    assert (role["kind"], role["metadata"]) == ("ClusterRole", {"name": "checklist-exporter"})
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["nodes", "pods"], "verbs": ["list"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["list"]},
        {"nonResourceURLs": ["/readyz"], "verbs": ["get"]},
    ]


def test_logs_are_a_part_of_pods() -> None:
    (role,) = roles((may_list(PODS), may_read_logs(PODS, "log")), ("shop",), watch=False)
    assert (role["kind"], role["metadata"]["namespace"]) == ("Role", "shop")
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    ]


def test_what_is_in_namespaces_is_granted_there_alone() -> None:
    rights = (may_list(PODS, NODES), may_get(LEASES, "kube-scheduler", namespace="kube-system"))
    cluster, system, orders, shop = roles(rights, ("shop", "orders"), watch=True)
    assert cluster["rules"] == [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list", "watch"]}]
    assert system["metadata"] == {"name": "checklist-exporter", "namespace": "kube-system"}
    assert system["rules"] == [
        {
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "resourceNames": ["kube-scheduler"],
            "verbs": ["get"],
        }
    ]
    for role, namespace in ((orders, "orders"), (shop, "shop")):
        assert (role["kind"], role["metadata"]["namespace"]) == ("Role", namespace)
        assert role["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}]


def test_other_needs_become_no_roles() -> None:
    settings = KubernetesSettings(namespaces=("shop",))
    assert Kubernetes.roles(settings, ("clients.kubernetes",)) == []
    assert [role["kind"] for role in Kubernetes.roles(settings, ("other", may_list(PODS)))] == ["Role"]
