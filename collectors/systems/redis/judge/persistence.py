"""Snapshots and the append-only file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import PurePosixPath

from collectors.systems.prometheus.model.volumes import is_temporary
from collectors.systems.redis.model import (
    Answers,
    Look,
    NodeAddress,
    Persistence,
    RedisLimits,
    Unseen,
    children,
    never_saved,
    save_points,
    seconds_since_save,
)
from exporter.options import format_duration
from exporter.verdict import Reason, Result, failed, warning
from exporter.words import counted, listed

__all__ = ["folder_problems", "persistence_problems"]

#: A snapshot may be late by this much: Redis looks ten times a second, but waits 5 s after a failure, and forking takes time.
_SNAPSHOT_GRACE = timedelta(minutes=1)


def persistence_problems(node: Answers, limits: RedisLimits, now: datetime) -> Iterator[Result]:
    """Writes to disk what is wanted, where it lasts, and the last attempts went well."""
    where = node.address
    for child in children(node):
        if child.running > limits.max_child_time:
            yield failed(
                f"{where} has been writing {child.writes} for {format_duration(child.running)} "
                f"(limit {format_duration(limits.max_child_time)}): until that process ends nothing else is saved.",
                reason=Reason.LIMIT,
            )
    if limits.persistence is not Persistence.RDB:
        yield from _append_only_problems(node)
    if limits.persistence is not Persistence.AOF:
        yield from _snapshot_problems(node, limits, now)
    folder = node.setting("dir") or ""
    if not folder:  # getcwd() fails in a folder that was deleted
        yield failed(
            f"The data folder of {where} does not exist any more: what it writes is lost when it ends.",
            reason=Reason.MISSING,
        )
    elif limits.data_volume and not PurePosixPath(folder).is_relative_to(limits.data_volume):
        yield failed(
            f"{where} writes to {folder}, which is not on the volume {limits.data_volume}.",
            reason=Reason.MISCONFIGURED,
        )
    elif not limits.data_volume and is_temporary(folder):
        yield failed(
            f"{where} writes to {folder}, which does not outlive the machine or container.",
            reason=Reason.MISCONFIGURED,
        )


def folder_problems(group: Sequence[Answers], files: Mapping[NodeAddress, Look]) -> Iterator[Result]:
    """Nodes that share a folder write files of different names: the start of one loads what the other has written.

    `files` is what each of them calls its files. Raises ProbeError for one that did not answer that.
    """
    writers: dict[str, list[NodeAddress]] = {}
    for node in group:
        named = files[node.address]
        if isinstance(named, Unseen):
            raise named.why
        folder = PurePosixPath(node.setting("dir") or "")
        if save_points(node.setting("save") or "") or node.info.get("role") == "slave":
            writers.setdefault(str(folder / (named.setting("dbfilename") or "")), []).append(node.address)
        if node.number("aof_enabled"):
            log = folder / (named.setting("appenddirname") or "") / (named.setting("appendfilename") or "")
            writers.setdefault(str(log), []).append(node.address)
    for file, addresses in writers.items():
        if len(addresses) > 1:
            yield failed(
                f"{listed(map(str, addresses))} write to the same file, {file}: each loads at its start what another one "
                "has written.",
                reason=Reason.MISCONFIGURED,
            )


def _append_only_problems(node: Answers) -> Iterator[Result]:
    where = node.address
    if not node.number("aof_enabled"):
        yield failed(f"{where} writes no append-only file: appendonly is no.", reason=Reason.MISCONFIGURED)
    for name, what in (("aof_last_write_status", "write"), ("aof_last_bgrewrite_status", "rewrite")):
        if (status := node.text(name)) != "ok":
            yield failed(
                f"The last {what} of the append-only file on {where} went wrong ({name} is {status[:20]}).",
                reason=Reason.DOWN,
            )
    if node.info.get("aof_current_size") == "0" and node.info.get("aof_rewrite_in_progress") == "1":
        yield warning(
            f"{where} is writing its append-only file for the first time: until that is done a restart loses what is in no "
            "snapshot."
        )
    if node.setting("appendfsync") == "no":
        yield warning(
            f"{where} leaves it to the kernel when its append-only file reaches the disk: appendfsync is no "
            "(wanted everysec or always)."
        )


def _snapshot_problems(node: Answers, limits: RedisLimits, now: datetime) -> Iterator[Result]:
    where = node.address
    text = node.setting("save") or ""
    points = save_points(text)
    if not points:
        yield failed(f"{where} writes no snapshots: save is empty.", reason=Reason.MISCONFIGURED)
        return
    if (status := node.text("rdb_last_bgsave_status")) != "ok":
        yield failed(
            f"The last snapshot of {where} went wrong (rdb_last_bgsave_status is {status[:20]}).", reason=Reason.DOWN
        )
        return
    changes, since = node.number("rdb_changes_since_last_save"), seconds_since_save(node, now)
    age, most = format_duration(timedelta(seconds=max(0, int(since)))), limits.max_unsaved.total_seconds()
    # While one child writes, Redis starts no other: a snapshot that is due waits for the rewrite of the append-only file.
    if not children(node) and _overdue(points, changes, since):
        yield failed(
            f"{where} has {counted(changes, 'change')} in no snapshot since {age}, more than its save {text!r} allows.",
            reason=Reason.STALE,
        )
    elif min(after for after, _ in points) > most:
        least = format_duration(timedelta(seconds=min(after for after, _ in points)))
        yield warning(
            f"{where} may hold changes in no snapshot for {least}, as its save {text!r} allows "
            f"(limit {format_duration(limits.max_unsaved)})."
        )
    elif changes and since > most:
        yield warning(
            f"{where} has {counted(changes, 'change')} in no snapshot since {age}, which its save {text!r} allows "
            f"(limit {format_duration(limits.max_unsaved)})."
        )
    elif never_saved(node):  # Redis then reports the start as the last save, and the save as ok
        yield warning(
            f"{where} is set to write snapshots (save {text}), but has written none since its start {age} ago."
        )


def _overdue(points: Iterable[tuple[int, int]], changes: int, since: float) -> bool:
    """Whether a save point (after so many seconds if there are so many changes) should have been taken."""
    grace = _SNAPSHOT_GRACE.total_seconds()
    return any(changes >= least and since > after + grace for after, least in points)
