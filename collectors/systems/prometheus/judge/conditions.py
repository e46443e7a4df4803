"""Whether a condition in PromQL is true of every series, or alerts: pure judgements on what its parts return."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from collectors.shared.verdicts import verdict
from collectors.systems.prometheus.model.answers import Sample
from collectors.systems.prometheus.model.conditions import Alert, Comparison, Truth
from exporter.verdict import Reason, Result, failed, ok, unknown
from exporter.words import counted

__all__ = ["Answers", "alerts", "holds"]

Answers = Mapping[str, Sequence[Sample]]
"""What each query returned."""

_SHOWN = 3  # series named in a sentence
_CLOCKS = 300.0  # seconds that two clocks may differ
_HOLDS: Mapping[str, Callable[[float, float], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge
}  # fmt: skip


def holds(truth: Truth, answers: Answers, least: int) -> Result:
    """Whether each of a condition's comparisons is true of every series of its subject, of which there are at least `least`.

    `answers` has what its `present` returned and, of each comparison, the subject, `ages` and `alone` (without a bound also `other`
    and `as_bool`).
    """
    measured = {"series": float(max(len(answers[comparison.subject]) for comparison in truth.comparisons))}
    false = [sample for comparison in truth.comparisons for sample in _false(comparison, answers)]
    if false:
        measured["false_series"] = float(len(false))
    subjects = [sample for comparison in truth.comparisons for sample in answers[comparison.subject]]
    good = replace(ok(f"{truth.text} holds for {_series(subjects)}."), measurements=measured)
    return verdict(_problems(truth, answers, least), good)


def _problems(truth: Truth, answers: Answers, least: int) -> Iterator[Result]:
    for comparison in truth.comparisons:
        if false := _false(comparison, answers):
            yield failed(f"{comparison.text} does not hold for {_series(false)}.")
    for query in truth.present:
        if not answers[query]:
            yield unknown(f"{query} returned nothing: there is no such series.", reason=Reason.MISSING)
    for comparison in truth.comparisons:
        yield from _unjudged(comparison, answers, least)


def _false(comparison: Comparison, answers: Answers) -> list[Sample]:
    """The series of which a comparison is false; what is not a number is neither true nor false."""
    subject = answers[comparison.subject]
    if comparison.bound is not None:
        compare = _HOLDS[comparison.operator]
        return [one for one in subject if not math.isnan(one.value) and not compare(one.value, comparison.bound)]
    if _undefined(subject) or _undefined(answers[comparison.other]):
        return []
    values = {_identity(one): one for one in subject}
    return [values.get(_identity(one), one) for one in answers[comparison.as_bool] if one.value == 0]


def _unjudged(comparison: Comparison, answers: Answers, least: int) -> Iterator[Result]:
    """What keeps a comparison that is false of no series from being true of all."""
    subject = answers[comparison.subject]
    others = answers[comparison.other] if comparison.bound is None else ()
    if not subject:
        yield unknown(
            f"{comparison.subject} returned nothing: there is no such series, or it filters by itself and alert_when fits.",
            reason=Reason.MISSING,
        )
        return
    if len(subject) < least:
        found = f"{comparison.subject} returned {counted(len(subject), 'series', 'series')}"
        yield failed(f"{found}, expected at least {least}: {_series(subject)}.", reason=Reason.MISSING)
    for text, samples in ((comparison.subject, subject), (comparison.other, others)):
        if undefined := _undefined(samples):
            yield unknown(f"{text} is not a number for {_series(undefined)}.", reason=Reason.MALFORMED)
        infinite = [one for one in samples if math.isinf(one.value)]
        if infinite and not (comparison.bound is not None and math.isinf(comparison.bound)):
            yield unknown(
                f"{text} is infinite for {_series(infinite)}, so it says nothing: is it divided by 0?",
                reason=Reason.MALFORMED,
            )
    for age in comparison.ages:
        if future := _future(answers[age]):
            yield unknown(f"{age} lies in the future for {_series(future)}.", reason=Reason.CONTRADICTED)
    for query in comparison.alone:
        if dropped := answers[query]:
            yield unknown(
                f"{comparison.subject} has nothing to calculate with for {_series(dropped)}, so "
                f"{'it was' if len(dropped) == 1 else 'they were'} not judged.",
                reason=Reason.MISSING,
            )
    if comparison.bound is None and (left := len(subject) - len(answers[comparison.as_bool])) > 0:
        yield unknown(
            f"{left} of {counted(len(subject), 'series', 'series')} of {comparison.subject} "
            f"{'has' if left == 1 else 'have'} nothing in {comparison.other} to be compared with.",
            reason=Reason.MISSING,
        )


def alerts(alert: Alert, found: Sequence[Sample], answers: Answers, least: int) -> Result:
    """Whether an alert is quiet and could have alerted. `found` is what it returned, `answers` has what its queries returned."""
    if found:
        return failed(f"{alert.text} returned {_series(found)}.", series=len(found))
    series = min((len(answers[query]) for query in alert.joined), default=0)
    of = f" of {counted(series, 'series', 'series')}" if series else ""
    good = ok(f"{alert.text} returned nothing{of}: it would alert, and does not.")
    return verdict(_silenced(alert, answers, least), good)


def _silenced(alert: Alert, answers: Answers, least: int) -> Iterator[Result]:
    """Why an alert that returned nothing could not have returned anything."""
    for query in alert.present:
        if not answers[query]:
            yield unknown(
                f"{query} returned nothing, so the alert is quiet because there is no such series.",
                reason=Reason.MISSING,
            )
    for text in alert.sides:
        if undefined := _undefined(answers[text]):
            yield unknown(f"{text} is not a number for {_series(undefined)}.", reason=Reason.MALFORMED)
    for age in alert.ages:
        if future := _future(answers[age]):
            yield unknown(f"{age} lies in the future for {_series(future)}.", reason=Reason.CONTRADICTED)
    for query in alert.joined:
        if not answers[query]:
            yield unknown(
                f"{query} returned nothing, so the alert is quiet whatever its series are: its sides never join.",
                reason=Reason.MISSING,
            )
        elif len(answers[query]) < least:
            found = f"{query} returned {counted(len(answers[query]), 'series', 'series')}"
            yield failed(f"{found}, expected at least {least}: {_series(answers[query])}.", reason=Reason.MISSING)


def _undefined(samples: Sequence[Sample]) -> list[Sample]:
    return [sample for sample in samples if math.isnan(sample.value)]


def _future(ages: Sequence[Sample]) -> list[Sample]:
    return [sample for sample in ages if -math.inf < sample.value < -_CLOCKS]


def _identity(sample: Sample) -> frozenset[tuple[str, str]]:
    return frozenset((name, value) for name, value in sample.labels.items() if name != "__name__")


def _series(samples: Sequence[Sample]) -> str:
    """The samples' series by name, at most a few."""
    names = [_name(sample) for sample in samples[:_SHOWN]]
    more = f" and {len(samples) - _SHOWN} more series" if len(samples) > _SHOWN else ""
    return ", ".join(names) + more


def _name(sample: Sample) -> str:
    labels = ", ".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()) if name != "__name__")
    value = "" if math.isnan(sample.value) else f" (value {sample.value:g})"
    return f"{sample.labels.get('__name__', '')}{{{labels}}}{value}"
