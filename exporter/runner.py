"""One run: open a collector, let its items judge under their deadlines, turn whatever is raised into `unknown`."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, cast

from exporter.border import (
    Contained,
    Unacceptable,
    accepted,
    cause,
    end_if_forked,
    is_ours,
    one_sentence,
    text_of,
)
from exporter.collector import Collector, Context, Item
from exporter.observations import Observation
from exporter.options import format_duration
from exporter.plan import Job
from exporter.threads import Stuck
from exporter.verdict import ProbeError, Reason, unknown

__all__ = ["Guarded", "Runner", "contain", "utc_now"]

log = logging.getLogger(__name__)

#: A run may take this many item deadlines in all: opening, facts that items share, and closing.
RUN_FACTOR = 3
#: Closing connections after a run gets this many seconds before it is given up.
CLOSING_SECONDS = 5.0


def utc_now() -> datetime:
    """The present time, in UTC."""
    return datetime.now(UTC)


#: Whether the code that runs is a collector's, or was started by it.
_collecting: ContextVar[bool] = ContextVar("collecting", default=False)


class Guarded(asyncio.Task[Any]):
    """A task that no collector's code can cancel unless a run started it: some libraries cancel all that they find."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._collects = _collecting.get()

    def cancel(self, msg: Any = None) -> bool:
        """Ask it to end; returns whether it was."""
        if _collecting.get() and not self._collects:
            log.warning("A plug-in tried to cancel %s, a task of the exporter's own: it goes on.", self.get_name())
            return False
        return super().cancel(msg)


def contain() -> None:
    """Have no task of the running event loop end the process, whatever it raises."""
    is_ours()
    asyncio.get_running_loop().set_task_factory(_contained)  # type: ignore[arg-type]  # an asyncio.Future, of which Task is one


