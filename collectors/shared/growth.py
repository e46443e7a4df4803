"""How counters grew since an earlier look: what was counted before the window says nothing of today."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Generic, TypeVar

__all__ = ["Counters", "Growth"]

K = TypeVar("K", bound=Hashable)
Values = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Growth(Generic[K]):
    """By how much counters grew, by key, within `seconds`. What was not counted at its beginning grew from zero."""

    seconds: float
    by_key: Mapping[K, Values]


@dataclass(slots=True)
class Counters(Generic[K]):
    """Counters at some earlier moments, kept in a target's memory."""

    _looks: list[tuple[float, Mapping[K, Values]]] = field(default_factory=list)

    def grown(self, now: float, values: Mapping[K, Values], window: timedelta) -> Growth[K] | None:
        """How they grew over the last half to whole `window`; None until there is a look that old. `now` is in seconds.

        A counter that is lower than before was reset: what it shows now is how it grew since.
        """
        half = window.total_seconds() / 2
        if not self._looks or now - self._looks[-1][0] >= half:
            self._looks.append((now, values))
        while len(self._looks) > 1 and now - self._looks[1][0] >= half:
            del self._looks[0]
        since, before = self._looks[0]
        if now - since < half:
            return None
        return Growth(now - since, {key: _difference(value, before.get(key)) for key, value in values.items()})


def _difference(now: Values, before: Values | None) -> Values:
    if before is None or any(new < old for new, old in zip(now, before, strict=True)):
        return now
    return tuple(new - old for new, old in zip(now, before, strict=True))
