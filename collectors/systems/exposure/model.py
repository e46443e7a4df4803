"""Which Services and pods are data stores, and where objects open them to the outside of the cluster."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field

from collectors.systems.aws_perimeter.model import wide_open
from collectors.systems.blackbox.model import Ports
from collectors.systems.kubernetes.model.base import Struct
from collectors.systems.kubernetes.model.kind import Kind
from collectors.systems.kubernetes.model.objects import Service, ServicePortSpec
from collectors.systems.kubernetes.model.scope import Scope
from collectors.systems.kubernetes.model.whole_pods import Container, Object, Pod

__all__ = [
    "STORE_ENDPOINTS",
    "STORE_PODS",
    "Exposed",
    "Slice",
    "StoreServices",
    "hostnames",
    "is_internal",
    "open_host_ports",
    "own_security_groups",
    "says_internal",
    "store_in",
    "stores_at",
    "stores_behind",
    "stores_of",
    "unlimited",
]

STORE_PORTS = (
    *(
        1433,
        1521,
        2181,
        2379,
        3306,
        4222,
        5432,
        5672,
        5984,
        6222,
        6333,
        6334,
        6379,
        6432,
        6650,
        7474,
        7687,
        8086,
        8123,
        8222,
    ),
    *(8529, 8983, 9042, 9092, 9200, 9300, 11211, 19530, 26257, 26379, 27017, 28015, 33060, 61616),
)
"""Where databases, caches and brokers listen."""
_STORES = re.compile(
    "activemq|aerospike|arangodb|artemis|cassandra|chroma$|clickhouse|cockroach|couchbase|couchdb|dgraph|dragonfly|elasticsearch|etcd"
    "|ferretdb|hazelcast|influxdb|kafka|keydb|mariadb|maxscale|meilisearch|memcached|milvus|mongo|mssql|mysql|nats$|neo4j|odyssey"
    "|opensearch|oracle$|orientdb|percona|pgbouncer|pgcat|pgpool|pgvector|postgis|postgres|proxysql|pulsar|qdrant|questdb|rabbitmq|ravendb"
    "|redis|redpanda|rethinkdb|scylla|solr|spilo|supavisor|surrealdb|tarantool|timescale|typesense|valkey|weaviate|yugabyte|zookeeper"
)
"""How names of images of stores begin, part by part."""
_PARTS = ("server", "database", "free", "express", "db", "standalone", "all", "community", "enterprise")
"""Names of images that only say which part of a program they are: mcr.microsoft.com/mssql/server."""
_NO_STORES = {
    *(
        "admin",
        "backup",
        "box",
        "browser",
        "commander",
        "console",
        "dashboards",
        "express",
        "exporter",
        "insight",
        "metrics",
    ),
    *("operator", "proxy", "reloader", "surveyor", "ui"),
}
"""Parts of the names of images that are only about a store."""
_INTERNAL = tuple(
    map(
        ipaddress.ip_network,
        (
            *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "127.0.0.0/8"),
            *("fc00::/7", "fe80::/10", "::1/128"),
        ),
    )
)
_CLOUD = "service.beta.kubernetes.io/"
_SAYS_INTERNAL: Mapping[str, tuple[str, ...]] = {
    f"{_CLOUD}aws-load-balancer-scheme": ("internal",),
    f"{_CLOUD}aws-load-balancer-internal": ("true", "0.0.0.0/0"),
    f"{_CLOUD}azure-load-balancer-internal": ("true",),
    f"{_CLOUD}openstack-internal-load-balancer": ("true",),
    f"{_CLOUD}oci-load-balancer-internal": ("true",),
    f"{_CLOUD}alibaba-cloud-loadbalancer-address-type": ("intranet",),
    f"{_CLOUD}do-loadbalancer-network": ("internal",),
    "networking.gke.io/load-balancer-type": ("internal",),
    "cloud.google.com/load-balancer-type": ("internal",),
    "service.kubernetes.io/ibm-load-balancer-cloud-provider-ip-type": ("private",),
    "load-balancer.hetzner.cloud/disable-public-network": ("true",),
}
"""By which annotations clouds make a load balancer internal, and their values in lower case."""


class StoreServices(Scope):
    """Databases, caches and brokers in the cluster, which nothing outside of it should reach.

    `exempt_workloads` may name Services, too.
    """

    ports: Ports = Field(
        STORE_PORTS,
        min_length=1,
        description="Ports, of pods, at which data stores listen; images are known by their names.",
    )


STORE_PODS: Kind[Pod] = Kind("pods", Pod)


class _SlicePort(Struct, frozen=True):
    name: str | None = None
    port: int | None = None


class _Endpoint(Struct, frozen=True):
    addresses: tuple[str, ...] | None = ()


class Slice(Object, frozen=True):
    """Endpoints of a Service that somebody wrote: its own selector does not say where it leads."""

    endpoints: tuple[_Endpoint, ...] | None = ()
    ports: tuple[_SlicePort, ...] | None = ()

    @property
    def service(self) -> str:
        """`namespace/name` of the Service."""
        return f"{self.namespace}/{self.metadata.labels.get('kubernetes.io/service-name', '')}"


def _by_hand(slices: Iterable[Slice]) -> list[Slice]:
    maker = "endpointslice.kubernetes.io/managed-by"
    return [one for one in slices if one.metadata.labels.get(maker) != "endpointslice-controller.k8s.io"]


STORE_ENDPOINTS: Kind[Slice] = Kind("endpointslices", Slice, "discovery.k8s.io", gathered=_by_hand)


@dataclass(frozen=True, slots=True)
class Exposed:
    """A port of a Service that leads to a store: the port, and what the store is (`postgres`, or `port 5432`)."""

    port: ServicePortSpec
    store: str


def store_in(container: Container) -> str:
    """Which store the image of a container is, by its name; empty where it is none."""
    path = container.image.partition("@")[0].lower()
    vendor, _, name = path.rpartition("/")
    name = name.partition(":")[0]
    if name in _PARTS:
        name = f"{vendor.rpartition('/')[2]}-{name}"
    parts = [part for part in re.split(r"[^a-z0-9]+", name) if part]
    if any(part in _NO_STORES for part in parts):
        return ""
    return name if any(_STORES.match(part) for part in parts) else ""


def stores_of(pod: Pod, ports: Sequence[int]) -> tuple[str, ...]:
    """The stores that run in a pod, by their images or else by the ports that containers declare."""
    named = dict.fromkeys(filter(None, map(store_in, pod.lasting)))
    numbers = (port.container_port for container in pod.lasting for port in container.ports or ())
    return tuple(named or (f"port {number}" for number in numbers if number in ports))


def stores_behind(service: Service, pods: Iterable[Pod], ports: Sequence[int]) -> list[Exposed]:
    """The ports of a Service that lead to a store: by the number at which its pods listen, or by their images."""
    selector = service.spec.selector or {}
    own = [
        pod
        for pod in pods
        if selector
        and pod.runs
        and pod.namespace == service.namespace
        and selector.items() <= pod.metadata.labels.items()
    ]
    leads = (
        (port, next(filter(None, (_leads_to(port, pod, ports) for pod in own)), ""))
        for port in service.spec.ports or ()
    )
    found = ((port, store or _by_number(port, own, ports)) for port, store in leads)
    return [Exposed(port, store) for port, store in found if store]


def stores_at(
    service: Service, slices: Iterable[Slice], pods: Mapping[str, Pod], ports: Sequence[int]
) -> list[Exposed]:
    """The ports of a Service without a selector that lead to a store: a pod, by its address, or another host's port.

    `slices` are its own, `pods` those of stores by their address.
    """
    if service.spec.selector or service.spec.type == "ExternalName":
        return []
    leads = ((port, _at(port, one, pods, ports)) for port in service.spec.ports or () for one in slices)
    found = {port.port: Exposed(port, store) for port, store in leads if store}
    return list(found.values())


def _at(port: ServicePortSpec, own: Slice, pods: Mapping[str, Pod], ports: Sequence[int]) -> str:
    number = next((one.port for one in own.ports or () if (one.name or "") == port.name), None)
    for address in (address for one in own.endpoints or () for address in one.addresses or ()):
        if (pod := pods.get(address)) and number:
            return _leads_to(ServicePortSpec(port=number, target_port=number), pod, ports)
    return f"port {number}" if number in ports else ""


def _leads_to(port: ServicePortSpec, pod: Pod, ports: Sequence[int]) -> str:
    target = port.target_port or port.port
    declared = [
        (container, one)
        for container in pod.lasting
        for one in container.ports or ()
        if target in (one.container_port, one.name)
    ]
    for container, one in declared:
        if store := store_in(container):
            return store
        if one.container_port in ports:
            return f"port {one.container_port}"
    if declared:
        return ""
    if (stores := stores_of(pod, ports)) and not stores[0].startswith("port "):
        return stores[0]  # a container need not declare where it listens
    return f"port {target}" if target in ports else ""


def _by_number(port: ServicePortSpec, own: Sequence[Pod], ports: Sequence[int]) -> str:
    """A Service whose pods are not known, because it has none or its endpoints are made by hand."""
    target = port.target_port or port.port
    number = target if isinstance(target, int) else port.port
    return f"port {number}" if not own and number in ports else ""


def is_internal(address: str) -> bool:
    """Whether an IP address is of no use on the internet. What is no address is not."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed.version == one.version and parsed in one for one in _INTERNAL)


