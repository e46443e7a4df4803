"""Backups on moto's S3 and RDS, and on a real pgBackRest repository."""

from __future__ import annotations

import asyncio
import fcntl
import functools
import gzip
import json
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from collectors.backup_and_recovery.backups import Backups, BackupsSettings
from collectors.systems.aws.client import Aws, AwsSettings
from collectors.systems.backups.judge import judge_bucket, judge_rds
from collectors.systems.backups.model import PUBLIC_BLOCKS, Bucket, Newest, Objects, Rds, RdsInstance, expiries_of
from exporter.threads import Threads
from exporter.verdict import Result, Status
from tests.collectors.evidence import Folder, each, evidence_of
from tests.servers.aws import REGION, AwsServer
from tests.servers.pgbackrest import Repository
from tests.servers.postgresql import PASSWORD, Postgres, create_monitor, postgresql_15
from tests.servers.process import LOOPBACK, free_port, scratch, unprivileged, wait_until
from tests.servers.redis import Node
from tests.support import Run, make_context, sees, verify

BUCKET = "orders-backups"
OBJECTS: dict[str, Any] = {"bucket": BUCKET, "prefix": "orders/"}
ALL_BLOCKED = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
KEY = "a-secret-key"

#: Each line that reads buckets, and where it finds a store.
LINES = {
    "database_backups_scheduled": "databases",
    "redis_backups_scheduled": "redis",
    "retention_policy_configured": "redis",
    "storage_encrypted": "redis",
}


evidence = evidence_of("backups", today=True)


@pytest.fixture
async def client(aws: AwsServer) -> AsyncIterator[Aws]:
    made = Aws(AwsSettings.model_validate(aws.settings), Threads())
    yield made
    await made.close()


class S3:
    """A bucket as it has to be, with one object in it."""

    def __init__(self, aws: AwsServer) -> None:
        self.api = aws.client("s3")

    def create(self, **more: Any) -> None:
        self.api.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}, **more)
        self.encrypt({"SSEAlgorithm": "AES256"})
        self.api.put_public_access_block(Bucket=BUCKET, PublicAccessBlockConfiguration=ALL_BLOCKED)
        self.api.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})

    def encrypt(self, how: dict[str, str]) -> None:
        rule = {"ApplyServerSideEncryptionByDefault": how}
        self.api.put_bucket_encryption(Bucket=BUCKET, ServerSideEncryptionConfiguration={"Rules": [rule]})

    def put(self, key: str, size: int = 1000, *, same: bytes | None = None) -> None:
        content = key.encode() if same is None else same
        self.api.put_object(Bucket=BUCKET, Key=key, Body=content.ljust(size, b"x")[:size])

    def lifecycle(self, **rule: Any) -> None:
        rules = [{"ID": "tidy", "Status": "Enabled", "Filter": {"Prefix": ""}, **rule}]
        self.api.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration={"Rules": rules})


@pytest.fixture
def s3(aws: AwsServer) -> S3:
    bucket = S3(aws)
    bucket.create()
    bucket.put("orders/now.dump")
    return bucket


def run(evidence: Folder, item: str, client: Aws | None = None, **settings: Any) -> Run:
    context = make_context(clients={"aws": client} if client else {}, **evidence.context)
    return Run(Backups, [item], settings=settings, context=context, secrets=[KEY, PASSWORD])


seen = sees(run)


def store(item: str, **more: Any) -> dict[str, Any]:
    return {LINES[item]: [{"name": "orders", "objects": OBJECTS, **more}]}


def days_ago(days: float) -> str:
    return f"{datetime.now(UTC) - timedelta(days=days):%Y-%m-%dT%H-%M-%S}"


# Objects in a bucket


SCHEDULED = each("backups", ("database_backups_scheduled", "redis_backups_scheduled"), "ok", "failed", "unknown")


@pytest.mark.parametrize("item", SCHEDULED)
async def test_the_newest_backup_has_to_be_recent(evidence: Folder, s3: S3, client: Aws, item: str) -> None:
    result = await seen(evidence, item, client, **store(item))
    assert (result.status, result.measurements["backup_size_bytes"]) == (Status.OK, 1000)
    evidence.clock.at += timedelta(hours=27)
    result = await seen(evidence, item, client, **store(item))
    assert (result.status, "is 27 hours old (limit 1d2h)" in result.summary.replace("1 day", "27 hours")) == (
        Status.FAILED,
        True,
    )
    evidence.clock.at -= timedelta(hours=28)
    assert (await seen(evidence, item, client, **store(item))).status is Status.UNKNOWN  # of the future
    assert (await seen(evidence, item, None, **store(item))).status is Status.UNKNOWN
    assert (await seen(evidence, item, client)).status is Status.UNKNOWN


@pytest.mark.parametrize("item", ["database_backups_scheduled", "redis_backups_scheduled"])
async def test_objects_that_are_no_backups(evidence: Folder, s3: S3, client: Aws, item: str) -> None:
    s3.api.delete_object(Bucket=BUCKET, Key="orders/now.dump")
    s3.put("others/now.dump")
    assert "holds no backup." in (await seen(evidence, item, client, **store(item))).summary
    s3.put("orders/empty.dump", 0)
    result = await seen(evidence, item, client, **store(item))
    assert (result.status, "1 object of less than 1 B" in result.summary) == (Status.FAILED, True)
    s3.put(f"orders/{days_ago(40.5)}.dump")  # copied now, made long ago
    result = await seen(evidence, item, client, **store(item))
    assert (result.status, "is 40 days old" in result.summary) == (Status.FAILED, True)
    s3.put("orders/backup.log")
    only = {**OBJECTS, "suffix": ".dump"}
    assert (await seen(evidence, item, client, **store(item, objects=only))).status is Status.FAILED


