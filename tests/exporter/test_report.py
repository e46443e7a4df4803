"""Tests of exporter.report: every form, from one document that has every status."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from exporter.catalogue import Catalogue
from exporter.checklist import Checklist
from exporter.collector import Item, Mode
from exporter.document import document
from exporter.observations import Observation
from exporter.plan import Plan, PlannedItem, Waiver
from exporter.report import Format, Place, Report, counts, print_table, render
from exporter.state import State
from exporter.verdict import CRITICAL, INFO, WARNING, Result, Severity, Status, failed, ok, unknown, warning

NOW = datetime(2026, 11, 24, 20, 43, tzinfo=UTC)
CHECKLIST = Checklist.parse(
    """# Launch

## Database
- [ ] Replication works
- [x] Backups are tested
- [ ] Logging is on

## Site
- [ ] Certificate is valid
- [ ] Mesh is configured
- [ ] Index is fresh
""",
    "lists/launch.md",
)
EVIL = 'Said <script>alert("1")</script> & \x07 | *bold* --> done.'


async def _verify(_: Any) -> Result:
    raise AssertionError("Nothing runs it.")


def _planned(section: str, item: str, line: str, severity: Severity, **more: Any) -> PlannedItem:
    declared = Item(item, line, severity, Mode.PROBE, f"Why {item} matters.\n\nHow it is verified.", (), None, _verify)
    given: dict[str, Any] = {"declared": declared, "targets": ("",)}
    return PlannedItem(section, item, line, section.capitalize(), "group", severity, Mode.PROBE, **(given | more))


@pytest.fixture
async def report() -> Report:
    waiver = Waiver("Sized by hand until Q1.", "platform", date(2027, 3, 31))
    items = (
        _planned("database", "replication_works", "Replication works", CRITICAL),
        _planned("database", "backups_tested", "Backups are tested", CRITICAL),
        _planned("database", "logging_on", "Logging is on", WARNING, waiver=waiver),
        _planned("site", "certificate_valid", "Certificate is valid", CRITICAL),
        _planned("site", "mesh_configured", "Mesh is configured", INFO, not_applicable="There is no mesh."),
        _planned("site", "index_fresh", "Index is fresh", INFO, declared=None),
        _planned("search", "results_found", "Results are found", WARNING),
    )
    plan = Plan("production", "1.4.2", items, ())
    state = State(plan, lambda: NOW)
    results = {
        "database": {
            "replication_works": failed(EVIL),
            "backups_tested": ok("Restored.", valid_until=NOW + timedelta(days=9)),
        },
        "site": {"certificate_valid": warning("Ends in 20 days (limit 21).")},
        "search": {"results_found": unknown("Search was not reachable.")},
    }
    results["database"]["logging_on"] = failed("Logging is off.")
    for section, seen in results.items():
        await state.record(section, "", {name: Observation(result, NOW) for name, result in seen.items()})
    numbers = {line.text: line.number for line in CHECKLIST.lines}
    places = {p.id: Place(p.heading, numbers.get(p.line, 0)) for p in items}
    helps = {p.id: p.declared.description for p in items if p.declared}
    return Report(document(state.views(), plan, NOW), CHECKLIST, places, helps)


def test_json_is_the_document(report: Report) -> None:
    assert json.loads(render(report, Format.JSON)) == report.document


def test_counts_every_status(report: Report) -> None:
    assert counts(report.items) == "1 ok, 1 warning, 1 failed, 2 unknown, 1 waived, 1 not applicable"


def test_table_names_status_item_and_sentence(report: Report) -> None:
    console = Console(file=io.StringIO(), width=160, no_color=True, force_terminal=True)
    print_table(report, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    text = re.sub(r"\x1b\[\d*m", "", text)
    assert re.search(r"✘ failed +critical +replication_works +Said <script>", text)
    assert re.search(r"~ waived +warning +logging_on +Waived until 2027-03-31 by platform", text)
    assert text.rstrip().endswith(f"production: {counts(report.items)}.")


def test_table_does_not_take_sentences_for_markup(report: Report) -> None:
    report.items[0]["summary"] = "Pod [red]x[/] is gone."  # type: ignore[index]
    console = Console(file=io.StringIO(), width=160, force_terminal=True)
    print_table(report, console)
    assert "Pod [red]x[/] is gone." in console.file.getvalue()  # type: ignore[attr-defined]


def test_table_is_a_line_for_each_item_when_piped(report: Report) -> None:
    console = Console(file=io.StringIO(), width=40)
    print_table(report, console)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert len(lines) == len(report.items) + 1
    assert lines[1] == "ok              critical  database.backups_tested: Restored."


def test_junit_tells_failure_error_and_skipped_apart(report: Report) -> None:
    root = ET.fromstring(render(report, Format.JUNIT))
    assert {name: root.get(name) for name in ("tests", "failures", "errors")} == {
        "tests": "7",
        "failures": "1",
        "errors": "2",
    }
    assert sum(int(suite.get("skipped", "")) for suite in root) == 2
    cases = {f"{case.get('classname')}.{case.get('name')}": case for case in root.iter("testcase")}
    assert [child.tag for child in cases["database.replication_works"]] == ["failure"]
    assert [child.tag for child in cases["search.results_found"]] == ["error"]
    assert [child.tag for child in cases["site.mesh_configured"]] == ["skipped"]
    assert cases["site.certificate_valid"].findtext("system-out") == "Certificate is valid: Ends in 20 days (limit 21)."
    message = cases["database.replication_works"][0].get("message")
    assert message == EVIL.replace("\x07", "\N{REPLACEMENT CHARACTER}")


def test_markdown_ticks_only_what_is_true(report: Report) -> None:
    written = Checklist.parse(render(report, Format.MARKDOWN), "launch.md")
    assert {line.text: line.ticked for line in written.lines} == {
        "Replication works": False,
        "Backups are tested": True,
        "Logging is on": False,
        "Certificate is valid": True,
        "Mesh is configured": False,
        "Index is fresh": False,
        "Results are found": False,  # not in the file: added under its heading
    }
    assert written.sections[-1].heading == "Search"


def test_markdown_says_when_and_why(report: Report) -> None:
    lines = render(report, Format.MARKDOWN).splitlines()
    (backups,) = (line for line in lines if "Backups are tested" in line)
    assert backups.endswith(
        "ok (since 2026-11-24 20:43 UTC, verified 2026-11-24 20:43 UTC, valid until 2026-12-03 20:43 UTC): Restored."
    )
    (search,) = (line for line in lines if "Results are found" in line)
    assert search.endswith("Search was not reachable.")
    assert "<script>" not in "\n".join(lines).replace(r"\<script", "")


def test_markdown_can_be_rendered_again(report: Report) -> None:
    once = render(report, Format.MARKDOWN)
    again = Checklist.parse(once, CHECKLIST.name)
    places = {**report.places, "search.results_found": Place("Search", again.lines[-1].number)}
    assert render(Report(report.document, again, places), Format.MARKDOWN) == once


@pytest.mark.parametrize("line", ["Results are\nfound", "<!-- item: none -->", "```", "[ ]"])
@pytest.mark.parametrize("end", ["", "\n```\nA block that nobody ends"])
def test_markdown_has_added_lines_however_odd(report: Report, line: str, end: str) -> None:
    report.items[-1]["line"] = line  # type: ignore[index]
    checklist = Checklist.parse(CHECKLIST.text + end, CHECKLIST.name)
    written = render(Report(report.document, checklist, report.places), Format.MARKDOWN)
    heading, box = written.splitlines()[-2:]
    assert heading == "## Search"
    assert box.startswith(f"- [ ] {' '.join(line.split())} <!-- verified --> unknown (since 2026-11-24 20:43 UTC, ")
    assert box.endswith("): Search was not reachable.")


def test_markdown_without_added_lines_changes_only_boxes_and_annotations(report: Report) -> None:
    items = [item for item in report.items if item["section"] != "search"]
    written = render(Report({**report.document, "items": items}, CHECKLIST, report.places), Format.MARKDOWN)
    stripped = [line.partition(" <!-- verified -->")[0].replace("[x]", "[ ]") for line in written.splitlines()]
    assert stripped == CHECKLIST.text.replace("[x]", "[ ]").splitlines()


def test_sarif_has_results_for_what_is_not_true(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "launch.md").write_text(CHECKLIST.text)
    monkeypatch.chdir(tmp_path)
    log = json.loads(render(report, Format.SARIF))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    results = {result["ruleId"]: result for result in run["results"]}
    assert set(results) == {
        "database.replication_works",
        "database.logging_on",
        "site.index_fresh",
        "search.results_found",
    }
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
    first = results["database.replication_works"]
    assert first["level"] == "error"
    assert first["message"]["text"] == EVIL
    assert first["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "lists/launch.md"},
        "region": {"startLine": 4},
    }
    assert results["database.logging_on"]["suppressions"][0]["justification"] == "Sized by hand until Q1."
    assert results["site.index_fresh"]["level"] == "note"
    assert "locations" not in results["search.results_found"]


def test_sarif_rules_explain_themselves(report: Report) -> None:
    rules = {r["id"]: r for r in json.loads(render(report, Format.SARIF))["runs"][0]["tool"]["driver"]["rules"]}
    rule = rules["database.replication_works"]
    assert rule["name"] == "DatabaseReplicationWorks"
    assert rule["fullDescription"]["text"] == "Why replication_works matters."
    assert rule["help"]["text"] == "Why replication_works matters.\n\nHow it is verified."
    assert rules["site.index_fresh"]["help"]["text"] == "No collector verifies this line yet: Index is fresh"


def _places(report: Report, name: str, **more: Any) -> list[Any]:
    """The location of the first result and of the last, whose line is not in the checklist's file."""
    checklist = Checklist.parse(CHECKLIST.text, name)
    log = json.loads(render(Report(report.document, checklist, report.places, **more), Format.SARIF))
    results = log["runs"][0]["results"]
    return [
        place["physicalLocation"]["artifactLocation"]["uri"]
        for result in (results[0], results[-1])
        for place in result.get("locations", [])
    ]


