"""Objects of Kubernetes that tests make on the real control plane, each one that every check likes until it is changed."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

from collectors.systems.kubernetes.client.cluster import Kubernetes, KubernetesSettings
from collectors.systems.kubernetes.model.kind import Kind
from collectors.systems.kubernetes.model.rbac import may_list, roles
from exporter.collector import Client
from exporter.threads import Threads
from tests.servers.faults import serving
from tests.servers.kubernetes import ControlPlane, pod_spec
from tests.servers.process import wait_until

Manifest = dict[str, Any]


@asynccontextmanager
async def asking(
    cluster: ControlPlane, kubeconfig: Path | None = None, **settings: Any
) -> AsyncIterator[Mapping[str, Client[Any]]]:
    """The clients of a configuration that has this cluster; as its administrator unless a kubeconfig says otherwise."""
    options = KubernetesSettings(kubeconfig=kubeconfig or cluster.kubeconfigs["admin"], **settings)
    client = Kubernetes(options, Threads())
    try:
        yield {"kubernetes": client}
    finally:
        await client.close()


def merged(document: Mapping[str, Any], changes: Mapping[str, Any]) -> Manifest:
    """`document` with `changes` merged into it, as a JSON merge patch does: None removes, anything but an object replaces."""
    result = dict(document)
    for name, value in changes.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(result.get(name), Mapping):
            result[name] = merged(result[name], value)
        else:
            result[name] = value
    return result


def manifest(version: str, kind: str, name: str, namespace: str | None = None, **fields: Any) -> Manifest:
    """An object; `fields` are merged into it (`spec`, `metadata` for labels …)."""
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return merged({"apiVersion": version, "kind": kind, "metadata": metadata}, fields)


def container(name: str = "main", **changes: Any) -> Manifest:
    """A container with requests and limits that satisfies the level `restricted`, changed."""
    sound: Manifest = pod_spec()["containers"][0]
    return merged(sound | {"name": name}, changes)


def pod(name: str, in_namespace: str, spec: Manifest | None = None, **labels: str) -> Manifest:
    """A pod of its own."""
    return manifest(
        "v1", "Pod", name, in_namespace, metadata={"labels": {"app": name, **labels}}, spec=spec or pod_spec()
    )


def daemon_set(in_namespace: str, name: str) -> Manifest:
    """A DaemonSet of pods labelled `app: name`."""
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": pod_spec()}
    return manifest(
        "apps/v1", "DaemonSet", name, in_namespace, spec={"selector": {"matchLabels": labels}, "template": template}
    )


def cron_job(in_namespace: str, name: str, schedule: str = "0 3 * * *", **spec: Any) -> Manifest:
    """A CronJob."""
    job = {"spec": {"template": {"spec": pod_spec(restartPolicy="Never")}}}
    return manifest(
        "batch/v1", "CronJob", name, in_namespace, spec=merged({"schedule": schedule, "jobTemplate": job}, spec)
    )


def default_deny(in_namespace: str) -> Manifest:
    """The policy that allows nothing in either direction to any pod."""
    spec = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    return manifest("networking.k8s.io/v1", "NetworkPolicy", "default-deny", in_namespace, spec=spec)


def network_policy(name: str, in_namespace: str, **spec: Any) -> Manifest:
    """A network policy."""
    return manifest("networking.k8s.io/v1", "NetworkPolicy", name, in_namespace, spec=spec)


def quota(in_namespace: str, name: str = "compute", **spec: Any) -> Manifest:
    """A quota of CPU and memory with much room; `spec` is merged into it."""
    hard = {"requests.cpu": "20", "requests.memory": "20Gi", "limits.cpu": "20", "limits.memory": "20Gi"}
    return manifest("v1", "ResourceQuota", name, in_namespace, spec=merged({"hard": hard}, spec))


def limit_range(in_namespace: str, **limits: Any) -> Manifest:
    """Defaults of a container; `limits` are merged into them."""
    defaults = {
        "type": "Container",
        "default": {"cpu": "200m", "memory": "128Mi"},
        "defaultRequest": {"cpu": "100m", "memory": "64Mi"},
    }
    return manifest("v1", "LimitRange", "defaults", in_namespace, spec={"limits": [merged(defaults, limits)]})


def autoscaler(name: str, in_namespace: str, **spec: Any) -> Manifest:
    """A HorizontalPodAutoscaler of the Deployment of that name, by its use of CPU."""
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}
    sound = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
        "minReplicas": 2,
        "maxReplicas": 6,
        "metrics": [{"type": "Resource", "resource": cpu}],
    }
    return manifest("autoscaling/v2", "HorizontalPodAutoscaler", name, in_namespace, spec=merged(sound, spec))


def metered(cluster: ControlPlane, in_namespace: str, **usage: str) -> None:
    """What the pods of a namespace use, as metrics-server would tell it (with CRDS["metrics"] defined)."""
    # Metrics from before a pod was ready, or from while it started, are not taken for its own.
    later = (datetime.now(UTC) + timedelta(minutes=10)).strftime("%Y-%m-%dT%H:%M:%SZ")
    cluster.apply(
        *(
            manifest(
                "metrics.k8s.io/v1beta1",
                "PodMetrics",
                pod["metadata"]["name"],
                in_namespace,
                metadata={"labels": pod["metadata"]["labels"]},
                timestamp=later,
                window="30s",
                containers=[{"name": one["name"], "usage": usage} for one in pod["spec"]["containers"]],
            )
            for pod in cluster.pods(in_namespace)
        )
    )


def vertical(name: str, in_namespace: str, **spec: Any) -> Manifest:
    """A VerticalPodAutoscaler that only recommends for the Deployment of that name."""
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    sound = {"targetRef": target, "updatePolicy": {"updateMode": "Off"}}
    return manifest("autoscaling.k8s.io/v1", "VerticalPodAutoscaler", name, in_namespace, spec=merged(sound, spec))


def recommend(cluster: ControlPlane, autoscaler: Manifest, low: str = "5m", high: str = "50m", **also: str) -> None:
    """Give a VerticalPodAutoscaler the status that a recommender gives it; `also` are further conditions."""
    bounds = {"lowerBound": {"cpu": low, "memory": "8Mi"}, "upperBound": {"cpu": high, "memory": "64Mi"}}
    conditions = {"RecommendationProvided": "True", **also}
    cluster.patch_status(
        autoscaler,
        conditions=[{"type": name, "status": status} for name, status in conditions.items()],
        recommendation={
            "containerRecommendations": [{"containerName": "main", **bounds, "target": bounds["lowerBound"]}]
        },
    )


def service(name: str, in_namespace: str, port: int = 8080) -> Manifest:
    """A service of the pods labelled `app: name`."""
    spec = {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": port}]}
    return manifest("v1", "Service", name, in_namespace, spec=spec)


def ingress(name: str, in_namespace: str, class_name: str | None, **spec: Any) -> Manifest:
    """An Ingress that leads everything on example.com to the service of its name."""
    backend = {"service": {"name": name, "port": {"number": 80}}}
    rule = {"host": f"{name}.example.com", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    own = {"rules": [rule]} | ({"ingressClassName": class_name} if class_name else {})
    return manifest("networking.k8s.io/v1", "Ingress", name, in_namespace, spec=merged(own, spec))


def ingress_class(name: str, controller: str) -> Manifest:
    """An IngressClass."""
    return manifest("networking.k8s.io/v1", "IngressClass", name, spec={"controller": controller})


def reader(cluster: ControlPlane, given: Sequence[Manifest]) -> Path:
    """The kubeconfig of a new account with these roles, once the API server knows of them."""
    granted = {role["metadata"].get("namespace", ""): role["rules"] for role in given}
    kubeconfig = cluster.account(
        granted.get("", ()), namespaced={name: rules for name, rules in granted.items() if name}
    )
    name = json.loads(kubeconfig.read_text())["users"][0]["name"]
    for namespace, rules in granted.items():
        for rule in rules:
            for plural in rule.get("resources", ()):
                wanted = {"verb": rule["verbs"][0], "group": rule["apiGroups"][0], "resource": plural}
                wanted |= {"namespace": namespace} if namespace else {}
                wanted |= {"name": rule["resourceNames"][0]} if "resourceNames" in rule else {}
                wait_until(partial(_may, cluster, name, wanted), f"{name} to have its rights")
    return kubeconfig


def listing(cluster: ControlPlane, *kinds: Kind[Any]) -> Path:
    """The kubeconfig of a new account that may list these kinds, and do nothing else."""
    return reader(cluster, roles([may_list(*kinds)], (), watch=False))


def _may(cluster: ControlPlane, account: str, wanted: Manifest) -> bool:
    """Whether a service account may do something."""
    spec = {"user": f"system:serviceaccount:default:{account}", "resourceAttributes": wanted}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    answer = cluster.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    return bool(answer["status"]["allowed"])


@asynccontextmanager
async def behind(cluster: ControlPlane, answers: Mapping[str, tuple[int, bytes]]) -> AsyncIterator[Path]:
    """A kubeconfig of the administrator by way of something that answers these paths itself, and passes on all others."""

    def answer(path: str) -> tuple[int, bytes]:
        if path in answers:
            return answers[path]
        try:
            return 200, json.dumps(cluster.get(path)).encode()
        except HTTPError as error:  # what it does not serve, for one
            return error.code, b"{}"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while request := await reader.readuntil(b"\r\n\r\n"):
                method, target, _ = request.decode().splitlines()[0].split()
                if length := re.search(rb"(?i)\r\ncontent-length: (\d+)", request):
                    await reader.readexactly(int(length[1]))
                allowed = json.dumps({"status": {"allowed": True}}).encode()
                status, body = (
                    (201, allowed) if method == "POST" else await asyncio.to_thread(answer, urlsplit(target).path)
                )
                writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))
                await writer.drain()

    async with serving(serve) as (host, port):
        yield cluster.write_kubeconfig("admin", "a-token", url=f"http://{host}:{port}")


def many_pods(in_namespace: str, number: int) -> bytes:
    """A list of running pods as an API server gives it, each of a workload of its own that has nothing it should have."""
    spec = {"containers": [{"name": "main", "securityContext": {"privileged": True}}]}
    status = {"phase": "Running", "qosClass": "BestEffort", "conditions": [{"type": "Ready", "status": "True"}]}
    items = [
        {"metadata": {"name": f"bare-{one}", "namespace": in_namespace}, "spec": spec, "status": status}
        for one in range(number)
    ]
    return json.dumps({"metadata": {}, "items": items}).encode()
