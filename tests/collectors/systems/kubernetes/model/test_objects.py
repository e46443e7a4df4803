"""Objects as a real API server gives them: every kind is decoded, and selectors select what the API server selects."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from collectors.systems.kubernetes.model import kinds
from collectors.systems.kubernetes.model.kind import Kind
from collectors.systems.kubernetes.model.pods import Pod
from collectors.systems.kubernetes.model.selectors import matches, parse_selector
from tests.servers.kubernetes import CRDS, ControlPlane, pod_spec, workload

Json = dict[str, Any]


def listed(cluster: ControlPlane, kind: Kind[Any], namespace: str | None = None, **query: str) -> list[Any]:
    """The objects of a kind, as a snapshot keeps them."""
    found = cluster.get(kind.path(namespace), **query)["items"]
    items = msgspec.json.decode(json.dumps(found), type=list[kind.item])  # type: ignore[name-defined]
    return list(kind.compact()(items)) if kind.compact else items


def manifest(version: str, kind: str, namespace: str, **parts: Any) -> Json:
    metadata = {"name": "one"} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": version, "kind": kind, "metadata": metadata} | parts


def everything(namespace: str) -> list[Json]:
    """An object of each kind that nothing makes by itself."""
    selector = {"matchLabels": {"app": "api"}}
    template = {"metadata": {"labels": {"app": "agent"}}, "spec": pod_spec()}
    job = {"template": {"spec": pod_spec(restartPolicy="Never")}}
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"}
    backend = {"service": {"name": "one", "port": {"number": 80}}}
    gateway = "gateway.networking.k8s.io/v1"
    return [
        manifest("v1", "ResourceQuota", namespace, spec={"hard": {"requests.cpu": "4"}, "scopes": ["NotTerminating"]}),
        manifest("v1", "LimitRange", namespace, spec={"limits": [{"type": "Container", "default": {"cpu": "1"}}]}),
        manifest("v1", "Service", namespace, spec={"selector": {"app": "api"}, "ports": [{"port": 80}]}),
        manifest(
            "v1",
            "PersistentVolumeClaim",
            namespace,
            spec={"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        ),
        workload(namespace, "api", replicas=2),
        workload(namespace, "db", kind="StatefulSet", replicas=2),
        manifest(
            "apps/v1",
            "DaemonSet",
            namespace,
            spec={"selector": {"matchLabels": {"app": "agent"}}, "template": template},
        ),
        manifest(
            "v1",
            "ReplicationController",
            namespace,
            spec={"replicas": 0, "template": template | {"metadata": {"labels": {"app": "old"}}}},
        ),
        manifest("batch/v1", "Job", namespace, spec=job),
        manifest("batch/v1", "CronJob", namespace, spec={"schedule": "@yearly", "jobTemplate": {"spec": job}}),
        manifest("policy/v1", "PodDisruptionBudget", namespace, spec={"selector": selector, "minAvailable": 1}),
        manifest(
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            namespace,
            spec={"scaleTargetRef": target, "maxReplicas": 3},
        ),
        manifest(
            "networking.k8s.io/v1",
            "NetworkPolicy",
            namespace,
            spec={
                "podSelector": {},
                "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]}],
            },
        ),
        manifest("networking.k8s.io/v1", "Ingress", namespace, spec={"defaultBackend": backend}),
        manifest("networking.k8s.io/v1", "IngressClass", "", spec={"controller": "example.com/controller"}),
        manifest(
            "autoscaling.k8s.io/v1",
            "VerticalPodAutoscaler",
            namespace,
            spec={"targetRef": target, "updatePolicy": {"updateMode": "Off"}},
        ),
        *(
            manifest("admissionregistration.k8s.io/v1", f"{kind}WebhookConfiguration", "", webhooks=[])
            for kind in ("Mutating", "Validating")
        ),
        manifest(gateway, "GatewayClass", "", spec={"controllerName": "example.com/controller"}),
        manifest(gateway, "Gateway", namespace, spec={"gatewayClassName": "one"}),
        manifest(gateway, "HTTPRoute", namespace, spec={"parentRefs": [{"name": "one"}]}),
    ]


@pytest.fixture(scope="module")
def namespace(control_plane: ControlPlane) -> str:
    """A namespace with an object of each kind, all of whose pods are there."""
    name = control_plane.namespace("objects")
    control_plane.define(*CRDS["vpa"], *CRDS["gateway"])
    control_plane.apply(*everything(name))
    for plural, owner in (("deployments", "api"), ("statefulsets", "db")):
        control_plane.wait(
            f"/apis/apps/v1/namespaces/{name}/{plural}/{owner}",
            lambda found: found["status"].get("readyReplicas") == 2,
            f"{owner} to be ready",
        )
    control_plane.wait(
        f"/apis/discovery.k8s.io/v1/namespaces/{name}/endpointslices",
        lambda found: any(len(one.get("endpoints") or ()) == 2 for one in found["items"]),
        "the Service's endpoints",
    )
    return name


ALL = [(name, found) for name in sorted(kinds.__all__) if isinstance(found := getattr(kinds, name), Kind)]


@pytest.mark.parametrize("kind", [kind for _, kind in ALL], ids=[name for name, _ in ALL])
def test_every_kind_is_decoded(control_plane: ControlPlane, namespace: str, kind: Kind[Any]) -> None:
    assert listed(control_plane, kind, namespace if kind.namespaced and kind is not kinds.LEASES else None)


def first(cluster: ControlPlane, kind: Kind[Any], namespace: str | None) -> Any:
    return next(one for one in listed(cluster, kind, namespace) if one.name == "one")


@pytest.mark.parametrize(
    ("kind", "read", "value"),
    [
        (kinds.RESOURCE_QUOTAS, lambda one: one.spec.hard, {"requests.cpu": "4"}),
        (kinds.RESOURCE_QUOTAS, lambda one: one.spec.scopes, ("NotTerminating",)),
        # The API server fills in requests from limits.
        (kinds.LIMIT_RANGES, lambda one: one.spec.limits[0].default_request, {"cpu": "1"}),
        (kinds.CRON_JOBS, lambda one: (one.spec.schedule, one.spec.suspend), ("@yearly", False)),
        (kinds.HORIZONTAL_POD_AUTOSCALERS, lambda one: (one.spec.min_replicas, one.spec.max_replicas), (1, 3)),
        (kinds.NETWORK_POLICIES, lambda one: one.spec.policy_types, ("Ingress", "Egress")),
        (kinds.NETWORK_POLICIES, lambda one: one.spec.egress[0].peers[0].ip_block.except_, ("10.1.0.0/16",)),
        (kinds.INGRESSES, lambda one: [backend.service.name for backend in one.backends], ["one"]),
        (kinds.VERTICAL_POD_AUTOSCALERS, lambda one: one.spec.update_policy.update_mode, "Off"),
        (kinds.GATEWAYS, lambda one: one.spec.gateway_class_name, "one"),
        (kinds.HTTP_ROUTES, lambda one: one.spec.parent_refs[0].kind, "Gateway"),
    ],
)
def test_what_verdicts_need_is_there(
    control_plane: ControlPlane, namespace: str, kind: Kind[Any], read: Callable[[Any], object], value: object
) -> None:
    assert read(first(control_plane, kind, namespace)) == value


def test_endpoints_are_counted(control_plane: ControlPlane, namespace: str) -> None:
    (found,) = listed(control_plane, kinds.ENDPOINT_SLICES, namespace)
    assert (found.service, found.ready) == ("one", 2)


def test_real_replicas_share_what_they_have_in_common(control_plane: ControlPlane, namespace: str) -> None:
    found: list[Pod] = listed(control_plane, kinds.PODS, namespace)
    wire = {one["metadata"]["name"]: one["metadata"] for one in control_plane.pods(namespace)}
    for owner in (("Deployment", "api"), ("StatefulSet", "db")):
        replicas = [pod for pod in found if pod.workload == owner]
        assert len(replicas) == 2
        assert len({id(pod.template) for pod in replicas}) == 1
    assert {pod.name: dict(pod.labels) for pod in found} == {name: one["labels"] for name, one in wire.items()}


@pytest.mark.parametrize(
    "text",
    [
        "app=api",
        "app!=api",
        "app in (api,db),app",
        "app notin (api)",
        "!apps.kubernetes.io/pod-index",
        "apps.kubernetes.io/pod-index=1",
        "statefulset.kubernetes.io/pod-name in (db-0)",
        "missing!=x",
        "missing",
        "app==db,!missing",
        "app=",
    ],
)
def test_selectors_select_what_the_api_server_selects(control_plane: ControlPlane, namespace: str, text: str) -> None:
    selected = {one["metadata"]["name"] for one in control_plane.pods(namespace, text)}
    selector = parse_selector(text)
    found: list[Pod] = listed(control_plane, kinds.PODS, namespace)
    assert {pod.name for pod in found if matches(selector, pod.labels)} == selected
