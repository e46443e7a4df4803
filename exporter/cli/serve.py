"""`serve` runs the exporter."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from exporter.cli.config import check_config
from exporter.cli.shared import (
    DEFAULT_ADDRESS,
    ConfigFile,
    EnableCommands,
    ExitCode,
    ExternalUrl,
    Level,
    ListenAddress,
    LogForm,
    Refused,
    RoutePrefix,
    WebConfigFile,
    configuration_errors,
    wrong_options,
)
from exporter.logs import LogFormat, LogLevel

if TYPE_CHECKING:
    from exporter.daemon import ServeOptions

__all__ = ["run_server", "serve"]


def serve(
    config_file: ConfigFile = None,
    config_check: Annotated[bool, typer.Option("--config.check", help="Validate the configuration and exit.")] = False,
    listen_address: ListenAddress = [DEFAULT_ADDRESS],  # noqa: B006  # typer copies it
    telemetry_path: Annotated[
        str, typer.Option("--web.telemetry-path", metavar="PATH", help="Path of the metrics endpoint.")
    ] = "/metrics",
    web_config_file: WebConfigFile = None,
    external_url: ExternalUrl = "",
    route_prefix: RoutePrefix = None,
    enable_lifecycle: Annotated[
        bool, typer.Option("--web.enable-lifecycle", help="Enable POST /-/reload, which reloads the configuration.")
    ] = False,
    enable_debug: Annotated[
        bool,
        typer.Option("--web.enable-debug", help="Show at /items/SECTION/ITEM?debug what the last run of a line asked."),
    ] = False,
    enable_commands: EnableCommands = False,
    log_level: Level = LogLevel.INFO,
    log_format: LogForm = LogFormat.LOGFMT,
) -> int:
    """Verify on a schedule, and serve metrics and the page until interrupted."""
    if config_check:
        return check_config(config_file)
    from exporter import logs
    from exporter.daemon import ServeOptions
    from exporter.web import Options

    # Until the configuration is read there is nothing to read again, and by default SIGHUP ends a process.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    logs.configure(log_level, log_format)
    with wrong_options():
        options = Options(telemetry_path, external_url, route_prefix, enable_lifecycle, enable_debug)
    run_server(ServeOptions(config_file, tuple(listen_address), web_config_file, options, enable_commands))
    return ExitCode.OK


def run_server(options: ServeOptions, beside: Callable[[], Awaitable[None]] | None = None) -> None:
    """Serve until interrupted; `beside` runs at the same time, and no longer."""
    from exporter.daemon import serve
    from exporter.ending import call_off, until_done
    from exporter.web.server import ListenError

    async def run() -> None:
        other = asyncio.ensure_future(beside()) if beside else None
        try:
            await serve(options)
        finally:
            if other:
                other.cancel()
                await asyncio.gather(other, return_exceptions=True)

    with configuration_errors():
        try:
            until_done(run())
        except ListenError as error:
            raise Refused(error) from None
        finally:
            call_off()
