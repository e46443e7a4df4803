"""What every item of every section owes: its place in the catalogue, an explanation, and tests that saw it both ways."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from exporter.catalogue import Catalogue, Entry
from exporter.collector import Mode

ROOT = Path(__file__).parent.parent
BUILT = tuple(entry for entry in Catalogue.load().entries.values() if entry.declared)

#: Written beside the collected tests of a pytest that runs nothing: which item each of them says to see, and how.
PLUGIN = """
import json, os, pytest

def pytest_collection_finish(session):
    seen = [[item.nodeid, *mark.args] for item in session.items for mark in item.iter_markers("verifies")]
    with open(os.environ["VERIFIES_FILE"], "w") as file:
        json.dump(seen, file)
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, str]]:
    """Every (item, status) that some test is marked to see."""
    folder = tmp_path_factory.mktemp("contract")
    (folder / "verifies_plugin.py").write_text(PLUGIN)
    environment = {**os.environ, "VERIFIES_FILE": str(folder / "seen.json"), "PYTHONPATH": f"{folder}:{ROOT}"}
    environment.pop("PYTEST_XDIST_WORKER", None)
    subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-n0", "-p", "verifies_plugin", "tests/collectors"],
        cwd=ROOT,
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=600,  # the machine may be busy
    )
    return {(item, status) for _, item, status in json.loads((folder / "seen.json").read_text())}


def test_every_line_of_the_bundled_checklist_is_in_the_catalogue() -> None:
    with (ROOT / "collectors" / "catalogue.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    checklist = Catalogue.load().checklist
    assert len(rows) == len(checklist.lines)
    assert {row["heading"] for row in rows} == {section.heading for section in checklist.sections}
    assert [f"{row['section']}.{row['item']}" for row in rows] == list(Catalogue.load().entries)


def test_a_collector_verifies_every_line_of_the_bundled_checklist() -> None:
    without = [entry.id for entry in Catalogue.load().entries.values() if not entry.declared]
    assert not without, f"nothing verifies {without}"


@pytest.mark.parametrize("entry", BUILT, ids=lambda entry: entry.id)
def test_an_item_explains_itself(entry: Entry) -> None:
    assert entry.declared
    description = entry.declared.description
    assert len(description.split()) >= 25, "says why it matters, how it is verified and how to mend it"
    if entry.mode is not Mode.DERIVED:
        assert entry.declared.needs, "says which rights, settings or records it needs"


@pytest.mark.parametrize("entry", BUILT, ids=lambda entry: entry.id)
def test_an_item_was_seen_ok_failed_and_unknown(entry: Entry, seen: set[tuple[str, str]]) -> None:
    missing = {"ok", "failed", "unknown"} - {status for item, status in seen if item == entry.id}
    assert not missing, f"no test is marked verifies({entry.id!r}, …) for {sorted(missing)}"


def test_no_test_is_marked_for_an_item_that_does_not_exist(seen: set[tuple[str, str]]) -> None:
    assert {item for item, _ in seen} <= {entry.id for entry in BUILT}
    assert {status for _, status in seen} <= {"ok", "warning", "failed", "unknown"}
