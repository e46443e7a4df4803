"""What a NATS server's own words say about it: pure judgements on its monitoring endpoint and on JetStream's API."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

from collectors.systems.nats.model import (
    Account,
    Consumer,
    Group,
    Jsz,
    Leafz,
    Monitor,
    NatsLimits,
    Origin,
    Routez,
    Store,
    StreamInfo,
    Varz,
    overlap,
)
from collectors.systems.prometheus.model.answers import Sample
from collectors.systems.prometheus.model.scrape import Scrape
from collectors.systems.prometheus.model.volumes import is_temporary
from exporter.options import format_duration
from exporter.verdict import ProbeError, Reason, Result, failed, unknown, unobserved, warning
from exporter.words import counted, format_size, listed

__all__ = [
    "abandoned",
    "abandoned_problems",
    "account_problems",
    "certificate_problems",
    "client_problems",
    "consumer_problems",
    "delivery_problems",
    "distinct_accounts",
    "distinct_problems",
    "exporter_problems",
    "filter_problems",
    "frozen_problems",
    "group_problems",
    "health_problems",
    "kept_problems",
    "link_problems",
    "lost_problems",
    "meta_problems",
    "own_jetstreams",
    "payload_problems",
    "peer_problems",
    "remembered_problems",
    "rewound_problems",
    "room_problems",
    "same_problems",
    "slow_problems",
    "stalled_problems",
    "store_problems",
    "stream_problems",
    "waiting",
]

#: How long messages may be acknowledged and not on the disk; JetStream's default is two minutes.
_WRITTEN = timedelta(minutes=10)
#: Share of a server's connections in use from which to warn.
_NEARLY_ALL = 0.9
#: Bytes of a message that every server should take: fewer were meant to be KiB or MiB.
_SMALL = 1000
#: Likewise of a stream's messages, which may be mere counters, and for how long it keeps them.
_TINY = 100
_MOMENT = timedelta(seconds=1)
#: By how much the room for streams may differ from server to server.
_UNLIKE = 2
_PAIR = 2
#: What /healthz answers of a stream or a consumer that cannot be written to the disk, or was not read from it.
_UNSTORED = re.compile(r"JetStream (stream|consumer) .*(write error|could not be recovered)")

# -- servers


def _clusters(monitors: Iterable[Monitor]) -> dict[str, list[Monitor]]:
    """The servers of each cluster, leaves last and the largest first. A server without a cluster is one of its own."""
    found: dict[str, list[Monitor]] = defaultdict(list)
    for monitor in monitors:
        if isinstance(monitor.varz, Varz):
            found[monitor.varz.cluster.name or monitor.varz.server_id].append(monitor)
    return dict(sorted(found.items(), key=lambda pair: (all(map(_is_leaf, pair[1])), -len(pair[1]))))


def _apart(monitors: Sequence[Monitor]) -> list[list[Monitor]]:
    """The servers that are linked to others by gateways or as leaves, by cluster, without the first one."""
    _, *others = _clusters(monitors).values() or [[]]
    return [group for group in others if all(map(_is_linked, group))]


def _is_linked(monitor: Monitor) -> bool:
    return isinstance(monitor.varz, Varz) and bool(monitor.varz.gateway.name or monitor.varz.uplinks)


def _is_leaf(monitor: Monitor) -> bool:
    return isinstance(monitor.varz, Varz) and bool(monitor.varz.uplinks) and not monitor.varz.gateway.name


def own_jetstreams(monitors: Sequence[Monitor]) -> list[list[Monitor]]:
    """The servers with a JetStream that is not the main one's: leaves beside a cluster, by cluster."""
    leaves = [group for group in _apart(monitors) if all(map(_is_leaf, group))]
    having = [[m for m in group if isinstance(m.jsz, Jsz) and m.jsz.enabled and not m.core] for group in leaves]
    return [group for group in having if group]


