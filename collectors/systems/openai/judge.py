"""Whether a key works, limits suffice, and spending is watched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta

from collectors.systems.openai.model import (
    Answer,
    Budget,
    Costs,
    ModelAnswer,
    ModelLimits,
    NeededModel,
    RateLimits,
    Refusal,
    Spending,
)
from exporter.verdict import ProbeError, Reason, Result, failed, unknown, unobserved, warning
from exporter.words import counted, format_length

__all__ = ["budget_problems", "key_problems", "limiter_problems", "limits_of", "quota_problems"]

_LATE = timedelta(days=2)
_HOUR, _DAY = 60, 1440  # minutes
_IDLE = timedelta(days=3)


def key_problems(
    answers: Iterable[ModelAnswer | ProbeError], control: Answer | ProbeError, limits: ModelLimits, today: date
) -> Iterator[Result]:
    """Why the key does not work for a model, or may not for long. `control` is the answer to a wrong key."""
    for answer in answers:
        if isinstance(answer, ProbeError):
            yield unobserved(answer)
            continue
        yield from _key_problems(answer)
        yield from _shutdown_problems(answer, limits, today)
    if isinstance(control, ProbeError):
        yield unobserved(control)
    elif control.refusal is None or (control.status == 200 and control.refusal is Refusal.MODEL):
        yield unknown(
            f"{control.where} accepts any key, so the answer to this one proves nothing; set completion.",
            reason=Reason.CONTRADICTED,
        )
    elif control.status not in (401, 403) and control.refusal is not Refusal.KEY:
        yield unknown(
            f"{control.where} answered {control.status} to a wrong key (expected 401), so the answer to the right one "
            "proves nothing."
        )


def _key_problems(answer: ModelAnswer) -> Iterator[Result]:
    described, completed, name = answer.described, answer.completed, answer.name
    if completed is None or completed.refusal is Refusal.RATE:
        if described.refusal is not None:
            yield _refused(described, name)
        elif completed is not None:
            yield warning(f"{completed.where} answered 429: the rate limit of {name} is reached at this moment.")
        return
    if completed.refusal is Refusal.QUOTA:
        yield warning(f"{completed.where} accepted the key, but its quota is used up.")
    elif completed.refusal is Refusal.SCOPE:
        yield failed(
            f"{completed.where} answered {completed.status}: the key may not use {name}.", reason=Reason.DENIED
        )
    elif completed.refusal is not None:
        yield _refused(completed, name)
        if completed.refusal is Refusal.OTHER and described.refusal is not None:  # a server with errors of its own
            yield _refused(described, name)
    elif described.refusal is not None:
        yield warning(f"{name} completes, but {described.where} does not describe it, so its shutdown is not known.")


def _refused(answer: Answer, model: str) -> Result:
    where = f"{answer.where} answered {answer.status}"
    match answer.refusal:
        case Refusal.KEY:
            return failed(f"{where}: the key was rejected.", reason=Reason.DENIED)
        case Refusal.ACCOUNT:
            return failed(f"{where}: the account is deactivated.", reason=Reason.DENIED)
        case Refusal.MODEL:
            return failed(f"Model {model} does not exist, or the key may not use it ({where}).", reason=Reason.MISSING)
        case Refusal.QUOTA:
            return failed(f"{where}: the quota is used up, or billing is not active.", reason=Reason.LIMIT)
        case Refusal.SCOPE:
            return unknown(f"{where}: the key may not read models, so {model} was not checked.", reason=Reason.DENIED)
        case Refusal.PLACE:
            return unknown(f"{where}: requests from this address or country are refused.", reason=Reason.DENIED)
        case Refusal.RATE:
            return unknown(f"{where}: too many requests, so {model} was not checked.", reason=Reason.REFUSED)
        case _ if answer.status >= 500:
            return unknown(f"{where}, so {model} was not checked.", reason=Reason.DOWN)
        case _:
            return unknown(
                f"{where}, which is no error of this API, so {model} was not checked.", reason=Reason.MALFORMED
            )


def _shutdown_problems(answer: ModelAnswer, limits: ModelLimits, today: date) -> Iterator[Result]:
    shutdown, deprecated = answer.described.shutdown, answer.described.deprecated
    if not answer.described.active:
        yield failed(f"Model {answer.name} is not active: it answers nobody.", reason=Reason.DOWN)
    if deprecated is not None and deprecated - today <= limits.shutdown_warning:
        when = (
            f"has been deprecated since {deprecated:%F}"
            if deprecated <= today
            else f"will be deprecated on {deprecated:%F}"
        )
        yield warning(f"Model {answer.name} {when}.")
    if shutdown is None:
        return
    if shutdown < today:
        yield failed(f"Model {answer.name} was shut down on {shutdown:%F}.", reason=Reason.EXPIRED)
    elif shutdown - today <= limits.shutdown_warning:
        when = f"in {counted((shutdown - today).days, 'day')}" if shutdown > today else "today"
        yield warning(f"Model {answer.name} will shut down {when}, on {shutdown:%F}.")


def limits_of(
    models: Sequence[NeededModel], answers: Iterable[ModelAnswer | ProbeError], project: Mapping[str, RateLimits]
) -> dict[str, RateLimits]:
    """The limits of each model: the lower of the project's and of what a completion named. A model without any is left out."""
    completed = ((each.name, each.completed) for each in answers if isinstance(each, ModelAnswer))
    shown = {name: answer.limits for name, answer in completed if answer is not None}
    found = {
        model.name: [limits for limits in (project.get(model.name), shown.get(model.name)) if limits is not None]
        for model in models
    }
    return {name: _lowest(limits) for name, limits in found.items() if limits}


