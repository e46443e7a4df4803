"""Whether a gateway passes on what it should, limits it, and cannot be gone around."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from collectors.systems.gateway.model import (
    Beyond,
    Burst,
    Disguise,
    Edge,
    Gateway,
    Limit,
    Route,
    Who,
    announces_maintenance,
    edge_name,
    who_refused,
)
from collectors.systems.http.model.caches import cached_by
from exporter.reply import Reply
from exporter.verdict import ProbeError, Reason, Result, failed, unknown, unobserved, warning
from exporter.words import counted

__all__ = ["edge_problems", "lapse_problems", "limit_problems", "route_problems", "served"]


_REFUSALS = (400, 401, 403, 404, 421, 444)


def route_problems(
    gateway: Gateway,
    route: Route,
    replies: Sequence[Reply | ProbeError],
    uncached: Reply | ProbeError | None = None,
    beyond: Beyond | None = None,
) -> Iterator[Result]:
    """Answers that are not the service's. A gateway that answers by itself, with whatever status, has not passed a request on.

    `uncached` is the answer to the same route with a query that no cache has.
    """
    if beyond is not None and any(served(route, reply) for reply in replies):
        yield from _stand_in_problems(gateway, route, replies, uncached, beyond)
    if isinstance(uncached, Reply) and uncached.status >= 500 and route.status < 500:
        yield failed(
            f"{uncached.where} answered {uncached.status} through gateway {gateway.name} where no cache can have the answer.",
            reason=Reason.DOWN,
        )
    answered = any(isinstance(reply, Reply) for reply in replies)
    for reply in replies:
        if isinstance(reply, ProbeError):
            if answered and reply.reason is Reason.UNREACHABLE:
                yield failed(
                    f"Gateway {gateway.name} answers at one of its addresses and not at another: {reply}",
                    reason=Reason.DOWN,
                )
            else:
                yield unobserved(reply)
            continue
        if reply.status == route.status and route.contains in reply.text:
            continue
        if reply.status in (401, 403, 407, 429) and route.status not in (401, 403, 407, 429):
            yield unknown(
                f"Gateway {gateway.name} refused {reply.where} ({reply.status}), so nothing of the service was seen.",
                reason=Reason.REFUSED,
            )
        elif reply.status == route.status:
            yield failed(
                f"{reply.where} answered {reply.status} without the text of the service behind gateway {gateway.name}.",
                reason=Reason.UNMET,
            )
        else:
            yield failed(
                f"{reply.where} answered {reply.status} through gateway {gateway.name}, where {route.status} is expected.",
                reason=Reason.DOWN if reply.status >= 500 else Reason.UNMET,
            )


def _stand_in_problems(
    gateway: Gateway,
    route: Route,
    replies: Sequence[Reply | ProbeError],
    uncached: Reply | ProbeError | None,
    beyond: Beyond,
) -> Iterator[Result]:
    """A cache or a page of the gateway that answers as the service does."""
    past, nowhere = beyond.past_caches, beyond.nowhere
    if past is not None and past.status in _DEAD and route.status not in _DEAD:
        yield failed(
            f"{past.where} answered {past.status} through gateway {gateway.name}: caches do not answer this method, "
            "and what GET is answered comes from one.",
            reason=Reason.DOWN,
        )
    elif isinstance(uncached, Reply) and (sign := cached_by(uncached)):
        yield unknown(
            f"{uncached.where} comes from a cache ({sign}) whatever its query is, so nothing of the service behind gateway "
            f"{gateway.name} was seen: name a route that is not cached.",
            reason=Reason.NOT_VERIFIED,
        )
    answer = next(reply for reply in replies if isinstance(reply, Reply) and served(route, reply))
    alike = nowhere is not None and 200 <= route.status < 300 and served(route, nowhere) and _same_text(answer, nowhere)
    if announces_maintenance(answer) and (alike or "retry-after" in answer.headers):
        yield failed(
            f"{answer.where} is answered with a page about maintenance through gateway {gateway.name}.",
            reason=Reason.DOWN,
        )
    elif alike and nowhere is not None:
        yield unknown(
            f"{answer.where} and {nowhere.where}, which does not exist, are answered the same through gateway {gateway.name}: "
            "a page "
            "of the gateway's own would look like that. Name a route whose answer only the service makes.",
            reason=Reason.NOT_VERIFIED,
        )


def _same_text(one: Reply, other: Reply) -> bool:
    """Whether two pages have nearly the same words; what is new in each, such as a number of the request, does not count."""
    first, second = ({*_WORD.findall(reply.text)} for reply in (one, other))
    return 10 * len(first & second) >= 9 * max(len(first), len(second))


_WORD = re.compile(r"\w+")
_DEAD = (502, 503, 504)


def served(route: Route, reply: Reply | ProbeError) -> bool:
    """Whether an answer is that of the service."""
    return isinstance(reply, Reply) and reply.status == route.status and route.contains in reply.text


def lapse_problems(gateway: Gateway, route: Route, lately: Sequence[bool]) -> Iterator[Result]:
    """A route that the service answered this time, and not always in the runs before; `lately` is how each request went."""
    lapses = lately.count(False)
    if not lapses or not all(lately[-gateway.looks :]):
        return
    sentence = (
        f"{route.url} answered this time, and {lapses} of the last {counted(len(lately), 'request')} through gateway "
        f"{gateway.name} failed."
    )
    if lapses > 1 and lapses / len(lately) >= _MOST_LAPSES:
        yield failed(sentence, reason=Reason.LIMIT)
    else:
        yield warning(sentence)


_MOST_LAPSES = 0.05


def limit_problems(limit: Limit, burst: Burst) -> Iterator[Result]:
    """A burst that is taken whole, limited by the application alone, or that the gateway does not recover from."""
    if not 200 <= burst.before.status < 400:
        yield unknown(
            f"{burst.before.where} answered {burst.before.status} before the burst, so no limit could be seen.",
            reason=Reason.REFUSED if burst.before.status in (403, 429, 503) else Reason.MALFORMED,
        )
        return
    refused = burst.refused
    if refused is None and burst.slowed:
        yield unknown(
            f"{burst.before.where} refused none of {counted(len(burst.answers), 'request')}, and answered ever more slowly: either "
            "the gateway delays what is too much, and `burst` fits in its queue, or the service is busy and nothing limits it.",
            reason=Reason.NOT_VERIFIED,
        )
        return
    if refused is None and (other := next((one for one in burst.answers if _is_other(burst.before, one)), None)):
        yield unknown(
            f"{other.where} answered {other.status} to some of {counted(len(burst.answers), 'request')}, with other content than "
            "before: whether that is a limit, by a redirect or a page, is not known.",
            reason=Reason.NOT_VERIFIED,
        )
        return
    if refused is None:
        yield failed(
            f"{burst.before.where} took {counted(len(burst.answers), 'request')} in a row from one address, and refused none.",
            reason=Reason.MISSING,
        )
        return
    if burst.after is None or not 200 <= burst.after.status < 400:
        yield unknown(
            f"{refused.where} answered {refused.status} to a burst and had not recovered after it: that may be an outage, "
            "or a longer limit than `recovery`.",
            reason=Reason.DOWN,
        )
    for one in burst.evaded:
        if one is not Disguise.FORWARDED:
            yield failed(
                f"{refused.where} refused a burst, and took the same requests with {one.value} each time: whoever changes it "
                "is not limited.",
                reason=Reason.MISCONFIGURED,
            )
    if Disguise.FORWARDED in burst.evaded:
        yield unknown(
            f"{refused.where} refused a burst, and took the same requests with {Disguise.FORWARDED.value} each time: either the "
            "gateway believes everybody, or it trusts the exporter's address as that of a proxy.",
            reason=Reason.NOT_VERIFIED,
        )
    if refused.status == 503 and not burst.persists:
        yield unknown(
            f"{refused.where} answered 503 to requests at the same time and to none of those one after the other, right after "
            "them: a service that is busy looks like that.",
            reason=Reason.NOT_VERIFIED,
        )
    who = who_refused(burst.before, refused) if limit.application else Who.GATEWAY
    if who is Who.APPLICATION:
        yield failed(
            f"{refused.where} answered {refused.status} with the headers of the application: it limits, and the gateway does not.",
            reason=Reason.MISSING,
        )
    elif who is Who.UNCLEAR:
        yield unknown(
            f"{refused.where} answered {refused.status}, and nothing shows whether the gateway did or the application: name a "
            "route that the gateway answers itself, with `application: false`.",
            reason=Reason.MALFORMED,
        )


def _is_other(before: Reply, reply: Reply) -> bool:
    """Whether a reply that is no refusal is none of the page either: another status, or fewer than half of its words."""
    wanted, found = ({*_WORD.findall(one.text)} for one in (before, reply))
    return reply.status != before.status or 2 * len(wanted & found) < len(wanted)


def edge_problems(edge: Edge, reply: Reply, origins: Mapping[str, Reply | ProbeError | None]) -> Iterator[Result]:
    """A site that is not behind a protection, and origins that answer who goes around it."""
    if edge.aws_resource is None and edge_name(reply) is None:
        yield failed(
            f"{reply.where} did not come through a CDN or protection that is known by its headers.",
            reason=Reason.MISSING,
        )
    for origin, answer in origins.items():
        if isinstance(answer, Reply) and answer.status < 400:
            yield failed(
                f"Origin {origin} answers requests for the site directly ({answer.status}), around its protection.",
                reason=Reason.MISCONFIGURED,
            )
    if not 200 <= reply.status < 400:
        yield unknown(
            f"{reply.where} answered {reply.status}, so that its origins refuse direct requests shows nothing.",
            reason=Reason.MALFORMED,
        )
    for origin, answer in origins.items():
        if isinstance(answer, ProbeError):
            yield unobserved(answer)
        elif answer is not None and answer.status >= 400 and answer.status not in _REFUSALS:
            yield unknown(
                f"Origin {origin} answered {answer.status} to a direct request, which is no refusal.",
                reason=Reason.MALFORMED,
            )
