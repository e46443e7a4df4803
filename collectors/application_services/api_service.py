"""API Service (NestJS)"""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import Field

from collectors.shared.verdicts import verdict, worst_of
from collectors.systems.http.check.drill import DRILL_RIGHTS, see_drill
from collectors.systems.http.check.request_log import see_request_log
from collectors.systems.http.check.service import (
    ServiceCollector,
    ServiceOptions,
    ServiceSettings,
    ServiceTarget,
    document_service,
)
from collectors.systems.http.client import Throttled
from collectors.systems.http.judge.rate_limits import limit_problems
from collectors.systems.http.model.documentation import DocumentationOptions
from collectors.systems.http.model.drill import Drill
from collectors.systems.http.model.paths import Path
from collectors.systems.http.model.rate_limits import remaining
from collectors.systems.http.model.request_log import RequestLog
from collectors.systems.kubernetes.check.logs import LOG_RIGHTS
from collectors.systems.kubernetes.check.pods import POD_RIGHTS, Pods, see_shutdown
from collectors.systems.kubernetes.client.cluster import Kubernetes
from collectors.systems.kubernetes.model.shutdown import ShutdownLimits
from collectors.systems.secrets.check.variables import VARIABLE_RIGHTS, see_variables
from collectors.systems.secrets.model.options import ExpectedVariables, RequiredVariables
from exporter.collector import Mode, item
from exporter.evidence.rules import EvidenceRule
from exporter.verdict import CRITICAL, INFO, WARNING, Reason, Result, failed, ok, unknown

_BURST_EVERY = timedelta(hours=1)


class _Options(ShutdownLimits, ServiceOptions, DocumentationOptions):
    """What may be set for the section and for one target."""

    docs_paths: tuple[Path, ...] = Field(
        ("/docs",), min_length=1, description="Paths of the pages that document the API."
    )
    ratelimit_path: Path | None = Field(
        None,
        description="Path whose rate limit is checked, by two requests in a run; routes may have limits of their own.",
    )
    allow_intrusive: bool = Field(
        False,
        description="Whether a rate limit that headers do not show may be tried, by `ratelimit_burst` requests an hour, and "
        "pods may be evicted where `drill` is set.",
    )
    ratelimit_burst: int = Field(
        30, ge=3, le=200, description="How many requests, one after the other, have to be refused by then."
    )


class ApiTarget(ServiceTarget, _Options):  # type: ignore[misc]  # names that the plugin of mypy makes up clash
    """An API, of whatever framework."""

    required_variables: RequiredVariables = Field(
        default_factory=dict,
        description="Workload, as namespace/name (or namespace/name/container), to the environment variables that it needs.",
    )
    expected_variables: ExpectedVariables = Field(
        default_factory=dict,
        description="Workload, as namespace/name (or namespace/name/container), to variables and the values that they have to "
        "have, such as `NODE_ENV: production`; not for secrets.",
    )
    request_log: RequestLog | None = Field(
        None, description="A request that the service logs, and where its logs are: in Loki, or in its pods."
    )
    drill: Drill | None = Field(
        None,
        description="With `allow_intrusive`: how one of `pods` is evicted while it answers a slow request, in place of a record.",
    )


class ApiSettings(ServiceSettings, _Options):
    """Options of the section."""

    targets: tuple[ApiTarget, ...] = Field(min_length=1, description="The API services to check.")


