"""What came of a canary."""

from __future__ import annotations

from dataclasses import dataclass

from exporter.verdict import ProbeError

__all__ = ["STREAM", "CacheTrip", "QueueTrip", "Refusal", "RowTrip", "Unwritten"]

#: The stream of NATS that holds the canaries, and nothing else.
STREAM = "CHECKLIST"


class Unwritten(ProbeError):
    """The server answered, and does not take or give back what is written: it was observed not to work."""


@dataclass(frozen=True, slots=True)
class RowTrip:
    """One instance of PostgreSQL: what was read in a second transaction after a first one had been committed."""

    where: str
    standby: bool
    read: str | None
    seconds: float
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error that Redis answers: its code, such as READONLY, and the rest."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class CacheTrip:
    """One Redis that takes writes: what SET, GET and PTTL were answered."""

    where: str
    written: object
    read: object
    left: object
    seconds: float


@dataclass(frozen=True, slots=True)
class QueueTrip:
    """What was stored and delivered by a stream of so many copies."""

    where: str
    copies: int
    delivered: object
    seconds: float
