"""Velero 1.18 and VolumeSnapshots v1 as objects: the official definitions from Go modules, on a real API server; no controllers."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml

from tests.servers.kubernetes import ControlPlane, Json
from tests.servers.packages import go_module
from tests.servers.process import LOOPBACK

VELERO = "velero.io/v1"
SNAPSHOT = "snapshot.storage.k8s.io/v1"


def definitions() -> list[Json]:
    """The CustomResourceDefinitions that the section reads objects of."""
    velero = go_module("github.com/vmware-tanzu/velero", "v1.18.3", "config/crd/v1/bases")
    snapshots = go_module("github.com/kubernetes-csi/external-snapshotter/client/v8", "v8.7.0", "config/crd")
    wanted = [
        *(
            velero / f"velero.io_{kind}.yaml"
            for kind in ("schedules", "backups", "podvolumebackups", "backupstoragelocations")
        ),
        *(snapshots / f"snapshot.storage.k8s.io_{kind}.yaml" for kind in ("volumesnapshots", "volumesnapshotcontents")),
    ]
    return [yaml.safe_load(path.read_text()) for path in wanted]


def stamp(at: datetime) -> str:
    """A time as Kubernetes writes it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class BackupObjects:
    """The objects of one Velero and the snapshots of one namespace, which a test makes as their controllers would."""

    def __init__(self, cluster: ControlPlane) -> None:
        self.cluster = cluster
        self.namespace = cluster.namespace("velero")
        self.now = datetime.now(UTC)

    def put(
        self, kind: str, name: str, spec: Json, status: Json | None = None, *, group: str = VELERO, **metadata: Any
    ) -> Json:
        """Make an object, or make it be so, with its status; returns the manifest."""
        manifest: Json = {
            "apiVersion": group,
            "kind": kind,
            "metadata": {"name": name, "namespace": self.namespace, **metadata},
            "spec": spec,
        }
        self.cluster.apply(manifest | ({"status": status} if status else {}))
        if status and group == SNAPSHOT:  # Velero's have no subresource
            self.cluster.patch_status(manifest, **status)
        return manifest

    def location(self, name: str = "default", spec: Mapping[str, Any] | None = None, **status: Any) -> Json:
        """A BackupStorageLocation that was validated now."""
        where = {"provider": "aws", "default": True, "objectStorage": {"bucket": "velero"}, **(spec or {})}
        return self.put(
            "BackupStorageLocation",
            name,
            where,
            {"phase": "Available", "lastValidationTime": stamp(datetime.now(UTC)), **status},
        )

    def schedule(self, spec: Mapping[str, Any] | None = None, **status: Any) -> Json:
        """The Schedule `nightly`."""
        wanted = {"schedule": "0 1 * * *", "template": {"includedNamespaces": ["shop"]}, **(spec or {})}
        return self.put("Schedule", "nightly", wanted, {"phase": "Enabled", **status})

    def backup(self, age: timedelta, spec: Mapping[str, Any] | None = None, **status: Any) -> Json:
        """A complete Backup of `nightly`, with 120 objects and two snapshots of volumes, as old as said."""
        begun = self.now - age
        name = f"nightly-{begun:%Y%m%d%H%M%S}"
        full = {
            "phase": "Completed",
            "startTimestamp": stamp(begun),
            "completionTimestamp": stamp(begun + timedelta(minutes=2)),
            "expiration": stamp(begun + timedelta(days=30)),
            "progress": {"itemsBackedUp": 120, "totalItems": 120},
            "csiVolumeSnapshotsAttempted": 2,
            "csiVolumeSnapshotsCompleted": 2,
            **status,
        }
        what = {"includedNamespaces": ["shop"], "storageLocation": "default", **(spec or {})}
        made = self.put("Backup", name, what, full, labels={"velero.io/schedule-name": "nightly"})
        self.created(made, begun)
        return made

    def volume(self, backup: Json, name: str, phase: str = "Completed", size: int = 1000) -> Json:
        """The copy of a volume's files that is part of a Backup."""
        spec = {
            "backupStorageLocation": "default",
            "node": "node-0",
            "pod": {"name": "orders-0"},
            "repoIdentifier": "",
            "volume": name,
        }
        status = {"phase": phase, "progress": {"totalBytes": size, "bytesDone": size}}
        label = {"velero.io/backup-name": backup["metadata"]["name"]}
        return self.put("PodVolumeBackup", f"{backup['metadata']['name']}-{name}", spec, status, labels=label)

    def claim(self, name: str, handle: str) -> Json:
        """A PersistentVolumeClaim that is bound to the volume which the storage calls so."""
        volume = f"{self.namespace}-{handle}"
        self.cluster.apply(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": volume},
                "spec": {
                    "capacity": {"storage": "1Gi"},
                    "accessModes": ["ReadWriteOnce"],
                    "csi": {"driver": "test.example.com", "volumeHandle": handle},
                    "claimRef": {"namespace": self.namespace, "name": name},
                    "persistentVolumeReclaimPolicy": "Retain",
                    "storageClassName": "none",
                },
            }
        )
        claim = {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "none",
            "volumeName": volume,
            "resources": {"requests": {"storage": "1Gi"}},
        }
        return self.put("PersistentVolumeClaim", name, claim, group="v1")

    def snapshot(
        self, age: timedelta, handle: str = "vol-1", claim: str = "data-0", policy: str = "Retain", **status: Any
    ) -> Json:
        """A VolumeSnapshot of a claim and its content, which are ready, of the storage's volume `handle`."""
        at = self.now - age
        name = f"{claim}-{at:%Y%m%d%H%M%S}"
        content = f"{self.namespace}-{name}"
        source = {"persistentVolumeClaimName": claim}
        full = {"readyToUse": True, "creationTime": stamp(at), "boundVolumeSnapshotContentName": content, **status}
        made = self.put("VolumeSnapshot", name, {"source": source}, full, group=SNAPSHOT)
        uid = self.cluster.get(self.cluster.path(made))["metadata"]["uid"]
        kept = {
            "apiVersion": SNAPSHOT,
            "kind": "VolumeSnapshotContent",
            "metadata": {"name": content},
            "spec": {
                "deletionPolicy": policy,
                "driver": "test.example.com",
                "source": {"volumeHandle": handle},
                "volumeSnapshotRef": {"kind": "VolumeSnapshot", "namespace": self.namespace, "name": name, "uid": uid},
            },
        }
        self.cluster.apply(kept)
        self.cluster.patch_status(kept, snapshotHandle=f"snap-{at:%s}", readyToUse=True)
        return made

    def content(self, snapshot: Json) -> Json:
        """The VolumeSnapshotContent of a VolumeSnapshot, as a manifest without its status."""
        name = f"{self.namespace}-{snapshot['metadata']['name']}"
        return {"apiVersion": SNAPSHOT, "kind": "VolumeSnapshotContent", "metadata": {"name": name}}

    def exclude(self, claim: str) -> None:
        """Say of a claim that Velero has to leave it out."""
        path = f"/api/v1/namespaces/{self.namespace}/persistentvolumeclaims/{claim}"
        labels = {"metadata": {"labels": {"velero.io/exclude-from-backup": "true"}}}
        self.cluster.call("PATCH", path, labels, content="application/merge-patch+json")

    def created(self, manifest: Json, at: datetime) -> None:
        """Have an object be as old as said, in etcd itself: through the API nobody can."""
        plural = f"{manifest['kind'].lower()}s"
        group = manifest["apiVersion"].partition("/")[0]
        key = f"/registry/{group}/{plural}/{self.namespace}/{manifest['metadata']['name']}"
        (found,) = self._etcd("range", key=key)["kvs"]
        stored = json.loads(base64.b64decode(found["value"]))
        stored["metadata"]["creationTimestamp"] = stamp(at)
        self._etcd("put", key=key, value=json.dumps(stored))

    def _etcd(self, what: str, **fields: str) -> Any:
        body = {name: base64.b64encode(value.encode()).decode() for name, value in fields.items()}
        url = f"http://{LOOPBACK}:{self.cluster.ports['client']}/v3/kv/{what}"
        with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode()), timeout=30) as reply:
            return json.load(reply)
