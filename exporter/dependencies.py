"""Which lines depend on which: as the configuration has it (`depends_on`), and as collectors know it of what it names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from exporter.catalogue import Entry
from exporter.causes import Cause, Key, cycle
from exporter.collector import Mode
from exporter.options_reader import Reader, Where, nearest
from exporter.plan import Job, PlannedItem
from exporter.plugins import overrides, things_of

__all__ = ["Given", "Wanted", "built_in", "demand_no_circle", "read", "with_causes"]


@dataclass(frozen=True, slots=True)
class Given:
    """What one `depends_on` of the configuration has: its place, the lines that it is about, and the names that it gives."""

    where: Where
    dependents: Sequence[Entry]
    names: Sequence[str]


Wanted = Mapping[Key, Mapping[Key, Where]]
"""Of each line those that it depends on, each with the place where the configuration has it."""


def read(given: Iterable[Given], lines: Iterable[Entry], reader: Reader, *, trusted: bool) -> Wanted:
    """What the configuration has; complains of names that neither sections nor lines have, unless those are not `trusted`."""
    of: dict[str, list[Entry]] = defaultdict(list)
    for line in lines:
        of[line.section].append(line)
        of[line.id].append(line)
    wanted: dict[Key, dict[Key, Where]] = {}
    for one in given:
        for number, name in enumerate(one.names):
            where: Where = (*one.where, number)
            if name not in of:
                if trusted:
                    reader.complain(where, f"unknown section or item '{name}'{nearest(name, of)}")
                continue
            pairs = [(line, cause) for line in one.dependents for cause in of[name] if cause.id != line.id]
            if (wrong := _wrong(one, name, of[name], pairs)) is not None:
                reader.complain(where, wrong)
                continue
            if pairs and not any(cause.severity.at_least(line.severity) for line, cause in pairs):
                reader.warn(where, f"{name} is less severe than what depends on it, which is notified of by itself")
            for line, cause in pairs:
                wanted.setdefault((line.section, line.item), {}).setdefault((cause.section, cause.item), where)
    return wanted


def _wrong(given: Given, name: str, causes: Sequence[Entry], pairs: Sequence[tuple[Entry, Entry]]) -> str | None:
    """Why nothing can depend on this; None where it can."""
    if not pairs and given.dependents:
        return f"{name} depends on itself, expected another line"
    if len(given.dependents) > 1 and all(line.section == name for line in given.dependents):
        return f"every line of {name} depends on every other, expected single lines"
    if all(cause.mode is Mode.DERIVED for cause in causes):
        return f"{name} is computed from other lines, expected one that is verified by itself"
    return None


def built_in(jobs: Iterable[Job]) -> dict[Key, tuple[Cause, ...]]:
    """What collectors know: which lines rely on what others provide, target by target, and which on a shared client's server."""
    providers: dict[str, list[tuple[Key, str]]] = defaultdict(list)
    relying: list[tuple[Key, str, str]] = []
    asking: dict[Key, set[str]] = defaultdict(set)
    broken: set[type] = set()
    for job in jobs:
        for name, thing in _things(job, "provides", broken):
            providers[thing].append(((job.section, name), job.target))
        for name, thing in _things(job, "relies_on", broken):
            relying.append(((job.section, name), job.target, thing))
        for name, client in job.asks:
            asking[job.section, name].add(client)
    pairs: dict[Key, dict[Key, dict[tuple[str, str], None]]] = defaultdict(lambda: defaultdict(dict))
    for key, target, thing in relying:
        for cause, other in providers.get(thing, ()):
            if cause != key:
                pairs[key][cause][target, other] = None
    found = {key: [Cause(*cause, tuple(of)) for cause, of in causes.items()] for key, causes in pairs.items()}
    for key, clients in asking.items():
        causes = dict.fromkeys(cause for client in sorted(clients) for cause, _ in providers.get(client, ()))
        found.setdefault(key, []).extend(Cause(*cause, unseen=True) for cause in causes if cause != key)
    return {key: tuple(causes) for key, causes in found.items() if causes}


def _things(job: Job, method: str, broken: set[type]) -> list[tuple[str, str]]:
    """Item and name of each thing that the job's items provide, or rely on. A `broken` collector is asked no more."""
    if job.collector in broken or not overrides(job.collector, method):
        return []
    found = things_of(job.collector, method, job.target_settings)
    if found is None:
        broken.add(job.collector)
    return [(name, thing) for name, thing in found or () if name in job.items]


def demand_no_circle(wanted: Wanted, known: Mapping[Key, Iterable[Cause]], reader: Reader) -> None:
    """Complain of lines that depend on each other, where the configuration has it, whether it applies to them or not."""
    causes = {key: dict.fromkeys(cause.key for cause in found) for key, found in known.items()}
    for key, found in wanted.items():
        causes[key] = {**causes.get(key, {}), **dict.fromkeys(found)}
    while circle := cycle(causes):
        steps = list(zip(circle, [*circle[1:], circle[0]], strict=True))
        places = [(where, step) for step in steps if (where := wanted.get(step[0], {}).get(step[1])) is not None]
        if places:
            start = circle.index(places[0][1][0])
            names = " → ".join(".".join(key) for key in [*circle[start:], *circle[: start + 1]])
            reader.complain(places[0][0], f"found a circle, expected lines that do not depend on themselves: {names}")
            for place, (line, cause) in places:
                if place == places[0][0]:
                    del causes[line][cause]
        else:
            del causes[steps[0][0]][steps[0][1]]


def with_causes(
    items: Iterable[PlannedItem], wanted: Wanted, known: Mapping[Key, Iterable[Cause]]
) -> tuple[PlannedItem, ...]:
    """The lines with those that they depend on. What nothing verifies causes nothing, and has no causes."""
    lines = tuple(items)
    verified = {(line.section, line.item) for line in lines if line.targets and not line.not_applicable}
    if not wanted and not known:
        return lines
    entire: dict[Key, Cause] = {}

    def causes(key: Key) -> tuple[Cause, ...]:
        given = wanted.get(key, {})
        found = [cause for cause in known.get(key, ()) if cause.key not in given]
        found += [entire.setdefault(cause, Cause(*cause)) for cause in given]
        return tuple(cause for cause in found if cause.key in verified)

    keys = [(line.section, line.item) for line in lines]
    return tuple(
        replace(line, causes=found) if key in verified and (found := causes(key)) else line
        for key, line in zip(keys, lines, strict=True)
    )
