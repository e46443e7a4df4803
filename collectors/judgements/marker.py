"""One marker: a harmless request, or log line, that nobody else can have sent, with secrets in it that are none.

It is looked for where it should arrive, and its secrets where they should not.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from pydantic import Field, model_validator

from exporter.collector import Cannot
from exporter.http import Http, HttpSettings
from exporter.options import Options

__all__ = ["WORD", "Marker", "MarkerWay", "request", "send"]

WORD = "checklist-marker"
"""What every marker begins with."""


_OF_PROXIES = (502, 503, 504)


class Push(HttpSettings):
    """Where the log pipeline takes lines by Loki's push API: promtail's or Alloy's receiver, without `/loki/api/v1/push`."""

    labels: dict[str, str] = Field(min_length=1, description="Labels of the stream to push to.")


class MarkerWay(Options):
    """How a marker is sent: exactly one of `request` and `push`."""

    request: HttpSettings | None = Field(
        None,
        description="Address that the service answers and logs, with User-Agent or query. A GET is sent, with a fake password "
        "and card number in the query, and a fake bearer token unless credentials are given; any answer will do.",
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

    @property
    def secrets(self) -> Mapping[str, str]:
        """The fake secrets, by what they stand for."""
        return {"password": self.password, "bearer token": self.token, "card number": self.card}


async def send(marker: Marker, way: MarkerWay, now_ns: int) -> None:
    """Send a marker. Raises Cannot when the service, or the pipeline, does not answer."""
    if way.request is not None:
        await request(marker, way.request)
    elif way.push is not None:
        await _push(marker, way.push, now_ns)


async def request(marker: Marker, settings: HttpSettings, *, harmless: bool = False) -> None:
    """Send a marker as a request, whatever the service answers; a `harmless` one has none of the secrets.

    Raises Cannot without an answer, or with that of a proxy which does not reach the service.
    """
    headers = {"User-Agent": marker.id, "traceparent": f"00-{marker.trace_id}-{marker.span_id}-01"}
    params = {"marker": marker.id}
    if not harmless:
        params |= {"password": marker.password, "card": marker.card}
        own = {name.lower() for name in settings.headers}
        if settings.bearer_token is None and settings.username is None and "authorization" not in own:
            headers["Authorization"] = f"Bearer {marker.token}"
    http = Http(settings)
    try:
        reply = await http.get(params=params, headers=headers, expect=None)
    finally:
        await http.close()
    if reply.status in _OF_PROXIES:
        raise Cannot(f"{reply.where} answered {reply.status}, as a proxy does that does not reach the service.")


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
        raise Cannot(f"{reply.where} answered {reply.status} with a body, which Loki's push API does not.")
