"""Whether workers take tasks from their queues."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from collectors.systems.workers.model import Framework, Queue, Seen, WorkerLimits
from exporter.options import format_duration
from exporter.verdict import Reason, Result, failed, unknown
from exporter.words import counted, format_length

__all__ = ["worker_problems"]

_ROUNDING = timedelta(seconds=2)


def worker_problems(seen: Seen, workers: WorkerLimits) -> Iterator[Result]:
    """No worker, tasks that are not taken, and signs of life that prove nothing."""
    for queue in seen.queues:
        if queue.waits is not None and queue.waits > workers.max_wait:
            yield failed(
                f"The task at the head of queue {queue.name} on {seen.where} has been waiting for at least "
                f"{format_length(queue.waits)} (limit {format_duration(workers.max_wait)}), with {queue.waiting} in the queue.",
                reason=Reason.LIMIT,
            )
    match workers.framework:
        case Framework.CELERY:
            yield from _celery_problems(seen, workers)
        case Framework.ARQ:
            yield from _arq_problems(seen, workers)
        case Framework.DRAMATIQ:
            yield from _dramatiq_problems(seen, workers)
        case Framework.RQ:
            yield from _rq_problems(seen, workers)
        case Framework.BULLMQ:
            yield from _bullmq_problems(seen, workers)


def _celery_problems(seen: Seen, workers: WorkerLimits) -> Iterator[Result]:
    limit = format_duration(workers.max_silence)
    if seen.silences:
        if (silence := min(seen.silences.values())) > workers.max_silence:
            yield unknown(
                f"{counted(len(seen.silences), 'Celery worker')} connected to {seen.where} last asked for a task "
                f"{format_length(silence)} ago (limit {limit}): busy, or hung.",
                reason=Reason.NOT_VERIFIED,
            )
    elif seen.unacknowledged:
        yield unknown(
            f"No Celery worker asks {seen.where} for tasks, and {counted(seen.unacknowledged, 'task')} taken "
            f"{'is' if seen.unacknowledged == 1 else 'are'} not acknowledged: workers are busy, or died.",
            reason=Reason.NOT_VERIFIED,
        )
    else:
        yield failed(f"No Celery worker asks {seen.where} for tasks.", reason=Reason.DOWN)


def _arq_problems(seen: Seen, workers: WorkerLimits) -> Iterator[Result]:
    for queue in seen.queues:
        silence = seen.silences.get(queue.name)
        if silence is None:
            yield failed(
                f"No ARQ worker of queue {queue.name} on {seen.where} reports: {queue.name}:health-check does not exist.",
                reason=Reason.DOWN,
            )
    interval = format_duration(workers.health_check_interval)
    for queue in seen.queues:
        silence = seen.silences.get(queue.name, timedelta(0))
        if silence < -_ROUNDING:
            yield unknown(
                f"{queue.name}:health-check on {seen.where} is kept for longer than health_check_interval ({interval}), so it is "
                "not known when the worker reported.",
                reason=Reason.MISCONFIGURED,
            )
        elif silence > workers.max_silence:
            yield unknown(
                f"The ARQ worker of queue {queue.name} on {seen.where} last reported {format_length(silence)} ago (limit "
                f"{format_duration(workers.max_silence)}) and reports every {interval}: lower its health_check_interval.",
                reason=Reason.NOT_VERIFIED,
            )


def _dramatiq_problems(seen: Seen, workers: WorkerLimits) -> Iterator[Result]:
    if (silence := seen.silences.get("")) is None:
        yield failed(f"No Dramatiq worker has ever asked {seen.where} for tasks.", reason=Reason.DOWN)
        return
    limit = format_duration(workers.max_silence)
    if silence > workers.max_silence:
        yield failed(
            f"The newest heartbeat of Dramatiq on {seen.where} is {format_length(silence)} old (limit {limit}).",
            reason=Reason.DOWN,
        )
    elif silence < -workers.max_silence:
        yield unknown(
            f"The newest heartbeat of Dramatiq on {seen.where} lies {format_length(-silence)} in the future.",
            reason=Reason.CONTRADICTED,
        )
    for queue in seen.queues:
        if _unmoved(queue):
            yield unknown(
                f"Queue {queue.name} on {seen.where} holds {counted(queue.waiting, 'task')}, and none was seen to be taken: "
                "programs that only send tasks leave heartbeats too.",
                reason=Reason.PENDING,
            )


def _rq_problems(seen: Seen, workers: WorkerLimits) -> Iterator[Result]:
    for name in workers.names:
        if name not in seen.silences:
            yield failed(f"No RQ worker of queue {name} is connected to {seen.where}.", reason=Reason.DOWN)
    if seen.suspended:
        yield failed(
            f"The RQ workers on {seen.where} are suspended, and take no tasks (`rq resume`).",
            reason=Reason.MISCONFIGURED,
        )
    for queue in seen.queues:
        if _unmoved(queue):
            yield unknown(
                f"Queue {queue.name} on {seen.where} holds {counted(queue.waiting, 'task')}, and none was seen to be taken: the "
                "workers are busy, or hung.",
                reason=Reason.PENDING,
            )


def _bullmq_problems(seen: Seen, workers: WorkerLimits) -> Iterator[Result]:
    limit = format_duration(workers.max_silence)
    for name in workers.names:
        silence = seen.silences.get(name)
        if silence is None:
            yield failed(f"No BullMQ worker of queue {name} is connected to {seen.where}.", reason=Reason.DOWN)
        if name in seen.paused:
            yield failed(
                f"Queue {name} on {seen.where} is paused: its tasks are not taken.", reason=Reason.MISCONFIGURED
            )
        late = seen.overdue.get(name, timedelta(0))
        if late > workers.max_wait:
            yield failed(
                f"A delayed task of queue {name} on {seen.where} has been due for {format_length(late)} (limit "
                f"{format_duration(workers.max_wait)}).",
                reason=Reason.LIMIT,
            )
    for name, silence in seen.silences.items():
        if silence > workers.max_silence:
            yield unknown(
                f"The BullMQ worker of queue {name} on {seen.where} that asked last did so {format_length(silence)} ago (limit "
                f"{limit}), and none holds the lock of a task: paused, or hung.",
                reason=Reason.NOT_VERIFIED,
            )
    for queue in seen.queues:
        if _unmoved(queue) and queue.name.partition(" (")[0] not in seen.busy:
            yield unknown(
                f"Queue {queue.name} on {seen.where} holds {counted(queue.waiting, 'task')}, and none was seen to be taken: the "
                "workers are limited, or hung.",
                reason=Reason.PENDING,
            )


def _unmoved(queue: Queue) -> bool:
    return queue.waits is not None and queue.waits > timedelta(0)
