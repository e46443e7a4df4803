"""What Velero's objects mean, and the options that they are held against."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from pydantic import Field

from collectors.systems.kubernetes.model.base import Struct
from collectors.systems.kubernetes.model.kind import Kind
from collectors.systems.kubernetes.model.objects import Metadata, PersistentVolumeClaim
from exporter.options import Duration, Options

__all__ = [
    "BACKUPS",
    "LOCATIONS",
    "SCHEDULES",
    "VOLUMES",
    "Backup",
    "BackupSpec",
    "Backups",
    "Location",
    "Schedule",
    "Velero",
    "VolumeBackup",
    "go_duration",
]

_SCHEDULE_LABEL = "velero.io/schedule-name"
_EXCLUDED_LABEL = "velero.io/exclude-from-backup"
_BACKUP_LABEL = "velero.io/backup-name"
_DEFAULT_TTL = timedelta(hours=720)
_GO_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


class Velero(Options):
    """A Schedule of Velero (`clients.kubernetes`), and what its Backups have to hold."""

    schedule: str = Field(min_length=1, description="Name of the Schedule.")
    namespace: str = Field("velero", min_length=1, description="Namespace of Velero.")
    covers: tuple[str, ...] = Field(min_length=1, description="Namespaces that each Backup has to include.")
    volumes: bool = Field(True, description="Whether the data of volumes has to be in it.")
    max_age: Duration = Field(timedelta(hours=26), gt=timedelta(0), description="Maximum age of the newest Backup.")

    def __str__(self) -> str:
        return f"{self.namespace}/{self.schedule}"


class BackupSpec(Struct, frozen=True):
    """What a Backup takes; None where a filter is not set."""

    included_namespaces: tuple[str, ...] | None = None
    excluded_namespaces: tuple[str, ...] | None = None
    included_resources: tuple[str, ...] | None = None
    included_namespace_scoped_resources: tuple[str, ...] | None = None
    excluded_resources: tuple[str, ...] | None = None
    excluded_namespace_scoped_resources: tuple[str, ...] | None = None
    excluded_cluster_scoped_resources: tuple[str, ...] | None = None
    snapshot_volumes: bool | None = None
    default_volumes_to_fs_backup: bool | None = None
    label_selector: dict[str, object] | None = None
    or_label_selectors: tuple[dict[str, object], ...] | None = None
    resource_policy: dict[str, object] | None = None
    storage_location: str = ""
    ttl: str = ""

    def covers(self, namespace: str) -> bool:
        """Whether objects of a namespace are taken; names may have wildcards."""
        included = self.included_namespaces or ("*",)
        excluded = self.excluded_namespaces or ()
        return any(fnmatchcase(namespace, name) for name in included) and not any(
            fnmatchcase(namespace, name) for name in excluded
        )

    @property
    def filters(self) -> list[str]:
        """The names of the filters that leave out objects of namespaces which it includes."""
        found = {
            "labelSelector": self.label_selector,
            "orLabelSelectors": self.or_label_selectors,
            "includedResources": self.included_resources,
            "includedNamespaceScopedResources": self.included_namespace_scoped_resources,
        }
        return [name for name, value in found.items() if value and value != ("*",)]

    @property
    def left_out(self) -> list[str]:
        """The kinds of objects that it leaves out, but those that something makes again."""
        excluded = (
            self.excluded_resources,
            self.excluded_namespace_scoped_resources,
            self.excluded_cluster_scoped_resources,
        )
        kinds = {kind.partition(".")[0].lower() for value in excluded for kind in value or ()}
        return sorted(kinds - _TRANSIENT)

    @property
    def leaves_out_volumes(self) -> bool:
        """Whether claims or volumes are among the kinds that it leaves out."""
        return not _VOLUMES.isdisjoint(self.left_out)


#: What is not missed after a restore, as something makes it again, and what the data of volumes depends on.
_TRANSIENT = frozenset({"events", "event", "ev", "endpoints", "ep", "endpointslices", "leases", "replicasets", "nodes"})
_VOLUMES = frozenset(
    {"persistentvolumeclaims", "persistentvolumeclaim", "pvc", "persistentvolumes", "persistentvolume", "pv", "*"}
)


class _ScheduleSpec(Struct, frozen=True):
    schedule: str = ""
    paused: bool = False
    template: BackupSpec = BackupSpec()


class _ScheduleStatus(Struct, frozen=True):
    phase: str = ""


class Schedule(Struct, frozen=True):
    """A Schedule. `status.phase` is `Enabled` once Velero has accepted it."""

    metadata: Metadata = Metadata()
    spec: _ScheduleSpec = _ScheduleSpec()
    status: _ScheduleStatus = _ScheduleStatus()

    @property
    def ttl(self) -> timedelta | None:
        """After how long Velero deletes its Backups; None where that is not understood."""
        return go_duration(self.spec.template.ttl) or _DEFAULT_TTL if self.spec.template.ttl else _DEFAULT_TTL


class _Progress(Struct, frozen=True):
    items_backed_up: int | None = None


class _Hooks(Struct, frozen=True):
    hooks_failed: int = 0


class _BackupStatus(Struct, frozen=True):
    phase: str = ""
    start_timestamp: datetime | None = None
    completion_timestamp: datetime | None = None
    expiration: datetime | None = None
    errors: int = 0
    warnings: int = 0
    progress: _Progress | None = None
    hook_status: _Hooks | None = None
    volume_snapshots_attempted: int = 0
    volume_snapshots_completed: int = 0
    csi_volume_snapshots_attempted: int = 0
    csi_volume_snapshots_completed: int = 0
    backup_item_operations_attempted: int = 0
    backup_item_operations_completed: int = 0


class Backup(Struct, frozen=True):
    """A Backup, made in this cluster or found by Velero in the storage, where other clusters store theirs."""

    metadata: Metadata = Metadata()
    spec: BackupSpec = BackupSpec()
    status: _BackupStatus = _BackupStatus()

    @property
    def name(self) -> str:
        """Its name."""
        return self.metadata.name

    @property
    def schedule(self) -> str:
        """The Schedule that it is of; empty where someone made it by hand."""
        return self.metadata.labels.get(_SCHEDULE_LABEL, "")

    @property
    def begun(self) -> datetime | None:
        """When it was begun: what it holds is as old."""
        return self.status.start_timestamp

    @property
    def is_found(self) -> bool:
        """Whether its object is younger than its end: Velero has found it in the storage, another cluster may have made it."""
        created, ended = self.metadata.creation_timestamp, self.status.completion_timestamp
        return created is not None and ended is not None and created > ended

    @property
    def items(self) -> int | None:
        """How many objects it holds; None where that is not recorded."""
        return self.status.progress.items_backed_up if self.status.progress else None

    @property
    def attempted(self) -> int:
        """How many snapshots of volumes and movements of their data it has tried."""
        status = self.status
        return (
            status.volume_snapshots_attempted
            + status.csi_volume_snapshots_attempted
            + status.backup_item_operations_attempted
        )

    @property
    def completed(self) -> int:
        """How many of those were completed."""
        status = self.status
        return (
            status.volume_snapshots_completed
            + status.csi_volume_snapshots_completed
            + status.backup_item_operations_completed
        )


class _VolumeProgress(Struct, frozen=True):
    total_bytes: int = 0
    bytes_done: int = 0


class _VolumeStatus(Struct, frozen=True):
    phase: str = ""
    progress: _VolumeProgress | None = None


class _VolumeSpec(Struct, frozen=True):
    volume: str = ""


class VolumeBackup(Struct, frozen=True):
    """A PodVolumeBackup: the files of one volume, copied while the pod runs."""

    metadata: Metadata = Metadata()
    spec: _VolumeSpec = _VolumeSpec()
    status: _VolumeStatus = _VolumeStatus()

    @property
    def backup(self) -> str:
        """The Backup that it is part of."""
        return self.metadata.labels.get(_BACKUP_LABEL, "")

    @property
    def size(self) -> int:
        """Bytes that were copied."""
        return self.status.progress.bytes_done if self.status.progress else 0


class _LocationSpec(Struct, frozen=True):
    default: bool = False
    access_mode: str = "ReadWrite"


class _LocationStatus(Struct, frozen=True):
    phase: str = ""
    last_validation_time: datetime | None = None


class Location(Struct, frozen=True):
    """A BackupStorageLocation. `status.phase` is `Available` or `Unavailable` as of its last validation, each minute by default."""

    metadata: Metadata = Metadata()
    spec: _LocationSpec = _LocationSpec()
    status: _LocationStatus = _LocationStatus()


@dataclass(frozen=True, slots=True)
class Backups:
    """What there is of one Schedule, by the API server's clock.

    `others` counts Backups of a Schedule of this name that were found in the storage, `claims` are those of the namespaces that
    Backups have to include.
    """

    now: datetime
    schedule: Schedule | None
    made: Sequence[Backup]
    others: int
    volumes: Sequence[VolumeBackup]
    locations: Sequence[Location]
    claims: Sequence[PersistentVolumeClaim] = ()

    def claimed(self, backup: Backup) -> list[str]:
        """The claims whose data a Backup should have: bound before it, and not left out on purpose by their label."""
        return [
            f"{one.metadata.namespace}/{one.metadata.name}"
            for one in self.claims
            if one.status.phase == "Bound"
            and one.metadata.labels.get(_EXCLUDED_LABEL) != "true"
            and one.metadata.creation_timestamp is not None
            and backup.begun is not None
            and one.metadata.creation_timestamp < backup.begun
        ]

    def sizes(self, backup: Backup) -> dict[str, int]:
        """Bytes that were copied of each volume, by the name that its pods give it."""
        found: dict[str, int] = {}
        for one in self.volumes:
            if one.backup == backup.name:
                found[one.spec.volume] = found.get(one.spec.volume, 0) + one.size
        return found

    def location(self, name: str) -> Location | None:
        """The location of this name, or the default one without a name."""
        return next(
            (one for one in self.locations if (one.metadata.name == name if name else one.spec.default)),
            None,
        )

    @property
    def usable(self) -> list[Backup]:
        """Those that are complete and not expired, the newest first."""
        found = [
            one
            for one in self.made
            if one.status.phase == "Completed"
            and one.begun is not None
            and one.metadata.deletion_timestamp is None
            and (one.status.expiration is None or one.status.expiration > self.now)
        ]
        return sorted(found, key=lambda one: one.begun or self.now, reverse=True)


def go_duration(written: str) -> timedelta | None:
    """What Go calls a duration, such as 720h0m0s; None for anything else."""
    if not re.fullmatch(r"([0-9]+(\.[0-9]*)?(h|ms|m|s|us|µs|ns))+", written):
        return None
    parts = re.findall(r"([0-9.]+)(h|ms|m|s|us|µs|ns)", written)
    return timedelta(seconds=sum(float(number) * _GO_UNITS[unit] for number, unit in parts))


SCHEDULES: Kind[Schedule] = Kind("schedules", Schedule, "velero.io")
BACKUPS: Kind[Backup] = Kind("backups", Backup, "velero.io")
VOLUMES: Kind[VolumeBackup] = Kind("podvolumebackups", VolumeBackup, "velero.io")
LOCATIONS: Kind[Location] = Kind("backupstoragelocations", Location, "velero.io")
