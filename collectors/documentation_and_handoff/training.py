"""Training"""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from exporter.collector import Collector, Mode, NoTarget, SectionSettings, item
from exporter.evidence.validity import EvidenceRule, Record
from exporter.options import Duration
from exporter.verdict import INFO, WARNING, Result, failed, ok, worst

_TRAINING = EvidenceRule(valid_for=timedelta(days=365), links=1, measured=("trained", "total"), artifact=True)
_NEEDS = ("evidence", "evidence.hosts for the material it links")


class TrainingSettings(SectionSettings):
    """Options of the section. Pages are opened at every run, so it runs rarely."""

    every: Duration = Field(timedelta(minutes=15), gt=timedelta(0), description="How often the section is verified.")
    timeout: Duration = Field(
        timedelta(seconds=60), gt=timedelta(0), description="How long one item may take before it is `unknown`."
    )
    min_trained: float = Field(0.8, gt=0, le=1, description="Share of a team that must be trained (0 to 1).")


class Training(Collector[TrainingSettings, NoTarget]):
    """Are enough people of each team trained, by somebody else, and recently?

    A record names the trainer as `by`, the material as `links`, `measured: {trained: 9, total: 10}`, and as `artifact` the
    roster: a text file with one trained person a line.
    """

    Settings = TrainingSettings
    rights = "Evidence records with a roster as artifact, and links below evidence.hosts."

    @item(
        "Operations team is trained on deployment procedures",
        severity=INFO,
        mode=Mode.EVIDENCE,
        needs=_NEEDS,
        evidence=_TRAINING,
    )
    async def operations_trained(self) -> Result:
        """A deployment that only one person has ever done waits for that person.

        Verified by a record that is at most 365 days old: its roster has the hash and the number of people it says, at least
        `min_trained` of the team are on it, the trainer is not, and the material answers.

        Train those who are missing, and attest it with the new roster.
        """
        return await self._trained("operations_trained")

    @item(
        "Support team is trained on troubleshooting",
        severity=INFO,
        mode=Mode.EVIDENCE,
        needs=_NEEDS,
        evidence=_TRAINING,
    )
    async def support_trained(self) -> Result:
        """Support that can tell a fault from a question saves the on-call engineer's night.

        Verified by a record that is at most 365 days old: its roster has the hash and the number of people it says, at least
        `min_trained` of the team are on it, the trainer is not, and the material answers.

        Train those who are missing, and attest it with the new roster.
        """
        return await self._trained("support_trained")

    @item(
        "Development team is trained on monitoring",
        severity=INFO,
        mode=Mode.EVIDENCE,
        needs=_NEEDS,
        evidence=_TRAINING,
    )
    async def development_trained(self) -> Result:
        """Who writes the service must be able to read its dashboards, or nobody finds out why it is slow.

        Verified by a record that is at most 365 days old: its roster has the hash and the number of people it says, at least
        `min_trained` of the team are on it, the trainer is not, and the material answers.

        Train those who are missing, and attest it with the new roster.
        """
        return await self._trained("development_trained")

    @item(
        "Security team is trained on incident response",
        severity=WARNING,
        mode=Mode.EVIDENCE,
        needs=_NEEDS,
        evidence=_TRAINING,
    )
    async def security_trained(self) -> Result:
        """In the first hour of a break-in there is no time to look for the procedure.

        Verified by a record that is at most 365 days old: its roster has the hash and the number of people it says, at least
        `min_trained` of the team are on it, the trainer is not, and the material answers.

        Train those who are missing, and attest it with the new roster.
        """
        return await self._trained("security_trained")

    async def _trained(self, name: str) -> Result:
        attested = await self.attested(name)
        if not attested.status.is_ok:
            return attested
        record = attested.evidence[0]
        roster = await self.context.evidence.artifact(record)
        return worst(attested, training(record, people(roster), self.settings.min_trained))


def people(roster: bytes) -> set[str]:
    """Who is on a roster: one person a line, without regard to case; empty lines and those that start with # do not count."""
    lines = (line.strip().casefold() for line in roster.decode("utf-8-sig", "replace").splitlines())
    return {line for line in lines if line and not line.startswith("#")}


def training(record: Record, trained: set[str], min_trained: float) -> Result:
    """Whether enough people are trained, as the roster and the record's numbers agree."""
    said, total = record.measured["trained"], record.measured["total"]
    if said != len(trained):
        return failed(f"The roster names {len(trained)} people, the record says that {said:g} were trained.")
    if total < 1 or said > total:
        return failed(f"The record says that {said:g} of {total:g} people were trained.")
    if record.by.casefold() in trained:
        return failed(f"{record.by} is on the roster of a training that they attest themselves.")
    ratio = said / total
    told = f"{said:g} of {total:g} people are trained"
    if ratio < min_trained:
        return failed(f"{told}, {ratio:.0%} (at least {min_trained:.0%} wanted).", trained_ratio=ratio)
    return ok(f"{told}.", trained_ratio=ratio)
