"""Whether servers keep streams on a disk that lasts, and have room for them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import PurePosixPath

from collectors.systems.nats.judge.topology import by_cluster
from collectors.systems.nats.model import Jsz, Monitor, NatsLimits, Store
from collectors.systems.prometheus.model.volumes import is_temporary
from exporter.options import format_duration
from exporter.verdict import ProbeError, Reason, Result, failed, unknown, unobserved, warning
from exporter.words import counted, format_size

__all__ = ["room_problems", "store_problems"]

#: How long messages may be acknowledged and not on the disk; JetStream's default is two minutes.
_WRITTEN = timedelta(minutes=10)
#: By how much the room for streams may differ from server to server.
_UNLIKE = 2
#: What /healthz answers of a stream or a consumer that cannot be written to the disk, or was not read from it.
_UNSTORED = re.compile(r"JetStream (stream|consumer) .*(write error|could not be recovered)")


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
    for cluster in by_cluster(monitors):
        rooms = {m.name: m.jsz.config.max_storage for m in cluster if isinstance(m.jsz, Jsz) and m.jsz.config}
        known = {name: room for name, room in rooms.items() if room > 0}
        if known and max(known.values()) > _UNLIKE * min(known.values()):
            which = ", ".join(
                f"{name} {format_size(room)}" for name, room in sorted(known.items(), key=lambda pair: pair[1])
            )
            yield warning(f"NATS servers of one cluster have different room for streams (max_file_store): {which}.")
