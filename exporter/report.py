"""A checklist's state for people and for other programs: table, JSON, JUnit, ticked Markdown, SARIF, HTML.

Everything is made from the items document (`exporter.document`): from a run of one's own, or of a running exporter.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import re
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

from exporter.checklist import Checklist, annotation
from exporter.verdict import Severity, Status
from exporter.words import listed

if TYPE_CHECKING:
    from jinja2 import Template
    from rich.console import Console
    from rich.table import Table

__all__ = [
    "MARKS",
    "Format",
    "Place",
    "Report",
    "blocking",
    "counts",
    "item_id",
    "page_template",
    "print_table",
    "render",
]


class Format(StrEnum):
    """Output formats of a report."""

    TABLE = "table"
    JSON = "json"
    JUNIT = "junit"
    MARKDOWN = "markdown"
    SARIF = "sarif"
    HTML = "html"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an item's line stands: the heading above it and its number in the checklist's file (0: not from the file)."""

    heading: str
    number: int


@dataclass(frozen=True)
class Report:
    """The items document with what it leaves out: the checklist it is about, where each item's line stands in it, what each
    item's verification means, and its runbook. `places`, `help` and `runbooks` are by `section.item`.

    JUnit has failed and unknown lines of less severity than `threshold` as skipped. `source` is the configuration file.
    """

    document: Mapping[str, Any]
    checklist: Checklist
    places: Mapping[str, Place] = field(default_factory=dict)
    help: Mapping[str, str] = field(default_factory=dict)
    runbooks: Mapping[str, str] = field(default_factory=dict)
    threshold: Severity = Severity.INFO
    source: Path | None = None

    @property
    def items(self) -> list[Mapping[str, Any]]:
        """The elements of `items`, in the checklist's order."""
        return list(self.document["items"])

    def place(self, item: Mapping[str, Any]) -> Place:
        """Where the item's line stands; the section's name stands in for an unknown heading."""
        return self.places.get(item_id(item), Place(item["section"], 0))

    def sections(self) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
        """The headings with their items, each once: a heading of one's own may have lines of several sections."""
        found: dict[str, list[Mapping[str, Any]]] = {}
        for item in self.items:
            found.setdefault(self.place(item).heading, []).append(item)
        yield from found.items()


#: Shown on terminals with the colour, which must not be the only sign of the status.
MARKS: Mapping[Status, tuple[str, str]] = {
    Status.OK: ("✔", "green"),
    Status.WARNING: ("!", "yellow"),
    Status.FAILED: ("✘", "red"),
    Status.UNKNOWN: ("?", "magenta"),
    Status.WAIVED: ("~", "cyan"),
    Status.NOT_APPLICABLE: ("-", "dim"),
}
_NOT_TRUE = (Status.FAILED, Status.UNKNOWN)
#: What expires within this time stands at the head of the HTML.
SOON = timedelta(days=14)
_LEVELS = {"critical": "error", "warning": "warning", "info": "note"}
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(report: Report, form: Format) -> str:
    """The report as text. Raises KeyError for `table`, which is printed (`print_table`)."""
    return _WRITERS[form](report)


def counts(items: list[Mapping[str, Any]]) -> str:
    """`3 ok, 1 failed`, worst last."""
    found = Counter(item["status"] for item in items)
    return ", ".join(f"{found[status]} {status.value.replace('_', ' ')}" for status in Status if found[status])


def print_table(report: Report, console: Console) -> None:
    """A table per section on a terminal, else a line per item; and a line that counts."""
    from rich.text import Text

    for heading, items in report.sections():
        if console.is_terminal:
            console.print(_section_table(heading, items))
            console.print()
        else:
            for item in items:
                columns = f"{item['status']:<14}  {item['severity']:<8}  {item_id(item)}: {_observed(item)}"
                console.print(Text(columns), soft_wrap=True)
    console.print(Text(f"{report.document['environment']}: {counts(report.items)}."), soft_wrap=True)


