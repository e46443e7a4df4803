"""Whether what leads traffic into a cluster works: controllers, Ingresses, Gateways, routes, and what is behind them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
from pydantic import Field

from collectors.shared.verdicts import verdict
from collectors.systems.kubernetes.judge.workloads import Reference, Workload, judge_workload
from collectors.systems.kubernetes.model.objects import (
    Condition,
    EndpointSlice,
    Gateway,
    GatewayClass,
    HttpRoute,
    Ingress,
    IngressClass,
    ParentReference,
    RouteParent,
    Service,
    condition,
)
from exporter.options import Duration, Options
from exporter.verdict import Result, failed, ok, unknown, warning
from exporter.words import counted

__all__ = ["IngressOptions", "Routing", "judge_ingress"]

RETIRED = {"k8s.io/ingress-nginx": "which gets no more fixes since March 2026"}
_GATEWAYS = "gateway.networking.k8s.io"
_LISTENER = ("Accepted", "Programmed", "ResolvedRefs")


class IngressOptions(Options):
    """What is wanted of what leads traffic into the cluster."""

    ingress_controllers: tuple[Reference, ...] = Field(
        (),
        description="Workloads of the controllers: `namespace/name` of a Deployment, or `namespace/Kind/name`. Without them the "
        "line is unknown, as nothing else tells that a controller runs.",
    )
    ingress_addresses: bool = Field(
        True, description="Whether every Ingress needs an address; controllers on ports of the host give none."
    )
    ingress_grace: Duration = Field(
        timedelta(minutes=5), description="How long an Ingress may be without an address after it was made."
    )


@dataclass(frozen=True, slots=True)
class Routing:
    """What was seen: classes of the whole cluster, and the routes with all that they may lead to.

    `controllers` are the workloads that the options name, None where one was not found. Gateways and their kin are empty where the
    cluster has no Gateway API.
    """

    controllers: Mapping[str, Workload | None]
    ingress_classes: Sequence[IngressClass] = ()
    ingresses: Sequence[Ingress] = ()
    gateway_classes: Sequence[GatewayClass] = ()
    gateways: Sequence[Gateway] = ()
    http_routes: Sequence[HttpRoute] = ()
    services: Sequence[Service] = ()
    endpoint_slices: Sequence[EndpointSlice] = ()


class _Backends:
    """Which Services there are, and how many of their endpoints are ready."""

    def __init__(self, services: Iterable[Service], slices: Iterable[EndpointSlice]) -> None:
        self._services = {service.path: service for service in services}
        self._ready: dict[str, int] = {}
        for one in slices:
            path = f"{one.namespace}/{one.service}"
            self._ready[path] = self._ready.get(path, 0) + one.ready

    def judge(self, route: str, path: str) -> Iterator[Result]:
        """What is wrong with the Service behind a route."""
        service = self._services.get(path)
        if service is None:
            yield failed(f"{route} leads to Service {path}, which is not there.")
        elif service.spec.type != "ExternalName" and not self._ready.get(path):
            yield failed(f"{route} leads to Service {path}, which has no ready endpoint.")


def judge_ingress(seen: Routing, options: IngressOptions, now: datetime) -> Result:
    """Whether controllers run, every Ingress has one and an address, Gateways and routes are taken, and all lead to something."""
    backends = _Backends(seen.services, seen.endpoint_slices)
    problems = list(_judge_controllers(seen, options))
    for ingress in seen.ingresses:
        problems += _judge_ingress(ingress, seen.ingress_classes, options, now)
        for path in dict.fromkeys(
            f"{ingress.namespace}/{backend.service.name}" for backend in ingress.backends if backend.service
        ):
            problems += backends.judge(f"Ingress {ingress.path}", path)
    classes = {gateway.spec.gateway_class_name for gateway in seen.gateways}
    for gateway_class in seen.gateway_classes:
        if gateway_class.name in classes:
            what = f"GatewayClass {gateway_class.name}"
            problems += _stated(what, gateway_class.status.conditions, gateway_class.metadata.generation, "Accepted")
    for gateway in seen.gateways:
        what = f"Gateway {gateway.path}"
        conditions, generation = gateway.status.conditions, gateway.metadata.generation
        problems += _stated(what, conditions, generation, "Accepted", "Programmed")
        for listener in gateway.status.listeners or ():
            # One of many that is refused leaves the Gateway itself Programmed.
            refused = [
                found for found in listener.conditions or () if found.status == "False" and found.type in _LISTENER
            ]
            problems += [failed(f"Listener {listener.name} of {what} is not {_denied(found)}.") for found in refused]
    gateways = {gateway.path for gateway in seen.gateways}
    for route in seen.http_routes:
        problems += _judge_route(route, gateways, backends)
    good = ok(
        f"{counted(len(seen.ingresses), 'Ingress', 'Ingresses')}, {counted(len(seen.gateways), 'Gateway')} and "
        f"{counted(len(seen.http_routes), 'HTTPRoute')} are served, and lead to ready endpoints.",
        ingresses=len(seen.ingresses),
        gateways=len(seen.gateways),
        http_routes=len(seen.http_routes),
    )
    return verdict(problems, good)


def _judge_controllers(seen: Routing, options: IngressOptions) -> Iterator[Result]:
    if not seen.ingress_classes and not seen.gateway_classes:
        yield failed("The cluster has neither an IngressClass nor a GatewayClass, so nothing leads traffic into it.")
    for ingress_class in seen.ingress_classes:
        if why := RETIRED.get(ingress_class.spec.controller):
            yield warning(f"IngressClass {ingress_class.name} is of {ingress_class.spec.controller}, {why}.")
    if not options.ingress_controllers:
        yield unknown("The option ingress_controllers names no workload, so whether a controller runs was not seen.")
    for reference in options.ingress_controllers:
        workload = seen.controllers.get(reference)
        if workload is None:
            yield failed(f"The ingress controller {reference} is not there.")
        else:
            yield from judge_workload(workload)


def _judge_ingress(
    ingress: Ingress, classes: Sequence[IngressClass], options: IngressOptions, now: datetime
) -> Iterator[Result]:
    what, name = f"Ingress {ingress.path}", ingress.class_name
    if name is None:
        if not any(ingress_class.is_default for ingress_class in classes):
            yield failed(f"{what} names no IngressClass, and there is no default one.")
    elif ingress.spec.ingress_class_name and all(ingress_class.name != name for ingress_class in classes):
        yield failed(f"{what} names IngressClass {name}, which is not there.")
    addresses = ingress.status.load_balancer.ingress or ()
    if options.ingress_addresses and not any(address.ip or address.hostname for address in addresses):
        made = ingress.metadata.creation_timestamp
        bad = warning if made is not None and now - made <= options.ingress_grace else failed
        yield bad(f"{what} has no address, so no controller serves it.")


def _judge_route(route: HttpRoute, gateways: set[str], backends: _Backends) -> Iterator[Result]:
    what, namespace = f"HTTPRoute {route.path}", route.namespace
    parents = [
        parent for parent in route.spec.parent_refs or () if (parent.group, parent.kind) == (_GATEWAYS, "Gateway")
    ]
    if not route.spec.parent_refs:
        yield failed(f"{what} hangs on no Gateway.")
    for parent in parents:
        path = f"{parent.namespace or namespace}/{parent.name}"
        taken = [found for found in route.status.parents or () if _same(found, parent, namespace)]
        if not taken:
            there = "has not taken it" if path in gateways else "is not among those looked at"
            yield failed(f"{what} hangs on Gateway {path}, which {there}.")
        for found in taken:
            yield from _stated(
                f"{what} on {path}", found.conditions, route.metadata.generation, "Accepted", "ResolvedRefs"
            )
    for path in dict.fromkeys(
        f"{backend.namespace or namespace}/{backend.name}"
        for rule in route.spec.rules or ()
        for backend in rule.backend_refs or ()
        if (backend.group, backend.kind) == ("", "Service") and backend.weight
    ):
        yield from backends.judge(what, path)


def _same(found: RouteParent, parent: ParentReference, namespace: str) -> bool:
    """Whether a controller tells of this parent: of its listener and port, where the route names them."""
    seen = found.parent_ref
    return msgspec.structs.replace(seen, namespace=seen.namespace or namespace) == msgspec.structs.replace(
        parent, namespace=parent.namespace or namespace
    )


def _stated(what: str, conditions: tuple[Condition, ...] | None, generation: int, *kinds: str) -> Iterator[Result]:
    """The conditions that are not True, or that were stated before the object was changed."""
    for kind in kinds:
        seen = condition(conditions, kind)
        if seen is None or seen.status not in ("True", "False"):
            yield failed(f"{what} is not {kind}: no controller has said so.")
        elif seen.status == "False":
            yield failed(f"{what} is not {_denied(seen)}.")
        elif seen.observed_generation is not None and seen.observed_generation < generation:
            yield unknown(f"{what} was changed, and its controller has not said since whether it is {kind}.")


def _denied(seen: Condition) -> str:
    """A condition that is False, and why."""
    message = " ".join(seen.message.split()).rstrip(".")[:200]
    return f"{seen.type}: {seen.reason}{f' ({message})' if message else ''}"
