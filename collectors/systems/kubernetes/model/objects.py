"""Objects of the Kubernetes API but pods, with only the fields that verdicts need.

Fields follow the published API reference. A field that an API server leaves out has a default that makes nothing look healthy:
a phase that is not known is `Unknown`, a count of ready replicas is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, ClassVar, TypeVar

import msgspec
from msgspec import field

from collectors.systems.kubernetes.model.base import Amounts, Condition, OwnerReference, Struct
from collectors.systems.kubernetes.model.pods import TemplateItem

__all__ = [
    "Amounts",
    "ApiService",
    "Backend",
    "BackendReference",
    "Condition",
    "ContainerPolicy",
    "ContainerRecommendation",
    "CrdNames",
    "CrdVersion",
    "CronJob",
    "CronJobSpec",
    "CronJobStatus",
    "CustomResourceDefinition",
    "CustomResourceDefinitionSpec",
    "DaemonSet",
    "DaemonSetStatus",
    "Deployment",
    "EgressRule",
    "EndpointSlice",
    "Gateway",
    "GatewayAddress",
    "GatewayClass",
    "GatewaySpec",
    "GatewayStatus",
    "GrpcRoute",
    "HorizontalPodAutoscaler",
    "HorizontalPodAutoscalerSpec",
    "HorizontalPodAutoscalerStatus",
    "HttpRoute",
    "Ingress",
    "IngressClass",
    "IngressHost",
    "IngressRule",
    "IngressSpec",
    "IngressStatus",
    "IpBlock",
    "Job",
    "JobSpec",
    "JobStatus",
    "Lease",
    "LeaseSpec",
    "LimitRange",
    "LimitRangeItem",
    "LimitRangeSpec",
    "Listener",
    "LoadBalancerAddress",
    "Metadata",
    "Metric",
    "MetricTarget",
    "Named",
    "Namespace",
    "NetworkPolicy",
    "NetworkPolicySpec",
    "Node",
    "NodeCondition",
    "NodeInfo",
    "NodeSpec",
    "NodeStatus",
    "OtherPolicy",
    "OwnerReference",
    "ParentReference",
    "Peer",
    "PersistentVolumeClaim",
    "PodDisruptionBudget",
    "PodDisruptionBudgetSpec",
    "PodDisruptionBudgetStatus",
    "PolicyPort",
    "Recommendation",
    "ReplicaSet",
    "ReplicasSpec",
    "ReplicasStatus",
    "Requirement",
    "ResourceMetric",
    "ResourcePolicy",
    "ResourceQuota",
    "ResourceQuotaSpec",
    "ResourceQuotaStatus",
    "Route",
    "RouteFilter",
    "RouteParent",
    "RouteRule",
    "RouteSpec",
    "RouteStatus",
    "ScalingBehavior",
    "ScalingRules",
    "ScopeRequirement",
    "ScopeSelector",
    "Selector",
    "Service",
    "ServicePort",
    "ServicePortSpec",
    "ServiceReference",
    "ServiceSpec",
    "ServiceStatus",
    "StatefulSet",
    "Struct",
    "Taint",
    "TargetReference",
    "TcpRoute",
    "TlsRoute",
    "UdpRoute",
    "UpdatePolicy",
    "VerticalPodAutoscaler",
    "VerticalPodAutoscalerSpec",
    "VerticalPodAutoscalerStatus",
    "compact_endpoint_slices",
    "condition",
]


# --- What all objects have ---


class Metadata(Struct, frozen=True):
    """Name, labels and owners of an object."""

    name: str = ""
    namespace: str = ""
    generation: int = 0
    labels: dict[str, str] = {}
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    owner_references: tuple[OwnerReference, ...] = ()


class _Object(Struct, frozen=True):
    metadata: Metadata = Metadata()

    @property
    def name(self) -> str:
        """The object's name."""
        return self.metadata.name

    @property
    def namespace(self) -> str:
        """The object's namespace; empty when it belongs to none."""
        return self.metadata.namespace

    @property
    def path(self) -> str:
        """`namespace/name`, as sentences name an object."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class Named(_Object, frozen=True):
    """An object of which only its existence is checked."""


ConditionT = TypeVar("ConditionT", bound=Condition)


def condition(conditions: tuple[ConditionT, ...] | None, kind: str) -> ConditionT | None:
    """The condition of this type, or None when the object has none."""
    for found in conditions or ():
        if found.type == kind:
            return found
    return None


class Requirement(Struct, frozen=True):
    """One of a selector's `matchExpressions`."""

    key: str = ""
    operator: str = ""
    values: tuple[str, ...] = ()


