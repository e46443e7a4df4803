"""Asks gateways: routes, bursts, and origins behind their back."""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
from urllib.parse import urlsplit

from httpx import Headers

from collectors.systems.gateway.model import Burst, Edge, Limit
from exporter.http import Http, HttpSettings, Trust, Unanswered, Unreachable
from exporter.reply import Reply
from exporter.verdict import Reason

__all__ = ["ask", "ask_origin", "ask_uncached", "burst"]

_AGENT = {"User-Agent": "checklist-exporter (network_security)"}
_MAX_BYTES = 2**20
_POLL_SECONDS = 5.0
_AT_A_TIME = 5
_CLOSED = 444
_REFUSALS = (
    "the connection was refused",
    *(os.strerror(code) for code in (errno.EHOSTUNREACH, errno.ECONNREFUSED, errno.ECONNRESET)),
)


async def ask(url: str) -> Reply:
    """GET by a connection of its own; redirects are not followed. Raises ProbeError where there is no reply."""
    return await _get(url, Trust(), {})


async def _get(url: str, tls: Trust, headers: dict[str, str]) -> Reply:
    parts = urlsplit(url)
    settings = HttpSettings(url=f"{parts.scheme}://{parts.netloc}", tls=tls, max_bytes=_MAX_BYTES)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    async with Http(settings, connections=1) as http:
        return await http.get(path, headers={**_AGENT, **headers}, expect=None)


async def burst(limit: Limit) -> Burst:
    """One request, then as many as it says, some at a time, until one is refused; then more until the gateway answers again."""
    before = await ask(limit.url)
    answers: list[Reply] = []
    if not 200 <= before.status < 400:
        return Burst(before, (), None)
    while len(answers) < limit.burst and not any(reply.status in (429, 503) for reply in answers):
        count = min(_AT_A_TIME, limit.burst - len(answers))
        answers += await asyncio.gather(*(ask(limit.url) for _ in range(count)))
    if not any(reply.status in (429, 503) for reply in answers):
        return Burst(before, tuple(answers), None)
    clock = asyncio.get_running_loop()
    until = clock.time() + limit.recovery.total_seconds()
    while True:
        await asyncio.sleep(min(_POLL_SECONDS, limit.recovery.total_seconds()))
        after = await ask(limit.url)
        if 200 <= after.status < 400 or clock.time() >= until:
            return Burst(before, tuple(answers), after)


async def ask_uncached(url: str) -> Reply:
    """GET with a query that no cache has. Raises ProbeError where there is no reply."""
    mark = "&" if "?" in url else "?"
    return await ask(f"{url}{mark}checklist={secrets.token_hex(4)}")


async def ask_origin(edge: Edge, origin: str) -> Reply | None:
    """What an origin answers when it is asked directly for the site; None when it takes no connection.

    A connection that is closed without a reply counts as the status 444, by which nginx does that.
    Raises ProbeError where none of these is certain.
    """
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
