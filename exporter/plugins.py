"""Collectors that other packages bring: loaded one by one, so that a broken one stops none of the others."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from exporter.collector import Collector, Item, Mode, SectionSettings, Target

__all__ = [
    "ENTRY_POINTS",
    "Plugin",
    "collectors_of",
    "contradictions",
    "heading_of",
    "is_name",
    "item_contradictions",
    "named",
    "overrides",
    "plugins",
    "things_of",
]

log = logging.getLogger(__name__)

ENTRY_POINTS = "checklist_exporter.collectors"
"""The entry-point group by which other packages bring collectors: a Collector subclass, or the module that defines one."""

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_TAKES_EVIDENCE = (Mode.EVIDENCE, Mode.PROBE_AND_EVIDENCE)


@dataclass(frozen=True, slots=True)
class Plugin:
    """One entry point. `problem` says in full sentences why it cannot be used; None where it can.

    `section` is the name of its section; of a plug-in that cannot be loaded, that of its module, and `collector` is None.
    """

    section: str
    collector: type[Collector[Any, Any]] | None
    problem: str | None = None


def plugins() -> Iterator[Plugin]:
    """Every entry point, loaded. Whatever a package raises is its problem alone."""
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        named_point = f"Entry point '{point.name}' ({point.value})"
        section = point.module.rpartition(".")[2]
        try:
            value = point.load()
        except (ImportError, AttributeError, SyntaxError) as error:
            yield Plugin(section, None, f"{named_point} cannot be loaded: {error}.")
            continue
        except (Exception, SystemExit) as error:  # noqa: BLE001  # code of others, which stops nobody else
            yield Plugin(section, None, f"{named_point} cannot be loaded: it raised {type(error).__name__}.")
            continue
        found = collectors_of(value) if isinstance(value, ModuleType) else [value]
        if len(found) != 1 or not (isinstance(found[0], type) and issubclass(found[0], Collector)):
            yield Plugin(section, None, f"{named_point} is not a collector, nor a module that defines one.")
            continue
        yield _inspected(found[0], section, named_point)


def _inspected(collector: type[Collector[Any, Any]], section: str, named_point: str) -> Plugin:
    try:
        section = str(collector.section())
        collector.Settings.model_rebuild()
        problems = list(contradictions(collector))
    except Exception as error:  # noqa: BLE001  # code of others, which stops nobody else
        return Plugin(section, None, f"{named_point} cannot be used: it raised {type(error).__name__}.")
    return Plugin(section, collector, " ".join(problems) or None)


def overrides(collector: type[Collector[Any, Any]], method: str) -> bool:
    """Whether a collector has a method of its own, instead of that of `Collector`."""
    return inspect.getattr_static(collector, method) is not inspect.getattr_static(Collector, method)


def things_of(collector: type[Collector[Any, Any]], method: str, target: Target | None) -> list[tuple[str, str]] | None:
    """What `provides` or `relies_on` of a collector gives for a target: items, each with a thing; None, logged, where it raises."""
    try:
        found = getattr(collector, method)(target).items()
        return [(str(item), str(thing)) for item, things in found for thing in dict.fromkeys(things)]
    except Exception as error:  # noqa: BLE001  # code of others, which stops nobody else
        log.warning("%s.%s is not used: it raised %s.", named(collector), method, type(error).__name__)
        return None


def named(kind: type) -> str:
    """A class by its module and name."""
    return f"{kind.__module__}.{kind.__qualname__}"


def is_name(text: str) -> bool:
    """Whether a text can be a label: snake_case, beginning with a letter."""
    return _NAME.fullmatch(text) is not None


def heading_of(collector: type[Collector[Any, Any]]) -> str:
    """The heading of a collector's section: the docstring of its module."""
    return (importlib.import_module(collector.__module__).__doc__ or "").strip()


def collectors_of(module: ModuleType) -> list[type[Collector[Any, Any]]]:
    """The collectors that a module defines itself."""
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Collector) and value.__module__ == module.__name__
    ]


def contradictions(collector: type[Collector[Any, Any]]) -> Iterator[str]:
    """The rules of `docs/plugins.md` that a collector breaks, each in a full sentence."""
    name = named(collector)
    if not heading_of(collector):
        yield f"{collector.__module__} has no docstring, which would be the heading of its section."
    if not is_name(section := collector.section()):
        yield f"Section name '{section}' is not snake_case."
    if not _is_kind(collector.Settings, SectionSettings):
        yield f"{name}.Settings is not a subclass of SectionSettings."
        return
    yield from _target_contradictions(name, collector.Settings, collector.Target)
    items = collector.items()
    if not items:
        yield f"{name} declares no item: decorate a method with @item."
    for _, problems in item_contradictions(collector):
        yield from problems


def _target_contradictions(name: str, settings: type[SectionSettings], target: Any) -> Iterator[str]:
    has_targets = "targets" in settings.model_fields
    if target is None and has_targets:
        yield f"{name} has no Target, but its settings have targets: set Target to their class."
    elif target is not None and not _is_kind(target, Target):
        yield f"{name}.Target is not a subclass of Target."
    elif target is not None and not has_targets:
        yield f"{name} has a Target, but its settings have no targets: add targets: tuple[{target.__name__}, ...]."


def _is_kind(value: Any, kind: type) -> bool:
    return isinstance(value, type) and issubclass(value, kind)


def item_contradictions(collector: type[Collector[Any, Any]]) -> Iterator[tuple[Item, list[str]]]:
    """Each item that a collector declares, and how it contradicts itself or another."""
    lines: dict[str, str] = {}
    for item in collector.items().values():
        who = f"{named(collector)}.{item.name}"
        wrong = [] if is_name(item.name) else [f"Item name '{item.name}' is not snake_case."]
        if (other := lines.setdefault(item.line, item.name)) != item.name:
            wrong.append(f"{who} and {other} both verify the line '{item.line}'.")
        if (item.evidence is not None) != (item.mode in _TAKES_EVIDENCE):
            wrong.append(f"{who} has mode {item.mode} {'with' if item.evidence else 'without'} a rule for evidence.")
        if not inspect.iscoroutinefunction(item.verify):
            wrong.append(f"{who} is not a coroutine: write 'async def {item.name}(self) -> Result'.")
        yield item, wrong