async def test_a_backup_that_shrank_is_a_warning(evidence: Folder, s3: S3, client: Aws) -> None:
    for day in (1, 2, 3):
        s3.put(f"orders/{days_ago(day)}.dump", 5000)
    result = await seen(evidence, "redis_backups_scheduled", client, **store("redis_backups_scheduled"))
    assert (result.status, "has 1 kB, those before it 5 kB" in result.summary) == (Status.WARNING, True)


async def test_one_file_that_is_stored_again_and_again_is_a_warning(evidence: Folder, s3: S3, client: Aws) -> None:
    """The dump fails, and the upload takes what the last one left behind."""
    line = "database_backups_scheduled"
    for day in (1, 2):
        s3.put(f"orders/{days_ago(day)}.dump")
    assert (await seen(evidence, line, client, **store(line))).status is Status.OK
    s3.put("orders/now.dump", same=b"stale")
    assert (await seen(evidence, line, client, **store(line))).status is Status.OK
    s3.put(f"orders/{days_ago(0.1)}.dump", same=b"stale")
    result = await seen(evidence, line, client, **store(line))
    assert (result.status, "same content as 1 backup before it" in result.summary) == (Status.WARNING, True), result


async def test_what_compressing_nothing_makes_is_no_backup(evidence: Folder, s3: S3, client: Aws) -> None:
    s3.api.delete_object(Bucket=BUCKET, Key="orders/now.dump")
    for day in (0, 1, 2):  # `pg_dump | gzip` has failed for days: none is smaller than those before
        s3.put(f"orders/{days_ago(day)}.sql.gz", len(gzip.compress(b"")))
    result = await seen(evidence, "redis_backups_scheduled", client, **store("redis_backups_scheduled"))
    assert (result.status, "has 20 B, which is what compressing nothing makes" in result.summary) == (
        Status.FAILED,
        True,
    )


async def test_the_rdb_file_of_an_empty_redis_is_a_warning(
    evidence: Folder, s3: S3, client: Aws, tmp_path: Path
) -> None:
    """The job saves a Redis that was started anew without its data, each night, as large as the night before."""
    line = "redis_backups_scheduled"
    s3.api.delete_object(Bucket=BUCKET, Key="orders/now.dump")
    with Node(tmp_path) as server:
        for key, status in ((None, Status.WARNING), ("order:7", Status.OK)):
            if key:
                server.command("SET", key, "paid, and to be sent to the address that the customer has given")
            server.command("SAVE")
            content = (server.data / "dump.rdb").read_bytes()
            s3.api.put_object(Bucket=BUCKET, Key="orders/dump.rdb", Body=content)
            result = await seen(evidence, line, client, **store(line))
            assert (result.status, "without any key" in result.summary) == (status, key is None), result.summary


async def test_what_lies_beside_backups_is_none(evidence: Folder, s3: S3, client: Aws) -> None:
    """Dumps have been empty for days, and the checksums beside them are as large as ever."""
    line = "redis_backups_scheduled"
    s3.api.delete_object(Bucket=BUCKET, Key="orders/now.dump")
    for day in (0, 1, 2):
        s3.put(f"orders/{days_ago(day)}.dump", 0)
        s3.put(f"orders/{days_ago(day)}.dump.sha256", 79)
    s3.put(f"orders/{days_ago(0)}.dump.partial", 5000)
    result = await seen(evidence, line, client, **store(line))
    assert (
        result.status,
        "holds no backup (3 objects of less than 1 B and 4 objects that are none by name)" in result.summary,
    ) == (Status.FAILED, True), result.summary
    s3.put("orders/now.sql.asc")  # encrypted, not signed
    assert (await seen(evidence, line, client, **store(line))).status is Status.OK
    only = {**OBJECTS, "suffix": ".partial"}
    assert (await seen(evidence, line, client, **store(line, objects=only))).status is Status.OK


@pytest.mark.parametrize("item", LINES)
async def test_a_bucket_that_is_gone_holds_no_backup(evidence: Folder, aws: AwsServer, client: Aws, item: str) -> None:
    result = await seen(evidence, item, client, **store(item))
    assert (result.status, f"Bucket {BUCKET} does not exist." in result.summary) == (Status.FAILED, True)


@pytest.mark.parametrize("item", LINES)
async def test_an_aws_that_does_not_answer_is_unknown(evidence: Folder, item: str) -> None:
    url = f"http://{LOOPBACK}:{free_port()}"
    settings = {"region": REGION, "endpoint_url": url, "access_key_id": "A", "secret_access_key": KEY, "timeout": "1s"}
    client = Aws(AwsSettings.model_validate(settings), Threads())
    result = await seen(evidence, item, client, **store(item))
    assert result.status is Status.UNKNOWN
    await client.close()


@pytest.mark.verifies("backups.neo4j_backups_scheduled", "ok")
@pytest.mark.verifies("backups.neo4j_backups_scheduled", "failed")
@pytest.mark.verifies("backups.neo4j_backups_scheduled", "unknown")
async def test_every_database_of_neo4j_has_a_dump(evidence: Folder, s3: S3, client: Aws) -> None:
    line = "neo4j_backups_scheduled"
    graph = {"neo4j": [{"name": "graph", "objects": {"bucket": BUCKET, "prefix": "graph/"}}]}
    s3.put("graph/neo4j.dump")
    result = await seen(evidence, line, client, **graph)
    assert (result.status, "Database system has no dump or backup" in result.summary) == (Status.FAILED, True)
    s3.put("graph/systematic.dump")  # a database of another name
    assert (await seen(evidence, line, client, **graph)).status is Status.FAILED
    s3.put("graph/system.dump", 0)
    assert "database system is empty" in (await seen(evidence, line, client, **graph)).summary
    s3.put("graph/system.dump")
    assert (await seen(evidence, line, client, **graph)).status is Status.OK
    evidence.clock.at += timedelta(days=2)
    assert (await seen(evidence, line, client, **graph)).status is Status.FAILED
    assert (await seen(evidence, line, None, **graph)).status is Status.UNKNOWN


