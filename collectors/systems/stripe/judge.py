"""Whether the account may charge, keys work in live mode, and webhooks deliver, and refuse what Stripe did not sign."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from collectors.shared.urls import plain_url
from collectors.systems.stripe.model import (
    Account,
    AccountLimits,
    Endpoint,
    KeyAnswer,
    KeyKind,
    Knock,
    NeededWebhook,
    Refusal,
    Undelivered,
)
from exporter.verdict import ProbeError, Reason, Result, failed, unknown, unobserved, warning
from exporter.words import counted, listed

__all__ = ["account_problems", "delivery_problems", "endpoint_problems", "key_problems", "knock_problems"]

_UNEXPECTED = (400, 422)
"""Answers to what was understood and is not wanted; a signature may be refused by them as well."""


def account_problems(
    account: Account,
    live: bool | ProbeError,
    wanted: str | None,
    capabilities: Iterable[str],
    limits: AccountLimits,
    now: datetime,
) -> Iterator[Result]:
    """Why the account may not charge or be paid, or not for long. `wanted` is the identifier that it must have."""
    if wanted is not None and account.id != wanted:
        yield failed(f"The key belongs to account {account.id}, expected {wanted}.", reason=Reason.CONTRADICTED)
    if live is False:
        yield failed("Stripe answers the key in test mode: no payment is real.", reason=Reason.MISCONFIGURED)
    yield from _stopped(account)
    granted = account.capabilities
    for capability in capabilities:
        state = (granted or {}).get(capability)
        if granted is not None and state != "active":
            yield failed(
                f"Account {account.id} has the capability {capability} {state or 'not at all'} (expected active).",
                reason=Reason.MISSING,
            )
    if isinstance(live, ProbeError):
        yield unobserved(live)
    if granted is None and list(capabilities):
        yield unknown(f"The capabilities of account {account.id} are not in Stripe's answer.", reason=Reason.DENIED)
    if account.charges_enabled is None or account.payouts_enabled is None or account.requirements is None:
        yield unknown(
            f"Whether account {account.id} may make charges and receive payouts is not in Stripe's answer.",
            reason=Reason.DENIED,
        )
    yield from _deadline_problems(account, limits, now)
    for due, when in ((account.requirements, ""), (account.future_requirements, " for the future")):
        if due and due.errors:
            names = listed(sorted({error.requirement for error in due.errors}))
            yield warning(f"Stripe did not accept what account {account.id} answered to{when}: {names}.")


def _stopped(account: Account) -> Iterator[Result]:
    """What Stripe stopped, or is about to."""
    due = account.requirements
    if due and due.disabled_reason:
        yield failed(f"Account {account.id} is disabled by Stripe: {due.disabled_reason}.", reason=Reason.DOWN)
    for value, what in (
        (account.charges_enabled, "make charges"),
        (account.payouts_enabled, "receive payouts"),
    ):
        if value is False:
            yield failed(f"Account {account.id} may not {what}.", reason=Reason.DOWN)
    if account.details_submitted is False:
        yield failed(f"The details of account {account.id} were never submitted to Stripe.", reason=Reason.MISSING)
    if due and due.past_due:
        yield failed(
            f"Stripe's requirements of account {account.id} are past due: {listed(due.past_due)}.",
            reason=Reason.EXPIRED,
        )


def _deadline_problems(account: Account, limits: AccountLimits, now: datetime) -> Iterator[Result]:
    later = account.future_requirements
    if later and later.currently_due and later.current_deadline is not None:
        deadline = datetime.fromtimestamp(later.current_deadline, UTC)
        if deadline - now <= limits.deadline_warning:
            yield warning(
                f"Stripe will require of account {account.id} from {deadline:%F} on: {listed(later.currently_due)}."
            )
    due = account.requirements
    if due is None or not due.currently_due:
        return
    if due.current_deadline is None:
        yield warning(f"Stripe requires of account {account.id}: {listed(due.currently_due)}.")
        return
    deadline = datetime.fromtimestamp(due.current_deadline, UTC)
    if deadline <= now:
        yield failed(
            f"Stripe required of account {account.id} until {deadline:%F %H:%M} UTC: {listed(due.currently_due)}.",
            reason=Reason.EXPIRED,
        )
    elif deadline - now <= limits.deadline_warning:
        yield warning(f"Stripe requires of account {account.id} by {deadline:%F}: {listed(due.currently_due)}.")


def key_problems(
    found: Iterable[KeyAnswer | ProbeError], control: KeyAnswer | ProbeError, account: str | None
) -> Iterator[Result]:
    """Why keys do not work, not in live mode, or not for `account`. `control` is the answer to a wrong key."""
    found = list(found)
    yield from (unobserved(each) for each in found if isinstance(each, ProbeError))
    answers = [each for each in found if isinstance(each, KeyAnswer)]
    for answer in answers:
        yield from _key_problems(answer)
        if account is not None and answer.account is not None and answer.account != account:
            yield failed(
                f"Key {answer.name} belongs to account {answer.account}, expected {account}.",
                reason=Reason.CONTRADICTED,
            )
    if isinstance(control, ProbeError):
        yield unobserved(control)
    elif control.refusal is None:
        yield unknown(
            f"{control.where} accepts any key, so the answer to this one proves nothing.", reason=Reason.CONTRADICTED
        )
    elif control.refusal is not Refusal.KEY:
        yield unknown(
            f"{control.where} answered {control.status} to a wrong key (expected 401 of Stripe), so the answer to the right "
            "one proves nothing."
        )
    for answer in answers:
        if answer.kind is KeyKind.UNRESTRICTED:
            yield warning(f"Key {answer.name} is a secret key, which may do everything: use a restricted one.")
        elif answer.kind is KeyKind.OTHER:
            yield warning(f"Key {answer.name} has no known prefix, so whether it is restricted is not known.")


def _key_problems(answer: KeyAnswer) -> Iterator[Result]:
    name, where = answer.name, f"{answer.where} answered {answer.status}"
    if answer.kind is KeyKind.PUBLISHABLE:
        yield failed(f"Key {name} is a publishable key, which may not make charges.", reason=Reason.MISCONFIGURED)
        return
    if answer.kind is KeyKind.TEST or answer.live is False:
        yield failed(f"Key {name} is one of test mode.", reason=Reason.MISCONFIGURED)
    match answer.refusal:
        case None:
            pass
        case Refusal.KEY:
            yield failed(f"{where}: key {name} was rejected.", reason=Reason.DENIED)
        case Refusal.EXPIRED:
            yield failed(f"{where}: key {name} has expired.", reason=Reason.EXPIRED)
        case Refusal.RIGHT:
            # A key that is none is answered 401: that a right is missing shows that Stripe knows this one.
            if answer.kind is not KeyKind.RESTRICTED:
                yield unknown(
                    f"{where}: key {name} may not read the balance, so it was not checked.", reason=Reason.DENIED
                )
        case Refusal.RATE:
            yield unknown(f"{where}: too many requests, so key {name} was not checked.", reason=Reason.REFUSED)
        case _:
            yield unknown(
                f"{where}, which is no refusal of Stripe's, so key {name} was not checked.", reason=Reason.MALFORMED
            )


def endpoint_problems(wanted: NeededWebhook, endpoints: Iterable[Endpoint]) -> Iterator[Result]:
    """Why Stripe does not send a webhook the events that the product needs."""
    if wanted.url.startswith("http:"):
        yield failed(f"Webhook {wanted.url} is not encrypted, expected https.", reason=Reason.MISCONFIGURED)
    named = [endpoint for endpoint in endpoints if endpoint.address == plain_url(wanted.url)]
    if not named:
        yield failed(f"Stripe has no webhook endpoint {wanted.url}.", reason=Reason.MISSING)
        return
    if not (fitting := [endpoint for endpoint in named if bool(endpoint.application) is wanted.connect]):
        whose = "connected accounts" if wanted.connect else "the account itself"
        yield failed(f"Webhook {wanted.url} does not receive the events of {whose}.", reason=Reason.MISCONFIGURED)
        return
    if not (enabled := [endpoint for endpoint in fitting if endpoint.status == "enabled"]):
        yield failed(f"Webhook {wanted.url} is {fitting[0].status} at Stripe.", reason=Reason.DOWN)
        return
    if not (live := [endpoint for endpoint in enabled if endpoint.livemode]):
        yield failed(f"Webhook {wanted.url} is one of test mode.", reason=Reason.MISCONFIGURED)
        return
    sent = {event for endpoint in live for event in endpoint.enabled_events}
    if missing := [event for event in wanted.events if event not in sent]:
        if "*" in sent:
            yield unknown(
                f"Webhook {wanted.url} receives all events but those that have to be selected by name: select {listed(missing)}.",
                reason=Reason.MISCONFIGURED,
            )
        else:
            yield failed(f"Webhook {wanted.url} does not receive {listed(missing)}.", reason=Reason.MISSING)
    subscribed = [event for endpoint in live for event in dict.fromkeys(endpoint.enabled_events)]
    if len(live) > 1 and ("*" in sent or len(subscribed) > len(sent)):
        yield warning(f"Webhook {wanted.url} is registered {len(live)} times, so it receives events more than once.")


def delivery_problems(
    wanted: Sequence[NeededWebhook], endpoints: Iterable[Endpoint], undelivered: Iterable[Undelivered]
) -> Iterator[Result]:
    """Events that did not arrive. Where other endpoints get them as well, it may be these that fail: then it is a warning.

    An endpoint gets no event that is older than itself, none in test mode, and those of connected accounts are not these.
    """
    addresses = {plain_url(webhook.url) for webhook in wanted if not webhook.connect}
    living = [one for one in endpoints if one.status == "enabled" and one.livemode and not one.application]
    for missed in undelivered:
        receive = [one for one in living if missed.type in one.enabled_events or "*" in one.enabled_events]
        ours = [one for one in receive if one.address in addresses]
        since = min((one.created for one in ours), default=0)
        created = [at for at in missed.created if at.timestamp() >= since]
        if not created:
            continue
        sentence = f"{counted(len(created), 'event')} {missed.type} since {min(created):%F %H:%M} UTC"
        sentence += f" {'was' if len(created) == 1 else 'were'} not delivered"
        if others := len(receive) - len(ours):
            yield warning(f"{sentence} to all endpoints, of which the account has {others} more.")
        else:
            yield failed(f"{sentence}.", reason=Reason.DOWN)


def knock_problems(knocks: Iterable[Knock]) -> Iterator[Result]:
    """Whether a webhook takes events that Stripe did not sign, and refuses the one that is signed."""
    knocks = list(knocks)
    for beside in knocks:
        if beside.absent and beside.status in (401, 403):
            yield unknown(
                f"{beside.where} answered {beside.status} to {beside.what}, and to all else: something before the webhook refuses "
                "the exporter, so whether the webhook verifies signatures was not observed.",
                reason=Reason.DENIED,
            )
            return
    knocks = [knock for knock in knocks if not knock.absent]
    refusals = {knock.body for knock in knocks if not knock.signed}
    for knock in sorted(knocks, key=lambda knock: not 200 <= knock.status < 300 or knock.signed):
        answered = f"{knock.where} answered {knock.status} to {knock.what}"
        if 200 <= knock.status < 300:
            if not knock.signed:
                yield failed(f"{answered}, expected a refusal.")
        elif knock.status in (404, 405, 410) or 300 <= knock.status < 400:
            yield failed(f"{answered}: no webhook is served there.", reason=Reason.MISSING)
        elif knock.status == 429:
            yield unknown(f"{answered}: too many requests.", reason=Reason.REFUSED)
        elif knock.status >= 500:
            yield unknown(f"{answered}, so whether it is refused was not observed.", reason=Reason.DOWN)
        elif knock.signed and knock.status in _UNEXPECTED and knock.body not in refusals:
            yield unknown(
                f"{answered}, and otherwise than to events with a wrong signature: it may refuse types of events that it does not "
                "expect, instead of ignoring them.",
                reason=Reason.REFUSED,
            )
        elif knock.signed and knock.status in _UNEXPECTED and knock.version is None:
            yield unknown(
                f"{answered}: the version of Stripe's API that its events have was not read, and it may refuse any other.",
                reason=Reason.REFUSED,
            )
        elif knock.signed:
            yield failed(f"{answered}, expected 200.", reason=Reason.DENIED)
