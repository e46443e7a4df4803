"""Data Service"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

from pydantic import Field

from collectors.shared import stores
from collectors.shared.verdicts import worst_of
from collectors.systems.connections.client import (
    CacheClients,
    DatabaseClients,
    QueueClients,
    ask_cache,
    ask_database,
    ask_queue,
)
from collectors.systems.connections.judge import judge_connections
from collectors.systems.connections.model import Connected, Whose
from collectors.systems.http.check.service import ServiceCollector, ServiceOptions, ServiceSettings, ServiceTarget
from collectors.systems.kubernetes.check.pods import POD_RIGHTS, Schedule, see_cron_job
from collectors.systems.kubernetes.model.kinds import CRON_JOBS, JOBS
from collectors.systems.kubernetes.model.rbac import may_list
from collectors.systems.prometheus.check.conditions import ComparedCondition, see_condition
from collectors.systems.prometheus.client import Prometheus
from exporter.collector import item
from exporter.verdict import CRITICAL, WARNING, ProbeError, Reason, Result, Status, unknown, unobserved


class _Options(ServiceOptions):
    """What may be set for the section and for one target."""

    database: str | None = Field(
        None, description="Name that the health endpoint gives the database, such as postgres."
    )
    cache: str | None = Field(None, description="Name that the health endpoint gives the cache, such as redis.")
    message_queue: str | None = Field(None, description="Name that the health endpoint gives the queue, such as nats.")


class DataTarget(ServiceTarget, _Options):
    """A data service."""

    database_clients: DatabaseClients | None = Field(
        None, description="The database's own list of connections, for what the health endpoint does not report."
    )
    cache_clients: CacheClients | None = Field(
        None, description="The cache's own list of connections, for what the health endpoint does not report."
    )
    queue_clients: QueueClients | None = Field(
        None, description="The queue's own list of connections, for what the health endpoint does not report."
    )
    cronjobs: tuple[Schedule, ...] = Field(
        (), description="CronJobs that process its data, such as `{namespace: shop, name: nightly-import}`."
    )
    job_conditions: tuple[ComparedCondition, ...] = Field(
        (),
        description="PromQL conditions that every series of their left side must satisfy while its jobs work, such as "
        "`time() - import_last_success_timestamp_seconds < 7200`.",
    )


class DataSettings(ServiceSettings, _Options):
    """Options of the section."""

    targets: tuple[DataTarget, ...] = Field(min_length=1, description="The data services to check.")


class DataService(ServiceCollector[DataSettings, DataTarget]):
    """Asks each data service for its health and its metrics, one GET at a time."""

    Settings = DataSettings
    Target = DataTarget
    rights = """\
In PostgreSQL, for `database_clients`:
  CREATE ROLE checklist_exporter LOGIN PASSWORD 'PASSWORD';
  GRANT pg_read_all_stats TO checklist_exporter;
In Redis, for `cache_clients`:
  ACL SETUSER checklist on >PASSWORD -@all +client|list
