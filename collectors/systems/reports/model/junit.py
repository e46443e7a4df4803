"""JUnit XML, as pytest, Surefire, Gradle, Jest, Go's converters and most others write it."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import iterparse

from collectors.systems.reports.model.report import Kind, Report, Tests, malformed, moment
from exporter.words import counted

__all__ = ["elements", "read_junit"]

_DEEPEST = 64
_MOST_TAGS = 5_000_000
_MOST_CHILDREN = 8
_MOST_NAMES = 100_000
_MOST_FAILED = 50
_NAME = 300
_BAD = frozenset({"failure", "error", "rerunFailure", "rerunError"})
_OUTCOMES = _BAD | {"skipped"}
_FAILED = frozenset({"failed", "error", "broken"})
"""What attributes say of a test case that has no element for it."""


def elements(content: bytes, format: str) -> Iterator[tuple[str, Any]]:  # noqa: A002 - what it is
    """Start and end of each element, which has at its end at most eight of its children, without what those hold.

    Entities and document types are refused, nesting is bounded, and what was read is let go. Raises ProbeError for what is no XML.
    """
    if content.count(b"<") > _MOST_TAGS:
        raise malformed(format, f"it has more than {_MOST_TAGS} tags")
    open_elements: list[Any] = []
    try:
        for event, element in iterparse(io.BytesIO(content), events=("start", "end"), forbid_dtd=True):
            if event == "start":
                open_elements.append(element)
                if len(open_elements) > _DEEPEST:
                    raise malformed(format, f"elements are nested deeper than {_DEEPEST}")
                yield event, element
                continue
            open_elements.pop()
            yield event, element
            attributes = dict(element.attrib)
            element.clear()
            element.attrib.update(attributes)
            if open_elements and len(open_elements[-1]) > _MOST_CHILDREN:
                open_elements[-1].remove(element)
    except DefusedXmlException:
        raise malformed(format, "it has a document type or entities, which are not read") from None
    except (ParseError, ValueError, LookupError) as error:
        what = "it is not well-formed XML" if isinstance(error, ParseError) else "its encoding is not known"
        raise malformed(format, what) from None


@dataclass
class _Tally:
    passed: dict[str, str] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    failures: int = 0
    skipped: int = 0
    cases: int = 0
    declared: int = 0
    problems: list[str] = field(default_factory=list)
    first: datetime | None = None
    last: datetime | None = None


def read_junit(content: bytes) -> Report:
    """The test cases by outcome. A suite without cases but with failures counts as failed. Raises ProbeError."""
    tally = _Tally()
    outcomes: set[str] = set()
    in_case = False
    for event, element in elements(content, "JUnit"):
        if event == "start":
            if _kind(element) == "testcase":
                outcomes.clear()
                in_case = True
            continue
        if _kind(element) in _OUTCOMES:
            outcomes.add(_kind(element))
            if not in_case and _kind(element) in _BAD:  # of the suite itself, as when it cannot be set up
                tally.failures += 1
                tally.broken.add("a suite outside of its test cases")
        elif _kind(element) == "testcase":
            _case(tally, element, outcomes)
            in_case = False
        elif _kind(element) in ("testsuite", "testsuites"):
            _suite(tally, element)
    if tally.declared > tally.cases:
        declared = counted(tally.declared, "test")
        tally.problems.append(f"its suites name {declared}, but it has {counted(tally.cases, 'test case')}")
    passed = {whole: name for whole, name in tally.passed.items() if whole not in tally.broken}
    return Report(
        "JUnit",
        Kind.TESTS,
        started=tally.first,
        finished=tally.last,
        examined=tally.cases,
        problems=tuple(tally.problems),
        tests=Tests(
            frozenset(passed),
            frozenset(passed.values()),
            tuple(sorted(tally.broken)[:_MOST_FAILED]),
            tally.failures,
            tally.skipped,
        ),
    )


def _kind(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]


def _case(tally: _Tally, element: Any, outcomes: set[str]) -> None:
    tally.cases += 1
    name = ".".join(filter(None, (element.get("classname"), element.get("name"))))[:_NAME] or "unnamed"
    if outcomes & _BAD or _FAILED & {element.get("result"), element.get("status")}:
        tally.failures += 1
        tally.broken.add(name)
    elif "skipped" in outcomes or element.get("status") in ("notrun", "skipped", "disabled"):
        tally.skipped += 1
    else:
        tally.passed[name] = (element.get("name") or "unnamed")[:_NAME]
    if len(tally.passed) + len(tally.broken) > _MOST_NAMES:
        raise malformed("JUnit", f"it has more than {_MOST_NAMES} test cases")


def _suite(tally: _Tally, element: Any) -> None:
    if _kind(element) == "testsuite" and not any(_kind(child) == "testsuite" for child in element):
        tally.declared += _number(element.get("tests"))
    broken = _number(element.get("failures")) + _number(element.get("errors"))
    if broken > tally.failures:
        tally.problems.append(f"a suite names {counted(broken, 'failure')} of which it has no test case")
    if _kind(element) != "testsuite" or (started := moment(element.get("timestamp"))) is None:
        return
    tally.first = min(filter(None, (tally.first, started)))
    seconds = _seconds(element.get("time"))
    ended = started + timedelta(seconds=seconds)
    tally.last = max(filter(None, (tally.last, ended)))


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else 0


def _seconds(text: str | None) -> float:
    try:
        seconds = float((text or "0").replace(",", ""))
    except ValueError:
        return 0.0
    return seconds if math.isfinite(seconds) and 0 <= seconds < 1e7 else 0.0
