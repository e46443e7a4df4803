"""Signatories: sign-offs with real OpenSSH signatures, by distinct people, for the release that runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from collectors.final_sign_off.signatories import Signatories
from exporter.verdict import Result, Status
from tests.collectors.evidence import Folder, each, evidence_of
from tests.servers.signing import Keys
from tests.support import Run, make_context

ROLES = ("technical_lead", "security_lead", "operations_lead", "qa_lead", "product_owner", "executive_sponsor")
PEOPLE = dict(zip(ROLES, ("theo", "sam", "olga", "quinn", "pat", "erin"), strict=True))


class SignOffs:
    """Sign-offs of the six roles, each by one person with a key."""

    def __init__(self, evidence: Folder, keys: Keys) -> None:
        self.evidence = evidence
        self._keys = keys
        self.allow({f"{person}@example.com,{role}": person for role, person in PEOPLE.items()})

    def allow(self, keys: dict[str, str]) -> None:
        """Write allowed_signers: principals, and the key that is theirs."""
        lines = (f"{principals} {self._keys.public(key)}\n" for principals, key in keys.items())
        (self.evidence.path / "allowed_signers").write_text("".join(lines))

    def sign(
        self, role: str, person: str | None = None, key: str | None = None, as_role: str = "", **values: Any
    ) -> Path:
        """Write and sign the sign-off of a role."""
        person = person or PEOPLE[role]
        path = self.evidence.record(
            role, **{"by": f"{person}@example.com", "role": as_role or role, "release": self.evidence.release} | values
        )
        self._keys.sign(path, key or person)
        return path

    async def results(self, **settings: Any) -> dict[str, Result]:
        """The verdicts by role."""
        return await Run(Signatories, settings=settings, context=make_context(**self.evidence.context)).results()


evidence = evidence_of("signatories")


@pytest.fixture
def sign_offs(evidence: Folder, keys: Keys) -> SignOffs:
    return SignOffs(evidence, keys)


@pytest.mark.parametrize("role", each("signatories", ROLES, "ok", "failed", "unknown"))
async def test_a_role_that_signed_and_one_that_did_not_and_one_that_is_not_seen(
    sign_offs: SignOffs, role: str, no_leftovers: None
) -> None:
    result = (await sign_offs.results())[role]
    assert (result.status, result.summary) == (Status.FAILED, f"There is no evidence for signatories.{role}.")
    path = sign_offs.sign(role)
    result = (await sign_offs.results())[role]
    assert (result.status, result.summary) == (
        Status.OK,
        f"{PEOPLE[role]}@example.com signed 1.4.2 on 2026-10-01, valid until 2026-10-30.",
    )
    path.write_bytes(path.read_bytes().replace(b"2026-10-01", b"2026-10-12"))
    result = (await sign_offs.results())[role]
    assert result.status is Status.FAILED
    assert f"Signature {role}.yaml.sig does not verify" in result.summary
    sign_offs.sign(role)
    (sign_offs.evidence.path / "allowed_signers").unlink()
    result = (await sign_offs.results())[role]
    assert result.status is Status.UNKNOWN
    assert "allowed_signers cannot be read, so no signature was verified" in result.summary


async def test_all_six_sign(sign_offs: SignOffs) -> None:
    for role in ROLES:
        sign_offs.sign(role)
    assert {result.status for result in (await sign_offs.results()).values()} == {Status.OK}


async def test_a_new_release_revokes_a_sign_off_and_an_unknown_one_leaves_it_unknown(sign_offs: SignOffs) -> None:
    sign_offs.sign("qa_lead", release="1.4.1")
    result = (await sign_offs.results())["qa_lead"]
    assert (result.status, result.summary) == (Status.FAILED, "QA lead signed 1.4.1, running 1.4.2.")
    sign_offs.evidence.release = "1.4.1"
    assert (await sign_offs.results())["qa_lead"].status is Status.OK
    sign_offs.evidence.release = None
    assert (await sign_offs.results())["qa_lead"].status is Status.UNKNOWN


async def test_a_sign_off_lasts_thirty_days(sign_offs: SignOffs) -> None:
    sign_offs.sign("product_owner", valid_until="2027-01-01")
    sign_offs.evidence.clock.advance(days=10)
    assert (await sign_offs.results())["product_owner"].status is Status.WARNING
    sign_offs.evidence.clock.advance(days=10)
    result = (await sign_offs.results())["product_owner"]
    assert result.status is Status.FAILED
    assert "expired 2 days ago (2026-10-30)." in result.summary


async def test_a_sign_off_without_a_signature_fails(sign_offs: SignOffs) -> None:
    sign_offs.sign("qa_lead").with_name("qa_lead.yaml.sig").unlink()
    result = (await sign_offs.results())["qa_lead"]
    assert (result.status, result.summary) == (
        Status.FAILED,
        "Evidence for signatories.qa_lead is not valid: Signature file qa_lead.yaml.sig does not exist.",
    )


async def test_a_signature_for_one_role_is_none_for_another(sign_offs: SignOffs) -> None:
    sign_offs.sign("qa_lead", "theo")
    result = (await sign_offs.results())["qa_lead"]
    assert result.status is Status.FAILED
    assert "allowed_signers does not list the key of qa_lead.yaml.sig for qa_lead." in result.summary
    sign_offs.sign("qa_lead", "theo", as_role="technical_lead")
    result = (await sign_offs.results())["qa_lead"]
    assert (result.status, result.summary) == (
        Status.FAILED,
        "Evidence for signatories.qa_lead is signed as technical_lead (wanted qa_lead).",
    )


async def test_a_signature_is_for_the_item_that_was_signed(sign_offs: SignOffs) -> None:
    path = sign_offs.sign("technical_lead")
    for suffix in ("", ".sig"):
        copy = path.with_name(f"security_lead.yaml{suffix}")
        copy.write_bytes(path.with_name(f"technical_lead.yaml{suffix}").read_bytes())
    assert (await sign_offs.results())["security_lead"].status is Status.FAILED


async def test_one_person_does_not_sign_for_two_roles(sign_offs: SignOffs) -> None:
    allowed = {"theo@example.com,technical_lead,security_lead": "theo", "qa@example.com,qa_lead": "quinn"}
    sign_offs.allow(allowed)
    sign_offs.sign("technical_lead", "theo")
    sign_offs.sign("security_lead", "theo")
    sign_offs.sign("qa_lead", "qa", "quinn")
    seen = await sign_offs.results()
    assert (seen["technical_lead"].status, seen["technical_lead"].summary) == (
        Status.FAILED,
        "theo@example.com also signed as security_lead; each role takes another person.",
    )
    assert seen["security_lead"].status is Status.FAILED
    assert seen["qa_lead"].status is Status.OK
    assert (await sign_offs.results(allow_dual_roles=True))["security_lead"].status is Status.OK


async def test_one_key_under_two_names_is_one_person(sign_offs: SignOffs) -> None:
    sign_offs.allow({"theo@example.com,t@example.com,technical_lead,security_lead": "theo"})
    sign_offs.sign("technical_lead", "theo")
    sign_offs.sign("security_lead", "t", "theo")
    seen = await sign_offs.results()
    assert (seen["security_lead"].status, seen["security_lead"].summary) == (
        Status.FAILED,
        "t@example.com also signed as technical_lead; each role takes another person.",
    )


async def test_one_name_with_two_keys_is_one_person(sign_offs: SignOffs) -> None:
    sign_offs.allow({"Theo@example.com,technical_lead": "theo", "theo@example.com,security_lead": "sam"})
    sign_offs.sign("technical_lead", "Theo", "theo")
    sign_offs.sign("security_lead", "theo", "sam")
    assert (await sign_offs.results())["technical_lead"].status is Status.FAILED


async def test_a_sign_off_that_does_not_hold_takes_nothing_from_another(sign_offs: SignOffs) -> None:
    sign_offs.allow({"theo@example.com,technical_lead,security_lead": "theo"})
    sign_offs.sign("technical_lead", "theo")
    sign_offs.sign("security_lead", "theo", release="1.4.1")
    seen = await sign_offs.results()
    assert seen["technical_lead"].status is Status.OK
    assert seen["security_lead"].status is Status.FAILED


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_said_once_and_cannot_slip(role: str) -> None:
    declared = Signatories.items()[role]
    assert declared.evidence is not None
    assert (declared.name, declared.evidence.signed_by_role, declared.evidence.bound_to_release) == (role, role, True)
    assert declared.line.partition(":")[0].lower().replace(" ", "_") == role, "the line names the role"
    assert f"both for the signer and for {role}" in declared.description


@pytest.mark.parametrize(
    ("signers", "by"),
    [
        ({"theo@example.com,technical_lead": "theo", "sam@example.com,qa_lead": "sam"}, ("technical_lead", "qa_lead")),
        ({"theo,technical_lead": "theo", "THEO,qa_lead": "sam"}, ("theo", "THEO")),
        ({"theo@x.org,t@x.org,technical_lead": "theo", "t@x.org,qa_lead": "sam"}, ("theo@x.org", "t@x.org")),
        ({"theo@x.org,t@x.org,technical_lead": "theo", "th@x.org,t@x.org,qa_lead": "sam"}, ("theo@x.org", "th@x.org")),
        ({"theo@x.org,technical_lead": "theo", "theo+qa@x.org,qa_lead": "sam"}, ("theo@x.org", "theo+qa@x.org")),
        ({'"Ann Lee"': "theo", "technical_lead": "theo", '"ANN\u00a0LEE"': "sam", "qa_lead": "sam"}, ("Ann Lee", "ANN\u00a0LEE")),
        ({"*@x.org,technical_lead": "theo", "*@x.org,*_lead": "sam"}, ("a@x.org", "b@x.org")),
    ],
    ids=str,
)  # fmt: skip
async def test_one_person_in_two_spellings_signs_for_one_role(
    sign_offs: SignOffs, signers: dict[str, str], by: tuple[str, str]
) -> None:
    sign_offs.allow(signers)
    sign_offs.sign("technical_lead", key="theo", by=by[0])
    sign_offs.sign("qa_lead", key="sam", by=by[1])
    seen = await sign_offs.results()
    assert {seen["technical_lead"].status, seen["qa_lead"].status} == {Status.FAILED}, seen["qa_lead"].summary


async def test_two_people_who_share_a_role_elsewhere_are_two(sign_offs: SignOffs) -> None:
    sign_offs.allow(
        {"theo@x.org,technical_lead,security_lead": "theo", "sam@x.org,technical_lead,security_lead,qa_lead": "sam"}
    )
    sign_offs.sign("technical_lead", key="theo", by="theo@x.org")
    sign_offs.sign("qa_lead", key="sam", by="sam@x.org")
    seen = await sign_offs.results()
    assert {seen["technical_lead"].status, seen["qa_lead"].status} == {Status.OK}, seen["qa_lead"].summary
