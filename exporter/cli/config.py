"""`config check` validates a configuration."""

from __future__ import annotations

from typing import Annotated

import typer

from exporter.cli.bindings import described, unbound
from exporter.cli.shared import ConfigFile, ExitCode, load, say
from exporter.words import counted

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
    say(f"{name} is valid: {sections} sections verify {verified} of {len(loaded.plan.items)} lines.")
    if (lost := unbound(loaded.bindings)) and not verbose:
        say(
            f"{counted(len(lost), 'line')} bound to no item; "
            "-v shows them with proposals, and `checklist-exporter bind` writes them."
        )
    return ExitCode.OK
