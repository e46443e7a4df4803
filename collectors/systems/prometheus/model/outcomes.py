"""Attempts and successes as counters: the options that name them, and what Prometheus has of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from collectors.shared.selectors import SELECTOR
from exporter.options import Duration, Options

__all__ = ["Growth", "Outcomes"]

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
Counter = Annotated[str, StringConstraints(pattern=rf"^{_NAME}(?:{SELECTOR.removeprefix('^').removesuffix('$')})?$")]
"""A counter's name, with or without a selector of its labels."""


class Outcomes(Options):
    """What is attempted, and how much of it succeeds."""

    attempts: tuple[Counter, ...] = Field(
        min_length=1, description="Counters of all that ended, well or not; several are added up."
    )
    succeeded: tuple[Counter, ...] = Field(
        min_length=1,
        description='Counters of what succeeded, such as `openai_requests_total{status="success"}`; several are added up.',
    )
    window: Duration = Field(timedelta(hours=1), ge=timedelta(seconds=1), description="Time that is judged.")
    max_failure_ratio: float = Field(0.05, ge=0, lt=1, description="Share of attempts that may fail.")

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if set(self.attempts) == set(self.succeeded):
            raise ValueError("expected `succeeded` to select less than `attempts`: failures are the difference")
        return self


@dataclass(frozen=True, slots=True)
class Growth:
    """What counters did within the window.

    `present` says whether they have series now, `grown` by how much those grew that were seen to, `added` by how much all did with
    those that began within the window, which count from 0.
    """

    present: bool
    grown: float
    added: float
