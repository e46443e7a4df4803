"""What runs saw, what changed by it, and what an archive keeps of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from exporter.verdict import Result, Status

__all__ = ["Archive", "Observation", "Remembered", "Transition"]


@dataclass(frozen=True, slots=True)
class Observation:
    """What one run saw of one item on one target. `duration` is in seconds; `error` says that it raised instead of judging.

    A line that is only not configured raises, too, and is no error. `fingerprint` shows what it was made with: the job's settings,
    the shared clients that it used, and evidence.
    """

    result: Result
    at: datetime
    duration: float = 0.0
    error: bool = False
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Transition:
    """An item's status changed: from which, to which, when and why (the sentence)."""

    section: str
    item: str
    from_status: Status | None
    to_status: Status
    at: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Remembered:
    """What an archive kept of one item from before a restart."""

    status: Status
    since: datetime
    last_ok: datetime | None
    observations: Mapping[str, Observation]


class Archive(Protocol):
    """Where transitions and last observations outlive the process. `exporter.history.History` is the real one."""

    incomplete: bool
    """Set by the archive when it lost what it had: it is then given everything that is known."""

    def load(self) -> Mapping[tuple[str, str], Remembered]:
        """Everything kept, by (section, item)."""

    def keep(self, transitions: Sequence[Transition], kept: Mapping[tuple[str, str], Remembered]) -> None:
        """Have these written soon, of each item what its run saw. Returns at once, and reports trouble itself."""