async def test_each_database_of_neo4j_is_retained_and_as_large_as_before(evidence: Folder, s3: S3, client: Aws) -> None:
    graph = {"neo4j": [{"name": "graph", "objects": {"bucket": BUCKET, "prefix": "graph/"}}]}
    for day in range(9):
        s3.put(f"graph/neo4j-{days_ago(day)}.backup", 5000)
    s3.put(f"graph/system-{days_ago(0)}.backup", 5000)
    assert (await seen(evidence, "neo4j_backups_scheduled", client, **graph)).status is Status.OK
    result = await seen(evidence, "retention_policy_configured", client, **graph)
    assert (result.status, "The oldest backup of database system in" in result.summary) == (Status.FAILED, True), result
    for day in range(1, 9):
        s3.put(f"graph/system-{days_ago(day)}.backup", 5000)
    assert (await seen(evidence, "retention_policy_configured", client, **graph)).status is Status.OK
    await asyncio.sleep(1.1)  # S3 dates objects by whole seconds, and the last one counts
    s3.put(f"graph/system-{days_ago(-0.001)}.backup", 100)
    result = await seen(evidence, "neo4j_backups_scheduled", client, **graph)
    assert (result.status, "of database system has 100 B, those before it 5 kB" in result.summary) == (
        Status.WARNING,
        True,
    ), result.summary


# Retention


@pytest.mark.verifies("backups.retention_policy_configured", "ok")
@pytest.mark.verifies("backups.retention_policy_configured", "failed")
@pytest.mark.verifies("backups.retention_policy_configured", "unknown")
async def test_the_oldest_backup_and_the_lifecycle_are_held_against_the_retention(
    evidence: Folder, s3: S3, client: Aws
) -> None:
    line = "retention_policy_configured"
    result = await seen(evidence, line, client, **store(line))
    assert (result.status, "(retention 7d)" in result.summary) == (Status.FAILED, True)
    s3.put(f"orders/{days_ago(8)}.dump")
    result = await seen(evidence, line, client, **store(line))  # one old file is no retention
    assert (result.status, "has no backup from the" in result.summary) == (Status.FAILED, True), result
    s3.put(f"orders/{days_ago(4)}.dump")
    result = await seen(evidence, line, client, **store(line))
    assert (result.status, "has no backup from the" in result.summary) == (Status.FAILED, True), result
    s3.put(f"orders/{days_ago(2)}.dump")
    assert (await seen(evidence, line, client, **store(line))).status is Status.WARNING
    for day in (1, 3, 5, 6):
        s3.put(f"orders/{days_ago(day)}.dump")
    assert (await seen(evidence, line, client, **store(line))).status is Status.OK
    s3.lifecycle(Expiration={"Days": 3}, Filter={"Prefix": "orders/"})
    result = await seen(evidence, line, client, **store(line))
    assert result.status is Status.FAILED
    assert f"Lifecycle rule tidy of bucket {BUCKET} deletes backups after 3 days (retention 7d)." in result.summary
    s3.lifecycle(Expiration={"Days": 3}, Filter={"And": {"Prefix": "", "Tags": [{"Key": "temporary", "Value": "yes"}]}})
    assert (await seen(evidence, line, client, **store(line))).status is Status.UNKNOWN
    for harmless in (
        {"Expiration": {"Days": 3}, "Status": "Disabled"},
        {"Expiration": {"Days": 3}, "Filter": {"Prefix": "others/"}},
        {"Expiration": {"Days": 3}, "Filter": {"Prefix": "orders/temporary-"}},
        {"Expiration": {"Days": 30}},
        {"NoncurrentVersionExpiration": {"NoncurrentDays": 1}},
    ):
        s3.lifecycle(**harmless)
        assert (await seen(evidence, line, client, **store(line))).status is Status.OK, harmless
    assert (await seen(evidence, line, client, **store(line, retention="30d"))).status is Status.FAILED


