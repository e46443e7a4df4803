"""What barman says of a server's backups, and how it is run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from pathlib import Path

import msgspec
from pydantic import Field

from exporter.options import Duration, Options, Size

__all__ = ["Barman", "Base", "Catalog", "Check", "Found", "Listed", "Shown", "State", "Verified"]


class Barman(Options):
    """How to run barman, as the user that it belongs to: here, or by ssh where it is."""

    server: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", description="What barman calls the server.")
    command: tuple[str, ...] = Field(
        ("barman",),
        min_length=1,
        description="The program and what comes before its arguments, such as [ssh, barman@backup, barman]; run without a shell.",
    )
    config: Path | None = Field(None, description="Its configuration file; barman's own default if not given.")
    max_age: Duration = Field(timedelta(hours=26), gt=timedelta(0), description="Maximum age of the newest backup.")
    full_max_age: Duration = Field(
        timedelta(days=8),
        gt=timedelta(0),
        description="Maximum age of the newest full backup; incremental ones cannot be restored without it.",
    )
    max_lag: Duration = Field(
        timedelta(minutes=15),
        gt=timedelta(0),
        description="How long ago a WAL segment that barman lacks may have been finished.",
    )
    max_missing: Size = Field(2**30, gt=0, description="How much WAL barman may lack.")
    verify_every: Duration = Field(
        timedelta(days=7),
        gt=timedelta(0),
        description="How long a verification that found nothing is valid; it reads all files, and a part of the WAL.",
    )
    timeout: Duration = Field(timedelta(seconds=30), gt=timedelta(0), description="How long one command may take.")
    verify_timeout: Duration = Field(
        timedelta(hours=1), gt=timedelta(0), description="How long the verification may take."
    )


class Check(msgspec.Struct, frozen=True):
    """One of the checks that barman makes itself: OK or FAILED."""

    status: str


class State(msgspec.Struct, frozen=True):
    """One of the states of a server, as text."""

    message: str = ""


class Listed(msgspec.Struct, frozen=True):
    """One backup of the list, with the bytes of its files."""

    backup_id: str
    status: str = ""
    end_time_timestamp: str | None = None
    retention_status: str = "-"
    backup_type: str = ""
    size_bytes: int | None = None

    @property
    def ended(self) -> datetime | None:
        """When it was complete; None while it is not."""
        return moment(self.end_time_timestamp)

    @property
    def is_done(self) -> bool:
        """Whether it is complete, with all WAL that it needs."""
        return self.status == "DONE" and self.ended is not None

    @property
    def is_full(self) -> bool:
        """Whether it can be restored without an earlier one. Releases before 3.11 know no others, and show no type."""
        return self.backup_type != "incremental"


class Base(msgspec.Struct, frozen=True):
    """Where a backup begins and ends in the WAL, and its bytes: older releases call them disk_usage."""

    backup_method: str = ""
    begin_wal: str | None = None
    end_wal: str | None = None
    backup_size_bytes: int | None = None
    disk_usage_bytes: int | None = None


class _Wal(msgspec.Struct, frozen=True):
    last_available: str | None = None


class Catalog(msgspec.Struct, frozen=True):
    """Where a backup stands among the others."""

    parent_backup_id: str | None = None


class Shown(msgspec.Struct, frozen=True):
    """What barman knows of one backup. `system_id` is missing in older releases."""

    backup_id: str
    base_backup_information: Base = Base()
    wal_information: _Wal = _Wal()
    catalog_information: Catalog = Catalog()
    system_id: str | None = None

    @property
    def label(self) -> str:
        """Its identifier."""
        return self.backup_id

    @property
    def parent(self) -> str | None:
        """The backup without which this incremental one is nothing; None for a full one."""
        return self.catalog_information.parent_backup_id

    @property
    def first_segment(self) -> str | None:
        """The first WAL segment that it needs."""
        return self.base_backup_information.begin_wal

    @property
    def last_segment(self) -> str | None:
        """The last WAL segment that it needs to be consistent."""
        return self.base_backup_information.end_wal

    @property
    def has_manifest(self) -> bool:
        """Whether it was made with a manifest, as pg_basebackup makes one; for others somebody has to have it made."""
        return self.base_backup_information.backup_method == "postgres"

    @property
    def size(self) -> int | None:
        """Bytes of its files."""
        return self.base_backup_information.backup_size_bytes or self.base_backup_information.disk_usage_bytes


class Verified(Enum):
    """How a verification of all files ended: damaged where one is not what the backup's manifest says."""

    SOUND = auto()
    DAMAGED = auto()
    NO_MANIFEST = auto()
    NOT_RUN = auto()


class Found(msgspec.Struct, frozen=True):
    """All that was asked. `segments` follow the start of the newest complete backup without a gap.

    `parents` are the backups that an incremental `newest` needs, the next one first, up to the first that is not complete.
    `inactive` is whether barman was set to do nothing for the server.
    """

    checks: Mapping[str, Check]
    backups: list[Listed]
    newest: Shown | None
    segments: frozenset[str]
    parents: tuple[Shown, ...] = ()
    inactive: bool = False

    @property
    def lost(self) -> str | None:
        """The backup which the newest one needs and that is not there, or not complete."""
        chain = (self.newest, *self.parents)
        return chain[-1].parent if chain[-1] is not None else None

    @property
    def done(self) -> list[Listed]:
        """The complete backups that barman does not consider obsolete, the newest first."""
        found = [one for one in self.backups if one.is_done and one.retention_status != "OBSOLETE"]
        return sorted(found, key=lambda one: one.ended or _NEVER, reverse=True)


_NEVER = datetime.min.replace(tzinfo=UTC)


def moment(seconds: str | None) -> datetime | None:
    """The time that barman writes as seconds in a text; None where there is none."""
    try:
        return datetime.fromtimestamp(float(seconds), UTC) if seconds else None
    except (ValueError, OverflowError, OSError):
        return None
