"""A Kubernetes API server of generated objects, as a process of its own: ``python -m tests.benchmarks.replayed PODS POLICIES``.

It prints its port. Pods are 8 KB of JSON each, as an API server with managed fields sends them; lists are paged, pods can be
watched (the label selector ``changes=N`` says how many changes a second there are), and every access review is granted.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.servers.process import LOOPBACK

REPLICAS = 100
NAMESPACES = 25
_SIZE = 8192
_AT = "2026-01-01T00:00:00Z"

Json = dict[str, Any]


def labels(workload: int) -> Json:
    return {"app": f"app-{workload}", "tier": f"tier-{workload % 5}", "pod-template-hash": f"{workload:08x}aa"}


def namespace(workload: int) -> str:
    return f"team-{workload % NAMESPACES}"


def pod(number: int) -> Json:
    """One healthy replica; the padding makes it 8 KB, as managed fields and environments do."""
    workload = number // REPLICAS
    name = f"app-{workload}-{workload:08x}aa-{number:05x}"
    container = {
        "name": "main",
        "image": f"registry.example.com/app-{workload}:1.4.2",
        "resources": {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "ports": [{"containerPort": 8080, "protocol": "TCP"}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080, "scheme": "HTTP"}, "periodSeconds": 10},
        "env": [{"name": f"SETTING_{index}", "value": f"value-{index}"} for index in range(12)],
        "volumeMounts": [{"name": f"kube-api-access-{number:05x}", "mountPath": "/var/run/secrets", "readOnly": True}],
    }
    conditions = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    whole: Json = {
        "metadata": {
            "name": name,
            "generateName": f"app-{workload}-{workload:08x}aa-",
            "namespace": namespace(workload),
            "uid": f"{number:08x}-0000-4000-8000-{number:012x}",
            "resourceVersion": str(1000 + number),
            "creationTimestamp": _AT,
            "labels": labels(workload),
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "name": f"app-{workload}-{workload:08x}aa",
                    "uid": f"{workload:08x}-1111-4000-8000-000000000000",
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
            "managedFields": [
                {"manager": "kubelet", "operation": "Update", "apiVersion": "v1", "time": _AT, "fieldsType": "FieldsV1"}
            ],
        },
        "spec": {
            "containers": [container],
            "volumes": [{"name": f"kube-api-access-{number:05x}", "projected": {"sources": [], "defaultMode": 420}}],
            "nodeName": f"node-{number % 500}",
            "serviceAccountName": "default",
            "securityContext": {},
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}],
        },
        "status": {
            "phase": "Running",
            "conditions": [{"type": name, "status": "True", "lastTransitionTime": _AT} for name in conditions],
            "hostIP": "192.0.2.1",
            "podIP": f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}",
            "startTime": _AT,
            "containerStatuses": [
                {
                    "name": "main",
                    "state": {"running": {"startedAt": _AT}},
                    "lastState": {},
                    "ready": True,
                    "restartCount": 0,
                    "image": f"registry.example.com/app-{workload}:1.4.2",
                    "imageID": f"registry.example.com/app@sha256:{number:064x}",
                    "containerID": f"containerd://{number:064x}",
                    "started": True,
                }
            ],
            "qosClass": "Burstable",
        },
    }
    fields: Json = {f"f:field-{index}": {} for index in range(2)}
    whole["metadata"]["managedFields"][0]["fieldsV1"] = fields
    missing = _SIZE - len(json.dumps(whole, separators=(",", ":")))
    whole["metadata"]["managedFields"][0]["fieldsV1"] = fields | {
        f"f:x{index:04}": {} for index in range(missing // 13)
    }
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
        "spec": {"replicas": REPLICAS, "template": {"metadata": {"labels": labels(number)}}},
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
                        {"key": "app", "operator": "In", "values": [f"app-{number}", f"app-{number + 25}"]}
                    ],
                },
                "policyTypes": ["Ingress"],
                "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "gateway"}}}]}],
            },
        }
        for number in range(count - len(denying))
    ]


class Cluster:
    """What the lists answer."""

    def __init__(self, pods: int, policy_count: int) -> None:
        self.pods = pods
        self._pages: dict[tuple[str, int, int], bytes] = {}
        workloads = range(pods // REPLICAS)
        spaces = [
            {"metadata": {"name": f"team-{number}", "labels": {"kubernetes.io/metadata.name": f"team-{number}"}}}
            for number in range(NAMESPACES)
        ]
        for space in spaces:
            space["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = "restricted"  # type: ignore[index]
        replica_sets = [
            one | {"metadata": one["metadata"] | {"name": f"app-{n}-{n:08x}aa"}}
            for n, one in ((n, workload(n)) for n in workloads)
        ]
        self.lists: dict[str, list[Json]] = {
            "namespaces": spaces,
            "deployments": [workload(number) for number in workloads],
            "replicasets": replica_sets,
            "networkpolicies": policies(policy_count),
        }

    def page(self, plural: str, start: int, limit: int) -> bytes:
        """One page of a list, serialised as an API server does."""
        total = self.pods if plural == "pods" else len(self.lists.get(plural, ()))
        end = min(start + limit, total)
        chosen = (
            [pod(number) for number in range(start, end)] if plural == "pods" else self.lists.get(plural, [])[start:end]
        )
        metadata = {"resourceVersion": "1000"} | ({"continue": str(end)} if end < total else {})
        return json.dumps({"kind": "List", "metadata": metadata, "items": chosen}, separators=(",", ":")).encode()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                method, target, _ = head.split("\r\n")[0].split()
                length = next(
                    (int(line[15:]) for line in head.split("\r\n") if line.lower().startswith("content-length:")), 0
                )
                await reader.readexactly(length)
                url = urlsplit(target)
                query = dict(parse_qsl(url.query))
                if query.get("watch"):
                    await self.watch(writer, int(query.get("labelSelector", "changes=100").rpartition("=")[2]))
                    return
                if method == "POST":
                    body, status = b'{"status":{"allowed":true}}', 201
                else:
                    key = url.path.rpartition("/")[2], int(query.get("continue", 0)), int(query.get("limit", 10**9))
                    if key not in self._pages:
                        self._pages[key] = self.page(*key)
                    body, status = self._pages[key], 200
                writer.write(
                    b"HTTP/1.1 %d OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                    % (status, len(body))
                )
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


async def serve(pods: int, policy_count: int) -> None:
    server = await asyncio.start_server(Cluster(pods, policy_count).answer, LOOPBACK, limit=2**20)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201
    await server.serve_forever()


@contextmanager
def replaying(folder: Path, pods: int, policy_count: int = 0) -> Iterator[Path]:
    """Run such a server; the kubeconfig for it."""
    argv = [sys.executable, "-m", "tests.benchmarks.replayed", str(pods), str(policy_count)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = f"http://{LOOPBACK}:{int(process.stdout.readline())}"
            file = folder / f"replayed-{pods}"
            configuration = {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
                "clusters": [{"name": "c", "cluster": {"server": url}}],
                "users": [{"name": "c", "user": {"token": "t"}}],
            }
            file.write_text(json.dumps(configuration))
            yield file
        finally:
            process.terminate()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
