"""What a run asks of servers and is answered, step by step; kept only where someone looks, as `explain` does."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from exporter.verdict import ProbeError

__all__ = ["Step", "step", "traced", "tracing"]

P = ParamSpec("P")
T = TypeVar("T")

_NO_ANSWER = "no answer"


@dataclass(slots=True)
class Step:
    """One question and its answer, in words; `seconds` is how long that took.

    Neither holds what a reply contains: a body or a row may hold a secret that nobody named.
    """

    asked: str
    answered: str = _NO_ANSWER
    seconds: float = 0.0


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
