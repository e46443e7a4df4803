"""What it costs to look at a cluster, in a process of its own: ``python -m tests.benchmarks.audited HOW KUBECONFIG [WARM]``.

HOW is ``audit`` (judge every item of both sections), ``read`` (only read the bytes of the pods), ``typed`` (the official
client's typed list of the pods), ``watch`` (follow the pods for five seconds) or ``large`` (list 100 objects of 1 MB). WARM is the
kubeconfig of a small cluster to look at first, so that what is needed once does not count; without it, a client is connected first.
Prints seconds of CPU, bytes of memory and what was seen, as JSON.
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

from collectors.clients.kubernetes import Kind, Kubernetes
from collectors.clients.kubernetes import KubernetesSettings as ClientSettings
from collectors.clients.kubernetes_kinds import PODS
from collectors.clients.kubernetes_objects import Named
from collectors.infrastructure.kubernetes import KubernetesCluster, KubernetesSettings, KubernetesTarget
from collectors.performance_configuration.resource_allocation import (
    ResourceAllocation,
    ResourceSettings,
    ResourceTarget,
)
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


async def audit(kubeconfig: Path) -> tuple[object, Kubernetes]:
    """Judge everything; the statuses, and the client, which keeps the snapshots."""
    client = connect(kubeconfig)
    context = make_context(clients={"kubernetes": client})
    minutes = timedelta(minutes=5)
    seen = await asyncio.gather(
        verify(
            KubernetesCluster,
            KubernetesSettings(timeout=minutes, targets=(target := KubernetesTarget(name="all"),)),
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
    told = {name: f"{one.result.status}: {one.result.summary}"[:150] for found in seen for name, one in found.items()}
    return told, client


async def large(kubeconfig: Path) -> tuple[object, Kubernetes]:
    """List objects that do not fit into one page."""
    client = connect(kubeconfig)
    kind: Kind[Named] = Kind("configmaps", Named)
    return len((await client.list(kind)).items), client


async def read(kubeconfig: Path) -> tuple[object, Kubernetes]:
    """Read the bytes of the pods, and look at nothing but where to go on."""
    client = connect(kubeconfig)

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

    return await client.threads.run("read", pages), client


async def typed(kubeconfig: Path) -> tuple[object, object]:
    """List the pods with the official client, page by page, each pod a typed object; only the last page is kept."""
    import kubernetes

    official: Any = kubernetes
    official.config.load_kube_config(str(kubeconfig))
    api = official.client.CoreV1Api()
    count, more = 0, None
    while True:
        page = api.list_pod_for_all_namespaces(limit=PAGE, _continue=more)
        count += len(page.items)
        more = page.metadata._continue
        if not more:
            return count, page


async def watch(kubeconfig: Path) -> tuple[object, Kubernetes]:
    """Follow the pods for some seconds, after the first list; the changes that were seen."""
    client = connect(kubeconfig, watch=True, selectors={"pods": "changes=1000"})
    await client.list(PODS)
    (follower,) = await client._followers[PODS].get()
    before, changes = time.process_time(), follower._changes
    await asyncio.sleep(WATCHED_SECONDS)
    told = {"cpu": time.process_time() - before, "changes": follower._changes - changes}
    await client.list(PODS)
    return told, client


WAYS: dict[str, Callable[[Path], Awaitable[tuple[object, Any]]]] = {
    "audit": audit,
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


async def main(how: str, kubeconfig: Path, warm: Path | None) -> None:
    """Measure, and print."""
    if warm:
        await WAYS[how](warm)
    else:
        await connect(kubeconfig).get("/version")
    forget_peak()
    resident = psutil.Process().memory_info().rss
    before = time.process_time()
    told, kept = await WAYS[how](kubeconfig)
    cpu = time.process_time() - before
    extra = psutil.Process().memory_info().rss - resident
    sys.stdout.write(json.dumps({"cpu": cpu, "extra": extra, "peak": peak() - resident, "told": told}) + "\n")
    if isinstance(kept, Kubernetes):
        await kept.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None))
