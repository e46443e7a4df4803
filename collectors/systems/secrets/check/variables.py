"""Whether named workloads have the environment variables that they need, and what writes their Secrets."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from typing import Any

from collectors.shared.verdicts import verdict
from collectors.systems.kubernetes.check.clusters import in_any_version
from collectors.systems.kubernetes.client.cluster import Kubernetes
from collectors.systems.kubernetes.judge.scope import with_selectors
from collectors.systems.kubernetes.model.kind import Kind
from collectors.systems.kubernetes.model.rbac import DISCOVERY, may_list
from collectors.systems.secrets.judge.variables import all_set, reference_problems, value_problems, variable_problems
from collectors.systems.secrets.model.kinds import (
    CERTIFICATES,
    CLUSTER_SECRET_STORES,
    CONFIG_MAPS,
    EXTERNAL_SECRETS,
    PODS,
    SEALED_SECRETS,
    SECRET_STORES,
    STORE_KINDS,
    WORKLOADS,
)
from collectors.systems.secrets.model.stores import Stores
from collectors.systems.secrets.model.workloads import each_part
from exporter.verdict import ProbeError, Reason, Result

__all__ = ["VARIABLE_RIGHTS", "list_stores", "see_variables"]

_LISTED: tuple[Kind[Any], ...] = (PODS, *WORKLOADS, CONFIG_MAPS, *STORE_KINDS)
VARIABLE_RIGHTS = (
    "with `required_variables` or `expected_variables`: clients.kubernetes",
    may_list(*_LISTED, option="required_variables"),
    may_list(*_LISTED, option="expected_variables"),
    DISCOVERY,
)
"""What an item needs that checks variables where one of the options `required_variables` and `expected_variables` is set."""


async def list_stores(client: Kubernetes, namespaces: Collection[str]) -> Stores:
    """What writes Secrets in these namespaces; nothing where the cluster has no such kinds. Raises ProbeError without the right."""
    return Stores(
        tuple(one for one in await in_any_version(client, *EXTERNAL_SECRETS) if one.namespace in namespaces),
        tuple(one for one in await in_any_version(client, *SECRET_STORES) if one.namespace in namespaces),
        tuple(await in_any_version(client, *CLUSTER_SECRET_STORES)),
        tuple(one for one in await in_any_version(client, SEALED_SECRETS) if one.namespace in namespaces),
        tuple(one for one in await in_any_version(client, CERTIFICATES) if one.namespace in namespaces),
    )


async def see_variables(
    client: Kubernetes, required: Mapping[str, Sequence[str]], expected: Mapping[str, Mapping[str, str]]
) -> Result:
    """Whether the workloads that are named have what they require, and the values that are expected: in their template, and in
    each of their running pods.

    Raises ProbeError when Kubernetes cannot be asked, or the client does not look at one of the namespaces.
    """
    names = {path: tuple({*required.get(path, ()), *expected.get(path, ())}) for path in {**required, **expected}}
    named = {tuple(path.split("/")[:2]) for path in names}
    namespaces = {namespace for namespace, _ in named}
    snapshots = [await client.list(kind) for kind in (PODS, *WORKLOADS)]
    for namespace in sorted(namespaces):
        if snapshots[0].namespaces and namespace not in snapshots[0].namespaces:
            raise ProbeError(
                f"Namespace {namespace} is not among clients.kubernetes.namespaces, so it was not checked.",
                Reason.NOT_CONFIGURED,
            )
    pods, *templates = ([one for one in snapshot.items if one.namespace in namespaces] for snapshot in snapshots)
    parts = [one for one in each_part(chain(*templates), pods) if (one.namespace, one.name) in named]
    maps = [one for one in (await client.list(CONFIG_MAPS)).items if one.namespace in namespaces]
    stores = await list_stores(client, namespaces)
    problems = [
        *reference_problems(parts, maps),
        *variable_problems(parts, maps, stores, names),
        *value_problems(parts, maps, stores, expected),
    ]
    return with_selectors(verdict(problems, all_set(names, expected)), client.settings.selectors)
