"""Ingress controllers: their pods, how these are reached, and the maps of ports that they are started with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from collectors.systems.exposure.model import own_security_groups, unlimited
from collectors.systems.kubernetes.model.base import Struct
from collectors.systems.kubernetes.model.kind import Kind
from collectors.systems.kubernetes.model.objects import Service, ServicePortSpec
from collectors.systems.kubernetes.model.whole_pods import ContainerPort, Object

__all__ = [
    "CONTROLLERS",
    "EMISSARY",
    "TCP_MAPS",
    "TCP_MAP_NAMES",
    "TRAEFIK",
    "Controller",
    "Mapped",
    "TcpMap",
    "addresses_of",
    "limited_addresses",
    "mapped",
    "ports_for",
]

TRAEFIK = ("traefik",)
EMISSARY = ("emissary", "ambassador", "aes")
"""How the images of controllers are called whose routes do not say where these are reached."""
TCP_MAP_NAMES = ("ingress-nginx-tcp", "tcp-services")
"""The ConfigMaps of ingress-nginx for connections without HTTP, as its chart and its documentation call them."""
_MAP = re.compile(r"--(?:tcp-services-configmap|udp-services-configmap|configmap-tcp-services)[= ](\S+)")


class _ControllerContainer(Struct, frozen=True):
    name: str = ""
    image: str = ""
    command: tuple[str, ...] | None = ()
    args: tuple[str, ...] | None = ()
    ports: tuple[ContainerPort, ...] | None = ()


class _ControllerSpec(Struct, frozen=True):
    containers: tuple[_ControllerContainer, ...] = ()
    host_network: bool = False


class Controller(Object, frozen=True):
    """A pod of an ingress controller."""

    spec: _ControllerSpec = _ControllerSpec()

    @property
    def maps(self) -> tuple[str, ...]:
        """The ConfigMaps, by path, that say where its further ports lead."""
        words = " ".join(word for one in self.spec.containers for word in (*(one.command or ()), *(one.args or ())))
        found = (match[1].replace("$(POD_NAMESPACE)", self.namespace) for match in _MAP.finditer(words))
        return tuple(path for path in found if path.count("/") == 1)

    def runs(self, *programs: str) -> bool:
        """Whether it is one of these programs, by the name of its image."""
        names = (one.image.partition("@")[0].rpartition("/")[2] for one in self.spec.containers)
        return any(name.startswith(programs) for name in names)

    @property
    def routes_for_istio(self) -> bool:
        """Whether it is a gateway of Istio: a proxy that belongs to no application."""
        return any("router" in (one.args or ()) for one in self.spec.containers if one.name == "istio-proxy")

    def opens(self, listens: int) -> bool:
        """Whether it takes a port of its node for one of its own."""
        ports = (port for one in self.spec.containers for port in one.ports or ())
        return self.spec.host_network or any(port.host_port and port.container_port == listens for port in ports)


def _controllers(pods: Iterable[Controller]) -> list[Controller]:
    return [pod for pod in pods if pod.maps or pod.routes_for_istio or pod.runs(*TRAEFIK, *EMISSARY)]


CONTROLLERS: Kind[Controller] = Kind("pods", Controller, gathered=_controllers)


class TcpMap(Object, frozen=True):
    """A ConfigMap that leads ports of an ingress controller to Services: `"5432": shop/db:5432`."""

    data: dict[str, str] | None = None


TCP_MAPS: Kind[TcpMap] = Kind("configmaps", TcpMap)


@dataclass(frozen=True, slots=True)
class Mapped:
    """A port of an ingress controller that leads to a port of a Service."""

    listens: int
    service: str
    port: int | str


def mapped(table: TcpMap) -> Iterator[Mapped]:
    """The entries of a map; what is no entry leads nowhere."""
    for listens, target in (table.data or {}).items():
        service, _, port = target.strip().partition(":")
        port = port.partition(":")[0]
        if listens.isdecimal() and "/" in service and port:
            yield Mapped(int(listens), service, int(port) if port.isdecimal() else port)


def ports_for(
    controller: Controller, services: Sequence[Service], listens: int
) -> Iterator[tuple[Service, ServicePortSpec]]:
    """The Services that lead to a port of a controller, with their ports. The chart of ingress-nginx names these `5432-tcp`."""
    for service in services_of(controller, services):
        for port in service.spec.ports or ():
            if listens in (port.target_port, port.port) or str(port.target_port).startswith(f"{listens}-"):
                yield service, port


def services_of(controller: Controller, services: Iterable[Service]) -> Iterator[Service]:
    """The Services that select a controller."""
    labels = controller.metadata.labels.items()
    for one in services:
        if one.namespace == controller.namespace and one.spec.selector and one.spec.selector.items() <= labels:
            yield one


def addresses_of(controllers: Iterable[Controller], services: Sequence[Service]) -> tuple[str, ...]:
    """The addresses and names of the load balancers that lead to controllers."""
    found = (service for controller in controllers for service in services_of(controller, services))
    balanced = (one.ip or one.hostname for service in found for one in service.status.load_balancer.ingress or ())
    return tuple(dict.fromkeys(balanced))


def limited_addresses(services: Iterable[Service]) -> frozenset[str]:
    """The addresses and names of load balancers that take connections from some networks alone."""
    limited = (one for one in services if not unlimited(one) and not own_security_groups(one))
    return frozenset(at.ip or at.hostname for one in limited for at in one.status.load_balancer.ingress or ())