def distinct_accounts(accounts: Sequence[Account | ProbeError]) -> tuple[Account | ProbeError, ...]:
    """The accounts, each stream in one of them: a leaf may extend the JetStream that it is connected to."""
    known: set[tuple[str, str]] = set()
    found: list[Account | ProbeError] = []
    for account in accounts:
        if isinstance(account, ProbeError):
            found.append(account)
            continue
        streams = tuple(stream for stream in account.streams if (stream.name, stream.created) not in known)
        known |= {(stream.name, stream.created) for stream in streams}
        found.append(replace(account, streams=streams))
    return tuple(found)


def peer_problems(
    monitors: Sequence[Monitor], size: int, silent: Sequence[str] = (), *, silent_core: int = 0
) -> Iterator[Result]:
    """Whether each of `size` servers has routes to all others of its cluster.

    `silent` are the sentences that say why some could not be asked, `silent_core` how many of those have no JetStream, by
    declaration.
    Servers that are not listed count as too many, but for those beside a cluster with JetStream that have none themselves.
    Connections are pooled, so the servers at their other ends are counted.
    """
    apart = _apart(monitors)
    aside = {monitor.where for group in apart for monitor in group}
    main = [monitor for monitor in monitors if monitor.where not in aside]
    groups = [(main, size - len(aside)), *((group, len(group)) for group in apart)]
    lacking: dict[tuple[int, int], list[str]] = defaultdict(list)
    for group, wanted in groups:
        ids = frozenset[str]().union(*(monitor.server_ids for monitor in group))
        members = frozenset[str]().union(*(monitor.members for monitor in group))
        for monitor in group:
            if isinstance(monitor.routez, Routez):
                seen = _seen_by(monitor.routez, ids, members, silent_core)
                if seen != wanted - 1:
                    lacking[seen, wanted - 1].append(monitor.name)
    because = f", and {' '.join(silent).rstrip('.')}" if silent else ""
    for (count, wanted), names in sorted(lacking.items()):
        who = f"{', '.join(names[:-1])} and {names[-1]} see" if len(names) > 1 else f"{names[0]} sees"
        only = "only " if 0 < count < wanted else ""
        noun = f"NATS server{'s' if len(names) > 1 else ''}"
        yield failed(
            f"{noun} {who} {only}{count or 'none'} of the other servers (wanted {wanted}){because}.", reason=Reason.DOWN
        )


def _seen_by(routez: Routez, ids: frozenset[str], members: frozenset[str], silent_core: int) -> int:
    """How many of the listed servers one has routes to. Those that did not answer are known by nothing but being others."""
    strangers = {other: name for other, name in routez.others.items() if other not in ids}
    core = sum(bool(name) and name not in members for name in strangers.values()) if members else 0
    return len(routez.others) - core + min(core, silent_core)


def link_problems(monitors: Iterable[Monitor]) -> Iterator[Result]:
    """Whether the servers have the gateways and the connections as a leaf that they are configured to have."""
    for monitor in monitors:
        if not isinstance(monitor.varz, Varz):
            continue
        if isinstance(monitor.gatewayz, ProbeError):
            yield unobserved(monitor.gatewayz)
        elif monitor.gatewayz is not None and (
            # A cluster that nobody configured connects by itself, and is to be connected to in turn.
            lacking := sorted(
                (monitor.varz.gateways | set(monitor.gatewayz.inbound_gateways or ()))
                - set(monitor.gatewayz.outbound_gateways or ())
            )
        ):
            yield failed(
                f"NATS server {monitor.name} has no gateway to {listed(lacking)} (wanted one to each cluster).",
                reason=Reason.DOWN,
            )
        if isinstance(monitor.leafz, ProbeError):
            yield unobserved(monitor.leafz)
        elif isinstance(monitor.leafz, Leafz) and (
            (own := monitor.leafz.uplinks(monitor.varz.leaf)) < monitor.varz.uplinks
        ):
            others = monitor.varz.leafnodes - own
            beside = f" beside {others} of other servers to it" if others > 0 else ""
            yield failed(
                f"NATS server {monitor.name} has {counted(own, 'leaf connection')}{beside} (wanted {monitor.varz.uplinks}).",
                reason=Reason.DOWN,
            )


