"""Everything that leads from outside of a cluster to its Services. What could not be read is said, and does not hide the rest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from collectors.systems.entrances.model.controllers import (
    CONTROLLERS,
    EMISSARY,
    TCP_MAPS,
    TRAEFIK,
    Controller,
    TcpMap,
    addresses_of,
    limited_addresses,
)
from collectors.systems.entrances.model.entrances import Entrance, by_ingress, by_route, without
from collectors.systems.entrances.model.istio import (
    ISTIO_GATEWAYS,
    VIRTUAL_SERVICES,
    by_virtual_service,
    gateway_pods,
)
from collectors.systems.entrances.model.others import EMISSARY_ROUTES, OWN_ROUTES, by_emissary
from collectors.systems.entrances.model.traefik import (
    MIDDLEWARES,
    TRAEFIK_ROUTES,
    TRAEFIK_SERVICES,
    Middleware,
    TraefikObjects,
    by_traefik,
)
from collectors.systems.kubernetes.client.cluster import Kubernetes, NotServed, OtherVersions
from collectors.systems.kubernetes.model.kind import Kind
from collectors.systems.kubernetes.model.kinds import GATEWAYS, HTTP_ROUTES, INGRESSES, OTHER_ROUTES, SERVICES
from collectors.systems.kubernetes.model.objects import Route, Service
from exporter.verdict import ProbeError

__all__ = ["READ_KINDS", "Entered", "fetch_entrances"]

T = TypeVar("T")

READ_KINDS: tuple[Kind[Any], ...] = (
    INGRESSES,
    GATEWAYS,
    HTTP_ROUTES,
    *(versions[0] for versions in OTHER_ROUTES),
    *(versions[0] for versions in TRAEFIK_ROUTES.values()),
    TRAEFIK_SERVICES[0],
    *(versions[0] for versions in MIDDLEWARES),
    VIRTUAL_SERVICES[0],
    ISTIO_GATEWAYS[0],
    *(versions[0] for versions, _ in OWN_ROUTES.values()),
    *(versions[0] for versions in EMISSARY_ROUTES.values()),
)
"""The kinds that are listed where a cluster has them."""


@dataclass(slots=True)
class Entered:
    """What leads to Services, the controllers that do so by maps of ports, and why something could not be read."""

    services: Sequence[Service]
    controllers: Sequence[Controller]
    entrances: list[Entrance] = field(default_factory=list)
    maps: dict[str, TcpMap] = field(default_factory=dict)
    unread: list[ProbeError] = field(default_factory=list)


async def fetch_entrances(client: Kubernetes) -> Entered:
    """All of them in the namespaces that the client reads. Raises ProbeError where Services and pods cannot be listed."""
    found = Entered((await client.list(SERVICES)).items, (await client.list(CONTROLLERS)).items)
    reading = _Reading(client, found)
    await reading.ingresses_and_routes()
    await reading.traefik()
    await reading.istio()
    await reading.others()
    await reading.maps()
    limited = limited_addresses(found.services)
    found.entrances = [open_part for one in found.entrances if (open_part := without(one, limited))]
    return found


@dataclass(frozen=True, slots=True)
class _Reading:
    client: Kubernetes
    found: Entered

    async def every(self, *versions: Kind[T]) -> Sequence[T]:
        """The objects of a kind in the first of its versions that the cluster serves; none where it serves none."""
        *others, last = versions
        try:
            for kind in others:
                try:
                    return (await self.client.list(kind)).items
                except OtherVersions:
                    continue
                except NotServed:
                    if kind.group == last.group:
                        return ()
            return (await self.client.list(last)).items
        except NotServed:
            return ()
        except ProbeError as why:
            self.found.unread.append(why)
            return ()

    def at(self, *programs: str) -> tuple[str, ...]:
        """The addresses at which a controller is reached."""
        return addresses_of((one for one in self.found.controllers if one.runs(*programs)), self.found.services)

    async def ingresses_and_routes(self) -> None:
        gateways = {one.path: one for one in await self.every(GATEWAYS)}
        for ingress in await self.every(INGRESSES):
            self.found.entrances += by_ingress(ingress)
        routes: list[Route] = [*await self.every(HTTP_ROUTES)]
        for versions in OTHER_ROUTES:
            routes += await self.every(*versions)
        for route in routes:
            self.found.entrances += by_route(route, gateways)

    async def traefik(self) -> None:
        routes = {name: await self.every(*versions) for name, versions in TRAEFIK_ROUTES.items()}
        if not any(routes.values()):
            return
        middlewares: Mapping[str, list[Middleware]] = defaultdict(list)
        for versions in MIDDLEWARES:
            for one in await self.every(*versions):
                middlewares[one.path].append(one)
        services = {one.path: one for one in await self.every(*TRAEFIK_SERVICES)}
        known = TraefikObjects(services, middlewares, self.at(*TRAEFIK))
        for name, several in routes.items():
            for route in several:
                self.found.entrances += by_traefik(name, route, known)

    async def istio(self) -> None:
        known = {one.path: one for one in await self.every(*VIRTUAL_SERVICES)}
        if not known:
            return
        gateways = {
            one.path: addresses_of(gateway_pods(one, self.found.controllers), self.found.services)
            for one in await self.every(*ISTIO_GATEWAYS)
        }
        for one in known.values():
            self.found.entrances += by_virtual_service(one, known, gateways)

    async def others(self) -> None:
        for name, (versions, read) in OWN_ROUTES.items():
            for route in await self.every(*versions):
                self.found.entrances += read(name, route)
        for name, kinds in EMISSARY_ROUTES.items():
            for mapping in await self.every(*kinds):
                self.found.entrances += by_emissary(name, mapping, self.at(*EMISSARY))

    async def maps(self) -> None:
        for path in dict.fromkeys(path for controller in self.found.controllers for path in controller.maps):
            place, _, name = path.partition("/")
            try:
                if read := await self.client.read(TCP_MAPS, name, place):
                    self.found.maps[path] = read[0]
            except ProbeError as why:
                self.found.unread.append(why)
