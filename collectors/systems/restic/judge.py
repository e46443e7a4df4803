"""Whether snapshots are recent, of the right host and not empty, retained for long enough, and can be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from collectors.shared.copies import age_problems, repeated_problems, retention_problems, size_problems
from collectors.systems.restic.model import Checked, Restic, Snapshot, own_snapshots
from exporter.verdict import Reason, Result, failed, unknown
from exporter.words import counted, format_size, listed

__all__ = ["check_problems", "kept_problems", "snapshot_problems"]


def snapshot_problems(store: str, snapshots: Sequence[Snapshot], restic: Restic, now: datetime) -> Iterator[Result]:
    """Why the newest snapshot of a store is none that it could be restored from."""
    own = own_snapshots(snapshots, restic)
    if not own:
        yield _none(store, snapshots, restic)
        return
    newest, name = own[0], f"The newest snapshot of {store}"
    yield from age_problems(name, newest.time, restic.max_age, now)
    changes = [not one.is_same_as(before) for one, before in pairwise(own)] + [True]
    contents = [str(sum(changes[place:])) for place in range(len(own))]
    yield from repeated_problems(name, contents, [one.time for one in own])
    if newest.size is not None and newest.size < restic.min_size:
        yield failed(
            f"{name} has {format_size(newest.size)} (at least {format_size(restic.min_size)} wanted).",
            reason=Reason.INVALID,
        )
    if newest.size is None:
        yield unknown(
            f"How large the newest snapshot of {store} is was not recorded (restic does so from 0.17 on).",
            reason=Reason.MISSING,
        )
        return
    yield from size_problems(name, newest.size, [one.size for one in own[1:] if one.size is not None])


def _none(store: str, snapshots: Sequence[Snapshot], restic: Restic) -> Result:
    wanted = f"host {restic.host} with {listed(restic.paths)}{f' and tag {listed(restic.tags)}' if restic.tags else ''}"
    hosts = sorted({one.hostname for one in snapshots})
    others = f": it has {counted(len(snapshots), 'snapshot')}, of {listed(hosts)}" if snapshots else ""
    return failed(f"The repository of {store} has no snapshot of {wanted}{others}.", reason=Reason.MISSING)


def kept_problems(
    store: str, snapshots: Sequence[Snapshot], restic: Restic, retention: timedelta, now: datetime
) -> Iterator[Result]:
    """Whether snapshots go back as far as they have to, without a gap."""
    own = own_snapshots(snapshots, restic)
    if not own:
        yield _none(store, snapshots, restic)
        return
    yield from retention_problems(
        f"The oldest snapshot of {store}",
        f"{store} has no snapshot",
        [one.time for one in own],
        retention,
        restic.max_age,
        now,
    )


def check_problems(store: str, checked: Checked) -> Iterator[Result]:
    """Whether the repository can be read."""
    if checked.num_errors or checked.broken_packs:
        packs = f", and {counted(len(checked.broken_packs), 'pack')} cannot be read" if checked.broken_packs else ""
        yield failed(
            f"restic check found {counted(checked.num_errors, 'error')} in the repository of {store}{packs}.",
            reason=Reason.INVALID,
        )
