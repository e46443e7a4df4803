"""Whether named workloads have the environment variables that they need, and what writes their Secrets."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from msgspec.structs import replace

from collectors.shared.verdicts import verdict
from collectors.systems.kubernetes.check.clusters import in_any_version
from collectors.systems.kubernetes.client.cluster import Kubernetes
from collectors.systems.kubernetes.judge.scope import with_selectors
from collectors.systems.kubernetes.model.rbac import DISCOVERY, may_list
from collectors.systems.secrets.judge.variables import variable_problems
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
from collectors.systems.secrets.model.workloads import ConfigMap, Workload, merged
from exporter.verdict import ProbeError, Reason, Result, ok
from exporter.words import counted

__all__ = ["VARIABLE_RIGHTS", "list_stores", "see_variables"]

VARIABLE_RIGHTS = (
    "with `required_variables`: clients.kubernetes",
    may_list(PODS, *WORKLOADS, CONFIG_MAPS, *STORE_KINDS, option="required_variables"),
    DISCOVERY,
)
"""What an item needs that checks variables where the option `required_variables` is set."""


async def list_stores(client: Kubernetes, namespaces: Collection[str]) -> Stores:
    """What writes Secrets in these namespaces; nothing where the cluster has no such kinds. Raises ProbeError without the right."""
    return Stores(
        tuple(one for one in await in_any_version(client, *EXTERNAL_SECRETS) if one.namespace in namespaces),
        tuple(one for one in await in_any_version(client, *SECRET_STORES) if one.namespace in namespaces),
        tuple(await in_any_version(client, *CLUSTER_SECRET_STORES)),
        tuple(one for one in await in_any_version(client, SEALED_SECRETS) if one.namespace in namespaces),
        tuple(one for one in await in_any_version(client, CERTIFICATES) if one.namespace in namespaces),
    )


def _with_state(template: Workload, together: Mapping[tuple[str, str, str], Workload]) -> Workload:
    """A template with the containers that its pods run: these prove that the Secrets exist which it refers to."""
    known = together.get((template.namespace, template.kind, template.name))
    return replace(template, running=known.running) if known else template


def _part_problems(
    parts: Sequence[Workload], maps: Sequence[ConfigMap], stores: Stores, required: Mapping[str, Sequence[str]]
) -> Iterator[Result]:
    for path, names in required.items():
        found = [one for one in parts if [one.namespace, one.name] == path.split("/")[:2]]
        for part in found:
            yield from variable_problems([part], maps, stores, {path: names})
        if not found:
            yield from variable_problems([], maps, stores, {path: names})


async def see_variables(client: Kubernetes, required: Mapping[str, Sequence[str]]) -> Result:
    """Whether the workloads that are named have what they require: in their template, and in each of their running pods.

    A variable that only the template has is not in the pods that run yet, and one that only they have is gone after a restart.
    Raises ProbeError when Kubernetes cannot be asked, or the client does not look at one of the namespaces.
    """
    named = {tuple(path.split("/")[:2]) for path in required}
    namespaces = {namespace for namespace, _ in named}
    snapshots = [await client.list(kind) for kind in (PODS, *WORKLOADS)]
    for namespace in sorted(namespaces):
        if snapshots[0].namespaces and namespace not in snapshots[0].namespaces:
            raise ProbeError(
                f"Namespace {namespace} is not among clients.kubernetes.namespaces, so it was not checked.",
                Reason.NOT_CONFIGURED,
            )
    pods, *templates = ([one for one in snapshot.items if one.namespace in namespaces] for snapshot in snapshots)
    workloads = [template for found in templates for template in found]
    together = {(one.namespace, one.kind, one.name): one for one in merged([*workloads, *pods])}
    parts = [_with_state(one, together) for one in workloads] + [one for one in pods if one.running or one.refused]
    parts = [one for one in parts if (one.namespace, one.name) in named]
    maps = [one for one in (await client.list(CONFIG_MAPS)).items if one.namespace in namespaces]
    problems = list(_part_problems(parts, maps, await list_stores(client, namespaces), required))
    names = sum(map(len, required.values()))
    good = ok(
        f"{counted(names, 'required variable')} of {counted(len(named), 'workload')} {'is' if names == 1 else 'are'} set, "
        "in the template and in every running pod.",
        required_variables=names,
    )
    return with_selectors(verdict(problems, good), client.settings.selectors)
