"""Whether answers meet their conditions."""

from __future__ import annotations

from collections.abc import Iterator

from collectors.systems.http.model.caches import cached_by
from collectors.systems.http.model.conditions import names, observed, unmet
from collectors.systems.http.model.endpoints import Endpoint, demanded
from exporter.reply import Reply
from exporter.verdict import Reason, Result, failed, unknown, warning

__all__ = ["endpoint_problems"]


def endpoint_problems(endpoint: Endpoint, reply: Reply, seconds: float) -> Iterator[Result]:
    """What is wrong with the answer of an endpoint, which took so many seconds."""
    facts = observed(reply, seconds)
    found = {condition: unmet(condition, reply, facts) for condition in demanded(endpoint.conditions)}
    wrong = {condition: why for condition, why in found.items() if why is not None}
    if reply.status in (401, 403) and any("status" in names(condition) for condition in wrong):
        yield unknown(
            f"{reply.where} answered {reply.status}: the exporter's credentials were not accepted.",
            reason=Reason.DENIED,
        )
        return
    for condition, why in wrong.items():
        yield failed(
            f"{reply.where} answered {reply.status} and does not meet `{condition}`: {why}.",
            reason=Reason.DOWN if reply.status >= 500 else Reason.UNMET,
        )
    for condition in endpoint.warn_unless:
        if missed := unmet(condition, reply, facts):
            yield warning(f"{reply.where} answered {reply.status} and does not meet `{condition}`: {missed}.")
    if cache := cached_by(reply):
        yield unknown(
            f"{reply.where} was answered from a cache ({cache}), so the service was not observed.",
            reason=Reason.MISCONFIGURED,
        )
