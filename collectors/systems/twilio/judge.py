"""Whether an account may send, whether its messages arrive, and whether its numbers answer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from urllib.parse import urlsplit

from collectors.systems.twilio.model import Account, Balance, Number, Outcomes, Refusal, TwilioLimits
from exporter.verdict import Reason, Result, failed, unknown
from exporter.words import counted, format_length

__all__ = ["account_problems", "delivery_problems", "message_problems", "sms_problems", "voice_problems"]

_BAD_LOGIN, _INACTIVE = 20003, 20005
_DEMO = "demo.twilio.com"


def account_problems(account: Account | Refusal, messages: Outcomes | Refusal) -> Iterator[Result]:
    """Why the account may not send. Keys other than main ones may not read it: what they may read shows that they work."""
    for refusal in (messages, account):
        if isinstance(refusal, Refusal) and refusal.code == _INACTIVE:
            yield failed(f"{refusal.where} answered {refusal.status}: the account is not active.", reason=Reason.DENIED)
            return
    if isinstance(messages, Refusal):
        if messages.status == 401 and messages.code == _BAD_LOGIN and isinstance(account, Refusal):
            yield failed(f"{messages.where} answered 401: the key was rejected.", reason=Reason.DENIED)
            return
        yield unknown(
            f"{messages.where} answered {messages.status} (expected 200), so messages were not checked.",
            reason=Reason.REFUSED if messages.status == 429 else Reason.DENIED,
        )
    if isinstance(account, Refusal):
        yield unknown(
            f"{account.where} answered {account.status}: whether the account is a trial was not read, which takes a main key.",
            reason=Reason.DENIED,
        )
        return
    if account.status != "active":
        yield failed(f"The Twilio account is {account.status} (expected active).", reason=Reason.DENIED)
    if account.type != "Full":
        yield failed(
            f"The Twilio account is of type {account.type} (expected Full): a trial account reaches verified numbers only.",
            reason=Reason.LIMIT,
        )


def sms_problems(
    numbers: Mapping[str, Number | None], balance: Balance | None, limits: TwilioLimits
) -> Iterator[Result]:
    """Why messages cannot be sent from the numbers."""
    for number, found in numbers.items():
        if found is None:
            yield failed(f"Number {number} does not belong to the account.", reason=Reason.MISSING)
        elif not found.sms:
            yield failed(f"Number {number} cannot send text messages.", reason=Reason.MISCONFIGURED)
    if balance is not None and limits.min_balance is not None and balance.amount < limits.min_balance:
        yield failed(
            f"The balance is {balance.amount:.2f} {balance.currency} (at least {limits.min_balance:.2f} wanted).",
            reason=Reason.LIMIT,
        )


def message_problems(outcomes: Outcomes, numbers: Iterable[str], limits: TwilioLimits) -> Iterator[Result]:
    """Whether messages were lost: of all, or of one of the `numbers`, as those are that carriers do not accept."""
    of_each = [(f" from {number}", outcomes.by_number[number]) for number in numbers if number in outcomes.by_number]
    for whose, sent in [*of_each, ("", outcomes)]:
        if sent.final >= limits.min_messages and sent.lost > limits.max_undelivered_ratio * sent.final:
            yield failed(
                f"{sent.lost} of {counted(sent.final, 'message')}{whose} since yesterday failed or remained undelivered "
                f"(at most {limits.max_undelivered_ratio:.0%} allowed).",
                reason=Reason.LIMIT,
            )


def voice_problems(
    numbers: Mapping[str, Number | None], talked: Mapping[str, bool], longest: timedelta
) -> Iterator[Result]:
    """Why calls of the numbers are not answered by the product, or were not tried within `longest`."""
    for number, found in numbers.items():
        if found is None:
            yield failed(f"Number {number} does not belong to the account.", reason=Reason.MISSING)
            continue
        if not found.voice:
            yield failed(f"Number {number} has no voice.", reason=Reason.MISCONFIGURED)
        if not found.handled and (problem := _url_problem(found.voice_url)):
            yield failed(f"Calls to {number} {problem}.", reason=Reason.MISCONFIGURED)
    for number, any_call in talked.items():
        if not any_call:
            yield failed(
                f"No call from or to {number} was completed within {format_length(longest)}.", reason=Reason.MISSING
            )


def _url_problem(url: str) -> str | None:
    parts = urlsplit(url)
    if not url:
        return "are answered by nothing: it has neither a URL nor an application"
    if parts.hostname == _DEMO:
        return "are answered by Twilio's demo"
    if parts.scheme != "https":
        return "are answered by a URL that is not encrypted"
    return None


def delivery_problems(receipts: float, outcomes: Outcomes, limits: TwilioLimits) -> Iterator[Result]:
    """Whether the product records what became of its messages. `receipts` are those of the last two days, or more."""
    if outcomes.final < limits.min_messages:
        yield unknown(
            f"Only {counted(outcomes.final, 'message')} had an outcome since yesterday (at least {limits.min_messages} wanted), "
            "so it was not observed whether outcomes are recorded.",
            reason=Reason.UNOBSERVED,
        )
    elif not math.isfinite(receipts) or receipts < limits.min_tracked_ratio * outcomes.final:
        yield failed(
            f"The product recorded {receipts:.0f} delivery receipts within two days, but {counted(outcomes.final, 'message')} "
            "had an outcome since yesterday.",
            reason=Reason.LIMIT,
        )
