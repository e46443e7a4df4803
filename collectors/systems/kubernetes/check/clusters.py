"""What sections that judge a cluster have in common: its snapshots, limited to the namespaces of each target."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Generic, TypeVar

from collectors.systems.kubernetes.client.cluster import Kubernetes, NotServed, OtherVersions, Snapshot
from collectors.systems.kubernetes.judge.scope import (
    demand_namespaces,
    scope_problems,
    with_exemptions,
    with_selectors,
)
from collectors.systems.kubernetes.judge.workloads import workload_key
from collectors.systems.kubernetes.model.kind import Kind
from collectors.systems.kubernetes.model.kinds import (
    CRON_JOBS,
    LIMIT_RANGES,
    NAMESPACES,
    PODS,
    WORKLOADS,
)
from collectors.systems.kubernetes.model.objects import HorizontalPodAutoscaler, VerticalPodAutoscaler
from collectors.systems.kubernetes.model.pods import PodGroup
from collectors.systems.kubernetes.model.rbac import may_list
from collectors.systems.kubernetes.model.scope import NamespaceScope, Scope
from collectors.systems.kubernetes.model.workloads import Templated, planned_pods, with_owners
from exporter.collector import Collector, SectionSettings, Target, fetched
from exporter.verdict import ProbeError, Reason, Result, worst

__all__ = ["OWNER_RIGHTS", "PLANNED_RIGHTS", "OfCluster", "ScopedTarget", "in_any_version"]

T = TypeVar("T")

_OWNERS = tuple(kind for kind in WORKLOADS if kind is not CRON_JOBS)
OWNER_RIGHTS = may_list(*_OWNERS)
"""What an item needs that names the workloads of pods."""
PLANNED_RIGHTS = may_list(CRON_JOBS, LIMIT_RANGES)
"""What an item needs besides that judges pods that there would be."""


class ScopedTarget(Target, Scope):
    """A part of the cluster: namespaces that are judged by the same limits."""


SettingsT = TypeVar("SettingsT", bound=SectionSettings)
TargetT = TypeVar("TargetT", bound=ScopedTarget)
ScalerT = TypeVar("ScalerT", HorizontalPodAutoscaler, VerticalPodAutoscaler)


class OfCluster(Collector[SettingsT, TargetT], Generic[SettingsT, TargetT]):
    """Judges one snapshot of each kind of object, which the client takes and shares with all sections."""

    rights: ClassVar[str] = """\
The roles that a configuration needs, and no more, are printed by
  checklist-exporter list --rbac --config.file config.yaml
Bind them to the account of clients.kubernetes. Nothing of it reads Secrets, runs commands in pods, or reaches kubelets.
"""

    @fetched
    async def scope(self) -> NamespaceScope:
        """The namespaces that are judged.

        Raises ProbeError when there is none, or the client leaves out one that is named.
        """
        client = self.client(Kubernetes)
        return demand_namespaces(self.target.of((await client.list(NAMESPACES)).items, client.settings.namespaces))

    @fetched
    async def pods(self) -> Sequence[PodGroup]:
        """The pods in them, each with all its owners.

        Raises ProbeError where what may own them may not be listed.
        """
        found = (await self.scope()).within(await self.everything(PODS))
        owners: list[Templated] = [one for kind in _OWNERS for one in await self.everything(kind)]
        return with_owners(found, owners)

    @fetched
    async def planned(self) -> Sequence[PodGroup]:
        """The pods that there would be of workloads that have none now: of CronJobs between runs, and of what is scaled to zero."""
        scope = await self.scope()
        workloads = [one for kind in WORKLOADS for one in scope.within(await self.everything(kind))]
        return planned_pods(workloads, await self.pods(), await self.everything(LIMIT_RANGES))

    async def snapshot(self, kind: Kind[T]) -> Snapshot[T]:
        """All objects of a kind in the cluster, and the moment. Raises ProbeError, with the right that is missing."""
        return await self.client(Kubernetes).list(kind)

    async def everything(self, kind: Kind[T]) -> Sequence[T]:
        """All objects of a kind in the cluster. Raises ProbeError, with the right that is missing."""
        return (await self.snapshot(kind)).items

    async def if_served(self, kind: Kind[T]) -> Sequence[T] | None:
        """All objects of a kind in the cluster; None when it has no such kind."""
        return await _if_served(self.client(Kubernetes), kind)

    async def in_any_version(self, *kinds: Kind[T]) -> Sequence[T]:
        """See the function of this name."""
        return await in_any_version(self.client(Kubernetes), *kinds)

    async def scaling(self, kind: Kind[ScalerT], required: Iterable[str]) -> Sequence[ScalerT]:
        """The autoscalers of a kind of workloads that are judged, and of those that are `required` wherever they are.

        Raises NotServed when the cluster has no such kind, ProbeError when the client leaves out a namespace where one is required.
        """
        scope, found = await self.scope(), await self.snapshot(kind)
        wanted = {workload_key(reference): reference for reference in required}
        for (namespace, *_), reference in wanted.items():
            if found.namespaces and namespace not in found.namespaces:
                raise ProbeError(
                    f"{namespace} is not among clients.kubernetes.namespaces, so what scales {reference} was not checked.",
                    Reason.NOT_CONFIGURED,
                )
        return [
            scaler
            for scaler in found.items
            if scaler.target in wanted or (scaler.namespace in scope.namespaces and self.target.judges(scaler.target))
        ]

    async def in_scope(self, result: Result) -> Result:
        """A verdict on namespaces that exist, with those that do not, what is exempt, and what the client's selectors leave out."""
        judged = worst(result, *scope_problems(await self.scope()))
        return self.with_selectors(with_exemptions(judged, self.target))

    def with_selectors(self, result: Result) -> Result:
        """A verdict with what the client's selectors leave out."""
        return with_selectors(result, self.client(Kubernetes).settings.selectors)


async def _if_served(client: Kubernetes, kind: Kind[T]) -> Sequence[T] | None:
    try:
        return (await client.list(kind)).items
    except NotServed:
        return None


async def in_any_version(client: Kubernetes, *kinds: Kind[T]) -> Sequence[T]:
    """All objects of a kind in the first of its versions that the cluster serves; none when it has no such kind.

    Raises ProbeError when it serves others only, or a right is missing.
    """
    *others, last = kinds
    for kind in others:
        try:
            return await _if_served(client, kind) or ()
        except OtherVersions:
            continue
    return await _if_served(client, last) or ()
