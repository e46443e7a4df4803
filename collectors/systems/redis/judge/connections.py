"""Clients, pools and idle connections."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import timedelta

from collectors.systems.redis.model import (
    Answers,
    Growth,
    NodeAddress,
    RedisLimits,
    connections,
)
from exporter.options import format_duration
from exporter.verdict import Reason, Result, failed, unknown, warning
from exporter.words import counted

__all__ = ["connection_problems", "keep_alive_problems"]

_SHORTEST_IDLE = 60  # seconds


def connection_problems(
    node: Answers, grown: Mapping[NodeAddress, Growth | None], limits: RedisLimits
) -> Iterator[Result]:
    """Turns nobody away, has room for more clients, and they come from pools: few new connections, no pool over its size."""
    where = node.address
    most, blocked = node.number("maxclients"), node.number("blocked_clients")
    connected, peers = connections(node)
    growth = grown.get(where)
    if growth is None:
        yield unknown(
            f"{where} was checked once since it or this exporter started; what it rejects takes two checks.",
            reason=Reason.PENDING,
        )
    else:
        over = format_duration(timedelta(seconds=round(growth.seconds, 3)))
        if growth.rejected:
            yield failed(
                f"{where} rejected {counted(growth.rejected, 'connection')} within {over}: its maxclients {most} is reached.",
                reason=Reason.LIMIT,
            )
        if growth.dropped:
            yield failed(
                f"{where} closed {counted(growth.dropped, 'connection')} within {over}, as their buffers grew too large "
                "(maxmemory-clients, client-output-buffer-limit, client-query-buffer-limit).",
                reason=Reason.LIMIT,
            )
        # What came within a fraction of a second is a burst, no rate.
        if (churn := growth.received / max(growth.seconds, 1.0)) > limits.max_churn:
            yield failed(
                f"{where} gets {churn:.1f} new connections a second (limit {limits.max_churn:g}): a client has no pool.",
                reason=Reason.LIMIT,
            )
    if limits.pools:
        yield from _pool_problems(node, limits.pools)
    if (wanted := sum(limits.pools.values())) > most:
        yield failed(
            f"The pools may hold {counted(wanted, 'connection')} to {where}, which accepts {counted(most, 'client')} (maxclients).",
            reason=Reason.LIMIT,
        )
    if connected > most * limits.clients_warn:
        own = f", {peers} of them replicas and connections of the cluster" if peers else ""
        yield warning(f"{where} has {connected} of {counted(most, 'client')}{own} (limit {limits.clients_warn:.0%}).")
    if blocked > limits.max_blocked_clients:
        waiting = counted(blocked, "client")
        yield warning(f"{where} has {waiting} in blocking commands (limit {limits.max_blocked_clients}).")


def _pool_problems(node: Answers, pools: Mapping[str, int]) -> Iterator[Result]:
    held = Counter(
        word.removeprefix("name=")
        for client in node.reply("CLIENT LIST", str).splitlines()
        for word in client.split(" ")
        if word.startswith("name=")
    )
    for name, most in pools.items():
        if held[name] > most:
            yield failed(
                f"Client {name} holds {counted(held[name], 'connection')} to {node.address} (limit {most}).",
                reason=Reason.LIMIT,
            )


def keep_alive_problems(node: Answers) -> Iterator[Result]:
    """It asks idle clients whether they are still there, so that those that vanished do not hold their connections for ever.

    Nor does it close those that pools hold.
    """
    if node.setting("tcp-keepalive") == "0":
        yield failed(
            f"{node.address} never notices clients that vanished (tcp-keepalive 0).", reason=Reason.MISCONFIGURED
        )
    idle = node.setting("timeout") or ""
    if idle.isdigit() and 0 < int(idle) < _SHORTEST_IDLE:
        yield warning(
            f"{node.address} closes connections that are idle for {counted(int(idle), 'second')} (timeout): pools keep them longer."
        )
