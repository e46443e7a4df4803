"""Asks gateways: routes, bursts, and origins behind their back."""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from httpx import Headers

from collectors.shared.addresses import address_and_port, resolve
from collectors.systems.gateway.model import REFUSALS, Beyond, Burst, Disguise, Edge, Gateway, Limit, Route
from exporter.http import Http, HttpSettings, Trust, Unanswered, Unreachable
from exporter.reply import Reply
from exporter.verdict import ProbeError, Reason

__all__ = ["ask", "ask_beyond", "ask_origin", "ask_route", "ask_uncached", "burst"]

_AGENT = {"User-Agent": "checklist-exporter (network_security)"}
_MAX_BYTES = 2**20
_POLL_SECONDS = 5.0
_AT_A_TIME = 5
_FORWARDED = (
    "X-Forwarded-For",
    "X-Real-IP",
    "X-Client-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "X-Cluster-Client-IP",
)
_PLAIN = 2  # a limit that lets one through now and then refuses the other
_SLOW_SECONDS, _SLOW_TIMES = 0.2, 4  # for each request, when a gateway delays what is too much
_CLOSED = 444
_DEAD = (502, 503, 504)
_REFUSALS = (
    "the connection was refused",
    *(os.strerror(code) for code in (errno.EHOSTUNREACH, errno.ECONNREFUSED, errno.ECONNRESET)),
)


async def ask(url: str, headers: Mapping[str, str] | None = None) -> Reply:
    """GET by a connection of its own; redirects are not followed. Raises ProbeError where there is no reply."""
    return await _get(url, Trust(), headers or {})


