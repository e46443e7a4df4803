"""A key of one's own in Redis, on every master that owns slots."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from typing import Any

from collectors.shared.attempts import attempt
from collectors.systems.canary.client.options import CacheOptions
from collectors.systems.canary.model import CacheTrip, Refusal, Unwritten
from collectors.systems.redis.client import Full, Login, ask
from collectors.systems.redis.model import NodeAddress
from exporter.options import format_duration
from exporter.verdict import ProbeError, Reason

__all__ = ["cache_trips"]

#: Seconds until a key goes by itself, where DEL is not allowed or the connection ends.
_LIFETIME = 30
_SLOTS = "CLUSTER SLOTS"


async def cache_trips(options: CacheOptions, nonce: str) -> list[CacheTrip | ProbeError]:
    """SET, GET and DEL of a key that holds `nonce`; in a cluster one on every master, or why one cannot be asked.

    Raises ProbeError when `options.address` cannot be asked, or does not say whether it is a node of a cluster.
    """
    login = Login(options.username, options.password, options.tls, options.timeout)
    address = NodeAddress.parse(options.address)
    try:
        slots = _reply((await ask(address, login, (_SLOTS,))).replies[_SLOTS])
    except Full as why:  # applications are refused just as the exporter is
        return [Unwritten(str(why), why.reason)]
    if isinstance(slots, Refusal) and slots.code == "NOPERM":
        raise ProbeError(
            f"{address} does not say whether it is a node of a cluster: the user lacks the right to CLUSTER SLOTS.",
            Reason.DENIED,
        )
    first = await attempt(_trip(address, login, f"{options.key_prefix}{nonce}", nonce))
    written = first.written if isinstance(first, CacheTrip) else None
    down = isinstance(written, Refusal) and written.code == "CLUSTERDOWN"
    if isinstance(slots, Refusal) or down:  # whatever else it is, it is no cluster, or none that works
        return [first]
    masters = list(_masters(slots, address.host))
    keys = [_key_within(options.key_prefix, nonce, first, last) for _, first, last in masters]
    asked = [attempt(_trip(master, login, key, nonce)) for (master, *_), key in zip(masters, keys, strict=True)]
    return list(await asyncio.gather(*asked)) or [first]


def _masters(slots: Any, host: str) -> Iterator[tuple[NodeAddress, int, int]]:
    """Each master with one range of its slots. A node that does not know its own address is the one that was asked."""
    seen = set()
    try:
        for first, last, master, *_ in slots:
            address = NodeAddress(str(master[0] or host), int(master[1]))
            if address not in seen:
                seen.add(address)
                yield address, int(first), int(last)
    except (TypeError, ValueError, IndexError):
        raise ProbeError("Redis answered CLUSTER SLOTS with what cannot be understood.", Reason.MALFORMED) from None


def _key_within(prefix: str, nonce: str, first: int, last: int) -> str:
    from redis.crc import key_slot

    keys = (f"{prefix}{nonce}:{number}" for number in itertools.count())
    return next(key for key in keys if first <= key_slot(key.encode()) <= last)


async def _trip(address: NodeAddress, login: Login, key: str, nonce: str) -> CacheTrip:
    commands = (f"SET {key} {nonce} EX {_LIFETIME}", f"GET {key}", f"PTTL {key}", f"DEL {key}")
    started = time.perf_counter()
    try:
        replies = (await ask(address, login, commands)).replies
    except ProbeError as why:
        if why.reason is not Reason.TIMEOUT:
            raise
        await ask(address, login, ("PING",))  # where that is not answered either, nothing was observed
        raise Unwritten(
            f"{address} answers, but did not take a key within {format_duration(login.timeout)}.", Reason.TIMEOUT
        ) from None
    seconds = time.perf_counter() - started
    written, read, left, _ = (_reply(replies[command]) for command in commands)
    return CacheTrip(str(address), written, read, left, seconds)


def _reply(reply: object) -> object:
    """A reply, with an error as its code and text: redis-py takes the code off those that it knows."""
    from redis import exceptions

    if not isinstance(reply, Exception):
        return reply
    codes = {
        exceptions.MovedError: "MOVED",
        exceptions.AskError: "ASK",
        exceptions.TryAgainError: "TRYAGAIN",
        exceptions.MasterDownError: "MASTERDOWN",
        exceptions.ClusterDownError: "CLUSTERDOWN",
        exceptions.ReadOnlyError: "READONLY",
        exceptions.OutOfMemoryError: "OOM",
        exceptions.NoPermissionError: "NOPERM",
        exceptions.BusyLoadingError: "LOADING",
    }
    text = str(reply)
    known = next((code for kind, code in codes.items() if isinstance(reply, kind)), None)
    code = known or text.partition(" ")[0]
    return Refusal(code, text.removeprefix(code).strip())
