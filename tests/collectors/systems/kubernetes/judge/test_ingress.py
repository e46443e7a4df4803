"""What leads traffic into a cluster: object in, sentence out."""

from dataclasses import replace
from typing import Any

import pytest

from collectors.systems.kubernetes.judge.ingress import IngressOptions, Routing, judge_ingress
from collectors.systems.kubernetes.model.objects import (
    Deployment,
    EndpointSliceItem,
    Gateway,
    GatewayClass,
    GrpcRoute,
    HttpRoute,
    Ingress,
    IngressClass,
    Service,
    compact_endpoint_slices,
)
from exporter.verdict import Result, Status
from tests.collectors.systems.kubernetes.objects import NOW, ago, decoded

CONTROLLER = "ingress/traefik"
OPTIONS = IngressOptions(ingress_controllers=(CONTROLLER,))


def workload(ready: int = 1) -> Deployment:
    return decoded(Deployment, CONTROLLER, spec={"replicas": 1}, status={"readyReplicas": ready})


def ingress_class(controller: str = "traefik.io/ingress-controller", default: bool = False) -> IngressClass:
    annotations = {"ingressclass.kubernetes.io/is-default-class": "true"} if default else {}
    return decoded(IngressClass, "traefik", annotations=annotations, spec={"controller": controller})


def ingress(spec: Any = None, status: Any = None, **metadata: Any) -> Ingress:
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    wanted = {"ingressClassName": "traefik", "rules": [{"http": {"paths": [{"path": "/", "backend": backend}]}}]}
    seen = {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}
    made = {"creationTimestamp": ago(hours=1)} | metadata
    return decoded(
        Ingress, "shop/web", metadata=made, spec=wanted | (spec or {}), status=seen if status is None else status
    )


def service(name: str = "web", kind: str = "ClusterIP", **spec: Any) -> Service:
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    return decoded(Service, f"shop/{name}", spec={"type": kind, "ports": ports} | spec)


def slices(*ready: bool | None, service: str = "web", ports: Any = ("http",), **conditions: bool) -> Any:
    endpoints = [
        {"addresses": ["10.0.0.1"], "conditions": ({} if one is None else {"ready": one}) | conditions} for one in ready
    ]
    wire = decoded(
        EndpointSliceItem,
        "shop/web-x",
        labels={"kubernetes.io/service-name": service},
        endpoints=endpoints or None,
        ports=None if ports is None else [{"name": name, "port": 8080} for name in ports],
    )
    return list(compact_endpoint_slices()([wire]))


def conditions(
    reason: str = "Because", message: str = "", seen: int | None = None, **states: str
) -> list[dict[str, Any]]:
    return [
        {"type": kind, "status": state, "reason": reason, "message": message, "observedGeneration": seen}
        for kind, state in states.items()
    ]


TAKEN: dict[str, Any] = {"Accepted": "True", "ResolvedRefs": "True"}
PARENT = {"name": "public", "namespace": "ingress"}
CLASS = decoded(GatewayClass, "traefik", status={"conditions": conditions(Accepted="True")})


def gateway(generation: int = 1, found: Any = None) -> Gateway:
    found = conditions(Accepted="True", Programmed="True") if found is None else found
    spec = {"gatewayClassName": "traefik"}
    return decoded(Gateway, "ingress/public", generation=generation, spec=spec, status={"conditions": found})


def route(parents: Any = None, **spec: Any) -> HttpRoute:
    wanted = {"parentRefs": [PARENT], "rules": [{"backendRefs": [{"name": "web", "port": 80}]}]} | spec
    seen = [{"parentRef": PARENT, "conditions": conditions(**TAKEN)}] if parents is None else parents
    return decoded(HttpRoute, "shop/web", generation=1, spec=wanted, status={"parents": seen})


GOOD = Routing(
    {CONTROLLER: workload()},
    [ingress_class()],
    [ingress()],
    [CLASS],
    [gateway()],
    [route()],
    [service()],
    slices(True, False),
)