class Selector(Struct, frozen=True):
    """A label selector. One without any requirement selects everything; a selector that is None selects nothing."""

    match_labels: dict[str, str] = {}
    match_expressions: tuple[Requirement, ...] = ()


# --- Namespaces and nodes ---


class Namespace(_Object, frozen=True):
    """A namespace; its labels say which Pod Security level is enforced."""


class Taint(Struct, frozen=True):
    """What keeps pods off a node."""

    key: str = ""
    effect: str = ""


class NodeSpec(Struct, frozen=True):
    """Whether new pods may be put on a node."""

    unschedulable: bool = False
    taints: tuple[Taint, ...] | None = ()


class NodeInfo(Struct, frozen=True):
    """What a kubelet says of itself."""

    kubelet_version: str = ""


class NodeCondition(Condition, frozen=True):
    """One condition of a node, with when its kubelet last said so."""

    last_heartbeat_time: datetime | None = None


class NodeStatus(Struct, frozen=True):
    """State of a node, and what of it pods may use."""

    allocatable: Amounts = Amounts()
    conditions: tuple[NodeCondition, ...] | None = ()
    node_info: NodeInfo = NodeInfo()


class Node(_Object, frozen=True):
    """A node."""

    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()

    @property
    def is_virtual(self) -> bool:
        """Whether a provider's service poses as the node (virtual kubelet), with versions and conditions of its own."""
        return self.metadata.labels.get("type") == "virtual-kubelet" or any(
            taint.key.startswith("virtual-kubelet.io/") for taint in self.spec.taints or ()
        )


# --- Workloads ---


class _Workload(_Object, frozen=True):
    kind: ClassVar[str]


class ReplicasSpec(Struct, frozen=True):
    """What a Deployment, StatefulSet or ReplicaSet wants. `replicas` is None only where the API server did not report it."""

    replicas: int | None = None
    template: TemplateItem = TemplateItem()


class ReplicasStatus(Struct, frozen=True):
    """What a Deployment, StatefulSet or ReplicaSet has."""

    observed_generation: int = 0
    ready_replicas: int = 0
    updated_replicas: int = 0
    conditions: tuple[Condition, ...] | None = ()


class _Replicated(_Workload, frozen=True):
    spec: ReplicasSpec = ReplicasSpec()
    status: ReplicasStatus = ReplicasStatus()

    @property
    def wanted(self) -> int | None:
        """How many replicas there shall be; None when nobody said."""
        return self.spec.replicas

    @property
    def ready(self) -> int:
        """How many replicas are ready."""
        return self.status.ready_replicas

    @property
    def observed_generation(self) -> int:
        """The generation that its controller has seen."""
        return self.status.observed_generation


class Deployment(_Replicated, frozen=True):
    """A Deployment."""

    kind: ClassVar[str] = "Deployment"


class StatefulSet(_Replicated, frozen=True):
    """A StatefulSet."""

    kind: ClassVar[str] = "StatefulSet"


class ReplicaSet(_Replicated, frozen=True):
    """A ReplicaSet."""

    kind: ClassVar[str] = "ReplicaSet"


class ReplicationController(_Replicated, frozen=True):
    """A ReplicationController, which OpenShift's DeploymentConfigs have and Deployments had before there were ReplicaSets."""

    kind: ClassVar[str] = "ReplicationController"


def compact_replica_sets() -> Callable[[Iterable[ReplicaSet]], Iterable[ReplicaSet]]:
    """What a snapshot keeps of ReplicaSets: of those that have an owner, which are many, no template."""
    return lambda page: map(_without_owned_template, page)


