"""A checklist: Markdown headings with boxes under them, read and written back without changing anything else."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from markdown_it import MarkdownIt
from markdown_it.token import Token

__all__ = ["MAX_BYTES", "Checklist", "ChecklistError", "Line", "Section", "annotation"]

MAX_BYTES = 1 << 20
"""A checklist larger than this is refused; the bundled one has 10 kB."""

_BOX = re.compile(r"\[([ xX])\](?:\s+|$)")
_ITEM = re.compile(r"<!--\s*item:\s*(\S+)\s*-->")
_ANNOTATION = " <!-- verified --> "  # invisible where Markdown is shown; from here to the end of its line it is ours
_MARKUP = re.compile(r"[\\*\[\]<&~|]|(?<![^\W_])_|_(?![^\W_])")


class ChecklistError(Exception):
    """A checklist that cannot be used. `problems` are (line number, full sentence); line 0 is the whole file."""

    def __init__(self, file: str, *problems: tuple[int, str]) -> None:
        self.file = file
        self.problems = problems
        super().__init__("\n".join(f"{file}:{line}: {text}" if line else f"{file}: {text}" for line, text in problems))


@dataclass(frozen=True, slots=True)
class Line:
    """One box: its text as written (without annotations), its line number in the file, how many lists it is nested in.

    `item` is what an annotation `<!-- item: postgresql.failover_tested -->` names.
    """

    text: str
    number: int
    ticked: bool
    depth: int = 0
    item: str | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """A heading that has boxes directly under it; `parents` are the headings above it, outermost first."""

    heading: str
    level: int
    number: int
    parents: tuple[str, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class _Box:
    """Where a box is in the file: row and column of its bracket, and the row that takes annotations (rows count from 0)."""

    row: int
    column: int
    annotated_row: int


@dataclass(frozen=True)
class Checklist:
    """A parsed checklist. `name` is its file name, for messages; `text` the whole source."""

    name: str
    text: str
    sections: tuple[Section, ...]
    _boxes: Mapping[int, _Box]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and parse a file; raises ChecklistError when it cannot be read or used."""
        try:
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise ChecklistError(str(path), (0, f"The checklist cannot be read: {error.strerror}.")) from None
        except ValueError:
            raise ChecklistError(
                repr(str(path)).strip("'"), (0, "The checklist cannot be read: this is no path.")
            ) from None
        return cls.decode(data, str(path))

    @classmethod
    def decode(cls, data: bytes, name: str) -> Self:
        """Parse the bytes of a file; raises ChecklistError when they are too many or not UTF-8."""
        if len(data) > MAX_BYTES:
            raise ChecklistError(name, (0, f"The checklist is larger than {MAX_BYTES:,} bytes."))
        try:
            return cls.parse(data.decode(), name)
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise ChecklistError(name, (line, "The checklist is not UTF-8 text.")) from None

    @classmethod
    def parse(cls, text: str, name: str) -> Self:
        """Parse Markdown; raises ChecklistError when there are no boxes, or boxes without text or heading."""
        if "\0" in text:
            row = text.count("\n", 0, text.index("\0")) + 1
            raise ChecklistError(name, (row, "The checklist is not a text: it holds a NUL character."))
        parser = _Parser(text)
        if parser.problems:
            raise ChecklistError(name, *parser.problems)
        if not parser.boxes:
            raise ChecklistError(name, (0, "The checklist has no boxes: write lines as '- [ ] What shall be true'."))
        return cls(name, text, parser.sections(), parser.boxes)

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """Every line of every section, in the order of the file."""
        return tuple(line for section in self.sections for line in section.lines)

    def render(self, ticks: Mapping[int, bool], annotations: Mapping[int, str] | None = None) -> str:
        """The source with these lines (by number) ticked or not, and annotated with these texts.

        Nothing else changes. An annotation is shown behind the line's text and replaces the one that an earlier rendering left;
        an empty one removes it. Raises KeyError for a number that is not a line's.
        """
        rows = _rows(self.text)
        for number, ticked in ticks.items():
            box = self._boxes[number]
            row, column = rows[box.row], box.column + 1
            if (row[column] != " ") != ticked:
                rows[box.row] = row[:column] + ("x" if ticked else " ") + row[column + 1 :]
        for number, told in (annotations or {}).items():
            row_number = self._boxes[number].annotated_row
            content = rows[row_number].rstrip("\r\n")
            end = rows[row_number][len(content) :]
            rows[row_number] = content.partition(_ANNOTATION)[0] + annotation(told) + end
        return "".join(rows)


