"""Up to where a primary has written, and which of its WAL waits to be archived."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SegmentStatus", "WalState"]


@dataclass(frozen=True, slots=True)
class SegmentStatus:
    """A segment that the primary has finished: for how many seconds, by its own clock, and whether it `waits` to be archived."""

    name: str
    waits: bool
    age: float


@dataclass(frozen=True, slots=True)
class WalState:
    """`position` is where the primary writes, in bytes; `archive_timeout` is in seconds, 0 where it is off."""

    position: int
    archive_timeout: float
    finished: tuple[SegmentStatus, ...]
