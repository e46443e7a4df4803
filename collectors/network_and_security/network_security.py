"""Network Security"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TypeVar
from urllib.parse import urlsplit

from pydantic import Field

from collectors.shared.addresses import address_and_port, resolve
from collectors.shared.attempts import attempt
from collectors.shared.verdicts import collected, verdict, worst_of
from collectors.systems.aws.client import Aws
from collectors.systems.aws_perimeter.client import fetch_groups, fetch_protection
from collectors.systems.aws_perimeter.judge import group_problems, protection_problems
from collectors.systems.aws_perimeter.model import SecurityGroups
from collectors.systems.blackbox import client as blackbox
from collectors.systems.blackbox.client import Blackbox
from collectors.systems.blackbox.judge import (
    egress_problems,
    firewall_problems,
    origin_problems,
    pair_problems,
    policy_problems,
    untried_egress_problems,
)
from collectors.systems.blackbox.model import Canary, CanaryPods, Guarded, Tried
from collectors.systems.entrances.client import READ_KINDS, fetch_entrances
from collectors.systems.entrances.judge import entrance_problems, mapped_ports, mapped_problems, with_other_names
from collectors.systems.entrances.model.controllers import TCP_MAP_NAMES, TCP_MAPS
from collectors.systems.exposure.judge import exposed_by_hand, exposed_services, opened_problems
from collectors.systems.exposure.model import STORE_ENDPOINTS, STORE_PODS, StoreServices, hostnames
from collectors.systems.gateway import client as gateways
from collectors.systems.gateway.judge import edge_problems, lapse_problems, limit_problems, route_problems, served
from collectors.systems.gateway.model import Edge, Gateway, Limit, Route
from collectors.systems.istio.judge import judge_mesh
from collectors.systems.istio.model import DESTINATION_RULES, MESH_PODS, PEER_AUTHENTICATIONS, Mesh, MeshOptions
from collectors.systems.kubernetes.client.cluster import Kubernetes, NotServed, OtherVersions
from collectors.systems.kubernetes.judge.scope import (
    demand_namespaces,
    scope_problems,
    with_exemptions,
    with_selectors,
)
from collectors.systems.kubernetes.model.kind import Kind
from collectors.systems.kubernetes.model.kinds import (
    NAMESPACES,
    SERVICES,
)
from collectors.systems.kubernetes.model.rbac import DISCOVERY, may_get, may_list
from collectors.systems.linkerd.judge import judge_linkerd
from collectors.systems.linkerd.model import (
    AUTHORIZATION_POLICIES,
    ISSUER_CERTIFICATES,
    LINKERD_NAMESPACES,
    LINKERD_PODS,
    MESH_TLS_AUTHENTICATIONS,
    SERVER_AUTHORIZATIONS,
    SERVERS,
    TRUST_ROOTS,
    TRUST_ROOTS_NAME,
    LinkerdMesh,
    LinkerdOptions,
)
from exporter.collector import Collector, Mode, NoTarget, SectionSettings, item
from exporter.evidence.rules import EvidenceRule
from exporter.http import Http, HttpSettings
from exporter.options import Duration
from exporter.reply import Reply
from exporter.verdict import (
    CRITICAL,
    INFO,
    WARNING,
    ProbeError,
    Reason,
    Result,
    Status,
    failed,
    ok,
    unknown,
    unobserved,
    warning,
    worst,
)
from exporter.words import counted, listed

T = TypeVar("T")

_STORES = may_list(NAMESPACES, SERVICES, STORE_PODS, STORE_ENDPOINTS, *READ_KINDS, option="stores")
_TCP_SERVICES = may_get(TCP_MAPS, *TCP_MAP_NAMES, namespace="ingress-nginx", option="stores")
_MESH = may_list(NAMESPACES, MESH_PODS, PEER_AUTHENTICATIONS[0], DESTINATION_RULES[0], option="mesh")

_LINKERD = may_list(
    LINKERD_NAMESPACES,
    LINKERD_PODS,
    SERVERS[0],
    SERVER_AUTHORIZATIONS,
    AUTHORIZATION_POLICIES,
    MESH_TLS_AUTHENTICATIONS,
    ISSUER_CERTIFICATES,
    option="linkerd",
)
_TRUST = may_get(TRUST_ROOTS, TRUST_ROOTS_NAME, namespace="linkerd", option="linkerd")


class NetworkSecuritySettings(SectionSettings):
    """What should be reachable from where, and what should not."""

    every: Duration = Field(timedelta(minutes=15), gt=timedelta(0), description="How often the section is verified.")
    timeout: Duration = Field(
        timedelta(minutes=5), gt=timedelta(0), description="How long one item may take before it is `unknown`."
    )
    allow_intrusive: bool = Field(False, description="Allow the bursts of `limits`.")
    hosts: tuple[Guarded, ...] = Field((), description="Hosts whose ports are tried from outside, by clients.blackbox.")
    security_groups: SecurityGroups | None = Field(
        None, description="Security groups of AWS, by clients.aws: rules only, nothing is tried."
    )
    stores: StoreServices | None = Field(
        None,
        description="Data stores of the cluster, by clients.kubernetes, which no Service or pod may open to its outside.",
    )
    canaries: tuple[Canary, ...] = Field((), description="Paths between pods that policies close.")
    canary_pods: tuple[CanaryPods, ...] = Field((), description="Pairs of canary pods as the chart installs them.")
    gateways: tuple[Gateway, ...] = Field((), description="Gateways and their routes.")
    limits: tuple[Limit, ...] = Field((), description="Routes whose rate the gateway limits.")
    edges: tuple[Edge, ...] = Field((), description="Sites behind a DDoS protection, and their origins.")
    mesh: MeshOptions | None = Field(None, description="The service mesh, where that is Istio.")
    linkerd: LinkerdOptions | None = Field(None, description="The service mesh, where that is Linkerd.")


class NetworkSecurity(Collector[NetworkSecuritySettings, NoTarget]):
    """Tries connections from where attackers and users are."""

    Settings = NetworkSecuritySettings
    rights = """\
