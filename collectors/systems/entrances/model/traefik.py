"""Traefik's own routes, the middlewares that they go through, and the services that they weigh."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import field

from collectors.systems.entrances.model.entrances import Entrance, unlimited
from collectors.systems.kubernetes.model.base import Struct
from collectors.systems.kubernetes.model.kind import Kind
from collectors.systems.kubernetes.model.whole_pods import Object

__all__ = [
    "MIDDLEWARES",
    "TRAEFIK_ROUTES",
    "TRAEFIK_SERVICES",
    "Middleware",
    "TraefikObjects",
    "TraefikRoute",
    "by_traefik",
]


class _Reference(Struct, frozen=True):
    name: str = ""
    namespace: str = ""


class _Backend(Struct, frozen=True):
    name: str = ""
    namespace: str = ""
    port: int | str | None = None
    kind: str = "Service"
    weight: int | None = None


class _Rule(Struct, frozen=True):
    services: tuple[_Backend, ...] | None = ()
    middlewares: tuple[_Reference, ...] | None = ()


class _Spec(Struct, frozen=True):
    routes: tuple[_Rule, ...] | None = ()


class TraefikRoute(Object, frozen=True):
    """An IngressRoute, IngressRouteTCP or IngressRouteUDP."""

    spec: _Spec = _Spec()


class _Weighted(Struct, frozen=True):
    services: tuple[_Backend, ...] | None = ()


class _Mirroring(_Backend, frozen=True):
    mirrors: tuple[_Backend, ...] | None = ()


class _ServiceSpec(Struct, frozen=True):
    weighted: _Weighted | None = None
    mirroring: _Mirroring | None = None


class TraefikService(Object, frozen=True):
    """A TraefikService, which divides or copies requests among Services."""

    spec: _ServiceSpec = _ServiceSpec()

    @property
    def backends(self) -> Iterator[_Backend]:
        """Where requests go, and where copies of them go."""
        if self.spec.weighted:
            yield from self.spec.weighted.services or ()
        if self.spec.mirroring:
            yield self.spec.mirroring
            yield from self.spec.mirroring.mirrors or ()


class _Allowed(Struct, frozen=True):
    source_range: tuple[str, ...] | None = ()


class _MiddlewareSpec(Struct, frozen=True):
    basic_auth: dict[str, Any] | None = None
    digest_auth: dict[str, Any] | None = None
    forward_auth: dict[str, Any] | None = None
    allowed: _Allowed | None = field(default=None, name="ipAllowList")
    listed: _Allowed | None = field(default=None, name="ipWhiteList")


class Middleware(Object, frozen=True):
    """A Middleware or MiddlewareTCP."""

    spec: _MiddlewareSpec = _MiddlewareSpec()

    @property
    def asks(self) -> bool:
        """Whether it asks who comes."""
        return any(one is not None for one in (self.spec.basic_auth, self.spec.digest_auth, self.spec.forward_auth))

    @property
    def limits(self) -> bool:
        """Whether it lets only some addresses through."""
        lists = [one for one in (self.spec.allowed, self.spec.listed) if one is not None]
        return any(not unlimited(",".join(one.source_range or ())) for one in lists)


_GROUPS = ("traefik.io", "traefik.containo.us")
"""The present group, and the one that version 2 has as well."""


def _kinds(plural: str, item: type[Any]) -> tuple[Kind[Any], ...]:
    return tuple(Kind(plural, item, group, "v1alpha1") for group in _GROUPS)


TRAEFIK_ROUTES: Mapping[str, tuple[Kind[TraefikRoute], ...]] = {
    name: _kinds(f"{name.lower()}s", TraefikRoute) for name in ("IngressRoute", "IngressRouteTCP", "IngressRouteUDP")
}
TRAEFIK_SERVICES: tuple[Kind[TraefikService], ...] = _kinds("traefikservices", TraefikService)
MIDDLEWARES: tuple[tuple[Kind[Middleware], ...], ...] = (
    _kinds("middlewares", Middleware),
    _kinds("middlewaretcps", Middleware),
)


@dataclass(frozen=True, slots=True)
class TraefikObjects:
    """What routes refer to, by path, and the addresses at which Traefik is reached."""

    services: Mapping[str, TraefikService]
    middlewares: Mapping[str, Sequence[Middleware]]
    addresses: tuple[str, ...]


def by_traefik(name: str, route: TraefikRoute, known: TraefikObjects) -> Iterator[Entrance]:
    """Where a route of Traefik leads that takes connections from everywhere."""
    for rule in route.spec.routes or ():
        passed = [
            one
            for reference in rule.middlewares or ()
            for one in known.middlewares.get(f"{reference.namespace or route.namespace}/{reference.name}", ())
        ]
        if any(one.limits for one in passed):
            continue
        for place, one in _ends(rule.services or (), route.namespace, known.services):
            yield Entrance(
                f"{name} {route.path}",
                f"{one.namespace or place}/{one.name}",
                one.port,
                known.addresses,
                login=any(middleware.asks for middleware in passed),
            )


def _ends(
    backends: Iterable[_Backend], place: str, services: Mapping[str, TraefikService], seen: frozenset[str] = frozenset()
) -> Iterator[tuple[str, _Backend]]:
    """The Services behind, each with the namespace that its name is read in."""
    for one in backends:
        path = f"{one.namespace or place}/{one.name}"
        if one.kind == "Service" and one.weight != 0:
            yield place, one
        elif one.kind == "TraefikService" and path in services and path not in seen:
            yield from _ends(services[path].backends, services[path].namespace, services, seen | {path})
