"""What runs in a cluster, by its pods, Services, Ingresses and CronJobs. Nothing else is read, and never a Secret."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from collectors.discovery.found import Cluster, Service, Store, Workload
from collectors.systems.exposure.model import STORE_PODS, store_in
from collectors.systems.kubernetes.client.cluster import Kubernetes, KubernetesSettings
from collectors.systems.kubernetes.model.kind import Kind
from collectors.systems.kubernetes.model.kinds import CRON_JOBS, INGRESSES
from collectors.systems.kubernetes.model.objects import CronJob, Ingress, ServicePortSpec
from collectors.systems.kubernetes.model.whole_pods import Object, Pod
from exporter.threads import Threads
from exporter.verdict import ProbeError

__all__ = ["see_cluster"]

T = TypeVar("T")

PLATFORM = frozenset({"kube-system", "kube-public", "kube-node-lease"})
"""The namespaces of Kubernetes itself."""
_KINDS = {
    "redis": "redis|valkey|keydb",
    "postgresql": "postgres|postgis|pgvector|spilo|timescale",
    "nats": "nats$",
    "neo4j": "neo4j",
    "qdrant": "qdrant",
}
"""How the names of images of the stores begin, by section."""
_PORTS = {"redis": 6379, "postgresql": 5432, "nats": 4222, "neo4j": 7687, "qdrant": 6333}
_NAMES = {"valkey": "redis", "postgres": "postgresql"} | {kind: kind for kind in _KINDS}
"""What `app.kubernetes.io/name` calls the stores, for images whose names say nothing."""
_MONITORING = {
    "prometheus": ("prometheus", 9090),
    "alertmanager": ("alertmanager", 9093),
    "grafana": ("grafana", 3000),
    "loki": ("loki", 3100),
    "jaeger": ("all-in-one|jaeger|jaeger-query", 16686),
}
"""The last part of the names of images, and the port at which people and exporters ask."""
_HTTP = re.compile(r"https?(-.*)?|web|api")
_HTTP_PORTS = frozenset({80, 443, 3000, 5000, 8000, 8080, 8443, 9000})
_BACKUP = re.compile(r"backup|dump|snapshot", re.IGNORECASE)


class _Spec(msgspec.Struct, frozen=True, rename="camel", gc=False):
    selector: dict[str, str] | None = None
    cluster_ip: str = msgspec.field(default="", name="clusterIP")
    ports: tuple[ServicePortSpec, ...] | None = ()


class _Service(Object, frozen=True):
    spec: _Spec = _Spec()

    def selects(self, pod: Pod) -> bool:
        """Whether a pod is behind it."""
        wanted = self.spec.selector or {}
        return bool(wanted) and pod.namespace == self.namespace and wanted.items() <= pod.metadata.labels.items()

    @property
    def host(self) -> str:
        """Its name in the cluster's DNS."""
        return f"{self.metadata.name}.{self.namespace}"


SERVICES: Kind[_Service] = Kind("services", _Service)


async def see_cluster(options: Mapping[str, Any]) -> Cluster:
    """What the cluster that these options of `clients.kubernetes` reach shows.

    Raises ProbeError when its pods cannot be read; the rest may be missing.
    """
    client = Kubernetes(KubernetesSettings(**options, watch=False), Threads())
    unseen: list[str] = []
    try:
        pods = [pod for pod in (await client.list(STORE_PODS)).items if pod.runs and pod.namespace not in PLATFORM]
        services = await _listed(client, SERVICES, unseen)
        ingresses = await _listed(client, INGRESSES, unseen)
        cron_jobs = await _listed(client, CRON_JOBS, unseen)
        groups = await _groups(client, unseen)
    finally:
        await client.close()
    services = [service for service in services if service.namespace not in PLATFORM]
    stores = tuple(_stores(pods, services))
    taken = {store.workload for store in stores}
    applications = [pod for pod in pods if pod.workload not in taken and not _monitors(pod)]
    return Cluster(
        namespaces=tuple(sorted({pod.namespace for pod in pods})),
        stores=stores,
        services=tuple(_http(services, applications)),
        monitoring=tuple(_monitoring(pods, services)),
        hosts=tuple(_hosts(ingresses)),
        backups=tuple(_backups(cron_jobs)),
        groups=groups,
        unseen=tuple(unseen),
    )


async def _listed(client: Kubernetes, kind: Kind[T], unseen: list[str]) -> Sequence[T]:
    """All of a kind; where they cannot be read, that is noted."""
    try:
        return (await client.list(kind)).items
    except ProbeError as error:
        unseen.append(str(error))
        return ()


async def _groups(client: Kubernetes, unseen: list[str]) -> frozenset[str]:
    try:
        return await client.groups()
    except ProbeError as error:
        unseen.append(str(error))
        return frozenset()


