"""Data Service"""

from __future__ import annotations

from pydantic import Field

from collectors.systems.http.check.service import ServiceCollector, ServiceOptions, ServiceSettings, ServiceTarget
from collectors.systems.kubernetes.check.pods import POD_RIGHTS
from exporter.collector import item
from exporter.verdict import CRITICAL, WARNING, Result


class _Options(ServiceOptions):
    """What may be set for the section and for one target."""

    database: str | None = Field(
        None, description="Name that the health endpoint gives the database, such as postgres."
    )
    cache: str | None = Field(None, description="Name that the health endpoint gives the cache, such as redis.")
    message_queue: str | None = Field(None, description="Name that the health endpoint gives the queue, such as nats.")


class DataTarget(ServiceTarget, _Options):
    """A data service."""


class DataSettings(ServiceSettings, _Options):
    """Options of the section."""

    targets: tuple[DataTarget, ...] = Field(min_length=1, description="The data services to check.")


class DataService(ServiceCollector[DataSettings, DataTarget]):
    """Asks each data service for its health and its metrics, one GET at a time."""

    Settings = DataSettings
    Target = DataTarget

    @item("Data service pods are running and healthy", severity=CRITICAL, needs=POD_RIGHTS)
    async def pods_healthy(self) -> Result:
        """Pods that restart, are not ready or are too few leave data unprocessed.

        The pods that `pods` selects are Ready, do not keep restarting, and their workload has all its replicas.

        How to fix it: `kubectl describe pod` and the log of the previous container show why the pod that is named is not ready.
        """
        return await self.see_pods()

    @item("Database connections are successful", severity=CRITICAL, needs=("url", "database"))
    async def database_connected(self) -> Result:
        """A service that lost its database still accepts requests, and fails them.

        The health endpoint reports the dependency named by `database` as up. An endpoint that does not report it leaves the line
        unknown.

        How to fix it: check the address, the credentials and the connection limit of the database as the service has them.
        """
        return await self.see_dependency(self.target.database, "database", "database")

    @item("Cache connections are successful", severity=CRITICAL, needs=("url", "cache"))
    async def cache_connected(self) -> Result:
        """A service without its cache is slow at best, and wrong where the cache holds sessions or locks.

        The health endpoint reports the dependency named by `cache` as up. An endpoint that does not report it leaves the line
        unknown.

        How to fix it: check the address, the credentials and the memory of the cache as the service has them.
        """
        return await self.see_dependency(self.target.cache, "cache", "cache")

    @item("Message queue connections are successful", severity=CRITICAL, needs=("url", "message_queue"))
    async def message_queue_connected(self) -> Result:
        """A service without its queue neither takes nor passes on work.

        The health endpoint reports the dependency named by `message_queue` as up. An endpoint that does not report it leaves the
        line unknown.

        How to fix it: check the address and the credentials of the queue as the service has them.
        """
        return await self.see_dependency(self.target.message_queue, "message_queue", "message queue")

    @item("Health check endpoint responds", severity=CRITICAL, needs=("url",))
    async def health_endpoint_responds(self) -> Result:
        """Load balancers, kubelets and people rely on the health endpoint: it has to answer, and to report what is broken.

        Verified as `api_service.health_endpoint_responds`.

        How to fix it: fix the dependency that is named, or let the endpoint report the dependencies that the service cannot do
        without.
        """
        return await self.see_health()

    @item("Metrics endpoint is accessible", severity=WARNING, needs=("url",))
    async def metrics_endpoint_accessible(self) -> Result:
        """Without metrics nobody sees how far processing has got.

        Verified as `api_service.metrics_endpoint_accessible`.

        How to fix it: register the missing metrics in the service; let the ingress refuse the path.
        """
        return await self.see_metrics()