def test_sarif_points_at_files_of_the_repository_or_at_none(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own, config = tmp_path / "lists" / "check list.md", tmp_path / "deploy" / "config.yaml"
    for file in (own, config, tmp_path / "config.yaml"):
        file.parent.mkdir(exist_ok=True)
        file.write_text("")
    assert _places(report, str(own)) == ["lists/check%20list.md"]
    assert _places(report, str(own), source=config) == ["lists/check%20list.md", "deploy/config.yaml"]
    assert _places(report, "/etc/launch.md") == []
    assert _places(report, "../launch.md", source=Path("config.yaml")) == ["config.yaml"] * 2
    builtin = str(Catalogue.load().checklist.name)
    assert _places(report, builtin) == []


def test_sarif_tags_and_rules_are_unique_and_help_is_not_indented(report: Report) -> None:
    items = [{**item, "group": "search", "section": "search"} for item in report.items[-1:]]
    indented = {"search.results_found": "Why it matters.\n\n        How to fix it."}
    found = Report(
        {**report.document, "items": items}, CHECKLIST, {}, indented, {"search.results_found": "https://w/r b"}
    )
    (rule,) = json.loads(render(found, Format.SARIF))["runs"][0]["tool"]["driver"]["rules"]
    assert rule["properties"]["tags"] == ["search"]
    assert rule["help"]["text"] == "Why it matters.\n\nHow to fix it."
    assert rule["helpUri"] == "https://w/r%20b"


def test_a_heading_with_lines_of_several_sections_is_shown_once(report: Report) -> None:
    places = {name: Place("Data stores", place.number) for name, place in report.places.items()}
    mixed = replace(report, places=places)
    assert [(heading, len(items)) for heading, items in mixed.sections()] == [("Data stores", len(report.items))]
    assert [suite.get("name") for suite in ET.fromstring(render(mixed, Format.JUNIT))] == ["Data stores"]
    assert render(mixed, Format.HTML).count("<h2>Data stores</h2>") == 1


def test_junit_has_lines_below_the_threshold_as_skipped(report: Report) -> None:
    root = ET.fromstring(render(replace(report, threshold=CRITICAL), Format.JUNIT))
    assert (root.get("failures"), root.get("errors")) == ("1", "0")
    (case,) = (case for case in root.iter("testcase") if case.get("name") == "results_found")
    assert [child.tag for child in case] == ["skipped"]
    assert case[0].get("message") == (
        "unknown with severity warning, below --fail-on critical: Search was not reachable."
    )


def test_junit_has_only_what_the_schema_of_jenkins_knows(report: Report) -> None:
    root = ET.fromstring(render(report, Format.JUNIT))
    assert root.tag == "testsuites"
    assert set(root.attrib) <= {"name", "time", "tests", "failures", "errors"}
    for suite in root:
        known = {"name", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname", "id", "package"}
        assert {"name", "tests", "failures", "errors"} <= set(suite.attrib) <= known
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp", ""))
        counted = Counter(child.tag for case in suite for child in case)
        assert [suite.get(name) for name in ("failures", "errors", "skipped")] == [
            str(counted[tag]) for tag in ("failure", "error", "skipped")
        ]
        for case in suite:
            assert {"name"} <= set(case.attrib) <= {"name", "classname", "time"}
            assert {child.tag for child in case} <= {"skipped", "error", "failure", "system-out", "system-err"}


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_html_is_self_contained_and_escapes(report: Report) -> None:
    page = _Page()
    page.feed(render(report, Format.HTML))
    assert not {"script", "link", "img", "iframe", "form"} & {tag for tag, _ in page.tags}
    assert not any(name in attrs for _, attrs in page.tags for name in ("src", "style", "onclick"))
    places = {f"#{attrs['id']}" for _, attrs in page.tags if "id" in attrs}
    assert {attrs["href"] for _, attrs in page.tags if "href" in attrs} <= places, (
        "it leads nowhere but to its own lines"
    )
    assert EVIL in "".join(page.text)
    assert {attrs["id"] for tag, attrs in page.tags if tag == "tr" and "id" in attrs} == {
        f"{item['section']}.{item['item']}" for item in report.items
    }


def _text(html: str) -> str:
    page = _Page()
    page.feed(html[html.index("<body>") :])
    return " ".join(" ".join(page.text).split())


def test_html_says_first_whether_to_launch_what_broke_and_what_ends(report: Report) -> None:
    for item in report.items:
        if item["item"] == "results_found":
            item["last_ok"] = "2026-11-23T08:00:00Z"  # type: ignore[index]
    head = _text(render(report, Format.HTML)).partition("Status Line Observed")[0]
    assert "✘ Not ready to launch: 1 critical line does not pass." in head
    was_true, ends = head.split("Regressions")[1].split("Expired, or expiring within 14 days")
    assert "Results are found ? unknown since" in was_true
    assert was_true.endswith(": Search was not reachable. ")
    assert "Replication works" not in was_true, "which never was"
    assert f"Backups are tested : evidence valid until {NOW + timedelta(days=9):%Y-%m-%d %H:%M} UTC" in ends
    assert "Logging is on" not in ends, "whose waiver goes on"


@pytest.mark.parametrize(
    ("severity", "status", "said"),
    [
        ("critical", "ok", "✔ Ready to launch: every critical line passes or is waived."),
        ("critical", "waived", "✔ Ready to launch: every critical line passes or is waived."),
        ("critical", "unknown", "✘ Not ready to launch: 7 critical lines do not pass."),
        ("critical", "not_applicable", "? Launch readiness unknown: no applicable line is critical."),
        ("warning", "failed", "? Launch readiness unknown: no applicable line is critical."),
    ],
)
def test_html_says_whether_to_launch(report: Report, severity: str, status: str, said: str) -> None:
    for item in report.items:
        item |= {"severity": severity, "status": status}  # type: ignore[operator]
    assert said in _text(render(report, Format.HTML))


def test_html_tells_of_a_waiver_that_ends(report: Report) -> None:
    report.document["generated_at"] = "2027-03-20T00:00:00Z"  # type: ignore[index]
    assert "Logging is on : waived until 2027-03-31" in _text(render(report, Format.HTML))


def test_html_policy_allows_its_own_style_alone(report: Report) -> None:
    html = render(report, Format.HTML)
    style = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style[0].encode()).digest()).decode()
    assert len(style) == 1
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in html
    assert "url(" not in style[0]
    assert "light-dark(" in style[0]


def test_every_status_has_a_mark_in_html_and_table(report: Report) -> None:
    html = render(report, Format.HTML)
    for status in Status:
        assert f'class="status {status.value}"' in html
