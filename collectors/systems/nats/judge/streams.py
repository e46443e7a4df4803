"""Whether streams keep what they are sent, with all their copies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

from collectors.systems.nats.judge.groups import group_problems
from collectors.systems.nats.judge.origins import origin_problems
from collectors.systems.nats.model import Account, Consumer, NatsLimits, StreamInfo
from exporter.options import format_duration
from exporter.verdict import Reason, Result, failed, warning
from exporter.words import counted, format_size

__all__ = [
    "abandoned",
    "abandoned_problems",
    "kept_problems",
    "offline_problems",
    "passing_problems",
    "rewound_problems",
    "stream_problems",
    "zone_problems",
]

#: Bytes of all its messages, or of one of them, below which a unit was forgotten; messages may be mere counters.
_SMALL = 1000
_TINY = 100
#: Likewise for how long it keeps them.
_MOMENT = timedelta(seconds=1)


def kept_problems(stream: StreamInfo, limits: NatsLimits) -> Iterator[Result]:
    """Whether a stream survives a restart, and takes messages: one that is full and discards new ones refuses them."""
    name, config, state = stream.name, stream.config, stream.state
    if config.storage != "file" and name not in limits.in_memory:
        yield failed(f"Stream {name} is kept in {config.storage} (wanted file).", reason=Reason.MISCONFIGURED)
    if config.persist_mode == "async":
        yield warning(f"Stream {name} acknowledges messages before they are written (persist_mode async).")
    if config.no_ack:
        yield warning(f"Stream {name} acknowledges no message, so nobody notices those that it did not store (no_ack).")
    if config.sealed:
        yield warning(f"Stream {name} is sealed and refuses every message.")
    if config.retention == "interest" and not state.consumer_count:
        yield warning(
            f"Stream {name} keeps no message that it acknowledges, as it has no consumer (retention interest)."
        )
    if 1 < config.max_consumers <= state.consumer_count:  # one alone is by design
        yield warning(
            f"Stream {name} refuses new consumers: it has {counted(state.consumer_count, 'consumer')} "
            f"(max_consumers {config.max_consumers})."
        )
    yield from _tiny_problems(stream)
    if config.discard == "new":
        yield from _refusal_problems(stream, limits)
    elif config.retention != "limits" and (used := _full(stream)):
        yield failed(
            f"Stream {name} is full and drops messages that are not acknowledged: it holds {used} (retention {config.retention}, "
            "discard old).",
            reason=Reason.LIMIT,
        )


def _full(stream: StreamInfo) -> str | None:
    """How much a stream holds that has no room for another message; None where it has."""
    config, state = stream.config, stream.state
    average = state.bytes / state.messages if state.messages else 0
    if 0 < config.max_bytes < state.bytes + average:
        return f"{format_size(state.bytes)} of {format_size(config.max_bytes)}"
    if 0 < config.max_msgs <= state.messages:
        return f"{state.messages} of {counted(config.max_msgs, 'message')}"
    return None


def _refusal_problems(stream: StreamInfo, limits: NatsLimits) -> Iterator[Result]:
    """Whether a stream that refuses messages once it is full has room."""
    name, config, state = stream.name, stream.config, stream.state
    if config.discard_new_per_subject and 0 < (config.max_msgs_per_subject - 1) * state.num_subjects < state.messages:
        yield warning(
            f"Stream {name} is full for at least 1 of {counted(state.num_subjects, 'subject')} and refuses messages there "
            f"(max_msgs_per_subject {config.max_msgs_per_subject}, discard new)."
        )
    share = max(_share(state.bytes, config.max_bytes), _share(state.messages, config.max_msgs))
    if used := _full(stream):
        yield failed(f"Stream {name} is full and refuses messages: it holds {used} (discard new).", reason=Reason.LIMIT)
    elif share > limits.max_usage:
        yield warning(
            f"Stream {name} refuses messages once it is full, and {share:.0%} of it are used (limit {limits.max_usage:.0%})."
        )


def rewound_problems(stream: StreamInfo, furthest: int) -> Iterator[Result]:
    """Whether a stream still has its last messages: it restarts without those that it cannot read, or that no disk had."""
    if (gone := furthest - stream.state.last_seq) > 0:
        yield failed(
            f"Stream {stream.name} has lost {counted(gone, 'message')}: its last one is {stream.state.last_seq} (was {furthest}).",
            reason=Reason.CONTRADICTED,
        )


def _tiny_problems(stream: StreamInfo) -> Iterator[Result]:
    """Whether a stream's limits leave anything in it: where a unit was forgotten they do not, and messages are acknowledged."""
    name, config = stream.name, stream.config
    if 0 < config.max_bytes < _SMALL:
        yield warning(
            f"Stream {name} keeps no more than {counted(config.max_bytes, 'byte')} (max_bytes, wanted at least "
            f"{format_size(_SMALL)})."
        )
    if 0 < config.max_msg_size < _TINY:
        yield warning(
            f"Stream {name} takes no message of more than {counted(config.max_msg_size, 'byte')} (max_msg_size, wanted at least "
            f"{format_size(_TINY)})."
        )
    kept = timedelta(microseconds=config.max_age / 1000)
    if timedelta(0) < kept < _MOMENT:
        yield warning(
            f"Stream {name} keeps messages for {format_duration(kept)} (max_age, wanted at least {format_duration(_MOMENT)})."
        )


