"""`attest` writes a record of evidence."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from exporter.cli.shared import ConfigFile, ExitCode, Refused, load, say

if TYPE_CHECKING:
    from exporter.config import Loaded
    from exporter.evidence.validity import EvidenceRule

__all__ = ["attest"]


def attest(
    item: Annotated[str, typer.Argument(metavar="SECTION.ITEM", help="The line that the evidence is about.")],
    config_file: ConfigFile = None,
    result: Annotated[str | None, typer.Option(metavar="passed|failed", help="What was found.")] = None,
    by: Annotated[str | None, typer.Option(help="Who says so; when signed, as in allowed_signers.")] = None,
    role: Annotated[str | None, typer.Option(help="In which role.")] = None,
    on: Annotated[str | None, typer.Option(metavar="DATE", help="When it was found; now by default.")] = None,
    valid_until: Annotated[str | None, typer.Option(metavar="DATE", help="Last day on which it holds.")] = None,
    release: Annotated[str | None, typer.Option(help="The release that it is about.")] = None,
    link: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="A page that shows it; may be repeated.")
    ] = None,
    artifact: Annotated[str | None, typer.Option(metavar="PATH", help="The document, in the evidence folder.")] = None,
    measured: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=NUMBER", help="A number with its unit in the name; may be repeated."),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(metavar="START/END", help="The period that it speaks of: two dates, or times with offset."),
    ] = None,
    note: Annotated[str | None, typer.Option(help="Anything a reader should know.")] = None,
    key: Annotated[Path | None, typer.Option(metavar="FILE", help="OpenSSH private key to sign with.")] = None,
    file: Annotated[str | None, typer.Option(metavar="NAME", help="File to write, in the evidence folder.")] = None,
) -> int:
    """Write a record of evidence, signed with --key. Asks for what is missing on a terminal; never writes over a file."""
    from exporter.evidence.attest import NotAttested, Situation
    from exporter.evidence.attest import attest as write
    from exporter.runner import utc_now

    loaded = load(config_file)
    plan, evidence = loaded.plan, loaded.evidence
    if evidence.folder is None:
        raise Refused(
            "The configuration names no evidence folder: set `evidence` in the file that --config.file gives."
        )
    given = {
        "result": result,
        "by": by,
        "role": role,
        "on": on,
        "valid_until": valid_until,
        "release": release,
        "links": link or None,
        "artifact": artifact,
        "measured": _numbers(measured or ()),
        "window": _window(window),
        "note": note,
    }
    situation = Situation(evidence.folder, utc_now(), plan.environment, plan.release, evidence.allowed_signers)
    ask = _ask if sys.stdin.isatty() else None
    try:
        written = asyncio.run(write(situation, item, _rule(loaded, item), given, ask=ask, key=key, file=file))
    except NotAttested as error:
        raise Refused(error) from None
    say(f"Wrote {written.path}{', signed' if written.signature else ''}. {written.standing.summary}")
    return ExitCode.OK


def _ask(name: str, wanted: str) -> str:
    return str(typer.prompt(f"{name} ({wanted})", default="", show_default=False, err=True))


def _numbers(given: Iterable[str]) -> dict[str, float] | None:
    try:
        return {name: float(number) for name, _, number in (pair.partition("=") for pair in given)} or None
    except ValueError:
        raise Refused("--measured takes NAME=NUMBER, such as restored_rows=5120.") from None


def _window(given: str | None) -> dict[str, str] | None:
    if given is None:
        return None
    start, slash, end = given.partition("/")
    if not slash:
        raise Refused("--window takes START/END, such as 2026-10-01/2026-10-02.")
    return {"start": start, "end": end}


def _rule(loaded: Loaded, item: str) -> EvidenceRule:
    """By which rule the item's evidence is judged under this configuration."""
    from exporter.options_reader import nearest

    planned = {planned.id: planned for planned in loaded.plan.items}
    if item not in planned:
        raise Refused(f"The checklist has no item '{item}'{nearest(item, planned) or '.'}")
    declared = planned[item].declared
    if declared is None or declared.evidence is None:
        raise Refused(f"{item} takes no evidence.")
    valid_for = [
        job.settings.valid_for[declared.name]
        for job in loaded.plan.jobs
        if job.section == planned[item].section and declared.name in job.settings.valid_for
    ]
    return replace(declared.evidence, valid_for=valid_for[0]) if valid_for else declared.evidence
