"""The kinds of Kubernetes objects that sections list, each with what a snapshot keeps of it."""

from __future__ import annotations

from typing import Any

from collectors.systems.kubernetes.model import objects
from collectors.systems.kubernetes.model.kind import Kind
from collectors.systems.kubernetes.model.pods import PodCompactor, PodGroup, PodItem, pod_groups, was_shut_down

__all__ = [
    "API_SERVICES",
    "CRON_JOBS",
    "CUSTOM_RESOURCE_DEFINITIONS",
    "DAEMON_SETS",
    "DEPLOYMENTS",
    "ENDPOINT_SLICES",
    "GATEWAYS",
    "GATEWAY_CLASSES",
    "HORIZONTAL_POD_AUTOSCALERS",
    "HTTP_ROUTES",
    "INGRESSES",
    "INGRESS_CLASSES",
    "JOBS",
    "LEASES",
    "LIMIT_RANGES",
    "MUTATING_WEBHOOKS",
    "NAMESPACES",
    "NETWORK_POLICIES",
    "NODES",
    "OTHER_NETWORK_POLICIES",
    "OTHER_ROUTES",
    "PERSISTENT_VOLUME_CLAIMS",
    "PODS",
    "POD_DISRUPTION_BUDGETS",
    "REPLICATION_CONTROLLERS",
    "REPLICA_SETS",
    "RESOURCE_QUOTAS",
    "SERVICES",
    "STATEFUL_SETS",
    "VALIDATING_WEBHOOKS",
    "VERTICAL_POD_AUTOSCALERS",
    "WORKLOADS",
]

NAMESPACES: Kind[objects.Namespace] = Kind("namespaces", objects.Namespace, namespaced=False)
NODES: Kind[objects.Node] = Kind("nodes", objects.Node, namespaced=False)
PODS: Kind[PodGroup] = Kind("pods", PodItem, compact=PodCompactor, gathered=pod_groups, remembered=was_shut_down)
SERVICES: Kind[objects.Service] = Kind("services", objects.Service)
PERSISTENT_VOLUME_CLAIMS: Kind[objects.PersistentVolumeClaim] = Kind(
    "persistentvolumeclaims", objects.PersistentVolumeClaim
)
RESOURCE_QUOTAS: Kind[objects.ResourceQuota] = Kind("resourcequotas", objects.ResourceQuota)
LIMIT_RANGES: Kind[objects.LimitRange] = Kind("limitranges", objects.LimitRange)

DEPLOYMENTS: Kind[objects.Deployment] = Kind("deployments", objects.Deployment, "apps")
STATEFUL_SETS: Kind[objects.StatefulSet] = Kind("statefulsets", objects.StatefulSet, "apps")
DAEMON_SETS: Kind[objects.DaemonSet] = Kind("daemonsets", objects.DaemonSet, "apps")
REPLICA_SETS: Kind[objects.ReplicaSet] = Kind(
    "replicasets", objects.ReplicaSet, "apps", compact=objects.compact_replica_sets
)
REPLICATION_CONTROLLERS: Kind[objects.ReplicationController] = Kind(
    "replicationcontrollers", objects.ReplicationController
)
JOBS: Kind[objects.Job] = Kind("jobs", objects.Job, "batch")
CRON_JOBS: Kind[objects.CronJob] = Kind("cronjobs", objects.CronJob, "batch")
WORKLOADS: tuple[Kind[Any], ...] = (
    DEPLOYMENTS,
    STATEFUL_SETS,
    DAEMON_SETS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    JOBS,
    CRON_JOBS,
)
"""All that makes pods of a template."""
POD_DISRUPTION_BUDGETS: Kind[objects.PodDisruptionBudget] = Kind(
    "poddisruptionbudgets", objects.PodDisruptionBudget, "policy"
)

HORIZONTAL_POD_AUTOSCALERS: Kind[objects.HorizontalPodAutoscaler] = Kind(
    "horizontalpodautoscalers", objects.HorizontalPodAutoscaler, "autoscaling", "v2"
)
VERTICAL_POD_AUTOSCALERS: Kind[objects.VerticalPodAutoscaler] = Kind(
    "verticalpodautoscalers", objects.VerticalPodAutoscaler, "autoscaling.k8s.io"
)