def _share(used: int, most: int) -> float:
    return used / most if most > 0 else 0.0


def stream_problems(stream: StreamInfo, limits: NatsLimits) -> Iterator[Result]:
    """Whether a stream, as its leader reports it, has all the copies it shall have, and they keep up."""
    name, copies = stream.name, stream.config.num_replicas
    if stream.cluster is None and copies > 1:  # JetStream accepts that by an update
        if name not in limits.single_copy:
            yield failed(
                f"Stream {name} shall have {copies} copies and has one: its server is alone (wanted {limits.min_replicas}).",
                reason=Reason.MISSING,
            )
    elif copies < limits.min_replicas and name not in limits.single_copy:
        yield failed(
            f"Stream {name} has {counted(copies, 'copy', 'copies')} (wanted {limits.min_replicas}).",
            reason=Reason.MISCONFIGURED,
        )
    if stream.cluster is not None:
        yield from group_problems(f"Stream {name}", stream.cluster, copies, limits)
    yield from origin_problems(stream, limits)
    if stream.cluster is not None and copies >= limits.min_replicas and copies % 2 == 0:
        yield warning(
            f"Stream {name} has {copies} copies, which survive the loss of no more servers than "
            f"{counted(copies - 1, 'copy does', 'copies do')} (wanted an odd number)."
        )


def abandoned(stream: StreamInfo, consumers: Sequence[Consumer]) -> bool:
    """Whether the oldest message of a work queue is none that a consumer has still to deliver or waits for.

    A single look may be wrong, as stream and consumers are asked one after the other.
    """
    if stream.config.retention != "workqueue" or not stream.state.messages or not consumers:
        return False
    passed = stream.state.first_seq <= min(consumer.ack_floor.stream_seq for consumer in consumers)
    return passed or not any(consumer.num_pending or consumer.num_ack_pending for consumer in consumers)


def abandoned_problems(stream: StreamInfo, unchanged: timedelta, limits: NatsLimits) -> Iterator[Result]:
    """Whether a work queue holds messages that nobody will get; for `unchanged` its oldest one is known to be `abandoned`."""
    if unchanged > limits.max_silence:
        yield warning(
            f"Stream {stream.name} (retention workqueue) holds messages that no consumer delivers any more, from message "
            f"{stream.state.first_seq} on: their deliveries are used up (max_deliver), or no consumer takes their subject."
        )


def offline_problems(account: Account) -> Iterator[Result]:
    """The streams that no server serves, such as those that a newer release has stored."""
    for name, why in account.offline.items():
        yield failed(f"Stream {name} is offline, so nobody can write or read it: {why}.", reason=Reason.DOWN)


def passing_problems(stream: StreamInfo, consumers: Sequence[Consumer]) -> Iterator[Result]:
    """Whether a stream that keeps messages for its consumers has one that remains while its client is away."""
    if stream.config.retention == "interest" and consumers and not any(one.config.durable_name for one in consumers):
        yield warning(
            f"Stream {stream.name} keeps messages only while clients are connected, as none of its consumers is durable "
            "(retention interest)."
        )


def zone_problems(stream: StreamInfo, zones: Mapping[str, str]) -> Iterator[Result]:
    """Whether the copies of a stream are in several zones; `zones` are those of the servers."""
    if stream.cluster is None:
        return
    servers = [stream.cluster.leader or "", *(peer.name for peer in stream.cluster.replicas or ())]
    places = {zones.get(server) for server in servers}
    if len(servers) > 1 and len(places) == 1 and (place := places.pop()) is not None:
        yield warning(
            f"All {len(servers)} copies of stream {stream.name} are on servers with the tag {place}, and are lost together."
        )
