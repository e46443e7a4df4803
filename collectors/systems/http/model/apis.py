"""APIs with several endpoints to ask."""

from __future__ import annotations

from pydantic import Field

from collectors.systems.http.model.endpoints import Endpoint
from exporter.http import HttpSettings

__all__ = ["Endpoints"]


class Endpoints(HttpSettings):
    """An API and its critical endpoints."""

    endpoints: tuple[Endpoint, ...] = Field(min_length=1, description="Endpoints to ask, and their conditions.")
