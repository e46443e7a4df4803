"""Whether backups in buckets and in RDS are recent, retained for long enough, encrypted and protected; recorded restores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from collectors.shared.copies import (
    CLOCKS,
    age_problems,
    repeated_problems,
    retention_problems,
    size_problems,
)
from collectors.shared.drills import LEAST_SECONDS, drill_problems
from collectors.shared.verdicts import verdict
from collectors.systems.backups.model import (
    PUBLIC_BLOCKS,
    Bucket,
    Expiry,
    Newest,
    Objects,
    Rds,
    RdsInstance,
    StoredObject,
    backups_among,
)
from exporter.evidence.records import Record
from exporter.options import format_duration
from exporter.verdict import Reason, Result, failed, ok, unknown, warning
from exporter.words import counted, format_length, format_size, listed

__all__ = [
    "judge_bucket",
    "judge_empty_rdb",
    "judge_objects",
    "judge_rds",
    "judge_rds_encryption",
    "judge_rds_retention",
    "judge_rds_window",
    "judge_retention",
    "restoration_problems",
]

_EMPTY_ARCHIVE = 64  # gzip, xz and zstd make 13 to 32 bytes of nothing
_EMPTY_RDB = 128
_DAY = timedelta(days=1)
_FROZEN = ("GLACIER", "DEEP_ARCHIVE")
_KEYLESS = ("inaccessible-encryption-credentials", "inaccessible-encryption-credentials-recoverable")
_UNUSABLE = ("stopped", "stopping", "deleting", "failed", "storage-full", *_KEYLESS)


def _where(objects: Objects) -> str:
    return f"s3://{objects.bucket}/{objects.prefix}"


def judge_objects(stored: Sequence[StoredObject], objects: Objects, now: datetime) -> Result:
    """Whether the newest of these objects, the newest first, is recent and as large as those before."""
    backups = backups_among(stored, objects)
    if not backups:
        small = sum(found.size < objects.min_size for found in stored)
        others = [f"{counted(small, 'object')} of less than {format_size(objects.min_size)}"] if small else []
        if beside := len(stored) - small:
            others.append(f"{counted(beside, 'object')} that {'is' if beside == 1 else 'are'} none by name")
        held = f" ({listed(others)})" if others else ""
        return failed(f"{_where(objects)} holds no backup{held}.", reason=Reason.MISSING)
    newest = backups[0]
    age = now - newest.written
    good = ok(
        f"The newest backup in {_where(objects)} is {format_length(age)} old and has {format_size(newest.size)}.",
        backup_age_seconds=max(0.0, age.total_seconds()),
        backup_size_bytes=newest.size,
    )
    return verdict(_object_problems(backups, objects, now), good)


def _object_problems(backups: Sequence[StoredObject], objects: Objects, now: datetime) -> Iterator[Result]:
    newest, name = backups[0], f"The newest backup in {_where(objects)}"
    yield from age_problems(name, newest.written, objects.max_age, now)
    if newest.size < _EMPTY_ARCHIVE:
        yield failed(
            f"{name} has {format_size(newest.size)}, which is what compressing nothing makes.",
            reason=Reason.INVALID,
        )
    if newest.storage_class in _FROZEN:
        yield warning(f"{name} is in storage class {newest.storage_class}: it cannot be read at once.")
    contents = [f"{found.tag} {found.size}" if found.tag else "" for found in backups]
    yield from repeated_problems(name, contents, [found.written for found in backups])
    yield from size_problems(name, newest.size, [found.size for found in backups[1:]])


def judge_retention(
    stored: Sequence[StoredObject],
    bucket: Bucket,
    objects: Objects,
    retention: timedelta,
    now: datetime,
    of: str = "",
    *,
    versions: bool = False,
) -> Result:
    """Whether backups are as old as they have to be retained, and no rule of the bucket deletes them before.

    `of` names what they are backups of where others are in the same place, such as ` of database neo4j`. With `versions`, those
    that were replaced are among them.
    """
    backups = backups_among(stored, objects)
    if not backups:
        return failed(f"{_where(objects)} holds no backup{of}, so nothing is retained.", reason=Reason.MISSING)
    oldest = min(found.written for found in backups)
    good = ok(
        f"{_where(objects)} holds {counted(len(backups), 'backup')}{of}, the oldest of {format_length(now - oldest)} ago.",
        oldest_backup_age_seconds=(now - oldest).total_seconds(),
    )
    expiries = [expiry for expiry in bucket.expiries if versions or not expiry.replaced]
    return verdict(_retention_problems(backups, bucket.name, expiries, objects, retention, now, of), good)


def _retention_problems(
    backups: Sequence[StoredObject],
    bucket: str,
    expiries: Sequence[Expiry],
    objects: Objects,
    retention: timedelta,
    now: datetime,
    of: str,
) -> Iterator[Result]:
    for expiry in expiries:
        if not expiry.concerns(found.key for found in backups):
            continue
        if expiry.date is not None and expiry.date < now + retention:
            when = f"from {expiry.date:%F} on"
        elif expiry.days is not None and timedelta(days=expiry.days) < retention:
            when = f"after {counted(expiry.days, 'day')}"
        else:
            continue
        rule = f"Lifecycle rule {expiry.rule} of bucket {bucket}"
        what = "replaced backups" if expiry.replaced else "backups"
        sentence = f"{rule} deletes {what} {when} (retention {format_duration(retention)})"
        if expiry.filtered:
            yield unknown(f"{sentence}, if they match its filter.", reason=Reason.CONTRADICTED)
        else:
            yield failed(f"{sentence}.", reason=Reason.CONTRADICTED)
    where, written = _where(objects), [found.written for found in backups]
    yield from retention_problems(
        f"The oldest backup{of} in {where}", f"{where} has no backup{of}", written, retention, objects.max_age, now
    )


def judge_bucket(bucket: Bucket, objects: Objects) -> Result:
    """Whether backups in the bucket are encrypted, out of everyone's reach, and protected from being deleted."""
    how = "KMS" if bucket.algorithm and "kms" in bucket.algorithm else bucket.algorithm
    lock = f", locked for {counted(bucket.lock_days, 'day')}" if bucket.lock_days else ""
    good = ok(f"Bucket {bucket.name} is encrypted ({how}) and not public{lock}.")
    return verdict(
        (*_access_problems(bucket), *_encryption_problems(bucket, objects), *_lock_problems(bucket, objects)), good
    )


