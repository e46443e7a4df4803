"""Queues in Redis, what shows that workers take tasks from them, and the options that limit both."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from exporter.options import Duration, Options

__all__ = ["Framework", "Heads", "Queue", "Seen", "WorkerLimits", "digest", "pollers", "waits"]


class Framework(StrEnum):
    """What runs the tasks."""

    CELERY = "celery"
    ARQ = "arq"
    DRAMATIQ = "dramatiq"
    RQ = "rq"


_DEFAULT_QUEUES: Mapping[Framework, str] = {
    Framework.CELERY: "celery",
    Framework.ARQ: "arq:queue",
    Framework.DRAMATIQ: "default",
    Framework.RQ: "default",
}


QueueName = Annotated[str, StringConstraints(pattern=r"^[!-~]+$", max_length=200)]


class WorkerLimits(Options):
    """What runs the tasks of a service, from which queues, and what is expected of it."""

    framework: Framework = Field(description="celery, arq, dramatiq or rq.")
    database: int = Field(0, ge=0, description="Number of the database in it.")
    queues: tuple[QueueName, ...] = Field(
        (),
        description="Names of the queues; by default the framework's own (`celery`, `arq:queue`, `default` of dramatiq and rq).",
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
    (ARQ; without an entry there is none), the newest heartbeat (Dramatiq), zero by queue (RQ: a worker of it is connected).
    `unacknowledged` are tasks that Celery's workers took, `suspended` is whether RQ's workers were told to take none.
    """

    where: str
    queues: Sequence[Queue]
    silences: Mapping[str, timedelta]
    unacknowledged: int = 0
    suspended: bool = False


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


def pollers(clients: str, database: int) -> dict[str, timedelta]:
    """The clients of CLIENT LIST that wait for a task in a database as Celery's workers do, and how long each has been silent."""
    found = {}
    for line in clients.splitlines():
        fields = dict(pair.split("=", 1) for pair in line.split() if "=" in pair)
        if fields.get("cmd") == "brpop" and fields.get("db") == str(database) and fields.get("idle", "").isdigit():
            found[fields.get("addr", "")] = timedelta(seconds=int(fields["idle"]))
    return found
