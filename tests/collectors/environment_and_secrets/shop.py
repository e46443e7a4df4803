"""A shop on a real control plane, and what one run of the section sees of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from collectors.environment_and_secrets.configuration_verification import (
    ConfigurationVerification,
)
from exporter.collector import Client
from exporter.evidence.validity import Evidence
from tests.collectors.systems.kubernetes.clusters import asking, container, manifest
from tests.servers.kubernetes import ControlPlane, definition, pod_spec, workload
from tests.support import Run, make_context, sees

_ESO = "external-secrets.io"
DEFINITIONS = (
    definition(_ESO, "ExternalSecret", "externalsecrets", "v1"),
    definition(_ESO, "SecretStore", "secretstores", "v1"),
    definition(_ESO, "ClusterSecretStore", "clustersecretstores", "v1", namespaced=False),
    definition("bitnami.com", "SealedSecret", "sealedsecrets", "v1alpha1"),
    definition("cert-manager.io", "Certificate", "certificates", "v1"),
)


@pytest.fixture(scope="module")
def cluster(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """A cluster that has the kinds of External Secrets, Sealed Secrets and cert-manager."""
    with control_plane.defining(*DEFINITIONS):
        yield control_plane


def run_item(
    cluster: ControlPlane,
    item: str,
    *namespaces: str,
    kubeconfig: Path | None = None,
    evidence: Evidence | None = None,
    further: Mapping[str, Client[Any]] | None = None,
    memory: dict[str, Any] | None = None,
    recall: Callable[[str], Mapping[str, float]] | None = None,
    **options: Any,
) -> Run:
    """One run of an item in these namespaces, with these options of the target."""
    target = {"name": "shop", "namespaces": namespaces, **options}
    context = make_context(clients=further, evidence=evidence, memory=memory, recall=recall)
    return Run(ConfigurationVerification, [item], target=target, clients=asking(cluster, kubeconfig), context=context)


see = sees(run_item)


def literal(**values: str) -> list[dict[str, Any]]:
    """Literal environment variables."""
    return [{"name": name, "value": value} for name, value in values.items()]


def from_secret(name: str, secret: str = "orders", key: str = "password", **more: Any) -> dict[str, Any]:
    """An environment variable from a key of a Secret."""
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key, **more}}}


def from_map(name: str, config_map: str, key: str, **more: Any) -> dict[str, Any]:
    """An environment variable from a key of a ConfigMap."""
    return {"name": name, "valueFrom": {"configMapKeyRef": {"name": config_map, "key": key, **more}}}


def config(namespace: str, name: str = "settings", **data: str) -> dict[str, Any]:
    """A ConfigMap."""
    return {**manifest("v1", "ConfigMap", name, namespace), "data": data}


def run(cluster: ControlPlane, env: Any = (), *, name: str = "web", namespace: str = "", **changes: Any) -> str:
    """A namespace with a running Deployment of one container with these variables; the namespace's name."""
    namespace = namespace or cluster.namespace("shop")
    web = workload(namespace, name, spec=pod_spec(containers=[container(env=list(env), **changes)]))
    cluster.apply(web)
    cluster.wait_ready(web)
    return namespace


def ago(**length: float) -> str:
    """A moment in the past, as the API writes it."""
    return (datetime.now(UTC) - timedelta(**length)).strftime("%Y-%m-%dT%H:%M:%SZ")


def external(
    cluster: ControlPlane, namespace: str, name: str, *keys: str, ready: str = "True", refreshed: str = "", **spec: Any
) -> None:
    """An ExternalSecret as its operator leaves it."""
    made = manifest(
        f"{_ESO}/v1",
        "ExternalSecret",
        name,
        namespace,
        spec={"refreshInterval": "1h", "data": [{"secretKey": key} for key in keys], **spec},
    )
    cluster.apply(made)
    reason = "SecretSynced" if ready == "True" else "SecretSyncedError"
    conditions = [{"type": "Ready", "status": ready, "reason": reason}]
    cluster.patch_status(made, conditions=conditions, refreshTime=refreshed or ago(minutes=5))


def store(cluster: ControlPlane, namespace: str | None, name: str, *, ready: str = "True") -> None:
    """A SecretStore, or a ClusterSecretStore where no namespace is given."""
    made = manifest(f"{_ESO}/v1", "SecretStore" if namespace else "ClusterSecretStore", name, namespace, spec={})
    cluster.apply(made)
    cluster.patch_status(
        made,
        conditions=[
            {"type": "Ready", "status": ready, "reason": "Valid" if ready == "True" else "InvalidProviderConfig"}
        ],
    )
