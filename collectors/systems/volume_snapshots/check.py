"""Asks Kubernetes for VolumeSnapshots and what they are of, and judges them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from collectors.shared.verdicts import verdict
from collectors.systems.kubernetes.check.pods import looked_at
from collectors.systems.kubernetes.client.cluster import Kubernetes, NotServed
from collectors.systems.kubernetes.model.rbac import may_list
from collectors.systems.volume_snapshots.judge import kept_problems, snapshot_problems
from collectors.systems.volume_snapshots.model import (
    CLAIMS,
    CONTENTS,
    SNAPSHOTS,
    VOLUMES,
    Claim,
    Copy,
    Volume,
    VolumeSnapshots,
    copies_of,
)
from exporter.verdict import Reason, Result, failed, ok
from exporter.words import counted, format_length

__all__ = ["SNAPSHOT_RIGHTS", "see_retained", "see_snapshots"]

SNAPSHOT_RIGHTS = (
    "with `volume_snapshots`: clients.kubernetes",
    may_list(SNAPSHOTS, CONTENTS, CLAIMS, VOLUMES, option="volume_snapshots"),
)
"""What an item needs that looks at VolumeSnapshots."""


@dataclass(frozen=True, slots=True)
class _Found:
    copies: dict[str, list[Copy]]
    claims: dict[str, Claim]
    volumes: dict[str, Volume]
    now: datetime

    def volume(self, claim: str) -> Volume | None:
        return self.volumes.get(self.claims[claim].spec.volume_name)

    def oldest(self, claims: Iterable[str]) -> timedelta:
        """The age of the oldest ready snapshot, of the claim where that is youngest."""
        ages = [
            max(
                (self.now - copy.made for copy in self.copies[claim] if copy.made and copy.is_ready),
                default=timedelta(),
            )
            for claim in claims
        ]
        return min(ages)


async def see_snapshots(client: Kubernetes, options: VolumeSnapshots) -> Result:
    """Whether every claim has a recent snapshot that is ready. Raises ProbeError when the objects cannot be read."""
    found = await _read(client, options)
    if found is None:
        return _not_served(options)

    def problems() -> Iterator[Result]:
        for claim in options.claims:
            if claim not in found.claims:
                yield failed(
                    f"PersistentVolumeClaim {options.namespace}/{claim} does not exist.", reason=Reason.MISSING
                )
            else:
                yield from snapshot_problems(claim, found.copies[claim], found.volume(claim), options, found.now)

    ages = [
        found.now - copy.made
        for claim in options.claims
        if (copy := next((one for one in found.copies[claim] if one.is_ready), None)) and copy.made
    ]
    age = max(ages, default=timedelta())
    good = ok(
        f"{counted(len(options.claims), 'volume has', 'volumes have')} VolumeSnapshots in namespace {options.namespace} that are "
        f"ready, the newest of each at most {format_length(age)} old.",
        backup_age_seconds=max(0.0, age.total_seconds()),
    )
    return verdict(problems(), good)


async def see_retained(client: Kubernetes, options: VolumeSnapshots, retention: timedelta) -> Result:
    """Whether the snapshots of every claim go back far enough. Raises ProbeError when the objects cannot be read."""
    found = await _read(client, options)
    if found is None:
        return _not_served(options)
    oldest = found.oldest(options.claims)
    problems = (
        problem
        for claim in options.claims
        for problem in kept_problems(claim, found.copies[claim], options, retention, found.now)
    )
    good = ok(
        f"The VolumeSnapshots in namespace {options.namespace} go back {format_length(oldest)}.",
        oldest_backup_age_seconds=oldest.total_seconds(),
    )
    return verdict(problems, good)


async def _read(client: Kubernetes, options: VolumeSnapshots) -> _Found | None:
    """What there is, by the API server's clock; None where the cluster has no VolumeSnapshots."""
    try:
        snapshots = await client.list(SNAPSHOTS)
        contents = await client.list(CONTENTS)
    except NotServed:
        return None
    looked_at(snapshots, options.namespace)
    claims = await client.list(CLAIMS)
    volumes = await client.list(VOLUMES)
    return _Found(
        {claim: copies_of(options.namespace, claim, snapshots.items, contents.items) for claim in options.claims},
        {one.metadata.name: one for one in claims.items if one.metadata.namespace == options.namespace},
        {one.metadata.name: one for one in volumes.items},
        snapshots.taken,
    )


def _not_served(options: VolumeSnapshots) -> Result:
    return failed(
        f"The cluster serves no VolumeSnapshots, so the volumes in namespace {options.namespace} have none.",
        reason=Reason.MISSING,
    )
