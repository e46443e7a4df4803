"""Reads queues and signs of life of workers from Redis; nothing is published, and no task is taken."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from pydantic import Field

from collectors.shared.host_port import HostPort
from collectors.systems.redis.client import Login, ask
from collectors.systems.redis.model import Answers, NodeAddress
from collectors.systems.workers.model import (
    BullQueue,
    Framework,
    Queue,
    Seen,
    WorkerLimits,
    bull_pollers,
    digest,
    pollers,
)
from exporter.http import Trust
from exporter.options import Secret
from exporter.verdict import ProbeError, Reason

__all__ = ["Workers", "read_workers"]

_MOST_DUE = 20
_MOST_WORKERS = 1000
_MOST_ACTIVE = 200
#: What stands between the name of a queue of Celery and a priority, of which it has these by default.
_PRIORITY, _STEPS = "\x06\x16", (3, 6, 9)
#: BullMQ keeps the moment at which a task is due in the upper bits of a score.
_DUE_BITS = 4096
_PLAIN = re.compile(r"[!-~]+")


class Workers(WorkerLimits):
    """The workers of a service, and the Redis that they take their tasks from."""

    redis: HostPort = Field(description="host:port of the Redis that holds the queues.")
    username: str | None = Field(None, description="ACL user; Redis's default user when there is only a password.")
    password: Secret | None = Field(None, description="Password of the user.")
    tls: Trust | None = Field(None, description="Speak TLS with it: whom to trust, and who we are.")


async def read_workers(workers: Workers, timeout: timedelta) -> Seen:
    """What Redis has of the queues and their workers. Raises ProbeError when it cannot be read, each question within `timeout`."""
    reader = _Reader(workers, timeout)
    if workers.framework is Framework.ARQ:
        return await _arq(reader)
    if workers.framework is Framework.RQ:
        return await _rq(reader)
    if workers.framework is Framework.BULLMQ:
        return await _bullmq(reader)
    return await (_celery(reader) if workers.framework is Framework.CELERY else _dramatiq(reader))


class _Reader:
    """One Redis database that is asked on behalf of a service."""

    def __init__(self, workers: Workers, timeout: timedelta) -> None:
        self.workers = workers
        self.address = NodeAddress.parse(workers.redis)
        self.where = f"{self.address} (database {workers.database})"
        self._login = Login(workers.username, workers.password, workers.tls, timeout)

    async def ask(self, *commands: str) -> Answers:
        """The answers to commands in the database. Raises ProbeError also where the database cannot be selected."""
        select = f"SELECT {self.workers.database}"
        answers = await ask(self.address, self._login, (select, *commands))
        answers.reply(select, str)
        return answers

    def length(self, answers: Answers, command: str) -> int:
        """A number of entries. Raises ProbeError when the command was refused."""
        found: int = answers.reply(command, int)
        return found


async def _celery(reader: _Reader) -> Seen:
    keys = {name: name for name in reader.workers.names}
    # Tasks with a priority wait in lists of their own.
    keys |= {f"{name} (priority {step})": f"{name}{_PRIORITY}{step}" for name in keys for step in _STEPS}
    commands = [command for key in keys.values() for command in (f"LLEN {key}", f"LINDEX {key} -1")]
    answers = await reader.ask("CLIENT LIST", "HLEN unacked", *commands)
    queues = [_listed(reader, answers, name, f"LLEN {key}", f"LINDEX {key} -1") for name, key in keys.items()]
    queues = [queue for queue in queues if queue.waiting or queue.name in reader.workers.names]
    silences = pollers(answers.reply("CLIENT LIST", str), reader.workers.database)
    return Seen(reader.where, queues, silences, reader.length(answers, "HLEN unacked"))


async def _dramatiq(reader: _Reader) -> Seen:
    names = reader.workers.names
    newest = "ZREVRANGE dramatiq:__heartbeats__ 0 0 WITHSCORES"
    lengths = [f"LLEN dramatiq:{name}" for name in names]
    heads = [f"LINDEX dramatiq:{name} 0" for name in names]
    answers = await reader.ask("TIME", newest, *lengths, *heads)
    queues = [_listed(reader, answers, *parts) for parts in zip(names, lengths, heads, strict=True)]
    beats = answers.reply(newest, list)
    silence = _milliseconds(answers) - float(beats[1]) if len(beats) == 2 else None
    return Seen(reader.where, queues, {} if silence is None else {"": timedelta(milliseconds=silence)})


async def _rq(reader: _Reader) -> Seen:
    """RQ's workers listen on a channel of their own as long as they live, also while they work; what they register stays behind."""
    names = reader.workers.names
    lengths = [f"LLEN rq:queue:{name}" for name in names]
    heads = [f"LINDEX rq:queue:{name} 0" for name in names]
    registered = [f"SMEMBERS rq:workers:{name}" for name in names]
    taken = [(f"LLEN rq:queue:{name}:intermediate", f"LINDEX rq:queue:{name}:intermediate -1") for name in names]
    between = [command for commands in taken for command in commands]
    answers = await reader.ask("EXISTS rq:suspended", *lengths, *heads, *between, *registered)
    queues = [_listed(reader, answers, *parts) for parts in zip(names, lengths, heads, strict=True)]
    # What Redis has handed to a worker, and the worker has not begun: a worker that hangs leaves one there.
    handed = [
        _listed(reader, answers, f"{name}:intermediate", *commands) for name, commands in zip(names, taken, strict=True)
    ]
    queues += [queue for queue in handed if queue.head is not None]
    keys = {name: _names(answers, command) for name, command in zip(names, registered, strict=True)}
    each = sorted({key for found in keys.values() for key in found})
    # Channels are those of all databases, and workers of another one may have the same names: the worker's own key counts too.
    channels = {key: f"PUBSUB NUMSUB {key.replace('rq:worker:', 'rq:pubsub:', 1)}" for key in each}
    known = await reader.ask(*channels.values(), *(f"EXISTS {key}" for key in each)) if each else answers
    alive = {key for key in each if _subscribers(known, channels[key]) and reader.length(known, f"EXISTS {key}")}
    connected = {name: timedelta(0) for name, found in keys.items() if alive & set(found)}
    return Seen(reader.where, queues, connected, suspended=reader.length(answers, "EXISTS rq:suspended") > 0)


