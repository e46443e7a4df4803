"""The command line.

`init`, `serve`, `check`, `explain`, `report`, `attest`, `bind`, `list`, `config check`, `demo`, `healthcheck`, `canary`.

Exit codes: 0 ok, 1 a line failed, 2 a line is unknown, 3 the configuration or the command line is wrong, 4 an internal error or
an output that cannot be written, 130 interrupted, 141 the reader of the output is gone (`| head`). What takes long to import is
imported by the commands that need it.
"""

from __future__ import annotations

import platform
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer
from typer.exceptions import TyperException

from exporter.cli.attest import attest
from exporter.cli.bind import bind
from exporter.cli.canary import canary
from exporter.cli.check import check
from exporter.cli.config import check_config
from exporter.cli.demo import demo
from exporter.cli.explain import explain
from exporter.cli.healthcheck import healthcheck
from exporter.cli.init import init
from exporter.cli.list import list_items
from exporter.cli.report import report
from exporter.cli.serve import serve
from exporter.cli.shared import ExitCode, Refused, give_up_output, output_errors, prepare_streams, say
from exporter.ending import leave
from exporter.logs import redact_streams

__all__ = ["main"]

_config = typer.Typer(help="Validate a configuration.", no_args_is_help=True)
_config.callback()(lambda: None)  # a group, though of one command
_config.command("check")(check_config)

app = typer.Typer(
    help="Verify a production launch checklist against live systems, and export it to Prometheus.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (init, serve, check, explain, report, attest, bind):
    app.command()(command)
app.command("list")(list_items)
app.add_typer(_config, name="config")
app.add_typer(demo, name="demo")
app.command()(healthcheck)
app.command()(canary)


@app.callback(invoke_without_command=True)
def _main(show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    """Verify a production launch checklist against live systems, and export it to Prometheus."""
    if show_version:
        say(f"checklist-exporter, version {version('checklist-exporter')} (Python {platform.python_version()})")
        raise typer.Exit


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code. Flags alone, as exporters are started, mean `serve`.

    The process's own `serve` (without `argv`) does not return: it leaves the process.
    """
    prepare_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0].startswith("--") and arguments[0] not in ("--help", "--version"):
        arguments.insert(0, "serve")
    serving = argv is None and arguments[:1] == ["serve"]
    if serving:
        redact_streams()
    code = _run(arguments)
    if serving:
        leave(code)
    return code


def _run(arguments: list[str]) -> int:
    try:
        with output_errors():
            code = int(app(arguments, prog_name="checklist-exporter", standalone_mode=False) or ExitCode.OK)
            sys.stdout.flush()
    except (BrokenPipeError, SystemExit):  # the latter is what typer and rich make of it, with 1: a line failed
        give_up_output()
        return ExitCode.UNREAD
    except Refused as refused:
        say(str(refused), error=True)
        return refused.code
    except TyperException as error:
        if message := error.format_message():  # none, when the help was shown instead
            say(f"{message.replace('Value error, ', '')} Try `checklist-exporter --help`.", error=True)
        return ExitCode.CONFIGURATION
    except typer.Abort:
        return ExitCode.INTERRUPTED
    except Exception:  # noqa: BLE001  # left to itself, Python would exit with 1: a line failed
        say(traceback.format_exc(), error=True)
        return ExitCode.INTERNAL
    return code
