"""Backups"""

from __future__ import annotations

import functools
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import ClassVar, Self, TypeVar

from pydantic import Field, model_validator

from collectors.shared.copies import size_problems
from collectors.shared.dsn import Dsn
from collectors.shared.verdicts import verdict, worst_of
from collectors.systems.aws.client import Aws, AwsError
from collectors.systems.backups.client import read_bucket, read_objects, read_rds, read_rds_since, read_versions
from collectors.systems.backups.judge import (
    judge_bucket,
    judge_empty_rdb,
    judge_objects,
    judge_rds,
    judge_rds_encryption,
    judge_rds_retention,
    judge_rds_window,
    judge_retention,
    restoration_problems,
)
from collectors.systems.backups.model import Bucket, Objects, Rds, RdsInstance, StoredObject
from collectors.systems.barman.check import see_backups as see_barman
from collectors.systems.barman.check import see_retained as see_barman_retained
from collectors.systems.barman.model import Barman
from collectors.systems.kubernetes.check.pods import CRON_JOB_RIGHTS, CronJobOptions, with_cron_job
from collectors.systems.kubernetes.client.cluster import Kubernetes
from collectors.systems.neo4j.judge import artefact_problems, is_of
from collectors.systems.neo4j.model import Artefact
from collectors.systems.postgresql.check.backups import Primary, ask_primary, see_backups
from collectors.systems.postgresql.check.backups import see_retained as see_stanza_retained
from collectors.systems.postgresql.client.pgbackrest import read_stanza
from collectors.systems.postgresql.client.restore import Restore, restore
from collectors.systems.postgresql.judge.backups import judge_backup, judge_encryption, newest_backup
from collectors.systems.postgresql.judge.restore import judge_restored
from collectors.systems.postgresql.model.options import ClusterLimits
from collectors.systems.postgresql.model.pgbackrest import PgBackRest, Stanza
from collectors.systems.restic.check import see_retained, see_snapshots
from collectors.systems.restic.model import Restic
from collectors.systems.velero.check import VELERO_RIGHTS
from collectors.systems.velero.check import see_backups as see_velero
from collectors.systems.velero.check import see_retained as see_velero_retained
from collectors.systems.velero.model import Velero
from collectors.systems.volume_snapshots.check import SNAPSHOT_RIGHTS
from collectors.systems.volume_snapshots.check import see_retained as see_volumes_retained
from collectors.systems.volume_snapshots.check import see_snapshots as see_volume_snapshots
from collectors.systems.volume_snapshots.model import VolumeSnapshots
from collectors.systems.walg.check import see_backups as see_walg
from collectors.systems.walg.check import see_retained as see_walg_retained
from collectors.systems.walg.model import WalG
from exporter.collector import Collector, EvidenceSettings, Mode, NoTarget, item
from exporter.evidence.rules import EvidenceRule
from exporter.options import Duration
from exporter.verdict import CRITICAL, WARNING, ProbeError, Reason, Result, failed, ok
from exporter.words import format_length, listed

_RESTORED = timedelta(days=90)
_AWS = "with `objects` or `rds`: clients.aws"
_PROGRAMS = "with `pgbackrest`, `barman` or `walg`: the program, and the rights of section postgresql"
_CLUSTER_RIGHTS = (*VELERO_RIGHTS, *SNAPSHOT_RIGHTS)


class Store(CronJobOptions):
    """A store, and where its backups are."""

    name: str = Field(pattern=r"^\S(.{0,126}\S)?$", description="Name of the store, for sentences.")
    objects: Objects | None = Field(None, description="Its backups as objects in a bucket.")
    velero: Velero | None = Field(None, description="The Schedule of Velero that backs up its namespaces.")
    volume_snapshots: VolumeSnapshots | None = Field(None, description="The VolumeSnapshots of its volumes.")
    retention: Duration = Field(
        timedelta(days=7), gt=timedelta(0), description="How old the oldest backup has to be at least."
    )

    places: ClassVar[tuple[str, ...]] = ("objects", "velero", "volume_snapshots")
    """The options that say where its backups are."""

    @model_validator(mode="after")
    def _backed_up(self) -> Self:
        if not self.used:
            raise ValueError(f"expected at least one of {listed(self.places)}: where its backups are")
        return self

    @property
    def used(self) -> tuple[str, ...]:
        """Those of them that are set."""
        return tuple(place for place in self.places if getattr(self, place) is not None)


