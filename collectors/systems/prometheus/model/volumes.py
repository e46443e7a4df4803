"""Volumes, who is asked about them, and what they have left."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Self

from pydantic import Field, model_validator

from collectors.systems.prometheus.model.promql import selector
from exporter.options import Options, Size

__all__ = ["MIN_FREE", "MIN_FREE_RATIO", "STALE_AFTER", "Space", "Volume", "is_temporary"]

MIN_FREE = 50 * 10**9
MIN_FREE_RATIO = 0.15
STALE_AFTER = timedelta(minutes=5)
#: Folders that a restart of the machine or the container empties.
_TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm", "/run", "/var/run")  # noqa: S108  # compared with, never written to


class Volume(Options):
    """One volume and who is asked about it: exactly one of `claim`, `mountpoint` and `path`."""

    name: str = Field("data", min_length=1, description="What is stored on it: data, wal, or the name of a tablespace.")
    claim: str | None = Field(
        None,
        pattern=r"^[^/]+/[^/]+$",
        description="Persistent volume claim, namespace/name: kubelet's `kubelet_volume_stats_*` series in Prometheus.",
    )
    mountpoint: str | None = Field(
        None, description="Where the host mounts it: node_exporter's `node_filesystem_*` series in Prometheus."
    )
    path: Path | None = Field(None, description="Where this machine mounts it: read from the local file system.")
    labels: dict[str, str] = Field(
        default_factory=dict, description="Labels that the series must have, such as instance or cluster."
    )
    min_free: Size = Field(MIN_FREE, description="Space that must be free.")
    min_free_ratio: float = Field(MIN_FREE_RATIO, ge=0, le=1, description="Share of the volume that must be free.")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(source is not None for source in (self.claim, self.mountpoint, self.path)) != 1:
            raise ValueError("expected exactly one of claim, mountpoint and path")
        if self.path is not None and not self.path.is_absolute():
            raise ValueError("expected an absolute path")
        selector("", self.labels)
        return self


@dataclass(frozen=True, slots=True)
class Space:
    """What a volume has, in bytes. Inodes are 0 on file systems that make them as needed."""

    free: float
    size: float
    free_inodes: float
    inodes: float


def is_temporary(folder: str) -> bool:
    """Whether a folder, as a server names it, does not outlive the machine or container."""
    return any(PurePosixPath(folder).is_relative_to(place) for place in _TEMPORARY)