def distinct_problems(monitors: Sequence[Monitor]) -> Iterator[Result]:
    """Whether each monitoring endpoint is that of another server; those that nobody asked may be in any state."""
    found: dict[frozenset[str], list[str]] = defaultdict(list)
    for monitor in monitors:
        found[monitor.server_ids].append(monitor.name)
    for names in found.values():
        if len(names) > 1:
            yield unknown(
                f"{len(names)} monitoring endpoints lead to the same NATS server {names[0]}: name each server's own address.",
                reason=Reason.CONTRADICTED,
            )


def same_problems(server: str, server_id: str, monitor: Monitor) -> Iterator[Result]:
    """Whether the server that let a client in at `server` is the one whose monitoring endpoint was asked."""
    if server_id not in monitor.server_ids:
        yield unknown(
            f"{server} and {monitor.where} lead to different NATS servers: name each server's own address.",
            reason=Reason.CONTRADICTED,
        )


def health_problems(monitor: Monitor) -> Iterator[Result]:
    """Whether a server calls itself healthy, and which of its documents could not be read."""
    if isinstance(monitor.ill, ProbeError):
        yield unobserved(monitor.ill)
    elif monitor.ill is not None:
        yield failed(f"NATS server {monitor.name} is not healthy: {monitor.ill}.", reason=Reason.DOWN)
    for document in (monitor.varz, monitor.routez):
        if isinstance(document, ProbeError):
            yield unobserved(document)


def client_problems(monitor: Monitor) -> Iterator[Result]:
    """Whether a server has room for another client: one at its limit closes new connections."""
    varz = monitor.varz
    if not isinstance(varz, Varz) or not varz.max_connections:
        return
    used = f"{varz.connections} of {counted(varz.max_connections, 'connection')} in use"
    if varz.connections >= varz.max_connections:
        yield failed(f"NATS server {monitor.name} refuses further clients: {used}.", reason=Reason.LIMIT)
    elif varz.connections >= _NEARLY_ALL * varz.max_connections:
        yield warning(f"NATS server {monitor.name} will soon refuse clients: {used}.")


def payload_problems(monitors: Iterable[Monitor]) -> Iterator[Result]:
    """Whether a message that one server of a cluster takes is taken by the others as well, and is of a size that anybody sends."""
    for cluster in _clusters(monitors).values():
        sizes = {monitor.name: monitor.varz.max_payload for monitor in cluster if isinstance(monitor.varz, Varz)}
        known = {name: size for name, size in sizes.items() if size}
        if len(set(known.values())) > 1:
            which = ", ".join(
                f"{name} {format_size(size)}" for name, size in sorted(known.items(), key=lambda pair: pair[1])
            )
            yield warning(f"NATS servers of one cluster take messages of different sizes (max_payload): {which}.")
        for name, size in known.items():
            if size < _SMALL:
                yield warning(
                    f"NATS server {name} takes no message of more than {counted(size, 'byte')} (max_payload, wanted at least "
                    f"{format_size(_SMALL)})."
                )


def certificate_problems(monitor: Monitor, limits: NatsLimits) -> Iterator[Result]:
    """Whether the certificates that a server shows are valid for a while, by its own clock."""
    varz = monitor.varz
    if not isinstance(varz, Varz):
        return
    now = varz.now or datetime.now(UTC)
    for door, expiry in sorted(varz.expiries.items(), key=lambda pair: pair[1]):
        what = f"The certificate that NATS server {monitor.name} shows to its {door}"
        if expiry <= now:
            yield failed(f"{what} expired {_seconds(now - expiry)} ago.", reason=Reason.EXPIRED)
        elif expiry - now <= limits.certificate_warn:
            yield warning(
                f"{what} expires in {_seconds(expiry - now)} (limit {format_duration(limits.certificate_warn)})."
            )