def hostnames(service: Service) -> list[str]:
    """The names by which its load balancer is reached."""
    return [one.hostname for one in service.status.load_balancer.ingress or () if one.hostname and not one.ip]


def says_internal(service: Service) -> bool:
    """Whether one of the annotations of clouds asks for a load balancer without an address on the internet."""
    about = service.metadata.annotations
    return any(about.get(key, "").strip().lower() in values for key, values in _SAYS_INTERNAL.items())


def own_security_groups(service: Service) -> bool:
    """Whether security groups that it names decide who may connect: AWS then ignores loadBalancerSourceRanges."""
    return bool(service.metadata.annotations.get(f"{_CLOUD}aws-load-balancer-security-groups", "").strip())


def unlimited(service: Service) -> str:
    """The widest network that may connect to its load balancer; empty where only some addresses may."""
    ranges = list(service.spec.load_balancer_source_ranges or ())
    if not ranges:
        written = service.metadata.annotations.get(f"{_CLOUD}load-balancer-source-ranges", "")
        ranges = [one.strip() for one in written.split(",") if one.strip()]
    if not ranges:
        return "every address"
    try:
        return wide_open([one.strip() for one in ranges]) or ""
    except ValueError:
        return "every address"  # what no cloud understands limits nobody


def open_host_ports(pod: Pod, ports: Sequence[int]) -> list[int]:
    """The ports of its node that its stores take, but for those at the node's loopback."""
    return [
        port.host_port
        for container in pod.lasting
        for port in container.ports or ()
        if port.host_port
        and (store_in(container) or port.container_port in ports)
        and not port.host_ip.startswith(("127.", "::1"))
    ]
