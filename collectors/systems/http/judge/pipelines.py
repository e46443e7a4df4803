"""Whether a pipeline gave the result that only a working one can give, at a reasonable cost. No text of an answer is shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from collectors.systems.http.model.caches import cached_by
from collectors.systems.http.model.conditions import names, unmet
from collectors.systems.http.model.endpoints import demanded
from collectors.systems.http.model.pipelines import Question, Spent
from collectors.systems.http.model.steps import fill
from exporter.reply import Reply
from exporter.verdict import Reason, Result, failed, unknown

__all__ = ["result_problems", "spent_up", "usage_problems"]


def result_problems(
    pipeline: Question, where: str, reply: Reply, facts: Mapping[str, Any], question: Mapping[str, str]
) -> Iterator[Result]:
    """What is wrong with the result to a question."""
    found = {}
    for condition in demanded(pipeline.conditions):
        if (why := unmet(fill(condition, question), reply, facts, show_texts=False)) is not None:
            found[condition] = why
    if reply.status in (401, 403) and any("status" in names(condition) for condition in found):
        yield unknown(
            f"{where} answered {reply.status}: the exporter's credentials were not accepted.", reason=Reason.DENIED
        )
        return
    for condition, why in found.items():
        yield failed(
            f"{where} answered {reply.status} and does not meet `{condition}`: {why}.",
            reason=Reason.DOWN if reply.status >= 500 else Reason.UNMET,
        )
    if cache := cached_by(reply):
        yield unknown(
            f"{where} was answered from a cache ({cache}), so the pipeline was not observed.",
            reason=Reason.MISCONFIGURED,
        )


def usage_problems(pipeline: Question, where: str, used: object) -> Iterator[Result]:
    """What is wrong with what a run has used up."""
    if pipeline.usage is None:
        return
    if not isinstance(used, int | float) or isinstance(used, bool) or not 0 <= used < float("inf"):
        yield failed(f"{where} does not give a usable number for `{pipeline.usage}`.", reason=Reason.MISSING)
    elif pipeline.max_usage is not None and used > pipeline.max_usage:
        yield failed(
            f"{where} reports that one run has used up {used:g} (limit {pipeline.max_usage:g}).", reason=Reason.LIMIT
        )


def spent_up(pipeline: Question, today: Spent) -> str:
    """Why another run would cost more than a day may; empty where it would not."""
    if today.runs >= pipeline.max_runs_per_day:
        return f"max_runs_per_day ({pipeline.max_runs_per_day}) is reached"
    most = pipeline.max_usage_per_day
    if most is not None and today.used + (pipeline.max_usage or 0) > (most if pipeline.max_usage else most - 1e-9):
        return f"{today.used:g} of max_usage_per_day ({most:g}) is used up"
    return ""
