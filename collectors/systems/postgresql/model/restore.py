"""What a restored cluster has to hold, and what a restore came to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from pydantic import Field

from exporter.options import Duration, Options

__all__ = ["RestoreLimits", "RestoreQuery", "Restored"]


class RestoreQuery(Options):
    """A query of the restored cluster that returns one number."""

    sql: str = Field(min_length=1, description="The query, such as `SELECT count(*) FROM orders`.")
    database: str = Field("postgres", min_length=1, description="The database that it is asked in.")
    at_least: float = Field(1, description="Minimum of the number that it returns.")


class RestoreLimits(Options):
    """When a cluster counts as restored."""

    queries: tuple[RestoreQuery, ...] = Field(min_length=1, description="What the restored cluster is asked.")
    role: str = Field("postgres", min_length=1, description="Superuser of the cluster that they are asked as.")
    repeat: Duration = Field(timedelta(days=1), gt=timedelta(0), description="How long a successful restore is valid.")
    objective: Duration | None = Field(None, description="How long it may take until the cluster accepts writes.")


@dataclass(frozen=True, slots=True)
class Restored:
    """A restore: how many seconds passed until it had left recovery, and what each query returned (a text is an error).

    `problem` is why it did not come to that, None where it did.
    """

    seconds: float = 0.0
    answers: tuple[float | str, ...] = ()
    system_identifier: str = ""
    problem: str | None = None
