"""Whether durable consumers last, and deliver what waits for them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from collectors.systems.nats.judge.groups import group_problems
from collectors.systems.nats.model import Consumer, NatsLimits, StreamInfo
from exporter.options import format_duration, format_seconds
from exporter.verdict import Reason, Result, failed, warning
from exporter.words import counted

__all__ = ["consumer_problems", "delivery_problems", "lost_problems", "remembered_problems", "unmatched_problems"]

#: Nanoseconds within which nobody acknowledges anything: fewer were meant to be seconds.
_TINY = 10_000_000


def remembered_problems(consumer: Consumer, limits: NatsLimits) -> Iterator[Result]:
    """Whether what a durable consumer has delivered survives a restart of all servers."""
    if consumer.config.durable_name and consumer.config.mem_storage and not consumer.exempt_by & set(limits.in_memory):
        yield failed(
            f"Consumer {consumer.name} of stream {consumer.stream_name} is kept in memory (wanted file).",
            reason=Reason.MISCONFIGURED,
        )


def lost_problems(consumer: Consumer, stream: StreamInfo) -> Iterator[Result]:
    """Whether the stream still has what a durable consumer has not delivered: limits remove messages that nobody has got.

    Where each subject keeps its newest messages, or messages expire one by one, that is how it is meant to work.
    """
    config = stream.config
    if not consumer.config.durable_name or consumer.config.filters:
        return
    # Where nothing but a number limits it, it is still full of what came after them; else somebody deleted them.
    limited = max(config.max_bytes, config.max_age) > 0 or 0 < config.max_msgs <= stream.state.messages
    if not limited or config.max_msgs_per_subject > 0 or config.allow_msg_ttl:
        return
    if (gone := stream.state.first_seq - 1 - consumer.delivered.stream_seq) > 0:
        lost = (
            f"Consumer {consumer.name} of stream {stream.name} never got {counted(gone, 'message')}: the stream's limits removed "
            f"them (delivered up to message {consumer.delivered.stream_seq}, the first one left is {stream.state.first_seq})."
        )
        yield failed(lost, reason=Reason.LIMIT) if config.retention == "workqueue" else warning(lost)


def consumer_problems(consumer: Consumer, stream: StreamInfo, limits: NatsLimits) -> Iterator[Result]:
    """Whether a durable consumer has the copies it shall have, and they keep up. Others are made again by their clients."""
    if not consumer.config.durable_name or consumer.cluster is None:
        return
    copies = consumer.config.num_replicas or stream.config.num_replicas
    what = f"Consumer {consumer.name} of stream {consumer.stream_name}"
    # Where the stream itself has no more copies, it is the one to change.
    if copies < min(limits.min_replicas, stream.config.num_replicas) and not consumer.exempt_by & set(
        limits.single_copy
    ):
        yield failed(
            f"{what} has {counted(copies, 'copy', 'copies')} (wanted {limits.min_replicas}).",
            reason=Reason.MISCONFIGURED,
        )
    yield from group_problems(what, consumer.cluster, copies, limits)


def delivery_problems(consumer: Consumer, unchanged: timedelta, limits: NatsLimits) -> Iterator[Result]:
    """Whether a durable consumer delivers what waits for it. For `unchanged` it is known to have delivered nothing new."""
    if not consumer.config.durable_name:
        return
    what = f"Consumer {consumer.name} of stream {consumer.stream_name}"
    waiting = counted(consumer.num_pending, "message waits", "messages wait")
    if consumer.paused:
        left = format_seconds(timedelta(microseconds=consumer.pause_remaining / 1000))
        yield warning(f"{what} is paused for another {left} and delivers nothing; {waiting}.")
    elif consumer.waits and (still := max(unchanged, consumer.idle)) > limits.max_silence:
        yield warning(
            f"{what} has delivered nothing for {format_seconds(still)} (limit {format_duration(limits.max_silence)}): "
            f"{counted(consumer.num_ack_pending, 'message is', 'messages are')} not acknowledged "
            f"(max_ack_pending {consumer.config.max_ack_pending}), and {waiting}."
        )
    elif 0 < consumer.config.ack_wait < _TINY:
        yield warning(
            f"{what} delivers each message again that is not acknowledged within {consumer.config.ack_wait} ns (ack_wait, wanted "
            f"at least {_TINY // 1_000_000} ms)."
        )
    elif consumer.config.deliver_subject and not consumer.push_bound and consumer.num_pending:
        yield warning(f"{what} pushes to {consumer.config.deliver_subject}, where nobody listens; {waiting}.")


def unmatched_problems(consumer: Consumer, stream: StreamInfo) -> Iterator[Result]:
    """Whether a durable consumer waits for subjects that its stream has."""
    for wanted in consumer.config.filters if consumer.config.durable_name else ():
        if stream.never_has(wanted):
            yield warning(
                f"Consumer {consumer.name} of stream {stream.name} waits for {wanted}, which is no subject of the stream."
            )
