"""Training: rosters that hold, and those that say more than they show."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from collectors.documentation_and_handoff.training import Training
from collectors.shared.rosters import people
from exporter.verdict import Status
from tests.collectors.evidence import Folder, each, evidence_of
from tests.servers.pages import Pages
from tests.support import Run, make_context, sees

TEAMS = ("operations_trained", "support_trained", "development_trained", "security_trained")
ROSTER = "".join(f"member-{number}@example.com\n" for number in range(1, 10))


evidence = evidence_of("training", pages=True)


@pytest.fixture(autouse=True)
def material(pages: Pages) -> None:
    pages.add("/material")


def attest(evidence: Folder, item: str, roster: str = ROSTER, **values: Any) -> None:
    (evidence.path / "roster.txt").write_text(roster)
    standard = {
        "artifact": {"path": "roster.txt", "sha256": hashlib.sha256(roster.encode()).hexdigest(), "kind": "roster"},
        "links": [f"{evidence.hosts[0]}/material"],
        "measured": {"trained": 9, "total": 10},
    }
    evidence.record(item, **standard | values)


def run(evidence: Folder, item: str, **settings: Any) -> Run:
    return Run(Training, [item], settings=settings, context=make_context(**evidence.context))


seen = sees(run)


@pytest.mark.parametrize("item", each("training", TEAMS, "ok", "failed", "unknown"))
async def test_a_team_that_is_trained_and_one_that_is_not_and_one_that_is_not_seen(evidence: Folder, item: str) -> None:
    result = await seen(evidence, item)
    assert (result.status, result.summary) == (Status.FAILED, f"There is no evidence for training.{item}.")
    attest(evidence, item)
    result = await seen(evidence, item)
    assert result.status is Status.OK
    assert "team@example.com attested" in result.summary
    assert "9 of 10 people are trained." in result.summary
    assert result.measurements == {"trained_ratio": 0.9}
    assert result.valid_until is not None
    evidence.tear(item)
    result = await seen(evidence, item)
    assert result.status is Status.UNKNOWN
    assert f"{item}.yaml:1:" in result.summary


@pytest.mark.parametrize(
    ("values", "summary"),
    [
        ({"measured": {"trained": 9, "total": 12}}, "9 of 12 people are trained, 75% (at least 80% wanted)."),
        (
            {"measured": {"trained": 10, "total": 10}},
            "The roster names 9 people, the record says that 10 were trained.",
        ),
        ({"measured": {"trained": 9, "total": 8}}, "The record says that 9 of 8 people were trained."),
        ({"measured": {"trained": 0, "total": 0}, "roster": "# nobody yet\n"}, "says that 0 of 0 people were trained."),
        ({"measured": {"trained": 9}}, "Evidence for training.security_trained does not measure total."),
        ({"measured": None}, "Evidence for training.security_trained does not measure trained and total."),
        ({"roster": "A@example.com\n a@EXAMPLE.com \n"}, "The roster names 1 person, the record says that 9"),
        (
            {"by": "Member-3@example.com"},
            "Member-3@example.com is on the roster of a training that they attest themselves.",
        ),
        ({"artifact": None}, "Evidence for training.security_trained names no artifact."),
        ({"links": []}, "Evidence for training.security_trained has 0 links (at least 1 wanted)."),
        ({"on": "2025-10-01"}, "Evidence for training.security_trained expired 12 days ago (2026-09-30)."),
    ],
)
async def test_a_roster_that_says_more_than_it_shows_fails(
    evidence: Folder, values: dict[str, Any], summary: str
) -> None:
    attest(evidence, "security_trained", **values)
    result = await seen(evidence, "security_trained")
    assert result.status is Status.FAILED
    assert summary in result.summary


async def test_a_roster_that_was_changed_or_lost_fails(evidence: Folder) -> None:
    attest(evidence, "support_trained")
    roster = evidence.path / "roster.txt"
    roster.write_text(f"{ROSTER}member-10@example.com\n")
    assert "has the SHA-256" in (await seen(evidence, "support_trained")).summary
    roster.unlink()
    result = await seen(evidence, "support_trained")
    assert (result.status, result.summary[-26:]) == (Status.FAILED, "roster.txt does not exist.")


async def test_material_that_was_not_seen_leaves_it_unknown(evidence: Folder, pages: Pages) -> None:
    attest(evidence, "operations_trained")
    pages.add("/material", status=503)
    assert (await seen(evidence, "operations_trained")).status is Status.UNKNOWN
    del pages.pages["/material"]
    assert (await seen(evidence, "operations_trained")).status is Status.FAILED


@pytest.mark.verifies("training.security_trained", "warning")
async def test_training_that_soon_expires_is_a_warning(evidence: Folder) -> None:
    attest(evidence, "security_trained", valid_until="2026-10-20")
    result = await seen(evidence, "security_trained")
    assert (result.status, result.summary) == (
        Status.WARNING,
        "team@example.com attested training.security_trained on 2026-10-01; expires in 7 days (2026-10-20).",
    )


async def test_the_share_that_must_be_trained_is_an_option(evidence: Folder) -> None:
    attest(evidence, "support_trained")
    result = await seen(evidence, "support_trained", min_trained=0.95)
    assert "9 of 10 people are trained, 90% (at least 95% wanted)." in result.summary


def test_a_roster_is_one_person_a_line() -> None:
    assert people("\ufeff# Operations\r\n\r\nAda\r\n ada \r\nBob, on leave\n\xff".encode()) == {
        "ada",
        "bob, on leave",
        "ÿ",
    }
    assert people(b"\xfa\xfb") == {"\ufffd\ufffd"}


@pytest.mark.parametrize(
    ("roster", "people_in_it"),
    [
        ("Ann Lee\nann  lee\nANN\u00a0LEE\n", 1),
        ("Ann Lee <ann@x.org>\nann@x.org\nAnn Lee\n", 1),
        ("Ann <ann@x.org>\nAnn <ann@y.org>\n", 2),
    ],
)
async def test_people_on_a_roster_are_counted_once(evidence: Folder, roster: str, people_in_it: int) -> None:
    attest(evidence, "security_trained", roster, measured={"trained": 3, "total": 3})
    named = "1 person" if people_in_it == 1 else f"{people_in_it} people"
    result = await seen(evidence, "security_trained")
    assert result.summary == f"The roster names {named}, the record says that 3 were trained."


async def test_a_trainer_in_another_spelling_trains_not_themselves(evidence: Folder) -> None:
    attest(
        evidence, "security_trained", "Ann Lee <ann@x.org>\nBob\n", by="ANN  Lee", measured={"trained": 2, "total": 2}
    )
    result = await seen(evidence, "security_trained")
    assert "is on the roster of a training that they attest themselves" in result.summary


async def test_a_share_is_not_rounded_to_its_limit(evidence: Folder) -> None:
    roster = "".join(f"member-{number}@example.com\n" for number in range(797))
    attest(evidence, "security_trained", roster, measured={"trained": 797, "total": 1000})
    result = await seen(evidence, "security_trained")
    assert result.summary == "797 of 1000 people are trained, 79.7% (at least 80% wanted)."


@pytest.mark.parametrize(
    "roster",
    [
        "- [x] Ann Lee\n- [ ] Cid Po\n",
        "Ann Lee\nCid Po (absent)\n",
        "Ann Lee\nCid Po \u2013 not trained\n",
        "Ann Lee, ann@example.com, trained\nCid Po, cid@example.com, missed\n",
        "Ann Lee\n~~Cid Po~~\n",
        "name,email\nAnn Lee,ann@example.com\n",
        "| Name | Role |\n|---|---|\n| Ann Lee | SRE |\n",
        "Ann Lee\nPerson 2\nTest User\n12345\nrenovate[bot]\n",
    ],
)
def test_who_was_not_there_and_what_names_nobody_does_not_count(roster: str) -> None:
    assert len(people(roster.encode())) == 1


async def test_a_part_of_a_person_is_none(evidence: Folder) -> None:
    attest(evidence, "operations_trained", measured={"trained": 9, "total": 9.5})
    result = await seen(evidence, "operations_trained")
    assert (result.status, result.summary.endswith("The record says that 9 of 9.5 people were trained.")) == (
        Status.FAILED,
        True,
    )
