"""docs/evidence.md says what is so."""

from __future__ import annotations

import re
from pathlib import Path

from exporter.catalogue import Catalogue
from exporter.evidence.records import Statement, parse_records

PAGE = (Path(__file__).parents[3] / "docs" / "evidence.md").read_text()


def test_every_key_of_a_record_is_explained_and_no_other() -> None:
    table = PAGE.partition("| key |")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == sorted(Statement.model_fields)


def test_the_record_shown_is_one() -> None:
    shown = [block for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if block.startswith("item:")]
    for block in shown:
        read = parse_records(block.encode(), "evidence.md")
        assert read.records
        assert not read.unreadable


def test_the_validity_of_every_line_is_the_one_in_its_rule() -> None:
    table = PAGE.partition("| line |")[2].partition("\n\n")[0]
    said = re.findall(r"^\| `(\w+)\.([\w*]+)` \| (\d+) days", table, re.MULTILINE)
    told = set()
    for section, item, days in said:
        for entry in Catalogue.load().entries.values():
            rule = entry.declared.evidence if entry.declared else None
            if entry.section == section and item in ("*", entry.item) and rule is not None:
                assert rule.valid_for.days == int(days), entry.id
                told.add(entry.id)
    assert len(told) == 5 + 4 + 6 + 5 + 5 + 4
