"""Free space on a volume, as kubelet, node_exporter or the local file system report it.

No data store shows how much its disk has left, so this is asked of those who see the disk.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from collectors.systems.prometheus.client import Prometheus
from collectors.systems.prometheus.model.promql import selector
from collectors.systems.prometheus.model.volumes import STALE_AFTER, Space, Volume
from exporter.collector import Collector
from exporter.options import format_duration
from exporter.verdict import ProbeError, Reason

__all__ = ["measure_space"]

_KUBELET = (
    ("kubelet_volume_stats_{}_bytes", "available", "capacity"),
    ("kubelet_volume_stats_{}", "inodes_free", "inodes"),
)
_NODE = ("node_filesystem_{}_bytes", "avail", "size"), ("node_filesystem_{}", "files_free", "files")


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


def _local_space(path: Path) -> Space:
    try:
        found = os.statvfs(path)
    except OSError as error:
        raise ProbeError(
            f"The file system of {path} cannot be asked for its free space: {error.strerror}.", Reason.DENIED
        ) from None
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
                "(not every storage driver reports it).",
                Reason.MISSING,
            )
    if any(len(values) > 1 for values in series.values()):
        raise ProbeError(
            f"{what} matches {len(series[names[0]])} volumes, where one was wanted; name more labels.",
            Reason.NOT_CONFIGURED,
        )
    for sample in await prometheus.query(f"timestamp({what})"):
        if sample.timestamp - sample.value > STALE_AFTER.total_seconds():
            raise ProbeError(f"{what} was last scraped more than {format_duration(STALE_AFTER)} ago.", Reason.STALE)
    free, size, free_inodes, inodes = (series.get(name, [0.0])[0] for name in names)
    if not free <= size:  # also when one of them is no number
        raise ProbeError(f"{what} is {free:g} on a volume of {size:g} bytes, which cannot be.", Reason.CONTRADICTED)
    return Space(free, size, free_inodes, inodes)
