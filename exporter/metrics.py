"""Which metrics there are: families of prometheus-client, made afresh from the state whenever they are asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

import prometheus_client
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from exporter.health import Health
from exporter.plan import Plan
from exporter.verdict import Status
from exporter.views import ItemView

__all__ = ["TARGETS", "ChecklistCollector", "HealthCollector", "health_families", "item_families", "plan_families"]

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

_TIMER = "Verified on the exporter's own timer, not by the scrape."

#: The metric that has a sample for each target.
TARGETS = "checklist_item_target_ok"

Samples = Iterable[tuple[tuple[str, ...], float]]


@dataclass(frozen=True, slots=True)
class _Family:
    """One metric of every item: `samples` gives an item's further label values (beside section and item) with the value."""

    name: str
    help: str
    samples: Callable[[ItemView], Samples]
    labels: tuple[str, ...] = ()
    kind: type[GaugeMetricFamily] | type[CounterMetricFamily] = GaugeMetricFamily

    def of(self, views: Iterable[ItemView]) -> Metric:
        family = self.kind(self.name, self.help, labels=("section", "item", *self.labels))
        for view in views:
            for labels, value in self.samples(view):
                family.add_metric((view.planned.section, view.planned.item, *labels), value)
        return family


def _one(value: float | datetime | None) -> Samples:
    """One sample; none for a value that there is not."""
    if value is None:
        return ()
    return (((), value.timestamp() if isinstance(value, datetime) else value),)


def _ok(view: ItemView) -> Samples:
    return () if view.status is Status.NOT_APPLICABLE else _one(float(view.status.is_ok))


def _status(view: ItemView) -> Samples:
    return (((status.value,), float(view.status is status)) for status in Status)


def _reason(view: ItemView) -> Samples:
    return () if view.reason is None or view.status.is_ok else (((view.reason.value,), 1.0),)


def _summary(view: ItemView) -> Samples:
    return () if view.announced is None else (((view.announced,), 1.0),)


def _targets(view: ItemView) -> Samples:
    return (((target.target,), float(target.status.is_ok)) for target in view.targets if target.target)


def _measurements(view: ItemView) -> Samples:
    return (((name,), value) for name, value in view.measurements.items() if math.isfinite(value))


def _last_ok(view: ItemView) -> Samples:
    return () if view.status is Status.NOT_APPLICABLE else _one(view.last_ok or 0.0)


def _causes(view: ItemView) -> Samples:
    return (((cause.section, cause.item), 1.0) for cause in view.causes)


def _when_scheduled(value: Callable[[ItemView], float | datetime | None]) -> Callable[[ItemView], Samples]:
    """The value for items that a collector verifies on some target; the others never run."""
    return lambda view: _one(value(view)) if view.targets else ()


def _maintenance_end(view: ItemView) -> datetime | None:
    return view.maintenance.end if view.maintenance else None


def _waiver_end(view: ItemView) -> datetime | None:
    return view.planned.waiver.ends_at if view.planned.waiver else None


_ITEM_FAMILIES = (
    _Family("checklist_item_ok", f"Whether the line passes: 1 for ok and warning, otherwise 0. {_TIMER}", _ok),
    _Family(
        "checklist_item_status",
        f"Status of the line: 1 for the one it has, otherwise 0. {_TIMER}",
        _status,
        ("status",),
    ),
    _Family(
        "checklist_item_reason",
        f"Why the line does not pass: 1 for the one reason that it has, no series while it passes. {_TIMER}",
        _reason,
        ("reason",),
    ),
    _Family(
        "checklist_item_summary",
        "What was observed when a line that was OK ceased to pass: 1 for the sentence, the same until its status or its reason "
        f"changes. {_TIMER}",
        _summary,
        ("summary",),
    ),
    _Family(
        "checklist_item_cause",
        "The line because of which this one does not pass, and whose notification names it: 1 while it is, otherwise no series. "
        f"{_TIMER}",
        _causes,
        ("cause_section", "cause_item"),
    ),
    _Family(TARGETS, f"Whether the line passes on this target. {_TIMER}", _targets, ("target",)),
    _Family(
        "checklist_item_measurement",
        f"Measured value, in the base unit at the end of its name, on the target that decides the verdict. {_TIMER}",
        _measurements,
        ("measurement",),
    ),
    _Family(
        "checklist_item_last_run_timestamp_seconds",
        "When the line was last verified, on the target verified longest ago; 0 if it never was.",
        _when_scheduled(lambda view: view.last_run or 0.0),
    ),
    _Family(
        "checklist_item_last_ok_timestamp_seconds",
        "When the line was last OK; 0 if it never was.",
        _last_ok,
    ),
    _Family(
        "checklist_item_status_since_timestamp_seconds",
        "When the line entered its current status.",
        lambda view: _one(view.since),
    ),
    _Family(
        "checklist_item_evidence_expiry_timestamp_seconds",
        "When the evidence for the line expires.",
        lambda view: _one(view.valid_until),
    ),
    _Family(
        "checklist_item_waiver_expiry_timestamp_seconds",
        "When the line's waiver expires.",
        lambda view: _one(_waiver_end(view)),
    ),
    _Family(
        "checklist_item_maintenance_end_timestamp_seconds",
        "When the maintenance ends that is under way on the line; no series while there is none.",
        lambda view: _one(_maintenance_end(view)),
    ),
    _Family(
        "checklist_item_run_duration_seconds",
        "Duration of the line's last verification, on the slowest target.",
        _when_scheduled(lambda view: view.duration),
    ),
    _Family(
        "checklist_item_interval_seconds",
        "Interval at which the line is verified.",
        _when_scheduled(lambda view: view.planned.every.total_seconds()),
    ),
    _Family(
        "checklist_item_runs",
        "Verifications of the line, over all targets.",
        _when_scheduled(lambda view: float(view.runs)),
        kind=CounterMetricFamily,
    ),
    _Family(
        "checklist_item_run_errors",
        "Verifications of the line that ended with an error instead of a verdict.",
        _when_scheduled(lambda view: float(view.errors)),
        kind=CounterMetricFamily,
    ),
)