StoreT = TypeVar("StoreT", bound=Store)


class DatabaseStore(Store):
    """A database."""

    dsn: Dsn | None = Field(
        None,
        description="With `pgbackrest`, `barman` or `walg`: connection string to the cluster, as in section postgresql.",
    )
    pgbackrest: PgBackRest | None = Field(None, description="How to run pgBackRest, where that makes the backups.")
    barman: Barman | None = Field(None, description="How to run barman, where that makes the backups.")
    walg: WalG | None = Field(None, description="How to run WAL-G, where that makes the backups.")
    rds: Rds | None = Field(None, description="The RDS instance, where RDS makes the backups.")
    restic: Restic | None = Field(None, description="The repository of restic, where that stores dumps or files.")
    limits: ClusterLimits = Field(
        ClusterLimits(), description="Limits of the backups of pgBackRest, as in section postgresql."
    )
    restore: Restore | None = Field(
        None, description="With `pgbackrest` and `allow_intrusive`: a restore into a scratch PostgreSQL."
    )
    min_fulls: int = Field(
        2, ge=1, description="Minimum number of full backups that pgBackRest, barman or WAL-G retains."
    )

    places: ClassVar = ("pgbackrest", "barman", "walg", "rds", "restic", *Store.places)

    @model_validator(mode="after")
    def _of_a_cluster(self) -> Self:
        for tool in ("pgbackrest", "barman", "walg"):
            if getattr(self, tool) is not None and self.dsn is None:
                raise ValueError(f"expected dsn beside {tool}: whose backups they are")
        if self.restore is not None and self.pgbackrest is None:
            raise ValueError("expected pgbackrest beside restore: what is restored")
        return self


class CacheStore(Store):
    """A Redis."""


class GraphStore(Store):
    """A Neo4j."""

    objects: Objects | None = Field(
        None, description="Its backups as objects in a bucket: DATABASE.dump or DATABASE-TIMESTAMP.backup."
    )
    databases: tuple[str, ...] = Field(
        ("neo4j", "system"), min_length=1, description="Databases that have to be in it; system holds users and rights."
    )


class BackupsSettings(EvidenceSettings):
    """Every store, and where its backups are."""

    allow_intrusive: bool = Field(
        False, description="Whether backups may be restored, which takes room, disk and network."
    )
    databases: tuple[DatabaseStore, ...] = Field((), description="The databases.")
    redis: tuple[CacheStore, ...] = Field((), description="The Redis servers whose loss matters.")
    neo4j: tuple[GraphStore, ...] = Field((), description="The Neo4j servers.")

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        keys = [_key(store.name) for store in (*self.databases, *self.redis, *self.neo4j)]
        if len(set(keys)) < len(keys):
            same = next(key for key in keys if keys.count(key) > 1)
            raise ValueError(f"expected stores with different names: two of them are measured as {same}_seconds")
        return self


