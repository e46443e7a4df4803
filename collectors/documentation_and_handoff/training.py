"""Training"""

from __future__ import annotations

import functools
from datetime import timedelta

from pydantic import Field

from collectors.shared.rosters import people
from exporter.collector import Collector, EvidenceSettings, NoTarget, evidence_item
from exporter.evidence.people import Person
from exporter.evidence.records import Record
from exporter.evidence.rules import EvidenceRule
from exporter.verdict import INFO, WARNING, Reason, Result, failed, ok
from exporter.words import counted

_team = functools.partial(
    evidence_item,
    rule=EvidenceRule(valid_for=timedelta(days=365), links=1, measured=("trained", "total"), artifact=True),
    how="whose roster names as many people as were `trained`, at least `min_trained` of the team, and not the trainer",
    needs=("evidence", "evidence.hosts for the material it links"),
)


class TrainingSettings(EvidenceSettings):
    """Options of the section."""

    min_trained: float = Field(0.8, gt=0, le=1, description="Share of a team that must be trained (0 to 1).")


class Training(Collector[TrainingSettings, NoTarget]):
    """Are enough people of each team trained, by somebody else, and recently? `artifact` is the roster, one person a line."""

    Settings = TrainingSettings
    rights = "Evidence records with a roster as artifact, and links below evidence.hosts."

    @_team("Operations team is trained on deployment procedures", severity=INFO)
    async def operations_trained(self, record: Record) -> Result:
        """A deployment that only one person has ever done waits for that person."""
        return await self._trained(record)

    @_team("Support team is trained on troubleshooting", severity=INFO)
    async def support_trained(self, record: Record) -> Result:
        """Support that can tell a fault from a question saves the on-call engineer's night."""
        return await self._trained(record)

    @_team("Development team is trained on monitoring", severity=INFO)
    async def development_trained(self, record: Record) -> Result:
        """Who writes the service must be able to read its dashboards, or nobody finds out why it is slow."""
        return await self._trained(record)

    @_team("Security team is trained on incident response", severity=WARNING)
    async def security_trained(self, record: Record) -> Result:
        """In the first hour of a break-in there is no time to look for the procedure."""
        return await self._trained(record)

    async def _trained(self, record: Record) -> Result:
        roster = await self.context.evidence.artifact(record)
        return training(record, people(roster), self.settings.min_trained)


def training(record: Record, trained: set[str], min_trained: float) -> Result:
    """Whether enough people are trained, as the roster and the record's numbers agree."""
    said, total = record.measured["trained"], record.measured["total"]
    if said != len(trained):
        named = f"The roster names {counted(len(trained), 'person', 'people')}"
        return failed(f"{named}, the record says that {said:g} were trained.", reason=Reason.CONTRADICTED)
    if total < 1 or said > total or total % 1:
        return failed(f"The record says that {said:g} of {total:g} people were trained.", reason=Reason.INVALID)
    if any(Person.of(record.by).is_same(Person.of(person)) for person in trained):
        why = f"{record.by} is on the roster of a training that they attest themselves."
        return failed(why, reason=Reason.CONTRADICTED)
    ratio = said / total
    share = f"{said:g} of {total:g} people are trained"
    if ratio < min_trained:
        return failed(
            f"{share}, {100 * ratio:.4g}% (at least {100 * min_trained:.4g}% wanted).",
            reason=Reason.LIMIT,
            trained_ratio=ratio,
        )
    return ok(f"{share}.", trained_ratio=ratio)
