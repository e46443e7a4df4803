"""Whether snapshots are recent, of the right host and not empty, retained for long enough, and can be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from statistics import median

from collectors.systems.restic.model import Checked, Restic, Snapshot, own_snapshots
from exporter.options import format_duration
from exporter.verdict import Reason, Result, failed, unknown, warning
from exporter.words import counted, format_length, format_size, listed

__all__ = ["check_problems", "retention_problems", "snapshot_problems"]

_CLOCKS = timedelta(minutes=5)
_SHRUNK = 0.5


def snapshot_problems(store: str, snapshots: Sequence[Snapshot], restic: Restic, now: datetime) -> Iterator[Result]:
    """Why the newest snapshot of a store is none that it could be restored from."""
    own = own_snapshots(snapshots, restic)
    if not own:
        yield _none(store, snapshots, restic)
        return
    newest, age = own[0], now - own[0].time
    if age > restic.max_age:
        yield failed(
            f"The newest snapshot of {store} is {format_length(age)} old (limit {format_duration(restic.max_age)}).",
            reason=Reason.LIMIT,
        )
    if newest.size is not None and newest.size < restic.min_size:
        yield failed(
            f"The newest snapshot of {store} has {format_size(newest.size)} (at least {format_size(restic.min_size)} wanted).",
            reason=Reason.INVALID,
        )
    if -age > _CLOCKS:
        yield unknown(
            f"The newest snapshot of {store} is dated {format_length(-age)} in the future.", reason=Reason.CONTRADICTED
        )
    if newest.size is None:
        yield unknown(
            f"How large the newest snapshot of {store} is was not recorded (restic does so from 0.17 on).",
            reason=Reason.MISSING,
        )
        return
    usual = median([one.size for one in own[1:6] if one.size is not None] or [0])
    if newest.size < _SHRUNK * usual:
        yield warning(
            f"The newest snapshot of {store} has {format_size(newest.size)}, those before it {format_size(usual)}."
        )


def _none(store: str, snapshots: Sequence[Snapshot], restic: Restic) -> Result:
    wanted = f"host {restic.host} with {listed(restic.paths)}{f' and tag {listed(restic.tags)}' if restic.tags else ''}"
    hosts = sorted({one.hostname for one in snapshots})
    others = f": it has {counted(len(snapshots), 'snapshot')}, of {listed(hosts)}" if snapshots else ""
    return failed(f"The repository of {store} has no snapshot of {wanted}{others}.", reason=Reason.MISSING)


def retention_problems(
    store: str, snapshots: Sequence[Snapshot], restic: Restic, retention: timedelta, now: datetime
) -> Iterator[Result]:
    """Whether snapshots go back as far as they have to, without a gap."""
    own = own_snapshots(snapshots, restic)
    if not own:
        yield _none(store, snapshots, restic)
        return
    if (age := now - own[-1].time) < retention:
        yield failed(
            f"The oldest snapshot of {store} is {format_length(age)} old (retention {format_duration(retention)}).",
            reason=Reason.LIMIT,
        )
        return
    since = [max(now - retention, one.time) for one in reversed(own)]
    length, end = max((later - earlier, later) for earlier, later in zip(since, [*since[1:], now], strict=True))
    gap = f"{store} has no snapshot from the {format_length(length)} before {end:%F %H:%M} UTC"
    if length > retention / 2:
        yield failed(f"{gap} (retention {format_duration(retention)}).", reason=Reason.MISSING)
    elif length > 2 * restic.max_age:
        yield warning(f"{gap}.")


def check_problems(store: str, checked: Checked) -> Iterator[Result]:
    """Whether the repository can be read."""
    if checked.num_errors or checked.broken_packs:
        packs = f", and {counted(len(checked.broken_packs), 'pack')} cannot be read" if checked.broken_packs else ""
        yield failed(
            f"restic check found {counted(checked.num_errors, 'error')} in the repository of {store}{packs}.",
            reason=Reason.INVALID,
        )
