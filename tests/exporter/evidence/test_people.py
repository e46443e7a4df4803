"""Who is who, and what an allowed_signers file lists."""

from __future__ import annotations

import time

import pytest

from exporter.evidence.people import Person, Signers, distinct, names_nobody, role_named
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
        ("\u0410nn L\u0435e", "Ann Lee", True),  # Cyrillic
        ("\u0430nn@x.org", "ann@x.org", True),
        ("Jos\u00e9 P\u00e9rez", "Jose Perez", True),
        ("Pat O\u2019Neil", "pat o'neil", True),
        ("Ann Lee (QA)", "Ann Lee [SRE]", True),
        ("@annlee", "annlee", True),
        ("\u0410\u043d\u043d\u0430", "\u0410\u043b\u043b\u0430", False),
    ],
)
def test_one_person_in_two_spellings(one: str, other: str, same: bool) -> None:
    assert Person.of(one).is_same(Person.of(other)) is same
    assert Person.of(other).is_same(Person.of(one)) is same
    assert Person.of(str(Person.of(one))) == Person.of(one)


@pytest.mark.parametrize(
    "text", ["TBD", "tba", "N/A", "n/a ", "?", "-", "________", "[Name]", "<name>", "Unknown", "to be named", "xxx"]
)
def test_a_placeholder_names_nobody(text: str) -> None:
    assert names_nobody(text)


@pytest.mark.parametrize(
    "text",
    [
        "${USER}",
        "$USER",
        "$(whoami)",
        "%USERNAME%",
        "{{ user }}",
        "root",
        "Administrator",
        "Your Name <you@example.com>",
        "First Last",
    ],
)
def test_what_a_template_or_a_machine_left_names_nobody(text: str) -> None:
    assert names_nobody(text)


@pytest.mark.parametrize(
    "text",
    [
        "Ann Lee",
        "Nan",
        "Todor",
        "ops",
        "Ann Root",
        "Adminah Lee",
        "na@x.org",
        "\u0410\u043d\u043d\u0430",
        "\u5f20\u4f1f",
    ],
)
def test_who_is_named(text: str) -> None:
    assert not names_nobody(text)


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


@pytest.mark.parametrize(
    "other",
    [
        "Ann Lee, ann@example.com",
        "ann@example.com;Ann Lee",
        "Ann Lee\tann@example.com",
        "Ann Lee (ann@example.com)",
        "Ann Lee mailto:ann@example.com",
        "Lee, Ann",
        "1. Ann Lee",
        "- [x] Ann Lee",
        "Ann\u3164Lee",
        "A\ufe0fnn Lee",
        "ann@example.com.",
    ],
)
def test_one_person_as_rosters_and_exports_write_them(other: str) -> None:
    assert len(distinct([Person.of("Ann Lee <ann@example.com>"), Person.of(other)])) == 1


def test_people_who_share_a_little_are_two() -> None:
    for one, other in (
        ("Ann Lee <a@x.org>", "Ann Lee <b@x.org>"),
        ("Bob, on leave", "Bob"),
        ("ann@x.org", "ann@y.org"),
        ("Ann Lee, Bob Ray", "Ann Lee"),
    ):
        assert len(distinct([Person.of(one), Person.of(other)])) == 2
    assert Person.of("ann@b\u00fccher.example") == Person.of("ANN@xn--bcher-kva.example")


def test_a_third_key_may_show_that_two_are_of_one_person(keys: Keys) -> None:
    one, two, three, foreign = (keys.public(name) for name in ("one", "two", "three", "foreign"))
    signers = Signers.read(f"a@x {one}\nA@x,b@x {two}\nb@x,qa_lead {three}\nc@x,qa_lead {foreign}\n")
    by_key = {line.principals[0]: line.key for line in signers.lines}
    assert set(signers.names(by_key["a@x"], ["qa_lead"])) == {"a@x", "A@x", "b@x"}
    assert set(signers.names(by_key["b@x"], ["qa_lead"])) == {"a@x", "A@x", "b@x"}
    assert signers.names(by_key["c@x"], ["qa_lead"]) == ("c@x",), "a role is no name in common"


@pytest.mark.parametrize("text", ["qa.lead", "QALead", "QA Lead <qa@example.com>"])
def test_a_role_in_other_spellings_is_no_person(text: str) -> None:
    assert role_named(text, ["qa_lead"]) == "qa_lead"


@pytest.mark.parametrize(
    "text", ["12345", "https://example.com", "Test User", "user 1", "Participant 12", "renovate[bot]"]
)
def test_texts_that_name_nobody_whatever_they_look_like(text: str) -> None:
    assert names_nobody(text)


@pytest.mark.parametrize(
    "text", ["Ann Lee", "ann@example.com", "member-1@example.com", "Person, Ann", "Abbot", "007 James"]
)
def test_texts_that_name_somebody(text: str) -> None:
    assert not names_nobody(text)


def test_a_long_line_is_read_in_time() -> None:
    """A trap: an expression that looks for an address from each of its characters takes a minute and a half."""
    begun = time.process_time()
    assert Person.of("~" * 100_000 + "x").address is None
    assert time.process_time() - begun < 10
