"""Monitoring Stack"""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Self

from pydantic import Field, model_validator

from collectors.shared.attempts import attempt_all
from collectors.shared.verdicts import verdict, worst_of
from collectors.systems.alertmanager.client import Alertmanager, Member
from collectors.systems.alertmanager.judge import delivery, routing
from collectors.systems.alertmanager.model.alerts import HeldAlert, Silence
from collectors.systems.alertmanager.model.routes import Configuration, parse_configuration
from collectors.systems.grafana.client import Grafana
from collectors.systems.grafana.judge import dashboard_problems, datasource_problems, health_problems, panel_problems
from collectors.systems.grafana.model import Opened, sources_of
from collectors.systems.jaeger.client import Jaeger
from collectors.systems.jaeger.judge import lost_marker, trace_problems, untraced
from collectors.systems.jaeger.model import MarkerTrace, of_others
from collectors.systems.loki.client import Loki
from collectors.systems.prometheus.client import Prometheus
from collectors.systems.prometheus.judge import monitoring as judge
from collectors.systems.prometheus.model.answers import RuntimeInfo, Sample, ScrapeTarget
from collectors.systems.prometheus.model.configuration import pools_that_keep_labels
from collectors.systems.prometheus.model.promql import selector
from collectors.systems.prometheus.model.sending import parse_sending
from exporter.collector import Collector, NoTarget, SectionSettings, fetched, item
from exporter.options import Duration, format_duration
from exporter.verdict import (
    CRITICAL,
    WARNING,
    ProbeError,
    Reason,
    Result,
    Status,
    failed,
    ok,
    unknown,
    unobserved,
    worst,
)
from exporter.words import counted, listed

_POLL_SECONDS = 0.5
#: What Loki's ingester answers for seconds after each start, and never later.
_STARTING = re.compile(r"waiting for \S+ after (?:startup|being ready)")
#: What hides an alert for longer is no planned work, no incident and no grouping.
_LONGEST_SILENCE, _LONGEST_INHIBITION, _LONGEST_WAIT = timedelta(days=7), timedelta(days=1), timedelta(hours=6)


def _shown(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in labels.items())


def _growth(metric: str, by: str, window: timedelta) -> str:
    """PromQL for how much a counter grew within the last time, by a label."""
    return f"sum by ({by}) (increase({metric}[{max(1, round(window.total_seconds()))}s]))"


_FIRING = 'ALERTS{alertstate="firing"}'
#: Alerts that always fire, as kube-prometheus and this product's own rules name them.
WATCHDOGS = ("Watchdog", "ChecklistDeadMansSwitch")


