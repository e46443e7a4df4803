"""Pipelines that cost something at each run, such as those that ask a model: what to ask, and what may be spent."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Self

from pydantic import Field, model_validator

from collectors.systems.http.model.conditions import Condition, Expression, Quantity
from collectors.systems.http.model.paths import Path
from collectors.systems.http.model.steps import Variable, fill, variables_of
from exporter.options import Duration, Options

__all__ = ["Polling", "Question", "Spent", "fresh_question"]

_SHORTEST = timedelta(minutes=5)


class Polling(Options):
    """How the result of an asynchronous pipeline is asked for."""

    path: Path = Field(description="Path to GET; takes variables, such as `/jobs/$(job)`.")
    until: Condition = Field(description="What is true of the answer once it is the result, in CEL.")
    within: Duration = Field(timedelta(seconds=15), gt=timedelta(0), description="How long the result may take.")
    interval: Duration = Field(timedelta(seconds=1), gt=timedelta(0), description="Time between two requests.")


class Question(Options):
    """A question for a pipeline, whose answer only a working one can give, and what it may cost."""

    method: Literal["GET", "POST", "PUT"] = Field("POST", description="Method.")
    path: Path = Field(description="Path below `url`, with its query if need be.")
    body: str | None = Field(
        None,
        description="JSON text to send. `$(nonce)` is a fresh text, `$(a)` and `$(b)` are fresh numbers and `$(sum)` is their sum.",
    )
    extract: dict[Variable, Expression] = Field(
        default_factory=dict,
        description="Variables for `poll.path`, each with what to take out of the answer in CEL, such as `json.id`.",
    )
    poll: Polling | None = Field(
        None, description="How to ask for the result, where the first answer only accepts the question."
    )
    conditions: tuple[Condition, ...] = Field(
        min_length=1,
        description="What must be true of the result, in CEL; see `endpoints`. Takes the variables of `body`, such as "
        '`json.answer.contains("$(sum)")`.',
    )
    every: Duration = Field(timedelta(hours=1), ge=_SHORTEST, description="Minimum time between two runs.")
    max_runs_per_day: int = Field(24, ge=1, le=288, description="Maximum number of runs in a day (UTC).")
    usage: Quantity | None = Field(
        None,
        description="What a run has used up, as a number to take out of the result in CEL, such as `json.usage.total_tokens`.",
    )
    max_usage: float | None = Field(None, gt=0, description="Maximum that one run may use up, in the unit of `usage`.")
    max_usage_per_day: float | None = Field(
        None, gt=0, description="Maximum that the runs of a day (UTC) may use up together, in the unit of `usage`."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        known = fresh_question()
        for option, text in (("body", self.body or ""), *(("conditions", text) for text in self.conditions)):
            _known(option, text, known)
        if self.body is not None:
            try:
                json.loads(fill(self.body, known))
            except (ValueError, RecursionError):
                raise ValueError("expected `body` to be JSON") from None
        if self.poll is None:
            if self.extract:
                raise ValueError("expected `poll` where `extract` is set: nothing else takes the variables")
        else:
            _known("poll.path", self.poll.path, self.extract)
            _known("poll.until", self.poll.until, known)
            if unused := sorted(self.extract.keys() - variables_of(self.poll.path)):
                raise ValueError(f"the variable {unused[0]} is extracted, and poll.path does not use it")
        if self.usage is None and (self.max_usage or self.max_usage_per_day):
            raise ValueError("expected `usage` where max_usage or max_usage_per_day is set")
        if self.max_usage_per_day and self.max_usage_per_day < (self.max_usage or 0):
            raise ValueError("expected max_usage_per_day to suffice for one run of max_usage")
        return self


def _known(option: str, text: str, known: Iterable[str]) -> None:
    if unknown := sorted(variables_of(text) - set(known)):
        raise ValueError(f"{option} uses $({unknown[0]}), which is not known there (write $$( for the characters)")


def fresh_question() -> dict[str, str]:
    """Variables that no earlier run had: an answer that is kept, or made up, cannot fit them."""
    a, b = secrets.randbelow(400) + 100, secrets.randbelow(400) + 100
    return {"nonce": secrets.token_hex(6), "a": str(a), "b": str(b), "sum": str(a + b)}


@dataclass(frozen=True, slots=True)
class Spent:
    """When a pipeline was last tried, whether it passed, and what the day of that has cost; kept as measurements."""

    at: datetime
    passed: bool = False
    runs: int = 0
    used: float = 0.0

    def measurements(self) -> dict[str, float]:
        """What outlives the process."""
        return {
            "last_try_timestamp_seconds": self.at.timestamp(),
            "last_try_passed": float(self.passed),
            "runs_of_the_day": float(self.runs),
            "usage_of_the_day": self.used,
        }

    @classmethod
    def recalled(cls, measured: Mapping[str, float], now: datetime) -> Spent | None:
        """What measurements say; None where they say nothing."""
        if "last_try_timestamp_seconds" not in measured:
            return None
        at = datetime.fromtimestamp(measured["last_try_timestamp_seconds"], now.tzinfo)
        return cls(
            min(at, now),
            bool(measured.get("last_try_passed")),
            int(measured.get("runs_of_the_day", 0)),
            measured.get("usage_of_the_day", 0.0),
        )

    def on(self, day: datetime) -> Spent:
        """The same, with nothing spent where the day is a later one."""
        return self if self.at.date() == day.date() else Spent(self.at, self.passed)
