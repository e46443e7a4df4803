"""`serve` runs the exporter, `healthcheck` asks a running one how it is."""

from __future__ import annotations

import asyncio
import http.client
import ssl
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from exporter.cli.shared import (
    DEFAULT_ADDRESS,
    ConfigFile,
    ExitCode,
    ExternalUrl,
    Level,
    ListenAddress,
    LogForm,
    Refused,
    RoutePrefix,
    WebConfigFile,
    configuration_errors,
    say,
)
from exporter.cli.show import check_config
from exporter.logs import LogFormat, LogLevel

if TYPE_CHECKING:
    from exporter.daemon import ServeOptions

__all__ = ["healthcheck", "run_server", "serve"]


def serve(
    config_file: ConfigFile = None,
    config_check: Annotated[bool, typer.Option("--config.check", help="Only check the configuration.")] = False,
    listen_address: ListenAddress = [DEFAULT_ADDRESS],  # noqa: B006  # typer copies it
    telemetry_path: Annotated[
        str, typer.Option("--web.telemetry-path", metavar="PATH", help="Where the metrics are.")
    ] = "/metrics",
    web_config_file: WebConfigFile = None,
    external_url: ExternalUrl = "",
    route_prefix: RoutePrefix = None,
    enable_lifecycle: Annotated[
        bool, typer.Option("--web.enable-lifecycle", help="Let POST /-/reload load the configuration anew.")
    ] = False,
    log_level: Level = LogLevel.INFO,
    log_format: LogForm = LogFormat.LOGFMT,
) -> int:
    """Verify on a schedule, and serve metrics and the page until told to stop."""
    if config_check:
        return check_config(config_file)
    from exporter import logs
    from exporter.daemon import ServeOptions
    from exporter.web import Options

    logs.configure(log_level, log_format)
    options = Options(telemetry_path, external_url, route_prefix, enable_lifecycle)
    run_server(ServeOptions(config_file, tuple(listen_address), web_config_file, options))
    return ExitCode.OK


def run_server(options: ServeOptions, beside: Callable[[], Awaitable[None]] | None = None) -> None:
    """Serve until told to stop; `beside` runs at the same time, and no longer."""
    from exporter.daemon import serve
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
            asyncio.run(run())
        except ListenError as error:
            raise Refused(error) from None


def healthcheck(
    listen_address: ListenAddress = [DEFAULT_ADDRESS],  # noqa: B006  # typer copies it
    web_config_file: WebConfigFile = None,
    external_url: ExternalUrl = "",
    route_prefix: RoutePrefix = None,
) -> int:
    """Ask the exporter that was started with these flags whether it is healthy. Ends with 0 or 1."""
    from exporter.web import Options

    host, _, port = listen_address[0].rpartition(":")
    if not port.isdigit():
        raise Refused(f"--web.listen-address takes HOST:PORT, not '{listen_address[0]}'.")
    host = host.strip("[]") if host not in ("", "0.0.0.0", "[::]") else "localhost"  # noqa: S104  # where to ask
    tls = _tls(web_config_file)
    connection = _connection(host, int(port), bool(tls))
    try:
        connection.request("GET", f"{Options('', external_url, route_prefix).prefix}/-/healthy")
        reply = connection.getresponse()
        text = reply.read(4096).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        # Without a certificate one is hung up on, by a server that is alive; one that hangs runs into the timeout.
        if tls.get("client_auth_type") == "RequireAndVerifyClientCert" and isinstance(error, _HUNG_UP):
            say(f"{host}:{port} answers; how it is, it tells only to those who have a certificate.")
            return ExitCode.OK
        raise Refused(f"{host}:{port} does not answer: {error}.", ExitCode.FAILED) from None
    finally:
        connection.close()
    if reply.status != 200:
        raise Refused(f"{host}:{port} answers {reply.status}: {text}", ExitCode.FAILED)
    say(text)
    return ExitCode.OK


_HUNG_UP = (ssl.SSLError, http.client.RemoteDisconnected, ConnectionResetError)


def _connection(host: str, port: int, tls: bool) -> http.client.HTTPConnection:
    if not tls:
        return http.client.HTTPConnection(host, port, timeout=5)
    context = ssl.create_default_context()
    context.check_hostname = False  # the certificate is for the name that others reach it by
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, timeout=5, context=context)


def _tls(web_config_file: Path | None) -> Mapping[str, Any]:
    """How the server speaks TLS, as far as it is configured to."""
    if web_config_file is None:
        return {}
    import yaml

    try:
        found = yaml.safe_load(web_config_file.read_bytes())
    except (OSError, yaml.YAMLError) as error:
        raise Refused(f"{web_config_file} cannot be read: {error}.") from None
    options = found.get("tls_server_config") if isinstance(found, dict) else None
    return options if isinstance(options, dict) else {}
