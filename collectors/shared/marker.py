"""One marker: a harmless request, or log line, that nobody else can have sent, with fake secrets in it; and how it may be sent.

It is looked for where it should arrive, and its secrets where they should not.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Self

from pydantic import Field, model_validator

from exporter.http import HttpSettings
from exporter.options import Options

__all__ = ["WORD", "Marker", "MarkerWay", "Push", "Request"]

WORD = "checklist-marker"
"""What every marker begins with."""


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
