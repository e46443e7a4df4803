"""Queues in Redis, what shows that workers take tasks from them, and the options that limit both."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from exporter.options import Duration, Options

__all__ = [
    "BullQueue",
    "Framework",
    "Heads",
    "Queue",
    "Seen",
    "WorkerLimits",
    "bull_pollers",
    "digest",
    "pollers",
    "waits",
]


class Framework(StrEnum):
    """What runs the tasks."""

    CELERY = "celery"
    ARQ = "arq"
    DRAMATIQ = "dramatiq"
    RQ = "rq"
    BULLMQ = "bullmq"


_DEFAULT_QUEUES: Mapping[Framework, str] = {
    Framework.CELERY: "celery",
    Framework.ARQ: "arq:queue",
    Framework.DRAMATIQ: "default",
    Framework.RQ: "default",
}


QueueName = Annotated[str, StringConstraints(pattern=r"^[!-~]+$", max_length=200)]


class WorkerLimits(Options):
    """What runs the tasks of a service, from which queues, and what is expected of it."""

    framework: Framework = Field(description="celery, arq, dramatiq, rq or bullmq.")
    database: int = Field(0, ge=0, description="Number of the database in it.")
    queues: tuple[QueueName, ...] = Field(
        (),
        description="Names of the queues; by default the framework's own (`celery`, `arq:queue`, `default` of dramatiq and rq). "
        "BullMQ has none, and a prefix of its keys other than `bull` stands before the name: `{shop}:orders`.",
    )
    max_silence: Duration = Field(
        timedelta(seconds=60), gt=timedelta(0), description="How long workers may have shown no sign of life."
    )
    max_wait: Duration = Field(
        timedelta(minutes=5), gt=timedelta(0), description="How long the task whose turn it is may wait."
    )
    health_check_interval: Duration = Field(
        timedelta(hours=1),
        gt=timedelta(0),
        description="With arq: `health_check_interval` of its WorkerSettings, whose default is one hour.",
    )

    @model_validator(mode="after")
    def _named(self) -> Self:
        if not self.queues and self.framework not in _DEFAULT_QUEUES:
            raise ValueError(f"queues is required with {self.framework.value}")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The queues to check."""
        return self.queues or (_DEFAULT_QUEUES[self.framework],)


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue: how many tasks wait, a digest of the one whose turn it is, and for how long that is known to wait."""

    name: str
    waiting: int
    head: str | None = None
    waits: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What Redis has of a service's queues and workers.

    `silences` are the times since workers last showed a sign of life: one for each poller (Celery), the last report by queue
    (ARQ; without an entry there is none), the newest heartbeat (Dramatiq), zero by queue (RQ: a worker of it is connected), the
    one that asked last by queue (BullMQ; zero where one holds the lock of a task).
    `unacknowledged` are tasks that Celery's workers took, `suspended` is whether RQ's workers were told to take none. Of BullMQ,
    `busy` are queues on a task of which a worker works, `paused` those from which none is taken, and `overdue` is for how long a
    task that was put off is due.
    """

    where: str
    queues: Sequence[Queue]
    silences: Mapping[str, timedelta]
    unacknowledged: int = 0
    suspended: bool = False
    busy: Sequence[str] = ()
    paused: Sequence[str] = ()
    overdue: Mapping[str, timedelta] = field(default_factory=dict)


Heads = MutableMapping[str, tuple[str, datetime]]
"""The task whose turn it is, and when that was first observed, by queue."""


def digest(task: str) -> str:
    """What tells one task from another, without what is in it."""
    return hashlib.sha256(task.encode()).hexdigest()[:16]


def waits(queues: Sequence[Queue], heads: Heads, now: datetime) -> list[Queue]:
    """The queues with how long the task whose turn it is has waited since it was first observed, which `heads` remembers."""
    found = []
    for queue in queues:
        if queue.head is None:
            heads.pop(queue.name, None)
            found.append(queue)
            continue
        known = heads.get(queue.name)
        if known is None or known[0] != queue.head or now < known[1]:
            known = heads[queue.name] = (queue.head, now)
        found.append(replace(queue, waits=now - known[1]))
    return found


@dataclass(frozen=True, slots=True)
class BullQueue:
    """The keys of a queue of BullMQ, and what its workers call their connections."""

    prefix: str
    own: str

    @classmethod
    def parse(cls, name: str) -> BullQueue:
        """A queue by its name, which may have the prefix of its keys before it; names themselves hold no colon."""
        prefix, _, own = name.rpartition(":")
        return cls(prefix or "bull", own)

    def key(self, what: str) -> str:
        """The key for a part of it, such as `wait`."""
        return f"{self.prefix}:{self.own}:{what}"

    @property
    def client(self) -> str:
        """What its workers' connections are called, or begin with before another colon."""
        return f"{self.prefix}:{base64.b64encode(self.own.encode()).decode()}"


def bull_pollers(clients: str, database: int, queue: BullQueue) -> list[timedelta]:
    """How long each worker of a queue of BullMQ in CLIENT LIST has been silent; while idle it asks every few seconds."""
    found = []
    for line in clients.splitlines():
        fields = dict(pair.split("=", 1) for pair in line.split() if "=" in pair)
        name = fields.get("name", "")
        # Others watch a queue's events (`:qe`).
        worker = name == queue.client or name.startswith(f"{queue.client}:w:")
        if worker and fields.get("db") == str(database) and fields.get("idle", "").isdigit():
            found.append(timedelta(seconds=int(fields["idle"])))
    return found


def pollers(clients: str, database: int) -> dict[str, timedelta]:
    """The clients of CLIENT LIST that wait for a task in a database as Celery's workers do, and how long each has been silent."""
    found = {}
    for line in clients.splitlines():
        fields = dict(pair.split("=", 1) for pair in line.split() if "=" in pair)
        if fields.get("cmd") == "brpop" and fields.get("db") == str(database) and fields.get("idle", "").isdigit():
            found[fields.get("addr", "")] = timedelta(seconds=int(fields["idle"]))
    return found
