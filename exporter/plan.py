"""What a configuration asks for: which items exist, and which runs verify them. Made by `config.load`, never changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, TypeVar

from pydantic import ValidationError

from exporter.catalogue import Binding, Catalogue, Entry
from exporter.causes import Cause
from exporter.collector import Collector, Item, Mode, SectionSettings, Target
from exporter.fingerprint import fingerprint
from exporter.maintenance import Maintenance
from exporter.options import Options
from exporter.verdict import Severity

__all__ = ["EVIDENCE", "Job", "OwnLine", "Plan", "PlannedItem", "Planner", "Scope", "Waiver", "targets_of"]

T = TypeVar("T")

#: How many targets that a line does not apply to are named.
_EXCUSES = 5

#: The evidence among the things that runs share; the others are clients, by name.
EVIDENCE = "evidence"


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
    and empty when its section is not configured. `excused` are those that it does not apply to, each with the reason. `causes` are
    the verified lines that it depends on.
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
    excused: tuple[tuple[str, str], ...] = ()
    every: timedelta = timedelta(minutes=1)
    stale_after: timedelta = timedelta(minutes=3)
    team: str = ""
    runbook_url: str = ""
    not_applicable: str | None = None
    waiver: Waiver | None = None
    maintenance: tuple[Maintenance, ...] = ()
    causes: tuple[Cause, ...] = ()
    problem: str | None = None

    @property
    def id(self) -> str:
        """`section.item`, as configuration and evidence name it."""
        return f"{self.section}.{self.item}"

    @property
    def excuses(self) -> str:
        """The targets that the line does not apply to, with the reasons, in full sentences; empty where there are none."""
        named = [
            f"Not applicable to {target}: {reason.strip().rstrip('.')}." for target, reason in self.excused[:_EXCUSES]
        ]
        more = len(self.excused) - len(named)
        return " ".join([*named, f"Not applicable to {more} more."] if more else named)

    @property
    def unverified(self) -> str | None:
        """Why nothing verifies the line and what to do about it, in one or two sentences; None where something does."""
        if self.not_applicable or (self.targets and self.declared is not None):
            return None
        if self.problem is not None:
            return f"The plug-in that verifies this line is broken: {self.problem}"
        if self.declared is not None:
            return (
                f"Section {self.section} is not configured, so nothing was checked. "
                f"Add sections.{self.section}, or declare it not_applicable."
            )
        ways = (
            f"add a custom entry for it, declare it not_applicable in sections.{self.section}, "
            "or list in scope.only what is wanted"
        )
        if self.mode is not None:
            return f"No collector verifies this line yet. {ways[0].upper()}{ways[1:]}."
        return f"Nothing verifies this line. Bind it to an item (`checklist-exporter bind` proposes some), {ways}."


@dataclass(frozen=True, slots=True)
class Scope:
    """What is wanted of the checklist. `only` are names of sections and groups, empty for all; `groups` are left out, with why."""

    only: frozenset[str] = frozenset()
    reason: str = ""
    groups: Mapping[str, str] = field(default_factory=dict)

    def leaves_out(self, section: str, group: str) -> str | None:
        """Why a section of a group is left out; None where it is not."""
        if group in self.groups:
            return self.groups[group]
        if self.only and section not in self.only and group not in self.only:
            return self.reason
        return None


@dataclass(frozen=True, slots=True)
class Job:
    """One scheduled run: a section on one of its targets. `items` are the names that it verifies, all of one collector.

    `name` is set where a section has other runs on the same target: for the lines that the configuration verifies itself, which
    may have targets of their own.
    `fingerprint` is another one where what it verifies is another, or is judged by other limits.
    """

    section: str
    target: str
    collector: type[Collector[Any, Any]]
    settings: SectionSettings
    target_settings: Target | None
    items: tuple[str, ...]
    name: str = ""
    fingerprint: str = ""

    @property
    def id(self) -> str:
        """`section` or `section/target`, or the name (`section.item`, `section.item/target`)."""
        if self.name:
            return self.name
        return f"{self.section}/{self.target}" if self.target else self.section

    @property
    def needs(self) -> tuple[str, ...]:
        """The rights and settings that its items need as it is configured, without those for options that are not set."""
        declared = self.collector.items()
        return tuple(need for name in self.items for need in declared[name].needs if self._applies(need))

    @property
    def asks(self) -> Iterator[tuple[str, str]]:
        """Its items with the shared client that each asks as it is configured, where the item's needs show."""
        declared = self.collector.items()
        for name in self.items:
            for need in declared[name].needs:
                if (client := getattr(need, "client", "")) and self._applies(need):
                    yield name, client

    def _applies(self, need: str) -> bool:
        option = getattr(need, "option", "")
        return not option or any(_is_set(options, option) for options in (self.target_settings, self.settings))


