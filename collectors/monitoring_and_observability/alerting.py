"""Alerting"""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections.abc import Mapping
from datetime import timedelta
from typing import Self

from pydantic import Field, model_validator

from collectors.systems.alertmanager.client import Alertmanager
from collectors.systems.alertmanager.judge.routing import inhibition_problem, routing_problem, silence_problem
from collectors.systems.alertmanager.model.alerts import HeldAlert, Silence
from collectors.systems.alertmanager.model.routes import Configuration, parse_configuration
from collectors.systems.prometheus.client import Prometheus
from collectors.systems.prometheus.judge.rules import KINDS, Kind, evaluation_problem, watched
from collectors.systems.prometheus.model.answers import RuleGroup
from collectors.systems.prometheus.model.rules import Evaluated, Needed, evaluated, needed_series, series_queries
from collectors.systems.prometheus.model.sending import Sending, parse_sending
from exporter.collector import Collector, Mode, NoTarget, SectionSettings, fetched, item
from exporter.options import Duration
from exporter.verdict import CRITICAL, WARNING, ProbeError, Result, Status, failed, ok, unknown, unobserved, worst

_NEEDS = ("clients.prometheus", "clients.alertmanager")


class AlertingSettings(SectionSettings):
    """Options of the section."""

    severity_label: str = Field(
        "severity", min_length=1, description="Label of alerting rules that tells their severity."
    )
    critical_severities: tuple[str, ...] = Field(
        ("critical",), min_length=1, description="Values of that label that mark an alert as critical."
    )
    integrations: tuple[str, ...] = Field(
        ("email", "pagerduty", "slack"),
        min_length=1,
        description="Integrations of Alertmanager that count as telling somebody; an alert has to reach one of them.",
    )
    alert_map: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="Item to the names of the alerts that it means, where they are not recognised by what they select.",
    )
    services: tuple[str, ...] = Field(
        (), description="Jobs of which each has to be watched by the alerts for services that are down."
    )
    may_be_missing: tuple[str, ...] = Field(
        (), description="Metrics that may have no series, such as counters that appear with the first error."
    )
    alert_labels: dict[str, str] = Field(
        default_factory=dict,
        description="Labels that the alerts have besides those of their rules, such as namespace, where routes depend on them.",
    )
    external_labels: dict[str, str] | None = Field(
        None, description="Labels that Prometheus adds to alerts; read from its configuration by default."
    )
    longest_silence: Duration = Field(
        timedelta(days=7), gt=timedelta(0), description="Silences that last longer count as silence for ever."
    )
    longest_inhibition: Duration = Field(
        timedelta(days=1),
        gt=timedelta(0),
        description="Alerts that inhibit others for longer count as doing so for ever.",
    )

    @model_validator(mode="after")
    def _items(self) -> Self:
        if unmeant := sorted(self.alert_map.keys() - KINDS.keys()):
            raise ValueError(f"alert_map names {unmeant[0]}, expected items of this section: {', '.join(KINDS)}")
        return self


