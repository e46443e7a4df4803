"""Signatories"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta

from pydantic import Field

from exporter.collector import Collector, Mode, NoTarget, SectionSettings, fetched, item
from exporter.evidence.validity import EvidenceRule
from exporter.options import Duration
from exporter.verdict import CRITICAL, Result, failed, worst

_NEEDS = ("evidence", "evidence.allowed_signers", "release")


def _signed_by(role: str) -> EvidenceRule:
    return EvidenceRule(valid_for=timedelta(days=30), signed_by_role=role, bound_to_release=True)


class SignatoriesSettings(SectionSettings):
    """Options of the section."""

    every: Duration = Field(timedelta(minutes=5), gt=timedelta(0), description="How often the section is verified.")
    allow_dual_roles: bool = Field(False, description="Whether one person may sign for several roles.")


class Signatories(Collector[SignatoriesSettings, NoTarget]):
    """Did each role sign off the release that runs, with a key that is theirs?

    A record is signed with OpenSSH (`ssh-keygen -Y sign -n checklist-exporter`) by a key that allowed_signers lists both for the
    person in `by` and for the role.
    """

    Settings = SignatoriesSettings
    rights = "Signed evidence records, and an OpenSSH allowed_signers file whose principals are people and roles."

    @fetched
    async def sign_offs(self) -> Mapping[str, Result]:
        """The verdict on each role's sign-off by itself."""
        roles = tuple(self.items())
        return dict(zip(roles, await asyncio.gather(*map(self.attested, roles)), strict=True))

    @item(
        "Technical Lead: ________________ Date: _______",
        severity=CRITICAL,
        mode=Mode.EVIDENCE,
        needs=_NEEDS,
        evidence=_signed_by("technical_lead"),
    )
    async def technical_lead(self) -> Result:
        """The technical lead answers for what is released being what was designed, reviewed and tested.

        Verified by a record for the running release, at most 30 days old, with a valid OpenSSH signature by a key that
        allowed_signers lists both for the signer and for technical_lead. A new release revokes it, and
        one person signs for one role.

        Sign it: `checklist-exporter attest signatories.technical_lead --key ~/.ssh/id_ed25519`.
        """
        return await self._signed_off("technical_lead")

    @item(
        "Security Lead: ________________ Date: _______",
        severity=CRITICAL,
        mode=Mode.EVIDENCE,
        needs=_NEEDS,
        evidence=_signed_by("security_lead"),
    )
    async def security_lead(self) -> Result:
        """The security lead answers for the risks that are left being known and accepted.

        Verified by a record for the running release, at most 30 days old, with a valid OpenSSH signature by a key that
        allowed_signers lists both for the signer and for security_lead. A new release revokes it, and
        one person signs for one role.

        Sign it: `checklist-exporter attest signatories.security_lead --key ~/.ssh/id_ed25519`.
        """
        return await self._signed_off("security_lead")

    @item(
        "Operations Lead: _______________ Date: _______",
        severity=CRITICAL,
        mode=Mode.EVIDENCE,
        needs=_NEEDS,
        evidence=_signed_by("operations_lead"),
    )
    async def operations_lead(self) -> Result:
        """The operations lead answers for the team being able to run what is released.

        Verified by a record for the running release, at most 30 days old, with a valid OpenSSH signature by a key that
        allowed_signers lists both for the signer and for operations_lead. A new release revokes it, and
        one person signs for one role.

        Sign it: `checklist-exporter attest signatories.operations_lead --key ~/.ssh/id_ed25519`.
        """
        return await self._signed_off("operations_lead")

    @item(
        "QA Lead: ______________________ Date: _______",
        severity=CRITICAL,
        mode=Mode.EVIDENCE,
        needs=_NEEDS,
        evidence=_signed_by("qa_lead"),
    )
    async def qa_lead(self) -> Result:
        """The QA lead answers for the release having been tested, and for the faults that are left being known.

        Verified by a record for the running release, at most 30 days old, with a valid OpenSSH signature by a key that
        allowed_signers lists both for the signer and for qa_lead. A new release revokes it, and
        one person signs for one role.

        Sign it: `checklist-exporter attest signatories.qa_lead --key ~/.ssh/id_ed25519`.
        """
        return await self._signed_off("qa_lead")

    @item(
        "Product Owner: ________________ Date: _______",
        severity=CRITICAL,
        mode=Mode.EVIDENCE,
        needs=_NEEDS,
        evidence=_signed_by("product_owner"),
    )
    async def product_owner(self) -> Result:
        """The product owner answers for the release doing what its users need.

        Verified by a record for the running release, at most 30 days old, with a valid OpenSSH signature by a key that
        allowed_signers lists both for the signer and for product_owner. A new release revokes it, and
        one person signs for one role.

        Sign it: `checklist-exporter attest signatories.product_owner --key ~/.ssh/id_ed25519`.
        """
        return await self._signed_off("product_owner")

    @item(
        "Executive Sponsor: _____________ Date: _______",
        severity=CRITICAL,
        mode=Mode.EVIDENCE,
        needs=_NEEDS,
        evidence=_signed_by("executive_sponsor"),
    )
    async def executive_sponsor(self) -> Result:
        """The executive sponsor answers for the business wanting this launch now.

        Verified by a record for the running release, at most 30 days old, with a valid OpenSSH signature by a key that
        allowed_signers lists both for the signer and for executive_sponsor. A new release revokes it, and
        one person signs for one role.

        Sign it: `checklist-exporter attest signatories.executive_sponsor --key ~/.ssh/id_ed25519`.
        """
        return await self._signed_off("executive_sponsor")

    async def _signed_off(self, role: str) -> Result:
        sign_offs = await self.sign_offs()
        if self.settings.allow_dual_roles or not sign_offs[role].status.is_ok:
            return sign_offs[role]
        return worst(sign_offs[role], *dual_roles(role, sign_offs))


def dual_roles(role: str, sign_offs: Mapping[str, Result]) -> list[Result]:
    """A failure when who signed for `role` also signed for others: the same name, or the same key under another name."""
    (own,) = sign_offs[role].evidence
    others = [
        other
        for other, result in sign_offs.items()
        if other != role and result.status.is_ok
        for record in result.evidence
        if record.by.casefold() == own.by.casefold() or record.key == own.key
    ]
    if not others:
        return []
    return [failed(f"{own.by} also signed as {' and '.join(others)}; each role takes another person.")]
