"""`demo` starts real servers, verifies and serves them; `demo break` and `demo fix` change their state."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from exporter.cli.serve import run_server
from exporter.cli.shared import ExitCode, Level, ListenAddress, Refused, say
from exporter.demo.launcher import DemoError, Servers, ask, default_directory, servers
from exporter.logs import LogLevel

__all__ = ["demo"]

demo = typer.Typer(help="Real servers on this machine, verified and served, and ways to break them.")

Directory = Annotated[
    Path | None, typer.Option("--directory", metavar="FOLDER", help="Folder of the demo; one for each user by default.")
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Which one; the running demo names them all.")]


@demo.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    directory: Directory = None,
    listen_address: ListenAddress = ["127.0.0.1:9876"],  # noqa: B006  # typer copies it
    log_level: Level = LogLevel.ERROR,
) -> int:
    """Start PostgreSQL, Redis, NATS, an HTTPS site and a folder of evidence; verify and serve them until Ctrl-C."""
    if context.invoked_subcommand:
        return ExitCode.OK
    from exporter import logs
    from exporter.daemon import ServeOptions

    logs.configure(log_level)
    try:
        with _started(directory or default_directory(), listen_address[0]) as running:
            options = ServeOptions(running.config_file, tuple(listen_address))
            run_server(options, lambda: _announce(listen_address[0], running, directory))
    except DemoError as error:
        raise Refused(error) from None
    return ExitCode.OK


@contextmanager
def _started(directory: Path, address: str) -> Iterator[Servers]:
    """The demo's servers, with word of what is starting."""
    from rich.console import Console

    console = Console(stderr=True)
    with ExitStack() as stack:
        with console.status("Starting") as status:

            def tell(name: str) -> None:
                status.update(f"Starting {name}")
                if not console.is_terminal:
                    say(f"Starting {name}.", error=True)

            running = stack.enter_context(servers(directory, address, tell))
        yield running


async def _announce(address: str, running: Servers, directory: Path | None) -> None:
    """When the page answers, print its address and how to break what it shows; then report which alerts fire."""
    host, _, port = address.rpartition(":")
    while True:
        with suppress(OSError):
            _, writer = await asyncio.open_connection(host.strip("[]") or "127.0.0.1", int(port))
            writer.close()
            break
        await asyncio.sleep(0.05)
    command = shlex.join([_program(), "demo"])
    where = f" --directory {shlex.quote(str(directory))}" if directory else ""
    width = max(map(len, running.faults))
    url = f"http://{host or '127.0.0.1'}:{port}"
    say(f"\nThe checklist: {url}/   its metrics: {url}/metrics   as a report: {_program()} report --url {url}\n")
    say("Break something, and within seconds its line fails:\n")
    for name, effect in running.faults.items():
        say(f"  {command} break {name:<{width}}{where}   # {effect}")
    say(f"\nFix it with {command} fix NAME{where}. Ctrl-C stops everything.\n")
    if running.trouble:
        say(f"{running.trouble}\n")
    if running.prometheus:
        say(f"Prometheus evaluates the alerting rules, sixty times faster: {running.prometheus}/alerts\n")
        await _tell_alerts(running.prometheus)


async def _tell_alerts(prometheus: str) -> None:
    """Print which alerts fire and which are resolved, until cancelled; those that notify nobody are left out."""
    import httpx

    known: dict[str, str] = {}
    async with httpx.AsyncClient(base_url=prometheus, verify=False, trust_env=False) as client:  # noqa: S501  # no TLS on loopback
        while True:
            with suppress(httpx.HTTPError):  # it is asked again
                firing = _firing((await client.get("/api/v1/alerts", timeout=5)).json()["data"]["alerts"])
                for name in firing.keys() - known.keys():
                    say(f"{name} fires: {firing[name]}")
                for name in known.keys() - firing.keys():
                    say(f"{name} is resolved.")
                known = firing
            await asyncio.sleep(1)


def _firing(alerts: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What each alert that notifies somebody says, by its name and what it is about."""
    firing = {}
    for alert in alerts:
        labels, texts = alert["labels"], alert["annotations"]
        if alert["state"] == "firing" and labels["severity"] != "info":
            about = "/".join(labels[label] for label in ("section", "item") if label in labels)
            firing[f"{labels['alertname']}{f' ({about})' if about else ''}"] = texts["description"]
    return firing


def _program() -> str:
    """How this program is called: by its name where that is found, else by its path."""
    return "checklist-exporter" if shutil.which("checklist-exporter") else sys.argv[0]


@demo.command("break")
def break_(name: Name = "", directory: Directory = None) -> int:
    """Break something in the running demo."""
    return _ask("break", name, directory)


@demo.command()
def fix(name: Name = "", directory: Directory = None) -> int:
    """Fix what was broken."""
    return _ask("fix", name, directory)


@demo.command(hidden=True)
def mend(name: Name = "", directory: Directory = None) -> int:
    """Fix what was broken: the earlier name of `fix`."""
    return fix(name, directory)


def _ask(verb: str, name: str, directory: Path | None) -> int:
    try:
        say(ask(directory or default_directory(), verb, name))
    except DemoError as error:
        raise Refused(error) from None
    return ExitCode.OK