def judge(options: IngressOptions = OPTIONS, **changes: Any) -> Result:
    return judge_ingress(replace(GOOD, **changes), options, NOW)


def test_all_is_well() -> None:
    result = judge()
    assert (result.status, result.summary) == (
        Status.OK,
        "1 Ingress, 1 Gateway and 1 route are served and lead to ready endpoints.",
    )
    assert result.measurements == {"ingresses": 1, "gateways": 1, "http_routes": 1, "routes": 1}


@pytest.mark.parametrize(
    ("changes", "status", "sentence"),
    [
        ({"controllers": {CONTROLLER: None}}, Status.FAILED, "The ingress controller ingress/traefik does not exist."),
        (
            {"controllers": {CONTROLLER: workload(0)}},
            Status.FAILED,
            "Deployment ingress/traefik has 0 of 1 replica ready.",
        ),
        (
            {"ingress_classes": [], "gateway_classes": [], "ingresses": [], "gateways": [], "routes": []},
            Status.UNKNOWN,
            (
                "The cluster has no IngressClass, no GatewayClass and no Service of type LoadBalancer, so how traffic gets in was "
                "not observed."
            ),
        ),
        (
            {"ingress_classes": [ingress_class("k8s.io/ingress-nginx")]},
            Status.WARNING,
            "IngressClass traefik belongs to k8s.io/ingress-nginx, which gets no more fixes since March 2026.",
        ),
        (
            {"ingresses": [ingress({"ingressClassName": "nginx"})]},
            Status.FAILED,
            "Ingress shop/web names IngressClass nginx, which does not exist.",
        ),
        (
            {"ingresses": [ingress({"ingressClassName": None})]},
            Status.FAILED,
            "Ingress shop/web names no IngressClass, and there is no default one.",
        ),
        (
            {"ingresses": [ingress({"ingressClassName": None})], "ingress_classes": [ingress_class(default=True)]},
            Status.OK,
            "",
        ),
        # The annotation from before there were classes is taken by controllers that know it.
        (
            {"ingresses": [ingress({"ingressClassName": None}, annotations={"kubernetes.io/ingress.class": "old"})]},
            Status.OK,
            "",
        ),
        (
            {"ingresses": [ingress(status={"loadBalancer": {}})]},
            Status.FAILED,
            "Ingress shop/web has no address, so no controller serves it.",
        ),
        (
            {"ingresses": [ingress(status={})]},
            Status.FAILED,
            "Ingress shop/web has no address, so no controller serves it.",
        ),
        (
            {"ingresses": [ingress(status={"loadBalancer": {"ingress": [{"hostname": "lb.example.com"}]}})]},
            Status.OK,
            "",
        ),
        (
            {"ingresses": [ingress(status={}, creationTimestamp=ago(minutes=4))]},
            Status.WARNING,
            "Ingress shop/web has no address, so no controller serves it.",
        ),
        (
            {"services": [], "routes": []},
            Status.FAILED,
            "Ingress shop/web leads to Service shop/web, which does not exist.",
        ),
        (
            {"endpoint_slices": slices(False), "routes": []},
            Status.FAILED,
            "Ingress shop/web leads to Service shop/web, which has no ready endpoint.",
        ),
        ({"endpoint_slices": slices(None)}, Status.OK, ""),
        (
            {"endpoint_slices": slices(), "ingresses": []},
            Status.FAILED,
            "HTTPRoute shop/web leads to Service shop/web, which has no ready endpoint.",
        ),
        ({"endpoint_slices": [], "services": [service(kind="ExternalName")]}, Status.OK, ""),
        (
            {
                "ingresses": [
                    ingress({"rules": None, "defaultBackend": {"service": {"name": "other", "port": {"number": 80}}}})
                ]
            },
            Status.FAILED,
            "Ingress shop/web leads to Service shop/other, which does not exist.",
        ),
        (
            {"ingresses": [ingress({"rules": [{"host": "a"}], "defaultBackend": {"resource": {"kind": "Bucket"}}})]},
            Status.OK,
            "",
        ),
        (
            {
                "gateway_classes": [
                    decoded(GatewayClass, "traefik", status={"conditions": conditions(Accepted="False")})
                ]
            },
            Status.FAILED,
            "GatewayClass traefik is not Accepted: Because.",
        ),
        # A class that nobody uses may be of a controller that is not there.
        ({"gateway_classes": [CLASS, decoded(GatewayClass, "unused")]}, Status.OK, ""),
        (
            {"gateways": [gateway(found=conditions("NoAddress", "none left.", Accepted="True", Programmed="False"))]},
            Status.FAILED,
            "Gateway ingress/public is not Programmed: NoAddress (none left).",
        ),
        (
            {"gateways": [gateway(found=conditions(Accepted="True"))]},
            Status.FAILED,
            "Gateway ingress/public is not Programmed: no controller has reported it.",
        ),
        (
            {"gateways": [gateway(2, conditions(seen=1, Accepted="True", Programmed="True"))]},
            Status.UNKNOWN,
            " ".join(
                f"Gateway ingress/public was changed, and its controller has not reported since whether it is {kind}."
                for kind in ("Accepted", "Programmed")
            ),
        ),
        (
            {"routes": [route([])]},
            Status.FAILED,
            "HTTPRoute shop/web names Gateway ingress/public, which has not accepted it.",
        ),
        (
            {"routes": [route([])], "gateways": []},
            Status.FAILED,
            "HTTPRoute shop/web names Gateway ingress/public, which does not exist or is not read.",
        ),
        (
            {"routes": [route([{"parentRef": {"name": "public"}, "conditions": conditions(**TAKEN)}])]},
            Status.FAILED,
            "HTTPRoute shop/web names Gateway ingress/public, which has not accepted it.",
        ),
        (
            {
                "routes": [
                    route(
                        [
                            {
                                "parentRef": PARENT,
                                "conditions": conditions("BackendNotFound", Accepted="True", ResolvedRefs="False"),
                            }
                        ]
                    )
                ]
            },
            Status.FAILED,
            "HTTPRoute shop/web on ingress/public is not ResolvedRefs: BackendNotFound.",
        ),
        ({"routes": [route(parentRefs=None)]}, Status.FAILED, "HTTPRoute shop/web names no Gateway."),
        ({"routes": [route(parentRefs=[{"group": "", "kind": "Service", "name": "web"}])]}, Status.OK, ""),
        (
            {
                "routes": [
                    route(
                        rules=[
                            {"backendRefs": [{"name": "gone", "port": 80, "weight": 1}, {"name": "off", "weight": 0}]},
                            {},
                        ]
                    )
                ]
            },
            Status.FAILED,
            "HTTPRoute shop/web leads to Service shop/gone, which does not exist.",
        ),
        (
            {"routes": [route(rules=[{"backendRefs": [{"group": "example.com", "kind": "Bucket", "name": "a"}]}])]},
            Status.OK,
            "",
        ),
    ],
)
def test_what_does_not_work(changes: dict[str, Any], status: Status, sentence: str) -> None:
    result = judge(**changes)
    assert result.status is status, result.summary
    if sentence:
        assert result.summary == sentence


