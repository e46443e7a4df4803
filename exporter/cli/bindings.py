"""What each line of a checklist stands for, as commands print it: its item, how it is verified, and what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from exporter.options import format_duration
from exporter.words import counted, listed

if TYPE_CHECKING:
    from exporter.catalogue import Binding, Catalogue, Entry
    from exporter.config import Loaded
    from exporter.plan import PlannedItem

__all__ = ["described", "proposed", "unbound"]


def unbound(bindings: Iterable[Binding]) -> list[Binding]:
    """The lines that stand for nothing known."""
    return [binding for binding in bindings if binding.entry.mode is None]


def proposed(catalogue: Catalogue, bindings: Iterable[Binding]) -> dict[int, list[Entry]]:
    """The nearest items for each unbound line, by its number; those that other lines stand for are left out."""
    from exporter.proposals import Proposals

    bindings = list(bindings)
    taken = {binding.entry.id for binding in bindings}
    proposals = Proposals(entry for entry in catalogue.entries.values() if entry.id not in taken)
    return {binding.number: proposals.of(binding.line, binding.heading) for binding in unbound(bindings)}


def described(loaded: Loaded) -> Iterator[str]:
    """Every line, the unbound ones first: where it stands, its item, how it is verified, what is missing."""
    planned = {item.id: item for item in loaded.plan.items}
    lost = unbound(loaded.bindings)
    nearest = proposed(loaded.catalogue, loaded.bindings)
    if lost:
        is_are = "is" if len(lost) == 1 else "are"
        yield f"{counted(len(lost), 'line')} {is_are} bound to no item:"
    for binding in lost:
        item = planned[binding.entry.id]
        yield f"{_where(loaded, binding)}: {binding.line} → {item.id} → {_how(item)}"
        if not item.not_applicable:
            for entry in nearest[binding.number]:
                yield f"    did you mean '{entry.line}'? Add <!-- item: {entry.id} -->"
            if not nearest[binding.number]:
                yield f"    {item.unverified}"
    if lost:
        yield ""
    for binding in loaded.bindings:
        if binding.entry.mode is not None:
            item = planned[binding.entry.id]
            missing = _missing(loaded, item)
            yield f"{_where(loaded, binding)}: {binding.line} → {item.id} → {_how(item)}" + (
                f" → missing: {'; '.join(missing)}" if missing else ""
            )


def _where(loaded: Loaded, binding: Binding) -> str:
    return f"{loaded.checklist.name}:{binding.number}" if binding.number else "custom"


def _how(item: PlannedItem) -> str:
    """How a line is verified, in a few words."""
    if item.not_applicable:
        return f"does not apply: {item.not_applicable}"
    if item.declared is None or not item.targets:
        return "not verified"
    targets = [target for target in item.targets if target]
    probed = f"probed every {format_duration(item.every)}" + (f" on {listed(targets)}" if targets else "")
    probed += "".join(f", not applicable to {target}: {reason}" for target, reason in item.excused)
    rule = item.declared.evidence
    if rule is None:
        return probed
    role = f" signed by {rule.signed_by_role}" if rule.signed_by_role else ""
    attested = f"evidence{role}, valid for {format_duration(rule.valid_for)}"
    return attested if item.mode == "evidence" else f"{probed}, and {attested}"


def _missing(loaded: Loaded, item: PlannedItem) -> list[str]:
    """What keeps a bound line from passing, as far as the configuration shows."""
    if item.not_applicable:
        return []
    if item.unverified:
        return [item.unverified.rstrip(".")]
    found = []
    if item.declared is not None:
        found += [
            need for need in item.declared.needs if need.startswith("clients.") and need[8:] not in loaded.clients
        ]
        if item.declared.evidence is not None and loaded.evidence.folder is None:
            found.append("evidence, which is not configured")
    return found