def annotation(text: str) -> str:
    """What stands behind a box that is annotated with this text; nothing for an empty one."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    printable = printable.replace("`", "'")  # which no backslash keeps from ending what a single one before it began
    shown = _MARKUP.sub(r"\\\g<0>", " ".join(printable.split()))
    return _ANNOTATION + shown if shown else ""


def _rows(text: str) -> list[str]:
    """The rows of a text with their ends, as Markdown counts them: ended by CR, LF or both, and by nothing else."""
    return list(io.StringIO(text, newline=""))


class _Parser:
    """One pass over the tokens of a Markdown text."""

    def __init__(self, text: str) -> None:
        self.problems: list[tuple[int, str]] = []
        self.boxes: dict[int, _Box] = {}
        self._rows = _rows(text.removeprefix("\ufeff"))
        self._bom = len(text) - len(text.removeprefix("\ufeff"))
        self._headings: list[tuple[int, str, int, tuple[str, ...], list[Line]]] = []
        markdown = MarkdownIt("commonmark", {"maxNesting": 100})
        self._scan(markdown.parse("".join(self._rows)))

    def sections(self) -> tuple[Section, ...]:
        return tuple(
            Section(heading, level, number, parents, tuple(lines))
            for level, heading, number, parents, lines in self._headings
            if lines
        )

    def _scan(self, tokens: list[Token]) -> None:
        depth = -1
        for index, token in enumerate(tokens):
            if token.type == "heading_open" and token.level == 0:
                self._heading(token, tokens[index + 1])
            elif token.type == "list_item_open":
                depth += 1
                if tokens[index + 1].type == "paragraph_open":
                    self._box(tokens[index + 2], depth)
            elif token.type == "list_item_close":
                depth -= 1

    def _heading(self, opening: Token, inline: Token) -> None:
        level = int(opening.tag[1])
        parents: tuple[str, ...] = ()
        for above in reversed(self._headings):
            if above[0] < level:
                parents = (*above[3], above[1])
                break
        self._headings.append((level, inline.content, (opening.map or [0])[0] + 1, parents, []))

    def _box(self, inline: Token, depth: int) -> None:
        match = _BOX.match(inline.content)
        if match is None:
            return
        first, end = inline.map or (0, 0)
        written, last = inline.content.partition("\n")[0], inline.content.rpartition("\n")[2]
        # An annotation belongs behind the text, but could turn a last row such as "*" into something else than text.
        annotated = end - 1 if last[:1].isalpha() else first
        number = first + 1
        text, item = _text(inline, match.end())
        if not text or match.end() >= len(written):
            self.problems.append((number, "The box has no text: write what shall be true behind it."))
        elif not self._headings:
            self.problems.append((number, "The box stands above the first heading, so it belongs to no section."))
        else:
            column = self._rows[first].rindex(written) + (self._bom if first == 0 else 0)
            self.boxes[number] = _Box(first, column, annotated)
            self._headings[-1][4].append(Line(text, number, match[1] != " ", depth, item))


def _text(inline: Token, start: int) -> tuple[str, str | None]:
    """The text of a box without its annotations, and the item that one of them names."""
    rows = (row.partition(_ANNOTATION)[0].strip() for row in inline.content[start:].split("\n"))
    text = " ".join(filter(None, rows))
    item = None
    for comment in _comments(inline):
        if match := _ITEM.fullmatch(comment):
            item = match[1]
            before, _, after = text.rpartition(comment)
            text = f"{before.rstrip()} {after.lstrip()}".strip()
    return text, item


def _comments(inline: Token) -> Iterator[str]:
    return (child.content for child in inline.children or () if child.type == "html_inline")
