"""Sends a request that nobody else can have sent, and looks for it in the service's logs.

Log lines arrive late: a request that was not found yet is looked for again by the next run, before another one is sent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from collectors.shared.verdicts import verdict
from collectors.systems.http.check.log_places import LogPlace, LokiPlace, PodPlace
from collectors.systems.http.check.service import AskingCollector
from collectors.systems.http.client import new_trace_id
from collectors.systems.http.model.caches import cached_by
from collectors.systems.http.model.request_log import RequestLog
from collectors.systems.kubernetes.check.logs import Container, PodLogs
from collectors.systems.kubernetes.check.pods import Pods
from collectors.systems.kubernetes.client.cluster import Kubernetes
from collectors.systems.loki.client import Loki
from collectors.systems.loki.judge.requests import incomplete_problems, missing_problems
from collectors.systems.loki.model.requests import Asked, parts_shown
from exporter.verdict import ProbeError, Reason, Result, ok, unknown
from exporter.words import listed

__all__ = ["see_request_log"]

_EVERY = timedelta(minutes=5)
_RESERVE = timedelta(seconds=5)

_Subject = tuple[RequestLog, str, Pods | None]
"""What a verdict is of: how a request is looked for, the service, and its pods."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """A request that is looked for. `began` are the containers that may log it, where that is known."""

    subject: _Subject
    trace_id: str
    at: datetime
    status: int
    began: Sequence[Container] = ()

    @property
    def log(self) -> RequestLog:
        """How it is looked for."""
        return self.subject[0]

    @property
    def what(self) -> str:
        """What sentences call it."""
        return f"GET {self.subject[1]}{self.log.shown_path} (trace {self.trace_id})"


@dataclass(frozen=True, slots=True)
class _Judged:
    """The last request that was judged."""

    sent: _Sent
    result: Result


async def see_request_log(collector: AskingCollector[Any, Any], log: RequestLog, timeout: timedelta) -> Result:
    """Whether a request of ours is in the logs, looked for during at most `timeout` in one run; sent at most every five minutes.

    Raises ProbeError when the request cannot be sent, or the logs cannot be read.
    """
    pods = collector.target.pods
    if log.container is not None and pods is None:
        return unknown(
            f"`pods` of {collector.target.name} is not configured, so there is no log of container {log.container} to read.",
            reason=Reason.NOT_CONFIGURED,
        )
    place = _place(collector, log, pods)
    memory: dict[str, Any] = collector.context.memory
    now, url = collector.now, collector.service.url
    subject = log, url, pods
    judged: _Judged | None = memory.get("judged request")
    if judged is not None and judged.sent.subject != subject:
        judged = None
    sent: _Sent | None = memory.pop("sent request", None)
    if sent is None or sent.subject != subject:
        if judged is not None and timedelta(0) <= now - judged.sent.at < _EVERY:
            return judged.result
        sent = await _send(collector, subject, await place.begin())
    # Not remembered where this raises: what was not looked for in time proves nothing later.
    result = await _found(collector, place, sent, timeout - _RESERVE)
    if result is None:
        memory["sent request"] = sent
        return (
            judged.result
            if judged is not None
            else unknown(
                f"The log of GET {url}{log.shown_path} has not arrived in {place.keeper} yet; it is looked for again.",
                reason=Reason.PENDING,
            )
        )
    memory["judged request"] = _Judged(sent, result)
    return result


def _place(collector: AskingCollector[Any, Any], log: RequestLog, pods: Pods | None) -> LogPlace:
    if log.container is not None and pods is not None:
        return PodPlace(PodLogs(collector.client(Kubernetes), pods, log.container))
    return LokiPlace(collector.client(Loki), log.selector or "")


async def _send(collector: AskingCollector[Any, Any], subject: _Subject, began: Sequence[Container]) -> _Sent:
    log, url, _ = subject
    trace_id, at = new_trace_id(), collector.now
    headers = {"traceparent": f"00-{trace_id}-{trace_id[:16]}-01", "X-Request-Id": trace_id}
    reply = (await collector.service.get(log.filled(trace_id), at, headers)).reply
    where = f"GET {url}{log.shown_path}"
    if cache := cached_by(reply):
        raise ProbeError(
            f"{where} was answered from a cache ({cache}), so the service did not see it.", Reason.MISCONFIGURED
        )
    if 300 <= reply.status < 400:
        raise ProbeError(
            f"{where} was redirected ({reply.status}), so the service may not have seen it.", Reason.MISCONFIGURED
        )
    return _Sent(subject, trace_id, at, reply.status, began)


async def _found(
    collector: AskingCollector[Any, Any], place: LogPlace, sent: _Sent, patience: timedelta
) -> Result | None:
    """The verdict; None where there may yet be a line."""
    log, started = sent.log, time.monotonic()
    while True:
        now = collector.now
        if streams := await place.traced(sent.trace_id, sent.at, now):
            path = log.filled(sent.trace_id).partition("?")[0]
            shown = parts_shown(streams, Asked(path, sent.status))
            if set(log.fields) <= shown or now - sent.at > log.within:
                good = ok(
                    f"The service logs {sent.what} with its {listed(part.value for part in log.fields)}.",
                    log_delay_seconds=max(0.0, (now - sent.at).total_seconds()),
                )
                return verdict(incomplete_problems(sent.what, shown, log.fields), good)
        elif now - sent.at > log.within:
            plain = log.shown_path if log.filled("") == log.path else None
            others = await place.others(plain, now - sent.at, sent.began)
            return verdict(
                missing_problems(
                    sent.what,
                    place.logs,
                    log.within,
                    sent.status,
                    lines=others.lines,
                    alike=others.alike,
                    keeper=place.keeper,
                    earlier=others.earlier,
                ),
                unknown(sent.what),
            )
        if time.monotonic() - started >= patience.total_seconds():
            return None
        await asyncio.sleep(place.poll_seconds)