def _without_owned_template(found: ReplicaSet) -> ReplicaSet:
    if not any(owner.controller for owner in found.metadata.owner_references):
        return found
    return msgspec.structs.replace(found, spec=msgspec.structs.replace(found.spec, template=TemplateItem()))


class _DaemonSetSpec(Struct, frozen=True):
    template: TemplateItem = TemplateItem()


class DaemonSetStatus(Struct, frozen=True):
    """What a DaemonSet wants and has. `desired_number_scheduled` is None only where the API server did not report it."""

    observed_generation: int = 0
    desired_number_scheduled: int | None = None
    number_ready: int = 0
    updated_number_scheduled: int = 0


class DaemonSet(_Workload, frozen=True):
    """A DaemonSet."""

    kind: ClassVar[str] = "DaemonSet"
    spec: _DaemonSetSpec = _DaemonSetSpec()
    status: DaemonSetStatus = DaemonSetStatus()

    @property
    def wanted(self) -> int | None:
        """On how many nodes it shall run; None when nobody said."""
        return self.status.desired_number_scheduled

    @property
    def ready(self) -> int:
        """On how many nodes it is ready."""
        return self.status.number_ready

    @property
    def observed_generation(self) -> int:
        """The generation that its controller has seen."""
        return self.status.observed_generation


class JobStatus(Struct, frozen=True):
    """How far a Job is."""

    active: int = 0
    succeeded: int = 0
    failed: int = 0
    start_time: datetime | None = None
    completion_time: datetime | None = None
    conditions: tuple[Condition, ...] | None = ()


class JobSpec(Struct, frozen=True):
    """The pods of a Job, and whether it waits."""

    suspend: bool = False
    template: TemplateItem = TemplateItem()


class Job(_Object, frozen=True):
    """A Job."""

    kind: ClassVar[str] = "Job"
    spec: JobSpec = JobSpec()
    status: JobStatus = JobStatus()


class _JobTemplate(Struct, frozen=True):
    spec: JobSpec = JobSpec()


class CronJobSpec(Struct, frozen=True):
    """When a CronJob runs. Without `time_zone` the schedule is in the controller's zone, which is UTC in nearly all clusters."""

    schedule: str = ""
    time_zone: str | None = None
    suspend: bool = False
    job_template: _JobTemplate = _JobTemplate()


class CronJobStatus(Struct, frozen=True):
    """When a CronJob last ran."""

    last_schedule_time: datetime | None = None
    last_successful_time: datetime | None = None


class CronJob(_Object, frozen=True):
    """A CronJob."""

    kind: ClassVar[str] = "CronJob"
    spec: CronJobSpec = CronJobSpec()
    status: CronJobStatus = CronJobStatus()


class PodDisruptionBudgetSpec(Struct, frozen=True):
    """Which pods may not all go at once."""

    selector: Selector | None = None


class PodDisruptionBudgetStatus(Struct, frozen=True):
    """How many pods may go now."""

    observed_generation: int = 0
    disruptions_allowed: int = 0
    current_healthy: int = 0
    desired_healthy: int = 0
    expected_pods: int = 0


class PodDisruptionBudget(_Object, frozen=True):
    """A PodDisruptionBudget."""

    spec: PodDisruptionBudgetSpec = PodDisruptionBudgetSpec()
    status: PodDisruptionBudgetStatus = PodDisruptionBudgetStatus()


# --- Network policies ---


class IpBlock(Struct, frozen=True):
    """A range of addresses."""

    cidr: str = ""
    except_: tuple[str, ...] = field(default=(), name="except")


class Peer(Struct, frozen=True):
    """From where or whereto traffic is allowed. A selector that is None is not set; an empty one selects all."""

    pod_selector: Selector | None = None
    namespace_selector: Selector | None = None
    ip_block: IpBlock | None = None


class PolicyPort(Struct, frozen=True):
    """A port that is allowed; without `port` all of the protocol."""

    protocol: str | None = None
    port: int | str | None = None
    end_port: int | None = None


