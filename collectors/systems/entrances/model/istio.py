"""Istio's VirtualServices, and the Gateways that they hang on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from collectors.systems.entrances.model.controllers import Controller
from collectors.systems.entrances.model.entrances import Entrance, service_path
from collectors.systems.kubernetes.model.base import Struct
from collectors.systems.kubernetes.model.kind import Kind
from collectors.systems.kubernetes.model.whole_pods import Object

__all__ = ["ISTIO_GATEWAYS", "VIRTUAL_SERVICES", "IstioGateway", "VirtualService", "by_virtual_service", "gateway_pods"]

_VERSIONS = ("v1", "v1beta1", "v1alpha3")


class _Port(Struct, frozen=True):
    number: int | None = None


class _Destination(Struct, frozen=True):
    host: str = ""
    port: _Port | None = None


class _Weighted(Struct, frozen=True):
    destination: _Destination = _Destination()
    weight: int | None = None


class _Delegate(Struct, frozen=True):
    name: str = ""
    namespace: str = ""


class _Route(Struct, frozen=True):
    route: tuple[_Weighted, ...] | None = ()
    delegate: _Delegate | None = None
    mirror: _Destination | None = None
    mirrors: tuple[_Weighted, ...] | None = ()

    @property
    def copied(self) -> Iterator[_Destination]:
        """Where copies of requests go."""
        if self.mirror:
            yield self.mirror
        yield from (one.destination for one in self.mirrors or ())


class _VirtualSpec(Struct, frozen=True):
    gateways: tuple[str, ...] | None = ()
    http: tuple[_Route, ...] | None = ()
    tls: tuple[_Route, ...] | None = ()
    tcp: tuple[_Route, ...] | None = ()


class VirtualService(Object, frozen=True):
    """A VirtualService. Without `gateways` it is about calls within the mesh alone."""

    spec: _VirtualSpec = _VirtualSpec()

    @property
    def gateways(self) -> list[str]:
        """The Gateways that it hangs on, by path."""
        named = (one for one in self.spec.gateways or () if one != "mesh")
        return [one if "/" in one else f"{self.namespace}/{one}" for one in named]

    @property
    def routes(self) -> Iterator[_Route]:
        """All of its routes."""
        yield from (*(self.spec.http or ()), *(self.spec.tls or ()), *(self.spec.tcp or ()))


class _GatewaySpec(Struct, frozen=True):
    selector: dict[str, str] | None = None


class IstioGateway(Object, frozen=True):
    """A Gateway of networking.istio.io."""

    spec: _GatewaySpec = _GatewaySpec()


VIRTUAL_SERVICES: tuple[Kind[VirtualService], ...] = tuple(
    Kind("virtualservices", VirtualService, "networking.istio.io", version) for version in _VERSIONS
)
ISTIO_GATEWAYS: tuple[Kind[IstioGateway], ...] = tuple(
    Kind("gateways", IstioGateway, "networking.istio.io", version) for version in _VERSIONS
)


def gateway_pods(gateway: IstioGateway, pods: Sequence[Controller]) -> list[Controller]:
    """The pods of gateways that a Gateway selects, in any namespace."""
    wanted = (gateway.spec.selector or {}).items()
    return [pod for pod in pods if pod.routes_for_istio and wanted <= pod.metadata.labels.items()]


def by_virtual_service(
    service: VirtualService, known: Mapping[str, VirtualService], gateways: Mapping[str, tuple[str, ...]]
) -> Iterator[Entrance]:
    """Where a VirtualService leads, by those of its `gateways` that exist, which have the addresses at which each is reached."""
    hung = [gateways[path] for path in service.gateways if path in gateways]
    if not hung:
        return
    addresses = tuple(address for several in hung for address in several)
    what = f"VirtualService {service.path}"
    for owner, route in _with_delegates(service, known):
        several = route.route or ()
        served = (one.destination for one in several if one.weight != 0 or len(several) == 1)
        for one in (*served, *route.copied):
            path = service_path(one.host, owner.namespace)
            yield Entrance(what, path, one.port.number if one.port else None, addresses)


def _with_delegates(
    service: VirtualService, known: Mapping[str, VirtualService]
) -> Iterator[tuple[VirtualService, _Route]]:
    for route in service.routes:
        if route.delegate is None:
            yield service, route
        elif other := known.get(f"{route.delegate.namespace or service.namespace}/{route.delegate.name}"):
            yield from ((other, one) for one in other.spec.http or ())