def _access_problems(bucket: Bucket) -> Iterator[Result]:
    if bucket.policy_public and "RestrictPublicBuckets" not in bucket.blocks:
        yield failed(f"Bucket {bucket.name} is public by its policy.", reason=Reason.MISCONFIGURED)
    if bucket.acl_public and "IgnorePublicAcls" not in bucket.blocks:
        yield failed(f"Bucket {bucket.name} is public by its access control list.", reason=Reason.MISCONFIGURED)
    if missing := [block for block in PUBLIC_BLOCKS if block not in bucket.blocks]:
        sentence = f"Bucket {bucket.name} does not block public access ({listed(missing)} not set)"
        if bucket.account_seen:
            yield failed(f"{sentence}, nor does its account.", reason=Reason.MISCONFIGURED)
        else:
            yield unknown(f"{sentence}; whether its account does could not be read.", reason=Reason.DENIED)


def _encryption_problems(bucket: Bucket, objects: Objects) -> Iterator[Result]:
    if bucket.algorithm is None:
        yield failed(f"Bucket {bucket.name} has no default encryption.", reason=Reason.MISCONFIGURED)
    elif objects.kms and "kms" not in bucket.algorithm:
        yield failed(
            f"Bucket {bucket.name} is encrypted with {bucket.algorithm}, not with a key of KMS.",
            reason=Reason.MISCONFIGURED,
        )
    if bucket.newest:
        yield from _own_encryption_problems(f"newest backup in {_where(objects)}", bucket.newest, objects)
    for older in bucket.older:
        name = f"backup in {_where(objects)} of {older.stored:%F %H:%M} UTC"
        yield from _key_problems(name, older)
        if older.algorithm is None:
            yield warning(f"The {name} is not encrypted: it was stored before the newest.")
    if bucket.key_state not in (None, "Enabled"):
        yield failed(
            f"The KMS key of bucket {bucket.name} is {bucket.key_state}: its backups cannot be read without it.",
            reason=Reason.DOWN,
        )


