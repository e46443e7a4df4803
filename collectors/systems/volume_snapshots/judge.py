"""Whether the volumes of a store have recent VolumeSnapshots that are ready, of the volumes that it has now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from collectors.shared.copies import age_problems, retention_problems
from collectors.systems.volume_snapshots.model import Copy, Volume, VolumeSnapshots
from exporter.verdict import Reason, Result, failed, unknown, warning
from exporter.words import counted

__all__ = ["kept_problems", "snapshot_problems"]


def snapshot_problems(
    claim: str, copies: Sequence[Copy], volume: Volume | None, options: VolumeSnapshots, now: datetime
) -> Iterator[Result]:
    """Why the newest snapshot of a claim, among its copies (newest first), is none that its volume could be restored from."""
    name = f"PersistentVolumeClaim {options.namespace}/{claim}"
    ready = [copy for copy in copies if copy.is_ready]
    if copies and copies[0].snapshot.status.error is not None and not copies[0].is_ready:
        yield failed(f"The last VolumeSnapshot of {name}, {copies[0].name}, reports an error.", reason=Reason.DOWN)
    if not ready:
        held = (
            f"None of {counted(len(copies), 'VolumeSnapshot')} of {name} is ready"
            if copies
            else f"{name} has no VolumeSnapshot"
        )
        yield failed(f"{held}.", reason=Reason.MISSING)
        return
    newest = ready[0]
    if newest.made is None:
        yield unknown(f"When VolumeSnapshot {newest.name} of {name} was taken is not recorded.", reason=Reason.MISSING)
        return
    yield from age_problems(f"The newest VolumeSnapshot of {name}, {newest.name},", newest.made, options.max_age, now)
    assert newest.content is not None
    source = newest.content.spec.source.volume_handle
    handle = volume.spec.csi.volume_handle if volume is not None and volume.spec.csi is not None else ""
    if source and handle and source != handle:
        yield failed(
            f"VolumeSnapshot {newest.name} is of another volume than {name} has now.", reason=Reason.CONTRADICTED
        )
    elif not (source and handle):
        yield unknown(f"Whether VolumeSnapshot {newest.name} is of the volume that {name} has now is not shown.")
    if newest.content.spec.deletion_policy != "Retain":
        yield warning(
            f"VolumeSnapshot {newest.name} is deleted with namespace {options.namespace} (deletionPolicy "
            f"{newest.content.spec.deletion_policy})."
        )
    if not options.apart:
        yield warning(f"VolumeSnapshots of {name} may be on the same storage as its volume (option `apart`).")


def kept_problems(
    claim: str, copies: Sequence[Copy], options: VolumeSnapshots, retention: timedelta, now: datetime
) -> Iterator[Result]:
    """Whether the snapshots of a claim go back as far as they have to."""
    name = f"PersistentVolumeClaim {options.namespace}/{claim}"
    dates = [copy.made for copy in copies if copy.is_ready and copy.made is not None]
    if not dates:
        yield failed(f"{name} has no VolumeSnapshot that is ready, so nothing is retained.", reason=Reason.MISSING)
        return
    yield from retention_problems(
        f"The oldest VolumeSnapshot of {name}",
        f"{name} has no VolumeSnapshot",
        dates,
        retention,
        options.max_age,
        now,
    )
