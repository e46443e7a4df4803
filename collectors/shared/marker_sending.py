"""Sends a marker: as a request to a service, or as a line to a log pipeline."""

from __future__ import annotations

from collections.abc import Mapping

from collectors.shared.marker import Marker, MarkerWay, Push
from exporter.http import Http, HttpSettings
from exporter.verdict import ProbeError, Reason

__all__ = ["request", "send"]

_OF_PROXIES = (502, 503, 504)


async def send(marker: Marker, way: MarkerWay, now_ns: int) -> Mapping[str, str]:
    """Send a marker, and return the fake secrets that went with it, by what they stand for.

    Raises ProbeError when the service, or the pipeline, does not answer.
    """
    sent = {"password": marker.password, "card number": marker.card, "bearer token": marker.token}
    if way.push is not None:
        await _push(marker, way.push, now_ns)
        return sent
    assert way.request is not None
    query = {"password": marker.password, "card": marker.card} if way.request.query_secrets else {}
    headers = {} if way.request.has_credentials else {"Authorization": f"Bearer {marker.token}"}
    await request(marker, way.request, query, headers)
    text = "\n".join((*query.values(), *headers.values()))
    return {kind: secret for kind, secret in sent.items() if secret in text}


async def request(
    marker: Marker,
    settings: HttpSettings,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> None:
    """Send a marker as a request, whatever the service answers, with no secrets but those in `query` and `headers`.

    Raises ProbeError without an answer, or with that of a proxy which does not reach the service.
    """
    own = {"User-Agent": marker.id, "traceparent": f"00-{marker.trace_id}-{marker.span_id}-01"}
    async with Http(settings) as http:
        reply = await http.get(
            params={"marker": marker.id, **(query or {})}, headers={**own, **(headers or {})}, expect=None
        )
    if reply.status in _OF_PROXIES:
        raise ProbeError(
            f"{reply.where} answered {reply.status}, as a proxy does that does not reach the service.",
            Reason.UNREACHABLE,
        )


async def _push(marker: Marker, settings: Push, now_ns: int) -> None:
    line = (
        f'level=info msg="{marker.id}" trace_id={marker.trace_id} password={marker.password} '
        f'authorization="Bearer {marker.token}" card={marker.card}'
    )
    stream = {"stream": settings.labels, "values": [[str(now_ns), line]]}
    async with Http(settings) as http:
        reply = await http.request("POST", "/loki/api/v1/push", json={"streams": [stream]}, expect=(200, 204))
    if reply.body.strip():
        raise ProbeError(
            f"{reply.where} answered {reply.status} with a body, which Loki's push API does not.", Reason.MALFORMED
        )
