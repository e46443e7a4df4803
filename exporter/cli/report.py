"""`report` writes the checklist, ticked, with dates and details."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from exporter.cli.once import ReportFormat, verify, write_report
from exporter.cli.shared import (
    ConfigFile,
    EnableCommands,
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
from exporter.report import Format
from exporter.verdict import Severity, Status

if TYPE_CHECKING:
    from exporter.config import Loaded
    from exporter.http import HttpSettings

__all__ = ["report"]


def report(
    config_file: ConfigFile = None,
    section: Sections = None,
    form: ReportFormat = Format.MARKDOWN,
    url: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            help="Report the state of the running exporter at this URL, instead of verifying now; several are shown "
            "side by side.",
        ),
    ] = None,
    http_config_file: Annotated[
        list[Path] | None,
        typer.Option(
            "--http.config.file",
            metavar="FILE",
            help="Same as --url for an exporter with authentication or TLS: a YAML file with `url` and the options of "
            "HTTP APIs; repeatable.",
        ),
    ] = None,
    enable_commands: EnableCommands = False,
) -> int:
    """Write the ticked checklist with dates and details. Exits 0 when it was written, 2 where an exporter did not answer."""
    loaded = load(config_file)
    exporters = list(_exporters(url or (), http_config_file or ()))
    if len(exporters) > 1:
        return _compare(loaded, exporters, section, form)
    if not exporters:
        sections = known(section, (planned.section for planned in loaded.plan.items))
        document = verify(loaded, sections, commands=enable_commands)
    else:
        document = _fetch(exporters[0])
        chosen = known(section, (item["section"] for item in document["items"]))
        document["items"] = [item for item in document["items"] if not chosen or item["section"] in chosen]
    write_report(loaded, document, form, source=config_file)
    return ExitCode.OK


def _compare(loaded: Loaded, exporters: Sequence[HttpSettings], section: Sections, form: Format) -> int:
    """Write what several exporters report, side by side. One that does not answer leaves the others' columns."""
    from exporter.comparison import FORMATS, Column, Comparison, print_table, render

    if form not in FORMATS:
        raise Refused(f"A report of several exporters has the formats {', '.join(FORMATS)}, not {form}.")
    columns = []
    for exporter in exporters:
        try:
            columns.append(Column(exporter.url, _fetch(exporter)))
        except Refused as refused:
            say(str(refused), error=True)
            columns.append(Column(exporter.url, None, str(refused)))
    chosen = known(section, (item["section"] for column in columns for item in column.items))
    if chosen:
        columns = [column.only(chosen) for column in columns]
    headings = {item.id: item.heading for item in loaded.plan.items}
    comparison = Comparison(columns, headings)
    if form is Format.TABLE:
        print_table(comparison, console())
    else:
        write(render(comparison, form))
    return ExitCode.UNKNOWN if any(column.error for column in columns) else ExitCode.OK


def _exporters(urls: Sequence[str], configured: Sequence[Path]) -> Iterator[HttpSettings]:
    """How to reach the running exporters that were named."""
    from exporter import logs
    from exporter.config import load_options
    from exporter.http import HttpSettings

    if urls and configured:
        raise Refused("Either --url or --http.config.file: the file has the address in it.")
    for file in configured:
        with configuration_errors():
            settings, secrets = load_options(file, HttpSettings)
        logs.hide(secrets)
        yield settings
    for url in urls:
        try:
            yield HttpSettings(url=url)
        except ValueError:
            raise Refused(
                "--url takes the address of an exporter such as http://127.0.0.1:9876, without query; where it takes "
                "credentials, see --http.config.file."
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
        raise Refused(f"{settings.url} is not a checklist-exporter: its /api/v1/items has no items.", ExitCode.UNKNOWN)
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
