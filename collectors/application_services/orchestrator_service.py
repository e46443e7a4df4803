"""Orchestrator Service"""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import timedelta

from pydantic import Field

from collectors.shared.verdicts import worst_of
from collectors.systems.http.check.service import ServiceCollector, ServiceOptions, ServiceSettings, ServiceTarget
from collectors.systems.kubernetes.check.pods import POD_RIGHTS
from collectors.systems.prefect.check import see_prefect
from collectors.systems.prefect.client import Prefect
from collectors.systems.prometheus.check.conditions import ComparedCondition, see_condition
from collectors.systems.prometheus.check.outcomes import see_outcomes
from collectors.systems.prometheus.client import Prometheus
from collectors.systems.prometheus.model.outcomes import Outcomes
from collectors.systems.temporal.check import see_temporal
from collectors.systems.temporal.client import Temporal
from exporter.collector import Mode, item
from exporter.evidence.rules import EvidenceRule
from exporter.verdict import CRITICAL, WARNING, Reason, Result, unknown


class Workflows(Outcomes):
    """Runs of workflows as counters, and what shows that none is left lying."""

    backlog_conditions: tuple[ComparedCondition, ...] = Field(
        min_length=1,
        description="PromQL conditions that every series of their left side must satisfy while no run is late or stuck, such as "
        "`workflow_runs_late == 0`.",
    )


class OrchestratorTarget(ServiceTarget):
    """An orchestrator."""

    openai: Outcomes | None = Field(None, description="Its calls of the OpenAI API, as counters in Prometheus.")
    workflows: Workflows | None = Field(None, description="Its runs of workflows, as metrics in Prometheus.")
    temporal: Temporal | None = Field(None, description="The Temporal server that its workflows run on.")
    prefect: Prefect | None = Field(None, description="The Prefect server that its flows run on.")


class OrchestratorSettings(ServiceSettings, ServiceOptions):
    """Options of the section."""

    targets: tuple[OrchestratorTarget, ...] = Field(min_length=1, description="The orchestrators to check.")


class OrchestratorService(ServiceCollector[OrchestratorSettings, OrchestratorTarget]):
    """Asks each orchestrator for its health and its metrics, one GET at a time."""

    Settings = OrchestratorSettings
    Target = OrchestratorTarget

    @item("Orchestrator pods are running and healthy", severity=CRITICAL, needs=POD_RIGHTS)
    async def pods_healthy(self) -> Result:
        """Pods that restart, are not ready or are too few leave workflows unfinished.

        The pods that `pods` selects are Ready, do not keep restarting, and their workload has all its replicas.

        How to fix it: `kubectl describe pod` and the log of the previous container show why the pod that is named is not ready.
        """
        return await self.see_pods()

    @item(
        "OpenAI API integration is tested",
        severity=WARNING,
        mode=Mode.PROBE_AND_EVIDENCE,
        needs=("openai", "clients.prometheus", "a record of a test"),
        evidence=EvidenceRule(valid_for=timedelta(days=90)),
    )
    async def openai_integration_tested(self) -> Result:
        """A key that was revoked, a quota that is used up or a model that was retired is found by users first.

        Within `window` the counters of `openai` grew, some calls succeeded, and no more than `max_failure_ratio` did not.
        Counters that stand still prove nothing. A record, at most 90 days old, has to confirm that failures were tested too:
        refused keys, rate limits, timeouts. The exporter itself makes no call, which would cost money.

        How to fix it: see the status of the failed calls (401 key, 429 rate or quota, 404 model); test and record it with
        `checklist-exporter attest orchestrator_service.openai_integration_tested`.
        """
        return await worst_of(self._openai(), self.attested("openai_integration_tested"))

    async def _openai(self) -> Result:
        if (openai := self.target.openai) is None:
            return unknown(
                f"openai of {self.target.name} is not configured, so its calls were not checked.",
                reason=Reason.NOT_CONFIGURED,
            )
        return await see_outcomes(self.client(Prometheus), openai, "OpenAI API call")

    @item(
        "Workflow orchestration is functional",
        severity=CRITICAL,
        needs=("temporal, prefect, or workflows with clients.prometheus",),
    )
    async def workflow_orchestration_functional(self) -> Result:
        """An engine is healthy while nobody takes its work: a workflow without a worker is running, or scheduled, for ever.

        Within `window` runs ended, some with success, and no more than `max_failure_ratio` otherwise. With `temporal`, workers poll
        each task queue for what they run, no task waits for longer than `max_backlog_age`, no workflow is running on a task queue
        that nobody polls or while its tasks fail again and again, and `schedules` start workflows. With `prefect`, work pools are
        not paused, workers are alive and ask every queue, and no run is late, taken and not begun, or running for ever. With
        `workflows`, each of `backlog_conditions` is true of every series that it selects, of which there has to be one.

        How to fix it: start the workers of the queue or pool whose runs are late; compare its name with theirs.
        """
        target = self.target
        parts: list[Awaitable[Result]] = []
        if target.temporal is not None:
            parts.append(see_temporal(target.temporal, self.now))
        if target.prefect is not None:
            parts.append(see_prefect(target.prefect, self.now))
        if target.workflows is not None:
            parts.append(self._counted(target.workflows))
        if not parts:
            return unknown(
                f"Neither temporal, prefect nor workflows of {target.name} is configured, so its workflows were not checked.",
                reason=Reason.NOT_CONFIGURED,
            )
        return await worst_of(*parts)

    async def _counted(self, workflows: Workflows) -> Result:
        """Runs and backlog as Prometheus has them."""
        prometheus = self.client(Prometheus)
        return await worst_of(
            *(see_condition(prometheus, condition) for condition in workflows.backlog_conditions),
            see_outcomes(prometheus, workflows, "workflow run"),
        )

    @item("Health check endpoint responds", severity=CRITICAL, needs=("url",))
    async def health_endpoint_responds(self) -> Result:
        """Load balancers, kubelets and people rely on the health endpoint: it has to answer, and to report what is broken.

        Verified as `api_service.health_endpoint_responds`. It says nothing of workflows: an engine is healthy while nobody takes
        its work.

        How to fix it: fix the dependency that is named, or let the endpoint report the dependencies that the service cannot do
        without.
        """
        return await self.see_health()

    @item("Metrics endpoint is accessible", severity=WARNING, needs=("url",))
    async def metrics_endpoint_accessible(self) -> Result:
        """Without metrics nobody sees workflows pile up.

        Verified as `api_service.metrics_endpoint_accessible`.

        How to fix it: register the missing metrics in the service; let the ingress refuse the path.
        """
        return await self.see_metrics()
