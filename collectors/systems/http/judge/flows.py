"""Whether a step of a flow was answered as it should be. No text of an answer is shown: it may be a token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collectors.systems.http.model.conditions import unmet
from collectors.systems.http.model.endpoints import demanded
from collectors.systems.http.model.steps import Step
from exporter.reply import Reply
from exporter.verdict import Reason, Result, failed

__all__ = ["sendable", "step_problem"]


def step_problem(step: Step, reply: Reply, facts: Mapping[str, Any]) -> Result | None:
    """The first condition of a step that an answer does not meet."""
    for condition in demanded(step.conditions):
        if (why := unmet(condition, reply, facts, show_texts=False)) is not None:
            return failed(
                f"{step.name}: {reply.where} answered {reply.status} and does not meet `{condition}`: {why}.",
                reason=Reason.DOWN if reply.status >= 500 else Reason.UNMET,
            )
    return None


def sendable(value: object) -> str | None:
    """A value as it can be sent in a header; None where it cannot."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and value and value.isascii() and value.isprintable() and value == value.strip():
        return value
    return None