async def _bullmq(reader: _Reader) -> Seen:
    """BullMQ's workers name their connections after their queue, and renew the lock of a task that they work on."""
    clients = (await reader.ask("CLIENT LIST")).reply("CLIENT LIST", str)
    queues: list[Queue] = []
    silences: dict[str, timedelta] = {}
    overdue: dict[str, timedelta] = {}
    busy: list[str] = []
    paused: list[str] = []
    for name in reader.workers.names:
        queue = BullQueue.parse(name)
        wait, by_priority = queue.key("wait"), queue.key("prioritized")
        active = f"LRANGE {queue.key('active')} 0 {_MOST_ACTIVE - 1}"
        later = f"ZRANGE {queue.key('delayed')} 0 0 WITHSCORES"
        halted = f"HEXISTS {queue.key('meta')} paused"
        first = f"ZRANGE {by_priority} 0 0"
        asked = (f"LLEN {wait}", f"LINDEX {wait} -1", f"ZCARD {by_priority}", first, active, later, halted, "TIME")
        answers = await reader.ask(*asked)
        queues.append(_listed(reader, answers, name, f"LLEN {wait}", f"LINDEX {wait} -1"))
        if top := answers.reply(first, list):
            queues.append(
                Queue(f"{name} (by priority)", reader.length(answers, f"ZCARD {by_priority}"), digest(str(top[0])))
            )
        locks = {task: queue.key(f"{task}:lock") for task in answers.reply(active, list) if _PLAIN.fullmatch(str(task))}
        held = await reader.ask(*(f"EXISTS {lock}" for lock in locks.values())) if locks else answers
        stalled = [task for task, lock in locks.items() if not reader.length(held, f"EXISTS {lock}")]
        if stalled:
            queues.append(Queue(f"{name} (begun, without a lock)", len(stalled), digest(str(stalled[-1]))))
        if len(stalled) < len(locks):
            silences[name] = timedelta(0)
            busy.append(name)
        elif seen := bull_pollers(clients, reader.workers.database, queue):
            silences[name] = min(seen)
        if due := answers.reply(later, list):
            overdue[name] = timedelta(milliseconds=_milliseconds(answers) - float(due[1]) / _DUE_BITS)
        if reader.length(answers, halted):
            paused.append(name)
    return Seen(reader.where, queues, silences, busy=busy, paused=paused, overdue=overdue)


def _names(answers: Answers, command: str) -> list[str]:
    """The members of a set that can be sent in a command, at most a thousand."""
    members = answers.reply(command, (list, set))
    return sorted(name for name in members if isinstance(name, str) and _PLAIN.fullmatch(name))[:_MOST_WORKERS]


def _subscribers(answers: Answers, command: str) -> int:
    match answers.reply(command, (list, dict)):
        case [_, int(count)]:
            return count
        case {**channels}:
            return sum(count for count in channels.values() if isinstance(count, int))
    return 0


def _listed(reader: _Reader, answers: Answers, name: str, length: str, head: str) -> Queue:
    task = answers.reply(head, (str, type(None)))
    return Queue(name, reader.length(answers, length), digest(task) if task is not None else None)


async def _arq(reader: _Reader) -> Seen:
    names = reader.workers.names
    reports = {name: f"PTTL {name}:health-check" for name in names}
    answers = await reader.ask("TIME", *reports.values())
    now = _milliseconds(answers)
    longest = reader.workers.health_check_interval + timedelta(seconds=1)
    silences = {}
    for name, report in reports.items():
        if (left := reader.length(answers, report)) >= 0:
            silences[name] = longest - timedelta(milliseconds=left)
    return Seen(reader.where, [await _due(reader, name, now) for name in names], silences)


async def _due(reader: _Reader, name: str, now: float) -> Queue:
    """A queue of ARQ, which keeps tasks until they are done: of those whose time has come, the first that no worker runs."""
    count, first = f"ZCOUNT {name} -inf {now:.0f}", f"ZRANGEBYSCORE {name} -inf {now:.0f} LIMIT 0 {_MOST_DUE}"
    answers = await reader.ask(count, first)
    tasks: list[Any] = [task for task in answers.reply(first, list) if isinstance(task, str)]
    running = {task: f"EXISTS arq:in-progress:{task}" for task in tasks if not task.split()[1:] and task.strip()}
    if not running:
        return Queue(name, reader.length(answers, count), digest(tasks[0]) if tasks else None)
    states = await reader.ask(*running.values())
    waiting = [task for task in tasks if task not in running or not reader.length(states, running[task])]
    busy = len(tasks) - len(waiting)
    return Queue(name, reader.length(answers, count) - busy, digest(waiting[0]) if waiting else None)


def _milliseconds(answers: Answers) -> float:
    """Redis's own clock. Raises ProbeError when it does not report it."""
    match answers.reply("TIME", list):
        case [str(seconds), str(microseconds)] if seconds.isdigit() and microseconds.isdigit():
            return int(seconds) * 1000 + int(microseconds) / 1000
    raise ProbeError(f"{answers.address} answered TIME with something else than a time.", Reason.MALFORMED)
