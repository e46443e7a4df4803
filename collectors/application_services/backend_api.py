"""Backend API (FastAPI)"""

from __future__ import annotations

from pathlib import Path as File
from typing import Self

from pydantic import Field, model_validator

from collectors.systems.http.check.service import (
    ServiceCollector,
    ServiceOptions,
    ServiceSettings,
    ServiceTarget,
    document_service,
)
from collectors.systems.http.check.values import texts_at
from collectors.systems.http.model.conditions import Expression
from collectors.systems.http.model.documentation import DocumentationOptions
from collectors.systems.http.model.paths import Path
from collectors.systems.kubernetes.check.pods import POD_RIGHTS
from collectors.systems.postgresql.check.migrations import see_migrations
from collectors.systems.postgresql.model.migrations import Migrations, read_heads
from collectors.systems.workers.check import see_workers
from collectors.systems.workers.client import Workers
from exporter.collector import item
from exporter.files import TooLarge, read_file
from exporter.verdict import CRITICAL, INFO, ProbeError, Reason, Result, unknown

_MAX_FILE = 2**20


class _Options(ServiceOptions, DocumentationOptions):
    """What may be set for the section and for one target."""

    docs_paths: tuple[Path, ...] = Field(
        ("/docs", "/redoc"), min_length=1, description="Paths of the pages that document the API."
    )