A blackbox_exporter outside the network (clients.blackbox) with a module that connects by TCP; for canaries one in each of two pods.
With `security_groups`: ec2:DescribeSecurityGroups, ec2:DescribeNetworkInterfaces, ec2:GetManagedPrefixListEntries.
With `aws_resource`: wafv2:GetWebACLForResource, shield:DescribeProtection, shield:DescribeSubscription.
"""

    def _unset(self, option: str) -> Result:
        return unknown(f"Option {option} is not set, so nothing was checked.", reason=Reason.NOT_CONFIGURED)

    @item(
        "Firewall rules are configured correctly",
        severity=CRITICAL,
        needs=(
            "with `hosts`: clients.blackbox",
            "with `security_groups`: clients.aws",
            "with `stores`: clients.kubernetes",
            _STORES,
            _TCP_SERVICES,
            DISCOVERY,
            "option hosts, security_groups or stores",
        ),
    )
    async def firewall_rules_configured(self) -> Result:
        """A port that is open to the internet is found within minutes.

        The ports of each of `hosts` are tried from a blackbox_exporter outside. Those in `open` must be open: without one of them
        in the same run, closed ports may only show that the host is gone. Those in `closed` must be dropped or rejected;
        one that refuses the connection is a warning, because there a packet arrived. Of a name, every public address is tried.
        `control`, a host that no firewall protects, shows that the network outside lets these ports out: without it, closed ports
        are unknown.
        With `security_groups`, no security group of AWS that a network interface has may let the internet in on its ports, also by
        ranges that are the internet only together, and by prefix lists. With `stores`, no Service of a data store may be opened by
        a load balancer with a public address that takes connections from everywhere, by a node port or by externalIPs, none of
        its pods may take a port of its node, and nothing may lead to it from a public address: no Ingress, no route of the Gateway
        API, of Istio or of an ingress controller, and no map of TCP ports.

        How to fix it: deny by default, and allow only what is published.
        """
        groups = self.settings.security_groups
        if not self.settings.hosts and groups is None and self.settings.stores is None:
            return self._unset("hosts")
        problems: list[Result] = []
        seen: list[str] = []
        if groups is not None:
            try:
                found = await fetch_groups(self.client(Aws), groups)
                problems += group_problems(found, groups)
                seen.append(
                    f"none of {counted(sum(group.used for group in found), 'security group')} in use lets the internet in on "
                    f"{counted(len(groups.ports), 'port')}"
                )
            except ProbeError as why:
                problems.append(unobserved(why))
        if self.settings.stores is not None:
            try:
                found_open, count = await self._opened(self.settings.stores)
                problems += found_open
                seen.append(
                    f"{counted(count, 'Service')} of data stores {'is' if count == 1 else 'are'} not opened to the outside"
                )
            except ProbeError as why:
                problems.append(unobserved(why))
        for host in self.settings.hosts:
            try:
                problems += await self._firewall(host)
            except ProbeError as why:
                problems.append(unobserved(why))
        ports = counted(sum(len(host.closed) for host in self.settings.hosts), "port")
        hosts = counted(len(self.settings.hosts), "host")
        if self.settings.hosts:
            seen.append(f"from outside, {ports} of {hosts} are filtered, and the published ones are open")
        else:
            seen.append("nothing was tried from outside")
        sentence = "; ".join(seen)
        judged = verdict(problems, ok(f"{sentence[:1].upper()}{sentence[1:]}."))
        return with_exemptions(judged, self.settings.stores) if self.settings.stores else judged

    async def _opened(self, options: StoreServices) -> tuple[list[Result], int]:
        """What opens data stores to the outside of the cluster, and how many Services there are of them."""
        client = self.client(Kubernetes)
        scope = demand_namespaces(options.of((await client.list(NAMESPACES)).items, client.settings.namespaces))
        pods = scope.within((await client.list(STORE_PODS)).items)
        found = await fetch_entrances(client)
        services = exposed_services(scope.within(found.services), pods, options)
        try:
            written = (await client.list(STORE_ENDPOINTS)).items
            services |= exposed_by_hand(found.services, written, pods, options)
        except ProbeError as why:
            found.unread.append(why)
        known = with_other_names(services, found.services)
        opened = (
            {**services, **mapped_ports(found.controllers, found.maps, found.services, known)} if services else services
        )
        names = {name: port.port.port for service, (port, *_) in opened.values() for name in hostnames(service)}
        names |= {name: 443 for one in found.entrances for name in one.addresses if not _is_address(name)}
        resolved = {name: await attempt(resolve(name, port)) for name, port in names.items()}
        judged = [*map(unobserved, found.unread), *opened_problems(opened, pods, options, resolved)]
        judged += mapped_problems(found.controllers, found.maps, found.services, known)
        judged += entrance_problems(found.entrances, known, resolved)
        return [*judged, *scope_problems(scope)], len(services)

    async def _firewall(self, host: Guarded) -> list[Result]:
        """What is wrong with the ports of a host, at every address that it has. Raises ProbeError where nobody says."""
        outside = self.client(Blackbox)
        problems: list[Result] = []
        for name in await _public(host.host, host.open[0]):
            opened = [await outside.knock(f"{name}:{port}", host.module) for port in host.open]
            closed = await asyncio.gather(*(outside.knock(f"{name}:{port}", host.module) for port in host.closed))
            opened += [await outside.knock(opened[0].target, host.module)]  # still there
            problems += firewall_problems(opened, closed, name)
            if host.control is None:
                problems += untried_egress_problems(closed, host.host)
        if host.control is not None:
            control = (outside.knock(f"{host.control}:{port}", host.module) for port in host.closed)
            problems += egress_problems(await asyncio.gather(*control))
        return problems

    @item("Network policies are enforced", severity=CRITICAL, needs=("option canary_pods or canaries",))
    async def network_policies_enforced(self) -> Result:
        """A network policy is only an object where the network plug-in does not enforce it.

        Each of `canary_pods` is a pair as the chart installs it, and all its pods are asked for their metrics; each of `canaries`
        is a pair of pods with a blackbox_exporter. One of them may connect to the service and must be able to,
        the other may not: its packets must be dropped or rejected, while it reaches `denied_control`, which shows that it works.

        How to fix it: use a network plug-in that enforces policies (Cilium, Calico), ready on every node, and deny by default.
        """
        if not self.settings.canaries and not self.settings.canary_pods:
            return self._unset("canary_pods")
        problems: list[Result] = []
        closed = len(self.settings.canaries)
        for pair in self.settings.canary_pods:
            try:
                allowed = [tried for _, tried in await _canary_pods(pair.allowed)]
                denied = await _canary_pods(pair.denied)
                problems += pair_problems(pair, allowed, denied)
                closed += sum(len(tried.closed) for _, tried in denied)
            except ProbeError as why:
                problems.append(unobserved(why))
        for canary in self.settings.canaries:
            try:
                problems += await self._canary(canary)
            except ProbeError as why:
                problems.append(unobserved(why))
        paths = counted(closed, "path")
        return verdict(problems, ok(f"{paths} that policies deny could not be used, while allowed ones could."))

    async def _canary(self, canary: Canary) -> list[Result]:
        allowed, denied = (Http(HttpSettings(url=url)) for url in (canary.allowed, canary.denied))
        try:
            return list(
                policy_problems(
                    canary,
                    denied=await blackbox.knock(denied, canary.target, canary.module),
                    allowed=await blackbox.knock(allowed, canary.target, canary.module),
                    control=await blackbox.knock(denied, canary.denied_control, canary.module),
                )
            )
        finally:
            await allowed.close()
            await denied.close()

    @item("API gateway is operational", severity=CRITICAL, needs=("option gateways",))
    async def api_gateway_operational(self) -> Result:
        """A gateway that calls itself live may have no service behind it that answers.

        Each route of each of `gateways` is asked several times, at every address of its name, and must answer with the status
        and with a text that only the service behind the gateway has; a last time with a query that no cache has, and by OPTIONS,
        which must not be answered with an error of the gateway; a path beside it that does not exist must get another answer. Of
        the last 30 requests, those of earlier runs too, fewer than one in twenty may fail. Its own health is not asked: HAProxy's
        monitor-uri and Envoy's /ready are 200 with all backends dead.

        How to fix it: see the gateway's log for the upstream of the route that is named.
        """
        if not self.settings.gateways:
            return self._unset("gateways")
        problems: list[Result] = []
        for gateway in self.settings.gateways:
            for route in gateway.routes:
                replies = await gateways.ask_route(gateway, route)
                uncached = await attempt(gateways.ask_uncached(route.url))
                problems += route_problems(gateway, route, replies, uncached, await gateways.ask_beyond(route))
                problems += lapse_problems(gateway, route, self._lately(route, [uncached, *replies]))
        routes = counted(sum(len(gateway.routes) for gateway in self.settings.gateways), "route")
        return verdict(
            problems,
            ok(f"{routes} through {listed(one.name for one in self.settings.gateways)} reached their services."),
        )

    def _lately(self, route: Route, replies: Iterable[Reply | ProbeError]) -> list[bool]:
        """Whether the service answered each of the last requests to a route; an outage that is over is no lapse."""
        known: dict[str, deque[bool]] = self.context.memory.setdefault("requests to routes", {})
        lately = known.setdefault(f"{route.url} {route.status} {route.contains}", deque(maxlen=_REQUESTS))
        found = [served(route, reply) for reply in replies]
        lately.extend(found)
        if not any(found):
            lately.clear()
        return list(lately)

    @item(
        "Rate limiting is enforced at gateway level",
        severity=WARNING,
        needs=("option limits", "option allow_intrusive"),
    )
    async def gateway_rate_limiting_enforced(self) -> Result:
        """Without a limit in front of them, applications are busy refusing.

        With `allow_intrusive`, each of `limits` is asked up to `burst` times in a row, until a request is refused by 429, 403, or
        by 503 as nginx does by default; after `recovery` it must answer again, which distinguishes a limit from an outage. The
        refusal must be the gateway's: an application's has the headers that its other answers have. Another query, User-Agent or
        X-Forwarded-For must not get around it.

        How to fix it: limit_req in nginx, a stick table in HAProxy, local_ratelimit in Envoy, a plug-in of the gateway.
        """
        if not self.settings.limits:
            return self._unset("limits")
        if not self.settings.allow_intrusive:
            return unknown("Option allow_intrusive is not set, so no burst was sent.", reason=Reason.NOT_CONFIGURED)
        problems: list[Result] = []
        for limit in self.settings.limits:
            try:
                problems += limit_problems(limit, await gateways.burst(limit))
            except ProbeError as why:
                problems.append(unobserved(why))
        return verdict(
            problems, ok(f"The gateway limited {counted(len(self.settings.limits), 'route')}, and recovered.")
        )

    @item(
        "Service mesh is configured (if applicable)",
        severity=INFO,
        needs=("option mesh or linkerd, with clients.kubernetes", _MESH, _LINKERD, _TRUST, DISCOVERY),
    )
    async def service_mesh_configured(self) -> Result:
        """A mesh encrypts between the proxies that are there; a pod without one sends and accepts plaintext, unnoticed.

        Of Istio, in the namespaces of `mesh` or else in all that are labelled for it: istiod is ready; every running pod has a
        sidecar or, ambient, is redirected to a ready ztunnel; the PeerAuthentication that applies to it, from the root namespace
        down to its ports, is STRICT; no DestinationRule turns TLS off for services of the mesh; proxies are at most
        `max_minor_skew` minor versions older than istiod, and none is newer. Objects cannot show that plaintext is refused:
        that was not tried.

        Of Linkerd, by `linkerd`: its control plane is ready; every running pod has a proxy; each port that pods declare lets in
        callers with an identity alone, by the Server, AuthorizationPolicies and ServerAuthorizations that are about it, or else by
        the default policy; no annotation lets traffic past the proxy; the trust anchors, and an issuer of cert-manager, are valid.

        To fix it: label the namespace and restart its pods; set PeerAuthentication to STRICT in the root namespace; exempt what
        must stay outside, with the reason (`exempt_workloads`). Without a mesh, declare the line `not_applicable`.
        """
        istio, linkerd = self.settings.mesh, self.settings.linkerd
        if istio is None and linkerd is None:
            return self._unset("mesh")
        return await worst_of(
            *([self._istio(istio)] if istio is not None else []),
            *([self._linkerd(linkerd)] if linkerd is not None else []),
        )

    def _demand_control_plane(self, namespace: str) -> Sequence[str]:
        """The namespaces that the client is limited to. Raises ProbeError where the control plane's is none of them."""
        read = self.client(Kubernetes).settings.namespaces
        if read and namespace not in read:
            raise ProbeError(
                f"{namespace} is not among clients.kubernetes.namespaces, so the mesh was not checked.",
                Reason.NOT_CONFIGURED,
            )
        return read

    async def _linkerd(self, options: LinkerdOptions) -> Result:
        client, place = self.client(Kubernetes), options.control_plane_namespace
        read = self._demand_control_plane(place)
        scope = demand_namespaces(options.of((await client.list(NAMESPACES)).items, read))
        servers = await self._in_any_version(*SERVERS)
        if servers is None:
            return failed(
                "The cluster has no Server of policy.linkerd.io: Linkerd is not installed.", reason=Reason.MISSING
            )
        annotated = {
            one.metadata.name: one.metadata.annotations
            for one in (await client.list(LINKERD_NAMESPACES)).items
            if one.metadata.name in scope.namespaces
        }
        trust = await client.read(TRUST_ROOTS, TRUST_ROOTS_NAME, place)
        identities = await self._in_any_version(MESH_TLS_AUTHENTICATIONS) or ()
        mesh = LinkerdMesh(
            namespaces=annotated,
            pods=(await client.list(LINKERD_PODS)).items,
            servers=servers,
            authorizations=await self._in_any_version(SERVER_AUTHORIZATIONS) or (),
            policies=await self._in_any_version(AUTHORIZATION_POLICIES) or (),
            identities=frozenset((one.namespace, one.metadata.name) for one in identities),
            trust=trust[0] if trust else None,
            issuers=await self._in_any_version(ISSUER_CERTIFICATES),
            now=self.context.now(),
        )
        judged = worst(judge_linkerd(mesh, options), *scope_problems(scope))
        return with_selectors(with_exemptions(judged, options), client.settings.selectors)

    async def _istio(self, options: MeshOptions) -> Result:
        client = self.client(Kubernetes)
        read = self._demand_control_plane(options.root_namespace)
        namespaces = (await client.list(NAMESPACES)).items
        scope = demand_namespaces(options.of(namespaces, read))
        policies = await self._in_any_version(*PEER_AUTHENTICATIONS)
        if policies is None:
            return failed("The cluster has no PeerAuthentication: Istio is not installed.", reason=Reason.MISSING)
        labels = {name: namespace.metadata.labels for name, namespace in scope.namespaces.items()}
        pods = (await client.list(MESH_PODS)).items
        rules = await self._in_any_version(*DESTINATION_RULES) or ()
        seen = judge_mesh(Mesh(labels, pods, policies, rules), options)
        judged = with_exemptions(worst(seen, *scope_problems(scope)), options)
        return with_selectors(judged, client.settings.selectors)

    async def _in_any_version(self, *kinds: Kind[T]) -> Sequence[T] | None:
        """The objects of a kind in the first of its versions that the cluster serves; None where it serves none."""
        *newer, oldest = kinds
        for kind in newer:
            try:
                return (await self.client(Kubernetes).list(kind)).items
            except OtherVersions:
                continue
            except NotServed:
                return None
        try:
            return (await self.client(Kubernetes).list(oldest)).items
        except NotServed:
            return None

    @item(
        "DDoS protection is active",
        severity=WARNING,
        mode=Mode.PROBE_AND_EVIDENCE,
        needs=("option edges or evidence", "with `aws_resource`: clients.aws"),
        evidence=EvidenceRule(valid_for=timedelta(days=180)),
    )
    async def ddos_protection_active(self) -> Result:
        """A protection that can be gone around protects nothing: attackers look for the origin first.

        Each of `edges` must answer through a CDN or protection that is known by its headers, or its `aws_resource` must have Shield
        Advanced, or a web ACL with a rule that blocks by rate and does not only count; and each of its `origins` must refuse
        direct requests for the site, asked in the same run. One that takes no connection from the exporter is tried from
        outside as well (`tcp_connect` of clients.blackbox); without that it is a warning. Without `edges` or without their
        origins, a record is needed, at most 180 days old, that says what protects the site; what is observed live outweighs it.

        How to fix it: let the origin's firewall accept the protection's addresses only, or ask for its client certificate. Record
        it: `checklist-exporter attest network_security.ddos_protection_active`.
        """
        if not self.settings.edges:
            return await self.attested("ddos_protection_active")
        problems: list[Result] = []
        for edge in self.settings.edges:
            try:
                reply = await gateways.ask_uncached(edge.url)
                origins = {origin: await attempt(gateways.ask_origin(edge, origin)) for origin in edge.origins}
            except ProbeError as why:
                problems.append(unobserved(why))
            else:
                problems += edge_problems(edge, reply, origins)
                problems += await self._protection(edge)
                for origin in (origin for origin, answer in origins.items() if answer is None):
                    problems += collected(await self._also_outside(origin))
        sites = counted(len(self.settings.edges), "site")
        live = verdict(
            problems, ok(f"{sites} answered through a protection, and their origins refused direct requests.")
        )
        if live.status is Status.OK and not all(edge.origins for edge in self.settings.edges):
            bare = [edge.url for edge in self.settings.edges if not edge.origins]
            attested = await self.attested("ddos_protection_active")
            seen = ok(f"{sites} answered through a protection; origins of {listed(bare)} were not checked.")
            return worst(attested, seen) if attested.status.is_ok else attested
        return live

    async def _protection(self, edge: Edge) -> Iterable[Result]:
        """What AWS says of the resource that a site comes through."""
        if edge.aws_resource is None:
            return ()
        try:
            found = await fetch_protection(self.client(Aws), edge.aws_resource)
        except ProbeError as why:
            return (unobserved(why),)
        return protection_problems(found, self.context.now())

    async def _also_outside(self, origin: str) -> Iterable[Result]:
        """An origin that takes no connection from here may take those from the internet."""
        if not self.has_client(Blackbox):
            here = (
                f"Origin {origin} took no connection from the exporter's own network; from outside it was not tried, "
            )
            return (warning(f"{here}because clients.blackbox is not configured."),)
        try:
            knock = await self.client(Blackbox).knock(origin, _TCP)
        except ProbeError as why:
            return (unobserved(why),)
        return origin_problems(knock)


_TCP = "tcp_connect"
_REQUESTS = 30
"""To a route, of which it is known how they went: those of two hours and a half."""


async def _public(host: str, port: int) -> list[str]:
    """The public addresses of a name; the name alone where it has none here, as inside a network that names hosts in its own way.

    Those of the loopback count: the exporter outside is on this machine then.
    """
    try:
        found = [ipaddress.ip_address(one) for one in await resolve(host.strip("[]"), port)]
    except (ProbeError, ValueError):
        return [host]
    public = [f"[{one}]" if one.version == 6 else str(one) for one in found if one.is_global or one.is_loopback]
    return public if len(public) > 1 else [host]


async def _canary_pods(url: str) -> list[tuple[str, Tried]]:
    """What each pod behind the name of a headless Service shows, with its address. Raises ProbeError where one shows nothing."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    found = [f"{parts.scheme}://{address_and_port(one, port)}" for one in await resolve(parts.hostname or "", port)]
    return list(zip(found, await asyncio.gather(*map(blackbox.ask_canary, found)), strict=True))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
