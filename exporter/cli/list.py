"""`list` shows what can be verified and what each line needs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from exporter.cli.bindings import proposed, unbound
from exporter.cli.once import verify
from exporter.cli.shared import (
    ConfigFile,
    ExitCode,
    Refused,
    Sections,
    configuration_errors,
    console,
    known,
    load,
    say,
    write,
)
from exporter.verdict import Reason, Status
from exporter.words import counted

if TYPE_CHECKING:
    from exporter.catalogue import Entry
    from exporter.config import Loaded

__all__ = ["ListFormat", "list_items"]


class ListFormat(StrEnum):
    """Output formats of the list."""

    TABLE = "table"
    JSON = "json"


def list_items(
    section: Sections = None,
    form: Annotated[ListFormat, typer.Option("--format", "-f", help="Output format.")] = ListFormat.TABLE,
    rbac: Annotated[
        bool, typer.Option("--rbac", help="Print the minimal Kubernetes roles for the configuration instead.")
    ] = False,
    only_unbound: Annotated[
        bool, typer.Option("--unbound", help="Only the lines of the configured checklist that are bound to no item.")
    ] = False,
    missing: Annotated[
        bool,
        typer.Option("--missing", help="Verify every line once, and list what is unknown by what is missing instead."),
    ] = False,
    config_file: ConfigFile = None,
) -> int:
    """List every line and its requirements; for named sections also the rights to grant."""
    from exporter.catalogue import Catalogue

    if missing:
        return _print_missing(load(config_file), section)
    if rbac:
        return _print_roles(load(config_file), section)
    if config_file or only_unbound:
        loaded = load(config_file)
        catalogue, bindings = loaded.catalogue, loaded.bindings
        if only_unbound:
            return _print_unbound(loaded, form)
        entries = [replace(binding.entry, line=binding.line) for binding in bindings]
    else:
        with configuration_errors():
            catalogue = Catalogue.load()
        entries = list(catalogue.entries.values())
    sections = dict.fromkeys((*(entry.section for entry in entries), *catalogue.sections))
    chosen = known(section, sections)
    rows = [_row(entry) for entry in entries if not chosen or entry.section in chosen]
    if form is ListFormat.JSON:
        write(json.dumps(rows, indent=2, ensure_ascii=False) + "\n")
        return ExitCode.OK
    _print_rows(rows)
    for name in catalogue.sections:
        if name in chosen and (collector := catalogue.collectors.get(name)) and collector.rights:
            say(f"\nRights for section {name}:\n\n{collector.rights.strip()}")
    return ExitCode.OK


def _print_unbound(loaded: Loaded, form: ListFormat) -> int:
    """Print the lines that are bound to no item, with the nearest items."""
    lost, nearest = unbound(loaded.bindings), proposed(loaded.catalogue, loaded.bindings)
    if form is ListFormat.JSON:
        rows = [
            {**_row(one.entry), "number": one.number, "proposals": [entry.id for entry in nearest[one.number]]}
            for one in lost
        ]
        write(json.dumps(rows, indent=2, ensure_ascii=False) + "\n")
        return ExitCode.OK
    for one in lost:
        say(f"{loaded.checklist.name}:{one.number}\t{one.entry.id}\t{one.line}")
        for entry in nearest[one.number]:
            say(f"\t<!-- item: {entry.id} -->\t{entry.line}")
    return ExitCode.OK


def _print_roles(loaded: Loaded, sections: Sequence[str] | None) -> int:
    """Print the roles that the configured items of these sections need in a cluster, as YAML."""
    import yaml

    if "kubernetes" not in loaded.clients:
        raise Refused("clients.kubernetes is not configured, so no cluster is queried.")
    chosen = known(sections, loaded.catalogue.sections)
    client, settings = loaded.clients["kubernetes"]
    needs = [need for job in loaded.plan.jobs if not chosen or job.section in chosen for need in job.needs]
    roles = cast("Any", client).roles(settings, needs)
    if not roles:
        raise Refused("Nothing in the configuration requires rights in the cluster.")
    write(yaml.safe_dump_all(roles, sort_keys=False, explicit_start=len(roles) > 1))
    return ExitCode.OK


def _print_missing(loaded: Loaded, sections: Sequence[str] | None) -> int:
    """Verify once and print the unknown lines: those with one reason together, and among them those with one sentence."""
    document = verify(loaded, known(sections, (planned.section for planned in loaded.plan.items)))
    by_reason: dict[Reason, dict[str, list[str]]] = {}
    for item in document["items"]:
        if item["status"] == Status.UNKNOWN:
            sentences = by_reason.setdefault(Reason(item["reason"]), {})
            sentences.setdefault(item["summary"], []).append(f"{item['section']}.{item['item']}")
    if not by_reason:
        say("No line is unknown.")
    for reason in sorted(by_reason, key=lambda one: (one is Reason.UNOBSERVED, list(Reason).index(one))):
        say(f"{reason}: {reason.remedy}")
        for sentence, lines in by_reason[reason].items():
            say(f"  {sentence}")
            say(f"    {counted(len(lines), 'line')}: {', '.join(lines)}")
            if added := ", ".join(_to_add(sentence, lines)):
                say(f"    Add: {added}")
    return ExitCode.OK


#: What is not there, as sentences name it.
_OPTION, _CLIENT = (
    re.compile(r"\bOption (\w+)( of \S+)? is (?:not set|empty)"),
    re.compile(r"\bclients\.\w+(?= is not configured)"),
)


def _to_add(sentence: str, lines: Iterable[str]) -> Iterator[str]:
    """The keys that a configuration lacks by this sentence of these lines."""
    sections = dict.fromkeys(line.partition(".")[0] for line in lines)
    for option, of_target in _OPTION.findall(sentence):
        yield from (f"sections.{section}.{option}{' (or of the target)' if of_target else ''}" for section in sections)
    yield from _CLIENT.findall(sentence)
    if "No evidence folder is configured" in sentence:
        yield "evidence: ./evidence"


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "section": entry.section,
        "item": entry.item,
        "line": entry.line,
        "group": entry.group,
        "severity": entry.severity.value,
        "mode": entry.mode.value if entry.mode else None,
        "verified_by": entry.verified_by,
        "needs": list(entry.declared.needs) if entry.declared else [],
    }


def _print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    screen = console()
    if not screen.is_terminal:
        for row in rows:
            needs = f" (needs {'; '.join(row['needs'])})" if row["needs"] else ""
            say(f"{row['section']}.{row['item']}\t{row['severity']}\t{row['mode'] or '-'}\t{row['line']}{needs}")
        return
    from rich.table import Table
    from rich.text import Text

    table = Table("item", "severity", "mode", "line", "needs", box=None, pad_edge=False)
    for row in rows:
        cells = (
            f"{row['section']}.{row['item']}",
            row["severity"],
            row["mode"] or "-",
            row["line"],
            "; ".join(row["needs"]),
        )
        table.add_row(*(Text(cell, style="" if row["verified_by"] else "dim") for cell in cells))
    screen.print(table)
