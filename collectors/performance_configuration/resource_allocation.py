"""Resource Allocation"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from pydantic import Field

from collectors.clients.kubernetes import Kind, Kubernetes
from collectors.clients.kubernetes_kinds import NAMESPACES, NODES, PODS
from collectors.clients.kubernetes_pods import Pod
from collectors.clients.kubernetes_rights import may_list
from collectors.judgements.resources import (
    ResourceOptions,
    judge_cpu_limits,
    judge_memory_limits,
    judge_requests,
    running,
)
from collectors.judgements.scope import Part, Scope
from exporter.collector import (
    CRITICAL,
    WARNING,
    Cannot,
    Collector,
    Result,
    SectionSettings,
    Target,
    fetched,
    item,
    worst,
)

T = TypeVar("T")


class _Options(Scope, ResourceOptions):
    """What may be set for the section and for one target."""


class ResourceTarget(Target, _Options):
    """A part of the cluster: namespaces that are judged by the same limits."""


class ResourceSettings(SectionSettings, _Options):
    """Options of the section."""

    targets: tuple[ResourceTarget, ...] = Field(
        min_length=1, description="The parts of the cluster to look at; one is enough when all have the same limits."
    )


class ResourceAllocation(Collector[ResourceSettings, ResourceTarget]):
    """Judges the pods that run, not the templates that they were made of: defaults and autoscalers act in between."""

    Settings = ResourceSettings
    Target = ResourceTarget
    rights = """\
The roles that a configuration needs, and no more, are printed by
  checklist-exporter list --rbac --config.file config.yaml
Bind them to the account of clients.kubernetes.
"""

    @fetched
    async def part(self) -> Part:
        """The namespaces that are judged. Raises Cannot when there is none, or the client does not look at one that is named."""
        client = self.client(Kubernetes)
        return self.target.of((await client.list(NAMESPACES)).items, client.settings.namespaces)

    @fetched
    async def pods(self) -> Sequence[Pod]:
        """The pods in them that run. Raises Cannot when there is none."""
        found = running((await self.part()).within(await self._all(PODS)), self.target, self.target.exempts)
        if not found:
            raise Cannot(f"No pod runs in the namespaces of {self.target.name}, so nothing was seen.")
        return found

    async def _all(self, kind: Kind[T]) -> Sequence[T]:
        return (await self.client(Kubernetes).list(kind)).items

    async def _told(self, result: Result) -> Result:
        """The verdict on the namespaces that are there, with those that are not, and what is exempt."""
        return self.target.told(worst(result, *(await self.part()).missing))

    @item("CPU limits are set for all pods", severity=WARNING, needs=(may_list(NAMESPACES, PODS),))
    async def cpu_limits_set(self) -> Result:
        """A container without a CPU limit may take all that its node has left, and slow down whatever runs beside it.

        Every container of every running pod has a limit, init containers and sidecars too, or its pod has one for all of them. Pods
        are looked at and not templates, as LimitRanges add limits when pods are made. Many leave CPU limits out on purpose, because
        a limit throttles even on an idle node: with `cpu_limit_policy: advisory` they are told as a warning.

        To mend it: `resources.limits.cpu` in the workload's template, or a LimitRange with a default; then roll it out.
        """
        return await self._told(judge_cpu_limits(await self.pods(), self.target))

    @item("Memory limits are set for all pods", severity=CRITICAL, needs=(may_list(NAMESPACES, PODS),))
    async def memory_limits_set(self) -> Result:
        """A container that leaks memory takes its node down, and every pod there with it, unless a limit stops it first.

        Every container of every running pod has a limit, init containers and sidecars too, or its pod has one for all of them. A
        container that was killed for want of memory (OOMKilled) within 24 hours is a warning: it has a limit, and the wrong one.

        To mend it: `resources.limits.memory` in the workload's template, by what it uses at its busiest; then roll it out.
        """
        taken = (await self.client(Kubernetes).list(PODS)).taken
        return await self._told(judge_memory_limits(await self.pods(), taken))

    @item("Resource requests are configured", severity=CRITICAL, needs=(may_list(NAMESPACES, PODS, NODES),))
    async def resource_requests_configured(self) -> Result:
        """The scheduler places pods by their requests alone: without them nodes fill up until the kernel kills what it likes.

        Every container of every running pod requests CPU and memory, or its pod does for all of them; none requests more than its
        limit; no pod is of QoS class BestEffort, which is evicted first. What the pods of a node request beyond what it has, or may
        take of its memory beyond `max_memory_overcommit`, is a warning.

        To mend it: `resources.requests` in the workload's template, or a LimitRange with a defaultRequest; then roll it out.
        """
        return await self._told(judge_requests(await self.pods(), await self._all(NODES), self.target))
