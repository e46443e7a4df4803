"""Who is who, and what an allowed_signers file lists."""

from __future__ import annotations

import pytest

from exporter.evidence.people import Person, Signers, distinct, role_named
from tests.servers.signing import Keys


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Ann Lee", "ann lee", True),
        ("Ann Lee", "ANN  LEE", True),
        ("Ann Lee", "Ann\u00a0Lee", True),
        ("Ann Lee", "Ann\u200b Lee", True),
        ("Ａnn Lee", "ann lee", True),
        ("STRASSE", "straße", True),
        ("Ann Lee <ann@x.org>", "ANN@X.ORG", True),
        ("Ann Lee <ann@x.org>", "ann lee", True),
        ("Ann Lee <ann@x.org>", "Dr Lee <Ann@x.org>", True),
        ("ann+qa@x.org", "ann@x.org", True),
        ("mailto:ann@x.org", "<ann@x.org>", True),
        ("Ann Lee <ann@x.org>", "Ann Lee <ann.lee@y.org>", False),
        ("ann@x.org", "bob@x.org", False),
        ("ann@x.org", "ann", False),
        ("Ann Lee", "Ann Leeds", False),
    ],
)
def test_one_person_in_two_spellings(one: str, other: str, same: bool) -> None:
    assert Person.of(one).is_same(Person.of(other)) is same
    assert Person.of(other).is_same(Person.of(one)) is same
    assert Person.of(str(Person.of(one))) == Person.of(one)


def test_people_are_counted_once() -> None:
    names = ("ann lee", "Ann Lee <ann@x.org>", "ANN@x.org", "Bob", "bob ", "Cy <cy@x.org>", "Cy <cy@y.org>")
    assert len(distinct(map(Person.of, names))) == 4


@pytest.mark.parametrize(
    ("text", "role"),
    [("qa_lead", "qa_lead"), ("QA Lead", "qa_lead"), ("qa-lead ", "qa_lead"), ("quinn", None), ("qa-lead@x.org", None)],
)
def test_the_name_of_a_role_is_no_person(text: str, role: str | None) -> None:
    assert role_named(text, ("technical_lead", "qa_lead")) == role


def test_allowed_signers_are_read_as_ssh_keygen_reads_them(keys: Keys) -> None:
    theo, sam = keys.public("theo"), keys.public("sam")
    read = Signers.read(
        f"# people\n\ntheo@x.org,t@x.org,qa_lead {theo}\n"
        f'"Sam Doe" namespaces="a b",valid-before="20300101" {sam} a comment\n'
        f"*@x.org cert-authority {sam}\n"
        f"@revoked theo {theo}\n@cert-authority * {sam}\nnothing here\n"
    )
    key = read.lines[0].key
    assert key.startswith("SHA256:")
    assert read.names(key, ("qa_lead",)) == ("theo@x.org", "t@x.org")
    assert [line.principals for line in read.lines] == [
        ("theo@x.org", "t@x.org", "qa_lead"),
        ("Sam Doe",),
        ("*@x.org",),
    ]
    assert [line.authority for line in read.lines] == [False, False, True]
    assert read.revoked == frozenset({key})
    assert read.unclear == (7,)
