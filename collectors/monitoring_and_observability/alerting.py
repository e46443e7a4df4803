"""Alerting"""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Self

from pydantic import Field, model_validator

from collectors.shared.verdicts import verdict
from collectors.systems.alertmanager.client import Alertmanager
from collectors.systems.alertmanager.judge.routing import (
    inhibition_problems,
    routing_problems,
    silence_problems,
    together,
)
from collectors.systems.alertmanager.model.alerts import HeldAlert, Silence
from collectors.systems.alertmanager.model.routes import Configuration, label_names, parse_configuration
from collectors.systems.prometheus.client import ManyToMany, Prometheus
from collectors.systems.prometheus.judge.rules import (
    KINDS,
    MOST_VALUES,
    Kind,
    compared_since_start,
    compared_totals,
    doubts,
    evaluation_problems,
    filtered_labels,
    impossibility,
    unmatched,
    watched,
)
from collectors.systems.prometheus.model.answers import Rule, RuleGroup, Sample
from collectors.systems.prometheus.model.firing import alternatives, label_name, never_true, possible
from collectors.systems.prometheus.model.rules import (
    Alternative,
    Evaluated,
    Needed,
    evaluated,
    needed_series,
    series_queries,
)
from collectors.systems.prometheus.model.sending import Sending, Sent, parse_sending
from exporter.collector import Collector, Mode, NoTarget, SectionSettings, fetched, item
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
    warning,
    worst,
)
from exporter.words import listed

_NEEDS = ("clients.prometheus", "clients.alertmanager")
_MOST_LABEL_SETS = 200
_BEFORE = timedelta(hours=1)
"""Series of so long ago show that an alert can fire: what is down has none now."""


