"""What it costs to look at a cluster, in a process of its own: ``python -m tests.benchmarks.audited HOW KUBECONFIG [TIMES]``.

HOW is ``audit`` (judge every item of both sections), ``followed`` (the same, of snapshots that are watched), ``read`` (only read
the bytes of the pods), ``typed`` (the official client's typed lists of the kinds that are judged), ``watch`` (follow the pods for
five seconds) or ``large`` (list 100 objects of 1 MB). With TIMES it is done so often, and the last time counts, as that is what a
daemon does every minute; by default the first time counts. Prints seconds of CPU, bytes of memory and what was seen, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil

from collectors.infrastructure.kubernetes import ClusterSettings, KubernetesCluster, KubernetesTarget
from collectors.performance_configuration.resource_allocation import (
    ResourceAllocation,
    ResourceSettings,
    ResourceTarget,
)
from collectors.shared.single_flight import Shared
from collectors.systems.kubernetes.client.cluster import Kubernetes
from collectors.systems.kubernetes.client.cluster import KubernetesSettings as ClientSettings
from collectors.systems.kubernetes.model.kind import Kind
from collectors.systems.kubernetes.model.kinds import PODS
from collectors.systems.kubernetes.model.objects import Named
from exporter.threads import Threads
from tests.support import make_context, verify

PAGE = 500
WATCHED_SECONDS = 5


def connect(kubeconfig: Path, **options: Any) -> Kubernetes:
    """The client, without the limits that are for the good of a real API server."""
    settings: dict[str, Any] = {
        "timeout": timedelta(minutes=5),
        "requests_per_second": 1e6,
        "page_size": PAGE,
    } | options
    return Kubernetes(ClientSettings(kubeconfig=kubeconfig, **settings), Threads())


async def audit(client: Kubernetes) -> object:
    """Judge everything; the statuses."""
    kept: list[Shared[Any]] = [client._groups, *client._snapshots.values()]
    for one in kept:
        await one.close()  # what was seen before is too old
    context = make_context(clients={"kubernetes": client})
    minutes = timedelta(minutes=5)
    seen = await asyncio.gather(
        verify(
            KubernetesCluster,
            ClusterSettings(timeout=minutes, targets=(target := KubernetesTarget(name="all"),)),
            target,
            context=context,
        ),
        verify(
            ResourceAllocation,
            ResourceSettings(timeout=minutes, targets=(part := ResourceTarget(name="all"),)),
            part,
            context=context,
        ),
    )
    return {name: f"{one.result.status}: {one.result.summary}"[:150] for found in seen for name, one in found.items()}


async def large(client: Kubernetes) -> object:
    """List objects that do not fit into one page."""
    kind: Kind[Named] = Kind("configmaps", Named)
    return len((await client.list(kind)).items)


async def read(client: Kubernetes) -> object:
    """Read the bytes of the pods, and look at nothing but where to go on."""

    def pages() -> int:
        size, more = 0, ""
        while True:
            query = {"limit": PAGE} | ({"continue": more} if more else {})
            body = client._api.get("/api/v1/pods", query, max_bytes=2**30).body
            size += len(body)
            _, _, rest = bytes(body[:200]).partition(b'"continue":"')
            if not rest:
                return size
            more = rest.partition(b'"')[0].decode()

    return await client.threads.run("read", pages)


async def typed(client: Kubernetes) -> object:
    """List with the official client what is judged, page by page, each object typed, and keep it, as who judges it has to."""
    import kubernetes

    official: Any = kubernetes.client
    connected = client._api._configured()
    core, apps = official.CoreV1Api(connected), official.AppsV1Api(connected)
    networking = official.NetworkingV1Api(connected)
    found: list[Any] = []
    for pages in (
        core.list_namespace,
        core.list_node,
        core.list_pod_for_all_namespaces,
        core.list_service_for_all_namespaces,
        core.list_resource_quota_for_all_namespaces,
        core.list_limit_range_for_all_namespaces,
        apps.list_deployment_for_all_namespaces,
        apps.list_stateful_set_for_all_namespaces,
        apps.list_daemon_set_for_all_namespaces,
        official.AutoscalingV2Api(connected).list_horizontal_pod_autoscaler_for_all_namespaces,
        networking.list_network_policy_for_all_namespaces,
        networking.list_ingress_for_all_namespaces,
        networking.list_ingress_class,
        official.DiscoveryV1Api(connected).list_endpoint_slice_for_all_namespaces,
        official.ApiregistrationV1Api(connected).list_api_service,
    ):
        more = None
        while more != "":
            page = pages(limit=PAGE, _continue=more)
            found += page.items
            more = page.metadata._continue or ""
    return len(found)


async def watch(client: Kubernetes) -> object:
    """Follow the pods for some seconds, after the first list; the changes that were seen."""
    await client.list(PODS)
    (follower,) = await client._followers[PODS].get()
    before, changes = time.process_time(), follower._changes
    await asyncio.sleep(WATCHED_SECONDS)
    told = {"cpu": time.process_time() - before, "changes": follower._changes - changes}
    await client.list(PODS)
    return told


OPTIONS: dict[str, dict[str, Any]] = {
    "followed": {"watch": True},
    "watch": {"watch": True, "selectors": {"pods": "changes=1000"}},
}
WAYS: dict[str, Callable[[Kubernetes], Awaitable[object]]] = {
    "audit": audit,
    "followed": audit,
    "large": large,
    "read": read,
    "typed": typed,
    "watch": watch,
}


def peak() -> int:
    """The most memory that was resident since `forget_peak`, in bytes."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def forget_peak() -> None:
    """Count the most resident memory anew."""
    Path("/proc/self/clear_refs").write_text("5")


async def main(how: str, kubeconfig: Path, times: int = 1) -> None:
    """Measure, and print."""
    client = connect(kubeconfig, **OPTIONS.get(how, {}))
    await client.get("/version")
    for _ in range(times - 1):
        await WAYS[how](client)
    forget_peak()
    resident = psutil.Process().memory_info().rss
    before = time.process_time()
    told = await WAYS[how](client)
    cpu = time.process_time() - before
    extra = psutil.Process().memory_info().rss - resident
    sys.stdout.write(json.dumps({"cpu": cpu, "extra": extra, "peak": peak() - resident, "told": told}) + "\n")
    await client.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:])))
