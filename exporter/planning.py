"""From bindings and settings to a plan: which items there are, and which runs verify them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from exporter.catalogue import Binding, Catalogue, Entry
from exporter.collector import Collector, Mode, SectionSettings, Target
from exporter.plan import Job, PlannedItem, Waiver

__all__ = ["OwnLine", "Planner", "targets_of"]


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
    """Plans what to verify: settings by section, the configuration's own lines and the waivers by item."""

    def __init__(
        self,
        catalogue: Catalogue,
        sections: Mapping[str, SectionSettings],
        own: Mapping[str, OwnLine],
        waivers: Mapping[str, Waiver],
    ) -> None:
        self._catalogue = catalogue
        self._sections = {**_unasked(catalogue), **sections}
        self._own = own
        self._waivers = waivers

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
        return SectionSettings(**common | {name: value for name, value in changed.items() if value is not None})

    def _item(self, binding: Binding) -> PlannedItem:
        entry = binding.entry
        settings = self._settings(entry.section, self._own.get(entry.id))
        return PlannedItem(
            section=entry.section,
            item=entry.item,
            line=binding.line,
            heading=binding.heading,
            group=entry.group,
            severity=entry.severity,
            mode=entry.mode,
            declared=entry.declared,
            verified_by=entry.verified_by,
            targets=self._target_names(entry),
            every=settings.every,
            stale_after=settings.stale_after or 3 * settings.every,
            team=settings.team,
            runbook_url=settings.runbook_url,
            not_applicable=_reason(settings.not_applicable, entry.item),
            waiver=self._waivers.get(entry.id),
        )

    def _target_names(self, entry: Entry) -> tuple[str, ...]:
        """The targets that the item is verified on; none when its section is not configured."""
        if entry.declared is None:
            return ()
        if entry.id in self._own:
            return ("",)
        if entry.section not in self._sections:
            return ()
        collector = self._catalogue.collectors[entry.section]
        return ("",) if collector.Target is None else tuple(t.name for t in targets_of(self._sections[entry.section]))

    def jobs(self, items: Iterable[PlannedItem]) -> Iterator[Job]:
        """A run for each section and target, and for each line of the configuration's own."""
        runnable = [item for item in items if item.targets and not item.not_applicable]
        for section, collector in self._catalogue.collectors.items():
            names = tuple(item.item for item in runnable if item.section == section and item.id not in self._own)
            settings = self._settings(section)
            if names and collector.Target is None:
                yield Job(section, "", collector, settings, None, names)
            elif names:
                for target in targets_of(settings):
                    yield Job(section, target.name, collector, settings, target, names)
        for item in runnable:
            if own := self._own.get(item.id):
                settings = self._settings(item.section, own)
                yield Job(item.section, "", own.collector, settings, None, (item.item,), item.id)


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
