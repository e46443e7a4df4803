"""What can be verified: the collectors that are installed, their items, and which line of a checklist each one binds to."""

from __future__ import annotations

import csv
import hashlib
import importlib
import importlib.resources
import pkgutil
import re
import unicodedata
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import ModuleType
from typing import Any

from exporter.checklist import Checklist, ChecklistError, Line, Section, normalized, rendered, unnumbered
from exporter.collector import Client, Collector, Item, Mode
from exporter.options_reader import nearest
from exporter.plugins import Plugin, collectors_of, heading_of, is_name, item_contradictions, named, plugins
from exporter.verdict import CRITICAL, WARNING, Severity

__all__ = ["Binding", "Catalogue", "CatalogueError", "Entry", "slug"]

UNBOUND = "none"
"""The annotation `<!-- item: none -->` means that no item verifies the line, whatever its text."""

_CUSTOM = "collectors.custom"
_DISCOVERY = "collectors.discovery"
_NO_GROUPS = ("custom", "discovery", "shared", "systems")
_LONGEST = 80  # of a name that is made from a text
_SAYS_NOTHING = frozenset(
    " .,;:!?'\"()[]/_-–—‘’“”…&\N{NO-BREAK SPACE}\t\n"
)  # signs that no slug has, and no name misses
_ACCENTS = dict.fromkeys(range(0x300, 0x370))


class CatalogueError(Exception):
    """The installed collectors contradict each other or the catalogue. `problems` are full sentences."""

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


@dataclass(frozen=True, slots=True)
class Entry:
    """A line that has a name: its labels, and the collector's item that verifies it (None when there is none yet).

    `problem` says what is wrong with the plug-in that would verify it.
    """

    section: str
    item: str
    heading: str
    line: str
    group: str
    severity: Severity
    mode: Mode | None
    collector: type[Collector[Any, Any]] | None = None
    declared: Item | None = None
    problem: str | None = None

    @property
    def id(self) -> str:
        """`section.item`."""
        return f"{self.section}.{self.item}"

    @property
    def verified_by(self) -> str | None:
        """The class and the method that verify the line."""
        if self.collector is None or self.declared is None:
            return None
        return f"{named(self.collector)}.{self.declared.name}"


@dataclass(frozen=True, slots=True)
class Binding:
    """A line of a checklist and what it stands for. `number` is the line's number in the file (0: not from the file)."""

    entry: Entry
    heading: str
    line: str
    number: int


def slug(text: str) -> str:
    """A snake_case name made from a text: `Index is fresh (< 1 h)` → `index_is_fresh_1_h`, `Größe` → `grosse`."""
    name = "_".join(re.findall(r"[a-z0-9]+", _latin(text).lower()))[:_LONGEST].rstrip("_")
    return name if name[:1].isalpha() else f"line_{name}".rstrip("_")


def stable_name(text: str) -> str:
    """The name of a line or a heading that nothing else names. It depends on its text alone, not on what stands around it.

    Where the text says more than its slug (in another script, with signs such as `<`, or longer), a part of its hash tells it from
    others with the same slug.
    """
    plain = unicodedata.normalize("NFKD", text).translate(_ACCENTS)
    name = slug(text)
    if len(name) < _LONGEST and all(map(_is_spelled, plain)) and any(map(str.isalpha, plain)):
        return name
    return f"{name}_{_told_apart(text)}"


def _is_spelled(character: str) -> bool:
    """Whether a slug has the character, or nothing is lost without it."""
    if character in _SAYS_NOTHING or (character.isascii() and character.isalnum()):
        return True
    return unicodedata.name(character, "").startswith("LATIN ")


def _told_apart(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:6]


def _latin(text: str) -> str:
    """A text in Latin letters without accents."""
    from anyascii import anyascii

    plain = unicodedata.normalize("NFKD", text).translate(_ACCENTS)
    if plain.isascii():
        return plain
    return "".join(one if one.isascii() else _spelled(one, anyascii(one)) for one in plain)


def _spelled(character: str, latin: str) -> str:
    """A character in Latin letters; signs and pictures are none, and a syllable of a script without upper case is a word."""
    if unicodedata.category(character).startswith("S"):
        return " "
    return latin if character.lower() != character.upper() else f" {latin} " if latin[:1].isupper() else latin


