"""What the commands have in common: exit codes, options, and how they talk to people."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from exporter.logs import LogFormat, LogLevel

if TYPE_CHECKING:
    from exporter.config import Loaded

__all__ = [
    "DEFAULT_ADDRESS",
    "ConfigFile",
    "ExitCode",
    "ExternalUrl",
    "Level",
    "ListenAddress",
    "LogForm",
    "Refused",
    "RoutePrefix",
    "Sections",
    "WebConfigFile",
    "configuration_errors",
    "known",
    "load",
    "say",
    "write",
]

DEFAULT_ADDRESS = ":9876"

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config.file", metavar="FILE", help="Configuration. Without it the bundled checklist is shown, unverified."
    ),
]
Sections = Annotated[
    list[str] | None, typer.Option("--section", metavar="NAME", help="Only this section; may be given several times.")
]
ListenAddress = Annotated[
    list[str],
    typer.Option("--web.listen-address", metavar="HOST:PORT", help="Where to listen; may be given several times."),
]
RoutePrefix = Annotated[
    str | None,
    typer.Option(
        "--web.route-prefix", metavar="PATH", help="Path below which it serves; that of the external URL by default."
    ),
]
ExternalUrl = Annotated[
    str, typer.Option("--web.external-url", metavar="URL", help="Address under which people reach it, through a proxy.")
]
WebConfigFile = Annotated[
    Path | None,
    typer.Option("--web.config.file", metavar="FILE", help="TLS, users and headers, in exporter-toolkit's schema."),
]
Level = Annotated[LogLevel, typer.Option("--log.level", help="Least severity that is logged.")]
LogForm = Annotated[LogFormat, typer.Option("--log.format", help="How it is logged.")]


class ExitCode(IntEnum):
    """What the process ends with."""

    OK = 0
    FAILED = 1
    UNKNOWN = 2
    CONFIGURATION = 3
    INTERNAL = 4
    INTERRUPTED = 130
    UNREAD = 141


class Refused(Exception):
    """What was asked for cannot be done; `code` is what the process ends with."""

    def __init__(self, sentence: object, code: ExitCode = ExitCode.CONFIGURATION) -> None:
        super().__init__(str(sentence))
        self.code = code


def say(text: str, *, error: bool = False) -> None:
    """Print a text as it is, to standard output or error."""
    from rich.console import Console

    Console(stderr=error, soft_wrap=True).print(text, markup=False, highlight=False, emoji=False)


def write(text: str) -> None:
    """Print a document, as UTF-8 whatever the terminal speaks: that is what documents say of themselves."""
    cast("TextIOWrapper", sys.stdout).reconfigure(encoding="utf-8", errors="backslashreplace")
    sys.stdout.write(text)


@contextmanager
def configuration_errors() -> Iterator[None]:
    """What is wrong with the configuration, or with what is installed, ends the command with all its sentences."""
    from exporter.catalogue import CatalogueError
    from exporter.checklist import ChecklistError
    from exporter.config import ConfigError

    try:
        yield
    except (CatalogueError, ChecklistError, ConfigError) as error:
        raise Refused(error) from None


def load(config_file: Path | None) -> Loaded:
    """The configuration, or the default one without a file. What it warns of goes to standard error."""
    from exporter import config, logs

    with configuration_errors():
        loaded = config.load(config_file) if config_file else config.load_default()
    logs.hide(loaded.secrets)
    for warned in loaded.warnings:
        say(f"Warning: {warned}", error=True)
    return loaded


def known(names: Iterable[str] | None, sections: Iterable[str]) -> frozenset[str]:
    """The section names that were given, none of which may be unknown."""
    from exporter.options_reader import nearest

    given, existing = frozenset(names or ()), frozenset(sections)
    if unknown := sorted(given - existing):
        raise Refused("\n".join(f"There is no section '{name}'{nearest(name, existing) or '.'}" for name in unknown))
    return given
