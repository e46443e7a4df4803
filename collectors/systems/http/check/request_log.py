"""Sends a request that nobody else can have sent, and looks for it in the service's logs.

Log lines arrive late: a request that was not found yet is looked for again by the next run, before another one is sent.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from collectors.shared.verdicts import verdict
from collectors.systems.http.check.service import AskingCollector
from collectors.systems.http.client import new_trace_id
from collectors.systems.http.model.caches import cached_by
from collectors.systems.http.model.request_log import RequestLog
from collectors.systems.loki.client import Loki
from collectors.systems.loki.judge.requests import incomplete_problems, missing_problems
from collectors.systems.loki.model.requests import Asked, parts_shown
from collectors.systems.loki.model.secrets import literally
from exporter.verdict import ProbeError, Reason, Result, ok, unknown
from exporter.words import listed

__all__ = ["see_request_log"]

_EVERY = timedelta(minutes=5)
_POLL_SECONDS = 1.0
_RESERVE = timedelta(seconds=5)
_SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class _Sent:
    """A request that is looked for."""

    log: RequestLog
    url: str
    trace_id: str
    at: datetime
    status: int

    @property
    def what(self) -> str:
        """What sentences call it."""
        return f"GET {self.url}{self.log.shown_path} (trace {self.trace_id})"


@dataclass(frozen=True, slots=True)
class _Judged:
    """The last request that was judged."""

    sent: _Sent
    result: Result


async def see_request_log(collector: AskingCollector[Any, Any], log: RequestLog, timeout: timedelta) -> Result:
    """Whether a request of ours is in the logs, looked for during at most `timeout` in one run; sent at most every five minutes.

    Raises ProbeError when the request cannot be sent, or Loki cannot be asked.
    """
    loki = collector.client(Loki)
    memory: dict[str, Any] = collector.context.memory
    now, url = collector.now, collector.service.url
    judged: _Judged | None = memory.get("judged request")
    if judged is not None and (judged.sent.log, judged.sent.url) != (log, url):
        judged = None
    sent: _Sent | None = memory.pop("sent request", None)
    if sent is None or (sent.log, sent.url) != (log, url):
        if judged is not None and timedelta(0) <= now - judged.sent.at < _EVERY:
            return judged.result
        sent = await _send(collector, log)
    # Not remembered where Loki raises: what was not looked for in time proves nothing later.
    result = await _found(collector, loki, sent, timeout - _RESERVE)
    if result is None:
        memory["sent request"] = sent
        return (
            judged.result
            if judged is not None
            else unknown(
                f"The log of GET {url}{log.shown_path} has not arrived in Loki yet; it is looked for again.",
                reason=Reason.PENDING,
            )
        )
    memory["judged request"] = _Judged(sent, result)
    return result


async def _send(collector: AskingCollector[Any, Any], log: RequestLog) -> _Sent:
    trace_id, at = new_trace_id(), collector.now
    headers = {"traceparent": f"00-{trace_id}-{trace_id[:16]}-01", "X-Request-Id": trace_id}
    reply = (await collector.service.get(log.filled(trace_id), at, headers)).reply
    where = f"GET {collector.service.url}{log.shown_path}"
    if cache := cached_by(reply):
        raise ProbeError(
            f"{where} was answered from a cache ({cache}), so the service did not see it.", Reason.MISCONFIGURED
        )
    if 300 <= reply.status < 400:
        raise ProbeError(
            f"{where} was redirected ({reply.status}), so the service may not have seen it.", Reason.MISCONFIGURED
        )
    return _Sent(log, collector.service.url, trace_id, at, reply.status)


async def _found(collector: AskingCollector[Any, Any], loki: Loki, sent: _Sent, patience: timedelta) -> Result | None:
    """The verdict; None where there may yet be a line."""
    log, started = sent.log, time.monotonic()
    # Not the trace id itself: Loki logs the queries that it is asked. AWS X-Ray writes a hyphen after the eighth digit.
    start, rest = sent.trace_id[:8], sent.trace_id[8:]
    selection = f"{log.selector} |~ `(?i){start}-?{literally(rest)}`"
    while True:
        now = collector.now
        if streams := [one for one in await loki.query_range(selection, sent.at - _SKEW, now + _SKEW) if one.entries]:
            path = log.filled(sent.trace_id).partition("?")[0]
            shown = parts_shown(streams, Asked(path, sent.status))
            if set(log.fields) <= shown or now - sent.at > log.within:
                good = ok(
                    f"The service logs {sent.what} with its {listed(part.value for part in log.fields)}.",
                    log_delay_seconds=max(0.0, (now - sent.at).total_seconds()),
                )
                return verdict(incomplete_problems(sent.what, shown, log.fields), good)
        elif now - sent.at > log.within:
            since = f"[{int((now - sent.at).total_seconds()) + 1}s]"
            lines = await _count(loki, f"count_over_time({log.selector} {since})")
            alike = 0.0
            if log.filled("") == log.path:
                alike = await _count(loki, f"count_over_time({log.selector} |= {_quoted(log.shown_path)} {since})")
            return verdict(
                missing_problems(sent.what, log.selector, log.within, sent.status, lines=lines, alike=alike),
                unknown(sent.what),
            )
        if time.monotonic() - started >= patience.total_seconds():
            return None
        await asyncio.sleep(_POLL_SECONDS)


async def _count(loki: Loki, expression: str) -> float:
    return sum(sample.value for sample in await loki.query(f"sum({expression})"))


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
