"""`report` writes the checklist, ticked, with dates and details."""

from __future__ import annotations

import asyncio
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
    known,
    load,
)
from exporter.report import Format
from exporter.verdict import Severity, Status

if TYPE_CHECKING:
    from exporter.http import HttpSettings

__all__ = ["report"]


def report(
    config_file: ConfigFile = None,
    section: Sections = None,
    form: ReportFormat = Format.MARKDOWN,
    url: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Report the state of the running exporter at this URL, instead of verifying now."
        ),
    ] = None,
    http_config_file: Annotated[
        Path | None,
        typer.Option(
            "--http.config.file",
            metavar="FILE",
            help="Same as --url for an exporter with authentication or TLS: a YAML file with `url` and the options of HTTP APIs.",
        ),
    ] = None,
    enable_commands: EnableCommands = False,
) -> int:
    """Write the ticked checklist with dates and details. Exits 0 when it was written."""
    loaded = load(config_file)
    exporter = _exporter(url, http_config_file)
    if exporter is None:
        sections = known(section, (planned.section for planned in loaded.plan.items))
        document = verify(loaded, sections, commands=enable_commands)
    else:
        document = _fetch(exporter)
        chosen = known(section, (item["section"] for item in document["items"]))
        document["items"] = [item for item in document["items"] if not chosen or item["section"] in chosen]
    write_report(loaded, document, form, source=config_file)
    return ExitCode.OK


def _exporter(url: str | None, file: Path | None) -> HttpSettings | None:
    """How to reach the running exporter that was named; None without one."""
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