async def test_what_is_replaced_each_night_is_retained_by_versions(
    evidence: Folder, s3: S3, client: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = "retention_policy_configured"
    for number in range(9):
        s3.put("orders/now.dump", same=b"%d" % number)
    stored = s3.api.list_object_versions(Bucket=BUCKET, Prefix="orders/")["Versions"]
    assert len(stored) == 10
    days, ask = {version["VersionId"]: place for place, version in enumerate(stored)}, Aws.pages

    async def as_if_nightly(self: Aws, *what: Any, **parameters: Any) -> list[Any]:
        found = await ask(self, *what, **parameters)
        return [  # moto stores everything now
            version | {"LastModified": version["LastModified"] - timedelta(days=days[version["VersionId"]])}
            if "VersionId" in version
            else version
            for version in found
        ]

    assert (await seen(evidence, line, client, **store(line))).status is Status.FAILED  # all are of today
    monkeypatch.setattr(Aws, "pages", as_if_nightly)
    result = await seen(evidence, line, client, **store(line))
    assert (result.status, "holds 10 backups" in result.summary) == (Status.OK, True), result.summary
    assert (await seen(evidence, line, client, **store(line, retention="30d"))).status is Status.FAILED
    s3.lifecycle(NoncurrentVersionExpiration={"NoncurrentDays": 3})
    result = await seen(evidence, line, client, **store(line))
    assert (result.status, "deletes replaced backups after 3 days" in result.summary) == (Status.FAILED, True), result
    s3.api.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"})
    assert (await seen(evidence, line, client, **store(line))).status is Status.FAILED


# Encryption and access


async def secured(evidence: Folder, client: Aws, **objects: Any) -> Result:
    return await seen(
        evidence, "storage_encrypted", client, **store("storage_encrypted", objects={**OBJECTS, **objects})
    )


@pytest.mark.verifies("backups.storage_encrypted", "ok")
@pytest.mark.verifies("backups.storage_encrypted", "failed")
async def test_a_bucket_that_is_encrypted_and_out_of_reach(evidence: Folder, s3: S3, client: Aws) -> None:
    assert (await secured(evidence, client)).status is Status.OK
    s3.api.delete_bucket_encryption(Bucket=BUCKET)
    result = await secured(evidence, client)
    assert (result.status, "has no default encryption" in result.summary) == (Status.FAILED, True)


async def test_encryption_of_a_bucket_does_not_reach_what_it_holds(evidence: Folder, s3: S3, client: Aws) -> None:
    s3.api.delete_bucket_encryption(Bucket=BUCKET)
    s3.put("orders/now.dump")
    s3.encrypt({"SSEAlgorithm": "AES256"})
    head = s3.api.head_object(Bucket=BUCKET, Key="orders/now.dump")
    assert "ServerSideEncryption" not in head
    result = await secured(evidence, client)
    assert (result.status, "The newest backup in s3://orders-backups/orders/ is not encrypted." in result.summary) == (
        Status.FAILED,
        True,
    )


async def test_a_key_that_is_about_to_be_deleted(evidence: Folder, aws: AwsServer, s3: S3, client: Aws) -> None:
    kms = aws.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    s3.encrypt({"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key})
    s3.put("orders/now.dump")
    assert (await secured(evidence, client, kms=True)).status is Status.OK
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    result = await secured(evidence, client)
    assert (result.status, "is PendingDeletion" in result.summary) == (Status.FAILED, True)
    s3.encrypt({"SSEAlgorithm": "AES256"})
    assert "not with a key of KMS" in (await secured(evidence, client, kms=True)).summary


async def test_the_newest_backup_has_a_key_of_its_own(evidence: Folder, aws: AwsServer, s3: S3, client: Aws) -> None:
    kms = aws.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    other = kms.create_key()["KeyMetadata"]["KeyId"]
    s3.encrypt({"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": other})
    result = await secured(evidence, client, kms=True)
    assert (result.status, "orders/ is encrypted with AES256, not with a key of KMS" in result.summary) == (
        Status.FAILED,
        True,
    )
    s3.api.put_object(
        Bucket=BUCKET, Key="orders/now.dump", Body=b"x" * 1000, ServerSideEncryption="aws:kms", SSEKMSKeyId=key
    )
    assert (await secured(evidence, client, kms=True)).status is Status.OK
    kms.disable_key(KeyId=key)
    result = await secured(evidence, client, kms=True)
    assert (
        result.status,
        "The KMS key of the newest backup in s3://orders-backups/orders/ is Disabled" in result.summary,
    ) == (
        Status.FAILED,
        True,
    )


async def test_backups_of_last_week_have_keys_of_their_own(
    evidence: Folder, aws: AwsServer, s3: S3, client: Aws
) -> None:
    kms = aws.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    how = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key}
    older = [f"orders/{days_ago(day)}.dump" for day in (5, 6)]
    for name in older:
        s3.api.put_object(Bucket=BUCKET, Key=name, Body=b"x" * 1000, **how)
    assert (await secured(evidence, client)).status is Status.OK
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    result = await secured(evidence, client)
    assert (result.status, "The KMS key of the backup in s3://orders-backups/orders/ of" in result.summary) == (
        Status.FAILED,
        True,
    ), result.summary
    s3.api.delete_bucket_encryption(Bucket=BUCKET)
    for name in older:
        s3.put(name)
    s3.encrypt({"SSEAlgorithm": "AES256"})
    result = await secured(evidence, client)
    assert (result.status, "is not encrypted" in result.summary) == (Status.WARNING, True), result.summary


def account(monkeypatch: pytest.MonkeyPatch, blocks: dict[str, bool] | None) -> None:
    """Let the account have these blocks: its name goes in front of the host's, which moto's address cannot have."""

    async def read(_: Aws) -> dict[str, bool] | None:
        return blocks

    monkeypatch.setattr("collectors.systems.backups.client._account_blocks", read)


@pytest.mark.verifies("backups.storage_encrypted", "unknown")
async def test_public_access(evidence: Folder, s3: S3, client: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.api.delete_public_access_block(Bucket=BUCKET)
    result = await secured(evidence, client)
    assert (result.status, "whether its account does could not be read" in result.summary) == (Status.UNKNOWN, True)
    account(monkeypatch, {})
    result = await secured(evidence, client)
    assert (result.status, "not set), nor does its account." in result.summary) == (Status.FAILED, True)
    s3.api.put_bucket_acl(Bucket=BUCKET, ACL="public-read")
    assert "is public by its access control list" in (await secured(evidence, client)).summary
    account(monkeypatch, ALL_BLOCKED)
    assert (await secured(evidence, client)).status is Status.OK  # the account blocks what the bucket allows


async def test_object_lock_takes_a_rule(evidence: Folder, aws: AwsServer, client: Aws) -> None:
    bucket = S3(aws)
    bucket.create(ObjectLockEnabledForBucket=True)
    assert (await secured(evidence, client)).status is Status.OK
    result = await secured(evidence, client, min_lock="7d")
    assert (result.status, "object lock without a rule: it locks nothing (7d wanted)" in result.summary) == (
        Status.FAILED,
        True,
    )
    for mode, days, status in (("COMPLIANCE", 3, "failed"), ("COMPLIANCE", 7, "ok"), ("GOVERNANCE", 7, "warning")):
        rule = {"DefaultRetention": {"Mode": mode, "Days": days}}
        lock = {"ObjectLockEnabled": "Enabled", "Rule": rule}
        bucket.api.put_object_lock_configuration(Bucket=BUCKET, ObjectLockConfiguration=lock)
        assert (await secured(evidence, client, min_lock="7d")).status == status, (mode, days)


async def test_who_stores_a_backup_may_lock_it(evidence: Folder, aws: AwsServer, client: Aws) -> None:
    bucket = S3(aws)
    bucket.create(ObjectLockEnabledForBucket=True)
    put = functools.partial(bucket.api.put_object, Bucket=BUCKET, Key="orders/now.dump", Body=b"x" * 1000)
    put(ObjectLockLegalHoldStatus="ON")
    result = await secured(evidence, client, min_lock="7d")
    assert (result.status, "has a legal hold alone, which may be lifted (7d wanted)" in result.summary) == (
        Status.FAILED,
        True,
    ), result.summary
    for days, status, words in (
        (3, Status.FAILED, "UTC only (7d wanted)"),
        (8, Status.WARNING, "is locked by who stored it, and one that is stored otherwise is not."),
    ):
        put(ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=datetime.now(UTC) + timedelta(days=days))
        result = await secured(evidence, client, min_lock="7d")
        assert (result.status, words in result.summary) == (status, True), result.summary


async def test_the_rule_locks_what_is_stored_later(evidence: Folder, aws: AwsServer, client: Aws) -> None:
    bucket = S3(aws)
    bucket.create(ObjectLockEnabledForBucket=True)
    rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 7}}
    bucket.api.put_object_lock_configuration(
        Bucket=BUCKET, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
    )
    bucket.put("orders/now.dump")
    assert (await secured(evidence, client, min_lock="7d")).status is Status.OK
    locked = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": datetime.now(UTC) + timedelta(days=1)}
    bucket.api.put_object(Bucket=BUCKET, Key="orders/later.dump", Body=b"x" * 1000, **locked)
    result = await secured(evidence, client, min_lock="7d")
    assert (result.status, "UTC only (7d wanted)" in result.summary) == (Status.FAILED, True), result
    locked = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": datetime.now(UTC) + timedelta(days=9)}
    bucket.api.put_object(Bucket=BUCKET, Key="orders/last.dump", Body=b"x" * 1000, **locked)
    wait_until(  # its times have whole seconds
        lambda: (
            bucket.api.head_object(Bucket=BUCKET, Key="orders/last.dump")["LastModified"]
            > bucket.api.head_object(Bucket=BUCKET, Key="orders/later.dump")["LastModified"]
            or bucket.api.put_object(Bucket=BUCKET, Key="orders/last.dump", Body=b"x" * 1000, **locked) is None
        ),
        "the last backup to be the newest",
    )
    result = await secured(evidence, client, min_lock="7d")
    assert (result.status, "is locked in mode GOVERNANCE" in result.summary) == (Status.WARNING, True), result


def test_a_rule_that_spares_the_newest_versions_deletes_only_some() -> None:
    """moto drops the number."""
    spared = {"NoncurrentDays": 3, "NewerNoncurrentVersions": 10}
    rules: list[Any] = [{"ID": "tidy", "Status": "Enabled", "Filter": {}, "NoncurrentVersionExpiration": spared}]
    (expiry,) = expiries_of(rules)
    assert (expiry.days, expiry.replaced, expiry.filtered) == (3, True, True)
    del spared["NewerNoncurrentVersions"]
    assert [each.filtered for each in expiries_of(rules)] == [False]


def test_a_newest_backup_whose_lock_is_not_shown_is_unknown() -> None:
    newest = Newest("AES256", None, datetime.now(UTC), None)
    bucket = Bucket(
        BUCKET, "AES256", None, newest, frozenset(PUBLIC_BLOCKS), True, False, False, True, True, "COMPLIANCE", 7, ()
    )
    result = judge_bucket(bucket, Objects(bucket=BUCKET, min_lock=timedelta(days=7)))
    assert (result.status, "is locked is not shown" in result.summary) == (Status.UNKNOWN, True)


async def test_a_bucket_without_versions_and_lock_is_a_warning(evidence: Folder, s3: S3, client: Aws) -> None:
    s3.api.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"})
    assert (await secured(evidence, client)).status is Status.WARNING
    assert "has no object lock (7d wanted)" in (await secured(evidence, client, min_lock="7d")).summary


# RDS


@dataclass
class Windows:
    """How far back RDS can restore, which moto does not show."""

    days: float | None = 7


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> Windows:
    ask, state = Aws.call, Windows()

    async def as_aws(self: Aws, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        found = await ask(self, service, operation, **parameters)
        if state.days is not None:
            since = datetime.now(UTC) - timedelta(days=state.days)
            for backup in found.get("DBInstanceAutomatedBackups", ()):
                backup["RestoreWindow"] = {"EarliestTime": since, "LatestTime": datetime.now(UTC)}
            for cluster in found.get("DBClusters", ()):
                cluster["EarliestRestorableTime"] = since
        for instance in found.get("DBInstances", ()):
            if "DBClusterIdentifier" in instance:
                instance.pop("LatestRestorableTime", None)  # which moto adds: Aurora's instances have none
        return found

    monkeypatch.setattr(Aws, "call", as_aws)
    return state


@pytest.mark.parametrize(
    ("retention", "encrypted", "statuses"),
    [(7, True, ("ok", "ok", "ok")), (3, False, ("ok", "failed", "failed")), (0, True, ("failed", "failed", "ok"))],
)
async def test_automated_backups_of_rds(
    evidence: Folder,
    aws: AwsServer,
    client: Aws,
    windows: Windows,
    retention: int,
    encrypted: bool,
    statuses: tuple[str, ...],
) -> None:
    aws.client("rds").create_db_instance(
        DBInstanceIdentifier="orders",
        Engine="postgres",
        DBInstanceClass="db.t3.micro",
        AllocatedStorage=20,
        MasterUsername="owner",
        MasterUserPassword="a-long-password",
        BackupRetentionPeriod=retention,
        StorageEncrypted=encrypted,
    )
    settings = {"databases": [{"name": "orders", "rds": {"instance": "orders"}}]}
    lines = ("database_backups_scheduled", "retention_policy_configured", "storage_encrypted")
    found = [await seen(evidence, line, client, **settings) for line in lines]
    assert tuple(result.status for result in found) == statuses, found
    if retention == 7:  # a setting, which may be of today
        for days, status, words in (
            (6.2, Status.OK, "retains backups for 7 days"),
            (1.5, Status.FAILED, "can be restored to times up to 1 day ago (retention 7d)"),
            (None, Status.UNKNOWN, "Since when RDS instance orders can be restored is not shown"),
        ):
            windows.days = days
            result = await seen(evidence, lines[1], client, **settings)
            assert (result.status, words in result.summary) == (status, True), result.summary
    settings["databases"][0]["rds"] = {"instance": "absent"}
    result = await seen(evidence, lines[0], client, **settings)
    assert (result.status, result.summary) == (Status.FAILED, "RDS instance absent does not exist.")
    assert (await seen(evidence, lines[1], client, **settings)).status is Status.FAILED


async def test_the_cluster_of_an_instance_is_what_is_backed_up(
    evidence: Folder, aws: AwsServer, client: Aws, windows: Windows
) -> None:
    rds = aws.client("rds")
    owner = {"MasterUsername": "owner", "MasterUserPassword": "a-long-password"}
    rds.create_db_cluster(
        DBClusterIdentifier="shop", Engine="aurora-postgresql", BackupRetentionPeriod=7, StorageEncrypted=True, **owner
    )
    rds.create_db_instance(
        DBInstanceIdentifier="shop-1",
        DBClusterIdentifier="shop",
        Engine="aurora-postgresql",
        DBInstanceClass="db.r6g.large",
    )
    settings = {"databases": [{"name": "shop", "rds": {"instance": "shop-1"}}]}
    for line in ("database_backups_scheduled", "retention_policy_configured", "storage_encrypted"):
        result = await seen(evidence, line, client, **settings)
        assert (result.status, "shop-1 of cluster shop" in result.summary or line == "storage_encrypted") == (
            Status.OK,
            True,
        ), result
    windows.days = 2
    result = await seen(evidence, "retention_policy_configured", client, **settings)
    assert (result.status, "of cluster shop can be restored to times" in result.summary) == (Status.FAILED, True)
    windows.days, settings["databases"][0]["retention"] = 8, "8d"
    assert (await seen(evidence, "retention_policy_configured", client, **settings)).status is Status.FAILED
    evidence.clock.at += timedelta(hours=1)
    assert (await seen(evidence, "database_backups_scheduled", client, **settings)).status is Status.FAILED


@pytest.mark.parametrize("status", ["stopped", "storage-full", "inaccessible-encryption-credentials-recoverable"])
def test_an_instance_that_is_not_backed_up_now(status: str) -> None:
    now = datetime(2026, 10, 13, 12, tzinfo=UTC)
    instance = RdsInstance("orders", status, 7, now - timedelta(minutes=5), encrypted=True)
    result = judge_rds(instance, Rds(instance="orders"), now)
    assert (result.status, f"is {status}, and is not backed up" in result.summary) == (Status.FAILED, True)
    assert judge_rds(replace(instance, status="available"), Rds(instance="orders"), now).status is Status.OK


async def test_the_key_of_an_instance_of_rds(evidence: Folder, aws: AwsServer, client: Aws) -> None:
    kms = aws.client("kms")
    key = kms.create_key()["KeyMetadata"]
    aws.client("rds").create_db_instance(
        DBInstanceIdentifier="orders",
        Engine="postgres",
        DBInstanceClass="db.t3.micro",
        AllocatedStorage=20,
        MasterUsername="owner",
        MasterUserPassword="a-long-password",
        BackupRetentionPeriod=7,
        StorageEncrypted=True,
        KmsKeyId=key["Arn"],
    )
    settings = {"databases": [{"name": "orders", "rds": {"instance": "orders"}}]}
    assert (await seen(evidence, "storage_encrypted", client, **settings)).status is Status.OK
    kms.schedule_key_deletion(KeyId=key["KeyId"], PendingWindowInDays=7)
    result = await seen(evidence, "storage_encrypted", client, **settings)
    assert (result.status, result.summary) == (
        Status.FAILED,
        "The KMS key of RDS instance orders is PendingDeletion: its backups cannot be restored without it.",
    )


# pgBackRest


@pytest.fixture(scope="module")
def backed_up() -> Iterator[tuple[Postgres, Repository]]:
    """A PostgreSQL 15 with a tablespace, which archives into a pgBackRest repository with one full backup."""
    with scratch("pgbackrest", unprivileged()) as directory:
        repository = Repository(directory)
        primary = Postgres(postgresql_15(), directory, "primary")
        primary.initialize(archive_mode="on", archive_command=repository.archive_command)
        with primary:
            create_monitor(primary)
            fast = directory / "fast"
            fast.mkdir()
            if user := unprivileged():
                shutil.chown(fast, user)
            primary.query(f"CREATE TABLESPACE fast LOCATION '{fast}'")
            repository.configure(primary)
            repository.back_up(primary)
            yield primary, repository


def database(backed_up: tuple[Postgres, Repository], dsn: str | None = None, **more: Any) -> dict[str, Any]:
    primary, repository = backed_up
    pgbackrest = {"stanza": "orders", "command": repository.command, "config": str(repository.config)}
    return {"databases": [{"name": "orders", "dsn": dsn or primary.dsn(), "pgbackrest": pgbackrest, **more}]}


async def test_a_repository_of_pgbackrest(evidence: Folder, backed_up: tuple[Postgres, Repository]) -> None:
    settings = database(backed_up)
    result = await seen(evidence, "database_backups_scheduled", **settings)
    assert (result.status, "The repository holds WAL up to" in result.summary) == (Status.OK, True), result
    result = await seen(evidence, "retention_policy_configured", **settings)
    assert (result.status, "holds 1 full backup" in result.summary) == (Status.FAILED, True)
    evidence.record("storage_encrypted")
    result = await seen(evidence, "storage_encrypted", **settings)
    assert (result.status, "does not encrypt repository 1" in result.summary) == (Status.FAILED, True)
    evidence.clock.at += timedelta(days=2)
    assert (await seen(evidence, "database_backups_scheduled", **settings)).status is Status.FAILED
    evidence.clock.at += timedelta(days=6)
    result = await seen(evidence, "retention_policy_configured", **settings)
    assert (result.status, "(at least 2 wanted)" in result.summary) == (Status.FAILED, True)
    settings = database(backed_up, min_fulls=1)
    assert (await seen(evidence, "retention_policy_configured", **settings)).status is Status.OK


async def test_what_pgbackrest_still_lists(evidence: Folder, backed_up: tuple[Postgres, Repository]) -> None:
    primary, repository = backed_up
    settings = database(backed_up, min_fulls=1, retention="1ms")
    primary.script("CREATE TABLE IF NOT EXISTS written (); DROP TABLE written", "orders")
    ((segment,),) = primary.query("SELECT pg_walfile_name(pg_switch_wal())")
    wait_until(
        lambda: primary.query(f"SELECT 1 FROM pg_stat_archiver WHERE last_archived_wal >= '{segment}'"),
        f"{segment} to be archived",
    )
    (stored,) = (repository.path / "archive").rglob(f"{segment}-*")
    content = stored.read_bytes()
    stored.chmod(0o640)
    stored.write_bytes(content[:100_000])  # as on a disk that is full
    try:
        result = await seen(evidence, "database_backups_scheduled", **settings)
    finally:
        stored.write_bytes(content)
    words = f"holds WAL segment {segment} with 100 kB only: after backup"
    assert (result.status, words in result.summary) == (Status.FAILED, True), result.summary
    assert (await seen(evidence, "retention_policy_configured", **settings)).status is Status.OK
    (folder,) = (path for path in (repository.path / "backup/orders").glob("*F") if path.is_dir())
    away = folder.rename(folder.with_name(f"{folder.name}-away"))
    try:
        assert f"full backup: {folder.name}" in repository.run("info")
        for line in ("database_backups_scheduled", "retention_policy_configured"):
            result = await seen(evidence, line, **settings)
            assert (result.status, folder.name in result.summary) == (Status.FAILED, True), result.summary
            assert "gone" in result.summary
    finally:
        away.rename(folder)


async def test_a_backup_that_leaves_files_out(evidence: Folder, backed_up: tuple[Postgres, Repository]) -> None:
    """pgBackRest reports it as complete: what it leaves out is said in its manifest alone."""
    _, repository = backed_up
    before = set(_labels(repository))
    repository.run("backup", "--type=full", "--exclude=base", "--repo1-retention-full=9")
    (label,) = set(_labels(repository)) - before
    try:
        result = await seen(evidence, "database_backups_scheduled", **database(backed_up))
    finally:
        repository.run("expire", f"--set={label}")
    assert (result.status, f"Backup {label} has" in result.summary) == (Status.WARNING, True), result.summary


def _labels(repository: Repository) -> list[str]:
    (stanza,) = json.loads(repository.run("info", "--output=json"))
    return [backup["label"] for backup in stanza["backup"]]


async def test_a_cluster_that_is_not_there_is_unknown(evidence: Folder, backed_up: tuple[Postgres, Repository]) -> None:
    settings = database(backed_up, f"postgresql://checklist_exporter:{KEY}@{LOOPBACK}:{free_port()}/orders")
    result = await seen(evidence, "database_backups_scheduled", **settings)
    assert (result.status, "cannot be reached" in result.summary) == (Status.UNKNOWN, True), result.summary


# Restores


@pytest.fixture
def room() -> Iterator[Path]:
    with scratch("restores", unprivileged()) as directory:
        yield directory


def restoring(
    backed_up: tuple[Postgres, Repository], room: Path, *queries: dict[str, Any], **more: Any
) -> dict[str, Any]:
    programs = postgresql_15()
    prefix = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"] if unprivileged() else []
    prefix += ["env", *(f"{name}={value}" for name, value in programs.env.items())]
    settings = database(backed_up)
    store = settings["databases"][0]
    store["pgbackrest"]["command"] = [*prefix, *backed_up[1].command]
    store["restore"] = {
        "folder": str(room),
        "postgres": [*prefix, str(programs.folder / "postgres")],
        "queries": list(queries) or [{"sql": "SELECT count(*) FROM paid", "database": "orders", "at_least": 3}],
        **more,
    }
    return {**settings, "allow_intrusive": True, "timeout": "120s"}


@pytest.mark.verifies("backups.restoration_tested", "ok")
@pytest.mark.verifies("backups.restoration_tested", "failed")
async def test_a_backup_is_restored_up_to_its_last_commit(
    evidence: Folder, backed_up: tuple[Postgres, Repository], room: Path
) -> None:
    primary, repository = backed_up
    primary.script(
        "DROP TABLE IF EXISTS paid; CREATE TABLE paid TABLESPACE fast AS SELECT generate_series(1, 3)", "orders"
    )
    ((segment,),) = primary.query("SELECT pg_walfile_name(pg_switch_wal())")
    wait_until(
        lambda: primary.query(f"SELECT 1 FROM pg_stat_archiver WHERE last_archived_wal >= '{segment}'"),
        "the WAL to be archived",
    )
    before = sorted(path.name for path in repository.path.rglob("*"))
    ours = sorted((primary.directory / "fast").rglob("*"))
    settings = restoring(backed_up, room)
    result = await seen(evidence, "restoration_tested", **settings)
    assert (result.status, "1 query passed" in result.summary) == (Status.OK, True), result
    assert result.measurements["orders_restore_seconds"] > 0
    assert [path.name for path in room.iterdir()] == [".restore.lock"]
    assert sorted(path.name for path in repository.path.rglob("*")) == before  # the copy archived nothing
    assert sorted((primary.directory / "fast").rglob("*")) == ours
    result = await seen(
        evidence,
        "restoration_tested",
        **restoring(
            backed_up,
            room,
            {"sql": "SELECT count(*) FROM paid", "database": "orders", "at_least": 4},
            {"sql": "SELECT 1 FROM absent"},
            {"sql": "SELECT 1", "database": "gone"},
        ),
    )
    assert result.status is Status.FAILED
    for words in (
        "query 1 of database orders returned 3 (at least 4 wanted)",
        'relation "absent" does not exist',
        "query 3 of database gone failed",
    ):
        assert words in result.summary
    config = repository.config.read_text()
    label = next(path for path in (repository.path / "backup/orders").iterdir() if path.name.endswith("F"))
    data = label / "pg_data/global"
    hidden = data.with_name("hidden")
    data.rename(hidden)
    try:
        assert '"code":0' in repository.run("info", "--output=json")  # it says that all is well
        result = await seen(evidence, "restoration_tested", **settings)
    finally:
        hidden.rename(data)
    assert (result.status, "The restore of backup" in result.summary) == (Status.FAILED, True), result
    assert [path.name for path in room.iterdir()] == [".restore.lock"]
    assert repository.config.read_text() == config


@pytest.mark.verifies("backups.restoration_tested", "unknown")
async def test_a_restore_that_cannot_be_tried_is_unknown(
    evidence: Folder, backed_up: tuple[Postgres, Repository], room: Path
) -> None:
    result = await seen(evidence, "restoration_tested", **restoring(backed_up, room / "absent"))
    assert (result.status, "cannot be used: No such file or directory" in result.summary) == (Status.UNKNOWN, True), (
        result
    )
    with (room / ".restore.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = await seen(evidence, "restoration_tested", **restoring(backed_up, room))
    assert (result.status, "is under way" in result.summary) == (Status.UNKNOWN, True)


async def test_a_restore_is_repeated_once_in_a_while(
    evidence: Folder, backed_up: tuple[Postgres, Repository], room: Path
) -> None:
    settings = BackupsSettings.model_validate(restoring(backed_up, room / "absent"), strict=False)  # not to be tried
    at = evidence.clock.at.timestamp() - 3600
    measured = {"orders_restored_timestamp_seconds": at, "orders_restore_seconds": 412.0}
    for hours, status in ((0, "ok"), (24, "unknown")):
        evidence.clock.advance(hours=hours)
        found = await verify(
            Backups, settings, items=("restoration_tested",), recall=lambda _: measured, **evidence.context
        )
        result = found["restoration_tested"].result
        assert result.status == status
    measured["orders_restored_timestamp_seconds"] = evidence.clock.at.timestamp() + 3600  # of the future
    found = await verify(
        Backups, settings, items=("restoration_tested",), recall=lambda _: measured, **evidence.context
    )
    assert found["restoration_tested"].result.status is Status.UNKNOWN


async def test_without_leave_a_record_has_to_measure_a_restore_of_every_store(
    evidence: Folder, backed_up: tuple[Postgres, Repository], room: Path
) -> None:
    settings = {**restoring(backed_up, room), "allow_intrusive": False}
    assert (await seen(evidence, "restoration_tested", **settings)).status is Status.FAILED
    on = f"{evidence.clock.at:%Y-%m-%d}"
    evidence.record("restoration_tested", on=on)
    assert (
        "measures no restore of orders (such as orders_seconds, at least 1 s)"
        in (await seen(evidence, "restoration_tested", **settings)).summary
    )
    evidence.record("restoration_tested", on=on, measured={"orders_seconds": 0})
    assert (await seen(evidence, "restoration_tested", **settings)).status is Status.FAILED
    evidence.record("restoration_tested", on=on, measured={"orders_seconds": 412})
    assert (await seen(evidence, "restoration_tested", **settings)).status is Status.OK
    assert not list(room.iterdir())


@pytest.mark.parametrize(
    "settings",
    [
        {"databases": [{"name": "orders"}]},
        {"databases": [{"name": "orders", "pgbackrest": {"stanza": "orders"}}]},
        {"databases": [{"name": "orders", "dsn": f"postgresql://a:{KEY}@b@c/d", "rds": {"instance": "orders"}}]},
        {"redis": [{"name": "cache"}]},
        {"redis": [{"name": "cache", "objects": {"bucket": "No_Bucket"}}]},
        {"neo4j": [{"name": "graph", "objects": OBJECTS, "databases": []}]},
    ],
)
def test_options_that_cannot_be_meant_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error") as refused:
        BackupsSettings.model_validate(settings, strict=False)
    assert KEY not in str(refused.value)