class IngressRule(Struct, frozen=True):
    """Traffic that may come. Without peers it may come from everywhere, without ports to every port."""

    from_: tuple[Peer, ...] | None = field(default=(), name="from")
    ports: tuple[PolicyPort, ...] | None = ()

    @property
    def peers(self) -> tuple[Peer, ...]:
        """From where; empty is everywhere."""
        return self.from_ or ()


class EgressRule(Struct, frozen=True):
    """Traffic that may leave. Without peers it may go everywhere, without ports to every port."""

    to: tuple[Peer, ...] | None = ()
    ports: tuple[PolicyPort, ...] | None = ()

    @property
    def peers(self) -> tuple[Peer, ...]:
        """Whereto; empty is everywhere."""
        return self.to or ()


class NetworkPolicySpec(Struct, frozen=True):
    """What a NetworkPolicy selects and allows. An empty `pod_selector` selects all pods of the namespace."""

    pod_selector: Selector = Selector()
    ingress: tuple[IngressRule, ...] | None = ()
    egress: tuple[EgressRule, ...] | None = ()
    policy_types: tuple[str, ...] | None = ()


class NetworkPolicy(_Object, frozen=True):
    """A NetworkPolicy."""

    spec: NetworkPolicySpec = NetworkPolicySpec()


class OtherPolicyStatus(Struct, frozen=True):
    """What the maker's controller reports of a policy."""

    conditions: tuple[Condition, ...] | None = ()


class OtherPolicy(_Object, frozen=True):
    """A network policy that is no NetworkPolicy, with its spec (of Cilium: or several) as it was written."""

    spec: dict[str, Any] | None = None
    specs: list[Any] | None = None
    status: OtherPolicyStatus | None = None


# --- Quotas, limits, autoscalers ---

Quantity = str | int | float


class ScopeRequirement(Struct, frozen=True):
    """One requirement of a quota's `scopeSelector`."""

    scope_name: str = ""
    operator: str = ""
    values: tuple[str, ...] | None = ()


class ScopeSelector(Struct, frozen=True):
    """Which pods a quota counts."""

    match_expressions: tuple[ScopeRequirement, ...] | None = ()


class ResourceQuotaSpec(Struct, frozen=True):
    """What a namespace may use, and which of its pods count."""

    hard: dict[str, Quantity] = {}
    scopes: tuple[str, ...] | None = ()
    scope_selector: ScopeSelector | None = None


class ResourceQuotaStatus(Struct, frozen=True):
    """What a namespace uses, as its controller has counted."""

    hard: dict[str, Quantity] = {}
    used: dict[str, Quantity] = {}


class ResourceQuota(_Object, frozen=True):
    """A ResourceQuota."""

    spec: ResourceQuotaSpec = ResourceQuotaSpec()
    status: ResourceQuotaStatus = ResourceQuotaStatus()


class LimitRangeItem(Struct, frozen=True):
    """Limits and defaults for one type: `Container`, `Pod` or `PersistentVolumeClaim`."""

    type: str = ""
    default: dict[str, Quantity] = {}
    default_request: dict[str, Quantity] = {}


class LimitRangeSpec(Struct, frozen=True):
    """Limits and defaults of a namespace."""

    limits: tuple[LimitRangeItem, ...] | None = ()


class LimitRange(_Object, frozen=True):
    """A LimitRange."""

    spec: LimitRangeSpec = LimitRangeSpec()


class TargetReference(Struct, frozen=True):
    """The workload that an autoscaler scales."""

    api_version: str = ""
    kind: str = ""
    name: str = ""


class MetricTarget(Struct, frozen=True):
    """The value that an autoscaler aims at."""

    type: str = ""
    average_utilization: int | None = None


class ResourceMetric(Struct, frozen=True):
    """CPU or memory of the pods, or of one container of each."""

    name: str = ""
    container: str = ""
    target: MetricTarget = MetricTarget()


