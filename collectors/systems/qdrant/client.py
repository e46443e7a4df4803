"""One look at a Qdrant peer over its REST API: what it says of itself, of the others, and of each collection.

qdrant-client is not used: it talks to one address and raises on the replies that matter here (503 of /readyz, 500 of a collection
that has lost a shard, 401 without a key), has no call for /metrics, and takes 94 MB for models of requests that are never made.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection as AnyOf
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import msgspec

from collectors.shared.clients import decode
from exporter.http import Http, Reply
from exporter.options import Secret
from exporter.verdict import ProbeError

__all__ = [
    "Cluster",
    "Collection",
    "Info",
    "Params",
    "Peer",
    "SendFailure",
    "Shard",
    "Shards",
    "Snapshot",
    "Unreadable",
    "collection_sizes",
    "look",
    "seen",
]

T = TypeVar("T")


class _Struct(msgspec.Struct, frozen=True, gc=False):
    """Part of a reply: only the fields that are judged are decoded."""


class SendFailure(_Struct, frozen=True):
    """That a peer could not send to another; it is kept until sending succeeds."""

    count: int
    latest_error_timestamp: datetime


class Address(_Struct, frozen=True):
    """Where a peer is found by its peers."""

    uri: str


class Raft(_Struct, frozen=True):
    """A peer's part in the consensus; `leader` is None or 0 while it knows none."""

    leader: int | None = None


class Cluster(_Struct, frozen=True):
    """What a peer says of its cluster. `status` is `disabled` for a server alone, and the rest is empty then."""

    status: str
    peer_id: int = 0
    peers: dict[str, Address] = {}
    raft_info: Raft = Raft()
    consensus_thread_status: dict[str, Any] = {}
    message_send_failures: dict[str, SendFailure] = {}

    @property
    def alone(self) -> bool:
        """Whether this is a server without cluster mode."""
        return self.status == "disabled"


class Params(_Struct, frozen=True):
    """How a collection is spread."""

    replication_factor: int = 1


class Config(_Struct, frozen=True):
    """A collection's configuration."""

    params: Params = Params()


class Info(_Struct, frozen=True):
    """A collection as its peer sees it: `status` is green, yellow, grey or red; `optimizer_status` is `ok` or an error."""

    status: str
    optimizer_status: str | dict[str, Any] = "ok"
    config: Config = Config()


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why a peer cannot tell about a collection, in its own words."""

    error: str


class Shard(_Struct, frozen=True):
    """One copy of a shard. `peer_id` is 0 for the copies of the peer that was asked."""

    shard_id: int
    state: str
    peer_id: int = 0


class Shards(_Struct, frozen=True):
    """Where the copies of a collection's shards are, as one peer knows it."""

    peer_id: int
    local_shards: list[Shard]
    remote_shards: list[Shard] = []


class Snapshot(_Struct, frozen=True):
    """One snapshot: of the shards of one peer alone. `creation_time` has no zone and is UTC."""

    name: str
    size: int
    creation_time: datetime | None = None
    checksum: str | None = None


@dataclass(frozen=True, slots=True)
class Collection:
    """What a peer tells about one collection; ProbeError where it does not."""

    info: Info | Unreadable | ProbeError
    shards: Shards | ProbeError
    snapshots: list[Snapshot] | ProbeError


@dataclass(frozen=True, slots=True)
class Peer:
    """What one peer tells; ProbeError where it does not. `anonymous` is the status of its reply to a request without a key."""

    url: str
    ready: bool
    anonymous: int
    cluster: Cluster | ProbeError
    metrics: str | ProbeError
    collections: Mapping[str, Collection]

    def gauge(self, name: str) -> float:
        """The value of a metric without labels; raises ProbeError without one."""
        if (found := re.search(rf"^{re.escape(name)} (\S+)$", seen(self.metrics), re.MULTILINE)) is None:
            raise ProbeError(f"{self.url}/metrics has no {name}: where metrics are renamed, set metrics_prefix.")
        try:
            return float(found[1])
        except ValueError:
            raise ProbeError(f"{self.url}/metrics has {name} with a value that is no number.") from None