@dataclass(frozen=True)
class Catalogue:
    """Every named line (`entries`, by id, in the order of the checklist), the collectors and the shared clients, by name.

    `broken` says by section what is wrong with a plug-in: its lines are known where it could be read, and nothing verifies them.
    `brought` are the sections of plug-ins, which the bundled checklist does not have.
    """

    checklist: Checklist
    entries: Mapping[str, Entry]
    collectors: Mapping[str, type[Collector[Any, Any]]]
    clients: Mapping[str, type[Client[Any]]] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)
    brought: frozenset[str] = frozenset()

    @cached_property
    def custom(self) -> Any:
        """The collector for lines that the configuration verifies itself: `Line` are its options, `verifying` makes one."""
        return importlib.import_module(_CUSTOM).Custom

    @cached_property
    def discovery(self) -> Any:
        """What `init` makes a configuration with: `see_cluster`, `see_metrics` and `configuration`."""
        return importlib.import_module(_DISCOVERY)

    @classmethod
    def load(cls, package: str = "collectors") -> Catalogue:
        """Find everything installed. Raises CatalogueError with all contradictions, ChecklistError for the bundled checklist."""
        root = importlib.import_module(package)
        files = importlib.resources.files(root)
        checklist = Checklist.decode((files / "checklist.md").read_bytes(), "checklist.md")
        rows = _rows((files / "catalogue.tsv").read_text(encoding="utf-8"))
        problems = [*_uncatalogued(rows, checklist)]
        builtin = list(_builtin(root, {f"{package}.{row.group}.{row.section}" for row in rows}, problems))
        collectors: dict[str, type[Collector[Any, Any]]] = {}
        for collector in builtin:
            other = collectors.setdefault(section := collector.section(), collector)
            if other is not collector:
                problems.append(f"{named(other)} and {named(collector)} are both section {section}.")
        entries = {row.id: row for row in rows}
        for collector in builtin:
            for entry in _verified(collector, rows, problems):
                entries[entry.id] = entry
        clients = _clients(root, problems)
        if problems:
            raise CatalogueError(*problems)
        broken: dict[str, str] = {}
        sections = {row.section for row in rows}
        brought: set[str] = set()
        for plugin in plugins():
            plugin = _apart(plugin, collectors, entries)
            brought |= {plugin.section} - sections
            if plugin.problem:
                broken[plugin.section] = " ".join(filter(None, (broken.get(plugin.section), plugin.problem)))
            elif plugin.collector is not None:
                collectors[plugin.section] = plugin.collector
            for entry in _brought(plugin):
                entries.setdefault(entry.id, entry)
        return cls(checklist, entries, collectors, clients, broken, frozenset(brought))

    @property
    def sections(self) -> tuple[str, ...]:
        """The names of all sections, in the order of the checklist."""
        return tuple(dict.fromkeys(entry.section for entry in self.entries.values()))

    def section(self, name: str) -> tuple[Entry, ...]:
        """The entries of one section."""
        return tuple(entry for entry in self.entries.values() if entry.section == name)

    def place(self, heading: str) -> tuple[str, str, str]:
        """The section name, group and heading of a section given by its heading or its name; made from it when there is none."""
        wanted, name = _same(heading), stable_name(unnumbered(rendered(heading)))
        for entry in self.entries.values():
            if name == entry.section or wanted == self._headings[entry.heading]:
                return entry.section, entry.group, entry.heading
        return name, name, rendered(heading)

    @cached_property
    def _headings(self) -> dict[str, str]:
        return {heading: _same(heading) for heading in {entry.heading for entry in self.entries.values()}}

    def bind(
        self, checklist: Checklist, custom: Iterable[Entry] = (), configured: Iterable[str] = ()
    ) -> tuple[Binding, ...]:
        """What each line of a checklist stands for, in its order.

        A line binds by its annotation, else by heading and text, else by text alone when that is unambiguous. A line that
        binds to nothing gets labels made from its heading and text. `custom` are the lines that the configuration verifies
        itself; those that the checklist does not have come after the others of their section. So do all lines of a plug-in
        whose section is among the `configured` ones, where the checklist has none of them. Raises ChecklistError with
        every line that is ambiguous, names an unknown item, or binds to an item that an earlier line has.
        """
        return _Binder(self, checklist, custom, configured).bind()

    def of_plugin(self, section: str) -> tuple[Entry, ...]:
        """The lines of a plug-in's section; of one that cannot be loaded, whose lines nobody knows, a line that says so."""
        why = self.broken.get(section)
        unknown = Entry(
            section, "plugin_loaded", section, "The plug-in is loaded", section, CRITICAL, None, problem=why
        )
        return self.section(section) or (unknown,)