def slow_problems(monitor: Monitor, before: tuple[str, int] | None) -> Iterator[Result]:
    """Whether consumers were cut off because they were too slow, since the look `before` (the server's start, their number)."""
    if not isinstance(monitor.varz, Varz):
        return
    count = monitor.varz.slow_consumers
    if before is not None and before[0] == monitor.varz.start:
        if (new := count - before[1]) > 0:
            cut = counted(new, "slow consumer")
            yield failed(
                f"NATS server {monitor.name} cut off {cut} since the last check (wanted none).", reason=Reason.LIMIT
            )
    elif count:
        yield unknown(
            f"NATS server {monitor.name} cut off {counted(count, 'slow consumer')} since it started; "
            "the next check shows whether there are new ones.",
            reason=Reason.PENDING,
        )


# -- metrics


def frozen_problems(
    scrape: Scrape, asked: str, counts: Iterable[Sample], changes: Iterable[Sample]
) -> Iterator[Result]:
    """Whether exporters ask their servers: prometheus-nats-exporter goes on giving the last figures of one that is gone.

    `asked` is the metric that counts its requests, `counts` how often that was scraped of late, and `changes` how often it changed.
    """
    often = {frozenset(sample.labels.items()): sample.value for sample in counts}
    if not often:
        yield unknown(
            f"Prometheus has no {asked}, so whether the exporters reach their servers was not checked.",
            reason=Reason.MISSING,
        )
    elif min(often.values()) < 2:  # one scrape shows no change
        yield unknown(f"{asked} was scraped once; the next scrapes show whether it changes.", reason=Reason.PENDING)
    for sample in changes:
        if not sample.value and often.get(frozenset(sample.labels.items()), 0) > 1:
            yield failed(
                f"Exporter {sample.labels.get('instance', '')} has not reached NATS server "
                f"{sample.labels.get('server_id', '')[:40]} for {format_duration(scrape.stale_after)}: its figures do not change.",
                reason=Reason.STALE,
            )


def exporter_problems(reported: Iterable[str], monitors: Sequence[Monitor]) -> Iterator[Result]:
    """Whether the servers that exporters report (by their label server_id: identifier, name or address) are these.

    An address shows nothing when it is the exporter's own view, as localhost is; then which server it is was not checked.
    """
    known = {name for monitor in monitors for name in _names(monitor)}
    found = {label.rstrip("/") for label in reported}
    if any(isinstance(monitor.varz, Varz) and monitor.varz.fresh for monitor in monitors):
        return  # what has just started has a new identifier
    for label in sorted(found - known):
        if _SERVER_ID.fullmatch(label):
            yield failed(
                f"An exporter reports NATS server {label[:12]}…, which is none of {listed(m.name for m in monitors)}.",
                reason=Reason.CONTRADICTED,
            )
    if found and all(label in known or _SERVER_ID.fullmatch(label) for label in found):
        for monitor in monitors:
            if not found & _names(monitor):
                yield failed(
                    f"No exporter reports NATS server {monitor.name}: several report the same server, or another one.",
                    reason=Reason.MISSING,
                )


_SERVER_ID = re.compile(r"N[A-Z2-7]{55}")


def _names(monitor: Monitor) -> set[str]:
    """What an exporter may call a server."""
    name = {monitor.varz.server_name} if isinstance(monitor.varz, Varz) else set()
    return {*monitor.server_ids, *name, monitor.where.rstrip("/")} - {""}


# -- where messages are kept


