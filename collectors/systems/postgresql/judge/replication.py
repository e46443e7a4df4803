"""Whether standbys follow the primary closely, commits find the standbys that they wait for, and no slot is left alone.

Distances are bytes between positions in the WAL. Times are the primary's own measurements, and how long ago the primary is known
to have written what a standby lacks: clocks of different hosts are never compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from collectors.shared.verdicts import verdict
from collectors.systems.postgresql.model.instance import AwaitedSlot, Sender, SenderSlots, Slot, Standby, Wal, Written
from collectors.systems.postgresql.model.options import ClusterLimits
from collectors.systems.postgresql.model.settings import Settings
from exporter.options import format_duration
from exporter.verdict import Reason, Result, failed, ok, warning
from exporter.words import counted, format_length, format_size

__all__ = [
    "COMMIT",
    "PATIENCE",
    "awaited_problems",
    "capacity_problems",
    "commit_problems",
    "judge_senders",
    "judge_silence",
    "judge_slots",
    "judge_standby",
    "judge_synchronous",
    "relay_slot_problems",
    "silent",
    "unsynced_problems",
]

#: How many times as far as a standby a logical subscriber may be behind, which confirms now and then what it stored.
_BEHIND = 16

#: What decides whether a commit waits for synchronous standbys, and its values with which it does not.
COMMIT = "synchronous_commit"
NOT_WAITING = ("off", "local", "false", "no", "0")

#: Seconds within which every standby replies by the defaults: it is asked to after half of wal_sender_timeout.
_REPLIES = 60.0

#: How many seconds a commit may wait for synchronous standbys.
PATIENCE = 2


def judge_senders(
    senders: Sequence[Sender], wal: Wal, written: Written, delays: Mapping[str, timedelta], limits: ClusterLimits
) -> Result:
    """Whether enough standbys stream from the primary, closely.

    `delays` are how late standbys replay by design, by their application_name.
    """
    following = [sender for sender in senders if sender.follows and sender.state == "streaming"]
    standbys = [sender for sender in following if sender.silence <= _patience(limits)]
    lag = max((_distance(wal, sender.replayed) for sender in standbys), default=None)
    seconds = max((_seconds(wal, written, sender.replayed, sender.replay_lag) for sender in standbys), default=None)
    measured: dict[str, Any] = {"streaming_replicas": float(len(standbys))}
    if lag is not None and seconds is not None:
        measured |= {"replication_lag_bytes": float(lag), "replication_lag_seconds": seconds}
    late = [sender.name for sender in standbys if sender.name in delays]
    good = ok(
        f"{counted(len(standbys), 'standby streams', 'standbys stream')}, at most {format_size(lag or 0)} behind"
        f"{f' ({late[0]} replays {format_duration(delays[late[0]])} late by design)' if late else ''}.",
        **measured,
    )
    lost = [sender for sender in following if sender not in standbys]
    return verdict(
        [*_sender_problems(senders, standbys, wal, written, delays, limits), *_lost_problems(lost, limits)], good
    )


def _patience(limits: ClusterLimits) -> float:
    """For how many seconds a standby that is there may not reply: it does so every ten seconds, or when it is asked to."""
    return max(_REPLIES, 2 * limits.max_lag.total_seconds())


def _lost_problems(lost: Iterable[Sender], limits: ClusterLimits) -> Iterator[Result]:
    """Standbys that are gone without having closed their connection: an idle primary takes them for streaming."""
    for sender in lost:
        yield failed(
            f"Standby {sender.name} ({sender.address or 'local'}) has not replied for {_length(sender.silence)} (limit "
            f"{format_duration(timedelta(seconds=_patience(limits)))}): the primary keeps a connection that is dead "
            "(wal_sender_timeout).",
            reason=Reason.STALE,
        )


def _sender_problems(
    senders: Sequence[Sender],
    standbys: Sequence[Sender],
    wal: Wal,
    written: Written,
    delays: Mapping[str, timedelta],
    limits: ClusterLimits,
) -> Iterator[Result]:
    if len(standbys) < limits.expected_replicas:
        others = ", ".join(f"{sender.name} ({sender.state})" for sender in senders if sender not in standbys)
        yield failed(
            f"{counted(len(standbys), 'standby streams', 'standbys stream')} from the primary (wanted {limits.expected_replicas})"
            f"{f'; also connected: {others}' if others else ''}.",
            reason=Reason.DOWN,
        )
    shared = Counter(sender.name for sender in senders)
    for sender in sorted(standbys, key=lambda sender: sender.replayed or 0):
        name = f"{sender.name} ({sender.address or 'local'})" if shared[sender.name] > 1 else sender.name
        delay = delays.get(sender.name, timedelta(0))
        yield from _lag_problems(
            name, wal, written, limits, delay, sender.flushed, sender.replayed, sender.flush_lag, sender.replay_lag
        )


def _lag_problems(
    name: str,
    wal: Wal,
    written: Written,
    limits: ClusterLimits,
    delay: timedelta,
    flushed: int | None,
    replayed: int | None,
    flush_lag: float | None = None,
    replay_lag: float | None = None,
) -> Iterator[Result]:
    """How far one standby is behind the primary, in bytes and in time; a delay by design is subtracted."""
    late = f", {format_duration(delay)} of which by design" if delay else ""
    unreplayed, unreceived = _distance(wal, replayed), _distance(wal, flushed)
    if unreceived > limits.max_lag_bytes or (unreplayed > limits.max_lag_bytes and not delay):
        distance = max(unreceived, 0 if delay else unreplayed)
        hint = ""
        if unreceived <= limits.max_lag_bytes and not delay and not written.behind(flushed):
            hint = f", though it has received all but {format_size(unreceived)}"
        yield failed(
            f"Standby {name} is {format_size(distance)} behind (limit {format_size(limits.max_lag_bytes)}){hint}.",
            reason=Reason.LIMIT,
        )
        return
    limit = limits.max_lag.total_seconds()
    receiving, replaying = _seconds(wal, written, flushed, flush_lag), _seconds(wal, written, replayed, replay_lag)
    if receiving > limit:
        yield failed(
            f"Standby {name} lacks {format_size(unreceived)} of WAL that the primary wrote {_length(receiving)} ago "
            f"(limit {format_duration(limits.max_lag)}).",
            reason=Reason.LIMIT,
        )
    elif replaying > limit + delay.total_seconds():
        hint = "" if delay else "; where that is by design, name it in option delayed_standbys"
        yield failed(
            f"Standby {name} is {_length(replaying)} ({format_size(unreplayed)}) behind{late} "
            f"(limit {format_duration(limits.max_lag)}){hint}.",
            reason=Reason.LIMIT,
        )


def _distance(wal: Wal, position: int | None) -> int:
    """How many bytes of WAL the primary has written after a position; all of them after none."""
    return max(0, wal.position - (position or 0))


def _seconds(wal: Wal, written: Written, position: int | None, lag: float | None) -> float:
    """For how long what comes after the position exists. What the primary measured counts only while there is something."""
    if not _distance(wal, position):
        return 0.0
    return max(lag or 0.0, written.behind(position))


def _length(seconds: float) -> str:
    return format_length(timedelta(seconds=seconds)) if seconds >= 1 else f"{seconds:.1f} seconds"


def judge_standby(
    standby: Standby, wal: Wal | None, later: Wal | None, written: Written, cluster: str, limits: ClusterLimits
) -> Result:
    """Whether a standby streams and replays, and follows this very primary closely.

    `wal` is where the primary wrote before the standby was asked, `later` where it wrote afterwards, `cluster` its system
    identifier. Without a primary only the standby itself is judged.
    """
    receiver = standby.receiver
    received, replayed = receiver.received or 0, receiver.replayed or 0
    behind = max(0, received - replayed) if wal is None else _distance(wal, replayed)
    late = f", {format_duration(timedelta(seconds=receiver.delay))} of which by design" if receiver.delay else ""
    seen = "received what it streams" if wal is None else f"is {format_size(behind)} behind the primary{late}"
    good = ok(
        f"Standby {standby.where} streams and {seen}.",
        replay_lag_bytes=float(max(0, received - replayed)),
    )
    return verdict(_standby_problems(standby, wal, later, written, cluster, limits), good)


def _standby_problems(
    standby: Standby, wal: Wal | None, later: Wal | None, written: Written, cluster: str, limits: ClusterLimits
) -> Iterator[Result]:
    where, receiver = standby.where, standby.receiver
    if standby.instance.identity.system_identifier != cluster:
        yield failed(
            f"Standby {where} is of cluster {standby.instance.identity.system_identifier}, not of {cluster}.",
            reason=Reason.CONTRADICTED,
        )
        return
    if receiver.status != "streaming":
        yield failed(
            f"Standby {where} does not stream: its WAL receiver is {receiver.status or 'not running'}.",
            reason=Reason.DOWN,
        )
    if receiver.paused:
        yield failed(f"Standby {where} does not replay: replay is paused.", reason=Reason.DOWN)
    if wal is None or later is None:
        return
    if receiver.timeline is not None and receiver.timeline != wal.timeline:
        yield failed(
            f"Standby {where} receives timeline {receiver.timeline}, while the primary writes timeline {wal.timeline}.",
            reason=Reason.CONTRADICTED,
        )
        return
    if (ahead := receiver.flushed - later.position) > 0:
        yield failed(
            f"Standby {where} is {format_size(ahead)} ahead of the primary: it follows another server.",
            reason=Reason.CONTRADICTED,
        )
        return
    source = standby.source
    delay = timedelta(seconds=receiver.delay)
    yield from _lag_problems(
        where,
        wal,
        written,
        limits,
        delay,
        receiver.flushed,
        receiver.replayed,
        None,
        source.replay_lag if source else None,
    )
    if receiver.status == "streaming" and source is None:
        yield warning(
            f"Standby {where} streams from {receiver.sender or 'a server'}, which is not among the instances listed, and is "
            f"{format_size(_distance(wal, receiver.flushed))} behind the primary."
        )


def silent(standby: Standby, wal: Wal, limits: ClusterLimits) -> bool:
    """Whether a standby lacks WAL and has heard nothing of its sender for longer than it may be behind."""
    receiver = standby.receiver
    lacking = _distance(wal, receiver.flushed) > 0
    return lacking and (receiver.silence or 0.0) > limits.max_lag.total_seconds()


def judge_silence(standby: Standby, wal: Wal, limits: ClusterLimits) -> Result:
    """What it means that a standby was found `silent` twice."""
    receiver = standby.receiver
    lacking = format_size(_distance(wal, receiver.flushed))
    return failed(
        f"Standby {standby.where} has heard nothing of its sender for {_length(receiver.silence or 0.0)} "
        f"and lacks {lacking} of WAL (limit {format_duration(limits.max_lag)}).",
        reason=Reason.DOWN,
    )


def judge_synchronous(senders: Sequence[Sender], wal: Wal, waiting: int) -> Result:
    """Whether the standbys that commits wait for are there. `waiting` are commits that waited longer than `PATIENCE`."""
    return verdict(_synchronous_problems(senders, wal, waiting), ok(_synchronous_seen(wal)))


def _synchronous_seen(wal: Wal) -> str:
    wanted = wal.synchronous_standbys
    return f"Commits wait for {counted(wanted, 'standby', 'standbys')}." if wanted else "Replication is asynchronous."


def _synchronous_problems(senders: Sequence[Sender], wal: Wal, waiting: int) -> Iterator[Result]:
    wanted = wal.synchronous_standbys
    found = [sender for sender in senders if sender.state == "streaming" and sender.sync_state in ("sync", "quorum")]
    mute = [sender for sender in found if sender.replayed is None] if wal.waits_for_replay else []
    present = len(found) - len(mute)
    setting = f"synchronous_standby_names is {wal.synchronous_standby_names!r}"
    waits = wal.synchronous_commit not in NOT_WAITING
    if present < wanted:
        missing = f"{setting}, but {counted(present, 'such standby streams', 'such standbys stream')} (wanted {wanted})"
        if mute:
            missing = (
                f"{setting}, but {mute[0].name} replays nothing, and synchronous_commit is {wal.synchronous_commit}"
            )
        if waits:
            yield failed(f"{missing}: every commit waits.", reason=Reason.DOWN)
        else:
            yield warning(f"{missing}; commits do not wait, as synchronous_commit is {wal.synchronous_commit}.")
    elif wanted and not waits:
        yield warning(f"{setting}, but commits do not wait, as synchronous_commit is {wal.synchronous_commit}.")
    elif wanted and all(sender.logical for sender in found):
        yield warning(
            f"{setting}, but commits wait for logical subscribers alone, such as {found[0].name}: no standby that could take over "
            "is sure to have them."
        )
    if waiting:
        yield failed(
            f"{counted(waiting, 'commit has', 'commits have')} waited for synchronous standbys for more than {PATIENCE} seconds.",
            reason=Reason.DOWN,
        )


def commit_problems(wal: Wal, settings: Settings, roles: Collection[str]) -> Iterator[Result]:
    """Whether commits of all roles (or of `roles`) wait for the synchronous standbys, whatever their settings are."""
    if not wal.synchronous_standbys:
        return
    for database, role in settings.places((COMMIT,), roles):
        found = settings.effective(COMMIT, database, role)
        if found is not None and (found.database or found.role) and found.value.lower() in NOT_WAITING:
            yield warning(
                f"synchronous_standby_names is {wal.synchronous_standby_names!r}, but commits of {found.scope()} do not wait "
                f"({COMMIT} {found.value})."
            )


def capacity_problems(where: str, senders: SenderSlots) -> Iterator[Result]:
    """Whether another standby, subscriber or backup could connect; one that lost its connection could not come back in time."""
    if senders.used >= senders.most > 0:
        yield warning(
            f"{where} refuses further standbys and backups: {senders.used} of {counted(senders.most, 'WAL sender')} in use "
            "(max_wal_senders)."
        )


def awaited_problems(slots: Iterable[AwaitedSlot]) -> Iterator[Result]:
    """Whether the standbys are there that logical subscribers with failover slots wait for."""
    for slot in slots:
        if not slot.active:
            lacking = "is not active" if slot.present else "does not exist"
            yield failed(
                f"synchronized_standby_slots names slot {slot.name}, which {lacking}: logical subscribers with a failover slot "
                "get nothing.",
                reason=Reason.DOWN,
            )


def judge_slots(slots: Sequence[Slot], elsewhere: Collection[str], limits: ClusterLimits) -> Result:
    """Whether every slot is in use and keeps the WAL that it is for.

    `elsewhere` are slots that are not in use by design, such as those of standbys that stream from another one: they must not keep
    more WAL than a standby may be behind.
    """
    good = ok(f"{counted(len(slots), 'replication slot is', 'replication slots are')} in order.")
    return verdict(_slot_problems(slots, elsewhere, limits), good)


def _slot_problems(slots: Sequence[Slot], elsewhere: Collection[str], limits: ClusterLimits) -> Iterator[Result]:
    for slot in slots:
        if slot.wal_status == "lost":
            yield _lost_problem(f"Replication slot {slot.slot_name}", slot)
        elif slot.wal_status == "unreserved":
            yield failed(
                f"Replication slot {slot.slot_name} is about to lose WAL: wal_status is unreserved.", reason=Reason.DOWN
            )
    kept = [slot for slot in slots if not slot.active and slot.wal_status not in ("lost", "unreserved")]
    for slot in sorted(kept, key=lambda slot: -(slot.retained_bytes or 0)):
        if slot.retained_bytes is None:
            if slot.slot_name not in elsewhere:
                yield warning(f"Replication slot {slot.slot_name} was never used; it keeps no WAL.")
        elif slot.slot_name not in elsewhere or slot.retained_bytes > limits.max_lag_bytes:
            retained = format_size(slot.retained_bytes)
            yield failed(
                f"Replication slot {slot.slot_name} is not active and keeps {retained} of WAL.", reason=Reason.DOWN
            )
    for slot in slots:
        if slot.active and (slot.unconfirmed_bytes or 0) > (limit := _BEHIND * limits.max_lag_bytes):
            yield warning(
                f"The subscriber of replication slot {slot.slot_name} is connected and has not confirmed "
                f"{format_size(slot.unconfirmed_bytes or 0)} of WAL, which is kept (limit {format_size(limit)})."
            )


def _lost_problem(which: str, slot: Slot) -> Result:
    why = f" ({slot.invalidation})" if slot.invalidation else ""
    return failed(f"{which} has lost WAL: wal_status is lost{why}.", reason=Reason.DOWN)


def relay_slot_problems(where: str, slots: Iterable[Slot], limits: ClusterLimits) -> Iterator[Result]:
    """Whether the slots of a standby keep the WAL that they are for, and do not fill its disk.

    Many are inactive by design, such as copies of the primary's, and those that Patroni has for the other members; all of these are
    moved forward now and then.
    """
    limit = _BEHIND * limits.max_lag_bytes
    for slot in sorted(slots, key=lambda slot: -(slot.retained_bytes or 0)):
        which = f"Replication slot {slot.slot_name} of standby {where}"
        kept = slot.retained_bytes or 0
        if slot.wal_status == "lost":
            if not slot.synced:  # a copy is made again
                yield _lost_problem(which, slot)
        elif not slot.active and kept > limits.max_lag_bytes:
            seen = f"{which} is not active and keeps {format_size(kept)} of WAL"
            if kept > limit:
                yield failed(f"{seen} (limit {format_size(limit)}).", reason=Reason.LIMIT)
            else:
                yield warning(f"{seen}.")


def unsynced_problems(slots: Iterable[Slot], standbys: Sequence[Collection[Slot]]) -> Iterator[Result]:
    """Whether one of the standbys, of which these are the slots, has each slot that is to be there after a failover."""
    ready = {slot.slot_name for found in standbys for slot in found if slot.synced and slot.wal_status != "lost"}
    for slot in slots:
        if standbys and slot.failover and slot.wal_status != "lost" and slot.slot_name not in ready:
            yield warning(
                f"Logical slot {slot.slot_name} is to survive a failover, but no listed standby has a copy of it "
                "(sync_replication_slots): its subscriber would lose what it has not got by then."
            )
