"""What WAL-G says of the backups and the WAL in its storage, and how it is run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import msgspec
from pydantic import Field

from collectors.systems.postgresql.model.segments import segment_name, segment_number
from exporter.options import Duration, Options, Secret, Size

__all__ = ["Backup", "Range", "Verified", "WalG", "own_backups"]

_DELTA = re.compile(r"base_[0-9A-F]{24}_D_([0-9A-F]{24})")
_MOST = 1_000_000


class WalG(Options):
    """How to run WAL-G where the exporter runs, with what reaches its storage."""

    command: tuple[str, ...] = Field(
        ("wal-g",), min_length=1, description="The program and what comes before its arguments; run without a shell."
    )
    environment: dict[str, Secret] = Field(
        default_factory=dict, description="Variables that WAL-G needs, such as WALG_S3_PREFIX and AWS_ACCESS_KEY_ID."
    )
    max_age: Duration = Field(timedelta(hours=26), gt=timedelta(0), description="Maximum age of the newest backup.")
    full_max_age: Duration = Field(
        timedelta(days=8),
        gt=timedelta(0),
        description="Maximum age of the newest full backup; deltas cannot be restored without it.",
    )
    max_lag: Duration = Field(
        timedelta(minutes=15),
        gt=timedelta(0),
        description="How long ago a WAL segment that the storage lacks may have been finished.",
    )
    max_missing: Size = Field(2**30, gt=0, description="How much WAL the storage may lack.")
    timeout: Duration = Field(timedelta(minutes=1), gt=timedelta(0), description="How long one command may take.")


class Backup(msgspec.Struct, frozen=True):
    """One backup of `backup-list --detail --json`. `system_identifier` is null for those of older releases."""

    backup_name: str
    finish_time: datetime
    wal_file_name: str = ""
    system_identifier: int | None = None
    uncompressed_size: int = 0
    compressed_size: int = 0

    @property
    def label(self) -> str:
        """Its name."""
        return self.backup_name

    @property
    def first_segment(self) -> str | None:
        """The first WAL segment that it needs."""
        found = re.search(r"base_([0-9A-F]{24})", self.backup_name)
        return self.wal_file_name or (found[1] if found else None)

    @property
    def base_segment(self) -> str | None:
        """The segment by which the earlier backup is named that this one, a delta, needs; None for a full one."""
        found = _DELTA.match(self.backup_name)
        return found[1] if found else None


class Range(msgspec.Struct, frozen=True):
    """Segments that follow each other, all of one status: FOUND, or MISSING_ and why."""

    start_segment: str
    end_segment: str
    status: str
    segments_count: int = 0

    def names(self, size: int) -> Iterator[str]:
        """Their names, where there are not far too many."""
        first, last = (segment_number(name, size) for name in (self.start_segment, self.end_segment))
        for number in range(first, min(last, first + _MOST) + 1):
            yield segment_name(number, int(self.start_segment[:8], 16), size)


class _Integrity(msgspec.Struct, frozen=True):
    status: str
    details: list[Range] | None = None


class _Timelines(msgspec.Struct, frozen=True):
    current_timeline_id: int = 0
    highest_storage_timeline_id: int = 0


class _Timeline(msgspec.Struct, frozen=True):
    status: str
    details: _Timelines = _Timelines()


class Verified(msgspec.Struct, frozen=True):
    """What `wal-verify integrity timeline --json` says of the WAL since one backup."""

    integrity: _Integrity
    timeline: _Timeline

    def segments(self, size: int) -> frozenset[str]:
        """The names of the segments that the storage has."""
        found = self.integrity.details or ()
        return frozenset(name for one in found if one.status == "FOUND" for name in one.names(size))


def own_backups(backups: Sequence[Backup], cluster: str) -> list[Backup]:
    """The backups of the cluster with this system identifier, and those that do not show it; the newest first."""
    found = [one for one in backups if one.system_identifier is None or str(one.system_identifier) == cluster]
    return sorted(found, key=lambda one: one.finish_time, reverse=True)
