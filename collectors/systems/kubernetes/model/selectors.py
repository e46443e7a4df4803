"""Label selectors of Kubernetes: which objects one selects, and how one is written in a configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping

from collectors.systems.kubernetes.model.objects import Requirement, Selector
from exporter.verdict import ProbeError

__all__ = ["matches", "parse_selector", "selects_all"]

_LABEL = r"[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?"
_VALUE = r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
_EQUAL = re.compile(rf"({_LABEL})\s*(==|=|!=)\s*({_VALUE})")
_AMONG = re.compile(rf"({_LABEL})\s+(in|notin)\s*\(([^()]*)\)")
_EXISTS = re.compile(rf"(!?)\s*({_LABEL})")


def matches(selector: Selector | None, labels: Mapping[str, str]) -> bool:
    """Whether the selector selects an object with these labels: None selects nothing, one without requirements everything.

    Raises ProbeError for an operator that is not known, as what it would select cannot be known.
    """
    if selector is None:
        return False
    for key, value in selector.match_labels.items():
        if labels.get(key) != value:
            return False
    return all(_meets(requirement, labels) for requirement in selector.match_expressions)


def _meets(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value is not None and value in requirement.values
        case "NotIn":
            return value is None or value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    raise ProbeError(f"What the operator {requirement.operator} of a label selector selects is not known.")


def selects_all(selector: Selector) -> bool:
    """Whether the selector has no requirement."""
    return not selector.match_labels and not selector.match_expressions


def parse_selector(text: str) -> Selector:
    """A selector as kubectl takes it: `app=redis,tier!=cache,zone in (a, b),!legacy`. Raises ValueError for anything else."""
    requirements = [_requirement(part.strip()) for part in re.split(r",(?![^()]*\))", text)] if text.strip() else []
    return Selector(match_expressions=tuple(requirements))


def _requirement(text: str) -> Requirement:
    if found := _EQUAL.fullmatch(text):
        return Requirement(found[1], "NotIn" if found[3] == "!=" else "In", (found[4],))
    if found := _AMONG.fullmatch(text):
        values = tuple(value.strip() for value in found[4].split(","))
        if all(re.fullmatch(_VALUE, value) for value in values):
            return Requirement(found[1], "In" if found[3] == "in" else "NotIn", values)
    elif found := _EXISTS.fullmatch(text):
        return Requirement(found[2], "DoesNotExist" if found[1] else "Exists")
    raise ValueError("expected a label selector such as app=redis,tier!=cache or zone in (a, b)")
