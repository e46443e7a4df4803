"""What a run asks of servers and is answered, step by step; kept only for `explain`, and for pages with `--web.enable-debug`."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Collection, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ParamSpec, TypeVar

from exporter.verdict import ProbeError

__all__ = ["STEPS_SHOWN", "Step", "Trace", "Traces", "step", "traced", "tracing"]

P = ParamSpec("P")
T = TypeVar("T")

_NO_ANSWER = "no answer"
#: Steps of a run that are shown; a run over many nodes has thousands.
STEPS_SHOWN = 100


@dataclass(slots=True)
class Step:
    """One question and its answer, in words; `seconds` is how long that took.

    Neither holds what a reply contains: a body or a row may hold a secret that nobody named.
    """

    asked: str
    answered: str = _NO_ANSWER
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Trace:
    """A job's run that began `at`: its first `STEPS_SHOWN` steps, of `total`."""

    at: datetime
    steps: tuple[Step, ...]
    total: int


_steps: ContextVar[list[Step] | None] = ContextVar("steps", default=None)


@contextmanager
def tracing() -> Iterator[list[Step]]:
    """Keep the steps of everything that is begun in this context, in the order of their answers."""
    steps: list[Step] = []
    token = _steps.set(steps)
    try:
        yield steps
    finally:
        _steps.reset(token)


@contextmanager
def step(asked: str) -> Iterator[Step]:
    """A step under way: what is put into `answered` is its answer, else the sentence of a ProbeError that ends it."""
    steps = _steps.get()
    taken = Step(asked)
    started = time.perf_counter()
    try:
        yield taken
    except ProbeError as error:
        taken.answered = str(error)
        raise
    finally:
        taken.seconds = time.perf_counter() - started
        if steps is not None:
            steps.append(taken)


def traced(
    asked: Callable[..., str], answered: Callable[[Any], str]
) -> Callable[[Callable[P, Coroutine[Any, Any, T]]], Callable[P, Coroutine[Any, Any, T]]]:
    """Make a step of every call of a coroutine function; `asked` gets its arguments, `answered` what it returns."""

    def decorate(call: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
        @functools.wraps(call)
        async def asking(*args: P.args, **kwargs: P.kwargs) -> T:
            if _steps.get() is None:
                return await call(*args, **kwargs)
            with step(asked(*args, **kwargs)) as taken:
                reply = await call(*args, **kwargs)
                taken.answered = answered(reply)
            return reply

        return asking

    return decorate


class Traces:
    """The steps of the last run of each job, by its id. `redact` takes secrets out of what was asked and answered."""

    def __init__(self, redact: Callable[[str], str] = str) -> None:
        self._redact = redact
        self._last: dict[str, Trace] = {}

    @contextmanager
    def of_run(self, job: str, at: datetime) -> Iterator[None]:
        """Keep the steps of a run of this job, which begins now, in place of those of its last one."""
        with tracing() as steps:
            yield
        kept = [Step(self._redact(one.asked), self._redact(one.answered), one.seconds) for one in steps[:STEPS_SHOWN]]
        self._last[job] = Trace(at, tuple(kept), len(steps))

    def last(self, job: str) -> Trace | None:
        """What the job's last run asked; None when it has not run."""
        return self._last.get(job)

    def only(self, jobs: Collection[str]) -> None:
        """Forget the runs of all jobs but these."""
        for gone in self._last.keys() - set(jobs):
            del self._last[gone]
