"""Patroni's REST API: the members of a cluster, and who would take over."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from email.utils import parsedate_to_datetime

import msgspec

from collectors.systems.postgresql.model.patroni import Configuration, Member, MemberStatus, PatroniCluster, Report
from exporter.http import Http, HttpSettings
from exporter.reply import Reply
from exporter.verdict import ProbeError, Reason

__all__ = ["read_cluster"]


async def read_cluster(settings: HttpSettings) -> PatroniCluster:
    """The cluster, with PostgreSQL's identifier of it. A member that does not reach the consensus store may know no members.

    Raises ProbeError when the member does not answer as Patroni does.
    """
    async with Http(settings) as http:
        replies = await asyncio.gather(
            http.get("/cluster"),
            http.get("/patroni", expect=(200, 503)),  # 503 while its PostgreSQL does not run
            http.get("/config"),
            return_exceptions=True,
        )
    try:
        if isinstance(member := replies[1], Reply):
            status = msgspec.json.decode(member.body, type=MemberStatus)
            silence = _silence(member, status)
            cut_off = status.failsafe_mode_is_active or (silence or 0.0) > Configuration().patience
            if cut_off and not isinstance(replies[0], Reply):
                return PatroniCluster([], False, status.database_system_identifier, silence=silence, asked=status)
        for reply in replies:
            if isinstance(reply, BaseException):
                raise reply
        cluster, member, configuration = (reply for reply in replies if isinstance(reply, Reply))
        found = msgspec.json.decode(cluster.body, type=PatroniCluster)
        dynamic = msgspec.json.decode(configuration.body, type=Configuration)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ProbeError(f"{settings.url} does not answer as Patroni does: {error}.", Reason.MALFORMED) from None
    reports = {status.patroni.name: Report(status, silence), **await _reports(settings, found.members, status)}
    return msgspec.structs.replace(
        found,
        system_identifier=status.database_system_identifier,
        synchronous=dynamic.synchronous,
        maximum_lag=dynamic.maximum_lag,
        silence=silence,
        patience=dynamic.patience,
        ttl=dynamic.lock,
        start_timeout=dynamic.start_timeout,
        asked=status,
        reports=reports,
    )


async def _reports(settings: HttpSettings, members: Iterable[Member], asked: MemberStatus) -> dict[str, Report]:
    """What the standbys report of themselves, but for the asked one, each at the address that it announces."""
    others = [member for member in members if member.api_url and not member.leads and member.name != asked.patroni.name]
    found = await asyncio.gather(*(_report(settings, member.api_url) for member in others))
    return {member.name: report for member, report in zip(others, found, strict=True)}


async def _report(settings: HttpSettings, url: str) -> Report:
    """What the member at this address reports; asked without credentials, which reading does not need."""
    try:
        address = HttpSettings(url=url.removesuffix("/patroni"), tls=settings.tls, timeout=settings.timeout)
        async with Http(address) as http:
            reply = await http.get("/patroni", expect=(200, 503))
        status = msgspec.json.decode(reply.body, type=MemberStatus)
    except (ProbeError, ValueError):  # also pydantic's and msgspec's
        return Report()
    return Report(status, _silence(reply, status))


def _silence(reply: Reply, status: MemberStatus) -> float | None:
    """For how long a member has not reached the consensus store. Both times are its own: no other clock is compared."""
    try:
        now = parsedate_to_datetime(reply.headers["date"]).timestamp()
    except (KeyError, ValueError):
        return None
    return None if status.dcs_last_seen is None else now - status.dcs_last_seen
