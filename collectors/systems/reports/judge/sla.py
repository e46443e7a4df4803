"""Whether what was promised is held, by what a metrics server measured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Self

from pydantic import Field, model_validator

from exporter.options import Options
from exporter.verdict import Reason, Result, failed, unknown
from exporter.words import counted

__all__ = ["Objective", "objective_problems"]


class Objective(Options):
    """One promise: a query and the limits of each value that it returns."""

    name: str = Field(min_length=1, max_length=100, description="What is promised, such as availability.")
    query: str = Field(
        min_length=1,
        description="PromQL expression over the period that counts, such as the ratio of successful requests in 30 days.",
    )
    at_least: float | None = Field(None, allow_inf_nan=False, description="Minimum of each value.")
    at_most: float | None = Field(None, allow_inf_nan=False, description="Maximum of each value.")
    requests: str | None = Field(
        None, min_length=1, description="PromQL expression of the number of requests that the value rests on."
    )
    min_requests: int = Field(1000, ge=1, description="Minimum number of requests in that period.")

    @model_validator(mode="after")
    def _limited(self) -> Self:
        if self.at_least is None and self.at_most is None:
            raise ValueError("expected at_least or at_most")
        return self


def objective_problems(
    objective: Objective, values: Sequence[float], requests: Sequence[float] | None = None
) -> Iterator[Result]:
    """Which values are beyond the limits; nothing returned, values that are no numbers and too few requests prove nothing."""
    name = f"Objective {objective.name}"
    finite = [value for value in values if math.isfinite(value)]
    if objective.at_least is not None and (low := [value for value in finite if value < objective.at_least]):
        yield failed(f"{name} is {min(low):.6g} (at least {objective.at_least:.6g} promised).", reason=Reason.LIMIT)
    if objective.at_most is not None and (high := [value for value in finite if value > objective.at_most]):
        yield failed(f"{name} is {max(high):.6g} (at most {objective.at_most:.6g} promised).", reason=Reason.LIMIT)
    if not values:
        yield unknown(f"{name} was not measured: its query returns nothing.", reason=Reason.MISSING)
    elif odd := len(values) - len(finite):
        yield unknown(
            f"{name} was not measured in {counted(odd, 'series', 'series')}: no number.", reason=Reason.MISSING
        )
    ratio = objective.at_least is not None and 0 < objective.at_least <= 1 and objective.at_most is None
    if ratio and any(value > 1 + 1e-9 for value in finite):
        yield unknown(f"{name} is {max(finite):.6g}, which is no ratio of at most 1.", reason=Reason.MISCONFIGURED)
    if requests is not None:
        total = sum(value for value in requests if math.isfinite(value))
        if total < objective.min_requests:
            yield unknown(
                f"{name} rests on {total:.0f} requests (at least {objective.min_requests} wanted).",
                reason=Reason.MISSING,
            )