def seen(told: T | ProbeError) -> T:
    """What was told; raises the reason why it was not."""
    if isinstance(told, ProbeError):
        raise told
    return told


class _Envelope(_Struct, Generic[T], frozen=True):
    result: T


class _Name(_Struct, frozen=True):
    name: str


class _Names(_Struct, frozen=True):
    collections: list[_Name]


class _Sized(_Struct, frozen=True):
    vectors_size_bytes: int
    payloads_size_bytes: int


class _TelemetryShard(_Struct, frozen=True):
    local: _Sized | None = None


class _TelemetryCollection(_Struct, frozen=True):
    id: str
    shards: list[_TelemetryShard] = []


class _TelemetryCollections(_Struct, frozen=True):
    collections: list[_TelemetryCollection] = []


class _Telemetry(_Struct, frozen=True):
    collections: _TelemetryCollections


class _Status(_Struct, frozen=True):
    error: str


class _Refusal(_Struct, frozen=True):
    status: _Status


async def look(http: Http, api_key: Secret | None) -> Peer:
    """Everything that sections judge of the peer at `http`. Raises ProbeError when it does not answer, or not to this key."""
    ask = _Asking(http, api_key)
    ready = await http.get("/readyz", expect=(200, 503))  # asks for no key
    names = sorted(entry.name for entry in (await ask.result("/collections", _Names)).collections)
    anonymous, cluster, metrics, *collections = await asyncio.gather(
        http.get("/collections", expect=None),
        _told(ask.result("/cluster", Cluster)),
        _told(ask.text("/metrics")),
        *map(ask.collection, names),
    )
    told = dict(zip(names, collections, strict=True))
    return Peer(http.settings.url, ready.status == 200, anonymous.status, cluster, metrics, told)


async def collection_sizes(http: Http, api_key: Secret | None) -> dict[str, int]:
    """Bytes of vectors and payloads that the peer holds of each collection. Raises ProbeError when it does not tell."""
    telemetry = await _Asking(http, api_key).result("/telemetry", _Telemetry, {"details_level": "3"})
    return {
        collection.id: sum(
            shard.local.vectors_size_bytes + shard.local.payloads_size_bytes
            for shard in collection.shards
            if shard.local
        )
        for collection in telemetry.collections.collections
    }


class _Asking:
    """Requests to one peer, as many at a time as there are connections."""

    def __init__(self, http: Http, api_key: Secret | None) -> None:
        self._http = http
        self._headers = {"api-key": api_key.get_secret_value()} if api_key else {}
        self._places = asyncio.Semaphore(4)

    async def _get(self, path: str, params: Mapping[str, str] | None = None, expect: AnyOf[int] = (200,)) -> Reply:
        async with self._places:
            return await self._http.get(path, params=params, headers=self._headers, expect=expect)

    async def text(self, path: str) -> str:
        return (await self._get(path)).text

    async def result(self, path: str, kind: type[T], params: Mapping[str, str] | None = None) -> T:
        return decode(await self._get(path, params), _Envelope[kind]).result  # type: ignore[valid-type]

    async def collection(self, name: str) -> Collection:
        path = f"/collections/{quote(name, safe='')}"
        return Collection(
            *await asyncio.gather(
                _told(self._info(path)),
                _told(self.result(f"{path}/cluster", Shards)),
                _told(self.result(f"{path}/snapshots", list[Snapshot])),
            )
        )

    async def _info(self, path: str) -> Info | Unreadable:
        reply = await self._get(path, expect=(200, 500))
        if reply.status == 500:
            return Unreadable(" ".join(decode(reply, _Refusal).status.error.split()).rstrip("."))
        return decode(reply, _Envelope[Info]).result


async def _told(question: Any) -> Any:
    try:
        return await question
    except ProbeError as why:
        return why
