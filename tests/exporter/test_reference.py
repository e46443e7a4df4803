"""The generated reference: as committed, complete, and the schema as strict as the program."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from exporter.catalogue import Catalogue
from exporter.health import Health
from exporter.metrics import ChecklistCollector, HealthCollector
from exporter.plan import Plan
from exporter.reference import configuration, items, json_schema, main, pages
from exporter.verdict import Reason
from tests.exporter.samples import LINES
from tests.exporter.test_config import CATALOGUE

DOCS = Path(__file__).parents[2] / "docs"
REAL = Catalogue.load()


@pytest.mark.parametrize("name", list(pages(REAL)))
def test_committed_pages_are_what_the_program_generates(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == pages(REAL)[name], "run: make docs"


def test_every_option_is_explained() -> None:
    page = configuration(REAL)
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) > 100
    assert [row for row in rows if len(row) != 4 or not row[3].removesuffix("|").strip()] == []
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    links = set(re.findall(r"\]\(#([^)]*)\)", page))
    assert links <= {heading.lower() for heading in headings}
    assert len(headings) == len(set(headings))
    for name in REAL.collectors:
        assert f"sections.{name}" in headings


def test_structures_have_names_of_their_own() -> None:
    names = json_schema(REAL)["$defs"]
    assert not [name for name in names if "__" in name], "two classes of options have one name"


def test_every_line_is_listed_with_what_it_needs() -> None:
    page = items(REAL)
    assert sum(line.startswith("| `") for line in page.splitlines()) == LINES
    assert "CREATE ROLE" in page


def test_every_metric_and_every_reason_is_explained() -> None:
    page = pages(REAL)["metrics.md"]
    families = [
        *ChecklistCollector(lambda: (Plan("", None, (), ()), ())).describe(),
        *HealthCollector(Health("")).describe(),
    ]
    for family in families:
        names = tuple(f"| `{family.name}{suffix}` |" for suffix in ("", "_total", "_info"))
        assert any(line.startswith(names) and family.documentation in line for line in page.splitlines()), family.name
    table = pages(REAL)["troubleshooting.md"]
    for reason in Reason:
        assert f"| `{reason}` | {reason.description} | {reason.remedy} |" in table


def test_a_table_says_type_default_and_meaning() -> None:
    page = configuration(CATALOGUE)
    assert "| `concurrency` | integer | `16` | How many runs may be in progress at a time. |" in page
    assert "| `dsn` | secret | **required** |  |" in page
    assert "| `targets` | list of [SearchTarget](#searchtarget) | **required** |  |" in page
    assert "| `max_age` | duration | `1h` | *Per target.* |" in page
    assert "| `min_free` | size | `1KiB` | *Per target.* |" in page
    assert "| `ports` | list of integer and integer or integer | `80` |  |" in page
    assert "| `tokens` | mapping to secret |  |  |" in page
    assert "dsn_file" not in page, "explained once, for all secrets"


SCHEMA = jsonschema.Draft202012Validator(json_schema(CATALOGUE))

GOOD = """
environment: production
release_file: version
evidence: {folder: records}
clients: {engine: {url: "http://e", password_file: p}}
sections:
  search: {every: 5m, min_free: 64MiB, targets: [{name: a, dsn_file: d, min_free: 12, disks: [{path: /}]}]}
  papers: {}
  office: {team: facility}
custom: [{section: A, line: B, promql: up, severity: critical}]
waivers: [{item: a.b, reason: c, owner: d, until: "2026-03-01"}]
"""


def invalid(text: str) -> bool:
    document: Any = yaml.safe_load(text)
    return not SCHEMA.is_valid(document)


def test_the_schema_accepts_what_the_program_accepts() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA.schema)
    SCHEMA.validate(yaml.safe_load(GOOD))
    SCHEMA.validate(yaml.safe_load("sections: {search: {not_applicable: The product searches nothing.}}"))


@pytest.mark.parametrize(
    "text",
    [
        "enviroment: x",
        "sections: {search: {}}",
        "sections: {search: {not_applicable: {index_fresh: No.}}}",
        "sections: {search: {targets: [{name: a}]}}",
        "sections: {search: {targets: [{name: a, dsn: x, dsn_file: y}]}}",
        "sections: {office: {targets: []}}",
        "clients: {other: {}}",
        "clients: {engine: {}}",
        "concurrency: '8'",
        "custom: [{section: A}]",
        "waivers: [{item: a.b}]",
    ],
)
def test_the_schema_refuses_what_the_program_refuses(text: str) -> None:
    assert invalid(text)


def test_the_pages_are_written_into_a_folder(tmp_path: Path) -> None:
    main(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(pages(REAL))