def store_problems(monitor: Monitor, limits: NatsLimits) -> Iterator[Result]:
    """Whether a server keeps streams on a disk that lasts, with room left. /healthz and /varz say ok without any JetStream."""
    name, jsz = monitor.name, monitor.jsz
    if isinstance(jsz, ProbeError):
        yield unobserved(jsz)
        return
    if not jsz.enabled or jsz.config is None:
        if not monitor.core:
            yield failed(
                f"NATS server {name} runs without JetStream.",
                reason=Reason.MISCONFIGURED,
            )
        return
    if isinstance(monitor.ill, str) and _UNSTORED.search(monitor.ill):
        yield failed(f"NATS server {name} cannot write or read a stream: {monitor.ill}.", reason=Reason.DOWN)
    folder = jsz.config.store_dir
    if limits.store_volume is not None and PurePosixPath(folder).is_absolute():
        if not PurePosixPath(folder).is_relative_to(limits.store_volume):
            yield failed(
                f"NATS server {name} stores in {folder}, which is not below {limits.store_volume}.",
                reason=Reason.MISCONFIGURED,
            )
    elif is_temporary(folder):
        yield failed(
            f"NATS server {name} stores in {folder}, a temporary folder (wanted a persistent volume).",
            reason=Reason.MISCONFIGURED,
        )
    elif not PurePosixPath(folder).is_absolute():
        yield unknown(
            f"NATS server {name} stores in {folder}, relative to the folder that it was started in (wanted an absolute path).",
            reason=Reason.MISCONFIGURED,
        )
    written = timedelta(microseconds=jsz.config.sync_interval / 1000)
    if written > _WRITTEN and not jsz.config.sync_always:
        yield warning(
            f"NATS server {name} leaves messages to the kernel for up to {format_duration(written)} before they reach the disk "
            f"(sync_interval, limit {format_duration(_WRITTEN)})."
        )
    yield from _room_problems(name, jsz, jsz.config, limits)


def _room_problems(name: str, jsz: Jsz, config: Store, limits: NatsLimits) -> Iterator[Result]:
    room = config.max_storage
    if room <= 0:
        yield failed(f"NATS server {name} may store nothing: max_storage is {room} B.", reason=Reason.MISCONFIGURED)
    for what, used, most in (("storage", jsz.storage, room), ("memory", jsz.memory, config.max_memory)):
        if used > limits.max_usage * most > 0:
            yield failed(
                f"NATS server {name} uses {format_size(used)} of {format_size(most)} {what} (limit {limits.max_usage:.0%}).",
                reason=Reason.LIMIT,
            )
    if jsz.reserved_storage >= room > 0:
        yield warning(
            f"NATS server {name} refuses new streams that have max_bytes: {format_size(jsz.reserved_storage)} of "
            f"{format_size(room)} storage are reserved."
        )

    if 0 < jsz.limits.max_ha_assets < jsz.ha_assets:
        yield warning(
            f"NATS server {name} takes no more streams and consumers with copies: it is in "
            f"{counted(jsz.ha_assets, 'group')} of replicas (max_ha_assets {jsz.limits.max_ha_assets})."
        )


def room_problems(monitors: Iterable[Monitor]) -> Iterator[Result]:
    """Whether the servers of a cluster have similar room: one with less keeps streams with copies from being created."""
    for cluster in _clusters(monitors).values():
        rooms = {m.name: m.jsz.config.max_storage for m in cluster if isinstance(m.jsz, Jsz) and m.jsz.config}
        known = {name: room for name, room in rooms.items() if room > 0}
        if known and max(known.values()) > _UNLIKE * min(known.values()):
            which = ", ".join(
                f"{name} {format_size(room)}" for name, room in sorted(known.items(), key=lambda pair: pair[1])
            )
            yield warning(f"NATS servers of one cluster have different room for streams (max_file_store): {which}.")


_NO_LIMIT = -1