class Alerting(Collector[AlertingSettings, NoTarget]):
    """Reads the rules from Prometheus and follows each alert through Alertmanager, without letting one fire."""

    Settings = AlertingSettings
    rights = """\
Prometheus: GET /api/v1/rules, /api/v1/query, /api/v1/status/config, /api/v1/status/runtimeinfo.
Alertmanager: GET /api/v2/status, /api/v2/alerts, /api/v2/silences. Nothing is posted.
"""

    @fetched
    async def rules(self) -> list[RuleGroup]:
        """Every rule group. Raises ProbeError where there is none, and what answers may not be what evaluates the rules."""
        prometheus = self.client(Prometheus)
        groups = await prometheus.rules()
        if not any(group.rules for group in groups):
            try:
                await prometheus.runtime_info()
            except ProbeError as why:
                raise ProbeError(
                    f"{prometheus.settings.url} tells of no rules, as servers do that only keep series (Thanos, VictoriaMetrics), "
                    f"and not that it is a Prometheus. {why} Let clients.prometheus be what tells of the rules too."
                ) from None
        return groups

    @fetched
    async def critical(self) -> tuple[list[Evaluated], list[ProbeError]]:
        """The critical alerting rules, and why some were not understood."""
        return evaluated(await self.rules(), self.settings.severity_label, self.settings.critical_severities)

    @fetched
    async def candidates(self) -> Mapping[str, list[Evaluated]]:
        """The critical rules of each kind, by item."""
        rules, _ = await self.critical()
        return {
            name: [rule for rule in rules if watched(kind, rule, self.settings.alert_map.get(name))]
            for name, kind in KINDS.items()
        }

    @fetched
    async def present(self) -> set[Needed]:
        """Of what the rules of all kinds need: that of which there are series now."""
        needed = {
            series
            for rules in (await self.candidates()).values()
            for rule in rules
            for series in needed_series(rule, self.settings.may_be_missing)
        }
        query = self.client(Prometheus).query
        answers = await asyncio.gather(*map(query, series_queries({one.metric for one in needed if one.metric})))
        jobs: dict[str, set[str]] = {}
        for sample in itertools.chain(*answers):
            jobs.setdefault(sample.labels.get("__name__", ""), set()).add(sample.labels.get("job", ""))
        found = {one for one in needed if one.metric and any(map(one.allows, jobs.get(one.metric, ())))}
        return found | {one for one in needed if not one.metric and await query(f"group({one})")}

    @fetched
    async def scraped(self) -> frozenset[str]:
        """The jobs that Prometheus scrapes now."""
        found = await self.client(Prometheus).query("group by (job) (up)")
        return frozenset(sample.labels.get("job", "") for sample in found)

    @fetched
    async def sending(self) -> Sending:
        """What Prometheus does to the labels of alerts."""
        if self.settings.external_labels is not None:
            return Sending(self.settings.external_labels)
        try:
            return parse_sending(await self.client(Prometheus).configuration())
        except ProbeError as why:
            raise ProbeError(f"{why} Give the labels that are added to alerts as external_labels.") from None

    @fetched
    async def configuration(self) -> Configuration:
        """The routing tree, receivers, inhibition rules and time intervals of Alertmanager."""
        return await self.blocking(parse_configuration, await self.client(Alertmanager).configuration())

    @fetched
    async def held(self) -> tuple[list[HeldAlert], list[Silence]]:
        """The alerts and silences that Alertmanager has."""
        manager = self.client(Alertmanager)
        alerts, silences = await asyncio.gather(manager.alerts(), manager.silences())
        return alerts, silences

    async def _problem(self, rule: Evaluated) -> Result | None:
        """Why nobody would be told if the rule's condition were true, if that is so."""
        name, now = rule.rule.name, self.context.now()
        if problem := evaluation_problem(rule, now):
            return problem
        if missing := needed_series(rule, self.settings.may_be_missing) - await self.present():
            told = ", ".join(sorted(map(str, missing)))
            return failed(f"Alerting rule {name} can never fire: there are no series of {told}.")
        own = {label: value for label, value in rule.rule.labels.items() if "{{" not in value}
        labels = (await self.sending()).labels({**self.settings.alert_labels, **own, "alertname": name})
        if labels is None:
            return failed(f"Alert {name} is dropped by Prometheus's alert_relabel_configs.")
        configuration, (alerts, silences) = await self.configuration(), await self.held()
        return (
            silence_problem(name, labels, silences, self.settings.longest_silence, now)
            or inhibition_problem(
                name, labels, configuration.inhibit_rules, alerts, self.settings.longest_inhibition, now
            )
            or routing_problem(name, labels, configuration, self.settings.integrations, now)
        )

    async def _alerts_on(self, kind: Kind) -> Result:
        """Whether each part of a kind is watched by a rule with which nothing is wrong; judged once a run."""
        return await self.share(kind.item, functools.partial(self._judge, kind))

    async def _judge(self, kind: Kind) -> Result:
        _, misunderstood = await self.critical()
        candidates = (await self.candidates())[kind.item]
        names = self.settings.alert_map.get(kind.item)
        jobs = self.settings.services if kind.item == "service_down_alert" else ()
        scraped = await self.scraped() if jobs else frozenset()
        parts = {(part, job) for part in kind.wanted for job in jobs or [""]}
        problems, sound = [], []
        for rule in candidates:
            try:
                problem = await self._problem(rule)
            except ProbeError as why:
                problem = unknown(f"Alerting rule {rule.rule.name} was not judged. {why}")
            if problem is None or problem.status is Status.WARNING:
                sound.append(rule)
            if problem is not None:
                problems.append(problem)
        watching = [(rule.rule.name, watched(kind, rule, names, jobs, scraped)) for rule in sound]
        lacking = parts - {part for _, seen in watching for part in seen}
        told = ", ".join(dict.fromkeys(name for name, _ in watching))
        counts = {"critical_rules": len(candidates), "working_rules": len(sound)}
        if lacking:
            return Result(*self._lacking(kind, lacking, problems, misunderstood), counts)
        if problems:
            also = " ".join(dict.fromkeys(problem.summary for problem in problems[:2]))
            return Result(Status.WARNING, f"{told} would tell of {kind.words}. {also}", counts)
        return Result(Status.OK, f"{told} can fire and would tell of {kind.words}.", counts)

    def _lacking(
        self, kind: Kind, lacking: set[tuple[str, str]], problems: list[Result], misunderstood: list[ProbeError]
    ) -> tuple[Status, str]:
        """The verdict where some part is not watched by any rule with which nothing is wrong."""
        part, job = min(lacking)
        what = f"{kind.words}{f' ({part})' if len(kind.wanted) > 1 else ''}{f' of job {job}' if job else ''}"
        severities = " or ".join(self.settings.critical_severities)
        told = f"No working alerting rule of severity {severities} watches {what}."
        unseen = [problem.summary for problem in problems if problem.status is Status.UNKNOWN]
        unseen += [str(why) for why in misunderstood]
        if unseen:
            return Status.UNKNOWN, f"{told[:-1]}, but not all were seen. {unseen[0]}"
        return Status.FAILED, " ".join([told, *dict.fromkeys(problem.summary for problem in problems[:3])])

    @item("Critical alerts are configured:", severity=CRITICAL, mode=Mode.DERIVED)
    async def critical_alerts_configured(self) -> Result:
        """One look that tells whether somebody is told when the product breaks, in any of the nine ways that the lines below name.

        Derived from the nine lines below it, in the same run: `failed` when one failed, else `unknown` when one was not seen.
        Lines that are declared not to apply do not count.

        Look at the lines that it names.
        """
        declared = self.settings.not_applicable
        left_out = declared if isinstance(declared, Mapping) else {}
        names = [name for name in KINDS if name not in left_out]
        results = {name: await self._seen(KINDS[name]) for name in names}
        if not results:
            return unknown("None of the nine lines below applies, so nothing was seen.")
        status = worst(*results.values()).status
        if status.is_ok:
            return ok(f"All {len(results)} kinds of critical alerts are configured.", kinds=len(results))
        bad = [name for name, result in results.items() if result.status is status]
        verb = "failed" if status is Status.FAILED else "were not seen"
        return Result(status, f"{len(bad)} of {len(results)} kinds of critical alerts {verb}: {', '.join(bad)}.",
                      {"kinds": len(results) - len(bad)})  # fmt: skip

    async def _seen(self, kind: Kind) -> Result:
        try:
            return await self._alerts_on(kind)
        except ProbeError as why:
            return unobserved(why)

    @item("Service down alerts", severity=CRITICAL, needs=_NEEDS)
    async def service_down_alert(self) -> Result:
        """A service that is down tells nobody itself; and one that vanished from discovery never equals 0, so `up == 0` is silent.

        Verified in Prometheus and Alertmanager: critical rules compare `up` (or `probe_success`) and look for it with `absent`;
        they are evaluated, their metrics have series, nothing silences or inhibits them for ever, and they reach one of
        `integrations`. `services` names jobs of which each has to be watched. That an alert fires is no failure.

        To mend it, add `absent(up{job="…"} == 1)` with severity critical, or see the rule that is named.
        """
        return await self._alerts_on(KINDS["service_down_alert"])

    @item("High error rate alerts", severity=CRITICAL, needs=_NEEDS)
    async def high_error_rate_alert(self) -> Result:
        """A service may be up, fast, and answer everything with an error; only a rule over failed requests tells.

        Verified in Prometheus and Alertmanager: a critical rule selects requests by a status of 5xx (or another bad outcome), or a
        metric that counts errors of requests; it is evaluated, its metrics have series, and it reaches one of `integrations`.

        To mend it, add such a rule, name yours in `alert_map`, or see the one that is named.
        """
        return await self._alerts_on(KINDS["high_error_rate_alert"])

    @item("High latency alerts", severity=WARNING, needs=_NEEDS)
    async def high_latency_alert(self) -> Result:
        """Users leave a service that is slow as they leave one that is down, but nothing else in the monitoring notices.

        Verified in Prometheus and Alertmanager: a critical rule selects durations of requests, or takes a quantile of a histogram
        (classic or native); it is evaluated, its metrics have series, and it reaches one of `integrations`.

        To mend it, add such a rule, name yours in `alert_map`, or see the one that is named.
        """
        return await self._alerts_on(KINDS["high_latency_alert"])

    @item("Database connection errors", severity=CRITICAL, needs=_NEEDS)
    async def database_connection_alert(self) -> Result:
        """When the database is gone or has no connection left, every service fails at once, and the cause should be the first page.

        Verified in Prometheus and Alertmanager: a critical rule selects whether a database is up, or its connections or pools; it
        is evaluated, its metrics have series, and it reaches one of `integrations`.

        To mend it, alert on `pg_up == 0` and on connections against `max_connections`, or name your rules in `alert_map`.
        """
        return await self._alerts_on(KINDS["database_connection_alert"])

    @item("Cache connection errors", severity=WARNING, needs=_NEEDS)
    async def cache_connection_alert(self) -> Result:
        """Without its cache the product still answers, until the database breaks under the load that the cache kept away.

        Verified in Prometheus and Alertmanager: a critical rule selects whether a cache is up, or its connections or errors; it
        is evaluated, its metrics have series, and it reaches one of `integrations`.

        To mend it, alert on `redis_up == 0` and on rejected connections, or name your rules in `alert_map`.
        """
        return await self._alerts_on(KINDS["cache_connection_alert"])

    @item("Queue depth alerts", severity=WARNING, needs=_NEEDS)
    async def queue_depth_alert(self) -> Result:
        """Work that nobody takes from a queue is not missed by any request; it grows until it expires or fills a disk.

        Verified in Prometheus and Alertmanager: a critical rule selects what is pending, queued or lagging; it is evaluated, its
        metrics have series, and it reaches one of `integrations`. Queues inside the monitoring do not count.

        To mend it, alert on pending messages of every consumer, or name your rules in `alert_map`.
        """
        return await self._alerts_on(KINDS["queue_depth_alert"])

    @item("Disk space alerts", severity=CRITICAL, needs=_NEEDS)
    async def disk_space_alert(self) -> Result:
        """A full disk stops databases and logs at once, and is the one failure that is known days before.

        Verified in Prometheus and Alertmanager: a critical rule selects free space of file systems or volumes; it is evaluated,
        its metrics have series, and it reaches one of `integrations`.

        To mend it, alert on `node_filesystem_avail_bytes` and `kubelet_volume_stats_available_bytes`, or name your rules in
        `alert_map`.
        """
        return await self._alerts_on(KINDS["disk_space_alert"])

    @item("Memory usage alerts", severity=WARNING, needs=_NEEDS)
    async def memory_usage_alert(self) -> Result:
        """When memory runs out the kernel ends whatever is largest, which is usually what matters most.

        Verified in Prometheus and Alertmanager: a critical rule selects memory of nodes, containers or processes; it is evaluated,
        its metrics have series, and it reaches one of `integrations`. Memory inside a store does not count.

        To mend it, alert on `node_memory_MemAvailable_bytes` or `container_memory_working_set_bytes`, or name your rules in
        `alert_map`.
        """
        return await self._alerts_on(KINDS["memory_usage_alert"])

    @item("CPU usage alerts", severity=WARNING, needs=_NEEDS)
    async def cpu_usage_alert(self) -> Result:
        """A saturated or throttled CPU makes everything slow at once, and hides the first cause behind a hundred others.

        Verified in Prometheus and Alertmanager: a critical rule selects CPU time, throttling or load; it is evaluated, its metrics
        have series, and it reaches one of `integrations`.

        To mend it, alert on `node_cpu_seconds_total` or `container_cpu_cfs_throttled_periods_total`, or name your rules in
        `alert_map`.
        """
        return await self._alerts_on(KINDS["cpu_usage_alert"])