def _info(views: Iterable[ItemView]) -> Metric:
    labels = ("section", "item", "title", "group", "item_severity", "mode", "team", "runbook_url")
    family = InfoMetricFamily("checklist_item", "The line and what is declared about it.", labels=labels)
    for view in views:
        planned = view.planned
        family.add_metric(
            labels,
            {
                "section": planned.section,
                "item": planned.item,
                "title": planned.line,
                "group": planned.group,
                "item_severity": planned.severity.value,
                "mode": planned.mode.value if planned.mode else "",
                "team": planned.team,
                "runbook_url": planned.runbook_url,
            },
        )
    return family


def item_families(views: Iterable[ItemView]) -> list[Metric]:
    """Every metric of these items; the families and their order are always the same."""
    known = tuple(views)
    return [*(family.of(known) for family in _ITEM_FAMILIES), _info(known)]


def plan_families(plan: Plan) -> list[Metric]:
    """The metrics of the configuration as a whole."""
    objectives = GaugeMetricFamily(
        "checklist_section_objective_ratio", "Share of the section's lines that must pass.", labels=("section",)
    )
    for section, objective in plan.objectives.items():
        objectives.add_metric((section,), objective)
    configured = GaugeMetricFamily("checklist_items_configured", "Lines of the checklist.", value=len(plan.items))
    return [objectives, configured]


def health_families(health: Health) -> Iterator[Metric]:
    """The metrics of the exporter itself."""

    def gauge(name: str, documentation: str, value: float | datetime | None) -> Metric:
        family = GaugeMetricFamily(name, documentation)
        for _, sample in _one(value):
            family.add_metric((), sample)
        return family

    leads = health.leads
    if leads:  # a replica that follows has nothing due, which says nothing of the leader's
        yield gauge(
            "checklist_scheduler_last_tick_timestamp_seconds",
            "When the scheduler last checked for due runs.",
            health.last_tick,
        )
        yield gauge("checklist_scheduler_lag_seconds", "How late the scheduler's last tick was.", health.lag)
        yield gauge(
            "checklist_scheduler_stuck_runs",
            "Runs that are past their deadline and still in progress.",
            len(health.stuck_runs),
        )
    yield gauge("checklist_exporter_leader", "Whether this replica verifies the checklist.", leads)
    yield gauge(
        "checklist_exporter_history_ok",
        "Whether transitions and last observations are stored where they outlive the process.",
        health.history_error is None,
    )
    yield gauge(
        "checklist_exporter_config_last_reload_successful",
        "Whether the last attempt to load the configuration succeeded; if not, the last good one is in force.",
        health.reload_successful,
    )
    yield gauge(
        "checklist_exporter_config_last_reload_success_timestamp_seconds",
        "When the configuration in force was loaded.",
        health.reload_success_at,
    )
    build = {"version": health.version, "revision": health.revision, "python_version": health.python}
    yield InfoMetricFamily("checklist_exporter_build", "Version of the running exporter.", value=build)
    web = {"external_url": health.external_url}
    yield InfoMetricFamily("checklist_exporter_web", "External URL of the exporter's pages.", value=web)


class ChecklistCollector(Collector):
    """The checklist as prometheus-client sees it. `read` gives the plan and its items, as of the time of asking."""

    def __init__(self, read: Callable[[], tuple[Plan, Iterable[ItemView]]]) -> None:
        self._read = read

    def describe(self) -> list[Metric]:
        """Names and types without samples, so that registering and filtering by name read nothing."""
        return [*item_families(()), *plan_families(Plan("", None, (), ()))]

    def collect(self) -> list[Metric]:
        """Every family, made now."""
        plan, views = self._read()
        return [*item_families(views), *plan_families(plan)]


class HealthCollector(Collector):
    """The exporter itself as prometheus-client sees it."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def describe(self) -> list[Metric]:
        """The same families as `collect`: making them costs nothing."""
        return list(self.collect())

    def collect(self) -> Iterator[Metric]:
        """Every family, made now."""
        return health_families(self._health)
