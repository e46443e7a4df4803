"""Patroni's REST API: the members of a cluster, and who would take over."""

from __future__ import annotations

import asyncio

import msgspec

from collectors.systems.postgresql.model.patroni import Configuration, MemberStatus, PatroniCluster
from exporter.http import Http, HttpSettings
from exporter.reply import Reply
from exporter.verdict import ProbeError

__all__ = ["read_cluster"]


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
        identifier = msgspec.json.decode(member.body, type=MemberStatus).database_system_identifier
        mode = msgspec.json.decode(configuration.body, type=Configuration).synchronous
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ProbeError(f"{settings.url} does not answer as Patroni does: {error}.") from None
    return msgspec.structs.replace(found, system_identifier=identifier, synchronous=mode)
