"""What `pgbackrest info` writes of a stanza, and how pgBackRest is run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec
from pydantic import Field

from collectors.shared.decoding import UnixTime
from collectors.systems.postgresql.model.segments import Lineage, segment_number
from exporter.options import Duration, Options

__all__ = [
    "Archive",
    "Backup",
    "Needed",
    "PgBackRest",
    "Repository",
    "RepositorySchedule",
    "Segments",
    "Stanza",
    "Stored",
]

_SEGMENT = re.compile(r"(?:^|/)([0-9A-F]{24})-[0-9a-f]{40}(\.[a-z0-9]+)?$")
_HISTORY = re.compile(r"(?:^|/)([0-9A-F]{8})\.history$")
#: What compressing any segment makes at least: bzip2 makes a hundred bytes of one that is empty but for its head, 14 of nothing.
_LEAST_COMPRESSED = 64


class RepositorySchedule(Options):
    """How old the backups of one repository may be."""

    backup_max_age: Duration | None = Field(None, description="Maximum age of its newest complete backup.")
    full_backup_max_age: Duration | None = Field(None, description="Maximum age of its newest full backup.")


class PgBackRest(Options):
    """How to run pgBackRest where the exporter runs: it needs only the repository's part of its configuration."""

    stanza: str = Field(min_length=1, description="Stanza of the cluster.")
    command: tuple[str, ...] = Field(
        ("pgbackrest",), min_length=1, description="The program and what comes before `info`; run without a shell."
    )
    config: Path | None = Field(None, description="Its configuration file; pgBackRest's own default if not given.")
    repositories: dict[int, RepositorySchedule] = Field(
        default_factory=dict,
        description="Repositories, by their number, that are filled by another schedule than the limits allow: "
        "`{2: {backup_max_age: 8d, full_backup_max_age: 8d}}`.",
    )
    timeout: Duration = Field(
        timedelta(seconds=8), gt=timedelta(0), description="How long it may take, object storage included."
    )


class _Struct(msgspec.Struct, frozen=True, rename="kebab", gc=False):
    """Part of the JSON that `pgbackrest info` writes."""


class _Code(_Struct, frozen=True):
    code: int
    message: str = ""


class _Span(_Struct, frozen=True):
    start: UnixTime
    stop: UnixTime


class _Database(_Struct, frozen=True):
    id: int
    repo_key: int = 1


class _Cluster(_Database, frozen=True):
    system_id: int = 0


class Archive(_Struct, frozen=True):
    """The first and last WAL segment that a repository holds of one history of the database, which it keeps under `id`."""

    database: _Database
    id: str = ""
    min: str | None = None
    max: str | None = None


class Needed(_Struct, frozen=True):
    """The first and last WAL segment without which a backup is not consistent."""

    start: str | None = None
    stop: str | None = None


class _Size(_Struct, frozen=True):
    size: int = 0


class Backup(_Struct, frozen=True):
    """One backup. `error` is true when pages with wrong checksums were found in it, `type` is full, diff or incr.

    `reference` are the labels of the earlier backups without which an incremental one is nothing.
    """

    label: str
    type: str
    timestamp: _Span
    database: _Database
    error: bool | None = None
    archive: Needed = Needed()
    reference: list[str] | None = None
    info: _Size = _Size()

    @property
    def size(self) -> int:
        """Bytes of the cluster that was backed up; 0 where that is not known."""
        return self.info.size

    @property
    def timeline(self) -> int | None:
        """The timeline on which it was taken; None where it names no WAL."""
        return int(self.archive.start[:8], 16) if self.archive.start else None

    @property
    def first_segment(self) -> str | None:
        """The first WAL segment that it needs; None where it names none."""
        return self.archive.start

    @property
    def stopped(self) -> datetime:
        """When it was complete."""
        return datetime.fromtimestamp(self.timestamp.stop, UTC)


class Repository(_Struct, frozen=True):
    """One repository. `cipher` is `none` when it is not encrypted."""

    key: int
    cipher: str
    status: _Code


class Stored(_Struct, frozen=True):
    """A file or folder of a repository, with its bytes."""

    type: str = ""
    size: int = 0


class Segments(NamedTuple):
    """The WAL segments that a repository holds: the names of those that are whole by their size, and the bytes of the others.

    `histories` are the timelines of which it holds the history file.
    """

    whole: frozenset[str]
    cut: Mapping[str, int]
    histories: frozenset[int] = frozenset()

    @classmethod
    def of(cls, stored: Mapping[str, Stored], size: int) -> Segments:
        """Those of an archive; `size` is that of a segment, in bytes. How large a compressed one has to be is not known."""
        whole, cut = set(), {}
        histories = frozenset(int(found[1], 16) for path in stored if (found := _HISTORY.search(path)))
        for path, its in stored.items():
            if found := _SEGMENT.search(path):
                if its.size < (_LEAST_COMPRESSED if found[2] else size):
                    cut[found[1]] = its.size
                else:
                    whole.add(found[1])
        return cls(frozenset(whole), {name: size for name, size in cut.items() if name not in whole}, histories)

    def along(self, lineage: Lineage, size: int) -> Segments:
        """Those from which a timeline is restored: what another one wrote at the same place is no replacement."""

        def ours(name: str) -> bool:
            return lineage.timeline_of(segment_number(name, size), size) == int(name[:8], 16)

        cut = {name: held for name, held in self.cut.items() if ours(name)}
        return Segments(frozenset(filter(ours, self.whole)), cut, self.histories)


class Stanza(_Struct, frozen=True):
    """What all repositories hold of one cluster; `status.code` is 0 when all is well."""

    name: str
    status: _Code
    backup: list[Backup] = []
    archive: list[Archive] = []
    db: list[_Cluster] = []
    repo: list[Repository] = []

    def by_repository(self) -> dict[int, Stanza]:
        """What each repository holds, by its number, with its own status."""
        return {
            repo.key: msgspec.structs.replace(
                self,
                status=repo.status,
                backup=[backup for backup in self.backup if backup.database.repo_key == repo.key],
                archive=[archive for archive in self.archive if archive.database.repo_key == repo.key],
                db=[cluster for cluster in self.db if cluster.repo_key == repo.key],
                repo=[repo],
            )
            for repo in self.repo
        }

    def system_ids(self, database: _Database) -> set[str]:
        """The system identifiers of the cluster that a backup or an archive is of."""
        return {str(db.system_id) for db in self.db if (db.id, db.repo_key) == (database.id, database.repo_key)}
