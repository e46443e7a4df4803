"""What a configuration asks for: which items exist, and which runs verify them. Made by `config.load`, never changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from exporter.collector import Collector, Item, Mode, SectionSettings, Target
from exporter.verdict import Severity

__all__ = ["Job", "Plan", "PlannedItem", "Waiver"]


@dataclass(frozen=True, slots=True)
class Waiver:
    """Accepts that a line is not true, with a reason, an owner and an end."""

    reason: str
    owner: str
    until: date

    @property
    def ends_at(self) -> datetime:
        """The moment from which the waiver no longer holds: the end of its last day, UTC."""
        if self.until == date.max:  # after which there is no day
            return datetime.max.replace(tzinfo=UTC)
        return datetime.combine(self.until + timedelta(days=1), time.min, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class PlannedItem:
    """One line of the checklist as configured.

    `section` and `item` are the labels, `line` the text and `heading` the heading above it, verbatim. `declared` is None when no
    collector verifies the line; `targets` are the names of the targets it is verified on (`""` alone when the section has none),
    and empty when its section is not configured.
    """

    section: str
    item: str
    line: str
    heading: str
    group: str
    severity: Severity
    mode: Mode | None
    declared: Item | None = None
    verified_by: str | None = None
    targets: tuple[str, ...] = ()
    every: timedelta = timedelta(minutes=1)
    stale_after: timedelta = timedelta(minutes=3)
    team: str = ""
    runbook_url: str = ""
    not_applicable: str | None = None
    waiver: Waiver | None = None

    @property
    def id(self) -> str:
        """`section.item`, as configuration and evidence name it."""
        return f"{self.section}.{self.item}"


@dataclass(frozen=True, slots=True)
class Job:
    """One scheduled run: a section on one of its targets. `items` are the names that it verifies, all of one collector.

    `name` is set where a section has other runs on the same target: for the lines that the configuration verifies itself.
    """

    section: str
    target: str
    collector: type[Collector[Any, Any]]
    settings: SectionSettings
    target_settings: Target | None
    items: tuple[str, ...]
    name: str = ""

    @property
    def id(self) -> str:
        """`section` or `section/target`, or the name (`section.item`)."""
        if self.name:
            return self.name
        return f"{self.section}/{self.target}" if self.target else self.section

    @property
    def needs(self) -> tuple[str, ...]:
        """The rights and settings that its items need as it is configured, without those for options that are not set."""
        declared = self.collector.items()
        return tuple(need for name in self.items for need in declared[name].needs if self._applies(need))

    def _applies(self, need: str) -> bool:
        option = getattr(need, "option", "")
        return not option or any(getattr(options, option, None) for options in (self.target_settings, self.settings))


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a configuration asks for, ready to run. `items` are in the checklist's order."""

    environment: str
    release: str | None
    items: tuple[PlannedItem, ...]
    jobs: tuple[Job, ...]
    objectives: dict[str, float] = field(default_factory=dict)
    evidence_expiring_within: timedelta = timedelta(days=14)
