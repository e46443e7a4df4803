"""What a server's list of connections says of a service: one that is there proves, one that is not refutes nothing."""

from __future__ import annotations

from collectors.systems.connections.model import Connected, Whose
from exporter.options import format_duration
from exporter.verdict import Reason, Result, ok, unknown
from exporter.words import counted

__all__ = ["judge_connections"]


def judge_connections(seen: Connected, whose: Whose) -> Result:
    """Whether a connection of the service was used lately."""
    within = format_duration(whose.active_within)
    if seen.active:
        return ok(
            f"{seen.where} has {counted(seen.active, 'connection')} of {whose.client_name} in use within {within}.",
            connections=seen.active,
        )
    idle = f", but {counted(seen.other, 'other')} of that name" if seen.other else ""
    return unknown(
        f"{seen.where} has no connection of {whose.client_name} that is known to have been used within {within}{idle}. That "
        "refutes nothing, as pools drop idle connections.",
        reason=Reason.NOT_VERIFIED,
    )
