"""Whether pgBackRest holds what a cluster needs to be restored up to now."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import datetime, timedelta

from pydantic import SecretStr

from collectors.shared.verdicts import worst_of
from collectors.systems.postgresql.client.instances import Instances
from collectors.systems.postgresql.client.pgbackrest import (
    read_folder,
    read_history,
    read_labels,
    read_segments,
    read_stanza,
)
from collectors.systems.postgresql.judge.backups import (
    archive_of,
    file_problems,
    judge_archive,
    judge_archiver,
    judge_backup,
    judge_retention,
    newest_backup,
    restorable_problems,
)
from collectors.systems.postgresql.judge.recovery_point import judge_recovery_point
from collectors.systems.postgresql.model.instance import Archiver
from collectors.systems.postgresql.model.options import ClusterLimits
from collectors.systems.postgresql.model.pgbackrest import Archive, Backup, PgBackRest, Segments, Stanza
from collectors.systems.postgresql.model.recovery_point import WalState
from collectors.systems.postgresql.model.segments import Lineage
from exporter.verdict import Reason, Result, unknown, worst

__all__ = ["Primary", "ask_position", "ask_primary", "see_backups", "see_recovery_point", "see_retained", "see_wal"]

#: Of a backup that only has to be restorable, however old: what is after it comes from the WAL.
_ANY_AGE = ClusterLimits(backup_max_age=timedelta(days=36500), full_backup_max_age=timedelta(days=36500))


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


async def ask_position(dsn: SecretStr, timeout: timedelta) -> tuple[str, Archiver, WalState]:
    """The system identifier of the primary, how it archives, and where it writes.

    Asked before a repository, which then has all that the primary believes to be archived. Raises ProbeError as `ask_primary`.
    """
    async with AsyncExitStack() as resources:
        primary = (await Instances.open(dsn, timeout, resources)).primary()
        return primary.instance.identity.system_identifier, await primary.archiver(), await primary.wal_state()


async def see_backups(
    primary: Primary, stanza: Stanza, settings: PgBackRest, limits: ClusterLimits, now: datetime
) -> Result:
    """Whether there is a fresh backup of this very cluster, with all the WAL that was archived since. Raises ProbeError."""
    archiver = primary.archiver
    fresh = judge_backup(stanza, primary.system_identifier, now, limits, archiver.timeline, settings.repositories)
    held = await worst_of(see_wal(primary.system_identifier, archiver, stanza, settings, now))
    return worst(fresh, judge_archiver(archiver, limits), held)


async def see_wal(cluster: str, archiver: Archiver, stanza: Stanza, settings: PgBackRest, now: datetime) -> Result:
    """Whether each repository of a stanza holds all WAL since its newest backup of a cluster. Raises ProbeError."""
    repositories = {f"repository {key}": held for key, held in stanza.by_repository().items()}
    if len(repositories) < 2:
        repositories = {"the repository": stanza}
    parts = [
        _wal(held, backup, archiver, settings, name)
        for name, held in repositories.items()
        if (backup := newest_backup(held, cluster, archiver.timeline, now)) is not None
    ]
    if not parts:
        return unknown("Without a backup, whether its WAL is archived was not checked.", reason=Reason.MISSING)
    return await worst_of(*parts)


async def _wal(stanza: Stanza, backup: Backup, archiver: Archiver, settings: PgBackRest, repository: str) -> Result:
    archive = archive_of(stanza, backup)
    segments, lineage = await _segments(settings, archive, backup, archiver)
    held = judge_archive(archive, segments, backup, archiver, stanza.name, repository, lineage)
    folders = {label: await read_folder(settings, backup, label) for label in (backup.label, *(backup.reference or ()))}
    return worst(held, *file_problems(backup, folders, repository))


async def see_retained(
    primary: Primary, stanza: Stanza, settings: PgBackRest, retention: timedelta, min_fulls: int, now: datetime
) -> Result:
    """Whether the stanza holds full backups of this cluster as old as they have to be, each of which can be restored.

    Raises ProbeError when pgBackRest cannot be run.
    """
    problems: list[Result] = []
    for key, held in stanza.by_repository().items():
        labels = await read_labels(settings, key)
        for archive in held.archive:
            backups = [one for one in held.backup if one.database == archive.database and one.type == "full"]
            if backups and primary.system_identifier in held.system_ids(archive.database):
                segments = await read_segments(settings, archive, primary.archiver.segment_size)
                problems += restorable_problems(backups, labels, segments.whole, primary.archiver.segment_size, key)
    retained = judge_retention(stanza, primary.system_identifier, retention, min_fulls, now)
    return worst(retained, *problems)


async def _segments(
    settings: PgBackRest, archive: Archive | None, backup: Backup, archiver: Archiver
) -> tuple[Segments, Lineage | None]:
    """What a repository holds of the WAL from a backup to the primary's timeline, and how that descends from the backup's.

    Where its history is not there, the lineage is None, and the segments are those of all timelines.
    """
    if archive is None:
        return Segments(frozenset(), {}), None
    segments = await read_segments(settings, archive, archiver.segment_size)
    if backup.timeline == archiver.timeline:
        lineage = Lineage(archiver.timeline)
    elif backup.timeline is not None and archiver.timeline in segments.histories:
        lineage = await read_history(settings, archive, archiver.timeline)
    else:
        return segments, None
    return segments.along(lineage, archiver.segment_size), lineage


async def see_recovery_point(
    dsn: SecretStr, settings: PgBackRest, limits: ClusterLimits, at_most: timedelta, store: str, now: datetime
) -> Result:
    """Whether all that was committed longer ago than `at_most` could be restored from a backup and the WAL after it.

    Raises ProbeError when the primary or pgBackRest cannot be asked.
    """
    cluster, archiver, wal = await ask_position(dsn, limits.query_timeout)
    stanza = await read_stanza(settings)
    restorable = judge_backup(stanza, cluster, now, _ANY_AGE, archiver.timeline)
    backup = newest_backup(stanza, cluster, archiver.timeline, now)
    if backup is None:
        return restorable
    archive = archive_of(stanza, backup)
    segments, lineage = await _segments(settings, archive, backup, archiver)
    point = judge_recovery_point(wal, archiver, segments.whole, backup, at_most, store)
    if archiver.archive_mode == "off":
        return worst(point, restorable)
    return worst(point, judge_archive(archive, segments, backup, archiver, stanza.name, lineage=lineage), restorable)