class Metric(Struct, frozen=True):
    """One metric by which is scaled. Those that are not about resources have neither of the two."""

    type: str = ""
    resource: ResourceMetric | None = None
    container_resource: ResourceMetric | None = None


class ScalingRules(Struct, frozen=True):
    """How fast is scaled in one direction; `Disabled` is never."""

    select_policy: str | None = None


class ScalingBehavior(Struct, frozen=True):
    """How fast is scaled in each direction."""

    scale_up: ScalingRules | None = None
    scale_down: ScalingRules | None = None


class HorizontalPodAutoscalerSpec(Struct, frozen=True):
    """Between which limits, and by which metrics, is scaled."""

    scale_target_ref: TargetReference = TargetReference()
    min_replicas: int | None = None
    max_replicas: int = 0
    metrics: tuple[Metric, ...] | None = ()
    behavior: ScalingBehavior | None = None


class HorizontalPodAutoscalerStatus(Struct, frozen=True):
    """What the autoscaler sees and wants."""

    observed_generation: int | None = None
    current_replicas: int = 0
    desired_replicas: int = 0
    current_metrics: tuple[Metric, ...] | None = ()
    conditions: tuple[Condition, ...] | None = ()


class HorizontalPodAutoscaler(_Object, frozen=True):
    """A HorizontalPodAutoscaler of autoscaling/v2."""

    spec: HorizontalPodAutoscalerSpec = HorizontalPodAutoscalerSpec()
    status: HorizontalPodAutoscalerStatus = HorizontalPodAutoscalerStatus()

    @property
    def target(self) -> tuple[str, str, str]:
        """Namespace, kind and name of the workload that is scaled."""
        return self.namespace, self.spec.scale_target_ref.kind, self.spec.scale_target_ref.name


class UpdatePolicy(Struct, frozen=True):
    """What a VerticalPodAutoscaler does with its recommendations: `Off`, `Initial`, `Recreate`, `InPlaceOrRecreate`, `Auto`."""

    update_mode: str | None = None


class ContainerPolicy(Struct, frozen=True):
    """Which resources of a container are controlled (cpu and memory when nothing is said), and whether (`mode` is not `Off`)."""

    container_name: str = ""
    mode: str | None = None
    controlled_resources: tuple[str, ...] | None = None


class ResourcePolicy(Struct, frozen=True):
    """Policies by container."""

    container_policies: tuple[ContainerPolicy, ...] | None = ()


class VerticalPodAutoscalerSpec(Struct, frozen=True):
    """Which workload is sized."""

    target_ref: TargetReference | None = None
    update_policy: UpdatePolicy | None = None
    resource_policy: ResourcePolicy | None = None


class ContainerRecommendation(Struct, frozen=True):
    """Requests that are recommended for a container, and the bounds between which they are fine."""

    container_name: str = ""
    lower_bound: dict[str, Quantity] = {}
    upper_bound: dict[str, Quantity] = {}
    target: dict[str, Quantity] = {}


class Recommendation(Struct, frozen=True):
    """Recommendations by container."""

    container_recommendations: tuple[ContainerRecommendation, ...] | None = ()


class VerticalPodAutoscalerStatus(Struct, frozen=True):
    """What the recommender says."""

    recommendation: Recommendation | None = None
    conditions: tuple[Condition, ...] | None = ()


class VerticalPodAutoscaler(_Object, frozen=True):
    """A VerticalPodAutoscaler of autoscaling.k8s.io/v1."""

    spec: VerticalPodAutoscalerSpec = VerticalPodAutoscalerSpec()
    status: VerticalPodAutoscalerStatus = VerticalPodAutoscalerStatus()

    @property
    def target(self) -> tuple[str, str, str]:
        """Namespace, kind and name of the workload that is sized; empty where it does not say which."""
        reference = self.spec.target_ref or TargetReference()
        return self.namespace, reference.kind, reference.name


# --- Ingress ---


class _AnnotatedMetadata(Metadata, frozen=True):
    annotations: dict[str, str] = {}


class ServicePort(Struct, frozen=True):
    """A port of a Service, by number or by name."""

    number: int | None = None
    name: str = ""