class _Expected(Migrations):
    """A database, and where it is known which migrations the running release expects there."""

    expected_file: File | None = Field(
        None, description="File with one of `expected_heads` a line, instead of that; read at each run."
    )
    expected_path: Path | None = Field(
        None, description="Path at which the service itself answers which migrations it expects, instead of that."
    )
    expected_value: Expression = Field(
        "json.migrations", description="What to take out of that answer in CEL: a text or a list of texts."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if [bool(self.expected_heads), self.expected_file is not None, self.expected_path is not None].count(True) != 1:
            raise ValueError("expected exactly one of expected_heads, expected_file and expected_path")
        return self


class BackendTarget(ServiceTarget, _Options):
    """A backend, of whatever framework."""

    migrations: _Expected | None = Field(
        None, description="Its database, and the migrations that the release expects there."
    )

    workers: Workers | None = Field(None, description="What runs its background tasks, and where they wait.")


class BackendSettings(ServiceSettings, _Options):
    """Options of the section."""

    targets: tuple[BackendTarget, ...] = Field(min_length=1, description="The backends to check.")


class BackendApi(ServiceCollector[BackendSettings, BackendTarget]):
    """Asks each backend by a few harmless GET requests, one at a time."""

    Settings = BackendSettings
    Target = BackendTarget
    rights = """\
In the database of `migrations`:
  CREATE ROLE checklist_exporter LOGIN PASSWORD 'PASSWORD';
  GRANT SELECT ON alembic_version TO checklist_exporter;  -- or the table of another tool, and of its lock
In the Redis of `workers`, with the pattern of the keys that the framework uses:
  ACL SETUSER checklist on >PASSWORD ~celery* ~unacked -@all +select +client|list +hlen +llen +lindex
  ACL SETUSER checklist on >PASSWORD ~arq:* -@all +select +time +pttl +zcount +zrangebyscore +exists
  ACL SETUSER checklist on >PASSWORD ~dramatiq:* -@all +select +time +zrevrange +llen +lindex
  ACL SETUSER checklist on >PASSWORD ~rq:* -@all +select +exists +llen +lindex +smembers +pubsub|numsub
  ACL SETUSER checklist on >PASSWORD ~bull:* -@all +select +client|list +time +llen +lindex +lrange +zcard +zrange +exists +hexists
"""

    @item("Backend pods are running and healthy", severity=CRITICAL, needs=POD_RIGHTS)
    async def pods_healthy(self) -> Result:
        """Pods that restart, are not ready or are too few drop requests while a health check behind a Service still succeeds.

        The pods that `pods` selects are Ready, do not keep restarting, and their workload has all its replicas.

        How to fix it: `kubectl describe pod` and the log of the previous container show why the pod that is named is not ready.
        """
        return await self.see_pods()

    @item("API documentation is accessible (/docs, /redoc)", severity=INFO, needs=("url",))
    async def documentation_accessible(self) -> Result:
        """Documentation that cannot be read, or that the public can read, helps the wrong people.

        Verified as `api_service.documentation_accessible`. FastAPI serves `/openapi.json` also where both pages are switched off:
        with `docs_exposure` disabled that fails the line.

        How to fix it: serve the pages and the document behind them, or switch off `openapi_url` too.
        """
        return await document_service(self, self.target, self.target.docs_paths)

    @item(
        "Database migrations are applied",
        severity=CRITICAL,
        needs=("migrations", "SELECT on its table of versions"),
    )
    async def database_migrations_applied(self) -> Result:
        """A release whose migrations are missing fails at the first query that needs them; one that is behind its database may too.

        The table that Alembic, Prisma, TypeORM, Knex, Django, Flyway or Liquibase keeps on the primary has the newest migrations
        that the running release expects, by `expected_heads`, `expected_file` or `expected_path`, and none after them, as after a
        rollback of the release alone. No migration in it failed, and none is running, or holds the tool's lock, for longer than
        `max_running`. A table that is absent or empty does not pass.

        How to fix it: run the tool's own `upgrade`, `deploy` or `migrate`; release a lock that nobody holds any longer by the
        tool's command for it. Set what is expected with each release.
        """
        if (migrations := self.target.migrations) is None:
            return unknown(
                f"migrations of {self.target.name} is not configured, so its database was not checked.",
                reason=Reason.NOT_CONFIGURED,
            )
        return await see_migrations(self, migrations, await self._heads(migrations), self.target.request_timeout)

    async def _heads(self, migrations: _Expected) -> tuple[str, ...]:
        """The migrations that the release expects. Raises ProbeError where that cannot be learned."""
        if migrations.expected_path is not None:
            source, lines = (
                f"{self.service.url}{migrations.expected_path.partition('?')[0]}",
                await texts_at(self, migrations.expected_path, migrations.expected_value),
            )
        elif migrations.expected_file is not None:
            source, lines = str(migrations.expected_file), await self.blocking(_lines, migrations.expected_file)
        else:
            return migrations.expected_heads
        if not (heads := read_heads(lines)):
            raise ProbeError(f"{source} names no migration.", Reason.MISCONFIGURED)
        return heads

    @item("Background tasks are operational", severity=CRITICAL, needs=("workers", "read access to its Redis"))
    async def background_tasks_operational(self) -> Result:
        """Requests succeed while nobody does what they promised: mails are not sent, and orders not processed.

        Workers of Celery, ARQ, Dramatiq, RQ or BullMQ show that they live, and the task whose turn it is in each queue waits for
        less than `max_wait`. Celery's workers wait for tasks by a connection of their own, RQ's listen on a channel while they
        live, BullMQ's name their connections after their queue and hold the lock of a task that they work on.
        ARQ's report in a key that expires, after an hour by default: one that is older than `max_silence` proves nothing.
        Dramatiq's leave a heartbeat, as programs do that only send tasks: while tasks wait, one of them has to be taken. Nothing
        is published. Tasks that run within the service itself are not observed.

        How to fix it: restart the workers; compare their Redis, database and names of queues with those of the service.
        """
        if (workers := self.target.workers) is None:
            return unknown(
                f"workers of {self.target.name} is not configured, so its background tasks were not checked.",
                reason=Reason.NOT_CONFIGURED,
            )
        return await see_workers(self, workers, self.target.request_timeout)

    @item("Health check endpoint responds", severity=CRITICAL, needs=("url",))
    async def health_endpoint_responds(self) -> Result:
        """Load balancers, kubelets and people rely on the health endpoint: it has to answer, and to report what is broken.

        Verified as `api_service.health_endpoint_responds`.

        How to fix it: fix the dependency that is named, or let the endpoint report the dependencies that the service cannot do
        without.
        """
        return await self.see_health()


def _lines(path: File) -> list[str]:
    """The lines of a file. Raises ProbeError when it cannot be read."""
    try:
        return read_file(path, _MAX_FILE).decode().splitlines()
    except TooLarge as why:
        raise ProbeError(f"{path} cannot be read: {why}.", Reason.MISCONFIGURED) from None
    except UnicodeDecodeError:
        raise ProbeError(f"{path} is no text in UTF-8.", Reason.MALFORMED) from None
    except OSError as error:
        raise ProbeError(f"{path} cannot be read: {error.strerror}.", Reason.MISCONFIGURED) from None