def account_problems(account: Account, limits: NatsLimits) -> Iterator[Result]:
    """Whether the account's own limits (all of them, or those of each tier) leave room for messages, streams and consumers.

    Raises ProbeError for limits in an unexpected format.
    """
    tiers: Mapping[str, Any] = account.info.get("tiers") or {"account": account.info}
    for tier, usage in tiers.items():
        if not isinstance(usage, dict) or not isinstance(allowed := usage.get("limits") or {}, dict):
            raise ProbeError(f"JetStream reports the limits of NATS {tier} in an unexpected format.", Reason.MALFORMED)
        of = "the account" if tier == "account" else f"tier {tier}"
        for what, key in (("storage", "storage"), ("memory", "memory")):
            room, used = _number(allowed, f"max_{key}", _NO_LIMIT), _number(usage, key, 0)
            if what == "storage" and room == 0:
                yield failed(
                    f"NATS {tier} may store nothing in files: max_storage is 0 B.", reason=Reason.MISCONFIGURED
                )
            elif room > 0 and used >= limits.max_usage * room:
                yield failed(
                    f"NATS {tier} uses {format_size(used)} of {format_size(room)} {what} (limit {limits.max_usage:.0%}).",
                    reason=Reason.LIMIT,
                )
        most, used = _number(allowed, "max_consumers", _NO_LIMIT), _number(usage, "consumers", 0)
        if 0 < most <= used:
            yield failed(
                f"JetStream refuses new consumers: {of} has {counted(used, 'consumer')} (limit {most}).",
                reason=Reason.LIMIT,
            )
        most, used = _number(allowed, "max_streams", _NO_LIMIT), _number(usage, "streams", 0)
        if 0 < most <= used:
            yield warning(f"JetStream refuses new streams: {of} has {counted(used, 'stream')} (limit {most}).")


def _number(found: Mapping[str, Any], name: str, default: int) -> int:
    value = found.get(name, default)
    if not isinstance(value, int):
        raise ProbeError(f"JetStream reports {name} of the account as no number.", Reason.MALFORMED)
    return value


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
    limited = max(config.max_msgs, config.max_bytes, config.max_age) > 0
    if not limited or config.max_msgs_per_subject > 0 or config.allow_msg_ttl:
        return
    if (gone := stream.state.first_seq - 1 - consumer.delivered.stream_seq) > 0:
        lost = (
            f"Consumer {consumer.name} of stream {stream.name} never got {counted(gone, 'message')}: the stream's limits removed "
            f"them (delivered up to message {consumer.delivered.stream_seq}, the first one left is {stream.state.first_seq})."
        )
        yield failed(lost, reason=Reason.LIMIT) if config.retention == "workqueue" else warning(lost)


# -- copies


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
    for kind, origin in stream.origins:
        yield from _origin_problems(f"Stream {name}", kind, origin, limits)
    if stream.cluster is not None and copies >= limits.min_replicas and copies % 2 == 0:
        yield warning(
            f"Stream {name} has {copies} copies, which survive the loss of no more servers than "
            f"{counted(copies - 1, 'copy does', 'copies do')} (wanted an odd number)."
        )


def _origin_problems(what: str, kind: str, origin: Origin, limits: NatsLimits) -> Iterator[Result]:
    """Whether a mirror or a source delivers."""
    whose = f"{what} gets nothing from its {kind} {origin.name}"
    silent = timedelta(microseconds=origin.active / 1000)
    if origin.error is not None:
        yield failed(f"{whose}: {origin.error.description.rstrip('.') or 'no reason given'}.", reason=Reason.DOWN)
    elif origin.active < 0:
        yield failed(f"{whose}, which was never reached.", reason=Reason.DOWN)
    elif silent > limits.max_silence:
        yield failed(
            f"{whose}, silent for {_seconds(silent)} (limit {format_duration(limits.max_silence)}).", reason=Reason.DOWN
        )
    elif origin.lag > limits.max_lag:
        yield failed(
            f"{what} is {counted(origin.lag, 'message')} behind its {kind} {origin.name} (limit {limits.max_lag}).",
            reason=Reason.LIMIT,
        )


