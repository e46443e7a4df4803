"""The words that sentences are made of: sizes, ages, counts, lists, and what a server says on one line."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from datetime import timedelta

from exporter.logs import redact

__all__ = ["counted", "format_length", "format_size", "listed", "one_line", "os_reason"]


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


def one_line(text: object, limit: int = 300) -> str:
    """What a server says, as the end of a sentence: one line of at most `limit` characters, without its full stop."""
    return " ".join(redact(str(text)).split()).rstrip(".")[:limit]  # redacted first: half a secret is known by nobody


def os_reason(error: OSError) -> str:
    """Why the operating system refused, in its own words: `Connection refused`. asyncio puts addresses into its errors instead."""
    if isinstance(error, socket.gaierror) or not error.errno:  # numbers of its own
        return (error.strerror or str(error)).strip().rstrip(".") or type(error).__name__
    return os.strerror(error.errno)
