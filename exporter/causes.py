"""Causes: lines whose failure explains that of others, so that one notification names them all. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from exporter.verdict import Reason, Severity, Status

__all__ = ["Cause", "Graph", "Key", "Standing", "cycle"]

Key = tuple[str, str]
"""Section and item of a line."""


@dataclass(frozen=True, slots=True)
class Cause:
    """A line that another one, the dependent, depends on.

    `targets` are pairs of a target of the dependent with one of the cause: only the latter explains the former. Without pairs the
    cause as a whole explains all of them. `unseen` is for one that explains only that the dependent cannot be checked.
    """

    section: str
    item: str
    targets: tuple[tuple[str, str], ...] = ()
    unseen: bool = False

    @property
    def key(self) -> Key:
        """Which line it is."""
        return self.section, self.item


@dataclass(frozen=True, slots=True)
class Standing:
    """How a line that does not pass stands now: `status` is FAILED or UNKNOWN, whether a waiver accepts that or not.

    `alerts` says whether people are notified of it: not of one that is waived, under maintenance, or computed from others. `slack`
    is how late its last OK may be observed. `failing` are the targets on which it does not pass, where they tell causes apart.
    """

    status: Status
    reason: Reason | None
    severity: Severity
    last_ok: datetime | None
    slack: timedelta
    alerts: bool = True
    failing: frozenset[str] = frozenset()


_SEVERITIES = list(Severity)
#: Reasons that a line has by itself: nothing else explains them, and they explain nothing else.
_OF_ITS_OWN = frozenset(
    {
        Reason.EXPIRED,
        Reason.INVALID,
        Reason.NOT_CONFIGURED,
        Reason.NOT_VERIFIED,
        Reason.PENDING,
        Reason.STALE,
        Reason.DENIED,
        Reason.ERROR,
    }
)


def _explains(cause: Standing, dependent: Standing, *, unseen: bool) -> bool:
    """Whether one that does not pass may be why another one does not: they ceased to be OK at about the same time.

    One that was never OK is no news where it cannot be checked, nor where the dependent was OK meanwhile. What is `unseen` by the
    same client is denied to both at once.
    """
    if unseen and dependent.status is not Status.UNKNOWN:
        return False
    reasons = {cause.reason, dependent.reason}
    if reasons & _OF_ITS_OWN and not (unseen and reasons == {Reason.DENIED}):
        return False
    if cause.last_ok is None:
        return cause.status is Status.FAILED and dependent.last_ok is None
    return dependent.last_ok is None or abs(cause.last_ok - dependent.last_ok) <= cause.slack + dependent.slack


class Graph:
    """What depends on what. `standing` of its methods gives how a line stands now, None for one that passes or is not verified."""

    def __init__(self, causes: Mapping[Key, Iterable[Cause]]) -> None:
        self._causes = {key: tuple(found) for key, found in causes.items() if found}
        self._dependents: dict[Key, list[Key]] = {}
        paired: set[Key] = set()
        for key, found in self._causes.items():
            for cause in found:
                self._dependents.setdefault(cause.key, []).append(key)
                if cause.targets:
                    paired |= {key, cause.key}
        self.by_target = frozenset(paired)
        """The lines whose causes or dependents are told apart by targets."""

    def __contains__(self, key: Key) -> bool:
        return key in self._causes or key in self._dependents

    def __iter__(self) -> Iterator[Key]:
        return iter(dict.fromkeys((*self._causes, *self._dependents)))

    def affected(self, keys: Iterable[Key], standing: Callable[[Key], Standing | None]) -> list[Key]:
        """These lines and all whose causes may be others when these change, each once."""
        found = dict.fromkeys(key for key in keys if key in self)
        left = list(found)
        while left:
            for dependent in self._dependents.get(left.pop(), ()):
                if dependent not in found and standing(dependent) is not None:
                    found[dependent] = None
                    left.append(dependent)
        return list(found)

    def roots(
        self, key: Key, standing: Callable[[Key], Standing | None], known: dict[Key, bool] | None = None
    ) -> tuple[Key, ...]:
        """The lines whose notifications stand for that of this one, the most severe first; none where it has its own.

        Of several lines of a section one is enough: they have one notification. `known` remembers which lines have causes, for
        several questions at the same moment.
        """
        if (dependent := standing(key)) is None:
            return ()
        known = {} if known is None else known
        roots: list[Key] = []
        for one in self._notifying(key, dependent, standing):
            if one not in known:
                known[one] = any(self._notifying(one, _known(standing, one), standing))
            if not known[one]:
                roots.append(one)
        if len(roots) < 2:
            return tuple(roots)
        roots.sort(key=lambda one: _SEVERITIES.index(_known(standing, one).severity))
        return tuple({section: (section, item) for section, item in reversed(roots)}.values())[::-1]

    def _notifying(self, key: Key, of: Standing, standing: Callable[[Key], Standing | None]) -> Iterator[Key]:
        """The lines that explain this one, directly or through others, and are notified of with its severity or a higher one."""
        seen = {key}
        left = [key]
        while left:
            for cause in self._holding(left.pop(), standing):
                if cause.key in seen:
                    continue
                seen.add(cause.key)
                left.append(cause.key)
                found = _known(standing, cause.key)
                if found.alerts and found.severity.at_least(of.severity):
                    yield cause.key

    def _holding(self, key: Key, standing: Callable[[Key], Standing | None]) -> list[Cause]:
        """The direct causes that explain a line, together on every target on which it does not pass; none where they do not."""
        if not (causes := self._causes.get(key)) or (dependent := standing(key)) is None:
            return []
        holding: list[Cause] = []
        explained: set[str] = set()
        entirely = False
        for cause in causes:
            if (found := standing(cause.key)) is None or not _explains(found, dependent, unseen=cause.unseen):
                continue
            if not cause.targets:
                entirely = True
            elif own := {target for target, other in cause.targets if other in found.failing} & dependent.failing:
                explained |= own
            else:
                continue
            holding.append(cause)
        return holding if entirely or explained >= dependent.failing else []


def _known(standing: Callable[[Key], Standing | None], key: Key) -> Standing:
    found = standing(key)
    assert found is not None  # it explains another one
    return found


def cycle(causes: Mapping[Key, Iterable[Key]]) -> list[Key]:
    """Lines each of which depends on the next, and the last on the first; empty where there are none."""
    done: set[Key] = set()
    for start in causes:
        way: dict[Key, Iterator[Key]] = {}
        step: Key | None = start if start not in done else None
        while step is not None or way:
            if step is not None:
                way[step] = iter(causes.get(step, ()))
            current = next(reversed(way))
            step = next((key for key in way[current] if key not in done), None)
            if step in way:
                names = list(way)
                return names[names.index(step) :]
            if step is None:
                done.add(current)
                del way[current]
    return []
