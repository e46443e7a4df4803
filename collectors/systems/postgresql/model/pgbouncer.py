"""What PgBouncer reports of its pools."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Pooler"]


@dataclass(frozen=True, slots=True)
class Pooler:
    """What one PgBouncer may open to its servers at most, and how long clients wait for it.

    `server_connections` counts every pool (one per database and user seen since it started) at its full size.
    """

    where: str
    server_connections: int
    clients_waiting: int
    longest_wait: float