class ServiceReference(Struct, frozen=True):
    """The Service behind a path."""

    name: str = ""
    port: ServicePort = ServicePort()


class Backend(Struct, frozen=True):
    """What is behind a path; a Backend without a Service is another resource."""

    service: ServiceReference | None = None


class _IngressPath(Struct, frozen=True):
    path: str = ""
    backend: Backend = Backend()


class _IngressHttp(Struct, frozen=True):
    paths: tuple[_IngressPath, ...] | None = ()


class IngressHost(Struct, frozen=True):
    """The paths of one host."""

    host: str = ""
    http: _IngressHttp | None = None


class IngressSpec(Struct, frozen=True):
    """Which controller serves an Ingress, and whereto it leads."""

    ingress_class_name: str | None = None
    default_backend: Backend | None = None
    rules: tuple[IngressHost, ...] | None = ()


class LoadBalancerAddress(Struct, frozen=True):
    """An address of a load balancer."""

    ip: str = ""
    hostname: str = ""


class _LoadBalancer(Struct, frozen=True):
    ingress: tuple[LoadBalancerAddress, ...] | None = ()


class IngressStatus(Struct, frozen=True):
    """Where an Ingress is reached."""

    load_balancer: _LoadBalancer = _LoadBalancer()


class Ingress(_Object, frozen=True):
    """An Ingress."""

    metadata: _AnnotatedMetadata = _AnnotatedMetadata()
    spec: IngressSpec = IngressSpec()
    status: IngressStatus = IngressStatus()

    @property
    def class_name(self) -> str | None:
        """Its IngressClass, by the field or by the annotation from before there was one."""
        return self.spec.ingress_class_name or self.metadata.annotations.get("kubernetes.io/ingress.class")

    @property
    def backends(self) -> Iterator[Backend]:
        """Every backend, the default one first."""
        if self.spec.default_backend:
            yield self.spec.default_backend
        for rule in self.spec.rules or ():
            for path in (rule.http.paths if rule.http else ()) or ():
                yield path.backend


class _IngressClassSpec(Struct, frozen=True):
    controller: str = ""


class IngressClass(_Object, frozen=True):
    """An IngressClass."""

    metadata: _AnnotatedMetadata = _AnnotatedMetadata()
    spec: _IngressClassSpec = _IngressClassSpec()

    @property
    def is_default(self) -> bool:
        """Whether it serves an Ingress that names no class."""
        return self.metadata.annotations.get("ingressclass.kubernetes.io/is-default-class") == "true"


class ServicePortSpec(Struct, frozen=True):
    """A port that a Service has; its name links it to the ports of its endpoints."""

    name: str = ""
    port: int = 0
    target_port: int | str | None = None
    node_port: int = 0


class ServiceSpec(Struct, frozen=True):
    """How a Service is reached, and which pods serve it."""

    type: str = ""
    selector: dict[str, str] | None = None
    external_name: str = ""
    ports: tuple[ServicePortSpec, ...] | None = ()
    external_ips: tuple[str, ...] | None = field(default=(), name="externalIPs")
    load_balancer_source_ranges: tuple[str, ...] | None = ()


class ServiceStatus(Struct, frozen=True):
    """Where a Service is reached from outside."""

    load_balancer: _LoadBalancer = _LoadBalancer()


class Service(_Object, frozen=True):
    """A Service."""

    metadata: _AnnotatedMetadata = _AnnotatedMetadata()
    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()


class WebhookService(Struct, frozen=True):
    """The Service and the port of it at which a webhook is called."""

    namespace: str = ""
    name: str = ""
    port: int = 443


class WebhookClient(Struct, frozen=True):
    """Where a webhook is called: a Service, or an address outside the cluster."""

    service: WebhookService | None = None


class WebhookRule(Struct, frozen=True):
    """Requests that a webhook is called for."""

    api_groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()

    @property
    def starts_pods(self) -> bool:
        """Whether the creation of a pod, or its binding to a node, is one of them."""
        return (
            bool({"", "*"} & set(self.api_groups))
            and bool({"pods", "pods/binding", "pods/*", "*", "*/*"} & set(self.resources))
            and bool({"CREATE", "*"} & set(self.operations))
        )


