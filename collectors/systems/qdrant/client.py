"""Asks a Qdrant peer over its REST API: for itself, for the others, and for each collection.

qdrant-client is not used: it talks to one address and raises on the replies that matter here (503 of /readyz, 500 of a collection
that has lost a shard, 401 without a key), has no call for /metrics, and takes 94 MB for models of requests that are never made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection as AnyOf
from collections.abc import Mapping
from datetime import datetime
from typing import Generic
from urllib.parse import quote, urlsplit

from collectors.shared.attempts import attempt, attempt_all
from collectors.shared.certificate_expiry import certificate_expiry
from collectors.shared.decoding import decode
from collectors.systems.qdrant.model import (
    Cluster,
    Collection,
    Config,
    Held,
    Info,
    Peer,
    Shards,
    Sized,
    Snapshot,
    T,
    Unreadable,
    _Struct,
)
from exporter.http import Http
from exporter.options import Secret
from exporter.reply import Reply
from exporter.verdict import ProbeError

__all__ = ["held", "look"]


class _Envelope(_Struct, Generic[T], frozen=True):
    result: T


class _Name(_Struct, frozen=True):
    name: str


class _Names(_Struct, frozen=True):
    collections: list[_Name]


class _Alias(_Struct, frozen=True):
    alias_name: str
    collection_name: str


class _Aliases(_Struct, frozen=True):
    aliases: list[_Alias]


class _TelemetryShard(_Struct, frozen=True):
    id: int
    local: Sized | None = None


class _TelemetryCollection(_Struct, frozen=True):
    id: str
    shards: tuple[_TelemetryShard, ...] = ()
    config: Config = Config()


class _TelemetryCollections(_Struct, frozen=True):
    collections: tuple[_TelemetryCollection, ...] = ()


class _Telemetry(_Struct, frozen=True):
    collections: _TelemetryCollections


class _Status(_Struct, frozen=True):
    error: str


class _Refusal(_Struct, frozen=True):
    status: _Status


async def look(http: Http, api_key: Secret | None, wanted: AnyOf[str] = (), recent: datetime | None = None) -> Peer:
    """Everything that sections judge of the peer at `http`. Raises ProbeError when it does not answer, or not to this key.

    `wanted` are collections that have to exist, by their names or aliases. Of a collection without a snapshot since `recent`,
    those of single shards are listed.
    """
    ask = _Asking(http, api_key, recent)
    ready = await http.get("/readyz", expect=(200, 503))  # asks for no key
    names = sorted(entry.name for entry in (await ask.result("/collections", _Names)).collections)
    anonymous, cluster, metrics, storage, collections = await asyncio.gather(
        http.get("/collections", expect=None),
        attempt(ask.result("/cluster", Cluster)),
        attempt(ask.text("/metrics")),
        attempt(ask.result("/snapshots", list[Snapshot])),
        asyncio.gather(*map(ask.collection, names)),
    )
    described = dict(zip(names, collections, strict=True))
    found = (await ask.result("/aliases", _Aliases)).aliases if set(wanted) - set(names) else []
    aliases = {alias.alias_name: alias.collection_name for alias in found}
    expiry = await attempt(_expiry(http))
    return Peer(
        http.settings.url, ready.status == 200, anonymous.status, cluster, metrics, described, storage, aliases, expiry
    )


async def _expiry(http: Http) -> datetime | None:
    url = urlsplit(http.settings.url)
    if url.scheme != "https" or url.hostname is None:
        return None
    return await certificate_expiry(url.hostname, url.port or 443, http.settings.tls, http.settings.timeout)


async def held(http: Http, api_key: Secret | None) -> dict[str, Held]:
    """What the peer holds of each collection. Raises ProbeError when it does not answer."""
    telemetry = await _Asking(http, api_key).result("/telemetry", _Telemetry, {"details_level": "3"})
    return {
        collection.id: Held(
            {shard.id: shard.local for shard in collection.shards if shard.local}, collection.config.strict_mode_config
        )
        for collection in telemetry.collections.collections
    }


class _Asking:
    """Requests to one peer, as many at a time as there are connections."""

    def __init__(self, http: Http, api_key: Secret | None, recent: datetime | None = None) -> None:
        self._http = http
        self._recent = recent
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
        info, shards, snapshots = await asyncio.gather(
            attempt(self._info(path)),
            attempt(self.result(f"{path}/cluster", Shards)),
            attempt(self.result(f"{path}/snapshots", list[Snapshot])),
        )
        return Collection(info, shards, snapshots, await self._of_shards(path, shards, snapshots))

    async def _of_shards(
        self, path: str, shards: Shards | ProbeError, snapshots: list[Snapshot] | ProbeError
    ) -> dict[int, list[Snapshot] | ProbeError]:
        """The snapshots of single shards, where they are needed as the collection has no recent one."""
        if self._recent is None or isinstance(shards, ProbeError) or isinstance(snapshots, ProbeError):
            return {}
        if any(one.made and one.made >= self._recent for one in snapshots if one.is_of(shards.peer_id)):
            return {}
        held = [shard.shard_id for shard in shards.local_shards]
        found = await attempt_all(self._of_shard(f"{path}/shards/{shard}/snapshots") for shard in held)
        return dict(zip(held, found, strict=True))

    async def _of_shard(self, path: str) -> list[Snapshot]:
        reply = await self._get(path, expect=(200, 404))  # before 1.4 there were none
        return decode(reply, _Envelope[list[Snapshot]]).result if reply.status == 200 else []

    async def _info(self, path: str) -> Info | Unreadable:
        reply = await self._get(path, expect=(200, 404, 500))
        if reply.status != 200:
            return Unreadable(" ".join(decode(reply, _Refusal).status.error.split()).rstrip("."))
        return decode(reply, _Envelope[Info]).result
