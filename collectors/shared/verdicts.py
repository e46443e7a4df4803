"""Verdicts that are made of parts, and the words they are told in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta

from exporter.collector import Cannot, Result, unknown, worst

__all__ = ["collected", "counted", "format_length", "format_size", "listed", "narrowed", "verdict", "worst_of"]


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
    if isinstance(part, Cannot):
        return unknown(str(part))
    if isinstance(part, BaseException):
        raise part
    return part


def collected(judged: Iterable[Result]) -> list[Result]:
    """What a judge yields, and `unknown` where it raises Cannot."""
    problems: list[Result] = []
    try:
        problems.extend(judged)
    except Cannot as why:
        problems.append(unknown(str(why)))
    return problems


def verdict(problems: Iterable[Result], good: Result, *, told: int = 4) -> Result:
    """`good`, or the worst of the problems in at most `told` sentences. The measurements of `good` are kept."""
    if not (found := list(problems)):
        return good
    status = worst(*found).status
    sentences = list(dict.fromkeys(problem.summary for problem in found if problem.status is status))
    if len(sentences) > told:
        sentences[told:] = [f"Of {len(sentences) - told} more the like is true."]
    return Result(status, " ".join(sentences), good.measurements)


def narrowed(result: Result, selectors: Mapping[str, str]) -> Result:
    """A verdict on objects of Kubernetes, with the label selectors (by plural names of kinds) that left some of them out."""
    if not selectors:
        return result
    looked_at = listed(f"{plural} ({selector})" for plural, selector in sorted(selectors.items()))
    return replace(result, summary=f"{result.summary} Looked at only: {looked_at}.")


def format_size(size: float) -> str:
    """A number of bytes for a sentence: `312 MB`, `31.2 GB` (decimal units, three digits)."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def format_length(length: timedelta) -> str:
    """A length of time in its largest whole unit: `20 days`, `5 hours`."""
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if length.total_seconds() >= size:
            return counted(int(length.total_seconds() // size), unit)
    return counted(max(0, int(length.total_seconds())), "second")


def counted(number: int, thing: str, things: str | None = None) -> str:
    """A number of things: `1 pod`, `3 pods`; `things` is the plural where it is not made with an s."""
    return f"{number} {thing if number == 1 else things or thing + 's'}"


def listed(names: Iterable[str], most: int = 5) -> str:
    """The first names of many, and how many more there are: `a, b and c`, `a, b and 12 more`."""
    all_names = list(names)
    *first, last = all_names if len(all_names) <= most else [*all_names[:most], f"{len(all_names) - most} more"]
    return f"{', '.join(first)} and {last}" if first else last
