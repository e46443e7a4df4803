"""Alerting rules, what their expressions select, and which series they need."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from collectors.systems.prometheus.model.answers import (
    Rule,
    RuleGroup,
)
from collectors.systems.prometheus.model.promql import LabelMatcher, Selection, selections
from exporter.verdict import ProbeError

__all__ = ["Evaluated", "Needed", "evaluated", "needed_series", "series_queries"]

_QUERY_LENGTH = 4000


@dataclass(frozen=True, slots=True)
class Evaluated:
    """An alerting rule, the seconds between its evaluations, and what its expression selects, also through recording rules."""

    rule: Rule
    interval: float
    selected: tuple[Selection, ...]
    underlying: tuple[Selection, ...]


def evaluated(
    groups: Iterable[RuleGroup], severity_label: str, severities: Iterable[str]
) -> tuple[list[Evaluated], list[ProbeError]]:
    """The alerting rules of these severities, and why some were not understood."""
    groups, severities = list(groups), frozenset(severities)
    recorded: dict[str, list[str]] = {}
    for group in groups:
        for rule in group.rules:
            if rule.type == "recording":
                recorded.setdefault(rule.name, []).append(rule.query)
    found, missing = [], []
    for group in groups:
        for rule in group.rules:
            if rule.type != "alerting" or rule.labels.get(severity_label) not in severities:
                continue
            try:
                selected = selections(rule.query)
                underlying = tuple(_underlying(selected, recorded, frozenset()))
            except ProbeError as why:
                missing.append(ProbeError(f"Alerting rule {rule.name} was not judged. {why}"))
                continue
            found.append(Evaluated(rule, group.interval, selected, underlying))
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


def needed_series(rule: Evaluated, may_be_missing: Iterable[str]) -> set[Needed]:
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


def series_queries(metrics: Iterable[str]) -> Iterator[str]:
    """Expressions that give one sample for each job that has series of one of these metrics now; each of bounded length."""
    part: list[str] = []
    for metric in sorted(metrics):
        if part and sum(map(len, part)) + len(metric) > _QUERY_LENGTH:
            yield _series_query(part)
            part = []
        part.append(metric)
    if part:
        yield _series_query(part)


def _series_query(metrics: Iterable[str]) -> str:
    pattern = "|".join(re.sub(r"[^\w:]", lambda found: f"\\x{{{ord(found[0]):x}}}", metric) for metric in metrics)
    return f"group by (__name__, job) ({{__name__=~{json.dumps(pattern, ensure_ascii=False)}}})"
