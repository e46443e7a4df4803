"""Patroni's REST API: the members of a cluster, and who would take over."""

from __future__ import annotations

import asyncio

import msgspec

from exporter.http import Http, HttpSettings
from exporter.reply import Reply
from exporter.verdict import ProbeError

__all__ = ["Member", "PatroniCluster", "read_cluster"]

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


class _Self(msgspec.Struct, frozen=True):
    database_system_identifier: str = ""


class _Configuration(msgspec.Struct, frozen=True):
    synchronous_mode: bool | str | None = None

    @property
    def synchronous(self) -> bool:
        """Whether the mode is on, in any of the words that Patroni takes for it."""
        return str(self.synchronous_mode or "off").lower() not in ("off", "false", "no", "n", "f", "0")


async def read_cluster(settings: HttpSettings) -> PatroniCluster:
    """The cluster, with PostgreSQL's identifier of it. Raises ProbeError when the member does not tell."""
    http = Http(settings)
    try:
        replies = await asyncio.gather(
            http.get("/cluster"),
            http.get("/patroni", expect=(200, 503)),  # 503 while its PostgreSQL does not run
            http.get("/config"),
            return_exceptions=True,
        )
    finally:
        await http.close()
    for reply in replies:
        if isinstance(reply, BaseException):
            raise reply
    cluster, member, configuration = (reply for reply in replies if isinstance(reply, Reply))
    try:
        found = msgspec.json.decode(cluster.body, type=PatroniCluster)
        identifier = msgspec.json.decode(member.body, type=_Self).database_system_identifier
        mode = msgspec.json.decode(configuration.body, type=_Configuration).synchronous
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ProbeError(f"{settings.url} does not answer as Patroni does: {error}.") from None
    return msgspec.structs.replace(found, system_identifier=identifier, synchronous=mode)
