"""APIs: several endpoints to ask, or a pipeline."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from collectors.systems.http.model.endpoints import Endpoint
from collectors.systems.http.model.pipelines import Question
from exporter.http import HttpSettings
from exporter.options import Duration

__all__ = ["Endpoints", "Pipeline"]


class Endpoints(HttpSettings):
    """An API and its critical endpoints."""

    endpoints: tuple[Endpoint, ...] = Field(min_length=1, description="Endpoints to ask, and their conditions.")


class Pipeline(HttpSettings, Question):
    """An API and what to ask the pipeline behind it."""

    timeout: Duration = Field(timedelta(seconds=20), gt=timedelta(0), description="Timeout of one request in total.")

    @property
    def longest(self) -> timedelta:
        """How long a run may take."""
        return self.timeout + (self.poll.within if self.poll else timedelta(0))
