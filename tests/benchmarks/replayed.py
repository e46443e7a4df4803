"""A Kubernetes API server of generated objects, a process of its own: ``python -m tests.benchmarks.replayed FOLDER PODS POLICIES``.

It prints its port. Pods are 8 KB of JSON each, as an API server with managed fields sends them; lists are paged, pods can be
watched (the label selector ``changes=N`` says how many changes a second there are), and every access review is granted.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.servers.certificates import authority
from tests.servers.process import LOOPBACK

REPLICAS = 100
NAMESPACES = 25
_SIZE = 8192
GROUPS = (
    "apps",
    "autoscaling",
    "networking.k8s.io",
    "discovery.k8s.io",
    "apiregistration.k8s.io",
    "coordination.k8s.io",
    "autoscaling.k8s.io",
    "gateway.networking.k8s.io",
)
_AT = "2026-01-01T00:00:00Z"

Json = dict[str, Any]


def labels(workload: int) -> Json:
    """The labels of a workload's pods."""
    return {"app": f"app-{workload}", "tier": f"tier-{workload % 5}", "pod-template-hash": f"{workload:08x}aa"}


def namespace(workload: int) -> str:
    """The namespace of a workload."""
    return f"team-{workload % NAMESPACES}"


def container(name: str, image: str, token: str) -> Json:
    """A container as charts write them."""
    probe = {"httpGet": {"path": "/ready", "port": 8080, "scheme": "HTTP"}, "periodSeconds": 10, "failureThreshold": 3}
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "resources": {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        "livenessProbe": probe,
        "readinessProbe": probe,
        "env": [
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}},
            {"name": "DATABASE_URL", "valueFrom": {"secretKeyRef": {"name": "database", "key": "url"}}},
            *({"name": f"SETTING_{index}", "value": f"value-{index}"} for index in range(8)),
        ],
        "volumeMounts": [
            {"name": "config", "mountPath": "/etc/app", "readOnly": True},
            {"name": token, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": True},
        ],
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    }


def running(name: str, image: str, number: int) -> Json:
    """The status of a container that runs."""
    return {
        "name": name,
        "state": {"running": {"startedAt": _AT}},
        "lastState": {},
        "ready": True,
        "restartCount": 0,
        "image": image,
        "imageID": f"{image}@sha256:{number:064x}",
        "containerID": f"containerd://{number:064x}",
        "started": True,
    }