def test_a_listener_that_is_refused_is_noticed_on_a_gateway_that_is_programmed() -> None:
    listeners = [
        {"name": "http", "conditions": conditions(Accepted="True", Programmed="True", ResolvedRefs="True")},
        {"name": "https", "conditions": conditions("InvalidCertificateRef", Accepted="True", ResolvedRefs="False")},
        {"name": "new"},
    ]
    found = {"conditions": conditions(Accepted="True", Programmed="True"), "listeners": listeners}
    result = judge(gateways=[decoded(Gateway, "ingress/public", spec={"gatewayClassName": "traefik"}, status=found)])
    assert (result.status, result.summary) == (
        Status.FAILED,
        "Listener https of Gateway ingress/public is not ResolvedRefs: InvalidCertificateRef.",
    )


def test_listeners_that_are_in_conflict() -> None:
    listener = {
        "name": "http",
        "conditions": conditions("ProtocolConflict", Accepted="True", Programmed="True", Conflicted="True"),
    }
    found = {"conditions": conditions(Accepted="True", Programmed="True"), "listeners": [listener]}
    result = judge(gateways=[decoded(Gateway, "ingress/public", spec={"gatewayClassName": "traefik"}, status=found)])
    assert (result.status, result.summary) == (
        Status.FAILED,
        "Listener http of Gateway ingress/public is Conflicted: ProtocolConflict.",
    )


