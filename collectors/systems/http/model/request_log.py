"""How it is observed that a service logs its requests."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from collectors.shared.selectors import SELECTOR
from collectors.systems.http.model.paths import Path
from collectors.systems.loki.model.requests import RequestPart
from exporter.options import Duration, Options

__all__ = ["RequestLog"]

_MARKER = "{marker}"


class RequestLog(Options):
    """A request that the service logs, and where its logs are."""

    path: Path = Field(
        description="Path to GET; `{marker}` in it becomes a text that no other request has, for logs that name no trace id.",
    )
    selector: str = Field(
        pattern=SELECTOR,
        description='Stream selector of the logs of the service itself in Loki, such as {namespace="shop", container="api"}.',
    )
    within: Duration = Field(
        timedelta(minutes=2), gt=timedelta(0), description="How long a request may take until Loki has its line."
    )
    fields: tuple[RequestPart, ...] = Field(
        tuple(RequestPart),
        min_length=1,
        description="What the lines of a request have to show: method, path, status, duration.",
    )

    def filled(self, marker: str) -> str:
        """The path with a marker in it."""
        return self.path.replace(_MARKER, marker)

    @property
    def shown_path(self) -> str:
        """The path as sentences name it, without its query."""
        return self.path.partition("?")[0]
