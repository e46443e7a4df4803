"""Asks a pipeline a question, seldom enough to cost little, and judges the result."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from collectors.shared.verdicts import collected, verdict
from collectors.systems.http.client import Answer, ServiceClient, Unanswered, new_trace_id
from collectors.systems.http.judge.flows import sendable
from collectors.systems.http.judge.pipelines import result_problems, spent_up, usage_problems
from collectors.systems.http.model.apis import Pipeline
from collectors.systems.http.model.conditions import observed, unmet, value_of
from collectors.systems.http.model.pipelines import Spent, fresh_question
from collectors.systems.http.model.steps import fill
from exporter.options import format_duration
from exporter.verdict import ProbeError, Reason, Result, failed, ok, unknown, unobserved

__all__ = ["see_pipeline"]

_AFTER_CHANGE = timedelta(minutes=5)
_PENDING = unknown("The pipeline was asked and its result did not arrive in time.", reason=Reason.TIMEOUT)


@dataclass(frozen=True, slots=True)
class _Tried:
    """The last run: what it cost with those before it, and its verdict, which a restart of the exporter forgets."""

    spent: Spent
    pipeline: Pipeline | None = None
    result: Result | None = None

    def until(self, pipeline: Pipeline) -> datetime:
        """When the pipeline may be asked again; one that was changed since need not wait so long."""
        return self.spent.at + (pipeline.every if self.pipeline in (None, pipeline) else _AFTER_CHANGE)


async def see_pipeline(
    pipeline: Pipeline, memory: dict[str, Any], recalled: Mapping[str, float], now: datetime
) -> Result:
    """The verdict on a pipeline, or the last one where another run would come too soon or cost too much.

    `memory` outlives a run, and `recalled`, the measurements of the last verdict, the process.
    """
    tried: _Tried | None = memory.get("pipeline")
    if tried is None and (spent := Spent.recalled(recalled, now)) is not None:
        tried = _Tried(spent)
    today = tried.spent.on(now) if tried else Spent(now)
    if tried is not None and now < (until := tried.until(pipeline)):
        memory["pipeline"] = tried
        return replace(_last(tried, pipeline, until), measurements=tried.spent.measurements())
    if why := spent_up(pipeline, today):
        memory["pipeline"] = tried = tried or _Tried(today)
        return unknown(
            f"{pipeline.url} was last asked at {tried.spent.at:%H:%M:%S} UTC and is not asked again today: {why}.",
            reason=Reason.LIMIT,
            **tried.spent.measurements(),
        )
    # Kept before anything is sent: a run that is cut short has cost something too.
    spent = Spent(now, passed=False, runs=today.runs + 1, used=today.used + (pipeline.max_usage or 0))
    memory["pipeline"] = _Tried(spent, pipeline, _PENDING)
    result, used = await _run(pipeline, memory, now)
    spent = replace(
        spent, passed=result.status.is_ok, used=today.used + (pipeline.max_usage or 0 if used is None else used)
    )
    memory["pipeline"] = _Tried(spent, pipeline, result)
    return replace(result, measurements={**result.measurements, **spent.measurements()})


def _last(tried: _Tried, pipeline: Pipeline, until: datetime) -> Result:
    again = f"It was asked at {tried.spent.at:%H:%M:%S} UTC and is not asked again before {until:%H:%M:%S} UTC."
    if tried.result is not None and tried.pipeline == pipeline:
        return replace(tried.result, summary=f"{tried.result.summary} {again}")
    if tried.spent.passed and tried.pipeline is None:
        return ok(f"{pipeline.url} passed before the exporter was restarted. {again}")
    return unknown(
        f"{pipeline.url} has not been asked since the exporter or its configuration changed. {again}",
        reason=Reason.PENDING,
    )


async def _run(pipeline: Pipeline, memory: dict[str, Any], now: datetime) -> tuple[Result, float | None]:
    """The verdict on one run, and what it has used up, None where that is not known."""
    question = fresh_question()
    where = f"{pipeline.method} {pipeline.url}{pipeline.path.partition('?')[0]}"
    client = ServiceClient(pipeline, memory, new_trace_id(), asyncio.Lock())
    started = time.monotonic()
    content = None if pipeline.body is None else fill(pipeline.body, question).encode()
    headers = {} if content is None else {"Content-Type": "application/json"}
    try:
        answer = await client.send(pipeline.method, pipeline.path, now, headers, content)
        if pipeline.poll is not None:
            where, result = await _result(pipeline, client, answer, where, question, now)
            if isinstance(result, Result):
                return result, None
            answer = result
    except Unanswered as why:
        return failed(str(why), reason=why.reason), None
    except ProbeError as why:
        return unobserved(why), None
    finally:
        await client.close()
    facts = observed(answer.reply, answer.seconds)
    used = value_of(pipeline.usage, facts) if pipeline.usage else None
    problems = collected(result_problems(pipeline, where, answer.reply, facts, question))
    if not problems:
        problems = collected(usage_problems(pipeline, where, used))
    known = used if isinstance(used, int | float) and not isinstance(used, bool) and 0 <= used < float("inf") else None
    meets = "its condition" if len(pipeline.conditions) == 1 else "its conditions"
    measured = {"seconds": time.monotonic() - started} | ({} if known is None else {"usage": known})
    good = replace(ok(f"{where} gave a result that meets {meets}."), measurements=measured)
    return verdict(problems, good), known


async def _result(
    pipeline: Pipeline, client: ServiceClient, answer: Answer, where: str, question: Mapping[str, str], now: datetime
) -> tuple[str, Answer | Result]:
    """What was asked last, and its answer; the verdict where there is none."""
    assert pipeline.poll is not None
    reply, poll = answer.reply, pipeline.poll
    if not 200 <= reply.status < 300:
        if reply.status in (401, 403):
            why = f"{where} answered {reply.status}: the exporter's credentials were not accepted."
            return where, unknown(why, reason=Reason.DENIED)
        reason = Reason.DOWN if reply.status >= 500 else Reason.UNMET
        return where, failed(f"{where} answered {reply.status} and did not accept the question.", reason=reason)
    facts, variables = observed(reply, answer.seconds), {}
    for name, expression in pipeline.extract.items():
        if (value := sendable(value_of(expression, facts))) is None:
            summary = f"{where} answered {reply.status} without a usable text for $({name})."
            return where, failed(summary, reason=Reason.MISSING)
        variables[name] = value
    path, where = fill(poll.path, variables, quoted=True), f"GET {pipeline.url}{poll.path.partition('?')[0]}"
    until, seen = fill(poll.until, question), "there was no answer"
    try:
        async with asyncio.timeout(poll.within.total_seconds()):
            while True:
                answer = await client.get(path, now)
                facts = observed(answer.reply, answer.seconds)
                if (instead := unmet(until, answer.reply, facts, show_texts=False)) is None:
                    return where, answer
                seen = f"it answered {answer.reply.status}, {instead}"
                await asyncio.sleep(poll.interval.total_seconds())
    except TimeoutError:
        within = format_duration(poll.within)
        summary = f"{where} did not meet `{poll.until}` within {within}: {seen}."
        return where, failed(summary, reason=Reason.TIMEOUT)
    except ProbeError as why:
        shown = str(why).replace(path.partition("?")[0], poll.path.partition("?")[0])
        raise type(why)(shown, why.reason) from None