def _own_encryption_problems(name: str, found: Newest, objects: Objects) -> Iterator[Result]:
    if found.algorithm is None:
        yield failed(f"The {name} is not encrypted.", reason=Reason.UNMET)
    elif objects.kms and "kms" not in found.algorithm:
        yield failed(
            f"The {name} is encrypted with {found.algorithm}, not with a key of KMS.", reason=Reason.MISCONFIGURED
        )
    yield from _key_problems(name, found)


def _key_problems(name: str, found: Newest) -> Iterator[Result]:
    if found.key_state not in (None, "Enabled"):
        yield failed(
            f"The KMS key of the {name} is {found.key_state}: it cannot be read without it.", reason=Reason.DOWN
        )


def _lock_problems(bucket: Bucket, objects: Objects) -> Iterator[Result]:
    if objects.min_lock is None:
        if not bucket.versioned and not bucket.lock_days:
            yield warning(
                f"Bucket {bucket.name} has neither versions nor object lock: who may write can destroy every backup."
            )
        return
    wanted = f"({format_duration(objects.min_lock)} wanted)"
    if not bucket.locked:
        yield failed(f"Bucket {bucket.name} has no object lock {wanted}.", reason=Reason.MISSING)
    elif bucket.lock_days is None and not (bucket.newest and bucket.newest.locked_until):
        held = (
            "its newest backup has a legal hold alone, which may be lifted" if _is_held(bucket) else "it locks nothing"
        )
        yield failed(
            f"Bucket {bucket.name} has object lock without a rule: {held} {wanted}.", reason=Reason.MISCONFIGURED
        )
    elif bucket.lock_days is not None and timedelta(days=bucket.lock_days) < objects.min_lock:
        yield failed(
            f"Bucket {bucket.name} locks objects for {counted(bucket.lock_days, 'day')} {wanted}.", reason=Reason.LIMIT
        )
    elif bucket.newest and bucket.newest.locked_until is None:
        yield unknown(
            f"Until when the newest backup in {_where(objects)} is locked is not shown {wanted}: it was stored before the rule, or "
            "the right s3:GetObjectRetention is missing.",
            reason=Reason.DENIED,
        )
    elif (
        bucket.newest
        and bucket.newest.locked_until
        and (bucket.newest.locked_until - bucket.newest.stored < objects.min_lock - CLOCKS)
    ):
        yield failed(
            f"The newest backup in {_where(objects)} is locked until {bucket.newest.locked_until:%F %H:%M} UTC only {wanted}.",
            reason=Reason.LIMIT,
        )
    elif bucket.lock_days is None:
        yield warning(
            f"Bucket {bucket.name} has object lock without a rule: its newest backup is locked by who stored it, and one that is "
            "stored otherwise is not."
        )
    elif bucket.newest and bucket.newest.lock_mode == "GOVERNANCE" != bucket.lock_mode:
        yield warning(
            f"The newest backup in {_where(objects)} is locked in mode GOVERNANCE, which privileged accounts can bypass."
        )
    elif bucket.lock_mode != "COMPLIANCE":
        yield warning(
            f"Bucket {bucket.name} locks objects in mode {bucket.lock_mode}, which privileged accounts can bypass."
        )


def _is_held(bucket: Bucket) -> bool:
    return bucket.newest is not None and bucket.newest.legal_hold


def judge_rds(instance: RdsInstance, rds: Rds, now: datetime) -> Result:
    """Whether RDS takes automated backups, and can restore up to a moment ago."""
    lag = max(timedelta(0), now - instance.restorable) if instance.restorable else timedelta(0)
    good = ok(
        f"RDS instance {instance.name} can be restored up to {format_length(lag)} ago.",
        backup_age_seconds=lag.total_seconds(),
    )
    return verdict(_rds_problems(instance, rds, now), good)


