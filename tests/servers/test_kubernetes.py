"""The control plane for tests is a real one: it schedules, scales, admits and refuses."""

import json
import ssl
import urllib.request
from urllib.error import HTTPError

import pytest

from tests.servers.kubernetes import CRDS, VERSION, ControlPlane, is_ready, node, pod_spec, workload
from tests.servers.process import wait_until


def test_it_runs_what_it_is_told(control_plane: ControlPlane) -> None:
    assert control_plane.get("/version")["gitVersion"] == VERSION
    assert control_plane.get("/readyz") == "ok"
    namespace = control_plane.namespace(**{"pod-security.kubernetes.io/enforce": "restricted"})
    app, data = workload(namespace, "app", replicas=3), workload(namespace, "data", kind="StatefulSet", replicas=2)
    control_plane.apply(app, data)
    control_plane.wait_ready(app, data)
    assert len(control_plane.pods(namespace)) == 5
    crashing, *_ = control_plane.pods(namespace, "app=app")
    assert is_ready(crashing)
    control_plane.crash(crashing)
    control_plane.wait(
        control_plane.path(app), lambda found: found["status"]["readyReplicas"] == 2, "its controller to notice"
    )


def test_it_refuses_what_pod_security_forbids(control_plane: ControlPlane) -> None:
    namespace = control_plane.namespace(**{"pod-security.kubernetes.io/enforce": "baseline"})
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "host", "namespace": namespace}}
    with pytest.raises(HTTPError, match="violates PodSecurity"):
        control_plane.apply({**pod, "spec": pod_spec(hostNetwork=True)})
    control_plane.apply({**pod, "spec": pod_spec()})


def test_its_accounts_may_do_what_their_rules_say(control_plane: ControlPlane) -> None:
    rules = [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}]
    kubeconfig = json.loads(control_plane.account(rules).read_text())
    token = kubeconfig["users"][0]["user"]["token"]
    trusted = ssl.create_default_context(cafile=kubeconfig["clusters"][0]["cluster"]["certificate-authority"])

    def status(path: str) -> int:
        request = urllib.request.Request(f"{control_plane.url}{path}", headers={"Authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(request, timeout=30, context=trusted) as reply:
                return int(reply.status)
        except HTTPError as error:
            return error.code

    wait_until(lambda: status("/api/v1/nodes") == 200, "the role to be known")
    assert status("/api/v1/pods") == 403


def test_its_parts_hold_leases(control_plane: ControlPlane) -> None:
    for part in ("kube-scheduler", "kube-controller-manager"):
        path = f"/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/{part}"
        control_plane.wait(path, lambda lease: lease["spec"]["renewTime"], f"the lease of {part}")


def test_it_takes_objects_of_other_definitions(control_plane: ControlPlane) -> None:
    for definitions in CRDS.values():
        control_plane.define(*definitions)
    namespace = control_plane.namespace()
    vpa = {
        "apiVersion": "autoscaling.k8s.io/v1",
        "kind": "VerticalPodAutoscaler",
        "metadata": {"name": "app", "namespace": namespace},
        "spec": {"updatePolicy": {"updateMode": "Off"}},
    }
    control_plane.apply(vpa)
    control_plane.patch_status(vpa, conditions=[{"type": "RecommendationProvided", "status": "True"}])
    assert control_plane.get(control_plane.path(vpa))["status"]["conditions"][0]["status"] == "True"


def test_a_node_without_kubelet_is_not_ready(control_plane: ControlPlane) -> None:
    lost = node("lost", kwok=False)
    control_plane.apply(lost)
    assert not is_ready(control_plane.get("/api/v1/nodes/lost"))
    control_plane.delete(lost)


def test_its_parts_end_and_come_back(control_plane: ControlPlane) -> None:
    control_plane.api_server.kill()
    with pytest.raises(OSError, match="refused"):
        control_plane.get("/readyz")
    control_plane.kwok.pause()
    control_plane.restore()
    namespace = control_plane.namespace()
    app = workload(namespace, "after")
    control_plane.apply(app)
    control_plane.wait_ready(app)