NETWORK_POLICIES: Kind[objects.NetworkPolicy] = Kind("networkpolicies", objects.NetworkPolicy, "networking.k8s.io")
INGRESSES: Kind[objects.Ingress] = Kind("ingresses", objects.Ingress, "networking.k8s.io")
INGRESS_CLASSES: Kind[objects.IngressClass] = Kind(
    "ingressclasses", objects.IngressClass, "networking.k8s.io", namespaced=False
)
ENDPOINT_SLICES: Kind[objects.EndpointSlice] = Kind(
    "endpointslices", objects.EndpointSliceItem, "discovery.k8s.io", compact=objects.compact_endpoint_slices
)
GATEWAYS: Kind[objects.Gateway] = Kind("gateways", objects.Gateway, "gateway.networking.k8s.io")
GATEWAY_CLASSES: Kind[objects.GatewayClass] = Kind(
    "gatewayclasses", objects.GatewayClass, "gateway.networking.k8s.io", namespaced=False
)
HTTP_ROUTES: Kind[objects.HttpRoute] = Kind("httproutes", objects.HttpRoute, "gateway.networking.k8s.io")
_OTHER_ROUTES: tuple[tuple[str, type[objects.Route], tuple[str, ...]], ...] = (
    ("grpcroutes", objects.GrpcRoute, ("v1",)),
    ("tlsroutes", objects.TlsRoute, ("v1", "v1alpha3", "v1alpha2")),
    ("tcproutes", objects.TcpRoute, ("v1", "v1alpha2")),
    ("udproutes", objects.UdpRoute, ("v1", "v1alpha2")),
)
OTHER_ROUTES: tuple[tuple[Kind[objects.Route], ...], ...] = tuple(
    tuple(Kind(plural, item, "gateway.networking.k8s.io", version) for version in versions)
    for plural, item, versions in _OTHER_ROUTES
)
"""The other routes of the Gateway API, each in the versions that are known, the newest first: not every cluster serves that."""

LEASES: Kind[objects.Lease] = Kind("leases", objects.Lease, "coordination.k8s.io")
API_SERVICES: Kind[objects.ApiService] = Kind(
    "apiservices", objects.ApiService, "apiregistration.k8s.io", namespaced=False
)
MUTATING_WEBHOOKS: Kind[objects.WebhookConfiguration] = Kind(
    "mutatingwebhookconfigurations", objects.WebhookConfiguration, "admissionregistration.k8s.io", namespaced=False
)
VALIDATING_WEBHOOKS: Kind[objects.WebhookConfiguration] = Kind(
    "validatingwebhookconfigurations", objects.WebhookConfiguration, "admissionregistration.k8s.io", namespaced=False
)
CUSTOM_RESOURCE_DEFINITIONS: Kind[objects.CustomResourceDefinition] = Kind(
    "customresourcedefinitions", objects.CustomResourceDefinition, "apiextensions.k8s.io", namespaced=False
)

OTHER_NETWORK_POLICIES: tuple[Kind[objects.OtherPolicy], ...] = (
    Kind("ciliumnetworkpolicies", objects.OtherPolicy, "cilium.io", "v2"),
    Kind("ciliumclusterwidenetworkpolicies", objects.OtherPolicy, "cilium.io", "v2", namespaced=False),
    Kind("networkpolicies", objects.OtherPolicy, "crd.projectcalico.org"),
    Kind("globalnetworkpolicies", objects.OtherPolicy, "crd.projectcalico.org", namespaced=False),
    Kind("networkpolicies", objects.OtherPolicy, "crd.antrea.io", "v1beta1"),
    Kind("clusternetworkpolicies", objects.OtherPolicy, "crd.antrea.io", "v1beta1", namespaced=False),
    Kind("applicationnetworkpolicies", objects.OtherPolicy, "networking.k8s.aws", "v1alpha1"),
    Kind("clusternetworkpolicies", objects.OtherPolicy, "networking.k8s.aws", "v1alpha1", namespaced=False),
    Kind("adminnetworkpolicies", objects.OtherPolicy, "policy.networking.k8s.io", "v1alpha1", namespaced=False),
    Kind("baselineadminnetworkpolicies", objects.OtherPolicy, "policy.networking.k8s.io", "v1alpha1", namespaced=False),
    Kind("clusternetworkpolicies", objects.OtherPolicy, "policy.networking.k8s.io", "v1alpha2", namespaced=False),
    Kind("networkpolicies", objects.OtherPolicy, "projectcalico.org", "v3"),
    Kind("globalnetworkpolicies", objects.OtherPolicy, "projectcalico.org", "v3", namespaced=False),
)
"""Network policies of other makers, of which default denies are judged, and of all others whether they may open anything.

Calico has them in the group projectcalico.org: of its own server, behind which are those of crd.projectcalico.org, or since 3.32 as
custom resources themselves.
"""
