"""`canary` connects to ports from where it stands, and shows what became of it as metrics."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from exporter.cli.shared import ExitCode, Refused, say
from exporter.words import counted, os_reason

__all__ = ["canary"]


def canary(
    open_ports: Annotated[
        list[str] | None,
        typer.Option("--open", metavar="HOST:PORT", help="A port that it must be able to reach; repeatable."),
    ] = None,
    closed_ports: Annotated[
        list[str] | None,
        typer.Option(
            "--closed", metavar="HOST:PORT", help="A port that network policies must keep it from; repeatable."
        ),
    ] = None,
    listen_address: Annotated[
        str, typer.Option("--web.listen-address", metavar="HOST:PORT", help="Address to listen on.")
    ] = ":9115",
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0.1, max=30, help="How long one connection may take.")
    ] = 3.0,
) -> int:
    """Connect to ports whenever /metrics is asked for, and show what became of it: one half of a pair of canary pods."""
    from exporter.canary import Canary, Path, served

    paths = [Path(*_split("--open", one), "open") for one in open_ports or ()]
    paths += [Path(*_split("--closed", one), "closed") for one in closed_ports or ()]
    if not paths:
        raise Refused("Nothing to connect to: name ports with --open or --closed.")
    if len({str(path) for path in paths}) < len(paths):
        raise Refused("A port is named twice with --open or --closed.")
    host, port = _split("--web.listen-address", listen_address, anywhere=True)
    try:
        server = served(Canary(paths, timeout), (host, port))
    except OSError as error:
        raise Refused(f"{listen_address} cannot be listened on: {os_reason(error)}.") from None
    say(f"Listening on {listen_address}, with {counted(len(paths), 'port')} to connect to.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a pod that ends is no error
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
    return ExitCode.OK


def _split(option: str, text: str, *, anywhere: bool = False) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not (host or anywhere) or not port.isascii() or not port.isdigit() or not 0 <= int(port) < 2**16:
        raise Refused(f"{option} takes HOST:PORT, not '{text}'.")
    if '"' in host or "\\" in host or host.split() != ([host] if host else []):
        raise Refused(f"{option} takes HOST:PORT, not '{text}'.")
    return host, int(port)
