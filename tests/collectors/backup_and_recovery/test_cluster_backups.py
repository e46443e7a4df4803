"""Backups of Velero and VolumeSnapshots, as objects of the official definitions on a real API server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import pytest

from collectors.backup_and_recovery.backups import Backups, BackupsSettings
from collectors.systems.kubernetes.client.cluster import Kubernetes
from collectors.systems.velero.model import go_duration
from exporter.verdict import Status
from tests.collectors.evidence import Folder, evidence_of
from tests.servers.backup_objects import BackupObjects, definitions, stamp
from tests.servers.kubernetes import ControlPlane
from tests.support import Run, connected, make_context, sees

OK, WARNING, FAILED, UNKNOWN = Status.OK, Status.WARNING, Status.FAILED, Status.UNKNOWN
SCHEDULED, RETAINED = "redis_backups_scheduled", "retention_policy_configured"
_MERGE = "application/merge-patch+json"
_FINALIZED: dict[str, Any] = {"metadata": {"finalizers": ["example.com/storage"]}}
_RELEASED: dict[str, Any] = {"metadata": {"finalizers": None}}
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

evidence = evidence_of("backups", today=True)


@pytest.fixture(scope="module")
def defined(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    with control_plane.defining(*definitions()):
        yield control_plane


@pytest.fixture
def objects(defined: ControlPlane) -> BackupObjects:
    """A Velero that has its Schedule, its location and a Backup of an hour ago."""
    made = BackupObjects(defined)
    made.location()
    made.schedule()
    made.backup(HOUR)
    return made


@pytest.fixture
async def client(defined: ControlPlane) -> AsyncIterator[Kubernetes]:
    async with connected(
        {Kubernetes: {"kubeconfig": str(defined.kubeconfigs["admin"]), "watch": False, "max_age": "1ms"}}
    ) as clients:
        (made,) = clients.values()
        assert isinstance(made, Kubernetes)
        yield made


def run(evidence: Folder, item: str, client: Kubernetes | None, **store: Any) -> Run:
    context = make_context(clients={"kubernetes": client} if client else {}, **evidence.context)
    return Run(Backups, [item], settings={"redis": [{"name": "cache", **store}]}, context=context)


see = sees(run)


def velero(objects: BackupObjects, **options: Any) -> dict[str, Any]:
    return {"velero": {"schedule": "nightly", "namespace": objects.namespace, "covers": ["shop"], **options}}


def snapshots(objects: BackupObjects, **options: Any) -> dict[str, Any]:
    return {"volume_snapshots": {"namespace": objects.namespace, "claims": ["data-0"], "apart": True, **options}}


async def test_a_schedule_that_is_followed(evidence: Folder, objects: BackupObjects, client: Kubernetes) -> None:
    result = await see(evidence, SCHEDULED, client, **velero(objects))
    assert (result.status, "complete, with 120 items and 2 volumes" in result.summary) == (OK, True), result
    assert 3500 < result.measurements["backup_age_seconds"] < 7200
    for options, words in (
        ({"schedule": "weekly"}, f"Velero has no Schedule {objects.namespace}/weekly."),
        ({"covers": ["shop", "billing"]}, "does not include namespace billing"),
        ({"max_age": "30m"}, "(limit 30m)"),
    ):
        result = await see(evidence, SCHEDULED, client, **velero(objects, **options))
        assert (result.status, words in result.summary) == (FAILED, True), result.summary
    assert (await see(evidence, SCHEDULED, None, **velero(objects))).status is UNKNOWN


SCHEDULES: dict[str, tuple[dict[str, Any], dict[str, Any], Status, str]] = {
    "paused": ({"paused": True}, {}, FAILED, "is paused"),
    "leaves it out from now on": (
        {"template": {"includedNamespaces": ["*"], "excludedNamespaces": ["shop"]}},
        {},
        FAILED,
        "Schedule {0} does not include namespace shop",
    ),
    "yearly": ({"schedule": "@yearly"}, {}, WARNING, "Schedule {0} makes a Backup each 365d only (limit 1d2h)."),
    "weekly": ({"schedule": "0 1 * * 0"}, {}, WARNING, "Schedule {0} makes a Backup each 7d only (limit 1d2h)."),
    "every six hours": ({"schedule": "@every 6h"}, {}, OK, "complete"),
    "daily, elsewhere": ({"schedule": "CRON_TZ=Asia/Tokyo 0 1 * * *"}, {}, OK, "complete"),
    "nowhere": ({"schedule": "TZ=Mars/Base 0 1 * * *"}, {}, OK, "complete"),
    "takes no snapshots from now on": (
        {"template": {"includedNamespaces": ["shop"], "snapshotVolumes": False}},
        {},
        FAILED,
        "Schedule {0} takes no data of volumes (snapshotVolumes is false)",
    ),
    "leaves out claims from now on": (
        {"template": {"includedNamespaces": ["shop"], "excludedResources": ["persistentvolumeclaims", "events"]}},
        {},
        FAILED,
        "Schedule {0} takes no data of volumes (excluded: persistentvolumeclaims)",
    ),
    "leaves out secrets from now on": (
        {"template": {"includedNamespaces": ["shop"], "excludedResources": ["secrets", "events.events.k8s.io"]}},
        {},
        WARNING,
        "Schedule {0} leaves out secrets.",
    ),
    "takes a kind alone from now on": (
        {"template": {"includedNamespaces": ["shop"], "includedResources": ["configmaps"]}},
        {},
        WARNING,
        "Schedule {0} leaves out objects that do not match its includedResources.",
    ),
    "stores nowhere from now on": (
        {"template": {"includedNamespaces": ["shop"], "storageLocation": "old"}},
        {},
        FAILED,
        "Schedule {0} stores in BackupStorageLocation old, which does not exist.",
    ),
    "rejected": ({}, {"phase": "FailedValidation", "validationErrors": ["no"]}, FAILED, "Velero rejects Schedule"),
    "nobody has taken it": ({}, {"phase": "New"}, UNKNOWN, "is New: Velero may not be running"),
}


@pytest.mark.parametrize("state", SCHEDULES)
async def test_what_a_schedule_says(evidence: Folder, objects: BackupObjects, client: Kubernetes, state: str) -> None:
    spec, status, wanted, words = SCHEDULES[state]
    objects.schedule(spec, **status)
    words = words.format(f"{objects.namespace}/nightly")
    result = await see(evidence, SCHEDULED, client, **velero(objects))
    assert (result.status, words in result.summary) == (wanted, True), result.summary


BACKUPS: dict[str, tuple[dict[str, Any], dict[str, Any], Status, str]] = {
    "partially failed": ({}, {"phase": "PartiallyFailed", "errors": 3}, FAILED, "is PartiallyFailed with 3 errors"),
    "about to be partially failed": (
        {},
        {"phase": "FinalizingPartiallyFailed", "errors": 2},
        FAILED,
        "is FinalizingPartiallyFailed with 2 errors",
    ),
    "failed": ({}, {"phase": "Failed"}, FAILED, "is Failed."),
    "rejected": ({}, {"phase": "FailedValidation"}, FAILED, "is FailedValidation"),
    "complete with errors": ({}, {"errors": 2}, FAILED, "is Completed with 2 errors"),
    "nothing": ({}, {"progress": {"itemsBackedUp": 0, "totalItems": 0}}, FAILED, "holds nothing"),
    "shrunk": ({}, {"progress": {"itemsBackedUp": 12}}, WARNING, "has 12 items, those before it 120"),
    "not counted": ({}, {"progress": {}}, UNKNOWN, "was not recorded"),
    "a volume lacks": ({}, {"csiVolumeSnapshotsCompleted": 1}, FAILED, "lacks 1 volume of 2"),
    "volumes skipped": (
        {"snapshotVolumes": False},
        {"csiVolumeSnapshotsAttempted": 0, "csiVolumeSnapshotsCompleted": 0},
        FAILED,
        "holds the data of no volume",
    ),
    "data not moved": (
        {"snapshotMoveData": True},
        {"backupItemOperationsAttempted": 2, "backupItemOperationsFailed": 2},
        FAILED,
        "lacks 2 volumes of 4",
    ),
    "another namespace": ({"includedNamespaces": ["shop-staging"]}, {}, FAILED, "does not include namespace shop"),
    "left out": (
        {"includedNamespaces": ["*"], "excludedNamespaces": ["sh*"]},
        {},
        FAILED,
        "not include namespace shop",
    ),
    "filtered": ({"labelSelector": {"matchLabels": {"app": "web"}}}, {}, WARNING, "do not match its labelSelector"),
    "policy": (
        {"resourcePolicy": {"kind": "configmap", "name": "skip-cache"}},
        {},
        WARNING,
        "leaves out the volumes that its resourcePolicy skips",
    ),
    "warnings": ({}, {"warnings": 4}, WARNING, "has 4 warnings"),
    "hooks failed": ({}, {"hookStatus": {"hooksAttempted": 2, "hooksFailed": 1}}, FAILED, "1 hook of Velero's newest"),
    "no such location": ({"storageLocation": "old"}, {}, FAILED, "no BackupStorageLocation old"),
    "all namespaces": ({"includedNamespaces": ["*"]}, {}, OK, "complete"),
    "the default location": ({"storageLocation": ""}, {}, OK, "complete"),
    "under way": ({}, {"phase": "InProgress", "csiVolumeSnapshotsCompleted": 0}, OK, "complete"),
    "being deleted": ({}, {"phase": "Deleting"}, OK, "complete"),
}


@pytest.mark.parametrize("state", BACKUPS)
async def test_what_the_newest_backup_says(
    evidence: Folder, objects: BackupObjects, client: Kubernetes, state: str
) -> None:
    spec, status, wanted, words = BACKUPS[state]
    objects.backup(HOUR / 2, spec, **status)
    result = await see(evidence, SCHEDULED, client, **velero(objects))
    assert (result.status, words in result.summary) == (wanted, True), result.summary


async def test_what_is_no_backup_of_this_cluster(evidence: Folder, defined: ControlPlane, client: Kubernetes) -> None:
    objects = BackupObjects(defined)
    objects.location()
    objects.schedule(lastBackup=stamp(objects.now))  # begun is not ended
    nothing = "has no complete Backup that has not expired"
    assert nothing in (await see(evidence, SCHEDULED, client, **velero(objects))).summary
    expired = objects.backup(HOUR, expiration=stamp(objects.now - HOUR / 2))
    result = await see(evidence, SCHEDULED, client, **velero(objects))
    assert (result.status, nothing in result.summary) == (FAILED, True), result.summary
    defined.delete(expired)
    found = objects.backup(HOUR)  # Velero makes objects of what other clusters have stored in the same bucket
    objects.created(found, objects.now)
    result = await see(evidence, SCHEDULED, client, **velero(objects))
    assert (result.status, ", and 1 that this cluster did not make" in result.summary) == (FAILED, True), result.summary
    objects.backup(-HOUR)
    result = await see(evidence, SCHEDULED, client, **velero(objects))
    assert (result.status, "in the future" in result.summary) == (UNKNOWN, True), result.summary


async def test_volumes_that_are_copied_as_files(evidence: Folder, objects: BackupObjects, client: Kubernetes) -> None:
    none: dict[str, Any] = {"csiVolumeSnapshotsAttempted": 0, "csiVolumeSnapshotsCompleted": 0}
    backup = objects.backup(HOUR / 2, **none)
    objects.volume(backup, "data", size=0)
    result = await see(evidence, SCHEDULED, client, **velero(objects))
    assert (result.status, "holds 1 volume with 0 bytes" in result.summary) == (FAILED, True), result.summary
    objects.volume(backup, "data")
    objects.volume(backup, "small", size=10)
    assert (await see(evidence, SCHEDULED, client, **velero(objects))).status is OK
    objects.volume(objects.backup(HOUR / 3, **none), "data", size=400)
    result = await see(evidence, SCHEDULED, client, **velero(objects))
    assert (result.status, "Volume data in Velero's newest Backup" in result.summary) == (WARNING, True), result.summary
    emptied = objects.backup(HOUR / 3.5, **none)
    objects.volume(emptied, "data")
    objects.volume(emptied, "small", size=0)
    result = await see(evidence, SCHEDULED, client, **velero(objects))
    assert (result.status, "holds 0 bytes of volume small" in result.summary) == (FAILED, True), result.summary
    objects.volume(objects.backup(HOUR / 4, **none), "data", phase="Failed")
    result = await see(evidence, SCHEDULED, client, **velero(objects))
    assert (result.status, "lacks 1 volume of 1" in result.summary) == (FAILED, True), result.summary
    assert (await see(evidence, SCHEDULED, client, **velero(objects, volumes=False))).status is not FAILED


async def test_claims_that_no_backup_has(evidence: Folder, objects: BackupObjects, client: Kubernetes) -> None:
    """A volume that no pod mounts, or that nobody has named for the copy of its files, is left out without an error."""
    shop = objects.namespace
    for number in range(3):
        claim = objects.claim(f"data-{number}", f"vol-{number}")
        objects.cluster.patch_status(claim, phase="Bound")
    objects.schedule({"template": {"includedNamespaces": [shop]}})
    objects.backup(HOUR / 2, {"includedNamespaces": [shop]})
    result = await see(evidence, SCHEDULED, client, **velero(objects, covers=[shop]))
    assert result.status is OK, result.summary  # the claims are younger
    objects.backup(-HOUR / 60, {"includedNamespaces": [shop]})  # within what clocks may differ
    result = await see(evidence, SCHEDULED, client, **velero(objects, covers=[shop]))
    assert (result.status, "holds the data of 2 volumes, but its namespaces have 3 claims" in result.summary) == (
        WARNING,
        True,
    ), result.summary
    objects.exclude("data-2")
    assert (await see(evidence, SCHEDULED, client, **velero(objects, covers=[shop]))).status is OK


LOCATIONS: dict[str, tuple[dict[str, Any], dict[str, Any], Status, str]] = {
    "unavailable": (
        {},
        {"phase": "Unavailable", "message": "denied"},
        FAILED,
        "cannot reach BackupStorageLocation default",
    ),
    "read-only": ({"accessMode": "ReadOnly"}, {}, FAILED, "is read-only"),
    "Velero is down": ({}, {"lastValidationTime": "2026-01-01T00:00:00Z"}, UNKNOWN, "it may not be running"),
}


@pytest.mark.parametrize("state", LOCATIONS)
async def test_where_backups_are_stored(
    evidence: Folder, objects: BackupObjects, client: Kubernetes, state: str
) -> None:
    spec, status, wanted, words = LOCATIONS[state]
    objects.location(spec=spec, **status)
    result = await see(evidence, SCHEDULED, client, **velero(objects))
    assert (result.status, words in result.summary) == (wanted, True), result.summary


async def test_backups_go_back_as_far_as_they_have_to(
    evidence: Folder, objects: BackupObjects, client: Kubernetes
) -> None:
    result = await see(evidence, RETAINED, client, **velero(objects))
    assert (result.status, "(retention 7d)" in result.summary) == (FAILED, True), result.summary
    objects.backup(8 * DAY)
    result = await see(evidence, RETAINED, client, **velero(objects))
    assert (result.status, "has no Backup from the" in result.summary) == (FAILED, True), result.summary
    for days in (5, 3, 2):
        objects.backup(days * DAY)
    assert (await see(evidence, RETAINED, client, **velero(objects, max_age="36h"))).status is OK
    objects.schedule({"template": {"ttl": "72h0m0s"}})
    result = await see(evidence, RETAINED, client, **velero(objects, max_age="36h"))
    assert (result.status, "deletes its Backups after 3d (retention 7d)" in result.summary) == (FAILED, True), result
    assert (await see(evidence, RETAINED, client, **velero(objects, schedule="weekly"))).status is FAILED


@pytest.mark.parametrize(
    ("written", "hours"),
    [("720h0m0s", 720), ("1h30m", 1.5), ("90m", 1.5), ("1.5h", 1.5), ("0s", 0), ("30d", None), ("", None)],
)
def test_durations_of_go(written: str, hours: float | None) -> None:
    assert go_duration(written) == (None if hours is None else timedelta(hours=hours))


async def test_snapshots_of_a_volume(evidence: Folder, objects: BackupObjects, client: Kubernetes) -> None:
    result = await see(evidence, SCHEDULED, client, **snapshots(objects))
    assert (result.status, "data-0 does not exist" in result.summary) == (FAILED, True), result.summary
    objects.claim("data-0", "vol-1")
    result = await see(evidence, SCHEDULED, client, **snapshots(objects))
    assert (result.status, "has no VolumeSnapshot." in result.summary) == (FAILED, True), result.summary
    first = objects.snapshot(2 * HOUR)
    result = await see(evidence, SCHEDULED, client, **snapshots(objects))
    assert (result.status, "1 volume has VolumeSnapshots in namespace" in result.summary) == (OK, True), result.summary
    result = await see(evidence, SCHEDULED, client, **snapshots(objects, apart=False))
    assert (result.status, "on the same storage as its volume" in result.summary) == (WARNING, True), result.summary
    assert (await see(evidence, SCHEDULED, client, **snapshots(objects, max_age="1h"))).status is FAILED
    assert (await see(evidence, SCHEDULED, client, **snapshots(objects, claims=["data-0", "data-1"]))).status is FAILED
    # One that is not ready yet, and one that reports an error, after it.
    pending = objects.snapshot(HOUR, readyToUse=False)
    assert (await see(evidence, SCHEDULED, client, **snapshots(objects))).status is OK
    objects.snapshot(HOUR, readyToUse=False, error={"message": "quota"})
    result = await see(evidence, SCHEDULED, client, **snapshots(objects))
    assert (result.status, "reports an error" in result.summary) == (FAILED, True), result.summary
    objects.cluster.delete(pending, objects.content(pending))
    # The snapshot still says that it is ready while its content is being deleted, and after it is gone.
    objects.cluster.call("PATCH", objects.cluster.path(objects.content(first)), _FINALIZED, content=_MERGE)
    objects.cluster.delete(objects.content(first))
    result = await see(evidence, SCHEDULED, client, **snapshots(objects))
    assert (result.status, "None of " in result.summary) == (FAILED, True), result.summary
    objects.cluster.call("PATCH", objects.cluster.path(objects.content(first)), _RELEASED, content=_MERGE)
    objects.cluster.wait(
        "/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents",
        lambda found: not [one for one in found["items"] if one["metadata"]["name"].startswith(objects.namespace)],
        "the contents to be gone",
    )
    result = await see(evidence, SCHEDULED, client, **snapshots(objects))
    assert (result.status, "None of " in result.summary) == (FAILED, True), result.summary
    objects.snapshot(HOUR / 2, policy="Delete")
    result = await see(evidence, SCHEDULED, client, **snapshots(objects))
    assert (result.status, "is deleted with namespace" in result.summary) == (WARNING, True), result.summary
    objects.snapshot(HOUR / 3, handle="vol-0")
    result = await see(evidence, SCHEDULED, client, **snapshots(objects))
    assert (result.status, "is of another volume than" in result.summary) == (FAILED, True), result.summary
    objects.snapshot(-HOUR)
    result = await see(evidence, SCHEDULED, client, **snapshots(objects))
    assert (result.status, "in the future" in result.summary) == (UNKNOWN, True), result.summary


async def test_snapshots_go_back_as_far_as_they_have_to(
    evidence: Folder, objects: BackupObjects, client: Kubernetes
) -> None:
    objects.claim("data-0", "vol-1")
    assert (await see(evidence, RETAINED, client, **snapshots(objects))).status is FAILED
    for days in (8, 6, 4, 2, 0.1):
        objects.snapshot(days * DAY)
    result = await see(evidence, RETAINED, client, **snapshots(objects, max_age="36h"))
    assert (result.status, "go back 8 days" in result.summary) == (OK, True), result.summary
    assert (await see(evidence, RETAINED, client, retention="9d", **snapshots(objects))).status is FAILED


async def test_a_cluster_with_neither(evidence: Folder, control_plane: ControlPlane) -> None:
    kubeconfig = str(control_plane.account([]))  # it may read nothing
    async with connected({Kubernetes: {"kubeconfig": kubeconfig, "watch": False, "max_age": "1ms"}}) as clients:
        denied = clients["kubernetes"]
        assert isinstance(denied, Kubernetes)
        for item in (SCHEDULED, RETAINED):
            for store in (
                {"velero": {"schedule": "nightly", "covers": ["shop"]}},
                {"volume_snapshots": {"namespace": "shop", "claims": ["data-0"]}},
            ):
                result = await see(evidence, item, denied, **store)
                assert (result.status, "has no right to it" in result.summary) == (UNKNOWN, True), result.summary


@pytest.mark.parametrize(
    "store",
    [
        {},
        {"velero": {"schedule": "nightly", "covers": []}},
        {"velero": {"schedule": "", "covers": ["shop"]}},
        {"velero": {"schedule": "nightly", "covers": ["shop"], "max_age": "0s"}},
        {"volume_snapshots": {"namespace": "shop", "claims": []}},
        {"volume_snapshots": {"namespace": "", "claims": ["data-0"]}},
    ],
)
def test_options_of_a_store_that_cannot_be_meant_are_refused(store: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expected|at least|greater"):
        BackupsSettings.model_validate({"redis": [{"name": "cache", **store}]}, strict=False)


def test_stores_that_one_record_would_measure_as_one_are_refused() -> None:
    stores = [{"name": name, "velero": {"schedule": "nightly", "covers": ["shop"]}} for name in ("cache-1", "Cache 1")]
    with pytest.raises(ValueError, match="two of them are measured as cache_1_seconds"):
        BackupsSettings.model_validate({"redis": stores}, strict=False)
    with pytest.raises(ValueError, match="different names"):
        BackupsSettings.model_validate({"redis": stores[:1], "neo4j": stores[1:]}, strict=False)
