"""What the commands have in common: exit codes, options, and how they print."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from exporter.logs import LogFormat, LogLevel, redact

if TYPE_CHECKING:
    from rich.console import Console

    from exporter.config import Loaded

__all__ = [
    "DEFAULT_ADDRESS",
    "ConfigFile",
    "EnableCommands",
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
    "console",
    "give_up_output",
    "known",
    "load",
    "output_errors",
    "prepare_streams",
    "prompt",
    "say",
    "write",
    "wrong_options",
]

DEFAULT_ADDRESS = ":9876"

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config.file",
        metavar="FILE",
        help="Configuration file. Without it the bundled checklist is shown and nothing is verified.",
    ),
]
EnableCommands = Annotated[
    bool, typer.Option("--enable-commands", help="Run the commands of the configuration's own lines (`custom`).")
]
Sections = Annotated[list[str] | None, typer.Option("--section", metavar="NAME", help="Only this section; repeatable.")]
ListenAddress = Annotated[
    list[str],
    typer.Option("--web.listen-address", metavar="HOST:PORT", help="Address to listen on; repeatable."),
]
RoutePrefix = Annotated[
    str | None,
    typer.Option(
        "--web.route-prefix", metavar="PATH", help="Path prefix of all routes; that of the external URL by default."
    ),
]
ExternalUrl = Annotated[
    str,
    typer.Option(
        "--web.external-url",
        metavar="URL",
        help="External URL, when it differs from the listen address (behind a proxy).",
    ),
]
WebConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--web.config.file",
        metavar="FILE",
        help="File with TLS, users, headers and rate limit, in exporter-toolkit's format.",
    ),
]
Level = Annotated[LogLevel, typer.Option("--log.level", help="Minimum level of log messages.")]
LogForm = Annotated[LogFormat, typer.Option("--log.format", help="Format of log messages.")]


class ExitCode(IntEnum):
    """The exit code of the process."""

    OK = 0
    FAILED = 1
    UNKNOWN = 2
    CONFIGURATION = 3
    INTERNAL = 4
    INTERRUPTED = 130
    UNREAD = 141


class Refused(Exception):
    """The command cannot be carried out; its text is the sentence to print, `code` the exit code."""

    def __init__(self, sentence: object, code: ExitCode = ExitCode.CONFIGURATION) -> None:
        super().__init__(str(sentence))
        self.code = code


def say(text: str, *, error: bool = False) -> None:
    """Print a text, without secrets, to standard output or error."""
    console(error=error).print(redact(text), markup=False, highlight=False, emoji=False, soft_wrap=True)


def console(*, error: bool = False) -> Console:
    """Standard output or error for tables, bars and texts. A width that cannot be (`COLUMNS=0`) is taken for the usual one."""
    from rich.console import Console

    made = Console(stderr=error)
    if made.width < 1:
        made.width = 80
    return made


def prompt(text: str, default: str = "") -> str:
    """What a person types, without spaces around it. Ctrl-C ends the command, also in an event loop, which handles it itself."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return str(typer.prompt(text, default=default, show_default=bool(default), err=True)).strip()
    finally:
        signal.signal(signal.SIGINT, before)


def write(text: str) -> None:
    """Print a document, as UTF-8 whatever the terminal's encoding: documents name it themselves."""
    cast("TextIOWrapper", sys.stdout).reconfigure(encoding="utf-8", errors="backslashreplace")
    sys.stdout.write(text)


def prepare_streams() -> None:
    """Make standard output and error usable where they are closed, and where their encoding lacks a character."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None or stream.closed:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  # until exit
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def output_errors(code: ExitCode | None = None, verdict: str = "") -> Iterator[None]:
    """Refuse the command with `code` and `verdict` where standard output cannot be written (a full disk)."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.filename is not None or error.errno not in _OUTPUT:
            raise
        give_up_output()
        why = f"The output cannot be written: {os.strerror(error.errno)}."
        raise Refused(f"{why} {verdict}".rstrip(), code or ExitCode.INTERNAL) from None


_OUTPUT = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EBADF)


def give_up_output() -> None:
    """Discard what is still to be written to standard output, which Python would try again at its exit."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def wrong_options() -> Iterator[None]:
    """Refuse the command with the sentence of a ValueError: an option that is not what it must be."""
    try:
        yield
    except ValueError as error:
        raise Refused(error) from None


@contextmanager
def configuration_errors() -> Iterator[None]:
    """Refuse the command with every error of the configuration, or of what is installed."""
    from exporter.catalogue import CatalogueError
    from exporter.checklist import ChecklistError
    from exporter.config import ConfigError

    try:
        yield
    except (CatalogueError, ChecklistError, ConfigError) as error:
        raise Refused(error) from None


def load(config_file: Path | None) -> Loaded:
    """The configuration, or the default one without a file. Its warnings are printed on standard error."""
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
