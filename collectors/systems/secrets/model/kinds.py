"""The kinds of Kubernetes objects that settings and secrets are judged by; Secrets are not among them."""

from __future__ import annotations

from collectors.systems.kubernetes.model import kinds
from collectors.systems.kubernetes.model.kind import Kind
from collectors.systems.secrets.model.stores import Certificate, ExternalSecret, SealedSecret, SecretStore
from collectors.systems.secrets.model.workloads import (
    ConfigMap,
    ConfigMapItem,
    PodItem,
    TemplateItem,
    Workload,
    compact_config_maps,
    compact_pods,
    compact_templates,
)

__all__ = [
    "CERTIFICATES",
    "CLUSTER_SECRET_STORES",
    "CONFIG_MAPS",
    "EXTERNAL_SECRETS",
    "PODS",
    "SEALED_SECRETS",
    "SECRET_STORES",
    "STORE_KINDS",
    "WORKLOADS",
]

PODS: Kind[Workload] = Kind("pods", PodItem, compact=lambda: compact_pods)
CONFIG_MAPS: Kind[ConfigMap] = Kind("configmaps", ConfigMapItem, compact=lambda: compact_config_maps)
WORKLOADS: tuple[Kind[Workload], ...] = tuple(
    Kind(kind.plural, TemplateItem, kind.group, compact=compact_templates(kind.item.__name__))
    for kind in kinds.WORKLOADS
)

EXTERNAL_SECRETS: tuple[Kind[ExternalSecret], ...] = (
    Kind("externalsecrets", ExternalSecret, "external-secrets.io", "v1"),
    Kind("externalsecrets", ExternalSecret, "external-secrets.io", "v1beta1"),
)
SECRET_STORES: tuple[Kind[SecretStore], ...] = (
    Kind("secretstores", SecretStore, "external-secrets.io", "v1"),
    Kind("secretstores", SecretStore, "external-secrets.io", "v1beta1"),
)
CLUSTER_SECRET_STORES: tuple[Kind[SecretStore], ...] = (
    Kind("clustersecretstores", SecretStore, "external-secrets.io", "v1", namespaced=False),
    Kind("clustersecretstores", SecretStore, "external-secrets.io", "v1beta1", namespaced=False),
)
SEALED_SECRETS: Kind[SealedSecret] = Kind("sealedsecrets", SealedSecret, "bitnami.com", "v1alpha1")
CERTIFICATES: Kind[Certificate] = Kind("certificates", Certificate, "cert-manager.io")
STORE_KINDS = (EXTERNAL_SECRETS[0], SECRET_STORES[0], CLUSTER_SECRET_STORES[0], SEALED_SECRETS, CERTIFICATES)
