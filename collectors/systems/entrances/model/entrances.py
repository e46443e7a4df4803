"""Ingresses and routes of the Gateway API, and what all that leads to Services has in common."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from collectors.systems.aws_perimeter.model import wide_open
from collectors.systems.kubernetes.model.objects import Gateway, Ingress, Route, RouteParent, Service

__all__ = ["Entrance", "by_ingress", "by_route", "followed", "service_path", "unlimited", "without"]

_SOURCES = (
    "nginx.ingress.kubernetes.io/whitelist-source-range",
    "nginx.ingress.kubernetes.io/allowlist-source-range",
    "haproxy.org/allow-list",
    "haproxy.org/whitelist",
    "haproxy-ingress.github.io/whitelist-source-range",
    "haproxy-ingress.github.io/allowlist-source-range",
    "alb.ingress.kubernetes.io/inbound-cidrs",
)
_LOGINS = (
    "nginx.ingress.kubernetes.io/auth-url",
    "nginx.ingress.kubernetes.io/auth-type",
    "nginx.ingress.kubernetes.io/auth-tls-secret",
    "haproxy.org/auth-type",
    "alb.ingress.kubernetes.io/auth-type",
    "haproxy-ingress.github.io/auth-secret",
    "haproxy-ingress.github.io/auth-url",
    "nginx.org/basic-auth-secret",
)
_CONTROLLERS = ("nginx", "haproxy", "alb", "traefik", "kong")
"""Controllers whose names are in those of their IngressClasses, and which read no annotations of the others."""
_NO_LOGIN = {
    "nginx.ingress.kubernetes.io/auth-tls-secret": "nginx.ingress.kubernetes.io/auth-tls-verify-client",
    "alb.ingress.kubernetes.io/auth-type": "alb.ingress.kubernetes.io/auth-type",
}
"""Annotations about logins, and which one switches them off."""
_EITHER = "nginx.ingress.kubernetes.io/satisfy"
_OTHER_BACKEND = "nginx.ingress.kubernetes.io/default-backend"
_MIRROR = "nginx.ingress.kubernetes.io/mirror-target"
_URL = re.compile(r"\w+://(?P<host>[\w.-]+)(?::(?P<port>\d+))?")
_INTERNAL_CLASSES = ("gce-internal", "alb")
"""Of an Ingress with one of these classes, an address is internal unless an annotation says otherwise."""
_PRIVATE = "appgw.ingress.kubernetes.io/use-private-ip"
_ACTIONS = "alb.ingress.kubernetes.io/actions."
_TARGET = re.compile(
    r"\"serviceName\"\s*:\s*\"(?P<name>[\w.-]+)\"\s*(?:,\s*\"servicePort\"\s*:\s*\"?(?P<port>[\w-]+))?"
)
_PASSED = re.compile(
    r"\b(?:proxy|grpc|uwsgi|fastcgi)_pass\s+(?:\w+://)?(?P<name>[a-z0-9-]+)(?:\.(?P<place>[a-z0-9-]+)(?:\.svc[\w.-]*)?)?(?::(?P<port>\d+))?"
)
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
    about = _heard(ingress)
    limits = any(not unlimited(about[name]) for name in _SOURCES if name in about)
    login = any(_asks(about, name) for name in _LOGINS)
    if limits and not (login and about.get(_EITHER) == "any"):
        return
    addresses = tuple(one.ip or one.hostname for one in ingress.status.load_balancer.ingress or ())
    scheme = about.get(_SCHEME, "internal") == "internal"
    internal = (ingress.class_name in _INTERNAL_CLASSES and scheme) or about.get(_PRIVATE, "") == "true"
    for service, port in _backends(ingress):
        yield Entrance(
            f"Ingress {ingress.path}",
            service,
            port,
            addresses,
            login=login and (limits or about.get(_EITHER) != "any" or not any(name in about for name in _SOURCES)),
            internal=internal,
        )


def _heard(ingress: Ingress) -> dict[str, str]:
    """The annotations that its controller reads: not those of another one, which its class names."""
    own = [name for name in _CONTROLLERS if name in (ingress.class_name or "")]
    about = ingress.metadata.annotations.items()
    return {
        name: text
        for name, text in about
        if not own or not any(other in name.partition("/")[0] for other in _CONTROLLERS if other not in own)
    }


def _asks(about: Mapping[str, str], name: str) -> bool:
    """Whether an annotation makes a controller ask who comes."""
    switch = about.get(_NO_LOGIN.get(name, ""), "")
    return bool(about.get(name, "").strip()) and not switch.startswith(("off", "none", "optional"))


def _backends(ingress: Ingress) -> Iterator[tuple[str, int | str | None]]:
    """The Services, by path, and ports that an Ingress leads to: by its paths, or by annotations."""
    place, about = ingress.namespace, ingress.metadata.annotations
    for backend in ingress.backends:
        if backend.service is not None:
            port = backend.service.port
            yield f"{place}/{backend.service.name}", port.number or port.name or None
    for name, text in about.items():
        if name.startswith(_ACTIONS):
            yield from ((f"{place}/{match['name']}", _port(match["port"] or "")) for match in _TARGET.finditer(text))
        elif name == _OTHER_BACKEND:
            yield f"{place}/{text.strip()}", None
        elif name == _MIRROR and (match := _URL.match(text.strip())):
            yield service_path(match["host"], place), _port(match["port"] or "")
        elif name.endswith("-snippet"):
            for match in _PASSED.finditer(text):
                yield f"{match['place'] or place}/{match['name']}", _port(match["port"] or "")


def _port(text: str) -> int | str | None:
    return int(text) if text.isdecimal() else text or None


def unlimited(ranges: str) -> bool:
    """Whether a list of networks, as annotations have it, is every address."""
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
    if references and all(one.kind == "Service" for one in references):
        return  # a route within the mesh
    hung = (
        gateways.get(f"{one.namespace or route.namespace}/{one.name}") for one in references if one.kind == "Gateway"
    )
    addresses = tuple(address.value for gateway in hung if gateway for address in gateway.status.addresses or ())
    partly = any(one.type == "ResolvedRefs" and one.status == "False" for it in parents for one in it.conditions or ())
    for rule in route.spec.rules or ():
        copies = (one.request_mirror.backend_ref for one in rule.filters or () if one.request_mirror)
        for backend in (*(rule.backend_refs or ()), *copies):
            if partly and backend.namespace not in (None, "", route.namespace):
                continue  # no ReferenceGrant, as far as anyone says
            if backend.kind == "Service" and backend.weight:
                path = f"{backend.namespace or route.namespace}/{backend.name}"
                yield Entrance(f"{route.kind} {route.path}", path, backend.port, addresses)


def _refused(parent: RouteParent) -> bool:
    return any(one.type == "Accepted" and one.status == "False" for one in parent.conditions or ())


def service_path(host: str, place: str) -> str:
    """`namespace/name` of the Service that a host name is of, as pods in a namespace read it; empty for another host."""
    name, *rest = host.rstrip(".").split(".")
    if not rest:
        return f"{place}/{name}"
    return f"{rest[0]}/{name}" if len(rest) == 1 or rest[1] == "svc" else ""


def followed(services: Iterable[Service]) -> Mapping[str, str]:
    """Services of type ExternalName that are other names of Services, with what these are in the end."""
    named = {
        f"{one.namespace}/{one.metadata.name}": service_path(one.spec.external_name, one.namespace)
        for one in services
        if one.spec.type == "ExternalName"
    }
    found = {}
    for path in named:
        end, seen = path, set[str]()
        while end in named and end not in seen:
            seen.add(end)
            end = named[end]
        found[path] = end
    return found


def without(entrance: Entrance, limited: AbstractSet[str]) -> Entrance | None:
    """The same at those of its addresses that are not `limited`; None where none is left."""
    left = tuple(one for one in entrance.addresses if one not in limited)
    return replace(entrance, addresses=left) if left or not entrance.addresses else None
