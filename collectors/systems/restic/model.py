"""What restic says of a repository: its snapshots, and what a check of it found."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Annotated

import msgspec
from pydantic import Field

from exporter.options import Duration, Options, Secret, Size

__all__ = ["Checked", "Restic", "Snapshot", "own_snapshots"]


class Restic(Options):
    """A repository of restic, and whose snapshots in it are meant. It is read without a lock: nothing is written into it."""

    repository: Secret = Field(
        description="The repository, as restic's option -r takes it, such as s3:https://host/bucket."
    )
    password: Secret = Field(description="Its password.")
    environment: dict[str, Secret] = Field(
        default_factory=dict, description="Further variables that restic needs, such as AWS_ACCESS_KEY_ID."
    )
    command: tuple[str, ...] = Field(
        ("restic",), min_length=1, description="The program and what comes before its arguments; run without a shell."
    )
    host: str = Field(min_length=1, description="Host name that the snapshots have.")
    paths: tuple[Annotated[str, Field(pattern="^/")], ...] = Field(
        min_length=1, description="Paths that each snapshot must have, as restic lists them."
    )
    tags: tuple[str, ...] = Field((), description="Tags that they have, where there are others of the same host.")
    max_age: Duration = Field(timedelta(hours=26), gt=timedelta(0), description="Maximum age of the newest snapshot.")
    min_size: Size = Field(1, ge=1, description="Minimum size of the files in a snapshot.")
    read_data: str = Field(
        "5%",
        pattern=r"^(100|[1-9][0-9]?(\.[0-9]+)?|0\.[0-9]*[1-9][0-9]*)%$",
        description="Share of the data that a check reads, a different part each time, such as 5%.",
    )
    check_every: Duration = Field(
        timedelta(days=1), gt=timedelta(0), description="How long a check that found nothing is valid."
    )
    timeout: Duration = Field(
        timedelta(seconds=30), gt=timedelta(0), description="How long listing snapshots may take."
    )
    check_timeout: Duration = Field(timedelta(minutes=30), gt=timedelta(0), description="How long a check may take.")


class _Summary(msgspec.Struct, frozen=True):
    total_bytes_processed: int | None = None
    files_new: int | None = None
    files_changed: int | None = None
    total_files_processed: int | None = None


class Snapshot(msgspec.Struct, frozen=True):
    """One snapshot. Versions before 0.17 do not say how large it is."""

    id: str
    time: datetime
    hostname: str = ""
    paths: list[str] = []
    tags: list[str] | None = None
    summary: _Summary | None = None

    @property
    def size(self) -> int | None:
        """Bytes of the files in it, None where that is not known."""
        return self.summary.total_bytes_processed if self.summary else None

    def is_same_as(self, before: Snapshot) -> bool:
        """Whether it has the files of the one before it, and each as it was: none is new, changed or gone."""
        own, other = self.summary, before.summary
        return (
            own is not None
            and other is not None
            and own.files_new == 0 == own.files_changed
            and own.total_files_processed == other.total_files_processed
            and own.total_bytes_processed == other.total_bytes_processed
        )


class Checked(msgspec.Struct, frozen=True):
    """What a check found."""

    num_errors: int
    broken_packs: list[str] | None = None


def own_snapshots(snapshots: Iterable[Snapshot], restic: Restic) -> list[Snapshot]:
    """The snapshots that are meant, the newest first."""
    found = [
        one
        for one in snapshots
        if one.hostname == restic.host
        and set(restic.paths) <= set(one.paths)
        and set(restic.tags) <= set(one.tags or ())
    ]
    return sorted(found, key=lambda one: one.time, reverse=True)
