"""Expiry and hits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from collectors.systems.redis.model import (
    Answers,
    CacheLimits,
    NodeAddress,
    databases,
    partly_expiring,
)
from exporter.verdict import Reason, Result, failed, unknown, warning
from exporter.words import counted, listed

__all__ = ["hit_problems", "ttl_problems"]


def ttl_problems(node: Answers, limits: CacheLimits) -> Iterator[Result]:
    """Its keys expire. A sample of keys would say less, and be counted by Redis as lookups that found something."""
    judged = {number: counts for number, counts in databases(node).items() if number not in limits.lasting_databases}
    for number, (held, expiring) in sorted(judged.items()):
        if not held or (share := expiring / held) >= limits.min_ttl_ratio:
            continue
        seen = f"{share:.1%} of the {counted(held, 'key')} in database {number} of {node.address} expire"
        parts = partly_expiring(node, number)
        if (expiring + parts) / held >= limits.min_ttl_ratio:
            yield unknown(
                f"{seen}, and {counted(parts, 'other has', 'others have')} fields that do (wanted {limits.min_ttl_ratio:.0%}): "
                "whether all of their fields do is not shown."
            )
        else:
            yield failed(f"{seen} (wanted {limits.min_ttl_ratio:.0%}).", reason=Reason.LIMIT)
    if not any(held for held, _ in judged.values()):
        yield unknown(f"{node.address} holds no key in a database that caches, so nothing was judged.")


def hit_problems(
    nodes: Sequence[Answers], grown: Mapping[NodeAddress, tuple[float, ...]] | None, limits: CacheLimits
) -> Iterator[Result]:
    """Most lookups on all the nodes find their key: within the window where it had enough of them, else since the start."""
    totals = {
        node.address: (float(node.number("keyspace_hits")), float(node.number("keyspace_misses"))) for node in nodes
    }
    for counts in (grown, totals):
        if counts is None:
            continue
        hits, misses = (sum(values[place] for values in counts.values()) for place in (0, 1))
        if hits + misses >= limits.min_lookups:
            if (share := hits / (hits + misses)) < limits.min_cache_hits:
                yield failed(
                    f"{share:.1%} of {hits + misses:,.0f} lookups in {listed(str(node.address) for node in nodes)} found their key "
                    f"(wanted {limits.min_cache_hits:.0%}).",
                    reason=Reason.LIMIT,
                )
            else:
                yield from _nodes_that_find_little(counts, limits)
            return
    yield unknown(
        f"{listed(str(node.address) for node in nodes)} had fewer than {limits.min_lookups:,} lookups, too few to judge what the "
        "cache saves."
    )


def _nodes_that_find_little(counts: Mapping[NodeAddress, tuple[float, ...]], limits: CacheLimits) -> Iterator[Result]:
    """A warning for each node whose lookups the hits of others hide."""
    for address, (hits, misses, *_) in counts.items():
        looked_up = hits + misses
        if looked_up >= limits.min_lookups and (share := hits / looked_up) < limits.min_cache_hits:
            yield warning(
                f"{share:.1%} of {looked_up:,.0f} lookups in {address} alone found their key (wanted {limits.min_cache_hits:.0%})."
            )