def _kind(image: str) -> str:
    """The section for the store that an image is; empty where there is none."""
    parts = re.split(r"[^a-z0-9]+", image)
    return next((kind for kind, names in _KINDS.items() if any(re.match(names, part) for part in parts)), "")


def _stores(pods: Iterable[Pod], services: Iterable[_Service]) -> Iterator[Store]:
    members: dict[tuple[str, str, str], list[Pod]] = {}
    for pod in pods:
        images = [name for name in map(store_in, pod.lasting) if name and "sentinel" not in name]
        for image in dict.fromkeys(images):
            if kind := _kind(image):
                members.setdefault((kind, pod.workload, image), []).append(pod)
                break
        else:
            if kind := _labelled(pod):
                members.setdefault((kind, pod.workload, kind), []).append(pod)
    for (kind, workload, image), own in sorted(members.items()):
        behind = [service for service in services if all(map(service.selects, own))]
        ports = [service for service in behind if _PORTS[kind] in _numbers(service)]
        pair = [
            one for end in ("-rw", "-ro") for one in services if one.metadata.name.endswith(end) and _leads_to(one, own)
        ]
        headless = next((one for one in (*ports, *behind) if one.spec.cluster_ip == "None"), None)
        if headless is not None and all(_is_numbered(pod) for pod in own):
            names = sorted((pod.metadata.name for pod in own), key=lambda name: (len(name), name))
            hosts = tuple(f"{name}.{headless.host}" for name in names)
        else:
            # Operators such as CloudNativePG have a Service for the primary, and one for the standbys.
            hosts = tuple(service.host for service in pair or ports[:1])
        yield Store(kind, workload, hosts, image)


def _labelled(pod: Pod) -> str:
    """The section for the store that a pod's label names, where it declares the port of that store, too."""
    kind = _NAMES.get(pod.metadata.labels.get("app.kubernetes.io/name", ""), "")
    declared = (port.container_port for one in pod.spec.containers for port in one.ports or ())
    return kind if kind and _PORTS[kind] in declared else ""


def _leads_to(service: _Service, pods: Iterable[Pod]) -> bool:
    return _PORTS["postgresql"] in _numbers(service) and any(map(service.selects, pods))


def _numbers(service: _Service) -> set[int]:
    return {port.port for port in service.spec.ports or ()}


def _is_numbered(pod: Pod) -> bool:
    """Whether a StatefulSet made it, so that its name lasts and resolves."""
    return any(owner.controller and owner.kind == "StatefulSet" for owner in pod.metadata.owner_references)


def _http(services: Iterable[_Service], pods: Sequence[Pod]) -> Iterator[Service]:
    """The Services that seem to speak HTTP, of workloads that are neither stores nor the monitoring."""
    for service in sorted(services, key=lambda service: service.path):
        if service.spec.cluster_ip == "None" or not any(map(service.selects, pods)):
            continue
        for port in service.spec.ports or ():
            if _HTTP.fullmatch(port.name) or port.port in _HTTP_PORTS:
                scheme = "https" if port.port in (443, 8443) or port.name.startswith("https") else "http"
                selector = tuple(sorted((service.spec.selector or {}).items()))
                yield Service(service.path, f"{scheme}://{service.host}:{port.port}", selector)
                break


def _monitors(pod: Pod) -> str:
    """Which part of the monitoring a pod is."""
    names = [one.image.partition("@")[0].rpartition("/")[2].partition(":")[0] for one in pod.spec.containers]
    for kind, (pattern, _) in _MONITORING.items():
        if any(re.fullmatch(pattern, name) for name in names):
            return kind
    return ""


def _monitoring(pods: Iterable[Pod], services: Sequence[_Service]) -> Iterator[Workload]:
    found: dict[str, dict[str, None]] = {}
    for pod in pods:
        if not (kind := _monitors(pod)):
            continue
        port = _MONITORING[kind][1]
        behind = [one for one in services if one.selects(pod) and (port in _numbers(one) or len(_numbers(one)) == 1)]
        behind.sort(key=lambda one: (port not in _numbers(one), one.spec.cluster_ip == "None", one.path))
        for service in behind[:1]:
            number = port if port in _numbers(service) else min(_numbers(service))
            found.setdefault(kind, {})[f"http://{service.host}:{number}"] = None
    for kind in _MONITORING:
        if kind in found:
            yield Workload(kind, tuple(found[kind]))


def _hosts(ingresses: Iterable[Ingress]) -> Iterator[str]:
    """The hosts of Ingresses, each once, without patterns."""
    hosts = {rule.host for ingress in ingresses for rule in ingress.spec.rules or () if rule.host}
    return (host for host in sorted(hosts) if not host.startswith("*"))


def _backups(cron_jobs: Iterable[CronJob]) -> Iterator[str]:
    return (job.path for job in sorted(cron_jobs, key=lambda job: job.path) if _BACKUP.search(job.name))
