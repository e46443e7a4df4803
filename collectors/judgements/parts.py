"""Verdicts that are made of parts, and the words they are told in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace

from exporter.collector import Cannot, Result, unknown, worst

__all__ = ["format_size", "worst_of"]


async def worst_of(*parts: Awaitable[Result]) -> Result:
    """The worst of several verdicts on one line. A part that cannot be seen is `unknown` and does not hide the others.

    Where parts measured the same thing, the highest value is kept.
    """
    seen = await asyncio.gather(*map(_seen, parts))
    measured: dict[str, float] = {}
    for result in seen:
        for name, value in result.measurements.items():
            measured[name] = max(value, measured.get(name, value))
    return replace(worst(*seen), measurements=measured)


async def _seen(part: Awaitable[Result]) -> Result:
    try:
        return await part
    except Cannot as error:
        return unknown(str(error))


def format_size(size: float) -> str:
    """A number of bytes for a sentence: `312 MB`, `31.2 GB` (decimal units, three digits)."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
