"""Kubernetes Cluster"""

from __future__ import annotations

import asyncio
from collections.abc import Container, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
from pydantic import Field

from collectors.shared.decoding import UNDECODABLE
from collectors.shared.verdicts import verdict
from collectors.systems.kubernetes.check.clusters import OWNER_RIGHTS, PLANNED_RIGHTS, OfCluster, ScopedTarget
from collectors.systems.kubernetes.client.cluster import Kubernetes, NotServed
from collectors.systems.kubernetes.judge.autoscalers import HpaOptions, VpaOptions, judge_hpas, judge_vpas, vpa_helpers
from collectors.systems.kubernetes.judge.cluster import (
    ControlPlaneOptions,
    NodeOptions,
    VersionOptions,
    is_dns,
    judge_api_services,
    judge_clock,
    judge_critical,
    judge_health,
    judge_leases,
    judge_nodes,
    judge_static_pods,
    judge_version,
    lease_path,
)
from collectors.systems.kubernetes.judge.ingress import IngressOptions, Routing, judge_ingress
from collectors.systems.kubernetes.judge.network_policies import NetworkPolicyOptions, judge_network_policies
from collectors.systems.kubernetes.judge.pod_security import ENFORCE, PodSecurityOptions, judge_pod_security
from collectors.systems.kubernetes.judge.quotas import QuotaOptions, judge_quotas
from collectors.systems.kubernetes.judge.webhooks import judge_webhooks
from collectors.systems.kubernetes.judge.workloads import Reference, Workload, workload_key
from collectors.systems.kubernetes.model.kind import Kind
from collectors.systems.kubernetes.model.kinds import (
    API_SERVICES,
    DAEMON_SETS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    GATEWAY_CLASSES,
    GATEWAYS,
    HORIZONTAL_POD_AUTOSCALERS,
    HTTP_ROUTES,
    INGRESS_CLASSES,
    INGRESSES,
    LEASES,
    LIMIT_RANGES,
    MUTATING_WEBHOOKS,
    NAMESPACES,
    NETWORK_POLICIES,
    NODES,
    OTHER_NETWORK_POLICIES,
    OTHER_ROUTES,
    PODS,
    RESOURCE_QUOTAS,
    SERVICES,
    STATEFUL_SETS,
    VALIDATING_WEBHOOKS,
    VERTICAL_POD_AUTOSCALERS,
)
from collectors.systems.kubernetes.model.objects import Lease, Named, OtherPolicy, Route
from collectors.systems.kubernetes.model.other_policies import (
    DefaultDeny,
    default_denies,
    enforces_nothing,
    opens_nothing,
)
from collectors.systems.kubernetes.model.rbac import DISCOVERY, may_ask, may_get, may_list
from collectors.systems.kubernetes.model.scope import Scope
from exporter.collector import SectionSettings, item
from exporter.evidence.rules import EvidenceRule
from exporter.http import Http, HttpSettings
from exporter.verdict import CRITICAL, INFO, WARNING, ProbeError, Reason, Result, failed, ok, unobserved, worst
from exporter.words import listed

_WORKLOADS: Mapping[str, Kind[Any]] = {
    "Deployment": DEPLOYMENTS,
    "StatefulSet": STATEFUL_SETS,
    "DaemonSet": DAEMON_SETS,
}


_CALICO = "projectcalico.org"


class _Version(msgspec.Struct, frozen=True, rename="camel"):
    git_version: str


#: How long a declaration about the API server's own configuration holds, which nobody can see through the API.
_DECLARED = EvidenceRule(valid_for=timedelta(days=180))


class _Options(
    Scope,
    NodeOptions,
    VersionOptions,
    ControlPlaneOptions,
    NetworkPolicyOptions,
    PodSecurityOptions,
    QuotaOptions,
    HpaOptions,
    VpaOptions,
    IngressOptions,
):
    """What may be set for the section and for one target."""

    ingress_requests: tuple[HttpSettings, ...] = Field(
        (),
        description="Requests (GET) that are sent through the ingress, such as `{url: https://shop.example.com}`; any "
        "status below 500 counts as an answer.",
    )


class KubernetesTarget(ScopedTarget, _Options):
    """A part of the cluster: namespaces that are judged by the same limits."""


