"""Whether objects of a cluster open data stores to its outside."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from collectors.systems.exposure.model import (
    Exposed,
    Slice,
    StoreServices,
    hostnames,
    is_internal,
    open_host_ports,
    own_security_groups,
    says_internal,
    stores_at,
    stores_behind,
    stores_of,
    unlimited,
)
from collectors.systems.kubernetes.model.objects import Service
from collectors.systems.kubernetes.model.whole_pods import Pod
from exporter.verdict import ProbeError, Reason, Result, failed, unknown, unobserved, warning
from exporter.words import listed

__all__ = ["exposed_by_hand", "exposed_services", "opened_problems"]

Names = Mapping[str, Sequence[str] | ProbeError]


def exposed_services(
    services: Iterable[Service], pods: Sequence[Pod], options: StoreServices
) -> dict[str, tuple[Service, list[Exposed]]]:
    """The Services of data stores by `namespace/name`, each with the ports that lead to one."""
    found = {}
    for service in services:
        path = f"{service.namespace}/{service.name}"
        if path not in options.exempt_workloads and (ports := stores_behind(service, pods, options.ports)):
            found[path] = (service, ports)
    return found


def exposed_by_hand(
    services: Iterable[Service], slices: Iterable[Slice], pods: Iterable[Pod], options: StoreServices
) -> dict[str, tuple[Service, list[Exposed]]]:
    """The Services, of any namespace, whose endpoints somebody wrote, and which lead to the pods of data stores."""
    addresses = {pod.status.pod_ip: pod for pod in pods if pod.runs and pod.status.pod_ip}
    written = defaultdict[str, list[Slice]](list)
    for one in slices:
        if any(address in addresses for endpoint in one.endpoints or () for address in endpoint.addresses or ()):
            written[one.service].append(one)
    found = {}
    for service in services:
        path = f"{service.namespace}/{service.name}"
        if path in options.exempt_workloads:
            continue
        if ports := stores_at(service, written.get(path, ()), addresses, options.ports):
            found[path] = (service, ports)
    return found


def opened_problems(
    services: Mapping[str, tuple[Service, Sequence[Exposed]]], pods: Sequence[Pod], options: StoreServices, names: Names
) -> Iterator[Result]:
    """Services and pods that open a data store to the outside; `names` has the addresses of load balancers' names."""
    stores = [
        pod
        for pod in pods
        if pod.runs and stores_of(pod, options.ports) and pod.workload not in options.exempt_workloads
    ]
    if not services and not stores:
        yield unknown(
            "No Service or pod of a data store is in the namespaces that are judged, so nothing was checked (stores.ports).",
            reason=Reason.MISSING,
        )
    for path, (service, ports) in sorted(services.items()):
        yield from _balanced(path, service, ports, names)
    for path, (service, ports) in sorted(services.items()):
        yield from _at_addresses(path, service, ports)
        yield from _at_nodes(path, service, ports)
    yield from _pods(stores, options.ports)


def _balanced(path: str, service: Service, ports: Sequence[Exposed], names: Names) -> Iterator[Result]:
    """A load balancer on the internet."""
    if service.spec.type != "LoadBalancer":
        return
    addresses = [one.ip for one in service.status.load_balancer.ingress or () if one.ip]
    for name in hostnames(service):
        found = names.get(name, ())
        if isinstance(found, ProbeError):
            yield unobserved(found)
        else:
            addresses += found
    public = [address for address in addresses if not is_internal(address)]
    what = f"Service {path} (LoadBalancer) opens {_leads(ports)}"
    if not public:
        if not addresses and not hostnames(service) and not says_internal(service) and (to := unlimited(service)):
            yield failed(
                f"{what} to {to} as soon as its load balancer has an address: no annotation asks for an internal one.",
                reason=Reason.MISCONFIGURED,
            )
        return
    if own_security_groups(service):
        yield unknown(
            f"{what} at {listed(public)} to those whom its own security groups let in, which option security_groups checks.",
            reason=Reason.NOT_VERIFIED,
        )
    elif to := unlimited(service):
        contrary = ", although an annotation asks for an internal one" if says_internal(service) else ""
        yield failed(f"{what} at {listed(public)} to {to}{contrary}.", reason=Reason.MISCONFIGURED)


def _at_addresses(path: str, service: Service, ports: Sequence[Exposed]) -> Iterator[Result]:
    """Addresses of its own, at which nodes take its traffic whatever its type is."""
    own = list(service.spec.external_ips or ())
    if public := [address for address in own if not is_internal(address)]:
        yield failed(
            f"Service {path} opens {_leads(ports)} at the externalIPs {listed(public)}.", reason=Reason.MISCONFIGURED
        )
    elif own:
        yield warning(f"Service {path} opens {_leads(ports)} at the externalIPs {listed(own)} of the internal network.")


def _at_nodes(path: str, service: Service, ports: Sequence[Exposed]) -> Iterator[Result]:
    """Node ports, which no source range of a load balancer limits."""
    numbers = [one.port.node_port for one in ports if one.port.node_port]
    if not numbers:
        return
    ports_of_nodes = f"node {'port' if len(numbers) == 1 else 'ports'} {listed(map(str, numbers))}"
    what = f"Service {path} ({service.spec.type}) opens {ports_of_nodes}"
    leads = f"leading to {listed(dict.fromkeys(one.store for one in ports))}"
    if service.spec.type == "NodePort":
        yield failed(f"{what} on every node, {leads}.", reason=Reason.MISCONFIGURED)
    else:
        yield warning(
            f"{what} on every node as well, {leads}: neither loadBalancerSourceRanges nor an internal load balancer limits who "
            "may connect there (allocateLoadBalancerNodePorts: false)."
        )


def _pods(stores: Sequence[Pod], ports: Sequence[int]) -> Iterator[Result]:
    """Stores that take a port of their node."""
    seen = set()
    for pod in stores:
        if pod.workload in seen:
            continue
        if pod.spec.host_network:
            seen.add(pod.workload)
            yield failed(
                f"Pod {pod.path} ({listed(stores_of(pod, ports))}) uses the host's network: its ports are those of its node.",
                reason=Reason.MISCONFIGURED,
            )
        elif taken := open_host_ports(pod, ports):
            seen.add(pod.workload)
            yield failed(
                f"Pod {pod.path} ({listed(stores_of(pod, ports))}) opens host port {listed(map(str, taken))} on its node.",
                reason=Reason.MISCONFIGURED,
            )


def _leads(ports: Sequence[Exposed]) -> str:
    numbers = listed(str(one.port.port) for one in ports)
    stores = dict.fromkeys(one.store for one in ports if one.store != f"port {one.port.port}")
    return f"{'port' if len(ports) == 1 else 'ports'} {numbers}{f' ({listed(stores)})' if stores else ''}"
