"""Sends the requests of a flow, seldom enough to lock nobody out, and judges what they are answered."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from collectors.systems.http.client import Answer, ServiceClient, Throttled, Unanswered, new_trace_id
from collectors.systems.http.judge.flows import sendable, step_problem
from collectors.systems.http.model.caches import cached_by
from collectors.systems.http.model.conditions import observed, unmet, value_of
from collectors.systems.http.model.flows import Flow
from collectors.systems.http.model.otp import OTP
from collectors.systems.http.model.steps import Step, fill
from exporter.verdict import ProbeError, Reason, Result, failed, ok, unknown
from exporter.words import listed

__all__ = ["see_flow"]

_SPARE_SECONDS = 2.0
_EVERY = timedelta(minutes=5)
#: A login that was refused is refused again until somebody does something; several are a lock-out.
_AFTER_REFUSAL = timedelta(hours=1)
_PENDING = unknown("The flow was begun and has not ended.", reason=Reason.TIMEOUT)


@dataclass(frozen=True, slots=True)
class _Tried:
    """The last run of a flow: when it began, its verdict, and whether a login was refused."""

    flow: Flow
    at: datetime
    result: Result = _PENDING
    refused: bool = False

    def until(self, flow: Flow) -> datetime:
        """When the flow may run again: one that was changed since it was refused need not wait so long."""
        return self.at + (_AFTER_REFUSAL if self.refused and flow == self.flow else _EVERY)


async def see_flow(flow: Flow, memory: dict[str, Any], now: datetime) -> Result:
    """The verdict on a flow, or the last one where it would run too soon; `memory` outlives a run."""
    last: _Tried | None = memory.get("flow")
    if last is not None and now < (until := last.until(flow)):
        again = f"It was tried at {last.at:%H:%M:%S} UTC and is not tried again before {until:%H:%M:%S} UTC."
        return replace(last.result, summary=f"{last.result.summary} {again}")
    # Kept before anything is sent: a run that is cut short must not be followed by another login.
    memory["flow"] = _Tried(flow, now)
    run = _Run(flow, memory, now)
    result = await run.result()
    memory["flow"] = _Tried(flow, now, result, run.refused)
    return result


class _Run:
    """One run of a flow. `refused` is whether what was sent as credentials was not accepted."""

    def __init__(self, flow: Flow, memory: dict[str, Any], now: datetime) -> None:
        self._flow = flow
        self._memory = memory
        self._now = now
        self._trace_id = new_trace_id()
        self._variables: dict[str, str] = {}
        self._forged = False
        self.refused = False

    async def result(self) -> Result:
        """The verdict of the first step that fails, or that all did not."""
        seconds = 0.0
        for step in self._flow.steps:
            try:
                answer = await self._send(step, self._variables | await self._otp(step))
                seconds += answer.seconds
                problem = self._problem(step, answer) or await self._forgery(step, answer)
            except Unanswered as why:
                problem = failed(f"{step.name}: {why}", reason=why.reason)
            except Throttled as why:
                self.refused = True
                problem = unknown(f"{step.name}: {why}", reason=why.reason)
            except ProbeError as why:
                problem = unknown(f"{step.name}: {why}", reason=why.reason)
            if problem is not None:
                return problem
        steps = listed((step.name for step in self._flow.steps), most=9)
        return ok(f"{steps} of {self._flow.url} went as configured.", seconds=seconds)

    async def _otp(self, step: Step) -> dict[str, str]:
        """The one-time password, where a step uses one; one that is about to expire is left out."""
        if (totp := self._flow.totp) is None or OTP not in step.used():
            return {}
        if (left := totp.left(time.time())) < _SPARE_SECONDS:
            await asyncio.sleep(left + 0.1)
        return {OTP: totp.password(time.time())}

    async def _send(self, step: Step, variables: Mapping[str, str]) -> Answer:
        headers = {name: fill(value.get_secret_value(), variables) for name, value in step.headers.items()}
        fields = {name: fill(value.get_secret_value(), variables) for name, value in step.fields.items()}
        content = None
        if fields:
            headers["Content-Type"] = "application/x-www-form-urlencoded" if step.form else "application/json"
            content = (urlencode(fields) if step.form else json.dumps(fields)).encode()
        # A client of its own: cookies are sent where a step names them, and nowhere else.
        client = ServiceClient(self._flow.reached(), self._memory, self._trace_id, asyncio.Lock())
        try:
            return await client.send(step.method, fill(step.path, variables, quoted=True), self._now, headers, content)
        finally:
            await client.close()

    def _problem(self, step: Step, answer: Answer) -> Result | None:
        """What is wrong with an answer; its variables are kept where nothing is."""
        facts = observed(answer.reply, answer.seconds)
        if unmet(self._flow.locked_when, answer.reply, facts) is None:
            self.refused = True
            return unknown(
                f"{step.name}: {answer.reply.where} answered {answer.reply.status}: the account is locked.",
                reason=Reason.REFUSED,
            )
        if cache := cached_by(answer.reply):
            return unknown(
                f"{step.name}: {answer.reply.where} was answered from a cache ({cache}), so the service was not observed.",
                reason=Reason.MISCONFIGURED,
            )
        if problem := step_problem(step, answer.reply, facts):
            self.refused = bool(step.fields) and 400 <= answer.reply.status < 500
            return problem
        for name, expression in step.extract.items():
            if (value := sendable(value_of(expression, facts))) is None:
                return failed(
                    f"{step.name}: {answer.reply.where} answered {answer.reply.status} without a usable text for $({name}).",
                    reason=Reason.MISSING,
                )
            self._variables[name] = value
        return None

    async def _forgery(self, step: Step, answer: Answer) -> Result | None:
        """The control, once: a GET that is answered with a variable must not be answered so with one that nobody has issued."""
        used = step.used() - ({OTP} if self._flow.totp else set())
        if self._forged or step.method != "GET" or not used or not 200 <= answer.reply.status < 300:
            return None
        self._forged = True
        forged = dict.fromkeys(used, secrets.token_urlsafe(24))
        other = await self._send(step, forged | await self._otp(step))
        if step_problem(step, other.reply, observed(other.reply, other.seconds)):
            return None
        return failed(
            f"{step.name}: {other.reply.where} answered {other.reply.status} just so with a forged value of "
            f"{listed(f'$({name})' for name in sorted(forged))}.",
            reason=Reason.UNMET,
        )
