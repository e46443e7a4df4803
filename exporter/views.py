"""An item as of the time of reading: what pages, metrics and reports show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from exporter.causes import Key
from exporter.maintenance import Period
from exporter.plan import PlannedItem, Waiver
from exporter.verdict import Reason, Status

__all__ = ["CauseView", "ItemView", "TargetView"]


@dataclass(frozen=True, slots=True)
class TargetView:
    """One item on one target, as of the time of reading."""

    target: str
    status: Status
    summary: str
    measurements: Mapping[str, float]
    last_run: datetime | None
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class CauseView:
    """A line because of which another one does not pass, and its status."""

    section: str
    item: str
    status: Status

    @property
    def id(self) -> str:
        """`section.item`."""
        return f"{self.section}.{self.item}"


@dataclass(frozen=True, slots=True)
class ItemView:
    """One item, as of the time of reading. `last_run` is the oldest among its targets; durations are seconds.

    `reason` says why the line does not pass, also where a waiver accepts that. `announced` is the summary with which it ceased
    to pass, the same as long as status and reason are. `maintenance` is under way. `causes` are the lines because of which it
    does not pass and whose notifications name it, `effects` those of which it is such a cause.
    """

    planned: PlannedItem
    status: Status
    summary: str
    targets: tuple[TargetView, ...]
    measurements: Mapping[str, float]
    since: datetime
    last_run: datetime | None
    last_ok: datetime | None
    valid_until: datetime | None
    evidence: tuple[object, ...]
    duration: float | None
    runs: int
    errors: int
    reason: Reason | None = None
    announced: str | None = None
    maintenance: Period | None = None
    causes: tuple[CauseView, ...] = ()
    effects: tuple[Key, ...] = ()

    @property
    def waiver(self) -> Waiver | None:
        """The waiver that accepts the item's present status, if one does."""
        return self.planned.waiver if self.status is Status.WAIVED else None
