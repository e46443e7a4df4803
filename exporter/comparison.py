"""The state of one checklist in several environments, side by side: what `report` prints of several exporters."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from exporter.report import MARKS, Format, blocking, counts, item_id, page_template
from exporter.verdict import Status

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

__all__ = ["FORMATS", "Column", "Comparison", "print_table", "render"]

#: JUnit, SARIF and the ticked checklist are about one environment.
FORMATS = (Format.TABLE, Format.MARKDOWN, Format.HTML, Format.JSON)


@dataclass(frozen=True, slots=True)
class Cell:
    """What a column has of a line: its status in words, None where it has no such line or was not reached; its sentence."""

    word: str
    status: Status | None = None
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """One exporter: the `url` that was asked and its items document, or in `error` the sentence why there is none."""

    url: str
    document: Mapping[str, Any] | None
    error: str = ""

    @property
    def items(self) -> list[Mapping[str, Any]]:
        """The elements of the document's `items`."""
        return list(self.document["items"]) if self.document else []

    def cell(self, item: Mapping[str, Any] | None) -> Cell:
        """What stands in this column for one of its items, or for a line that is not among them."""
        if item is None:
            return Cell("not reached" if self.document is None else "no such line")
        status = Status(item["status"])
        return Cell(status.value.replace("_", " "), status, item["summary"])

    def only(self, sections: Collection[str]) -> Column:
        """The same without the lines of other sections."""
        if self.document is None:
            return self
        items = [item for item in self.items if item["section"] in sections]
        return replace(self, document={**self.document, "items": items})


@dataclass(frozen=True)
class Row:
    """A line and what each column has of it."""

    id: str
    line: str
    cells: Sequence[Cell]


@dataclass(frozen=True)
class Comparison:
    """Exporters in the order given; `headings` are those of the checklist, by `section.item`."""

    columns: Sequence[Column]
    headings: Mapping[str, str]

    @cached_property
    def names(self) -> list[str]:
        """What each column is called: its environment, with its address where several are called so."""
        found = [column.document["environment"] if column.document else "" for column in self.columns]
        return [
            name if name and found.count(name) == 1 else f"{name} {column.url.partition('://')[2]}".strip()
            for name, column in zip(found, self.columns, strict=True)
        ]

    @cached_property
    def sections(self) -> dict[str, list[Row]]:
        """The lines that any column has, by heading, in the order of the first column that has them."""
        by_column = [{item_id(item): item for item in column.items} for column in self.columns]
        sections: dict[str, list[Row]] = {}
        for name in dict.fromkeys(name for items in by_column for name in items):
            cells = [column.cell(items.get(name)) for column, items in zip(self.columns, by_column, strict=True)]
            first = next(items[name] for items in by_column if name in items)
            sections.setdefault(self.headings.get(name, first["section"]), []).append(Row(name, first["line"], cells))
        return sections

    def summaries(self) -> Iterator[tuple[str, str]]:
        """Each column's name and one sentence of its state."""
        for name, column in zip(self.names, self.columns, strict=True):
            if column.document is None:
                yield name, column.error
                continue
            in_the_way = blocking(column.items)
            verb = "does" if in_the_way == 1 else "do"
            yield name, f"{counts(column.items) or 'no lines'}; {in_the_way} critical {verb} not pass."


def render(comparison: Comparison, form: Format) -> str:
    """The comparison as text. Raises KeyError for a format that is not one of `FORMATS`, and for `table`."""
    return {Format.JSON: _json, Format.MARKDOWN: _markdown, Format.HTML: _html}[form](comparison)


def print_table(comparison: Comparison, console: Console) -> None:
    """A table per section on a terminal, else a line per item; and what each environment comes to."""
    from rich.table import Table
    from rich.text import Text

    for heading, rows in comparison.sections.items():
        if console.is_terminal:
            table = Table(title=Text(heading, style="bold"), title_justify="left", box=None, pad_edge=False)
            for name in ("item", *comparison.names):
                table.add_column(Text(name), overflow="fold")
            for row in rows:
                table.add_row(Text(row.id.partition(".")[2]), *map(_colored, row.cells))
            console.print(table, Text())
            continue
        for row in rows:
            cells = zip(comparison.names, row.cells, strict=True)
            console.print(Text(f"{row.id}: {', '.join(f'{name} {cell.word}' for name, cell in cells)}"), soft_wrap=True)
    for name, summary in comparison.summaries():
        console.print(Text(f"{name}: {summary}"), soft_wrap=True)


def _colored(cell: Cell) -> Text:
    from rich.text import Text

    mark, style = MARKS[cell.status] if cell.status else ("", "dim")
    return Text(f"{mark} {cell.word}".strip(), style=style)


def _json(comparison: Comparison) -> str:
    reports = [
        {"name": name, "url": column.url, "error": column.error or None, "report": column.document}
        for name, column in zip(comparison.names, comparison.columns, strict=True)
    ]
    return json.dumps({"reports": reports}, indent=2, ensure_ascii=False) + "\n"


def _markdown(comparison: Comparison) -> str:
    """One table of all lines, with the sentence of each line that does not pass."""
    head = ["Line", *map(_cell, comparison.names)]
    text = [f"- {_cell(name)}: {_cell(summary)}" for name, summary in comparison.summaries()]
    text += ["", f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for heading, rows in comparison.sections.items():
        text.append(f"| **{_cell(heading)}** |{' |' * len(comparison.names)}")
        text += [f"| {' | '.join([_cell(row.line), *map(_observed, row.cells)])} |" for row in rows]
    return "\n".join(text) + "\n"


def _observed(cell: Cell) -> str:
    passes = cell.status is None or cell.status.is_ok
    return cell.word if passes else f"{cell.word}: {_cell(cell.summary)}"


def _cell(text: str) -> str:
    """A text in a table of Markdown, as it is: no markup of its own, no line break, no end of the cell."""
    return "".join(
        f"\\{character}" if character in r"\|<>[]*_`&" else character for character in " ".join(text.split())
    )


def _html(comparison: Comparison) -> str:
    template, style = page_template("comparison.html")
    return template.render(
        names=comparison.names,
        summaries=list(comparison.summaries()),
        sections=comparison.sections,
        differing=_differing(comparison),
        marks={status: mark for status, (mark, _) in MARKS.items()},
        **style,
    )


def _differing(comparison: Comparison) -> int:
    """How many lines do not have the same status everywhere."""
    rows = [row for rows in comparison.sections.values() for row in rows]
    return sum(len({cell.word for cell in row.cells}) > 1 for row in rows)
