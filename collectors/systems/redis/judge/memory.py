"""Room, and what happens when it is used up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta

from collectors.systems.redis.model import (
    Answers,
    Growth,
    Look,
    NodeAddress,
    RedisLimits,
    counted_memory,
    keys,
)
from exporter.options import format_duration
from exporter.verdict import Reason, Result, failed, warning
from exporter.words import counted, format_size, listed

__all__ = ["memory_problems", "unlike_problems"]

#: Eviction frees what it can before the next command runs; only the buffers of a few clients come on top.
_EVICTION_SLACK = 1.05


def memory_problems(node: Answers, grown: Mapping[NodeAddress, Growth | None], limits: RedisLimits) -> Iterator[Result]:
    """Has the wanted policy, a maxmemory without which no policy acts, a machine or container that has so much, and room: a
    cache that evicts may be full, anything else refuses writes then. It did not refuse any since it was first checked.
    """
    where = node.address
    policy, most, used = node.text("maxmemory_policy"), node.number("maxmemory"), counted_memory(node)
    if policy != limits.eviction_policy:
        yield failed(
            f"maxmemory-policy of {where} is {policy[:40]} (wanted {limits.eviction_policy}).",
            reason=Reason.MISCONFIGURED,
        )
    if most <= 0:
        yield failed(
            f"maxmemory of {where} is 0, so {policy[:40]} never evicts anything and memory grows without limit.",
            reason=Reason.MISCONFIGURED,
        )
        return
    there = limits.container_memory or node.number("total_system_memory")
    if most > there * limits.max_memory_share:
        yield failed(
            f"maxmemory of {where} is {format_size(most)} of the {format_size(there)} available "
            f"(limit {limits.max_memory_share:.0%}): it is killed before it evicts.",
            reason=Reason.LIMIT,
        )
    if (growth := grown.get(where)) and growth.starved:
        over = format_duration(timedelta(seconds=round(growth.seconds, 3)))
        sentence = (
            f"{where} refused {counted(growth.starved, 'command')} within {over}, as its maxmemory {format_size(most)}"
        )
        if policy.startswith("allkeys-"):  # which frees room for all but what is larger than it
            yield warning(f"{sentence} had no room even without other keys, or eviction did not keep up (OOM).")
        else:
            yield failed(f"{sentence} was used up (OOM).", reason=Reason.LIMIT)
    yield from _room_problems(node, policy, used, most, limits)


def unlike_problems(nodes: Iterable[Look]) -> Iterator[Result]:
    """Whether nodes that may take over from each other have room for the same data: until then a replica ignores its maxmemory."""
    limits = {node.address: node.number("maxmemory") for node in nodes if isinstance(node, Answers)}
    least, most = min(limits.values(), default=0), max(limits.values(), default=0)
    if 0 < least < most:
        smaller = listed(str(address) for address, limit in limits.items() if limit == least)
        yield warning(
            f"maxmemory of {smaller} is {format_size(least)}, and up to {format_size(most)} on other nodes: once it is a master, "
            "it evicts or refuses what they hold."
        )


def _room_problems(node: Answers, policy: str, used: int, most: int, limits: RedisLimits) -> Iterator[Result]:
    """Replicas ignore maxmemory, so only a master refuses writes when it is used up and nothing can be evicted."""
    where, master = node.address, node.info.get("role") != "slave"
    everything, expiring = keys(node)
    evictable = expiring if policy.startswith("volatile-") else everything
    share = f"{used / most:.0%} of its maxmemory {format_size(most)}"
    if "used_memory_startup" in node.info and node.number("used_memory_startup") >= most:
        yield failed(
            f"maxmemory of {where} is {format_size(most)}, less than Redis takes without any data: every write is refused. "
            "Is a unit missing?",
            reason=Reason.MISCONFIGURED,
        )
    elif not everything and used >= most * limits.memory_warn and master:
        yield failed(
            f"{where} uses {share} without holding a key, so that there is no room for any: writes are refused.",
            reason=Reason.LIMIT,
        )
    elif policy == "noeviction" or not evictable:
        because = "its policy is noeviction" if policy == "noeviction" else f"{policy} finds no key to evict"
        if used > most and master:
            yield failed(f"{where} uses {share} and refuses writes, as {because}.", reason=Reason.LIMIT)
        elif used >= most * limits.memory_warn:
            yield warning(f"{where} uses {share} (limit {limits.memory_warn:.0%}), and {because}.")
        elif everything and policy.startswith("volatile-"):
            yield warning(
                f"{where} has {counted(everything, 'key')}, none of which expires, so {policy} finds nothing to evict."
            )
    elif used > most * _EVICTION_SLACK and master:
        yield failed(
            f"{where} uses {share} though {policy} evicts: eviction does not keep up, and writes are refused.",
            reason=Reason.LIMIT,
        )
