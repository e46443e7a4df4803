"""Takes single values out of what a service answers."""

from __future__ import annotations

from typing import Any

from collectors.systems.http.check.service import AskingCollector
from collectors.systems.http.model.caches import cached_by
from collectors.systems.http.model.conditions import observed, value_of
from exporter.verdict import ProbeError, Reason

__all__ = ["texts_at"]


async def texts_at(collector: AskingCollector[Any, Any], path: str, expression: str) -> list[str]:
    """The text, or the texts, that an expression takes out of the answer to GET `path`; never none.

    Raises ProbeError when the service does not give them.
    """
    answer = await collector.service.get(path, collector.now)
    reply = answer.reply
    if reply.status != 200:
        raise ProbeError(f"{reply.where} answered {reply.status}, so `{expression}` was not read.", Reason.REFUSED)
    if cache := cached_by(reply):
        raise ProbeError(
            f"{reply.where} was answered from a cache ({cache}), not by the service.", Reason.MISCONFIGURED
        )
    value = value_of(expression, observed(reply, answer.seconds))
    texts = value if isinstance(value, list) else [value]
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise ProbeError(
            f"{reply.where} gives neither a text nor a list of texts for `{expression}`.", Reason.MALFORMED
        )
    return texts
