"""Pages that document an API, and the specification behind them."""

from __future__ import annotations

import json
import re
from enum import StrEnum
from urllib.parse import urljoin, urlsplit

from pydantic import Field

from collectors.systems.http.model.paths import Path
from exporter.options import Options
from exporter.reply import Reply

__all__ = [
    "SPECIFICATIONS",
    "DocumentationOptions",
    "Exposure",
    "operations",
    "specification_path",
]

SPECIFICATIONS = (
    "/openapi.json",
    "/docs-json",
    "/v3/api-docs",
    "/swagger.json",
    "/swagger/v1/swagger.json",
    "/api-json",
)
"""Where frameworks serve the specification: FastAPI, NestJS, springdoc, and others."""

_METHODS = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace", "query", "$ref"})
_NAMED = re.compile(r"""(?:\burl\s*:\s*|\bspec-url\s*=\s*)["']([^"'\s]+)["']""")


class Exposure(StrEnum):
    """Who may read the documentation."""

    INTERNAL = "internal"
    PUBLIC = "public"
    DISABLED = "disabled"


class DocumentationOptions(Options):
    """Where an API's documentation is, and who may read it."""

    docs_exposure: Exposure = Field(
        Exposure.INTERNAL,
        description="internal: readable at `url`, and not at `public_url`; public: readable at `public_url` (or `url`); disabled: "
        "neither pages nor specification are served.",
    )
    spec_path: Path | None = Field(
        None, description="Path of the OpenAPI document; by default the one that the page names, else the usual ones."
    )


def specification_path(page: Reply, path: str) -> str | None:
    """The path of the specification that a page names, on the same host; None where it names none."""
    for named in _NAMED.findall(page.text):
        target = urlsplit(urljoin(f"http://host{path}", named))
        if target.netloc == "host" and (
            target.path.endswith((".json", "-json", "api-docs")) or "openapi" in target.path
        ):
            return str(target.path)
    return None


def operations(reply: Reply) -> int | None:
    """How many paths with an operation a specification has; None where the reply is no OpenAPI or Swagger document."""
    try:
        document = json.loads(reply.body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or not isinstance(document.get("openapi") or document.get("swagger"), str):
        return None
    paths = document.get("paths")
    items = paths.values() if isinstance(paths, dict) else ()
    return sum(isinstance(item, dict) and bool(_METHODS & item.keys()) for item in items)