class MonitoringStackSettings(SectionSettings):
    """Options of the section."""

    timeout: Duration = Field(
        timedelta(seconds=30), gt=timedelta(0), description="How long one item may take before it is `unknown`."
    )
    expected_jobs: tuple[str, ...] = Field(
        (), description="Jobs (or scrape configurations) that must each have a target."
    )
    empty_pools: tuple[str, ...] = Field((), description="Scrape configurations that may have no target.")
    ignore_targets: tuple[str, ...] = Field(
        (), description="Jobs, scrape configurations or instances whose targets may be down."
    )
    warm_up: Duration = Field(
        timedelta(minutes=1),
        description="Time after Prometheus started or reloaded its configuration in which an empty result proves "
        "nothing.",
    )
    min_alertmanagers: int | None = Field(
        None,
        ge=1,
        description="Alertmanagers that Prometheus must send to; by default as many as clients.alertmanager has.",
    )
    watchdog: str | None = Field(
        None,
        min_length=1,
        description="Alert that always fires and must arrive; by default Watchdog (kube-prometheus) or ChecklistDeadMansSwitch.",
    )
    watchdog_max_age: Duration = Field(
        timedelta(minutes=5), gt=timedelta(0), description="Age from which the last arrival of that alert is too old."
    )
    window: Duration = Field(
        timedelta(minutes=15),
        gt=timedelta(0),
        description="Period in which Prometheus must not have failed to send alerts.",
    )
    required_integrations: tuple[str, ...] = Field(
        ("email", "slack", "pagerduty"),
        min_length=1,
        description="Integrations that a critical alert must reach, each of them.",
    )
    severity_label: str = Field("severity", min_length=1, description="Label that holds the severity of an alert.")
    critical_severities: tuple[str, ...] = Field(
        ("critical",), min_length=1, description="Values of that label that mark an alert as critical."
    )
    alert_labels: dict[str, str] = Field(
        default_factory=dict, description="Further labels of the alert that is followed, such as namespace."
    )
    notification_window: Duration = Field(
        timedelta(hours=1), gt=timedelta(0), description="Period in which failed notifications are counted."
    )
    max_failed_ratio: float = Field(
        0.01, ge=0, le=1, description="Share of notifications through one integration that may fail."
    )
    dashboards: tuple[str, ...] = Field(
        (), description="UIDs of dashboards that Grafana must have; by default any one is enough."
    )
    datasources: tuple[str, ...] = Field(
        (), description="UIDs of data sources whose health check must pass in Grafana."
    )
    loki_selectors: tuple[str, ...] = Field(
        (), description='Log streams of which Loki must have new lines, such as {namespace="shop"}.'
    )
    loki_window: Duration = Field(
        timedelta(minutes=5), gt=timedelta(0), description="Age from which lines are no longer new."
    )
    loki_ready: bool = Field(
        True, description="Whether Loki's /ready is requested, which many gateways do not pass on."
    )
    trace_services: tuple[str, ...] = Field((), description="Services of which Jaeger must have recent traces.")
    trace_window: Duration = Field(
        timedelta(minutes=15), gt=timedelta(0), description="Age from which a trace is no longer recent."
    )
    marker_wait: Duration = Field(
        timedelta(seconds=20),
        gt=timedelta(0),
        description="How long a marker trace may take from the collector to Jaeger.",
    )

    @model_validator(mode="after")
    def _in_time(self) -> Self:
        if self.marker_wait >= self.timeout:
            raise ValueError("expected `marker_wait` to be shorter than `timeout`")
        return self


