"""Asks Prometheus for what a condition is judged by."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator

from collectors.systems.prometheus.client import Prometheus
from collectors.systems.prometheus.judge.conditions import holds
from collectors.systems.prometheus.model.answers import Sample
from collectors.systems.prometheus.model.conditions import truth
from exporter.verdict import Result

__all__ = ["ComparedCondition", "Condition", "ask_all", "see_condition"]


def _readable(text: str) -> str:
    truth(text)
    return text


Condition = Annotated[str, AfterValidator(_readable)]
"""PromQL that every series of its left side must satisfy, such as `up == 1`."""


def _compared(text: str) -> str:
    if any(comparison.text == comparison.subject for comparison in truth(text).comparisons):
        raise ValueError("expected a comparison, such as up == 1: a metric alone is true of every value but 0")
    return text


ComparedCondition = Annotated[str, AfterValidator(_compared)]
"""A condition that compares: a timestamp alone would always be true."""


async def see_condition(prometheus: Prometheus, text: str, least: int = 1) -> Result:
    """Whether a condition is true of every series of its left side, of which there are at least `least`.

    Raises ProbeError when there is no complete answer to a query.
    """
    demanded = truth(text)
    parts = [
        part
        for comparison in demanded.comparisons
        for part in (comparison.subject, comparison.other, comparison.as_bool)[
            : 1 if comparison.bound is not None else 3
        ]
    ]
    parts += [part for comparison in demanded.comparisons for part in (*comparison.ages, *comparison.alone)]
    asked = await ask_all(prometheus, (*parts, *demanded.present))
    for comparison in demanded.comparisons:
        if comparison.counts and not asked[comparison.subject] and all(asked[query] for query in demanded.present):
            asked[comparison.subject] = [Sample({}, 0.0, 0.0)]  # there are series, and none of them is counted
    return holds(demanded, asked, least)


async def ask_all(prometheus: Prometheus, queries: Iterable[str]) -> dict[str, list[Sample]]:
    """What each query returns, all at the moment of the first. Raises ProbeError when there is no complete answer to one."""
    answers, moment = dict[str, list[Sample]](), None
    for query in dict.fromkeys(queries):
        answers[query] = found = await prometheus.query(query, moment)
        if found and moment is None:
            moment = datetime.fromtimestamp(found[0].timestamp, UTC)
    return answers
