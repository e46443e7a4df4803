"""One run: open a collector, let its items judge under their deadlines, turn whatever is raised into `unknown`."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, cast

from exporter.collector import Collector, Context, Item
from exporter.options import format_duration
from exporter.plan import Job
from exporter.state import Observation
from exporter.threads import Stuck
from exporter.verdict import ProbeError, Reason, Result, unknown

__all__ = ["Runner", "utc_now"]

log = logging.getLogger(__name__)

#: A run may take this many item deadlines in all: opening, facts that items share, and closing.
RUN_FACTOR = 3
#: Closing connections after a run gets this many seconds before it is given up.
CLOSING_SECONDS = 5.0


def utc_now() -> datetime:
    """The present time, in UTC."""
    return datetime.now(UTC)


class Runner:
    """Runs jobs, at most `concurrency` at a time. Never raises for what a collector or a server does.

    `redact` is applied to every sentence before anyone reads it.
    """

    def __init__(self, *, concurrency: int = 16, redact: Callable[[str], str] = str) -> None:
        self._places = asyncio.Semaphore(concurrency)
        self._redact = redact

    async def run(self, job: Job, context: Context) -> dict[str, Observation]:
        """What was seen of each of the job's items, by name. Every item gets an observation."""
        async with self._places:
            declared = job.collector.items()
            items = [declared[name] for name in job.items]
            observed: dict[str, Observation] = {}
            timeout = job.settings.timeout.total_seconds()
            run = asyncio.create_task(self._run(job, items, timeout, context, observed), name=f"run {job.id}")
            try:
                await self._finish(run, RUN_FACTOR * timeout)
            finally:
                if not run.done():
                    run.cancel()
            failure = None if not run.done() or run.cancelled() else run.exception()
            for item in items:
                if item.name not in observed:
                    reason = failure or ProbeError(
                        f"{job.id} was not verified: the run took longer than "
                        f"{format_duration(RUN_FACTOR * job.settings.timeout)} in all."
                    )
                    observed[item.name] = self._raised(job.id, reason, context, 0.0, item, timeout)
            return observed

    @staticmethod
    async def _finish(run: asyncio.Task[None], seconds: float) -> None:
        """Wait for the run; past its deadline cancel it, and leave it to itself when even that takes too long."""
        done, _ = await asyncio.wait({run}, timeout=seconds)
        if not done:
            run.cancel()
            await asyncio.wait({run}, timeout=CLOSING_SECONDS)

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
                result = await item.verify(collector)
            if not isinstance(result, Result):
                raise TypeError(f"{name} returned {type(result).__name__}, not a Result.")
        except asyncio.CancelledError:
            if cast("asyncio.Task[Any]", asyncio.current_task()).cancelling():
                raise
            # Not the run was cancelled, but something in a library that the item waited for.
            error = ProbeError(f"{name} could not be seen: what was waited for was cancelled half-way.")
            observed[item.name] = self._raised(name, error, context, time.perf_counter() - started, item, timeout)
            return
        except Exception as error:  # noqa: BLE001  # the one place that catches broadly: it becomes `unknown`
            observed[item.name] = self._raised(name, error, context, time.perf_counter() - started, item, timeout)
            return
        observed[item.name] = Observation(self._clean(result), context.now(), time.perf_counter() - started)

    def _clean(self, result: Result) -> Result:
        return Result(
            result.status,
            _bounded(self._redact(result.summary)),
            _finite(result.measurements),
            result.valid_until,
            result.evidence,
            result.reason,
        )

    def _raised(
        self, name: str, error: BaseException, context: Context, duration: float, item: Item, timeout: float
    ) -> Observation:
        """An observation `unknown` that says what was raised. What no collector foresaw is also logged with its traceback."""
        if isinstance(error, ProbeError | Stuck):
            summary = str(error) or f"{name} could not be seen, for a reason that was not given."
            reason = error.reason if isinstance(error, ProbeError) else Reason.TIMEOUT
        elif isinstance(error, TimeoutError):
            summary, reason = f"{name} was not seen within {timeout:g} s.", Reason.TIMEOUT
        else:
            told = " ".join(self._redact(str(error)).split())  # before a secret of several lines becomes another text
            kind, reason = type(error).__name__, Reason.ERROR
            summary = f"{name} could not be seen: {kind}: {told}" if told else f"{name} could not be seen: {kind}."
            log.error("%s raised %s", name, kind, exc_info=error)
        result = unknown(_bounded(self._redact(summary)), reason=reason)
        return Observation(result, context.now(), duration, error=True)


def _bounded(text: str, limit: int = 1000) -> str:
    """One line of at most `limit` characters, all of which UTF-8 has and none of which a terminal obeys."""
    text = text.encode("utf-8", "backslashreplace").decode()
    text = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _finite(measurements: Mapping[str, float]) -> dict[str, float]:
    """Without NaN and infinities: a measurement that was not taken has no value."""
    return {name: float(value) for name, value in measurements.items() if abs(float(value)) < float("inf")}
