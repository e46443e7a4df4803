"""Whether standbys follow the primary closely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from collectors.systems.postgresql.model.instance import (
    Receiver,
    Sender,
    Slot,
)
from collectors.systems.postgresql.model.options import ClusterLimits
from exporter.options import format_duration
from exporter.verdict import Result, failed, ok, unknown
from exporter.words import format_size


def judge_senders(senders: Sequence[Sender], slots: Sequence[Slot], limits: ClusterLimits) -> Result:
    """Whether enough standbys stream from the primary, closely, and no slot is left alone."""
    standbys = [sender for sender in senders if sender.follows and sender.state == "streaming"]
    lag = max((sender.lag_bytes or 0.0 for sender in standbys), default=None)
    measured: dict[str, Any] = {"streaming_replicas": float(len(standbys))} | (
        {} if lag is None else {"replication_lag_bytes": lag}
    )
    if len(standbys) < limits.expected_replicas:
        others = ", ".join(f"{sender.name} ({sender.state})" for sender in senders if sender not in standbys)
        return failed(
            f"{len(standbys)} standbys stream from the primary (wanted {limits.expected_replicas})"
            f"{f'; also connected: {others}' if others else ''}.",
            **measured,
        )
    for sender in standbys:
        if (sender.lag_bytes or 0.0) > limits.max_lag_bytes:
            return failed(
                f"Standby {sender.name} is {format_size(sender.lag_bytes or 0.0)} behind "
                f"(limit {format_size(limits.max_lag_bytes)}).",
                **measured,
            )
    for slot in slots:
        if not slot.active:
            kept = format_size(slot.retained_bytes)
            return failed(f"Replication slot {slot.slot_name} is not active and keeps {kept} of WAL.", **measured)
        if slot.wal_status not in ("reserved", "extended"):
            return failed(
                f"Replication slot {slot.slot_name} has lost WAL: wal_status is {slot.wal_status}.", **measured
            )
    return ok(f"{len(standbys)} standbys stream, at most {format_size(lag or 0.0)} behind.", **measured)


def judge_receiver(where: str, receiver: Receiver, limits: ClusterLimits) -> Result:
    """Whether a standby streams and replays closely."""
    if receiver.status != "streaming":
        return failed(f"Standby {where} does not stream: its WAL receiver is {receiver.status or 'not running'}.")
    if receiver.paused:
        return failed(f"Standby {where} does not replay: replay is paused.")
    # An idle primary sends nothing to replay: the time since the last transaction is then no lag.
    seconds = 0.0 if receiver.caught_up else receiver.behind_seconds
    if seconds is None or receiver.behind_bytes is None:
        return unknown(f"Standby {where} has replayed no transaction yet, so how far it is behind was not seen.")
    measured: dict[str, Any] = {"replication_lag_seconds": seconds, "replay_lag_bytes": receiver.behind_bytes}
    if seconds > limits.max_lag.total_seconds():
        return failed(
            f"Standby {where} is {seconds:.0f} s behind (limit {format_duration(limits.max_lag)}).", **measured
        )
    return ok(f"Standby {where} streams and is {seconds:.1f} s behind.", **measured)
