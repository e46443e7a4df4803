"""Orchestrator Service"""

from __future__ import annotations

from pydantic import Field

from collectors.systems.http.check.service import ServiceCollector, ServiceOptions, ServiceSettings, ServiceTarget
from collectors.systems.kubernetes.check.pods import POD_RIGHTS
from exporter.collector import item
from exporter.verdict import CRITICAL, WARNING, Result


class OrchestratorTarget(ServiceTarget):
    """An orchestrator."""


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