def waiting(stream: StreamInfo, origin: Origin, streams: Mapping[str, StreamInfo]) -> int:
    """How many messages of its origin a stream lacks. A mirror numbers them as its origin does: 2.9 says that it lacks none."""
    mirrored, known = stream.config.mirror, streams.get(origin.name)
    whole = mirrored is not None and mirrored.external is None and not mirrored.filter_subject
    if not whole or known is None or mirrored is None or mirrored.subject_transforms:
        return origin.lag
    return max(origin.lag, known.state.last_seq - stream.state.last_seq)


def stalled_problems(
    stream: StreamInfo, kind: str, origin: Origin, lacking: int, unchanged: timedelta, limits: NatsLimits
) -> Iterator[Result]:
    """Whether a mirror or a source that answers is taken from: a stream that refuses its messages asks for them for ever.

    For `unchanged` the stream is known to have taken nothing while messages were lacking.
    """
    silent = origin.active < 0 or timedelta(microseconds=origin.active / 1000) > limits.max_silence
    if unchanged > limits.max_silence and origin.error is None and not silent:
        yield failed(
            f"Stream {stream.name} has taken nothing from its {kind} {origin.name} for {_seconds(unchanged)} (limit "
            f"{format_duration(limits.max_silence)}), and lacks {counted(lacking, 'message')} of it.",
            reason=Reason.DOWN,
        )


def filter_problems(
    stream: StreamInfo, consumers: Iterable[Consumer], streams: Mapping[str, StreamInfo]
) -> Iterator[Result]:
    """Whether durable consumers of a stream, and the stream as a copy of others, wait for subjects that there are."""
    for consumer in consumers:
        for wanted in consumer.config.filters if consumer.config.durable_name else ():
            if _never(wanted, stream):
                yield warning(
                    f"Consumer {consumer.name} of stream {stream.name} waits for {wanted}, which is no subject of the stream."
                )
    for origin in (*((stream.config.mirror,) if stream.config.mirror else ()), *(stream.config.sources or ())):
        known = streams.get(origin.name) if origin.external is None else None
        if origin.filter_subject and known is not None and _never(origin.filter_subject, known):
            yield warning(
                f"Stream {stream.name} waits for {origin.filter_subject} of stream {origin.name}, which has no such subject."
            )


def _never(wanted: str, stream: StreamInfo) -> bool:
    """Whether no message of a stream can have the subject, as far as its own subjects show."""
    config = stream.config
    if config.mirror or config.sources or config.subject_transform or not config.subjects:
        return False
    return not any(overlap(wanted, subject) for subject in config.subjects)


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
        left = _seconds(timedelta(microseconds=consumer.pause_remaining / 1000))
        yield warning(f"{what} is paused for another {left} and delivers nothing; {waiting}.")
    elif consumer.waits and (still := max(unchanged, consumer.idle)) > limits.max_silence:
        yield warning(
            f"{what} has delivered nothing for {_seconds(still)} (limit {format_duration(limits.max_silence)}): "
            f"{counted(consumer.num_ack_pending, 'message is', 'messages are')} not acknowledged "
            f"(max_ack_pending {consumer.config.max_ack_pending}), and {waiting}."
        )
    elif consumer.config.deliver_subject and not consumer.push_bound and consumer.num_pending:
        yield warning(f"{what} pushes to {consumer.config.deliver_subject}, where nobody listens; {waiting}.")


