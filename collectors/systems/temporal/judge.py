"""Whether the workers of a namespace take the tasks of its workflows, and the workflows end well."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from collectors.systems.temporal.model import Described, Kind, Limits, Schedule, Seen
from exporter.options import format_duration
from exporter.verdict import Reason, Result, failed, unknown
from exporter.words import counted, format_length

__all__ = ["namespace_problems"]

_AHEAD = timedelta(minutes=1)
_OVERDUE = timedelta(minutes=5)


def namespace_problems(seen: Seen, limits: Limits) -> Iterator[Result]:
    """Task queues that nobody polls or whose tasks wait, workflows that do not get on, schedules that start none, and failures."""
    if not seen.exists:
        yield failed(f"There is no {seen.where}.", reason=Reason.MISSING)
        return
    for (name, kind), queue in (seen.queues or {}).items():
        yield from _queue_problems(f"task queue {name} in {seen.where}", kind, queue, seen, limits)
    for name, workflow, queue in seen.others:
        if _silence(queue, seen) is None or (_silence(queue, seen) or timedelta(0)) > limits.max_silence:
            yield failed(
                f"Workflow {workflow} is running on task queue {name} in {seen.where}, which no worker polls for workflow tasks.",
                reason=Reason.DOWN,
            )
    if seen.stuck:
        yield failed(
            f"{counted(seen.stuck, 'workflow')} in {seen.where} {'is' if seen.stuck == 1 else 'are'} running while "
            f"{'its' if seen.stuck == 1 else 'their'} tasks fail again and again.",
            reason=Reason.DOWN,
        )
    if seen.overdue and limits.max_run_time:
        yield failed(
            f"{counted(seen.overdue, 'workflow')} in {seen.where} {'has' if seen.overdue == 1 else 'have'} been running for longer "
            f"than {format_duration(limits.max_run_time)}.",
            reason=Reason.LIMIT,
        )
    for name, schedule in (seen.schedules or {}).items():
        yield from _schedule_problems(name, schedule, seen)
    yield from _closing_problems(seen, limits)


def _silence(queue: Described, seen: Seen) -> timedelta | None:
    """For how long no worker has polled; None where none is known."""
    return min((seen.now - poller.last_access_time for poller in queue.pollers), default=None)


def _queue_problems(where: str, kind: Kind, queue: Described, seen: Seen, limits: Limits) -> Iterator[Result]:
    waiting = (
        f", and {counted(queue.backlog, 'task')} {'waits' if queue.backlog == 1 else 'wait'}" if queue.backlog else ""
    )
    silence = _silence(queue, seen)
    if silence is None:
        yield failed(f"No worker polls {where} for {kind} tasks{waiting}.", reason=Reason.DOWN)
    elif silence > limits.max_silence:
        yield failed(
            f"No worker has polled {where} for {kind} tasks for {format_length(silence)} (limit "
            f"{format_duration(limits.max_silence)}){waiting}.",
            reason=Reason.DOWN,
        )
    elif silence < -_AHEAD:
        yield unknown(
            f"The last poll of {where} for {kind} tasks lies {format_length(-silence)} in the future.",
            reason=Reason.CONTRADICTED,
        )
    elif queue.backlog and queue.backlog_age > limits.max_backlog_age:
        yield failed(
            f"The first of {counted(queue.backlog, f'{kind} task')} on {where} has waited for "
            f"{format_length(queue.backlog_age)} (limit {format_duration(limits.max_backlog_age)}).",
            reason=Reason.LIMIT,
        )
    elif queue.stats is None:
        yield unknown(
            f"The server does not say how many {kind} tasks wait on {where}: that needs Temporal 1.25 or newer.",
            reason=Reason.NOT_VERIFIED,
        )


def _schedule_problems(name: str, schedule: Schedule | None, seen: Seen) -> Iterator[Result]:
    if schedule is None:
        yield failed(f"There is no schedule {name} in {seen.where}.", reason=Reason.MISSING)
        return
    state, times = schedule.schedule.state, schedule.info.future_action_times
    if state.paused:
        yield failed(f"Schedule {name} in {seen.where} is paused: it starts no workflow.", reason=Reason.MISCONFIGURED)
    elif (state.limited_actions and state.remaining_actions == "0") or not times:
        yield failed(f"Schedule {name} in {seen.where} starts no workflow any more.", reason=Reason.EXPIRED)
    elif (late := seen.now - min(times)) > _OVERDUE:
        yield failed(
            f"Schedule {name} in {seen.where} should have started a workflow {format_length(late)} ago.",
            reason=Reason.DOWN,
        )


def _closing_problems(seen: Seen, limits: Limits) -> Iterator[Result]:
    window, closed = format_duration(limits.window), seen.closed
    how = f"{closed.failed} failed, {closed.timed_out} timed out"
    if not closed.all:
        yield unknown(
            f"No workflow in {seen.where} closed within {window}, so none was observed.", reason=Reason.NOT_VERIFIED
        )
    elif not closed.completed:
        yield failed(
            f"None of {counted(closed.all, 'workflow')} in {seen.where} within {window} was completed: {how}.",
            reason=Reason.DOWN,
        )
    elif (ratio := 1 - closed.completed / closed.all) > limits.max_failure_ratio:
        yield failed(
            f"{ratio:.1%} of {counted(closed.all, 'workflow')} in {seen.where} within {window} were not completed (limit "
            f"{limits.max_failure_ratio:.1%}): {how}.",
            reason=Reason.LIMIT,
        )