class ClusterSettings(SectionSettings, _Options):
    """Options of the section."""

    targets: tuple[KubernetesTarget, ...] = Field(
        min_length=1, description="The parts of the cluster to verify; one is enough when all have the same limits."
    )


class KubernetesCluster(OfCluster[ClusterSettings, KubernetesTarget]):
    """Asks what the cluster is, how it is guarded, and what leads into it."""

    Settings = ClusterSettings
    Target = KubernetesTarget

    @classmethod
    def provides(cls, target: KubernetesTarget) -> Mapping[str, Iterable[str]]:
        """The API server, which every line asks that reads the cluster."""
        return {"nodes_ready": [Kubernetes.name]}

    @item(
        "Cluster is healthy and all nodes are in Ready state",
        severity=CRITICAL,
        needs=(may_list(NODES), may_ask("/readyz")),
        judged_by=(NodeOptions,),
    )
    async def nodes_ready(self) -> Result:
        """Pods of a node that is not Ready are started elsewhere, if there is room; without room they are gone.

        The API server answers /readyz with 200, and every node is Ready, without pressure on memory, disk or process ids, with its
        network set up, and without any problem condition set by others, such as node-problem-detector or the cloud. A node
        may have a problem for `node_grace`, as starting and draining nodes do; nothing is known about one whose kubelet has
        not reported for `node_max_silence`. More than `max_cordoned` cordoned nodes are a warning: a drain that was never
        finished; when every one of several is, or is closed by a taint of its cloud, its agents or an autoscaler, no new pod can be
        placed, and the line fails. It also fails for a taint of the cloud that keeps pods off a node; one of an agent that has not
        started, and a node that is deleted and stays for `node_grace`, are warnings.

        To fix it: `kubectl describe node` shows why, then the kubelet's log on it; `kubectl uncordon` after maintenance.
        """
        nodes = await self.snapshot(NODES)
        reply = await self.client(Kubernetes).get("/readyz")
        health = judge_health("/readyz", reply.status, reply.text)
        return self.with_selectors(worst(judge_nodes(nodes.items, self.target, nodes.taken), health))

    @item(
        "Verify cluster version meets minimum requirements (≥ 1.25)",
        severity=WARNING,
        needs=(may_list(NODES), may_ask("/version")),
        judged_by=(VersionOptions,),
    )
    async def version_supported(self) -> Result:
        """A version that gets no more patches keeps every vulnerability that is found in it.

        The API server's gitVersion is at least `min_version`, and each kubelet is no newer and at most three minor versions
        older, as the skew policy allows; virtual kubelets have their own versions and are left out. A version that gets no
        more patches is a warning: by `supported_minor`, or by the end of support that kubernetes.io lists, as known to this
        exporter. When that list is over a year old, it is a warning too.

        To fix it: upgrade one minor version at a time, the control plane first, then the nodes.
        """
        nodes = await self.everything(NODES)
        return self.with_selectors(
            judge_version(await self._git_version(), nodes, self.target, self.context.now().date())
        )

    async def _git_version(self) -> str:
        """The API server's version. Raises ProbeError when it does not report it."""
        reply = await self.client(Kubernetes).get("/version")
        try:
            if reply.status == 200:
                return msgspec.json.decode(reply.body, type=_Version).git_version
        except UNDECODABLE as error:
            raise ProbeError(f"{reply.where} answered in an unexpected format: {error}.", Reason.MALFORMED) from None
        raise ProbeError(f"{reply.where} answered {reply.status}, so the version was not checked.", Reason.REFUSED)

    @item(
        "Check Kubernetes control plane components are running",
        severity=CRITICAL,
        needs=(
            may_list(API_SERVICES, PODS, DEPLOYMENTS, DAEMON_SETS, SERVICES, ENDPOINT_SLICES),
            may_list(VALIDATING_WEBHOOKS, MUTATING_WEBHOOKS),
            may_get(LEASES, "kube-controller-manager", "kube-scheduler", namespace="kube-system"),
            may_ask("/livez", "/readyz"),
        ),
        judged_by=(ControlPlaneOptions,),
    )
    async def control_plane_running(self) -> Result:
        """Without a scheduler or controllers everything continues, until the first pod dies and nobody replaces it.

        The API server answers /readyz and /livez with 200; kube-controller-manager and kube-scheduler have renewed their Leases
        within `lease_max_age`, which they do every few seconds; every APIService is available; the cluster's DNS has ready
        endpoints; Deployments and DaemonSets of a system-critical priority class have ready pods (some missing is a warning); the
        Services of webhooks without whose answer no pod starts have ready endpoints; the control plane's own pods are Ready where
        kubelets show them. A Lease that does not exist is unknown: providers may hide it,
        and leader election may be off, which an empty `control_plane_leases` declares. The old componentstatuses are not
        used: they have been wrong for years. A clock that is off is a warning.

        To fix it: check the log of the part that is named; an APIService that is not available names the service that should
        answer.
        """
        client, target = self.client(Kubernetes), self.target
        leases: dict[str, Lease | None] = {}
        for name in target.control_plane_leases:
            namespace, own_name = lease_path(name)
            read = await client.read(LEASES, own_name, namespace)
            leases[name] = read[0] if read else None
        replies = {path: await client.get(path) for path in ("/readyz", "/livez")}
        now = replies["/livez"].at
        pods, services = await client.list(PODS), await self.everything(API_SERVICES)
        health = [judge_health(path, reply.status, reply.text) for path, reply in replies.items()]
        problems = [seen for seen in health if not seen.status.is_ok]
        problems += judge_leases(leases, target, now)
        problems += judge_api_services(services, now)
        problems += await self._critical_problems()
        problems += judge_static_pods(pods.items, pods.taken)
        problems += judge_clock(now, self.context.now(), target)
        renewed = f", {listed(leases)} renew their Leases," if leases else ""
        good = ok(f"The API server is ready and alive{renewed} and every APIService ({len(services)}) is available.")
        return self.with_selectors(verdict(problems, good))

    async def _critical_problems(self) -> list[Result]:
        """What is wrong with what a cluster does not work without: its DNS, critical workloads, webhooks that stop every pod."""
        workloads: list[Workload] = [*await self.everything(DEPLOYMENTS), *await self.everything(DAEMON_SETS)]
        services, slices = await self.snapshot(SERVICES), await self.everything(ENDPOINT_SLICES)
        webhooks = [*await self.everything(VALIDATING_WEBHOOKS), *await self.everything(MUTATING_WEBHOOKS)]
        dns = [found for found in services.items if is_dns(found)]
        if {SERVICES.plural, ENDPOINT_SLICES.plural} & set(self.client(Kubernetes).settings.selectors):
            return list(judge_critical(workloads, dns or None, slices))  # what is missing may have been left out
        problems = list(judge_critical(workloads, dns, slices))
        return [*problems, *judge_webhooks(webhooks, services.items, slices, services.namespaces)]

    @item(
        "Verify network policies are properly configured",
        severity=WARNING,
        needs=(
            may_list(NAMESPACES, PODS, NETWORK_POLICIES, *OTHER_NETWORK_POLICIES),
            OWNER_RIGHTS,
            PLANNED_RIGHTS,
            DISCOVERY,
        ),
    )
    async def network_policies_configured(self) -> Result:
        """Without a policy every pod may talk to every other one: a compromised pod reaches the databases.

        Each namespace has a policy that selects all pods and opens only some traffic, in both directions, and every pod is
        selected in both, those of CronJobs between runs and of workloads at zero too. None allows everything, alone
        or with others that select the same pods: all traffic, or (nearly) all ports of a protocol, of (nearly) all addresses
        or of every pod of the cluster. Policies are judged by
        what they select among the namespaces and pods that exist, not by how they are written. Pods on the host's network are
        not judged, as policies do not apply to them. Policies of Cilium, Calico, Antrea and AWS and (Baseline)AdminNetworkPolicies
        that select every pod and allow nothing count as default denies, and those that only deny open nothing. All others, whoever
        made them, are discovered but not judged: the line is then unknown, unless `other_policies_accepted` gives the reason why
        they do not matter.
        `default_denied_by` declares namespaces whose default deny is one of those. Whether the network enforces policies is
        verified by another line.

        To fix it: add a NetworkPolicy with an empty podSelector and both policyTypes, then one for each connection that is needed.
        """
        scope = await self.scope()
        policies = scope.within(await self.everything(NETWORK_POLICIES))
        pods = [*await self.pods(), *await self.planned()]
        others: dict[str, int] = {}
        closing: dict[str, int] = {}
        denying: list[DefaultDeny] = []
        known = {str(kind): kind for kind in OTHER_NETWORK_POLICIES}
        kinds: list[Kind[Any]] = [*known.values(), *await self._unknown_network_policies(known)]
        for kind in kinds:
            if kind.group == _CALICO and f"{kind.plural}.crd.{_CALICO}" in others:
                continue  # they are the same
            if (found := await self.if_served(kind)) is not None:
                others[str(kind)] = 0
                for one in found:
                    if kind.namespaced and one.namespace not in scope.namespaces:
                        continue
                    is_read = isinstance(one, OtherPolicy)
                    if is_read and (denies := default_denies(kind.group, one, scope.namespaces.values())):
                        denying += denies
                        continue
                    count = closing if is_read and opens_nothing(kind.group, one) else others
                    count[str(kind)] = count.get(str(kind), 0) + 1
        return await self.in_scope(
            judge_network_policies(
                scope.namespaces.values(),
                pods,
                [*policies, *(deny.policy for deny in denying)],
                self.target,
                whole=await self.everything(NAMESPACES),
                everywhere=await self.everything(PODS),
                others=others,
                closing=closing,
                leaving={deny.policy.path: deny.leaves for deny in denying},
                exempt=self.target.exempts,
            )
        )

    async def _unknown_network_policies(self, known: Container[str]) -> list[Kind[Named]]:
        """Other kinds of network policies that the cluster serves, whoever made them."""
        served = await self.client(Kubernetes).kinds("networkpolic")
        return [
            kind
            for kind in served
            if str(kind) not in known
            and str(kind) != str(NETWORK_POLICIES)
            and not enforces_nothing(kind.group, kind.plural)
        ]

    @item(
        "Confirm pod security policies are enforced",
        severity=CRITICAL,
        needs=(may_list(NAMESPACES, PODS), OWNER_RIGHTS, PLANNED_RIGHTS, "with `psa_cluster_default`: a record of it"),
    )
    async def pod_security_enforced(self) -> Result:
        """A privileged pod owns its node, and with it every pod and secret there; only admission prevents its creation.

        PodSecurityPolicy was removed in 1.25. Each namespace has the label pod-security.kubernetes.io/enforce with at least
        `psa_min_level` (the labels audit and warn enforce nothing), and all running pods meet that level, as the label
        applies when a pod is created and not to existing ones. The API does not show the server's own default for namespaces
        without a label: `psa_cluster_default` declares it, with a record of this line that is not older than 180 days. Other
        means, such as Kyverno, are declared for a namespace in `psa_enforced_by`.

        To fix it: label the namespace with warn first, change the workloads that it names, then label it with enforce.
        """
        scope = await self.scope()
        pods = [*await self.pods(), *await self.planned()]
        judged = judge_pod_security(scope.namespaces.values(), pods, self.target, self.target.exempts)
        result = await self.in_scope(judged)
        unlabelled = [name for name, found in scope.namespaces.items() if ENFORCE not in found.metadata.labels]
        if self.target.psa_cluster_default is None or not unlabelled:
            return result
        return worst(result, await self.context.evidence.judge(self.section(), "pod_security_enforced", _DECLARED))

    @item(
        "Validate resource quotas and limits are set",
        severity=WARNING,
        needs=(may_list(NAMESPACES, PODS, RESOURCE_QUOTAS, LIMIT_RANGES), OWNER_RIGHTS),
    )
    async def quotas_and_limits_set(self) -> Result:
        """Without quotas one namespace takes the entire cluster, by a mistake in one number of replicas.

        Each namespace has ResourceQuotas for CPU and memory that count all its pods (one with scopes counts only some), and a
        LimitRange that gives containers default requests and limits, but for those that such a quota demands of every pod. With
        `cpu_limit_policy: advisory` no default CPU limit is needed. A quota that is used to more than `quota_warn` is a warning:
        when it is used up, the next rollout waits forever. Few objects (1 of 1 load balancers) may all be in use.
        A default above what the quota allows in all is a warning, too.

        To fix it: add a ResourceQuota with requests.cpu, requests.memory, limits.memory, and a LimitRange with default and
        defaultRequest.
        """
        scope = await self.scope()
        quotas = scope.within(await self.everything(RESOURCE_QUOTAS))
        ranges = scope.within(await self.everything(LIMIT_RANGES))
        counted = [found for found in await self.pods() if not self.target.exempts(found)]
        return await self.in_scope(judge_quotas(scope.namespaces.values(), quotas, ranges, counted, self.target))

    @item(
        "Check horizontal pod autoscaler is configured",
        severity=WARNING,
        needs=(may_list(NAMESPACES, HORIZONTAL_POD_AUTOSCALERS),),
    )
    async def hpa_configured(self) -> Result:
        """A workload that does not scale answers slowly at noon and costs money at night.

        Each workload of `hpa_required` is the target of one HorizontalPodAutoscaler, and all that there are work: AbleToScale
        and ScalingActive are True, scaling up is not Disabled, the minimum is at least `hpa_min_replicas`, the maximum is above
        it. One that wants more than its maximum for long is a warning, as is one whose workload is scaled to zero, unless KEDA
        did so. There must be at least one.

        To fix it, see the conditions that `kubectl describe hpa` shows: FailedGetResourceMetric means that metrics-server is
        missing, or that a container has no CPU request.
        """
        hpas = await self.scaling(HORIZONTAL_POD_AUTOSCALERS, self.target.hpa_required)
        taken = (await self.snapshot(HORIZONTAL_POD_AUTOSCALERS)).taken
        return await self.in_scope(judge_hpas(hpas, self.target, taken))

    @item(
        "Verify vertical pod autoscaler is configured",
        severity=INFO,
        needs=(may_list(NAMESPACES, VERTICAL_POD_AUTOSCALERS, HORIZONTAL_POD_AUTOSCALERS, DEPLOYMENTS), DISCOVERY),
    )
    async def vpa_configured(self) -> Result:
        """Requests that were guessed once are wrong for most of the time; a VerticalPodAutoscaler measures what is used.

        The cluster serves VerticalPodAutoscalers, the recommender (`vpa_recommender`) runs, each workload of `vpa_required` is the
        target of one, and all of them recommend: RecommendationProvided is True, and they match pods. Update mode Off, which
        only recommends, is enough with `vpa_allow_off`; any other needs the updater and the admission controller beside the
        recommender. Warnings are the mode Auto, which is deprecated, two autoscalers of one workload, and one that is scaled
        horizontally by the same metric. Where the product does without, declare the line not applicable.

        To fix it: install the autoscaler's CustomResourceDefinitions and recommender, and one object for each workload.
        """
        try:
            vpas = await self.scaling(VERTICAL_POD_AUTOSCALERS, self.target.vpa_required)
        except NotServed:
            return failed(
                "The cluster serves no VerticalPodAutoscalers: their CustomResourceDefinition is not installed.",
                reason=Reason.MISSING,
            )
        hpas = await self.everything(HORIZONTAL_POD_AUTOSCALERS)
        reference = self.target.vpa_recommender
        helpers = {
            name: await self._workload(name) for name in (vpa_helpers(reference) if reference is not None else ())
        }
        recommender = await self._recommender()
        return await self.in_scope(judge_vpas(vpas, self.target, recommender=recommender, helpers=helpers, hpas=hpas))

    async def _recommender(self) -> Workload | None:
        """The workload that recommends; None when it does not exist, or the provider hides it."""
        reference = self.target.vpa_recommender
        return await self._workload(reference) if reference is not None else None

    async def _workload(self, reference: Reference) -> Workload | None:
        """The workload that an option names; None when it does not exist.

        Raises ProbeError when the client leaves its namespace out, and for a kind that is not known.
        """
        namespace, kind, name = workload_key(reference)
        if kind not in _WORKLOADS:
            raise ProbeError(
                f"{reference} is a {kind}, of which it is not known when it works (known: {listed(_WORKLOADS)}).",
                Reason.NOT_CONFIGURED,
            )
        found = await self.snapshot(_WORKLOADS[kind])
        if found.namespaces and namespace not in found.namespaces:
            raise ProbeError(
                f"{namespace} is not among clients.kubernetes.namespaces, so {reference} was not checked.",
                Reason.NOT_CONFIGURED,
            )
        return next((workload for workload in found.items if workload.path == f"{namespace}/{name}"), None)

    @item(
        "Confirm ingress controllers are operational",
        severity=CRITICAL,
        needs=(
            "option ingress_controllers",
            may_list(NAMESPACES, DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS, SERVICES, ENDPOINT_SLICES),
            may_list(INGRESSES, INGRESS_CLASSES, GATEWAYS, GATEWAY_CLASSES, HTTP_ROUTES),
            may_list(*(versions[0] for versions in OTHER_ROUTES)),
            DISCOVERY,
            "with `ingress_requests`: to reach these addresses",
        ),
    )
    async def ingress_operational(self) -> Result:
        """Nobody reaches a product whose ingress is down, however healthy everything behind it is.

        The workloads of `ingress_controllers` have all their replicas. Each Ingress has an existing class and an address; each
        Gateway is Accepted and Programmed, each HTTP, gRPC, TLS, TCP and UDP route is Accepted with its references resolved, by a
        controller that has observed its latest generation. Each of them leads to a port that its Service has and that Ready pods
        behind it serve. A controller that nothing is led through is a warning, unless `ingress_requests` show that it serves. Where
        neither IngressClass nor GatewayClass exists, Services of type LoadBalancer are checked instead. Each address of
        `ingress_requests` is requested with GET and must answer below 500. The retired ingress-nginx is a warning.

        To fix it: check the controller's log, and `kubectl get endpointslices` for a Service without ready endpoints.
        Controllers on ports of the host set no address: set `ingress_addresses: false`.
        """
        scope, target = await self.scope(), self.target
        snapshot = await self.snapshot(INGRESSES)
        routes: list[Route] = [*scope.within(await self.if_served(HTTP_ROUTES) or ())]
        for versions in OTHER_ROUTES:
            routes += scope.within(await self.in_any_version(*versions))
        gateways = await self.if_served(GATEWAYS) or ()
        named = {
            f"{parent.namespace or route.namespace}/{parent.name}"
            for route in routes
            for parent in route.spec.parent_refs or ()
        }
        references = dict.fromkeys((*target.ingress_controllers, *target.ingress_class_controllers.values()))
        services = await self.everything(SERVICES)
        entries = {*scope.namespaces, *(workload_key(reference)[0] for reference in references)}
        routing = Routing(
            {reference: await self._workload(reference) for reference in references},
            ingress_classes=await self.everything(INGRESS_CLASSES),
            ingresses=scope.within(snapshot.items),
            gateway_classes=await self.if_served(GATEWAY_CLASSES) or (),
            gateways=[found for found in gateways if found.namespace in scope.namespaces or found.path in named],
            routes=routes,
            services=services,
            endpoint_slices=await self.everything(ENDPOINT_SLICES),
            load_balancers=[
                found for found in services if found.spec.type == "LoadBalancer" and found.namespace in entries
            ],
        )
        judged = await self.in_scope(
            judge_ingress(routing, target, snapshot.taken, requested=bool(target.ingress_requests))
        )
        through = [bad for bad in await asyncio.gather(*map(self._through, target.ingress_requests)) if bad]
        if judged.status.is_ok and not through:
            names = listed(request.url for request in target.ingress_requests) if target.ingress_requests else ""
            asked = f"Through it, {names} answers." if names else "No request was sent through it."
            return replace(judged, summary=f"{judged.summary} {asked}")
        return worst(judged, *through)

    async def _through(self, request: HttpSettings) -> Result | None:
        """What is wrong with the answer to a request; nothing when it is one."""
        http = Http(request, connections=1)
        self.resources.push_async_callback(http.close)
        try:
            reply = await http.get(expect=None)
        except ProbeError as why:
            return unobserved(why)
        return (
            failed(f"{reply.where} answered {reply.status} (limit 499).", reason=Reason.DOWN)
            if reply.status >= 500
            else None
        )
