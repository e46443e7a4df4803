"""Lengths of time in sentences that hold them against a limit."""

from __future__ import annotations

from datetime import timedelta
from math import ceil

from exporter.options import format_duration
from exporter.words import format_length

__all__ = ["exactly", "length_beside"]


def exactly(length: timedelta) -> str:
    """A length of time to the second: `1m5s`, not `1 minute` beside a limit of 1m."""
    return format_duration(timedelta(seconds=max(1, ceil(length.total_seconds()))))


def length_beside(length: timedelta, limit: timedelta) -> str:
    """A length of time as it is said beside a limit: to the second where it is above, and whole units would read as the limit."""
    is_hidden = length > limit and format_length(length) == format_length(limit)
    return exactly(length) if is_hidden else format_length(length)
