"""Signatories"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta

from pydantic import Field

from exporter.collector import Collector, NoTarget, SectionSettings, fetched, sign_off
from exporter.evidence.people import same_person
from exporter.evidence.records import Record
from exporter.options import Duration
from exporter.verdict import Reason, Result, failed


class SignatoriesSettings(SectionSettings):
    """Options of the section."""

    every: Duration = Field(timedelta(minutes=5), gt=timedelta(0), description="How often the section is verified.")
    allow_dual_roles: bool = Field(False, description="Whether one person may sign for several roles.")


class Signatories(Collector[SignatoriesSettings, NoTarget]):
    """Did each role sign off the release that runs, with a key that is theirs?

    A record is signed with OpenSSH (`ssh-keygen -Y sign -n checklist-exporter`) by a key that allowed_signers lists both for the
    person in `by` and for the role. A new release revokes it, and one person signs for one role.
    """

    Settings = SignatoriesSettings
    rights = "Signed evidence records, and an OpenSSH allowed_signers file whose principals are people and roles."

    @fetched
    async def sign_offs(self) -> Mapping[str, Result]:
        """The verdict on each role's sign-off by itself."""
        roles = tuple(self.items())
        return dict(zip(roles, await asyncio.gather(*map(self.attested, roles)), strict=True))

    @sign_off("Technical Lead: ________________ Date: _______")
    async def technical_lead(self, record: Record) -> Result | None:
        """The technical lead answers for what is released being what was designed, reviewed and tested."""
        return await self._dual_roles(record)

    @sign_off("Security Lead: ________________ Date: _______")
    async def security_lead(self, record: Record) -> Result | None:
        """The security lead answers for the risks that are left being known and accepted."""
        return await self._dual_roles(record)

    @sign_off("Operations Lead: _______________ Date: _______")
    async def operations_lead(self, record: Record) -> Result | None:
        """The operations lead answers for the team being able to run what is released."""
        return await self._dual_roles(record)

    @sign_off("QA Lead: ______________________ Date: _______")
    async def qa_lead(self, record: Record) -> Result | None:
        """The QA lead answers for the release having been tested, and for the faults that are left being known."""
        return await self._dual_roles(record)

    @sign_off("Product Owner: ________________ Date: _______")
    async def product_owner(self, record: Record) -> Result | None:
        """The product owner answers for the release doing what its users need."""
        return await self._dual_roles(record)

    @sign_off("Executive Sponsor: _____________ Date: _______")
    async def executive_sponsor(self, record: Record) -> Result | None:
        """The executive sponsor answers for the business wanting this launch now."""
        return await self._dual_roles(record)

    async def _dual_roles(self, record: Record) -> Result | None:
        return None if self.settings.allow_dual_roles else dual_roles(record, await self.sign_offs())


def dual_roles(own: Record, sign_offs: Mapping[str, Result]) -> Result | None:
    """A failure when who signed `own` also signed for others: by a name or a key that allowed_signers lists for both."""
    others = [
        role
        for role, result in sign_offs.items()
        if role != own.role and result.status.is_ok
        for record in result.evidence
        if same_person(own, record)
    ]
    if not others:
        return None
    return failed(
        f"{own.by} also signed as {' and '.join(others)}; each role takes another person.", reason=Reason.CONTRADICTED
    )