class Webhook(Struct, frozen=True):
    """A webhook that the API server calls before it stores an object: with the policy `Fail` not without its answer."""

    name: str = ""
    failure_policy: str = "Fail"
    client_config: WebhookClient = WebhookClient()
    rules: tuple[WebhookRule, ...] | None = ()
    namespace_selector: Selector = Selector()
    object_selector: Selector = Selector()
    match_conditions: tuple[dict[str, str], ...] | None = ()


class WebhookConfiguration(_Object, frozen=True):
    """A ValidatingWebhookConfiguration or a MutatingWebhookConfiguration."""

    webhooks: tuple[Webhook, ...] | None = ()


class EndpointSlice(Struct, frozen=True):
    """How many endpoints of a Service are ready, by one of its slices, and the names of the ports that they have."""

    namespace: str
    service: str
    ready: int
    ports: tuple[str, ...] = ()


class _EndpointConditions(Struct, frozen=True):
    # The API reference: without a value, both are to be taken as true. Where the Service has publishNotReadyAddresses, `ready` is
    # true for pods that are not Ready as well; `serving` is not.
    ready: bool | None = None
    serving: bool | None = None

    @property
    def is_ready(self) -> bool:
        """Whether requests are sent to the endpoint, and its pod is Ready."""
        return self.ready is not False and self.serving is not False


class _EndpointPort(Struct, frozen=True):
    name: str | None = None


class _Endpoint(Struct, frozen=True):
    addresses: tuple[str, ...] | None = ()
    conditions: _EndpointConditions = _EndpointConditions()


class EndpointSliceItem(_Object, frozen=True):
    """An EndpointSlice as the API gives it."""

    endpoints: tuple[_Endpoint, ...] | None = ()
    ports: tuple[_EndpointPort, ...] | None = ()


def compact_endpoint_slices() -> Callable[[Iterable[EndpointSliceItem]], Iterable[EndpointSlice]]:
    """What a snapshot keeps of slices: the count of ready endpoints and their ports, not each of them."""
    return lambda page: map(_slice, page)


def _slice(wire: EndpointSliceItem) -> EndpointSlice:
    ready = sum(len(endpoint.addresses or ()) for endpoint in wire.endpoints or () if endpoint.conditions.is_ready)
    service = wire.metadata.labels.get("kubernetes.io/service-name", "")
    return EndpointSlice(wire.namespace, service, ready, tuple(port.name or "" for port in wire.ports or ()))


# --- Gateway API ---


class ParentReference(Struct, frozen=True):
    """The Gateway (or another resource) that a route hangs on."""

    group: str = "gateway.networking.k8s.io"
    kind: str = "Gateway"
    name: str = ""
    namespace: str | None = None
    section_name: str | None = None
    port: int | None = None


class BackendReference(Struct, frozen=True):
    """What is behind a route: a Service unless `kind` says otherwise. `weight` 0 gets no traffic."""

    group: str = ""
    kind: str = "Service"
    name: str = ""
    namespace: str | None = None
    port: int | None = None
    weight: int = 1


class RequestMirror(Struct, frozen=True):
    """Where copies of requests go."""

    backend_ref: BackendReference = BackendReference()


class RouteFilter(Struct, frozen=True):
    """What is done with requests on their way; a `RequestRedirect` answers them itself."""

    type: str = ""
    request_mirror: RequestMirror | None = None


class RouteRule(Struct, frozen=True):
    """Whereto requests of one kind go."""

    backend_refs: tuple[BackendReference, ...] | None = ()
    filters: tuple[RouteFilter, ...] | None = ()


class RouteSpec(Struct, frozen=True):
    """On which Gateways a route hangs, and whereto it leads."""

    parent_refs: tuple[ParentReference, ...] | None = ()
    rules: tuple[RouteRule, ...] | None = ()


