"""Asks a service, gently: one request at a time, no redirects, and none while the service wants to be left alone."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

from exporter.http import Http, HttpSettings, Unanswered, Unreachable
from exporter.reply import Reply
from exporter.verdict import ProbeError, Reason

__all__ = ["Answer", "ServiceClient", "Throttled", "Unanswered", "Unreachable", "new_trace_id"]

_DEFAULT_PAUSE = timedelta(seconds=60)
_LONGEST_PAUSE = timedelta(hours=1)
#: By which Cloudflare and AWS WAF mark that they put a challenge in the place of an answer.
_CHALLENGES = ("cf-mitigated", "x-amzn-waf-action")
_REDIRECTS = (301, 302, 307, 308)


class Throttled(ProbeError):
    """The service answered 429, or did so lately and asked for a pause."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A service's reply, and how long it took in seconds."""

    reply: Reply
    seconds: float


class ServiceClient:
    """One address of a service during one run of one section.

    Every request carries the run's trace id (`trace_id`, in a W3C `traceparent` with a span id of its own), by which it is found in
    logs and traces. `memory` outlives the run: it holds until when the service wants to be left alone.
    """

    def __init__(self, settings: HttpSettings, memory: dict[str, Any], trace_id: str, turn: asyncio.Lock) -> None:
        self._http = Http(settings, connections=1)
        self._host: Http | None = None
        self._paused: dict[str, datetime] = memory.setdefault("paused", {})
        self._turn = turn
        self.trace_id = trace_id
        self.url = settings.url

    async def get(self, path: str, now: datetime, headers: Mapping[str, str] | None = None) -> Answer:
        """The answer to GET `url` + `path`; see `send`."""
        return await self.send("GET", path, now, headers)

    async def get_resource(self, path: str, now: datetime, headers: Mapping[str, str] | None = None) -> Answer:
        """The answer to GET, at the same path with or without a slash at its end where the service itself redirects there.

        Frameworks do so for what is mounted at a path, and kubelets and Prometheus follow. Raises as `send` does.
        """
        answer = await self.get(path, now, headers)
        other = _other_slash(path)
        if answer.reply.status not in _REDIRECTS or not other:
            return answer
        asked = urlsplit(f"{self.url}{path}")
        to = urlsplit(urljoin(asked.geturl(), answer.reply.headers.get("location", "")))
        wanted = urlsplit(f"{self.url}{other}")
        same = (to.scheme, to.netloc, to.path) == (asked.scheme, asked.netloc, wanted.path)
        return await self.get(other, now, headers) if same else answer

    async def get_of_host(self, path: str, now: datetime, headers: Mapping[str, str] | None = None) -> Answer:
        """The answer to GET a path of the host, also where `url` has a path of its own; see `send`."""
        address = urlsplit(self.url)
        if not address.path:
            return await self.get(path, now, headers)
        if self._host is None:
            root = f"{address.scheme}://{address.netloc}"
            self._host = Http(self._http.settings.model_copy(update={"url": root}), connections=1)
        return await self._send(self._host, "GET", path, now, headers)

    async def send(
        self,
        method: str,
        path: str,
        now: datetime,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> Answer:
        """The answer to a request to `url` + `path`, whatever its status, but for 429; redirects are not followed.

        Raises Unreachable, Unanswered and other ProbeErrors as `Http.request` does, Throttled, and ProbeError for a challenge.
        """
        return await self._send(self._http, method, path, now, headers, content)

    async def _send(
        self,
        http: Http,
        method: str,
        path: str,
        now: datetime,
        headers: Mapping[str, str] | None,
        content: bytes | None = None,
    ) -> Answer:
        async with self._turn:
            if (until := self._paused.get(self.url)) is not None and now < until:
                raise Throttled(
                    f"{method} {http.settings.url}{path.partition('?')[0]} was not sent: the service answered 429 before and is "
                    f"left alone until {until:%H:%M:%S} UTC.",
                    Reason.REFUSED,
                )
            own = {"traceparent": f"00-{self.trace_id}-{secrets.token_hex(8)}-01", "Cache-Control": "no-cache"}
            sent = {**own, **(headers or {})}
            started = time.monotonic()
            reply = await http.request(method, path, headers=sent, content=content, expect=None)
            took = time.monotonic() - started
            if challenge := next((name for name in _CHALLENGES if name in reply.headers), None):
                raise ProbeError(
                    f"{reply.where} was answered by a firewall that wants to see a browser ({challenge}), not by the service.",
                    Reason.REFUSED,
                )
            if reply.status == 429:
                self._paused[self.url] = now + _pause(reply, now)
                raise Throttled(f"{reply.where} answered 429: the service limits our requests.", Reason.REFUSED)
            return Answer(reply, took)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()
        if self._host is not None:
            await self._host.close()


def _other_slash(path: str) -> str:
    """A path with the slash at its end that it lacks, or without the one that it has; "" where there is no other."""
    plain, mark, query = path.partition("?")
    other = plain.rstrip("/") if plain.endswith("/") else f"{plain}/"
    return f"{other}{mark}{query}" if other else ""


def new_trace_id() -> str:
    """A fresh W3C trace id."""
    return secrets.token_hex(16)


def _pause(reply: Reply, now: datetime) -> timedelta:
    """How long to wait after a 429: what any Retry-After (named throttlers add a suffix) says, within bounds."""
    pauses = [_retry_after(value, now) for name, value in reply.headers.items() if name.startswith("retry-after")]
    return min(max((pause for pause in pauses if pause is not None), default=_DEFAULT_PAUSE), _LONGEST_PAUSE)


def _retry_after(value: str, now: datetime) -> timedelta | None:
    """Seconds or a date, as a length of time; None for anything else."""
    try:
        return min(timedelta(seconds=max(0.0, float(value))), _LONGEST_PAUSE)
    except (ValueError, OverflowError):
        pass
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(date - now, timedelta(0)) if date.tzinfo else None
