"""What a NATS server's own words say about it: pure judgements on its monitoring endpoint and on JetStream's API."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Any

from collectors.systems.nats.model import Account, Monitor, NatsLimits
from collectors.systems.prometheus.model.volumes import is_temporary
from exporter.options import format_duration
from exporter.verdict import Result, failed, ok, unknown
from exporter.words import counted, format_size

__all__ = ["account_usage", "distinct", "group", "meta", "peers", "same", "slow", "store", "stream", "verdict"]


def verdict(problems: Iterable[Result], good: Result, most: int = 5) -> Result:
    """The worst of the problems, the first few of them by name; `good`, with its measurements, when there is none."""
    found = list(problems)
    for status in ("failed", "unknown", "warning"):
        telling = list(dict.fromkeys(problem.summary for problem in found if problem.status == status))
        if telling:
            more = f" And {len(telling) - most} more." if len(telling) > most else ""
            first = next(problem for problem in found if problem.status == status)
            return Result(first.status, " ".join(telling[:most]) + more, good.measurements)
    return good


def peers(monitors: Sequence[Monitor], size: int, silent: Sequence[str] = ()) -> Iterator[Result]:
    """Whether each server has routes to all others; `silent` are the sentences that say why some could not be asked.

    `num_routes` counts pooled connections, so the servers behind them are counted.
    """
    lacking: dict[int, list[str]] = {}
    for monitor in monitors:
        known = {route.get("remote_id") for route in monitor.routez.get("routes") or ()} - {None}
        if len(known) != size - 1:
            lacking.setdefault(len(known), []).append(monitor.name)
    because = f", and {' '.join(silent).rstrip('.')}" if silent else ""
    for count, names in sorted(lacking.items()):
        who = f"{', '.join(names[:-1])} and {names[-1]} see" if len(names) > 1 else f"{names[0]} sees"
        only = "only " if 0 < count < size - 1 else ""
        noun = f"NATS server{'s' if len(names) > 1 else ''}"
        yield failed(f"{noun} {who} {only}{count or 'none'} of the other servers (wanted {size - 1}){because}.")


def distinct(monitors: Sequence[Monitor]) -> Iterator[Result]:
    """Whether each monitoring endpoint is that of another server; those that nobody asked may be in any state."""
    found = Counter((monitor.varz.get("server_id"), monitor.name) for monitor in monitors)
    for (_, name), count in found.items():
        if count > 1:
            yield unknown(
                f"{count} monitoring endpoints lead to the same NATS server {name}: name each server's own address."
            )


def same(server: str, server_id: str, monitoring: str, monitor: Monitor) -> Iterator[Result]:
    """Whether the server that let a client in at `server` is the one whose monitoring endpoint was asked."""
    if server_id != monitor.varz.get("server_id"):
        yield unknown(f"{server} and {monitoring} lead to different NATS servers: name each server's own address.")


def slow(monitor: Monitor, before: tuple[str, int] | None) -> Result:
    """Whether consumers were cut off because they were too slow, since the look `before` (the server's start, their number)."""
    start, count = str(monitor.varz.get("start")), int(monitor.varz.get("slow_consumers", 0))
    if before is not None and before[0] == start:
        if (new := count - before[1]) > 0:
            cut = counted(new, "slow consumer")
            return failed(f"NATS server {monitor.name} cut off {cut} since the last look (wanted none).")
    elif count:
        return unknown(
            f"NATS server {monitor.name} cut off {counted(count, 'slow consumer')} since it started; "
            "whether there are new ones shows the second look."
        )
    return ok(f"NATS server {monitor.name} cut off no slow consumer.")


def store(monitor: Monitor, limits: NatsLimits) -> Result:
    """Whether a server keeps streams on a disk that lasts, with room left. /healthz and /varz say ok without any JetStream."""
    name = monitor.name
    if monitor.jsz.get("disabled") or not monitor.jsz.get("config"):
        return failed(f"NATS server {name} runs without JetStream.")
    config = monitor.jsz["config"]
    folder, room, used = str(config.get("store_dir", "")), config.get("max_storage", 0), monitor.jsz.get("storage", 0)
    if limits.store_volume is not None and not PurePosixPath(folder).is_relative_to(limits.store_volume):
        return failed(f"NATS server {name} stores in {folder}, which is not below {limits.store_volume}.")
    if limits.store_volume is None and is_temporary(folder):
        return failed(f"NATS server {name} stores in {folder}, a temporary folder (wanted a persistent volume).")
    if room <= 0:
        return failed(f"NATS server {name} may store nothing: max_storage is {room}.")
    if used > limits.max_usage * room:
        return failed(
            f"NATS server {name} uses {format_size(used)} of {format_size(room)} storage (limit {limits.max_usage:.0%})."
        )
    return ok(f"NATS server {name} stores in {folder}.")


def account_usage(account: Account, limits: NatsLimits) -> list[Result]:
    """Whether the account's own limits (all of them, or those of each tier) leave room."""
    tiers: Mapping[str, Any] = account.info.get("tiers") or {"account": account.info}
    problems = []
    for tier, usage in tiers.items():
        room, used = usage.get("limits", {}).get("max_storage", -1), usage.get("storage", 0)
        if room >= 0 and used >= limits.max_usage * room:
            limit = f"limit {limits.max_usage:.0%}"
            problems.append(failed(f"NATS {tier} uses {format_size(used)} of {format_size(room)} storage ({limit})."))
    return problems


def kept(stream_info: Mapping[str, Any], limits: NatsLimits) -> Result:
    """Whether a stream survives a restart."""
    name, storage = stream_info["config"]["name"], stream_info["config"].get("storage")
    if storage != "file" and name not in limits.in_memory:
        return failed(f"Stream {name} is kept in {storage} (wanted file).")
    return ok(f"Stream {name} is kept in {storage}.")


def stream(stream_info: Mapping[str, Any], limits: NatsLimits) -> list[Result]:
    """Whether a stream, as its leader tells, has all the copies it shall have, and they keep up."""
    name, copies = stream_info["config"]["name"], stream_info["config"].get("num_replicas", 1)
    problems = []
    if copies < limits.min_replicas and name not in limits.single_copy:
        has = counted(copies, "copy", "copies")
        problems.append(failed(f"Stream {name} has {has} (wanted {limits.min_replicas})."))
    cluster = stream_info.get("cluster")
    if cluster is None:
        return problems  # a server alone: there is nobody who could lead or follow
    return [*problems, *group(f"Stream {name}", cluster, copies, limits)]


def group(what: str, cluster: Mapping[str, Any], size: int, limits: NatsLimits) -> list[Result]:
    """Whether a group of replicas, as its leader tells, has that leader and `size` - 1 followers that keep up."""
    if not cluster.get("leader"):
        return [failed(f"{what} has no leader, so nothing is written to it.")]
    replicas = cluster.get("replicas") or ()
    problems = []
    if len(replicas) != size - 1:
        has = counted(len(replicas) + 1, "replica")
        problems.append(failed(f"{what} has {has} in its group (wanted {size})."))
    for replica in replicas:
        silent = timedelta(microseconds=replica.get("active", 0) / 1000)
        lag = replica.get("lag", 0)
        if replica.get("offline"):
            problems.append(failed(f"{what} has its replica on {replica['name']} offline."))
        elif silent > limits.max_silence:
            seconds = timedelta(seconds=round(silent.total_seconds()))
            limit = format_duration(limits.max_silence)
            problems.append(
                failed(
                    f"{what} has heard nothing of its replica on {replica['name']} for {format_duration(seconds)} (limit {limit})."
                )
            )
        elif lag > limits.max_lag:
            problems.append(
                failed(f"{what} has its replica on {replica['name']} {lag} operations behind (limit {limits.max_lag}).")
            )
        elif not replica.get("current"):
            problems.append(failed(f"{what} has its replica on {replica['name']} not current."))
    return problems


def meta(monitors: Sequence[Monitor], size: int, limits: NatsLimits) -> list[Result]:
    """Whether the servers agree on who leads JetStream, and that leader has all of them. Followers do not know who keeps up."""
    leaders = {monitor.name: (monitor.jsz.get("meta_cluster") or {}).get("leader") or "" for monitor in monitors}
    problems = [
        failed(f"NATS server {name} knows no leader of JetStream, so no stream can be made or moved.")
        for name, leader in leaders.items()
        if not leader
    ]
    named = {leader for leader in leaders.values() if leader}
    if len(named) > 1:
        problems.append(failed(f"NATS servers name different leaders of JetStream: {', '.join(sorted(named))}."))
    for monitor in monitors:
        if leaders[monitor.name] == monitor.name:
            found = monitor.jsz["meta_cluster"]
            if (known := found.get("cluster_size")) != size:
                problems.append(failed(f"JetStream's group has {counted(known or 0, 'server')} (wanted {size})."))
            problems += group("JetStream's group", found, known or size, limits)
    if not problems and not named & set(leaders):
        problems.append(unknown(f"{', '.join(named)} leads JetStream and could not be asked who keeps up."))
    return problems
