"""Whether traffic gets into a cluster: controllers, Ingresses, Gateways, routes, and the Services that they lead to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
from pydantic import Field

from collectors.shared.verdicts import verdict
from collectors.systems.kubernetes.judge.workloads import Reference, Workload, judge_workload
from collectors.systems.kubernetes.model.objects import (
    Backend,
    BackendReference,
    Condition,
    EndpointSlice,
    Gateway,
    GatewayClass,
    Ingress,
    IngressClass,
    LoadBalancerAddress,
    ParentReference,
    Route,
    RouteParent,
    RouteRule,
    Service,
    ServicePort,
    condition,
)
from exporter.options import Duration, Options
from exporter.verdict import Reason, Result, failed, ok, unknown, warning
from exporter.words import counted, listed

__all__ = ["IngressOptions", "Routing", "judge_ingress"]

RETIRED = {"k8s.io/ingress-nginx": "which gets no more fixes since March 2026"}
_GATEWAYS = "gateway.networking.k8s.io"
_ANSWERING = ("RequestRedirect", "ExtensionRef")
"""Filters of routes that may answer requests, so that no backend is needed."""
_LISTENER = ("Accepted", "Programmed", "ResolvedRefs")
_CONFLICT, _PARTLY = "Conflicted", "PartiallyInvalid"
"""Conditions of a listener and of a route that are trouble while they are True."""
_ALB_ACTION = "use-annotation"
_ALB_ACTIONS = "alb.ingress.kubernetes.io/actions."
"""An Ingress of the AWS load balancer controller may name an annotation of this prefix in place of a Service."""


class IngressOptions(Options):
    """What is required of what leads traffic into the cluster."""

    ingress_controllers: tuple[Reference, ...] = Field(
        (),
        description="Workloads of the controllers: `namespace/name` of a Deployment, or `namespace/Kind/name`. Without them the "
        "line is unknown, as nothing else shows that a controller runs.",
    )
    ingress_class_controllers: dict[str, Reference] = Field(
        default_factory=dict,
        description="IngressClass or GatewayClass to the workload that serves it; needed where Ingresses and Gateways use classes "
        "of more controllers than `ingress_controllers` names.",
    )
    external_ingress_classes: dict[str, str] = Field(
        default_factory=dict,
        description="IngressClass or GatewayClass to the reason why no workload of the cluster serves it, such as a load balancer "
        "of the provider.",
    )
    ingress_addresses: bool = Field(
        True, description="Whether every Ingress needs an address; controllers on ports of the host give none."
    )
    ingress_grace: Duration = Field(
        timedelta(minutes=5), description="How long an Ingress may be without an address after its creation."
    )


@dataclass(frozen=True, slots=True)
class Routing:
    """What was read: classes of the whole cluster, and the routes with all that they may lead to.

    `controllers` are the workloads that the options name, None where one does not exist. Gateways and routes are empty where the
    cluster has no Gateway API. `load_balancers` are the Services of type LoadBalancer that may lead traffic in.
    """

    controllers: Mapping[str, Workload | None]
    ingress_classes: Sequence[IngressClass] = ()
    ingresses: Sequence[Ingress] = ()
    gateway_classes: Sequence[GatewayClass] = ()
    gateways: Sequence[Gateway] = ()
    routes: Sequence[Route] = ()
    services: Sequence[Service] = ()
    endpoint_slices: Sequence[EndpointSlice] = ()
    load_balancers: Sequence[Service] = ()


class _Backends:
    """Which Services exist, and how many of their endpoints are ready on which of their ports."""

    def __init__(self, services: Iterable[Service], slices: Iterable[EndpointSlice]) -> None:
        self._services = {service.path: service for service in services}
        self._slices: dict[str, list[EndpointSlice]] = {}
        for one in slices:
            self._slices.setdefault(f"{one.namespace}/{one.service}", []).append(one)

    def problems(self, route: str, path: str, port: ServicePort | None = None) -> Iterator[Result]:
        """What is wrong with the Service that a route leads to, on this port where the route names one."""
        service = self._services.get(path)
        if service is None:
            yield failed(f"{route} leads to Service {path}, which does not exist.", reason=Reason.MISSING)
            return
        if service.spec.type == "ExternalName":
            return
        own = {found.name: found for found in service.spec.ports or ()}
        wanted = "" if port is None else port.name or str(port.number or "")
        chosen = [found for found in own.values() if wanted in (found.name, str(found.port))] if wanted else []
        if wanted and not chosen:
            has = listed(str(found.port) for found in own.values()) if own else "none"
            yield failed(
                f"{route} leads to port {wanted} of Service {path}, which lacks it (its ports: {has}).",
                reason=Reason.MISCONFIGURED,
            )
            return
        ready = [found for found in self._slices.get(path, ()) if found.ready]
        if not ready:
            yield failed(f"{route} leads to Service {path}, which has no ready endpoint.", reason=Reason.DOWN)
        elif own and not any(found.name in one.ports for found in chosen or own.values() for one in ready):
            named = next(iter(chosen or own.values()))
            at = f" (targetPort {named.target_port})" if named.target_port is not None else ""
            yield failed(
                f"{route} leads to port {wanted or named.port} of Service {path}, which none of its ready pods has{at}.",
                reason=Reason.MISCONFIGURED,
            )


def judge_ingress(routing: Routing, options: IngressOptions, now: datetime, *, requested: bool = False) -> Result:
    """Whether controllers run, every Ingress has one and an address, Gateways and routes are accepted, and all lead to something.

    `now` is the API server's clock. `requested` says that requests through the ingress show whether it serves.
    Measures how many Ingresses, Gateways and routes there are.
    """
    counts = [
        counted(len(routing.ingresses), "Ingress", "Ingresses"),
        counted(len(routing.gateways), "Gateway"),
        counted(len(routing.routes), "route"),
    ]
    if _is_entered_by_load_balancers(routing):
        counts.append(
            counted(len(routing.load_balancers), "Service of type LoadBalancer", "Services of type LoadBalancer")
        )
    good = ok(
        f"{listed(counts)} are served and lead to ready endpoints.{_not_checked(routing)}",
        ingresses=len(routing.ingresses),
        gateways=len(routing.gateways),
        http_routes=sum(route.kind == "HTTPRoute" for route in routing.routes),
        routes=len(routing.routes),
    )
    problems = list(_ingress_problems(routing, options, now))
    if not requested:
        problems += _idle(routing)
    return verdict(problems, good)


def _not_checked(routing: Routing) -> str:
    """What else traffic is led to, whose state cannot be read here: a sentence after a space, or nothing."""
    outside = {service.path for service in routing.services if service.spec.type == "ExternalName"}
    actions = others = 0
    external: set[str] = set()
    for ingress in routing.ingresses:
        for backend in dict.fromkeys(ingress.backends):
            actions += _is_action(backend)
            others += backend.service is None
            if backend.service is not None:
                external |= {f"{ingress.namespace}/{backend.service.name}"} & outside
    for route in routing.routes:
        for path, reference in _led_to(route):
            if _is_service(reference):
                external |= {path} & outside
            else:
                others += 1
    numbers = {
        counted(actions, "ALB action"): actions,
        counted(len(external), "ExternalName Service"): len(external),
        counted(others, "backend that is no Service", "backends that are no Services"): others,
    }
    if not (total := sum(numbers.values())):
        return ""
    return (
        f" {listed(what for what, number in numbers.items() if number)} {'was' if total == 1 else 'were'} not checked."
    )


def _led_to(route: Route) -> Iterator[tuple[str, BackendReference]]:
    """The backends of a route that get requests, each with its path."""
    for rule in route.spec.rules or ():
        for backend in rule.backend_refs or ():
            if backend.weight:
                yield f"{backend.namespace or route.namespace}/{backend.name}", backend


def _answers(rule: RouteRule) -> bool:
    return any(found.type in _ANSWERING for found in rule.filters or ())


def _is_service(backend: BackendReference) -> bool:
    return (backend.group, backend.kind) == ("", "Service")


def _ingress_problems(routing: Routing, options: IngressOptions, now: datetime) -> Iterator[Result]:
    backends = _Backends(routing.services, routing.endpoint_slices)
    yield from _controller_problems(routing, options)
    yield from _class_problems(routing, options)
    for ingress in routing.ingresses:
        yield from _route_in_problems(ingress, routing.ingress_classes, options, now)
        yield from _backend_problems(ingress, backends)
    yield from _gateway_problems(routing)
    gateways = {gateway.path for gateway in routing.gateways}
    for route in routing.routes:
        yield from _route_problems(route, gateways, backends)
    if _is_entered_by_load_balancers(routing):
        yield from _load_balancer_problems(routing.load_balancers, backends, options, now)


def _is_entered_by_load_balancers(routing: Routing) -> bool:
    """Whether Services of type LoadBalancer alone lead traffic in, as with a mesh of its own resources."""
    return bool(routing.load_balancers) and not routing.ingress_classes and not routing.gateway_classes


def _idle(routing: Routing) -> Iterator[Result]:
    """What a controller that runs does not show while nothing is led through it."""
    if routing.ingresses or routing.routes or _is_entered_by_load_balancers(routing):
        return
    number = len(routing.gateways)
    verb = "leads" if number == 1 else "lead"
    gateways = f" {counted(number, 'Gateway')} without a route {verb} nowhere." if number else ""
    yield warning(
        f"No Ingress and no route leads traffic in, so nothing shows that a running controller serves any.{gateways} Name a "
        "request in ingress_requests, or other namespaces."
    )


def _controller_problems(routing: Routing, options: IngressOptions) -> Iterator[Result]:
    for reference in dict.fromkeys((*options.ingress_controllers, *options.ingress_class_controllers.values())):
        workload = routing.controllers.get(reference)
        if workload is None:
            yield failed(f"The ingress controller {reference} does not exist.", reason=Reason.MISSING)
        else:
            yield from judge_workload(workload)
    if not options.ingress_controllers and not options.ingress_class_controllers:
        yield unknown(
            "The option ingress_controllers names no workload, so whether a controller runs was not checked.",
            reason=Reason.NOT_CONFIGURED,
        )
    if not routing.ingress_classes and not routing.gateway_classes and not routing.load_balancers:
        yield unknown(
            "The cluster has no IngressClass, no GatewayClass and no Service of type LoadBalancer, so how traffic gets in was not "
            "observed."
        )
    for ingress_class in routing.ingress_classes:
        if why := RETIRED.get(ingress_class.spec.controller):
            yield warning(f"IngressClass {ingress_class.name} belongs to {ingress_class.spec.controller}, {why}.")


def _class_problems(routing: Routing, options: IngressOptions) -> Iterator[Result]:
    """Classes in use whose controller nobody names, where there are more controllers than workloads are named.

    What one maker serves as an IngressClass and as a GatewayClass, such as Traefik, counts as one.
    """
    controllers = {("IngressClass", found.name): found.spec.controller for found in routing.ingress_classes}
    controllers |= {("GatewayClass", found.name): found.spec.controller_name for found in routing.gateway_classes}
    default = next((found.name for found in routing.ingress_classes if found.is_default), None)
    in_use: dict[tuple[str, str], list[str]] = {}
    for ingress in routing.ingresses:
        if name := ingress.class_name or default:
            in_use.setdefault(("IngressClass", name), []).append(ingress.path)
    for gateway in routing.gateways:
        in_use.setdefault(("GatewayClass", gateway.spec.gateway_class_name), []).append(gateway.path)
    unnamed = [
        key
        for key in in_use
        if key[1] not in options.external_ingress_classes and key[1] not in options.ingress_class_controllers
    ]
    if not options.ingress_controllers and not options.ingress_class_controllers:
        return  # which is a problem of its own
    named = set(options.ingress_controllers) - set(options.ingress_class_controllers.values())
    of_ingresses = {controllers.get(key) or key[1] for key in unnamed if key[0] == "IngressClass"}
    makers = {_maker(controller) for controller in of_ingresses}
    of_gateways = {controllers[key] for key in unnamed if key[0] == "GatewayClass" and controllers.get(key)}
    if len(of_ingresses) + len([one for one in of_gateways if _maker(one) not in makers]) <= len(named):
        return
    for kind, name in (key for key in unnamed if controllers.get(key) or key[0] == "IngressClass"):
        found = in_use[kind, name]
        users = (
            counted(len(found), "Gateway") if kind == "GatewayClass" else counted(len(found), "Ingress", "Ingresses")
        )
        yield unknown(
            f"Nothing shows which workload serves {kind} {name} (controller {controllers.get((kind, name)) or 'not known'}) of "
            f"{users} ({listed(found, 3)}): name it in ingress_class_controllers.",
            reason=Reason.NOT_CONFIGURED,
        )


def _maker(controller: str) -> str:
    """Who makes a controller: `traefik.io` of `traefik.io/gateway-controller`."""
    return controller.partition("/")[0]


def _route_in_problems(
    ingress: Ingress, classes: Sequence[IngressClass], options: IngressOptions, now: datetime
) -> Iterator[Result]:
    what, name = f"Ingress {ingress.path}", ingress.class_name
    if name is None:
        if not any(ingress_class.is_default for ingress_class in classes):
            yield failed(f"{what} names no IngressClass, and there is no default one.", reason=Reason.MISSING)
    elif ingress.spec.ingress_class_name and all(ingress_class.name != name for ingress_class in classes):
        yield failed(f"{what} names IngressClass {name}, which does not exist.", reason=Reason.MISSING)
    if options.ingress_addresses and not _has_address(ingress.status.load_balancer.ingress):
        yield _without_address(what, ingress.metadata.creation_timestamp, options, now)


def _has_address(addresses: Iterable[LoadBalancerAddress] | None) -> bool:
    return any(address.ip or address.hostname for address in addresses or ())


def _without_address(what: str, made: datetime | None, options: IngressOptions, now: datetime) -> Result:
    bad = warning if made is not None and now - made <= options.ingress_grace else failed
    return bad(f"{what} has no address, so no controller serves it.")


def _is_action(backend: Backend) -> bool:
    return backend.service is not None and backend.service.port.name == _ALB_ACTION


def _backend_problems(ingress: Ingress, backends: _Backends) -> Iterator[Result]:
    what = f"Ingress {ingress.path}"
    if ingress.spec.rules and not any(True for _ in ingress.backends):
        yield warning(f"{what} leads nowhere: it has neither a path nor a default backend.")
    for backend in dict.fromkeys(ingress.backends):
        if (service := backend.service) is None:
            continue
        if not _is_action(backend):
            yield from backends.problems(what, f"{ingress.namespace}/{service.name}", service.port)
        elif f"{_ALB_ACTIONS}{service.name}" not in ingress.metadata.annotations:
            yield failed(
                f"{what} names the ALB action {service.name}, and lacks its annotation {_ALB_ACTIONS}{service.name}.",
                reason=Reason.MISSING,
            )


def _load_balancer_problems(
    services: Iterable[Service], backends: _Backends, options: IngressOptions, now: datetime
) -> Iterator[Result]:
    for service in services:
        what = f"Service {service.path} of type LoadBalancer"
        if options.ingress_addresses and not _has_address(service.status.load_balancer.ingress):
            yield _without_address(what, service.metadata.creation_timestamp, options, now)
        yield from backends.problems("The load balancer", service.path)


def _gateway_problems(routing: Routing) -> Iterator[Result]:
    known = {gateway_class.name: gateway_class for gateway_class in routing.gateway_classes}
    for name in dict.fromkeys(gateway.spec.gateway_class_name for gateway in routing.gateways):
        if (gateway_class := known.get(name)) is None:
            of_class = [gateway.path for gateway in routing.gateways if gateway.spec.gateway_class_name == name]
            yield failed(
                f"Gateway {listed(of_class, 3)} names GatewayClass {name}, which does not exist.", reason=Reason.MISSING
            )
        else:
            what, conditions = f"GatewayClass {name}", gateway_class.status.conditions
            yield from _stated(what, conditions, gateway_class.metadata.generation, "Accepted")
    for gateway in routing.gateways:
        what = f"Gateway {gateway.path}"
        yield from _stated(what, gateway.status.conditions, gateway.metadata.generation, "Accepted", "Programmed")
        for listener in gateway.status.listeners or ():
            # One of many that is refused leaves the Gateway itself Programmed.
            for found in listener.conditions or ():
                if found.status == "False" and found.type in _LISTENER:
                    yield failed(
                        f"Listener {listener.name} of {what} is not {_denied(found)}.", reason=Reason.MISCONFIGURED
                    )
                if found.status == "True" and found.type == _CONFLICT:
                    yield failed(
                        f"Listener {listener.name} of {what} is {_denied(found)}.", reason=Reason.MISCONFIGURED
                    )


def _route_problems(route: Route, gateways: set[str], backends: _Backends) -> Iterator[Result]:
    what, namespace = f"{route.kind} {route.path}", route.namespace
    if not route.spec.parent_refs:
        yield failed(f"{what} names no Gateway.", reason=Reason.MISCONFIGURED)
    for parent in route.spec.parent_refs or ():
        path = f"{parent.namespace or namespace}/{parent.name}"
        taken = [found for found in route.status.parents or () if _same(found, parent, namespace)]
        if not taken and (parent.group, parent.kind) == ("", "Service"):
            continue  # it is for a mesh, within the cluster
        if not taken and (parent.group, parent.kind) != (_GATEWAYS, "Gateway"):
            yield unknown(
                f"{what} names {parent.kind} {path}, and no controller has reported whether it accepted that."
            )
        elif not taken:
            there = "has not accepted it" if path in gateways else "does not exist or is not read"
            yield failed(f"{what} names Gateway {path}, which {there}.", reason=Reason.MISSING)
        for found in taken:
            yield from _stated(
                f"{what} on {path}", found.conditions, route.metadata.generation, "Accepted", "ResolvedRefs"
            )
            partly = condition(found.conditions, _PARTLY)
            if partly is not None and partly.status == "True":
                yield warning(f"Some rules of {what} are not served on {path}: {_denied(partly)}.")
    rules = route.spec.rules or ()
    void = [rule for rule in rules if not any(backend.weight for backend in rule.backend_refs or ())]
    if any(rule.backend_refs for rule in void):
        yield failed(
            f"A rule of {what} leads nowhere: the weights of all its backends are 0.", reason=Reason.MISCONFIGURED
        )
    elif void and len(void) == len(rules) and not any(_answers(rule) for rule in rules):
        yield failed(f"{what} leads nowhere: it has neither a backend nor a redirect.", reason=Reason.MISCONFIGURED)
    for path, number in dict.fromkeys((path, backend.port) for path, backend in _led_to(route) if _is_service(backend)):
        yield from backends.problems(what, path, ServicePort(number))


def _same(found: RouteParent, parent: ParentReference, namespace: str) -> bool:
    """Whether a controller reports on this parent: on its listener and port, where the route names them."""
    seen = found.parent_ref
    return msgspec.structs.replace(seen, namespace=seen.namespace or namespace) == msgspec.structs.replace(
        parent, namespace=parent.namespace or namespace
    )


def _stated(what: str, conditions: tuple[Condition, ...] | None, generation: int, *kinds: str) -> Iterator[Result]:
    """The conditions that are not True, or that were stated before the object was changed."""
    for kind in kinds:
        seen = condition(conditions, kind)
        if seen is None or seen.status not in ("True", "False"):
            yield failed(f"{what} is not {kind}: no controller has reported it.", reason=Reason.DOWN)
        elif seen.status == "False":
            yield failed(f"{what} is not {_denied(seen)}.", reason=Reason.MISCONFIGURED)
        elif seen.observed_generation is not None and seen.observed_generation < generation:
            yield unknown(f"{what} was changed, and its controller has not reported since whether it is {kind}.")


def _denied(seen: Condition) -> str:
    """A condition that is False, and why."""
    message = " ".join(seen.message.split()).rstrip(".")[:200]
    return f"{seen.type}: {seen.reason}{f' ({message})' if message else ''}"
