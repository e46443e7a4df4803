"""What Patroni reports: the members of a cluster, and who would take over."""

from __future__ import annotations

import msgspec

__all__ = ["Configuration", "Member", "MemberStatus", "PatroniCluster"]

LEADERS = ("leader", "master", "primary")
SYNCHRONOUS = ("sync_standby", "quorum_standby")
STANDBYS = ("replica", *SYNCHRONOUS)
FOLLOWING = ("running", "streaming")


class Member(msgspec.Struct, frozen=True):
    """One member. `lag` is in bytes, or a word where Patroni does not know it."""

    name: str
    role: str
    state: str
    timeline: int = 0
    lag: int | str = 0
    tags: dict[str, object] = {}

    @property
    def leads(self) -> bool:
        """Whether it is a running leader."""
        return self.role in LEADERS and self.state == "running"

    def could_lead(self, max_lag: int, *, synchronous: bool) -> bool:
        """Whether it follows closely enough to take over, and is not kept from it by a tag, or by not being synchronous."""
        return (
            self.role in (SYNCHRONOUS if synchronous else STANDBYS)
            and self.state in FOLLOWING
            and isinstance(self.lag, int)
            and self.lag <= max_lag
            and not self.tags.get("nofailover")
        )


class PatroniCluster(msgspec.Struct, frozen=True):
    """The cluster as the asked member sees it. While `pause` is true, nobody takes over by itself.

    `synchronous` is true in synchronous mode, in which Patroni lets synchronous standbys alone take over.
    """

    members: list[Member]
    pause: bool = False
    system_identifier: str = ""
    synchronous: bool = False


class MemberStatus(msgspec.Struct, frozen=True):
    """What a member reports of itself."""

    database_system_identifier: str = ""


class Configuration(msgspec.Struct, frozen=True):
    """The part of the cluster's dynamic configuration by which Patroni fails over."""

    synchronous_mode: bool | str | None = None

    @property
    def synchronous(self) -> bool:
        """Whether the mode is on, in any of the words that Patroni takes for it."""
        return str(self.synchronous_mode or "off").lower() not in ("off", "false", "no", "n", "f", "0")