def test_a_route_of_which_some_rules_are_not_served() -> None:
    taken = [{"parentRef": PARENT, "conditions": conditions("UnsupportedValue", **TAKEN, PartiallyInvalid="True")}]
    result = judge(routes=[route(taken)])
    assert (result.status, result.summary) == (
        Status.WARNING,
        "Some rules of HTTPRoute shop/web are not served on ingress/public: PartiallyInvalid: UnsupportedValue.",
    )


def test_a_route_that_hangs_on_two_ports_has_to_be_taken_on_both() -> None:
    parents = [PARENT | {"port": 443}, PARENT | {"port": 8443}]
    taken = [{"parentRef": parent, "conditions": conditions(**TAKEN)} for parent in parents]
    assert judge(routes=[route(taken, parentRefs=parents)]).status is Status.OK
    result = judge(routes=[route(taken[:1], parentRefs=parents)])
    assert result.summary == "HTTPRoute shop/web names Gateway ingress/public, which has not accepted it."


def test_without_its_workload_a_controller_was_not_seen() -> None:
    result = judge(IngressOptions())
    assert (result.status, result.summary) == (
        Status.UNKNOWN,
        "The option ingress_controllers names no workload, so whether a controller runs was not checked.",
    )


def test_addresses_need_not_be_given() -> None:
    options = IngressOptions(ingress_controllers=(CONTROLLER,), ingress_addresses=False)
    assert judge(options, ingresses=[ingress(status={})]).status is Status.OK


def test_one_service_behind_many_paths_is_told_once() -> None:
    path = {"path": "/", "backend": {"service": {"name": "gone"}}}
    result = judge(ingresses=[ingress({"rules": [{"http": {"paths": [path] * 50}}] * 2})])
    assert result.summary == "Ingress shop/web leads to Service shop/gone, which does not exist."


def backend(number: int | None = None, name: str = "", to: str = "web") -> Ingress:
    port: dict[str, Any] = {"number": number} if number else {"name": name}
    service = {"name": to, "port": port}
    return ingress({"rules": [{"http": {"paths": [{"path": "/", "backend": {"service": service}}]}}]})


@pytest.mark.parametrize(
    ("changes", "status", "sentence"),
    [
        ({"ingresses": [backend(name="http")]}, Status.OK, ""),
        (
            {"ingresses": [backend(8080)]},
            Status.FAILED,
            "Ingress shop/web leads to port 8080 of Service shop/web, which lacks it (its ports: 80).",
        ),
        (
            {"ingresses": [backend(name="grpc")]},
            Status.FAILED,
            "Ingress shop/web leads to port grpc of Service shop/web, which lacks it (its ports: 80).",
        ),
        (
            {"ingresses": [], "routes": [route(rules=[{"backendRefs": [{"name": "web", "port": 81}]}])]},
            Status.FAILED,
            "HTTPRoute shop/web leads to port 81 of Service shop/web, which lacks it (its ports: 80).",
        ),
        # A targetPort by a name that no container has: endpoints are ready, and have no port.
        (
            {"endpoint_slices": slices(True, ports=None), "routes": []},
            Status.FAILED,
            "Ingress shop/web leads to port 80 of Service shop/web, which none of its ready pods has (targetPort http).",
        ),
        # publishNotReadyAddresses: ready for DNS, and not serving.
        (
            {"endpoint_slices": slices(True, serving=False), "routes": []},
            Status.FAILED,
            "Ingress shop/web leads to Service shop/web, which has no ready endpoint.",
        ),
        ({"endpoint_slices": slices(True, serving=True)}, Status.OK, ""),
        (
            {"routes": [decoded(GrpcRoute, "shop/api", spec={"parentRefs": [PARENT]})]},
            Status.FAILED,
            "GRPCRoute shop/api names Gateway ingress/public, which has not accepted it.",
        ),
        (
            {"gateway_classes": [], "routes": []},
            Status.FAILED,
            "Gateway ingress/public names GatewayClass traefik, which does not exist.",
        ),
    ],
)
def test_ports_and_readiness_are_followed(changes: dict[str, Any], status: Status, sentence: str) -> None:
    result = judge(**changes)
    assert result.status is status, result.summary
    if sentence:
        assert result.summary == sentence


