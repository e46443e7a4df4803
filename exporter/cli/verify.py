"""`check` verifies everything once and judges it, `report` writes it down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from exporter.cli.shared import ConfigFile, ExitCode, Refused, Sections, configuration_errors, known, load, say, write
from exporter.logs import LogLevel
from exporter.report import Format, Place, Report, print_table, render
from exporter.verdict import Severity, Status

if TYPE_CHECKING:
    from exporter.config import Loaded
    from exporter.http import HttpSettings
    from exporter.plan import Job

__all__ = ["check", "report"]

ReportFormat = Annotated[Format, typer.Option("--format", "-f", help="How it is written.")]


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
    document = _verify(loaded, known(section, (planned.section for planned in loaded.plan.items)))
    _write(_report(loaded, document), form)
    judged = list(Severity)[: list(Severity).index(fail_on) + 1]
    statuses = {item["status"] for item in document["items"] if item["severity"] in judged}
    # What was seen to be false outweighs what could not be seen.
    if "failed" in statuses:
        return ExitCode.FAILED
    return ExitCode.UNKNOWN if "unknown" in statuses else ExitCode.OK


def report(
    config_file: ConfigFile = None,
    section: Sections = None,
    form: ReportFormat = Format.MARKDOWN,
    url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Write what the exporter that runs there knows, instead of verifying now."),
    ] = None,
    http_config_file: Annotated[
        Path | None,
        typer.Option(
            "--http.config.file",
            metavar="FILE",
            help="The same, where it takes a password or a certificate: a YAML file with `url` and the options of HTTP APIs.",
        ),
    ] = None,
) -> int:
    """Write the checklist, ticked, with dates and what was seen. Ends with 0 when it was written."""
    loaded = load(config_file)
    exporter = _exporter(url, http_config_file)
    if exporter is None:
        document = _verify(loaded, known(section, (planned.section for planned in loaded.plan.items)))
    else:
        document = _fetch(exporter)
        chosen = known(section, (item["section"] for item in document["items"]))
        document["items"] = [item for item in document["items"] if not chosen or item["section"] in chosen]
    _write(_report(loaded, document), form)
    return ExitCode.OK


def _verify(loaded: Loaded, sections: frozenset[str]) -> dict[str, Any]:
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


def _exporter(url: str | None, file: Path | None) -> HttpSettings | None:
    """How to reach the running exporter that is asked for, if one is."""
    from exporter import logs
    from exporter.config import load_options
    from exporter.http import HttpSettings

    if file is not None:
        if url is not None:
            raise Refused("Either --url or --http.config.file: the file has the address in it.")
        with configuration_errors():
            settings, secrets = load_options(file, HttpSettings)
        logs.hide(secrets)
        return settings
    if url is None:
        return None
    try:
        return HttpSettings(url=url)
    except ValueError:
        raise Refused(
            "--url takes the address of an exporter such as http://127.0.0.1:9876, without query; where it takes credentials, "
            "see --http.config.file."
        ) from None


def _fetch(settings: HttpSettings) -> dict[str, Any]:
    """The items document of a running exporter."""
    from exporter.http import Http
    from exporter.verdict import ProbeError

    async def get() -> Any:
        http = Http(settings)
        try:
            return (await http.get("/api/v1/items")).json()
        finally:
            await http.close()

    try:
        found = asyncio.run(get())
    except ProbeError as cannot:
        raise Refused(cannot, ExitCode.UNKNOWN) from None
    if not _is_document(found):
        raise Refused(f"{settings.url} is no checklist-exporter: its /api/v1/items has no items.", ExitCode.UNKNOWN)
    return cast("dict[str, Any]", found)


def _is_document(found: object) -> bool:
    """Whether this has what reports are made of: the keys of the schema, with texts and known words where they must be."""
    from exporter.document import schema

    described = schema()
    needed = described["$defs"]["item"]["required"]
    if not isinstance(found, dict) or not set(described["required"]) <= found.keys():
        return False
    return isinstance(found["items"], list) and all(
        isinstance(item, dict)
        and set(needed) <= item.keys()
        and all(isinstance(item[key], str) for key in ("section", "item", "line", "group", "summary"))
        and item["status"] in list(Status)
        and item["severity"] in list(Severity)
        for item in found["items"]
    )


def _report(loaded: Loaded, document: Mapping[str, Any]) -> Report:
    return Report(
        document,
        loaded.checklist,
        {binding.entry.id: Place(binding.heading, binding.number) for binding in loaded.bindings},
        {item.id: item.declared.description for item in loaded.plan.items if item.declared},
    )


def _write(report: Report, form: Format) -> None:
    if form is Format.TABLE:
        from rich.console import Console

        print_table(report, Console())
    else:
        write(render(report, form))
