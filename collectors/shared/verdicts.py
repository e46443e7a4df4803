"""Verdicts that are made of parts."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from difflib import SequenceMatcher

from exporter.verdict import ProbeError, Result, unobserved, worst

__all__ = ["collected", "verdict", "worst_of"]

_PLAIN = re.compile(r"[a-z]{2,}[,.;:]?")
_ALIKE = 0.75  # a name that is a plain word, such as orders, must not make a sort of its own


async def worst_of(*parts: Awaitable[Result], keep: Callable[[float, float], float] = max) -> Result:
    """The worst of several verdicts on one line. A part that cannot be seen is `unknown` and does not hide the others.

    Where parts measured the same thing, the value that `keep` chooses of two is kept: the highest by default.
    """
    seen = [_seen(part) for part in await asyncio.gather(*parts, return_exceptions=True)]
    measured: dict[str, float] = {}
    for result in seen:
        for name, value in result.measurements.items():
            measured[name] = keep(value, measured.get(name, value))
    return replace(worst(*seen), measurements=measured)


def _seen(part: Result | BaseException) -> Result:
    if isinstance(part, ProbeError):
        return unobserved(part)
    if isinstance(part, BaseException):
        raise part
    return part


def collected(judged: Iterable[Result]) -> list[Result]:
    """What a judge yields, and `unknown` where it raises ProbeError."""
    problems: list[Result] = []
    try:
        problems.extend(judged)
    except ProbeError as why:
        problems.append(unobserved(why))
    return problems


def verdict(problems: Iterable[Result], good: Result, *, most: int = 5) -> Result:
    """`good`, or the worst of the problems in at most `most` sentences. The measurements of `good` are kept.

    Of the problems with the worst status, one of each sort comes first, in the order in which they were found (a judge yields the
    worst first), then others while there is room, then how many are left. What raises ProbeError half-way is `unknown`.
    """
    if not (found := collected(problems)):
        return good
    status = worst(*found).status
    sentences = list(dict.fromkeys(problem.summary for problem in found if problem.status is status))
    firsts = _first_of_each_sort(sentences)
    shown = firsts[:most]
    shown += [sentence for sentence in sentences if sentence not in shown][: most - len(shown)]
    if left := len(sentences) - len(shown):
        similar = len(firsts) <= most
        shown.append(f"{left} more {'is' if left == 1 else 'are'} {'similar' if similar else 'not shown'}.")
    reason = next(problem.reason for problem in found if problem.summary == shown[0] and problem.status is status)
    return Result(status, " ".join(shown), good.measurements, reason=reason)


def _first_of_each_sort(sentences: Iterable[str]) -> list[str]:
    """Sentences of one sort say the same of different things: their plain words are the same, names, numbers and amounts differ."""
    sorts: dict[tuple[str, ...], str] = {}
    known: set[tuple[str, ...]] = set()
    for sentence in sentences:
        words = tuple(word for word in sentence.split() if _PLAIN.fullmatch(word))
        if words not in known and not any(SequenceMatcher(None, words, other).ratio() >= _ALIKE for other in sorts):
            sorts[words] = sentence
        known.add(words)
    return list(sorts.values())
