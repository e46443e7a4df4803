"""Whether pgBackRest holds what a cluster needs to be restored up to now."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import datetime

from pydantic import SecretStr

from collectors.shared.verdicts import worst_of
from collectors.systems.postgresql.client.instances import Instances
from collectors.systems.postgresql.client.pgbackrest import read_segments
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
from exporter.verdict import Result, worst

__all__ = ["Primary", "ask_primary", "see_backups"]


class Primary:
    """What a cluster's primary says of itself: who it is, and how it archives."""

    def __init__(self, system_identifier: str, archiver: Archiver) -> None:
        self.system_identifier = system_identifier
        self.archiver = archiver


async def ask_primary(dsn: SecretStr, limits: ClusterLimits) -> Primary:
    """Ask the primary among the instances of a connection string. Raises ProbeError when none was found, or two."""
    async with AsyncExitStack() as resources:
        primary = (await Instances.open(dsn, limits.query_timeout, resources)).primary()
        return Primary(primary.instance.identity.system_identifier, await primary.archiver())


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
