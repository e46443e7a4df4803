"""What a Prefect server answers about its work pools and the runs in them, and the limits that are put on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
from pydantic import Field

from exporter.options import Duration, Options

__all__ = ["Ended", "Limits", "Pool", "Queue", "Run", "Seen", "Worker"]


class Limits(Options):
    """Which work pools are checked, and what is expected of the runs in them."""

    work_pools: tuple[str, ...] = Field(min_length=1, description="Names of the work pools to check.")
    late_after: Duration = Field(
        timedelta(minutes=5),
        gt=timedelta(0),
        description="How long a run may wait for its start after its time has come.",
    )
    max_silence: Duration = Field(
        timedelta(minutes=2), gt=timedelta(0), description="How long ago workers may have asked a queue for runs."
    )
    max_run_time: Duration = Field(
        timedelta(days=1),
        gt=timedelta(0),
        description="How long a run may be running: one whose process has died is RUNNING for ever.",
    )
    window: Duration = Field(timedelta(days=1), gt=timedelta(0), description="Time whose runs are judged.")
    max_failure_ratio: float = Field(0.05, ge=0, lt=1, description="Share of the runs that may fail or crash.")


class _Struct(msgspec.Struct, frozen=True, gc=False):
    """Unknown fields are ignored: newer versions add some."""


class Pool(_Struct, frozen=True):
    """A work pool; `concurrency_limit` is how many runs it lets run at a time, None any number."""

    name: str
    type: str
    is_paused: bool
    concurrency_limit: int | None = None

    @property
    def has_workers(self) -> bool:
        """Whether workers take its runs: others are handed to a service of a cloud."""
        return not self.type.endswith(":push") and self.type != "prefect:managed"


class Worker(_Struct, frozen=True):
    """A worker that has reported to a pool, and may have died since."""

    name: str
    last_heartbeat_time: datetime
    heartbeat_interval_seconds: float | None = None


class Queue(_Struct, frozen=True):
    """A queue of a pool, and when a worker last asked it for runs."""

    name: str
    created: datetime
    is_paused: bool = False
    concurrency_limit: int | None = None
    last_polled: datetime | None = None


class _State(_Struct, frozen=True):
    timestamp: datetime


class Run(_Struct, frozen=True):
    """A run of a flow: `waits_since` is when it was wanted."""

    name: str
    state_name: str
    state: _State
    expected_start_time: datetime | None = None
    next_scheduled_start_time: datetime | None = None
    start_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """How many runs ended within the window, by how."""

    completed: int
    failed: int
    crashed: int

    @property
    def all(self) -> int:
        """All of them."""
        return self.completed + self.failed + self.crashed


@dataclass(frozen=True, slots=True)
class Seen:
    """A pool at one moment, `now` by the server's clock: None where there is no such pool.

    `late` are runs whose time has come, `pending` those that a worker has taken and not begun, `long` those that are running for
    longer than they may: the first of each, and how many there are.
    """

    where: str
    name: str
    now: datetime
    pool: Pool | None
    workers: Sequence[Worker] = ()
    queues: Sequence[Queue] = ()
    late: tuple[Run | None, int] = (None, 0)
    pending: tuple[Run | None, int] = (None, 0)
    long: tuple[Run | None, int] = (None, 0)
    ended: Ended = Ended(0, 0, 0)