class MonitoringStack(Collector[MonitoringStackSettings, NoTarget]):
    """Asks Prometheus, Alertmanager, Grafana, Loki and Jaeger, each for what shows that it does its work."""

    Settings = MonitoringStackSettings
    rights = """\
Prometheus: GET /api/v1/targets, /api/v1/scrape_pools, /api/v1/status/runtimeinfo, /api/v1/alertmanagers, /api/v1/query,
/api/v1/status/config (optional: where a target's own labels are kept, and for the external labels of alerts).
Alertmanager: GET /-/ready, /api/v2/status, /api/v2/alerts.
Grafana: a service account with the role Viewer. Loki: reading, as the tenant that has the logs. Jaeger: its query API; OTLP
where a marker trace is wanted.
"""

    @fetched
    async def targets(self) -> list[ScrapeTarget]:
        """The active scrape targets."""
        return await self.client(Prometheus).targets()

    @fetched
    async def runtime(self) -> RuntimeInfo:
        """How Prometheus fares."""
        return await self.client(Prometheus).runtime_info()

    @fetched
    async def pools(self) -> list[str]:
        """Every scrape configuration."""
        return await self.client(Prometheus).scrape_pools()

    async def _settled(self) -> bool:
        """Whether discovery had its time: targets appear some seconds after the start and after each new configuration."""
        info = await self.runtime()
        last = max(info.start_time, info.last_config_time or info.start_time)
        return self.context.now() - last > self.settings.warm_up

    async def _query(self, expr: str) -> list[Sample]:
        return await self.client(Prometheus).query(expr)

    @item("Prometheus is collecting metrics from all services", severity=CRITICAL, needs=("clients.prometheus",))
    async def prometheus_collecting(self) -> Result:
        """A service that discovery does not find has no target that could be down: nothing fails, and nothing is monitored.

        Verified in Prometheus's API: it runs with its present configuration, every scrape configuration has a target (one whose
        discovery found nothing is missing among the targets), each of `expected_jobs` has one, all were scraped within three
        intervals, and Prometheus has stored fresh samples of each: `up` is 1 for an empty page too, and while its disk is full.
        Without `expected_jobs` it is not known whether these are all services: then the line is `unknown`.

        To fix it, see the page Service Discovery of Prometheus for the job that is named; relabelling may drop all. Where
        samples are missing, see Prometheus's log for a full disk, and `metric_relabel_configs`.
        """
        targets, pools, info = await self.targets(), await self.pools(), await self.runtime()
        if not targets and not await self._settled():
            return unknown(
                f"Prometheus has no targets yet: it started or was configured at {info.start_time:%H:%M:%S} UTC.",
                reason=Reason.PENDING,
            )
        wanted = set(pools) - set(self.settings.empty_pools)
        jobs = self.settings.expected_jobs
        received = await self._received(targets)
        now, unstored = await self._stored(targets)
        settled = await self._settled()
        problems = [
            *judge.reloaded(info),
            *judge.collecting(targets, wanted, jobs, now, settled=settled, received=received),
            *unstored,
        ]
        if not targets and not received:
            problems.append(failed("Prometheus has no targets.", reason=Reason.MISSING))
        if not jobs:
            summary = (
                f"Prometheus scrapes {counted(len(targets), 'target')}, but whether these are all services was not checked, as "
                "option expected_jobs is empty."
            )
            problems.append(unknown(summary, reason=Reason.NOT_CONFIGURED))
        others = f", and has the metrics of {listed(sorted(received))} from other servers" if received else ""
        good = ok(
            f"Prometheus scrapes {counted(len(targets), 'target')} of {counted(len(pools), 'scrape configuration')}{others}.",
            scrape_targets=len(targets),
            scrape_pools=len(pools),
        )
        return verdict(problems, good)

    async def _received(self, targets: Sequence[ScrapeTarget]) -> dict[str, float]:
        """The expected jobs that have no target here and series of another server: the highest `up` of each."""
        own = {target.scrape_pool for target in targets} | {target.labels.get("job", "") for target in targets}
        if not (others := [job for job in self.settings.expected_jobs if job not in own]):
            return {}
        try:
            found = await self._query("max by (job) (up and time() - timestamp(up) < 180)")
        except ProbeError:  # reported as missing
            return {}
        return {job: sample.value for sample in found if (job := sample.labels.get("job", "")) in others}

    async def _stored(self, targets: list[ScrapeTarget]) -> tuple[datetime, list[Result]]:
        """The time by Prometheus's clock, and what is wrong with the samples that it has stored of its targets."""
        if not any(target.health == "up" for target in targets):
            return self.context.now(), []
        try:
            numbers, taken = await asyncio.gather(
                self._query(f'{{__name__=~"{judge.SCRAPED}|{judge.LEFT}"}}'), self._query(f"timestamp({judge.LEFT})")
            )
            now = datetime.fromtimestamp(taken[0].timestamp, UTC) if taken else self.context.now()
            seen = judge.stored(numbers, taken)
            if problems := list(judge.storing(targets, seen)):
                return now, problems
            found = [await self._fresh(job, targets, seen) for job in self.settings.expected_jobs]
            return now, [problem for problem in found if problem]
        except ProbeError as why:
            return self.context.now(), [unobserved(why)]

    async def _fresh(
        self, job: str, targets: list[ScrapeTarget], seen: Mapping[frozenset[tuple[str, str]], judge.Stored]
    ) -> Result | None:
        """What is wrong with a job whose samples carry timestamps of long ago, by the one of its targets that gives the fewest."""
        living = [
            target
            for target in targets
            if target.health == "up" and job in (target.labels.get("job", ""), target.scrape_pool)
        ]
        if not living:
            return None
        one = min(living, key=lambda target: seen[judge.key_of(target.labels)].left)
        name, instance = one.labels.get("job", ""), one.labels.get("instance", "")
        labels = selector("", {"job": name, "instance": instance}).replace("{", '{__name__!~"up|scrape_.*", ', 1)
        if await self._query(f"group({labels})"):
            return None
        # A target whose own labels are kept (federation, a Pushgateway) gives series of other jobs.
        configuration = await self.client(Prometheus).configuration()
        if one.scrape_pool in await self.blocking(pools_that_keep_labels, configuration):
            return None
        return judge.stale(name, instance)

    @item("Prometheus targets are all healthy", severity=CRITICAL, needs=("clients.prometheus",))
    async def prometheus_targets_healthy(self) -> Result:
        """A target that is down is a service without alerts, whatever its rules say: their expressions have no samples.

        Verified in Prometheus's API: every target is up, but for `ignore_targets`; one that was not scraped yet has its interval's
        time. The error is Prometheus's own.

        To fix it, open the target's address from where Prometheus runs: a refused connection is the service, 401 or 403 the
        scrape configuration, a deadline exceeded the network or a slow exporter.
        """
        targets = await self.targets()
        if not targets:
            settled = await self._settled()
            if settled:
                return await self._elsewhere()
            return unknown("Prometheus has no targets yet.", reason=Reason.PENDING)
        unscraped: dict[str, datetime] = self.context.memory.setdefault("unscraped", {})
        problems = list(judge.unhealthy(targets, self.settings.ignore_targets, unscraped, self.context.now()))
        up = sum(target.health == "up" for target in targets)
        if not up and all(problem.status is Status.WARNING for problem in problems):
            return unknown(
                f"None of the {len(targets)} targets is up: they were not scraped yet, or are among those that may be down.",
                reason=Reason.PENDING,
            )
        summary = (
            f"All {up} targets are up."
            if up == len(targets) > 1
            else "The only target is up."
            if up == len(targets)
            else f"{up} of {len(targets)} targets are up, the others may be down."
        )
        return verdict(problems, ok(summary, healthy_targets=up, scrape_targets=len(targets)))

    async def _elsewhere(self) -> Result:
        """Whether the targets are up of which a Prometheus without any of its own has the series."""
        if not (up := await self._query("up")):
            return failed("Prometheus has no targets.", reason=Reason.MISSING)
        good = ok(
            f"{counted(len(up), 'target')} of other servers, which send their series here, {'is' if len(up) == 1 else 'are'} up."
        )
        return verdict(judge.unhealthy_elsewhere(up), good)

    @item("AlertManager is routing alerts", severity=CRITICAL, needs=("clients.prometheus", "clients.alertmanager"))
    async def alertmanager_routing(self) -> Result:
        """Alertmanager is between a firing rule and the person it notifies; when it is down, everything is quiet.

        Verified on both sides. Prometheus sends to enough Alertmanagers, and its counters show neither errors nor dropped
        alerts within `window` (an Alertmanager that was killed stays in its list, only the errors show it); what was dropped
        within `warm_up` of a new configuration is a warning, as it is sent again. What fires was sent, and no Alertmanager that
        Prometheus scrapes has refused its last configuration. Each member of the cluster is ready, sees the others, and
        has the alert `watchdog`, lately sent, routed to a receiver, neither silenced nor inhibited.

        To fix it, see Prometheus's log for "Error sending alert"; let a rule `Watchdog` with `expr: vector(1)` fire all the time.
        """
        members = self.client(Alertmanager).members
        seen = [self._sending(len(members)), *map(self._receiving, members)]
        return await worst_of(*seen, self._clustered())

    async def _clustered(self) -> Result:
        """Whether the members know of each other."""
        statuses = await self.client(Alertmanager).statuses()
        return verdict(delivery.split_problems(statuses), ok("The Alertmanagers know of each other."))

    async def _sending(self, members: int) -> Result:
        """Whether Prometheus gets its alerts rid."""
        window, wanted = self.settings.window, self.settings.min_alertmanagers or members
        active = await self.client(Prometheus).alertmanagers()
        if len(active) < wanted:
            lacking = f"Prometheus sends alerts to {counted(len(active), 'Alertmanager')} (wanted {wanted})."
            if await self._settled():
                return failed(lacking, reason=Reason.MISSING)
            return unknown(lacking, reason=Reason.PENDING)
        sent = await self._grown("prometheus_notifications_sent_total", "alertmanager", window, "itself")
        errors, lost, refused, firing, lasting = await asyncio.gather(
            self._query(_growth("prometheus_notifications_errors_total", "alertmanager", window)),
            self._dropped(window),
            self._query("alertmanager_config_last_reload_successful == 0"),
            self._query(_FIRING),
            self._query(f"{_FIRING} and {_FIRING} offset {max(1, round(window.total_seconds() / 3))}s"),
        )
        anew = lost > 0 and await self._configured_anew(window)
        good = ok(
            f"Prometheus sends alerts to {counted(len(active), 'Alertmanager')} without errors.",
            alertmanagers=len(active),
        )
        problems = [
            *judge.dead(errors, window),
            *judge.drop_problems(lost, window, configured_anew=anew),
            *judge.refused_configurations(refused, active),
        ]
        return verdict([*problems, *([] if problems else judge.silent(sent, firing, lasting, window))], good)

    async def _dropped(self, window: timedelta) -> float:
        """How many alerts Prometheus dropped within the last time."""
        return sum(
            sample.value for sample in await self._query(_growth("prometheus_notifications_dropped_total", "", window))
        )

    async def _configured_anew(self, window: timedelta) -> bool:
        """Whether Prometheus took over a configuration within the last time, and has dropped nothing since that was done."""
        try:
            info = await self.runtime()
        except ProbeError:
            return False  # what excuses was not seen
        done = (info.last_config_time or info.start_time) + self.settings.warm_up
        since = self.context.now() - done
        return since < window and (since <= timedelta(0) or await self._dropped(since) <= 0)

    async def _grown(self, metric: str, by: str, window: timedelta, scraped: str) -> list[Sample]:
        """By how much a counter of what Prometheus has to scrape grew, which it has even where nothing happens.

        Raises ProbeError where nothing could be seen to grow: without the series now, or without two samples of it in the window.
        """
        if not await self._query(metric):
            raise ProbeError(f"Prometheus has no series of {metric}: it does not scrape {scraped}.", Reason.MISSING)
        if grown := await self._query(_growth(metric, by, window)):
            return grown
        raise ProbeError(
            f"Prometheus has fewer than two samples of {metric} from the last {format_duration(window)}, so what failed in that "
            "time was not checked.",
            Reason.PENDING,
        )

    async def _receiving(self, member: Member) -> Result:
        """Whether one Alertmanager is ready and routes the alert that always fires."""
        await member.ready()
        settings = self.settings
        names = (settings.watchdog,) if settings.watchdog else WATCHDOGS
        held = await member.alerts()
        problems = delivery.watchdog_problems(member.url, names, held, settings.watchdog_max_age, self.context.now())
        found = next((alert.labels["alertname"] for alert in held if alert.labels.get("alertname") in names), names[0])
        return verdict(problems, ok(f"Alertmanager {member.url} routes {found}."))

    @item(
        "Alert notifications are configured (email, Slack, PagerDuty)",
        severity=CRITICAL,
        needs=("clients.prometheus", "clients.alertmanager"),
    )
    async def alert_notifications_configured(self) -> Result:
        """A receiver that no route leads to, or whose key has expired, notifies no one, although the list of receivers looks
        fine.

        Verified by following an alert with a critical severity (with `alert_labels` and external labels) through Alertmanager's
        running configuration: it reaches each of `required_integrations` within 6 hours, and neither a silence of more than
        7 days nor an alert that fires for more than a day hides it. Prometheus's series of Alertmanager show that at most
        `max_failed_ratio` of the notifications, and of the requests that they took, failed: a notification that is retried has
        not failed yet.

        To fix it, route the severity that is named, with `continue: true` where several receivers must be notified;
        Alertmanager's log shows failing integrations.
        """
        return await worst_of(self._routed(), self._notified())

    async def _routed(self) -> Result:
        settings, manager = self.settings, self.client(Alertmanager)
        configuration = await self.blocking(parse_configuration, await manager.configuration())
        held, silences = await asyncio.gather(manager.alerts(), manager.silences())
        problems: list[Result] = []
        for severity in settings.critical_severities:
            own = {settings.severity_label: severity} | settings.alert_labels
            labels = own | await self._added(own)
            problems += self._notifies(configuration, labels, held, silences)
        return verdict(problems, ok(f"Critical alerts reach {', '.join(settings.required_integrations)}."))

    async def _added(self, own: Mapping[str, str]) -> dict[str, str]:
        """The external labels that an alert with these labels is sent with; none where Prometheus does not show them."""
        try:
            sending = parse_sending(await self.client(Prometheus).configuration())
            sent = sending.labels({"alertname": "any", **own}) or {}
        except ProbeError:  # alert_labels may give them
            return {}
        return {name: sent[name] for name in sending.external_labels if name in sent and name not in own}

    def _notifies(
        self,
        configuration: Configuration,
        labels: Mapping[str, str],
        held: Sequence[HeldAlert],
        silences: Sequence[Silence],
    ) -> Iterator[Result]:
        now, wanted = self.context.now(), self.settings.required_integrations
        yield from routing.unnotified(configuration, labels, wanted, now)
        # Whatever it is called: what hides any critical alert hides them all.
        name, whole = f"with {_shown(labels)}", {"alertname": "any", **labels}
        yield from routing.silence_problems(name, whole, silences, _LONGEST_SILENCE, now)
        yield from routing.inhibition_problems(name, whole, configuration.inhibit_rules, held, _LONGEST_INHIBITION, now)
        yield from routing.late(configuration, labels, wanted, _LONGEST_WAIT)
        yield from routing.quiet_hours(configuration, labels, now)

    async def _notified(self) -> Result:
        settings, window = self.settings, self.settings.notification_window
        total = await self._grown("alertmanager_notifications_total", "integration", window, "Alertmanager")
        lost, requests, requests_lost = await asyncio.gather(
            *(
                self._query(_growth(f"alertmanager_notification{name}_total", "integration", window))
                for name in ("s_failed", "_requests", "_requests_failed")
            )
        )
        wanted, limit = settings.required_integrations, settings.max_failed_ratio
        problems = [
            *delivery.failing_notifications(total, lost, wanted, limit, "notifications", window),
            *delivery.failing_notifications(requests, requests_lost, wanted, limit, "requests", window),
        ]
        sent = sum(sample.value for sample in total if sample.labels.get("integration") in wanted)
        summary = f"Of {sent:.0f} notifications in the last {format_duration(window)} no more failed than may."
        return verdict(problems, ok(summary, notifications=sent))

    @item("Grafana dashboards are configured", severity=WARNING, needs=("clients.grafana",))
    async def grafana_dashboards_configured(self) -> Result:
        """The engineer on call opens a dashboard first; one that was renamed, or whose data source is gone, costs the first
        minutes.

        Verified in Grafana's API: its own database is healthy, each of `dashboards` exists (or any at all), is not empty, and the
        data sources that its panels name work, and each of `datasources` passes its health check. A plugin without such a check
        is `unknown` among `datasources`.

        To fix it, provision dashboards from files, with fixed uids; the page of a data source shows why its check fails.
        """
        return await worst_of(self._dashboards(), *map(self._datasource, self.settings.datasources))

    async def _dashboards(self) -> Result:
        grafana = self.client(Grafana)
        if problems := list(health_problems(await grafana.health())):
            return worst(*problems)
        found, wanted = await grafana.dashboards(), self.settings.dashboards
        # Neither a dashboard in a folder that the account may not list, nor one that is not indexed yet, is missing.
        opened = dict(zip(wanted, await attempt_all(map(grafana.opened, wanted)), strict=True))
        there = {uid: dashboard for uid, dashboard in opened.items() if isinstance(dashboard, Opened)}
        missing = [uid for uid, dashboard in opened.items() if dashboard is None]
        shown = len({dashboard.uid for dashboard in found} - {*missing} | there.keys())
        summary = f"Grafana has {counted(shown, 'dashboard')}"
        good = ok(f"{summary}, all that are wanted among them." if wanted else f"{summary}.", dashboards=shown)
        unseen = [unobserved(why) for why in opened.values() if isinstance(why, ProbeError)]
        seen = [problem for uid, dashboard in there.items() async for problem in self._panels(uid, dashboard)]
        return verdict([*dashboard_problems(shown, missing, found), *unseen, *seen], good)

    async def _panels(self, uid: str, opened: Opened) -> AsyncIterator[Result]:
        grafana, sources = self.client(Grafana), {}
        for source in sorted(sources_of(opened.parts)):
            try:
                sources[source] = await self.share(
                    f"data source {source}", functools.partial(grafana.datasource_problem, source)
                )
            except ProbeError as why:
                if why.reason is not Reason.MISSING:  # a plugin without a check
                    yield unobserved(why)
        for problem in panel_problems(uid, opened, sources):
            yield problem

    async def _datasource(self, uid: str) -> Result:
        problem = await self.client(Grafana).datasource_problem(uid)
        return verdict(datasource_problems(uid, problem), ok(f"Grafana's data source {uid} works."))

    @item("Loki is aggregating logs", severity=WARNING, needs=("clients.loki",))
    async def loki_aggregating(self) -> Result:
        """Missing logs are only noticed on the day when they are needed, which is too late.

        Verified in Loki's API: it is ready, and for each of `loki_selectors` it counts lines of the last `loki_window`, so they
        came all the way.

        To fix it, see the log of the agent on the nodes (rejected batches, rate limits), and Loki's for its ring and storage.
        """
        if not self.settings.loki_selectors:
            raise ProbeError("Option loki_selectors is empty, so no log streams were checked.", Reason.NOT_CONFIGURED)
        parts = [*map(self._lines, self.settings.loki_selectors)]
        return await worst_of(*([self._ready()] if self.settings.loki_ready else []), *parts)

    async def _ready(self) -> Result:
        if why := await self.client(Loki).not_ready():
            if _STARTING.search(why):
                return unknown(f"Loki has just started: {why}.", reason=Reason.PENDING)
            return failed(f"Loki is not ready: {why}.", reason=Reason.DOWN)
        return ok("Loki is ready.")

    async def _lines(self, selector: str) -> Result:
        window = self.settings.loki_window
        expr = f"sum(count_over_time({selector}[{max(1, round(window.total_seconds()))}s]))"
        lines = sum(sample.value for sample in await self.client(Loki).query(expr))
        if not lines:
            return failed(
                f"Loki has no lines of {selector} from the last {format_duration(window)}.",
                reason=Reason.STALE,
                log_lines=0,
            )
        return ok(f"Loki has {lines:.0f} lines of {selector} from the last {format_duration(window)}.", log_lines=lines)

    @item(
        "Jaeger is collecting traces",
        severity=WARNING,
        needs=("clients.jaeger", "clients.jaeger.otlp for the marker trace"),
    )
    async def jaeger_collecting(self) -> Result:
        """Without traces, which of ten services is slow is a matter of opinion.

        Verified in Jaeger: each of `trace_services` has a trace that began within `trace_window` (the list of services alone may
        be days old). Where `clients.jaeger.otlp` is configured, a marker trace is sent to the collector and must be found
        within `marker_wait`: that verifies the path, even without traffic.

        To fix it, see the collector's log (refused spans, full queue), and the sampler of the service that is named.
        """
        jaeger = self.client(Jaeger)
        parts = [*map(self._traces, self.settings.trace_services)]
        if jaeger.sends:
            parts.append(self._marker())
        if not parts:
            raise ProbeError(
                "Neither trace_services nor clients.jaeger.otlp is configured, so no traces were looked for.",
                Reason.NOT_CONFIGURED,
            )
        return await worst_of(*parts)

    async def _traces(self, service: str) -> Result:
        jaeger, window = self.client(Jaeger), self.settings.trace_window
        services = await jaeger.services()
        recent = service in services and await jaeger.has_recent(service, window)
        good = ok(f"Jaeger has traces of {service} from the last {format_duration(window)}.")
        return verdict(trace_problems(service, window, services, recent=recent), good)

    async def _marker(self) -> Result:
        """Whether a trace that is sent to the collector is found."""
        jaeger, wait = self.client(Jaeger), self.settings.marker_wait
        others = of_others(await jaeger.services())
        marker = MarkerTrace()
        await jaeger.send(marker)
        loop = asyncio.get_running_loop()
        sent = loop.time()
        while not await jaeger.has_trace(marker.trace_id):
            if loop.time() - sent > wait.total_seconds():
                since = timedelta(seconds=loop.time() - sent)
                arrived = [name for name in self.settings.trace_services if await jaeger.has_recent(name, since)]
                return lost_marker(wait, arrived)
            await asyncio.sleep(_POLL_SECONDS)
        good = ok("A marker trace went from the collector to Jaeger.", marker_seconds=loop.time() - sent)
        return good if others or self.settings.trace_services else untraced()
