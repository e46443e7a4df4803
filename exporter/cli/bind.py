"""`bind` writes into a checklist which items its lines stand for, where somebody accepts what is proposed."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from exporter.cli.bindings import proposed, unbound
from exporter.cli.shared import ConfigFile, ExitCode, Refused, configuration_errors, load, say
from exporter.words import counted

if TYPE_CHECKING:
    from exporter.catalogue import Binding, Catalogue, Entry
    from exporter.checklist import Checklist

__all__ = ["bind"]

_ACCEPTED = re.compile(r"([0-9]+)=(\S+)")


def bind(
    file: Annotated[Path, typer.Argument(help="Checklist, a Markdown file.", show_default=False)],
    accept: Annotated[
        list[str] | None,
        typer.Option(
            "--accept", metavar="LINE=ITEM", help="Bind this line to this item, without asking; may be repeated."
        ),
    ] = None,
    config_file: ConfigFile = None,
) -> int:
    """Propose items for the lines of a checklist that are bound to none, and write those that you accept as comments."""
    from exporter.catalogue import Catalogue
    from exporter.checklist import Checklist

    with configuration_errors():
        checklist = Checklist.read(file)
        catalogue = load(config_file).catalogue if config_file else Catalogue.load()
        bindings = catalogue.bind(checklist, _own(config_file))
    lost = unbound(bindings)
    nearest = proposed(catalogue, bindings)
    if accept:
        chosen = _given(accept, checklist, catalogue)
    elif sys.stdin.isatty():
        chosen = _asked(lost, nearest)
    else:
        _print(file, lost, nearest)
        return ExitCode.OK
    if not chosen:
        say(f"{file} is unchanged: {counted(len(lost), 'line')} bound to no item.")
        return ExitCode.OK
    text = checklist.bound(chosen)
    with configuration_errors():  # a comment must not take an item that another line has
        catalogue.bind(Checklist.parse(text, str(file)), _own(config_file))
    _replace(file, text)
    say(f"{file}: bound {counted(len(chosen), 'line')}.")
    return ExitCode.OK


def _own(config_file: Path | None) -> list[Entry]:
    """The lines that the configuration verifies itself."""
    if config_file is None:
        return []
    loaded = load(config_file)
    return [
        binding.entry
        for binding in loaded.bindings
        if binding.entry.id not in loaded.catalogue.entries and binding.entry.mode
    ]


def _given(accept: Sequence[str], checklist: Checklist, catalogue: Catalogue) -> dict[int, str]:
    from exporter.options_reader import nearest

    numbers = {line.number for line in checklist.lines}
    chosen: dict[int, str] = {}
    for text in accept:
        match = _ACCEPTED.fullmatch(text)
        if match is None or int(match[1]) not in numbers:
            raise Refused(
                f"--accept {text}: expected the number of a line and an item, such as 12=postgresql.failover_tested."
            )
        if match[2] not in catalogue.entries:
            raise Refused(f"--accept {text}: unknown item '{match[2]}'{nearest(match[2], catalogue.entries) or '.'}")
        chosen[int(match[1])] = match[2]
    return chosen


def _asked(lost: Sequence[Binding], nearest: Mapping[int, Sequence[Entry]]) -> dict[int, str]:
    """What somebody at a terminal chooses."""
    chosen: dict[int, str] = {}
    for binding in lost:
        entries = [entry for entry in nearest[binding.number] if entry.id not in chosen.values()]
        if not entries:
            continue
        say(f"\n{binding.number}: {binding.line}")
        for index, entry in enumerate(entries, 1):
            say(f"  {index}  {entry.id}: {entry.line}")
        answer = typer.prompt("Number, Enter to skip, q to stop", default="", show_default=False)
        if answer.strip().lower() == "q":
            break
        if answer.strip() in map(str, range(1, len(entries) + 1)):
            chosen[binding.number] = entries[int(answer) - 1].id
    return chosen


def _print(file: Path, lost: Sequence[Binding], nearest: Mapping[int, Sequence[Entry]]) -> None:
    for binding in lost:
        say(f"{file}:{binding.number}: {binding.line}")
        for entry in nearest[binding.number]:
            say(f"    --accept {binding.number}={entry.id}  # {entry.line}")
    say(f"{counted(len(lost), 'line')} bound to no item; nothing was written.", error=True)


def _replace(file: Path, text: str) -> None:
    """Write a file so that nobody ever reads half of it. Raises Refused when it cannot be written."""
    target = file.resolve()
    try:
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as new:
            new.write(text.encode())
        shutil.copymode(target, new.name)
        Path(new.name).replace(target)
    except OSError as error:
        raise Refused(f"{file} cannot be written: {os.strerror(error.errno or 0)}.") from None
