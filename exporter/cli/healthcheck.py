"""`healthcheck` asks a running exporter whether it is healthy."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exporter.cli.shared import (
    DEFAULT_ADDRESS,
    ExitCode,
    ExternalUrl,
    ListenAddress,
    Refused,
    RoutePrefix,
    WebConfigFile,
    say,
    wrong_options,
)

__all__ = ["healthcheck"]

TIMEOUT = 5


def healthcheck(
    listen_address: ListenAddress = [DEFAULT_ADDRESS],  # noqa: B006  # typer copies it
    web_config_file: WebConfigFile = None,
    external_url: ExternalUrl = "",
    route_prefix: RoutePrefix = None,
) -> int:
    """Ask the exporter started with these flags whether it is healthy. Exits 0 or 1."""
    from exporter.web import Options

    host, _, port = listen_address[0].rpartition(":")
    if not port.isdigit():
        raise Refused(f"--web.listen-address takes HOST:PORT, not '{listen_address[0]}'.")
    host = host.strip("[]") if host not in ("", "0.0.0.0", "[::]") else "localhost"  # noqa: S104  # where to ask
    with wrong_options():
        prefix = Options("/metrics", external_url, route_prefix).prefix
    tls = _tls(web_config_file)
    connection = _connection(host, int(port), bool(tls))
    try:
        connection.request("GET", f"{prefix}/-/healthy")
        reply = connection.getresponse()
        text = reply.read(4096).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        # A server that is alive hangs up on clients without a certificate; one that hangs runs into the timeout.
        if tls.get("client_auth_type") == "RequireAndVerifyClientCert" and isinstance(error, _HUNG_UP):
            say(f"{host}:{port} answers; its health is shown only to clients with a certificate.")
            return ExitCode.OK
        raise Refused(f"{host}:{port} does not answer: {_why(error)}.", ExitCode.FAILED) from None
    finally:
        connection.close()
    if reply.status != 200:
        raise Refused(f"{host}:{port} answers {reply.status}: {text}", ExitCode.FAILED)
    say(text)
    return ExitCode.OK


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT} s"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


_HUNG_UP = (ssl.SSLError, http.client.RemoteDisconnected, ConnectionResetError)


def _connection(host: str, port: int, tls: bool) -> http.client.HTTPConnection:
    if not tls:
        return http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    context = ssl.create_default_context()
    context.check_hostname = False  # the certificate is for the name that others reach it by
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=context)


def _tls(web_config_file: Path | None) -> Mapping[str, Any]:
    """The server's TLS options; empty where it serves HTTP."""
    if web_config_file is None:
        return {}
    from exporter.positioned_yaml import YamlError, load_yaml, read_bounded

    try:
        found = load_yaml(read_bounded(web_config_file), str(web_config_file)).plain()
    except YamlError as error:  # its text shows nothing of the file, which has the users' hashes
        raise Refused(error) from None
    except OSError as error:
        raise Refused(f"{web_config_file} cannot be read: {error.strerror}.") from None
    options = found.get("tls_server_config") if isinstance(found, dict) else None
    return options if isinstance(options, dict) else {}
