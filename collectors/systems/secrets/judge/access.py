"""Whether keys and service accounts may do what they need and no more."""

from __future__ import annotations

from collections.abc import Iterator

from collectors.systems.secrets.model.access import Act, Answers
from exporter.verdict import Reason, Result, failed, unknown

__all__ = ["account_problem", "key_problems"]


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
