"""What a line asks of evidence. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

__all__ = ["EvidenceRule", "ReportReader", "ReportSummary"]


@dataclass(frozen=True, slots=True)
class ReportSummary:
    """What a report says that is an artifact: its format, when the run ended, its numbers, and which keys of `report` it lacks."""

    format: str
    finished: datetime | None
    measured: Mapping[str, float]
    lacks: tuple[str, ...]


ReportReader: TypeAlias = Callable[[bytes], ReportSummary]
"""Reads the content of an artifact. Raises ProbeError where it has none of the formats that are read."""


@dataclass(frozen=True, slots=True)
class EvidenceRule:
    """How evidence for an item is judged.

    `valid_for` is how long a record is valid at most. With `signed_by_role` it takes a signature by a key that allowed_signers
    lists both for the person and for the role. With `bound_to_release` it is valid for the running release alone. `links` is how
    many links it needs at least, `measured` the numbers; `artifact` whether it needs the document itself, `window` whether a
    period. `reads` reads the artifact where that is a report of a tool. With `approvers` above 1, so many different people must
    each have signed a record of their own.
    """

    valid_for: timedelta
    signed_by_role: str | None = None
    bound_to_release: bool = False
    links: int = 0
    measured: tuple[str, ...] = ()
    artifact: bool = False
    window: bool = False
    approvers: int = 1
    reads: ReportReader | None = None

    @property
    def signed(self) -> bool:
        """Whether only signed records count."""
        return self.signed_by_role is not None or self.approvers > 1
