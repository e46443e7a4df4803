"""Up to where a primary has written, and which of its WAL waits to be archived."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = ["Base", "SegmentStatus", "WalState"]


class Base(Protocol):
    """A backup, of any tool, from which a cluster would be recovered: its name and the first WAL segment that it needs."""

    @property
    def label(self) -> str:
        """What the tool calls it."""

    @property
    def first_segment(self) -> str | None:
        """None where the tool does not say."""


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