class ApiService(ServiceCollector[ApiSettings, ApiTarget]):
    """Asks each API by a few harmless GET requests, one at a time."""

    Settings = ApiSettings
    Target = ApiTarget

    @item("API pods are running and healthy", severity=CRITICAL, needs=POD_RIGHTS)
    async def pods_healthy(self) -> Result:
        """Pods that restart, are not ready or are too few drop requests while a health check behind a Service still succeeds.

        The pods that `pods` selects are Ready, do not keep restarting, and their workload has all its replicas.

        How to fix it: `kubectl describe pod` and the log of the previous container show why the pod that is named is not ready.
        """
        return await self.see_pods()

    @item("Health check endpoint responds (GET /health)", severity=CRITICAL, needs=("url",))
    async def health_endpoint_responds(self) -> Result:
        """Load balancers, kubelets and people rely on the health endpoint: it has to answer, and to report what is broken.

        GET `health_path` answers 2xx with a report of a healthy service: Terminus, Spring Boot, ASP.NET, MicroProfile,
        `application/health+json`, one's own JSON with a status, or a body that matches `health_body`. No dependency in it is down
        unless it is one of `optional_deps`, and all `required_deps` are in it. HTML, a redirect, a cached answer and an endpoint
        that accepts the connection and does not answer do not pass; nor does a service that answers any path so.

        How to fix it: fix the dependency that is named, or let the endpoint report the dependencies that the service cannot do
        without.
        """
        return await self.see_health()

    @item("Metrics endpoint is accessible (GET /metrics)", severity=WARNING, needs=("url",))
    async def metrics_endpoint_accessible(self) -> Result:
        """Without metrics nobody sees errors and latency.

        GET `metrics_path` answers 200 with samples that can be parsed, among them `required_metrics`; `moving_metrics` increased
        within `moving_within`. It is a warning when Prometheus 3 would refuse the content type, and when `public_url` gives the
        metrics to anybody.

        How to fix it: register the missing metrics in the service; let the ingress refuse the path.
        """
        return await self.see_metrics()

    @item(
        "Graceful shutdown is configured",
        severity=WARNING,
        mode=Mode.PROBE_AND_EVIDENCE,
        needs=(*POD_RIGHTS, "a record of a drill, or drill and allow_intrusive", DRILL_RIGHTS),
        evidence=EvidenceRule(valid_for=timedelta(days=90)),
    )
    async def graceful_shutdown_configured(self) -> Result:
        """A service that ends at once when it is asked to stop breaks requests at every rollout.

        The pods that `pods` selects, and the template of their workload, have at least `min_grace_period` to shut down, do not
        spend all of it in a preStop hook that sleeps, and have a readiness probe in each container that serves a port. None of
        their containers was killed (exit code 137, not OOMKilled) within `kill_window`, as far as pods show that are still there or
        were deleted while the exporter watched them.
        Whether the process finishes its requests on SIGTERM no specification shows: a record does, of a drill in which a pod was
        deleted while a slow request ran, and the request was answered. With `drill` and `allow_intrusive` the exporter does that
        itself, once in `drill.every`: it asks one of at least two ready pods for `drill.path` at its own address, evicts it
        meanwhile: the request has to be answered, and the pod to end before its grace period is over.

        How to fix it: handle SIGTERM (`enableShutdownHooks()` in NestJS, no shell or npm as first process), and set what the
        sentence names. Record the drill: `checklist-exporter attest api_service.graceful_shutdown_configured`.
        """
        if (pods := self.target.pods) is None:
            return unknown(
                f"`pods` of {self.target.name} is not configured, so how they shut down was not checked.",
                reason=Reason.NOT_CONFIGURED,
            )
        return await worst_of(see_shutdown(self, pods, self.target), self._drained(pods))

    async def _drained(self, pods: Pods) -> Result:
        """Whether a request outlives the end of its pod: by a drill, or by a record of one."""
        item = "graceful_shutdown_configured"
        if (drill := self.target.drill) is None:
            return await self.attested(item)
        if not self.target.allow_intrusive:
            return unknown(
                f"No pod of {self.target.name} was evicted: drill needs `allow_intrusive: true` on the target.",
                reason=Reason.NOT_CONFIGURED,
            )
        return await see_drill(self, pods, drill, item)

    @item(
        "Request/response logging is enabled",
        severity=WARNING,
        needs=(
            "url",
            "request_log",
            "with `request_log.selector`: clients.loki",
            "with `request_log.container`: pods, clients.kubernetes",
            LOG_RIGHTS,
        ),
    )
    async def request_logging_enabled(self) -> Result:
        """Without a line for each request nobody can tell afterwards who was answered what, and how slowly.

        At most every five minutes a GET is sent to `request_log.path` with a trace id that no other request has. Its lines have to
        be in the logs of the service within `request_log.within`: in Loki, by `request_log.selector`, or, without Loki, in the log
        of `request_log.container` of one of the `pods`. They have to show what `request_log.fields` names: method, path, status and
        duration by default. The line fails where other lines of the service arrived after the request, and its own did not; where
        none arrived at all it is unknown, unless the logs of all pods were read, and have older lines.

        How to fix it: log each request when it has been answered, with its trace id; see that the log level and filters of paths
        do not drop it.
        """
        if (log := self.target.request_log) is None:
            return unknown(
                f"request_log of {self.target.name} is not configured, so whether it logs requests was not checked.",
                reason=Reason.NOT_CONFIGURED,
            )
        return await see_request_log(self, log, self.settings.timeout)

    @item("Rate limiting is active", severity=WARNING, needs=("url", "ratelimit_path"))
    async def rate_limiting_active(self) -> Result:
        """Without a limit one client can use up the entire service.

        Two requests to `ratelimit_path` lower the number that `RateLimit`, `RateLimit-Remaining` or `X-RateLimit-Remaining` (also
        with the suffix of a named throttler) reports as left; or the service answers 429. More is not sent, so that no budget is
        used up. A service that sends no such headers, or that exempts the exporter, leaves the line unknown, unless
        `allow_intrusive` is set: then one of `ratelimit_burst` requests, sent once an hour, has to be refused with 429.

        How to fix it: switch the limiter's headers on, and do not exempt the exporter from it.
        """
        if (path := self.target.ratelimit_path) is None:
            return unknown(
                f"ratelimit_path of {self.target.name} is not configured, so its rate limit was not checked.",
                reason=Reason.NOT_CONFIGURED,
            )
        try:
            first = (await self.service.get(path, self.now)).reply
            second = (await self.service.get(path, self.now)).reply
        except Throttled as why:
            return ok(f"{self.service.url} limits the exporter's requests: {str(why).rstrip('.')}{self.traced()}.")
        left = min(remaining(second).values(), default=0)
        good = ok(f"{second.where} counts requests against a limit: {left:g} left{self.traced()}.", requests_left=left)
        shown = verdict(limit_problems(first, second), good)
        return (
            shown
            if shown is good or not self.target.allow_intrusive or first.status >= 400
            else await self._burst(path)
        )

    async def _burst(self, path: str) -> Result:
        """Whether many requests are refused, tried once an hour: in between the last verdict is given."""
        last: tuple[datetime, Result] | None = self.context.memory.get("burst")
        if last is not None and timedelta(0) <= self.now - last[0] < _BURST_EVERY:
            return last[1]
        count = self.target.ratelimit_burst
        try:
            for _ in range(count):
                await self.service.get(path, self.now)
        except Throttled as why:
            tried = ok(f"{self.service.url} limits the exporter's requests: {str(why).rstrip('.')}{self.traced()}.")
        else:
            tried = failed(
                f"GET {self.service.url}{path.partition('?')[0]} answered {count} requests, one after the other, and refused "
                "none with 429.",
                reason=Reason.MISSING,
            )
        self.context.memory["burst"] = (self.now, tried)
        return tried

    @item("API documentation is accessible (/docs)", severity=INFO, needs=("url",))
    async def documentation_accessible(self) -> Result:
        """Documentation that cannot be read, or that the public can read, helps the wrong people.

        Each of `docs_paths` answers 200 with an HTML page whose scripts are there and not forbidden by the page's own
        Content-Security-Policy, and the OpenAPI document behind it describes at least one path. With `docs_exposure` internal
        neither is served at `public_url`, with disabled nowhere.

        How to fix it: serve the page and its document, or refuse them where they shall not be read.
        """
        return await document_service(self, self.target, self.target.docs_paths)

    @item("Environment variables are correctly set", severity=CRITICAL, needs=VARIABLE_RIGHTS)
    async def environment_variables_set(self) -> Result:
        """A variable that is missing is found at the next restart, or by the first request that needs it.

        Each variable that `required_variables` names is set, and not empty, in its workload's template and in each of its running
        pods: literally, by a key of a ConfigMap that exists, or by a Secret. No container of these workloads waits for a Secret or
        ConfigMap, and no `$(NAME)` is left unresolved. Secrets are not read: a running container proves that a key exists which it
        refers to. Those of `expected_variables` have the value that is given there, in each container that sets them; what comes
        from a Secret, and what a container may have read before its ConfigMap was changed, is unknown. Whether other values are
        right for production is checked by Configuration Verification (`no_default_values`).

        How to fix it: add the variable, or the key that it refers to, and restart the workload.
        """
        required, expected = self.target.required_variables, self.target.expected_variables
        if not required and not expected:
            return unknown(
                f"required_variables of {self.target.name} is not configured, so it is not known which variables it needs.",
                reason=Reason.NOT_CONFIGURED,
            )
        return await see_variables(self.client(Kubernetes), required, expected)
