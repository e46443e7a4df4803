"""An endpoint to ask, and what must be true of its answer."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from collectors.systems.http.model.conditions import Condition, names
from collectors.systems.http.model.paths import Path
from exporter.options import Options

__all__ = ["Endpoint", "demanded"]

_SUCCESS = "status >= 200 && status < 300"


def _json(text: str) -> str:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("expected JSON") from None
    return text


class Endpoint(Options):
    """One endpoint of an API."""

    method: Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"] = Field(
        "GET", description="Method; all but GET, HEAD and OPTIONS need `allow_intrusive`."
    )
    path: Path = Field(description="Path below `url`, with its query if need be.")
    body: Annotated[str, AfterValidator(_json)] | None = Field(
        None, description='JSON text to send, such as `{"query": "{ me { id } }"}`.'
    )
    conditions: tuple[Condition, ...] = Field(
        min_length=1,
        description="What must be true of the answer, in CEL: `status`, `headers` (names in lower case), `cookies`, `json`, "
        "`text`, `latency`. Unless one of them names `status`, it must be 2xx.",
    )

    warn_unless: tuple[Condition, ...] = Field((), description="Conditions without which the line is a `warning`.")

    @property
    def is_safe(self) -> bool:
        """Whether asking changes nothing, by the definition of its method."""
        return self.method in ("GET", "HEAD", "OPTIONS")


def demanded(conditions: tuple[str, ...]) -> tuple[str, ...]:
    """The conditions, with one on the status where none of them names it."""
    return conditions if any("status" in names(condition) for condition in conditions) else (_SUCCESS, *conditions)
