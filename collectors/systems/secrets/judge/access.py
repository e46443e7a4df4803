"""Whether keys and service accounts may do what they need and no more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from collectors.systems.secrets.model.access import Act, Answers, Decision, IamPrincipal
from exporter.verdict import Reason, Result, failed, unknown
from exporter.words import listed

__all__ = ["account_problem", "key_problems", "principal_problems"]


def key_problems(name: str, answers: Answers) -> Iterator[Result]:
    """A key that may do too much or nothing, and one of which a refusal proves nothing."""
    if answers.allowed in (401, 403):
        yield failed(
            f"API key {name} is not accepted where it should be: GET of the allowed path answered {answers.allowed}.",
            reason=Reason.DOWN,
        )
    elif not 200 <= answers.allowed < 300:
        yield unknown(
            f"GET of the allowed path of API key {name} answered {answers.allowed}, so nothing shows that the key works.",
            reason=Reason.ERROR,
        )
    elif 200 <= answers.forbidden < 300:
        yield failed(
            f"API key {name} reads the forbidden path (GET answered {answers.forbidden}).", reason=Reason.MISCONFIGURED
        )
    elif 200 <= answers.stranger < 300:
        yield unknown(
            f"The allowed path of API key {name} answers without a key too ({answers.stranger}), so nothing shows "
            "that the key works.",
            reason=Reason.NOT_VERIFIED,
        )
    elif answers.forbidden not in (401, 403):
        yield unknown(
            f"GET of the forbidden path of API key {name} answered {answers.forbidden}, which is neither access nor "
            "a refusal (401, 403).",
            reason=Reason.NOT_VERIFIED,
        )


def account_problem(namespace: str, account: str, act: Act) -> Result:
    """An account that may do what no application needs."""
    return failed(f"Service account {namespace}/{account} may {act.words}.", reason=Reason.MISCONFIGURED)


def principal_problems(principal: IamPrincipal, decisions: Sequence[Decision]) -> Iterator[Result]:
    """Actions that a principal of AWS may do and must not, or may not and must; and those that AWS cannot decide on."""
    name = f"{principal.name} ({principal.arn.rpartition(':')[2]})"
    for one in decisions:
        if one.allowed and one.action in principal.forbidden:
            yield failed(f"{name} may do {one.action} on {one.resource}.", reason=Reason.MISCONFIGURED)
    for one in decisions:
        if not one.allowed and one.missing:
            yield unknown(
                f"Whether {name} may do {one.action} on {one.resource} depends on {listed(one.missing)}, which is not known.",
                reason=Reason.NOT_VERIFIED,
            )
        elif not one.allowed and one.action in principal.allowed:
            yield failed(f"{name} may not do {one.action} on {one.resource}, which it needs.", reason=Reason.UNMET)
    decided = {one.action for one in decisions}
    for action in (*principal.allowed, *principal.forbidden):
        if action not in decided:
            yield unknown(f"AWS did not decide on {action} of {name}.", reason=Reason.MALFORMED)
