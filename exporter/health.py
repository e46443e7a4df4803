"""How the exporter itself fares: filled in by the daemon, read by `/metrics` and `/-/healthy`."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

__all__ = ["Health"]


@dataclass(slots=True)
class Health:
    """One instance per process. The daemon changes the fields, the others only read them.

    `beat` is `last_tick` on the monotonic clock, which nobody sets. `lag` is how many seconds the scheduler ran behind when it last
    ticked. `stuck_runs` are the ids of jobs whose run outlived its deadline. `history_error`, `render_error` and `election_error`
    are full sentences, None while all is well. `ready` is set once the first configuration is loaded. `external_url` is where
    people reach the pages.

    Of several replicas, `leader` is the one that verifies, for as long as `lease_holds`; the others read what it records, the last
    time at `read_at` (monotonic), and know it as `leader_name`.
    """

    version: str
    revision: str = ""
    started_at: datetime | None = None
    ready: bool = False
    leader: bool = True
    lease_holds: Callable[[], bool] | None = None
    leader_name: str = ""
    election_error: str | None = None
    read_at: float | None = None
    last_tick: datetime | None = None
    beat: float | None = None
    lag: float = 0.0
    stuck_runs: tuple[str, ...] = ()
    reload_successful: bool = True
    reload_success_at: datetime | None = None
    history_error: str | None = None
    render_error: str | None = None
    external_url: str = ""
    python: str = field(default_factory=platform.python_version)

    @property
    def leads(self) -> bool:
        """Whether this replica verifies the checklist, now."""
        return self.leader and (self.lease_holds is None or self.lease_holds())

    def outdated(self, limit: float = 15.0) -> str | None:
        """Why a replica that follows does not show what is true now, as a full sentence; None while it does, and of the leader.

        `limit` is the age in seconds of what was last read from which it is too old.
        """
        if self.lease_holds is None or self.leads:
            return None
        if self.read_at is None:
            return "This replica has not read the leader's results yet."
        age = time.monotonic() - self.read_at
        if age <= limit:
            return None
        return f"This replica last read the leader's results {age:.0f} s ago (limit {limit:.0f} s): they may be out of date."

    def troubles(self, now: datetime, tick_limit: float = 30.0) -> list[str]:
        """One full sentence for all that keeps the exporter from telling the truth, and that a restart fixes.

        `tick_limit` is the age in seconds from which the scheduler counts as stalled.
        """
        found = []
        age = 0.0 if self.last_tick is None else (now - self.last_tick).total_seconds()
        if self.beat is not None:
            age = time.monotonic() - self.beat
        if age > tick_limit:
            found.append(f"The scheduler last ticked {age:.0f} s ago (limit {tick_limit:.0f} s).")
        if self.render_error:
            found.append(self.render_error)
        return found

    def notes(self) -> list[str]:
        """One full sentence for all else that somebody should look at; verification goes on."""
        found = []
        if self.stuck_runs:
            found.append(f"Runs go on past their deadline: {', '.join(self.stuck_runs)}.")
        if not self.reload_successful:
            found.append("The configuration was changed and cannot be used; the last good one is in force.")
        if self.history_error:
            found.append(self.history_error)
        if self.election_error:
            found.append(self.election_error)
        if outdated := self.outdated():
            found.append(outdated)
        return found
