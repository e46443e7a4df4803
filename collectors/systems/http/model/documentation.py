"""Pages that document an API, and the specification behind them."""

from __future__ import annotations

import json
import re
from enum import StrEnum
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

from pydantic import Field

from collectors.systems.http.model.paths import Path
from exporter.options import Options
from exporter.reply import Reply

__all__ = [
    "SPECIFICATIONS",
    "DocumentationOptions",
    "Exposure",
    "assets",
    "has_inline_script",
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


class _Assets(HTMLParser):
    """Collects what a page loads, scripts and style sheets, and whether it has a script within."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inline = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value for name, value in attrs if value}
        if tag == "script" and "src" in values:
            self.found.append(values["src"])
        elif tag == "script" and values.get("type", "module") in (
            "module",
            "text/javascript",
            "application/javascript",
        ):
            self.inline = True
        elif tag == "link" and "href" in values and "stylesheet" in values.get("rel", "").lower():
            self.found.append(values["href"])


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


def assets(page: Reply, path: str) -> tuple[list[str], list[str]]:
    """The scripts and style sheets that a page wants: paths on its own host, and origins of others (`https://cdn.example`)."""
    own: list[str] = []
    foreign: list[str] = []
    parser = _Assets()
    parser.feed(page.text)
    for named in parser.found:
        target = urlsplit(urljoin(f"http://host{path}", named))
        if target.netloc == "host":
            own.append(target.path)
        else:
            foreign.append(f"{target.scheme if named.startswith('http') else 'https'}://{target.netloc}")
    return list(dict.fromkeys(own)), list(dict.fromkeys(foreign))


def has_inline_script(page: Reply) -> bool:
    """Whether a page starts by a script within itself, as Swagger UI's does."""
    parser = _Assets()
    parser.feed(page.text)
    return parser.inline


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
