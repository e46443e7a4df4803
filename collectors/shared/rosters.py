"""Rosters: who took part, from a text with one person a line, or a table as spreadsheets export it. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from exporter.evidence.people import Person, distinct, names_nobody
from exporter.verdict import ProbeError, Reason

__all__ = ["people"]

_ABSENT_WORDS = (
    r"absent|excused|missing|missed|no[- ]?shows?|pending|sick|ill|declined|cancel+ed|(?:was |is |were |did )?not(?: yet)?"
    r" (?:trained|attend(?:ed|ing)?|present)"
    r"|did not (?:attend|take part|finish|pass)|invited|planned|scheduled|registered|in progress"
    r"|not started|incomplete"
    r"|(?:un|not )finished|(?:not )?failed|abwesend|entschuldigt|fehlt|krank|absente?s?|ausente"
)
_ABSENT_CELL = re.compile(rf"(?i)(?:{_ABSENT_WORDS}|false|[❌✗✘☐✖])")
#: In a column that is about attendance.
_NOT_DONE = re.compile(r"(?i)no|n|0|nein|non|none|open|todo|-|–|\d{1,2}(?:[.,]\d+)? ?%")
_REMARK = re.compile(
    rf"(?i)[(\[,;|\t:\u2013-]\s?(?:{_ABSENT_WORDS}|false|nein|trainer|instructor|host|facilitator|\d{{1,2}} ?%)\s?[)\]|]?$|[❌✗✘☐✖]"
)
_UNTICKED = re.compile(r"^(?:[-*+]|\d+[.)])?\s*\[[^\sxX✓✔☑]?\s?\]\s")
_STRUCK = re.compile(r"^[-*+\s]*~~.+~~")
_WHO = re.compile(
    r"(?i)(?:(?:first|last|full|given|family) ?)?name|surname|e-?mail(?: address)?|mail|participants?|attendees?|employees?"
    r"|vorname|nachname|nom|nombre"
)
_DONE = re.compile(
    r"(?i)trained|attended|attendance|present|status|completed?|done|passed|certified|result|progress|teilgenommen|anwesend"
)
_OTHER = re.compile(
    r"(?i)(?:team|role|department|dept\.?|date|datum|id|no\.?|#|signature|remarks?|notes?|comments?|phone|location|title)"
)
_LABEL = re.compile(
    r"(?i)(?:[\w /&-]{2,60}|.*\b(?:trained|attended)):"
    r"|(?:total|sum|count|date|trainer|instructor|facilitator|host|location|topic|material|session|subject|course)s?\s?[:=].*"
    r"|\d+ (?:people|persons?|participants?|attendees?|employees?|members?|in total)"
    r"|(?:and )?\+?\d+(?: (?:others?|more))?|etc\.?|\.{3}|end|eof"
    r"|\d{4}-\d\d-\d\d|\d{1,2}[./]\d{1,2}[./]\d{2,4}|[=\-_*|:+\s]{3,}"
)
_COMMENT = ("#", "//", ";", "<!--")
_FIELD = re.compile(r"(?i)-?\s*(?:name|who|person|participant)\s?:\s*(?=\S)")
_STATE = re.compile(r"(?i)-?\s*(?:trained|attended|present|completed|status|done|passed)\s?:\s*(?P<state>\S.*)")


def people(roster: bytes) -> set[str]:
    """Who is on a roster: one person a line, whatever the spelling. Raises ProbeError when it is no text with one on each line.

    Neither comments nor headings count, nor people of whom the line, the column on attendance or the heading above them reports
    that they were not there: a box that is not ticked, a name that is struck out, "(absent)", `trained: false`.
    """
    lines = [line.strip() for line in _text(roster).splitlines()]
    heading = next((number for number, line in enumerate(lines) if line and not line.startswith(_COMMENT)), 0)
    columns = _columns(lines[heading]) if lines else []
    named = _in_table(lines[heading + 1 :], columns) if columns else _in_list(lines)
    return {str(person) for person in distinct(named) if person.name or person.address}


def _text(roster: bytes) -> str:
    encoding = "utf-16" if roster.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    text = roster.decode(encoding, "replace")
    begins = text.lstrip()
    if "\0" in text or text.startswith("%PDF-"):
        raise ProbeError("The roster is no text, expected one person a line.", Reason.MALFORMED)
    if re.match(r"<(?:!doctype|html|[a-z]{1,10}>)", begins, re.IGNORECASE) or _is_json(begins):
        raise ProbeError("The roster is JSON or HTML, expected one person a line, or CSV.", Reason.MALFORMED)
    return text


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), list | dict) if text[:1] in ("[", "{") else False
    except (ValueError, RecursionError):
        return False


def _cells(line: str) -> list[str]:
    """The cells of a row, by the delimiter that it has."""
    delimiter = next((sign for sign in ("\t", "|", ";", ",") if sign in line), None)
    return [cell.strip(" \"'*_") for cell in line.strip("|").split(delimiter)] if delimiter else [line]


def _columns(line: str) -> list[str]:
    """The names of the columns, where a line is the heading of a table: nothing but such names, and one that is about people."""
    cells = _cells(line)
    known = [cell for cell in cells if any(form.fullmatch(cell) for form in (_WHO, _DONE, _OTHER))]
    about_people = any(map(_WHO.fullmatch, cells))
    return cells if about_people and "@" not in line and len(known) * 2 > len([cell for cell in cells if cell]) else []


def _in_table(lines: Sequence[str], columns: Sequence[str]) -> Iterator[Person]:
    for line in lines:
        cells = _cells(line)
        if not line or line.startswith(_COMMENT) or _LABEL.fullmatch(line):
            continue
        row = list(zip(columns, cells, strict=False))
        who = " ".join(cell for column, cell in row if cell and _WHO.fullmatch(column)) or line
        others = [(column, cell) for column, cell in row if not _WHO.fullmatch(column)]
        absent = any(
            _ABSENT_CELL.fullmatch(cell) or (_DONE.fullmatch(column) and _NOT_DONE.fullmatch(cell))
            for column, cell in others
        )
        if not absent and not _was_absent(who) and not names_nobody(who):
            yield Person.of(who)


def _in_list(lines: Sequence[str]) -> Iterator[Person]:
    found: list[Person] = []
    section_is_absent = False
    for line in lines:
        if line.startswith("#") or line.endswith(":"):
            section_is_absent = re.search(rf"(?i)\b(?:{_ABSENT_WORDS})\b", line) is not None
        if (
            not line
            or line.startswith(_COMMENT)
            or _LABEL.fullmatch(line)
            or _WHO.fullmatch(line)
            or _OTHER.fullmatch(line)
        ):
            continue
        if state := _STATE.fullmatch(line):
            if found and (_ABSENT_CELL.fullmatch(state["state"]) or _NOT_DONE.fullmatch(state["state"])):
                found.pop()
            continue
        line = _FIELD.sub("", line, count=1)
        if not section_is_absent and not _was_absent(line) and not names_nobody(line):
            found.append(Person.of(line))
    yield from found


def _was_absent(line: str) -> bool:
    """Whether a line reports of somebody that they were not there, or gave the training: by a box, a line through, a remark."""
    if _UNTICKED.search(line) or _STRUCK.search(line) or _REMARK.search(line):
        return True
    parts = re.split(r"[,;|\t:]", line)
    return len(parts) > 1 and any(_ABSENT_CELL.fullmatch(part.strip()) for part in parts)
