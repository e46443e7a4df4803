"""The kinds by which Kong, NGINX Inc's controller, Contour, OpenShift and Emissary lead to Services."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

from collectors.systems.entrances.model.entrances import Entrance, service_path
from collectors.systems.kubernetes.model.base import Struct
from collectors.systems.kubernetes.model.kind import Kind
from collectors.systems.kubernetes.model.objects import LoadBalancerAddress
from collectors.systems.kubernetes.model.whole_pods import Object

__all__ = ["EMISSARY_ROUTES", "OWN_ROUTES", "EmissaryRoute", "by_emissary"]

T = TypeVar("T")


class _Balancer(Struct, frozen=True):
    ingress: tuple[LoadBalancerAddress, ...] | None = ()


class _Balanced(Struct, frozen=True):
    load_balancer: _Balancer = _Balancer()
    external_endpoints: tuple[LoadBalancerAddress, ...] | None = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses and names at which its controller is reached."""
        several = (*(self.load_balancer.ingress or ()), *(self.external_endpoints or ()))
        return tuple(one.ip or one.hostname for one in several)


class _KongBackend(Struct, frozen=True):
    service_name: str = ""
    service_port: int | None = None


class _KongRule(Struct, frozen=True):
    backend: _KongBackend = _KongBackend()


class _KongSpec(Struct, frozen=True):
    rules: tuple[_KongRule, ...] | None = ()


class KongRoute(Object, frozen=True):
    """A TCPIngress or UDPIngress of Kong."""

    spec: _KongSpec = _KongSpec()
    status: _Balanced = _Balanced()


def _by_kong(name: str, route: KongRoute) -> Iterator[Entrance]:
    for rule in route.spec.rules or ():
        service = f"{route.namespace}/{rule.backend.service_name}"
        yield Entrance(f"{name} {route.path}", service, rule.backend.service_port, route.status.addresses)


class _Upstream(Struct, frozen=True):
    service: str = ""
    port: int | None = None


class _NginxSpec(Struct, frozen=True):
    upstreams: tuple[_Upstream, ...] | None = ()


class NginxRoute(Object, frozen=True):
    """A VirtualServer, VirtualServerRoute or TransportServer of NGINX Inc's controller."""

    spec: _NginxSpec = _NginxSpec()
    status: _Balanced = _Balanced()


def _by_nginx(name: str, route: NginxRoute) -> Iterator[Entrance]:
    for one in route.spec.upstreams or ():
        service = one.service if "/" in one.service else f"{route.namespace}/{one.service}"
        yield Entrance(f"{name} {route.path}", service, one.port, route.status.addresses)


class _ContourService(Struct, frozen=True):
    name: str = ""
    port: int | None = None


class _ContourRoute(Struct, frozen=True):
    services: tuple[_ContourService, ...] | None = ()


class _ContourSpec(Struct, frozen=True):
    routes: tuple[_ContourRoute, ...] | None = ()
    tcpproxy: _ContourRoute | None = None


class _ContourStatus(_Balanced, frozen=True):
    current_status: str = ""


class ContourRoute(Object, frozen=True):
    """An HTTPProxy of Contour."""

    spec: _ContourSpec = _ContourSpec()
    status: _ContourStatus = _ContourStatus()


def _by_contour(name: str, route: ContourRoute) -> Iterator[Entrance]:
    if route.status.current_status in ("invalid", "orphaned"):
        return
    for rule in (*(route.spec.routes or ()), *((route.spec.tcpproxy,) if route.spec.tcpproxy else ())):
        for one in rule.services or ():
            yield Entrance(f"{name} {route.path}", f"{route.namespace}/{one.name}", one.port, route.status.addresses)


class _OpenShiftBackend(Struct, frozen=True):
    kind: str = "Service"
    name: str = ""
    weight: int | None = None


class _OpenShiftSpec(Struct, frozen=True):
    to: _OpenShiftBackend = _OpenShiftBackend()
    alternate_backends: tuple[_OpenShiftBackend, ...] | None = ()


class _Admitted(Struct, frozen=True):
    router_canonical_hostname: str = ""


class _OpenShiftStatus(Struct, frozen=True):
    ingress: tuple[_Admitted, ...] | None = ()


class OpenShiftRoute(Object, frozen=True):
    """A Route of OpenShift; its port is that of the pods, of which there is one for most Services."""

    spec: _OpenShiftSpec = _OpenShiftSpec()
    status: _OpenShiftStatus = _OpenShiftStatus()


def _by_openshift(name: str, route: OpenShiftRoute) -> Iterator[Entrance]:
    several = (one.router_canonical_hostname for one in route.status.ingress or ())
    addresses = tuple(one for one in several if one)
    for backend in (route.spec.to, *(route.spec.alternate_backends or ())):
        if backend.weight != 0:
            yield Entrance(f"{name} {route.path}", f"{route.namespace}/{backend.name}", None, addresses)


class _EmissarySpec(Struct, frozen=True):
    service: str = ""


class EmissaryRoute(Object, frozen=True):
    """A Mapping or TCPMapping of Emissary."""

    spec: _EmissarySpec = _EmissarySpec()


def by_emissary(name: str, route: EmissaryRoute, addresses: tuple[str, ...]) -> Iterator[Entrance]:
    """Where a route of Emissary leads, which is reached at these addresses."""
    text = route.spec.service
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return  # what is no address leads nowhere
    yield Entrance(f"{name} {route.path}", service_path(host, route.namespace), port, addresses)


Reader = Callable[[str, Any], Iterator[Entrance]]

OWN_ROUTES: Mapping[str, tuple[tuple[Kind[Any], ...], Reader]] = {
    "TCPIngress": ((Kind("tcpingresses", KongRoute, "configuration.konghq.com", "v1beta1"),), _by_kong),
    "UDPIngress": ((Kind("udpingresses", KongRoute, "configuration.konghq.com", "v1beta1"),), _by_kong),
    "VirtualServer": ((Kind("virtualservers", NginxRoute, "k8s.nginx.org"),), _by_nginx),
    "VirtualServerRoute": ((Kind("virtualserverroutes", NginxRoute, "k8s.nginx.org"),), _by_nginx),
    "TransportServer": (
        tuple(Kind("transportservers", NginxRoute, "k8s.nginx.org", version) for version in ("v1", "v1alpha1")),
        _by_nginx,
    ),
    "HTTPProxy": ((Kind("httpproxies", ContourRoute, "projectcontour.io"),), _by_contour),
    "Route": ((Kind("routes", OpenShiftRoute, "route.openshift.io"),), _by_openshift),
}
"""Kinds whose objects say themselves where they are reached, each in the versions that are known, and how they are read."""
EMISSARY_ROUTES: Mapping[str, tuple[Kind[EmissaryRoute], ...]] = {
    name: tuple(Kind(f"{name.lower()}s", EmissaryRoute, "getambassador.io", version) for version in ("v3alpha1", "v2"))
    for name in ("Mapping", "TCPMapping")
}
