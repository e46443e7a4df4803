"""Asks S3 and RDS about backups. Object contents are not read."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from collectors.systems.aws.client import Aws, AwsError
from collectors.systems.backups.model import (
    PUBLIC_BLOCKS,
    Bucket,
    Newest,
    Objects,
    Rds,
    RdsInstance,
    StoredObject,
    backups_among,
    expiries_of,
)
from collectors.systems.neo4j.model import dated
from exporter.verdict import ProbeError, Reason

__all__ = ["read_bucket", "read_objects", "read_rds", "read_rds_since", "read_versions"]

_EVERYONE = (
    "http://acs.amazonaws.com/groups/global/AllUsers",
    "http://acs.amazonaws.com/groups/global/AuthenticatedUsers",
)
_ABSENT = frozenset(
    {
        "NoSuchBucketPolicy",
        "NoSuchLifecycleConfiguration",
        "NoSuchPublicAccessBlockConfiguration",
        "ObjectLockConfigurationNotFoundError",
        "ServerSideEncryptionConfigurationNotFoundError",
    }
)


async def read_objects(aws: Aws, objects: Objects) -> list[StoredObject]:
    """The objects that the options name, the newest first; those that are too small to be a backup too. Raises ProbeError."""
    return await _listed(aws, objects, "list_objects_v2", "Contents")


async def read_versions(aws: Aws, objects: Objects) -> list[StoredObject]:
    """The same with what they replaced, in a bucket with versions. Raises ProbeError."""
    return await _listed(aws, objects, "list_object_versions", "Versions")


async def _listed(aws: Aws, objects: Objects, operation: str, key: str) -> list[StoredObject]:
    listed = await aws.pages("s3", operation, key, most=100_000, Bucket=objects.bucket, Prefix=objects.prefix)
    found = [
        StoredObject(
            entry["Key"],
            dated(entry["Key"], entry["LastModified"]),
            entry["Size"],
            entry.get("StorageClass", "STANDARD"),
            entry.get("ETag", ""),
        )
        for entry in listed
        if entry["Key"].endswith(objects.suffix)
    ]
    return sorted(found, key=lambda stored: stored.written, reverse=True)


async def read_bucket(aws: Aws, objects: Objects) -> Bucket:
    """How the bucket is protected. Raises ProbeError when any of it cannot be read."""
    name = objects.bucket
    encryption, block, policy, acl, versioning, lock, lifecycle = await asyncio.gather(
        _ask(aws, name, "get_bucket_encryption"),
        _ask(aws, name, "get_public_access_block"),
        _ask(aws, name, "get_bucket_policy_status"),
        _ask(aws, name, "get_bucket_acl"),
        _ask(aws, name, "get_bucket_versioning"),
        _ask(aws, name, "get_object_lock_configuration"),
        _ask(aws, name, "get_bucket_lifecycle_configuration"),
    )
    stored, account = await asyncio.gather(read_objects(aws, objects), _account_blocks(aws))
    default: dict[str, Any] = next(
        (
            rule["ApplyServerSideEncryptionByDefault"]
            for rule in encryption.get("ServerSideEncryptionConfiguration", {}).get("Rules", ())
            if "ApplyServerSideEncryptionByDefault" in rule
        ),
        {},
    )
    own = block.get("PublicAccessBlockConfiguration", {})
    blocks = frozenset(each for each in PUBLIC_BLOCKS if own.get(each) or (account or {}).get(each))
    locking = lock.get("ObjectLockConfiguration", {})
    retention = locking.get("Rule", {}).get("DefaultRetention", {})
    days = retention.get("Days") or (retention["Years"] * 365 if retention.get("Years") else None)
    backups = backups_among(stored, objects)
    older = dict.fromkeys(found.key for found in (backups[-1], backups[len(backups) // 2])) if len(backups) > 1 else ()
    return Bucket(
        name=name,
        algorithm=default.get("SSEAlgorithm"),
        key_state=await _key_state(aws, default.get("KMSMasterKeyID")),
        newest=await _protection(aws, name, backups[0].key) if backups else None,
        blocks=blocks,
        account_seen=account is not None,
        policy_public=bool(policy.get("PolicyStatus", {}).get("IsPublic")),
        acl_public=any(grant.get("Grantee", {}).get("URI") in _EVERYONE for grant in acl.get("Grants", ())),
        versioned=versioning.get("Status") == "Enabled",
        locked=locking.get("ObjectLockEnabled") == "Enabled",
        lock_mode=retention.get("Mode"),
        lock_days=days,
        expiries=expiries_of(lifecycle.get("Rules", [])),
        older=tuple([await _protection(aws, name, key) for key in older if key != backups[0].key]),
    )


async def _ask(aws: Aws, bucket: str, operation: str) -> dict[str, Any]:
    """What the bucket has of this; empty where it has none."""
    try:
        return await aws.call("s3", operation, Bucket=bucket)
    except AwsError as error:
        if error.code in _ABSENT:
            return {}
        raise


async def _account_blocks(aws: Aws) -> dict[str, bool] | None:
    """The public access blocks of the whole account; None where they may not be read."""
    try:
        account = (await aws.call("sts", "get_caller_identity"))["Account"]
        found = await aws.call("s3control", "get_public_access_block", AccountId=account)
    except AwsError as error:
        return {} if error.code in _ABSENT else None
    except ProbeError:  # a compatible service knows no accounts
        return None
    return dict(found.get("PublicAccessBlockConfiguration", {}))


async def _protection(aws: Aws, bucket: str, key: str) -> Newest:
    """How an object is protected: the default of a bucket changes nothing of what it holds already."""
    head = await aws.call("s3", "head_object", Bucket=bucket, Key=key)
    return Newest(
        algorithm=head.get("ServerSideEncryption") or head.get("SSECustomerAlgorithm"),
        key_state=await _key_state(aws, head.get("SSEKMSKeyId")),
        stored=head["LastModified"],
        locked_until=head.get("ObjectLockRetainUntilDate"),
        lock_mode=head.get("ObjectLockMode"),
        legal_hold=head.get("ObjectLockLegalHoldStatus") == "ON",
    )


async def _key_state(aws: Aws, key: str | None) -> str | None:
    if key is None:
        return None
    try:
        return str((await aws.call("kms", "describe_key", KeyId=key))["KeyMetadata"]["KeyState"])
    except AwsError as error:
        if error.code == "NotFoundException":
            return "gone"
        raise


async def read_rds(aws: Aws, rds: Rds) -> RdsInstance:
    """The DB instance. Raises ProbeError when it cannot be read; AwsError DBInstanceNotFound when there is none.

    Of one in a cluster, as Aurora's are, the cluster is backed up, and says so.
    """
    found = (await aws.call("rds", "describe_db_instances", DBInstanceIdentifier=rds.instance)).get("DBInstances", [])
    if len(found) != 1:
        raise ProbeError(f"AWS rds describes {len(found)} instances named {rds.instance}.", Reason.MALFORMED)
    name, described, status = rds.instance, found[0], found[0].get("DBInstanceStatus", "")
    if cluster := described.get("DBClusterIdentifier"):
        clusters = (await aws.call("rds", "describe_db_clusters", DBClusterIdentifier=cluster)).get("DBClusters", [])
        if len(clusters) != 1:
            raise ProbeError(f"AWS rds describes {len(clusters)} clusters named {cluster}.", Reason.MALFORMED)
        name, described = f"{rds.instance} of cluster {cluster}", clusters[0]
        status = described.get("Status", "")
    return RdsInstance(
        name=name,
        cluster=cluster,
        status=str(status),
        retention=int(described.get("BackupRetentionPeriod", 0)),
        restorable=described.get("LatestRestorableTime"),
        encrypted=bool(described.get("StorageEncrypted")),
        key_state=None if (state := await _key_state(aws, described.get("KmsKeyId"))) == "gone" else state,
    )


async def read_rds_since(aws: Aws, rds: Rds, instance: RdsInstance) -> datetime | None:
    """The earliest time to which the instance, or its cluster, can be restored; None where AWS names none. Raises ProbeError."""
    if instance.cluster:
        clusters = (await aws.call("rds", "describe_db_clusters", DBClusterIdentifier=instance.cluster)).get(
            "DBClusters"
        )
        return next((found.get("EarliestRestorableTime") for found in clusters or ()), None)
    backups = await aws.call("rds", "describe_db_instance_automated_backups", DBInstanceIdentifier=rds.instance)
    windows = (
        backup.get("RestoreWindow", {})
        for backup in backups.get("DBInstanceAutomatedBackups", ())
        if backup.get("Status") == "active"  # others are of an instance of that name that was deleted
    )
    return next((window.get("EarliestTime") for window in windows), None)
