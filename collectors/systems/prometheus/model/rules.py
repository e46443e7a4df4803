"""Alerting rules, what their expressions select, and which series they need."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from collectors.systems.prometheus.model.answers import (
    Rule,
    RuleGroup,
)
from collectors.systems.prometheus.model.firing import alternatives
from collectors.systems.prometheus.model.promql import LabelMatcher, Selection, selections
from exporter.verdict import ProbeError

__all__ = ["Alternative", "Evaluated", "Needed", "evaluated", "needed_series", "series_queries"]

_QUERY_LENGTH = 4000


@dataclass(frozen=True, slots=True)
class Alternative:
    """One of the sides of an `or`, any of which is enough for the rule: what it selects, also through recording rules."""

    expr: str
    selected: tuple[Selection, ...]
    underlying: tuple[Selection, ...]


@dataclass(frozen=True, slots=True)
class Evaluated:
    """An alerting rule, the seconds between its evaluations, the alternatives of its expression, and what recording rules give.

    `severity` is None where only the alert will have it: it is templated, or relabelled by labels of series.
    """

    rule: Rule
    interval: float
    alternatives: tuple[Alternative, ...]
    recorded: Mapping[str, Sequence[str]] = field(default_factory=dict, repr=False)
    severity: str | None = None

    @property
    def selected(self) -> tuple[Selection, ...]:
        """What the expression selects."""
        return tuple(selection for alternative in self.alternatives for selection in alternative.selected)

    @property
    def underlying(self) -> tuple[Selection, ...]:
        """What the expression selects, also through recording rules."""
        return tuple(selection for alternative in self.alternatives for selection in alternative.underlying)


def evaluated(
    groups: Iterable[RuleGroup],
    severity_label: str,
    severities: Iterable[str] | None = None,
    severity_of: Callable[[Rule], str | None] | None = None,
) -> tuple[list[Evaluated], list[ProbeError]]:
    """The alerting rules of these severities (of all by default) or of one that is not known; and why some were not understood.

    `severity_of` shows the severity that an alert is sent with: "" for none, None where that is not known. By default it is the
    rule's label.
    """
    groups = list(groups)
    wanted = None if severities is None else frozenset(severities)
    recorded: dict[str, list[str]] = {}
    for group in groups:
        for rule in group.rules:
            if (
                rule.type == "recording" and rule.health != "err"
            ):  # what fails gives no series, whatever it would compute
                recorded.setdefault(rule.name, []).append(rule.query)
    found, missing = [], []
    for group in groups:
        for rule in group.rules:
            if rule.type != "alerting":
                continue
            severity = severity_of(rule) if severity_of else rule.labels.get(severity_label, "")
            if wanted is not None and severity is not None and severity not in wanted:
                continue
            try:
                parts = tuple(
                    Alternative(expr, selected, tuple(_underlying(selected, recorded, frozenset())))
                    for expr, selected in alternatives(rule.query)
                )
            except ProbeError as why:
                missing.append(ProbeError(f"Alerting rule {rule.name} was not judged. {why}", why.reason))
                continue
            found.append(Evaluated(rule, group.interval, parts, recorded, severity))
    return found, missing


def _underlying(
    selected: Iterable[Selection], recorded: Mapping[str, Sequence[str]], within: frozenset[str]
) -> Iterator[Selection]:
    """What is selected, and what the recording rules select that compute it."""
    for selection in selected:
        yield selection
        metric = selection.metric or ""
        if metric not in within:
            for query in recorded.get(metric, ()):
                parts = (part.within(selection) for part in selections(query))
                yield from _underlying(parts, recorded, within | {metric})


@dataclass(frozen=True, slots=True)
class Needed:
    """Series without which a rule cannot fire: of a metric, and where the rule says of which job, of that.

    `metric` is None for what is selected without a name: then `conditions` select it.
    """

    metric: str | None
    conditions: tuple[LabelMatcher, ...] = ()

    def allows(self, job: str) -> bool:
        """Whether series of this job will do."""
        return all(condition.allows(job) for condition in self.conditions if condition.name == "job")

    def __str__(self) -> str:
        """As a selector."""
        conditions = (f"{one.name}{one.operator}{json.dumps(one.value, ensure_ascii=False)}" for one in self.conditions)
        return f"{self.metric or ''}{{{', '.join(conditions)}}}" if self.conditions else self.metric or ""


def needed_series(rule: Evaluated | Alternative, may_be_missing: Iterable[str]) -> set[Needed]:
    """The series that must exist for the rule to be able to fire: not those that it wants to be absent.

    Filters by other labels than the job's are left out: what they select (an error, a full disk) may come only when it happens.
    """
    kept_out = {"ALERTS", "ALERTS_FOR_STATE", *may_be_missing}  # these two are there only while something fires
    wanted = (selection for selection in rule.selected if not selection.absent and not selection.excluding)
    return {needed for needed in map(_needed, wanted) if kept_out.isdisjoint({needed.metric, str(needed)})}


def _needed(selection: Selection) -> Needed:
    names = ("job",) if selection.metric else ("__name__", "job")
    conditions = tuple(condition for condition in selection.conditions if condition.name in names)
    return Needed(selection.metric, conditions if selection.metric or conditions else selection.conditions)


def series_queries(metrics: Iterable[str], within: str = "") -> Iterator[str]:
    """Expressions that give one sample for each job that has series of one of these metrics; each of bounded length.

    Series that there are now, or that there were `within` a duration (`1h`).
    """
    part: list[str] = []
    for metric in sorted(metrics):
        if part and sum(map(len, part)) + len(metric) > _QUERY_LENGTH:
            yield _series_query(part, within)
            part = []
        part.append(metric)
    if part:
        yield _series_query(part, within)


def _series_query(metrics: Iterable[str], within: str) -> str:
    pattern = "|".join(re.sub(r"[^\w:]", lambda found: f"\\x{{{ord(found[0]):x}}}", metric) for metric in metrics)
    selected = f"{{__name__=~{json.dumps(pattern, ensure_ascii=False)}}}"
    return f"group by (__name__, job) ({f'last_over_time({selected}[{within}])' if within else selected})"
