"""Whether the streams that others take messages from, as mirrors or sources, deliver."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta

from collectors.systems.nats.model import NatsLimits, Origin, StreamInfo
from exporter.options import format_duration, format_seconds
from exporter.verdict import Reason, Result, failed, warning
from exporter.words import counted

__all__ = [
    "is_ahead",
    "origin_problems",
    "recreated_problems",
    "stalled_problems",
    "unmatched_origin_problems",
    "waiting",
]

#: By how much the clocks of servers may differ.
_SKEW = timedelta(minutes=5)


def origin_problems(stream: StreamInfo, limits: NatsLimits) -> Iterator[Result]:
    """Whether the mirror or the sources of a stream deliver, as its leader reports them."""
    for kind, origin in stream.origins:
        whose = f"Stream {stream.name} gets nothing from its {kind} {origin.name}"
        if origin.error is not None:
            yield failed(f"{whose}: {origin.error.description.rstrip('.') or 'no reason given'}.", reason=Reason.DOWN)
        elif origin.silence is None:
            yield failed(f"{whose}, which was never reached.", reason=Reason.DOWN)
        elif origin.silence > limits.max_silence:
            silent = format_seconds(origin.silence)
            yield failed(
                f"{whose}, silent for {silent} (limit {format_duration(limits.max_silence)}).", reason=Reason.DOWN
            )
        elif origin.lag > limits.max_lag:
            behind = counted(origin.lag, "message")
            yield failed(
                f"Stream {stream.name} is {behind} behind its {kind} {origin.name} (limit {limits.max_lag}).",
                reason=Reason.LIMIT,
            )


def waiting(stream: StreamInfo, origin: Origin, streams: Mapping[str, StreamInfo]) -> int:
    """How many messages of its origin a stream lacks.

    A mirror numbers them as its origin does: 2.9 says that it lacks none.
    """
    known = _mirrored(stream, streams)
    return origin.lag if known is None else max(origin.lag, known.state.last_seq - stream.state.last_seq)


def stalled_problems(
    stream: StreamInfo, kind: str, origin: Origin, lacking: int, unchanged: timedelta, limits: NatsLimits
) -> Iterator[Result]:
    """Whether a mirror or a source that answers is taken from: a stream that refuses its messages asks for them for ever.

    For `unchanged` the stream is known to have taken nothing while messages were lacking.
    """
    answers = origin.error is None and origin.silence is not None and origin.silence <= limits.max_silence
    if answers and unchanged > limits.max_silence:
        yield failed(
            f"Stream {stream.name} has taken nothing from its {kind} {origin.name} for {format_seconds(unchanged)} (limit "
            f"{format_duration(limits.max_silence)}), and lacks {counted(lacking, 'message')} of it.",
            reason=Reason.DOWN,
        )


def unmatched_origin_problems(stream: StreamInfo, streams: Mapping[str, StreamInfo]) -> Iterator[Result]:
    """Whether a stream takes subjects of its origins that they have."""
    for origin in (*((stream.config.mirror,) if stream.config.mirror else ()), *(stream.config.sources or ())):
        known = streams.get(origin.name) if origin.external is None else None
        if origin.filter_subject and known is not None and known.never_has(origin.filter_subject):
            yield warning(
                f"Stream {stream.name} waits for {origin.filter_subject} of stream {origin.name}, which has no such subject."
            )


def is_ahead(stream: StreamInfo, streams: Mapping[str, StreamInfo]) -> bool:
    """Whether a mirror has messages that its origin does not have yet. A single look may be wrong: they are asked one by one."""
    origin = _mirrored(stream, streams)
    return origin is not None and origin.state.last_seq < stream.state.last_seq


def recreated_problems(
    stream: StreamInfo, streams: Mapping[str, StreamInfo], unchanged: timedelta, limits: NatsLimits
) -> Iterator[Result]:
    """Whether a mirror's origin is still the one that it began with: of a new one it takes only what comes after its own messages.

    For `unchanged` it is known to be ahead by the same last message.
    """
    if (origin := _mirrored(stream, streams)) is None:
        return
    if unchanged > limits.max_silence:
        yield failed(
            f"Stream {stream.name} takes nothing from its mirror {origin.name}, which was created again: it is at message "
            f"{stream.state.last_seq}, and the new one at {origin.state.last_seq}.",
            reason=Reason.CONTRADICTED,
        )
    elif _is_older(stream, origin):
        yield warning(
            f"Stream {stream.name} has messages from before its mirror {origin.name} was created again, and lacks those that the "
            "new one had first."
        )


def _is_older(stream: StreamInfo, origin: StreamInfo) -> bool:
    """Whether a mirror has messages from before its origin was created, and not only by another clock.

    What an origin has from other streams, or continues, is as old as it was there.
    """
    oldest, created, config = stream.state.first_ts, origin.created, origin.config
    if oldest is None or created is None or not stream.state.messages:
        return False
    return not (config.mirror or config.sources or config.first_seq > 1) and oldest < created - _SKEW


def _mirrored(stream: StreamInfo, streams: Mapping[str, StreamInfo]) -> StreamInfo | None:
    """The stream that another one of the same account mirrors as it is."""
    mirror = stream.config.mirror
    if mirror is None or mirror.external is not None or mirror.filter_subject or mirror.subject_transforms:
        return None
    return streams.get(mirror.name)