def _rds_problems(instance: RdsInstance, rds: Rds, now: datetime) -> Iterator[Result]:
    if instance.retention <= 0:
        yield failed(f"Automated backups of RDS instance {instance.name} are off.", reason=Reason.MISCONFIGURED)
        return
    if instance.status in _UNUSABLE:
        yield failed(f"RDS instance {instance.name} is {instance.status}, and is not backed up.", reason=Reason.DOWN)
    if instance.restorable is None:
        yield failed(f"RDS instance {instance.name} cannot be restored to any time yet.", reason=Reason.MISSING)
    elif (lag := now - instance.restorable) > rds.max_lag:
        yield failed(
            f"RDS instance {instance.name} can be restored up to {format_length(lag)} ago (limit {format_duration(rds.max_lag)}).",
            reason=Reason.LIMIT,
        )
    elif -lag > CLOCKS:
        yield unknown(
            f"RDS instance {instance.name} can be restored up to {format_length(-lag)} in the future.",
            reason=Reason.CONTRADICTED,
        )


def judge_rds_retention(instance: RdsInstance, retention: timedelta) -> Result:
    """Whether RDS retains its automated backups for long enough."""
    retained = f"RDS instance {instance.name} retains backups for {counted(instance.retention, 'day')}"
    if timedelta(days=instance.retention) < retention:
        return failed(f"{retained} (retention {format_duration(retention)}).", reason=Reason.LIMIT)
    return ok(f"{retained}.")


def judge_rds_window(instance: RdsInstance, since: datetime | None, retention: timedelta, now: datetime) -> Result:
    """Whether it can be restored to times as old as they have to be: what it retains is a setting, which may be of today.

    RDS moves the earliest time once a day, so that a day may be missing.
    """
    if since is None:
        return unknown(
            f"Since when RDS instance {instance.name} can be restored is not shown (retention {format_duration(retention)}).",
            reason=Reason.MISSING,
        )
    reaches = f"RDS instance {instance.name} can be restored to times up to {format_length(now - since)} ago"
    if now - since < retention - _DAY:
        return failed(f"{reaches} (retention {format_duration(retention)}).", reason=Reason.LIMIT)
    return ok(f"{reaches}.", oldest_backup_age_seconds=(now - since).total_seconds())


def judge_empty_rdb(stored: Sequence[StoredObject], objects: Objects) -> Result:
    """Whether the newest backup of a Redis is larger than that of an empty one, which is recent and whole as well."""
    backups = backups_among(stored, objects)
    if backups and backups[0].size < _EMPTY_RDB:
        size = format_size(backups[0].size)
        return warning(f"The newest backup in {_where(objects)} has {size}: as much as an RDB file without any key.")
    return ok("")


def judge_rds_encryption(instance: RdsInstance) -> Result:
    """Whether RDS encrypts the storage of an instance, and with it its backups."""
    if not instance.encrypted:
        return failed(
            f"RDS instance {instance.name}, and so its backups, is not encrypted.", reason=Reason.MISCONFIGURED
        )
    if instance.key_state not in (None, "Enabled"):
        return failed(
            f"The KMS key of RDS instance {instance.name} is {instance.key_state}: its backups cannot be restored without it.",
            reason=Reason.DOWN,
        )
    return ok(f"RDS encrypts instance {instance.name} and its backups.")


def restoration_problems(record: Record, keys: Mapping[str, str], longest: timedelta) -> Iterator[Result]:
    """Whether a record measures the restore of each store, by the key of its seconds, in a drill no older than `longest`."""
    if missing := [name for name, key in keys.items() if record.measured.get(key, 0) < LEAST_SECONDS]:
        yield failed(
            f"The record measures no restore of {listed(missing)} (such as {keys[missing[0]]}, at least 1 s).",
            reason=Reason.MISSING,
        )
        return
    yield from drill_problems(
        record, longest, {f"the restore of {name}": record.measured[key] for name, key in keys.items()}
    )
