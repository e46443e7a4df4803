"""Pages that document an API, and the specification behind them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Any
from urllib.parse import urljoin, urlsplit

from pydantic import Field

from collectors.systems.http.model.paths import Path
from exporter.options import Options
from exporter.reply import Reply

__all__ = [
    "SPECIFICATIONS",
    "DocumentationOptions",
    "Exposure",
    "configuration_named",
    "is_sample",
    "operations",
    "specifications_configured",
    "specifications_named",
    "starts",
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
#: Swagger UI, Redoc, RapiDoc, Scalar and Stoplight Elements.
_NAMED = re.compile(
    r"""(?:\burl["']?\s*:\s*|\b(?:spec-url|data-url|apiDescriptionUrl)\s*=\s*|\bRedoc\.init\(\s*)["']([^"'\s]+)["']"""
)
#: In scripts, which may hold a whole document with addresses of its own, only what is written as options are.
_OPTION = re.compile(r"""\burl\s*:\s*["']([^"'\s]+)["']""")
_CONFIGURATION = re.compile(r"""\bconfigUrl["']?\s*:\s*["']([^"'\s]+)["']""")
_DOCUMENTS = (".json", ".yaml", ".yml", "-json", "-yaml", "api-docs")
_FILLED_IN = re.compile(r"[${}<>%]")
_SAMPLE = "petstore"
_LONGEST_YAML = 2**20


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


def specifications_named(page: Reply, scripts: Iterable[Reply] = ()) -> list[str]:
    """The addresses of the specifications that a page names, itself or in the scripts that start it."""
    found = _NAMED.findall(page.text) + [
        named for script in scripts if starts(script.where) for named in _OPTION.findall(script.text)
    ]
    return _documents(page, found)


def starts(address: str) -> bool:
    """Whether a script has the options of a page, by its address: `swagger-initializer.js`, `swagger-ui-init.js`."""
    return "init" in address.rpartition("/")[2]


def configuration_named(page: Reply, scripts: Iterable[Reply] = ()) -> str | None:
    """The address at which a page says that its options are, as springdoc's does; None where it does not."""
    for one in (page, *(script for script in scripts if starts(script.where))):
        for named in _CONFIGURATION.findall(one.text):
            return str(urljoin(page.where.partition(" ")[2], named))
    return None


def specifications_configured(page: Reply, configuration: Reply) -> list[str]:
    """The addresses of the specifications in options that a page loads; none where it cannot load them."""
    try:
        document = json.loads(configuration.body)
    except (ValueError, RecursionError):
        return []
    if configuration.status != 200 or not isinstance(document, dict):
        return []
    several = document.get("urls")
    several = several if isinstance(several, list) else []
    named = [one.get("url") for one in several if isinstance(one, dict)] or [document.get("url")]
    return _documents(page, [one for one in named if isinstance(one, str)])


def _documents(page: Reply, named: Iterable[str]) -> list[str]:
    # What a script or a template fills in is known only once it has.
    targets = [urljoin(page.where.partition(" ")[2], one) for one in named if not _FILLED_IN.search(one)]
    paths = {target: urlsplit(target).path for target in targets}
    return [
        target for target, path in paths.items() if path.endswith(_DOCUMENTS) or "openapi" in path or "swagger" in path
    ]


def is_sample(address: str) -> bool:
    """Whether an address is that of the sample which Swagger UI shows until it is configured."""
    return _SAMPLE in (urlsplit(address).hostname or "")


def operations(reply: Reply) -> int | None:
    """How many paths with an operation a specification has; None where the reply is no OpenAPI or Swagger document.

    YAML takes its time: call it where that holds up nobody.
    """
    try:
        document = json.loads(reply.body)
    except RecursionError:
        return None
    except ValueError:
        document = _yaml(reply)
    if not isinstance(document, dict) or not isinstance(document.get("openapi") or document.get("swagger"), str):
        return None
    paths = document.get("paths")
    items = paths.values() if isinstance(paths, dict) else ()
    return sum(isinstance(item, dict) and bool(_METHODS & item.keys()) for item in items)


def _yaml(reply: Reply) -> Any:
    import yaml

    if len(reply.body) > _LONGEST_YAML or not re.search(
        rb"^[\"']?(?:openapi|swagger)[\"']?\s*:", reply.body, re.MULTILINE
    ):
        return None
    try:
        return yaml.load(reply.body, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