class RouteParent(Struct, frozen=True):
    """What one Gateway made of a route."""

    parent_ref: ParentReference = ParentReference()
    conditions: tuple[Condition, ...] | None = ()


class RouteStatus(Struct, frozen=True):
    """What the Gateways made of a route."""

    parents: tuple[RouteParent, ...] | None = ()


class _Route(_Object, frozen=True):
    kind: ClassVar[str]
    spec: RouteSpec = RouteSpec()
    status: RouteStatus = RouteStatus()


class HttpRoute(_Route, frozen=True):
    """An HTTPRoute."""

    kind: ClassVar[str] = "HTTPRoute"


class GrpcRoute(_Route, frozen=True):
    """A GRPCRoute."""

    kind: ClassVar[str] = "GRPCRoute"


class TlsRoute(_Route, frozen=True):
    """A TLSRoute."""

    kind: ClassVar[str] = "TLSRoute"


class TcpRoute(_Route, frozen=True):
    """A TCPRoute."""

    kind: ClassVar[str] = "TCPRoute"


class UdpRoute(_Route, frozen=True):
    """A UDPRoute."""

    kind: ClassVar[str] = "UDPRoute"


Route = HttpRoute | GrpcRoute | TlsRoute | TcpRoute | UdpRoute


class GatewaySpec(Struct, frozen=True):
    """Which class a Gateway has."""

    gateway_class_name: str = ""


class GatewayAddress(Struct, frozen=True):
    """An address of a Gateway."""

    value: str = ""


class Listener(Struct, frozen=True):
    """What became of one listener."""

    name: str = ""
    conditions: tuple[Condition, ...] | None = ()


class GatewayStatus(Struct, frozen=True):
    """What the controller made of a Gateway."""

    addresses: tuple[GatewayAddress, ...] | None = ()
    conditions: tuple[Condition, ...] | None = ()
    listeners: tuple[Listener, ...] | None = ()


class Gateway(_Object, frozen=True):
    """A Gateway."""

    spec: GatewaySpec = GatewaySpec()
    status: GatewayStatus = GatewayStatus()


class _GatewayClassSpec(Struct, frozen=True):
    controller_name: str = ""


class _ConditionsStatus(Struct, frozen=True):
    conditions: tuple[Condition, ...] | None = ()


class GatewayClass(_Object, frozen=True):
    """A GatewayClass."""

    spec: _GatewayClassSpec = _GatewayClassSpec()
    status: _ConditionsStatus = _ConditionsStatus()


# --- The control plane, and what extends it ---


class LeaseSpec(Struct, frozen=True):
    """Who holds a Lease, and when it was last renewed."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    renew_time: datetime | None = None


class Lease(_Object, frozen=True):
    """A Lease, such as the one by which schedulers agree on who works."""

    spec: LeaseSpec = LeaseSpec()


class ApiService(_Object, frozen=True):
    """An APIService: a group and version of the API, served by the API server or by another server behind it."""

    status: _ConditionsStatus = _ConditionsStatus()


class CrdNames(Struct, frozen=True):
    """By which names a custom resource is known."""

    plural: str = ""
    kind: str = ""


class CrdVersion(Struct, frozen=True):
    """One version of a custom resource."""

    name: str = ""
    served: bool = False


class CustomResourceDefinitionSpec(Struct, frozen=True):
    """What a custom resource is."""

    group: str = ""
    names: CrdNames = CrdNames()
    versions: tuple[CrdVersion, ...] | None = ()


class CustomResourceDefinition(_Object, frozen=True):
    """A CustomResourceDefinition; its name is `plural.group`."""

    spec: CustomResourceDefinitionSpec = CustomResourceDefinitionSpec()
    status: _ConditionsStatus = _ConditionsStatus()


class _ClaimStatus(Struct, frozen=True):
    phase: str = "Unknown"


class PersistentVolumeClaim(_Object, frozen=True):
    """A PersistentVolumeClaim. `status.phase` is `Bound` when it has its volume."""

    status: _ClaimStatus = _ClaimStatus()