class _Binder:
    def __init__(
        self, catalogue: Catalogue, checklist: Checklist, custom: Iterable[Entry], configured: Iterable[str]
    ) -> None:
        self._custom = {entry.id: entry for entry in custom}
        self._plugins = {name: catalogue.of_plugin(name) for name in configured if name in catalogue.brought}
        self._entries = {**catalogue.entries, **self._custom}
        self._broken = catalogue.broken
        self._checklist = checklist
        self._by_text: dict[str, list[Entry]] = {}
        for entry in self._entries.values():
            self._by_text.setdefault(_same(entry.line), []).append(entry)
        self._problems: list[tuple[int, str]] = []

    def bind(self) -> tuple[Binding, ...]:
        found = [
            (section, line, self._entry(section, line))
            for section in self._checklist.sections
            for line in section.lines
        ]
        numbers: dict[str, int] = {}
        for _, line, entry in found:
            if entry and (first := numbers.setdefault(entry.id, line.number)) != line.number:
                problem = f"The line stands for {entry.id}, which line {first} stands for already{_ASK}"
                self._problems.append((line.number, problem))
        bindings = list(self._named(found))
        if self._problems:
            raise ChecklistError(self._checklist.name, *sorted(self._problems))
        listed = {binding.entry.section for binding in bindings}
        brought = [entry for name, lines in self._plugins.items() if name not in listed for entry in lines]
        added: dict[str, list[Binding]] = {}
        for entry in (*(entry for name, entry in self._custom.items() if name not in numbers), *brought):
            added.setdefault(entry.section, []).append(Binding(entry, entry.heading, rendered(entry.line), 0))
        return tuple(self._with(bindings, added))

    @staticmethod
    def _with(bindings: list[Binding], added: dict[str, list[Binding]]) -> Iterator[Binding]:
        """The bindings, and behind the last one of a section those that the checklist does not have."""
        last = {binding.entry.section: index for index, binding in enumerate(bindings)}
        for index, binding in enumerate(bindings):
            yield binding
            if last[binding.entry.section] == index:
                yield from added.pop(binding.entry.section, ())
        for left in added.values():
            yield from left

    def _entry(self, section: Section, line: Line) -> Entry | None:
        """What a line stands for; None when that is nothing known."""
        if line.item == UNBOUND:
            return None
        if line.item is not None:
            entry = self._entries.get(line.item)
            if entry is None and (why := self._broken.get(line.item.partition(".")[0])):
                section_name, _, item = line.item.partition(".")
                return Entry(section_name, item, section.title, line.title, section_name, WARNING, None, problem=why)
            if entry is None:
                problem = (
                    f"The annotation names the unknown item '{line.item}'{nearest(line.item, self._entries) or '.'}"
                )
                self._problems.append((line.number, problem))
            return entry
        same = self._by_text.get(normalized(line.title), [])
        heading = normalized(section.title)
        under = [entry for entry in same if _same(entry.heading) == heading] or same
        if len(under) > 1:
            ids = ", ".join(entry.id for entry in under)
            self._problems.append((line.number, f"'{line.title}' could be each of {ids}{_ASK}"))
        return under[0] if len(under) == 1 else None

    def _named(self, found: list[tuple[Section, Line, Entry | None]]) -> Iterator[Binding]:
        """The bindings; what binds to nothing gets names that nothing else has."""
        sections = self._section_names([section for section, _, entry in found if entry is None])
        taken: dict[str, set[str]] = {}
        for known in self._entries.values():
            taken.setdefault(known.section, set()).add(known.item)
        titles: dict[tuple[str, str], set[str]] = {}
        for section, line, entry in found:
            if entry is None and line.name is None:
                name = sections[normalized(section.title)]
                titles.setdefault((name, stable_name(unnumbered(line.title))), set()).add(normalized(line.title))
        repeated: Counter[tuple[str, str]] = Counter()
        for section, line, entry in found:
            if entry is None:
                name = sections[normalized(section.title)]
                entry = self._unbound(section, line, name, taken.setdefault(name, set()), titles, repeated)
            yield Binding(entry, section.title, line.title, line.number)

    def _unbound(
        self,
        section: Section,
        line: Line,
        name: str,
        taken: set[str],
        titles: Mapping[tuple[str, str], set[str]],
        repeated: Counter[tuple[str, str]],
    ) -> Entry:
        """What stands for a line that binds to nothing."""
        item = line.name
        if item is None:
            item = stable_name(unnumbered(line.title))
            if (len(titles[name, item]) > 1 or item in self._known(name)) and not _spells(item, line.title):
                item = f"{item}_{_told_apart(normalized(line.title))}"
            repeated[name, item] += 1  # lines of the same text are distinguished by nothing else
            item = (
                item if repeated[name, item] == 1 and item not in taken else _unique(item, taken, repeated[name, item])
            )
        elif item in taken:
            self._problems.append(
                (line.number, f"The comment names it '{item}', as another line of section {name} is named.")
            )
        taken.add(item)
        group = slug(section.parents[-1]) if section.parents else name
        return Entry(name, item, section.title, line.title, group, WARNING, None)

    def _known(self, section: str) -> frozenset[str]:
        return self._items.get(section, frozenset())

    @cached_property
    def _items(self) -> dict[str, frozenset[str]]:
        items: dict[str, set[str]] = {}
        for entry in self._entries.values():
            items.setdefault(entry.section, set()).add(entry.item)
        return {section: frozenset(names) for section, names in items.items()}

    def _section_names(self, sections: list[Section]) -> dict[str, str]:
        """The name of each heading, by its normalized title: that of the known section with this heading or name, or a new one."""
        known: dict[str, str] = {}
        for entry in self._entries.values():
            known.setdefault(_same(entry.heading), entry.section)
        taken = {entry.section for entry in self._entries.values()}
        known |= {
            normalized(section.title): name
            for section in sections
            if (name := stable_name(unnumbered(section.title))) in taken and normalized(section.title) not in known
        }
        headings = {normalized(section.title): section for section in sections}
        pinned = {normalized(section.title): section.name for section in sections if section.name}
        same = Counter(stable_name(unnumbered(heading.title)) for key, heading in headings.items() if key not in known)
        names: dict[str, str] = {}
        used: set[str] = set()
        for key, section in headings.items():
            if key in pinned or key in known:
                names[key] = pinned.get(key) or known[key]
                continue
            name = stable_name(unnumbered(section.title))
            if same[name] > 1 and not _spells(name, section.title):
                name = f"{name}_{_told_apart(key)}"
            names[key] = _unique(name, taken if name in taken else used, 1)
            used.add(names[key])
        return names