def _contained(loop: asyncio.AbstractEventLoop, task: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:
    return Guarded(Contained(task), loop=loop, **options)


class Runner:
    """Runs jobs, at most `concurrency` at a time. Never raises for what a collector or a server does.

    `redact` is applied to every sentence before anyone reads it. `endless` are the runs, by job, that went on although they were
    cancelled: while one does, its job is not run again. Runners that follow each other share it.
    """

    def __init__(
        self,
        *,
        concurrency: int = 16,
        redact: Callable[[str], str] = str,
        endless: dict[str, asyncio.Task[None]] | None = None,
    ) -> None:
        self._places = asyncio.Semaphore(concurrency)
        self._redact = redact
        self._endless = {} if endless is None else endless

    async def run(self, job: Job, context: Context) -> dict[str, Observation]:
        """What was seen of each of the job's items, by name. Every item gets an observation."""
        async with self._places:
            declared = job.collector.items()
            items = [declared[name] for name in job.items]
            observed: dict[str, Observation] = {}
            timeout = job.settings.timeout.total_seconds()
            failure: BaseException | None = None
            if job.id in self._endless:
                failure = ProbeError(
                    f"{job.id} was not verified: its earlier run was cancelled and has not stopped.",
                    Reason.TIMEOUT,
                )
            else:
                verifying = Contained(self._run(job, items, timeout, context, observed))
                token = _collecting.set(True)
                run = asyncio.create_task(verifying, name=f"run {job.id}")
                _collecting.reset(token)
                try:
                    late = await self._finish(run, RUN_FACTOR * timeout)
                finally:
                    if not run.done():
                        run.cancel()
                        self._keep(job, run)
                if late:
                    longest = format_duration(RUN_FACTOR * job.settings.timeout)
                    failure = ProbeError(
                        f"{job.id} was not verified: the run took longer than {longest} in all.", Reason.TIMEOUT
                    )
                elif not run.cancelled():
                    failure = run.exception()
            for item in items:
                if item.name not in observed:
                    reason = failure or ProbeError(f"{job.section}.{item.name} could not be checked: it was cancelled.")
                    observed[item.name] = self._raised(job.id, reason, context, 0.0, item, timeout)
            return observed

    def _keep(self, job: Job, run: asyncio.Task[None]) -> None:
        """Remember a run that does not end, until it does."""
        self._endless[job.id] = run

        def ended(_: object) -> None:
            self._endless.pop(job.id, None)
            if not run.cancelled():
                run.exception()  # nobody else asks for it

        run.add_done_callback(ended)

    @staticmethod
    async def _finish(run: asyncio.Task[None], seconds: float) -> bool:
        """Wait for the run; past its deadline cancel it, and leave it to itself when even that takes too long.

        Returns whether the deadline came first.
        """
        done, _ = await asyncio.wait({run}, timeout=seconds)
        if not done:
            run.cancel()
            await asyncio.wait({run}, timeout=CLOSING_SECONDS)
        return not done

    async def _run(
        self,
        job: Job,
        items: list[Item],
        timeout: float,
        context: Context,
        observed: dict[str, Observation],
    ) -> None:
        collector = job.collector(job.settings, job.target_settings, context)
        async with collector.running(timeout), asyncio.TaskGroup() as group:
            for item in items:
                group.create_task(self._verify(collector, item, timeout, context, observed), name=item.name)

    async def _verify(
        self,
        collector: Collector[Any, Any],
        item: Item,
        timeout: float,
        context: Context,
        observed: dict[str, Observation],
    ) -> None:
        started = time.perf_counter()
        name = f"{collector.section()}.{item.name}"
        try:
            async with asyncio.timeout(timeout):
                result = accepted(await item.verify(collector), self._redact)
        except asyncio.CancelledError:
            if cast("asyncio.Task[Any]", asyncio.current_task()).cancelling():
                raise
            # Not the run was cancelled, but something in a library that the item waited for.
            error = ProbeError(f"{name} could not be checked: what was waited for was cancelled half-way.")
            observed[item.name] = self._raised(name, error, context, time.perf_counter() - started, item, timeout)
            return
        except BaseException as error:  # noqa: BLE001  # the one place that catches broadly: it becomes `unknown`
            end_if_forked(error)
            observed[item.name] = self._raised(name, error, context, time.perf_counter() - started, item, timeout)
            return
        observed[item.name] = Observation(result, context.now(), time.perf_counter() - started)

    def _raised(
        self, name: str, error: BaseException, context: Context, duration: float, item: Item, timeout: float
    ) -> Observation:
        """An observation `unknown` that says what was raised. What no collector foresaw is also logged with its traceback.

        It counts as an error of the run, but where the line is only not configured.
        """
        error = cause(error)
        kind, text, reason = type(error).__name__, text_of(error), Reason.ERROR
        if isinstance(error, ProbeError | Stuck):
            summary = text or f"{name} could not be checked, for a reason that was not given."
            given: object = error.reason if isinstance(error, ProbeError) else Reason.TIMEOUT
            reason = given if isinstance(given, Reason) else Reason.UNOBSERVED
        elif isinstance(error, Unacceptable):
            by = getattr(item.verify, "__module__", "")
            summary = f"{name} could not be checked: its collector {by} {text}."
            log.error("%s", self._redact(summary))
        elif isinstance(error, TimeoutError):
            summary, reason = f"{name} was not checked within {timeout:g} s.", Reason.TIMEOUT
        else:
            detail = " ".join(self._redact(text or "").split())  # before a secret of several lines becomes another text
            summary = (
                f"{name} could not be checked: {kind}: {detail}" if detail else f"{name} could not be checked: {kind}."
            )
            if text is None:
                where = "".join(traceback.format_tb(error.__traceback__))
                log.error("%s raised %s, whose text cannot be shown, in:\n%s", name, kind, where)
            else:
                log.error("%s raised %s", name, kind, exc_info=error)
        result = unknown(one_sentence(self._redact(summary)), reason=reason)
        # What the configuration leaves out is no fault of a run: nothing was attempted.
        return Observation(result, context.now(), duration, error=reason is not Reason.NOT_CONFIGURED)