def _lowest(limits: Sequence[RateLimits]) -> RateLimits:
    """What all of these allow: a project may be promised more than its organization or a gateway lets through."""

    def least(allowed: Iterable[int | None]) -> int | None:
        return min((number for number in allowed if number is not None), default=None)

    return RateLimits(
        requests=least(each.requests for each in limits),
        tokens=least(each.tokens for each in limits),
        daily_requests=least(each.daily_requests for each in limits),
    )


def quota_problems(
    models: Sequence[NeededModel],
    limits: Mapping[str, RateLimits],
    answers: Iterable[ModelAnswer | ProbeError],
    spending: Spending | None,
    expected: ModelLimits,
) -> Iterator[Result]:
    """Why the account may not serve what the product needs."""
    if spending is not None and spending.enforcing:
        yield failed("The spend limit of the organization is reached: requests are refused.", reason=Reason.LIMIT)
    for answer in answers:
        if isinstance(answer, ProbeError):
            yield unobserved(answer)
        elif answer.completed is not None:
            yield from _completion_problems(answer.name, answer.completed, expected)
    for model in models:
        own = limits.get(model.name, RateLimits())
        for what, wanted, allowed in (
            ("requests", model.min_requests_per_minute, own.requests),
            ("tokens", model.min_tokens_per_minute, own.tokens),
        ):
            if wanted is None:
                continue
            if allowed is None:
                shown = f"No limit of {what} a minute is shown for model {model.name}"
                if what == "requests" and own.daily_requests is not None:
                    shown += f", only one of {own.daily_requests} a day"
                yield unknown(f"{shown}.", reason=Reason.MISSING)
            elif allowed < wanted:
                yield failed(
                    f"Model {model.name} is limited to {allowed} {what} a minute (at least {wanted} wanted).",
                    reason=Reason.LIMIT,
                )
        yield from _daily_problems(model, own)


def _daily_problems(model: NeededModel, own: RateLimits) -> Iterator[Result]:
    """Whether what is allowed in a day would be used up long before its end."""
    if own.daily_requests is None or model.min_requests_per_minute is None:
        return
    lasts = own.daily_requests / model.min_requests_per_minute
    sentence = (
        f"Model {model.name} is limited to {own.daily_requests} requests a day, which last "
        f"{format_length(timedelta(minutes=lasts))} at {model.min_requests_per_minute} a minute."
    )
    if lasts < _HOUR:
        yield failed(sentence, reason=Reason.LIMIT)
    elif lasts < _DAY:
        yield warning(sentence)


def _completion_problems(name: str, completed: Answer, expected: ModelLimits) -> Iterator[Result]:
    if completed.refusal is Refusal.RATE:
        yield warning(f"The rate limit of {name} is reached at this moment.")
    elif completed.refusal is not None:
        yield _refused(completed, name)
    limits = completed.limits
    for what, left, allowed in (
        ("requests", limits.requests_left, limits.requests or limits.daily_requests),
        ("tokens", limits.tokens_left, limits.tokens),
    ):
        if left is not None and allowed and left < expected.min_headroom * allowed:
            yield warning(f"Of the {allowed} {what} that {name} is limited to, {left} remain at this moment.")


def limiter_problems(limiter: float, limits: Mapping[str, RateLimits]) -> Iterator[Result]:
    """Whether the product's own limit, in requests a minute, keeps it below the account's."""
    if not 0 < limiter < float("inf"):
        yield failed(f"The product limits itself to {limiter:g} requests a minute, which is no limit.")
        return
    for name, allowed in limits.items():
        if allowed.requests is not None and limiter > allowed.requests:
            yield failed(
                f"The product limits itself to {limiter:g} requests a minute, but the account allows {allowed.requests} of "
                f"model {name}.",
                reason=Reason.LIMIT,
            )


def budget_problems(spent: Costs, spending: Spending, budget: Budget, now: datetime) -> Iterator[Result]:
    """Why the spending is beyond the budget, or would be without anyone noticing."""
    unit = budget.currency.upper()
    if spent.amount > budget.monthly:
        yield failed(
            f"This month cost {spent.amount:.2f} {unit} so far (budget {budget.monthly:.2f} {unit}).",
            reason=Reason.LIMIT,
        )
    cents = budget.monthly * 100
    watched = any(alert.cents <= cents and alert.recipients for alert in spending.alerts)
    if not watched and (spending.limit_cents is None or spending.limit_cents > cents):
        yield failed(
            f"No spend alert with recipients and no spend limit is at or below the budget of {budget.monthly:.2f} {unit}.",
            reason=Reason.MISSING,
        )
    start = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    if spent.until < max(start, now - _LATE).timestamp():
        until = datetime.fromtimestamp(spent.until, now.tzinfo)
        yield unknown(f"Costs are reported only until {until:%F %H:%M} UTC, so what this month cost is not known.")
    if budget.warn_ratio * budget.monthly <= spent.amount <= budget.monthly:
        yield warning(f"This month cost {spent.amount:.2f} {unit} so far (budget {budget.monthly:.2f} {unit}).")
    if not spent.amount and now - start > _IDLE:
        yield warning("This month cost nothing so far: the admin key may belong to another organization.")
