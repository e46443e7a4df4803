"""Resource Allocation"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from pydantic import Field

from collectors.systems.kubernetes.check.clusters import OWNER_RIGHTS, PLANNED_RIGHTS, OfCluster, ScopedTarget
from collectors.systems.kubernetes.judge.autoscalers import (
    HpaOptions,
    judge_hpa_thresholds,
    judge_hpas,
    judge_vpa_bounds,
)
from collectors.systems.kubernetes.judge.resources import (
    ResourceOptions,
    judge_cpu_limits,
    judge_memory_limits,
    judge_requests,
    running,
)
from collectors.systems.kubernetes.model.kinds import (
    HORIZONTAL_POD_AUTOSCALERS,
    NAMESPACES,
    NODES,
    PODS,
    VERTICAL_POD_AUTOSCALERS,
)
from collectors.systems.kubernetes.model.pods import PodGroup
from collectors.systems.kubernetes.model.rbac import DISCOVERY, may_list
from collectors.systems.kubernetes.model.scope import Scope
from exporter.collector import Mode, SectionSettings, fetched, item
from exporter.evidence.rules import EvidenceRule
from exporter.verdict import CRITICAL, INFO, WARNING, ProbeError, Reason, Result, Status, worst


class _Options(Scope, ResourceOptions, HpaOptions):
    """What may be set for the section and for one target."""


class ResourceTarget(ScopedTarget, _Options):
    """A part of the cluster: namespaces that are judged by the same limits."""


class ResourceSettings(SectionSettings, _Options):
    """Options of the section."""

    targets: tuple[ResourceTarget, ...] = Field(
        min_length=1, description="The parts of the cluster to verify; one is enough when all have the same limits."
    )


class ResourceAllocation(OfCluster[ResourceSettings, ResourceTarget]):
    """Judges the pods that run, and templates only where no pod runs now: defaults and autoscalers act in between."""

    Settings = ResourceSettings
    Target = ResourceTarget

    @fetched
    async def live(self) -> Sequence[PodGroup]:
        """The pods that are judged: those that run, and those that there would be. Raises ProbeError when there is none."""
        found = running([*await self.pods(), *await self.planned()], self.target, self.target.exempts)
        if not found:
            raise ProbeError(
                f"No pod runs in the namespaces of {self.target.name}, so nothing was checked.", Reason.MISSING
            )
        return found

    @item(
        "CPU limits are set for all pods",
        severity=WARNING,
        needs=(may_list(NAMESPACES, PODS), OWNER_RIGHTS, PLANNED_RIGHTS),
    )
    async def cpu_limits_set(self) -> Result:
        """A container without a CPU limit may take all that its node has left, and slow down whatever runs beside it.

        Every container of every pod has a limit, init containers and sidecars too, or its pod has one for all of them. Pods are
        checked and not templates, as LimitRanges add limits when pods are made; the pods that a CronJob between runs or a workload
        at zero would make count too, with those defaults. A resize that is Infeasible fails. Many leave CPU limits out on purpose,
        because a limit throttles even on an idle node: with `cpu_limit_policy: advisory` missing ones are a warning.

        To fix it: set `resources.limits.cpu` in the workload's template, or a LimitRange with a default; then roll it out.
        """
        return await self.in_scope(judge_cpu_limits(await self.live(), self.target))

    @item(
        "Memory limits are set for all pods",
        severity=CRITICAL,
        needs=(may_list(NAMESPACES, PODS), OWNER_RIGHTS, PLANNED_RIGHTS),
    )
    async def memory_limits_set(self) -> Result:
        """A container that leaks memory takes its node down, and every pod there with it, unless a limit stops it first.

        Every container of every pod has a limit, init containers and sidecars too, or its pod has one for all of them; so do the
        pods that a CronJob between runs or a workload at zero would make. Less than 1 MiB is none (`128m` is an eighth of a byte).
        A container that was OOMKilled within 24 hours is a warning: it has a limit, and the wrong one.

        To fix it: set `resources.limits.memory` in the workload's template to what it uses at its busiest; then roll it out.
        """
        taken = (await self.snapshot(PODS)).taken
        return await self.in_scope(judge_memory_limits(await self.live(), taken))

    @item(
        "Resource requests are configured",
        severity=CRITICAL,
        needs=(may_list(NAMESPACES, PODS, NODES), OWNER_RIGHTS, PLANNED_RIGHTS),
    )
    async def resource_requests_configured(self) -> Result:
        """The scheduler places pods by their requests alone: without them nodes fill up until the kernel kills what it likes.

        Every container of every pod requests CPU and memory, or its pod does for all of them; so do the pods that a CronJob between
        runs or a workload at zero would make. None requests more than its limit; no pod is of QoS class BestEffort, which is
        evicted first. Less than 1 MiB of memory is none. What all pods of a node, those that are not judged too, request beyond
        what it has, or may take of its memory beyond `max_memory_overcommit`, is a warning, as is a request that no node fulfils.

        To fix it: set `resources.requests` in the workload's template, or a LimitRange with a defaultRequest; then roll it out.
        """
        nodes, everywhere = await self.everything(NODES), await self.everything(PODS)
        return await self.in_scope(judge_requests(await self.live(), nodes, self.target, everywhere))

    @item(
        "HPA thresholds are configured",
        severity=WARNING,
        needs=(may_list(NAMESPACES, HORIZONTAL_POD_AUTOSCALERS),),
    )
    async def hpa_thresholds_configured(self) -> Result:
        """An autoscaler that aims at 95 % scales when it is too late, one that aims at 20 % keeps four nodes for the work of one.

        Each HorizontalPodAutoscaler works, as the section Kubernetes verifies; it has metrics, reads all of them, and aims at a
        utilization of CPU or memory within `hpa_range`. Metrics of other kinds have no range. There must be at least one.

        To fix it: set `averageUtilization` of the metric; when metrics are missing, see the conditions of `kubectl describe hpa`.
        """
        hpas = await self.scaling(HORIZONTAL_POD_AUTOSCALERS, self.target.hpa_required)
        taken = (await self.snapshot(HORIZONTAL_POD_AUTOSCALERS)).taken
        works, aims = judge_hpas(hpas, self.target, taken), judge_hpa_thresholds(hpas, self.target)
        return await self.in_scope(aims if works.status.is_ok and aims.status.is_ok else worst(aims, works))

    @item(
        "VPA recommendations are reviewed",
        severity=INFO,
        mode=Mode.PROBE_AND_EVIDENCE,
        needs=(
            may_list(NAMESPACES, PODS, VERTICAL_POD_AUTOSCALERS),
            OWNER_RIGHTS,
            PLANNED_RIGHTS,
            DISCOVERY,
            "a record of a review, where requests are outside",
        ),
        evidence=EvidenceRule(valid_for=timedelta(days=30)),
    )
    async def vpa_recommendations_reviewed(self) -> Result:
        """Recommendations that nobody reads change nothing: requests stay as they were guessed.

        For each VerticalPodAutoscaler the requests of its containers are within the bounds that it recommends, of those resources
        for which it does. Outside is a warning while a record shows that somebody reviewed it within 30 days, and failed without
        one. A recommendation of low confidence is unknown, as is a cluster without VerticalPodAutoscalers.

        To fix it: change the requests, or record why they are right (`checklist-exporter attest`).
        """
        bounds = judge_vpa_bounds(await self.scaling(VERTICAL_POD_AUTOSCALERS, ()), await self.live())
        if bounds.status is not Status.WARNING:
            return await self.in_scope(bounds)
        reviewed = await self.attested("vpa_recommendations_reviewed")
        summary = f"{bounds.summary} {reviewed.summary}"
        return await self.in_scope(replace(worst(bounds, reviewed), summary=summary))