def group_problems(what: str, group: Group, size: int, limits: NatsLimits) -> Iterator[Result]:
    """Whether a group of replicas, as its leader reports it, has that leader and `size` - 1 followers that keep up."""
    if not group.leader:
        yield failed(f"{what} has no leader, so nothing is written to it.", reason=Reason.DOWN)
        return
    replicas = group.replicas or ()
    if len(replicas) != size - 1:
        has = counted(len(replicas) + 1, "replica")
        yield failed(f"{what} has {has} in its group (wanted {size}).", reason=Reason.MISSING)
    for replica in replicas:
        silent = timedelta(microseconds=replica.active / 1000)
        if replica.offline:
            yield failed(f"{what} has its replica on {replica.name} offline.", reason=Reason.DOWN)
        elif silent > limits.max_silence:
            limit = format_duration(limits.max_silence)
            yield failed(
                f"{what} has heard nothing of its replica on {replica.name} for {_seconds(silent)} (limit {limit}).",
                reason=Reason.DOWN,
            )
        elif replica.lag > limits.max_lag:
            behind = counted(replica.lag, "operation")
            yield failed(
                f"{what} has its replica on {replica.name} {behind} behind (limit {limits.max_lag}).",
                reason=Reason.LIMIT,
            )
        elif not replica.current and not replica.lag:  # each message that it is behind at this moment makes it so
            yield failed(f"{what} has its replica on {replica.name} not current.", reason=Reason.DOWN)


def _seconds(length: timedelta) -> str:
    return format_duration(timedelta(seconds=round(length.total_seconds())))


def meta_problems(monitors: Sequence[Monitor], size: int, limits: NatsLimits) -> Iterator[Result]:
    """Whether the servers with JetStream (`size` of them) agree on who leads it, and that leader has all of them.

    Followers do not know who keeps up. Leaves have a JetStream of their own. Over gateways one JetStream spans clusters of which
    not all need to be listed.
    """
    leaves = [group for group in _apart(monitors) if all(map(_is_leaf, group))]
    aside = {monitor.where for group in leaves for monitor in group}
    yield from _meta_problems(
        [monitor for monitor in monitors if monitor.where not in aside],
        size - sum(not monitor.core for group in leaves for monitor in group),
        limits,
    )
    for group in leaves:
        yield from _meta_problems(group, sum(not monitor.core for monitor in group), limits)


def _meta_problems(monitors: Sequence[Monitor], size: int, limits: NatsLimits) -> Iterator[Result]:
    groups: dict[str, Group | None] = {}
    for monitor in monitors:
        if isinstance(monitor.jsz, ProbeError):
            yield unobserved(monitor.jsz)
        elif not monitor.core:
            groups[monitor.name] = monitor.jsz.meta_cluster
    if size < 2 and not any(groups.values()):
        return
    leaders = {name: (group.leader if group else None) or "" for name, group in groups.items()}
    for name, leader in leaders.items():
        if not leader:
            yield failed(
                f"NATS server {name} knows no leader of JetStream, so no stream can be created or moved.",
                reason=Reason.DOWN,
            )
    named = {leader for leader in leaders.values() if leader}
    if len(named) > 1:
        yield failed(
            f"NATS servers name different leaders of JetStream: {', '.join(sorted(named))}.", reason=Reason.CONTRADICTED
        )
    spans = any(isinstance(monitor.varz, Varz) and monitor.varz.gateway.name for monitor in monitors)
    for name, group in groups.items():
        if group is not None and leaders[name] == name:
            known = group.cluster_size
            if known < size or (known > size and not spans):
                yield failed(
                    f"JetStream's group has {counted(known, 'server')} (wanted {size}).", reason=Reason.MISSING
                )
            yield from group_problems("JetStream's group", group, known or size, limits)
            yield from _electorate_problems(known)
    if named and not named & set(leaders) and not spans:
        yield unknown(
            f"{', '.join(sorted(named))} leads JetStream and could not be asked who keeps up.",
            reason=Reason.NOT_CONFIGURED,
        )


def _electorate_problems(size: int) -> Iterator[Result]:
    """Whether JetStream's group still has a majority without one of its servers."""
    if size == _PAIR:
        yield warning("JetStream's group has 2 servers and stops with the loss of one (wanted at least 3).")
