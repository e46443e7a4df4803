"""Whether a service counts requests against a limit."""

from __future__ import annotations

from collections.abc import Iterator

from collectors.systems.http.model.caches import cached_by
from collectors.systems.http.model.rate_limits import remaining
from exporter.reply import Reply
from exporter.verdict import Reason, Result, failed, unknown
from exporter.words import listed

__all__ = ["limit_problems"]


def limit_problems(first: Reply, second: Reply) -> Iterator[Result]:
    """Why two answers, one after the other, do not show a limit: none of the numbers that are left fell."""
    before, after = remaining(first), remaining(second)
    if not first.status < 400:
        yield unknown(
            f"{first.where} answered {first.status}, so its rate limit was not observed.",
            reason=Reason.DENIED if first.status in (401, 403) else Reason.MISCONFIGURED,
        )
    elif cache := cached_by(first) or cached_by(second):
        yield unknown(
            f"{first.where} was answered by a cache ({cache}), so its rate limit was not observed.",
            reason=Reason.MISCONFIGURED,
        )
    elif min(after.values(), default=0) < 0 and second.status < 400:
        yield failed(
            f"{second.where} answered {second.status} with {min(after.values()):g} requests left: the limit is counted and not "
            "enforced.",
            reason=Reason.CONTRADICTED,
        )
    elif not before or not after:
        yield unknown(
            f"{first.where} answers without headers of a rate limit, so whether there is one was not observed."
        )
    elif not any(after[name] < left for name, left in before.items() if name in after):
        parts = listed(f"{left:g} to {after[name]:g}" for name, left in before.items() if name in after)
        yield unknown(
            f"{first.where} reports a rate limit that two requests did not lower ({parts}); the exporter may be exempt, or another "
            "replica answered."
        )
