"""Objects that lead requests and connections from outside to Services, and by which addresses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from collectors.systems.aws_perimeter.model import wide_open
from collectors.systems.kubernetes.model.base import Struct
from collectors.systems.kubernetes.model.kind import Kind
from collectors.systems.kubernetes.model.objects import Gateway, Ingress, Route, RouteParent, Service, ServicePortSpec
from collectors.systems.kubernetes.model.whole_pods import Object

__all__ = [
    "CONTROLLERS",
    "TCP_MAPS",
    "TCP_MAP_NAMES",
    "TRAEFIK_ROUTES",
    "Controller",
    "Entrance",
    "Mapped",
    "TcpMap",
    "TraefikRoute",
    "addresses_of",
    "by_ingress",
    "by_route",
    "by_traefik",
    "mapped",
    "ports_for",
]

TCP_MAP_NAMES = ("ingress-nginx-tcp", "tcp-services")
"""The ConfigMaps of ingress-nginx for connections without HTTP, as its chart and its documentation call them."""
_MAP = re.compile(r"--(?:tcp-services-configmap|udp-services-configmap|configmap-tcp-services)[= ](\S+)")
_SOURCES = (
    "nginx.ingress.kubernetes.io/whitelist-source-range",
    "nginx.ingress.kubernetes.io/allowlist-source-range",
    "haproxy.org/allow-list",
    "haproxy-ingress.github.io/allowlist-source-range",
    "alb.ingress.kubernetes.io/inbound-cidrs",
)
_LOGINS = (
    "nginx.ingress.kubernetes.io/auth-url",
    "nginx.ingress.kubernetes.io/auth-type",
    "nginx.ingress.kubernetes.io/auth-tls-secret",
    "haproxy.org/auth-type",
    "alb.ingress.kubernetes.io/auth-type",
)
_INTERNAL_CLASSES = ("gce-internal", "alb")
"""Of an Ingress with one of these classes, an address is internal unless an annotation says otherwise."""
_SCHEME = "alb.ingress.kubernetes.io/scheme"


@dataclass(frozen=True, slots=True)
class Entrance:
    """An object that leads from outside to a port of a Service, by number or name; None is any port.

    `addresses` are those, or the names, by which it is reached; none where they are not known. `login` is whether it asks who
    comes, `internal` whether it asks for an address that is of no use on the internet.
    """

    what: str
    service: str
    port: int | str | None
    addresses: tuple[str, ...] = ()
    login: bool = False
    internal: bool = False


def by_ingress(ingress: Ingress) -> Iterator[Entrance]:
    """Where an Ingress leads that takes requests from everywhere."""
    about = ingress.metadata.annotations
    if any(not _unlimited(about[name]) for name in _SOURCES if name in about):
        return
    addresses = tuple(one.ip or one.hostname for one in ingress.status.load_balancer.ingress or ())
    scheme = about.get(_SCHEME, "internal") == "internal"
    for backend in ingress.backends:
        if backend.service is not None:
            yield Entrance(
                f"Ingress {ingress.path}",
                f"{ingress.namespace}/{backend.service.name}",
                backend.service.port.number or backend.service.port.name or None,
                addresses,
                login=any(name in about for name in _LOGINS),
                internal=ingress.class_name in _INTERNAL_CLASSES and scheme,
            )


def _unlimited(ranges: str) -> bool:
    try:
        return bool(wide_open([one.strip() for one in re.split(r"[,\s]+", ranges) if one.strip()]))
    except ValueError:
        return True  # a range that nobody understands limits nobody


def by_route(route: Route, gateways: Mapping[str, Gateway]) -> Iterator[Entrance]:
    """Where a route of the Gateway API leads, unless its Gateways refused it. `gateways` are those of the cluster, by path."""
    parents = [one for one in route.status.parents or () if not _refused(one)]
    if route.status.parents and not parents:
        return
    references = [one.parent_ref for one in parents] or route.spec.parent_refs or ()
    hung = (
        gateways.get(f"{one.namespace or route.namespace}/{one.name}") for one in references if one.kind == "Gateway"
    )
    addresses = tuple(address.value for gateway in hung if gateway for address in gateway.status.addresses or ())
    for rule in route.spec.rules or ():
        for backend in rule.backend_refs or ():
            if backend.kind == "Service" and backend.weight:
                path = f"{backend.namespace or route.namespace}/{backend.name}"
                yield Entrance(f"{route.kind} {route.path}", path, backend.port, addresses)


def _refused(parent: RouteParent) -> bool:
    return any(one.type in ("Accepted", "ResolvedRefs") and one.status == "False" for one in parent.conditions or ())


# --- Traefik


class _TraefikService(Struct, frozen=True):
    name: str = ""
    namespace: str = ""
    port: int | str | None = None
    kind: str = "Service"


class _TraefikRule(Struct, frozen=True):
    services: tuple[_TraefikService, ...] | None = ()


class _TraefikSpec(Struct, frozen=True):
    routes: tuple[_TraefikRule, ...] | None = ()


class TraefikRoute(Object, frozen=True):
    """An IngressRoute, IngressRouteTCP or IngressRouteUDP."""

    spec: _TraefikSpec = _TraefikSpec()


TRAEFIK_ROUTES: Mapping[str, Kind[TraefikRoute]] = {
    name: Kind(f"{name.lower()}s", TraefikRoute, "traefik.io", "v1alpha1")
    for name in ("IngressRoute", "IngressRouteTCP", "IngressRouteUDP")
}


def by_traefik(name: str, route: TraefikRoute, addresses: tuple[str, ...]) -> Iterator[Entrance]:
    """Where a route of Traefik leads, which is reached at these addresses."""
    for rule in route.spec.routes or ():
        for one in rule.services or ():
            if one.kind == "Service":
                yield Entrance(
                    f"{name} {route.path}", f"{one.namespace or route.namespace}/{one.name}", one.port, addresses
                )


# --- Ingress controllers


class _ControllerContainer(Struct, frozen=True):
    image: str = ""
    command: tuple[str, ...] | None = ()
    args: tuple[str, ...] | None = ()


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

    @property
    def is_traefik(self) -> bool:
        """Whether it is Traefik, by the name of its image."""
        return any(one.image.partition("@")[0].rpartition("/")[2].startswith("traefik") for one in self.spec.containers)


def _controllers(pods: Iterable[Controller]) -> list[Controller]:
    return [pod for pod in pods if pod.maps or pod.is_traefik]


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
