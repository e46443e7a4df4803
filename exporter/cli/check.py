"""`check` verifies every line once and judges what was observed."""

from __future__ import annotations

from typing import Annotated

import typer

from exporter.cli.once import ReportFormat, verify, write_report
from exporter.cli.shared import ConfigFile, ExitCode, Sections, known, load
from exporter.report import Format
from exporter.verdict import Severity

__all__ = ["check"]


def check(
    config_file: ConfigFile = None,
    section: Sections = None,
    form: ReportFormat = Format.TABLE,
    fail_on: Annotated[
        Severity, typer.Option("--fail-on", help="Lines of less severity than this leave the exit code alone.")
    ] = Severity.INFO,
) -> int:
    """Verify every line once. Ends with 0 (all ok), 1 (failed), 2 (unknown) or 3 (configuration)."""
    loaded = load(config_file)
    document = verify(loaded, known(section, (planned.section for planned in loaded.plan.items)))
    write_report(loaded, document, form)
    judged = list(Severity)[: list(Severity).index(fail_on) + 1]
    statuses = {item["status"] for item in document["items"] if item["severity"] in judged}
    # What was seen to be false outweighs what could not be seen.
    if "failed" in statuses:
        return ExitCode.FAILED
    return ExitCode.UNKNOWN if "unknown" in statuses else ExitCode.OK
