"""`config check` validates a configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from exporter.cli.bindings import described, unbound
from exporter.cli.shared import ConfigFile, ExitCode, load, say
from exporter.collector import Mode
from exporter.words import counted, listed

if TYPE_CHECKING:
    from exporter.config import Loaded
    from exporter.plan import PlannedItem

__all__ = ["check_config"]


def check_config(
    config_file: ConfigFile = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Print every line: its item, how it is verified, what is missing.")
    ] = False,
) -> int:
    """Validate the configuration and report all errors. Exits 0 or 3."""
    loaded = load(config_file)
    verified = sum(bool(planned.targets) for planned in loaded.plan.items)
    sections = len({job.section for job in loaded.plan.jobs})
    name = config_file or "The default configuration"
    if verbose:
        for text in described(loaded):
            say(text)
        say("")
    by = f"{counted(sections, 'section')} {'verifies' if sections == 1 else 'verify'}"
    say(f"{name} is valid: {by} {verified} of {counted(len(loaded.plan.items), 'line')}.")
    if (lost := unbound(loaded.bindings)) and not verbose:
        say(
            f"{counted(len(lost), 'line')} bound to no item; "
            "-v shows them with proposals, and `checklist-exporter bind` writes them."
        )
    if loaded.evidence.folder is None and (taking := sum(map(_rests_on_records, loaded.plan.items))):
        say(
            f"No evidence folder is configured (`evidence: ./evidence`), so {counted(taking, 'line')} that only records verify "
            f"{'is' if taking == 1 else 'are'} unknown.",
            error=True,
        )
    if lines := without_evidence(loaded):
        say(
            f"{counted(len(lines), 'line')} that evidence verifies {'has' if len(lines) == 1 else 'have'} no record, so each is "
            f"failed or unknown until `checklist-exporter attest` writes one: {listed(lines, most=20)}.",
            error=True,
        )
    return ExitCode.OK


def _rests_on_records(line: PlannedItem) -> bool:
    return line.mode is Mode.EVIDENCE and bool(line.targets) and not line.not_applicable


def without_evidence(loaded: Loaded) -> tuple[str, ...]:
    """The lines that are verified and take evidence, but for which the configured folder has no record."""
    from exporter.engine import read_evidence
    from exporter.runner import utc_now

    if loaded.evidence.folder is None:
        return ()
    wanted = (
        line.id
        for line in loaded.plan.items
        if line.declared and line.declared.evidence and line.targets and not line.not_applicable
    )
    return read_evidence(loaded, utc_now).without(wanted)
