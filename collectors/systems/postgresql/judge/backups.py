"""Whether backups are fresh and complete, and WAL is archived."""

from __future__ import annotations

import re
import shlex
from datetime import datetime, timedelta
from typing import Any

from collectors.systems.postgresql.model.instance import (
    Archiver,
)
from collectors.systems.postgresql.model.pgbackrest import Stanza
from exporter.options import format_duration
from exporter.verdict import Result, failed, ok, unknown


def judge_backup(stanza: Stanza, cluster: str, now: datetime, max_age: timedelta) -> Result:
    """Whether the stanza holds a recent, complete backup without bad pages of the cluster with this system identifier."""
    if stanza.status.code != 0:
        return failed(f"pgBackRest stanza {stanza.name} is not well: {stanza.status.message}.")
    ours = [backup for backup in stanza.backup if cluster in stanza.system_ids(backup.database)]
    if not ours:
        held = f"{len(stanza.backup)} backups of other clusters" if stanza.backup else "no backup"
        return failed(f"pgBackRest stanza {stanza.name} holds {held} and none of cluster {cluster}.")
    newest = max(ours, key=lambda backup: backup.stopped)
    age = now - newest.stopped
    measured: dict[str, Any] = {"backup_age_seconds": age.total_seconds()}
    if newest.error:
        return failed(f"Backup {newest.label} holds pages with wrong checksums.", **measured)
    seen = f"Backup {newest.label} was complete {age.total_seconds() / 3600:.1f} h ago"
    if age > max_age:
        return failed(f"{seen} (limit {format_duration(max_age)}).", **measured)
    return ok(f"{seen}.", **measured)


#: Programs that report success and store nothing.
_IDLE_PROGRAMS = {":", "true", "exit", "echo", "printf", "test", "["}


def _stores(command: str) -> bool:
    """Whether an archive_command could store a segment: one of its parts hands it to a program that does something."""
    without_redirections = re.sub(r"\d*>+(&\d|\s*\S+)", "", command)
    return any(_stores_alone(part) for part in re.split(r"&&|\|\||[;|]", without_redirections))


def _stores_alone(command: str) -> bool:
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    program = words[0].rpartition("/")[2] if words else ""
    return program not in _IDLE_PROGRAMS and words[-1:] != ["/dev/null"] and re.search(r"%[pf]", command) is not None


def judge_archiver(archiver: Archiver, max_ready: int) -> Result:
    """Whether PostgreSQL archives its WAL, by what it says itself."""
    measured: dict[str, Any] = {"wal_segments_waiting": float(archiver.ready)}
    if archiver.archive_mode == "off":
        return failed("WAL archiving is off (archive_mode).", **measured)
    if not archiver.archive_library and not _stores(archiver.archive_command):
        return failed(f"archive_command stores nothing: {archiver.archive_command!r}.", **measured)
    if archiver.ready > max_ready:
        return failed(f"{archiver.ready} WAL segments wait to be archived (limit {max_ready}).", **measured)
    if archiver.last_failed_time and (
        archiver.last_archived_time is None or archiver.last_failed_time >= archiver.last_archived_time
    ):
        return failed(
            f"Archiving of {archiver.last_failed_wal} failed at {archiver.last_failed_time:%F %T %Z}.", **measured
        )
    if archiver.last_archived_time is None:
        return unknown("No WAL segment was archived since the statistics were reset.", **measured)
    return ok(f"WAL is archived, {archiver.ready} segments wait.", **measured)


def judge_archive(stanza: Stanza, cluster: str, archiver: Archiver) -> Result:
    """Whether the repository holds what PostgreSQL believes to be archived. `stanza` has to be newer than `archiver`."""
    held = max(
        (archive.max or "" for archive in stanza.archive if cluster in stanza.system_ids(archive.database)), default=""
    )
    if not held:
        return failed(f"pgBackRest stanza {stanza.name} holds no WAL of cluster {cluster}.")
    # A backup label file is named after its segment; a timeline's history file is no segment, and sorts before any.
    segment = (archiver.last_archived_wal or "")[:24]
    if held < segment and not segment.endswith(".history"):
        return failed(f"PostgreSQL believes WAL segment {segment} to be archived, but the repository ends at {held}.")
    return ok(f"The repository holds WAL up to {held}.")
