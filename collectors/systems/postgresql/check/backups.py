"""Whether pgBackRest holds what a cluster needs to be restored up to now."""

from __future__ import annotations

from datetime import datetime

from pydantic import SecretStr

from collectors.shared.verdicts import worst_of
from collectors.systems.postgresql.client.connection import parse_dsn
from collectors.systems.postgresql.client.pgbackrest import read_segments
from collectors.systems.postgresql.client.session import Session
from collectors.systems.postgresql.judge.backups import (
    archive_of,
    judge_archive,
    judge_archiver,
    judge_backup,
    newest_backup,
)
from collectors.systems.postgresql.model.instance import Archiver
from collectors.systems.postgresql.model.options import ClusterLimits
from collectors.systems.postgresql.model.pgbackrest import Backup, PgBackRest, Stanza
from exporter.verdict import ProbeError, Reason, Result, worst

__all__ = ["Primary", "ask_primary", "see_backups"]


class Primary:
    """What a cluster's primary says of itself: who it is, and how it archives."""

    def __init__(self, system_identifier: str, archiver: Archiver) -> None:
        self.system_identifier = system_identifier
        self.archiver = archiver


async def ask_primary(dsn: SecretStr, limits: ClusterLimits) -> Primary:
    """Ask the primary among the instances of a connection string. Raises ProbeError when none was found."""
    problems: list[str] = []
    for parameters in parse_dsn(dsn):
        try:
            session = await Session.open(parameters, limits.query_timeout)
        except ProbeError as error:
            problems.append(str(error))
            continue
        try:
            identity = session.instance.identity
            if identity.in_recovery:
                continue
            if not identity.may_monitor:
                raise ProbeError(
                    f"Role {session.instance.role} does not have the rights of pg_monitor on {session.instance.where}.",
                    Reason.DENIED,
                )
            return Primary(identity.system_identifier, await session.archiver())
        finally:
            await session.close()
    raise ProbeError(" ".join(["No primary was found among the instances of the connection string.", *problems]))


async def see_backups(
    primary: Primary, stanza: Stanza, settings: PgBackRest, limits: ClusterLimits, now: datetime
) -> Result:
    """Whether there is a fresh backup of this very cluster, with all the WAL that was archived since. Raises ProbeError."""
    archiver = primary.archiver
    fresh = judge_backup(stanza, primary.system_identifier, now, limits, archiver.timeline)
    seen = worst(fresh, judge_archiver(archiver, limits))
    backup = newest_backup(stanza, primary.system_identifier, archiver.timeline, now)
    return seen if backup is None else worst(seen, await worst_of(_wal(stanza, backup, archiver, settings)))


async def _wal(stanza: Stanza, backup: Backup, archiver: Archiver, settings: PgBackRest) -> Result:
    archive = archive_of(stanza, backup)
    segments = await read_segments(settings, archive) if archive is not None else frozenset()
    return judge_archive(archive, segments, backup, archiver, stanza.name)
