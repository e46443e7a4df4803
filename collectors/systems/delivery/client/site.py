"""Which sites are requested, and how."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from exporter.http import HttpSettings
from exporter.options import Duration

__all__ = ["Site"]


class Site(HttpSettings):
    """One public site or API, at the address that its users use."""

    name: str = Field(min_length=1, description="Name of the site, for sentences.")
    pages: tuple[str, ...] = Field(
        ("/",),
        min_length=1,
        description="Paths of pages, scripts or API replies of 2 kB or more that must be compressed.",
    )
    assets: tuple[str, ...] = Field((), description="Paths of static files that a CDN must serve from its cache.")
    cache_pause: Duration = Field(
        timedelta(seconds=2), description="Pause before a static file is requested for the third time."
    )
    http3: bool = Field(
        False, description="Demand HTTP/3; it is requested for real (requires checklist-exporter[http3])."
    )
