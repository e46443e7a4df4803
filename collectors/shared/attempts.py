"""Questions of which one that fails must not hide what the others showed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TypeVar

from exporter.verdict import ProbeError

__all__ = ["attempt", "attempt_all"]

T = TypeVar("T")


async def attempt(question: Awaitable[T]) -> T | ProbeError:
    """What a question is answered, or why it is not."""
    try:
        return await question
    except ProbeError as why:
        return why


async def attempt_all(questions: Iterable[Awaitable[T]]) -> tuple[T | ProbeError, ...]:
    """What each question is answered, or why it is not, in their order; they are asked at once."""
    return tuple(await asyncio.gather(*map(attempt, questions)))
