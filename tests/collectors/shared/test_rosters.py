"""Who is on a roster, as people, spreadsheets and wikis write them."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.shared.rosters import people
from exporter.verdict import ProbeError, Reason


@pytest.mark.parametrize(
    ("roster", "count"),
    [
        ("Ann Lee\nBob Ray\nCy Doe\n", 3),
        ("name,email\nAnn Lee,ann@x.org\nBob Ray,bob@x.org\n", 2),
        ("Name;E-Mail;Datum\nAnn Lee;ann@x.org;2026-10-01\nBob Ray;bob@x.org;2026-10-01\n", 2),
        ("id,name,email,trained\n1,Ann Lee,ann@x.org,yes\n2,Bob Ray,bob@x.org,no\n", 1),
        ("name,trained\nAnn Lee,true\nBob Ray,false\nCy Doe,TRUE\n", 2),
        ("name,attended\nAnn Lee,1\nBob Ray,0\n", 1),
        ("name,attended\nAnn Lee,Y\nBob Ray,N\n", 1),
        ("Ann Lee\nBob Ray (did not attend)\n", 1),
        ("Ann Lee\nBob Ray - no show\n", 1),
        ("Ann Lee\nBob Ray (cancelled)\n", 1),
        ("Ann Lee\nBob Ray (canceled)\n", 1),
        ("Ann Lee\nBob Ray: not attended\n", 1),
        ("Ann Lee\nBob Ray (invited)\n", 1),
        ("Ann Lee\nBob Ray (planned)\n", 1),
        ("Ann Lee\nBob Ray (in progress)\n", 1),
        ("Ann Lee - 100%\nBob Ray - 40%\n", 1),
        ("Ann Lee ✅\nBob Ray ❌\n", 1),
        ("✅ Ann Lee\n❌ Bob Ray\n", 1),
        ("[x] Ann Lee\n[ ] Bob Ray\n", 1),
        ("- [X] Ann Lee\n- [-] Bob Ray\n", 1),
        ("| Name | Status |\n|---|---|\n| Ann Lee | done |\n| Bob Ray | absent |\n", 1),
        ("| Name | Trained |\n| --- | --- |\n| Ann Lee | yes |\n| Bob Ray | no |\n", 1),
        ("# Roster\n\n## Team A\nAnn Lee\n", 1),
        ("Participants:\nAnn Lee\nBob Ray\n", 2),
        ("Attendees\n=========\nAnn Lee\n", 1),
        ("Total: 2\nAnn Lee\nBob Ray\n", 2),
        ("Ann Lee\nBob Ray\n\n2 people\n", 2),
        ("Ann Lee\nBob Ray\nEND\n", 2),
        ("Date: 2026-10-01\nAnn Lee\n", 1),
        ("2026-10-01\nAnn Lee\n", 1),
        ("Trainer: Zoe Fox\nAnn Lee\n", 1),
        ("To: ann@x.org\nCc: bob@x.org\n", 2),
        ("Ann Lee <ann@x.org>\nann@x.org\nANN LEE\n", 1),
        ("Lee, Ann\nAnn Lee\n", 1),
        ("Lee Ann\nAnn Lee\n", 2),
        ("A. Lee\nAnn Lee\n", 2),
        ("ops-team@x.org\nAnn Lee\n", 2),
        ("everyone\nAnn Lee\n", 1),
        ("Ann Lee\r\nBob Ray\r\n", 2),
        ("﻿Ann Lee\nBob Ray\n", 2),
        ("Ann Lee\fBob Ray\n", 2),
        ("---\nAnn Lee\n...\n", 1),
        ("- name: Ann Lee\n  trained: true\n- name: Bob Ray\n  trained: false\n", 1),
        ("New hire 1\nNew hire 2\n", 0),
        ("TBD\nTBD\nAnn Lee\n", 1),
        ("Contractor A\nContractor B\nAnn Lee\n", 1),
        ("Engineer 1\nEngineer 2\n", 0),
        ("Operator #3\nAnn Lee\n", 1),
        ("Ann Lee x2\n", 1),
        ("+1\nAnn Lee\n", 1),
        ("and 3 others\nAnn Lee\n", 1),
        ("...\nAnn Lee\n", 1),
        ("etc.\nAnn Lee\n", 1),
        ("guest\nAnn Lee\n", 1),
        ("Ann Lee (trainer)\nBob Ray\n", 1),
        ("~~Ann Lee~~ sick\nBob Ray\n", 1),
        ("Ann Lee\tabsent\nBob Ray\tpresent\n", 1),
        ("Ann Lee,absent,2026-10-01\nBob Ray,present,2026-10-01\n", 1),
        ("absent: Ann Lee\nBob Ray\n", 1),
        ("Not trained:\nAnn Lee\n", 0),
        ("entschuldigt: Ann Lee\nBob Ray (abwesend)\nCy Doe (nein)\n", 0),
        ("// comment\nAnn Lee\n", 1),
        ("; comment\nAnn Lee\n", 1),
        ("<!-- list -->\nAnn Lee\n", 1),
    ],
)
def test_who_took_part_is_counted(roster: str, count: int) -> None:
    assert len(people(roster.encode())) == count


def test_a_roster_of_windows_is_read() -> None:
    assert people("Ann Lee\r\nBob Ray\r\n".encode("utf-16")) == {"ann lee", "bob ray"}


def test_people_in_a_table_are_named_by_its_columns() -> None:
    table = "id;first name;last name;e-mail;status\n1;Ann;Lee;ann@x.org;done\n2;Bob;Ray;bob@x.org;in progress\n"
    assert people(table.encode()) == {"ann lee <ann@x.org>"}


@pytest.mark.parametrize(
    "roster",
    [
        b"%PDF-1.4\n1 0 obj\n",
        b"PK\x03\x04\x00\x00",
        b"A\x00n\x00n\x00",
        b"<ul><li>Ann</li></ul>",
        json.dumps(["Ann", "Bob"]).encode(),
    ],
)
def test_what_is_no_list_of_lines_was_not_read(roster: bytes) -> None:
    with pytest.raises(ProbeError) as error:
        people(roster)
    assert error.value.reason is Reason.MALFORMED


@given(st.binary())
def test_no_bytes_make_it_crash(roster: bytes) -> None:
    with contextlib.suppress(ProbeError):
        people(roster)
