"""What Patroni reports: the members of a cluster, and who would take over."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import msgspec

__all__ = ["Configuration", "Member", "MemberStatus", "PatroniCluster", "Report"]

LEADERS = ("leader", "master", "primary")
SYNCHRONOUS = ("sync_standby", "quorum_standby")
STANDBYS = ("replica", *SYNCHRONOUS)
FOLLOWING = ("running", "streaming")
RUNNING = (*FOLLOWING, "in archive recovery")


class Member(msgspec.Struct, frozen=True):
    """One member, as the consensus store has it. `lag` is in bytes, or a word where Patroni does not know it."""

    name: str
    role: str
    state: str
    timeline: int | str = 0
    lag: int | str = 0
    tags: dict[str, object] = {}
    api_url: str = ""

    @property
    def leads(self) -> bool:
        """Whether it is a running leader."""
        return self.role in LEADERS and self.state == "running"

    @property
    def leads_standbys(self) -> bool:
        """Whether it leads a standby cluster: it follows the primary of another cluster."""
        return self.role == "standby_leader" and self.state in RUNNING

    @property
    def slot(self) -> str:
        """The name of the replication slot that Patroni makes for it."""
        return re.sub(
            r"[^a-z0-9_]", lambda found: "_" if found[0] in "-. " else f"u{ord(found[0]):04d}", self.name.lower()
        )[:63]

    @property
    def may_lead(self) -> bool:
        """Whether no tag keeps it from leading: nofailover, or a failover_priority of 0 unless that says otherwise."""
        if (barred := self.tags.get("nofailover")) is not None:
            return not barred
        priority = self.tags.get("failover_priority")
        try:
            return priority is None or int(str(priority)) > 0
        except ValueError:
            return True

    def obstacle(self, leader: Member | None, max_lag: int, *, synchronous: bool) -> str | None:
        """What keeps a standby from taking over, as the end of a sentence; None when nothing does."""
        if self.state not in FOLLOWING:
            return f"is {self.state}"
        if not self.may_lead:
            return "is kept from it by its tags (nofailover, or failover_priority 0)"
        if self.role not in (SYNCHRONOUS if synchronous else STANDBYS):
            return "is not synchronous" if self.role in STANDBYS else f"has role {self.role}"
        if leader and self.timeline and leader.timeline and self.timeline != leader.timeline:
            return f"is on timeline {self.timeline}, the leader on {leader.timeline}"
        if not isinstance(self.lag, int):
            return "is behind by an unknown distance"
        return (
            None
            if self.lag <= max_lag
            else f"is {self.lag} bytes behind (maximum_lag_on_failover, or max_lag_bytes: {max_lag})"
        )

    def could_lead(self, max_lag: int, *, synchronous: bool, leader: Member | None = None) -> bool:
        """Whether it follows closely enough to take over, and nothing else keeps it from that."""
        return self.obstacle(leader, max_lag, synchronous=synchronous) is None


class _Itself(msgspec.Struct, frozen=True):
    name: str = ""


class MemberStatus(msgspec.Struct, frozen=True):
    """What a member reports of itself. `cluster_unlocked` while nobody holds the leader's lock; `watchdog_failed` where it requires
    a watchdog and has none that works, so that it never leads.
    """

    database_system_identifier: str = ""
    dcs_last_seen: float | None = None
    role: str = ""
    state: str = ""
    cluster_unlocked: bool = False
    watchdog_failed: bool = False
    failsafe_mode_is_active: bool = False
    patroni: _Itself = _Itself()


class Report(msgspec.Struct, frozen=True):
    """What a member answered itself; `status` is None where it did not. `silence` is as of `PatroniCluster`."""

    status: MemberStatus | None = None
    silence: float | None = None

    def obstacle(self, patience: float) -> str | None:
        """What keeps it from taking over by what it reports, as the end of a sentence; None when nothing does."""
        if self.status is None:
            return None
        if self.status.watchdog_failed:
            return "requires a watchdog and has none that works (watchdog_failed)"
        if self.status.state and self.status.state not in RUNNING:
            return f"reports itself as {self.status.state}"
        if self.silence is not None and self.silence > patience:
            return f"has not reached the consensus store for {self.silence:.0f} seconds"
        return None


class PatroniCluster(msgspec.Struct, frozen=True):
    """The cluster as the asked member sees it. While `pause` is true, nobody takes over by itself.

    `synchronous` is true in synchronous mode, in which Patroni lets synchronous standbys alone take over. `maximum_lag` is the
    distance in bytes from which on it lets no standby take over. `silence` is for how many seconds, by the member's own clock, it
    has not reached the consensus store (None where it does not report that), and `patience` how long it may. `ttl` is after how
    many seconds a leader that is gone loses its lock, `start_timeout` for how long a leader whose PostgreSQL is gone may try to
    start it. `asked` is what the asked member reports of itself, `reports` what standbys do, by their names.
    """

    members: list[Member]
    pause: bool = False
    system_identifier: str = ""
    synchronous: bool = False
    maximum_lag: int = 1_048_576
    silence: float | None = None
    patience: float = 20.0
    ttl: float = 30.0
    start_timeout: float = 300.0
    asked: MemberStatus = MemberStatus()
    reports: Mapping[str, Report] = {}

    def obstacle(self, member: Member, leader: Member | None, max_lag: int) -> str | None:
        """What keeps a standby from taking over, by the consensus store or by its own report; None when nothing does."""
        stored = member.obstacle(leader, max_lag, synchronous=self.synchronous)
        return stored or self.reports.get(member.name, Report()).obstacle(self.patience)


class Configuration(msgspec.Struct, frozen=True):
    """The part of the cluster's dynamic configuration by which Patroni fails over."""

    synchronous_mode: bool | str | None = None
    maximum_lag_on_failover: float | str | None = None
    loop_wait: float | str | None = None
    retry_timeout: float | str | None = None
    ttl: float | str | None = None
    primary_start_timeout: float | str | None = None
    master_start_timeout: float | str | None = None

    @property
    def synchronous(self) -> bool:
        """Whether the mode is on, in any of the words that Patroni takes for it."""
        return str(self.synchronous_mode or "off").lower() not in ("off", "false", "no", "n", "f", "0")

    @property
    def maximum_lag(self) -> int:
        """The distance in bytes from which on no standby may take over."""
        return int(_number(self.maximum_lag_on_failover, 1_048_576))

    @property
    def lock(self) -> float:
        """After how many seconds a leader that is gone loses its lock."""
        return _number(self.ttl, 30)

    @property
    def start_timeout(self) -> float:
        """For how many seconds a leader may try to start its PostgreSQL; the older name counts where it has no new one."""
        given = (self.primary_start_timeout, self.master_start_timeout)
        return _number(next((seconds for seconds in given if seconds is not None), None), 300)

    @property
    def patience(self) -> float:
        """For how many seconds a member may not have reached the consensus store while all is well."""
        return max(10.0, _number(self.loop_wait, 10) + _number(self.retry_timeout, 10))


def _number(given: float | str | None, usual: float) -> float:
    """The number that Patroni takes a value for: what is none (also one with a unit) counts as not given."""
    try:
        number = usual if given is None else float(given)
    except ValueError:
        return usual
    return number if math.isfinite(number) else usual
