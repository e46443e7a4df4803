"""A whole reply to an HTTP request, as those read it who did not ask."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from exporter.verdict import ProbeError

__all__ = ["Reply"]


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply. `where` names what was asked, for sentences; it has no credentials and no query.

    `certificate` is that of the server in DER, where the connection is encrypted.
    """

    where: str
    status: int
    headers: httpx.Headers
    body: bytes
    certificate: bytes = b""

    @property
    def text(self) -> str:
        """The body as UTF-8, with what is no UTF-8 replaced."""
        return self.body.decode("utf-8", "replace")

    @property
    def date(self) -> datetime | None:
        """When it was made, by the server's clock; None where it does not say."""
        try:
            date = parsedate_to_datetime(self.headers.get("date", ""))
        except (ValueError, OverflowError):
            return None
        return date if date.tzinfo else None

    def json(self) -> Any:
        """The body as JSON; raises ProbeError when it is something else (a login page, half a reply)."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise ProbeError(
                f"{self.where} answered {self.status} with {self.kind}, where JSON was expected."
            ) from None

    @property
    def kind(self) -> str:
        """What the body looks like, in words."""
        if not self.body.strip():
            return "an empty body"
        if self.body.lstrip()[:1] == b"<":
            return "an HTML page"
        content_type = self.headers.get("content-type", "").partition(";")[0].strip()
        return f"{len(self.body)} bytes of {content_type or 'unnamed content'} that do not parse"
