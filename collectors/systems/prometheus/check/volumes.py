"""Free space on a volume, as kubelet, node_exporter or the local file system report it.

No data store tells how much its disk has left, so this is asked of those who see the disk.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any, Self

from pydantic import Field, model_validator

from collectors.systems.prometheus.client import Prometheus, selector
from exporter.collector import Collector
from exporter.options import Options, Size, format_duration
from exporter.verdict import ProbeError, Result, failed, ok
from exporter.words import format_size

__all__ = ["Space", "Volume", "is_temporary", "judge_space", "measure_space"]

MIN_FREE = 50 * 10**9
MIN_FREE_RATIO = 0.15
MIN_FREE_INODES_RATIO = 0.05
STALE_AFTER = timedelta(minutes=5)

#: Folders that a restart of the machine or the container empties.
_TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm", "/run", "/var/run")  # noqa: S108  # compared with, never written to

_KUBELET = (
    ("kubelet_volume_stats_{}_bytes", "available", "capacity"),
    ("kubelet_volume_stats_{}", "inodes_free", "inodes"),
)
_NODE = ("node_filesystem_{}_bytes", "avail", "size"), ("node_filesystem_{}", "files_free", "files")


class Volume(Options):
    """One volume and who is asked about it: exactly one of `claim`, `mountpoint` and `path`."""

    name: str = Field("data", min_length=1, description="What is kept on it: data, wal, or the name of a tablespace.")
    claim: str | None = Field(
        None,
        pattern=r"^[^/]+/[^/]+$",
        description="Persistent volume claim, namespace/name: kubelet's `kubelet_volume_stats_*` series in Prometheus.",
    )
    mountpoint: str | None = Field(
        None, description="Where the host mounts it: node_exporter's `node_filesystem_*` series in Prometheus."
    )
    path: Path | None = Field(None, description="Where this machine mounts it: the local file system is asked.")
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


async def measure_space(collector: Collector[Any, Any], volume: Volume) -> Space:
    """How much the volume has left. Raises ProbeError when nobody reports it, or not lately."""
    if volume.path is not None:
        return await collector.blocking(_local_space, volume.path)
    prometheus = collector.client(Prometheus)
    if volume.claim is not None:
        namespace, _, claim = volume.claim.partition("/")
        return await _reported_space(
            prometheus, _KUBELET, volume, {"namespace": namespace, "persistentvolumeclaim": claim}
        )
    assert volume.mountpoint is not None
    return await _reported_space(prometheus, _NODE, volume, {"mountpoint": volume.mountpoint})


def judge_space(volume: Volume, space: Space) -> Result:
    """Whether enough is free: bytes, share of the volume, and at least 5 % of the inodes."""
    prefix = "" if volume.name == "data" else f"{volume.name}_"
    ratio = space.free / space.size if space.size > 0 else 0.0
    measured = {f"{prefix}free_bytes": space.free, f"{prefix}free_ratio": ratio}
    return replace(_judged(volume, space, ratio), measurements=measured)


def _judged(volume: Volume, space: Space, ratio: float) -> Result:
    wanted = format_size(volume.min_free)
    if space.size < volume.min_free:
        return failed(f"Volume {volume.name} holds {format_size(space.size)} in all: {wanted} can never be free on it.")
    seen = f"Volume {volume.name} has {format_size(space.free)} free of {format_size(space.size)}"
    if space.free < volume.min_free:
        return failed(f"{seen} (limit {wanted}).")
    if ratio < volume.min_free_ratio:
        return failed(f"{seen}: {ratio:.1%} (limit {volume.min_free_ratio:.0%}).")
    if space.inodes > 0 and (inodes := space.free_inodes / space.inodes) < MIN_FREE_INODES_RATIO:
        return failed(f"Volume {volume.name} has {inodes:.1%} of its inodes free (limit {MIN_FREE_INODES_RATIO:.0%}).")
    return ok(f"{seen} ({ratio:.0%}, limit {wanted}).")


def _local_space(path: Path) -> Space:
    try:
        found = os.statvfs(path)
    except OSError as error:
        raise ProbeError(f"The file system of {path} cannot be asked for its free space: {error.strerror}.") from None
    return Space(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize, found.f_favail, found.f_files)


async def _reported_space(
    prometheus: Prometheus, families: tuple[tuple[str, str, str], ...], volume: Volume, labels: dict[str, str]
) -> Space:
    """The space that Prometheus knows of, from one series per metric, none older than five minutes."""
    names = [pattern.format(part) for pattern, *parts in families for part in parts]
    labels = labels | volume.labels
    series: dict[str, list[float]] = {}
    for sample in await prometheus.query(selector("", labels).replace("{", f'{{__name__=~"{"|".join(names)}", ', 1)):
        series.setdefault(sample.labels["__name__"], []).append(sample.value)
    what = selector(names[0], labels)
    for name in names[:2]:
        if name not in series:
            raise ProbeError(
                f"Prometheus has no series {selector(name, labels)}, so the free space of volume {volume.name} was not seen "
                "(not every storage driver reports it)."
            )
    if any(len(values) > 1 for values in series.values()):
        raise ProbeError(f"{what} matches {len(series[names[0]])} volumes, where one was wanted; name more labels.")
    for sample in await prometheus.query(f"timestamp({what})"):
        if sample.timestamp - sample.value > STALE_AFTER.total_seconds():
            raise ProbeError(f"{what} was last scraped more than {format_duration(STALE_AFTER)} ago.")
    free, size, free_inodes, inodes = (series.get(name, [0.0])[0] for name in names)
    if not free <= size:  # also when one of them is no number
        raise ProbeError(f"{what} is {free:g} on a volume of {size:g} bytes, which cannot be.")
    return Space(free, size, free_inodes, inodes)


def is_temporary(folder: str) -> bool:
    """Whether a folder, as a server names it, does not outlive the machine or container."""
    return any(PurePosixPath(folder).is_relative_to(place) for place in _TEMPORARY)
