"""One marker: a harmless request, or log line, that nobody else can have sent, with secrets in it that are none.

It is looked for where it should arrive, and its secrets where they should not.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from pydantic import Field, model_validator

from exporter.http import Http, HttpSettings
from exporter.options import Options
from exporter.verdict import ProbeError

__all__ = ["WORD", "Marker", "MarkerWay", "request", "send"]

WORD = "checklist-marker"
"""What every marker begins with."""


_OF_PROXIES = (502, 503, 504)


class Push(HttpSettings):
    """Where the log pipeline takes lines by Loki's push API: promtail's or Alloy's receiver, without `/loki/api/v1/push`."""

    labels: dict[str, str] = Field(min_length=1, description="Labels of the stream to push to.")


class Request(HttpSettings):
    """A request that the service answers, and logs with its User-Agent or query."""

    query_secrets: bool = Field(
        True, description="Whether the query has a fake password and card number, which most gateways log with it."
    )

    @property
    def has_credentials(self) -> bool:
        """Whether it has credentials of its own, in whose place no fake ones can be sent."""
        named = any(name.lower() == "authorization" for name in self.headers)
        return named or self.bearer_token is not None or self.username is not None

    @model_validator(mode="after")
    def _some_secret(self) -> Self:
        if not self.query_secrets and self.has_credentials:
            raise ValueError("expected `query_secrets`, or no credentials: there would be no fake secret to look for")
        return self


class MarkerWay(Options):
    """How a marker is sent: exactly one of `request` and `push`."""

    request: Request | None = Field(
        None,
        description="Address of the service where a GET is sent, with a fake bearer token unless credentials are given.",
    )
    push: Push | None = Field(None, description="Where the log pipeline takes lines, for what logs no requests.")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.request is None) == (self.push is None):
            raise ValueError("expected exactly one of request and push")
        return self


def _card() -> str:
    """A number that looks like a payment card's, with its check digit."""
    digits = [4, *(secrets.randbelow(10) for _ in range(14))]
    total = sum(sum(divmod(2 * digit, 10)) if place % 2 == 0 else digit for place, digit in enumerate(digits))
    return "".join(map(str, digits)) + str(-total % 10)


@dataclass(frozen=True, slots=True)
class Marker:
    """A fresh marker. `id` may be seen anywhere; the secrets, though fake, must not be."""

    id: str = field(default_factory=lambda: f"{WORD}-{secrets.token_hex(12)}")
    trace_id: str = field(default_factory=lambda: secrets.token_hex(16))
    span_id: str = field(default_factory=lambda: secrets.token_hex(8))
    password: str = field(default_factory=lambda: f"fake-{secrets.token_hex(12)}", repr=False)
    token: str = field(default_factory=lambda: f"fake-{secrets.token_hex(20)}", repr=False)
    card: str = field(default_factory=_card, repr=False)


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
    told = "\n".join((*query.values(), *headers.values()))
    return {kind: secret for kind, secret in sent.items() if secret in told}


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
    http = Http(settings)
    try:
        reply = await http.get(
            params={"marker": marker.id, **(query or {})}, headers={**own, **(headers or {})}, expect=None
        )
    finally:
        await http.close()
    if reply.status in _OF_PROXIES:
        raise ProbeError(f"{reply.where} answered {reply.status}, as a proxy does that does not reach the service.")


async def _push(marker: Marker, settings: Push, now_ns: int) -> None:
    line = (
        f'level=info msg="{marker.id}" trace_id={marker.trace_id} password={marker.password} '
        f'authorization="Bearer {marker.token}" card={marker.card}'
    )
    stream = {"stream": settings.labels, "values": [[str(now_ns), line]]}
    http = Http(settings)
    try:
        reply = await http.request("POST", "/loki/api/v1/push", json={"streams": [stream]}, expect=(200, 204))
    finally:
        await http.close()
    if reply.body.strip():
        raise ProbeError(f"{reply.where} answered {reply.status} with a body, which Loki's push API does not.")