def _is_set(options: Any, path: str) -> bool:
    """Whether an option is set; dots lead to an option within another."""
    for name in path.split("."):
        options = getattr(options, name, None)
    return bool(options)


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a configuration asks for, ready to run. `items` are in the checklist's order.

    `sources` are fingerprints of what runs share, by name: of each client, and of how evidence is judged.
    """

    environment: str
    release: str | None
    items: tuple[PlannedItem, ...]
    jobs: tuple[Job, ...]
    objectives: dict[str, float] = field(default_factory=dict)
    evidence_expiring_within: timedelta = timedelta(days=14)
    sources: Mapping[str, str] = field(default_factory=dict)

    def after(self, before: Plan) -> Plan:
        """This plan with the very items and jobs of `before` where they are the same.

        Who compares the two plans is done at once with what did not change, and it is in memory once.
        """
        items = {item.id: item for item in before.items}
        jobs = {job.id: job for job in before.jobs}
        return replace(
            self,
            items=tuple(_same(item, items.get(item.id)) for item in self.items),
            jobs=tuple(_same(job, jobs.get(job.id)) for job in self.jobs),
        )


def _same(new: T, old: T | None) -> T:
    return old if old is not None and old == new else new


@dataclass(frozen=True, slots=True)
class OwnLine:
    """A line that the configuration verifies itself (`custom`)."""

    entry: Entry
    options: Any
    collector: type[Collector[Any, Any]]


def targets_of(settings: SectionSettings) -> tuple[Target, ...]:
    """The targets that a section looks at; none when it looks at no targets, or does not apply."""
    return getattr(settings, "targets", None) or ()


class Planner:
    """Plans what to verify: settings by section, the configuration's own lines, and what is in scope.

    Waivers are by item, maintenance by section or item.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        sections: Mapping[str, SectionSettings],
        own: Mapping[str, OwnLine],
        waivers: Mapping[str, Waiver],
        maintenance: Mapping[str, tuple[Maintenance, ...]],
        scope: Scope,
    ) -> None:
        self._catalogue = catalogue
        self._sections = {**_unasked(catalogue), **sections}
        self._own = own
        self._waivers = waivers
        self._maintenance = maintenance
        self._scope = scope

    def items(self, bindings: Iterable[Binding]) -> tuple[PlannedItem, ...]:
        """Every line, in its order."""
        return tuple(self._item(binding) for binding in bindings)

    def objectives(self, items: Iterable[PlannedItem]) -> dict[str, float]:
        """The share of its lines that shall be true, by section."""
        return {name: self._settings(name).objective for name in dict.fromkeys(item.section for item in items)}

    def _settings(self, section: str, own: OwnLine | None = None) -> SectionSettings:
        """The settings of a section, as changed by a line of the configuration."""
        settings = self._sections.get(section) or SectionSettings()
        if own is None:
            return settings
        common = {name: getattr(settings, name) for name in SectionSettings.model_fields}
        changed = {name: getattr(own.options, name) for name in ("every", "team", "runbook_url")}
        changed["timeout"] = own.options.timeout or max(settings.timeout, own.options.longest)
        return SectionSettings(**common | {name: value for name, value in changed.items() if value is not None})

    def _item(self, binding: Binding) -> PlannedItem:
        entry = binding.entry
        settings = self._settings(entry.section, self._own.get(entry.id))
        targets, excused = self._target_names(entry)
        planned = PlannedItem(
            section=entry.section,
            item=entry.item,
            line=binding.line,
            heading=binding.heading,
            group=entry.group,
            severity=entry.severity,
            mode=entry.mode,
            declared=entry.declared,
            verified_by=entry.verified_by,
            targets=targets,
            excused=excused,
            every=settings.every,
            stale_after=settings.stale_after or 3 * settings.every,
            team=settings.team,
            runbook_url=settings.runbook_url,
            not_applicable=_reason(settings.not_applicable, entry.item) or self._left_out(entry),
            waiver=self._waivers.get(entry.id),
            maintenance=self._maintenance.get(entry.section, ()) + self._maintenance.get(entry.id, ()),
            problem=entry.problem,
        )
        if excused and not targets and planned.not_applicable is None:
            return replace(planned, not_applicable=planned.excuses)
        return planned

    def _left_out(self, entry: Entry) -> str | None:
        """Why a line is out of scope; what the configuration verifies itself never is."""
        return None if entry.id in self._own else self._scope.leaves_out(entry.section, entry.group)

    def _target_names(self, entry: Entry) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
        """The targets that the item is verified on, none when its section is not configured; and those that are excused."""
        if entry.declared is None or (entry.id not in self._own and entry.section not in self._sections):
            return (), ()
        if own := self._own.get(entry.id):
            return tuple(part.name for part in own.options.parts) or ("",), ()
        if self._catalogue.collectors[entry.section].Target is None:
            return ("",), ()
        targets = targets_of(self._sections[entry.section])
        wanted = [target for target in targets if entry.item not in target.not_applicable]
        excused = tuple((t.name, t.not_applicable[entry.item]) for t in targets if entry.item in t.not_applicable)
        return tuple(target.name for target in _unlike(wanted, entry.declared.judged_by)), excused

    def jobs(self, items: Iterable[PlannedItem]) -> Iterator[Job]:
        """A run for each section and target, and for each line of the configuration's own."""
        runnable = [item for item in items if item.targets and not item.not_applicable]
        for section, collector in self._catalogue.collectors.items():
            planned = [item for item in runnable if item.section == section and item.id not in self._own]
            names = tuple(item.item for item in planned)
            settings = self._settings(section)
            if names and collector.Target is None:
                identity = fingerprint(settings, without=_COMMON)
                yield Job(section, "", collector, settings, None, names, fingerprint=identity)
            elif names:
                # A run knows its own target alone: by the list of all, each of thousands of jobs would change with any of them.
                common = settings.model_copy(update={"targets": ()})
                verified = _by_target(planned)
                for target in targets_of(settings):
                    if not (names := verified.get(target.name, ())):
                        continue
                    identity = fingerprint(common, target, without=_COMMON)
                    yield Job(section, target.name, collector, common, target, names, fingerprint=identity)
        for item in runnable:
            if own := self._own.get(item.id):
                settings = self._settings(item.section, own)
                identity = fingerprint(own.options, without=_COMMON)
                for part in own.options.parts or (None,):
                    on, name = (part.name, f"{item.id}/{part.name}") if part else ("", item.id)
                    yield Job(item.section, on, own.collector, settings, part, (item.item,), name, identity)


