"""One run of everything and its report: what `check` and `report` have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from exporter.cli.shared import say, write
from exporter.logs import LogLevel
from exporter.report import Format, Place, Report, print_table, render

if TYPE_CHECKING:
    from exporter.config import Loaded
    from exporter.plan import Job

__all__ = ["ReportFormat", "verify", "write_report"]

ReportFormat = Annotated[Format, typer.Option("--format", "-f", help="Output format.")]


def verify(loaded: Loaded, sections: frozenset[str]) -> dict[str, Any]:
    """The items document (of `sections`, if any are named) after one run of everything."""
    from exporter import logs
    from exporter.document import document
    from exporter.engine import check
    from exporter.runner import utc_now

    logs.configure(LogLevel.ERROR)  # what is not true, the report says
    jobs = [job for job in loaded.plan.jobs if not sections or job.section in sections]
    with _progress(len(jobs)) as done:
        state = asyncio.run(check(loaded, sections=sections, progress=done))
    views = [view for view in state.views() if not sections or view.planned.section in sections]
    return document(views, loaded.plan, utc_now())


@contextmanager
def _progress(total: int) -> Iterator[Callable[[Job], None]]:
    """Tells on standard error how far the runs are: a bar on a terminal, else a line for each."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda job: say(f"{job.id} was verified.", error=True)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = TextColumn("Verifying"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}", markup=False)
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda job: bar.update(task, advance=1, description=job.id)


def write_report(loaded: Loaded, document: Mapping[str, Any], form: Format) -> None:
    """Print the items document in this format on standard output."""
    report = Report(
        document,
        loaded.checklist,
        {binding.entry.id: Place(binding.heading, binding.number) for binding in loaded.bindings},
        {item.id: item.declared.description for item in loaded.plan.items if item.declared},
    )
    if form is Format.TABLE:
        from rich.console import Console

        print_table(report, Console())
    else:
        write(render(report, form))
