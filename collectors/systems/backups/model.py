"""What a bucket, its objects and RDS answer, and what they are held against."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import Field

from exporter.options import Duration, Options, Size

__all__ = [
    "PUBLIC_BLOCKS",
    "Bucket",
    "Expiry",
    "Newest",
    "Objects",
    "Rds",
    "RdsInstance",
    "StoredObject",
    "backups_among",
    "expiries_of",
]

PUBLIC_BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


class Objects(Options):
    """Backups that are objects in a bucket of S3 (`clients.aws`)."""

    bucket: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", description="Name of the bucket.")
    prefix: str = Field("", description="What the keys of these backups begin with.")
    suffix: str = Field("", description="What they end with, where other objects are among them, such as `.dump`.")
    max_age: Duration = Field(timedelta(hours=26), description="Maximum age of the newest backup.")
    min_size: Size = Field(1, ge=1, description="Minimum size of a backup; a smaller object is none.")
    kms: bool = Field(False, description="Whether it has to be encrypted with a key of KMS, not with one of S3's own.")
    min_lock: Duration | None = Field(
        None, description="How long object lock has to keep a backup from being deleted; not required if not given."
    )


class Rds(Options):
    """Automated backups of RDS (`clients.aws`)."""

    instance: str = Field(min_length=1, description="Identifier of the DB instance, of Aurora one of the cluster's.")
    max_lag: Duration = Field(
        timedelta(minutes=15), description="Maximum age of the latest time to which it can be restored."
    )


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object: when its content was made (`written`), its size in bytes and its storage class.

    Objects of one `tag` have the same content; the reverse is not true.
    """

    key: str
    written: datetime
    size: int
    storage_class: str
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Expiry:
    """An enabled rule of a lifecycle that deletes objects: after `days`, or on a date. `filtered`: only some of them.

    One that is `replaced` deletes older versions, so many days after they were replaced, and no current objects.
    """

    rule: str
    prefix: str
    days: int | None
    date: datetime | None
    filtered: bool
    replaced: bool = False

    def concerns(self, keys: Iterable[str]) -> bool:
        """Whether it may delete one of these objects."""
        return any(key.startswith(self.prefix) for key in keys)


@dataclass(frozen=True, slots=True)
class Newest:
    """How the newest backup itself is protected, which the settings of its bucket do not change any more.

    `algorithm` is None where it is not encrypted, `key_state` that of its KMS key, None without one. `stored` is when, and
    `locked_until` how long it cannot be deleted, in `lock_mode`, None where it may be, or that may not be read.
    """

    algorithm: str | None
    key_state: str | None
    stored: datetime
    locked_until: datetime | None
    lock_mode: str | None = None
    legal_hold: bool = False


@dataclass(frozen=True, slots=True)
class Bucket:
    """How a bucket is protected. `blocks` are the public access blocks of the bucket or its account that are on.

    `algorithm` is that of the default encryption, None without one; `key_state` that of its KMS key, None where it has none of its
    own. `newest` is None where there is no backup; `older` are the oldest one and one in between, where there are.
    """

    name: str
    algorithm: str | None
    key_state: str | None
    newest: Newest | None
    blocks: frozenset[str]
    account_seen: bool
    policy_public: bool
    acl_public: bool
    versioned: bool
    locked: bool
    lock_mode: str | None
    lock_days: int | None
    expiries: tuple[Expiry, ...]
    older: tuple[Newest, ...] = ()


@dataclass(frozen=True, slots=True)
class RdsInstance:
    """A DB instance: `retention` in days, 0 where automated backups are off; `key_state` is that of its KMS key.

    `cluster` is the one that it is in, as Aurora's are.
    """

    name: str
    status: str
    retention: int
    restorable: datetime | None
    encrypted: bool
    key_state: str | None = None
    cluster: str | None = None


#: Endings of what lies beside a backup, or is no whole one yet.
_BESIDE = (".sha1", ".sha256", ".sha512", ".sha256sum", ".sha512sum", ".md5", ".md5sum", ".sig", ".minisig", ".log")
_UNFINISHED = (".part", ".partial", ".filepart", ".incomplete", ".tmp")


def backups_among(stored: Sequence[StoredObject], objects: Objects) -> list[StoredObject]:
    """Those that are backups: large enough, and by their names, unless `suffix` says which, neither unfinished nor beside one."""
    keys = {found.key for found in stored}
    return [
        found
        for found in stored
        if found.size >= objects.min_size
        and (objects.suffix or not (found.key.lower().endswith(_BESIDE + _UNFINISHED) or _signs(found.key, keys)))
    ]


def _signs(key: str, keys: set[str]) -> bool:
    """Whether it is the signature of another object: what ends so may be an encrypted backup as well."""
    return key.endswith(".asc") and key.removesuffix(".asc") in keys


def expiries_of(rules: list[Mapping[str, Any]]) -> tuple[Expiry, ...]:
    """The rules of a lifecycle that delete objects, current ones or older versions."""
    found = []
    for rule in rules:
        if rule.get("Status") != "Enabled":
            continue
        expiration: Mapping[str, Any] = rule.get("Expiration") or {}
        older: Mapping[str, Any] = rule.get("NoncurrentVersionExpiration") or {}
        where: Mapping[str, Any] = rule.get("Filter") or {}
        both: Mapping[str, Any] = where.get("And") or where
        prefix = both.get("Prefix", rule.get("Prefix", ""))
        filtered = any(name in both for name in ("Tag", "Tags", "ObjectSizeGreaterThan", "ObjectSizeLessThan"))
        name, prefix = str(rule.get("ID", "without a name")), str(prefix or "")
        if "Days" in expiration or "Date" in expiration:
            found.append(Expiry(name, prefix, expiration.get("Days"), expiration.get("Date"), filtered))
        if "NoncurrentDays" in older:
            some = filtered or "NewerNoncurrentVersions" in older
            found.append(Expiry(name, prefix, older["NoncurrentDays"], None, some, replaced=True))
    return tuple(found)
