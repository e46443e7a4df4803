"""Whether runs of a work pool are taken, begin, and end well."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from collectors.systems.prefect.model import Limits, Pool, Queue, Run, Seen
from exporter.options import format_duration
from exporter.verdict import Reason, Result, failed, unknown, warning
from exporter.words import counted, format_length, listed

__all__ = ["pool_problems"]

#: After how many heartbeats that did not come the server itself calls a worker offline.
_MISSED = 3
_HEARTBEAT = timedelta(seconds=30)
_AHEAD = timedelta(minutes=1)


def pool_problems(seen: Seen, limits: Limits) -> Iterator[Result]:
    """A pool that is missing, paused or without workers; runs that are not taken, do not begin or do not end; failures."""
    name, where = f"Work pool {seen.name}", f"on {seen.where}"
    if (pool := seen.pool) is None:
        yield failed(f"{name} does not exist {where}.", reason=Reason.MISSING)
        return
    if pool.is_paused:
        yield failed(f"{name} {where} is paused: its runs are not started.", reason=Reason.MISCONFIGURED)
    if pool.concurrency_limit == 0:
        yield failed(f"{name} {where} has a concurrency limit of 0: no run starts.", reason=Reason.MISCONFIGURED)
    if pool.has_workers:
        yield from _worker_problems(seen)
    yield from _queue_problems(seen, pool, limits)
    yield from _waiting_problems(seen, limits)
    yield from _ending_problems(seen, limits)


def _worker_problems(seen: Seen) -> Iterator[Result]:
    name, where = f"work pool {seen.name}", f"on {seen.where}"
    if not seen.workers:
        yield failed(f"No worker has ever reported to {name} {where}.", reason=Reason.DOWN)
        return
    silences = {worker: seen.now - worker.last_heartbeat_time for worker in seen.workers}
    alive = {
        worker
        for worker, silence in silences.items()
        if silence <= _MISSED * (timedelta(seconds=worker.heartbeat_interval_seconds or 0) or _HEARTBEAT)
    }
    newest = min(silences.values())
    if not alive:
        yield failed(
            f"No worker of {name} {where} is alive: the last heartbeat is {format_length(newest)} old.",
            reason=Reason.DOWN,
        )
    elif newest < -_AHEAD:
        yield unknown(
            f"The last heartbeat to {name} {where} lies {format_length(-newest)} in the future.",
            reason=Reason.CONTRADICTED,
        )


def _queue_problems(seen: Seen, pool: Pool, limits: Limits) -> Iterator[Result]:
    name, where = f"work pool {seen.name}", f"on {seen.where}"
    shut = [queue.name for queue in seen.queues if queue.is_paused or queue.concurrency_limit == 0]
    if shut and len(shut) == len(seen.queues):
        yield failed(
            f"All queues of {name} {where} are paused, or let no run start: {listed(shut)}.",
            reason=Reason.MISCONFIGURED,
        )
    elif shut:
        yield warning(
            f"{counted(len(shut), 'queue')} of {name} {where} {'is' if len(shut) == 1 else 'are'} paused, or "
            f"{'lets' if len(shut) == 1 else 'let'} no run start: {listed(shut)}."
        )
    if not pool.has_workers or pool.is_paused:
        return
    for queue in seen.queues:
        if queue.name not in shut and (silence := seen.now - _last(queue)) > limits.max_silence:
            asked = f"for {format_length(silence)}" if queue.last_polled else "yet"
            yield failed(
                f"No worker has asked queue {queue.name} of {name} {where} for runs {asked} (limit "
                f"{format_duration(limits.max_silence)}).",
                reason=Reason.DOWN,
            )


def _last(queue: Queue) -> datetime:
    return queue.last_polled or queue.created


def _waiting_problems(seen: Seen, limits: Limits) -> Iterator[Result]:
    name, where = f"work pool {seen.name}", f"on {seen.where}"
    limit = format_duration(limits.late_after)
    run, count = seen.late
    if run is not None:
        since = run.expected_start_time or run.next_scheduled_start_time or seen.now
        yield failed(
            f"{_runs(run, count)} of {name} {where} should have started {format_length(seen.now - since)} ago and "
            f"{'is' if count == 1 else 'are'} {run.state_name} (limit {limit}).",
            reason=Reason.LIMIT,
        )
    run, count = seen.pending
    if run is not None:
        yield failed(
            f"{_runs(run, count)} of {name} {where} was taken {format_length(seen.now - run.state.timestamp)} ago and has not "
            f"begun (limit {limit}).",
            reason=Reason.LIMIT,
        )
    run, count = seen.long
    if run is not None and run.start_time is not None:
        yield failed(
            f"{_runs(run, count)} of {name} {where} began {format_length(seen.now - run.start_time)} ago and has not ended (limit "
            f"{format_duration(limits.max_run_time)}).",
            reason=Reason.LIMIT,
        )


def _runs(run: Run, count: int) -> str:
    return f"Run {run.name}" if count == 1 else f"Run {run.name} (and {count - 1} more)"


def _ending_problems(seen: Seen, limits: Limits) -> Iterator[Result]:
    name, where = f"work pool {seen.name}", f"on {seen.where}"
    window, ended = format_duration(limits.window), seen.ended
    if not ended.all:
        yield unknown(
            f"No run of {name} {where} ended within {window}, so none was observed.", reason=Reason.NOT_VERIFIED
        )
    elif not ended.completed:
        yield failed(
            f"None of {counted(ended.all, 'run')} of {name} {where} within {window} was completed: {ended.failed} failed, "
            f"{ended.crashed} crashed.",
            reason=Reason.DOWN,
        )
    elif (ratio := 1 - ended.completed / ended.all) > limits.max_failure_ratio:
        yield failed(
            f"{ratio:.1%} of {counted(ended.all, 'run')} of {name} {where} within {window} were not completed (limit "
            f"{limits.max_failure_ratio:.1%}): {ended.failed} failed, {ended.crashed} crashed.",
            reason=Reason.LIMIT,
        )