def _same(line: str) -> str:
    """What tells a line or a heading as it is written from others."""
    return normalized(rendered(line))


def _spells(name: str, title: str) -> bool:
    """Whether a name spells a title out, so that no other title has more right to it."""
    return name == "_".join(normalized(title).lower().split())


_ASK = f": add <!-- item: section.item --> behind it to say which (<!-- item: {UNBOUND} --> for none)."


def _unique(name: str, taken: Container[str], number: int) -> str:
    """The name, with the first number from this one on behind it that makes it unlike those taken."""
    unique = name if number == 1 else f"{name}_{number}"
    while unique in taken:
        number += 1
        unique = f"{name}_{number}"
    return unique


def _rows(table: str) -> list[Entry]:
    """The lines of the bundled checklist with their labels, as catalogue.tsv names them."""
    reader = csv.DictReader(table.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    return [
        Entry(
            row["section"],
            row["item"],
            row["heading"],
            row["line"],
            row["group"],
            Severity(row["severity"]),
            Mode(row["mode"]),
        )
        for row in reader
    ]


def _uncatalogued(rows: list[Entry], checklist: Checklist) -> Iterator[str]:
    """Where catalogue and bundled checklist differ, and names that are not names or are there twice."""
    lines = Counter((section.heading, line.text) for section in checklist.sections for line in section.lines)
    named = Counter((row.heading, row.line) for row in rows)
    for heading, line in lines - named:
        yield f"The catalogue gives no name to the line '{line}' under '{heading}'."
    for heading, line in named - lines:
        yield f"The catalogue names the line '{line}' under '{heading}', which the checklist does not have."
    for row, count in Counter(row.id for row in rows).items():
        if count > 1:
            yield f"The catalogue names {count} lines {row}."
    for entry in rows:
        yield from (*_not_snake_case("Section", entry.section), *_not_snake_case("Item", entry.item))


def _not_snake_case(what: str, name: str) -> Iterator[str]:
    if not is_name(name):
        yield f"{what} name '{name}' is not snake_case."


def _builtin(root: ModuleType, known: set[str], problems: list[str]) -> Iterator[type[Collector[Any, Any]]]:
    """The collectors in `<root>/<group>/<section>.py`. What `systems` and `shared` hold is never a section, wherever it stands."""
    for group in pkgutil.iter_modules(root.__path__, f"{root.__name__}."):
        if not group.ispkg or group.name.rpartition(".")[2] in _NO_GROUPS:
            continue
        for module in pkgutil.iter_modules(importlib.import_module(group.name).__path__, f"{group.name}."):
            found = collectors_of(importlib.import_module(module.name))
            if len(found) > 1 or (not found and module.name in known):
                problems.append(f"{module.name} defines {len(found)} collectors, a section is verified by one.")
            yield from found[:1]


def _verified(collector: type[Collector[Any, Any]], rows: list[Entry], problems: list[str]) -> Iterator[Entry]:
    """The catalogue's entries that a built-in collector verifies; it must agree with each on name, heading, line and labels."""
    section, group = collector.section(), collector.__module__.split(".")[-2]
    by_line = {row.line: row for row in rows if row.section == section}
    if not by_line:
        problems.append(f"{named(collector)} verifies section {section}, which the catalogue does not have.")
        return
    heading = next(iter(by_line.values())).heading
    if heading_of(collector) != heading:
        problems.append(
            f"{collector.__module__} has the docstring '{heading_of(collector)}', not the heading '{heading}'."
        )
    for item, wrong in item_contradictions(collector):
        if wrong:
            problems += wrong
            continue
        row = by_line.get(item.line)
        who = f"{named(collector)}.{item.name}"
        if row is None:
            problems.append(f"{who} quotes '{item.line}', which is no line under '{heading}'.")
            continue
        for what, has, wanted in (
            ("name", item.name, row.item),
            ("severity", item.severity, row.severity),
            ("mode", item.mode, row.mode),
            ("group", group, row.group),
        ):
            if has != wanted:
                problems.append(f"{who} has {what} {has}, the catalogue says {wanted}.")
        yield replace(row, collector=collector, declared=item)


def _apart(plugin: Plugin, collectors: Mapping[str, type[Collector[Any, Any]]], entries: Mapping[str, Entry]) -> Plugin:
    """A plug-in, broken where its section is another one's."""
    if plugin.collector is None or plugin.problem:
        return plugin
    if (other := collectors.get(plugin.section)) is not None:
        return replace(
            plugin, problem=f"{named(other)} and {named(plugin.collector)} are both section {plugin.section}."
        )
    if any(entry.section == plugin.section for entry in entries.values()):
        return replace(
            plugin, problem=f"{named(plugin.collector)} has the name of the checklist's section {plugin.section}."
        )
    return plugin


def _brought(plugin: Plugin) -> Iterator[Entry]:
    """The entries that a collector of another package brings; its headings and lines are its own.

    Nothing verifies those of a broken one, and `problem` says why.
    """
    if (collector := plugin.collector) is None:
        return
    section, heading = plugin.section, heading_of(collector) or plugin.section
    for item, _ in item_contradictions(collector):
        if is_name(section) and is_name(item.name):
            entry = Entry(section, item.name, heading, item.line, slug(heading), item.severity, item.mode)
            yield (
                replace(entry, problem=plugin.problem)
                if plugin.problem
                else replace(entry, collector=collector, declared=item)
            )


def _clients(root: ModuleType, problems: list[str]) -> dict[str, type[Client[Any]]]:
    """The shared clients in `<root>/systems/<system>/client`, by name. Where it is a package, it names its clients itself.

    The other modules of such a package are imported by whom they serve: their libraries may not be installed.
    """
    package = importlib.import_module(f"{root.__name__}.systems")
    clients: dict[str, type[Client[Any]]] = {}
    for module in _client_modules(package):
        for value in vars(module).values():
            if not (isinstance(value, type) and issubclass(value, Client)):
                continue
            if not f"{value.__module__}.".startswith(f"{module.__name__}.") or not hasattr(value, "name"):
                continue  # another system's, or a base of clients
            problems.extend(_not_snake_case("Client", value.name))
            if (other := clients.setdefault(value.name, value)) is not value:
                problems.append(f"{named(other)} and {named(value)} are both client {value.name}.")
    return clients


def _client_modules(systems: ModuleType) -> Iterator[ModuleType]:
    for system in pkgutil.iter_modules(systems.__path__, f"{systems.__name__}."):
        rooms = pkgutil.iter_modules(importlib.import_module(system.name).__path__, f"{system.name}.")
        if any(room.name == f"{system.name}.client" for room in rooms):
            yield importlib.import_module(f"{system.name}.client")