class AlertingSettings(SectionSettings):
    """Options of the section."""

    severity_label: str = Field(
        "severity", min_length=1, description="Label that holds the severity of an alerting rule."
    )
    critical_severities: tuple[str, ...] = Field(
        ("critical",), min_length=1, description="Values of that label that mark an alert as critical."
    )
    integrations: tuple[str, ...] = Field(
        ("email", "pagerduty", "slack"),
        min_length=1,
        description="Integrations of Alertmanager that notify a person; an alert must reach one of them.",
    )
    alert_map: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="Item to the names of its alerts, where they are not recognized by what they select.",
    )
    services: tuple[str, ...] = Field(
        (),
        description="Jobs of the product: each must be covered by the alerts for services that are down, and the "
        "alerts on errors and latency must be on their requests. Without it these lines are at most a "
        "warning.",
    )
    longest_wait: Duration = Field(
        timedelta(hours=6),
        gt=timedelta(0),
        description="Alerts whose `for`, or the `group_wait` of whose route, is longer count as alerts that never fire.",
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
        timedelta(days=7), gt=timedelta(0), description="Silences that last longer count as permanent."
    )
    longest_inhibition: Duration = Field(
        timedelta(days=1),
        gt=timedelta(0),
        description="Alerts that inhibit others for longer count as permanent inhibitions.",
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
                    f"{prometheus.settings.url} has no rules, as with servers that only store series (Thanos, VictoriaMetrics), "
                    f"and does not identify itself as a Prometheus. {why} Let clients.prometheus be what evaluates the rules too.",
                    Reason.MISCONFIGURED,
                ) from None
        return groups

    @fetched
    async def all_rules(self) -> tuple[list[Evaluated], list[ProbeError]]:
        """All alerting rules with the severities that their alerts are sent with, and why some were not understood."""
        try:
            sending = await self.sending()
        except ProbeError:  # reported where the alert is followed
            sending = Sending()

        def severity_of(rule: Rule) -> str | None:
            label = self.settings.severity_label
            try:
                sent = sending.sent(self._labels(rule))
            except ProbeError:
                return rule.labels.get(label, "")
            if sent is None:  # dropped: reported as such, if it would have been critical
                return rule.labels.get(label, "")
            return None if label in sent.unknown else sent.labels.get(label, "")

        return evaluated(await self.rules(), self.settings.severity_label, severity_of=severity_of)

    def _labels(self, rule: Rule) -> dict[str, str]:
        """The labels of a rule's alerts as far as they are known, with templates where the configuration does not give a value."""
        given = self.settings.alert_labels
        own = {name: value for name, value in rule.labels.items() if "{{" not in value or name not in given}
        return {**given, **own, "alertname": rule.name}

    async def critical(self) -> tuple[list[Evaluated], list[ProbeError]]:
        """The rules that are critical or may be, and why some were not understood."""
        rules, misunderstood = await self.all_rules()
        severities = self.settings.critical_severities
        return [rule for rule in rules if rule.severity is None or rule.severity in severities], misunderstood

    @fetched
    async def candidates(self) -> Mapping[str, list[Evaluated]]:
        """The critical rules of each kind, by item."""
        rules, _ = await self.critical()
        return {
            name: [rule for rule in rules if watched(kind, rule, self.settings.alert_map.get(name))]
            for name, kind in KINDS.items()
        }

    @fetched
    async def jobs(self) -> Mapping[str, set[str]]:
        """The jobs that have series of each metric that rules of all kinds select, also through recording rules.

        Now or, where there are none, in the hour before.
        """
        rules = [rule for found in (await self.candidates()).values() for rule in found]
        metrics = {selection.metric for rule in rules for selection in rule.underlying if selection.metric}
        answers = await asyncio.gather(*map(self.client(Prometheus).query, series_queries(metrics)))
        jobs: dict[str, set[str]] = {}
        for sample in itertools.chain(*answers):
            jobs.setdefault(sample.labels.get("__name__", ""), set()).add(sample.labels.get("job", ""))
        # What is down now has lost its series, and its alerts can fire all the same.
        earlier = series_queries(metrics - jobs.keys(), format_duration(_BEFORE))
        for sample in itertools.chain(*await asyncio.gather(*map(self.client(Prometheus).query, earlier))):
            jobs.setdefault(sample.labels.get("__name__", ""), set()).add(sample.labels.get("job", ""))
        return jobs

    async def _missing(self, part: Alternative) -> set[Needed]:
        """Of the series that a part of a rule needs, those that there are none of."""
        jobs = await self.jobs()
        missing = set()
        for needed in needed_series(part, self.settings.may_be_missing):
            if needed.metric:
                if not any(map(needed.allows, jobs.get(needed.metric, ()))):
                    missing.add(needed)
            elif not await self.client(Prometheus).query(
                f"group(last_over_time({needed}[{format_duration(_BEFORE)}]))"
            ):
                missing.add(needed)
        return missing

    async def _impossible(self, rule: Evaluated, part: Alternative, within: frozenset[str] = frozenset()) -> str:
        """Why a part of a rule can never be true of the series that there are; empty where it can, or nobody can say."""
        if why := never_true(part.expr, await self.tops()):
            return why
        missing = await self._missing(part)
        recorded = {needed for needed in missing if needed.metric in rule.recorded and needed.metric not in within}
        for needed in recorded:  # a recording rule may filter: without series now, what it computes shows
            parts = [
                Alternative(expr, selected, selected)
                for query in rule.recorded[needed.metric or ""]
                for expr, selected in alternatives(query)
            ]
            reasons = [await self._impossible(rule, one, within | {needed.metric or ""}) for one in parts]
            if all(reasons):
                return impossibility(rule, part, {needed})
        if missing - recorded:
            return impossibility(rule, part, missing - recorded)
        if recorded or not self._asked_for(part):
            return ""
        external = (await self._external_labels()).keys()
        values = {pair: found for pair, found in (await self.label_values()).items() if pair[1] not in external}
        if why := next(filter(None, (unmatched(found, values) for found in part.selected)), ""):
            return why
        try:
            # What other labels select (an error, a full disk) may come only when it happens. Buckets are always all there.
            lasting = frozenset({"job", "le", "quantile", *external})
            kept = lasting.__contains__
            for asked in (possible(part.expr), possible(part.expr, kept), possible(part.expr, kept, _BEFORE)):
                if await self._gives(asked):
                    return ""
        except ManyToMany:  # only because filters were taken out
            return ""
        return impossibility(rule, part, ())

    @fetched
    async def label_values(self) -> Mapping[tuple[str, str], frozenset[str]]:
        """The values of the labels by which rules of all kinds filter a metric, by metric and label.

        Those of now or, where there are no series, of the hour before.
        """
        rules = [rule for found in (await self.candidates()).values() for rule in found]
        pairs = sorted(filtered_labels(selection for rule in rules for selection in rule.selected))
        found = await asyncio.gather(*(self._values(metric, label) for metric, label in pairs))
        return dict(zip(pairs, found, strict=True))

    async def _values(self, metric: str, label: str) -> frozenset[str]:
        series = f"{{__name__={json.dumps(metric, ensure_ascii=False)}}}"
        for selected in (series, f"last_over_time({series}[{format_duration(_BEFORE)}])"):
            asked = f"topk({MOST_VALUES}, group by ({label_name(label)}) ({selected}))"
            if found := await self.client(Prometheus).query(asked):
                return frozenset(sample.labels.get(label, "") for sample in found)
        return frozenset()

    @fetched
    async def tops(self) -> Mapping[str, float]:
        """The highest finite bound of the buckets that rules of all kinds ask quantiles of, by metric."""
        rules = [rule for found in (await self.candidates()).values() for rule in found]
        metrics = sorted(
            {
                found.metric
                for rule in rules
                for found in rule.selected
                if found.metric and found.metric.endswith("_bucket") and "histogram_quantile" in found.functions
            }
        )
        bounds = await asyncio.gather(*(self._values(metric, "le") for metric in metrics))
        return {
            metric: max(finite)
            for metric, values in zip(metrics, bounds, strict=True)
            if (finite := [bound for bound in map(_bound, values) if math.isfinite(bound)])
        }

    async def _gives(self, expr: str) -> list[Sample]:
        """What an expression evaluates to, asked once a run."""
        return await self.share(f"query {expr}", functools.partial(self.client(Prometheus).query, expr))

    def _asked_for(self, part: Alternative) -> bool:
        """Whether nothing excuses a part of a rule from having series."""
        metrics = {selection.metric for selection in part.selected}
        return metrics.isdisjoint({"ALERTS", "ALERTS_FOR_STATE", *self.settings.may_be_missing})

    async def _external_labels(self) -> Mapping[str, str]:
        try:
            return (await self.sending()).external_labels
        except ProbeError:
            return {}

    @fetched
    async def impossible(self) -> Mapping[str, str]:
        """Why parts of rules can never be true, by their expressions."""
        parts = {
            part.expr: (rule, part)
            for rules in (await self.candidates()).values()
            for rule in rules
            for part in rule.alternatives
        }
        return dict(zip(parts, await asyncio.gather(*(self._impossible(*one) for one in parts.values())), strict=True))

    @fetched
    async def scraped(self) -> frozenset[str]:
        """The jobs that Prometheus scrapes now."""
        found = await self.client(Prometheus).query("group by (job) (up)")
        return frozenset(sample.labels.get("job", "") for sample in found)

    @fetched
    async def sending(self) -> Sending:
        """What Prometheus does to the labels of alerts. Raises ProbeError when it does not show its configuration."""
        if self.settings.external_labels is not None:
            return Sending(self.settings.external_labels)
        try:
            return parse_sending(await self.client(Prometheus).configuration())
        except ProbeError as why:
            raise ProbeError(
                f"{why} Give the labels that are added to alerts as external_labels.", Reason.NOT_CONFIGURED
            ) from None

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

    async def _problems(self, rule: Evaluated) -> list[Result]:
        """Why nobody would be notified if the rule's condition were true, worst first."""
        name, now, settings = rule.rule.name, self.context.now(), self.settings
        if problems := list(evaluation_problems(rule, now, settings.longest_wait)):
            return problems
        impossible = await self.impossible()
        why = [impossible[part.expr] for part in rule.alternatives]
        if all(why):
            return [failed(f"Alerting rule {name} can never fire: {why[0]}.", reason=Reason.MISSING)]
        found = [warning(f"A part of alerting rule {name} can never be true: {reason}.") for reason in why if reason]
        found += doubts(
            rule,
            await self._of_types(compared_totals(rule), {"counter"}),
            settings.longest_wait,
            await self._of_types(compared_since_start(rule), {"histogram", "summary"}),
        )
        own = self._labels(rule.rule)
        sent = (await self.sending()).sent(own)
        if sent is None:
            dropped = f"Alert {name} is dropped by Prometheus's alert_relabel_configs."
            return [failed(dropped, reason=Reason.MISCONFIGURED)]
        if rule.severity is None:
            return [
                unknown(
                    f"Whether alert {name} is critical is not known: its label {settings.severity_label} is templated, or "
                    "relabelled by labels of series."
                )
            ]
        configuration, (alerts, silences) = await self.configuration(), await self.held()
        of_sets = [
            (
                labels,
                [
                    *silence_problems(name, labels, silences, settings.longest_silence, now),
                    *inhibition_problems(
                        name, labels, configuration.inhibit_rules, alerts, settings.longest_inhibition, now
                    ),
                    *routing_problems(name, labels, configuration, settings.integrations, now, settings.longest_wait),
                ],
            )
            for labels in await self._label_sets(rule, own, sent)
        ]
        return [*together(of_sets, sent.labels), *found]

    async def _label_sets(self, rule: Evaluated, own: Mapping[str, str], sent: Sent) -> list[dict[str, str]]:
        """The labels that the rule's alerts are sent with, each set once: those of the series that there are, where they matter.

        Where there are none now, what is known without them.
        """
        impossible = await self.impossible()
        names = label_names(await self.configuration()) - sent.unknown
        names |= {matcher.name for silence in (await self.held())[1] for matcher in silence.matchers} - sent.unknown
        if names <= sent.labels.keys():
            return [sent.labels]
        sets: dict[tuple[tuple[str, str], ...], None] = {}
        sending = await self.sending()
        for part in rule.alternatives:
            if impossible[part.expr]:
                continue
            try:
                samples = await self._gives(possible(part.expr))
            except ProbeError:
                samples = []
            if not samples:
                return [sent.labels]
            for sample in samples:
                series = {label: value for label, value in sample.labels.items() if label != "__name__"}
                if (of_one := sending.of_series(own, series)) is not None:
                    known = {name: of_one.labels.get(name, "") for name in names - of_one.unknown}
                    sets[tuple(sorted({**sent.labels, **known}.items()))] = None
        return [dict(one) for one in sets][:_MOST_LABEL_SETS] or [sent.labels]

    async def _of_types(self, metrics: Sequence[str], types: Collection[str]) -> list[str]:
        """Those of the metrics that are of these types by what their targets say; none where nobody says."""
        if not metrics:
            return []
        try:
            described = await self.client(Prometheus).metadata()
        except ProbeError:  # Thanos without it, or not allowed: nothing is said against the rule
            return []
        return [
            metric
            for metric in metrics
            if any(one.type in types for name in _families(metric) for one in described.get(name, ()))
        ]

    async def _alerts_on(self, kind: Kind) -> Result:
        """Whether each part of a kind is watched by a rule with which nothing is wrong; judged once a run."""
        return await self.share(kind.item, functools.partial(self._judge, kind))

    async def _judge(self, kind: Kind) -> Result:
        candidates = (await self.candidates())[kind.item]
        names = self.settings.alert_map.get(kind.item)
        jobs = self.settings.services if kind.of_product else ()
        scraped = await self.scraped() if jobs else frozenset()
        problems, watching = [], []
        for rule in candidates:
            found = await self._found(rule)
            problems += found
            if all(problem.status is Status.WARNING for problem in found):
                watching.append((rule.rule.name, await self._watched(kind, rule, names, jobs, scraped)))
        seen = {one for _, parts in watching for one in parts}
        shown = ", ".join(dict.fromkeys(name for name, parts in watching if parts))
        counts = {"critical_rules": len(candidates), "working_rules": sum(bool(parts) for _, parts in watching)}
        wanted = {(part, job) for part in kind.wanted for job in jobs or [""]}
        if kind.item != "service_down_alert" and seen:
            wanted = seen  # a service that takes no requests has no errors
        if lacking := wanted - seen:
            return replace(await self._lacking(kind, lacking, problems), measurements=counts)
        good = Result(Status.OK, f"{shown} can fire and would notify of {kind.words}.", counts)
        remarks = [warning(problem.summary) for problem in problems]
        if kind.of_product and not jobs and names is None:
            remarks.append(warning("Whether they are the product's was not checked, as option services is empty."))
        elif unwatched := sorted(set(jobs) - {job for _, job in seen}):
            remarks.append(warning(f"Nothing like it watches {listed(unwatched)}."))
        result = verdict(remarks, good)
        if remarks:
            result = replace(result, summary=f"{shown} would notify of {kind.words}. {result.summary}")
        return result

    async def _found(self, rule: Evaluated) -> list[Result]:
        try:
            return await self._problems(rule)
        except ProbeError as why:
            return [unknown(f"Alerting rule {rule.rule.name} was not judged. {why}", reason=why.reason)]

    async def _watched(
        self,
        kind: Kind,
        rule: Evaluated,
        names: Collection[str] | None,
        jobs: Collection[str],
        scraped: Collection[str],
    ) -> set[tuple[str, str]]:
        """What a rule watches by those of its parts that can be true, and by whose series they are."""
        impossible = await self.impossible()
        live = [part for part in rule.alternatives if not impossible[part.expr]]
        return watched(kind, rule, names, jobs, scraped, live=live, jobs_of=await self.jobs())

    async def _lacking(self, kind: Kind, lacking: set[tuple[str, str]], problems: list[Result]) -> Result:
        """The verdict where some part is not watched by any rule with which nothing is wrong."""
        part, job = min(lacking)
        of_job = job if len({job for _, job in lacking}) == 1 else listed(sorted({job for _, job in lacking}))
        what = f"{kind.words}{f' ({part})' if len(kind.wanted) > 1 else ''}{f' of job {of_job}' if job else ''}"
        severities = " or ".join(self.settings.critical_severities)
        missing = f"No working alerting rule of severity {severities} watches {what}."
        _, misunderstood = await self.critical()
        unseen = [problem for problem in problems if problem.status is Status.UNKNOWN]
        unseen += map(unobserved, misunderstood)
        if unseen:
            first = unseen[0]
            summary = f"{missing[:-1]}, but not all were checked. {first.summary}"
            return unknown(summary, reason=first.reason or Reason.UNOBSERVED)
        seen = [problem for problem in problems if problem.status is Status.FAILED]
        if not seen and (others := await self._others(kind)):
            return failed(f"{missing} {others}", reason=Reason.MISSING)
        rest = verdict(seen, ok(""))
        return failed(" ".join(filter(None, [missing, rest.summary])), reason=rest.reason or Reason.MISSING)

    async def _others(self, kind: Kind) -> str:
        """The rules of other severities that watch the same; empty without any."""
        rules, _ = await self.all_rules()
        severities = self.settings.critical_severities
        others = [
            rule
            for rule in rules
            if rule.severity is not None and rule.severity not in severities and watched(kind, rule, None)
        ]
        if not others:
            return ""
        names = listed(dict.fromkeys(f"{rule.rule.name} ({rule.severity or 'no severity'})" for rule in others), 3)
        return f"Of other severities there are {names}: name those in critical_severities that count."

    @item("Critical alerts are configured:", severity=CRITICAL, mode=Mode.DERIVED)
    async def critical_alerts_configured(self) -> Result:
        """Whether a person is notified when the product breaks in any of the nine ways that the lines below name.

        Derived from the nine lines below it, in the same run: `failed` when one failed, else `unknown` when one could not be
        checked. Lines that are declared not to apply do not count.

        To fix it, see the lines that it names.
        """
        declared = self.settings.not_applicable
        left_out = declared if isinstance(declared, Mapping) else {}
        names = [name for name in KINDS if name not in left_out]
        results = {name: await self._seen(KINDS[name]) for name in names}
        if not results:
            return unknown(
                "None of the nine lines below applies, so nothing was checked.", reason=Reason.NOT_CONFIGURED
            )
        status = worst(*results.values()).status
        if status.is_ok:
            good = f"All {len(results)} kinds of critical alerts are configured"
            if status is Status.OK:
                return ok(f"{good}.", kinds=len(results))
            doubtful = [name for name, result in results.items() if result.status is status]
            return warning(f"{good}; see {listed(doubtful)}.", kinds=len(results))
        bad = [name for name, result in results.items() if result.status is status]
        verb = "failed" if status is Status.FAILED else "were not checked"
        return Result(
            status,
            f"{len(bad)} of {len(results)} kinds of critical alerts {verb}: {', '.join(bad)}.",
            {"kinds": len(results) - len(bad)},
            reason=results[bad[0]].reason,
        )

    async def _seen(self, kind: Kind) -> Result:
        try:
            return await self._alerts_on(kind)
        except ProbeError as why:
            return unobserved(why)

    @item("Service down alerts", severity=CRITICAL, needs=_NEEDS)
    async def service_down_alert(self) -> Result:
        """A service that is down does not notify anyone itself, and for one that vanished from discovery `up == 0` never
        fires.

        Verified in Prometheus and Alertmanager: critical rules compare `up` (or `probe_success`) and look for it with `absent`;
        they are evaluated, their metrics have series, nothing silences or inhibits them permanently, and they reach one of
        `integrations`. `services` names jobs that must each be covered. A firing alert is not a failure.

        To fix it, add `absent(up{job="…"} == 1)` with severity critical, or see the rule that is named.
        """
        return await self._alerts_on(KINDS["service_down_alert"])

    @item("High error rate alerts", severity=CRITICAL, needs=_NEEDS)
    async def high_error_rate_alert(self) -> Result:
        """A service may be up, fast, and answer everything with an error; only a rule over failed requests notices.

        Verified in Prometheus and Alertmanager: a critical rule compares how many requests of the product fail (by a status of
        5xx, another bad outcome, or a count of failures), or how few succeed; it is evaluated, can be true, and reaches one of
        `integrations`.

        To fix it, add such a rule, name yours in `alert_map`, or see the one that is named.
        """
        return await self._alerts_on(KINDS["high_error_rate_alert"])

    @item("High latency alerts", severity=WARNING, needs=_NEEDS)
    async def high_latency_alert(self) -> Result:
        """Users leave a service that is slow as they leave one that is down, but nothing else in the monitoring notices.

        Verified in Prometheus and Alertmanager: a critical rule compares a quantile or mean of the durations of the product's
        requests (histograms classic or native, summaries, gauges); it is evaluated, can be true, and reaches one of `integrations`.

        To fix it, add such a rule, name yours in `alert_map`, or see the one that is named.
        """
        return await self._alerts_on(KINDS["high_latency_alert"])

    @item("Database connection errors", severity=CRITICAL, needs=_NEEDS)
    async def database_connection_alert(self) -> Result:
        """When the database is gone or has no connection left, every service fails at once, and the cause should be the first page.

        Verified in Prometheus and Alertmanager: a critical rule selects whether a database is up, or its connections or pools; it
        is evaluated, its metrics have series, and it reaches one of `integrations`.

        To fix it, alert on `pg_up == 0` and on connections against `max_connections`, or name your rules in `alert_map`.
        """
        return await self._alerts_on(KINDS["database_connection_alert"])

    @item("Cache connection errors", severity=WARNING, needs=_NEEDS)
    async def cache_connection_alert(self) -> Result:
        """Without its cache the product still answers, until the database breaks under the load that the cache kept away.

        Verified in Prometheus and Alertmanager: a critical rule selects whether a cache is up, or its connections or errors; it
        is evaluated, its metrics have series, and it reaches one of `integrations`.

        To fix it, alert on `redis_up == 0` and on rejected connections, or name your rules in `alert_map`.
        """
        return await self._alerts_on(KINDS["cache_connection_alert"])

    @item("Queue depth alerts", severity=WARNING, needs=_NEEDS)
    async def queue_depth_alert(self) -> Result:
        """No request misses work that is stuck in a queue; it grows until it expires or fills a disk.

        Verified in Prometheus and Alertmanager: a critical rule selects what is pending, queued or lagging; it is evaluated, its
        metrics have series, and it reaches one of `integrations`. Queues inside the monitoring do not count.

        To fix it, alert on pending messages of every consumer, or name your rules in `alert_map`.
        """
        return await self._alerts_on(KINDS["queue_depth_alert"])

    @item("Disk space alerts", severity=CRITICAL, needs=_NEEDS)
    async def disk_space_alert(self) -> Result:
        """A full disk stops databases and logs at once, and is the one failure that can be predicted days ahead.

        Verified in Prometheus and Alertmanager: a critical rule selects free space of file systems or volumes; it is evaluated,
        its metrics have series, and it reaches one of `integrations`.

        To fix it, alert on `node_filesystem_avail_bytes` and `kubelet_volume_stats_available_bytes`, or name your rules in
        `alert_map`.
        """
        return await self._alerts_on(KINDS["disk_space_alert"])

    @item("Memory usage alerts", severity=WARNING, needs=_NEEDS)
    async def memory_usage_alert(self) -> Result:
        """When memory runs out the kernel kills whatever is largest, which is usually what matters most.

        Verified in Prometheus and Alertmanager: a critical rule selects memory of nodes, containers or processes; it is evaluated,
        its metrics have series, and it reaches one of `integrations`. Memory inside a store does not count.

        To fix it, alert on `node_memory_MemAvailable_bytes` or `container_memory_working_set_bytes`, or name your rules in
        `alert_map`.
        """
        return await self._alerts_on(KINDS["memory_usage_alert"])

    @item("CPU usage alerts", severity=WARNING, needs=_NEEDS)
    async def cpu_usage_alert(self) -> Result:
        """A saturated or throttled CPU makes everything slow at once, and hides the first cause behind a hundred others.

        Verified in Prometheus and Alertmanager: a critical rule selects CPU time, throttling or load; it is evaluated, its metrics
        have series, and it reaches one of `integrations`.

        To fix it, alert on `node_cpu_seconds_total` or `container_cpu_cfs_throttled_periods_total`, or name your rules in
        `alert_map`.
        """
        return await self._alerts_on(KINDS["cpu_usage_alert"])


def _bound(text: str) -> float:
    """The bound of a bucket; infinity for what is none."""
    try:
        return float(text)
    except ValueError:
        return math.inf


def _families(metric: str) -> tuple[str, ...]:
    """The names by which a target may describe a metric: its own, or that of the family whose part it is."""
    return (metric, *(metric.removesuffix(suffix) for suffix in ("_total", "_bucket", "_sum", "_count")))
