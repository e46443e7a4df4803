"""How it is observed that a service logs its requests."""

from __future__ import annotations

from datetime import timedelta
from typing import Self

from pydantic import Field, model_validator

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
    selector: str | None = Field(
        None,
        pattern=SELECTOR,
        description='Stream selector of the logs of the service itself in Loki, such as {namespace="shop", container="api"}.',
    )
    container: str | None = Field(
        None,
        pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
        description="Without Loki: the container of the pods that `pods` selects whose log is read by way of the Kubernetes API.",
    )
    within: Duration = Field(
        timedelta(minutes=2), gt=timedelta(0), description="How long a request may take until its line is there."
    )
    fields: tuple[RequestPart, ...] = Field(
        tuple(RequestPart),
        min_length=1,
        description="What the lines of a request have to show: method, path, status, duration.",
    )

    @model_validator(mode="after")
    def _has_one_place(self) -> Self:
        if (self.selector is None) == (self.container is None):
            raise ValueError("either selector (Loki) or container (logs of pods) is needed")
        return self

    def filled(self, marker: str) -> str:
        """The path with a marker in it."""
        return self.path.replace(_MARKER, marker)

    @property
    def shown_path(self) -> str:
        """The path as sentences name it, without its query."""
        return self.path.partition("?")[0]
