"""Until when minor versions of Kubernetes get patches, as https://kubernetes.io/releases/ lists it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

__all__ = ["AS_OF", "END_OF_SUPPORT", "is_outdated", "oldest_supported"]

AS_OF = date(2026, 11, 30)
"""When the table was last checked."""
_GOOD_FOR = timedelta(days=365)
END_OF_SUPPORT: Mapping[tuple[int, int], date] = {
    (1, 32): date(2026, 2, 28),
    (1, 33): date(2026, 6, 28),
    (1, 34): date(2026, 10, 27),
    (1, 35): date(2027, 2, 28),
    (1, 36): date(2027, 6, 28),
    (1, 37): date(2027, 10, 28),
}


def oldest_supported(today: date) -> tuple[int, int]:
    """The oldest minor version that gets patches on that day; the one after the newest known when none of those does any more."""
    supported = [version for version, end in END_OF_SUPPORT.items() if today <= end]
    if supported:
        return min(supported)
    major, minor = max(END_OF_SUPPORT)
    return major, minor + 1


def is_outdated(today: date) -> bool:
    """Whether the table is so old that it lacks versions: there are three new ones a year."""
    return today - AS_OF > _GOOD_FOR
