"""`attest` writes a record of evidence."""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from exporter.cli.shared import ConfigFile, ExitCode, Refused, load, prompt, say

if TYPE_CHECKING:
    from exporter.config import Loaded
    from exporter.evidence.validity import Evidence, EvidenceRule
    from exporter.verdict import Result

__all__ = ["attest"]


def attest(
    item: Annotated[str, typer.Argument(metavar="SECTION.ITEM", help="The line that the evidence is about.")],
    config_file: ConfigFile = None,
    result: Annotated[str | None, typer.Option(metavar="passed|failed", help="What was found.")] = None,
    by: Annotated[str | None, typer.Option(help="Who attests it; when signed, as in allowed_signers.")] = None,
    role: Annotated[str | None, typer.Option(help="In which role.")] = None,
    on: Annotated[str | None, typer.Option(metavar="DATE", help="When it was found; now by default.")] = None,
    valid_until: Annotated[str | None, typer.Option(metavar="DATE", help="Last day on which it is valid.")] = None,
    release: Annotated[str | None, typer.Option(help="The release that it is about.")] = None,
    link: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="A page that shows it; may be repeated.")
    ] = None,
    artifact: Annotated[
        str | None, typer.Option(metavar="PATH", help="The document: a file in the evidence folder, or its address.")
    ] = None,
    measured: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=NUMBER", help="A number with its unit in the name; may be repeated."),
    ] = None,
    report: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="What the artifact, a report of a tool, does not say itself, such as target=…; may be repeated.",
        ),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(metavar="START/END", help="The period that it is about: two dates, or times with offset."),
    ] = None,
    note: Annotated[str | None, typer.Option(help="Anything a reader should know.")] = None,
    key: Annotated[Path | None, typer.Option(metavar="FILE", help="OpenSSH private key to sign with.")] = None,
    file: Annotated[str | None, typer.Option(metavar="NAME", help="File to write, in the evidence folder.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write the record even if it would not pass.")] = False,
) -> int:
    """Write a record of evidence, signed with --key. Asks for what is missing on a terminal; never writes over a file.

    Reports of known tools are read: `measured` is taken from them, and what they do not say must be given by --report.
    The record is judged as `serve` would judge it, links and artifact included, and not written if it would not pass.
    """
    loaded = load(config_file)
    if loaded.evidence.folder is None:
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
        "report": _facts(report or ()),
        "window": _window(window),
        "note": note,
    }
    ask = _ask if sys.stdin.isatty() else None
    return asyncio.run(_attest(loaded, item, given, ask=ask, key=key, file=file, force=force))


async def _attest(loaded: Loaded, item: str, given: Mapping[str, Any], *, force: bool, **options: Any) -> int:
    from exporter.engine import read_evidence
    from exporter.evidence.attest import NotAttested, Situation, attest
    from exporter.runner import utc_now

    plan, folder = loaded.plan, loaded.evidence.folder
    assert folder is not None
    rule = _rule(loaded, item)
    evidence = read_evidence(loaded, utc_now)
    situation = Situation(
        folder,
        utc_now(),
        plan.environment,
        plan.release,
        loaded.evidence.allowed_signers,
        evidence,
        functools.partial(_line, loaded, item),
    )
    try:
        written = await attest(situation, item, rule, given, force=force, **options)
    except NotAttested as error:
        raise Refused(error) from None
    finally:
        await evidence.close()
    say(f"Wrote {written.path}{', signed' if written.signature else ''}. {written.standing.summary}")
    return ExitCode.OK


async def _line(loaded: Loaded, item: str, evidence: Evidence) -> Result:
    """The verdict on a line that evidence alone verifies, run as the daemon runs it but with this evidence and one approver."""
    from exporter.collector import Context, Mode
    from exporter.runner import Runner, utc_now
    from exporter.threads import Threads
    from exporter.verdict import unknown

    planned = next(planned for planned in loaded.plan.items if planned.id == item)
    jobs = (job for job in loaded.plan.jobs if job.section == planned.section and planned.item in job.items)
    if planned.mode is not Mode.EVIDENCE or (job := next(jobs, None)) is None:
        return unknown(f"{item} is verified by more than evidence.")
    settings = job.settings.model_copy(update={"approvers": {planned.item: 1}})
    context = Context(
        environment=loaded.plan.environment,
        release=loaded.plan.release,
        now=utc_now,
        evidence=evidence,
        threads=Threads(),
    )
    return (await Runner().run(replace(job, settings=settings, items=(planned.item,)), context))[planned.item].result


def _ask(name: str, wanted: str) -> str:
    while answer := prompt(f"{name} ({wanted})"):
        if name != "result" or answer in ("passed", "failed"):
            break
    return answer


def _numbers(given: Iterable[str]) -> dict[str, float] | None:
    try:
        return {name: float(number) for name, _, number in (pair.partition("=") for pair in given)} or None
    except ValueError:
        raise Refused("--measured takes NAME=NUMBER, such as restored_rows=5120.") from None


def _facts(given: Iterable[str]) -> dict[str, Any] | None:
    from exporter.evidence.attest import reported

    facts: dict[str, Any] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals:
            raise Refused("--report takes NAME=VALUE, such as target=https://shop.example.com.")
        facts[name] = reported(name, value)
    return facts or None


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
    line = planned[item]
    if line.declared is None:
        raise Refused(f"{item} is not verified by any collector yet, so no record for it would be read.")
    if (rule := line.declared.evidence) is None:
        raise Refused(f"{item} takes no evidence.")
    for job in loaded.plan.jobs:
        if job.section == line.section and line.item in job.items:
            name, settings = line.declared.name, job.settings
            return replace(
                rule,
                valid_for=settings.valid_for.get(name, rule.valid_for),
                approvers=settings.approvers.get(name, rule.approvers),
            )
    return rule