def _section_table(heading: str, items: list[Mapping[str, Any]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(heading, style="bold"), title_justify="left", box=None, pad_edge=False, expand=True)
    table.add_column("status", no_wrap=True, min_width=16)
    table.add_column("severity", no_wrap=True, min_width=8)
    table.add_column("item", ratio=2, overflow="fold")
    table.add_column("observed", ratio=5, overflow="fold")
    for item in items:
        mark, style = MARKS[Status(item["status"])]
        status = Text(f"{mark} {item['status'].replace('_', ' ')}", style=style)
        table.add_row(status, item["severity"], Text(item["item"]), Text(_observed(item)))
    return table


def _json(report: Report) -> str:
    return json.dumps(report.document, indent=2, ensure_ascii=False) + "\n"


def _junit(report: Report) -> str:
    """JUnit XML as Jenkins' schema has it. Unknown is an error, not a failure; waived and not applicable lines are skipped."""
    root = ET.Element("testsuites", name=f"Production checklist of {report.document['environment']}")
    for heading, items in report.sections():
        outcomes = [_outcome(report, item) for item in items]
        found = Counter(tag for tag, _ in outcomes)
        suite = ET.SubElement(
            root,
            "testsuite",
            name=_xml(heading),
            timestamp=report.document["generated_at"][:19],  # UTC, in the schema's form
            tests=str(len(items)),
            failures=str(found["failure"]),
            errors=str(found["error"]),
            skipped=str(found["skipped"]),
            time="0",
        )
        for item, (tag, message) in zip(items, outcomes, strict=True):
            case = ET.SubElement(suite, "testcase", classname=item["section"], name=item["item"], time="0")
            if tag:
                ET.SubElement(case, tag, message=_xml(message)).text = _xml(item["line"])
            else:
                ET.SubElement(case, "system-out").text = _xml(f"{item['line']}: {_observed(item)}")
    for name in ("tests", "failures", "errors"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    root.set("time", "0")
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _outcome(report: Report, item: Mapping[str, Any]) -> tuple[str | None, str]:
    """The element of a line that does not pass, and its message."""
    status, summary = Status(item["status"]), _observed(item)
    if status in (Status.WAIVED, Status.NOT_APPLICABLE):
        return "skipped", summary
    if status not in _NOT_TRUE:
        return None, summary
    if not Severity(item["severity"]).at_least(report.threshold):
        return "skipped", f"{status} with severity {item['severity']}, below --fail-on {report.threshold}: {summary}"
    return "failure" if status is Status.FAILED else "error", summary


def _xml(text: str) -> str:
    """XML cannot hold control characters, not even escaped."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def _markdown(report: Report) -> str:
    """The checklist's own file, ticked where the line passes, each line with status, dates and sentence.

    Of a part of its lines, these alone under their headings: a box that is not ticked would say that its line does not pass.
    """
    if {name for name, place in report.places.items() if place.number} - {item_id(item) for item in report.items}:
        return "\n".join(_under_heading(heading, items) for heading, items in report.sections())
    placed = {number: item for item in report.items if (number := report.place(item).number)}
    text = report.checklist.render(
        {number: Status(item["status"]).is_ok for number, item in placed.items()},
        {number: _annotation(item) for number, item in placed.items()},
    )
    added = [item for item in report.items if not report.place(item).number]
    for heading, group in groupby(added, key=lambda item: report.place(item).heading):
        text = f"{text.rstrip()}\n\n{_under_heading(heading, group)}"
    return text


def _under_heading(heading: str, items: Iterable[Mapping[str, Any]]) -> str:
    boxes = "".join(f"{_box(item)}\n" for item in items)
    return f"## {' '.join(heading.split())}\n{boxes}"


def _box(item: Mapping[str, Any]) -> str:
    """The line of an item that stands in no file."""
    tick = "x" if Status(item["status"]).is_ok else " "
    return f"- [{tick}] {' '.join(item['line'].split())}{annotation(_annotation(item))}"


def _annotation(item: Mapping[str, Any]) -> str:
    dates = [f"{word} {_day(item[key])}" for word, key in _DATES if item[key]]
    return f"{item['status'].replace('_', ' ')}{' (' + ', '.join(dates) + ')' if dates else ''}: {_observed(item)}"


_DATES = (("since", "since"), ("verified", "last_run"), ("valid until", "valid_until"))


def _day(moment: str) -> str:
    """`2026-11-24T20:43:10.1Z` → `2026-11-24 20:43 UTC`."""
    return f"{moment[:16].replace('T', ' ')} UTC"


def _sarif(report: Report) -> str:
    """SARIF 2.1.0: a result for every failed, unknown or (suppressed) waived line; a rule for every line."""
    from importlib.metadata import version

    items = report.items
    run = {
        "tool": {
            "driver": {
                "name": "checklist-exporter",
                "version": version("checklist-exporter"),
                "rules": [_rule(report, item) for item in items],
            }
        },
        "invocations": [{"executionSuccessful": True, "endTimeUtc": report.document["generated_at"]}],
        "columnKind": "unicodeCodePoints",
        "results": [
            _result(report, index, item)
            for index, item in enumerate(items)
            if item["status"] in (Status.FAILED, Status.UNKNOWN, Status.WAIVED)
        ],
    }
    log = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2, ensure_ascii=False) + "\n"


def _rule(report: Report, item: Mapping[str, Any]) -> dict[str, Any]:
    help_text = inspect.cleandoc(
        report.help.get(item_id(item)) or f"No collector verifies this line yet: {item['line']}"
    )
    runbook = report.runbooks.get(item_id(item), "")
    return {
        "id": item_id(item),
        "name": "".join(word.capitalize() for word in re.split(r"[._]", item_id(item))),
        "shortDescription": {"text": item["line"]},
        "fullDescription": {"text": help_text.partition("\n\n")[0]},
        "help": {"text": help_text},
        "defaultConfiguration": {"level": _LEVELS[item["severity"]]},
        "properties": {
            "tags": list(dict.fromkeys((item["group"], item["section"]))),  # those of a section of one's own are one
            "severity": item["severity"],
            "mode": item["mode"],
        },
        **({"helpUri": quote(runbook, safe=_URI)} if runbook.startswith(("http://", "https://")) else {}),
    }


_URI = "%/:=&?~#+!$,;'@()*[]"  # what quote() leaves alone: the characters that a URI has for itself


def _result(report: Report, index: int, item: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": item_id(item),
        "ruleIndex": index,
        "level": _LEVELS[item["severity"]],
        "message": {"text": _observed(item)},
        "partialFingerprints": {"checklistItem/v1": item_id(item)},
        "properties": {"status": item["status"], "since": item["since"]},
    }
    if location := _location(report, report.place(item).number):
        result["locations"] = [{"physicalLocation": location}]
    if item["waiver"]:
        result["suppressions"] = [{"kind": "external", "status": "accepted", "justification": item["waiver"]["reason"]}]
    return result


def _location(report: Report, number: int) -> dict[str, Any] | None:
    """The line in the user's own checklist, else the configuration file: as a path below the working directory, or None."""
    places = [(report.source, 1)] if report.source else []
    if number:
        places.insert(0, (Path(report.checklist.name), number))
    for file, line in places:
        here = Path.cwd()
        found = Path(os.path.normpath(here / file))
        if found.is_relative_to(here) and found.is_file():
            return {"artifactLocation": {"uri": quote(str(found.relative_to(here)))}, "region": {"startLine": line}}
    return None


def page_template(name: str) -> tuple[Template, dict[str, Any]]:
    """The template of a report in one file, and what it needs for its style: no other file, and no other style, is used."""
    import jinja2
    from markupsafe import Markup

    folder = files("exporter") / "templates"
    style = (folder / "report.css").read_text(encoding="utf-8")
    made = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    made.filters |= {"day": _day, "observed": _observed}
    digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    values = {"style": Markup(style), "style_hash": digest}  # noqa: S704  # our own file
    return made.from_string((folder / name).read_text(encoding="utf-8")), values


def _html(report: Report) -> str:
    """One file that refers to nothing outside itself; its policy allows its own style and nothing else."""
    template, style = page_template("report.html")
    return template.render(
        document=report.document,
        sections=list(report.sections()),
        counts=counts(report.items),
        launch=_launch(report.items),
        regressed=_regressed(report.items),
        endings=list(_endings(report)),
        marks={status.value: mark for status, (mark, _) in MARKS.items()},
        **style,
    )


def blocking(items: Iterable[Mapping[str, Any]]) -> int:
    """How many of these lines keep a launch from being ready: critical ones that do not pass and that no waiver accepts."""
    return sum(item["severity"] == "critical" and item["status"] in _NOT_TRUE for item in items)


def _launch(items: Sequence[Mapping[str, Any]]) -> tuple[Status, str]:
    """Whether to launch, as on the page: a status to show it by, and a sentence."""
    critical = [item for item in items if item["severity"] == "critical" and item["status"] != Status.NOT_APPLICABLE]
    if in_the_way := blocking(critical):
        return (
            Status.FAILED,
            f"Not ready to launch: {in_the_way} critical line{' does' if in_the_way == 1 else 's do'} not pass.",
        )
    if critical:
        return Status.OK, "Ready to launch: every critical line passes or is waived."
    return Status.UNKNOWN, "Launch readiness unknown: no applicable line is critical."


def _regressed(items: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The lines that passed once, do not now, and have no waiver: the most severe first."""
    found = [item for item in items if item["last_ok"] and item["status"] in _NOT_TRUE]
    return sorted(found, key=lambda item: list(_LEVELS).index(item["severity"]))


def _endings(report: Report) -> Iterator[tuple[Mapping[str, Any], str]]:
    """The lines whose evidence or waiver has expired or expires within `SOON`, each with what expires when."""
    soon = (datetime.fromisoformat(report.document["generated_at"]) + SOON).isoformat()
    for item in report.items:
        if item["valid_until"] and item["valid_until"] <= soon and item["status"] not in ("waived", "not_applicable"):
            yield item, f"evidence valid until {_day(item['valid_until'])}"
        if item["waiver"] and item["waiver"]["until"] <= soon:
            yield item, f"waived until {item['waiver']['until']}"


def _observed(item: Mapping[str, Any]) -> str:
    """The sentence, with the lines because of which it does not pass; exporters of older versions name none."""
    causes = [f"{item_id(cause)} is {cause['status']}" for cause in item.get("causes", ())]
    return f"{item['summary']} Because {listed(causes)}." if causes else item["summary"]


def item_id(item: Mapping[str, Any]) -> str:
    """`section.item` of an element of `items`."""
    return f"{item['section']}.{item['item']}"


_WRITERS: Mapping[Format, Callable[[Report], str]] = {
    Format.JSON: _json,
    Format.JUNIT: _junit,
    Format.MARKDOWN: _markdown,
    Format.SARIF: _sarif,
    Format.HTML: _html,
}
