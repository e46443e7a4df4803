"""Asks an API for templates, one by one: lists have pages, and of a part of a list nothing follows."""

from __future__ import annotations

import asyncio
from typing import Annotated
from urllib.parse import quote

from pydantic import Field

from collectors.systems.templates.model import Template, is_filled
from exporter.http import Http, HttpSettings

__all__ = ["CONTROL", "TemplateApi", "ask_templates"]

CONTROL = "checklist-exporter-no-such-template"
"""A name that no template has: an API that finds it finds everything."""


class TemplateApi(HttpSettings):
    """The API of whoever keeps the templates: the provider's, or the product's own."""

    path: str = Field(
        pattern=r"^/[^{}]*\{name\}[^{}]*$",
        description="Path of one template, in which {name} stands for its name or identifier, such as /v3/templates/{name}.",
    )
    required: tuple[Annotated[str, Field(pattern=r"^\S{1,200}$")], ...] = Field(
        min_length=1, description="Names or identifiers of the templates that the product uses."
    )
    filled: tuple[Annotated[str, Field(pattern=r"^/.+$")], ...] = Field(
        min_length=1,
        description="JSON pointers (RFC 6901) at which each template must have something, such as /versions/0/subject.",
    )


async def ask_templates(api: TemplateApi) -> tuple[list[Template], Template]:
    """What the API answers for each required template, and for one that does not exist. Raises ProbeError without an answer."""

    async def ask(http: Http, name: str) -> Template:
        reply = await http.get(api.path.replace("{name}", quote(name, safe="")), expect=None)
        if reply.status != 200 or name == CONTROL:
            return Template(name, reply.where, reply.status)
        document = reply.json()
        empty = tuple(pointer for pointer in api.filled if not is_filled(document, pointer))
        return Template(name, reply.where, 200, empty)

    async with Http(api) as http:
        *found, control = await asyncio.gather(*(ask(http, name) for name in (*api.required, CONTROL)))
    return found, control
