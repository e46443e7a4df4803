"""A checklist: Markdown headings with boxes under them, read and written back without changing anything else."""

from __future__ import annotations

import functools
import io
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from markdown_it import MarkdownIt
from markdown_it.token import Token

from exporter.files import TooLarge, read_file

__all__ = [
    "MAX_BYTES",
    "Checklist",
    "ChecklistError",
    "Line",
    "Section",
    "annotation",
    "normalized",
    "rendered",
    "unnumbered",
]

MAX_BYTES = 1 << 20
"""A checklist larger than this is refused; the bundled one has 10 kB."""

_BOX = re.compile(r"\[([ xX])\](?:\s+|$)")
_ITEM = re.compile(r"<!--\s*item:\s*(\S+)\s*-->", re.IGNORECASE)
_PINNED = re.compile(r"<!--\s*name:\s*(\S+)\s*-->", re.IGNORECASE)
_MEANT = re.compile(r"<!--\s*(item|name)s?\s*[:=]", re.IGNORECASE)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
#: Where a line or a section stands: `3.`, `3)`, `(3)`, `4.1 Index`; not `2 replicas`, nor `99.9 %`.
_PLACE = re.compile(
    r"(?:\d{1,3}(?:\.\d{1,3}){0,4}[.)]|\(\d{1,3}\)|\d{1,2}(?:\.\d{1,2}){1,4}(?=\s+[^\W\d_][a-z]))\s+(?=\S)"
)
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_MARKER = re.compile(r"\s*(?:[-+*]|[0-9]{1,9}[.)])\s*")
_FENCES = {"---": ("---", "..."), "+++": ("+++",)}  # of metadata before the text: YAML, TOML
_BLANKS = re.compile(r"_{2,}")
_TICKS = "xX✓✔✗✘☑☒✅❌vVyYoOnN*~/>!?.+_-"
_NEAR = re.compile(
    rf"\\?[\[［](?:\s*|\s*[{_TICKS}]\s*|\d{{1,3}} ?%|(?i:n/?a|done|todo|wip|tbd|ok|yes|no"
    r"|xx|pass(?:ed)?|true|false|(?:un)?checked))\\?[\]］]"
    r"|\([ xX]\)(?=\s)|[☐☑☒]|<input\b[^>]*\bcheckbox"
)
_SIGN = re.compile(r"(?:[✅❌✔✘✗❎]|:(?:white_check_mark|heavy_check_mark|ballot_box_with_check|x):)\s")
_GLUED = re.compile(
    r"^(?:[-*+\u2022\u2013\u2014\u25aa\u25cf\u25e6\u00b7\u2023]+|(?:[0-9]{1,9}|[A-Za-z]|[ivx]{2,5}|#)[.)])?\s*(?:<!--.*?-->\s*)*"
)
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u2060\ufe0e\ufe0f\ufeff]")
_NEAR_INSIDE = re.compile(r"\[[ xX]?\](?![(\[])|[☐☑☒]|<input\b[^>]*\bcheckbox", re.IGNORECASE)
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

    `title` is the text as Markdown shows it. `item` is what an annotation `<!-- item: postgresql.failover_tested -->` names, `name`
    the name that `<!-- name: index_fresh -->` gives to a line that binds to nothing.
    """

    text: str
    number: int
    ticked: bool
    depth: int = 0
    item: str | None = None
    title: str = ""
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """A heading that has boxes directly under it; `parents` are the headings above it, outermost first.

    `heading` is as written, without comments, `title` as Markdown shows it. `name` is what `<!-- name: edge -->` beside it names.
    """

    heading: str
    level: int
    number: int
    parents: tuple[str, ...]
    lines: tuple[Line, ...]
    title: str = ""
    name: str | None = None


@dataclass(frozen=True, slots=True)
class _Box:
    """Where a box is in the file: row and column of its bracket, and the row that takes annotations (rows count from 0)."""

    row: int
    column: int
    annotated_row: int


@dataclass(frozen=True)
class Checklist:
    """A parsed checklist. `name` is its file name, for messages; `text` the whole source.

    `warnings` are (line number, full sentence) of what looks like a box and is none.
    """

    name: str
    text: str
    sections: tuple[Section, ...]
    _boxes: Mapping[int, _Box]
    warnings: tuple[tuple[int, str], ...] = ()

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and parse a file; raises ChecklistError when it cannot be read or used."""
        try:
            data = read_file(path, MAX_BYTES)
        except TooLarge:
            raise ChecklistError(str(path), (0, f"The checklist is larger than {MAX_BYTES:,} bytes.")) from None
        except OSError as error:
            raise ChecklistError(str(path), (0, f"The checklist cannot be read: {error.strerror}.")) from None
        except ValueError:
            raise ChecklistError(
                repr(str(path)).strip("'"), (0, "The checklist cannot be read: not a valid path.")
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
            raise ChecklistError(name, (row, "The checklist is not text: it contains a NUL character."))
        parser = _Parser(text)
        if parser.problems:
            raise ChecklistError(name, *parser.problems)
        if not parser.boxes:
            raise ChecklistError(
                name, (0, "The checklist has no boxes: write lines as '- [ ] What must hold'."), *parser.warnings
            )
        return cls(name, text, parser.sections(), parser.boxes, tuple(sorted(set(parser.warnings))))

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
        for number, note in (annotations or {}).items():
            box = self._boxes[number]
            for row_number in range(box.row, box.annotated_row + 1):
                content, end = _content(rows[row_number])
                rows[row_number] = content.partition(_ANNOTATION)[0] + end
            content, end = _content(rows[box.annotated_row])
            rows[box.annotated_row] = content + annotation(note) + end
        return "".join(rows)

    def bound(self, items: Mapping[int, str]) -> str:
        """The source with these lines (by number) bound to these items, by a comment that Markdown does not show.

        Nothing else changes. Raises KeyError for a number that is not a line's.
        """
        rows = _rows(self.text)
        for number, item in items.items():
            row_number = self._boxes[number].annotated_row
            content, end = _content(rows[row_number])
            text, ours, rest = content.partition(_ANNOTATION)
            rows[row_number] = f"{text.rstrip()} <!-- item: {item} -->{ours}{rest}{end}"
        return "".join(rows)


def annotation(text: str) -> str:
    """What stands behind a box that is annotated with this text; nothing for an empty one."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    printable = printable.replace("`", "'")  # which no backslash keeps from ending what a single one before it began
    shown = _MARKUP.sub(r"\\\g<0>", " ".join(printable.split()))
    return _ANNOTATION + shown if shown else ""


@functools.cache
def _markdown() -> MarkdownIt:
    return MarkdownIt("commonmark", {"maxNesting": 100})


def rendered(markdown: str, environment: dict[str, Any] | None = None) -> str:
    """A text of one paragraph as Markdown shows it: without emphasis, addresses of links, HTML and comments.

    `environment` is markdown-it's, with the links that other parts of the document define.
    """
    [inline] = _markdown().parseInline(markdown, environment if environment is not None else {})
    return _shown(inline)


def normalized(title: str) -> str:
    """What of a title as it is shown tells it from another: not its number, its spaces, its final full stop, nor blanks to fill in.

    `Technical Lead: ____ Date: ____` is `Technical Lead`.
    """
    title = unnumbered("".join(character for character in title if unicodedata.category(character) != "Cf"))
    asked = _BLANKS.split(title, maxsplit=1)[0]
    return " ".join((asked if asked.strip() else title).split()).rstrip(".: ")


def unnumbered(title: str) -> str:
    """A title without the number of its place, which moves as soon as another one is put before it."""
    return _PLACE.sub("", title, count=1) if _PLACE.match(title) else title


def _shown(inline: Token) -> str:
    parts = []
    for child in inline.children or ():
        if child.type == "image":
            parts.append(_shown(child))
        elif child.type in ("softbreak", "hardbreak") or (
            child.type == "html_inline" and child.content[:3].lower() == "<br"
        ):
            parts.append(" ")
        elif child.type != "html_inline":
            parts.append(child.content)
    return " ".join("".join(parts).split())


def _content(row: str) -> tuple[str, str]:
    """A row without its end, and its end."""
    content = row.rstrip("\r\n")
    return content, row[len(content) :]


def _rows(text: str) -> list[str]:
    """The rows of a text with their ends, as Markdown counts them: ended by CR, LF or both, and by nothing else."""
    return list(io.StringIO(text, newline=""))


class _Parser:
    """One pass over the tokens of a Markdown text."""

    def __init__(self, text: str) -> None:
        self.problems: list[tuple[int, str]] = []
        self.warnings: list[tuple[int, str]] = []
        self.boxes: dict[int, _Box] = {}
        self._rows = _rows(text.removeprefix("\ufeff"))
        self._bom = len(text) - len(text.removeprefix("\ufeff"))
        self._headings: list[_Heading] = []
        self._above: list[tuple[int, str]] = []
        self._environment: dict[str, Any] = {}
        tokens = _markdown().parse("".join(_without_front_matter(self._rows)), self._environment)
        self._scan(tokens)
        self._lost_boxes(tokens)

    def sections(self) -> tuple[Section, ...]:
        return tuple(
            Section(one.text, one.level, one.number, one.parents, tuple(one.lines), one.title, one.name)
            for one in self._headings
            if one.lines
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
            elif token.type == "inline" and tokens[index - 2].type != "list_item_open":
                self._near_boxes(token)
            elif token.type == "html_block":
                self._html(token)

    def _html(self, token: Token) -> None:
        number, content = (token.map or [0])[0] + 1, token.content.strip()
        if not content.startswith("<!--"):
            self._boxes_inside(token, token.content, "HTML")
        elif "-->" not in content:
            self.warnings.append((number, "The comment that begins here does not end, and hides all that follows."))
        elif _ITEM.fullmatch(content) or _PINNED.fullmatch(content):
            self.warnings.append(
                (number, f"'{_clipped(content)}' binds nothing: write it at the end of its line or heading.")
            )
        elif _NEAR.match(_GLUED.sub("", _COMMENT.sub("", content).lstrip(), count=1)):
            self.warnings.append((number, _WARNED.format(f"'{_clipped(content)}'")))

    def _heading(self, opening: Token, inline: Token) -> None:
        level, number = int(opening.tag[1]), (opening.map or [0])[0] + 1
        while self._above and self._above[-1][0] >= level:
            self._above.pop()
        parents = tuple(title for _, title in self._above)
        title = _shown(inline)
        self._above.append((level, title))
        text, _, name = _text(inline, 0)
        self._pinned(number, name)
        self._odd_comments(number, inline)
        self._headings.append(_Heading(level, text, number, parents, title, name))

    def _pinned(self, number: int, name: str | None) -> None:
        if name is not None and not _NAME.fullmatch(name):
            self.problems.append((number, f"The comment names it '{name}', expected a name such as index_fresh."))

    def _odd_comments(self, number: int, inline: Token) -> None:
        """Warn of comments that were to bind or to name, and do not."""
        ours = [comment for comment in _comments(inline) if _MEANT.match(comment)]
        for comment in ours:
            if not _ITEM.fullmatch(comment) and not _PINNED.fullmatch(comment):
                self.warnings.append(
                    (
                        number,
                        f"'{_clipped(comment)}' binds nothing: write <!-- item: section.item --> or <!-- name: index_fresh -->.",
                    )
                )
        if _MEANT.search(inline.content.rpartition("-->")[2]):
            self.warnings.append(
                (number, "The comment that is to bind or to name it does not end: write '-->' after it.")
            )
        for kind in (_ITEM, _PINNED):
            if sum(kind.fullmatch(comment) is not None for comment in ours) > 1:
                self.warnings.append((number, "Of several comments that bind or name it, the last one counts."))

    def _lost_boxes(self, tokens: list[Token]) -> None:
        """Warn of rows that begin as a line does, and are a part of what stands before them, or nested too deeply."""
        skipped = {
            row
            for token in tokens
            if token.type in ("fence", "code_block", "html_block") and token.map and not self._never_ends(token)
            for row in range(*token.map)
        }
        known = {*self.boxes, *(number for number, _ in (*self.warnings, *self.problems))}
        for row, text in enumerate(_without_front_matter(self._rows)):
            if row not in skipped and row + 1 not in known and _BOXED.match(text.lstrip("> \t")):
                self.warnings.append((row + 1, _WARNED.format(f"'{_clipped(text.strip())}'")))

    def _never_ends(self, token: Token) -> bool:
        """Whether a block of code goes on to the end of the text because nothing ends it."""
        if token.type != "fence" or token.map is None or token.map[1] < len(self._rows):
            return False
        last = self._rows[-1].strip("> \t\r\n")
        return token.map[1] - token.map[0] == 1 or not (
            last.startswith(token.markup) and not last.strip(token.markup[0])
        )

    def _box(self, inline: Token, depth: int) -> None:
        match = _BOX.match(inline.content)
        if match is None:
            self._near_boxes(inline, listed=True)
            return
        self._near_boxes(inline, after=match.end())
        first, end = inline.map or (0, 0)
        written, last = inline.content.partition("\n")[0], inline.content.rpartition("\n")[2]
        # An annotation belongs behind the text, but would make an entry of a list of a last row such as "*".
        annotated = first if _MARKER.fullmatch(last) else end - 1
        number = first + 1
        text, item, name = _text(inline, match.end())
        self._pinned(number, name)
        self._odd_comments(number, inline)
        if not _COMMENT.sub("", text).strip() or match.end() >= len(written):
            self.problems.append((number, "The box has no text: write what must hold after it."))
        elif not self._headings:
            self.problems.append((number, "The box is above the first heading, so it belongs to no section."))
        else:
            column = self._rows[first].rindex(written) + (self._bom if first == 0 else 0)
            self.boxes[number] = _Box(first, column, annotated)
            title = _title(inline, self._environment) or text
            self._headings[-1].lines.append(Line(text, number, match[1] != " ", depth, item, title, name))

    def _near_boxes(self, inline: Token, *, listed: bool = False, after: int = 0) -> None:
        """Warn of what looks like a box at the begin of an entry or of a row, and of boxes in a table, which Markdown has not.

        `after` is how many characters the box of an entry takes: a second one behind it is none.
        """
        first = (inline.map or [0])[0]
        links = any(child.type == "link_open" for child in inline.children or ())
        for row, text in enumerate(inline.content[after:].split("\n")):
            number, start = first + row + 1, _UNSEEN.sub("", text).lstrip()
            if row == 0 and after and not start.startswith("["):
                continue
            begin = _GLUED.sub("", start, count=1)
            if start.count("|") > 1 and _NEAR_INSIDE.search(start):
                self.warnings.append((number, _WARNED.format("A box in a table")))
            elif match := _NEAR.match(begin):
                link = links and begin[match.end() :][:1] in "(["
                if not link:
                    self.warnings.append((number, _WARNED.format(f"'{_clipped(start)}'")))
            elif listed and row == 0 and _SIGN.match(begin):
                self.warnings.append((number, _WARNED.format(f"'{_clipped(start)}'")))

    def _boxes_inside(self, token: Token, content: str, where: str) -> None:
        first = (token.map or [0])[0]
        for row, text in enumerate(content.split("\n")):
            if _NEAR_INSIDE.search(text):
                self.warnings.append((first + row + 1, _WARNED.format(f"A box in {where}")))


_WARNED = "{} is not a line: write lines as '- [ ] What must hold'."


def _clipped(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."


@dataclass(slots=True)
class _Heading:
    """A heading on the way: `text` as written, `title` as shown."""

    level: int
    text: str
    number: int
    parents: tuple[str, ...]
    title: str
    name: str | None
    lines: list[Line] = field(default_factory=list)


def _without_front_matter(rows: list[str]) -> Iterator[str]:
    """The rows, with the metadata that many tools put before the text blanked; Markdown would take it for a heading."""
    ends = _FENCES.get(rows[0].rstrip(), ()) if rows else ()
    end = next((index for index, row in enumerate(rows[1:], 1) if row.rstrip() in ends), 0)
    if any(_LISTED.match(row) for row in rows[:end]):
        end = 0  # a rule above a checklist
    for index, row in enumerate(rows):
        yield _content(row)[1] if end and index <= end else row


_LISTED = re.compile(r"\s*[-*+] \[[ xX]\]")
_BOXED = re.compile(r"(?:[-*+]|[0-9]{1,9}[.)])\s+\[[ xX]\]\s+\S")


def _text(inline: Token, start: int) -> tuple[str, str | None, str | None]:
    """The text without its annotations, the item that one of them names, and the name that one gives."""
    rows = (row.partition(_ANNOTATION)[0].strip() for row in inline.content[start:].split("\n"))
    text = " ".join(filter(None, rows))
    item = name = None
    for comment in _comments(inline):
        bound, pinned = _ITEM.fullmatch(comment), _PINNED.fullmatch(comment)
        if bound or pinned:
            item = bound[1] if bound else item
            name = pinned[1] if pinned else name
            before, _, after = text.rpartition(comment)
            text = f"{before.rstrip()} {after.lstrip()}".strip()
    return text, item, name


def _title(inline: Token, environment: dict[str, Any]) -> str:
    """What is shown of a box behind its bracket, without what an earlier rendering left."""
    content = inline.content
    rows = (row.partition(_ANNOTATION)[0] for row in content.split("\n"))
    return rendered("\n".join(rows)[len("[ ]") :].strip(), environment)


def _comments(inline: Token) -> Iterator[str]:
    return (child.content for child in inline.children or () if child.type == "html_inline")