def pod(number: int) -> Json:
    """One healthy replica, with a sidecar; managed fields fill it up to 8 KB."""
    owner = number // REPLICAS
    prefix = f"app-{owner}-{owner:08x}aa"
    token = f"kube-api-access-{number:05x}"
    images = {"main": f"registry.example.com/app-{owner}:1.4.2", "proxy": "registry.example.com/proxy:2.0.1"}
    sources = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {
            "downwardAPI": {
                "items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]
            }
        },
    ]
    tolerations = [
        {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
        for key in ("not-ready", "unreachable")
    ]
    conditions = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    managed: Json = {
        "manager": "kubelet",
        "operation": "Update",
        "apiVersion": "v1",
        "time": _AT,
        "fieldsType": "FieldsV1",
    }
    whole: Json = {
        "metadata": {
            "name": f"{prefix}-{number:05x}",
            "generateName": f"{prefix}-",
            "namespace": namespace(owner),
            "uid": f"{number:08x}-0000-4000-8000-{number:012x}",
            "resourceVersion": str(1000 + number),
            "creationTimestamp": _AT,
            "labels": labels(owner),
            "annotations": {"checksum/config": f"{owner:064x}", "prometheus.io/scrape": "true"},
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "name": prefix,
                    "uid": f"{owner:08x}-1111-4000-8000-000000000000",
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
            "managedFields": [managed],
        },
        "spec": {
            "containers": [container(name, image, token) for name, image in images.items()],
            "volumes": [
                {"name": "config", "configMap": {"name": "app", "defaultMode": 420}},
                {"name": token, "projected": {"sources": sources, "defaultMode": 420}},
            ],
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "nodeName": f"node-{number % 500}",
            "serviceAccountName": "default",
            "serviceAccount": "default",
            "schedulerName": "default-scheduler",
            "securityContext": {"fsGroup": 1000},
            "tolerations": tolerations,
            "priority": 0,
            "enableServiceLinks": True,
            "preemptionPolicy": "PreemptLowerPriority",
        },
        "status": {
            "phase": "Running",
            "conditions": [
                {"type": name, "status": "True", "lastProbeTime": None, "lastTransitionTime": _AT}
                for name in conditions
            ],
            "hostIP": "192.0.2.1",
            "podIP": f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}",
            "startTime": _AT,
            "containerStatuses": [running(name, image, number) for name, image in images.items()],
            "qosClass": "Burstable",
        },
    }
    missing = _SIZE - len(json.dumps(whole, separators=(",", ":")))
    managed["fieldsV1"] = {"f:spec": {f"f:x{index:04}": {} for index in range(missing // 13 - 2)}}
    return whole


def workload(number: int) -> Json:
    """The Deployment of some pods."""
    return {
        "metadata": {
            "name": f"app-{number}",
            "namespace": namespace(number),
            "generation": 1,
            "labels": {"app": f"app-{number}"},
        },
        "spec": {
            "replicas": REPLICAS,
            "selector": {"matchLabels": {"app": f"app-{number}"}},
            "template": {"metadata": {"labels": labels(number)}},
        },
        "status": {
            "observedGeneration": 1,
            "readyReplicas": REPLICAS,
            "updatedReplicas": REPLICAS,
            "replicas": REPLICAS,
        },
    }


def policies(count: int) -> list[Json]:
    """A policy that denies by default in each namespace, and others that select by one label and by an expression."""
    denying = [
        {
            "metadata": {"name": "default-deny", "namespace": f"team-{number}"},
            "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
        }
        for number in range(min(count, NAMESPACES))
    ]
    return denying + [
        {
            "metadata": {"name": f"allow-{number}", "namespace": namespace(number)},
            "spec": {
                "podSelector": {
                    "matchLabels": {"tier": f"tier-{number % 5}"},
                    "matchExpressions": [
                        {"key": "app", "operator": "In", "values": [f"app-{number % NAMESPACES}", "app-0"]}
                    ],
                },
                "policyTypes": ["Ingress"],
                "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "gateway"}}}]}],
            },
        }
        for number in range(count - len(denying))
    ]


def node(number: int) -> Json:
    """A node that is Ready."""
    conditions = {"MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False", "Ready": "True"}
    return {
        "metadata": {"name": f"node-{number}"},
        "status": {
            "allocatable": {"cpu": "64", "memory": "256Gi"},
            "conditions": [
                {"type": name, "status": status, "lastTransitionTime": _AT} for name, status in conditions.items()
            ],
            "nodeInfo": {
                "architecture": "amd64",
                "bootID": f"{number:08x}-2222-4000-8000-000000000000",
                "containerRuntimeVersion": "containerd://2.1.4",
                "kernelVersion": "6.12.48",
                "kubeProxyVersion": "v1.37.2",
                "kubeletVersion": "v1.37.2",
                "machineID": f"{number:032x}",
                "operatingSystem": "linux",
                "osImage": "Debian GNU/Linux 13 (trixie)",
                "systemUUID": f"{number:08x}-3333-4000-8000-000000000000",
            },
        },
    }


def autoscaler(number: int) -> Json:
    """The HorizontalPodAutoscaler of a Deployment."""
    conditions = ("AbleToScale", "ScalingActive")
    utilization = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}
    current = {"name": "cpu", "current": {"averageUtilization": 50, "averageValue": "125m"}}
    return {
        "metadata": {"name": f"app-{number}", "namespace": namespace(number)},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": f"app-{number}"},
            "minReplicas": 2,
            "maxReplicas": 2 * REPLICAS,
            "metrics": [{"type": "Resource", "resource": utilization}],
        },
        "status": {
            "currentReplicas": REPLICAS,
            "desiredReplicas": REPLICAS,
            "currentMetrics": [{"type": "Resource", "resource": current}],
            "conditions": [{"type": name, "status": "True", "lastTransitionTime": _AT} for name in conditions],
        },
    }


def in_each_namespace(name: str, **parts: Json) -> list[Json]:
    """The same object in every namespace."""
    return [{"metadata": {"name": name, "namespace": f"team-{number}"}, **parts} for number in range(NAMESPACES)]


class Cluster:
    """What the API server answers."""

    def __init__(self, pods: int, policy_count: int) -> None:
        self.pods = pods
        self._pages: dict[tuple[str, int, int], bytes] = {}
        workloads = range(pods // REPLICAS)
        level = {"pod-security.kubernetes.io/enforce": "restricted"}
        hard = {"requests.cpu": "10k", "requests.memory": "100Ti", "limits.cpu": "10k", "limits.memory": "100Ti"}
        amounts = {"cpu": "1", "memory": "512Mi"}
        self.lists: dict[str, list[Json]] = {
            "namespaces": [{"metadata": {"name": f"team-{number}", "labels": level}} for number in range(NAMESPACES)],
            "nodes": [node(number) for number in range(500)],
            "deployments": [workload(number) for number in workloads],
            "replicasets": [
                {**found, "metadata": {**found["metadata"], "name": f"app-{number}-{number:08x}aa"}}
                for number, found in enumerate(map(workload, workloads))
            ],
            "horizontalpodautoscalers": [autoscaler(number) for number in workloads],
            "networkpolicies": policies(policy_count),
            "configmaps": [
                {"metadata": {"name": f"large-{number}"}, "data": {"blob": "x" * 10**6}} for number in range(100)
            ],
            "resourcequotas": in_each_namespace(
                "quota", spec={"hard": hard}, status={"hard": hard, "used": dict.fromkeys(hard, "1")}
            ),
            "limitranges": in_each_namespace(
                "limits", spec={"limits": [{"type": "Container", "default": amounts, "defaultRequest": amounts}]}
            ),
            "apiservices": [
                {"metadata": {"name": "v1.apps"}, "status": {"conditions": [{"type": "Available", "status": "True"}]}}
            ],
        }

        for plural, objects in self.lists.items():
            for number, found in enumerate(objects):
                found["metadata"] = found["metadata"] | {"uid": f"{plural}-{number}"}

    def single(self, path: str) -> bytes | None:
        """What is no list."""
        if path in ("/readyz", "/livez"):
            return b"ok"
        if path == "/apis":
            return json.dumps({"groups": [{"name": name, "versions": [{"version": "v1"}]} for name in GROUPS]}).encode()
        if path == "/version":
            return b'{"gitVersion":"v1.37.2"}'
        if "/leases/" in path:
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            name = path.rpartition("/")[2]
            return json.dumps(
                {"metadata": {"name": name}, "spec": {"renewTime": now, "holderIdentity": "one"}}
            ).encode()
        return None

    def page(self, plural: str, start: int, limit: int) -> bytes:
        """One page of a list, serialised as an API server does."""
        total = self.pods if plural == "pods" else len(self.lists.get(plural, ()))
        end = min(start + limit, total)
        chosen = (
            [pod(number) for number in range(start, end)] if plural == "pods" else self.lists.get(plural, [])[start:end]
        )
        metadata = {"resourceVersion": "1000"} | ({"continue": str(end)} if end < total else {})
        return json.dumps({"kind": "List", "metadata": metadata, "items": chosen}, separators=(",", ":")).encode()

    def reply(self, path: str, query: dict[str, str]) -> tuple[int, bytes]:
        """Status and body for GET."""
        if (one := self.single(path)) is not None:
            return 200, one
        plural = path.rpartition("/")[2]
        key = plural, int(query.get("continue", 0)), int(query.get("limit", 10**9))
        if key not in self._pages:
            self._pages[key] = self.page(*key)
        return 200, self._pages[key]

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                method, target, _ = head.split("\r\n")[0].split()
                length = re.search(r"(?i)content-length: (\d+)", head)
                await reader.readexactly(int(length[1]) if length else 0)
                url = urlsplit(target)
                query = dict(parse_qsl(url.query))
                if query.get("watch"):
                    await self.watch(writer, int(query.get("labelSelector", "changes=0").rpartition("=")[2]))
                    return
                granted = 201, b'{"status":{"allowed":true}}'
                status, body = granted if method == "POST" else self.reply(url.path, query)
                head_of_reply = "HTTP/1.1 %d OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                writer.write((head_of_reply % (status, len(body))).encode())
                writer.write(body)
                await writer.drain()

    async def watch(self, writer: asyncio.StreamWriter, changes: int) -> None:
        """Send so many changes a second, for ever."""
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        events = [
            json.dumps({"type": "MODIFIED", "object": pod(number)}, separators=(",", ":")).encode() + b"\n"
            for number in range(500)
        ]
        started, sent = time.monotonic(), 0
        while True:
            due = int((time.monotonic() - started) * changes)
            for number in range(sent, due):
                event = events[number % len(events)]
                writer.write(b"%x\r\n%b\r\n" % (len(event), event))
            sent = due
            await writer.drain()
            await asyncio.sleep(0.005)


async def serve(folder: Path, pods: int, policy_count: int) -> None:
    """Serve until the process ends."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(folder / "replayed.pem", folder / "replayed.key")
    server = await asyncio.start_server(Cluster(pods, policy_count).answer, LOOPBACK, limit=2**20, ssl=tls)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


@contextmanager
def replaying(folder: Path, pods: int, policy_count: int = 0) -> Iterator[Path]:
    """Run such a server, over TLS as all are; the kubeconfig for it."""
    authority().issue(LOOPBACK).write(folder, "replayed")
    (folder / "ca.pem").write_bytes(authority().pem)
    argv = [sys.executable, "-m", "tests.benchmarks.replayed", str(folder), str(pods), str(policy_count)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            server = f"https://{LOOPBACK}:{int(process.stdout.readline())}"
            configuration = {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "replayed",
                "contexts": [{"name": "replayed", "context": {"cluster": "replayed", "user": "replayed"}}],
                "clusters": [
                    {"name": "replayed", "cluster": {"server": server, "certificate-authority": str(folder / "ca.pem")}}
                ],
                "users": [{"name": "replayed", "user": {"token": "replayed"}}],
            }
            file = folder / f"replayed-{pods}"
            file.write_text(json.dumps(configuration))
            yield file
        finally:
            process.terminate()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