"""

    @classmethod
    def relies_on(cls, target: DataTarget) -> Mapping[str, Iterable[str]]:
        """The stores whose connections are counted."""
        found: dict[str, Iterable[str]] = {}
        if target.database_clients:
            found["database_connected"] = stores.postgresql(target.database_clients.dsn)
        if target.cache_clients:
            found["cache_connected"] = stores.redis([target.cache_clients.redis])
        if target.queue_clients:
            found["message_queue_connected"] = stores.nats_monitoring([target.queue_clients.monitoring.url])
        return found

    async def _connected(
        self, name: str | None, option: str, what: str, whose: Whose | None, ask: Callable[[], Awaitable[Connected]]
    ) -> Result:
        """The verdict of the health endpoint, or what the server lists where that endpoint shows nothing."""
        try:
            reported = await self.see_dependency(name, option, what)
        except ProbeError as why:
            reported = unobserved(why)
        if whose is None or reported.status is not Status.UNKNOWN:
            return reported
        counted = judge_connections(await ask(), whose)
        return counted if counted.status.is_ok or name is None else reported

    @item("Data service pods are running and healthy", severity=CRITICAL, needs=POD_RIGHTS)
    async def pods_healthy(self) -> Result:
        """Pods that restart, are not ready or are too few leave data unprocessed.

        The pods that `pods` selects are Ready, do not keep restarting, and their workload has all its replicas.

        How to fix it: `kubectl describe pod` and the log of the previous container show why the pod that is named is not ready.
        """
        return await self.see_pods()

    @item("Database connections are successful", severity=CRITICAL, needs=("url", "database or database_clients"))
    async def database_connected(self) -> Result:
        """A service that lost its database still accepts requests, and fails them.

        The health endpoint reports the dependency named by `database` as up. Where it does not report it, the line is unknown
        unless the server itself, by `database_clients`, lists a connection of the service that was used lately.

        How to fix it: check the address, the credentials and the connection limit of the database as the service has them.
        """
        target, clients = self.target, self.target.database_clients

        async def listed() -> Connected:
            assert clients is not None
            return await ask_database(clients, target.request_timeout)

        return await self._connected(target.database, "database", "database", clients, listed)

    @item("Cache connections are successful", severity=CRITICAL, needs=("url", "cache or cache_clients"))
    async def cache_connected(self) -> Result:
        """A service without its cache is slow at best, and wrong where the cache holds sessions or locks.

        The health endpoint reports the dependency named by `cache` as up. Where it does not report it, the line is unknown
        unless the server itself, by `cache_clients`, lists a connection of the service that was used lately.

        How to fix it: check the address, the credentials and the memory of the cache as the service has them.
        """
        target, clients = self.target, self.target.cache_clients

        async def listed() -> Connected:
            assert clients is not None
            return await ask_cache(clients, target.request_timeout)

        return await self._connected(target.cache, "cache", "cache", clients, listed)

    @item(
        "Message queue connections are successful", severity=CRITICAL, needs=("url", "message_queue or queue_clients")
    )
    async def message_queue_connected(self) -> Result:
        """A service without its queue neither takes nor passes on work.

        The health endpoint reports the dependency named by `message_queue` as up. Where it does not report it, the line is unknown
        unless the server itself, by `queue_clients`, lists a connection of the service.

        How to fix it: check the address and the credentials of the queue as the service has them.
        """
        target, clients = self.target, self.target.queue_clients

        async def listed() -> Connected:
            assert clients is not None
            return await ask_queue(clients)

        return await self._connected(target.message_queue, "message_queue", "message queue", clients, listed)

    @item(
        "Data processing jobs are operational",
        severity=CRITICAL,
        needs=(
            "cronjobs or job_conditions",
            "with `job_conditions`: clients.prometheus",
            may_list(CRON_JOBS, JOBS, option="cronjobs"),
        ),
    )
    async def processing_jobs_operational(self) -> Result:
        """A job that no longer runs leaves no error behind: data is old, and nobody is alerted.

        Each of `cronjobs` is not suspended, its last Job has not failed, and it succeeded within its schedule (`factor` periods):
        between runs there is no pod, and that proves nothing. Each of `job_conditions` is true of every series that it selects, of
        which there has to be one: use a job's own timestamp of its last success.

        How to fix it: `kubectl describe cronjob` and the log of the last Job's pod; let jobs report when they last succeeded.
        """
        target = self.target
        if not target.cronjobs and not target.job_conditions:
            return unknown(
                f"Neither cronjobs nor job_conditions of {target.name} is configured, so its jobs were not checked.",
                reason=Reason.NOT_CONFIGURED,
            )
        return await worst_of(
            *(see_cron_job(self, schedule, "processes its data") for schedule in target.cronjobs),
            *(self._condition(condition) for condition in target.job_conditions),
        )

    async def _condition(self, condition: str) -> Result:
        return await see_condition(self.client(Prometheus), condition)

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
