"""What a Temporal server answers about task queues, workflows and schedules, and the limits that are put on them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self

import msgspec
from pydantic import Field, model_validator

from exporter.options import Duration, Options
from exporter.verdict import ProbeError, Reason

__all__ = [
    "Closed",
    "Described",
    "Kind",
    "Limits",
    "Listed",
    "Numbered",
    "Poller",
    "Schedule",
    "Seen",
    "Stats",
    "TaskQueue",
    "age",
]

_SECONDS = re.compile(r"(\d+(?:\.\d+)?)s")


class Kind(StrEnum):
    """What a poller of a task queue asks for."""

    WORKFLOW = "workflow"
    ACTIVITY = "activity"

    @property
    def parameter(self) -> str:
        """Its name in the API."""
        return f"TASK_QUEUE_TYPE_{self.name}"


class TaskQueue(Options):
    """A task queue, and what its workers run."""

    name: str = Field(min_length=1, description="Name of the task queue.")
    workflows: bool = Field(True, description="Whether its workers run workflows.")
    activities: bool = Field(True, description="Whether its workers run activities.")

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.workflows and not self.activities:
            raise ValueError("expected `workflows` or `activities`: workers of this task queue run neither")
        return self

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What its pollers have to ask for."""
        return (Kind.WORKFLOW,) * self.workflows + (Kind.ACTIVITY,) * self.activities


class Limits(Options):
    """Which namespace and task queues are checked, and what is expected of the workflows in them."""

    namespace: str = Field("default", pattern=r"^[\w.-]+$", description="Namespace of the workflows.")
    task_queues: tuple[TaskQueue, ...] = Field(min_length=1, description="Task queues whose workers have to poll.")
    schedules: tuple[str, ...] = Field((), description="Schedules that have to start workflows.")
    max_silence: Duration = Field(
        timedelta(minutes=3),
        gt=timedelta(minutes=1),
        description="How long ago a worker may have polled; one poll lasts up to a minute.",
    )
    max_backlog_age: Duration = Field(
        timedelta(minutes=5), gt=timedelta(0), description="How long a task may wait in its queue."
    )
    max_run_time: Duration | None = Field(
        None,
        gt=timedelta(0),
        description="How long a workflow may be running, such as one whose activity fails and is tried again for ever; by default "
        "as long as it likes.",
    )
    window: Duration = Field(timedelta(days=1), gt=timedelta(0), description="Time whose workflows are judged.")
    max_failure_ratio: float = Field(0.05, ge=0, lt=1, description="Share of the workflows that may fail or time out.")


class _Struct(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """Unknown fields are ignored: newer versions add some. What is zero or empty is left out of answers."""


class Poller(_Struct, frozen=True):
    """A worker that polls, or did so until some minutes ago."""

    last_access_time: datetime
    identity: str = ""


class Stats(_Struct, frozen=True):
    """How many tasks wait, and for how long the first of them has, as protobuf writes numbers and lengths of time in JSON."""

    approximate_backlog_count: str = "0"
    approximate_backlog_age: str = "0s"


class Described(_Struct, frozen=True):
    """A task queue's pollers of one kind, and what waits for them; `stats` is None on servers that do not count it."""

    pollers: tuple[Poller, ...] = ()
    stats: Stats | None = None

    @property
    def backlog(self) -> int:
        """How many tasks wait."""
        return int(self.stats.approximate_backlog_count) if self.stats else 0

    @property
    def backlog_age(self) -> timedelta:
        """How long the first of them has waited. Raises ProbeError when that cannot be understood."""
        return age(self.stats.approximate_backlog_age) if self.stats else timedelta(0)


def age(text: str) -> timedelta:
    """A length of time as protobuf writes it in JSON, such as `12.5s`. Raises ProbeError for anything else."""
    if (found := _SECONDS.fullmatch(text)) is None:
        raise ProbeError(
            f"Temporal answered a length of time that cannot be understood: {text[:40]!r}.", Reason.MALFORMED
        )
    return timedelta(seconds=float(found[1]))


class Numbered(_Struct, frozen=True):
    """The answer to a question for a number."""

    count: str = "0"


class _Execution(_Struct, frozen=True):
    workflow_id: str


class Workflow(_Struct, frozen=True):
    """A workflow that is running."""

    execution: _Execution
    task_queue: str = ""


class Listed(_Struct, frozen=True):
    """Workflows, one page of them."""

    executions: tuple[Workflow, ...] = ()


class _ScheduleState(_Struct, frozen=True):
    paused: bool = False
    limited_actions: bool = False
    remaining_actions: str = "0"


class _ScheduleBody(_Struct, frozen=True):
    state: _ScheduleState = _ScheduleState()


class _ScheduleInfo(_Struct, frozen=True):
    future_action_times: tuple[datetime, ...] = ()


class Schedule(_Struct, frozen=True):
    """A schedule: whether it is paused, and when it starts the next workflows."""

    schedule: _ScheduleBody = _ScheduleBody()
    info: _ScheduleInfo = _ScheduleInfo()


@dataclass(frozen=True, slots=True)
class Closed:
    """How many workflows closed within the window, by how; those that went on as a new run are `completed`."""

    completed: int
    failed: int
    timed_out: int

    @property
    def all(self) -> int:
        """All of them."""
        return self.completed + self.failed + self.timed_out


@dataclass(frozen=True, slots=True)
class Seen:
    """A namespace at one moment, `now` by the server's clock; `exists` says whether there is such a namespace.

    `queues` are the configured task queues by name and kind, `others` those of running workflows that are not configured, with one
    of these workflows. `schedules` are None where there is none of this name. `stuck` is how many workflows are running whose
    tasks fail again and again: None on servers that do not say. `overdue` is how many have been running for longer than they may.
    """

    where: str
    now: datetime
    exists: bool = True
    queues: Mapping[tuple[str, Kind], Described] | None = None
    others: Sequence[tuple[str, str, Described]] = ()
    schedules: Mapping[str, Schedule | None] | None = None
    stuck: int | None = None
    overdue: int = 0
    closed: Closed = Closed(0, 0, 0)
