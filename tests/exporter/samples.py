"""A plan of the whole bundled checklist and states of it, for the tests of everything that reads State."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from importlib.resources import files

from exporter.collector import Item, Mode
from exporter.observations import Observation, Transition
from exporter.plan import Plan, PlannedItem, Waiver
from exporter.state import State
from exporter.verdict import Result, Severity, Status
from tests.support import Clock


@dataclass
class Transitions:
    """A history in memory, read as `History` is."""

    kept: list[Transition] = field(default_factory=list)

    async def transitions(
        self, *, section: str | None = None, item: str | None = None, limit: int = 100
    ) -> list[Transition]:
        found = [t for t in self.kept if section in (None, t.section) and item in (None, t.item)]
        return sorted(found, key=lambda t: t.at, reverse=True)[:limit]


async def _verify(collector: object) -> Result:
    raise AssertionError("Nothing runs it.")


def declared(name: str, line: str, description: str = "", needs: Iterable[str] = ()) -> Item:
    """An item as a collector declares it."""
    return Item(name, line, Severity.CRITICAL, Mode.PROBE, description, tuple(needs), None, _verify)


def planned(section: str = "postgresql", item: str = "slow_query_logging_enabled", **changes: object) -> PlannedItem:
    """One configured line, with what is given changed."""
    base = PlannedItem(
        section=section,
        item=item,
        line="Slow query logging is enabled",
        heading="PostgreSQL Database" if section == "postgresql" else section.capitalize(),
        group="infrastructure",
        severity=Severity.CRITICAL,
        mode=Mode.PROBE,
        declared=declared(item, "Slow query logging is enabled"),
        verified_by="collectors.infrastructure.postgresql.PostgreSQL",
        targets=("",),
        every=timedelta(minutes=1),
        stale_after=timedelta(minutes=3),
        team="storage",
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def catalogue() -> list[PlannedItem]:
    """All lines of the bundled checklist, all verified by a collector without targets."""
    rows = csv.DictReader(
        files("collectors").joinpath("catalogue.tsv").read_text(encoding="utf-8").splitlines(),
        delimiter="\t",
        quoting=csv.QUOTE_NONE,
    )
    return [
        planned(
            row["section"],
            row["item"],
            line=row["line"],
            heading=row["heading"],
            group=row["group"],
            severity=Severity(row["severity"]),
            mode=Mode(row["mode"]),
            declared=declared(row["item"], row["line"]),
        )
        for row in rows
    ]


LINES = len(catalogue())
"""How many lines the bundled checklist has."""


def plan(*items: PlannedItem, **changes: object) -> Plan:
    """A plan of these items."""
    return replace(Plan(environment="production", release="2026.3.1", items=items, jobs=()), **changes)  # type: ignore[arg-type]


def state(*items: PlannedItem, clock: Clock | None = None, objectives: Mapping[str, float] | None = None) -> State:
    """A state of these items, none of them verified yet."""
    return State(plan(*items, objectives=dict(objectives or {})), clock or Clock())


async def observe(state: State, clock: Clock, section: str, results: Mapping[str, Result], target: str = "") -> None:
    """Record results, by item name, as seen now."""
    await state.record(section, target, {name: Observation(result, clock(), 0.02) for name, result in results.items()})


WAIVER = Waiver(reason="Sized by hand until Q2.", owner="platform", until=date(2026, 6, 30))
MIXED = (Status.OK,) * 12 + (Status.WARNING, Status.FAILED, Status.UNKNOWN)


async def mixed(clock: Clock, items: Iterable[PlannedItem] = ()) -> State:
    """Every item verified, most of them ok, some of every status."""
    chosen = list(items) or catalogue()
    chosen[3] = replace(chosen[3], waiver=WAIVER)
    chosen[5] = replace(chosen[5], not_applicable="The product has none.")
    found = state(*chosen, clock=clock)
    for index, one in enumerate(chosen):
        status = Status.FAILED if index == 3 else MIXED[index % len(MIXED)]
        for target in one.targets:
            result = Result(status, f"{one.line}: seen as {status}.", {"free_bytes": 1e9 + index})
            await observe(found, clock, one.section, {one.item: result}, target)
    return found