def test_an_action_of_the_aws_load_balancer_is_no_service() -> None:
    acting = backend(name="use-annotation", to="redirect")
    missing = judge(ingresses=[acting])
    assert missing.status is Status.FAILED
    assert "lacks its annotation alb.ingress.kubernetes.io/actions.redirect" in missing.summary
    annotations = {"alb.ingress.kubernetes.io/actions.redirect": "{}"}
    backed = decoded(
        Ingress,
        "shop/web",
        metadata={"annotations": annotations},
        spec={
            "ingressClassName": "traefik",
            "defaultBackend": {"service": {"name": "redirect", "port": {"name": "use-annotation"}}},
        },
        status={"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}},
    )
    result = judge(ingresses=[backed])
    assert result.status is Status.OK
    assert result.summary.endswith("lead to ready endpoints. 1 ALB action was not checked.")


def balancer(*addresses: dict[str, str], made: str = ago(hours=1)) -> Service:
    return decoded(
        Service,
        "shop/web",
        metadata={"creationTimestamp": made},
        spec={"type": "LoadBalancer", "ports": [{"name": "http", "port": 80}]},
        status={"loadBalancer": {"ingress": list(addresses)}},
    )


@pytest.mark.parametrize(
    ("service", "changes", "status", "sentence"),
    [
        (balancer({"ip": "192.0.2.1"}), {}, Status.OK, "and 1 Service of type LoadBalancer are served"),
        (balancer(), {}, Status.FAILED, "Service shop/web of type LoadBalancer has no address"),
        (balancer(made=ago(minutes=1)), {}, Status.WARNING, "Service shop/web of type LoadBalancer has no address"),
        (
            balancer({"hostname": "lb.example.com"}),
            {"endpoint_slices": slices(False)},
            Status.FAILED,
            "The load balancer leads to Service shop/web, which has no ready endpoint.",
        ),
    ],
)
def test_load_balancers_lead_traffic_in_where_there_are_no_classes(
    service: Service, changes: dict[str, Any], status: Status, sentence: str
) -> None:
    nothing: dict[str, Any] = {
        "ingress_classes": [],
        "gateway_classes": [],
        "ingresses": [],
        "gateways": [],
        "routes": [],
    }
    result = judge(**nothing | {"services": [service], "load_balancers": [service]} | changes)
    assert result.status is status, result.summary
    assert sentence in result.summary


def test_a_class_that_no_named_workload_serves_is_unknown() -> None:
    """Its Ingress has an address of former times, a class, and ready endpoints."""
    old = decoded(IngressClass, "old", spec={"controller": "example.com/gone"})
    stale = decoded(
        Ingress,
        "shop/old",
        spec={"ingressClassName": "old"},
        status={"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}]}},
    )
    seen: dict[str, Any] = {"ingress_classes": [ingress_class(), old], "ingresses": [ingress(), stale]}
    result = judge(**seen)
    assert result.status is Status.UNKNOWN
    assert (
        "Nothing shows which workload serves IngressClass old (controller example.com/gone) of 1 Ingress"
        in result.summary
    )
    declared = OPTIONS.model_copy(update={"external_ingress_classes": {"old": "The provider's load balancer."}})
    assert judge(declared, **seen).status is Status.OK
    named = OPTIONS.model_copy(update={"ingress_class_controllers": {"old": "ingress/gone"}})
    assert "The ingress controller ingress/gone does not exist." in judge(named, **seen).summary


def test_a_gateway_class_that_no_named_workload_serves_is_unknown() -> None:
    """What its controller stated may be of former times: nothing shows that it still runs."""
    other = decoded(
        GatewayClass,
        "traefik",
        spec={"controllerName": "example.com/gone"},
        status={"conditions": conditions(Accepted="True")},
    )
    result = judge(gateway_classes=[other])
    assert result.status is Status.UNKNOWN
    assert (
        "Nothing shows which workload serves GatewayClass traefik (controller example.com/gone) of 1 Gateway "
        "(ingress/public): name it in ingress_class_controllers."
    ) in result.summary
    own = decoded(
        GatewayClass,
        "traefik",
        spec={"controllerName": "traefik.io/gateway-controller"},
        status={"conditions": conditions(Accepted="True")},
    )
    assert judge(gateway_classes=[own]).status is Status.OK  # one Traefik serves both


@pytest.mark.parametrize(
    ("changes", "status", "sentence"),
    [
        (
            {"routes": [route(rules=[{"backendRefs": [{"name": "web", "port": 80, "weight": 0}]}])]},
            Status.FAILED,
            "A rule of HTTPRoute shop/web leads nowhere: the weights of all its backends are 0.",
        ),
        (
            {"routes": [route(rules=[{"matches": [{"path": {"value": "/"}}]}])]},
            Status.FAILED,
            "HTTPRoute shop/web leads nowhere: it has neither a backend nor a redirect.",
        ),
        ({"routes": [route(rules=[{"filters": [{"type": "RequestRedirect"}]}])]}, Status.OK, "1 route"),
        (
            {"routes": [route([], parentRefs=[{"kind": "ListenerSet", "name": "extra"}])]},
            Status.UNKNOWN,
            "HTTPRoute shop/web names ListenerSet shop/extra, and no controller has reported whether it accepted that.",
        ),
        (
            {"ingresses": [ingress({"rules": [{"host": "void.example.com"}]})]},
            Status.WARNING,
            "Ingress shop/web leads nowhere: it has neither a path nor a default backend.",
        ),
        (
            {"services": [service(kind="ExternalName", externalName="gone.invalid")]},
            Status.OK,
            "lead to ready endpoints. 1 ExternalName Service was not checked.",
        ),
        (
            {"ingresses": [ingress({"rules": None, "defaultBackend": {"resource": {"kind": "Bucket", "name": "a"}}})]},
            Status.OK,
            "lead to ready endpoints. 1 backend that is no Service was not checked.",
        ),
    ],
)
def test_what_leads_nowhere_or_where_nobody_looked(changes: dict[str, Any], status: Status, sentence: str) -> None:
    result = judge(**changes)
    assert result.status is status, result.summary
    assert sentence in result.summary


def test_a_controller_that_nothing_is_led_through_is_a_warning() -> None:
    """A trap: it runs as well as one that serves, and nobody reaches the product."""
    empty = Routing({CONTROLLER: workload()}, ingress_classes=[ingress_class()])
    result = judge_ingress(empty, OPTIONS, NOW)
    assert result.status is Status.WARNING
    assert result.summary.startswith(
        "No Ingress and no route leads traffic in, so nothing shows that a running controller"
    )
    assert judge_ingress(empty, OPTIONS, NOW, requested=True).status is Status.OK
    alone = judge_ingress(replace(empty, gateway_classes=[CLASS], gateways=[gateway()]), OPTIONS, NOW)
    assert alone.status is Status.WARNING
    assert "1 Gateway without a route leads nowhere" in alone.summary
    down = judge_ingress(replace(empty, controllers={CONTROLLER: workload(ready=0)}), OPTIONS, NOW)
    assert down.status is Status.FAILED