class Backups(Collector[BackupsSettings, NoTarget]):
    """Are the backups of every store made, recent, retained, encrypted and out of reach?"""

    Settings = BackupsSettings
    rights = """\
Kubernetes, with `velero` or `volume_snapshots`: to list their objects, and claims and volumes.
AWS, on the buckets of backups alone: s3:ListBucket, s3:ListBucketVersions, s3:GetEncryptionConfiguration,
s3:GetBucketPublicAccessBlock,
s3:GetBucketPolicyStatus, s3:GetBucketAcl, s3:GetBucketVersioning, s3:GetBucketObjectLockConfiguration,
s3:GetLifecycleConfiguration, s3:GetObject and s3:GetObjectRetention (for the head of the newest backup); on everything:
s3:GetAccountPublicAccessBlock, kms:DescribeKey, rds:DescribeDBInstances, rds:DescribeDBInstanceAutomatedBackups,
rds:DescribeDBClusters (Aurora).
PostgreSQL: the role of section postgresql. pgBackRest: its repository, to read.
barman: to run it as the user that it belongs to. WAL-G: its storage, to read.
"""

    # Facts

    async def stored(self, objects: Objects) -> list[StoredObject]:
        """The objects of a store, the newest first."""
        return await self.share(f"objects {objects}", functools.partial(read_objects, self.client(Aws), objects))

    async def versions(self, objects: Objects) -> list[StoredObject]:
        """The same with what they replaced."""
        return await self.share(f"versions {objects}", functools.partial(read_versions, self.client(Aws), objects))

    async def bucket(self, objects: Objects) -> Bucket:
        """How their bucket is protected."""
        return await self.share(f"bucket {objects}", functools.partial(read_bucket, self.client(Aws), objects))

    async def instance(self, rds: Rds) -> RdsInstance:
        """The RDS instance."""
        return await self.share(f"rds {rds}", functools.partial(read_rds, self.client(Aws), rds))

    async def archived(self, store: DatabaseStore) -> tuple[Primary, Stanza]:
        """The primary, and what the repository holds of it: asked afterwards, it has what the primary believes to be archived."""
        return await self.share(f"pgbackrest {store.name}", functools.partial(self._archived, store))

    @staticmethod
    async def _archived(store: DatabaseStore) -> tuple[Primary, Stanza]:
        assert store.dsn is not None
        assert store.pgbackrest is not None
        primary = await ask_primary(store.dsn, store.limits)
        return primary, await read_stanza(store.pgbackrest)

    # Lines

    @item(
        "Database backups are scheduled",
        severity=CRITICAL,
        needs=(
            "with `pgbackrest`: the program, and the rights of section postgresql",
            _AWS,
            *CRON_JOB_RIGHTS,
            *_CLUSTER_RIGHTS,
        ),
    )
    async def database_backups_scheduled(self) -> Result:
        """A schedule that nobody watches stops one day, and is missed on the day it is needed.

        What the schedule makes is checked, not only the schedule: for each of `databases`, the newest backup of pgBackRest is of
        this very cluster, recent, and has its files and all the WAL that was archived since, each segment as large as it has to be;
        so has that of barman, whose files are verified once in `verify_every`, with those of the backups that it needs and a part
        of its WAL, and of WAL-G; RDS can restore up to `max_lag` ago; the newest snapshot of restic is of `host` and `paths`,
        recent and not empty, and a check that reads part of the data finds no error, once in
        `check_every`; the newest object in the bucket is recent (a date in its name counts, as a copy is younger than its
        backup), large enough and as large as those before. Of `velero` and `volume_snapshots`, objects in Kubernetes are
        checked: the newest complete Backup of the Schedule, or the newest VolumeSnapshot that is ready, of each claim's own
        volume. With `cronjob`, that is not suspended and its last success is recent.

        To fix it: read the log of the job or tool that is named, and take a backup by hand.
        """
        return await self._each("databases", self.settings.databases, self._database_scheduled)

    async def _database_scheduled(self, store: DatabaseStore) -> Result:
        parts = self._of_volumes(store)
        if store.pgbackrest is not None:
            parts.append(self._pgbackrest(store, store.pgbackrest))
        timeout = store.limits.query_timeout
        if store.barman is not None and store.dsn is not None:
            parts.append(see_barman(store.name, store.dsn, store.barman, timeout, self.now, self.context.memory))
        if store.walg is not None and store.dsn is not None:
            parts.append(see_walg(store.name, store.dsn, store.walg, timeout, self.now))
        if store.rds is not None:
            parts.append(self._rds(store.rds, functools.partial(judge_rds, rds=store.rds, now=self.now)))
        if store.restic is not None:
            parts.append(see_snapshots(store.name, store.restic, self.now, self.context.memory))
        if store.objects is not None:
            parts.append(self._of_bucket(store.objects, self._fresh(store.objects)))
        return await with_cron_job(self, store.cronjob, worst_of(*parts))

    def _of_volumes(self, store: Store) -> list[Awaitable[Result]]:
        """Whether what Kubernetes has of a store's backups is recent."""
        parts: list[Awaitable[Result]] = []
        if store.velero is not None:
            parts.append(self._in_cluster(functools.partial(see_velero, velero=store.velero)))
        if store.volume_snapshots is not None:
            parts.append(self._in_cluster(functools.partial(see_volume_snapshots, options=store.volume_snapshots)))
        return parts

    async def _in_cluster(self, see: Callable[[Kubernetes], Awaitable[Result]]) -> Result:
        return await see(self.client(Kubernetes))

    async def _pgbackrest(self, store: DatabaseStore, settings: PgBackRest) -> Result:
        primary, stanza = await self.archived(store)
        return await see_backups(primary, stanza, settings, store.limits, self.now)

    async def _rds(self, rds: Rds, judge: Callable[[RdsInstance], Result]) -> Result:
        try:
            return judge(await self.instance(rds))
        except AwsError as error:
            if error.code == "DBInstanceNotFound":
                return failed(f"RDS instance {rds.instance} does not exist.", reason=Reason.MISSING)
            raise

    async def _rds_window(self, rds: Rds, retention: timedelta) -> Result:
        try:
            instance = await self.instance(rds)
            since = await read_rds_since(self.client(Aws), rds, instance)
        except AwsError as error:
            if error.code in ("DBInstanceNotFound", "DBInstanceAutomatedBackupNotFound"):
                return failed(f"RDS instance {rds.instance} has no automated backups.", reason=Reason.MISSING)
            raise
        return judge_rds_window(instance, since, retention, self.now)

    async def _fresh(self, objects: Objects) -> Result:
        return judge_objects(await self.stored(objects), objects, self.now)

    async def _filled(self, objects: Objects) -> Result:
        return judge_empty_rdb(await self.stored(objects), objects)

    @staticmethod
    async def _of_bucket(objects: Objects, judged: Awaitable[Result]) -> Result:
        """The verdict, or `failed` where there is no such bucket: it holds no backup, that is known."""
        try:
            return await judged
        except AwsError as error:
            if error.code == "NoSuchBucket":
                return failed(f"Bucket {objects.bucket} does not exist.", reason=Reason.MISSING)
            raise

    @property
    def now(self) -> datetime:
        """The time of this run."""
        return self.context.now()

    @item("Redis backups are scheduled", severity=WARNING, needs=(_AWS, *CRON_JOB_RIGHTS, *_CLUSTER_RIGHTS))
    async def redis_backups_scheduled(self) -> Result:
        """Persistence on the server's own disk is no backup: FLUSHALL, a bug or the loss of the volume takes it along.

        For each of `redis`, the newest object in its bucket is recent, large enough, and as large as those before; of `velero`
        and `volume_snapshots`, as for databases. With `cronjob`, that is not suspended and its last success is recent. A cache
        whose loss is acceptable is declared `not_applicable`.

        To fix it: copy the RDB file off the node after each BGSAVE (`redis-cli --rdb`), by a CronJob, and look at its log.
        """
        return await self._each("redis", self.settings.redis, self._object_scheduled)

    @item("Neo4j backups are scheduled", severity=CRITICAL, needs=(_AWS, *CRON_JOB_RIGHTS, *_CLUSTER_RIGHTS))
    async def neo4j_backups_scheduled(self) -> Result:
        """A dump of one database restores neither the others nor the users and rights, which are in the database system.

        For each of `neo4j`, the bucket has a recent DATABASE.dump or DATABASE-TIMESTAMP.backup, not empty, of every one of
        `databases`. With `cronjob`, that is not suspended and its last success is recent.

        To fix it: schedule `neo4j-admin database backup` (Enterprise) or `dump` (Community, with the database stopped) for the
        database that is named, and look at the log of the job.
        """
        return await self._each("neo4j", self.settings.neo4j, self._graph_scheduled)

    async def _object_scheduled(self, store: CacheStore) -> Result:
        parts = self._of_volumes(store)
        if store.objects is not None:
            parts.append(self._of_bucket(store.objects, self._fresh(store.objects)))
            parts.append(self._of_bucket(store.objects, self._filled(store.objects)))
        return await with_cron_job(self, store.cronjob, worst_of(*parts))

    async def _graph_scheduled(self, store: GraphStore) -> Result:
        parts = self._of_volumes(store)
        if store.objects is not None:
            parts.append(self._of_bucket(store.objects, self._dumps(store, store.objects)))
        return await with_cron_job(self, store.cronjob, worst_of(*parts))

    async def _dumps(self, store: GraphStore, objects: Objects) -> Result:
        stored = await self.stored(objects)
        artefacts = [
            Artefact(found.key.rpartition("/")[2], found.written, found.size if found.size >= objects.min_size else 0)
            for found in stored
        ]

        def problems() -> Iterator[Result]:
            for database in store.databases:
                yield from artefact_problems(database, artefacts, objects.max_age, self.now)
                sizes = [found.size for found in _of_database(stored, database) if found.size >= objects.min_size]
                if sizes:
                    yield from size_problems(f"The newest backup of database {database}", sizes[0], sizes[1:])

        return verdict(problems(), ok(f"{store.name} has a recent dump or backup of {listed(store.databases)}."))

    @item(
        "Backup retention policy is configured",
        severity=WARNING,
        needs=(_PROGRAMS, _AWS, *_CLUSTER_RIGHTS),
    )
    async def retention_policy_configured(self) -> Result:
        """A mistake is often noticed days later: the only backups left must not all be younger than it.

        What is there is measured, as a setting may lie: the oldest backup of each store is at least `retention` old (in a bucket
        with versions, those that were replaced count), pgBackRest has `min_fulls` full ones whose files and WAL are there, and no
        rule of the bucket's lifecycle deletes backups earlier than the tool would. RDS retains for as many days. A store that is
        younger than its retention does not pass yet.

        To fix it: raise repo1-retention-full, BackupRetentionPeriod or the days of the rule that is named.
        """
        stores: tuple[Store, ...] = (*self.settings.databases, *self.settings.redis, *self.settings.neo4j)
        return await self._each("databases, redis or neo4j", stores, self._retained)

    async def _retained(self, store: Store) -> Result:
        parts: list[Awaitable[Result]] = []
        if isinstance(store, DatabaseStore):
            if store.pgbackrest is not None:
                parts.append(self._stanza_retained(store))
            if store.barman is not None:
                parts.append(see_barman_retained(store.barman, store.retention, store.min_fulls, self.now))
            if store.walg is not None and store.dsn is not None:
                keeping = (store.retention, store.min_fulls, store.limits.query_timeout, self.now)
                parts.append(see_walg_retained(store.name, store.dsn, store.walg, *keeping))
            if store.rds is not None:
                parts.append(self._rds(store.rds, functools.partial(judge_rds_retention, retention=store.retention)))
                parts.append(self._rds_window(store.rds, store.retention))
            if store.restic is not None:
                parts.append(see_retained(store.name, store.restic, store.retention, self.now))
        if store.velero is not None:
            see = functools.partial(see_velero_retained, velero=store.velero, retention=store.retention)
            parts.append(self._in_cluster(see))
        if store.volume_snapshots is not None:
            see = functools.partial(see_volumes_retained, options=store.volume_snapshots, retention=store.retention)
            parts.append(self._in_cluster(see))
        if store.objects is not None:
            databases = store.databases if isinstance(store, GraphStore) else (None,)
            for database in databases:
                retained = self._objects_retained(store.objects, store.retention, database)
                parts.append(self._of_bucket(store.objects, retained))
        return await worst_of(*parts)

    async def _stanza_retained(self, store: DatabaseStore) -> Result:
        primary, stanza = await self.archived(store)
        assert store.pgbackrest is not None
        return await see_stanza_retained(primary, stanza, store.pgbackrest, store.retention, store.min_fulls, self.now)

    async def _objects_retained(self, objects: Objects, retention: timedelta, database: str | None) -> Result:
        of = f" of database {database}" if database is not None else ""
        stored, bucket = _of_database(await self.stored(objects), database), await self.bucket(objects)
        judged = judge_retention(stored, bucket, objects, retention, self.now, of)
        if judged.status.is_ok or not bucket.versioned:
            return judged
        versions = _of_database(await self.versions(objects), database)  # one object may be replaced each night
        if len(versions) == len(stored):
            return judged
        return judge_retention(versions, bucket, objects, retention, self.now, of, versions=True)

    @item(
        "Backup storage is secure and encrypted",
        severity=CRITICAL,
        mode=Mode.PROBE_AND_EVIDENCE,
        needs=(_PROGRAMS, _AWS, "evidence"),
        evidence=EvidenceRule(valid_for=timedelta(days=180)),
    )
    async def storage_encrypted(self) -> Result:
        """A backup holds everything that the store's own access control protects, and whoever can delete it holds the rest.

        Of each bucket: default encryption (and that of the newest backup itself), KMS keys that are enabled (those of older
        backups, too), no public policy or access control list, and public access blocked by the bucket or its account. With
        `min_lock`, object lock with a rule that locks for so long, as the newest backup is. RDS encrypts its storage. pgBackRest
        encrypts its repositories, unless `objects` names an encrypted bucket that they are in. Where a store has no bucket and
        other backups than those of RDS, a record that is at most 180 days old has to confirm the rest.

        To fix it: change the setting of the bucket that is named; copy old backups onto themselves to encrypt them; set
        repo1-cipher-type. To record it: `checklist-exporter attest backups.storage_encrypted`.
        """
        stores: tuple[Store, ...] = (*self.settings.databases, *self.settings.redis, *self.settings.neo4j)
        if not stores:
            raise ProbeError(
                "Options databases, redis and neo4j name no store, so no backup was checked.", Reason.NOT_CONFIGURED
            )
        parts = [part for store in stores for part in self._secured(store)]
        if any(store.objects is None and set(store.used) != {"rds"} for store in stores):
            parts.append(self.attested("storage_encrypted"))
        return await worst_of(*parts)

    def _secured(self, store: Store) -> list[Awaitable[Result]]:
        """What shows how the backups of a store are protected; nothing where only a record does."""
        parts: list[Awaitable[Result]] = []
        if isinstance(store, DatabaseStore):
            if store.pgbackrest is not None and store.objects is None:
                parts.append(self._stanza_encrypted(store.pgbackrest))
            if store.rds is not None:
                parts.append(self._rds(store.rds, judge_rds_encryption))
            if store.restic is not None:
                parts.append(_encrypted_by_restic(store.name))
        if store.objects is not None:
            parts.append(self._of_bucket(store.objects, self._bucket_secured(store.objects)))
        return parts

    @staticmethod
    async def _stanza_encrypted(settings: PgBackRest) -> Result:
        return judge_encryption(await read_stanza(settings))

    async def _bucket_secured(self, objects: Objects) -> Result:
        return judge_bucket(await self.bucket(objects), objects)

    @item(
        "Backup restoration is tested",
        severity=CRITICAL,
        mode=Mode.PROBE_AND_EVIDENCE,
        needs=("evidence", "with `restore`: allow_intrusive, pgBackRest, PostgreSQL's programs and a folder with room"),
        evidence=EvidenceRule(valid_for=_RESTORED),
    )
    async def restoration_tested(self) -> Result:
        """A backup that was never restored is only a hope.

        With `restore` and `allow_intrusive`, the newest backup of pgBackRest is restored into a PostgreSQL of its own, once in
        `repeat`: it has to leave recovery, to be the same cluster, and to answer `queries` with enough; the time that it took is
        measured. It archives nothing, is reached by nobody, and is removed afterwards. For every other store, a record that is at
        most 90 days old has to measure a restore, as `STORE_seconds` (anything but letters and digits in its name is _).

        To fix it: read the sentence and the log of the tool; take a new backup. To record a restore:
        `checklist-exporter attest backups.restoration_tested`.
        """
        stores: tuple[Store, ...] = (*self.settings.databases, *self.settings.redis, *self.settings.neo4j)
        if not stores:
            raise ProbeError(
                "Options databases, redis and neo4j name no store, so no restore was tested.", Reason.NOT_CONFIGURED
            )
        restored = [store for store in self.settings.databases if self.settings.allow_intrusive and store.restore]
        parts = [self._restored(store) for store in restored]
        if others := [store for store in stores if store not in restored]:
            parts.append(self._restore_recorded(others))
        return await worst_of(*parts)

    async def _restore_recorded(self, stores: Sequence[Store]) -> Result:
        attested = await self.attested("restoration_tested")
        if not attested.status.is_ok:
            return attested
        record, keys = attested.evidence[0], {store.name: f"{_key(store.name)}_seconds" for store in stores}
        longest = self.settings.valid_for.get("restoration_tested", _RESTORED)
        return verdict(restoration_problems(record, keys, longest), attested)

    async def _restored(self, store: DatabaseStore) -> Result:
        assert store.restore is not None
        assert store.pgbackrest is not None
        at, took = f"{_key(store.name)}_restored_timestamp_seconds", f"{_key(store.name)}_restore_seconds"
        last = self.context.recall("restoration_tested") if self.context.recall else {}
        age = timedelta(seconds=self.now.timestamp() - last[at]) if at in last and took in last else None
        if age is not None and timedelta(0) <= age < store.restore.repeat:
            good = ok(f"{store.name} was restored {format_length(age)} ago, within {last[took]:.0f} s.")
            return replace(good, measurements={at: last[at], took: last[took]})
        primary, stanza = await self.archived(store)
        backup = newest_backup(stanza, primary.system_identifier, primary.archiver.timeline, self.now)
        if backup is None:
            return judge_backup(stanza, primary.system_identifier, self.now, store.limits, primary.archiver.timeline)
        begun = self.now.timestamp()
        found = await restore(store.restore, store.pgbackrest, backup)
        judged = judge_restored(found, store.name, backup.label, primary.system_identifier, store.restore)
        return replace(judged, measurements={at: begun, took: found.seconds} if judged.status.is_ok else {})

    async def _each(
        self, option: str, stores: Sequence[StoreT], judge: Callable[[StoreT], Awaitable[Result]]
    ) -> Result:
        if not stores:
            raise ProbeError(f"Option {option} names no store, so no backup was checked.", Reason.NOT_CONFIGURED)
        return await worst_of(*map(judge, stores))


async def _encrypted_by_restic(store: str) -> Result:
    return ok(f"restic encrypts the repository of {store}.")


def _of_database(stored: Sequence[StoredObject], database: str | None) -> list[StoredObject]:
    """The dumps and backups of one database of Neo4j; all of them without one."""
    return [found for found in stored if database is None or is_of(database, found.key.rpartition("/")[2])]


def _key(name: str) -> str:
    """A store's name as part of that of a measurement."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower())
