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
)

__all__ = ["healthcheck"]


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
