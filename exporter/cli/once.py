"""One run of everything and its report: what `check` and `report` have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from exporter.cli.shared import ExitCode, console, say, write
from exporter.logs import LogLevel
from exporter.report import Format, Place, Report, print_table, render
from exporter.verdict import Severity, Status

if TYPE_CHECKING:
    from exporter.config import Loaded
    from exporter.plan import Job

__all__ = ["ReportFormat", "exit_code", "verify", "write_report"]

ReportFormat = Annotated[Format, typer.Option("--format", "-f", help="Output format.")]


def verify(loaded: Loaded, sections: frozenset[str], *, commands: bool = False) -> dict[str, Any]:
    """The items document (of `sections`, if any are named) after one run of everything."""
    from exporter import logs
    from exporter.document import document
    from exporter.engine import check
    from exporter.runner import utc_now

    logs.configure(LogLevel.ERROR)  # the report has what does not pass
    jobs = [job for job in loaded.plan.jobs if not sections or job.section in sections]
    with _progress(len(jobs)) as done:
        state = asyncio.run(check(loaded, sections=sections, progress=done, commands=commands))
    views = [view for view in state.views() if not sections or view.planned.section in sections]
    return document(views, loaded.plan, utc_now())


def exit_code(statuses: Collection[str]) -> ExitCode:
    """The exit code for these statuses: what was observed to be false outweighs what could not be observed."""
    if Status.FAILED in statuses:
        return ExitCode.FAILED
    return ExitCode.UNKNOWN if Status.UNKNOWN in statuses else ExitCode.OK


@contextmanager
def _progress(total: int) -> Iterator[Callable[[Job], None]]:
    """Shows progress on standard error: a bar on a terminal, otherwise a line for each run."""
    screen = console(error=True)
    if not screen.is_terminal:
        yield lambda job: say(f"{job.id} was checked.", error=True)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = TextColumn("Verifying"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}", markup=False)
    with Progress(*columns, console=screen, transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda job: bar.update(task, advance=1, description=job.id)


def write_report(
    loaded: Loaded,
    document: Mapping[str, Any],
    form: Format,
    threshold: Severity = Severity.INFO,
    source: Path | None = None,
) -> None:
    """Print the items document in this format on standard output.

    `threshold` and `source` are as in `Report`.
    """
    report = Report(
        document,
        loaded.checklist,
        {item.id: Place(item.heading, 0) for item in loaded.plan.items}
        | {binding.entry.id: Place(binding.heading, binding.number) for binding in loaded.bindings},
        {item.id: item.declared.description for item in loaded.plan.items if item.declared},
        {item.id: item.runbook_url for item in loaded.plan.items},
        threshold,
        source,
    )
    if form is Format.TABLE:
        print_table(report, console())
    else:
        write(render(report, form))
