"""Asks restic about a store, and judges the answers."""

from __future__ import annotations

from collections.abc import Awaitable, MutableMapping
from datetime import datetime, timedelta
from typing import Any

from collectors.shared.verdicts import verdict, worst_of
from collectors.systems.restic.client import NoRepository, check, read_snapshots
from collectors.systems.restic.judge import check_problems, kept_problems, snapshot_problems
from collectors.systems.restic.model import Restic, own_snapshots
from exporter.verdict import Reason, Result, failed, ok
from exporter.words import counted, format_length, format_size

__all__ = ["see_retained", "see_snapshots"]


async def see_snapshots(store: str, restic: Restic, now: datetime, memory: MutableMapping[str, Any]) -> Result:
    """Whether the newest snapshot is recent and whole, and the repository can be read. `memory` keeps when it last could be."""
    return await worst_of(
        _or_absent(store, _newest(store, restic, now)), _or_absent(store, _checked(store, restic, now, memory))
    )


async def see_retained(store: str, restic: Restic, retention: timedelta, now: datetime) -> Result:
    """Whether snapshots go back as far as they have to."""
    return await _or_absent(store, _retained(store, restic, retention, now))


async def _or_absent(store: str, judged: Awaitable[Result]) -> Result:
    try:
        return await judged
    except NoRepository:
        return failed(f"The repository of {store} does not exist.", reason=Reason.MISSING)


async def _newest(store: str, restic: Restic, now: datetime) -> Result:
    snapshots = await read_snapshots(restic)
    good = ok("")
    if own := own_snapshots(snapshots, restic):
        age, size = now - own[0].time, own[0].size or 0
        good = ok(
            f"The newest snapshot of {store} is {format_length(age)} old and has {format_size(size)}.",
            backup_age_seconds=max(0.0, age.total_seconds()),
            backup_size_bytes=size,
        )
    return verdict(snapshot_problems(store, snapshots, restic, now), good)


async def _checked(store: str, restic: Restic, now: datetime, memory: MutableMapping[str, Any]) -> Result:
    known: dict[str, datetime] = memory.setdefault("restic checks", {})
    at = known.get(store)
    if at is None or not timedelta(0) <= now - at < restic.check_every:
        known.pop(store, None)
        found = verdict(check_problems(store, await check(restic)), ok(""))
        if not found.status.is_ok:
            return found
        known[store] = at = now
    return ok(
        f"A check {format_length(now - at)} ago found its repository sound ({restic.read_data} of the data was read)."
    )


async def _retained(store: str, restic: Restic, retention: timedelta, now: datetime) -> Result:
    snapshots = await read_snapshots(restic)
    own = own_snapshots(snapshots, restic)
    age = now - own[-1].time if own else timedelta(0)
    good = ok(
        f"{store} has {counted(len(own), 'snapshot')}, the oldest of {format_length(age)} ago.",
        oldest_backup_age_seconds=age.total_seconds(),
    )
    return verdict(kept_problems(store, snapshots, restic, retention, now), good)
