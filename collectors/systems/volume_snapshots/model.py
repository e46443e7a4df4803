"""What VolumeSnapshots, their contents and the volumes that they are of mean, and the options that they are held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import Field

from collectors.systems.kubernetes.model.base import Struct
from collectors.systems.kubernetes.model.kind import Kind
from exporter.options import Duration, Options

__all__ = [
    "CLAIMS",
    "CONTENTS",
    "SNAPSHOTS",
    "VOLUMES",
    "Claim",
    "Content",
    "Copy",
    "Snapshot",
    "Volume",
    "VolumeSnapshots",
    "copies_of",
]


class VolumeSnapshots(Options):
    """VolumeSnapshots of the volumes of a store (`clients.kubernetes`)."""

    namespace: str = Field(min_length=1, description="Namespace of the claims and their snapshots.")
    claims: tuple[str, ...] = Field(
        min_length=1, description="PersistentVolumeClaims of the store, such as data-orders-0."
    )
    max_age: Duration = Field(timedelta(hours=26), gt=timedelta(0), description="Maximum age of the newest snapshot.")
    apart: bool = Field(
        False,
        description="Whether the storage keeps snapshots apart from their volume, as those of AWS, Azure and Google Cloud do; "
        "otherwise they are lost with it, which is a warning.",
    )


class _Metadata(Struct, frozen=True):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None


class _Source(Struct, frozen=True):
    persistent_volume_claim_name: str = ""


class _SnapshotSpec(Struct, frozen=True):
    source: _Source = _Source()


class _Error(Struct, frozen=True):
    message: str = ""


class _SnapshotStatus(Struct, frozen=True):
    bound_volume_snapshot_content_name: str = ""
    creation_time: datetime | None = None
    ready_to_use: bool | None = None
    error: _Error | None = None


class Snapshot(Struct, frozen=True):
    """A VolumeSnapshot. `status.readyToUse` is what was true when it was last looked at."""

    metadata: _Metadata = _Metadata()
    spec: _SnapshotSpec = _SnapshotSpec()
    status: _SnapshotStatus = _SnapshotStatus()


class _Reference(Struct, frozen=True):
    uid: str = ""


class _ContentSource(Struct, frozen=True):
    volume_handle: str = ""


class _ContentSpec(Struct, frozen=True):
    deletion_policy: str = ""
    source: _ContentSource = _ContentSource()
    volume_snapshot_ref: _Reference = _Reference()


class _ContentStatus(Struct, frozen=True):
    snapshot_handle: str = ""
    ready_to_use: bool | None = None


class Content(Struct, frozen=True):
    """A VolumeSnapshotContent: which snapshot the storage has, and of which of its volumes."""

    metadata: _Metadata = _Metadata()
    spec: _ContentSpec = _ContentSpec()
    status: _ContentStatus | None = None


class _ClaimSpec(Struct, frozen=True):
    volume_name: str = ""


class Claim(Struct, frozen=True):
    """A PersistentVolumeClaim and the volume that it is bound to."""

    metadata: _Metadata = _Metadata()
    spec: _ClaimSpec = _ClaimSpec()


class _Csi(Struct, frozen=True):
    volume_handle: str = ""


class _VolumeSpec(Struct, frozen=True):
    csi: _Csi | None = None


class Volume(Struct, frozen=True):
    """A PersistentVolume, and what the storage calls it."""

    metadata: _Metadata = _Metadata()
    spec: _VolumeSpec = _VolumeSpec()


@dataclass(frozen=True, slots=True)
class Copy:
    """A snapshot of a claim. `content` is None where there is none any more."""

    snapshot: Snapshot
    content: Content | None

    @property
    def name(self) -> str:
        """The name of the VolumeSnapshot."""
        return self.snapshot.metadata.name

    @property
    def made(self) -> datetime | None:
        """When the storage took it; when it was asked for where that is not known."""
        return self.snapshot.status.creation_time or self.snapshot.metadata.creation_timestamp

    @property
    def is_ready(self) -> bool:
        """Whether a volume can be made from it, as far as objects show it."""
        return (
            self.snapshot.status.ready_to_use is True
            and self.snapshot.metadata.deletion_timestamp is None
            and self.content is not None
            and self.content.metadata.deletion_timestamp is None
            and self.content.status is not None
            and bool(self.content.status.snapshot_handle)
            and self.content.status.ready_to_use is not False
        )


def copies_of(namespace: str, claim: str, snapshots: Sequence[Snapshot], contents: Sequence[Content]) -> list[Copy]:
    """The snapshots of a claim, the newest first."""
    by_name = {content.metadata.name: content for content in contents}
    found = []
    for one in snapshots:
        if (one.metadata.namespace, one.spec.source.persistent_volume_claim_name) != (namespace, claim):
            continue
        content = by_name.get(one.status.bound_volume_snapshot_content_name)
        if content is not None and content.spec.volume_snapshot_ref.uid not in ("", one.metadata.uid):
            content = None  # it belongs to a snapshot that had the same name before
        found.append(Copy(one, content))
    return sorted(found, key=lambda copy: (copy.made is not None, copy.made), reverse=True)


_GROUP = "snapshot.storage.k8s.io"
SNAPSHOTS: Kind[Snapshot] = Kind("volumesnapshots", Snapshot, _GROUP)
CONTENTS: Kind[Content] = Kind("volumesnapshotcontents", Content, _GROUP, namespaced=False)
CLAIMS: Kind[Claim] = Kind("persistentvolumeclaims", Claim)
VOLUMES: Kind[Volume] = Kind("persistentvolumes", Volume, namespaced=False)