async def ask_route(gateway: Gateway, route: Route) -> list[Reply | ProbeError]:
    """The answers of every address that the gateway's name has, at least one of each and as many as it says in all.

    Addresses of a family that the exporter has no route to are left out, unless there is no other.
    """
    parts = urlsplit(route.url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        addresses = await resolve(str(parts.hostname), port)
    except ProbeError as why:
        return [why]
    found: list[Reply | ProbeError] = []
    for number in range(max(gateway.looks, len(addresses))):
        try:
            found.append(await _ask_at(route.url, address_and_port(addresses[number % len(addresses)], port)))
        except ProbeError as why:
            found.append(why)
    return [one for one in found if not _without_route(one)] or found


def _without_route(answer: Reply | ProbeError) -> bool:
    """Whether there is no way from here to an address, as to IPv6 from many networks."""
    return isinstance(answer, Unreachable) and os.strerror(errno.ENETUNREACH) in str(answer)


async def _ask_at(url: str, address: str) -> Reply:
    """GET from one address of a name, as a client asks that has chosen it."""
    parts = urlsplit(url)
    there = parts._replace(netloc=address).geturl()
    return await _get(there, Trust(server_name=parts.hostname), {"Host": parts.netloc})


async def _get(url: str, tls: Trust, headers: Mapping[str, str]) -> Reply:
    return await _send("GET", url, tls, headers)


async def _send(method: str, url: str, tls: Trust, headers: Mapping[str, str]) -> Reply:
    parts = urlsplit(url)
    settings = HttpSettings(url=f"{parts.scheme}://{parts.netloc}", tls=tls, max_bytes=_MAX_BYTES)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    async with Http(settings, connections=1) as http:
        return await http.request(method, path, headers={**_AGENT, **headers}, expect=None)


async def burst(limit: Limit) -> Burst:
    """One request, then as many as it says, some at a time, until one is refused; then what shows who refused it, and why.

    Right after a refusal some requests are sent one after the other, which a service that is only busy answers, then some that
    look like those of others, which a limit by address refuses all the same. At last more until the gateway answers again.
    """
    started = time.monotonic()
    before = await ask(limit.url)
    single = time.monotonic() - started
    answers: list[Reply] = []
    if not 200 <= before.status < 400:
        return Burst(before, (), None)
    seconds = 0.0
    while len(answers) < limit.burst and not _refused(answers):
        count = min(_AT_A_TIME, limit.burst - len(answers))
        started = time.monotonic()
        answers += await asyncio.gather(*(ask(limit.url) for _ in range(count)))
        seconds = (time.monotonic() - started) / count
    if not _refused(answers):
        return Burst(before, tuple(answers), None, slowed=seconds > max(_SLOW_SECONDS, _SLOW_TIMES * single))
    again = [await ask(limit.url) for _ in range(_AT_A_TIME)]
    evaded = await _evaded(limit.url) if _refused(again) else ()
    clock = asyncio.get_running_loop()
    until = clock.time() + limit.recovery.total_seconds()
    while True:
        await asyncio.sleep(min(_POLL_SECONDS, limit.recovery.total_seconds() / 10))
        after = await ask(limit.url)
        if 200 <= after.status < 400 or clock.time() >= until:
            return Burst(before, tuple(answers), after, again=tuple(again), evaded=evaded)


def _refused(answers: Sequence[Reply]) -> bool:
    return any(reply.status in REFUSALS for reply in answers)


async def _evaded(url: str) -> tuple[Disguise, ...]:
    """By which of its parts a request that looks like somebody else's goes around a limit that is reached now."""
    if not await _passes(url, tuple(Disguise)):
        return ()
    return tuple([one for one in Disguise if await _passes(url, (one,))])


async def _passes(url: str, disguises: Sequence[Disguise]) -> bool:
    """Whether all of some requests that differ in these parts are answered, while plain ones are refused before and after."""
    before = [await ask(url) for _ in range(_PLAIN)]
    disguised = await asyncio.gather(*(ask(*_disguised(url, disguises)) for _ in range(_AT_A_TIME)))
    after = [await ask(url) for _ in range(_PLAIN)]
    return _refused(before) and all(map(_taken, disguised)) and _refused(after)


def _taken(reply: Reply) -> bool:
    """Whether a request got past the limit: a made-up key may still be refused behind it."""
    return 200 <= reply.status < 400 or reply.status == 401


def _disguised(url: str, disguises: Sequence[Disguise]) -> tuple[str, dict[str, str]]:
    headers = {}
    if Disguise.QUERY in disguises:
        url = _with_mark(url)
    if Disguise.AGENT in disguises:
        headers["User-Agent"] = f"{_AGENT['User-Agent']} {secrets.token_hex(4)}"
        headers["Accept-Language"] = f"en;q=0.{secrets.randbelow(900) + 100}"
    if Disguise.COOKIE in disguises:
        headers["Cookie"] = f"checklist={secrets.token_hex(4)}"
    if Disguise.KEY in disguises:
        headers |= {"Authorization": f"Bearer {secrets.token_hex(12)}", "X-API-Key": secrets.token_hex(12)}
    if Disguise.REFERER in disguises:
        site = f"https://{secrets.token_hex(4)}.example"
        headers |= {"Referer": f"{site}/", "Origin": site}
    if Disguise.HOST in disguises:
        headers["Host"] = "".join(secrets.choice((one.lower(), one.upper())) for one in urlsplit(url).netloc)
    if Disguise.FORWARDED in disguises:
        somebody = f"203.0.113.{secrets.randbelow(254) + 1}"  # an address of documentation
        headers |= dict.fromkeys(_FORWARDED, somebody) | {"Forwarded": f"for={somebody}"}
    return url, headers


def _with_mark(url: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}checklist={secrets.token_hex(4)}"


async def ask_beyond(route: Route) -> Beyond:
    """What shows whether the service itself answers a route, beside its own answers; nothing where there is no reply."""
    past = await _quietly("OPTIONS", route.url)
    if past is not None and past.status in _DEAD:
        past = await _quietly("OPTIONS", route.url)  # one of several servers may be down
    parts = urlsplit(route.url)
    folder = parts.path.rpartition("/")[0]
    return Beyond(
        past, await _quietly("GET", parts._replace(path=f"{folder}/{secrets.token_hex(8)}", query="").geturl())
    )


async def _quietly(method: str, url: str) -> Reply | None:
    try:
        return await _send(method, url, Trust(), {})
    except ProbeError:
        return None


async def ask_uncached(url: str) -> Reply:
    """GET with a query that no cache has. Raises ProbeError where there is no reply."""
    return await ask(_with_mark(url))


async def ask_origin(edge: Edge, origin: str) -> Reply | None:
    """What an origin answers when it is asked directly for the site; None when it takes no connection.

    Of several addresses, the one that answers best counts; those of a family that the exporter has no route to are left out, unless
    there is no other. A connection that is closed without a reply counts as the status 444, by which nginx does that.
    Raises ProbeError where none of these is certain.
    """
    parts = urlsplit(f"//{origin}")
    port = parts.port or (443 if edge.url.startswith("https:") else 80)
    answers: list[Reply] = []
    unclear: list[ProbeError] = []
    addresses = await resolve(str(parts.hostname), port)
    for address in addresses:
        try:
            if (reply := await _ask_origin_at(edge, address_and_port(address, port))) is not None:
                answers.append(reply)
        except ProbeError as why:
            unclear.append(why)
    unclear = [why for why in unclear if len(addresses) == len(unclear) or not _without_route(why)]
    best = min(answers, key=lambda reply: reply.status, default=None)
    if unclear and (best is None or best.status >= 400):
        raise unclear[0]
    return best


async def _ask_origin_at(edge: Edge, origin: str) -> Reply | None:
    parts = urlsplit(edge.url)
    url = f"{parts.scheme}://{origin}{parts.path or '/'}"
    # Whoever goes around the protection does not mind the certificate.
    trust = Trust(server_name=parts.hostname, insecure_skip_verify=True)
    try:
        return await _get(url, trust, {"Host": parts.netloc})
    except Unanswered as why:
        if why.reason is Reason.MALFORMED:  # it closed the connection, as nginx does with 444
            return Reply(f"GET {url}", _CLOSED, Headers(), b"")
        raise
    except Unreachable as why:
        if why.reason is Reason.TIMEOUT or any(words in str(why) for words in _REFUSALS):
            return None
        raise  # a name that is not known, a handshake that we are not able to make, no route from here
