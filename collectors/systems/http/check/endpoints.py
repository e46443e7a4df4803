"""Asks endpoints and judges their answers by their conditions."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from collectors.shared.attempts import attempt
from collectors.shared.verdicts import verdict
from collectors.systems.http.client import Answer, ServiceClient, Unanswered, new_trace_id
from collectors.systems.http.judge.endpoints import endpoint_problems
from collectors.systems.http.model.apis import Endpoints
from collectors.systems.http.model.endpoints import Endpoint
from exporter.verdict import ProbeError, Reason, Result, failed, ok, unknown, unobserved
from exporter.words import counted

__all__ = ["see_endpoints"]

_Seen = tuple[Endpoint, Answer | ProbeError]


async def see_endpoints(api: Endpoints, memory: dict[str, Any], now: datetime, *, allow_intrusive: bool) -> Result:
    """The verdict on the endpoints of an API, asked one after the other."""
    allowed = [endpoint for endpoint in api.endpoints if endpoint.is_safe or allow_intrusive]
    seen = [(endpoint, await _asked(api, endpoint, memory, now)) for endpoint in allowed]
    slowest = max((answer.seconds for _, answer in seen if isinstance(answer, Answer)), default=0.0)
    good = ok(
        f"{counted(len(seen), 'endpoint')} of {api.url} {'meets its' if len(seen) == 1 else 'meet their'} conditions.",
        seconds=slowest,
    )
    return verdict(_problems(api, seen, allow_intrusive=allow_intrusive), good)


async def _asked(api: Endpoints, endpoint: Endpoint, memory: dict[str, Any], now: datetime) -> Answer | ProbeError:
    # A client of its own: no cookie that one endpoint sets may help another.
    client = ServiceClient(api, memory, new_trace_id(), asyncio.Lock())
    content = None if endpoint.body is None else endpoint.body.encode()
    headers = {} if endpoint.body is None else {"Content-Type": "application/json"}
    try:
        return await attempt(client.send(endpoint.method, endpoint.path, now, headers, content))
    finally:
        await client.close()


def _problems(api: Endpoints, seen: list[_Seen], *, allow_intrusive: bool) -> Iterator[Result]:
    for endpoint, answer in seen:
        if isinstance(answer, Answer):
            yield from endpoint_problems(endpoint, answer.reply, answer.seconds)
        elif isinstance(answer, Unanswered):
            yield failed(str(answer), reason=answer.reason)
        else:
            yield unobserved(answer)
    for endpoint in api.endpoints:
        if not (endpoint.is_safe or allow_intrusive):
            yield unknown(
                f"{endpoint.method} {api.url}{endpoint.path.partition('?')[0]} may change something; set "
                "`allow_intrusive: true` on the target to send it.",
                reason=Reason.NOT_CONFIGURED,
            )
