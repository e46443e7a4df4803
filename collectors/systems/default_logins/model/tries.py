"""What became of the last try of a default login."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum

__all__ = ["PAUSE", "Outcome", "Tried", "measurements", "recalled"]

PAUSE = timedelta(days=1)
"""How long a login is not tried again, whatever became of it."""


class Outcome(Enum):
    """What became of a login."""

    REFUSED = 0
    ACCEPTED = 1


@dataclass(frozen=True, slots=True)
class Tried:
    """When a login was last tried, or was about to be, and what became of it; `why` where that is not known."""

    at: datetime
    outcome: Outcome | None = None
    why: str = ""


def measurements(tries: Mapping[str, Tried]) -> dict[str, float]:
    """The tries, as measurements: these outlive the process."""
    found = {f"{key}_try_timestamp_seconds": tried.at.timestamp() for key, tried in tries.items()}
    return found | {
        f"{key}_accepted": float(one.outcome.value) for key, one in tries.items() if one.outcome is not None
    }


def recalled(measured: Mapping[str, float], key: str) -> Tried | None:
    """What measurements say of a login; None where they say nothing."""
    if (at := measured.get(f"{key}_try_timestamp_seconds")) is None:
        return None
    accepted = measured.get(f"{key}_accepted")
    return Tried(datetime.fromtimestamp(at, UTC), None if accepted is None else Outcome(int(accepted)))