def _by_target(items: Iterable[PlannedItem]) -> dict[str, tuple[str, ...]]:
    """The names of the items that are verified on each target; where all are, the tuple is one and the same."""
    found: dict[str, list[str]] = {}
    for item in items:
        for target in item.targets:
            found.setdefault(target, []).append(item.item)
    known: dict[tuple[str, ...], tuple[str, ...]] = {}
    return {target: known.setdefault(names, names) for target, names in ((t, tuple(n)) for t, n in found.items())}


def _unlike(targets: Sequence[Target], judged_by: Sequence[type[Options]] | None) -> Iterable[Target]:
    """The targets on which an item is verified: all, or the first of those with the same of the options that it is judged by."""
    if judged_by is None:
        return targets
    names = {name for options in judged_by for name in options.model_fields}
    first: dict[str, Target] = {}
    for target in targets:
        first.setdefault(fingerprint({name: getattr(target, name) for name in sorted(names)}), target)
    return first.values()


#: Options that say when, by whom and with what names a line is verified, not what is verified.
_COMMON = frozenset((*SectionSettings.model_fields, "targets", "severity"))


def _reason(reasons: str | dict[str, str] | None, item: str) -> str | None:
    return reasons.get(item) if isinstance(reasons, dict) else reasons


def _unasked(catalogue: Catalogue) -> dict[str, SectionSettings]:
    """The sections that run without being configured: those with lines that evidence alone verifies, and no required options."""
    found = {}
    for name, collector in catalogue.collectors.items():
        if collector.Target is None and any(item.mode is Mode.EVIDENCE for item in collector.items().values()):
            with suppress(ValidationError):
                found[name] = collector.Settings()
    return found
