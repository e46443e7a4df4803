"""Whether what was observed meets the conditions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from collectors.systems.custom.model.probe import Observed, Probe, Refuted, Seen
from exporter.verdict import Reason, Result, failed, ok, unknown, unobserved, warning
from exporter.words import counted, listed

__all__ = ["good", "problems"]

_SHOWN = 3


def problems(probe: Probe, seen: Iterable[Seen]) -> Iterator[Result]:
    """What is wrong with what was seen."""
    for one in seen:
        if isinstance(one, Observed):
            yield from _demanded(probe, one)
            yield from _unmet(probe, one)
        elif isinstance(one, Refuted):
            yield failed(str(one), reason=one.reason)
        else:
            yield unobserved(one)


def _demanded(probe: Probe, one: Observed) -> Iterator[Result]:
    for name, demand in probe.demanded.items():
        if not one.shows((name,)) or probe.language.unmet(demand.condition, one.facts) is None:
            continue
        note = one.notes.get(name) or ", ".join(probe.language.seen(demand.condition, one.facts))
        yield failed(f"{one.what} {demand.otherwise}{f': {note}' if note else ''}.", reason=demand.reason)
        return  # what follows from it says nothing more


def _unmet(probe: Probe, one: Observed) -> Iterator[Result]:
    for condition in (*probe.conditions, *probe.warn_unless):
        names = probe.language.names(condition)
        if not one.shows(names):
            continue
        if (why := probe.language.unmet(condition, one.facts, one.absent)) is None:
            continue
        if error := next((one.unseen[name] for name in sorted(names) if name in one.unseen), None):
            yield unobserved(error)
        elif condition in probe.conditions:
            yield failed(f"{one.what} does not meet `{condition}`: {why}.", reason=Reason.UNMET)
        else:
            yield warning(f"{one.what} does not meet `{condition}`: {why}.")


def good(probe: Probe, seen: Sequence[Seen], measurements: Mapping[str, float]) -> Result:
    """The verdict where nothing is wrong: what was observed of the first thing that the conditions are about."""
    shown = [one for one in seen if isinstance(one, Observed)]
    if not shown:
        return unknown("Nothing was observed.")
    about = list(dict.fromkeys((*probe.conditions, *(demand.condition for demand in probe.demanded.values()))))
    clauses = dict.fromkeys(
        clause
        for one in shown[:1]
        for condition in about
        if one.shows(probe.language.names(condition))
        for clause in probe.language.seen(condition, one.facts)
    )
    things = listed([one.what for one in shown], most=_SHOWN)
    as_wanted = f"{'is' if len(shown) == 1 else 'are'} as wanted"
    details = f": {', '.join(list(clauses)[:_SHOWN])}" if clauses and len(shown) == 1 else ""
    wanted = f" ({counted(len(probe.conditions), 'condition')})" if probe.conditions else ""
    return replace(ok(f"{things} {as_wanted}{wanted}{details}."), measurements=measurements)
