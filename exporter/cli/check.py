"""`check` verifies every line once and judges what was observed."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from exporter.cli.once import ReportFormat, exit_code, verify, write_report
from exporter.cli.shared import ConfigFile, EnableCommands, Sections, known, load, output_errors
from exporter.report import Format, counts
from exporter.verdict import Severity

__all__ = ["check"]


def check(
    config_file: ConfigFile = None,
    section: Sections = None,
    form: ReportFormat = Format.TABLE,
    fail_on: Annotated[
        Severity,
        typer.Option(
            "--fail-on", help="Lowest severity that affects the exit code; JUnit has lines below it as skipped."
        ),
    ] = Severity.INFO,
    report_all: Annotated[
        bool, typer.Option("--report-all", help="Report lines below --fail-on as failures in JUnit, too.")
    ] = False,
    enable_commands: EnableCommands = False,
) -> int:
    """Verify every line once.

    Exits 0 (all ok), 1 (failed), 2 (unknown), 3 (configuration) or 4 (internal error, or output that cannot be written).
    """
    loaded = load(config_file)
    sections = known(section, (planned.section for planned in loaded.plan.items))
    document = verify(loaded, sections, commands=enable_commands)
    judged = [item for item in document["items"] if Severity(item["severity"]).at_least(fail_on)]
    code = exit_code({item["status"] for item in judged})
    with output_errors(code or None, f"The verdict: {counts(document['items'])}."):
        write_report(loaded, document, form, Severity.INFO if report_all else fail_on, config_file)
        sys.stdout.flush()
    return code
